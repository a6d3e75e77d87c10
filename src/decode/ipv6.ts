import type { Decoder } from './decode.ts';
import { ipTransport } from './ip.ts';
import { clearTransport, malformed } from './layer.ts';
import { Decoded, type DecodedCode, Layer, type Packet } from './packet.ts';

const HEADER = 40;
/** Extension headers in a packet; more is malformed. */
const MAX_EXTENSIONS = 16;

/**
 * IPv6 (RFC 8200 3): version 4 bits, traffic class 8, flow label 20, payload length 2, next header 1, hop limit 1, source 16,
 * destination 16. A payload length of 0 is a jumbogram (RFC 2675) or a segment that the network card will cut up: the frame's
 * length stands for it.
 */
export function ipv6(decoder: Decoder, packet: Packet, at: number, end: number, wire: number): DecodedCode {
  if (end - at < HEADER) return malformed(packet, Layer.ipv6);
  const { bytes, source, destination } = packet;
  if (bytes[at] >> 4 !== 6) return malformed(packet, Layer.ipv6);
  const length = (bytes[at + 4] << 8) | bytes[at + 5];
  const next = bytes[at + 6];
  decoder.jumbogram = length === 0 && next === 0;
  if (length !== 0 || next === 59) {
    wire = at + HEADER + length;
    if (end > wire) end = wire;
  }
  if (packet.tunnels !== 0) clearTransport(packet);
  packet.layers |= 1 << Layer.ipv6;
  packet.ip_version = 6;
  packet.network_offset = at;
  for (let word = 0, i = at + 8; word < 4; word++, i += 4) {
    source[word] = (bytes[i] << 24) | (bytes[i + 1] << 16) | (bytes[i + 2] << 8) | bytes[i + 3];
    destination[word] = (bytes[i + 16] << 24) | (bytes[i + 17] << 16) | (bytes[i + 18] << 8) | bytes[i + 19];
  }
  if (next === 6 || next === 17 || next === 58) return ipTransport(decoder, packet, next, at + HEADER, end, wire);
  return extensions(decoder, packet, next, at + HEADER, end, wire);
}

/**
 * The extension headers (RFC 8200 4): next header 1, length 1 in units of 8 bytes without the first 8 (AH, RFC 4302 2.2: of 4
 * without the first two). ESP hides what follows and counts as a transport.
 */
function extensions(decoder: Decoder, packet: Packet, next: number, at: number, end: number, wire: number): DecodedCode {
  for (let count = 0; ; count++) {
    const isExtension =
      next === 0 || next === 43 || next === 44 || next === 51 || next === 60 || next === 135 || next === 139 || next === 140;
    if (!isExtension) return ipTransport(decoder, packet, next, at, end, wire);
    packet.layers |= 1 << Layer.ipv6_extension;
    packet.ip_protocol = next;
    if (end - at < 8 || count === MAX_EXTENSIONS) return malformed(packet, Layer.ipv6_extension);
    const { bytes } = packet;
    const following = bytes[at];
    if (next === 44) {
      const field = (bytes[at + 2] << 8) | bytes[at + 3];
      const offset = field & 0xfff8;
      const more = (field & 1) !== 0;
      at += 8;
      // Offset 0 and no more: an atomic fragment is a whole packet (RFC 6946).
      if (offset !== 0 || more) {
        packet.layers |= 1 << Layer.fragment;
        packet.ip_protocol = following;
        const identification = (bytes[at - 4] << 24) | (bytes[at - 3] << 16) | (bytes[at - 2] << 8) | bytes[at - 1];
        const { fragments } = decoder;
        const length = fragments.add(
          packet,
          identification,
          following,
          offset,
          more,
          packet.network_offset,
          HEADER,
          at,
          end,
          wire,
        );
        if (length === 0) return Decoded.fragment;
        if (length < 0) return malformed(packet, Layer.fragment);
        packet.bytes = fragments.bytes;
        packet.network_offset = fragments.start - HEADER;
        packet.reassembled = true;
        at = fragments.start;
        end = at + length;
        wire = end;
        next = fragments.protocol;
        continue;
      }
    } else {
      at += next === 51 ? (bytes[at + 1] + 2) << 2 : (bytes[at + 1] + 1) << 3;
      if (at > end) return malformed(packet, Layer.ipv6_extension);
    }
    next = following;
  }
}
