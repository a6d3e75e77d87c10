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
  /** Payload was taken in sequence. */
  begun = false;
}

/** What a flow needs once it carries payload; the flow table's columns hold the rest. */
export class FlowState {
  readonly conversation = new Conversation();
  readonly streams: readonly [Stream, Stream] = [new Stream(), new Stream()];
  /** Ports of the opener and the responder. */
  readonly ports: [number, number] = [0, 0];
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
}
