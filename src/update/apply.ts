import fs from 'node:fs';
import path from 'node:path';
import { type Static, Type } from 'typebox';
import { APPLIANCE_FILE } from '../appliance/database.ts';
import { bringBack, type ExchangedFile, exchange, JournalFile } from '../backup/exchange.ts';
import {
  copyDurably,
  diskFault,
  freeBytes,
  ownLike,
  removeTree,
  renameDurably,
  syncDirectory,
  syncFile,
} from '../backup/files.ts';
import { type Lock, lock, tryLock } from '../backup/lock.ts';
import { DATABASES } from '../backup/manifest.ts';
import { asOwnerOf } from '../backup/owner.ts';
import { holdAlone, recoverRestore } from '../backup/restore.ts';
import { OperatingError } from '../errors.ts';
import type { PublicKey } from '../signing/minisign.ts';
import { StoreError } from '../store/errors.ts';
import { DATABASE_FILE } from '../store/writer.ts';
import { checkApplies, openBundle, type UpdateKind, type UpdateManifest } from './manifest.ts';
import { compareVersions } from './versions.ts';

// Versions lie side by side in `versions/`, and `current` is a symbolic link to one of them: a switch is a rename of the link. `fallback`
// is a link to the version that is known to work: it follows `current` when an update is done, and whoever starts the service lets it look
// first (`update recover`). With everything stopped the databases are copied and the copies migrated; a journal is written; then the copies
// take the databases' place, which are kept, and the link the new version. Whoever finds the journal goes back: link and databases.
const LOCK = 'update.lock';
const VERSIONS = 'versions';
const STAGING = 'staging';
const CURRENT = 'current';
const FALLBACK = 'fallback';
/** In the data directory: the databases as they were before, a number behind it; in it those to come; and copies to try the migration on. */
const COPIES = 'update-previous-';
const NEXT = 'next';
const TRIAL = 'update-trial';

const Journal = Type.Object({
  format: Type.Literal(1),
  /**
   * `switching`: to be taken back; `starting`: the new version may have been started, and what it has seen since must not be lost;
   * `installed`: done; `rolling_back`: to be carried through.
   */
  state: Type.Union([
    Type.Literal('switching'),
    Type.Literal('starting'),
    Type.Literal('installed'),
    Type.Literal('rolling_back'),
  ]),
  kind: Type.Union([Type.Literal('software'), Type.Literal('content')]),
  /** '' where there was none. */
  from: Type.String({ pattern: '^[0-9A-Za-z.+-]*$' }),
  to: Type.String({ pattern: '^[0-9A-Za-z.+-]+$' }),
  data: Type.String(),
  /** Databases that are kept as they were, to go back to. */
  copies: Type.Array(Type.Union([Type.Literal(DATABASE_FILE), Type.Literal(APPLIANCE_FILE)])),
  /** Their folder in `data`. */
  folder: Type.String({ pattern: `^${COPIES}[0-9]+$` }),
  started_ms: Type.Number(),
  /** Why it was taken back; '' otherwise. */
  failure: Type.String(),
  /** The journal of the update before, which is one's again that this one is taken back; '' where there was none. */
  former: Type.String(),
});
type Journal = Static<typeof Journal>;

const JOURNAL = new JournalFile(
  Journal,
  'update.json',
  (file) => new OperatingError('update', `${file} is not what it should be`),
  // The service, which is another user, tells of it.
  0o644,
);

export type UpdateStepName =
  | 'verify'
  | 'stage'
  | 'preflight'
  | 'backup'
  | 'stop'
  | 'copy'
  | 'migrate'
  | 'switch'
  | 'check'
  | 'start'
  | 'done'
  | 'rollback';

/** For the audit log. `outcome`: `done` or `failed`, with why in `message`. */
export interface UpdateStep {
  step: UpdateStepName;
  outcome: 'done' | 'failed';
  kind: UpdateKind;
  from: string;
  to: string;
  message: string;
}

