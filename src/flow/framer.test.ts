import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { PduAtHand } from '../dissect/conversation.ts';
import { defineDissector, Match, tcp } from '../dissect/dissector.ts';
import { Registry } from '../dissect/registry.ts';
import { FlowState, IDLE_STREAM, RecognisedBy } from './flow-state.ts';
import { FIN, RST, SYN } from './flow-table.ts';
import { FRAMER_LIMITS, Framer } from './framer.ts';
import {
  FramerBench,
  joined,
  Kind,
  LP_HEADER,
  LP_MAX,
  LP_PORT,
  lp,
  lpPdu,
  PduRecorder,
  shared,
  TcpBench,
  text,
  WEAK_PORT,
  weakPdu,
} from './testing.ts';

const HTTP = text('GET /index.html HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n');

function pieces(bytes: Uint8Array, size: number): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) parts.push(bytes.subarray(at, at + size));
  return parts;
}

/** As it was sent. */
function allWhole(bench: FramerBench, pdus: readonly Uint8Array[]): void {
  expect(bench.sink.pdus.map(({ bytes }) => bytes)).toEqual(pdus.map((pdu) => [...pdu]));
  expect(bench.sink.pdus.every(({ complete, gap_before }) => complete && !gap_before)).toBe(true);
}

describe('PDUs and segments', () => {
  const pdus = [lpPdu(1), lpPdu(2, LP_HEADER), lpPdu(3, LP_MAX), lpPdu(4, 300), lpPdu(5)];

  test('several in a segment', () => {
    const bench = new FramerBench();
    bench.data(joined(...pdus));
    allWhole(bench, pdus);
  });

  test('a PDU whole in its segment is read in place', () => {
    const registry = new Registry([lp]);
    const arrays: Uint8Array[] = [];
    const framer = new Framer(registry, { pdu: (_state, _direction, r) => arrays.push(r.bytes), unrecognised: () => {} });
    const state = new FlowState();
    state.responder_port = LP_PORT;
    state.is_stream = true;
    const segment = shared(joined(lpPdu(1), lpPdu(2), lpPdu(3).subarray(0, 8)));
    framer.data(state, 0, segment, 0, segment.length);
    const next = shared(joined(lpPdu(3).subarray(8), lpPdu(4)));
    framer.data(state, 0, next, 0, next.length);
    // Only the one that straddles is copied.
    expect(arrays.map((bytes) => (bytes === segment ? 'first' : bytes === next ? 'second' : 'copy'))).toEqual([
      'first',
      'first',
      'copy',
      'second',
    ]);
  });

  test.each([1, 2, 3, 5, 6, 7, 11, 13, 100, 511])('over segments of %i bytes', (size) => {
    const bench = new FramerBench();
    for (const part of pieces(joined(...pdus), size)) bench.data(part);
    allWhole(bench, pdus);
  });

  test('both directions by themselves', () => {
    const bench = new FramerBench();
    const [there, back] = [lpPdu(1, 40), lpPdu(2, 50, Kind.response)];
    bench.data(there);
    bench.data(back.subarray(0, 20), 1);
    bench.data(there.subarray(0, 30));
    bench.data(back.subarray(20), 1);
    bench.data(there.subarray(30));
    expect(bench.sink.pdus.map(({ direction, bytes }) => [direction, bytes.length])).toEqual([
      [0, 40],
      [1, 50],
      [0, 40],
    ]);
  });

  test('any PDUs, cut anywhere, come out as they are, in both directions', () => {
    const sizes = fc.array(fc.integer({ min: LP_HEADER, max: LP_MAX }), { minLength: 1, maxLength: 12 });
    const cuts = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(sizes, cuts, fc.constantFrom(LP_PORT, 5000), (list, steps, port) => {
        const sent = list.map((size, i) => lpPdu(i & 0x7f, size));
        const stream = joined(...sent);
        const bench = new FramerBench(port);
        for (let at = 0, i = 0; at < stream.length; i++) {
          const end = at + steps[i % steps.length];
          bench.data(stream.subarray(at, end), (i & 1) as 0 | 1);
          bench.data(stream.subarray(at, end), (1 - (i & 1)) as 0 | 1);
          at = end;
        }
        for (const direction of [0, 1]) {
          const seen = bench.sink.pdus.filter((pdu) => pdu.direction === direction).map(({ bytes }) => bytes);
          // Whole PDUs of the other direction that came before the protocol was known are passed over.
          const expected = sent.map((pdu) => [...pdu]);
          expect(seen).toEqual(expected.slice(expected.length - seen.length));
        }
        expect(bench.sink.pdus.length).toBeGreaterThanOrEqual(2 * sent.length - 2);
        expect(bench.framer.counters).toMatchObject({ resynchronisations: 0, abandoned: 0, unrecognised_flows: 0 });
      }),
      { numRuns: 200 },
    );
  });
});

