import { CAPTURED, INTERFACE, OFFSET, type PacketRing, WIRE } from '../capture/batch.ts';
import { verifyHeader, verifyTransport } from './checksum.ts';
import { DecodeCounters } from './counters.ts';
import { ethernet } from './ethernet.ts';
import { Fragments, type FragmentsOptions } from './fragments.ts';
import { Redundancy } from './hsr.ts';
import { ip } from './ip.ts';
import { ipv4 } from './ipv4.ts';
import { ipv6 } from './ipv6.ts';
import { malformed } from './layer.ts';
import { linuxCooked, linuxCooked2, loopback } from './link-types.ts';
import { Decoded, type DecodedCode, Layer, type Packet } from './packet.ts';

const PLAIN_HEADERS = 14 + 20 + 20;
const PLAIN_LAYERS = (1 << Layer.ethernet) | (1 << Layer.ipv4) | (1 << Layer.tcp);

export interface DecoderOptions extends FragmentsOptions {
  /**
   * Which checksums `count` verifies; wrong ones are counted (`ipv4_checksum_error`, `transport_checksum_error`), and no packet
   * is refused for one, since packets captured on the machine that sends them have none yet. `header`, the default: those of IPv4
   * headers; `all`: of TCP and UDP as well. Only the shard that owns a packet pays: 10 ns for a header, 35 ns more for a segment
   * of 40 bytes, where decoding takes 50.
   */
  verify_checksums?: 'off' | 'header' | 'all';
  /** How long after a frame its copy from the other network (HSR, PRP) is still a copy. IEC 62439-3 names 400 ms. */
  duplicate_lifetime_ms?: number;
}

/**
 * From link type to transport. Every shard decodes every packet in order, since only then it knows which are its own, except for
 * what `plainHeader` tells: state (fragments, redundant copies) is so the same in all shards, and what a shard owns it counts
 * afterwards with `count`.
 *
 * Needs memory for the options' number of datagrams (64 KiB each) and nothing per packet.
 */
export class Decoder {
  readonly ring: PacketRing;
  private readonly verify_header: boolean;
  private readonly verify_transport: boolean;
  readonly fragments: Fragments;
  readonly redundancy: Redundancy;
  /** What `count` has counted: this shard's part of the packets. Add up over the shards. */
  readonly counters = new DecodeCounters();

  // Of the packet being decoded: tags and shims so far, and whether the IPv6 header was a jumbogram's.
  shims = 0;
  jumbogram = false;
  /** Where the frame ended on the wire. */
  wire_end = 0;

  constructor(ring: PacketRing, options: DecoderOptions = {}) {
    this.ring = ring;
    this.verify_header = options.verify_checksums !== 'off';
    this.verify_transport = options.verify_checksums === 'all';
    this.fragments = new Fragments(options);
    this.redundancy = new Redundancy(ring, options.duplicate_lifetime_ms);
  }

  /**
   * What the tables that are the same in every shard have counted (fragments, copies). Take them from one shard only.
   */
  get sharedCounters(): Readonly<Record<string, number>> {
    return { ...this.fragments.counters, ...this.redundancy.counters };
  }

  /**
   * Decodes `frame`, which the ring must hold, into `packet`, all of whose fields are set. Frames must come in order, each once;
   * those that `plainHeader` finds may be left out.
   * What `packet` points at stays valid until the next call. Never throws, never reads beyond the captured bytes.
   */
  decode(frame: number, packet: Packet): DecodedCode {
    const { ring } = this;
    const { index } = ring;
    const entry = ring.entry(frame);
    const at = index[entry + OFFSET];
    const captured = index[entry + CAPTURED];
    let wire = index[entry + WIRE];
    if (wire < captured) wire = captured;
    const seconds = ring.seconds(entry);
    const nanoseconds = ring.nanoseconds(entry);
    const link = index[entry + INTERFACE];

    if ((link & 0xffff) === 1 && captured === wire && this.plain(packet, frame, at, captured, seconds, nanoseconds, link >>> 16))
      return Decoded.ok;
    packet.bytes = ring.bytes;
    packet.frame = frame;
    packet.seconds = seconds;
    packet.nanoseconds = nanoseconds;
    packet.time_ms = seconds * 1000 + nanoseconds / 1e6;
    packet.captured = captured;
    packet.wire = wire;
    packet.interface_ = link >>> 16;
    packet.link_bytes = ring.bytes;
    packet.mac_destination = -1;
    packet.mac_source = -1;
    packet.vlan_count = 0;
    packet.vlan = 0;
    packet.ethertype = 0;
    packet.link_payload = -1;
    packet.link_payload_end = -1;
    packet.ip_version = 0;
    packet.network_offset = -1;
    const { source, destination } = packet;
    source[0] = 0;
    source[1] = 0;
    source[2] = 0;
    source[3] = 0;
    destination[0] = 0;
    destination[1] = 0;
    destination[2] = 0;
    destination[3] = 0;
    packet.ip_protocol = -1;
    packet.reassembled = false;
    packet.transport_offset = -1;
    packet.source_port = 0;
    packet.destination_port = 0;
    packet.tcp_sequence = 0;
    packet.tcp_acknowledgment = 0;
    packet.tcp_flags = 0;
    packet.tcp_window = 0;
    packet.payload = -1;
    packet.payload_end = -1;
    packet.payload_missing = 0;
    packet.tunnels = 0;
    packet.link_tunnels = 0;
    packet.layers = 0;
    packet.malformed_layer = -1;
    this.shims = 0;
    this.wire_end = at + wire;

    if ((link & 0xffff) === 1) return ethernet(this, packet, at, at + captured, at + wire);
    return this.otherLink(packet, link & 0xffff, at, at + captured, at + wire);
  }

