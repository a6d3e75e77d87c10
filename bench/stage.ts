import fs from 'node:fs';
import { PerformanceObserver } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { dissectors } from '../dissectors/index.ts';
import { BatchWriter, PacketRing } from '../src/capture/batch.ts';
import { SequenceSource } from '../src/capture/replay.ts';
import { Decoder } from '../src/decode/decode.ts';
import { Packet } from '../src/decode/packet.ts';
import { Dissection } from '../src/dissect/dissection.ts';
import type { Reader } from '../src/dissect/reader.ts';
import { Registry } from '../src/dissect/registry.ts';
import { Shard } from '../src/engine/shard.ts';
import type { FlowState } from '../src/flow/flow-state.ts';
import { readPolicy } from '../src/policy/index.ts';
import { loadZones } from './zone-files.ts';

/**
 * How far a packet goes, each stage holding the ones before it. Run as `node stage.js STAGE FILE`: reads the capture, takes it
 * through one shard in this thread, and prints a StageResult as JSON.
 */
export const STAGES = ['read', 'decode', 'flow', 'dissect', 'facts', 'policy', 'records'] as const;
export type Stage = (typeof STAGES)[number];

export interface StageResult {
  packets: number;
  records: number;
  /** Processor time, start-up excepted. */
  ns_a_packet: number;
  /** Collections of the young and of the old generation, and what the heap grew by. */
  minor_collections: number;
  major_collections: number;
  heap_growth_mb: number;
}

/** Cuts the stream into PDUs and looks into none. */
class FlowOnly extends Shard {
  override pdu(): void {}
}

/** Makes the rows of each PDU and shows them to nobody. */
class DissectOnly extends Shard {
  private readonly own = new Dissection(registry);
  override pdu(state: FlowState, direction: 0 | 1, r: Reader, complete: boolean): void {
    state.direction = direction;
    this.own.run(state.dissector, r, state, complete);
  }
}

// As the shards' threads run (src/engine/worker.ts).
setFlagsFromString('--max-inlined-bytecode-size=800');
setFlagsFromString('--max-inlined-bytecode-size-cumulative=1500');

/** `NODE_PERFORMANCE_GC_MINOR`. */
const MINOR = 1;

const registry = new Registry(dissectors);
const ring = new PacketRing();

function shardFor(stage: Stage): Shard {
  const options = { shard: 0, shards: 1, protocols: null, policy: null, output: 'facts' as const };
  switch (stage) {
    case 'flow':
      return new FlowOnly(ring.buffers, registry, options);
    case 'dissect':
      return new DissectOnly(ring.buffers, registry, options);
    case 'policy':
      return new Shard(ring.buffers, registry, { ...options, policy: readPolicy(loadZones(true), registry).model });
    case 'records':
      return new Shard(ring.buffers, registry, { ...options, output: 'records' });
    default:
      return new Shard(ring.buffers, registry, options);
  }
}

async function main([stage, file]: string[]): Promise<void> {
  const kinds: number[] = [];
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) kinds.push((entry as unknown as { detail: { kind: number } }).detail.kind);
  });
  const source = await SequenceSource.open([file]);
  const writer = new BatchWriter(ring);
  const decoder = new Decoder(ring);
  const packet = new Packet();
  const shard = shardFor(stage as Stage);
  let packets = 0;
  let records = 0;
  observer.observe({ entryTypes: ['gc'] });
  const heap = process.memoryUsage().heapUsed;
  const before = process.cpuUsage();
  for (;;) {
    const filled = source.fill(writer);
    const used = typeof filled === 'object' && filled !== null ? await filled : filled;
    if (used === null) break;
    const range = writer.next(used);
    packets += range.count;
    if (stage === 'read') continue;
    if (stage === 'decode') {
      const end = range.first_frame + range.count;
      for (let frame = range.first_frame; frame < end; frame++) decoder.count(packet, decoder.decode(frame, packet));
      continue;
    }
    shard.process(range);
    records += shard.records?.count ?? 0;
    shard.records?.reset();
    shard.facts.encode(null);
  }
  const { user, system } = process.cpuUsage(before);
  const heap_growth_mb = (process.memoryUsage().heapUsed - heap) / 1e6;
  // The observer is told of collections only when the event loop comes round.
  await new Promise((resolve) => setTimeout(resolve, 20));
  const result: StageResult = {
    packets,
    records,
    ns_a_packet: ((user + system) * 1000) / packets,
    minor_collections: kinds.filter((kind) => kind === MINOR).length,
    major_collections: kinds.filter((kind) => kind !== MINOR).length,
    heap_growth_mb,
  };
  source.close();
  process.stdout.write(JSON.stringify(result));
}

if (fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) await main(process.argv.slice(2));
