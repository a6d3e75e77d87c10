import { execFileSync, spawn } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fileNameOf } from '../names.ts';
import type { S3StoreSettings, SftpStoreSettings } from '../settings.ts';
import { remove, temporaryFolder } from '../testing.ts';
import { DirectoryStore, isMount } from './directory.ts';
import { S3Store } from './s3.ts';
import { fingerprintOf, SftpStore } from './sftp.ts';
import { type BackupStore, DIRECT } from './store.ts';

const NAME = fileNameOf({ sensor_name: 'plant1', product_version: '0.1.0', time_ms: 0, number: 1, encrypted: false });
const OTHER = fileNameOf({ sensor_name: 'plant1', product_version: '0.1.0', time_ms: 1000, number: 1, encrypted: true });
const CONTENT = crypto.randomBytes(300_000);

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
  fs.writeFileSync(at('backup'), CONTENT);
  fs.writeFileSync(at('small'), 'small');
});
afterEach(() => remove(folder));
const at = (...names: string[]): string => path.join(folder, ...names);

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });

/** What every store does. `contentOf`: what is there under a name. */
async function keepsFiles(store: BackupStore, contentOf: (name: string) => Buffer): Promise<void> {
  expect(await store.list()).toEqual([]);
  await store.put(at('backup'), NAME);
  await store.put(at('small'), OTHER);
  // Again over itself.
  await store.put(at('backup'), NAME);
  const files = await store.list();
  expect(files.sort((a, b) => b.size - a.size)).toEqual([
    { name: NAME, size: CONTENT.length },
    { name: OTHER, size: 5 },
  ]);
  expect(contentOf(NAME).equals(CONTENT)).toBe(true);
  await store.remove(NAME);
  await store.remove(NAME);
  expect((await store.list()).map(({ name }) => name)).toEqual([OTHER]);
  await store.close();
}

describe('a folder', () => {
  const settings = () => ({ name: 'nas', type: 'directory' as const, path: at('nas'), require_mount: false });

  it('keeps backups, and nothing half', async () => {
    fs.mkdirSync(at('nas'));
    await keepsFiles(new DirectoryStore(settings()), (name) => fs.readFileSync(at('nas', name)));
    expect(fs.readdirSync(at('nas'))).toEqual([OTHER]);
  });

  it('that is full, read-only, away or not mounted says so and keeps nothing half', async () => {
    const store = new DirectoryStore(settings());
    await expect(store.list()).rejects.toThrow(/nas: ENOENT/);
    fs.mkdirSync(at('nas'));
    const mounted = new DirectoryStore({ ...settings(), require_mount: true });
    await expect(mounted.put(at('backup'), NAME)).rejects.toThrow(/nothing is mounted/);
    if (process.getuid?.() !== 0) return;
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=100k', 'tmpfs', at('nas')]);
    try {
      expect(isMount(at('nas'))).toBe(true);
      await expect(mounted.put(at('backup'), NAME)).rejects.toThrow(/ENOSPC/);
      expect(fs.readdirSync(at('nas'))).toEqual([]);
      await mounted.put(at('small'), OTHER);
      execFileSync('mount', ['-o', 'remount,ro', at('nas')]);
      await expect(mounted.put(at('small'), NAME)).rejects.toThrow(/EROFS/);
      await expect(mounted.remove(OTHER)).rejects.toThrow(/EROFS/);
    } finally {
      execFileSync('umount', [at('nas')]);
    }
  });
});

const SSHD = '/usr/sbin/sshd';
const HAS_SSHD = fs.existsSync(SSHD) && process.getuid?.() === 0;
if (!HAS_SSHD && process.env.OT_SENSOR_REQUIRE_TOOLS === '1') throw new Error('openssh-server is not installed');

