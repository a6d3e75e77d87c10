import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SECRET_SET } from '../../appliance/settings.ts';
import { ot_sensor } from '../../proto/api.js';
import { type TestApi, testApi } from '../testing.ts';

let api: TestApi;
beforeAll(async () => {
  api = await testApi();
});
afterAll(() => api.close());

const get = async (url: string) => {
  const answer = await api.ask({ url: `/api/v3${url}` });
  expect(answer.status, answer.text).toBe(200);
  return answer.json;
};

describe('lists', () => {
  it.each(['devices', 'connections', 'activities', 'alerts', 'events'])('%s: page by page comes to the whole', async (name) => {
    const whole = (await get(`/${name}?limit=1000`)).items;
    expect(whole.length).toBeGreaterThan(9);
    for (const order of ['id', '-id']) {
      const rows = [];
      for (let cursor: string | null = ''; cursor !== null; ) {
        const page: { items: { id: number }[]; next_cursor: string | null } = await get(
          `/${name}?limit=7&sort=${order}&cursor=${cursor}`,
        );
        expect(page.items.length).toBeLessThanOrEqual(7);
        rows.push(...page.items);
        cursor = page.next_cursor;
      }
      const by_id = [...whole].sort((a, b) => (order === 'id' ? a.id - b.id : b.id - a.id));
      expect(rows).toEqual(by_id);
    }
  });

  it('are sorted, filtered, and cut to the fields that are wanted', async () => {
    const types = (await get('/devices?sort=type&fields=type&limit=1000')).items.map((one: { type: string }) => one.type);
    expect(types).toEqual([...types].sort());
    expect(Object.keys((await get('/alerts?fields=title,id&limit=1')).items[0])).toEqual(['title', 'id']);
    expect((await get('/alerts?severity=critical,major')).items).toHaveLength(7);
    expect((await get('/alerts?minimum_severity=major')).items).toHaveLength(7);
    expect((await get('/alerts?minimum_severity=major&severity=minor')).items).toEqual([]);
    expect((await get('/alerts?ip=10.10.10.20&kind=device_stop')).items).toHaveLength(1);
    expect((await get('/devices?text=snap7')).items).toHaveLength(1);
    expect((await get('/connections?protocol=s7comm')).items).toHaveLength(3);
    expect((await get('/activities?operation=stop')).items.map((one: { app_proto: string }) => one.app_proto)).toEqual([
      's7comm',
      's7comm',
    ]);
    const [{ time_ms }] = (await get('/events?limit=1')).items;
    expect((await get(`/events?since=${time_ms}`)).items.length).toBeLessThan(28);
    expect((await get(`/events?since=${new Date(time_ms + 60_000).toISOString()}`)).items).toEqual([]);
  });

  it.each([
    ['/alerts?limit=0', /limit/],
    ['/alerts?limit=1001', /limit/],
    ['/alerts?limit=x', /limit/],
    ['/alerts?severity=terrible', /severity/],
    ['/alerts?colour=red', /colour/],
    ['/alerts?cursor=%00', /cursor/],
    ['/alerts?cursor=W10', /cursor/],
    ['/alerts?cursor=WyJhIiwxXQ', /another order/],
    ['/alerts?sort=description', /sort/],
    ['/alerts?fields=id,key', /there is no "key"/],
    ['/alerts?since=yesterday', /since/],
    ["/devices?text=%27%20OR%201=1;--&type=plc';DROP TABLE devices", null],
  ])('%s is refused, or taken for what it is', async (url, message) => {
    const { status, json } = await api.ask({ url: `/api/v3${encodeURI(decodeURI(url))}` });
    if (message === null) expect({ status, items: json.items }).toEqual({ status: 200, items: [] });
    else {
      expect(status).toBe(400);
      expect(json.error.message).toMatch(message);
      expect(json.error.what_to_do).not.toBe('');
    }
  });

  it('come as CSV that no spreadsheet takes for a formula', async () => {
    await api.ask({ method: 'PATCH', url: '/api/v3/devices/4', payload: { name: '=cmd|"/c calc"!A1' } });
    const { text, headers } = await api.ask({
      url: '/api/v3/devices?fields=id,name,addresses&limit=5',
      headers: { accept: 'text/csv' },
    });
    const lines = text.split('\r\n');
    expect(headers['content-type']).toMatch(/^text\/csv/);
    expect(lines[0]).toBe('id,name,addresses');
    expect(lines[1]).toBe('1,HMI-A,"[""10.10.1.20""]"');
    expect(lines[4]).toMatch(/^4,"'=cmd\|""\/c calc""!A1",/);
    expect(lines).toHaveLength(7);
    const next = await api.ask({
      url: `/api/v3/devices?fields=id&limit=5&cursor=${headers['x-next-cursor']}`,
      headers: { accept: 'text/csv' },
    });
    expect(next.text.split('\r\n')[1]).toBe('6');
    await api.ask({ method: 'PATCH', url: '/api/v3/devices/4', payload: { name: null } });
  });

  it.each([
    ['devices', ot_sensor.DevicePage],
    ['connections', ot_sensor.ConnectionPage],
    ['activities', ot_sensor.ActivityPage],
    ['alerts', ot_sensor.AlertPage],
    ['events', ot_sensor.EventPage],
  ])('%s come as protobuf, the same as in JSON', async (name, message) => {
    const { items, next_cursor } = await get(`/${name}?limit=9`);
    const { bytes, headers } = await api.ask({ url: `/api/v3/${name}?limit=9`, headers: { accept: 'application/x-protobuf' } });
    expect(headers['content-type']).toBe('application/x-protobuf');
    const page = message.toObject(message.decode(bytes) as never, { defaults: true, arrays: true });
    expect(page.next_cursor).toBe(next_cursor);
    expect(page.items).toHaveLength(9);
    const absent = Object.fromEntries(Object.keys(items[0]).map((field) => [field, null]));
    const same = (page.items as { details?: string }[]).map(({ details, ...row }) => ({
      ...absent,
      ...row,
      ...(details === undefined ? {} : { details: JSON.parse(details) }),
    }));
    expect(same).toEqual(items);
  });

  it('are not sent again to whoever has them already, and anew when something changed', async () => {
    const first = await api.ask({ url: '/api/v3/devices' });
    const etag = String(first.headers.etag);
    const again = () => api.ask({ url: '/api/v3/devices', headers: { 'if-none-match': etag } });
    expect(await again()).toMatchObject({ status: 304, text: '' });
    await api.ask({ method: 'PATCH', url: '/api/v3/devices/5', payload: { note: 'in the cabinet at the gate' } });
    expect(await again()).toMatchObject({ status: 200, text: expect.stringContaining('in the cabinet') });
  });
});

