import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ACK, FIN, FIN_SEEN, RESET, RST, SYN } from './flow-table.ts';
import { TCP_LIMITS } from './tcp-order.ts';
import { START_MS, StreamRecorder, TcpBench, text } from './testing.ts';

const CLIENT = 1000;
const SERVER = 9000;

/** After a handshake; sequence numbers of both ends count from 0 behind it. */
class Talk extends TcpBench {
  private readonly initial: readonly [number, number];

  constructor(initial: readonly [number, number] = [CLIENT, SERVER], handshake = true) {
    super(new StreamRecorder());
    this.initial = initial;
    if (!handshake) return;
    this.send(0, { flags: SYN, sequence: initial[0] - 1 });
    this.send(1, { flags: SYN | ACK, sequence: initial[1] - 1, acknowledgment: initial[0] });
    this.send(0, { sequence: initial[0], acknowledgment: initial[1] });
  }

  /** The client's segment, at an offset in its stream. */
  client(offset: number, bytes: string | Uint8Array, acknowledges = 0, missing = 0): void {
    this.segment(0, offset, bytes, acknowledges, missing);
  }
  server(offset: number, bytes: string | Uint8Array, acknowledges = 0, missing = 0): void {
    this.segment(1, offset, bytes, acknowledges, missing);
  }
  segment(direction: 0 | 1, offset: number, bytes: string | Uint8Array, acknowledges = 0, missing = 0, flags = ACK): void {
    this.send(direction, {
      flags,
      sequence: this.initial[direction] + offset,
      acknowledgment: this.initial[1 - direction] + acknowledges,
      payload: typeof bytes === 'string' ? text(bytes) : bytes,
      missing,
    });
  }
  get text(): string {
    return this.sink.text(0);
  }
  get counters(): TcpBench['order']['counters'] {
    return this.order.counters;
  }
}

describe('in order', () => {
  test('what is said by both comes out as it was said', () => {
    const talk = new Talk();
    talk.client(0, 'abc');
    talk.server(0, 'xyz', 3);
    talk.client(3, 'def', 3);
    expect([talk.sink.text(0), talk.sink.text(1)]).toEqual(['abcdef', 'xyz']);
    expect(Object.values(talk.counters).every((count) => count === 0)).toBe(true);
  });

  test('sequence numbers run over 2^32', () => {
    const talk = new Talk([0xffff_fffe, 0xffff_ffff]);
    talk.client(0, 'ab');
    talk.client(2, 'cd');
    talk.client(6, 'gh');
    talk.client(2, 'cd');
    talk.client(4, 'ef');
    talk.server(0, 'wxyz', 8);
    expect([talk.text, talk.sink.text(1)]).toEqual(['abcdefgh', 'wxyz']);
    expect(talk.counters).toMatchObject({ retransmissions: 1, out_of_order: 1, gaps: 0, restarts: 0 });
  });

  test('held back over 2^32', () => {
    const talk = new Talk([0xffff_fffc, 5]);
    talk.client(6, 'gh');
    talk.client(2, 'cd');
    talk.client(4, 'ef');
    talk.client(0, 'ab');
    expect(talk.text).toBe('abcdefgh');
  });

  test('payload of the SYN begins behind it (RFC 7413)', () => {
    const talk = new Talk([CLIENT, SERVER], false);
    talk.segment(0, -1, 'early', 0, 0, SYN);
    talk.segment(1, -1, '', 5, 0, SYN | ACK);
    talk.client(5, ' data');
    expect(talk.text).toBe('early data');
  });
});

