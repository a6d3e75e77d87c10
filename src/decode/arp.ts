import { malformed } from './layer.ts';
import { Decoded, type DecodedCode, Layer, type Packet } from './packet.ts';

/**
 * ARP and RARP (RFC 826, RFC 903): hardware type 2, protocol type 2, lengths 1 + 1, operation 2, sender's hardware and protocol
 * address, target's. For Ethernet and IPv4 the protocol addresses go to `source` and `destination`; the message is
 * `link_payload`.
 */
export function arp(packet: Packet, at: number, end: number): DecodedCode {
  packet.layers |= 1 << Layer.arp;
  if (end - at < 8) return malformed(packet, Layer.arp);
  const { bytes } = packet;
  const hardware = bytes[at + 4];
  const protocol = bytes[at + 5];
  if (end - at < 8 + 2 * (hardware + protocol)) return malformed(packet, Layer.arp);
  const protocol_type = (bytes[at + 2] << 8) | bytes[at + 3];
  if (protocol_type !== 0x0800 || protocol !== 4) return Decoded.ok;
  const { source, destination } = packet;
  const sender = at + 8 + hardware;
  const target = sender + 4 + hardware;
  source[2] = 0xffff;
  source[3] = (bytes[sender] << 24) | (bytes[sender + 1] << 16) | (bytes[sender + 2] << 8) | bytes[sender + 3];
  destination[2] = 0xffff;
  destination[3] = (bytes[target] << 24) | (bytes[target + 1] << 16) | (bytes[target + 2] << 8) | bytes[target + 3];
  return Decoded.ok;
}
