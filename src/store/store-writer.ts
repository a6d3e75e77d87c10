import { Piscina } from 'piscina';
import type { ChangeSet } from './change-set.ts';
import { StoreError } from './errors.ts';
import type { Opened } from './writer.ts';
import type { WriterAnswer, WriterMessage } from './writer-worker.ts';

/** Change sets that may wait for the disk; `write` holds its caller back beyond that. */
const MAX_UNDER_WAY = 4;

/** The one writer of a data directory, in a thread of its own: SQLite is synchronous and must not hold up anything else. */
export class StoreWriter {
  readonly opened: Opened;
  private readonly pool: Piscina<WriterMessage, WriterAnswer>;
  private readonly underWay: Promise<void>[] = [];

  private constructor(pool: Piscina<WriterMessage, WriterAnswer>, opened: Opened) {
    this.pool = pool;
    this.opened = opened;
  }

  /** Throws `StoreError`. */
  static async open(directory: string): Promise<StoreWriter> {
    const filename = new URL('./writer-worker.js', import.meta.url).href;
    const pool = new Piscina<WriterMessage, WriterAnswer>({ filename, minThreads: 1, maxThreads: 1, stricterFIFO: true });
    try {
      const { opened } = checked(await pool.run({ do: 'open', directory }));
      return new StoreWriter(pool, opened!);
    } catch (error) {
      await pool.close();
      throw error;
    }
  }

  /** Hands a change set over. Resolves when there is room for the next; an earlier one's failure is thrown here or by `close`. */
  readonly write = async (changes: ChangeSet): Promise<void> => {
    const written = this.pool.run({ do: 'write', changes }).then((answer) => void checked(answer));
    written.catch(() => {});
    this.underWay.push(written);
    if (this.underWay.length >= MAX_UNDER_WAY) await this.underWay.shift();
  };

  /** Everything handed over is stored when this resolves. */
  async close(): Promise<void> {
    try {
      for (const written of this.underWay.splice(0)) await written;
      checked(await this.pool.run({ do: 'close' }));
    } finally {
      await this.pool.close();
    }
  }
}

function checked(answer: WriterAnswer): Extract<WriterAnswer, { ok: true }> {
  if (answer.ok) return answer;
  throw StoreError.from(answer.error);
}
