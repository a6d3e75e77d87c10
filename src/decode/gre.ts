import type { Decoder } from './decode.ts';
import { erspan2, erspan3 } from './erspan.ts';
import { innerEthernet } from './ethernet.ts';
import { ip } from './ip.ts';
import { enterTunnel, malformed } from './layer.ts';
import { mpls } from './mpls.ts';
import { Decoded, type DecodedCode, Layer, type Packet } from './packet.ts';
import { ppp } from './pppoe.ts';

const CHECKSUM = 0x8000;
const ROUTING = 0x4000;
const KEY = 0x2000;
const SEQUENCE = 0x1000;
const ACKNOWLEDGMENT = 0x0080;

/**
 * GRE (RFC 2784, RFC 2890; with the source routes of RFC 1701): flags and version 2, protocol 2, then as the flags say checksum
 * and offset 4, key 4, sequence 4, routes; version 1 (PPTP, RFC 2637 4.1) has an acknowledgment 4 behind the sequence. A protocol
 * that is not understood leaves the packet as it is, with the GRE header as payload.
 */
export function gre(decoder: Decoder, packet: Packet, at: number, end: number, wire: number): DecodedCode {
  packet.layers |= 1 << Layer.gre;
  if (end - at < 4) return malformed(packet, Layer.gre);
  const { bytes } = packet;
  const flags = (bytes[at] << 8) | bytes[at + 1];
  const protocol = (bytes[at + 2] << 8) | bytes[at + 3];
  const version = flags & 7;
  if (version > 1) return malformed(packet, Layer.gre);
  let inner = at + 4;
  if ((flags & (CHECKSUM | ROUTING)) !== 0) inner += 4;
  if ((flags & KEY) !== 0) inner += 4;
  if ((flags & SEQUENCE) !== 0) inner += 4;
  if (version === 1 && (flags & ACKNOWLEDGMENT) !== 0) inner += 4;
  if ((flags & ROUTING) !== 0) {
    // Source route entries: address family 2, offset 1, length 1, routes; the last one is all 0.
    for (;;) {
      if (end - inner < 4) return malformed(packet, Layer.gre);
      const length = bytes[inner + 3];
      const last = length === 0 && bytes[inner] === 0 && bytes[inner + 1] === 0;
      inner += 4 + length;
      if (last) break;
    }
  }
  if (inner > end) return malformed(packet, Layer.gre);
  switch (protocol) {
    case 0x0800:
    case 0x86dd:
      return inner < end && enter(packet) ? ip(decoder, packet, Layer.gre, inner, end, wire) : empty(packet);
    case 0x8847:
    case 0x8848:
      return inner < end && enter(packet) ? mpls(decoder, packet, inner, end, wire) : empty(packet);
    case 0x880b:
      return inner < end && enter(packet) ? ppp(decoder, packet, Layer.gre, inner, end, wire) : empty(packet);
    case 0x6558:
      return innerEthernet(decoder, packet, Layer.gre, inner, end, wire);
    case 0x88be:
      // Type I has neither sequence nor header.
      if ((flags & SEQUENCE) === 0) return innerEthernet(decoder, packet, Layer.erspan, inner, end, wire);
      return erspan2(decoder, packet, inner, end, wire);
    case 0x22eb:
      return erspan3(decoder, packet, inner, end, wire);
    default:
      return Decoded.ok;
  }
}

function enter(packet: Packet): boolean {
  return enterTunnel(packet, Layer.gre);
}

/** A tunnel with nothing in it (a keep-alive, a PPTP acknowledgment) is well formed; one too deep is not. */
function empty(packet: Packet): DecodedCode {
  return packet.malformed_layer === -1 ? Decoded.ok : Decoded.malformed;
}
