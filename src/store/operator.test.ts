import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AlertBook, type AlertCause } from '../detect/alert-book.ts';
import { emptyChangeSet } from './change-set.ts';
import { OperatorStore } from './operator.ts';
import { type Cursor, StoreReader } from './queries.ts';
import { Writer } from './writer.ts';

let folder: string;
let writer: Writer;
let book: AlertBook;
let operator: OperatorStore;
let reader: StoreReader;

const end = { mac: '', ip: '192.0.2.1', port: 0, device: null };
const cause = (key: string, frame: number): AlertCause => ({
  key,
  kind: 'device_stop',
  frame,
  time_ms: frame * 1000,
  source: end,
  destination: end,
  segment: '',
  proto: 'tcp',
  app_proto: 's7comm',
  operation: 'stop',
  details: { what: key },
});
const found = (key: string, frame: number) => {
  book.raise(cause(key, frame));
  writer.apply({ ...emptyChangeSet(), alerts: book.drain() });
};
const alerts = () =>
  reader.alerts().rows.map(({ id, status, count, first_ms, first_frame }) => ({ id, status, count, first_ms, first_frame }));

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-'));
  writer = new Writer(folder);
  book = new AlertBook(1);
  operator = new OperatorStore(folder);
  reader = new StoreReader(folder);
});
afterEach(() => {
  for (const open of [reader, operator, writer]) open.close();
  fs.rmSync(folder, { recursive: true });
});

describe('the state of an alert', () => {
  it('closed: the same found again is a new alert with a time of its own', () => {
    found('a', 1);
    found('a', 2);
    expect(operator.setStatus(1, 'closed')).toBe('done');
    expect(operator.setStatus(1, 'closed')).toBe('done');
    found('a', 3);
    found('a', 4);
    expect(alerts()).toEqual([
      { id: 1, status: 'closed', count: 2, first_ms: 1000, first_frame: 1 },
      { id: 2, status: 'open', count: 2, first_ms: 3000, first_frame: 3 },
    ]);
    expect(operator.setStatus(1, 'open')).toBe('replaced');
    expect(operator.setStatus(2, 'closed')).toBe('done');
    expect(operator.setStatus(2, 'open')).toBe('done');
    found('a', 5);
    expect(alerts()[1]).toMatchObject({ id: 2, status: 'open', count: 3 });
  });

  it.each(['acknowledged', 'muted'] as const)('%s: the same found again is counted and nothing more', (status) => {
    found('a', 1);
    expect(operator.setStatus(1, status)).toBe('done');
    found('a', 2);
    expect(alerts()).toEqual([{ id: 1, status, count: 2, first_ms: 1000, first_frame: 1 }]);
  });

  it('of one that is not there', () => {
    expect(operator.setStatus(7, 'closed')).toBe('missing');
    expect(operator.comment(7, 'anna', 'x', 1)).toBe(false);
    expect(operator.mark(7, { authorized: true }, 'anna', 1)).toBe(false);
  });
});

it('comments are kept in their order', () => {
  found('a', 1);
  operator.comment(1, 'anna', 'planned maintenance?', 10);
  operator.comment(1, 'ben', 'no', 20);
  expect(reader.comments(1).map(({ author, text, time_ms }) => [author, text, time_ms])).toEqual([
    ['anna', 'planned maintenance?', 10],
    ['ben', 'no', 20],
  ]);
  expect(reader.alerts().rows[0].comments).toBe(2);
});

it('lists are read page by page in any order', () => {
  for (const [i, key] of ['c', 'a', 'b', 'd'].entries()) for (let n = 0; n <= i % 3; n++) found(key, i + 1);
  const read = (range: object) => {
    const ids: number[] = [];
    for (let cursor: Cursor | undefined; ; ) {
      const page = reader.alerts({ limit: 1, ...range, cursor });
      ids.push(...page.rows.map((row) => row.id));
      if (page.next_cursor === null) return ids;
      cursor = page.next_cursor;
    }
  };
  expect(read({})).toEqual([1, 2, 3, 4]);
  expect(read({ descending: true })).toEqual([4, 3, 2, 1]);
  expect(read({ sort: 'count' })).toEqual([1, 4, 2, 3]);
  expect(read({ sort: 'count', descending: true })).toEqual([3, 2, 4, 1]);
  expect(read({ sort: 'last_ms', descending: true })).toEqual([4, 3, 2, 1]);
  expect(() => reader.alerts({ sort: 'description' })).toThrow(/not sorted/);
});
