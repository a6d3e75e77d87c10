import path from 'node:path';
import {
  CAPTURED,
  INDEX_PACKETS,
  INTERFACE,
  MAX_PACKET_BYTES,
  NANOSECONDS,
  OFFSET,
  type PacketRing,
  RING_BYTES,
  SECONDS,
  WIRE,
  WORDS,
} from '../capture/batch.ts';
import { type Disk, leaveDirectory, realDisk, type StoredFile, takeDirectory } from './disk.ts';
import {
  BLOCK_BYTES,
  ENHANCED_PACKET,
  encodeIndex,
  type FileIndex,
  fileName,
  indexBytes,
  interfaceDescription,
  MAX_BLOCK_BYTES,
  MAX_DESCRIPTION_BYTES,
  PACKET_AROUND_BYTES,
  PACKET_HEADER_BYTES,
  sectionHeader,
  sequenceOf,
  stampWords,
} from './format.ts';
import type { RecordingOptions } from './options.ts';
import { recover } from './recover.ts';
import { BACK, OT, PAIR_MASK } from './tag.ts';

export interface RecordingStart extends RecordingOptions {
  /** Number of the run in the database. */
  capture_id: number;
  /** Names of interfaces by their number; '' and what is left out have none. */
  interface_names: string[];
}

/** Places in the counters. `skipped`: the ring had come round before they were read; `not_recorded`: recording was stopped. */
export const COUNTERS = ['packets', 'bytes', 'skipped', 'not_recorded', 'files', 'deleted_files', 'stops'] as const;
const PACKETS = 0;
const BYTES = 1;
const SKIPPED = 2;
const NOT_RECORDED = 3;
const FILES = 4;
const DELETED_FILES = 5;
const STOPS = 6;

export interface RecordingState {
  /** `limited`: it goes on, but within less than it was told to take. */
  state: 'stopped' | 'recording' | 'limited';
  /** Why, in words for an operator; '' where it goes on. */
  reason: string;
}

/** Packets copied before it is checked that the ring still held them. */
const CHUNK_PACKETS = 1024;
/** A block that has waited so long is written though it is not full: evidence is wanted soon. */
const FLUSH_MS = 1000;
/** A file is closed after this time though it is not full, so that age can be told by file. */
const FILE_MS = 3_600_000;
const RETRY_MS = 1000;
/** Pairs of a block that are told apart; with more it may hold any. */
const MAX_TAGS = 4096;
const SET_BITS = 13;
/** Interfaces that a block may add. */
const MAX_NEW_INTERFACES = 64;
/** Packets before the one with which a conversation was recognised that are taken up. */
const MAX_BACK = 64;
const MAX_NAMES = 100;
const LONG_COPY_BYTES = 2048;
/** Bytes copied in a step; as many may be copied too many. */
const COPY_BYTES = 16;

/**
 * The recorder without its thread: takes packets out of the ring, in place, and writes them to files of bounded size. Nothing waits
 * for it: it lags behind as far as the ring remembers, and what it has missed then it counts.
 */
export class Recording {
  readonly counters: Float64Array<ArrayBufferLike>;
  private readonly ring: PacketRing;
  private readonly view: DataView;
  private readonly tags: Uint32Array;
  private readonly start: RecordingStart;
  private readonly disk: Disk;
  private readonly newest: () => number;
  private readonly onState: (state: RecordingState) => void;
  private readonly ot: boolean;
  /** The next frame to take. */
  private next = 1;
  private total_bytes: number;

  private opened = false;
  private stopped = false;
  private retry_ms = 0;

  // Files that are complete, oldest first, and the bytes of all.
  private files: StoredFile[] = [];
  private used = 0;
  private sequence = 0;
  // The file being written; fd -1: none yet.
  private fd = -1;
  private name = '';
  private position = 0;
  private file_ms = 0;
  private file: FileIndex;
  private file_tags = 0;
  private readonly interface_ids = new Map<number, number>();
  private last_interface = -1;
  private last_id = 0;

  // The block being filled.
  private readonly buffer = new Uint8Array(MAX_BLOCK_BYTES + COPY_BYTES);
  private readonly words = new Uint32Array(this.buffer.buffer);
  private at = 0;
  private block_ms = 0;
  private block_packets = 0;
  /** Seconds and nanoseconds of its first packet and of its last: an array, since numbers that large would be objects elsewhere. */
  private readonly times = new Float64Array(4);
  private missed = 0;
  private interfaces_before = 0;
  private readonly set = new Int32Array(1 << SET_BITS);
  private readonly block_tags = new Uint32Array(MAX_TAGS);
  private tag_count = 0;
  private last_tag = 0;
  private any = false;
  // Stamps of a second begin with the same words.
  private readonly second = new Float64Array([-1]);
  private readonly second_words = new Uint32Array(2);

