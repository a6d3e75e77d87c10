import type { Writable } from 'node:stream';
import { EXIT_FAILURE } from './failure.ts';

/** Standard output with back-pressure: waits for a slow reader, and no longer needs the bytes then. Its errors are `guardOutput`'s. */
export class Output {
  private readonly stream: Writable;

  constructor(stream: Writable) {
    this.stream = stream;
  }

  write(bytes: Uint8Array | string): Promise<void> {
    return bytes.length === 0 ? Promise.resolve() : new Promise((resolve) => this.stream.write(bytes, () => resolve()));
  }
}

/** Ends the process quietly where the reader of standard output (head, say) has enough, and says it where it cannot be written. */
export function guardOutput(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(process.exitCode ?? 0);
    process.stderr.write(`ot-sensor: standard output cannot be written: ${error.message}\n`);
    process.exit(EXIT_FAILURE);
  });
  // Where nobody reads the warnings, the work goes on.
  process.stderr.on('error', () => {});
}
