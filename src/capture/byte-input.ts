import fs from 'node:fs';
import type { Readable } from 'node:stream';
import zlib from 'node:zlib';
import { fileError } from './errors.ts';

/**
 * Bytes of a capture in order: a file, a stream, or what gzip makes of either. A read that need not wait answers at once with
 * a number, so that files are read without a turn of the event loop; what has to wait answers with a promise.
 */
export interface ByteInput {
  /** Bytes taken from the file or stream itself (compressed, where it is), and how many there are where that is known. */
  readonly bytes_read: number;
  readonly bytes_total: number | null;
  /** Why the bytes ended before they should have (damaged compression, failing disk); null for a proper end. */
  readonly fault: string | null;
  /** Reads at least 1 and at most end - start bytes into target from start; 0 at the end, and after a fault. */
  read(target: Buffer, start: number, end: number): number | Promise<number>;
  close(): void;
}

/** A regular file. */
export class FileInput implements ByteInput {
  readonly bytes_total: number;
  bytes_read = 0;
  fault: string | null = null;
  private readonly fd: number;
  private closed = false;

  constructor(fd: number, size: number) {
    this.fd = fd;
    this.bytes_total = size;
  }

  read(target: Buffer, start: number, end: number): number {
    if (this.closed || this.fault !== null) return 0;
    try {
      const n = fs.readSync(this.fd, target, start, end - start, this.bytes_read);
      this.bytes_read += n;
      return n;
    } catch (error) {
      this.fault = `reading failed: ${(error as Error).message}`;
      return 0;
    }
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    fs.closeSync(this.fd);
  }
}

/** Standard input, a pipe, or any Readable of bytes: holds no more than the stream's own buffer. */
export class StreamInput implements ByteInput {
  readonly bytes_total = null;
  bytes_read = 0;
  fault: string | null = null;
  private readonly stream: Readable;
  private chunk: Buffer | null = null;
  private at = 0;
  private ended = false;
  private wake: (() => void) | null = null;

  constructor(stream: Readable) {
    this.stream = stream;
    const wake = () => {
      this.wake?.();
      this.wake = null;
    };
    stream.on('readable', wake);
    stream.on('end', () => {
      this.ended = true;
      wake();
    });
    stream.on('close', () => {
      this.ended = true;
      wake();
    });
    stream.on('error', (error: Error) => {
      this.fault = `reading failed: ${error.message}`;
      this.ended = true;
      wake();
    });
  }

  read(target: Buffer, start: number, end: number): number | Promise<number> {
    if (this.chunk === null) {
      this.chunk = this.stream.read() as Buffer | null;
      this.at = 0;
      if (this.chunk === null) return this.ended ? 0 : this.readLater(target, start, end);
    }
    const n = Math.min(end - start, this.chunk.length - this.at);
    this.chunk.copy(target, start, this.at, this.at + n);
    this.at += n;
    if (this.at === this.chunk.length) this.chunk = null;
    this.bytes_read += n;
    return n;
  }

  private async readLater(target: Buffer, start: number, end: number): Promise<number> {
    await new Promise<void>((resolve) => {
      this.wake = resolve;
    });
    return this.read(target, start, end);
  }

  close(): void {
    this.ended = true;
    this.chunk = null;
    this.wake?.();
    this.wake = null;
    this.stream.destroy();
  }
}

/** Compressed bytes given to gzip at once: 16 KiB become at most some 17 MB, so that a gzip bomb costs time and no memory. */
const COMPRESSED_PIECE_BYTES = 16 << 10;
const GUNZIP_CHUNK_BYTES = 256 << 10;

/**
 * What gzip (RFC 1952), one member or several, makes of another input. Everything that came out before a fault is delivered.
 */
export class GzipInput implements ByteInput {
  fault: string | null = null;
  private readonly inner: ByteInput;
  private readonly gunzip = zlib.createGunzip({ chunkSize: GUNZIP_CHUNK_BYTES });
  private readonly piece = Buffer.allocUnsafe(COMPRESSED_PIECE_BYTES);
  private readonly chunks: Buffer[] = [];
  private at = 0;
  private ended = false;
  private done: (() => void) | null = null;

