import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lines, ot, PLANT, remove, temporaryFolder } from './testing.ts';

let folder: string;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => remove(folder));

const at = (...names: string[]): string => path.join(folder, ...names);
const run = async (...args: string[]): Promise<string> => {
  const { code, stdout, stderr } = await ot(args, { cwd: folder });
  if (code !== 0) throw new Error(stderr);
  return stdout;
};

describe('updates, from the key to the way back', () => {
  const end = ['--root', 'opt', '--root-key', 'root.pub'];
  const apply = (version: string) => run('update', 'apply', `${version}.bundle`, ...end, '--data', 'data');

  /** A release whose program says its version and takes every other command. */
  async function release(
    version: string,
    program = `process.stdout.write(process.argv.includes('--version') ? '${version}\\n' : '')`,
  ): Promise<void> {
    fs.mkdirSync(at('release', version, 'dist/program'), { recursive: true });
    fs.writeFileSync(at('release', version, 'dist/program/main.js'), program);
    await run('update', 'build', `release/${version}`, '--set-version', version, '--out', `${version}.bundle`);
    await run(
      'update',
      'sign',
      `${version}.bundle`,
      '--secret-key',
      'signing.key',
      '--public-key',
      'signing.pub',
      '--password-file',
      'password',
    );
  }

  test('keys are made, one vouches for the other', async () => {
    fs.writeFileSync(at('password'), 'a password\n');
    expect(await run('update', 'make-key', 'root')).toMatch(/root\.key, root\.pub: key [0-9A-F]{16}/);
    await run('update', 'make-key', 'signing', '--password-file', 'password');
    expect(fs.statSync(at('signing.key')).mode & 0o777).toBe(0o600);
    const validity = ['--from', '2020-01-01', '--to', '2099-01-01'];
    expect(await run('update', 'certify-key', 'signing.pub', '--root-secret-key', 'root.key', ...validity)).toMatch(
      /from 2020-.* to 2099-/,
    );
  });

  test('a bundle is verified, installed, and gone back from', async () => {
    await run('replay', PLANT, '--data', 'data');
    await release('1.0.0');
    expect(await run('update', 'verify', '1.0.0.bundle', ...end)).toMatch(/software 1\.0\.0 .* may be installed here/);
    await apply('1.0.0');
    await release('1.1.0');
    await apply('1.1.0');
    expect(await run('update', 'status', '--root', 'opt')).toMatch(/software: 1\.1\.0; before it 1\.0\.0/);
    expect(lines(await run('backup', 'list', '--data', 'data', '--format', 'jsonl'))).toHaveLength(2);
    expect(await run('update', 'rollback', '--root', 'opt')).toMatch(/software: 1\.0\.0$/m);
    expect(await run('update', 'recover', '--root', 'opt')).toBe('');
    expect(lines(await run('devices', '--data', 'data', '--format', 'jsonl')).length).toBeGreaterThan(0);
  });

  test('a program that does not work is taken back, and it is said why', async () => {
    await release('2.0.0', "throw new Error('no such module')");
    await expect(apply('2.0.0')).rejects.toThrow(/preflight: failed/);
    await release('2.0.1', "process.stdout.write('2.0.0')");
    await expect(apply('2.0.1')).rejects.toThrow(/check: failed[\s\S]*rollback: done[\s\S]*and not 2\.0\.1/);
    expect(await run('update', 'status', '--root', 'opt')).toMatch(/software: 1\.0\.0/);
  });

  test('without the root key nothing is installed', async () => {
    const { code, stderr } = await ot(['update', 'verify', '1.1.0.bundle', '--root', 'opt'], { cwd: folder });
    expect([code, stderr]).toEqual([2, expect.stringMatching(/no root key for updates is installed/)]);
  });
});

describe('backups', () => {
  test('are made, listed, checked, opened and restored', async () => {
    const data = ['--data', 'plant'];
    await run('replay', PLANT, ...data);
    const [file] = (await run('backup', 'create', ...data, '--config', '')).split(': ');
    const audit = lines<{ action: string }>(await run('audit', 'list', ...data, '--format', 'jsonl'));
    expect(audit.map(({ action }) => action)).toEqual(['backup.create', 'backup.backup']);
    const rows = lines<{ file: string }>(await run('backup', 'list', ...data, '--format', 'jsonl'));
    expect(rows.map((row) => path.resolve(folder, row.file))).toEqual([file]);
    expect(await run('backup', 'verify', file, ...data)).toMatch(/restores; .* rows, signed with [0-9A-F]{16}$/m);
    expect(await run('backup', 'open', file, ...data, '--out', 'opened')).toMatch(/opened\/ot-sensor\.db/);
    const before = await run('devices', ...data, '--format', 'jsonl');
    expect(await run('devices', '--data', 'opened', '--format', 'jsonl')).toBe(before);
    fs.rmSync(at('plant/ot-sensor.db'));
    expect(await run('restore', 'plan', file, ...data, '--config', '')).toMatch(/ot-sensor\.db would be added/);
    await run('restore', 'apply', file, ...data, '--config', '');
    expect(await run('restore', 'status', ...data)).toMatch(/is to be confirmed or undone/);
    expect(await run('devices', ...data, '--format', 'jsonl')).toBe(before);
    await run('restore', 'confirm', ...data);
    const { code, stderr } = await ot(['restore', 'undo', ...data], { cwd: folder });
    expect([code, stderr]).toEqual([2, expect.stringMatching(/no restore/)]);
  });
});
