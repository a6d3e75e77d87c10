import type { Packet } from '../decode/packet.ts';
import type { Dissection } from '../dissect/dissection.ts';
import type { Registry } from '../dissect/registry.ts';
import type { FlowState, Stamp } from '../flow/flow-state.ts';
import type { FlowTable } from '../flow/flow-table.ts';
import { EnvelopeWriter } from './envelope.ts';
import type { FlowNotes } from './flow-notes.ts';
import type { RowConsumer } from './row-consumer.ts';

/** `dissect`: every record as a line of JSON, with the frame that orders it among the lines of other shards. */
export class RecordsConsumer implements RowConsumer {
  readonly writer: EnvelopeWriter;
  /** Line by line: the frame that orders it, and where it ends in the writer's bytes. */
  order = new Float64Array(1 << 12);
  ends = new Uint32Array(1 << 12);
  count = 0;
  private readonly wanted: Uint8Array | null;

  /** `protocols`: indices of the dissectors whose records are wanted; null: all. */
  constructor(registry: Registry, table: FlowTable, protocols: readonly number[] | null) {
    this.writer = new EnvelopeWriter(registry, table);
    this.wanted = protocols && Uint8Array.from(registry.dissectors, (_, index) => (protocols.includes(index) ? 1 : 0));
  }

  rows(slot: number, state: FlowState, notes: FlowNotes, p: Packet, stamp: Stamp, dissection: Dissection): void {
    for (let i = 0; i < dissection.count; i++) {
      const row = dissection.rows[i];
      if (this.wanted !== null && this.wanted[row.dissector] === 0) continue;
      this.writer.line(slot, state, notes, p, stamp, row);
      if (this.count === this.order.length) this.grow();
      this.order[this.count] = p.frame;
      this.ends[this.count++] = this.writer.out.position;
    }
  }

  reset(): void {
    this.count = 0;
    this.writer.out.position = 0;
  }

  /** Puts the lines in the order of their frames; only the last words of a capture come out of order. */
  sort(): void {
    const { order, ends, count } = this;
    const { out } = this.writer;
    const bytes = out.bytes.slice(0, out.position);
    const lines = Array.from({ length: count }, (_, i) => ({ frame: order[i], start: i === 0 ? 0 : ends[i - 1], end: ends[i] }));
    lines.sort((a, b) => a.frame - b.frame);
    let position = 0;
    lines.forEach(({ frame, start, end }, i) => {
      out.bytes.set(bytes.subarray(start, end), position);
      position += end - start;
      order[i] = frame;
      ends[i] = position;
    });
  }

  private grow(): void {
    const order = new Float64Array(this.count * 2);
    order.set(this.order);
    this.order = order;
    const ends = new Uint32Array(this.count * 2);
    ends.set(this.ends);
    this.ends = ends;
  }
}
