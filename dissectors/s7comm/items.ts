import { type Emit, Operation, type OperationCode, type Reader, type RowOf } from '../../src/dissect/index.ts';
import { AREA, AREA_LETTERS, BLOCK_NAMES, DATA_TYPE, NCK_AREA_NAMES, SYMBOLIC_DATA_BLOCK, SYNTAX, TYPE } from './names.ts';
import { Item, type S7comm } from './records.ts';
import { type ItemRing, KEPT, type S7Conversation } from './state.ts';

export type S7Row = RowOf<typeof S7comm.fields>;
export type ItemRow = RowOf<typeof Item.fields>;

// Target spaces: what kind of thing in the upper part, which of it in the lower 16 bits.
const SPACE = 0x10000;
export const BLOCK_SPACE = 0x100 * SPACE;
export const SZL_SPACE = 0x101 * SPACE;
const NCK_SPACE = 0x102 * SPACE;
const DRIVE_SPACE = 0x103 * SPACE;
const LAST_OFFSET = 0xffff;

/** Memory areas are spaces of bytes (timers and counters: of numbers), data blocks one each. */
const areaSpace = (area: number, db: number): number =>
  area * SPACE + (area === AREA.data_block || area === AREA.instance_data_block ? db : 0);

export function targetName(space: number): string {
  const kind = Math.floor(space / SPACE);
  const number = space % SPACE;
  switch (kind * SPACE) {
    case SZL_SPACE:
      return 'SZL';
    case NCK_SPACE:
      return `NCK ${NCK_AREA_NAMES[number >> 5] ?? number >> 5} ${number & 0x1f}`;
    case DRIVE_SPACE:
      return 'drive parameters';
    case BLOCK_SPACE:
      return `blocks ${BLOCK_NAMES[number] ?? number.toString(16).padStart(2, '0')}`;
  }
  const letters = AREA_LETTERS[kind] ?? `area ${kind}`;
  return kind === AREA.data_block || kind === AREA.instance_data_block ? `${letters} ${number}` : letters;
}

/** Bytes of one element; 0 for bits, and for timers and counters, which are counted. */
function elementSize(element: number): number {
  switch (element) {
    case TYPE.bit:
    case TYPE.counter:
    case TYPE.timer:
    case TYPE.iec_timer:
    case TYPE.iec_counter:
    case TYPE.hs_counter:
      return 0;
    case TYPE.word:
    case TYPE.int:
    case TYPE.date:
    case TYPE.s5time:
      return 2;
    case TYPE.dword:
    case TYPE.dint:
    case TYPE.real:
    case TYPE.time_of_day:
    case TYPE.time:
      return 4;
    case TYPE.date_and_time:
      return 8;
    default:
      return 1;
  }
}

const isCounted = (area: number): boolean =>
  area === AREA.counters || area === AREA.timers || area === AREA.iec_counters_200 || area === AREA.iec_timers_200;

/** What the address covers: bytes, or numbers of timers and counters. */
function setAnyTarget(row: ItemRow, element: number, length: number, db: number, area: number, address: number): void {
  const space = areaSpace(area, db);
  if (area === AREA.data_record) {
    row.target(space, db, db);
    return;
  }
  const count = length > 0 ? length : 1;
  if (isCounted(area)) {
    row.target(space, address, address + count - 1);
    return;
  }
  const first = Math.floor(address / 8);
  const size = elementSize(element);
  const last = size === 0 ? Math.floor((address + count - 1) / 8) : first + size * count - 1;
  row.target(space, first, last);
}

function readAny(r: Reader, row: ItemRow, ring: ItemRing | null): void {
  const element = r.u8();
  const length = r.u16();
  const db = r.u16();
  const area = r.u8();
  const address = r.u24();
  row.element = element;
  row.area = area;
  if (area === AREA.data_record) {
    // A data record of a module: number and diagnostic address stand where others have block and place.
    row.record_length = length;
    row.record_number = db;
    row.record_address = address;
    setAnyTarget(row, element, length, db, area, address);
    ring?.push(SYNTAX.s7any, element, length, db, area, address);
    return;
  }
  row.length = length;
  row.db = db;
  row.address = address;
  if (isCounted(area)) row.number = address & 0xffff;
  else {
    row.byte_address = (address >> 3) & 0xffff;
    row.bit_address = address & 7;
  }
  setAnyTarget(row, element, length, db, area, address);
  ring?.push(SYNTAX.s7any, element, length, db, area, address);
}

function readNck(syntax: number, r: Reader, row: ItemRow, ring: ItemRing | null): void {
  const areaAndUnit = r.u8();
  row.nck_area = areaAndUnit >> 5;
  row.nck_unit = areaAndUnit & 0x1f;
  const column = r.u16();
  const line = r.u16();
  row.nck_column = column;
  row.nck_line = line;
  row.nck_module = r.u8();
  const count = r.u8();
  row.nck_line_count = count;
  row.target(NCK_SPACE + areaAndUnit, line, line + Math.max(0, count - 1));
  ring?.push(syntax, 0, count, areaAndUnit, 0, column);
}

