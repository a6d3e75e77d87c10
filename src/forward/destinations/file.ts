import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { jsonLine } from '../formats/json.ts';
import type { ForwardItem, Identity } from '../item.ts';
import type { FileSettings } from '../settings.ts';
import type { Delivery, Destination, Surroundings } from './destination.ts';

/** How far back a file is looked through for what it has already: more than a batch. */
const TAIL_BYTES = 4 << 20;

/**
 * JSON Lines in a file, in the folder it is given. Taken is what has reached the disk (fsync). A line that was torn when the appliance
 * lost its power had not counted as taken: it is cut off and written again; and what is whole at the end of the file is not written twice.
 */
export class JsonLinesFile implements Destination {
  readonly batch = 1000;
  private readonly file: string;
  private readonly directory: string;
  private readonly settings: FileSettings;
  private readonly identity: Identity;
  private handle: FileHandle | null = null;
  private size = 0;
  /** UUIDs of the last lines, once, after it was opened. */
  private written = new Set<string>();

  constructor(settings: FileSettings, { identity, directory }: Surroundings) {
    this.settings = settings;
    this.identity = identity;
    this.directory = directory;
    this.file = path.join(directory, settings.file_name);
  }

  async send(items: readonly ForwardItem[]): Promise<Delivery> {
    try {
      if (this.handle !== null && this.size >= this.settings.max_bytes) await this.rotate();
      const handle = this.handle ?? (await this.open());
      const missing = items.filter(({ uuid }) => !this.written.has(uuid));
      this.written.clear();
      const bytes = Buffer.from(missing.map((item) => `${jsonLine(item, this.identity)}\n`).join(''));
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await handle.write(bytes, done);
        done += bytesWritten;
        this.size += bytesWritten;
      }
      await handle.sync();
      return { taken: items.length, said: `${missing.length} lines written to ${this.file}` };
    } catch (error) {
      // Half a line may stand there now: opening it again sees to it.
      await this.close().catch(() => {});
      return { taken: 0, fault: `${this.file}: ${(error as Error).message}`, said: '' };
    }
  }

  async close(): Promise<void> {
    const { handle } = this;
    this.handle = null;
    await handle?.close();
  }

  private async open(): Promise<FileHandle> {
    await mkdir(this.directory, { recursive: true, mode: 0o750 });
    const handle = await open(this.file, 'a+', 0o640);
    try {
      const { size } = await handle.stat();
      const from = Math.max(0, size - TAIL_BYTES);
      const tail = Buffer.alloc(size - from);
      await handle.read(tail, 0, tail.length, from);
      const whole = tail.lastIndexOf(0x0a) + 1;
      if (whole < tail.length) await handle.truncate(from + whole);
      this.size = from + whole;
      const uuids = tail.toString('utf8', 0, whole).matchAll(/^\{"uuid":"([\da-f-]{36})"/gm);
      this.written = new Set(Array.from(uuids, ([, uuid]) => uuid));
    } catch (error) {
      await handle.close();
      throw error;
    }
    await syncFolder(this.directory);
    this.handle = handle;
    return handle;
  }

  /** `name` becomes `name.1`, `name.1` becomes `name.2`, the oldest goes. From the oldest on, so that nothing is lost at a crash between. */
  private async rotate(): Promise<void> {
    await this.close();
    const { max_files } = this.settings;
    const numbered = (n: number): string => (n === 0 ? this.file : `${this.file}.${n}`);
    await rm(numbered(max_files - 1), { force: true });
    for (let n = max_files - 2; n >= 0; n--)
      await rename(numbered(n), numbered(n + 1)).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
      });
    await syncFolder(this.directory);
  }
}

/** That a file is there, under its name, is on the disk only then. */
async function syncFolder(directory: string): Promise<void> {
  const folder = await open(directory, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