  /**
   * The common case first (`isPlain`), all fields set once. False, and nothing set, for anything else.
   */
  private plain(
    packet: Packet,
    frame: number,
    at: number,
    captured: number,
    seconds: number,
    nanoseconds: number,
    interface_: number,
  ): boolean {
    const b = this.ring.bytes;
    if (!isPlain(b, at, captured)) return false;
    const end = at + captured;
    const ip = at + 14;
    const ip_end = ip + ((b[at + 16] << 8) | b[at + 17]);
    const tcp = ip + 20;
    const payload = tcp + ((b[tcp + 12] >> 4) << 2);
    packet.bytes = b;
    packet.frame = frame;
    packet.seconds = seconds;
    packet.nanoseconds = nanoseconds;
    packet.time_ms = seconds * 1000 + nanoseconds / 1e6;
    packet.captured = captured;
    packet.wire = captured;
    packet.interface_ = interface_;
    packet.link_bytes = b;
    packet.mac_destination = at;
    packet.mac_source = at + 6;
    packet.vlan_count = 0;
    packet.vlan = 0;
    packet.ethertype = 0x0800;
    packet.link_payload = ip;
    packet.link_payload_end = end;
    packet.ip_version = 4;
    packet.network_offset = ip;
    const { source, destination } = packet;
    source[0] = 0;
    source[1] = 0;
    source[2] = 0xffff;
    source[3] = (b[ip + 12] << 24) | (b[ip + 13] << 16) | (b[ip + 14] << 8) | b[ip + 15];
    destination[0] = 0;
    destination[1] = 0;
    destination[2] = 0xffff;
    destination[3] = (b[ip + 16] << 24) | (b[ip + 17] << 16) | (b[ip + 18] << 8) | b[ip + 19];
    packet.ip_protocol = 6;
    packet.reassembled = false;
    packet.transport_offset = tcp;
    packet.source_port = (b[tcp] << 8) | b[tcp + 1];
    packet.destination_port = (b[tcp + 2] << 8) | b[tcp + 3];
    packet.tcp_sequence = ((b[tcp + 4] << 24) | (b[tcp + 5] << 16) | (b[tcp + 6] << 8) | b[tcp + 7]) >>> 0;
    packet.tcp_acknowledgment = ((b[tcp + 8] << 24) | (b[tcp + 9] << 16) | (b[tcp + 10] << 8) | b[tcp + 11]) >>> 0;
    packet.tcp_flags = b[tcp + 13] & 0x3f;
    packet.tcp_window = (b[tcp + 14] << 8) | b[tcp + 15];
    packet.payload = payload;
    packet.payload_end = ip_end;
    packet.payload_missing = 0;
    packet.tunnels = 0;
    packet.link_tunnels = 0;
    packet.layers = PLAIN_LAYERS;
    packet.malformed_layer = -1;
    return true;
  }

  /**
   * Where the IPv4 header of `frame` begins, if it is of the common case; else -1. Such a packet touches no table that shards have in
   * common: a shard to which it does not belong need not decode it.
   */
  plainHeader(frame: number): number {
    const { ring } = this;
    const { index } = ring;
    const entry = ring.entry(frame);
    const at = index[entry + OFFSET];
    const captured = index[entry + CAPTURED];
    if ((index[entry + INTERFACE] & 0xffff) !== 1 || index[entry + WIRE] > captured) return -1;
    return isPlain(ring.bytes, at, captured) ? at + 14 : -1;
  }

  /** Counts a packet as decoded: to be called by the shard that owns it, before the next `decode`. */
  count(packet: Packet, decoded: DecodedCode): void {
    if (this.verify_header) verifyHeader(packet);
    if (this.verify_transport && decoded === Decoded.ok) verifyTransport(packet);
    this.counters.count(packet, decoded);
  }

  private otherLink(packet: Packet, link_type: number, at: number, end: number, wire: number): DecodedCode {
    switch (link_type) {
      case 0:
      case 108:
        return loopback(this, packet, at, end, wire);
      case 113:
        return linuxCooked(this, packet, at, end, wire);
      case 276:
        return linuxCooked2(this, packet, at, end, wire);
      case 12:
      case 14:
      case 101:
        packet.layers |= 1 << Layer.raw_ip;
        return ip(this, packet, Layer.raw_ip, at, end, wire);
      case 228:
        packet.layers |= 1 << Layer.raw_ip;
        packet.ethertype = 0x0800;
        packet.link_payload = at;
        packet.link_payload_end = end;
        return ipv4(this, packet, at, end, wire);
      case 229:
        packet.layers |= 1 << Layer.raw_ip;
        packet.ethertype = 0x86dd;
        packet.link_payload = at;
        packet.link_payload_end = end;
        return ipv6(this, packet, at, end, wire);
      default:
        // The capture side refuses what LINK_TYPES does not list.
        return malformed(packet, Layer.nesting);
    }
  }
}

/** Ethernet II, IPv4 without options or fragments, TCP, headers and payload all there, and no trailer that may be PRP's. */
function isPlain(b: Uint8Array, at: number, captured: number): boolean {
  const end = at + captured;
  if (captured < PLAIN_HEADERS || b[at + 12] !== 0x08 || b[at + 13] !== 0 || b[at + 14] !== 0x45 || b[at + 23] !== 6)
    return false;
  if (((b[at + 20] & 0x3f) | b[at + 21]) !== 0 || (b[end - 1] === 0xfb && b[end - 2] === 0x88)) return false;
  const ip_end = at + 14 + ((b[at + 16] << 8) | b[at + 17]);
  const tcp = at + 34;
  const payload = tcp + ((b[tcp + 12] >> 4) << 2);
  return ip_end <= end && payload >= tcp + 20 && payload <= ip_end;
}
