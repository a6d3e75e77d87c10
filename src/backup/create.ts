import fs from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { APPLIANCE_FILE } from '../appliance/database.ts';
import { SECTIONS } from '../appliance/sections.ts';
import { withoutSecrets } from '../appliance/settings.ts';
import { OperatingError } from '../errors.ts';
import { sign, signatureText } from '../signing/minisign.ts';
import { StoreError } from '../store/errors.ts';
import { MANIFEST_SIGNATURE, type Member, manifestBytes, memberOf, writeArchive } from './archive.ts';
import type { Encryption } from './cipher.ts';
import { APPLIANCE_TABLES } from './contents.ts';
import { diskFault, freeBytes, ownLike, removeTree } from './files.ts';
import { signingKey } from './keys.ts';
import { lock } from './lock.ts';
import {
  type BackupManifest,
  CONFIG_MEMBER,
  DATABASES,
  type DatabaseName,
  FORMAT,
  FORMAT_VERSION,
  ZONES_MEMBER,
} from './manifest.ts';
import { fileNameOf } from './names.ts';

/** In the data directory: copies of the databases while one is made, and who makes one. */
export const BACKUP_WORK = 'backup-work';
export const BACKUP_LOCK = 'backup.lock';
/** Pages a step of the copy takes, 1 MiB, and after how many it waits for the disk. */
const STEP_PAGES = 256;
const SYNC_STEPS = 32;
const MAX_REST_MS = 2000;
/** Of what others write while a copy is made: nothing of it can be given back before the copy is done, so that it had better be soon. */
const MAX_LOG = 128 << 20;
const MAX_FILE = 16 << 20;

export interface ExtraFile {
  /** `files/…` in the archive. */
  member: string;
  path: string;
  /** A private key or the like: only in backups with keys. */
  secret: boolean;
}

/** Everything that crosses to the process that makes it. */
export interface BackupRequest {
  /** The data directory. */
  data: string;
  /** Where the file is put; made where it is not there. */
  directory: string;
  sensor_name: string;
  product_version: string;
  /** Why it is made: `schedule`, `manual`, `before_update`, … */
  reason: string;
  keys: boolean;
  encryption: Encryption | null;
  /** The settings file of `run` and the zone file; '' where there is none. */
  config_file: string;
  zones_file: string;
  files: readonly ExtraFile[];
  now_ms: number;
}

export interface BackupProgress {
  step: 'copy' | 'prepare' | 'pack';
  done: number;
  total: number;
}

export interface BackupResult {
  file: string;
  size: number;
  sha256: string;
  created_ms: number;
  left_out: string[];
}

/**
 * A consistent copy of the databases while others write to them, the files beside them and a manifest, in one signed file. It appears when
 * it is whole and on the disk; a process that is killed leaves what the next one sweeps away. Throws OperatingError and StoreError.
 */
export async function createBackup(
  request: BackupRequest,
  onProgress: (progress: BackupProgress) => void = () => {},
): Promise<BackupResult> {
  const { data, directory } = request;
  const existing = DATABASES.filter((name) => fs.existsSync(path.join(data, name)));
  if (existing.length === 0)
    throw new OperatingError('not_found', `${data} holds no database; name the data directory with --data`);
  makeDirectory(directory, data);
  const held = lock(path.join(data, BACKUP_LOCK), 'a backup');
  const work = path.join(data, BACKUP_WORK);
  try {
    // Whoever left these was killed: we hold the lock.
    removeTree(work);
    sweep(directory);
    checkSpace(request, existing);
    fs.mkdirSync(work, { mode: 0o700 });
    return await make(request, existing, work, onProgress);
  } catch (error) {
    throw clear(error, directory);
  } finally {
    removeTree(work);
    held.close();
  }
}

