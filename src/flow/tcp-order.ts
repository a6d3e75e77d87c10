import type { Packet } from '../decode/packet.ts';
import { type FlowState, type HeldSegment, NONE_HELD, type Stream } from './flow-state.ts';
import { ACK, FIN, FIN_SEEN, type FlowTable, GUESSED, RESET, RST, SYN, SYNCED } from './flow-table.ts';

/** Takes the bytes of a stream in order. */
export interface StreamSink {
  data(state: FlowState, direction: 0 | 1, bytes: Uint8Array, start: number, end: number): void;
  /** `size` bytes of the stream will not come. */
  gap(state: FlowState, direction: 0 | 1, size: number): void;
}

export const TCP_LIMITS = {
  /** Segments and bytes a direction may hold back for one that is missing; all directions of a shard together. */
  held_segments: 64,
  held_bytes: 256 * 1024,
  held_bytes_all: 16 << 20,
  /** A hole older than this (packet time) is not waited for. */
  patience_ms: 1000,
  /** Packets of the flow that a hole the receiver has acknowledged is still waited for: mirror ports reorder a little. */
  patience_packets: 8,
  /** A sequence number farther off than this is a stream begun anew, not a hole. */
  window_bytes: 16 << 20,
};

/** `FlowState.begun`, by direction. */
const BEGUN = [1, 2] as const;

/**
 * Puts TCP segments in order. Of overlapping segments the first seen wins: what the receiver most likely took, and what a later
 * copy cannot rewrite. A hole is reported, never waited for without bound: it is given up once the receiver has acknowledged it,
 * the limits are reached, or its patience is over in packet time.
 */
export class TcpOrder {
  readonly counters = {
    retransmissions: 0,
    overlaps: 0,
    overlap_conflicts: 0,
    out_of_order: 0,
    keep_alives: 0,
    gaps: 0,
    gap_bytes: 0,
    restarts: 0,
    held_dropped: 0,
  };
  private readonly table: FlowTable;
  private readonly sink: StreamSink;
  /** The held segment that is being delivered: what comes out of it belongs to its packet, not to the one that let it go. */
  released: HeldSegment | null = null;
  private held_bytes = 0;

  constructor(table: FlowTable, sink: StreamSink) {
    this.table = table;
    this.sink = sink;
  }

  /** One segment of the flow in `slot`. `state` is made by the caller when the flow first carries payload. */
  receive(slot: number, direction: 0 | 1, p: Packet, state: FlowState | undefined): void {
    const { flags, next_sequence } = this.table;
    const at = slot * 2 + direction;
    const { tcp_flags } = p;
    // Once something was sent, a SYN is a copy or forged: receivers ignore it (RFC 9293 3.10.7.4), and the stream stands where it stood.
    if (
      (tcp_flags & SYN) !== 0 &&
      ((flags[slot] & SYNCED[direction]) === 0 || state === undefined || (state.begun & BEGUN[direction]) === 0)
    ) {
      next_sequence[at] = p.tcp_sequence + 1;
      flags[slot] = (flags[slot] & ~GUESSED[direction]) | SYNCED[direction];
    }
    const size = p.payload_end - p.payload + p.payload_missing;
    if (state !== undefined) {
      const to = (1 - direction) as 0 | 1;
      if (state.stream(to).held.length > 0) this.judgeAcknowledged(slot, direction, p, size > 0, state);
      if (size > 0) {
        const acknowledges_beyond =
          (tcp_flags & ACK) !== 0 &&
          ((flags[slot] & SYNCED[1 - direction]) === 0 ||
            ((p.tcp_acknowledgment - next_sequence[slot * 2 + 1 - direction]) | 0) > 0);
        state.acknowledges_unseen = acknowledges_beyond || state.stream(to).lost;
        const sequence = tcp_flags & SYN ? (p.tcp_sequence + 1) >>> 0 : p.tcp_sequence;
        this.segment(slot, direction, sequence, p, state);
        if (state.stream(to).lost) state.ownStream(to).lost = false;
      }
      if (state.stream(0).held.length + state.stream(1).held.length > 0) this.judgeAge(slot, p, state);
    } else if (size === 0 && (tcp_flags & (SYN | RST | FIN)) === 0 && (flags[slot] & SYNCED[direction]) === 0) {
      next_sequence[at] = p.tcp_sequence;
      flags[slot] |= SYNCED[direction] | GUESSED[direction];
    }
    this.close(slot, direction, tcp_flags);
  }

