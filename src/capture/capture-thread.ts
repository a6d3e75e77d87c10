/**
 * The capture thread: fills batches of the shared ring from the kernel's rings of all interfaces and tells the main thread of each.
 *
 * One thread for all interfaces, with one `poll` over their handles: what it does is to copy, about a tenth of a microsecond a
 * packet, so that one thread keeps up with more than the shards can take; and one writer gives the one order of frames that the ring,
 * evidence and the merge of the shards' answers rest on, without a hand-over of its own. Stamps of different interfaces may be out of
 * order by the time for which the kernel holds a block (`timeout_ms`).
 *
 * Where the shards do not keep up, packets wait in the kernel's rings, which are the largest buffer there is; what runs over there is
 * counted by the kernel, and accounted to us (`dropped_by_us.overload`) from the time the pipeline had no room until the rings have
 * been read empty again. Reading and throwing away would lose more, for more work.
 */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import {
  ENDED,
  EVENT,
  FILL,
  loadPcap,
  type Opened,
  type PcapAddon,
  type PcapErrorCode,
  STATISTICS,
} from '../../native-bindings/pcap/index.ts';
import { nameThread } from '../thread-name.ts';
import { BatchWriter, INDEX_PACKETS, MAX_BATCH_PACKETS, PacketRing, type RingBuffers } from './batch.ts';
import { isUnderstood, linkTypeName, UNDERSTOOD } from './link-types.ts';

/** Words of the control block, 32 bits each. */
export const CONTROL = {
  /** Changes whenever the thread has to look. */
  signal: 0,
  /** How many batches the pipeline has asked for. */
  asked: 1,
  /** One of Stop. */
  stop: 2,
} as const;
export const Stop = {
  no: 0,
  /** Receive nothing more, hand over what waits in the kernel's rings, then end. */
  drain: 1,
  /** End now. */
  now: 2,
} as const;

/** Batches that are filled before they are asked for. */
export const READ_AHEAD = 1;
/** An interface that is away is looked for this often. */
const LOOK_AGAIN_MS = 500;
/** How often counters are told. */
const TELL_MS = 200;
/** A wait for room in the pipeline that is longer is taken for overload. */
const OVERLOAD_MS = 2;

export interface ThreadInterface {
  name: string;
  filter: string;
  snap_length: number;
  buffer_bytes: number;
  promiscuous: boolean;
  own_frames: boolean;
}

export interface ThreadStart {
  interfaces: ThreadInterface[];
  timeout_ms: number;
  immediate: boolean;
  control: SharedArrayBuffer;
  waker: number;
}

/** `capturing`; `down` and `absent` are waited for; `refused` is not: why is in `message`. */
export type InterfaceState = 'capturing' | 'down' | 'absent' | 'refused';

/** Packets of an interface since the capture began, however often it went away and came back. */
export interface InterfaceCounts {
  received: number;
  handed_over: number;
  handed_over_bytes: number;
  dropped_by_kernel: number;
  dropped_by_us: { overload: number; closed: number };
  dropped_by_interface: number;
}

export interface InterfaceReport extends InterfaceCounts {
  name: string;
  state: InterfaceState;
  /** Why it is not capturing, or what could not be had; '' where all is well. */
  message: string;
  link_type: number | null;
  nanoseconds: boolean;
  filter: string;
  /** Times it was opened. */
  opened: number;
  /** The code of the error that kept it from opening: libpcap's (see the addon), or LINK_TYPE; '' for none. */
  code: PcapErrorCode | 'LINK_TYPE' | '';
}

export type ToThread = { kind: 'ring'; buffers: RingBuffers } | { kind: 'filter'; interface_: number; filter: string };
export type FromThread =
  | { kind: 'batch'; count: number; used: number }
  | { kind: 'report'; interfaces: InterfaceReport[]; first: boolean }
  | { kind: 'event'; name: string; state: InterfaceState; message: string }
  | { kind: 'filter'; error: string | null }
  | { kind: 'end' };

