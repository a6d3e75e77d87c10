import type { AttributeRow } from './change-set.ts';
import type { ReadConnection } from './read-connection.ts';
import { Where } from './where.ts';

export interface DevicePairFilter {
  /** Only pairs of this device. */
  device: number | null;
  discovered_before_ms: number | null;
  discovered_after_ms: number | null;
  active_since_ms: number | null;
}

export interface DevicePair {
  first_device: number;
  second_device: number;
  first_ms: number;
  last_ms: number;
  ports: number[];
  protocols: { app_proto: string; proto: string; operations: string[] }[];
}

/** By device. */
export interface DeviceFacts {
  spoken: Map<number, { app_proto: string; number: number; ips: string[] }[]>;
  firmware: Map<number, AttributeRow[]>;
  dynamic: Set<number>;
}

/** What people said of a device; null: nothing. It goes before what the sensor found out. */
export interface DeviceMarks {
  device_id: number;
  authorized: boolean | null;
  scanner: boolean | null;
  programming_station: boolean | null;
  name: string | null;
  type: string | null;
  note: string | null;
  changed_ms: number;
  changed_by: string;
}

/**
 * Pairs of devices that talk, each once with all their conversations: the lower id first. Conversations with an end that is no
 * device (a multicast group) are left out; those of a device with itself too.
 */
export function devicePairs(
  db: ReadConnection,
  { device, discovered_before_ms, discovered_after_ms, active_since_ms }: DevicePairFilter,
): DevicePair[] {
  const where = new Where().and(
    'opener_device IS NOT NULL AND responder_device IS NOT NULL AND opener_device <> responder_device',
  );
  if (device !== null) where.and('opener_device = ? OR responder_device = ?', device, device);
  const having = new Where();
  if (discovered_before_ms !== null) having.and('min(first_ms) <= ?', discovered_before_ms);
  if (discovered_after_ms !== null) having.and('min(first_ms) >= ?', discovered_after_ms);
  if (active_since_ms !== null) having.and('max(last_ms) >= ?', active_since_ms);
  const pairs = db.all<DevicePair & { conversations: string }>(
    `SELECT min(opener_device, responder_device) AS first_device, max(opener_device, responder_device) AS second_device,
     min(first_ms) AS first_ms, max(last_ms) AS last_ms,
     json_group_array(DISTINCT server_port) FILTER (WHERE server_port > 0) AS ports,
     json_group_array(json_array(app_proto, proto, (SELECT json_group_array(DISTINCT operation) FROM activities a WHERE a.connection_id = connections.id))) AS protocols
     FROM connections ${where} GROUP BY 1, 2 ${having.clauses.length > 0 ? `HAVING ${having.clauses.join(' AND ')}` : ''} ORDER BY 1, 2`,
    [...where.values, ...having.values],
    [],
    ['ports', 'protocols'],
  );
  for (const pair of pairs) {
    pair.ports.sort((a, b) => a - b);
    const protocols = new Map<string, DevicePair['protocols'][number]>();
    for (const [app_proto, proto, operations] of pair.protocols as unknown as [string, string, string | string[]][]) {
      const key = app_proto || proto;
      const known = protocols.get(key) ?? { app_proto, proto, operations: [] };
      const more = typeof operations === 'string' ? (JSON.parse(operations) as string[]) : operations;
      protocols.set(key, { ...known, operations: [...new Set([...known.operations, ...more])].sort() });
    }
    pair.protocols = [...protocols.values()];
  }
  return pairs;
}

/** Of these devices: what they speak, with which addresses; what they say of themselves and their modules; whether DHCP gave an address. */
export function deviceFacts(db: ReadConnection, devices: readonly number[]): DeviceFacts {
  const ids = [JSON.stringify(devices)];
  const these = 'IN (SELECT value FROM json_each(?))';
  const spoken: DeviceFacts['spoken'] = new Map();
  const protocols = db.all<{ device: number; app_proto: string; ips: string[] }>(
    `SELECT device, app_proto, json_group_array(DISTINCT ip) FILTER (WHERE ip <> '') AS ips FROM (
       SELECT opener_device AS device, app_proto, opener_ip AS ip FROM connections WHERE opener_device ${these}
       UNION SELECT responder_device, app_proto, responder_ip FROM connections WHERE responder_device ${these})
     GROUP BY 1, 2 ORDER BY 1, 2`,
    [...ids, ...ids],
    [],
    ['ips'],
  );
  for (const { device, app_proto, ips } of protocols) {
    if (!spoken.has(device)) spoken.set(device, []);
    const of_device = spoken.get(device)!;
    of_device.push({ app_proto, number: of_device.length + 1, ips });
  }
  const firmware: DeviceFacts['firmware'] = new Map();
  const said = db.all<AttributeRow>(
    `SELECT * FROM attributes WHERE device_id ${these} AND preferred
     AND attribute IN ('serial', 'model', 'order_code', 'firmware', 'description', 'name') ORDER BY device_id, part, attribute`,
    ids,
  );
  for (const row of said) firmware.set(row.device_id, [...(firmware.get(row.device_id) ?? []), row]);
  // A device that only told its name has no firmware to speak of.
  for (const [device, rows] of firmware) {
    const parts = new Set(rows.filter(({ attribute }) => !['name', 'description'].includes(attribute)).map(({ part }) => part));
    firmware.set(
      device,
      rows.filter(({ part }) => parts.has(part)),
    );
  }
  const dynamic = db.all<{ device_id: number }>(
    `SELECT DISTINCT device_id FROM addresses WHERE device_id ${these} AND how = 'dhcp' AND current`,
    ids,
  );
  return { spoken, firmware, dynamic: new Set(dynamic.map((row) => row.device_id)) };
}