  /** Keeps that a direction, or all of it, is over. */
  close(slot: number, direction: 0 | 1, tcp_flags: number): void {
    const { flags } = this.table;
    if (tcp_flags & FIN) flags[slot] |= FIN_SEEN[direction];
    if (tcp_flags & RST) flags[slot] |= RESET;
  }

  private segment(slot: number, direction: 0 | 1, sequence: number, p: Packet, state: FlowState): void {
    const { flags, next_sequence } = this.table;
    const at = slot * 2 + direction;
    if ((flags[slot] & SYNCED[direction]) === 0) {
      flags[slot] |= SYNCED[direction];
      next_sequence[at] = sequence;
    }
    let ahead = (sequence - next_sequence[at]) | 0;
    const { held } = state.stream(direction);
    // What the capture began with was a keep-alive, one before what its sender will send (RFC 9293 3.8.4): nothing is missing.
    if (ahead === 1 && (flags[slot] & GUESSED[direction]) !== 0 && (state.begun & BEGUN[direction]) === 0) {
      next_sequence[at] = sequence;
      ahead = 0;
    }
    if (held.length > 0 && this.fills(held, ahead, sequence, p)) {
      this.hold(at, direction, sequence, p, state);
      this.release(at, direction, state);
      return;
    }
    if (ahead === 0) {
      this.deliver(at, direction, p.bytes, p.payload, p.payload_end, p.payload_missing, state);
      if (held.length > 0) this.release(at, direction, state);
      return;
    }
    const size = p.payload_end - p.payload + p.payload_missing;
    if (ahead > TCP_LIMITS.window_bytes || ahead < -TCP_LIMITS.window_bytes) {
      this.counters.restarts++;
      this.giveUpHoles(at, direction, state);
      state.ownStream(direction).lost = true;
      this.sink.gap(state, direction, TCP_LIMITS.window_bytes);
      next_sequence[at] = sequence;
      this.deliver(at, direction, p.bytes, p.payload, p.payload_end, p.payload_missing, state);
    } else if (ahead < 0) {
      const old = -ahead;
      if (size <= old) {
        if (size <= 1 && old === 1) this.counters.keep_alives++;
        else this.counters.retransmissions++;
        return;
      }
      this.counters.overlaps++;
      const start = p.payload + old;
      if (start <= p.payload_end) this.deliver(at, direction, p.bytes, start, p.payload_end, p.payload_missing, state);
      else this.deliver(at, direction, p.bytes, p.payload_end, p.payload_end, size - old, state);
      if (held.length > 0) this.release(at, direction, state);
    } else {
      this.hold(at, direction, sequence, p, state);
    }
  }

  /** Does the segment come in sequence and reach into those held? Then what they have, being first, is left to them. */
  private fills(held: readonly HeldSegment[], ahead: number, sequence: number, p: Packet): boolean {
    const size = p.payload_end - p.payload + p.payload_missing;
    if (ahead > 0 || ahead + size <= 0 || this.held_bytes + size > TCP_LIMITS.held_bytes_all) return false;
    return ((sequence + size - held[0].sequence) | 0) > 0;
  }

