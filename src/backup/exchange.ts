import fs from 'node:fs';
import path from 'node:path';
import { type Static, type TSchema, Type } from 'typebox';
import { Value } from 'typebox/value';
import type { OperatingError } from '../errors.ts';
import { copyDurably, renameDurably, syncDirectory, writeAtomically } from './files.ts';

// What restores and updates have in common. The new state is made beside the present one; then a journal is written, and file by file the
// present one is kept and the new one put in its place. Every step can be done again: whoever reads the journal goes on, or back.

export const ExchangedFile = Type.Object({
  /** Its name in the folders of new and of former files. */
  name: Type.String({ pattern: '^[A-Za-z0-9._-]+$' }),
  target: Type.String({ pattern: '^/' }),
  /** One of SQLite: logs may lie beside it. */
  database: Type.Boolean(),
  /** Whether there was one before. */
  existed: Type.Boolean(),
});
export type ExchangedFile = Static<typeof ExchangedFile>;

/** Puts what is in `fresh` in its place, and what was there into `former`, both folders. What is done already is left. */
export function exchange(files: readonly ExchangedFile[], { fresh, former }: { fresh: string; former: string }): void {
  for (const { name, target, database, existed } of files) {
    const [from, kept] = [path.join(fresh, name), path.join(former, name)];
    // Done before whoever did it was killed.
    if (!fs.existsSync(from)) continue;
    if (existed && !fs.existsSync(kept)) keep(target, kept);
    if (database) removeLogs(target);
    move(from, target);
  }
}

/** Puts what is in `former` back, and takes away what was not there before. What is done already is left. */
export function bringBack(files: readonly ExchangedFile[], former: string): void {
  for (const { name, target, database, existed } of files) {
    const kept = path.join(former, name);
    if (existed && !fs.existsSync(kept)) continue;
    if (database) removeLogs(target);
    if (existed) move(kept, target);
    else {
      fs.rmSync(target, { force: true });
      syncDirectory(path.dirname(target));
    }
  }
}

/** A log that belongs to another file than the one it lies beside would be played into it. */
function removeLogs(database: string): void {
  for (const end of ['-wal', '-shm', '-journal']) fs.rmSync(`${database}${end}`, { force: true });
}

/** Another name for the same file, so that its place is never empty; a copy where it is on another volume. */
function keep(target: string, kept: string): void {
  try {
    fs.linkSync(target, kept);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
    copyDurably(target, kept);
  }
  syncDirectory(path.dirname(kept));
}

function move(from: string, to: string): void {
  try {
    renameDurably(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
    copyDurably(from, to);
    fs.rmSync(from);
    syncDirectory(path.dirname(from));
  }
}

const MAX_JOURNAL = 1 << 20;

/** A journal in a file: there is one, whole, or there is none. */
export class JournalFile<Schema extends TSchema> {
  private readonly schema: Schema;
  private readonly name: string;
  private readonly mode: number;
  private readonly fault: (file: string) => OperatingError;

  /** `fault`: what is thrown where the file is something else. */
  constructor(schema: Schema, name: string, fault: (file: string) => OperatingError, mode = 0o600) {
    this.schema = schema;
    this.name = name;
    this.fault = fault;
    this.mode = mode;
  }

  /** null: there is none. */
  read(folder: string): Static<Schema> | null {
    const file = path.join(folder, this.name);
    const stat = fs.statSync(file, { throwIfNoEntry: false });
    if (stat === undefined) return null;
    if (stat.size > MAX_JOURNAL) throw this.fault(file);
    try {
      const journal: unknown = JSON.parse(fs.readFileSync(file, 'utf8'));
      if (Value.Check(this.schema, journal)) return journal;
    } catch {}
    throw this.fault(file);
  }

  write(folder: string, journal: Static<Schema>): void {
    writeAtomically(path.join(folder, this.name), JSON.stringify(journal, null, 1), this.mode);
  }

  remove(folder: string): void {
    fs.rmSync(path.join(folder, this.name), { force: true });
    syncDirectory(folder);
  }
}
