import type { Decoder } from './decode.ts';
import { innerEthernet } from './ethernet.ts';
import { ip } from './ip.ts';
import { malformed } from './layer.ts';
import { Decoded, type DecodedCode, Layer, type Packet } from './packet.ts';

const MAX_LABELS = 16;

/**
 * MPLS (RFC 3032 2.1): entries of label 20 bits, traffic class 3, bottom of stack 1, time to live 8. Nothing says what follows
 * the stack: by the first four bits it is IP, a pseudowire with a control word (0; RFC 4385 3), an associated channel (1), or a
 * pseudowire without one. An Ethernet pseudowire (RFC 4448) is a tunnel; what looks like none of them stays in `link_payload`,
 * from the first label on.
 */
export function mpls(decoder: Decoder, packet: Packet, at: number, end: number, wire: number): DecodedCode {
  packet.layers |= 1 << Layer.mpls;
  const { bytes } = packet;
  for (let labels = 0; ; labels++) {
    if (end - at < 4 || labels === MAX_LABELS) return malformed(packet, Layer.mpls);
    at += 4;
    if ((bytes[at - 2] & 1) !== 0) break;
  }
  if (at >= end) return malformed(packet, Layer.mpls);
  const nibble = bytes[at] >> 4;
  if (nibble === 4 || nibble === 6) return ip(decoder, packet, Layer.mpls, at, end, wire);
  // The control word of Ethernet begins with 16 bits of 0 (RFC 4448 4.6); else a station's address may begin with a nibble of 0
  // as well.
  if (nibble === 0 && bytes[at] === 0 && bytes[at + 1] === 0 && looksLikeEthernet(bytes, at + 4, end)) {
    return innerEthernet(decoder, packet, Layer.ethernet_in_ethernet, at + 4, end, wire);
  }
  if (nibble !== 1 && looksLikeEthernet(bytes, at, end)) {
    return innerEthernet(decoder, packet, Layer.ethernet_in_ethernet, at, end, wire);
  }
  return Decoded.ok;
}

/**
 * Could a frame start here that a network would have carried? The source is a station's address and not all 0, and what follows
 * is an EtherType or a length that fits.
 */
export function looksLikeEthernet(bytes: Uint8Array, at: number, end: number): boolean {
  if (end - at < 14) return false;
  const source = at + 6;
  if ((bytes[source] & 1) !== 0) return false;
  if ((bytes[source] | bytes[source + 1] | bytes[source + 2] | bytes[source + 3] | bytes[source + 4] | bytes[source + 5]) === 0)
    return false;
  const type = (bytes[at + 12] << 8) | bytes[at + 13];
  return type >= 0x600 || (type >= 3 && type <= end - at - 14);
}
