import { arp } from './arp.ts';
import type { Decoder } from './decode.ts';
import { hsr, prp } from './hsr.ts';
import { ipv4 } from './ipv4.ts';
import { ipv6 } from './ipv6.ts';
import { clearNetwork, enterTunnel, malformed } from './layer.ts';
import { mpls } from './mpls.ts';
import { Decoded, type DecodedCode, Layer, type Packet } from './packet.ts';
import { pbb } from './pbb.ts';
import { pppoe } from './pppoe.ts';
import { vlan } from './vlan.ts';
import { etag, vntag } from './vntag.ts';

const HEADER = 14;
/** Below this the field after the addresses is a length (IEEE 802.3 3.2.6). */
const FIRST_ETHERTYPE = 0x600;
const LLC_HEADER = 3;
/** Tags and shims before the network layer, all kinds and all tunnels together. */
const MAX_SHIMS = 32;

/** Ethernet II and IEEE 802.3: destination 6, source 6, EtherType or length 2. */
export function ethernet(decoder: Decoder, packet: Packet, at: number, end: number, wire: number): DecodedCode {
  if (end - at < HEADER) return malformed(packet, Layer.ethernet);
  const { bytes } = packet;
  packet.layers |= 1 << Layer.ethernet;
  packet.link_bytes = bytes;
  packet.mac_destination = at;
  packet.mac_source = at + 6;
  if (bytes[end - 1] === 0xfb && bytes[end - 2] === 0x88 && end === wire) {
    const kept = prp(decoder, packet, at, end);
    if (kept < 0) return Decoded.duplicate;
    end = kept;
    wire = kept;
  }
  const type = (bytes[at + 12] << 8) | bytes[at + 13];
  if (type === 0x0800) {
    packet.ethertype = type;
    packet.link_payload = at + HEADER;
    packet.link_payload_end = end;
    return ipv4(decoder, packet, at + HEADER, end, wire);
  }
  return etherType(decoder, packet, type, at + HEADER, end, wire);
}

/** An Ethernet frame carried in the tunnel `layer`. */
export function innerEthernet(
  decoder: Decoder,
  packet: Packet,
  layer: number,
  at: number,
  end: number,
  wire: number,
): DecodedCode {
  if (end - at < HEADER) return malformed(packet, layer);
  if (!enterTunnel(packet, layer)) return Decoded.malformed;
  clearNetwork(packet);
  packet.link_tunnels = packet.tunnels;
  return ethernet(decoder, packet, at, end, wire);
}

/** What an EtherType announces, starting at `at`; also the types of SNAP, SLL and GRE. */
export function etherType(decoder: Decoder, packet: Packet, type: number, at: number, end: number, wire: number): DecodedCode {
  if (type < FIRST_ETHERTYPE) return llc(decoder, packet, type, at, end, wire);
  packet.ethertype = type;
  packet.link_payload = at;
  packet.link_payload_end = end;
  if (type === 0x0800) return ipv4(decoder, packet, at, end, wire);
  if (++decoder.shims > MAX_SHIMS) return malformed(packet, Layer.nesting);
  switch (type) {
    case 0x86dd:
      return ipv6(decoder, packet, at, end, wire);
    case 0x0806: // ARP
    case 0x8035: // RARP
      return arp(packet, at, end);
    case 0x8100: // IEEE 802.1Q C-tag
    case 0x88a8: // IEEE 802.1Q S-tag (802.1ad)
    case 0x9100: // QinQ before it was a standard
    case 0x9200:
    case 0x9300:
      return vlan(decoder, packet, at, end, wire);
    case 0x8847: // MPLS
    case 0x8848: // MPLS multicast, or with an upstream-assigned label
      return mpls(decoder, packet, at, end, wire);
    case 0x8864: // PPPoE session stage
      return pppoe(decoder, packet, at, end, wire);
    case 0x8926:
      return vntag(decoder, packet, at, end, wire);
    case 0x893f:
      return etag(decoder, packet, at, end, wire);
    case 0x892f:
      return hsr(decoder, packet, at, end, wire);
    case 0x88e7:
      return pbb(decoder, packet, at, end, wire);
    default:
      packet.layers |= 1 << Layer.other_ethertype;
      return Decoded.ok;
  }
}

/**
 * IEEE 802.3 with LLC (IEEE 802.2) and perhaps SNAP: DSAP 1, SSAP 1, control 1 or 2; SNAP: OUI 3, protocol 2. `length` counts
 * from `at`; one that holds no LLC (0 from some drivers, vendors' protocols that put a type there) means the whole frame. SNAP
 * with the OUI of encapsulated Ethernet (RFC 1042) or of a bridge tunnel (IEEE 802.1H) carries an EtherType; any other LLC frame
 * is left whole in `link_payload`, with EtherType 0.
 */
function llc(decoder: Decoder, packet: Packet, length: number, at: number, end: number, wire: number): DecodedCode {
  packet.layers |= 1 << Layer.llc;
  if (length >= LLC_HEADER) {
    wire = at + length;
    if (end > wire) end = wire;
  }
  packet.ethertype = 0;
  packet.link_payload = at;
  packet.link_payload_end = end;
  if (end - at < LLC_HEADER) return malformed(packet, Layer.llc);
  const { bytes } = packet;
  if (bytes[at] !== 0xaa || bytes[at + 1] !== 0xaa || bytes[at + 2] !== 3) return Decoded.ok;
  if (end - at < 8) return malformed(packet, Layer.llc);
  const oui = (bytes[at + 3] << 16) | (bytes[at + 4] << 8) | bytes[at + 5];
  if (oui !== 0 && oui !== 0x0000f8) return Decoded.ok;
  const type = (bytes[at + 6] << 8) | bytes[at + 7];
  if (type < FIRST_ETHERTYPE) return Decoded.ok;
  return etherType(decoder, packet, type, at + 8, end, wire);
}
