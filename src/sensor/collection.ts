import type { PacketSource } from '../capture/source.ts';
import { compileExclusions, type Exclusion } from '../detect/exclusions.ts';
import { Collector } from '../engine/collector.ts';
import type { BatchSink, PipelineTotals } from '../engine/pipeline.ts';
import { Inventory, type InventoryOptions } from '../inventory/inventory.ts';
import { FailureLog } from '../log.ts';
import { numberText } from '../number-text.ts';
import type { Recorder } from '../recording/recorder.ts';
import { type EventRow, emptyChangeSet } from '../store/change-set.ts';
import { StoreReader } from '../store/queries.ts';
import type { StoreWriter } from '../store/store-writer.ts';
import { packagedVendors } from '../store/vendor-registry.ts';
import { OVERLOAD_EVENTS } from './overload-events.ts';
import { Quarantine } from './quarantine.ts';

/** Events that may wait to be kept. */
const MAX_EVENTS = 1000;

/**
 * What is made of the shards' answers, for one capture: inventory, alerts and evidence, on top of what the database holds from before,
 * kept in the store.
 */
export class Collection {
  readonly capture_id: number;
  /** Told of each batch, and asked for its counters and events, where packets are recorded. */
  recorder: Recorder | null = null;
  private readonly inventory: Inventory;
  private readonly collector: Collector;
  /** Packets whose results have come, and those whose results went with a thread that failed. */
  inspected = 0;
  lost = 0;
  /** Of those inspected, the ones whose payload was left out to keep up. */
  headers_only = 0;
  private headers_only_before = 0;
  private readonly events: EventRow[] = [];
  private readonly failures = new FailureLog();
  private readonly quarantine: Quarantine;
  private readonly write: StoreWriter['write'];
  /** The inventory looks up in it what is stored of conversations that are met again. */
  private readonly reader: StoreReader;

  /** `data` is the directory that `store` has open. Throws StoreError. */
  constructor(data: string, store: StoreWriter, zoneOf: InventoryOptions['zoneOf']) {
    const { write } = store;
    this.write = write;
    this.quarantine = new Quarantine(data);
    this.capture_id = store.opened.next_capture_id;
    // The inventory tells the collector of new devices, the collector feeds the inventory.
    let collector: Collector | undefined;
    this.inventory = new Inventory({
      vendorOf: packagedVendors(),
      zoneOf,
      onEvent: (event) => collector?.onInventoryEvent(event),
    });
    this.reader = new StoreReader(data);
    this.inventory.load(this.reader.snapshot());
    this.inventory.begin(this.capture_id);
    collector = new Collector(this.inventory, this.capture_id, write);
    this.collector = collector;
  }

  /** What the pipeline's answers are given to. */
  readonly sink: BatchSink = (answers, task, ring) => {
    const newest = task.range.first_frame + task.range.count - 1;
    for (const { failures, packets, lost, headers_only } of answers) {
      this.inspected += packets;
      this.headers_only += headers_only;
      this.lost += lost;
      if (failures.length === 0) continue;
      this.failures.add(failures);
      for (const failure of failures) this.quarantine.keep(failure, ring, newest);
    }
    this.recorder?.answered(newest);
    return this.collector.batch(answers, task, ring);
  };

  /** Other zones hold. Devices that are in another one now are stored again with the next flush. */
  setZones(zoneOf: InventoryOptions['zoneOf']): void {
    this.inventory.setZones(zoneOf);
  }

  /** What is not alerted of from here on. */
  setExclusions(rules: readonly Exclusion[]): void {
    this.collector.alerts.excludes = rules.length === 0 ? null : compileExclusions(rules);
  }

  /**
   * What is left out to keep up is another; `left_out` in words, at `level` after `before`. Where it begins and gets worse: an alert, of
   * which there is one with a count; where it begins and ends: an event, with the packets that were inspected by their headers alone.
   */
  overload(level: number, before: number, left_out: string): void {
    if (level > before) this.collector.overload(left_out);
    if (level > 0 && before > 0) return;
    if (before === 0) this.headers_only_before = this.headers_only;
    const { frame, time_ms } = this.collector.now;
    const { kind, title } = OVERLOAD_EVENTS[before === 0 ? 'began' : 'ended'];
    const headers_only = this.headers_only - this.headers_only_before;
    const details = before === 0 ? { level, left_out } : { headers_only };
    const text = before === 0 ? `${title}: ${left_out}` : `${title}: ${numberText(headers_only)} packets by their headers alone`;
    const { capture_id } = this;
    if (this.events.length < MAX_EVENTS)
      this.events.push({ capture_id, frame, time_ms, kind, device_id: null, title: text, details });
  }

  /** Keeps what there is to say of the capture itself, as often as one likes. `totals` null: it is not over, or ended before its time. */
  async keep(
    name: string,
    source: PacketSource,
    totals: PipelineTotals | null,
    finished: boolean,
    more_counters: Record<string, number> = {},
  ): Promise<void> {
    const capture = {
      id: this.capture_id,
      source: name,
      packets: totals?.packets ?? this.inspected,
      bytes: this.collector.counters['decode.bytes'] ?? 0,
      first_ms: totals?.first_ms ?? null,
      last_ms: totals?.last_ms ?? null,
      finished,
      counters: { ...this.counters(), ...more_counters },
      warnings: source.warnings.map((warning) => `${warning.source}: ${warning.message}`),
    };
    const events = [...this.events.splice(0), ...(this.recorder?.takeEvents() ?? [])];
    await this.write({ ...emptyChangeSet(), captures: [capture], events });
  }

  /** Nothing more is taken. To be called before the store is closed, which then ends as the database's last user. */
  close(): void {
    this.reader.close();
  }

  counters(): Record<string, number> {
    const { collector, inventory } = this;
    return {
      ...collector.counters,
      ...named('inventory', inventory.counters),
      ...named('alerts', collector.alerts.counters),
      ...named('evidence', collector.evidence.counters),
      ...named('quarantine', this.quarantine.counters),
      ...named('engine', { packets_lost: this.lost, packets_headers_only: this.headers_only }),
      ...named('recording', this.recorder?.counters ?? {}),
    };
  }
}

const named = (group: string, counters: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(counters).flatMap(([name, value]) => (value === 0 ? [] : [[`${group}.${name}`, value]])));