describe('retransmission', () => {
  test('whole, in part, and of several segments at once', () => {
    const talk = new Talk();
    talk.client(0, 'abc');
    talk.client(0, 'abc');
    talk.client(3, 'def');
    talk.client(1, 'bcde');
    talk.client(0, 'abcdefgh');
    talk.client(4, 'efghij');
    expect(talk.text).toBe('abcdefghij');
    expect(talk.counters).toMatchObject({ retransmissions: 2, overlaps: 2, gaps: 0 });
  });

  test('the first copy wins: a later one cannot rewrite what was delivered', () => {
    const talk = new Talk();
    talk.client(0, 'read');
    talk.client(0, 'writ');
    talk.client(2, 'XXnew');
    expect(talk.text).toBe('readnew');
  });

  test.each<[string, [number, string][], string]>([
    ['the same place', [[5, 'first'], [5, 'other']], '.....first'],
    ['longer', [[5, 'first'], [5, 'otherlonger']], '.....firstlonger'],
    ['from before', [[5, 'first'], [3, 'xxyyyyy']], '...xxfirst'],
    ['into the next', [[8, 'late'], [5, 'xxxyyyy']], '.....xxxlate'],
    ['over two with a hole between them', [[5, 'aa'], [9, 'bb'], [4, 'xyyxxyyx']], '....xaaxxbbx'],
    ['inside', [[5, 'outside'], [7, 'xx']], '.....outside'],
    ['filling up from the beginning', [[5, 'first'], [0, '01234567']], '01234first'],
  ])('the first copy wins among segments held back: %s', (_, segments, expected) => {
    const talk = new Talk();
    for (const [offset, bytes] of segments) talk.client(offset, bytes);
    const missing = Math.min(...segments.map(([offset]) => offset));
    if (missing > 0) talk.client(0, '.'.repeat(missing));
    expect(talk.text).toBe(expected);
    expect(talk.counters.overlap_conflicts).toBeGreaterThan(0);
    expect(talk.held).toBe(0);
  }); // biome-ignore format: a table

  test('copies that agree are no conflict', () => {
    const talk = new Talk();
    talk.client(5, 'fgh');
    talk.client(5, 'fgh');
    talk.client(4, 'efghi');
    talk.client(2, 'cdef');
    talk.client(0, 'ab');
    expect(talk.text).toBe('abcdefghi');
    expect(talk.counters).toMatchObject({ retransmissions: 1, overlaps: 2, overlap_conflicts: 0 });
  });
});

describe('keep-alive (RFC 9293 3.8.4)', () => {
  test.each([0, 1])('of %i bytes says nothing', (size) => {
    const talk = new Talk();
    talk.client(0, 'abc');
    talk.client(2, 'X'.repeat(size));
    talk.server(0, '', 3);
    talk.client(2, 'X'.repeat(size));
    talk.client(3, 'def');
    expect(talk.text).toBe('abcdef');
    expect(talk.counters).toMatchObject({ keep_alives: size === 1 ? 2 : 0, retransmissions: 0, gaps: 0 });
  });

  test('without bytes, as what a capture begins with, does not make a hole', () => {
    const talk = new Talk([CLIENT, SERVER], false);
    talk.client(-1, '');
    talk.client(0, 'abc');
    expect(talk.text).toBe('abc');
  });

  test('but one byte that is lost later is a hole', () => {
    const talk = new Talk([CLIENT, SERVER], false);
    talk.client(0, '');
    talk.client(0, 'abc');
    talk.client(4, 'e');
    expect(talk.text).toBe('abc');
    talk.finish();
    expect(talk.text).toBe('abc<1>e');
  });
  test('and one byte lost behind a SYN, too', () => {
    const talk = new Talk();
    talk.client(1, 'bc');
    talk.finish();
    expect(talk.text).toBe('<1>bc');
  });
});

