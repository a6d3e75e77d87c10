import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import { OperatingError } from '../src/errors.ts';
import { ensureLoad } from './load.ts';
import { loadZones } from './zone-files.ts';

/**
 * The whole sensor on a mirror port: `ot-sensor run` at one end of a pair of virtual interfaces in a namespace of its own, a sender at the
 * other. Nothing leaves the machine, and no interface of it is touched. The sensor itself sends nothing; send.c is the bench's alone.
 */
export interface LiveOptions {
  /** How long is sent. */
  seconds: number;
  /** null: as fast as the sender can. */
  packets_per_second: number | null;
  /** Conversations of the load; 1 is one that takes the whole port. */
  flows: number;
  shards: number;
  onProgress: (what: string) => void;
}

/** What became of the packets, what they cost, and how long an alert took. */
export interface LiveResult {
  sender: string;
  sent: number;
  seconds: number;
  packets_per_second: number;
  /** Sent, and not seen by the capture's socket: lost between the two interfaces, where the sensor is not. */
  lost_before_capture: number;
  received: number;
  inspected: number;
  dropped_by_kernel: number;
  dropped_by_us: Record<string, number>;
  unaccounted: number;
  /** Of each thread while packets came. */
  threads: { name: string; cpu_s: number; ns_a_packet: number }[];
  /** Resident when packets began to come (after a second, once all is loaded), when they ended, and at most. */
  memory_start_mb: number;
  memory_end_mb: number;
  memory_peak_mb: number;
  /** Packet that raises an alert, to the alert seen in the database. */
  alerts_sent: number;
  alerts_stored: number;
  delay_median_ms: number;
  delay_most_ms: number;
  /** The machine's load average at the end. */
  load_average: number;
}

const LOAD_PACKETS = 2_000_000;
const PROGRAM = fileURLToPath(new URL('../program/main.js', import.meta.url));
const SEND_SOURCE = fileURLToPath(new URL('../../bench/send.c', import.meta.url));
const ALERTS_A_SECOND = 1;
const POLL_MS = 20;
const READY_MS = 30_000;
/** Linux counts processor time for user space in hundredths of a second on every architecture. */
const TICKS_A_SECOND = 100;
/** A range of addresses that no zone's conduit lets talk to the load's server: each sender is an alert of its own. */
const STRANGERS = [192, 168] as const;

/** What is missing for it here, '' where nothing is. */
export function whyNoLiveBench(): string {
  if (process.platform !== 'linux') return 'virtual interfaces are made with Linux';
  if (process.getuid?.() !== 0) return 'network namespaces need root: run it with sudo';
  if (!has('ip')) return 'ip is not installed (Debian: iproute2)';
  if (compiler() === undefined && !has('tcpreplay'))
    return 'there is no sender: install a C compiler or tcpreplay (Debian: gcc, tcpreplay)';
  return '';
}

const has = (program: string, flag = '-V'): boolean => spawnSync(program, [flag], { stdio: 'ignore' }).error === undefined;
const compiler = (): string | undefined =>
  fs.existsSync(SEND_SOURCE) ? ['cc', 'gcc', 'clang'].find((cc) => has(cc, '--version')) : undefined;

/** Throws OperatingError where something is missing, or the sensor does not come up. */
export async function measureLive(options: LiveOptions): Promise<LiveResult> {
  const why = whyNoLiveBench();
  if (why !== '') throw new OperatingError('capture', why);
  const pair = new Pair();
  try {
    return await measure(pair, options);
  } finally {
    await pair.close();
  }
}

