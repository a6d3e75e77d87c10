import {
  type Emit,
  Operation,
  type Reader,
  type Span,
  span as spanAt,
  spanLength,
  spanStart,
  spanText,
} from '../../src/dissect/index.ts';
import { echo, isResponse, join, MAX_SUB_REQUESTS, type ModbusConversation, match, remember } from './exchange.ts';
import {
  DIAGNOSTIC_NAMES,
  EXCEPTION_NAMES,
  FUNCTION_OPERATIONS,
  IS_ASSIGNED,
  OBJECT_NAMES,
  Space,
  UMAS_OPERATIONS,
} from './function-codes.ts';
import { type FileRecordRow, ModbusFileRecord, ModbusObject, type ModbusRow } from './records.ts';
import { SLOTS, transactionKey } from './transactions.ts';

/** Clauses 6.1–6.17: the most that one PDU may ask for. */
const MAX_BITS_READ = 2000;
const MAX_REGISTERS_READ = 125;
const MAX_BITS_WRITTEN = 1968;
const MAX_REGISTERS_WRITTEN = 123;
const MAX_REGISTERS_WRITTEN_23 = 121;
const MAX_FIFO_COUNT = 31;

/** By function code, 1–4. */
const READ_SPACES = [0, Space.coils, Space.discrete_inputs, Space.holding_registers, Space.input_registers];

/**
 * Reads function code and data (clause 4.1) of the PDU at the reader. `length` is unit identifier and PDU together, as the
 * MBAP header has it: the wire's word, not what was captured.
 */
export function dissectPdu(
  r: Reader,
  emit: Emit,
  pdu: ModbusRow,
  conversation: ModbusConversation,
  transactionId: number,
  unit: number,
  length: number,
): void {
  const code = r.u8();
  const functionCode = code & 0x7f;
  const key = transactionKey(transactionId, unit, functionCode);
  pdu.unit = unit;
  pdu.function_code = functionCode;
  pdu.operation = FUNCTION_OPERATIONS[functionCode] as typeof pdu.operation;
  if (conversation.gap_before || conversation.acknowledges_unseen) conversation.state.forgiven = SLOTS;
  if (code < 0x80 && IS_ASSIGNED[functionCode] === 0) conversation.anomaly(pdu, 'unassigned_function');
  if (isResponse(r, code, key, length, pdu, conversation)) {
    if (code >= 0x80) exception(r, pdu, conversation, key);
    else response(r, emit, pdu, conversation, key, functionCode);
  } else request(r, emit, pdu, conversation, key, functionCode);
  if (r.position < r.end) {
    pdu.data = r.rest();
    conversation.anomaly(pdu, 'length_mismatch');
  }
}

