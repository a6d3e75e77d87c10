import type { Command } from 'commander';
import { CATALOGUE, SEVERITIES, type Severity } from '../detect/catalogue.ts';
import { OPERATION_NAMES } from '../dissect/operation.ts';
import { ALERT_STATUSES } from '../store/operator.ts';
import { address, checkProtocols, integer, mac, namesOf, oneOf } from './arguments.ts';
import { dataOption, endText, type RangeArguments, rangeOptions, readAll, timeText } from './data.ts';
import { type Format, format, printRows } from './table.ts';

interface AlertArguments extends RangeArguments {
  format: Format;
  id?: number;
  severity?: string[];
  minimumSeverity?: Severity;
  status?: string[];
  mac?: string;
  operation?: string;
  technique?: string;
  kind?: string[];
  device?: number;
  ip?: string;
  protocol?: string;
  zone?: string;
  text?: string;
}

const KINDS = CATALOGUE.map((row) => row.kind);

export function register(program: Command): void {
  const command = program
    .command('alerts')
    .description('list the alerts, each with its count, first and last time')
    .option('--id <n>', 'this alert', integer(1, 1e9))
    .option('--severity <a,b>', SEVERITIES.join(', '), namesOf(SEVERITIES))
    .option('--minimum-severity <severity>', 'of this severity or a higher one', oneOf(SEVERITIES))
    .option('--status <a,b>', ALERT_STATUSES.join(', '), namesOf(ALERT_STATUSES))
    .option('--kind <a,b>', KINDS.join(', '), namesOf(KINDS))
    .option('--device <id>', 'with this device at either end', integer(1, 1e9))
    .option('--ip <address>', 'with this address at either end', address)
    .option('--mac <address>', 'with this MAC address at either end', mac)
    .option('--protocol <name>', 'of this protocol')
    .option('--operation <name>', `about this operation (${OPERATION_NAMES.join(', ')})`, oneOf(OPERATION_NAMES))
    .option('--zone <name>', 'from or to this zone')
    .option('--technique <id>', 'of this technique (MITRE ATT&CK for ICS), such as T0858')
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
  const { id, severity, minimumSeverity, kind, status, device, ip, mac, protocol, operation, zone, technique, text } = args;
  if (protocol !== undefined) await checkProtocols([protocol]);
  const rank = (one: string) => SEVERITIES.indexOf(one as Severity);
  const wanted = severity ?? (minimumSeverity === undefined ? undefined : [...SEVERITIES]);
  const severities = wanted?.filter((one) => minimumSeverity === undefined || rank(one) >= rank(minimumSeverity));
  const filter = { id, severity: severities, kind, status, device, ip, mac, protocol, operation, zone, technique, text };
  const found = readAll(args, (reader, range) => reader.alerts({ ...range, ...filter }));
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
