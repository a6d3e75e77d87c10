import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ApplianceDatabase } from '../appliance/database.ts';
import { Notifications } from '../appliance/notifications.ts';
import { Settings } from '../appliance/settings.ts';
import { AuditLog } from './audit.ts';
import { passwordFault, randomPassword } from './passwords.ts';
import { mayDo, PERMISSIONS, type Permission } from './permissions.ts';
import { ACCESS } from './settings.ts';
import { Tokens } from './tokens.ts';
import { ROOT, Users } from './users.ts';

const GOOD = 'Corvus-17-brake';
const BETTER = 'Lantern-42-gauge';
const ADDRESS = '192.0.2.7';

let folder: string;
let database: ApplianceDatabase;
let now: number;
let audit: AuditLog;
let notifications: Notifications;
let users: Users;
let tokens: Tokens;
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-'));
  database = new ApplianceDatabase(folder);
  now = 1_700_000_000_000;
  audit = new AuditLog(database, () => now);
  notifications = new Notifications(database, () => now);
  users = new Users(database, audit, notifications, () => now);
  tokens = new Tokens(database, audit, () => now);
});
afterEach(() => {
  database.close();
  fs.rmSync(folder, { recursive: true });
});

const anna = () => users.create({ name: 'anna', role: 'admin', password: GOOD }, ROOT);
const code = (value: string) => expect.objectContaining({ code: value });

describe('users', () => {
  it('sign in with their password, and nobody learns which of the two was wrong', async () => {
    await anna();
    expect(await users.signIn('anna', GOOD, ADDRESS)).toMatchObject({ name: 'anna', role: 'admin' });
    const wrong = await users.signIn('anna', 'Corvus-17-brakE', ADDRESS).catch((error) => error);
    const unknown = await users.signIn('nobody', GOOD, ADDRESS).catch((error) => error);
    expect(wrong).toEqual(code('not_signed_in'));
    expect(unknown.message).toBe(wrong.message);
  });

  it('wait after failures, longer each time, by name and by address; the right password does not shorten it', async () => {
    await anna();
    for (let i = 0; i < 5; i++) await expect(users.signIn('anna', 'wrong', ADDRESS)).rejects.toEqual(code('not_signed_in'));
    await expect(users.signIn('anna', GOOD, ADDRESS)).rejects.toThrow(/30 seconds/);
    await expect(users.signIn('anna', GOOD, '192.0.2.99')).rejects.toEqual(code('locked'));
    await expect(users.signIn('ben', GOOD, ADDRESS)).rejects.toEqual(code('locked'));
    now += 30_000;
    await expect(users.signIn('anna', 'wrong', ADDRESS)).rejects.toEqual(code('not_signed_in'));
    await expect(users.signIn('anna', GOOD, ADDRESS)).rejects.toThrow(/60 seconds/);
    now += 60_000;
    await users.signIn('anna', GOOD, ADDRESS);
    await users.signIn('anna', GOOD, ADDRESS);
    expect(notifications.list().map((one) => one.kind)).toContain('accounts_locked');
  });

  it('always include an administrator who can sign in', async () => {
    await anna();
    expect(() => users.delete('anna', ROOT)).toThrow(/last administrator/);
    expect(() => users.change('anna', { role: 'analyst' }, ROOT)).toThrow(/last administrator/);
    expect(() => users.change('anna', { enabled: false }, ROOT)).toThrow(/last administrator/);
    await users.create({ name: 'ben', role: 'admin', password: BETTER }, ROOT);
    expect(users.change('anna', { enabled: false }, ROOT).enabled).toBe(false);
    await expect(users.signIn('anna', GOOD, ADDRESS)).rejects.toEqual(code('not_signed_in'));
    expect(() => users.delete('ben', ROOT)).toThrow(/last administrator/);
  });

  it('change their own password, and root sets any', async () => {
    await anna();
    await expect(users.changePassword('anna', GOOD, GOOD, ADDRESS)).rejects.toEqual(code('password_policy'));
    await expect(users.changePassword('anna', GOOD, 'short', ADDRESS)).rejects.toEqual(code('password_policy'));
    await users.changePassword('anna', GOOD, BETTER, ADDRESS);
    await users.signIn('anna', BETTER, ADDRESS);
    for (let i = 0; i < 6; i++) await users.signIn('anna', 'wrong', ADDRESS).catch(() => {});
    await users.resetPassword('anna', GOOD, ROOT);
    expect(await users.signIn('anna', GOOD, '192.0.2.99')).toMatchObject({ must_change_password: true });
  });

  it('have names that are one thing in every tool', async () => {
    for (const name of ['', 'Anna', '../x', 'a b', 'x'.repeat(33), '1st', 'a\n'])
      await expect(users.create({ name, role: 'admin', password: GOOD }, ROOT)).rejects.toEqual(code('usage'));
    await anna();
    await expect(anna()).rejects.toEqual(code('conflict'));
  });
});

