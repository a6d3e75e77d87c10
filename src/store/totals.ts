import type { ReadConnection } from './read-connection.ts';

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

/** What was spoken, the most packets first; `app_proto` is '' for what was not recognised, told apart by `proto`. */
export function protocolTotals(db: ReadConnection): ProtocolTotal[] {
  return sumProtocols(protocolSlices(db, Number.MAX_SAFE_INTEGER));
}

/** The same in pieces of so many connections, to be put together by `sumProtocols`: for whoever must not be held up by half a million. */
export function* protocolSlices(db: ReadConnection, connections: number): Generator<ProtocolTotal[]> {
  const last = db.one<{ n: number }>('SELECT coalesce(max(id), 0) AS n FROM connections')!.n;
  for (let from = 0; from < last; from += connections)
    yield db.all<ProtocolTotal>(
      `SELECT app_proto, iif(app_proto = '', proto, '') AS proto, count(*) AS conversations,
       sum(packets_from_opener + packets_from_responder) AS packets FROM connections WHERE id > ? AND id <= ? GROUP BY 1, 2`,
      [from, Math.min(Number.MAX_SAFE_INTEGER, from + connections)],
    );
}

/** Alerts of each kind there is, and how often they were raised. */
export function alertTotals(db: ReadConnection): AlertTotal[] {
  return db.all<AlertTotal>('SELECT kind, count(*) AS alerts, sum(count) AS times FROM alerts GROUP BY kind ORDER BY kind');
}

/** Open alerts by severity. */
export function openAlerts(db: ReadConnection): Record<string, number> {
  return sumOf(openAlertSlices(db, Number.MAX_SAFE_INTEGER));
}

/**
 * The same in pieces of so many ids, to be put together by `sumOf`. Of an index that has nothing else: left to itself SQLite takes one by
 * which it reads every row, half a second of a million.
 */
export function* openAlertSlices(db: ReadConnection, ids: number): Generator<Record<string, number>> {
  const open = "alerts INDEXED BY alerts_open WHERE status = 'open'";
  const last = db.one<{ n: number }>('SELECT coalesce(max(id), 0) AS n FROM alerts')!.n;
  for (let severity: string | null = ''; severity !== null; ) {
    severity = db.one<{ next: string | null }>(`SELECT min(severity) AS next FROM ${open} AND severity > ?`, severity)!.next;
    for (let from = 0; severity !== null && from < last; from += ids) {
      const to = Math.min(Number.MAX_SAFE_INTEGER, from + ids);
      const sql = `SELECT count(*) AS n FROM ${open} AND severity = ? AND id > 0 + ? AND id <= 0 + ?`;
      yield { [severity]: db.one<{ n: number }>(sql, severity, from, to)!.n };
    }
  }
}

export function sumOf(counts: Iterable<Readonly<Record<string, number>>>): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const one of counts) for (const [name, n] of Object.entries(one)) sums[name] = (sums[name] ?? 0) + n;
  return sums;
}

/** Rows of each table: devices (without merged ones), connections, activities, alerts, evidence, events, captures. */
export function totals(db: ReadConnection): Record<string, number> {
  const totals: Record<string, number> = {};
  for (const table of ['devices', 'connections', 'activities', 'alerts', 'evidence', 'events', 'captures']) {
    const only = table === 'devices' ? 'WHERE merged_into IS NULL' : '';
    totals[table] = db.one<{ n: number }>(`SELECT count(*) AS n FROM ${table} ${only}`)!.n;
  }
  return totals;
}

/**
 * Rows of the tables that people ask for, at little cost whatever their size: of alerts and events only the oldest ever go, and never the
 * newest, so that the ids tell their number.
 */
export function quickTotals(db: ReadConnection): Record<string, number> {
  const count = (sql: string) => db.one<{ n: number }>(sql)!.n;
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
