import fs from 'node:fs';
import { BatchWriter, CAPTURED, INTERFACE, OFFSET, PacketRing, WIRE } from '../capture/batch.ts';
import { Decoder } from '../decode/decode.ts';
import { type DecodedCode, Packet } from '../decode/packet.ts';
import {
  BLOCK_BYTES,
  blockLength,
  decodeIndex,
  decodeSummary,
  ENHANCED_PACKET,
  type FileIndex,
  type FileSummary,
  fromStampWords,
  INDEX,
  INTERFACE_DESCRIPTION,
  type IndexedBlock,
  MAX_BLOCK_BYTES,
  PACKET_HEADER_BYTES,
  type RecordedInterface,
  readInterface,
  readSectionHeader,
  SUMMARY_BYTES,
  summaryOf,
} from './format.ts';

/** Where the index lies, from the last word of the file; null where there is none. */
function indexAt(fd: number, size: number): { offset: number; length: number } | null {
  const word = Buffer.alloc(4);
  if (size < SUMMARY_BYTES || fs.readSync(fd, word, 0, 4, size - 4) < 4) return null;
  const length = word.readUInt32LE(0);
  return length >= SUMMARY_BYTES && length <= size ? { offset: size - length, length } : null;
}

function read(fd: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    const n = fs.readSync(fd, bytes, done, length - done, offset + done);
    if (n === 0) break;
    done += n;
  }
  return bytes.subarray(0, done);
}

/** What the index says of the file in short; null where there is no index. */
export function readSummary(fd: number, size: number): FileSummary | null {
  const at = indexAt(fd, size);
  return at && decodeSummary(read(fd, at.offset, SUMMARY_BYTES));
}

/** The index at the end of the file; null where there is none. */
export function readIndex(fd: number, size: number): FileIndex | null {
  const at = indexAt(fd, size);
  return at && decodeIndex(read(fd, at.offset, at.length), at.offset);
}

export interface ScannedFile {
  index: FileIndex;
  summary: FileSummary;
  /** Where the last block that is whole ends. */
  end: number;
}

const WINDOW_BYTES = 1 << 20;

/**
 * What a file without an index holds, as far as it is whole; pairs are not known. null: it is none of ours. An index that is there
 * ends it: what would come behind was not written by us.
 */
export function scan(fd: number, size: number): ScannedFile | null {
  const window = Buffer.alloc(WINDOW_BYTES);
  const view = new DataView(window.buffer, window.byteOffset, window.length);
  const time = new Float64Array(2);
  let index: FileIndex | null = null;
  let one: IndexedBlock | null = null;
  let offset = 0;
  for (;;) {
    const have = fs.readSync(fd, window, 0, Math.min(WINDOW_BYTES, size - offset), offset);
    let at = 0;
    for (let length = blockLength(view, at, have); length > 0; length = blockLength(view, at, have)) {
      const type = view.getUint32(at, true);
      if (index === null) {
        const said = readSectionHeader(window, at, length);
        if (said === null) return null;
        index = { ...said, interfaces: [], blocks: [], missed_after: 0 };
      } else if (type === INDEX) break;
      else if (type === INTERFACE_DESCRIPTION) {
        const described = readInterface(window, at, length);
        if (described === null) break;
        index.interfaces.push(described);
      } else if (type === ENHANCED_PACKET) {
        if (view.getUint32(at + 8, true) >= index.interfaces.length) break;
        fromStampWords(time, view.getUint32(at + 12, true), view.getUint32(at + 16, true));
      } else break;
      if (one === null || one.length + length > BLOCK_BYTES) {
        one = newBlock(offset + at);
        index.blocks.push(one);
      }
      one.length += length;
      if (type === ENHANCED_PACKET) extend(one, time);
      at += length;
    }
    if (at === 0) {
      if (index === null) return null;
      index.blocks = index.blocks.filter(({ packets }) => packets > 0);
      return { index, summary: summaryOf(index), end: offset };
    }
    offset += at;
  }
}

