import { Match } from '../dissect/dissector.ts';
import { Reader } from '../dissect/reader.ts';
import type { Registry } from '../dissect/registry.ts';
import { type FlowState, RecognisedBy, type Stream } from './flow-state.ts';
import type { StreamSink } from './tcp-order.ts';

/** Takes whole PDUs (or, `complete` false, what there is of one). */
export interface PduSink {
  pdu(state: FlowState, direction: 0 | 1, r: Reader, complete: boolean): void;
  /** Payload on a service's port that is not its protocol, or that nothing knows: said once a flow. */
  unrecognised(state: FlowState, direction: 0 | 1): void;
}

export const FRAMER_LIMITS = {
  /** Payloads of a flow that are tried against all probes; then it counts as unrecognised. */
  attempts: 6,
  /** Payloads that are tried against the probes of its ports, where it has any: a capture may begin inside a long PDU. */
  port_attempts: 64,
  /** Enough bytes for any probe; fewer are collected first. */
  probe_bytes: 24,
  /** Bytes searched in vain for a PDU before a recognised flow is given up. */
  unsynchronised_bytes: 256 * 1024,
};

const NO_BYTES = new Uint8Array(new SharedArrayBuffer(0));
const ABANDONED = -2;
const UNKNOWN = -1;

/**
 * Cuts streams and datagrams into PDUs and finds out whose they are. A PDU that lies whole in its segment is read in place; only
 * one that straddles is copied. After a gap or an impossible size it looks for the next place where the size is in bounds and the
 * probe agrees. A port is a hint: it decides which dissector is asked first, its probe decides.
 */
export class Framer implements StreamSink {
  readonly counters = { resynchronisations: 0, bytes_passed_over: 0, abandoned: 0, unrecognised_flows: 0 };
  private readonly registry: Registry;
  private readonly sink: PduSink;
  private readonly reader = new Reader();
  /** Bytes collected before a stream's beginning counts as unrecognised. */
  private readonly probe_bytes: number;

  constructor(registry: Registry, sink: PduSink) {
    this.registry = registry;
    this.sink = sink;
    const headers = registry.dissectors.map(({ framing }) => framing?.headerSize ?? 0);
    this.probe_bytes = Math.max(FRAMER_LIMITS.probe_bytes, ...headers);
  }

  // ── streams ──

  data(state: FlowState, direction: 0 | 1, bytes: Uint8Array, start: number, end: number): void {
    state.direction = direction;
    const { skip } = state.stream(direction);
    let from = start;
    if (skip > 0) {
      const passed = Math.min(skip, end - from);
      state.ownStream(direction).skip -= passed;
      from += passed;
      if (from === end) return;
    }
    if (state.dissector === UNKNOWN) this.recogniseStream(state, direction, bytes, from, end);
    else if (state.dissector >= 0 && !state.aside) this.pdus(state, direction, bytes, from, end);
  }

  /** Bytes of a recognised stream, which are next. */
  private pdus(state: FlowState, direction: 0 | 1, bytes: Uint8Array, start: number, end: number): void {
    const { length, needs_sync } = state.stream(direction);
    const from = length === 0 && !needs_sync ? this.whole(state, direction, bytes, start, end) : start;
    if (from < end && !state.aside) this.cut(state, direction, state.ownStream(direction), bytes, from, end);
  }

  /** The common case first: gives the PDUs that lie whole and in step in a segment. Returns where something else begins. */
  private whole(state: FlowState, direction: 0 | 1, bytes: Uint8Array, start: number, end: number): number {
    const framing = state.framing!;
    const { headerSize, maxSize } = framing;
    let at = start;
    while (end - at >= headerSize) {
      const size = framing.sizeOf(this.reader.reset(bytes, at, end), state);
      if (size < headerSize || size > maxSize || at + size > end) return at;
      this.give(state, direction, bytes, at, at + size, true);
      if (state.stream(direction).unsynchronised > 0) state.ownStream(direction).unsynchronised = 0;
      at += size;
      if (state.aside) return end;
    }
    return at;
  }

