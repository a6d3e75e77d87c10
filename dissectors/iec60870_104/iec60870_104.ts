import {
  type Conversation,
  defineDissector,
  type Emit,
  Match,
  type MatchCode,
  Operation,
  type OperationCode,
  type Reader,
  Role,
  Status,
  tcp,
} from '../../src/dissect/index.ts';
import { readElement } from './elements.ts';
import { ANOMALIES, type Anomaly, Apdu, type ApduRow, InformationObject, type ObjectRow, UFunction } from './records.ts';
import { Selections } from './selections.ts';
import { State } from './state.ts';
import { CAUSE_NAMES, Cause, TYPES, type TypeIdentification } from './types.ts';

type Talk = Conversation<State, Anomaly>;

const START = 0x68;
/** Start, length and the four control octets (IEC 60870-5-104, 5). */
const APCI_SIZE = 6;
const MAX_APDU_SIZE = 255;
/** Type, structure qualifier, cause (2), common address (2): IEC 60870-5-104, 7.1. */
const ASDU_HEAD_SIZE = 6;
const ADDRESS_SIZE = 3;
/** The only number space of information objects. */
const OBJECTS = 0;
/** Causes by which the controlled station refuses (7.2.3). */
const FIRST_UNKNOWN = 44;
const LAST_UNKNOWN = 47;

export default defineDissector<State, Anomaly>({
  name: 'iec60870_104',
  title: 'IEC 60870-5-104',
  specification: 'IEC 60870-5-104:2006+AMD1:2016, clauses 5 to 8; IEC 60870-5-101:2003+AMD1:2015, clause 7 (ASDUs)',
  carriers: tcp(2404),
  records: [Apdu, InformationObject],
  anomalies: ANOMALIES,
  unitName: 'station',
  targetName: () => 'information objects',
  framing: {
    headerSize: APCI_SIZE,
    maxSize: MAX_APDU_SIZE,
    sizeOf: (r) => (r.peekU8(0) === START && r.peekU8(1) >= 4 ? 2 + r.peekU8(1) : -1),
  },
  probe,
  newState: () => new State(),

  dissect(r, emit, conversation) {
    if (conversation.gap_before) conversation.state.forget();
    const apdu = emit(Apdu);
    apdu.operation = Operation.session;
    if (r.u8() !== START) {
      apdu.status = Status.malformed;
      return;
    }
    apdu.length = r.u8();
    const outer = r.enter(apdu.length);
    readControlField(r, apdu, conversation);
    if (conversation.sender === Role.client && conversation.state.selections?.expire(conversation.time_ms))
      conversation.anomaly(apdu, 'select_not_executed');
    if (apdu.format === 0) readAsdu(r, emit, apdu, conversation);
    else if (r.remaining > 0) conversation.anomaly(apdu, 'length_mismatch');
    r.leave(outer);
  },
});

/** 5.1: I (bit 1 is 0), S (01) and U (11) formats. */
function readControlField(r: Reader, apdu: ApduRow, conversation: Talk): void {
  const { direction, state } = conversation;
  const first = r.u16le();
  const second = r.u16le();
  if (r.truncated) return;
  apdu.format = (first & 1) === 0 ? 0 : first & 3;
  if (apdu.format === 3) {
    apdu.control_function = (first >> 2) & 0x3f;
    if (first >> 8 !== 0 || second !== 0) conversation.anomaly(apdu, 'reserved_bits');
    controlFunction(apdu.control_function, conversation);
    return;
  }
  apdu.receive_sequence_number = second >> 1;
  if (apdu.format === 0) {
    apdu.send_sequence_number = first >> 1;
    if (!state.sent(direction, apdu.send_sequence_number)) conversation.anomaly(apdu, 'sequence_break');
    if (state.started === false) conversation.anomaly(apdu, 'transfer_not_started');
  } else if (first !== 1) conversation.anomaly(apdu, 'reserved_bits');
  if ((second & 1) !== 0) conversation.anomaly(apdu, 'reserved_bits');
  if (!conversation.acknowledges_unseen && !state.canAcknowledge(direction, apdu.receive_sequence_number))
    conversation.anomaly(apdu, 'acknowledges_unsent');
}

