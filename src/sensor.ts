import { setTimeout as sleep } from 'node:timers/promises';
import ipaddr from 'ipaddr.js';
import { dissectors } from '../dissectors/index.ts';
import { SequenceSource } from './capture/replay.ts';
import type { PacketSource, SourceWarning } from './capture/source.ts';
import { Registry } from './dissect/registry.ts';
import { Collector } from './engine/collector.ts';
import { type PipelineTotals, runPipeline } from './engine/pipeline.ts';
import { Inventory } from './inventory/inventory.ts';
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
  onProgress?: (source: PacketSource) => void;
}

export interface ReplayResult extends PipelineTotals {
  capture_id: number;
  counters: Record<string, number>;
  warnings: SourceWarning[];
  /** Errors that dissectors threw: defects, never the packet's fault. */
  failures: string[];
  /** Alerts of this run by kind are in the database under `capture_id`; these are new ones, and repetitions of known ones. */
  alerts: number;
  devices: number;
}

/**
 * The whole pipeline over capture files, top to bottom: source → batches → shards → collector → store.
 * Throws CaptureFileError, StoreError; what was read before is stored all the same.
 */
export async function replay(files: readonly string[], options: ReplayOptions): Promise<ReplayResult> {
  const { data, policy, shards, speed, onProgress } = options;
  const source = await SequenceSource.open(files);
  const store = await StoreWriter.open(data);
  try {
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
    collector = new Collector(inventory, capture_id, (changes) => store.write(changes));
    const { alerts, evidence, failures } = collector;
    const pipeline = {
      shards,
      output: 'facts' as const,
      protocols: null,
      policy,
      pace: speed === Number.POSITIVE_INFINITY ? undefined : pacer(speed),
      onProgress: () => onProgress?.(source),
    };
    const totals = await runPipeline(source, pipeline, (answers, task, ring) => collector.batch(answers, task, ring));
    const counters = {
      ...collector.counters,
      ...named('inventory', inventory.counters),
      ...named('alerts', alerts.counters),
      ...named('evidence', evidence.counters),
    };
    const capture = {
      id: capture_id,
      source: files.join(', '),
      packets: totals.packets,
      bytes: counters['decode.bytes'] ?? 0,
      first_ms: null,
      last_ms: null,
      finished: true,
      counters,
      warnings: source.warnings.map((warning) => `${warning.source}: ${warning.message}`),
    };
    await store.write({ ...emptyChangeSet(), captures: [capture] });
    const { warnings } = source;
    return {
      ...totals,
      capture_id,
      counters,
      warnings,
      failures,
      alerts: alerts.counters.alerts,
      devices: inventory.device_count,
    };
  } finally {
    await store.close();
  }
}

/** Holds batches back so that packet time passes `speed` times as fast as it did. */
function pacer(speed: number): (first_ms: number) => Promise<void> | undefined {
  let started: { packet_ms: number; wall_ms: number } | undefined;
  return (packet_ms) => {
    const now = performance.now();
    started ??= { packet_ms, wall_ms: now };
    const due = started.wall_ms + (packet_ms - started.packet_ms) / speed;
    return due > now ? sleep(due - now) : undefined;
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