describe('seen in part', () => {
  test('one direction alone', () => {
    const talk = new Talk([CLIENT, SERVER], false);
    talk.server(0, 'abc', 50);
    talk.server(3, 'def', 90);
    expect(talk.sink.text(1)).toBe('abcdef');
    expect(talk.counters.gaps).toBe(0);
  });

  test('one direction alone: a hole is given up when it is too old', () => {
    const talk = new Talk([CLIENT, SERVER], false);
    talk.server(0, 'abc');
    talk.server(6, 'ghi');
    talk.time_ms += TCP_LIMITS.patience_ms;
    talk.server(9, 'jkl');
    expect(talk.sink.text(1)).toBe('abc');
    talk.time_ms += 1;
    talk.server(12, 'mno');
    expect(talk.sink.text(1)).toBe('abc<3>ghijklmno');
    expect(talk.counters).toMatchObject({ gaps: 1, gap_bytes: 3 });
  });

  test('begun in the middle, also with a bare acknowledgement', () => {
    const talk = new Talk([CLIENT, SERVER], false);
    talk.client(70, '');
    talk.client(70, 'abc');
    talk.server(90, 'xyz', 73);
    expect([talk.sink.text(0), talk.sink.text(1)]).toEqual(['abc', 'xyz']);
  });

  test('half-open: a SYN that is never answered, then another', () => {
    const talk = new Talk([CLIENT, SERVER], false);
    talk.segment(0, -1, '', 0, 0, SYN);
    talk.time_ms += 3000;
    talk.segment(0, -1, '', 0, 0, SYN);
    expect(talk.table.count).toBe(1);
    expect(talk.table.states[talk.table.slot]).toBeUndefined();
  });

  test('a connection one side has forgotten begins anew far away', () => {
    const talk = new Talk();
    talk.client(0, 'abc');
    talk.client(10, 'held');
    talk.client(0x4000_0000, 'new');
    talk.client(0x4000_0003, 'er');
    expect(talk.text).toBe(`abc<7>held<${TCP_LIMITS.window_bytes}>newer`);
    expect(talk.counters).toMatchObject({ restarts: 1, gaps: 1, gap_bytes: 7 });
    expect(talk.held).toBe(0);
  });

  test('a SYN with ACK seen again behind data, or forged, moves nothing', () => {
    const talk = new Talk();
    talk.client(0, 'get');
    talk.server(0, 'abc', 3);
    for (const offset of [-1, 5000]) talk.segment(1, offset, '', 3, 0, SYN | ACK);
    talk.server(3, 'def', 3);
    expect(talk.sink.text(1)).toBe('abcdef');
    expect(talk.counters.gaps + talk.counters.out_of_order).toBe(0);
  });

  test('a SYN with ACK that takes another number before anything was said counts (SYN cookies)', () => {
    const talk = new Talk();
    talk.segment(1, 7000, '', 0, 0, SYN | ACK);
    talk.client(0, 'get');
    talk.server(7001, 'abc', 3);
    expect(talk.sink.text(1)).toBe('abc');
    expect(talk.counters.out_of_order).toBe(0);
  });

  test('bytes that were on the wire and not captured are a gap, and the next are in place', () => {
    const talk = new Talk();
    talk.client(0, 'abc', 0, 7);
    talk.client(10, 'def');
    expect(talk.text).toBe('abc<7>def');
    // Held back, overlapped by a copy with all its bytes, and a copy cut inside what was missing.
    talk.client(20, 'xyz', 0, 4);
    talk.client(13, '.......');
    talk.client(20, '', 0, 9);
    expect(talk.text).toBe('abc<7>def.......xyz<4><2>');
  });
});