describe('passwords', () => {
  const policy = { password_length: 12, password_classes: 3 };
  it.each([
    ['Corvus-17-brake', ''],
    ['a long sentence of small words', ''],
    ['Short-17', 'fewer than 12'],
    ['corvusbrakeload', 'only 1 of'],
    ['Anna-1234567890', "user's name"],
    ['Aa1-Aa1-Aa1-Aa1', 'repeats'],
    ['Corvus-17\u0000-brake', 'control'],
    [`Aa1-${'xyzuvw'.repeat(50)}`, 'more than 256'],
  ])('%s: %s', (password, fault) => {
    const found = passwordFault(password, 'anna', policy);
    if (fault === '') expect(found).toBe('');
    else expect(found).toContain(fault);
  });

  it('are made at random where one is needed', () => {
    expect(randomPassword()).toMatch(/^[a-zA-Z2-9]{20}$/);
    expect(randomPassword()).not.toBe(randomPassword());
  });
});

describe('tokens', () => {
  it('are shown once, never kept, can do no more than their user, and end', async () => {
    const { id } = await users.create({ name: 'ben', role: 'analyst', password: GOOD }, ROOT);
    await anna();
    expect(() => tokens.create({ name: 'x', user_id: id, role: 'admin' }, ROOT)).toThrow(/analyst at most/);
    const { secret, token } = tokens.create({ name: 'siem', user_id: id, role: 'analyst', expires_ms: now + 1000 }, ROOT);
    expect(token).toMatchObject({ name: 'siem', user: 'ben', last_used_ms: null });
    expect(fs.readFileSync(database.file).includes(secret)).toBe(false);
    expect(tokens.identify(secret)).toMatchObject({ name: 'ben', role: 'analyst', actor: 'token siem of ben' });
    expect(tokens.get(token.id).last_used_ms).toBe(now);
    users.change('ben', { role: 'read_only' }, ROOT);
    expect(tokens.identify(secret)).toMatchObject({ role: 'read_only' });
    users.change('ben', { enabled: false }, ROOT);
    expect(tokens.identify(secret)).toBeNull();
    users.change('ben', { enabled: true }, ROOT);
    now += 1000;
    expect(tokens.identify(secret)).toBeNull();
    expect(tokens.identify(`${secret}x`)).toBeNull();
  });

  it('of sessions end when nothing is asked for, after their limit, and with a new password', async () => {
    const { id } = await anna();
    new Settings(database).write(ACCESS, { session_timeout_minutes: 10, session_limit_hours: 1 }, 'anna', now);
    const { secret } = tokens.startSession(id);
    for (let i = 0; i < 6; i++) {
      now += 9 * 60_000;
      expect(tokens.identify(secret)).toMatchObject({ kind: 'session', actor: 'anna' });
    }
    now += 9 * 60_000;
    expect(tokens.identify(secret)).toBeNull();
    const second = tokens.startSession(id).secret;
    now += 11 * 60_000;
    expect(tokens.identify(second)).toBeNull();
    const third = tokens.startSession(id).secret;
    await users.resetPassword('anna', BETTER, ROOT);
    expect(tokens.identify(third)).toBeNull();
  });

  it('go with their user', async () => {
    await anna();
    const { id } = await users.create({ name: 'ben', role: 'analyst', password: GOOD }, ROOT);
    const { secret } = tokens.create({ name: 'siem', user_id: id, role: 'analyst' }, ROOT);
    users.delete('ben', ROOT);
    expect(tokens.identify(secret)).toBeNull();
    expect(tokens.list()).toEqual([]);
  });
});

describe('the audit log', () => {
  const fill = () => {
    for (let i = 1; i <= 5; i++)
      audit.add({ actor: 'anna', address: ADDRESS, action: 'settings.change', subject: `${i}`, outcome: 'done', details: { i } });
  };
  it.each([
    ['an entry is changed', "UPDATE audit SET actor = 'ben' WHERE id = 3", 3, /changed/],
    ['an entry is taken out', 'DELETE FROM audit WHERE id = 3', 4, /missing/],
    ['the newest is taken out', 'DELETE FROM audit WHERE id = 5', 4, /5 to 5 are missing/],
    ['the oldest is taken out', 'DELETE FROM audit WHERE id = 1', 2, /1 to 1 are missing/],
    ['all are taken out', 'DELETE FROM audit', 0, /1 to 5 are missing/],
  ])('tells when %s', (_, sql, at_id, reason) => {
    fill();
    expect(audit.verify()).toEqual({ intact: true, entries: 5, first_id: 1, last_id: 5 });
    database.db.exec(sql);
    expect(audit.verify()).toMatchObject({ intact: false, at_id, reason: expect.stringMatching(reason) });
    fill();
    expect(audit.verify().intact).toBe(false);
  });

  it('lists the newest first, page by page', () => {
    fill();
    expect(audit.list({ limit: 2 }).map((one) => one.id)).toEqual([5, 4]);
    expect(audit.list({ limit: 9, before_id: 4 }).map((one) => one.details.i)).toEqual([3, 2, 1]);
    expect(audit.list({ actor: 'ben' })).toEqual([]);
  });

  it('holds no password', async () => {
    await anna();
    await users.signIn(GOOD, GOOD, ADDRESS).catch(() => {});
    expect(JSON.stringify(audit.list())).not.toContain(GOOD);
  });
});

it('what a role may do, the next one may too', () => {
  for (const permission of Object.keys(PERMISSIONS) as Permission[]) {
    expect(mayDo('admin', permission)).toBe(true);
    if (mayDo('read_only', permission)) expect(mayDo('analyst', permission)).toBe(true);
  }
  expect(mayDo('read_only', 'alerts.manage')).toBe(false);
  expect(mayDo('analyst', 'users.manage')).toBe(false);
});
