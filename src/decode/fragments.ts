import type { Packet } from './packet.ts';

/** Frame numbers kept a datagram; its later fragments are put together all the same. */
export const MAX_FRAGMENT_FRAMES = 128;
const MAX_DATAGRAM = 65_535;
/** Before each datagram there is room for its IP header. */
const HEADER_ROOM = 64;
const SLOT = HEADER_ROOM + MAX_DATAGRAM + 1;
/** Fragments are placed in units of 8 bytes; a bit each says that the unit is there. */
const UNITS = (MAX_DATAGRAM + 1) >> 3;
const WORDS = UNITS >> 5;

/** Of a key: addresses 8, identification 1, version, protocol and VLAN 1. */
const KEY_WORDS = 10;

const FREE = 0;
const COLLECTING = 1;
/** Contradictory: whatever else comes of it is dropped, until it times out. */
const REFUSED = 2;
/** Put together in `finished`; its memory must stay while that frame is being decoded. */
const COMPLETE = 3;

export interface FragmentsOptions {
  /** Datagrams put together at a time, 64 KiB of memory each; with one more the oldest is dropped. */
  fragment_datagrams?: number;
  /** From the first fragment seen, in time of packets. RFC 8200 4.5 says 60 s, RFC 1122 3.3.2 60 to 120 s. */
  fragment_timeout_ms?: number;
}

/**
 * Reassembly of IPv4 (RFC 791 3.2, RFC 815) and IPv6 (RFC 8200 4.5) datagrams. A datagram is known by addresses, identification,
 * protocol (IPv4) and VLAN.
 *
 * Policy where fragments overlap: IPv4, the bytes that came first stay, in units of 8 bytes; IPv6, the datagram is dropped with
 * all that still comes of it (RFC 5722), but for an exact repetition of a fragment. Either way a datagram is dropped whose
 * fragments disagree about where it ends or that would be longer than 65,535 bytes ("ping of death"). A fragment that was not
 * captured whole is dropped.
 */
export class Fragments {
  /**
   * The memory of all datagrams; what `add` completed lies at `start`, its IP header (of the first fragment, as it was) before
   * it.
   */
  readonly bytes: Uint8Array;
  start = 0;
  /** What the completed datagram carries: of IPv6 the first fragment says it. */
  protocol = 0;
  /**
   * Frame numbers of the fragments of the datagram completed last, in the order of their coming, the first `frame_count` of the
   * array.
   */
  readonly fragmentFrames = new Float64Array(MAX_FRAGMENT_FRAMES);
  fragmentFrameCount = 0;

  readonly counters = {
    fragments: 0,
    datagrams_reassembled: 0,
    /** Never complete within the timeout. */
    fragment_timeouts: 0,
    /** Dropped for another one in a full table. */
    fragment_evictions: 0,
    /** Datagrams in which fragments overlapped ("teardrop" and its kin). */
    fragment_overlaps: 0,
    /** Fragments that said once more what was there. */
    fragment_repetitions: 0,
    /** Datagrams dropped because their fragments contradict each other. */
    fragment_conflicts: 0,
    /** Fragments that would make a datagram too long. */
    fragment_oversized: 0,
    /** Fragments of a length that is no multiple of 8 before the last, or empty. */
    fragment_bad_length: 0,
    /** First fragments without the whole transport header, second ones that would overwrite it (RFC 1858, RFC 3128). */
    fragment_tiny: 0,
    /** Fragments not captured whole. */
    fragment_truncated: 0,
    /** Fragments of datagrams already refused. */
    fragment_refused: 0,
  };

  private readonly slots: number;
  private readonly timeout_ms: number;
  private readonly state: Uint8Array;
  private readonly keys: Uint32Array;
  private readonly times: Float64Array;
  private readonly finished: Float64Array;
  /** Length of the datagram, known from its last fragment; 0 until then. */
  private readonly totals: Uint32Array;
  /** The furthest byte of a fragment that was not the last. */
  private readonly furthest: Uint32Array;
  private readonly units: Uint32Array;
  private readonly present: Uint32Array;
  private readonly overlapped: Uint8Array;
  private readonly protocols: Uint8Array;
  private readonly frames: Float64Array;
  private readonly frameCounts: Uint32Array;
  private readonly key = new Uint32Array(KEY_WORDS);