export interface UpdateHooks {
  /** Makes a backup of how it is now; an update without one is none. Left out for content. */
  backup?(): Promise<unknown>;
  /** Sensor and service: nobody may use the databases afterwards. */
  stop(): Promise<void>;
  /** Whichever version is current by then. */
  start(): Promise<void>;
  /** Brings the databases in `data`, copies that nobody else uses, to the schema of the program in `program`. Throws where it cannot. */
  migrate(program: string, data: string): Promise<void>;
  /** Whether the program in `program` works: it is current, and not started yet. Throws where it does not. */
  check(program: string, manifest: UpdateManifest): Promise<void>;
  /** Whether everything works once it was started. Throws where it does not. */
  probe?(manifest: UpdateManifest): Promise<void>;
  onStep?(step: UpdateStep): void;
  onProgress?(done: number, total: number): void;
}

export interface UpdateRequest {
  file: string;
  /** Where the program lies: `/opt/ot-sensor`. */
  root: string;
  data: string;
  root_keys: readonly PublicKey[];
  allow_downgrade: boolean;
  /** Of the program that runs now. */
  program_version: string;
  now_ms: number;
}

export interface KindStatus {
  state: 'none' | Journal['state'];
  /** What is current; '' where nothing is. */
  version: string;
  /** What was before the last update, where it can be gone back to; '' otherwise. */
  previous: string;
}

export type UpdateStatus = Record<UpdateKind, KindStatus>;

/**
 * Installs a bundle: verify → stage → preflight → backup → stop → copy → migrate → switch → check → start. Whatever fails after `stop` is taken
 * back, databases included, and everything is started as it was; then, and where it was refused before, it throws OperatingError
 * (`archive`, `signature`, `update`, `conflict`).
 */
export async function applyUpdate(request: UpdateRequest, hooks: UpdateHooks): Promise<UpdateManifest> {
  try {
    return await install(request, hooks);
  } catch (error) {
    throw asUpdate(error, 'the update');
  }
}

async function install(request: UpdateRequest, hooks: UpdateHooks): Promise<UpdateManifest> {
  const { root, data } = request;
  fs.mkdirSync(root, { recursive: true });
  const held = lock(path.join(root, LOCK), 'an update');
  try {
    recoverAll(root);
    asOwner(data, () => recoverRestore(data));
    // Of whoever was killed before there was a journal.
    sweepCopies(data, JOURNAL.read(root)?.folder ?? '');
    const bundle = await openBundle(request.file, request.root_keys, request.now_ms);
    const { manifest } = bundle;
    const { kind, version: to } = manifest;
    const base = baseOf(root, kind);
    const from = versionAt(base);
    const say = (step: UpdateStepName, error?: unknown) =>
      hooks.onStep?.({
        step,
        outcome: error === undefined ? 'done' : 'failed',
        kind,
        from,
        to,
        message: error === undefined ? '' : (error as Error).message,
      });
    const run = async <Result>(step: UpdateStepName, act: () => Result | Promise<Result>): Promise<Result> => {
      try {
        const result = await act();
        say(step);
        return result;
      } catch (error) {
        say(step, error);
        throw error;
      }
    };
    const journal: Journal = {
      format: 1,
      state: 'switching',
      kind,
      from,
      to,
      data,
      copies: [],
      folder: newFolder(data, request.now_ms),
      started_ms: request.now_ms,
      failure: '',
      former: formerOf(base),
    };
    let staged = '';
    try {
      await run('verify', async () => {
        checkApplies(manifest, { program: request.program_version, present: from, allow_downgrade: request.allow_downgrade });
        // All of it, before anything is unpacked.
        await bundle.reader.extract(null, hooks.onProgress);
      });
      staged = await run('stage', () => stage(request, manifest, hooks));
      await run('preflight', () => preflight(request, manifest, staged, hooks));
      if (kind === 'software' && hooks.backup !== undefined) await run('backup', hooks.backup);
    } catch (error) {
      await bundle.reader.close();
      removeTree(path.join(base, STAGING));
      throw asUpdate(error, to);
    }
    const place = path.join(base, VERSIONS, to);
    const next = path.join(data, journal.folder, NEXT);
    // From the copy to the switch: what somebody wrote in between would be lost.
    let alone: Lock | null = null;
    let begun = false;
    try {
      if (kind === 'software') {
        await run('stop', () => hooks.stop());
        const copied = await run('copy', () => asOwner(data, () => copyAlone(data, next)));
        alone = copied.alone;
        journal.copies = copied.copies;
        await run('migrate', () => hooks.migrate(staged, next));
        for (const name of journal.copies) syncFile(path.join(next, name));
      }
      begun = true;
      await run('switch', () => {
        JOURNAL.write(base, journal);
        asOwner(data, () => exchange(filesOf(journal), { fresh: next, former: path.join(data, journal.folder) }));
        switchTo(base, to);
      });
      alone?.close();
      await run('check', () => hooks.check(place, manifest));
      if (kind === 'software') {
        JOURNAL.write(base, { ...journal, state: 'starting' });
        await run('start', () => hooks.start());
      }
      if (hooks.probe !== undefined) await run('check', () => hooks.probe?.(manifest));
      JOURNAL.write(base, { ...journal, state: 'installed', former: '' });
    } catch (error) {
      alone?.close();
      try {
        await run('rollback', async () => {
          if (kind === 'software') await hooks.stop();
          try {
            // What is not needed to go back makes room for it.
            removeTree(path.join(base, STAGING));
            asOwner(data, () => removeTree(next));
            if (begun) goBack(base, { ...journal, failure: (error as Error).message });
            asOwner(data, () => removeTree(path.join(data, journal.folder)));
          } finally {
            if (kind === 'software') await hooks.start();
          }
        });
      } catch (fault) {
        const why = `${to} was not installed (${reasonOf(error)}), and going back from it was broken off: ${reasonOf(fault)}`;
        throw new OperatingError('update', `${why}; when that is mended: ot-sensor update recover`, { cause: fault });
      }
      throw asUpdate(error, to);
    }
    try {
      recover(base);
    } catch {
      // It is installed; what is left to be swept is left to the next who looks.
    }
    say('done');
    return manifest;
  } finally {
    held.close();
  }
}

