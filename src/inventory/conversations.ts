import type { ot_sensor } from '../proto/facts.js';
import type { ActivityRow, ChangeSet, ConnectionRow } from '../store/change-set.ts';
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

/** What one of several flows added to an activity: it takes that along when it turns out to belong to another connection. */
export interface Share {
  activity: ActivityEntry;
  count: number;
  target_first: number;
  target_last: number;
  first_ms: number;
  last_ms: number;
  first_frame: number;
}

/** Numbers, first in first out. A Map finds its first entry behind all those that were deleted; here each costs the same. */
class Queue {
  #values: number[] = [];
  #first = 0;

  get size(): number {
    return this.#values.length - this.#first;
  }

  clear(): void {
    this.#values = [];
    this.#first = 0;
  }

  push(value: number): void {
    this.#values.push(value);
  }

  /** Of one that is not empty. */
  shift(): number {
    const value = this.#values[this.#first++];
    if (this.#first > 1024 && this.#first * 2 > this.#values.length) {
      this.#values = this.#values.slice(this.#first);
      this.#first = 0;
    }
    return value;
  }

  keep(wanted: (value: number) => boolean): void {
    this.#values = this.#values.slice(this.#first).filter(wanted);
    this.#first = 0;
  }
}

/** The flows being followed, and what they add up to: connections and their activities. */
export class Conversations {
  readonly limits: Limits;
  readonly counters: InventoryCounters;
  readonly #flows = new Map<number, Flow>();
  /** Ids in the order in which flows were opened: those that are counted in a row, and those for whose row there was no room. */
  readonly #counted = new Queue();
  readonly #uncounted = new Queue();
  readonly #pairs = new Map<string, Pair>();
  /** Connections of an earlier run by their pair, as long as it was not met again. */
  readonly #stored = new Map<string, number | number[]>();
  #snapshot: Snapshot | null = null;
  readonly #words = new Words();
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
    this.#counted.clear();
    this.#uncounted.clear();
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
    const flow_id = opened.flow_id ?? 0;
    if (this.#flows.size >= this.limits.flows && !this.#flows.has(flow_id)) this.#forgetOldest();
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
      refused: false,
      shares: NO_SHARES,
      packets_from_opener: 0,
      packets_from_responder: 0,
      bytes_from_opener: 0,
      bytes_from_responder: 0,
    };
    this.#flows.set(flow_id, flow);
    this.#join(flow);
    const queue = flow.connection ? this.#counted : this.#uncounted;
    queue.push(flow_id);
    if (queue.size > 2 * this.#flows.size + 1024) queue.keep((id) => this.#flows.has(id));
  }

