import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AlertBook } from '../detect/alert-book.ts';
import { emptyChangeSet } from './change-set.ts';
import { OperatorStore } from './operator.ts';
import { StoreReader, sumOf } from './queries.ts';
import { Writer } from './writer.ts';

let directory: string;
let reader: StoreReader;
let operator: OperatorStore;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ot-sensor-totals-'));
  const writer = new Writer(directory);
  const book = new AlertBook(1);
  const end = { mac: '', ip: '192.0.2.1', port: 0, device: null };
  for (let i = 1; i <= 60; i++)
    book.raise({
      key: `${i}`,
      kind: i % 5 === 0 ? 'device_stop' : i % 3 === 0 ? 'zone_crossing' : 'new_device',
      frame: i,
      time_ms: i * 1000,
      source: end,
      destination: end,
      segment: '',
      proto: 'tcp',
      app_proto: 's7comm',
      operation: 'stop',
      details: { what: `${i}` },
    });
  writer.apply({ ...emptyChangeSet(), alerts: book.drain() });
  writer.close();
  reader = new StoreReader(directory);
  operator = new OperatorStore(directory);
});

afterEach(() => {
  reader.close();
  operator.close();
  rmSync(directory, { recursive: true });
});

describe('open alerts', () => {
  /** By looking at every row. */
  const counted = () => {
    const counts: Record<string, number> = {};
    for (const { severity, status } of reader.alerts().rows)
      if (status === 'open') counts[severity] = (counts[severity] ?? 0) + 1;
    return counts;
  };

  it.each([1, 7, 60, 1000])('are counted by severity, %i ids at a time as well as at once', (ids) => {
    for (const id of [1, 2, 15, 60]) operator.setStatus(id, 'closed');
    expect(Object.keys(counted())).toHaveLength(3);
    expect(reader.openAlerts()).toEqual(counted());
    expect(sumOf(reader.openAlertSlices(ids))).toEqual(counted());
  });

  it('are none where all are closed', () => {
    for (const { id } of reader.alerts().rows) operator.setStatus(id, 'closed');
    expect(reader.openAlerts()).toEqual({});
  });
});

describe('the oldest alerts go first', () => {
  const left = () => reader.alerts().rows.map((row) => row.id);

  it('of those that were not seen since a time; none where none is that old', () => {
    expect(operator.pruneAlerts(0, 100)).toBe(0);
    expect(operator.pruneAlerts(11_000, 4)).toBe(4);
    expect(left()[0]).toBe(5);
    expect(operator.pruneAlerts(11_000, 100)).toBe(6);
    expect(left()[0]).toBe(11);
  });

  it('of all where room is needed, but for the newest', () => {
    expect(operator.pruneAlerts(Number.POSITIVE_INFINITY, 100)).toBe(59);
    expect(left()).toEqual([60]);
  });
});
