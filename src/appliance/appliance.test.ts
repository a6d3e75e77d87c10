import fs from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { PROGRAM, remove, temporaryFolder } from '../cli/testing.ts';
import { Appliance } from './appliance.ts';

let folder: string;
let appliance: Appliance | null = null;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(async () => {
  await appliance?.stop();
  appliance = null;
  remove(folder);
});

const start = (changes: object = {}) =>
  Appliance.start({
    version: '1.2.3',
    directory: folder,
    program: PROGRAM,
    program_root: folder,
    update_root_keys: [],
    config_file: '',
    host: '127.0.0.1',
    port: 0,
    tls: true,
    ...changes,
  });
const certificate = () => fs.readFileSync(path.join(folder, 'tls/certificate.pem'));

it('serves HTTP/1.1 and HTTP/2 over TLS, with a certificate of its own that names its address', async () => {
  appliance = await start();
  const { hostname, port } = new URL(appliance.url);
  const first = await new Promise((resolve, reject) => {
    https
      .get({ hostname, port, path: '/api/v3/health', ca: certificate() }, (response) => resolve(response.statusCode))
      .on('error', reject);
  });
  expect(first).toBe(401);
  const session = http2.connect(appliance.url, { ca: certificate() });
  const headers = await new Promise<http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader>((resolve, reject) => {
    session.on('error', reject);
    const request = session.request({ ':path': '/api/v3/health' });
    request.on('response', resolve);
    request.end();
  });
  expect(headers[':status']).toBe(401);
  expect(headers['strict-transport-security']).toMatch(/max-age/);
  session.close();
});

it('speaks no TLS that is broken, and no plain HTTP there', async () => {
  appliance = await start();
  const { port } = new URL(appliance.url);
  const old = new Promise((resolve, reject) => {
    const options = {
      port: Number(port),
      host: '127.0.0.1',
      ca: certificate(),
      maxVersion: 'TLSv1.1',
      minVersion: 'TLSv1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    } as const;
    tls.connect(options, () => resolve('connected')).on('error', reject);
  });
  await expect(old).rejects.toThrow();
  const plain = await new Promise<string>((resolve) => {
    const socket = net.connect(Number(port), '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
    let said = '';
    socket.on('data', (bytes) => {
      said += bytes;
    });
    socket.on('close', () => resolve(said));
    socket.on('error', () => {});
  });
  expect(plain).not.toMatch(/ 200 /);
});

it('is without TLS on loopback alone', async () => {
  await expect(start({ tls: false, host: '192.0.2.1' })).rejects.toThrow(/loopback/);
  appliance = await start({ tls: false });
  expect(appliance.url).toMatch(/^http:\/\/127\.0\.0\.1:/);
});

it('makes an administrator at the first start only, whose password is in a file of its owner until it is changed', async () => {
  appliance = await start();
  expect(appliance.first).toMatchObject({ name: 'admin' });
  const file = path.join(folder, 'first-password');
  expect(fs.statSync(file).mode & 0o777).toBe(0o600);
  expect(fs.readFileSync(file, 'utf8').trim()).toBe(appliance.first!.password);
  await appliance.stop();
  appliance = await start();
  expect(appliance.first).toBeNull();
});

it('says what is in the way where it cannot listen, and lets go of everything', async () => {
  appliance = await start();
  const port = Number(new URL(appliance.url).port);
  await expect(start({ port })).rejects.toThrow(/cannot be served on 127\.0\.0\.1 port/);
  await expect(start({ host: '192.0.2.1' })).rejects.toThrow(/EADDRNOTAVAIL/);
});
