import { Worker } from 'node:worker_threads';
import { loadPcap, type PcapAddon } from '../../native-bindings/pcap/index.ts';
import { OperatingError } from '../errors.ts';
import { type BatchWriter, INTERFACE, MAX_PACKET_BYTES, type PacketRing } from './batch.ts';
import {
  CONTROL,
  type FromThread,
  type InterfaceReport,
  type InterfaceState,
  READ_AHEAD,
  Stop,
  type ThreadInterface,
  type ThreadStart,
  type ToThread,
} from './capture-thread.ts';
import type { LiveCapture } from './open-live.ts';
import type { SourceWarning } from './source.ts';

export type { InterfaceReport, InterfaceState } from './capture-thread.ts';

export interface LiveInterface {
  name: string;
  /** In the language of pcap-filter(7); left out or '' for everything. */
  filter?: string;
  /** Bytes of a packet that are kept; 262144, which is everything, where left out. */
  snap_length?: number;
  /** The kernel's ring, bytes: what comes while nobody reads. 64 MiB where left out. */
  buffer_bytes?: number;
  /** Frames for other addresses too: what a mirror port is for. true where left out. */
  promiscuous?: boolean;
  /** Frames that this machine sends by the interface are captured too. true where left out; never so on the loopback. */
  own_frames?: boolean;
}

export interface LiveOptions {
  /** 1 to MAX_INTERFACES; their place is the interface number of the packets. */
  interfaces: LiveInterface[];
  /** How long the kernel may hold packets back to give them in blocks; 20 ms where left out. */
  timeout_ms?: number;
  /** Each packet at once, whatever it costs. */
  immediate?: boolean;
  /** Called when an interface goes, comes back or cannot be captured from; `message` says why, '' where it is capturing. */
  onEvent?: (name: string, state: InterfaceState, message: string) => void;
}

/** Live capture that cannot begin: what is wrong and what to do about it, in words for an operator. */
export class LiveCaptureError extends OperatingError {
  override readonly name = 'LiveCaptureError';
  constructor(message: string) {
    super('capture', message);
  }
}

export const MAX_INTERFACES = 16;
const DEFAULT_BUFFER_BYTES = 64 << 20;
const DEFAULT_TIMEOUT_MS = 20;
const MAX_WARNINGS = 200;

interface Waiting {
  resolve: (used: number | null) => void;
  reject: (error: unknown) => void;
}

/**
 * Packets of network interfaces, as they come. The capture thread (capture-thread.ts) fills the ring and keeps its books with a
 * BatchWriter of its own; here each of its batches is put into the caller's writer, which does the same sums and so stays in step.
 * Passive: nothing is ever sent, no address is set.
 */
export class LiveSource implements LiveCapture {
  readonly backend = 'libpcap';
  readonly limitations: readonly string[] = [];
  readonly name: string;
  readonly warnings: SourceWarning[] = [];
  readonly bytes_total = null;
  /** Batches that are filled before `fill` is called: so many fewer may be under way. */
  readonly read_ahead = READ_AHEAD;
  private readonly pcap: PcapAddon;
  private readonly waker: number;
  private readonly worker: Worker;
  private readonly control: Int32Array;
  private readonly onEvent: LiveOptions['onEvent'];
  private reports: InterfaceReport[] = [];
  private bytes = 0;
  /** Batches that have come and have not been asked for: their packets and bytes. */
  private readonly arrived: { count: number; used: number }[] = [];
  private waiting: Waiting | null = null;
  private readonly filters: { resolve: () => void; reject: (error: Error) => void }[] = [];
  private ring: PacketRing | null = null;
  private next_frame = 1;
  private batch: BatchWriter | null = null;
  private ended = false;
  private closed = false;
  private failure: Error | null = null;
  /** Packets that the thread handed over and nobody took, by interface. */
  private readonly left_over: number[];
  private readonly exited: Promise<void>;

  /**
   * Opens the interfaces. One that is down or not there is waited for, and the others go on; LiveCaptureError is thrown where none
   * could be opened or waited for, a filter is not understood or an option makes no sense, PcapUnavailableError without the addon.
   */
  static async open(options: LiveOptions): Promise<LiveSource> {
    const interfaces = checkedInterfaces(options);
    const pcap = loadPcap();
    const source = new LiveSource(pcap, interfaces, options);
    try {
      await source.opened();
    } catch (error) {
      source.close();
      await source.finished();
      throw error;
    }
    return source;
  }

