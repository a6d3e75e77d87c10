import {
  type Conversation,
  type Emit,
  MAX_LIST_VALUES,
  type NumberList,
  Operation,
  type Reader,
  type RowOf,
  Status,
} from '../../src/dissect/index.ts';
import { type Association, Associations, hash } from './association.ts';
import { FunctionCode, isResponse, isUnanswered, namesPointsOnly, operationOf } from './function-codes.ts';
import { FIRST_BROADCAST_ADDRESS } from './link.ts';
import { Size, type Variation, variationOf } from './objects.ts';
import { emitBits, emitName, emitPacked, emitPoint, lastTime, type Place } from './points.ts';
import { type Dnp3, FUNCTIONS, ObjectHeader, type RowIn } from './records.ts';
import { Reassembly } from './transport.ts';

/**
 * Rows a fragment gives at most; with the frame's own they fit what the engine keeps of a PDU. Packed points beyond that are
 * kept as lists: the largest fragment has 127,000 of them.
 */
const MAX_OBJECT_HEADERS = 255;
const MAX_POINTS = 3584;
const MAX_PACKED_ROWS = 255;
/** Requests in a row without an answer that are named a flood. */
const FLOOD_THRESHOLD = 32;
const ALL_POINTS = 0xffff_ffff;

/** IEEE 1815-2012, 4.2.2.7: object prefix and range specifier codes */
const Prefix = { none: 0, index_4: 3, size_4: 6 } as const;
const Range = { start_stop_4: 2, address_4: 5, all: 6, count_4: 9, variable_format: 11 } as const;
/** Octets of the prefix and of each range number, by code. */
const PREFIX_SIZES = [0, 1, 2, 4, 1, 2, 4, 0];
const RANGE_SIZES = [1, 2, 4, 1, 2, 4, 0, 1, 2, 4, 0, 1, 0, 0, 0, 0];

export const ANOMALIES = {
  not_a_frame: 'Octets where a frame should start, without its start octets',
  crc_error: 'A CRC of the frame is wrong; what it protects is not believed',
  invalid_length: 'The frame states a length below its header',
  unknown_link_function: 'A link function code that IEEE 1815 does not define',
  unexpected_user_data: 'User data in a frame that has none, or none in one that must',
  reserved_address: 'The sender uses a reserved or broadcast address',
  transport_without_first: 'A transport segment without the first of its fragment',
  transport_sequence_break: 'A transport segment out of sequence; what was joined is dropped',
  transport_duplicate: 'The same transport segment again',
  fragment_abandoned: 'A fragment was begun before the last one was complete',
  fragment_too_long: 'A fragment of more segments than the transport sequence can number',
  fragment_too_short: 'A fragment too short for an application header',
  unknown_function: 'An application function code that IEEE 1815 does not define',
  direction_mismatch: 'A request with the DIR bit of an outstation, or a response with that of a master',
  unknown_object: 'An object group or variation that the object library does not have',
  invalid_qualifier: 'A reserved qualifier, or one that does not go with its objects',
  invalid_range: 'A range that stops before it starts',
  too_many_objects: 'More object headers than are looked at',
  too_many_points: 'More points than rows are given for',
  request_flood: 'Many requests in a row without an answer',
  response_mismatch: 'A response that does not answer the last request',
  confirm_mismatch: 'A confirmation that does not confirm the last fragment',
  operate_without_select: 'OPERATE without a SELECT before it',
  operate_mismatch: 'OPERATE whose objects or sequence number do not follow from the SELECT before it',
} as const;

export type Anomaly = keyof typeof ANOMALIES;

export class State {
  readonly reassembly = new Reassembly();
  readonly associations = new Associations();
}

type Talk = Conversation<State, Anomaly>;
type Pdu = RowIn<typeof Dnp3>;

const place: Place = {
  function: 0,
  operation: Operation.other,
  unit: 0,
  group: 0,
  variation: 0,
  index: -1,
  index_is_prefix: false,
  common_time: Number.NaN,
};

