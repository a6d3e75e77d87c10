import fs from 'node:fs';
import { join } from 'node:path';
import { OperatorStore } from '../store/operator.ts';
import { StoreReader } from '../store/queries.ts';
import { DATABASE_FILE } from '../store/writer.ts';

/** How often it is looked whether the database is another file by now, after a restore. */
const LOOK_MS = 1000;

/**
 * The sensor's database as the API uses it: opened when first asked for, since it may not be there yet, and again when the file was
 * replaced. Throws StoreError.
 */
export class StoreAccess {
  private readonly directory: string;
  private reader_: StoreReader | null = null;
  private operator_: OperatorStore | null = null;
  private file = '';
  private looked_ms = Number.NEGATIVE_INFINITY;
  private generation = 0;

  constructor(directory: string) {
    this.directory = directory;
  }

  get reader(): StoreReader {
    this.look();
    this.reader_ ??= new StoreReader(this.directory);
    return this.reader_;
  }

  get operator(): OperatorStore {
    this.look();
    this.operator_ ??= new OperatorStore(this.directory);
    return this.operator_;
  }

  /** Another whenever anything that is read may be another. */
  version(): string {
    const { reader } = this;
    return `${this.generation}.${reader.version()}`;
  }

  close(): void {
    this.reader_?.close();
    this.operator_?.close();
    this.reader_ = null;
    this.operator_ = null;
  }

  private look(): void {
    const now = performance.now();
    if (now - this.looked_ms < LOOK_MS) return;
    this.looked_ms = now;
    const found = fs.statSync(join(this.directory, DATABASE_FILE), { throwIfNoEntry: false });
    const file = found === undefined ? '' : `${found.dev}:${found.ino}`;
    if (file === this.file) return;
    this.close();
    this.file = file;
    this.generation++;
  }
}
