import { type Conversation, type Emit, type Reader, Role, type Row, spanText } from '../../src/dissect/index.ts';
import { type Part, Size, type Variation } from './objects.ts';
import {
  AnalogCommand,
  AnalogInput,
  AnalogOutput,
  Authentication,
  BinaryCommandEvent,
  BinaryInput,
  BinaryOutput,
  ControlBlock,
  Counter,
  Deadband,
  DeviceAttribute,
  DoubleBitInput,
  File,
  InternalIndication,
  ObjectData,
  OctetString,
  PackedPoints,
  type RowIn,
  SecurityStatistic,
  Time,
  TimeDelay,
} from './records.ts';

const NONE = -1;

/** Where a point stands: the object header it belongs to, as far as the rows need it. */
export interface Place {
  function: number;
  operation: Row['operation'];
  unit: number;
  group: number;
  variation: number;
  /** -1: the objects are counted, not numbered. */
  index: number;
  index_is_prefix: boolean;
  /** The common time of occurrence of the fragment (group 51); NaN before there is one. */
  common_time: number;
}

/** The parts of a regular object, read before its row is emitted, so that every kind of point is read by the same code. */
const sample = {
  flags: NONE,
  status: NONE,
  value: 0,
  encoding: '' as Part | '' | 'bits',
  /** A second number: interval units, the association's count. */
  second: NONE,
  time: Number.NaN,
  relative_time_ms: NONE,
};

/** The time of the object read last; a common time of occurrence holds for the objects behind it. */
export const lastTime = (): number => sample.time;

function readParts(r: Reader, parts: readonly Part[]): void {
  sample.flags = NONE;
  sample.status = NONE;
  sample.encoding = '';
  sample.second = NONE;
  sample.time = Number.NaN;
  sample.relative_time_ms = NONE;
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i];
    switch (part) {
      case 'flags':
        sample.flags = r.u8();
        break;
      case 'status':
        sample.status = r.u8();
        break;
      case 'time':
        sample.time = r.u48le();
        break;
      case 'relative_time':
        sample.relative_time_ms = r.u16le();
        break;
      default: {
        const number = readNumber(r, part);
        if (sample.encoding === '') {
          sample.value = number;
          sample.encoding = part;
        } else sample.second = number;
      }
    }
  }
}

function readNumber(r: Reader, part: Part): number {
  switch (part) {
    case 'i16':
      return r.i16le();
    case 'i32':
      return r.i32le();
    case 'u16':
      return r.u16le();
    case 'u32':
      return r.u32le();
    case 'f32':
      return r.f32le();
    case 'f64':
      return r.f64le();
    default:
      return r.u8();
  }
}

/** Nothing but the place: a point that a request names, or an object of no size. */
function namePoint(row: RowIn<typeof BinaryInput> | RowIn<typeof File>, place: Place): void {
  row.operation = place.operation;
  row.unit = place.unit;
  row.function = place.function;
  row.group = place.group;
  row.variation = place.variation;
  if (place.index >= 0) {
    row.index = place.index;
    if (place.index_is_prefix) row.index_prefix = place.index;
    row.target(place.group, place.index, place.index);
  }
}

type Common = Parameters<typeof namePoint>[0];
const at = <R>(row: R, place: Place): R => {
  namePoint(row as unknown as Common, place);
  return row;
};

/** The flags that all point types share (Annex A). */
interface Quality {
  flags: number;
  online: boolean;
  restart: boolean;
  comm_lost: boolean;
  remote_forced: boolean;
  local_forced: boolean;
}

function quality(row: Quality): void {
  const { flags } = sample;
  row.flags = flags;
  row.online = (flags & 0x01) !== 0;
  row.restart = (flags & 0x02) !== 0;
  row.comm_lost = (flags & 0x04) !== 0;
  row.remote_forced = (flags & 0x08) !== 0;
  row.local_forced = (flags & 0x10) !== 0;
}

interface Encoded {
  value: number;
  value_integer: number;
  value_float: number;
}

function encoded(row: Encoded): void {
  row.value = sample.value;
  if (sample.encoding === 'f32') row.value_float = sample.value;
  else if (sample.encoding !== 'f64') row.value_integer = sample.value;
}

