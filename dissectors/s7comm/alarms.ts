import type { Emit, OperationCode, Reader, RowOf } from '../../src/dissect/index.ts';
import { elementOf, readData } from './items.ts';
import { CPU, MESSAGE, SYNTAX } from './names.ts';
import { Alarm, Item } from './records.ts';
import type { S7Conversation } from './state.ts';
import { readDateAndTime } from './time.ts';

type AlarmRow = RowOf<typeof Alarm.fields>;

/** Indications that a CPU pushes begin with the time, but for (un)locking; jobs on alarms do not. */
const hasTime = (subfunction: number, kind: number): boolean =>
  kind !== MESSAGE.request &&
  kind !== MESSAGE.response &&
  subfunction !== CPU.alarm_acknowledge &&
  subfunction !== CPU.alarm_8_lock &&
  subfunction !== CPU.alarm_8_unlock &&
  subfunction !== CPU.alarm_lock_indication &&
  subfunction !== CPU.alarm_unlock_indication;

/** Alarm messages and jobs on them: time, function identifier, objects. A row an object. */
export function readAlarm(
  r: Reader,
  subfunction: number,
  kind: number,
  emit: Emit,
  operation: OperationCode,
  conversation: S7Conversation,
): void {
  let row = newAlarm(r, emit, operation);
  if (hasTime(subfunction, kind)) {
    // SCAN has two bytes before and behind its time that are not known.
    const isScan = subfunction === CPU.scan_indication;
    if (isScan) r.skip(2);
    const coming = readDateAndTime(r);
    if (Number.isNaN(coming)) conversation.anomaly(row, 'invalid_time');
    else if (coming !== 0) row.coming = coming;
    if (isScan) r.skip(2);
  }
  row.function_identifier = r.u8();
  const count = r.u8();
  row.object_count = count;
  if (kind === MESSAGE.response) {
    // Each object is answered by a result only.
    for (let i = 0; i < count && r.remaining >= 1; i++) {
      if (i > 0) row = newAlarm(r, emit, operation);
      row.return_code = r.u8();
    }
    return;
  }
  for (let i = 0; i < count && r.remaining >= 4; i++) {
    if (i > 0) row = newAlarm(r, emit, operation);
    readObject(r, row, emit, operation, conversation);
  }
}

function newAlarm(r: Reader, emit: Emit, operation: OperationCode): AlarmRow {
  const row = emit(Alarm);
  row.bytes = r.bytes;
  row.operation = operation;
  return row;
}

/** Message object: specification, length, syntax, then by syntax; associated values behind it. */
function readObject(r: Reader, row: AlarmRow, emit: Emit, operation: OperationCode, conversation: S7Conversation): void {
  row.variable_specification = r.u8();
  const size = r.u8();
  row.specification_length = size;
  const outer = r.enter(size);
  const syntax = r.u8();
  row.syntax = syntax;
  let values = 0;
  if (syntax === SYNTAX.alarm_query) {
    r.skip(1);
    row.query_type = r.u8();
    r.skip(1);
    if (r.remaining >= 4) {
      if (row.query_type === BY_EVENT) row.event_id = r.u32();
      else row.alarm_type = r.u32();
    }
  } else {
    values = r.u8();
    row.value_count = values;
    row.event_id = r.u32();
    readStates(syntax, r, row);
  }
  r.leave(outer);
  for (let i = 0; i < values && r.remaining >= 4; i++) {
    const item = emit(Item);
    item.bytes = r.bytes;
    item.operation = operation;
    item.item_index = i;
    readData(r, item, elementOf(r.peekU8(1)), i + 1 === values, conversation);
  }
}
const BY_EVENT = 3;

function readStates(syntax: number, r: Reader, row: AlarmRow): void {
  switch (syntax) {
    case SYNTAX.alarm_indication:
    case SYNTAX.notify_indication:
      row.event_state = r.u8();
      row.state = r.u8();
      row.acknowledged_going = r.u8();
      row.acknowledged_coming = r.u8();
      if (syntax === SYNTAX.notify_indication && r.remaining >= 3) {
        row.event_going = r.u8();
        row.event_coming = r.u8();
        row.event_last_changed = r.u8();
      }
      return;
    case SYNTAX.alarm_acknowledge:
      row.acknowledged_going = r.u8();
      row.acknowledged_coming = r.u8();
  }
}

/** Answer to a query: result, kind, length of all, then a data set an alarm, with a length each. */
export function readAlarmQueryAnswer(r: Reader, emit: Emit, operation: OperationCode, conversation: S7Conversation): void {
  let row = newAlarm(r, emit, operation);
  row.function_identifier = r.u8();
  row.object_count = r.u8();
  row.return_code = r.u8();
  row.transport_size = r.u8();
  r.skip(2);
  for (let i = 0; r.remaining >= SMALLEST_SET; i++) {
    if (i > 0) row = newAlarm(r, emit, operation);
    const size = r.u8();
    if (size < SMALLEST_SET - 1) return;
    const end = r.position + size + 1;
    r.skip(2);
    const type = r.u8();
    row.alarm_type = type;
    row.event_id = r.u32();
    r.skip(1);
    row.event_state = r.u8();
    row.acknowledged_going = r.u8();
    row.acknowledged_coming = r.u8();
    if (type === ALARM_S) readComingAndGoing(r, row, emit, operation, conversation);
    else if (end > r.position) r.skip(end - r.position);
  }
}
/** Length byte, then at least ten: see the recordings. The length does not count the byte behind it that fills up. */
const SMALLEST_SET = 11;
const ALARM_S = 4;

/** ALARM_S keeps when it came and went, each with its value. */
function readComingAndGoing(r: Reader, row: AlarmRow, emit: Emit, operation: OperationCode, conversation: S7Conversation): void {
  for (let i = 0; i < 2; i++) {
    const time = readDateAndTime(r);
    if (Number.isNaN(time)) conversation.anomaly(row, 'invalid_time');
    else if (time !== 0 && i === 0) row.coming = time;
    else if (time !== 0) row.going = time;
    if (r.remaining < 4) return;
    const item = emit(Item);
    item.bytes = r.bytes;
    item.operation = operation;
    item.item_index = i;
    readData(r, item, elementOf(r.peekU8(1)), true, conversation);
  }
}
