import { CAPTURED, OFFSET, type PacketRing, WIRE } from '../capture/batch.ts';
import type { Decoder } from './decode.ts';
import { etherType } from './ethernet.ts';
import { malformed } from './layer.ts';
import { Decoded, type DecodedCode, Layer, MAX_VLANS, type Packet } from './packet.ts';

/**
 * HSR tag behind its EtherType (IEC 62439-3 5.7): path 4 bits, LSDU size 12, sequence 2, EtherType 2. The lowest bit of the path
 * is the LAN: the two copies of a frame go round the ring in opposite directions and differ in the path alone.
 */
export function hsr(decoder: Decoder, packet: Packet, at: number, end: number, wire: number): DecodedCode {
  packet.layers |= 1 << Layer.hsr;
  if (end - at < 6) return malformed(packet, Layer.hsr);
  const { bytes } = packet;
  const path = bytes[at] >> 4;
  const sequence = (bytes[at + 2] << 8) | bytes[at + 3];
  if (packet.mac_source >= 0 && packet.mac_destination >= 0 && bytes === packet.link_bytes) {
    if (decoder.redundancy.isCopy(packet, sequence, path, at, end)) return Decoded.duplicate;
  }
  return etherType(decoder, packet, (bytes[at + 4] << 8) | bytes[at + 5], at + 6, end, wire);
}

/**
 * Is the end of the frame a PRP redundancy control trailer (IEC 62439-3 4.2.7): sequence 2, LAN 4 bits (1010 A, 1011 B), LSDU
 * size 12, suffix 0x88fb? The size counts from behind the EtherType to the end of the trailer, with or without VLAN tags; if it
 * does not fit, these are bytes of the payload. Gives where the frame ends without its trailer, -1 for a copy of a frame already
 * seen.
 */
export function prp(decoder: Decoder, packet: Packet, at: number, end: number): number {
  const { bytes } = packet;
  if (end - at < 20) return end;
  const lan = bytes[end - 4] >> 4;
  if (lan !== 0xa && lan !== 0xb) return end;
  const size = ((bytes[end - 4] & 0x0f) << 8) | bytes[end - 3];
  let start = at + 14;
  for (let tags = 0; size !== end - start; tags++) {
    const type = (bytes[start - 2] << 8) | bytes[start - 1];
    if ((type !== 0x8100 && type !== 0x88a8) || tags === MAX_VLANS || end - start < 10) return end;
    start += 4;
  }
  packet.layers |= 1 << Layer.prp;
  const sequence = (bytes[end - 6] << 8) | bytes[end - 5];
  return decoder.redundancy.isCopy(packet, sequence, lan, -1, end - 6) ? -1 : end - 6;
}

/** Sets of WAYS entries each. At 10,000 frames a second and 400 ms some 4000 are alive. */
const SETS = 4096;
const WAYS = 4;

/**
 * The frames seen lately of redundant networks. A frame is a copy only if within the lifetime a frame came with the same source
 * and sequence number, over the other LAN or path, and byte for byte the same: so no frame that a station sent once is ever
 * dropped, whatever sequence numbers an attacker or a restarted device uses. The bytes are those in the ring; what the ring no
 * longer holds cannot be compared, and the frame is kept.
 */
export class Redundancy {
  readonly counters = { duplicates_dropped: 0, duplicate_candidates_different: 0, duplicate_table_evictions: 0 };
  private readonly ring: PacketRing;
  private readonly lifetime_ms: number;
  private readonly frames = new Float64Array(SETS * WAYS);
  private readonly times = new Float64Array(SETS * WAYS);
  /** Where the frame starts and ends, from the start of the captured packet; a tunnel's frame starts later. */
  private readonly starts = new Uint32Array(SETS * WAYS);
  private readonly lengths = new Uint32Array(SETS * WAYS);
  /** LAN or path << 16 | sequence. */
  private readonly numbers = new Uint32Array(SETS * WAYS);

  constructor(ring: PacketRing, lifetime_ms = 400) {
    this.ring = ring;
    this.lifetime_ms = lifetime_ms;
  }

  /**
   * Is the frame from its destination address to `end` a copy? If not, it is noted. `path_at` is where in it the HSR path stands
   * (4 bits), which is not compared; -1 for none.
   */
  isCopy(packet: Packet, sequence: number, path: number, path_at: number, end: number): boolean {
    const { ring, frames, times } = this;
    // In the memory of the reassembler nothing stays that could be compared.
    if (packet.bytes !== ring.bytes) return false;
    const at = packet.mac_destination;
    const { bytes } = ring;
    const source = packet.mac_source;
    let hash = (bytes[source + 2] << 24) | (bytes[source + 3] << 16) | (bytes[source + 4] << 8) | bytes[source + 5];
    hash = Math.imul(hash ^ (sequence << 8), 0x9e3779b1);
    const set = (hash >>> 20) * WAYS;
    const start = at - ring.index[ring.entry(packet.frame) + OFFSET];
    const length = end - at;
    let free = -1;
    let oldest = set;
    for (let i = set; i < set + WAYS; i++) {
      if (frames[i] !== 0 && Math.abs(packet.time_ms - times[i]) > this.lifetime_ms) frames[i] = 0;
      if (frames[i] === 0) {
        free = i;
        continue;
      }
      if (times[i] < times[oldest] || frames[oldest] === 0) oldest = i;
      const number = this.numbers[i];
      if ((number & 0xffff) !== sequence) continue;
      if (!this.sameBytes(packet, i, start, length, path_at < 0 ? -1 : path_at - at)) continue;
      // The same path again is not redundancy: the mirror port shows a frame on its way in and out. It is the first that counts.
      if (number >>> 16 === path) return false;
      this.counters.duplicates_dropped++;
      return true;
    }
    if (free < 0) {
      this.counters.duplicate_table_evictions++;
      free = oldest;
    }
    frames[free] = packet.frame;
    times[free] = packet.time_ms;
    this.starts[free] = start;
    this.lengths[free] = length;
    this.numbers[free] = (path << 16) | sequence;
    return false;
  }

  /** Is the noted frame still in the ring, and the same as this one? Both must be captured alike. */
  private sameBytes(packet: Packet, i: number, start: number, length: number, path: number): boolean {
    const { ring } = this;
    const { bytes, index } = ring;
    if (this.lengths[i] !== length || !ring.remembers(this.frames[i], packet.frame)) return false;
    const here = ring.entry(packet.frame);
    const there = ring.entry(this.frames[i]);
    // What was cut off cannot be compared.
    if (index[here + CAPTURED] < index[here + WIRE] || index[there + CAPTURED] < index[there + WIRE]) return false;
    let a = index[here + OFFSET] + start;
    let b = index[there + OFFSET] + this.starts[i];
    // Another station with this sequence number falls in the same set now and then.
    for (let k = 6; k < 12; k++) if (bytes[a + k] !== bytes[b + k]) return false;
    for (let k = 0; k < length; k++, a++, b++) {
      if (bytes[a] !== bytes[b] && (k !== path || (bytes[a] & 0x0f) !== (bytes[b] & 0x0f))) {
        this.counters.duplicate_candidates_different++;
        return false;
      }
    }
    return true;
  }
}