describe.skipIf(!HAS_SSHD)('an SFTP server (OpenSSH)', () => {
  let place: string;
  let settings: SftpStoreSettings;
  let end: () => void;
  beforeAll(async () => {
    place = temporaryFolder();
    const file = (name: string) => path.join(place, name);
    for (const name of ['host_key', 'user_key', 'other_key'])
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file(name)]);
    fs.copyFileSync(file('user_key.pub'), file('authorized'));
    fs.mkdirSync('/run/sshd', { recursive: true });
    const port = await freePort();
    const lines = [
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      `HostKey ${file('host_key')}`,
      `AuthorizedKeysFile ${file('authorized')}`,
      `PidFile ${file('pid')}`,
      'StrictModes no',
      'UsePAM no',
      'PasswordAuthentication no',
      'PermitRootLogin yes',
      'Subsystem sftp internal-sftp',
    ];
    fs.writeFileSync(file('config'), `${lines.join('\n')}\n`);
    const server = spawn(SSHD, ['-D', '-e', '-f', file('config')], { stdio: ['ignore', 'ignore', 'pipe'] });
    await new Promise((resolve) => server.stderr.once('data', resolve));
    end = () => server.kill();
    const host_key = execFileSync('ssh-keygen', ['-lf', file('host_key.pub')])
      .toString()
      .split(' ')[1];
    const private_key = fs.readFileSync(file('user_key'), 'utf8');
    const common = { name: 'far', type: 'sftp' as const, host: '127.0.0.1', password: '' };
    settings = { ...common, port, user: os.userInfo().username, host_key, private_key, path: file('backups') };
    fs.mkdirSync(settings.path);
  });
  afterAll(() => {
    end();
    remove(place);
  });

  it('keeps backups', async () => {
    await keepsFiles(new SftpStore(settings, DIRECT), (name) => fs.readFileSync(path.join(settings.path, name)));
  });

  it('with another key than the known one is told nothing, nor are we let in with another key', async () => {
    const host_key = fingerprintOf(Buffer.from('another'));
    await expect(new SftpStore({ ...settings, host_key }, DIRECT).put(at('small'), NAME)).rejects.toThrow(
      /somebody else answers/,
    );
    const private_key = fs.readFileSync(path.join(place, 'other_key'), 'utf8');
    await expect(new SftpStore({ ...settings, private_key }, DIRECT).list()).rejects.toThrow(/far: .*authentication/i);
    await expect(new SftpStore({ ...settings, path: '/nowhere' }, DIRECT).put(at('small'), NAME)).rejects.toThrow(/far: /);
    await expect(new SftpStore({ ...settings, port: await freePort() }, DIRECT).list()).rejects.toThrow(/far: .*ECONNREFUSED/);
    const silent = net.createServer((socket) => socket.end('no ssh at all\r\n')).listen(0, '127.0.0.1');
    await new Promise((resolve) => silent.once('listening', resolve));
    const { port } = silent.address() as net.AddressInfo;
    await expect(new SftpStore({ ...settings, port }, DIRECT).list()).rejects.toThrow(/far: /);
    silent.close();
  });
});

