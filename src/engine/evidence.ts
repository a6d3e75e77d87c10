import { CAPTURED, INTERFACE, OFFSET, type PacketRing, WIRE } from '../capture/batch.ts';
import type { EvidenceRow } from '../store/change-set.ts';

export const EVIDENCE_LIMITS = {
  /** Packets back along the flow from the one that caused the alert: the transaction and the exchange around it. */
  packets_back: 32,
  packets_an_alert: 64,
  bytes_an_alert: 256 * 1024,
  bytes_in_all: 512 << 20,
};

interface Kept {
  frames: Set<number>;
  bytes: number;
  rows: number;
}

/** Takes the packets behind alerts out of the ring's short memory, as long as they are there. */
export class EvidenceKeeper {
  readonly counters = { packets: 0, bytes: 0, refused: 0, forgotten: 0 };
  private readonly capture_id: number;
  private readonly kept = new Map<string, Kept>();

  constructor(capture_id: number) {
    this.capture_id = capture_id;
  }

  /**
   * The handshake's frames and the way back from `frame` along its flow, oldest first, as far as the ring remembers them when `newest`
   * is its newest packet. Where the limits do not let all of them in, those that are nearest to `frame` are kept.
   */
  collect(ring: PacketRing, key: string, frame: number, handshake: readonly number[], newest = frame): EvidenceRow[] {
    const frames = new Set<number>();
    let at = frame;
    for (let i = 0; i <= EVIDENCE_LIMITS.packets_back; i++) {
      if (!ring.remembers(at, newest)) {
        this.counters.forgotten++;
        break;
      }
      frames.add(at);
      const previous = ring.previous(at);
      if (previous === 0) break;
      at = previous;
    }
    for (const early of handshake) {
      if (early > frame) continue;
      if (ring.remembers(early, newest)) frames.add(early);
      else this.counters.forgotten++;
    }
    const known = this.known(key);
    return [...frames]
      .filter((one) => this.admit(ring, known, one))
      .sort((a, b) => a - b)
      .map((one) => this.row(ring, key, known, one));
  }

  /** One packet more for an alert that has evidence. */
  add(ring: PacketRing, key: string, frame: number): EvidenceRow[] {
    const known = this.kept.get(key);
    return known !== undefined && this.admit(ring, known, frame) ? [this.row(ring, key, known, frame)] : [];
  }

  /** Nothing more will be added to it. */
  close(key: string): void {
    this.kept.delete(key);
  }

  private known(key: string): Kept {
    let known = this.kept.get(key);
    if (known === undefined) {
      known = { frames: new Set(), bytes: 0, rows: 0 };
      this.kept.set(key, known);
    }
    return known;
  }

  /** Counts the packet in, unless it is there or there is no room. */
  private admit(ring: PacketRing, known: Kept, frame: number): boolean {
    if (known.frames.has(frame)) return false;
    const captured = ring.index[ring.entry(frame) + CAPTURED];
    const full =
      known.frames.size >= EVIDENCE_LIMITS.packets_an_alert ||
      known.bytes + captured > EVIDENCE_LIMITS.bytes_an_alert ||
      this.counters.bytes + captured > EVIDENCE_LIMITS.bytes_in_all;
    if (full) {
      this.counters.refused++;
      return false;
    }
    known.frames.add(frame);
    known.bytes += captured;
    this.counters.packets++;
    this.counters.bytes += captured;
    return true;
  }

  private row(ring: PacketRing, key: string, known: Kept, frame: number): EvidenceRow {
    const entry = ring.entry(frame);
    const offset = ring.index[entry + OFFSET];
    const captured = ring.index[entry + CAPTURED];
    return {
      alert_key: key,
      ordinal: known.rows++,
      capture_id: this.capture_id,
      frame,
      seconds: ring.seconds(entry),
      nanoseconds: ring.nanoseconds(entry),
      captured,
      wire: ring.index[entry + WIRE],
      link_type: ring.index[entry + INTERFACE] & 0xffff,
      bytes: ring.bytes.slice(offset, offset + captured),
    };
  }
}