/**
 * Back to the version before the last update. The databases of before come back too where the update changed their schema, or with
 * `with_data`; what was seen since is lost then. Throws OperatingError `not_found`, `conflict`.
 */
export async function rollbackUpdate(
  root: string,
  hooks: Pick<UpdateHooks, 'stop' | 'start' | 'onStep'>,
  { kind = 'software', with_data = false }: { kind?: UpdateKind; with_data?: boolean } = {},
): Promise<UpdateStatus> {
  const held = lock(path.join(root, LOCK), 'an update');
  try {
    recoverAll(root);
    const base = baseOf(root, kind);
    const journal = JOURNAL.read(base);
    if (journal?.state !== 'installed' || journal.from === '' || !fs.existsSync(path.join(base, VERSIONS, journal.from)))
      throw new OperatingError('not_found', 'there is no former version to go back to');
    const { from, to, data, folder } = journal;
    if (kind === 'software') await hooks.stop();
    try {
      const copies = journal.copies.filter((name) => fs.existsSync(path.join(data, folder, name)));
      const back =
        with_data || copies.some((name) => schemaOf(path.join(data, folder, name)) !== schemaOf(path.join(data, name)));
      goBack(base, { ...journal, copies: back ? copies : [], failure: 'asked for' });
    } finally {
      if (kind === 'software') await hooks.start();
    }
    hooks.onStep?.({ step: 'rollback', outcome: 'done', kind, from: to, to: from, message: 'asked for' });
    return updateStatus(root);
  } finally {
    held.close();
  }
}

/**
 * Installs a version that came by other means than a bundle (the Debian package), with everything stopped: its `folder`, on the same
 * volume, becomes `versions/<to>`. As after an update, the version before stays with copies of the databases, and `rollbackUpdate` goes
 * back to it; where a sensor still uses them there are no copies. A newer version that is current stays, unless `allow_downgrade`.
 * Returns what is current now. Throws OperatingError.
 */
