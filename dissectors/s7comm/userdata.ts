import { type Emit, Operation, type OperationCode, type Reader, Role } from '../../src/dissect/index.ts';
import { readAlarm, readAlarmQueryAnswer } from './alarms.ts';
import { readBlockCounts, readBlockInfo, readBlockInfoRequest, readBlockList, readKind } from './blocks.ts';
import { elementOf, itemOperation, readAddress, readData, type S7Row } from './items.ts';
import { BLOCK, CPU, CYCLIC, GROUP, MESSAGE, NC, SECURITY, SERVICE_NAMES, SYNTAX, TIME } from './names.ts';
import { readTest, testOperation } from './programmer.ts';
import { Item, Szl } from './records.ts';
import { JOB, type S7Conversation } from './state.ts';
import { readSzl, readSzlId, szlOperation } from './szl.ts';
import { readDateAndTime } from './time.ts';

/** What a service does. Requests for status lists are told apart by the list, test jobs by what they do. */
function operationOf(group: number, subfunction: number, message: number): OperationCode {
  switch (group) {
    case GROUP.mode_transition:
      return Operation.mode_change;
    case GROUP.programmer:
      return message === MESSAGE.push ? Operation.report : testOperation(subfunction);
    case GROUP.cyclic:
      if (subfunction === CYCLIC.read_record) return Operation.read;
      return message === MESSAGE.push ? Operation.report : Operation.subscribe;
    case GROUP.block:
      return Operation.diagnostics;
    case GROUP.cpu:
      return cpuOperation(subfunction);
    case GROUP.security:
      return Operation.authenticate;
    case GROUP.pbc:
      // BSEND puts data into the partner.
      return Operation.write;
    case GROUP.time:
      return subfunction === TIME.set_clock || subfunction === TIME.set_clock_2 ? Operation.time_sync : Operation.read;
    case GROUP.nc_programming:
      return subfunction >= NC.start_upload ? Operation.program_upload : Operation.program_download;
    default:
      return Operation.other;
  }
}

function cpuOperation(subfunction: number): OperationCode {
  switch (subfunction) {
    case CPU.read_szl:
    case CPU.alarm_query:
      return Operation.diagnostics;
    case CPU.message_service:
      return Operation.subscribe;
    case CPU.alarm_8_lock:
    case CPU.alarm_8_unlock:
      return Operation.configure;
    case CPU.alarm_acknowledge:
      return Operation.control;
    default:
      return Operation.report;
  }
}

/** What is known of the message at hand. One for all: PDUs are read one at a time, and none is allocated a PDU. */
interface Message {
  group: number;
  subfunction: number;
  kind: number;
  operation: OperationCode;
  /** The job: its own for a request, the one answered for a response, -1 none. */
  slot: number;
}
const message: Message = { group: 0, subfunction: 0, kind: 0, operation: Operation.other, slot: -1 };

/** User data parameters: head, length, method, kind and group, subfunction, sequence; in answers also part, end, error. */
export function readUserdataParameters(r: Reader, row: S7Row): void {
  row.parameter_head = r.u24();
  const size = r.u8();
  row.userdata_length = size;
  row.method = r.u8();
  const kindAndGroup = r.u8();
  row.message = kindAndGroup >> 4;
  const group = kindAndGroup & 0x0f;
  row.function_group = group;
  const subfunction = r.u8();
  if (group === GROUP.mode_transition) row.current_mode = subfunction;
  else {
    row.subfunction = subfunction;
    row.service = group * 256 + subfunction;
  }
  row.sequence_number = r.u8();
  if (size < 8 || r.remaining < 4) return;
  row.data_unit_reference = r.u8();
  row.last_data_unit = r.u8();
  row.error = r.u16();
}

export const userdataOperation = (row: S7Row): OperationCode =>
  operationOf(row.function_group, row.function_group === GROUP.mode_transition ? row.current_mode : row.subfunction, row.message);

