import { describe, expect, it } from 'vitest';
import { Decoded, Layer, MAX_TUNNELS } from './packet.ts';
import { bytes, DecodeBench, ethernet, hex, ipv4, ipv6, MAC_A, MODBUS, tagged, tcp, udp } from './testing.ts';

const MAC_INNER = '020000000011';
const INNER = ipv4(tcp(MODBUS), { source: 'c0a80001', destination: 'c0a80002' });
const FRAME = ethernet(0x8100, tagged(42, 0x0800, INNER), MAC_INNER);
const UNTAGGED = ethernet(0x0800, INNER, MAC_INNER);
const over4 = (protocol: number, ...payload: Parameters<typeof bytes>) =>
  ethernet(0x8100, tagged(7, 0x0800, ipv4(bytes(...payload), { protocol })));
const vxlan = (frame: Uint8Array) => udp(bytes('08000000 00002a00', frame), 4789);

/** Frame, layer, does it carry a frame, VLANs. */
const TUNNELS: [string, Uint8Array, number, boolean, number[]][] = [
  ['IPv4 in IPv4 (RFC 2003)', over4(4, INNER), Layer.ip_in_ip, false, [7]],
  ['IPv4 in IPv6', ethernet(0x86dd, ipv6(4, INNER)), Layer.ip_in_ip, false, []],
  ['GRE (RFC 2784)', over4(47, '0000 0800', INNER), Layer.gre, false, [7]],
  [
    'GRE with checksum, key, sequence (RFC 2890)',
    over4(47, 'b000 0800 00000000 00000001 00000002', INNER),
    Layer.gre,
    false,
    [7],
  ],
  ['GRE with a route (RFC 1701)', over4(47, '4000 0800 00000000 0800 00 04 0a000003 00000000', INNER), Layer.gre, false, [7]],
  ['GRE with Ethernet', over4(47, '0000 6558', FRAME), Layer.gre, true, [42]],
  ['GRE with MPLS', over4(47, '0000 8847 00064140', INNER), Layer.gre, false, [7]],
  ['PPTP (RFC 2637)', over4(47, '3081 880b 0022 0001 00000001 00000001 ff03 0021', INNER), Layer.gre, false, [7]],
  ['ERSPAN I', over4(47, '0000 88be', FRAME), Layer.erspan, true, [42]],
  ['ERSPAN II', over4(47, '1000 88be 00000001 1064 1801 00000000', FRAME), Layer.erspan, true, [42]],
  ['ERSPAN II, tag taken off', over4(47, '1000 88be 00000001 1064 1001 00000000', UNTAGGED), Layer.erspan, true, [100]],
  ['ERSPAN III', over4(47, '1000 22eb 00000001 2064 0001 00000000 0000 0000', UNTAGGED), Layer.erspan, true, [100]],
  [
    'ERSPAN III with a subheader',
    over4(47, '1000 22eb 00000001 2064 0001 00000000 0000 0001 0000000000000000', FRAME),
    Layer.erspan,
    true,
    [42],
  ],
  ['ERSPAN III with IP', over4(47, '1000 22eb 00000001 2064 0001 00000000 0000 0800', INNER), Layer.erspan, false, [7]],
  ['VXLAN (RFC 7348)', over4(17, vxlan(FRAME)), Layer.vxlan, true, [42]],
  ['VXLAN with a group policy', over4(17, udp(bytes('88000007 00002a00', FRAME), 4789)), Layer.vxlan, true, [42]],
  ['VXLAN-GPE with a frame', over4(17, udp(bytes('0c000003 00002a00', FRAME), 4789)), Layer.vxlan, true, [42]],
  ['VXLAN-GPE with IP', over4(17, udp(bytes('0c000001 00002a00', INNER), 4790)), Layer.vxlan, false, [7]],
  [
    'GENEVE with options (RFC 8926)',
    over4(17, udp(bytes('0200 6558 00002a00', '0102 80 01 00000000', FRAME), 6081)),
    Layer.geneve,
    true,
    [42],
  ],
  ['GENEVE with IP', over4(17, udp(bytes('0000 0800 00002a00', INNER), 6081)), Layer.geneve, false, [7]],
  [
    'an Ethernet pseudowire (RFC 4448)',
    ethernet(0x8847, bytes('00064140 00000000', FRAME)),
    Layer.ethernet_in_ethernet,
    true,
    [42],
  ],
  ['a pseudowire without control word', ethernet(0x8847, bytes('00064140', FRAME)), Layer.ethernet_in_ethernet, true, [42]],
  ['a provider backbone (IEEE 802.1ah)', ethernet(0x88e7, bytes('00000064', FRAME)), Layer.ethernet_in_ethernet, true, [42]],
];

