import path from 'node:path';
import Database from 'better-sqlite3';
import { OperatingError } from '../errors.ts';
import { StoreError } from '../store/errors.ts';
import { ownLike } from './files.ts';

/** Held until `close`, or until the process ends, however it does. */
export interface Lock {
  close(): void;
}

/** For whoever makes or sweeps a backup, a restore or an update: one of them at a time. null: another process holds it. */
export function tryLock(file: string): Lock | null {
  const lock = new Database(file, { timeout: 0 });
  try {
    lock.pragma('journal_mode = MEMORY');
    lock.exec('BEGIN EXCLUSIVE');
    ownLike(file, path.dirname(file));
    return lock;
  } catch (error) {
    lock.close();
    if ((error as { code?: string }).code?.startsWith('SQLITE_BUSY')) return null;
    throw StoreError.of(error, file);
  }
}

/** Throws OperatingError `conflict` where another process holds it; `doing` is what it does then. */
export function lock(file: string, doing: string): Lock {
  const held = tryLock(file);
  if (held === null)
    throw new OperatingError('conflict', `${doing} is under way already in ${path.dirname(file)}: wait until it is done`);
  return held;
}

/** One of several who hold it together; `tryLock` fails meanwhile. null: somebody holds it alone. */
export function tryShare(file: string): Lock | null {
  const lock = new Database(file, { timeout: 0 });
  try {
    lock.pragma('journal_mode = MEMORY');
    ownLike(file, path.dirname(file));
    lock.exec('BEGIN');
    lock.prepare('SELECT count(*) FROM sqlite_schema').get();
    return lock;
  } catch (error) {
    lock.close();
    if ((error as { code?: string }).code?.startsWith('SQLITE_BUSY')) return null;
    throw StoreError.of(error, file);
  }
}
