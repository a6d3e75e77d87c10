/** For tests of flows: packets without bytes around them, a protocol of our own, and recorders of what comes out. */
import { Packet } from '../decode/packet.ts';
import { type AnyDissector, defineDissector, Match, tcp, udp } from '../dissect/dissector.ts';
import type { Reader } from '../dissect/reader.ts';
import { record, u8, u16 } from '../dissect/record.ts';
import { Registry } from '../dissect/registry.ts';
import { FlowState } from './flow-state.ts';
import { ACK, type FlowLimits, FlowTable, FROM_START } from './flow-table.ts';
import { Framer, type PduSink } from './framer.ts';
import { type StreamSink, TcpOrder } from './tcp-order.ts';

/** Bytes in shared memory, as the ring's are. */
export function shared(bytes: Iterable<number>): Uint8Array {
  const list = Uint8Array.from(bytes);
  const copy = new Uint8Array(new SharedArrayBuffer(list.length));
  copy.set(list);
  return copy;
}

// ── packets ──

export interface PacketFields {
  frame?: number;
  time_ms?: number;
  protocol?: number;
  version?: 4 | 6;
  /** Last word of the addresses. */
  source?: number;
  destination?: number;
  source_port?: number;
  destination_port?: number;
  flags?: number;
  sequence?: number;
  acknowledgment?: number;
  payload?: Uint8Array;
  missing?: number;
  vlans?: number[];
}

export const START_MS = Date.UTC(2026, 0, 2, 3, 4, 5);

export function packet(fields: PacketFields = {}): Packet {
  const p = new Packet();
  const { payload = new Uint8Array(0), version = 4, vlans = [], time_ms = START_MS } = fields;
  p.frame = fields.frame ?? 1;
  p.time_ms = time_ms;
  p.seconds = Math.floor(time_ms / 1000);
  p.nanoseconds = Math.round((time_ms % 1000) * 1e6);
  p.ip_version = version;
  p.ip_protocol = fields.protocol ?? 6;
  p.source.set(version === 4 ? [0, 0, 0xffff, fields.source ?? 1] : [0x20010db8, 0, 0, fields.source ?? 1]);
  p.destination.set(version === 4 ? [0, 0, 0xffff, fields.destination ?? 2] : [0x20010db8, 0, 0, fields.destination ?? 2]);
  p.source_port = fields.source_port ?? 40_000;
  p.destination_port = fields.destination_port ?? 502;
  p.tcp_flags = fields.flags ?? ACK;
  p.tcp_sequence = (fields.sequence ?? 0) >>> 0;
  p.tcp_acknowledgment = (fields.acknowledgment ?? 0) >>> 0;
  // With something before and behind, so that a reader beyond the payload is seen.
  p.bytes = new Uint8Array(new SharedArrayBuffer(payload.length + 4)).fill(0xde);
  p.bytes.set(payload, 2);
  p.payload = 2;
  p.payload_end = 2 + payload.length;
  p.payload_missing = fields.missing ?? 0;
  p.captured = 54 + payload.length;
  p.wire = p.captured + p.payload_missing;
  p.vlans.set(vlans);
  p.vlan_count = vlans.length;
  p.vlan = vlans.at(-1) ?? 0;
  return p;
}

/** A frame without IP. The MAC addresses are numbers below 256; -1 where the link layer has none. */
export function linkPacket(source: number, destination: number, ethertype: number, fields: PacketFields = {}): Packet {
  const p = packet(fields);
  p.ip_version = 0;
  p.ip_protocol = -1;
  p.source.fill(0);
  p.destination.fill(0);
  p.source_port = p.destination_port = 0;
  p.payload = p.payload_end = -1;
  p.link_bytes = shared([2, 0, 0, 0, 0, Math.max(0, destination), 2, 0, 0, 0, 0, Math.max(0, source)]);
  p.mac_destination = destination < 0 ? -1 : 0;
  p.mac_source = source < 0 ? -1 : 6;
  p.ethertype = ethertype;
  return p;
}

// ── streams ──

/** What came out of a stream: bytes, and the sizes of gaps, in order. */
export class StreamRecorder implements StreamSink {
  readonly parts: [(number[] | number)[], (number[] | number)[]] = [[], []];

  data(_state: FlowState, direction: 0 | 1, bytes: Uint8Array, start: number, end: number): void {
    this.parts[direction].push([...bytes.subarray(start, end)]);
  }
  gap(_state: FlowState, direction: 0 | 1, size: number): void {
    this.parts[direction].push(size);
  }

