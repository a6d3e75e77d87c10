import { type Static, Type } from 'typebox';
import { ArchiveReader, MANIFEST_SIGNATURE, Members } from '../backup/archive.ts';
import { damaged } from '../backup/bytes.ts';
import { OperatingError } from '../errors.ts';
import { type PublicKey, parseSignature, verify } from '../signing/minisign.ts';
import { checkStatement, KEY_ATTACHMENT, KEY_STATEMENT_ATTACHMENT } from './signing-key.ts';
import { compareVersions, isVersion } from './versions.ts';

export const FORMAT = 'ot-sensor update';
export const FORMAT_VERSION = 1;

const Version = Type.String({ maxLength: 64, pattern: '^\\d{1,6}\\.\\d{1,6}\\.\\d{1,6}([-+][0-9A-Za-z.+-]*)?$' });
const OptionalVersion = Type.Union([Type.Literal(''), Version]);

/** What a bundle says of itself. */
export const UpdateManifest = Type.Object({
  format: Type.Literal(FORMAT),
  format_version: Type.Integer({ minimum: 1 }),
  /** The program, or what it detects by. */
  kind: Type.Union([Type.Literal('software'), Type.Literal('content')]),
  version: Version,
  /** ISO 8601. */
  created: Type.String({ maxLength: 40 }),
  created_ms: Type.Integer({ minimum: 0 }),
  /** The versions of the program it may be applied to; '': any. */
  minimum_version: OptionalVersion,
  maximum_version: OptionalVersion,
  /** Where it runs: a name of `process.arch`; '': anywhere. */
  architecture: Type.String({ maxLength: 16, pattern: '^[a-z0-9]*$' }),
  notes: Type.String({ maxLength: 16_384 }),
  members: Members,
});
export type UpdateManifest = Static<typeof UpdateManifest>;
export type UpdateKind = UpdateManifest['kind'];

export interface OpenedBundle {
  reader: ArchiveReader<UpdateManifest>;
  manifest: UpdateManifest;
  /** The id of the key that signed it. */
  signer: string;
}

/** Reads the manifest, checks nothing but its form: for whoever signs. */
export function openUnverified(file: string): Promise<ArchiveReader<UpdateManifest>> {
  const attachments = [MANIFEST_SIGNATURE, KEY_ATTACHMENT, KEY_STATEMENT_ATTACHMENT];
  return ArchiveReader.open<UpdateManifest>(file, { schema: UpdateManifest, attachments, allows: () => true });
}

/**
 * Whose it is: signed by a key that one of the root keys vouches for, at this time. Throws OperatingError `archive`, `signature`. The members
 * are checked when they are read.
 */
export async function openBundle(file: string, root_keys: readonly PublicKey[], now_ms: number): Promise<OpenedBundle> {
  const reader = await openUnverified(file);
  try {
    const { manifest, attachments } = reader;
    if (manifest.format_version > FORMAT_VERSION)
      throw damaged('the update is in a format this version does not know: an update in between is needed');
    const [signature, key, statement] = [MANIFEST_SIGNATURE, KEY_ATTACHMENT, KEY_STATEMENT_ATTACHMENT].map((name) =>
      attachments.get(name)?.toString(),
    );
    if (signature === undefined || key === undefined || statement === undefined)
      throw new OperatingError('signature', `${file} is not signed`);
    const signing_key = checkStatement(key, statement, root_keys, manifest.kind, [manifest.created_ms, now_ms]);
    verify(reader.manifest_bytes, parseSignature(signature), signing_key);
    return { reader, manifest, signer: signing_key.id };
  } catch (error) {
    await reader.close();
    throw error;
  }
}

export interface VersionRules {
  /** Of the program that runs; and of what is to be replaced, '' where there is none yet. */
  program: string;
  present: string;
  allow_downgrade: boolean;
}

/** Throws OperatingError `update` where it may not be applied here. */
export function checkApplies(manifest: UpdateManifest, { program, present, allow_downgrade }: VersionRules): void {
  const { version, kind, minimum_version, maximum_version, architecture } = manifest;
  const refused = (why: string) => new OperatingError('update', `${kind} ${version} cannot be installed: ${why}`);
  if (architecture !== '' && architecture !== process.arch)
    throw refused(`it is for ${architecture}, and this is ${process.arch}`);
  if (!isVersion(program)) throw refused(`the version of this program (${program}) is not known`);
  if (minimum_version !== '' && compareVersions(program, minimum_version) < 0)
    throw refused(`it needs ot-sensor ${minimum_version} at least, and this is ${program}: update to one in between first`);
  if (maximum_version !== '' && compareVersions(program, maximum_version) > 0)
    throw refused(`it is for ot-sensor up to ${maximum_version}, and this is ${program}`);
  if (present === '' || !isVersion(present)) return;
  const order = compareVersions(version, present);
  if (order === 0) throw refused('it is installed already');
  if (order < 0 && !allow_downgrade)
    throw refused(`${present} is newer; to go back all the same, ask for it (--allow-downgrade)`);
}
