import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { isTimeZone, parseDays, parseHours, Schedule, scheduleText, TimeZone } from './schedule.ts';

// The property tests take their time on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const at = (iso: string): number => Date.parse(iso);
const schedule = (time_zone: string, hours: string[], days: string[]) =>
  new Schedule(
    { time_zone, hours: hours.map((text) => parseHours(text)!), days: days.flatMap((text) => parseDays(text)!) },
    new TimeZone(time_zone),
  );

describe('hours and days', () => {
  it('reads them', () => {
    expect(parseHours('06:00-18:30')).toEqual({ from: 360, to: 1110 });
    expect(parseHours(' 6:00 - 24:00 ')).toEqual({ from: 360, to: 1440 });
    expect(parseHours('22:00-06:00')).toEqual({ from: 1320, to: 360 });
    for (const text of ['06:00', '06:60-07:00', '24:00-01:00', '06:00-24:01', '06:00-06:00', '6-18', ''])
      expect(parseHours(text)).toBeNull();
    expect(parseDays('mon-fri')).toEqual([0, 1, 2, 3, 4]);
    expect(parseDays('Sat - Monday')).toEqual([5, 6, 0]);
    expect(parseDays('tue')).toEqual([1]);
    for (const text of ['mo', 'mon-', 'mon-tue-wed', '']) expect(parseDays(text)).toBeNull();
    expect([isTimeZone('Europe/Berlin'), isTimeZone('UTC'), isTimeZone('Europe/Nowhere')]).toEqual([true, true, false]);
  });

  it.each([
    ['UTC', ['06:00-18:00'], [], '2026-03-02T06:00:00Z', true],
    ['UTC', ['06:00-18:00'], [], '2026-03-02T05:59:59.999Z', false],
    ['UTC', ['06:00-18:00'], [], '2026-03-02T18:00:00Z', false],
    ['UTC', ['06:00-08:00', '10:00-24:00'], [], '2026-03-02T23:59:59Z', true],
    ['UTC', [], ['mon'], '2026-03-02T00:00:00Z', true],
    ['UTC', [], ['mon'], '2026-03-01T23:59:59Z', false],
    // over midnight: the range belongs to the day it begins on
    ['UTC', ['22:00-06:00'], ['fri'], '2026-03-06T22:00:00Z', true],
    ['UTC', ['22:00-06:00'], ['fri'], '2026-03-07T05:59:00Z', true],
    ['UTC', ['22:00-06:00'], ['fri'], '2026-03-07T06:00:00Z', false],
    ['UTC', ['22:00-06:00'], ['fri'], '2026-03-06T05:00:00Z', false],
    ['UTC', ['22:00-06:00'], ['sun'], '2026-03-09T05:00:00Z', true],
    // Berlin: UTC+1 until 2026-03-29T01:00Z, then UTC+2, back at 2026-10-25T01:00Z
    ['Europe/Berlin', ['06:00-18:00'], [], '2026-03-28T05:00:00Z', true],
    ['Europe/Berlin', ['06:00-18:00'], [], '2026-03-28T04:59:00Z', false],
    ['Europe/Berlin', ['06:00-18:00'], [], '2026-03-29T04:00:00Z', true],
    ['Europe/Berlin', ['03:00-04:00'], [], '2026-03-29T01:00:00Z', true],
    ['Europe/Berlin', ['02:00-03:00'], [], '2026-03-29T00:59:59Z', false],
    ['Europe/Berlin', ['02:00-03:00'], [], '2026-10-25T00:30:00Z', true],
    ['Europe/Berlin', ['02:00-03:00'], [], '2026-10-25T01:30:00Z', true],
    ['Europe/Berlin', ['02:00-03:00'], [], '2026-10-25T02:00:00Z', false],
    ['Asia/Kathmandu', ['12:00-12:01'], [], '2026-06-01T06:15:30Z', true],
    // half an hour of daylight saving time; it ends on 2026-04-05 at 02:00, UTC+11
    ['Australia/Lord_Howe', ['01:45-01:46'], [], '2026-04-04T14:45:00Z', true],
    ['Australia/Lord_Howe', ['01:45-01:46'], [], '2026-04-04T15:15:00Z', true],
    // another day of the week than in UTC
    ['Pacific/Auckland', [], ['mon'], '2026-06-07T12:00:00Z', true],
    ['America/New_York', [], ['sun'], '2026-06-08T03:59:59Z', true],
  ] as const)('%s %j %j at %s', (zone, hours, days, time, open) => {
    expect(schedule(zone, [...hours], [...days]).isOpen(at(time))).toBe(open);
  });

  it('bears any time', () => {
    const open = schedule('Europe/Berlin', [], ['mon-sun']);
    for (const time of [0, -1, -1e12, 8.64e15, -8.64e15, 1e300, -1e300, Number.NaN, Number.POSITIVE_INFINITY, -8.64e15 + 1])
      expect(open.isOpen(time)).toBe(true);
  });

  it('agrees with the calendar in any order of times', () => {
    const zones = ['UTC', 'Europe/Berlin', 'America/St_Johns', 'Asia/Kolkata', 'Pacific/Chatham'].map((name) => ({
      zone: new TimeZone(name),
      format: new Intl.DateTimeFormat('en-US', {
        timeZone: name,
        weekday: 'short',
        hour: '2-digit',
        minute: '2-digit',
        hourCycle: 'h23',
      }),
    }));
    const days = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];
    const times = fc.integer({ min: Date.UTC(1975, 0, 1), max: Date.UTC(2040, 0, 1) });
    fc.assert(
      fc.property(fc.array(times, { maxLength: 5 }), fc.constantFrom(...zones), (list, { zone, format }) => {
        for (const time of [...list, ...list]) {
          const part = Object.fromEntries(format.formatToParts(time).map(({ type, value }) => [type, value]));
          expect(zone.minuteOfWeek(time)).toBe(days.indexOf(part.weekday) * 1440 + Number(part.hour) * 60 + Number(part.minute));
        }
      }),
    );
  });

  it('has a text', () => {
    expect(scheduleText({ time_zone: 'UTC', hours: [{ from: 360, to: 1440 }], days: [0, 4] })).toBe('mon, fri 06:00-24:00 UTC');
  });
});