/** IEEE 1815-2012, clause 4: reads the fragment between the reader's position and end into `pdu` and the rows of its objects. */
export function readFragment(r: Reader, emit: Emit, conversation: Talk, pdu: Pdu): void {
  if (r.remaining < 2) conversation.anomaly(pdu, 'fragment_too_short');
  const control = r.u8();
  pdu.fir = (control & 0x80) !== 0;
  pdu.fin = (control & 0x40) !== 0;
  pdu.con = (control & 0x20) !== 0;
  pdu.uns = (control & 0x10) !== 0;
  pdu.sequence = control & 0x0f;
  if (r.remaining === 0) {
    r.truncated = true;
    return;
  }
  const code = r.u8();
  pdu.function = code;
  if (!(code in FUNCTIONS)) conversation.anomaly(pdu, 'unknown_function');
  if (isResponse(code) === pdu.dir) conversation.anomaly(pdu, 'direction_mismatch');
  if (isResponse(code)) readInternalIndications(r, pdu);

  const master = pdu.dir ? pdu.source : pdu.destination;
  const outstation = pdu.dir ? pdu.destination : pdu.source;
  const association = conversation.state.associations.of(master, outstation);
  pdu.operation = operationOf(code, r.remaining > 0 ? r.peekU8() : -1);
  if (code === FunctionCode.confirm) joinConfirm(conversation, pdu, association);
  else if (code === FunctionCode.unsolicited_response) association.unsolicited_sequence = pdu.sequence;
  else if (isResponse(code)) joinResponse(conversation, pdu, association, r.remaining > 0);
  else joinRequest(r, conversation, pdu, association);

  place.function = code;
  place.operation = pdu.operation;
  place.unit = pdu.unit;
  place.common_time = Number.NaN;
  readObjects(r, emit, conversation, pdu);
}

/** 4.2.2.6 */
function readInternalIndications(r: Reader, pdu: Pdu): void {
  const iin = r.u16();
  if (r.truncated) return;
  pdu.iin = iin;
  pdu.iin_broadcast = (iin & 0x0100) !== 0;
  pdu.iin_class_1_events = (iin & 0x0200) !== 0;
  pdu.iin_class_2_events = (iin & 0x0400) !== 0;
  pdu.iin_class_3_events = (iin & 0x0800) !== 0;
  pdu.iin_need_time = (iin & 0x1000) !== 0;
  pdu.iin_local_control = (iin & 0x2000) !== 0;
  pdu.iin_device_trouble = (iin & 0x4000) !== 0;
  pdu.iin_device_restart = (iin & 0x8000) !== 0;
  pdu.iin_no_func_code_support = (iin & 0x0001) !== 0;
  pdu.iin_object_unknown = (iin & 0x0002) !== 0;
  pdu.iin_parameter_error = (iin & 0x0004) !== 0;
  pdu.iin_event_buffer_overflow = (iin & 0x0008) !== 0;
  pdu.iin_already_executing = (iin & 0x0010) !== 0;
  pdu.iin_config_corrupt = (iin & 0x0020) !== 0;
  pdu.iin_reserved_2 = (iin & 0x0040) !== 0;
  pdu.iin_reserved_1 = (iin & 0x0080) !== 0;
}

/** NO_FUNC_CODE_SUPPORT, OBJECT_UNKNOWN, PARAMETER_ERROR, ALREADY_EXECUTING */
const REFUSED = 0x0017;

