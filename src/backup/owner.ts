import fs from 'node:fs';

/**
 * Runs `act` as the owner of the directory, where this process is root: what it makes there is the service's to write, and a link that the
 * service has put there leads root nowhere the service could not go itself. Not to be nested, and nothing else may be under way meanwhile:
 * it holds for the whole process.
 */
export function asOwnerOf<Result>(directory: string, act: () => Result): Result {
  const owner = ownerOf(directory);
  if (owner === null) return act();
  process.setegid!(owner.gid);
  process.seteuid!(owner.uid);
  const back = () => {
    process.seteuid!(0);
    process.setegid!(0);
  };
  let result: Result;
  try {
    result = act();
  } catch (error) {
    back();
    throw error;
  }
  if (result instanceof Promise) return result.finally(back) as Result;
  back();
  return result;
}

/** As whom a child process is to work in the directory; null: as this process does, which is not root, or whose it is already. */
export function ownerOf(directory: string): { uid: number; gid: number } | null {
  if (process.geteuid?.() !== 0) return null;
  const { uid, gid } = fs.statSync(directory);
  return uid === 0 ? null : { uid, gid };
}
