/** For tests: the engine without threads, packets of the test's own making, and TCP conversations sent again in other segments. */
import { BatchWriter, CAPTURED, INTERFACE, MAX_BATCH_BYTES, OFFSET, PacketRing, WIRE } from '../capture/batch.ts';
import { CaptureFileError } from '../capture/errors.ts';
import { openCaptureFile, openCaptureInput } from '../capture/file-source.ts';
import type { PacketSource } from '../capture/source.ts';
import { MemoryInput } from '../capture/testing.ts';
import { Decoder } from '../decode/decode.ts';
import { Decoded, Packet } from '../decode/packet.ts';
import type { Reader } from '../dissect/reader.ts';
import type { Registry } from '../dissect/registry.ts';
import type { FlowState } from '../flow/flow-state.ts';
import { Shard, type ShardOptions } from './shard.ts';

/** A packet as a capture file holds it. */
export interface MemoryPacket {
  bytes: Uint8Array;
  /** Nanoseconds since the epoch. */
  time_ns: bigint;
  /** Length on the wire; the bytes' own where it is left out. */
  wire?: number;
  link_type?: number;
}

export const ETHERNET = 1;

/** What a run of the engine without threads has to say. */
export interface RunResult {
  packets: number;
  /** With output `records`: a line of JSON a record, in frame order. */
  lines: string[];
  /** With output `facts`: how many facts came out, and the bytes they are encoded in. */
  facts: number;
  fact_bytes: number;
  counters: Record<string, number>;
  /** Errors that dissectors threw, in words. */
  failures: string[];
  /** What stopped the reading of the file, in words; '' where nothing did. */
  error: string;
}

export interface RunOptions extends Partial<Omit<ShardOptions, 'shard' | 'shards'>> {
  /** Lines that are kept; the others are only counted in `counters`. */
  max_lines?: number;
  /** The shard to run; a subclass of Shard that looks on. */
  shard?: typeof Shard;
}

let sharedRing: PacketRing | null = null;
/** One ring for all runs of a test file: they come one after the other. */
const ring = (): PacketRing => {
  sharedRing ??= new PacketRing();
  return sharedRing;
};

/** Fewer than on an appliance: the columns of the flow table are made anew for every run. */
const FLOW_LIMITS = { max_flows: 1 << 12 };

function newShard(registry: Registry, options: RunOptions): Shard {
  const { max_lines: _, shard: Kind = Shard, ...rest } = options;
  return new Kind(ring().buffers, registry, {
    output: 'records',
    protocols: null,
    policy: null,
    flow_limits: FLOW_LIMITS,
    ...rest,
    shard: 0,
    shards: 1,
  });
}

/** Collects what a shard says batch by batch. */
class Run {
  readonly shard: Shard;
  readonly result: RunResult = { packets: 0, lines: [], facts: 0, fact_bytes: 0, counters: {}, failures: [], error: '' };
  private readonly max_lines: number;

  constructor(registry: Registry, options: RunOptions) {
    this.shard = newShard(registry, options);
    this.max_lines = options.max_lines ?? Number.POSITIVE_INFINITY;
  }

  batch(writer: BatchWriter, used: number): void {
    const range = writer.next(used);
    this.result.packets += range.count;
    this.shard.process(range);
    this.take();
  }

  end(): RunResult {
    const { shard, result } = this;
    shard.finish(Math.max(result.packets, 1));
    this.take();
    result.counters = shard.allCounters();
    result.failures = shard.failures.map(({ dissector, frame, error }) => `${dissector}, frame ${frame}: ${error}`);
    return result;
  }

  private take(): void {
    const { shard, result } = this;
    const { records } = shard;
    if (records === null) {
      result.facts += shard.facts.count;
      result.fact_bytes += shard.facts.encode(null).length;
      return;
    }
    if (result.lines.length < this.max_lines && records.count > 0) {
      const { bytes, position } = records.writer.out;
      const lines = Buffer.from(bytes.subarray(0, position)).toString().split('\n');
      lines.pop();
      for (const line of lines.slice(0, this.max_lines - result.lines.length)) result.lines.push(line);
    }
    records.reset();
  }
}

