import { Piscina } from 'piscina';
import { MAX_BATCHES_UNDER_WAY, type RingBuffers } from '../capture/batch.ts';
import type { PolicyModel } from '../policy/conduits.ts';
import { type Failure, HANG_SECONDS } from './failure.ts';
import type { ShardOptions } from './shard.ts';
import { ShardProgress } from './shard-progress.ts';
import type { BatchAnswer, BatchTask, ShardStart } from './worker.ts';

/** A thread is looked at every second. Starting may take longer than all else. */
const LOOKS_WHILE_STARTING = 60;
/** Threads that a batch may cost: then what is left of it is given up, since the packets behind it wait. */
const MOST_FAILURES_A_TASK = 5;
const LOOK_MS = 1000;
/** A dissector that costs so many threads is left out of the next one. */
const FAILURES_UNTIL_LEFT_OUT = 3;
/** Threads that die in a row without having got any further. */
const MOST_FUTILE_STARTS = 3;

interface Waiting {
  task: BatchTask;
  resolve: (answer: BatchAnswer) => void;
  reject: (error: unknown) => void;
  failures: Failure[];
  incomplete: boolean;
}

export interface SupervisionOptions {
  /** A module that has `dissectors`, by its URL; the product's own where left out. */
  dissectors?: string;
  /** HANG_SECONDS where left out. */
  hang_seconds?: number;
}

/**
 * One shard: a piscina pool of exactly one thread, because a flow needs one worker that sees its packets in order, and a pool's queue is
 * that order. A thread that throws, dies or hangs is replaced: the new one begins behind the packet that did it, with no flows, and takes
 * the tasks that wait. What the old one had found and not said is lost, and counted.
 */
export class SupervisedShard {
  private readonly buffers: RingBuffers;
  private readonly options: ShardOptions;
  private readonly dissectors: string | undefined;
  private readonly looks_without_progress: number;
  private readonly waiting: Waiting[] = [];
  private readonly watch: NodeJS.Timeout;
  private pool!: Piscina<BatchTask, BatchAnswer>;
  private progress!: ShardProgress;
  /** Of the thread that runs: another one's words are not heard any more. */
  private generation = 0;
  private started = false;
  /** Resolves when the thread has loaded its code, or could not. */
  private loaded: Promise<void> = Promise.resolve();
  private futile_starts = 0;
  private looked_at = '';
  private looks = 0;
  private policy: PolicyModel | null = null;
  /** Memory that lines came in, for the next. */
  private readonly spares: ArrayBuffer[] = [];
  /** Packets of the thread that runs whose results have come. */
  private answered_packets = 0;
  /** The last facts that counters came with: those of all threads there were until then. */
  private counters_said: Uint8Array | null = null;
  /** Of the dissectors that the thread has, in its order. */
  private names: readonly string[] = [];
  /** How many threads each dissector has cost; '' where none was at work. */
  private readonly costs = new Map<string, number>();

  constructor(buffers: RingBuffers, options: ShardOptions, { dissectors, hang_seconds = HANG_SECONDS }: SupervisionOptions = {}) {
    this.buffers = buffers;
    this.options = options;
    this.dissectors = dissectors;
    this.looks_without_progress = Math.ceil((hang_seconds * 1000) / LOOK_MS);
    this.start(1);
    this.watch = setInterval(() => this.look(), LOOK_MS);
    this.watch.unref();
  }

  /** Tasks are worked through in the order of the calls. */
  run(task: BatchTask): Promise<BatchAnswer> {
    return new Promise((resolve, reject) => {
      const entry = { task, resolve, reject, failures: [], incomplete: false };
      this.waiting.push(entry);
      this.submit(entry);
    });
  }

  /** The lines of an answer have been used: their memory goes to the thread again. */
  reuse({ records }: BatchAnswer): void {
    if (records !== null && this.spares.length < MAX_BATCHES_UNDER_WAY) this.spares.push(records.bytes.buffer);
  }

  async close(): Promise<void> {
    clearInterval(this.watch);
    // A thread that is ended while it loads its code takes the process along (Node.js 20).
    await this.loaded;
    if (this.waiting.length === 0) return this.pool.close();
    // Nobody wants the answers any more, and a thread that hangs would never give them.
    this.generation++;
    await this.pool.destroy();
  }