function request(
  r: Reader,
  emit: Emit,
  pdu: ModbusRow,
  conversation: ModbusConversation,
  key: number,
  functionCode: number,
): void {
  switch (functionCode) {
    // 6.1–6.4 Read Coils, Discrete Inputs, Holding Registers, Input Registers
    case 1:
    case 2: {
      const address = r.u16();
      const quantity = r.u16();
      pdu.address = address;
      pdu.bit_quantity = quantity;
      range(pdu, conversation, READ_SPACES[functionCode], address, quantity, MAX_BITS_READ);
      remember(pdu, conversation, key, address, quantity, 0);
      return;
    }
    case 3:
    case 4: {
      const address = r.u16();
      const quantity = r.u16();
      pdu.address = address;
      pdu.register_quantity = quantity;
      range(pdu, conversation, READ_SPACES[functionCode], address, quantity, MAX_REGISTERS_READ);
      remember(pdu, conversation, key, address, quantity, 0);
      return;
    }
    // 6.5 Write Single Coil
    case 5:
      remember(pdu, conversation, key, writeSingleCoil(r, pdu, conversation), 1, pdu.output_value);
      return;
    // 6.6 Write Single Register
    case 6: {
      const address = r.u16();
      const value = r.u16();
      pdu.address = address;
      pdu.register_values.push(value);
      pdu.target(Space.holding_registers, address, address);
      remember(pdu, conversation, key, address, 1, value);
      return;
    }
    // 6.11 Write Multiple Coils
    case 15: {
      const address = r.u16();
      const quantity = r.u16();
      const byteCount = r.u8();
      pdu.address = address;
      pdu.bit_quantity = quantity;
      pdu.byte_count = byteCount;
      range(pdu, conversation, Space.coils, address, quantity, MAX_BITS_WRITTEN);
      if (byteCount !== (quantity + 7) >> 3) conversation.anomaly(pdu, 'byte_count_mismatch');
      bits(r, pdu, byteCount, quantity);
      remember(pdu, conversation, key, address, quantity, 0);
      return;
    }
    // 6.12 Write Multiple Registers
    case 16: {
      const address = r.u16();
      const quantity = r.u16();
      const byteCount = r.u8();
      pdu.address = address;
      pdu.register_quantity = quantity;
      pdu.byte_count = byteCount;
      range(pdu, conversation, Space.holding_registers, address, quantity, MAX_REGISTERS_WRITTEN);
      if (byteCount !== quantity * 2) conversation.anomaly(pdu, 'byte_count_mismatch');
      registers(r, pdu, byteCount);
      remember(pdu, conversation, key, address, quantity, 0);
      return;
    }
    // 6.7, 6.9, 6.10, 6.13 Read Exception Status, Get Comm Event Counter and Log, Report Server ID: no data
    case 7:
    case 11:
    case 12:
    case 17:
      remember(pdu, conversation, key, 0, 0, 0);
      return;
    // 6.8 Diagnostics
    case 8: {
      const subFunction = diagnostics(r, pdu);
      if (!isDiagnosticRequest(subFunction, pdu)) conversation.anomaly(pdu, 'illegal_value');
      remember(pdu, conversation, key, subFunction, 0, 0);
      return;
    }
    // 6.14 Read File Record
    case 20:
      remember(pdu, conversation, key, 0, 0, readFileRequest(r, emit, pdu, conversation, key));
      return;
    // 6.15 Write File Record
    case 21:
      remember(pdu, conversation, key, 0, 0, writeFile(r, emit, pdu, conversation));
      return;
    // 6.16 Mask Write Register
    case 22: {
      const address = maskWrite(r, pdu);
      remember(pdu, conversation, key, address, 1, (pdu.and_mask << 16) | pdu.or_mask);
      return;
    }
    // 6.17 Read/Write Multiple Registers: this row is the write, its response's is the read
    case 23: {
      const readAddress = r.u16();
      const readQuantity = r.u16();
      const writeAddress = r.u16();
      const writeQuantity = r.u16();
      const byteCount = r.u8();
      pdu.read_address = readAddress;
      pdu.read_quantity = readQuantity;
      pdu.write_address = writeAddress;
      pdu.write_quantity = writeQuantity;
      pdu.byte_count = byteCount;
      range(pdu, conversation, Space.holding_registers, readAddress, readQuantity, MAX_REGISTERS_READ);
      range(pdu, conversation, Space.holding_registers, writeAddress, writeQuantity, MAX_REGISTERS_WRITTEN_23);
      if (byteCount !== writeQuantity * 2) conversation.anomaly(pdu, 'byte_count_mismatch');
      registers(r, pdu, byteCount);
      remember(pdu, conversation, key, readAddress, readQuantity, (writeAddress << 16) | writeQuantity);
      return;
    }
    // 6.18 Read FIFO Queue
    case 24: {
      const address = r.u16();
      pdu.address = address;
      pdu.target(Space.fifo, address, address);
      remember(pdu, conversation, key, address, 0, 0);
      return;
    }
    // 6.19 Encapsulated Interface Transport
    case 43: {
      const meiType = r.u8();
      pdu.mei_type = meiType;
      if (meiType === 14) {
        pdu.operation = Operation.identify;
        const code = r.u8();
        const objectId = r.u8();
        pdu.read_device_id_code = code;
        pdu.object_id = objectId;
        if (code < 1 || code > 4) conversation.anomaly(pdu, 'illegal_value');
        remember(pdu, conversation, key, meiType, code, objectId);
      } else {
        pdu.data = r.rest();
        remember(pdu, conversation, key, meiType, 0, 0);
      }
      return;
    }
    case 90:
      remember(pdu, conversation, key, umasRequest(r, pdu, conversation), 0, 0);
      return;
    default:
      pdu.data = r.rest();
      remember(pdu, conversation, key, 0, 0, 0);
  }
}

