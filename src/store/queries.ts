import { existsSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type {
  ActivityRow,
  AddressRow,
  AlertRow,
  AttributeRow,
  CaptureRow,
  ConnectionRow,
  DeviceRow,
  EventRow,
  InterfaceRow,
  PartRow,
} from './change-set.ts';
import { StoreError } from './errors.ts';
import { checkVersion, SCHEMA_VERSION } from './migrations.ts';
import { DATABASE_FILE, Writer } from './writer.ts';

/** A page of rows. `next_cursor` is to be given as `cursor` for the next one; null at the end. */
export interface Page<Row> {
  rows: Row[];
  next_cursor: Cursor | null;
}

/** Where a page ended: the id, or with another order the value and the id. */
export type Cursor = number | readonly [string | number, number];

/**
 * Common to all lists. `since_ms` ≤ last seen, first seen ≤ `until_ms`. `limit` 1 … 10,000, 100 where not given. `sort`: one of the
 * list's columns in `SORTS`; by id where not given.
 */
export interface Range {
  since_ms?: number;
  until_ms?: number;
  limit?: number;
  cursor?: Cursor;
  sort?: string;
  descending?: boolean;
  /** Only rows with ids from the first to the second, both of them part of it. */
  ids?: readonly [number, number];
}

/** What each list can be sorted by besides its id: columns that are never null. */
export const SORTS = {
  devices: ['name', 'type', 'vendor', 'model', 'ip', 'mac', 'zone', 'first_ms', 'last_ms'],
  connections: ['first_ms', 'last_ms', 'app_proto', 'server_port'],
  activities: [],
  alerts: ['first_ms', 'last_ms', 'count', 'severity', 'kind', 'status'],
  events: ['time_ms'],
} as const satisfies Record<string, readonly string[]>;

export interface DeviceFilter extends Range {
  id?: number;
  ip?: string;
  mac?: string;
  type?: string;
  zone?: string;
  purdue_level?: number;
  /** Takes part in a conversation of this protocol. */
  protocol?: string;
  programming_station?: boolean;
  /** Part of name, vendor, model, type, MAC, IP or any attribute's value; upper and lower case are one. */
  text?: string;
}

export interface ConnectionFilter extends Range {
  id?: number;
  /** At either end. */
  device?: number;
  ip?: string;
  mac?: string;
  protocol?: string;
  port?: number;
  zone?: string;
  text?: string;
}

export interface ActivityFilter extends Range {
  connection?: number;
  device?: number;
  ip?: string;
  mac?: string;
  protocol?: string;
  operation?: string;
  unit?: number;
  text?: string;
}

export interface AlertFilter extends Range {
  id?: number;
  device?: number;
  ip?: string;
  mac?: string;
  protocol?: string;
  operation?: string;
  severity?: string | string[];
  kind?: string | string[];
  status?: string | string[];
  zone?: string;
  technique?: string;
  text?: string;
}

export interface EventFilter extends Range {
  device?: number;
  kind?: string | string[];
  text?: string;
}

/** A device as it is read: flags are booleans, and what it is made of is counted. */
export type StoredDevice = DeviceRow & { addresses: string[]; macs: string[]; parts: number };
export type StoredConnection = ConnectionRow;
export type StoredActivity = ActivityRow & {
  opener_ip: string;
  opener_mac: string;
  opener_device: number | null;
  responder_ip: string;
  responder_mac: string;
  responder_device: number | null;
  server_port: number;
};

export type StoredAlert = AlertRow & {
  id: number;
  status: string;
  /** Number of packets kept. */
  evidence: number;
  /** Number of comments. */
  comments: number;
};

export interface DevicePairFilter {
  /** Only pairs of this device. */
  device: number | null;
  discovered_before_ms: number | null;
  discovered_after_ms: number | null;
  active_since_ms: number | null;
}

export interface DevicePair {
  first_device: number;
  second_device: number;
  first_ms: number;
  last_ms: number;
  ports: number[];
  protocols: { app_proto: string; proto: string; operations: string[] }[];
}

/** By device. */
export interface DeviceFacts {
  spoken: Map<number, { app_proto: string; number: number; ips: string[] }[]>;
  firmware: Map<number, AttributeRow[]>;
  dynamic: Set<number>;
}

export interface AlertComment {
  id: number;
  alert_id: number;
  time_ms: number;
  author: string;
  text: string;
}

/** What people said of a device; null: nothing. It goes before what the sensor found out. */
export interface DeviceMarks {
  device_id: number;
  authorized: boolean | null;
  scanner: boolean | null;
  programming_station: boolean | null;
  name: string | null;
  type: string | null;
  note: string | null;
  changed_ms: number;
  changed_by: string;
}

export interface StoredEvidence {
  alert_id: number;
  ordinal: number;
  capture_id: number;
  frame: number;
  seconds: number;
  nanoseconds: number;
  captured: number;
  wire: number;
  link_type: number;
  bytes: Buffer;
}

export type StoredEvent = EventRow & { id: number };
export type StoredCapture = CaptureRow;

export interface ProtocolTotal {
  app_proto: string;
  proto: string;
  conversations: number;
  packets: number;
}

export interface AlertTotal {
  kind: string;
  alerts: number;
  times: number;
}

/** What the inventory goes on from after a restart: `Inventory.load`. */
export interface Snapshot {
  next_device_id: number;
  next_connection_id: number;
  next_activity_id: number;
  devices: DeviceRow[];
  interfaces: InterfaceRow[];
  addresses: AddressRow[];
  attributes: AttributeRow[];
  parts: PartRow[];
  /** Read row by row as they are asked for, once: there may be a million, of which none is to be held twice. */
  connections: Iterable<ConnectionRow>;
  activities: Iterable<ActivityRow>;
}

const MAX_LIMIT = 10_000;
const DEFAULT_LIMIT = 100;
const ROWS_AT_ONCE = 2000;
/** Conversations of a protocol up to which they are few. */
const RARE = 5000;

const DEVICE_FLAGS = ['programming_station', 'router', 'gateway'];

/** WHERE, grown clause by clause; every value is bound, never written into the text. */
class Where {
  readonly clauses: string[] = [];
  readonly values: unknown[] = [];

  and(clause: string, ...values: unknown[]): this {
    this.clauses.push(`(${clause})`);
    this.values.push(...values);
    return this;
  }

  /** Nothing where the value is not given; a list means any of it. */
  equal(column: string, value: string | number | string[] | undefined): this {
    if (value === undefined) return this;
    // One value of an index is in the order of the ids already; of several the rows would be sorted.
    if (!Array.isArray(value) || value.length === 1) return this.and(`${column} = ?`, ...[value].flat());
    return this.and(value.length ? `${column} IN (${value.map(() => '?').join(', ')})` : 'FALSE', ...value);
  }

  /** The text stands in one of the columns. `also`: a further clause that takes the pattern once. */
  text(value: string | undefined, columns: string[], also = ''): this {
    if (value === undefined || value === '') return this;
    const pattern = `%${value.replace(/[\\%_]/g, '\\$&')}%`;
    const clauses = columns.map((column) => `${column} LIKE ? ESCAPE '\\'`);
    if (also) clauses.push(also);
    return this.and(clauses.join(' OR '), ...clauses.map(() => pattern));
  }

  range(filter: Range, first = 'first_ms', last = 'last_ms'): this {
    if (filter.since_ms !== undefined) this.and(`${last} >= ?`, filter.since_ms);
    if (filter.until_ms !== undefined) this.and(`${first} <= ?`, filter.until_ms);
    return this;
  }

  toString(): string {
    return this.clauses.length ? `WHERE ${this.clauses.join(' AND ')}` : '';
  }
}

interface Prepared {
  statement: Database.Statement;
  rowOf: (values: unknown[]) => object;
}

/**
 * Makes objects of a statement's values. Generated from the names of its columns, which are ours, since setting one column
 * after the other was two fifths of a start with hundreds of thousands of rows.
 */
function rowMaker(names: readonly string[], flags: readonly string[], json: readonly string[]): Prepared['rowOf'] {
  const members = names.map((name, i) => {
    if (!/^\w+$/.test(name)) throw new Error(`a column is called ${name}; give it a name with AS`);
    if (flags.includes(name)) return `${name}: v[${i}] !== 0`;
    return json.includes(name) ? `${name}: JSON.parse(v[${i}])` : `${name}: v[${i}]`;
  });
  return new Function('v', `'use strict'; return { ${members.join(', ')} };`) as Prepared['rowOf'];
}

/**
 * Reads the database over a connection that cannot write; beside a running writer it sees whole change sets. All lists are in the order
 * of their ids. One of an earlier version is brought up to date first. Throws `StoreError`: `store_missing` where there is none,
 * `store_too_new`, `store_outdated`, `store_not_a_database`.
 */
export class StoreReader {
  readonly file: string;
  readonly #db: Database.Database;
  readonly #prepared = new Map<string, Prepared>();

  constructor(directory: string) {
    this.file = join(directory, DATABASE_FILE);
    if (!existsSync(this.file)) throw new StoreError('store_missing', `there is no ${this.file}`);
    let db: Database.Database | undefined;
    try {
      db = new Database(this.file, { readonly: true, fileMustExist: true });
      const version = checkVersion(db, this.file);
      if (version === 0) throw new StoreError('store_missing', `${this.file} is empty`);
      if (version < SCHEMA_VERSION) bringUpToDate(directory, version);
    } catch (error) {
      db?.close();
      throw StoreError.of(error, this.file);
    }
    this.#db = db;
  }

  close(): void {
    this.#prepared.clear();
    this.#db.close();
  }

  devices(filter: DeviceFilter = {}): Page<StoredDevice> {
    const where = new Where()
      .and('merged_into IS NULL')
      .equal('id', filter.id)
      .equal('type', filter.type)
      .equal('zone', filter.zone)
      .equal('purdue_level', filter.purdue_level)
      .range(filter)
      .text(
        filter.text,
        ['name', 'vendor', 'model', 'type', 'mac', 'ip'],
        `EXISTS (SELECT 1 FROM attributes a WHERE a.device_id = devices.id AND a.value LIKE ? ESCAPE '\\')`,
      );
    if (filter.ip !== undefined) where.and('id IN (SELECT device_id FROM addresses WHERE ip = ?)', filter.ip.toLowerCase());
    if (filter.mac !== undefined) where.and('id IN (SELECT device_id FROM interfaces WHERE mac = ?)', macText(filter.mac));
    if (filter.programming_station !== undefined) where.and('programming_station = ?', filter.programming_station ? 1 : 0);
    if (filter.protocol !== undefined) {
      // Those of a rare protocol are found by its conversations, those of a common one by looking at each device.
      const some = 'SELECT count(*) AS n FROM (SELECT 1 FROM connections WHERE app_proto = ? LIMIT ?)';
      const rare = this.#one<{ n: number }>(some, filter.protocol, RARE + 1)!.n <= RARE;
      where.and(
        rare
          ? `id IN (SELECT opener_device FROM connections WHERE app_proto = ? UNION SELECT responder_device FROM connections WHERE app_proto = ?)`
          : `EXISTS (SELECT 1 FROM connections WHERE opener_device = devices.id AND app_proto = ?)
             OR EXISTS (SELECT 1 FROM connections WHERE responder_device = devices.id AND app_proto = ?)`,
        filter.protocol,
        filter.protocol,
      );
    }
    return this.#page<StoredDevice>(
      `*, (SELECT json_group_array(DISTINCT ip) FROM addresses a WHERE a.device_id = devices.id AND a.current) AS addresses,
       (SELECT json_group_array(DISTINCT mac) FROM interfaces i WHERE i.device_id = devices.id) AS macs,
       (SELECT count(*) FROM parts p WHERE p.device_id = devices.id) AS parts`,
      'devices',
      where,
      filter,
      DEVICE_FLAGS,
      ['addresses', 'macs'],
    );
  }

  /** The device, or the one it was merged into; null where there is none of that id. */
  device(id: number): StoredDevice | null {
    const merged = this.#one<{ merged_into: number | null }>('SELECT merged_into FROM devices WHERE id = ?', id);
    if (!merged) return null;
    if (merged.merged_into !== null) return this.device(merged.merged_into);
    return this.devices({ id }).rows[0] ?? null;
  }

  interfaces(device: number): InterfaceRow[] {
    return this.#all<InterfaceRow>(
      'SELECT * FROM interfaces WHERE device_id = ? ORDER BY first_ms, segment, mac',
      [device],
      ['router'],
    );
  }

  /** All it ever had; `current` tells those it has now. */
  addresses(device: number): AddressRow[] {
    return this.#all<AddressRow>(
      'SELECT * FROM addresses WHERE device_id = ? ORDER BY first_ms, ip, segment',
      [device],
      ['current'],
    );
  }

  attributes(device: number): AttributeRow[] {
    const order = 'ORDER BY part, attribute, preferred DESC, current DESC, last_ms DESC, app_proto, field, value';
    return this.#all<AttributeRow>(`SELECT * FROM attributes WHERE device_id = ? ${order}`, [device], ['current', 'preferred']);
  }

  parts(device: number): PartRow[] {
    return this.#all<PartRow>('SELECT * FROM parts WHERE device_id = ? ORDER BY kind, number, part', [device]);
  }

  connections(filter: ConnectionFilter = {}): Page<StoredConnection> {
    const where = new Where()
      .equal('id', filter.id)
      .equal('app_proto', filter.protocol)
      .equal('server_port', filter.port)
      .range(filter)
      .text(filter.text, ['app_proto', 'proto', 'opener_ip', 'opener_mac', 'responder_ip', 'responder_mac']);
    this.#ends(where, 'opener', 'responder', filter);
    if (filter.zone !== undefined) {
      const zone = '(SELECT id FROM devices WHERE zone = ?)';
      where.and(`opener_device IN ${zone} OR responder_device IN ${zone}`, filter.zone, filter.zone);
    }
    return this.#page<StoredConnection>('*', 'connections', where, filter, ['opener_certain']);
  }

  activities(filter: ActivityFilter = {}): Page<StoredActivity> {
    const where = new Where()
      .equal('connection_id', filter.connection)
      .equal('activities.app_proto', filter.protocol)
      .equal('operation', filter.operation)
      .equal('unit', filter.unit)
      .range(filter, 'activities.first_ms', 'activities.last_ms')
      .text(filter.text, ['activities.app_proto', 'operation', 'target']);
    this.#ends(where, 'opener', 'responder', filter);
    return this.#page<StoredActivity>(
      `activities.*, opener_ip, opener_mac, opener_device, responder_ip, responder_mac, responder_device, server_port`,
      'activities',
      where,
      filter,
      ['from_opener'],
      [],
      'JOIN connections ON connections.id = connection_id',
    );
  }

  alerts(filter: AlertFilter = {}): Page<StoredAlert> {
    const where = new Where()
      .equal('id', filter.id)
      .equal('kind', filter.kind)
      .equal('severity', filter.severity)
      .equal('status', filter.status)
      .equal('app_proto', filter.protocol)
      .equal('operation', filter.operation)
      .equal('technique', filter.technique)
      .range(filter)
      .text(filter.text, ['title', 'description', 'details', 'source_ip', 'destination_ip', 'source_mac', 'destination_mac']);
    this.#ends(where, 'source', 'destination', filter);
    if (filter.zone !== undefined) where.and('source_zone = ? OR destination_zone = ?', filter.zone, filter.zone);
    return this.#page<StoredAlert>(
      `*, (SELECT count(*) FROM evidence e WHERE e.alert_id = alerts.id) AS evidence,
       (SELECT count(*) FROM alert_comments c WHERE c.alert_id = alerts.id) AS comments`,
      'alerts',
      where,
      filter,
      [],
      ['details'],
    );
  }

  comments(alert: number): AlertComment[] {
    return this.#all<AlertComment>('SELECT * FROM alert_comments WHERE alert_id = ? ORDER BY id', [alert]);
  }

  /** Of these devices, by id. */
  marks(devices: readonly number[]): Map<number, DeviceMarks> {
    const rows = this.#all<DeviceMarks>('SELECT * FROM device_marks WHERE device_id IN (SELECT value FROM json_each(?))', [
      JSON.stringify(devices),
    ]);
    const flag = (value: unknown) => (value === null ? null : value !== 0);
    const flags = (row: DeviceMarks) => ({
      authorized: flag(row.authorized),
      scanner: flag(row.scanner),
      programming_station: flag(row.programming_station),
    });
    return new Map(rows.map((row) => [row.device_id, { ...row, ...flags(row) }]));
  }

  /**
   * Pairs of devices that talk, each once with all their conversations: the lower id first. Conversations with an end that is no
   * device (a multicast group) are left out; those of a device with itself too.
   */
  devicePairs({ device, discovered_before_ms, discovered_after_ms, active_since_ms }: DevicePairFilter): DevicePair[] {
    const where = new Where().and(
      'opener_device IS NOT NULL AND responder_device IS NOT NULL AND opener_device <> responder_device',
    );
    if (device !== null) where.and('opener_device = ? OR responder_device = ?', device, device);
    const having = new Where();
    if (discovered_before_ms !== null) having.and('min(first_ms) <= ?', discovered_before_ms);
    if (discovered_after_ms !== null) having.and('min(first_ms) >= ?', discovered_after_ms);
    if (active_since_ms !== null) having.and('max(last_ms) >= ?', active_since_ms);
    const pairs = this.#all<DevicePair & { conversations: string }>(
      `SELECT min(opener_device, responder_device) AS first_device, max(opener_device, responder_device) AS second_device,
       min(first_ms) AS first_ms, max(last_ms) AS last_ms,
       json_group_array(DISTINCT server_port) FILTER (WHERE server_port > 0) AS ports,
       json_group_array(json_array(app_proto, proto, (SELECT json_group_array(DISTINCT operation) FROM activities a WHERE a.connection_id = connections.id))) AS protocols
       FROM connections ${where} GROUP BY 1, 2 ${having.clauses.length > 0 ? `HAVING ${having.clauses.join(' AND ')}` : ''} ORDER BY 1, 2`,
      [...where.values, ...having.values],
      [],
      ['ports', 'protocols'],
    );
    for (const pair of pairs) {
      pair.ports.sort((a, b) => a - b);
      const protocols = new Map<string, DevicePair['protocols'][number]>();
      for (const [app_proto, proto, operations] of pair.protocols as unknown as [string, string, string | string[]][]) {
        const key = app_proto || proto;
        const known = protocols.get(key) ?? { app_proto, proto, operations: [] };
        const more = typeof operations === 'string' ? (JSON.parse(operations) as string[]) : operations;
        protocols.set(key, { ...known, operations: [...new Set([...known.operations, ...more])].sort() });
      }
      pair.protocols = [...protocols.values()];
    }
    return pairs;
  }

  /** Of these devices: what they speak, with which addresses; what they say of themselves and their modules; whether DHCP gave an address. */
  deviceFacts(devices: readonly number[]): DeviceFacts {
    const ids = [JSON.stringify(devices)];
    const these = 'IN (SELECT value FROM json_each(?))';
    const spoken: DeviceFacts['spoken'] = new Map();
    const protocols = this.#all<{ device: number; app_proto: string; ips: string[] }>(
      `SELECT device, app_proto, json_group_array(DISTINCT ip) FILTER (WHERE ip <> '') AS ips FROM (
         SELECT opener_device AS device, app_proto, opener_ip AS ip FROM connections WHERE opener_device ${these}
         UNION SELECT responder_device, app_proto, responder_ip FROM connections WHERE responder_device ${these})
       GROUP BY 1, 2 ORDER BY 1, 2`,
      [...ids, ...ids],
      [],
      ['ips'],
    );
    for (const { device, app_proto, ips } of protocols) {
      if (!spoken.has(device)) spoken.set(device, []);
      const of_device = spoken.get(device)!;
      of_device.push({ app_proto, number: of_device.length + 1, ips });
    }
    const firmware: DeviceFacts['firmware'] = new Map();
    const said = this.#all<AttributeRow>(
      `SELECT * FROM attributes WHERE device_id ${these} AND preferred
       AND attribute IN ('serial', 'model', 'order_code', 'firmware', 'description', 'name') ORDER BY device_id, part, attribute`,
      ids,
    );
    for (const row of said) firmware.set(row.device_id, [...(firmware.get(row.device_id) ?? []), row]);
    // A device that only told its name has no firmware to speak of.
    for (const [device, rows] of firmware) {
      const parts = new Set(rows.filter(({ attribute }) => !['name', 'description'].includes(attribute)).map(({ part }) => part));
      firmware.set(
        device,
        rows.filter(({ part }) => parts.has(part)),
      );
    }
    const dynamic = this.#all<{ device_id: number }>(
      `SELECT DISTINCT device_id FROM addresses WHERE device_id ${these} AND how = 'dhcp' AND current`,
      ids,
    );
    return { spoken, firmware, dynamic: new Set(dynamic.map((row) => row.device_id)) };
  }

  /** The highest id of a list; 0 where it is empty. */
  lastId(table: keyof typeof SORTS): number {
    return this.#one<{ n: number }>(`SELECT coalesce(max(id), 0) AS n FROM ${table}`)!.n;
  }

  /** Changes with every change set and every change by people: what was read is old when it is another. */
  version(): number {
    return this.#db.pragma('data_version', { simple: true }) as number;
  }

  /** The highest id there is; 0 where there is no alert. */
  lastAlertId(): number {
    return this.#one<{ id: number }>('SELECT coalesce(max(id), 0) AS id FROM alerts')!.id;
  }

  /** The packets behind an alert, in the order of capture. */
  evidence(alert: number): StoredEvidence[] {
    const order = 'ORDER BY seconds, nanoseconds, frame, ordinal';
    return this.#all<StoredEvidence>(`SELECT * FROM evidence WHERE alert_id = ? ${order}`, [alert]);
  }

  events(filter: EventFilter = {}): Page<StoredEvent> {
    const where = new Where()
      .equal('device_id', filter.device)
      .equal('kind', filter.kind)
      .range(filter, 'time_ms', 'time_ms')
      .text(filter.text, ['title', 'details']);
    return this.#page<StoredEvent>('*', 'events', where, filter, [], ['details']);
  }

  captures(): StoredCapture[] {
    return this.#all<StoredCapture>('SELECT * FROM captures ORDER BY id', [], ['finished'], ['counters', 'warnings']);
  }

  /** What was spoken, the most packets first; `app_proto` is '' for what was not recognised, told apart by `proto`. */
  protocolTotals(): ProtocolTotal[] {
    return sumProtocols(this.protocolSlices(Number.MAX_SAFE_INTEGER));
  }

  /** The same in pieces of so many connections, to be put together by `sumProtocols`: for whoever must not be held up by half a million. */
  *protocolSlices(connections: number): Generator<ProtocolTotal[]> {
    const last = this.#one<{ n: number }>('SELECT coalesce(max(id), 0) AS n FROM connections')!.n;
    for (let from = 0; from < last; from += connections)
      yield this.#all<ProtocolTotal>(
        `SELECT app_proto, iif(app_proto = '', proto, '') AS proto, count(*) AS conversations,
         sum(packets_from_opener + packets_from_responder) AS packets FROM connections WHERE id > ? AND id <= ? GROUP BY 1, 2`,
        [from, Math.min(Number.MAX_SAFE_INTEGER, from + connections)],
      );
  }

  /** Alerts of each kind there is, and how often they were raised. */
  alertTotals(): AlertTotal[] {
    return this.#all<AlertTotal>('SELECT kind, count(*) AS alerts, sum(count) AS times FROM alerts GROUP BY kind ORDER BY kind');
  }

  /** Open alerts by severity. */
  openAlerts(): Record<string, number> {
    const rows = this.#all<{ severity: string; n: number }>(
      "SELECT severity, count(*) AS n FROM alerts WHERE status = 'open' GROUP BY severity",
    );
    return Object.fromEntries(rows.map(({ severity, n }) => [severity, n]));
  }

  /** Rows of each table: devices (without merged ones), connections, activities, alerts, evidence, events, captures. */
  totals(): Record<string, number> {
    const totals: Record<string, number> = {};
    for (const table of ['devices', 'connections', 'activities', 'alerts', 'evidence', 'events', 'captures']) {
      const only = table === 'devices' ? 'WHERE merged_into IS NULL' : '';
      totals[table] = this.#one<{ n: number }>(`SELECT count(*) AS n FROM ${table} ${only}`)!.n;
    }
    return totals;
  }

  /**
   * Rows of the tables that people ask for, at little cost whatever their size: of alerts and events only the oldest ever go, and never the
   * newest, so that the ids tell their number.
   */
  quickTotals(): Record<string, number> {
    const count = (sql: string) => this.#one<{ n: number }>(sql)!.n;
    const span = (table: string) =>
      count(`SELECT coalesce((SELECT max(id) FROM ${table}) - (SELECT min(id) FROM ${table}) + 1, 0) AS n`);
    return {
      devices: count('SELECT count(*) AS n FROM devices WHERE merged_into IS NULL'),
      connections: count('SELECT count(*) AS n FROM connections'),
      alerts: span('alerts'),
      events: span('events'),
      captures: count('SELECT count(*) AS n FROM captures'),
    };
  }

  /** The state after the last change set, as long as nothing is written: for whoever is about to write. */
  snapshot(): Snapshot {
    const next = (table: string) => this.#one<{ n: number }>(`SELECT coalesce(max(id), 0) + 1 AS n FROM ${table}`)!.n;
    return {
      next_device_id: next('devices'),
      next_connection_id: next('connections'),
      next_activity_id: next('activities'),
      devices: this.#all<DeviceRow>('SELECT * FROM devices WHERE merged_into IS NULL ORDER BY id', [], DEVICE_FLAGS),
      interfaces: this.#all<InterfaceRow>('SELECT * FROM interfaces ORDER BY device_id, first_ms', [], ['router']),
      addresses: this.#all<AddressRow>('SELECT * FROM addresses ORDER BY device_id, first_ms', [], ['current']),
      attributes: this.#all<AttributeRow>('SELECT * FROM attributes ORDER BY device_id, first_ms', [], ['current', 'preferred']),
      parts: this.#all<PartRow>('SELECT * FROM parts ORDER BY device_id, first_ms'),
      connections: this.#each<ConnectionRow>('connections', 'opener_certain'),
      activities: this.#each<ActivityRow>('activities', 'from_opener'),
    };
  }

  /** Clauses on either end of a conversation. */
  #ends(where: Where, one: string, other: string, filter: { device?: number; ip?: string; mac?: string }): void {
    const either = (column: string, value: string | number | undefined) => {
      if (value !== undefined) where.and(`${one}_${column} = ? OR ${other}_${column} = ?`, value, value);
    };
    either('device', filter.device);
    either('ip', filter.ip?.toLowerCase());
    either('mac', filter.mac === undefined ? undefined : macText(filter.mac));
  }

  #page<Row>(
    columns: string,
    table: string,
    where: Where,
    range: Range,
    flags: string[] = [],
    json: string[] = [],
    join = '',
  ): Page<Row> {
    const { cursor, sort, descending = false } = range;
    if (sort !== undefined && !(SORTS[table as keyof typeof SORTS] as readonly string[]).includes(sort))
      throw new Error(`${table} are not sorted by ${sort}`);
    const way = descending ? 'DESC' : 'ASC';
    const id = `${table}.id`;
    if (range.ids !== undefined) where.and(`${id} BETWEEN ? AND ?`, ...range.ids);
    if (cursor !== undefined) {
      const after = descending ? '<' : '>';
      if (typeof cursor === 'number') where.and(`${id} ${after} ?`, cursor);
      else where.and(`(${table}.${sort ?? 'id'}, ${id}) ${after} (?, ?)`, ...cursor);
    }
    const order = sort === undefined ? `${id} ${way}` : `${table}.${sort} ${way}, ${id} ${way}`;
    const limit = Math.min(MAX_LIMIT, Math.max(1, Math.floor(range.limit ?? DEFAULT_LIMIT)));
    const sql = `SELECT ${columns} FROM ${table} ${join} ${where} ORDER BY ${order} LIMIT ?`;
    // One more than asked for tells whether there is a next page.
    const rows = this.#all<Row & { id: number }>(sql, [...where.values, limit + 1], flags, json);
    const more = rows.length > limit;
    if (more) rows.pop();
    if (!more) return { rows, next_cursor: null };
    const last = rows[rows.length - 1];
    if (sort === undefined) return { rows, next_cursor: last.id };
    return { rows, next_cursor: [(last as Record<string, unknown>)[sort] as string | number, last.id] };
  }

  #statement(sql: string, flags: readonly string[], json: readonly string[]): Prepared {
    let prepared = this.#prepared.get(sql);
    if (!prepared) {
      // Filters combine in many ways: the statements kept are bounded.
      if (this.#prepared.size >= 64) this.#prepared.clear();
      const statement = this.#db.prepare(sql).raw(true);
      const names = statement.columns().map(({ name }) => name);
      prepared = { statement, rowOf: rowMaker(names, flags, json) };
      this.#prepared.set(sql, prepared);
    }
    return prepared;
  }

  #all<Row>(sql: string, values: unknown[] = [], flags: string[] = [], json: string[] = []): Row[] {
    try {
      const { statement, rowOf } = this.#statement(sql, flags, json);
      return (statement.all(...values) as unknown[][]).map(rowOf) as Row[];
    } catch (error) {
      throw StoreError.of(error, this.file);
    }
  }

  /** By the thousand: a step of an iterator costs more than a row of a list, and a list of all is held twice. */
  *#each<Row extends { id: number }>(table: string, flag: string): Generator<Row> {
    const sql = `SELECT * FROM ${table} WHERE id > ? ORDER BY id LIMIT ${ROWS_AT_ONCE}`;
    for (let last = 0; ; ) {
      const rows = this.#all<Row>(sql, [last], [flag]);
      yield* rows;
      if (rows.length < ROWS_AT_ONCE) return;
      last = rows[rows.length - 1].id;
    }
  }

  #one<Row>(sql: string, ...values: unknown[]): Row | undefined {
    return this.#all<Row>(sql, values)[0];
  }
}

