import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { pipeline, type Readable } from 'node:stream';
import zlib from 'node:zlib';
import { type Static, type TSchema, Type } from 'typebox';
import { Value } from 'typebox/value';
import { ByteSource, damaged } from './bytes.ts';
import { decrypted, ENCRYPTED_MAGIC, type Encryption, encrypted, type Opening } from './cipher.ts';
import { freeBytes, syncDirectory } from './files.ts';
import { readTarHeader, skipPadding, type TarEntry, tarEnd, tarHeader, tarPadding } from './tar.ts';

// One file for backups and updates: tar, gzip, and for backups an encryption around it. `manifest.json` comes first and has the size
// and SHA-256 of all that follows, so that everything is judged before anything is unpacked. Signatures are members of their own behind
// it, over the manifest: one file cannot lose its signature, and Debian's tools alone check it (README.md).

export const MANIFEST = 'manifest.json';
export const MANIFEST_SIGNATURE = 'manifest.json.minisig';
const MAX_MANIFEST = 16 << 20;
const MAX_ATTACHMENT = 16_384;
export const MAX_MEMBERS = 50_000;
const MAX_NAME = 240;
const MAX_DEPTH = 32;
const GZIP_LEVEL = 1;
/** Little by little, so that the sensor's own syncs do not wait for gigabytes of ours. */
const SYNC_BYTES = 16 << 20;

export const Member = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: MAX_NAME }),
    size: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
    sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }),
    executable: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);
export type Member = Static<typeof Member>;
export const Members = Type.Array(Member, { maxItems: MAX_MEMBERS });

/** What any manifest has. */
export interface ManifestBase {
  members: Member[];
}

/**
 * Whether a name stays below the folder it is unpacked to, on any file system: parts of plain characters between single slashes, none of
 * them only dots, none of them beginning with a dash.
 */
export function isSafeName(name: string): boolean {
  const parts = name.split('/');
  return (
    name.length <= MAX_NAME &&
    parts.length <= MAX_DEPTH &&
    parts.every((part) => /^[A-Za-z0-9_@+.][A-Za-z0-9_@+=,~.-]*$/.test(part) && !/^\.+$/.test(part))
  );
}

export interface ArchiveToWrite {
  manifest: ManifestBase & Record<string, unknown>;
  /** Behind the manifest, such as its signature. */
  attachments: readonly { name: string; content: string | Buffer }[];
  /** Where each member's bytes are. */
  sources: ReadonlyMap<string, string | Buffer>;
  time_ms: number;
  encryption: Encryption | null;
  onProgress?: (written: number, total: number) => void;
}

/** A manifest as its signature signs it. */
export const manifestBytes = (manifest: ManifestBase): Buffer => Buffer.from(`${JSON.stringify(manifest, null, 1)}\n`);

export async function memberOf(name: string, source: string | Buffer): Promise<Member> {
  const hash = crypto.createHash('sha256');
  let size = 0;
  for await (const bytes of contentOf(source)) {
    hash.update(bytes);
    size += bytes.length;
  }
  return { name, size, sha256: hash.digest('hex') };
}

/**
 * Writes the archive. It appears under `file` when it is whole and on the disk; until then it is `temporary`, on the same volume. Throws
 * what the file system throws, and leaves nothing.
 */
export async function writeArchive(
  file: string,
  temporary: string,
  archive: ArchiveToWrite,
): Promise<{ size: number; sha256: string }> {
  const hash = crypto.createHash('sha256');
  let size = 0;
  let synced = 0;
  const handle = await fs.promises.open(temporary, 'wx', 0o600);
  try {
    const packed = through(tarOf(archive), zlib.createGzip({ level: GZIP_LEVEL }));
    const bytes = archive.encryption === null ? packed : encrypted(new ByteSource(packed), archive.encryption);
    for await (const part of bytes) {
      hash.update(part);
      size += part.length;
      for (let at = 0; at < part.length; ) at += (await handle.write(part, at)).bytesWritten;
      if (size - synced > SYNC_BYTES) {
        await handle.datasync();
        synced = size;
      }
    }
    await handle.sync();
  } catch (error) {
    await handle.close();
    fs.rmSync(temporary, { force: true });
    throw error;
  }
  await handle.close();
  fs.renameSync(temporary, file);
  syncDirectory(path.dirname(file));
  return { size, sha256: hash.digest('hex') };
}