async function make(
  request: BackupRequest,
  existing: readonly DatabaseName[],
  work: string,
  onProgress: (progress: BackupProgress) => void,
): Promise<BackupResult> {
  const { data, directory, product_version, sensor_name, now_ms, reason, keys, encryption } = request;
  const left_out: string[] = [];
  const sources = new Map<string, string | Buffer>();
  for (const name of existing) {
    const copy = path.join(work, name);
    await copyDatabase(path.join(data, name), copy, (done, total) => onProgress({ step: 'copy', done, total }));
    sources.set(name, copy);
  }
  const databases: BackupManifest['databases'] = {};
  for (const name of existing) {
    const copy = path.join(work, name);
    if (name === APPLIANCE_FILE && !keys) left_out.push(...removeSecrets(copy));
    onProgress({ step: 'prepare', done: 0, total: 1 });
    databases[name] = countsOf(copy);
  }
  for (const { member, path: file } of filesOf(request)) sources.set(member, readSmall(file));
  const members: Member[] = [];
  for (const [name, source] of sources) members.push(await memberOf(name, source));
  const manifest: BackupManifest = {
    format: FORMAT,
    format_version: FORMAT_VERSION,
    product_version,
    created: new Date(now_ms).toISOString(),
    created_ms: Math.round(now_ms),
    sensor_name,
    reason,
    keys,
    databases,
    left_out,
    members,
  };
  const signature = sign(manifestBytes(manifest), signingKey(data), `ot-sensor backup of ${sensor_name} ${manifest.created}`);
  const file = freeName(directory, request);
  const written = await writeArchive(file, path.join(directory, `.${path.basename(file)}.tmp`), {
    manifest,
    attachments: [{ name: MANIFEST_SIGNATURE, content: signatureText(signature, 'signature of manifest.json') }],
    sources,
    time_ms: now_ms,
    encryption,
    onProgress: (done, total) => onProgress({ step: 'pack', done, total }),
  });
  ownLike(file, data);
  return { file, ...written, created_ms: manifest.created_ms, left_out };
}

/**
 * The state of one moment, page by page. SQLite's backup begins anew whenever another connection has written between two steps, which with
 * a sensor beside it is always; within a read transaction it goes on with the moment it began at. Others write on meanwhile; what they
 * write stays in the write-ahead log until the end.
 */
export async function copyDatabase(
  from: string,
  to: string,
  onProgress: (done: number, total: number) => void = () => {},
): Promise<void> {
  const db = new Database(from, { readonly: true, timeout: 5000 });
  let target: number | undefined;
  try {
    db.exec('BEGIN');
    db.prepare('SELECT count(*) FROM sqlite_schema').get();
    const page_size = db.pragma('page_size', { simple: true }) as number;
    let steps = 0;
    let begun = performance.now();
    await db.backup(to, {
      progress({ totalPages, remainingPages }) {
        onProgress((totalPages - remainingPages) * page_size, totalPages * page_size);
        // Little by little, so that the sensor's own syncs do not wait for gigabytes of ours.
        steps++;
        if (target === undefined && steps > 1) target = fs.openSync(to, 'r');
        if (target !== undefined && steps % SYNC_STEPS === 0) {
          fs.fdatasyncSync(target);
          // As long again the disk is the others'.
          if (sizeOf(`${from}-wal`) < MAX_LOG) sleep(Math.min(performance.now() - begun, MAX_REST_MS));
          begun = performance.now();
        }
        return STEP_PAGES;
      },
    });
    db.exec('COMMIT');
  } finally {
    db.close();
    if (target !== undefined) fs.closeSync(target);
  }
  const copy = new Database(to);
  try {
    // One file, without a log beside it.
    copy.pragma('journal_mode = DELETE');
  } finally {
    copy.close();
  }
}

const sleep = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/** What nobody may read who opens a backup without keys; names what was left out because it is not known. */
function removeSecrets(file: string): string[] {
  const db = new Database(file);
  const left_out: string[] = [];
  try {
    db.pragma('secure_delete = ON');
    db.transaction(() => {
      for (const table of tablesOf(db)) {
        const what = Object.hasOwn(APPLIANCE_TABLES, table) ? APPLIANCE_TABLES[table] : 'unknown';
        if (what === 'none' || what === 'unknown') db.exec(`DELETE FROM ${quoted(table)}`);
        if (what === 'unknown') left_out.push(`table ${table}`);
        if (typeof what === 'object') db.exec(`DELETE FROM ${quoted(table)} WHERE NOT (${what.where})`);
        if (what === 'settings') left_out.push(...removeSecretSettings(db));
      }
    })();
    // What was deleted must not stay in unused pages either.
    db.exec('VACUUM');
  } finally {
    db.close();
  }
  return left_out;
}

