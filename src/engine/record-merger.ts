import type { RecordLines } from './worker.ts';

/**
 * Brings the lines of several shards into the order of their frames. A frame belongs to one shard, so the order is total. What `merge`
 * gives is true until the next call: memory that is new each time costs more than all that is done with it.
 */
export class RecordMerger {
  private buffer = new Uint8Array(0);

  merge(parts: readonly RecordLines[]): Uint8Array {
    if (parts.length === 1) return parts[0].bytes;
    const size = parts.reduce((sum, part) => sum + part.bytes.length, 0);
    if (this.buffer.length < size) this.buffer = new Uint8Array(Math.ceil(size * 1.25));
    const merged = this.buffer;
    const next = new Uint32Array(parts.length);
    let position = 0;
    for (;;) {
      let first = -1;
      for (let i = 0; i < parts.length; i++) {
        const { order } = parts[i];
        if (next[i] < order.length && (first < 0 || order[next[i]] < parts[first].order[next[first]])) first = i;
      }
      if (first < 0) return merged.subarray(0, size);
      // A run of lines that come before all others is copied at once.
      const { bytes, order, ends } = parts[first];
      let limit = Infinity;
      for (let i = 0; i < parts.length; i++)
        if (i !== first && next[i] < parts[i].order.length) limit = Math.min(limit, parts[i].order[next[i]]);
      const start = next[first] === 0 ? 0 : ends[next[first] - 1];
      do next[first]++;
      while (next[first] < order.length && order[next[first]] < limit);
      const end = ends[next[first] - 1];
      merged.set(bytes.subarray(start, end), position);
      position += end - start;
    }
  }
}
