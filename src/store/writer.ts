import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { ChangeSet, ConnectionRow, DeviceRow } from './change-set.ts';
import { StoreError } from './errors.ts';
import { migrate, SCHEMA_VERSION } from './migrations.ts';

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
 * The only module that writes the database. One writer a data directory: a second one is refused with `store_locked`.
 * `apply` stores one change set in one transaction: all of it or, when it throws, nothing.
 */
export class Writer {
  readonly file: string;
  readonly opened: Opened;
  readonly #db: Database.Database;
  readonly #lock: Database.Database;
  readonly #apply: (changes: ChangeSet) => void;

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
      db.pragma('wal_autocheckpoint = 4000');
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
  const lock = new Database(file, { timeout: 0 });
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

const flag = (value: boolean): number => (value ? 1 : 0);

/** All statements, made once; the function that runs a change set through them in one transaction. */
function prepare(db: Database.Database): (changes: ChangeSet) => void {
  const insert = (table: string, columns: string, conflict: string) => {
    const names = columns.trim().split(/[\s,]+/);
    return db.prepare(`INSERT INTO ${table} (${names.join(', ')}) VALUES (${names.map(() => '?').join(', ')}) ${conflict}`);
  };
  // The last word counts, but first and last times widen: what is stored of an earlier run is not lost.
  const latest = (...names: string[]) => names.map((name) => `${name} = excluded.${name}`).join(', ');
  const added = (...names: string[]) => names.map((name) => `${name} = ${name} + excluded.${name}`).join(', ');
  const times = 'first_ms = min(first_ms, excluded.first_ms), last_ms = max(last_ms, excluded.last_ms)';
  // The frame goes with its time.
  const first = `first_frame = iif(excluded.first_ms < first_ms, excluded.first_frame, first_frame),
    capture_id = iif(excluded.first_ms < first_ms, excluded.capture_id, capture_id)`;

  const capture = insert(
    'captures',
    'id source packets bytes first_ms last_ms finished counters warnings',
    `ON CONFLICT (id) DO UPDATE SET ${latest('packets', 'bytes', 'first_ms', 'last_ms', 'finished', 'counters', 'warnings')}`,
  );
  const summary = [
    'name', 'type', 'type_reason', 'purdue_level', 'programming_station', 'programming_reason', 'router', 'gateway', 'vendor', 'model',
    'firmware', 'serial', 'mac', 'ip', 'segment', 'zone', 'behaviour',
  ]; // biome-ignore format: a list
  const device = insert(
    'devices',
    `id first_ms last_ms first_frame capture_id ${summary.join(' ')}`,
    `ON CONFLICT (id) DO UPDATE SET ${first}, ${times}, ${latest(...summary)}`,
  );
  const face = insert(
    'interfaces',
    'device_id segment mac vendor router first_ms last_ms',
    `ON CONFLICT DO UPDATE SET ${latest('vendor', 'router')}, ${times}`,
  );
  const address = insert(
    'addresses',
    'device_id segment ip mac how via_mac current first_ms last_ms first_frame capture_id',
    `ON CONFLICT DO UPDATE SET ${first}, ${times}, ${latest('how', 'via_mac', 'current')}`,
  );
  const attribute = insert(
    'attributes',
    'device_id part attribute value app_proto field ip current preferred first_ms last_ms first_frame capture_id',
    `ON CONFLICT DO UPDATE SET ${first}, ${times}, ${latest('ip', 'current', 'preferred')}`,
  );
  const part = insert(
    'parts',
    'device_id part kind number ip app_proto first_ms last_ms first_frame capture_id',
    `ON CONFLICT DO UPDATE SET ${first}, ${times}, ${latest('kind', 'number', 'ip', 'app_proto')}`,
  );
  const connection = insert(
    'connections',
    `id segment proto app_proto recognised_by opener_device opener_mac opener_ip responder_device responder_mac responder_ip
     server_port client opener_certain ethertype flows packets_from_opener packets_from_responder bytes_from_opener
     bytes_from_responder first_ms last_ms first_frame capture_id`,
    `ON CONFLICT (id) DO UPDATE SET ${first}, ${times},
     ${latest('recognised_by', 'opener_device', 'responder_device', 'opener_mac', 'responder_mac', 'client', 'opener_certain')},
     ${added('flows', 'packets_from_opener', 'packets_from_responder', 'bytes_from_opener', 'bytes_from_responder')}`,
  );
  const emptied = db.prepare('DELETE FROM connections WHERE id = ? AND flows <= 0');
  const activity = insert(
    'activities',
    `id connection_id app_proto operation from_opener role target target_first target_last unit unit_name count first_ms last_ms
     first_frame capture_id`,
    `ON CONFLICT (id) DO UPDATE SET ${first}, ${times}, ${added('count')}, ${latest('connection_id')}, target_first = min(target_first, excluded.target_first),
     target_last = max(target_last, excluded.target_last)`,
  );
  const forget = db.prepare('DELETE FROM activities WHERE id = ?');
  const alert = insert(
    'alerts',
    `key kind severity title description source_mac source_ip source_port source_device source_zone destination_mac destination_ip
     destination_port destination_device destination_zone segment proto app_proto operation technique details count first_ms last_ms
     first_frame last_frame capture_id`,
    `ON CONFLICT (key) DO UPDATE SET ${added('count')}, last_frame = iif(excluded.last_ms >= last_ms, excluded.last_frame, last_frame),
     ${times}, source_device = coalesce(source_device, excluded.source_device),
     destination_device = coalesce(destination_device, excluded.destination_device)`,
  );
  const evidence = db.prepare(
    `INSERT INTO evidence (alert_id, ordinal, capture_id, frame, seconds, nanoseconds, captured, wire, link_type, bytes)
     SELECT id, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM alerts WHERE key = ? ON CONFLICT DO NOTHING`,
  );
  const event = insert('events', 'capture_id frame time_ms kind device_id title details', '');

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
  const merge = db.prepare('UPDATE devices SET merged_into = ? WHERE id = ?');

  const storeDevice = (d: DeviceRow) =>
    device.run(
      d.id, d.first_ms, d.last_ms, d.first_frame, d.capture_id, d.name, d.type, d.type_reason, d.purdue_level,
      flag(d.programming_station), d.programming_reason, flag(d.router), flag(d.gateway), d.vendor, d.model, d.firmware, d.serial,
      d.mac, d.ip, d.segment, d.zone, d.behaviour,
    ); // biome-ignore format: a list
  const storeConnection = (c: ConnectionRow) => {
    connection.run(
      c.id, c.segment, c.proto, c.app_proto, c.recognised_by, c.opener_device, c.opener_mac, c.opener_ip, c.responder_device,
      c.responder_mac, c.responder_ip, c.server_port, c.client, flag(c.opener_certain), c.ethertype, c.flows, c.packets_from_opener,
      c.packets_from_responder, c.bytes_from_opener, c.bytes_from_responder, c.first_ms, c.last_ms, c.first_frame, c.capture_id,
    ); // biome-ignore format: a list
    // All its flows turned out to speak another protocol, and are counted there.
    if (c.flows < 0) emptied.run(c.id);
  };

  const apply = db.transaction((changes: ChangeSet) => {
    for (const c of changes.captures) {
      const counters = JSON.stringify(c.counters);
      const warnings = JSON.stringify(c.warnings);
      capture.run(c.id, c.source, c.packets, c.bytes, c.first_ms, c.last_ms, flag(c.finished), counters, warnings);
    }
    // A device may be made and merged away within one change set: rows first, then what they turned out to be.
    for (const d of changes.devices) storeDevice(d);
    for (const id of changes.device_resets) for (const statement of resets) statement.run(id);
    for (const r of changes.reassignments) {
      if (r.ip !== null) for (const statement of moveAddress) statement.run(r.to, r.from, r.ip);
      else {
        for (const statement of moveAll) statement.run(r.to, r.from);
        moveEvents.run(r.to, r.from);
        merge.run(r.to, r.from);
      }
    }
    for (const i of changes.interfaces) face.run(i.device_id, i.segment, i.mac, i.vendor, flag(i.router), i.first_ms, i.last_ms);
    for (const a of changes.addresses) {
      address.run(
        a.device_id, a.segment, a.ip, a.mac, a.how, a.via_mac, flag(a.current), a.first_ms, a.last_ms, a.first_frame, a.capture_id,
      ); // biome-ignore format: a list
    }
    for (const a of changes.attributes) {
      attribute.run(
        a.device_id, a.part, a.attribute, a.value, a.app_proto, a.field, a.ip, flag(a.current), flag(a.preferred), a.first_ms,
        a.last_ms, a.first_frame, a.capture_id,
      ); // biome-ignore format: a list
    }
    for (const p of changes.parts) {
      part.run(p.device_id, p.part, p.kind, p.number, p.ip, p.app_proto, p.first_ms, p.last_ms, p.first_frame, p.capture_id);
    }
    for (const c of changes.connections) storeConnection(c);
    for (const id of changes.activities_gone) forget.run(id);
    for (const a of changes.activities) {
      activity.run(
        a.id, a.connection_id, a.app_proto, a.operation, flag(a.from_opener), a.role, a.target, a.target_first, a.target_last, a.unit,
        a.unit_name, a.count, a.first_ms, a.last_ms, a.first_frame, a.capture_id,
      ); // biome-ignore format: a list
    }
    for (const a of changes.alerts) {
      alert.run(
        a.key, a.kind, a.severity, a.title, a.description, a.source_mac, a.source_ip, a.source_port, a.source_device, a.source_zone,
        a.destination_mac, a.destination_ip, a.destination_port, a.destination_device, a.destination_zone, a.segment, a.proto,
        a.app_proto, a.operation, a.technique, JSON.stringify(a.details), a.count, a.first_ms, a.last_ms, a.first_frame, a.last_frame,
        a.capture_id,
      ); // biome-ignore format: a list
    }
    for (const e of changes.evidence) {
      const bytes = Buffer.from(e.bytes.buffer, e.bytes.byteOffset, e.bytes.byteLength);
      const { ordinal, capture_id, frame, seconds, nanoseconds, captured, wire, link_type } = e;
      evidence.run(ordinal, capture_id, frame, seconds, nanoseconds, captured, wire, link_type, bytes, e.alert_key);
    }
    for (const e of changes.events)
      event.run(e.capture_id, e.frame, e.time_ms, e.kind, e.device_id, e.title, JSON.stringify(e.details));
  });
  return (changes) => apply.immediate(changes);
}
