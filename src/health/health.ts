import fs from 'node:fs';
import os from 'node:os';
import type { Notifications } from '../appliance/notifications.ts';
import type { StoreAccess } from '../appliance/store-access.ts';
import { log } from '../log.ts';
import { type JudgedPort, readPorts } from '../sensor/port-watch.ts';
import { StoreError } from '../store/errors.ts';
import { type StoredCapture, sumOf } from '../store/queries.ts';
import { isBeingWritten } from '../store/writer.ts';

/** Numbers are counts since the capture began, where nothing else is said. */
export interface HealthReport {
  /** `critical` while a critical notification is open, `degraded` with any other above a warning. */
  status: 'healthy' | 'degraded' | 'critical';
  version: string;
  time_ms: number;
  uptime_s: number;
  sensor: SensorHealth;
  volumes: VolumeHealth[];
  memory: { total_bytes: number; available_bytes: number; process_bytes: number };
  /** Load of the last minute, divided by the number of processors. */
  load: number;
  certificate_expires_ms: number | null;
  /** Rows of the database's tables. */
  stored: Record<string, number>;
  open_alerts: Record<string, number>;
  open_notifications: number;
  /** When the newest backup was made; null where there is none. */
  last_backup_ms: number | null;
  /** Messages that wait for their destinations. */
  forwarding_waiting: number;
  /** What waits for each destination, and how much may. */
  forwarding_queues: ForwardingQueue[];
  /** Of hosts that the SNMP agent does not answer, since the service began. */
  snmp_requests_refused: number;
}

export interface SensorHealth {
  running: boolean;
  source: string;
  packets: number;
  bytes: number;
  received: number;
  inspected: number;
  headers_only: number;
  dropped_by_kernel: number;
  dropped_by_us: Record<string, number>;
  /** Of the last packet; null where there was none. */
  last_packet_ms: number | null;
  /** Over the last seconds; null where that is not known yet. */
  packets_per_second: number | null;
  bytes_per_second: number | null;
  interfaces: InterfaceHealth[];
}

export interface InterfaceHealth {
  name: string;
  received: number;
  dropped_by_kernel: number;
  dropped_by_interface: number;
  dropped_by_us: number;
  /** When it was looked at last while the sensor ran, in the words of `ot-sensor interfaces`; null and none where it was not yet. */
  measured_ms: number | null;
  link: boolean | null;
  packets_per_second: number | null;
  bytes_per_second: number | null;
  verdicts: { code: string; text: string }[];
}

export interface ForwardingQueue {
  name: string;
  waiting: number;
  limit: number;
}

export interface VolumeHealth {
  path: string;
  total_bytes: number;
  free_bytes: number;
  used_percent: number;
}

export interface HealthSources {
  version: string;
  directory: string;
  store: StoreAccess;
  notifications: Notifications;
  /** Folders whose volumes are looked at; the data directory is one. */
  folders?: () => string[];
  certificateExpires?: () => number | null;
  lastBackup?: () => number | null;
  forwardingQueues?: () => ForwardingQueue[];
}

/** Counting rows reads whole indexes: not for every question, and so many at a time, some milliseconds. */
const COUNT_MS = 30_000;
const COUNT_SLICE = 50_000;
/** The sensor writes its counters down every ten seconds. */
const RATE_MS = 5000;

/** How the sensor and its appliance are. Reads what there is when asked; never throws for what is missing. */
export class Health {
  private readonly sources: HealthSources;
  private counted: { at_ms: number; stored: Record<string, number>; open_alerts: Record<string, number> } | null = null;
  private counting: Promise<void> | null = null;
  private sample: { at_ms: number; capture: number; packets: number; bytes: number } | null = null;
  private rate: { packets: number; bytes: number } | null = null;

  /** Counted by the agent. */
  snmp_requests_refused = 0;

  constructor(sources: HealthSources) {
    this.sources = sources;
  }

  report(): HealthReport {
    const { version, directory, notifications, folders, certificateExpires, lastBackup, forwardingQueues } = this.sources;
    const open = notifications.list({ open: true, limit: 1000 });
    const queues = forwardingQueues?.() ?? [];
    const { stored, open_alerts } = this.counts();
    const worst = open.some((one) => one.severity === 'critical') ? 'critical' : 'degraded';
    return {
      status: open.every((one) => one.severity === 'warning') ? 'healthy' : worst,
      version,
      time_ms: Date.now(),
      uptime_s: Math.floor(process.uptime()),
      sensor: this.sensor(),
      volumes: volumesOf([directory, ...(folders?.() ?? [])]),
      memory: { total_bytes: os.totalmem(), available_bytes: availableMemory(), process_bytes: process.memoryUsage.rss() },
      load: os.loadavg()[0] / os.cpus().length,
      certificate_expires_ms: certificateExpires?.() ?? null,
      stored,
      open_alerts,
      open_notifications: open.length,
      last_backup_ms: lastBackup?.() ?? null,
      forwarding_waiting: queues.reduce((sum, { waiting }) => sum + waiting, 0),
      forwarding_queues: queues,
      snmp_requests_refused: this.snmp_requests_refused,
    };
  }

