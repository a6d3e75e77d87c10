/**
 * Operating errors, once: what a person can mend. Everything else that is thrown is a defect and is shown with its stack.
 * The exit code is the same for all: 2, usage or unreadable input.
 */
export const ERRORS = {
  usage: 'the command line is wrong',
  capture_file: 'a capture file cannot be read',
  zone_file: 'a zone file has faults',
  config: 'the settings cannot be used',
  capture: 'live capture is not possible',
  store: 'the database cannot be used',
  output: 'a file cannot be written',
  not_found: 'what was asked for is not there',
  settings: 'managed settings have faults',
  conflict: 'it cannot be done in the present state',
  not_signed_in: 'nobody is signed in, or not with this password',
  not_allowed: 'the role does not permit it',
  locked: 'too many sign-ins failed',
  password_policy: 'the password is too weak',
  signature: 'a signature or a key is wrong',
  archive: 'a backup or an update cannot be read',
  backup: 'a backup cannot be made, or not be restored',
  update: 'an update cannot be installed',
} as const;

export type ErrorCode = keyof typeof ERRORS;

/** `message` says what is wrong and what to do about it. */
export class OperatingError extends Error {
  override readonly name: string = 'OperatingError';
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
