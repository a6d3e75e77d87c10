import { type Command, Option } from 'commander';
import { kindOf } from '../detect/catalogue.ts';
import { OperatingError } from '../errors.ts';
import { ALERT_STATUSES, type AlertStatus, OperatorStore } from '../store/operator.ts';
import { StoreReader } from '../store/queries.ts';
import { integer } from './arguments.ts';
import { dataOption, endText, timeText } from './data.ts';
import { managed, note } from './managed.ts';
import { printable } from './table.ts';

export function register(program: Command): void {
  program
    .command('alert')
    .description('an alert, what to do about it and what was said of it; with options, changes its state')
    .argument('<alert>', 'its number, as `alerts` shows it', integer(1, Number.MAX_SAFE_INTEGER))
    .addOption(
      new Option(
        '--status <status>',
        'closed: the same found again is a new alert; muted: it is counted and never a new one',
      ).choices([...ALERT_STATUSES]),
    )
    .option('--comment <text>', 'say something about it')
    .addOption(dataOption())
    .addHelpText(
      'after',
      "\nExamples:\n  $ ot-sensor alert 12\n  $ ot-sensor alert 12 --status closed --comment 'planned, ticket 4711'",
    )
    .action(alert);
}

interface Arguments {
  data: string;
  status?: AlertStatus;
  comment?: string;
}

async function alert(id: number, { data, status, comment }: Arguments): Promise<void> {
  const missing = () =>
    new OperatingError('not_found', `there is no alert ${id} in ${data}; see: ot-sensor alerts --data ${data}`);
  if (status !== undefined || comment !== undefined)
    await managed(data, ({ audit }) => {
      const operator = new OperatorStore(data);
      try {
        if (comment !== undefined && !operator.comment(id, 'root', comment, Date.now())) throw missing();
        const outcome = status === undefined ? 'done' : operator.setStatus(id, status);
        if (outcome === 'missing') throw missing();
        if (outcome === 'replaced')
          throw new OperatingError(
            'conflict',
            `after alert ${id} was closed the same was found again, and is an alert of its own`,
          );
        if (status !== undefined) note(audit, 'alert.status', `${id}`, { status });
        if (comment !== undefined) note(audit, 'alert.comment', `${id}`);
      } finally {
        operator.close();
      }
    });
  const reader = new StoreReader(data);
  try {
    const [row] = reader.alerts({ id }).rows;
    if (row === undefined) throw missing();
    const lines = [
      `${row.severity}: ${row.title} (${row.status})`,
      row.description,
      `from ${endText(row.source_ip, row.source_mac, row.source_port)} to ${endText(row.destination_ip, row.destination_mac, row.destination_port)}`,
      `found ${row.count === 1 ? 'once' : `${row.count} times`}, first ${timeText(row.first_ms)}, last ${timeText(row.last_ms)}; ${row.evidence} packets kept`,
      ...kindOf(row.kind).remediation.map((step, i) => `${i + 1}. ${step}`),
      ...reader.comments(id).map(({ time_ms, author, text }) => `${timeText(time_ms)} ${author}: ${text}`),
    ];
    process.stdout.write(`${lines.map(printable).join('\n')}\n`);
  } finally {
    reader.close();
  }
}