/** One row a protocol, the most packets first. */
export function sumProtocols(slices: Iterable<readonly ProtocolTotal[]>): ProtocolTotal[] {
  const sums = new Map<string, ProtocolTotal>();
  for (const slice of slices)
    for (const { app_proto, proto, conversations, packets } of slice) {
      const key = `${app_proto} ${proto}`;
      const sum = sums.get(key);
      if (sum === undefined) sums.set(key, { app_proto, proto, conversations, packets });
      else {
        sum.conversations += conversations;
        sum.packets += packets;
      }
    }
  const text = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
  return [...sums.values()].sort((a, b) => b.packets - a.packets || text(a.app_proto, b.app_proto) || text(a.proto, b.proto));
}

/** Throws `store_outdated` where somebody else writes it. */
function bringUpToDate(directory: string, version: number): void {
  try {
    new Writer(directory).close();
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'store_locked') throw error;
    throw new StoreError('store_outdated', `${directory} has schema version ${version}, this program needs ${SCHEMA_VERSION}`);
  }
}

/** `00-11-22-AA-BB-CC`, `0011.22aa.bbcc` and the like as it is stored. */
function macText(mac: string): string {
  const digits = mac.toLowerCase().replace(/[^0-9a-f]/g, '');
  return digits.length === 12 ? digits.replace(/..(?=.)/g, '$&:') : mac.toLowerCase();
}
