import { CATALOGUE, kindOf } from '../detect/catalogue.ts';
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
  /** Only rows with one of these ids. */
  among?: readonly number[];
}

/** What each list can be sorted by besides its id: columns that are never null. */
export const SORTS = {
  devices: ['name', 'type', 'vendor', 'model', 'ip', 'mac', 'zone', 'first_ms', 'last_ms'],
  connections: ['first_ms', 'last_ms', 'app_proto', 'server_port'],
  activities: [],
  alerts: ['first_ms', 'last_ms', 'count', 'severity', 'kind', 'status'],
  events: ['time_ms'],
} as const satisfies Record<string, readonly string[]>;

/** Those of the lists that may be large for which there is no index: numbers, and the whole list is read. */
export const SORTS_WITHOUT_INDEX: Partial<Record<ListName, readonly string[]>> = {
  alerts: ['first_ms', 'count'],
  connections: ['first_ms', 'last_ms', 'server_port'],
};

/** What lists are filtered by without an index: where few rows fit all are read. */
export const FILTERS_WITHOUT_INDEX: { readonly [Name in ListName]: readonly (keyof FilterOf<Name>)[] } = {
  devices: ['text'],
  connections: ['text', 'port', 'mac', 'since_ms', 'until_ms'],
  activities: ['text', 'protocol', 'operation', 'unit', 'device', 'ip', 'mac', 'since_ms', 'until_ms'],
  alerts: ['text', 'operation', 'mac', 'zone', 'technique', 'since_ms', 'until_ms'],
  events: ['text', 'since_ms', 'until_ms'],
};

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
  /** Only those that people deleted and that were not seen since; they are left out otherwise, unless asked for by `id`. */
  deleted?: boolean;
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

/** A row of a list as JSON. */
export interface RowText {
  id: number;
  text: string;
  /** What it is sorted by, where that is not the id. */
  sorted?: string | number;
}

interface Lists {
  devices: { filter: DeviceFilter; row: StoredDevice };
  connections: { filter: ConnectionFilter; row: StoredConnection };
  activities: { filter: ActivityFilter; row: StoredActivity };
  alerts: { filter: AlertFilter; row: StoredAlert };
  events: { filter: EventFilter; row: StoredEvent };
}
export type ListName = keyof Lists;
export type FilterOf<Name extends ListName> = Lists[Name]['filter'];
export type RowOf<Name extends ListName> = Lists[Name]['row'];

/** How a list is read. SQL throughout; a field that is not named here is a column of the list's table. */
interface List<Filter> {
  where: (filter: Filter, db: ReadConnection) => Where;
  join?: string;
  /** What a row has besides its columns. */
  more?: Readonly<Record<string, string>>;
  /** As people are shown it: what they said of it goes before what was found out. */
  shown?: Readonly<Record<string, string>>;
  shown_join?: string;
  /** Fields that are 0 or 1, those that hold JSON, and those with fractions. */
  flags?: readonly string[];
  json?: readonly string[];
  reals: readonly string[];
}

const MAX_LIMIT = 10_000;
const DEFAULT_LIMIT = 100;
/** Conversations of a protocol up to which they are few. */
const RARE = 5000;

const DEVICE_FLAGS = ['programming_station', 'router', 'gateway'] as const;

const DELETED = 'EXISTS (SELECT 1 FROM device_deletions d WHERE d.device_id = devices.id AND d.seen_ms >= devices.last_ms)';

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;
/** What the catalogue says of an alert's kind. */
const byKind = (field: 'engine' | 'category'): string => {
  const cases = CATALOGUE.map((row) => `WHEN ${literal(row.kind)} THEN ${literal(row[field])}`);
  return `CASE alerts.kind ${cases.join(' ')} ELSE ${literal(kindOf('')[field])} END`;
};

