import type { Reader } from '../../src/dissect/index.ts';
import type { ObjectRow } from './records.ts';
import type { Element } from './types.ts';

/** What is wrong with an element, for the anomaly's name; '' for nothing. */
export type Wrong = '' | 'invalid_command_state' | 'invalid_time';

/** Reads one information element (IEC 60870-5-101, 7.2.6) into its object's row. */
export function readElement(r: Reader, row: ObjectRow, element: Element): Wrong {
  switch (element) {
    case 'siq': // 7.2.6.1
      row.siq = r.u8();
      row.single_point = (row.siq & 1) !== 0;
      quality(row, row.siq);
      return '';
    case 'diq': // 7.2.6.2
      row.diq = r.u8();
      row.double_point = row.diq & 3;
      quality(row, row.diq);
      return '';
    case 'qds': // 7.2.6.3
      row.qds = r.u8();
      row.overflow = (row.qds & 1) !== 0;
      quality(row, row.qds);
      return '';
    case 'qdp': // 7.2.6.4
      row.qdp = r.u8();
      quality(row, row.qdp);
      return '';
    case 'vti': // 7.2.6.5
      row.vti = r.u8();
      row.step_position = ((row.vti & 0x7f) << 25) >> 25;
      row.transient = (row.vti & 0x80) !== 0;
      return '';
    case 'nva': // 7.2.6.6
      row.normalized_value = r.i16le() / 32768;
      return '';
    case 'sva': // 7.2.6.7
      row.scaled_value = r.i16le();
      return '';
    case 'float': // 7.2.6.8
      row.short_float = r.f32le();
      return '';
    case 'bcr': {
      // 7.2.6.9
      row.counter_reading = r.i32le();
      const flags = r.u8();
      row.counter_sequence = flags & 0x1f;
      row.counter_carry = (flags & 0x20) !== 0;
      row.counter_adjusted = (flags & 0x40) !== 0;
      row.counter_invalid = (flags & 0x80) !== 0;
      return '';
    }
    case 'sep': // 7.2.6.10: the event in two bits, quality above them
      row.protection_event = r.u8();
      quality(row, row.protection_event);
      return '';
    case 'spe': // 7.2.6.11
    case 'oci': // 7.2.6.12
      row.protection_event = r.u8();
      return '';
    case 'bsi': // 7.2.6.13
      row.bitstring = r.u32le();
      return '';
    case 'fbp': // 7.2.6.14
    case 'tsc':
      row.test_word = r.u16le();
      return '';
    case 'sco': // 7.2.6.15
      row.sco = r.u8();
      row.single_command = (row.sco & 1) !== 0;
      commandQualifier(row, row.sco);
      return '';
    case 'dco': // 7.2.6.16
      row.dco = r.u8();
      row.double_command = row.dco & 3;
      commandQualifier(row, row.dco);
      return isPermitted(row.double_command);
    case 'rco': // 7.2.6.17
      row.rco = r.u8();
      row.step_command = row.rco & 3;
      commandQualifier(row, row.rco);
      return isPermitted(row.step_command);
    case 'cp56': // 7.2.6.18
      return readTime(r, row);
    case 'cp24': // 7.2.6.19
      row.cp24_milliseconds = r.u16le();
      row.cp24_minute = r.peekU8() & 0x3f;
      row.cp24_invalid = (r.u8() & 0x80) !== 0;
      return row.cp24_milliseconds < 60_000 && row.cp24_minute < 60 ? '' : 'invalid_time';
    case 'cp16': // 7.2.6.20
      row.elapsed_time = r.u16le();
      return '';
    case 'coi': {
      // 7.2.6.21
      const cause = r.u8();
      row.cause_of_initialization = cause & 0x7f;
      row.after_parameter_change = (cause & 0x80) !== 0;
      return '';
    }
    case 'qoi': // 7.2.6.22
      row.qoi = r.u8();
      return '';
    case 'qcc': // 7.2.6.23
      row.qcc = r.u8();
      return '';
    case 'qpm': // 7.2.6.24
      row.qpm = r.u8();
      return '';
    case 'qpa': // 7.2.6.25
      row.qpa = r.u8();
      return '';
    case 'qrp': // 7.2.6.27
      row.qrp = r.u8();
      return '';
    case 'qos': // 7.2.6.39
      row.qos = r.u8();
      row.command_qualifier = row.qos & 0x7f;
      row.select = (row.qos & 0x80) !== 0;
      return '';
    case 'scd': // 7.2.6.40
      row.status_and_change = r.u32le();
      return '';
    case 'nof': // 7.2.6.33
      row.file_name = r.u16le();
      return '';
    case 'nos': // 7.2.6.34
      row.section_name = r.u8();
      return '';
    case 'lof': // 7.2.6.35
      row.file_length = r.u24le();
      return '';
    case 'chs': // 7.2.6.37
      row.checksum = r.u8();
      return '';
    case 'frq': // 7.2.6.28 to 7.2.6.32, 7.2.6.38
    case 'srq':
    case 'scq':
    case 'lsq':
    case 'afq':
    case 'sof':
      row.file_qualifier = r.u8();
      return '';
    case 'segment': // 7.2.6.36, 7.3.6.6
      row.segment = r.span(r.u8());
      return '';
  }
}

function quality(row: ObjectRow, octet: number): void {
  row.blocked = (octet & 0x10) !== 0;
  row.substituted = (octet & 0x20) !== 0;
  row.not_topical = (octet & 0x40) !== 0;
  row.invalid = (octet & 0x80) !== 0;
}

/** 7.2.6.26. */
function commandQualifier(row: ObjectRow, octet: number): void {
  row.command_qualifier = (octet >> 2) & 0x1f;
  row.select = (octet & 0x80) !== 0;
}

const isPermitted = (state: number): Wrong => (state === 1 || state === 2 ? '' : 'invalid_command_state');

/** Years are of the century; those from 70 on are taken for the one before, as no such equipment is older. */
const FIRST_YEAR = 70;

function readTime(r: Reader, row: ObjectRow): Wrong {
  const milliseconds = r.u16le();
  const minute = r.u8();
  const hour = r.u8();
  const day = r.u8();
  const month = r.u8();
  const year = r.u8() & 0x7f;
  const time = Date.UTC(
    year + (year < FIRST_YEAR ? 2000 : 1900),
    (month & 0x0f) - 1,
    day & 0x1f,
    hour & 0x1f,
    minute & 0x3f,
    0,
    milliseconds,
  );
  // F_SC_NB_1 has two of them: the range that is asked for.
  if (row.has('time')) {
    row.stop_time = time;
    return '';
  }
  row.time = time;
  row.cp56_milliseconds = milliseconds;
  row.cp56_minute = minute & 0x3f;
  row.cp56_substituted = (minute & 0x40) !== 0;
  row.cp56_invalid = (minute & 0x80) !== 0;
  row.cp56_hour = hour & 0x1f;
  row.cp56_summer_time = (hour & 0x80) !== 0;
  row.cp56_day = day & 0x1f;
  row.cp56_day_of_week = day >> 5;
  row.cp56_month = month & 0x0f;
  row.cp56_year = year;
  const isTime =
    milliseconds < 60_000 &&
    row.cp56_minute < 60 &&
    row.cp56_hour < 24 &&
    row.cp56_day > 0 &&
    row.cp56_month > 0 &&
    row.cp56_month < 13;
  return isTime || row.cp56_invalid ? '' : 'invalid_time';
}
