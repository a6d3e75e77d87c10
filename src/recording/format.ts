/**
 * A file of a recording is pcapng (draft-ietf-opsawg-pcapng) of one section, little-endian, that every tool reads:
 *
 *   ┌─────────┬───────────┬───────────────┬───────────┬┄┄┬───────────────┬───────┐
 *   │ section │ interface │ packet, packet … (a block of │ interface │ packet, packet … │ index │
 *   │ header  │ descr.    │ some 256 KiB is written      │ descr.    │                  │       │
 *   └─────────┴───────────┴───────────────┴───────────┴┄┄┴───────────────┴───────┘
 *
 * The index is the last block, of a type for local use, which others pass over. It goes with its file: there is nothing that could
 * go astray. A file that has none is being written or was cut off, and is read as a whole.
 */
import { MAX_PACKET_BYTES } from '../capture/batch.ts';

export const SECTION_HEADER = 0x0a0d0d0a;
export const INTERFACE_DESCRIPTION = 1;
export const ENHANCED_PACKET = 6;
/** The upper bit: for local use (clause 11.1). */
export const INDEX = 0x8000_4f54;
/** Bytes of an enhanced packet block before its packet, and with the length behind it. */
export const PACKET_HEADER_BYTES = 28;
export const PACKET_AROUND_BYTES = 32;
/** As much is collected before it is written. */
export const BLOCK_BYTES = 256 << 10;
/** What the largest packet needs, with what must come before it. */
export const MAX_BLOCK_BYTES = 320 << 10;
/** No interface description is longer. */
export const MAX_DESCRIPTION_BYTES = 160;

const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const MAX_NAME_BYTES = 64;
const OPTION_COMMENT = 1;
const OPTION_IF_NAME = 2;
const OPTION_IF_DESCRIPTION = 3;
const OPTION_USER_APPLICATION = 4;
const OPTION_TSRESOL = 9;

export type RecordingMode = 'all' | 'ot';

/** An interface of a file. Its number in pcapng is its place; `number` is the one it was captured under. */
export interface RecordedInterface {
  number: number;
  link_type: number;
  name: string;
}

/** What is written at a time: packets that lie together, and which pairs they are of. */
export interface IndexedBlock {
  offset: number;
  length: number;
  packets: number;
  first_seconds: number;
  first_nanoseconds: number;
  last_seconds: number;
  last_nanoseconds: number;
  /** Packets that should have been recorded since the block before, and were not. */
  missed: number;
  /** Pairs as tag.ts has them; null where they are not known: any. */
  tags: Uint32Array | null;
}

export interface FileIndex {
  capture_id: number;
  mode: RecordingMode;
  interfaces: RecordedInterface[];
  blocks: IndexedBlock[];
  /** Packets missed behind the last block. */
  missed_after: number;
}

/** What the index begins with: enough to know whether the rest is of interest. */
export interface FileSummary {
  capture_id: number;
  mode: RecordingMode;
  packets: number;
  missed: number;
  first_seconds: number;
  first_nanoseconds: number;
  last_seconds: number;
  last_nanoseconds: number;
}

export function summaryOf({ capture_id, mode, blocks, missed_after }: FileIndex): FileSummary {
  const summary: FileSummary = {
    capture_id,
    mode,
    packets: 0,
    missed: missed_after,
    first_seconds: 0,
    first_nanoseconds: 0,
    last_seconds: 0,
    last_nanoseconds: 0,
  };
  for (const [i, one] of blocks.entries()) {
    summary.packets += one.packets;
    summary.missed += one.missed;
    const { first_seconds: s, first_nanoseconds: ns } = one;
    if (i === 0 || s < summary.first_seconds || (s === summary.first_seconds && ns < summary.first_nanoseconds)) {
      summary.first_seconds = s;
      summary.first_nanoseconds = ns;
    }
    const { last_seconds: z, last_nanoseconds: zs } = one;
    if (z > summary.last_seconds || (z === summary.last_seconds && zs > summary.last_nanoseconds)) {
      summary.last_seconds = z;
      summary.last_nanoseconds = zs;
    }
  }
  return summary;
}

// ── names ──

