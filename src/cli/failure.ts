import { CaptureFileError } from '../capture/errors.ts';
import { OperatingError } from '../errors.ts';
import { PolicyError } from '../policy/policy-error.ts';
import { StoreError } from '../store/errors.ts';
import { faultText } from '../yaml/fault.ts';

export const EXIT_FINDINGS = 1;
export const EXIT_FAILURE = 2;
/** As a shell says it of a program that SIGINT (2) ended. */
export const EXIT_INTERRUPTED = 130;

/** Says what went wrong on standard error, and sets the exit code. A defect of ours shows its stack. */
export function reportError(error: unknown): void {
  process.exitCode = EXIT_FAILURE;
  if (error instanceof PolicyError) {
    for (const fault of error.faults) process.stderr.write(`${faultText(fault)}\n`);
  } else if (error instanceof StoreError) {
    process.stderr.write(`ot-sensor: ${error.message}\n${error.what_to_do}\n`);
  } else if (error instanceof OperatingError || error instanceof CaptureFileError) {
    process.stderr.write(`ot-sensor: ${error.message}\n`);
  } else if (isSystemError(error)) {
    process.stderr.write(`ot-sensor: ${error.message}\n`);
  } else {
    process.stderr.write(
      `ot-sensor: internal error, please report it: ${error instanceof Error ? error.stack : String(error)}\n`,
    );
  }
}

/** The words for an errno of opening, reading or writing a file. */
export function fileReason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return REASONS[code ?? ''] ?? message;
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or folder',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EISDIR: 'is a folder',
  ENOTDIR: 'a part of its path is no folder',
  EROFS: 'the file system is read-only',
  ENOSPC: 'no space is left',
};

const isSystemError = (error: unknown): error is NodeJS.ErrnoException =>
  error instanceof Error && typeof (error as NodeJS.ErrnoException).syscall === 'string';
