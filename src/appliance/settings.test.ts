import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Type } from 'typebox';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OperatingError } from '../errors.ts';
import { ApplianceDatabase } from './database.ts';
import { Notifications } from './notifications.ts';
import { defineSettings, SECRET_SET, Secret, Settings } from './settings.ts';

const Syslog = Type.Object({ name: Type.String(), type: Type.Literal('syslog'), host: Type.String({ default: 'localhost' }) });
const Webhook = Type.Object({ name: Type.String(), type: Type.Literal('webhook'), key: Secret('key of the signature') });
const SECTION = defineSettings({
  name: 'example',
  description: 'for tests',
  schema: Type.Object({
    retries: Type.Integer({ minimum: 0, maximum: 10, default: 3 }),
    password: Secret('a password'),
    destinations: Type.Array(Type.Union([Syslog, Webhook]), { default: [], maxItems: 3 }),
  }),
  check: ({ destinations }) =>
    new Set(destinations.map((one) => one.name)).size === destinations.length
      ? []
      : [{ at: '/destinations', message: 'two have the same name' }],
});

let folder: string;
let database: ApplianceDatabase;
let settings: Settings;
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-'));
  database = new ApplianceDatabase(folder);
  settings = new Settings(database);
});
afterEach(() => {
  database.close();
  fs.rmSync(folder, { recursive: true });
});