/** 5.3: the controlling station starts and stops data transfer; a connection begins without it. */
function controlFunction(code: number, conversation: Talk): void {
  const { state } = conversation;
  switch (code) {
    case UFunction.startdt_act:
    case UFunction.stopdt_act:
      conversation.senderIs(Role.client);
      break;
    case UFunction.startdt_con:
      conversation.senderIs(Role.server);
      state.started = true;
      break;
    case UFunction.stopdt_con:
      conversation.senderIs(Role.server);
      state.started = false;
  }
}

/** IEC 60870-5-101, 7.1: data unit identifier, then information objects. */
function readAsdu(r: Reader, emit: Emit, apdu: ApduRow, conversation: Talk): void {
  const type_identification = r.u8();
  const qualifier = r.u8();
  const cause = r.u8();
  const originator_address = r.u8();
  const common_address = r.u16le();
  if (r.truncated) return;
  apdu.operation = Operation.other;
  apdu.type_identification = type_identification;
  apdu.sq = (qualifier & 0x80) !== 0;
  apdu.object_count = qualifier & 0x7f;
  apdu.test = (cause & 0x80) !== 0;
  apdu.negative = (cause & 0x40) !== 0;
  apdu.cause_of_transmission = cause & 0x3f;
  apdu.originator_address = originator_address;
  apdu.common_address = common_address;
  apdu.unit = common_address;
  if (!(apdu.cause_of_transmission in CAUSE_NAMES)) conversation.anomaly(apdu, 'unknown_cause');
  const type = TYPES[type_identification];
  if (type === undefined) {
    conversation.anomaly(apdu, 'unknown_type');
    apdu.data = r.rest();
    return;
  }
  apdu.operation = operationOf(type, apdu.cause_of_transmission);
  checkStations(type, apdu, conversation);
  if (apdu.object_count === 0) conversation.anomaly(apdu, 'no_objects');
  readObjects(r, emit, type, apdu, conversation);
  if (r.remaining > 0) {
    conversation.anomaly(apdu, 'length_mismatch');
    apdu.data = r.rest();
  }
}

/** What was asked for is read, by whichever ASDU it comes; what comes by itself is reported. */
function operationOf(type: TypeIdentification, cause: number): OperationCode {
  if (cause >= FIRST_UNKNOWN && cause <= LAST_UNKNOWN) return Operation.error;
  const isAsked = cause === 5 || (cause >= 20 && cause <= 41);
  return type.operation === Operation.report && isAsked ? Operation.read : type.operation;
}

/** Which station speaks: by direction of the type, and by the cause where both may send it. */
function checkStations(type: TypeIdentification, apdu: ApduRow, conversation: Talk): void {
  const { state } = conversation;
  const cause = apdu.cause_of_transmission;
  const asks = cause === Cause.activation || cause === Cause.deactivation || (cause === 5 && type.direction === 'control');
  const answers =
    cause === Cause.activation_confirmation ||
    cause === Cause.deactivation_confirmation ||
    cause === Cause.activation_termination;
  const isRefusal = cause >= FIRST_UNKNOWN && cause <= LAST_UNKNOWN;
  const known = conversation.sender;
  if (type.direction === 'monitor') {
    if (known === Role.client) conversation.anomaly(apdu, 'wrong_direction');
    else conversation.senderIs(Role.server);
    if (asks || answers) conversation.anomaly(apdu, 'invalid_cause');
    return;
  }
  if (type.direction === 'both') {
    if (known === Role.unknown && asks) conversation.senderIs(Role.client);
    return;
  }
  if (!asks && !answers && !isRefusal) conversation.anomaly(apdu, 'invalid_cause');
  if (known === Role.unknown) conversation.senderIs(asks ? Role.client : Role.server);
  else if ((known === Role.client) !== asks) conversation.anomaly(apdu, 'wrong_direction');
  const command = apdu.common_address * 256 + apdu.type_identification;
  // A termination comes behind the confirmation of the same command: what waits stays until then, or is forgotten in its turn.
  if (cause === Cause.activation || cause === Cause.deactivation) {
    if (state.commands.find(command) < 0) state.commands.put(command);
  } else if (answers && conversation.from_start && !conversation.gap_before && state.commands.find(command) < 0) {
    conversation.anomaly(apdu, 'unsolicited_confirmation');
  }
}

