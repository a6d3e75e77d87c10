import type { Decoder } from './decode.ts';
import { innerEthernet } from './ethernet.ts';
import { looksLikeEthernet } from './mpls.ts';
import { type DecodedCode, Layer, type Packet } from './packet.ts';

export const VXLAN_PORT = 4789;
const HEADER = 8;

/** Is it VXLAN (RFC 7348 5) with a frame in it? All flags but I and all reserved bits are 0 (bit 0x80: a group policy in bytes 1–3). */
export function isVxlan(packet: Packet, at: number, end: number): boolean {
  const { bytes } = packet;
  if (end - at < HEADER + 14) return false;
  const flags = bytes[at];
  const reserved = bytes[at + 1] | bytes[at + 2] | bytes[at + 3];
  if (flags !== 0x88 && (flags !== 0x08 || reserved !== 0)) return false;
  return bytes[at + 7] === 0 && looksLikeEthernet(bytes, at + HEADER, end);
}

/** VXLAN (RFC 7348 5): flags 1, reserved 3, network identifier 3, reserved 1, then a frame without its check sequence. */
export function vxlan(decoder: Decoder, packet: Packet, at: number, end: number, wire: number): DecodedCode {
  return innerEthernet(decoder, packet, Layer.vxlan, at + HEADER, end, wire);
}
