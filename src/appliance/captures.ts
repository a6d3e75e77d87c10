import fs from 'node:fs';
import path from 'node:path';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { OperatingError } from '../errors.ts';
import type { RunProgram } from './program.ts';
import { StoreAccess } from './store-access.ts';

const CAPTURES_FOLDER = 'captures';
/** The reference product's limit of an upload. */
export const MAX_CAPTURE_BYTES = 2 * 2 ** 30;
const MAX_TOTAL_BYTES = 20 * 2 ** 30;
const MAX_CAPTURES = 1000;
/** So much of the volume stays free whatever is uploaded. */
const MIN_FREE_BYTES = 2 ** 30;
/** Databases of played captures that are kept open. */
const MAX_OPEN = 8;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

export interface UploadedCapture {
  name: string;
  bytes: number;
  uploaded_ms: number;
  state: 'uploaded' | 'playing' | 'played' | 'failed';
  /** Why it failed. */
  message: string;
  /** What the replay found, once it was played. */
  summary: Record<string, unknown> | null;
}

/**
 * Capture files that people upload, and what is found in them. Each is played into a database of its own, beside that of the sensor: it
 * tells of another place or another time, and the sensor's inventory must not learn from it. One is played at a time. Throws OperatingError.
 */
export class Captures {
  private readonly folder: string;
  private readonly run: RunProgram;
  private readonly zones: () => string;
  private readonly playing = new Map<string, AbortController>();
  private readonly open = new Map<string, StoreAccess>();
  private queue: Promise<void> = Promise.resolve();
  private uploading = 0;

  /** `zones`: path of the policy that captures are judged by; '' for none. */
  constructor(directory: string, run: RunProgram, zones: () => string) {
    this.folder = path.join(directory, CAPTURES_FOLDER);
    this.run = run;
    this.zones = zones;
  }

  /** By name. */
  list(): UploadedCapture[] {
    if (!fs.existsSync(this.folder)) return [];
    const entries = fs.readdirSync(this.folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isFile() && isName(entry.name)).map(({ name }) => this.get(name));
  }

  /** Throws `not_found`. */
  get(name: string): UploadedCapture {
    const file = this.file(name);
    const found = fs.statSync(file, { throwIfNoEntry: false });
    if (found === undefined || !found.isFile()) throw new OperatingError('not_found', `there is no capture "${name}"`);
    const result = this.result(name);
    const state = this.playing.has(name) ? 'playing' : result === null ? 'uploaded' : result.message === '' ? 'played' : 'failed';
    return {
      name,
      bytes: found.size,
      uploaded_ms: found.mtimeMs,
      state,
      message: result?.message ?? '',
      summary: result?.summary ?? null,
    };
  }

