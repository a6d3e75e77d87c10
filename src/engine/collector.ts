import type { PacketRing } from '../capture/batch.ts';
import { AlertBook, type AlertEnd } from '../detect/alert-book.ts';
import type { Inventory, InventoryEvent } from '../inventory/inventory.ts';
import type { ot_sensor } from '../proto/facts.js';
import type { ChangeSet, EvidenceRow } from '../store/change-set.ts';
import { ipText, macText } from './envelope.ts';
import { EvidenceKeeper } from './evidence.ts';
import { factOrder } from './fact-log.ts';
import { FactReader } from './fact-reader.ts';
import type { Failure } from './failure.ts';
import type { BatchAnswer, BatchTask } from './worker.ts';

/** Alerts, events and packets that may wait before they are stored though no flush is due. */
const MAX_PENDING_ROWS = 5_000;
const NO_END: AlertEnd = { mac: '', ip: '', port: 0, device: null };
/** Of an alert about the sensor itself. */
const NO_ENDS = { source: NO_END, destination: NO_END, segment: '', proto: '', operation: '' };
/** Connections and activities that are handed to the store at a time. */
const CONVERSATIONS_AT_ONCE = 5_000;

/**
 * The end of the pipeline: takes the shards' facts in packet order and makes devices, alerts and their evidence of them, batch by
 * batch, and hands what changed to the store. What comes out is a function of the facts: the same for any number of shards.
 */
export class Collector {
  readonly alerts: AlertBook;
  readonly evidence: EvidenceKeeper;
  /** The shards' counters, summed: the last that were said. */
  counters: Record<string, number> = {};
  private readonly inventory: Inventory;
  private readonly store: (changes: ChangeSet) => Promise<void>;
  private readonly detected: InventoryEvent[] = [];
  private packets: EvidenceRow[] = [];
  private newest = { frame: 0, time_ms: 0 };

  /** `inventory` must hand its events to `onInventoryEvent`. */
  constructor(inventory: Inventory, capture_id: number, store: (changes: ChangeSet) => Promise<void>) {
    this.inventory = inventory;
    this.store = store;
    this.alerts = new AlertBook(capture_id);
    this.evidence = new EvidenceKeeper(capture_id);
  }

  onInventoryEvent(event: InventoryEvent): void {
    if (event.kind === 'device_detected') this.detected.push(event);
  }

  async batch(answers: readonly BatchAnswer[], task: BatchTask, ring: PacketRing): Promise<void> {
    const readers = answers.flatMap(({ facts }) => (facts === null ? [] : [new FactReader(facts)]));
    const newest = task.range.first_frame + task.range.count - 1;
    if (task.range.count > 0) this.newest = { frame: newest, time_ms: ring.timeMs(newest) };
    for (const failure of answers.flatMap(({ failures }) => failures).sort((a, b) => a.frame - b.frame))
      this.failure(failure, ring, newest);
    for (const fact of inOrder(readers)) {
      // What was said between two packets was caused by the later one.
      fact.frame = Math.min(Math.ceil(fact.frame), newest);
      this.take(fact, ring, task.finish ? newest : fact.frame);
    }
    if (task.flush || task.finish) this.counters = sum(readers.map(({ counters }) => counters));
    if (task.flush || task.finish) {
      await this.drain(CONVERSATIONS_AT_ONCE);
      while (this.inventory.pending_conversations > 0) await this.store(this.inventory.drain(CONVERSATIONS_AT_ONCE));
    } else if (this.inventory.pending + this.alerts.pending + this.packets.length > MAX_PENDING_ROWS) await this.drain(0);
  }

  private async drain(most_conversations: number): Promise<void> {
    const changes = this.inventory.drain(most_conversations);
    changes.alerts = this.alerts.drain();
    changes.evidence = this.packets;
    this.packets = [];
    await this.store(changes);
  }

  /** `newest`: the last packet that had been read when the fact was said. */
  private take(fact: ot_sensor.IFact, ring: PacketRing, newest: number): void {
    const frame = fact.frame!;
    const time_ms = fact.time_ms!;
    if (fact.finding) this.finding(fact.finding, fact.finding.evidence_frame || frame, time_ms, ring, newest);
    else if (fact.finding_update) this.alerts.again(fact.finding_update.key!, fact.finding_update.count!, frame, time_ms);
    else if (fact.finding_evidence) this.packets.push(...this.evidence.add(ring, fact.finding_evidence.key!, frame));
    else {
      this.inventory.take(fact);
      for (const event of this.detected.splice(0)) this.newDevice(event, ring, newest);
    }
  }

