import { type StdioOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';

export const CLI = fileURLToPath(new URL('../program/main.js', import.meta.url));

/** What one run of a program cost. */
export interface Cost {
  /** The whole process, from its start to its end. */
  wall_s: number;
  /** Of all its threads, user and system, to a hundredth; NaN where there is no /proc. */
  cpu_s: number;
  /** The most memory it had resident; NaN where there is no /proc. */
  rss_mb: number;
  stdout: string;
}

const POLL_MS = 5;
/** Linux counts processor time for user space in hundredths of a second on every architecture. */
const TICKS_A_SECOND = 100;

/** Runs a program to its end. Rejects where it cannot be started or fails. `stdout` 'ignore' is /dev/null. */
export async function cost(program: string, args: readonly string[], stdout: 'pipe' | 'ignore'): Promise<Cost> {
  const stdio: StdioOptions = ['ignore', stdout, 'pipe'];
  const started = performance.now();
  const child = spawn(program, args, { stdio });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout?.on('data', (chunk) => out.push(chunk));
  child.stderr?.on('data', (chunk) => err.push(chunk));
  let ended = 0;
  child.on('exit', () => {
    ended = performance.now();
  });
  // The high-water mark and the times only grow: what was read last before the end is at most one interval old.
  let last = { cpu_s: Number.NaN, rss_mb: Number.NaN };
  const poll = setInterval(() => {
    last = readProc(child.pid) ?? last;
  }, POLL_MS);
  try {
    const [code] = await once(child, 'close');
    if (code !== 0) throw new Error(`${program} ${args.join(' ')}: exit code ${code}\n${Buffer.concat(err)}`);
  } finally {
    clearInterval(poll);
  }
  return { wall_s: (ended - started) / 1000, ...last, stdout: Buffer.concat(out).toString() };
}

function readProc(pid: number | undefined): { cpu_s: number; rss_mb: number } | null {
  try {
    const kilobytes = /^VmHWM:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    // proc(5): behind the name in brackets, the 12th and 13th are utime and stime.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A process that has ended and is not yet waited for has no memory any more.
    if (kilobytes === undefined) return null;
    return { cpu_s: (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND, rss_mb: Number(kilobytes) / 1024 };
  } catch {
    return null;
  }
}

/** Several runs: the machine has other work, so the best says most of the program, the median of the machine. */
export interface Costs {
  best_s: number;
  median_s: number;
  /** Of the run that needed least. */
  cpu_s: number;
  /** Of the run that needed most. */
  rss_mb: number;
  /** Of each run. */
  stdout: string[];
}

export async function costs(times: number, run: () => Promise<Cost>): Promise<Costs> {
  const all: Cost[] = [];
  for (let i = 0; i < times; i++) all.push(await run());
  return {
    best_s: Math.min(...all.map(({ wall_s }) => wall_s)),
    median_s: median(all.map(({ wall_s }) => wall_s)),
    cpu_s: Math.min(...all.map(({ cpu_s }) => cpu_s)),
    rss_mb: Math.max(...all.map(({ rss_mb }) => rss_mb)),
    stdout: all.map(({ stdout }) => stdout),
  };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
