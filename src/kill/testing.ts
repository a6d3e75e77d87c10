/** For tests of what survives `kill -9`: the program as it was built, ended at a random moment of its work, again and again. */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { built } from '../backup/testing.ts';
import { ot, PROGRAM } from '../cli/testing.ts';
import { pseudoRandom } from '../engine/testing.ts';
import { MIGRATIONS, migrate } from '../store/migrations.ts';
import { DATABASE_FILE } from '../store/writer.ts';

/** How often each command is killed: a few times in every test run, 200 times in `npm run kill`. */
export const MOMENTS = Number(process.env.OT_SENSOR_KILLS ?? 3);
/** What the moments are drawn with; printed, so that a run can be made again. */
export const SEED = Number(process.env.OT_SENSOR_KILL_SEED ?? Date.now() % 1_000_000);
/** Of a test that kills so often: a moment with what is looked at afterwards and the next run. */
export const TIMEOUT_MS = 120_000 + MOMENTS * 15_000;
/**
 * Whether the next run is waited for after this moment: always, or where there are many moments after each fifth. The others' next run is
 * the one that is killed next.
 */
export const nextIsWaitedFor = (number: number): boolean => MOMENTS < 10 || number % 5 === 0;
const POLL_MS = 10;
/** Nothing that is measured takes longer. */
const LONGEST_MS = 60_000;
const MEASURED_ANEW = 25;
const MOST_TRIES = 5;
/** Of the time that `--help` takes, in which nothing is done yet. */
const LOADING = 0.8;
/** A run is measured so often; the one in the middle counts. */
const MEASURED_RUNS = MOMENTS < MEASURED_ANEW ? 1 : 3;

export interface Killed {
  /** From 1. */
  number: number;
  args: readonly string[];
  after_ms: number;
  /** False: it had ended by itself before; then its code was 0. */
  killed: boolean;
  /** What it had said until then. */
  stdout: string;
}

export interface Killing {
  name: string;
  /** Makes the state that the command finds, and says how it is called. Each time anew. */
  before(number: number): readonly string[] | Promise<readonly string[]>;
  /** Of a command that does not end by itself: how long it is let run. */
  lasts_ms?: number;
  /** Called every few milliseconds while it runs: looks what is committed. */
  during?(): void;
  /** Beside the command, until `stop` is aborted: what makes it work. */
  beside?(stop: AbortSignal): Promise<void>;
  /** What the command is run by, before its own words: `ip netns exec …`. */
  within?: readonly string[];
  /** Throws where something is lost or half; says which state it found. */
  after(killed: Killed): string | Promise<string>;
}

/**
 * Runs the command and ends it by SIGKILL at a moment between its first word and its end, uniformly drawn: every other time the process
 * alone, so that programs it has started go on without it; else all of them, as when the power fails. The moments begin where the program
 * is loaded (most of what its `--help` takes): before that it has done nothing. Returns how often each state was found.
 */
export async function killAtRandomMoments(killing: Killing, moments = MOMENTS, seed = SEED): Promise<Record<string, number>> {
  const random = pseudoRandom(seed);
  let [from_ms, to_ms] = [0, 0];
  const states: Record<string, number> = {};
  let killed = 0;
  let number = 0;
  // What has ended before its moment is looked at, too, and does not count.
  while (killed < moments) {
    number++;
    if (number > MOST_TRIES * moments) throw new Error(`${killing.name}: it ends before it can be killed`);
    // The machine is not always as fast.
    if (number % MEASURED_ANEW === 1) ({ from_ms, to_ms } = await measure(killing));
    const after_ms = from_ms + (random() / 2 ** 32) * (to_ms - from_ms);
    const args = await killing.before(number);
    const ended = await runUntil(killing, args, after_ms, number % 2 === 0);
    const one: Killed = { number, args, after_ms, killed: ended.signal === 'SIGKILL', stdout: ended.stdout };
    const where = `${killing.name}: ${args.join(' ')}: killed after ${after_ms.toFixed(1)} ms, moment ${number}, OT_SENSOR_KILL_SEED=${seed}`;
    if (!one.killed && ended.code !== 0) throw new Error(`${where}: it failed by itself: ${ended.stderr}`);
    try {
      const state = await killing.after(one);
      states[state] = (states[state] ?? 0) + 1;
    } catch (error) {
      throw new Error(`${where}: ${(error as Error).message}`, { cause: error });
    } finally {
      ended.sweep();
    }
    if (one.killed) killed++;
  }
  const found = Object.entries(states).map(([state, count]) => `${count} ${state}`);
  const range = `${from_ms.toFixed(0)} to ${to_ms.toFixed(0)} ms`;
  console.info(
    `${killing.name}: killed at ${killed} moments, at last in ${range} (seed ${seed}); ${number - killed} times it had ended before; ${found.join(', ')}`,
  );
  return states;
}

interface Until {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** Ends what it has left behind. */
  sweep(): void;
}

async function measure(killing: Killing): Promise<{ from_ms: number; to_ms: number }> {
  const help: number[] = [];
  const work: number[] = [];
  for (let i = 0; i < MEASURED_RUNS; i++) {
    const args = await killing.before(0);
    let begun = performance.now();
    await runUntil({ ...killing, during: undefined, beside: undefined }, [...args.slice(0, 2), '--help'], LONGEST_MS, true);
    help.push(performance.now() - begun);
    if (killing.lasts_ms !== undefined) continue;
    begun = performance.now();
    const { code, stderr } = await runUntil(killing, args, LONGEST_MS, true);
    if (code !== 0) throw new Error(`${killing.name}: ${args.join(' ')} does not work when it is let be: ${stderr}`);
    work.push(performance.now() - begun);
  }
  const from_ms = LOADING * Math.min(...help);
  const to_ms = killing.lasts_ms === undefined ? middle(work) : from_ms + killing.lasts_ms;
  return { from_ms: Math.min(from_ms, LOADING * to_ms), to_ms };
}