class CaptureHandle {
  readonly spec: ThreadInterface;
  readonly number: number;
  id = 0;
  state: InterfaceState = 'absent';
  message = '';
  opened = 0;
  link_type: number | null = null;
  nanoseconds = false;
  /** The kernel's number of the interface that is open: another one of the same name is another interface. */
  index = 0;
  /** The code of what kept it from opening. */
  code: InterfaceReport['code'] = '';
  /** Of handles that are closed, and of this one as it was when last counted. */
  private readonly total = new Float64Array(5);
  private readonly now = new Float64Array(5);
  private overload = 0;
  private closed = 0;

  constructor(spec: ThreadInterface, number: number) {
    this.spec = spec;
    this.number = number;
  }

  /** Takes the counters from the kernel; drops since the last time are laid to the one or the other. */
  count(pcap: PcapAddon, overloaded: boolean): void {
    if (this.id === 0) return;
    const before = this.now[STATISTICS.dropped];
    pcap.statistics(this.id, this.now);
    if (overloaded) this.overload += this.now[STATISTICS.dropped] - before;
  }

  /** Packets that the kernel has taken in and that have not been handed over, as far as counted. */
  get waiting(): number {
    const { now } = this;
    return now[STATISTICS.received] - now[STATISTICS.dropped] - now[STATISTICS.delivered];
  }

  close(pcap: PcapAddon, overloaded: boolean): void {
    if (this.id === 0) return;
    pcap.stop(this.id);
    this.count(pcap, overloaded);
    this.closed += this.waiting;
    for (let i = 0; i < this.now.length; i++) this.total[i] += this.now[i];
    this.now.fill(0);
    pcap.close(this.id);
    this.id = 0;
  }

  report(): InterfaceReport {
    const sum = (word: number) => this.total[word] + this.now[word];
    return {
      name: this.spec.name,
      state: this.state,
      message: this.message,
      link_type: this.link_type,
      nanoseconds: this.nanoseconds,
      filter: this.spec.filter,
      opened: this.opened,
      code: this.code,
      received: sum(STATISTICS.received),
      handed_over: sum(STATISTICS.delivered),
      handed_over_bytes: sum(STATISTICS.delivered_bytes),
      dropped_by_kernel: sum(STATISTICS.dropped) - this.overload,
      dropped_by_us: { overload: this.overload, closed: this.closed },
      dropped_by_interface: sum(STATISTICS.interface_dropped),
    };
  }
}

class CaptureThread {
  private readonly pcap: PcapAddon = loadPcap();
  private readonly port: MessagePort;
  private readonly options: ThreadStart;
  private readonly control: Int32Array;
  private readonly handles: CaptureHandle[];
  /** Those that are open, and their numbers for the addon. */
  private open: CaptureHandle[] = [];
  private ids: number[] = [];
  private readonly answer: Uint32Array;
  private batch: BatchWriter | null = null;
  private filled = 0;
  /** The pipeline had no room, and the kernel's rings have not been read empty since. */
  private overloaded = false;
  private looked_ms = 0;
  private told_ms = 0;

  constructor(port: MessagePort, options: ThreadStart) {
    this.port = port;
    this.options = options;
    this.control = new Int32Array(options.control);
    this.handles = options.interfaces.map((spec, number) => new CaptureHandle(spec, number));
    this.answer = new Uint32Array(FILL.events + options.interfaces.length);
  }

  run(): void {
    for (const handle of this.handles) this.tryOpen(handle);
    this.openChanged();
    this.looked_ms = performance.now();
    this.tell(true);
    for (;;) {
      const signal = Atomics.load(this.control, CONTROL.signal);
      this.takeMessages();
      const stop = Atomics.load(this.control, CONTROL.stop);
      if (stop !== Stop.no) {
        if (stop === Stop.drain) this.drain();
        break;
      }
      this.lookAround();
      if (this.mayFill()) this.fill(this.options.timeout_ms);
      else this.waitForRoom(signal);
    }
    for (const handle of this.handles) handle.close(this.pcap, this.overloaded);
    this.tell(false);
    this.post({ kind: 'end' });
  }

  private mayFill(): boolean {
    return this.batch !== null && ((this.filled - Atomics.load(this.control, CONTROL.asked)) | 0) < READ_AHEAD;
  }