  /** Keeps what comes as a file of this name, all of it or nothing. */
  async upload(name: string, content: Readable | undefined): Promise<UploadedCapture> {
    const file = this.file(name);
    if (content === undefined)
      throw new OperatingError('usage', 'the request has no body: it takes the bytes of the capture file');
    this.prepare();
    const stored = this.list();
    if (stored.length >= MAX_CAPTURES)
      throw new OperatingError('conflict', `there are ${MAX_CAPTURES} captures already; delete some first`);
    if (fs.existsSync(file)) throw new OperatingError('conflict', `there is a capture "${name}" already`);
    const total = stored.reduce((sum, one) => sum + one.bytes, 0);
    const { bavail, bsize } = fs.statfsSync(this.folder);
    const room = Math.min(MAX_CAPTURE_BYTES, MAX_TOTAL_BYTES - total, bavail * bsize - MIN_FREE_BYTES);
    const part = path.join(this.folder, `${name}.${process.pid}.${++this.uploading}.part`);
    let bytes = 0;
    const bounded = new Transform({
      transform(chunk: Buffer, _, done) {
        bytes += chunk.length;
        done(
          bytes > room ? new OperatingError('conflict', `there is no room for more than ${Math.max(0, room)} bytes`) : null,
          chunk,
        );
      },
    });
    try {
      await pipeline(content, bounded, fs.createWriteStream(part, { mode: 0o600, flags: 'wx' }));
      // Never over one that was uploaded meanwhile.
      fs.linkSync(part, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST')
        throw new OperatingError('conflict', `there is a capture "${name}" already`);
      throw error;
    } finally {
      fs.rmSync(part, { force: true });
    }
    return this.get(name);
  }

  /** Puts it through the whole pipeline, when those before it are done. What was found before goes. */
  play(name: string): UploadedCapture {
    this.get(name);
    if (this.playing.has(name)) throw new OperatingError('conflict', `the capture "${name}" is being played`);
    const abort = new AbortController();
    this.playing.set(name, abort);
    this.forget(name);
    this.queue = this.queue.then(async () => {
      try {
        if (!abort.signal.aborted) await this.replay(name, abort.signal);
      } finally {
        this.playing.delete(name);
      }
    });
    return this.get(name);
  }

  /** With what was found in it. */
  delete(name: string): void {
    this.get(name);
    this.playing.get(name)?.abort();
    this.forget(name);
    fs.rmSync(this.file(name), { force: true });
  }

  /** The database of what was found. Throws `conflict` while there is none. */
  store(name: string): StoreAccess {
    const { state } = this.get(name);
    if (state !== 'played') throw new OperatingError('conflict', `the capture "${name}" was not played yet; it is ${state}`);
    let store = this.open.get(name);
    if (store === undefined) {
      for (const [oldest, other] of this.open) {
        if (this.open.size < MAX_OPEN) break;
        other.close();
        this.open.delete(oldest);
      }
      store = new StoreAccess(this.data(name));
      this.open.set(name, store);
    }
    return store;
  }

  /** The file of a capture, for commands that read it. */
  path(name: string): string {
    this.get(name);
    return this.file(name);
  }

  /** The data directory of what was found, for commands that read it. */
  found(name: string): string {
    this.get(name);
    return this.data(name);
  }

  /** Resolves when all that is to be played was played. */
  idle(): Promise<void> {
    return this.queue;
  }

  async close(): Promise<void> {
    for (const abort of this.playing.values()) abort.abort();
    await this.queue;
    for (const store of this.open.values()) store.close();
    this.open.clear();
  }

  private async replay(name: string, signal: AbortSignal): Promise<void> {
    const zones = this.zones();
    const args = [
      'replay',
      this.file(name),
      '--data',
      this.data(name),
      '--format',
      'json',
      ...(zones === '' ? [] : ['--zones', zones]),
    ];
    let result: Result;
    try {
      const { code, stdout, stderr } = await this.run(args, signal);
      result = code === 0 ? { message: '', summary: summaryOf(stdout) } : { message: lastLine(stderr), summary: null };
    } catch (error) {
      result = { message: (error as Error).message, summary: null };
    }
    // One that was deleted meanwhile leaves nothing behind.
    if (signal.aborted || !fs.existsSync(this.file(name))) return this.forget(name);
    fs.writeFileSync(this.summary(name), JSON.stringify(result), { mode: 0o600 });
  }

  private forget(name: string): void {
    this.open.get(name)?.close();
    this.open.delete(name);
    fs.rmSync(this.data(name), { recursive: true, force: true });
    fs.rmSync(this.summary(name), { force: true });
  }

  private result(name: string): Result | null {
    try {
      return JSON.parse(fs.readFileSync(this.summary(name), 'utf8')) as Result;
    } catch {
      return null;
    }
  }

  private prepare(): void {
    try {
      fs.mkdirSync(this.folder, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw new OperatingError('output', `${this.folder} cannot be made: ${(error as Error).message}`);
    }
  }

  /** Names are of a closed alphabet without separators, and none of ours: no path leaves the folder. */
  private file(name: string): string {
    if (!isName(name))
      throw new OperatingError(
        'usage',
        'a capture has a name of up to 128 letters, digits, ".", "_" and "-", such as monday.pcap',
      );
    return path.join(this.folder, name);
  }

  private data(name: string): string {
    return `${this.file(name)}.found`;
  }

  private summary(name: string): string {
    return `${this.file(name)}.summary.json`;
  }
}

const isName = (name: string) => NAME.test(name) && !/\.(part|found|summary\.json)$/.test(name);

interface Result {
  message: string;
  summary: Record<string, unknown> | null;
}

function summaryOf(stdout: string): Record<string, unknown> {
  const value: unknown = JSON.parse(stdout);
  return (Array.isArray(value) ? value[0] : value) as Record<string, unknown>;
}

const lastLine = (text: string) => text.trim().split('\n').at(-1) || 'the replay ended without a word';
