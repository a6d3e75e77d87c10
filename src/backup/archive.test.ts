import { execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import zlib from 'node:zlib';
import fc from 'fast-check';
import { Type } from 'typebox';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OperatingError } from '../errors.ts';
import {
  ArchiveReader,
  isSafeName,
  type ManifestBase,
  type Member,
  Members,
  manifestBytes,
  memberOf,
  type ReadOptions,
  writeArchive,
} from './archive.ts';
import { ByteSource } from './bytes.ts';
import { decrypted, type Encryption, encrypted, type Opening } from './cipher.ts';
import { tarEnd, tarHeader, tarPadding } from './tar.ts';

const SCHEMA = Type.Object({ members: Members });
const OPTIONS: ReadOptions = { schema: SCHEMA, attachments: ['note'], allows: (name) => !name.startsWith('forbidden') };

let folder: string;
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-archive-'));
});
afterEach(() => fs.rmSync(folder, { recursive: true }));

const at = (...names: string[]): string => path.join(folder, ...names);

async function write(members: Record<string, string | Buffer>, encryption: Encryption | null = null): Promise<string> {
  const sources = new Map(Object.entries(members).map(([name, content]) => [name, Buffer.from(content)]));
  const list: Member[] = [];
  for (const [name, content] of sources) list.push(await memberOf(name, content));
  const file = at('archive');
  const attachments = [{ name: 'note', content: 'a note' }];
  await writeArchive(file, at('archive.tmp'), { manifest: { members: list }, attachments, sources, time_ms: 1000, encryption });
  return file;
}

/** An archive put together by hand, so that it can be wrong. */
function forge(manifest: ManifestBase, entries: { name: string; content: Buffer; header?: (block: Buffer) => void }[]): string {
  const all = [{ name: 'manifest.json', content: manifestBytes(manifest) }, ...entries] as typeof entries;
  const blocks = all.flatMap(({ name, content, header }) => {
    const block = tarHeader({ name, size: content.length }, 0o644, 0);
    header?.(block);
    block.write('        ', 148);
    block.write(
      `${block
        .reduce((sum, byte) => sum + byte, 0)
        .toString(8)
        .padStart(6, '0')}\0 `,
      148,
    );
    return [block, content, tarPadding(content.length)];
  });
  fs.writeFileSync(at('forged'), zlib.gzipSync(Buffer.concat([...blocks, tarEnd()])));
  return at('forged');
}

const member = (name: string, content: string): Member => ({
  name,
  size: content.length,
  sha256: crypto.createHash('sha256').update(content).digest('hex'),
});

async function extract(file: string, opening: Opening | null = null): Promise<string> {
  await (await ArchiveReader.open(file, { ...OPTIONS, opening })).extract(at('out'));
  return at('out');
}

const all = async (source: AsyncIterable<Buffer>): Promise<Buffer> => {
  const parts: Buffer[] = [];
  for await (const part of source) parts.push(part);
  return Buffer.concat(parts);
};

const { publicKey, privateKey } = crypto.generateKeyPairSync('x25519');
const public_key = publicKey.export({ format: 'pem', type: 'spki' }).toString();
const private_key = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let i = 0; i < bytes.length; i += size) yield bytes.subarray(i, i + size);
}

