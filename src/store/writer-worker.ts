import { nameThread } from '../thread-name.ts';
import { StoreError, type StoreErrorCode } from './errors.ts';
import type { PackedChanges } from './packed.ts';
import { type Opened, type OpenOptions, Writer } from './writer.ts';

/** What the task file takes: one message a task, in order. */
export type WriterMessage =
  | { do: 'open'; directory: string; options?: OpenOptions }
  | { do: 'write'; changes: PackedChanges }
  | { do: 'close' };

/** An error does not cross a thread whole: it comes as data, `StoreError.from(answer.error)` makes it again. */
export type WriterAnswer =
  | { ok: true; opened?: Opened }
  | { ok: false; error: { code: StoreErrorCode; message: string; what_to_do: string } };

let writer: Writer | null = null;

nameThread('store');

/**
 * The task file of the writer's thread: a piscina pool with `minThreads: 1, maxThreads: 1` (its queue is the order), one writer a
 * pool. It never rejects for an operating error.
 */
export default function writerTask(message: WriterMessage): WriterAnswer {
  try {
    switch (message.do) {
      case 'open':
        if (writer) throw new StoreError('store_failed', `${writer.file} is open already`);
        writer = new Writer(message.directory, message.options);
        return { ok: true, opened: writer.opened };
      case 'write':
        if (!writer) throw new StoreError('store_closed', 'write before open');
        writer.applyPacked(message.changes);
        return { ok: true };
      case 'close':
        writer?.close();
        writer = null;
        return { ok: true };
    }
  } catch (error) {
    return { ok: false, error: StoreError.of(error, 'store').toJSON() };
  }
}