const NAME = /^ot-(\d{10})-(\d{8}T\d{6})Z\.pcapng$/;

/** `ot-NUMBER-TIME.pcapng`: numbers go up, so that names sort in the order of recording. The time is that of its first packet. */
export function fileName(sequence: number, seconds: number): string {
  const time = new Date(seconds * 1000).toISOString().replace(/[-:]|\.\d+Z$/g, '');
  return `ot-${String(sequence).padStart(10, '0')}-${time}Z.pcapng`;
}

/** The number of a file of ours; -1 for any other name. */
export const sequenceOf = (name: string): number => Number(NAME.exec(name)?.[1] ?? -1);

// ── writing ──

export function sectionHeader(capture_id: number, mode: RecordingMode): Buffer {
  return section([option(OPTION_COMMENT, Buffer.from(`capture ${capture_id}, ${mode}`))]);
}

/** Of a file that is no part of a recording. */
export const plainSectionHeader = (): Buffer => section([]);

function section(options: readonly Buffer[]): Buffer {
  const body = Buffer.alloc(16);
  body.writeUInt32LE(BYTE_ORDER_MAGIC, 0);
  body.writeUInt16LE(1, 4);
  body.fill(0xff, 8);
  const application = option(OPTION_USER_APPLICATION, Buffer.from('ot-sensor'));
  return block(SECTION_HEADER, [body, application, ...options, END_OF_OPTIONS]);
}

export function interfaceDescription({ number, link_type, name }: RecordedInterface): Buffer {
  const body = Buffer.alloc(8);
  body.writeUInt16LE(link_type, 0);
  body.writeUInt32LE(MAX_PACKET_BYTES, 4);
  return block(INTERFACE_DESCRIPTION, [
    body,
    ...(name === '' ? [] : [option(OPTION_IF_NAME, nameBytes(name))]),
    option(OPTION_IF_DESCRIPTION, Buffer.from(`interface ${number}`)),
    option(OPTION_TSRESOL, Buffer.from([9])),
    END_OF_OPTIONS,
  ]);
}

const nameBytes = (name: string): Buffer => Buffer.from(name).subarray(0, MAX_NAME_BYTES);

const END_OF_OPTIONS = Buffer.alloc(4);

function option(code: number, value: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16LE(code, 0);
  head.writeUInt16LE(value.length, 2);
  return Buffer.concat([head, value, Buffer.alloc(-value.length & 3)]);
}

