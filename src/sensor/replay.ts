import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { RESTORE_FOLDER } from '../backup/names.ts';
import { SequenceSource } from '../capture/replay.ts';
import type { PacketSource, SourceWarning } from '../capture/source.ts';
import { type BatchSink, Pipeline, type PipelineTotals } from '../engine/pipeline.ts';
import type { PolicyModel } from '../policy/conduits.ts';
import type { RecordingOptions } from '../recording/options.ts';
import type { Recorder } from '../recording/recorder.ts';
import { newTags } from '../recording/tag.ts';
import { StoreWriter } from '../store/store-writer.ts';

export interface ReplayOptions {
  /** Directory of the database; made where it is not there. */
  data: string;
  /** Reads the zone policy; null: nothing is a crossing. Called when the threads have been started; what it throws ends the replay. */
  policy: () => PolicyModel | null | Promise<PolicyModel | null>;
  shards: number;
  /** Where packets are recorded, too; left out: nowhere. */
  recording?: RecordingOptions;
  /** How much faster than the capture's own clock packets are replayed; Infinity: as fast as it goes. */
  speed: number;
  /** Ends the replay early: what was read until then is stored, and the capture marked as not finished. */
  signal?: AbortSignal;
  onProgress?: (source: PacketSource) => void;
}

export interface ReplayResult extends PipelineTotals {
  /** What was found is in the database under this number. */
  capture_id: number;
  counters: Record<string, number>;
  warnings: SourceWarning[];
}

/**
 * The whole pipeline over capture files, top to bottom: source → batches → shards → collection → store.
 * Throws CaptureFileError, StoreError; what was read before is stored all the same.
 */
export async function replay(files: readonly string[], options: ReplayOptions): Promise<ReplayResult> {
  const { data, shards, speed, recording, signal, onProgress } = options;
  const tags = recording && newTags();
  // Threads take longest to be ready: they are started first, and all else is loaded meanwhile.
  const pipeline = new Pipeline({ shards, output: 'facts', protocols: null, tags });
  const store = new StoreWriter();
  try {
    const [policy, { Collection }, { log }] = await Promise.all([
      options.policy(),
      import('./collection.ts'),
      import('../log.ts'),
    ]);
    const source = await SequenceSource.open(files);
    // Not loaded where there is none: a replay's start is short.
    if (existsSync(join(data, RESTORE_FOLDER))) (await import('../backup/restore.ts')).recoverRestore(data);
    await store.open(data);
    const zoneOf = policy === null ? undefined : (await import('./zone-of.ts')).zonesOf(policy);
    const collection = new Collection(data, store, zoneOf);
    const { capture_id } = collection;
    const recorder =
      recording && tags && (await openRecorder(pipeline.ring, tags, { ...recording, capture_id, interface_names: [] }));
    collection.recorder = recorder ?? null;
    // A file can wait for the disk, as the mirror port cannot.
    const sink: BatchSink = async (answers, task, ring) => {
      await collection.sink(answers, task, ring);
      await recorder?.keepUp();
    };
    const run = {
      policy,
      pace: speed === Number.POSITIVE_INFINITY ? undefined : pacer(speed, signal),
      signal,
      onProgress: () => onProgress?.(source),
    };
    log.info({ capture_id, files, data, shards }, 'replay begins');
    let totals: PipelineTotals | null = null;
    try {
      totals = await pipeline.run(source, recorder ? sink : collection.sink, run);
    } finally {
      await recorder?.close();
      const finished = totals !== null && !signal?.aborted;
      await collection.keep(files.join(', '), source, totals, finished).finally(() => collection.close());
    }
    log.info({ capture_id, packets: totals.packets, duration_ms: totals.duration_ms }, 'replay ends');
    return { ...totals, capture_id, counters: collection.counters(), warnings: source.warnings };
  } finally {
    await Promise.all([pipeline.close(), store.close()]);
  }
}

async function openRecorder(...args: ConstructorParameters<typeof Recorder>): Promise<Recorder> {
  return new (await import('../recording/recorder.ts')).Recorder(...args);
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
