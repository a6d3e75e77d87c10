/**
 * Requests that wait for their response: a ring of preallocated slots found by an integer key. When all slots are taken the
 * oldest request is forgotten (and counted), so a flood of requests, or a mirror port that shows one direction, costs no memory.
 * What the response must know of its request is kept as numbers, `width` a slot.
 */
export class Pending {
  /** Requests forgotten because the ring was full. */
  forgotten = 0;
  private readonly keys: Float64Array;
  private readonly values: Float64Array;
  private readonly width: number;
  private next = 0;
  private waiting = 0;

  constructor(slots: number, width: number) {
    this.keys = new Float64Array(slots).fill(-1);
    this.values = new Float64Array(slots * width);
    this.width = width;
  }

  get count(): number {
    return this.waiting;
  }

  /** Remembers a request (key ≥ 0); gives its slot for `set`. */
  put(key: number): number {
    const slot = this.next;
    this.next = slot + 1 === this.keys.length ? 0 : slot + 1;
    if (this.keys[slot] >= 0) this.forgotten++;
    else this.waiting++;
    this.keys[slot] = key;
    return slot;
  }

  /** The slot of the oldest request with this key, or -1. It stays until `remove`. */
  find(key: number): number {
    const { keys } = this;
    if (this.waiting === 0) return -1;
    for (let i = 0, slot = this.next; i < keys.length; i++) {
      if (keys[slot] === key) return slot;
      if (++slot === keys.length) slot = 0;
    }
    return -1;
  }

  /** `find` and `remove`; the slot's values can still be read until the next `put`. */
  take(key: number): number {
    const slot = this.find(key);
    if (slot >= 0) this.remove(slot);
    return slot;
  }

  remove(slot: number): void {
    if (this.keys[slot] < 0) return;
    this.keys[slot] = -1;
    this.waiting--;
  }

  set(slot: number, index: number, value: number): void {
    this.values[slot * this.width + index] = value;
  }

  get(slot: number, index: number): number {
    return this.values[slot * this.width + index];
  }
}
