/** Times as the formats have them. English names of months, whatever the appliance's language is. */

const formatters = new Map<string, Intl.DateTimeFormat>();
/** A destination has one zone: more than these are never in use at once. */
const MAX_FORMATTERS = 64;

interface TimeParts {
  year: string;
  month: string;
  day: string;
  clock: string;
  zone: string;
}

/** Throws RangeError for a zone that there is not. */
function partsOf(time_ms: number, time_zone: string): TimeParts {
  let formatter = formatters.get(time_zone);
  if (formatter === undefined) {
    formatter = new Intl.DateTimeFormat('en-US', {
      timeZone: time_zone,
      year: 'numeric',
      month: 'short',
      day: 'numeric',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
      hourCycle: 'h23',
      timeZoneName: 'longOffset',
    });
    if (formatters.size >= MAX_FORMATTERS) formatters.clear();
    formatters.set(time_zone, formatter);
  }
  const found = Object.fromEntries(formatter.formatToParts(time_ms).map(({ type, value }) => [type, value]));
  const { year, month, day, hour, minute, second, timeZoneName } = found;
  return {
    year,
    month,
    day,
    clock: `${hour}:${minute}:${second}`,
    zone: /^GMT([+-]00:00)?$/.test(timeZoneName) ? 'UTC' : timeZoneName,
  };
}

/** `Jan  3 04:05:06`: RFC 3164 §4.1.2. */
export function bsdTime(time_ms: number, time_zone: string): string {
  const { month, day, clock } = partsOf(time_ms, time_zone);
  return `${month} ${day.padStart(2)} ${clock}`;
}

/** `Jan 03 2026 04:05:06.789 GMT+01:00`: the date format "MMM dd yyyy HH:mm:ss.SSS zzz" of CEF and of LEEF. */
export function eventTime(time_ms: number, time_zone: string): string {
  const { year, month, day, clock, zone } = partsOf(time_ms, time_zone);
  return `${month} ${day.padStart(2, '0')} ${year} ${clock}.${String(Math.floor(time_ms) % 1000).padStart(3, '0')} ${zone}`;
}

/** `2026-01-03T03:05:06.789Z`: RFC 5424 §6.2.3, RFC 3339. */
export const isoTime = (time_ms: number): string => new Date(time_ms).toISOString();

export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en-US', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
