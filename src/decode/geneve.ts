import type { Decoder } from './decode.ts';
import { innerEthernet } from './ethernet.ts';
import { ip } from './ip.ts';
import { enterTunnel } from './layer.ts';
import { looksLikeEthernet } from './mpls.ts';
import { Decoded, type DecodedCode, Layer, type Packet } from './packet.ts';

export const GENEVE_PORT = 6081;
const HEADER = 8;

/** Is it GENEVE (RFC 8926 3.4): version 0, reserved bits 0, and a frame or IP packet behind the options? */
export function isGeneve(packet: Packet, at: number, end: number): boolean {
  const { bytes } = packet;
  if (end - at < HEADER) return false;
  if (bytes[at] >> 6 !== 0 || (bytes[at + 1] & 0x3f) !== 0 || bytes[at + 7] !== 0) return false;
  const inner = at + HEADER + ((bytes[at] & 0x3f) << 2);
  const type = (bytes[at + 2] << 8) | bytes[at + 3];
  if (type === 0x6558) return looksLikeEthernet(bytes, inner, end);
  if (inner >= end) return false;
  return (type === 0x0800 && bytes[inner] >> 4 === 4) || (type === 0x86dd && bytes[inner] >> 4 === 6);
}

/**
 * GENEVE (RFC 8926 3.4): version 2 bits, options length 6 in units of 4 bytes, flags 8, protocol 2, network identifier 3,
 * reserved 1, options. The options say nothing about the inner packet and are skipped.
 */
export function geneve(decoder: Decoder, packet: Packet, at: number, end: number, wire: number): DecodedCode {
  const { bytes } = packet;
  const inner = at + HEADER + ((bytes[at] & 0x3f) << 2);
  if (bytes[at + 2] === 0x65) return innerEthernet(decoder, packet, Layer.geneve, inner, end, wire);
  if (!enterTunnel(packet, Layer.geneve)) return Decoded.malformed;
  return ip(decoder, packet, Layer.geneve, inner, end, wire);
}
