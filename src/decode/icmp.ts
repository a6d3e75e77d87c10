import { malformed } from './layer.ts';
import { Decoded, type DecodedCode, Layer, type Packet } from './packet.ts';

/** ICMP (RFC 792): type 1, code 1, checksum 2, four bytes more in every message. `payload` is the message from its type on. */
export function icmp(packet: Packet, at: number, end: number): DecodedCode {
  packet.layers |= 1 << Layer.icmp;
  return end - at < 8 ? malformed(packet, Layer.icmp) : Decoded.ok;
}

/** ICMPv6 (RFC 4443 2.1): type 1, code 1, checksum 2. `payload` is the message from its type on. */
export function icmpv6(packet: Packet, at: number, end: number): DecodedCode {
  packet.layers |= 1 << Layer.icmp;
  return end - at < 4 ? malformed(packet, Layer.icmp) : Decoded.ok;
}
