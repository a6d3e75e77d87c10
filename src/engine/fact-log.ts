import { ot_sensor } from '../proto/facts.js';

type Fact = ot_sensor.IFact;
type Endpoint = ot_sensor.IEndpoint;

const FIRST_BYTES = 1 << 16;
const FIRST_FACTS = 1 << 10;
/** Memory that a flood of facts took is let go. */
const KEEP_BYTES = 1 << 22;
/** More than the fixed parts of any fact that is written here. */
const FACT_BYTES = 512;
/** Lengths of messages stand in two bytes, the first of which says that another follows. */
const MAX_LENGTH = 1 << 14;

const utf8 = new TextEncoder();

/**
 * The facts and findings of one batch, in one shard, as the bytes of an ot_sensor.BatchFacts. Each is written when it is added: kept as
 * objects until the batch is over, they were most of what a collection had to move. Limits what a flood can make of them.
 */
export class FactLog {
  /** Facts left out because a batch had more than MAX_FACTS. */
  dropped = 0;
  count = 0;
  private bytes = new Uint8Array(FIRST_BYTES);
  private view = new DataView(this.bytes.buffer);
  private at = 0;
  /** Of each fact: what it is ordered by (see `factOrder`), and where it begins. */
  private frames = new Float64Array(FIRST_FACTS);
  private flows = new Float64Array(FIRST_FACTS);
  private starts = new Uint32Array(FIRST_FACTS);
  private is_ordered = true;

  add(fact: Fact): void {
    const { count } = this;
    if (count >= MAX_FACTS) {
      this.dropped++;
      return;
    }
    if (count === this.starts.length) this.growOrder();
    const frame = fact.frame!;
    const flow = flowOf(fact);
    if (count > 0 && (frame < this.frames[count - 1] || (frame === this.frames[count - 1] && flow < this.flows[count - 1])))
      this.is_ordered = false;
    this.frames[count] = frame;
    this.flows[count] = flow;
    this.starts[count] = this.at;
    this.count = count + 1;
    this.write(fact);
  }

  /** The batch's message, facts in the order of their packets; empties the log. */
  encode(counters: Record<string, number> | null): Uint8Array {
    const end = counters === null ? null : ot_sensor.BatchFacts.encode({ counters: { values: counters } }).finish();
    const message = new Uint8Array(this.at + (end?.length ?? 0));
    if (this.is_ordered) message.set(this.bytes.subarray(0, this.at));
    else this.putInOrder(message);
    if (end !== null) message.set(end, this.at);
    this.at = this.count = 0;
    this.is_ordered = true;
    if (this.bytes.length > KEEP_BYTES) this.setBytes(new Uint8Array(FIRST_BYTES));
    return message;
  }

  private putInOrder(message: Uint8Array): void {
    const { bytes, frames, flows, starts, count } = this;
    const order = Uint32Array.from({ length: count }, (_, i) => i);
    order.sort((a, b) => frames[a] - frames[b] || flows[a] - flows[b] || a - b);
    let to = 0;
    for (const i of order) {
      const end = i + 1 < count ? starts[i + 1] : this.at;
      message.set(bytes.subarray(starts[i], end), to);
      to += end - starts[i];
    }
  }

  // ── one fact, as proto/facts.proto has it; what a capture has few of is left to protobufjs ──

  private write(fact: Fact): void {
    this.reserve(FACT_BYTES);
    const start = this.at;
    const inner = this.open(0x0a);
    this.double(0x09, fact.frame!);
    this.double(0x11, fact.time_ms!);
    let what = 0;
    if (fact.activity) {
      what = this.open(0x2a);
      this.activity(fact.activity);
    } else if (fact.flow_update) {
      what = this.open(0x22);
      this.flowUpdate(fact.flow_update);
    } else if (fact.binding) {
      what = this.open(0x32);
      this.binding(fact.binding);
    } else if (fact.flow_opened) {
      what = this.open(0x1a);
      this.flowOpened(fact.flow_opened);
    }
    if (what > 0 && this.close(what) && this.close(inner)) return;
    this.at = start;
    const encoded = ot_sensor.BatchFacts.encode({ facts: [fact] }).finish();
    this.reserve(encoded.length);
    this.bytes.set(encoded, start);
    this.at = start + encoded.length;
  }

  private flowOpened(opened: ot_sensor.IFlowOpened): void {
    this.double(0x09, opened.flow_id!);
    this.endpoint(0x12, opened.opener!);
    this.endpoint(0x1a, opened.responder!);
    this.vlans(0x22, opened.vlan!);
    this.text(0x2a, opened.proto!);
    this.unsigned(0x30, opened.opener_certain ? 1 : 0);
    this.unsigned(0x38, opened.ethertype!);
  }

  private flowUpdate(update: ot_sensor.IFlowUpdate): void {
    this.double(0x09, update.flow_id!);
    this.text(0x12, update.app_proto!);
    this.text(0x1a, update.recognised_by!);
    this.double(0x21, update.packets_from_opener!);
    this.double(0x29, update.packets_from_responder!);
    this.double(0x31, update.bytes_from_opener!);
    this.double(0x39, update.bytes_from_responder!);
    this.double(0x41, update.first_ms!);
    this.double(0x49, update.last_ms!);
    this.signed(0x50, update.client!);
    this.unsigned(0x58, update.ended ? 1 : 0);
    this.unsigned(0x60, update.opener_certain ? 1 : 0);
  }