function response(
  r: Reader,
  emit: Emit,
  pdu: ModbusRow,
  conversation: ModbusConversation,
  key: number,
  functionCode: number,
): void {
  const { transactions } = conversation.state;
  const slot = match(pdu, conversation, key);
  switch (functionCode) {
    case 1:
    case 2: {
      const byteCount = r.u8();
      pdu.byte_count = byteCount;
      if (byteCount !== r.remaining && !r.truncated) byteCountIsOff(r, pdu, conversation, byteCount);
      let quantity = byteCount * 8;
      if (slot >= 0) {
        const asked = transactions.quantity(slot);
        join(pdu, READ_SPACES[functionCode], transactions.address(slot), asked);
        if (byteCount !== (asked + 7) >> 3) conversation.anomaly(pdu, 'quantity_mismatch');
        else quantity = asked;
      }
      bits(r, pdu, byteCount, quantity);
      return;
    }
    case 3:
    case 4:
    case 23: {
      const byteCount = r.u8();
      pdu.byte_count = byteCount;
      if (slot >= 0) {
        const asked = transactions.quantity(slot);
        const space = functionCode === 4 ? Space.input_registers : Space.holding_registers;
        join(pdu, space, transactions.address(slot), asked);
        if (byteCount !== asked * 2) conversation.anomaly(pdu, 'quantity_mismatch');
      }
      if (functionCode === 23) pdu.operation = Operation.read;
      if (byteCount !== r.remaining || (byteCount & 1) !== 0) byteCountIsOff(r, pdu, conversation, byteCount);
      registers(r, pdu, byteCount);
      return;
    }
    case 5: {
      const address = writeSingleCoil(r, pdu, conversation);
      if (slot >= 0) echo(pdu, conversation, slot, address, 1, pdu.output_value);
      return;
    }
    case 6: {
      const address = r.u16();
      const value = r.u16();
      pdu.address = address;
      pdu.register_values.push(value);
      pdu.target(Space.holding_registers, address, address);
      if (slot >= 0) echo(pdu, conversation, slot, address, 1, value);
      return;
    }
    case 7:
      pdu.exception_status = r.u8();
      return;
    case 8: {
      const subFunction = diagnostics(r, pdu);
      if (slot >= 0) echo(pdu, conversation, slot, subFunction, 0, 0);
      return;
    }
    case 11:
      pdu.comm_status = r.u16();
      pdu.event_count = r.u16();
      return;
    case 12: {
      const byteCount = r.u8();
      pdu.byte_count = byteCount;
      pdu.comm_status = r.u16();
      pdu.event_count = r.u16();
      pdu.message_count = r.u16();
      const { events } = pdu;
      for (let left = byteCount - 6; left > 0 && r.remaining > 0; left--) events.push(r.u8());
      return;
    }
    case 15: {
      const address = r.u16();
      const quantity = r.u16();
      pdu.address = address;
      pdu.bit_quantity = quantity;
      range(pdu, conversation, Space.coils, address, quantity, MAX_BITS_WRITTEN);
      if (slot >= 0) echo(pdu, conversation, slot, address, quantity, 0);
      return;
    }
    case 16: {
      const address = r.u16();
      const quantity = r.u16();
      pdu.address = address;
      pdu.register_quantity = quantity;
      range(pdu, conversation, Space.holding_registers, address, quantity, MAX_REGISTERS_WRITTEN);
      if (slot >= 0) echo(pdu, conversation, slot, address, quantity, 0);
      return;
    }
    case 17:
      serverId(r, pdu, conversation);
      return;
    case 20:
      readFileResponse(r, emit, pdu, conversation, slot >= 0 && conversation.state.file_requests?.key === key);
      return;
    case 21: {
      const detail = writeFile(r, emit, pdu, conversation);
      if (slot >= 0) echo(pdu, conversation, slot, 0, 0, detail);
      return;
    }
    case 22: {
      const address = maskWrite(r, pdu);
      if (slot >= 0) echo(pdu, conversation, slot, address, 1, (pdu.and_mask << 16) | pdu.or_mask);
      return;
    }
    case 24: {
      const byteCount = r.u16();
      const count = r.u16();
      pdu.fifo_byte_count = byteCount;
      pdu.register_quantity = count;
      if (count > MAX_FIFO_COUNT) conversation.anomaly(pdu, 'quantity_out_of_range');
      if (byteCount !== 2 + count * 2) conversation.anomaly(pdu, 'byte_count_mismatch');
      if (slot >= 0) {
        const address = transactions.address(slot);
        pdu.request_address = address;
        pdu.target(Space.fifo, address, address);
      }
      registers(r, pdu, count * 2);
      return;
    }
    case 43: {
      const meiType = r.u8();
      pdu.mei_type = meiType;
      if (slot >= 0 && transactions.address(slot) !== meiType) conversation.anomaly(pdu, 'echo_mismatch');
      if (meiType === 14) deviceIdentification(r, emit, pdu, conversation);
      else pdu.data = r.rest();
      return;
    }
    case 90:
      umasResponse(r, pdu, conversation, slot);
      return;
    default:
      pdu.data = r.rest();
  }
}