async function measure(pair: Pair, { seconds, packets_per_second, flows, shards, onProgress }: LiveOptions): Promise<LiveResult> {
  const load = ensureLoad({ packets: LOAD_PACKETS, flows });
  const alerts = strangers(path.join(pair.folder, 'alerts.pcap'), Math.ceil(seconds) + 60);
  const sender = senderOf(pair.folder);
  const sensor = await Sensor.start(pair, shards);
  onProgress(`${sender.name} sends for ${seconds} s`);
  const delays = new Delays(sensor.database);
  const alerting = pair.spawn(...sender.command(alerts, ALERTS_A_SECOND));
  await sleep(1000);
  const before = sensor.usage();
  const loading = pair.spawn(...pinned(sender.command(load, packets_per_second)));
  const loading_began = performance.now();
  await sleep(seconds * 1000);
  const sent = await sender.stop(loading);
  const sending_s = (performance.now() - loading_began) / 1000;
  const after = sensor.usage();
  const alerted = await sender.stop(alerting);
  await delays.settled(alerted);
  const load_average = os.loadavg()[0];
  const account = await sensor.stop();
  const all = Object.values(account.dropped_by_us).reduce((sum, count) => sum + count, 0);
  const received_of_load = account.received - alerted;
  delays.close();
  return {
    sender: sender.name,
    sent: sent + alerted,
    seconds: sending_s,
    packets_per_second: sent / sending_s,
    lost_before_capture: sent + alerted - account.received,
    ...account,
    unaccounted: account.received - account.inspected - account.dropped_by_kernel - all,
    threads: after.threads
      .map(({ id, name, ticks }) => ({
        name,
        cpu_s: (ticks - (before.threads.find((one) => one.id === id)?.ticks ?? 0)) / TICKS_A_SECOND,
      }))
      .filter(({ cpu_s }) => cpu_s > 0)
      .map(({ name, cpu_s }) => ({ name, cpu_s, ns_a_packet: (cpu_s * 1e9) / Math.max(1, received_of_load) }))
      .sort((a, b) => b.cpu_s - a.cpu_s),
    memory_start_mb: before.resident_mb,
    memory_end_mb: after.resident_mb,
    memory_peak_mb: after.peak_mb,
    alerts_sent: alerted,
    ...delays.result(),
    load_average,
  };
}

/** The last core, where there is more than one: the sender has it, and what the kernel does to deliver its packets. */
function pinned([program, ...args]: [string, ...string[]]): [string, ...string[]] {
  const cores = os.availableParallelism();
  return cores > 1 && has('taskset') ? ['taskset', '-c', String(cores - 1), program, ...args] : [program, ...args];
}

// ── the sender ──

interface Sender {
  name: string;
  command(file: string, packets_per_second: number | null): [string, ...string[]];
  /** Ends it; how many packets it has sent. */
  stop(child: Running): Promise<number>;
}

function senderOf(folder: string): Sender {
  const cc = compiler();
  if (cc !== undefined) {
    const program = path.join(folder, 'send');
    execFileSync(cc, ['-O2', '-o', program, SEND_SOURCE], { stdio: ['ignore', 'ignore', 'inherit'] });
    return {
      name: 'bench/send.c',
      command: (file, rate) => [program, 's0', file, '4000000000', ...(rate === null ? [] : [String(rate)])],
      stop: async (running) => (JSON.parse(await running.end('SIGTERM')) as { sent: number }).sent,
    };
  }
  return {
    name: 'tcpreplay',
    command: (file, rate) => [
      ...(['tcpreplay', '-K', '--loop', '0', '-i', 's0'] as [string, ...string[]]),
      ...(rate === null ? ['--topspeed'] : ['--pps', String(rate)]),
      file,
    ],
    stop: async (running) => Number(/(\d+) packets/.exec(await running.end('SIGINT'))?.[1]),
  };
}

/** A write each from as many devices that nobody knows, in a zone that may not speak to the server. */
function strangers(file: string, count: number): string {
  // Ethernet, IPv4 (RFC 791), TCP (RFC 9293, 3.1), and Modbus's Write Single Register (MODBUS Application Protocol 6.6); checksums are
  // not looked at.
  const frame = Buffer.from(
    '0200000000020200010000000800' +
      '4500003400010000400600000000000000000000' +
      'c35001f600000001000000015018faf000000000' +
      '000100000006010600010002',
    'hex',
  );
  const record = 16 + frame.length;
  const bytes = Buffer.alloc(24 + count * record);
  Buffer.from('d4c3b2a1020004000000000000000000ffff000001000000', 'hex').copy(bytes);
  for (let i = 0; i < count; i++) {
    const at = 24 + i * record;
    bytes.writeUInt32LE(frame.length, at + 8);
    bytes.writeUInt32LE(frame.length, at + 12);
    frame.copy(bytes, at + 16);
    const [high, low] = [i >> 8, i & 0xff];
    bytes.set([high, low], at + 16 + 10);
    bytes.set([...STRANGERS, high, low, 10, 1, 0, 1], at + 16 + 26);
  }
  fs.writeFileSync(file, bytes);
  return file;
}

