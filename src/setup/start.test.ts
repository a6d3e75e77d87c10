import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DIST, execute, PLANT, ROOT, remove, temporaryFolder } from '../cli/testing.ts';

let folder: string;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => remove(folder));

/** Only where `npm test` has set this checkout up: with another build, preparing would make this one's. */
const here = DIST === path.join(ROOT, 'dist');
if (!here) console.warn('SKIPPED: npm start is tested only with the build of this checkout');

const start = (...args: string[]) =>
  execute(process.execPath, [path.join(ROOT, 'src/setup/start.mjs'), ...args], { cwd: ROOT, env: { INIT_CWD: folder } });

describe.skipIf(!here)('npm start', () => {
  it('replays the plant capture under its zone policy', async () => {
    const { code, stdout } = await start('--exit', '--data', 'plant');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^1,006 packets in /);
    expect(stdout).toMatch(/\nZone crossings: 4\n/);
  });

  it('then serves the API on loopback, says how to ask it, and ends with Ctrl-C', async () => {
    let answer: Promise<Response> | undefined;
    const { code, stdout } = await execute(process.execPath, [path.join(ROOT, 'src/setup/start.mjs'), '--data', 'served'], {
      cwd: ROOT,
      env: { INIT_CWD: folder },
      started: (child) => {
        let said = '';
        child.stdout!.on('data', (bytes: Buffer) => {
          said += bytes;
          const url = /The API is at (\S+),/.exec(said)?.[1];
          if (url === undefined || answer !== undefined || !said.includes('Ctrl-C')) return;
          const password = fs.readFileSync(path.join(folder, 'served/first-password'), 'utf8').trim();
          const request = { method: 'POST', headers: { 'content-type': 'application/json' } };
          answer = fetch(`${url}/api/v3/session`, { ...request, body: JSON.stringify({ name: 'admin', password }) });
          void answer.finally(() => child.kill('SIGINT'));
        });
      },
    });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^1,006 packets in /);
    expect((await answer)?.status).toBe(201);
  });

  it("replays the user's own captures, from the folder the user stands in", async () => {
    const { code, stdout } = await start(path.relative(folder, PLANT), '--data=own', '--exit');
    expect(code).toBe(0);
    expect(stdout).toMatch(/\nZone crossings: no zone policy was given/);
  });

  it('does not take the value of an option for a capture', async () => {
    const { stdout } = await start('--shards', '2', '--data', 'two', '--format', 'jsonl');
    expect(JSON.parse(stdout)).toMatchObject({ packets: 1006 });
  });

  it('ends with the exit code of the command', async () => {
    expect((await start('missing.pcap', '--data', 'missing')).code).toBe(2);
    expect((await start('--bogus')).code).toBe(2);
    expect((await start('--serve', '--exit')).code).toBe(2);
  });

  it('is found by npx, which asks no registry', async () => {
    const offline = { npm_config_registry: 'http://127.0.0.1:9/', npm_config_offline: 'true' };
    const { code, stdout, stderr } = await execute('npx', ['ot-sensor', '--version'], { cwd: ROOT, env: offline });
    expect({ code, stdout }, stderr).toMatchObject({ code: 0 });
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});