describe('a hole', () => {
  test('that the other end acknowledges with an answer is given up before the answer is looked into', () => {
    const talk = new Talk();
    talk.client(0, 'req1');
    talk.client(8, 'req3');
    const order: string[] = [];
    const { data, gap } = talk.sink;
    talk.sink.gap = (state, direction, size) => {
      order.push(`gap ${size}`);
      gap.call(talk.sink, state, direction, size);
    };
    talk.sink.data = (state, direction, bytes, start, end) => {
      order.push(`${direction === 0 ? 'client' : 'server'} ${state.acknowledges_unseen}`);
      data.call(talk.sink, state, direction, bytes, start, end);
    };
    talk.server(0, 'resp', 12);
    expect(order).toEqual(['gap 4', 'client false', 'server true']);
    expect(talk.text).toBe('req1<4>req3');
  });

  test('all holes that an answer acknowledges are given up, and no other', () => {
    const talk = new Talk();
    talk.client(4, 'b');
    talk.client(9, 'c');
    talk.client(19, 'd');
    talk.server(0, 'ok', 10);
    expect(talk.text).toBe('<4>b<4>c');
    expect(talk.counters).toMatchObject({ gaps: 2, gap_bytes: 8 });
    talk.client(10, 'fills it.');
    expect(talk.text).toBe('<4>b<4>cfills it.d');
  });

  test('that a bare acknowledgement covers is waited for a little: it may have overtaken the data', () => {
    const talk = new Talk();
    talk.client(3, 'def');
    talk.server(0, '', 6);
    expect(talk.text).toBe('');
    talk.client(0, 'abc');
    expect(talk.text).toBe('abcdef');

    talk.client(9, 'jkl');
    for (let i = 0; i < TCP_LIMITS.patience_packets - 1; i++) talk.server(0, '', 12);
    expect(talk.text).toBe('abcdef');
    talk.server(0, '', 12);
    expect(talk.text).toBe('abcdef<3>jkl');
  });

  test('is not acknowledged by what comes before it', () => {
    const talk = new Talk();
    talk.client(0, 'abc');
    talk.client(6, 'ghi');
    for (let i = 0; i < 50; i++) talk.server(i * 2, 'ok', 3);
    expect(talk.text).toBe('abc');
    talk.client(3, 'def');
    expect(talk.text).toBe('abcdefghi');
  });

  test('patience for one is not taken over by the next', () => {
    const talk = new Talk();
    talk.client(1, 'b');
    talk.client(3, 'd');
    for (let i = 0; i < TCP_LIMITS.patience_packets - 2; i++) talk.server(0, '', 2);
    talk.client(0, 'a');
    for (let i = 0; i < 5; i++) talk.client(1, 'b');
    expect(talk.text).toBe('ab');
    talk.client(2, 'c');
    expect(talk.text).toBe('abcd');
  });

  test('is given up when too many segments wait behind it', () => {
    const talk = new Talk();
    const count = TCP_LIMITS.held_segments;
    for (let i = 0; i < count; i++) talk.client(1 + i, 'x');
    expect(talk.text).toBe('');
    talk.client(1 + count, 'x');
    expect(talk.text).toBe(`<1>${'x'.repeat(count + 1)}`);
  });

  test('is given up when too many bytes wait behind it', () => {
    const talk = new Talk();
    const part = new Uint8Array(60_000).fill(120);
    for (let i = 0; i < 4; i++) talk.client(1 + i * part.length, part);
    expect(talk.text).toBe('');
    expect(talk.held).toBe(240_000);
    talk.client(1 + 4 * part.length, part);
    expect(talk.sink.gaps()).toEqual([1]);
    expect(talk.sink.bytes().length).toBe(1 + 5 * part.length);
    expect(talk.held).toBe(0);
  });

  test('what comes out behind it belongs to the packet it came in', () => {
    const talk = new Talk();
    talk.client(3, 'def');
    const held = talk.frame;
    const frames: (number | undefined)[] = [];
    const { data } = talk.sink;
    talk.sink.data = (...args) => {
      frames.push(talk.order.released?.frame);
      data.apply(talk.sink, args);
    };
    talk.time_ms += 5;
    talk.client(0, 'abc');
    expect(frames).toEqual([undefined, held]);
    expect(talk.order.released).toBeNull();
  });
});