  private start(next_frame: number): void {
    this.progress = new ShardProgress();
    this.started = false;
    this.answered_packets = 0;
    const workerData: ShardStart = {
      buffers: this.buffers,
      options: { ...this.options, policy: this.policy },
      progress: this.progress.buffer,
      next_frame,
      counters_said: this.counters_said,
      left_out: [...this.costs].flatMap(([name, cost]) => (name !== '' && cost >= FAILURES_UNTIL_LEFT_OUT ? [name] : [])),
      dissectors: this.dissectors,
    };
    const filename = new URL('./worker.js', import.meta.url).href;
    // One task runs while the next is already there. Without stricterFIFO a task that finds the worker busy goes to the queue's end.
    this.pool = new Piscina({
      filename,
      minThreads: 1,
      maxThreads: 1,
      concurrentTasksPerWorker: 2,
      stricterFIFO: true,
      workerData,
    });
    // What ends a thread comes back by its tasks too.
    this.pool.on('error', () => {});
    const { generation } = this;
    this.loaded = this.pool.run({ range: { first_frame: next_frame, count: 0 }, flush: false, finish: false }).then(
      ({ dissectors = [] }) => {
        if (generation !== this.generation) return;
        this.names = dissectors;
        this.started = true;
      },
      // The tasks behind it fare alike.
      () => {},
    );
  }

  private submit(entry: Waiting): void {
    const { generation } = this;
    const spare = this.spares.pop();
    const run =
      spare === undefined ? this.pool.run(entry.task) : this.pool.run({ ...entry.task, spare }, { transferList: [spare] });
    run.then(
      (answer) => {
        if (generation === this.generation) this.answered(entry, answer);
      },
      (error) => {
        if (generation === this.generation) this.failed(error, 'died');
      },
    );
  }

  private answered(entry: Waiting, answer: BatchAnswer): void {
    this.waiting.shift();
    this.futile_starts = 0;
    this.answered_packets += answer.packets;
    if (entry.task.policy !== undefined) this.policy = entry.task.policy;
    if (entry.task.flush || entry.task.finish) this.counters_said = answer.facts;
    const { failures, incomplete } = entry;
    entry.resolve({ ...answer, incomplete, failures: [...failures, ...answer.failures] });
  }

  /** The thread is gone. Answers that it gave in its last moment may be gone with it: those tasks are done, and what they found is lost. */
  private failed(error: unknown, how: 'died' | 'hung'): void {
    const { progress, waiting } = this;
    if (waiting.length === 0) return;
    this.generation++;
    // Its other tasks are rejected by this, which nobody hears any more.
    void this.pool.destroy();
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const { frame } = progress;
    if (frame < waiting[0].task.range.first_frame && ++this.futile_starts >= MOST_FUTILE_STARTS) {
      for (const { reject } of waiting.splice(0))
        reject(new Error(`the thread of shard ${this.options.shard} does not run: ${text}`));
      return;
    }
    const entry = waiting.find(({ task }) => endOf(task) > frame) ?? waiting[waiting.length - 1];
    const lost = progress.packets - this.answered_packets;
    const dissector = progress.dissector === 0 ? '' : (this.names[progress.dissector - 1] ?? '');
    const cost = (this.costs.get(dissector) ?? 0) + 1;
    this.costs.set(dissector, cost);
    const failure: Failure = { dissector, frame, how, error: text, lost };
    entry.failures.push(failure);
    if (dissector !== '' && cost === FAILURES_UNTIL_LEFT_OUT) failure.left_out = true;
    const end = endOf(entry.task);
    let next = Math.max(entry.task.range.first_frame, frame + 1);
    if (next < end && entry.failures.length >= MOST_FAILURES_A_TASK) {
      next = end;
      failure.gave_up = true;
    }
    entry.incomplete = true;
    for (const done of waiting.slice(0, waiting.indexOf(entry))) {
      done.task = { ...done.task, range: { first_frame: next, count: 0 } };
      done.incomplete = true;
    }
    entry.task = { ...entry.task, range: { first_frame: next, count: Math.max(0, end - next) } };
    this.start(next);
    for (const one of waiting) this.submit(one);
  }

  /** Does the thread get on? Looked at by number of looks, so that a process that was stopped for a while is not taken for one that hangs. */
  private look(): void {
    const { waiting, progress, generation } = this;
    const at = `${generation} ${progress.frame} ${progress.flows_said} ${waiting[0]?.task.range.first_frame}`;
    this.looks = waiting.length > 0 && at === this.looked_at ? this.looks + 1 : 0;
    this.looked_at = at;
    const most = this.started ? this.looks_without_progress : LOOKS_WHILE_STARTING;
    if (this.looks < most) return;
    this.looks = 0;
    this.failed(new Error(`no progress for ${(most * LOOK_MS) / 1000} s`), 'hung');
  }
}

/** The first packet behind a task's. */
const endOf = ({ range }: BatchTask): number => range.first_frame + range.count;
