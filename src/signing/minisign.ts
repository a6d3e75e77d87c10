import crypto from 'node:crypto';
import fs from 'node:fs';
import { OperatingError } from '../errors.ts';
import { blake2b } from './blake2b.ts';

// minisign's files: a line of comment and a line of base64, twice for a signature. Whoever has the public key can check with the tool
// itself what was signed here, and the other way round. All numbers are little-endian.

export interface PublicKey {
  /** Sixteen hexadecimal digits, as the tool shows them. */
  id: string;
  /** Ed25519 (RFC 8032), 32 bytes. */
  key: Buffer;
}

export interface SecretKey extends PublicKey {
  /** 32 bytes. */
  seed: Buffer;
}

export interface Signature {
  key_id: string;
  /** Of what was signed its BLAKE2b-512 (`ED`), or itself (`Ed`, the older form). */
  prehashed: boolean;
  signature: Buffer;
  /** Signed as well. */
  trusted_comment: string;
  global_signature: Buffer;
}

/** No file of this format is larger; comments are at most 1 and 8 KiB with their line's beginning. */
const MAX_FILE = 16_384;
const MAX_COMMENT = 1024;
const MAX_TRUSTED_COMMENT = 8192;
/** What an older signature signs is read whole. */
const MAX_LEGACY = 64 << 20;
/** What a key's password may cost at most: what the tool itself asks for. */
const MAX_OPERATIONS = 33_554_432;
const MAX_MEMORY = 1 << 30;
const UNTRUSTED = 'untrusted comment: ';
const TRUSTED = 'trusted comment: ';
const SPKI = Buffer.from('302a300506032b6570032100', 'hex');
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');

const refused = (message: string): OperatingError => new OperatingError('signature', message);

export function generateKey(): SecretKey {
  return secretKeyOf(crypto.randomBytes(8), crypto.randomBytes(32));
}

export function publicKeyOf({ id, key }: PublicKey): PublicKey {
  return { id, key };
}

export function publicKeyText(key: PublicKey): string {
  return `${UNTRUSTED}minisign public key ${key.id}\n${publicKeyLine(key)}\n`;
}

/** The second line of the file: enough for the tool's `-P`. */
export function publicKeyLine({ id, key }: PublicKey): string {
  return Buffer.concat([Buffer.from('Ed'), idBytes(id), key]).toString('base64');
}

/** A public key's file, or its second line alone. Throws OperatingError `signature`. */
export function parsePublicKey(text: string): PublicKey {
  const lines = linesOf(text, 'public key');
  const bytes = base64(lines.length === 1 ? lines[0] : (lines[1] ?? ''), 42, 'public key');
  if (bytes.toString('latin1', 0, 2) !== 'Ed') throw refused('the public key is not one of Ed25519');
  return { id: idText(bytes.subarray(2, 10)), key: Buffer.from(bytes.subarray(10)) };
}

/** `password`: '' keeps it unencrypted, as the tool's -W. `memory`: what guessing one password shall cost, in bytes; 1 GiB is the tool's. */
export function secretKeyText(key: SecretKey, password = '', memory = MAX_MEMORY): string {
  const operations = Math.max(32_768, Math.min(MAX_OPERATIONS, memory / 32));
  const salt = password === '' ? Buffer.alloc(32) : crypto.randomBytes(32);
  const content = Buffer.concat([idBytes(key.id), key.seed, key.key]);
  const sum = blake2b(Buffer.concat([Buffer.from('Ed'), content]), 32);
  let body: Buffer = Buffer.concat([content, sum]);
  if (password !== '') body = xor(body, stretched(password, salt, operations, memory, body.length));
  const costs = Buffer.alloc(16);
  if (password !== '') {
    costs.writeBigUInt64LE(BigInt(operations), 0);
    costs.writeBigUInt64LE(BigInt(memory), 8);
  }
  const head = Buffer.concat([Buffer.from(password === '' ? 'Ed\0\0B2' : 'EdScB2', 'latin1'), salt, costs]);
  const what = password === '' ? 'minisign secret key' : 'minisign encrypted secret key';
  return `${UNTRUSTED}${what}\n${Buffer.concat([head, body]).toString('base64')}\n`;
}

