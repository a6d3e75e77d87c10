import { describe, expect, it } from 'vitest';
import { AlertBook, type AlertCause } from './alert-book.ts';
import { addressFault, compileExclusions, type Exclusion, timesFault } from './exclusions.ts';

const NOON = Date.parse('2026-03-01T12:00:00Z');
const end = (ip: string, mac = '') => ({ ip, mac, port: 0, device: null });
const cause = (changes: Partial<AlertCause> = {}): AlertCause => ({
  key: 'a',
  kind: 'device_stop',
  frame: 1,
  time_ms: NOON,
  source: end('10.0.1.5', '02:00:00:00:00:01'),
  destination: end('10.0.2.7', '02:00:00:00:00:02'),
  segment: '',
  proto: 'tcp',
  app_proto: 's7comm',
  operation: 'stop',
  details: {},
  ...changes,
});
const rule = (changes: Partial<Exclusion> = {}): Exclusion => ({
  name: 'x',
  enabled: true,
  kinds: [],
  protocols: [],
  addresses: [],
  direction: 'either',
  times: [],
  from_ms: 0,
  until_ms: 0,
  ...changes,
});

describe('an exclusion', () => {
  it.each<[string, Partial<Exclusion>, boolean]>([
    ['of everything', {}, true],
    ['that is off', { enabled: false }, false],
    ['of this kind', { kinds: ['device_start', 'device_stop'] }, true],
    ['of another kind', { kinds: ['device_start'] }, false],
    ['of this protocol', { protocols: ['s7comm'] }, true],
    ['of another protocol', { protocols: ['modbus'] }, false],
    ['of the source', { addresses: ['10.0.1.5'] }, true],
    ['of the source, as a destination', { addresses: ['10.0.1.5'], direction: 'destination' }, false],
    ['of the destination, as a destination', { addresses: ['10.0.2.7'], direction: 'destination' }, true],
    ['of a subnet', { addresses: ['10.0.2.0/24'] }, true],
    ['of another subnet', { addresses: ['10.0.3.0/24', 'fd00::/8'] }, false],
    ['of a MAC address, as people write it', { addresses: ['02-00-00-00-00-02'] }, true],
    ['of this time of day', { times: ['11:30-12:30'] }, true],
    ['of another time of day', { times: ['12:30-13:00', '00:00-12:00'] }, false],
    ['over midnight', { times: ['11:00-02:00'] }, true],
    ['over midnight, and not now', { times: ['22:00-12:00'] }, false],
    ['until later', { until_ms: NOON + 1 }, true],
    ['that is over', { until_ms: NOON - 1 }, false],
    ['that has not begun', { from_ms: NOON + 1 }, false],
    ['of one end, kind and time', { kinds: ['device_stop'], addresses: ['10.0.1.5'], times: ['12:00-12:01'] }, true],
    ['with a fault excludes nothing', { addresses: ['10.0.1'] }, false],
  ])('%s', (_, changes, excluded) => {
    expect(compileExclusions([rule(changes)])(cause())).toBe(excluded);
  });

  it('names its faults', () => {
    for (const text of ['10.0.0.1', '10.0.0.0/8', 'fe80::1', 'fd00::/8', '02:00:00:00:00:01'])
      expect(addressFault(text)).toBe('');
    for (const text of ['', '10.0', '10.0.0.0/33', 'host', '02:00']) expect(addressFault(text)).not.toBe('');
    for (const text of ['00:00-24:00', '22:00-05:30']) expect(timesFault(text)).toBe('');
    for (const text of ['', '22-23', '25:00-01:00', '10:60-11:00']) expect(timesFault(text)).not.toBe('');
  });
});

describe('what was excluded', () => {
  it('is no alert while it is excluded, and is one when the same is found after that', () => {
    const book = new AlertBook(1);
    book.excludes = compileExclusions([rule({ until_ms: NOON + 1000 })]);
    expect(book.raise(cause())).toBe(false);
    book.again('a', 3, 5, NOON + 500);
    expect(book.drain()).toEqual([]);
    expect(book.counters).toMatchObject({ alerts: 0, excluded: 4 });
    // The shard says what it found once, and counts on: what comes after the window must not be lost.
    book.again('a', 2, 9, NOON + 2000);
    expect(book.drain()).toMatchObject([{ key: 'a', count: 2, first_frame: 9, first_ms: NOON + 2000 }]);
    book.again('a', 1, 10, NOON + 3000);
    expect(book.drain()).toMatchObject([{ key: 'a', count: 1 }]);
    expect(book.counters.refused).toBe(0);
  });

  it('of an alert that is known is not counted to it', () => {
    const book = new AlertBook(1);
    book.raise(cause());
    book.drain();
    book.excludes = compileExclusions([rule()]);
    book.raise(cause({ frame: 2 }));
    expect(book.drain()).toEqual([]);
    book.excludes = null;
    book.again('a', 1, 3, NOON);
    expect(book.drain()).toMatchObject([{ count: 1 }]);
  });
});