async function* tarOf({ manifest, attachments, sources, time_ms, onProgress }: ArchiveToWrite): AsyncGenerator<Buffer> {
  for (const { name, content } of [{ name: MANIFEST, content: manifestBytes(manifest) }, ...attachments]) {
    const bytes = Buffer.from(content);
    yield tarHeader({ name, size: bytes.length }, 0o644, time_ms);
    yield Buffer.concat([bytes, tarPadding(bytes.length)]);
  }
  const total = manifest.members.reduce((sum, { size }) => sum + size, 0);
  let written = 0;
  for (const member of manifest.members) {
    yield tarHeader(member, member.executable ? 0o755 : 0o644, time_ms);
    const hash = crypto.createHash('sha256');
    for await (const part of contentOf(sources.get(member.name)!)) {
      hash.update(part);
      written += part.length;
      yield part;
      onProgress?.(written, total);
    }
    if (hash.digest('hex') !== member.sha256) throw damaged(`${member.name} was changed while it was being packed; try again`);
    yield tarPadding(member.size);
  }
  yield tarEnd();
}

async function* contentOf(source: string | Buffer): AsyncGenerator<Buffer> {
  if (typeof source !== 'string') yield source;
  else yield* fs.createReadStream(source, { highWaterMark: 1 << 20 });
}

/** A generator's bytes through a stream; whatever fails is thrown to whoever reads. */
async function* through(source: AsyncIterable<Uint8Array>, stream: zlib.Gzip | zlib.Gunzip): AsyncGenerator<Buffer> {
  const joined = pipeline(source, stream, () => {}) as unknown as Readable;
  for await (const part of joined) yield part as Buffer;
}

export interface ReadOptions {
  /** What a manifest of this kind looks like; it has `members`. */
  schema: TSchema;
  /** Names that may stand between the manifest and the members. */
  attachments: readonly string[];
  /** Names that members may have, beyond being safe. */
  allows: (name: string) => boolean;
  opening?: Opening | null;
}

/**
 * An archive that is being read, front to back, once. `open` has read and checked manifest and attachments, no more. Everything wrong with
 * an archive is an OperatingError `archive`.
 */
export class ArchiveReader<Manifest extends ManifestBase> {
  readonly manifest: Manifest;
  /** As it was signed. */
  readonly manifest_bytes: Buffer;
  readonly attachments: ReadonlyMap<string, Buffer>;
  private readonly source: ByteSource;
  private next: TarEntry | null;

  /** `Manifest` is the type of `schema`. */
  static async open<Manifest extends ManifestBase>(file: string, options: ReadOptions): Promise<ArchiveReader<Manifest>> {
    const source = new ByteSource(opened(file, options.opening ?? null));
    try {
      const first = await readTarHeader(source);
      if (first?.name !== MANIFEST) throw damaged(`${path.basename(file)} does not begin with ${MANIFEST}`);
      const bytes = await content(source, first.size, MAX_MANIFEST, MANIFEST);
      const manifest = manifestOf(bytes, options) as Manifest;
      const attachments = new Map<string, Buffer>();
      let next = await readTarHeader(source);
      while (next !== null && options.attachments.includes(next.name)) {
        if (attachments.has(next.name)) throw damaged(`the archive has ${next.name} twice`);
        attachments.set(next.name, await content(source, next.size, MAX_ATTACHMENT, next.name));
        next = await readTarHeader(source);
      }
      return new ArchiveReader(source, manifest, bytes, attachments, next);
    } catch (error) {
      await source.close();
      throw asDamage(error);
    }
  }

  private constructor(
    source: ByteSource,
    manifest: Manifest,
    bytes: Buffer,
    attachments: Map<string, Buffer>,
    next: TarEntry | null,
  ) {
    this.source = source;
    this.manifest = manifest;
    this.manifest_bytes = bytes;
    this.attachments = attachments;
    this.next = next;
  }

  /** What its members take when they are unpacked. */
  get total(): number {
    return this.manifest.members.reduce((sum, { size }) => sum + size, 0);
  }