export function adoptVersion(
  root: string,
  { folder, data, to, allow_downgrade, now_ms }: AdoptRequest,
): { current: string; from: string; copied: boolean } {
  const held = lock(path.join(root, LOCK), 'an update');
  try {
    recoverAll(root);
    const present = versionAt(root);
    const from = present !== '' && fs.existsSync(path.join(root, VERSIONS, present)) ? present : '';
    if (from !== '' && !allow_downgrade && compareVersions(from, to) > 0) {
      removeTree(folder);
      return { current: from, from, copied: false };
    }
    const other = from !== '' && from !== to;
    const copies = other ? copyUnlessUsed(data, newFolder(data, now_ms)) : null;
    const place = path.join(root, VERSIONS, to);
    const aside = path.join(root, `${CURRENT}.old`);
    fs.mkdirSync(path.join(root, VERSIONS), { recursive: true });
    removeTree(aside);
    if (fs.existsSync(place)) renameDurably(place, aside);
    renameDurably(folder, place);
    if (other) {
      const state = { format: 1, state: 'installed', kind: 'software', failure: '', former: '' } as const;
      JOURNAL.write(root, {
        ...state,
        from,
        to,
        data,
        copies: copies?.copies ?? [],
        folder: copies?.folder ?? newFolder(data, now_ms),
        started_ms: now_ms,
      });
    }
    link(root, CURRENT, to);
    link(root, FALLBACK, to);
    removeTree(aside);
    recoverAll(root);
    return { current: to, from, copied: copies !== null };
  } finally {
    held.close();
  }
}

export interface AdoptRequest {
  folder: string;
  data: string;
  to: string;
  allow_downgrade: boolean;
  now_ms: number;
}

/** null where somebody uses the databases. */
function copyUnlessUsed(data: string, folder: string): Pick<Journal, 'copies' | 'folder'> | null {
  if (!fs.existsSync(data)) return { copies: [], folder };
  try {
    const { alone, copies } = asOwner(data, () => copyAlone(data, path.join(data, folder)));
    alone.close();
    return { copies, folder };
  } catch (error) {
    if (error instanceof OperatingError && error.code === 'conflict') return null;
    throw error;
  }
}

/**
 * Called before anything is started: takes back what was broken off. `restart`: another version is current now than the one that may be
 * asking: let it be started anew. Throws OperatingError `conflict` where databases that have to go back are in use: nothing may be started.
 */
export function recoverUpdate(root: string): UpdateStatus & { restart: boolean } {
  if (KINDS.every((kind) => JOURNAL.read(baseOf(root, kind)) === null)) return { ...updateStatus(root), restart: false };
  const held = tryLock(path.join(root, LOCK));
  // Whoever is at it starts the service itself, to see whether it works.
  if (held === null) return { ...updateStatus(root), restart: false };
  try {
    const before = versionAt(root);
    recoverAll(root);
    return { ...updateStatus(root), restart: versionAt(root) !== before };
  } finally {
    held.close();
  }
}

/** Looks, and changes nothing. */
export function updateStatus(root: string): UpdateStatus {
  const [software, content] = KINDS.map((kind) => {
    const journal = JOURNAL.read(baseOf(root, kind));
    const version = versionAt(baseOf(root, kind));
    return { version, state: journal?.state ?? ('none' as const), previous: journal?.state === 'installed' ? journal.from : '' };
  });
  return { software, content };
}

const KINDS = ['software', 'content'] as const;

function recoverAll(root: string): void {
  for (const kind of KINDS) recover(baseOf(root, kind));
}

const baseOf = (root: string, kind: UpdateKind): string => (kind === 'software' ? root : path.join(root, 'content'));

/** The version that `current` leads to; '' where there is none. */
function versionAt(base: string): string {
  try {
    return path.basename(fs.readlinkSync(path.join(base, CURRENT)));
  } catch {
    return '';
  }
}

