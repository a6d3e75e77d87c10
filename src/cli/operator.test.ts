import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ot, PLANT, remove, temporaryFolder, ZONES } from './testing.ts';

let folder: string;
beforeAll(async () => {
  folder = temporaryFolder();
  expect((await ot(['replay', PLANT, '--zones', ZONES, '--data', folder])).code).toBe(0);
});
afterAll(() => remove(folder));

const say = async (...args: string[]) => {
  const ended = await ot([...args, '--data', folder]);
  expect(ended.code, ended.stderr).toBe(0);
  return ended.stdout;
};
const rows = async (...args: string[]) => JSON.parse(await say(...args, '--format', 'json'));

it('an alert is shown with what to do, closed with a comment, and the audit log knows', async () => {
  const [{ id }] = await rows('alerts', '--kind', 'device_stop');
  const said = await say('alert', String(id), '--status', 'closed', '--comment', 'planned, ticket 4711');
  expect(said).toMatch(/^critical: Stop command to a controller \(closed\)$/m);
  expect(said).toMatch(/^1\. Ask the operators/m);
  expect(said).toMatch(/root: planned, ticket 4711$/m);
  expect((await rows('audit', 'list', '--action', 'alert.status'))[0]).toMatchObject({
    actor: 'root',
    details: { status: 'closed' },
  });
  expect((await ot(['alert', '999', '--data', folder])).code).toBe(2);
  expect((await ot(['alert', '999', '--status', 'open', '--data', folder])).stderr).toMatch(/no alert 999/);
});

it('a device is what one says it is, until it is taken back', async () => {
  await say('device', '3', '--name', 'Panel 3', '--authorized', 'no');
  await say('device', '3', '--name', 'unset');
  expect((await ot(['device', '3', '--data', folder])).code).toBe(2);
  expect((await rows('audit', 'list', '--action', 'device.mark')).map((one: { details: object }) => one.details)).toEqual([
    { name: null },
    { name: 'Panel 3', authorized: false },
  ]);
});

it('a zone policy is applied in versions, and rolled back', async () => {
  expect(await say('zones', 'apply', ZONES, '--comment', 'first')).toMatch(/version 1; no sensor runs here/);
  const other = path.join(folder, 'other.yaml');
  fs.writeFileSync(other, 'default: allow\nzones:\n  - {name: all, subnets: [0.0.0.0/0]}\n');
  await say('zones', 'apply', other);
  expect(await say('zones', 'roll-back', '1')).toMatch(/version 3/);
  expect(fs.readFileSync(path.join(folder, 'zones.yaml'), 'utf8')).toBe(fs.readFileSync(ZONES, 'utf8'));
  expect((await rows('zones', 'versions')).map((one: { version: number }) => one.version)).toEqual([3, 2, 1]);
  fs.writeFileSync(other, 'zones: 1');
  expect((await ot(['zones', 'apply', other, '--data', folder])).code).toBe(2);
});

it('notifications and sanity tell how the appliance is', async () => {
  expect(await say('notifications')).toBe(await say('notifications', '--open'));
  expect(await say('sanity')).toMatch(/^sensor +not running/m);
});