function joinRequest(r: Reader, conversation: Talk, pdu: Pdu, association: Association): void {
  const code = pdu.function;
  if (code === FunctionCode.select) {
    association.select_sequence = pdu.sequence;
    association.select_size = r.remaining;
    association.select_hash = hash(r.bytes, r.position, r.end);
    association.select_unknown = false;
  } else if (code === FunctionCode.operate) joinOperate(r, conversation, pdu, association);
  else association.select_unknown = false;
  if (isUnanswered(code) || pdu.destination >= FIRST_BROADCAST_ADDRESS) return;
  // A reply to a challenge stands between a request and its response (clause 7): the request stays the one that is answered.
  if (code === FunctionCode.authenticate_req && association.isWaiting(pdu.sequence)) return;
  association.request(pdu.sequence, code, pdu.operation, conversation.time_ms);
  if (association.unanswered === FLOOD_THRESHOLD + 1) conversation.anomaly(pdu, 'request_flood');
}

/** 4.4: OPERATE repeats the objects of the SELECT, with the next sequence number. A retry has the number of the first try. */
function joinOperate(r: Reader, conversation: Talk, pdu: Pdu, association: Association): void {
  if (association.select_sequence < 0) {
    if (!association.select_unknown) conversation.anomaly(pdu, 'operate_without_select');
    return;
  }
  const repeats = association.select_size === r.remaining && association.select_hash === hash(r.bytes, r.position, r.end);
  const follows = pdu.sequence === ((association.select_sequence + 1) & 0x0f);
  if (!repeats || !follows) conversation.anomaly(pdu, 'operate_mismatch');
}

function joinResponse(conversation: Talk, pdu: Pdu, association: Association, hasObjects: boolean): void {
  // A challenge is not yet the answer (clause 7): the request waits until the reply to the challenge was judged.
  const isChallenge =
    pdu.function === FunctionCode.authenticate_resp && association.functionOf(pdu.sequence) !== FunctionCode.authenticate_req;
  const request = isChallenge && association.isWaiting(pdu.sequence) ? pdu.sequence : association.answer(pdu.sequence, pdu.fir);
  if (request < 0) {
    if (association.has_requests) conversation.anomaly(pdu, 'response_mismatch');
  } else {
    pdu.request_function = association.functionOf(request);
    pdu.response_time_ms = conversation.time_ms - association.timeOf(request);
    if (pdu.function === FunctionCode.response) pdu.operation = association.operationOf(request);
  }
  // A READ of several objects may find some of them: then it did not fail.
  const isPartial = hasObjects && (pdu.operation === Operation.read || pdu.operation === Operation.identify);
  if (pdu.function === FunctionCode.response && pdu.iin & REFUSED && !isPartial) pdu.operation = Operation.error;
}

function joinConfirm(conversation: Talk, pdu: Pdu, association: Association): void {
  const awaited = pdu.uns ? association.unsolicited_sequence : association.response_sequence;
  if (awaited >= 0 && awaited !== pdu.sequence) conversation.anomaly(pdu, 'confirm_mismatch');
}

/** Object headers and their objects, until the fragment ends. Every turn takes at least the three octets of a header. */
function readObjects(r: Reader, emit: Emit, conversation: Talk, pdu: Pdu): void {
  let headers = 0;
  packedRows = 0;
  let points = 0;
  while (r.remaining > 0) {
    if (headers === MAX_OBJECT_HEADERS) {
      conversation.anomaly(pdu, 'too_many_objects');
      break;
    }
    headers++;
    const header = emit(ObjectHeader);
    const read = readObjectHeader(r, emit, conversation, header, MAX_POINTS - points);
    if (pdu.target_space < 0 && header.target_space >= 0) {
      pdu.target(header.target_space, header.target_first, header.target_last);
    }
    if (read < 0) break;
    points += read;
    if (points > MAX_POINTS) {
      points = MAX_POINTS;
      conversation.anomaly(pdu, 'too_many_points');
    }
  }
  pdu.object_header_count = headers;
  pdu.point_count = points;
}

/** What the range field said: `count` objects from `start` on; a start of -1: they are counted, not numbered. */
const range = { start: -1, count: 0 };

/**
 * Reads one object header and its objects (4.2.2.7). At most `budget` of them become rows.
 * Gives the number of objects with data (or with an index), or -1 where the rest of the fragment cannot be read.
 */
