import { describe, expect, it } from 'vitest';
import { Decoded, Layer, MAX_VLANS } from './packet.ts';
import { bytes, DecodeBench, ethernet, hex, ipv4, ipv6, MAC_A, MODBUS, tagged, tcp, u16, u32 } from './testing.ts';

const INNER = ipv4(tcp(MODBUS));

function expectModbus(bench: DecodeBench): void {
  expect(bench.packet).toMatchObject({ ip_version: 4, destination_port: 502, payload_missing: 0, malformed_layer: -1 });
  expect([bench.source, bench.destination, bench.payload]).toEqual(['0a000001', '0a000002', hex(MODBUS)]);
}

describe('VLAN tags (IEEE 802.1Q 9.6)', () => {
  it.each([
    ['one', ethernet(0x8100, tagged(0x6064, 0x0800, INNER)), [100], 100],
    ['a priority tag', ethernet(0x8100, tagged(0xe000, 0x0800, INNER)), [0], 0],
    ['a priority tag inside a VLAN', ethernet(0x88a8, tagged(7, 0x8100, tagged(0xa000, 0x0800, INNER))), [7, 0], 7],
    ['802.1ad', ethernet(0x88a8, tagged(0x0fff, 0x8100, tagged(0x1001, 0x0800, INNER))), [4095, 1], 1],
    ['QinQ of old', ethernet(0x9100, tagged(1, 0x9200, tagged(2, 0x9300, tagged(3, 0x0800, INNER)))), [1, 2, 3], 3],
  ])('%s', (_, frame, vlans, vlan) => {
    const bench = new DecodeBench();
    expect(bench.count(frame)).toBe(Decoded.ok);
    expectModbus(bench);
    expect([bench.vlans, bench.packet.vlan, bench.packet.ethertype]).toEqual([vlans, vlan, 0x0800]);
    expect(bench.decoder.counters.toRecord().vlan).toBe(1);
  });

  it('as many as MAX_VLANS, not one more', () => {
    const stack = (depth: number) => {
      let frame = tagged(depth, 0x0800, INNER);
      for (let id = depth - 1; id > 0; id--) frame = tagged(id, 0x8100, frame);
      return ethernet(0x8100, frame);
    };
    const bench = new DecodeBench();
    expect(bench.decode(stack(MAX_VLANS))).toBe(Decoded.ok);
    expect(bench.vlans).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(bench.decode(stack(MAX_VLANS + 1))).toBe(Decoded.malformed);
    expect(bench.packet.malformed_layer).toBe(Layer.vlan);
    expect(bench.packet.vlan_count).toBe(MAX_VLANS);
  });

  it('before an EtherType that is not IP', () => {
    const bench = new DecodeBench();
    expect(bench.decode(ethernet(0x8100, tagged(0xc000, 0x8892, bytes('fefe0500'))))).toBe(Decoded.ok);
    expect([bench.packet.ethertype, bench.link_payload, bench.vlans]).toEqual([0x8892, 'fefe0500', [0]]);
  });
});

describe('IEEE 802.3', () => {
  it.each([
    ['LLC', bytes('424203 0000000000'), 0, '4242030000000000'],
    ['a type where the length stands', bytes('01b46e30', new Uint8Array(8)), 0, '01b46e300000000000000000'],
    ['SNAP of an organisation', bytes('aaaa03 00000c 2000 02b4'), 0, 'aaaa0300000c200002b4'],
    ['SNAP with an EtherType', bytes('aaaa03 000000 88b8 0001'), 0x88b8, '0001'],
  ])('%s', (name, llc, type, payload) => {
    const bench = new DecodeBench();
    const isLlc = !name.startsWith('a type');
    expect(bench.decode(isLlc ? bytes(ethernet(llc.length, llc), '00000000') : ethernet(2, llc))).toBe(Decoded.ok);
    expect([bench.packet.ethertype, bench.link_payload]).toEqual([type, payload]);
  });

  it('finds IP behind SNAP, in a VLAN too, and cuts at the length', () => {
    const bench = new DecodeBench();
    const llc = bytes('aaaa03 000000 0800', INNER);
    expect(bench.decode(ethernet(0x8100, bytes(u16(5), u16(llc.length), llc, '0000')))).toBe(Decoded.ok);
    expectModbus(bench);
    expect(bench.vlans).toEqual([5]);
  });
});

