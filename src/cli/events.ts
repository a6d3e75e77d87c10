import type { Command } from 'commander';
import type { InventoryEventKind } from '../inventory/inventory.ts';
import { RECORDING_EVENTS } from '../recording/events.ts';
import { OVERLOAD_EVENTS } from '../sensor/overload-events.ts';
import { integer, namesOf } from './arguments.ts';
import { dataOption, type RangeArguments, rangeOptions, readAll, timeText } from './data.ts';
import { type Format, format, printRows } from './table.ts';

interface EventArguments extends RangeArguments {
  format: Format;
  kind?: string[];
  device?: number;
  text?: string;
}

const INVENTORY_KINDS = Object.keys({
  device_detected: true,
  address_changed: true,
  attribute_changed: true,
  router_recognised: true,
  devices_merged: true,
  type_changed: true,
} satisfies Record<InventoryEventKind, true>);
const KINDS = [
  ...INVENTORY_KINDS,
  'device_deleted',
  ...[...Object.values(RECORDING_EVENTS), ...Object.values(OVERLOAD_EVENTS)].map(({ kind }) => kind),
];

export function register(program: Command): void {
  const command = program
    .command('events')
    .description('list what happened: devices detected, addresses changed, routers recognised, recording stopped, …')
    .option('--kind <a,b>', KINDS.join(', '), namesOf(KINDS))
    .option('--device <id>', 'of this device', integer(1, 1e9))
    .option('--text <words>', 'with this in the title or details')
    .addOption(dataOption())
    .addOption(format());
  for (const option of rangeOptions()) command.addOption(option);
  command
    .addHelpText('after', '\nExamples:\n  $ ot-sensor events --kind address_changed\n  $ ot-sensor events --since 2026-01-31')
    .action(events);
}

async function events(args: EventArguments): Promise<void> {
  const { kind, device, text } = args;
  const found = readAll(args, (reader, range) => reader.events({ ...range, kind, device, text }));
  if (args.format !== 'table') return printRows(found, args.format);
  await printRows(
    found.map((row) => ({
      time: timeText(row.time_ms),
      frame: row.frame,
      kind: row.kind,
      device: row.device_id,
      title: row.title,
    })),
    'table',
  );
}