function removeSecretSettings(db: Database.Database): string[] {
  const left_out = new Set<string>();
  const rows = db.prepare('SELECT section, version, value FROM settings').all() as {
    section: string;
    version: number;
    value: string;
  }[];
  const update = db.prepare('UPDATE settings SET value = ? WHERE section = ? AND version = ?');
  const remove = db.prepare('DELETE FROM settings WHERE section = ?');
  for (const { section: name, version, value } of rows) {
    const section = SECTIONS.find((one) => one.name === name);
    if (section !== undefined) update.run(JSON.stringify(withoutSecrets(section.schema, JSON.parse(value))), name, version);
    else {
      remove.run(name);
      left_out.add(`settings ${name}`);
    }
  }
  return [...left_out];
}

/** The schema's version, and rows of each table. */
export function countsOf(file: string): BackupManifest['databases'][string] {
  const db = new Database(file, { readonly: true });
  try {
    const tables = tablesOf(db).map((table) => [
      table,
      db
        .prepare(`SELECT count(*) FROM ${quoted(table)}`)
        .pluck()
        .get() as number,
    ]);
    return { schema_version: db.pragma('user_version', { simple: true }) as number, tables: Object.fromEntries(tables) };
  } finally {
    db.close();
  }
}

export const tablesOf = (db: Database.Database): string[] =>
  db
    .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name")
    .pluck()
    .all() as string[];

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

function filesOf({ config_file, zones_file, files, keys }: BackupRequest): { member: string; path: string }[] {
  const all = [
    { member: CONFIG_MEMBER, path: config_file, secret: false },
    { member: ZONES_MEMBER, path: zones_file, secret: false },
    ...files,
  ];
  return all.filter(({ path: file, secret }) => file !== '' && (keys || !secret) && fs.existsSync(file));
}

function readSmall(file: string): Buffer {
  const { size } = fs.statSync(file);
  if (size > MAX_FILE)
    throw new OperatingError('backup', `${file} is larger than ${MAX_FILE} bytes: it is not what it should be`);
  return fs.readFileSync(file);
}

function makeDirectory(directory: string, data: string): void {
  try {
    if (fs.mkdirSync(directory, { recursive: true, mode: 0o700 }) !== undefined) ownLike(directory, data);
    fs.accessSync(directory, fs.constants.W_OK);
  } catch (error) {
    throw clear(error, directory);
  }
}

/** What was not finished, by processes that were killed. */
function sweep(directory: string): void {
  for (const name of fs.readdirSync(directory))
    if (/^\..*\.tar\.gz(\.enc)?\.tmp$/.test(name)) fs.rmSync(path.join(directory, name));
}

/** Said before an hour of work is done, not after it. */
function checkSpace({ data, directory }: BackupRequest, existing: readonly DatabaseName[]): void {
  const sizes = existing.map((name) => ['', '-wal'].map((end) => sizeOf(path.join(data, `${name}${end}`))));
  const copy = sizes.flat().reduce((sum, size) => sum + size, 0);
  const same = fs.statSync(data).dev === fs.statSync(directory).dev;
  // Databases shrink to a third or less; where there is not even that much room it cannot be done.
  const packed = copy / 4;
  const needed: [string, number][] = same
    ? [[data, copy + packed]]
    : [
        [data, copy],
        [directory, packed],
      ];
  for (const [where, bytes] of needed) {
    const free = freeBytes(where);
    if (free < bytes)
      throw new OperatingError(
        'backup',
        `a backup needs about ${megabytes(bytes)} in ${where}, which has ${megabytes(free)} left: make room`,
      );
  }
}

const sizeOf = (file: string): number => fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;
const megabytes = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`;

function freeName(directory: string, { sensor_name, product_version, now_ms, encryption }: BackupRequest): string {
  for (let number = 1; ; number++) {
    const file = path.join(
      directory,
      fileNameOf({ sensor_name, product_version, time_ms: now_ms, number, encrypted: encryption !== null }),
    );
    if (!fs.existsSync(file)) return file;
  }
}

/** The file system's and SQLite's errors, in words that say what to do. */
function clear(error: unknown, directory: string): unknown {
  if (error instanceof OperatingError || error instanceof StoreError) return error;
  const fault = diskFault(error);
  if (fault !== null) return new OperatingError('backup', `the backup in ${directory} was not made: ${fault}`, { cause: error });
  const { code } = error as { code?: string };
  if (code?.startsWith('SQLITE_')) return StoreError.of(error, 'backup');
  return error;
}
