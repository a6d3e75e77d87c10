import { once } from 'node:events';
import type { Writable } from 'node:stream';

/** Standard output with back-pressure: waits for a slow reader, and ends quietly when the reader has gone. */
export class Output {
  private readonly stream: Writable;

  constructor(stream: Writable) {
    this.stream = stream;
    stream.on('error', (error: NodeJS.ErrnoException) => {
      // The reader of the pipe (head, say) has enough.
      if (error.code === 'EPIPE') process.exit(0);
      throw error;
    });
  }

  async write(bytes: Uint8Array | string): Promise<void> {
    if (bytes.length > 0 && !this.stream.write(bytes)) await once(this.stream, 'drain');
  }
}
