import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readProgress } from '../update/progress.ts';
import { Updates } from '../update/requests.ts';
import { makeBundle, root_key, rootKeyText } from '../update/testing.ts';
import { lines, ot, PLANT, remove, temporaryFolder } from './testing.ts';

// As systemd would: the command of the path unit, over a request that the service left. systemctl is a script that remembers what it was asked.

let folder: string;
const at = (...names: string[]): string => path.join(folder, ...names);
beforeAll(async () => {
  folder = temporaryFolder();
  const { code } = await ot(['replay', PLANT, '--data', at('data')]);
  expect(code).toBe(0);
  fs.writeFileSync(at('sensor.yaml'), `data: ${at('data')}\n`);
  fs.writeFileSync(at('root.pub'), rootKeyText());
  fs.mkdirSync(at('bin'));
  const show = `[ "$1" != show ] || { echo ActiveState=active; echo "MainPID=$(cat '${at('pid')}')"; [ ! -e '${at('dies')}' ] || echo "$$" >'${at('pid')}'; }`;
  fs.writeFileSync(at('bin/systemctl'), `#!/bin/sh\n[ "$1" = show ] || echo "$*" >>'${at('asked')}'\n${show}\n`, { mode: 0o755 });
  fs.writeFileSync(at('pid'), '7\n');
});
afterAll(() => remove(folder));

const updates = () =>
  new Updates({ directory: at('data'), root: at('opt'), root_keys: () => [root_key], program_version: '0.1.0' });
const requested = () => {
  const args = ['--config', at('sensor.yaml'), '--root', at('opt'), '--root-key', at('root.pub'), '--service', 'ot-sensor-api'];
  return ot(['update', 'requested', ...args], { env: { PATH: `${at('bin')}:${process.env.PATH}` } });
};
const ask = async (version: string) => {
  const service = updates();
  await service.stage(fs.createReadStream(await makeBundle(folder, version)));
  await service.ask('apply');
};
const status = async () => (await ot(['update', 'status', '--root', at('opt')])).stdout;

test('installs what was asked for, says so in the status, and writes each step to the audit log', async () => {
  await ask('1.0.0');
  const { code, stdout, stderr } = await requested();
  expect([code, stdout], stderr).toEqual([0, 'apply: done\n']);
  expect(fs.readFileSync(at('asked'), 'utf8')).toBe('stop ot-sensor-api\nstart ot-sensor-api\n');
  expect(await status()).toMatch(/^software: 1\.0\.0\n[\s\S]*^apply of software 1\.0\.0, asked for over the API: done 2/m);
  const audit = lines<{ action: string }>((await ot(['audit', 'list', '--data', at('data'), '--format', 'jsonl'])).stdout);
  expect(audit.map(({ action }) => action)).toContain('update.done');
  expect((await requested()).stdout).toBe('nothing was asked for\n');
});

test('a program whose service does not stay up is taken back', async () => {
  await ask('1.1.0');
  fs.writeFileSync(at('dies'), '');
  const { code, stderr } = await requested();
  expect([code, stderr]).toEqual([2, expect.stringMatching(/ot-sensor-api does not stay up with it[\s\S]*rollback: done/)]);
  fs.rmSync(at('dies'));
  expect(await status()).toMatch(/^software: 1\.0\.0\n[\s\S]*failed 2.*does not stay up/m);
  expect(updates().staged()).toMatchObject({ version: '1.1.0' });
});

test('is confirmed by a command, after which it is not undone over the API', async () => {
  await updates().ask('apply');
  expect((await requested()).code).toBe(0);
  expect(await status()).toMatch(/software 1\.1\.0 is to be confirmed or undone/);
  const confirm = () => ot(['update', 'confirm', '--root', at('opt')]);
  expect((await confirm()).stdout).toMatch(/^software 1\.1\.0 stays/);
  expect((await confirm()).code).toBe(2);
  await expect(updates().ask('undo')).rejects.toThrow(/no update waits/);
  expect(readProgress(at('opt'))?.unconfirmed).toBe(null);
});
