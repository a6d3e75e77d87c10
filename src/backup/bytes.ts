import { OperatingError } from '../errors.ts';

export const damaged = (message: string): OperatingError => new OperatingError('archive', message);

/** Bytes as they come, taken in the portions that are wanted. */
export class ByteSource {
  private readonly chunks: AsyncIterator<Uint8Array>;
  private rest: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.chunks = source[Symbol.asyncIterator]();
  }

  /** At most `most` bytes, at least one; null at the end. */
  async some(most: number): Promise<Buffer | null> {
    while (this.rest.length === 0) {
      const { value, done } = await this.chunks.next();
      if (done) return null;
      this.rest = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    }
    const bytes = this.rest.subarray(0, most);
    this.rest = this.rest.subarray(bytes.length);
    return bytes;
  }

  /** `size` bytes, or fewer where it ends before. For sizes that were checked. */
  async upTo(size: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let missing = size; missing > 0; ) {
      const part = await this.some(missing);
      if (part === null) break;
      parts.push(part);
      missing -= part.length;
    }
    return parts.length === 1 ? parts[0] : Buffer.concat(parts);
  }

  /** Exactly `size` bytes. Throws OperatingError `archive` where it ends before. */
  async exactly(size: number): Promise<Buffer> {
    const bytes = await this.upTo(size);
    if (bytes.length < size) throw damaged('the file is cut off');
    return bytes;
  }

  /** The next `size` bytes in portions. Throws OperatingError `archive` where it ends before. */
  async *portion(size: number): AsyncGenerator<Buffer> {
    for (let missing = size; missing > 0; ) {
      const part = await this.some(missing);
      if (part === null) throw damaged('the file is cut off');
      missing -= part.length;
      yield part;
    }
  }

  /** All that is left, in portions. */
  async *all(): AsyncGenerator<Buffer> {
    for (let part = await this.some(1 << 20); part !== null; part = await this.some(1 << 20)) yield part;
  }

  /** Lets go of what it reads from. */
  async close(): Promise<void> {
    await this.chunks.return?.();
  }
}