// ── the pair of interfaces ──

class Running {
  readonly child: ChildProcess;
  private out = '';
  private readonly closed: Promise<unknown>;

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout?.on('data', (bytes: Buffer) => {
      this.out += bytes;
    });
    this.closed = once(child, 'close');
    this.closed.catch(() => {});
  }

  /** What it wrote. */
  async end(signal: NodeJS.Signals): Promise<string> {
    this.child.kill(signal);
    await this.closed;
    return this.out;
  }
}

/** What is sent by `s0` arrives at `m0`. Of both only the namespace knows, and with it they go. */
class Pair {
  readonly namespace = `ot-bench-${process.pid}`;
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-bench-'));
  private readonly started: Running[] = [];

  constructor() {
    execFileSync('ip', ['netns', 'add', this.namespace]);
    this.ip('link', 'add', 's0', 'type', 'veth', 'peer', 'name', 'm0');
    for (const name of ['s0', 'm0']) {
      // Else the kernel itself would speak on them.
      execFileSync('ip', ['netns', 'exec', this.namespace, 'sysctl', '-qw', `net.ipv6.conf.${name}.disable_ipv6=1`]);
      this.ip('link', 'set', name, 'up');
    }
  }

  private ip(...args: string[]): string {
    return execFileSync('ip', ['-n', this.namespace, ...args], { encoding: 'utf8' });
  }

