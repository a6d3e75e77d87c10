import { BatchWriter, MAX_BATCHES_UNDER_WAY, PacketRing } from '../capture/batch.ts';
import type { PacketSource } from '../capture/source.ts';
import type { PolicyModel } from '../policy/conduits.ts';
import { type PoolOptions, ShardPool } from './pool.ts';
import type { ShedLevel } from './shedding.ts';
import type { BatchAnswer, BatchTask } from './worker.ts';

export interface RunOptions {
  /** Packet time between two reports of the counters, which are also when everything found is stored. */
  flush_ms?: number;
  /** What holds from the first packet on; null or left out: nothing is a crossing. */
  policy?: PolicyModel | null;
  /** Holds packets back until they are due, for replay at the speed of the capture: undefined where the time has come. */
  pace?: (packet_ms: number) => Promise<void> | undefined;
  /** Asked with each batch: what is to be left out. Left out: nothing ever is. */
  shed?: () => ShedLevel;
  /** Ends the run early: what was read until then is worked through to the end. */
  signal?: AbortSignal;
  /** Called when a batch has been handed over; for progress. */
  onProgress?: () => void;
}

/** Takes the answers of all shards for one batch, in the order of the batches. The lines of records are its own until it resolves. */
export type BatchSink = (answers: BatchAnswer[], task: BatchTask, ring: PacketRing) => void | Promise<void>;

export interface PipelineTotals {
  packets: number;
  /** Times of the first and of the last packet, ms; null where there was none. */
  first_ms: number | null;
  last_ms: number | null;
  /** Wall time from the first packet read, the shards being ready, to the last answer, ms. */
  duration_ms: number;
}

/**
 * Source → batches → shards → sink. Made first, since its threads start while everything else is opened; `run` once, `close` always.
 */
export class Pipeline {
  readonly ring = new PacketRing();
  private readonly pool: ShardPool;
  private order: ((order: Order) => Promise<unknown>) | null = null;

  constructor(options: PoolOptions) {
    this.pool = new ShardPool(this.ring.buffers, options);
  }

  /**
   * Reads ahead of the shards by a few batches, never without bound. What was read before the source failed, or `signal` was given,
   * has gone through the sink when this throws or resolves.
   */
  run(source: PacketSource, sink: BatchSink, options: RunOptions = {}): Promise<PipelineTotals> {
    return run(this.ring, this.pool, source, sink, options, (order) => {
      this.order = order;
    });
  }

  /**
   * Between two batches of a run: all counters are said now, and with `say_flows` the counts of all flows. Resolves when the sink has
   * taken them.
   */
  async flush({ say_flows = false } = {}): Promise<void> {
    await this.order?.({ flush: true, say_flows });
  }

  /** Between two batches of a run, for all shards at the same packet: from there on another policy holds. No packet is lost. */
  async setPolicy(policy: PolicyModel | null): Promise<void> {
    await this.order?.({ flush: true, policy });
  }

  async close(): Promise<void> {
    await this.pool.close();
  }
}

/** The last words of the flows that began within so many packets are said in one answer: more would be kept at once, and be dropped. */
const FLOWS_ENDED_AT_ONCE = 1 << 18;

/** What is asked of the shards between two batches. */
type Order = Pick<BatchTask, 'flush' | 'say_flows' | 'policy'>;

async function run(
  ring: PacketRing,
  pool: ShardPool,
  source: PacketSource,
  sink: BatchSink,
  options: RunOptions,
  takeOrders: (order: ((order: Order) => Promise<unknown>) | null) => void,
): Promise<PipelineTotals> {
  const { flush_ms = 10_000, policy = null, pace, shed, signal, onProgress } = options;
  const writer = new BatchWriter(ring);
  const underWay: Promise<unknown>[] = [];
  const most_under_way = MAX_BATCHES_UNDER_WAY - 1 - (source.read_ahead ?? 0);
  let done: Promise<unknown> = Promise.resolve();
  let packets = 0;
  let first_ms: number | null = null;
  let last_ms: number | null = null;
  let lastFlush = -1;
  let failure: { error: unknown } | null = null;
  const hand = (task: BatchTask): Promise<BatchAnswer[]> => {
    const answers = pool.run(task);
    const taken = done.then(async () => {
      await sink(await answers, task, ring);
      pool.reuse(await answers);
      return answers;
    });
    // A failure is seen by whoever awaits what was handed last; the others must not be reported as unhandled.
    answers.catch(() => {});
    taken.catch(() => {});
    done = taken;
    return taken;
  };
  const handPackets = (first_frame: number, end: number) => {
    first_ms ??= ring.timeMs(first_frame);
    last_ms = ring.timeMs(end - 1);
    const period = Math.floor(last_ms / flush_ms);
    const flush = lastFlush >= 0 && period !== lastFlush;
    underWay.push(hand({ range: { first_frame, count: end - first_frame }, flush, finish: false, shed: shed?.() }));
    packets = end - 1;
    lastFlush = period;
    onProgress?.();
  };
  // Nothing may wait for a silent pipe once the end was asked for.
  let stop = () => {};
  signal?.addEventListener('abort', () => stop(), { once: true });
  const orStopped = (filling: Promise<number | null>) =>
    new Promise<number | null>((resolve, reject) => {
      stop = () => resolve(null);
      filling.then(resolve, reject);
    });
  await pool.ready(policy);
  const started = performance.now();
  // An order holds no packets, so it does not count as a batch under way.
  takeOrders((order) => hand({ range: { first_frame: packets + 1, count: 0 }, finish: false, ...order }));
  try {
    while (!signal?.aborted) {
      while (underWay.length >= most_under_way) await underWay.shift();
      let used: number | null;
      try {
        const filled = source.fill(writer);
        used = typeof filled === 'object' && filled !== null ? await orStopped(filled) : filled;
      } catch (error) {
        failure = { error };
        break;
      }
      if (used === null) break;
      const { first_frame, count } = writer.next(used);
      if (count === 0) continue;
      let first = first_frame;
      const end = first_frame + count;
      for (let frame = first; pace && frame < end && !signal?.aborted; frame++) {
        const wait = pace(ring.timeMs(frame));
        if (wait === undefined) continue;
        if (frame > first) handPackets(first, frame);
        first = frame;
        await wait;
      }
      if (!signal?.aborted) handPackets(first, end);
    }
    takeOrders(null);
    const end = { range: { first_frame: packets + 1, count: 0 }, flush: true, finish: true };
    for (let next_flow = 0; next_flow < Number.POSITIVE_INFINITY; ) {
      // Lines come in the order of their packets whatever flow they are of, so that they must be there at once.
      const flows_before = pool.output === 'records' ? Number.POSITIVE_INFINITY : next_flow + FLOWS_ENDED_AT_ONCE;
      const answers = await hand({ ...end, flows_before });
      next_flow = Math.min(...answers.map((answer) => answer.next_flow));
    }
    if (failure !== null) throw failure.error;
    return { packets, first_ms, last_ms, duration_ms: performance.now() - started };
  } finally {
    takeOrders(null);
    source.close();
  }
}
