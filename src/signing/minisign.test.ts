import { execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OperatingError } from '../errors.ts';
import { blake2b } from './blake2b.ts';
import * as minisign from './minisign.ts';

let folder: string;
beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-signing-'));
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

const file = (name: string, content?: string | Buffer): string => {
  const where = path.join(folder, name);
  if (content !== undefined) fs.writeFileSync(where, content);
  return where;
};
const read = (name: string): string => fs.readFileSync(file(name), 'utf8');
const tool = (args: string[], input = ''): string =>
  execFileSync('minisign', args, { cwd: folder, input, stdio: 'pipe' }).toString();
const HAS_TOOL = ['/usr/bin/minisign', '/usr/local/bin/minisign'].some((place) => fs.existsSync(place));
if (!HAS_TOOL && process.env.OT_SENSOR_REQUIRE_TOOLS === '1') throw new Error('minisign is not installed');

describe('BLAKE2b', () => {
  it('is that of RFC 7693, Appendix A, and of 32 bytes as other programs have it', () => {
    expect(blake2b(Buffer.from('abc'), 64).toString('hex')).toBe(
      'ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d17d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923',
    );
    expect(blake2b(Buffer.from('abc'), 32).toString('hex')).toBe(
      'bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319',
    );
  });

  it('is Node’s at any length', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect(blake2b(bytes, 64).equals(crypto.createHash('blake2b512').update(bytes).digest())).toBe(true);
      }),
    );
  });
});

describe('a signature', () => {
  const key = minisign.generateKey();
  const bytes = Buffer.from('what is signed');

  it('holds for what was signed, its comment and its key, and for nothing else', () => {
    const signature = minisign.parseSignature(minisign.signatureText(minisign.sign(bytes, key, 'a comment')));
    const public_key = minisign.parsePublicKey(minisign.publicKeyText(key));
    minisign.verify(bytes, signature, public_key);
    expect(signature.trusted_comment).toBe('a comment');
    expect(() => minisign.verify(Buffer.from('another'), signature, public_key)).toThrow(/signature is wrong/);
    expect(() => minisign.verify(bytes, { ...signature, trusted_comment: 'b' }, public_key)).toThrow(/comment was changed/);
    const other = minisign.generateKey();
    expect(() => minisign.verify(bytes, signature, other)).toThrow(/signed with the key/);
    expect(() => minisign.verify(bytes, signature, { ...other, id: key.id })).toThrow(/signature is wrong/);
    expect(() => minisign.sign(bytes, key, 'two\nlines')).toThrow(OperatingError);
  });

  it('is not read of anything that is not exactly one: nothing but an operating error comes of it', () => {
    const text = minisign.signatureText(minisign.sign(bytes, key, 'a comment'));
    const readers = [minisign.parseSignature, minisign.parsePublicKey, minisign.parseSecretKey];
    const texts = fc.oneof(
      fc.string({ maxLength: 300 }),
      fc
        .tuple(fc.nat(text.length), fc.nat(20), fc.string({ maxLength: 5 }))
        .map(([at, cut, more]) => text.slice(0, at) + more + text.slice(at + cut)),
    );
    fc.assert(
      fc.property(texts, (changed) => {
        for (const parse of readers) {
          try {
            parse(changed);
          } catch (error) {
            expect(error).toBeInstanceOf(OperatingError);
          }
        }
      }),
    );
    expect(() => minisign.parseSignature(`${text}${'x'.repeat(20_000)}`)).toThrow(/larger than/);
    expect(() => minisign.parseSignature(text.replace('a comment', 'x'.repeat(9000)))).toThrow(/too long/);
  });
});

describe('a secret key', () => {
  const key = minisign.generateKey();

  it('is kept encrypted or not, and opens with its password alone', () => {
    expect(minisign.parseSecretKey(minisign.secretKeyText(key))).toEqual(key);
    const text = minisign.secretKeyText(key, 'pass word', 1 << 24);
    expect(minisign.parseSecretKey(text, 'pass word')).toEqual(key);
    expect(() => minisign.parseSecretKey(text, 'pass')).toThrow(/password of the secret key is wrong/);
    expect(() => minisign.parseSecretKey(text)).toThrow(/its password is needed/);
  });

  it('cannot ask for more memory than there is', () => {
    const bytes = Buffer.from(minisign.secretKeyText(key, 'x', 1 << 24).split('\n')[1], 'base64');
    bytes.writeBigUInt64LE(2n ** 40n, 46);
    expect(() => minisign.parseSecretKey(`untrusted comment: x\n${bytes.toString('base64')}\n`, 'x')).toThrow(
      /more work or memory/,
    );
  });
});

describe.skipIf(!HAS_TOOL)("Debian's minisign", () => {
  it('takes our keys and signatures', () => {
    const key = minisign.generateKey();
    file('ours.pub', minisign.publicKeyText(key));
    file('ours.key', minisign.secretKeyText(key));
    const message = crypto.randomBytes(100_000);
    file('message', message);
    file('message.minisig', minisign.signatureText(minisign.sign(message, key, 'made by us')));
    expect(tool(['-V', '-p', 'ours.pub', '-m', 'message'])).toMatch(/Trusted comment: made by us/);
    expect(tool(['-V', '-P', minisign.publicKeyLine(key), '-m', 'message'])).toMatch(/verified/);
    tool(['-S', '-W', '-s', 'ours.key', '-m', 'message', '-x', 'theirs.minisig', '-t', 'made by the tool']);
    const signature = minisign.parseSignature(read('theirs.minisig'));
    minisign.verify(message, signature, key);
    expect(signature).toMatchObject({ prehashed: true, trusted_comment: 'made by the tool' });
    file('encrypted.key', minisign.secretKeyText(key, 'a password', 1 << 25));
    tool(['-S', '-s', 'encrypted.key', '-m', 'message', '-x', 'again.minisig', '-t', 'c'], 'a password\n');
    minisign.verify(message, minisign.parseSignature(read('again.minisig')), key);
    file('message', Buffer.concat([message, Buffer.from('x')]));
    expect(() => tool(['-V', '-p', 'ours.pub', '-m', 'message'])).toThrow();
  });

  it('gives keys and signatures, of both forms, that we take', async () => {
    tool(['-G', '-f', '-W', '-p', 'theirs.pub', '-s', 'theirs.key']);
    const public_key = minisign.parsePublicKey(read('theirs.pub'));
    const secret_key = minisign.parseSecretKey(read('theirs.key'));
    expect(minisign.publicKeyOf(secret_key)).toEqual(public_key);
    file('message2', 'to be signed');
    for (const [option, prehashed] of [
      ['-H', true],
      ['-l', false],
    ] as const) {
      tool(['-S', option, '-s', 'theirs.key', '-m', 'message2', '-x', 'message2.minisig']);
      const signature = minisign.parseSignature(read('message2.minisig'));
      expect(signature.prehashed).toBe(prehashed);
      await minisign.verifyFile(file('message2'), signature, public_key);
    }
    tool(['-G', '-f', '-p', 'locked.pub', '-s', 'locked.key'], 'secret\nsecret\n');
    const opened = minisign.parseSecretKey(read('locked.key'), 'secret');
    expect(minisign.publicKeyOf(opened)).toEqual(minisign.parsePublicKey(read('locked.pub')));
  });
});