describe('a store that speaks S3', () => {
  const KEY_ID = 'AKIDEXAMPLE';
  const SECRET = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY';
  let server: http.Server;
  let settings: S3StoreSettings;
  let objects: Map<string, Buffer>;
  let uploads: Map<string, Map<number, Buffer>>;
  let fail: (method: string, url: URL) => string;

  beforeAll(async () => {
    server = http.createServer((request, response) => void answer(request, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as net.AddressInfo;
    const common = { name: 'cloud', type: 's3' as const, region: 'eu-central-1', bucket: 'backups', ca: '' };
    settings = {
      ...common,
      endpoint: `http://127.0.0.1:${port}`,
      prefix: 'site 1/'.replace(' ', '_'),
      access_key_id: KEY_ID,
      secret_access_key: SECRET,
    };
  });
  afterAll(() => server.close());
  beforeEach(() => {
    objects = new Map();
    uploads = new Map();
    fail = () => '';
  });

  /** AWS Signature Version 4, from its description: the canonical request, the text to sign, the key. */
  function signatureOf(request: http.IncomingMessage, body: Buffer): string {
    const match =
      /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/.exec(
        request.headers.authorization ?? '',
      );
    if (match === null || match[1] !== KEY_ID) return 'no authorization';
    const [, , date, region, signed, signature] = match;
    const hash = crypto.createHash('sha256').update(body).digest('hex');
    if (request.headers['x-amz-content-sha256'] !== hash) return 'the body is another';
    if (!signed.split(';').includes('host') || !signed.split(';').includes('x-amz-content-sha256')) return 'too little is signed';
    const [where, query = ''] = request.url!.split('?');
    const sorted = query.split('&').sort().join('&');
    const headers = signed.split(';').map((name) => `${name}:${String(request.headers[name]).trim()}\n`);
    const canonical = [request.method, where, sorted, headers.join(''), signed, hash].join('\n');
    const scope = `${date}/${region}/s3/aws4_request`;
    const text = [
      'AWS4-HMAC-SHA256',
      request.headers['x-amz-date'],
      scope,
      crypto.createHash('sha256').update(canonical).digest('hex'),
    ].join('\n');
    const hmac = (key: crypto.BinaryLike, part: string) => crypto.createHmac('sha256', key).update(part).digest();
    const key = ['s3', 'aws4_request'].reduce(hmac, hmac(hmac(`AWS4${SECRET}`, date), region));
    return hmac(key, text).toString('hex') === signature ? '' : 'SignatureDoesNotMatch';
  }

  async function answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part);
    const body = Buffer.concat(parts);
    const url = new URL(request.url!, 'http://x');
    const fault = signatureOf(request, body) || fail(request.method!, url);
    if (fault !== '')
      return void response.writeHead(403).end(`<Error><Code>${fault}</Code><Message>a &lt;reason&gt;</Message></Error>`);
    const key = decodeURIComponent(url.pathname.replace(/^\/backups\/?/, ''));
    const upload = url.searchParams.get('uploadId');
    if (request.method === 'GET') {
      const found = [...objects].filter(([name]) => name.startsWith(url.searchParams.get('prefix')!)).sort();
      // A page holds one.
      const from = Number(url.searchParams.get('continuation-token') ?? 0);
      const contents = found
        .slice(from, from + 1)
        .map(([name, { length }]) => `<Contents><Key>${name}</Key><Size>${length}</Size></Contents>`);
      const more = from + 1 < found.length;
      const next = more ? `<NextContinuationToken>${from + 1}</NextContinuationToken>` : '';
      return void response.end(
        `<ListBucketResult>${contents.join('')}<IsTruncated>${more}</IsTruncated>${next}</ListBucketResult>`,
      );
    }
    if (request.method === 'DELETE') {
      if (upload === null) objects.delete(key);
      else uploads.delete(upload);
      return void response.writeHead(204).end();
    }
    if (url.searchParams.has('uploads')) {
      uploads.set('u1', new Map());
      return void response.end('<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>');
    }
    const number = Number(url.searchParams.get('partNumber'));
    if (request.method === 'PUT' && upload !== null) uploads.get(upload)!.set(number, body);
    else if (request.method === 'PUT') objects.set(key, body);
    else {
      const listed = [...body.toString().matchAll(/<PartNumber>(\d+)<\/PartNumber><ETag>&quot;e(\d+)&quot;<\/ETag>/g)].map(
        (match) => Number(match[2]),
      );
      objects.set(key, Buffer.concat(listed.map((one) => uploads.get(upload!)!.get(one)!)));
      uploads.delete(upload!);
      return void response.end('<CompleteMultipartUploadResult/>');
    }
    response.writeHead(200, { etag: `"e${number}"` }).end();
  }

  it('keeps backups, whole or in parts', async () => {
    await keepsFiles(new S3Store(settings, DIRECT), (name) => objects.get(`site_1/${name}`)!);
    objects.clear();
    await keepsFiles(new S3Store(settings, DIRECT, 70_000), (name) => objects.get(`site_1/${name}`)!);
    expect(uploads.size).toBe(0);
  });

  it('says what the store said, and takes back what it had begun', async () => {
    const wrong = new S3Store({ ...settings, secret_access_key: 'wrong' }, DIRECT);
    await expect(wrong.put(at('small'), NAME)).rejects.toThrow(/cloud: the store answered 403: SignatureDoesNotMatch a <reason>/);
    fail = (method, url) => (method === 'PUT' && url.searchParams.get('partNumber') === '3' ? 'SlowDown' : '');
    await expect(new S3Store(settings, DIRECT, 70_000).put(at('backup'), NAME)).rejects.toThrow(/SlowDown/);
    expect([uploads.size, objects.size]).toEqual([0, 0]);
    const gone = new S3Store({ ...settings, endpoint: `http://127.0.0.1:${await freePort()}` }, DIRECT);
    await expect(gone.list()).rejects.toThrow(/cloud: .*ECONNREFUSED/);
  });
});
