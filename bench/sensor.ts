import fs from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { OperatingError } from '../src/errors.ts';
import { DATABASE_FILE } from '../src/store/writer.ts';
import { CLI } from './child.ts';
import type { MirrorPort, Running } from './mirror-port.ts';

/** Where every packet went, as the sensor says itself. */
export interface Account {
  received: number;
  inspected: number;
  dropped_by_kernel: number;
  dropped_by_us: Record<string, number>;
}

/** What one thread has used so far, in hundredths of a second. */
interface ThreadUsage {
  id: string;
  name: string;
  ticks: number;
}

const READY_MS = 30_000;

/** `ot-sensor run` at the receiving end of a mirror port; its data directory is `data` in the port's folder, whatever is there already. */
export class Sensor {
  readonly data: string;
  /** When the process was started, ms since the epoch. */
  readonly started_ms = Date.now();
  private readonly running: Running;
  private readonly process_: string;
  private account: Account | null = null;
  private said = '';
  private readonly times = new Map<string, number>();

  /** Throws OperatingError where it does not come up. */
  static async start(port: MirrorPort, options: { shards: number; zones: string }): Promise<Sensor> {
    const sensor = new Sensor(port, options);
    while (sensor.saidAt('running') === undefined) {
      if (sensor.running.child.exitCode !== null || Date.now() - sensor.started_ms > READY_MS) {
        throw new OperatingError('capture', `the sensor did not come up: ${sensor.said}`);
      }
      await sleep(50);
    }
    return sensor;
  }

  private constructor(port: MirrorPort, { shards, zones }: { shards: number; zones: string }) {
    fs.writeFileSync(path.join(port.folder, 'zones.yaml'), zones);
    const settings = ['data: data', 'zones: zones.yaml', `shards: ${shards}`, 'capture:', '  interfaces:', '    - name: m0', ''];
    const config = path.join(port.folder, 'sensor.yaml');
    fs.writeFileSync(config, settings.join('\n'));
    const profile = process.env.OT_SENSOR_BENCH_NODE_OPTIONS?.split(' ') ?? [];
    this.running = port.spawn(process.execPath, ...profile, CLI, 'run', '--config', config);
    this.process_ = `/proc/${this.running.child.pid}`;
    this.data = path.join(port.folder, 'data');
    const lines = createInterface({ input: this.running.child.stderr! });
    lines.on('line', (line) => this.hear(line));
  }

  private hear(line: string): void {
    this.said = `${this.said}${line}\n`.slice(-10_000);
    try {
      const logged = JSON.parse(line) as Account & { msg: string; time: string };
      if (!this.times.has(logged.msg)) this.times.set(logged.msg, Date.parse(logged.time));
      if (logged.received !== undefined) this.account = logged;
    } catch {
      // A warning of Node.js, in its own words.
    }
  }

  /** When a message was logged first, ms since the epoch. */
  saidAt(message: string): number | undefined {
    return this.times.get(message);
  }

  /** Its database, to look into. */
  database(): Database.Database {
    return new Database(path.join(this.data, DATABASE_FILE), { readonly: true });
  }

  /** Processor time of each thread, and memory. `ip` becomes the sensor, so its number is the sensor's. */
  usage(): { threads: ThreadUsage[]; resident_mb: number; peak_mb: number } {
    const threads = fs.readdirSync(`${this.process_}/task`).map((id) => {
      const stat = fs.readFileSync(`${this.process_}/task/${id}/stat`, 'utf8');
      // proc(5): behind the name in brackets, the 12th and 13th are utime and stime.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return {
        id,
        name: stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')')),
        ticks: Number(fields[11]) + Number(fields[12]),
      };
    });
    const status = fs.readFileSync(`${this.process_}/status`, 'utf8');
    const megabytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]) / 1024;
    return { threads, resident_mb: megabytes('VmRSS'), peak_mb: megabytes('VmHWM') };
  }

  /** Lets it work through what it has; where every packet went. */
  async stop(): Promise<Account> {
    await this.running.end('SIGTERM');
    if (this.account === null) throw new OperatingError('capture', `the sensor did not say where the packets went: ${this.said}`);
    const { received, inspected, dropped_by_kernel, dropped_by_us } = this.account;
    return { received, inspected, dropped_by_kernel, dropped_by_us };
  }
}

/** All that the sensor itself did not look at. */
export const droppedByUs = ({ dropped_by_us }: Account): number =>
  Object.values(dropped_by_us).reduce((sum, count) => sum + count, 0);
