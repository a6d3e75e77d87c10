import {
  defineDissector,
  type Emit,
  Match,
  Operation,
  type OperationCode,
  type Reader,
  Role,
  within,
} from '../../src/dissect/index.ts';
import { readPiService, readPlcStop, readTransferAnswer, readTransferData, readTransferJob } from './blocks.ts';
import { elementFor, type ItemRow, itemOperation, joinRequest, readAddress, readData, type S7Row, targetName } from './items.ts';
import { FUNCTION, FUNCTION_NAMES, GROUP, MESSAGE, ROSCTR } from './names.ts';
import { Item, RECORDS, S7comm } from './records.ts';
import { ANOMALIES, type Anomaly, JOB, type S7Conversation, S7State } from './state.ts';
import { readUserdata, readUserdataParameters, userdataOperation, userdataRole } from './userdata.ts';

const PROTOCOL_ID = 0x32;
const NO_JOB = -1;

/** What a job's function does; a program invocation says more itself. */
function jobOperation(code: number): OperationCode {
  switch (code) {
    case FUNCTION.read_var:
      return Operation.read;
    case FUNCTION.write_var:
      return Operation.write;
    case FUNCTION.request_download:
    case FUNCTION.download_block:
    case FUNCTION.download_ended:
      return Operation.program_download;
    case FUNCTION.start_upload:
    case FUNCTION.upload:
    case FUNCTION.end_upload:
      return Operation.program_upload;
    case FUNCTION.pi_service:
      return Operation.control;
    case FUNCTION.plc_stop:
      return Operation.stop;
    case FUNCTION.setup_communication:
      return Operation.session;
    case FUNCTION.cpu_services:
      return Operation.diagnostics;
    default:
      return Operation.other;
  }
}

/** In a download the CPU fetches the block: it sends these two jobs itself. */
const comesFromServer = (code: number): boolean => code === FUNCTION.download_block || code === FUNCTION.download_ended;

// References are chosen by each side for itself.
const jobKey = (direction: number, reference: number): number => direction * 0x10000 + reference;

/** Remembers a job; gives its slot. */
function putJob(row: S7Row, code: number, conversation: S7Conversation): number {
  const { state, direction } = conversation;
  const { jobs } = state;
  const key = jobKey(direction, row.pdu_reference);
  const waiting = jobs.take(key);
  if (waiting >= 0 && state.answers_seen[1 - direction]) conversation.anomaly(row, 'duplicate_request');
  state.jobs_seen[direction] = true;
  state.clearAnswered(key);
  const slot = jobs.put(key);
  jobs.set(slot, JOB.function, code);
  jobs.set(slot, JOB.first_item, -1);
  jobs.set(slot, JOB.item_count, 0);
  jobs.set(slot, JOB.block, -1);
  jobs.set(slot, JOB.file_system, 0);
  jobs.set(slot, JOB.upload_id, -1);
  jobs.set(slot, JOB.szl_id, -1);
  jobs.set(slot, JOB.szl_index, -1);
  jobs.set(slot, JOB.operation, row.operation);
  return slot;
}

/** The job that this PDU answers, or -1. Its values stay readable until the next job is put. */
function takeJob(row: S7Row, conversation: S7Conversation): number {
  const { state, direction } = conversation;
  const key = jobKey(1 - direction, row.pdu_reference);
  state.answers_seen[direction] = true;
  const slot = state.jobs.take(key);
  if (slot >= 0) state.setAnswered(key);
  else if (state.wasAnswered(key)) conversation.anomaly(row, 'duplicate_response');
  else if (state.jobs_seen[1 - direction]) conversation.anomaly(row, 'unsolicited_response');
  return slot;
}

function readSetup(r: Reader, row: S7Row, isJob: boolean, conversation: S7Conversation): void {
  r.skip(1);
  row.max_amq_calling = r.u16();
  row.max_amq_called = r.u16();
  const size = r.u16();
  row.pdu_length = size;
  if (isJob) conversation.state.pdu_length = 0;
  else if (!r.truncated) conversation.state.pdu_length = size;
}

// Rows of the items of the write job at hand, whose data stand behind all addresses.
const written: ItemRow[] = [];

function readVariablesJob(code: number, r: Reader, row: S7Row, emit: Emit, slot: number, conversation: S7Conversation): void {
  const { jobs, items } = conversation.state;
  const { operation } = row;
  const count = r.u8();
  row.item_count = count;
  items.reserve(count, jobs.count);
  jobs.set(slot, JOB.first_item, items.next);
  jobs.set(slot, JOB.item_count, count);
  written.length = 0;
  let index = 0;
  for (; index < count && r.remaining >= 3; index++) {
    const item = readAddress(r, index, emit, operation, items, conversation);
    // An address of odd length is followed by a fill byte.
    if (index + 1 < count && item.specification_length % 2 === 1 && r.peekU8(0) === 0) r.skip(1);
    if (code === FUNCTION.write_var) written.push(item);
  }
  if (index < count) conversation.anomaly(row, 'item_count_mismatch');
}