function relativeTime(row: RowIn<typeof BinaryInput> | RowIn<typeof DoubleBitInput>, place: Place): void {
  if (sample.relative_time_ms < 0) return;
  row.relative_time_ms = sample.relative_time_ms;
  if (!Number.isNaN(place.common_time)) row.common_time = place.common_time + sample.relative_time_ms;
}

/** A row for the packed points that have none of their own. */
export const emitPacked = (emit: Emit, place: Place): RowIn<typeof PackedPoints> => at(emit(PackedPoints), place);

/** One packed point: a bit or two (A.2 and the like). */
export function emitBits(emit: Emit, variation: Variation, place: Place, bits: number): void {
  switch (variation.kind) {
    case 'binary_input': {
      const row = at(emit(BinaryInput), place);
      row.state = row.state_bit = bits !== 0;
      break;
    }
    case 'binary_output': {
      const row = at(emit(BinaryOutput), place);
      row.state = row.state_bit = bits !== 0;
      break;
    }
    case 'double_bit_input': {
      const row = at(emit(DoubleBitInput), place);
      row.state = row.state_bits = bits;
      break;
    }
    case 'control_block':
      at(emit(ControlBlock), place).pattern_bit = bits !== 0;
      break;
    case 'internal_indication':
      at(emit(InternalIndication), place).state = bits !== 0;
  }
}

/**
 * Reads one object and emits its row. The reader ends where the object ends if its size was stated; all that is left then
 * belongs to the object's last field.
 */
export function emitPoint(
  r: Reader,
  emit: Emit,
  variation: Variation,
  place: Place,
  conversation: Conversation<unknown, never>,
): void {
  if (variation.parts.length > 0) readParts(r, variation.parts);
  switch (variation.kind) {
    case 'binary_input': {
      const row = at(emit(BinaryInput), place);
      quality(row);
      row.chatter_filter = (sample.flags & 0x20) !== 0;
      row.reserved = (sample.flags & 0x40) !== 0;
      row.state = row.state_flag = (sample.flags & 0x80) !== 0;
      if (!Number.isNaN(sample.time)) row.time = sample.time;
      relativeTime(row, place);
      break;
    }
    case 'double_bit_input': {
      const row = at(emit(DoubleBitInput), place);
      quality(row);
      row.chatter_filter = (sample.flags & 0x20) !== 0;
      row.state = sample.flags >> 6;
      row.state_low = (sample.flags & 0x40) !== 0;
      row.state_high = (sample.flags & 0x80) !== 0;
      if (!Number.isNaN(sample.time)) row.time = sample.time;
      relativeTime(row, place);
      break;
    }
    case 'binary_output': {
      const row = at(emit(BinaryOutput), place);
      quality(row);
      row.state = row.state_flag = (sample.flags & 0x80) !== 0;
      if (!Number.isNaN(sample.time)) row.time = sample.time;
      break;
    }
    case 'counter': {
      const row = at(emit(Counter), place);
      if (sample.flags >= 0) {
        quality(row);
        row.rollover = (sample.flags & 0x20) !== 0;
        row.discontinuity = (sample.flags & 0x40) !== 0;
      }
      row.value = sample.value;
      if (!Number.isNaN(sample.time)) row.time = sample.time;
      break;
    }
    case 'analog_input': {
      const row = at(emit(AnalogInput), place);
      if (sample.flags >= 0) {
        quality(row);
        row.over_range = (sample.flags & 0x20) !== 0;
        row.reference_err = (sample.flags & 0x40) !== 0;
      }
      encoded(row);
      if (sample.encoding === 'f64') row.value_double = sample.value;
      if (!Number.isNaN(sample.time)) row.time = sample.time;
      break;
    }
    case 'deadband':
      encoded(at(emit(Deadband), place));
      break;
    case 'analog_output': {
      const row = at(emit(AnalogOutput), place);
      quality(row);
      row.over_range = (sample.flags & 0x20) !== 0;
      row.reference_err = (sample.flags & 0x40) !== 0;
      encoded(row);
      if (sample.encoding === 'f64') row.value_double = sample.value;
      if (!Number.isNaN(sample.time)) row.time = sample.time;
      break;
    }
    case 'analog_command': {
      const row = at(emit(AnalogCommand), place);
      encoded(row);
      if (sample.encoding === 'f64') row.value_double = sample.value;
      row.control_status = sample.status & 0x7f;
      if (!Number.isNaN(sample.time)) row.time = sample.time;
      break;
    }
    case 'binary_command_event': {
      const row = at(emit(BinaryCommandEvent), place);
      row.control_status = sample.status & 0x7f;
      row.commanded_state = (sample.status & 0x80) !== 0;
      if (!Number.isNaN(sample.time)) row.time = sample.time;
      break;
    }
    case 'time': {
      const row = at(emit(Time), place);
      row.time = sample.time;
      if (sample.encoding !== '') row.interval = sample.value;
      if (sample.second >= 0) row.interval_units = sample.second;
      break;
    }
    case 'time_delay': {
      const row = at(emit(TimeDelay), place);
      row.delay = sample.value;
      row.delay_ms = place.variation === 1 ? sample.value * 1000 : sample.value;
      break;
    }
    case 'security_statistic': {
      const row = at(emit(SecurityStatistic), place);
      row.flags = sample.flags;
      if (place.index >= 0 && place.index < 256) row.statistic = place.index;
      row.association_id = sample.value;
      row.value = sample.second;
      if (!Number.isNaN(sample.time)) row.time = sample.time;
      break;
    }
    case 'integer':
      at(emit(ObjectData), place).value = sample.value;
      break;
    case 'control_block':
      readControlBlock(r, at(emit(ControlBlock), place));
      break;
    case 'octet_string':
      at(emit(OctetString), place).data = variation.size === Size.by_variation ? r.span(place.variation) : r.rest();
      break;
    case 'device_attribute':
      readDeviceAttribute(r, at(emit(DeviceAttribute), place), place, conversation);
      break;
    case 'file':
      readFile(r, at(emit(File), place));
      break;
    case 'authentication':
      readAuthentication(r, at(emit(Authentication), place));
      break;
    case 'bcd':
      at(emit(ObjectData), place).value = readBinaryCodedDecimal(r, variation.size);
      break;
    case 'buffer_status': {
      const row = at(emit(ObjectData), place);
      const fill = r.u8();
      row.fill_percentage = fill & 0x7f;
      row.overflow = (fill & 0x80) !== 0;
      row.buffer_group = r.u8();
      row.buffer_variation = r.u8();
      break;
    }
    case 'private_object': {
      const row = at(emit(ObjectData), place);
      row.vendor_code = r.text(4);
      row.object_id = r.u16le();
      row.data = r.span(r.u16le());
      break;
    }
    case 'data':
      at(emit(ObjectData), place).data = variation.size >= 0 ? r.span(variation.size) : r.rest();
      break;
  }
}

