import fs from 'node:fs';
import { CaptureFileError } from '../capture/errors.ts';
import {
  ENHANCED_PACKET,
  interfaceDescription,
  PACKET_AROUND_BYTES,
  PACKET_HEADER_BYTES,
  plainSectionHeader,
  type RecordedInterface,
  stampWords,
} from './format.ts';

const BUFFER_BYTES = 1 << 20;

/** What is written of a packet. */
export interface WrittenPacket {
  seconds: number;
  nanoseconds: number;
  wire: number;
  interface_: RecordedInterface;
  bytes: Uint8Array;
}

/** Writes packets of any interfaces as pcapng, with nanoseconds. Throws CaptureFileError where the file cannot be written. */
export class PacketWriter {
  readonly path: string;
  packets = 0;
  private readonly fd: number;
  private readonly buffer = Buffer.alloc(BUFFER_BYTES);
  private readonly ids = new Map<string, number>();
  private readonly stamp = new Uint32Array(2);
  private at = 0;

  constructor(path: string) {
    this.path = path;
    try {
      this.fd = fs.openSync(path, 'w');
    } catch (error) {
      throw new CaptureFileError(path, `cannot be written: ${(error as Error).message}`, undefined, error);
    }
    this.put(plainSectionHeader());
  }

  write({ seconds, nanoseconds, wire, interface_, bytes }: WrittenPacket): void {
    const id = this.interfaceId(interface_);
    const captured = bytes.length;
    const total = PACKET_AROUND_BYTES + ((captured + 3) & ~3);
    this.room(total);
    const { buffer, at, stamp } = this;
    stampWords(stamp, seconds, nanoseconds);
    let p = at;
    for (const word of [ENHANCED_PACKET, total, id, stamp[0], stamp[1], captured, wire]) p = buffer.writeUInt32LE(word, p);
    buffer.set(bytes, p);
    buffer.fill(0, at + PACKET_HEADER_BYTES + captured, at + total - 4);
    buffer.writeUInt32LE(total, at + total - 4);
    this.at = at + total;
    this.packets++;
  }

  close(): void {
    try {
      this.flush();
    } finally {
      fs.closeSync(this.fd);
    }
  }

  private interfaceId(interface_: RecordedInterface): number {
    const key = `${interface_.number} ${interface_.link_type} ${interface_.name}`;
    let id = this.ids.get(key);
    if (id === undefined) {
      id = this.ids.size;
      this.ids.set(key, id);
      this.put(interfaceDescription(interface_));
    }
    return id;
  }

  private put(bytes: Buffer): void {
    this.room(bytes.length);
    this.buffer.set(bytes, this.at);
    this.at += bytes.length;
  }

  private room(length: number): void {
    if (this.at + length > BUFFER_BYTES) this.flush();
  }

  private flush(): void {
    try {
      for (let done = 0; done < this.at; ) done += fs.writeSync(this.fd, this.buffer, done, this.at - done);
      this.at = 0;
    } catch (error) {
      throw new CaptureFileError(this.path, `cannot be written: ${(error as Error).message}`, undefined, error);
    }
  }
}
