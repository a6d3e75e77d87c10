import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { ChangeSet } from './change-set.ts';
import { StoreError } from './errors.ts';
import { migrate, SCHEMA_VERSION } from './migrations.ts';
import { COLUMNS, type PackedChanges, type PackedTable, pack, type Value } from './packed.ts';

export const DATABASE_FILE = 'ot-sensor.db';
const LOCK_FILE = 'writer.lock';

export interface OpenOptions {
  /** A page limit of the file in pages of 4 KiB: a quota. 0: as much as the volume has. */
  max_pages?: number;
}

/** What `open` answers. */
export interface Opened {
  file: string;
  schema_version: number;
  next_capture_id: number;
}

/**
 * Writes what was seen; what people say of it is written by `operator.ts`, and nothing else writes. One writer a data directory: a second one is refused with `store_locked`.
 * `apply` stores one change set in one transaction: all of it or, when it throws, nothing.
 */
export class Writer {
  readonly file: string;
  readonly opened: Opened;
  readonly #db: Database.Database;
  readonly #lock: Database.Database;
  readonly #apply: (changes: PackedChanges) => void;

  /** Makes the directory and the database where there are none. Throws `StoreError`. */
  constructor(directory: string, options: OpenOptions = {}) {
    this.file = join(directory, DATABASE_FILE);
    let lock: Database.Database | undefined;
    let db: Database.Database | undefined;
    try {
      mkdirSync(directory, { recursive: true });
      lock = lockDirectory(directory);
      db = new Database(this.file, { timeout: 5000 });
      db.pragma('journal_mode = WAL');
      // A commit has reached the disk when apply() returns: commits are few and large, so the sync costs little.
      db.pragma('synchronous = FULL');
      db.pragma('wal_autocheckpoint = 16000');
      // Rows of a transaction go to all ends of the indexes: with SQLite's 2 MB most of its pages are written and read again.
      db.pragma('cache_size = -32768');
      db.pragma('journal_size_limit = 67108864');
      migrate(db, this.file);
      if (options.max_pages) db.pragma(`max_page_count = ${Math.floor(options.max_pages)}`);
      this.#apply = prepare(db);
      const last = db.prepare('SELECT coalesce(max(id), 0) FROM captures').pluck().get() as number;
      this.opened = { file: this.file, schema_version: SCHEMA_VERSION, next_capture_id: last + 1 };
    } catch (error) {
      db?.close();
      lock?.close();
      throw StoreError.of(error, this.file);
    }
    this.#db = db;
    this.#lock = lock;
  }

  /** Throws `StoreError`; then nothing of this change set is stored, and everything before it is. */
  apply(changes: ChangeSet): void {
    this.applyPacked(pack(changes));
  }