describe('the end', () => {
  test('FIN in both directions, with the last bytes', () => {
    const talk = new Talk();
    talk.segment(0, 0, 'bye', 0, 0, FIN | ACK);
    talk.segment(1, 0, 'ok', 4, 0, FIN | ACK);
    const flags = talk.table.flags[talk.table.slot];
    expect([flags & FIN_SEEN[0], flags & FIN_SEEN[1], flags & RESET].map(Boolean)).toEqual([true, true, false]);
    expect([talk.sink.text(0), talk.sink.text(1)]).toEqual(['bye', 'ok']);
  });

  test('RST, then more data on the same ports: the stream goes on where it stood', () => {
    const talk = new Talk();
    talk.client(0, 'abc');
    talk.segment(1, 0, '', 3, 0, RST);
    expect(Boolean(talk.table.flags[talk.table.slot] & RESET)).toBe(true);
    talk.client(3, 'def');
    expect(talk.text).toBe('abcdef');
  });

  test('what is held comes out, holes with their size; once', () => {
    const talk = new Talk();
    talk.client(0, 'a');
    talk.client(3, 'd');
    talk.client(6, 'g', 0, 2);
    talk.server(4, 'x');
    for (let i = 0; i < 3; i++) talk.finish();
    expect([talk.sink.text(0), talk.sink.text(1)]).toEqual(['a<2>d<2>g<2>', '<4>x']);
    expect(talk.counters).toMatchObject({ gaps: 3, gap_bytes: 8 });
  });
});

describe('memory for held segments', () => {
  const part = new Uint8Array(60_000).fill(120);

  /** Fills it with flows that then fall silent. */
  function filled(): TcpBench {
    const bench = new TcpBench(new StreamRecorder(), { max_flows: 1000 });
    for (let flow = 0; bench.held + part.length <= TCP_LIMITS.held_bytes_all; flow++) {
      const ends = { source: 100 + flow, destination: 2 };
      bench.send(0, { ...ends, flags: SYN, sequence: 99 });
      for (let i = 0; i < 4 && bench.held + part.length <= TCP_LIMITS.held_bytes_all; i++)
        bench.send(0, { ...ends, sequence: 101 + i * part.length, payload: part });
    }
    return bench;
  }

  test('is bounded, and no stream stands still for want of it', () => {
    const bench = filled();
    expect(bench.order.counters.held_dropped).toBe(0);
    const before = bench.held;
    bench.sink.parts[0].length = 0;
    bench.send(0, { flags: SYN, sequence: 999 });
    bench.send(0, { sequence: 1000, payload: text('abc') });
    bench.send(0, { sequence: 1010, payload: part });
    expect(bench.order.counters).toMatchObject({ held_dropped: 1, gaps: 1, gap_bytes: 7 });
    bench.send(0, { sequence: 1003, payload: text('late') });
    bench.send(0, { sequence: 1010 + part.length, payload: text('next') });
    expect(bench.sink.gaps()).toEqual([7]);
    expect(bench.sink.bytes().slice(-4)).toEqual([...text('next')]);
    expect(bench.held).toBe(before);
  });

  test('is given back when flows end, begin anew, restart or are evicted', () => {
    const bench = filled();
    let flow = 0;
    const ends = () => ({ source: 100 + flow++, destination: 2 });
    // Begin anew, restart, finish in turn.
    for (let i = 0; i < 20; i++) {
      bench.send(0, { ...ends(), flags: SYN, sequence: 7_000_000 });
      bench.send(0, { ...ends(), sequence: 0x7000_0000, payload: text('far') });
      bench.send(0, { ...ends(), sequence: 100, payload: text('!') });
    }
    for (let i = 0; i < 2000; i++) bench.send(0, { source: 5000 + i, flags: SYN, sequence: 1, time_ms: START_MS + 1 + i });
    expect(bench.table.counters.evicted).toBeGreaterThan(1000);
    expect(bench.held).toBe(0);
    expect(bench.order.counters.held_dropped).toBe(0);
    // All of it can be used again.
    bench.time_ms += 10_000;
    const again = filled().held;
    const dropped = bench.order.counters.held_dropped;
    for (let f = 0, held = 0; held < again; f++) {
      bench.send(0, { source: 20_000 + f, flags: SYN, sequence: 99 });
      for (let i = 0; i < 4 && held < again; i++, held += part.length)
        bench.send(0, { source: 20_000 + f, sequence: 101 + i * part.length, payload: part });
    }
    expect(bench.order.counters.held_dropped).toBe(dropped);
    expect(bench.held).toBe(again);
  });
});

