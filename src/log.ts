import { createRequire } from 'node:module';
import type { Logger } from 'pino';
import type { Failure } from './engine/failure.ts';
import { OperatingError } from './errors.ts';

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];
const FORMATS = ['text', 'json'];
const LEVEL = setting('OT_SENSOR_LOG_LEVEL', LEVELS) ?? 'warn';
const FORMAT = setting('OT_SENSOR_LOG_FORMAT', FORMATS) ?? (process.stderr.isTTY ? 'text' : 'json');

/**
 * The sensor's log: what happens beside a command's own answer, such as a dissector that failed on a packet. It goes to standard error:
 * one line of text a message for people at a terminal, pino's JSON, one object a line, where standard error is a file, a pipe or a
 * service's journal. OT_SENSOR_LOG_FORMAT (`text`, `json`) overrides that; OT_SENSOR_LOG_LEVEL (`trace` … `fatal`, `silent`; `warn`
 * where not set) says from which level on. An OperatingError is thrown on import where either is set to something else.
 *
 * What a command was asked for is no log and plain text always: errors that end it, warnings about the files it was given, faults of
 * zone files. No field holds payload, passwords or keys.
 */
export const log = Object.fromEntries(
  LEVELS.filter((level) => level !== 'silent').map((level) => [level, (...message: Message) => write(level as Level, message)]),
) as Record<Level, (...message: Message) => void>;

type Level = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal';
type Message = [fields: object, text: string] | [text: string];

/** Made, and pino loaded, with the first message that is to be written: most commands write none. */
let logger: Logger | null = null;

function write(level: Level, message: Message): void {
  if (LEVELS.indexOf(level) < LEVELS.indexOf(LEVEL)) return;
  logger ??= makeLogger();
  logger[level](...(message as [object, string]));
}

function makeLogger(): Logger {
  const { pino } = createRequire(import.meta.url)('pino') as typeof import('pino');
  return pino(
    {
      level: LEVEL,
      base: { name: 'ot-sensor', pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    FORMAT === 'text'
      ? { write: (line: string) => void process.stderr.write(`${textOf(JSON.parse(line))}\n`) }
      : pino.destination({ dest: 2, sync: true }),
  );
}

function setting(name: string, known: readonly string[]): string | undefined {
  const value = process.env[name];
  if (value === undefined || value === '') return undefined;
  if (known.includes(value)) return value;
  throw new OperatingError('usage', `${name} is "${value}"; it takes ${known.join(', ')}`);
}

/** `ot-sensor: warn: message (field: value, …)`, without what only a collector of logs needs, on one line whatever the values hold. */
export function textOf({ level, time: _time, pid: _pid, name: _name, msg, ...fields }: Record<string, unknown>): string {
  const shown = Object.entries(fields)
    .filter(([field]) => field !== 'stack')
    .map(([field, value]) => `${field}: ${typeof value === 'object' ? JSON.stringify(value) : value}`);
  const text = `ot-sensor: ${level}: ${msg ?? ''}${shown.length > 0 ? ` (${shown.join(', ')})` : ''}`;
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, ' ');
}

/** Failures written to the log in one run; what comes after is counted alone (`dissect.failures`), so that packets cannot fill a disk. */
const MAX_FAILURES = 100;

/** Logs failures, which are defects of ours and never the packet's fault. */
export class FailureLog {
  private logged = 0;

  add(failures: readonly Failure[]): void {
    for (const { dissector, frame, how, error, lost, left_out, gave_up } of failures) {
      // Said whatever has been said before: from here on something is not seen.
      if (left_out)
        log.error({ dissector }, 'a dissector has cost too many threads, and is left out until the sensor is started again');
      if (this.logged === MAX_FAILURES) return;
      this.logged++;
      const fields = { dissector, frame, error: error.split('\n', 1)[0], stack: error };
      const who = dissector === '' ? 'the engine' : 'a dissector';
      if (how === 'threw') log.warn(fields, `${who} failed; please report it`);
      else
        log.error(
          { ...fields, lost },
          `${who} ${how === 'hung' ? 'hung' : 'ended its thread'}, which was replaced; please report it`,
        );
      if (gave_up) log.error({ frame }, 'packets failed one after the other: the rest of their batch was given up');
      if (this.logged === MAX_FAILURES) log.warn({ limit: MAX_FAILURES }, 'further failures are only counted');
    }
  }
}
