import crypto from 'node:crypto';
import { promisify } from 'node:util';
import { OperatingError } from '../errors.ts';
import { type ByteSource, damaged } from './bytes.ts';

// Encryption of a file of any size, in frames. README.md has the format byte for byte, so that it can be opened without this program.

/** With whose key a backup is encrypted: a passphrase, or an X25519 public key (PEM). */
export type Encryption = { passphrase: string } | { public_key: string };
/** With what it is opened: the passphrase, or the X25519 private key (PEM). */
export type Opening = { passphrase: string } | { private_key: string };

export const ENCRYPTED_MAGIC = Buffer.from('OTSENC1\n');
const BY_PASSPHRASE = 1;
const BY_PUBLIC_KEY = 2;
const FRAME = 65_536;
const TAG = 16;
/** scrypt, RFC 7914: 128 MiB a guess. */
const LOG_N = 17;
const R = 8;
const P = 1;
/** What a header may ask for: 1 GiB. */
const MAX_LOG_N = 20;
const MAX_P = 4;
const SPKI = Buffer.from('302a300506032b656e032100', 'hex');
const INFO = 'ot-sensor backup 1';

const scrypt = promisify<string, Buffer, number, crypto.ScryptOptions, Buffer>(crypto.scrypt);
const keyFault = (message: string): OperatingError => new OperatingError('backup', message);

/** The public key of a PEM; throws OperatingError `backup`. */
export function publicKey(pem: string): crypto.KeyObject {
  let key: crypto.KeyObject;
  try {
    key = crypto.createPublicKey(pem);
  } catch {
    throw keyFault(
      'the public key cannot be read; make one with: openssl genpkey -algorithm x25519 | tee private.pem | openssl pkey -pubout',
    );
  }
  if (key.asymmetricKeyType !== 'x25519')
    throw keyFault('the public key is not one of X25519: openssl genpkey -algorithm x25519 makes them');
  return key;
}

/** Frames of 64 KiB, each sealed with AES-256-GCM; the last one says that it is, so that a file that was cut off is known. */
export async function* encrypted(source: ByteSource, encryption: Encryption): AsyncGenerator<Buffer> {
  const { header, key } = await newKey(encryption);
  yield header;
  let frame = await source.upTo(FRAME);
  for (let number = 0; ; number++) {
    const next: Buffer = frame.length < FRAME ? Buffer.alloc(0) : await source.upTo(FRAME);
    const last = next.length === 0;
    const cipher = crypto.createCipheriv('aes-256-gcm', key, nonceOf(number, last)).setAAD(header);
    yield Buffer.concat([cipher.update(frame), cipher.final(), cipher.getAuthTag()]);
    if (last) return;
    frame = next;
  }
}

/** Throws OperatingError `archive` where it is cut off or changed, or opened with the wrong key. Yields only what was found genuine. */
export async function* decrypted(source: ByteSource, opening: Opening | null): AsyncGenerator<Buffer> {
  const { header, key, wrong } = await knownKey(source, opening);
  let frame = await source.upTo(FRAME + TAG);
  for (let number = 0; ; number++) {
    if (frame.length < TAG) throw damaged('the encrypted file is cut off');
    const next: Buffer = frame.length < FRAME + TAG ? Buffer.alloc(0) : await source.upTo(FRAME + TAG);
    const last = next.length === 0;
    const decipher = crypto.createDecipheriv('aes-256-gcm', key, nonceOf(number, last)).setAAD(header);
    decipher.setAuthTag(frame.subarray(frame.length - TAG));
    let plain: Buffer;
    try {
      plain = Buffer.concat([decipher.update(frame.subarray(0, frame.length - TAG)), decipher.final()]);
    } catch {
      throw damaged(number === 0 ? wrong : 'the encrypted file was changed, or is cut off');
    }
    yield plain;
    if (last) return;
    frame = next;
  }
}

