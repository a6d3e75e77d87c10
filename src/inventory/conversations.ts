import type { ot_sensor } from '../proto/facts.js';
import type { ChangeSet } from '../store/change-set.ts';
import type { Snapshot } from '../store/queries.ts';
import { segmentText } from './address.ts';
import {
  type ActivityEntry,
  type Connection,
  type Device,
  type End,
  type Flow,
  type InventoryCounters,
  type Limits,
  type Moment,
  newEnd,
} from './entities.ts';

/** Looks up whose end it is. */
type Find = (segment: string, end: End) => Device | null;

/** All between two ends in one segment and transport: their rows, of which there are few. */
export interface Pair {
  /** `segment|proto|ethertype|one|other` */
  key: string;
  connections: Connection[];
}

/** What one flow added to an activity: it takes that along when it turns out to belong to another connection. */
export interface Share {
  activity: ActivityEntry;
  count: number;
  target_first: number;
  target_last: number;
  first_ms: number;
  last_ms: number;
  first_frame: number;
}

/** What tells activities of one connection apart. */
type ActivityKey = Pick<ActivityEntry, 'app_proto' | 'operation' | 'from_opener' | 'role' | 'target' | 'unit'>;

/** The flows being followed, and what they add up to: connections and their activities. */
export class Conversations {
  readonly limits: Limits;
  readonly counters: InventoryCounters;
  readonly #flows = new Map<number, Flow>();
  readonly #pairs = new Map<string, Pair>();
  #connection_count = 0;
  #activity_count = 0;
  #next_connection_id = 1;
  #next_activity_id = 1;
  #dirty_connections = new Set<Connection>();
  #dirty_activities = new Set<ActivityEntry>();
  /** Stored rows that became part of another. */
  #gone_activities: number[] = [];

  constructor(limits: Limits, counters: InventoryCounters) {
    this.limits = limits;
    this.counters = counters;
  }

  /** Flow ids begin anew. */
  begin(): void {
    this.#flows.clear();
  }

  get pending(): number {
    return this.#dirty_connections.size + this.#dirty_activities.size;
  }

  flow(id: number): Flow | null {
    const flow = this.#flows.get(id);
    if (flow) return flow;
    this.counters.facts_without_flow++;
    return null;
  }

  open(at: Moment, opened: ot_sensor.FlowOpened.$Properties): void {
    if (this.#flows.size >= this.limits.flows) {
      for (const oldest of this.#flows.keys()) {
        this.#flows.delete(oldest);
        break;
      }
      this.counters.flows_forgotten++;
    }
    const opener = newEnd(opened.opener);
    const responder = newEnd(opened.responder);
    const segment = segmentText(opened.vlan);
    const proto = opened.proto ?? '';
    const ethertype = opened.ethertype ?? 0;
    const flow: Flow = {
      segment,
      proto,
      ethertype,
      opener,
      responder,
      app_proto: '',
      recognised_by: '',
      opener_certain: opened.opener_certain ?? false,
      client: opened.opener_certain ? 0 : -1,
      first_ms: at.time_ms,
      last_ms: at.time_ms,
      first_frame: at.frame,
      pair: this.#pair(segment, proto, ethertype, opener, responder),
      connection: null,
      shares: [],
      packets_from_opener: 0,
      packets_from_responder: 0,
      bytes_from_opener: 0,
      bytes_from_responder: 0,
    };
    this.#flows.set(opened.flow_id ?? 0, flow);
    this.#join(flow);
  }

