import { createHash } from 'node:crypto';
import type { ApplianceDatabase } from '../appliance/database.ts';

/** Who did what, from where. Never holds a secret. */
export interface AuditEntry {
  id: number;
  time_ms: number;
  /** A user's name, `token NAME`, `root` for a command on the appliance, `appliance` for what it does by itself. */
  actor: string;
  /** Where the request came from; '' for commands. */
  address: string;
  /** `user.create`, `settings.change`, … */
  action: string;
  /** What it was done to. */
  subject: string;
  outcome: 'done' | 'refused';
  details: Record<string, unknown>;
}

export type AuditVerdict =
  | { intact: true; entries: number; first_id: number; last_id: number }
  | { intact: false; entries: number; at_id: number; reason: string };

/** Older entries go, so that a log that grows for years does not fill the disk; the chain goes on from where it was cut. */
const MAX_ENTRIES = 1_000_000;
const START = '0'.repeat(64);

/**
 * The audit log: each entry holds the SHA-256 of itself and of the one before, so that changing, removing or inserting one is seen by
 * `verify`. It proves that what is there was not tampered with by whoever does not recompute all of the chain; forward it to another
 * machine where root itself is not trusted.
 */
export class AuditLog {
  private readonly database: ApplianceDatabase;
  private readonly now_ms: () => number;

  constructor(database: ApplianceDatabase, now_ms: () => number = Date.now) {
    this.database = database;
    this.now_ms = now_ms;
  }

  add(entry: Omit<AuditEntry, 'id' | 'time_ms'>): void {
    this.database.transaction(() => {
      const { db } = this.database;
      const last = db.prepare('SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1').get() as
        | { id: number; hash: string }
        | undefined;
      // A number is never used twice, even where the newest entries were taken out: verify sees the hole.
      const used = db.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").pluck().get() as number | undefined;
      const row: StoredEntry = {
        id: Math.max(last?.id ?? 0, used ?? 0) + 1,
        time_ms: Math.round(this.now_ms()),
        ...entry,
        details: JSON.stringify(entry.details),
        previous_hash: last?.hash ?? START,
        hash: '',
      };
      row.hash = hashOf(row);
      const columns = Object.keys(row);
      db.prepare(`INSERT INTO audit (${columns.join(', ')}) VALUES (${columns.map((name) => `@${name}`).join(', ')})`).run(row);
      if (row.id > MAX_ENTRIES) db.prepare('DELETE FROM audit WHERE id <= ?').run(row.id - MAX_ENTRIES);
    });
  }

  /** The newest first; `before_id` for the next page. */
  list({ before_id = Number.MAX_SAFE_INTEGER, limit = 100, actor, action }: AuditQuery = {}): AuditEntry[] {
    const rows = this.database.db
      .prepare(
        `SELECT * FROM audit WHERE id < ? AND (? IS NULL OR actor = ?) AND (? IS NULL OR action = ?) ORDER BY id DESC LIMIT ?`,
      )
      .all(before_id, actor ?? null, actor ?? null, action ?? null, action ?? null, limit) as StoredEntry[];
    return rows.map(({ previous_hash: _, hash: _hash, details, ...row }) => ({ ...row, details: JSON.parse(details) }));
  }

  /** Recomputes the whole chain. */
  verify(): AuditVerdict {
    const { db } = this.database;
    let entries = 0;
    let first_id = 0;
    let previous: StoredEntry | null = null;
    for (const row of db.prepare('SELECT * FROM audit ORDER BY id').iterate() as Iterable<StoredEntry>) {
      const fault =
        row.hash !== hashOf(row)
          ? 'the entry was changed'
          : previous !== null && row.id !== previous.id + 1
            ? `entries ${previous.id + 1} to ${row.id - 1} are missing`
            : previous !== null && row.previous_hash !== previous.hash
              ? 'the entry before it was replaced'
              : previous === null && row.id === 1 && row.previous_hash !== START
                ? 'the beginning was replaced'
                : '';
      if (fault !== '') return { intact: false, entries, at_id: row.id, reason: fault };
      if (previous === null) first_id = row.id;
      previous = row;
      entries++;
    }
    const used = (db.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").pluck().get() as number | undefined) ?? 0;
    const last_id: number = (previous as StoredEntry | null)?.id ?? 0;
    if (last_id !== used)
      return { intact: false, entries, at_id: last_id, reason: `entries ${last_id + 1} to ${used} are missing` };
    if (first_id > 1 && used <= MAX_ENTRIES)
      return { intact: false, entries, at_id: first_id, reason: `entries 1 to ${first_id - 1} are missing` };
    return { intact: true, entries, first_id, last_id };
  }
}

export interface AuditQuery {
  before_id?: number;
  limit?: number;
  actor?: string;
  action?: string;
}

interface StoredEntry extends Omit<AuditEntry, 'details'> {
  details: string;
  previous_hash: string;
  hash: string;
}

function hashOf({ id, time_ms, actor, address, action, subject, outcome, details, previous_hash }: StoredEntry): string {
  const text = JSON.stringify([previous_hash, id, time_ms, actor, address, action, subject, outcome, details]);
  return createHash('sha256').update(text).digest('hex');
}
