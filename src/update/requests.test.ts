import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { countDevices, makeAppliance, remove, temporaryFolder } from '../backup/testing.ts';
import { generateKey } from '../signing/minisign.ts';
import { applyUpdate, type UpdateHooks, updateStatus } from './apply.ts';
import { readProgress, settleProgress } from './progress.ts';
import { runRequested } from './requested.ts';
import { copyBundle, requestFile, takeRequest, Updates } from './requests.ts';
import { makeBundle, root_key } from './testing.ts';

let folder: string;
let data: string;
let root: string;
let updates: Updates;
let said: string[];
beforeEach(() => {
  folder = temporaryFolder();
  ({ data } = makeAppliance(folder));
  root = path.join(folder, 'opt');
  updates = new Updates({ directory: data, root, root_keys: () => [root_key], program_version: '1.0.0' });
  said = [];
});
afterEach(() => remove(folder));

const stage = async (file: string) => updates.stage(Readable.from([fs.readFileSync(file)]));
const staged = async (version: string) => stage(await makeBundle(folder, version));
const hooks = (more: Partial<UpdateHooks> = {}): UpdateHooks => ({
  stop: async () => void said.push('stop'),
  start: async () => void said.push('start'),
  migrate: async () => {},
  check: async () => {},
  ...more,
});
const appliance = () => ({ root, data, root_keys: [root_key], program_version: '1.0.0', now_ms: Date.now() });
const asRoot = (more: Partial<UpdateHooks> = {}) => runRequested(appliance(), hooks(more));
const versions = () => [updateStatus(root).software.version, updateStatus(root).software.previous];

describe('an update that is asked for over the API', () => {
  it('is uploaded, checked, staged, and installed by root, who says how far it is', async () => {
    const { id } = await staged('1.1.0');
    expect(updates.state()).toMatchObject({
      staged: { id, version: '1.1.0', notes: 'what is new' },
      requested: null,
      progress: null,
    });
    expect(await updates.ask('apply')).toMatchObject({ requested: { action: 'apply', id } });
    const seen: unknown[] = [];
    const done = await asRoot({
      check: async () =>
        void seen.push(updates.state().progress?.doing, updates.state().requested, updates.state().progress?.state),
    });
    expect(done).toEqual({ format: 1, action: 'apply', id });
    expect(seen).toEqual(['check', null, 'running']);
    const { progress, staged: left } = updates.state();
    expect(progress).toMatchObject({ id, by: 'api', state: 'done', to: '1.1.0', doing: '', message: '' });
    expect(progress?.steps.map(({ step }) => step)).toEqual([
      'verify',
      'stage',
      'preflight',
      'stop',
      'copy',
      'migrate',
      'switch',
      'check',
      'start',
      'done',
    ]);
    expect([left, versions()[0], fs.readdirSync(path.join(data, 'updates'))]).toEqual([null, '1.1.0', []]);
    expect(fs.readdirSync(root)).not.toContain('requested.bundle');
    expect(await asRoot()).toBe(null);
    // The service is another user, and reads both.
    for (const name of ['update.json', 'update-progress.json'])
      expect(fs.statSync(path.join(root, name)).mode & 0o044, name).toBe(0o044);
  });

  it('is undone over the API until it is confirmed, and not twice', async () => {
    for (const version of ['1.1.0', '1.2.0']) {
      await staged(version);
      await updates.ask('apply');
      await asRoot();
    }
    expect(versions()).toEqual(['1.2.0', '1.1.0']);
    await updates.ask('undo');
    await asRoot();
    expect(versions()[0]).toBe('1.1.0');
    await expect(updates.ask('undo')).rejects.toThrow(/no update waits/);
    await staged('1.2.0');
    await updates.ask('apply');
    await asRoot();
    await updates.ask('confirm');
    await asRoot();
    expect(versions()).toEqual(['1.2.0', '1.1.0']);
    await expect(updates.ask('undo')).rejects.toThrow(/no update waits/);
    expect(countDevices(data)).toBe(20);
  });

  it('that root installed himself is not undone over the API', async () => {
    for (const version of ['1.1.0', '1.2.0'])
      await applyUpdate({ ...appliance(), file: await makeBundle(folder, version), allow_downgrade: false }, hooks());
    for (const id of ['0'.repeat(32), readProgress(root)?.id ?? '1'.repeat(32)]) {
      request({ format: 1, action: 'undo', id });
      await expect(asRoot()).rejects.toThrow(/no update that was asked for so/);
    }
    expect(versions()).toEqual(['1.2.0', '1.1.0']);
  });

  it('says why it failed, and everything is as it was', async () => {
    await staged('1.1.0');
    await updates.ask('apply');
    const failing = asRoot({ check: async () => Promise.reject(new Error('no such module')) });
    await expect(failing).rejects.toThrow(/no such module/);
    expect(updates.state()).toMatchObject({ staged: { version: '1.1.0' }, progress: { state: 'failed', unconfirmed: null } });
    expect(updates.state().progress?.message).toMatch(/no such module/);
    expect(versions()[0]).toBe('');
  });

  it('waits, and says so where nothing takes it up; discarding it takes it back', async () => {
    let now = Date.now();
    const options = { directory: data, root, root_keys: () => [root_key], program_version: '1.0.0', now_ms: () => now };
    updates = new Updates(options);
    await staged('1.1.0');
    expect((await updates.ask('apply')).requested?.message).toBe('');
    now += 60_000;
    expect(updates.state().requested?.message).toMatch(/ot-sensor-update\.path/);
    await expect(staged('1.2.0')).rejects.toThrow(/was asked for and not taken up/);
    updates.discard();
    expect([updates.state().staged, updates.state().requested, await asRoot()]).toEqual([null, null, null]);
  });

  it('that was broken off with the machine is told as that', async () => {
    await staged('1.1.0');
    await updates.ask('apply');
    // Killed while it was staged: nothing of it is left but what it said last.
    const file = path.join(root, 'update-progress.json');
    await asRoot({ stop: async () => fs.copyFileSync(file, `${file}.then`) });
    fs.copyFileSync(`${file}.then`, file);
    await expect(updates.ask('apply')).rejects.toThrow(/under way/);
    settleProgress(root, () => '1.0.0');
    expect(readProgress(root)).toMatchObject({ state: 'failed', message: 'it was broken off, and taken back' });
    fs.copyFileSync(`${file}.then`, file);
    settleProgress(root, () => '1.1.0');
    expect(readProgress(root)).toMatchObject({ state: 'done' });
  });
});

