import type { Packet } from '../decode/packet.ts';
import type { FlowState } from './flow-state.ts';

/** TCP flags as `Packet.tcp_flags` has them. */
export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const ACK = 16;

/** `FlowTable.flags`. */
export const OPENER_CERTAIN = 1;
/** The opener is side B of the key. */
const OPENER_IS_B = 2;
/** The next sequence number is known, by direction. */
export const SYNCED = [4, 8] as const;
export const FIN_SEEN = [16, 32] as const;
export const RESET = 64;
/** The first packet was a SYN: the capture holds the conversation from its start. */
export const FROM_START = 128;
export const DIRTY = 256;
export const PAYLOAD_SEEN = 512;
const IN_USE = 1024;
/** The end has sent something, by direction. */
export const SPOKEN = [2048, 4096] as const;
/** Held against the zone policy as a whole, as nothing in it was recognised. */
export const JUDGED = 8192;
/** The next sequence number was taken from a packet without payload, by direction. */
export const GUESSED = [16384, 32768] as const;

/** Conversations without IP, in the place of the IP protocol number. */
export const PROTOCOL_ETHERNET = 0x100;
const KEY_WORDS = 10;
const MAC_MARK = 1;
/** A SYN that comes again within this time of its first copy is a copy. */
const LATE_COPY_MS = 1000;
/** VLAN identifiers that are remembered of a stack (the innermost), as digits of one number. */
const STACK_VLANS = 4;
const VLAN_IDS = 4096;

export interface FlowLimits {
  max_flows: number;
  /** Silence after which a packet with the same addresses begins a new flow, in ms of packet time. */
  tcp_timeout_ms: number;
  other_timeout_ms: number;
}

export const FLOW_LIMITS: FlowLimits = { max_flows: 1 << 20, tcp_timeout_ms: 24 * 3600_000, other_timeout_ms: 15 * 60_000 };

/** Who is asked where a capture begins in the middle: is this the port of a service? */
export type IsServicePort = (is_tcp: boolean, port: number) => boolean;

/**
 * Conversations by address pair, ports and protocol. VLANs do not tell conversations apart: a mirror port often shows one direction
 * tagged and the other not, or each in its own VLAN where a router lies between; request and response must meet all the same.
 * Numbers live in columns, one place a flow, so that a flow that carries no payload costs no object. Direction 0 is from the opener.
 * Nothing is timed out by itself: timeouts are judged when the next packet of the flow comes. At `max_flows` the flow that has
 * been silent longest among a few is evicted, and counted.
 */
export class FlowTable {
  readonly limits: FlowLimits;
  readonly counters = { flows: 0, evicted: 0, timed_out: 0, reopened: 0 };

  /** Frame number of the first packet: the flow's identity, whatever the number of shards. */
  readonly id: Float64Array;
  readonly first_ms: Float64Array;
  readonly last_ms: Float64Array;
  readonly last_frame: Float64Array;
  /** Frames of the second and third packet, by slot × 2: with `id` the handshake. */
  readonly early_frames: Float64Array;
  readonly flags: Uint16Array;
  /** By slot × 2 + direction: what the sender will send next; packets and bytes since the last update; its MAC address. */
  readonly next_sequence: Uint32Array;
  readonly packets: Uint32Array;
  readonly bytes: Float64Array;
  readonly mac_high: Uint16Array;
  readonly mac_low: Uint32Array;
  /** The innermost VLAN the end was seen in, 0 none: each end has its own where a router lies between. */
  readonly vlan: Uint16Array;
  /** The MAC address it had before, and how often it went to and fro in a stretch of time (see `Shard.senderMac`). */
  readonly former_mac_high: Uint16Array;
  readonly former_mac_low: Uint32Array;
  readonly alternations: Uint32Array;
  /** The VLAN stack of the first packet, packed: see `vlansOf`. */
  private readonly stack: Float64Array;
  /** Sequence number of the opener's SYN, where `FROM_START` is set. */
  private readonly initial_sequence: Uint32Array;
  readonly states: (FlowState | undefined)[] = [];

  /** Of the last `find`: */
  slot = -1;
  direction: 0 | 1 = 0;
  is_new = false;
  /** The slot held another flow until now, which `onEnd` was told. */
  onEnd: (slot: number) => void = () => {};

  private readonly key: Uint32Array;
  private readonly chain: Int32Array;
  private readonly buckets: Int32Array;
  /** Bucket of each slot, to unlink it. */
  private readonly hashes: Int32Array;
  private readonly mask: number;
  private readonly isServicePort: IsServicePort;
  private used = 0;
  private hand = 0;

