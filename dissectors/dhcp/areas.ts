import type { Reader } from '../../src/dissect/index.ts';
import { JOINABLE } from './options.ts';

/** More than a message of the largest usual size can sensibly hold. */
const MAX_OPTIONS = 512;

export const Area = { options: 0, file: 1, sname: 2 } as const;

const PAD = 0;
const END = 255;
const OVERLOAD = 52;

/** Where the fields are that hold options: RFC 2131, figure 1. */
const SNAME_AT = 44;
const FILE_AT = 108;
const FILE_END = 236;
const OPTIONS_AT = 240;

/**
 * Where a message's options are, in the order in which they are to be read: field `options`, then `file`, then `sname`
 * (RFC 2131, 4.1; RFC 3396, 5). One for all messages: nothing is allocated, but where an option comes in parts.
 */
export class OptionIndex {
  count = 0;
  readonly codes = new Uint8Array(MAX_OPTIONS);
  readonly areas = new Uint8Array(MAX_OPTIONS);
  /** Places in `bytes`. */
  readonly starts = new Uint32Array(MAX_OPTIONS);
  readonly lengths = new Uint32Array(MAX_OPTIONS);
  /** Options joined to this one; 0: it is itself a part of an earlier one. */
  readonly parts = new Uint16Array(MAX_OPTIONS);
  /** What the places point into: the message, or a copy of it with the joined values behind. */
  bytes: Uint8Array = new Uint8Array(0);
  /** Where the message starts in it. */
  base = 0;
  overload = 0;
  /** The last option of the field `options` is not all there, or that field does not end with End. */
  is_cut = false;
  /** Which option that is; -1 none. */
  cut = -1;
  overflowed = false;
  /** An overloaded field does not end with End. */
  is_open = false;

  private readonly first = new Int16Array(256);

  /** Indexes the message between the reader's position and end; does not move the reader. */
  index(r: Reader): void {
    const { bytes, position, end } = r;
    this.count = 0;
    this.bytes = bytes;
    this.base = position;
    this.overload = 0;
    this.cut = -1;
    this.overflowed = false;
    this.is_open = false;
    this.is_cut = !this.scan(bytes, Math.min(position + OPTIONS_AT, end), end, Area.options);
    if (end - position < OPTIONS_AT) return;
    if (this.overload & 1 && !this.scan(bytes, position + FILE_AT, position + FILE_END, Area.file)) this.is_open = true;
    if (this.overload & 2 && !this.scan(bytes, position + SNAME_AT, position + FILE_AT, Area.sname)) this.is_open = true;
    this.join(position, end);
  }

  /** True where the area ends with End. */
  private scan(bytes: Uint8Array, start: number, end: number, area: number): boolean {
    for (let at = start; at < end; ) {
      const code = bytes[at];
      if (code === END) return true;
      if (code === PAD) {
        at++;
        continue;
      }
      if (this.count === MAX_OPTIONS) {
        this.overflowed = true;
        return true;
      }
      const index = this.count++;
      const length = at + 1 < end ? bytes[at + 1] : 0;
      const value = Math.min(at + 2, end);
      this.codes[index] = code;
      this.areas[index] = area;
      this.starts[index] = value;
      this.lengths[index] = Math.min(length, end - value);
      this.parts[index] = 1;
      if (at + 1 >= end || length > end - value) {
        if (area === Area.options) this.cut = index;
        return false;
      }
      if (code === OVERLOAD && area === Area.options && length === 1 && this.overload === 0) this.overload = bytes[value];
      at = value + length;
    }
    return false;
  }

  /** Puts the parts of options together, behind a copy of the message, if there are any. */
  private join(position: number, end: number): void {
    const { codes, lengths, starts, parts, first, count } = this;
    let joined = 0;
    first.fill(-1);
    for (let i = 0; i < count; i++) {
      const code = codes[i];
      if (!JOINABLE[code]) continue;
      const head = first[code];
      if (head < 0) {
        first[code] = i;
        continue;
      }
      if (parts[head] === 1) joined += lengths[head];
      joined += lengths[i];
      parts[head]++;
      parts[i] = 0;
      if (i === this.cut) this.cut = head;
    }
    if (joined === 0 && !parts.subarray(0, count).includes(0)) return;
    const size = end - position;
    const copy = new Uint8Array(size + joined);
    copy.set(this.bytes.subarray(position, end));
    let at = size;
    for (let i = 0; i < count; i++) {
      if (parts[i] <= 1) {
        starts[i] -= position;
        continue;
      }
      const start = at;
      for (let j = i; j < count; j++) {
        if (codes[j] !== codes[i]) continue;
        copy.set(this.bytes.subarray(starts[j], starts[j] + lengths[j]), at);
        at += lengths[j];
      }
      starts[i] = start;
      lengths[i] = at - start;
    }
    this.bytes = copy;
    this.base = 0;
  }
}
