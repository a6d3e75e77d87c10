import fs from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { type Static, Type } from 'typebox';
import { APPLIANCE_FILE } from '../appliance/database.ts';
import { SECTIONS } from '../appliance/sections.ts';
import { withSecretsOf } from '../appliance/settings.ts';
import { OperatingError } from '../errors.ts';
import { compareVersions, isVersion } from '../update/versions.ts';
import type { Opening } from './cipher.ts';
import { countsOf, type ExtraFile } from './create.ts';
import { bringBack, ExchangedFile, exchange, JournalFile } from './exchange.ts';
import { ownLike, removeTree, sha256OfFile, syncDirectory, syncFile } from './files.ts';
import { type Lock, lock, tryLock, tryShare } from './lock.ts';
import { type BackupManifest, CONFIG_MEMBER, DATABASES, openBackup, type TrustedKeys, ZONES_MEMBER } from './manifest.ts';
import { RESTORE_FOLDER as FOLDER } from './names.ts';
import { prepareDatabases } from './verify.ts';

// A restore in two steps. First the new state is prepared beside the present one, in `restore/new`: unpacked, checked, brought to the
// present schema. Then a journal is written, and from that moment on the restore happens: file by file the present one is kept in
// `restore/previous` and the new one renamed to its place. Whoever is killed in between is followed by somebody who calls
// `recoverRestore`, which goes on from there. The former state stays until it is confirmed; the journal's end is the restore's.

const NEW = 'new';
const PREVIOUS = 'previous';
const LOCK = 'restore.lock';
const WRITER_LOCK = 'writer.lock';
/** Shared by all who have a database open. */
const USE_LOCK = 'use.lock';
/** How long somebody who recovers waits for another who does. */
const WAIT_MS = 30_000;

const Journal = Type.Object({
  format: Type.Literal(1),
  /** `armed`: to be done at the next start; `switching`, `undoing`: to be carried through; `switched`: done, to be confirmed or undone. */
  state: Type.Union([Type.Literal('armed'), Type.Literal('switching'), Type.Literal('switched'), Type.Literal('undoing')]),
  backup: Type.String(),
  /** When the backup was made, and when it was restored. */
  created_ms: Type.Number(),
  restored_ms: Type.Number(),
  /** Whether there was one before is known once it is switched. */
  items: Type.Array(ExchangedFile),
});
type Journal = Static<typeof Journal>;

const JOURNAL = new JournalFile(
  Journal,
  'journal.json',
  (file) =>
    new OperatingError(
      'backup',
      `${file} is not what it should be; the former state may be in ${path.join(path.dirname(file), PREVIOUS)}`,
    ),
);
const writeJournal = (data: string, journal: Journal): void => JOURNAL.write(path.join(data, FOLDER), journal);
const readJournal = (data: string): Journal | null => JOURNAL.read(path.join(data, FOLDER));

export interface RestoreRequest {
  file: string;
  /** The data directory. */
  data: string;
  /** Where the settings file of `run` and its zone file belong; '': they are not restored. */
  config_file: string;
  zones_file: string;
  /** Where other files of the backup belong. Those that are not here are not restored. */
  files: readonly ExtraFile[];
  trusted: TrustedKeys;
  opening: Opening | null;
  product_version: string;
  now_ms: number;
}

export interface RestoreChange {
  target: string;
  change: 'added' | 'replaced' | 'same';
  /** Of a database: rows of each table, now and afterwards. */
  rows: Record<string, { before: number; after: number }> | null;
}

/** What a restore would do, or did. */
export interface RestoreReport {
  manifest: BackupManifest;
  signer: string;
  trusted: boolean;
  changes: RestoreChange[];
  /** Members of the backup that have no place here. */
  not_restored: string[];
  /** Settings whose secrets are not in the backup: those of this appliance are kept, where it has any. */
  secrets_kept: string[];
}