/** Values of a write job, an item each, in the order of the addresses. */
function readWrittenData(r: Reader, row: S7Row, conversation: S7Conversation): void {
  const count = written.length;
  let index = 0;
  for (; index < count && r.remaining >= 4; index++) {
    const item = written[index];
    readData(r, item, item.has('element') ? item.element : 0, index + 1 === count, conversation);
  }
  if (index < count) conversation.anomaly(row, 'item_count_mismatch');
  written.length = 0;
}

/** Results of a read or write, joined with what was asked for. */
function readResults(code: number, r: Reader, row: S7Row, emit: Emit, slot: number, conversation: S7Conversation): void {
  const { jobs, items } = conversation.state;
  const { operation } = row;
  const count = row.item_count;
  const known = slot >= 0 && jobs.get(slot, JOB.function) === code;
  const first = known ? jobs.get(slot, JOB.first_item) : -1;
  if (known && count !== jobs.get(slot, JOB.item_count)) conversation.anomaly(row, 'item_count_mismatch');
  const smallest = code === FUNCTION.write_var ? 1 : 4;
  let index = 0;
  for (; index < count && r.remaining >= smallest; index++) {
    const item = emit(Item);
    item.item_index = index;
    const asked = first >= 0 && index < jobs.get(slot, JOB.item_count) ? first + index : -1;
    if (asked >= 0) joinRequest(item, items, asked);
    if (code === FUNCTION.write_var) item.return_code = r.u8();
    else readData(r, item, elementFor(items, asked, r), index + 1 === count, conversation);
    item.operation = itemOperation(item, operation);
  }
  if (index < count) conversation.anomaly(row, 'item_count_mismatch');
}

function readJob(r: Reader, row: S7Row, emit: Emit, conversation: S7Conversation): void {
  const outer = r.enter(row.parameter_length);
  if (r.remaining === 0) {
    r.leave(outer);
    return;
  }
  const code = r.u8();
  row.function = code;
  row.operation = jobOperation(code);
  if (FUNCTION_NAMES[code] === undefined) conversation.anomaly(row, 'unknown_function');
  if (code === FUNCTION.setup_communication) conversation.senderIs(Role.client);
  else if (conversation.client_direction < 0) conversation.senderIs(comesFromServer(code) ? Role.server : Role.client);
  const slot = putJob(row, code, conversation);
  switch (code) {
    case FUNCTION.setup_communication:
      readSetup(r, row, true, conversation);
      break;
    case FUNCTION.read_var:
    case FUNCTION.write_var:
      readVariablesJob(code, r, row, emit, slot, conversation);
      break;
    case FUNCTION.request_download:
    case FUNCTION.download_block:
    case FUNCTION.download_ended:
    case FUNCTION.start_upload:
    case FUNCTION.upload:
    case FUNCTION.end_upload:
      readTransferJob(code, r, row, slot, conversation);
      break;
    case FUNCTION.pi_service:
      row.operation = readPiService(r, row, emit, conversation);
      conversation.state.jobs.set(slot, JOB.operation, row.operation);
      break;
    case FUNCTION.plc_stop:
      readPlcStop(r, row);
  }
  r.leave(outer);
  const end = r.enter(row.data_length);
  if (code === FUNCTION.write_var) readWrittenData(r, row, conversation);
  else if (r.remaining > 0) row.unread_data = r.rest();
  r.leave(end);
}

function readAnswer(r: Reader, row: S7Row, emit: Emit, conversation: S7Conversation): void {
  const slot = takeJob(row, conversation);
  const { jobs } = conversation.state;
  const jobFunction = slot >= 0 ? jobs.get(slot, JOB.function) : -1;
  let code = jobFunction;
  let outer = r.enter(row.parameter_length);
  if (r.remaining > 0) {
    code = r.u8();
    row.function = code;
    if (FUNCTION_NAMES[code] === undefined) conversation.anomaly(row, 'unknown_function');
    if (slot >= 0 && code !== jobFunction) conversation.anomaly(row, 'function_mismatch');
  } else if (slot >= 0) row.request_function = jobFunction;
  if (conversation.client_direction < 0 && code >= 0) conversation.senderIs(comesFromServer(code) ? Role.client : Role.server);
  row.operation = slot >= 0 ? (jobs.get(slot, JOB.operation) as OperationCode) : jobOperation(code);
  if (row.error_class !== 0) {
    row.operation = Operation.error;
    conversation.anomaly(row, 'error_response');
  }
  switch (code) {
    case FUNCTION.setup_communication:
      if (r.remaining > 0) readSetup(r, row, false, conversation);
      break;
    case FUNCTION.read_var:
    case FUNCTION.write_var:
      if (r.remaining > 0) row.item_count = r.u8();
      break;
    case FUNCTION.request_download:
    case FUNCTION.download_block:
    case FUNCTION.download_ended:
    case FUNCTION.start_upload:
    case FUNCTION.upload:
    case FUNCTION.end_upload:
      readTransferAnswer(code, r, row, slot, conversation);
  }
  r.leave(outer);
  outer = r.enter(row.data_length);
  if (row.has('item_count')) readResults(code, r, row, emit, slot, conversation);
  else if (code === FUNCTION.upload || code === FUNCTION.download_block) readTransferData(code, r, row, slot, conversation);
  else if (r.remaining > 0) row.unread_data = r.rest();
  r.leave(outer);
}

