import { InvalidArgumentError, Option } from 'commander';
import type { Cursor, Page, Range } from '../store/queries.ts';
import { StoreReader } from '../store/queries.ts';
import { integer } from './arguments.ts';

/** Where the database lies unless told otherwise: beside where the command is called. */
export const DEFAULT_DATA = 'ot-sensor-data';

export const dataOption = () => new Option('--data <dir>', 'directory of the database').default(DEFAULT_DATA);

/** ISO 8601 as a time in ms. */
export function time(text: string): number {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new InvalidArgumentError('It takes a time such as 2026-01-31 or 2026-01-31T12:00:00Z.');
  return ms;
}

/** The options that all lists share; `--limit` bounds what is printed. */
export const rangeOptions = () => [
  new Option('--since <time>', 'seen at or after this time (ISO 8601)').argParser(time),
  new Option('--until <time>', 'seen at or before this time (ISO 8601)').argParser(time),
  new Option('--limit <n>', 'at most so many rows').argParser(integer(1, 1_000_000)).default(1000),
];

export interface RangeArguments {
  since?: number;
  until?: number;
  limit: number;
  data: string;
}

/** Reads page after page up to the limit. */
export function readAll<Row>(args: RangeArguments, list: (reader: StoreReader, range: Range) => Page<Row>): Row[] {
  const reader = new StoreReader(args.data);
  try {
    return readPages((page) => list(reader, { since_ms: args.since, until_ms: args.until, ...page }), args.limit);
  } finally {
    reader.close();
  }
}

/** Rows of page after page, up to `most`. */
export function readPages<Row>(list: (page: Range) => Page<Row>, most = Number.POSITIVE_INFINITY): Row[] {
  const rows: Row[] = [];
  let cursor: Cursor | undefined;
  do {
    const page = list({ limit: Math.min(10_000, most - rows.length), cursor });
    rows.push(...page.rows);
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined && rows.length < most);
  return rows;
}

/** A time in ms as people read it, UTC. */
export const timeText = (ms: number): string =>
  new Date(ms)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, 'Z');

/** `address:port`, the address in brackets where it is IPv6; the MAC where there is no address. */
export function endText(ip: string, mac: string, port = 0): string {
  if (ip === '') return mac;
  return port === 0 ? ip : ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}