export interface RestoreStatus {
  state: 'none' | Journal['state'];
  /** The backup's file name, when it was made and when it was restored; '' and 0 where there is no restore. */
  backup: string;
  created_ms: number;
  restored_ms: number;
  /** Why one that is armed was not carried out; '' otherwise. */
  waiting_for: string;
}

/** Prepares it and says what it would do; then all is as before. Throws as `applyRestore`. */
export async function planRestore(
  request: RestoreRequest,
  onProgress?: (done: number, total: number) => void,
): Promise<RestoreReport> {
  const held = lock(path.join(request.data, LOCK), 'a restore');
  try {
    return (await prepare(request, onProgress)).report;
  } finally {
    if (readJournal(request.data) === null) removeTree(path.join(request.data, FOLDER));
    held.close();
  }
}

/**
 * Restores. Neither the sensor nor the service may run: what uses a database is told (`conflict`), and nothing is changed. With
 * `at_next_start` it is only prepared, and done by the next `recoverRestore` that finds the databases unused. Throws OperatingError
 * (`archive`, `signature`, `backup`, `conflict`) and StoreError; then all is as before.
 */
export async function applyRestore(
  request: RestoreRequest,
  { at_next_start = false, onProgress }: { at_next_start?: boolean; onProgress?: (done: number, total: number) => void } = {},
): Promise<RestoreReport> {
  const { data } = request;
  fs.mkdirSync(data, { recursive: true, mode: 0o700 });
  const held = lock(path.join(data, LOCK), 'a restore');
  let journal: Journal | null = null;
  try {
    // Said before the work, and again when it is done.
    if (!at_next_start) alone(data, []).close();
    const { report, items } = await prepare(request, onProgress);
    journal = {
      format: 1,
      state: 'armed',
      backup: path.basename(request.file),
      created_ms: report.manifest.created_ms,
      restored_ms: request.now_ms,
      items,
    };
    if (at_next_start) writeJournal(data, journal);
    else carryOut(data, journal);
    return report;
  } catch (error) {
    if (readJournal(data) === null) removeTree(path.join(data, FOLDER));
    throw error;
  } finally {
    held.close();
  }
}

/**
 * Called at every start of what opens the databases, before it does. Carries through what was broken off, does what is armed, sweeps what
 * was never begun; costs one look where there is nothing. Throws OperatingError `conflict` where a half-done restore cannot be carried through.
 */
export function recoverRestore(data: string): RestoreStatus {
  if (!fs.existsSync(path.join(data, FOLDER))) return NOTHING;
  let held: Lock | null = null;
  const begun = performance.now();
  while (held === null) {
    held = tryLock(path.join(data, LOCK));
    if (held !== null) break;
    // Somebody prepares one, which changes nothing yet; or is at it, and has to be waited for.
    const journal = readJournal(data);
    if (journal === null || !isHalf(journal)) return statusOf(journal);
    if (performance.now() - begun > WAIT_MS)
      throw new OperatingError('conflict', `a restore is under way in ${data}: wait until it is done`);
    pause();
  }
  try {
    const journal = readJournal(data);
    if (journal === null) removeTree(path.join(data, FOLDER));
    else if (journal.state === 'armed') {
      try {
        carryOut(data, journal);
      } catch (error) {
        if (!(error instanceof OperatingError) || error.code !== 'conflict') throw error;
        return statusOf(readJournal(data), error.message);
      }
    } else if (journal.state === 'switching') switchAll(data, journal);
    else if (journal.state === 'undoing') undoAll(data, journal);
    return statusOf(readJournal(data));
  } finally {
    held.close();
  }
}

/**
 * For whoever opens the databases, before it does: recovers, and keeps restores away until it is closed or the process ends. Throws as
 * `recoverRestore`.
 */
