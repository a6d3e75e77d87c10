import fs from 'node:fs';
import path from 'node:path';
import { sequenceOf } from './format.ts';

export interface StoredFile {
  name: string;
  bytes: number;
  /** When it was last written, ms of this machine's clock. */
  written_ms: number;
}

/** What the recorder needs of the file system; a test has one of its own. All is synchronous: the recorder's thread has nothing else to do. */
export interface Disk {
  now_ms(): number;
  /** Files of a recording in the directory, oldest first. Nothing else in it is looked at. */
  list(directory: string): StoredFile[];
  freeBytes(directory: string): number;
  create(file: string): number;
  /** All of `bytes[0, length)` at `position`, or it throws. */
  write(fd: number, bytes: Uint8Array, length: number, position: number): void;
  truncate(fd: number, length: number): void;
  /** Has somebody deleted the file that is open? */
  isGone(fd: number): boolean;
  close(fd: number): void;
  /** What is not there any more is no error. */
  remove(file: string): void;
}

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants;

export const realDisk: Disk = {
  now_ms: () => Date.now(),
  list: listFiles,
  freeBytes(directory) {
    const { bavail, bsize } = fs.statfsSync(directory);
    return bavail * bsize;
  },
  create: (file) => fs.openSync(file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600),
  write(fd, bytes, length, position) {
    for (let done = 0; done < length; ) done += fs.writeSync(fd, bytes, done, length - done, position + done);
  },
  truncate: (fd, length) => fs.ftruncateSync(fd, length),
  isGone: (fd) => fs.fstatSync(fd).nlink === 0,
  close: (fd) => fs.closeSync(fd),
  remove: (file) => fs.rmSync(file, { force: true }),
};

/** Files of a recording, oldest first: regular ones with a name of ours; links are not followed. */
export function listFiles(directory: string): StoredFile[] {
  const files: StoredFile[] = [];
  for (const name of fs.readdirSync(directory).sort()) {
    if (sequenceOf(name) < 0) continue;
    const stat = fs.lstatSync(path.join(directory, name), { throwIfNoEntry: false });
    if (stat?.isFile()) files.push({ name, bytes: stat.size, written_ms: stat.mtimeMs });
  }
  return files;
}

/**
 * Makes the directory (mode 0700) where there is none, and takes it for this process: two recorders would delete each other's files.
 * Throws where others may write to it, or another process that lives records to it.
 */
export function takeDirectory(directory: string): void {
  makeDirectory(directory);
  const stat = fs.statSync(directory);
  if ((stat.mode & 0o022) !== 0)
    throw new Error(`${directory} can be written by others; chmod go-w it, or choose another directory`);
  const lock = path.join(directory, LOCK_FILE);
  for (let again = false; ; again = true) {
    try {
      const fd = fs.openSync(lock, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
      fs.writeSync(fd, `${process.pid} ${startOf(process.pid)}\n`);
      fs.closeSync(fd);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || again) throw error;
      const owner = ownerOf(lock);
      if (owner !== null) throw new Error(`${directory} is recorded to by another sensor, process ${owner}`, { cause: error });
      fs.rmSync(lock, { force: true });
    }
  }
}

/** With the folders it lies in. Not mkdir's own `recursive`: that never returns where a parent is there and takes no folder (/proc). */
function makeDirectory(directory: string): void {
  if (fs.existsSync(directory)) return;
  const parent = path.dirname(directory);
  if (parent !== directory) makeDirectory(parent);
  fs.mkdirSync(directory, { mode: 0o700 });
}

export function leaveDirectory(directory: string): void {
  fs.rmSync(path.join(directory, LOCK_FILE), { force: true });
}

const LOCK_FILE = 'recorder.lock';

/** The process that holds the lock; null where it is over, or it is this one (a recorder before us in it). */
function ownerOf(lock: string): number | null {
  const [pid, start] = fs.readFileSync(lock, 'utf8').trim().split(' ');
  return Number(pid) !== process.pid && start !== '' && start === startOf(Number(pid)) ? Number(pid) : null;
}

/** When a process started, in the kernel's count (proc(5)): a number that was given to another process has another one. '' if over. */
function startOf(pid: number): string {
  try {
    // The name, in parentheses, may hold anything; what counts is the 22nd field.
    const stat = fs.readFileSync(`/proc/${Math.floor(pid)}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}
