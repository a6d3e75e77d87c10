/**
 * Bytes of one direction that wait for the rest of their PDU, and how the framing stands. The memory is private,
 * shared-memory backed like the ring so that all readers see one kind of array; it is let go when it is empty and large.
 */
export class StreamBuffer {
  bytes: Uint8Array = EMPTY;
  length = 0;
  /** Bytes still to come of a PDU that was already given (truncated): they are passed over. */
  skip = 0;
  /** The next bytes may not begin a PDU: look for one. */
  needs_sync = false;
  /** What comes next, or waits, is what came first behind the loss. */
  fresh = false;
  /** Bytes lost or passed over since the last PDU. */
  gap = 0;
  /** Bytes searched in vain since the last PDU. */
  unsynchronised = 0;

  append(source: Uint8Array, start: number, end: number): void {
    const size = end - start;
    if (this.length + size > this.bytes.length) {
      const larger = new Uint8Array(new SharedArrayBuffer(Math.max(512, 2 ** Math.ceil(Math.log2(this.length + size)))));
      larger.set(this.bytes.subarray(0, this.length));
      this.bytes = larger;
    }
    const { bytes, length } = this;
    for (let i = 0; i < size; i++) bytes[length + i] = source[start + i];
    this.length += size;
  }

  /** Forgets the first `size` bytes. */
  drop(size: number): void {
    if (size < this.length) {
      this.bytes.copyWithin(0, size, this.length);
      this.length -= size;
      return;
    }
    this.length = 0;
    if (this.bytes.length > KEEP_BYTES) this.bytes = EMPTY;
  }
}

const EMPTY = new Uint8Array(new SharedArrayBuffer(0));
const KEEP_BYTES = 4096;