describe('tunnels', () => {
  it.each(TUNNELS)('%s', (_, frame, layer, carries_frame, vlans) => {
    const bench = new DecodeBench();
    expect(bench.count(frame)).toBe(Decoded.ok);
    expect(bench.packet).toMatchObject({ ip_version: 4, ip_protocol: 6, source_port: 40000, destination_port: 502, tunnels: 1 });
    expect(bench.packet.link_tunnels).toBe(carries_frame ? 1 : 0);
    expect(bench.mac_source).toBe(carries_frame ? MAC_INNER : MAC_A);
    expect([bench.source, bench.destination, bench.payload, bench.vlans]).toEqual(['c0a80001', 'c0a80002', hex(MODBUS), vlans]);
    expect(bench.packet.layers & (1 << layer)).not.toBe(0);
    expect(bench.decoder.counters.toRecord().tunneled).toBe(1);
  });

  it('6in4 and IPv6 in GENEVE', () => {
    const bench = new DecodeBench();
    for (const frame of [
      over4(41, ipv6(6, tcp(MODBUS))),
      over4(17, udp(bytes('0000 86dd 00002a00', ipv6(6, tcp(MODBUS))), 6081)),
    ]) {
      expect(bench.decode(frame)).toBe(Decoded.ok);
      expect(bench.packet).toMatchObject({ ip_version: 6, destination_port: 502, tunnels: 1 });
    }
  });

  it('describes a frame without IP as such', () => {
    const bench = new DecodeBench();
    expect(bench.decode(over4(17, vxlan(ethernet(0x88b8, bytes('0001'), MAC_INNER))))).toBe(Decoded.ok);
    expect(bench.packet).toMatchObject({
      ip_version: 0,
      ip_protocol: -1,
      destination_port: 0,
      payload: -1,
      ethertype: 0x88b8,
      vlan_count: 0,
    });
    expect([bench.source, bench.link_payload, bench.mac_source]).toEqual(['', '0001', MAC_INNER]);
  });

  it.each([
    ['VXLAN without its flag', over4(17, udp(bytes('00000000 00002a00', FRAME), 4789)), 4789],
    ['VXLAN from a group address', over4(17, vxlan(ethernet(0x0800, INNER, '010000000001'))), 4789],
    ['VXLAN without a whole frame', over4(17, vxlan(FRAME.subarray(0, 13))), 4789],
    ['GENEVE of another version', over4(17, udp(bytes('4000 6558 00002a00', FRAME), 6081)), 6081],
    ['GENEVE with options beyond the datagram', over4(17, udp(bytes('3f00 0800 00002a00', INNER), 6081)), 6081],
  ])('takes for plain UDP: %s', (_, frame, port) => {
    const bench = new DecodeBench();
    expect(bench.decode(frame)).toBe(Decoded.ok);
    expect(bench.packet).toMatchObject({ tunnels: 0, destination_port: port, ip_protocol: 17 });
    expect(bench.source).toBe('0a000001');
  });

  it('keeps the outer packet where the inner one is malformed', () => {
    const bench = new DecodeBench();
    expect(bench.decode(over4(47, '0000 0800', INNER.subarray(0, 19)))).toBe(Decoded.malformed);
    expect(bench.packet).toMatchObject({ ip_protocol: 47, malformed_layer: Layer.ipv4 });
    expect([bench.source, bench.vlans]).toEqual(['0a000001', [7]]);
    expect(bench.decode(over4(47, '1000 88be 00000001 f064 1801 00000000', FRAME))).toBe(Decoded.malformed);
    expect(bench.packet.malformed_layer).toBe(Layer.erspan);
  });

  it('leaves GRE with an unknown protocol, and an empty one, as they are', () => {
    const bench = new DecodeBench();
    expect(bench.decode(over4(47, '0000 1234 0102'))).toBe(Decoded.ok);
    expect([bench.packet.ip_protocol, bench.payload]).toEqual([47, '000012340102']);
    expect(bench.decode(over4(47, '3081 880b 0000 0001 00000001 00000001'))).toBe(Decoded.ok);
    expect(bench.packet.tunnels).toBe(0);
  });

  it('goes MAX_TUNNELS deep and no deeper', () => {
    const bench = new DecodeBench();
    let packet = INNER;
    for (let depth = 0; depth < MAX_TUNNELS; depth++) packet = ipv4(packet, { protocol: 4 });
    expect(bench.count(ethernet(0x0800, packet))).toBe(Decoded.ok);
    expect([bench.packet.tunnels, bench.source]).toEqual([MAX_TUNNELS, 'c0a80001']);
    expect(bench.count(ethernet(0x0800, ipv4(packet, { protocol: 4 })))).toBe(Decoded.malformed);
    expect([bench.packet.tunnels, bench.packet.malformed_layer, bench.source]).toEqual([MAX_TUNNELS, Layer.nesting, '0a000001']);
    expect(bench.decoder.counters.toRecord()).toMatchObject({ malformed_nesting: 1, tunneled: 2 });
  });
});
