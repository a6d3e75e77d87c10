import { type Emit, Operation, type OperationCode, type Reader } from '../../src/dissect/index.ts';
import { elementOf, itemOperation, readData, type S7Row, tableTarget } from './items.ts';
import { MESSAGE, TEST, TYPE } from './names.ts';
import { Item } from './records.ts';
import type { S7Conversation } from './state.ts';

/** What a test and installation function does to the process or the CPU. */
export function testOperation(test: number): OperationCode {
  switch (test) {
    case TEST.modify_variable:
      return Operation.write;
    case TEST.force_selection:
    case TEST.force:
    case TEST.breakpoint:
      return Operation.control;
    case TEST.exit_hold:
    case TEST.memory_reset:
      return Operation.mode_change;
    default:
      return Operation.diagnostics;
  }
}

const managesJobs = (test: number): boolean => test >= TEST.disable_job && test <= TEST.replace_job;
const hasVariables = (test: number): boolean =>
  test === TEST.variable_status || test === TEST.modify_variable || test === TEST.force;

/** Test functions: sizes, parameters, data. Requests set a job up, pushes bring its results, other requests manage it. */
export function readTest(r: Reader, row: S7Row, emit: Emit, test: number, kind: number, conversation: S7Conversation): void {
  const parameterSize = r.u16();
  const dataSize = r.u16();
  row.test_parameter_size = parameterSize;
  row.test_data_size = dataSize;
  if (parameterSize + dataSize > r.remaining) conversation.anomaly(row, 'length_mismatch');
  let outer = r.enter(parameterSize);
  if (kind === MESSAGE.request && parameterSize >= 20) readTriggers(r, row);
  r.leave(outer);
  outer = r.enter(dataSize);
  if (r.remaining > 0) readTestData(r, row, emit, test, kind, conversation);
  r.leave(outer);
}

/** Ten parameters of two bytes; the sixth to ninth are always 1. */
function readTriggers(r: Reader, row: S7Row): void {
  r.skip(2);
  row.trigger_type = r.u16();
  row.trigger_frequency = r.u16();
  row.answer_size = r.u16();
  r.skip(10);
  row.trigger_event = r.u16();
}

function readTestData(r: Reader, row: S7Row, emit: Emit, test: number, kind: number, conversation: S7Conversation): void {
  if (managesJobs(test) && kind === MESSAGE.request) {
    // Deleting and replacing have two bytes before the job they mean.
    if (test === TEST.delete_job || test === TEST.replace_job) r.skip(2);
    const job = r.u8();
    row.test_job = job;
    row.test_job_reference = r.u8();
    // Enabling a job that modifies or forces is what modifies or forces.
    if (test === TEST.enable_job || test === TEST.replace_job) row.operation = testOperation(job);
    if (r.remaining > 0) row.test_data = r.rest();
    return;
  }
  if (!hasVariables(test)) {
    row.test_data = r.rest();
    return;
  }
  const count = r.u16();
  row.table_item_count = count;
  if (kind === MESSAGE.request) readTable(r, row, count, emit, test, conversation);
  else readResults(r, row, count, emit, conversation);
}

/** Variables of a table, six bytes each; to modify them their values follow. */
function readTable(r: Reader, row: S7Row, count: number, emit: Emit, test: number, conversation: S7Conversation): void {
  const { operation } = row;
  let index = 0;
  for (; index < count && r.remaining >= 6; index++) {
    const item = emit(Item);
    item.bytes = r.bytes;
    item.operation = operation;
    item.item_index = index;
    readTableAddress(r, item);
  }
  if (index < count) conversation.anomaly(row, 'item_count_mismatch');
  if (test === TEST.variable_status) return;
  for (index = 0; index < count && r.remaining >= 4; index++) {
    const item = emit(Item);
    item.bytes = r.bytes;
    item.operation = operation;
    item.item_index = index;
    readData(r, item, elementOf(r.peekU8(1)), index + 1 === count, conversation);
  }
}

type ItemRow = Parameters<typeof tableTarget>[0];

function readTableAddress(r: Reader, item: ItemRow): void {
  const area = r.u8();
  const countOrBit = r.u8();
  const db = r.u16();
  const start = r.u16();
  item.table_area = area;
  // A single bit has its place where the others have their number.
  const isBit = (area & 0x0f) === 0;
  if (isBit) item.table_bit = countOrBit;
  else item.table_count = countOrBit;
  item.table_db = db;
  item.table_start = start;
  tableTarget(item, area, isBit ? 1 : countOrBit, db, start);
}

function readResults(r: Reader, row: S7Row, count: number, emit: Emit, conversation: S7Conversation): void {
  const { operation } = row;
  let index = 0;
  for (; index < count && r.remaining >= 4; index++) {
    const item = emit(Item);
    item.bytes = r.bytes;
    item.item_index = index;
    readData(r, item, TYPE.byte, index + 1 === count, conversation);
    item.operation = itemOperation(item, operation);
  }
  if (index < count) conversation.anomaly(row, 'item_count_mismatch');
}