describe('shims before the network layer', () => {
  it.each([
    ['MPLS', ethernet(0x8847, bytes('00064 0 ff', '00065 1 40', INNER)), Layer.mpls],
    ['PPPoE', ethernet(0x8864, bytes('11 00 0001', u16(INNER.length + 2), '0021', INNER, '0000')), Layer.pppoe],
    ['PPPoE, protocol compressed', ethernet(0x8864, bytes('11 00 0001', u16(INNER.length + 1), '21', INNER)), Layer.pppoe],
    ['VN-Tag', ethernet(0x8926, bytes('80010002', u16(0x0800), INNER)), Layer.vntag],
    ['E-TAG', ethernet(0x893f, bytes('000000010000', u16(0x0800), INNER)), Layer.vntag],
    ['HSR', ethernet(0x892f, bytes('0036 0001', u16(0x0800), INNER)), Layer.hsr],
  ])('%s', (_, frame, layer) => {
    const bench = new DecodeBench();
    expect(bench.decode(frame)).toBe(Decoded.ok);
    expectModbus(bench);
    expect(bench.packet.layers & (1 << layer)).not.toBe(0);
    expect([bench.packet.tunnels, bench.packet.ethertype]).toEqual([0, 0x0800]);
  });

  it('leaves a PPP control protocol with the PPPoE header', () => {
    const bench = new DecodeBench();
    expect(bench.decode(ethernet(0x8864, bytes('11 00 0001 0006 c021 01010004')))).toBe(Decoded.ok);
    expect([bench.packet.ethertype, bench.link_payload]).toEqual([0x8864, '110000010006c02101010004']);
  });

  it.each([
    ['an MPLS stack without an end', ethernet(0x8847, bytes('00064040', '00065040')), Layer.mpls],
    ['tags without an end', ethernet(0x893f, bytes(...new Array(40).fill('000000010000893f'))), Layer.nesting],
    ['PPPoE of another version', ethernet(0x8864, bytes('12 00 0001 0002 0021', INNER)), Layer.pppoe],
  ])('%s is malformed', (_, frame, layer) => {
    const bench = new DecodeBench();
    expect(bench.decode(frame)).toBe(Decoded.malformed);
    expect(bench.packet.malformed_layer).toBe(layer);
  });
});

describe('ARP (RFC 826)', () => {
  it('gives the protocol addresses', () => {
    const bench = new DecodeBench();
    const message = bytes('0001 0800 06 04 0001', MAC_A, 'c0a80001', '000000000000', 'c0a800fe');
    expect(bench.count(bytes(ethernet(0x0806, message), new Uint8Array(18)))).toBe(Decoded.ok);
    expect([bench.source, bench.destination]).toEqual(['c0a80001', 'c0a800fe']);
    expect(bench.packet).toMatchObject({ ip_version: 0, ip_protocol: -1, ethertype: 0x0806 });
    expect(bench.decoder.counters.toRecord().arp).toBe(1);
    expect(bench.decode(ethernet(0x0806, message.subarray(0, 27)))).toBe(Decoded.malformed);
    expect(bench.source).toBe('');
  });
});

describe('link types', () => {
  const sixth = ipv6(6, tcp(MODBUS));
  it.each([
    ['RAW', 101, INNER, ''],
    ['RAW (12)', 12, INNER, ''],
    ['IPV4', 228, INNER, ''],
    ['NULL, little-endian', 0, bytes('02000000', INNER), ''],
    ['NULL, big-endian', 0, bytes('00000002', INNER), ''],
    ['NULL, an EtherType', 0, bytes('0f000800', INNER), ''],
    ['LOOP', 108, bytes('00000002', INNER), ''],
    ['LINUX_SLL', 113, bytes('0000 0001 0006', MAC_A, '0000', u16(0x0800), INNER), MAC_A],
    ['LINUX_SLL, VLAN', 113, bytes('0000 0001 0006', MAC_A, '0000', u16(0x8100), tagged(9, 0x0800, INNER)), MAC_A],
    ['LINUX_SLL, no address', 113, bytes('0000 0304 0000', '0000000000000000', u16(0x0800), INNER), ''],
    ['LINUX_SLL2', 276, bytes(u16(0x0800), '0000', u32(3), '0001 00 06', MAC_A, '0000', INNER), MAC_A],
  ])('%s', (_, link_type, frame, mac) => {
    const bench = new DecodeBench();
    expect(bench.decode(frame, { link_type })).toBe(Decoded.ok);
    expectModbus(bench);
    expect([bench.mac_source, bench.packet.mac_destination, bench.packet.ethertype]).toEqual([mac, -1, 0x0800]);
  });

  it.each([
    ['RAW', 101, sixth],
    ['IPV6', 229, sixth],
    ['NULL, Linux', 0, bytes('0a000000', sixth)],
    ['NULL, FreeBSD', 0, bytes('1c000000', sixth)],
    ['LOOP, OpenBSD', 108, bytes('00000018', sixth)],
    ['NULL, macOS', 0, bytes('1e000000', sixth)],
  ])('%s with IPv6', (_, link_type, frame) => {
    const bench = new DecodeBench();
    expect(bench.decode(frame, { link_type })).toBe(Decoded.ok);
    expect(bench.packet).toMatchObject({ ip_version: 6, destination_port: 502, ethertype: 0x86dd });
  });

  it('keeps the interface apart from the link type', () => {
    const bench = new DecodeBench();
    bench.writer.add(0, 0, 0, 0, 0, 0x1234, 101);
    expect(bench.decoder.decode(1, bench.packet)).toBe(Decoded.malformed);
    expect(bench.packet.interface_).toBe(0x1234);
  });
});
