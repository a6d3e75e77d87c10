import { existsSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { StoreError } from './errors.ts';
import { checkVersion, SCHEMA_VERSION } from './migrations.ts';
import type { DeviceMarks } from './queries.ts';
import { DATABASE_FILE } from './writer.ts';

/** How long a change waits while a change set of the sensor is written. */
const BUSY_MS = 10_000;
export const ALERT_STATUSES = ['open', 'acknowledged', 'closed', 'muted'] as const;
export type AlertStatus = (typeof ALERT_STATUSES)[number];

/** Stands in the key of a closed alert, so that the same finding makes a new one. */
const CLOSED = ' closed ';
export const MAX_COMMENT_LENGTH = 4000;
const MAX_COMMENTS = 1000;

const DELETED = 'EXISTS (SELECT 1 FROM device_deletions d WHERE d.device_id = devices.id AND d.seen_ms >= devices.last_ms)';
const LISTED = `merged_into IS NULL AND NOT ${DELETED}`;

export type MarkChanges = Partial<Omit<DeviceMarks, 'device_id' | 'changed_ms' | 'changed_by'>>;

/**
 * What people say of alerts and devices: the only changes of the database besides `writer.ts`. Small transactions between those of a
 * running sensor. Throws `StoreError`.
 */
export class OperatorStore {
  private readonly file: string;
  private readonly db: Database.Database;

  /** Throws `store_missing`, and `store_too_new`; never makes a database. */
  constructor(directory: string) {
    this.file = join(directory, DATABASE_FILE);
    if (!existsSync(this.file)) throw new StoreError('store_missing', `there is no ${this.file}`);
    let db: Database.Database | undefined;
    try {
      db = new Database(this.file, { timeout: BUSY_MS, fileMustExist: true });
      db.pragma('synchronous = FULL');
      const version = checkVersion(db, this.file);
      if (version !== SCHEMA_VERSION)
        throw new StoreError(
          'store_missing',
          `${this.file} is of an earlier version; start the sensor once to bring it up to date`,
        );
    } catch (error) {
      db?.close();
      throw StoreError.of(error, this.file);
    }
    this.db = db;
  }

  close(): void {
    this.db.close();
  }

  /**
   * `closed`: when the same is found again it is a new alert. `muted`: it is counted on and never a new one. `missing`: there is no
   * such alert; `replaced`: it was closed and the same was found again, so that it cannot be opened.
   */
  setStatus(id: number, status: AlertStatus): 'done' | 'missing' | 'replaced' {
    return this.change(() => {
      const alert = this.db.prepare('SELECT key FROM alerts WHERE id = ?').get(id) as { key: string } | undefined;
      if (alert === undefined) return 'missing';
      const key = alert.key.endsWith(`${CLOSED}${id}`) ? alert.key.slice(0, -`${CLOSED}${id}`.length) : alert.key;
      const next = status === 'closed' ? `${key}${CLOSED}${id}` : key;
      if (next !== alert.key && this.db.prepare('SELECT 1 FROM alerts WHERE key = ?').get(next) !== undefined) return 'replaced';
      this.db.prepare('UPDATE alerts SET status = ?, key = ? WHERE id = ?').run(status, next, id);
      return 'done';
    });
  }

  /** False where there is no such alert, or it has a thousand comments. */
  comment(alert: number, author: string, text: string, time_ms: number): boolean {
    return this.change(() => {
      const { known, comments } = this.db
        .prepare(
          `SELECT EXISTS (SELECT 1 FROM alerts WHERE id = @alert) AS known,
           (SELECT count(*) FROM alert_comments WHERE alert_id = @alert) AS comments`,
        )
        .get({ alert }) as { known: number; comments: number };
      if (known === 0 || comments >= MAX_COMMENTS) return false;
      this.db
        .prepare('INSERT INTO alert_comments (alert_id, time_ms, author, text) VALUES (?, ?, ?, ?)')
        .run(alert, Math.round(time_ms), author, text.slice(0, MAX_COMMENT_LENGTH));
      return true;
    });
  }

  /** null takes a mark away. False where there is no such device. */
  mark(device: number, changes: MarkChanges, by: string, time_ms: number): boolean {
    return this.change(() => {
      const known = this.db.prepare('SELECT 1 FROM devices WHERE id = ? AND merged_into IS NULL').get(device);
      if (known === undefined) return false;
      this.db
        .prepare('INSERT INTO device_marks (device_id, changed_ms, changed_by) VALUES (?, ?, ?) ON CONFLICT DO NOTHING')
        .run(device, 0, '');
      for (const column of ['authorized', 'scanner', 'programming_station', 'name', 'type', 'note'] as const) {
        const value = changes[column];
        if (value === undefined) continue;
        const stored = typeof value === 'boolean' ? Number(value) : value;
        this.db.prepare(`UPDATE device_marks SET ${column} = ? WHERE device_id = ?`).run(stored, device);
      }
      this.db
        .prepare('UPDATE device_marks SET changed_ms = ?, changed_by = ? WHERE device_id = ?')
        .run(Math.round(time_ms), by, device);
      return true;
    });
  }

  /**
   * Deletes a device: it is not listed any more, until it is seen again; then it is there with all its history. What is known of it, its
   * connections and alerts stay. `missing`: there is no such device, or it is deleted; `active`: it was seen after `quiet_since_ms`.
   */
  deleteDevice(id: number, by: string, time_ms: number, quiet_since_ms: number): 'done' | 'missing' | 'active' {
    return this.change(() => {
      const device = this.db.prepare(`SELECT name, ip, mac, last_ms FROM devices WHERE id = ? AND ${LISTED}`).get(id) as
        | { name: string; ip: string; mac: string; last_ms: number }
        | undefined;
      if (device === undefined) return 'missing';
      if (device.last_ms > quiet_since_ms) return 'active';
      this.deleteOne(id, device, by, time_ms);
      return 'done';
    });
  }

  /** All that were not seen since. Gives how many; at most `most`, the rest with the next call. */
  deleteDevicesUnseen(since_ms: number, by: string, time_ms: number, most: number): number {
    return this.change(() => {
      const select = `SELECT id, name, ip, mac, last_ms FROM devices WHERE last_ms < ? AND ${LISTED} ORDER BY id LIMIT ?`;
      const all = this.db.prepare(select).all(since_ms, most) as {
        id: number;
        name: string;
        ip: string;
        mac: string;
        last_ms: number;
      }[];
      for (const { id, ...device } of all) this.deleteOne(id, device, by, time_ms);
      return all.length;
    });
  }

  /** Takes a deletion back. False where there is none. */
  restoreDevice(id: number): boolean {
    return this.change(() => {
      const deleted = this.db.prepare(`SELECT 1 FROM devices WHERE id = ? AND merged_into IS NULL AND ${DELETED}`).get(id);
      if (deleted === undefined) return false;
      this.db.prepare('DELETE FROM device_deletions WHERE device_id = ?').run(id);
      return true;
    });
  }

  private deleteOne(
    id: number,
    { name, ip, mac, last_ms }: { name: string; ip: string; mac: string; last_ms: number },
    by: string,
    time_ms: number,
  ): void {
    const time = Math.round(time_ms);
    this.db.prepare('INSERT OR REPLACE INTO device_deletions VALUES (?, ?, ?, ?)').run(id, last_ms, time, by);
    this.db
      .prepare('INSERT INTO events (capture_id, frame, time_ms, kind, device_id, title, details) VALUES (0, 0, ?, ?, ?, ?, ?)')
      .run(time, 'device_deleted', id, `device ${name || ip || mac} was deleted`, JSON.stringify({ by, ip, mac }));
  }

  /**
   * Deletes up to `most` of the oldest alerts, with their packets and comments, that were not seen since `before_ms`; the newest alert
   * always stays, so that no number is used twice. Gives how many.
   */
  pruneAlerts(before_ms: number, most: number): number {
    // By the index of times: by ids a million are read to find that none is old.
    const order = before_ms === Number.POSITIVE_INFINITY ? 'id' : 'last_ms';
    return this.change(() => {
      const old = `SELECT id FROM alerts WHERE last_ms < ? AND id < (SELECT max(id) FROM alerts) ORDER BY ${order} LIMIT ?`;
      const ids = this.db.prepare(old).pluck().all(before_ms, most) as number[];
      for (const table of ['evidence', 'alert_comments']) {
        const statement = this.db.prepare(`DELETE FROM ${table} WHERE alert_id = ?`);
        for (const id of ids) statement.run(id);
      }
      const statement = this.db.prepare('DELETE FROM alerts WHERE id = ?');
      for (const id of ids) statement.run(id);
      return ids.length;
    });
  }

  /** The same for events. */
  pruneEvents(before_ms: number, most: number): number {
    const old = `SELECT id FROM events WHERE time_ms < ? AND id < (SELECT max(id) FROM events) ORDER BY id LIMIT ?`;
    return this.change(() => this.db.prepare(`DELETE FROM events WHERE id IN (${old})`).run(before_ms, most).changes);
  }

  /** What the database holds, without the room that was given back: bytes. */
  usedBytes(): number {
    const of = (name: string) => this.db.pragma(name, { simple: true }) as number;
    return (of('page_count') - of('freelist_count')) * of('page_size');
  }

  private change<Result>(act: () => Result): Result {
    try {
      return this.db.transaction(act).immediate();
    } catch (error) {
      throw StoreError.of(error, this.file);
    }
  }
}
