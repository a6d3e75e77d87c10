import { Conversation } from '../dissect/conversation.ts';
import type { Framing } from '../dissect/dissector.ts';
import { StreamBuffer } from './stream-buffer.ts';

/** How a flow's protocol was recognised. */
export const RecognisedBy = { nothing: 0, port: 1, probe: 2, parent: 3 } as const;
export const RECOGNISED_BY_NAMES = ['', 'port', 'probe', 'parent'] as const;

/** Which packet, and when. */
export interface Stamp {
  frame: number;
  seconds: number;
  nanoseconds: number;
  time_ms: number;
}

/** A TCP segment that came before its predecessor, copied. */
export interface HeldSegment extends Stamp {
  sequence: number;
  bytes: Uint8Array;
  missing: number;
}

/** What most streams hold: shared until there is one. */
export const NONE_HELD: HeldSegment[] = [];

/** One direction of TCP beyond its next sequence number, which is a column of the flow table. */
export class Stream extends StreamBuffer {
  /** Sequence by sequence, without overlap. */
  held: HeldSegment[] = NONE_HELD;
  held_bytes = 0;
  /** Packets of the flow that may still pass before a hole the receiver has acknowledged counts as lost; -1: none is. */
  patience = -1;
  /** Bytes were lost since the other direction last sent some: what it answers may be among them. */
  lost = false;
}

/** A stream to look at. */
export type StreamView = Readonly<Omit<Stream, 'append' | 'drop'>>;

/** The stream of a direction that holds nothing and lacks nothing, as nearly all do: shared, never to be written to. */
export const IDLE_STREAM: StreamView = new Stream();

/** What a flow needs once it carries payload; the flow table's columns hold the rest. Of a million flows each field is 8 MB. */
export class FlowState extends Conversation {
  /** Ports of the opener and the responder. */
  opener_port = 0;
  responder_port = 0;
  private opener_stream: Stream | null = null;
  private responder_stream: Stream | null = null;
  /** Directions whose payload was taken in sequence: 1 the opener's, 2 the responder's. */
  begun = 0;
  /** Index of the recognised dissector; -1 not yet, -2 given up. */
  dissector = -1;
  recognised_by: 0 | 1 | 2 | 3 = 0;
  /** Of the recognised dissector. */
  framing: Framing | null = null;
  /** Payloads that nothing recognised. */
  attempts = 0;
  /** Its dissector threw: the flow is put aside. */
  aside = false;
  /** What the engine's consumers keep for the flow. */
  notes: unknown = null;

  port(end: 0 | 1): number {
    return end === 0 ? this.opener_port : this.responder_port;
  }

  /** The stream of a direction, to look at. */
  stream(direction: 0 | 1): StreamView {
    return (direction === 0 ? this.opener_stream : this.responder_stream) ?? IDLE_STREAM;
  }

  /** The stream of a direction, to be written to. */
  ownStream(direction: 0 | 1): Stream {
    if (direction === 0) {
      this.opener_stream ??= new Stream();
      return this.opener_stream;
    }
    this.responder_stream ??= new Stream();
    return this.responder_stream;
  }
}
