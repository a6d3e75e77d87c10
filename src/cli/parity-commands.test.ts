import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ApplianceDatabase } from '../appliance/database.ts';
import { lines, ot, PLANT, remove, temporaryFolder, ZONES } from './testing.ts';

// The commands that do what the API does.

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
const refused = async (...args: string[]) => {
  const { code, stderr } = await ot([...args, '--data', folder]);
  expect(code).toBe(2);
  return stderr;
};

it('lists are narrowed down as over the API', async () => {
  const alerts: { severity: string; status: string; technique: string }[] = await rows('alerts');
  const major = await rows('alerts', '--minimum-severity', 'major');
  expect(major).toEqual(alerts.filter(({ severity }) => severity === 'major' || severity === 'critical'));
  expect(major.length).toBeLessThan(alerts.length);
  expect(await rows('alerts', '--status', 'closed,muted')).toEqual([]);
  const { technique } = alerts.find((one) => one.technique !== '')!;
  expect(await rows('alerts', '--technique', technique)).toEqual(alerts.filter((one) => one.technique === technique));
  const [activity] = await rows('connections', '--activities');
  const of_connection = await rows('connections', '--activities', '--connection', String(activity.connection_id));
  expect(new Set(of_connection.map((one: { connection_id: number }) => one.connection_id))).toEqual(
    new Set([activity.connection_id]),
  );
  expect(await refused('connections', '--unit', '1')).toMatch(/give --activities too/);
  const levels = await rows('devices', '--purdue-level', '1');
  expect(levels.every((one: { purdue_level: number }) => one.purdue_level === 1)).toBe(true);
});

it('kinds of alerts and protocols are listed', async () => {
  const { stdout } = await ot(['alert-kinds', '--format', 'jsonl']);
  expect(lines(stdout)).toContainEqual(expect.objectContaining({ kind: 'zone_crossing', remediation: expect.any(Array) }));
  const protocols = await rows('protocols');
  expect(protocols[0].packets).toBeGreaterThanOrEqual(protocols[1].packets);
  expect(protocols.map((one: { app_proto: string }) => one.app_proto)).toContain('s7comm');
});

it('what is new is streamed, and goes on behind the last line', async () => {
  const all = lines<{ id: string; event: string }>(await say('stream', '--from', '0', '--until-now'));
  const alerts = all.filter(({ event }) => event === 'alert');
  expect(alerts.length).toBe((await rows('alerts')).length);
  const rest = lines(await say('stream', '--from', alerts[2].id, '--until-now'));
  expect(rest).toEqual(all.slice(3));
  expect(await say('stream', '--until-now')).toBe('');
  expect(await refused('stream', '--from', 'yesterday')).toMatch(/It takes 0, or an id/);
});

it('captures are kept, played, looked into and deleted', async () => {
  await say('captures', 'upload', PLANT, '--name', 'monday.pcap');
  expect(await refused('captures', 'upload', PLANT, '--name', 'monday.pcap')).toMatch(/there is a capture "monday.pcap" already/);
  const played = JSON.parse(await say('captures', 'play', 'monday.pcap'));
  expect(played).toMatchObject({ state: 'played', summary: { packets: 1006 } });
  expect((await ot(['devices', '--data', played.data, '--format', 'json'])).code).toBe(0);
  expect(await rows('captures', 'list')).toEqual([expect.objectContaining({ name: 'monday.pcap', state: 'played' })]);
  await say('captures', 'delete', 'monday.pcap');
  expect(await rows('captures', 'list')).toEqual([]);
  expect(await refused('captures', 'show', '../appliance.db')).toMatch(/a capture has a name/);
  const actions = (await rows('audit', 'list')).map(({ action }: { action: string }) => action);
  expect(actions.slice(0, 3)).toEqual(['capture.delete', 'capture.play', 'capture.upload']);
});

it('zones are shown by version, and tested against what was recorded', async () => {
  expect(await refused('zones', 'show')).toMatch(/no zone policy was applied/);
  await say('zones', 'apply', ZONES);
  expect(await say('zones', 'show', '--version', '1')).toBe(fs.readFileSync(ZONES, 'utf8'));
  expect(await refused('zones', 'test', ZONES)).toMatch(/either captures or --hours/);
  expect(await refused('zones', 'test', ZONES, '--hours', '24')).toMatch(/nothing can be tested against/);
});

it('settings have versions', async () => {
  const file = path.join(folder, 'retention.json');
  fs.writeFileSync(file, await say('settings', 'show', 'retention'));
  await say('settings', 'set', 'retention', file);
  expect(await rows('settings', 'versions', 'retention')).toEqual([expect.objectContaining({ version: 1, changed_by: 'root' })]);
  // Not the version of the program.
  expect(JSON.parse(await say('settings', 'show', 'retention', '--version', '1'))).toEqual(
    JSON.parse(fs.readFileSync(file, 'utf8')),
  );
});

it('backups are listed with what was tried, and deleted', async () => {
  const [file] = (await say('backup', 'create', '--config', '')).split(': ');
  expect(await rows('backup', 'runs')).toContainEqual(
    expect.objectContaining({ kind: 'backup', outcome: 'done', file: path.basename(file) }),
  );
  await say('backup', 'delete', path.basename(file));
  expect([fs.existsSync(file), await rows('backup', 'list')]).toEqual([false, []]);
  expect(await refused('backup', 'delete', path.basename(file))).toMatch(/no backup/);
});

it('a destination is asked to be tried again', async () => {
  const file = path.join(folder, 'forwarding.json');
  const destinations = [{ name: 'log', type: 'file', file_name: 'alerts.jsonl' }];
  fs.writeFileSync(file, JSON.stringify({ destinations }));
  await say('forward', 'set', file);
  await say('forward', 'retry', 'log');
  const database = new ApplianceDatabase(folder);
  const asked = database.db.prepare('SELECT retry_asked_ms FROM forward_destinations').pluck().get();
  database.close();
  expect(asked).toBeGreaterThan(0);
  expect(await refused('forward', 'retry', 'siem')).toMatch(/there is no destination "siem"/);
});

it('sanity tells of backups, and of what waits for destinations', async () => {
  const { stdout } = await ot(['sanity', '--data', folder]);
  expect(stdout).toMatch(/^last backup +none$/m);
  await say('backup', 'create', '--config', '');
  const { stdout: after } = await ot(['sanity', '--data', folder]);
  expect(after).toMatch(/^last backup +20\d\d-/m);
  expect(after).toMatch(/^forwarding +log: \d+ waiting$/m);
});

it('a bundle that was uploaded is discarded', async () => {
  expect(await say('update', 'discard')).toBe('no bundle was staged\n');
});