describe('an impossible size', () => {
  const broken = (size: number) => {
    const pdu = lpPdu(9, 20);
    pdu.set([size >> 8, size & 0xff], 2);
    return pdu;
  };

  test.each([0, 1, LP_HEADER - 1, LP_MAX + 1, 0xffff])('of %i is passed over up to the next PDU, and counted', (size) => {
    const bench = new FramerBench();
    bench.data(joined(lpPdu(1), broken(size), lpPdu(2), lpPdu(3)));
    expect(bench.numbers).toBe('1 2 3');
    expect(bench.sink.pdus.map(({ gap_before }) => gap_before)).toEqual([false, true, false]);
    expect(bench.framer.counters).toMatchObject({ resynchronisations: 1, bytes_passed_over: 19, abandoned: 0 });
  });

  test.each([1, 2, 3, 5, 8, 13, 21])('also in segments of %i bytes', (step) => {
    const bench = new FramerBench();
    for (const part of pieces(joined(lpPdu(1), broken(0), lpPdu(2), lpPdu(3)), step)) bench.data(part);
    expect(bench.numbers).toBe('1 2 3');
    expect(bench.framer.counters.resynchronisations).toBe(1);
  });

  test('a place with the magic and an impossible size behind it is none', () => {
    const bench = new FramerBench();
    const decoy = joined(Uint8Array.of(0xa5, 0x5a, 0, 10, Kind.request, 66, 0, 0, 0, 0), text('no header here'));
    bench.data(joined(lpPdu(1), broken(3), decoy, lpPdu(2)));
    expect(bench.numbers).toBe('1 2');
  });

  test('without a sure sign a PDU is found at the start of a segment only', () => {
    const bench = new FramerBench(WEAK_PORT);
    bench.data(weakPdu(10));
    bench.data(joined(Uint8Array.of(0xff, 0xff, 0x77, 0), weakPdu(10)));
    expect(bench.sink.pdus).toHaveLength(1);
    bench.data(weakPdu(12));
    expect(bench.sink.pdus.map(({ bytes }) => bytes.length)).toEqual([10, 12]);
  });

  test('a recognised flow that shows no PDU any more is given up, and costs nothing then', () => {
    const bench = new FramerBench();
    bench.data(lpPdu(1));
    bench.data(joined(broken(0), new Uint8Array(10)));
    const noise = new Uint8Array(16 * 1024).fill(0xa5);
    for (let i = 0; i * noise.length <= FRAMER_LIMITS.unsynchronised_bytes; i++) bench.data(noise);
    expect(bench.framer.counters.abandoned).toBe(1);
    const passed = bench.framer.counters.bytes_passed_over;
    bench.data(noise);
    bench.data(lpPdu(2));
    bench.gap(100);
    bench.finish();
    expect(bench.numbers).toBe('1');
    expect(bench.framer.counters).toMatchObject({ abandoned: 1, bytes_passed_over: passed });
    expect(bench.state.stream(0).bytes.length).toBeLessThanOrEqual(4096);
  });

  test('the bytes searched in vain count from the last PDU', () => {
    const bench = new FramerBench();
    const noise = new Uint8Array(100_000);
    for (let i = 1; i <= 5; i++) bench.data(joined(noise, lpPdu(i)));
    expect(bench.numbers).toBe('');
    const other = new FramerBench();
    other.data(lpPdu(0));
    for (let i = 1; i <= 5; i++) other.data(joined(noise, lpPdu(i)));
    expect(other.numbers).toBe('0 1 2 3 4 5');
    expect(other.framer.counters.abandoned).toBe(0);
  });
});