  gap(state: FlowState, direction: 0 | 1, size: number): void {
    state.direction = direction;
    const stream = state.ownStream(direction);
    if (stream.skip > 0) {
      const passed = Math.min(stream.skip, size);
      stream.skip -= passed;
      if (passed === size) return;
      size -= passed;
    }
    if (state.dissector < 0 || state.aside) {
      stream.drop(stream.length);
      stream.gap += size;
      return;
    }
    let left = size;
    if (stream.length > 0) {
      // What there is of a PDU is shown as truncated; if the gap ends inside it, its end is known.
      const pduSize = this.sizeAt(state, stream.bytes, 0, stream.length);
      if (pduSize > stream.length) {
        const rest = pduSize - stream.length;
        this.give(state, direction, stream.bytes, 0, stream.length, false);
        stream.skip = Math.max(0, rest - left);
        left = Math.max(0, left - rest);
      }
      stream.drop(stream.length);
    }
    if (left > 0) {
      stream.needs_sync = true;
      stream.fresh = true;
      stream.gap += left;
    }
  }

  private cut(state: FlowState, direction: 0 | 1, stream: Stream, bytes: Uint8Array, start: number, end: number): void {
    let from = start;
    if (stream.needs_sync && stream.length > 0 && this.mayStart(state, bytes, from, end)) {
      // What waits is a rest from which no PDU was found: it must not swallow the start of one.
      this.counters.bytes_passed_over += stream.length;
      stream.drop(stream.length);
    }
    while (stream.length > 0) {
      // The rest of a straddling PDU: copied up to its end, the others stay in place.
      const size = this.sizeAt(state, stream.bytes, 0, stream.length);
      // While a PDU is looked for, all bytes are joined: every place in them may be its start.
      const wanted = size > stream.length ? size - stream.length : size === 0 ? this.headerRest(state, stream) : 0;
      const take = stream.needs_sync || wanted === 0 ? end - from : Math.min(wanted, end - from);
      stream.append(bytes, from, from + take);
      from += take;
      const used = this.cutAll(state, direction, stream, stream.bytes, 0, stream.length, stream.fresh);
      stream.drop(used);
      if (from === end || state.aside || state.dissector < 0) return;
      if (used === 0 && take === 0) return;
    }
    const used = this.cutAll(state, direction, stream, bytes, from, end, true);
    if (used < end - from && state.dissector >= 0 && !state.aside) stream.append(bytes, from + used, end);
  }

  /** How many bytes more show the size of the PDU that waits in the buffer. */
  private headerRest(state: FlowState, stream: Stream): number {
    const { framing } = this.registry.dissectors[state.dissector];
    return framing && stream.length < framing.headerSize ? framing.headerSize - stream.length : 1;
  }

  /**
   * Gives every whole PDU in the bytes; returns how many bytes are done with. What is left begins a PDU that is not whole yet, or
   * may begin one. `trusted`: after a loss, the first byte is as likely a PDU's as a segment's first byte is.
   */
  private cutAll(
    state: FlowState,
    direction: 0 | 1,
    stream: Stream,
    bytes: Uint8Array,
    start: number,
    end: number,
    trusted: boolean,
  ): number {
    const framing = this.registry.dissectors[state.dissector].framing!;
    let at = start;
    while (end - at >= framing.headerSize) {
      if (stream.needs_sync) {
        const found = this.synchronise(state, stream, bytes, at, end, trusted);
        // The rest may be the start of a header.
        if (found < 0) return end - (framing.headerSize - 1) - start;
        at = found;
      }
      const size = this.sizeAt(state, bytes, at, end);
      if (size === 0 && end - at < framing.maxSize) break;
      if (size < framing.headerSize || size > framing.maxSize) {
        stream.needs_sync = true;
        stream.fresh = false;
        // After an impossible size only a sure sign will do.
        trusted = false;
        this.counters.resynchronisations++;
        at++;
        stream.gap++;
        continue;
      }
      if (at + size > end) break;
      this.give(state, direction, bytes, at, at + size, true);
      stream.unsynchronised = 0;
      if (state.aside) return end - start;
      at += size;
    }
    return at - start;
  }

