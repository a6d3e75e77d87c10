import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fixture, PLANT, ZONES } from '../../cli/testing.ts';
import { type TestApi, testApi } from '../testing.ts';

let api: TestApi;
beforeAll(async () => {
  api = await testApi();
});
afterAll(() => api.close());

const policy = fs.readFileSync(ZONES, 'utf8');
const octets = { 'content-type': 'application/octet-stream' };
const put = (name: string, payload: Buffer, as: 'analyst' | 'read_only' = 'analyst') =>
  api.ask({ method: 'PUT', url: `/api/v3/captures/${name}`, payload, headers: octets, as });
const played = async (name: string) => {
  expect((await api.ask({ method: 'POST', url: `/api/v3/captures/${name}/play`, as: 'analyst' })).status).toBe(202);
  const state = async () => (await api.ask({ url: `/api/v3/captures/${name}`, as: 'analyst' })).json;
  await expect.poll(async () => (await state()).state, { timeout: 30_000 }).not.toBe('playing');
  return state();
};

describe('captures', () => {
  it('are uploaded, played into a database of their own, listed, and deleted', async () => {
    expect((await put('monday.pcap', fs.readFileSync(PLANT))).json).toMatchObject({
      name: 'monday.pcap',
      state: 'uploaded',
      bytes: fs.statSync(PLANT).size,
    });
    expect((await api.ask({ url: '/api/v3/captures/monday.pcap/alerts', as: 'analyst' })).status).toBe(409);
    expect(await played('monday.pcap')).toMatchObject({ state: 'played', summary: { packets: 1006, totals: { devices: 11 } } });
    const found = await api.ask({ url: '/api/v3/captures/monday.pcap/alerts?kind=device_stop', as: 'analyst' });
    expect(found.json.items).toHaveLength(1);
    expect((await api.ask({ url: '/api/v3/captures/monday.pcap/devices', as: 'analyst' })).json.items).toHaveLength(11);
    // The sensor's own inventory has learned nothing from it.
    expect((await api.ask({ url: '/api/v3/health' })).json.stored).toMatchObject({ captures: 1, alerts: 19 });
    expect(await put('monday.pcap', Buffer.from('x'))).toMatchObject({ status: 409 });
    expect((await api.ask({ method: 'DELETE', url: '/api/v3/captures/monday.pcap', as: 'analyst' })).status).toBe(204);
    expect((await api.ask({ url: '/api/v3/captures', as: 'analyst' })).json.items).toEqual([]);
    expect(fs.readdirSync(path.join(api.directory, 'captures'))).toEqual([]);
  });

  it('that are none say why', async () => {
    await put('broken.pcap', Buffer.from('this is no capture'));
    expect(await played('broken.pcap')).toMatchObject({ state: 'failed', message: expect.stringMatching(/capture/) });
    await api.ask({ method: 'DELETE', url: '/api/v3/captures/broken.pcap' });
  });

  it.each([
    '..%2f..%2fetc%2fpasswd',
    '.hidden',
    'a%2fb',
    'a b',
    '%00',
    'x'.repeat(129),
    'a.part',
    'a.found',
    'a.summary.json',
    '-rf',
  ])('have no name that leaves their folder or is ours: %s', async (name) => {
    const before = fs.readdirSync(api.directory, { recursive: true });
    expect([400, 404, 414]).toContain((await put(name, Buffer.from('x'))).status);
    expect(fs.readdirSync(api.directory, { recursive: true })).toEqual(before);
    for (const method of ['GET', 'DELETE'] as const)
      expect([400, 404, 414]).toContain((await api.ask({ method, url: `/api/v3/captures/${name}` })).status);
  });

  it('are not for those who may only read', async () => {
    expect((await put('x.pcap', Buffer.from('x'), 'read_only')).status).toBe(403);
  });
});

describe('the zone policy', () => {
  it('is validated: every fault with its place', async () => {
    const validate = (text: string) =>
      api.ask({ method: 'POST', url: '/api/v3/zones/validate', payload: { policy: text }, as: 'analyst' });
    expect((await validate(policy)).json.usable).toBe(true);
    const broken = await validate(policy.replace('subnets', 'subnet'));
    expect(broken.json).toMatchObject({
      usable: false,
      faults: expect.arrayContaining([expect.objectContaining({ severity: 'fault', line: expect.any(Number) })]),
    });
    expect((await validate('{')).json.usable).toBe(false);
  });

  it('is tested against a capture before it is applied', async () => {
    await put('plant.pcap', fs.readFileSync(fixture('plant.pcap')));
    const test = (payload: object) => api.ask({ method: 'POST', url: '/api/v3/zones/test', payload, as: 'analyst' });
    const { status, json, text } = await test({ policy, capture: 'plant.pcap' });
    expect(status, text).toBe(200);
    expect(json.items.map((one: { protocol: string; operation: string }) => `${one.protocol} ${one.operation}`).sort()).toEqual([
      'modbus read',
      'modbus write',
      's7comm start',
      's7comm stop',
    ]);
    expect((await test({ policy })).status).toBe(400);
    expect((await test({ policy, capture: 'missing.pcap' })).status).toBe(404);
    expect((await test({ policy: 'zones: 1', capture: 'plant.pcap' })).json.error.code).toBe('zone_file');
    expect((await test({ policy, hours: 1 })).json.error).toMatchObject({
      code: 'not_found',
      message: expect.stringMatching(/nothing can be tested/),
    });
  });

  it('is applied in versions, and taken back', async () => {
    const apply = (text: string, headers = {}) =>
      api.ask({ method: 'PUT', url: '/api/v3/zones', payload: { policy: text, comment: 'after the audit' }, headers });
    expect((await api.ask({ url: '/api/v3/zones' })).json).toMatchObject({ version: 0, zones: [] });
    expect((await apply(policy)).json).toMatchObject({ version: 1, applied_by: 'token test of admin', told_sensor: false });
    expect(fs.readFileSync(path.join(api.directory, 'zones.yaml'), 'utf8')).toBe(policy);
    const shown = (await api.ask({ url: '/api/v3/zones', as: 'read_only' })).json;
    expect(shown.zones.map((zone: { name: string }) => zone.name)).toContain('cell A');
    expect(shown.conduits.length).toBeGreaterThan(0);
    expect((await apply(`${policy}\n# second\n`, { 'if-match': '"1"' })).json.version).toBe(2);
    expect((await apply(policy, { 'if-match': '"1"' })).status).toBe(409);
    expect((await apply(policy, { 'if-match': 'yesterday' })).status).toBe(400);
    expect((await apply('zones: 1')).status).toBe(400);
    const back = await api.ask({ method: 'POST', url: '/api/v3/zones/versions/1/apply' });
    expect(back.json).toMatchObject({ version: 3, comment: 'version 1 again' });
    expect(fs.readFileSync(path.join(api.directory, 'zones.yaml'), 'utf8')).toBe(policy);
    expect((await api.ask({ url: '/api/v3/zones/versions' })).json.items.map((one: { version: number }) => one.version)).toEqual([
      3, 2, 1,
    ]);
    expect((await api.ask({ method: 'POST', url: '/api/v3/zones/versions/9/apply' })).status).toBe(404);
  });
});
