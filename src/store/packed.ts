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
  for (const table of TABLES) rows[table] = flat(changes[table] as unknown as Record<string, unknown>[], COLUMNS[table]);
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

/** Flags as SQLite has them, objects as JSON. */
function flat(rows: readonly Record<string, unknown>[], columns: readonly string[]): Value[] {
  const values: Value[] = [];
  for (const row of rows) {
    for (const column of columns) {
      const value = row[column];
      if (typeof value === 'boolean') values.push(value ? 1 : 0);
      else if (typeof value === 'object' && value !== null) values.push(JSON.stringify(value));
      else values.push(value as Value);
    }
  }
  return values;
}