function readUserdataPdu(r: Reader, row: S7Row, emit: Emit, conversation: S7Conversation): void {
  let outer = r.enter(row.parameter_length);
  readUserdataParameters(r, row);
  r.leave(outer);
  row.operation = userdataOperation(row);
  if (conversation.client_direction < 0) conversation.senderIs(userdataRole(row) as 0 | 1 | 2);
  const { jobs } = conversation.state;
  let slot = NO_JOB;
  // The function of a user data job is its group and subfunction, kept apart from those of other jobs.
  const code = 0x100 + row.function_group;
  if (row.message === MESSAGE.request) slot = putJob(row, code, conversation);
  else if (row.message === MESSAGE.response) {
    slot = takeJob(row, conversation);
    if (slot >= 0) {
      if (jobs.get(slot, JOB.function) !== code) conversation.anomaly(row, 'function_mismatch');
      else row.operation = jobs.get(slot, JOB.operation) as OperationCode;
    }
  }
  outer = r.enter(row.data_length);
  readUserdata(r, row, emit, slot, conversation);
  r.leave(outer);
  if (row.message === MESSAGE.request) {
    if (slot >= 0) {
      jobs.set(slot, JOB.operation, row.operation);
      jobs.set(slot, JOB.sequence, row.sequence_number);
    }
  } else if (row.has('error') && row.error !== 0 && row.function_group !== GROUP.mode_transition) {
    row.operation = Operation.error;
    conversation.anomaly(row, 'error_response');
  }
}

/** S7 communication of SIMATIC S7-300/400, and of S7-1200/1500 where they allow it. S7comm-plus (0x72) is another protocol. */
export default defineDissector<S7State, Anomaly>({
  name: 's7comm',
  title: 'S7 communication',
  specification:
    'No public specification. System status lists and error codes: Siemens, System Software for S7-300/400, System and Standard ' +
    'Functions, reference manual (A5E02789976). All else from recordings of snap7, nodeS7, STEP 7 and WinCC with S7-300/400 CPUs',
  carriers: within('cotp'),
  records: RECORDS,
  anomalies: ANOMALIES,
  targetName,
  probe: (r) =>
    r.peekU8(0) === PROTOCOL_ID && r.remaining >= 2 && r.peekU8(1) >= 1 && r.peekU8(1) <= 7 ? Match.possible : Match.no,
  newState: () => new S7State(),
  dissect(r, emit, conversation) {
    const { state } = conversation;
    if (conversation.gap_before) state.forget(conversation.direction);
    const total = r.remaining;
    const row = emit(S7comm);
    row.protocol_id = r.u8();
    const rosctr = r.u8();
    row.rosctr = rosctr;
    row.redundancy_identification = r.u16();
    row.pdu_reference = r.u16();
    const parameterLength = r.u16();
    const dataLength = r.u16();
    row.parameter_length = parameterLength;
    row.data_length = dataLength;
    let headerLength = 10;
    if (rosctr === ROSCTR.ack || rosctr === ROSCTR.ack_data) {
      headerLength = 12;
      row.error_class = r.u8();
      row.error_code = r.u8();
      const error = row.error_class * 256 + row.error_code;
      if (error !== 0) row.error = error;
    }
    if (headerLength + parameterLength + dataLength !== total) conversation.anomaly(row, 'length_mismatch');
    if (state.pdu_length > 0 && total > state.pdu_length) conversation.anomaly(row, 'larger_than_negotiated');
    switch (rosctr) {
      case ROSCTR.job:
        readJob(r, row, emit, conversation);
        return;
      case ROSCTR.ack:
      case ROSCTR.ack_data:
        readAnswer(r, row, emit, conversation);
        return;
      case ROSCTR.userdata:
        readUserdataPdu(r, row, emit, conversation);
        return;
      default:
        conversation.anomaly(row, 'unknown_rosctr');
        if (r.remaining > 0) row.unread_data = r.rest();
    }
  },
});