/** Clause 7. What was refused is joined, so that the row says which address or function the client tried. */
function exception(r: Reader, pdu: ModbusRow, conversation: ModbusConversation, key: number): void {
  const { transactions } = conversation.state;
  const slot = match(pdu, conversation, key);
  const functionCode = key & 0x7f;
  const exceptionCode = r.u8();
  pdu.operation = Operation.error;
  pdu.exception_code = exceptionCode;
  if (EXCEPTION_NAMES[exceptionCode] === undefined) conversation.anomaly(pdu, 'unknown_exception_code');
  if (slot < 0) return;
  const address = transactions.address(slot);
  const quantity = transactions.quantity(slot);
  switch (functionCode) {
    case 1:
    case 2:
    case 3:
    case 4:
      join(pdu, READ_SPACES[functionCode], address, quantity);
      return;
    case 5:
    case 15:
      join(pdu, Space.coils, address, quantity);
      return;
    case 6:
    case 16:
    case 22:
    case 23:
      join(pdu, Space.holding_registers, address, quantity);
      return;
    case 24:
      pdu.request_address = address;
      pdu.target(Space.fifo, address, address);
      return;
    case 90:
      pdu.umas_function = address;
  }
}

// --- Parts ----------------------------------------------------------------------------------------------------------------

function range(
  pdu: ModbusRow,
  conversation: ModbusConversation,
  space: number,
  address: number,
  quantity: number,
  most: number,
): void {
  pdu.target(space, address, quantity > 1 ? address + quantity - 1 : address);
  if (quantity === 0 || quantity > most) conversation.anomaly(pdu, 'quantity_out_of_range');
  if (address + quantity > 0x10000) conversation.anomaly(pdu, 'address_out_of_range');
}

function registers(r: Reader, pdu: ModbusRow, byteCount: number): void {
  const { register_values } = pdu;
  const there = r.remaining;
  const size = Math.min(byteCount, there);
  for (let left = size >> 1; left > 0; left--) register_values.push(r.u16());
  if (size < byteCount) r.skip(byteCount - (size & ~1));
  else if ((byteCount & 1) !== 0) r.skip(1);
}

/** 6.1: the least significant bit of the first byte is the first coil; the last byte is padded with zeros. */
function bits(r: Reader, pdu: ModbusRow, byteCount: number, quantity: number): void {
  const { bit_values } = pdu;
  const there = r.remaining;
  let left = quantity;
  for (let i = Math.min(byteCount, there); i > 0; i--) {
    let octet = r.u8();
    for (let bit = Math.min(left, 8); bit > 0; bit--) {
      bit_values.push(octet & 1);
      octet >>= 1;
    }
    left = left < 8 ? 0 : left - 8;
  }
  if (there < byteCount) r.skip(byteCount - there);
}

/** A reader that ends early was cut by the capture or is malformed, which the engine says; what is left over is ours to say. */
function byteCountIsOff(r: Reader, pdu: ModbusRow, conversation: ModbusConversation, byteCount: number): void {
  if (r.remaining > byteCount || (byteCount & 1 && pdu.function_code > 2)) conversation.anomaly(pdu, 'byte_count_mismatch');
}

function writeSingleCoil(r: Reader, pdu: ModbusRow, conversation: ModbusConversation): number {
  const address = r.u16();
  const value = r.u16();
  pdu.address = address;
  pdu.output_value = value;
  pdu.target(Space.coils, address, address);
  if (value === 0 || value === 0xff00) pdu.bit_values.push(value >> 15);
  else if (!r.truncated) conversation.anomaly(pdu, 'illegal_value');
  return address;
}