function readObjectHeader(
  r: Reader,
  emit: Emit,
  conversation: Talk,
  header: RowOf<typeof ObjectHeader.fields>,
  budget: number,
): number {
  const group = r.u8();
  const number = r.u8();
  const qualifier = r.u8();
  header.operation = place.operation;
  header.unit = place.unit;
  header.function = place.function;
  if (r.truncated) return -1;
  const prefix = (qualifier >> 4) & 0x07;
  const code = qualifier & 0x0f;
  header.object = group * 256 + number;
  header.group = group;
  header.variation = number;
  header.prefix_code = prefix;
  header.range_code = code;
  place.group = group;
  place.variation = number;
  place.index_is_prefix = prefix >= 1 && prefix <= Prefix.index_4;
  if (prefix > Prefix.size_4 || qualifier & 0x80 || !readRange(r, header, code, group)) {
    if (r.truncated) return -1;
    conversation.anomaly(header, range.count < 0 ? 'invalid_range' : 'invalid_qualifier');
    header.status = Status.malformed;
    return -1;
  }
  if (group === 60 && number > 0) header.target(group, number - 1, number - 1);
  const variation = variationOf(group, number);
  const isSized = prefix > Prefix.index_4;
  const hasData =
    isSized || !namesPointsOnly(place.function) || group === 120 || (group === 50 && place.function !== FunctionCode.read);
  if (!hasData || number === 0) {
    if (!variation && number !== 0) conversation.anomaly(header, 'unknown_object');
    return prefix === Prefix.none ? 0 : readNames(r, emit, header, variation ?? NAMED, prefix, budget);
  }
  if (range.count === 0) return 0;
  if (!variation) {
    conversation.anomaly(header, 'unknown_object');
    if (isSized) return readPrefixed(r, emit, conversation, header, OPAQUE, prefix, budget);
    header.data = r.rest();
    return -1;
  }
  if (variation.bits > 0) {
    if (prefix !== Prefix.none) {
      conversation.anomaly(header, 'invalid_qualifier');
      header.status = Status.malformed;
      return -1;
    }
    return readBits(r, emit, variation, budget);
  }
  if (variation.size === Size.by_prefix && !isSized) {
    conversation.anomaly(header, 'invalid_qualifier');
    header.data = r.rest();
    return -1;
  }
  return prefix === Prefix.none
    ? readNumbered(r, emit, conversation, variation, budget)
    : readPrefixed(r, emit, conversation, header, variation, prefix, budget);
}

/** Objects that the library does not describe: named by their index, or kept as octets where their size is stated. */
const NAMED: Variation = { kind: 'data', parts: [], size: 0, bits: 0 };
const OPAQUE: Variation = { kind: 'data', parts: [], size: Size.by_prefix, bits: 0 };

/** 4.2.2.7: the range field. False where the code is reserved or the range runs backwards (count -1). */
function readRange(r: Reader, header: RowOf<typeof ObjectHeader.fields>, code: number, group: number): boolean {
  range.start = -1;
  range.count = 0;
  const size = RANGE_SIZES[code];
  if (code === Range.all) {
    header.target(group, 0, ALL_POINTS);
    return true;
  }
  if (size === 0) return false;
  const first = readSized(r, size);
  if (code > Range.address_4) {
    if (r.truncated) return false;
    header.quantity = first;
    range.count = first;
    header.target(group, 0, first > 0 ? first - 1 : 0);
    return true;
  }
  const last = readSized(r, size);
  if (r.truncated) return false;
  header.range_start = first;
  header.range_stop = last;
  range.start = first;
  range.count = last < first ? -1 : last - first + 1;
  header.target(group, first, last);
  return range.count > 0;
}

const readSized = (r: Reader, size: number): number => (size === 1 ? r.u8() : size === 2 ? r.u16le() : r.u32le());

