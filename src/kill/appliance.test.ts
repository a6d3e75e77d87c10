/**
 * What `kill -9` leaves, at random moments of backups, restores and updates (`testing.ts`): it opens again, what was committed is there, everything is as before or
 * as afterwards, and the next one works.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { APPLIANCE_FILE, ApplianceDatabase } from '../appliance/database.ts';
import { Settings } from '../appliance/settings.ts';
import { createBackup } from '../backup/create.ts';
import { trustedKeys } from '../backup/keys.ts';
import { DATABASES } from '../backup/manifest.ts';
import { parseFileName } from '../backup/names.ts';
import { applyRestore, confirmRestore, restoreStatus, undoRestore, useData } from '../backup/restore.ts';
import { BACKUP } from '../backup/settings.ts';
import { addDevices, countDevices, makeAppliance, SECRET } from '../backup/testing.ts';
import { verifyBackup } from '../backup/verify.ts';
import { DIST, ot, remove, temporaryFolder } from '../cli/testing.ts';
import { generateKey, publicKeyText } from '../signing/minisign.ts';
import { SCHEMA_VERSION } from '../store/migrations.ts';
import { DATABASE_FILE, Writer } from '../store/writer.ts';
import { recoverUpdate, updateStatus } from '../update/apply.ts';
import { buildBundle, signBundle } from '../update/bundle.ts';
import { certifyKey } from '../update/signing-key.ts';
import { version } from '../version.ts';
import {
  done,
  killAtRandomMoments,
  makeOldDatabase,
  nextIsWaitedFor,
  schemaOf,
  soundCounts,
  TIMEOUT_MS as timeout,
} from './testing.ts';

const YEAR = 365 * 86_400_000;

let folder: string;
const at = (...names: string[]): string => path.join(folder, ...names);
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => remove(folder));

const backupsIn = (folder: string): string[] =>
  fs.existsSync(folder) ? fs.readdirSync(folder).filter((name) => parseFileName(name) !== null) : [];

it('a backup', { timeout }, async () => {
  const { data, directory } = makeAppliance(folder, 5000);
  fs.rmSync(directory, { recursive: true, force: true });
  const database = new ApplianceDatabase(data);
  new Settings(database).write(BACKUP, { passphrase: SECRET, keep_count: 100 }, 'anna', 2000);
  database.close();
  const backups = path.join(data, 'backups');
  const trusted = trustedKeys(data);
  const rows = { devices: 5000 };
  const check = async (): Promise<string[]> => {
    const files = backupsIn(backups);
    const opening = { passphrase: SECRET };
    for (const name of files)
      await verifyBackup({ file: path.join(backups, name), scratch: at('scratch'), trusted: trustedKeys(data), opening });
    return files;
  };
  fs.mkdirSync(at('scratch'));
  let had = 0;
  expect(trusted).toEqual([]);
  await killAtRandomMoments({
    name: 'backup create',
    before(number) {
      if (number === 0 || nextIsWaitedFor(number - 1)) fs.rmSync(backups, { recursive: true, force: true });
      had = number === 0 ? 0 : backupsIn(backups).length;
      return ['backup', 'create', '--data', data, '--config', ''];
    },
    async after({ number, stdout }) {
      const files = await check();
      // What it has spoken of is there.
      for (const [file] of stdout.matchAll(/^\/.*\.tar\.gz(\.enc)?/gm)) expect(files).toContain(path.basename(file));
      expect(soundCounts(path.join(data, DATABASE_FILE))).toMatchObject(rows);
      soundCounts(path.join(data, APPLIANCE_FILE));
      if (!nextIsWaitedFor(number)) return files.length === had ? 'found none' : 'found it';
      await done('backup', 'create', '--data', data, '--config', '');
      expect((await check()).length).toBe(files.length + 1);
      expect(fs.readdirSync(backups).filter((name) => parseFileName(name) === null)).toEqual([]);
      expect(fs.readdirSync(data).filter((name) => name.includes('work'))).toEqual([]);
      return files.length === had ? 'found none' : 'found it';
    },
  });
});

describe('a restore', () => {
  let data: string;
  let file: string;
  let zones_file: string;

  /** By now 2,100 devices and other zones than in the backup, of which `template` is a copy. */
  beforeEach(async () => {
    const request = makeAppliance(folder, 2000);
    ({ data, zones_file } = request);
    ({ file } = await createBackup(request));
    addDevices(data, 10_000, 100);
    fs.writeFileSync(zones_file, 'zones: [] # changed\n');
    fs.cpSync(data, at('template'), { recursive: true });
  });

  const words = () => ['--data', data, '--config', at('sensor.yaml')];
  const begin = async (restored: boolean): Promise<void> => {
    fs.rmSync(data, { recursive: true, force: true });
    fs.cpSync(at('template'), data, { recursive: true });
    fs.writeFileSync(zones_file, 'zones: [] # changed\n');
    if (restored) await applyRestore(requestOf());
  };
  const requestOf = () => ({
    file,
    data,
    config_file: at('sensor.yaml'),
    zones_file,
    files: [],
    trusted: trustedKeys(data),
    opening: null,
    product_version: version(),
    now_ms: Date.now(),
  });

  /** As the next start finds it. */
  function found(): string {
    useData(data).close();
    for (const name of DATABASES) soundCounts(path.join(data, name));
    new ApplianceDatabase(data).close();
    new Writer(data).close();
    const parts = [
      ({ 2100: 'old', 2000: 'restored' } as Record<number, string>)[countDevices(data)] ?? 'neither',
      fs.readFileSync(zones_file, 'utf8').includes('changed') ? 'old' : 'restored',
    ];
    if (new Set(parts).size > 1) throw new Error(`half: ${parts}`);
    return parts[0];
  }

  it('that is applied', { timeout }, async () => {
    let last = '';
    await killAtRandomMoments({
      name: 'restore apply',
      async before(number) {
        if (last !== 'old') await begin(false);
        last = number === 0 ? '' : 'old';
        return ['restore', 'apply', file, ...words()];
      },
      async after({ number, killed }) {
        const state = found();
        expect(restoreStatus(data).state).toBe(state === 'old' ? 'none' : 'switched');
        if (!killed) expect(state).toBe('restored');
        last = state;
        if (!nextIsWaitedFor(number)) return state;
        if (state === 'old') await done('restore', 'apply', file, ...words());
        expect(found()).toBe('restored');
        undoRestore(data);
        expect(found()).toBe('old');
        last = 'old';
        return state;
      },
    });
  });

  it('that is confirmed', { timeout }, async () => {
    await killAtRandomMoments({
      name: 'restore confirm',
      async before() {
        await begin(true);
        return ['restore', 'confirm', '--data', data];
      },
      after() {
        expect(found()).toBe('restored');
        const { state } = restoreStatus(data);
        if (state === 'switched') confirmRestore(data);
        expect(fs.existsSync(path.join(data, 'restore'))).toBe(false);
        expect(found()).toBe('restored');
        return state === 'switched' ? 'to be confirmed' : 'confirmed';
      },
    });
  });

  it('that is undone', { timeout }, async () => {
    await killAtRandomMoments({
      name: 'restore undo',
      async before() {
        await begin(true);
        return ['restore', 'undo', '--data', data];
      },
      after() {
        const state = found();
        if (state === 'restored') undoRestore(data);
        expect(found()).toBe('old');
        expect(fs.existsSync(path.join(data, 'restore'))).toBe(false);
        return state;
      },
    });
  });
});