/** A point that a request names by its index, without data. */
export function emitName(emit: Emit, variation: Variation, place: Place): void {
  switch (variation.kind) {
    case 'binary_input':
      at(emit(BinaryInput), place);
      break;
    case 'double_bit_input':
      at(emit(DoubleBitInput), place);
      break;
    case 'binary_output':
      at(emit(BinaryOutput), place);
      break;
    case 'control_block':
      at(emit(ControlBlock), place);
      break;
    case 'binary_command_event':
      at(emit(BinaryCommandEvent), place);
      break;
    case 'counter':
      at(emit(Counter), place);
      break;
    case 'analog_input':
      at(emit(AnalogInput), place);
      break;
    case 'deadband':
      at(emit(Deadband), place);
      break;
    case 'analog_output':
      at(emit(AnalogOutput), place);
      break;
    case 'analog_command':
      at(emit(AnalogCommand), place);
      break;
    case 'octet_string':
      at(emit(OctetString), place);
      break;
    case 'security_statistic':
      at(emit(SecurityStatistic), place);
      break;
    default:
      at(emit(ObjectData), place);
  }
}

/** A.8: control relay output block, pattern control block */
function readControlBlock(r: Reader, row: RowIn<typeof ControlBlock>): void {
  const code = r.u8();
  row.control_code = code;
  row.operation_type = code & 0x0f;
  row.queue_clear = (code >> 4) & 0x03;
  row.trip_close_code = code >> 6;
  row.repeat_count = r.u8();
  row.on_time_ms = r.u32le();
  row.off_time_ms = r.u32le();
  row.control_status = r.u8() & 0x7f;
}

