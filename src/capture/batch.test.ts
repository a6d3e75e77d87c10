import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  BatchWriter,
  CAPTURED,
  INDEX_PACKETS,
  INTERFACE,
  MAX_BATCH_BYTES,
  MAX_BATCH_PACKETS,
  MAX_BATCHES_UNDER_WAY,
  MAX_PACKET_BYTES,
  OFFSET,
  PacketRing,
  POSITION,
  PREVIOUS,
  REMEMBERED_BYTES,
  REMEMBERED_PACKETS,
  RING_BYTES,
  WIRE,
} from './batch.ts';

const HEADER = 16;

/** Writes packets behind one another as the records of a capture file; `batches` says how many go in each batch, in turn. */
class Recorder {
  readonly ring = new PacketRing();
  readonly writer = new BatchWriter(this.ring);
  /** First frame of every batch closed. */
  readonly batches: number[] = [];
  newest = 0;
  private used = 0;
  private readonly counts: readonly number[];

  constructor(counts: readonly number[] = [Number.POSITIVE_INFINITY]) {
    this.counts = counts;
  }

  packet(size: number): void {
    const { writer } = this;
    if (
      writer.full ||
      this.used + HEADER + size > MAX_BATCH_BYTES ||
      writer.count >= this.counts[this.batches.length % this.counts.length]
    )
      this.close();
    const at = writer.start + this.used + HEADER;
    this.newest++;
    // Its number at its start and at its end, by which it is known again.
    if (size >= 8) {
      writer.buffer.writeUInt32LE(this.newest, at);
      writer.buffer.writeUInt32LE(this.newest, at + size - 4);
    }
    writer.add(at, size, size, 1_700_000_000, 0, 0, 1);
    this.used += HEADER + size;
  }

  close(): void {
    const { first_frame } = this.writer.next(this.used);
    this.batches.push(first_frame);
    this.used = 0;
  }

  /** Is the packet's memory still its own? */
  intact(frame: number): boolean {
    const { index, bytes } = this.ring;
    const entry = this.ring.entry(frame);
    const view = new DataView(bytes.buffer);
    const at = index[entry + OFFSET];
    return view.getUint32(at, true) === frame && view.getUint32(at + index[entry + CAPTURED] - 4, true) === frame;
  }
}

describe('an index entry', () => {
  const add = (seconds: number, nanoseconds: number): [number, number] => {
    const ring = new PacketRing();
    const writer = new BatchWriter(ring);
    writer.add(0, 60, 60, seconds, nanoseconds, 0, 1);
    return [ring.seconds(ring.entry(1)), ring.nanoseconds(ring.entry(1))];
  };

  test.each<[string, number, number, [number, number]]>([
    ['the epoch', 0, 0, [0, 0]],
    ['the last nanosecond', 1_700_000_000, 999_999_999, [1_700_000_000, 999_999_999]],
    ['nanoseconds that make seconds are carried over', 1_700_000_000, 4_000_000_001, [1_700_000_004, 1]],
    ['behind 2038', 0x8000_0000, 5, [0x8000_0000, 5]],
    ['behind 2106', 0x1_0000_0000, 999_999_999, [0x1_0000_0000, 999_999_999]],
    ['the last date', 0x3_ffff_ffff, 1, [0x3_ffff_ffff, 1]],
    ['carried over into 2106', 0xffff_ffff, 1_500_000_000, [0x1_0000_0000, 500_000_000]],
  ])('keeps the time: %s', (_, seconds, nanoseconds, expected) => {
    expect(add(seconds, nanoseconds)).toEqual(expected);
  });

  test('says where the packet lies and what it is', () => {
    const ring = new PacketRing();
    const writer = new BatchWriter(ring);
    ring.index[ring.entry(1) + PREVIOUS] = 77;
    writer.add(writer.start + 24, 100, 1500, 1, 2, 3, 113);
    const entry = ring.entry(1);
    expect([OFFSET, CAPTURED, WIRE, PREVIOUS, POSITION].map((word) => ring.index[entry + word])).toEqual([24, 100, 1500, 0, 24]);
    expect([ring.index[entry + INTERFACE] >>> 16, ring.index[entry + INTERFACE] & 0xffff]).toEqual([3, 113]);
  });

  test('lies in a ring', () => {
    const ring = new PacketRing();
    expect(ring.entry(1)).toBe(0);
    expect(ring.entry(INDEX_PACKETS + 1)).toBe(0);
    expect(ring.entry(INDEX_PACKETS)).toBe(ring.index.length - ring.entry(2));
  });
});

