import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BatchWriter, PacketRing, PREVIOUS } from '../capture/batch.ts';
import { EVIDENCE_LIMITS, EvidenceKeeper } from './evidence.ts';

/** A ring with packets of these sizes, all of one flow. */
function ringOf(sizes: readonly number[]): PacketRing {
  const ring = new PacketRing();
  const writer = new BatchWriter(ring);
  let used = 0;
  sizes.forEach((size, i) => {
    if (used + size > 1_000_000) {
      writer.next(used);
      used = 0;
    }
    writer.buffer.fill(i + 1, writer.start + used, writer.start + used + size);
    writer.add(writer.start + used, size, size + 4, 1_700_000_000 + i, 123_456_789, 0, 113);
    ring.index[ring.entry(i + 1) + PREVIOUS] = i === 0 ? 0 : 1;
    used += size;
  });
  return ring;
}

const frames = (rows: { frame: number }[]): number[] => rows.map(({ frame }) => frame);
const upTo = (first: number, last: number): number[] => Array.from({ length: last - first + 1 }, (_, i) => first + i);

describe('what is kept', () => {
  test('is the packet as it was captured', () => {
    const rows = new EvidenceKeeper(7).collect(ringOf([60, 70]), 'key', 2, []);
    expect(rows[1]).toEqual({
      alert_key: 'key',
      ordinal: 1,
      capture_id: 7,
      frame: 2,
      seconds: 1_700_000_001,
      nanoseconds: 123_456_789,
      captured: 70,
      wire: 74,
      link_type: 113,
      bytes: new Uint8Array(70).fill(2),
    });
  });

  test('is a copy: the ring goes on', () => {
    const ring = ringOf([60]);
    const [row] = new EvidenceKeeper(1).collect(ring, 'key', 1, []);
    ring.bytes.fill(0xff);
    expect(row.bytes).toEqual(new Uint8Array(60).fill(1));
    expect(row.bytes.buffer).not.toBeInstanceOf(SharedArrayBuffer);
  });

  test('are the packets behind as many links as are followed, and the handshake', () => {
    const ring = ringOf(new Array(100).fill(60));
    const rows = new EvidenceKeeper(1).collect(ring, 'key', 90, [1, 2, 3]);
    expect(frames(rows)).toEqual([1, 2, 3, ...upTo(90 - EVIDENCE_LIMITS.packets_back, 90)]);
    expect(rows.map(({ ordinal }) => ordinal)).toEqual(rows.map((_, i) => i));
  });

  test('once, also where the handshake is among the links', () => {
    const rows = new EvidenceKeeper(1).collect(ringOf(new Array(10).fill(60)), 'key', 5, [1, 2, 3]);
    expect(frames(rows)).toEqual([1, 2, 3, 4, 5]);
  });

  test('is nothing that came later than the packet', () => {
    expect(frames(new EvidenceKeeper(1).collect(ringOf(new Array(10).fill(60)), 'key', 2, [1, 2, 9]))).toEqual([1, 2]);
  });

  test('grows by packets that follow, for alerts that have evidence', () => {
    const ring = ringOf(new Array(10).fill(60));
    const keeper = new EvidenceKeeper(1);
    expect(keeper.add(ring, 'key', 3)).toEqual([]);
    keeper.collect(ring, 'key', 3, []);
    expect(keeper.add(ring, 'key', 4)).toMatchObject([{ frame: 4, ordinal: 3 }]);
    expect(keeper.add(ring, 'key', 4)).toEqual([]);
    expect(keeper.add(ring, 'other', 4)).toEqual([]);
  });
});

describe('limits', () => {
  test('of packets an alert', () => {
    const ring = ringOf(new Array(200).fill(60));
    const keeper = new EvidenceKeeper(1);
    keeper.collect(ring, 'key', 100, []);
    for (let frame = 101; frame <= 200; frame++) keeper.add(ring, 'key', frame);
    expect(keeper.counters).toMatchObject({
      packets: EVIDENCE_LIMITS.packets_an_alert,
      refused: 100 - (EVIDENCE_LIMITS.packets_an_alert - EVIDENCE_LIMITS.packets_back - 1),
    });
    // Another alert has room of its own.
    expect(keeper.collect(ring, 'other', 1, [])).toHaveLength(1);
  });

  test('of bytes an alert: what is nearest to the cause is kept', () => {
    const keeper = new EvidenceKeeper(1);
    const rows = keeper.collect(ringOf(new Array(40).fill(100_000)), 'key', 40, [1]);
    expect(frames(rows)).toEqual([39, 40]);
    expect(keeper.counters).toMatchObject({ packets: 2, bytes: 200_000, refused: EVIDENCE_LIMITS.packets_back });
  });

  test('of bytes in all', () => {
    const ring = ringOf([200_000]);
    const keeper = new EvidenceKeeper(1);
    const fit = Math.floor(EVIDENCE_LIMITS.bytes_in_all / 200_000);
    let kept = 0;
    for (let i = 0; i < fit + 10; i++) kept += keeper.collect(ring, `key ${i}`, 1, []).length;
    expect(kept).toBe(fit);
    expect(keeper.counters).toMatchObject({ packets: fit, refused: 10 });
  });
});

describe('memory that is gone', () => {
  const size = 100_000;

  test('ends the way back', () => {
    const ring = ringOf(new Array(500).fill(size));
    // One link that leads far back.
    ring.index[ring.entry(500) + PREVIOUS] = 1;
    ring.index[ring.entry(499) + PREVIOUS] = 400;
    const keeper = new EvidenceKeeper(1);
    expect(frames(keeper.collect(ring, 'key', 500, [1, 2]))).toEqual([499, 500]);
    expect(keeper.counters.forgotten).toBe(3);
  });

  test('is judged from the newest packet: of an old one nothing is left', () => {
    const ring = ringOf(new Array(500).fill(size));
    expect(new EvidenceKeeper(1).collect(ring, 'key', 10, [1, 2, 3], 500)).toEqual([]);
    expect(frames(new EvidenceKeeper(1).collect(ring, 'key', 499, [], 500))).toEqual([498, 499]);
  });
});

test('no two rows of an alert are the same packet, whatever is asked', () => {
  const ring = ringOf(new Array(150).fill(60));
  const ask = fc.record({
    frame: fc.integer({ min: 1, max: 150 }),
    early: fc.array(fc.integer({ min: 1, max: 150 }), { maxLength: 3 }),
    add: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(ask, { maxLength: 20 }), (asks) => {
      const keeper = new EvidenceKeeper(1);
      const rows = asks.flatMap(({ frame, early, add }) =>
        add ? keeper.add(ring, 'key', frame) : keeper.collect(ring, 'key', frame, early),
      );
      expect(new Set(frames(rows)).size).toBe(rows.length);
      expect(rows.map(({ ordinal }) => ordinal)).toEqual(rows.map((_, i) => i));
      expect(rows.length).toBeLessThanOrEqual(EVIDENCE_LIMITS.packets_an_alert);
      expect(keeper.counters).toMatchObject({ packets: rows.length, bytes: rows.length * 60, forgotten: 0 });
    }),
  );
});
