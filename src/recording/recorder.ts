import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { PacketRing } from '../capture/batch.ts';
import { log } from '../log.ts';
import type { EventRow } from '../store/change-set.ts';
import { RECORDING_EVENTS } from './events.ts';
import { checkRecording } from './options.ts';
import { CONTROL, type FromRecorder, type RecorderStart } from './recorder-thread.ts';
import { COUNTERS, type RecordingStart, type RecordingState } from './recording.ts';

/** Events that nobody has asked for; what is more is in the log. */
const MAX_EVENTS = 100;
/** A disk that does not answer is not waited for at the end. */
const CLOSE_MS = 10_000;

export type RecordingCounters = Record<(typeof COUNTERS)[number], number>;

/**
 * Rolling recording, from the main thread: `answered` after each batch, `close` at the end. Nothing here waits for the disk, and no
 * fault of it is thrown: recording stops, says so in the log and by `takeEvents`, and goes on when it can.
 */
export class Recorder {
  private readonly ring: PacketRing;
  private readonly capture_id: number;
  private readonly states: RecordingState[] = [];
  private readonly worker: Worker;
  private readonly control = new Int32Array(new SharedArrayBuffer(Object.keys(CONTROL).length * 4));
  private readonly values = new Float64Array(new SharedArrayBuffer(COUNTERS.length * 8));
  private readonly exited: Promise<void>;
  private over = false;
  private before = 0;
  private newest = 0;

  /** Starts the thread. `tags` is what the shards were given. Throws OperatingError for options that make no sense. */
  constructor(ring: PacketRing, tags: SharedArrayBuffer, recording: RecordingStart) {
    checkRecording(recording);
    this.ring = ring;
    this.capture_id = recording.capture_id;
    const workerData: RecorderStart = {
      buffers: ring.buffers,
      tags,
      control: this.control.buffer as SharedArrayBuffer,
      counters: this.values.buffer as SharedArrayBuffer,
      recording,
    };
    this.worker = new Worker(new URL('./recorder-thread.js', import.meta.url), { workerData, name: 'recorder' });
    this.worker.on('message', (state: FromRecorder) => this.say(state));
    this.worker.on('error', (error) =>
      this.say({ state: 'stopped', reason: `the recorder failed: ${(error as Error).message}` }),
    );
    this.exited = new Promise((resolve) => {
      this.worker.on('exit', () => {
        this.over = true;
        resolve();
      });
    });
  }

  private say(said: RecordingState): void {
    const { state, reason } = said;
    const text = RECORDING_EVENTS[state].title.toLowerCase();
    if (state === 'recording') log.info(text);
    else log.warn({ reason }, text);
    if (this.states.length < MAX_EVENTS) this.states.push(said);
  }

  /** What has happened since it was asked last, as events of the newest packet. */
  takeEvents(): EventRow[] {
    const { ring, newest: frame, capture_id } = this;
    const time_ms = frame === 0 ? Date.now() : ring.timeMs(frame);
    return this.states.splice(0).map(({ state, reason }) => {
      const { kind, title } = RECORDING_EVENTS[state];
      const text = reason === '' ? title : `${title}: ${reason}`;
      return { capture_id, frame, time_ms, kind, device_id: null, title: text, details: { reason } };
    });
  }

  /** All shards have answered for the packets up to `newest`. */
  answered(newest: number): void {
    this.before = this.newest;
    this.newest = newest;
    Atomics.store(this.control, CONTROL.answered, (newest % 0x1_0000_0000) | 0);
    Atomics.notify(this.control, CONTROL.answered);
  }

  /** For replay, which can wait: resolves when the batch before the last is written, so that none is skipped. */
  async keepUp(): Promise<void> {
    const { before } = this;
    while (!this.over && ((Atomics.load(this.control, CONTROL.taken) - before) | 0) < 0) await sleep(1);
  }

  get counters(): RecordingCounters {
    return Object.fromEntries(COUNTERS.map((name, i) => [name, this.values[i]])) as RecordingCounters;
  }

  /** Writes what has been answered for, as far as the ring still has it, and closes the files. */
  async close(): Promise<void> {
    Atomics.store(this.control, CONTROL.stop, 1);
    Atomics.notify(this.control, CONTROL.answered);
    const exited = new AbortController();
    const late = sleep(CLOSE_MS, undefined, { signal: exited.signal }).catch(() => {});
    await Promise.race([this.exited, late]);
    exited.abort();
    void this.worker.terminate();
  }
}