  private deliver(
    at: number,
    direction: 0 | 1,
    bytes: Uint8Array,
    start: number,
    end: number,
    missing: number,
    state: FlowState,
  ): void {
    const { next_sequence } = this.table;
    next_sequence[at] = next_sequence[at] + (end - start) + missing;
    state.begun |= BEGUN[direction];
    if (end > start) this.sink.data(state, direction, bytes, start, end);
    if (missing > 0) this.sink.gap(state, direction, missing);
  }

  /** Keeps a copy of a segment that came early, in sequence order: of it what no segment held before has. */
  private hold(at: number, direction: 0 | 1, sequence: number, p: Packet, state: FlowState): void {
    const stream = state.ownStream(direction);
    if (stream.held === NONE_HELD) stream.held = [];
    const { held } = stream;
    const seen = p.payload_end - p.payload;
    const size = seen + p.payload_missing;
    if (this.held_bytes + seen > TCP_LIMITS.held_bytes_all) {
      this.counters.held_dropped++;
      this.passHole(at, direction, sequence, p, state);
      return;
    }
    let covered = false;
    let news = false;
    for (let i = 0, done = 0; done < size; i++) {
      // Where the next held segment lies, seen from the start of this one.
      const start = i < held.length ? (held[i].sequence - sequence) | 0 : size;
      if (start > done) {
        held.splice(i, 0, this.copy(stream, sequence, p, done, Math.min(start, size)));
        done = Math.min(start, size);
        news = true;
        continue;
      }
      const end = start + held[i].bytes.length + held[i].missing;
      if (end <= done) continue;
      covered = true;
      if (!this.agrees(held[i], start, p, done, Math.min(end, seen))) this.counters.overlap_conflicts++;
      done = end;
    }
    if (!covered) this.counters.out_of_order++;
    else if (news) this.counters.overlaps++;
    else this.counters.retransmissions++;
    if (held.length > TCP_LIMITS.held_segments || stream.held_bytes > TCP_LIMITS.held_bytes)
      this.giveUpHole(at, direction, state);
  }

  /** A segment of its own from bytes `from` to `to` of the packet's payload, those that were not captured counted in. */
  private copy(stream: Stream, sequence: number, p: Packet, from: number, to: number): HeldSegment {
    const seen = p.payload_end - p.payload;
    const size = Math.max(0, Math.min(to, seen) - from);
    const bytes = new Uint8Array(new SharedArrayBuffer(size));
    for (let i = 0; i < size; i++) bytes[i] = p.bytes[p.payload + from + i];
    stream.held_bytes += size;
    this.held_bytes += size;
    const { frame, seconds, nanoseconds, time_ms } = p;
    return { sequence: (sequence + from) >>> 0, bytes, missing: to - from - size, frame, seconds, nanoseconds, time_ms };
  }

  /** Has the held segment, which starts at `start` of the packet's payload, the same bytes from `from` to `to`? As far as both have them. */
  private agrees(segment: HeldSegment, start: number, p: Packet, from: number, to: number): boolean {
    const end = Math.min(to, start + segment.bytes.length);
    for (let i = from; i < end; i++) if (segment.bytes[i - start] !== p.bytes[p.payload + i]) return false;
    return true;
  }

  /** There is no room to hold anything back: what is missing counts as lost at once, so that the stream goes on. */
  private passHole(at: number, direction: 0 | 1, sequence: number, p: Packet, state: FlowState): void {
    const { next_sequence } = this.table;
    const { held } = state.stream(direction);
    while (held.length > 0 && ((held[0].sequence - sequence) | 0) < 0) this.giveUpHole(at, direction, state);
    const ahead = (sequence - next_sequence[at]) | 0;
    if (ahead > 0) {
      next_sequence[at] = sequence;
      this.lose(direction, ahead, state);
    }
    const old = Math.min(Math.max(0, -ahead), p.payload_end - p.payload + p.payload_missing);
    const start = Math.min(p.payload + old, p.payload_end);
    this.deliver(at, direction, p.bytes, start, p.payload_end, p.payload_missing - (old - (start - p.payload)), state);
    this.release(at, direction, state);
  }

