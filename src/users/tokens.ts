import { createHash, randomBytes } from 'node:crypto';
import type { ApplianceDatabase } from '../appliance/database.ts';
import { Settings } from '../appliance/settings.ts';
import { OperatingError } from '../errors.ts';
import type { AuditLog } from './audit.ts';
import { ROLES, type Role } from './permissions.ts';
import { ACCESS } from './settings.ts';
import type { Actor } from './users.ts';

/** A token for a program. What it is worth can only be shown when it is made: a hash is kept. */
export interface Token {
  id: number;
  name: string;
  /** Whose it is: it can never do more than its user. */
  user: string;
  role: Role;
  created_ms: number;
  expires_ms: number | null;
  last_used_ms: number | null;
}

/** Who a request comes from. */
export interface Identity {
  user_id: number;
  name: string;
  role: Role;
  must_change_password: boolean;
  token_id: number;
  kind: 'session' | 'token';
  /** As the audit log names it. */
  actor: string;
}

const MAX_TOKENS = 1000;
const MAX_SESSIONS_OF_A_USER = 50;
/** Last use is kept this exactly: not a write for every request. */
const USED_STEP_MS = 60_000;

/** Tokens of programs and sessions of people: both are 256 random bits that are known again by their hash. Throws OperatingError. */
export class Tokens {
  private readonly database: ApplianceDatabase;
  private readonly audit: AuditLog;
  private readonly settings: Settings;
  private readonly now_ms: () => number;

  constructor(database: ApplianceDatabase, audit: AuditLog, now_ms: () => number = Date.now) {
    this.database = database;
    this.audit = audit;
    this.settings = new Settings(database);
    this.now_ms = now_ms;
  }

  /** `secret` is shown once and kept nowhere. The role is at most the user's own. */
  create(
    { name, user_id, role, expires_ms = null }: { name: string; user_id: number; role: Role; expires_ms?: number | null },
    by: Actor,
  ): { token: Token; secret: string } {
    const now = this.now_ms();
    if (name === '' || name.length > 64 || /\p{Cc}/u.test(name))
      throw new OperatingError('usage', 'a token has a name of 1 to 64 characters that says what it is for');
    if (expires_ms !== null && expires_ms <= now) throw new OperatingError('usage', 'the token would have expired already');
    const secret = newSecret();
    return this.database.transaction(() => {
      const { db } = this.database;
      const user = db.prepare('SELECT name, role FROM users WHERE id = ?').get(user_id) as
        | { name: string; role: Role }
        | undefined;
      if (user === undefined) throw new OperatingError('not_found', 'there is no such user');
      if (ROLES.indexOf(role) > ROLES.indexOf(user.role))
        throw new OperatingError('not_allowed', `a token of ${user.name} can be ${user.role} at most`);
      db.prepare("DELETE FROM tokens WHERE kind = 'token' AND expires_ms < ?").run(now - 90 * 86_400_000);
      if ((db.prepare("SELECT count(*) FROM tokens WHERE kind = 'token'").pluck().get() as number) >= MAX_TOKENS)
        throw new OperatingError('conflict', `there are ${MAX_TOKENS} tokens already; delete one first`);
      const { lastInsertRowid } = db
        .prepare(
          `INSERT INTO tokens (kind, name, user_id, role, hash, created_ms, used_ms, expires_ms) VALUES ('token', ?, ?, ?, ?, ?, NULL, ?)`,
        )
        .run(name, user_id, role, hashOf(secret), now, expires_ms);
      this.audit.add({
        actor: by.name,
        address: by.address,
        action: 'token.create',
        subject: name,
        outcome: 'done',
        details: { user: user.name, role, expires_ms },
      });
      return { token: this.get(Number(lastInsertRowid)), secret };
    });
  }

