import 'reflect-metadata';
import { createPrivateKey, webcrypto, X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import * as x509 from '@peculiar/x509';
import { OperatingError } from '../errors.ts';

x509.cryptoProvider.set(webcrypto);

const FOLDER = 'tls';
const CERTIFICATE = 'certificate.pem';
const KEY = 'key.pem';
/** Of a key whose certificate has been asked for and has not come yet. */
const REQUESTED_KEY = 'requested-key.pem';
const SELF_SIGNED_DAYS = 825;
const MAX_PEM = 1 << 18;
const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

export interface CertificateFacts {
  subject: string;
  issuer: string;
  names: string[];
  /** rsa 2048, ec prime256v1, … */
  key: string;
  self_signed: boolean;
  valid_from_ms: number;
  expires_ms: number;
  sha256_fingerprint: string;
  /** Certificates in the file, the chain included. */
  chain: number;
}

/**
 * The certificate of the API, in `tls/` in the data directory: self-signed at first, then one of the customer's own authority. The key
 * never leaves the folder, which only its owner can read. Throws OperatingError.
 */
export class Certificate {
  private readonly folder: string;

  constructor(directory: string) {
    this.folder = path.join(directory, FOLDER);
  }

  get exists(): boolean {
    return fs.existsSync(this.path(CERTIFICATE)) && fs.existsSync(this.path(KEY));
  }

  /** What a TLS server needs, made where it is not there. */
  async load(names: readonly string[]): Promise<{ cert: string; key: string }> {
    if (!this.exists) await this.selfSign(names);
    return { cert: fs.readFileSync(this.path(CERTIFICATE), 'utf8'), key: fs.readFileSync(this.path(KEY), 'utf8') };
  }

  /** EC P-256, for these names and addresses. */
  async selfSign(names: readonly string[], now_ms = Date.now()): Promise<void> {
    const keys = await newKeys();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      name: [{ CN: [names[0] ?? 'ot-sensor'] }],
      // An hour back: clocks of browsers differ.
      notBefore: new Date(now_ms - 3_600_000),
      notAfter: new Date(now_ms + SELF_SIGNED_DAYS * 86_400_000),
      signingAlgorithm: P256,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension(['1.3.6.1.5.5.7.3.1']),
        alternativeNames(names),
      ],
    });
    this.write({ [KEY]: await pemOf(keys), [CERTIFICATE]: certificate.toString('pem') });
  }

  /** A request (PKCS #10) for a new key, which is kept until its certificate is imported. */
  async request(names: readonly string[], organisation = ''): Promise<string> {
    if (names.length === 0) throw new OperatingError('usage', 'a certificate needs at least one name or address');
    const keys = await newKeys();
    const request = await x509.Pkcs10CertificateRequestGenerator.create({
      name: [{ CN: [names[0]] }, ...(organisation === '' ? [] : [{ O: [organisation] }])],
      keys,
      signingAlgorithm: P256,
      extensions: [alternativeNames(names), new x509.ExtendedKeyUsageExtension(['1.3.6.1.5.5.7.3.1'])],
    });
    this.write({ [REQUESTED_KEY]: await pemOf(keys) });
    return request.toString('pem');
  }

  /**
   * Takes a certificate with its chain, the server's own first. Without a key it belongs to the one that was requested, or to the one
   * that is in use. Checked: the key fits, RSA 2048 to 4096 bits or EC P-256 or P-384, not expired, each of the chain signed the one before.
   */
  import(cert: string, key = '', passphrase = '', now_ms = Date.now()): CertificateFacts {
    const chain = chainOf(cert);
    const [own] = chain;
    const candidates = key === '' ? [REQUESTED_KEY, KEY].flatMap((name) => this.read(name) ?? []) : [key];
    const fitting = candidates.map((pem) => keyOf(pem, passphrase)).find((one) => one !== null && own.checkPrivateKey(one));
    if (fitting === undefined || fitting === null)
      throw new OperatingError(
        'usage',
        key === ''
          ? 'the certificate belongs to neither the key that was requested nor the one in use; give its key'
          : 'the key cannot be read with this passphrase, or is not that of the certificate',
      );
    const kind = kindOf(own);
    if (!['rsa 2048', 'rsa 3072', 'rsa 4096', 'ec prime256v1', 'ec secp384r1'].includes(kind))
      throw new OperatingError(
        'usage',
        `the certificate has a key of the kind ${kind}; it takes RSA 2048 to 4096, EC P-256 or P-384`,
      );
    const expires_ms = Date.parse(own.validTo);
    if (expires_ms <= now_ms) throw new OperatingError('usage', `the certificate expired on ${own.validTo}`);
    chain.slice(1).forEach((issuer, i) => {
      if (!chain[i].verify(issuer.publicKey))
        throw new OperatingError(
          'usage',
          `the chain is not in order: certificate ${i + 1} was not signed by certificate ${i + 2}`,
        );
    });
    this.write({ [KEY]: fitting.export({ type: 'pkcs8', format: 'pem' }) as string, [CERTIFICATE]: chain.map(String).join('') });
    fs.rmSync(this.path(REQUESTED_KEY), { force: true });
    return this.facts();
  }

  facts(): CertificateFacts {
    const text = this.read(CERTIFICATE);
    if (text === null)
      throw new OperatingError('not_found', 'there is no certificate yet; it is made with the first start of the service');
    const chain = chainOf(text);
    const [own] = chain;
    return {
      subject: own.subject.replaceAll('\n', ', '),
      issuer: own.issuer.replaceAll('\n', ', '),
      names: (own.subjectAltName ?? '').split(', ').filter(Boolean),
      key: kindOf(own),
      self_signed: own.verify(own.publicKey),
      valid_from_ms: Date.parse(own.validFrom),
      expires_ms: Date.parse(own.validTo),
      sha256_fingerprint: own.fingerprint256,
      chain: chain.length,
    };
  }

  private path(name: string): string {
    return path.join(this.folder, name);
  }

  private read(name: string): string | null {
    try {
      return fs.readFileSync(this.path(name), 'utf8');
    } catch {
      return null;
    }
  }

  /** Each whole or not at all; the key first, so that a certificate is never without its own for longer than a rename. */
  private write(files: Readonly<Record<string, string>>): void {
    try {
      fs.mkdirSync(this.folder, { recursive: true, mode: 0o700 });
      for (const [name, text] of Object.entries(files))
        fs.writeFileSync(this.path(`${name}.new`), text, { mode: 0o600, flush: true });
      for (const name of Object.keys(files)) fs.renameSync(this.path(`${name}.new`), this.path(name));
    } catch (error) {
      throw new OperatingError('output', `${this.folder} cannot be written: ${(error as Error).message}`);
    }
  }
}

