import http from 'node:http';
import net from 'node:net';
import tls from 'node:tls';
import { request } from 'undici';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Certificates, certificates } from '../forward/testing.ts';
import { NO_TLS_SETTINGS, OUTBOUND, type OutboundSettings, SettingsOutbound } from './outbound.ts';
import { checked, defaultsOf } from './settings.ts';

let certs: Certificates;
let settings: OutboundSettings;
let outbound: SettingsOutbound;
const servers: net.Server[] = [];
const sockets = new Set<net.Socket>();
beforeAll(async () => {
  certs = await certificates();
});
beforeEach(() => {
  settings = { ...defaultsOf(OUTBOUND), no_proxy: [] };
  outbound = new SettingsOutbound(() => settings);
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
});

async function listen(server: net.Server): Promise<number> {
  servers.push(server);
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as net.AddressInfo).port;
}

/** Greets before it is spoken to, as mail servers do, then says what it hears. */
const echo = (): net.Server =>
  net.createServer((socket) => {
    socket.write('hello\n');
    socket.pipe(socket);
  });

interface Proxy {
  port: number;
  asked: { target: string; authorization: string | undefined }[];
}

/** A proxy that tunnels to this host, whatever name it is asked for. With `password` it wants that of "sensor". */
async function proxy({ password = '', secured = false, answer = '' } = {}): Promise<Proxy> {
  const asked: Proxy['asked'] = [];
  const options = { cert: certs.server.certificate, key: certs.server.key };
  const server = secured ? (await import('node:https')).createServer(options) : http.createServer();
  server.on('connect', (message: http.IncomingMessage, near: net.Socket) => {
    const authorization = message.headers['proxy-authorization'];
    asked.push({ target: message.url!, authorization });
    near.on('error', () => {});
    if (answer !== '') return near.end(answer);
    const expected = `Basic ${Buffer.from(`sensor:${password}`).toString('base64')}`;
    if (password !== '' && authorization !== expected) return near.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
    const far = net.connect(Number(/:(\d+)$/.exec(message.url!)![1]), '127.0.0.1', () => {
      near.write('HTTP/1.1 200 Connection established\r\n\r\n');
      near.pipe(far);
      far.pipe(near);
    });
    far.on('error', () => near.destroy());
    near.once('close', () => far.destroy());
    return undefined;
  });
  return { port: await listen(server), asked };
}

/** What the other side says until it has said so much. */
const heard = (socket: net.Socket, length: number): Promise<string> =>
  new Promise((resolve) => {
    let text = '';
    socket.on('data', (bytes) => {
      text += bytes.toString();
      if (text.length >= length) resolve(text);
    });
  });

const use = (port: number, more: Partial<OutboundSettings['proxy']> = {}): void => {
  settings.proxy = { ...settings.proxy, host: '127.0.0.1', port, ...more };
};

