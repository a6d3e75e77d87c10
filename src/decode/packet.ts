/** Link types of capture files that are understood (the numbers of the tcpdump.org registry). */
export const LINK_TYPES: Readonly<Record<number, string>> = {
  0: 'NULL (BSD loopback)',
  1: 'ETHERNET',
  12: 'RAW (12)',
  14: 'RAW (14)',
  101: 'RAW',
  108: 'LOOP',
  113: 'LINUX_SLL',
  228: 'IPV4',
  229: 'IPV6',
  276: 'LINUX_SLL2',
};

/** What became of a packet. */
export const Decoded = {
  /** Looked into as deep as it goes. */
  ok: 0,
  /** A fragment of a datagram that is not complete: nothing to inspect yet. */
  fragment: 1,
  /** The second copy that a redundant network (HSR, PRP) delivers. */
  duplicate: 2,
  /** A header is cut short or contradicts itself; what came before it is set. */
  malformed: 3,
} as const;
export type DecodedCode = (typeof Decoded)[keyof typeof Decoded];

export const MAX_VLANS = 8;
/** Tunnels in tunnels; a deeper nest is malformed. */
export const MAX_TUNNELS = 8;

/**
 * What a packet may contain: numbers of the bits of `packet.layers` (`1 << Layer.vlan`) and of the counters. The last one is no
 * layer: it is what `malformed_layer` says of tags and tunnels nested too deep.
 */
export const Layer = {
  ethernet: 0,
  cooked: 1,
  loopback: 2,
  raw_ip: 3,
  llc: 4,
  vlan: 5,
  mpls: 6,
  pppoe: 7,
  vntag: 8,
  hsr: 9,
  prp: 10,
  arp: 11,
  other_ethertype: 12,
  ipv4: 13,
  ipv6: 14,
  ipv6_extension: 15,
  fragment: 16,
  tcp: 17,
  udp: 18,
  icmp: 19,
  igmp: 20,
  other_transport: 21,
  gre: 22,
  erspan: 23,
  vxlan: 24,
  geneve: 25,
  ip_in_ip: 26,
  ethernet_in_ethernet: 27,
  ipv4_checksum_error: 28,
  transport_checksum_error: 29,
  nesting: 30,
} as const;
export type LayerName = keyof typeof Layer;
/** In the order of their numbers. */
export const LAYER_NAMES = Object.keys(Layer) as LayerName[];

/**
 * One packet, decoded: where each layer starts. Reused for every packet; offsets are into `bytes`, -1 where the layer is absent.
 * Of a packet in a packet (tunnels) the innermost is described; its outer layers are only counted.
 */
export class Packet {
  /** The ring, or the memory of the reassembler where the datagram came in fragments. */
  bytes: Uint8Array = new Uint8Array(new SharedArrayBuffer(0));
  /** Number in the capture, from 1. */
  frame = 0;
  seconds = 0;
  nanoseconds = 0;
  /** ms since the epoch, with fractions. */
  time_ms = 0;
  /** Bytes of the frame as captured, and as it was on the wire. */
  captured = 0;
  wire = 0;
  interface_ = 0;

  /**
   * Offsets of the MAC addresses (6 bytes) in `link_bytes`, which is the ring even where `bytes` is not (but for a frame in a
   * tunnel whose outer datagram came in fragments). `link_payload` is an offset in it, too.
   */
  link_bytes: Uint8Array = this.bytes;
  mac_destination = -1;
  mac_source = -1;
  /** VLAN identifiers from the outside in; 0 is a priority tag. A stack deeper than MAX_VLANS is malformed. */
  readonly vlans = new Uint16Array(MAX_VLANS);
  vlan_count = 0;
  /** The innermost VLAN identifier that is not 0; 0 for none. With the outer ones it names the segment. */
  vlan = 0;
  /** EtherType of what the link layer carries (LLC without SNAP: 0), and where that starts and ends. */
  ethertype = 0;
  link_payload = -1;
  link_payload_end = -1;

  /** 4, 6, or 0 for no IP. */
  ip_version: 0 | 4 | 6 = 0;
  network_offset = -1;
  /**
   * Addresses as four words; IPv4 as 0, 0, 0xffff, address. All 0 without IP (ARP: the sender's and target's protocol addresses).
   */
  readonly source = new Uint32Array(4);
  readonly destination = new Uint32Array(4);
  /** IP protocol number behind all extension headers; -1 without IP. */
  ip_protocol = -1;
  /** This datagram was put together from fragments. */
  reassembled = false;

  transport_offset = -1;
  source_port = 0;
  destination_port = 0;
  tcp_sequence = 0;
  tcp_acknowledgment = 0;
  /** FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32. */
  tcp_flags = 0;
  tcp_window = 0;
  /** The transport's payload as far as captured. */
  payload = -1;
  payload_end = -1;
  /** Bytes of the payload that were on the wire and are not in the capture. */
  payload_missing = 0;

  /** How many tunnels lie around it. */
  tunnels = 0;
  /**
   * How many tunnels lie around the link layer described. Less than `tunnels` where a tunnel carries IP without a link layer: the
   * MAC addresses are then those of the tunnel's ends and say nothing about `source` and `destination`.
   */
  link_tunnels = 0;

  /** A bit for each layer seen, outer ones too: `1 << Layer.vlan`. */
  layers = 0;
  /** Where `Decoded.malformed` came from: a number of `Layer`; -1 else. */
  malformed_layer = -1;
}