async function stage(
  { file, root, root_keys, now_ms }: UpdateRequest,
  manifest: UpdateManifest,
  hooks: UpdateHooks,
): Promise<string> {
  const base = baseOf(root, manifest.kind);
  fs.mkdirSync(path.join(base, VERSIONS), { recursive: true });
  removeTree(path.join(base, STAGING));
  // Read again from its beginning, and so checked again.
  const { reader } = await openBundle(file, root_keys, now_ms);
  if (reader.manifest.version !== manifest.version || reader.manifest.kind !== manifest.kind) {
    await reader.close();
    throw new OperatingError('update', 'the bundle was exchanged while it was being installed');
  }
  const staged = path.join(base, STAGING);
  await reader.extract(staged, hooks.onProgress);
  for (const entry of fs.readdirSync(staged, { withFileTypes: true, recursive: true })) {
    const where = path.join(entry.parentPath ?? entry.path, entry.name);
    // The service runs as another user than whoever installs.
    fs.chmodSync(where, entry.isDirectory() || (fs.statSync(where).mode & 0o100) !== 0 ? 0o755 : 0o644);
  }
  fs.chmodSync(staged, 0o755);
  return staged;
}

/** Room for the copies, and the migration of a copy by the new program. */
async function preflight({ data }: UpdateRequest, { kind }: UpdateManifest, staged: string, hooks: UpdateHooks): Promise<void> {
  if (kind !== 'software') return;
  const present = DATABASES.filter((name) => fs.existsSync(path.join(data, name)));
  const needed = present.reduce((sum, name) => sum + sizeWithLog(path.join(data, name)), 0);
  // One copy to try on, which is gone when the one to go back to is made; and as much again for a migration that writes all anew.
  const free = freeBytes(data);
  if (free < 2 * needed)
    throw new OperatingError(
      'update',
      `${2 * needed} bytes are needed in ${data} while it is installed, and ${free} are free: make room`,
    );
  const trial = path.join(data, TRIAL);
  const { copyDatabase } = await import('../backup/create.ts');
  try {
    await asOwner(data, async () => {
      removeTree(trial);
      fs.mkdirSync(trial, { mode: 0o700 });
      ownLike(trial, data);
      for (const name of present) {
        await copyDatabase(path.join(data, name), path.join(trial, name));
        ownLike(path.join(trial, name), path.join(data, name));
      }
    });
    await hooks.migrate(staged, trial);
  } finally {
    asOwner(data, () => removeTree(trial));
  }
}

const sizeWithLog = (file: string): number =>
  ['', '-wal'].reduce((sum, end) => sum + (fs.statSync(`${file}${end}`, { throwIfNoEntry: false })?.size ?? 0), 0);

/** The data is the service's: root works on it with the service's rights, so that no link in it leads him elsewhere. */
const asOwner = <Result>(data: string, act: () => Result): Result => (fs.existsSync(data) ? asOwnerOf(data, act) : act());

/** Copies of the databases in `folder`, which nobody uses while `alone` is held. Throws OperatingError `conflict`. */
function copyAlone(data: string, folder: string): { alone: Lock; copies: Journal['copies'] } {
  const alone = holdAlone(data);
  try {
    removeTree(folder);
    for (const one of [path.dirname(folder), folder]) {
      if (one === data || fs.existsSync(one)) continue;
      fs.mkdirSync(one, { mode: 0o700 });
      ownLike(one, data);
    }
    const copies = DATABASES.filter((name) => fs.existsSync(path.join(data, name)));
    for (const name of copies) copyDurably(path.join(data, name), path.join(folder, name));
    syncDirectory(data);
    return { alone, copies };
  } catch (error) {
    alone.close();
    throw error;
  }
}

const filesOf = ({ data, copies }: Journal): ExchangedFile[] =>
  copies.map((name) => ({ name, target: path.join(data, name), database: true, existed: true }));

function switchTo(base: string, to: string): string {
  const place = path.join(base, VERSIONS, to);
  // One that was gone back from.
  removeTree(place);
  renameDurably(path.join(base, STAGING), place);
  link(base, CURRENT, to);
  return place;
}

/** Leads `current` or `fallback` to a version, in one step. */
function link(base: string, name: string, version: string): void {
  const temporary = path.join(base, `${name}.new`);
  fs.rmSync(temporary, { force: true });
  fs.symlinkSync(path.join(VERSIONS, version), temporary);
  renameDurably(temporary, path.join(base, name));
}