  /** Adds what a flow carried since the last update. */
  update(flow: Flow, update: ot_sensor.FlowUpdate.$Properties, first_ms: number, last_ms: number): void {
    const packets_from_opener = update.packets_from_opener ?? 0;
    const packets_from_responder = update.packets_from_responder ?? 0;
    const bytes_from_opener = update.bytes_from_opener ?? 0;
    const bytes_from_responder = update.bytes_from_responder ?? 0;
    if (update.recognised_by) flow.recognised_by = update.recognised_by;
    if (namesMore(update.app_proto ?? '', flow.app_proto)) flow.app_proto = update.app_proto ?? '';
    if (update.opener_certain) flow.opener_certain = true;
    if (update.client === 0 || update.client === 1) flow.client = update.client;
    this.#join(flow);
    flow.first_ms = Math.min(flow.first_ms, first_ms);
    flow.last_ms = Math.max(flow.last_ms, last_ms);
    flow.packets_from_opener += packets_from_opener;
    flow.packets_from_responder += packets_from_responder;
    flow.bytes_from_opener += bytes_from_opener;
    flow.bytes_from_responder += bytes_from_responder;
    const { connection } = flow;
    if (connection) {
      connection.packets_from_opener += packets_from_opener;
      connection.packets_from_responder += packets_from_responder;
      connection.bytes_from_opener += bytes_from_opener;
      connection.bytes_from_responder += bytes_from_responder;
      widen(connection, first_ms, last_ms, flow.first_frame);
      this.#dirty_connections.add(connection);
    }
    if (update.ended) this.#flows.delete(update.flow_id ?? 0);
  }

  /** The first activity may come before the flow is first counted, and names what its carrier carries. */
  recognise(flow: Flow, app_proto: string): void {
    if (!namesMore(app_proto, flow.app_proto)) return;
    flow.app_proto = app_proto;
    this.#join(flow);
  }

  /** Counts an activity of a flow. */
  record(
    flow: Flow,
    fact: ot_sensor.Activity.$Properties,
    app_proto: string,
    operation: string,
    role: string,
    at: Moment,
    last_ms: number,
  ): void {
    const { connection, shares } = flow;
    if (!connection) return;
    const from_opener = fact.from_opener ?? false;
    const target = (fact.target ?? '').slice(0, this.limits.text_length);
    const unit = fact.unit ?? -1;
    const count = fact.count ?? 0;
    const target_first = fact.target_first ?? 0;
    const target_last = fact.target_last ?? 0;
    const first_ms = at.time_ms;
    const first_frame = at.frame;
    const key = { app_proto, operation, from_opener, role, target, unit };
    let share = shares.find(({ activity }) => isSame(activity, key));
    if (share === undefined) {
      const activity = find(connection, key) ?? this.#activity(connection, key, fact.unit_name ?? '');
      if (activity === null) {
        this.counters.activities_refused++;
        return;
      }
      share = { activity, count: 0, target_first, target_last, first_ms, last_ms, first_frame };
      shares.push(share);
    } else {
      if (first_ms < share.first_ms) {
        share.first_ms = first_ms;
        share.first_frame = first_frame;
      }
      if (last_ms > share.last_ms) share.last_ms = last_ms;
      if (target_first < share.target_first) share.target_first = target_first;
      if (target_last > share.target_last) share.target_last = target_last;
    }
    share.count += count;
    const { activity } = share;
    activity.count += count;
    activity.total_count += count;
    widenActivity(activity, share);
    this.#dirty_activities.add(activity);
  }

