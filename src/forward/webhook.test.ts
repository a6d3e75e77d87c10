import { createHmac } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FORWARDING } from './settings.ts';
import { Appliance, certificates, until } from './testing.ts';

interface Post {
  path: string;
  headers: http.IncomingHttpHeaders;
  body: string;
}

let appliance: Appliance;
let posts: Post[];
let server: http.Server | null = null;
beforeEach(() => {
  appliance = new Appliance();
  posts = [];
});
afterEach(async () => {
  await appliance.close();
  server?.closeAllConnections();
  await new Promise((resolve) => (server === null ? resolve(null) : server.close(resolve)));
  server = null;
});

/** A receiver; `answer` gives the status to each post, 0: never answers. */
async function receiver(answer: (post: Post, number: number) => number = () => 204, tls?: https.ServerOptions): Promise<number> {
  const listener: http.RequestListener = (message, response) => {
    const chunks: Buffer[] = [];
    message.on('data', (chunk: Buffer) => chunks.push(chunk));
    message.on('end', () => {
      const post = { path: message.url!, headers: message.headers, body: Buffer.concat(chunks).toString() };
      const status = answer(post, posts.length + 1);
      posts.push(post);
      if (status === 0) return;
      response.writeHead(status, status >= 300 && status < 400 ? { location: '/elsewhere' } : {});
      response.end(status >= 400 ? 'no\nway' : '');
    });
  };
  server = tls === undefined ? http.createServer(listener) : https.createServer(tls, listener);
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

const hook = (port: number, more: object = {}) => ({
  name: 'hook',
  type: 'webhook',
  url: `http://127.0.0.1:${port}/in?x=1`,
  ...more,
});
const numbers = () => posts.map(({ body }) => Number(/finding (\d+)/.exec(body)?.[1]));

describe('a webhook', () => {
  it('gets an alert a POST, in order, with header fields and a signature that its receiver can check', async () => {
    const port = await receiver();
    const headers = [{ name: 'Authorization', value: 'Bearer of tidings' }];
    appliance.set([hook(port, { headers, signing_key: 'key of the signature' })]);
    const forwarder = await appliance.forward();
    appliance.raise(250);
    await until(() => forwarder.status()[0].sent === 250, 'all are taken');
    expect(numbers()).toEqual(Array.from({ length: 250 }, (_, i) => i + 1));
    const [{ path, headers: got, body }] = posts;
    expect(path).toBe('/in?x=1');
    expect(JSON.parse(body)).toMatchObject({ what: 'alert', id: 1, severity: 'major', site: 'north', source_ip: '10.0.0.2' });
    expect(got).toMatchObject({
      'content-type': 'application/json',
      'user-agent': 'ot-sensor/1.2.3',
      authorization: 'Bearer of tidings',
      'idempotency-key': JSON.parse(body).uuid,
    });
    const signature = createHmac('sha256', 'key of the signature').update(`${got['ot-sensor-timestamp']}.${body}`).digest('hex');
    expect(got['ot-sensor-signature']).toBe(`sha256=${signature}`);
    expect(Math.abs(Number(got['ot-sensor-timestamp']) - Date.now() / 1000)).toBeLessThan(300);
    expect(JSON.stringify(appliance.settings.show(FORWARDING))).not.toMatch(/of tidings|key of the signature/);
  });

  it('that takes some and then none gets those again that it did not take, under the same key', async () => {
    // The third is refused three times, as something is broken behind the receiver.
    const port = await receiver((_, number) => (number >= 3 && number <= 5 ? 503 : 200));
    appliance.set([hook(port)]);
    const forwarder = await appliance.forward();
    appliance.raise(4);
    await until(() => forwarder.status()[0].sent === 4, 'all are taken');
    expect(numbers()).toEqual([1, 2, 3, 3, 3, 3, 4]);
    expect(new Set(posts.slice(2, 6).map(({ headers }) => headers['idempotency-key'])).size).toBe(1);
    expect(forwarder.status()[0].last_error).toMatch(/answers HTTP 503: no way/);
  });

  it('that can read an array gets what waits in few posts, the same together again after a failure', async () => {
    const port = await receiver((_, number) => (number === 2 ? 503 : 200));
    appliance.set([hook(port, { items_per_post: 40, signing_key: 'key of the signature' })]);
    const forwarder = await appliance.forward();
    appliance.raise(50);
    await until(() => posts.length >= 2, 'the second is refused');
    // More waits by now, and still the same is posted.
    appliance.raise(100);
    await until(() => forwarder.status()[0].cursor.alerts === 150, 'all are taken');
    const bodies = posts.map(({ body }) =>
      (JSON.parse(body) as { message: string; uuid: string; what: string }[]).filter(({ what }) => what === 'alert'),
    );
    const of = (body: (typeof bodies)[number]) => body.map(({ message }) => Number(/finding (\d+)/.exec(message)?.[1]));
    const taken = bodies.filter((_, i) => i !== 1).flatMap(of);
    expect(taken).toEqual(Array.from({ length: 150 }, (_, i) => i + 1));
    expect(of(bodies[2])).toEqual(of(bodies[1]));
    expect(posts[2].headers['idempotency-key']).toBe(posts[1].headers['idempotency-key']);
    expect(posts[0].headers['idempotency-key']).toBe(`${bodies[0][0].uuid}.${bodies[0].length}`);
    const { headers, body } = posts[0];
    const signature = createHmac('sha256', 'key of the signature')
      .update(`${headers['ot-sensor-timestamp']}.${body}`)
      .digest('hex');
    expect(headers['ot-sensor-signature']).toBe(`sha256=${signature}`);
    expect(posts.length).toBeLessThan(15);
  });

  it('of the extended format has what the reference has besides, under its names', async () => {
    const port = await receiver();
    appliance.set([hook(port, { format: 'extended' })]);
    const forwarder = await appliance.forward();
    appliance.raise(1);
    await until(() => forwarder.status()[0].sent === 1, 'it is taken');
    expect(JSON.parse(posts[0].body)).toMatchObject({
      severity: 'major',
      sensorID: 'sensor-1',
      sensorName: 'sensor-1',
      siteID: 'north',
      siteName: 'north',
      zoneID: 'office',
      zoneName: 'office',
      sourceDeviceAddress: '10.0.0.2',
      destinationDeviceAddress: '10.0.0.5',
      remediationSteps: [expect.any(String), expect.any(String)],
      handled: false,
      additionalInformation: { why: 'no conduit' },
    });
  });

  it.each([
    ['redirects', 302, /answers HTTP 302/],
    ['refuses', 401, /answers HTTP 401/],
    ['does not answer', 0, /no answer in time/],
  ])('that %s has taken nothing', async (_, status, expected) => {
    const port = await receiver(() => status);
    appliance.set([hook(port, { timeout_ms: 100 })]);
    const forwarder = await appliance.forward();
    expect(await forwarder.test('hook')).toMatchObject({ ok: false, said: expect.stringMatching(expected) });
    expect(posts.map(({ path }) => path)).toEqual(['/in?x=1']);
    expect((await forwarder.test('hook')).said).not.toMatch(/x=1/);
  });

  it('over TLS is trusted by its CA and name alone', async () => {
    const { ca, server: own } = await certificates();
    const port = await receiver(() => 200, { cert: own.certificate, key: own.key });
    const urls = { url: `https://localhost:${port}/in` };
    appliance.set([hook(port, { ...urls, name: 'unknown' }), hook(port, { ...urls, name: 'known', tls: { ca } })]);
    const forwarder = await appliance.forward();
    expect(await forwarder.test('unknown')).toMatchObject({
      ok: false,
      said: expect.stringMatching(/CA that is not known here/),
    });
    expect(await forwarder.test('known')).toEqual({ ok: true, said: 'HTTP 200' });
    expect(JSON.parse(posts[0].body)).toMatchObject({ what: 'test', title: 'Test message' });
  });
});
