import type { ApplianceDatabase } from '../appliance/database.ts';
import type { Notifications } from '../appliance/notifications.ts';
import { Settings } from '../appliance/settings.ts';
import { OperatingError } from '../errors.ts';
import type { AuditLog } from './audit.ts';
import { forgetFirstPassword } from './first-user.ts';
import { hashPassword, passwordFault, passwordFits } from './passwords.ts';
import { ROLES, type Role } from './permissions.ts';
import { ACCESS } from './settings.ts';

export interface User {
  id: number;
  name: string;
  role: Role;
  enabled: boolean;
  /** A new password must be set before anything else is answered. */
  must_change_password: boolean;
  created_ms: number;
  password_changed_ms: number;
  last_sign_in_ms: number | null;
}

/** Who asks: for the audit log. */
export interface Actor {
  name: string;
  /** '' for a command on the appliance. */
  address: string;
}

/** Root, by a command on the appliance. */
export const ROOT: Actor = { name: 'root', address: '' };

const MAX_USERS = 1000;
const MAX_LOCK_SECONDS = 3600;
/** Failures are forgotten so long after the last one. */
const FORGET_MS = 24 * 3_600_000;
/** Names and addresses whose failures are remembered; the oldest go first. */
const MAX_FAILURE_KEYS = 10_000;

const WRONG = 'the name or the password is wrong';

/** The local users. Every change is in the audit log. Throws OperatingError. */
export class Users {
  private readonly database: ApplianceDatabase;
  private readonly audit: AuditLog;
  private readonly notifications: Notifications;
  private readonly settings: Settings;
  private readonly now_ms: () => number;

  constructor(database: ApplianceDatabase, audit: AuditLog, notifications: Notifications, now_ms: () => number = Date.now) {
    this.database = database;
    this.audit = audit;
    this.notifications = notifications;
    this.settings = new Settings(database);
    this.now_ms = now_ms;
  }

  list(): User[] {
    return (this.database.db.prepare('SELECT * FROM users ORDER BY name').all() as StoredUser[]).map(userOf);
  }

  /** Throws `not_found`. */
  get(name: string): User {
    return userOf(this.row(name));
  }

  byId(id: number): User | null {
    const row = this.database.db.prepare('SELECT * FROM users WHERE id = ?').get(id) as StoredUser | undefined;
    return row === undefined ? null : userOf(row);
  }

  async create(
    {
      name,
      role,
      password,
      must_change_password = false,
    }: { name: string; role: Role; password: string; must_change_password?: boolean },
    by: Actor,
  ): Promise<User> {
    if (!/^[a-z][a-z0-9._-]{0,31}$/.test(name))
      throw new OperatingError(
        'usage',
        'a user name has 1 to 32 characters: lower case letters, digits, ".", "_", "-", and begins with a letter',
      );
    this.checkPassword(name, password);
    const hash = await hashPassword(password);
    const now = this.now_ms();
    return this.database.transaction(() => {
      const { db } = this.database;
      if (db.prepare('SELECT 1 FROM users WHERE name = ?').get(name) !== undefined)
        throw new OperatingError('conflict', `there is a user "${name}" already`);
      if ((db.prepare('SELECT count(*) FROM users').pluck().get() as number) >= MAX_USERS)
        throw new OperatingError('conflict', `there are ${MAX_USERS} users already; delete one first`);
      db.prepare(
        `INSERT INTO users (name, role, password_hash, enabled, must_change_password, created_ms, password_changed_ms)
         VALUES (?, ?, ?, 1, ?, ?, ?)`,
      ).run(name, role, hash, Number(must_change_password), now, now);
      this.note(by, 'user.create', name, { role });
      return this.get(name);
    });
  }

  /** The last enabled administrator stays one. */
  change(name: string, changes: { role?: Role; enabled?: boolean }, by: Actor): User {
    return this.database.transaction(() => {
      const before = this.row(name);
      const role = changes.role ?? before.role;
      const enabled = changes.enabled ?? before.enabled !== 0;
      if (role !== 'admin' || !enabled) this.keepAnAdministrator(before);
      this.database.db.prepare('UPDATE users SET role = ?, enabled = ? WHERE id = ?').run(role, Number(enabled), before.id);
      if (!enabled || role !== before.role) this.endSessions(before.id);
      this.note(by, 'user.change', name, { ...changes });
      return this.get(name);
    });
  }

  /** With tokens and sessions. */
  delete(name: string, by: Actor): void {
    this.database.transaction(() => {
      const before = this.row(name);
      this.keepAnAdministrator(before);
      this.database.db.prepare('DELETE FROM users WHERE id = ?').run(before.id);
      this.note(by, 'user.delete', name, {});
    });
  }

  /**
   * Sets a password without knowing the old one: an administrator's right, or root's, whose way back in it is. Sessions end; a lock
   * is taken off.
   */
  async resetPassword(name: string, password: string, by: Actor, must_change_password = true): Promise<void> {
    const { id } = this.row(name);
    this.checkPassword(name, password);
    const hash = await hashPassword(password);
    this.database.transaction(() => {
      this.database.db
        .prepare('UPDATE users SET password_hash = ?, password_changed_ms = ?, must_change_password = ? WHERE id = ?')
        .run(hash, this.now_ms(), Number(must_change_password), id);
      this.endSessions(id);
      this.forgetFailures(`user ${name}`);
      this.note(by, 'user.reset_password', name, {});
    });
    forgetFirstPassword(this.database);
  }