/** Throws OperatingError `signature`, also where the password is wrong or missing. */
export function parseSecretKey(text: string, password = ''): SecretKey {
  const bytes = base64(linesOf(text, 'secret key')[1] ?? '', 158, 'secret key');
  const kind = bytes.toString('latin1', 0, 6);
  if (kind !== 'Ed\0\0B2' && kind !== 'EdScB2') throw refused('the secret key is of a kind that is not known');
  let body: Buffer = bytes.subarray(54);
  if (kind === 'EdScB2') {
    if (password === '') throw refused('the secret key is encrypted: its password is needed');
    const [operations, memory] = [bytes.readBigUInt64LE(38), bytes.readBigUInt64LE(46)];
    if (operations > MAX_OPERATIONS || memory > MAX_MEMORY)
      throw refused('the secret key asks for more work or memory than 1 GiB to be opened');
    body = xor(body, stretched(password, bytes.subarray(6, 38), Number(operations), Number(memory), body.length));
  }
  const key = secretKeyOf(body.subarray(0, 8), body.subarray(8, 40));
  const sum = blake2b(Buffer.concat([Buffer.from('Ed'), body.subarray(0, 72)]), 32);
  const same = crypto.timingSafeEqual(sum, body.subarray(72)) && key.key.equals(body.subarray(40, 72));
  // Unencrypted ones are written with and without the sum.
  const unsummed = kind !== 'EdScB2' && body.subarray(72).every((byte) => byte === 0) && key.key.equals(body.subarray(40, 72));
  if (!same && !unsummed)
    throw refused(kind === 'EdScB2' ? 'the password of the secret key is wrong' : 'the secret key is damaged');
  return key;
}

export function signatureText(signature: Signature, comment = 'signature'): string {
  const kind = Buffer.from(signature.prehashed ? 'ED' : 'Ed');
  const line = Buffer.concat([kind, idBytes(signature.key_id), signature.signature]).toString('base64');
  return `${UNTRUSTED}${comment}\n${line}\n${TRUSTED}${signature.trusted_comment}\n${signature.global_signature.toString('base64')}\n`;
}

/** Throws OperatingError `signature`. */
export function parseSignature(text: string): Signature {
  const lines = linesOf(text, 'signature');
  if (lines.length !== 4) throw refused('the signature has not the four lines it should have');
  const bytes = base64(lines[1], 74, 'signature');
  const kind = bytes.toString('latin1', 0, 2);
  if (kind !== 'Ed' && kind !== 'ED') throw refused('the signature is of a kind that is not known');
  if (!lines[2].startsWith(TRUSTED)) throw refused('the signature has no trusted comment');
  return {
    key_id: idText(bytes.subarray(2, 10)),
    prehashed: kind === 'ED',
    signature: Buffer.from(bytes.subarray(10)),
    trusted_comment: lines[2].slice(TRUSTED.length),
    global_signature: base64(lines[3], 64, 'signature'),
  };
}

export const hashOf = (bytes: Uint8Array): Buffer => crypto.createHash('blake2b512').update(bytes).digest();

