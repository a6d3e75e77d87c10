/** For tests: packets through the ring into a recording, without threads, and a disk that does as the test says. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { BatchWriter, CAPTURED, INDEX_PACKETS, INTERFACE, MAX_BATCH_BYTES, OFFSET, PacketRing, WIRE } from '../capture/batch.ts';
import { openCaptureFile } from '../capture/file-source.ts';
import type { PacketSource } from '../capture/source.ts';
import { Decoder } from '../decode/decode.ts';
import { Decoded, Packet } from '../decode/packet.ts';
import { type Disk, realDisk } from './disk.ts';
import { RecordingReader } from './reader.ts';
import { COUNTERS, Recording, type RecordingStart, type RecordingState } from './recording.ts';
import { newTags, OT, packetTag } from './tag.ts';

export interface TestPacket {
  seconds: number;
  nanoseconds: number;
  wire: number;
  interface_: number;
  link_type: number;
  bytes: Buffer;
}

export const temporaryFolder = (): string => fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-recording-'));

const ring = new PacketRing();

/** The recorder on the one end, packets put in on the other. Tags are said by decoding, as a shard would. */
export class Bench {
  readonly ring = ring;
  readonly writer = new BatchWriter(ring);
  readonly tags = newTags();
  readonly words = new Uint32Array(this.tags);
  readonly states: RecordingState[] = [];
  readonly recording: Recording;
  readonly directory: string;
  newest = 0;
  private readonly decoder = new Decoder(ring);
  private readonly packet = new Packet();
  private used = 0;

  constructor(directory: string, options: Partial<RecordingStart> = {}, disk: Disk = realDisk) {
    this.directory = directory;
    this.recording = new Recording(
      ring,
      this.tags,
      {
        mode: 'all',
        directory,
        file_bytes: 64 << 20,
        total_bytes: 1 << 30,
        max_age_hours: 0,
        min_free_bytes: 0,
        capture_id: 1,
        interface_names: [],
        ...options,
      },
      () => this.newest,
      (state) => this.states.push(state),
      undefined,
      disk,
    );
  }

  get counters(): Record<string, number> {
    return Object.fromEntries(COUNTERS.map((name, i) => [name, this.recording.counters[i]]));
  }

  /** Puts a packet into the ring; `answer` hands the batch on. */
  put({ bytes, wire, seconds, nanoseconds, interface_, link_type }: TestPacket): void {
    if (this.writer.full || this.used + bytes.length > MAX_BATCH_BYTES) this.answer();
    const at = this.writer.start + this.used;
    this.writer.buffer.set(bytes, at);
    this.writer.add(at, bytes.length, wire, seconds, nanoseconds, interface_, link_type);
    this.used += bytes.length;
  }

  /** All shards have answered for what was put. `ot` says which packets are to be taken for OT. */
  answer(ot: (frame: number) => number = () => 0): void {
    const { first_frame, count } = this.writer.next(this.used);
    this.used = 0;
    this.tag(first_frame, count, ot);
    this.newest = first_frame + count - 1;
  }

  private tag(first_frame: number, count: number, ot: (frame: number) => number): void {
    for (let frame = first_frame; frame < first_frame + count; frame++) {
      const decoded = this.decoder.decode(frame, this.packet);
      const malformed = decoded === Decoded.malformed ? OT : 0;
      this.words[(frame - 1) % INDEX_PACKETS] = packetTag(this.packet) | malformed | ot(frame);
    }
  }

  /** All packets of a source through the recording. Gives them as they came. */
  async replay(source: PacketSource): Promise<TestPacket[]> {
    const { writer } = this;
    const packets: TestPacket[] = [];
    for (;;) {
      const used = await source.fill(writer);
      if (used === null) return packets;
      const { first_frame, count } = writer.next(used);
      for (let frame = first_frame; frame < first_frame + count; frame++) packets.push(this.at(frame));
      this.tag(first_frame, count, () => 0);
      this.newest = first_frame + count - 1;
      this.recording.take();
    }
  }

  private at(frame: number): TestPacket {
    const entry = ring.entry(frame);
    const { index } = ring;
    const offset = index[entry + OFFSET];
    return {
      seconds: ring.seconds(entry),
      nanoseconds: ring.nanoseconds(entry),
      wire: index[entry + WIRE],
      interface_: index[entry + INTERFACE] >>> 16,
      link_type: index[entry + INTERFACE] & 0xffff,
      bytes: Buffer.from(ring.bytes.slice(offset, offset + index[entry + CAPTURED])),
    };
  }
}

/** What the recording holds, in the form in which it was put in. */
export function recorded(directory: string, filter: Parameters<RecordingReader['packets']>[0] = { ends: null }): TestPacket[] {
  return [...new RecordingReader(directory).packets(filter)].map(({ seconds, nanoseconds, wire, interface_, bytes }) => ({
    seconds,
    nanoseconds,
    wire,
    interface_: interface_.number,
    link_type: interface_.link_type,
    bytes,
  }));
}

/** In the order of time, as a recording gives them. */
export const byTime = (packets: readonly TestPacket[]): TestPacket[] =>
  [...packets].sort((a, b) => a.seconds - b.seconds || a.nanoseconds - b.nanoseconds);

export const openFile = openCaptureFile;
