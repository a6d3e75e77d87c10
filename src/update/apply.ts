import fs from 'node:fs';
import path from 'node:path';
import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import { APPLIANCE_FILE } from '../appliance/database.ts';
import { freeBytes, removeTree, renameDurably, syncDirectory, syncFile, writeAtomically } from '../backup/files.ts';
import { type Lock, lock, tryLock } from '../backup/lock.ts';
import { DATABASES } from '../backup/manifest.ts';
import { holdAlone, recoverRestore, removeLogs } from '../backup/restore.ts';
import { OperatingError } from '../errors.ts';
import type { PublicKey } from '../signing/minisign.ts';
import { DATABASE_FILE } from '../store/writer.ts';
import { checkApplies, openBundle, type UpdateKind, type UpdateManifest } from './manifest.ts';
import { compareVersions } from './versions.ts';

// Versions lie side by side in `versions/`, and `current` is a symbolic link to one of them: a switch is a rename of the link. `fallback`
// is a link to the version that is known to work: it follows `current` when an update is done, and whoever starts the service lets it look
// first (`update recover`). A journal is written before anything is changed. Until it says `installed`, whoever finds it goes back: the
// link, and the databases from the copies that were taken with everything stopped.

const JOURNAL = 'update.json';
const LOCK = 'update.lock';
const VERSIONS = 'versions';
const STAGING = 'staging';
const CURRENT = 'current';
const FALLBACK = 'fallback';
/** In the data directory: copies of the databases as they were before, a number behind it; and one to try the migration on. */
const COPIES = 'update-previous-';
const TRIAL = 'update-trial';
const MAX_JOURNAL = 1 << 20;

