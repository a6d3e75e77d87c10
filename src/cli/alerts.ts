import type { Command } from 'commander';
import { CATALOGUE } from '../detect/catalogue.ts';
import { address, checkProtocols, integer, namesOf } from './arguments.ts';
import { dataOption, endText, type RangeArguments, rangeOptions, readAll, timeText } from './data.ts';
import { type Format, format, printRows } from './table.ts';

interface AlertArguments extends RangeArguments {
  format: Format;
  id?: number;
  severity?: string[];
  kind?: string[];
  device?: number;
  ip?: string;
  protocol?: string;
  zone?: string;
  text?: string;
}

const SEVERITIES = ['critical', 'major', 'minor', 'warning'];
const KINDS = CATALOGUE.map((row) => row.kind);

export function register(program: Command): void {
  const command = program
    .command('alerts')
    .description('list the alerts, each with its count, first and last time')
    .option('--id <n>', 'this alert', integer(1, 1e9))
    .option('--severity <a,b>', SEVERITIES.join(', '), namesOf(SEVERITIES))
    .option('--kind <a,b>', KINDS.join(', '), namesOf(KINDS))
    .option('--device <id>', 'with this device at either end', integer(1, 1e9))
    .option('--ip <address>', 'with this address at either end', address)
    .option('--protocol <name>', 'of this protocol')
    .option('--zone <name>', 'from or to this zone')
    .option('--text <words>', 'with this in title, description or details')
    .addOption(dataOption())
    .addOption(format());
  for (const option of rangeOptions()) command.addOption(option);
  command
    .addHelpText(
      'after',
      '\nExamples:\n  $ ot-sensor alerts --severity critical,major\n  $ ot-sensor alerts --kind zone_crossing --format jsonl | jq .details',
    )
    .action(alerts);
}

async function alerts(args: AlertArguments): Promise<void> {
  const { id, severity, kind, device, ip, protocol, zone, text } = args;
  if (protocol !== undefined) await checkProtocols([protocol]);
  const found = readAll(args, (reader, range) =>
    reader.alerts({ ...range, id, severity, kind, device, ip, protocol, zone, text }),
  );
  if (args.format !== 'table') return printRows(found, args.format);
  await printRows(
    found.map((row) => ({
      id: row.id,
      severity: row.severity,
      count: row.count,
      first: timeText(row.first_ms),
      source: endText(row.source_ip, row.source_mac),
      destination: endText(row.destination_ip, row.destination_mac, row.destination_port),
      protocol: row.app_proto || row.proto,
      operation: row.operation,
      technique: row.technique,
      packets: row.evidence,
      title: row.title,
      description: row.description,
    })),
    'table',
  );
}
