/**
 * The memory between capture and shards: one ring of bytes and one ring of index entries, shared by all threads.
 * The capture side appends batches, shards read them in place, and what has been read stays until the ring comes round:
 * it is the sensor's short memory, from which the evidence of an alert is taken.
 *
 *   bytes  ┌───────────────┬─────────┬─────────┬─────────┬──────────────────┬┄┄┄┄┐
 *          │ batch n+1     │ (free)  │ batch … │ batch … │ batch n          │waste│   a batch is contiguous; what does not
 *          └───────────────┴─────────┴─────────┴─────────┴──────────────────┴┄┄┄┄┘   fit before the end starts at 0 again
 *   index  entry of frame f at (f - 1) mod INDEX_PACKETS, 8 words of 32 bits:
 *          ┌────────┬──────────┬──────┬─────────┬─────────────┬───────────┬──────────┬──────────┐
 *          │ OFFSET │ CAPTURED │ WIRE │ SECONDS │ NANOSECONDS │ INTERFACE │ (spare)  │ POSITION │
 *          └────────┴──────────┴──────┴─────────┴─────────────┴───────────┴──────────┴──────────┘
 *
 * NANOSECONDS carries bits 32–33 of the seconds in its two upper bits (dates to the year 2514). INTERFACE is interface number << 16 | link type.
 * A third array, `links`, is the shards' own: how many frames back the packet before it in its flow lies, written by the shard that owns the
 * packet. It lies apart because a line of memory that two cores write in turn costs more than all else that is done with it.
 * POSITION counts the raw bytes of the capture up to the packet, modulo 2^32, however it was cut into batches or files: what is
 * remembered is a matter of POSITION and frame number alone, so that evidence does not depend on batches or the number of shards.
 */
export const RING_BYTES = 40 << 20;
export const MAX_BATCH_BYTES = 2 << 20;
export const INDEX_PACKETS = 1 << 18;
export const MAX_BATCH_PACKETS = 1 << 15;
/** Batches that may be under way: filled and not yet answered by all shards, and the one being filled. */
export const MAX_BATCHES_UNDER_WAY = 4;
/** How far back evidence reaches: what is surely not yet overwritten. */
export const REMEMBERED_BYTES = RING_BYTES - (MAX_BATCHES_UNDER_WAY + 3) * MAX_BATCH_BYTES;
export const REMEMBERED_PACKETS = INDEX_PACKETS - (MAX_BATCHES_UNDER_WAY + 1) * MAX_BATCH_PACKETS;
/** The largest packet: libpcap's own limit of a snap length. More is taken as a lying length. */
export const MAX_PACKET_BYTES = 262_144;

export const WORDS = 8;
export const OFFSET = 0;
export const CAPTURED = 1;
export const WIRE = 2;
export const SECONDS = 3;
export const NANOSECONDS = 4;
export const INTERFACE = 5;
export const POSITION = 7;
const NANOSECONDS_MASK = 0x3fff_ffff;
/** Packets of any size whose raw bytes are surely fewer than 2^32, so that the difference of their POSITIONs is true. */
const STRIDE_PACKETS = 8192;

export interface RingBuffers {
  bytes: SharedArrayBuffer;
  index: SharedArrayBuffer;
  links: SharedArrayBuffer;
}

/** A batch as it is handed to a shard. */
export interface BatchRange {
  first_frame: number;
  count: number;
}

/** The ring as every thread sees it. */
export class PacketRing {
  readonly buffers: RingBuffers;
  readonly bytes: Uint8Array;
  readonly index: Uint32Array;
  private readonly links: Uint32Array;

  constructor(
    buffers: RingBuffers = {
      bytes: new SharedArrayBuffer(RING_BYTES),
      index: new SharedArrayBuffer(INDEX_PACKETS * WORDS * 4),
      links: new SharedArrayBuffer(INDEX_PACKETS * 4),
    },
  ) {
    this.buffers = buffers;
    this.bytes = new Uint8Array(buffers.bytes);
    this.index = new Uint32Array(buffers.index);
    this.links = new Uint32Array(buffers.links);
  }

  /** Where the index entry of a frame starts. */
  entry(frame: number): number {
    return ((frame - 1) % INDEX_PACKETS) * WORDS;
  }

