/** For tests of the command line: the program as it was built, run as its user runs it. */
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Where the build is: `npm test` makes it; OT_SENSOR_DIST names another one. */
export const DIST = path.resolve(ROOT, process.env.OT_SENSOR_DIST ?? 'dist');
export const PROGRAM = path.join(DIST, 'program/main.js');
export const fixture = (name: string): string => path.join(ROOT, 'fixtures', name);
export const PLANT = fixture('plant.pcap');
export const ZONES = fixture('plant.zones.yaml');

export interface Ended {
  /** The exit code; null where a signal ended it. */
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  cwd?: string;
  env?: Record<string, string>;
  /** What comes in through standard input; nothing where left out. */
  input?: Buffer | string;
  /** For what is to be done while it runs. */
  started?: (child: ChildProcess) => void;
}

export const ot = (args: readonly string[], options: RunOptions = {}): Promise<Ended> =>
  execute(process.execPath, [PROGRAM, ...args], options);

/** A line of shell in which `ot-sensor` is the program. */
export const shell = (line: string, options: RunOptions = {}): Promise<Ended> =>
  execute('bash', ['-o', 'pipefail', '-c', `ot-sensor() { '${process.execPath}' '${PROGRAM}' "$@"; }; ${line}`], options);

export function execute(program: string, args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const { cwd, input, started } = options;
  // What the tests run under must not change what is tested.
  const { npm_execpath: _, OT_SENSOR_LOG_LEVEL: _level, OT_SENSOR_LOG_FORMAT: _format, ...inherited } = process.env;
  const child = spawn(program, args, { cwd, env: { ...inherited, ...options.env }, stdio: 'pipe' });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (bytes: Buffer) => stdout.push(bytes));
  child.stderr.on('data', (bytes: Buffer) => stderr.push(bytes));
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  started?.(child);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) =>
      resolve({ code, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() }),
    );
  });
}

export const temporaryFolder = (): string => fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-cli-'));
export const remove = (folder: string): void => fs.rmSync(folder, { recursive: true, force: true });

/** JSON Lines as objects. */
export const lines = <T = Record<string, unknown>>(text: string): T[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T);
