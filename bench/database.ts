import { randomBytes } from 'node:crypto';
import { type ActivityRow, type AlertRow, type ConnectionRow, emptyChangeSet } from '../src/store/change-set.ts';
import { Writer } from '../src/store/writer.ts';

/** How much a database holds. The same sizes give the same rows, but for the times of alerts and the bytes of packets. */
export interface DatabaseSize {
  devices: number;
  connections: number;
  activities: number;
  alerts?: number;
  /** Bytes of the packet that is kept with each alert; 0: none is. */
  evidence_bytes?: number;
}

const ROWS_AT_ONCE = 5000;
/** 2026-01-01. */
const START_MS = 1_767_225_600_000;
/** Alerts are of late: what is old is deleted. */
const ALERTS_MS = Date.now() - 30 * 86_400_000;
const KINDS = [
  ['zone_crossing', 'major'],
  ['new_device', 'warning'],
  ['device_stop', 'critical'],
] as const;
const OPERATIONS = ['read', 'write', 'identify', 'subscribe'];
const PROTOCOLS = ['modbus', 's7comm', 'dnp3', 'enip'];

const byte = (value: number) => value & 255;
export const ipOf = (id: number) => `10.${byte(id >> 16)}.${byte(id >> 8)}.${byte(id)}`;
const macOf = (id: number) =>
  `02:00:00:${[id >> 16, id >> 8, id].map((part) => byte(part).toString(16).padStart(2, '0')).join(':')}`;

/** Makes a sensor's database in a directory, by the product's own writer: a plant of stations that poll one another. */
export function makeDatabase(directory: string, size: DatabaseSize): void {
  const { devices, connections, activities, alerts = 0, evidence_bytes = 0 } = size;
  const writer = new Writer(directory);
  const seen = (id: number) => ({ first_ms: START_MS + id, last_ms: START_MS + 1e7 + id, first_frame: id, capture_id: 1 });
  for (const ids of batches(devices)) {
    const changes = emptyChangeSet();
    for (const id of ids) {
      const [ip, mac] = [ipOf(id), macOf(id)];
      const face = { device_id: id, segment: '', mac };
      const role = id % 2 === 0 ? 'server' : 'client';
      const app_proto = PROTOCOLS[id % 4];
      const deed = { ip, app_proto, role, operations: 6, peers: [ipOf(1 + (id % devices))] };
      const behaviour = JSON.stringify({ deeds: [deed], redundancy: '', chassis: '' });
      changes.devices.push({
        ...{ id, ...seen(id), ip, mac, segment: '', zone: `cell ${id % 40}`, behaviour },
        ...{ name: '', type: role === 'server' ? 'plc' : 'hmi', type_reason: 'answers reads', purdue_level: 1 },
        ...{ programming_station: false, programming_reason: '', router: false, gateway: false },
        ...{ vendor: 'Siemens AG', model: '', firmware: '', serial: '' },
      });
      changes.interfaces.push({ ...face, vendor: 'Siemens AG', router: false, first_ms: START_MS, last_ms: START_MS + 1e7 });
      changes.addresses.push({ ...face, ...seen(id), ip, how: 'arp', via_mac: '', current: true });
      changes.attributes.push({
        ...{ device_id: id, part: '', attribute: 'vendor', value: 'Siemens AG', app_proto: 'mac', field: 'oui', ip: '' },
        ...{ current: true, preferred: true, ...seen(id) },
      });
    }
    writer.apply(changes);
  }
  /** Polls the one across, and with each turn another one. */
  const peersOf = (id: number) => {
    const opener = 1 + ((id - 1) % devices);
    return [opener, 1 + ((opener + Math.floor((id - 1) / devices) * 2) % devices)];
  };
  for (const ids of batches(connections)) {
    const changes = emptyChangeSet();
    changes.connections = ids.map((id): ConnectionRow => {
      const [opener, responder] = peersOf(id);
      return {
        ...{ id, segment: '', proto: 'tcp', app_proto: PROTOCOLS[id % 4], recognised_by: 'content', ethertype: 0x800 },
        ...{ opener_device: opener, opener_mac: macOf(opener), opener_ip: ipOf(opener), opener_certain: true, client: 'opener' },
        ...{ responder_device: responder, responder_mac: macOf(responder), responder_ip: ipOf(responder), server_port: 502 },
        ...{ flows: 1, packets_from_opener: 10, packets_from_responder: 10 },
        ...{ bytes_from_opener: 1000, bytes_from_responder: 1000, ...seen(id) },
      };
    });
    writer.apply(changes);
  }
  for (const ids of batches(activities)) {
    const changes = emptyChangeSet();
    changes.activities = ids.map((id): ActivityRow => {
      const turn = Math.floor((id - 1) / connections);
      const connection_id = 1 + ((id - 1) % connections);
      const from_opener = turn % 2 === 0;
      return {
        ...{ id, connection_id, app_proto: PROTOCOLS[connection_id % 4], operation: OPERATIONS[(turn >> 1) % 4], from_opener },
        ...{ role: from_opener ? 'client' : 'server', target: 'holding registers', target_first: 0, target_last: 99 },
        ...{ unit: 1 + (turn >> 3), unit_name: 'unit', count: 100, ...seen(id) },
      };
    });
    writer.apply(changes);
  }
  for (const ids of batches(alerts)) {
    const changes = emptyChangeSet();
    changes.alerts = ids.map((id): AlertRow => {
      const [source, destination] = peersOf(id);
      const [kind, severity] = KINDS[id % 1000 === 0 ? 2 : id % 7 === 0 ? 0 : 1];
      const time_ms = ALERTS_MS + id * 1000;
      return {
        ...{ key: `${id}`, kind, severity, title: kind, technique: 'T0886', count: 1, segment: '', proto: 'tcp' },
        ...{ description: 'Something was found between two devices: read of holding registers', operation: 'read' },
        ...{ source_mac: macOf(source), source_ip: ipOf(source), source_port: 0, source_device: source, source_zone: 'cell 1' },
        ...{ destination_mac: macOf(destination), destination_ip: ipOf(destination), destination_port: 502 },
        ...{ destination_device: destination, destination_zone: 'cell 2', app_proto: PROTOCOLS[id % 4] },
        ...{ details: { what: 'modbus read', from_zone: 'cell 1', to_zone: 'cell 2' } },
        ...{ first_ms: time_ms, last_ms: time_ms, first_frame: id, last_frame: id, capture_id: 1 },
      };
    });
    if (evidence_bytes > 0)
      changes.evidence = ids.map((id) => ({
        ...{ alert_key: `${id}`, ordinal: 0, capture_id: 1, frame: id, seconds: id, nanoseconds: 0, link_type: 1 },
        // Nothing that could be packed.
        ...{ captured: evidence_bytes, wire: evidence_bytes, bytes: randomBytes(evidence_bytes) },
      }));
    writer.apply(changes);
  }
  writer.close();
}

/** Numbers from 1, so many at a time. */
function* batches(count: number): Generator<number[]> {
  for (let from = 1; from <= count; from += ROWS_AT_ONCE)
    yield Array.from({ length: Math.min(ROWS_AT_ONCE, count - from + 1) }, (_, i) => from + i);
}