  /** `newest`: the last frame that all shards have answered for. */
  constructor(
    ring: PacketRing,
    tags: SharedArrayBuffer,
    start: RecordingStart,
    newest: () => number,
    onState: (state: RecordingState) => void,
    counters: Float64Array<ArrayBufferLike> = new Float64Array(COUNTERS.length),
    disk = realDisk,
  ) {
    this.ring = ring;
    this.view = new DataView(ring.buffers.bytes);
    this.tags = new Uint32Array(tags);
    this.start = start;
    this.newest = newest;
    this.onState = onState;
    this.counters = counters;
    this.disk = disk;
    this.ot = start.mode === 'ot';
    this.total_bytes = start.total_bytes;
    this.file = this.newIndex();
    this.attempt(() => this.open());
    this.beginBlock();
  }

  private newIndex(): FileIndex {
    const { capture_id, mode } = this.start;
    return { capture_id, mode, interfaces: [], blocks: [], missed_after: 0 };
  }

  /** Takes the directory, mends what a crash left behind, and sees what is there. */
  private open(): void {
    const { directory, min_free_bytes } = this.start;
    takeDirectory(directory);
    recover(directory);
    this.files = this.disk.list(directory);
    this.used = this.files.reduce((sum, { bytes }) => sum + bytes, 0);
    this.sequence = Math.max(0, ...this.files.map(({ name }) => sequenceOf(name)));
    const possible = this.used + this.disk.freeBytes(directory) - min_free_bytes;
    this.total_bytes = Math.min(this.start.total_bytes, Math.max(possible, 2 * this.start.file_bytes));
    if (this.total_bytes < this.start.total_bytes) {
      const reason = `${directory} has room for ${Math.max(0, possible)} bytes, not for the ${this.start.total_bytes} of total_bytes`;
      this.onState({ state: 'limited', reason });
    }
    this.opened = true;
  }

  // ── packets ──

  /** Takes what has been answered for. Gives the last frame it is done with, modulo 2^32. */
  take(): number {
    if (this.stopped && (this.disk.now_ms() < this.retry_ms || !this.mayResume())) this.passOver();
    else this.takeAll();
    return (this.next - 1) % 0x1_0000_0000;
  }

  private takeAll(): void {
    // No more than there is now: a disk that is always too slow must not keep us from what else is due.
    const last = this.newest();
    for (let newest = last; this.next <= last; newest = this.newest()) {
      if (!this.ring.remembers(this.next, newest)) this.skip(newest);
      const { next, at, block_packets } = this;
      if (block_packets === 0) this.block_ms = this.disk.now_ms();
      const interfaces = this.file.interfaces.length;
      const end = this.copy(next, Math.min(newest + 1, next + CHUNK_PACKETS));
      if (!this.ring.remembers(next, this.newest())) {
        // Overwritten while it was being read: as if it had not been.
        this.at = at;
        this.block_packets = block_packets;
        this.dropInterfaces(interfaces);
        this.count(SKIPPED, Math.max(1, end - next));
        this.next = Math.max(next + 1, end);
        continue;
      }
      this.next = end;
      if (this.full && !this.flush()) {
        this.passOver();
        return;
      }
    }
  }

  private full = false;

  /** Copies packets from `first` on into the block, until it is full: gives the first frame that was not taken. */
  private copy(first: number, end: number): number {
    const { tags, ot } = this;
    this.full = false;
    for (let frame = first; frame < end; frame++) {
      const i = (frame - 1) % INDEX_PACKETS;
      const tag = tags[i];
      if (ot) {
        if ((tag & OT) === 0) continue;
        if ((tag & BACK) !== 0) this.back(frame);
      }
      if (!this.append(i * WORDS, tag)) {
        this.full = true;
        return frame;
      }
      // A shard that is lost cannot say whose a packet is: what it said a round of the ring ago must not stand for that.
      if (!ot) tags[i] = 0;
    }
    return end;
  }

  /** The packets of the flow before `frame` that were not known to be of interest: the handshake, fragments; oldest first. */
  private back(frame: number): void {
    const { ring, tags } = this;
    const newest = this.newest();
    const frames: number[] = [];
    for (let at = ring.previous(frame); at > 0 && frames.length < MAX_BACK; at = ring.previous(at)) {
      if (!ring.remembers(at, newest) || (tags[(at - 1) % INDEX_PACKETS] & OT) !== 0) break;
      frames.push(at);
    }
    for (const at of frames.reverse()) {
      const i = (at - 1) % INDEX_PACKETS;
      if (!this.append(i * WORDS, tags[i])) {
        this.count(SKIPPED, 1);
        continue;
      }
      tags[i] |= OT;
    }
  }