  spawn(program: string, ...args: string[]): Running {
    const child = spawn('ip', ['netns', 'exec', this.namespace, program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    const running = new Running(child);
    this.started.push(running);
    return running;
  }

  async close(): Promise<void> {
    await Promise.all(this.started.map((running) => running.end('SIGKILL')));
    execFileSync('ip', ['netns', 'del', this.namespace]);
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

// ── the sensor ──

type Account = Pick<LiveResult, 'received' | 'inspected' | 'dropped_by_kernel' | 'dropped_by_us'>;

class Sensor {
  readonly database: string;
  private readonly running: Running;
  private readonly process_: string;
  private account: Account | null = null;
  private said = '';

  static async start(pair: Pair, shards: number): Promise<Sensor> {
    const sensor = new Sensor(pair, shards);
    const started = performance.now();
    while (!/"msg":"running"/.test(sensor.said)) {
      if (sensor.running.child.exitCode !== null || performance.now() - started > READY_MS) {
        throw new OperatingError('capture', `the sensor did not come up: ${sensor.said}`);
      }
      await sleep(50);
    }
    return sensor;
  }

  private constructor(pair: Pair, shards: number) {
    const zones = `${loadZones(true).replace('zones:\n', `zones:\n  - { name: strangers, subnets: [${STRANGERS.join('.')}.0.0/16] }\n`)}`;
    fs.writeFileSync(path.join(pair.folder, 'zones.yaml'), zones);
    const settings = ['data: data', 'zones: zones.yaml', `shards: ${shards}`, 'capture:', '  interfaces:', '    - name: m0', ''];
    const config = path.join(pair.folder, 'sensor.yaml');
    fs.writeFileSync(config, settings.join('\n'));
    const profile = process.env.OT_SENSOR_BENCH_NODE_OPTIONS?.split(' ') ?? [];
    this.running = pair.spawn(process.execPath, ...profile, PROGRAM, 'run', '--config', config);
    this.process_ = `/proc/${this.running.child.pid}`;
    this.database = path.join(pair.folder, 'data');
    const lines = createInterface({ input: this.running.child.stderr! });
    lines.on('line', (line) => {
      this.said = `${this.said}${line}\n`.slice(-10_000);
      try {
        const logged = JSON.parse(line) as Account & { unaccounted?: number };
        if (logged.unaccounted !== undefined) this.account = logged;
      } catch {}
    });
  }

  /** Processor time of each thread, and memory. `ip` becomes the sensor, so its number is the sensor's. */
  usage(): { threads: { id: string; name: string; ticks: number }[]; resident_mb: number; peak_mb: number } {
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

  /** Lets it work through what it has; where every packet went, as it says itself. */
  async stop(): Promise<Account> {
    await this.running.end('SIGTERM');
    if (this.account === null) throw new OperatingError('capture', `the sensor did not say where the packets went: ${this.said}`);
    const { received, inspected, dropped_by_kernel, dropped_by_us } = this.account;
    return { received, inspected, dropped_by_kernel, dropped_by_us };
  }
}

/** Looks into the database for alerts of strangers, and how old their packets are when they are first seen. */
class Delays {
  private readonly database: Database.Database;
  private readonly timer: NodeJS.Timeout;
  private readonly delays_ms: number[] = [];
  private last = 0;

  constructor(folder: string) {
    const [file] = fs.readdirSync(folder).filter((name) => name.endsWith('.db'));
    this.database = new Database(path.join(folder, file), { readonly: true });
    const newer = this.database.prepare<[number], { id: number; first_ms: number }>(
      "SELECT id, first_ms FROM alerts WHERE id > ? AND kind = 'zone_crossing' AND source_ip LIKE '192.168.%' ORDER BY id",
    );
    this.timer = setInterval(() => {
      const now = Date.now();
      for (const { id, first_ms } of newer.all(this.last)) {
        this.last = id;
        this.delays_ms.push(now - first_ms);
      }
    }, POLL_MS);
  }

  /** Waits for the last of them, but not for ever. */
  async settled(count: number): Promise<void> {
    for (let i = 0; i < 250 && this.delays_ms.length < count; i++) await sleep(POLL_MS);
  }

  result(): Pick<LiveResult, 'alerts_stored' | 'delay_median_ms' | 'delay_most_ms'> {
    const sorted = [...this.delays_ms].sort((a, b) => a - b);
    return {
      alerts_stored: sorted.length,
      delay_median_ms: sorted[sorted.length >> 1] ?? Number.NaN,
      delay_most_ms: sorted.at(-1) ?? Number.NaN,
    };
  }

  close(): void {
    clearInterval(this.timer);
    this.database.close();
  }
}

/** The result in lines for a terminal. */
export function liveText(result: LiveResult): string {
  const number = (value: number) => Math.round(value).toLocaleString('en-US');
  const own = Object.values(result.dropped_by_us).reduce((sum, count) => sum + count, 0);
  const lines: [string, string][] = [
    ['sender', `${result.sender}, ${result.seconds.toFixed(1)} s, ${number(result.packets_per_second)} packets/s`],
    ['sent', number(result.sent)],
    ['lost before the capture', number(result.lost_before_capture)],
    ['received', number(result.received)],
    ['inspected', number(result.inspected)],
    ['dropped by the kernel', number(result.dropped_by_kernel)],
    ['dropped by us', own === 0 ? '0' : `${number(own)} ${JSON.stringify(result.dropped_by_us)}`],
    ['unaccounted', number(result.unaccounted)],
    [
      'memory',
      `${number(result.memory_start_mb)} MB at the start, ${number(result.memory_end_mb)} at the end, at most ${number(result.memory_peak_mb)}`,
    ],
    [
      'alerts',
      `${result.alerts_stored} of ${result.alerts_sent} stored; from packet to database ${number(result.delay_median_ms)} ms in the middle, ${number(result.delay_most_ms)} at most`,
    ],
    ...result.threads.map(({ name, cpu_s, ns_a_packet }): [string, string] => [
      `CPU ${name}`,
      `${cpu_s.toFixed(2)} s, ${number(ns_a_packet)} ns/packet`,
    ]),
    ['load average', result.load_average.toFixed(1)],
  ];
  return lines.map(([what, value]) => `${what.padEnd(24)} ${value}\n`).join('');
}
