import { type ChildProcess, fork } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BatchWriter } from './batch.ts';
import { type FromCap, RECORD, type ToCap } from './cap-messages.ts';
import type { InterfaceReport, InterfaceState, ThreadInterface } from './capture-thread.ts';
import { isUnderstood, linkTypeName, UNDERSTOOD } from './link-types.ts';
import { checkedInterfaces, LiveCaptureError, type LiveOptions } from './live.ts';
import type { LiveCapture } from './open-live.ts';
import type { SourceWarning } from './source.ts';

/** What `cap` cannot do, in words for an operator. */
export const CAP_LIMITATIONS: readonly string[] = [
  'packets bear the time at which they were read, which is later than they came, by this process and not by the kernel',
  'packets that the kernel drops are not counted, so that loss is not seen',
  'the ring of the kernel takes one packet in every 64 KiB of buffer_bytes, whatever its length: 512 where nothing else is set',
  'of packets longer than 65,535 bytes the rest is missing, and how long they were is not known',
  'interfaces are always promiscuous, and frames that this machine sends are always captured',
  'packets of the moment may be lost or seen twice when a filter is replaced, which needs the permission to capture again',
  'below about 200,000 packets a second only; a process of its own for each interface',
];

/** What has come and was not taken: beyond that, packets are thrown away and counted. */
const MAX_WAITING_BYTES = 64 << 20;
const LOOK_AGAIN_MS = 500;
/** A process that dies is started again after this time, twice as long each time up to the last; forgotten when it lives longer. */
const FIRST_RESTART_MS = 500;
const LAST_RESTART_MS = 30_000;
/** A process that has said nothing for so many looks hangs, and is killed. */
const SILENT_LOOKS = 12;
/** A process that does not end by itself after being told is killed. */
const END_MS = 4000;
const MAX_WARNINGS = 200;
const MAX_STDERR = 2000;
/** The names that `cap` has for link types. */
const LINK_TYPES: Readonly<Record<string, number>> = { ETHERNET: 1, NULL: 0, RAW: 101, LINKTYPE_LINUX_SLL: 113 };
const NOT_PERMITTED = /permi/i;
const IFF_UP = 1;

/** Where `cap` was built; null where it is not there: it is an optional package that needs the headers of libpcap. */
export function findCap(): string | null {
  if (process.env.OT_SENSOR_NO_CAP === '1') return null;
  try {
    const file = path.join(path.dirname(createRequire(import.meta.url).resolve('cap/package.json')), 'build/Release/cap.node');
    return fs.existsSync(file) ? file : null;
  } catch {
    return null;
  }
}

interface Chunk {
  interface_word: number;
  handle: CapHandle;
  bytes: Buffer;
  at: number;
  /** Packets that have not been taken. */
  left: number;
}

/** Packets of network interfaces through the npm package `cap`: the second backend. The same contract as LiveSource, but CAP_LIMITATIONS. */
export class CapSource implements LiveCapture {
  readonly backend = 'cap';
  readonly limitations = CAP_LIMITATIONS;
  readonly name: string;
  readonly warnings: SourceWarning[] = [];
  readonly bytes_total = null;
  bytes_read = 0;
  private readonly handles: CapHandle[];
  private readonly looking: NodeJS.Timeout;
  private readonly chunks: Chunk[] = [];
  private waiting_bytes = 0;
  private waiting: { batch: BatchWriter; resolve: (used: number | null) => void } | null = null;
  private closed = false;
  private readonly all_ended: Promise<void>;

  static async open(options: LiveOptions & { user?: string }): Promise<CapSource> {
    const interfaces = checkedInterfaces(options);
    const source = new CapSource(interfaces, options);
    await Promise.all(source.handles.map((handle) => handle.settled));
    const reports = source.statistics();
    const filter = reports.find(({ code }) => code === 'FILTER');
    if (filter !== undefined || reports.every(({ state }) => state === 'refused' || state === 'absent')) {
      source.close();
      await source.finished();
      throw new LiveCaptureError(filter?.message ?? reports.map(({ message }) => message).join('; '));
    }
    return source;
  }