  /** Delivers the held segments that have become next. */
  private release(at: number, direction: 0 | 1, state: FlowState): void {
    if (state.stream(direction).held.length === 0) return;
    const stream = state.ownStream(direction);
    const { next_sequence } = this.table;
    while (stream.held.length > 0) {
      const segment = stream.held[0];
      const ahead = (segment.sequence - next_sequence[at]) | 0;
      if (ahead > 0) return;
      // What was known of a hole does not hold for the next one.
      stream.patience = -1;
      stream.held.shift();
      stream.held_bytes -= segment.bytes.length;
      this.held_bytes -= segment.bytes.length;
      const old = -ahead;
      const size = segment.bytes.length;
      if (old >= size + segment.missing) {
        this.counters.overlaps++;
        continue;
      }
      if (old > 0) this.counters.overlaps++;
      const start = Math.min(old, size);
      const missing = old < size ? segment.missing : size + segment.missing - old;
      this.released = segment;
      this.deliver(at, direction, segment.bytes, start, size, missing, state);
      this.released = null;
    }
    stream.patience = -1;
  }

  private giveUpHole(at: number, direction: 0 | 1, state: FlowState): void {
    const stream = state.ownStream(direction);
    const { next_sequence } = this.table;
    stream.patience = -1;
    const size = (stream.held[0].sequence - next_sequence[at]) | 0;
    if (size > 0) {
      next_sequence[at] = stream.held[0].sequence;
      this.lose(direction, size, state);
    }
    this.release(at, direction, state);
  }

  private lose(direction: 0 | 1, size: number, state: FlowState): void {
    this.counters.gaps++;
    this.counters.gap_bytes += size;
    state.ownStream(direction).lost = true;
    this.sink.gap(state, direction, size);
  }

  /**
   * A packet of the other direction, before it is looked into: does it acknowledge what lies behind the hole? Then the receiver has
   * what we do not, and if it answers (payload), what it answers must come first. A bare acknowledgement may have overtaken the data.
   */
  private judgeAcknowledged(slot: number, direction: 0 | 1, p: Packet, answers: boolean, state: FlowState): void {
    const other = (1 - direction) as 0 | 1;
    const stream = state.ownStream(other);
    const at = slot * 2 + other;
    if ((p.tcp_flags & ACK) === 0 || ((p.tcp_acknowledgment - this.table.next_sequence[at]) | 0) <= 0) return;
    if (answers) {
      const { next_sequence } = this.table;
      while (stream.held.length > 0 && ((p.tcp_acknowledgment - next_sequence[at]) | 0) > 0) this.giveUpHole(at, other, state);
    } else if (stream.patience < 0) stream.patience = TCP_LIMITS.patience_packets;
  }

  /** After each packet of a flow with a hole: has it lasted too long? */
  private judgeAge(slot: number, p: Packet, state: FlowState): void {
    for (let d = 0 as 0 | 1; ; d = 1) {
      if (state.stream(d).held.length > 0) {
        const stream = state.ownStream(d);
        if (stream.patience > 0) stream.patience--;
        const late = p.time_ms - stream.held[0].time_ms > TCP_LIMITS.patience_ms;
        if (stream.patience === 0 || late) this.giveUpHole(slot * 2 + d, d, state);
      }
      if (d === 1) return;
    }
  }

  /** The flow ends: what is held is delivered, its holes reported. */
  finish(slot: number, state: FlowState): void {
    for (let d = 0 as 0 | 1; ; d = 1) {
      this.giveUpHoles(slot * 2 + d, d, state);
      if (d === 1) return;
    }
  }

  private giveUpHoles(at: number, direction: 0 | 1, state: FlowState): void {
    const { held } = state.stream(direction);
    while (held.length > 0) this.giveUpHole(at, direction, state);
  }
}
