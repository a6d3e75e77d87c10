import type { Command } from 'commander';
import { dissectors } from '../../dissectors/index.ts';
import { checkProtocols } from './arguments.ts';
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
  if (protocol !== undefined) await checkProtocols([protocol]);
  const chosen = dissectors.filter((dissector) => protocol === undefined || dissector.name === protocol);
  const rows = chosen.flatMap((dissector) =>
    dissector.records.flatMap((record) =>
      record.fieldNames.map((name) => {
        const { kind, list, unit, names, wireshark, meaning } = record.fields[name];
        return {
          protocol: dissector.name,
          record: record.name,
          field: name,
          type: list ? `${kind}[]` : kind,
          unit: unit ?? '',
          wireshark: wireshark ?? '',
          meaning: names === undefined ? meaning : `${meaning} (its name in ${name}_name)`,
        };
      }),
    ),
  );
  await printRows(rows, format);
}
