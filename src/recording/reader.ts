import fs from 'node:fs';
import path from 'node:path';
import { Decoded } from '../decode/packet.ts';
import { BlockReader, readIndex, readSummary, scan } from './block-reader.ts';
import { listFiles } from './disk.ts';
import type { FileIndex, FileSummary, IndexedBlock, RecordedInterface } from './format.ts';
import { addressHash, hasEnd, macHash, pairTag } from './tag.ts';

/** An end of a conversation: an IP address of four words as `Packet` has them (IPv4: 0, 0, 0xffff, address), or a MAC address. */
export type End =
  | { kind: 'ip'; words: readonly [number, number, number, number] }
  | {
      kind: 'mac';
      high: number;
      low: number;
      /** Only packets without IP: those are in the index by their MAC addresses. */
      without_ip?: boolean;
    };

/** Packets from or to `a`, and where `b` is given only those between the two. */
export interface Ends {
  a: End;
  b: End | null;
}

export interface RecordingFilter {
  /** ms since the epoch; both are part of the period. */
  from_ms?: number;
  to_ms?: number;
  /** Any of these; null: whoever it is. */
  ends: readonly Ends[] | null;
  /** TCP or UDP port of either end. */
  port?: number;
}

export interface RecordedPacket {
  seconds: number;
  nanoseconds: number;
  wire: number;
  interface_: RecordedInterface;
  capture_id: number;
  bytes: Buffer;
}

/** A file of a recording as `list` shows it. */
export interface RecordingFile extends FileSummary {
  name: string;
  bytes: number;
  /** It has its index; one that has none is being written or was cut off. */
  complete: boolean;
}

/** What there is of a period. */
export interface Coverage {
  /** Time of the first and the last packet recorded in the files that reach into the period, ms; null: there is none. */
  first_ms: number | null;
  last_ms: number | null;
  /** Packets of the period that were to be recorded and were not. */
  missed: number;
  /** Between the last packet of a run of the sensor and the first of the next: nobody looked. */
  gaps: { from_ms: number; to_ms: number }[];
  /** Some of it holds OT conversations only. */
  ot_only: boolean;
}

const MAX_PENDING_BYTES = 256 << 20;
/** Fragments that are kept until they may turn out to belong to a packet that is wanted. */
const MAX_FRAGMENTS = 4096;

const ms = (seconds: number, nanoseconds: number): number => seconds * 1000 + nanoseconds / 1e6;
const firstMs = (one: FileSummary | IndexedBlock): number => ms(one.first_seconds, one.first_nanoseconds);
const lastMs = (one: FileSummary | IndexedBlock): number => ms(one.last_seconds, one.last_nanoseconds);

interface Opened {
  fd: number;
  size: number;
  file: RecordingFile;
}

/** Reads a recording, also one that is being written. A directory that is not there holds nothing. */
export class RecordingReader {
  readonly directory: string;
  readonly counters = {
    /** Blocks read and those that the index said need not be. */
    blocks_read: 0,
    blocks_passed_over: 0,
    /** Blocks that were not what the index says. */
    blocks_damaged: 0,
    /** Packets given out of their order, because the stamps of too many lay crosswise. */
    out_of_order: 0,
  };

  constructor(directory: string) {
    this.directory = directory;
  }

  /** All files, in the order of recording. */
  list(): RecordingFile[] {
    const files: RecordingFile[] = [];
    for (const { fd, file } of this.open()) {
      fs.closeSync(fd);
      if (file.packets > 0) files.push(file);
    }
    return files;
  }

