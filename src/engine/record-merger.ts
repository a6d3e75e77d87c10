import type { RecordLines } from './worker.ts';

/** What is merged at a time: as much as stays in a core's cache until it is written. */
const PIECE_BYTES = 1 << 18;

/** The lines of one shard, as far as they are not merged yet. */
interface Rest {
  readonly lines: RecordLines;
  /** The next line, its frame, and where it starts. */
  next: number;
  frame: number;
  start: number;
}

/**
 * Brings the lines of several shards into the order of their frames. A frame belongs to one shard, so the order is total. Each piece
 * that `merge` gives is true until the next is asked for.
 */
export class RecordMerger {
  private buffer = new Uint8Array(PIECE_BYTES);

  *merge(parts: readonly RecordLines[]): Generator<Uint8Array> {
    const rests: Rest[] = parts.flatMap((lines) =>
      lines.order.length === 0 ? [] : [{ lines, next: 0, frame: lines.order[0], start: 0 }],
    );
    let position = 0;
    while (rests.length > 1) {
      let first = rests[0];
      let limit = Number.POSITIVE_INFINITY;
      for (let i = 1; i < rests.length; i++) {
        const rest = rests[i];
        if (rest.frame < first.frame) {
          limit = first.frame;
          first = rest;
        } else if (rest.frame < limit) limit = rest.frame;
      }
      // A run of lines that come before all others is copied at once.
      const { bytes, order, ends } = first.lines;
      let { next } = first;
      do next++;
      while (next < order.length && order[next] < limit);
      const run = bytes.subarray(first.start, ends[next - 1]);
      if (position + run.length > this.buffer.length) {
        yield this.buffer.subarray(0, position);
        position = 0;
        if (run.length > this.buffer.length) this.buffer = new Uint8Array(run.length * 2);
      }
      this.buffer.set(run, position);
      position += run.length;
      if (next === order.length) rests.splice(rests.indexOf(first), 1);
      else {
        first.next = next;
        first.frame = order[next];
        first.start = ends[next - 1];
      }
    }
    if (position > 0) yield this.buffer.subarray(0, position);
    // What one shard alone has left is in order as it is.
    for (const { lines, start } of rests) yield lines.bytes.subarray(start);
  }
}