  /** All bytes of a direction; a lost one is -1. */
  bytes(direction: 0 | 1 = 0): number[] {
    return this.parts[direction].flatMap((part) => (typeof part === 'number' ? new Array<number>(part).fill(-1) : part));
  }
  text(direction: 0 | 1 = 0): string {
    return this.parts[direction].map((part) => (typeof part === 'number' ? `<${part}>` : String.fromCharCode(...part))).join('');
  }
  gaps(direction: 0 | 1 = 0): number[] {
    return this.parts[direction].filter((part) => typeof part === 'number');
  }
}

export const text = (value: string): Uint8Array => Uint8Array.from(Buffer.from(value, 'latin1'));

/** Flow table and TCP order together, as the shard drives them. */
export class TcpBench<Sink extends StreamSink = StreamRecorder> {
  readonly table: FlowTable;
  readonly order: TcpOrder;
  readonly sink: Sink;
  frame = 0;
  time_ms = START_MS;

  constructor(sink: Sink, limits: Partial<FlowLimits> = {}) {
    this.sink = sink;
    this.table = new FlowTable((_, port) => port === 502 || port === LP_PORT, { max_flows: 16, ...limits });
    this.order = new TcpOrder(this.table, sink);
    this.table.onEnd = (slot) => {
      const state = this.table.states[slot];
      if (state !== undefined) this.order.finish(slot, state);
    };
  }

  receive(p: Packet): void {
    const { table } = this;
    table.find(p);
    const { slot, direction } = table;
    table.last_ms[slot] = p.time_ms;
    let state = table.states[slot];
    if (state === undefined && p.payload_end - p.payload + p.payload_missing > 0) {
      state = new FlowState();
      state.opener_port = table.port(slot, 0);
      state.responder_port = table.port(slot, 1);
      state.is_stream = true;
      state.from_start = (table.flags[slot] & FROM_START) !== 0;
      table.states[slot] = state;
    }
    this.order.receive(slot, direction, p, state);
  }

  /** From 1:40000 to 2:502 (direction 0) or back. */
  send(direction: 0 | 1, fields: PacketFields = {}): void {
    const ends =
      direction === 0
        ? { source: 1, destination: 2, source_port: 40_000, destination_port: 502 }
        : { source: 2, destination: 1, source_port: 502, destination_port: 40_000 };
    this.receive(packet({ ...ends, frame: ++this.frame, time_ms: this.time_ms, ...fields }));
  }

  get state(): FlowState {
    const state = this.table.states[this.table.slot];
    if (state === undefined) throw new Error('no payload yet');
    return state;
  }
  finish(): void {
    this.table.forEach((slot) => {
      const state = this.table.states[slot];
      if (state !== undefined) this.order.finish(slot, state);
    });
  }
  /** Bytes held back in all flows, by what the flows hold. */
  get held(): number {
    let sum = 0;
    this.table.forEach((slot) => {
      const state = this.table.states[slot];
      for (const { held } of state ? [state.stream(0), state.stream(1)] : []) for (const { bytes } of held) sum += bytes.length;
    });
    return sum;
  }
}

// ── a protocol of our own ──

export const LP_PORT = 7777;
export const WEAK_PORT = 8888;

const Lp = record('lp', 'Length-prefixed message', {
  kind: u8(null, 'what it is'),
  number: u8(null, 'which it is'),
  size: u16(null, 'its size'),
});

export const LP_HEADER = 6;
export const LP_MAX = 512;
export const Kind = { request: 1, response: 2, poison: 0xee } as const;

/** Magic a5 5a, size of the whole (u16), kind, number, data. `Kind.poison` makes the dissector throw, as a defect of ours would. */
export const lp = defineDissector({
  name: 'lp',
  title: 'Length-prefixed protocol of the tests',
  specification: 'this file',
  carriers: [...tcp(LP_PORT), ...udp(LP_PORT)],
  records: [Lp],
  anomalies: { odd: 'the number is odd' },
  framing: { headerSize: LP_HEADER, maxSize: LP_MAX, sizeOf: (r: Reader) => r.peekU16(2) || -1 },
  probe: (r: Reader) => {
    if (r.remaining < LP_HEADER || r.peekU16(0) !== 0xa55a) return Match.no;
    const kind = r.peekU8(4);
    return kind === Kind.request || kind === Kind.response || kind === Kind.poison ? Match.certain : Match.no;
  },
  newState: () => null,
  dissect(r, emit) {
    const row = emit(Lp);
    r.skip(2);
    row.size = r.u16();
    row.kind = r.u8();
    row.number = r.u8();
    if (row.kind === Kind.poison) throw new Error('poison');
    r.skip(r.remaining);
  },
});

