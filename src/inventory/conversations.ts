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

/** The flows being followed, and what they add up to: connections and their activities. */
export class Conversations {
  readonly limits: Limits;
  readonly counters: InventoryCounters;
  readonly #flows = new Map<number, Flow>();
  readonly #connections = new Map<string, Connection>();
  /** Rows of a pair of hosts. */
  readonly #ports_of_pair = new Map<string, number>();
  readonly #activities = new Map<string, ActivityEntry>();
  #next_connection_id = 1;
  #next_activity_id = 1;
  #dirty_connections = new Set<Connection>();
  #dirty_activities = new Set<ActivityEntry>();

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
    const flow: Flow = {
      segment: segmentText(opened.vlan),
      proto: opened.proto ?? '',
      ethertype: opened.ethertype ?? 0,
      opener: newEnd(opened.opener),
      responder: newEnd(opened.responder),
      app_proto: '',
      recognised_by: '',
      opener_certain: opened.opener_certain ?? false,
      client: opened.opener_certain ? 0 : -1,
      first_ms: at.time_ms,
      last_ms: at.time_ms,
      first_frame: at.frame,
      connection: null,
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
    const { connection } = flow;
    if (!connection) return;
    const from_opener = fact.from_opener ?? false;
    const target = (fact.target ?? '').slice(0, this.limits.text_length);
    const unit = fact.unit ?? -1;
    const key = activityKey(connection.id, app_proto, operation, from_opener, role, target, unit);
    const target_first = fact.target_first ?? 0;
    const target_last = fact.target_last ?? 0;
    let activity = this.#activities.get(key);
    if (!activity) {
      if (
        this.#activities.size >= this.limits.activities ||
        connection.activities.length >= this.limits.activities_per_connection
      ) {
        this.counters.activities_refused++;
        return;
      }
      const unit_name = fact.unit_name ?? '';
      const first_ms = at.time_ms;
      const first_frame = at.frame;
      const id = this.#next_activity_id++;
      activity = {
        id, connection, app_proto, operation, from_opener, role, target, target_first, target_last, unit, unit_name, count: 0, first_ms,
        last_ms, first_frame,
      }; // biome-ignore format: one value
      this.#activities.set(key, activity);
      connection.activities.push(activity);
    }
    activity.count += fact.count ?? 0;
    activity.target_first = Math.min(activity.target_first, target_first);
    activity.target_last = Math.max(activity.target_last, target_last);
    if (at.time_ms < activity.first_ms) {
      activity.first_ms = at.time_ms;
      activity.first_frame = at.frame;
    }
    if (last_ms > activity.last_ms) activity.last_ms = last_ms;
    this.#dirty_activities.add(activity);
  }