export function useData(data: string): RestoreStatus & Lock {
  fs.mkdirSync(data, { recursive: true });
  for (const begun = performance.now(); ; pause()) {
    const status = recoverRestore(data);
    const held = tryShare(path.join(data, USE_LOCK));
    // Nobody can begin one now; one that began in between has to be waited for.
    const journal = held === null ? null : readJournal(data);
    if (held !== null && (journal === null || !isHalf(journal))) return { ...status, close: () => held.close() };
    held?.close();
    if (performance.now() - begun > WAIT_MS)
      throw new OperatingError('conflict', `a restore or an update is under way in ${data}: wait until it is done`);
  }
}

/** Looks, and changes nothing. */
export const restoreStatus = (data: string): RestoreStatus => statusOf(readJournal(data));

/** The former state is not wanted any more. Throws OperatingError `not_found` where nothing was restored. */
export function confirmRestore(data: string): RestoreStatus {
  return withJournal(data, ['switched'], (journal) => {
    end(data);
    return { ...statusOf(journal), state: 'none' };
  });
}

/**
 * Back to the state before the restore, as it was then; what was seen since is gone. One that is armed is called off. Throws OperatingError
 * `not_found`, and `conflict` where the databases are in use.
 */
export function undoRestore(data: string): RestoreStatus {
  return withJournal(data, ['armed', 'switched'], (journal) => {
    if (journal.state === 'armed') end(data);
    else {
      const held = alone(data, journal.items);
      try {
        const undoing: Journal = { ...journal, state: 'undoing' };
        writeJournal(data, undoing);
        undoItems(data, undoing);
      } finally {
        held.close();
      }
    }
    return { ...statusOf(journal), state: 'none' };
  });
}

const pause = (): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
const NOTHING: RestoreStatus = { state: 'none', backup: '', created_ms: 0, restored_ms: 0, waiting_for: '' };
const isHalf = ({ state }: Journal): boolean => state === 'switching' || state === 'undoing';

function statusOf(journal: Journal | null, waiting_for = ''): RestoreStatus {
  if (journal === null) return NOTHING;
  const { state, backup, created_ms, restored_ms } = journal;
  return { state, backup, created_ms, restored_ms, waiting_for };
}

function withJournal<Result>(data: string, states: readonly Journal['state'][], act: (journal: Journal) => Result): Result {
  const held = lock(path.join(data, LOCK), 'a restore');
  try {
    const journal = readJournal(data);
    if (journal === null || !states.includes(journal.state))
      throw new OperatingError('not_found', `there is no restore in ${data} to be confirmed or undone`);
    return act(journal);
  } finally {
    held.close();
  }
}

// Preparing

async function prepare(
  request: RestoreRequest,
  onProgress?: (done: number, total: number) => void,
): Promise<{ report: RestoreReport; items: ExchangedFile[] }> {
  const { data, file, product_version } = request;
  const journal = readJournal(data);
  if (journal !== null)
    throw new OperatingError(
      'conflict',
      journal.state === 'armed'
        ? `the restore of ${journal.backup} waits for the next start: call it off first (restore undo)`
        : `the restore of ${journal.backup} is neither confirmed nor undone: do that first (restore confirm, restore undo)`,
    );
  const folder = path.join(data, FOLDER);
  removeTree(folder);
  const backup = await openBackup(file, request.trusted, request.opening);
  const { manifest } = backup;
  if (!isVersion(product_version) || compareVersions(manifest.product_version, product_version) > 0) {
    await backup.reader.close();
    const message = `it was made by ot-sensor ${manifest.product_version}, which is newer than this one (${product_version}): update first`;
    throw new OperatingError('backup', message);
  }
  fs.mkdirSync(folder, { mode: 0o700 });
  const fresh = path.join(folder, NEW);
  try {
    await backup.reader.extract(fresh, onProgress);
    prepareDatabases(fresh, manifest);
    const secrets_kept =
      manifest.databases[APPLIANCE_FILE] === undefined ? [] : takeOverSecrets(path.join(fresh, APPLIANCE_FILE), data);
    const { items, not_restored } = placesOf(request, manifest, fresh);
    const changes: RestoreChange[] = [];
    for (const item of items) changes.push(await changeOf(path.join(fresh, item.name), item));
    for (const item of items) settle(path.join(fresh, item.name), item, data);
    syncDirectory(fresh);
    return { report: { manifest, signer: backup.signer, trusted: backup.trusted, changes, not_restored, secrets_kept }, items };
  } catch (error) {
    removeTree(folder);
    throw error;
  }
}

