import path from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ot } from '../../cli/testing.ts';
import { DATABASE_FILE } from '../../store/writer.ts';
import { type TestApi, testApi } from '../testing.ts';

let api: TestApi;
beforeAll(async () => {
  api = await testApi();
});
afterAll(() => api.close());

const ids = async (query = ''): Promise<number[]> =>
  (await api.ask({ url: `/api/v3/devices${query}` })).json.items.map(({ id }: { id: number }) => id);
const remove = (id: number, as: 'admin' | 'analyst' = 'admin') => api.ask({ method: 'DELETE', url: `/api/v3/devices/${id}`, as });
/** As the writer does it when a packet of it comes. */
function seen(id: number, after_ms: number): void {
  const db = new Database(path.join(api.directory, DATABASE_FILE));
  db.prepare('UPDATE devices SET last_ms = last_ms + ? WHERE id = ?').run(after_ms, id);
  db.close();
}
const ended = () => api.context.store.reader.captures().at(-1)!.last_ms!;

it('a device that still talks is not deleted', async () => {
  const [device] = (await api.ask({ url: '/api/v3/devices' })).json.items;
  const refused = await remove(device.id);
  expect([refused.status, refused.json.error]).toEqual([409, expect.objectContaining({ code: 'conflict' })]);
  expect((await remove(device.id, 'analyst')).status).toBe(403);
  expect((await remove(99_999)).status).toBe(404);
});

it('one that is silent is not listed any more, and comes back with its history when it is seen again', async () => {
  const before = await ids();
  const [id] = before;
  seen(id, -3_600_000);
  const connections = (await api.ask({ url: `/api/v3/connections?device=${id}` })).json.items.length;
  expect(connections).toBeGreaterThan(0);
  expect((await remove(id)).status).toBe(204);
  expect(await ids()).toEqual(before.filter((one) => one !== id));
  expect(await ids('?deleted=true')).toEqual([id]);
  const reference = await api.ask({ url: '/api/v1/devices' });
  expect(reference.json.map((one: { id: number }) => one.id)).not.toContain(id);
  expect((await remove(id)).status).toBe(404);
  // Nothing is lost: it can be asked for, and so can what it did.
  expect((await api.ask({ url: `/api/v3/devices/${id}` })).status).toBe(200);
  expect((await api.ask({ url: `/api/v3/connections?device=${id}` })).json.items).toHaveLength(connections);
  const [event] = (await api.ask({ url: '/api/v3/events?kind=device_deleted' })).json.items;
  expect(event).toMatchObject({ kind: 'device_deleted', device_id: id, title: expect.stringMatching(/ was deleted$/) });
  seen(id, 3_600_000);
  expect([await ids(), await ids('?deleted=true')]).toEqual([before, []]);
});

it('a deletion is taken back', async () => {
  const before = await ids();
  const id = before[1];
  seen(id, -3_600_000);
  await remove(id);
  const restored = await api.ask({ method: 'POST', url: `/api/v3/devices/${id}/restore` });
  expect([restored.status, restored.json.id, (await ids()).sort()]).toEqual([200, id, [...before].sort()]);
  expect((await api.ask({ method: 'POST', url: `/api/v3/devices/${id}/restore` })).status).toBe(404);
});

it('all that were not seen since a time are deleted, by a command too', async () => {
  const [, , one, other] = await ids();
  for (const id of [one, other]) seen(id, -86_400_000);
  const url = (ms: number) => `/api/v3/devices?unseen_since_ms=${ms}`;
  expect((await api.ask({ method: 'DELETE', url: url(ended()) })).status).toBe(400);
  expect((await api.ask({ method: 'DELETE', url: '/api/v3/devices' })).status).toBe(400);
  const at_noon = ended() - 12 * 3_600_000;
  expect((await api.ask({ method: 'DELETE', url: url(at_noon) })).json).toEqual({ deleted: 2 });
  expect((await api.ask({ method: 'DELETE', url: url(at_noon) })).json).toEqual({ deleted: 0 });
  const say = async (...args: string[]) => {
    const { code, stdout, stderr } = await ot([...args, '--data', api.directory]);
    expect(code, stderr).toBe(0);
    return stdout;
  };
  const deleted = JSON.parse(await say('devices', '--deleted', '--format', 'json'));
  expect(deleted.map(({ id }: { id: number }) => id).sort()).toEqual([one, other].sort());
  await say('delete-devices', String(one), String(other), '--restore');
  expect(await say('delete-devices', '--unseen-since', new Date(at_noon).toISOString())).toBe('2 devices were deleted\n');
  await say('delete-devices', String(one), '--restore');
  await say('delete-devices', String(one));
  expect((await ot(['delete-devices', '--data', api.directory])).code).toBe(2);
  const actions = api.context.audit.list({ limit: 5 }).map(({ actor, action }) => `${actor} ${action}`);
  expect(actions).toEqual([
    'root device.delete',
    'root device.restore',
    'root device.delete_unseen',
    'root device.restore',
    'root device.restore',
  ]);
});
