import fs from 'node:fs';
import type { BatchWriter } from './batch.ts';
import { type OpenOptions, openCaptureFile } from './file-source.ts';
import type { PacketSource, SourceWarning } from './source.ts';

/** Several capture files one after the other, as if they were one: frame numbers and POSITION run on. One file is open at a time. */
export class SequenceSource implements PacketSource {
  readonly warnings: SourceWarning[] = [];
  readonly bytes_total: number | null;
  private readonly paths: readonly string[];
  private readonly options: OpenOptions;
  private next = 0;
  private current: PacketSource | null = null;
  /** Bytes of the files that have been read, and warnings of the current one that are already here. */
  private bytes_before = 0;
  private taken_over = 0;
  private closed = false;

  private constructor(paths: readonly string[], bytes_total: number | null, options: OpenOptions) {
    this.paths = paths;
    this.bytes_total = bytes_total;
    this.options = options;
  }

  /** Opens every file once (standard input, `-`, excepted), so that what cannot be read is said before anything is. Throws CaptureFileError. */
  static async open(paths: readonly string[], options: OpenOptions = {}): Promise<SequenceSource> {
    let bytes_total: number | null = 0;
    for (const path of paths) {
      const stat = path === '-' ? undefined : fs.statSync(path, { throwIfNoEntry: false });
      // A pipe can be read but once.
      if (path === '-' || (stat !== undefined && !stat.isFile() && !stat.isDirectory())) {
        bytes_total = null;
        continue;
      }
      const source = await openCaptureFile(path, options);
      if (bytes_total !== null) bytes_total = source.bytes_total === null ? null : bytes_total + source.bytes_total;
      source.close();
    }
    return new SequenceSource(paths, bytes_total, options);
  }

  /** The file that is being read. */
  get name(): string {
    return this.current?.name ?? this.paths[Math.min(this.next, this.paths.length - 1)] ?? '';
  }
  get bytes_read(): number {
    return this.bytes_before + (this.current?.bytes_read ?? 0);
  }

  fill(batch: BatchWriter): number | null | Promise<number | null> {
    if (this.closed) return null;
    if (this.current === null) return this.fillFromNext(batch);
    const used = this.current.fill(batch);
    if (typeof used === 'number') {
      this.takeWarnings();
      return used;
    }
    return this.fillLater(batch, used);
  }

  private async fillLater(batch: BatchWriter, filling: Promise<number | null> | null): Promise<number | null> {
    const used = await filling;
    this.takeWarnings();
    if (used !== null || this.closed) return used;
    this.leave();
    return this.fillFromNext(batch);
  }

  private async fillFromNext(batch: BatchWriter): Promise<number | null> {
    if (this.next === this.paths.length) {
      this.close();
      return null;
    }
    this.current = await openCaptureFile(this.paths[this.next], this.options);
    this.next++;
    this.taken_over = 0;
    return this.fill(batch);
  }

  private takeWarnings(): void {
    const warnings = this.current?.warnings ?? [];
    for (; this.taken_over < warnings.length; this.taken_over++) this.warnings.push(warnings[this.taken_over]);
  }

  private leave(): void {
    this.bytes_before += this.current?.bytes_read ?? 0;
    this.current = null;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.current?.close();
    if (this.current !== null) this.leave();
  }
}
