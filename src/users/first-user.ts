import fs from 'node:fs';
import path from 'node:path';
import type { ApplianceDatabase } from '../appliance/database.ts';
import { randomPassword } from './passwords.ts';
import { ROOT, type Users } from './users.ts';

/** Holds the first administrator's password until one is changed, for whom nobody saw it printed. */
export const FIRST_PASSWORD_FILE = 'first-password';

const fileOf = ({ file }: ApplianceDatabase): string => path.join(path.dirname(file), FIRST_PASSWORD_FILE);

/** An administrator with a password of our making, where there is no user yet; null where there is. */
export async function makeFirstUser(
  users: Users,
  database: ApplianceDatabase,
): Promise<{ name: string; password: string } | null> {
  if (users.list().length > 0) return null;
  const first = { name: 'admin', password: randomPassword() };
  await users.create({ ...first, role: 'admin', must_change_password: true }, ROOT);
  fs.writeFileSync(fileOf(database), `${first.password}\n`, { mode: 0o600 });
  return first;
}

export function forgetFirstPassword(database: ApplianceDatabase): void {
  fs.rmSync(fileOf(database), { force: true });
}
