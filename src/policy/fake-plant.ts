import {
  type AnyDissector,
  bool,
  bytes,
  defineDissector,
  ethertype,
  f32,
  ipv4,
  ipv6,
  list,
  mac,
  type Operation,
  type OperationName,
  type RowOf,
  record,
  span,
  tcp,
  text,
  time,
  u8,
  u16,
  u64,
  udp,
  within,
} from '../dissect/index.ts';
import { Operation as OPERATIONS } from '../dissect/operation.ts';
import type { Fields, RecordType } from '../dissect/record.ts';
import { Registry } from '../dissect/registry.ts';
import type { Row } from '../dissect/row.ts';
import { faultText } from '../yaml/fault.ts';
import type { PolicyModel } from './conduits.ts';
import { compilePolicy, type Policy } from './match.ts';
import { readPolicy } from './policy-file.ts';

/** A plant of made-up protocols for the policy's tests: `pump` on TCP and UDP, `drive` inside `rail`, `field` straight on Ethernet. */

export const Pump = record('pump', 'a request or its response', {
  function_code: u8(null, 'what', { names: { 1: 'Read Level', 2: 'Set Level', 3: 'read-level', 9: 'Plc_Stop' } }),
  address: u16(null, 'where'),
  values: list(u16(null, 'values')),
  level: f32(null, 'level'),
  serial: u64(null, 'serial number', { names: { 7: 'seven' } }),
  label: text(null, 'label'),
  payload: bytes(null, 'bytes'),
  forced: bool(null, 'forced'),
  peer: ipv4(null, 'peer'),
  peer6: ipv6(null, 'peer'),
  station: mac(null, 'station'),
  at: time(null, 'when'),
});
export const Rail = record('rail', 'carrier', { slot: u8(null, 'slot') });
export const Drive = record('drive', 'header', { job: u8(null, 'job', { names: { 4: 'read', 5: 'write' } }) });
export const DriveItem = record('drive_item', 'item', { db: u16(null, 'data block'), offset: u16(null, 'offset') });
export const FieldBus = record('field', 'frame', { cycle: u16(null, 'cycle') });

const framing = { headerSize: 1, maxSize: 100, sizeOf: () => 1 };
const rest = { specification: 'made up', newState: () => null, probe: () => 2 as const, dissect: () => {} };

export const DISSECTORS: AnyDissector[] = [
  defineDissector({
    ...rest,
    name: 'pump',
    title: 'Pump',
    carriers: [...tcp(7000), ...udp(7000)],
    records: [Pump],
    anomalies: { overflow: 'too full', wrong_order: 'late' },
    framing,
  }),
  defineDissector({ ...rest, name: 'rail', title: 'Rail', carriers: tcp(7102), records: [Rail], anomalies: {}, framing }),
  defineDissector({
    ...rest,
    name: 'drive',
    title: 'Drive',
    carriers: within('rail'),
    records: [Drive, DriveItem],
    anomalies: { overflow: 'too fast' },
  }),
  defineDissector({ ...rest, name: 'field', title: 'Field', carriers: ethertype(0x9999), records: [FieldBus], anomalies: {} }),
];

export const registry = new Registry(DISSECTORS);

export interface RowHead {
  operation?: OperationName;
  unit?: number;
  status?: 0 | 1 | 2;
  anomalies?: number;
  target_space?: number;
  dissector?: string;
}

type Values = Record<string, number | bigint | boolean | string | Uint8Array | number[]>;

/** A row as its dissector would leave it. */
export function rowOf<F extends Fields>(type: RecordType<F>, values: Values = {}, head: RowHead = {}): RowOf<F> {
  const row = type.newRow() as RowOf<Fields>;
  const store = new Uint8Array(256);
  let used = 0;
  row.clear(store);
  row.dissector = head.dissector
    ? registry.indexOf(head.dissector)
    : DISSECTORS.findIndex((dissector) => dissector.records.includes(type as never));
  row.operation = OPERATIONS[head.operation ?? 'other'] as (typeof Operation)[OperationName];
  row.unit = head.unit ?? -1;
  row.target_space = head.target_space ?? -1;
  row.status = head.status ?? 0;
  row.anomalies = head.anomalies ?? 0;
  const target = row as unknown as Record<string, unknown>;
  for (const [name, value] of Object.entries(values)) {
    if (Array.isArray(value)) for (const item of value) (target[name] as { push(x: number): void }).push(item);
    else if (typeof value === 'string' || value instanceof Uint8Array) {
      const encoded = typeof value === 'string' ? new TextEncoder().encode(value) : value;
      store.set(encoded, used);
      target[name] = span(used, encoded.length);
      used += encoded.length;
    } else target[name] = value;
  }
  return row as unknown as RowOf<F>;
}

export function modelOf(yaml: string): PolicyModel {
  const { model, faults } = readPolicy(yaml, registry);
  if (!model) throw new Error(faults.map(faultText).join('\n'));
  return model;
}

export const policyOf = (yaml: string): Policy => compilePolicy(structuredClone(modelOf(yaml)), registry);

/** Zones a and b, and conduits written in one line each; the policy's pair from a to b. */
export const ZONES = `
zones:
  - { name: a, subnets: [10.0.1.0/24] }
  - { name: b, subnets: [10.0.2.0/24] }
  - { name: c, subnets: [10.0.3.0/24] }
`;

export const policyWith = (...conduits: string[]): Policy =>
  policyOf(`${ZONES}conduits:\n${conduits.map((conduit) => `  - { ${conduit} }\n`).join('')}`);

export type Rows = Row[];