describe('batches', () => {
  test('follow each other and never reach over the end of the ring', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(MAX_BATCH_BYTES), { minLength: 1, maxLength: 150 }), (sizes) => {
        const writer = new BatchWriter(ring);
        let before = { start: -1, end: 0 };
        for (const used of sizes) {
          expect(writer.start % 8).toBe(0);
          expect(writer.limit).toBe(writer.start + MAX_BATCH_BYTES);
          expect(writer.limit).toBeLessThanOrEqual(RING_BYTES);
          expect(writer.start === 0 || writer.start >= before.end).toBe(true);
          before = { start: writer.start, end: writer.start + used };
          writer.next(used);
        }
      }),
      { numRuns: 100 },
    );
  });
  const ring = new PacketRing();

  test('number packets on, and are full at their limit', () => {
    const writer = new BatchWriter(ring);
    for (let i = 0; i < MAX_BATCH_PACKETS; i++) {
      expect(writer.full).toBe(false);
      writer.add(0, 0, 0, 0, 0, 0, 1);
    }
    expect(writer.full).toBe(true);
    expect(writer.next(0)).toEqual({ first_frame: 1, count: MAX_BATCH_PACKETS });
    writer.add(0, 0, 0, 0, 0, 0, 1);
    expect(writer.next(0)).toEqual({ first_frame: MAX_BATCH_PACKETS + 1, count: 1 });
    expect(writer.next(0)).toEqual({ first_frame: MAX_BATCH_PACKETS + 2, count: 0 });
  });
});

describe('what is remembered', () => {
  test('nothing before the first packet or behind the newest', () => {
    const recorder = new Recorder();
    for (let i = 0; i < 10; i++) recorder.packet(60);
    const { ring } = recorder;
    expect([-1, 0, 1, 10, 11].map((frame) => ring.remembers(frame, 10))).toEqual([false, false, true, true, false]);
  });

  test('as many packets as are surely there', () => {
    const recorder = new Recorder();
    for (let i = 0; i < INDEX_PACKETS + 10; i++) recorder.packet(8);
    const { ring, newest } = recorder;
    expect(ring.remembers(newest - REMEMBERED_PACKETS + 1, newest)).toBe(true);
    expect(ring.remembers(newest - REMEMBERED_PACKETS, newest)).toBe(false);
  });

  test('as many bytes', () => {
    const size = 100_000;
    const recorder = new Recorder();
    for (let i = 0; i < 1000; i++) recorder.packet(size);
    const back = Math.ceil(REMEMBERED_BYTES / (size + HEADER));
    const { ring, newest } = recorder;
    expect(ring.remembers(newest - back + 1, newest)).toBe(true);
    expect(ring.remembers(newest - back, newest)).toBe(false);
  });

  test('also where the bytes between are more than POSITION can count', () => {
    const recorder = new Recorder();
    // 2^32 bytes and a little: the positions of the first and the last are near each other.
    const size = MAX_PACKET_BYTES - HEADER;
    for (let i = 0; i < 2 ** 32 / MAX_PACKET_BYTES + 4; i++) recorder.packet(size);
    const { ring, newest } = recorder;
    const { index } = ring;
    expect((index[ring.entry(newest) + POSITION] - index[ring.entry(1) + POSITION]) >>> 0).toBeLessThan(REMEMBERED_BYTES);
    expect(recorder.intact(1)).toBe(false);
    expect(ring.remembers(1, newest)).toBe(false);
    expect(ring.remembers(newest - 5, newest)).toBe(true);
  });

  test('is there, while the writer is as far ahead as it may be', () => {
    const sizes = fc.array(fc.oneof(fc.integer({ min: 8, max: 200 }), fc.integer({ min: 8, max: MAX_PACKET_BYTES })), {
      minLength: 1,
      maxLength: 40,
    });
    const counts = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(sizes, counts, (list, batches) => {
        const recorder = new Recorder(batches);
        const { ring } = recorder;
        for (let i = 0, written = 0; written < 2 * RING_BYTES && i < 20_000; i++) {
          const size = list[i % list.length];
          recorder.packet(size);
          written += size;
        }
        // The shards stand at the oldest batch that is under way.
        const oldest = recorder.batches.at(-(MAX_BATCHES_UNDER_WAY - 1)) ?? 1;
        for (let frame = oldest; frame >= 1; frame--) {
          const remembered = ring.remembers(frame, oldest);
          if (!remembered) break;
          expect(recorder.intact(frame)).toBe(true);
        }
      }),
      { numRuns: 15 },
    );
  });

  test('is the same however the capture was cut into batches', () => {
    const sizes = fc.array(fc.oneof(fc.integer({ min: 8, max: 200 }), fc.integer({ min: 50_000, max: MAX_PACKET_BYTES })), {
      minLength: 1,
      maxLength: 30,
    });
    const counts = fc.array(fc.integer({ min: 1, max: 500 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(sizes, counts, (list, batches) => {
        const whole = new Recorder();
        const cut = new Recorder(batches);
        for (let i = 0; i < 1500; i++) {
          whole.packet(list[i % list.length]);
          cut.packet(list[i % list.length]);
        }
        for (let frame = 1; frame <= 1500; frame++) {
          const [a, b] = [whole.ring, cut.ring].map((ring) => [
            ring.remembers(frame, 1500),
            ring.remembers(Math.ceil(frame / 2), frame),
            ring.index[ring.entry(frame) + POSITION],
          ]);
          expect(b).toEqual(a);
        }
      }),
      { numRuns: 10 },
    );
  });
});
