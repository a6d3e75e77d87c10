import { type Command, Option } from 'commander';
import { DOCUMENTATION_NUMBER, mibText } from '../health/mib.ts';
import { integer } from './arguments.ts';

export function register(program: Command): void {
  const snmp = program.command('snmp').description('the SNMP agent, which is set up with: ot-sensor settings set snmp FILE');
  snmp
    .command('mib')
    .description('print our MIB module, for your management station')
    .addOption(
      new Option('--enterprise <n>', 'under this enterprise number')
        .argParser(integer(1, 2 ** 31 - 1))
        .default(DOCUMENTATION_NUMBER),
    )
    .addHelpText(
      'after',
      '\nExample:\n  $ ot-sensor snmp mib > OT-SENSOR-MIB.txt && snmpwalk -v2c -c public -m +./OT-SENSOR-MIB.txt 192.0.2.10 otSensorObjects',
    )
    .action(({ enterprise }: { enterprise: number }) => void process.stdout.write(mibText(enterprise)));
}
