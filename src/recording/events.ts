import type { RecordingState } from './recording.ts';

/** What the recorder has to say to the operator, in `events` too. */
export const RECORDING_EVENTS: Readonly<Record<RecordingState['state'], { kind: string; title: string }>> = {
  stopped: { kind: 'recording_stopped', title: 'Recording has stopped' },
  recording: { kind: 'recording_resumed', title: 'Recording goes on' },
  limited: { kind: 'recording_limited', title: 'Recording keeps less than it was told to' },
};
