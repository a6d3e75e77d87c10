import type { ApplianceDatabase } from './database.ts';
import { NOTIFICATION_KINDS, type NotificationKind } from './notification-kinds.ts';

/** Something about the appliance itself that people should know. Open until it is resolved; then the same makes a new one. */
export interface SystemNotification {
  id: number;
  kind: NotificationKind;
  severity: string;
  title: string;
  /** What happened, and what to do about it. */
  description: string;
  details: Record<string, unknown>;
  /** How often it was raised while open. */
  count: number;
  first_ms: number;
  last_ms: number;
  resolved_ms: number | null;
}

const MAX_KEPT = 100_000;

/** The system notifications, in the order they came. Its times are the wall clock's: it is about the appliance, not about packets. */
export class Notifications {
  private readonly database: ApplianceDatabase;
  private readonly now_ms: () => number;

  constructor(database: ApplianceDatabase, now_ms: () => number = Date.now) {
    this.database = database;
    this.now_ms = now_ms;
  }

  /** `about` tells those of one kind apart (a volume, a destination); while one is open it only counts. True: it is new. */
  raise(kind: NotificationKind, about: string, description: string, details: Record<string, unknown> = {}): boolean {
    const { severity, title, what_to_do } = NOTIFICATION_KINDS[kind];
    const now = Math.round(this.now_ms());
    const text = what_to_do === '' ? description : `${description} ${what_to_do}`;
    const { db } = this.database;
    return this.database.transaction(() => {
      const update = 'UPDATE notifications SET count = count + 1, last_ms = ?, details = ? WHERE key = ? AND resolved_ms IS NULL';
      if (db.prepare(update).run(now, JSON.stringify(details), `${kind} ${about}`).changes > 0) return false;
      const insert = `INSERT INTO notifications (key, kind, severity, title, description, details, count, first_ms, last_ms)
        VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?)`;
      db.prepare(insert).run(`${kind} ${about}`, kind, severity, title, text, JSON.stringify(details), now, now);
      db.prepare('DELETE FROM notifications WHERE id <= (SELECT max(id) FROM notifications) - ?').run(MAX_KEPT);
      return true;
    });
  }

  /** It is over. True: there was one. */
  resolve(kind: NotificationKind, about: string): boolean {
    const update = 'UPDATE notifications SET resolved_ms = ? WHERE key = ? AND resolved_ms IS NULL';
    return this.database.db.prepare(update).run(Math.round(this.now_ms()), `${kind} ${about}`).changes > 0;
  }

  /** 0 where there is none. */
  newestId(): number {
    return this.database.db.prepare('SELECT coalesce(max(id), 0) FROM notifications').pluck().get() as number;
  }

  /** Those after `after_id`, the oldest first; `open`: only those not resolved. */
  list({
    after_id = 0,
    limit = 100,
    open = false,
  }: {
    after_id?: number;
    limit?: number;
    open?: boolean;
  } = {}): SystemNotification[] {
    const only = open ? 'AND resolved_ms IS NULL' : '';
    const rows = this.database.db
      .prepare(`SELECT * FROM notifications WHERE id > ? ${only} ORDER BY id LIMIT ?`)
      .all(after_id, limit) as (SystemNotification & { key: string; details: unknown })[];
    return rows.map(({ key: _, details, ...row }) => ({ ...row, details: JSON.parse(details as unknown as string) }));
  }
}