function maskWrite(r: Reader, pdu: ModbusRow): number {
  const address = r.u16();
  pdu.address = address;
  pdu.and_mask = r.u16();
  pdu.or_mask = r.u16();
  pdu.target(Space.holding_registers, address, address);
  return address;
}

function diagnostics(r: Reader, pdu: ModbusRow): number {
  const subFunction = r.u16();
  pdu.sub_function = subFunction;
  if (subFunction === 1) pdu.operation = Operation.restart;
  else if (subFunction === 4) pdu.operation = Operation.mode_change;
  if (subFunction === 0 || DIAGNOSTIC_NAMES[subFunction] === undefined) pdu.data = r.rest();
  else pdu.diagnostic_data = r.u16();
  return subFunction;
}

/** 6.8.1: the data field that a request must have. */
function isDiagnosticRequest(subFunction: number, pdu: ModbusRow): boolean {
  switch (subFunction) {
    case 1:
      return pdu.diagnostic_data === 0 || pdu.diagnostic_data === 0xff00;
    case 3:
      return (pdu.diagnostic_data & 0xff) === 0;
    case 0:
    case 21:
      return true;
    default:
      return DIAGNOSTIC_NAMES[subFunction] !== undefined && pdu.diagnostic_data === 0;
  }
}

/** The part of the device that a unit identifier names: Messaging on TCP/IP, 4.4.2.2, keeps 0 and 255 for the device itself. */
const partOf = (unit: number): string => (unit === 0 || unit === 255 ? '' : `unit ${unit}`);

/** 6.13: server ID and additional data are device specific; the run indicator is where one-byte IDs put it. */
function serverId(r: Reader, pdu: ModbusRow, conversation: ModbusConversation): void {
  const byteCount = r.u8();
  pdu.byte_count = byteCount;
  const indicator = r.peekU8(1);
  if (byteCount >= 2 && r.remaining >= 2 && (indicator === 0 || indicator === 0xff)) pdu.run_indicator = indicator;
  const data = r.span(byteCount);
  pdu.data = data;
  const description = printableTail(r.bytes, data);
  if (description !== 0)
    conversation.identify('sender', 'description', spanText(r.bytes, description), 'modbus.data', partOf(pdu.unit));
}

const MIN_DESCRIPTION = 4;

/** The printable text at the end of the bytes, without the NULs and blanks that pad it; 0 if it is too short. */
function printableTail(source: Uint8Array, s: Span): Span | 0 {
  const first = spanStart(s);
  let end = first + spanLength(s);
  while (end > first && (source[end - 1] === 0 || source[end - 1] === 0x20)) end--;
  let start = end;
  while (start > first && source[start - 1] >= 0x20 && source[start - 1] < 0x7f) start--;
  return end - start >= MIN_DESCRIPTION ? spanAt(start, end - start) : 0;
}

/** 6.21. */
function deviceIdentification(r: Reader, emit: Emit, pdu: ModbusRow, conversation: ModbusConversation): void {
  pdu.operation = Operation.identify;
  pdu.read_device_id_code = r.u8();
  pdu.conformity_level = r.u8();
  pdu.more_follows = r.u8();
  pdu.next_object_id = r.u8();
  const count = r.u8();
  pdu.object_count = count;
  const { unit } = pdu;
  const part = partOf(unit);
  let productCode = '';
  let modelIsNamed = false;
  for (let i = 0; i < count; i++) {
    if (r.remaining < 2) {
      r.skip(2);
      return;
    }
    const object = emit(ModbusObject);
    object.unit = unit;
    object.operation = Operation.identify;
    const id = r.u8();
    const length = r.u8();
    object.object_id = id;
    object.object_length = length;
    const value = r.span(length);
    if (id >= 0x80) {
      object.private_value = value;
      continue;
    }
    object.object_value = value;
    if (r.truncated || OBJECT_NAMES[id] === undefined) continue;
    const said = spanText(r.bytes, value).trim();
    if (id === 0) conversation.identify('sender', 'vendor', said, 'modbus_object.object_value', part);
    else if (id === 1) productCode = said;
    else if (id === 2) conversation.identify('sender', 'firmware', said, 'modbus_object.object_value', part);
    else if (id === 4) conversation.identify('sender', 'description', said, 'modbus_object.object_value', part);
    else if (id === 6) conversation.identify('sender', 'application', said, 'modbus_object.object_value', part);
    else if (id === 5 && said !== '') {
      modelIsNamed = true;
      conversation.identify('sender', 'model', said, 'modbus_object.object_value', part);
    }
  }
  // Devices of the basic level have no model name; their product code is what they are known by.
  conversation.identify('sender', 'order_code', productCode, 'modbus_object.object_value', part);
  if (!modelIsNamed) conversation.identify('sender', 'model', productCode, 'modbus_object.object_value', part);
}

