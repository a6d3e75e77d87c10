import fs from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ApplianceDatabase } from '../appliance/database.ts';
import { Notifications } from '../appliance/notifications.ts';
import { Settings } from '../appliance/settings.ts';
import { createBackup } from './create.ts';
import { fileNameOf, parseFileName } from './names.ts';
import { expired } from './retention.ts';
import { Backups, lastDue } from './schedule.ts';
import { BACKUP } from './settings.ts';
import { makeAppliance, remove, temporaryFolder } from './testing.ts';
import { verifyBackup } from './verify.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
let folder: string;
let database: ApplianceDatabase;
let settings: Settings;
let notifications: Notifications;
let now: number;
let fails: string | null;
let backups: Backups;

beforeEach(() => {
  folder = temporaryFolder();
  const { data } = makeAppliance(folder);
  database = new ApplianceDatabase(data);
  settings = new Settings(database);
  now = new Date(2026, 0, 10, 12).getTime();
  notifications = new Notifications(database, () => now);
  fails = null;
  set({});
  backups = new Backups({
    appliance: { data, config_file: '', product_version: '0.1.0' },
    database,
    settings,
    notifications,
    now_ms: () => now,
    create: (request) => (fails === null ? createBackup(request) : Promise.reject(new Error(fails))),
    verify: (request) => (fails === null ? verifyBackup(request) : Promise.reject(new Error(fails))),
  });
});
afterEach(() => {
  database.close();
  remove(folder);
});

const set = (value: object) => settings.write(BACKUP, { sensor_name: 'plant1', ...value }, 'anna', 1000);
const at = (day: number, hour: number, minute = 0): number => new Date(2026, 0, day, hour, minute).getTime();
const open = (): string[] => notifications.list({ open: true }).map(({ kind }) => kind);
const tickAt = async (time_ms: number): Promise<number> => {
  now = time_ms;
  await backups.tick();
  return backups.list().length;
};

describe('the schedule', () => {
  it('makes one a day, in its hour, and none for the time before it was installed', async () => {
    expect(await tickAt(at(10, 12))).toBe(0);
    expect(await tickAt(at(11, 2, 59))).toBe(0);
    expect(await tickAt(at(11, 3, 0))).toBe(1);
    expect(await tickAt(at(11, 3, 1))).toBe(1);
    expect(await tickAt(at(12, 3, 5))).toBe(2);
    expect(open()).toEqual([]);
    expect(backups.runs().map(({ kind, reason, outcome }) => [kind, reason, outcome])).toEqual(
      Array(2).fill(['backup', 'schedule', 'done']),
    );
  });

  it('makes up for what was missed, and says so until it is made', async () => {
    await tickAt(at(10, 12));
    fails = 'no space is left';
    await tickAt(at(11, 9));
    expect(open()).toEqual(['backup_missed', 'backup_failed']);
    fails = null;
    // Not again at once.
    expect(await tickAt(at(11, 9, 10))).toBe(0);
    expect(await tickAt(at(11, 9, 16))).toBe(1);
    expect(open()).toEqual([]);
  });

  it('tries a failed one again after a longer and longer time', async () => {
    await tickAt(at(10, 12));
    fails = 'broken';
    let tries = 0;
    for (let minute = 0; minute < 60 * 23; minute += 5) {
      await tickAt(at(11, 3) + minute * 60_000);
      tries = backups.runs().length;
    }
    expect(tries).toBe(9);
    expect(notifications.list()).toMatchObject([{ kind: 'backup_failed', count: 9, resolved_ms: null }]);
  });

  it('removes at its start what a killed one left', async () => {
    fs.mkdirSync(path.join(folder, 'data/backup-work'));
    fs.writeFileSync(path.join(folder, 'data/backup-work/ot-sensor.db'), 'half');
    backups.start();
    expect(fs.existsSync(path.join(folder, 'data/backup-work'))).toBe(false);
    await backups.stop();
  });

  it('does nothing where it is switched off, one at a time, and the limits hold', async () => {
    set({ enabled: false });
    await tickAt(at(10, 12));
    expect(await tickAt(at(11, 9))).toBe(0);
    const first = backups.create('manual');
    await expect(backups.create('manual')).rejects.toMatchObject({ code: 'conflict' });
    await first;
    set({ keep_count: 2 });
    for (let i = 1; i < 4; i++) {
      now += 1000;
      await backups.create('manual');
    }
    expect(backups.list().map(({ created_ms }) => created_ms)).toEqual([now, now - 1000]);
    expect(() => backups.find('../../etc/passwd')).toThrow(/no backup/);
  });

  it.each([
    ['plain', {}],
    ['with a passphrase', { passphrase: 'pass' }],
    [
      'for a public key',
      {
        public_key:
          '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEAhSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\n-----END PUBLIC KEY-----\n',
      },
    ],
  ])('restores one a month into a scratch folder: %s', async (_, value) => {
    set(value);
    await tickAt(at(10, 12));
    for (const day of [11, 12, 39, 41]) {
      await tickAt(at(day, 3));
      if (day < 41) await tickAt(at(day, 3, 1));
    }
    expect(backups.runs().filter(({ kind }) => kind === 'drill')).toEqual([]);
    await tickAt(at(41, 3, 1));
    await tickAt(at(41, 3, 2));
    const [drill, ...others] = backups.runs().filter(({ kind }) => kind === 'drill');
    expect([drill.outcome, others.length, fs.existsSync(path.join(folder, 'data/drill-work'))]).toEqual(['done', 0, false]);
    fails = 'damaged';
    await expect(backups.drillNow()).rejects.toThrow('damaged');
    expect(open()).toEqual(['restore_drill_failed']);
    fails = null;
    await backups.drillNow();
    expect(open()).toEqual([]);
  });
});