/** Which member goes where. Names in `new` are without folders from here on. */
function placesOf(
  { data, config_file, zones_file, files }: RestoreRequest,
  manifest: BackupManifest,
  fresh: string,
): { items: ExchangedFile[]; not_restored: string[] } {
  const places = new Map<string, string>(DATABASES.map((name) => [name, path.join(data, name)]));
  if (config_file !== '') places.set(CONFIG_MEMBER, config_file);
  if (zones_file !== '') places.set(ZONES_MEMBER, zones_file);
  for (const { member, path: file } of files) places.set(member, file);
  const items: ExchangedFile[] = [];
  const not_restored: string[] = [];
  for (const { name: member } of manifest.members) {
    const target = places.get(member);
    const name = member.replaceAll('/', '-');
    if (target === undefined) not_restored.push(member);
    else {
      if (name !== member) fs.renameSync(path.join(fresh, member), path.join(fresh, name));
      items.push({
        name,
        target: fs.existsSync(target) ? fs.realpathSync(target) : path.resolve(target),
        database: member in manifest.databases,
        existed: false,
      });
    }
  }
  return { items, not_restored };
}

async function changeOf(fresh: string, { target, database }: ExchangedFile): Promise<RestoreChange> {
  if (!fs.existsSync(target)) return { target, change: 'added', rows: database ? compared({}, countsOf(fresh).tables) : null };
  if (database) return { target, change: 'replaced', rows: compared(countsIfWhole(target), countsOf(fresh).tables) };
  const same = (await sha256OfFile(fresh)) === (await sha256OfFile(target));
  return { target, change: same ? 'same' : 'replaced', rows: null };
}

/** None of one that is damaged: it is what a backup is for. */
function countsIfWhole(file: string): Record<string, number> {
  try {
    return countsOf(file).tables;
  } catch {
    return {};
  }
}

function compared(before: Record<string, number>, after: Record<string, number>): NonNullable<RestoreChange['rows']> {
  const tables = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return Object.fromEntries(tables.map((table) => [table, { before: before[table] ?? 0, after: after[table] ?? 0 }]));
}

/** Owner and mode of what it replaces, so that whoever could use that can use it. */
function settle(fresh: string, { target }: ExchangedFile, data: string): void {
  const former = fs.statSync(target, { throwIfNoEntry: false });
  if (former !== undefined) fs.chmodSync(fresh, former.mode & 0o777);
  ownLike(fresh, former === undefined ? data : target);
  syncFile(fresh);
}

/** Where the backup has a secret left out, the one that this appliance has. Gives the sections of which there were any. */
function takeOverSecrets(file: string, data: string): string[] {
  const current = settingsOf(path.join(data, APPLIANCE_FILE));
  const kept = new Set<string>();
  const db = new Database(file);
  try {
    const rows = db.prepare('SELECT section, version, value FROM settings').all() as {
      section: string;
      version: number;
      value: string;
    }[];
    const update = db.prepare('UPDATE settings SET value = ? WHERE section = ? AND version = ?');
    db.transaction(() => {
      for (const { section: name, version, value } of rows) {
        const section = SECTIONS.find((one) => one.name === name);
        if (section === undefined) continue;
        const text = JSON.stringify(withSecretsOf(section.schema, JSON.parse(value), current.get(name)));
        if (text === value) continue;
        update.run(text, name, version);
        kept.add(name);
      }
    })();
  } finally {
    db.close();
  }
  return [...kept].sort();
}

