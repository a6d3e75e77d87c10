/**
 * A place in the bytes: where a text or byte field starts in `Row.bytes`, and how long it is, in one number
 * (start × 2^20 + length; both are bounded by the batch memory), so that a field costs no object.
 */
export type Span = number & { readonly __span: unique symbol };

const SPAN_LENGTH = 2 ** 20;

export const span = (start: number, length: number): Span =>
  (start * SPAN_LENGTH + (length < SPAN_LENGTH ? length : SPAN_LENGTH - 1)) as Span;
export const spanStart = (s: Span): number => Math.floor(s / SPAN_LENGTH);
export const spanLength = (s: Span): number => s % SPAN_LENGTH;

const scratch = new DataView(new ArrayBuffer(8));

/**
 * A cursor over bytes that somebody else may have forged. Reading past `end` gives 0 (an empty span), moves to `end` and sets
 * `truncated`, which stays set: fields can stand in one column, and the engine judges the row afterwards. Nothing here allocates.
 * `u16` and the like are big-endian, `u16le` and the like little-endian.
 */
export class Reader {
  bytes: Uint8Array;
  position: number;
  end: number;
  /** A read went past `end`. Sticky until `reset`. */
  truncated = false;

  constructor(bytes: Uint8Array = new Uint8Array(0), position = 0, end = bytes.length) {
    this.bytes = bytes;
    this.position = position;
    this.end = end;
  }

  reset(bytes: Uint8Array, position: number, end: number): this {
    this.bytes = bytes;
    this.position = position;
    this.end = end;
    this.truncated = false;
    return this;
  }

  get remaining(): number {
    return this.end - this.position;
  }

  private need(size: number): boolean {
    if (this.position + size <= this.end) return true;
    this.position = this.end;
    this.truncated = true;
    return false;
  }

  u8(): number {
    if (this.position < this.end) return this.bytes[this.position++];
    this.truncated = true;
    return 0;
  }
  u16(): number {
    const p = this.position;
    if (p + 2 > this.end) return this.fail();
    this.position = p + 2;
    return (this.bytes[p] << 8) | this.bytes[p + 1];
  }
  u16le(): number {
    const p = this.position;
    if (p + 2 > this.end) return this.fail();
    this.position = p + 2;
    return this.bytes[p] | (this.bytes[p + 1] << 8);
  }
  u24(): number {
    if (!this.need(3)) return 0;
    const p = this.position;
    this.position = p + 3;
    return (this.bytes[p] << 16) | (this.bytes[p + 1] << 8) | this.bytes[p + 2];
  }
  u24le(): number {
    if (!this.need(3)) return 0;
    const p = this.position;
    this.position = p + 3;
    return this.bytes[p] | (this.bytes[p + 1] << 8) | (this.bytes[p + 2] << 16);
  }
  u32(): number {
    return this.i32() >>> 0;
  }
  u32le(): number {
    return this.i32le() >>> 0;
  }
  u48(): number {
    const high = this.u16();
    return high * 0x1_0000_0000 + this.u32();
  }
  u48le(): number {
    const low = this.u32le();
    return this.u16le() * 0x1_0000_0000 + low;
  }
  u64(): bigint {
    const high = this.u32();
    return (BigInt(high) << 32n) | BigInt(this.u32());
  }
  u64le(): bigint {
    const low = this.u32le();
    return (BigInt(this.u32le()) << 32n) | BigInt(low);
  }
  i8(): number {
    return (this.u8() << 24) >> 24;
  }
  i16(): number {
    return (this.u16() << 16) >> 16;
  }
  i16le(): number {
    return (this.u16le() << 16) >> 16;
  }
  i32(): number {
    if (!this.need(4)) return 0;
    const p = this.position;
    const b = this.bytes;
    this.position = p + 4;
    return (b[p] << 24) | (b[p + 1] << 16) | (b[p + 2] << 8) | b[p + 3];
  }
  i32le(): number {
    if (!this.need(4)) return 0;
    const p = this.position;
    const b = this.bytes;
    this.position = p + 4;
    return b[p] | (b[p + 1] << 8) | (b[p + 2] << 16) | (b[p + 3] << 24);
  }
  f32(): number {
    scratch.setInt32(0, this.i32());
    return scratch.getFloat32(0);
  }
  f32le(): number {
    scratch.setInt32(0, this.i32le());
    return scratch.getFloat32(0);
  }
  f64(): number {
    scratch.setInt32(0, this.i32());
    scratch.setInt32(4, this.i32());
    return scratch.getFloat64(0);
  }
  f64le(): number {
    scratch.setInt32(4, this.i32le());
    scratch.setInt32(0, this.i32le());
    return scratch.getFloat64(0);
  }

  /** The next `size` bytes; what is not there is not in the span, and `truncated` is set. */
  span(size: number): Span {
    const start = this.position;
    const wanted = size < 0 ? 0 : size;
    const got = wanted <= this.end - start ? wanted : this.end - start;
    if (got < wanted) this.truncated = true;
    this.position = start + got;
    return span(start, got);
  }
  /** Like `span`, without the NULs and blanks that pad fixed-size text at its end. */
  text(size: number): Span {
    const whole = this.span(size);
    const start = spanStart(whole);
    let length = spanLength(whole);
    while (length > 0 && (this.bytes[start + length - 1] === 0 || this.bytes[start + length - 1] === 0x20)) length--;
    return span(start, length);
  }
  rest(): Span {
    return this.span(this.end - this.position);
  }
  skip(size: number): void {
    if (size > this.end - this.position) {
      this.position = this.end;
      this.truncated = true;
    } else if (size > 0) this.position += size;
  }

  /** Looks `offset` bytes ahead without moving; 0 where there is nothing (and that is no error: compare `remaining`). */
  peekU8(offset = 0): number {
    const p = this.position + offset;
    return p < this.end ? this.bytes[p] : 0;
  }
  peekU16(offset = 0): number {
    return (this.peekU8(offset) << 8) | this.peekU8(offset + 1);
  }
  peekU16le(offset = 0): number {
    return this.peekU8(offset) | (this.peekU8(offset + 1) << 8);
  }
  peekU32(offset = 0): number {
    return ((this.peekU16(offset) << 16) | this.peekU16(offset + 2)) >>> 0;
  }

  /**
   * Narrows the reader to the next `size` bytes, for a structure that states its own length; returns what `leave` needs.
   * A size that reaches beyond `end` narrows to what is there; reading there sets `truncated` as usual.
   */
  enter(size: number): number {
    const outer = this.end;
    const inner = this.position + (size < 0 ? 0 : size);
    if (inner < outer) this.end = inner;
    return outer;
  }
  /** Moves behind the narrowed part and widens the reader again. */
  leave(outer: number): void {
    this.position = this.end;
    this.end = outer;
  }

  private fail(): number {
    this.position = this.end;
    this.truncated = true;
    return 0;
  }
}

const decoder = new TextDecoder('utf-8', { fatal: false });

/** Makes a string of a span; for rare places (identities, alerts), never a packet. NULs and blanks at the end are dropped. */
export function spanText(bytes: Uint8Array, s: Span): string {
  const start = spanStart(s);
  return decoder.decode(Uint8Array.from(bytes.subarray(start, start + spanLength(s)))).replace(/[\0 ]+$/, '');
}
