import type { Decoder } from './decode.ts';
import { etherType } from './ethernet.ts';
import { malformed } from './layer.ts';
import { type DecodedCode, Layer, MAX_VLANS, type Packet } from './packet.ts';

/**
 * A VLAN tag behind its TPID (IEEE 802.1Q 9.6): PCP 3 bits, DEI 1, VID 12, then the next EtherType. Tags follow each other by
 * recursion.
 */
export function vlan(decoder: Decoder, packet: Packet, at: number, end: number, wire: number): DecodedCode {
  packet.layers |= 1 << Layer.vlan;
  if (end - at < 4 || packet.vlan_count === MAX_VLANS) return malformed(packet, Layer.vlan);
  const { bytes } = packet;
  addVlan(packet, ((bytes[at] & 0x0f) << 8) | bytes[at + 1]);
  return etherType(decoder, packet, (bytes[at + 2] << 8) | bytes[at + 3], at + 4, end, wire);
}

/** Notes a VLAN identifier inside those already known; the caller has checked MAX_VLANS. 0 only gives a priority. */
export function addVlan(packet: Packet, identifier: number): void {
  packet.vlans[packet.vlan_count++] = identifier;
  if (identifier !== 0) packet.vlan = identifier;
}