/** Who sends it: programming devices and panels ask, CPUs answer and push. Partners of block communication are equals. */
export function userdataRole(row: S7Row): number {
  if (row.function_group === GROUP.pbc || row.function_group === GROUP.nc_programming) return Role.unknown;
  return row.message === MESSAGE.request ? Role.client : Role.server;
}

/** The data part: result, kind and length, then the message or a part of it. */
export function readUserdata(r: Reader, row: S7Row, emit: Emit, slot: number, conversation: S7Conversation): void {
  const group = row.function_group;
  const subfunction = group === GROUP.mode_transition ? row.current_mode : row.subfunction;
  message.group = group;
  message.subfunction = subfunction;
  message.kind = row.message;
  message.operation = row.operation;
  message.slot = slot;
  if (group !== GROUP.mode_transition && SERVICE_NAMES[group * 256 + subfunction] === undefined)
    conversation.anomaly(row, 'unknown_function');
  if (r.remaining < 4) return;
  row.return_code = r.u8();
  row.transport_size = r.u8();
  const size = r.u16();
  row.payload_length = size;
  if (size > r.remaining) conversation.anomaly(row, 'length_mismatch');
  const outer = r.enter(size);
  const whole = joinParts(r, row, conversation);
  if (whole !== null) {
    readMessage(whole, row, emit, conversation);
    if (whole !== r && whole.truncated) r.truncated = true;
  }
  r.leave(outer);
}

/** Where a message comes in several PDUs: null until it is whole, then a reader over all of it. */
function joinParts(r: Reader, row: S7Row, conversation: S7Conversation): Reader | null {
  if (!row.has('data_unit_reference')) return r;
  const reference = row.data_unit_reference;
  const more = row.last_data_unit !== 0;
  if (reference === 0 && !more) return r;
  const { state } = conversation;
  const key =
    ((((message.group * 256 + message.subfunction) * 256 + row.sequence_number) * 256 + reference) * 16 + message.kind) * 2 +
    conversation.direction;
  let known = state.findMessage(key);
  if (more) {
    known ??= state.newMessage(key);
    known.append(r);
    if (known.overflow) conversation.anomaly(row, 'message_too_long');
    return null;
  }
  if (known === null) {
    // The answer to a first request is whole, whatever reference it carries (snap7's server puts its block count there).
    if (message.slot >= 0 && state.jobs.get(message.slot, JOB.sequence) === 0) return r;
    // A request that asks for the next part names the message, too, and carries nothing.
    if (r.remaining > 0) conversation.anomaly(row, 'missing_part');
    return null;
  }
  known.append(r);
  known.key = -1;
  if (known.overflow) {
    conversation.anomaly(row, 'message_too_long');
    return null;
  }
  row.joined_length = known.length;
  return state.joined.reset(known.bytes, 0, known.length);
}

function readMessage(r: Reader, row: S7Row, emit: Emit, conversation: S7Conversation): void {
  const { group, kind } = message;
  if (r.remaining === 0) {
    if (group === GROUP.cpu && message.subfunction === CPU.read_szl && kind === MESSAGE.response) joinSzl(emit, conversation);
    return;
  }
  switch (group) {
    case GROUP.programmer:
      readTest(r, row, emit, message.subfunction, kind, conversation);
      return;
    case GROUP.cyclic:
      readCyclic(r, row, emit, conversation);
      return;
    case GROUP.block:
      readBlockFunction(r, row, emit, conversation);
      return;
    case GROUP.cpu:
      readCpuFunction(r, row, emit, conversation);
      return;
    case GROUP.security:
      if (message.subfunction === SECURITY.password && kind === MESSAGE.request) readPassword(r, row);
      return;
    case GROUP.time:
      readClock(r, row, conversation);
      return;
    case GROUP.pbc:
      readBlockSend(r, row, emit, conversation);
      return;
  }
  row.unread_data = r.rest();
}

/** An answer without a list (refused, or not there) is about the list that was asked for. */
function joinSzl(emit: Emit, conversation: S7Conversation): void {
  if (message.slot < 0) return;
  const { jobs } = conversation.state;
  const id = jobs.get(message.slot, JOB.szl_id);
  if (id < 0) return;
  const row = emit(Szl);
  row.operation = message.operation;
  row.request_szl_id = id;
  row.request_szl_index = jobs.get(message.slot, JOB.szl_index);
}