function block(type: number, parts: readonly Buffer[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const total = 12 + length + (-length & 3);
  const head = Buffer.alloc(8);
  head.writeUInt32LE(type, 0);
  head.writeUInt32LE(total, 4);
  const tail = Buffer.alloc((-length & 3) + 4);
  tail.writeUInt32LE(total, tail.length - 4);
  return Buffer.concat([head, ...parts, tail]);
}

/** Nanoseconds since the epoch as two words: high at [0], low at [1]. Seconds below 2^34. */
export function stampWords(words: Uint32Array, seconds: number, nanoseconds: number): void {
  // In steps of 16 bits, so that every intermediate value is below 2^53.
  const upper = Math.floor(seconds / 0x1_0000) * 1e9;
  const upper_high = Math.floor(upper / 0x1_0000);
  const low = (upper - upper_high * 0x1_0000) * 0x1_0000 + (seconds % 0x1_0000) * 1e9 + nanoseconds;
  words[0] = upper_high + Math.floor(low / 0x1_0000_0000);
  words[1] = low % 0x1_0000_0000;
}

/** Seconds and nanoseconds of a stamp of two words, into [0] and [1]. */
export function fromStampWords(time: Float64Array, high: number, low: number): void {
  // Long division in steps of 32, 16 and 16 bits.
  const first = Math.floor(high / 1e9);
  const second_dividend = (high - first * 1e9) * 0x1_0000 + (low >>> 16);
  const second = Math.floor(second_dividend / 1e9);
  const third_dividend = (second_dividend - second * 1e9) * 0x1_0000 + (low & 0xffff);
  const third = Math.floor(third_dividend / 1e9);
  time[0] = first * 0x1_0000_0000 + second * 0x1_0000 + third;
  time[1] = third_dividend - third * 1e9;
}

// ── the index ──

const INDEX_MAGIC = 0x5854_534f;
const INDEX_VERSION = 1;
/** Of the index: type, length, and what `decodeSummary` reads. */
export const SUMMARY_BYTES = 60;
const INDEX_FIXED_BYTES = SUMMARY_BYTES + 4 * 4;
const INDEXED_BLOCK_BYTES = 4 * 8 + 8 * 2;
const ANY = 0xffff_ffff;

/** Bytes that the index takes at most. */
export const indexBytes = (blocks: number, interfaces: number, tags: number): number =>
  INDEX_FIXED_BYTES + blocks * INDEXED_BLOCK_BYTES + interfaces * (8 + MAX_NAME_BYTES) + tags * 4;

export function encodeIndex(file: FileIndex): Buffer {
  const { interfaces, blocks, missed_after } = file;
  const summary = summaryOf(file);
  const names = interfaces.map(({ name }) => nameBytes(name));
  const tags = blocks.reduce((sum, { tags }) => sum + (tags?.length ?? 0), 0);
  const body = Buffer.alloc(indexBytes(blocks.length, interfaces.length, tags));
  let at = 0;
  const word = (value: number) => {
    at = body.writeUInt32LE(value >>> 0, at);
  };
  const double = (value: number) => {
    at = body.writeDoubleLE(value, at);
  };
  word(INDEX_MAGIC);
  word(INDEX_VERSION);
  word(summary.capture_id);
  word(summary.mode === 'ot' ? 1 : 0);
  word(summary.packets);
  double(summary.missed);
  double(summary.first_seconds);
  word(summary.first_nanoseconds);
  double(summary.last_seconds);
  word(summary.last_nanoseconds);
  word(Math.min(missed_after, ANY));
  word(interfaces.length);
  for (const [i, { number, link_type }] of interfaces.entries()) {
    word((number << 16) | link_type);
    word(names[i].length);
    at += names[i].copy(body, at);
    at += -names[i].length & 3;
  }
  word(blocks.length);
  for (const one of blocks) {
    word(one.offset);
    word(one.length);
    word(one.packets);
    double(one.first_seconds);
    word(one.first_nanoseconds);
    double(one.last_seconds);
    word(one.last_nanoseconds);
    word(Math.min(one.missed, ANY));
    word(one.tags === null ? ANY : one.tags.length);
    for (const tag of one.tags ?? []) word(tag);
  }
  body.writeUInt32LE(checksum(body.subarray(0, at)), at);
  return block(INDEX, [body.subarray(0, at + 4)]);
}

/** Of whole words (FNV-1a, a word at a time): tells a damaged index from one that is whole. */
function checksum(bytes: Buffer): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < bytes.length; at += 4) hash = Math.imul(hash ^ bytes.readInt32LE(at), 0x01000193);
  return hash >>> 0;
}

/** The start of the index, from the SUMMARY_BYTES first bytes of its block; null where it is none, or none of ours. */
export function decodeSummary(bytes: Buffer): FileSummary | null {
  if (bytes.length < SUMMARY_BYTES || bytes.readUInt32LE(0) !== INDEX) return null;
  if (bytes.readUInt32LE(8) !== INDEX_MAGIC || bytes.readUInt32LE(12) !== INDEX_VERSION) return null;
  return {
    capture_id: bytes.readUInt32LE(16),
    mode: bytes.readUInt32LE(20) === 1 ? 'ot' : 'all',
    packets: bytes.readUInt32LE(24),
    missed: bytes.readDoubleLE(28),
    first_seconds: bytes.readDoubleLE(36),
    first_nanoseconds: bytes.readUInt32LE(44),
    last_seconds: bytes.readDoubleLE(48),
    last_nanoseconds: bytes.readUInt32LE(56),
  };
}

