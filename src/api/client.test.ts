import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../cli/testing.ts';
import { type TestApi, testApi } from './testing.ts';

/** Folder in which a generator of clients is installed (npm's swagger-typescript-api): too large to be a dependency of ours. */
const generator = process.env.OT_SENSOR_CLIENT_GENERATOR ?? '';
if (generator === '')
  console.warn('SKIPPED: a client is generated of the OpenAPI document where OT_SENSOR_CLIENT_GENERATOR says with what');

describe.skipIf(generator === '')('a client generated of our OpenAPI document', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await testApi();
    await api.app.listen({ host: '127.0.0.1', port: 0 });
  });
  afterAll(() => api.close());

  it('compiles strictly, and works', async () => {
    const folder = path.join(api.directory, 'client');
    fs.mkdirSync(folder);
    fs.writeFileSync(path.join(folder, 'package.json'), '{"type":"module"}');
    const document = path.join(folder, 'openapi.json');
    fs.writeFileSync(document, (await api.ask({ url: '/api/docs/json', as: null })).text);
    const run = path.join(generator, 'node_modules/.bin/swagger-typescript-api');
    execFileSync(run, ['generate', '-p', document, '-o', folder, '-n', 'client.ts'], { stdio: 'pipe' });
    const use = path.join(folder, 'use.ts');
    // What a program does with it, typed: a field that is not there, or of another type, does not compile.
    fs.writeFileSync(
      use,
      `import { Api } from './client.js';
      export async function use(baseUrl: string, token: string) {
        const client = new Api({ baseUrl, baseApiParams: { secure: true }, securityWorker: () => ({ headers: { authorization: token } }) }).api;
        const { data: page } = await client.v3AlertsList({ severity: 'critical', limit: 5 });
        const [{ id = 0, title = '' }] = page.items;
        const next: string | null = page.next_cursor;
        const { data: changed } = await client.v3AlertsPartialUpdate(id, { status: 'acknowledged' });
        const { data: device } = await client.v3DevicesDetail(2);
        const { data: health } = await client.v3HealthList();
        const wrong = await client.v3DevicesDetail(999).catch((failed: { status: number; error: { error: { code: string } } }) => failed);
        return { title, next, status: changed.alert.status, name: device.device.name, running: health.sensor.running, wrong };
      }`,
    );
    const tsc = path.join(ROOT, 'node_modules/typescript/bin/tsc');
    const options = [
      '--strict',
      '--target',
      'es2022',
      '--module',
      'nodenext',
      '--lib',
      'es2022,dom,dom.iterable',
      '--skipLibCheck',
    ];
    execFileSync(process.execPath, [tsc, '--ignoreConfig', ...options, '--outDir', folder, use], { stdio: 'pipe', cwd: folder });
    const { use: act } = await import(pathToFileURL(path.join(folder, 'use.js')).href);
    const { port } = api.app.server.address() as AddressInfo;
    expect(await act(`http://127.0.0.1:${port}`, api.tokens.analyst)).toMatchObject({
      title: 'Stop command to a controller',
      next: null,
      status: 'acknowledged',
      name: 'SNAP7-SERVER',
      running: false,
      wrong: { status: 404, error: { error: { code: 'not_found' } } },
    });
  });
});
