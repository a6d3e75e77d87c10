import { afterAll, beforeAll, expect, it } from 'vitest';
import { mayDo, PERMISSIONS, ROLES } from '../users/permissions.ts';
import { type TestApi, testApi } from './testing.ts';

let api: TestApi;
beforeAll(async () => {
  api = await testApi();
});
afterAll(() => api.close());

/** Something that is not there, in the shape that is asked for. */
const addressOf = (url: string) =>
  url.replace(':deviceId', '999999').replace(':id', '999999').replace(':name', 'nobody').replace(/\*$/, 'nothing');

const methodsOf = (method: string | string[]) => (Array.isArray(method) ? method : [method]);

it('no route answers without its permission, and each with it', async () => {
  const seen = new Set<string>();
  for (const { method, url, config } of api.routes)
    for (const one of methodsOf(method)) {
      if (config?.permission === undefined) continue;
      seen.add(config.permission);
      const options = { method: one as 'GET', url: addressOf(url) };
      const where = `${one} ${url}`;
      for (const headers of [{}, { authorization: 'ots_x' }, { authorization: 'Bearer ots_x' }, { authorization: '' }]) {
        const { status } = await api.ask({ ...options, as: null, headers });
        expect(status, `${where} as nobody`).toBe(401);
      }
      // A stream does not end by itself: that it is refused is what can be asked here.
      for (const role of ROLES) {
        const may = mayDo(role, config.permission);
        if (may && url.endsWith('/stream')) continue;
        // Without a body: what is refused is so before the body is looked at.
        const { status, json } = await api.ask({ ...options, as: role });
        if (may) expect([401, 403], `${where} as ${role}`).not.toContain(status);
        else {
          expect(status, `${where} as ${role}`).toBe(403);
          if (one !== 'HEAD') expect(json.error.code).toBe('not_allowed');
        }
      }
    }
  // A permission that no route asks for protects nothing.
  expect(Object.keys(PERMISSIONS).filter((permission) => !seen.has(permission))).toEqual([]);
});

it('what needs no permission is little, and has its reason', () => {
  const open = api.routes.filter(({ config }) => config?.open !== undefined).map(({ url }) => url);
  expect(new Set(open.filter((url) => !url.startsWith('/api/docs')))).toEqual(
    new Set([
      '/api/v3/session',
      ...['/api/external', '/external'].flatMap((prefix) =>
        ['validation', 'set_password', 'set_password_by_admin'].map((name) => `${prefix}/authentication/${name}`),
      ),
    ]),
  );
});

it('refused attempts are in the audit log', async () => {
  await api.ask({ url: '/api/v3/users', as: 'read_only' });
  const [entry] = api.context.audit.list({ limit: 1 });
  expect(entry).toMatchObject({ actor: 'token test of read.only', action: 'GET /api/v3/users', outcome: 'refused' });
});

it('one who has to set a new password can do nothing else', async () => {
  await api.ask({ method: 'POST', url: '/api/v3/users', payload: { name: 'new', role: 'admin', password: 'Lantern-42-gauge' } });
  const session = await api.ask({
    method: 'POST',
    url: '/api/v3/session',
    as: null,
    payload: { name: 'new', password: 'Lantern-42-gauge' },
  });
  expect(session.json).toMatchObject({ role: 'admin', must_change_password: true });
  const as_new = { as: null, headers: { authorization: `Bearer ${session.json.token}` } };
  expect((await api.ask({ url: '/api/v3/alerts', ...as_new })).status).toBe(403);
  const payload = { password: 'Lantern-42-gauge', new_password: 'Harbour-63-crane' };
  expect((await api.ask({ method: 'PUT', url: '/api/v3/account/password', payload, ...as_new })).status).toBe(204);
  // With the new password a new session begins.
  expect((await api.ask({ url: '/api/v3/alerts', ...as_new })).status).toBe(401);
  const again = await api.ask({
    method: 'POST',
    url: '/api/v3/session',
    as: null,
    payload: { name: 'new', password: 'Harbour-63-crane' },
  });
  expect((await api.ask({ url: '/api/v3/alerts', as: null, headers: { authorization: again.json.token } })).status).toBe(200);
});
