import { OperatingError } from '../errors.ts';
import {
  type PublicKey,
  parsePublicKey,
  parseSignature,
  publicKeyText,
  type SecretKey,
  sign,
  signatureText,
  verify,
} from '../signing/minisign.ts';

// Who may sign updates. The root key lies offline and signs signing keys only: a signature of minisign's over the key's public file, whose
// trusted comment says from when to when and for what. Keys rotate without anything being changed on the appliances.

/** In a bundle. */
export const KEY_ATTACHMENT = 'signing-key.pub';
export const KEY_STATEMENT_ATTACHMENT = 'signing-key.pub.minisig';

const COMMENT =
  /^ot-sensor signing key ([0-9A-F]{16}) for (software|content|software,content) from (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) to (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)$/;

export interface KeyStatement {
  kinds: readonly ('software' | 'content')[];
  from_ms: number;
  to_ms: number;
}

/** The root key vouches for a signing key. Gives the two files of the key: its public key, and the statement. */
export function certifyKey(
  key: PublicKey,
  { kinds, from_ms, to_ms }: KeyStatement,
  root: SecretKey,
): { public_key: string; statement: string } {
  if (!(from_ms < to_ms)) throw new OperatingError('usage', 'a signing key is valid from a time to a later one');
  const time = (ms: number) => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
  const public_key = publicKeyText(key);
  const comment = `ot-sensor signing key ${key.id} for ${[...kinds].sort().reverse().join(',')} from ${time(from_ms)} to ${time(to_ms)}`;
  return { public_key, statement: signatureText(sign(Buffer.from(public_key), root, comment), 'statement on a signing key') };
}

/** The key, where a root key vouches for it, for this kind and at all these times. Throws OperatingError `signature`. */
export function checkStatement(
  public_key: string,
  statement: string,
  root_keys: readonly PublicKey[],
  kind: 'software' | 'content',
  times_ms: readonly number[],
): PublicKey {
  const refused = (message: string) => new OperatingError('signature', message);
  if (root_keys.length === 0)
    throw refused('no root key for updates is installed on this appliance: name its file with --root-key');
  const signature = parseSignature(statement);
  const root = root_keys.find(({ id }) => id === signature.key_id);
  if (root === undefined)
    throw refused(`its signing key was certified by ${signature.key_id}, which is no root key of this appliance`);
  verify(Buffer.from(public_key), signature, root);
  const key = parsePublicKey(public_key);
  const match = COMMENT.exec(signature.trusted_comment);
  if (match === null || match[1] !== key.id) throw refused('the statement on its signing key is not one');
  const [, id, kinds, from, to] = match;
  if (!kinds.split(',').includes(kind)) throw refused(`its signing key ${id} is for ${kinds} only, and this is ${kind}`);
  for (const ms of times_ms) {
    if (ms < Date.parse(from))
      throw refused(`its signing key ${id} is valid from ${from} on, later than ${new Date(ms).toISOString()}: check the clock`);
    if (ms > Date.parse(to))
      throw refused(`its signing key ${id} was valid up to ${to}: have it signed anew, and check the clock`);
  }
  return key;
}