describe('a connection', () => {
  it.each(['direct', 'through a proxy'])('%s: what is said first, and what is answered', async (how) => {
    const port = await listen(echo());
    const through = await proxy();
    if (how !== 'direct') use(through.port);
    const socket = await outbound.connect({ host: '127.0.0.1', port });
    socket.write('abc');
    expect(await heard(socket, 9)).toBe('hello\nabc');
    expect(through.asked.map(({ target }) => target)).toEqual(how === 'direct' ? [] : [`127.0.0.1:${port}`]);
    socket.destroy();
  });

  it('through a proxy over TLS with a CA of its own, with a password', async () => {
    const port = await listen(echo());
    const through = await proxy({ secured: true, password: 'proxy secret' });
    use(through.port, { tls: true, ca: certs.ca, username: 'sensor', password: 'proxy secret' });
    const socket = await outbound.connect({ host: '127.0.0.1', port });
    expect(await heard(socket, 6)).toBe('hello\n');
    socket.destroy();
    use(through.port, { ca: '' });
    await expect(outbound.connect({ host: '127.0.0.1', port })).rejects.toThrow(
      /proxy cannot be used: .*CA that is not known here/,
    );
  });

  it('TLS through a proxy: the name is checked, and the proxy asked for the name', async () => {
    const server = tls.createServer({ cert: certs.server.certificate, key: certs.server.key }, (socket) => socket.end('secure'));
    const port = await listen(server);
    const through = await proxy();
    use(through.port);
    const own = { ...NO_TLS_SETTINGS, ca: certs.ca };
    const socket = await outbound.connectTls({ host: 'localhost', port }, own);
    expect(await heard(socket, 6)).toBe('secure');
    expect(through.asked[0].target).toBe(`localhost:${port}`);
    await expect(outbound.connectTls({ host: 'siem.example', port }, own)).rejects.toThrow(/siem\.example/);
    await expect(outbound.connectTls({ host: 'localhost', port }, NO_TLS_SETTINGS)).rejects.toThrow(
      /give the certificate of the CA/,
    );
    const unchecked = await outbound.connectTls({ host: 'siem.example', port }, { ...NO_TLS_SETTINGS, verify: false });
    expect(await heard(unchecked, 6)).toBe('secure');
  });

  it.each([
    ['HTTP/1.1 403 Forbidden\r\n\r\n', /the proxy refuses \(403 Forbidden\)/],
    ['SSH-2.0-OpenSSH_9.2\r\n\r\n', /not HTTP/],
    [`HTTP/1.1 200 OK\r\n${'x'.repeat(70_000)}`, /not HTTP/],
    ['HTTP/1.1 200 O', /closed the connection/],
  ])('is refused by a proxy that says %#', async (answer, expected) => {
    use((await proxy({ answer })).port);
    await expect(outbound.connect({ host: 'siem.example', port: 514 })).rejects.toThrow(expected);
  });

  it('with the wrong password says so, and does not say the password', async () => {
    use((await proxy({ password: 'right one' })).port, { username: 'sensor', password: 'wrong one' });
    const failure = await outbound.connect({ host: 'siem.example', port: 514 }).catch((error: Error) => error);
    expect(String(failure)).toMatch(/siem\.example:514 through the proxy 127\.0\.0\.1:\d+: .*407/);
    expect(JSON.stringify(failure) + String(failure)).not.toMatch(/wrong one/);
  });

  it('to where nobody listens, nobody answers, or that is given up, fails', async () => {
    const silent = await listen(net.createServer());
    use(silent);
    await expect(outbound.connect({ host: 'a', port: 1 }, { timeout_ms: 50 })).rejects.toThrow(/no answer in time/);
    const signal = AbortSignal.abort();
    await expect(outbound.connect({ host: 'a', port: 1 }, { signal })).rejects.toThrow(/given up/);
    settings.proxy.host = '';
    const gone = net.createServer();
    const port = await listen(gone);
    await new Promise((resolve) => gone.close(resolve));
    await expect(outbound.connect({ host: '127.0.0.1', port })).rejects.toThrow(/nothing listens there/);
  });
});

describe('what is reached directly', () => {
  it.each([
    ['10.1.2.3', ['10.0.0.0/8'], true],
    ['11.1.2.3', ['10.0.0.0/8'], false],
    ['10.1.2.3', ['10.1.2.3'], true],
    ['::ffff:10.1.2.3', ['10.0.0.0/8'], true],
    ['fd00::1', ['fd00::/8'], true],
    ['fd00::1', ['10.0.0.0/8'], false],
    ['FD00:0:0::1', ['fd00::1'], true],
    ['siem.plant.example', ['.plant.example'], true],
    ['plant.example', ['.plant.example'], true],
    ['notplant.example', ['.plant.example'], false],
    ['SIEM.plant.example.', ['siem.plant.example'], true],
    ['siem.plant.example', ['plant.example'], false],
    ['anything', ['*'], true],
    ['anything', [], false],
  ])('%s with %j: %s', (host, no_proxy, direct) => {
    settings.no_proxy = no_proxy;
    use(3128);
    expect(outbound.proxied({ host, port: 514 })).toBe(!direct);
  });

  it('is everything where no proxy is named', () => {
    expect(outbound.proxied({ host: '8.8.8.8', port: 53 })).toBe(false);
  });
});

describe('HTTP', () => {
  it.each([false, true])('goes through the proxy, over TLS: %s', async (secured) => {
    const handler: http.RequestListener = (message, response) => response.end(`${message.headers.host}`);
    const options = { cert: certs.server.certificate, key: certs.server.key };
    const server = secured ? (await import('node:https')).createServer(options, handler) : http.createServer(handler);
    const port = await listen(server);
    const through = await proxy();
    use(through.port);
    const dispatcher = outbound.dispatcher({ ...NO_TLS_SETTINGS, ca: certs.ca });
    const url = `${secured ? 'https' : 'http'}://localhost:${port}/x`;
    const { statusCode, body } = await request(url, { dispatcher });
    expect([statusCode, await body.text()]).toEqual([200, `localhost:${port}`]);
    expect(through.asked.map(({ target }) => target)).toEqual([`localhost:${port}`]);
    await dispatcher.destroy();
  });
});

describe('the settings', () => {
  it('have faults that are named', () => {
    const given = { proxy: { host: 'p', ca: 'no PEM', username: 'a:b' }, no_proxy: ['10.0.0.0/33'] };
    expect(() => checked(OUTBOUND, given)).toThrow(/\/proxy\/ca: .*\/proxy\/username: .*\/no_proxy\/0: /);
  });
});
