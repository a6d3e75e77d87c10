import { type TSchema, Type } from 'typebox';
import { Value } from 'typebox/value';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PASSWORD, type TestApi, testApi } from '../testing.ts';

/**
 * As a client written from the reference's tables expects it, field for field: R is always there and never null, N may be null and is
 * there. Written anew here, not taken from the routes' own schemas.
 */
const R = { n: Type.Integer(), s: Type.String(), b: Type.Boolean(), strings: Type.Array(Type.String()) };
const N = <Schema extends TSchema>(schema: Schema) => Type.Union([schema, Type.Null()]);
const exactly = { additionalProperties: false };
const DEVICE = Type.Object(
  {
    id: R.n,
    ipAddresses: N(R.strings),
    name: R.s,
    vendor: N(R.s),
    operatingSystem: N(R.s),
    macAddresses: N(R.strings),
    type: R.s,
    engineeringStation: R.b,
    authorized: R.b,
    scanner: R.b,
    protocols: N(Type.Array(Type.Object({ id: R.n, name: R.s, ipAddresses: R.strings }, exactly))),
    firmware: Type.Array(
      Type.Object(
        {
          address: R.s,
          moduleAddress: R.s,
          serial: N(R.s),
          model: N(R.s),
          firmwareVersion: N(R.s),
          additionalData: N(R.s),
          rack: N(R.s),
          slot: N(R.s),
        },
        exactly,
      ),
    ),
    hasDynamicAddress: R.b,
  },
  exactly,
);
const CONNECTION = Type.Object(
  {
    firstDeviceId: R.n,
    secondDeviceId: R.n,
    lastSeen: R.n,
    discovered: R.n,
    ports: N(Type.Array(R.n)),
    protocols: N(Type.Array(Type.Object({ name: R.s, commands: N(R.strings) }, exactly))),
  },
  exactly,
);
const V1 = {
  id: R.n,
  time: R.n,
  title: R.s,
  message: R.s,
  severity: Type.Union(['Warning', 'Minor', 'Major', 'Critical'].map((one) => Type.Literal(one))),
  engine: Type.Union(
    ['Protocol Violation', 'Policy Violation', 'Malware', 'Anomaly', 'Operational'].map((one) => Type.Literal(one)),
  ),
  sourceDevice: N(R.n),
  destinationDevice: N(R.n),
  additionalInformation: N(Type.Object({ description: R.s, information: R.strings }, exactly)),
};
const ALERT_V1 = Type.Object(V1, exactly);
const ALERT_V2 = Type.Object(
  { ...V1, sourceDeviceAddress: N(R.s), destinationDeviceAddress: N(R.s), remediationSteps: R.strings },
  exactly,
);
const EVENT = Type.Object(
  {
    timestamp: R.n,
    type: R.s,
    title: R.s,
    severity: Type.Union(['INFO', 'NOTICE', 'ALERT'].map((one) => Type.Literal(one))),
    owner: N(R.s),
    content: R.s,
  },
  exactly,
);

let api: TestApi;
beforeAll(async () => {
  api = await testApi();
});
afterAll(() => api.close());

const get = async (url: string, schema: TSchema) => {
  const { status, json } = await api.ask({ url, as: 'analyst' });
  expect(status, JSON.stringify(json)).toBe(200);
  expect([...Value.Errors(Type.Array(schema), json)]).toEqual([]);
  return json;
};

