import { describe, expect, it } from 'vitest';
import { Decoded, Layer } from './packet.ts';
import { bytes, DecodeBench, ethernet, hex, ipv4, ipv6, MAC_A, MODBUS, tcp, udp } from './testing.ts';

describe('Ethernet, IPv4, TCP', () => {
  it('reads every field (RFC 791 3.1, RFC 9293 3.1)', () => {
    const bench = new DecodeBench();
    const fields = {
      source_port: 40001,
      destination_port: 502,
      sequence: 0xfedcba98,
      acknowledgment: 0x89abcdef,
      flags: 0xd8,
      window: 0xabcd,
    };
    const decoded = bench.decode(ethernet(0x0800, ipv4(tcp(MODBUS, fields), { source: 'c0a80001', destination: 'fffffffe' })), {
      time_ms: 1_700_000_000_123.25,
      around: 0xff,
    });
    const { packet } = bench;
    expect(decoded).toBe(Decoded.ok);
    expect(packet).toMatchObject({
      frame: 1,
      seconds: 1_700_000_000,
      nanoseconds: 123_250_000,
      captured: 66,
      wire: 66,
      ethertype: 0x0800,
      ip_version: 4,
      ip_protocol: 6,
      source_port: 40001,
      destination_port: 502,
      tcp_sequence: 0xfedcba98,
      tcp_acknowledgment: 0x89abcdef,
      tcp_flags: 0x18,
      tcp_window: 0xabcd,
      payload_missing: 0,
      reassembled: false,
      tunnels: 0,
      vlan_count: 0,
      malformed_layer: -1,
      layers: (1 << Layer.ethernet) | (1 << Layer.ipv4) | (1 << Layer.tcp),
    });
    expect(packet.time_ms).toBeCloseTo(1_700_000_000_123.25, 3);
    expect(packet.network_offset - packet.mac_destination).toBe(14);
    expect(packet.transport_offset - packet.network_offset).toBe(20);
    expect([bench.mac_source, bench.source, bench.destination, bench.payload]).toEqual([
      MAC_A,
      'c0a80001',
      'fffffffe',
      hex(MODBUS),
    ]);
  });

  it('keeps nothing of the packet before', () => {
    const bench = new DecodeBench();
    bench.decode(ethernet(0x0800, ipv4(tcp(MODBUS))));
    bench.decode(ethernet(0x88b8, bytes('0001 0008 0000 0000')));
    expect(bench.packet).toMatchObject({
      ip_version: 0,
      ip_protocol: -1,
      source_port: 0,
      tcp_flags: 0,
      payload: -1,
      transport_offset: -1,
    });
    expect([bench.source, bench.destination, bench.link_payload]).toEqual(['', '', '0001000800000000']);
  });

  it('skips options of both headers', () => {
    const bench = new DecodeBench();
    expect(
      bench.decode(
        ethernet(0x0800, ipv4(tcp(MODBUS, { options: bytes('0101080a0000000100000002') }), { options: bytes('94040000') })),
      ),
    ).toBe(0);
    expect(bench.payload).toBe(hex(MODBUS));
    expect(bench.packet.destination_port).toBe(502);
  });

  it('does not take the padding of a short frame for payload', () => {
    const bench = new DecodeBench();
    bench.decode(bytes(ethernet(0x0800, ipv4(tcp(new Uint8Array(0)))), '000000000000'));
    expect(bench.packet.payload_end - bench.packet.payload).toBe(0);
    expect(bench.packet.payload_missing).toBe(0);
  });

  it('takes the length of the frame for a total length of 0 (segmentation offload)', () => {
    const bench = new DecodeBench();
    expect(bench.decode(ethernet(0x0800, ipv4(tcp(MODBUS), { total_length: 0 })))).toBe(Decoded.ok);
    expect(bench.payload).toBe(hex(MODBUS));
  });

  it('says how much of the payload was not captured', () => {
    const bench = new DecodeBench();
    const whole = ethernet(0x0800, ipv4(tcp(MODBUS)));
    expect(bench.count(whole.subarray(0, 58), { wire: whole.length })).toBe(Decoded.ok);
    expect([bench.payload, bench.packet.payload_missing]).toEqual([hex(MODBUS.subarray(0, 4)), 8]);
    expect(bench.decode(whole.subarray(0, 54), { wire: whole.length })).toBe(Decoded.ok);
    expect(bench.packet.payload_missing).toBe(12);
    const withOptions = ethernet(0x0800, ipv4(tcp(MODBUS, { options: bytes('01010101') })));
    expect(bench.decode(withOptions.subarray(0, 56), { wire: withOptions.length })).toBe(Decoded.ok);
    expect([bench.payload, bench.packet.payload_missing]).toEqual(['', 12]);
    expect(bench.decoder.counters.toRecord().truncated).toBe(1);
  });

  it('does not believe a total length beyond the frame to be payload of TCP', () => {
    const bench = new DecodeBench();
    expect(bench.decode(ethernet(0x0800, ipv4(tcp(MODBUS), { total_length: 35_000 })))).toBe(Decoded.ok);
    expect([bench.payload, bench.packet.payload_missing]).toEqual([hex(MODBUS), 0]);
    expect(bench.decode(ethernet(0x0800, ipv4(udp(MODBUS, 1, 2, 100), { protocol: 17, total_length: 120 })))).toBe(Decoded.ok);
    expect([bench.payload, bench.packet.payload_missing]).toEqual([hex(MODBUS), 80]);
  });

  const segment = tcp(MODBUS);
  it.each([
    ['another version', bytes('65', ipv4(segment).subarray(1)), Layer.ipv4],
    ['a header of 16 bytes', bytes('44', ipv4(segment).subarray(1)), Layer.ipv4],
    ['a total length below the header', ipv4(segment, { total_length: 19 }), Layer.ipv4],
    ['a header beyond the packet', bytes('4f', ipv4(udp(new Uint8Array(0))).subarray(1)), Layer.ipv4],
    ['a data offset of 4', ipv4(bytes(segment.subarray(0, 12), 0x40, segment.subarray(13))), Layer.tcp],
    ['a data offset beyond the segment', ipv4(bytes(segment.subarray(0, 12), 0xf0, segment.subarray(13))), Layer.tcp],
    ['a segment of 19 bytes', ipv4(segment.subarray(0, 19)), Layer.tcp],
    ['a UDP length of 7', ipv4(udp(MODBUS, 1, 2, 7), { protocol: 17 }), Layer.udp],
    ['a UDP length of 0', ipv4(udp(MODBUS, 1, 2, 0), { protocol: 17 }), Layer.udp],
    ['a UDP length beyond the packet', ipv4(udp(MODBUS, 1, 2, 21), { protocol: 17 }), Layer.udp],
    ['ICMP of 7 bytes', ipv4(bytes('08000000000000'), { protocol: 1 }), Layer.icmp],
    ['IGMP of 7 bytes', ipv4(bytes('16000000000000'), { protocol: 2 }), Layer.igmp],
  ])('is malformed: %s', (_, packet, layer) => {
    const bench = new DecodeBench();
    expect(bench.count(ethernet(0x0800, packet))).toBe(Decoded.malformed);
    expect(bench.packet.malformed_layer).toBe(layer);
    expect(bench.packet.mac_source).toBeGreaterThan(0);
    expect(bench.packet.ip_version).toBe(layer === Layer.ipv4 ? 0 : 4);
    expect(bench.decoder.counters.toRecord().malformed).toBe(1);
  });

  it('tells the ports of a TCP header that is cut', () => {
    const bench = new DecodeBench();
    expect(bench.decode(ethernet(0x0800, ipv4(segment)).subarray(0, 40), { wire: 66 })).toBe(Decoded.malformed);
    expect(bench.packet.destination_port).toBe(502);
  });
});

