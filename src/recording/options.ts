import { OperatingError } from '../errors.ts';

export interface RecordingOptions {
  /** `all` packets, or `ot`: those of conversations that a dissector recognised, with their handshakes. */
  mode: 'all' | 'ot';
  directory: string;
  /** No file is larger. */
  file_bytes: number;
  /** All files together are no larger: the oldest go. */
  total_bytes: number;
  /** Files that were written longer ago go; 0: no limit. */
  max_age_hours: number;
  /** Recording stops where the volume has less room than this. */
  min_free_bytes: number;
}

export const RECORDING_DEFAULTS = {
  file_bytes: 64 << 20,
  total_bytes: 10 * 2 ** 30,
  max_age_hours: 0,
  min_free_bytes: 2 ** 30,
} as const satisfies Omit<RecordingOptions, 'mode' | 'directory'>;

/** Must hold a block, the largest packet and the index. */
export const MIN_FILE_BYTES = 1 << 20;
/** Offsets in the index have 32 bits. */
export const MAX_FILE_BYTES = 2 ** 31;

/** Throws OperatingError (`usage`) for values that make no sense together. */
export function checkRecording(options: RecordingOptions): void {
  const { file_bytes, total_bytes, max_age_hours, min_free_bytes } = options;
  const wrong = (what: string) => new OperatingError('usage', `recording: ${what}`);
  if (!(file_bytes >= MIN_FILE_BYTES && file_bytes <= MAX_FILE_BYTES))
    throw wrong(`file_bytes is ${file_bytes}; ${MIN_FILE_BYTES} to ${MAX_FILE_BYTES} are possible`);
  if (!(total_bytes >= 2 * file_bytes)) throw wrong(`total_bytes is ${total_bytes}; it takes room for two files at least`);
  if (!(max_age_hours >= 0)) throw wrong(`max_age_hours is ${max_age_hours}; it takes a number from 0, which is no limit`);
  if (!(min_free_bytes >= 0)) throw wrong(`min_free_bytes is ${min_free_bytes}; it takes a number from 0`);
}