  private waitForRoom(signal: number): void {
    if (Atomics.wait(this.control, CONTROL.signal, signal, OVERLOAD_MS) !== 'timed-out') return;
    if (this.batch !== null && !this.overloaded) {
      this.countAll();
      this.overloaded = true;
    }
    Atomics.wait(this.control, CONTROL.signal, signal, TELL_MS);
  }

  /** One batch of what is there, after waiting for it. False: there was nothing. */
  private fill(timeout_ms: number): boolean {
    const batch = this.batch!;
    const { pcap, answer, ids } = this;
    const { ring } = batch;
    const slot = (batch.first_frame - 1) % INDEX_PACKETS;
    pcap.fill(
      ids,
      ring.bytes,
      ring.index,
      slot,
      batch.start,
      batch.limit,
      batch.position,
      MAX_BATCH_PACKETS,
      timeout_ms,
      this.options.waker,
      answer,
    );
    const count = answer[FILL.packets];
    const used = answer[FILL.used];
    if (count > 0) {
      batch.count = count;
      batch.next(used);
      this.filled = (this.filled + 1) | 0;
      this.post({ kind: 'batch', count, used });
    }
    if (this.overloaded && (answer[FILL.ended] & ENDED.full) === 0) {
      this.countAll();
      this.overloaded = false;
    }
    for (let i = 0; i < ids.length; i++) {
      const event = answer[FILL.events + i];
      if (event !== 0) this.troubled(this.open[i], event);
    }
    return count > 0;
  }

  private troubled(handle: CaptureHandle, event: number): void {
    if ((event & EVENT.failed) !== 0) {
      const words = this.pcap.lastError(handle.id);
      handle.close(this.pcap, this.overloaded);
      this.openChanged();
      this.changed(handle, 'absent', `${words}; it is opened again when it can be`);
    } else {
      this.changed(handle, 'down', 'the interface went down; its packets are taken again when it is up');
    }
    // Was it taken away, or only switched off?
    this.looked_ms = 0;
  }

  /** Interfaces that went away or came back, and the counters. */
  private lookAround(): void {
    const now = performance.now();
    if (now - this.looked_ms >= LOOK_AGAIN_MS) {
      this.looked_ms = now;
      for (const handle of this.handles) this.look(handle);
      this.openChanged();
    }
    if (now - this.told_ms >= TELL_MS) this.tell(false);
  }

  private look(handle: CaptureHandle): void {
    if (handle.state === 'refused') return;
    const index = this.pcap.interfaceIndex(handle.spec.name);
    if (handle.id !== 0) {
      if (Math.abs(index) !== handle.index) {
        // What it gave before it went can still be read.
        handle.count(this.pcap, this.overloaded);
        if (handle.waiting > 0 && this.mayFill() && this.fill(this.options.timeout_ms)) {
          this.looked_ms = 0;
          return;
        }
        handle.close(this.pcap, this.overloaded);
        this.changed(handle, 'absent', 'the interface is gone; it is captured from again when it is back');
      } else if (index > 0 && handle.state === 'down') {
        this.changed(handle, 'capturing', '');
        return;
      } else if (index < 0 && handle.state === 'capturing') {
        this.changed(handle, 'down', 'the interface went down; its packets are taken again when it is up');
      }
    }
    if (handle.id === 0 && index > 0) this.tryOpen(handle);
  }