  /** The next place where a PDU may start: sizes in bounds, the probe agrees, and the PDU behind it, if there is one, too. -1: none. */
  private synchronise(state: FlowState, stream: Stream, bytes: Uint8Array, start: number, end: number, trusted: boolean): number {
    const dissector = this.registry.dissectors[state.dissector];
    const { headerSize, maxSize } = dissector.framing!;
    for (let at = start; end - at >= headerSize; at++) {
      const size = this.sizeAt(state, bytes, at, end);
      if (size < headerSize || size > maxSize) continue;
      const match = this.probe(state.dissector, bytes, at, end);
      if (match === Match.no || (match === Match.possible && !(trusted && at === start))) continue;
      if (at + size + headerSize <= end) {
        const following = this.sizeAt(state, bytes, at + size, end);
        if (following !== 0 && (following < headerSize || following > maxSize)) continue;
      }
      stream.needs_sync = false;
      stream.fresh = false;
      stream.gap += at - start;
      this.counters.bytes_passed_over += at - start;
      return at;
    }
    const passed = end - start - (headerSize - 1);
    this.counters.bytes_passed_over += passed;
    stream.fresh = false;
    stream.gap += passed;
    stream.unsynchronised += passed;
    if (stream.unsynchronised > FRAMER_LIMITS.unsynchronised_bytes) {
      state.dissector = ABANDONED;
      this.counters.abandoned++;
    }
    return -1;
  }

  /** Has what stands here a PDU's size, and does the probe not object? */
  private mayStart(state: FlowState, bytes: Uint8Array, at: number, end: number): boolean {
    const { headerSize, maxSize } = this.registry.dissectors[state.dissector].framing!;
    const size = this.sizeAt(state, bytes, at, end);
    return size >= headerSize && size <= maxSize && this.probe(state.dissector, bytes, at, end) !== Match.no;
  }

  private sizeAt(state: FlowState, bytes: Uint8Array, at: number, end: number): number {
    const { framing } = this.registry.dissectors[state.dissector];
    if (framing === undefined) return end - at;
    if (end - at < framing.headerSize) return 0;
    return framing.sizeOf(this.reader.reset(bytes, at, end), state);
  }

  private probe(dissector: number, bytes: Uint8Array, at: number, end: number): number {
    return this.registry.dissectors[dissector].probe(this.reader.reset(bytes, at, end));
  }

  private give(state: FlowState, direction: 0 | 1, bytes: Uint8Array, start: number, end: number, complete: boolean): void {
    const lost = state.stream(direction).gap > 0;
    state.gap_before = lost;
    if (lost) state.ownStream(direction).gap = 0;
    this.sink.pdu(state, direction, this.reader.reset(bytes, start, end), complete);
  }

  // ── recognition ──

  private recogniseStream(state: FlowState, direction: 0 | 1, bytes: Uint8Array, start: number, end: number): void {
    const waiting = state.stream(direction).length;
    if (waiting > 0) {
      const stream = state.ownStream(direction);
      const copied = Math.min(end, start + this.probe_bytes * 64);
      stream.append(bytes, start, copied);
      if (this.recognise(state, stream.bytes, 0, stream.length)) {
        const { bytes: collected, length } = stream;
        stream.bytes = NO_BYTES;
        stream.length = 0;
        this.recognised(state, direction);
        this.pdus(state, direction, collected, 0, length);
        if (copied < end) this.data(state, direction, bytes, copied, end);
        return;
      }
    }
    if (this.recognise(state, bytes, start, end)) {
      if (waiting > 0) {
        const stream = state.ownStream(direction);
        this.counters.bytes_passed_over += waiting;
        stream.gap += waiting;
        stream.drop(stream.length);
      }
      this.recognised(state, direction);
      this.pdus(state, direction, bytes, start, end);
      return;
    }
    const stream = state.ownStream(direction);
    if (waiting === 0) stream.append(bytes, start, Math.min(end, start + this.probe_bytes));
    if (stream.length < this.probe_bytes) return;
    stream.drop(stream.length);
    this.notRecognised(state, direction);
  }

