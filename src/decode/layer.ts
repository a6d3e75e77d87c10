import { Decoded, type DecodedCode, Layer, MAX_TUNNELS, type Packet } from './packet.ts';

// What all layers share. A layer is a function (decoder, packet, at, end, wire): `at` is where its header starts in
// `packet.bytes`, `end` where the captured bytes end that belong to it, `wire` where they ended on the wire (≥ end). It checks
// its header, sets the packet's fields only then, and ends in the call of the layer it carries.

/** Notes which layer is wrong. What the layers before it have set stays. */
export function malformed(packet: Packet, layer: number): DecodedCode {
  packet.malformed_layer = layer;
  return Decoded.malformed;
}

/** An IP packet in a packet: whatever the outer one said about transport is forgotten. */
export function clearTransport(packet: Packet): void {
  packet.transport_offset = -1;
  packet.source_port = 0;
  packet.destination_port = 0;
  packet.tcp_sequence = 0;
  packet.tcp_acknowledgment = 0;
  packet.tcp_flags = 0;
  packet.tcp_window = 0;
  packet.payload = -1;
  packet.payload_end = -1;
  packet.payload_missing = 0;
}

/** A frame in a packet: it has tags, addresses and ports of its own, or none. */
export function clearNetwork(packet: Packet): void {
  packet.vlan_count = 0;
  packet.vlan = 0;
  packet.ethertype = 0;
  packet.link_payload = -1;
  packet.link_payload_end = -1;
  packet.ip_version = 0;
  packet.network_offset = -1;
  packet.source.fill(0);
  packet.destination.fill(0);
  packet.ip_protocol = -1;
  clearTransport(packet);
}

/** Counts a tunnel around what follows; false where there are too many, which `malformed_layer` then says. */
export function enterTunnel(packet: Packet, layer: number): boolean {
  packet.layers |= 1 << layer;
  if (packet.tunnels >= MAX_TUNNELS) {
    packet.malformed_layer = Layer.nesting;
    return false;
  }
  packet.tunnels++;
  return true;
}