/** Runs a source through one shard in this thread. What a damaged file throws ends the packets and is `error`. */
export async function runSource(source: PacketSource, registry: Registry, options: RunOptions = {}): Promise<RunResult> {
  const writer = new BatchWriter(ring());
  const run = new Run(registry, options);
  try {
    for (;;) {
      const used = await source.fill(writer);
      if (used === null) break;
      run.batch(writer, used);
    }
  } catch (error) {
    if (!(error instanceof CaptureFileError)) throw error;
    run.result.error = error.message;
  } finally {
    source.close();
  }
  return run.end();
}

/** The same for a capture file. A file that cannot be opened has no packets and an `error`. */
export async function runFile(path: string, registry: Registry, options: RunOptions = {}): Promise<RunResult> {
  return runOpened(openCaptureFile(path), registry, options);
}

/** The same for the bytes of a capture file. */
export async function runBytes(bytes: Buffer, registry: Registry, options: RunOptions = {}): Promise<RunResult> {
  return runOpened(openCaptureInput(new MemoryInput(bytes), 'test'), registry, options);
}

async function runOpened(opening: Promise<PacketSource>, registry: Registry, options: RunOptions): Promise<RunResult> {
  let source: PacketSource;
  try {
    source = await opening;
  } catch (error) {
    if (!(error instanceof CaptureFileError)) throw error;
    return { packets: 0, lines: [], facts: 0, fact_bytes: 0, counters: {}, failures: [], error: error.message };
  }
  return runSource(source, registry, options);
}

/** Runs packets through one shard in this thread. */
export function runPackets(packets: Iterable<MemoryPacket>, registry: Registry, options: RunOptions = {}): RunResult {
  const writer = new BatchWriter(ring());
  const run = new Run(registry, options);
  let used = 0;
  for (const packet of packets) {
    if (writer.full || used + packet.bytes.length > MAX_BATCH_BYTES) {
      run.batch(writer, used);
      used = 0;
    }
    used = append(writer, used, packet);
  }
  if (writer.count > 0) run.batch(writer, used);
  return run.end();
}

function append(
  writer: BatchWriter,
  used: number,
  { bytes, time_ns, wire = bytes.length, link_type = ETHERNET }: MemoryPacket,
): number {
  const at = writer.start + used;
  writer.buffer.set(bytes, at);
  writer.add(at, bytes.length, wire, Number(time_ns / 1_000_000_000n), Number(time_ns % 1_000_000_000n), 0, link_type);
  return used + bytes.length;
}

/** The packets of a capture file, up to `limit`; of one that is no capture none, of a damaged one those before the damage. */
export async function readPackets(path: string, limit = Number.POSITIVE_INFINITY): Promise<MemoryPacket[]> {
  let source: PacketSource;
  try {
    source = await openCaptureFile(path);
  } catch (error) {
    if (!(error instanceof CaptureFileError)) throw error;
    return [];
  }
  const writer = new BatchWriter(ring());
  const packets: MemoryPacket[] = [];
  try {
    while (packets.length < limit) {
      const used = await source.fill(writer);
      if (used === null) break;
      const { index, bytes } = writer.ring;
      for (let i = 0; i < writer.count && packets.length < limit; i++) {
        const entry = writer.ring.entry(writer.first_frame + i);
        const offset = index[entry + OFFSET];
        packets.push({
          bytes: Uint8Array.from(bytes.subarray(offset, offset + index[entry + CAPTURED])),
          time_ns: BigInt(writer.ring.seconds(entry)) * 1_000_000_000n + BigInt(writer.ring.nanoseconds(entry)),
          wire: index[entry + WIRE],
          link_type: index[entry + INTERFACE] & 0xffff,
        });
      }
      writer.next(used);
    }
  } catch (error) {
    if (!(error instanceof CaptureFileError)) throw error;
  } finally {
    source.close();
  }
  return packets;
}

// ── PDUs as the engine cuts them ──

/** A PDU and where it was found. PDUs of one conversation carry the same `state`. */
export interface CutPdu {
  state: FlowState;
  dissector: number;
  direction: 0 | 1;
  bytes: Uint8Array;
  complete: boolean;
  frame: number;
  time_ms: number;
}

