import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BACKUP } from '../../backup/settings.ts';
import { ot } from '../../cli/testing.ts';
import { type TestApi, testApi } from '../testing.ts';

let api: TestApi;
beforeAll(async () => {
  api = await testApi();
});
afterAll(() => api.close());

const post = (url: string, payload?: object) => api.ask({ method: 'POST', url: `/api/v3${url}`, payload });

describe('backups over the API', () => {
  it('are made, listed, verified, fetched and deleted', async () => {
    const made = await post('/backups');
    expect(made.status, made.text).toBe(201);
    const { name, size } = made.json;
    const listed = (await api.ask({ url: '/api/v3/backups' })).json;
    expect(listed.items).toMatchObject([{ name, size, encrypted: false, product_version: '1.2.3' }]);
    expect(listed.runs[0]).toMatchObject({ kind: 'backup', reason: 'manual', outcome: 'done', file: name });
    expect((await post(`/backups/${name}/verify`)).json).toMatchObject({ trusted: true, rows: expect.any(Number) });
    const fetched = await api.ask({ url: `/api/v3/backups/${name}` });
    expect(fetched.bytes.length).toBe(size);
    expect(fetched.bytes.subarray(0, 2)).toEqual(Buffer.from([0x1f, 0x8b]));
    expect((await api.ask({ url: '/api/v3/health' })).json.last_backup_ms).toBeGreaterThan(0);
    expect((await api.ask({ method: 'DELETE', url: `/api/v3/backups/${name}` })).status).toBe(204);
    for (const other of [name, '..%2fappliance.db', 'nothing'])
      expect((await api.ask({ url: `/api/v3/backups/${other}` })).status).toBe(404);
    expect(fs.existsSync(path.join(api.directory, 'appliance.db'))).toBe(true);
  });

  it('hold no secret unless keys are asked for', async () => {
    api.context.settings.write(BACKUP, { passphrase: 'open sesame now' }, 'test', 0);
    const { json } = await post('/backups');
    expect(json.name).toMatch(/\.enc$/);
    const file = path.join(api.directory, 'backups', json.name);
    const opened = path.join(api.directory, 'opened');
    const env = { OT_SENSOR_BACKUP_PASSPHRASE: 'open sesame now' };
    const { code, stderr } = await ot(['backup', 'open', file, '--out', opened, '--data', api.directory], { env });
    expect(code, stderr).toBe(0);
    for (const name of fs.readdirSync(opened, { recursive: true }) as string[])
      if (fs.statSync(path.join(opened, name)).isFile())
        expect(fs.readFileSync(path.join(opened, name)).includes('open sesame')).toBe(false);
    api.context.settings.write(BACKUP, {}, 'test', 0);
    await api.ask({ method: 'DELETE', url: `/api/v3/backups/${json.name}` });
  });

  it('are planned, restored with the next start, called off', async () => {
    const { name } = (await post('/backups')).json;
    await api.ask({ method: 'PATCH', url: '/api/v3/devices/3', payload: { note: 'after the backup' } });
    const plan = await post(`/backups/${name}/restore/plan`, {});
    expect(plan.status, plan.text).toBe(200);
    expect(plan.json.changes).toContainEqual(
      expect.objectContaining({ target: path.join(api.directory, 'ot-sensor.db'), change: 'replaced' }),
    );
    expect((await api.ask({ url: '/api/v3/restore' })).json.state).toBe('none');
    expect((await post(`/backups/${name}/restore`, {})).status).toBe(202);
    expect((await api.ask({ url: '/api/v3/restore' })).json).toMatchObject({ state: 'armed', backup: name });
    expect((await post('/restore/cancel')).status).toBe(200);
    expect((await api.ask({ url: '/api/v3/restore' })).json.state).toBe('none');
    expect((await post('/restore/cancel')).status).toBe(409);
  });

  it('what is installed is told', async () => {
    expect((await api.ask({ url: '/api/v3/updates' })).json).toMatchObject({
      software: { state: 'none' },
      content: { state: 'none' },
    });
  });
});