  /** Opens file after file; the caller closes them. What has just been deleted, or is none of ours, is left out. */
  private *open(): Generator<Opened> {
    let names: string[];
    try {
      names = listFiles(this.directory).map(({ name }) => name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    for (const name of names) {
      let fd: number;
      try {
        fd = fs.openSync(path.join(this.directory, name), fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue;
        throw error;
      }
      const { size } = fs.fstatSync(fd);
      const known = readSummary(fd, size);
      const summary = known ?? scan(fd, size)?.summary;
      if (summary === undefined) fs.closeSync(fd);
      else yield { fd, size, file: { ...summary, name, bytes: size, complete: known !== null } };
    }
  }

  /** What there is of the filter's period, whoever the packets are of. */
  coverage({ from_ms = Number.NEGATIVE_INFINITY, to_ms = Number.POSITIVE_INFINITY }: RecordingFilter): Coverage {
    const coverage: Coverage = { first_ms: null, last_ms: null, missed: 0, gaps: [], ot_only: false };
    let before: RecordingFile | null = null;
    for (const { fd, size, file } of this.open()) {
      try {
        if (file.packets === 0) continue;
        const gap = { from_ms: before === null ? Number.POSITIVE_INFINITY : lastMs(before), to_ms: firstMs(file) };
        if (before?.capture_id !== file.capture_id && gap.from_ms < gap.to_ms && gap.from_ms <= to_ms && gap.to_ms >= from_ms)
          coverage.gaps.push(gap);
        before = file;
        if (lastMs(file) < from_ms || firstMs(file) > to_ms) continue;
        coverage.first_ms = Math.min(coverage.first_ms ?? Number.POSITIVE_INFINITY, firstMs(file));
        coverage.last_ms = Math.max(coverage.last_ms ?? Number.NEGATIVE_INFINITY, lastMs(file));
        coverage.ot_only ||= file.mode === 'ot';
        if (file.missed === 0) continue;
        const index = readIndex(fd, size);
        let since = firstMs(file);
        for (const block of index?.blocks ?? []) {
          if (since <= to_ms && lastMs(block) >= from_ms) coverage.missed += block.missed;
          since = lastMs(block);
        }
        if (index !== null && since <= to_ms) coverage.missed += index.missed_after;
      } finally {
        fs.closeSync(fd);
      }
    }
    return coverage;
  }

  /** The packets wanted, in the order of their time; those of the same time in the order of recording. */
  *packets(filter: RecordingFilter): Generator<RecordedPacket> {
    const { from_ms = Number.NEGATIVE_INFINITY, to_ms = Number.POSITIVE_INFINITY } = filter;
    const opened: Opened[] = [];
    try {
      for (const one of this.open()) {
        if (one.file.packets === 0 || lastMs(one.file) < from_ms || firstMs(one.file) > to_ms) fs.closeSync(one.fd);
        else opened.push(one);
      }
      // Files by their first packet: what lies crosswise in time waits no longer than it must.
      opened.sort((a, b) => firstMs(a.file) - firstMs(b.file));
      yield* new Search(filter, this.counters).run(opened);
    } finally {
      for (const { fd } of opened) fs.closeSync(fd);
    }
  }
}

class Search {
  private readonly filter: RecordingFilter;
  private readonly counters: RecordingReader['counters'];
  private readonly wanted: ((tag: number) => boolean) | null;
  private readonly reader = new BlockReader();
  private readonly fragments = new Map<number, RecordedPacket>();
  private pending: RecordedPacket[] = [];
  private pending_bytes = 0;
  /** How many were left when it was last looked which can go. */
  private left = 0;
  private last: RecordedPacket | null = null;

  constructor(filter: RecordingFilter, counters: RecordingReader['counters']) {
    this.filter = filter;
    this.counters = counters;
    this.wanted = tagFilter(filter.ends);
  }

  *run(files: readonly Opened[]): Generator<RecordedPacket> {
    const { from_ms = Number.NEGATIVE_INFINITY, to_ms = Number.POSITIVE_INFINITY } = this.filter;
    for (const [i, { fd, size }] of files.entries()) {
      const index = readIndex(fd, size) ?? scan(fd, size)?.index;
      if (index === undefined) continue;
      // The least time of what is still to come, block by block from the end.
      const comes: number[] = [];
      for (let b = index.blocks.length - 1, least = firstOf(files[i + 1]); b >= 0; b--) {
        comes[b] = least;
        least = Math.min(least, firstMs(index.blocks[b]));
      }
      for (const [b, block] of index.blocks.entries()) {
        if (lastMs(block) < from_ms || firstMs(block) > to_ms || !this.mayHold(block)) {
          this.counters.blocks_passed_over++;
          continue;
        }
        this.read(fd, block, index);
        if (this.pending.length > 2 * this.left + 1000) yield* this.ready(comes[b]);
        if (this.pending_bytes > MAX_PENDING_BYTES) yield* this.ready(Number.POSITIVE_INFINITY);
      }
    }
    yield* this.ready(Number.POSITIVE_INFINITY);
  }

  private mayHold({ tags }: IndexedBlock): boolean {
    return tags === null || this.wanted === null || tags.some(this.wanted);
  }

  private read(fd: number, block: IndexedBlock, index: FileIndex): void {
    const { reader, filter, fragments } = this;
    const { packet } = reader;
    const { from_ms = Number.NEGATIVE_INFINITY, to_ms = Number.POSITIVE_INFINITY } = filter;
    this.counters.blocks_read++;
    const whole = reader.read(fd, block, index.interfaces, (frame, decoded) => {
      const time = ms(reader.seconds(frame), reader.nanoseconds(frame));
      if (time < from_ms || time > to_ms) return;
      const wanted = this.matches();
      if (wanted && packet.reassembled) {
        for (const one of reader.fragmentFrames()) {
          const fragment = fragments.get(one);
          if (fragment !== undefined) this.take(fragment);
          fragments.delete(one);
        }
      }
      if (wanted) this.take(this.copy(frame, index));
      else if (decoded === Decoded.fragment) {
        fragments.set(frame, this.copy(frame, index));
        if (fragments.size > MAX_FRAGMENTS) fragments.delete(fragments.keys().next().value!);
      }
    });
    if (!whole) this.counters.blocks_damaged++;
  }

  private matches(): boolean {
    const { ends, port } = this.filter;
    const { packet } = this.reader;
    if (port !== undefined && packet.source_port !== port && packet.destination_port !== port) return false;
    if (ends === null) return true;
    for (const { a, b } of ends) {
      if (b === null ? this.is(a, 0) || this.is(a, 1) : (this.is(a, 0) && this.is(b, 1)) || (this.is(a, 1) && this.is(b, 0)))
        return true;
    }
    return false;
  }

  /** Is `end` the sender (side 0) or the receiver of the packet at hand? */
  private is(end: End, side: 0 | 1): boolean {
    const { packet: p } = this.reader;
    if (end.kind === 'ip') {
      const words = side === 0 ? p.source : p.destination;
      return p.ip_version !== 0 && words.every((word, i) => word === end.words[i]);
    }
    const at = side === 0 ? p.mac_source : p.mac_destination;
    if (at < 0 || (end.without_ip && p.ip_version !== 0)) return false;
    const b = p.link_bytes;
    const high = (b[at] << 8) | b[at + 1];
    const low = ((b[at + 2] << 24) | (b[at + 3] << 16) | (b[at + 4] << 8) | b[at + 5]) >>> 0;
    return high === end.high && low === end.low;
  }

  private copy(frame: number, { interfaces, capture_id }: FileIndex): RecordedPacket {
    const { reader } = this;
    return {
      seconds: reader.seconds(frame),
      nanoseconds: reader.nanoseconds(frame),
      wire: reader.wire(frame),
      interface_: interfaces[reader.interfaceId(frame)],
      capture_id,
      bytes: reader.bytes(frame),
    };
  }

  private take(packet: RecordedPacket): void {
    this.pending.push(packet);
    this.pending_bytes += packet.bytes.length;
  }

  /** What is older than all that can still come. */
  private *ready(before_ms: number): Generator<RecordedPacket> {
    const ready = this.pending.filter((packet) => ms(packet.seconds, packet.nanoseconds) < before_ms);
    this.pending = this.pending.filter((packet) => ms(packet.seconds, packet.nanoseconds) >= before_ms);
    this.left = this.pending.length;
    ready.sort((a, b) => a.seconds - b.seconds || a.nanoseconds - b.nanoseconds);
    for (const packet of ready) {
      this.pending_bytes -= packet.bytes.length;
      if (this.last !== null && ms(this.last.seconds, this.last.nanoseconds) > ms(packet.seconds, packet.nanoseconds))
        this.counters.out_of_order++;
      this.last = packet;
      yield packet;
    }
  }
}

const firstOf = (opened: Opened | undefined): number => (opened === undefined ? Number.POSITIVE_INFINITY : firstMs(opened.file));

/** Which pairs of the index may be meant; null: any, where the index does not say. */
function tagFilter(ends: readonly Ends[] | null): ((tag: number) => boolean) | null {
  if (ends === null) return null;
  const filters: ((tag: number) => boolean)[] = [];
  for (const { a, b } of ends) {
    const hashes = [a, b].map((end) => (end === null ? null : hashOf(end)));
    const [first, second] = hashes;
    if (first !== null && second !== null) {
      const pair = pairTag(first, second);
      filters.push((tag) => tag === pair);
    } else if (first !== null || second !== null) {
      const one = (first ?? second)!;
      filters.push((tag) => hasEnd(tag, one));
    } else return null;
  }
  return (tag) => filters.some((filter) => filter(tag));
}

/** null: packets of this end are in the index by other addresses. */
function hashOf(end: End): number | null {
  if (end.kind === 'ip') return addressHash(...end.words);
  return end.without_ip ? macHash(end.high, end.low) : null;
}
