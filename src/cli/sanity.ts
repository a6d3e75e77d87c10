import fs from 'node:fs';
import type { Command } from 'commander';
import { Certificate } from '../appliance/certificate.ts';
import { openManagement } from '../appliance/management.ts';
import { StoreAccess } from '../appliance/store-access.ts';
import { parseFileName } from '../backup/names.ts';
import { directoryOf } from '../backup/request.ts';
import { BACKUP } from '../backup/settings.ts';
import { storedStatuses } from '../forward/forwarder.ts';
import { FORWARDING } from '../forward/settings.ts';
import { Health, type HealthReport } from '../health/health.ts';
import { numberText } from '../number-text.ts';
import { version } from '../version.ts';
import { dataOption, timeText } from './data.ts';
import { EXIT_FINDINGS } from './failure.ts';
import { printable } from './table.ts';

export function register(program: Command): void {
  program
    .command('sanity')
    .description('how the sensor and its appliance are, in one screen')
    .addOption(dataOption())
    .option('--json', 'the whole report as JSON')
    .addHelpText('after', '\nExit codes: 0 healthy, 1 something is told of below.')
    .action(sanity);
}

function sanity({ data, json }: { data: string; json?: boolean }): void {
  const { notifications, database, settings } = openManagement(data);
  const store = new StoreAccess(data);
  const certificate = new Certificate(data);
  try {
    const certificateExpires = () => (certificate.exists ? certificate.facts().expires_ms : null);
    const lastBackup = () => newestBackup(directoryOf({ data }, settings.read(BACKUP).value));
    const forwardingQueues = () => {
      const { queue_limit } = settings.read(FORWARDING).value;
      const statuses = storedStatuses({ database, settings, notifications, store });
      return statuses.map(({ name, waiting }) => ({ name, waiting, limit: queue_limit }));
    };
    const sources = { directory: data, store, notifications, certificateExpires, lastBackup, forwardingQueues };
    const report = new Health({ version: version(), ...sources }).report();
    if (report.status !== 'healthy') process.exitCode = EXIT_FINDINGS;
    if (json) return void process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
    process.stdout.write(screen(report));
    for (const { severity, title, description, last_ms } of notifications.list({ open: true, limit: 20 }))
      process.stdout.write(`\n${severity}: ${title} (${timeText(last_ms)})\n  ${description}\n`);
  } finally {
    store.close();
    database.close();
  }
}

function newestBackup(directory: string): number | null {
  const times = (fs.existsSync(directory) ? fs.readdirSync(directory) : []).flatMap((name) => parseFileName(name)?.time_ms ?? []);
  return times.length === 0 ? null : Math.max(...times);
}

const gibibytes = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

function screen(report: HealthReport): string {
  const { sensor, memory, volumes, stored, open_alerts } = report;
  const lost = Object.entries({ kernel: sensor.dropped_by_kernel, ...sensor.dropped_by_us }).filter(([, count]) => count > 0);
  const alerts = ['critical', 'major', 'minor', 'warning'].map((one) => `${open_alerts[one] ?? 0} ${one}`);
  const rows: [string, string][] = [
    ['status', report.status],
    ['version', report.version],
    [
      'sensor',
      sensor.running ? `running on ${sensor.source}` : `not running${sensor.source === '' ? '' : `; last: ${sensor.source}`}`,
    ],
    [
      'packets',
      `${numberText(sensor.packets)}; last ${sensor.last_packet_ms === null ? 'never' : timeText(sensor.last_packet_ms)}`,
    ],
    ['lost', lost.length === 0 ? 'none' : lost.map(([reason, count]) => `${reason} ${numberText(count)}`).join(', ')],
    ['interfaces', sensor.interfaces.map(({ name, received }) => `${name}: ${numberText(received)}`).join(', ') || 'none'],
    ...sensor.interfaces.flatMap(({ name, verdicts, measured_ms }) =>
      verdicts.map(({ text }): [string, string] => [name, `${text} (${timeText(measured_ms ?? 0)})`]),
    ),
    ['devices', numberText(stored.devices ?? 0)],
    ['open alerts', alerts.join(', ')],
    ...volumes.map(({ path, used_percent, free_bytes }): [string, string] => [
      'disk',
      `${path}: ${used_percent} % used, ${gibibytes(free_bytes)} free`,
    ]),
    ['memory', `${gibibytes(memory.available_bytes)} of ${gibibytes(memory.total_bytes)} available`],
    ['load', `${Math.round(report.load * 100)} %`],
    ['certificate', report.certificate_expires_ms === null ? 'none yet' : `until ${timeText(report.certificate_expires_ms)}`],
    ...report.forwarding_queues.map(({ name, waiting }): [string, string] => [
      'forwarding',
      `${name}: ${numberText(waiting)} waiting`,
    ]),
    ['last backup', report.last_backup_ms === null ? 'none' : timeText(report.last_backup_ms)],
  ];
  return rows.map(([name, value]) => `${printable(`${name.padEnd(13)} ${value}`)}\n`).join('');
}
