import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lines, ot, PLANT, remove, temporaryFolder, ZONES } from './testing.ts';

let folder: string;
let data: string;
beforeEach(() => {
  folder = temporaryFolder();
  data = path.join(folder, 'data');
});
afterEach(() => remove(folder));

const forward = (...args: string[]) => ot(['forward', ...args, '--data', data]);

const SETTINGS = {
  sensor_name: 'sensor-1',
  destinations: [
    { name: 'lines', type: 'file' },
    { name: 'hook', type: 'webhook', url: 'http://127.0.0.1:1/', signing_key: 'the secret', enabled: false },
  ],
  rules: [{ name: 'all', destinations: ['lines', 'hook'] }],
};

async function set(settings: object = SETTINGS): Promise<void> {
  const file = path.join(folder, 'forwarding.json');
  fs.writeFileSync(file, JSON.stringify(settings));
  expect(await forward('set', file)).toEqual({
    code: 0,
    stdout: expect.stringMatching(/^the settings "forwarding" are now at version \d\n$/),
    stderr: '',
  });
}

describe('forward', () => {
  it('sets and shows the settings, never a secret, which stays when it is written back', async () => {
    await set();
    const { stdout } = await forward('show');
    expect(stdout).not.toMatch(/the secret/);
    expect(JSON.parse(stdout)).toMatchObject({
      sensor_name: 'sensor-1',
      queue_limit: 100_000,
      destinations: [{ name: 'lines' }, { signing_key: '(set)' }],
    });
    expect((await ot(['forward', 'set', '-', '--data', data], { input: stdout })).code).toBe(0);
    expect(JSON.parse((await forward('show')).stdout)).toMatchObject({ destinations: [{}, { signing_key: '(set)' }] });
  });

  it('lists destinations with their rules, as table and JSON Lines', async () => {
    await set();
    expect((await forward('list')).stdout).toMatch(
      /^name +type +enabled +where +rules\nlines +file +yes +forward\/forwarded\.jsonl +all\nhook +webhook +no +http:\S+ +all\n$/,
    );
    expect(lines((await forward('list', '--format', 'jsonl')).stdout)).toMatchObject([
      { name: 'lines', rules: 'all' },
      { name: 'hook' },
    ]);
    expect((await forward('list')).code).toBe(0);
  });

  it('tests a destination, and says what came of it', async () => {
    await set();
    expect(await forward('test', 'lines')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^lines: taken: 1 lines written to /),
    });
    expect(lines(fs.readFileSync(path.join(data, 'forward/forwarded.jsonl'), 'utf8'))).toMatchObject([
      { what: 'test', sensor: 'sensor-1', title: 'Test message', sensor_version: expect.stringMatching(/^\d+\.\d+/) },
    ]);
    expect(await forward('test', 'hook')).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/^hook: not taken: .*nothing listens there/),
    });
    expect(await forward('test', 'nobody')).toMatchObject({
      code: 2,
      stderr: 'ot-sensor: there is no destination "nobody"; there are: lines, hook\n',
    });
  });

  it('tells how destinations fare; a new one begins behind what is there', async () => {
    expect((await ot(['replay', PLANT, '--zones', ZONES, '--data', data])).code).toBe(0);
    await set();
    const rows = lines<{ name: string; state: string; cursor: { alerts: number } }>(
      (await forward('status', '--format', 'jsonl')).stdout,
    );
    expect(rows).toMatchObject([
      { name: 'lines', state: 'idle', sent: 0 },
      { name: 'hook', state: 'off' },
    ]);
    expect(rows[0].cursor.alerts).toBeGreaterThan(3);
    expect((await forward('status')).stdout).toMatch(/^name +type +state +waiting +sent +dropped +last_success +last_error\n/);
  });

  it('refuses settings with faults, and stores nothing', async () => {
    const file = path.join(folder, 'wrong.json');
    fs.writeFileSync(file, '{"rules":[{"name":"r","destinations":["x"]}]}');
    expect(await forward('set', file)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/\/rules\/0\/destinations\/0: there is no destination "x"/),
    });
    fs.writeFileSync(file, '{');
    expect(await forward('set', file)).toMatchObject({ code: 2, stderr: expect.stringMatching(/is not JSON/) });
    expect(await forward('set', path.join(folder, 'none'))).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/no such file/),
    });
    expect((await forward('list')).stdout).toBe('nothing found\n');
  });
});
