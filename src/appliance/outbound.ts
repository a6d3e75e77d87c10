import { X509Certificate } from 'node:crypto';
import net from 'node:net';
import tls from 'node:tls';
import ipaddr from 'ipaddr.js';
import { type Static, Type } from 'typebox';
import { Agent, type Dispatcher } from 'undici';
import { defineSettings, Secret, type SettingsFault, secretsGoTo } from './settings.ts';

export function isCertificate(pem: string): boolean {
  try {
    new X509Certificate(pem);
    return true;
  } catch {
    return false;
  }
}

/** Every connection that the appliance itself makes goes this way: direct, or through a proxy (HTTP CONNECT, RFC 9110 §9.3.6). */
export const OUTBOUND = defineSettings({
  name: 'outbound',
  description: 'How the appliance reaches others: directly where no proxy is named. UDP always goes directly.',
  schema: Type.Object(
    {
      proxy: Type.Object(
        {
          host: Type.String({ default: '', maxLength: 253, description: 'name or address of the HTTP proxy; empty: none' }),
          port: Type.Integer({ default: 3128, minimum: 1, maximum: 65_535, description: 'its port' }),
          tls: Type.Boolean({ default: false, description: 'the connection to the proxy itself is TLS' }),
          ca: Type.String({
            default: '',
            maxLength: 262_144,
            description: "certificates (PEM) that the proxy's is checked against; empty: those of the system",
          }),
          username: Type.String({ default: '', maxLength: 256, description: 'for basic authentication; empty: none' }),
          password: Secret('password of the proxy'),
        },
        { default: {}, additionalProperties: false, description: 'the proxy', ...secretsGoTo('host', 'port', 'tls') },
      ),
      no_proxy: Type.Array(Type.String({ minLength: 1, maxLength: 253 }), {
        default: ['localhost', '127.0.0.0/8', '::1'],
        maxItems: 200,
        description:
          'reached directly: addresses, networks (10.0.0.0/8), names, and domains with what is below them (.plant.example)',
      }),
    },
    { additionalProperties: false },
  ),
  check({ proxy, no_proxy }) {
    const faults: SettingsFault[] = [];
    if (proxy.ca !== '' && !isCertificate(proxy.ca)) faults.push({ at: '/proxy/ca', message: 'is not a certificate in PEM' });
    if (/[:\r\n]/.test(proxy.username)) faults.push({ at: '/proxy/username', message: 'must not have a colon (RFC 7617)' });
    no_proxy.forEach((entry, i) => {
      if (entry.includes('/') && !ipaddr.isValidCIDR(entry)) faults.push({ at: `/no_proxy/${i}`, message: 'is not a network' });
    });
    return faults;
  },
});
export type OutboundSettings = Static<(typeof OUTBOUND)['schema']>;

export interface Target {
  /** A name or an address, IPv6 without brackets. */
  host: string;
  port: number;
}

export interface ConnectOptions {
  /** Until it is connected, handshakes included. 10 s where not given. */
  timeout_ms?: number;
  signal?: AbortSignal;
}

/** What TLS needs beyond the target; PEM. */
export interface TlsSettings {
  verify: boolean;
  server_name: string;
  ca: string;
  certificate: string;
  key: string;
  passphrase: string;
}

/** Could not connect; the message says to what and why, in words for the operator. */
export class OutboundError extends Error {
  override readonly name = 'OutboundError';
}

/** All reject with OutboundError. */
export interface Outbound {
  /** A TCP connection that is open. */
  connect(target: Target, options?: ConnectOptions): Promise<net.Socket>;
  /** The same with TLS over it, its handshake done and, unless `verify` is off, certificate and name checked. */
  connectTls(target: Target, settings: TlsSettings, options?: ConnectOptions): Promise<tls.TLSSocket>;
  /** For undici. The caller closes it. */
  dispatcher(settings?: TlsSettings, options?: { timeout_ms?: number }): Dispatcher;
  /** Whether the target is reached through a proxy. */
  proxied(target: Target): boolean;
}

const CONNECT_MS = 10_000;
const MAX_ANSWER_BYTES = 16_384;
const KEEP_ALIVE_MS = 30_000;

export const NO_TLS_SETTINGS: TlsSettings = { verify: true, server_name: '', ca: '', certificate: '', key: '', passphrase: '' };

/** Reads the settings anew for each connection, so that a change holds from the next one on. */
export class SettingsOutbound implements Outbound {
  private readonly read: () => OutboundSettings;
  constructor(read: () => OutboundSettings) {
    this.read = read;
  }