/** A.39: two digits an octet, the least significant first */
function readBinaryCodedDecimal(r: Reader, size: number): number {
  let value = 0;
  for (let i = 0, weight = 1; i < size; i++, weight *= 100) {
    const octet = r.u8();
    value += ((octet >> 4) * 10 + (octet & 0x0f)) * weight;
  }
  return value;
}

const AttributeType = { visible_string: 1, unsigned: 2, signed: 3, floating_point: 4, time: 7, extended_list: 255 } as const;

const IDENTIFYING = new Map<
  number,
  'vendor' | 'model' | 'serial' | 'firmware' | 'hardware' | 'name' | 'location' | 'description'
>([
  [252, 'vendor'],
  [250, 'model'],
  [248, 'serial'],
  [242, 'firmware'],
  [243, 'hardware'],
  [247, 'name'],
  [245, 'location'],
  [246, 'description'],
]);

/** A.1: data type, length, value. The object's index is the set of attributes; set 0 is the standard's own. */
function readDeviceAttribute(
  r: Reader,
  row: RowIn<typeof DeviceAttribute>,
  place: Place,
  conversation: Conversation<unknown, never>,
): void {
  if (place.index >= 0) row.attribute_set = place.index;
  row.attribute = place.variation;
  const type = r.u8();
  row.data_type = type;
  // An extended list has more than 255 octets: its length is 256 larger than the length octet says (A.1).
  const size = r.u8() + (type === AttributeType.extended_list ? 256 : 0);
  row.value_size = size;
  const outer = r.enter(size);
  const isWhole = r.remaining === size;
  if (!isWhole) {
    row.data = r.rest();
    r.leave(outer);
    r.skip(1);
    return;
  }
  switch (type) {
    case AttributeType.visible_string: {
      row.text = r.text(size);
      const attribute = place.index <= 0 ? IDENTIFYING.get(place.variation) : undefined;
      if (attribute && conversation.sender === Role.server) {
        const part = `outstation ${place.unit}`;
        conversation.identify('sender', attribute, spanText(row.bytes, row.text), 'dnp3_device_attribute.text', part);
      }
      break;
    }
    case AttributeType.unsigned:
      if (size <= 4) row.value = readUnsigned(r, size);
      break;
    case AttributeType.signed:
      if (size >= 1 && size <= 4) {
        const shift = 32 - size * 8;
        row.value = (readUnsigned(r, size) << shift) >> shift;
      }
      break;
    case AttributeType.floating_point:
      if (size === 4) row.value = r.f32le();
      else if (size === 8) row.value = r.f64le();
      break;
    case AttributeType.time:
      if (size === 6) row.time = r.u48le();
      break;
    default:
      row.data = r.rest();
  }
  r.leave(outer);
}

function readUnsigned(r: Reader, size: number): number {
  let value = 0;
  for (let i = 0, weight = 1; i < size; i++, weight *= 256) value += r.u8() * weight;
  return value;
}

/** A.27: file control. Text stands at an offset in the object; it is read only where it lies inside. */
function readFile(r: Reader, row: RowIn<typeof File>): void {
  switch (row.variation) {
    case 1: // superseded by variation 3 and later
      row.file_name_size = r.u16le();
      r.skip(6);
      row.file_size = r.u32le();
      row.file_time = r.u48le();
      row.permissions = r.u16le();
      row.handle = r.u32le();
      r.skip(9);
      row.file_status = r.u8();
      row.file_name = r.text(row.file_name_size);
      row.data = r.span(r.u16le());
      break;
    case 2: {
      const start = r.position;
      const nameOffset = r.u16le();
      const nameSize = r.u16le();
      r.skip(2);
      row.password_size = r.u16le();
      row.authentication_key = r.u32le();
      r.position = Math.min(start + nameOffset, r.end);
      row.user_name = r.text(nameSize);
      break;
    }
    case 3:
      row.file_name_offset = r.u16le();
      row.file_name_size = r.u16le();
      row.file_time = r.u48le();
      row.permissions = r.u16le();
      row.authentication_key = r.u32le();
      row.file_size = r.u32le();
      row.mode = r.u16le();
      row.max_block_size = r.u16le();
      row.request_id = r.u16le();
      row.file_name = r.text(row.file_name_size);
      break;
    case 4:
      row.handle = r.u32le();
      row.file_size = r.u32le();
      row.max_block_size = r.u16le();
      row.request_id = r.u16le();
      row.file_status = r.u8();
      if (r.remaining > 0) row.text = r.text(r.remaining);
      break;
    case 5:
      row.handle = r.u32le();
      readBlockNumber(r, row);
      row.data = r.rest();
      break;
    case 6:
      row.handle = r.u32le();
      readBlockNumber(r, row);
      row.file_status = r.u8();
      if (r.remaining > 0) row.text = r.text(r.remaining);
      break;
    case 7:
      row.file_name_offset = r.u16le();
      row.file_name_size = r.u16le();
      row.file_type = r.u16le();
      row.file_size = r.u32le();
      row.file_time = r.u48le();
      row.permissions = r.u16le();
      row.request_id = r.u16le();
      row.file_name = r.text(row.file_name_size);
      break;
    case 8:
      row.file_name = r.text(r.remaining);
  }
}

