import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CATALOGUE, kindOf } from '../detect/catalogue.ts';
import { type Cursor, type ListName, SORTS, SORTS_WITHOUT_INDEX, StoreReader } from './queries.ts';
import { DATABASE_FILE, Writer } from './writer.ts';

let directory: string;
let db: Database.Database;
let reader: StoreReader;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ot-sensor-lists-'));
  new Writer(directory).close();
  db = new Database(join(directory, DATABASE_FILE));
  db.pragma('synchronous = OFF');
  reader = new StoreReader(directory);
});

afterEach(() => {
  reader.close();
  db.close();
  rmSync(directory, { recursive: true });
});

type Value = string | number | null;
type Row = Record<string, Value>;

/** Control characters, quotes, what is special in JSON and in SQL, any script. Half a surrogate pair is no text that can be stored. */
const text = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary' }),
  fc.constantFrom('"', "'", '\\', '\0', '\u2028', '</script>', '%_'),
);
/** Milliseconds and microseconds. Of finer ones the number is the same, and the last digit may be another. */
const time = fc.oneof(
  fc.integer({ min: 0, max: 4e12 }),
  fc.integer({ min: 1e15, max: 4e15 }).map((us) => us / 1000),
);
const FLAGS = ['programming_station', 'router', 'gateway', 'opener_certain', 'from_opener', 'authorized', 'scanner'];

/** A row of a table with anything in it that its columns take. */
function rowOf(table: string, fixed: Record<string, fc.Arbitrary<Value>> = {}): fc.Arbitrary<Row> {
  const columns = db.prepare('SELECT name, type, "notnull" AS required FROM pragma_table_info(?)').all(table) as {
    name: string;
    type: string;
    required: number;
  }[];
  const arbitrary = ({ name, type }: { name: string; type: string }): fc.Arbitrary<Value> => {
    if (name === 'details') return fc.dictionary(text, fc.jsonValue()).map((value) => JSON.stringify(value));
    if (FLAGS.includes(name)) return fc.constantFrom(0, 1);
    if (type === 'INTEGER') return fc.oneof(fc.integer({ min: 0, max: 65_535 }), fc.maxSafeInteger());
    return type === 'REAL' ? time : text;
  };
  const members = columns.map((column) => {
    const one = arbitrary(column);
    return [column.name, fixed[column.name] ?? (column.required || column.name === 'id' ? one : fc.option(one))] as const;
  });
  return fc.record(Object.fromEntries(members));
}

function insert(table: string, row: Row): void {
  const names = Object.keys(row);
  db.prepare(`REPLACE INTO ${table} (${names.join(', ')}) VALUES (${names.map((name) => `@${name}`).join(', ')})`).run(row);
}

const one = fc.constant(1);
const kind = fc.oneof(text, fc.constantFrom(...CATALOGUE.map((row) => row.kind as string)));

/** What rows are made of, and what is shown of a stored one. */
const CASES: Record<
  ListName,
  { rows: () => Record<string, fc.Arbitrary<Row>>; shown?: (row: never, made: Record<string, Row>) => object }
> = {
  devices: {
    rows: () => ({
      devices: rowOf('devices', { id: one, merged_into: fc.constant(null) }),
      device_marks: rowOf('device_marks', { device_id: fc.constantFrom(1, 2) }),
      addresses: rowOf('addresses', { device_id: one, current: fc.constantFrom(0, 1) }),
      interfaces: rowOf('interfaces', { device_id: one }),
      parts: rowOf('parts', { device_id: one }),
    }),
    shown: (row: Row, { device_marks }) => {
      const marks = device_marks.device_id === 1 ? device_marks : null;
      const flag = (value: Value | undefined) => (value === null || value === undefined ? null : value !== 0);
      return {
        ...row,
        name: marks?.name ?? row.name,
        type: marks?.type ?? row.type,
        type_reason: marks?.type ? `set by ${marks.changed_by}` : row.type_reason,
        programming_station: flag(marks?.programming_station) ?? row.programming_station,
        authorized: flag(marks?.authorized) ?? true,
        scanner: flag(marks?.scanner) ?? false,
        note: marks?.note ?? '',
      };
    },
  },
  connections: { rows: () => ({ connections: rowOf('connections', { id: one }) }) },
  activities: {
    rows: () => ({
      connections: rowOf('connections', { id: one }),
      activities: rowOf('activities', { id: one, connection_id: one }),
    }),
  },
  alerts: {
    rows: () => ({
      alerts: rowOf('alerts', { id: one, kind }),
      alert_comments: rowOf('alert_comments', { alert_id: fc.constantFrom(1, 2) }),
    }),
    shown: (row: { kind: string }) => ({ ...row, engine: kindOf(row.kind).engine, category: kindOf(row.kind).category }),
  },
  events: { rows: () => ({ events: rowOf('events', { id: one }) }) },
};