  /** Adds a packet to the block; false: it is full. */
  private append(entry: number, tag: number): boolean {
    const { index } = this.ring;
    const { at, words } = this;
    const offset = index[entry + OFFSET];
    const captured = index[entry + CAPTURED];
    // Only where it is being overwritten: what is made of it is thrown away.
    if (captured > MAX_PACKET_BYTES || offset + captured > RING_BYTES) return true;
    const total = PACKET_AROUND_BYTES + ((captured + 3) & ~3);
    if (at >= BLOCK_BYTES || at + total + MAX_DESCRIPTION_BYTES > MAX_BLOCK_BYTES) return false;
    const interface_ = index[entry + INTERFACE];
    if (interface_ !== this.last_interface) {
      const id = this.interfaceId(interface_);
      if (id < 0) return false;
      this.last_interface = interface_;
      this.last_id = id;
    }
    const nanoseconds_word = index[entry + NANOSECONDS];
    const seconds = index[entry + SECONDS] + (nanoseconds_word >>> 30) * 0x1_0000_0000;
    const nanoseconds = nanoseconds_word & 0x3fff_ffff;
    const { second_words: stamp, times } = this;
    if (seconds !== this.second[0]) {
      this.second[0] = seconds;
      stampWords(stamp, seconds, 0);
    }
    const low = stamp[1] + nanoseconds;
    let w = this.at >> 2;
    words[w] = ENHANCED_PACKET;
    words[w + 1] = total;
    words[w + 2] = this.last_id;
    words[w + 3] = low >= 0x1_0000_0000 ? stamp[0] + 1 : stamp[0];
    words[w + 4] = low;
    words[w + 5] = captured;
    words[w + 6] = index[entry + WIRE];
    w += PACKET_HEADER_BYTES >> 2;
    if (captured > LONG_COPY_BYTES || offset + captured + COPY_BYTES > RING_BYTES) {
      this.buffer.set(this.ring.bytes.subarray(offset, offset + captured), w << 2);
    } else copyWords(this.view, offset, captured, words, w);
    w += captured >> 2;
    // Of the last word only what was captured: the rest is padding.
    if ((captured & 3) !== 0) words[w++] &= (1 << ((captured & 3) << 3)) - 1;
    words[w] = total;
    this.at = (w + 1) << 2;
    if (this.block_packets++ === 0) {
      times[0] = times[2] = seconds;
      times[1] = times[3] = nanoseconds;
    } else if (seconds > times[2] || (seconds === times[2] && nanoseconds > times[3])) {
      times[2] = seconds;
      times[3] = nanoseconds;
    } else if (seconds < times[0] || (seconds === times[0] && nanoseconds < times[1])) {
      times[0] = seconds;
      times[1] = nanoseconds;
    }
    const pair = tag & PAIR_MASK;
    if (pair !== this.last_tag) this.note(pair);
    return true;
  }

  /** Notes the pair in the block's set. */
  private note(pair: number): void {
    this.last_tag = pair;
    if (pair === 0) {
      this.any = true;
      return;
    }
    const { set } = this;
    let slot = Math.imul(pair, 0x9e3779b1) >>> (32 - SET_BITS);
    while (set[slot] !== 0) {
      if (set[slot] === pair) return;
      slot = (slot + 1) & ((1 << SET_BITS) - 1);
    }
    if (this.tag_count === MAX_TAGS) {
      this.any = true;
      return;
    }
    set[slot] = pair;
    this.block_tags[this.tag_count++] = pair;
  }

  /** The place of an interface among those of the file; where it has none it is described. -1: not in this block. */
  private interfaceId(word: number): number {
    const known = this.interface_ids.get(word);
    if (known !== undefined) return known;
    const { interfaces } = this.file;
    if (interfaces.length - this.interfaces_before === MAX_NEW_INTERFACES) return -1;
    const number = word >>> 16;
    const described = { number, link_type: word & 0xffff, name: this.start.interface_names[number] ?? '' };
    const bytes = interfaceDescription(described);
    this.buffer.set(bytes, this.at);
    this.at += bytes.length;
    this.interface_ids.set(word, interfaces.length);
    return interfaces.push(described) - 1;
  }

  /** Takes back the descriptions of interfaces beyond the first `keep`. */
  private dropInterfaces(keep: number): void {
    for (const { number, link_type } of this.file.interfaces.splice(keep))
      this.interface_ids.delete(((number << 16) | link_type) >>> 0);
    this.last_interface = -1;
  }

