import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

// What makes files last and appear whole: written under another name, synced, renamed, and the folder synced.

export function syncDirectory(directory: string): void {
  const handle = fs.openSync(directory, 'r');
  try {
    fs.fsyncSync(handle);
  } catch (error) {
    // Some file systems of other machines cannot.
    if (!['EINVAL', 'ENOTSUP', 'EBADF'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  } finally {
    fs.closeSync(handle);
  }
}

export function syncFile(file: string): void {
  const handle = fs.openSync(file, 'r+');
  try {
    fs.fsyncSync(handle);
  } finally {
    fs.closeSync(handle);
  }
}

/** The file has either its former content or this, whenever the process ends. */
export function writeAtomically(file: string, content: string | Uint8Array, mode = 0o600): void {
  const temporary = `${file}.tmp`;
  fs.rmSync(temporary, { force: true });
  const handle = fs.openSync(temporary, 'wx', mode);
  try {
    fs.writeFileSync(handle, content);
    fs.fsyncSync(handle);
  } finally {
    fs.closeSync(handle);
  }
  fs.renameSync(temporary, file);
  syncDirectory(path.dirname(file));
}

/** Renames and makes it last, in both folders. */
export function renameDurably(from: string, to: string): void {
  fs.renameSync(from, to);
  syncDirectory(path.dirname(to));
  if (path.dirname(from) !== path.dirname(to)) syncDirectory(path.dirname(from));
}

/** A copy with the same owner and mode that appears whole. */
export function copyDurably(from: string, to: string): void {
  const temporary = `${to}.copy`;
  // At no cost where the file system can share blocks.
  fs.copyFileSync(from, temporary, fs.constants.COPYFILE_FICLONE);
  fs.chmodSync(temporary, fs.statSync(from).mode & 0o777);
  ownLike(temporary, from);
  syncFile(temporary);
  renameDurably(temporary, to);
}

/** Of a fault of the disk, what it is and what is to be done; null: it is another. */
export function diskFault(error: unknown): string | null {
  const { code = '', message } = error as { code?: string; message: string };
  if (code === 'ENOSPC' || code === 'EDQUOT' || code.startsWith('SQLITE_FULL'))
    return `no space is left (${message}): make room and try again`;
  if (['EROFS', 'EACCES', 'EPERM', 'ENOENT', 'ENOTDIR'].includes(code) || code.startsWith('SQLITE_READONLY'))
    return `it cannot be written (${message}): check that it is there, whose it is, and that it is not mounted read-only`;
  return null;
}

/** Bytes that can still be written to the volume of `directory`. */
export function freeBytes(directory: string): number {
  const { bavail, bsize } = fs.statfsSync(directory);
  return bavail * bsize;
}

export async function sha256OfFile(file: string): Promise<string> {
  const hash = crypto.createHash('sha256');
  for await (const bytes of fs.createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(bytes as Buffer);
  return hash.digest('hex');
}

/** Whatever it is; nothing where there is nothing. */
export const removeTree = (where: string): void => fs.rmSync(where, { recursive: true, force: true, maxRetries: 2 });

/**
 * What root makes beside the service's files belongs to the service too: it could not use it otherwise. `like`: a file or folder that has the
 * right owner.
 */
export function ownLike(file: string, like: string): void {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = fs.statSync(like);
  fs.chownSync(file, uid, gid);
}