  proxied({ host }: Target): boolean {
    const { proxy, no_proxy } = this.read();
    return proxy.host !== '' && !matchesAny(host, no_proxy);
  }

  async connect(target: Target, options: ConnectOptions = {}): Promise<net.Socket> {
    const deadline = Date.now() + (options.timeout_ms ?? CONNECT_MS);
    if (!this.proxied(target)) return dial(target, deadline, options.signal);
    const { proxy } = this.read();
    const at = { host: proxy.host, port: proxy.port };
    let socket: net.Socket;
    try {
      socket = await dial(at, deadline, options.signal);
      if (proxy.tls) socket = await secure(socket, at, { ...NO_TLS_SETTINGS, ca: proxy.ca }, deadline, options.signal);
    } catch (error) {
      throw new OutboundError(`the proxy cannot be used: ${(error as Error).message}`, { cause: error });
    }
    const authorization =
      proxy.username === '' ? '' : `Basic ${Buffer.from(`${proxy.username}:${proxy.password}`).toString('base64')}`;
    await tunnel(socket, target, authorization, textOf(at), deadline, options.signal);
    return socket;
  }

  async connectTls(target: Target, settings: TlsSettings, options: ConnectOptions = {}): Promise<tls.TLSSocket> {
    const deadline = Date.now() + (options.timeout_ms ?? CONNECT_MS);
    const socket = await this.connect(target, options);
    return secure(socket, target, settings, deadline, options.signal);
  }

  dispatcher(settings: TlsSettings = NO_TLS_SETTINGS, { timeout_ms = CONNECT_MS } = {}): Dispatcher {
    return new Agent({
      connections: 1,
      pipelining: 1,
      headersTimeout: timeout_ms,
      bodyTimeout: timeout_ms,
      connect: ({ hostname, protocol, port }, callback) => {
        const secured = protocol === 'https:';
        const target = { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) || (secured ? 443 : 80) };
        const made = secured ? this.connectTls(target, settings, { timeout_ms }) : this.connect(target, { timeout_ms });
        made.then(
          (socket) => callback(null, socket),
          (error: Error) => callback(error, null),
        );
      },
    });
  }
}

/** Addresses by network, names by themselves or by their domain; upper and lower case are one. */
function matchesAny(host: string, entries: readonly string[]): boolean {
  const name = host.toLowerCase().replace(/\.$/, '');
  const address = ipaddr.isValid(name) ? ipaddr.process(name) : null;
  return entries.some((entry) => {
    const wanted = entry.toLowerCase();
    if (wanted === '*') return true;
    if (address === null) return wanted.startsWith('.') ? name.endsWith(wanted) || name === wanted.slice(1) : name === wanted;
    if (ipaddr.isValid(wanted)) return ipaddr.process(wanted).toString() === address.toString();
    if (!ipaddr.isValidCIDR(wanted)) return false;
    const [network, bits] = ipaddr.parseCIDR(wanted);
    return network.kind() === address.kind() && address.match(network, bits);
  });
}

