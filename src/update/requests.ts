import fs from 'node:fs';
import path from 'node:path';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import { freeBytes, removeTree, syncFile, writeAtomically } from '../backup/files.ts';
import { asOwnerOf } from '../backup/owner.ts';
import { OperatingError } from '../errors.ts';
import { type PublicKey, parsePublicKey } from '../signing/minisign.ts';
import { type UpdateStatus, updateStatus } from './apply.ts';
import { checkApplies, openBundle, type UpdateKind } from './manifest.ts';
import { newId, readProgress, type UpdateProgress } from './progress.ts';

// The service may install nothing itself: it has no right to. What is uploaded it checks and puts into its own folder, and writes a request
// that names it by a number. Root's side (`update requested`, which a systemd path unit starts) believes nothing of that: it takes a copy,
// checks the signature itself, and applies it as a command would, but never an older version.

const FOLDER = 'updates';
const REQUEST = 'request.json';
const STAGED = 'staged.json';
export const MAX_BUNDLE_BYTES = 2 * 2 ** 30;
const MAX_SMALL_BYTES = 1 << 16;
/** So much of the volume stays free whatever is uploaded. */
const MIN_FREE_BYTES = 2 ** 30;
/** Root's side begins within a second or two. */
const TAKEN_UP_MS = 30_000;

const Request = Type.Object(
  {
    format: Type.Literal(1),
    action: Type.Union([Type.Literal('apply'), Type.Literal('undo'), Type.Literal('confirm')]),
    id: Type.String({ pattern: '^[0-9a-f]{32}$' }),
  },
  { additionalProperties: false },
);
export type UpdateRequestFile = Static<typeof Request>;
export type UpdateAction = UpdateRequestFile['action'];

const Staged = Type.Object({
  id: Type.String({ pattern: '^[0-9a-f]{32}$' }),
  kind: Type.Union([Type.Literal('software'), Type.Literal('content')]),
  version: Type.String(),
  created_ms: Type.Number(),
  notes: Type.String(),
  signer: Type.String(),
  bytes: Type.Integer(),
  staged_ms: Type.Number(),
});
/** An uploaded bundle that was found whole and signed. */
export type StagedBundle = Static<typeof Staged>;

export interface UpdatesState extends UpdateStatus {
  staged: StagedBundle | null;
  /** What was asked for and is not taken up yet. */
  requested: { action: UpdateAction; id: string; requested_ms: number; message: string } | null;
  progress: UpdateProgress | null;
}

export interface UpdatesOptions {
  /** The data directory. */
  directory: string;
  /** Where the versions of the program lie. */
  root: string;
  root_keys: () => readonly PublicKey[];
  program_version: string;
  now_ms?: () => number;
}

/** The service's side of an update. One bundle is staged at a time. Throws OperatingError. */
export class Updates {
  private readonly options: UpdatesOptions;
  private readonly folder: string;
  private readonly now_ms: () => number;
  private uploading = false;

  constructor(options: UpdatesOptions) {
    this.options = options;
    this.folder = path.join(options.directory, FOLDER);
    this.now_ms = options.now_ms ?? Date.now;
    this.sweep();
  }

  state(): UpdatesState {
    const { root } = this.options;
    const request = this.request();
    const waits = request !== null && this.now_ms() - request.requested_ms > TAKEN_UP_MS;
    const message = waits ? 'nothing takes it up: see systemctl status ot-sensor-update.path' : '';
    const requested =
      request === null ? null : { action: request.action, id: request.id, requested_ms: request.requested_ms, message };
    return { ...updateStatus(root), staged: this.staged(), requested, progress: readProgress(root) };
  }

  staged(): StagedBundle | null {
    const value = readSmall(path.join(this.folder, STAGED));
    return Value.Check(Staged, value) && fs.existsSync(this.bundle(value.id)) ? value : null;
  }

