import type { OperationCode } from '../../src/dissect/index.ts';

/** Master and outstation pairs that one conversation may hold; the least recently heard of is forgotten beyond that. */
const MAX_ASSOCIATIONS = 64;
const NONE = -1;

/** Application sequence numbers of requests (IEEE 1815-2012, 4.2.2.4). */
const SEQUENCE_SPACE = 16;

/**
 * What a master and an outstation have said to each other last. The standard has one request at a time (4.2.2); masters on TCP
 * send more before the first is answered, so that there is a place for each sequence number.
 */
export class Association {
  addresses = NONE;
  used_at = 0;
  /** A request was seen, so that a response can be told to answer none. */
  has_requests = false;
  /** Requests in a row that nobody answered. */
  unanswered = 0;
  /** The request that the last response answered. */
  private answered = NONE;
  /** Sequence of the last response fragment, solicited and not. */
  response_sequence = NONE;
  unsolicited_sequence = NONE;
  /** The SELECT that an OPERATE must repeat: its number, size and a hash of its objects. */
  select_sequence = NONE;
  select_size = 0;
  select_hash = 0;
  /** Bytes were lost since the last request: a SELECT may have been among them. */
  select_unknown = false;
  /** By sequence number: how many requests wait, and the last one's function code, operation and time. */
  private readonly waiting = new Uint8Array(SEQUENCE_SPACE);
  private readonly functions = new Uint8Array(SEQUENCE_SPACE);
  private readonly operations = new Uint8Array(SEQUENCE_SPACE);
  private readonly times_ms = new Float64Array(SEQUENCE_SPACE);

  reset(addresses: number, isAfterGap: boolean): void {
    this.addresses = addresses;
    this.unanswered = 0;
    this.forget();
    this.select_unknown = isAfterGap;
  }

  request(sequence: number, code: number, operation: OperationCode, time_ms: number): void {
    this.has_requests = true;
    if (this.waiting[sequence] < 255) this.waiting[sequence]++;
    this.functions[sequence] = code;
    this.operations[sequence] = operation;
    this.times_ms[sequence] = time_ms;
    this.unanswered++;
  }

  isWaiting(sequence: number): boolean {
    return this.waiting[sequence] > 0;
  }

  /**
   * The sequence number of the request that this response answers, or -1. The fragments of a long response count on from the
   * request's number, and a response that was not confirmed is repeated.
   */
  answer(sequence: number, isFirstFragment: boolean): number {
    const last = this.response_sequence;
    let request = NONE;
    if (this.waiting[sequence] > 0) {
      this.waiting[sequence]--;
      request = sequence;
    } else if (last >= 0 && (sequence === last || (!isFirstFragment && sequence === ((last + 1) & 0x0f))))
      request = this.answered;
    this.response_sequence = sequence;
    this.answered = request;
    if (request >= 0) this.unanswered = 0;
    return request;
  }

  functionOf(sequence: number): number {
    return this.functions[sequence];
  }
  operationOf(sequence: number): OperationCode {
    return this.operations[sequence] as OperationCode;
  }
  timeOf(sequence: number): number {
    return this.times_ms[sequence];
  }

  /** After a gap nothing that was awaited can be relied on. */
  forget(): void {
    this.has_requests = false;
    this.waiting.fill(0);
    this.answered = NONE;
    this.response_sequence = NONE;
    this.unsolicited_sequence = NONE;
    this.select_sequence = NONE;
    this.select_unknown = true;
  }
}

/** The associations of one conversation. */
export class Associations {
  /** Bytes of the stream were lost just before the PDU at hand. */
  is_after_gap = false;
  private readonly known: Association[] = [];
  private clock = 0;

  of(master: number, outstation: number): Association {
    const addresses = master * 0x10000 + outstation;
    let oldest: Association | undefined;
    for (const association of this.known) {
      if (association.addresses === addresses) {
        association.used_at = ++this.clock;
        return association;
      }
      if (oldest === undefined || association.used_at < oldest.used_at) oldest = association;
    }
    let association = oldest;
    if (association === undefined || this.known.length < MAX_ASSOCIATIONS) {
      association = new Association();
      this.known.push(association);
    }
    association.reset(addresses, this.is_after_gap);
    association.used_at = ++this.clock;
    return association;
  }

  forget(): void {
    for (const association of this.known) association.forget();
  }
}

/** FNV-1a: tells the objects of one command from those of another. */
export function hash(bytes: Uint8Array, start: number, end: number): number {
  let value = 0x811c9dc5;
  for (let i = start; i < end; i++) value = Math.imul(value ^ bytes[i], 0x01000193);
  return value;
}