const LISTS: { readonly [Name in ListName]: List<FilterOf<Name>> } = {
  devices: {
    where: (filter, db) => {
      const where = new Where()
        .and('merged_into IS NULL')
        .equal('devices.id', filter.id)
        .equal('devices.type', filter.type)
        .equal('zone', filter.zone)
        .equal('purdue_level', filter.purdue_level)
        .range(filter)
        .text(
          filter.text,
          ['devices.name', 'vendor', 'model', 'devices.type', 'mac', 'ip'],
          `EXISTS (SELECT 1 FROM attributes a WHERE a.device_id = devices.id AND a.value LIKE ? ESCAPE '\\')`,
        );
      const { id, ip, mac, programming_station, deleted } = filter;
      if (deleted === true) where.and(DELETED);
      // Where none was ever deleted it costs nothing.
      else if (id === undefined && db.one('SELECT 1 FROM device_deletions LIMIT 1') !== undefined) where.and(`NOT ${DELETED}`);
      if (ip !== undefined) where.and('devices.id IN (SELECT device_id FROM addresses WHERE ip = ?)', ip.toLowerCase());
      if (mac !== undefined) where.and('devices.id IN (SELECT device_id FROM interfaces WHERE mac = ?)', macText(mac));
      if (programming_station !== undefined) where.and('devices.programming_station = ?', programming_station ? 1 : 0);
      if (filter.protocol !== undefined) speaks(where, filter.protocol, db);
      return where;
    },
    more: {
      addresses: '(SELECT json_group_array(DISTINCT ip) FROM addresses a WHERE a.device_id = devices.id AND a.current)',
      macs: '(SELECT json_group_array(DISTINCT mac) FROM interfaces i WHERE i.device_id = devices.id)',
      parts: '(SELECT count(*) FROM parts p WHERE p.device_id = devices.id)',
    },
    shown: {
      name: 'coalesce(marks.name, devices.name)',
      type: 'coalesce(marks.type, devices.type)',
      type_reason: "iif(coalesce(marks.type, '') = '', devices.type_reason, 'set by ' || marks.changed_by)",
      programming_station: 'coalesce(marks.programming_station, devices.programming_station)',
      authorized: 'coalesce(marks.authorized, 1)',
      scanner: 'coalesce(marks.scanner, 0)',
      note: "coalesce(marks.note, '')",
    },
    shown_join: 'LEFT JOIN device_marks AS marks ON marks.device_id = devices.id',
    flags: [...DEVICE_FLAGS, 'authorized', 'scanner'],
    json: ['addresses', 'macs'],
    reals: ['first_ms', 'last_ms'],
  },
  connections: {
    where: (filter) => {
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
      return where;
    },
    flags: ['opener_certain'],
    reals: ['first_ms', 'last_ms'],
  },
  activities: {
    where: (filter) => {
      const where = new Where()
        .equal('connection_id', filter.connection)
        .equal('activities.app_proto', filter.protocol)
        .equal('operation', filter.operation)
        .equal('unit', filter.unit)
        .range(filter, 'activities.first_ms', 'activities.last_ms')
        .text(filter.text, ['activities.app_proto', 'operation', 'target']);
      ends(where, 'opener', 'responder', filter);
      return where;
    },
    join: 'JOIN connections ON connections.id = connection_id',
    more: Object.fromEntries(
      ['opener_ip', 'opener_mac', 'opener_device', 'responder_ip', 'responder_mac', 'responder_device', 'server_port'].map(
        (name) => [name, `connections.${name}`],
      ),
    ),
    flags: ['from_opener'],
    reals: ['target_first', 'target_last', 'first_ms', 'last_ms'],
  },
  alerts: {
    where: (filter) => {
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
      return where;
    },
    more: {
      evidence: '(SELECT count(*) FROM evidence e WHERE e.alert_id = alerts.id)',
      comments: '(SELECT count(*) FROM alert_comments c WHERE c.alert_id = alerts.id)',
    },
    shown: { engine: byKind('engine'), category: byKind('category') },
    json: ['details'],
    reals: ['first_ms', 'last_ms'],
  },
  events: {
    where: (filter) =>
      new Where()
        .equal('device_id', filter.device)
        .equal('kind', filter.kind)
        .range(filter, 'time_ms', 'time_ms')
        .text(filter.text, ['title', 'details']),
    json: ['details'],
    reals: ['time_ms'],
  },
};

/** What is selected of each row: `key` tells it from every other. */
interface Selection {
  key: string;
  columns: string;
  join: string;
  flags: readonly string[];
  json: readonly string[];
  /** Whether `sorted` is told. */
  sorted: boolean;
}

const stored = (name: ListName): Selection => {
  const { join = '', more = {}, flags = [], json = [] }: List<never> = LISTS[name];
  const columns = [`${name}.*`, ...Object.entries(more).map(([field, sql]) => `${sql} AS ${field}`)];
  return { key: 'stored', columns: columns.join(', '), join, flags, json, sorted: false };
};

const STORED: { readonly [Name in ListName]: Selection } = {
  devices: stored('devices'),
  connections: stored('connections'),
  activities: stored('activities'),
  alerts: stored('alerts'),
  events: stored('events'),
};

function shown(name: ListName, fields: readonly string[]): Selection {
  const { join = '', shown_join = '', more = {}, shown = {}, flags = [], json = [], reals }: List<never> = LISTS[name];
  const members = fields.map((field) => {
    if (!/^\w+$/.test(field)) throw new Error(`a field is called ${field}`);
    const sql = shown[field] ?? more[field] ?? `${name}.${field}`;
    if (flags.includes(field)) return `'${field}', json(iif(${sql}, 'true', 'false'))`;
    if (json.includes(field)) return `'${field}', json(${sql})`;
    return `'${field}', ${reals.includes(field) ? numberOf(sql) : sql}`;
  });
  const columns = `${name}.id AS id, json_object(${members.join(', ')}) AS text`;
  return { key: fields.join(), columns, join: `${join} ${shown_join}`, flags: [], json: [], sorted: true };
}

/** By the list of fields, which is mostly the one of all. */
const SHOWN = new WeakMap<readonly string[], Partial<Record<ListName, Selection>>>();