/** The PDUs of a capture, in the order in which they were completed. */
export function pdusOf(packets: Iterable<MemoryPacket>, registry: Registry): CutPdu[] {
  const pdus: CutPdu[] = [];
  class Watching extends Shard {
    override pdu(state: FlowState, direction: 0 | 1, r: Reader, complete: boolean): void {
      const bytes = Uint8Array.from(r.bytes.subarray(r.position, r.end));
      super.pdu(state, direction, r, complete);
      const { frame, time_ms } = state;
      pdus.push({ state, dissector: state.dissector, direction, bytes, complete, frame, time_ms });
    }
  }
  runPackets(packets, registry, { shard: Watching, max_lines: 0 });
  return pdus;
}

// ── TCP conversations ──

/** What one end of a TCP conversation sent in one segment. Direction 0 is the opener's. */
export interface Turn {
  direction: 0 | 1;
  bytes: Uint8Array;
  time_ns: bigint;
}

/** A TCP conversation with nothing lost, repeated or out of order: what was said, and by whom. */
export interface TcpScript {
  ports: [opener: number, responder: number];
  turns: Turn[];
}

/** The TCP conversations of a capture: segments that bring nothing new are left out, what comes after a hole is, too. */
export function tcpScripts(packets: readonly MemoryPacket[]): TcpScript[] {
  const decoder = new Decoder(ring());
  const writer = new BatchWriter(ring());
  const p = new Packet();
  const scripts = new Map<string, TcpScript & { next: (number | undefined)[]; key: string; broken: boolean }>();
  const all: TcpScript[] = [];
  let used = 0;
  for (const packet of packets) {
    if (writer.full || used + packet.bytes.length > MAX_BATCH_BYTES) {
      writer.next(used);
      used = 0;
    }
    const frame = writer.first_frame + writer.count;
    used = append(writer, used, packet);
    if (decoder.decode(frame, p) !== Decoded.ok || p.ip_protocol !== 6) continue;
    const from = `${p.source.join('.')}:${p.source_port}`;
    const to = `${p.destination.join('.')}:${p.destination_port}`;
    const key = from < to ? `${from}-${to}` : `${to}-${from}`;
    const opens = (p.tcp_flags & 0x12) === 2;
    let script = scripts.get(key);
    if (script === undefined || opens) {
      const answers = (p.tcp_flags & 0x12) === 0x12;
      const ports: [number, number] = answers ? [p.destination_port, p.source_port] : [p.source_port, p.destination_port];
      script = { ports, turns: [], next: [undefined, undefined], key: answers ? to : from, broken: false };
      scripts.set(key, script);
      all.push(script);
    }
    const direction = script.key === from ? 0 : 1;
    const syn = p.tcp_flags & 2;
    if (syn) script.next[direction] = (p.tcp_sequence + 1) >>> 0;
    const size = p.payload_end - p.payload;
    if (size <= 0) continue;
    script.next[direction] ??= p.tcp_sequence;
    const ahead = (p.tcp_sequence - script.next[direction]!) | 0;
    if (ahead > 0 || p.payload_missing > 0) script.broken = true;
    if (script.broken || ahead + size <= 0) continue;
    script.turns.push({
      direction,
      bytes: Uint8Array.from(p.bytes.subarray(p.payload - ahead, p.payload_end)),
      time_ns: packet.time_ns,
    });
    script.next[direction] = (p.tcp_sequence + size) >>> 0;
  }
  return all.filter(({ turns }) => turns.length > 0).map(({ ports, turns }) => ({ ports, turns }));
}

/** A segment of a conversation that is sent again. `sequence` counts the bytes of its direction from 0. */
export interface Segment extends Turn {
  sequence: number;
  /** Bytes of the other direction that had been sent before: what it acknowledges. */
  acknowledges: number;
}

/** The turns as segments, one each. */
export function segmentsOf(turns: readonly Turn[]): Segment[] {
  const sent = [0, 0];
  return turns.map((turn) => {
    const segment = { ...turn, sequence: sent[turn.direction], acknowledges: sent[1 - turn.direction] };
    sent[turn.direction] += turn.bytes.length;
    return segment;
  });
}

