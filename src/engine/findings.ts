import type { Packet } from '../decode/packet.ts';
import { type AlertKindName, CATALOGUE } from '../detect/catalogue.ts';
import type { FlowTable } from '../flow/flow-table.ts';
import { flowEndpoint, protocolName, vlanList } from './endpoint.ts';
import { ipText, macText } from './envelope.ts';
import type { FactLog } from './fact-log.ts';
import { type FlowNotes, NOTES_LIMITS, type OpenFinding } from './flow-notes.ts';

const KIND_INDEX = new Map(CATALOGUE.map((row, index) => [row.kind, index]));
/** Packets after the finding's that are kept as its evidence: the answer, and the answer's acknowledgement. */
const FOLLOW_PACKETS = 6;

/** What a finding is about, for its first time. */
export interface FindingSubject {
  direction: 0 | 1;
  app_proto: string;
  operation: string;
  details: Record<string, string>;
}

/**
 * Findings of one shard. The first of its kind in a flow is a fact with all it says; the same again costs an addition, and a count
 * at the end of the batch. Across flows the collector joins what has the same key.
 */
export class Findings {
  readonly counters = { findings: 0, repeated: 0, suppressed: 0 };
  private readonly table: FlowTable;
  private readonly facts: FactLog;
  private readonly touched: OpenFinding[] = [];

  constructor(table: FlowTable, facts: FactLog) {
    this.table = table;
    this.facts = facts;
  }

  /** Counts the finding if this flow has it already. `sub` tells findings of one kind apart: a small integer. */
  repeats(notes: FlowNotes, kind: AlertKindName, sub: number, p: Packet): boolean {
    const open = notes.findings?.get(numberOf(kind, sub));
    if (open === undefined) return false;
    this.counters.repeated++;
    if (open.count === 0) this.touched.push(open);
    open.count++;
    open.last_frame = p.frame;
    open.last_ms = Math.max(open.last_ms, p.time_ms);
    return true;
  }

  raise(slot: number, notes: FlowNotes, kind: AlertKindName, sub: number, p: Packet, subject: FindingSubject): void {
    notes.findings ??= new Map();
    if (notes.findings.size >= NOTES_LIMITS.findings) {
      this.counters.suppressed++;
      return;
    }
    this.counters.findings++;
    const { table } = this;
    const source = flowEndpoint(table, slot, subject.direction);
    const destination = flowEndpoint(table, slot, (1 - subject.direction) as 0 | 1);
    const proto = protocolName(table.protocol(slot));
    const name = (end: typeof source) => (end.ip?.length ? ipText(end.ip) : macText(end.mac!));
    const { app_proto, operation, details } = subject;
    const service = table.port(slot, 1);
    const key = [
      kind,
      table.vlan[slot * 2],
      name(source),
      name(destination),
      proto,
      service,
      app_proto,
      operation,
      details.key ?? '',
    ].join('|');
    delete details.key;
    notes.findings.set(numberOf(kind, sub), { key, count: 0, last_frame: p.frame, last_ms: p.time_ms });
    notes.follow_packets = FOLLOW_PACKETS;
    notes.own_rare.follow_key = key;
    this.facts.add({
      frame: p.frame,
      time_ms: p.time_ms,
      finding: {
        key,
        kind,
        flow_id: table.id[slot],
        source,
        destination,
        vlan: vlanList(p),
        proto,
        app_proto,
        operation,
        details,
        evidence_frame: table.last_frame[slot],
        handshake: [table.id[slot], table.early_frames[slot * 2], table.early_frames[slot * 2 + 1]].filter((f) => f > 0),
      },
    });
  }

  /** Another policy holds: its verdicts have other numbers, and the flow's ends may be in other zones. Between two batches only. */
  forgetCrossings(notes: FlowNotes): void {
    notes.pair = null;
    if (notes.findings === null) return;
    const lowest = numberOf('zone_crossing', 0);
    for (const number of notes.findings.keys()) {
      if (number >= lowest && number < lowest + 2 ** 32) notes.findings.delete(number);
    }
  }

  /** A packet behind a finding that still belongs to its transaction. */
  follow(notes: FlowNotes, p: Packet): void {
    notes.follow_packets--;
    this.facts.add({ frame: p.frame, time_ms: p.time_ms, finding_evidence: { key: notes.own_rare.follow_key } });
  }

  /** The counts of what repeated since the last call. */
  flush(): void {
    for (const open of this.touched) {
      this.facts.add({ frame: open.last_frame, time_ms: open.last_ms, finding_update: { key: open.key, count: open.count } });
      open.count = 0;
    }
    this.touched.length = 0;
  }
}

const numberOf = (kind: AlertKindName, sub: number): number => KIND_INDEX.get(kind)! * 2 ** 32 + sub;
