import { setTimeout as sleep } from 'node:timers/promises';
import ipaddr from 'ipaddr.js';
import { dissectors } from '../dissectors/index.ts';
import { SequenceSource } from './capture/replay.ts';
import type { PacketSource, SourceWarning } from './capture/source.ts';
import { Registry } from './dissect/registry.ts';
import { Collector } from './engine/collector.ts';
import { type BatchSink, Pipeline, type PipelineTotals } from './engine/pipeline.ts';
import { Inventory } from './inventory/inventory.ts';
import { FailureLog, log } from './log.ts';
import { compilePolicy, type PolicyModel } from './policy/index.ts';
import { emptyChangeSet } from './store/change-set.ts';
import { StoreReader } from './store/queries.ts';
import { StoreWriter } from './store/store-writer.ts';
import { packagedVendors } from './store/vendor-registry.ts';

export interface ReplayOptions {
  /** Directory of the database; made where it is not there. */
  data: string;
  policy: PolicyModel | null;
  shards: number;
  /** How much faster than the capture's own clock packets are replayed; Infinity: as fast as it goes. */
  speed: number;
  /** Ends the replay early: what was read until then is stored, and the capture marked as not finished. */
  signal?: AbortSignal;
  onProgress?: (source: PacketSource) => void;
}

export interface ReplayResult extends PipelineTotals {
  capture_id: number;
  counters: Record<string, number>;
  warnings: SourceWarning[];
  /** Alerts of this run by kind are in the database under `capture_id`; these are new ones, and repetitions of known ones. */
  alerts: number;
  devices: number;
}

/**
 * The whole pipeline over capture files, top to bottom: source → batches → shards → collector → store.
 * Throws CaptureFileError, StoreError; what was read before is stored all the same.
 */
export async function replay(files: readonly string[], options: ReplayOptions): Promise<ReplayResult> {
  const { data, policy, shards, speed, signal, onProgress } = options;
  const pipeline = new Pipeline({ shards, output: 'facts', protocols: null, policy });
  let store: StoreWriter | undefined;
  try {
    const source = await SequenceSource.open(files);
    store = await StoreWriter.open(data);
    const { write } = store;
    const capture_id = store.opened.next_capture_id;
    const zones = policy && compilePolicy(policy, new Registry(dissectors));
    // The inventory tells the collector of new devices, the collector feeds the inventory.
    let collector: Collector | undefined;
    const inventory = new Inventory({
      vendorOf: packagedVendors(),
      zoneOf: zones === null ? undefined : (ip, mac, segment) => zones.zoneName(zoneOf(zones, ip, mac, segment)),
      onEvent: (event) => collector?.onInventoryEvent(event),
    });
    const reader = new StoreReader(data);
    inventory.load(reader.snapshot());
    reader.close();
    inventory.begin(capture_id);
    collector = new Collector(inventory, capture_id, write);
    const { alerts, evidence } = collector;
    const failures = new FailureLog();
    const counters = () => ({
      ...collector.counters,
      ...named('inventory', inventory.counters),
      ...named('alerts', alerts.counters),
      ...named('evidence', evidence.counters),
    });
    const capture = (totals: PipelineTotals | null) => ({
      id: capture_id,
      source: files.join(', '),
      packets: totals?.packets ?? collector.counters['decode.packets'] ?? 0,
      bytes: collector.counters['decode.bytes'] ?? 0,
      first_ms: totals?.first_ms ?? null,
      last_ms: totals?.last_ms ?? null,
      finished: totals !== null && !signal?.aborted,
      counters: counters(),
      warnings: source.warnings.map((warning) => `${warning.source}: ${warning.message}`),
    });
    const run = {
      pace: speed === Number.POSITIVE_INFINITY ? undefined : pacer(speed, signal),
      signal,
      onProgress: () => onProgress?.(source),
    };
    log.info({ capture_id, files, data, shards }, 'replay begins');
    let totals: PipelineTotals | null = null;
    try {
      const sink: BatchSink = (answers, task, ring) => {
        for (const answer of answers) failures.add(answer.failures);
        return collector.batch(answers, task, ring);
      };
      totals = await pipeline.run(source, sink, run);
    } finally {
      await write({ ...emptyChangeSet(), captures: [capture(totals)] });
    }
    log.info({ capture_id, packets: totals.packets, duration_ms: totals.duration_ms }, 'replay ends');
    return {
      ...totals,
      capture_id,
      counters: counters(),
      warnings: source.warnings,
      alerts: alerts.counters.alerts,
      devices: inventory.device_count,
    };
  } finally {
    await pipeline.close();
    await store?.close();
  }
}

/** Waits shorter than a timer's precision are not worth one, ms. */
const SHORTEST_WAIT_MS = 5;
/** What a timer takes; a longer silence in a capture is waited for no longer than that. */
const MAX_WAIT_MS = 2 ** 31 - 1;

/** Holds packets back so that packet time passes `speed` times as fast as it did. */
function pacer(speed: number, signal?: AbortSignal): (packet_ms: number) => Promise<void> | undefined {
  let started: { packet_ms: number; wall_ms: number } | undefined;
  return (packet_ms) => {
    const now = performance.now();
    started ??= { packet_ms, wall_ms: now };
    const wait_ms = started.wall_ms + (packet_ms - started.packet_ms) / speed - now;
    if (wait_ms < SHORTEST_WAIT_MS) return undefined;
    // An abort ends the wait; the pipeline looks at the signal itself.
    return sleep(Math.min(wait_ms, MAX_WAIT_MS), undefined, { signal }).catch(() => {});
  };
}

function zoneOf(zones: ReturnType<typeof compilePolicy>, ip: string, mac: string, segment: string): number {
  const vlan = segment === '' ? -1 : Number(segment.split('.').at(-1));
  const octets = mac.split(':').map((octet) => Number.parseInt(octet, 16));
  const [high, low] =
    octets.length === 6
      ? [(octets[0] << 8) | octets[1], octets.slice(2).reduce((value, octet) => value * 256 + octet, 0)]
      : [-1, -1];
  if (ip === '') return zones.zoneOfMac(vlan, high, low);
  const address = ipaddr.parse(ip);
  const bytes = address.kind() === 'ipv4' ? (address as ipaddr.IPv4).toIPv4MappedAddress().toByteArray() : address.toByteArray();
  const word = (i: number) => ((bytes[i] << 24) | (bytes[i + 1] << 16) | (bytes[i + 2] << 8) | bytes[i + 3]) >>> 0;
  return zones.zoneOfAddress(word(0), word(4), word(8), word(12), vlan, high, low);
}

const named = (group: string, counters: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(counters).flatMap(([name, value]) => (value === 0 ? [] : [[`${group}.${name}`, value]])));
