import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { Decoded, LINK_TYPES, MAX_TUNNELS, MAX_VLANS, type Packet } from './packet.ts';
import {
  bytes,
  DecodeBench,
  ethernet,
  hex,
  IPV6_A,
  ipv4,
  ipv6,
  ipv6Fragment,
  MAC_A,
  MODBUS,
  tagged,
  tcp,
  u16,
  u32,
  udp,
} from './testing.ts';

const INNER = ipv4(tcp(MODBUS, { options: bytes('0101080a0000000100000002') }), { options: bytes('94040000') });
const FRAME = ethernet(0x8100, tagged(5, 0x0800, INNER));
const over4 = (protocol: number, ...payload: Parameters<typeof bytes>) => ethernet(0x0800, ipv4(bytes(...payload), { protocol }));

// Generous: what is tested is that it comes to an end, not how fast on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

/** Link type and a packet of every kind of header. */
const PACKETS: [string, number, Uint8Array][] = [
  ['TCP', 1, FRAME],
  ['UDP', 1, over4(17, udp(MODBUS))],
  ['ICMP', 1, over4(1, '0800f7ff00000000')],
  ['IGMP', 1, over4(2, '1600f9ffe0000001')],
  ['ARP', 1, ethernet(0x0806, bytes('0001 0800 06 04 0001', MAC_A, 'c0a80001', '000000000000', 'c0a800fe'))],
  ['SNAP', 1, ethernet(8 + INNER.length, bytes('aaaa03 000000 0800', INNER))],
  ['MPLS', 1, ethernet(0x8847, bytes('00064140 00000000', FRAME))],
  ['PPPoE', 1, ethernet(0x8864, bytes('11 00 0001', u16(INNER.length + 2), '0021', INNER))],
  ['VN-Tag', 1, ethernet(0x8926, bytes('80010002', u16(0x0800), INNER))],
  ['E-TAG', 1, ethernet(0x893f, bytes('000000010000', u16(0x0800), INNER))],
  ['HSR', 1, ethernet(0x892f, bytes('0036 0001', u16(0x0800), INNER))],
  ['PRP', 1, bytes(ethernet(0x0800, INNER), u16(1), u16(0xa000 | (INNER.length + 6)), u16(0x88fb))],
  ['PBB', 1, ethernet(0x88e7, bytes('00000064', FRAME))],
  ['GRE', 1, over4(47, 'f000 0800 00000000 00000001 00000002 0800 00 04 0a000003 00000000', INNER)],
  ['PPTP', 1, over4(47, '3081 880b 0022 0001 00000001 00000001 ff03 0021', INNER)],
  ['ERSPAN II', 1, over4(47, '1000 88be 00000001 1064 1801 00000000', FRAME)],
  ['ERSPAN III', 1, over4(47, '1000 22eb 00000001 2064 0001 00000000 0000 0001 0000000000000000', FRAME)],
  ['VXLAN', 1, over4(17, udp(bytes('08000000 00002a00', FRAME), 4789))],
  ['GENEVE', 1, over4(17, udp(bytes('0200 6558 00002a00', '0102 80 01 00000000', FRAME), 6081))],
  ['IPv4 in IPv6', 1, ethernet(0x86dd, ipv6(4, INNER))],
  ['IPv6 fragment', 1, ethernet(0x86dd, ipv6Fragment(6, 1, 8, true, new Uint8Array(16)))],
  [
    'IPv6 extensions',
    1,
    ethernet(
      0x86dd,
      ipv6(
        0,
        bytes(
          '2b 00 0104 00000000',
          '33 02 00 01 00000000',
          IPV6_A,
          '3c 01 0000 00000001',
          u32(1),
          '06 00 0104 00000000',
          tcp(MODBUS),
        ),
      ),
    ),
  ],
  ['NULL', 0, bytes('02000000', INNER)],
  ['LOOP', 108, bytes('00000002', INNER)],
  ['RAW', 101, INNER],
  ['IPV4', 228, INNER],
  ['IPV6', 229, ipv6(6, tcp(MODBUS))],
  ['LINUX_SLL', 113, bytes('0000 0001 0006', MAC_A, '0000', u16(0x8100), tagged(9, 0x0800, INNER))],
  ['LINUX_SLL2', 276, bytes(u16(0x0800), '0000', u32(3), '0001 00 06', MAC_A, '0000', INNER)],
];

