import { Pending } from '../../src/dissect/index.ts';
import type { Selections } from './selections.ts';

/** Sequence numbers have 15 bits (IEC 60870-5-104, 5.1). */
const SEQUENCE_SPACE = 0x8000;
const UNKNOWN = -1;
/** Commands that wait for their confirmation or termination; the standard's k allows 12 unconfirmed APDUs by default. */
const MAX_COMMANDS = 32;

/** What a connection must remember: where each direction's numbers are, whether data transfer was started, which commands wait, what is selected. */
export class State {
  /** By direction: the next send sequence number. */
  private readonly next: [number, number] = [UNKNOWN, UNKNOWN];
  /** STARTDT was confirmed, or STOPDT; null where neither was seen. */
  started: boolean | null = null;
  readonly commands = new Pending(MAX_COMMANDS, 1);
  /** null: nothing was selected yet. */
  selections: Selections | null = null;

  /** Bytes were lost, and a select may have been among them. */
  forget(): void {
    this.selections = null;
    this.next.fill(UNKNOWN);
    this.started = null;
  }

  /** Takes an I-format APDU's number; false where it does not follow on the one before. */
  sent(direction: 0 | 1, number: number): boolean {
    const expected = this.next[direction];
    this.next[direction] = (number + 1) % SEQUENCE_SPACE;
    return expected === UNKNOWN || expected === number;
  }

  /** Can all below `number` have arrived, by what the other direction has sent? What it sent may come behind its acknowledgement. */
  canAcknowledge(direction: 0 | 1, number: number): boolean {
    const next = this.next[1 - direction];
    if (next === UNKNOWN) return true;
    const ahead = (number - next + SEQUENCE_SPACE) % SEQUENCE_SPACE;
    return ahead === 0 || ahead > SEQUENCE_SPACE / 2;
  }
}
