import net from 'node:net';
import { Agent, type Dispatcher } from 'undici';
import { OperatingError } from '../../errors.ts';

export interface StoredFile {
  name: string;
  size: number;
}

/** Somewhere else where backups are kept. What fails is an OperatingError `backup` that names the store and says what the other side said. */
export interface BackupStore {
  readonly name: string;
  /** Copies a file there. It appears under its name when it is whole. */
  put(file: string, name: string): Promise<void>;
  /** The backups there, other files left out. */
  list(): Promise<StoredFile[]>;
  remove(name: string): Promise<void>;
  close(): Promise<void>;
}

/** How stores reach their servers: what `Outbound` (src/appliance/outbound.ts) does, proxy included. */
export interface StoreNetwork {
  connect(target: { host: string; port: number }, options?: { timeout_ms?: number }): Promise<net.Socket>;
  dispatcher(
    settings?: { verify: boolean; server_name: string; ca: string; certificate: string; key: string; passphrase: string },
    options?: { timeout_ms?: number },
  ): Dispatcher;
}

export const CONNECT_MS = 15_000;
/** How many files a store is asked for at most. */
export const MAX_FILES = 10_000;

/** Without a proxy. */
export const DIRECT: StoreNetwork = {
  connect: ({ host, port }, { timeout_ms = CONNECT_MS } = {}) =>
    new Promise((resolve, reject) => {
      const socket = net.connect({ host, port });
      socket.setTimeout(timeout_ms, () => socket.destroy(new Error(`no answer in ${timeout_ms} ms`)));
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.setTimeout(0);
        socket.off('error', reject);
        resolve(socket);
      });
    }),
  dispatcher: (settings, { timeout_ms = CONNECT_MS } = {}) =>
    new Agent({
      connect: { timeout: timeout_ms, ...(settings !== undefined && settings.ca !== '' ? { ca: settings.ca } : {}) },
      headersTimeout: 300_000,
      bodyTimeout: 300_000,
    }),
};

export const storeFault = (store: string, error: unknown): OperatingError =>
  error instanceof OperatingError
    ? error
    : new OperatingError('backup', `${store}: ${(error as Error).message}`, { cause: error });
