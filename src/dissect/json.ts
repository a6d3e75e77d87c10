import { type Span, spanLength, spanStart } from './reader.ts';

const HEX = '0123456789abcdef';
const HEX_CODES = Uint8Array.from({ length: 16 }, (_, i) => HEX.charCodeAt(i));
const COMMA = 44;
/** The digits of 0–999 in the order in which they are written, from the lowest byte up; in the highest byte how many there are. */
const DIGITS = Int32Array.from({ length: 1000 }, (_, v) => wordOf(String(v)));
/** The same with leading zeros. */
const PADDED = Int32Array.from({ length: 1000 }, (_, v) => wordOf(String(v).padStart(3, '0')));
/** Bytes that the longest integer takes, and what is written behind it. */
const INTEGER_BYTES = 13;

/** Text that is written again and again, as bytes and as 32-bit words (little-endian, the last one padded). */
export class JsonConstant {
  readonly text: string;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly length: number;

  constructor(text: string) {
    this.text = text;
    this.bytes = new TextEncoder().encode(text);
    this.length = this.bytes.length;
    this.words = new Int32Array((this.length + 3) >> 2);
    const view = new DataView(this.words.buffer);
    const padded = new Uint8Array(this.words.buffer);
    padded.set(this.bytes);
    for (let i = 0; i < this.words.length; i++) this.words[i] = view.getInt32(i * 4, true);
  }
}

/**
 * Writes JSON straight into bytes: no object, no string a record. The buffer grows by doubling and is reused.
 * Callers write members with a comma before each.
 */
export class JsonWriter {
  bytes: Uint8Array;
  position = 0;
  /** Of `bytes`. */
  view: DataView;

  constructor(bytes: Uint8Array = new Uint8Array(1 << 16)) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  static constant(text: string): JsonConstant {
    return new JsonConstant(text);
  }

  /**
   * What was written, with the memory it lies in: the writer goes on in `next`, or, where that is smaller, in other memory of the
   * same size as before.
   */
  take(next?: ArrayBuffer): Uint8Array<ArrayBuffer> {
    const taken = this.bytes.subarray(0, this.position) as Uint8Array<ArrayBuffer>;
    this.bytes =
      next !== undefined && next.byteLength >= this.bytes.length ? new Uint8Array(next) : new Uint8Array(this.bytes.length);
    this.view = new DataView(this.bytes.buffer);
    this.position = 0;
    return taken;
  }

  /** Makes room for `size` more bytes. */
  reserve(size: number): void {
    if (this.position + size <= this.bytes.length) return;
    const larger = new Uint8Array(Math.max(this.bytes.length * 2, this.position + size));
    larger.set(this.bytes.subarray(0, this.position));
    this.bytes = larger;
    this.view = new DataView(larger.buffer);
  }

  byte(value: number): void {
    if (this.position === this.bytes.length) this.reserve(1);
    this.bytes[this.position++] = value;
  }

  /** Text made by `JsonWriter.constant`; up to three bytes behind it are overwritten, too. */
  constant(text: JsonConstant): void {
    const { length } = text;
    const start = this.position;
    if (start + length + 3 > this.bytes.length) this.reserve(length + 3);
    // A call of `set` costs as much as a loop over some ten words.
    if (length > 40) this.bytes.set(text.bytes, start);
    else {
      const { view } = this;
      const { words } = text;
      for (let i = 0, at = start; i < words.length; i++, at += 4) view.setInt32(at, words[i], true);
    }
    this.position = start + length;
  }

  ascii(text: string): void {
    this.reserve(text.length);
    for (let i = 0; i < text.length; i++) this.bytes[this.position++] = text.charCodeAt(i);
  }

  /** A string value of any text, quoted. For rare places. */
  string(text: string): void {
    this.constant(JsonWriter.constant(JSON.stringify(text)));
  }

  /** Any number; NaN and the infinities, which JSON has not, become null. */
  number(value: number): void {
    if ((value | 0) === value && value >= 0 && !(value === 0 && 1 / value < 0)) this.small(value);
    else if (value >= 0 && value <= 0xffffffff && Math.floor(value) === value && value !== 0) this.unsigned(value);
    else if (Number.isFinite(value)) this.ascii(Object.is(value, -0) ? '-0' : String(value));
    else this.ascii('null');
  }

  /** An integer from 0 to 2^32 - 1. */
  unsigned(value: number): void {
    if (value <= 0x7fffffff) {
      this.small(value | 0);
      return;
    }
    const high = Math.floor(value / 10);
    this.small(high);
    this.byte(48 + (value - high * 10));
  }

  /** An integer from 0 to 2^31 - 1. */
  private small(value: number): void {
    if (this.position + INTEGER_BYTES > this.bytes.length) this.reserve(INTEGER_BYTES);
    this.position = this.digits(this.position, value);
  }

  /** The same where there is room for it; answers where it ends. Three digits at a time, and a byte behind them. */
  private digits(at: number, value: number): number {
    if (value < 1000) return this.leading(at, value);
    const thousands = (value / 1000) | 0;
    let behind: number;
    if (thousands < 1000) behind = this.leading(at, thousands);
    else {
      const millions = (thousands / 1000) | 0;
      if (millions < 1000) behind = this.leading(at, millions);
      else {
        const billions = (millions / 1000) | 0;
        behind = this.leading(at, billions) + 3;
        this.view.setInt32(behind - 3, PADDED[millions - billions * 1000], true);
      }
      this.view.setInt32(behind, PADDED[thousands - millions * 1000], true);
      behind += 3;
    }
    this.view.setInt32(behind, PADDED[value - thousands * 1000], true);
    return behind + 3;
  }

