import os from 'node:os';
import { type ErrorCode, OperatingError } from '../errors.ts';
import { StoreError, type StoreErrorCode } from '../store/errors.ts';
import { type BackupProgress, type BackupRequest, type BackupResult, createBackup } from './create.ts';
import { type VerifyRequest, type VerifyResult, verifyBackup } from './verify.ts';

// The program of the process that makes and checks backups for the service: `runner.ts` starts it.

export type BackupJob = { do: 'create'; request: BackupRequest } | { do: 'verify'; request: VerifyRequest };
export type BackupMessage =
  | { progress: BackupProgress }
  | { result: BackupResult | VerifyResult }
  | {
      error:
        | { kind: 'operating'; code: ErrorCode; message: string }
        | { kind: 'store'; code: StoreErrorCode; message: string }
        | { kind: 'other'; message: string };
    };

/** Behind the sensor and the API, whatever there is to do. */
const NICENESS = 10;
const PROGRESS_MS = 250;

try {
  os.setPriority(NICENESS);
} catch {
  // The service may not be allowed to; the work is the same.
}
process.once('message', (job: BackupJob) => void work(job));
// Whoever asked is gone: nobody would hear of it. What was begun is swept away by the next.
process.once('disconnect', () => process.exit(1));

async function work(job: BackupJob): Promise<void> {
  let told = 0;
  const tell = (progress: BackupProgress) => {
    const now = performance.now();
    if (now - told < PROGRESS_MS) return;
    told = now;
    process.send?.({ progress } satisfies BackupMessage);
  };
  let message: BackupMessage;
  try {
    const result =
      job.do === 'create'
        ? await createBackup(job.request, tell)
        : await verifyBackup(job.request, (done, total) => tell({ step: 'pack', done, total }));
    message = { result };
  } catch (error) {
    message = { error: asData(error) };
  }
  process.send?.(message, () => process.exit(0));
}

function asData(error: unknown): Extract<BackupMessage, { error: unknown }>['error'] {
  if (error instanceof OperatingError) return { kind: 'operating', code: error.code, message: error.message };
  if (error instanceof StoreError) return { kind: 'store', code: error.code, message: error.message };
  return { kind: 'other', message: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}
