// What the sensor and a process of `cap` tell each other.

/** Before each packet in a chunk, little-endian: bytes kept, bytes that were read, seconds, nanoseconds. */
export const RECORD = { captured: 0, wire: 4, seconds: 8, nanoseconds: 12, bytes: 16 } as const;

export interface CapStart {
  kind: 'open';
  device: string;
  filter: string;
  snap_length: number;
  buffer_bytes: number;
  /** The user to become once the interface is open; '' to stay. */
  user: string;
}
export type ToCap = CapStart | { kind: 'filter'; filter: string } | { kind: 'stop' };
export type FromCap =
  | { kind: 'opened'; link_type: string }
  | { kind: 'refused'; message: string; because_of_filter: boolean }
  | { kind: 'filter'; error: string | null }
  | { kind: 'alive' }
  /** Packets, and how many more had to be thrown away since the last ones because the sensor did not take them. */
  | { kind: 'packets'; count: number; dropped: number; chunk: Buffer }
  | { kind: 'end'; dropped: number };