  private leading(at: number, value: number): number {
    const word = DIGITS[value];
    this.view.setInt32(at, word, true);
    return at + (word >>> 24);
  }

  /** Nanoseconds of a second: nine digits. */
  nanoseconds(value: number): void {
    if (this.position + INTEGER_BYTES > this.bytes.length) this.reserve(INTEGER_BYTES);
    const { view, position: at } = this;
    const microseconds = (value / 1000) | 0;
    const milliseconds = (microseconds / 1000) | 0;
    view.setInt32(at, PADDED[milliseconds], true);
    view.setInt32(at + 3, PADDED[microseconds - milliseconds * 1000], true);
    view.setInt32(at + 6, PADDED[value - microseconds * 1000], true);
    this.position = at + 9;
  }

  numbers(values: Float64Array, count: number): void {
    this.byte(91);
    for (let i = 0; i < count; i++) {
      if (i > 0) this.byte(COMMA);
      this.number(values[i]);
    }
    this.byte(93);
  }

  hexByte(value: number): void {
    this.bytes[this.position++] = HEX_CODES[value >> 4];
    this.bytes[this.position++] = HEX_CODES[value & 15];
  }

  bytesSpan(source: Uint8Array, s: Span): void {
    this.hex(source, spanStart(s), spanLength(s));
  }

  /** A byte string as quoted lower-case hex. */
  hex(source: Uint8Array, start: number, length: number): void {
    this.reserve(length * 2 + 2);
    this.bytes[this.position++] = 34;
    for (let i = 0; i < length; i++) this.hexByte(source[start + i]);
    this.bytes[this.position++] = 34;
  }

  mac(source: Uint8Array, s: Span): void {
    this.macAt(source, spanStart(s), spanLength(s));
  }

  macAt(source: Uint8Array, start: number, length = 6): void {
    this.reserve(length * 3 + 2);
    this.bytes[this.position++] = 34;
    for (let i = 0; i < length; i++) {
      if (i > 0) this.bytes[this.position++] = 58;
      this.hexByte(source[start + i]);
    }
    this.bytes[this.position++] = 34;
  }

  /** A u32 as a quoted dotted quad. */
  ipv4(value: number): void {
    this.reserve(17);
    this.bytes[this.position++] = 34;
    for (let shift = 24; shift >= 0; shift -= 8) {
      this.unsigned((value >>> shift) & 255);
      if (shift > 0) this.bytes[this.position++] = 46;
    }
    this.bytes[this.position++] = 34;
  }

  /** 16 bytes as a quoted IPv6 address in RFC 5952 form. */
  ipv6(source: Uint8Array, s: Span): void {
    const start = spanStart(s);
    if (spanLength(s) < 16) this.hex(source, start, spanLength(s));
    else this.string(ipv6Text(source, start));
  }

  /** Milliseconds since the epoch as a quoted ISO 8601 time; null where no calendar date is. */
  time_ms(value: number): void {
    if (Math.abs(value) <= 8.64e15) this.string(new Date(value).toISOString());
    else this.ascii('null');
  }

  /** Text of unknown encoding as a JSON string: valid UTF-8 is kept, anything else becomes U+FFFD. */
  text(source: Uint8Array, s: Span): void {
    const start = spanStart(s);
    const length = spanLength(s);
    this.reserve(length * 6 + 2);
    const { bytes } = this;
    bytes[this.position++] = 34;
    for (let i = start; i < start + length; i++) {
      const c = source[i];
      if (c >= 0x80) {
        this.textSlowly(source, i, start + length);
        return;
      }
      this.textByte(c);
    }
    bytes[this.position++] = 34;
  }

  private textByte(c: number): void {
    const { bytes } = this;
    if (c === 34 || c === 92) {
      bytes[this.position++] = 92;
      bytes[this.position++] = c;
    } else if (c < 0x20 || c === 0x7f) {
      bytes[this.position++] = 92;
      bytes[this.position++] = 117;
      bytes[this.position++] = 48;
      bytes[this.position++] = 48;
      this.hexByte(c);
    } else bytes[this.position++] = c;
  }

  /** The tail of a text from its first byte beyond ASCII. */
  private textSlowly(source: Uint8Array, from: number, to: number): void {
    const tail = JSON.stringify(new TextDecoder().decode(Uint8Array.from(source.subarray(from, to)))).slice(1);
    this.constant(JsonWriter.constant(tail));
  }
}

function wordOf(digits: string): number {
  let word = digits.length << 24;
  for (let i = 0; i < digits.length; i++) word |= digits.charCodeAt(i) << (i * 8);
  return word;
}

/** A u32 as a dotted quad. */
export const ipv4Text = (value: number): string =>
  `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;

/** RFC 5952: lower case, no leading zeros, the longest run of zero groups (two or more; the first of equals) as `::`. */
export function ipv6Text(source: Uint8Array, start: number): string {
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((source[start + i] << 8) | source[start + i + 1]);
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && groups[i + length] === 0) length++;
    if (length > bestLength) {
      best = i;
      bestLength = length;
    }
  }
  const text = (part: number[]) => part.map((g) => g.toString(16)).join(':');
  return best < 0 ? text(groups) : `${text(groups.slice(0, best))}::${text(groups.slice(best + bestLength))}`;
}
