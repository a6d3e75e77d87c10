/**
 * The recorder's thread: looks which packets the shards have answered for, takes them out of the ring and writes them. It is told
 * by a word of shared memory, so that there is no queue to grow; where the disk is slow it lags behind, and nobody waits for it.
 */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { PacketRing, type RingBuffers } from '../capture/batch.ts';
import { Recording, type RecordingStart, type RecordingState } from './recording.ts';

/** Words of the control block, 32 bits each. */
export const CONTROL = {
  /** The newest frame that all shards have answered for, modulo 2^32. */
  answered: 0,
  /** 1: take what has been answered for, and end. */
  stop: 1,
  /** The newest frame that the recorder is done with, modulo 2^32. */
  taken: 2,
} as const;

/** How often is looked what is due by the clock. */
const TICK_MS = 250;

export interface RecorderStart {
  buffers: RingBuffers;
  tags: SharedArrayBuffer;
  control: SharedArrayBuffer;
  counters: SharedArrayBuffer;
  recording: RecordingStart;
}

export type FromRecorder = RecordingState;

function run(port: MessagePort, { buffers, tags, control, counters, recording: start }: RecorderStart): void {
  const words = new Int32Array(control);
  let answered = 0;
  let answered_word = 0;
  const newest = (): number => {
    const word = Atomics.load(words, CONTROL.answered);
    // No more than 2^32 packets come between two looks.
    answered += (word - answered_word) >>> 0;
    answered_word = word;
    return answered;
  };
  const say = (state: FromRecorder): void => port.postMessage(state);
  const recording = new Recording(new PacketRing(buffers), tags, start, newest, say, new Float64Array(counters));
  for (let stop = false; !stop; ) {
    stop = Atomics.load(words, CONTROL.stop) !== 0;
    const before = Atomics.load(words, CONTROL.answered);
    Atomics.store(words, CONTROL.taken, recording.take() | 0);
    recording.tick();
    if (!stop) Atomics.wait(words, CONTROL.answered, before, TICK_MS);
  }
  recording.close();
}

if (parentPort !== null) run(parentPort, workerData as RecorderStart);
