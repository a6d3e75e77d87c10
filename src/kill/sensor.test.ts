/**
 * What `kill -9` leaves, at random moments of what a sensor and its service do (`testing.ts`): it opens again, what was committed is there, everything is as before or
 * as afterwards, and the next one works.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { MirrorPorts, whyNoLiveCapture } from '../../native-bindings/pcap/testing.ts';
import { APPLIANCE_FILE } from '../appliance/database.ts';
import { openManagement } from '../appliance/management.ts';
import { openCaptureFile } from '../capture/file-source.ts';
import { PcapWriter } from '../capture/pcap-writer.ts';
import { readThrough } from '../capture/testing.ts';
import { PLANT, PROGRAM, remove, temporaryFolder, ZONES } from '../cli/testing.ts';
import { freePort } from '../forward/testing.ts';
import { SCHEMA_VERSION } from '../store/migrations.ts';
import { DATABASE_FILE, Writer } from '../store/writer.ts';
import {
  countsIn,
  done,
  killAtRandomMoments,
  makeOldDatabase,
  nextIsWaitedFor,
  schemaOf,
  soundCounts,
  TIMEOUT_MS as timeout,
} from './testing.ts';

let folder: string;
const at = (...names: string[]): string => path.join(folder, ...names);
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => remove(folder));

/** Rows that belong to none in a sensor's database, however whole SQLite finds it. */
function strays(file: string): number {
  const db = new Database(file, { readonly: true });
  try {
    const of = (table: string, column: string, other: string) =>
      `SELECT count(*) FROM ${table} WHERE ${column} IS NOT NULL AND ${column} NOT IN (SELECT id FROM ${other})`;
    const questions = [
      of('connections', 'opener_device', 'devices'),
      of('connections', 'responder_device', 'devices'),
      of('activities', 'connection_id', 'connections'),
      of('alerts', 'source_device', 'devices'),
      of('evidence', 'alert_id', 'alerts'),
      of('addresses', 'device_id', 'devices'),
      of('interfaces', 'device_id', 'devices'),
    ];
    return questions.reduce((sum, question) => sum + (db.prepare(question).pluck().get() as number), 0);
  } finally {
    db.close();
  }
}

/** What a sensor has committed, as whoever reads beside it sees. */
class Committed {
  private rows: Record<string, number> = {};
  private readonly file: string;

  constructor(data: string) {
    this.file = path.join(data, DATABASE_FILE);
  }

  look(): void {
    if (!fs.existsSync(this.file)) return;
    try {
      const db = new Database(this.file, { readonly: true, timeout: 0 });
      try {
        this.rows = db.transaction(() => countsIn(db))();
      } finally {
        db.close();
      }
    } catch {
      // It is being made, or not to be had just now.
    }
  }

  /** All of it is there, and nothing of which a part is missing. */
  check(): void {
    const found = fs.existsSync(this.file) ? soundCounts(this.file) : {};
    for (const [table, count] of Object.entries(this.rows))
      expect([table, found[table]]).toEqual([table, Math.max(count, found[table] ?? -1)]);
    if (Object.keys(found).length > 0) expect(strays(this.file)).toBe(0);
  }

  forget(): void {
    this.rows = {};
  }
}

const capturesIn = (data: string): { finished: number }[] => {
  const db = new Database(path.join(data, DATABASE_FILE), { readonly: true });
  try {
    return db.prepare('SELECT finished FROM captures ORDER BY id').all() as { finished: number }[];
  } finally {
    db.close();
  }
};

it('a replay, into a new database and into one that is there', { timeout }, async () => {
  // Two minutes from one plant to the next, so that much is stored while it runs.
  const capture = at('plants.pcap');
  const writer = new PcapWriter(capture, [1]);
  const { packets } = await readThrough(await openCaptureFile(PLANT));
  for (let i = 0; i < 20; i++)
    for (const { data: hex, wire, seconds, nanoseconds } of packets) {
      const bytes = Buffer.from(hex, 'hex');
      writer.write(bytes, 0, bytes.length, wire, seconds + i * 120, nanoseconds, 1);
    }
  writer.close();
  const data = at('data');
  const committed = new Committed(data);
  const args = ['replay', capture, '--zones', ZONES, '--data', data];
  await killAtRandomMoments({
    name: 'replay',
    before(number) {
      if (number % 2 === 1) fs.rmSync(data, { recursive: true, force: true });
      committed.forget();
      return args;
    },
    during: () => committed.look(),
    async after({ number, killed }) {
      committed.check();
      const found = fs.existsSync(path.join(data, DATABASE_FILE)) ? soundCounts(path.join(data, DATABASE_FILE)) : {};
      const state = !killed ? 'all' : (found.devices ?? 0) > 0 ? 'some' : 'nothing';
      if (!nextIsWaitedFor(number)) return `found ${state}`;
      await done('replay', PLANT, '--zones', ZONES, '--data', data);
      expect(capturesIn(data).at(-1)).toEqual({ finished: 1 });
      expect(strays(path.join(data, DATABASE_FILE))).toBe(0);
      return `found ${state}`;
    },
  });
});

