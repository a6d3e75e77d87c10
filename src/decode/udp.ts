import type { Decoder } from './decode.ts';
import { GENEVE_PORT, geneve, isGeneve } from './geneve.ts';
import { malformed } from './layer.ts';
import { Decoded, type DecodedCode, Layer, type Packet } from './packet.ts';
import { VXLAN_GPE_PORT, VXLAN_PORT, vxlan, vxlanPayload } from './vxlan.ts';

const HEADER = 8;

/**
 * UDP (RFC 768): ports 2 + 2, length 2, checksum 2. The length may be 0 in an IPv6 jumbogram (RFC 2675 4). A length beyond the
 * end of the IP packet is malformed, since receivers drop it; a shorter one leaves a trailer. Of a header that is cut short the
 * ports are still told.
 */
export function udp(decoder: Decoder, packet: Packet, at: number, end: number, wire: number): DecodedCode {
  const { bytes } = packet;
  packet.layers |= 1 << Layer.udp;
  if (end - at >= 4) {
    packet.source_port = (bytes[at] << 8) | bytes[at + 1];
    packet.destination_port = (bytes[at + 2] << 8) | bytes[at + 3];
  }
  if (end - at < HEADER) return malformed(packet, Layer.udp);
  let length = (bytes[at + 4] << 8) | bytes[at + 5];
  if (length === 0 && decoder.jumbogram) length = wire - at;
  if (length < HEADER || at + length > wire) return malformed(packet, Layer.udp);
  wire = at + length;
  if (end > wire) end = wire;
  packet.payload = at + HEADER;
  packet.payload_end = end;
  packet.payload_missing = wire - end;
  const port = packet.destination_port;
  if (port === VXLAN_PORT || port === VXLAN_GPE_PORT) {
    const next = vxlanPayload(packet, at + HEADER, end);
    if (next !== 0) return vxlan(decoder, packet, next, at + HEADER, end, wire);
  }
  if (port === GENEVE_PORT && isGeneve(packet, at + HEADER, end)) return geneve(decoder, packet, at + HEADER, end, wire);
  return Decoded.ok;
}