  private constructor(interfaces: ThreadInterface[], { onEvent, user = '' }: LiveOptions & { user?: string }) {
    this.name = interfaces.map(({ name }) => name).join(', ');
    this.warnings.push(...CAP_LIMITATIONS.map((message) => ({ source: 'cap', message })));
    this.handles = interfaces.map(
      (spec, number) =>
        new CapHandle(spec, number, user, {
          packets: (handle, count, bytes) => this.take(handle, count, bytes),
          changed: ({ spec: { name }, state, message }) => {
            if (message !== '' && this.warnings.length < MAX_WARNINGS) this.warnings.push({ source: name, message });
            onEvent?.(name, state, message);
          },
        }),
    );
    this.looking = setInterval(() => {
      for (const handle of this.handles) handle.look();
    }, LOOK_AGAIN_MS);
    this.all_ended = Promise.all(this.handles.map(({ ended }) => ended)).then(() => {
      clearInterval(this.looking);
      if (this.chunks.length === 0) this.answer(null);
    });
    for (const handle of this.handles) handle.look();
  }

  fill(batch: BatchWriter): Promise<number | null> | number | null {
    if (this.closed) return null;
    if (this.chunks.length > 0) return this.give(batch);
    if (this.handles.every(({ has_ended }) => has_ended)) return null;
    return new Promise((resolve) => {
      this.waiting = { batch, resolve };
    });
  }

  /** Replaces an interface's filter. Rejects where it is not understood; the old one then stays. */
  setFilter(name: string, filter: string): Promise<void> {
    const handle = this.handles.find(({ spec }) => spec.name === name);
    if (handle === undefined || handle.has_ended)
      return Promise.reject(new LiveCaptureError(`${name}: is not being captured from; there are ${this.name}`));
    return handle.setFilter(filter);
  }

  statistics(): InterfaceReport[] {
    return this.handles.map((handle) => handle.report());
  }

  /** Ends the capture; `fill` gives what has been received, then null. */
  stop(): void {
    for (const handle of this.handles) handle.stop(false);
  }

  /** Ends it at once; what was not taken is counted as dropped by us. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    for (const handle of this.handles) handle.stop(true);
    for (const { handle, left } of this.chunks.splice(0)) handle.closed += left;
    this.answer(null);
  }

  finished(): Promise<void> {
    return this.all_ended;
  }

  private take(handle: CapHandle, count: number, bytes: Buffer): void {
    if (this.closed) handle.closed += count;
    else if (this.waiting_bytes + bytes.length > MAX_WAITING_BYTES) handle.overload += count;
    else {
      this.waiting_bytes += bytes.length;
      this.chunks.push({ interface_word: (handle.number << 16) | handle.link_type!, handle, bytes, at: 0, left: count });
      if (this.waiting !== null) this.answer(this.give(this.waiting.batch));
    }
  }

  private answer(used: number | null): void {
    const { waiting } = this;
    this.waiting = null;
    waiting?.resolve(used);
  }

  /** Copies packets that wait into the batch, as many as it takes. */
  private give(batch: BatchWriter): number {
    let at = batch.start;
    while (this.chunks.length > 0 && !batch.full) {
      const chunk = this.chunks[0];
      const { bytes, handle } = chunk;
      const captured = bytes.readUInt32LE(chunk.at + RECORD.captured);
      // Before each packet there is room for the header it has in a capture file, as everywhere in the ring.
      const offset = at + RECORD.bytes;
      if (offset + captured > batch.limit) break;
      const data = chunk.at + RECORD.bytes;
      bytes.copy(batch.buffer, offset, data, data + captured);
      const seconds = bytes.readUInt32LE(chunk.at + RECORD.seconds);
      const nanoseconds = bytes.readUInt32LE(chunk.at + RECORD.nanoseconds);
      const wire = bytes.readUInt32LE(chunk.at + RECORD.wire);
      batch.add(offset, captured, wire, seconds, nanoseconds, chunk.interface_word >>> 16, chunk.interface_word & 0xffff);
      at = offset + captured;
      chunk.at = data + captured;
      handle.handed_over++;
      handle.handed_over_bytes += captured;
      this.bytes_read += captured;
      if (--chunk.left === 0) {
        this.chunks.shift();
        this.waiting_bytes -= bytes.length;
      }
    }
    return at - batch.start;
  }
}

interface HandleListener {
  packets(handle: CapHandle, count: number, bytes: Buffer): void;
  changed(handle: CapHandle): void;
}

