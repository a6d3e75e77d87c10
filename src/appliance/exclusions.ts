import { existsSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { Exclusion } from '../detect/exclusions.ts';
import { APPLIANCE_FILE } from './database.ts';

/** Of the settings (`exclusion-settings.ts`), which the sensor does not load for this. */
const SECTION = 'exclusions';

/**
 * The exclusions, where there is a version after `known`; null where there is none. The sensor only reads, and what it cannot read changes
 * nothing: it goes on with what it has.
 */
export function exclusionsOf(directory: string, known: number): { version: number; rules: Exclusion[] } | null {
  const file = join(directory, APPLIANCE_FILE);
  if (!existsSync(file)) return null;
  let db: Database.Database | undefined;
  try {
    db = new Database(file, { readonly: true, fileMustExist: true });
    const newest = 'SELECT version, value FROM settings WHERE section = ? AND version > ? ORDER BY version DESC LIMIT 1';
    const row = db.prepare(newest).get(SECTION, known) as { version: number; value: string } | undefined;
    return row === undefined ? null : { version: row.version, rules: (JSON.parse(row.value) as { rules: Exclusion[] }).rules };
  } catch {
    return null;
  } finally {
    db?.close();
  }
}
