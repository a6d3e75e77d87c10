import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { AlertBook } from '../detect/alert-book.ts';
import { emptyChangeSet } from '../store/change-set.ts';
import { Writer } from '../store/writer.ts';
import { openManagement } from './management.ts';
import { RETENTION, Retention } from './retention.ts';
import { StoreAccess } from './store-access.ts';

const DAY = 86_400_000;
const NOW = 1000 * DAY;

let folder: string;
let writer: Writer;
let store: StoreAccess;
let management: ReturnType<typeof openManagement>;
let retention: Retention;
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-'));
  writer = new Writer(folder);
  store = new StoreAccess(folder);
  management = openManagement(folder);
  retention = new Retention(management.settings, store, folder, () => NOW);
});
afterEach(() => {
  store.close();
  management.database.close();
  writer.close();
  fs.rmSync(folder, { recursive: true });
});

/** One alert with a packet and one event a day. */
function found(days: readonly number[]) {
  const changes = emptyChangeSet();
  const book = new AlertBook(1);
  const end = { mac: '', ip: '192.0.2.1', port: 0, device: null };
  for (const day of days) {
    const key = `${day}`;
    const details = { what: key };
    const time_ms = day * DAY;
    book.raise({
      key,
      kind: 'device_stop',
      frame: day,
      time_ms,
      source: end,
      destination: end,
      segment: '',
      proto: '',
      app_proto: '',
      operation: '',
      details,
    });
    changes.events.push({
      capture_id: 1,
      frame: day,
      time_ms,
      kind: 'device_detected',
      device_id: null,
      title: key,
      details: {},
    });
    const packet = { seconds: 0, nanoseconds: 0, captured: 4, wire: 4, link_type: 1, bytes: new Uint8Array(4) };
    changes.evidence.push({ alert_key: key, ordinal: 0, capture_id: 1, frame: day, ...packet });
  }
  changes.alerts = book.drain();
  writer.apply(changes);
}
const days = () => store.reader.alerts({ limit: 10_000 }).rows.map((row) => row.first_ms / DAY);

it('what is too old goes, with its packets and comments, and nothing else', async () => {
  found([100, 600, 700, 999]);
  store.operator.comment(1, 'anna', 'x', 1);
  store.operator.comment(4, 'anna', 'y', 1);
  management.settings.write(RETENTION, { alert_days: 350, event_days: 10 }, 'test', 0);
  expect(await retention.prune()).toEqual({ alerts: 2, events: 3 });
  expect(days()).toEqual([700, 999]);
  expect(store.reader.totals()).toMatchObject({ alerts: 2, evidence: 2, events: 1 });
  expect(store.reader.comments(1)).toEqual([]);
  expect(store.reader.comments(4)).toHaveLength(1);
});

it('the newest always stays: no number is used twice', async () => {
  found([1, 2]);
  management.settings.write(RETENTION, { alert_days: 1, event_days: 1 }, 'test', 0);
  await retention.prune();
  expect(store.reader.alerts().rows.map((row) => row.id)).toEqual([2]);
  found([3]);
  expect(store.reader.alerts().rows.map((row) => row.id)).toEqual([2, 3]);
});

it('the oldest go where there is too much, however young', async () => {
  found(Array.from({ length: 5000 }, (_, i) => i + 1));
  management.settings.write(RETENTION, { alert_days: 0, event_days: 0, database_percent: 50 }, 'test', 0);
  expect(await retention.prune()).toEqual({ alerts: 0, events: 0 });
  const limit = Math.floor(store.operator.usedBytes() * 0.6);
  const { alerts, events } = await retention.prune(limit * 2);
  expect(alerts).toBeGreaterThan(0);
  expect(events).toBe(alerts);
  expect(store.operator.usedBytes()).toBeLessThanOrEqual(limit);
  expect(days()[0]).toBe(alerts + 1);
  // Room that was given back is used again.
  const size = fs.statSync(path.join(folder, 'ot-sensor.db')).size;
  found(Array.from({ length: alerts }, (_, i) => i + 10_001));
  expect(fs.statSync(path.join(folder, 'ot-sensor.db')).size).toBeLessThan(size * 1.2);
});
