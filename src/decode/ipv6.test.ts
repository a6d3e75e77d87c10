import { describe, expect, it } from 'vitest';
import { Decoded, Layer } from './packet.ts';
import { bytes, DecodeBench, ethernet, hex, IPV6_A, IPV6_B, ipv6, MODBUS, tcp, udp } from './testing.ts';

describe('IPv6 (RFC 8200)', () => {
  const segment = tcp(MODBUS);
  it.each([
    ['no extension', ipv6(6, segment)],
    ['hop by hop', ipv6(0, bytes('06 00 0502 0000 0100', segment))],
    ['destination options of 16 bytes', ipv6(60, bytes('06 01 010c', new Uint8Array(12), segment))],
    ['routing', ipv6(43, bytes('06 02 00 01 00000000', IPV6_A, segment))],
    ['authentication (RFC 4302)', ipv6(51, bytes('06 04 0000 00000001 00000001', new Uint8Array(12), segment))],
    ['an atomic fragment (RFC 6946)', ipv6(44, bytes('06 00 0000 00000001', segment))],
    [
      'several',
      ipv6(0, bytes('2b 00 0104 00000000', '3c 00 00 00 00000000', '2c 00 0104 00000000', '06 00 0000 00000001', segment)),
    ],
    ['no payload length (segmentation offload)', ipv6(6, segment, 0)],
  ])('%s', (_, packet) => {
    const bench = new DecodeBench();
    expect(bench.decode(ethernet(0x86dd, packet))).toBe(Decoded.ok);
    expect(bench.packet).toMatchObject({ ip_version: 6, ip_protocol: 6, destination_port: 502, payload_missing: 0 });
    expect([bench.source, bench.destination, bench.payload]).toEqual([IPV6_A, IPV6_B, hex(MODBUS)]);
  });

  it('reads UDP without a length in a jumbogram only (RFC 2675)', () => {
    const bench = new DecodeBench();
    const options = bytes('11 00 c204 00000014');
    expect(bench.decode(ethernet(0x86dd, ipv6(0, bytes(options, udp(MODBUS, 47808, 1, 0)), 0)))).toBe(Decoded.ok);
    expect(bench.payload).toBe(hex(MODBUS));
    expect(bench.decode(ethernet(0x86dd, ipv6(17, udp(MODBUS, 47808, 1, 0))))).toBe(Decoded.malformed);
  });

  it('leaves the trailer and says what is missing', () => {
    const bench = new DecodeBench();
    bench.decode(bytes(ethernet(0x86dd, ipv6(17, udp(MODBUS))), '00000000'));
    expect(bench.payload).toBe(hex(MODBUS));
    const frame = ethernet(0x86dd, ipv6(17, udp(MODBUS)));
    expect(bench.decode(frame.subarray(0, frame.length - 5), { wire: frame.length })).toBe(Decoded.ok);
    expect(bench.packet.payload_missing).toBe(5);
  });

  it('takes no next header and ESP as they are', () => {
    const bench = new DecodeBench();
    expect(bench.decode(ethernet(0x86dd, bytes(ipv6(59, bytes('')), 'ffff')))).toBe(Decoded.ok);
    expect([bench.packet.ip_protocol, bench.payload]).toEqual([59, '']);
    expect(bench.decode(ethernet(0x86dd, ipv6(50, bytes('0000000100000001'))))).toBe(Decoded.ok);
    expect([bench.packet.ip_protocol, bench.payload]).toEqual([50, '0000000100000001']);
  });

  it.each([
    ['another version', bytes('40', ipv6(6, segment).subarray(1)), Layer.ipv6],
    ['an extension beyond the packet', ipv6(0, bytes('06 09 0502 0000 0100', segment)), Layer.ipv6_extension],
    ['half an extension', ipv6(60, bytes('06000104')), Layer.ipv6_extension],
    ['extensions without an end', ipv6(60, bytes(...new Array(40).fill('3c00010400000000'))), Layer.ipv6_extension],
    ['ICMPv6 of 3 bytes', ipv6(58, bytes('800000')), Layer.icmp],
  ])('is malformed: %s', (_, packet, layer) => {
    const bench = new DecodeBench();
    expect(bench.decode(ethernet(0x86dd, packet))).toBe(Decoded.malformed);
    expect(bench.packet.malformed_layer).toBe(layer);
  });
});
