import type { Notifications } from '../appliance/notifications.ts';
import type { Settings } from '../appliance/settings.ts';
import { numberText } from '../number-text.ts';
import type { Health, HealthReport } from './health.ts';
import { HEALTH } from './settings.ts';

/** What is read of the clocks: the one that can be set, and the one that cannot. */
export interface Clocks {
  wall_ms: () => number;
  steady_ms: () => number;
}

const CLOCKS: Clocks = { wall_ms: Date.now, steady_ms: () => performance.now() };

/**
 * Looks at the health of the appliance from time to time and tells of what is about to hurt; what is over is resolved. The same state
 * looked at twice tells nothing new.
 */
export class HealthWatch {
  private readonly health: Health;
  private readonly notifications: Notifications;
  private readonly settings: Settings;
  private readonly clocks: Clocks;
  private before: { received: number; dropped: number; source: string; changed_ms: number } | null = null;
  private clock: { wall_ms: number; steady_ms: number } | null = null;
  private ran = false;

  constructor(health: Health, notifications: Notifications, settings: Settings, clocks: Clocks = CLOCKS) {
    this.health = health;
    this.notifications = notifications;
    this.settings = settings;
    this.clocks = clocks;
  }

  look(): HealthReport {
    const report = this.health.report();
    const limits = this.settings.read(HEALTH).value;
    for (const { path, used_percent, free_bytes } of report.volumes)
      this.tell('disk_low', path, used_percent >= limits.disk_used_percent, () => [
        `The volume of ${path} is ${used_percent} % full, ${numberText(Math.floor(free_bytes / 2 ** 20))} MiB are left.`,
        { path, used_percent, free_bytes },
      ]);
    const { total_bytes, available_bytes } = report.memory;
    const available = (100 * available_bytes) / total_bytes;
    this.tell('memory_low', '', available < limits.memory_available_percent, () => [
      `${available.toFixed(1)} % of the memory is available.`,
      { available_bytes, total_bytes },
    ]);
    const { certificate_expires_ms: expires } = report;
    const days = expires === null ? Number.POSITIVE_INFINITY : (expires - this.clocks.wall_ms()) / 86_400_000;
    this.tell('certificate_expiring', '', days <= limits.certificate_days, () => [
      days < 0 ? 'The certificate has expired.' : `The certificate expires in ${Math.floor(days)} days.`,
      { expires_ms: expires },
    ]);
    for (const { name, waiting, limit } of report.forwarding_queues)
      this.tell('forwarding_behind', name, waiting >= (limit * limits.queue_used_percent) / 100, () => [
        `${numberText(waiting)} wait for the destination ${name}, of ${numberText(limit)} that may.`,
        { destination: name, waiting, limit },
      ]);
    this.lookAtSensor(report, limits.silent_minutes);
    this.lookAtClock(limits.clock_step_seconds);
    return report;
  }

  private lookAtSensor({ sensor }: HealthReport, silent_minutes: number): void {
    const { running, source, received, dropped_by_kernel, dropped_by_us } = sensor;
    // One that never ran here is not missed: a console for captures has none.
    this.ran ||= running;
    this.tell('sensor_stopped', '', this.ran && !running, () => ['The sensor ran, and does not run any more.', { source }]);
    if (!running) {
      this.before = null;
      return;
    }
    const now = this.clocks.steady_ms();
    const dropped = dropped_by_kernel + Object.values(dropped_by_us).reduce((sum, count) => sum + count, 0);
    const { before } = this;
    const same = before !== null && before.source === source && before.received <= received;
    this.before = {
      received,
      dropped,
      source,
      changed_ms: same && before.received === received ? before.changed_ms : now,
    };
    const silent_ms = now - this.before.changed_ms;
    this.tell('no_traffic', source, silent_ms >= silent_minutes * 60_000, () => [
      `Nothing was received on ${source} for ${Math.floor(silent_ms / 60_000)} minutes.`,
      { source, received },
    ]);
    // Each loss is told; it is over when a look finds no further one.
    const lost = same ? dropped - before.dropped : 0;
    this.tell('packets_dropped', source, lost > 0, () => [
      `${numberText(lost)} packets were lost on ${source} since the last look.`,
      { source, lost, dropped_by_kernel, dropped_by_us },
    ]);
  }

  private lookAtClock(limit_s: number): void {
    const now = { wall_ms: this.clocks.wall_ms(), steady_ms: this.clocks.steady_ms() };
    const { clock } = this;
    this.clock = now;
    if (clock === null) return;
    const step_ms = now.wall_ms - clock.wall_ms - (now.steady_ms - clock.steady_ms);
    this.tell('time_drift', '', Math.abs(step_ms) > limit_s * 1000, () => [
      `The clock was set ${step_ms > 0 ? 'forward' : 'back'} by ${Math.round(Math.abs(step_ms) / 1000)} seconds.`,
      { step_ms: Math.round(step_ms) },
    ]);
  }

  private tell(
    kind: Parameters<Notifications['raise']>[0],
    about: string,
    holds: boolean,
    say: () => [string, Record<string, unknown>],
  ): void {
    if (holds) this.notifications.raise(kind, about, ...say());
    else this.notifications.resolve(kind, about);
  }
}
