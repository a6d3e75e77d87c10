import type { Decoder } from './decode.ts';
import { ipTransport } from './ip.ts';
import { clearTransport, malformed } from './layer.ts';
import { Decoded, type DecodedCode, Layer, type Packet } from './packet.ts';

const MIN_HEADER = 20;

/**
 * IPv4 (RFC 791 3.1): version and header length 1, type of service 1, total length 2, identification 2, flags and fragment offset
 * 2, time to live 1, protocol 1, header checksum 2, source 4, destination 4, options.
 *
 * A total length of 0 comes from captures on the sending machine itself, where the network card cuts a large segment up later:
 * the frame's length stands for it. What the frame has beyond the total length is padding, what it lacks is `payload_missing` (of
 * TCP no more than the frame lacks, which a total length beyond it does not change).
 */
export function ipv4(decoder: Decoder, packet: Packet, at: number, end: number, wire: number): DecodedCode {
  if (end - at < MIN_HEADER) return malformed(packet, Layer.ipv4);
  const { bytes } = packet;
  const first = bytes[at];
  const header = (first & 0x0f) << 2;
  let total = (bytes[at + 2] << 8) | bytes[at + 3];
  if (total === 0) total = wire - at;
  if (first >> 4 !== 4 || header < MIN_HEADER || total < header || at + header > end) return malformed(packet, Layer.ipv4);
  wire = at + total;
  if (end > wire) end = wire;
  if (packet.tunnels !== 0) clearTransport(packet);
  packet.layers |= 1 << Layer.ipv4;
  packet.ip_version = 4;
  packet.network_offset = at;
  const { source, destination } = packet;
  source[0] = 0;
  source[1] = 0;
  source[2] = 0xffff;
  source[3] = (bytes[at + 12] << 24) | (bytes[at + 13] << 16) | (bytes[at + 14] << 8) | bytes[at + 15];
  destination[0] = 0;
  destination[1] = 0;
  destination[2] = 0xffff;
  destination[3] = (bytes[at + 16] << 24) | (bytes[at + 17] << 16) | (bytes[at + 18] << 8) | bytes[at + 19];
  const protocol = bytes[at + 9];
  // More fragments, or not the first.
  if (((bytes[at + 6] & 0x3f) | bytes[at + 7]) !== 0) return fragment(decoder, packet, protocol, at, header, end, wire);
  return ipTransport(decoder, packet, protocol, at + header, end, wire);
}

function fragment(
  decoder: Decoder,
  packet: Packet,
  protocol: number,
  at: number,
  header: number,
  end: number,
  wire: number,
): DecodedCode {
  const { bytes } = packet;
  packet.layers |= 1 << Layer.fragment;
  packet.ip_protocol = protocol;
  const identification = (bytes[at + 4] << 8) | bytes[at + 5];
  const offset = (((bytes[at + 6] & 0x1f) << 8) | bytes[at + 7]) << 3;
  const more = (bytes[at + 6] & 0x20) !== 0;
  const length = decoder.fragments.add(packet, identification, protocol, offset, more, at, header, at + header, end, wire);
  if (length === 0) return Decoded.fragment;
  if (length < 0) return malformed(packet, Layer.fragment);
  const start = decoder.fragments.start;
  packet.bytes = decoder.fragments.bytes;
  packet.network_offset = start - header;
  packet.reassembled = true;
  return ipTransport(decoder, packet, protocol, start, start + length, start + length);
}