/** Packed points, the first in the lowest bits. Bounded by the octets that are there. */
function readBits(r: Reader, emit: Emit, variation: Variation, budget: number): number {
  const { bits } = variation;
  const mask = (1 << bits) - 1;
  let octet = 0;
  let packed: NumberList | undefined;
  for (let i = 0, shift = 8; i < range.count; i++, shift += bits) {
    if (shift === 8) {
      octet = r.u8();
      if (r.truncated) return i;
      shift = 0;
    }
    const state = (octet >> shift) & mask;
    place.index = range.start < 0 ? -1 : range.start + i;
    if (i < budget) emitBits(emit, variation, place, state);
    else {
      if (packed === undefined || packed.count === MAX_LIST_VALUES) packed = packedRow(emit, bits);
      packed?.push(state);
    }
  }
  return range.count;
}

let packedRows = 0;

function packedRow(emit: Emit, bits: number): NumberList | undefined {
  if (packedRows++ >= MAX_PACKED_ROWS) return undefined;
  const row = emitPacked(emit, place);
  return bits === 1 ? row.states : row.double_bit_states;
}

/** Objects one behind the other. Those of no size take no turn, so that a count alone costs nothing. */
function readNumbered(r: Reader, emit: Emit, conversation: Talk, variation: Variation, budget: number): number {
  if (variation.size === 0 || (variation.size === Size.by_variation && place.variation === 0)) return 0;
  for (let i = 0; i < range.count; i++) {
    if (r.remaining === 0) {
      r.truncated = true;
      return i;
    }
    place.index = range.start < 0 ? -1 : range.start + i;
    if (i < budget) readObject(r, emit, conversation, variation);
    else if (variation.size > 0) r.skip(variation.size);
    else return budget + 1;
    if (r.truncated) return i + 1;
  }
  return range.count;
}

/** Objects with an index or a size before each; every turn takes at least that prefix. */
function readPrefixed(
  r: Reader,
  emit: Emit,
  conversation: Talk,
  header: RowOf<typeof ObjectHeader.fields>,
  variation: Variation,
  prefix: number,
  budget: number,
): number {
  const size = PREFIX_SIZES[prefix];
  let lowest = ALL_POINTS;
  let highest = 0;
  let i = 0;
  for (; i < range.count && !r.truncated; i++) {
    if (r.remaining === 0) {
      r.truncated = true;
      break;
    }
    if (i >= budget) return budget + 1;
    const stated = readSized(r, size);
    if (prefix > Prefix.index_4) {
      place.index = range.start < 0 ? -1 : range.start + i;
      const outer = r.enter(stated);
      const isWhole = r.remaining === stated;
      readObject(r, emit, conversation, variation);
      r.leave(outer);
      if (!isWhole) r.truncated = true;
      continue;
    }
    place.index = stated;
    if (stated < lowest) lowest = stated;
    if (stated > highest) highest = stated;
    readObject(r, emit, conversation, variation);
  }
  if (lowest <= highest && prefix <= Prefix.index_4) header.target(place.group, lowest, highest);
  return i;
}

function readObject(r: Reader, emit: Emit, conversation: Talk, variation: Variation): void {
  emitPoint(r, emit, variation, place, conversation as Conversation<unknown, never>);
  if (place.group === 51 && !r.truncated) place.common_time = lastTime();
}

/** Points that a request names by their indexes. */
function readNames(
  r: Reader,
  emit: Emit,
  header: RowOf<typeof ObjectHeader.fields>,
  variation: Variation,
  prefix: number,
  budget: number,
): number {
  const size = PREFIX_SIZES[prefix];
  let lowest = ALL_POINTS;
  let highest = 0;
  let i = 0;
  for (; i < range.count; i++) {
    const index = readSized(r, size);
    if (r.truncated) break;
    if (index < lowest) lowest = index;
    if (index > highest) highest = index;
    place.index = index;
    if (i < budget) emitName(emit, variation, place);
  }
  if (lowest <= highest) header.target(place.group, lowest, highest);
  return i;
}