/** One interface and its process, which comes and goes with it. */
class CapHandle {
  readonly spec: ThreadInterface;
  readonly number: number;
  state: InterfaceState = 'absent';
  message = '';
  link_type: number | null = null;
  handed_over = 0;
  handed_over_bytes = 0;
  overload = 0;
  closed = 0;
  has_ended = false;
  /** Resolves when it has been opened for the first time, or it is known why not. */
  readonly settled: Promise<void>;
  /** Resolves when its process is gone for good. */
  readonly ended: Promise<void>;
  private readonly user: string;
  private readonly listener: HandleListener;
  private settle!: () => void;
  private end!: () => void;
  private code: InterfaceReport['code'] = '';
  private received = 0;
  private opened = 0;
  private child: ChildProcess | null = null;
  /** The kernel's number of the interface that is open. */
  private index = 0;
  private stderr = '';
  private silent_looks = 0;
  private stopping = false;
  private started_ms = 0;
  private restart_ms = FIRST_RESTART_MS;
  private restart_at_ms = 0;
  private readonly filters: { filter: string; resolve: () => void; reject: (error: Error) => void }[] = [];

  constructor(spec: ThreadInterface, number: number, user: string, listener: HandleListener) {
    this.spec = spec;
    this.number = number;
    this.user = user;
    this.listener = listener;
    this.settled = new Promise((resolve) => {
      this.settle = resolve;
    });
    this.ended = new Promise((resolve) => {
      this.end = () => {
        this.has_ended = true;
        resolve();
      };
    });
  }

  report(): InterfaceReport {
    const { state, message, link_type, opened, code, received, handed_over, handed_over_bytes, overload, closed } = this;
    return {
      name: this.spec.name,
      state,
      message,
      link_type,
      nanoseconds: false,
      filter: this.spec.filter,
      opened,
      code,
      received,
      handed_over,
      handed_over_bytes,
      dropped_by_kernel: 0,
      dropped_by_us: { overload, closed },
      dropped_by_interface: 0,
    };
  }

  /** Is the interface there, and its process? To be called again and again. */
  look(): void {
    if (this.stopping || this.state === 'refused') return;
    const { name } = this.spec;
    const index = interfaceIndex(name);
    if (index <= 0 || (this.child !== null && index !== this.index)) {
      // A process whose interface goes down aborts, or hears nothing any more.
      this.child?.kill('SIGKILL');
      this.child = null;
      if (index < 0) this.changed('down', 'the interface is down; its packets are taken when it is up');
      else if (index === 0 && this.opened > 0)
        this.changed('absent', 'the interface is gone; it is captured from again when it is back');
      else if (index === 0) {
        this.code = 'NO_SUCH_INTERFACE';
        this.changed('absent', `${name}: no such interface; there are ${interfaceNames().join(', ') || 'none'}`);
      }
      this.settle();
    } else if (this.child === null) {
      if (performance.now() >= this.restart_at_ms) this.start(index);
    } else if (++this.silent_looks > SILENT_LOOKS) this.child.kill('SIGKILL');
  }

