/**
 * The requests of a conversation and what became of them: a ring of a fixed number of slots, so that a flood of requests, or a mirror
 * port that shows one direction, costs no memory. `Pending` finds by its whole key; here a response that fits no request must
 * also be explained (other unit, other function, second response), and a repeated request must not take a slot of its own.
 *
 *     slot: | key | state | address | quantity | detail | time_ms | repeats | direction |    int32 each
 *
 * The key is transaction id (16 bits), unit (8), function code (7): 31 bits, small enough that V8 needs no heap number.
 */
export class Transactions {
  /** Waiting requests that were overwritten. */
  forgotten = 0;
  /** Requests without a response yet. */
  waiting = 0;
  /** Of the last `put`: the request it overwrote was younger than `YOUNG_MS`, or it met its own transaction id still waiting. */
  overwrote_young = false;
  reused = false;
  /** FIRST_SLOTS, then SLOTS: all of them are there before one is used again. */
  private slots = new Int32Array(FIRST_SLOTS * WIDTH);
  readonly serial: boolean;
  private last = 0;

  /** `serial`: one request at a time, as on a serial line; a new one means that the last was given up. */
  constructor(serial: boolean) {
    this.serial = serial;
  }

  /**
   * Remembers a request. The same request again, still unanswered, is a repetition: it may be answered as often as it was sent.
   * Another request under the same key replaces one that is older than `YOUNG_MS`, which its client has given up.
   * `now` is in whole milliseconds and may wrap at 2^32.
   */
  put(key: number, address: number, quantity: number, detail: number, now: number, direction: number): void {
    let { slots } = this;
    this.overwrote_young = false;
    this.reused = false;
    if (this.waiting > 0) {
      const known = this.find(key);
      if (known >= 0) {
        if (slots[known + ADDRESS] === address && slots[known + QUANTITY] === quantity && slots[known + DETAIL] === detail) {
          slots[known + REPEATS]++;
          slots[known + TIME] = now;
          return;
        }
        if (!this.serial && ((now - slots[known + TIME]) | 0) < YOUNG_MS) this.reused = true;
        else this.finish(known, FREE);
      }
      if (this.serial) this.abandon();
    }
    let slot = this.last + WIDTH;
    if (slot === SLOTS * WIDTH) slot = 0;
    else if (slot === slots.length) slots = this.grow();
    this.last = slot;
    if (slots[slot + STATE] === WAITING) {
      this.forgotten++;
      this.overwrote_young = ((now - slots[slot + TIME]) | 0) < YOUNG_MS;
    } else this.waiting++;
    slots[slot] = key;
    slots[slot + STATE] = WAITING;
    slots[slot + ADDRESS] = address;
    slots[slot + QUANTITY] = quantity;
    slots[slot + DETAIL] = detail;
    slots[slot + TIME] = now;
    slots[slot + REPEATS] = 0;
    slots[slot + DIRECTION] = direction;
  }

  /** The oldest waiting request with this key, or -1. From the newest slot back, no further than there are waiting ones. */
  find(key: number): number {
    const { slots } = this;
    let found = -1;
    for (let slot = this.last, left = this.waiting, end = slots.length; left > 0 && end > 0; end -= WIDTH) {
      if (slots[slot + STATE] === WAITING) {
        left--;
        if (slots[slot] === key) found = slot;
      }
      slot = slot === 0 ? slots.length - WIDTH : slot - WIDTH;
    }
    return found;
  }

  /** The newest slot in `state` whose key is equal in the bits of `mask`, or -1. For responses that fit nothing. */
  search(key: number, mask: number, state: number): number {
    const { slots } = this;
    for (let slot = this.last, end = slots.length; end > 0; end -= WIDTH) {
      if (slots[slot + STATE] === state && ((slots[slot] ^ key) & mask) === 0) return slot;
      slot = slot === 0 ? slots.length - WIDTH : slot - WIDTH;
    }
    return -1;
  }

  /** The request has its response; what it asked for can be read until its slot is used again. */
  answer(slot: number): void {
    this.finish(slot, ANSWERED);
  }

  /** A further response to an answered request: true as often as the request was repeated. */
  answerAgain(slot: number): boolean {
    if (this.slots[slot + REPEATS] === 0) return false;
    this.slots[slot + REPEATS]--;
    return true;
  }

  private grow(): Int32Array<ArrayBuffer> {
    const larger = new Int32Array(SLOTS * WIDTH);
    larger.set(this.slots);
    this.slots = larger;
    return larger;
  }

  private abandon(): void {
    const { slots } = this;
    for (let slot = 0; slot < slots.length; slot += WIDTH) if (slots[slot + STATE] === WAITING) slots[slot + STATE] = FREE;
    this.forgotten += this.waiting;
    this.waiting = 0;
  }

  private finish(slot: number, state: number): void {
    if (this.slots[slot + STATE] === WAITING) this.waiting--;
    this.slots[slot + STATE] = state;
  }

  address(slot: number): number {
    return this.slots[slot + ADDRESS];
  }
  quantity(slot: number): number {
    return this.slots[slot + QUANTITY];
  }
  detail(slot: number): number {
    return this.slots[slot + DETAIL];
  }
  direction(slot: number): number {
    return this.slots[slot + DIRECTION];
  }
}

/** MODBUS Messaging on TCP/IP V1.0b, clause 4.2.1.3: a client has at most 16 transactions open. */
export const SLOTS = 16;
/** No client gives a request up, and uses its transaction id anew, sooner. */
export const YOUNG_MS = 250;

/** Many conversations have few requests; so small an array lies with its object. */
const FIRST_SLOTS = 2;
const WIDTH = 8;
const STATE = 1;
const ADDRESS = 2;
const QUANTITY = 3;
const DETAIL = 4;
const TIME = 5;
const REPEATS = 6;
const DIRECTION = 7;

export const FREE = 0;
export const WAITING = 1;
export const ANSWERED = 2;

/** `functionCode` without its exception bit. */
export const transactionKey = (transactionId: number, unit: number, functionCode: number): number =>
  (transactionId << 15) | (unit << 7) | functionCode;
export const SAME_UNIT_AND_TRANSACTION = 0x7fffff80;
export const SAME_FUNCTION_AND_TRANSACTION = 0x7fff807f;
