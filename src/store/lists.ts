import type { ActivityRow, AlertRow, ConnectionRow, DeviceRow, EventRow } from './change-set.ts';
import type { ReadConnection } from './read-connection.ts';
import { macText, Where } from './where.ts';

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

export type StoredEvent = EventRow & { id: number };

const MAX_LIMIT = 10_000;
const DEFAULT_LIMIT = 100;
/** Conversations of a protocol up to which they are few. */
const RARE = 5000;

const DEVICE_FLAGS = ['programming_station', 'router', 'gateway'];

export function devices(db: ReadConnection, filter: DeviceFilter): Page<StoredDevice> {
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
    const rare = db.one<{ n: number }>(some, filter.protocol, RARE + 1)!.n <= RARE;
    where.and(
      rare
        ? `id IN (SELECT opener_device FROM connections WHERE app_proto = ? UNION SELECT responder_device FROM connections WHERE app_proto = ?)`
        : `EXISTS (SELECT 1 FROM connections WHERE opener_device = devices.id AND app_proto = ?)
           OR EXISTS (SELECT 1 FROM connections WHERE responder_device = devices.id AND app_proto = ?)`,
      filter.protocol,
      filter.protocol,
    );
  }
  return page<StoredDevice>(
    db,
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

export function connections(db: ReadConnection, filter: ConnectionFilter): Page<StoredConnection> {
  const where = new Where()
    .equal('id', filter.id)
    .equal('app_proto', filter.protocol)
    .equal('server_port', filter.port)
    .range(filter)
    .text(filter.text, ['app_proto', 'proto', 'opener_ip', 'opener_mac', 'responder_ip', 'responder_mac']);
  ends(where, 'opener', 'responder', filter);
  if (filter.zone !== undefined) {
    const zone = '(SELECT id FROM devices WHERE zone = ?)';
    where.and(`opener_device IN ${zone} OR responder_device IN ${zone}`, filter.zone, filter.zone);
  }
  return page<StoredConnection>(db, '*', 'connections', where, filter, ['opener_certain']);
}

export function activities(db: ReadConnection, filter: ActivityFilter): Page<StoredActivity> {
  const where = new Where()
    .equal('connection_id', filter.connection)
    .equal('activities.app_proto', filter.protocol)
    .equal('operation', filter.operation)
    .equal('unit', filter.unit)
    .range(filter, 'activities.first_ms', 'activities.last_ms')
    .text(filter.text, ['activities.app_proto', 'operation', 'target']);
  ends(where, 'opener', 'responder', filter);
  return page<StoredActivity>(
    db,
    `activities.*, opener_ip, opener_mac, opener_device, responder_ip, responder_mac, responder_device, server_port`,
    'activities',
    where,
    filter,
    ['from_opener'],
    [],
    'JOIN connections ON connections.id = connection_id',
  );
}

export function alerts(db: ReadConnection, filter: AlertFilter): Page<StoredAlert> {
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
  ends(where, 'source', 'destination', filter);
  if (filter.zone !== undefined) where.and('source_zone = ? OR destination_zone = ?', filter.zone, filter.zone);
  return page<StoredAlert>(
    db,
    `*, (SELECT count(*) FROM evidence e WHERE e.alert_id = alerts.id) AS evidence,
     (SELECT count(*) FROM alert_comments c WHERE c.alert_id = alerts.id) AS comments`,
    'alerts',
    where,
    filter,
    [],
    ['details'],
  );
}

export function events(db: ReadConnection, filter: EventFilter): Page<StoredEvent> {
  const where = new Where()
    .equal('device_id', filter.device)
    .equal('kind', filter.kind)
    .range(filter, 'time_ms', 'time_ms')
    .text(filter.text, ['title', 'details']);
  return page<StoredEvent>(db, '*', 'events', where, filter, [], ['details']);
}

/** Clauses on either end of a conversation. */
function ends(where: Where, one: string, other: string, filter: { device?: number; ip?: string; mac?: string }): void {
  const either = (column: string, value: string | number | undefined) => {
    if (value !== undefined) where.and(`${one}_${column} = ? OR ${other}_${column} = ?`, value, value);
  };
  either('device', filter.device);
  either('ip', filter.ip?.toLowerCase());
  either('mac', filter.mac === undefined ? undefined : macText(filter.mac));
}

function page<Row>(
  db: ReadConnection,
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
  const rows = db.all<Row & { id: number }>(sql, [...where.values, limit + 1], flags, json);
  const more = rows.length > limit;
  if (more) rows.pop();
  if (!more) return { rows, next_cursor: null };
  const last = rows[rows.length - 1];
  if (sort === undefined) return { rows, next_cursor: last.id };
  return { rows, next_cursor: [(last as Record<string, unknown>)[sort] as string | number, last.id] };
}
