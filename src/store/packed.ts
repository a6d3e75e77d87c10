import type { CaptureRow, ChangeSet, Reassignment } from './change-set.ts';

/**
 * A change set as it crosses to the writer's thread: the rows of a table are its columns' values one after the other, the bytes of all
 * evidence are one piece that is handed over. Cloning objects, with the names of their fields in every row, took half of the main
 * thread's time and of the writer's.
 */
export interface PackedChanges {
  captures: CaptureRow[];
  device_resets: number[];
  reassignments: Reassignment[];
  activities_gone: number[];
  device_times: number[];
  connection_counts: number[];
  activity_counts: (number | null)[];
  rows: Record<PackedTable, Value[]>;
  bytes: Uint8Array;
}

export type PackedTable = keyof typeof COLUMNS;
export type Value = string | number | null;

/** The order of the values, as the writer binds them. */
export const COLUMNS = {
  devices: [
    'id', 'first_ms', 'last_ms', 'first_frame', 'capture_id', 'name', 'type', 'type_reason', 'purdue_level', 'programming_station',
    'programming_reason', 'router', 'gateway', 'vendor', 'model', 'firmware', 'serial', 'mac', 'ip', 'segment', 'zone', 'behaviour',
  ],
  interfaces: ['device_id', 'segment', 'mac', 'vendor', 'router', 'first_ms', 'last_ms'],
  addresses: [
    'device_id', 'segment', 'ip', 'mac', 'how', 'via_mac', 'current', 'first_ms', 'last_ms', 'first_frame', 'capture_id',
  ],
  attributes: [
    'device_id', 'part', 'attribute', 'value', 'app_proto', 'field', 'ip', 'current', 'preferred', 'first_ms', 'last_ms',
    'first_frame', 'capture_id',
  ],
  parts: ['device_id', 'part', 'kind', 'number', 'ip', 'app_proto', 'first_ms', 'last_ms', 'first_frame', 'capture_id'],
  connections: [
    'id', 'segment', 'proto', 'app_proto', 'recognised_by', 'opener_device', 'opener_mac', 'opener_ip', 'responder_device',
    'responder_mac', 'responder_ip', 'server_port', 'client', 'opener_certain', 'ethertype', 'flows', 'packets_from_opener',
    'packets_from_responder', 'bytes_from_opener', 'bytes_from_responder', 'first_ms', 'last_ms', 'first_frame', 'capture_id',
  ],
  activities: [
    'id', 'connection_id', 'app_proto', 'operation', 'from_opener', 'role', 'target', 'target_first', 'target_last', 'unit',
    'unit_name', 'count', 'first_ms', 'last_ms', 'first_frame', 'capture_id',
  ],
  alerts: [
    'key', 'kind', 'severity', 'title', 'description', 'source_mac', 'source_ip', 'source_port', 'source_device', 'source_zone',
    'destination_mac', 'destination_ip', 'destination_port', 'destination_device', 'destination_zone', 'segment', 'proto',
    'app_proto', 'operation', 'technique', 'details', 'count', 'first_ms', 'last_ms', 'first_frame', 'last_frame', 'capture_id',
  ],
  /** `captured` bytes of each one after the other in `bytes`. */
  evidence: ['ordinal', 'capture_id', 'frame', 'seconds', 'nanoseconds', 'captured', 'wire', 'link_type', 'alert_key'],
  events: ['capture_id', 'frame', 'time_ms', 'kind', 'device_id', 'title', 'details'],
} as const satisfies { readonly [Table in keyof ChangeSet]?: readonly string[] }; // biome-ignore format: tables

const TABLES = Object.keys(COLUMNS) as PackedTable[];