/** Settles what is installed, and takes back what is under way. Every step may have been done before. */
function recover(base: string): void {
  const journal = JOURNAL.read(base);
  if (journal === null) return;
  const { state, from, to, data, folder } = journal;
  const installed = state === 'installed' || (state === 'starting' && !isUnused(journal));
  if (!installed) {
    goBack(base, state === 'starting' ? { ...journal, copies: [] } : journal);
    return;
  }
  if (state === 'starting') JOURNAL.write(base, { ...journal, state: 'installed', former: '' });
  // Perhaps not yet done by whoever was killed.
  if (linkOf(base, FALLBACK) !== to) link(base, FALLBACK, to);
  sweepVersions(base, [from, to]);
  sweepCopies(data, folder);
}

/**
 * Of one whose program may have been started: whether nobody runs it, and nothing that it has written would be lost by going back, since
 * the version before can read it. Otherwise it stays: it was migrated and checked, and `rollbackUpdate` goes back.
 */
function isUnused({ data, copies, folder, from }: Journal): boolean {
  try {
    asOwner(data, () => holdAlone(data)).close();
  } catch (error) {
    if (error instanceof OperatingError && error.code === 'conflict') return false;
    throw error;
  }
  return from !== '' && copies.every((name) => schemaOf(path.join(data, folder, name)) === schemaOf(path.join(data, name)));
}

function goBack(base: string, journal: Journal): void {
  const { from, to, data, copies, folder, former } = journal;
  const held: Lock | null = copies.length > 0 ? asOwner(data, () => holdAlone(data)) : null;
  try {
    // One that says `switching` says it too, and a disk that is full has no room for another.
    if (JOURNAL.read(base)?.state !== 'switching') JOURNAL.write(base, { ...journal, state: 'rolling_back' });
    asOwner(data, () => bringBack(filesOf(journal), path.join(data, folder)));
    if (from !== '') {
      link(base, CURRENT, from);
      link(base, FALLBACK, from);
    } else {
      for (const name of [CURRENT, FALLBACK]) fs.rmSync(path.join(base, name), { force: true });
      syncDirectory(base);
    }
  } finally {
    held?.close();
  }
  removeTree(path.join(base, STAGING));
  if (former !== '') JOURNAL.write(base, JSON.parse(former) as Journal);
  else JOURNAL.remove(base);
  // No journal speaks of them any more.
  asOwner(data, () => removeTree(path.join(data, folder)));
  removeTree(path.join(base, VERSIONS, to));
}

/** The last update's journal, to be put back. */
function formerOf(base: string): string {
  const journal = JOURNAL.read(base);
  return journal === null ? '' : JSON.stringify(journal);
}

/** A name that no other journal speaks of. */
function newFolder(data: string, now_ms: number): string {
  for (let number = Math.round(now_ms); ; number++)
    if (!fs.existsSync(path.join(data, `${COPIES}${number}`))) return `${COPIES}${number}`;
}

function sweepCopies(data: string, kept: string): void {
  if (!fs.existsSync(data)) return;
  asOwner(data, () => {
    for (const name of fs.readdirSync(data)) if (name.startsWith(COPIES) && name !== kept) removeTree(path.join(data, name));
  });
}

function linkOf(base: string, name: string): string {
  try {
    return path.basename(fs.readlinkSync(path.join(base, name)));
  } catch {
    return '';
  }
}

function sweepVersions(base: string, kept: readonly string[]): void {
  for (const name of fs.readdirSync(path.join(base, VERSIONS)))
    if (!kept.includes(name)) removeTree(path.join(base, VERSIONS, name));
}

/** SQLite's `user_version`, from the file's header (database file format, 1.3). */
function schemaOf(file: string): number {
  const header = Buffer.alloc(64);
  const handle = fs.openSync(file, 'r');
  try {
    fs.readSync(handle, header, 0, 64, 0);
  } finally {
    fs.closeSync(handle);
  }
  return header.readUInt32BE(60);
}

function asUpdate(error: unknown, version: string): unknown {
  if (error instanceof OperatingError || error instanceof StoreError) return error;
  return new OperatingError('update', `${version} was not installed, and all is as it was: ${reasonOf(error)}`, { cause: error });
}

const reasonOf = (error: unknown): string => diskFault(error) ?? (error as Error).message;