const middle = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1];

/** `whole`: with all the programs it has started. */
async function runUntil(killing: Killing, args: readonly string[], kill_ms: number, whole: boolean): Promise<Until> {
  const { during, beside, within = [] } = killing;
  const { npm_execpath: _, ...env } = process.env;
  const [program, ...words] = [...within, process.execPath, PROGRAM, ...args];
  const child = spawn(program, words, { detached: true, stdio: ['ignore', 'pipe', 'pipe'], env });
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) child[name].on('data', (bytes: Buffer) => (said[name] += bytes));
  const signal = (pid: number): void => {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // Nobody is left.
    }
  };
  const pid = child.pid ?? 0;
  const stop = new AbortController();
  const working = beside?.(stop.signal);
  const timer = setTimeout(() => signal(whole ? -pid : pid), kill_ms);
  // Its own end, not that of its pipes, which its children may hold.
  const exit = new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (...how) => resolve(how));
  });
  let running = true;
  const looking = (async () => {
    while (running && during !== undefined) {
      during();
      await sleep(POLL_MS);
    }
  })();
  const [code, by] = await exit;
  running = false;
  clearTimeout(timer);
  stop.abort();
  await Promise.all([looking, working]);
  return { code, signal: by, ...said, sweep: () => signal(-pid) };
}

/** The program's next run; it has to work. */
export async function done(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await ot(args);
  if (code !== 0) throw new Error(`the next one does not work: ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** Rows of every table, of a database that is sound. */
export function soundCounts(file: string): Record<string, number> {
  const db = new Database(file);
  try {
    const faults = [
      ...(db.pragma('integrity_check') as { integrity_check: string }[]).map((row) => row.integrity_check),
      ...(db.pragma('foreign_key_check') as unknown[]),
    ];
    if (faults.length !== 1 || faults[0] !== 'ok') throw new Error(`${file} is damaged: ${JSON.stringify(faults)}`);
    return countsIn(db);
  } finally {
    db.close();
  }
}

export function countsIn(db: Database.Database): Record<string, number> {
  const tables = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").pluck().all();
  return Object.fromEntries(
    (tables as string[]).map((table) => [table, db.prepare(`SELECT count(*) FROM ${table}`).pluck().get() as number]),
  );
}

/** A sensor's database as schema 1 left it, with so many rows that a migration takes a while. */
export function makeOldDatabase(data: string, rows: number): void {
  fs.mkdirSync(data, { recursive: true });
  const file = path.join(data, DATABASE_FILE);
  const db = new Database(file);
  migrate(db, file, MIGRATIONS.slice(0, 1));
  const counted = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)';
  db.prepare(
    `${counted} INSERT INTO connections SELECT i, '', 'tcp', 'modbus', 'port', 1, '', '10.0.' || i % 250 || '.1', 2, '', '10.1.' || i % 250 || '.2',
     502, '', 1, 2048, 1, i, i, i, i, i, i, i, 1 FROM n`,
  ).run(rows);
  db.prepare(
    `${counted} INSERT INTO events SELECT i, 1, i, i, 'new_device', NULL, 'a device that was not seen before ' || i, '{}' FROM n`,
  ).run(rows);
  db.exec('UPDATE connections SET opener_device = NULL, responder_device = NULL');
  db.close();
}

/** SQLite's user_version. */
export const schemaOf = (file: string): number => {
  const db = new Database(file, { readonly: true });
  try {
    return db.pragma('user_version', { simple: true }) as number;
  } finally {
    db.close();
  }
};

/** What changes a file system, of node:fs. */
export const FILE_CHANGES = [
  'renameSync',
  'linkSync',
  'symlinkSync',
  'rmSync',
  'openSync',
  'writeFileSync',
  'fsyncSync',
  'copyFileSync',
  'mkdirSync',
  'chmodSync',
] as const;

/**
 * Runs the body of a module in a process of its own that ends itself, as `kill -9` would, before its n-th change to the file system; a call
 * of `kill()` counts as one. It has `fs`, `path`, `built` (imports what was built of `src`) and `request`. True: it did end itself.
 */
export async function killedBeforeChange(n: number, request: unknown, body: string): Promise<boolean> {
  const program = `
    import fs from 'node:fs';
    import path from 'node:path';
    let left = ${n};
    const kill = () => { if (--left === 0) process.kill(process.pid, 'SIGKILL'); };
    for (const name of ${JSON.stringify(FILE_CHANGES)}) {
      const real = fs[name];
      fs[name] = (...args) => { kill(); return real(...args); };
    }
    const request = JSON.parse(process.argv[1], (key, value) => (value?.type === 'Buffer' ? Buffer.from(value.data) : value));
    const built = (file) => import(${JSON.stringify(built('x').href.slice(0, -1))} + file.replace(/ts$/, 'js'));
    ${body}`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program, JSON.stringify(request)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let errors = '';
  child.stderr.on('data', (text) => (errors += text));
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) =>
    child.on('close', (...how) => resolve(how)),
  );
  if (signal !== 'SIGKILL' && code !== 0) throw new Error(errors);
  return signal === 'SIGKILL';
}
