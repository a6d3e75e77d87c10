import fs from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { API } from './settings.ts';
import { PASSWORD, type TestApi, testApi } from './testing.ts';

// OWASP API Security Top 10 (2023), each item.

let api: TestApi;
beforeAll(async () => {
  api = await testApi();
});
afterAll(() => api.close());

const signIn = (name: string, password: string, remoteAddress: string) =>
  api.ask({ method: 'POST', url: '/api/v3/session', as: null, payload: { name, password }, remoteAddress });

describe('API1, object level authorisation', () => {
  it("somebody else's token is as if it were not there", async () => {
    const { json } = await api.ask({ method: 'POST', url: '/api/v3/tokens', payload: { name: 'admin-token' } });
    const answer = await api.ask({ method: 'DELETE', url: `/api/v3/tokens/${json.id}`, as: 'analyst' });
    const missing = await api.ask({ method: 'DELETE', url: '/api/v3/tokens/999999', as: 'analyst' });
    expect([answer.status, missing.status]).toEqual([404, 404]);
  });
});

describe('API2, authentication', () => {
  it('guessing is slowed down, and what is told is the same whatever was wrong', async () => {
    const answers = [];
    for (let i = 0; i < 7; i++) answers.push(await signIn('analyst', `wrong-${i}`, '198.51.100.1'));
    expect(answers.map((one) => one.status)).toEqual([401, 401, 401, 401, 401, 429, 429]);
    const unknown = await signIn('nobody', PASSWORD, '198.51.100.2');
    expect(unknown.json).toEqual(answers[0].json);
    // From elsewhere, too: the name is what is guessed at.
    expect((await signIn('analyst', PASSWORD, '198.51.100.3')).status).toBe(429);
  });

  it('tokens are taken from the header alone, never from an address that is logged', async () => {
    for (const url of [`/api/v3/alerts?token=${api.tokens.admin}`, `/api/v3/alerts?authorization=${api.tokens.admin}`])
      expect((await api.ask({ url, as: null })).status).toBe(401);
    expect((await api.ask({ url: '/api/v3/alerts', as: null, headers: { cookie: `token=${api.tokens.admin}` } })).status).toBe(
      401,
    );
  });
});

describe('API3, object property level authorisation', () => {
  it('nothing is set that is not meant to be, and nothing is told that is kept secret', async () => {
    const body = { name: 'eve', role: 'read_only', password: PASSWORD, id: 1, must_change_password: false, password_hash: 'x' };
    expect((await api.ask({ method: 'POST', url: '/api/v3/users', payload: body })).status).toBe(400);
    expect((await api.ask({ method: 'PATCH', url: '/api/v3/users/analyst', payload: { password_hash: 'x' } })).status).toBe(400);
    expect(
      (await api.ask({ method: 'PATCH', url: '/api/v3/alerts/1', payload: { status: 'closed', severity: 'warning' } })).status,
    ).toBe(400);
    expect((await api.ask({ url: '/api/v3/alerts?fields=key' })).status).toBe(400);
  });

  it('no secret of any section of settings is in an answer', async () => {
    const secret = 'hunter2-hunter2-hunter2';
    const { context } = api;
    for (const section of context.sections) {
      const text = JSON.stringify(section.schema);
      if (!text.includes('"writeOnly":true')) continue;
      const shown = await api.ask({ url: `/api/v3/settings/${section.name}` });
      expect(shown.status).toBe(200);
      expect(shown.text).not.toContain(secret);
    }
    const value = { passphrase: secret };
    expect((await api.ask({ method: 'PUT', url: '/api/v3/settings/backup', payload: value })).text).not.toContain(secret);
    for (const url of ['/api/v3/settings/backup', '/api/v3/settings/backup/versions', '/api/v3/audit', '/api/v3/settings'])
      expect((await api.ask({ url })).text).not.toContain(secret);
    // A fault in it does not tell it either.
    const faulty = await api.ask({ method: 'PUT', url: '/api/v3/settings/backup', payload: { passphrase: 5, time: secret } });
    expect(faulty.status).toBe(400);
    context.settings.write(context.sections.find((one) => one.name === 'backup')!, {}, 'test', 0);
  });
});

