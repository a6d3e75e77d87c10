import type { Database } from 'better-sqlite3';
import { StoreError } from './errors.ts';

/** 'OTSN': tells an ot-sensor database from any other SQLite file. */
export const APPLICATION_ID = 0x4f54534e;

/**
 * Numbered from 1, forward only: a released one is never edited, a change is a new one at the end. `user_version` holds the last
 * one applied. Columns are explained in change-set.ts.
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  INSERT INTO meta VALUES ('created', strftime('%Y-%m-%dT%H:%M:%SZ', 'now'));

  CREATE TABLE captures (
    id INTEGER PRIMARY KEY, source TEXT NOT NULL, packets INTEGER NOT NULL, bytes INTEGER NOT NULL, first_ms REAL, last_ms REAL,
    finished INTEGER NOT NULL, counters TEXT NOT NULL, warnings TEXT NOT NULL
  ) STRICT;

  CREATE TABLE devices (
    id INTEGER PRIMARY KEY, first_ms REAL NOT NULL, last_ms REAL NOT NULL, first_frame INTEGER NOT NULL, capture_id INTEGER NOT NULL,
    name TEXT NOT NULL, type TEXT NOT NULL, type_reason TEXT NOT NULL, purdue_level INTEGER, programming_station INTEGER NOT NULL,
    programming_reason TEXT NOT NULL, router INTEGER NOT NULL, gateway INTEGER NOT NULL, vendor TEXT NOT NULL, model TEXT NOT NULL,
    firmware TEXT NOT NULL, serial TEXT NOT NULL, mac TEXT NOT NULL, ip TEXT NOT NULL, segment TEXT NOT NULL, zone TEXT NOT NULL,
    behaviour TEXT NOT NULL, merged_into INTEGER
  ) STRICT;

  CREATE TABLE interfaces (
    device_id INTEGER NOT NULL, segment TEXT NOT NULL, mac TEXT NOT NULL, vendor TEXT NOT NULL, router INTEGER NOT NULL,
    first_ms REAL NOT NULL, last_ms REAL NOT NULL, PRIMARY KEY (device_id, mac, segment)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX interfaces_by_mac ON interfaces (mac);

  CREATE TABLE addresses (
    device_id INTEGER NOT NULL, segment TEXT NOT NULL, ip TEXT NOT NULL, mac TEXT NOT NULL, how TEXT NOT NULL, via_mac TEXT NOT NULL,
    current INTEGER NOT NULL, first_ms REAL NOT NULL, last_ms REAL NOT NULL, first_frame INTEGER NOT NULL, capture_id INTEGER NOT NULL,
    PRIMARY KEY (device_id, ip, segment, mac)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX addresses_by_ip ON addresses (ip);

  CREATE TABLE attributes (
    device_id INTEGER NOT NULL, part TEXT NOT NULL, attribute TEXT NOT NULL, value TEXT NOT NULL, app_proto TEXT NOT NULL,
    field TEXT NOT NULL, ip TEXT NOT NULL, current INTEGER NOT NULL, preferred INTEGER NOT NULL, first_ms REAL NOT NULL,
    last_ms REAL NOT NULL, first_frame INTEGER NOT NULL, capture_id INTEGER NOT NULL,
    PRIMARY KEY (device_id, part, attribute, app_proto, field, value)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE parts (
    device_id INTEGER NOT NULL, part TEXT NOT NULL, kind TEXT NOT NULL, number INTEGER NOT NULL, ip TEXT NOT NULL,
    app_proto TEXT NOT NULL, first_ms REAL NOT NULL, last_ms REAL NOT NULL, first_frame INTEGER NOT NULL, capture_id INTEGER NOT NULL,
    PRIMARY KEY (device_id, part)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE connections (
    id INTEGER PRIMARY KEY, segment TEXT NOT NULL, proto TEXT NOT NULL, app_proto TEXT NOT NULL, recognised_by TEXT NOT NULL,
    opener_device INTEGER, opener_mac TEXT NOT NULL, opener_ip TEXT NOT NULL,
    responder_device INTEGER, responder_mac TEXT NOT NULL, responder_ip TEXT NOT NULL,
    server_port INTEGER NOT NULL, client TEXT NOT NULL, opener_certain INTEGER NOT NULL, ethertype INTEGER NOT NULL,
    flows INTEGER NOT NULL, packets_from_opener INTEGER NOT NULL, packets_from_responder INTEGER NOT NULL,
    bytes_from_opener INTEGER NOT NULL, bytes_from_responder INTEGER NOT NULL,
    first_ms REAL NOT NULL, last_ms REAL NOT NULL, first_frame INTEGER NOT NULL, capture_id INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX connections_by_opener ON connections (opener_device);
  CREATE INDEX connections_by_responder ON connections (responder_device);
  CREATE INDEX connections_by_app_proto ON connections (app_proto);

  CREATE TABLE activities (
    id INTEGER PRIMARY KEY, connection_id INTEGER NOT NULL, app_proto TEXT NOT NULL, operation TEXT NOT NULL,
    from_opener INTEGER NOT NULL, role TEXT NOT NULL, target TEXT NOT NULL, target_first REAL, target_last REAL,
    unit INTEGER NOT NULL, unit_name TEXT NOT NULL, count INTEGER NOT NULL, first_ms REAL NOT NULL, last_ms REAL NOT NULL,
    first_frame INTEGER NOT NULL, capture_id INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX activities_by_connection ON activities (connection_id);

  CREATE TABLE alerts (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, severity TEXT NOT NULL, title TEXT NOT NULL,
    description TEXT NOT NULL, source_mac TEXT NOT NULL, source_ip TEXT NOT NULL, source_port INTEGER NOT NULL, source_device INTEGER,
    source_zone TEXT NOT NULL, destination_mac TEXT NOT NULL, destination_ip TEXT NOT NULL, destination_port INTEGER NOT NULL,
    destination_device INTEGER, destination_zone TEXT NOT NULL, segment TEXT NOT NULL, proto TEXT NOT NULL, app_proto TEXT NOT NULL,
    operation TEXT NOT NULL, technique TEXT NOT NULL, details TEXT NOT NULL, count INTEGER NOT NULL, first_ms REAL NOT NULL,
    last_ms REAL NOT NULL, first_frame INTEGER NOT NULL, last_frame INTEGER NOT NULL, capture_id INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'open'
  ) STRICT;
  CREATE INDEX alerts_by_kind ON alerts (kind);
  CREATE INDEX alerts_by_source ON alerts (source_device);
  CREATE INDEX alerts_by_destination ON alerts (destination_device);

  CREATE TABLE evidence (
    alert_id INTEGER NOT NULL REFERENCES alerts (id), ordinal INTEGER NOT NULL, capture_id INTEGER NOT NULL, frame INTEGER NOT NULL,
    seconds INTEGER NOT NULL, nanoseconds INTEGER NOT NULL, captured INTEGER NOT NULL, wire INTEGER NOT NULL,
    link_type INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (alert_id, ordinal)
  ) STRICT;

  CREATE TABLE events (
    id INTEGER PRIMARY KEY, capture_id INTEGER NOT NULL, frame INTEGER NOT NULL, time_ms REAL NOT NULL, kind TEXT NOT NULL,
    device_id INTEGER, title TEXT NOT NULL, details TEXT NOT NULL
  ) STRICT;
  CREATE INDEX events_by_device ON events (device_id);
  CREATE INDEX events_by_kind ON events (kind);
  `,
  // What people say of alerts and devices, and what their lists are looked up by.
  `
  CREATE TABLE alert_comments (
    id INTEGER PRIMARY KEY AUTOINCREMENT, alert_id INTEGER NOT NULL, time_ms INTEGER NOT NULL, author TEXT NOT NULL, text TEXT NOT NULL
  ) STRICT;
  CREATE INDEX alert_comments_by_alert ON alert_comments (alert_id);

  CREATE TABLE device_marks (
    device_id INTEGER PRIMARY KEY, authorized INTEGER, scanner INTEGER, programming_station INTEGER, name TEXT, type TEXT, note TEXT,
    changed_ms INTEGER NOT NULL, changed_by TEXT NOT NULL
  ) STRICT;

  CREATE INDEX devices_by_zone ON devices (zone, type);
  CREATE INDEX devices_by_type ON devices (type);
  CREATE INDEX alerts_by_status ON alerts (status);
  CREATE INDEX alerts_open ON alerts (severity) WHERE status = 'open';
  CREATE INDEX alerts_by_severity ON alerts (severity);
  CREATE INDEX alerts_by_app_proto ON alerts (app_proto);
  CREATE INDEX alerts_by_source_ip ON alerts (source_ip);
  CREATE INDEX alerts_by_destination_ip ON alerts (destination_ip);
  CREATE INDEX alerts_by_last ON alerts (last_ms);
  DROP INDEX connections_by_opener;
  DROP INDEX connections_by_responder;
  CREATE INDEX connections_by_opener ON connections (opener_device, app_proto);
  CREATE INDEX connections_by_responder ON connections (responder_device, app_proto);
  CREATE INDEX connections_by_opener_ip ON connections (opener_ip);
  CREATE INDEX connections_by_responder_ip ON connections (responder_ip);
  CREATE INDEX events_by_time ON events (time_ms);
  `,
  // Devices that people deleted: not listed until they are seen after `seen_ms`. What is known of them stays.
  `
  CREATE TABLE device_deletions (
    device_id INTEGER PRIMARY KEY, seen_ms REAL NOT NULL, deleted_ms INTEGER NOT NULL, deleted_by TEXT NOT NULL
  ) STRICT;
  `,
];

export const SCHEMA_VERSION = MIGRATIONS.length;

/**
 * Brings the database up to the present schema; each step in a transaction of its own, so that one that was cut off is made again.
 * Throws `store_too_new` for a database of a later version and `store_not_a_database` for one that is not ours.
 */
export function migrate(db: Database, file: string, migrations: readonly string[] = MIGRATIONS): void {
  const version = checkVersion(db, file, migrations.length);
  for (let next = version; next < migrations.length; next++) {
    db.transaction(() => {
      db.exec(migrations[next]);
      db.pragma(`application_id = ${APPLICATION_ID}`);
      db.pragma(`user_version = ${next + 1}`);
    }).exclusive();
  }
}

/** The schema version of the file, 0 for an empty one. Throws as `migrate` does. */
export function checkVersion(db: Database, file: string, newest: number = SCHEMA_VERSION): number {
  const version = db.pragma('user_version', { simple: true }) as number;
  const application = db.pragma('application_id', { simple: true }) as number;
  const tables = db.prepare('SELECT count(*) FROM sqlite_schema').pluck().get() as number;
  if (application !== APPLICATION_ID && (version !== 0 || tables !== 0)) {
    throw new StoreError('store_not_a_database', `${file} is a database of another program`);
  }
  if (version > newest) {
    throw new StoreError('store_too_new', `${file} has schema version ${version}, this program knows up to ${newest}`);
  }
  return version;
}
