import { type Conversation, type Reader, Role } from '../../src/dissect/index.ts';
import type { ModbusRow, PduAnomaly } from './records.ts';
import {
  ANSWERED,
  FORGOT,
  FORGOT_YOUNG,
  REUSED,
  SAME_FUNCTION_AND_TRANSACTION,
  SAME_UNIT_AND_TRANSACTION,
  SLOTS,
  Transactions,
  WAITING,
} from './transactions.ts';

/** The sub-requests of a function 20, under its transaction's key: file, record, length each. */
interface FileRequests {
  key: number;
  numbers: number[];
}

/** What a conversation remembers; kept a million times, so its fields count. */
export class ModbusState {
  readonly transactions: Transactions;
  /** A response has met its request: who is client and who is server is settled. */
  settled = false;
  requests_seen = false;
  /** PDUs that spoke against the roles as known, while they were not settled. */
  contradictions = 0;
  /** Responses whose requests we cannot have seen: before the capture, in a gap, or forgotten. */
  forgiven = 0;
  /** Requests in a row that were forgotten while young. */
  flood = 0;
  /** Of the last function 20. */
  file_requests: FileRequests | null = null;

  constructor(serial: boolean) {
    this.transactions = new Transactions(serial);
  }
}

export type ModbusConversation = Conversation<ModbusState, PduAnomaly>;

/** The well-known port: IANA mbap. */
export const PORT = 502;
const FLOOD_REQUESTS = 64;
/** 6.14: 245 bytes of sub-requests, 7 each. */
export const MAX_SUB_REQUESTS = 35;

export function remember(
  pdu: ModbusRow,
  conversation: ModbusConversation,
  key: number,
  address: number,
  quantity: number,
  detail: number,
): void {
  const { state } = conversation;
  const { transactions } = state;
  // Serial Line V1.02, 2.1: nobody answers a broadcast.
  if (transactions.serial && pdu.unit === 0) return;
  if (!state.requests_seen) {
    state.requests_seen = true;
    if (!conversation.from_start) state.forgiven = SLOTS;
  }
  // An integer: a fraction would be a heap number for each request.
  const lost = transactions.put(key, address, quantity, detail, conversation.time_ms | 0, conversation.direction);
  if ((lost & REUSED) !== 0) conversation.anomaly(pdu, 'transaction_id_reused');
  if ((lost & FORGOT) !== 0) {
    if (state.forgiven < SLOTS) state.forgiven++;
    // Once a flood: the count starts again when a request is answered.
    if ((lost & FORGOT_YOUNG) !== 0 && ++state.flood === FLOOD_REQUESTS) conversation.anomaly(pdu, 'request_flood');
  }
}

/** The slot of the request that this response answers, by transaction, unit and function; -1 if there is none. */
export function match(pdu: ModbusRow, conversation: ModbusConversation, key: number): number {
  const { state } = conversation;
  const slot = state.transactions.find(key);
  if (slot < 0) return explain(pdu, conversation, key);
  state.transactions.answer(slot);
  if (!state.settled && state.transactions.direction(slot) !== conversation.direction) {
    state.settled = true;
    conversation.senderIs(Role.server);
  }
  state.forgiven = 0;
  state.flood = 0;
  return slot;
}

/** What is wrong with a response that no waiting request fits; the slot of the one it belongs to all the same, or -1. */
function explain(pdu: ModbusRow, conversation: ModbusConversation, key: number): number {
  const { state } = conversation;
  const { transactions } = state;
  const answered = transactions.search(key, -1, ANSWERED);
  if (answered >= 0) {
    if (transactions.answerAgain(answered)) return answered;
    if (forgive(state)) return -1;
    conversation.anomaly(pdu, 'duplicate_response');
    return answered;
  }
  const sameUnit = transactions.search(key, SAME_UNIT_AND_TRANSACTION, WAITING);
  if (sameUnit >= 0) {
    if (forgive(state)) return -1;
    transactions.answer(sameUnit);
    conversation.anomaly(pdu, 'function_mismatch');
    return -1;
  }
  const sameFunction = transactions.search(key, SAME_FUNCTION_AND_TRANSACTION, WAITING);
  if (sameFunction >= 0) {
    if (forgive(state)) return -1;
    transactions.answer(sameFunction);
    conversation.anomaly(pdu, 'unit_mismatch');
    return sameFunction;
  }
  // A mirror port that shows responses only would make every one of them unsolicited.
  if (!state.requests_seen) state.forgiven = SLOTS;
  else if (!forgive(state)) conversation.anomaly(pdu, 'unsolicited_response');
  return -1;
}

function forgive(state: ModbusState): boolean {
  if (state.forgiven === 0) return false;
  state.forgiven--;
  return true;
}

export function join(pdu: ModbusRow, space: number, address: number, quantity: number): void {
  pdu.request_address = address;
  pdu.request_quantity = quantity;
  pdu.target(space, address, quantity > 1 ? address + quantity - 1 : address);
}