  constructor(isServicePort: IsServicePort, limits: Partial<FlowLimits> = {}) {
    this.limits = { ...FLOW_LIMITS, ...limits };
    this.isServicePort = isServicePort;
    const capacity = this.limits.max_flows;
    if (!(capacity >= 1)) throw new RangeError(`max_flows must be at least 1, not ${capacity}`);
    const buckets = 2 ** Math.ceil(Math.log2(capacity));
    this.mask = buckets - 1;
    this.buckets = new Int32Array(buckets);
    this.chain = new Int32Array(capacity);
    this.hashes = new Int32Array(capacity);
    this.key = new Uint32Array(capacity * KEY_WORDS);
    this.id = new Float64Array(capacity);
    this.first_ms = new Float64Array(capacity);
    this.last_ms = new Float64Array(capacity);
    this.last_frame = new Float64Array(capacity);
    this.early_frames = new Float64Array(capacity * 2);
    this.flags = new Uint16Array(capacity);
    this.next_sequence = new Uint32Array(capacity * 2);
    this.packets = new Uint32Array(capacity * 2);
    this.bytes = new Float64Array(capacity * 2);
    this.mac_high = new Uint16Array(capacity * 2);
    this.mac_low = new Uint32Array(capacity * 2);
    this.vlan = new Uint16Array(capacity * 2);
    this.former_mac_high = new Uint16Array(capacity * 2);
    this.former_mac_low = new Uint32Array(capacity * 2);
    this.alternations = new Uint32Array(capacity * 2);
    this.stack = new Float64Array(capacity);
    this.initial_sequence = new Uint32Array(capacity);
  }

  get count(): number {
    return this.counters.flows;
  }

  /** Finds or opens the packet's flow: sets `slot`, `direction` and `is_new`. */
  find(p: Packet): void {
    let s0: number, s1: number, s2: number, s3: number, d0: number, d1: number, d2: number, d3: number;
    let protocol = p.ip_protocol;
    let low = p.source_port;
    let high = p.destination_port;
    if (p.ip_version !== 0) {
      const { source, destination } = p;
      s0 = source[0];
      s1 = source[1];
      s2 = source[2];
      s3 = source[3];
      d0 = destination[0];
      d1 = destination[1];
      d2 = destination[2];
      d3 = destination[3];
    } else {
      const b = p.link_bytes;
      const s = p.mac_source;
      const d = p.mac_destination;
      s0 = d0 = 0;
      s1 = d1 = MAC_MARK;
      s2 = s < 0 ? 0 : (b[s] << 8) | b[s + 1];
      s3 = s < 0 ? 0 : ((b[s + 2] << 24) | (b[s + 3] << 16) | (b[s + 4] << 8) | b[s + 5]) >>> 0;
      d2 = d < 0 ? 0 : (b[d] << 8) | b[d + 1];
      d3 = d < 0 ? 0 : ((b[d + 2] << 24) | (b[d + 3] << 16) | (b[d + 4] << 8) | b[d + 5]) >>> 0;
      protocol = PROTOCOL_ETHERNET;
      low = high = p.ethertype;
    }
    // Side A is the smaller of the two ends.
    const swap =
      s3 !== d3 ? s3 > d3 : s2 !== d2 ? s2 > d2 : s1 !== d1 ? s1 > d1 : s0 !== d0 ? s0 > d0 : p.source_port > p.destination_port;
    if (swap) {
      let t = s0;
      s0 = d0;
      d0 = t;
      t = s1;
      s1 = d1;
      d1 = t;
      t = s2;
      s2 = d2;
      d2 = t;
      t = s3;
      s3 = d3;
      d3 = t;
      t = low;
      low = high;
      high = t;
    }
    const ports = ((low << 16) | high) >>> 0;
    const meta = protocol;
    let h = Math.imul(s3, 0x9e3779b1) ^ Math.imul(d3, 0x85ebca6b) ^ Math.imul(ports, 0xc2b2ae35) ^ Math.imul(meta, 0x27d4eb2f);
    h ^= Math.imul(s0 ^ s1 ^ (s2 << 7), 0x165667b1) ^ Math.imul(d0 ^ d1 ^ (d2 << 5), 0x2c1b3c6d);
    h ^= h >>> 15;
    h = Math.imul(h, 0x2c1b3c6d);
    const bucket = (h ^ (h >>> 13)) & this.mask;
    const { key, flags } = this;
    for (let slot = this.buckets[bucket] - 1; slot >= 0; slot = this.chain[slot] - 1) {
      const k = slot * KEY_WORDS;
      if (
        key[k + 3] === s3 &&
        key[k + 7] === d3 &&
        key[k + 8] === ports &&
        key[k + 9] === meta &&
        key[k + 2] === s2 &&
        key[k + 6] === d2 &&
        key[k + 1] === s1 &&
        key[k + 5] === d1 &&
        key[k] === s0 &&
        key[k + 4] === d0
      ) {
        // biome-ignore format: the key, word by word
        const direction = (((flags[slot] & OPENER_IS_B) >> 1) ^ (swap ? 1 : 0)) as 0 | 1;
        if (!this.isOver(slot, direction, p)) {
          this.slot = slot;
          this.direction = direction;
          this.is_new = false;
          return;
        }
        this.onEnd(slot);
        this.open(slot, p, swap);
        return;
      }
    }
    const slot = this.newSlot();
    const k = slot * KEY_WORDS;
    key[k] = s0;
    key[k + 1] = s1;
    key[k + 2] = s2;
    key[k + 3] = s3;
    key[k + 4] = d0;
    key[k + 5] = d1;
    key[k + 6] = d2;
    key[k + 7] = d3;
    key[k + 8] = ports;
    key[k + 9] = meta;
    this.chain[slot] = this.buckets[bucket];
    this.buckets[bucket] = slot + 1;
    this.hashes[slot] = bucket;
    this.counters.flows++;
    this.open(slot, p, swap);
  }

