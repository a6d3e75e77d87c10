import type { BatchWriter } from './batch.ts';
import type { ByteInput } from './byte-input.ts';

/**
 * The piece of a capture file that lies in the ring, where it is parsed in place. What is left of a batch (a record of which the
 * end is not there yet) stays in the ring behind it and is moved to where the next batch starts.
 */
export class RingWindow {
  /** The next byte to parse and the end of what has been read, as offsets in the ring. */
  at = 0;
  end = 0;
  view: DataView = new DataView(new ArrayBuffer(0));
  /** Bytes taken out of the input, ahead of `end`. */
  private taken: number;
  private readonly input: ByteInput;
  private readonly read_bytes: number;

  /** `taken` bytes of the input have been read by others; at most `read_bytes` are read at once (tests make it small). */
  constructor(input: ByteInput, taken: number, read_bytes = Number.POSITIVE_INFINITY) {
    this.input = input;
    this.taken = taken;
    this.read_bytes = read_bytes;
  }

  /** Where `at` is in the file. */
  get offset(): number {
    return this.taken - (this.end - this.at);
  }

  /** Moves what is left to `to` in the ring and reads more behind it. Answers how many bytes were read: 0 for the end of the input. */
  refill(batch: BatchWriter, to: number): number | Promise<number> {
    const { buffer } = batch;
    if (this.view.buffer !== buffer.buffer) this.view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    if (this.at !== to) {
      if (this.end > this.at) buffer.copyWithin(to, this.at, this.end);
      this.end = to + (this.end - this.at);
      this.at = to;
    }
    const n = this.input.read(buffer, this.end, Math.min(batch.limit, this.end + this.read_bytes));
    if (typeof n !== 'number') return this.arrived(n);
    this.end += n;
    this.taken += n;
    return n;
  }

  private async arrived(reading: Promise<number>): Promise<number> {
    const n = await reading;
    this.end += n;
    this.taken += n;
    return n;
  }
}