  setFilter(filter: string): Promise<void> {
    if (this.child === null) {
      this.spec.filter = filter;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      this.filters.push({ filter, resolve, reject });
      this.tell({ kind: 'filter', filter });
    });
  }

  stop(at_once: boolean): void {
    const { child } = this;
    if (child === null) this.end();
    else if (at_once) child.kill('SIGKILL');
    else if (!this.stopping) {
      this.tell({ kind: 'stop' });
      setTimeout(() => child.kill('SIGKILL'), END_MS).unref();
    }
    this.stopping = true;
    this.settle();
  }

  private start(index: number): void {
    const { name, filter, snap_length, buffer_bytes } = this.spec;
    this.index = index;
    this.stderr = '';
    this.silent_looks = 0;
    this.started_ms = performance.now();
    const child = fork(fileURLToPath(new URL('./cap-process.js', import.meta.url)), [], {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      execArgv: [],
    });
    this.child = child;
    child.stderr!.on('data', (bytes: Buffer) => {
      this.stderr = (this.stderr + bytes).slice(-MAX_STDERR);
    });
    child.on('message', (message: FromCap) => this.hear(message));
    // Told by its end.
    child.on('error', () => {});
    child.on('close', (code, signal) => this.gone(child, signal ?? `exit code ${code}`));
    this.tell({ kind: 'open', device: name, filter, snap_length, buffer_bytes, user: this.user });
  }

  private tell(message: ToCap): void {
    // That it is gone is told by its end.
    this.child?.send(message, () => {});
  }

  private hear(message: FromCap): void {
    this.silent_looks = 0;
    switch (message.kind) {
      case 'opened': {
        const number = /^Unknown linktype (\d+)$/.exec(message.link_type)?.[1];
        const link_type = LINK_TYPES[message.link_type] ?? (number === undefined ? -1 : Number(number));
        if (!isUnderstood(link_type)) {
          const type = link_type < 0 ? message.link_type : linkTypeName(link_type);
          this.refuse('LINK_TYPE', `has the link type ${type}, which is not understood; understood are ${UNDERSTOOD}`);
          break;
        }
        this.link_type = link_type;
        this.opened++;
        this.code = '';
        this.changed('capturing', '');
        this.settle();
        break;
      }
      case 'refused':
        if (message.because_of_filter) {
          this.refuse('FILTER', `the filter "${this.spec.filter}" is not understood: ${message.message}`);
        } else if (NOT_PERMITTED.test(message.message)) {
          const help = 'run as root or with the capabilities CAP_NET_RAW and CAP_NET_ADMIN';
          this.refuse('PERMISSION', `capturing is not permitted (${message.message}); ${help}`);
        } else if (this.opened === 0) this.refuse('FAILED', message.message);
        // It could be opened before: it is tried again.
        else this.child?.kill('SIGKILL');
        break;
      case 'filter': {
        const asked = this.filters.shift();
        if (asked === undefined) break;
        if (message.error === null) {
          this.spec.filter = asked.filter;
          asked.resolve();
        } else {
          const why = NOT_PERMITTED.test(message.error)
            ? `the filter cannot be replaced without a new start: ${message.error}`
            : `the filter "${asked.filter}" is not understood: ${message.error}`;
          asked.reject(new LiveCaptureError(`${this.spec.name}: ${why}`));
        }
        break;
      }
      case 'packets':
        this.received += message.count + message.dropped;
        this.overload += message.dropped;
        // An interface that is refused has no link type that could be looked into.
        if (this.link_type === null || this.state === 'refused') this.closed += message.count;
        else this.listener.packets(this, message.count, Buffer.from(message.chunk));
        break;
      case 'end':
        this.received += message.dropped;
        this.overload += message.dropped;
    }
  }

  private refuse(code: InterfaceReport['code'], message: string): void {
    this.code = code;
    this.changed('refused', `${this.spec.name}: ${message}`);
    this.child?.kill('SIGKILL');
    this.settle();
  }

  /** The process has ended, by itself or by us. */
  private gone(child: ChildProcess, how: string): void {
    for (const { reject } of this.filters.splice(0)) reject(new LiveCaptureError('the capture has ended'));
    if (this.child === child) this.child = null;
    if (this.stopping) {
      if (this.child === null) this.end();
      return;
    }
    if (this.state === 'refused' || this.child !== null) {
      if (this.state === 'refused') this.end();
      return;
    }
    if (interfaceIndex(this.spec.name) !== this.index) {
      this.look();
      return;
    }
    if (performance.now() - this.started_ms > 2 * LAST_RESTART_MS) this.restart_ms = FIRST_RESTART_MS;
    this.restart_at_ms = performance.now() + this.restart_ms;
    const words = this.stderr.split('\n').filter((line) => line !== '' && !line.startsWith('Warning:'));
    const why = words.length === 0 ? how : `${how}: ${words.at(-1)}`;
    this.changed('absent', `${this.spec.name}: the capture process ended (${why}); it is started again in ${this.restart_ms} ms`);
    this.restart_ms = Math.min(LAST_RESTART_MS, 2 * this.restart_ms);
    this.settle();
  }

  private changed(state: InterfaceState, message: string): void {
    if (this.state === state && this.message === message) return;
    this.state = state;
    this.message = message;
    this.listener.changed(this);
  }
}

/** The number of an interface, 0 where there is none of that name; negative while it is down. */
function interfaceIndex(name: string): number {
  // The name is a folder's: it must not lead elsewhere.
  if (!/^[^/\s]{1,15}$/.test(name) || name === '.' || name === '..') return 0;
  try {
    const read = (file: string) => Number(fs.readFileSync(`/sys/class/net/${name}/${file}`, 'utf8'));
    return (read('flags') & IFF_UP) === 0 ? -read('ifindex') : read('ifindex');
  } catch {
    return 0;
  }
}

function interfaceNames(): string[] {
  try {
    return fs.readdirSync('/sys/class/net');
  } catch {
    return [];
  }
}