  constructor(options: FragmentsOptions = {}) {
    this.slots = options.fragment_datagrams ?? 128;
    this.timeout_ms = options.fragment_timeout_ms ?? 60_000;
    const { slots } = this;
    // Shared only so that all byte arrays that a packet points at are of one kind to the compiler.
    this.bytes = new Uint8Array(new SharedArrayBuffer(slots * SLOT));
    this.state = new Uint8Array(slots);
    this.keys = new Uint32Array(slots * KEY_WORDS);
    this.times = new Float64Array(slots);
    this.finished = new Float64Array(slots);
    this.totals = new Uint32Array(slots);
    this.furthest = new Uint32Array(slots);
    this.units = new Uint32Array(slots);
    this.present = new Uint32Array(slots * WORDS);
    this.overlapped = new Uint8Array(slots);
    this.protocols = new Uint8Array(slots);
    this.frames = new Float64Array(slots * MAX_FRAGMENT_FRAMES);
    this.frameCounts = new Uint32Array(slots);
  }

  /**
   * Adds the fragment whose bytes stand in `packet.bytes` from `at` to `end` (`wire` on the wire) and belong at `offset`; the IP
   * header is at `header_at`. Gives the length of the datagram if it is complete now (at `start` in `bytes`), 0 if not, -1 if the
   * fragment is malformed.
   */
  add(
    packet: Packet,
    identification: number,
    protocol: number,
    offset: number,
    more: boolean,
    header_at: number,
    header: number,
    at: number,
    end: number,
    wire: number,
  ): number {
    const { counters } = this;
    counters.fragments++;
    const length = wire - at;
    if (length <= 0 || (more && (length & 7) !== 0)) {
      counters.fragment_bad_length++;
      return -1;
    }
    const slot = this.find(packet, identification, protocol);
    if (offset + length > MAX_DATAGRAM) {
      counters.fragment_oversized++;
      this.refuse(slot);
      return -1;
    }
    if (this.state[slot] === REFUSED) {
      counters.fragment_refused++;
      return 0;
    }
    if (end < wire) {
      counters.fragment_truncated++;
      return 0;
    }
    const transport = protocol === 6 ? 20 : 8;
    if ((offset === 0 && length < transport) || (offset === 8 && protocol === 6)) counters.fragment_tiny++;

    // Where the datagram ends is said once, and nothing lies behind it.
    const last = offset + length;
    const total = this.totals[slot];
    const contradicts = more ? total !== 0 && last > total : (total !== 0 && last !== total) || this.furthest[slot] > last;
    if (contradicts) {
      counters.fragment_conflicts++;
      this.refuse(slot);
      return -1;
    }
    if (more) {
      if (last > this.furthest[slot]) this.furthest[slot] = last;
    } else {
      this.totals[slot] = last;
    }
    if (!this.place(packet, slot, offset, at, length)) return 0;
    if (offset === 0) {
      const start = slot * SLOT + HEADER_ROOM;
      for (let i = 0; i < header; i++) this.bytes[start - header + i] = packet.bytes[header_at + i];
      this.protocols[slot] = protocol;
    }
    const count = this.frameCounts[slot];
    if (count < MAX_FRAGMENT_FRAMES) {
      this.frames[slot * MAX_FRAGMENT_FRAMES + count] = packet.frame;
      this.frameCounts[slot] = count + 1;
    }
    const whole = this.totals[slot];
    if (whole === 0 || this.units[slot] !== (whole + 7) >> 3) return 0;
    this.complete(packet.frame, slot);
    return whole;
  }

