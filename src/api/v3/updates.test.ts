import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { remove, temporaryFolder } from '../../cli/testing.ts';
import { generateKey } from '../../signing/minisign.ts';
import { runRequested } from '../../update/requested.ts';
import { makeBundle, root_key, rootKeyText } from '../../update/testing.ts';
import { type TestApi, testApi } from '../testing.ts';

let api: TestApi;
let folder: string;
beforeAll(async () => {
  folder = temporaryFolder();
  api = await testApi();
  fs.writeFileSync(path.join(api.directory, 'root.pub'), rootKeyText());
});
afterAll(async () => {
  await api.close();
  remove(folder);
});

const headers = { 'content-type': 'application/octet-stream' };
const upload = async (file: string) =>
  api.ask({ method: 'PUT', url: '/api/v3/updates/staged', headers, payload: fs.readFileSync(file) });
const post = (what: string) => api.ask({ method: 'POST', url: `/api/v3/updates/${what}` });
const state = async () => (await api.ask({ url: '/api/v3/updates' })).json;
const asRoot = () =>
  runRequested(
    {
      root: path.join(api.directory, 'opt'),
      data: api.directory,
      root_keys: [root_key],
      program_version: '1.2.3',
      now_ms: Date.now(),
    },
    // The databases are open in this process: that they are exchanged is tested where they are not.
    { stop: async () => {}, start: async () => {}, migrate: async () => {}, check: async () => {} },
  );

it('an update of detection content is uploaded, verified, installed, undone and confirmed', async () => {
  expect(await state()).toMatchObject({ content: { version: '' }, staged: null, requested: null, progress: null });
  for (const version of ['2.0.0', '2.1.0']) {
    const uploaded = await upload(await makeBundle(folder, version, { kind: 'content' }));
    expect([uploaded.status, uploaded.json]).toEqual([
      201,
      expect.objectContaining({ kind: 'content', version, notes: 'what is new' }),
    ]);
    expect((await post('staged/verify')).json).toEqual(uploaded.json);
    const asked = await post('apply');
    expect([asked.status, asked.json.requested]).toEqual([
      202,
      expect.objectContaining({ action: 'apply', id: uploaded.json.id }),
    ]);
    expect((await post('apply')).json.error).toMatchObject({ code: 'conflict' });
    await asRoot();
    expect(await state()).toMatchObject({
      content: { version },
      staged: null,
      progress: { state: 'done', to: version, by: 'api' },
    });
  }
  expect((await post('undo')).status).toBe(202);
  await asRoot();
  expect(await state()).toMatchObject({ content: { version: '2.0.0' }, progress: { action: 'undo', state: 'done' } });
  expect((await post('confirm')).json.error).toMatchObject({
    code: 'conflict',
    message: expect.stringMatching(/update rollback/),
  });
  const actions = api.context.audit.list({ limit: 20 }).map(({ actor, action, subject }) => `${actor} ${action} ${subject}`);
  expect(actions.filter((line) => line.includes(' update.')).reverse()).toEqual([
    expect.stringMatching(/^token test of admin update\.upload content 2\.0\.0$/),
    expect.stringMatching(/update\.ask_apply [0-9a-f]{32}$/),
    expect.stringMatching(/update\.upload content 2\.1\.0$/),
    expect.stringMatching(/update\.ask_apply/),
    expect.stringMatching(/update\.ask_undo/),
  ]);
});

it('what nobody trusted has signed is refused, and said why', async () => {
  const foreign = await upload(await makeBundle(folder, '3.0.0', { kind: 'content', certified_by: generateKey() }));
  expect([foreign.status, foreign.json.error.code]).toEqual([400, 'signature']);
  const old = await upload(await makeBundle(folder, '1.0.0', { kind: 'content' }));
  expect([old.status, old.json.error]).toEqual([
    400,
    expect.objectContaining({ message: expect.stringMatching(/2\.0\.0 is newer/) }),
  ]);
  expect((await post('apply')).status).toBe(404);
  const discarded = await api.ask({ method: 'DELETE', url: '/api/v3/updates/staged' });
  expect([discarded.status, (await state()).staged]).toEqual([204, null]);
});