describe('an archive', () => {
  it('comes out as it went in: manifest first, then what is attached, then the members', async () => {
    const content = crypto.randomBytes(300_000);
    const file = await write({ 'a.db': content, 'files/deep/b': '' });
    const reader = await ArchiveReader.open(file, OPTIONS);
    expect(reader.attachments.get('note')!.toString()).toBe('a note');
    expect(reader.manifest_bytes.equals(manifestBytes(reader.manifest))).toBe(true);
    await reader.extract(at('out'));
    expect(fs.readFileSync(at('out/a.db')).equals(content)).toBe(true);
    expect(fs.statSync(at('out/files/deep/b')).size).toBe(0);
    expect(fs.statSync(at('out/a.db')).mode & 0o777).toBe(0o600);
    expect(fs.readdirSync(folder).sort()).toEqual(['archive', 'out']);
  });

  it('is opened by tar, and what GNU tar made is read', async () => {
    const name = `${'long/'.repeat(30)}name`;
    const file = await write({ 'a.db': 'content', [name]: 'x' });
    fs.mkdirSync(at('by-tar'));
    execFileSync('tar', ['-xzf', file, '-C', at('by-tar')]);
    expect(fs.readFileSync(at('by-tar/a.db'), 'utf8')).toBe('content');
    expect(fs.readFileSync(at('by-tar', name), 'utf8')).toBe('x');
    const order = ['manifest.json', 'a.db', name];
    execFileSync('tar', ['-czf', at('again'), '--format=ustar', '-C', at('by-tar'), ...order]);
    await extract(at('again'));
    expect(fs.readFileSync(at('out', name), 'utf8')).toBe('x');
  });

  it.each<[string, Encryption, Opening]>([
    ['a passphrase', { passphrase: 'correct horse' }, { passphrase: 'correct horse' }],
    ['a public key', { public_key }, { private_key }],
  ])('is encrypted with %s, and opens with what belongs to it alone', async (_, encryption, opening) => {
    const content = crypto.randomBytes(200_000);
    const file = await write({ 'a.db': content }, encryption);
    await extract(file, opening);
    expect(fs.readFileSync(at('out/a.db')).equals(content)).toBe(true);
    await expect(ArchiveReader.open(file, OPTIONS)).rejects.toThrow(/is encrypted with/);
    const wrong = 'passphrase' in opening ? { passphrase: 'x' } : { private_key: otherKey() };
    await expect(ArchiveReader.open(file, { ...OPTIONS, opening: wrong })).rejects.toThrow(/wrong|for another key/);
  });

  it('of 8 GiB or more says so in its header', () => {
    expect(tarHeader({ name: 'x', size: 2 ** 33 }, 0o644, 0).toString('hex', 124, 136)).toBe('800000000000000200000000');
  });

  const A = member('a', 'content');
  const entry = (name: string, content = 'content', header?: (block: Buffer) => void) => ({
    name,
    content: Buffer.from(content),
    header,
  });
  const typed = (type: string) => (block: Buffer) => void block.write(type, 156);
  it.each<[string, Member[], ReturnType<typeof entry>[], RegExp]>([
    ['a path upwards', [member('../a', 'content')], [entry('../a')], /lead out of its folder/],
    ['a path upwards inside', [member('b/../../a', 'content')], [entry('b/../../a')], /lead out of its folder/],
    ['an absolute path', [member('/etc/a', 'content')], [entry('/etc/a')], /lead out of its folder/],
    ['a backslash', [member('..\\a', 'content')], [entry('..\\a')], /lead out of its folder/],
    ['a name that is an option', [member('-rf', 'content')], [entry('-rf')], /lead out of its folder/],
    ['a control character', [member('a\nb', 'content')], [entry('a\nb')], /lead out of its folder/],
    ['another name than the manifest', [A], [entry('../a')], /something else than its manifest/],
    ['a name that has no place', [member('forbidden', 'content')], [entry('forbidden')], /no place in it/],
    ['the same name twice', [A, A], [entry('a'), entry('a')], /twice/],
    ['a file that is a folder too', [A, member('a/b', 'content')], [entry('a'), entry('a/b')], /a file and a folder/],
    ['a link', [A], [entry('a', 'content', typed('1'))], /holds a link/],
    ['a symbolic link', [A], [entry('a', 'content', typed('2'))], /holds a symbolic link/],
    ['a device', [A], [entry('a', 'content', typed('3'))], /holds a device/],
    ['a folder', [A], [entry('a', 'content', typed('5'))], /holds a folder/],
    ['a long-name header', [A], [entry('a', 'content', typed('L')), entry('a')], /holds a long name/],
    ['an extended header', [A], [entry('a', 'content', typed('x')), entry('a')], /holds an extended header/],
    ['another content', [A], [entry('a', 'CONTENT')], /not the hash/],
    ['another size', [A], [entry('a', 'content!')], /something else than its manifest/],
    ['less', [A, member('b', 'x')], [entry('a')], /lacks b/],
    ['more', [A], [entry('a'), entry('b')], /more than its manifest/],
    ['an attachment that is no attachment', [A], [entry('other', 'x'), entry('a')], /something else than its manifest/],
    ['an attachment that is too large', [A], [entry('note', 'x'.repeat(20_000)), entry('a')], /larger than/],
    ['a size that is no number', [A], [entry('a', 'content', (block) => void block.write('zzz', 124))], /damaged/],
    ['a size beyond all numbers', [A], [entry('a', 'content', (block) => void block.fill(0xff, 124, 136))], /impossible/],
  ])('with %s is refused, and nothing of it stays', async (_, members, entries, message) => {
    const fault = await extract(forge({ members }, entries)).then(
      () => null,
      (error: unknown) => error,
    );
    expect(fault).toBeInstanceOf(OperatingError);
    expect((fault as OperatingError).message).toMatch(message);
    expect(fs.readdirSync(folder)).toEqual(['forged']);
  });

  it('that unpacks to more than there is room for is refused before it is unpacked', async () => {
    const bomb = { ...A, size: Number.MAX_SAFE_INTEGER };
    await expect(extract(forge({ members: [bomb] }, [entry('a')]))).rejects.toThrow(/make room/);
    const zeros = zlib.gzipSync(Buffer.alloc(100 << 20));
    fs.writeFileSync(at('zeros'), zeros);
    await expect(extract(at('zeros'))).rejects.toThrow(OperatingError);
  });

  it('is never unpacked over something', async () => {
    const file = await write({ a: 'content' });
    fs.mkdirSync(at('out'));
    fs.symlinkSync('/etc', at('out/link'));
    await expect(extract(file)).rejects.toThrow(/EEXIST/);
    expect(fs.readdirSync(at('out'))).toEqual(['link']);
  });

  it('that was cut off or changed at any place is refused with an operating error, or was the same', async () => {
    const plain = fs.readFileSync(await write({ a: crypto.randomBytes(700), 'b/c': 'text' }));
    const sealed = fs.readFileSync(await write({ a: 'content', 'b/c': 'text' }, { public_key }));
    const changes = fc.tuple(fc.boolean(), fc.nat(), fc.integer({ min: 1, max: 255 }), fc.boolean());
    await fc.assert(
      fc.asyncProperty(changes, async ([secret, where, bits, cut]) => {
        const bytes = Buffer.from(secret ? sealed : plain);
        const place = where % bytes.length;
        bytes[place] ^= bits;
        fs.writeFileSync(at('changed'), cut ? bytes.subarray(0, place) : bytes);
        fs.rmSync(at('out'), { recursive: true, force: true });
        try {
          await extract(at('changed'), secret ? { private_key } : null);
          // Fields that say nothing may change in a plain file: times and owners, gzip's own header.
          expect(secret || cut).toBe(false);
          expect(fs.readFileSync(at('out/b/c'), 'utf8')).toBe('text');
        } catch (error) {
          if (!(error instanceof OperatingError)) throw error;
          expect(fs.existsSync(at('out'))).toBe(false);
        }
      }),
      { numRuns: 400 },
    );
  });
});

