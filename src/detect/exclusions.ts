import ipaddr from 'ipaddr.js';
import type { AlertCause, AlertEnd } from './alert-book.ts';

/** What is found and not alerted of, because people said so. All that is given must hold; what is empty holds for everything. */
export interface Exclusion {
  name: string;
  enabled: boolean;
  /** Kinds of alerts; none: all kinds. */
  kinds: string[];
  protocols: string[];
  /** IP addresses, subnets `10.0.0.0/8`, MAC addresses. */
  addresses: string[];
  /** Which end must be one of them. */
  direction: 'either' | 'source' | 'destination';
  /** Times of day, UTC: `22:00-05:30`; none: always. */
  times: string[];
  /** Both 0: without a beginning or an end. Milliseconds. */
  from_ms: number;
  until_ms: number;
}

export type Excludes = (cause: Pick<AlertCause, 'kind' | 'app_proto' | 'source' | 'destination' | 'time_ms'>) => boolean;

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

/** '' where it is an address, a subnet or a MAC address. */
export function addressFault(text: string): string {
  return matcher(text) === null ? `"${text}" is no IP address, subnet (10.0.0.0/8) or MAC address` : '';
}

/** '' where it is a time of day such as 22:00-05:30. */
export function timesFault(text: string): string {
  return span(text) === null ? `"${text}" is no time of day such as 22:00-05:30` : '';
}

/** One question for all of them. Those with faults, which were checked before, exclude nothing. */
export function compileExclusions(rules: readonly Exclusion[]): Excludes {
  const compiled = rules.filter((rule) => rule.enabled).map(compile);
  return (cause) => compiled.some((excludes) => excludes(cause));
}

function compile({ kinds, protocols, addresses, direction, times, from_ms, until_ms }: Exclusion): Excludes {
  const matchers = addresses.map(matcher);
  const spans = times.map(span);
  if (matchers.includes(null) || spans.includes(null)) return () => false;
  const is = (end: AlertEnd) => matchers.some((one) => one!(end));
  return ({ kind, app_proto, source, destination, time_ms }) => {
    if (kinds.length > 0 && !kinds.includes(kind)) return false;
    if (protocols.length > 0 && !protocols.includes(app_proto)) return false;
    if (from_ms > 0 && time_ms < from_ms) return false;
    if (until_ms > 0 && time_ms > until_ms) return false;
    if (spans.length > 0 && !spans.some((one) => within(one!, time_ms))) return false;
    if (matchers.length === 0) return true;
    return (direction !== 'destination' && is(source)) || (direction !== 'source' && is(destination));
  };
}

type Matcher = (end: AlertEnd) => boolean;

function matcher(text: string): Matcher | null {
  const mac = text.toLowerCase().replaceAll('-', ':');
  if (/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac)) return (end) => end.mac === mac;
  try {
    const [host] = text.split('/', 1);
    // What the library takes besides, such as 10.1 for 10.0.0.1, is rather a slip of the pen.
    if (!host.includes(':') && !ipaddr.IPv4.isValidFourPartDecimal(host)) return null;
    if (!text.includes('/')) {
      const ip = ipaddr.parse(text).toString();
      return (end) => end.ip === ip;
    }
    const [network, bits] = ipaddr.parseCIDR(text);
    return ({ ip }) => {
      if (ip === '') return false;
      const address = ipaddr.parse(ip);
      return address.kind() === network.kind() && address.match(network, bits);
    };
  } catch {
    return null;
  }
}

/** Minutes of the day, from and to; over midnight where the end comes first. */
function span(text: string): readonly [number, number] | null {
  const match = /^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)$/.exec(text);
  if (match === null) return null;
  const [from_hour, from_minute, to_hour, to_minute] = match.slice(1).map(Number);
  return [from_hour * 60 + from_minute, to_hour * 60 + to_minute];
}

function within([from, to]: readonly [number, number], time_ms: number): boolean {
  const minute = Math.floor((((time_ms % DAY_MS) + DAY_MS) % DAY_MS) / MINUTE_MS);
  return from <= to ? minute >= from && minute < to : minute >= from || minute < to;
}