  // ── what could not be recorded ──

  private count(counter: typeof SKIPPED | typeof NOT_RECORDED, packets: number): void {
    this.counters[counter] += packets;
    this.missed += packets;
  }

  /** The ring came round: goes on a good way behind the oldest packet that is still there, to have it before it goes as well. */
  private skip(newest: number): void {
    let gone = this.next;
    let there = newest;
    while (there - gone > 1) {
      const middle = Math.floor((gone + there) / 2);
      if (this.ring.remembers(middle, newest)) there = middle;
      else gone = middle;
    }
    const to = there + Math.floor((newest - there) / 4);
    this.count(SKIPPED, to - this.next);
    this.next = to;
  }

  /** Recording is stopped: of what has come only the number is taken. */
  private passOver(): void {
    const newest = this.newest();
    let packets = Math.max(0, newest + 1 - this.next);
    if (this.ot && packets <= INDEX_PACKETS) {
      packets = 0;
      for (let frame = this.next; frame <= newest; frame++) packets += this.tags[(frame - 1) % INDEX_PACKETS] & OT;
    }
    this.next = newest + 1;
    this.count(NOT_RECORDED, packets);
  }

  // ── blocks ──

  private beginBlock(): void {
    const { file_bytes } = this.start;
    if (this.fd >= 0) {
      const { blocks, interfaces } = this.file;
      const index = indexBytes(blocks.length + 1, interfaces.length + MAX_NEW_INTERFACES, this.file_tags + MAX_TAGS) + 12;
      const old = this.disk.now_ms() - this.file_ms >= FILE_MS;
      if (old || this.position + MAX_BLOCK_BYTES + index > file_bytes) this.closeFile();
    }
    this.at = 0;
    this.block_packets = 0;
    this.set.fill(0);
    this.tag_count = 0;
    this.last_tag = 0;
    this.any = false;
    if (this.fd < 0) {
      this.file = this.newIndex();
      this.file_tags = 0;
      this.interface_ids.clear();
      this.last_interface = -1;
      const header = sectionHeader(this.start.capture_id, this.start.mode);
      this.buffer.set(header, 0);
      this.at = header.length;
    }
    this.interfaces_before = this.file.interfaces.length;
  }

  /** Writes the block. False: recording has stopped, and its packets are counted as not recorded. */
  private flush(): boolean {
    if (this.block_packets === 0) return true;
    const { block_packets: packets, at: length } = this;
    const written = this.attempt(() => {
      this.makeRoom(length);
      if (this.fd < 0) this.createFile();
      this.disk.write(this.fd, this.buffer, length, this.position);
    });
    if (!written) {
      this.count(NOT_RECORDED, packets);
      this.beginBlock();
      return false;
    }
    const tags = this.any ? null : this.block_tags.slice(0, this.tag_count);
    this.file.blocks.push({
      offset: this.position,
      length,
      packets,
      first_seconds: this.times[0],
      first_nanoseconds: this.times[1],
      last_seconds: this.times[2],
      last_nanoseconds: this.times[3],
      missed: this.missed,
      tags,
    });
    this.file_tags += tags?.length ?? 0;
    this.missed = 0;
    this.position += length;
    this.used += length;
    this.counters[PACKETS] += packets;
    this.counters[BYTES] += length;
    if (this.stopped) {
      this.stopped = false;
      this.onState({ state: 'recording', reason: '' });
    }
    this.beginBlock();
    return true;
  }

  /** Does something to the disk; what goes wrong there stops the recording, and nothing else. */
  private attempt(work: () => void): boolean {
    try {
      work();
      return true;
    } catch (error) {
      this.setBack();
      // What is not for want of room may have another directory behind it the next time.
      if (!wantsRoom(error)) {
        this.closeFile();
        this.opened = false;
      }
      this.retry_ms = this.disk.now_ms() + RETRY_MS;
      if (!this.stopped) {
        this.stopped = true;
        this.counters[STOPS]++;
        this.onState({ state: 'stopped', reason: reasonOf(error) });
      }
      return false;
    }
  }

  /** The file ends where it ended before the block; a file that cannot be mended is left as it is, and read as far as it is whole. */
  private setBack(): void {
    if (this.fd < 0) return;
    try {
      this.disk.truncate(this.fd, this.position);
      this.dropInterfaces(this.interfaces_before);
      if (this.position > 0) return;
    } catch {
      // A volume that is gone: nothing to be done.
    }
    this.leaveFile();
  }

