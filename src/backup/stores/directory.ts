import fs from 'node:fs';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { OperatingError } from '../../errors.ts';
import { renameDurably } from '../files.ts';
import { parseFileName } from '../names.ts';
import type { DirectoryStoreSettings } from '../settings.ts';
import { type BackupStore, MAX_FILES, type StoredFile, storeFault } from './store.ts';

/** A folder, as a rule where SMB or NFS is mounted. */
export class DirectoryStore implements BackupStore {
  readonly name: string;
  private readonly folder: string;
  private readonly require_mount: boolean;

  constructor({ name, path: folder, require_mount }: DirectoryStoreSettings) {
    this.name = name;
    this.folder = folder;
    this.require_mount = require_mount;
  }

  async put(file: string, name: string): Promise<void> {
    await this.attempt(async () => {
      const temporary = path.join(this.folder, `.${name}.tmp`);
      try {
        // No copyFile: some mounted file systems cannot copy within the kernel, and it says nothing of how far it is.
        await pipeline(
          fs.createReadStream(file, { highWaterMark: 1 << 20 }),
          fs.createWriteStream(temporary, { mode: 0o600, flush: true }),
        );
        const [here, there] = [fs.statSync(file).size, fs.statSync(temporary).size];
        if (here !== there) throw new Error(`${there} bytes arrived of ${here}`);
        renameDurably(temporary, path.join(this.folder, name));
      } catch (error) {
        fs.rmSync(temporary, { force: true });
        throw error;
      }
    });
  }

  list(): Promise<StoredFile[]> {
    return this.attempt(async () =>
      fs
        .readdirSync(this.folder)
        .filter((name) => parseFileName(name) !== null)
        .slice(0, MAX_FILES)
        .map((name) => ({ name, size: fs.statSync(path.join(this.folder, name)).size })),
    );
  }

  remove(name: string): Promise<void> {
    return this.attempt(async () => fs.rmSync(path.join(this.folder, name), { force: true }));
  }

  async close(): Promise<void> {}

  private async attempt<Result>(act: () => Promise<Result>): Promise<Result> {
    try {
      if (this.require_mount && !isMount(this.folder))
        throw new OperatingError(
          'backup',
          `${this.name}: nothing is mounted at ${this.folder}; mount it, or set require_mount to false`,
        );
      return await act();
    } catch (error) {
      throw storeFault(this.name, error);
    }
  }
}

/** Whether a folder, or one above it other than the root, is where something is mounted (proc(5): mountinfo). */
export function isMount(folder: string): boolean {
  const points = new Set(
    fs
      .readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .map((line) =>
        (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 8))),
      ),
  );
  for (let at = fs.realpathSync(folder); at !== '/'; at = path.dirname(at)) if (points.has(at)) return true;
  return false;
}
