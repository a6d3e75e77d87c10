import { type Command, Option } from 'commander';
import { OperatingError } from '../errors.ts';
import { type MarkChanges, OperatorStore } from '../store/operator.ts';
import { integer } from './arguments.ts';
import { dataOption } from './data.ts';
import { managed, note } from './managed.ts';

export function register(program: Command): void {
  const flag = (name: string, description: string) =>
    new Option(`--${name} <yes|no|unset>`, description).choices(['yes', 'no', 'unset']);
  program
    .command('device')
    .description('say what a device is; it goes before what the sensor found out. "unset" takes it back')
    .argument('<device>', 'its number, as `devices` shows it', integer(1, Number.MAX_SAFE_INTEGER))
    .option('--name <text>', 'what it is called')
    .option('--type <word>', 'plc, hmi, …')
    .option('--note <text>', 'anything')
    .addOption(flag('authorized', 'it belongs here'))
    .addOption(flag('scanner', 'it scans the network on purpose'))
    .addOption(flag('programming-station', 'controllers are programmed from it'))
    .addOption(dataOption())
    .addHelpText('after', "\nExample:\n  $ ot-sensor device 7 --name 'Engineering 1' --authorized yes --programming-station yes")
    .action(device);
}

type Flag = 'yes' | 'no' | 'unset';
interface Arguments {
  data: string;
  name?: string;
  type?: string;
  note?: string;
  authorized?: Flag;
  scanner?: Flag;
  programmingStation?: Flag;
}

async function device(id: number, args: Arguments): Promise<void> {
  const text = (value: string | undefined) => (value === 'unset' ? null : value);
  const flag = (value: Flag | undefined) => (value === undefined ? undefined : value === 'unset' ? null : value === 'yes');
  const changes: MarkChanges = {
    name: text(args.name),
    type: text(args.type),
    note: text(args.note),
    authorized: flag(args.authorized),
    scanner: flag(args.scanner),
    programming_station: flag(args.programmingStation),
  };
  if (Object.values(changes).every((value) => value === undefined))
    throw new OperatingError('usage', 'nothing to say: give an option');
  await managed(args.data, ({ audit }) => {
    const operator = new OperatorStore(args.data);
    try {
      if (!operator.mark(id, changes, 'root', Date.now()))
        throw new OperatingError('not_found', `there is no device ${id} in ${args.data}`);
      note(audit, 'device.mark', `${id}`, { ...changes });
    } finally {
      operator.close();
    }
  });
}