// ── any stream, however it is cut ──

interface Piece {
  offset: number;
  bytes: Uint8Array;
}

const streamBytes = fc.uint8Array({ minLength: 1, maxLength: 600 });
const initial = fc.constantFrom(1, 0xffff_fff0, 0xffff_ff00, 0x7fff_fff0);

/** The stream cut at places (fractions), repeated, and each piece moved back by up to `shift` places. */
function pieces(bytes: Uint8Array, cuts: number[], copies: [number, number][], shifts: number[], shift: number): Piece[] {
  const places = [...new Set([0, ...cuts.map((cut) => Math.floor(cut * bytes.length)), bytes.length])].sort((a, b) => a - b);
  const all: (Piece & { order: number })[] = places
    .slice(1)
    .map((end, i) => ({ offset: places[i], bytes: bytes.subarray(places[i], end), order: i }));
  const count = all.length;
  for (const [from, size] of copies) {
    const offset = Math.min(bytes.length - 1, Math.floor(from * bytes.length));
    const end = Math.min(bytes.length, offset + 1 + Math.floor(size * 50));
    // A copy comes after the original.
    const order = all.slice(0, count).findIndex((piece) => piece.offset + piece.bytes.length >= end) + 0.5;
    all.push({ offset, bytes: bytes.subarray(offset, end), order });
  }
  all.sort((a, b) => a.order - b.order);
  return all
    .map((piece, i) => ({ piece, order: i + (shifts[i % Math.max(1, shifts.length)] ?? 0) * (shift + 0.5) }))
    .sort((a, b) => a.order - b.order)
    .map(({ piece }) => piece);
}

const fraction = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const cuts = fc.array(fraction, { maxLength: 25 });
const copies = fc.array(fc.tuple(fraction, fraction), { maxLength: 10 });
const shifts = fc.array(fraction, { maxLength: 30 });

