import type { Command } from 'commander';
import { dissectors } from '../../dissectors/index.ts';
import { OperatingError } from '../errors.ts';
import { type Format, format, printRows } from './table.ts';

export function register(program: Command): void {
  program
    .command('fields')
    .description('list every declared record field: what `dissect` writes and zone rules can name')
    .argument('[protocol]', 'only this protocol')
    .addOption(format())
    .addHelpText(
      'after',
      `
Examples:
  $ ot-sensor fields modbus
  $ ot-sensor fields --format jsonl | jq -r .wireshark`,
    )
    .action(fields);
}

async function fields(protocol: string | undefined, { format }: { format: Format }): Promise<void> {
  const chosen = dissectors.filter((dissector) => protocol === undefined || dissector.name === protocol);
  if (chosen.length === 0) {
    const known = dissectors.map((dissector) => dissector.name).join(', ');
    throw new OperatingError('usage', `there is no protocol "${protocol}"; known are ${known}`);
  }
  const rows = chosen.flatMap((dissector) =>
    dissector.records.flatMap((record) =>
      record.fieldNames.map((name) => {
        const { kind, list, unit, wireshark, meaning } = record.fields[name];
        return {
          protocol: dissector.name,
          record: record.name,
          field: name,
          type: list ? `${kind}[]` : kind,
          unit: unit ?? '',
          wireshark: wireshark ?? '',
          meaning,
        };
      }),
    ),
  );
  await printRows(rows, format);
}