const textOf = ({ host, port }: Target): string => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`);

/** Waits for one event of a socket; everything else that may come first rejects, and destroys the socket. */
function settled<Result>(
  socket: net.Socket,
  what: string,
  deadline: number,
  signal: AbortSignal | undefined,
  listen: (resolve: (result: Result) => void, reject: (reason: string) => void) => () => void,
): Promise<Result> {
  return new Promise<Result>((resolve, reject) => {
    const done = (): void => {
      clearTimeout(timer);
      socket.off('error', onError).off('close', onClose);
      signal?.removeEventListener('abort', onAbort);
      unlisten();
    };
    const fail = (reason: string, cause?: unknown): void => {
      done();
      // What still comes of it is nobody's any more.
      socket.on('error', () => {});
      socket.destroy();
      reject(new OutboundError(`${what}: ${reason}`, { cause }));
    };
    const onError = (error: Error): void => fail(reasonOf(error), error);
    const onClose = (): void => fail('the connection was closed');
    const onAbort = (): void => fail('given up');
    const timer = setTimeout(() => fail('no answer in time'), Math.max(0, deadline - Date.now()));
    socket.on('error', onError).on('close', onClose);
    signal?.addEventListener('abort', onAbort);
    const unlisten = listen(
      (result) => {
        done();
        resolve(result);
      },
      (reason) => fail(reason),
    );
    if (signal?.aborted) onAbort();
  });
}

async function dial(target: Target, deadline: number, signal?: AbortSignal): Promise<net.Socket> {
  const socket = net.connect({ host: target.host, port: target.port, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS });
  socket.setNoDelay(true);
  await settled<void>(socket, textOf(target), deadline, signal, (resolve) => {
    const connected = () => resolve();
    socket.once('connect', connected);
    return () => socket.off('connect', connected);
  });
  return socket;
}

async function secure(
  socket: net.Socket,
  target: Target,
  { verify, server_name, ca, certificate, key, passphrase }: TlsSettings,
  deadline: number,
  signal?: AbortSignal,
): Promise<tls.TLSSocket> {
  const name = server_name || target.host;
  let secured: tls.TLSSocket;
  try {
    secured = tls.connect({
      socket,
      host: name,
      // An address is no server name (RFC 6066 §3); certificates are checked against it all the same.
      servername: net.isIP(name) ? '' : name,
      rejectUnauthorized: verify,
      minVersion: 'TLSv1.2',
      ...(ca === '' ? {} : { ca }),
      ...(certificate === '' ? {} : { cert: certificate, key, passphrase }),
    });
  } catch (error) {
    socket.destroy();
    throw new OutboundError(`${textOf(target)}: our certificate or key cannot be used: ${(error as Error).message}`, {
      cause: error,
    });
  }
  await settled<void>(secured, textOf(target), deadline, signal, (resolve) => {
    const done = () => resolve();
    secured.once('secureConnect', done);
    return () => secured.off('secureConnect', done);
  });
  return secured;
}

/** Asks a proxy for a tunnel; what it sends after its answer belongs to the other side and is left to be read. */
function tunnel(
  socket: net.Socket,
  target: Target,
  authorization: string,
  proxy: string,
  deadline: number,
  signal?: AbortSignal,
): Promise<void> {
  const to = textOf(target);
  const lines = [
    `CONNECT ${to} HTTP/1.1`,
    `Host: ${to}`,
    ...(authorization === '' ? [] : [`Proxy-Authorization: ${authorization}`]),
  ];
  return settled<void>(socket, `${to} through the proxy ${proxy}`, deadline, signal, (resolve, reject) => {
    let answer = Buffer.alloc(0);
    const onReadable = (): void => {
      for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read() as Buffer | null) {
        answer = Buffer.concat([answer, chunk]);
        const read = readAnswer(answer);
        if (read === null) continue;
        // Before what follows is put back, or it would be taken for more of the answer.
        socket.off('readable', onReadable);
        if (typeof read === 'string') reject(read);
        else {
          if (read.rest.length > 0) socket.unshift(read.rest);
          resolve();
        }
        return;
      }
    };
    const onEnd = (): void => reject('the proxy closed the connection');
    socket.on('readable', onReadable).on('end', onEnd);
    socket.write(`${lines.join('\r\n')}\r\n\r\n`);
    return () => socket.off('readable', onReadable).off('end', onEnd);
  });
}

/** What a proxy answers to CONNECT: null while it is not complete, words where it is no tunnel, else what came behind the answer. */
function readAnswer(answer: Buffer): null | string | { rest: Buffer } {
  const not_http = 'the proxy answers with something that is not HTTP';
  const end = answer.indexOf('\r\n\r\n');
  if (end < 0) return answer.length > MAX_ANSWER_BYTES ? not_http : null;
  const found = /^HTTP\/1\.[01] (\d{3})(?: ([^\r\n]{0,100}))?/.exec(answer.toString('latin1'));
  if (found === null) return not_http;
  const [, status, words = ''] = found;
  if (status === '407') return 'the proxy wants a user name and password, or others than those given (407)';
  if (status[0] !== '2') return `the proxy refuses (${status} ${words.replace(/[^\x20-\x7e]/g, ' ')})`;
  return { rest: answer.subarray(end + 4) };
}

/** The words for what stops a connection. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  // Several addresses of one name were tried: the first says why.
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  return REASONS[code ?? ''] ?? (message || code || String(error));
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there (connection refused)',
  ECONNRESET: 'the other side broke the connection off',
  EPIPE: 'the other side has closed the connection',
  ETIMEDOUT: 'no answer in time',
  EHOSTUNREACH: 'there is no way to this host',
  ENETUNREACH: 'there is no way to this network',
  ENOTFOUND: 'there is no host of this name',
  EAI_AGAIN: 'the name cannot be resolved at the moment',
  EMSGSIZE: 'the message is too large for this transport',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed: give it as ca if it is the right one',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is of a CA that is not known here: give the certificate of the CA as ca',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is of a CA that is not known here: give the certificate of the CA as ca',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate is of a CA that is not known here: give the certificate of the CA as ca',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS at this port',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'it does not speak TLS at this port',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'it wants a client certificate',
  ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE: 'it broke the TLS handshake off (does it want a client certificate?)',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'it does not accept our client certificate: its CA is not known there',
};
