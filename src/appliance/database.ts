import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { StoreError } from '../store/errors.ts';

export const APPLIANCE_FILE = 'appliance.db';
/** "OTap", so that the file is known for what it is. */
const APPLICATION_ID = 0x4f546170;
/** How long a change waits for another process's. */
const BUSY_MS = 5000;

/**
 * What people decided and what the appliance itself did: settings, users, system notifications, how far each destination has been
 * forwarded to. Apart from what was seen on the wire (`store/`), because it is small, precious and changed by several processes: the
 * service, and commands of whoever is root. Each change is a transaction; `changed()` tells of those of others. The file holds secrets:
 * only its owner can read it. Throws `StoreError`.
 */
export class ApplianceDatabase {
  readonly file: string;
  readonly db: Database.Database;
  private readonly statements = new Map<string, Database.Statement>();
  private seen: number;

  /** Makes directory and file where there are none, and brings the schema up to date. */
  constructor(directory: string, migrations: readonly string[] = MIGRATIONS) {
    this.file = join(directory, APPLIANCE_FILE);
    let db: Database.Database | undefined;
    try {
      mkdirSync(directory, { recursive: true });
      db = new Database(this.file, { timeout: BUSY_MS });
      chmodSync(this.file, 0o600);
      db.pragma('journal_mode = WAL');
      db.pragma('synchronous = FULL');
      db.pragma('foreign_keys = ON');
      migrate(db, this.file, migrations);
    } catch (error) {
      db?.close();
      throw StoreError.of(error, this.file);
    }
    this.db = db;
    this.seen = this.version();
  }

  /** Whether another process has changed anything since this was asked last. */
  changed(): boolean {
    const version = this.version();
    if (version === this.seen) return false;
    this.seen = version;
    return true;
  }

  /** Runs `change` as one transaction: all of it or, when it throws, nothing. */
  transaction<Result>(change: () => Result): Result {
    return this.db.transaction(change).immediate();
  }

  /** A change that may be lost with the power, and then alone: it does not wait for the disk, nor does anybody else meanwhile. */
  unsynced(change: () => void): void {
    this.db.pragma('synchronous = NORMAL');
    try {
      change();
    } finally {
      this.db.pragma('synchronous = FULL');
    }
  }

  /** A statement that is asked again and again, prepared once. For texts of the program's own, of which there are few. */
  statement(sql: string): Database.Statement {
    let statement = this.statements.get(sql);
    if (statement === undefined) {
      statement = this.db.prepare(sql);
      this.statements.set(sql, statement);
    }
    return statement;
  }

  close(): void {
    this.statements.clear();
    this.db.close();
  }

  private version(): number {
    return this.db.pragma('data_version', { simple: true }) as number;
  }
}

function migrate(db: Database.Database, file: string, migrations: readonly string[]): void {
  // Looked at inside the transaction: another process may have been first.
  db.transaction(() => {
    const version = db.pragma('user_version', { simple: true }) as number;
    const application = db.pragma('application_id', { simple: true }) as number;
    if (version === 0 && (db.prepare('SELECT count(*) FROM sqlite_schema').pluck().get() as number) > 0)
      throw new StoreError('store_not_a_database', `${file} is a database of another program`);
    if (version !== 0 && application !== APPLICATION_ID)
      throw new StoreError('store_not_a_database', `${file} is a database of another program`);
    if (version > migrations.length)
      throw new StoreError(
        'store_too_new',
        `${file} has schema version ${version}, this program knows up to ${migrations.length}`,
      );
    for (const step of migrations.slice(version)) db.exec(step);
    db.pragma(`application_id = ${APPLICATION_ID}`);
    db.pragma(`user_version = ${migrations.length}`);
  }).immediate();
}

/** The schema's history: a step is never changed once released, only followed by another. */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE settings (
    section TEXT NOT NULL, version INTEGER NOT NULL, value TEXT NOT NULL, changed_ms INTEGER NOT NULL, changed_by TEXT NOT NULL,
    PRIMARY KEY (section, version)
  ) STRICT;

  CREATE TABLE notifications (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, kind TEXT NOT NULL, severity TEXT NOT NULL, title TEXT NOT NULL,
    description TEXT NOT NULL, details TEXT NOT NULL, count INTEGER NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
    resolved_ms INTEGER
  ) STRICT;
  CREATE UNIQUE INDEX notifications_open ON notifications (key) WHERE resolved_ms IS NULL;
  `,
  `
  CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL, password_hash TEXT NOT NULL,
    enabled INTEGER NOT NULL, must_change_password INTEGER NOT NULL, created_ms INTEGER NOT NULL, password_changed_ms INTEGER NOT NULL,
    last_sign_in_ms INTEGER
  ) STRICT;

  CREATE TABLE tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, name TEXT NOT NULL,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE, role TEXT NOT NULL, hash TEXT NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL, used_ms INTEGER, expires_ms INTEGER
  ) STRICT;
  CREATE INDEX tokens_by_user ON tokens (user_id);

  CREATE TABLE sign_in_failures (
    key TEXT PRIMARY KEY, count INTEGER NOT NULL, last_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER NOT NULL, actor TEXT NOT NULL, address TEXT NOT NULL, action TEXT NOT NULL,
    subject TEXT NOT NULL, outcome TEXT NOT NULL, details TEXT NOT NULL, previous_hash TEXT NOT NULL, hash TEXT NOT NULL
  ) STRICT;
  `,
  `
  CREATE TABLE backup_runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, reason TEXT NOT NULL, started_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL,
    outcome TEXT NOT NULL, file TEXT NOT NULL, bytes INTEGER NOT NULL, message TEXT NOT NULL
  ) STRICT;
  CREATE INDEX backup_runs_by_kind ON backup_runs (kind, outcome, ended_ms);
  `,
  `
  CREATE TABLE forward_cursors (
    destination TEXT NOT NULL, source TEXT NOT NULL, position INTEGER NOT NULL, sent INTEGER NOT NULL, dropped INTEGER NOT NULL,
    PRIMARY KEY (destination, source)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE forward_destinations (
    destination TEXT PRIMARY KEY, last_success_ms INTEGER NOT NULL DEFAULT 0, last_error TEXT NOT NULL DEFAULT '',
    last_error_ms INTEGER NOT NULL DEFAULT 0, failing_since_ms INTEGER NOT NULL DEFAULT 0
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE forward_appliance (id INTEGER PRIMARY KEY CHECK (id = 1), uuid TEXT NOT NULL) STRICT;
  `,
  `
  CREATE TABLE zone_policies (
    version INTEGER PRIMARY KEY, text TEXT NOT NULL, comment TEXT NOT NULL, applied_ms INTEGER NOT NULL, applied_by TEXT NOT NULL
  ) STRICT;
  `,
  // By a command, which cannot reach into the service.
  'ALTER TABLE forward_destinations ADD COLUMN retry_asked_ms INTEGER NOT NULL DEFAULT 0',
];
