import type { Command } from 'commander';
import { integer } from './arguments.ts';
import { dataOption, timeText } from './data.ts';
import { managed } from './managed.ts';
import { type Format, format, printRows } from './table.ts';

export function register(program: Command): void {
  program
    .command('notifications')
    .description('what the appliance told of itself')
    .option('--open', 'only what is not over')
    .option('--limit <n>', 'at most so many', integer(1, 100_000), 100)
    .addOption(dataOption())
    .addOption(format())
    .action(list);
}

async function list({
  data,
  open,
  limit,
  format,
}: {
  data: string;
  open?: boolean;
  limit: number;
  format: Format;
}): Promise<void> {
  const rows = await managed(data, ({ notifications }) => notifications.list({ open, limit }));
  if (format !== 'table') return printRows(rows, format);
  const shown = rows.map(({ id, severity, title, description, count, first_ms, resolved_ms }) => ({
    id,
    severity,
    count,
    first: timeText(first_ms),
    over: resolved_ms === null ? '' : timeText(resolved_ms),
    title,
    description,
  }));
  await printRows(shown, format);
}