describe('a client written for the reference product', () => {
  it('gets its devices', async () => {
    const devices = await get('/api/v1/devices', DEVICE);
    expect(devices).toHaveLength(11);
    expect(devices.find((one: { id: number }) => one.id === 2)).toMatchObject({
      ipAddresses: ['10.10.2.10'],
      name: 'SNAP7-SERVER',
      vendor: 'Siemens',
      type: 'PLC',
      engineeringStation: false,
      authorized: true,
      protocols: expect.arrayContaining([expect.objectContaining({ name: 'Siemens S7', ipAddresses: ['10.10.2.10'] })]),
      firmware: [
        expect.objectContaining({
          address: '10.10.2.10',
          model: 'CPU 315-2 PN/DP',
          firmwareVersion: 'V3.2.6',
          serial: 'S C-C2UR28922012',
        }),
      ],
    });
    expect(devices.filter((one: { hasDynamicAddress: boolean }) => one.hasDynamicAddress)).toHaveLength(1);
  });

  it('filters them by whether they are authorised, and other values are ignored', async () => {
    await api.ask({ method: 'PATCH', url: '/api/v3/devices/3', payload: { authorized: false } });
    expect((await get('/api/v1/devices?authorized=false', DEVICE)).map((one: { id: number }) => one.id)).toEqual([3]);
    expect(await get('/api/v1/devices?authorized=true', DEVICE)).toHaveLength(10);
    expect(await get('/api/v1/devices?authorized=maybe', DEVICE)).toHaveLength(11);
  });

  it('gets who talks to whom', async () => {
    const all = await get('/api/v1/devices/connections', CONNECTION);
    const stop = all.find((one: { protocols: { commands: string[] }[] }) =>
      one.protocols.some(({ commands }) => commands.includes('Stop')),
    );
    expect(stop).toMatchObject({ firstDeviceId: 2, secondDeviceId: 7, ports: [102] });
    const of_two = await get('/api/v1/devices/2/connections', CONNECTION);
    expect(of_two.length).toBeGreaterThan(1);
    expect(of_two.length).toBeLessThan(all.length);
    const { discovered } = stop;
    expect((await get(`/api/v1/devices/connections?discoveredAfter=${discovered + 1}`, CONNECTION)).length).toBeLessThan(
      all.length,
    );
    expect((await get(`/api/v1/devices/connections?discoveredBefore=${discovered}`, CONNECTION)).length).toBeLessThanOrEqual(
      all.length,
    );
    expect((await api.ask({ url: '/api/v1/devices/999/connections' })).status).toBe(404);
  });

  it('gets its alerts, in both versions', async () => {
    const v1 = await get('/api/v1/alerts', ALERT_V1);
    expect(v1).toHaveLength(19);
    const v2 = await get('/api/v2/alerts', ALERT_V2);
    expect(v2.find((one: { title: string }) => one.title === 'Stop command to a controller')).toMatchObject({
      severity: 'Critical',
      engine: 'Operational',
      sourceDevice: 7,
      destinationDevice: 2,
      sourceDeviceAddress: '10.10.10.20',
      destinationDeviceAddress: '10.10.2.10',
      remediationSteps: expect.arrayContaining([expect.stringMatching(/operators/)]),
    });
    expect(await get('/api/v1/alerts?type=unexpected%20new%20devices', ALERT_V1)).toHaveLength(11);
    expect(await get('/api/v1/alerts?type=something%20else', ALERT_V1)).toHaveLength(19);
    await api.ask({ method: 'PATCH', url: `/api/v3/alerts/${v1[0].id}`, payload: { status: 'acknowledged' } });
    expect(await get('/api/v1/alerts?state=handled', ALERT_V1)).toHaveLength(1);
    expect(await get('/api/v1/alerts?state=unhandled', ALERT_V1)).toHaveLength(18);
    const middle = v1[9].time;
    const since = await get(`/api/v1/alerts?fromTime=${middle + 1}`, ALERT_V1);
    const until = await get(`/api/v1/alerts?toTime=${middle}`, ALERT_V1);
    expect(since.length).toBeGreaterThan(0);
    expect(until.length).toBeGreaterThan(0);
    expect(since.length).toBeLessThan(19);
  });

  it('gets the packets of an alert', async () => {
    const { status, bytes } = await api.ask({ url: '/api/v2/alerts/pcap/12' });
    expect(status).toBe(200);
    expect(bytes.readUInt32LE(0)).toBe(0xa1b23c4d);
    expect((await api.ask({ url: '/api/v2/alerts/pcap/999' })).status).toBe(404);
  });

  it('gets the newest events first', async () => {
    const events = await get('/api/v1/events', EVENT);
    expect(events).toHaveLength(28);
    const times = events.map((one: { timestamp: number }) => one.timestamp);
    expect(times).toEqual([...times].sort((a, b) => b - a));
    expect(await get('/api/v1/events?type=DEVICE_CREATE', EVENT)).toHaveLength(11);
    expect(await get('/api/v1/events?type=NO_SUCH_TYPE', EVENT)).toHaveLength(28);
  });

  it.each(['/api/external/authentication', '/external/authentication'])('checks and sets passwords at %s', async (prefix) => {
    const post = (path: string, payload: object) => api.ask({ method: 'POST', url: `${prefix}/${path}`, as: null, payload });
    const username = `op.${prefix.length}`;
    await api.ask({ method: 'POST', url: '/api/v3/users', payload: { name: username, role: 'analyst', password: PASSWORD } });
    expect(await post('validation', { username, password: PASSWORD })).toMatchObject({
      status: 200,
      json: { msg: 'Authentication succeeded.' },
    });
    expect(await post('validation', { username, password: 'wrong' })).toMatchObject({
      status: 401,
      json: { error: { userDisplayErrorMessage: expect.any(String), internalSystemErrorMessage: expect.any(String) } },
    });
    const next = 'Lantern-42-gauge';
    expect((await post('set_password', { username, password: PASSWORD, new_password: 'short' })).status).toBe(400);
    expect((await post('set_password', { username, password: PASSWORD, new_password: next })).status).toBe(200);
    const by_admin = { admin_username: 'admin', admin_password: PASSWORD, username, new_password: 'Harbour-63-crane' };
    expect((await post('set_password_by_admin', { ...by_admin, admin_username: 'analyst' })).status).toBe(403);
    expect((await post('set_password_by_admin', { ...by_admin, username: 'nobody' })).status).toBe(404);
    expect((await post('set_password_by_admin', by_admin)).status).toBe(200);
    expect((await post('validation', { username, password: 'Harbour-63-crane' })).status).toBe(200);
  });

  it('is understood as curl -d sends it, bare token or Bearer', async () => {
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    const body = JSON.stringify({ username: 'admin', password: PASSWORD });
    const url = '/api/external/authentication/validation';
    expect((await api.ask({ method: 'POST', url, as: null, headers: form, payload: body })).status).toBe(200);
    expect((await api.ask({ method: 'POST', url, as: null, headers: form, payload: '{broken' })).status).toBe(400);
    for (const authorization of [api.tokens.admin, `Bearer ${api.tokens.admin}`, `bearer ${api.tokens.admin}`])
      expect((await api.ask({ url: '/api/v1/alerts', as: null, headers: { authorization } })).status).toBe(200);
  });

  it('finds what the engine does not know absent, not empty', async () => {
    for (const url of ['/api/v1/devices/cves', '/api/v1/reports/vulnerabilities/devices'])
      expect((await api.ask({ url })).status).toBe(404);
  });
});
