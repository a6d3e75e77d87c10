import { describe, expect, it } from 'vitest';
import { Decoded } from './packet.ts';
import { bytes, type Captured, DecodeBench, ethernet, hex, ipv4, MAC_B, MODBUS, tagged, tcp, u16, udp } from './testing.ts';

const PACKET = ipv4(tcp(MODBUS));
const A = 0xa;
const B = 0xb;

/** IEC 62439-3 4.2.7: sequence 2, LAN 4 bits, size 12 from behind the EtherType to the trailer's end, suffix. */
function prp(sequence: number, lan: number, payload = PACKET, type = 0x0800, source?: string): Uint8Array {
  return bytes(ethernet(type, payload, source), u16(sequence), u16((lan << 12) | (payload.length + 6)), u16(0x88fb));
}

/** IEC 62439-3 5.7: path 4 bits, size 12, sequence 2, EtherType 2. */
function hsr(sequence: number, path: number, payload = PACKET, source?: string): Uint8Array {
  return ethernet(0x892f, bytes(u16((path << 12) | (payload.length + 6)), u16(sequence), u16(0x0800), payload), source);
}

function decodeAll(bench: DecodeBench, ...frames: [Uint8Array, Captured?][]): number[] {
  return frames.map(([frame, captured]) => bench.count(frame, captured));
}

describe.each([
  ['PRP', prp, A, B],
  ['HSR', hsr, 0, 1],
] as const)('%s', (_, tag, first, second) => {
  const build = (sequence: number, lan: number, payload?: Uint8Array) => tag(sequence, lan, payload);

  it('inspects the first copy without its tag or trailer, and drops the second', () => {
    const bench = new DecodeBench();
    expect(bench.decode(build(7, first))).toBe(Decoded.ok);
    expect([bench.payload, bench.packet.destination_port, bench.packet.payload_missing]).toEqual([hex(MODBUS), 502, 0]);
    expect(bench.link_payload).toBe(hex(PACKET));
    expect(bench.count(build(7, second))).toBe(Decoded.duplicate);
    expect(bench.decoder.counters.toRecord().duplicates).toBe(1);
    expect(bench.decoder.sharedCounters.duplicates_dropped).toBe(1);
  });

  it('drops whichever comes second, and further copies', () => {
    const bench = new DecodeBench();
    expect(
      decodeAll(bench, [build(7, second)], [build(8, first)], [build(7, first)], [build(8, second)], [build(7, first)]),
    ).toEqual([Decoded.ok, Decoded.ok, Decoded.duplicate, Decoded.duplicate, Decoded.duplicate]);
  });

  const other = bytes(PACKET.subarray(0, PACKET.length - 1), 0xff);
  it.each([
    ['the same path', build(7, first), undefined],
    ['another sequence number', build(8, second), undefined],
    ['other bytes', build(7, second, other), undefined],
    ['another length', build(7, second, bytes(PACKET, 0)), undefined],
    ['another source', tag === prp ? prp(7, B, PACKET, 0x0800, MAC_B) : hsr(7, 1, PACKET, MAC_B), undefined],
    ['after the lifetime', build(7, second), { time_ms: 1_700_000_000_402 }],
    ['cut off', build(7, second).subarray(0, 60), { wire: 90 }],
  ])('keeps what is no copy: %s', (_name, frame, captured) => {
    const bench = new DecodeBench();
    expect(bench.decode(build(7, first), { time_ms: 1_700_000_000_001 })).toBe(Decoded.ok);
    expect(bench.decode(frame, captured ?? { time_ms: 1_700_000_000_002 })).not.toBe(Decoded.duplicate);
  });

  it('forgets the oldest under a flood, and never drops a frame for it', { timeout: 60_000 }, () => {
    const bench = new DecodeBench({ duplicate_lifetime_ms: 1e9 });
    for (let i = 0; i < 40_000; i++) {
      if (bench.decode(build(i & 0xffff, first, udp(u16(i)))) === Decoded.duplicate) expect.fail(`frame ${i}`);
    }
    expect(bench.decoder.sharedCounters.duplicate_table_evictions).toBeGreaterThan(0);
    expect(bench.decode(build(39_999, second, udp(u16(39_999))))).toBe(Decoded.duplicate);
  });
});

describe('PRP trailer', () => {
  it('is found behind VLAN tags, whichever way their size is counted', () => {
    const bench = new DecodeBench();
    const inner = tagged(5, 0x0800, PACKET);
    for (const size of [inner.length + 6, PACKET.length + 6]) {
      const frame = bytes(ethernet(0x8100, inner), u16(size), u16(0xa000 | size), u16(0x88fb));
      expect(bench.decode(frame)).toBe(Decoded.ok);
      expect(bench.link_payload).toBe(hex(PACKET));
    }
  });

  it('is payload where size or LAN do not fit', () => {
    const bench = new DecodeBench();
    for (const end of ['0007a01088fb', `0007c00e88fb`]) {
      expect(bench.decode(ethernet(0x88b8, bytes('0001000800000000', end)))).toBe(Decoded.ok);
      expect(bench.link_payload).toBe(`0001000800000000${end}`);
    }
    expect(bench.decode(ethernet(0x88b8, bytes('0001000800000000', '0007a00e88fb')))).toBe(Decoded.ok);
    expect(bench.link_payload).toBe('0001000800000000');
  });
});
