import fs from 'node:fs';
import { isIP } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { Certificate } from '../appliance/certificate.ts';
import { addressesOf } from '../appliance/host-addresses.ts';
import { openManagement } from '../appliance/management.ts';
import { asOwnerOf } from '../backup/owner.ts';
import { OperatingError } from '../errors.ts';
import { makeFirstUser } from '../users/first-user.ts';

/** The settings of an appliance on which nobody has named a mirror port yet. */
export const FIRST_SETTINGS = `# The settings of this sensor. What else can be set, and what it means: ot-sensor config reference
# "ot-sensor setup" asks for them; "ot-sensor config check" says what is wrong with them.
data: /var/lib/ot-sensor

# The management interface, where what was found is asked for. On 127.0.0.1 only this machine can ask.
api:
  host: 127.0.0.1
  port: 8443

# The mirror ports: "ot-sensor setup" lists the interfaces and says which of them are. Without one nothing is captured.
capture:
  interfaces: []
`;

/** Makes the settings file where there is none; readable by the group that its folder has. Throws OperatingError. */
export function makeFirstSettings(file: string): boolean {
  try {
    fs.writeFileSync(file, FIRST_SETTINGS, { flag: 'wx', mode: 0o640 });
    fs.chownSync(file, fs.statSync(file).uid, fs.statSync(path.dirname(file)).gid);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw new OperatingError('output', `${file} cannot be written: ${(error as Error).message}`);
  }
}

/**
 * What the first start of the API would make, made before it: its certificate, and the first administrator, who is returned; null where
 * there are users. Nothing that is there is changed. Throws OperatingError, StoreError.
 */
export async function makeFirstUserAndCertificate(directory: string): Promise<{ name: string; password: string } | null> {
  const management = openManagement(directory);
  try {
    await new Certificate(directory).load([os.hostname(), '127.0.0.1']);
    return await makeFirstUser(management.users, management.database);
  } finally {
    management.database.close();
  }
}

/** A certificate of our own making that does not name the address is made again; one of the customer's is left alone. True: it was. */
export async function nameInCertificate(directory: string, host: string): Promise<boolean> {
  const certificate = new Certificate(directory);
  if (!certificate.exists) return false;
  const { self_signed, names } = certificate.facts();
  const wanted = [os.hostname(), '127.0.0.1', ...(host === '127.0.0.1' || isIP(host) === 0 ? [] : addressesOf(host))];
  if (!self_signed || wanted.every((name) => names.includes(isIP(name) === 0 ? `DNS:${name}` : `IP Address:${name}`)))
    return false;
  await certificate.selfSign(wanted);
  return true;
}

/** Runs `act` as the owner of the directory (see `asOwnerOf`), which is made where it is not there. */
export function asOwnerOfMade<Result>(directory: string, act: () => Promise<Result>): Promise<Result> {
  makeDataDirectory(directory);
  return asOwnerOf(directory, act);
}

/** Made where it is not there, for the service alone: with its user as the owner, where this is root and the package has made that user. */
function makeDataDirectory(directory: string): void {
  if (fs.existsSync(directory)) return;
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  const [, , uid, gid] = /^ot-sensor:.*$/m.exec(fs.readFileSync('/etc/passwd', 'utf8'))?.[0].split(':') ?? [];
  if (process.geteuid?.() === 0 && uid !== undefined) fs.chownSync(directory, Number(uid), Number(gid));
}