  /** Keeps what comes, where it is a bundle that may be installed here: whole, signed by a trusted key, no older version. */
  async stage(content: Readable | undefined): Promise<StagedBundle> {
    if (content === undefined) throw new OperatingError('usage', 'the request has no body: it takes the bytes of the bundle');
    this.refuseWhileBusy();
    if (this.uploading) throw new OperatingError('conflict', 'another bundle is being uploaded: wait until it is done');
    this.uploading = true;
    const id = newId();
    const part = path.join(this.folder, `${id}.part`);
    try {
      this.prepare();
      const room = Math.min(MAX_BUNDLE_BYTES, freeBytes(this.folder) - MIN_FREE_BYTES);
      await pipeline(content, bounded(room), fs.createWriteStream(part, { mode: 0o600, flags: 'wx' }));
      const staged = { id, ...(await this.check(part)), staged_ms: Math.round(this.now_ms()) };
      this.refuseWhileBusy();
      syncFile(part);
      this.discard();
      fs.renameSync(part, this.bundle(id));
      writeAtomically(path.join(this.folder, STAGED), JSON.stringify(staged));
      return staged;
    } finally {
      fs.rmSync(part, { force: true });
      this.uploading = false;
    }
  }

  /** Checks it again: keys end, and another version may have been installed meanwhile. */
  async verify(): Promise<StagedBundle> {
    const staged = this.present();
    await this.check(this.bundle(staged.id));
    return staged;
  }

  /** Takes the bundle away, and a request that was not taken up. */
  discard(): void {
    fs.rmSync(path.join(this.folder, REQUEST), { force: true });
    fs.rmSync(path.join(this.folder, STAGED), { force: true });
    this.sweep();
  }

  /** Asks root's side for it; `state` tells how far it is. */
  async ask(action: UpdateAction): Promise<UpdatesState> {
    this.refuseWhileBusy();
    const id = action === 'apply' ? (await this.verify()).id : this.unconfirmed().id;
    this.prepare();
    const request: UpdateRequestFile = { format: 1, action, id };
    writeAtomically(path.join(this.folder, REQUEST), JSON.stringify(request));
    return this.state();
  }

  private unconfirmed(): NonNullable<UpdateProgress['unconfirmed']> {
    const unconfirmed = readProgress(this.options.root)?.unconfirmed ?? null;
    if (unconfirmed === null)
      throw new OperatingError(
        'conflict',
        'no update waits to be confirmed or undone; ot-sensor update rollback goes back from any',
      );
    return unconfirmed;
  }

  private present(): StagedBundle {
    const staged = this.staged();
    if (staged === null) throw new OperatingError('not_found', 'no bundle is staged: upload one first');
    return staged;
  }

  private refuseWhileBusy(): void {
    if (readProgress(this.options.root)?.state === 'running')
      throw new OperatingError('conflict', 'an update is under way: wait until it is done');
    if (this.request() !== null)
      throw new OperatingError('conflict', 'an update was asked for and not taken up yet: wait, or discard the bundle');
  }

  private async check(file: string): Promise<Omit<StagedBundle, 'id' | 'staged_ms'>> {
    const { root, root_keys, program_version } = this.options;
    const { reader, manifest, signer } = await openBundle(file, root_keys(), this.now_ms());
    try {
      const { kind, version, created_ms, notes } = manifest;
      const present = updateStatus(root)[kind as UpdateKind].version;
      checkApplies(manifest, { program: program_version, present, allow_downgrade: false });
      await reader.extract(null);
      return { kind, version, created_ms, notes, signer, bytes: fs.statSync(file).size };
    } finally {
      await reader.close();
    }
  }

  private request(): (UpdateRequestFile & { requested_ms: number }) | null {
    const file = path.join(this.folder, REQUEST);
    const value = readSmall(file);
    if (!Value.Check(Request, value)) return null;
    const stat = fs.statSync(file, { throwIfNoEntry: false });
    return stat === undefined ? null : { ...value, requested_ms: stat.mtimeMs };
  }