  /** Does this packet begin a new conversation on the same addresses? */
  private isOver(slot: number, direction: 0 | 1, p: Packet): boolean {
    const flags = this.flags[slot];
    const silence = p.time_ms - this.last_ms[slot];
    if (p.ip_protocol !== 6) {
      if (silence <= this.limits.other_timeout_ms) return false;
      this.counters.timed_out++;
      return true;
    }
    if (silence > this.limits.tcp_timeout_ms) {
      this.counters.timed_out++;
      return true;
    }
    // A SYN without ACK that is not a repetition: the ports are used again.
    if ((p.tcp_flags & (SYN | ACK)) === SYN) {
      const known = (flags & SYNCED[direction]) !== 0;
      const closed = (flags & (RESET | FIN_SEEN[0] | FIN_SEEN[1])) !== 0;
      const unchanged = known && this.next_sequence[slot * 2 + direction] === (p.tcp_sequence + 1) >>> 0;
      const repeated = unchanged || (!closed && this.isLateCopy(slot, direction, p));
      if ((closed || (flags & PAYLOAD_SEEN) !== 0 || known) && !repeated) {
        this.counters.reopened++;
        return true;
      }
    }
    return false;
  }

  /** The SYN that opened the flow, seen again behind its data: mirror ports deliver some packets twice. */
  private isLateCopy(slot: number, direction: 0 | 1, p: Packet): boolean {
    if (direction !== 0 || (this.flags[slot] & FROM_START) === 0) return false;
    return this.initial_sequence[slot] === p.tcp_sequence && Math.abs(p.time_ms - this.first_ms[slot]) <= LATE_COPY_MS;
  }

  private open(slot: number, p: Packet, swap: boolean): void {
    const is_tcp = p.ip_protocol === 6;
    let senderOpens = true;
    let certain = false;
    if (is_tcp && (p.tcp_flags & SYN) !== 0) {
      senderOpens = (p.tcp_flags & ACK) === 0;
      certain = true;
    } else if (is_tcp || p.ip_protocol === 17) {
      const fromService = this.isServicePort(is_tcp, p.source_port);
      const toService = this.isServicePort(is_tcp, p.destination_port);
      if (fromService !== toService) senderOpens = toService;
      else if (p.source_port < 1024 !== p.destination_port < 1024) senderOpens = p.destination_port < 1024;
    }
    // Side A sends when the key was not swapped.
    const openerIsB = senderOpens === swap;
    this.flags[slot] =
      IN_USE | (openerIsB ? OPENER_IS_B : 0) | (certain ? OPENER_CERTAIN : 0) | (certain && senderOpens ? FROM_START : 0);
    this.id[slot] = p.frame;
    this.first_ms[slot] = p.time_ms;
    this.last_ms[slot] = p.time_ms;
    this.last_frame[slot] = 0;
    const two = slot * 2;
    this.early_frames[two] = this.early_frames[two + 1] = 0;
    this.packets[two] = this.packets[two + 1] = 0;
    this.bytes[two] = this.bytes[two + 1] = 0;
    this.mac_high[two] = this.mac_high[two + 1] = 0;
    this.mac_low[two] = this.mac_low[two + 1] = 0;
    this.former_mac_high[two] = this.former_mac_high[two + 1] = 0;
    this.former_mac_low[two] = this.former_mac_low[two + 1] = 0;
    this.alternations[two] = this.alternations[two + 1] = 0;
    this.vlan[two] = this.vlan[two + 1] = p.vlan;
    let stack = 1;
    for (let i = Math.max(0, p.vlan_count - STACK_VLANS); i < p.vlan_count; i++) stack = stack * VLAN_IDS + p.vlans[i];
    this.stack[slot] = stack;
    this.initial_sequence[slot] = p.tcp_sequence;
    this.states[slot] = undefined;
    this.slot = slot;
    this.direction = senderOpens ? 0 : 1;
    this.is_new = true;
  }

