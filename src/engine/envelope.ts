import type { Packet } from '../decode/packet.ts';
import { ipv6Text, type JsonConstant, JsonWriter } from '../dissect/json.ts';
import { OPERATION_NAMES, ROLE_NAMES, STATUS_NAMES, Status } from '../dissect/operation.ts';
import type { RecordType } from '../dissect/record.ts';
import type { Registry } from '../dissect/registry.ts';
import type { Row } from '../dissect/row.ts';
import { type FlowState, RECOGNISED_BY_NAMES, RecognisedBy, type Stamp } from '../flow/flow-state.ts';
import { type FlowTable, PROTOCOL_ETHERNET } from '../flow/flow-table.ts';
import { ipBytes, macBytes, protocolName } from './endpoint.ts';
import type { FlowNotes } from './flow-notes.ts';

const c = JsonWriter.constant;
const FRAME = c('{"frame":');
const ANOMALIES = c(',"anomalies":[');
const OPERATION = OPERATION_NAMES.map((name) => `,"operation":"${name}"`);
const ROLE = ROLE_NAMES.map((name) => `,"role":"${name}"`);
const RECOGNISED = RECOGNISED_BY_NAMES.map((name) => (name === '' ? '' : `,"recognised_by":"${name}"`));
const STATUS = STATUS_NAMES.map((name) => c(`,"status":"${name}"`));
const ROLES = ROLE_NAMES.length;
/** operation … fields: one constant for each combination, by (operation × roles + role) × ways of recognition + way. */
const JUDGEMENT = OPERATION.flatMap((operation) =>
  ROLE.flatMap((role) => RECOGNISED.map((recognised) => c(`${operation}${role}${recognised},"fields":`))),
);
/** The same behind `ok`, with nothing wrong: what most rows have. */
const FAULTLESS = JUDGEMENT.map((judgement) => c(STATUS[Status.ok].text + judgement.text));
const END = c('}\n');

/** What all PDUs of a direction have in common, and the first one's names behind it. */
export interface EnvelopeEnds {
  text: JsonConstant;
  dissector: number;
  type: RecordType;
  named: JsonConstant;
}

/** Writes rows as JSON Lines, each in the envelope that names its packet, ends and protocol. */
export class EnvelopeWriter {
  readonly out: JsonWriter;
  private readonly registry: Registry;
  private readonly table: FlowTable;
  /** By dissector: one record type may serve several. */
  private readonly names: Map<RecordType, JsonConstant>[];
  private second = -1;
  private secondText: JsonConstant = c('');

  constructor(registry: Registry, table: FlowTable, out = new JsonWriter(new Uint8Array(1 << 20))) {
    this.registry = registry;
    this.table = table;
    this.out = out;
    this.names = registry.dissectors.map(() => new Map());
  }

  line(slot: number, state: FlowState, notes: FlowNotes, p: Packet, stamp: Stamp, row: Row): void {
    const { out } = this;
    const { direction } = state;
    out.constant(FRAME);
    out.number(stamp.frame);
    if (stamp.seconds !== this.second) this.setSecond(stamp.seconds);
    out.constant(this.secondText);
    out.nanoseconds(stamp.nanoseconds);
    const vlans = vlanKey(p);
    const rare = notes.own_rare;
    if (rare.envelope_vlans !== vlans) {
      rare.envelope = null;
      rare.envelope_vlans = vlans;
    }
    const ends = rare.envelope?.[direction] ?? this.makeEnds(slot, direction, notes, p, row);
    // Most conversations have one record type; of others the names stand behind what is the same for all.
    if (ends.type === row.type && ends.dissector === row.dissector) out.constant(ends.named);
    else {
      out.constant(ends.text);
      out.constant(this.names[row.dissector].get(row.type) ?? this.makeNames(row));
    }
    out.unsigned(notes.pdu_index);
    const way = row.dissector === state.dissector ? state.recognised_by : RecognisedBy.parent;
    const judgement = (row.operation * ROLES + state.sender) * RECOGNISED.length + way;
    if (row.status === Status.ok && row.anomalies === 0) out.constant(FAULTLESS[judgement]);
    else {
      out.constant(STATUS[row.status]);
      if (row.anomalies !== 0) this.anomalies(row);
      out.constant(JUDGEMENT[judgement]);
    }
    row.writeFields(out);
    out.constant(END);
  }

  private anomalies(row: Row): void {
    const { out } = this;
    const names = this.registry.anomalyNames[row.dissector];
    out.constant(ANOMALIES);
    for (let bit = 0; bit < names.length; bit++) {
      if ((row.anomalies & (1 << bit)) === 0) continue;
      out.byte(34);
      out.ascii(names[bit]);
      out.byte(34);
      out.byte(44);
    }
    out.position--;
    out.byte(93);
  }

  private setSecond(seconds: number): void {
    this.second = seconds;
    this.secondText = c(`,"timestamp":"${new Date(seconds * 1000).toISOString().replace(/\.\d+Z$/, '')}.`);
  }

  private makeNames(row: Row): JsonConstant {
    const text = c(`,"app_proto":"${this.registry.dissectors[row.dissector].name}","record":"${row.type.name}","pdu_index":`);
    this.names[row.dissector].set(row.type, text);
    return text;
  }

  /** src_mac … proto: the same for all PDUs of a direction. */
  private makeEnds(slot: number, direction: 0 | 1, notes: FlowNotes, p: Packet, row: Row): EnvelopeEnds {
    const { table } = this;
    const protocol = table.protocol(slot);
    const other = (1 - direction) as 0 | 1;
    const ends: Record<string, unknown> = {
      src_mac: this.mac(slot, direction),
      dest_mac: this.mac(slot, other),
      vlan: p.vlan_count > 0 ? Array.from(p.vlans.subarray(0, p.vlan_count)) : undefined,
    };
    if (protocol !== PROTOCOL_ETHERNET) {
      const ports = table.port(slot, 0) + table.port(slot, 1) > 0;
      ends.src_ip = ipText(ipBytes(table.keyWords, table.addressAt(slot, direction)));
      if (ports) ends.src_port = table.port(slot, direction);
      ends.dest_ip = ipText(ipBytes(table.keyWords, table.addressAt(slot, other)));
      if (ports) ends.dest_port = table.port(slot, other);
    }
    ends.proto = protocolName(protocol);
    const text = c(`Z",${JSON.stringify(ends).slice(1, -1)}`);
    const { dissector, type } = row;
    const names = this.names[dissector].get(type) ?? this.makeNames(row);
    const made = { text, dissector, type, named: c(text.text + names.text) };
    const rare = notes.own_rare;
    rare.envelope ??= [null, null];
    rare.envelope[direction] = made;
    return made;
  }

  private mac(slot: number, end: 0 | 1): string | undefined {
    const at = slot * 2 + end;
    const bytes = macBytes(this.table.mac_high[at], this.table.mac_low[at]);
    return bytes.length === 0 ? undefined : macText(bytes);
  }
}

function vlanKey(p: Packet): number {
  let key = p.vlan_count;
  for (let i = 0; i < p.vlan_count; i++) key = (key * 4099 + p.vlans[i]) % 0x1f_ffff_ffff;
  return key;
}

export const macText = (bytes: Uint8Array): string => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(':');
export const ipText = (bytes: Uint8Array): string =>
  bytes.length === 4 ? bytes.join('.') : bytes.length === 16 ? ipv6Text(bytes, 0) : '';
