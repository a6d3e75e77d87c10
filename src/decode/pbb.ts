import type { Decoder } from './decode.ts';
import { innerEthernet } from './ethernet.ts';
import { malformed } from './layer.ts';
import { type DecodedCode, Layer, type Packet } from './packet.ts';

/**
 * Provider backbone bridges (IEEE 802.1Q 9.7, I-TAG behind its TPID): priority and flags 1, service identifier 3, then the
 * customer's frame.
 */
export function pbb(decoder: Decoder, packet: Packet, at: number, end: number, wire: number): DecodedCode {
  if (end - at < 4) return malformed(packet, Layer.ethernet_in_ethernet);
  return innerEthernet(decoder, packet, Layer.ethernet_in_ethernet, at + 4, end, wire);
}
