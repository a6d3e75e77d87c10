import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RecordMerger } from './record-merger.ts';
import type { RecordLines } from './worker.ts';

interface Line {
  frame: number;
  text: string;
}

function partOf(lines: readonly Line[]): RecordLines {
  let end = 0;
  return {
    bytes: Uint8Array.from(Buffer.from(lines.map(({ text }) => text).join(''))),
    order: Float64Array.from(lines, ({ frame }) => frame),
    ends: Uint32Array.from(lines, ({ text }) => (end += Buffer.byteLength(text))),
  };
}

/** Each piece is true until the next is asked for. */
const pieces = (parts: Line[][]): string[] =>
  Array.from(new RecordMerger().merge(parts.map(partOf)), (piece) => Buffer.from(piece).toString());
const merged = (...parts: Line[][]): string => pieces(parts).join('');

test('brings the lines of several shards into the order of their frames', () => {
  const line = fc.record({ frame: fc.integer({ min: 1, max: 60 }), text: fc.string({ maxLength: 12 }) });
  fc.assert(
    fc.property(fc.array(line, { maxLength: 80 }), fc.integer({ min: 1, max: 5 }), (lines, shards) => {
      const parts: Line[][] = Array.from({ length: shards }, () => []);
      const all = lines.map(({ frame, text }, i) => ({ frame, text: `${i} ${text}\n` })).sort((a, b) => a.frame - b.frame);
      for (const one of all) parts[(one.frame * 7) % shards].push(one);
      expect(merged(...parts)).toBe(all.map(({ text }) => text).join(''));
    }),
  );
});

test('without lines is empty', () => {
  expect(merged([])).toBe('');
  expect(merged([], [], [])).toBe('');
});

test("comes to an end where two shards claim a frame: all lines, each once, the first shard's first", () => {
  const a = [1, 2, 2, 3].map((frame) => ({ frame, text: `a${frame}\n` }));
  const b = [1, 2, 3, 3, 4].map((frame) => ({ frame, text: `b${frame}\n` }));
  const lines = merged(a, b).trim().split('\n');
  expect([...lines].sort()).toEqual(['a1', 'a2', 'a2', 'a3', 'b1', 'b2', 'b3', 'b3', 'b4']);
  expect(lines.map((text) => Number(text.slice(1)))).toEqual([1, 1, 2, 2, 2, 3, 3, 3, 4]);
});

test('pieces together are all there is, however long the lines are', () => {
  const lines = Array.from({ length: 40 }, (_, i) => ({ frame: i + 1, text: `${i} ${'x'.repeat(i * 30_000)}\n` }));
  const parts = [0, 1].map((part) => lines.filter((_, i) => (i >> 1) % 2 === part));
  expect(pieces(parts).length).toBeGreaterThan(2);
  // Compared here, since a difference of megabytes is nothing to read.
  expect(merged(...parts) === lines.map(({ text }) => text).join('')).toBe(true);
});
