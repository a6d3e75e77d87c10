import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Certificate } from './certificate.ts';

let folder: string;
let certificate: Certificate;
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-'));
  certificate = new Certificate(folder);
});
afterEach(() => fs.rmSync(folder, { recursive: true }));

const openssl = (...args: string[]) =>
  execFileSync('openssl', args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
const read = (name: string) => fs.readFileSync(path.join(folder, name), 'utf8');

/** An authority of openssl's that signs a request. */
function authority(name = 'ca') {
  openssl(
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-384',
    '-nodes',
    '-keyout',
    `${name}.key`,
    '-out',
    `${name}.pem`,
    '-days',
    '30',
    '-subj',
    `/CN=${name}`,
  );
  return (csr: string, days = '10') => {
    fs.writeFileSync(path.join(folder, 'csr.pem'), csr);
    openssl(
      'x509',
      '-req',
      '-in',
      'csr.pem',
      '-CA',
      `${name}.pem`,
      '-CAkey',
      `${name}.key`,
      '-CAcreateserial',
      '-out',
      'signed.pem',
      '-days',
      days,
      '-copy_extensions',
      'copy',
    );
    return read('signed.pem') + read(`${name}.pem`);
  };
}

describe('the certificate of the API', () => {
  it('is self-signed at first, for its names and addresses, and serves TLS', async () => {
    const keys = await certificate.load(['sensor-1.plant.example', '192.0.2.10', '127.0.0.1']);
    expect(certificate.facts()).toMatchObject({ self_signed: true, key: 'ec prime256v1', chain: 1 });
    expect(fs.statSync(path.join(folder, 'tls/key.pem')).mode & 0o777).toBe(0o600);
    const server = tls.createServer(keys, (socket) => socket.end('hello')).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as { port: number };
    const said = await new Promise((resolve, reject) => {
      const socket = tls.connect({ host: '127.0.0.1', port, ca: keys.cert }, () =>
        socket.on('data', (bytes) => resolve(String(bytes))),
      );
      socket.on('error', reject);
    });
    expect(said).toBe('hello');
    server.close();
    expect((await certificate.load(['other'])).cert).toBe(keys.cert);
    expect(
      openssl('x509', '-in', 'tls/certificate.pem', '-noout', '-ext', 'subjectAltName,extendedKeyUsage,basicConstraints'),
    ).toMatch(/DNS:sensor-1\.plant\.example, IP Address:192\.0\.2\.10[\s\S]*/);
  });

  it('is one of the own authority after a request, whose key never left', async () => {
    await certificate.load(['sensor-1']);
    const request = await certificate.request(['sensor-1.plant.example', '192.0.2.10'], 'Waterworks');
    fs.writeFileSync(path.join(folder, 'request.pem'), request);
    expect(openssl('req', '-in', 'request.pem', '-noout', '-verify', '-text')).toMatch(
      /O ?= ?Waterworks[\s\S]*IP Address:192\.0\.2\.10/,
    );
    const facts = certificate.import(authority()(request));
    expect(facts).toMatchObject({ self_signed: false, chain: 2, names: ['DNS:sensor-1.plant.example', 'IP Address:192.0.2.10'] });
    const { cert, key } = await certificate.load([]);
    expect(() => tls.createSecureContext({ cert, key })).not.toThrow();
    expect(fs.existsSync(path.join(folder, 'tls/requested-key.pem'))).toBe(false);
  });

  it.each([
    ['rsa:2048', true],
    ['rsa:4096', true],
    ['rsa:1024', false],
    ['P-256', true],
    ['P-384', true],
    ['P-521', false],
  ])('is imported with its key, %s: %s', (kind, taken) => {
    const how = kind.startsWith('rsa') ? ['-newkey', kind] : ['-newkey', 'ec', '-pkeyopt', `ec_paramgen_curve:${kind}`];
    openssl(
      'req',
      '-x509',
      ...how,
      '-passout',
      'pass:open sesame',
      '-keyout',
      'own.key',
      '-out',
      'own.pem',
      '-days',
      '30',
      '-subj',
      '/CN=own',
    );
    const act = () => certificate.import(read('own.pem'), read('own.key'), 'open sesame');
    if (!taken) return expect(act).toThrow(/it takes RSA 2048 to 4096, EC P-256 or P-384/);
    expect(act()).toMatchObject({ sha256_fingerprint: new X509Certificate(read('own.pem')).fingerprint256 });
    expect(read('tls/key.pem')).toMatch(/^-----BEGIN PRIVATE KEY/);
    expect(() => certificate.import(read('own.pem'), read('own.key'), 'wrong')).toThrow(/passphrase/);
  });

  it('is not taken when it is expired, out of order, no certificate, or of another key; the one in use stays', async () => {
    const { cert } = await certificate.load(['sensor-1']);
    const sign = authority();
    const request = await certificate.request(['sensor-1']);
    const chain = sign(request, '1');
    expect(() => certificate.import(chain, '', '', Date.now() + 2 * 86_400_000)).toThrow(/expired/);
    authority('stranger');
    expect(() => certificate.import(read('signed.pem') + read('stranger.pem'))).toThrow(/chain is not in order/);
    expect(() => certificate.import('hello')).toThrow(/no certificate/);
    expect(() => certificate.import('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----')).toThrow(/cannot be read/);
    expect(() => certificate.import(read('stranger.pem'))).toThrow(/neither the key/);
    expect(() => certificate.import(read('ca.pem'), read('stranger.key'))).toThrow(/not that of the certificate/);
    expect((await certificate.load([])).cert).toBe(cert);
    certificate.import(chain);
  });
});