  /** Puts a flow where it is counted; as more becomes known of it, it moves with all it carried. */
  #join(flow: Flow): void {
    const { segment, proto, opener, responder } = flow;
    let server_port = responder.port;
    if (flow.client === 1) server_port = opener.port;
    // Who opened it was not seen: the lower port, so that the conversations of a pair stay together.
    else if (flow.client < 0 && !flow.opener_certain) server_port = Math.min(opener.port, responder.port);
    const one = opener.shown_ip || opener.shown_mac;
    const other = responder.shown_ip || responder.shown_mac;
    const pair = `${segment}|${proto}|${flow.ethertype}|${one}|${other}`;
    let key = `${pair}|${server_port}|${flow.app_proto}`;
    let connection = this.#connections.get(key);
    if (connection === undefined) {
      const ports = this.#ports_of_pair.get(pair) ?? 0;
      if (ports >= this.limits.ports_per_pair) {
        if (!flow.connection) this.counters.ports_folded++;
        server_port = 0;
        key = `${pair}|0|${flow.app_proto}`;
        connection = this.#connections.get(key);
      }
    }
    if (connection === flow.connection && connection !== undefined) {
      connection.opener_certain ||= flow.opener_certain;
      connection.recognised_by ||= flow.recognised_by;
      if (flow.client >= 0) connection.client = flow.client;
      return;
    }
    if (connection === undefined) {
      if (this.#connections.size >= this.limits.connections) {
        if (!flow.connection) this.counters.connections_refused++;
        return;
      }
      connection = {
        id: this.#next_connection_id++,
        key,
        pair,
        segment,
        proto,
        ethertype: flow.ethertype,
        opener,
        responder,
        server_port,
        app_proto: flow.app_proto,
        recognised_by: flow.recognised_by,
        opener_certain: flow.opener_certain,
        client: flow.client,
        total_flows: 0,
        stored: false,
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
      this.#connections.set(key, connection);
      this.#ports_of_pair.set(pair, (this.#ports_of_pair.get(pair) ?? 0) + 1);
    }
    if (flow.connection) {
      this.#count(flow.connection, flow, -1);
      if (flow.connection.total_flows <= 0) this.#leave(flow.connection, connection);
    }
    flow.connection = connection;
    connection.opener = opener;
    connection.responder = responder;
    connection.opener_certain ||= flow.opener_certain;
    if (flow.client >= 0) connection.client = flow.client;
    connection.recognised_by ||= flow.recognised_by;
    this.#count(connection, flow, 1);
    widen(connection, flow.first_ms, flow.last_ms, flow.first_frame);
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

  /** A row that no flow is left in: its activities go along, and it makes room. */
  #leave(connection: Connection, to: Connection): void {
    for (const activity of connection.activities.splice(0)) {
      const { app_proto, operation, from_opener, role, target, unit } = activity;
      this.#activities.delete(activityKey(connection.id, app_proto, operation, from_opener, role, target, unit));
      const key = activityKey(to.id, app_proto, operation, from_opener, role, target, unit);
      activity.connection = to;
      to.activities.push(activity);
      // Where there is one like it already, both rows stay and the older one goes on counting.
      if (!this.#activities.has(key)) this.#activities.set(key, activity);
      this.#dirty_activities.add(activity);
    }
    this.#connections.delete(connection.key);
    // Whether it was stored depends on when rows are: the next of its kind is a new row either way. A stored one is emptied and goes.
    if (!connection.stored) this.#dirty_connections.delete(connection);
    const ports = (this.#ports_of_pair.get(connection.pair) ?? 1) - 1;
    if (ports > 0) this.#ports_of_pair.set(connection.pair, ports);
    else this.#ports_of_pair.delete(connection.pair);
  }

  drain(capture_id: number, find: Find, changes: ChangeSet): void {
    for (const connection of this.#dirty_connections) this.#drainConnection(connection, capture_id, find, changes);
    for (const activity of this.#dirty_activities) {
      const { connection, ...row } = activity;
      const none = row.target === '';
      changes.activities.push({
        ...row,
        target_first: none ? null : row.target_first,
        target_last: none ? null : row.target_last,
        connection_id: connection.id,
        capture_id,
      });
      activity.count = 0;
    }
    this.#dirty_connections = new Set();
    this.#dirty_activities = new Set();
  }

  #drainConnection(connection: Connection, capture_id: number, find: Find, changes: ChangeSet): void {
    const { opener, responder } = connection;
    changes.connections.push({
      id: connection.id,
      segment: connection.segment,
      proto: connection.proto,
      app_proto: connection.app_proto,
      recognised_by: connection.recognised_by,
      opener_device: find(connection.segment, opener)?.id ?? null,
      opener_mac: opener.shown_mac,
      opener_ip: opener.shown_ip,
      responder_device: find(connection.segment, responder)?.id ?? null,
      responder_mac: responder.shown_mac,
      responder_ip: responder.shown_ip,
      server_port: connection.server_port,
      client: connection.client === 0 ? 'opener' : connection.client === 1 ? 'responder' : 'unknown',
      opener_certain: connection.opener_certain,
      ethertype: connection.ethertype,
      flows: connection.flows,
      packets_from_opener: connection.packets_from_opener,
      packets_from_responder: connection.packets_from_responder,
      bytes_from_opener: connection.bytes_from_opener,
      bytes_from_responder: connection.bytes_from_responder,
      first_ms: connection.first_ms,
      last_ms: connection.last_ms,
      first_frame: connection.first_frame,
      capture_id,
    });
    connection.stored = true;
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
      const pair = `${row.segment}|${row.proto}|${row.ethertype}|${row.opener_ip || row.opener_mac}|${row.responder_ip || row.responder_mac}`;
      const connection: Connection = {
        ...row,
        key: `${pair}|${row.server_port}|${row.app_proto}`,
        pair,
        opener: end(row.opener_mac, row.opener_ip),
        responder: end(row.responder_mac, row.responder_ip),
        client: row.client === 'opener' ? 0 : row.client === 'responder' ? 1 : -1,
        total_flows: row.flows,
        stored: true,
        activities: [],
        flows: 0,
        packets_from_opener: 0,
        packets_from_responder: 0,
        bytes_from_opener: 0,
        bytes_from_responder: 0,
      };
      connections.set(row.id, connection);
      this.#connections.set(connection.key, connection);
      this.#ports_of_pair.set(pair, (this.#ports_of_pair.get(pair) ?? 0) + 1);
    }
    for (const row of snapshot.activities) {
      const connection = connections.get(row.connection_id);
      if (!connection) continue;
      const key = activityKey(connection.id, row.app_proto, row.operation, row.from_opener, row.role, row.target, row.unit);
      const { connection_id, capture_id, ...rest } = row;
      const target_first = row.target_first ?? 0;
      const target_last = row.target_last ?? 0;
      const activity = { ...rest, connection, target_first, target_last, count: 0 };
      this.#activities.set(key, activity);
      connection.activities.push(activity);
    }
  }
}

function activityKey(
  connection: number,
  app_proto: string,
  operation: string,
  from_opener: boolean,
  role: string,
  target: string,
  unit: number,
): string {
  return `${connection}|${app_proto}|${operation}|${from_opener ? 1 : 0}|${role}|${unit}|${target}`;
}

/** Protocols that carry others, from the outside in: what they carry names the conversation. */
const CARRIERS: readonly string[] = ['', 'tls', 'tpkt', 'cotp'];

function nameRank(app_proto: string): number {
  const carrier = CARRIERS.indexOf(app_proto);
  return carrier < 0 ? CARRIERS.length : carrier;
}

const namesMore = (app_proto: string, before: string) => nameRank(app_proto) > nameRank(before);

function widen(
  of: { first_ms: number; last_ms: number; first_frame: number },
  first_ms: number,
  last_ms: number,
  frame: number,
): void {
  if (first_ms < of.first_ms) {
    of.first_ms = first_ms;
    of.first_frame = frame;
  }
  if (last_ms > of.last_ms) of.last_ms = last_ms;
}