  /** Has what stopped the recording gone, as far as can be told without writing? */
  private mayResume(): boolean {
    const { directory, min_free_bytes, file_bytes } = this.start;
    return this.attempt(() => {
      if (!this.opened) this.open();
      // Not for one block: it would stop again at once.
      const needed = min_free_bytes + file_bytes / 4;
      if (this.disk.freeBytes(directory) < needed) throw new NoRoomError(`${directory} has less than ${needed} bytes free`);
    });
  }

  private makeRoom(length: number): void {
    const { directory, min_free_bytes } = this.start;
    const index = indexBytes(this.file.blocks.length + 1, this.file.interfaces.length, this.file_tags + this.tag_count) + 12;
    while (this.files.length > 0 && this.used + length + index > this.total_bytes) this.removeOldest();
    if (min_free_bytes > 0 && this.disk.freeBytes(directory) < min_free_bytes + length)
      throw new NoRoomError(`${directory} has less than ${min_free_bytes} bytes free (min_free_bytes)`);
  }

  private removeOldest(): void {
    const { name, bytes } = this.files[0];
    this.disk.remove(path.join(this.start.directory, name));
    this.files.shift();
    this.used -= bytes;
    this.counters[DELETED_FILES]++;
  }

  // ── files ──

  private createFile(): void {
    for (let tries = 1; this.fd < 0; tries++) {
      this.sequence++;
      this.name = fileName(this.sequence, this.times[0]);
      try {
        this.fd = this.disk.create(path.join(this.start.directory, this.name));
      } catch (error) {
        // The name is taken by something that is no file of ours.
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || tries === MAX_NAMES) throw error;
      }
    }
    this.position = 0;
    this.file_ms = this.disk.now_ms();
    this.counters[FILES]++;
  }

  /** Puts the index behind the packets. Without room for it the file is read as a whole. */
  private closeFile(): void {
    if (this.fd < 0) return;
    this.file.missed_after = this.missed;
    const index = encodeIndex(this.file);
    try {
      this.disk.write(this.fd, index, index.length, this.position);
      this.position += index.length;
      this.used += index.length;
    } catch {
      try {
        this.disk.truncate(this.fd, this.position);
      } catch {
        // As in `setBack`.
      }
    }
    this.leaveFile();
  }

  private leaveFile(): void {
    try {
      this.disk.close(this.fd);
      if (this.position === 0) this.disk.remove(path.join(this.start.directory, this.name));
    } catch {
      // As in `setBack`.
    }
    this.fd = -1;
    if (this.position > 0) this.files.push({ name: this.name, bytes: this.position, written_ms: this.disk.now_ms() });
  }

  /** What is due by the clock: to be called now and then, also when no packets come. */
  tick(): void {
    const now = this.disk.now_ms();
    if (!this.opened) return;
    if (this.block_packets > 0 && now - this.block_ms >= FLUSH_MS) this.flush();
    else if (this.block_packets === 0 && this.fd >= 0 && now - this.file_ms >= FILE_MS) this.beginBlock();
    const { max_age_hours } = this.start;
    try {
      if (this.fd >= 0 && this.disk.isGone(this.fd)) {
        // Somebody deleted it: on with another.
        this.used -= this.position;
        this.position = 0;
        this.leaveFile();
        this.count(NOT_RECORDED, this.block_packets);
        this.beginBlock();
      }
      const oldest = now - max_age_hours * 3_600_000;
      while (max_age_hours > 0 && this.files.length > 0 && this.files[0].written_ms < oldest) this.removeOldest();
    } catch {
      // What cannot be deleted now is tried again.
    }
  }

  /** Writes what has been taken, and closes the file. */
  close(): void {
    this.flush();
    this.closeFile();
    if (this.opened) leaveDirectory(this.start.directory);
  }
}

/** In steps of four words: from shared memory that is faster than `set` up to some thousand bytes, and makes no object. */
function copyWords(from: DataView, offset: number, length: number, to: Uint32Array, word: number): void {
  const end = offset + length;
  for (let at = offset, w = word; at < end; at += COPY_BYTES, w += 4) {
    to[w] = from.getUint32(at, true);
    to[w + 1] = from.getUint32(at + 4, true);
    to[w + 2] = from.getUint32(at + 8, true);
    to[w + 3] = from.getUint32(at + 12, true);
  }
}

class NoRoomError extends Error {}

const wantsRoom = (error: unknown): boolean =>
  error instanceof NoRoomError || ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '');

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOTDIR: 'a part of its path is no folder',
};

function reasonOf(error: unknown): string {
  const { code, message, path: file } = error as NodeJS.ErrnoException;
  const reason = REASONS[code ?? ''];
  return reason === undefined ? message : file === undefined ? reason : `${file}: ${reason}`;
}
