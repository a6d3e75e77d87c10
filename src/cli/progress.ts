import { Presets, SingleBar } from 'cli-progress';
import type { PacketSource } from '../capture/source.ts';

/** A progress bar on a terminal, for work that takes long enough to be watched; nothing in a pipe. */
export class Progress {
  private bar: SingleBar | null = null;
  private readonly source: PacketSource;
  private readonly started = Date.now();

  constructor(source: PacketSource) {
    this.source = source;
  }

  update(): void {
    if (!process.stderr.isTTY) return;
    const { bytes_read, bytes_total } = this.source;
    if (this.bar === null) {
      if (Date.now() - this.started < 500 || bytes_total === null) return;
      const format = ' {bar} {percentage}% | {value} of {total} MB | {duration_formatted}';
      this.bar = new SingleBar({ format, stream: process.stderr, clearOnComplete: true, etaBuffer: 20 }, Presets.shades_classic);
      this.bar.start(Math.ceil((bytes_total ?? 0) / 1e6), 0);
    }
    this.bar.update(Math.floor(bytes_read / 1e6));
  }

  stop(): void {
    this.bar?.stop();
  }
}