/** Each section's settings as they are; none where the database is not there, or damaged. */
function settingsOf(file: string): Map<string, unknown> {
  const current = new Map<string, unknown>();
  if (!fs.existsSync(file)) return current;
  const db = new Database(file, { readonly: true });
  try {
    const rows = db.prepare('SELECT section, value FROM settings ORDER BY version').all() as { section: string; value: string }[];
    for (const { section, value } of rows) current.set(section, JSON.parse(value));
  } catch {
    // Their secrets have to be given again.
  } finally {
    db.close();
  }
  return current;
}

// Switching

/** From a prepared state to the new one. Nothing was changed where it throws `conflict`. */
function carryOut(data: string, journal: Journal): void {
  const held = alone(data, journal.items);
  try {
    const items = journal.items.map((item) => ({ ...item, existed: fs.existsSync(item.target) }));
    const switching: Journal = { ...journal, state: 'switching', items };
    fs.mkdirSync(path.join(data, FOLDER, PREVIOUS), { recursive: true, mode: 0o700 });
    // From here on it happens.
    writeJournal(data, switching);
    switchItems(data, switching);
  } finally {
    held.close();
  }
}

function switchAll(data: string, journal: Journal): void {
  const held = alone(data, journal.items);
  try {
    switchItems(data, journal);
  } finally {
    held.close();
  }
}

function switchItems(data: string, journal: Journal): void {
  const fresh = path.join(data, FOLDER, NEW);
  exchange(journal.items, { fresh, former: path.join(data, FOLDER, PREVIOUS) });
  writeJournal(data, { ...journal, state: 'switched' });
  removeTree(fresh);
}

function undoAll(data: string, journal: Journal): void {
  const held = alone(data, journal.items);
  try {
    undoItems(data, journal);
  } finally {
    held.close();
  }
}

function undoItems(data: string, { items }: Journal): void {
  bringBack(items, path.join(data, FOLDER, PREVIOUS));
  end(data);
}

/** The journal goes first: without it what is left is of no account. */
function end(data: string): void {
  JOURNAL.remove(path.join(data, FOLDER));
  removeTree(path.join(data, FOLDER));
}

/**
 * Nobody else uses the data: the sensor's lock is held and that of all users, and each database is brought into one file, which SQLite does
 * only where no other connection has it open. Throws OperatingError `conflict`.
 */
function alone(data: string, items: readonly ExchangedFile[]): Lock {
  const held: Lock[] = [];
  const close = () => {
    for (const one of held) one.close();
  };
  const take = (name: string, message: string) => {
    const taken = tryLock(path.join(data, name));
    if (taken === null) throw new OperatingError('conflict', message);
    held.push(taken);
  };
  try {
    take(WRITER_LOCK, `a sensor is writing to ${data}: stop it first (systemctl stop ot-sensor)`);
    take(USE_LOCK, `${data} is in use: stop the service and the commands that use it first`);
    const targets =
      items.length > 0
        ? items.filter(({ database }) => database).map(({ target }) => target)
        : DATABASES.map((name) => path.join(data, name));
    for (const target of targets) if (fs.existsSync(target)) intoOneFile(target);
    return { close };
  } catch (error) {
    close();
    throw error;
  }
}

/** For whoever replaces the databases otherwise. Throws as `alone` does. */
export const holdAlone = (data: string): Lock => alone(data, []);

function intoOneFile(file: string): void {
  const db = new Database(file, { timeout: 1000 });
  try {
    db.pragma('journal_mode = DELETE');
  } catch (error) {
    const { code } = error as { code?: string };
    if (code?.startsWith('SQLITE_BUSY') || code?.startsWith('SQLITE_LOCKED'))
      throw new OperatingError('conflict', `${file} is in use: stop the service and the commands that use it first`);
    // One that is damaged is what a backup is for: it is kept as it is.
    if (!code?.startsWith('SQLITE_NOTADB') && !code?.startsWith('SQLITE_CORRUPT')) throw error;
  } finally {
    db.close();
  }
}
