import { describe, expect, it } from 'vitest';
import { Decoded, Layer } from './packet.ts';
import { bytes, type Captured, DecodeBench, ethernet, hex, ipv4, ipv6Fragment, MODBUS, tagged, udp } from './testing.ts';

const DATA = bytes(...Array.from({ length: 50 }, (_, i) => i + 1));
/** 58 bytes: fragments 0–24, 24–48, 48–58. */
const DATAGRAM = udp(DATA, 47808, 1025);

const v4 = (offset: number, end: number, more = true, part = DATAGRAM.subarray(offset, end), identification = 9) =>
  ethernet(0x0800, ipv4(part, { protocol: 17, offset, more, identification }));
const v6 = (offset: number, end: number, more = true, part = DATAGRAM.subarray(offset, end), identification = 0x89abcdef) =>
  ethernet(0x86dd, ipv6Fragment(17, identification, offset, more, part));
const FIRST: [number, number] = [0, 24];
const SECOND: [number, number] = [24, 48];
const LAST: [number, number, boolean] = [48, 58, false];

const decodeAll = (bench: DecodeBench, frames: Uint8Array[], captured?: Captured) =>
  frames.map((frame) => bench.count(frame, captured));

function expectWhole(bench: DecodeBench): void {
  expect(bench.packet).toMatchObject({
    reassembled: true,
    source_port: 1025,
    destination_port: 47808,
    ip_protocol: 17,
    payload_missing: 0,
  });
  expect(bench.payload).toBe(hex(DATA));
}

describe.each([
  ['IPv4', v4],
  ['IPv6', v6],
] as const)('fragments of %s', (_, build) => {
  it.each([
    ['in order', [build(...FIRST), build(...SECOND), build(...LAST)]],
    ['backwards', [build(...LAST), build(...SECOND), build(...FIRST)]],
    ['the first last', [build(...SECOND), build(...LAST), build(...FIRST)]],
    ['one twice', [build(...FIRST), build(...FIRST), build(...SECOND), build(...LAST)]],
  ])('are put together: %s', (_name, frames) => {
    const bench = new DecodeBench();
    const decoded = decodeAll(bench, frames);
    expect(decoded.pop()).toBe(Decoded.ok);
    expect(decoded.every((code) => code === Decoded.fragment)).toBe(true);
    expectWhole(bench);
    const { fragments } = bench.decoder;
    expect([...fragments.fragmentFrames.subarray(0, fragments.fragmentFrameCount)].at(-1)).toBe(frames.length);
    expect(bench.decoder.counters.toRecord()).toMatchObject({
      reassembled: 1,
      incomplete_fragments: frames.length - 1,
      fragment: frames.length,
    });
    expect(bench.decoder.sharedCounters).toMatchObject({
      fragments: frames.length,
      datagrams_reassembled: 1,
      fragment_overlaps: 0,
    });
  });

  it('have addresses, and the IP header before the datagram', () => {
    const bench = new DecodeBench();
    decodeAll(bench, [build(...FIRST)]);
    expect(bench.packet).toMatchObject({ ip_protocol: 17, source_port: 0, payload: -1, reassembled: false });
    expect(bench.source.endsWith('000001')).toBe(true);
    const header = hex(
      bench.packet.bytes.subarray(bench.packet.network_offset, bench.packet.network_offset + (build === v4 ? 20 : 40)),
    );
    decodeAll(bench, [build(...LAST), build(...SECOND)]);
    const { packet } = bench;
    expect(hex(packet.bytes.subarray(packet.network_offset, packet.transport_offset))).toBe(header);
    expect(packet.link_bytes).toBe(bench.ring.bytes);
    expect(packet.bytes).toBe(bench.decoder.fragments.bytes);
  });

  it('of different datagrams are kept apart', () => {
    const bench = new DecodeBench();
    const other = udp(
      DATA.map((byte) => byte ^ 0xff),
      47808,
      1025,
    );
    decodeAll(bench, [build(...FIRST), build(0, 24, true, other.subarray(0, 24), 10), build(...SECOND), build(...LAST)]);
    expectWhole(bench);
  });

  it('of one datagram in two VLANs are two', () => {
    const bench = new DecodeBench();
    const inVlan = (frame: Uint8Array) => bytes(frame.subarray(0, 12), '81000005', frame.subarray(12));
    expect(decodeAll(bench, [build(...FIRST), inVlan(build(...SECOND)), build(...LAST)])).toEqual([1, 1, 1]);
  });

  it('time out, and a restarted datagram is a new one', () => {
    const bench = new DecodeBench({ fragment_timeout_ms: 1000 });
    decodeAll(bench, [build(...FIRST), build(...SECOND)], { time_ms: 1000 });
    expect(decodeAll(bench, [build(...LAST)], { time_ms: 2001 })).toEqual([Decoded.fragment]);
    expect(bench.decoder.sharedCounters.fragment_timeouts).toBe(1);
  });

  it('take no more memory than allowed: the oldest goes', () => {
    const bench = new DecodeBench({ fragment_datagrams: 4 });
    for (let id = 0; id < 5; id++) decodeAll(bench, [build(0, 24, true, undefined, id)]);
    expect(bench.decoder.sharedCounters.fragment_evictions).toBe(1);
    decodeAll(bench, [build(24, 48, true, undefined, 4), build(48, 58, false, undefined, 4)]);
    expectWhole(bench);
  });

  it('are refused beyond 65,535 bytes ("ping of death")', () => {
    const bench = new DecodeBench();
    expect(decodeAll(bench, [build(...FIRST), build(65_528, 0, false, new Uint8Array(8))])).toEqual([
      Decoded.fragment,
      Decoded.malformed,
    ]);
    expect(bench.packet.malformed_layer).toBe(Layer.fragment);
    expect(decodeAll(bench, [build(...SECOND), build(...LAST)])).toEqual([Decoded.fragment, Decoded.fragment]);
    expect(bench.decoder.sharedCounters).toMatchObject({ fragment_oversized: 1, fragment_refused: 2, datagrams_reassembled: 0 });
  });

  it('are refused where they disagree about the end', () => {
    const bench = new DecodeBench();
    expect(decodeAll(bench, [build(...FIRST), build(...LAST), build(24, 40, false), build(...SECOND)])).toEqual([1, 1, 3, 1]);
    expect(bench.decoder.sharedCounters).toMatchObject({ fragment_conflicts: 1, datagrams_reassembled: 0 });
    expect(decodeAll(new DecodeBench(), [build(...LAST), build(56, 64, true, new Uint8Array(8))])).toEqual([1, 3]);
  });

  it.each([
    ['no multiple of 8', build(0, 23)],
    ['empty', build(24, 24)],
  ])('are malformed: %s', (_name, frame) => {
    const bench = new DecodeBench();
    expect(decodeAll(bench, [frame])).toEqual([Decoded.malformed]);
    expect(bench.decoder.sharedCounters.fragment_bad_length).toBe(1);
  });

  it('are not put together from what was cut off', () => {
    const bench = new DecodeBench();
    const first = build(...FIRST);
    bench.decode(first.subarray(0, first.length - 1), { wire: first.length });
    expect(decodeAll(bench, [build(...SECOND), build(...LAST)])).toEqual([1, 1]);
    expect(bench.decoder.sharedCounters.fragment_truncated).toBe(1);
  });
});