  private sensor(): SensorHealth {
    const capture = this.capture();
    const counters = capture?.counters ?? {};
    const of = (name: string) => counters[`capture.${name}`] ?? 0;
    this.measure(capture);
    return {
      running: this.running(),
      source: capture?.source ?? '',
      packets: capture?.packets ?? 0,
      bytes: capture?.bytes ?? 0,
      received: of('received'),
      inspected: of('inspected'),
      headers_only: of('headers_only'),
      dropped_by_kernel: of('dropped_by_kernel'),
      dropped_by_us: Object.fromEntries(
        Object.entries(counters).flatMap(([name, count]) => {
          const reason = /^capture\.dropped_by_us\.(.+)$/.exec(name)?.[1];
          return reason === undefined ? [] : [[reason, count]];
        }),
      ),
      last_packet_ms: capture?.last_ms ?? null,
      packets_per_second: this.rate?.packets ?? null,
      bytes_per_second: this.rate?.bytes ?? null,
      interfaces: interfacesOf(counters, readPorts(this.sources.directory)),
    };
  }

  private running(): boolean {
    try {
      return isBeingWritten(this.sources.directory);
    } catch {
      return false;
    }
  }

  private capture(): StoredCapture | null {
    return this.stored((reader) => reader.captures().at(-1) ?? null, null);
  }

  private measure(capture: StoredCapture | null): void {
    const now = performance.now();
    const { sample } = this;
    if (capture === null || capture.finished) {
      this.sample = null;
      this.rate = null;
    } else if (sample === null || sample.capture !== capture.id) {
      this.sample = { at_ms: now, capture: capture.id, packets: capture.packets, bytes: capture.bytes };
      this.rate = null;
    } else if (now - sample.at_ms >= RATE_MS && (capture.packets !== sample.packets || now - sample.at_ms > 6 * RATE_MS)) {
      const seconds = (now - sample.at_ms) / 1000;
      this.rate = { packets: (capture.packets - sample.packets) / seconds, bytes: (capture.bytes - sample.bytes) / seconds };
      this.sample = { at_ms: now, capture: capture.id, packets: capture.packets, bytes: capture.bytes };
    }
  }

  /** Counts what is stored, with other work in between; what was counted before holds until then. Never throws. */
  recount(): Promise<void> {
    this.counting ??= this.count().finally(() => {
      this.counting = null;
    });
    return this.counting;
  }

  private async count(): Promise<void> {
    const { store } = this.sources;
    try {
      const stored = store.reader.quickTotals();
      const open: Record<string, number>[] = [];
      for (const slice of store.reader.openAlertSlices(COUNT_SLICE)) {
        open.push(slice);
        await new Promise((resolve) => setImmediate(resolve));
      }
      this.counted = { at_ms: performance.now(), stored, open_alerts: sumOf(open) };
    } catch (error) {
      // It may be missing, or be replaced while it is counted; what is asked next says so.
      if (!(error instanceof StoreError)) log.error({ error: (error as Error).message }, 'what is stored could not be counted');
    }
  }

  private counts() {
    if (this.counted === null) {
      const none: Record<string, number> = {};
      const stored = this.stored((reader) => reader.quickTotals(), none);
      const open_alerts = this.stored((reader) => reader.openAlerts(), none);
      // Nothing there is soon told; what begins to be there is to be told at once.
      if (stored === none) return { stored, open_alerts };
      this.counted = { at_ms: performance.now(), stored, open_alerts };
    } else if (performance.now() - this.counted.at_ms > COUNT_MS) void this.recount();
    return this.counted;
  }

  private stored<Result>(read: (reader: StoreAccess['reader']) => Result, missing: Result): Result {
    try {
      return read(this.sources.store.reader);
    } catch (error) {
      if (error instanceof StoreError) return missing;
      throw error;
    }
  }
}

function interfacesOf(counters: Readonly<Record<string, number>>, judged: readonly JudgedPort[]): InterfaceHealth[] {
  const names = Object.keys(counters).flatMap((name) => /^capture\.(.+)\.received$/.exec(name)?.[1] ?? []);
  return names.map((name) => {
    const of = (what: string) => counters[`capture.${name}.${what}`] ?? 0;
    const port = judged.find((one) => one.name === name);
    const own = Object.entries(counters).filter(([key]) => key.startsWith(`capture.${name}.dropped_by_us.`));
    return {
      name,
      received: of('received'),
      dropped_by_kernel: of('dropped_by_kernel'),
      dropped_by_interface: of('dropped_by_interface'),
      dropped_by_us: own.reduce((sum, [, count]) => sum + count, 0),
      measured_ms: port?.measured_ms ?? null,
      link: port?.link ?? null,
      packets_per_second: port?.packets_per_second ?? null,
      bytes_per_second: port?.bytes_per_second ?? null,
      verdicts: port?.verdicts ?? [],
    };
  });
}

/** Each volume once. */
function volumesOf(folders: readonly string[]): VolumeHealth[] {
  const volumes = new Map<number, VolumeHealth>();
  for (const path of folders) {
    try {
      const { dev } = fs.statSync(path);
      if (volumes.has(dev)) continue;
      const { blocks, bsize, bavail } = fs.statfsSync(path);
      const used_percent = blocks === 0 ? 0 : Math.round((100 * (blocks - bavail)) / blocks);
      volumes.set(dev, { path, total_bytes: blocks * bsize, free_bytes: bavail * bsize, used_percent });
    } catch {
      // A folder that is not there has no volume; whoever needs it says so.
    }
  }
  return [...volumes.values()];
}

/** What can be had without swapping; free memory alone leaves out the caches. */
function availableMemory(): number {
  try {
    const kib = /^MemAvailable:\s+(\d+) kB/m.exec(fs.readFileSync('/proc/meminfo', 'utf8'))?.[1];
    if (kib !== undefined) return Number(kib) * 1024;
  } catch {
    // Not Linux.
  }
  return os.freemem();
}
