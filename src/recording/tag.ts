import { INDEX_PACKETS } from '../capture/batch.ts';
import type { Packet } from '../decode/packet.ts';

/**
 * A word a packet, in memory beside the ring's index, in which the shard that owns the packet says to the recorder whose it is:
 *
 *   bits 31–17 hash of the one end │ 16–2 hash of the other, the smaller first │ 1 BACK │ 0 OT
 *
 * 0: nobody has said. The index of a recording holds these words without the lower two bits: what is looked for is found in few
 * blocks too many (an end has one of 2^15 hashes), and the packets themselves decide.
 */
export const OT = 1;
/** The packets before this one in its flow belong to it: it was recognised with this one, or put together from them. */
export const BACK = 2;
export const PAIR_MASK = 0xffff_fffc;

const HOST_SHIFT = 17;
/** In the place of the second word of an address, where the end is a MAC address. */
const MAC_MARK = 1;

/** Hash of an address of four words, as `Packet` has them: 15 bits, never 0. */
export function addressHash(w0: number, w1: number, w2: number, w3: number): number {
  let h = Math.imul(w3, 0x9e3779b1) ^ Math.imul(w2, 0x85ebca6b) ^ Math.imul(w1, 0xc2b2ae35) ^ Math.imul(w0, 0x27d4eb2f);
  h ^= h >>> 15;
  h = Math.imul(h, 0x2c1b3c6d);
  h ^= h >>> 13;
  return ((h >>> 17) % 0x7fff) + 1;
}

/** Of a MAC address: its first two bytes, its last four. */
export const macHash = (high: number, low: number): number => addressHash(0, MAC_MARK, high, low);

export const pairTag = (a: number, b: number): number =>
  (a < b ? (a << HOST_SHIFT) | (b << 2) : (b << HOST_SHIFT) | (a << 2)) >>> 0;

/** Is `host` an end of the pair? */
export const hasEnd = (tag: number, host: number): boolean => tag >>> HOST_SHIFT === host || ((tag >>> 2) & 0x7fff) === host;

/** The pair of a decoded packet: of its addresses, of its MAC addresses where it has no IP. */
export function packetTag(p: Packet): number {
  if (p.ip_version !== 0) {
    const { source: s, destination: d } = p;
    return pairTag(addressHash(s[0], s[1], s[2], s[3]), addressHash(d[0], d[1], d[2], d[3]));
  }
  return pairTag(macHashAt(p.link_bytes, p.mac_source), macHashAt(p.link_bytes, p.mac_destination));
}

function macHashAt(b: Uint8Array, at: number): number {
  if (at < 0) return macHash(0, 0);
  return macHash((b[at] << 8) | b[at + 1], (b[at + 2] << 24) | (b[at + 3] << 16) | (b[at + 4] << 8) | b[at + 5]);
}

/** The shard's side: says of each packet whose it is, from a word that is kept a flow. */
export class FlowTags {
  private readonly tags: Uint32Array;
  /** By slot of the flow table: the flow's pair, and OT where it is recognised. */
  private readonly flows: Uint32Array;

  constructor(tags: SharedArrayBuffer, max_flows: number) {
    this.tags = new Uint32Array(tags);
    this.flows = new Uint32Array(max_flows);
  }

  /** A packet of the flow in `slot`, when everything has been done with it. */
  packet(p: Packet, slot: number, is_new: boolean, recognised: boolean): void {
    let word = is_new ? packetTag(p) : this.flows[slot];
    let back = p.reassembled ? BACK : 0;
    if (recognised && (word & OT) === 0) {
      word |= OT;
      back = BACK;
      this.flows[slot] = word;
    } else if (is_new) this.flows[slot] = word;
    this.tags[(p.frame - 1) % INDEX_PACKETS] = word | back;
  }

  /** A packet without a flow: a fragment, a copy, or `malformed`, which is of interest where only OT is. */
  other(p: Packet, malformed: boolean): void {
    this.tags[(p.frame - 1) % INDEX_PACKETS] = packetTag(p) | (malformed ? OT : 0);
  }
}

export const newTags = (): SharedArrayBuffer => new SharedArrayBuffer(INDEX_PACKETS * 4);
