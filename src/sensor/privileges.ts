import fs from 'node:fs';
import { OperatingError } from '../errors.ts';

/**
 * Started as root, the process becomes `user` in all its threads, with that user's groups, for good: what was opened before stays open,
 * and an interface that goes away then cannot be opened again. Does nothing, and says false,
 * where it is that user already.
 */
export function becomeUser(user: string): boolean {
  const account = accountOf(user);
  // Node's types leave initgroups out.
  const { getuid, setgid, setuid, initgroups } = process as NodeJS.Process & { initgroups?: (user: string, gid: number) => void };
  if (account === null)
    throw new OperatingError('usage', `user: there is no user "${user}" in /etc/passwd; make it, or name another`);
  if (getuid === undefined || setgid === undefined || setuid === undefined || initgroups === undefined) return false;
  if (getuid() === account.uid) return false;
  if (getuid() !== 0)
    throw new OperatingError('usage', `user: only root can become ${user}; leave the setting out, or start as ${user}`);
  initgroups(user, account.gid);
  setgid(account.gid);
  setuid(account.uid);
  return true;
}

function accountOf(user: string): { uid: number; gid: number } | null {
  for (const line of fs.readFileSync('/etc/passwd', 'utf8').split('\n')) {
    const [name, , uid, gid] = line.split(':');
    if (name === user) return { uid: Number(uid), gid: Number(gid) };
  }
  return null;
}