/** The BLAKE2b-512 of a file, which may be of any size. */
export async function hashOfFile(file: string): Promise<Buffer> {
  const hash = crypto.createHash('blake2b512');
  for await (const bytes of fs.createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(bytes as Buffer);
  return hash.digest();
}

/** Signs a BLAKE2b-512 hash. `trusted_comment`: one line. */
export function signHash(hash: Uint8Array, key: SecretKey, trusted_comment: string): Signature {
  if (/[\r\n\0]/.test(trusted_comment) || Buffer.byteLength(trusted_comment) > MAX_TRUSTED_COMMENT - TRUSTED.length - 2)
    throw refused('a trusted comment is one line of at most 8 KiB');
  const secret = crypto.createPrivateKey({ key: Buffer.concat([PKCS8, key.seed]), format: 'der', type: 'pkcs8' });
  const signature = crypto.sign(null, hash, secret);
  const global_signature = crypto.sign(null, Buffer.concat([signature, Buffer.from(trusted_comment)]), secret);
  return { key_id: key.id, prehashed: true, signature, trusted_comment, global_signature };
}

export const sign = (bytes: Uint8Array, key: SecretKey, trusted_comment: string): Signature =>
  signHash(hashOf(bytes), key, trusted_comment);

/** Throws OperatingError `signature` where `key` did not sign exactly this, comment included. */
export function verify(bytes: Uint8Array, signature: Signature, key: PublicKey): void {
  verifySigned(signature.prehashed ? hashOf(bytes) : bytes, signature, key);
}

/** The same for a file, which may be of any size unless the signature is of the older form. */
export async function verifyFile(file: string, signature: Signature, key: PublicKey): Promise<void> {
  if (!signature.prehashed && fs.statSync(file).size > MAX_LEGACY)
    throw refused(
      `${file}: a signature of the older form is taken for at most ${MAX_LEGACY} bytes; sign it with minisign 0.10 or newer`,
    );
  verifySigned(signature.prehashed ? await hashOfFile(file) : fs.readFileSync(file), signature, key);
}

function verifySigned(signed: Uint8Array, signature: Signature, { id, key }: PublicKey): void {
  if (signature.key_id !== id) throw refused(`it was signed with the key ${signature.key_id}, and not with ${id}`);
  const public_key = crypto.createPublicKey({ key: Buffer.concat([SPKI, key]), format: 'der', type: 'spki' });
  if (!crypto.verify(null, signed, public_key, signature.signature))
    throw refused('the signature is wrong: it was changed after it was signed, or is not whole');
  const comment = Buffer.concat([signature.signature, Buffer.from(signature.trusted_comment)]);
  if (!crypto.verify(null, comment, public_key, signature.global_signature))
    throw refused("the signature's trusted comment was changed");
}

function secretKeyOf(id: Uint8Array, seed: Uint8Array): SecretKey {
  const secret = crypto.createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: 'der', type: 'pkcs8' });
  const spki = crypto.createPublicKey(secret).export({ format: 'der', type: 'spki' });
  return { id: idText(id), key: Buffer.from(spki.subarray(SPKI.length)), seed: Buffer.from(seed) };
}

/** As libsodium turns its two limits into scrypt's parameters (crypto_pwhash_scryptsalsa208sha256); RFC 7914 for the function. */
function stretched(password: string, salt: Uint8Array, operations: number, memory: number, size: number): Buffer {
  const [work, r] = [Math.max(operations, 32_768), 8];
  const bound = work < memory / 32 ? work / (r * 4) : memory / (r * 128);
  let log_n = 1;
  while (log_n < 63 && 2 ** log_n <= bound / 2) log_n++;
  const p = work < memory / 32 ? 1 : Math.max(1, Math.floor(Math.min(work / 4 / 2 ** log_n, 0x3fffffff) / r));
  const N = 2 ** log_n;
  return crypto.scryptSync(password, salt, size, { N, r, p, maxmem: 128 * r * (N + p + 8) });
}

const xor = (bytes: Uint8Array, stream: Uint8Array): Buffer => Buffer.from(bytes.map((byte, i) => byte ^ stream[i]));
const idText = (bytes: Uint8Array): string => Buffer.from(bytes).reverse().toString('hex').toUpperCase();
const idBytes = (id: string): Buffer => Buffer.from(id, 'hex').reverse();

function linesOf(text: string, what: string): string[] {
  if (text.length > MAX_FILE) throw refused(`the ${what} is larger than ${MAX_FILE} bytes`);
  const lines = text.replace(/\r?\n$/, '').split(/\r?\n/);
  if (lines.length > 1 && !lines[0].startsWith(UNTRUSTED)) throw refused(`the ${what} is not in minisign's format`);
  if (lines[0].length > MAX_COMMENT || lines.some((line) => Buffer.byteLength(line) > MAX_TRUSTED_COMMENT))
    throw refused(`a comment of the ${what} is too long`);
  return lines;
}

/** Strict: what is not exactly `size` bytes in base64 is refused. */
function base64(line: string, size: number, what: string): Buffer {
  const bytes = Buffer.from(line, 'base64');
  if (bytes.length !== size || bytes.toString('base64') !== line) throw refused(`the ${what} is not in minisign's format`);
  return bytes;
}