  /** A row that does not count anything yet; null beyond the limits. */
  #activity(connection: Connection, key: ActivityKey, unit_name: string): ActivityEntry | null {
    if (this.#activity_count >= this.limits.activities || connection.activities.length >= this.limits.activities_per_connection) {
      return null;
    }
    const activity: ActivityEntry = {
      id: this.#next_activity_id++,
      connection,
      ...key,
      target_first: Number.POSITIVE_INFINITY,
      target_last: Number.NEGATIVE_INFINITY,
      unit_name,
      count: 0,
      total_count: 0,
      stored: false,
      changed: true,
      first_ms: Number.POSITIVE_INFINITY,
      last_ms: Number.NEGATIVE_INFINITY,
      first_frame: 0,
    };
    connection.activities.push(activity);
    this.#activity_count++;
    return activity;
  }

  #pair(segment: string, proto: string, ethertype: number, opener: End, responder: End): Pair {
    const key = `${segment}|${proto}|${ethertype}|${opener.shown_ip || opener.shown_mac}|${responder.shown_ip || responder.shown_mac}`;
    const known = this.#pairs.get(key);
    if (known) return known;
    // It is kept when it gets its first row.
    return { key, connections: [] };
  }

  /** Puts a flow where it is counted; as more becomes known of it, it moves with all it carried. */
  #join(flow: Flow): void {
    const { opener, responder, app_proto } = flow;
    let server_port = responder.port;
    if (flow.client === 1) server_port = opener.port;
    // Who opened it was not seen: the lower port, so that the conversations of a pair stay together.
    else if (flow.client < 0 && !flow.opener_certain) server_port = Math.min(opener.port, responder.port);
    const pair = this.#pairs.get(flow.pair.key) ?? flow.pair;
    flow.pair = pair;
    let connection = rowOf(pair, server_port, app_proto);
    if (connection === undefined && pair.connections.length >= this.limits.ports_per_pair) {
      if (!flow.connection) this.counters.ports_folded++;
      server_port = 0;
      connection = rowOf(pair, 0, app_proto);
    }
    if (connection === flow.connection && connection !== undefined) {
      tell(connection, flow);
      return;
    }
    if (connection === undefined) {
      if (this.#connection_count >= this.limits.connections) {
        if (!flow.connection) this.counters.connections_refused++;
        return;
      }
      connection = this.#newConnection(flow, pair, server_port);
    }
    const former = flow.connection;
    flow.connection = connection;
    if (former) {
      this.#count(former, flow, -1);
      this.#move(flow, connection);
      if (former.total_flows <= 0) this.#leave(former, connection);
    }
    if (connection.opener.shown_mac !== opener.shown_mac || connection.responder.shown_mac !== responder.shown_mac)
      connection.changed = true;
    connection.opener = opener;
    connection.responder = responder;
    tell(connection, flow);
    this.#count(connection, flow, 1);
    widen(connection, flow.first_ms, flow.last_ms, flow.first_frame);
  }

  #newConnection(flow: Flow, pair: Pair, server_port: number): Connection {
    const connection: Connection = {
      id: this.#next_connection_id++,
      pair,
      segment: flow.segment,
      proto: flow.proto,
      ethertype: flow.ethertype,
      opener: flow.opener,
      responder: flow.responder,
      server_port,
      app_proto: flow.app_proto,
      recognised_by: flow.recognised_by,
      opener_certain: flow.opener_certain,
      client: flow.client,
      total_flows: 0,
      stored: false,
      changed: true,
      opener_device: null,
      responder_device: null,
      activities: [],
      flows: 0,
      packets_from_opener: 0,
      packets_from_responder: 0,
      bytes_from_opener: 0,
      bytes_from_responder: 0,
      first_ms: flow.first_ms,
      last_ms: flow.last_ms,
      first_frame: flow.first_frame,
    };
    this.#keep(connection);
    return connection;
  }

  #keep(connection: Connection): void {
    const { pair } = connection;
    if (pair.connections.length === 0) this.#pairs.set(pair.key, pair);
    pair.connections.push(connection);
    this.#connection_count++;
  }

  #count(connection: Connection, flow: Flow, sign: 1 | -1): void {
    connection.total_flows += sign;
    connection.flows += sign;
    connection.packets_from_opener += sign * flow.packets_from_opener;
    connection.packets_from_responder += sign * flow.packets_from_responder;
    connection.bytes_from_opener += sign * flow.bytes_from_opener;
    connection.bytes_from_responder += sign * flow.bytes_from_responder;
    this.#dirty_connections.add(connection);
  }

  /** What the flow did goes along to its new connection: where that has an activity of the kind, the counts are added. */
  #move(flow: Flow, to: Connection): void {
    flow.shares = flow.shares.filter((share) => {
      const from = share.activity;
      from.count -= share.count;
      from.total_count -= share.count;
      this.#dirty_activities.add(from);
      let activity = find(to, from);
      if (from.total_count <= 0) {
        from.connection.activities.splice(from.connection.activities.indexOf(from), 1);
        if (activity === undefined && to.activities.length < this.limits.activities_per_connection) {
          // Nobody else counts there: the row itself goes along.
          activity = from;
          activity.connection = to;
          activity.changed = true;
          to.activities.push(activity);
        } else this.#drop(from);
      }
      activity ??= this.#activity(to, from, from.unit_name) ?? undefined;
      if (activity === undefined) {
        this.counters.activities_refused++;
        return false;
      }
      activity.count += share.count;
      activity.total_count += share.count;
      widenActivity(activity, share);
      this.#dirty_activities.add(activity);
      share.activity = activity;
      return true;
    });
  }

  #drop(activity: ActivityEntry): void {
    this.#activity_count--;
    this.#dirty_activities.delete(activity);
    if (activity.stored) this.#gone_activities.push(activity.id);
  }

  /** A row that no flow is left in makes room, and what flows that are no longer followed did there goes along. */
  #leave(connection: Connection, to: Connection): void {
    for (const activity of connection.activities.splice(0)) {
      const known = find(to, activity);
      if (known) {
        known.count += activity.total_count;
        known.total_count += activity.total_count;
        widenActivity(known, activity);
        this.#dirty_activities.add(known);
        this.#drop(activity);
      } else if (to.activities.length >= this.limits.activities_per_connection) {
        this.counters.activities_refused++;
        this.#drop(activity);
      } else {
        activity.connection = to;
        activity.changed = true;
        to.activities.push(activity);
        this.#dirty_activities.add(activity);
      }
    }
    // Whether it was stored depends on when rows are: the next of its kind is a new row either way. A stored one is emptied and goes.
    if (!connection.stored) this.#dirty_connections.delete(connection);
    const { connections, key } = connection.pair;
    connections.splice(connections.indexOf(connection), 1);
    this.#connection_count--;
    if (connections.length === 0) this.#pairs.delete(key);
  }

  /** At most `most` rows; connections come before their activities. */
  drain(capture_id: number, find: Find, changes: ChangeSet, most: number): void {
    let room = most;
    for (const connection of this.#dirty_connections) {
      if (room-- <= 0) return;
      this.#dirty_connections.delete(connection);
      this.#drainConnection(connection, capture_id, find, changes);
    }
    changes.activities_gone = this.#gone_activities;
    this.#gone_activities = [];
    for (const activity of this.#dirty_activities) {
      if (room-- <= 0) return;
      this.#dirty_activities.delete(activity);
      this.#drainActivity(activity, capture_id, changes);
    }
  }

  #drainActivity(activity: ActivityEntry, capture_id: number, changes: ChangeSet): void {
    const { id, connection, app_proto, operation, from_opener, role, target, unit, unit_name, count } = activity;
    const { first_ms, last_ms, first_frame } = activity;
    const target_first = target === '' ? null : activity.target_first;
    const target_last = target === '' ? null : activity.target_last;
    if (activity.stored && !activity.changed) changes.activity_counts.push(count, target_first, target_last, last_ms, id);
    else {
      changes.activities.push({
        id, connection_id: connection.id, app_proto, operation, from_opener, role, target, target_first, target_last, unit, unit_name,
        count, first_ms, last_ms, first_frame, capture_id,
      }); // biome-ignore format: one value
    }
    activity.stored = true;
    activity.changed = false;
    activity.count = 0;
  }

  #drainConnection(connection: Connection, capture_id: number, find: Find, changes: ChangeSet): void {
    const { opener, responder, id, flows, last_ms } = connection;
    const { packets_from_opener, packets_from_responder, bytes_from_opener, bytes_from_responder } = connection;
    const opener_device = find(connection.segment, opener)?.id ?? null;
    const responder_device = find(connection.segment, responder)?.id ?? null;
    const is_known = opener_device === connection.opener_device && responder_device === connection.responder_device;
    // Where flows left it, it may have to go.
    if (connection.stored && is_known && !connection.changed && flows >= 0) {
      changes.connection_counts.push(
        flows, packets_from_opener, packets_from_responder, bytes_from_opener, bytes_from_responder, last_ms, id,
      ); // biome-ignore format: one row
    } else {
      changes.connections.push({
        id,
        segment: connection.segment,
        proto: connection.proto,
        app_proto: connection.app_proto,
        recognised_by: connection.recognised_by,
        opener_device,
        opener_mac: opener.shown_mac,
        opener_ip: opener.shown_ip,
        responder_device,
        responder_mac: responder.shown_mac,
        responder_ip: responder.shown_ip,
        server_port: connection.server_port,
        client: connection.client === 0 ? 'opener' : connection.client === 1 ? 'responder' : 'unknown',
        opener_certain: connection.opener_certain,
        ethertype: connection.ethertype,
        flows,
        packets_from_opener,
        packets_from_responder,
        bytes_from_opener,
        bytes_from_responder,
        first_ms: connection.first_ms,
        last_ms,
        first_frame: connection.first_frame,
        capture_id,
      });
    }
    connection.stored = true;
    connection.changed = false;
    connection.opener_device = opener_device;
    connection.responder_device = responder_device;
    connection.flows = 0;
    connection.packets_from_opener = 0;
    connection.packets_from_responder = 0;
    connection.bytes_from_opener = 0;
    connection.bytes_from_responder = 0;
  }

  load(snapshot: Snapshot): void {
    this.#next_connection_id = snapshot.next_connection_id;
    this.#next_activity_id = snapshot.next_activity_id;
    const connections = new Map<number, Connection>();
    for (const row of snapshot.connections) {
      const end = (mac: string, ip: string): End => ({
        mac,
        ip,
        port: 0,
        shown_mac: mac,
        shown_ip: ip,
        face: null,
        place: null,
        seen: false,
      });
      const opener = end(row.opener_mac, row.opener_ip);
      const responder = end(row.responder_mac, row.responder_ip);
      const connection: Connection = {
        ...row,
        pair: this.#pair(row.segment, row.proto, row.ethertype, opener, responder),
        opener,
        responder,
        client: row.client === 'opener' ? 0 : row.client === 'responder' ? 1 : -1,
        total_flows: row.flows,
        stored: true,
        changed: false,
        activities: [],
        flows: 0,
        packets_from_opener: 0,
        packets_from_responder: 0,
        bytes_from_opener: 0,
        bytes_from_responder: 0,
      };
      connections.set(row.id, connection);
      this.#keep(connection);
    }
    for (const row of snapshot.activities) {
      const connection = connections.get(row.connection_id);
      if (!connection) continue;
      const { connection_id, capture_id, ...rest } = row;
      const target_first = row.target_first ?? 0;
      const target_last = row.target_last ?? 0;
      const total_count = row.count;
      connection.activities.push({
        ...rest,
        connection,
        target_first,
        target_last,
        count: 0,
        total_count,
        stored: true,
        changed: false,
      });
      this.#activity_count++;
    }
  }
}

