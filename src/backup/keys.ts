import fs from 'node:fs';
import path from 'node:path';
import {
  generateKey,
  type PublicKey,
  parsePublicKey,
  parseSecretKey,
  publicKeyOf,
  publicKeyText,
  type SecretKey,
  secretKeyText,
} from '../signing/minisign.ts';
import { ownLike, syncDirectory } from './files.ts';

export const SECRET_KEY_FILE = 'backup-signing.key';
export const PUBLIC_KEY_FILE = 'backup-signing.pub';

/** With which this appliance signs its backups. Made when it is first wanted, in its data directory, readable by its owner alone. */
export function signingKey(data: string): SecretKey {
  const file = path.join(data, SECRET_KEY_FILE);
  if (!fs.existsSync(file)) {
    const temporary = `${file}.${process.pid}`;
    fs.rmSync(temporary, { force: true });
    const handle = fs.openSync(temporary, 'wx', 0o600);
    fs.writeFileSync(handle, secretKeyText(generateKey()));
    fs.fsyncSync(handle);
    fs.closeSync(handle);
    ownLike(temporary, data);
    try {
      // Unlike a rename it does not replace the one that another process made meanwhile.
      fs.linkSync(temporary, file);
      syncDirectory(data);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    } finally {
      fs.rmSync(temporary, { force: true });
    }
  }
  const key = parseSecretKey(fs.readFileSync(file, 'utf8'));
  const public_file = path.join(data, PUBLIC_KEY_FILE);
  if (!fs.existsSync(public_file)) {
    fs.writeFileSync(public_file, publicKeyText(key), { mode: 0o644 });
    ownLike(public_file, data);
  }
  return key;
}

/** The appliance's own, where it has one already, and those of the files given. */
export function trustedKeys(data: string, files: readonly string[] = []): PublicKey[] {
  const own = path.join(data, SECRET_KEY_FILE);
  const keys = files.map((file) => parsePublicKey(fs.readFileSync(file, 'utf8')));
  return fs.existsSync(own) ? [publicKeyOf(parseSecretKey(fs.readFileSync(own, 'utf8'))), ...keys] : keys;
}