  constructor(inner: ByteInput) {
    this.inner = inner;
    this.gunzip.on('data', (chunk: Buffer) => {
      this.chunks.push(chunk);
    });
    this.gunzip.on('end', () => this.finish(null));
    this.gunzip.on('error', (error: NodeJS.ErrnoException) =>
      this.finish(error.code === 'Z_BUF_ERROR' ? 'the gzip data is cut short' : `the gzip data is damaged (${error.message})`),
    );
  }

  get bytes_read(): number {
    return this.inner.bytes_read;
  }
  get bytes_total(): number | null {
    return this.inner.bytes_total;
  }

  private finish(fault: string | null): void {
    if (!this.ended) this.fault = fault ?? this.inner.fault;
    this.ended = true;
    this.done?.();
    this.done = null;
  }

  read(target: Buffer, start: number, end: number): number | Promise<number> {
    if (this.chunks.length > 0) return this.take(target, start, end);
    return this.ended ? 0 : this.readLater(target, start, end);
  }

  private take(target: Buffer, start: number, end: number): number {
    const chunk = this.chunks[0];
    const n = Math.min(end - start, chunk.length - this.at);
    chunk.copy(target, start, this.at, this.at + n);
    this.at += n;
    if (this.at === chunk.length) {
      this.chunks.shift();
      this.at = 0;
    }
    return n;
  }

  private async readLater(target: Buffer, start: number, end: number): Promise<number> {
    while (this.chunks.length === 0 && !this.ended) {
      const n = await this.inner.read(this.piece, 0, this.piece.length);
      await new Promise<void>((resolve) => {
        this.done = resolve;
        if (n === 0) this.gunzip.end();
        else
          this.gunzip.write(this.piece.subarray(0, n), () => {
            this.done?.();
            this.done = null;
          });
      });
    }
    return this.chunks.length > 0 ? this.take(target, start, end) : 0;
  }

  close(): void {
    this.ended = true;
    this.chunks.length = 0;
    this.done?.();
    this.done = null;
    this.gunzip.destroy();
    this.inner.close();
  }
}

/** An input with its first bytes looked at: what was looked at is read again. */
export class PeekedInput implements ByteInput {
  /** What has been looked at so far. */
  head: Buffer = Buffer.alloc(0);
  private readonly inner: ByteInput;
  private at = 0;

  constructor(inner: ByteInput) {
    this.inner = inner;
  }

  get bytes_read(): number {
    return this.inner.bytes_read;
  }
  get bytes_total(): number | null {
    return this.inner.bytes_total;
  }
  get fault(): string | null {
    return this.inner.fault;
  }

  /** Looks at the first `length` bytes, or as many as there are. Only before the first read. */
  async peek(length: number): Promise<Buffer> {
    if (this.head.length < length) {
      const head = Buffer.alloc(length);
      let have = this.head.copy(head);
      while (have < length) {
        const n = await this.inner.read(head, have, length);
        if (n === 0) break;
        have += n;
      }
      this.head = head.subarray(0, have);
    }
    return this.head.subarray(0, length);
  }

  /** Leaves out what has been looked at, up to `length`. */
  skip(length: number): void {
    this.at = Math.min(length, this.head.length);
  }

  read(target: Buffer, start: number, end: number): number | Promise<number> {
    if (this.at < this.head.length) {
      const n = this.head.copy(target, start, this.at, Math.min(this.head.length, this.at + end - start));
      this.at += n;
      return n;
    }
    return this.inner.read(target, start, end);
  }

  close(): void {
    this.inner.close();
  }
}

/** Opens a path, or standard input for `-`. */
export function openInput(path: string, name: string): ByteInput {
  if (path === '-') return new StreamInput(process.stdin);
  try {
    const fd = fs.openSync(path, 'r');
    const stat = fs.fstatSync(fd);
    if (stat.isDirectory()) {
      fs.closeSync(fd);
      throw Object.assign(new Error('is a directory'), { code: 'EISDIR' });
    }
    return stat.isFile() ? new FileInput(fd, stat.size) : new StreamInput(fs.createReadStream('', { fd }));
  } catch (error) {
    throw fileError(name, error);
  }
}
