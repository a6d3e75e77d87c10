/**
 * Hours and days at which a conduit is open, in the local time of an IANA time zone, judged by packet time.
 *
 * A range of hours belongs to the day it begins on: `days: fri, hours: 22:00-06:00` ends on Saturday at 06:00. The start is in the
 * range, the end is not. Where clocks are put forward the hour that does not exist is simply never seen; where they are put back
 * the repeated hour counts both times.
 */

export const DAY_NAMES = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;
const LONG_DAY_NAMES = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'];

/** Minutes of the day, 0–1440; `to` < `from` goes over midnight. */
export interface HourRange {
  from: number;
  to: number;
}

/** Plain data. */
export interface ScheduleModel {
  time_zone: string;
  /** Empty: the whole day. */
  hours: HourRange[];
  /** 0 is Monday. Empty: every day. */
  days: number[];
}

const DAY = 1440;
const WEEK = 7 * DAY;

/** `HH:MM-HH:MM`, up to 24:00; null where it is not. */
export function parseHours(text: string): HourRange | null {
  const match = /^\s*(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})\s*$/.exec(text);
  if (!match) return null;
  const [from_hour, from_minute, to_hour, to_minute] = match.slice(1).map(Number);
  const from = from_hour * 60 + from_minute;
  const to = to_hour * 60 + to_minute;
  if (from_minute > 59 || to_minute > 59 || from >= DAY || to > DAY || from === to) return null;
  return { from, to };
}

/** A day (`mon`, `monday`) or a range (`mon-fri`, `sat-mon`); null where it is not. */
export function parseDays(text: string): number[] | null {
  const parts = text
    .trim()
    .toLowerCase()
    .split(/\s*-\s*/);
  if (parts.length > 2) return null;
  const numbers = parts.map((part) => Math.max((DAY_NAMES as readonly string[]).indexOf(part), LONG_DAY_NAMES.indexOf(part)));
  if (numbers.some((day) => day < 0)) return null;
  if (numbers.length === 1) return numbers;
  const days: number[] = [];
  for (let day = numbers[0]; ; day = (day + 1) % 7) {
    days.push(day);
    if (day === numbers[1]) return days;
  }
}

export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** A bit for each minute of the week from Monday 00:00. */
export function weekBits(model: ScheduleModel): Uint8Array {
  const bits = new Uint8Array(WEEK / 8);
  const days = model.days.length > 0 ? model.days : [0, 1, 2, 3, 4, 5, 6];
  const hours = model.hours.length > 0 ? model.hours : [{ from: 0, to: DAY }];
  for (const day of days) {
    for (const { from, to } of hours) {
      const end = to > from ? to : to + DAY;
      for (let minute = from; minute < end; minute++) {
        const at = (day * DAY + minute) % WEEK;
        bits[at >> 3] |= 1 << (at & 7);
      }
    }
  }
  return bits;
}

const WINDOW_MS = 15 * 60_000;
const CACHED_WINDOWS = 64;
/** ECMA-262, 21.4.1.1: the furthest time a Date has. */
const MAX_TIME_MS = 8.64e15;

/**
 * Offset of one time zone from UTC by packet time. Offsets and their changes are multiples of 15 minutes in every zone in use, so
 * the offset is asked for once a quarter of an hour of packet time, and remembered for the last 64 of them.
 */
export class TimeZone {
  readonly name: string;
  private readonly format: Intl.DateTimeFormat;
  private readonly windows = new Float64Array(CACHED_WINDOWS).fill(Number.NaN);
  private readonly offsets = new Float64Array(CACHED_WINDOWS);
  private last_minute = Number.NaN;
  private last_minute_of_week = 0;

  constructor(name: string) {
    this.name = name;
    this.format = new Intl.DateTimeFormat('en-US', {
      timeZone: name,
      calendar: 'gregory',
      numberingSystem: 'latn',
      hourCycle: 'h23',
      era: 'short',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
  }

  /** Minute of the local week, 0 is Monday 00:00. A time outside of what a calendar has counts as 1970. */
  minuteOfWeek(time_ms: number): number {
    const time = time_ms > -MAX_TIME_MS && time_ms < MAX_TIME_MS ? time_ms : 0;
    // An offset never changes within a minute, and most packets are of the same minute as the one before.
    const since_epoch = Math.floor(time / 60_000);
    if (since_epoch === this.last_minute) return this.last_minute_of_week;
    const window = Math.floor(time / WINDOW_MS);
    const slot = ((window % CACHED_WINDOWS) + CACHED_WINDOWS) % CACHED_WINDOWS;
    if (this.windows[slot] !== window) {
      this.offsets[slot] = this.offsetAt(window * WINDOW_MS);
      this.windows[slot] = window;
    }
    // 1970-01-01 was a Thursday: three days after the week began.
    const minute = Math.floor((time + this.offsets[slot]) / 60_000) + 3 * DAY;
    this.last_minute = since_epoch;
    this.last_minute_of_week = ((minute % WEEK) + WEEK) % WEEK;
    return this.last_minute_of_week;
  }

  private offsetAt(time_ms: number): number {
    if (time_ms <= -MAX_TIME_MS) return 0;
    const part: Record<string, number> = {};
    let before_christ = false;
    for (const { type, value } of this.format.formatToParts(time_ms)) {
      if (type === 'era') before_christ = value.startsWith('B');
      else part[type] = Number(value);
    }
    const local = new Date(0);
    local.setUTCFullYear(before_christ ? 1 - part.year : part.year, part.month - 1, part.day);
    local.setUTCHours(part.hour, part.minute, part.second);
    const offset = local.getTime() - time_ms;
    return Number.isFinite(offset) ? offset : 0;
  }
}

export class Schedule {
  readonly time_zone: TimeZone;
  private readonly bits: Uint8Array;

  constructor(model: ScheduleModel, time_zone: TimeZone) {
    this.time_zone = time_zone;
    this.bits = weekBits(model);
  }

  isOpen(time_ms: number): boolean {
    const minute = this.time_zone.minuteOfWeek(time_ms);
    return (this.bits[minute >> 3] & (1 << (minute & 7))) !== 0;
  }
}

const clock = (minute: number): string =>
  `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`;

/** For findings: `mon, tue 06:00-18:00 Europe/Berlin`. */
export function scheduleText(model: ScheduleModel): string {
  const parts: string[] = [];
  if (model.days.length > 0) parts.push(model.days.map((day) => DAY_NAMES[day]).join(', '));
  if (model.hours.length > 0) parts.push(model.hours.map(({ from, to }) => `${clock(from)}-${clock(to)}`).join(', '));
  return `${parts.join(' ')} ${model.time_zone}`;
}