/** The index in the block `bytes`; null where it is none, or damaged. Packets lie within the file's first `size` bytes. */
export function decodeIndex(bytes: Buffer, size: number): FileIndex | null {
  const summary = decodeSummary(bytes);
  if (summary === null) return null;
  const end = bytes.length - 8;
  if ((end & 3) !== 0 || bytes.readUInt32LE(end) !== checksum(bytes.subarray(8, end))) return null;
  let at = SUMMARY_BYTES;
  let broken = false;
  const word = (): number => {
    if (at + 4 > end) {
      broken = true;
      return 0;
    }
    at += 4;
    return bytes.readUInt32LE(at - 4);
  };
  const double = (): number => {
    if (at + 8 > end) {
      broken = true;
      return 0;
    }
    at += 8;
    return bytes.readDoubleLE(at - 8);
  };
  const index: FileIndex = {
    capture_id: summary.capture_id,
    mode: summary.mode,
    missed_after: word(),
    interfaces: [],
    blocks: [],
  };
  for (let left = word(); left > 0 && !broken; left--) {
    const interface_ = word();
    const length = word();
    if (length > MAX_NAME_BYTES || at + length > end) return null;
    const name = bytes.toString('utf8', at, at + length);
    at += (length + 3) & ~3;
    index.interfaces.push({ number: interface_ >>> 16, link_type: interface_ & 0xffff, name });
  }
  for (let left = word(); left > 0 && !broken; left--) {
    const one: IndexedBlock = {
      offset: word(),
      length: word(),
      packets: word(),
      first_seconds: double(),
      first_nanoseconds: word(),
      last_seconds: double(),
      last_nanoseconds: word(),
      missed: word(),
      tags: null,
    };
    const tags = word();
    if (one.length > MAX_BLOCK_BYTES || one.offset + one.length > size) return null;
    if (tags !== ANY) {
      if (at + tags * 4 > end) return null;
      one.tags = new Uint32Array(tags);
      for (let i = 0; i < tags; i++) one.tags[i] = word();
    }
    index.blocks.push(one);
  }
  return broken ? null : index;
}

// ── reading ──

/** Length of the block at `at`; 0 where it is not there as a whole, or is none. */
export function blockLength(view: DataView, at: number, end: number): number {
  if (at + 12 > end) return 0;
  const total = view.getUint32(at + 4, true);
  if (total < 12 || (total & 3) !== 0 || at + total > end || view.getUint32(at + total - 4, true) !== total) return 0;
  const type = view.getUint32(at, true);
  if (type !== ENHANCED_PACKET) return total;
  if (total < PACKET_AROUND_BYTES) return 0;
  const captured = view.getUint32(at + 20, true);
  return captured <= MAX_PACKET_BYTES && PACKET_AROUND_BYTES + captured + (-captured & 3) === total ? total : 0;
}

/** Is this the section header of a file of ours? Its capture and mode. */
export function readSectionHeader(bytes: Buffer, at: number, length: number): { capture_id: number; mode: RecordingMode } | null {
  if (bytes.readUInt32LE(at) !== SECTION_HEADER || length < 28 || bytes.readUInt32LE(at + 8) !== BYTE_ORDER_MAGIC) return null;
  const said = /^capture (\d+), (all|ot)$/.exec(optionsOf(bytes, at + 24, at + length - 4).get(OPTION_COMMENT) ?? '');
  return said === null ? null : { capture_id: Number(said[1]), mode: said[2] as RecordingMode };
}

/** The interface that the block at `at` describes. */
export function readInterface(bytes: Buffer, at: number, length: number): RecordedInterface | null {
  if (length < 20) return null;
  const options = optionsOf(bytes, at + 16, at + length - 4);
  const number = /^interface (\d+)$/.exec(options.get(OPTION_IF_DESCRIPTION) ?? '');
  if (number === null) return null;
  return { number: Number(number[1]), link_type: bytes.readUInt16LE(at + 8), name: options.get(OPTION_IF_NAME) ?? '' };
}

function optionsOf(bytes: Buffer, at: number, end: number): Map<number, string> {
  const options = new Map<number, string>();
  for (let p = at; p + 4 <= end; ) {
    const code = bytes.readUInt16LE(p);
    const length = bytes.readUInt16LE(p + 2);
    if (code === 0 || p + 4 + length > end) break;
    options.set(code, bytes.toString('utf8', p + 4, p + 4 + length));
    p += 4 + ((length + 3) & ~3);
  }
  return options;
}