export function echo(
  pdu: ModbusRow,
  conversation: ModbusConversation,
  slot: number,
  address: number,
  quantity: number,
  detail: number,
): void {
  const { transactions } = conversation.state;
  if (transactions.address(slot) !== address || transactions.quantity(slot) !== quantity || transactions.detail(slot) !== detail)
    conversation.anomaly(pdu, 'echo_mismatch');
}

// --- Direction ------------------------------------------------------------------------------------------------------------

/** Codes whose data cannot be taken for the other side's: with them a PDU proves who sent it. */
const PROVES_RESPONSE = new Set([1, 2, 3, 4, 12, 17, 23, 24, 90]);
const PROVES_REQUEST = new Set([1, 2, 3, 4, 15, 16, 23]);

const proves = (code: number, asResponse: boolean): boolean =>
  code >= 0x80 || (asResponse ? PROVES_RESPONSE : PROVES_REQUEST).has(code);

/**
 * Is the PDU a response? By the roles as known, unless its shape proves them wrong; without roles by shape, by port, by what
 * waits for it.
 */
export function isResponse(
  r: Reader,
  code: number,
  key: number,
  length: number,
  pdu: ModbusRow,
  conversation: ModbusConversation,
): boolean {
  const { state, sender } = conversation;
  if (sender !== Role.unknown) {
    const asResponse = sender === Role.server;
    if (fits(r, 0, code, length, asResponse)) return asResponse;
    if (!proves(code, !asResponse) || !fits(r, 0, code, length, !asResponse)) return asResponse;
    if (asResponse && isAwaited(conversation, key)) return true;
    if (!state.settled) {
      const atPort = (asResponse ? conversation.source_port : conversation.destination_port) === PORT;
      if (!atPort || ++state.contradictions >= 2) {
        conversation.senderIs(asResponse ? Role.client : Role.server);
        return !asResponse;
      }
    }
    conversation.anomaly(pdu, 'unexpected_direction');
    return !asResponse;
  }
  const fitsRequest = fits(r, 0, code, length, false);
  const fitsResponse = fits(r, 0, code, length, true);
  if (fitsRequest !== fitsResponse) {
    if (proves(code, fitsResponse)) conversation.senderIs(fitsResponse ? Role.server : Role.client);
    return fitsResponse;
  }
  if (conversation.destination_port === PORT && conversation.source_port !== PORT) return false;
  if (conversation.source_port === PORT && conversation.destination_port !== PORT) return true;
  return isAwaited(conversation, key);
}

/** The other side waits for a response to this transaction. */
function isAwaited(conversation: ModbusConversation, key: number): boolean {
  const { transactions } = conversation.state;
  const slot = transactions.find(key);
  return slot >= 0 && transactions.direction(slot) !== conversation.direction;
}

/**
 * Is this exactly the shape that clause 6 gives the function's request (or response)? `at` is where the data behind the function
 * code start, from the reader's position; `length` is unit identifier and PDU together. True for codes without a known shape.
 */
export function fits(r: Reader, at: number, code: number, length: number, asResponse: boolean): boolean {
  if (code >= 0x80) return asResponse;
  switch (code) {
    case 1:
    case 2:
      return asResponse ? length === 3 + r.peekU8(at) && length > 3 : length === 6;
    case 3:
    case 4:
      return asResponse ? length === 3 + r.peekU8(at) && length > 3 && (length & 1) === 1 : length === 6;
    case 5:
    case 6:
      return length === 6;
    case 7:
      return length === (asResponse ? 3 : 2);
    case 8:
      return length >= 6 && (length & 1) === 0;
    case 11:
      return length === (asResponse ? 6 : 2);
    case 12:
      return asResponse ? length === 3 + r.peekU8(at) && length >= 9 : length === 2;
    case 15:
    case 16:
      return asResponse ? length === 6 : length === 7 + r.peekU8(at + 4) && length > 7;
    case 17:
      return asResponse ? length === 3 + r.peekU8(at) && length > 3 : length === 2;
    case 20:
      return length === 3 + r.peekU8(at) && length > 6 && r.peekU8(at + (asResponse ? 2 : 1)) === 6;
    case 21:
      return length === 3 + r.peekU8(at) && length > 9 && r.peekU8(at + 1) === 6;
    case 22:
      return length === 8;
    case 23:
      return asResponse
        ? length === 3 + r.peekU8(at) && length > 3 && (length & 1) === 1
        : length === 11 + r.peekU8(at + 8) && length > 11;
    case 24:
      return asResponse ? length === 4 + r.peekU16(at) && r.peekU16(at) === 2 + 2 * r.peekU16(at + 2) : length === 4;
    case 43:
      if (r.peekU8(at) === 14) return asResponse ? length >= 8 : length === 5;
      return r.peekU8(at) === 13 && length >= 4;
    case 90: {
      const umas = r.peekU8(at + 1);
      return length >= 4 && asResponse === (umas === 0xfd || umas === 0xfe);
    }
    default:
      return true;
  }
}