  /**
   * Unpacks all members into a folder, which is made and must not be there yet, and is removed again where anything is wrong. Each is as
   * long and has the hash that the manifest says, and nothing else is in the archive. null: only checks.
   */
  async extract(directory: string | null, onProgress?: (done: number, total: number) => void): Promise<void> {
    const { total } = this;
    let done = 0;
    if (directory !== null) {
      const free = freeBytes(path.dirname(directory));
      if (total > free) throw damaged(`it needs ${total} bytes unpacked, and ${path.dirname(directory)} has ${free}: make room`);
      fs.mkdirSync(directory, { mode: 0o700 });
    }
    try {
      for (const member of this.manifest.members) {
        if (this.next === null) throw damaged(`the archive lacks ${member.name}`);
        if (this.next.name !== member.name || this.next.size !== member.size)
          throw damaged(`the archive holds something else than its manifest says, at ${member.name}`);
        const target = directory === null ? null : path.join(directory, member.name);
        await this.take(member, target, (bytes) => {
          done += bytes;
          onProgress?.(done, total);
        });
        this.next = await readTarHeader(this.source);
      }
      if (this.next !== null) throw damaged('the archive holds more than its manifest says');
    } catch (error) {
      if (directory !== null) fs.rmSync(directory, { recursive: true, force: true });
      throw asDamage(error);
    } finally {
      await this.close();
    }
    if (directory !== null) for (const folder of foldersOf(directory, this.manifest.members)) syncDirectory(folder);
  }

  close(): Promise<void> {
    return this.source.close();
  }

  private async take(member: Member, target: string | null, onBytes: (bytes: number) => void): Promise<void> {
    const hash = crypto.createHash('sha256');
    if (target !== null) fs.mkdirSync(path.dirname(target), { recursive: true, mode: 0o700 });
    const flags = fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_EXCL | fs.constants.O_NOFOLLOW;
    const handle = target === null ? null : await fs.promises.open(target, flags, member.executable ? 0o700 : 0o600);
    try {
      for await (const part of this.source.portion(member.size)) {
        hash.update(part);
        if (handle !== null) for (let at = 0; at < part.length; ) at += (await handle.write(part, at)).bytesWritten;
        onBytes(part.length);
      }
      if (hash.digest('hex') !== member.sha256)
        throw damaged(`${member.name} has not the hash that the manifest says: it was changed`);
      await handle?.sync();
    } finally {
      await handle?.close();
    }
    await skipPadding(this.source, member.size);
  }
}

/** The bytes of the tar, out of gzip and encryption. */
async function* opened(file: string, opening: Opening | null): AsyncGenerator<Buffer> {
  const stream = fs.createReadStream(file, { highWaterMark: 1 << 20 });
  const raw = new ByteSource(stream);
  try {
    const start = await raw.upTo(ENCRYPTED_MAGIC.length);
    const source = new ByteSource(
      (async function* () {
        yield start;
        yield* raw.all();
      })(),
    );
    const bytes = start.equals(ENCRYPTED_MAGIC) ? decrypted(source, opening) : source.all();
    yield* through(bytes, zlib.createGunzip());
  } finally {
    stream.destroy();
  }
}

async function content(source: ByteSource, size: number, most: number, name: string): Promise<Buffer> {
  if (size > most) throw damaged(`${name} is larger than ${most} bytes`);
  const bytes = Buffer.from(await source.exactly(size));
  await skipPadding(source, size);
  return bytes;
}

function manifestOf(bytes: Buffer, { schema, allows }: ReadOptions): ManifestBase {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString());
  } catch {
    throw damaged('the manifest is not JSON');
  }
  if (!Value.Check(schema, value)) {
    const [fault] = Value.Errors(schema, value);
    throw damaged(`the manifest is not one of this kind: ${fault.instancePath || '/'}: ${fault.message}`);
  }
  const manifest = value as ManifestBase;
  const files = new Set<string>();
  const folders = new Set<string>();
  for (const { name } of manifest.members) {
    if (!isSafeName(name))
      throw damaged(`a name in the archive could lead out of its folder, or is no plain name: ${JSON.stringify(name)}`);
    if (!allows(name)) throw damaged(`the archive holds ${name}, which has no place in it`);
    if (files.has(name)) throw damaged(`the archive has ${name} twice`);
    files.add(name);
    for (let folder = path.posix.dirname(name); folder !== '.'; folder = path.posix.dirname(folder)) folders.add(folder);
  }
  for (const name of files) if (folders.has(name)) throw damaged(`${name} is a file and a folder in the archive`);
  return manifest;
}

function foldersOf(directory: string, members: readonly Member[]): string[] {
  const folders = new Set<string>([directory]);
  for (const { name } of members)
    for (let folder = path.posix.dirname(name); folder !== '.'; folder = path.posix.dirname(folder))
      folders.add(path.join(directory, folder));
  return [...folders, path.dirname(directory)];
}

/** zlib's errors are about the archive. */
function asDamage(error: unknown): unknown {
  const { code } = error as { code?: string };
  return code?.startsWith('Z_')
    ? damaged(`the file is not an archive of ot-sensor, or is damaged (${(error as Error).message})`)
    : error;
}