/** 6.14: a sub-request is reference type, file, record, length. Gives the number that tells requests apart. */
function readFileRequest(r: Reader, emit: Emit, pdu: ModbusRow, conversation: ModbusConversation, key: number): number {
  const { state } = conversation;
  const byteCount = r.u8();
  pdu.byte_count = byteCount;
  if (byteCount < 7 || byteCount > 0xf5 || byteCount % 7 !== 0) conversation.anomaly(pdu, 'byte_count_mismatch');
  state.file_requests ??= { key, numbers: [] };
  state.file_requests.key = key;
  const { numbers } = state.file_requests;
  numbers.length = 0;
  let sum = byteCount;
  const outer = r.enter(byteCount);
  while (r.remaining > 0) {
    const sub = fileRecord(r, emit, pdu, conversation);
    const fileNumber = r.u16();
    const recordNumber = r.u16();
    const recordLength = r.u16();
    sub.file_number = fileNumber;
    sub.record_number = recordNumber;
    sub.record_length = recordLength;
    sub.target(Space.file + fileNumber, recordNumber, recordLength > 1 ? recordNumber + recordLength - 1 : recordNumber);
    if (numbers.length < MAX_SUB_REQUESTS * 3) numbers.push(fileNumber, recordNumber, recordLength);
    sum = (Math.imul(sum, 31) + fileNumber * 7 + recordNumber * 3 + recordLength) | 0;
  }
  r.leave(outer);
  return sum;
}

const NONE_ASKED: readonly number[] = [];

/** 6.14: a sub-response is its length, reference type, data; in the order of the sub-requests. */
function readFileResponse(r: Reader, emit: Emit, pdu: ModbusRow, conversation: ModbusConversation, isJoined: boolean): void {
  const asked = isJoined ? (conversation.state.file_requests?.numbers ?? NONE_ASKED) : NONE_ASKED;
  const byteCount = r.u8();
  pdu.byte_count = byteCount;
  const outer = r.enter(byteCount);
  for (let i = 0; r.remaining > 0; i++) {
    const length = r.u8();
    const sub = fileRecord(r, emit, pdu, conversation);
    sub.byte_count = length;
    if (i * 3 < asked.length) {
      const fileNumber = asked[i * 3];
      const recordNumber = asked[i * 3 + 1];
      const recordLength = asked[i * 3 + 2];
      sub.file_number = fileNumber;
      sub.record_number = recordNumber;
      sub.target(Space.file + fileNumber, recordNumber, recordLength > 1 ? recordNumber + recordLength - 1 : recordNumber);
      if (length !== 1 + recordLength * 2) conversation.anomaly(sub, 'quantity_mismatch');
    }
    recordData(r, sub, length - 1);
  }
  r.leave(outer);
}

/** 6.15: request and response are the same. Gives the number that tells requests apart. */
function writeFile(r: Reader, emit: Emit, pdu: ModbusRow, conversation: ModbusConversation): number {
  const byteCount = r.u8();
  pdu.byte_count = byteCount;
  if (byteCount < 9 || byteCount > 0xfb) conversation.anomaly(pdu, 'byte_count_mismatch');
  let sum = byteCount;
  const outer = r.enter(byteCount);
  while (r.remaining > 0) {
    const sub = fileRecord(r, emit, pdu, conversation);
    const fileNumber = r.u16();
    const recordNumber = r.u16();
    const recordLength = r.u16();
    sub.file_number = fileNumber;
    sub.record_number = recordNumber;
    sub.record_length = recordLength;
    sub.target(Space.file + fileNumber, recordNumber, recordLength > 1 ? recordNumber + recordLength - 1 : recordNumber);
    recordData(r, sub, recordLength * 2);
    sum = (Math.imul(sum, 31) + fileNumber * 7 + recordNumber * 3 + recordLength) | 0;
  }
  r.leave(outer);
  return sum;
}

