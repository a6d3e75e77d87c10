import type { Decoder } from './decode.ts';
import { ip } from './ip.ts';
import { malformed } from './layer.ts';
import { Decoded, type DecodedCode, Layer, type Packet } from './packet.ts';

/**
 * PPPoE session stage (RFC 2516 4): version and type 1, code 1, session 2, length 2, then a PPP frame. IP in it is decoded, the
 * rest (link control, authentication) stays in `link_payload`, from the PPPoE header on.
 */
export function pppoe(decoder: Decoder, packet: Packet, at: number, end: number, wire: number): DecodedCode {
  packet.layers |= 1 << Layer.pppoe;
  if (end - at < 6) return malformed(packet, Layer.pppoe);
  const { bytes } = packet;
  if (bytes[at] !== 0x11) return malformed(packet, Layer.pppoe);
  if (bytes[at + 1] !== 0) return Decoded.ok;
  wire = at + 6 + ((bytes[at + 4] << 8) | bytes[at + 5]);
  if (end > wire) end = wire;
  return ppp(decoder, packet, Layer.pppoe, at + 6, end, wire);
}

/**
 * A PPP frame (RFC 1661 2) with or without address and control (RFC 1662 3.1), the protocol in 2 bytes or, compressed, in 1
 * (6.5).
 */
export function ppp(decoder: Decoder, packet: Packet, layer: number, at: number, end: number, wire: number): DecodedCode {
  const { bytes } = packet;
  if (end - at >= 2 && bytes[at] === 0xff && bytes[at + 1] === 0x03) at += 2;
  if (at >= end) return malformed(packet, layer);
  let protocol = bytes[at++];
  if ((protocol & 1) === 0) {
    if (at >= end) return malformed(packet, layer);
    protocol = (protocol << 8) | bytes[at++];
  }
  if (protocol === 0x21 || protocol === 0x57) return ip(decoder, packet, layer, at, end, wire);
  return Decoded.ok;
}