function readCpuFunction(r: Reader, row: S7Row, emit: Emit, conversation: S7Conversation): void {
  const { subfunction, kind } = message;
  if (subfunction === CPU.read_szl) {
    if (kind === MESSAGE.request) readSzlRequest(r, row, emit, conversation);
    else readSzl(r, emit, conversation);
    return;
  }
  if (subfunction === CPU.message_service) {
    readMessageService(r, row);
    return;
  }
  if (subfunction === CPU.alarm_query && kind === MESSAGE.response) {
    readAlarmQueryAnswer(r, emit, message.operation, conversation);
    return;
  }
  if (subfunction === CPU.diagnostic_message) {
    row.unread_data = r.rest();
    return;
  }
  if (subfunction >= CPU.alarm_8_indication && subfunction <= CPU.notify_8_indication) {
    readAlarm(r, subfunction, kind, emit, message.operation, conversation);
    return;
  }
  row.unread_data = r.rest();
}

function readSzlRequest(r: Reader, row: S7Row, emit: Emit, conversation: S7Conversation): void {
  const szl = emit(Szl);
  szl.bytes = r.bytes;
  const id = readSzlId(r, szl);
  const operation = szlOperation(id);
  szl.operation = operation;
  row.operation = operation;
  if (message.slot < 0) return;
  const { jobs } = conversation.state;
  jobs.set(message.slot, JOB.szl_id, id);
  jobs.set(message.slot, JOB.szl_index, szl.szl_index);
  jobs.set(message.slot, JOB.operation, operation);
}

/** Subscription of messages: events, reserved, user name, and for alarms their service; answered by a result. */
function readMessageService(r: Reader, row: S7Row): void {
  if (message.kind !== MESSAGE.request) {
    row.result = r.u8();
    if (r.remaining < 2) return;
    r.skip(1);
    row.alarm_service = r.u8();
    return;
  }
  const events = r.u8();
  row.events = events;
  r.skip(1);
  row.username = r.text(8);
  if ((events & 0x80) !== 0 && r.remaining >= 1) row.alarm_service = r.u8();
}

function readBlockFunction(r: Reader, row: S7Row, emit: Emit, conversation: S7Conversation): void {
  const { subfunction, kind, operation, slot } = message;
  const isRequest = kind === MESSAGE.request;
  const { jobs } = conversation.state;
  switch (subfunction) {
    case BLOCK.list:
      if (!isRequest) readBlockCounts(r, emit, operation);
      return;
    case BLOCK.list_type:
      if (isRequest) {
        const type = readKind(r);
        if (type < 0) conversation.anomaly(row, 'invalid_block_name');
        else row.block_kind = type;
        if (slot >= 0) jobs.set(slot, JOB.block, type);
      } else readBlockList(r, slot >= 0 ? jobs.get(slot, JOB.block) : -1, emit, operation);
      return;
    case BLOCK.info:
      if (isRequest) readBlockInfoRequest(r, row, slot, conversation);
      else readBlockInfo(r, emit, operation);
      return;
  }
  row.unread_data = r.rest();
}

/** Only that there is one, and how long it is. On the wire each byte is mixed with the one two before it; padding is 0x20. */
function readPassword(r: Reader, row: S7Row): void {
  let previous = 0;
  let beforePrevious = 0;
  let length = 0;
  for (let i = 0; i < 8 && r.remaining > 0; i++) {
    const byte = r.u8();
    const plain = byte ^ 0x55 ^ beforePrevious;
    if (plain !== 0x20 && plain !== 0) length = i + 1;
    beforePrevious = previous;
    previous = byte;
  }
  row.password_length = length;
}

/** A reserved byte, the century, DATE_AND_TIME. */
function readClock(r: Reader, row: S7Row, conversation: S7Conversation): void {
  if (r.remaining < 10) return;
  r.skip(2);
  const value = readDateAndTime(r);
  if (Number.isNaN(value) || value === 0) conversation.anomaly(row, 'invalid_time');
  else row.clock = value;
}

