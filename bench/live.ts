import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type Database from 'better-sqlite3';
import { ensureLoad } from './load.ts';
import { type MirrorPort, pinned, senderOf, withMirrorPort } from './mirror-port.ts';
import { type Account, droppedByUs, Sensor } from './sensor.ts';
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
  /** How often it is looked at loss and memory meanwhile. */
  sample_seconds: number;
  onProgress: (what: string) => void;
}

/** What became of the packets, what they cost, and how long an alert took. */
export interface LiveResult extends Account {
  sender: string;
  sent: number;
  seconds: number;
  packets_per_second: number;
  /** Sent, and not seen by the capture's socket: lost between the two interfaces, where the sensor is not. */
  lost_before_capture: number;
  unaccounted: number;
  /** Of each thread while packets came. */
  threads: { name: string; cpu_s: number; ns_a_packet: number }[];
  /** Resident when packets began to come (after a second, once all is loaded), when they ended, and at most. */
  memory_start_mb: number;
  memory_end_mb: number;
  memory_peak_mb: number;
  /** By all samples of the second half; null where that is less than a minute. */
  memory_growth_mb_a_minute: number | null;
  /** One every `sample_seconds`. */
  samples: Sample[];
  /** Packet that raises an alert, to the alert seen in the database. */
  alerts_sent: number;
  alerts_stored: number;
  delay_median_ms: number;
  delay_most_ms: number;
  /** The machine's load average at the end. */
  load_average: number;
}

/** How it stands in the middle of it. */
export interface Sample {
  /** Since packets began to come. */
  second: number;
  resident_mb: number;
  /** As the sensor last kept them in its database, which it does every ten seconds. */
  received: number;
  lost: number;
}

const LOAD_PACKETS = 2_000_000;
const ALERTS_A_SECOND = 1;
const POLL_MS = 20;
const GROWTH_SECONDS = 60;
/** Linux counts processor time for user space in hundredths of a second on every architecture. */
const TICKS_A_SECOND = 100;
/** A range of addresses that no zone's conduit lets talk to the load's server: each sender is an alert of its own. */
const STRANGERS = [192, 168] as const;

/** Throws OperatingError where something is missing, or the sensor does not come up. */
export const measureLive = (options: LiveOptions): Promise<LiveResult> => withMirrorPort((port) => measure(port, options));

async function measure(port: MirrorPort, options: LiveOptions): Promise<LiveResult> {
  const { seconds, packets_per_second, flows, shards, onProgress } = options;
  const load = ensureLoad({ packets: LOAD_PACKETS, flows });
  const alerts = strangers(path.join(port.folder, 'alerts.pcap'), Math.ceil(seconds) + 60);
  const sender = senderOf(port.folder);
  const strangers_zone = `zones:\n  - { name: strangers, subnets: [${STRANGERS.join('.')}.0.0/16] }\n`;
  const sensor = await Sensor.start(port, { shards, zones: loadZones(true).replace('zones:\n', strangers_zone) });
  const database = sensor.database();
  onProgress(`${sender.name} sends for ${seconds} s`);
  const delays = new Delays(database);
  const alerting = port.spawn(...sender.command(alerts, ALERTS_A_SECOND));
  await sleep(1000);
  const before = sensor.usage();
  const loading = port.spawn(...pinned(sender.command(load, packets_per_second)));
  const loading_began = performance.now();
  const samples = await sampled(sensor, database, options);
  const sent = await sender.stop(loading);
  const sending_s = (performance.now() - loading_began) / 1000;
  const after = sensor.usage();
  const alerted = await sender.stop(alerting);
  await delays.settled(alerted);
  const load_average = os.loadavg()[0];
  const account = await sensor.stop();
  const received_of_load = account.received - alerted;
  delays.close();
  database.close();
  return {
    sender: sender.name,
    sent: sent + alerted,
    seconds: sending_s,
    packets_per_second: sent / sending_s,
    lost_before_capture: sent + alerted - account.received,
    ...account,
    unaccounted: account.received - account.inspected - account.dropped_by_kernel - droppedByUs(account),
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
    memory_growth_mb_a_minute: growth(samples),
    samples,
    alerts_sent: alerted,
    ...delays.result(),
    load_average,
  };
}

async function sampled(
  sensor: Sensor,
  database: Database.Database,
  { seconds, sample_seconds, onProgress }: LiveOptions,
): Promise<Sample[]> {
  const kept = database.prepare<[], string>('SELECT counters FROM captures ORDER BY id DESC LIMIT 1').pluck();
  const samples: Sample[] = [];
  const began = performance.now();
  for (let second = sample_seconds; second <= seconds; second += sample_seconds) {
    await sleep(began + second * 1000 - performance.now());
    const counters = JSON.parse(kept.get() ?? '{}') as Record<string, number>;
    const lost = Object.entries(counters).filter(([name]) => /^capture\.dropped_by_(kernel|us\.)/.test(name));
    samples.push({
      second,
      resident_mb: sensor.usage().resident_mb,
      received: counters['capture.received'] ?? 0,
      lost: lost.reduce((sum, [, count]) => sum + count, 0),
    });
    onProgress(sampleText(samples[samples.length - 1]));
  }
  await sleep(Math.max(0, began + seconds * 1000 - performance.now()));
  return samples;
}

/** The slope of the line that fits memory over time best (least squares), once the sensor has been at it for a while. */
export function growth(samples: readonly Sample[]): number | null {
  const late = samples.slice(samples.length >> 1);
  if (late.length < 3 || late[late.length - 1].second - late[0].second < GROWTH_SECONDS) return null;
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const second = mean(late.map((one) => one.second));
  const resident_mb = mean(late.map((one) => one.resident_mb));
  const sum = (of: (one: Sample) => number) => late.reduce((total, one) => total + of(one), 0);
  const slope = sum((one) => (one.second - second) * (one.resident_mb - resident_mb)) / sum((one) => (one.second - second) ** 2);
  return slope * 60;
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

/** Looks into the database for alerts of strangers, and how old their packets are when they are first seen. */
class Delays {
  private readonly timer: NodeJS.Timeout;
  private readonly delays_ms: number[] = [];
  private last = 0;

  constructor(database: Database.Database) {
    const newer = database.prepare<[number], { id: number; first_ms: number }>(
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
  }
}

const number = (value: number) => Math.round(value).toLocaleString('en-US');

const sampleText = ({ second, received, lost, resident_mb }: Sample) =>
  `${number(second)} s: ${number(received)} received, ${number(lost)} lost, ${number(resident_mb)} MB`;

/** The result in lines for a terminal. */
export function liveText(result: LiveResult): string {
  const own = droppedByUs(result);
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
    ...(result.memory_growth_mb_a_minute === null
      ? []
      : [['memory, second half', `${result.memory_growth_mb_a_minute.toFixed(2)} MB a minute more`] satisfies [string, string]]),
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
