import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { APPLIANCE_FILE, ApplianceDatabase } from '../appliance/database.ts';
import { Settings } from '../appliance/settings.ts';
import { killedBeforeChange } from '../kill/testing.ts';
import { MIGRATIONS, migrate } from '../store/migrations.ts';
import { StoreReader } from '../store/queries.ts';
import { DATABASE_FILE, Writer } from '../store/writer.ts';
import { type BackupRequest, createBackup } from './create.ts';
import { trustedKeys } from './keys.ts';
import {
  applyRestore,
  confirmRestore,
  planRestore,
  type RestoreRequest,
  recoverRestore,
  restoreStatus,
  undoRestore,
  useData,
} from './restore.ts';
import { BACKUP } from './settings.ts';
import { addDevices, countDevices, makeAppliance, remove, SECRET, temporaryFolder } from './testing.ts';

let folder: string;
let request: BackupRequest;
let restore: RestoreRequest;

const at = (...names: string[]): string => path.join(folder, ...names);

/** An appliance with a backup of 20 devices and settings version 1; by now it has 25, version 2 and other files. */
beforeEach(async () => {
  folder = temporaryFolder();
  request = makeAppliance(folder);
  const { file } = await createBackup(request);
  restore = {
    file,
    data: request.data,
    config_file: request.config_file,
    zones_file: request.zones_file,
    files: [],
    trusted: trustedKeys(request.data),
    opening: null,
    product_version: '0.1.0',
    now_ms: 5,
  };
  change();
});
afterEach(() => remove(folder));

function change(): void {
  addDevices(request.data, 100, 5);
  const database = new ApplianceDatabase(request.data);
  new Settings(database).write(BACKUP, { passphrase: SECRET, keep_count: 9 }, 'ben', 2000);
  database.close();
  fs.writeFileSync(request.zones_file, 'zones: [] # changed\n');
}

/** Which of the two states it is in all its parts: `old` as it was before the restore, `restored`. Everything else is a half state. */
function state(): string {
  const database = new ApplianceDatabase(request.data);
  const keep = new Settings(database).read(BACKUP).value.keep_count;
  database.close();
  new Writer(request.data).close();
  const parts = [
    countDevices(request.data) === 25 ? 'old' : countDevices(request.data) === 20 ? 'restored' : 'neither',
    keep === 9 ? 'old' : keep === 3 ? 'restored' : 'neither',
    fs.readFileSync(request.zones_file, 'utf8').includes('changed') ? 'old' : 'restored',
  ];
  return new Set(parts).size === 1 ? parts[0] : `half: ${parts}`;
}