describe('any byte stream', () => {
  test('comes out the same however it is cut, repeated and reordered within the patience', () => {
    fc.assert(
      fc.property(streamBytes, cuts, copies, shifts, initial, (bytes, cutAt, copied, shifted, number) => {
        const talk = new Talk([number, SERVER]);
        for (const piece of pieces(bytes, cutAt, copied, shifted, 20)) talk.client(piece.offset, piece.bytes);
        expect(talk.sink.bytes()).toEqual([...bytes]);
        expect(talk.counters).toMatchObject({ gaps: 0, gap_bytes: 0, overlap_conflicts: 0, restarts: 0 });
        expect(talk.held).toBe(0);
      }),
      { numRuns: 500 },
    );
  });

  test('also where bare acknowledgements overtake it a little', () => {
    fc.assert(
      fc.property(streamBytes, cuts, copies, shifts, initial, (bytes, cutAt, copied, shifted, number) => {
        const talk = new Talk([number, SERVER]);
        let sent = 0;
        for (const piece of pieces(bytes, cutAt, copied, shifted, 1)) {
          talk.client(piece.offset, piece.bytes);
          sent = Math.max(sent, piece.offset + piece.bytes.length);
          talk.server(0, '', sent);
        }
        expect(talk.sink.bytes()).toEqual([...bytes]);
        expect(talk.counters.gaps).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  test('with losses is what is left, every gap with its size', () => {
    fc.assert(
      fc.property(
        streamBytes,
        cuts,
        shifts,
        fc.array(fc.boolean(), { minLength: 1, maxLength: 30 }),
        initial,
        fc.boolean(),
        (bytes, cutAt, shifted, lost, number, answers) => {
          const talk = new Talk([number, SERVER]);
          const seen = pieces(bytes, cutAt, [], answers ? [] : shifted, 20).filter((_, i) => !lost[i % lost.length]);
          const expected: number[] = new Array(bytes.length).fill(-1);
          let last = 0;
          seen.forEach((piece, i) => {
            expected.splice(piece.offset, piece.bytes.length, ...piece.bytes);
            last = Math.max(last, piece.offset + piece.bytes.length);
            talk.client(piece.offset, piece.bytes);
            if (answers) talk.server(i * 2, 'ok', last);
          });
          talk.finish();
          // What was lost behind the last byte seen cannot be known.
          expect(talk.sink.bytes()).toEqual(expected.slice(0, last));
          const missing = expected.slice(0, last).filter((byte) => byte < 0).length;
          expect(talk.counters.gap_bytes).toBe(missing);
          expect(talk.sink.gaps().reduce((sum, size) => sum + size, 0)).toBe(missing);
          // Neighbouring losses are one gap.
          const runs = expected.slice(0, last).filter((byte, i, all) => byte < 0 && all[i - 1] !== -1).length;
          expect(talk.counters.gaps).toBe(runs);
          expect(talk.held).toBe(0);
        },
      ),
      { numRuns: 500 },
    );
  });

  test('of which copies disagree is what was seen first, byte by byte', () => {
    const segment = fc.record({
      offset: fc.nat(40),
      size: fc.integer({ min: 1, max: 15 }),
      fill: fc.integer({ min: 1, max: 255 }),
    });
    fc.assert(
      fc.property(fc.array(segment, { minLength: 1, maxLength: 25 }), initial, (segments, number) => {
        const talk = new Talk([number, SERVER]);
        const first: number[] = new Array(60).fill(-1);
        for (const { offset, size, fill } of [...segments, { offset: 0, size: 60, fill: 0 }]) {
          talk.client(offset, new Uint8Array(size).fill(fill));
          for (let i = offset; i < offset + size; i++) if (first[i] < 0) first[i] = fill;
        }
        expect(talk.sink.bytes()).toEqual(first);
        expect(talk.held).toBe(0);
      }),
      { numRuns: 500 },
    );
  });

  test('survives anything that a peer may send', () => {
    const wild = fc.record({
      direction: fc.constantFrom<0 | 1>(0, 1),
      sequence: fc.oneof(fc.nat(300), fc.nat(0xffff_ffff)),
      acknowledgment: fc.oneof(fc.nat(300), fc.nat(0xffff_ffff)),
      flags: fc.nat(0x3f),
      size: fc.nat(40),
      missing: fc.oneof(fc.constant(0), fc.nat(50)),
      wait_ms: fc.constantFrom(0, 1, 1100),
    });
    fc.assert(
      fc.property(fc.array(wild, { maxLength: 150 }), (packets) => {
        const bench = new TcpBench(new StreamRecorder());
        for (const { direction, size, wait_ms, ...fields } of packets) {
          bench.time_ms += wait_ms;
          bench.send(direction, { ...fields, payload: new Uint8Array(size) });
          const limit = 2 * (TCP_LIMITS.held_segments + 1);
          const state = bench.table.states[bench.table.slot];
          for (const { held } of state ? [state.stream(0), state.stream(1)] : []) {
            expect(held.length).toBeLessThan(limit);
            for (let i = 1; i < held.length; i++) {
              const end = held[i - 1].sequence + held[i - 1].bytes.length + held[i - 1].missing;
              expect((held[i].sequence - end) | 0).toBeGreaterThanOrEqual(0);
            }
          }
        }
        bench.finish();
        expect(bench.held).toBe(0);
      }),
      { numRuns: 300 },
    );
  });
});

test('the time of a stream is that of its packets', () => {
  const talk = new Talk();
  talk.client(3, 'def');
  expect(talk.state.stream(0).held[0]).toMatchObject({ frame: 4, time_ms: START_MS, seconds: START_MS / 1000, nanoseconds: 0 });
});