describe('an update', () => {
  const ROWS = 5000;
  const NEW = '99.0.0';
  const OLD = version();
  const [root, data] = [() => at('opt'), () => at('data')];
  const words = () => ['--root', root()];

  /** The program as it is, as another version, and what it finds: a version before it, whose database is of the first schema. */
  beforeEach(async () => {
    const release = at('release');
    fs.cpSync(path.join(DIST, 'program'), path.join(release, 'dist/program'), { recursive: true });
    fs.writeFileSync(path.join(release, 'package.json'), JSON.stringify({ version: NEW, type: 'module' }));
    // Found from `opt/versions/…`, as from the folder of a release.
    fs.symlinkSync(path.resolve(DIST, '../node_modules'), at('node_modules'));
    const [root_key, key] = [generateKey(), generateKey()];
    fs.writeFileSync(at('root.pub'), publicKeyText(root_key));
    const rules = { minimum_version: '', maximum_version: '', architecture: '', notes: '' };
    const out = at('new.bundle');
    await buildBundle({ directory: release, out, kind: 'software', version: NEW, now_ms: Date.now(), ...rules });
    const validity = { kinds: ['software'] as const, from_ms: Date.now() - YEAR, to_ms: Date.now() + YEAR };
    const { public_key, statement } = certifyKey(key, validity, root_key);
    await signBundle(out, key, public_key, statement);
    makeOldDatabase(at('before/data'), ROWS);
    new ApplianceDatabase(at('before/data')).close();
    const versions = at('before/opt/versions', OLD);
    fs.mkdirSync(versions, { recursive: true });
    for (const name of ['current', 'fallback']) fs.symlinkSync(`versions/${OLD}`, at('before/opt', name));
  });

  const begin = (from: string): void => {
    for (const name of ['opt', 'data']) {
      fs.rmSync(at(name), { recursive: true, force: true });
      execFileSync('cp', ['-a', at(from, name), at(name)]);
    }
  };
  const apply = () => [
    'update',
    'apply',
    at('new.bundle'),
    ...words(),
    '--root-key',
    at('root.pub'),
    '--data',
    data(),
    '--config',
    '',
  ];

  /** `update recover`, as the units do before they start anything. */
  async function found(number: number): Promise<string> {
    if (nextIsWaitedFor(number)) {
      const { code, stderr } = await ot(['update', 'recover', ...words()]);
      if (code !== 0 && code !== 1) throw new Error(stderr);
    } else recoverUpdate(root());
    const [current, fallback] = ['current', 'fallback'].map((name) => path.basename(fs.readlinkSync(path.join(root(), name))));
    const { version: said, state } = updateStatus(root()).software;
    const schema = schemaOf(path.join(data(), DATABASE_FILE));
    const parts = [current, fallback, said, schema === 1 ? OLD : schema === SCHEMA_VERSION ? NEW : 'neither'];
    if (new Set(parts).size > 1 || !['none', 'installed'].includes(state)) throw new Error(`half: ${parts}, ${state}`);
    expect(soundCounts(path.join(data(), DATABASE_FILE))).toMatchObject({ connections: ROWS, events: ROWS });
    soundCounts(path.join(data(), APPLIANCE_FILE));
    return current;
  }

  /** What is under way only. */
  const leftovers = (): string[] =>
    [root(), data()].flatMap((where) => fs.readdirSync(where).filter((name) => /staging|trial|\.new$|\.tmp$|next/.test(name)));

  it('that is applied', { timeout }, async () => {
    let last = '';
    await killAtRandomMoments({
      name: 'update apply',
      before(number) {
        if (last !== OLD) begin('before');
        last = number === 0 ? '' : OLD;
        return number % 2 === 0 ? apply() : [...apply(), '--no-backup'];
      },
      async after({ number, killed }) {
        const state = await found(number);
        if (!killed) expect(state).toBe(NEW);
        last = state;
        if (state === OLD && !nextIsWaitedFor(number)) return 'old';
        if (state === OLD) await done(...apply(), '--no-backup');
        last = NEW;
        expect([await found(number), leftovers(), fs.readdirSync(path.join(root(), 'versions')).sort()]).toEqual([
          NEW,
          [],
          [OLD, NEW].sort(),
        ]);
        expect(fs.readdirSync(data()).filter((name) => name.startsWith('update-'))).toHaveLength(1);
        return state === NEW ? 'new' : 'old';
      },
    });
  });

  it('that is gone back from', { timeout }, async () => {
    begin('before');
    await done(...apply(), '--no-backup');
    fs.mkdirSync(at('after'));
    for (const name of ['opt', 'data']) execFileSync('cp', ['-a', at(name), at('after', name)]);
    let last = '';
    await killAtRandomMoments({
      name: 'update rollback',
      before(number) {
        if (last !== NEW) begin('after');
        last = number === 0 ? '' : NEW;
        return ['update', 'rollback', ...words()];
      },
      async after({ number, killed }) {
        const state = await found(number);
        if (!killed) expect(state).toBe(OLD);
        last = state;
        if (state === NEW && !nextIsWaitedFor(number)) return 'new';
        if (state === NEW) await done('update', 'rollback', ...words());
        last = OLD;
        expect([await found(number), leftovers()]).toEqual([OLD, []]);
        return state === NEW ? 'new' : 'old';
      },
    });
  });
});
