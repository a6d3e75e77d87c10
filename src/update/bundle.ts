import fs from 'node:fs';
import path from 'node:path';
import { isSafeName, MANIFEST_SIGNATURE, MAX_MEMBERS, type Member, memberOf, writeArchive } from '../backup/archive.ts';
import { removeTree } from '../backup/files.ts';
import { OperatingError } from '../errors.ts';
import { type SecretKey, sign, signatureText } from '../signing/minisign.ts';
import { FORMAT, FORMAT_VERSION, openUnverified, type UpdateKind, type UpdateManifest } from './manifest.ts';
import { KEY_ATTACHMENT, KEY_STATEMENT_ATTACHMENT } from './signing-key.ts';

// For whoever makes releases.

export interface BundleRequest {
  /** What is installed: all files below it. */
  directory: string;
  out: string;
  kind: UpdateKind;
  version: string;
  minimum_version: string;
  maximum_version: string;
  architecture: string;
  notes: string;
  now_ms: number;
}

/** Makes a bundle, not signed yet. Throws OperatingError `update` where something is in the folder that no bundle holds. */
export async function buildBundle({ directory, out, now_ms, ...rest }: BundleRequest): Promise<UpdateManifest> {
  const names = filesBelow(directory);
  const stated = path.join(directory, 'package.json');
  if (rest.kind === 'software' && fs.existsSync(stated)) {
    const { version } = JSON.parse(fs.readFileSync(stated, 'utf8')) as { version?: string };
    if (version !== rest.version)
      throw new OperatingError('update', `${stated} says version ${version}, and not ${rest.version}`);
  }
  const members: Member[] = [];
  for (const name of names) {
    const file = path.join(directory, name);
    const executable = (fs.statSync(file).mode & 0o100) !== 0;
    members.push({ ...(await memberOf(name, file)), ...(executable ? { executable } : {}) });
  }
  const manifest: UpdateManifest = {
    format: FORMAT,
    format_version: FORMAT_VERSION,
    ...rest,
    created: new Date(now_ms).toISOString(),
    created_ms: Math.round(now_ms),
    members,
  };
  const sources = new Map(names.map((name) => [name, path.join(directory, name)]));
  await write(out, manifest, [], sources);
  return manifest;
}

/** Signs a bundle in place, or anew. `public_key` and `statement` are the two files that the root key's owner made of the signing key. */
export async function signBundle(file: string, key: SecretKey, public_key: string, statement: string): Promise<void> {
  const reader = await openUnverified(file);
  const { manifest, manifest_bytes } = reader;
  const work = `${file}.signing`;
  removeTree(work);
  try {
    await reader.extract(work);
    const comment = `ot-sensor ${manifest.kind} ${manifest.version} of ${manifest.created}`;
    const attachments = [
      { name: MANIFEST_SIGNATURE, content: signatureText(sign(manifest_bytes, key, comment), 'signature of manifest.json') },
      { name: KEY_ATTACHMENT, content: public_key },
      { name: KEY_STATEMENT_ATTACHMENT, content: statement },
    ];
    await write(file, manifest, attachments, new Map(manifest.members.map(({ name }) => [name, path.join(work, name)])));
  } finally {
    removeTree(work);
  }
}

async function write(
  out: string,
  manifest: UpdateManifest,
  attachments: { name: string; content: string }[],
  sources: Map<string, string>,
): Promise<void> {
  const temporary = `${out}.tmp`;
  fs.rmSync(temporary, { force: true });
  await writeArchive(out, temporary, { manifest, attachments, sources, time_ms: manifest.created_ms, encryption: null });
}

function filesBelow(directory: string): string[] {
  const names: string[] = [];
  for (const entry of fs.readdirSync(directory, { withFileTypes: true, recursive: true })) {
    const name = path
      .relative(directory, path.join(entry.parentPath ?? entry.path, entry.name))
      .split(path.sep)
      .join('/');
    if (entry.isDirectory()) continue;
    if (!entry.isFile())
      throw new OperatingError('update', `${name} is no regular file: a bundle holds neither links nor devices`);
    if (!isSafeName(name))
      throw new OperatingError('update', `${name} is no name for a bundle: plain characters, at most 240 in all`);
    names.push(name);
  }
  if (names.length === 0 || names.length > MAX_MEMBERS)
    throw new OperatingError('update', `${directory} holds ${names.length} files; a bundle holds 1 to ${MAX_MEMBERS}`);
  return names.sort();
}
