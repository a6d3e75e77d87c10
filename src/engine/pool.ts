import { Piscina } from 'piscina';
import type { RingBuffers } from '../capture/batch.ts';
import type { PolicyModel } from '../policy/conduits.ts';
import type { ShardOptions } from './shard.ts';
import type { BatchAnswer, BatchTask, ShardStart } from './worker.ts';

/**
 * The shards' threads: a piscina pool of exactly one thread a shard, because a flow needs one worker that sees its packets in
 * order, and a pool's queue is that order.
 */
export class ShardPool {
  readonly shards: number;
  private readonly pools: Piscina<BatchTask, BatchAnswer>[];

  constructor(shards: number, buffers: RingBuffers, options: Omit<ShardOptions, 'shard' | 'shards' | 'policy'>) {
    this.shards = shards;
    const filename = new URL('./worker.js', import.meta.url).href;
    this.pools = Array.from({ length: shards }, (_, shard) => {
      const workerData: ShardStart = { buffers, options: { ...options, policy: null, shard, shards } };
      // One task runs while the next is already there. Without stricterFIFO a task that finds the worker busy goes to the queue's end.
      return new Piscina({ filename, minThreads: 1, maxThreads: 1, concurrentTasksPerWorker: 2, stricterFIFO: true, workerData });
    });
  }

  /** Resolves when every shard's thread has loaded its code, and holds to the policy. */
  async ready(policy: PolicyModel | null): Promise<void> {
    await this.run({ range: { first_frame: 1, count: 0 }, flush: false, finish: false, policy });
  }

  /** Gives the batch to every shard; each takes its own packets. Batches are worked through in the order of the calls. */
  run(task: BatchTask): Promise<BatchAnswer[]> {
    return Promise.all(this.pools.map((pool) => pool.run(task)));
  }

  async close(): Promise<void> {
    await Promise.all(this.pools.map((pool) => pool.close()));
  }
}
