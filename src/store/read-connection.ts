import { existsSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { StoreError } from './errors.ts';
import { checkVersion, SCHEMA_VERSION } from './migrations.ts';
import { DATABASE_FILE, Writer } from './writer.ts';

const MAX_PREPARED = 64;
const NUMBERS_AT_ONCE = 1000;
const MAX_MEMOS = 256;

/** A statement whose text is long: `key` is a short name for it. */
export interface LongStatement {
  key: string;
  sql: () => string;
}

interface Prepared {
  statement: Database.Statement;
  rowOf: (values: unknown[]) => object;
}

/**
 * Makes objects of a statement's values. Generated from the names of its columns, which are ours, since setting one column
 * after the other was two fifths of a start with hundreds of thousands of rows.
 */
function rowMaker(names: readonly string[], flags: readonly string[], json: readonly string[]): Prepared['rowOf'] {
  const members = names.map((name, i) => {
    if (!/^\w+$/.test(name)) throw new Error(`a column is called ${name}; give it a name with AS`);
    if (flags.includes(name)) return `${name}: v[${i}] !== 0`;
    return json.includes(name) ? `${name}: JSON.parse(v[${i}])` : `${name}: v[${i}]`;
  });
  return new Function('v', `'use strict'; return { ${members.join(', ')} };`) as Prepared['rowOf'];
}

/**
 * A connection that cannot write, and its prepared statements. A database of an earlier version is brought up to date first. Throws
 * `StoreError`: `store_missing` where there is none, `store_too_new`, `store_outdated`, `store_not_a_database`.
 */
export class ReadConnection {
  readonly file: string;
  readonly #db: Database.Database;
  readonly #prepared = new Map<string, Prepared>();
  readonly #version: Database.Statement;
  readonly #memos = new Map<string, unknown>();
  #version_of_memos = 0;

  constructor(directory: string) {
    this.file = join(directory, DATABASE_FILE);
    if (!existsSync(this.file)) throw new StoreError('store_missing', `there is no ${this.file}`);
    let db: Database.Database | undefined;
    try {
      db = new Database(this.file, { readonly: true, fileMustExist: true });
      const version = checkVersion(db, this.file);
      if (version === 0) throw new StoreError('store_missing', `${this.file} is empty`);
      if (version < SCHEMA_VERSION) bringUpToDate(directory, version);
      // KiB, negative, as SQLite has it. Pages of a large database are read over and over: four times the default saves a tenth.
      db.pragma('cache_size = -65536');
    } catch (error) {
      db?.close();
      throw StoreError.of(error, this.file);
    }
    this.#db = db;
    this.#version = db.prepare('PRAGMA data_version').pluck();
  }

  close(): void {
    this.#prepared.clear();
    this.#db.close();
  }

  /** Changes whenever another connection has changed the database. */
  version(): number {
    return this.#version.get() as number;
  }

  /** What was found out of the present state, kept until the database is another. */
  memo<Value>(key: string, make: () => Value): Value {
    const version = this.version();
    if (version !== this.#version_of_memos || this.#memos.size >= MAX_MEMOS) this.#memos.clear();
    this.#version_of_memos = version;
    if (!this.#memos.has(key)) this.#memos.set(key, make());
    return this.#memos.get(key) as Value;
  }

  /** Flags are booleans, the columns of `json` what their text says. */
  all<Row>(
    sql: string | LongStatement,
    values: readonly unknown[] = [],
    flags: readonly string[] = [],
    json: readonly string[] = [],
  ): Row[] {
    try {
      const { statement, rowOf } = this.#statement(sql, flags, json);
      return (statement.all(...values) as unknown[][]).map(rowOf) as Row[];
    } catch (error) {
      throw StoreError.of(error, this.file);
    }
  }

  one<Row>(sql: string, ...values: unknown[]): Row | undefined {
    return this.all<Row>(sql, values)[0];
  }

  /**
   * All rows of a table in the order of a whole number from 1, then of other columns; read by the thousand numbers: a step of an iterator
   * costs more than a row of a list, and rows that are used at once and forgotten cost no collection.
   */
  *each<Row>(
    columns: string,
    table: string,
    number: string,
    { where = '', order = '', flags = [] }: { where?: string; order?: string; flags?: readonly string[] } = {},
  ): Generator<Row> {
    const last = this.one<{ last: number | null }>(`SELECT max(${number}) AS last FROM ${table}`)!.last ?? 0;
    const sql = `SELECT ${columns} FROM ${table} WHERE ${number} BETWEEN ? AND ? ${where && `AND ${where}`}
      ORDER BY ${number}${order && `, ${order}`}`;
    for (let from = 1; from <= last; from += NUMBERS_AT_ONCE)
      yield* this.all<Row>(sql, [from, from + NUMBERS_AT_ONCE - 1], flags);
  }

  #statement(sql: string | LongStatement, flags: readonly string[], json: readonly string[]): Prepared {
    const key = typeof sql === 'string' ? sql : sql.key;
    let prepared = this.#prepared.get(key);
    if (!prepared) {
      // Filters and fields combine in many ways: the statements kept are bounded.
      if (this.#prepared.size >= MAX_PREPARED) this.#prepared.delete(this.#prepared.keys().next().value!);
      const statement = this.#db.prepare(typeof sql === 'string' ? sql : sql.sql()).raw(true);
      const names = statement.columns().map(({ name }) => name);
      prepared = { statement, rowOf: rowMaker(names, flags, json) };
    } else this.#prepared.delete(key);
    // The one that was used last is the last to go.
    this.#prepared.set(key, prepared);
    return prepared;
  }
}

/** Throws `store_outdated` where somebody else writes it. */
function bringUpToDate(directory: string, version: number): void {
  try {
    new Writer(directory).close();
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'store_locked') throw error;
    throw new StoreError('store_outdated', `${directory} has schema version ${version}, this program needs ${SCHEMA_VERSION}`);
  }
}