describe('a restore', () => {
  it('says first what it would do, and does nothing then', async () => {
    const { changes, not_restored, secrets_kept } = await planRestore({ ...restore, config_file: '' });
    expect(changes.map(({ target, change }) => [path.basename(target), change])).toEqual([
      [DATABASE_FILE, 'replaced'],
      [APPLIANCE_FILE, 'replaced'],
      ['zones.yaml', 'replaced'],
    ]);
    expect(changes[0].rows).toMatchObject({ devices: { before: 25, after: 20 }, alerts: { before: 0, after: 0 } });
    expect(not_restored).toEqual(['sensor.yaml']);
    expect(secrets_kept).toEqual(['backup']);
    expect([state(), restoreStatus(request.data).state]).toEqual(['old', 'none']);
    expect(fs.existsSync(at('data/restore'))).toBe(false);
  });

  it('is done whole, keeps the former state until it is confirmed, and the secrets that are not in the backup', async () => {
    await applyRestore(restore);
    expect(state()).toBe('restored');
    expect(restoreStatus(request.data)).toMatchObject({ state: 'switched', backup: path.basename(restore.file), restored_ms: 5 });
    const database = new ApplianceDatabase(request.data);
    expect(new Settings(database).read(BACKUP).value.passphrase).toBe(SECRET);
    database.close();
    await expect(applyRestore(restore)).rejects.toThrow(/neither confirmed nor undone/);
    confirmRestore(request.data);
    expect([state(), restoreStatus(request.data).state, fs.existsSync(at('data/restore'))]).toEqual(['restored', 'none', false]);
    expect(() => undoRestore(request.data)).toThrow(/no restore/);
  });

  it('is undone to exactly what was before', async () => {
    fs.rmSync(request.zones_file);
    await applyRestore(restore);
    expect(fs.existsSync(request.zones_file)).toBe(true);
    addDevices(request.data, 200, 7);
    undoRestore(request.data);
    expect([countDevices(request.data), fs.existsSync(request.zones_file), fs.existsSync(at('data/restore'))]).toEqual([
      25,
      false,
      false,
    ]);
  });

  it('on another appliance needs the key of the one that made it, or to be told that none is needed', async () => {
    const other = { ...restore, data: at('other'), config_file: '', zones_file: '', trusted: trustedKeys(at('other')) };
    await expect(applyRestore(other)).rejects.toMatchObject({ code: 'signature' });
    expect(fs.existsSync(at('other/restore'))).toBe(false);
    const { secrets_kept, not_restored } = await applyRestore({
      ...other,
      trusted: trustedKeys(at('other'), [at('data/backup-signing.pub')]),
    });
    expect([countDevices(at('other')), secrets_kept, not_restored]).toEqual([20, ['backup'], ['sensor.yaml', 'zones.yaml']]);
    const database = new ApplianceDatabase(at('other'));
    // None there, so none: what stands for a secret is no secret.
    expect(new Settings(database).read(BACKUP).value.passphrase).toBe('');
    database.close();
    undoRestore(at('other'));
    expect(fs.readdirSync(at('other')).filter((name) => name.endsWith('.db'))).toEqual([]);
  });

  it('is refused while a sensor writes, while anybody uses a database, and of a later version', async () => {
    const writer = new Writer(request.data);
    await expect(applyRestore(restore)).rejects.toThrow(/sensor is writing/);
    writer.close();
    const reader = new StoreReader(request.data);
    await expect(applyRestore(restore)).rejects.toThrow(/is in use/);
    reader.close();
    const use = useData(request.data);
    await expect(applyRestore(restore)).rejects.toThrow(/is in use/);
    use.close();
    await expect(applyRestore({ ...restore, product_version: '0.0.9' })).rejects.toThrow(/update first/);
    expect([state(), fs.existsSync(at('data/restore'))]).toEqual(['old', false]);
    await applyRestore({ ...restore, product_version: '1.0.0' });
    expect(state()).toBe('restored');
  });

  it('can wait for the next start, and is called off', async () => {
    const use = useData(request.data);
    await applyRestore(restore, { at_next_start: true });
    expect(restoreStatus(request.data).state).toBe('armed');
    expect(recoverRestore(request.data)).toMatchObject({ state: 'armed', waiting_for: expect.stringMatching(/in use/) });
    expect(state()).toBe('old');
    undoRestore(request.data);
    await applyRestore(restore, { at_next_start: true });
    use.close();
    const next = useData(request.data);
    expect(next.state).toBe('switched');
    next.close();
    expect(state()).toBe('restored');
  });

  it('takes the place of databases that are damaged', async () => {
    for (const name of [DATABASE_FILE, APPLIANCE_FILE])
      fs.writeFileSync(path.join(request.data, name), 'no database at all'.repeat(1000));
    await applyRestore(restore);
    expect(countDevices(request.data)).toBe(20);
    undoRestore(request.data);
    expect(fs.readFileSync(path.join(request.data, DATABASE_FILE), 'utf8')).toMatch(/no database at all/);
  });

  it('of a backup of an earlier schema brings it to the present one', async () => {
    const old = at('old');
    fs.mkdirSync(old);
    new Writer(old).close();
    addDevices(old, 1, 3);
    const appliance = new Database(path.join(old, APPLIANCE_FILE));
    appliance.exec(
      'CREATE TABLE settings (section TEXT NOT NULL, version INTEGER NOT NULL, value TEXT NOT NULL, changed_ms INTEGER NOT NULL, changed_by TEXT NOT NULL, PRIMARY KEY (section, version)) STRICT',
    );
    appliance.exec("INSERT INTO settings VALUES ('backup', 1, '{\"keep_count\":3}', 1, 'x')");
    appliance.pragma('application_id = 0x4f546170');
    appliance.pragma('user_version = 1');
    appliance.close();
    const { file } = await createBackup({ ...request, data: old, product_version: '0.0.1', config_file: '', zones_file: '' });
    await applyRestore({ ...restore, file, trusted: trustedKeys(old) });
    const database = new ApplianceDatabase(request.data);
    expect(new Settings(database).read(BACKUP).value.keep_count).toBe(3);
    database.close();
    expect(countDevices(request.data)).toBe(3);
  });

  it.each(MIGRATIONS.map((_, i) => i + 1))('of what a sensor with schema %i has seen keeps all of it', async (version) => {
    const old = at('old');
    fs.mkdirSync(old);
    const db = new Database(path.join(old, DATABASE_FILE));
    migrate(db, 'old', MIGRATIONS.slice(0, version));
    db.exec("INSERT INTO events (capture_id, frame, time_ms, kind, title, details) VALUES (1, 2, 3, 'kind', 'title', '{}')");
    db.close();
    const { file } = await createBackup({ ...request, data: old, product_version: '0.0.1', config_file: '', zones_file: '' });
    const { manifest } = await applyRestore({ ...restore, file, trusted: trustedKeys(old) });
    expect(manifest.databases[DATABASE_FILE].schema_version).toBe(version);
    new Writer(request.data).close();
    const reader = new StoreReader(request.data);
    expect(reader.events().rows).toMatchObject([{ title: 'title' }]);
    reader.close();
  });

  it('without room changes nothing', async () => {
    if (process.getuid?.() !== 0) return;
    const small = at('small');
    fs.mkdirSync(small);
    const sizes = fs
      .readdirSync(request.data)
      .map((name) => Math.ceil(fs.statSync(path.join(request.data, name)).size / 4096) * 4096);
    const size = sizes.reduce((sum, one) => sum + one, 100 << 10);
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', small]);
    try {
      fs.cpSync(request.data, path.join(small, 'data'), { recursive: true });
      const there = { ...restore, data: path.join(small, 'data'), zones_file: '', config_file: '' };
      await expect(applyRestore(there)).rejects.toThrow(/make room|no space|full/i);
      expect([countDevices(there.data), restoreStatus(there.data).state]).toEqual([25, 'none']);
    } finally {
      execFileSync('umount', [small]);
    }
  });
});

