import type { Conversation } from './conversation.ts';
import type { Reader } from './reader.ts';
import type { Fields, RecordType, RowOf } from './record.ts';

/** Where a protocol may be found. A port is a hint: the probe decides. */
export type Carrier =
  | { layer: 'tcp' | 'udp'; port: number }
  | { layer: 'ethertype'; ethertype: number }
  /** Inside the payload that another dissector hands on with `conversation.payload`. */
  | { layer: 'within'; parent: string };

export const tcp = (...ports: number[]): Carrier[] => ports.map((port) => ({ layer: 'tcp', port }));
export const udp = (...ports: number[]): Carrier[] => ports.map((port) => ({ layer: 'udp', port }));
export const ethertype = (ethertype: number): Carrier[] => [{ layer: 'ethertype', ethertype }];
export const within = (parent: string): Carrier[] => [{ layer: 'within', parent }];

/** What a probe says. `possible` is believed on the protocol's own port (or inside its parent) only, `certain` on any. */
export const Match = { no: 0, possible: 1, certain: 2 } as const;
export type MatchCode = (typeof Match)[keyof typeof Match];

/** How a PDU is cut from a stream (and from a datagram that holds several). */
export interface Framing {
  /** Bytes that `sizeOf` and `probe` need to see. */
  headerSize: number;
  /** The largest PDU of the specification, in bytes. */
  maxSize: number;
  /**
   * The size of the whole PDU that starts at the reader, from its first `headerSize` bytes; Infinity-free, without side effects.
   * Anything < headerSize or > maxSize means that no PDU starts here, and the engine resynchronises.
   * 0 asks for more bytes than are there (protocols whose size is known late); the engine calls again when more have come.
   */
  sizeOf(r: Reader, conversation: Conversation): number;
}

export type Emit = <F extends Fields>(type: RecordType<F>) => RowOf<F>;

export interface Dissector<State = unknown, Anomaly extends string = string> {
  /** Wireshark's short name; the `app_proto` of the rows. */
  name: string;
  /** The protocol in full. */
  title: string;
  /** What it was written from: standard, edition, clauses. */
  specification: string;
  carriers: Carrier[];
  records: RecordType[];
  /** Every anomaly this dissector can name, with what it means. A closed list: rules and alerts match on the names. At most 31. */
  anomalies: Readonly<Record<Anomaly, string>>;
  /** Absent where the carrier's payload is the PDU (ethertype, datagram, within). Required on TCP. */
  framing?: Framing;
  /**
   * Does a PDU start at the reader? Sees the first bytes of a message (at least `framing.headerSize`, or all there are).
   * Must tell its protocol from others: off its port only `Match.certain` counts.
   */
  probe(r: Reader): MatchCode;
  /** What a conversation must remember between PDUs, both directions together; bounded. */
  newState(): State;
  /** Reads one PDU, in the specification's order. The reader ends where the PDU ends. Must come to an end on any bytes. */
  dissect(r: Reader, emit: Emit, conversation: Conversation<State, Anomaly>): void;
  /** What `row.unit` numbers: 'unit', 'outstation'. Absent where rows have none. */
  unitName?: string;
  /** Names a target space of `row.target`, e.g. "coils", "DB 5". */
  targetName?(space: number): string;
}

/** A registry holds dissectors of every state; each is given back its own. */
// biome-ignore lint/suspicious/noExplicitAny: State is an argument and a result, so no other type takes them all
export type AnyDissector = Dissector<any, any>;

/** Checks the declaration's types; gives it back. */
export function defineDissector<State, const Anomaly extends string>(
  dissector: Dissector<State, Anomaly>,
): Dissector<State, Anomaly> {
  return dissector;
}
