import type { Decoder } from './decode.ts';
import { etherType } from './ethernet.ts';
import { ip } from './ip.ts';
import { malformed } from './layer.ts';
import { Decoded, type DecodedCode, Layer, type Packet } from './packet.ts';

/** Address families of IPv6 on the systems that write such captures: Linux, NetBSD and OpenBSD, FreeBSD, macOS. */
const AF_INET = 2;
const AF_INET6 = [10, 24, 28, 30];

/**
 * LINKTYPE_NULL: address family 4, in the byte order of the capturing machine; LINKTYPE_LOOP: the same in network order. Families
 * are small, so the order shows.
 */
export function loopback(decoder: Decoder, packet: Packet, at: number, end: number, wire: number): DecodedCode {
  packet.layers |= 1 << Layer.loopback;
  if (end - at < 4) return malformed(packet, Layer.loopback);
  const { bytes } = packet;
  const swapped = bytes[at] === 0 && bytes[at + 1] === 0;
  const family = swapped ? (bytes[at + 2] << 8) | bytes[at + 3] : bytes[at] | (bytes[at + 1] << 8);
  if (family === AF_INET || AF_INET6.includes(family)) return ip(decoder, packet, Layer.loopback, at + 4, end, wire);
  // Some drivers write an EtherType where the upper half of the family would be.
  const type = (bytes[at + 2] << 8) | bytes[at + 3];
  if (type === 0x0800 || type === 0x86dd) return etherType(decoder, packet, type, at + 4, end, wire);
  packet.layers |= 1 << Layer.other_ethertype;
  packet.link_payload = at + 4;
  packet.link_payload_end = end;
  return Decoded.ok;
}

/**
 * LINKTYPE_LINUX_SLL: packet type 2, ARPHRD type 2, address length 2, source address 8, protocol 2. There is no destination
 * address. Protocol numbers below 0x600 are Linux's own; 4 is LLC, 1 raw IEEE 802.3.
 */
export function linuxCooked(decoder: Decoder, packet: Packet, at: number, end: number, wire: number): DecodedCode {
  packet.layers |= 1 << Layer.cooked;
  if (end - at < 16) return malformed(packet, Layer.cooked);
  const { bytes } = packet;
  if (bytes[at + 4] === 0 && bytes[at + 5] === 6) packet.mac_source = at + 6;
  return cookedProtocol(decoder, packet, (bytes[at + 14] << 8) | bytes[at + 15], at + 16, end, wire);
}

/** LINKTYPE_LINUX_SLL2: protocol 2, reserved 2, interface 4, ARPHRD type 2, packet type 1, address length 1, source address 8. */
export function linuxCooked2(decoder: Decoder, packet: Packet, at: number, end: number, wire: number): DecodedCode {
  packet.layers |= 1 << Layer.cooked;
  if (end - at < 20) return malformed(packet, Layer.cooked);
  const { bytes } = packet;
  if (bytes[at + 11] === 6) packet.mac_source = at + 12;
  return cookedProtocol(decoder, packet, (bytes[at] << 8) | bytes[at + 1], at + 20, end, wire);
}

function cookedProtocol(decoder: Decoder, packet: Packet, protocol: number, at: number, end: number, wire: number): DecodedCode {
  // Length 0: an LLC frame without the length field, up to the end.
  if (protocol >= 0x600 || protocol === 4) return etherType(decoder, packet, protocol === 4 ? 0 : protocol, at, end, wire);
  packet.layers |= 1 << Layer.other_ethertype;
  packet.link_payload = at;
  packet.link_payload_end = end;
  return Decoded.ok;
}
