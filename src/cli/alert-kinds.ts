import type { Command } from 'commander';
import { CATALOGUE } from '../detect/catalogue.ts';
import { type Format, format, printRows } from './table.ts';

export function register(program: Command): void {
  program
    .command('alert-kinds')
    .description('every kind of alert there is; json and jsonl have what it means and what to do about it')
    .addOption(format())
    .addHelpText('after', '\nExample:\n  $ ot-sensor alert-kinds --format jsonl | jq \'select(.kind == "zone_crossing")\'')
    .action(({ format }: { format: Format }) =>
      printRows(
        format === 'table'
          ? CATALOGUE.map(({ kind, severity, category, engine, title }) => ({ kind, severity, category, engine, title }))
          : CATALOGUE,
        format,
      ),
    );
}