/** Each segment cut at the places that `cuts` gives for its size (ascending, exclusive of 0 and the size). */
export function recut(segments: readonly Segment[], cuts: (size: number) => Iterable<number>): Segment[] {
  return segments.flatMap((segment) => {
    const places = [0, ...cuts(segment.bytes.length), segment.bytes.length];
    return places
      .slice(1)
      .map((end, i) => ({ ...segment, bytes: segment.bytes.subarray(places[i], end), sequence: segment.sequence + places[i] }))
      .filter(({ bytes }) => bytes.length > 0);
  });
}

/** Up to `most` segments of one direction that follow each other as one. */
export function merged(segments: readonly Segment[], most: number): Segment[] {
  const result: Segment[] = [];
  let count = 0;
  for (const segment of segments) {
    const last = result.at(-1);
    // An IPv4 packet holds no more.
    if (last?.direction === segment.direction && count < most && last.bytes.length + segment.bytes.length <= 60_000) {
      last.bytes = Uint8Array.from([...last.bytes, ...segment.bytes]);
      count++;
    } else {
      result.push({ ...segment });
      count = 1;
    }
  }
  return result;
}

const HANDSHAKE_NS = 1000n;
const INITIAL = [0x0001_0000, 0x0100_0000] as const;
const SYN = 2;
const PSH_ACK = 0x18;

/** Packets that carry the segments, after a handshake, between 192.0.2.1 (the opener) and 192.0.2.2. */
export function tcpPackets({ ports }: Pick<TcpScript, 'ports'>, segments: readonly Segment[]): MemoryPacket[] {
  const first = segments[0]?.time_ns ?? 0n;
  const start = (direction: 0 | 1, flags: number, acknowledges: number, before: bigint): MemoryPacket => ({
    bytes: tcpFrame(ports, direction, flags, INITIAL[direction] - (flags & SYN ? 1 : 0), acknowledges, NO_BYTES),
    time_ns: first - before,
  });
  return [
    start(0, SYN, 0, 3n * HANDSHAKE_NS),
    start(1, SYN | 0x10, INITIAL[0], 2n * HANDSHAKE_NS),
    start(0, 0x10, INITIAL[1], HANDSHAKE_NS),
    ...segments.map(({ direction, sequence, acknowledges, bytes, time_ns }) => ({
      bytes: tcpFrame(ports, direction, PSH_ACK, INITIAL[direction] + sequence, INITIAL[1 - direction] + acknowledges, bytes),
      time_ns,
    })),
  ];
}

const NO_BYTES = new Uint8Array(0);
const ADDRESSES = ['c0000201', 'c0000202'];
const MACS = ['020000000001', '020000000002'];

/** An Ethernet frame with IPv4 and TCP; checksums are left 0, as on a machine that lets its network card compute them. */
function tcpFrame(
  ports: readonly [number, number],
  direction: 0 | 1,
  flags: number,
  sequence: number,
  acknowledges: number,
  payload: Uint8Array,
): Uint8Array {
  const frame = Buffer.alloc(54 + payload.length);
  frame.write(`${MACS[1 - direction]}${MACS[direction]}080045`, 'hex');
  frame.writeUInt16BE(40 + payload.length, 16);
  frame.writeUInt16BE(0x4000, 20);
  frame[22] = 64;
  frame[23] = 6;
  frame.write(`${ADDRESSES[direction]}${ADDRESSES[1 - direction]}`, 26, 'hex');
  frame.writeUInt16BE(ports[direction], 34);
  frame.writeUInt16BE(ports[1 - direction], 36);
  frame.writeUInt32BE(sequence >>> 0, 38);
  frame.writeUInt32BE(acknowledges >>> 0, 42);
  frame[46] = 0x50;
  frame[47] = flags;
  frame.writeUInt16BE(0xffff, 48);
  frame.set(payload, 54);
  return frame;
}

// ── numbers that look random ──

/** The same numbers below 2^32 for the same seed (xorshift32). */
export function pseudoRandom(seed: number): () => number {
  let x = Math.imul(seed + 1, 0x9e3779b1) >>> 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    x >>>= 0;
    return x;
  };
}
