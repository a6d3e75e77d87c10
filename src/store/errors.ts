/** What can go wrong with the database, each with what to do about it. */
const WHAT_TO_DO = {
  store_locked: 'Another sensor is writing to this data directory. Stop it, or give this one a directory of its own (--data).',
  store_too_new: 'The database was written by a newer version of ot-sensor. Use that version, or another data directory.',
  store_outdated:
    'The database was written by an earlier version of ot-sensor, which has it open. Stop that sensor and start this version.',
  store_not_a_database:
    'The file is not an ot-sensor database, or it is damaged. Move it away (or restore a backup) and start again.',
  store_unwritable:
    'The data directory cannot be written. Check that it exists, its owner and its permissions, and that it is not mounted read-only.',
  store_full: 'No space is left for the database. Nothing already stored is damaged: free space on the volume and start again.',
  store_missing: 'There is no database in this directory yet. Replay a capture into it first: ot-sensor replay FILE --data DIR.',
  store_failed: 'The database could not carry out the request. The cause below is from SQLite or the operating system.',
  store_closed: 'The database is not open.',
} as const;

export type StoreErrorCode = keyof typeof WHAT_TO_DO;

/**
 * An operating error of the store. `message` says what happened where, `what_to_do` what the operator can do about it.
 * It crosses threads as plain data: `toJSON()` and `StoreError.from()`.
 */
export class StoreError extends Error {
  readonly code: StoreErrorCode;
  readonly what_to_do: string;

  constructor(code: StoreErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'StoreError';
    this.code = code;
    this.what_to_do = WHAT_TO_DO[code];
  }

  toJSON(): { code: StoreErrorCode; message: string; what_to_do: string } {
    return { code: this.code, message: this.message, what_to_do: this.what_to_do };
  }

  static from(plain: { code: StoreErrorCode; message: string }): StoreError {
    return new StoreError(plain.code, plain.message);
  }

  /** An error of SQLite or the file system as a `StoreError`; one that already is comes back itself. */
  static of(error: unknown, where: string): StoreError {
    if (error instanceof StoreError) return error;
    const { code, message } = error as { code?: string; message?: string };
    const text = `${where}: ${message ?? String(error)}`;
    return new StoreError(codeOf(code ?? '', message ?? ''), text, { cause: error });
  }
}

// Extended result codes carry the primary one as a prefix: SQLITE_IOERR_WRITE, SQLITE_READONLY_DIRECTORY, …
function codeOf(code: string, message: string): StoreErrorCode {
  if (code === 'ENOSPC' || code === 'EDQUOT' || code.startsWith('SQLITE_FULL')) return 'store_full';
  if (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED')) return 'store_locked';
  if (code.startsWith('SQLITE_NOTADB') || code.startsWith('SQLITE_CORRUPT')) return 'store_not_a_database';
  if (code.startsWith('SQLITE_READONLY') || code.startsWith('SQLITE_CANTOPEN') || code.startsWith('SQLITE_PERM'))
    return 'store_unwritable';
  if (['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST', 'ENOENT'].includes(code)) return 'store_unwritable';
  // better-sqlite3 reports a missing folder as a TypeError without a code.
  if (message.includes('directory does not exist')) return 'store_unwritable';
  return 'store_failed';
}
