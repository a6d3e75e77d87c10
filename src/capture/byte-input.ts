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
  /** Begins at the first byte again; false where that cannot be. */
  rewind(): boolean;
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

  rewind(): boolean {
    if (this.closed) return false;
    this.bytes_read = 0;
    this.fault = null;
    return true;
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

  rewind(): boolean {
    return false;
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
 * What gzip (RFC 1952), one member or several, makes of another input. Everything in front of a fault is delivered: zlib withholds
 * what came out together with the fault, so the damaged piece is given to it once more, byte by byte.
 */
export class GzipInput implements ByteInput {
  fault: string | null = null;
  private readonly inner: ByteInput;
  private gunzip: zlib.Gunzip;
  private readonly piece = Buffer.allocUnsafe(COMPRESSED_PIECE_BYTES);
  private readonly chunks: Buffer[] = [];
  private at = 0;
  private ended = false;
  private done: (() => void) | null = null;
  /** Compressed bytes given to gzip before the piece it has now, and bytes that came out in all. */
  private given = 0;
  private piece_bytes = 0;
  private delivered = 0;
  /** The second attempt: from where it goes byte by byte, and how much of what comes out is known already. */
  private careful_from = Number.POSITIVE_INFINITY;
  private known = 0;

  constructor(inner: ByteInput) {
    this.inner = inner;
    this.gunzip = this.start();
  }

  get bytes_read(): number {
    return this.inner.bytes_read;
  }
  get bytes_total(): number | null {
    return this.inner.bytes_total;
  }

  private start(): zlib.Gunzip {
    const gunzip = zlib.createGunzip({ chunkSize: GUNZIP_CHUNK_BYTES });
    gunzip.on('data', (chunk: Buffer) => {
      const rest = chunk.subarray(Math.min(this.known, chunk.length));
      this.known -= chunk.length - rest.length;
      this.delivered += rest.length;
      if (rest.length > 0) this.chunks.push(rest);
    });
    gunzip.on('end', () => this.finish(this.inner.fault));
    gunzip.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'Z_BUF_ERROR') this.finish(this.inner.fault ?? 'the gzip data is cut short');
      else if (this.piece_bytes > 1 && this.careful_from === Number.POSITIVE_INFINITY && this.inner.rewind()) this.startAgain();
      else this.finish(`the gzip data is damaged: ${error.message}`);
    });
    return gunzip;
  }

  private startAgain(): void {
    this.careful_from = this.given;
    this.known = this.delivered;
    this.given = 0;
    this.piece_bytes = 0;
    this.gunzip = this.start();
    this.answered();
  }

  private finish(fault: string | null): void {
    if (!this.ended) this.fault = fault;
    this.ended = true;
    this.answered();
  }

  private answered(): void {
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
    while (this.chunks.length === 0 && !this.ended) await this.step();
    return this.chunks.length > 0 ? this.take(target, start, end) : 0;
  }

  /** Gives gzip one piece more, or tells it that there is none, and waits until it has dealt with that. */
  private async step(): Promise<void> {
    this.given += this.piece_bytes;
    this.piece_bytes = 0;
    const most = this.given >= this.careful_from ? 1 : Math.min(this.piece.length, this.careful_from - this.given);
    const n = await this.inner.read(this.piece, 0, most);
    if (this.ended) return;
    this.piece_bytes = n;
    await new Promise<void>((resolve) => {
      this.done = resolve;
      if (n === 0) this.gunzip.end();
      else this.gunzip.write(this.piece.subarray(0, n), (error) => error ?? this.answered());
    });
  }

  rewind(): boolean {
    return false;
  }

  close(): void {
    this.ended = true;
    this.chunks.length = 0;
    this.answered();
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

  rewind(): boolean {
    if (!this.inner.rewind()) return false;
    this.head = Buffer.alloc(0);
    this.at = 0;
    return true;
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
