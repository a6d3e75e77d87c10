import type { Packet } from '../decode/packet.ts';
import { programmingAlert } from '../detect/programming.ts';
import type { Dissection } from '../dissect/dissection.ts';
import { JsonWriter } from '../dissect/json.ts';
import { OPERATION_NAMES, Operation, ROLE_NAMES, type RoleCode, Status } from '../dissect/operation.ts';
import type { Registry } from '../dissect/registry.ts';
import type { Row } from '../dissect/row.ts';
import type { FlowState, Stamp } from '../flow/flow-state.ts';
import type { FlowTable } from '../flow/flow-table.ts';
import { flowEndpoint, vlanList } from './endpoint.ts';
import type { FactLog } from './fact-log.ts';
import type { Findings } from './findings.ts';
import { type ActivityEntry, addActivity, type FlowNotes, NOTES_LIMITS } from './flow-notes.ts';
import type { PolicyWatch } from './policy-watch.ts';
import type { RowConsumer } from './row-consumer.ts';

/** `replay`: what PDUs mean for the inventory, the zone policy and the alerts. */
export class FactsConsumer implements RowConsumer {
  readonly counters = { activities_dropped: 0, identities_dropped: 0 };
  private readonly registry: Registry;
  private readonly table: FlowTable;
  private readonly facts: FactLog;
  private readonly findings: Findings;
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
    const role = state.conversation.sender;
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
    const { direction } = state.conversation;
    const { activities } = notes;
    const n = activities.length;
    const shift = direction * 8;
    for (let i = 0, at = (notes.last_activities >> shift) & 0xff; i < n; i++, at++) {
      if (at >= n) at = 0;
      const known = activities[at];
      if (
        known.operation === row.operation &&
        known.direction === direction &&
        known.space === row.target_space &&
        known.dissector === row.dissector &&
        known.unit === row.unit &&
        known.role === role
      ) {
        // biome-ignore format: one condition
        if (row.target_first < known.first) known.first = row.target_first;
        if (row.target_last > known.last) known.last = row.target_last;
        known.count++;
        known.last_ms = Math.max(known.last_ms, p.time_ms);
        notes.last_activities = (notes.last_activities & ~(0xff << shift)) | (at << shift);
        return;
      }
    }
    if (n >= NOTES_LIMITS.activities) {
      this.counters.activities_dropped++;
      return;
    }
    const entry: ActivityEntry = {
      dissector: row.dissector,
      operation: row.operation,
      direction,
      role,
      space: row.target_space,
      unit: row.unit,
      first: row.target_space < 0 ? 0 : row.target_first,
      last: row.target_space < 0 ? 0 : row.target_last,
      count: 1,
      first_ms: p.time_ms,
      last_ms: p.time_ms,
    };
    addActivity(notes, entry);
    notes.last_activities = (notes.last_activities & ~(0xff << shift)) | (n << shift);
    this.sayActivity(slot, entry, p.frame);
  }

  /** The first of its kind at once, its repetitions when the flow is flushed. */
  sayActivity(slot: number, entry: ActivityEntry, frame: number): void {
    const dissector = this.registry.dissectors[entry.dissector];
    this.facts.add({
      frame,
      time_ms: entry.last_ms,
      activity: {
        flow_id: this.table.id[slot],
        app_proto: dissector.name,
        operation: OPERATION_NAMES[entry.operation],
        from_opener: entry.direction === 0,
        role: ROLE_NAMES[entry.role],
        target: entry.space < 0 ? '' : (dissector.targetName?.(entry.space) ?? String(entry.space)),
        target_first: entry.first,
        target_last: entry.last,
        unit: entry.unit,
        unit_name: dissector.unitName ?? '',
        count: entry.count,
        first_ms: entry.first_ms,
        last_ms: entry.last_ms,
      },
    });
    entry.count = 0;
    entry.first_ms = entry.last_ms;
  }

  private wrong(slot: number, state: FlowState, notes: FlowNotes, p: Packet, row: Row): void {
    const { name: app_proto } = this.registry.dissectors[row.dissector];
    const { direction } = state.conversation;
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
      direction: state.conversation.direction,
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
    notes.identities ??= new Map();
    for (const { side, part, attribute, value, field, dissector } of dissection.identities) {
      const { direction } = state.conversation;
      const end = (side === 'sender' ? direction : 1 - direction) as 0 | 1;
      // All clients of a broadcast share a flow.
      const key = `${this.table.mac_low[slot * 2 + end]} ${end} ${part} ${attribute}`;
      if (notes.identities.get(key) === value) continue;
      if (notes.identities.size >= NOTES_LIMITS.identities && !notes.identities.has(key)) {
        this.counters.identities_dropped++;
        continue;
      }
      notes.identities.set(key, value);
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