function readDrive(r: Reader, row: ItemRow, ring: ItemRing | null): void {
  row.drive_unknown_1 = r.u8();
  row.drive_unknown_2 = r.u16();
  row.drive_unknown_3 = r.u16();
  const parameter = r.u16();
  row.drive_parameter = parameter;
  row.drive_parameter_index = r.u16();
  row.target(DRIVE_SPACE, parameter, parameter);
  ring?.push(SYNTAX.drive_es_any, 0, 0, 0, 0, parameter);
}

/** S7-1200 by symbol: where in the block the variable lies is not on the wire, so the target is the whole block. */
function readSymbolic(r: Reader, row: ItemRow, ring: ItemRing | null): void {
  r.skip(1);
  const root = r.u16();
  const second = r.u16();
  row.symbolic_root = root;
  let area: number = AREA.data_block;
  let db = 0;
  if (root === SYMBOLIC_DATA_BLOCK) {
    row.symbolic_db = second;
    db = second;
  } else {
    row.symbolic_area = second;
    area = SYMBOLIC_AREAS[second] ?? 0;
  }
  row.symbolic_crc = r.u32();
  while (r.remaining >= 4) {
    const step = r.u32();
    row.lid_flags.push(step >>> 28);
    row.lids.push(step % 0x1000_0000);
  }
  if (area !== 0) row.target(areaSpace(area, db), 0, LAST_OFFSET);
  ring?.push(SYNTAX.symbolic_1200, 0, 0, db, area, 0);
}
const SYMBOLIC_AREAS: Readonly<Record<number, number>> = {
  80: AREA.inputs,
  81: AREA.outputs,
  82: AREA.flags,
  83: AREA.counters,
  84: AREA.timers,
};

/** Several places in data blocks in one address, answered in one go: a row each. */
function readDbRead(r: Reader, first: ItemRow, emit: Emit, operation: OperationCode): void {
  const count = r.u8();
  first.area_count = count;
  for (let i = 0; i < count && r.remaining >= 5; i++) {
    const row = i === 0 ? first : emit(Item);
    row.bytes = r.bytes;
    row.operation = operation;
    row.item_index = first.item_index;
    const length = r.u8();
    const db = r.u16();
    const start = r.u16();
    row.db_read_length = length;
    row.db_read_db = db;
    row.db_read_start = start;
    row.target(areaSpace(AREA.data_block, db), start, start + Math.max(0, length - 1));
  }
}

/**
 * One address of an item: variable specification, length, syntax, address. Gives the row it filled (of DBREAD the first).
 * `ring` keeps what the response must know.
 */
export function readAddress(
  r: Reader,
  index: number,
  emit: Emit,
  operation: OperationCode,
  ring: ItemRing | null,
  conversation: S7Conversation,
): ItemRow {
  const row = emit(Item);
  row.bytes = r.bytes;
  row.operation = operation;
  row.item_index = index;
  row.variable_specification = r.u8();
  const size = r.u8();
  row.specification_length = size;
  const outer = r.enter(size);
  const syntax = r.u8();
  row.syntax = syntax;
  switch (syntax) {
    case SYNTAX.s7any:
      readAny(r, row, ring);
      break;
    case SYNTAX.nck:
    case SYNTAX.nck_metric:
    case SYNTAX.nck_inch:
      readNck(syntax, r, row, ring);
      break;
    case SYNTAX.drive_es_any:
      readDrive(r, row, ring);
      break;
    case SYNTAX.symbolic_1200:
      readSymbolic(r, row, ring);
      break;
    case SYNTAX.pbc_r_id:
      r.skip(1);
      row.r_id = r.u32();
      break;
    case SYNTAX.db_read:
      ring?.push(syntax, 0, 0, 0, 0, 0);
      readDbRead(r, row, emit, operation);
      break;
    default:
      row.unread_address = r.rest();
      conversation.anomaly(row, 'unknown_syntax');
      ring?.push(syntax, 0, 0, 0, 0, 0);
  }
  r.leave(outer);
  return row;
}

/** Puts what the request asked for beside what the response says. */
export function joinRequest(row: ItemRow, ring: ItemRing, item: number): void {
  if (!ring.has(item)) return;
  const syntax = ring.get(item, KEPT.syntax);
  row.request_syntax = syntax;
  const element = ring.get(item, KEPT.element);
  const length = ring.get(item, KEPT.length);
  const db = ring.get(item, KEPT.db);
  const area = ring.get(item, KEPT.area);
  const address = ring.get(item, KEPT.address);
  if (syntax === SYNTAX.s7any) {
    row.request_element = element;
    row.request_length = length;
    row.request_db = db;
    row.request_area = area;
    row.request_address = address;
    setAnyTarget(row, element, length, db, area, address);
  } else if (syntax === SYNTAX.symbolic_1200 && area !== 0) {
    row.request_db = db;
    row.request_area = area;
    row.target(areaSpace(area, db), 0, LAST_OFFSET);
  }
}