function readBlockNumber(r: Reader, row: RowIn<typeof File>): void {
  const block = r.u32le();
  row.block_number = block % 0x8000_0000;
  row.last_block = block >= 0x8000_0000;
}

/** A.45: authentication. Keys are wrapped, and not kept all the same. */
function readAuthentication(r: Reader, row: RowIn<typeof Authentication>): void {
  switch (row.variation) {
    case 1: // challenge
      row.challenge_sequence = r.u32le();
      row.user_number = r.u16le();
      row.mac_algorithm = r.u8();
      row.reason = r.u8();
      row.challenge_data = r.rest();
      break;
    case 2: // reply
      row.challenge_sequence = r.u32le();
      row.user_number = r.u16le();
      row.mac_value = r.rest();
      break;
    case 3: // aggressive mode request
      row.challenge_sequence = r.u32le();
      row.user_number = r.u16le();
      break;
    case 4: // session key status request
      row.user_number = r.u16le();
      break;
    case 5: // session key status
      row.key_change_sequence = r.u32le();
      row.user_number = r.u16le();
      row.key_wrap_algorithm = r.u8();
      row.key_status = r.u8();
      row.mac_algorithm = r.u8();
      row.challenge_data = r.span(r.u16le());
      row.mac_value = r.rest();
      break;
    case 6: // session key change
      row.key_change_sequence = r.u32le();
      row.user_number = r.u16le();
      row.key_size = r.remaining;
      r.skip(r.remaining);
      break;
    case 7: // error
      row.challenge_sequence = r.u32le();
      row.user_number = r.u16le();
      row.association_id = r.u16le();
      row.error_code = r.u8();
      row.time = r.u48le();
      row.text = r.text(r.remaining);
      break;
    case 8: // user certificate
      row.key_change_method = r.u8();
      row.certificate_type = r.u8();
      row.certificate = r.rest();
      break;
    case 10: {
      // user status change
      row.key_change_method = r.u8();
      row.user_operation = r.u8();
      row.status_change_sequence = r.u32le();
      row.user_role = r.u16le();
      row.role_expiry_interval = r.u16le();
      const nameSize = r.u16le();
      row.key_size = r.u16le();
      const certificateSize = r.u16le();
      row.user_name = r.text(nameSize);
      r.skip(row.key_size);
      row.certificate = r.span(certificateSize);
      break;
    }
    case 11: {
      // update key change request
      row.key_change_method = r.u8();
      const nameSize = r.u16le();
      const challengeSize = r.u16le();
      row.user_name = r.text(nameSize);
      row.challenge_data = r.span(challengeSize);
      break;
    }
    case 12: // update key change reply
      row.key_change_sequence = r.u32le();
      row.user_number = r.u16le();
      row.challenge_data = r.span(r.u16le());
      break;
    case 13: // update key change
      row.key_change_sequence = r.u32le();
      row.user_number = r.u16le();
      row.key_size = r.u16le();
      r.skip(row.key_size);
      break;
    case 14: // update key change signature
      row.certificate = r.rest();
      break;
    default: // 9: MAC; 15: update key change confirmation
      row.mac_value = r.rest();
  }
}
