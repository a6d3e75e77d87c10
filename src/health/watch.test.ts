import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openManagement } from '../appliance/management.ts';
import { StoreAccess } from '../appliance/store-access.ts';
import { emptyChangeSet } from '../store/change-set.ts';
import { Writer } from '../store/writer.ts';
import { Health } from './health.ts';
import { HEALTH } from './settings.ts';
import { HealthWatch } from './watch.ts';

const MINUTE = 60_000;

let folder: string;
let writer: Writer | null;
let management: ReturnType<typeof openManagement>;
let store: StoreAccess;
let clock: { wall_ms: number; steady_ms: number };
let expires_ms: number | null;
let watch: HealthWatch;
let queues: { name: string; waiting: number; limit: number }[];

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-'));
  writer = new Writer(folder);
  management = openManagement(folder);
  store = new StoreAccess(folder);
  clock = { wall_ms: 1_700_000_000_000, steady_ms: 0 };
  expires_ms = null;
  queues = [];
  const { notifications, settings } = management;
  const health = new Health({
    version: '1',
    directory: folder,
    store,
    notifications,
    certificateExpires: () => expires_ms,
    forwardingQueues: () => queues,
  });
  // The machine that runs the tests may be full.
  settings.write(HEALTH, { disk_used_percent: 100, memory_available_percent: 0 }, 'test', 0);
  watch = new HealthWatch(health, notifications, settings, { wall_ms: () => clock.wall_ms, steady_ms: () => clock.steady_ms });
});
afterEach(() => {
  store.close();
  management.database.close();
  writer?.close();
  fs.rmSync(folder, { recursive: true });
});

const open = () => management.notifications.list({ open: true }).map((one) => one.kind);
const pass = (ms: number) => {
  clock.wall_ms += ms;
  clock.steady_ms += ms;
};
const received = (count: number, lost = 0) =>
  writer!.apply({
    ...emptyChangeSet(),
    captures: [
      {
        id: 1,
        source: 'eth1',
        packets: count,
        bytes: count * 100,
        first_ms: 1,
        last_ms: 2,
        finished: false,
        counters: { 'capture.received': count, 'capture.dropped_by_kernel': lost, 'capture.dropped_by_us.fault': 0 },
        warnings: [],
      },
    ],
  });

it('a mirror port that falls silent is told of, and is over when something comes', () => {
  received(10);
  watch.look();
  pass(14 * MINUTE);
  watch.look();
  expect(open()).toEqual([]);
  pass(MINUTE);
  watch.look();
  expect(open()).toEqual(['no_traffic']);
  received(11);
  watch.look();
  expect(open()).toEqual([]);
});

it('losses are told of with each further one', () => {
  received(10);
  watch.look();
  received(20, 3);
  watch.look();
  expect(open()).toEqual(['packets_dropped']);
  watch.look();
  expect(open()).toEqual([]);
  received(30, 4);
  watch.look();
  expect(management.notifications.list().map((one) => one.details.lost)).toEqual([3, 1]);
});

it('a sensor that ended is told of, one that never ran is not missed', () => {
  watch.look();
  writer!.close();
  watch.look();
  expect(open()).toEqual(['sensor_stopped']);
  writer = new Writer(folder);
  watch.look();
  expect(open()).toEqual([]);
});

it('a queue that fills is told of before anything is left out of it', () => {
  const waits = (waiting: number) => {
    queues = [{ name: 'siem', waiting, limit: 1000 }];
    watch.look();
    return open();
  };
  expect(waits(499)).toEqual([]);
  expect(waits(500)).toEqual(['forwarding_behind']);
  expect(management.notifications.list({ open: true })[0].details).toEqual({ destination: 'siem', waiting: 500, limit: 1000 });
  expect(waits(10)).toEqual([]);
});

it('a certificate near its end', () => {
  expires_ms = clock.wall_ms + 31 * 86_400_000;
  watch.look();
  expect(open()).toEqual([]);
  pass(2 * 86_400_000);
  watch.look();
  expect(open()).toContain('certificate_expiring');
  expires_ms = clock.wall_ms + 90 * 86_400_000;
  watch.look();
  expect(open()).not.toContain('certificate_expiring');
});

it('a clock that was set, forward or back', () => {
  watch.look();
  pass(MINUTE);
  clock.wall_ms -= 10_000;
  watch.look();
  expect(management.notifications.list()[0]).toMatchObject({ kind: 'time_drift', details: { step_ms: -10_000 } });
  pass(MINUTE);
  watch.look();
  expect(open()).toEqual([]);
  clock.wall_ms += 4000;
  watch.look();
  expect(open()).toEqual([]);
});

it('a full volume, by the limit that is set', () => {
  management.settings.write(HEALTH, { disk_used_percent: 1 }, 'test', 0);
  watch.look();
  expect(management.notifications.list({ open: true })[0]).toMatchObject({ kind: 'disk_low', details: { path: folder } });
});
