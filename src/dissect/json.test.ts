import fc from 'fast-check';
import { expect, test } from 'vitest';
import { JsonWriter } from './json.ts';

function written(write: (out: JsonWriter) => void, size = 4): string {
  const out = new JsonWriter(new Uint8Array(size));
  write(out);
  return Buffer.from(out.bytes.subarray(0, out.position)).toString();
}

test('numbers are written as JSON.stringify writes them', () => {
  const number = fc.oneof(fc.nat({ max: 1001 }), fc.maxSafeInteger(), fc.nat({ max: 2 ** 32 - 1 }), fc.double());
  fc.assert(
    fc.property(number, (value) => written((out) => out.number(value)) === (Object.is(value, -0) ? '-0' : JSON.stringify(value))),
  );
});

test.each([
  0,
  9,
  10,
  999,
  1000,
  1001,
  999_999,
  1_000_000,
  10_000_009,
  999_999_999,
  1_000_000_000,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
])('integer %d', (value) => {
  expect(written((out) => out.unsigned(value))).toBe(String(value));
});

test('nanoseconds have nine digits', () => {
  fc.assert(
    fc.property(fc.nat({ max: 999_999_999 }), (ns) => written((out) => out.nanoseconds(ns)) === String(ns).padStart(9, '0')),
  );
});

test('what is written behind a constant or a number is written over what they left there', () => {
  const text = written((out) => {
    for (let i = 0; i < 9; i++) {
      out.constant(JsonWriter.constant('a'.repeat(i)));
      out.unsigned(10 ** i);
    }
  });
  expect(text).toBe(Array.from({ length: 9 }, (_, i) => `${'a'.repeat(i)}${10 ** i}`).join(''));
});

test('take goes on in the memory that is given, where that is large enough', () => {
  const out = new JsonWriter(new Uint8Array(8));
  const next = new ArrayBuffer(16);
  out.unsigned(123);
  expect(Buffer.from(out.take(next)).toString()).toBe('123');
  out.unsigned(45);
  expect(out.bytes.buffer).toBe(next);
  expect(Buffer.from(out.take(new ArrayBuffer(4))).toString()).toBe('45');
  expect(out.bytes.length).toBe(16);
  expect(out.position).toBe(0);
});