  private complete(frame: number, slot: number): void {
    this.counters.datagrams_reassembled++;
    this.state[slot] = COMPLETE;
    this.finished[slot] = frame;
    this.start = slot * SLOT + HEADER_ROOM;
    this.protocol = this.protocols[slot];
    const count = this.frameCounts[slot];
    for (let i = 0; i < count; i++) this.fragmentFrames[i] = this.frames[slot * MAX_FRAGMENT_FRAMES + i];
    this.fragmentFrameCount = count;
  }

  /** Copies what is not yet there. False if the datagram had to be refused. */
  private place(packet: Packet, slot: number, offset: number, at: number, length: number): boolean {
    const { present, bytes, counters } = this;
    const source = packet.bytes;
    const to = slot * SLOT + HEADER_ROOM + offset;
    const first = offset >> 3;
    const count = (length + 7) >> 3;
    let there = 0;
    for (let unit = first; unit < first + count; unit++) {
      if ((present[slot * WORDS + (unit >> 5)] & (1 << (unit & 31))) !== 0) there++;
    }
    if (there !== 0) {
      let same = there === count;
      for (let i = 0; same && i < length; i++) same = bytes[to + i] === source[at + i];
      if (same) {
        counters.fragment_repetitions++;
      } else {
        if (this.overlapped[slot] === 0) counters.fragment_overlaps++;
        this.overlapped[slot] = 1;
        if (packet.ip_version === 6) {
          this.refuse(slot);
          return false;
        }
      }
    }
    if (there === count) return true;
    for (let unit = 0; unit < count; unit++) {
      const word = slot * WORDS + ((first + unit) >> 5);
      const bit = 1 << ((first + unit) & 31);
      if ((present[word] & bit) !== 0) continue;
      present[word] |= bit;
      const stop = Math.min(unit * 8 + 8, length);
      for (let i = unit * 8; i < stop; i++) bytes[to + i] = source[at + i];
    }
    this.units[slot] += count - there;
    return true;
  }

  private refuse(slot: number): void {
    this.state[slot] = REFUSED;
  }

  /** The slot of the fragment's datagram, found or newly taken; lets go of what has timed out on the way. */
  private find(packet: Packet, identification: number, protocol: number): number {
    const { key, keys, state, times, counters } = this;
    const { source, destination } = packet;
    for (let word = 0; word < 4; word++) {
      key[word] = source[word];
      key[word + 4] = destination[word];
    }
    key[8] = identification;
    key[9] = (packet.ip_version << 24) | ((packet.ip_version === 4 ? protocol : 0) << 16) | packet.vlan;
    let free = -1;
    let oldest = -1;
    for (let slot = 0; slot < this.slots; slot++) {
      const now = state[slot];
      if (now === COMPLETE) {
        if (this.finished[slot] === packet.frame) continue;
        state[slot] = FREE;
      } else if (now !== FREE && Math.abs(packet.time_ms - times[slot]) > this.timeout_ms) {
        if (now === COLLECTING) counters.fragment_timeouts++;
        state[slot] = FREE;
      }
      if (state[slot] === FREE) {
        if (free < 0) free = slot;
        continue;
      }
      let word = 0;
      for (const base = slot * KEY_WORDS; word < KEY_WORDS && keys[base + word] === key[word]; word++);
      if (word === KEY_WORDS) return slot;
      if (oldest < 0 || times[slot] < times[oldest]) oldest = slot;
    }
    if (free < 0) {
      counters.fragment_evictions++;
      free = oldest;
    }
    this.take(free, packet.time_ms);
    return free;
  }

  private take(slot: number, time_ms: number): void {
    this.state[slot] = COLLECTING;
    this.keys.set(this.key, slot * KEY_WORDS);
    this.times[slot] = time_ms;
    this.totals[slot] = 0;
    this.furthest[slot] = 0;
    this.units[slot] = 0;
    this.overlapped[slot] = 0;
    this.frameCounts[slot] = 0;
    this.present.fill(0, slot * WORDS, (slot + 1) * WORDS);
  }
}
