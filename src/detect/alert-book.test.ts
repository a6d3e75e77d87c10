import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AlertRow } from '../store/change-set.ts';
import { AlertBook, type AlertCause, MAX_ALERTS } from './alert-book.ts';

const NOBODY = { mac: '', ip: '', port: 0, device: null };

function cause(key: string, frame = 1, over: Partial<AlertCause> = {}): AlertCause {
  return {
    key,
    kind: 'device_stop',
    frame,
    time_ms: frame * 10,
    source: { mac: '02:00:00:00:00:01', ip: '192.0.2.1', port: 40_000, device: 3 },
    destination: { ...NOBODY, ip: '192.0.2.2', port: 502 },
    segment: '5.7',
    proto: 'tcp',
    app_proto: 'pump',
    operation: 'stop',
    details: { what: 'job: 4', from_zone: 'hall', to_zone: 'cell' },
    ...over,
  };
}

describe('an alert', () => {
  test('says what its kind says, with the details of its cause', () => {
    const book = new AlertBook(9);
    expect(book.raise(cause('k', 5))).toBe(true);
    expect(book.drain()).toEqual([
      {
        key: 'k',
        kind: 'device_stop',
        severity: 'critical',
        title: 'Stop command to a controller',
        description: 'A controller was told to stop. job: 4',
        source_mac: '02:00:00:00:00:01',
        source_ip: '192.0.2.1',
        source_port: 40_000,
        source_device: 3,
        source_zone: 'hall',
        destination_mac: '',
        destination_ip: '192.0.2.2',
        destination_port: 502,
        destination_device: null,
        destination_zone: 'cell',
        segment: '5.7',
        proto: 'tcp',
        app_proto: 'pump',
        operation: 'stop',
        technique: 'T0858, T0881',
        details: { what: 'job: 4', from_zone: 'hall', to_zone: 'cell' },
        count: 1,
        first_ms: 50,
        last_ms: 50,
        first_frame: 5,
        last_frame: 5,
        capture_id: 9,
      },
    ]);
  });

  test('of a device', () => {
    const book = new AlertBook(1);
    const details = { device: 'P-7', mac: '02:00:00:00:00:01', ip: '192.0.2.1', segment: '10', vendor: '' };
    expect(book.raiseForDevice('new_device', 'k', 4, 40, 12, details)).toBe(true);
    expect(book.drain()[0]).toMatchObject({
      description: 'A device that was not known before spoke: P-7.',
      source_mac: '02:00:00:00:00:01',
      source_ip: '192.0.2.1',
      source_device: 12,
      destination_ip: '',
      destination_device: null,
      segment: '10',
    });
  });

  test('of a device that is made known again is one more of it', () => {
    const book = new AlertBook(1);
    const details = { device: 'P-7', mac: '02:00:00:00:00:01', ip: '192.0.2.1', segment: '10', vendor: '' };
    book.raiseForDevice('new_device', 'k', 4, 40, 12, details);
    const [first] = book.drain();
    expect(book.raiseForDevice('new_device', 'k', 9, 90, 13, details)).toBe(false);
    expect(book.raiseForDevice('new_device', 'k', 10, 100, 13, details)).toBe(false);
    expect(first).toMatchObject({ count: 1, last_frame: 4 });
    expect(book.drain()).toMatchObject([{ key: 'k', count: 2, last_frame: 10, last_ms: 100 }]);
    expect(book.counters).toEqual({ alerts: 1, repeated: 2, refused: 0, excluded: 0 });
  });

  test('of an unknown kind is a defect', () => {
    expect(() => new AlertBook(1).raise(cause('k', 1, { kind: 'nonsense' }))).toThrow('nonsense');
  });
});