function newBlock(offset: number): IndexedBlock {
  return {
    offset,
    length: 0,
    packets: 0,
    first_seconds: 0,
    first_nanoseconds: 0,
    last_seconds: 0,
    last_nanoseconds: 0,
    missed: 0,
    tags: null,
  };
}

function extend(one: IndexedBlock, [seconds, nanoseconds]: Float64Array): void {
  if (
    one.packets === 0 ||
    seconds < one.first_seconds ||
    (seconds === one.first_seconds && nanoseconds < one.first_nanoseconds)
  ) {
    one.first_seconds = seconds;
    one.first_nanoseconds = nanoseconds;
  }
  if (one.packets === 0 || seconds > one.last_seconds || (seconds === one.last_seconds && nanoseconds > one.last_nanoseconds)) {
    one.last_seconds = seconds;
    one.last_nanoseconds = nanoseconds;
  }
  one.packets++;
}

/** Reads blocks into a ring of its own and decodes their packets, one after the other. */
export class BlockReader {
  readonly packet = new Packet();
  private readonly ring = new PacketRing();
  private readonly writer = new BatchWriter(this.ring);
  private readonly view = new DataView(this.ring.buffers.bytes);
  private readonly decoder = new Decoder(this.ring);
  private readonly time = new Float64Array(2);

  /**
   * Calls `visit` for each packet of the block, with its place among the file's interfaces and what decoding says; `packet` is
   * described by then. Gives false where the block is not what the index says.
   */
  read(
    fd: number,
    block: IndexedBlock,
    interfaces: readonly RecordedInterface[],
    visit: (frame: number, decoded: DecodedCode) => void,
  ): boolean {
    const { writer, view, time, ring, decoder, packet } = this;
    const { start } = writer;
    const length = Math.min(block.length, MAX_BLOCK_BYTES);
    let have = 0;
    while (have < length) {
      const n = fs.readSync(fd, writer.buffer, start + have, length - have, block.offset + have);
      if (n === 0) break;
      have += n;
    }
    const end = start + have;
    let at = start;
    for (let total = blockLength(view, at, end); total > 0 && !writer.full; total = blockLength(view, at, end)) {
      const id = view.getUint32(at + 8, true);
      if (view.getUint32(at, true) === ENHANCED_PACKET && id < interfaces.length) {
        fromStampWords(time, view.getUint32(at + 12, true), view.getUint32(at + 16, true));
        const captured = view.getUint32(at + 20, true);
        const wire = view.getUint32(at + 24, true);
        writer.add(at + PACKET_HEADER_BYTES, captured, wire, time[0], time[1], id, interfaces[id].link_type);
      }
      at += total;
    }
    const { first_frame, count } = writer.next(have);
    for (let frame = first_frame; frame < first_frame + count; frame++) visit(frame, decoder.decode(frame, packet));
    return count === block.packets && ring.remembers(first_frame, first_frame + count - 1);
  }

  /** Frames of the fragments that the packet at hand was put together from. */
  fragmentFrames(): Float64Array {
    const { fragmentFrames, fragmentFrameCount } = this.decoder.fragments;
    return fragmentFrames.subarray(0, fragmentFrameCount);
  }

  interfaceId(frame: number): number {
    return this.ring.index[this.ring.entry(frame) + INTERFACE] >>> 16;
  }
  seconds(frame: number): number {
    return this.ring.seconds(this.ring.entry(frame));
  }
  nanoseconds(frame: number): number {
    return this.ring.nanoseconds(this.ring.entry(frame));
  }
  wire(frame: number): number {
    return this.ring.index[this.ring.entry(frame) + WIRE];
  }
  /** A copy of its captured bytes. */
  bytes(frame: number): Buffer {
    const entry = this.ring.entry(frame);
    const offset = this.ring.index[entry + OFFSET];
    return Buffer.from(this.ring.bytes.slice(offset, offset + this.ring.index[entry + CAPTURED]));
  }
}
