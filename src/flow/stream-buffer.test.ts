import fc from 'fast-check';
import { expect, test } from 'vitest';
import { StreamBuffer } from './stream-buffer.ts';
import { shared } from './testing.ts';

const content = (buffer: StreamBuffer): number[] => [...buffer.bytes.subarray(0, buffer.length)];

test('keeps what is appended and not dropped, as an array does', () => {
  const operation = fc.oneof(
    fc.record({ append: fc.uint8Array({ maxLength: 3000 }), from: fc.nat(20) }),
    fc.record({ drop: fc.nat(4000) }),
  );
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 40 }), (operations) => {
      const buffer = new StreamBuffer();
      let model: number[] = [];
      for (const one of operations) {
        if ('append' in one) {
          const start = Math.min(one.from, one.append.length);
          buffer.append(shared(one.append), start, one.append.length);
          model.push(...one.append.subarray(start));
        } else {
          buffer.drop(one.drop);
          model = model.slice(one.drop);
        }
        expect(buffer.length).toBe(model.length);
        expect(content(buffer)).toEqual(model);
      }
    }),
  );
});

test('lies in shared memory like the ring, so that readers see one kind of array', () => {
  const buffer = new StreamBuffer();
  expect(buffer.bytes.buffer).toBeInstanceOf(SharedArrayBuffer);
  buffer.append(shared([1, 2, 3]), 0, 3);
  expect(buffer.bytes.buffer).toBeInstanceOf(SharedArrayBuffer);
});

test('lets large memory go when it is empty, and keeps small memory', () => {
  const buffer = new StreamBuffer();
  buffer.append(shared(new Uint8Array(100)), 0, 100);
  const small = buffer.bytes;
  buffer.drop(100);
  buffer.append(shared([7]), 0, 1);
  expect(buffer.bytes).toBe(small);
  buffer.append(shared(new Uint8Array(100_000)), 0, 100_000);
  buffer.drop(100_000);
  expect(content(buffer)).toEqual([0]);
  buffer.drop(1);
  expect(buffer.bytes.length).toBe(0);
});
