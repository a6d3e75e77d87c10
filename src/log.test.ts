import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { DIST, execute, lines } from './cli/testing.ts';
import { textOf } from './log.ts';

/** What a program that uses the log writes to a standard error that is no terminal. */
async function logged(code: string, env: Record<string, string> = {}): Promise<string> {
  const file = pathToFileURL(path.join(DIST, 'src/log.js')).href;
  const program = `const { log, FailureLog } = await import(${JSON.stringify(file)});\n${code}`;
  const { stdout, stderr } = await execute(process.execPath, ['--input-type=module', '-e', program], { env });
  expect(stdout).toBe('');
  return stderr;
}

const FAILURE = `new FailureLog().add([{ dissector: 'modbus', frame: 7, how: 'threw', lost: 0,
  error: 'RangeError: out of bounds\\n    at dissect (modbus.js:1:1)' }]);`;

describe('log', () => {
  it('is JSON where nobody watches, with what is to be searched by in fields', async () => {
    const [line, ...others] = lines(await logged(FAILURE));
    expect(others).toEqual([]);
    expect(line).toMatchObject({
      level: 'warn',
      name: 'ot-sensor',
      dissector: 'modbus',
      frame: 7,
      error: 'RangeError: out of bounds',
      msg: 'a dissector failed; please report it',
    });
    expect(line.stack).toMatch(/modbus\.js/);
    expect(line.time).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
  });

  it('is a line of text where it is wanted', async () => {
    const text =
      'ot-sensor: warn: a dissector failed; please report it (dissector: modbus, frame: 7, error: RangeError: out of bounds)\n';
    expect(await logged(FAILURE, { OT_SENSOR_LOG_FORMAT: 'text' })).toBe(text);
  });

  it('holds to its level', async () => {
    const all = `for (const level of ['debug', 'info', 'warn', 'error']) log[level](level);`;
    const levels = async (env: Record<string, string>) => lines(await logged(all, env)).map((line) => line.level);
    expect(await levels({})).toEqual(['warn', 'error']);
    expect(await levels({ OT_SENSOR_LOG_LEVEL: 'debug' })).toEqual(['debug', 'info', 'warn', 'error']);
    expect(await levels({ OT_SENSOR_LOG_LEVEL: 'silent' })).toEqual([]);
  });

  it('does not grow with packets that make a dissector fail', async () => {
    const flood = `const failures = new FailureLog();
      for (let frame = 1; frame <= 5000; frame++) failures.add([{ dissector: 's7comm', frame, how: 'threw', error: 'Error: x', lost: 0 }]);`;
    const written = lines(await logged(flood));
    expect(written).toHaveLength(101);
    expect(written.at(-1)).toMatchObject({ limit: 100, msg: 'further failures are only counted' });
  });
});

describe('textOf', () => {
  it('stays on its line, and does not steer the terminal', () => {
    expect(textOf({ level: 'warn', time: 1, pid: 2, name: 'ot-sensor', msg: 'a\nb', file: '\u001b[2Jx\u009b', n: [1] })).toBe(
      'ot-sensor: warn: a b (file:  [2Jx , n: [1])',
    );
    expect(textOf({ level: 'info', msg: 'alone' })).toBe('ot-sensor: info: alone');
  });
});