async function newKey(encryption: Encryption): Promise<{ header: Buffer; key: Buffer }> {
  if ('passphrase' in encryption) {
    const salt = crypto.randomBytes(32);
    const header = Buffer.concat([ENCRYPTED_MAGIC, Buffer.from([BY_PASSPHRASE, LOG_N, R, P]), salt]);
    return { header, key: await stretched(encryption.passphrase, salt, LOG_N, R, P) };
  }
  const recipient = publicKey(encryption.public_key);
  const { publicKey: ephemeral, privateKey } = crypto.generateKeyPairSync('x25519');
  const header = Buffer.concat([ENCRYPTED_MAGIC, Buffer.from([BY_PUBLIC_KEY]), rawOf(ephemeral)]);
  return { header, key: agreed(privateKey, recipient, rawOf(ephemeral), rawOf(recipient)) };
}

async function knownKey(source: ByteSource, opening: Opening | null): Promise<{ header: Buffer; key: Buffer; wrong: string }> {
  const start = await source.exactly(ENCRYPTED_MAGIC.length + 1);
  const method = start[ENCRYPTED_MAGIC.length];
  if (method === BY_PASSPHRASE) {
    const rest = await source.exactly(35);
    const [log_n, r, p] = rest;
    if (log_n < 10 || log_n > MAX_LOG_N || r !== R || p < 1 || p > MAX_P)
      throw damaged('the encrypted file asks for more work or memory than any that ot-sensor made');
    if (opening === null || !('passphrase' in opening)) throw keyFault('the backup is encrypted with a passphrase: give it');
    const header = Buffer.concat([start, rest]);
    const key = await stretched(opening.passphrase, rest.subarray(3), log_n, r, p);
    return { header, key, wrong: 'the passphrase is wrong, or the file was changed' };
  }
  if (method !== BY_PUBLIC_KEY) throw damaged('the file is encrypted in a way this version does not know');
  const ephemeral = await source.exactly(32);
  if (opening === null || !('private_key' in opening))
    throw keyFault('the backup is encrypted with a public key: give the file of the private key that belongs to it');
  let private_key: crypto.KeyObject;
  let own: Buffer;
  let key: Buffer;
  try {
    private_key = crypto.createPrivateKey(opening.private_key);
    own = rawOf(crypto.createPublicKey(private_key));
  } catch {
    throw keyFault('the private key cannot be read: it should be one of X25519, unencrypted, in PEM');
  }
  try {
    const theirs = crypto.createPublicKey({ key: Buffer.concat([SPKI, ephemeral]), format: 'der', type: 'spki' });
    key = agreed(private_key, theirs, ephemeral, own);
  } catch {
    throw damaged('the private key does not fit the encrypted file');
  }
  return { header: Buffer.concat([start, ephemeral]), key, wrong: 'it was encrypted for another key, or the file was changed' };
}

const stretched = (passphrase: string, salt: Buffer, log_n: number, r: number, p: number): Promise<Buffer> =>
  scrypt(passphrase.normalize('NFKC'), salt, 32, { N: 2 ** log_n, r, p, maxmem: 128 * r * (2 ** log_n + p + 8) });

/** RFC 7748 and RFC 5869. */
function agreed(own: crypto.KeyObject, theirs: crypto.KeyObject, ephemeral: Buffer, recipient: Buffer): Buffer {
  const secret = crypto.diffieHellman({ privateKey: own, publicKey: theirs });
  return Buffer.from(crypto.hkdfSync('sha256', secret, Buffer.concat([ephemeral, recipient]), INFO, 32));
}

const rawOf = (key: crypto.KeyObject): Buffer => key.export({ format: 'der', type: 'spki' }).subarray(SPKI.length);

/** Eleven bytes of the frame's number, and whether it is the last. A key is used for one file only. */
function nonceOf(number: number, last: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(number, 5, 6);
  nonce[11] = last ? 1 : 0;
  return nonce;
}
