import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { APPLIANCE_FILE, ApplianceDatabase } from '../appliance/database.ts';
import { SECTIONS } from '../appliance/sections.ts';
import { SECRET_SET, Settings } from '../appliance/settings.ts';
import { generateKey, publicKeyText } from '../signing/minisign.ts';
import { StoreError } from '../store/errors.ts';
import { SCHEMA_VERSION } from '../store/migrations.ts';
import { DATABASE_FILE, Writer } from '../store/writer.ts';
import { APPLIANCE_TABLES } from './contents.ts';
import { type BackupRequest, copyDatabase, createBackup, tablesOf } from './create.ts';
import { PUBLIC_KEY_FILE, trustedKeys } from './keys.ts';
import { openBackup } from './manifest.ts';
import { parseFileName } from './names.ts';
import { runCreate, runVerify } from './runner.ts';
import { BACKUP } from './settings.ts';
import { addDevices, built, makeAppliance, remove, SECRET, temporaryFolder } from './testing.ts';
import { verifyBackup } from './verify.ts';

let folder: string;
let request: BackupRequest;
beforeEach(() => {
  folder = temporaryFolder();
  request = makeAppliance(folder);
});
afterEach(() => remove(folder));

const at = (...names: string[]): string => path.join(folder, ...names);
const verify = (file: string, more = {}) =>
  verifyBackup({ file, scratch: at('scratch'), trusted: trustedKeys(request.data), opening: null, ...more });
const open = async (file: string): Promise<string> => {
  const { reader } = await openBackup(file, trustedKeys(request.data), null);
  await reader.extract(at('opened'));
  return at('opened');
};