  private tryOpen(handle: CaptureHandle): void {
    const { spec } = handle;
    const { timeout_ms, immediate } = this.options;
    let opened: Opened | null = null;
    try {
      handle.index = this.pcap.interfaceIndex(spec.name);
      opened = this.pcap.open(spec.name, {
        snap_length: spec.snap_length,
        buffer_bytes: spec.buffer_bytes,
        promiscuous: spec.promiscuous,
        own_frames: spec.own_frames,
        filter: spec.filter,
        timeout_ms,
        immediate,
      });
      const link_type = DLT_LINK_TYPES[opened.dlt] ?? opened.dlt;
      if (!isUnderstood(link_type)) {
        const name = opened.dlt >= FIRST_SHARED_DLT ? linkTypeName(link_type) : `${opened.dlt_name} (DLT ${opened.dlt})`;
        this.pcap.close(opened.id);
        this.changed(
          handle,
          'refused',
          `${spec.name}: has the link type ${name}, which is not understood; understood are ${UNDERSTOOD}`,
        );
        handle.code = 'LINK_TYPE';
        return;
      }
      this.pcap.start(opened.id, (handle.number << 16) | link_type);
      handle.id = opened.id;
      handle.link_type = link_type;
      handle.nanoseconds = opened.nanoseconds;
      handle.opened++;
      handle.code = '';
      this.changed(handle, 'capturing', opened.warning);
    } catch (error) {
      if (opened !== null) this.pcap.close(opened.id);
      const { code, message } = error as Error & { code?: PcapErrorCode };
      handle.code = code ?? 'FAILED';
      const state =
        code === 'DOWN'
          ? 'down'
          : code === 'NO_SUCH_INTERFACE' || (code === 'FAILED' && handle.opened > 0)
            ? 'absent'
            : 'refused';
      const words =
        code === 'NO_SUCH_INTERFACE'
          ? `${message}; there are ${
              this.pcap
                .listInterfaces()
                .map(({ name }) => name)
                .join(', ') || 'none'
            }`
          : code === 'PERMISSION'
            ? `${message}; run as root or with the capabilities CAP_NET_RAW and CAP_NET_ADMIN`
            : message;
      this.changed(handle, state, words);
    }
  }

  private changed(handle: CaptureHandle, state: InterfaceState, message: string): void {
    if (handle.state === state && handle.message === message) return;
    handle.state = state;
    handle.message = message;
    this.post({ kind: 'event', name: handle.spec.name, state, message });
  }

  private openChanged(): void {
    this.open = this.handles.filter(({ id }) => id !== 0);
    this.ids = this.open.map(({ id }) => id);
  }

  /** Hands over what the kernel has taken in, after shutting the sockets. Ends early where it is told to stop at once. */
  private drain(): void {
    for (const { id } of this.open) this.pcap.stop(id);
    // The block that is being filled comes when its time is up; a clock that lags is given ten times that.
    let idle_ms = 0;
    while (Atomics.load(this.control, CONTROL.stop) === Stop.drain) {
      const signal = Atomics.load(this.control, CONTROL.signal);
      this.countAll();
      if (this.open.every(({ waiting }) => waiting === 0) || idle_ms > 10 * this.options.timeout_ms) return;
      if (this.batch === null) {
        this.takeMessages();
        if (this.batch === null) Atomics.wait(this.control, CONTROL.signal, signal, TELL_MS);
      } else if (!this.mayFill()) this.waitForRoom(signal);
      else idle_ms = this.fill(this.options.timeout_ms) ? 0 : idle_ms + this.options.timeout_ms;
    }
  }

  private countAll(): void {
    for (const handle of this.open) handle.count(this.pcap, this.overloaded);
  }

  private tell(first: boolean): void {
    this.told_ms = performance.now();
    this.countAll();
    this.post({ kind: 'report', interfaces: this.handles.map((handle) => handle.report()), first });
  }

  private takeMessages(): void {
    for (;;) {
      const received = receiveMessageOnPort(this.port) as { message: ToThread } | undefined;
      if (received === undefined) return;
      const { message } = received;
      if (message.kind === 'ring') this.batch = new BatchWriter(new PacketRing(message.buffers));
      else this.setFilter(message.interface_, message.filter);
    }
  }

  private setFilter(interface_: number, filter: string): void {
    const handle = this.handles[interface_];
    let error: string | null = null;
    try {
      if (handle.id !== 0) this.pcap.setFilter(handle.id, filter);
      handle.spec.filter = filter;
    } catch (thrown) {
      error = (thrown as Error).message;
    }
    this.post({ kind: 'filter', error });
  }

  private post(message: FromThread): void {
    this.port.postMessage(message);
  }
}

/** From here on libpcap's number of a link-layer type is the one of capture files. */
const FIRST_SHARED_DLT = 104;
/** Of those below, the ones that differ, by libpcap's number on Linux: raw IP. */
const DLT_LINK_TYPES: Readonly<Record<number, number>> = { 12: 101 };

if (parentPort !== null) {
  nameThread('capture');
  new CaptureThread(parentPort, workerData as ThreadStart).run();
}
