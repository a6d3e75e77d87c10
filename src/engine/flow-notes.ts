import type { PairPolicy } from '../policy/match.ts';
import { NONE } from './activities.ts';
import type { EnvelopeEnds } from './envelope.ts';

/** A finding of this flow that may repeat. */
export interface OpenFinding {
  key: string;
  /** Repetitions since the last update. */
  count: number;
  last_frame: number;
  last_ms: number;
}

export const NOTES_LIMITS = { activities: 128, findings: 256, identities: 512 };

/** What few flows have to remember. */
export class RareNotes {
  /** Of what was said of devices: the last value by MAC, end, part and attribute. */
  identities: Map<string, string> | null = null;
  /** Key of the last finding, whose evidence packets may still come. */
  follow_key = '';
  /** Direction-wise: the envelope's constant part, and the VLAN stack it was made for. */
  envelope: [EnvelopeEnds | null, EnvelopeEnds | null] | null = null;
  envelope_vlans = -1;
  /** Last IPv4 address each direction's sender named as its own in ARP. */
  arp_owner: [number, number] | null = null;
}

/** What the engine's consumers remember about a flow. */
export class FlowNotes {
  /** Its activities (see `Activities`): how many, the one first met last, and the last one of each direction. */
  activity_count = 0;
  last_activity = NONE;
  opener_activity = NONE;
  responder_activity = NONE;
  findings: Map<number, OpenFinding> | null = null;
  /** Which zones it goes between, and the end that was the server when that was looked up. */
  pair: PairPolicy | null = null;
  pair_server_end = -1;
  /** Packets that still belong to the last finding's evidence. */
  follow_packets = 0;
  /** Frame of the last PDU and its place in it. */
  pdu_frame = 0;
  pdu_index = 0;
  rare: RareNotes | null = null;

  /** To be written to. */
  get own_rare(): RareNotes {
    this.rare ??= new RareNotes();
    return this.rare;
  }
}