  private newSlot(): number {
    if (this.used < this.limits.max_flows) return this.used++;
    // Full: of the next few in turn, the one that has been silent longest.
    let oldest = this.hand;
    for (let i = 0; i < 16; i++) {
      const slot = (this.hand + i) % this.limits.max_flows;
      if (this.last_ms[slot] < this.last_ms[oldest]) oldest = slot;
    }
    this.hand = (this.hand + 16) % this.limits.max_flows;
    this.onEnd(oldest);
    this.unlink(oldest);
    this.counters.evicted++;
    this.counters.flows--;
    return oldest;
  }

  private unlink(slot: number): void {
    const bucket = this.hashes[slot];
    let at = this.buckets[bucket] - 1;
    if (at === slot) {
      this.buckets[bucket] = this.chain[slot];
      return;
    }
    while (this.chain[at] - 1 !== slot) at = this.chain[at] - 1;
    this.chain[at] = this.chain[slot];
  }

  /** Words of an end's address (or MAC; `isMac`), 0 the opener's, 1 the responder's: offset into `keyWords`. */
  addressAt(slot: number, end: 0 | 1): number {
    const openerIsB = (this.flags[slot] & OPENER_IS_B) !== 0 ? 1 : 0;
    return slot * KEY_WORDS + (openerIsB ^ end) * 4;
  }
  get keyWords(): Uint32Array {
    return this.key;
  }
  port(slot: number, end: 0 | 1): number {
    const openerIsB = (this.flags[slot] & OPENER_IS_B) !== 0 ? 1 : 0;
    const ports = this.key[slot * KEY_WORDS + 8];
    return (openerIsB ^ end) === 0 ? ports >>> 16 : ports & 0xffff;
  }
  /** IP protocol number, or PROTOCOL_ETHERNET. */
  protocol(slot: number): number {
    return this.key[slot * KEY_WORDS + 9];
  }

  /** VLAN identifiers of the flow's first packet, from the outside in; of a deeper stack the innermost four. For rare places. */
  vlansOf(slot: number): number[] {
    const vlans: number[] = [];
    for (let stack = this.stack[slot]; stack >= VLAN_IDS; stack = Math.floor(stack / VLAN_IDS)) vlans.unshift(stack % VLAN_IDS);
    return vlans;
  }

  /** The slots in use in the order in which their flows began. */
  byId(): Uint32Array {
    const slots = new Uint32Array(this.counters.flows);
    let count = 0;
    this.forEach((slot) => {
      slots[count++] = slot;
    });
    return slots.sort((a, b) => this.id[a] - this.id[b]);
  }

  /** Every flow in use. */
  forEach(visit: (slot: number) => void): void {
    for (let slot = 0; slot < this.used; slot++) if (this.flags[slot] & IN_USE) visit(slot);
  }
}

/** Which of `shards` a packet belongs to: by its address pair (MAC pair without IP), so that related conversations meet. */
export function shardOf(p: Packet, shards: number): number {
  let a: number;
  let b: number;
  if (p.ip_version !== 0) {
    const { source: s, destination: d } = p;
    a = s[3] ^ Math.imul(s[0] ^ s[1], 31) ^ (s[2] === 0xffff ? 0 : Math.imul(s[2], 17));
    b = d[3] ^ Math.imul(d[0] ^ d[1], 31) ^ (d[2] === 0xffff ? 0 : Math.imul(d[2], 17));
  } else {
    const { link_bytes: bytes, mac_source: s, mac_destination: d } = p;
    a = s < 0 ? 0 : (bytes[s + 2] << 24) | (bytes[s + 3] << 16) | (bytes[s + 4] << 8) | bytes[s + 5];
    b = d < 0 ? 0 : (bytes[d + 2] << 24) | (bytes[d + 3] << 16) | (bytes[d + 4] << 8) | bytes[d + 5];
  }
  return shardOfPair(a, b, shards);
}

/** `shardOf` of a packet whose outermost IPv4 header begins at `ip` and carries no tunnel and no fragment. */
export function shardOfIpv4(bytes: Uint8Array, ip: number, shards: number): number {
  const a = (bytes[ip + 12] << 24) | (bytes[ip + 13] << 16) | (bytes[ip + 14] << 8) | bytes[ip + 15];
  const b = (bytes[ip + 16] << 24) | (bytes[ip + 17] << 16) | (bytes[ip + 18] << 8) | bytes[ip + 19];
  return shardOfPair(a, b, shards);
}

function shardOfPair(a: number, b: number, shards: number): number {
  const h = (Math.imul(a, 0x9e3779b1) + Math.imul(b, 0x9e3779b1)) | 0;
  return ((h ^ (h >>> 15)) >>> 8) % shards;
}
