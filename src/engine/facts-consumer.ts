import type { Packet } from '../decode/packet.ts';
import { programmingAlert } from '../detect/programming.ts';
import type { Dissection } from '../dissect/dissection.ts';
import { JsonWriter } from '../dissect/json.ts';
import { OPERATION_NAMES, Operation, ROLE_NAMES, type RoleCode, Status } from '../dissect/operation.ts';
import type { Registry } from '../dissect/registry.ts';
import type { Row } from '../dissect/row.ts';
import type { FlowState, Stamp } from '../flow/flow-state.ts';
import type { FlowTable } from '../flow/flow-table.ts';
import { Activities, NONE } from './activities.ts';
import { flowEndpoint, vlanList } from './endpoint.ts';
import type { FactLog } from './fact-log.ts';
import type { Findings } from './findings.ts';
import { type FlowNotes, NOTES_LIMITS } from './flow-notes.ts';
import type { PolicyWatch } from './policy-watch.ts';
import type { RowConsumer } from './row-consumer.ts';

/** `replay`: what PDUs mean for the inventory, the zone policy and the alerts. */
export class FactsConsumer implements RowConsumer {
  readonly counters = { activities_dropped: 0, identities_dropped: 0 };
  private readonly registry: Registry;
  private readonly table: FlowTable;
  private readonly facts: FactLog;
  private readonly findings: Findings;
  private readonly activities = new Activities();
  /** Replaced between two batches where the zone file was read again. */
  policy: PolicyWatch | null;

  constructor(registry: Registry, table: FlowTable, facts: FactLog, findings: Findings, policy: PolicyWatch | null) {
    this.registry = registry;
    this.table = table;
    this.facts = facts;
    this.findings = findings;
    this.policy = policy;
  }

  rows(slot: number, state: FlowState, notes: FlowNotes, p: Packet, _stamp: Stamp, dissection: Dissection): void {
    const { rows, count } = dissection;
    const role = state.sender;
    let previous: Row | null = null;
    for (let i = 0; i < count; i++) {
      const row = rows[i];
      const leads = previous === null || row.dissector !== previous.dissector || row.operation !== previous.operation;
      if (row.status === Status.malformed || row.anomalies !== 0) this.wrong(slot, state, notes, p, row);
      if (row.operation !== Operation.other && (leads || row.target_space >= 0)) this.activity(slot, state, notes, p, row, role);
      if (leads) this.programming(slot, state, notes, p, row, role);
      previous = row;
    }
    this.policy?.rows(slot, state, notes, p, dissection);
    if (dissection.identities.length > 0) this.identities(slot, state, notes, p, dissection);
    if (dissection.bindings.length > 0) this.bindings(p, dissection);
  }

  private activity(slot: number, state: FlowState, notes: FlowNotes, p: Packet, row: Row, role: RoleCode): void {
    const { direction } = state;
    const { activities } = this;
    // The next is mostly the same as the last of its direction.
    let entry = direction === 0 ? notes.opener_activity : notes.responder_activity;
    if (entry === NONE) entry = notes.last_activity;
    for (let left = notes.activity_count; left > 0; left--, entry = activities.next(entry)) {
      if (!activities.is(entry, row, role, direction)) continue;
      activities.repeat(entry, row, p.time_ms);
      if (direction === 0) notes.opener_activity = entry;
      else notes.responder_activity = entry;
      return;
    }
    if (notes.activity_count >= NOTES_LIMITS.activities) {
      this.counters.activities_dropped++;
      return;
    }
    entry = activities.add(notes.last_activity, row, role, direction, p.time_ms);
    notes.activity_count++;
    notes.last_activity = entry;
    if (direction === 0) notes.opener_activity = entry;
    else notes.responder_activity = entry;
    this.sayActivity(slot, entry, p.frame);
  }

  /** What was counted of the flow's activities since it was last said, in the order in which they were first met. */
  sayActivities(slot: number, { activity_count, last_activity }: FlowNotes, frame: number): void {
    const { activities } = this;
    for (let left = activity_count, entry = last_activity; left > 0; left--) {
      entry = activities.next(entry);
      if (activities.count(entry) > 0) this.sayActivity(slot, entry, frame);
    }
  }

  /** The flow is over. */
  forget(notes: FlowNotes): void {
    this.activities.release(notes.last_activity);
    notes.activity_count = 0;
    notes.last_activity = notes.opener_activity = notes.responder_activity = NONE;
  }

  /** The first of its kind at once, its repetitions when the flow is flushed. */
  private sayActivity(slot: number, entry: number, frame: number): void {
    const { activities } = this;
    const dissector = this.registry.dissectors[activities.dissector(entry)];
    const space = activities.space(entry);
    this.facts.add({
      frame,
      time_ms: activities.last_ms(entry),
      activity: {
        flow_id: this.table.id[slot],
        app_proto: dissector.name,
        operation: OPERATION_NAMES[activities.operation(entry)],
        from_opener: activities.from_opener(entry),
        role: ROLE_NAMES[activities.role(entry)],
        target: space < 0 ? '' : (dissector.targetName?.(space) ?? String(space)),
        target_first: activities.first(entry),
        target_last: activities.last(entry),
        unit: activities.unit(entry),
        unit_name: dissector.unitName ?? '',
        count: activities.count(entry),
        first_ms: activities.first_ms(entry),
        last_ms: activities.last_ms(entry),
      },
    });
    activities.said(entry);
  }

