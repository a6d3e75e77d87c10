import type { AddressBinding, Conversation, ConversationHost, Identity } from './conversation.ts';
import { Match } from './dissector.ts';
import { Status } from './operation.ts';
import type { Reader } from './reader.ts';
import type { Fields, RecordType, RowOf } from './record.ts';
import type { Registry } from './registry.ts';
import type { Row } from './row.ts';

/** More rows than any specification's PDU has; a forged one stops here and is counted. */
export const MAX_ROWS_PER_PDU = 4096;
const MAX_DEPTH = 8;

export type DissectionCounters = {
  pdus: number;
  rows_dropped: number;
  /** PDUs whose dissector threw: a defect of ours, never of the packet. */
  failures: number;
};

interface Pool {
  rows: Row[];
  count: number;
}

/**
 * Runs dissectors over one PDU at a time and holds the rows they emit until the consumers have read them.
 * One a worker. The only `try` around a dissector is here.
 */
export class Dissection implements ConversationHost {
  readonly rows: Row[] = [];
  count = 0;
  /** With the index of the dissector that said it. */
  readonly identities: (Identity & { dissector: number })[] = [];
  readonly bindings: AddressBinding[] = [];
  readonly counters: DissectionCounters = { pdus: 0, rows_dropped: 0, failures: 0 };
  /** The last error a dissector threw, and which; for the log and the quarantine. */
  failed: { dissector: string; error: unknown } | null = null;
  /** The dissector that handed on a payload which none of those within it knows, the innermost one of the PDU; -1 none. */
  unrecognised = -1;

  private readonly registry: Registry;
  private readonly at_work: { dissector: number };
  /** Rows are reused: by record type's id, those there are, and how many of them are in the PDU at hand. */
  private readonly pools: Pool[] = [];
  /** The pools that have rows in this PDU. */
  private readonly used: Pool[] = [];
  private used_count = 0;
  private conversation!: Conversation;
  private reader!: Reader;
  private current = 0;
  private depth = 0;
  private head = 0;
  private complete = true;
  /** The running dissector's payload went to a child, whose matter it is if bytes are missing. */
  private handed_on = false;
  private readonly overflow = new Map<RecordType, Row>();
  private readonly emit = <F extends Fields>(type: RecordType<F>): RowOf<F> => this.newRow(type) as RowOf<F>;

  /** `at_work` is told which dissector is running, its index + 1 and 0 for none, for whoever asks when it never comes back. */
  constructor(registry: Registry, at_work: { dissector: number } = { dissector: 0 }) {
    this.registry = registry;
    this.at_work = at_work;
  }

  /**
   * Dissects the PDU between the reader's position and end. `complete`: all its bytes are there, so that reading past its end
   * means that it is malformed; else it was truncated by the capture. Rows are in `rows[0..count)` until the next call.
   */
  run(index: number, r: Reader, conversation: Conversation, complete: boolean): void {
    const { used } = this;
    for (let i = 0; i < this.used_count; i++) used[i].count = 0;
    this.used_count = 0;
    this.count = 0;
    if (this.identities.length > 0) this.identities.length = 0;
    if (this.bindings.length > 0) this.bindings.length = 0;
    this.failed = null;
    this.unrecognised = -1;
    this.depth = 0;
    this.handed_on = false;
    this.complete = complete;
    this.conversation = conversation;
    if (conversation.host !== this) conversation.host = this;
    this.counters.pdus++;
    try {
      this.enter(index, r);
    } catch (error) {
      this.counters.failures++;
      this.failed = { dissector: this.registry.dissectors[this.current].name, error };
    }
    this.at_work.dissector = 0;
  }

  private enter(index: number, r: Reader): void {
    const { conversation } = this;
    const dissector = this.registry.dissectors[index];
    const outerReader = this.reader;
    const outerIndex = this.current;
    const outerHead = this.head;
    const outerState = conversation.state;
    this.reader = r;
    this.current = index;
    this.at_work.dissector = index + 1;
    this.head = this.count;
    this.depth++;
    let state = conversation.stateOf(index);
    if (state === undefined) {
      state = dissector.newState() ?? null;
      conversation.keep(index, state);
    }
    conversation.state = state;
    const outerHandedOn = this.handed_on;
    this.handed_on = false;
    dissector.dissect(r, this.emit, conversation);
    // What reads the rest of the PDU, however long, does not run out: that something is missing is known all the same.
    if (r.truncated || !(this.complete || this.handed_on)) this.markCut();
    this.handed_on = outerHandedOn;
    this.depth--;
    this.reader = outerReader;
    this.current = outerIndex;
    this.at_work.dissector = outerIndex + 1;
    this.head = outerHead;
    conversation.state = outerState;
  }

  private newRow(type: RecordType): Row {
    if (this.reader.truncated) this.markCut();
    let row: Row;
    if (this.count >= MAX_ROWS_PER_PDU) {
      this.counters.rows_dropped++;
      const spare = this.overflow.get(type);
      row = spare ?? type.newRow();
      if (!spare) this.overflow.set(type, row);
    } else {
      let pool = this.pools[type.id];
      if (pool === undefined) {
        pool = { rows: [], count: 0 };
        this.pools[type.id] = pool;
      }
      if (pool.count === 0) this.used[this.used_count++] = pool;
      if (pool.count === pool.rows.length) pool.rows.push(type.newRow());
      row = pool.rows[pool.count++];
      this.rows[this.count++] = row;
    }
    row.clear(this.reader.bytes);
    row.dissector = this.current;
    return row;
  }

  /** The reader ran out: the row being read says so, and the first row of its dissector, which stands for the PDU. */
  private markCut(): void {
    if (this.count === this.head) return;
    const status = this.complete ? Status.malformed : Status.truncated;
    const last = this.rows[this.count - 1];
    const first = this.rows[this.head];
    if (last.status === Status.ok) last.status = status;
    if (first.status === Status.ok) first.status = status;
  }

  payload(r: Reader): boolean {
    if (this.depth >= MAX_DEPTH || r.remaining <= 0) return false;
    const { conversation, registry, current } = this;
    const known = conversation.children?.[current];
    if (known !== undefined && this.matches(known, r)) return this.enterChild(known, r);
    for (const child of registry.childrenOf(current)) {
      if (child !== known && this.matches(child, r)) {
        conversation.children ??= [];
        conversation.children[current] = child;
        return this.enterChild(child, r);
      }
    }
    this.unrecognised = current;
    return false;
  }

  /** A child that runs out of bytes is cut itself; its parent read all it wanted. */
  private enterChild(index: number, r: Reader): true {
    const { truncated } = r;
    this.enter(index, r);
    r.truncated = truncated;
    this.handed_on = true;
    return true;
  }

  private matches(index: number, r: Reader): boolean {
    const { position, end, truncated } = r;
    const match = this.registry.dissectors[index].probe(r);
    r.position = position;
    r.end = end;
    r.truncated = truncated;
    return match !== Match.no;
  }

  anomaly(row: Row, name: string): void {
    const bit = this.registry.anomalyNames[row.dissector].indexOf(name);
    if (bit < 0) throw new Error(`${this.registry.dissectors[row.dissector].name} does not declare the anomaly ${name}`);
    row.anomalies |= 1 << bit;
  }

  identify(identity: Identity): void {
    this.identities.push({ ...identity, dissector: this.current });
  }

  bind(binding: AddressBinding): void {
    this.bindings.push(binding);
  }
}