  /** Says that the packet before `frame` in its flow is `previous`, 0 for none. Every packet has one owner, which says it once. */
  link(frame: number, previous: number): void {
    this.links[(frame - 1) % INDEX_PACKETS] = previous === 0 ? 0 : frame - previous;
  }

  /** The packet before `frame` in its flow; 0 for none. Only where the ring still remembers `frame`. */
  previous(frame: number): number {
    const back = this.links[(frame - 1) % INDEX_PACKETS];
    return back === 0 ? 0 : frame - back;
  }

  /** Is `frame` still surely there when the newest frame is `newest`? The same answer however the capture was batched. */
  remembers(frame: number, newest: number): boolean {
    if (frame < 1 || frame > newest || newest - frame >= REMEMBERED_PACKETS) return false;
    let distance = 0;
    for (let at = frame; at < newest && distance < REMEMBERED_BYTES; ) {
      const next = Math.min(newest, at + STRIDE_PACKETS);
      distance += (this.index[this.entry(next) + POSITION] - this.index[this.entry(at) + POSITION]) >>> 0;
      at = next;
    }
    return distance < REMEMBERED_BYTES;
  }

  seconds(entry: number): number {
    return this.index[entry + SECONDS] + (this.index[entry + NANOSECONDS] >>> 30) * 0x1_0000_0000;
  }
  /** The frame's time, ms since the epoch. */
  timeMs(frame: number): number {
    const entry = this.entry(frame);
    return this.seconds(entry) * 1000 + this.nanoseconds(entry) / 1e6;
  }
  nanoseconds(entry: number): number {
    return this.index[entry + NANOSECONDS] & NANOSECONDS_MASK;
  }
}

/** The capture side: fills one batch after the other. One writer a ring. */
export class BatchWriter {
  readonly ring: PacketRing;
  /** The ring's bytes as a Buffer, for `fs.readSync` and copies. */
  readonly buffer: Buffer;
  /** Where this batch's bytes start; a source may write from here up to `limit`. */
  start = 0;
  limit = MAX_BATCH_BYTES;
  /** Packets in this batch. */
  count = 0;
  /** Frame number of the first packet of this batch; numbers run on over files. */
  first_frame = 1;
  /** POSITION of this batch's first byte. */
  position = 0;

  constructor(ring: PacketRing) {
    this.ring = ring;
    this.buffer = Buffer.from(ring.buffers.bytes);
  }

  get full(): boolean {
    return this.count === MAX_BATCH_PACKETS;
  }

  /**
   * Adds a packet whose `captured` bytes lie at `offset` in the ring. Seconds and nanoseconds since the epoch; more than
   * 10^9 nanoseconds are carried over. The caller checks `full` before.
   */
  add(
    offset: number,
    captured: number,
    wire: number,
    seconds: number,
    nanoseconds: number,
    interface_: number,
    link_type: number,
  ): void {
    const { index } = this.ring;
    const entry = this.ring.entry(this.first_frame + this.count);
    let s = seconds;
    let ns = nanoseconds;
    if (ns >= 1e9) {
      s += Math.floor(ns / 1e9);
      ns %= 1e9;
    }
    index[entry + OFFSET] = offset;
    index[entry + CAPTURED] = captured;
    index[entry + WIRE] = wire;
    index[entry + SECONDS] = s % 0x1_0000_0000;
    index[entry + NANOSECONDS] = (s >= 0x1_0000_0000 ? (Math.floor(s / 0x1_0000_0000) & 3) << 30 : 0) | ns;
    index[entry + INTERFACE] = (interface_ << 16) | link_type;
    index[entry + POSITION] = this.position + (offset - this.start);
    this.count++;
  }

  /**
   * Closes the batch, `used` bytes from `start` being raw capture (all packets added lie in them), and makes room for the next.
   * The caller must not have more than MAX_BATCHES_UNDER_WAY under way.
   */
  next(used: number): BatchRange {
    const range = { first_frame: this.first_frame, count: this.count };
    this.first_frame += this.count;
    this.count = 0;
    this.position = (this.position + used) >>> 0;
    const after = (this.start + used + 7) & ~7;
    this.start = after + MAX_BATCH_BYTES > RING_BYTES ? 0 : after;
    this.limit = this.start + MAX_BATCH_BYTES;
    return range;
  }
}