describe('the copies', () => {
  const store = (place: string, require_mount = false) => ({ name: 'nas', type: 'directory', path: place, require_mount });

  it('are made in each store, catch up after one was away, and follow the same limits', async () => {
    const nas = path.join(folder, 'nas');
    set({ stores: [store(nas)], keep_count: 3 });
    await backups.create('manual');
    expect(open()).toEqual(['backup_failed']);
    fs.mkdirSync(nas);
    fs.writeFileSync(path.join(nas, 'photo.jpg'), '');
    const other = fileNameOf({ sensor_name: 'plant2', product_version: '0.1.0', time_ms: 0, number: 1, encrypted: false });
    fs.writeFileSync(path.join(nas, other), '');
    now += 1000;
    await backups.create('manual');
    expect(open()).toEqual([]);
    const names = backups.list().map(({ name }) => name);
    expect(names).toHaveLength(2);
    expect(fs.readdirSync(nas).sort()).toEqual([...names, other, 'photo.jpg'].sort());
    for (let i = 0; i < 3; i++) {
      now += 1000;
      await backups.create('manual');
    }
    expect(fs.readdirSync(nas).sort()).toEqual([...backups.list().map(({ name }) => name), other, 'photo.jpg'].sort());
  });

  it('are not put on our own disk where nothing is mounted', async () => {
    set({ stores: [store(folder, true)] });
    await backups.create('manual');
    expect(notifications.list()).toMatchObject([{ description: expect.stringMatching(/nothing is mounted/) }]);
    expect(backups.runs()[0]).toMatchObject({ kind: 'store', outcome: 'failed' });
  });
});

describe('settings', () => {
  it.each([
    [{ time: '24:00' }, /\/time/],
    [{ passphrase: 'x', public_key: 'y' }, /cannot both encrypt/],
    [{ public_key: 'no key' }, /cannot be read/],
    [{ keys: true }, /are encrypted/],
    [{ directory: 'relative' }, /\/directory/],
    [{ stores: [{ name: 'a', type: 'sftp', host: 'h', user: 'u', host_key: 'x', password: 'p' }] }, /\/stores\/0/],
  ])('that cannot be are refused: %j', (value, message) => {
    expect(() => set(value)).toThrow(message);
  });
});

describe('retention', () => {
  it('never takes the newest, others’ or what is no backup, and keeps to its limits', () => {
    const name = fc.record({
      sensor_name: fc.constantFrom('plant1', 'plant2'),
      product_version: fc.constant('0.1.0'),
      time_ms: fc.integer({ min: 0, max: 400 }).map((day) => day * DAY),
      number: fc.integer({ min: 1, max: 3 }),
      encrypted: fc.boolean(),
    });
    const file = fc.record({ name: fc.oneof(name.map(fileNameOf), fc.string()), size: fc.nat(1000) });
    const limits = fc.record({ keep_count: fc.integer({ min: 1, max: 5 }), keep_days: fc.nat(100), keep_bytes: fc.nat(2000) });
    fc.assert(
      fc.property(fc.uniqueArray(file, { selector: (one) => one.name, maxLength: 30 }), limits, (files, limit) => {
        const gone = expired(files, 'plant1', limit, 400 * DAY);
        const own = files.filter((one) => parseFileName(one.name)?.sensor_name === 'plant1');
        expect(gone.every((one) => own.some((other) => other.name === one))).toBe(true);
        const kept = own.filter((one) => !gone.includes(one.name));
        expect(kept.length).toBeLessThanOrEqual(limit.keep_count);
        if (own.length === 0) return;
        const newest = Math.max(...own.map((one) => parseFileName(one.name)!.time_ms));
        expect(kept.some((one) => parseFileName(one.name)!.time_ms === newest)).toBe(true);
        if (kept.length > 1 && limit.keep_bytes > 0)
          expect(kept.reduce((sum, { size }) => sum + size, 0)).toBeLessThanOrEqual(limit.keep_bytes);
      }),
    );
  });

  it('goes by names that come back as they were', () => {
    const given = {
      sensor_name: 'a-backup-b.c',
      product_version: '1.2.3',
      time_ms: Date.UTC(2026, 1, 3, 4, 5, 6),
      number: 12,
      encrypted: true,
    };
    expect(fileNameOf(given)).toBe('a-backup-b.c-backup-1.2.3-20260203T040506Z-12.tar.gz.enc');
    expect(parseFileName(fileNameOf(given))).toEqual(given);
  });
});

it('a time is due by the local clock', () => {
  const due = (now_ms: number) => new Date(lastDue('03:00', now_ms));
  expect(due(at(10, 2, 59)).getTime()).toBe(at(9, 3));
  expect(due(at(10, 3)).getTime()).toBe(at(10, 3));
  expect(due(at(1, 0)).getTime()).toBe(new Date(2025, 11, 31, 3).getTime());
});
