import type { Command } from 'commander';
import { OPERATION_NAMES } from '../dissect/operation.ts';
import { OperatingError } from '../errors.ts';
import { address, checkProtocols, integer, mac, oneOf } from './arguments.ts';
import { dataOption, endText, type RangeArguments, rangeOptions, readAll, timeText } from './data.ts';
import { type Format, format, printRows } from './table.ts';

interface ConnectionArguments extends RangeArguments {
  format: Format;
  device?: number;
  ip?: string;
  mac?: string;
  text?: string;
  connection?: number;
  unit?: number;
  protocol?: string;
  port?: number;
  zone?: string;
  activities?: true;
  operation?: string;
}

export function register(program: Command): void {
  const command = program
    .command('connections')
    .description('list who talks to whom by which protocol; with --activities, what they do')
    .option('--device <id>', 'with this device at either end', integer(1, 1e9))
    .option('--ip <address>', 'with this address at either end', address)
    .option('--mac <address>', 'with this MAC address at either end', mac)
    .option('--protocol <name>', 'of this protocol')
    .option('--port <n>', 'to this server port', integer(1, 65_535))
    .option('--zone <name>', 'with an end in this zone')
    .option('--activities', 'what is done in them: operations and their targets')
    .option(
      '--operation <name>',
      `with --activities: only this operation (${OPERATION_NAMES.join(', ')})`,
      oneOf(OPERATION_NAMES),
    )
    .option('--connection <id>', 'with --activities: only those of this connection', integer(1, Number.MAX_SAFE_INTEGER))
    .option('--unit <n>', 'with --activities: only those of this unit', integer(0, 0xffffffff))
    .option('--text <words>', 'with this in addresses or protocol; with --activities, in the target')
    .addOption(dataOption())
    .addOption(format());
  for (const option of rangeOptions()) command.addOption(option);
  command
    .addHelpText(
      'after',
      '\nExamples:\n  $ ot-sensor connections --protocol s7comm\n  $ ot-sensor connections --activities --operation write --format jsonl',
    )
    .action(async (args: ConnectionArguments) => {
      for (const name of ['operation', 'connection', 'unit'] as const)
        if (args[name] !== undefined && !args.activities)
          throw new OperatingError('usage', `--${name} selects activities; give --activities too`);
      if (args.protocol !== undefined) await checkProtocols([args.protocol]);
      await (args.activities ? activities(args) : connections(args));
    });
}

async function connections(args: ConnectionArguments): Promise<void> {
  const { device, ip, mac, protocol, port, zone, text } = args;
  const filter = { device, ip, mac, protocol, port, zone, text };
  const found = readAll(args, (reader, range) => reader.connections({ ...range, ...filter }));
  if (args.format !== 'table') return printRows(found, args.format);
  await printRows(
    found.map((row) => ({
      opener: endText(row.opener_ip, row.opener_mac),
      responder: endText(row.responder_ip, row.responder_mac, row.server_port),
      proto: row.proto,
      protocol: row.app_proto,
      client: row.client,
      vlan: row.segment,
      flows: row.flows,
      packets: row.packets_from_opener + row.packets_from_responder,
      bytes: row.bytes_from_opener + row.bytes_from_responder,
      last_seen: timeText(row.last_ms),
    })),
    'table',
  );
}

async function activities(args: ConnectionArguments): Promise<void> {
  const { device, ip, mac, protocol, operation, connection, unit, text } = args;
  const filter = { device, ip, mac, protocol, operation, connection, unit, text };
  const found = readAll(args, (reader, range) => reader.activities({ ...range, ...filter }));
  if (args.format !== 'table') return printRows(found, args.format);
  await printRows(
    found.map((row) => {
      const opener = endText(row.opener_ip, row.opener_mac);
      const responder = endText(row.responder_ip, row.responder_mac, row.server_port);
      return {
        from: row.from_opener ? opener : responder,
        to: row.from_opener ? responder : opener,
        role: row.role,
        protocol: row.app_proto,
        operation: row.operation,
        unit: row.unit < 0 ? '' : `${row.unit_name} ${row.unit}`,
        target: row.target_first === null ? row.target : `${row.target} ${row.target_first}–${row.target_last}`,
        count: row.count,
        last_seen: timeText(row.last_ms),
      };
    }),
    'table',
  );
}