const noLive = whyNoLiveCapture() !== '';
it.skipIf(noLive)('a sensor that captures and records', { timeout }, async () => {
  const ports = new MirrorPorts();
  try {
    const data = path.join(ports.directory, 'data');
    const settings = path.join(ports.directory, 'sensor.yaml');
    fs.writeFileSync(
      settings,
      `data: data\nshards: 2\nzones: ${ZONES}\nrecording:\n  mode: all\n  file_bytes: 1048576\n  total_bytes: 8388608\n  min_free_bytes: 0\ncapture:\n  interfaces:\n    - name: m0\n`,
    );
    const committed = new Committed(data);
    const within = ['ip', 'netns', 'exec', ports.namespace];
    const beside = async (stop: AbortSignal) => {
      while (!stop.aborted) await ports.send(PLANT, { packets_per_second: 3000 });
    };
    const args = ['run', '--config', settings];
    // Each finds what those before it have left: the next one is the next run.
    await killAtRandomMoments({
      name: 'run',
      within,
      beside,
      lasts_ms: 3000,
      before: () => args,
      during: () => committed.look(),
      async after() {
        committed.check();
        if (fs.existsSync(path.join(data, 'recording'))) await done('recording', 'list', '--data', data, '--format', 'jsonl');
        const { devices = 0 } = fs.existsSync(path.join(data, DATABASE_FILE)) ? soundCounts(path.join(data, DATABASE_FILE)) : {};
        return devices > 0 ? 'found some' : 'found nothing';
      },
    });
    const [program, ...words] = [...within, process.execPath, PROGRAM, ...args];
    const last = spawn(program, words, { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    last.stderr.on('data', (bytes: Buffer) => (said += bytes));
    const ended = new Promise((resolve) => last.once('close', resolve));
    while (!said.includes('"running"') && last.exitCode === null) await sleep(20);
    await ports.send(PLANT, { packets_per_second: 3000 });
    last.kill('SIGTERM');
    expect([await ended, said]).toEqual([0, expect.stringMatching(/"unaccounted":0/)]);
    committed.check();
    const recorded = await done('recording', 'list', '--data', data, '--format', 'jsonl');
    expect(recorded.trim().split('\n').at(-1)).toMatch(/"complete":true/);
  } finally {
    ports.close();
  }
});

it('the service, whose answers are promises', { timeout }, async () => {
  const data = at('data');
  await done('replay', PLANT, '--data', data);
  const management = openManagement(data);
  const by = { name: 'test', address: '' };
  const { id } = await management.users.create({ name: 'anna', role: 'admin', password: 'correct horse 1 Battery' }, by);
  const { secret } = management.tokens.create({ name: 'test', user_id: id, role: 'admin' }, by);
  management.database.close();
  const port = await freePort();
  let said: string[] = [];
  let next = 1;
  let alert = 1;
  const comment = async (stop: AbortSignal) => {
    while (!stop.aborted) {
      const text = `comment ${next++}`;
      try {
        const answer = await fetch(`http://127.0.0.1:${port}/api/v3/alerts/${alert}/comments`, {
          method: 'POST',
          headers: { authorization: secret, 'content-type': 'application/json' },
          body: JSON.stringify({ text }),
          signal: AbortSignal.any([stop, AbortSignal.timeout(5000)]),
        });
        if (answer.ok) said.push(text);
        else throw new Error(`${answer.status}: ${await answer.text()}`);
      } catch (error) {
        if (/^\d{3}: /.test((error as Error).message) && !/^409|^429/.test((error as Error).message)) throw error;
        await sleep(10);
      }
    }
  };
  await killAtRandomMoments({
    name: 'serve',
    lasts_ms: 5000,
    before(number) {
      said = [];
      alert = 1 + (number % 10);
      return ['serve', '--no-tls', '--port', String(port), '--data', data];
    },
    beside: comment,
    after() {
      soundCounts(path.join(data, APPLIANCE_FILE));
      const db = new Database(path.join(data, DATABASE_FILE));
      const there = new Set(db.prepare('SELECT text FROM alert_comments').pluck().all());
      // As many as there may be are soon there.
      db.exec('DELETE FROM alert_comments');
      db.close();
      expect(said.filter((text) => !there.has(text))).toEqual([]);
      const { audit, database } = openManagement(data);
      expect(audit.verify()).toMatchObject({ intact: true });
      database.close();
      return said.length > 0 ? 'had answered' : 'had answered nothing';
    },
  });
});

const objectsOf = (file: string): unknown[] => {
  const db = new Database(file, { readonly: true });
  try {
    return db.prepare("SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name").all();
  } finally {
    db.close();
  }
};

it('a migration of an older database', { timeout }, async () => {
  const ROWS = 20_000;
  makeOldDatabase(at('old'), ROWS);
  new Writer(at('fresh')).close();
  const data = at('data');
  const file = path.join(data, DATABASE_FILE);
  const [old, fresh] = ['old', 'fresh'].map((name) => objectsOf(at(name, DATABASE_FILE)));
  await killAtRandomMoments({
    name: 'update migrate',
    before() {
      fs.rmSync(data, { recursive: true, force: true });
      fs.cpSync(at('old'), data, { recursive: true });
      return ['update', 'migrate', '--data', data];
    },
    async after({ number }) {
      expect(soundCounts(file)).toMatchObject({ connections: ROWS, events: ROWS });
      const schema = schemaOf(file);
      if (schema === 1) expect(objectsOf(file)).toEqual(old);
      if (schema === SCHEMA_VERSION) expect(objectsOf(file)).toEqual(fresh);
      if (!nextIsWaitedFor(number)) return `schema ${schema}`;
      // By the same command, or by a sensor that begins.
      if (number % 2 === 0) await done('update', 'migrate', '--data', data);
      else await done('replay', PLANT, '--data', data);
      expect([schemaOf(file), objectsOf(file)]).toEqual([SCHEMA_VERSION, fresh]);
      expect(soundCounts(file).events).toBeGreaterThanOrEqual(ROWS);
      return `schema ${schema}`;
    },
  });
});