  private activity(activity: ot_sensor.IActivity): void {
    this.double(0x09, activity.flow_id!);
    this.text(0x12, activity.app_proto!);
    this.text(0x1a, activity.operation!);
    this.unsigned(0x20, activity.from_opener ? 1 : 0);
    this.text(0x2a, activity.role!);
    this.text(0x32, activity.target!);
    this.double(0x39, activity.target_first!);
    this.double(0x41, activity.target_last!);
    this.signed(0x48, activity.unit!);
    this.text(0x52, activity.unit_name!);
    this.double(0x59, activity.count!);
    this.double(0x61, activity.first_ms!);
    this.double(0x69, activity.last_ms!);
  }

  private binding(binding: ot_sensor.IBinding): void {
    this.endpoint(0x0a, binding.endpoint!);
    this.vlans(0x12, binding.vlan!);
    this.text(0x1a, binding.how!);
  }

  private endpoint(tag: number, { mac, ip, port }: Endpoint): void {
    const start = this.open(tag);
    this.span(0x0a, mac!);
    this.span(0x12, ip!);
    this.unsigned(0x18, port!);
    this.close(start);
  }

  /** Begins a message whose length is not known yet; gives where its content begins. */
  private open(tag: number): number {
    this.bytes[this.at] = tag;
    this.at += 3;
    return this.at;
  }

  /** False where it is too long for the place of its length. */
  private close(start: number): boolean {
    const length = this.at - start;
    this.bytes[start - 2] = (length & 0x7f) | 0x80;
    this.bytes[start - 1] = length >> 7;
    return length < MAX_LENGTH;
  }

  // Fields that are 0 or empty are left out, as proto3 has it.

  private double(tag: number, value: number): void {
    if (Object.is(value, 0)) return;
    this.bytes[this.at] = tag;
    this.view.setFloat64(this.at + 1, value, true);
    this.at += 9;
  }

  private unsigned(tag: number, value: number): void {
    if (value === 0) return;
    this.bytes[this.at++] = tag;
    this.varint(value);
  }

  /** sint32: zigzag. */
  private signed(tag: number, value: number): void {
    this.unsigned(tag, value < 0 ? -value * 2 - 1 : value * 2);
  }

  private varint(value: number): void {
    let rest = value;
    while (rest > 0x7f) {
      this.bytes[this.at++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    this.bytes[this.at++] = rest;
  }

  private vlans(tag: number, values: readonly number[]): void {
    if (values.length === 0) return;
    this.reserve(FACT_BYTES + values.length * 5);
    const start = this.open(tag);
    for (const value of values) this.varint(value);
    this.close(start);
  }

  private span(tag: number, span: Uint8Array): void {
    const size = span.length;
    if (size === 0) return;
    const { bytes, at } = this;
    bytes[at] = tag;
    bytes[at + 1] = size;
    for (let i = 0; i < size; i++) bytes[at + 2 + i] = span[i];
    this.at = at + 2 + size;
  }

  private text(tag: number, text: string): void {
    const size = text.length;
    if (size === 0) return;
    this.reserve(FACT_BYTES + size * 3);
    const { bytes, at } = this;
    bytes[at] = tag;
    let i = 0;
    if (size < 0x80) {
      for (; i < size; i++) {
        const c = text.charCodeAt(i);
        if (c > 0x7f) break;
        bytes[at + 2 + i] = c;
      }
      bytes[at + 1] = size;
      this.at = at + 2 + size;
    }
    if (i === size) return;
    const start = at + 3;
    this.at = start + utf8.encodeInto(text, bytes.subarray(start)).written;
    this.close(start);
  }

  private reserve(size: number): void {
    if (this.at + size <= this.bytes.length) return;
    const larger = new Uint8Array(Math.max(this.bytes.length * 2, this.at + size));
    larger.set(this.bytes.subarray(0, this.at));
    this.setBytes(larger);
  }

  private setBytes(bytes: Uint8Array<ArrayBuffer>): void {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer);
  }

  private growOrder(): void {
    const { frames, flows, starts } = this;
    this.frames = new Float64Array(frames.length * 2);
    this.flows = new Float64Array(flows.length * 2);
    this.starts = new Uint32Array(starts.length * 2);
    this.frames.set(frames);
    this.flows.set(flows);
    this.starts.set(starts);
  }
}

/** In the order of their packets; counts of flows that were said together, by flow. Stable for all others: a packet is in one shard. */
export function factOrder(a: Fact, b: Fact): number {
  if (a.frame !== b.frame) return a.frame! - b.frame!;
  return flowOf(a) - flowOf(b);
}

function flowOf({ frame, flow_update, activity, finding }: Fact): number {
  return Number.isInteger(frame) ? 0 : (flow_update?.flow_id ?? activity?.flow_id ?? finding?.flow_id ?? 0);
}

/** Far above what a batch of MAX_BATCH_PACKETS can honestly cause, flushes of a full flow table included. */
const MAX_FACTS = 1 << 21;