  private finding(finding: ot_sensor.IFinding, frame: number, time_ms: number, ring: PacketRing, newest: number): void {
    const { key, kind, vlan, proto, app_proto, operation, details, handshake } = finding;
    const end = (endpoint: ot_sensor.IEndpoint): AlertEnd => ({
      mac: endpoint.mac?.length ? macText(endpoint.mac) : '',
      ip: endpoint.ip?.length ? ipText(endpoint.ip) : '',
      port: endpoint.port ?? 0,
      device: this.inventory.deviceAt(endpoint, vlan) || null,
    });
    const isNew = this.alerts.raise({
      key: key!,
      kind: kind!,
      frame,
      time_ms,
      source: end(finding.source!),
      destination: end(finding.destination!),
      segment: (vlan ?? []).filter((id) => id > 0).join('.'),
      proto: proto!,
      app_proto: app_proto!,
      operation: operation!,
      details: details!,
    });
    if (isNew) this.packets.push(...this.evidence.collect(ring, key!, frame, handshake!, newest));
  }

  /** A defect of ours, once a dissector; the packet that brought it to light is its evidence. */
  private failure({ dissector, frame, how, error, lost, left_out }: Failure, ring: PacketRing, newest: number): void {
    if (left_out) {
      const key = `dissector_left_out|${dissector}`;
      const details = { dissector, error: error.split('\n', 1)[0].slice(0, 500) };
      const time_ms = ring.timeMs(frame);
      this.alerts.raise({ ...NO_ENDS, key, kind: 'dissector_left_out', frame, time_ms, app_proto: dissector, details });
    }
    const kind = how === 'threw' ? 'dissector_failed' : 'thread_replaced';
    const key = `${kind}|${dissector}`;
    const what = dissector === '' ? 'the engine' : `the ${dissector} dissector`;
    const details = { what, how, error: error.split('\n', 1)[0].slice(0, 500), lost: String(lost) };
    const cause = { ...NO_ENDS, key, kind, frame, time_ms: ring.timeMs(frame), app_proto: dissector, details };
    if (!ring.remembers(frame, newest) || !this.alerts.raise(cause)) return;
    this.packets.push(...this.evidence.collect(ring, key, frame, [], newest));
    this.evidence.close(key);
  }

  /** The newest packet there was. */
  get now(): Readonly<{ frame: number; time_ms: number }> {
    return this.newest;
  }

  /** Work is left undone from about here on. Only of live capture: a replay takes the time it needs. */
  overload(left_out: string): void {
    const { frame, time_ms } = this.newest;
    if (frame > 0)
      this.alerts.raise({ ...NO_ENDS, key: 'overload', kind: 'overload', frame, time_ms, app_proto: '', details: { left_out } });
  }

  private newDevice({ frame, time_ms, device_id, title, details }: InventoryEvent, ring: PacketRing, newest: number): void {
    const text = (name: string) => (typeof details[name] === 'string' ? (details[name] as string) : '');
    const found = { device: title, mac: text('mac'), ip: text('ip'), segment: text('segment'), vendor: text('vendor') };
    const key = `new_device|${found.segment}|${found.mac}|${found.ip}`;
    if (!this.alerts.raiseForDevice('new_device', key, frame, time_ms, device_id, found)) return;
    this.packets.push(...this.evidence.collect(ring, key, frame, [], newest));
    this.evidence.close(key);
  }
}

/** Facts of all shards in packet order; each has its own in that order. A fact is to be used before the next is asked for. */
function* inOrder(readers: readonly FactReader[]): Generator<FactReader['fact']> {
  const waiting = readers.filter((reader) => reader.next());
  while (waiting.length > 0) {
    let first = 0;
    for (let i = 1; i < waiting.length; i++) if (factOrder(waiting[i].fact, waiting[first].fact) < 0) first = i;
    yield waiting[first].fact;
    if (!waiting[first].next()) waiting.splice(first, 1);
  }
}

function sum(parts: readonly Record<string, number>[]): Record<string, number> {
  const total: Record<string, number> = {};
  for (const part of parts) for (const [name, value] of Object.entries(part)) total[name] = (total[name] ?? 0) + value;
  return Object.fromEntries(Object.entries(total).sort(([a], [b]) => (a < b ? -1 : 1)));
}