/** Everything a packet says but for where in the ring it lay, and the bytes it points at. */
function told(bench: DecodeBench, decoded: number, length: number): object {
  const { packet } = bench;
  const start = bench.ring.index[bench.ring.entry(packet.frame)];
  const inRing = packet.bytes === bench.ring.bytes;
  const relative = (offset: number, inPacket: boolean) => (offset < 0 || !inPacket ? offset : offset - start);
  const spans: [number, number, boolean][] = [
    [packet.payload, packet.payload_end, inRing],
    [packet.link_payload, packet.link_payload_end, packet.link_bytes === bench.ring.bytes],
    [packet.mac_source, packet.mac_source + 6, packet.link_bytes === bench.ring.bytes],
    [packet.mac_destination, packet.mac_destination + 6, packet.link_bytes === bench.ring.bytes],
    [packet.network_offset, packet.network_offset + 20, inRing],
    [packet.transport_offset, packet.transport_offset, inRing],
  ];
  for (const [from, to, inPacket] of spans) {
    if (from < 0) continue;
    expect(to).toBeGreaterThanOrEqual(from);
    if (!inPacket) continue;
    expect(from).toBeGreaterThanOrEqual(start);
    expect(to).toBeLessThanOrEqual(start + length);
  }
  expect(packet.payload_missing).toBeGreaterThanOrEqual(0);
  expect(packet.vlan_count).toBeLessThanOrEqual(MAX_VLANS);
  expect(packet.tunnels).toBeLessThanOrEqual(MAX_TUNNELS);
  expect(packet.malformed_layer >= 0).toBe(decoded === Decoded.malformed);
  const { bytes: _, link_bytes, frame, seconds, nanoseconds, time_ms, vlans, ...fields } = packet;
  const offsets = Object.fromEntries(spans.map(([from, , inPacket], i) => [i, relative(from, inPacket)]));
  for (const name of [
    'payload',
    'payload_end',
    'link_payload',
    'link_payload_end',
    'mac_source',
    'mac_destination',
    'network_offset',
    'transport_offset',
  ] as const) {
    delete (fields as Partial<Packet>)[name];
  }
  return {
    ...fields,
    source: bench.source,
    destination: bench.destination,
    vlans: bench.vlans,
    decoded,
    offsets,
    payload: bench.payload,
    link_payload: bench.link_payload,
    mac: bench.mac_source,
  };
}

/** Decodes the packet among zeros and among ones: what it says may not depend on what stands around it. */
function decodeTwice(zeros: DecodeBench, ones: DecodeBench, frame: Uint8Array, link_type: number, wire: number): object {
  const first = told(zeros, zeros.count(frame, { link_type, wire, around: 0 }), frame.length);
  const second = told(ones, ones.count(frame, { link_type, wire, around: 0xff }), frame.length);
  expect(second).toEqual(first);
  return first;
}

describe('cut at every length', () => {
  it.each(PACKETS)('%s', (_, link_type, frame) => {
    const zeros = new DecodeBench({ verify_checksums: 'all' });
    const ones = new DecodeBench({ verify_checksums: 'all' });
    // Cut by the snap length, and as a frame that is no longer.
    for (const wire of [frame.length, 0]) {
      for (let length = 0; length <= frame.length; length++) decodeTwice(zeros, ones, frame.subarray(0, length), link_type, wire);
    }
    expect(zeros.decoder.counters.toRecord().packets).toBe(2 * (frame.length + 1));
  });
});

describe('random bytes', () => {
  it.each(Object.entries(LINK_TYPES))('link type %s', (link_type) => {
    const zeros = new DecodeBench({ fragment_datagrams: 4 });
    const ones = new DecodeBench({ fragment_datagrams: 4 });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), fc.nat(200), (frame, wire) => {
        decodeTwice(zeros, ones, frame, Number(link_type), wire);
      }),
      { numRuns: 300 },
    );
  });

  it('some bytes changed in packets of every kind, with one memory of fragments and copies', () => {
    const zeros = new DecodeBench({ fragment_datagrams: 4, verify_checksums: 'all' });
    const ones = new DecodeBench({ fragment_datagrams: 4, verify_checksums: 'all' });
    const change = fc.tuple(fc.nat(120), fc.oneof(fc.constantFrom(0, 1, 0x3f, 0x80, 0xff), fc.nat(255)));
    fc.assert(
      fc.property(
        fc.constantFrom(...PACKETS),
        fc.array(change, { minLength: 1, maxLength: 6 }),
        fc.nat(40),
        ([, link_type, frame], changes, cut) => {
          const changed = frame.slice();
          for (const [at, value] of changes) if (at < changed.length) changed[at] = value;
          decodeTwice(
            zeros,
            ones,
            changed.subarray(0, changed.length - Math.min(cut < 30 ? 0 : cut, changed.length)),
            link_type,
            frame.length,
          );
        },
      ),
      { numRuns: 1500 },
    );
    const { packets } = zeros.decoder.counters.toRecord();
    expect(packets).toBeGreaterThan(1000);
    expect(ones.decoder.counters.toRecord()).toEqual(zeros.decoder.counters.toRecord());
    expect(ones.decoder.sharedCounters).toEqual(zeros.decoder.sharedCounters);
  });

  it('fragments in any order, overlapping or not, end in the sender’s datagram or in none of another length', () => {
    const data = bytes(...Array.from({ length: 200 }, (_, i) => i));
    const datagram = udp(data);
    const part = fc.record({ from: fc.nat(25), size: fc.integer({ min: 1, max: 8 }) });
    fc.assert(
      fc.property(fc.array(part, { maxLength: 20 }), fc.boolean(), (parts, sixth) => {
        const bench = new DecodeBench({ fragment_datagrams: 2 });
        // Parts of the true datagram, overlapping as they come, then all of it in order.
        const cover = Array.from({ length: 26 }, (_, i) => ({ from: i, size: 1 }));
        let complete = 0;
        for (const { from, size } of [...parts, ...cover]) {
          const offset = from * 8;
          const end = Math.min(offset + size * 8, datagram.length);
          const piece = datagram.subarray(offset, end);
          const more = end < datagram.length;
          const frame = sixth
            ? ethernet(0x86dd, ipv6Fragment(17, 1, offset, more, piece))
            : ethernet(0x0800, ipv4(piece, { protocol: 17, offset, more }));
          if (bench.decode(frame) === Decoded.ok) {
            complete++;
            expect(bench.payload).toBe(hex(data));
          }
        }
        if (!sixth || bench.decoder.sharedCounters.fragment_overlaps === 0) expect(complete).toBeGreaterThan(0);
      }),
      { numRuns: 100 },
    );
  });
});