describe('a gap', () => {
  test('between PDUs: the next one follows, and knows of it', () => {
    const bench = new FramerBench();
    bench.data(lpPdu(1));
    bench.gap(12);
    bench.data(lpPdu(3));
    bench.data(lpPdu(4));
    expect(bench.numbers).toBe('1 3 4');
    expect(bench.sink.pdus.map(({ gap_before }) => gap_before)).toEqual([false, true, false]);
  });

  test('inside a PDU: it is given as truncated, and the next is found in step', () => {
    const bench = new FramerBench(WEAK_PORT);
    bench.data(joined(weakPdu(20), weakPdu(50).subarray(0, 30)));
    bench.gap(15);
    bench.data(joined(weakPdu(50).subarray(45), weakPdu(9)));
    expect(bench.sink.pdus.map(({ bytes, complete }) => [bytes.length, complete])).toEqual([
      [20, true],
      [30, false],
      [9, true],
    ]);
    expect(bench.framer.counters).toMatchObject({ resynchronisations: 0, bytes_passed_over: 0 });
  });

  test('to the very end of a PDU', () => {
    const bench = new FramerBench();
    bench.data(lpPdu(1, 100).subarray(0, 40));
    bench.gap(60);
    bench.data(lpPdu(2));
    expect(bench.numbers).toBe('1/40 2');
    expect(bench.sink.pdus[1].gap_before).toBe(false);
  });

  test('over the end of a PDU into the next: what is left of that is passed over', () => {
    const bench = new FramerBench();
    bench.data(lpPdu(1, 100).subarray(0, 40));
    bench.gap(80);
    bench.data(joined(lpPdu(2, 100).subarray(20), lpPdu(3)));
    expect(bench.numbers).toBe('1/40 3');
    expect(bench.sink.pdus[1].gap_before).toBe(true);
    expect(bench.framer.counters.bytes_passed_over).toBe(80);
  });

  test('a capture cut at a snap length: all but the ends of PDUs, in step', () => {
    const bench = new FramerBench(WEAK_PORT);
    // 60 of 100 bytes of each segment are captured; the PDUs are longer than what is captured, but not always.
    const sizes = [100, 40, 60, 30, 70, 90];
    const stream = joined(...sizes.map(weakPdu));
    for (const part of pieces(stream, 100)) {
      bench.data(part.subarray(0, 60));
      if (part.length > 60) bench.gap(part.length - 60);
    }
    expect(bench.sink.pdus.map(({ bytes, complete }) => (complete ? `${bytes.length}` : `${bytes.length}+`)).join(' ')).toBe(
      // Third segment: 60 bytes shown are 30 and 30 of 70; its other 40 end the 70. Fourth: 60 of 90.
      '60+ 40 20+ 30 30+ 60+',
    );
  });

  test('inside a header: a PDU of which no size is known is not shown', () => {
    const bench = new FramerBench();
    bench.data(joined(lpPdu(1), lpPdu(2).subarray(0, 3)));
    bench.gap(9);
    bench.data(lpPdu(3));
    expect(bench.numbers).toBe('1 3');
  });

  test.each([1, 2, 4, 7])('behind it, in segments of %i bytes, the first header is believed', (step) => {
    const bench = new FramerBench(WEAK_PORT);
    bench.data(weakPdu(10));
    bench.gap(10);
    for (const part of pieces(weakPdu(20), step)) bench.data(part);
    expect(bench.sink.pdus.map(({ bytes }) => bytes.length)).toEqual([10, 20]);
  });

  test('behind it, a header over two segments in the middle of bytes that are passed over', () => {
    for (let cut = 1; cut < LP_HEADER; cut++) {
      const bench = new FramerBench();
      bench.data(lpPdu(1));
      bench.gap(100);
      bench.data(joined(new Uint8Array(50), lpPdu(2).subarray(0, cut)));
      bench.data(lpPdu(2).subarray(cut));
      expect(bench.numbers).toBe('1 2');
      expect(bench.framer.counters.bytes_passed_over).toBe(50);
    }
  });

  test('any loss of a stream: what comes out is what was sent, in order, and it goes on', () => {
    const sizes = fc.array(fc.integer({ min: LP_HEADER, max: 120 }), { minLength: 3, maxLength: 20 });
    const fraction = fc.double({ min: 0, max: 1, noNaN: true });
    const cuts = fc.array(fc.integer({ min: 1, max: 150 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(sizes, fraction, fraction, cuts, (list, from, length, steps) => {
        const sent = list.map((size, i) => lpPdu(i & 0x7f, size));
        const stream = joined(...sent);
        const first = sent[0].length;
        const lost = first + Math.floor(from * (stream.length - first));
        const end = Math.min(stream.length, lost + 1 + Math.floor(length * 200));
        const bench = new FramerBench();
        for (let at = 0, i = 0; at < stream.length; i++) {
          // The first PDU comes whole: without it there would be nothing to be in step with.
          let next = i === 0 ? first : Math.min(stream.length, at + steps[i % steps.length]);
          if (at < lost) next = Math.min(next, lost);
          if (at === lost) {
            bench.gap(end - lost);
            next = end;
          } else bench.data(stream.subarray(at, next));
          at = next;
        }
        let position = 0;
        const untouched: number[] = [];
        sent.forEach((pdu, i) => {
          if (position + pdu.length <= lost || position >= end) untouched.push(i);
          position += pdu.length;
        });
        const { pdus } = bench.sink;
        expect(pdus.filter(({ complete }) => complete).map(({ bytes }) => bytes[5])).toEqual(untouched);
        for (const { bytes, complete } of pdus) {
          expect(bytes).toEqual([...sent[bytes[5]].subarray(0, bytes.length)]);
          if (complete) expect(bytes.length).toBe(sent[bytes[5]].length);
        }
      }),
      { numRuns: 300 },
    );
  });
});

test('a size that depends on who sends: the framing is told whose bytes it looks at, of two conversations in turn', () => {
  const serial = defineDissector({
    ...lp,
    name: 'serial',
    framing: { headerSize: 2, maxSize: 8, sizeOf: (_r, { direction }) => (direction === 0 ? 4 : 8) },
    probe: () => Match.certain,
  });
  const sink = new PduRecorder();
  const framer = new Framer(new Registry([serial]), sink);
  const at_hand = new PduAtHand();
  const [one, other] = [new FlowState(at_hand), new FlowState(at_hand)];
  for (const state of [one, other]) state.is_stream = true;
  const bytes = shared([1, 2, 3, 4, 5, 6, 7, 8]);
  framer.data(one, 0, bytes, 0, 8);
  framer.data(other, 1, bytes, 0, 8);
  framer.data(one, 1, bytes, 0, 8);
  expect(sink.pdus.map((pdu) => pdu.bytes.length)).toEqual([4, 4, 8, 8]);
});

afterAll(() => {
  // What all idle streams share is never written to.
  expect(IDLE_STREAM).toEqual(new FlowState().ownStream(0));
});

describe('recognition', () => {
  test('on its port', () => {
    const bench = new FramerBench();
    bench.data(lpPdu(1));
    expect([bench.protocol, bench.state.recognised_by]).toEqual(['lp', RecognisedBy.port]);
    // The port is the responder's: the opener is the client.
    expect(bench.state.client_direction).toBe(0);
  });

  test("on the opener's port, which makes that end the server", () => {
    const bench = new FramerBench();
    bench.state.opener_port = LP_PORT;
    bench.state.responder_port = 40_000;
    bench.data(lpPdu(1));
    expect([bench.protocol, bench.state.client_direction]).toEqual(['lp', 1]);
  });

  test('off its port by a sure sign', () => {
    const bench = new FramerBench(1234);
    bench.data(lpPdu(1));
    expect([bench.protocol, bench.state.recognised_by, bench.numbers]).toEqual(['lp', RecognisedBy.probe, '1']);
    // Ports say nothing here about who is who.
    expect(bench.state.client_direction).toBe(-1);
  });

  test('off its port not without one', () => {
    const bench = new FramerBench(1234);
    for (let i = 0; i < 20; i++) bench.data(weakPdu(40));
    expect([bench.protocol, bench.sink.pdus.length, bench.sink.unrecognised_count]).toEqual(['', 0, 1]);
  });

  test('off its port the whole segment must be PDU after PDU', () => {
    const bench = new FramerBench(1234);
    bench.data(joined(lpPdu(1), text('and then something else')));
    expect(bench.protocol).toBe('');
    // The last may be cut.
    bench.data(joined(lpPdu(2), lpPdu(3), lpPdu(4, 50).subarray(0, 20)));
    bench.data(lpPdu(4, 50).subarray(20));
    expect(bench.numbers).toBe('2 3 4');
  });

  test('on the port of another protocol', () => {
    const bench = new FramerBench(WEAK_PORT);
    bench.data(lpPdu(1, 30));
    expect([bench.protocol, bench.state.recognised_by]).toEqual(['lp', RecognisedBy.probe]);
  });

  test('is not made by a port alone: HTTP there is unrecognised, said once', () => {
    const bench = new FramerBench();
    for (let i = 0; i < 200; i++) bench.data(HTTP, (i & 1) as 0 | 1);
    bench.finish();
    expect([bench.protocol, bench.sink.pdus.length, bench.sink.unrecognised_count]).toEqual(['', 0, 1]);
    expect(bench.framer.counters.unrecognised_flows).toBe(1);
  });

  test('a flow given up stays cheap: nothing is kept, probed or searched', () => {
    let probes = 0;
    const counting = defineDissector({
      ...lp,
      probe: (r) => {
        probes++;
        return lp.probe(r);
      },
    });
    const framer = new Framer(new Registry([counting]), new PduRecorder());
    const state = new FlowState();
    state.responder_port = LP_PORT;
    state.is_stream = true;
    const bytes = shared(HTTP);
    for (let i = 0; i < FRAMER_LIMITS.attempts; i++) framer.data(state, 0, bytes, 0, bytes.length);
    expect(state.dissector).toBe(-2);
    const before = probes;
    for (let i = 0; i < 1000; i++) framer.data(state, (i & 1) as 0 | 1, bytes, 0, bytes.length);
    expect(probes).toBe(before);
    expect([state.stream(0).length, state.stream(1).length]).toEqual([0, 0]);
  });

  test.each([1, 2, 3, 5])('when the first segments are of %i bytes', (step) => {
    for (const port of [LP_PORT, 1234]) {
      const bench = new FramerBench(port);
      for (const part of pieces(joined(lpPdu(1, 40), lpPdu(2)), step)) bench.data(part);
      expect(bench.numbers).toBe('1 2');
      expect(bench.sink.pdus.every(({ gap_before }) => !gap_before)).toBe(true);
    }
  });

  test('when a tiny segment comes before one that is larger than what is collected', () => {
    const many = Array.from({ length: 127 }, (_, i) => lpPdu(i, 100));
    const stream = joined(...many);
    for (let first = 1; first < LP_HEADER; first++) {
      const bench = new FramerBench();
      bench.data(stream.subarray(0, first));
      bench.data(stream.subarray(first));
      allWhole(bench, many);
    }
  });

  test('when the capture begins with the end of a PDU', () => {
    const bench = new FramerBench();
    bench.data(text('rest'));
    bench.data(lpPdu(1));
    expect(bench.numbers).toBe('1');
    expect(bench.sink.pdus[0].gap_before).toBe(true);
    expect(bench.framer.counters.bytes_passed_over).toBe(4);
  });

  test('does not lose the other direction, which stands in the middle of a PDU', () => {
    const bench = new FramerBench();
    bench.data(lpPdu(1, 40).subarray(0, 4));
    bench.data(lpPdu(2, 20, Kind.response), 1);
    bench.data(lpPdu(1, 40).subarray(4));
    expect(bench.numbers).toBe('2 1');
    expect(bench.sink.pdus.map(({ gap_before }) => gap_before)).toEqual([false, false]);
    expect(bench.framer.counters.resynchronisations).toBe(0);
  });

  test('passes over what the other direction said that is none of its PDUs', () => {
    const bench = new FramerBench();
    bench.data(text('hello'));
    bench.data(lpPdu(2, 20, Kind.response), 1);
    bench.data(lpPdu(1));
    expect(bench.numbers).toBe('2 1');
  });

  test('a gap before recognition leaves the other direction to be synchronised', () => {
    const bench = new FramerBench();
    bench.gap(100);
    bench.data(lpPdu(1, 20, Kind.response), 1);
    bench.data(joined(new Uint8Array(20), lpPdu(2)));
    expect(bench.numbers).toBe('1 2');
    expect(bench.sink.pdus[1].gap_before).toBe(true);
  });

  test('waits for headers that are longer than what probes see by default', () => {
    const long = defineDissector({
      ...lp,
      name: 'long',
      carriers: tcp(9000),
      framing: { headerSize: 60, maxSize: 1000, sizeOf: (r) => r.peekU16(58) },
      probe: (r) => (r.remaining >= 60 && r.peekU16(0) === 0x4c4c ? Match.certain : Match.no),
      dissect: () => {},
    });
    const pdu = new Uint8Array(80);
    pdu.set([0x4c, 0x4c]);
    pdu[59] = 80;
    const sink = new PduRecorder();
    const framer = new Framer(new Registry([long]), sink);
    const state = new FlowState();
    state.responder_port = 9000;
    state.is_stream = true;
    for (const part of pieces(joined(pdu, pdu), 7)) framer.data(state, 0, shared(part), 0, part.length);
    expect(sink.pdus.map(({ bytes }) => bytes.length)).toEqual([80, 80]);
  });

  test('begun inside a long PDU, it is waited for on its port', () => {
    const bench = new FramerBench(LP_PORT, true, false);
    for (let i = 0; i < 30; i++) bench.data(new Uint8Array(1460).fill(i));
    expect(bench.sink.unrecognised_count).toBe(1);
    bench.data(lpPdu(1));
    expect(bench.numbers).toBe('1');
  });

  test('but not for ever, and not off its port', () => {
    for (const [port, segments] of [
      [LP_PORT, FRAMER_LIMITS.port_attempts],
      [1234, FRAMER_LIMITS.attempts],
    ]) {
      const bench = new FramerBench(port, true, false);
      for (let i = 0; i < segments; i++) bench.data(new Uint8Array(1460).fill(i));
      bench.data(lpPdu(1));
      expect([bench.numbers, bench.sink.unrecognised_count]).toEqual(['', 1]);
    }
  });
});

describe('datagrams', () => {
  test('several PDUs in one, and one too long for it', () => {
    const bench = new FramerBench(LP_PORT, false);
    bench.datagram(joined(lpPdu(1), lpPdu(2, LP_HEADER), lpPdu(3, 40)));
    expect(bench.numbers).toBe('1 2 3');
    // All of it is there, and it is shorter than it says: that is not the capture's fault.
    bench.datagram(lpPdu(4, 40).subarray(0, 30));
    // This is.
    bench.datagram(lpPdu(5, 40).subarray(0, 30), 10);
    expect(bench.sink.pdus.slice(3).map(({ bytes, complete }) => [bytes.length, complete])).toEqual([
      [30, true],
      [30, false],
    ]);
  });

  test('bytes that cannot be cut are given whole if they look like the protocol, and passed over if not', () => {
    const bench = new FramerBench(LP_PORT, false);
    bench.datagram(lpPdu(1));
    const broken = lpPdu(2);
    broken[3] = 0;
    bench.datagram(broken);
    bench.datagram(HTTP);
    bench.datagram(new Uint8Array(0));
    expect(bench.sink.pdus.map(({ bytes }) => bytes[5])).toEqual([1, 2]);
  });

  test('a service that is recognised late is not lost', () => {
    const bench = new FramerBench(LP_PORT, false, false);
    for (let i = 0; i < FRAMER_LIMITS.port_attempts - 1; i++) bench.datagram(HTTP);
    bench.datagram(lpPdu(1));
    expect([bench.numbers, bench.sink.unrecognised_count]).toEqual(['1', 1]);
    const later = new FramerBench(LP_PORT, false, false);
    for (let i = 0; i < FRAMER_LIMITS.port_attempts; i++) later.datagram(HTTP);
    later.datagram(lpPdu(1));
    expect(later.numbers).toBe('');
  });
});

describe('a dissector that throws', () => {
  test('puts its flow aside, and nothing else', () => {
    const bench = new FramerBench();
    bench.sink.onPdu = (state) => {
      if (bench.sink.pdus.at(-1)!.bytes[4] === Kind.poison) state.aside = true;
    };
    bench.data(joined(lpPdu(1), lpPdu(2, 20, Kind.poison), lpPdu(3)));
    bench.data(lpPdu(4).subarray(0, 8));
    bench.data(lpPdu(5), 1);
    bench.gap(10);
    bench.finish();
    expect(bench.numbers).toBe('1 2');
    expect(bench.state.stream(0).length).toBe(0);
  });

  test('in a PDU that straddles', () => {
    const bench = new FramerBench();
    bench.sink.onPdu = (state) => {
      state.aside = bench.sink.pdus.at(-1)!.bytes[4] === Kind.poison;
    };
    const poison = lpPdu(2, 20, Kind.poison);
    bench.data(joined(lpPdu(1), poison.subarray(0, 9)));
    bench.data(joined(poison.subarray(9), lpPdu(3)));
    bench.data(lpPdu(4));
    expect(bench.numbers).toBe('1 2');
  });
});

describe('the end of a flow', () => {
  test('shows half a PDU as truncated, once', () => {
    const bench = new FramerBench();
    bench.data(joined(lpPdu(1), lpPdu(2, 40).subarray(0, 25)));
    bench.finish();
    bench.finish();
    expect(bench.numbers).toBe('1 2/25');
  });

  test('and less than a header not at all', () => {
    const bench = new FramerBench();
    bench.data(joined(lpPdu(1), lpPdu(2).subarray(0, 4)));
    bench.finish();
    expect(bench.numbers).toBe('1');
  });

  test('if it goes on (a forged RST), then behind that PDU', () => {
    const bench = new FramerBench(WEAK_PORT);
    bench.data(weakPdu(40).subarray(0, 25));
    bench.finish();
    bench.data(joined(weakPdu(40).subarray(25), weakPdu(7)));
    bench.finish();
    expect(bench.sink.pdus.map(({ bytes, complete }) => [bytes.length, complete])).toEqual([
      [25, false],
      [7, true],
    ]);
  });

  test('an unrecognised beginning is not shown', () => {
    const bench = new FramerBench();
    bench.data(lpPdu(1).subarray(0, 4));
    bench.finish();
    expect(bench.sink.pdus).toEqual([]);
  });
});

test('comes to an end on any bytes, gaps and ends, and gives only what is inside them', () => {
  const bit = fc.constantFrom(0xa5, 0x5a, 0, 1, 2, 6, 7, 0x77, 255);
  const bytes = fc.array(bit, { maxLength: 60 }).map((list) => Uint8Array.from(list));
  const event = fc.record({
    kind: fc.constantFrom('data', 'data', 'data', 'pdu', 'gap', 'finish'),
    bytes,
    direction: fc.constantFrom<0 | 1>(0, 1),
    size: fc.integer({ min: LP_HEADER, max: 40 }),
  });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 80 }), fc.constantFrom(LP_PORT, WEAK_PORT, 1234), (events, port) => {
      const bench = new FramerBench(port);
      let given = 0;
      for (const { kind, bytes, direction, size } of events) {
        if (kind === 'data') bench.data(bytes, direction);
        else if (kind === 'pdu') bench.data(lpPdu(size, size), direction);
        else if (kind === 'gap') bench.gap(size, direction);
        else bench.finish();
        if (kind === 'data') given += bytes.length;
        if (kind === 'pdu') given += size;
        const { state } = bench;
        expect(Math.max(state.stream(0).length, state.stream(1).length)).toBeLessThanOrEqual(LP_MAX + 60);
      }
      const out = bench.sink.pdus.reduce((sum, pdu) => sum + pdu.bytes.length, 0);
      expect(out).toBeLessThanOrEqual(given);
    }),
    { numRuns: 1000 },
  );
});

