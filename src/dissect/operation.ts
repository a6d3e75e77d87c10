/** What a PDU does, in one vocabulary for all protocols: zone rules, activities and baselines are written in it. */
export const Operation = {
  other: 0,
  read: 1,
  write: 2,
  control: 3,
  program_download: 4,
  program_upload: 5,
  firmware: 6,
  mode_change: 7,
  restart: 8,
  stop: 9,
  start: 10,
  authenticate: 11,
  configure: 12,
  file: 13,
  time_sync: 14,
  identify: 15,
  discover: 16,
  diagnostics: 17,
  subscribe: 18,
  report: 19,
  session: 20,
  error: 21,
} as const;

export type OperationName = keyof typeof Operation;
export type OperationCode = (typeof Operation)[OperationName];

export const OPERATION_NAMES = Object.keys(Operation) as OperationName[];

/** The sender's part in the conversation. */
export const Role = { unknown: 0, client: 1, server: 2 } as const;
export type RoleCode = (typeof Role)[keyof typeof Role];
export const ROLE_NAMES = ['unknown', 'client', 'server'] as const;

/** Three kinds of wrong are kept apart; the third, the named anomalies, is a mask of its own. */
export const Status = {
  ok: 0,
  /** The capture did not show all of it (snap length, gap). */
  truncated: 1,
  /** It breaks its specification; the row holds what came before. */
  malformed: 2,
} as const;
export type StatusCode = (typeof Status)[keyof typeof Status];
export const STATUS_NAMES = ['ok', 'truncated', 'malformed'] as const;