/** A page of rows as they are stored, for the program itself. */
export function readRows<Name extends ListName>(db: ReadConnection, name: Name, filter: FilterOf<Name>): Page<RowOf<Name>> {
  return readPage<RowOf<Name> & { id: number }>(db, name, filter, STORED[name]);
}

/**
 * A page of rows as they are shown, each as JSON of these fields in this order. SQLite makes it: objects of thirty fields, made here to
 * be written as text again, took three times as long.
 */
export function readTexts<Name extends ListName>(
  db: ReadConnection,
  name: Name,
  filter: FilterOf<Name>,
  fields: readonly string[],
): Page<RowText> {
  const known = SHOWN.get(fields) ?? {};
  SHOWN.set(fields, known);
  known[name] ??= shown(name, fields);
  return readPage<RowText>(db, name, filter, known[name]);
}

/**
 * A real number as JavaScript writes it: SQLite always writes 17 digits, and at least one behind the point. Most times are of
 * microseconds, which 16 digits tell.
 */
function numberOf(sql: string): string {
  const short = `format('%!.16g', ${sql})`;
  return `iif(${sql} = CAST(${sql} AS INTEGER), CAST(${sql} AS INTEGER), iif(CAST(${short} AS REAL) = ${sql}, json(${short}), ${sql}))`;
}

/** Takes part in a conversation of this protocol. */
function speaks(where: Where, protocol: string, db: ReadConnection): void {
  // Those of a rare protocol are found by its conversations, those of a common one by looking at each device.
  const some = 'SELECT count(*) AS n FROM (SELECT 1 FROM connections WHERE app_proto = ? LIMIT ?)';
  const rare = db.memo(`rare ${protocol}`, () => db.one<{ n: number }>(some, protocol, RARE + 1)!.n <= RARE);
  where.and(
    rare
      ? `devices.id IN (SELECT opener_device FROM connections WHERE app_proto = ? UNION SELECT responder_device FROM connections WHERE app_proto = ?)`
      : `EXISTS (SELECT 1 FROM connections WHERE opener_device = devices.id AND app_proto = ?)
         OR EXISTS (SELECT 1 FROM connections WHERE responder_device = devices.id AND app_proto = ?)`,
    protocol,
    protocol,
  );
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

/**
 * SQLite prepares a statement again when another value is bound to its limit, or compared with an indexed column, since the best way may
 * be another one: a fifth of the time of a page. The limit is part of the text, and `0 + ?` is no value that it looks at.
 */
function readPage<Row extends { id: number }>(
  db: ReadConnection,
  name: ListName,
  filter: Range,
  { key, columns, join, flags, json, sorted }: Selection,
): Page<Row> {
  const { cursor, sort, descending = false, ids, among } = filter;
  if (sort !== undefined && !(SORTS[name] as readonly string[]).includes(sort))
    throw new Error(`${name} are not sorted by ${sort}`);
  const where = LISTS[name].where(filter, db);
  const way = descending ? 'DESC' : 'ASC';
  const id = `${name}.id`;
  if (ids !== undefined) where.and(`${id} BETWEEN 0 + ? AND 0 + ?`, ...ids);
  if (among !== undefined) where.and(`${id} IN (SELECT value FROM json_each(?))`, JSON.stringify(among));
  if (cursor !== undefined) {
    const after = descending ? '<' : '>';
    if (typeof cursor === 'number') where.and(`${id} ${after} 0 + ?`, cursor);
    else where.and(`(${name}.${sort ?? 'id'}, ${id}) ${after} (?, ?)`, ...cursor);
  }
  const order = sort === undefined ? `${id} ${way}` : `${name}.${sort} ${way}, ${id} ${way}`;
  const limit = Math.min(MAX_LIMIT, Math.max(1, Math.floor(filter.limit ?? DEFAULT_LIMIT)));
  // One more than asked for tells whether there is a next page.
  const some = `${where} ORDER BY ${order} LIMIT ${limit + 1}`;
  // Whatever is sorted is sorted alone: rows are made of those that are left.
  const rest =
    sort === undefined ? some : `WHERE ${id} IN (SELECT ${id} FROM ${name} ${LISTS[name].join ?? ''} ${some}) ORDER BY ${order}`;
  const all = sort !== undefined && sorted ? `${columns}, ${name}.${sort} AS sorted` : columns;
  const rows = db.all<Row>(
    { key: `${name} ${key} ${rest}`, sql: () => `SELECT ${all} FROM ${name} ${join} ${rest}` },
    where.values,
    flags,
    json,
  );
  const more = rows.length > limit;
  if (more) rows.pop();
  if (!more) return { rows, next_cursor: null };
  const last = rows[rows.length - 1].id;
  if (sort === undefined) return { rows, next_cursor: last };
  const { value } = db.one<{ value: string | number }>(`SELECT ${sort} AS value FROM ${name} WHERE id = ?`, last)!;
  return { rows, next_cursor: [value, last] };
}