const Journal = Type.Object({
  format: Type.Literal(1),
  /** `switching`: to be taken back; `installed`: done; `rolling_back`: to be carried through. */
  state: Type.Union([Type.Literal('switching'), Type.Literal('installed'), Type.Literal('rolling_back')]),
  kind: Type.Union([Type.Literal('software'), Type.Literal('content')]),
  /** '' where there was none. */
  from: Type.String({ pattern: '^[0-9A-Za-z.+-]*$' }),
  to: Type.String({ pattern: '^[0-9A-Za-z.+-]+$' }),
  data: Type.String(),
  /** Databases of which there are copies to go back to. */
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

export type UpdateStepName =
  | 'verify'
  | 'stage'
  | 'preflight'
  | 'backup'
  | 'stop'
  | 'copy'
  | 'switch'
  | 'migrate'
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
  /** Brings the databases in `data` to the schema of the program in `program`. Throws where it cannot. */
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
 * Installs a bundle: verify → stage → preflight → backup → stop → copy → switch → migrate → check → start. Whatever fails after `stop` is taken
 * back, databases included, and everything is started as it was; then, and where it was refused before, it throws OperatingError
 * (`archive`, `signature`, `update`, `conflict`).
 */
export async function applyUpdate(request: UpdateRequest, hooks: UpdateHooks): Promise<UpdateManifest> {
  const { root, data } = request;
  fs.mkdirSync(root, { recursive: true });
  const held = lock(path.join(root, LOCK), 'an update');
  try {
    recoverAll(root);
    recoverRestore(data);
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
    try {
      await run('verify', async () => {
        checkApplies(manifest, { program: request.program_version, present: from, allow_downgrade: request.allow_downgrade });
        // All of it, before anything is unpacked.
        await bundle.reader.extract(null, hooks.onProgress);
      });
      const staged = await run('stage', () => stage(request, manifest, hooks));
      await run('preflight', () => preflight(request, manifest, staged, hooks));
      if (kind === 'software' && hooks.backup !== undefined) await run('backup', hooks.backup);
    } catch (error) {
      await bundle.reader.close();
      removeTree(path.join(base, STAGING));
      throw asUpdate(error, to);
    }
    try {
      if (kind === 'software') await run('stop', () => hooks.stop());
      const copies = await run('copy', () => (kind === 'software' ? copyDatabases(data, journal.folder) : []));
      writeJournal(base, { ...journal, copies });
      const place = await run('switch', () => switchTo(base, to));
      if (kind === 'software') await run('migrate', () => hooks.migrate(place, data));
      await run('check', () => hooks.check(place, manifest));
      if (kind === 'software') await run('start', () => hooks.start());
      if (hooks.probe !== undefined) await run('check', () => hooks.probe?.(manifest));
      writeJournal(base, { ...journal, state: 'installed', copies, former: '' });
      recover(base);
      say('done');
      return manifest;
    } catch (error) {
      await run('rollback', async () => {
        if (kind === 'software') await hooks.stop();
        recover(base, (error as Error).message);
        removeTree(path.join(data, journal.folder));
        if (kind === 'software') await hooks.start();
      });
      throw asUpdate(error, to);
    }
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
    const journal = readJournal(base);
    if (journal?.state !== 'installed' || journal.from === '' || !fs.existsSync(path.join(base, VERSIONS, journal.from)))
      throw new OperatingError('not_found', 'there is no former version to go back to');
    const { from, to, data, folder } = journal;
    if (kind === 'software') await hooks.stop();
    const copies = journal.copies.filter((name) => fs.existsSync(path.join(data, folder, name)));
    const back = with_data || copies.some((name) => schemaOf(path.join(data, folder, name)) !== schemaOf(path.join(data, name)));
    writeJournal(base, { ...journal, state: 'rolling_back', copies: back ? copies : [], failure: 'asked for' });
    recover(base);
    if (kind === 'software') await hooks.start();
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
      writeJournal(root, {
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
    return { copies: copyDatabases(data, folder), folder };
  } catch (error) {
    if (error instanceof OperatingError && error.code === 'conflict') return null;
    throw error;
  }
}

/**
 * Called before anything is started: takes back what was broken off. `restart`: another version is current now than the one that may be
 * asking: let it be started anew.
 */
export function recoverUpdate(root: string): UpdateStatus & { restart: boolean } {
  if (KINDS.every((kind) => !fs.existsSync(path.join(baseOf(root, kind), JOURNAL))))
    return { ...updateStatus(root), restart: false };
  const held = tryLock(path.join(root, LOCK));
  // Whoever is at it starts the service itself, to see whether it works.
  if (held === null) return { ...updateStatus(root), restart: false };
  try {
    const before = versionAt(root);
    try {
      recoverAll(root);
    } catch (error) {
      // They were started again by whoever was killed then, with the new version: it works, and nothing is half.
      if (!(error instanceof OperatingError) || error.code !== 'conflict') throw error;
    }
    return { ...updateStatus(root), restart: versionAt(root) !== before };
  } finally {
    held.close();
  }
}

/** Looks, and changes nothing. */
export function updateStatus(root: string): UpdateStatus {
  const [software, content] = KINDS.map((kind) => {
    const journal = readJournal(baseOf(root, kind));
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
  removeTree(trial);
  fs.mkdirSync(trial, { mode: 0o700 });
  try {
    const { copyDatabase } = await import('../backup/create.ts');
    for (const name of present) await copyDatabase(path.join(data, name), path.join(trial, name));
    await hooks.migrate(staged, trial);
  } finally {
    removeTree(trial);
  }
}

const sizeWithLog = (file: string): number =>
  ['', '-wal'].reduce((sum, end) => sum + (fs.statSync(`${file}${end}`, { throwIfNoEntry: false })?.size ?? 0), 0);

/** With everything stopped: what a rollback brings back. */
function copyDatabases(data: string, name_: string): Journal['copies'] {
  const held = holdAlone(data);
  const folder = path.join(data, name_);
  try {
    removeTree(folder);
    fs.mkdirSync(folder, { mode: 0o700 });
    const present = DATABASES.filter((name) => fs.existsSync(path.join(data, name)));
    for (const name of present) {
      const [from, to] = [path.join(data, name), path.join(folder, name)];
      // At no cost where the file system can share blocks.
      fs.copyFileSync(from, to, fs.constants.COPYFILE_FICLONE);
      const { mode, uid, gid } = fs.statSync(from);
      fs.chmodSync(to, mode & 0o777);
      if (process.getuid?.() === 0) fs.chownSync(to, uid, gid);
      syncFile(to);
    }
    syncDirectory(folder);
    syncDirectory(data);
    return present;
  } finally {
    held.close();
  }
}

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

/** What is under way is taken back; every step may have been done before. `failure`: why. */
function recover(base: string, failure = ''): void {
  const journal = readJournal(base);
  if (journal === null) return;
  const { from, to, data, copies, folder } = journal;
  if (journal.state === 'installed') {
    // Perhaps not yet done by whoever was killed.
    if (linkOf(base, FALLBACK) !== to) link(base, FALLBACK, to);
    sweepVersions(base, [from, to]);
    sweepCopies(data, folder);
    return;
  }
  const held: Lock | null = copies.length > 0 ? holdAlone(data) : null;
  try {
    if (journal.state === 'switching') writeJournal(base, { ...journal, state: 'rolling_back', failure });
    for (const name of copies) {
      const copy = path.join(data, folder, name);
      if (!fs.existsSync(copy)) continue;
      removeLogs(path.join(data, name));
      renameDurably(copy, path.join(data, name));
    }
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
  if (journal.former !== '') writeAtomically(path.join(base, JOURNAL), journal.former, 0o644);
  else fs.rmSync(path.join(base, JOURNAL), { force: true });
  syncDirectory(base);
  // No journal speaks of them any more.
  removeTree(path.join(data, folder));
  removeTree(path.join(base, VERSIONS, to));
}

/** The last update's journal, to be put back. */
function formerOf(base: string): string {
  return readJournal(base) === null ? '' : fs.readFileSync(path.join(base, JOURNAL), 'utf8');
}

/** A name that no other journal speaks of. */
function newFolder(data: string, now_ms: number): string {
  for (let number = Math.round(now_ms); ; number++)
    if (!fs.existsSync(path.join(data, `${COPIES}${number}`))) return `${COPIES}${number}`;
}

function sweepCopies(data: string, kept: string): void {
  if (!fs.existsSync(data)) return;
  for (const name of fs.readdirSync(data)) if (name.startsWith(COPIES) && name !== kept) removeTree(path.join(data, name));
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

const writeJournal = (root: string, journal: Journal): void =>
  // The service, which is another user, tells of it.
  writeAtomically(path.join(root, JOURNAL), JSON.stringify(journal, null, 1), 0o644);

function readJournal(base: string): Journal | null {
  const file = path.join(base, JOURNAL);
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) return null;
  const fault = new OperatingError('update', `${file} is not what it should be`);
  if (stat.size > MAX_JOURNAL) throw fault;
  try {
    const journal: unknown = JSON.parse(fs.readFileSync(file, 'utf8'));
    if (Value.Check(Journal, journal)) return journal;
  } catch {}
  throw fault;
}

function asUpdate(error: unknown, version: string): unknown {
  if (error instanceof OperatingError) return error;
  const { code, message } = error as { code?: string; message: string };
  if (code === undefined && !(error instanceof Error)) return error;
  return new OperatingError('update', `${version} was not installed, and all is as it was: ${message}`, { cause: error });
}
