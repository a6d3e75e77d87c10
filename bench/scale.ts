import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { SequenceSource } from '../src/capture/replay.ts';
import { loadPolicy } from '../src/cli/zone-file.ts';
import { Pipeline } from '../src/engine/pipeline.ts';
import { Collection } from '../src/sensor/collection.ts';
import { zonesOf } from '../src/sensor/zone-of.ts';
import { StoreWriter } from '../src/store/store-writer.ts';

/**
 * `replay` that looks at the clock on its way: what a packet costs once all flows are there. Run as
 * `node scale.js FILE DATA ZONES FIRST LAST`: prints a ScaleResult as JSON, of the packets from FIRST to LAST.
 */
export interface ScaleResult {
  packets: number;
  /** Of the whole pipeline a packet between the two, ns: wall time, and processor time of all threads. */
  ns_a_packet: number;
  cpu_ns_a_packet: number;
  /** Of the whole capture, its last words included, s. */
  duration_s: number;
}

async function main([file, data, zones, first, last]: string[]): Promise<void> {
  const policy = await loadPolicy(zones);
  const pipeline = new Pipeline({ shards: 1, output: 'facts', protocols: null });
  const store = new StoreWriter();
  await store.open(data);
  const collection = new Collection(data, store, zonesOf(policy));
  const source = await SequenceSource.open([file]);
  let begun = { frame: 0, ms: 0, cpu_us: 0 };
  let ended = begun;
  const totals = await pipeline.run(
    source,
    async (answers, task, ring) => {
      await collection.sink(answers, task, ring);
      const { user, system } = process.cpuUsage();
      const now = { frame: task.range.first_frame + task.range.count - 1, ms: performance.now(), cpu_us: user + system };
      if (begun.frame === 0 && now.frame >= Number(first)) begun = now;
      if (now.frame <= Number(last) && !task.finish) ended = now;
    },
    { policy },
  );
  await collection.keep(file, source, totals, true);
  collection.close();
  await Promise.all([pipeline.close(), store.close()]);
  const result: ScaleResult = {
    packets: ended.frame - begun.frame,
    ns_a_packet: ((ended.ms - begun.ms) * 1e6) / (ended.frame - begun.frame),
    cpu_ns_a_packet: ((ended.cpu_us - begun.cpu_us) * 1e3) / (ended.frame - begun.frame),
    duration_s: totals.duration_ms / 1000,
  };
  process.stdout.write(JSON.stringify(result));
}

if (fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) await main(process.argv.slice(2));
