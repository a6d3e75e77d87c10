import type { OperationCode, RoleCode } from '../dissect/operation.ts';
import type { Row } from '../dissect/row.ts';

/** What is kept of an activity, one after the other: a line of the processor's cache. */
const WIDTH = 8;
const KIND = 0;
const SPACE = 1;
const UNIT = 2;
const FIRST = 3;
const LAST = 4;
const COUNT = 5;
const FIRST_MS = 6;
const LAST_MS = 7;
const FIRST_CAPACITY = 256;

/** Dissector, operation (5 bits), role (2 bits) and direction (1 bit) in one number. */
const kindOf = (row: Row, role: RoleCode, direction: 0 | 1): number =>
  (row.dissector << 8) | (row.operation << 3) | (role << 1) | direction;

/**
 * Conversation × protocol × operation × target of all flows of a shard, as they are counted until the next flush: numbers in one
 * array, since objects for each flow were a third of what a collection had to mark. A flow's activities are a ring in the order in
 * which they were first met, of which the flow keeps the last; NONE: it has none yet.
 */
export class Activities {
  private numbers = new Float64Array(FIRST_CAPACITY * WIDTH);
  private nexts = new Int32Array(FIRST_CAPACITY);
  private used = 0;
  /** The first of those that were released, linked by `nexts`. */
  private free = NONE;

  /** Adds one behind `last`, the last of its flow's; it is the new last. */
  add(last: number, row: Row, role: RoleCode, direction: 0 | 1, time_ms: number): number {
    const entry = this.take();
    const { numbers, nexts } = this;
    const at = entry * WIDTH;
    const has_target = row.target_space >= 0;
    numbers[at + KIND] = kindOf(row, role, direction);
    numbers[at + SPACE] = row.target_space;
    numbers[at + UNIT] = row.unit;
    numbers[at + FIRST] = has_target ? row.target_first : 0;
    numbers[at + LAST] = has_target ? row.target_last : 0;
    numbers[at + COUNT] = 1;
    numbers[at + FIRST_MS] = numbers[at + LAST_MS] = time_ms;
    if (last === NONE) nexts[entry] = entry;
    else {
      nexts[entry] = nexts[last];
      nexts[last] = entry;
    }
    return entry;
  }

  /** Is `entry` the activity that the row belongs to? */
  is(entry: number, row: Row, role: RoleCode, direction: 0 | 1): boolean {
    const { numbers } = this;
    const at = entry * WIDTH;
    return (
      numbers[at + KIND] === kindOf(row, role, direction) &&
      numbers[at + SPACE] === row.target_space &&
      numbers[at + UNIT] === row.unit
    );
  }

  /** Counts the row. */
  repeat(entry: number, row: Row, time_ms: number): void {
    const { numbers } = this;
    const at = entry * WIDTH;
    if (row.target_first < numbers[at + FIRST]) numbers[at + FIRST] = row.target_first;
    if (row.target_last > numbers[at + LAST]) numbers[at + LAST] = row.target_last;
    numbers[at + COUNT]++;
    if (time_ms > numbers[at + LAST_MS]) numbers[at + LAST_MS] = time_ms;
  }

  /** The one behind; behind the last is the first. */
  next(entry: number): number {
    return this.nexts[entry];
  }

  /** Was counted since it was last said. */
  count(entry: number): number {
    return this.numbers[entry * WIDTH + COUNT];
  }

  /** It was said: its counts begin anew. */
  said(entry: number): void {
    const at = entry * WIDTH;
    this.numbers[at + COUNT] = 0;
    this.numbers[at + FIRST_MS] = this.numbers[at + LAST_MS];
  }

  dissector(entry: number): number {
    return this.numbers[entry * WIDTH + KIND] >> 8;
  }
  operation(entry: number): OperationCode {
    return ((this.numbers[entry * WIDTH + KIND] >> 3) & 31) as OperationCode;
  }
  role(entry: number): RoleCode {
    return ((this.numbers[entry * WIDTH + KIND] >> 1) & 3) as RoleCode;
  }
  from_opener(entry: number): boolean {
    return (this.numbers[entry * WIDTH + KIND] & 1) === 0;
  }
  space(entry: number): number {
    return this.numbers[entry * WIDTH + SPACE];
  }
  unit(entry: number): number {
    return this.numbers[entry * WIDTH + UNIT];
  }
  first(entry: number): number {
    return this.numbers[entry * WIDTH + FIRST];
  }
  last(entry: number): number {
    return this.numbers[entry * WIDTH + LAST];
  }
  first_ms(entry: number): number {
    return this.numbers[entry * WIDTH + FIRST_MS];
  }
  last_ms(entry: number): number {
    return this.numbers[entry * WIDTH + LAST_MS];
  }

  /** The flow is over: all of its activities make room. */
  release(last: number): void {
    if (last === NONE) return;
    const first = this.nexts[last];
    this.nexts[last] = this.free;
    this.free = first;
  }

  private take(): number {
    const { free } = this;
    if (free !== NONE) {
      this.free = this.nexts[free];
      return free;
    }
    if (this.used === this.nexts.length) {
      const numbers = new Float64Array(this.numbers.length * 2);
      numbers.set(this.numbers);
      this.numbers = numbers;
      const nexts = new Int32Array(this.nexts.length * 2);
      nexts.set(this.nexts);
      this.nexts = nexts;
    }
    return this.used++;
  }
}

export const NONE = -1;