describe('a backup', () => {
  it('is one file with all that the appliance is, which tar and minisign open and check without us', async () => {
    const { file, size } = await createBackup(request);
    expect(path.basename(file)).toBe('plant1-backup-0.1.0-20260131T030000Z.tar.gz');
    expect(parseFileName(path.basename(file))).toMatchObject({ sensor_name: 'plant1', time_ms: request.now_ms });
    expect(fs.statSync(file)).toMatchObject({ size, mode: 0o100600 });
    expect(fs.readdirSync(request.directory)).toEqual([path.basename(file)]);
    fs.mkdirSync(at('by-hand'));
    execFileSync('tar', ['-xzf', file, '-C', at('by-hand')]);
    expect(fs.readdirSync(at('by-hand')).sort()).toEqual(
      ['manifest.json', 'manifest.json.minisig', DATABASE_FILE, APPLIANCE_FILE, 'sensor.yaml', 'zones.yaml'].sort(),
    );
    if (process.env.OT_SENSOR_REQUIRE_TOOLS === '1' || fs.existsSync('/usr/bin/minisign'))
      execFileSync('minisign', ['-V', '-p', path.join(request.data, PUBLIC_KEY_FILE), '-m', at('by-hand/manifest.json')]);
    const manifest = JSON.parse(fs.readFileSync(at('by-hand/manifest.json'), 'utf8'));
    expect(manifest).toMatchObject({ reason: 'manual', keys: false, left_out: [] });
    expect(manifest.databases[DATABASE_FILE]).toMatchObject({ schema_version: SCHEMA_VERSION, tables: { devices: 20 } });
  });

  it('without keys has no secret anywhere, former versions of settings included; with keys it has', async () => {
    const database = new ApplianceDatabase(request.data);
    const settings = new Settings(database);
    settings.write(BACKUP, { passphrase: `${SECRET} too` }, 'anna', 2000);
    database.db.prepare("INSERT INTO settings VALUES ('of another program', 1, ?, 1, 'x')").run(JSON.stringify({ key: SECRET }));
    database.db.exec(`CREATE TABLE unknown (x TEXT); INSERT INTO unknown VALUES ('${SECRET}')`);
    database.db.exec(`CREATE TABLE emptied (x TEXT); INSERT INTO emptied VALUES ('${SECRET}'); DELETE FROM emptied`);
    database.close();
    fs.writeFileSync(at('tls.key'), SECRET);
    const files = [{ member: 'files/tls.key', path: at('tls.key'), secret: true }];
    const without = await createBackup({ ...request, files });
    expect(zlib.gunzipSync(fs.readFileSync(without.file)).includes(SECRET)).toBe(false);
    expect(without.left_out.sort()).toEqual(['settings of another program', 'table emptied', 'table unknown']);
    const copy = new ApplianceDatabase(await open(without.file));
    expect(new Settings(copy).read(BACKUP).value.passphrase).toBe(SECRET_SET);
    copy.close();
    const with_keys = await createBackup({ ...request, files, keys: true });
    expect(with_keys.left_out).toEqual([]);
    expect(path.basename(with_keys.file)).toMatch(/Z-2\.tar\.gz$/);
    expect(zlib.gunzipSync(fs.readFileSync(with_keys.file)).includes(SECRET)).toBe(true);
  });

  it('knows every table and every section of settings there is', () => {
    const database = new ApplianceDatabase(at('fresh'));
    expect(tablesOf(database.db).filter((table) => !Object.hasOwn(APPLIANCE_TABLES, table))).toEqual([]);
    database.close();
    const root = path.resolve(import.meta.dirname, '..');
    const defined = fs
      .readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter((file) => /(?<!test)\.ts$/.test(file))
      .flatMap((file) =>
        [...fs.readFileSync(path.join(root, file), 'utf8').matchAll(/= defineSettings\(\{\s*name: '(\w+)'/g)].map(
          (match) => match[1],
        ),
      );
    expect(defined).toContain('backup');
    expect(defined.filter((name) => !SECTIONS.some((section) => section.name === name))).toEqual([]);
  });

  /** Writes two rows a transaction, one transaction after the other, from a process of its own. */
  const writing = async (): Promise<{ stop: () => void; failed: () => unknown }> => {
    const program = `
      const { default: Database } = await import('better-sqlite3');
      const db = new Database(process.argv[1], { timeout: 10000 });
      const insert = db.prepare('INSERT INTO events (capture_id, frame, time_ms, kind, title, details) VALUES (1, ?, 1, ?, ?, ?)');
      let frame = 0;
      process.stdout.write('x');
      for (;;) {
        db.transaction(() => { for (const kind of ['a', 'b']) insert.run(frame, kind, 'x'.repeat(500), ''); })();
        frame++;
        await new Promise((resolve) => setTimeout(resolve, 1));
      }`;
    const writer = spawn(process.execPath, ['--input-type=module', '-e', program, path.join(request.data, DATABASE_FILE)], {
      stdio: 'pipe',
    });
    let errors = '';
    writer.stderr.on('data', (text) => (errors += text));
    await new Promise((resolve) => writer.stdout.once('data', resolve));
    return { stop: () => void writer.kill('SIGKILL'), failed: () => ({ errors, exit: writer.exitCode }) };
  };
  const rowsOf = (file: string): number[] => {
    const db = new Database(file, { readonly: true });
    try {
      return ['a', 'b'].map((kind) => db.prepare('SELECT count(*) FROM events WHERE kind = ?').pluck().get(kind) as number);
    } finally {
      db.close();
    }
  };

  it('is of one moment while others write all the time, and no write of theirs fails', async () => {
    const { stop, failed } = await writing();
    try {
      for (let i = 0; i < 5; i++) {
        const { file } = await createBackup({ ...request, now_ms: request.now_ms + i * 1000 });
        await verify(file);
        const [a, b] = rowsOf(path.join(await open(file), DATABASE_FILE));
        expect(a).toBe(b);
        remove(at('opened'));
      }
      expect(failed()).toEqual({ errors: '', exit: null });
    } finally {
      stop();
    }
  });

  it('of a database that changes at every step of the copy goes on from where it is, and ends', async () => {
    const data = path.join(request.data, DATABASE_FILE);
    const db = new Database(data);
    const insert = db.prepare(
      "INSERT INTO events (capture_id, frame, time_ms, kind, title, details) VALUES (1, 1, 1, 'c', ?, '')",
    );
    db.transaction(() => {
      for (let i = 0; i < 24; i++) insert.run('x'.repeat(1 << 20));
    })();
    db.close();
    const { stop, failed } = await writing();
    try {
      const copied: number[] = [];
      const stored: number[] = [];
      await copyDatabase(data, at('copy.db'), (done) => {
        copied.push(done);
        // Somebody has written since the step before.
        for (const before = stored.at(-1) ?? 0; rowsOf(data)[0] === before; );
        stored.push(rowsOf(data)[0]);
      });
      expect(copied.length).toBeGreaterThan(20);
      expect(copied).toEqual([...copied].sort((a, b) => a - b));
      const [a, b] = rowsOf(at('copy.db'));
      expect(a).toBe(b);
      // Of the moment it began.
      expect(a).toBeLessThanOrEqual(stored[0]);
      expect(failed()).toEqual({ errors: '', exit: null });
    } finally {
      stop();
    }
  });

  it('is made beside a sensor that holds its lock, and one at a time', async () => {
    const writer = new Writer(request.data);
    const one = createBackup(request);
    await expect(createBackup(request)).rejects.toThrow(/under way already/);
    await verify((await one).file);
    writer.close();
  });

  it('says what is wrong where there is nothing to back up, no room or no way to write', async () => {
    await expect(createBackup({ ...request, data: at('nothing') })).rejects.toThrow(/holds no database/);
    fs.writeFileSync(at('file'), '');
    await expect(createBackup({ ...request, directory: at('file/in') })).rejects.toThrow(/cannot be written.*ENOTDIR/);
    if (process.getuid?.() !== 0) return;
    fs.mkdirSync(at('small'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', at('small')]);
    try {
      // What does not get smaller by packing.
      const db = new Database(path.join(request.data, DATABASE_FILE));
      db.exec("INSERT INTO meta VALUES ('x', hex(randomblob(200000)))");
      db.close();
      await expect(createBackup({ ...request, directory: at('small') })).rejects.toThrow(/no space is left|make room/);
      expect(fs.readdirSync(at('small'))).toEqual([]);
      execFileSync('mount', ['-o', 'remount,ro', at('small')]);
      await expect(createBackup({ ...request, directory: at('small') })).rejects.toThrow(/cannot be written/);
      await expect(createBackup({ ...request, directory: at('small/inside') })).rejects.toThrow(/cannot be written/);
    } finally {
      execFileSync('umount', [at('small')]);
    }
    expect(fs.readdirSync(request.data).filter((name) => name.includes('work'))).toEqual([]);
    await verify((await createBackup(request)).file);
  });

  it('in a process of its own is the same, and can be cancelled', async () => {
    const program = built('backup/backup-process.ts');
    const progress: string[] = [];
    const { file } = await runCreate(request, { program, onProgress: ({ step }) => progress.push(step) });
    expect(progress.length).toBeGreaterThan(0);
    const checked = { file, scratch: at('scratch'), trusted: trustedKeys(request.data), opening: null };
    expect(await runVerify(checked, { program })).toMatchObject({ trusted: true });
    await expect(runVerify({ ...checked, trusted: [] }, { program })).rejects.toMatchObject({ code: 'signature' });
    const aborter = new AbortController();
    const cancelled = runCreate(request, { program, signal: aborter.signal });
    aborter.abort();
    await expect(cancelled).rejects.toThrow(/was cancelled/);
  });
});

describe('a check of a backup', () => {
  it('proves that it restores, of an earlier schema too', async () => {
    expect(await verify((await createBackup(request)).file)).toMatchObject({ trusted: true });
    // As an earlier version made it.
    const old = at('old');
    fs.mkdirSync(old);
    const db = new Database(path.join(old, APPLIANCE_FILE));
    db.exec(
      'CREATE TABLE settings (section TEXT NOT NULL, version INTEGER NOT NULL, value TEXT NOT NULL, changed_ms INTEGER NOT NULL, changed_by TEXT NOT NULL, PRIMARY KEY (section, version)) STRICT',
    );
    db.exec('CREATE TABLE notifications (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL) STRICT');
    db.pragma('application_id = 0x4f546170');
    db.pragma('user_version = 1');
    db.close();
    const { file } = await createBackup({ ...request, data: old, product_version: '0.0.9' });
    const { manifest } = await verify(file, { trusted: trustedKeys(old) });
    expect(manifest.databases[APPLIANCE_FILE].schema_version).toBe(1);
  });

  it('refuses what is damaged, of a later version, or signed by somebody else', async () => {
    const { file } = await createBackup(request);
    const other = generateKey();
    fs.writeFileSync(at('other.pub'), publicKeyText(other));
    await expect(verify(file, { trusted: [other] })).rejects.toThrow(/not this appliance's/);
    expect(await verify(file, { trusted: null })).toMatchObject({ trusted: false });
    expect(trustedKeys(request.data, [at('other.pub')])).toHaveLength(2);
    const bytes = fs.readFileSync(file);
    fs.writeFileSync(at('cut'), bytes.subarray(0, bytes.length / 2));
    await expect(verify(at('cut'))).rejects.toMatchObject({ code: 'archive' });
    const db = new Database(path.join(request.data, DATABASE_FILE));
    db.pragma(`user_version = ${SCHEMA_VERSION + 1}`);
    db.close();
    const newer = await createBackup({ ...request, now_ms: request.now_ms + 1000 });
    await expect(verify(newer.file)).rejects.toThrow(StoreError);
    expect(fs.readdirSync(at('scratch'))).toEqual(['verify.lock']);
  });

  it('finds a database that is not whole', async () => {
    addDevices(request.data, 1000, 3000);
    const file = path.join(request.data, DATABASE_FILE);
    const checkpoint = new Database(file);
    checkpoint.pragma('wal_checkpoint(TRUNCATE)');
    checkpoint.close();
    const handle = fs.openSync(file, 'r+');
    const { size } = fs.fstatSync(handle);
    for (let page = 60; page * 4096 < size; page += 7) fs.writeSync(handle, Buffer.alloc(600, 0x5a), 0, 600, page * 4096 + 100);
    fs.closeSync(handle);
    await expect(createBackup(request).then((made) => verify(made.file))).rejects.toThrow(/damaged|malformed/);
  });
});
