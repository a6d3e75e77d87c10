import type { BatchWriter } from './batch.ts';
import type { ByteInput } from './byte-input.ts';
import { RingWindow } from './ring-window.ts';
import type { PacketSource, SourceWarning } from './source.ts';

/** What the readers of capture files share: the window in the ring, the end of the file and what is said about it. */
export abstract class WindowedSource implements PacketSource {
  readonly name: string;
  readonly warnings: SourceWarning[] = [];
  protected readonly window: RingWindow;
  protected ended = false;
  /** Packets of which the captured length was above the length on the wire; the latter is raised to it. */
  protected longer_than_wire = 0;
  private readonly input: ByteInput;

  /** `taken` bytes of the input have been read by others. `read_bytes`: see RingWindow. */
  constructor(name: string, input: ByteInput, taken: number, read_bytes?: number) {
    this.name = name;
    this.input = input;
    this.window = new RingWindow(input, taken, read_bytes);
  }

  get bytes_read(): number {
    return this.input.bytes_read;
  }
  get bytes_total(): number | null {
    return this.input.bytes_total;
  }

  fill(batch: BatchWriter): number | null | Promise<number | null> {
    while (!this.ended) {
      const n = this.window.refill(batch, batch.start);
      if (typeof n !== 'number') return this.fillLater(batch, n);
      this.parse(batch, n);
      if (batch.count > 0) return this.used(batch);
    }
    return null;
  }

  private async fillLater(batch: BatchWriter, reading: Promise<number>): Promise<number | null> {
    this.parse(batch, await reading);
    return batch.count > 0 ? this.used(batch) : this.fill(batch);
  }

  private parse(batch: BatchWriter, read: number): void {
    if (this.ended) return;
    this.index(batch);
    // A full batch leaves whole records behind, which are no reason to speak of the end.
    if (read === 0 && !batch.full && !this.ended) {
      const { fault } = this.input;
      const reason = fault === null ? '' : ` (${fault})`;
      const cut = this.cutShort(this.window.end - this.window.at);
      if (cut !== null) this.warn(`${cut.message}${reason}; what was read before is kept`, cut.offset);
      else if (fault !== null) this.warn(`ended early${reason}; what was read before is kept`, this.window.offset);
      this.finish();
    }
  }

  close(): void {
    this.ended = true;
    this.input.close();
  }

  /** Adds to the batch what is whole in the window, as much as the batch takes, and moves `window.at` behind it. */
  protected abstract index(batch: BatchWriter): void;
  /** Bytes of the ring from `batch.start` that the packets of this batch take. */
  protected abstract used(batch: BatchWriter): number;
  /** The input has ended with `have` bytes in the window: what is cut short, null where nothing is. */
  protected abstract cutShort(have: number): { message: string; offset: number } | null;

  /** The bytes at `window.at` cannot be what they claim to be. */
  protected distrust(message: string, offset = this.window.offset): void {
    this.warn(`${message}; what was read before is kept, nothing after it can be trusted`, offset);
    this.finish();
  }

  protected finish(): void {
    if (this.longer_than_wire > 0) {
      this.warn(`${this.longer_than_wire} packets claim more captured bytes than there were on the wire; taken as captured`);
    }
    this.close();
  }

  protected warn(message: string, offset?: number): SourceWarning {
    const warning: SourceWarning = { source: this.name, message };
    if (offset !== undefined) warning.offset = offset;
    this.warnings.push(warning);
    return warning;
  }
}