/** Numbers of the type asked for; bytes that do not fill an element are left to `data`. */
export function readValues(r: Reader, row: ItemRow, element: number, size: number): void {
  const end = r.position + size;
  const { values } = row;
  switch (element) {
    case TYPE.word:
    case TYPE.s5time:
    case TYPE.date:
    case TYPE.counter:
    case TYPE.timer:
      while (r.position + 2 <= end) values.push(r.u16());
      return;
    case TYPE.int:
      while (r.position + 2 <= end) values.push(r.i16());
      return;
    case TYPE.dword:
    case TYPE.time_of_day:
      while (r.position + 4 <= end) values.push(r.u32());
      return;
    case TYPE.dint:
    case TYPE.time:
      while (r.position + 4 <= end) values.push(r.i32());
      return;
    case TYPE.real:
      while (r.position + 4 <= end) values.push(r.f32());
      return;
    default:
      while (r.position < end) values.push(r.u8());
  }
}

/** Does the length behind this transport size count bits? */
const countsBits = (transportSize: number): boolean =>
  transportSize === DATA_TYPE.bit || transportSize === DATA_TYPE.byte || transportSize === DATA_TYPE.integer;

export const dataBytes = (transportSize: number, length: number): number =>
  countsBits(transportSize) ? Math.ceil(length / 8) : length;

/** Success, the 0 of a request, and a hardware error, which comes with what could be read. */
const carriesData = (returnCode: number): boolean => returnCode === SUCCESS || returnCode === 0x00 || returnCode === 0x01;

/** More values than this are not listed one by one; the bytes are all in `data`. */
const MAX_VALUE_BYTES = 1024;

/**
 * Result and data of an item: return code, transport size, length, bytes, and a fill byte where another item follows an odd length.
 * `element`: what the address asked for; 0 unknown, then the transport size says what it can.
 */
export function readData(r: Reader, row: ItemRow, element: number, isLast: boolean, conversation: S7Conversation): void {
  row.return_code = r.u8();
  const transportSize = r.u8();
  row.transport_size = transportSize;
  const length = r.u16();
  const size = dataBytes(transportSize, length);
  row.data_length = size;
  // A result without an object states a length at times, but nothing follows it.
  if (!carriesData(row.return_code)) return;
  if (size > r.remaining) conversation.anomaly(row, 'length_mismatch');
  if (size > 0) {
    const start = r.position;
    row.data = r.span(size);
    const end = r.position;
    if (element !== 0 && !r.truncated && size <= MAX_VALUE_BYTES) {
      r.position = start;
      readValues(r, row, element, size);
      r.position = end;
    }
  }
  if (!isLast && size % 2 === 1 && r.remaining > 0) r.skip(1);
}

/** Where no request is known, the transport size still tells these. */
export function elementOf(transportSize: number): number {
  switch (transportSize) {
    case DATA_TYPE.bit:
      return TYPE.bit;
    case DATA_TYPE.byte:
      return TYPE.byte;
    case DATA_TYPE.integer:
      return TYPE.int;
    case DATA_TYPE.dinteger:
      return TYPE.dint;
    case DATA_TYPE.real:
      return TYPE.real;
    default:
      return 0;
  }
}

/** Elements of a kept item, or by transport size. */
export function elementFor(ring: ItemRing, item: number, r: Reader): number {
  if (ring.has(item) && ring.get(item, KEPT.syntax) === SYNTAX.s7any) return ring.get(item, KEPT.element);
  return elementOf(r.peekU8(1));
}

export const SUCCESS = 0xff;
export const itemOperation = (row: ItemRow, operation: OperationCode): OperationCode =>
  row.return_code === SUCCESS ? operation : Operation.error;

/** Areas of a variable table by the upper four bits of their code; bytes of an element by the lower. */
const TABLE_AREAS = [AREA.flags, AREA.inputs, AREA.outputs, AREA.peripheral, 0, AREA.timers, AREA.counters, AREA.data_block];
const TABLE_SIZES = [1, 1, 2, 4, 0];

export function tableTarget(row: ItemRow, code: number, count: number, db: number, start: number): void {
  const area = TABLE_AREAS[code >> 4] ?? 0;
  const size = TABLE_SIZES[code & 0x0f];
  if (area === 0 || size === undefined) return;
  row.target(areaSpace(area, db), start, start + Math.max(1, count) * Math.max(1, size) - 1);
}