  /** A user sets an own new password. Throws `not_signed_in`, `locked`, `password_policy`. */
  async changePassword(name: string, password: string, new_password: string, address: string): Promise<void> {
    const user = await this.signIn(name, password, address);
    if (password === new_password) throw new OperatingError('password_policy', 'the new password is the old one');
    await this.resetPassword(user.name, new_password, { name, address }, false);
  }

  /**
   * The user whose name and password these are. Throws `not_signed_in` (one message for all reasons), or `locked` with the seconds to
   * wait. After some failures of a name or from an address, both wait, longer each time.
   */
  async signIn(name: string, password: string, address: string): Promise<User> {
    const keys = [`user ${name.slice(0, 64)}`, ...(address === '' ? [] : [`address ${address}`])];
    const wait_s = Math.max(...keys.map((key) => this.waitSeconds(key)));
    if (wait_s > 0) throw new OperatingError('locked', `too many sign-ins failed; try again in ${wait_s} seconds`);
    const row = this.database.db.prepare('SELECT * FROM users WHERE name = ?').get(name) as StoredUser | undefined;
    const fits = await passwordFits(row?.password_hash ?? null, password);
    if (!fits || row === undefined || row.enabled === 0) {
      const locked = keys.filter((key) => this.fail(key));
      // A name that is none may be a password that slipped into the wrong field.
      const subject = row === undefined ? '(unknown)' : row.name;
      this.audit.add({ actor: subject, address, action: 'sign_in', subject, outcome: 'refused', details: {} });
      if (locked.length > 0)
        this.notifications.raise('accounts_locked', locked[0], `Sign-ins of ${subject} from ${address || 'here'} failed.`);
      throw new OperatingError('not_signed_in', WRONG);
    }
    this.database.transaction(() => {
      for (const key of keys) this.forgetFailures(key);
      this.database.db.prepare('UPDATE users SET last_sign_in_ms = ? WHERE id = ?').run(this.now_ms(), row.id);
      this.audit.add({ actor: row.name, address, action: 'sign_in', subject: row.name, outcome: 'done', details: {} });
    });
    return userOf(row);
  }

  private checkPassword(name: string, password: string): void {
    const fault = passwordFault(password, name, this.settings.read(ACCESS).value);
    if (fault !== '') throw new OperatingError('password_policy', `the password is refused: ${fault}`);
  }

  private row(name: string): StoredUser {
    const row = this.database.db.prepare('SELECT * FROM users WHERE name = ?').get(name) as StoredUser | undefined;
    if (row === undefined) throw new OperatingError('not_found', `there is no user "${name}"`);
    return row;
  }

  private keepAnAdministrator({ id, name }: StoredUser): void {
    const others = "SELECT count(*) FROM users WHERE role = 'admin' AND enabled = 1 AND id <> ?";
    if ((this.database.db.prepare(others).pluck().get(id) as number) === 0)
      throw new OperatingError('conflict', `"${name}" is the last administrator; make another one first`);
  }

  private endSessions(id: number): void {
    this.database.db.prepare("DELETE FROM tokens WHERE user_id = ? AND kind = 'session'").run(id);
  }

  private note({ name, address }: Actor, action: string, subject: string, details: Record<string, unknown>): void {
    this.audit.add({ actor: name, address, action, subject, outcome: 'done', details });
  }

  private waitSeconds(key: string): number {
    const until = this.database.db.prepare('SELECT until_ms FROM sign_in_failures WHERE key = ?').pluck().get(key) as
      | number
      | undefined;
    return until === undefined ? 0 : Math.max(0, Math.ceil((until - this.now_ms()) / 1000));
  }

  /** Counts a failure; true: they have to wait now. */
  private fail(key: string): boolean {
    const { failures_allowed, lock_seconds } = this.settings.read(ACCESS).value;
    const now = this.now_ms();
    const { db } = this.database;
    return this.database.transaction(() => {
      db.prepare('DELETE FROM sign_in_failures WHERE last_ms < ?').run(now - FORGET_MS);
      const count =
        ((db.prepare('SELECT count FROM sign_in_failures WHERE key = ?').pluck().get(key) as number | undefined) ?? 0) + 1;
      const locked = count >= failures_allowed;
      const seconds = locked ? Math.min(MAX_LOCK_SECONDS, lock_seconds * 2 ** Math.min(20, count - failures_allowed)) : 0;
      db.prepare(
        `INSERT INTO sign_in_failures (key, count, last_ms, until_ms) VALUES (?, ?, ?, ?)
         ON CONFLICT (key) DO UPDATE SET count = excluded.count, last_ms = excluded.last_ms, until_ms = excluded.until_ms`,
      ).run(key, count, now, now + seconds * 1000);
      db.prepare(
        'DELETE FROM sign_in_failures WHERE key IN (SELECT key FROM sign_in_failures ORDER BY last_ms DESC LIMIT -1 OFFSET ?)',
      ).run(MAX_FAILURE_KEYS);
      return locked;
    });
  }

  private forgetFailures(key: string): void {
    this.database.db.prepare('DELETE FROM sign_in_failures WHERE key = ?').run(key);
  }
}

interface StoredUser extends Omit<User, 'enabled' | 'must_change_password'> {
  password_hash: string;
  enabled: number;
  must_change_password: number;
}

function userOf(row: StoredUser): User {
  const { id, name, role, enabled, must_change_password, created_ms, password_changed_ms, last_sign_in_ms } = row;
  return {
    id,
    name,
    // A role that this program does not know has the least rights.
    role: ROLES.includes(role) ? role : 'read_only',
    enabled: enabled !== 0,
    must_change_password: must_change_password !== 0,
    created_ms,
    password_changed_ms,
    last_sign_in_ms,
  };
}
