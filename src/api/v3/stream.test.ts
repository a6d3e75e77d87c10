import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type TestApi, testApi } from '../testing.ts';

let api: TestApi;
let port: number;
beforeAll(async () => {
  api = await testApi();
  await api.app.listen({ host: '127.0.0.1', port: 0 });
  port = (api.app.server.address() as AddressInfo).port;
});
afterAll(() => api.close());

interface Said {
  id: string;
  event: string;
  data: { id: number };
}

/** Listens until `enough`; closes the connection then. */
function listen(path: string, headers: Record<string, string>, enough: (said: Said[]) => boolean): Promise<Said[]> {
  return new Promise((resolve, reject) => {
    const said: Said[] = [];
    const request = http.get({ port, path, headers: { authorization: api.tokens.read_only, ...headers } }, (response) => {
      if (response.statusCode !== 200) return reject(new Error(`${response.statusCode}`));
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (more: string) => {
        text += more;
        for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
          const fields = Object.fromEntries(
            text
              .slice(0, end)
              .split('\n')
              .map((line) => line.split(/: (.*)/s, 2)),
          );
          text = text.slice(end + 2);
          if (fields.event !== undefined) said.push({ id: fields.id, event: fields.event, data: JSON.parse(fields.data) });
        }
        if (enough(said)) request.destroy();
      });
      response.on('close', () => resolve(said));
    });
    request.on('error', () => resolve(said));
  });
}

it('tells everything from the beginning, and goes on where it broke off', async () => {
  const first = await listen('/api/v3/stream?from=0', {}, (said) => said.length >= 10);
  const at = first[9].id;
  const rest = await listen('/api/v3/stream', { 'last-event-id': at }, (said) => said.length >= 19 + 28 - 10);
  const all = [...first.slice(0, 10), ...rest];
  for (const [event, count] of [
    ['alert', 19],
    ['event', 28],
  ] as const) {
    const ids = all.filter((one) => one.event === event).map((one) => one.data.id);
    expect(ids).toEqual(Array.from({ length: count }, (_, i) => i + 1));
  }
});

it('tells what comes, and nothing of before', async () => {
  const listening = listen('/api/v3/stream', {}, (said) => said.length > 0);
  setTimeout(() => api.context.notifications.raise('no_traffic', 'eth1', 'Nothing was received.'), 300);
  expect(await listening).toMatchObject([{ event: 'notification', data: { kind: 'no_traffic' } }]);
});

it('ends when the token is taken back', async () => {
  const { json } = await api.ask({ method: 'POST', url: '/api/v3/tokens', payload: { name: 'listener' } });
  const listening = listen('/api/v3/stream', { authorization: json.token }, () => false);
  setTimeout(() => void api.ask({ method: 'DELETE', url: `/api/v3/tokens/${json.id}` }), 300);
  expect(await listening).toEqual([]);
});
