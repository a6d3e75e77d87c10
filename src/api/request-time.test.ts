import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildServer } from './server.ts';
import { API } from './settings.ts';
import { type TestApi, testApi } from './testing.ts';

const LIMIT_MS = 1000;

let api: TestApi;
let app: Awaited<ReturnType<typeof buildServer>>;
beforeEach(async () => {
  api = await testApi({ database: false });
  api.context.settings.write(API, { request_timeout_s: LIMIT_MS / 1000 }, 'test', 1);
});
afterEach(async () => {
  await app.close();
  await api.close();
});

/** A body that comes in pieces, each `pause_ms` after the one before; never the last one where it stalls. Gives the status. */
interface Slow {
  path: string;
  type: string;
  pieces: string[];
  pause_ms: number;
  stalls?: boolean;
}

async function over1(tls: boolean, url: URL, { path, type, pieces, pause_ms, stalls }: Slow): Promise<number | undefined> {
  const headers = { authorization: api.tokens.admin, 'content-type': type, 'transfer-encoding': 'chunked' };
  const options = { host: url.hostname, port: url.port, method: 'PUT', path, headers, rejectUnauthorized: false };
  return new Promise((resolve) => {
    const request = (tls ? https : http).request(options, (response) => resolve(response.resume().statusCode));
    request.on('error', () => resolve(undefined));
    send(request, pieces, pause_ms, stalls);
  });
}

async function over2(url: URL, { path, type, pieces, pause_ms, stalls }: Slow): Promise<number | undefined> {
  const session = http2.connect(url.href, { rejectUnauthorized: false });
  session.on('error', () => {});
  const status = await new Promise<number | undefined>((resolve) => {
    const headers = { ':method': 'PUT', ':path': path, authorization: api.tokens.admin, 'content-type': type };
    const request = session.request(headers);
    request.on('response', (answered) => resolve(answered[':status']));
    request.on('error', () => resolve(undefined));
    send(request, pieces, pause_ms, stalls);
  });
  session.destroy();
  return status;
}

function send(to: NodeJS.WritableStream, pieces: readonly string[], pause_ms: number, stalls = false): void {
  const [piece, ...rest] = pieces;
  to.write(piece);
  if (rest.length > 0) setTimeout(() => send(to, rest, pause_ms, stalls), pause_ms);
  else if (!stalls) to.end();
}

const upload = { path: '/api/v3/captures/slow.pcap', type: 'application/octet-stream' };
const settings = { path: '/api/v3/settings/retention', type: 'application/json' };
const four = ['a', 'b', 'c', 'd'];

describe.each([
  ['HTTP/1.1', false, over1.bind(null, false)],
  ['HTTP/1.1 over TLS', true, over1.bind(null, true)],
  ['HTTP/2', true, over2],
] as const)('over %s', (_, tls, ask) => {
  it('an upload takes as long as it comes; where nothing comes any more it is given up, as is another request', async () => {
    app = await buildServer(api.context, tls ? await api.context.certificate.load(['localhost']) : null);
    const url = new URL(await app.listen({ host: '127.0.0.1', port: 0 }));
    const pause_ms = LIMIT_MS * 0.6;
    expect(await ask(url, { ...upload, pieces: [...four, ...four], pause_ms })).toBe(201);
    expect(await ask(url, { ...settings, pieces: ['{', ' ', ' ', ' ', '}'], pause_ms })).toBe(408);
    expect(await ask(url, { ...settings, pieces: ['{', '}'], pause_ms: 1 })).toBe(200);
    expect([408, undefined]).toContain(
      await ask(url, { ...upload, path: `${upload.path}2`, pieces: four, pause_ms: 1, stalls: true }),
    );
    await expect.poll(() => api.context.captures.list().map(({ name }) => name)).toEqual(['slow.pcap']);
  });
});