function fileRecord(r: Reader, emit: Emit, pdu: ModbusRow, conversation: ModbusConversation): FileRecordRow {
  const { unit } = pdu;
  const sub = emit(ModbusFileRecord);
  sub.unit = unit;
  sub.operation = Operation.file;
  const referenceType = r.u8();
  sub.reference_type = referenceType;
  if (referenceType !== 6) conversation.anomaly(sub, 'illegal_value');
  return sub;
}

function recordData(r: Reader, sub: FileRecordRow, size: number): void {
  const { record_data } = sub;
  const there = r.remaining;
  for (let left = Math.min(size, there) >> 1; left > 0; left--) record_data.push(r.u16());
  if (size > there) r.skip(size);
  else if (size > 0 && (size & 1) !== 0) r.skip(1);
}

const UMAS_READ_ID = 0x02;
const UMAS_READ_PROJECT_INFO = 0x03;
const UMAS_TAKE_PLC_RESERVATION = 0x10;
const UMAS_NAME_LENGTH_AT = 22;

/** A reservation says which station takes the controller. */
function umasRequest(r: Reader, pdu: ModbusRow, conversation: ModbusConversation): number {
  pdu.umas_session = r.u8();
  const umasFunction = r.u8();
  pdu.umas_function = umasFunction;
  pdu.operation = UMAS_OPERATIONS[umasFunction] as typeof pdu.operation;
  const data = r.rest();
  pdu.data = data;
  if (umasFunction === UMAS_TAKE_PLC_RESERVATION) {
    const name = namedTail(r.bytes, data);
    if (name !== 0) conversation.identify('sender', 'name', spanText(r.bytes, name), 'modbus.data');
  }
  return umasFunction;
}

/** The text at the end of the bytes, if its length, with or without a closing NUL, stands before it; else 0. */
function namedTail(source: Uint8Array, s: Span): Span | 0 {
  const name = printableTail(source, s);
  if (name === 0 || spanStart(name) === spanStart(s)) return 0;
  const stated = source[spanStart(name) - 1];
  return stated === spanLength(name) || stated === spanLength(name) + 1 ? name : 0;
}

/** Function 90 answers with a result in the place of the UMAS function; the function is the request's. */
function umasResponse(r: Reader, pdu: ModbusRow, conversation: ModbusConversation, slot: number): void {
  pdu.umas_session = r.u8();
  const result = r.u8();
  pdu.umas_result = result;
  const umasFunction = slot < 0 ? -1 : conversation.state.transactions.address(slot);
  if (umasFunction >= 0) pdu.umas_function = umasFunction;
  if (result === 0xfd) pdu.operation = Operation.error;
  else if (umasFunction >= 0) pdu.operation = UMAS_OPERATIONS[umasFunction] as typeof pdu.operation;
  const data = r.rest();
  pdu.data = data;
  if (result !== 0xfe) return;
  if (umasFunction === UMAS_READ_PROJECT_INFO) {
    const application = namedTail(r.bytes, data);
    if (application !== 0)
      conversation.identify('sender', 'application', spanText(r.bytes, application), 'modbus.data', partOf(pdu.unit));
  }
  if (umasFunction !== UMAS_READ_ID || spanLength(data) <= UMAS_NAME_LENGTH_AT) return;
  // Fixed fields, then the name of the controller with its length before it.
  const at = spanStart(data) + UMAS_NAME_LENGTH_AT;
  const size = r.bytes[at];
  if (size < MIN_DESCRIPTION || UMAS_NAME_LENGTH_AT + 1 + size > spanLength(data)) return;
  const name = spanAt(at + 1, size);
  if (printableTail(r.bytes, name) === 0) return;
  conversation.identify('sender', 'vendor', 'Schneider Electric', 'modbus.function_code', partOf(pdu.unit));
  conversation.identify('sender', 'model', spanText(r.bytes, name), 'modbus.data', partOf(pdu.unit));
}
