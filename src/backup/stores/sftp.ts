import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import SftpClient from 'ssh2-sftp-client';
import { OperatingError } from '../../errors.ts';
import { parseFileName } from '../names.ts';
import type { SftpStoreSettings } from '../settings.ts';
import { type BackupStore, CONNECT_MS, MAX_FILES, type StoredFile, type StoreNetwork, storeFault } from './store.ts';

/** A folder on an SSH server. Its key must be the one that is known: another is refused before anything is said to it. */
export class SftpStore implements BackupStore {
  readonly name: string;
  private readonly settings: SftpStoreSettings;
  private readonly network: StoreNetwork;
  private client: SftpClient | null = null;

  constructor(settings: SftpStoreSettings, network: StoreNetwork) {
    this.name = settings.name;
    this.settings = settings;
    this.network = network;
  }

  put(file: string, name: string): Promise<void> {
    return this.attempt(async (client) => {
      const temporary = this.place(`.${name}.tmp`);
      await client.put(fs.createReadStream(file, { highWaterMark: 1 << 18 }), temporary);
      const [here, there] = [fs.statSync(file).size, (await client.stat(temporary)).size];
      if (here !== there) throw new Error(`${there} bytes arrived of ${here}`);
      // OpenSSH's extension replaces what is there; without it a rename to a name that is taken fails.
      await client.posixRename(temporary, this.place(name)).catch(() => client.rename(temporary, this.place(name)));
    });
  }

  list(): Promise<StoredFile[]> {
    return this.attempt(async (client) => {
      const files = await client.list(this.settings.path);
      return files
        .filter(({ name, type }) => type === '-' && parseFileName(name) !== null)
        .slice(0, MAX_FILES)
        .map(({ name, size }) => ({ name, size }));
    });
  }

  remove(name: string): Promise<void> {
    return this.attempt(async (client) => void (await client.delete(this.place(name), true)));
  }

  async close(): Promise<void> {
    const { client } = this;
    this.client = null;
    await client?.end().catch(() => {});
  }

  private place(name: string): string {
    return path.posix.join(this.settings.path, name);
  }

  private async attempt<Result>(act: (client: SftpClient) => Promise<Result>): Promise<Result> {
    try {
      this.client ??= await this.connected();
      return await act(this.client);
    } catch (error) {
      await this.close();
      throw storeFault(this.name, error);
    }
  }

  private async connected(): Promise<SftpClient> {
    const { host, port, user, password, private_key, host_key } = this.settings;
    // What breaks fails the call that is under way; alone it is no reason to end the process, or to print.
    const client = new SftpClient(this.name, { error: () => {}, end: () => {}, close: () => {} });
    let found = '';
    try {
      await client.connect({
        sock: await this.network.connect({ host, port }, { timeout_ms: CONNECT_MS }),
        username: user,
        ...(password === '' ? {} : { password }),
        ...(private_key === '' ? {} : { privateKey: private_key }),
        readyTimeout: CONNECT_MS,
        hostVerifier(key: Buffer) {
          found = fingerprintOf(key);
          return found === host_key;
        },
      });
    } catch (error) {
      await client.end().catch(() => {});
      if (found !== '' && found !== host_key)
        throw new OperatingError(
          'backup',
          `${this.name}: ${host} has the key ${found} and not ${host_key}: either it was set up anew, or somebody else answers in its place`,
        );
      throw error;
    }
    return client;
  }
}

/** As `ssh-keygen -lf` shows it. */
export const fingerprintOf = (key: Uint8Array): string =>
  `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`;