describe('a device', () => {
  it('tells its interfaces, addresses, attributes and parts', async () => {
    const whole = await get('/devices/2');
    expect(whole.device).toMatchObject({ name: 'SNAP7-SERVER', firmware: 'V3.2.6' });
    expect(whole.interfaces).toHaveLength(1);
    expect(whole.addresses[0]).toMatchObject({ ip: '10.10.2.10', current: true });
    expect(whole.attributes).toContainEqual(
      expect.objectContaining({ attribute: 'firmware', value: 'V3.2.6', app_proto: 's7comm' }),
    );
    expect((await api.ask({ url: '/api/v3/devices/999' })).status).toBe(404);
    expect((await api.ask({ url: '/api/v3/devices/0' })).status).toBe(400);
  });

  it('is what people say it is, until they take it back', async () => {
    const patch = (payload: object) => api.ask({ method: 'PATCH', url: '/api/v3/devices/3', payload, as: 'analyst' });
    expect((await patch({ name: 'Panel 3', type: 'historian', authorized: false, scanner: true })).json).toMatchObject({
      name: 'Panel 3',
      type: 'historian',
      type_reason: 'set by token test of analyst',
      authorized: false,
      scanner: true,
    });
    expect((await patch({ name: null, type: null, authorized: null, scanner: null })).json).toMatchObject({
      name: '',
      type: 'hmi',
      authorized: true,
      scanner: false,
    });
    expect((await patch({ vendor: 'x' })).status).toBe(400);
  });
});