const TIME_BASES_MS = [100, 1000, 10_000];

/** Cyclic and change-driven transfer: items and interval; answered by data, first in the response, then in pushes. */
function readCyclic(r: Reader, row: S7Row, emit: Emit, conversation: S7Conversation): void {
  const { subfunction, kind, operation } = message;
  if (subfunction === CYCLIC.unsubscribe) {
    if (kind !== MESSAGE.request) return;
    row.job_function = r.u8();
    row.job_id = r.u8();
    return;
  }
  if (subfunction === CYCLIC.read_record) {
    readDataRecords(r, row, emit, conversation);
    return;
  }
  if (subfunction !== CYCLIC.transfer && subfunction !== CYCLIC.change_driven && subfunction !== CYCLIC.change_driven_modify) {
    row.unread_data = r.rest();
    return;
  }
  const count = r.u16();
  row.item_count = count;
  if (kind === MESSAGE.request) {
    const base = r.u8();
    const factor = r.u8();
    row.time_base = base;
    row.time_factor = factor;
    if (base < TIME_BASES_MS.length) row.interval_ms = TIME_BASES_MS[base] * factor;
    let index = 0;
    for (; index < count && r.remaining >= 3; index++) {
      readAddress(r, index, emit, operation, null, conversation);
      if (index + 1 < count) alignItem(r, row);
    }
    if (index < count) conversation.anomaly(row, 'item_count_mismatch');
    return;
  }
  readResults(r, row, count, emit, conversation);
}

/** Address specifications are even: a fill byte follows an odd one. */
function alignItem(r: Reader, _row: S7Row): void {
  if (r.peekU8(0) === 0 && r.peekU8(1) === 0x12) r.skip(1);
}

function readResults(r: Reader, row: S7Row, count: number, emit: Emit, conversation: S7Conversation): void {
  let index = 0;
  for (; index < count && r.remaining >= 4; index++) {
    const item = emit(Item);
    item.bytes = r.bytes;
    item.item_index = index;
    readData(r, item, elementOf(r.peekU8(1)), index + 1 === count, conversation);
    item.operation = itemOperation(item, message.operation);
  }
  if (index < count) conversation.anomaly(row, 'item_count_mismatch');
}

/** BSEND: the R_ID in an address of its own, length, bytes. */
function readBlockSend(r: Reader, row: S7Row, emit: Emit, conversation: S7Conversation): void {
  if (r.peekU8(0) !== 0x12 || r.peekU8(2) !== SYNTAX.pbc_r_id) {
    row.unread_data = r.rest();
    return;
  }
  const item = readAddress(r, 0, emit, message.operation, null, conversation);
  if (r.remaining < 2) return;
  const size = r.u16();
  item.sent_length = size;
  item.data = r.span(Math.min(size, r.remaining));
}

/** Read data record: a reserved byte, count, addresses; answered by results, each with a status and the record. */
function readDataRecords(r: Reader, row: S7Row, emit: Emit, conversation: S7Conversation): void {
  r.skip(1);
  const count = r.u8();
  row.item_count = count;
  let index = 0;
  if (message.kind === MESSAGE.request) {
    for (; index < count && r.remaining >= 3; index++) readAddress(r, index, emit, message.operation, null, conversation);
  } else {
    for (; index < count && r.remaining >= 4; index++) readDataRecord(r, index, emit);
  }
  if (index < count) conversation.anomaly(row, 'item_count_mismatch');
}

function readDataRecord(r: Reader, index: number, emit: Emit): void {
  const item = emit(Item);
  item.bytes = r.bytes;
  item.item_index = index;
  item.return_code = r.u8();
  item.transport_size = r.u8();
  item.operation = itemOperation(item, message.operation);
  const status = r.u8();
  item.status_length = status;
  // Status and its length together are even.
  r.skip(status + (status % 2 === 0 ? 1 : 0));
  if (r.remaining < 2) return;
  const size = r.u16();
  item.record_size = size;
  item.data = r.span(size);
}
