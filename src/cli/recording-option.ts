import { join } from 'node:path';
import { Option } from 'commander';

/** Where a recording lies unless told otherwise: with the database. */
export const recordingDirectory = (data: string, recording: string | undefined): string => recording ?? join(data, 'recording');

export const recordingOption = () =>
  new Option('--recording <dir>', 'directory of the recording; left out: recording in that of the database');
