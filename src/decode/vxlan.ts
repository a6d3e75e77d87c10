import type { Decoder } from './decode.ts';
import { innerEthernet } from './ethernet.ts';
import { ip } from './ip.ts';
import { enterTunnel } from './layer.ts';
import { looksLikeEthernet } from './mpls.ts';
import { Decoded, type DecodedCode, Layer, type Packet } from './packet.ts';

export const VXLAN_PORT = 4789;
/** Of VXLAN-GPE; some use VXLAN's. */
export const VXLAN_GPE_PORT = 4790;
const HEADER = 8;
/** Values of the next protocol in VXLAN-GPE. */
const NEXT_IPV4 = 1;
const NEXT_IPV6 = 2;
const NEXT_ETHERNET = 3;

/**
 * What VXLAN (RFC 7348 5) carries, as a next protocol of VXLAN-GPE (draft-ietf-nvo3-vxlan-gpe 3.1), 0 for what is neither or
 * holds nothing understood. All other flags and reserved bits must be 0, but for a group policy (flag 0x80) in bytes 1–3.
 */
export function vxlanPayload(packet: Packet, at: number, end: number): number {
  const { bytes } = packet;
  if (end - at <= HEADER || bytes[at + 7] !== 0) return 0;
  const flags = bytes[at];
  let next = NEXT_ETHERNET;
  if (flags === 0x0c) {
    if ((bytes[at + 1] | bytes[at + 2]) !== 0) return 0;
    next = bytes[at + 3];
  } else if (flags !== 0x88 && (flags !== 0x08 || (bytes[at + 1] | bytes[at + 2] | bytes[at + 3]) !== 0)) {
    return 0;
  }
  const version = bytes[at + HEADER] >> 4;
  if (next === NEXT_ETHERNET) return looksLikeEthernet(bytes, at + HEADER, end) ? next : 0;
  return (next === NEXT_IPV4 && version === 4) || (next === NEXT_IPV6 && version === 6) ? next : 0;
}

/**
 * VXLAN: flags 1, reserved 3 (GPE: the last is the next protocol), network identifier 3, reserved 1, then a frame without its
 * check sequence.
 */
export function vxlan(decoder: Decoder, packet: Packet, next: number, at: number, end: number, wire: number): DecodedCode {
  if (next === NEXT_ETHERNET) return innerEthernet(decoder, packet, Layer.vxlan, at + HEADER, end, wire);
  if (!enterTunnel(packet, Layer.vxlan)) return Decoded.malformed;
  return ip(decoder, packet, Layer.vxlan, at + HEADER, end, wire);
}