describe('names', () => {
  it('that are safe never lead out of a folder', () => {
    const parts = fc.oneof(
      fc.constantFrom('.', '..', '', 'a', '...', '-x', '.x', 'C:', '~', 'b\\..'),
      fc.string({ maxLength: 4 }),
    );
    fc.assert(
      fc.property(fc.array(parts, { maxLength: 6 }), (list) => {
        const name = list.join('/');
        if (!isSafeName(name)) return;
        expect(path.resolve('/x/y', name).startsWith('/x/y/')).toBe(true);
        expect(path.win32.resolve('C:\\x', name).startsWith('C:\\x\\')).toBe(true);
        expect(path.posix.normalize(name)).toBe(name);
      }),
    );
    expect(isSafeName('node_modules/@scope/a.b/c-d.js')).toBe(true);
  });
});

describe('encryption', () => {
  it('is of any length and in any portions, and every frame has its place', async () => {
    const sizes = fc.constantFrom(0, 1, 65_535, 65_536, 65_537, 131_072, 150_000);
    await fc.assert(
      fc.asyncProperty(sizes, fc.integer({ min: 1000, max: 90_000 }), async (size, piece) => {
        const bytes = crypto.randomBytes(size);
        const sealed = await all(encrypted(new ByteSource(inPieces(bytes, piece)), { public_key }));
        const open = (content: Buffer) => all(decrypted(new ByteSource(inPieces(content, piece)), { private_key }));
        expect((await open(sealed)).equals(bytes)).toBe(true);
        const head = 41;
        // Cut at a frame's end, a frame left out, two changed over: all are known.
        if (size > 65_536) {
          await expect(open(sealed.subarray(0, head + 65_552))).rejects.toThrow(/cut off|changed/);
          await expect(open(Buffer.concat([sealed.subarray(0, head), sealed.subarray(head + 65_552)]))).rejects.toThrow(
            OperatingError,
          );
        }
        await expect(open(Buffer.concat([sealed, Buffer.from([0])]))).rejects.toThrow(OperatingError);
      }),
      { numRuns: 30 },
    );
  });

  it('asks for no more memory than it may', async () => {
    const header = Buffer.concat([Buffer.from('OTSENC1\n'), Buffer.from([1, 30, 8, 1]), Buffer.alloc(48)]);
    await expect(all(decrypted(new ByteSource(inPieces(header, 100)), { passphrase: 'x' }))).rejects.toThrow(
      /more work or memory/,
    );
  });

  it('is opened by other programs from the description alone', async () => {
    const bytes = crypto.randomBytes(100_000);
    const sealed = await all(encrypted(new ByteSource(inPieces(bytes, 5000)), { passphrase: 'pass' }));
    // README.md's steps, with nothing of ours.
    const [log_n, r, p] = sealed.subarray(9, 12);
    const key = crypto.scryptSync('pass', sealed.subarray(12, 44), 32, { N: 2 ** log_n, r, p, maxmem: 2 ** 28 });
    const plain: Buffer[] = [];
    for (let place = 44, number = 0; place < sealed.length; place += 65_552, number++) {
      const frame = sealed.subarray(place, place + 65_552);
      const nonce = Buffer.alloc(12);
      nonce.writeUInt32BE(number, 7);
      nonce[11] = place + 65_552 >= sealed.length ? 1 : 0;
      const decipher = crypto.createDecipheriv('aes-256-gcm', key, nonce).setAAD(sealed.subarray(0, 44));
      decipher.setAuthTag(frame.subarray(-16));
      plain.push(decipher.update(frame.subarray(0, -16)), decipher.final());
    }
    expect(Buffer.concat(plain).equals(bytes)).toBe(true);
  });
});

function otherKey(): string {
  return crypto.generateKeyPairSync('x25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
}
