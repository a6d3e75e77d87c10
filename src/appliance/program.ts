import { spawn } from 'node:child_process';
import { OperatingError } from '../errors.ts';

const MAX_OUTPUT = 16 << 20;

export interface ProgramResult {
  code: number;
  stdout: string;
  stderr: string;
}

/** Our own program, run with a command of its own in a process of its own: what it does can neither hold us up nor take us along. */
export type RunProgram = (args: readonly string[], signal?: AbortSignal) => Promise<ProgramResult>;

/** `main`: the file that node runs. What it says beyond 16 MiB ends it. Throws OperatingError where it cannot be run. */
export const programOf =
  (main: string): RunProgram =>
  (args, signal) =>
    new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'pipe'], signal });
      const said = { stdout: '', stderr: '' };
      for (const name of ['stdout', 'stderr'] as const) {
        child[name].setEncoding('utf8');
        child[name].on('data', (text: string) => {
          said[name] += text;
          if (said[name].length > MAX_OUTPUT) child.kill('SIGKILL');
        });
      }
      child.on('error', (error) => reject(new OperatingError('usage', `ot-sensor ${args[0]} did not run: ${error.message}`)));
      child.on('close', (code) => resolve({ code: code ?? -1, ...said }));
    });
