import type { Command } from 'commander';
import { address, checkProtocols, integer, mac } from './arguments.ts';
import { dataOption, type RangeArguments, rangeOptions, readAll, timeText } from './data.ts';
import { type Format, format, printRows } from './table.ts';

interface DeviceArguments extends RangeArguments {
  format: Format;
  id?: number;
  ip?: string;
  mac?: string;
  type?: string;
  zone?: string;
  purdueLevel?: number;
  protocol?: string;
  text?: string;
  programmingStations?: true;
  deleted?: true;
}

export function register(program: Command): void {
  const command = program
    .command('devices')
    .description('list the devices that were found; json and jsonl have addresses, attributes with their evidence, and parts')
    .option('--id <n>', 'this device', integer(1, 1e9))
    .option('--ip <address>', 'with this address', address)
    .option('--mac <address>', 'with this MAC address', mac)
    .option('--type <type>', 'of this type (plc, hmi, …)')
    .option('--zone <name>', 'in this zone')
    .option('--purdue-level <n>', 'on this level of the Purdue model', integer(0, 5))
    .option('--protocol <name>', 'that takes part in this protocol')
    .option('--programming-stations', 'only those that program others')
    .option('--deleted', 'those that were deleted, and not seen since')
    .option('--text <words>', 'with this in name, vendor, model or any attribute')
    .addOption(dataOption())
    .addOption(format());
  for (const option of rangeOptions()) command.addOption(option);
  command
    .addHelpText('after', '\nExamples:\n  $ ot-sensor devices --type plc\n  $ ot-sensor devices --id 3 --format json')
    .action(devices);
}

async function devices(args: DeviceArguments): Promise<void> {
  if (args.protocol !== undefined) await checkProtocols([args.protocol]);
  const found = readAll(args, (reader, range) => {
    const { id, ip, mac, type, zone, protocol, text } = args;
    const more = { programming_station: args.programmingStations, purdue_level: args.purdueLevel, deleted: args.deleted };
    const page = reader.devices({ ...range, id, ip, mac, type, zone, protocol, text, ...more });
    if (args.format === 'table') return page;
    const rows = page.rows.map((device) => ({
      ...device,
      interfaces: reader.interfaces(device.id),
      address_history: reader.addresses(device.id),
      attributes: reader.attributes(device.id),
      parts: reader.parts(device.id),
    }));
    return { ...page, rows: rows as unknown as typeof page.rows };
  });
  if (args.format !== 'table')
    return printRows(
      found.map(({ behaviour: _, ...device }) => device),
      args.format,
    );
  await printRows(
    found.map((device) => ({
      id: device.id,
      name: device.name,
      type: device.programming_station ? `${device.type} (programs)` : device.type,
      level: device.purdue_level,
      zone: device.zone,
      address:
        device.addresses.length > 3
          ? `${device.addresses.slice(0, 3).join(' ')} +${device.addresses.length - 3}`
          : device.addresses.join(' '),
      mac: device.mac,
      vlan: device.segment,
      vendor: device.vendor,
      model: device.model,
      firmware: device.firmware,
      parts: device.parts || '',
      last_seen: timeText(device.last_ms),
    })),
    'table',
  );
}