  /** A person who has signed in. */
  startSession(user_id: number): { secret: string; expires_ms: number } {
    const secret = newSecret();
    const now = this.now_ms();
    const { session_limit_hours } = this.settings.read(ACCESS).value;
    const expires_ms = now + session_limit_hours * 3_600_000;
    this.database.transaction(() => {
      const { db } = this.database;
      const role = db.prepare('SELECT role FROM users WHERE id = ?').pluck().get(user_id) as string;
      db.prepare("DELETE FROM tokens WHERE kind = 'session' AND expires_ms < ?").run(now);
      db.prepare(
        `DELETE FROM tokens WHERE id IN
         (SELECT id FROM tokens WHERE kind = 'session' AND user_id = ? ORDER BY used_ms DESC LIMIT -1 OFFSET ?)`,
      ).run(user_id, MAX_SESSIONS_OF_A_USER - 1);
      db.prepare(
        `INSERT INTO tokens (kind, name, user_id, role, hash, created_ms, used_ms, expires_ms) VALUES ('session', '', ?, ?, ?, ?, ?, ?)`,
      ).run(user_id, role, hashOf(secret), now, now, expires_ms);
    });
    return { secret, expires_ms };
  }

  /** Whose secret this is; null where it is nobody's, has expired, or its user is disabled. */
  identify(secret: string): Identity | null {
    if (secret.length > 256) return null;
    const now = this.now_ms();
    const row = this.database
      .statement(
        `SELECT tokens.id, kind, tokens.name, tokens.role AS token_role, used_ms, expires_ms, user_id, users.name AS user, users.role,
         enabled, must_change_password FROM tokens JOIN users ON users.id = user_id WHERE hash = ?`,
      )
      .get(hashOf(secret)) as IdentityRow | undefined;
    if (row === undefined || row.enabled === 0) return null;
    if (row.expires_ms !== null && row.expires_ms <= now) return null;
    if (row.kind === 'session') {
      const { session_timeout_minutes } = this.settings.read(ACCESS).value;
      if (now - (row.used_ms ?? 0) > session_timeout_minutes * 60_000) return null;
    }
    if (now - (row.used_ms ?? 0) >= USED_STEP_MS)
      this.database.unsynced(() => void this.database.statement('UPDATE tokens SET used_ms = ? WHERE id = ?').run(now, row.id));
    const rank =
      row.kind === 'session' ? ROLES.indexOf(row.role) : Math.min(ROLES.indexOf(row.role), ROLES.indexOf(row.token_role));
    return {
      user_id: row.user_id,
      name: row.user,
      role: ROLES[Math.max(0, rank)],
      must_change_password: row.must_change_password !== 0 && row.kind === 'session',
      token_id: row.id,
      kind: row.kind,
      actor: row.kind === 'session' ? row.user : `token ${row.name} of ${row.user}`,
    };
  }

  /** Of one user, or of all. Sessions are not listed. */
  list(user_id?: number): Token[] {
    return this.database.db
      .prepare(`${SELECT} WHERE kind = 'token' AND (? IS NULL OR user_id = ?) ORDER BY tokens.id`)
      .all(user_id ?? null, user_id ?? null) as Token[];
  }

  /** Throws `not_found`. */
  get(id: number): Token {
    const token = this.database.db.prepare(`${SELECT} WHERE kind = 'token' AND tokens.id = ?`).get(id) as Token | undefined;
    if (token === undefined) throw new OperatingError('not_found', `there is no token ${id}`);
    return token;
  }

  /** It is worth nothing from here on. */
  delete(id: number, by: Actor): void {
    const { name } = this.get(id);
    this.database.transaction(() => {
      this.database.db.prepare('DELETE FROM tokens WHERE id = ?').run(id);
      this.audit.add({
        actor: by.name,
        address: by.address,
        action: 'token.delete',
        subject: name,
        outcome: 'done',
        details: {},
      });
    });
  }

  endSession(id: number): void {
    this.database.db.prepare("DELETE FROM tokens WHERE id = ? AND kind = 'session'").run(id);
  }
}

const SELECT = `SELECT tokens.id, tokens.name, users.name AS user, tokens.role, tokens.created_ms, expires_ms, used_ms AS last_used_ms
  FROM tokens JOIN users ON users.id = user_id`;

interface IdentityRow {
  id: number;
  kind: 'session' | 'token';
  name: string;
  token_role: Role;
  used_ms: number | null;
  expires_ms: number | null;
  user_id: number;
  user: string;
  role: Role;
  enabled: number;
  must_change_password: number;
}

/** The prefix lets scanners for leaked secrets know it. */
const newSecret = () => `ots_${randomBytes(32).toString('base64url')}`;

/** 256 random bits need no slow hash. */
const hashOf = (secret: string) => createHash('sha256').update(secret).digest('hex');