describe('the JSON that SQLite makes', () => {
  it.each(Object.keys(CASES) as ListName[])('%s: is what JavaScript writes of the stored row, to the byte', (name) => {
    const { rows, shown = (row: never) => row } = CASES[name];
    fc.assert(
      fc.property(fc.record(rows()), (made) => {
        for (const [table, row] of Object.entries(made)) {
          db.exec(`DELETE FROM ${table}`);
          insert(table, row);
        }
        const stored = reader[name]().rows[0];
        const { texts, fields } = fieldsOf(name, shown(stored as never, made));
        expect(texts).toEqual([{ id: 1, text: JSON.stringify(fields) }]);
      }),
      { numRuns: 300 },
    );
  });

  /** The fields in an order that is not the stored one. */
  function fieldsOf(name: ListName, row: object): { texts: object[]; fields: object } {
    const names = Object.keys(row).reverse();
    const fields = Object.fromEntries(names.map((field) => [field, (row as Record<string, unknown>)[field]]));
    return { texts: reader.texts(name, {}, names).rows, fields };
  }

  it('any number is the same number', () => {
    const stored = fc.double({ noNaN: true, noDefaultInfinity: true });
    fc.assert(
      fc.property(
        stored,
        rowOf('activities', { id: one, connection_id: one }),
        rowOf('connections', { id: one }),
        (value, row, of) => {
          insert('connections', of);
          insert('activities', { ...row, target_first: value });
          const [{ text: json }] = reader.texts('activities', {}, ['target_first']).rows;
          expect((JSON.parse(json) as { target_first: number }).target_first).toBe(value === 0 ? 0 : value);
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('a page', () => {
  it.each(['alerts', 'connections'] as const)('%s: is sorted by an index, or is known to have none', (name) => {
    const without = SORTS[name].filter((sort) => {
      const plan = db.prepare(`EXPLAIN QUERY PLAN SELECT id FROM ${name} ORDER BY ${sort}, id LIMIT 5`).all() as {
        detail: string;
      }[];
      return plan.some(({ detail }) => detail.includes('TEMP B-TREE'));
    });
    expect([...SORTS_WITHOUT_INDEX[name]!].sort()).toEqual([...without].sort());
  });

  it.each(
    Object.entries(SORTS).flatMap(([name, sorts]) => [undefined, ...sorts].map((sort) => [name as ListName, sort] as const)),
  )('%s by %s: texts and rows are of the same ids, and go on at the same place', (name, sort) => {
    const several = fc.sample(fc.record(CASES[name].rows()), { numRuns: 12, seed: 5 });
    for (const [i, made] of several.entries())
      for (const [table, row] of Object.entries(made))
        insert(table, { ...row, ...(table === name ? { id: i + 1 } : {}), ...(table === 'alerts' ? { key: `${i}` } : {}) });
    for (const descending of [false, true])
      for (let cursor: Cursor | null | undefined, pages = 0; cursor !== null; pages++) {
        const filter = { sort, descending, limit: 5, cursor: cursor ?? undefined };
        const rows = reader[name](filter);
        const texts = reader.texts(name, filter, ['id']);
        expect(texts.rows.map((row) => row.id)).toEqual((rows.rows as { id: number }[]).map((row) => row.id));
        expect(texts.next_cursor).toEqual(rows.next_cursor);
        expect(pages).toBeLessThan(3);
        cursor = texts.next_cursor;
      }
  });
});
