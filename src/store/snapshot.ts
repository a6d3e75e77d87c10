import type { ActivityRow, AddressRow, AttributeRow, ConnectionRow, DeviceRow, InterfaceRow, PartRow } from './change-set.ts';
import { DEVICE_FLAGS } from './lists.ts';
import type { ReadConnection } from './read-connection.ts';

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

/** The state after the last change set, as long as nothing is written: for whoever is about to write. */
export function snapshot(db: ReadConnection): Snapshot {
  const next = (table: string) => db.one<{ n: number }>(`SELECT coalesce(max(id), 0) + 1 AS n FROM ${table}`)!.n;
  return {
    next_device_id: next('devices'),
    next_connection_id: next('connections'),
    next_activity_id: next('activities'),
    devices: db.all<DeviceRow>('SELECT * FROM devices WHERE merged_into IS NULL ORDER BY id', [], DEVICE_FLAGS),
    interfaces: db.all<InterfaceRow>('SELECT * FROM interfaces ORDER BY device_id, first_ms', [], ['router']),
    addresses: db.all<AddressRow>('SELECT * FROM addresses ORDER BY device_id, first_ms', [], ['current']),
    attributes: db.all<AttributeRow>('SELECT * FROM attributes ORDER BY device_id, first_ms', [], ['current', 'preferred']),
    parts: db.all<PartRow>('SELECT * FROM parts ORDER BY device_id, first_ms'),
    connections: db.each<ConnectionRow>('connections', 'opener_certain'),
    activities: db.each<ActivityRow>('activities', 'from_opener'),
  };
}