describe('an alert', () => {
  it('is acknowledged, commented, closed and opened again, and the audit log knows by whom', async () => {
    const [{ id }] = (await get('/alerts?kind=device_stop')).items;
    const patch = (status: string) =>
      api.ask({ method: 'PATCH', url: `/api/v3/alerts/${id}`, payload: { status }, as: 'analyst' });
    expect((await patch('acknowledged')).json.alert.status).toBe('acknowledged');
    const comment = await api.ask({
      method: 'POST',
      url: `/api/v3/alerts/${id}/comments`,
      payload: { text: 'Wartung, ja' },
      as: 'analyst',
    });
    expect(comment).toMatchObject({
      status: 201,
      json: { alert: { comments: 1 }, comments: [{ author: 'token test of analyst', text: 'Wartung, ja' }] },
    });
    expect((await get('/audit?action=alert.comment')).items[0]).toMatchObject({ subject: `${id}` });
    expect((await patch('closed')).json.alert.status).toBe('closed');
    expect((await get('/alerts?status=open&kind=device_stop')).items).toEqual([]);
    expect((await patch('open')).json).toMatchObject({
      alert: { status: 'open' },
      remediation: [expect.any(String), expect.any(String)],
    });
    expect((await patch('deleted')).status).toBe(400);
    const { items } = await get('/audit?action=alert.status');
    expect(items[0]).toMatchObject({ actor: 'token test of analyst', subject: `${id}`, details: { status: 'open' } });
  });
});

describe('managed settings', () => {
  it('are read and written by their version, every fault named', async () => {
    const { version, value } = await get('/settings/access');
    const put = (payload: object, headers = {}) => api.ask({ method: 'PUT', url: '/api/v3/settings/access', payload, headers });
    expect(await put({ ...value, session_timeout_minutes: 60 }, { 'if-match': `"${version}"` })).toMatchObject({
      status: 200,
      json: { version: version + 1, value: { session_timeout_minutes: 60 } },
    });
    expect((await put(value, { 'if-match': `"${version}"` })).status).toBe(409);
    const wrong = await put({ password_length: 1, failures_allowed: 'many', colour: 'red' });
    expect(wrong.status).toBe(400);
    for (const name of ['password_length', 'failures_allowed', 'colour']) expect(wrong.text).toContain(name);
    expect((await get(`/settings/access?version=${version}`)).value.session_timeout_minutes).toBe(30);
    expect((await get('/settings/access/versions')).items[0]).toMatchObject({ changed_by: 'token test of admin' });
    expect(SECRET_SET).toBe('(set)');
  });
});