  private recognised(state: FlowState, direction: 0 | 1): void {
    if (state.client_direction < 0 && state.recognised_by === RecognisedBy.port) {
      const onDestination = this.isPortOf(state, direction === 0 ? 1 : 0);
      const onSource = this.isPortOf(state, direction === 0 ? 0 : 1);
      if (onDestination !== onSource) state.client_direction = onDestination ? direction : ((1 - direction) as 0 | 1);
    }
    const from = (1 - direction) as 0 | 1;
    const { gap, length } = state.stream(from);
    if (gap === 0 && (length === 0 || this.inStep(state, state.ownStream(from)))) return;
    // It may stand in the middle of a PDU.
    const other = state.ownStream(from);
    this.counters.bytes_passed_over += other.length;
    other.gap += other.length;
    other.drop(other.length);
    other.needs_sync = true;
    other.fresh = true;
  }

  /**
   * The bytes that were collected of the other direction before the protocol was known: do they begin with PDUs? Those that are whole
   * came in earlier packets and are passed over; the last, which is not, is waited for.
   */
  private inStep(state: FlowState, stream: Stream): boolean {
    const { framing } = this.registry.dissectors[state.dissector];
    if (framing === undefined) return true;
    let at = 0;
    while (stream.length - at >= framing.headerSize) {
      const size = this.sizeAt(state, stream.bytes, at, stream.length);
      if (size !== 0 && (size < framing.headerSize || size > framing.maxSize)) return false;
      if (this.probe(state.dissector, stream.bytes, at, stream.length) === Match.no) return false;
      if (size === 0 || at + size > stream.length) break;
      at += size;
    }
    this.counters.bytes_passed_over += at;
    stream.gap += at;
    stream.drop(at);
    return true;
  }

  /** Is the port at that end (0 the sender of direction 0) one that the recognised dissector names? */
  private isPortOf(state: FlowState, end: 0 | 1): boolean {
    return this.registry.onPort(state.is_stream, state.port(end)).includes(state.dissector);
  }

  private notRecognised(state: FlowState, direction: 0 | 1): void {
    state.attempts++;
    state.ownStream(direction).gap = 1;
    const { attempts, port_attempts } = FRAMER_LIMITS;
    if (state.attempts < attempts) return;
    if (state.attempts >= port_attempts || !this.mayComeYet(state)) state.dissector = ABANDONED;
    if (state.attempts > attempts) return;
    this.counters.unrecognised_flows++;
    this.sink.unrecognised(state, direction);
  }

  /** Is it on a port of ours, and was its beginning not seen? */
  private mayComeYet({ is_stream, from_start, opener_port, responder_port }: FlowState): boolean {
    const { registry } = this;
    return !from_start && registry.onPort(is_stream, opener_port).length + registry.onPort(is_stream, responder_port).length > 0;
  }

  /** Asks the dissectors of the ports, then, as long as that is worth it, all of the transport. */
  private recognise(state: FlowState, bytes: Uint8Array, start: number, end: number): boolean {
    const { registry } = this;
    const is_tcp = state.is_stream;
    for (let end_ = 1 as 0 | 1; ; end_ = 0) {
      // Of several protocols on a port (Modbus with and without MBAP) a sure sign goes before a possible one, whatever the order.
      let possible = -1;
      for (const index of registry.onPort(is_tcp, state.port(end_))) {
        if (!this.fits(index, bytes, start, end, state)) continue;
        const match = this.probe(index, bytes, start, end);
        if (match === Match.certain) return this.choose(state, index, RecognisedBy.port);
        if (match === Match.possible && possible < 0) possible = index;
      }
      if (possible >= 0) return this.choose(state, possible, RecognisedBy.port);
      if (end_ === 0) break;
    }
    if (state.attempts >= FRAMER_LIMITS.attempts) return false;
    for (const index of registry.onTransport(is_tcp)) {
      if (this.probe(index, bytes, start, end) !== Match.certain) continue;
      if (this.fits(index, bytes, start, end, state) && this.chains(index, bytes, start, end, state))
        return this.choose(state, index, RecognisedBy.probe);
    }
    return false;
  }

