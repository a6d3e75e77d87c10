/** A defect of ours that a packet brought to light: what was at work, on which packet, and what came of it. */
export interface Failure {
  /** The dissector that was at work; '' where none was: capture to stream, or what is done with rows. */
  dissector: string;
  /** The packet at hand, by its number in the capture. */
  frame: number;
  /** `threw`: caught, its flow is put aside. `died`, `hung`: the thread was replaced, and all its flows begin anew in the middle. */
  how: 'threw' | 'died' | 'hung';
  /** The error with its stack, or what is known instead. */
  error: string;
  /** Packets that had been looked at and whose results went with the thread. */
  lost: number;
  /** The dissector has cost so many threads that it is not used any more, for the rest of the run. */
  left_out?: boolean;
  /** Packets failed one after the other: what was left of the batch was not looked at, so that the next ones are. */
  gave_up?: boolean;
}

/** A thread that makes no progress on a task for so long hangs, where nothing else is said. */
export const HANG_SECONDS = 5;