  private firstReport: Waiting | null = null;

  private constructor(pcap: PcapAddon, interfaces: ThreadInterface[], options: LiveOptions) {
    this.pcap = pcap;
    this.name = interfaces.map(({ name }) => name).join(', ');
    this.onEvent = options.onEvent;
    this.left_over = interfaces.map(() => 0);
    const control = new SharedArrayBuffer(Object.keys(CONTROL).length * 4);
    this.control = new Int32Array(control);
    this.waker = pcap.createWaker();
    const workerData: ThreadStart = {
      interfaces,
      timeout_ms: options.timeout_ms ?? DEFAULT_TIMEOUT_MS,
      immediate: options.immediate ?? false,
      control,
      waker: this.waker,
    };
    this.worker = new Worker(new URL('./capture-thread.js', import.meta.url), { workerData, name: 'capture' });
    this.worker.on('message', (message: FromThread) => this.take(message));
    this.worker.on('error', (error) => this.fail(new LiveCaptureError(`the capture thread failed: ${(error as Error).message}`)));
    this.exited = new Promise((resolve) => {
      this.worker.on('exit', (code) => {
        // Only now nobody waits for it any more.
        pcap.closeWaker(this.waker);
        // Without its last word it did not end by itself: that must not look like the end of a capture.
        if (!this.ended && !this.closed && this.failure === null)
          this.fail(new LiveCaptureError(`the capture thread ended, with ${code}`));
        this.end();
        resolve();
      });
    });
  }

  private async opened(): Promise<void> {
    await new Promise<number | null>((resolve, reject) => {
      this.firstReport = { resolve, reject };
    });
    const refused = this.reports.filter(({ state }) => state === 'refused');
    const filter = refused.find(({ code }) => code === 'FILTER');
    if (filter !== undefined) throw new LiveCaptureError(filter.message);
    if (this.reports.every(({ state }) => state === 'refused' || state === 'absent')) {
      throw new LiveCaptureError(this.reports.map(({ message }) => message).join('; '));
    }
  }

  /** Captured bytes that have been handed over. */
  get bytes_read(): number {
    return this.bytes;
  }

