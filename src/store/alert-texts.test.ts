import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { AlertTexts } from './alert-texts.ts';
import { StoreReader } from './queries.ts';
import { ReadConnection } from './read-connection.ts';
import { DATABASE_FILE, Writer } from './writer.ts';

let directory: string;
let db: Database.Database;
let reader: StoreReader;
let connection: ReadConnection;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ot-sensor-texts-'));
  new Writer(directory).close();
  db = new Database(join(directory, DATABASE_FILE));
  db.pragma('synchronous = OFF');
  reader = new StoreReader(directory);
  connection = new ReadConnection(directory);
});

afterEach(() => {
  for (const one of [reader, connection, db]) one.close();
  rmSync(directory, { recursive: true });
});

interface Said {
  title: string;
  description: string;
  details: string;
  source_ip: string;
  destination_mac: string;
}

function insert(alerts: readonly Said[]): void {
  const statement = db.prepare(
    `INSERT INTO alerts (key, kind, severity, title, description, source_mac, source_ip, source_port, source_zone, destination_mac,
     destination_ip, destination_port, destination_zone, segment, proto, app_proto, operation, technique, details, count, first_ms,
     last_ms, first_frame, last_frame, capture_id)
     VALUES (?, '', '', @title, @description, '', @source_ip, 0, '', @destination_mac, '', 0, '', '', '', '', '', '', @details, 1, 0, 0, 0,
     0, 1)`,
  );
  db.transaction(() => {
    for (const alert of alerts) statement.run(`${Math.random()}`, alert);
  })();
}

const word = fc.oneof(
  fc.constantFrom('Stop', 'stop', 'PLC', 'plc', '10.0.0.1', '%', '_', '\\', 'ÄΣ', 'äσ', 'ς', '\u0130', ''),
  fc.string({ maxLength: 3 }),
);
const words = fc.array(word, { maxLength: 3 }).map((several) => several.join(' '));
const alerts = fc.array(
  fc.record({
    title: words,
    description: words,
    details: words.map((said) => JSON.stringify({ said })),
    source_ip: word,
    destination_mac: word,
  }),
  {
    minLength: 1,
    maxLength: 30,
  },
);

it('knows of the alerts it has taken in which hold a text, as the database would say', () => {
  fc.assert(
    fc.property(
      alerts,
      alerts,
      fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 6 }),
      words.filter((text) => text !== ''),
      fc.constantFrom(40, 400, 1 << 20),
      fc.boolean(),
      (some, more, counts, text, room, descending) => {
        db.exec('DELETE FROM alerts');
        insert(some);
        const texts = new AlertTexts(connection, room);
        for (const [i, count] of counts.entries()) {
          if (i === 2) insert(more);
          if (i === 4) db.exec('DELETE FROM alerts WHERE id IN (SELECT id FROM alerts ORDER BY id LIMIT 3)');
          texts.takeIn(count);
        }
        const { low, high } = texts;
        const there = reader.alerts({ limit: 10_000 }).rows.map((row) => row.id);
        const holding = reader.alerts({ limit: 10_000, text, descending }).rows.map((row) => row.id);
        const found = [...texts.candidates(text, low, high, descending)].flat().filter((id) => there.includes(id));
        expect(found).toEqual(holding.filter((id) => id >= low && id <= high));
      },
    ),
    { numRuns: 300 },
  );
});

it('takes in the newest first, then all of them, and those that come', () => {
  const plain = { title: 'a', description: '', details: '{}', source_ip: '', destination_mac: '' };
  const texts = new AlertTexts(connection);
  expect(texts.takeIn(10)).toBe(false);
  insert(Array.from({ length: 25 }, () => plain));
  const steps = [];
  while (texts.takeIn(10)) steps.push([texts.low, texts.high]);
  expect(steps).toEqual([
    [16, 25],
    [6, 25],
    [1, 25],
  ]);
  insert([{ ...plain, title: 'new' }]);
  expect(texts.takeIn(10)).toBe(true);
  expect([...texts.candidates('NEW', texts.low, texts.high, true)]).toEqual([[26]]);
});

it('goes on while somebody goes through it, and all is forgotten for new ones', () => {
  insert(
    Array.from({ length: 1200 }, (_, i) => ({
      title: `alert ${i}`,
      description: '',
      details: '',
      source_ip: '',
      destination_mac: '',
    })),
  );
  const texts = new AlertTexts(connection, 20_000);
  while (texts.takeIn(100));
  expect([texts.low, texts.high]).toEqual([1, 1200]);
  const candidates = texts.candidates('alert', texts.low, texts.high, true);
  const first = candidates.next().value as number[];
  insert(
    Array.from({ length: 1000 }, (_, i) => ({
      title: `other ${i}`,
      description: '',
      details: '',
      source_ip: '',
      destination_mac: '',
    })),
  );
  while (texts.takeIn(100));
  expect(texts.low).toBeGreaterThan(1);
  const rest = [...candidates].flat();
  expect([...first, ...rest]).toEqual(Array.from({ length: 1200 }, (_, i) => 1200 - i));
});
