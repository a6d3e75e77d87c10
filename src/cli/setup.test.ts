import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { execute, ot, PLANT, PROGRAM, remove, temporaryFolder } from './testing.ts';

let folder: string;
let config: string;
const at = (name: string) => path.join(folder, name);
const read = (name: string) => fs.readFileSync(at(name), 'utf8');
/** Any interface of this machine that the API is not served on. */
const mirror_port = fs.readdirSync('/sys/class/net').find((name) => name !== 'lo') ?? 'lo';
const setup = (...args: string[]) => ot(['setup', '--seconds', '0', '--config', config, ...args]);

beforeEach(() => {
  folder = temporaryFolder();
  config = at('sensor.yaml');
});
afterEach(() => remove(folder));

describe('ot-sensor setup', () => {
  it('writes settings by a file of answers, which config check has nothing against', async () => {
    fs.writeFileSync(at('answers.yaml'), `mirror_ports: [${mirror_port}]\nhost: 127.0.0.1\nport: 9443\ndata: ${at('data')}\n`);
    const { code, stdout, stderr } = await setup('--answers', at('answers.yaml'));
    expect(code, stderr).toBe(0);
    expect(stdout).toContain(`${config} was written\n`);
    expect(read('sensor.yaml')).toContain('port: 9443');
    expect((await ot(['config', 'check', config])).stdout).toContain(`no faults; captures from ${mirror_port}`);
    expect((await ot(['setup', 'done', '--config', config])).code).toBe(0);
    expect(fs.statSync(at('data')).mode & 0o777).toBe(0o700);
  });

  it('replaces settings only where that is asked for, keeps the ones before, and what it does not ask about', async () => {
    const before = `# ours\nshards: 3\ncapture:\n  interfaces:\n    - name: ${mirror_port}\n      filter: tcp\n    - name: gone0\ndata: ${at('data')}\n`;
    fs.writeFileSync(config, before, { mode: 0o640 });
    const refused = await setup('--mirror-port', mirror_port);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('--yes (or "overwrite: true") replaces it. Nothing was written');
    expect(read('sensor.yaml')).toBe(before);
    const { code, stderr } = await setup('--mirror-port', mirror_port, '--yes', '--port', '444');
    expect(code, stderr).toBe(0);
    const after = read('sensor.yaml');
    for (const kept of ['# ours', 'shards: 3', 'filter: tcp', 'port: 444']) expect(after).toContain(kept);
    expect(after).not.toContain('gone0');
    const [backup] = fs.readdirSync(folder).filter((name) => /^sensor\.yaml\.\d{8}T\d{6}Z$/.test(name));
    expect(read(backup)).toBe(before);
    expect(fs.statSync(config).mode & 0o777).toBe(0o640);
    expect((await setup('--mirror-port', mirror_port)).stdout).toContain('is as it was');
  });

  it('prefers options to the file of answers', async () => {
    fs.writeFileSync(at('answers.yaml'), `mirror_ports: [nothing0]\nport: 1\ndata: ${at('data')}\n`);
    const { code, stderr } = await setup('--answers', at('answers.yaml'), '--mirror-port', mirror_port, '--port', '9000');
    expect(code, stderr).toBe(0);
    expect(read('sensor.yaml')).toContain('port: 9000');
  });

  it.each([
    ['no mirror port', ['--port', '9000'], /name the mirror ports/],
    ['an interface that is not there', ['--mirror-port', 'nothing0'], /nothing0: no such interface; there are .*lo/],
    [
      'the API on a mirror port',
      ['--mirror-port', 'lo'],
      /the mirror port lo has the address 127\.0\.0\.1, where the API must not be/,
    ],
    ['the API on all addresses, a mirror port among them', ['--mirror-port', 'lo', '--host', '0.0.0.0'], /instead of 0\.0\.0\.0/],
    ['an address of another machine', ['--mirror-port', mirror_port, '--host', '203.0.113.77'], /is no address of this machine/],
    ['a name for an address', ['--mirror-port', mirror_port, '--host', 'sensor.example'], /is an IP address/],
  ])('refuses %s, and writes nothing', async (_, args, message) => {
    const { code, stderr } = await setup(...args);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
    expect(fs.readdirSync(folder)).toEqual([]);
  });

  it('says every fault of the answers with its place', async () => {
    fs.writeFileSync(at('answers.yaml'), 'mirror_port: eth1\nport: 70000\noverwrite: perhaps\n');
    const { code, stderr } = await setup('--answers', at('answers.yaml'));
    expect(code).toBe(2);
    expect(stderr).toMatch(/answers\.yaml:1:1.*"mirror_port".*did you mean "mirror_ports"/);
    expect(stderr).toMatch(/answers\.yaml:2:7.*1 to 65535\n.*answers\.yaml:3:12.*true or false/);
  });

  it('proposes zones of what the database knows, under which nothing of it would be raised', async () => {
    await ot(['replay', PLANT, '--data', at('data')]);
    const { code, stdout, stderr } = await setup('--mirror-port', mirror_port, '--data', at('data'), '--propose-zones');
    expect(code, stderr).toBe(0);
    expect(stdout).toContain(`${at('zones-proposed.yaml')}: 4 zones and `);
    expect(read('zones-proposed.yaml')).toMatch(/^# A PROPOSAL, made from the conversations in the database\./);
    const check = await ot(['zones', 'check', at('zones-proposed.yaml')]);
    expect({ code: check.code, stdout: check.stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining('no faults') });
    const test = await ot(['zones', 'test', at('zones-proposed.yaml'), PLANT]);
    expect({ code: test.code, stdout: test.stdout }).toEqual({ code: 0, stdout: 'nothing would be raised\n' });
    // One that somebody works on stays.
    await setup('--mirror-port', mirror_port, '--data', at('data'), '--propose-zones');
    expect(fs.existsSync(at('zones-proposed-2.yaml'))).toBe(true);
  });

  it('asks on a terminal, and takes what stands there where the answer is empty', async () => {
    const answers = `${mirror_port}\n127.0.0.1\n\n${at('data')}\nno\n`;
    const command = `'${process.execPath}' '${PROGRAM}' setup --seconds 0 --config '${config}'`;
    const { code, stdout } = await execute('script', ['-qec', command, '/dev/null'], { input: answers });
    expect(code, stdout).toBe(0);
    expect(stdout).toContain('Mirror ports (names separated by commas)');
    expect(read('sensor.yaml')).toMatch(new RegExp(`host: 127.0.0.1\\n {2}port: 8443\\n[^]*- name: ${mirror_port}\n`));
  });

  it('changes nothing where the answers end early', async () => {
    const command = `'${process.execPath}' '${PROGRAM}' setup --seconds 0 --config '${config}'`;
    const { code, stdout } = await execute('script', ['-qec', command, '/dev/null'], { input: `${mirror_port}\n\x04` });
    expect(code, stdout).toBe(2);
    expect(stdout).toContain('broken off; nothing was changed');
    expect(fs.readdirSync(folder)).toEqual([]);
  });

  it('names the management address in a certificate of its own making', async () => {
    const address = Object.values(os.networkInterfaces())
      .flatMap((list) => list ?? [])
      .find(({ internal, family }) => !internal && family === 'IPv4')?.address;
    if (address === undefined) return;
    await ot(['setup', 'prepare', '--config', writeConfig()]);
    const names = async () => (await ot(['certificate', 'show', '--data', at('data')])).stdout;
    expect(await names()).not.toContain(address);
    const other = 'lo';
    const { code, stderr } = await setup('--mirror-port', other, '--host', address, '--yes');
    expect(code, stderr).toBe(0);
    expect(await names()).toContain(address);
  });
});

function writeConfig(): string {
  fs.writeFileSync(config, `data: ${at('data')}\n`);
  return config;
}