describe('UDP, ICMP, IGMP and others over IPv4', () => {
  it('reads UDP and leaves what is behind its length', () => {
    const bench = new DecodeBench();
    expect(bench.decode(ethernet(0x0800, ipv4(bytes(udp(MODBUS, 47808, 1025), 'ffff'), { protocol: 17 })))).toBe(Decoded.ok);
    expect(bench.packet).toMatchObject({ ip_protocol: 17, source_port: 1025, destination_port: 47808, payload_missing: 0 });
    expect(bench.payload).toBe(hex(MODBUS));
  });

  it.each([
    [1, Layer.icmp, '0800f7ff00000000'],
    [2, Layer.igmp, '1600f9ffe0000001'],
    [132, Layer.other_transport, '0001000200000000'],
  ])('gives protocol %i whole, without ports', (protocol, layer, message) => {
    const bench = new DecodeBench();
    expect(bench.decode(ethernet(0x0800, ipv4(bytes(message), { protocol })))).toBe(Decoded.ok);
    expect(bench.packet).toMatchObject({ ip_protocol: protocol, source_port: 0, destination_port: 0 });
    expect(bench.packet.layers & (1 << layer)).not.toBe(0);
    expect(bench.payload).toBe(message);
  });
});

describe('checksums', () => {
  // RFC 1071's sum made by hand: IPv4 header of 40 bytes in all, and the segment with its pseudo header.
  const good = bytes('4500 0028 0001 0000 4006 66cd 0a000001 0a000002', '9c40 01f6 00000001 00000000 5018 0400 f992 0000');
  const sum = (at: number, value: number) =>
    bytes(good.subarray(0, at), (value >> 8) & 0xff, value & 0xff, good.subarray(at + 2));

  it.each([
    ['off', undefined],
    ['header', 1],
    [undefined, 1],
  ] as const)('are looked at as far as asked for: %s', (verify_checksums, header) => {
    const bench = new DecodeBench({ verify_checksums });
    expect(bench.count(ethernet(0x0800, sum(10, 0)))).toBe(Decoded.ok);
    expect(bench.count(ethernet(0x0800, sum(36, 0)))).toBe(Decoded.ok);
    const { ipv4_checksum_error, transport_checksum_error } = bench.decoder.counters.toRecord();
    expect([ipv4_checksum_error, transport_checksum_error]).toEqual([header, undefined]);
  });

  it.each([
    ['good ones', good, undefined, undefined],
    ['a wrong header', sum(10, 0x66ce), 1, undefined],
    ['a wrong segment', sum(36, 0xf993), undefined, 1],
  ])('are counted: %s', (_, packet, header, segment) => {
    const bench = new DecodeBench({ verify_checksums: 'all' });
    expect(bench.count(ethernet(0x0800, packet))).toBe(Decoded.ok);
    const { ipv4_checksum_error, transport_checksum_error } = bench.decoder.counters.toRecord();
    expect([ipv4_checksum_error, transport_checksum_error]).toEqual([header, segment]);
  });

  it('of 0 are none in UDP over IPv4, and wrong over IPv6', () => {
    const bench = new DecodeBench({ verify_checksums: 'all' });
    bench.count(ethernet(0x0800, ipv4(udp(MODBUS), { protocol: 17 })));
    expect(bench.decoder.counters.toRecord().transport_checksum_error).toBeUndefined();
    bench.count(ethernet(0x86dd, ipv6(17, udp(MODBUS))));
    expect(bench.decoder.counters.toRecord().transport_checksum_error).toBe(1);
  });
});