  private choose(state: FlowState, index: number, by: 1 | 2): true {
    state.dissector = index;
    state.framing = this.registry.dissectors[index].framing ?? null;
    state.recognised_by = by;
    return true;
  }

  /** Is there a header, and is its size in bounds? */
  private fits(index: number, bytes: Uint8Array, start: number, end: number, state: FlowState): boolean {
    const { framing } = this.registry.dissectors[index];
    if (framing === undefined) return true;
    if (end - start < framing.headerSize) return false;
    const size = framing.sizeOf(this.reader.reset(bytes, start, end), state);
    return size === 0 || (size >= framing.headerSize && size <= framing.maxSize);
  }

  /** Off its port: the bytes must be PDU after PDU to their end (the last may be cut). */
  private chains(index: number, bytes: Uint8Array, start: number, end: number, state: FlowState): boolean {
    const { framing } = this.registry.dissectors[index];
    if (framing === undefined) return true;
    for (let at = start; end - at >= framing.headerSize; ) {
      const size = framing.sizeOf(this.reader.reset(bytes, at, end), state);
      if (size === 0) return true;
      if (size < framing.headerSize || size > framing.maxSize) return false;
      at += size;
    }
    return true;
  }

  // ── datagrams and layer-2 payloads ──

  /** One datagram; `missing` bytes of it were on the wire and are not in the capture. */
  datagram(state: FlowState, direction: 0 | 1, bytes: Uint8Array, start: number, end: number, missing: number): void {
    if (state.aside || state.dissector === ABANDONED) return;
    state.direction = direction;
    if (state.dissector === UNKNOWN) {
      if (!this.recognise(state, bytes, start, end)) {
        this.notRecognised(state, direction);
        return;
      }
      this.recognised(state, direction);
    }
    const dissector = this.registry.dissectors[state.dissector];
    const { framing } = dissector;
    if (framing === undefined) {
      if (this.probe(state.dissector, bytes, start, end) !== Match.no)
        this.give(state, direction, bytes, start, end, missing === 0);
      return;
    }
    for (let at = start; at < end && !state.aside; ) {
      const size = this.sizeAt(state, bytes, at, end);
      if (size < framing.headerSize || size > framing.maxSize) {
        if (at === start && this.probe(state.dissector, bytes, at, end) === Match.no) return;
        this.give(state, direction, bytes, at, end, missing === 0);
        return;
      }
      this.give(state, direction, bytes, at, Math.min(at + size, end), at + size <= end || missing === 0);
      at += size;
    }
  }

  /** Payload that an EtherType announced. */
  frame(
    state: FlowState,
    direction: 0 | 1,
    ethertype: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    missing: number,
  ): void {
    if (state.aside) return;
    if (state.dissector === UNKNOWN) {
      const index = this.registry.onEthertype(ethertype);
      if (index < 0) {
        state.dissector = ABANDONED;
        return;
      }
      this.choose(state, index, RecognisedBy.port);
    }
    if (state.dissector >= 0 && this.probe(state.dissector, bytes, start, end) !== Match.no)
      this.give(state, direction, bytes, start, end, missing === 0);
  }

  /** The flow ends with a PDU half there: shown as truncated. Should it go on all the same (a forged RST), it goes on behind that PDU. */
  finish(state: FlowState): void {
    for (let d = 0 as 0 | 1; ; d = 1) {
      if (state.stream(d).length > 0 && state.dissector >= 0 && !state.aside) {
        const stream = state.ownStream(d);
        state.direction = d;
        const size = this.sizeAt(state, stream.bytes, 0, stream.length);
        if (size > stream.length) {
          stream.skip = size - stream.length;
          this.give(state, d, stream.bytes, 0, stream.length, false);
          stream.drop(stream.length);
        }
      }
      if (d === 1) return;
    }
  }
}