/** 7.2.2: with SQ the address is that of the first, and the elements of the others follow; without it each has its own. */
function readObjects(r: Reader, emit: Emit, type: TypeIdentification, apdu: ApduRow, conversation: Talk): void {
  const { elements, size } = type;
  const { object_count, operation, sq } = apdu;
  let first = -1;
  let last = -1;
  let address = 0;
  for (let i = 0; i < object_count; i++) {
    if (r.remaining < (sq && i > 0 ? size : size + ADDRESS_SIZE)) {
      conversation.anomaly(apdu, 'length_mismatch');
      r.skip(r.remaining + 1);
      break;
    }
    const object = emit(InformationObject);
    address = sq && i > 0 ? (address + 1) % 0x1000000 : r.u24le();
    object.type_identification = apdu.type_identification;
    object.cause_of_transmission = apdu.cause_of_transmission;
    object.common_address = apdu.common_address;
    object.information_object_address = address;
    for (let e = 0; e < elements.length; e++) {
      const wrong = readElement(r, object, elements[e]);
      if (wrong !== '') conversation.anomaly(object, wrong);
    }
    if (object.has('select') && !apdu.test) joinSelection(object, type, apdu, conversation);
    object.operation = operation;
    object.unit = apdu.common_address;
    object.target(OBJECTS, address, address);
    if (first < 0 || address < first) first = address;
    if (address > last) last = address;
  }
  if (first >= 0) apdu.target(OBJECTS, first, last);
}

/** What a command with an S/E bit, or its confirmation, does to the selection of its object. */
function joinSelection(object: ObjectRow, type: TypeIdentification, apdu: ApduRow, conversation: Talk): void {
  const { state, sender } = conversation;
  const { cause_of_transmission: cause } = apdu;
  if (sender === Role.client && cause === Cause.activation) {
    if (object.select) {
      state.selections ??= new Selections();
      state.selections.select(object, type, conversation.time_ms);
      return;
    }
    const wrong = state.selections?.execute(object, type) ?? '';
    if (wrong !== '') conversation.anomaly(object, wrong);
  } else if (sender === Role.client && cause === Cause.deactivation) state.selections?.cancel(object);
  else if (sender === Role.server && (cause === Cause.activation_confirmation || cause >= FIRST_UNKNOWN))
    state.selections?.answer(object, apdu.negative || cause >= FIRST_UNKNOWN);
}

/**
 * Certain: an S or U format APDU, of which all octets but a number are fixed, or an I format one whose type, cause and size agree. One
 * of an unknown type is possible.
 */
function probe(r: Reader): MatchCode {
  if (r.remaining < APCI_SIZE || r.peekU8(0) !== START) return Match.no;
  const length = r.peekU8(1);
  const first = r.peekU16le(2);
  const second = r.peekU16le(4);
  if (length < 4 || length > MAX_APDU_SIZE - 2) return Match.no;
  switch (first & 3) {
    case 1:
      return length === 4 && first === 1 && (second & 1) === 0 ? Match.certain : Match.no;
    case 3: {
      const code = (first & 0xff) >> 2;
      return length === 4 && first < 256 && second === 0 && code !== 0 && (code & (code - 1)) === 0 ? Match.certain : Match.no;
    }
    default:
      return (second & 1) === 0 ? probeAsdu(r, length - 4) : Match.no;
  }
}

function probeAsdu(r: Reader, size: number): MatchCode {
  if (size < ASDU_HEAD_SIZE || r.remaining < APCI_SIZE + ASDU_HEAD_SIZE) return Match.no;
  const type = TYPES[r.peekU8(APCI_SIZE)];
  const qualifier = r.peekU8(APCI_SIZE + 1);
  const count = qualifier & 0x7f;
  const isCause = (r.peekU8(APCI_SIZE + 2) & 0x3f) in CAUSE_NAMES;
  if (type === undefined) return isCause && count > 0 ? Match.possible : Match.no;
  if (!isCause || count === 0) return Match.no;
  const objects = size - ASDU_HEAD_SIZE;
  const least = (qualifier & 0x80) !== 0 ? ADDRESS_SIZE + count * type.size : count * (ADDRESS_SIZE + type.size);
  if (type.elements.includes('segment')) return objects >= least ? Match.certain : Match.no;
  return objects === least ? Match.certain : Match.possible;
}
