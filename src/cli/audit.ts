import type { Command } from 'commander';
import { integer } from './arguments.ts';
import { dataOption, timeText } from './data.ts';
import { EXIT_FINDINGS } from './failure.ts';
import { managed } from './managed.ts';
import { type Format, format, printRows } from './table.ts';

export function register(program: Command): void {
  const audit = program.command('audit').description('who did what, from where');
  audit
    .command('list', { isDefault: true })
    .description('the entries, the newest first')
    .option('--actor <name>', 'of this user')
    .option('--action <word>', 'of this kind, such as settings.change')
    .option('--limit <n>', 'at most so many', integer(1, 1_000_000), 100)
    .addOption(dataOption())
    .addOption(format())
    .action(list);
  audit
    .command('verify')
    .description('prove that no entry was changed, taken out or put in')
    .addOption(dataOption())
    .addHelpText('after', '\nExit codes: 0 the chain is whole, 1 it is not.')
    .action(verify);
}

interface Arguments {
  data: string;
  format: Format;
  limit: number;
  actor?: string;
  action?: string;
}

async function list({ data, format, limit, actor, action }: Arguments): Promise<void> {
  const entries = await managed(data, ({ audit }) => audit.list({ limit, actor, action }));
  if (format !== 'table') return printRows(entries, format);
  await printRows(
    entries.map(({ time_ms, details, ...entry }) => ({ ...entry, time: timeText(time_ms), details: JSON.stringify(details) })),
    format,
  );
}

async function verify({ data }: Arguments): Promise<void> {
  const verdict = await managed(data, ({ audit }) => audit.verify());
  if (verdict.intact) {
    process.stdout.write(`The audit log is whole: ${verdict.entries} entries, ${verdict.first_id} to ${verdict.last_id}.\n`);
    return;
  }
  process.stdout.write(`The audit log was tampered with at entry ${verdict.at_id}: ${verdict.reason}.\n`);
  process.exitCode = EXIT_FINDINGS;
}
