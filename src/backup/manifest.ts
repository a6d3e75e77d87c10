import { type Static, Type } from 'typebox';
import { APPLIANCE_FILE } from '../appliance/database.ts';
import { OperatingError } from '../errors.ts';
import type { PublicKey } from '../signing/minisign.ts';
import { parseSignature, verify } from '../signing/minisign.ts';
import { DATABASE_FILE } from '../store/writer.ts';
import { ArchiveReader, MANIFEST_SIGNATURE, Members } from './archive.ts';
import { damaged } from './bytes.ts';
import type { Opening } from './cipher.ts';

export const FORMAT = 'ot-sensor backup';
export const FORMAT_VERSION = 1;
export const CONFIG_MEMBER = 'sensor.yaml';
export const ZONES_MEMBER = 'zones.yaml';
export const DATABASES = [DATABASE_FILE, APPLIANCE_FILE] as const;
export type DatabaseName = (typeof DATABASES)[number];
/** Other files of the appliance, such as certificates. */
const FILE_MEMBER = /^files\/[a-z0-9][a-z0-9._-]{0,99}$/;

const Database = Type.Object(
  {
    schema_version: Type.Integer({ minimum: 0, maximum: 1_000_000 }),
    /** Rows of each table. */
    tables: Type.Record(Type.String({ maxLength: 128 }), Type.Integer({ minimum: 0 })),
  },
  { additionalProperties: false },
);

/** What a backup says of itself. What later versions add is read over. */
export const BackupManifest = Type.Object({
  format: Type.Literal(FORMAT),
  format_version: Type.Integer({ minimum: 1 }),
  product_version: Type.String({ maxLength: 64, pattern: '^\\d{1,6}\\.\\d{1,6}\\.\\d{1,6}([-+][0-9A-Za-z.+-]*)?$' }),
  /** ISO 8601. */
  created: Type.String({ maxLength: 40 }),
  created_ms: Type.Integer({ minimum: 0 }),
  sensor_name: Type.String({ maxLength: 64 }),
  reason: Type.String({ maxLength: 64 }),
  /** Whether private keys and passwords are in it. */
  keys: Type.Boolean(),
  databases: Type.Record(Type.String({ maxLength: 64 }), Database),
  /** What was left out, since nobody could say whether there are secrets in it. */
  left_out: Type.Array(Type.String({ maxLength: 256 }), { maxItems: 1000 }),
  members: Members,
});
export type BackupManifest = Static<typeof BackupManifest>;

export const allowsMember = (name: string): boolean =>
  [...DATABASES, CONFIG_MEMBER, ZONES_MEMBER].includes(name) || FILE_MEMBER.test(name);

/** With which keys a backup may be signed; `null`: any or none, by whoever says so. */
export type TrustedKeys = readonly PublicKey[] | null;

/** A backup whose manifest was read, and its signature checked. `signer`: the key's id, '' where it is not signed. */
export interface OpenedBackup {
  reader: ArchiveReader<BackupManifest>;
  manifest: BackupManifest;
  signer: string;
  trusted: boolean;
}

/** Throws OperatingError `archive` or `signature`. */
export async function openBackup(file: string, trusted: TrustedKeys, opening: Opening | null): Promise<OpenedBackup> {
  const options = { schema: BackupManifest, attachments: [MANIFEST_SIGNATURE], allows: allowsMember, opening };
  const reader = await ArchiveReader.open<BackupManifest>(file, options);
  try {
    const { manifest } = reader;
    if (manifest.format_version > FORMAT_VERSION)
      throw damaged(
        `it was made by ot-sensor ${manifest.product_version} in a format this version does not know: use that version`,
      );
    for (const name of Object.keys(manifest.databases))
      if (!manifest.members.some((member) => member.name === name)) throw damaged(`the archive lacks ${name}`);
    const text = reader.attachments.get(MANIFEST_SIGNATURE);
    if (text === undefined) {
      if (trusted !== null) throw new OperatingError('signature', `${file} is not signed; --unverified takes it all the same`);
      return { reader, manifest, signer: '', trusted: false };
    }
    const signature = parseSignature(text.toString());
    const key = trusted?.find(({ id }) => id === signature.key_id);
    if (key !== undefined) verify(reader.manifest_bytes, signature, key);
    else if (trusted !== null)
      throw new OperatingError(
        'signature',
        `${file} was signed with the key ${signature.key_id}, which is not this appliance's. If it is from another appliance, ` +
          'give that one’s public key (--key), or take it unverified (--unverified)',
      );
    return { reader, manifest, signer: signature.key_id, trusted: key !== undefined };
  } catch (error) {
    await reader.close();
    throw error;
  }
}