  private prepare(): void {
    try {
      fs.mkdirSync(this.folder, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw new OperatingError('output', `${this.folder} cannot be made: ${(error as Error).message}`);
    }
  }

  private bundle(id: string): string {
    return path.join(this.folder, `${id}.bundle`);
  }

  /** What an upload that was broken off left, and bundles that were replaced. */
  private sweep(): void {
    const kept = this.staged()?.id;
    if (!fs.existsSync(this.folder)) return;
    for (const name of fs.readdirSync(this.folder))
      if (/^[0-9a-f]{32}\.(part|bundle)$/.test(name) && name !== `${kept}.bundle` && !(this.uploading && name.endsWith('.part')))
        removeTree(path.join(this.folder, name));
  }
}

/** Of the files of public root keys that are there. Throws OperatingError `signature`. */
export const rootKeysIn = (files: readonly string[]): PublicKey[] =>
  files.filter((file) => fs.existsSync(file)).map((file) => parsePublicKey(fs.readFileSync(file, 'utf8')));

/** The file whose being there makes root's side start; for the path unit. */
export const requestFile = (directory: string): string => path.join(directory, FOLDER, REQUEST);

/**
 * Root's side takes a request up: it is gone then, whatever comes of it, so that one that ends the machine is not tried for ever. null:
 * there is none. Throws OperatingError where what is there is no request.
 */
export function takeRequest(directory: string): UpdateRequestFile | null {
  return asOwnerOf(directory, () => {
    const file = requestFile(directory);
    let text: string;
    try {
      const handle = openPlain(file, MAX_SMALL_BYTES);
      try {
        text = fs.readFileSync(handle.fd, 'utf8');
      } finally {
        fs.closeSync(handle.fd);
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      removeTree(file);
      throw error;
    }
    fs.rmSync(file);
    let value: unknown = null;
    try {
      value = JSON.parse(text);
    } catch {}
    if (!Value.Check(Request, value)) throw new OperatingError('update', `${file} was no request for an update, and was removed`);
    return value;
  });
}

/** Root's own copy of the bundle that a request names, which nobody else can change while it is read. */
export function copyBundle(directory: string, id: string, to: string): void {
  const from = asOwnerOf(directory, () => openPlain(path.join(directory, FOLDER, `${id}.bundle`), MAX_BUNDLE_BYTES));
  try {
    fs.rmSync(to, { force: true });
    const out = fs.openSync(to, 'wx', 0o600);
    try {
      const buffer = Buffer.allocUnsafe(1 << 20);
      for (let copied = 0; ; ) {
        const bytes = fs.readSync(from.fd, buffer);
        if (bytes === 0) break;
        copied += bytes;
        if (copied > from.bytes) throw new OperatingError('update', 'the bundle grew while it was copied');
        fs.writeSync(out, buffer, 0, bytes);
      }
    } finally {
      fs.closeSync(out);
    }
  } finally {
    fs.closeSync(from.fd);
  }
}

/** A bundle that was installed is of no more use. */
export function removeBundle(directory: string, id: string): void {
  asOwnerOf(directory, () => {
    removeTree(path.join(directory, FOLDER, STAGED));
    removeTree(path.join(directory, FOLDER, `${id}.bundle`));
  });
}

/** A regular file, not one that a link leads to, nor a pipe that never ends. */
function openPlain(file: string, most: number): { fd: number; bytes: number } {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
  const fd = fs.openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  const stat = fs.fstatSync(fd);
  if (stat.isFile() && stat.size <= most) return { fd, bytes: stat.size };
  fs.closeSync(fd);
  throw new OperatingError('update', `${file} is no regular file of at most ${most} bytes`);
}

function readSmall(file: string): unknown {
  try {
    if (fs.statSync(file).size > MAX_SMALL_BYTES) return null;
    return JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch {
    return null;
  }
}

function bounded(room: number): Transform {
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _, done) {
      bytes += chunk.length;
      const full = bytes > room;
      done(
        full ? new OperatingError('conflict', `there is no room for more than ${Math.max(0, room)} bytes`) : null,
        full ? undefined : chunk,
      );
    },
  });
}
