/** For tests of capture files: builds files of every variant and reads them through, holding every batch to its contract. */
import {
  BatchWriter,
  CAPTURED,
  INTERFACE,
  MAX_BATCH_BYTES,
  MAX_BATCH_PACKETS,
  OFFSET,
  PacketRing,
  POSITION,
  WIRE,
} from './batch.ts';
import type { ByteInput } from './byte-input.ts';
import { type OpenOptions, openCaptureInput } from './file-source.ts';
import type { PacketSource, SourceWarning } from './source.ts';

/** Bytes in memory, read like a regular file. */
export class MemoryInput implements ByteInput {
  bytes_read = 0;
  readonly bytes_total: number;
  readonly fault = null;
  private readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.bytes_total = bytes.length;
  }

  read(target: Buffer, start: number, end: number): number {
    const n = this.bytes.copy(target, start, this.bytes_read, Math.min(this.bytes.length, this.bytes_read + end - start));
    this.bytes_read += n;
    return n;
  }
  rewind(): boolean {
    this.bytes_read = 0;
    return true;
  }
  close(): void {}
}

export interface ReadPacket {
  frame: number;
  seconds: number;
  nanoseconds: number;
  wire: number;
  interface_: number;
  link_type: number;
  position: number;
  /** The captured bytes as hexadecimal digits. */
  data: string;
}

export interface ReadCapture {
  packets: ReadPacket[];
  batches: number;
  warnings: SourceWarning[];
  /** What `fill` threw after the packets. */
  error: unknown;
}

let ring: PacketRing | null = null;

/** Reads a source to its end. Throws where a batch breaks its contract. */
export async function readThrough(source: PacketSource): Promise<ReadCapture> {
  ring ??= new PacketRing();
  const batch = new BatchWriter(ring);
  const { index } = ring;
  const read: ReadCapture = { packets: [], batches: 0, warnings: source.warnings, error: null };
  for (;;) {
    let used: number | null;
    try {
      used = await source.fill(batch);
    } catch (error) {
      read.error = error;
      return read;
    }
    if (used === null) return read;
    if (batch.count === 0 || batch.count > MAX_BATCH_PACKETS) throw new Error(`a batch of ${batch.count} packets`);
    if (used > MAX_BATCH_BYTES) throw new Error(`a batch of ${used} bytes`);
    let end = batch.start;
    for (let i = 0; i < batch.count; i++) {
      const frame = batch.first_frame + i;
      const entry = ring.entry(frame);
      const offset = index[entry + OFFSET];
      if (offset < end) throw new Error(`frame ${frame} overlaps the one before it`);
      end = offset + index[entry + CAPTURED];
      read.packets.push({
        frame,
        seconds: ring.seconds(entry),
        nanoseconds: ring.nanoseconds(entry),
        wire: index[entry + WIRE],
        interface_: index[entry + INTERFACE] >>> 16,
        link_type: index[entry + INTERFACE] & 0xffff,
        position: index[entry + POSITION],
        data: batch.buffer.toString('hex', offset, end),
      });
    }
    if (end > batch.start + used) throw new Error('packets beyond the bytes used');
    read.batches++;
    batch.next(used);
  }
}

/** Opens and reads bytes as if they were a file; CaptureFileError of opening is `error` too. */
export async function readBytes(bytes: Buffer, options: OpenOptions = {}): Promise<ReadCapture> {
  try {
    return await readThrough(await openCaptureInput(new MemoryInput(bytes), 'test', options));
  } catch (error) {
    if (!(error instanceof Error) || error.name !== 'CaptureFileError') throw error;
    return { packets: [], batches: 0, warnings: [], error };
  }
}

/** `count` bytes that differ from packet to packet. */
export function payload(count: number, seed = 0): Buffer {
  return Buffer.from(Uint8Array.from({ length: count }, (_, i) => (i * 7 + seed * 13 + 1) & 0xff));
}

