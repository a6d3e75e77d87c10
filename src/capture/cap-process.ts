/**
 * The process of one interface under the npm package `cap`, started by cap-source.ts. `cap` wants a process of its own: it aborts in a
 * worker thread, and while packets come it does not let go of the event loop. Here nothing is done with a packet but to copy it.
 *
 * What `cap` needs that it does not say: the buffer it is given must live for ever, since it writes into it without holding it; an object
 * is opened once, since a second time leaks; and one whose opening failed must not be collected, since its end touches what was never
 * made. So all of them are kept.
 */
import { createRequire } from 'node:module';
import { becomeUser } from '../sensor/privileges.ts';
import { type CapStart, type FromCap, RECORD, type ToCap } from './cap-messages.ts';

interface Cap {
  open(device: string, filter: string, buffer_bytes: number, buffer: Buffer): string;
  close(): boolean;
  on(event: 'packet', listener: (length: number) => void): void;
}

const CHUNK_BYTES = 256 << 10;
const FLUSH_MS = 20;
/** In silence it is said so often that all is well. */
const ALIVE_MS = 1000;
const PROBE_BYTES = 1 << 20;
/** What may be under way to the sensor: beyond that, packets are thrown away and counted. */
const MAX_UNDER_WAY_BYTES = 64 << 20;
/** libpcap holds packets back for up to a second where it has no immediate mode: `cap` asks for both. */
const DRAIN_MS = 1100;

/** What `cap` reads of a packet at most. */
const SNAP_LENGTH = 65_535;
/** Kept for ever: see above. */
const kept: Cap[] = [];
const buffer = Buffer.alloc(SNAP_LENGTH);

class CapProcess {
  private readonly start: CapStart;
  private readonly Cap: new () => Cap;
  private current: Cap | null = null;
  private chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  private used = 0;
  private count = 0;
  private dropped = 0;
  private under_way_bytes = 0;
  /** From the clock that counts finely to the one that tells the date. */
  private clock_offset_ms = 0;

  constructor(start: CapStart) {
    this.start = start;
    this.Cap = (createRequire(import.meta.url)('cap') as { Cap: new () => Cap }).Cap;
    this.setClock();
  }

  open(): void {
    const { device, filter, user } = this.start;
    try {
      const { cap, link_type } = this.opened(filter);
      if (user !== '') becomeUser(user);
      this.current = cap;
      post({ kind: 'opened', link_type });
    } catch (error) {
      const { message } = error as Error;
      post({ kind: 'refused', message, because_of_filter: filter !== '' && this.opensWithout(device) });
      return;
    }
    setInterval(() => {
      this.setClock();
      this.flush();
    }, FLUSH_MS);
    setInterval(() => post({ kind: 'alive' }), ALIVE_MS);
  }

  setFilter(filter: string): void {
    try {
      this.probe(this.start.device, filter);
      const { cap } = this.opened(filter);
      this.current?.close();
      this.current = cap;
      post({ kind: 'filter', error: null });
    } catch (error) {
      post({ kind: 'filter', error: (error as Error).message });
    }
  }

  stop(): void {
    setTimeout(() => {
      this.current?.close();
      this.flush();
      process.send!({ kind: 'end', dropped: this.dropped } satisfies FromCap, () => process.exit());
    }, DRAIN_MS);
  }

  private opened(filter: string): { cap: Cap; link_type: string } {
    const { device, buffer_bytes } = this.start;
    const cap = new this.Cap();
    kept.push(cap);
    const link_type = cap.open(device, filter, buffer_bytes, buffer);
    cap.on('packet', (length) => this.packet(length));
    return { cap, link_type };
  }

  private opensWithout(device: string): boolean {
    try {
      this.probe(device, '');
      return true;
    } catch {
      return false;
    }
  }

  /** Throws what opening would throw. What `cap` opened and then refused it never closes: so it is tried with a small ring first. */
  private probe(device: string, filter: string): void {
    const cap = new this.Cap();
    kept.push(cap);
    cap.open(device, filter, PROBE_BYTES, buffer);
    cap.close();
  }

  private packet(length: number): void {
    const captured = Math.min(length, this.start.snap_length);
    if (this.used + RECORD.bytes + captured > CHUNK_BYTES) this.flush();
    const now_ms = this.clock_offset_ms + performance.now();
    const seconds = Math.floor(now_ms / 1000);
    const { chunk, used } = this;
    chunk.writeUInt32LE(captured, used + RECORD.captured);
    chunk.writeUInt32LE(length, used + RECORD.wire);
    chunk.writeUInt32LE(seconds, used + RECORD.seconds);
    chunk.writeUInt32LE(Math.floor((now_ms - seconds * 1000) * 1e6), used + RECORD.nanoseconds);
    buffer.copy(chunk, used + RECORD.bytes, 0, captured);
    this.used = used + RECORD.bytes + captured;
    this.count++;
  }

  private flush(): void {
    // While packets come no event is seen: neither that the sensor is gone, nor that it asks us to end.
    if (!process.connected) process.exit();
    const { used, count } = this;
    if (count === 0) return;
    this.used = this.count = 0;
    if (this.under_way_bytes + used > MAX_UNDER_WAY_BYTES) {
      this.dropped += count;
      return;
    }
    this.under_way_bytes += used;
    const message: FromCap = { kind: 'packets', count, dropped: this.dropped, chunk: this.chunk.subarray(0, used) };
    this.dropped = 0;
    // Serialized at once, so the chunk can be used again.
    process.send!(message, () => {
      this.under_way_bytes -= used;
    });
  }

  private setClock(): void {
    this.clock_offset_ms = Date.now() - performance.now();
  }
}

function post(message: FromCap): void {
  process.send!(message);
}

if (process.send !== undefined) {
  let capture: CapProcess | null = null;
  process.on('message', (message: ToCap) => {
    if (message.kind === 'open') {
      capture = new CapProcess(message);
      capture.open();
    } else if (message.kind === 'filter') capture?.setFilter(message.filter);
    else capture?.stop();
  });
  process.on('disconnect', () => process.exit());
  // The sensor decides when it is over; a service manager signals every process it knows.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
}