  /** The same for one that crossed a thread. */
  applyPacked(changes: PackedChanges): void {
    if (!this.#db.open) throw new StoreError('store_closed', `${this.file} is closed`);
    try {
      this.#apply(changes);
    } catch (error) {
      throw StoreError.of(error, this.file);
    }
  }

  close(): void {
    if (!this.#db.open) return;
    try {
      this.#db.pragma('optimize');
    } catch {
      // Statistics for the query planner: worth nothing on a disk that is full.
    }
    this.#db.close();
    this.#lock.close();
  }
}

/** The lock is a transaction held open in a file of its own: the kernel lets go of it however the process ends. */
function lockDirectory(directory: string): Database.Database {
  const file = join(directory, LOCK_FILE);
  // Long enough for somebody who only looks whether it is held (`isBeingWritten`).
  const lock = new Database(file, { timeout: 200 });
  try {
    lock.pragma('journal_mode = MEMORY');
    lock.exec('BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock.close();
    if ((error as { code?: string }).code?.startsWith('SQLITE_BUSY')) {
      throw new StoreError('store_locked', `${directory} is in use by another sensor`, { cause: error });
    }
    throw error;
  }
}

/** Whether a sensor has this data directory open for writing, in whatever process. */
export function isBeingWritten(directory: string): boolean {
  const file = join(directory, LOCK_FILE);
  if (!existsSync(file)) return false;
  let lock: Database.Database | undefined;
  try {
    lock = new Database(file, { timeout: 0, readonly: true, fileMustExist: true });
    lock.prepare('SELECT count(*) FROM sqlite_schema').get();
    return false;
  } catch (error) {
    if ((error as { code?: string }).code?.startsWith('SQLITE_BUSY')) return true;
    throw StoreError.of(error, file);
  } finally {
    lock?.close();
  }
}

const flag = (value: boolean): number => (value ? 1 : 0);

const FLOWS = COLUMNS.connections.indexOf('flows');
const CAPTURED = COLUMNS.evidence.indexOf('captured');

/** Each row's values, one after the other. */
function runAll(statement: Database.Statement, values: readonly Value[], columns: number): void {
  for (let i = 0; i < values.length; i += columns) statement.run(values.slice(i, i + columns));
}

/** All statements, made once; the function that runs a change set through them in one transaction. */
function prepare(db: Database.Database): (changes: PackedChanges) => void {
  const insertInto = (table: string, names: readonly string[], conflict: string) =>
    db.prepare(`INSERT INTO ${table} (${names.join(', ')}) VALUES (${names.map(() => '?').join(', ')}) ${conflict}`);
  const insert = (table: PackedTable, conflict: string) => insertInto(table, COLUMNS[table], conflict);
  // The last word counts, but first and last times widen: what is stored of an earlier run is not lost.
  const latest = (...names: string[]) => names.map((name) => `${name} = excluded.${name}`).join(', ');
  const added = (...names: string[]) => names.map((name) => `${name} = ${name} + excluded.${name}`).join(', ');
  const times = 'first_ms = min(first_ms, excluded.first_ms), last_ms = max(last_ms, excluded.last_ms)';
  // The frame goes with its time.
  const first = `first_frame = iif(excluded.first_ms < first_ms, excluded.first_frame, first_frame),
    capture_id = iif(excluded.first_ms < first_ms, excluded.capture_id, capture_id)`;

  const capture = insertInto(
    'captures',
    ['id', 'source', 'packets', 'bytes', 'first_ms', 'last_ms', 'finished', 'counters', 'warnings'],
    `ON CONFLICT (id) DO UPDATE SET ${latest('packets', 'bytes', 'first_ms', 'last_ms', 'finished', 'counters', 'warnings')}`,
  );
  const times_of_device = ['id', 'first_ms', 'last_ms', 'first_frame', 'capture_id'];
  const device = insert(
    'devices',
    `ON CONFLICT (id) DO UPDATE SET ${first}, ${times}, ${latest(...COLUMNS.devices.filter((name) => !times_of_device.includes(name)))}`,
  );
  const deviceTime = db.prepare('UPDATE devices SET last_ms = max(last_ms, ?) WHERE id = ?');
  const face = insert('interfaces', `ON CONFLICT DO UPDATE SET ${latest('vendor', 'router')}, ${times}`);
  const address = insert('addresses', `ON CONFLICT DO UPDATE SET ${first}, ${times}, ${latest('how', 'via_mac', 'current')}`);
  const attribute = insert('attributes', `ON CONFLICT DO UPDATE SET ${first}, ${times}, ${latest('ip', 'current', 'preferred')}`);
  const part = insert('parts', `ON CONFLICT DO UPDATE SET ${first}, ${times}, ${latest('kind', 'number', 'ip', 'app_proto')}`);
  const connection = insert(
    'connections',
    `ON CONFLICT (id) DO UPDATE SET ${first}, ${times},
     ${latest('recognised_by', 'opener_device', 'responder_device', 'opener_mac', 'responder_mac', 'client', 'opener_certain')},
     ${added('flows', 'packets_from_opener', 'packets_from_responder', 'bytes_from_opener', 'bytes_from_responder')}`,
  );
  const emptied = db.prepare('DELETE FROM connections WHERE id = ? AND flows <= 0');
  const connectionCounts = db.prepare(
    `UPDATE connections SET flows = flows + ?, packets_from_opener = packets_from_opener + ?,
     packets_from_responder = packets_from_responder + ?, bytes_from_opener = bytes_from_opener + ?,
     bytes_from_responder = bytes_from_responder + ?, last_ms = max(last_ms, ?) WHERE id = ?`,
  );
  const activity = insert(
    'activities',
    `ON CONFLICT (id) DO UPDATE SET ${first}, ${times}, ${added('count')}, ${latest('connection_id')},
     target_first = min(target_first, excluded.target_first), target_last = max(target_last, excluded.target_last)`,
  );
  const activityCounts = db.prepare(
    `UPDATE activities SET count = count + ?, target_first = min(target_first, ?), target_last = max(target_last, ?),
     last_ms = max(last_ms, ?) WHERE id = ?`,
  );
  const forget = db.prepare('DELETE FROM activities WHERE id = ?');
  const alert = insert(
    'alerts',
    `ON CONFLICT (key) DO UPDATE SET ${added('count')}, last_frame = iif(excluded.last_ms >= last_ms, excluded.last_frame, last_frame),
     ${times}, source_device = coalesce(source_device, excluded.source_device),
     destination_device = coalesce(destination_device, excluded.destination_device)`,
  );
  const evidence = db.prepare(
    `INSERT INTO evidence (alert_id, ordinal, capture_id, frame, seconds, nanoseconds, captured, wire, link_type, bytes)
     SELECT id, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM alerts WHERE key = ? ON CONFLICT DO NOTHING`,
  );
  const event = insert('events', '');

  const resets = ['interfaces', 'addresses', 'attributes', 'parts'].map((table) =>
    db.prepare(`DELETE FROM ${table} WHERE device_id = ?`),
  );
  const references = [
    ['connections', 'opener_device', 'opener_ip'],
    ['connections', 'responder_device', 'responder_ip'],
    ['alerts', 'source_device', 'source_ip'],
    ['alerts', 'destination_device', 'destination_ip'],
  ];
  const moveAll = references.map(([table, column]) => db.prepare(`UPDATE ${table} SET ${column} = ? WHERE ${column} = ?`));
  const moveAddress = references.map(([table, column, ip]) =>
    db.prepare(`UPDATE ${table} SET ${column} = ? WHERE ${column} = ? AND ${ip} = ?`),
  );
  const moveEvents = db.prepare('UPDATE events SET device_id = ? WHERE device_id = ?');
  const moveMarks = db.prepare('UPDATE OR IGNORE device_marks SET device_id = ? WHERE device_id = ?');
  const merge = db.prepare('UPDATE devices SET merged_into = ? WHERE id = ?');

  const apply = db.transaction((changes: PackedChanges) => {
    const { rows } = changes;
    for (const c of changes.captures) {
      const counters = JSON.stringify(c.counters);
      const warnings = JSON.stringify(c.warnings);
      capture.run(c.id, c.source, c.packets, c.bytes, c.first_ms, c.last_ms, flag(c.finished), counters, warnings);
    }
    // A device may be made and merged away within one change set: rows first, then what they turned out to be.
    runAll(device, rows.devices, COLUMNS.devices.length);
    runAll(deviceTime, changes.device_times, 2);
    for (const id of changes.device_resets) for (const statement of resets) statement.run(id);
    for (const r of changes.reassignments) {
      if (r.ip !== null) for (const statement of moveAddress) statement.run(r.to, r.from, r.ip);
      else {
        for (const statement of moveAll) statement.run(r.to, r.from);
        moveEvents.run(r.to, r.from);
        moveMarks.run(r.to, r.from);
        merge.run(r.to, r.from);
      }
    }
    runAll(face, rows.interfaces, COLUMNS.interfaces.length);
    runAll(address, rows.addresses, COLUMNS.addresses.length);
    runAll(attribute, rows.attributes, COLUMNS.attributes.length);
    runAll(part, rows.parts, COLUMNS.parts.length);
    runAll(connection, rows.connections, COLUMNS.connections.length);
    // Where flows turned out to speak another protocol they are counted there, and their former row may hold none.
    for (let i = FLOWS; i < rows.connections.length; i += COLUMNS.connections.length)
      if ((rows.connections[i] as number) < 0) emptied.run(rows.connections[i - FLOWS]);
    runAll(connectionCounts, changes.connection_counts, 7);
    for (const id of changes.activities_gone) forget.run(id);
    runAll(activity, rows.activities, COLUMNS.activities.length);
    runAll(activityCounts, changes.activity_counts, 5);
    runAll(alert, rows.alerts, COLUMNS.alerts.length);
    const bytes = Buffer.from(changes.bytes.buffer, changes.bytes.byteOffset, changes.bytes.byteLength);
    const n = COLUMNS.evidence.length;
    for (let i = 0, at = 0; i < rows.evidence.length; i += n) {
      const end = at + (rows.evidence[i + CAPTURED] as number);
      evidence.run(...rows.evidence.slice(i, i + n - 1), bytes.subarray(at, end), rows.evidence[i + n - 1]);
      at = end;
    }
    runAll(event, rows.events, COLUMNS.events.length);
  });
  return (changes) => apply.immediate(changes);
}
