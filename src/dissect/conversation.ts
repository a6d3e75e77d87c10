import { ROLE_NAMES, Role, type RoleCode } from './operation.ts';
import { type Reader, type Span, spanLength, spanStart } from './reader.ts';
import type { Row } from './row.ts';

/** What a dissector can say about a device; a closed list. */
export const ATTRIBUTES = [
  'vendor', 'model', 'order_code', 'serial', 'firmware', 'hardware', 'name', 'description', 'location', 'device_type', 'application', 'mac', 'ip',
] as const; // biome-ignore format: a list
export type Attribute = (typeof ATTRIBUTES)[number];

/** Which end of the packet a statement is about. */
export type Side = 'sender' | 'receiver';

/** Something a PDU tells about a device, with the field it was read from. */
export interface Identity {
  side: Side;
  /** The device behind the address, in words: '' itself, 'unit 5', 'outstation 10', 'rack 0 slot 2'. */
  part: string;
  attribute: Attribute;
  value: string;
  /** The field it was read from, as `record.field`. */
  field: string;
}

/** A PDU's word that a MAC address and an IP address belong together (DHCP's acknowledgement), whoever sent it. */
export interface AddressBinding {
  /** 6 bytes. */
  mac: Uint8Array;
  ipv4: number;
}

/** What carries out a dissector's requests: the dissection that runs it. */
export interface ConversationHost {
  payload(r: Reader): boolean;
  anomaly(row: Row, name: string): void;
  identify(identity: Identity): void;
  bind(binding: AddressBinding): void;
}

const NO_HOST: ConversationHost = {
  payload: () => false,
  anomaly: () => {},
  identify: () => {},
  bind: () => {},
};

/**
 * The PDU at hand, and what it is part of. All conversations of a thread share one: only one PDU is at hand at a time, and what is kept
 * for each conversation counts a million times.
 */
export class PduAtHand {
  state: unknown = undefined;
  direction: 0 | 1 = 0;
  time_ms = 0;
  frame = 0;
  gap_before = false;
  source_port = 0;
  destination_port = 0;
  host: ConversationHost = NO_HOST;
}

/**
 * One flow as its dissectors see it: both directions, the state each dissector keeps for it, and the PDU at hand.
 * Made once a flow; `state`, `direction`, `time_ms`, `frame`, the ports and `gap_before` are set by the engine before each PDU.
 */
export class Conversation<State = unknown, Anomaly extends string = string> {
  /** The packet acknowledges bytes of the other direction that were not seen (yet): what it answers may be among them. */
  acknowledges_unseen = false;
  /** The conversation was seen from its start: nothing was asked before. */
  from_start = true;
  /** The direction whose sender is the client; -1 unknown. */
  client_direction: -1 | 0 | 1 = -1;
  /** TCP or other stream, as against datagrams. */
  is_stream = false;
  /** Which dissector was recognised in the payload that another hands on, by that one's index; null: none hands on. Engine's. */
  children: number[] | null = null;
  /** The state of the dissector that ran first, mostly the only one: an array by index takes more memory than all else here. */
  private first_dissector = -1;
  private first_state: unknown = null;
  private other_states: unknown[] | null = null;
  private readonly at_hand: PduAtHand;

  constructor(at_hand: PduAtHand = new PduAtHand()) {
    this.at_hand = at_hand;
  }

  /** The running dissector's own, from `newState`. */
  get state(): State {
    return this.at_hand.state as State;
  }
  set state(state: State) {
    this.at_hand.state = state;
  }
  /** Which way the PDU goes: 0 is the direction of whoever opened the conversation (or was seen first). */
  get direction(): 0 | 1 {
    return this.at_hand.direction;
  }
  set direction(direction: 0 | 1) {
    this.at_hand.direction = direction;
  }
  /** Time of the packet that completed the PDU, ms since the epoch, with fractions. */
  get time_ms(): number {
    return this.at_hand.time_ms;
  }
  set time_ms(time_ms: number) {
    this.at_hand.time_ms = time_ms;
  }
  /** Number of that packet in the capture, from 1. */
  get frame(): number {
    return this.at_hand.frame;
  }
  set frame(frame: number) {
    this.at_hand.frame = frame;
  }
  /** Bytes of the stream were lost just before this PDU: what was half joined is to be forgotten. */
  get gap_before(): boolean {
    return this.at_hand.gap_before;
  }
  set gap_before(gap_before: boolean) {
    this.at_hand.gap_before = gap_before;
  }
  /** Ports of the sender and the receiver; 0 where there are none. */
  get source_port(): number {
    return this.at_hand.source_port;
  }
  set source_port(port: number) {
    this.at_hand.source_port = port;
  }
  get destination_port(): number {
    return this.at_hand.destination_port;
  }
  set destination_port(port: number) {
    this.at_hand.destination_port = port;
  }
  get host(): ConversationHost {
    return this.at_hand.host;
  }
  set host(host: ConversationHost) {
    this.at_hand.host = host;
  }

  /** What the dissector with this index keeps; undefined until `keep`. Engine's. */
  stateOf(dissector: number): unknown {
    return dissector === this.first_dissector ? this.first_state : this.other_states?.[dissector];
  }

  keep(dissector: number, state: unknown): void {
    if (this.first_dissector < 0) {
      this.first_dissector = dissector;
      this.first_state = state;
    } else {
      this.other_states ??= [];
      this.other_states[dissector] = state;
    }
  }

  /** The sender's role, as far as it is known. */
  get sender(): RoleCode {
    if (this.client_direction < 0) return Role.unknown;
    return this.client_direction === this.direction ? Role.client : Role.server;
  }

  get sender_name(): (typeof ROLE_NAMES)[number] {
    return ROLE_NAMES[this.sender];
  }

  /** The PDU itself shows who is who (DNP3's DIR bit, a request's function code): stronger than ports. */
  senderIs(role: RoleCode): void {
    if (role === Role.unknown) return;
    this.client_direction = role === Role.client ? this.direction : ((1 - this.direction) as 0 | 1);
  }

  /** Hands what is left in the reader to the dissectors `within` this one; false if none knows it. */
  payload(r: Reader): boolean {
    return this.host.payload(r);
  }

  /** Well formed, but wrong here. */
  anomaly(row: Row, name: Anomaly): void {
    this.host.anomaly(row, name);
  }

  /** States what the PDU tells about a device. Repeats cost little: only changes are passed on. */
  identify(side: Side, attribute: Attribute, value: string, field: string, part = ''): void {
    if (value !== '') this.host.identify({ side, part, attribute, value, field });
  }

  /** States that the device with this MAC address (a span of 6 bytes) has been given this IPv4 address. */
  bind(bytes: Uint8Array, mac: Span, ipv4: number): void {
    const start = spanStart(mac);
    if (spanLength(mac) === 6 && ipv4 !== 0) this.host.bind({ mac: bytes.slice(start, start + 6), ipv4 });
  }
}