describe('API4, resource consumption', () => {
  it('pages, bodies, names and rates have limits', async () => {
    expect((await api.ask({ url: '/api/v3/alerts?limit=100000' })).status).toBe(400);
    const large = { text: 'x'.repeat(2 << 20) };
    expect((await api.ask({ method: 'POST', url: '/api/v3/alerts/1/comments', payload: large })).status).toBe(413);
    expect([404, 414]).toContain((await api.ask({ url: `/api/v3/users/${'x'.repeat(5000)}`, method: 'DELETE' })).status);
    expect((await api.ask({ url: `/api/v3/devices?text=${'x'.repeat(5000)}` })).status).toBe(400);
  });

  it('too many requests of one address are answered with 429, and others are not held up', async () => {
    const few = await testApi({
      database: false,
      prepare: ({ settings }) => void settings.write(API, { requests_per_minute: 60 }, 'test', 0),
    });
    const statuses = [];
    for (let i = 0; i < 70; i++) statuses.push((await few.ask({ url: '/api/v3/account', remoteAddress: '198.51.100.9' })).status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(60);
    const refused = await few.ask({ url: '/api/v3/account', remoteAddress: '198.51.100.9' });
    expect(refused).toMatchObject({ status: 429, json: { error: { code: 'too_many_requests' } } });
    expect((await few.ask({ url: '/api/v3/account', remoteAddress: '198.51.100.10' })).status).toBe(200);
    await few.close();
  });
});

describe('API6 and API7, flows that can be misused, and requests forged on our behalf', () => {
  it('only administrators say where anything is sent to, and each test of a destination is in the audit log', async () => {
    for (const as of ['read_only', 'analyst'] as const) {
      expect((await api.ask({ method: 'PUT', url: '/api/v3/settings/forwarding', payload: {}, as })).status).toBe(403);
      expect((await api.ask({ method: 'POST', url: '/api/v3/forwarding/x/test', as })).status).toBe(403);
    }
    const webhook = { name: 'local', type: 'webhook', url: 'http://127.0.0.1:9/hook' };
    expect(
      (await api.ask({ method: 'PUT', url: '/api/v3/settings/forwarding', payload: { destinations: [webhook] } })).status,
    ).toBe(200);
    expect((await api.ask({ method: 'POST', url: '/api/v3/forwarding/local/test' })).json).toMatchObject({ ok: false });
    expect(api.context.audit.list({ action: 'forwarding.test' })[0]).toMatchObject({ subject: 'local', details: { ok: false } });
    await api.ask({ method: 'PUT', url: '/api/v3/settings/forwarding', payload: {} });
  });
});

describe('API8, configuration', () => {
  it('answers let no browser guess, and no other site ask', async () => {
    const { headers } = await api.ask({ url: '/api/v3/health', headers: { origin: 'https://elsewhere.example' } });
    expect(headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer' });
    expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
    expect(headers).not.toHaveProperty('x-powered-by');
    expect((await api.ask({ method: 'OPTIONS', url: '/api/v3/health' })).status).toBe(404);
  });

  it('errors tell nothing of the inside', async () => {
    const { context } = api;
    const health = context.health.report;
    context.health.report = () => {
      throw new Error(`secret inside at ${context.directory}`);
    };
    try {
      const { status, text } = await api.ask({ url: '/api/v3/health' });
      expect(status).toBe(500);
      expect(text).not.toMatch(/secret inside|\.ts|node_modules/);
      expect(text).toMatch(/internal error in request/);
    } finally {
      context.health.report = health;
    }
  });
});

describe('whatever is sent', () => {
  const files = () =>
    (fs.readdirSync(api.directory, { recursive: true }) as string[]).filter((name) => !/-(wal|shm)$/.test(name)).sort();
  /** Names that were trouble elsewhere. */
  const nasty = [
    '../../etc/passwd',
    '..%2f..%2fetc%2fpasswd',
    '%2e%2e%2f',
    '....//',
    '\u0000',
    '%00',
    "' OR 1=1 --",
    ['$', '{7*7}'].join(''),
    '__proto__',
    'constructor',
    '-rf',
    'CON',
    '\ud800',
    'a'.repeat(300),
    '..\\..\\x',
    '/',
    '.',
    '..',
  ];
  const word = fc.oneof(fc.constantFrom(...nasty), fc.string({ maxLength: 40 }), fc.integer().map(String));
  const json = fc.oneof(
    fc.jsonValue(),
    fc.dictionary(
      fc.constantFrom('name', 'role', 'password', 'status', 'text', 'policy', 'capture', 'hours', '__proto__', 'constructor'),
      fc.oneof(word, fc.integer(), fc.constant(null), fc.array(word)),
    ),
  );

  it('no route fails in us, and no file is made or lost outside of its folder', async () => {
    // What works on whole databases and programs has tests of its own, and takes its time.
    const routes = api.routes.filter(
      ({ url }) => !/docs|stream|backups|\/play$|certificate|zones\/test|^\/metrics|PUT captures/.test(url),
    );
    const before = files();
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.array(word, { minLength: 2, maxLength: 2 }),
        fc.dictionary(fc.constantFrom('limit', 'cursor', 'sort', 'fields', 'since', 'text', 'ip', 'mac', 'x'), word),
        json,
        async (at, words, query, body) => {
          const { method, url } = routes[at % routes.length];
          const [one] = Array.isArray(method) ? method : [method];
          let i = 0;
          const where = url.replace(/:\w+/g, () => encodeURIComponentSafely(words[i++]));
          const search = new URLSearchParams(query).toString();
          const payload = one === 'GET' || one === 'HEAD' ? undefined : JSON.stringify(body);
          const headers = payload === undefined ? {} : { 'content-type': 'application/json' };
          const { status } = await api.ask({ method: one as 'GET', url: `${where}?${search}`, payload, headers });
          expect(status, `${one} ${where}?${search} ${payload}`).toBeLessThan(500);
        },
      ),
      { numRuns: 600 },
    );
    const after = files();
    expect(before.filter((name) => !after.includes(name))).toEqual([]);
    const made = after.filter((name) => !before.includes(name));
    expect(made.filter((name) => !/^(captures(\/.*)?|zones\.yaml|forward|backups|restore\.lock)$/.test(name))).toEqual([]);
    expect(fs.existsSync(path.join(api.directory, '..', 'passwd'))).toBe(false);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });
});

/** As a client would, and where a text is none (half of a surrogate pair) as it is. */
function encodeURIComponentSafely(text: string): string {
  try {
    return encodeURIComponent(text);
  } catch {
    return '%ED%A0%80';
  }
}
