import type { RingBuffers } from '../capture/batch.ts';
import type { PolicyModel } from '../policy/conduits.ts';
import type { ShardOptions } from './shard.ts';
import { SupervisedShard, type SupervisionOptions } from './supervised-shard.ts';
import type { BatchAnswer, BatchTask } from './worker.ts';

/** What all shards have in common. */
export type PoolOptions = Omit<ShardOptions, 'shard' | 'shards' | 'policy'> & SupervisionOptions & { shards: number };

/** All shards, each with a thread of its own. */
export class ShardPool {
  readonly output: ShardOptions['output'];
  private readonly shards: SupervisedShard[];

  constructor(buffers: RingBuffers, { shards, dissectors, hang_seconds, ...options }: PoolOptions) {
    this.output = options.output;
    this.shards = Array.from(
      { length: shards },
      (_, shard) => new SupervisedShard(buffers, { ...options, policy: null, shard, shards }, { dissectors, hang_seconds }),
    );
  }

  /** Resolves when every shard's thread has loaded its code, and holds to the policy. */
  async ready(policy: PolicyModel | null): Promise<void> {
    await this.run({ range: { first_frame: 1, count: 0 }, flush: false, finish: false, policy });
  }

  /** Gives the batch to every shard; each takes its own packets. Batches are worked through in the order of the calls. */
  async run(task: BatchTask): Promise<BatchAnswer[]> {
    const answers = await Promise.all(this.shards.map((shard) => shard.run(task)));
    // Each packet is one shard's: where a thread was replaced, those that nobody counted are what it cost. It does not matter with which
    // of the tasks that waited their results went, nor how many threads it took.
    const incomplete = answers.find((answer) => answer.incomplete);
    if (incomplete !== undefined) incomplete.lost = answers.reduce((left, { packets }) => left - packets, task.range.count);
    return answers;
  }

  /** Answers of `run` that have been used. */
  reuse(answers: readonly BatchAnswer[]): void {
    this.shards.forEach((shard, i) => {
      shard.reuse(answers[i]);
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.shards.map((shard) => shard.close()));
  }
}
