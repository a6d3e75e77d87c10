/** A capture file that cannot be read at all: what is wrong and what to do about it, in words for an operator. */
export class CaptureFileError extends Error {
  override readonly name = 'CaptureFileError';
  readonly file: string;
  /** Where in the file, in bytes from its start (of the decompressed data where it is compressed). */
  readonly offset: number | undefined;

  constructor(file: string, message: string, offset?: number, cause?: unknown) {
    super(`${file}: ${message}`, cause === undefined ? undefined : { cause });
    this.file = file;
    this.offset = offset;
  }
}

/** The words for an errno of opening or reading a file. */
export function fileError(file: string, error: unknown): CaptureFileError {
  const code = (error as NodeJS.ErrnoException).code;
  const reason =
    code === 'ENOENT'
      ? 'no such file; check the path'
      : code === 'EACCES' || code === 'EPERM'
        ? 'permission denied; make the file readable for this user'
        : code === 'EISDIR'
          ? 'is a directory; name the capture files in it'
          : code === 'EMFILE' || code === 'ENFILE'
            ? 'too many open files; raise the limit (ulimit -n)'
            : `cannot be read: ${(error as Error).message}`;
  return new CaptureFileError(file, reason, undefined, error);
}