  /** The one that was opened first; those that are counted in a row stay as long as there are others. */
  #forgetOldest(): void {
    for (;;) {
      const is_uncounted = this.#uncounted.size > 0;
      const id = is_uncounted ? this.#uncounted.shift() : this.#counted.shift();
      const flow = this.#flows.get(id);
      if (flow === undefined) continue;
      if (is_uncounted && flow.connection) {
        // There was room for it later.
        this.#counted.push(id);
        continue;
      }
      this.#flows.delete(id);
      letGo(flow);
      this.counters.flows_forgotten++;
      return;
    }
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
    if (!update.ended) return;
    this.#flows.delete(update.flow_id ?? 0);
    letGo(flow);
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
    const { connection } = flow;
    if (!connection) return;
    const from_opener = fact.from_opener ?? false;
    const target = (fact.target ?? '').slice(0, this.limits.text_length);
    const unit = fact.unit ?? -1;
    const count = fact.count ?? 0;
    const target_first = fact.target_first ?? 0;
    const target_last = fact.target_last ?? 0;
    const { time_ms: first_ms, frame: first_frame } = at;
    let activity = find(connection, app_proto, operation, from_opener, role, target, unit);
    if (activity === undefined) {
      if (!this.#hasRoom(connection)) {
        this.counters.activities_refused++;
        return;
      }
      activity = {
        id: this.#next_activity_id++,
        connection,
        sole: flow,
        app_proto,
        operation,
        from_opener,
        role,
        target,
        target_first,
        target_last,
        unit,
        unit_name: fact.unit_name ?? '',
        count,
        total_count: count,
        stored: false,
        changed: true,
        first_ms,
        last_ms,
        first_frame,
      };
      this.#addActivity(activity);
      return;
    }
    if (activity.sole !== flow) {
      share(activity);
      const known = flow.shares.find((one) => one.activity === activity);
      if (known === undefined) addShare(flow, { activity, count, target_first, target_last, first_ms, last_ms, first_frame });
      else {
        known.count += count;
        widenCounts(known, target_first, target_last, first_ms, last_ms, first_frame);
      }
    }
    this.#add(activity, count, target_first, target_last, first_ms, last_ms, first_frame);
  }

  #hasRoom(connection: Connection): boolean {
    return this.#activity_count < this.limits.activities && connection.activities.length < this.limits.activities_per_connection;
  }

  #addActivity(activity: ActivityEntry): void {
    activity.connection.activities.push(activity);
    this.#activity_count++;
    this.#dirty_activities.add(activity);
  }

  #add(
    to: ActivityEntry,
    count: number,
    target_first: number,
    target_last: number,
    first_ms: number,
    last_ms: number,
    first_frame: number,
  ): void {
    to.count += count;
    to.total_count += count;
    if (first_ms < to.first_ms) to.changed = true;
    widenCounts(to, target_first, target_last, first_ms, last_ms, first_frame);
    this.#dirty_activities.add(to);
  }

  #pair(segment: string, proto: string, ethertype: number, opener: End, responder: End): Pair {
    const ends = [opener.shown_ip || opener.shown_mac, responder.shown_ip || responder.shown_mac] as const;
    const key = pairKey(segment, proto, ethertype, ...ends);
    const known = this.#pairs.get(key);
    if (known) return known;
    // It is kept when it gets its first row.
    const pair = { key, connections: [] };
    if (this.#stored.size > 0) this.#recall(pair);
    return pair;
  }

  /** Puts a flow where it is counted; as more becomes known of it, it moves with all it carried. */
  #join(flow: Flow): void {
    const { opener, responder, app_proto } = flow;
    let server_port = responder.port;
    if (flow.client === 1) server_port = opener.port;
    // Who opened it was not seen: the lower port, so that the conversations of a pair stay together.
    else if (flow.client < 0 && !flow.opener_certain) server_port = Math.min(opener.port, responder.port);
    // One without rows may have been made again since.
    if (flow.pair.connections.length === 0) flow.pair = this.#pairs.get(flow.pair.key) ?? flow.pair;
    const { pair } = flow;
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
      // The row that its last flow leaves makes room for the next.
      if (this.#connection_count >= this.limits.connections && flow.connection?.total_flows !== 1) {
        if (!flow.connection && !flow.refused) {
          flow.refused = true;
          this.counters.connections_refused++;
        }
        return;
      }
      connection = this.#newConnection(flow, pair, server_port);
    }
    const former = flow.connection;
    flow.connection = connection;
    if (former) {
      this.#count(former, flow, -1);
      this.#move(flow, former, connection);
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
    if (pair.connections.length === 0) pair.connections = [connection];
    else pair.connections.push(connection);
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
  #move(flow: Flow, from: Connection, to: Connection): void {
    for (const activity of from.activities.filter(({ sole }) => sole === flow)) this.#carry(activity, to);
    const { shares } = flow;
    flow.shares = NO_SHARES;
    for (const part of shares) {
      const { activity, count, target_first, target_last, first_ms, last_ms, first_frame } = part;
      activity.count -= count;
      activity.total_count -= count;
      this.#dirty_activities.add(activity);
      if (activity.total_count <= 0) {
        // Nobody else counts there any more: the row itself goes along.
        Object.assign(activity, { count: activity.count + count, total_count: activity.total_count + count, sole: flow });
        this.#carry(activity, to);
        continue;
      }
      const known = same(to, activity);
      if (known) {
        share(known);
        addShare(flow, { ...part, activity: known });
        this.#add(known, count, target_first, target_last, first_ms, last_ms, first_frame);
      } else if (this.#hasRoom(to)) {
        this.#addActivity({
          ...activity,
          id: this.#next_activity_id++,
          connection: to,
          sole: flow,
          target_first,
          target_last,
          count,
          total_count: count,
          stored: false,
          changed: true,
          first_ms,
          last_ms,
          first_frame,
        });
      } else this.counters.activities_refused++;
    }
  }

  /** Puts an activity with all its counts to another connection. */
  #carry(activity: ActivityEntry, to: Connection): void {
    const { connection, sole, total_count, target_first, target_last, first_ms, last_ms, first_frame } = activity;
    connection.activities.splice(connection.activities.indexOf(activity), 1);
    const known = same(to, activity);
    if (known) {
      share(known);
      if (sole)
        addShare(sole, { activity: known, count: total_count, target_first, target_last, first_ms, last_ms, first_frame });
      this.#add(known, total_count, target_first, target_last, first_ms, last_ms, first_frame);
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

  #drop(activity: ActivityEntry): void {
    this.#activity_count--;
    this.#dirty_activities.delete(activity);
    if (activity.stored) this.#gone_activities.push(activity.id);
  }

  /** A row that no flow is left in makes room, and what flows that are no longer followed did there goes along. */
  #leave(connection: Connection, to: Connection): void {
    for (const activity of [...connection.activities]) this.#carry(activity, to);
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

  /** Who spoke with whom is known from here on; what is stored of a pair is read when it is met again. */
  load(snapshot: Snapshot): void {
    this.#snapshot = snapshot;
    this.#next_connection_id = snapshot.next_connection_id;
    this.#next_activity_id = snapshot.next_activity_id;
    this.#activity_count = snapshot.activity_count;
    for (const { id, segment, proto, ethertype, opener, responder } of snapshot.pairs) {
      const key = pairKey(segment, proto, ethertype, opener, responder);
      const ids = this.#stored.get(key);
      if (ids === undefined) this.#stored.set(key, id);
      else if (typeof ids === 'number') this.#stored.set(key, [ids, id]);
      else ids.push(id);
      this.#connection_count++;
    }
  }

  #recall(pair: Pair): void {
    const ids = this.#stored.get(pair.key);
    if (ids === undefined || this.#snapshot === null) return;
    this.#stored.delete(pair.key);
    for (const id of typeof ids === 'number' ? [ids] : ids) {
      // It is counted already, also where it was deleted since.
      this.#connection_count--;
      const row = this.#snapshot.connection(id);
      if (row !== undefined) this.#keep(connectionOf(row, pair, this.#snapshot.activities(id), this.#words));
    }
  }
}