  private wrong(slot: number, state: FlowState, notes: FlowNotes, p: Packet, row: Row): void {
    const { name: app_proto } = this.registry.dissectors[row.dissector];
    const { direction } = state;
    const operation = OPERATION_NAMES[row.operation];
    if (row.status === Status.malformed && !this.findings.repeats(notes, 'malformed_pdu', row.dissector, p)) {
      const details = { app_proto, record: row.type.name };
      this.findings.raise(slot, notes, 'malformed_pdu', row.dissector, p, { direction, app_proto, operation: '', details });
    }
    const names = this.registry.anomalyNames[row.dissector];
    for (let bit = 0; bit < names.length; bit++) {
      if ((row.anomalies & (1 << bit)) === 0) continue;
      const sub = row.dissector * 32 + bit;
      if (this.findings.repeats(notes, 'protocol_anomaly', sub, p)) continue;
      const anomaly = names[bit];
      const meaning = this.registry.dissectors[row.dissector].anomalies[anomaly];
      const details = { app_proto, anomaly, meaning, key: anomaly };
      this.findings.raise(slot, notes, 'protocol_anomaly', sub, p, { direction, app_proto, operation, details });
    }
  }

  private programming(slot: number, state: FlowState, notes: FlowNotes, p: Packet, row: Row, role: RoleCode): void {
    const kind = programmingAlert(row.operation, role);
    if (kind === null) return;
    const sub = (row.unit + 1) * 64 + row.dissector;
    if (this.findings.repeats(notes, kind, sub, p)) return;
    const dissector = this.registry.dissectors[row.dissector];
    const what = describeRow(row);
    const details: Record<string, string> = { what, key: row.unit >= 0 ? String(row.unit) : '' };
    if (row.unit >= 0) details.unit = `${dissector.unitName ?? 'unit'} ${row.unit}`;
    this.findings.raise(slot, notes, kind, sub, p, {
      direction: state.direction,
      app_proto: dissector.name,
      operation: OPERATION_NAMES[row.operation],
      details,
    });
  }

  private bindings(p: Packet, dissection: Dissection): void {
    for (const { mac, ipv4 } of dissection.bindings) {
      const ip = Uint8Array.of(ipv4 >>> 24, (ipv4 >>> 16) & 255, (ipv4 >>> 8) & 255, ipv4 & 255);
      const binding = { endpoint: { mac, ip, port: 0 }, vlan: vlanList(p), how: 'dhcp' };
      this.facts.add({ frame: p.frame, time_ms: p.time_ms, binding });
    }
  }

  private identities(slot: number, state: FlowState, notes: FlowNotes, p: Packet, dissection: Dissection): void {
    const rare = notes.own_rare;
    rare.identities ??= new Map();
    const { identities } = rare;
    for (const { side, part, attribute, value, field, dissector } of dissection.identities) {
      const { direction } = state;
      const end = (side === 'sender' ? direction : 1 - direction) as 0 | 1;
      // All clients of a broadcast share a flow.
      const key = `${this.table.mac_low[slot * 2 + end]} ${end} ${part} ${attribute}`;
      if (identities.get(key) === value) continue;
      if (identities.size >= NOTES_LIMITS.identities && !identities.has(key)) {
        this.counters.identities_dropped++;
        continue;
      }
      identities.set(key, value);
      const app_proto = this.registry.dissectors[dissector].name;
      this.facts.add({
        frame: p.frame,
        time_ms: p.time_ms,
        attribute: { endpoint: flowEndpoint(this.table, slot, end), vlan: vlanList(p), part, attribute, value, app_proto, field },
      });
    }
  }
}

/** What a row does, in words, for the text of an alert: "function: pi_service, pi_service: _INSE, block number: 5". */
function describeRow(row: Row): string {
  const out = new JsonWriter(new Uint8Array(256));
  row.writeFields(out);
  const fields = JSON.parse(Buffer.from(out.bytes.buffer, out.bytes.byteOffset, out.position).toString()) as Record<
    string,
    unknown
  >;
  const parts: string[] = [];
  for (const [name, value] of Object.entries(fields)) {
    if (!/function|service|command|block|file|mode/.test(name) || /_name$|length|size/.test(name)) continue;
    const words = fields[`${name}_name`] ?? value;
    if (words !== '' && parts.length < MAX_DESCRIBED) parts.push(`${name.replaceAll('_', ' ')}: ${String(words)}`);
  }
  return parts.join(', ');
}

const MAX_DESCRIBED = 8;
