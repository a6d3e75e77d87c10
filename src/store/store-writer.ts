import { Piscina } from 'piscina';
import type { ChangeSet } from './change-set.ts';
import { StoreError } from './errors.ts';
import { pack } from './packed.ts';
import type { Opened } from './writer.ts';
import type { WriterAnswer, WriterMessage } from './writer-worker.ts';

/** Change sets that may wait for the disk; `write` holds its caller back beyond that. */
const MAX_UNDER_WAY = 4;

/**
 * The one writer of a data directory, in a thread of its own: SQLite is synchronous and must not hold up anything else. The thread starts
 * with the object; nothing is touched before `open`.
 */
export class StoreWriter {
  private readonly pool: Piscina<WriterMessage, WriterAnswer>;
  private readonly underWay: Promise<void>[] = [];
  /** Resolves when the thread has loaded its code, or could not. */
  private readonly loaded: Promise<void>;
  private opened_: Opened | null = null;

  constructor() {
    const filename = new URL('./writer-worker.js', import.meta.url).href;
    this.pool = new Piscina({ filename, minThreads: 1, maxThreads: 1, stricterFIFO: true });
    this.loaded = this.pool.run({ do: 'close' }).then(
      () => {},
      () => {},
    );
  }

  /** Makes the directory and the database where they are not there. Throws `StoreError`. */
  async open(directory: string): Promise<void> {
    this.opened_ = checked(await this.pool.run({ do: 'open', directory })).opened!;
  }

  /** What `open` found. */
  get opened(): Opened {
    if (this.opened_ === null) throw new Error('the store is not open');
    return this.opened_;
  }

  /** Hands a change set over. Resolves when there is room for the next; an earlier one's failure is thrown here or by `close`. */
  readonly write = async (changes: ChangeSet): Promise<void> => {
    const packed = pack(changes);
    const transferList = [packed.bytes.buffer as ArrayBuffer];
    const written = this.pool.run({ do: 'write', changes: packed }, { transferList }).then((answer) => void checked(answer));
    written.catch(() => {});
    this.underWay.push(written);
    if (this.underWay.length >= MAX_UNDER_WAY) await this.underWay.shift();
  };

  /** Everything handed over is stored when this resolves. */
  async close(): Promise<void> {
    try {
      for (const written of this.underWay.splice(0)) await written;
      if (this.opened_ !== null) checked(await this.pool.run({ do: 'close' }));
    } finally {
      // A thread that is ended while it loads its code takes the process along (Node.js 20).
      await this.loaded;
      await this.pool.close();
    }
  }
}

function checked(answer: WriterAnswer): Extract<WriterAnswer, { ok: true }> {
  if (answer.ok) return answer;
  throw StoreError.from(answer.error);
}