// ── with TCP before it ──

describe('over TCP', () => {
  function talk(): TcpBench<Framer> & { sink: Framer } {
    return new TcpBench(new Framer(new Registry([lp]), recorder));
  }
  let recorder = new PduRecorder();
  const ends = { destination_port: LP_PORT };

  test('any order, any copies, any cut give the PDUs that were sent', () => {
    const sizes = fc.array(fc.integer({ min: LP_HEADER, max: 150 }), { minLength: 1, maxLength: 15 });
    const steps = fc.array(fc.integer({ min: 1, max: 120 }), { minLength: 1, maxLength: 12 });
    const moves = fc.array(fc.nat(12), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(sizes, steps, moves, (list, cut, move) => {
        recorder = new PduRecorder();
        const bench = talk();
        const sent = list.map((size, i) => lpPdu(i, size));
        const stream = joined(...sent);
        const segments: { offset: number; payload: Uint8Array; order: number }[] = [];
        for (let at = 0, i = 0; at < stream.length; i++) {
          const payload = stream.subarray(at, at + cut[i % cut.length]);
          segments.push({ offset: at, payload, order: i + move[i % move.length] });
          if (move[i % move.length] % 3 === 0) segments.push({ offset: at, payload, order: i + 0.5 + move[i % move.length] });
          at += payload.length;
        }
        segments.sort((a, b) => a.order - b.order);
        bench.send(0, { ...ends, flags: SYN, sequence: 0xffff_ff80 });
        for (const { offset, payload } of segments) bench.send(0, { ...ends, sequence: 0xffff_ff81 + offset, payload });
        expect(recorder.pdus.map(({ bytes }) => bytes)).toEqual(sent.map((pdu) => [...pdu]));
        expect(recorder.pdus.every(({ complete, gap_before }) => complete && !gap_before)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  test('an end in the middle of a PDU, then the ports used again', () => {
    for (const flags of [RST, FIN]) {
      recorder = new PduRecorder();
      const bench = talk();
      bench.send(0, { ...ends, flags: SYN, sequence: 99 });
      bench.send(0, { ...ends, sequence: 100, payload: lpPdu(1, 50).subarray(0, 30) });
      bench.send(0, { ...ends, flags, sequence: 130 });
      bench.finish();
      bench.send(0, { ...ends, flags: SYN, sequence: 4999 });
      bench.send(0, { ...ends, sequence: 5000, payload: lpPdu(2) });
      expect(bench.table.counters.reopened).toBe(1);
      expect(recorder.numbers.split(' ').at(-1)).toBe('2');
      expect(recorder.pdus.at(-1)!.gap_before).toBe(false);
    }
  });
});
