/** For tests of updates: keys, and bundles signed with them. */
import fs from 'node:fs';
import path from 'node:path';
import { generateKey, publicKeyText, type SecretKey } from '../signing/minisign.ts';
import { buildBundle, signBundle } from './bundle.ts';
import { certifyKey } from './signing-key.ts';

const YEAR_MS = 365 * 86_400_000;
export const root_key = generateKey();
const signing_key = generateKey();

export const rootKeyText = (): string => publicKeyText(root_key);

/** A signed bundle of a program that says its version, and takes every other command. */
export async function makeBundle(
  folder: string,
  version: string,
  { certified_by = root_key, kind = 'software', now_ms = Date.now() }: BundleOptions = {},
): Promise<string> {
  const directory = path.join(folder, `release-${version}`);
  fs.mkdirSync(path.join(directory, 'dist/program'), { recursive: true });
  const program = `process.stdout.write(process.argv.includes('--version') ? '${version}\\n' : '')`;
  fs.writeFileSync(path.join(directory, 'dist/program/main.js'), program);
  const out = path.join(folder, `${kind}-${version}.bundle`);
  const rules = { minimum_version: '', maximum_version: '', architecture: '', notes: 'what is new' };
  await buildBundle({ directory, out, kind, version, now_ms, ...rules });
  const validity = { kinds: ['software', 'content'] as const, from_ms: now_ms - YEAR_MS, to_ms: now_ms + YEAR_MS };
  const { public_key, statement } = certifyKey(signing_key, validity, certified_by);
  await signBundle(out, signing_key, public_key, statement);
  return out;
}

interface BundleOptions {
  certified_by?: SecretKey;
  kind?: 'software' | 'content';
  now_ms?: number;
}