export function pack(changes: ChangeSet): PackedChanges {
  const { captures, device_resets, reassignments, activities_gone, device_times, connection_counts, activity_counts } = changes;
  const rows = {} as Record<PackedTable, Value[]>;
  for (const table of TABLES) rows[table] = flat(table, changes[table]);
  const { evidence } = changes;
  const bytes = new Uint8Array(evidence.reduce((sum, row) => sum + row.bytes.length, 0));
  let at = 0;
  for (const row of evidence) {
    bytes.set(row.bytes, at);
    at += row.bytes.length;
  }
  return {
    captures, device_resets, reassignments, activities_gone, device_times, connection_counts, activity_counts, rows, bytes,
  }; // biome-ignore format: one value
}

/** Flags as SQLite has them. */
const flag = (value: boolean): number => (value ? 1 : 0);

/** Written out: going through the names of the columns took ten times as long. */
export const PACKERS: { readonly [Table in PackedTable]: (row: ChangeSet[Table][number], out: Value[]) => void } = {
  devices: (r, out) =>
    void out.push(
      r.id, r.first_ms, r.last_ms, r.first_frame, r.capture_id, r.name, r.type, r.type_reason, r.purdue_level,
      flag(r.programming_station), r.programming_reason, flag(r.router), flag(r.gateway), r.vendor, r.model, r.firmware,
      r.serial, r.mac, r.ip, r.segment, r.zone, r.behaviour,
    ),
  interfaces: (r, out) =>
    void out.push(
      r.device_id, r.segment, r.mac, r.vendor, flag(r.router), r.first_ms, r.last_ms,
    ),
  addresses: (r, out) =>
    void out.push(
      r.device_id, r.segment, r.ip, r.mac, r.how, r.via_mac, flag(r.current), r.first_ms, r.last_ms, r.first_frame,
      r.capture_id,
    ),
  attributes: (r, out) =>
    void out.push(
      r.device_id, r.part, r.attribute, r.value, r.app_proto, r.field, r.ip, flag(r.current), flag(r.preferred), r.first_ms,
      r.last_ms, r.first_frame, r.capture_id,
    ),
  parts: (r, out) =>
    void out.push(
      r.device_id, r.part, r.kind, r.number, r.ip, r.app_proto, r.first_ms, r.last_ms, r.first_frame, r.capture_id,
    ),
  connections: (r, out) =>
    void out.push(
      r.id, r.segment, r.proto, r.app_proto, r.recognised_by, r.opener_device, r.opener_mac, r.opener_ip, r.responder_device,
      r.responder_mac, r.responder_ip, r.server_port, r.client, flag(r.opener_certain), r.ethertype, r.flows,
      r.packets_from_opener, r.packets_from_responder, r.bytes_from_opener, r.bytes_from_responder, r.first_ms, r.last_ms,
      r.first_frame, r.capture_id,
    ),
  activities: (r, out) =>
    void out.push(
      r.id, r.connection_id, r.app_proto, r.operation, flag(r.from_opener), r.role, r.target, r.target_first, r.target_last,
      r.unit, r.unit_name, r.count, r.first_ms, r.last_ms, r.first_frame, r.capture_id,
    ),
  alerts: (r, out) =>
    void out.push(
      r.key, r.kind, r.severity, r.title, r.description, r.source_mac, r.source_ip, r.source_port, r.source_device,
      r.source_zone, r.destination_mac, r.destination_ip, r.destination_port, r.destination_device, r.destination_zone,
      r.segment, r.proto, r.app_proto, r.operation, r.technique, JSON.stringify(r.details), r.count, r.first_ms, r.last_ms,
      r.first_frame, r.last_frame, r.capture_id,
    ),
  evidence: (r, out) =>
    void out.push(
      r.ordinal, r.capture_id, r.frame, r.seconds, r.nanoseconds, r.captured, r.wire, r.link_type, r.alert_key,
    ),
  events: (r, out) =>
    void out.push(
      r.capture_id, r.frame, r.time_ms, r.kind, r.device_id, r.title, JSON.stringify(r.details),
    ),
}; // biome-ignore format: in the order of COLUMNS

function flat<Table extends PackedTable>(table: Table, rows: readonly ChangeSet[Table][number][]): Value[] {
  const values: Value[] = [];
  const packer = PACKERS[table];
  for (const row of rows) packer(row, values);
  return values;
}
