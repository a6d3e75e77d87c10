import { CAPTURED, INTERFACE, OFFSET, type PacketRing, PREVIOUS, WIRE } from '../capture/batch.ts';
import type { EvidenceRow } from '../store/change-set.ts';

export const EVIDENCE_LIMITS = {
  /** Packets back along the flow from the one that caused the alert: the transaction and the exchange around it. */
  packets_back: 32,
  packets_an_alert: 64,
  bytes_an_alert: 256 * 1024,
  bytes_in_all: 512 << 20,
};

/** Takes the packets behind alerts out of the ring's short memory, as long as they are there. */
export class EvidenceKeeper {
  readonly counters = { packets: 0, bytes: 0, refused: 0, forgotten: 0 };
  private readonly capture_id: number;
  private readonly kept = new Map<string, { frames: Set<number>; bytes: number }>();

  constructor(capture_id: number) {
    this.capture_id = capture_id;
  }

  /** The handshake's frames and the way back from `frame` along its flow, oldest first. */
  collect(ring: PacketRing, key: string, frame: number, handshake: readonly number[]): EvidenceRow[] {
    const frames = new Set<number>();
    for (const early of handshake) {
      if (early > frame) continue;
      if (ring.remembers(early, frame)) frames.add(early);
      else this.counters.forgotten++;
    }
    let at = frame;
    for (let i = 0; i <= EVIDENCE_LIMITS.packets_back && ring.remembers(at, frame); i++) {
      frames.add(at);
      const back = ring.index[ring.entry(at) + PREVIOUS];
      if (back === 0) break;
      at -= back;
    }
    return [...frames].sort((a, b) => a - b).flatMap((one) => this.keep(ring, key, one));
  }

  /** One packet more for an alert that has evidence. */
  add(ring: PacketRing, key: string, frame: number): EvidenceRow[] {
    return this.kept.has(key) ? this.keep(ring, key, frame) : [];
  }

  private keep(ring: PacketRing, key: string, frame: number): EvidenceRow[] {
    let known = this.kept.get(key);
    if (known === undefined) {
      known = { frames: new Set(), bytes: 0 };
      this.kept.set(key, known);
    }
    if (known.frames.has(frame)) return [];
    const entry = ring.entry(frame);
    const captured = ring.index[entry + CAPTURED];
    const full =
      known.frames.size >= EVIDENCE_LIMITS.packets_an_alert ||
      known.bytes + captured > EVIDENCE_LIMITS.bytes_an_alert ||
      this.counters.bytes + captured > EVIDENCE_LIMITS.bytes_in_all;
    if (full) {
      this.counters.refused++;
      return [];
    }
    const ordinal = known.frames.size;
    known.frames.add(frame);
    known.bytes += captured;
    this.counters.packets++;
    this.counters.bytes += captured;
    const offset = ring.index[entry + OFFSET];
    return [
      {
        alert_key: key,
        ordinal,
        capture_id: this.capture_id,
        frame,
        seconds: ring.seconds(entry),
        nanoseconds: ring.nanoseconds(entry),
        captured,
        wire: ring.index[entry + WIRE],
        link_type: ring.index[entry + INTERFACE] & 0xffff,
        bytes: Uint8Array.from(ring.bytes.subarray(offset, offset + captured)),
      },
    ];
  }
}