describe('repetition', () => {
  test('is a count, and the last time and frame; what was said first stays', () => {
    const book = new AlertBook(1);
    book.raise(cause('k', 5));
    expect(book.raise(cause('k', 8, { details: { what: 'another' } }))).toBe(false);
    book.again('k', 10, 30, 300);
    expect(book.drain()).toMatchObject([
      {
        count: 12,
        first_frame: 5,
        first_ms: 50,
        last_frame: 30,
        last_ms: 300,
        description: 'A controller was told to stop. job: 4',
      },
    ]);
  });

  test('is an increment behind a drain, and nothing is said where nothing happened', () => {
    const book = new AlertBook(1);
    book.raise(cause('a'));
    book.raise(cause('b'));
    expect(book.pending).toBe(2);
    expect(book.drain().map(({ key, count }) => [key, count])).toEqual([['a', 1], ['b', 1]]);
    expect([book.pending, book.drain()]).toEqual([0, []]);
    book.again('b', 4, 9, 90);
    book.raise(cause('b', 12));
    expect(book.pending).toBe(1);
    expect(book.drain()).toMatchObject([{ key: 'b', count: 5, first_frame: 9, last_frame: 12 }]);
  }); // biome-ignore format: short

  test('said late does not move the last time back', () => {
    const book = new AlertBook(1);
    book.raise(cause('k', 50));
    book.again('k', 2, 30, 300);
    expect(book.drain()).toMatchObject([{ count: 3, last_frame: 50, last_ms: 500 }]);
  });

  test('a row that was handed over is not changed any more', () => {
    const book = new AlertBook(1);
    book.raise(cause('k'));
    const [row] = book.drain();
    book.again('k', 5, 9, 90);
    expect(row).toMatchObject({ count: 1, last_frame: 1 });
  });
});

test('the number of alerts is bounded, and what is refused is counted', () => {
  const book = new AlertBook(1);
  for (let i = 0; i < MAX_ALERTS; i++) book.raise(cause(`k${i}`));
  expect(book.raise(cause('more'))).toBe(false);
  book.again('more', 7, 2, 20);
  expect(book.raise(cause('k3', 2))).toBe(false);
  expect(book.counters).toEqual({ alerts: MAX_ALERTS, repeated: 1, refused: 8, excluded: 0 });
  expect(book.pending).toBe(MAX_ALERTS);
});

test('comes to what a naive list of all findings comes to, however it is drained', () => {
  const step = fc.oneof(
    fc.record({ raise: fc.constantFrom('a', 'b', 'c') }),
    fc.record({ again: fc.constantFrom('a', 'b', 'c', 'unknown'), count: fc.integer({ min: 1, max: 9 }) }),
    fc.constant({ drain: true }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const book = new AlertBook(1);
      const seen: { key: string; frame: number }[] = [];
      const stored = new Map<string, AlertRow>();
      let refused = 0;
      const store = () => {
        for (const row of book.drain()) {
          const { count = 0, first_ms = row.first_ms, first_frame = row.first_frame } = stored.get(row.key) ?? {};
          stored.set(row.key, { ...row, count: row.count + count, first_ms: Math.min(first_ms, row.first_ms), first_frame });
        }
      };
      steps.forEach((one, i) => {
        const frame = i + 1;
        if ('raise' in one) {
          expect(book.raise(cause(one.raise, frame))).toBe(seen.every(({ key }) => key !== one.raise));
          seen.push({ key: one.raise, frame });
        } else if ('again' in one) {
          book.again(one.again, one.count, frame, frame * 10);
          if (seen.some(({ key }) => key === one.again)) for (let n = 0; n < one.count; n++) seen.push({ key: one.again, frame });
          else refused += one.count;
        } else store();
      });
      store();
      const keys = [...new Set(seen.map(({ key }) => key))];
      expect([...stored.keys()]).toEqual(expect.arrayContaining(keys));
      expect(stored.size).toBe(keys.length);
      for (const key of keys) {
        const mine = seen.filter((one) => one.key === key).map(({ frame }) => frame);
        const [first, last] = [mine[0], mine[mine.length - 1]];
        expect(stored.get(key)).toMatchObject({
          count: mine.length,
          first_frame: first,
          first_ms: first * 10,
          last_frame: last,
          last_ms: last * 10,
        });
      }
      expect(book.counters).toEqual({ alerts: keys.length, repeated: seen.length - keys.length, refused, excluded: 0 });
    }),
    { numRuns: 300 },
  );
});