function chainOf(pem: string): X509Certificate[] {
  if (pem.length > MAX_PEM) throw new OperatingError('usage', 'the certificate file is too large');
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw new OperatingError('usage', 'there is no certificate in the file; it takes PEM');
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch (error) {
    throw new OperatingError('usage', `a certificate cannot be read: ${(error as Error).message}`);
  }
}

function keyOf(pem: string, passphrase: string) {
  try {
    return createPrivateKey({ key: pem, passphrase });
  } catch {
    return null;
  }
}

function kindOf({ publicKey }: X509Certificate): string {
  const { modulusLength, namedCurve } = publicKey.asymmetricKeyDetails ?? {};
  return `${publicKey.asymmetricKeyType} ${modulusLength ?? namedCurve ?? ''}`.trim();
}

const newKeys = () => webcrypto.subtle.generateKey(P256, true, ['sign', 'verify']) as Promise<webcrypto.CryptoKeyPair>;

async function pemOf({ privateKey }: webcrypto.CryptoKeyPair): Promise<string> {
  const der = await webcrypto.subtle.exportKey('pkcs8', privateKey);
  return `-----BEGIN PRIVATE KEY-----\n${Buffer.from(der).toString('base64').replace(/.{64}/g, '$&\n')}\n-----END PRIVATE KEY-----\n`;
}

const alternativeNames = (names: readonly string[]) =>
  new x509.SubjectAlternativeNameExtension(names.map((name) => ({ type: net.isIP(name) === 0 ? 'dns' : 'ip', value: name })));