const faultOf = (act: () => unknown): OperatingError => {
  try {
    act();
  } catch (error) {
    if (error instanceof OperatingError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
};

describe('managed settings', () => {
  it('are at their defaults until they are changed, and every change is a version', () => {
    expect(settings.read(SECTION)).toEqual({
      version: 0,
      value: { retries: 3, password: '', destinations: [] },
      changed_ms: 0,
      changed_by: '',
    });
    settings.write(SECTION, { retries: 4 }, 'anna', 1000);
    settings.write(SECTION, { retries: 5 }, 'ben', 2000);
    expect(settings.read(SECTION)).toMatchObject({ version: 2, value: { retries: 5 }, changed_by: 'ben' });
    expect(settings.read(SECTION, 1)).toMatchObject({ version: 1, value: { retries: 4 } });
    expect(settings.versions(SECTION).map((one) => one.version)).toEqual([2, 1]);
    expect(faultOf(() => settings.read(SECTION, 7)).code).toBe('not_found');
  });

  it('name every fault with its place, and store nothing', () => {
    const fault = faultOf(() =>
      settings.write(SECTION, { retries: 11, destinations: [{ name: 'a', type: 'pigeon' }] }, 'anna', 1),
    );
    expect(fault.code).toBe('settings');
    expect(fault.message).toMatch(/\/retries: /);
    expect(fault.message).toMatch(/\/destinations\/0/);
    const twice = [1, 2].map(() => ({ name: 'a', type: 'syslog' }));
    expect(faultOf(() => settings.write(SECTION, { destinations: twice }, 'anna', 1)).message).toMatch(/two have the same name/);
    expect(settings.read(SECTION).version).toBe(0);
  });

  it('never show a secret, and keep it where it is written back as shown, wherever its owner was moved to', () => {
    const destinations = [
      { name: 'a', type: 'webhook', key: 'key of a' },
      { name: 'b', type: 'webhook', key: 'key of b' },
    ];
    settings.write(SECTION, { password: 'hunter2', destinations }, 'anna', 1);
    const shown = settings.show(SECTION).value as { password: string; destinations: { name: string; key: string }[] };
    expect(JSON.stringify(shown)).not.toMatch(/hunter2|key of/);
    expect(shown.password).toBe(SECRET_SET);
    shown.destinations.reverse();
    settings.write(SECTION, shown, 'ben', 2);
    expect(settings.read(SECTION).value).toMatchObject({
      password: 'hunter2',
      destinations: [
        { name: 'b', key: 'key of b' },
        { name: 'a', key: 'key of a' },
      ],
    });
    settings.write(SECTION, { ...shown, password: '' }, 'ben', 3);
    expect(settings.show(SECTION).value).toMatchObject({ password: '' });
  });

  it('tell of the shape that is meant, and of no other', () => {
    const faulty = {
      destinations: [{ name: 'a', type: 'syslog', host: 1, port: 5 }, { name: 'b', type: 'pigeon' }, { type: 'webhook' }],
    };
    expect(
      faultOf(() => settings.write(SECTION, faulty, 'anna', 1))
        .message.replace(/.*changed: /, '')
        .split('; '),
    ).toEqual([
      expect.stringMatching(/^\/destinations\/0\/host: must be string/),
      '/destinations/1/type: must be one of syslog, webhook',
      expect.stringMatching(/^\/destinations\/2: must have required properties name/),
    ]);
  });

  it('do not lose a secret silently where what it belongs to was renamed', () => {
    settings.write(SECTION, { destinations: [{ name: 'a', type: 'webhook', key: 'key of a' }] }, 'anna', 1);
    const renamed = { destinations: [{ name: 'b', type: 'webhook', key: SECRET_SET }] };
    expect(faultOf(() => settings.write(SECTION, renamed, 'anna', 2)).message).toMatch(/needs its secrets again/);
  });

  it('are not overwritten by somebody who read an earlier version', () => {
    settings.write(SECTION, { retries: 1 }, 'anna', 1);
    const fault = faultOf(() => settings.write(SECTION, { retries: 2 }, 'ben', 2, 0));
    expect(fault.code).toBe('conflict');
    expect(fault.message).toMatch(/anna/);
  });
});

describe('the database of the appliance', () => {
  it('waits for the disk with each change, but for those that may be lost', () => {
    const synchronous = () => database.db.pragma('synchronous', { simple: true });
    const [full, normal] = [2, 1];
    expect(synchronous()).toBe(full);
    const during: unknown[] = [];
    database.unsynced(() => during.push(synchronous()));
    const failing = () =>
      database.unsynced(() => {
        throw new Error('disk');
      });
    expect(failing).toThrow('disk');
    expect([during, synchronous()]).toEqual([[normal], full]);
  });

  it('is readable by its owner alone, tells of changes by others, and refuses files that are not its own', () => {
    expect(fs.statSync(database.file).mode & 0o777).toBe(0o600);
    expect(database.changed()).toBe(false);
    const other = new ApplianceDatabase(folder);
    new Settings(other).write(SECTION, { retries: 7 }, 'root', 1);
    other.close();
    expect(database.changed()).toBe(true);
    expect(database.changed()).toBe(false);
    database.db.pragma('user_version = 99');
    expect(() => new ApplianceDatabase(folder)).toThrow(/schema version 99/);
    database.db.pragma('user_version = 1');
    database.db.pragma('application_id = 5');
    expect(() => new ApplianceDatabase(folder)).toThrow(/another program/);
  });
});

describe('system notifications', () => {
  it('are one while open, and another after they were resolved', () => {
    let now = 1000;
    const notifications = new Notifications(database, () => now);
    expect(notifications.raise('disk_low', '/data', '/data is 95 % full.', { percent: 95 })).toBe(true);
    now = 2000;
    expect(notifications.raise('disk_low', '/data', '/data is 97 % full.', { percent: 97 })).toBe(false);
    expect(notifications.raise('disk_low', '/other', '/other is 91 % full.')).toBe(true);
    expect(notifications.list()).toMatchObject([
      {
        id: 1,
        kind: 'disk_low',
        severity: 'major',
        count: 2,
        first_ms: 1000,
        last_ms: 2000,
        details: { percent: 97 },
        resolved_ms: null,
      },
      { id: 2, count: 1 },
    ]);
    expect(notifications.resolve('disk_low', '/data')).toBe(true);
    expect(notifications.resolve('disk_low', '/data')).toBe(false);
    expect(notifications.list({ open: true }).map((one) => one.id)).toEqual([2]);
    expect(notifications.raise('disk_low', '/data', 'again')).toBe(true);
    expect(notifications.list({ after_id: 2 })).toMatchObject([{ id: 3, count: 1, first_ms: 2000 }]);
  });
});