/** Texts that most rows have in common, each kept once. */
class Words {
  readonly #words = new Map<string, string>();

  once(word: string): string {
    const known = this.#words.get(word);
    if (known !== undefined) return known;
    if (this.#words.size < MOST_WORDS) this.#words.set(word, word);
    return word;
  }
}

/** A connection as it was when it was stored last. */
function connectionOf(row: ConnectionRow, pair: Pair, activities: readonly ActivityRow[], words: Words): Connection {
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
  const connection: Connection = {
    id: row.id,
    pair,
    segment: words.once(row.segment),
    proto: words.once(row.proto),
    ethertype: row.ethertype,
    opener: end(row.opener_mac, row.opener_ip),
    responder: end(row.responder_mac, row.responder_ip),
    server_port: row.server_port,
    app_proto: words.once(row.app_proto),
    recognised_by: words.once(row.recognised_by),
    opener_certain: row.opener_certain,
    client: row.client === 'opener' ? 0 : row.client === 'responder' ? 1 : -1,
    total_flows: row.flows,
    stored: true,
    changed: false,
    opener_device: row.opener_device,
    responder_device: row.responder_device,
    activities: [],
    flows: 0,
    packets_from_opener: 0,
    packets_from_responder: 0,
    bytes_from_opener: 0,
    bytes_from_responder: 0,
    first_ms: row.first_ms,
    last_ms: row.last_ms,
    first_frame: row.first_frame,
  };
  for (const activity of activities) {
    connection.activities.push({
      id: activity.id,
      connection,
      sole: null,
      app_proto: words.once(activity.app_proto),
      operation: words.once(activity.operation),
      from_opener: activity.from_opener,
      role: words.once(activity.role),
      target: words.once(activity.target),
      target_first: activity.target_first ?? 0,
      target_last: activity.target_last ?? 0,
      unit: activity.unit,
      unit_name: words.once(activity.unit_name),
      count: 0,
      total_count: activity.count,
      stored: true,
      changed: false,
      first_ms: activity.first_ms,
      last_ms: activity.last_ms,
      first_frame: activity.first_frame,
    });
  }
  return connection;
}

const pairKey = (segment: string, proto: string, ethertype: number, opener: string, responder: string): string =>
  `${segment}|${proto}|${ethertype}|${opener}|${responder}`;

function rowOf({ connections }: Pair, server_port: number, app_proto: string): Connection | undefined {
  for (const connection of connections)
    if (connection.server_port === server_port && connection.app_proto === app_proto) return connection;
  return undefined;
}

function find(
  { activities }: Connection,
  app_proto: string,
  operation: string,
  from_opener: boolean,
  role: string,
  target: string,
  unit: number,
): ActivityEntry | undefined {
  for (const one of activities) {
    if (
      one.unit === unit &&
      one.from_opener === from_opener &&
      one.operation === operation &&
      one.target === target &&
      one.role === role &&
      one.app_proto === app_proto
    )
      return one;
  }
  return undefined;
}

const same = (connection: Connection, of: ActivityEntry) =>
  find(connection, of.app_proto, of.operation, of.from_opener, of.role, of.target, of.unit);

const NO_SHARES: Share[] = [];
const MOST_WORDS = 10_000;

function addShare(flow: Flow, part: Share): void {
  if (flow.shares === NO_SHARES) flow.shares = [part];
  else flow.shares.push(part);
}

/** Another than the one who counted there alone does so, too. */
function share(activity: ActivityEntry): void {
  const { sole, total_count: count, target_first, target_last, first_ms, last_ms, first_frame } = activity;
  if (sole === null) return;
  activity.sole = null;
  addShare(sole, { activity, count, target_first, target_last, first_ms, last_ms, first_frame });
}

/** A flow that is no longer followed moves no more. */
function letGo(flow: Flow): void {
  flow.shares = NO_SHARES;
  for (const activity of flow.connection?.activities ?? []) if (activity.sole === flow) activity.sole = null;
}

function widenCounts(
  of: Share | ActivityEntry,
  target_first: number,
  target_last: number,
  first_ms: number,
  last_ms: number,
  first_frame: number,
): void {
  if (target_first < of.target_first) of.target_first = target_first;
  if (target_last > of.target_last) of.target_last = target_last;
  if (first_ms < of.first_ms) {
    of.first_ms = first_ms;
    of.first_frame = first_frame;
  }
  if (last_ms > of.last_ms) of.last_ms = last_ms;
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