describe('fragments that overlap', () => {
  const wrong = new Uint8Array(24).fill(0xee);

  it('IPv4: the bytes that came first stay', () => {
    const bench = new DecodeBench();
    expect(decodeAll(bench, [v4(...FIRST), v4(16, 40, true, wrong), v4(...SECOND), v4(...LAST)])).toEqual([1, 1, 1, 0]);
    const whole = bytes(DATAGRAM.subarray(0, 24), wrong.subarray(0, 16), DATAGRAM.subarray(40));
    expect(bench.payload).toBe(hex(whole.subarray(8)));
    expect(bench.decoder.sharedCounters).toMatchObject({ fragment_overlaps: 1, fragment_repetitions: 0 });
  });

  it('IPv4: one that lies wholly inside another changes nothing ("teardrop")', () => {
    const bench = new DecodeBench();
    expect(decodeAll(bench, [v4(0, 48), v4(24, 32, true, wrong.subarray(0, 8)), v4(...LAST)])).toEqual([1, 1, 0]);
    expectWhole(bench);
    expect(bench.decoder.sharedCounters.fragment_overlaps).toBe(1);
  });

  it('IPv6: the datagram is dropped with all that still comes (RFC 5722)', () => {
    const bench = new DecodeBench();
    expect(decodeAll(bench, [v6(...FIRST), v6(16, 40, true, wrong), v6(...SECOND), v6(...LAST)])).toEqual([1, 1, 1, 1]);
    expect(bench.decoder.sharedCounters).toMatchObject({ fragment_overlaps: 1, fragment_refused: 2, datagrams_reassembled: 0 });
  });

  it('are counted where they are tiny (RFC 1858, RFC 3128)', () => {
    const bench = new DecodeBench();
    const tcp = (offset: number, length: number) => ethernet(0x0800, ipv4(new Uint8Array(length), { offset, more: true }));
    decodeAll(bench, [tcp(0, 16), tcp(8, 16)]);
    expect(bench.decoder.sharedCounters.fragment_tiny).toBe(2);
  });
});

describe('fragments and tunnels', () => {
  it('an inner packet out of an outer datagram, its frame in the memory of the reassembler', () => {
    const bench = new DecodeBench();
    const inner = ethernet(0x0800, ipv4(udp(MODBUS, 20000, 1), { protocol: 17, source: 'c0a80001' }), '020000000011');
    const outer = udp(bytes('08000000 00002a00', inner), 4789);
    const part = (offset: number, end: number, more: boolean) =>
      ethernet(0x8100, tagged(3, 0x0800, ipv4(outer.subarray(offset, end), { protocol: 17, offset, more })));
    expect(decodeAll(bench, [part(0, 40, true), part(40, outer.length, false)])).toEqual([1, 0]);
    expect([bench.source, bench.mac_source, bench.payload, bench.packet.destination_port]).toEqual([
      'c0a80001',
      '020000000011',
      hex(MODBUS),
      20000,
    ]);
    expect(bench.packet).toMatchObject({ tunnels: 1, link_tunnels: 1, reassembled: true });
  });

  it('an inner datagram whose fragments came in fragments', () => {
    const bench = new DecodeBench({ fragment_datagrams: 2 });
    const outerParts = ([offset, end, more]: [number, number, boolean], identification: number) => {
      const inner = ipv4(DATAGRAM.subarray(offset, end), { protocol: 17, offset, more, source: 'c0a80001' });
      return [
        ethernet(0x0800, ipv4(inner.subarray(0, 24), { protocol: 4, more: true, identification })),
        ethernet(0x0800, ipv4(inner.subarray(24), { protocol: 4, offset: 24, identification })),
      ];
    };
    expect(decodeAll(bench, [...outerParts([0, 48, true], 1), ...outerParts([48, 58, false], 2)])).toEqual([1, 1, 1, 0]);
    expectWhole(bench);
    expect(bench.source).toBe('c0a80001');
  });
});