const killedAt = (n: number, code: string): Promise<boolean> =>
  killedBeforeChange(
    n,
    restore,
    `const { applyRestore, undoRestore, confirmRestore, recoverRestore } = await built('backup/restore.ts'); ${code}`,
  );

describe('killed before any change to the file system', () => {
  it('a restore, then the undoing, then a confirmation are done whole or not at all', async () => {
    // So that one of the places is on another volume, where nothing can be renamed to.
    const other = process.getuid?.() === 0 ? at('etc') : null;
    if (other !== null) {
      fs.mkdirSync(other);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', other]);
      fs.copyFileSync(request.zones_file, path.join(other, 'zones.yaml'));
      request.zones_file = restore.zones_file = path.join(other, 'zones.yaml');
    }
    const seen = { old: 0, restored: 0 } as Record<string, number>;
    try {
      // Steps are larger where nothing of it is there yet: what is prepared.
      for (let n = 1, killed = true; killed; n += n < 12 ? 4 : 3) {
        killed = await killedAt(n, 'await applyRestore(request);');
        // The one that recovers is killed too, now and then.
        if (n % 4 === 0) await killedAt(1 + (n % 7), 'recoverRestore(request.data);');
        const { state: stage } = recoverRestore(request.data);
        const found = state();
        expect([n, found, stage]).toEqual([
          n,
          found === 'restored' ? 'restored' : 'old',
          found === 'restored' ? 'switched' : 'none',
        ]);
        seen[found]++;
        if (found === 'restored') {
          // And back, killed as well.
          await killedAt(1 + (n % 40), 'undoRestore(request.data);');
          if (recoverRestore(request.data).state === 'switched') undoRestore(request.data);
          expect([n, state(), fs.existsSync(at('data/restore'))]).toEqual([n, 'old', false]);
        }
      }
      expect(Math.min(seen.old, seen.restored)).toBeGreaterThan(5);
      await applyRestore(restore);
      for (let n = 1; await killedAt(n, 'confirmRestore(request.data);'); n++) {
        recoverRestore(request.data);
        expect(state()).toBe('restored');
        if (restoreStatus(request.data).state === 'none') break;
      }
    } finally {
      if (other !== null) execFileSync('umount', [other]);
    }
  });
});
