import { BatchWriter, MAX_BATCHES_UNDER_WAY, PacketRing } from '../capture/batch.ts';
import type { PacketSource } from '../capture/source.ts';
import { ShardPool } from './pool.ts';
import type { ShardOptions } from './shard.ts';
import type { BatchAnswer, BatchTask } from './worker.ts';

export interface PipelineOptions extends Omit<ShardOptions, 'shard' | 'shards'> {
  shards: number;
  /** Packet time between two reports of the counters, which are also when everything found is stored. */
  flush_ms?: number;
  /** Holds a batch back until it is due; for replay at the speed of the capture. */
  pace?: (first_ms: number) => Promise<void> | undefined;
  /** Called when a batch has been handed over; for progress. */
  onProgress?: () => void;
}

/** Takes the answers of all shards for one batch, in the order of the batches. */
export type BatchSink = (answers: BatchAnswer[], task: BatchTask, ring: PacketRing) => void | Promise<void>;

export interface PipelineTotals {
  packets: number;
  /** Wall time from the first packet read, the shards being ready, to the last answer, ms. */
  duration_ms: number;
}

/** Source → batches → shards → sink. Reads ahead of the shards by a few batches, never without bound. */
export async function runPipeline(source: PacketSource, options: PipelineOptions, sink: BatchSink): Promise<PipelineTotals> {
  const { shards, flush_ms = 10_000, pace, onProgress, ...shardOptions } = options;
  const ring = new PacketRing();
  const writer = new BatchWriter(ring);
  const pool = new ShardPool(shards, ring.buffers, shardOptions);
  const underWay: Promise<void>[] = [];
  let done: Promise<void> = Promise.resolve();
  let packets = 0;
  let lastFlush = -1;
  await pool.ready();
  const started = performance.now();
  const hand = (task: BatchTask) => {
    const answers = pool.run(task);
    done = done.then(async () => sink(await answers, task, ring));
    // A failure is seen by whoever awaits `done`; the others must not be reported as unhandled.
    answers.catch(() => {});
    done.catch(() => {});
    underWay.push(done);
  };
  try {
    for (;;) {
      while (underWay.length >= MAX_BATCHES_UNDER_WAY - 1) await underWay.shift();
      const filled = source.fill(writer);
      const used = typeof filled === 'object' && filled !== null ? await filled : filled;
      if (used === null) break;
      const range = writer.next(used);
      if (range.count === 0) continue;
      packets += range.count;
      const last = ring.entry(range.first_frame + range.count - 1);
      const period = Math.floor((ring.seconds(last) * 1000) / flush_ms);
      const wait = pace?.(
        ring.seconds(ring.entry(range.first_frame)) * 1000 + ring.nanoseconds(ring.entry(range.first_frame)) / 1e6,
      );
      if (wait) await wait;
      hand({ range, flush: lastFlush >= 0 && period !== lastFlush, finish: false });
      lastFlush = period;
      onProgress?.();
    }
    hand({ range: { first_frame: packets + 1, count: 0 }, flush: true, finish: true });
    await done;
    return { packets, duration_ms: performance.now() - started };
  } finally {
    source.close();
    await pool.close();
  }
}