  fill(batch: BatchWriter): Promise<number | null> | number | null {
    if (this.ring === null) {
      this.ring = batch.ring;
      this.send({ kind: 'ring', buffers: batch.ring.buffers });
    }
    if (this.closed) return null;
    Atomics.add(this.control, CONTROL.asked, 1);
    this.signal();
    this.batch = batch;
    if (this.arrived.length > 0) return this.give();
    if (this.failure !== null) throw this.failure;
    if (this.ended) return null;
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
    });
  }

  /** Replaces an interface's filter without losing a packet. Rejects where it is not understood; the old one then stays. */
  setFilter(name: string, filter: string): Promise<void> {
    const interface_ = this.reports.findIndex((report) => report.name === name);
    if (interface_ < 0 || this.ended) {
      return Promise.reject(new LiveCaptureError(`${name}: is not being captured from; there are ${this.name}`));
    }
    return new Promise((resolve, reject) => {
      this.filters.push({ resolve, reject });
      this.send({ kind: 'filter', interface_, filter });
    });
  }

  /**
   * What has been counted, at most a quarter of a second ago; final when `finished` has resolved. Then of each interface
   * received = handed_over + dropped_by_kernel + dropped_by_us, before that less what waits in the kernel's ring.
   */
  statistics(): InterfaceReport[] {
    return this.reports.map((report, i) => ({
      ...report,
      handed_over: report.handed_over - this.left_over[i],
      dropped_by_us: { ...report.dropped_by_us, closed: report.dropped_by_us.closed + this.left_over[i] },
    }));
  }

  /** Ends the capture and loses nothing: no more is received, `fill` gives what the kernel still has, then null. */
  stop(): void {
    Atomics.compareExchange(this.control, CONTROL.stop, Stop.no, Stop.drain);
    this.signal();
  }

  /** Ends it at once; what was not taken is counted as dropped by us. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    Atomics.store(this.control, CONTROL.stop, Stop.now);
    this.signal();
    this.leaveArrived();
    this.waiting?.resolve(null);
    this.waiting = null;
  }

  /** Resolves when the thread has ended: the interfaces are closed, `statistics` is final. Call `stop` or `close` before. */
  finished(): Promise<void> {
    return this.exited;
  }

  private signal(): void {
    Atomics.add(this.control, CONTROL.signal, 1);
    Atomics.notify(this.control, CONTROL.signal);
    if (!this.ended) this.pcap.wake(this.waker);
  }

  private send(message: ToThread): void {
    this.worker.postMessage(message);
    this.signal();
  }

  private take(message: FromThread): void {
    switch (message.kind) {
      case 'batch':
        this.arrived.push(message);
        if (this.closed) this.leaveArrived();
        else if (this.waiting !== null) {
          const { resolve } = this.waiting;
          this.waiting = null;
          resolve(this.give());
        }
        break;
      case 'report':
        this.reports = message.interfaces;
        this.bytes = message.interfaces.reduce((sum, { handed_over_bytes }) => sum + handed_over_bytes, 0);
        if (message.first) this.firstReport?.resolve(null);
        break;
      case 'event':
        if (message.message !== '' && this.warnings.length < MAX_WARNINGS) {
          this.warnings.push({ source: message.name, message: message.message });
        }
        this.onEvent?.(message.name, message.state, message.message);
        break;
      case 'filter': {
        const asked = this.filters.shift();
        if (message.error === null) asked?.resolve();
        else asked?.reject(new LiveCaptureError(message.error));
        break;
      }
      case 'end':
        this.end();
        break;
    }
  }

  /** Puts the oldest batch that has come into the caller's writer. */
  private give(): number {
    const { count, used } = this.arrived.shift()!;
    this.batch!.count = count;
    this.next_frame += count;
    return used;
  }

  /** Nobody will ask for what has come: it is counted by interface. */
  private leaveArrived(): void {
    for (const { count } of this.arrived.splice(0)) {
      for (let i = 0; i < count; i++, this.next_frame++) {
        const { index } = this.ring!;
        this.left_over[index[this.ring!.entry(this.next_frame) + INTERFACE] >>> 16]++;
      }
    }
  }

  private end(): void {
    this.ended = true;
    this.waiting?.resolve(null);
    this.waiting = null;
    for (const { reject } of this.filters.splice(0)) reject(new LiveCaptureError('the capture has ended'));
  }

  private fail(error: Error): void {
    this.failure = error;
    this.firstReport?.reject(error);
    this.waiting?.reject(error);
    this.waiting = null;
  }
}

/** Options with nothing left out. Throws LiveCaptureError where they make no sense. */
export function checkedInterfaces({ interfaces, timeout_ms = DEFAULT_TIMEOUT_MS }: LiveOptions): ThreadInterface[] {
  if (interfaces.length < 1 || interfaces.length > MAX_INTERFACES) {
    throw new LiveCaptureError(`${interfaces.length} interfaces are named; 1 to ${MAX_INTERFACES} can be captured from`);
  }
  if (!(timeout_ms >= 1 && timeout_ms <= 10_000))
    throw new LiveCaptureError(`a timeout of ${timeout_ms} ms; 1 to 10000 are possible`);
  const names = new Set<string>();
  return interfaces.map(({ name, filter = '', snap_length = MAX_PACKET_BYTES, buffer_bytes = DEFAULT_BUFFER_BYTES, ...rest }) => {
    if (names.has(name)) throw new LiveCaptureError(`${name}: is named twice`);
    names.add(name);
    if (!(snap_length >= 64 && snap_length <= MAX_PACKET_BYTES)) {
      throw new LiveCaptureError(`${name}: a snap length of ${snap_length} bytes; 64 to ${MAX_PACKET_BYTES} are possible`);
    }
    if (!(buffer_bytes >= 1 << 20 && buffer_bytes < 2 ** 31)) {
      throw new LiveCaptureError(`${name}: a buffer of ${buffer_bytes} bytes; 1 MiB to 2 GiB are possible`);
    }
    return {
      name,
      filter,
      snap_length,
      buffer_bytes,
      promiscuous: rest.promiscuous ?? true,
      own_frames: rest.own_frames ?? true,
    };
  });
}