function rowOf({ connections }: Pair, server_port: number, app_proto: string): Connection | undefined {
  for (const connection of connections)
    if (connection.server_port === server_port && connection.app_proto === app_proto) return connection;
  return undefined;
}

function isSame(one: ActivityKey, other: ActivityKey): boolean {
  return (
    one.unit === other.unit &&
    one.from_opener === other.from_opener &&
    one.operation === other.operation &&
    one.target === other.target &&
    one.role === other.role &&
    one.app_proto === other.app_proto
  );
}

function find({ activities }: Connection, key: ActivityKey): ActivityEntry | undefined {
  for (const activity of activities) if (isSame(activity, key)) return activity;
  return undefined;
}

function widenActivity(of: ActivityEntry, by: Share | ActivityEntry): void {
  if (by.target_first < of.target_first) of.target_first = by.target_first;
  if (by.target_last > of.target_last) of.target_last = by.target_last;
  if (by.first_ms < of.first_ms) {
    of.first_ms = by.first_ms;
    of.first_frame = by.first_frame;
    of.changed = true;
  }
  if (by.last_ms > of.last_ms) of.last_ms = by.last_ms;
}

/** Protocols that carry others, from the outside in: what they carry names the conversation. */
const CARRIERS: readonly string[] = ['', 'tls', 'tpkt', 'cotp'];

function nameRank(app_proto: string): number {
  const carrier = CARRIERS.indexOf(app_proto);
  return carrier < 0 ? CARRIERS.length : carrier;
}

const namesMore = (app_proto: string, before: string) => nameRank(app_proto) > nameRank(before);

/** What a flow knows of its kind. */
function tell(connection: Connection, { opener_certain, recognised_by, client }: Flow): void {
  if (opener_certain && !connection.opener_certain) {
    connection.opener_certain = true;
    connection.changed = true;
  }
  if (recognised_by !== '' && connection.recognised_by === '') {
    connection.recognised_by = recognised_by;
    connection.changed = true;
  }
  if (client >= 0 && connection.client !== client) {
    connection.client = client;
    connection.changed = true;
  }
}

function widen(of: Connection, first_ms: number, last_ms: number, frame: number): void {
  if (first_ms < of.first_ms) {
    of.first_ms = first_ms;
    of.first_frame = frame;
    of.changed = true;
  }
  if (last_ms > of.last_ms) of.last_ms = last_ms;
}
