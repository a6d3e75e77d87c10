import type { Decoder } from './decode.ts';
import { gre } from './gre.ts';
import { icmp, icmpv6 } from './icmp.ts';
import { igmp } from './igmp.ts';
import { ipv4 } from './ipv4.ts';
import { ipv6 } from './ipv6.ts';
import { enterTunnel } from './layer.ts';
import { Decoded, type DecodedCode, Layer, type Packet } from './packet.ts';
import { tcp } from './tcp.ts';
import { udp } from './udp.ts';

/** What an IP protocol number announces, behind all headers of IP. */
export function ipTransport(
  decoder: Decoder,
  packet: Packet,
  protocol: number,
  at: number,
  end: number,
  wire: number,
): DecodedCode {
  packet.ip_protocol = protocol;
  packet.transport_offset = at;
  if (protocol === 6) return tcp(decoder, packet, at, end, wire);
  if (protocol === 17) return udp(decoder, packet, at, end, wire);
  return otherTransport(decoder, packet, protocol, at, end, wire);
}

function otherTransport(decoder: Decoder, packet: Packet, protocol: number, at: number, end: number, wire: number): DecodedCode {
  packet.payload = at;
  packet.payload_end = end;
  packet.payload_missing = wire - end;
  switch (protocol) {
    case 1:
      return icmp(packet, at, end);
    case 2:
      return igmp(packet, at, end);
    case 4: // IPv4 in IP (RFC 2003)
      return enterTunnel(packet, Layer.ip_in_ip) ? ipv4(decoder, packet, at, end, wire) : Decoded.malformed;
    case 41: // IPv6 in IP (RFC 4213)
      return enterTunnel(packet, Layer.ip_in_ip) ? ipv6(decoder, packet, at, end, wire) : Decoded.malformed;
    case 47:
      return gre(decoder, packet, at, end, wire);
    case 58:
      return icmpv6(packet, at, end);
    default:
      packet.layers |= 1 << Layer.other_transport;
      return Decoded.ok;
  }
}

/**
 * IP whose version its first four bits tell: raw link types, MPLS, tunnels. It is the link layer's payload unless a tunnel
 * without a link layer of its own lies between.
 */
export function ip(decoder: Decoder, packet: Packet, layer: number, at: number, end: number, wire: number): DecodedCode {
  const version = at < end ? packet.bytes[at] >> 4 : 0;
  if (version !== 4 && version !== 6) {
    packet.malformed_layer = layer;
    return Decoded.malformed;
  }
  if (packet.link_tunnels === packet.tunnels) {
    packet.ethertype = version === 4 ? 0x0800 : 0x86dd;
    packet.link_payload = at;
    packet.link_payload_end = end;
  }
  return version === 4 ? ipv4(decoder, packet, at, end, wire) : ipv6(decoder, packet, at, end, wire);
}
