import type { Decoder } from './decode.ts';
import { etherType } from './ethernet.ts';
import { malformed } from './layer.ts';
import { type DecodedCode, Layer, type Packet } from './packet.ts';

/**
 * Cisco VN-Tag behind its TPID: direction, pointer and destination interface 2, looped, version and source interface 2, next
 * EtherType 2.
 */
export function vntag(decoder: Decoder, packet: Packet, at: number, end: number, wire: number): DecodedCode {
  return skipTag(decoder, packet, 4, at, end, wire);
}

/** E-TAG behind its TPID (IEEE 802.1BR 7.5): priority and ingress E-CID 2, E-CID 2, their extensions 1 + 1, next EtherType 2. */
export function etag(decoder: Decoder, packet: Packet, at: number, end: number, wire: number): DecodedCode {
  return skipTag(decoder, packet, 6, at, end, wire);
}

function skipTag(decoder: Decoder, packet: Packet, length: number, at: number, end: number, wire: number): DecodedCode {
  packet.layers |= 1 << Layer.vntag;
  const next = at + length;
  if (end - next < 2) return malformed(packet, Layer.vntag);
  return etherType(decoder, packet, (packet.bytes[next] << 8) | packet.bytes[next + 1], next + 2, end, wire);
}