/** Numbers of `bits` bits in one byte order, in a row. */
export function packed(little: boolean, ...fields: readonly (readonly [bits: 8 | 16 | 32, value: number])[]): Buffer {
  return Buffer.concat(
    fields.map(([bits, value]) => {
      const field = Buffer.alloc(bits / 8);
      if (little) field.writeUIntLE(value, 0, bits / 8);
      else field.writeUIntBE(value, 0, bits / 8);
      return field;
    }),
  );
}

export interface TestRecord {
  seconds: number;
  fraction: number;
  data: Buffer;
  captured?: number;
  wire?: number;
}

export interface PcapVariant {
  little: boolean;
  magic: number;
  version?: [number, number];
  link_type?: number;
  snap_length?: number;
  /** Between file header and first record. */
  extra?: Buffer;
  /** Between record header and packet. */
  record_extra?: Buffer;
  wire_first?: boolean;
}

export function pcapFile(variant: PcapVariant, records: readonly TestRecord[]): Buffer {
  const { little, version = [2, 4] } = variant;
  const header = packed(little, [32, variant.magic], [16, version[0]], [16, version[1]], [32, 0], [32, 0]);
  const parts = [
    header,
    packed(little, [32, variant.snap_length ?? 65535], [32, variant.link_type ?? 1]),
    variant.extra ?? Buffer.alloc(0),
  ];
  for (const { seconds, fraction, data, captured = data.length, wire = data.length } of records) {
    const [first, second] = variant.wire_first ? [wire, captured] : [captured, wire];
    parts.push(
      packed(little, [32, seconds], [32, fraction], [32, first], [32, second]),
      variant.record_extra ?? Buffer.alloc(0),
      data,
    );
  }
  return Buffer.concat(parts);
}

/** A pcapng block, padded; `total` and `trailer` to lie about its length. */
export function block(
  little: boolean,
  type: number,
  body: Buffer,
  total = 12 + Math.ceil(body.length / 4) * 4,
  trailer = total,
): Buffer {
  return Buffer.concat([
    packed(little, [32, type], [32, total]),
    body,
    Buffer.alloc(-body.length & 3),
    packed(little, [32, trailer]),
  ]);
}

export function option(little: boolean, code: number, value: Buffer): Buffer {
  return Buffer.concat([packed(little, [16, code], [16, value.length]), value, Buffer.alloc(-value.length & 3)]);
}

export function sectionHeader(little: boolean, version: [number, number] = [1, 0]): Buffer {
  const fields = packed(little, [32, 0x1a2b3c4d], [16, version[0]], [16, version[1]], [32, 0xffff_ffff], [32, 0xffff_ffff]);
  return block(little, 0x0a0d0d0a, fields);
}

export function interfaceDescription(little: boolean, link_type = 1, snap_length = 0, options: Buffer = Buffer.alloc(0)): Buffer {
  return block(little, 1, Buffer.concat([packed(little, [16, link_type], [16, 0], [32, snap_length]), options]));
}

export interface TestPacket {
  interface_?: number;
  stamp?: bigint;
  data: Buffer;
  captured?: number;
  wire?: number;
  options?: Buffer;
}

export function enhancedPacket(little: boolean, packet: TestPacket): Buffer {
  return packetBlock(little, 6, packed(little, [32, packet.interface_ ?? 0]), packet);
}

export function obsoletePacket(little: boolean, packet: TestPacket): Buffer {
  return packetBlock(little, 2, packed(little, [16, packet.interface_ ?? 0], [16, 0xffff]), packet);
}

function packetBlock(little: boolean, type: number, start: Buffer, packet: TestPacket): Buffer {
  const { data, stamp = 1_700_000_000_123_456n, captured = data.length, wire = data.length, options = Buffer.alloc(0) } = packet;
  const fixed = packed(little, [32, Number(stamp >> 32n)], [32, Number(stamp & 0xffff_ffffn)], [32, captured], [32, wire]);
  return block(little, type, Buffer.concat([start, fixed, data, Buffer.alloc(-data.length & 3), options]));
}

export function simplePacket(little: boolean, data: Buffer, wire = data.length): Buffer {
  return block(little, 3, Buffer.concat([packed(little, [32, wire]), data]));
}