const Weak = record('weak', 'Message without magic', { size: u16(null, 'its size') });

/** Size of the whole (u16), 0x77, data: nothing that could be told from other protocols. */
export const weak = defineDissector({
  name: 'weak',
  title: 'Protocol of the tests without a sure sign',
  specification: 'this file',
  carriers: [...tcp(WEAK_PORT), ...udp(WEAK_PORT)],
  records: [Weak],
  anomalies: {},
  framing: { headerSize: 3, maxSize: 100, sizeOf: (r: Reader) => r.peekU16(0) || -1 },
  probe: (r: Reader) => (r.remaining >= 3 && r.peekU8(2) === 0x77 ? Match.possible : Match.no),
  newState: () => null,
  dissect(r, emit) {
    emit(Weak).size = r.u16();
    r.skip(r.remaining);
  },
});

export const testDissectors: AnyDissector[] = [lp, weak];

/** A PDU of `lp`, `size` bytes. The data cannot be taken for a header. */
export function lpPdu(number: number, size = 12, kind: number = Kind.request): Uint8Array {
  const pdu = new Uint8Array(size).fill(number & 0x7f);
  pdu.set([0xa5, 0x5a, size >> 8, size & 0xff, kind, number]);
  return pdu;
}

export function weakPdu(size: number): Uint8Array {
  const pdu = new Uint8Array(size).fill(1);
  pdu.set([size >> 8, size & 0xff, 0x77]);
  return pdu;
}

export function joined(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

export interface SeenPdu {
  direction: 0 | 1;
  dissector: number;
  bytes: number[];
  complete: boolean;
  gap_before: boolean;
}

export class PduRecorder implements PduSink {
  readonly pdus: SeenPdu[] = [];
  unrecognised_count = 0;
  /** Called for each PDU; for a dissector that throws. */
  onPdu: (state: FlowState) => void = () => {};

  pdu(state: FlowState, direction: 0 | 1, r: Reader, complete: boolean): void {
    const bytes = [...r.bytes.subarray(r.position, r.end)];
    this.pdus.push({ direction, dissector: state.dissector, bytes, complete, gap_before: state.gap_before });
    this.onPdu(state);
  }
  unrecognised(): void {
    this.unrecognised_count++;
  }

  /** PDUs of `lp` by their number, a cut one with its size: "1 2 3/7". */
  get numbers(): string {
    return this.pdus.map(({ bytes, complete }) => (complete ? `${bytes[5]}` : `${bytes[5]}/${bytes.length}`)).join(' ');
  }
}

/** A framer and one flow, fed by hand. */
export class FramerBench {
  readonly sink = new PduRecorder();
  readonly registry = new Registry(testDissectors);
  readonly framer = new Framer(this.registry, this.sink);
  readonly state = new FlowState();

  constructor(port = LP_PORT, is_stream = true, from_start = true) {
    this.state.opener_port = 40_000;
    this.state.responder_port = port;
    this.state.is_stream = is_stream;
    this.state.from_start = from_start;
  }

  /** A segment, with other bytes around it. */
  data(bytes: Uint8Array, direction: 0 | 1 = 0): void {
    const around = shared([0xa5, 0x5a, 0, ...bytes, 0xa5, 0x5a, 0]);
    this.framer.data(this.state, direction, around, 3, 3 + bytes.length);
  }
  gap(size: number, direction: 0 | 1 = 0): void {
    this.framer.gap(this.state, direction, size);
  }
  datagram(bytes: Uint8Array, missing = 0, direction: 0 | 1 = 0): void {
    const around = shared([0xa5, 0x5a, 0, ...bytes, 0xa5, 0x5a, 0]);
    this.framer.datagram(this.state, direction, around, 3, 3 + bytes.length, missing);
  }
  finish(): void {
    this.framer.finish(this.state);
  }
  get numbers(): string {
    return this.sink.numbers;
  }
  get protocol(): string {
    return this.registry.dissectors[this.state.dissector]?.name ?? '';
  }
}
