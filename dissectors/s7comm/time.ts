import type { Reader } from '../../src/dissect/index.ts';

const digits = (bcd: number): number => (bcd >> 4) * 10 + (bcd & 0x0f);

/**
 * DATE_AND_TIME: year, month, day, hour, minute, second in BCD, three digits of milliseconds, day of the week; 8 bytes.
 * Gives ms since 1970 (the CPU's clock, whose time zone is not on the wire), 0 where all is zero, NaN where it is no date.
 */
export function readDateAndTime(r: Reader): number {
  const year = digits(r.u8());
  const month = digits(r.u8());
  const day = digits(r.u8());
  const hour = digits(r.u8());
  const minute = digits(r.u8());
  const second = digits(r.u8());
  const tail = r.u16();
  if (year === 0 && month === 0 && day === 0) return 0;
  const ms = digits(tail >> 8) * 10 + ((tail >> 4) & 0x0f);
  if (year > 99 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 59 || ms > 999)
    return Number.NaN;
  return Date.UTC(year < 90 ? 2000 + year : 1900 + year, month - 1, day, hour, minute, second, ms);
}

const DAY_MS = 86_400_000;
const BLOCK_EPOCH = Date.UTC(1984, 0, 1);

/** Time stamp of a block: ms of the day, days since 1984-01-01; 6 bytes. */
export function readBlockTime(r: Reader): number {
  const ms = r.u32();
  return BLOCK_EPOCH + r.u16() * DAY_MS + ms;
}
