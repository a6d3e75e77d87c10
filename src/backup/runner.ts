import { fork } from 'node:child_process';
import { OperatingError } from '../errors.ts';
import { StoreError } from '../store/errors.ts';
import type { BackupJob, BackupMessage } from './backup-process.ts';
import type { BackupProgress, BackupRequest, BackupResult } from './create.ts';
import type { VerifyRequest, VerifyResult } from './verify.ts';

/**
 * Backups are made in a process of their own: copying and packing gigabytes holds up neither the API nor anybody's memory, gives way to
 * the sensor, and ends with nothing lost however it ends.
 */
export interface RunOptions {
  /** Ends it; what was begun is swept away. */
  signal?: AbortSignal;
  onProgress?: (progress: BackupProgress) => void;
  /** The program of the process. */
  program?: URL;
}

const PROGRAM = new URL('./backup-process.js', import.meta.url);

export const runCreate = (request: BackupRequest, options: RunOptions = {}): Promise<BackupResult> =>
  run({ do: 'create', request }, options) as Promise<BackupResult>;

export const runVerify = (request: VerifyRequest, options: RunOptions = {}): Promise<VerifyResult> =>
  run({ do: 'verify', request }, options) as Promise<VerifyResult>;

function run(job: BackupJob, { signal, onProgress, program = PROGRAM }: RunOptions): Promise<BackupResult | VerifyResult> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(new OperatingError('backup', 'it was cancelled'));
    const child = fork(program, { execArgv: [], stdio: ['ignore', 'ignore', 'ignore', 'ipc'], serialization: 'advanced' });
    const cancel = () => child.kill('SIGKILL');
    signal?.addEventListener('abort', cancel, { once: true });
    let answer: BackupMessage | null = null;
    child.on('message', (message: BackupMessage) => {
      if ('progress' in message) onProgress?.(message.progress);
      else answer = message;
    });
    child.on('error', reject);
    child.on('exit', (code, ended_by) => {
      signal?.removeEventListener('abort', cancel);
      if (answer === null) {
        const how = signal?.aborted ? 'it was cancelled' : `its process ended (${ended_by ?? `exit code ${code}`})`;
        reject(new OperatingError('backup', how));
      } else if ('result' in answer) resolve(answer.result);
      else if ('error' in answer) reject(asError(answer.error));
    });
    child.send(job);
  });
}

function asError(error: Extract<BackupMessage, { error: unknown }>['error']): Error {
  if (error.kind === 'operating') return new OperatingError(error.code, error.message);
  if (error.kind === 'store') return StoreError.from(error);
  return new Error(error.message);
}