describe('what is uploaded', () => {
  it('is refused where it is not signed by a trusted key, older, or no bundle; and nothing stays of it', async () => {
    await expect(stage(await makeBundle(folder, '1.1.0', { certified_by: generateKey() }))).rejects.toThrow(
      /no root key of this/,
    );
    await expect(updates.stage(Readable.from([Buffer.alloc(5000, 1)]))).rejects.toMatchObject({ code: 'archive' });
    await expect(updates.stage(undefined)).rejects.toThrow(/no body/);
    const bytes = fs.readFileSync(await makeBundle(folder, '1.1.0'));
    await expect(updates.stage(Readable.from([bytes.subarray(0, bytes.length - 600)]))).rejects.toMatchObject({
      code: 'archive',
    });
    expect([updates.state().staged, fs.readdirSync(path.join(data, 'updates'))]).toEqual([null, []]);
    await applyUpdate({ ...appliance(), file: await makeBundle(folder, '1.2.0'), allow_downgrade: false }, hooks());
    await expect(staged('1.1.0')).rejects.toThrow(/1\.2\.0 is newer/);
    await expect(updates.ask('apply')).rejects.toMatchObject({ code: 'not_found' });
  });

  it('replaces the one before; one at a time; what was broken off is swept at the next start', async () => {
    const first = await staged('1.1.0');
    const second = await staged('1.2.0');
    expect(fs.readdirSync(path.join(data, 'updates')).sort()).toEqual([`${second.id}.bundle`, 'staged.json'].sort());
    expect(second.id).not.toBe(first.id);
    const file = await makeBundle(folder, '1.3.0');
    const both = await Promise.allSettled([stage(file), stage(file)]);
    expect(both.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    fs.writeFileSync(path.join(data, 'updates', `${first.id}.part`), 'half');
    updates = new Updates({ directory: data, root, root_keys: () => [root_key], program_version: '1.0.0' });
    expect(fs.readdirSync(path.join(data, 'updates'))).toHaveLength(2);
  });
});

describe('root believes nothing of a request', () => {
  it('an older version is not installed, nor one of another key, whatever is staged under the number', async () => {
    await applyUpdate({ ...appliance(), file: await makeBundle(folder, '1.2.0'), allow_downgrade: false }, hooks());
    const id = 'a'.repeat(32);
    for (const [file, why] of [
      [await makeBundle(folder, '1.1.0'), /1\.2\.0 is newer/],
      [await makeBundle(folder, '1.3.0', { certified_by: generateKey() }), /no root key of this appliance/],
    ] as const) {
      fs.mkdirSync(path.join(data, 'updates'), { recursive: true });
      fs.copyFileSync(file, path.join(data, 'updates', `${id}.bundle`));
      request({ format: 1, action: 'apply', id });
      await expect(asRoot()).rejects.toThrow(why);
      expect(readProgress(root)).toMatchObject({ state: 'failed', message: expect.stringMatching(why) });
    }
    expect([versions()[0], said]).toEqual(['1.2.0', ['stop', 'start']]);
  });

  it.each([
    ['no JSON', '{'],
    ['a path for a number', JSON.stringify({ format: 1, action: 'apply', id: '../../../../tmp/x' })],
    ['an option', JSON.stringify({ format: 1, action: 'apply', id: 'a'.repeat(32), allow_downgrade: true })],
    ['another action', JSON.stringify({ format: 1, action: 'run', id: 'a'.repeat(32) })],
    ['too much', 'x'.repeat(100_000)],
  ])('%s is no request, and is taken away', async (_, text) => {
    fs.mkdirSync(path.join(data, 'updates'), { recursive: true });
    fs.writeFileSync(requestFile(data), text);
    await expect(asRoot()).rejects.toMatchObject({ code: 'update' });
    expect([fs.existsSync(requestFile(data)), await asRoot(), fs.existsSync(root)]).toEqual([false, null, false]);
  });

  it('links and pipes are neither followed nor waited for', async () => {
    fs.mkdirSync(path.join(data, 'updates'), { recursive: true });
    const elsewhere = path.join(folder, 'request.json');
    const id = 'b'.repeat(32);
    fs.writeFileSync(elsewhere, JSON.stringify({ format: 1, action: 'apply', id }));
    fs.symlinkSync(elsewhere, requestFile(data));
    expect(() => takeRequest(data)).toThrow();
    expect([fs.existsSync(elsewhere), fs.readdirSync(path.join(data, 'updates'))]).toEqual([true, []]);
    execFileSync('mkfifo', [requestFile(data)]);
    expect(() => takeRequest(data)).toThrow(/no regular file/);
    const bundle = path.join(data, 'updates', `${id}.bundle`);
    fs.symlinkSync(await makeBundle(folder, '1.1.0'), bundle);
    expect(() => copyBundle(data, id, path.join(folder, 'copy'))).toThrow();
    fs.rmSync(bundle);
    execFileSync('mkfifo', [bundle]);
    expect(() => copyBundle(data, id, path.join(folder, 'copy'))).toThrow(/no regular file/);
    expect(fs.existsSync(path.join(folder, 'copy'))).toBe(false);
  });

  it.skipIf(process.geteuid?.() !== 0)('what root does with the data he does as its owner', async () => {
    const [elsewhere, uid] = [path.join(folder, 'of-root'), 65_534];
    const own = (where: string) => {
      fs.chownSync(where, uid, uid);
      if (fs.statSync(where).isDirectory()) for (const name of fs.readdirSync(where)) own(path.join(where, name));
    };
    for (const one of [folder, data]) fs.chmodSync(one, 0o755);
    fs.mkdirSync(elsewhere, { mode: 0o700 });
    await staged('1.1.0');
    await updates.ask('apply');
    own(data);
    const owners: number[] = [];
    await asRoot({ migrate: async (_, where) => void owners.push(fs.statSync(where).uid, process.geteuid!()) });
    // The copies belong to the owner, and the program is run by whoever calls.
    expect([owners, versions()[0]]).toEqual([[uid, 0, uid, 0], '1.1.0']);
    expect(fs.statSync(path.join(data, 'appliance.db')).uid).toBe(uid);
    // A link in the place of the folder that a migration is tried in leads root nowhere the owner could not go.
    await staged('1.2.0');
    await updates.ask('apply');
    own(data);
    fs.symlinkSync(elsewhere, path.join(data, 'update-trial'));
    await asRoot().catch(() => {});
    expect([fs.readdirSync(elsewhere), process.geteuid?.()]).toEqual([[], 0]);
  });

  it.skipIf(process.geteuid?.() !== 0)(
    'a folder that the service exchanged leads root nowhere the service could not go',
    async () => {
      const [secret, uid] = [path.join(folder, 'of-root'), 65_534];
      for (const one of [folder, data]) fs.chmodSync(one, 0o755);
      fs.chownSync(data, uid, uid);
      fs.mkdirSync(secret, { mode: 0o700 });
      const id = 'c'.repeat(32);
      fs.writeFileSync(path.join(secret, 'request.json'), JSON.stringify({ format: 1, action: 'apply', id }));
      fs.writeFileSync(path.join(secret, `${id}.bundle`), 'x');
      fs.symlinkSync(secret, path.join(data, 'updates'));
      expect(() => takeRequest(data)).toThrow(/EACCES/);
      expect(() => copyBundle(data, id, path.join(folder, 'copy'))).toThrow(/EACCES/);
      expect(fs.readdirSync(secret).sort()).toEqual([`${id}.bundle`, 'request.json'].sort());
      expect(process.geteuid?.()).toBe(0);
    },
  );
});

function request(value: unknown): void {
  fs.mkdirSync(path.join(data, 'updates'), { recursive: true });
  fs.writeFileSync(requestFile(data), JSON.stringify(value));
}