describe('users and tokens', () => {
  it('an own token can do less, and is seen and taken back by its owner alone', async () => {
    const made = await api.ask({
      method: 'POST',
      url: '/api/v3/tokens',
      payload: { name: 'reader', role: 'read_only' },
      as: 'analyst',
    });
    expect(made.status).toBe(201);
    const with_it = { as: null, headers: { authorization: made.json.token } };
    expect((await api.ask({ url: '/api/v3/devices', ...with_it })).status).toBe(200);
    expect((await api.ask({ url: '/api/v3/events', ...with_it })).status).toBe(403);
    const names = async (as: 'read_only' | 'analyst' | 'admin') =>
      (await api.ask({ url: '/api/v3/tokens', as })).json.items.map((one: { name: string }) => one.name);
    expect(await names('analyst')).toContain('reader');
    expect(await names('read_only')).not.toContain('reader');
    expect(await names('admin')).toContain('reader');
    const taken = (as: 'read_only' | 'analyst') => api.ask({ method: 'DELETE', url: `/api/v3/tokens/${made.json.id}`, as });
    expect((await taken('read_only')).status).toBe(404);
    expect((await taken('analyst')).status).toBe(204);
    expect((await api.ask({ url: '/api/v3/devices', ...with_it })).status).toBe(401);
    const more = await api.ask({ method: 'POST', url: '/api/v3/tokens', payload: { name: 'x', role: 'admin' }, as: 'analyst' });
    expect(more.status).toBe(403);
    expect(JSON.stringify((await api.ask({ url: '/api/v3/tokens' })).json)).not.toMatch(/ots_|hash/);
  });

  it('users are made, changed and deleted', async () => {
    const user = { name: 'shift.lead', role: 'analyst', password: 'Lantern-42-gauge' };
    expect((await api.ask({ method: 'POST', url: '/api/v3/users', payload: user })).json).toMatchObject({
      must_change_password: true,
    });
    expect((await api.ask({ method: 'POST', url: '/api/v3/users', payload: user })).status).toBe(409);
    expect(
      (await api.ask({ method: 'POST', url: '/api/v3/users', payload: { ...user, name: 'x', password: 'short' } })).json.error
        .code,
    ).toBe('password_policy');
    expect((await api.ask({ method: 'PATCH', url: '/api/v3/users/shift.lead', payload: { enabled: false } })).json.enabled).toBe(
      false,
    );
    expect(
      (await api.ask({ method: 'PUT', url: '/api/v3/users/shift.lead/password', payload: { password: 'Harbour-63-crane' } }))
        .status,
    ).toBe(204);
    expect((await api.ask({ method: 'DELETE', url: '/api/v3/users/shift.lead' })).status).toBe(204);
    expect((await api.ask({ method: 'DELETE', url: '/api/v3/users/admin' })).status).toBe(409);
    expect((await api.ask({ url: '/api/v3/users' })).text).not.toMatch(/argon2|hash/);
  });
});

describe('health', () => {
  it('is told as a report and as metrics', async () => {
    const report = await get('/health');
    expect(report).toMatchObject({
      status: 'healthy',
      version: '1.2.3',
      sensor: { running: false, packets: 1006 },
      stored: { devices: 11, alerts: 19 },
    });
    expect(report.volumes[0].free_bytes).toBeGreaterThan(0);
    const { text } = await api.ask({ url: '/metrics' });
    expect(text).toMatch(/^ot_sensor_stored_rows\{table="devices"\} 11$/m);
    expect(text).toMatch(/^# TYPE ot_sensor_up gauge$/m);
    api.context.notifications.raise('disk_low', '/x', 'test');
    expect((await get('/health')).status).toBe('degraded');
    expect((await get('/notifications?open=true')).items).toMatchObject([{ kind: 'disk_low', count: 1 }]);
    api.context.notifications.resolve('disk_low', '/x');
    expect((await get('/health')).status).toBe('healthy');
  });
});

it('says what to do where nothing was captured yet', async () => {
  const empty = await testApi({ database: false });
  const { status, json } = await empty.ask({ url: '/api/v3/alerts' });
  expect({ status, code: json.error.code }).toEqual({ status: 404, code: 'store_missing' });
  expect((await empty.ask({ url: '/api/v3/health' })).status).toBe(200);
  await empty.close();
});

it('describes every route in its OpenAPI document', async () => {
  const { json } = await api.ask({ url: '/api/docs/json', as: null });
  expect(json.openapi).toBe('3.1.0');
  const routes = api.routes.filter(({ url, method }) => !url.startsWith('/api/docs') && method !== 'HEAD');
  for (const { url, method } of routes) {
    const path = url.replace(/:(\w+)/g, '{$1}');
    const operation = json.paths[path]?.[String(method).toLowerCase()];
    expect(operation?.summary, `${method} ${url}`).toBeTruthy();
  }
  expect((await api.ask({ url: '/api/docs', as: null })).status).toBe(200);
});
