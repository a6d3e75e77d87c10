import type { ActivityRow, AddressRow, AttributeRow, ConnectionRow, DeviceRow, InterfaceRow, PartRow } from './change-set.ts';
import type { ReadConnection } from './read-connection.ts';

/** What the inventory goes on from after a restart: `Inventory.load`. */
export interface Snapshot {
  next_device_id: number;
  next_connection_id: number;
  next_activity_id: number;
  /** Rows are read as they are asked for, once: of all there are none is held twice. By device, the oldest first. */
  devices: Iterable<KnownDevice>;
  interfaces: Iterable<InterfaceRow>;
  addresses: Iterable<AddressRow>;
  attributes: Iterable<AttributeRow>;
  parts: Iterable<PartRow>;
  pairs: Iterable<ConnectionPair>;
  activity_count: number;
  /**
   * A connection as it is stored now, undefined where it is no longer; and its activities, in the order of their ids. They are most of
   * what there is, and only wanted when the pair is met again: a start does not wait for them.
   */
  connection(id: number): ConnectionRow | undefined;
  activities(connection_id: number): ActivityRow[];
}

const KNOWN_DEVICE = [
  ...(['id', 'first_ms', 'last_ms', 'first_frame', 'capture_id', 'type', 'type_reason'] as const),
  ...(['purdue_level', 'programming_reason', 'behaviour'] as const),
];
/** Of a device's row, what does not follow from the rest. */
export type KnownDevice = Pick<DeviceRow, (typeof KNOWN_DEVICE)[number]>;

const PAIR_COLUMNS = `id, segment, proto, ethertype, iif(opener_ip = '', opener_mac, opener_ip) AS opener,
  iif(responder_ip = '', responder_mac, responder_ip) AS responder`;

/** Who speaks with whom in a connection; the ends by their addresses, or by their MACs where they have none. */
export interface ConnectionPair {
  id: number;
  segment: string;
  proto: string;
  ethertype: number;
  opener: string;
  responder: string;
}

/** The state after the last change set, as long as nothing is written but by whoever reads it. */
export function snapshot(db: ReadConnection): Snapshot {
  const next = (table: string) => db.one<{ n: number }>(`SELECT coalesce(max(id), 0) + 1 AS n FROM ${table}`)!.n;
  return {
    next_device_id: next('devices'),
    next_connection_id: next('connections'),
    next_activity_id: next('activities'),
    devices: db.each<KnownDevice>(KNOWN_DEVICE.join(', '), 'devices', 'id', { where: 'merged_into IS NULL' }),
    interfaces: db.each<InterfaceRow>('*', 'interfaces', 'device_id', { order: 'first_ms', flags: ['router'] }),
    addresses: db.each<AddressRow>('*', 'addresses', 'device_id', { order: 'first_ms', flags: ['current'] }),
    attributes: db.each<AttributeRow>('*', 'attributes', 'device_id', { order: 'first_ms', flags: ['current', 'preferred'] }),
    parts: db.each<PartRow>('*', 'parts', 'device_id', { order: 'first_ms' }),
    pairs: db.each<ConnectionPair>(PAIR_COLUMNS, 'connections', 'id'),
    activity_count: db.one<{ n: number }>('SELECT count(*) AS n FROM activities')!.n,
    connection: (id) => db.all<ConnectionRow>('SELECT * FROM connections WHERE id = ?', [id], ['opener_certain'])[0],
    activities: (connection_id) =>
      db.all<ActivityRow>('SELECT * FROM activities WHERE connection_id = ? ORDER BY id', [connection_id], ['from_opener']),
  };
}
