import type { Decoder } from './decode.ts';
import { innerEthernet } from './ethernet.ts';
import { ip } from './ip.ts';
import { enterTunnel, malformed } from './layer.ts';
import { Decoded, type DecodedCode, Layer, type Packet } from './packet.ts';
import { addVlan } from './vlan.ts';

// Mirrored frames over GRE, as the IETF draft draft-foschiano-erspan describes them. Both headers begin with version 4 bits, VLAN
// identifier 12, class of service 3, 2 bits that say how the frame was tagged (type II) or damaged (type III), truncated 1,
// session 10.

/** Type II: 4 bytes as above, then reserved 12 bits, index 20. */
export function erspan2(decoder: Decoder, packet: Packet, at: number, end: number, wire: number): DecodedCode {
  packet.layers |= 1 << Layer.erspan;
  if (end - at < 8 || packet.bytes[at] >> 4 !== 1) return malformed(packet, Layer.erspan);
  return mirrored(decoder, packet, at, at + 8, end, wire);
}

/**
 * Type III: 4 bytes as above, time stamp 4, security group 2, P 1 bit, frame type 5, hardware 6, D 1, granularity 2, O 1; with O
 * 8 bytes more.
 */
export function erspan3(decoder: Decoder, packet: Packet, at: number, end: number, wire: number): DecodedCode {
  packet.layers |= 1 << Layer.erspan;
  const { bytes } = packet;
  if (end - at < 12 || bytes[at] >> 4 !== 2) return malformed(packet, Layer.erspan);
  const inner = at + ((bytes[at + 11] & 1) !== 0 ? 20 : 12);
  const frame_type = (bytes[at + 10] >> 2) & 0x1f;
  if (frame_type === 0) return mirrored(decoder, packet, at, inner, end, wire);
  if (frame_type !== 2) return Decoded.ok;
  if (!enterTunnel(packet, Layer.erspan)) return Decoded.malformed;
  return ip(decoder, packet, Layer.erspan, inner, end, wire);
}

/** The mirroring switch names the VLAN of a frame whose tag it took off, or that came in on an access port. */
function mirrored(decoder: Decoder, packet: Packet, header: number, at: number, end: number, wire: number): DecodedCode {
  const identifier = ((packet.bytes[header] & 0x0f) << 8) | packet.bytes[header + 1];
  const depth = packet.tunnels;
  const decoded = innerEthernet(decoder, packet, Layer.erspan, at, end, wire);
  // Only where this frame is what is described, and not yet another one in it.
  if (packet.link_tunnels === depth + 1 && packet.vlan_count === 0 && identifier !== 0) addVlan(packet, identifier);
  return decoded;
}
