import type { Command } from 'commander';
import { Certificate } from '../appliance/certificate.ts';
import { openManagement } from '../appliance/management.ts';
import { StoreAccess } from '../appliance/store-access.ts';
import { Health, type HealthReport } from '../health/health.ts';
import { numberText } from '../number-text.ts';
import { version } from '../version.ts';
import { dataOption, timeText } from './data.ts';
import { EXIT_FINDINGS } from './failure.ts';

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
  const { notifications, database } = openManagement(data);
  const store = new StoreAccess(data);
  const certificate = new Certificate(data);
  try {
    const certificateExpires = () => (certificate.exists ? certificate.facts().expires_ms : null);
    const report = new Health({ version: version(), directory: data, store, notifications, certificateExpires }).report();
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
    ['devices', numberText(stored.devices ?? 0)],
    ['open alerts', alerts.join(', ')],
    ...volumes.map(({ path, used_percent, free_bytes }): [string, string] => [
      'disk',
      `${path}: ${used_percent} % used, ${gibibytes(free_bytes)} free`,
    ]),
    ['memory', `${gibibytes(memory.available_bytes)} of ${gibibytes(memory.total_bytes)} available`],
    ['load', `${Math.round(report.load * 100)} %`],
    ['certificate', report.certificate_expires_ms === null ? 'none yet' : `until ${timeText(report.certificate_expires_ms)}`],
    ['last backup', report.last_backup_ms === null ? 'none' : timeText(report.last_backup_ms)],
  ];
  return rows.map(([name, value]) => `${name.padEnd(14)}${value}\n`).join('');
}
