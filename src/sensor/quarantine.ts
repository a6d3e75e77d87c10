import fs from 'node:fs';
import path from 'node:path';
import { CAPTURED, INTERFACE, OFFSET, type PacketRing, WIRE } from '../capture/batch.ts';
import { PcapWriter } from '../capture/pcap-writer.ts';
import type { Failure } from '../engine/failure.ts';

/** Bounds of the folder: files, bytes, and the packets of a file. */
const MOST_FILES = 200;
const MOST_BYTES = 64 << 20;
const MOST_PACKETS = 32;

/**
 * Keeps the packets that made a dissector, or the engine, fail: the fixture that is missing. A file a failure, named by time, dissector
 * and frame; of a dissector that fails again and again the first ones. What is there stays until somebody takes it away.
 */
export class Quarantine {
  readonly counters = { packets: 0, files: 0, refused: 0, failed: 0 };
  private readonly folder: string;
  private readonly by_dissector = new Map<string, number>();
  private room: { files: number; bytes: number } | null = null;

  /** `data` is the data directory; the folder in it is made when there is something to keep. */
  constructor(data: string) {
    this.folder = path.join(data, 'quarantine');
  }

  /** The packet at hand and those before it in its flow, as far as the ring remembers. Never throws: what cannot be kept is counted. */
  keep(failure: Failure, ring: PacketRing, newest: number): void {
    const { dissector, frame, how } = failure;
    const kept = this.by_dissector.get(dissector) ?? 0;
    const frames = framesBefore(ring, frame, newest, dissector !== '');
    this.room ??= this.roomLeft();
    if (kept >= MOST_FILES / 10 || frames.length === 0 || this.room.files <= 0 || this.room.bytes <= 0) {
      this.counters.refused++;
      return;
    }
    const entry = ring.entry(frame);
    const time = new Date(ring.seconds(entry) * 1000).toISOString().replace(/[-:]/g, '').replace(/\..*/, 'Z');
    const file = path.join(this.folder, `${time}-${dissector || 'engine'}-${how}-frame-${frame}.pcap`);
    if (fs.existsSync(file)) {
      this.counters.refused++;
      return;
    }
    this.by_dissector.set(dissector, kept + 1);
    try {
      fs.mkdirSync(this.folder, { recursive: true, mode: 0o700 });
      const linkType = (at: number) => ring.index[ring.entry(at) + INTERFACE] & 0xffff;
      const writer = new PcapWriter(file, frames.map(linkType));
      for (const at of frames) {
        const packet = ring.entry(at);
        const { index } = ring;
        writer.write(
          ring.bytes,
          index[packet + OFFSET],
          index[packet + CAPTURED],
          index[packet + WIRE],
          ring.seconds(packet),
          ring.nanoseconds(packet),
          linkType(at),
        );
        this.room.bytes -= index[packet + CAPTURED];
      }
      writer.close();
      fs.chmodSync(file, 0o600);
      this.room.files--;
      this.counters.files++;
      this.counters.packets += frames.length;
    } catch {
      this.counters.failed++;
    }
  }

  private roomLeft(): { files: number; bytes: number } {
    let files = MOST_FILES;
    let bytes = MOST_BYTES;
    try {
      for (const name of fs.readdirSync(this.folder)) {
        files--;
        bytes -= fs.statSync(path.join(this.folder, name)).size;
      }
    } catch {
      // There is no such folder yet.
    }
    return { files, bytes };
  }
}

/** Oldest first. Where no dissector was at work the packet may not have been linked to its flow yet. */
function framesBefore(ring: PacketRing, frame: number, newest: number, linked: boolean): number[] {
  const frames: number[] = [];
  for (let at = frame; at > 0 && frames.length < MOST_PACKETS && ring.remembers(at, newest); at = linked ? ring.previous(at) : 0)
    frames.unshift(at);
  return frames;
}
