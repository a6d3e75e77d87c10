import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { median } from './child.ts';
import { type DatabaseSize, makeDatabase } from './database.ts';
import { ensureLoad } from './load.ts';
import { type MirrorPort, pinned, senderOf, withMirrorPort } from './mirror-port.ts';
import { type Account, droppedByUs, Sensor } from './sensor.ts';
import { loadZones } from './zone-files.ts';

/** How soon `ot-sensor run` is there on a mirror port under traffic, where its database holds much already. */
export interface StartOptions extends DatabaseSize {
  packets_per_second: number;
  shards: number;
  times: number;
  onProgress: (what: string) => void;
}

/** One start; times from when the process was started. */
export interface Start extends Account {
  /** The stamp of the first packet in the kernel's ring: from there on none may be lost. */
  first_packet_ms: number;
  /** All interfaces are open. */
  capturing_ms: number;
  /** The inventory is there, and batches go to the shards. */
  inspecting_ms: number;
}

export interface StartResult extends DatabaseSize {
  packets_per_second: number;
  starts: Start[];
  load_average: number;
}

const LOAD = { packets: 200_000, flows: 200 };
/** How long traffic goes on once it inspects: until what waited has been worked through. */
const AFTER_MS = 2000;

/** Throws OperatingError where something is missing, or the sensor does not come up. */
export async function measureStart(options: StartOptions): Promise<StartResult> {
  const { devices, connections, activities, packets_per_second, times, onProgress } = options;
  const size = { devices, connections, activities };
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-bench-'));
  try {
    onProgress('making the database');
    makeDatabase(folder, size);
    const starts: Start[] = [];
    for (let i = 0; i < times; i++) starts.push(await withMirrorPort((port) => start(port, folder, options)));
    return { ...size, packets_per_second, starts, load_average: os.loadavg()[0] };
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function start(port: MirrorPort, database: string, options: StartOptions): Promise<Start> {
  const { packets_per_second, shards, onProgress } = options;
  fs.cpSync(database, path.join(port.folder, 'data'), { recursive: true });
  const sender = senderOf(port.folder);
  const sending = port.spawn(...pinned(sender.command(ensureLoad(LOAD), packets_per_second)));
  await sleep(500);
  onProgress('starting the sensor');
  const sensor = await Sensor.start(port, { shards, zones: loadZones(true) });
  await sleep(AFTER_MS);
  await sender.stop(sending);
  const account = await sensor.stop();
  const kept = sensor.database();
  const first_ms = kept.prepare('SELECT first_ms FROM captures ORDER BY id DESC LIMIT 1').pluck().get() as number;
  kept.close();
  const since = (time_ms: number | undefined) => (time_ms ?? Number.NaN) - sensor.started_ms;
  return {
    first_packet_ms: since(first_ms),
    capturing_ms: since(sensor.saidAt('capturing')),
    inspecting_ms: since(sensor.saidAt('running')),
    ...account,
  };
}

/** The result in lines for a terminal. */
export function startText({ devices, connections, activities, packets_per_second, starts, load_average }: StartResult): string {
  const number = (value: number) => Math.round(value).toLocaleString('en-US');
  const row = (cells: readonly string[]) => `${cells.map((cell) => cell.padStart(13)).join('')}\n`;
  const times = (of: (start: Start) => number) => number(median(starts.map(of)));
  return [
    `${number(devices)} devices, ${number(connections)} connections, ${number(activities)} activities; `,
    `${number(packets_per_second)} packets a second; load average ${load_average.toFixed(1)}\n`,
    row(['first packet', 'capturing', 'inspecting', 'received', 'inspected', 'lost']),
    ...starts.map((one) =>
      row([
        ...[one.first_packet_ms, one.capturing_ms, one.inspecting_ms].map((ms) => `${number(ms)} ms`),
        ...[one.received, one.inspected, one.dropped_by_kernel + droppedByUs(one)].map(number),
      ]),
    ),
    `in the middle: first packet ${times((one) => one.first_packet_ms)} ms, capturing ${times((one) => one.capturing_ms)} ms, `,
    `inspecting ${times((one) => one.inspecting_ms)} ms\n`,
  ].join('');
}
