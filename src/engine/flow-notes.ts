import type { OperationCode } from '../dissect/operation.ts';
import type { PairPolicy } from '../policy/match.ts';
import type { EnvelopeEnds } from './envelope.ts';

/** Conversation × protocol × operation × target, as it is counted until the next flush. */
export interface ActivityEntry {
  dissector: number;
  operation: OperationCode;
  direction: 0 | 1;
  role: number;
  space: number;
  unit: number;
  first: number;
  last: number;
  count: number;
  first_ms: number;
  last_ms: number;
}

/** A finding of this flow that may repeat. */
export interface OpenFinding {
  key: string;
  /** Repetitions since the last update. */
  count: number;
  last_frame: number;
  last_ms: number;
}

export const NOTES_LIMITS = { activities: 128, findings: 256, identities: 512 };

/** What the engine's consumers remember about a flow. */
export class FlowNotes {
  activities: ActivityEntry[] = NONE;
  /** The activity counted last, by direction, the opener's in the lower byte: the next is mostly the same. */
  last_activities = 0;
  findings: Map<number, OpenFinding> | null = null;
  identities: Map<string, string> | null = null;
  /** Which zones it goes between, and the end that was the server when that was looked up. */
  pair: PairPolicy | null = null;
  pair_server_end = -1;
  /** Packets that still belong to the last finding's evidence, and its key. */
  follow_packets = 0;
  follow_key = '';
  /** Frame of the last PDU and its place in it. */
  pdu_frame = 0;
  pdu_index = 0;
  /** Direction-wise: the envelope's constant part, and the VLAN stack it was made for. */
  envelope: [EnvelopeEnds | null, EnvelopeEnds | null] | null = null;
  envelope_vlans = -1;
  /** Last IPv4 address each direction's sender named as its own in ARP. */
  arp_owner: [number, number] | null = null;
}

const NONE: ActivityEntry[] = [];
/** An array that is pushed to makes room for sixteen more. */
const FEW = 4;

/** Adds one to `notes.activities`. */
export function addActivity(notes: FlowNotes, entry: ActivityEntry): void {
  if (notes.activities.length < FEW) notes.activities = notes.activities.concat(entry);
  else notes.activities.push(entry);
}
