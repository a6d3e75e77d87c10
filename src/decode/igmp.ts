import { malformed } from './layer.ts';
import { Decoded, type DecodedCode, Layer, type Packet } from './packet.ts';

/** IGMP (RFC 1112, RFC 2236, RFC 3376): eight bytes in every message. `payload` is the message from its type on. */
export function igmp(packet: Packet, at: number, end: number): DecodedCode {
  packet.layers |= 1 << Layer.igmp;
  return end - at < 8 ? malformed(packet, Layer.igmp) : Decoded.ok;
}
