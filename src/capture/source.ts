import type { BatchWriter } from './batch.ts';

/** Something that went wrong with a source and did not stop it, or stopped it early: in words an operator can act on. */
export interface SourceWarning {
  source: string;
  message: string;
  /** Where in the file, in bytes from its start (of the decompressed data where it is compressed). */
  offset?: number;
}

/** Where packets come from. One interface for files, standard input and, on an appliance, the mirror port. */
export interface PacketSource {
  readonly name: string;
  readonly warnings: SourceWarning[];
  /** Bytes read and, where it is known, to be read; for the progress bar. */
  readonly bytes_read: number;
  readonly bytes_total: number | null;
  /** Batches that the source fills before it is asked for them: so many fewer may be under way. 0 where it is left out. */
  readonly read_ahead?: number;
  /**
   * Appends packets to the batch that is being filled, up to its limits, and says how many raw bytes from `batch.start` it used:
   * what the caller gives to `batch.next`. null: there is no more (the source has closed itself).
   */
  fill(batch: BatchWriter): Promise<number | null> | number | null;
  close(): void;
}
