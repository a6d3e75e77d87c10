import fs from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { APPLIANCE_FILE, ApplianceDatabase } from '../appliance/database.ts';
import { OperatingError } from '../errors.ts';
import { migrate } from '../store/migrations.ts';
import { DATABASE_FILE } from '../store/writer.ts';
import type { Opening } from './cipher.ts';
import { countsOf } from './create.ts';
import { removeTree } from './files.ts';
import { lock } from './lock.ts';
import { type BackupManifest, type DatabaseName, openBackup, type TrustedKeys } from './manifest.ts';

export const VERIFY_WORK = 'verify-work';
export const VERIFY_LOCK = 'verify.lock';

export interface VerifyRequest {
  file: string;
  /** A folder on a volume with room for all that is in it. */
  scratch: string;
  trusted: TrustedKeys;
  opening: Opening | null;
}

export interface VerifyResult {
  manifest: BackupManifest;
  /** The id of the key it was signed with; '': it is not signed. */
  signer: string;
  /** Whether the signature was checked with a key that is known. */
  trusted: boolean;
  /** Rows found, all tables together; as many as the manifest says. */
  rows: number;
}

/**
 * Proves that a backup restores: unpacked into a scratch folder, each database whole (`integrity_check`), as many rows as when it was made,
 * brought to the schema of this version. Throws OperatingError with what is wrong, StoreError where it is too new.
 */
export async function verifyBackup(
  request: VerifyRequest,
  onProgress: (done: number, total: number) => void = () => {},
): Promise<VerifyResult> {
  const { file, scratch, trusted, opening } = request;
  fs.mkdirSync(scratch, { recursive: true, mode: 0o700 });
  const held = lock(path.join(scratch, VERIFY_LOCK), 'a check of a backup');
  const work = path.join(scratch, VERIFY_WORK);
  try {
    removeTree(work);
    const backup = await openBackup(file, trusted, opening);
    await backup.reader.extract(work, onProgress);
    const rows = prepareDatabases(work, backup.manifest);
    return { manifest: backup.manifest, signer: backup.signer, trusted: backup.trusted, rows };
  } finally {
    removeTree(work);
    held.close();
  }
}

/** The databases in a folder: checked against the manifest and brought to the present schema. Gives the rows there were. */
export function prepareDatabases(directory: string, manifest: BackupManifest): number {
  let rows = 0;
  for (const [name, { schema_version, tables }] of Object.entries(manifest.databases)) {
    const file = path.join(directory, name);
    checkIntegrity(file);
    const found = countsOf(file);
    if (found.schema_version !== schema_version) throw differs(name, 'schema version', schema_version, found.schema_version);
    for (const table of new Set([...Object.keys(tables), ...Object.keys(found.tables)]))
      if (found.tables[table] !== tables[table]) throw differs(name, `rows of ${table}`, tables[table], found.tables[table]);
    rows += Object.values(tables).reduce((sum, count) => sum + count, 0);
    migrateDatabase(directory, name as DatabaseName);
    checkIntegrity(file);
  }
  return rows;
}

/** Throws StoreError `store_too_new` and others. Afterwards it is one file. */
export function migrateDatabase(directory: string, name: DatabaseName): void {
  const file = path.join(directory, name);
  if (name === APPLIANCE_FILE) new ApplianceDatabase(directory).close();
  const db = new Database(file);
  try {
    if (name === DATABASE_FILE) migrate(db, file);
    db.pragma('journal_mode = DELETE');
  } finally {
    db.close();
  }
}

function checkIntegrity(file: string): void {
  const db = new Database(file, { readonly: true });
  try {
    const faults = db.pragma('integrity_check(10)') as { integrity_check: string }[];
    if (faults[0]?.integrity_check !== 'ok')
      throw new OperatingError(
        'backup',
        `${path.basename(file)} in the backup is damaged: ${faults.map((one) => one.integrity_check).join('; ')}`,
      );
    const foreign = db.pragma('foreign_key_check') as unknown[];
    if (foreign.length > 0)
      throw new OperatingError('backup', `${path.basename(file)} in the backup has ${foreign.length} rows that belong to none`);
  } catch (error) {
    if (!(error as { code?: string }).code?.startsWith('SQLITE_')) throw error;
    throw new OperatingError('backup', `${path.basename(file)} in the backup is damaged: ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    db.close();
  }
}

const differs = (name: string, what: string, wanted: unknown, found: unknown): OperatingError =>
  new OperatingError(
    'backup',
    `${name} in the backup differs from its manifest: ${what} ${found ?? 'none'} instead of ${wanted ?? 'none'}`,
  );
