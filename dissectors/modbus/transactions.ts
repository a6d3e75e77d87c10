/**
 * The requests of a conversation and what became of them: a ring of a fixed number of slots, so that a flood of requests, or a mirror
 * port that shows one direction, costs no memory. `Pending` finds by its whole key; here a response that fits no request must
 * also be explained (other unit, other function, second response), and a repeated request must not take a slot of its own.
 *
 *     slot: | key | repeats, direction, state | address, quantity | detail | time_ms |    int32 each
 *
 * The key is transaction id (16 bits), unit (8), function code (7). Address and quantity have 16 bits each, the state 2, the
 * direction 1. All are integers of 32 bits in an ordinary array, of 168 bytes; a typed array of this size takes 264 (measured with
 * Node.js 20). Most clients have one request open at a time, so a conversation begins with three slots; it gets all 16 when
 * the next one would take the place of a request that waits.
 */
export class Transactions {
  /** Requests without a response yet. */
  private waiting = 0;
  private slots: number[] = FIRST_SLOTS.slice();
  readonly serial: boolean;
  private last = 0;

  /** `serial`: one request at a time, as on a serial line; a new one means that the last was given up. */
  constructor(serial: boolean) {
    this.serial = serial;
  }

  /**
   * Remembers a request. The same request again, still unanswered, is a repetition: it may be answered as often as it was sent.
   * Another request under the same key replaces one that is older than `YOUNG_MS`, which its client has given up.
   * `now` is in whole milliseconds and may wrap at 2^32. Returns what had to give way: FORGOT and so on, or 0.
   */
  put(key: number, address: number, quantity: number, detail: number, now: number, direction: number): number {
    let { slots } = this;
    const span = (address << 16) | (quantity & 0xffff);
    let lost = 0;
    if (this.waiting > 0) {
      const known = this.find(key);
      if (known >= 0) {
        if (slots[known + SPAN] === span && slots[known + DETAIL] === detail) {
          slots[known + META] += REPEAT;
          slots[known + TIME] = now;
          return 0;
        }
        if (!this.serial && ((now - slots[known + TIME]) | 0) < YOUNG_MS) lost = REUSED;
        else this.finish(known, FREE);
      }
      if (this.serial && this.waiting > 0) {
        this.abandon();
        lost |= FORGOT;
      }
    }
    let slot = this.last + WIDTH;
    if (slot === slots.length) slot = 0;
    if (slots.length < SLOTS * WIDTH && (slots[slot + META] & STATE) === WAITING) {
      slots = this.grow(slot);
      slot = FIRST_SLOTS.length;
    }
    this.last = slot;
    if ((slots[slot + META] & STATE) === WAITING) {
      lost |= ((now - slots[slot + TIME]) | 0) < YOUNG_MS ? FORGOT | FORGOT_YOUNG : FORGOT;
    } else this.waiting++;
    slots[slot] = key;
    slots[slot + META] = WAITING | (direction === 1 ? DIRECTION : 0);
    slots[slot + SPAN] = span;
    slots[slot + DETAIL] = detail;
    slots[slot + TIME] = now;
    return lost;
  }

  /** The oldest waiting request with this key, or -1. From the newest slot back, no further than there are waiting ones. */
  find(key: number): number {
    const { slots } = this;
    let found = -1;
    for (let slot = this.last, left = this.waiting, end = slots.length; left > 0 && end > 0; end -= WIDTH) {
      if ((slots[slot + META] & STATE) === WAITING) {
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
      if ((slots[slot + META] & STATE) === state && ((slots[slot] ^ key) & mask) === 0) return slot;
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
    if (this.slots[slot + META] < REPEAT) return false;
    this.slots[slot + META] -= REPEAT;
    return true;
  }

  /** The oldest of the slots, at `oldest`, becomes the first. */
  private grow(oldest: number): number[] {
    const slots = [...this.slots.slice(oldest), ...this.slots.slice(0, oldest)];
    while (slots.length < SLOTS * WIDTH) slots.push(0);
    this.slots = slots;
    return slots;
  }

  private abandon(): void {
    const { slots } = this;
    for (let slot = 0; slot < slots.length; slot += WIDTH)
      if ((slots[slot + META] & STATE) === WAITING) slots[slot + META] &= ~STATE;
    this.waiting = 0;
  }

  private finish(slot: number, state: number): void {
    const { slots } = this;
    if ((slots[slot + META] & STATE) === WAITING) this.waiting--;
    slots[slot + META] = (slots[slot + META] & ~STATE) | state;
  }

  address(slot: number): number {
    return this.slots[slot + SPAN] >>> 16;
  }
  quantity(slot: number): number {
    return this.slots[slot + SPAN] & 0xffff;
  }
  detail(slot: number): number {
    return this.slots[slot + DETAIL];
  }
  direction(slot: number): number {
    return (this.slots[slot + META] & DIRECTION) === 0 ? 0 : 1;
  }
}

/** MODBUS Messaging on TCP/IP V1.0b, clause 4.2.1.3: a client has at most 16 transactions open. */
export const SLOTS = 16;
/** No client gives a request up, and uses its transaction id anew, sooner. */
export const YOUNG_MS = 250;

const WIDTH = 5;
const META = 1;
const SPAN = 2;
const DETAIL = 3;
const TIME = 4;
const FIRST_SLOTS: readonly number[] = new Array(3 * WIDTH).fill(0);

/** In META: the state, the direction, and how often the request was repeated. */
const STATE = 3;
const DIRECTION = 4;
const REPEAT = 8;

/** What `put` returns: a waiting request was overwritten or given up; it was younger than `YOUNG_MS`; its own key still waits. */
export const FORGOT = 1;
export const FORGOT_YOUNG = 2;
export const REUSED = 4;

export const FREE = 0;
export const WAITING = 1;
export const ANSWERED = 2;

/** `functionCode` without its exception bit. */
export const transactionKey = (transactionId: number, unit: number, functionCode: number): number =>
  (transactionId << 15) | (unit << 7) | functionCode;
export const SAME_UNIT_AND_TRANSACTION = 0x7fffff80;
export const SAME_FUNCTION_AND_TRANSACTION = 0x7fff807f;
