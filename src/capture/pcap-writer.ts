import fs from 'node:fs';
import { CaptureFileError } from './errors.ts';

const BUFFER_BYTES = 64 << 10;
const SNAP_LENGTH = 262_144;
const PADDING = new Uint8Array(3);

/**
 * Writes a capture file that every tool reads: classic pcap with nanoseconds where all packets have the same link type, else pcapng
 * with an interface a link type. `link_types` are those that will be written. Synchronous, for small files such as evidence.
 * Throws CaptureFileError where the file cannot be written.
 */
export class PcapWriter {
  readonly path: string;
  packets = 0;
  private readonly link_types: number[];
  private readonly fd: number;
  private readonly buffer = Buffer.alloc(BUFFER_BYTES);
  private at = 0;
  private closed = false;

  constructor(path: string, link_types: Iterable<number>) {
    this.path = path;
    this.link_types = [...new Set(link_types)];
    try {
      this.fd = fs.openSync(path, 'w');
    } catch (error) {
      throw new CaptureFileError(path, `cannot be written: ${(error as Error).message}`, undefined, error);
    }
    if (this.pcapng) this.writePcapngHeader();
    else this.writePcapHeader(this.link_types[0] ?? 1);
  }

  get pcapng(): boolean {
    return this.link_types.length > 1;
  }

  /**
   * Writes the packet `bytes[offset, offset + captured)`, which had `wire` bytes on the wire. Seconds up to 2^32 - 1 in pcap (what
   * is later is written as that), nanoseconds below 10^9. RangeError for a link type that was not announced.
   */
  write(
    bytes: Uint8Array,
    offset: number,
    captured: number,
    wire: number,
    seconds: number,
    nanoseconds: number,
    link_type: number,
  ): void {
    const interface_ = this.link_types.indexOf(link_type);
    if (interface_ < 0 && this.link_types.length > 0) throw new RangeError(`link type ${link_type} was not announced`);
    if (this.pcapng) {
      const padding = -captured & 3;
      const total = 32 + captured + padding;
      const stamp = BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds);
      this.words(6, total, interface_, Number(stamp >> 32n), Number(stamp & 0xffff_ffffn), captured, wire);
      this.bytes(bytes, offset, captured);
      this.bytes(PADDING, 0, padding);
      this.words(total);
    } else {
      this.words(Math.min(seconds, 0xffff_ffff), nanoseconds, captured, wire);
      this.bytes(bytes, offset, captured);
    }
    this.packets++;
  }

  /** Writes what is still in memory and closes the file. */
  close(): void {
    if (this.closed) return;
    try {
      this.flush();
    } finally {
      this.closed = true;
      fs.closeSync(this.fd);
    }
  }

  /** Version 2.4, UTC, the magic number of nanoseconds. */
  private writePcapHeader(link_type: number): void {
    this.words(0xa1b23c4d, 0x0004_0002, 0, 0, SNAP_LENGTH, link_type);
  }

  /** A section of unknown length, and an interface description with nanoseconds (if_tsresol, code 9, of 1 byte) a link type. */
  private writePcapngHeader(): void {
    this.words(0x0a0d0d0a, 28, 0x1a2b3c4d, 1, 0xffff_ffff, 0xffff_ffff, 28);
    for (const link_type of this.link_types) this.words(1, 32, link_type, SNAP_LENGTH, 0x0001_0009, 9, 0, 32);
  }

  private words(...values: number[]): void {
    this.room(values.length * 4);
    for (const value of values) this.at = this.buffer.writeUInt32LE(value, this.at);
  }

  private bytes(bytes: Uint8Array, offset: number, length: number): void {
    if (length > BUFFER_BYTES) {
      this.flush();
      this.writeAll(bytes, offset, length);
      return;
    }
    this.room(length);
    this.buffer.set(bytes.subarray(offset, offset + length), this.at);
    this.at += length;
  }

  private room(length: number): void {
    if (this.at + length > BUFFER_BYTES) this.flush();
  }

  private flush(): void {
    this.writeAll(this.buffer, 0, this.at);
    this.at = 0;
  }

  private writeAll(bytes: Uint8Array, offset: number, length: number): void {
    try {
      for (let done = 0; done < length; ) done += fs.writeSync(this.fd, bytes, offset + done, length - done);
    } catch (error) {
      const full =
        (error as NodeJS.ErrnoException).code === 'ENOSPC'
          ? 'the disk is full; make room and try again'
          : (error as Error).message;
      throw new CaptureFileError(this.path, `cannot be written: ${full}`, undefined, error);
    }
  }
}
