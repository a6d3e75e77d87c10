import { execFile, spawn } from 'node:child_process';
import dgram from 'node:dgram';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestApi, testApi } from '../api/testing.ts';
import { ROOT } from '../cli/testing.ts';
import { mibText, SCALARS, TABLES } from './mib.ts';
import { engineId, SNMP, SnmpAgent } from './snmp.ts';

const run = promisify(execFile);
const has = (program: string) => (process.env.PATH ?? '').split(':').some((folder) => fs.existsSync(path.join(folder, program)));
const missing = ['snmpwalk', 'smilint', 'snmptrapd'].filter((program) => !has(program) && !fs.existsSync(`/usr/sbin/${program}`));
const required = process.env.OT_SENSOR_REQUIRE_SERVERS === '1';
if (missing.length > 0 && !required)
  console.warn(`SKIPPED: SNMP is tested with Debian's tools, and there is no ${missing.join(', ')}`);

/** The modules that ours imports, as the library of the agent brings them; under the names by which the tools look for them. */
function modules(folder: string): string {
  const from = path.join(ROOT, 'node_modules/net-snmp/lib/mibs');
  const to = path.join(folder, 'mibs');
  fs.mkdirSync(to);
  for (const name of fs.readdirSync(from)) fs.copyFileSync(path.join(from, name), path.join(to, path.basename(name, '.mib')));
  fs.writeFileSync(path.join(to, 'OT-SENSOR-MIB'), mibText());
  return to;
}

async function freePort(): Promise<number> {
  const socket = dgram.createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(() => resolve()));
  return port;
}

describe.skipIf(missing.length > 0 && !required)('SNMP', () => {
  let api: TestApi;
  let agent: SnmpAgent;
  let mibs: string;
  let port: number;
  let traps: number;
  const users = [
    {
      name: 'sha1user',
      authentication: 'sha',
      authentication_password: 'auth-pass-1',
      privacy: 'aes',
      privacy_password: 'priv-pass-1',
    },
    {
      name: 'sha256user',
      authentication: 'sha256',
      authentication_password: 'auth-pass-2',
      privacy: 'aes',
      privacy_password: 'priv-pass-2',
    },
  ];
  beforeAll(async () => {
    api = await testApi();
    mibs = modules(api.directory);
    [port, traps] = [await freePort(), await freePort()];
    const receivers = [
      { name: 'trap', host: '127.0.0.1', port: traps, inform: false, community: 'traps' },
      { name: 'inform', host: '127.0.0.1', port: traps, inform: true, community: 'informs' },
      { name: 'v3', host: '127.0.0.1', port: traps, inform: true, user: 'sha256user' },
    ];
    const { settings, health, notifications } = api.context;
    const communities = [{ name: 'station', community: 'waterworks' }];
    settings.write(
      SNMP,
      { enabled: true, address: '127.0.0.1', port, contact: 'control room', communities, users, receivers },
      'test',
      0,
    );
    agent = new SnmpAgent(health, settings, notifications);
  });
  afterAll(async () => {
    agent.stop();
    await api.close();
  });

  const walk = async (access: string[], what: string) => {
    const { stdout } = await run('snmpwalk', [
      '-M',
      mibs,
      '-m',
      'OT-SENSOR-MIB',
      '-t',
      '1',
      '-r',
      '1',
      ...access,
      `127.0.0.1:${port}`,
      what,
    ]);
    return stdout;
  };
  const v3 = (name: string, hash: string, auth: string, priv: string) => [
    '-v3',
    '-l',
    'authPriv',
    '-u',
    name,
    '-a',
    hash,
    '-A',
    auth,
    '-x',
    'AES',
    '-X',
    priv,
  ];

  it('has a MIB that smilint has nothing to say of', async () => {
    const config = path.join(api.directory, 'smi.conf');
    fs.writeFileSync(config, `path ${mibs}\n`);
    const file = path.join(api.directory, 'OT-SENSOR-MIB.txt');
    fs.writeFileSync(file, mibText(99_999));
    const { stdout, stderr } = await run('smilint', ['-c', config, '-l', '6', '-s', file]);
    // What it says of the standard's own modules is not ours.
    expect(`${stdout}${stderr}`.split('\n').filter((line) => line.startsWith(file))).toEqual([]);
  });

  it.each([
    ['v2c', ['-v2c', '-c', 'waterworks']],
    ['v3, SHA-1', v3('sha1user', 'SHA', 'auth-pass-1', 'priv-pass-1')],
    ['v3, SHA-256', v3('sha256user', 'SHA-256', 'auth-pass-2', 'priv-pass-2')],
  ])("answers Debian's snmpwalk with every object by its name: %s", async (_, access) => {
    const said = await walk(access, 'otSensorObjects');
    for (const { name } of SCALARS) expect(said).toContain(`otSensor${name}.0 = `);
    expect(said).toMatch(/otSensorDevices\.0 = Gauge32: 11$/m);
    expect(said).toMatch(/otSensorStatus\.0 = INTEGER: healthy\(1\)$/m);
    expect(said).toMatch(/otSensorRunning\.0 = INTEGER: false\(2\)$/m);
    expect(said).toMatch(/otSensorPacketsReceived\.0 = Counter64: 0 packets$/m);
    expect(said).toMatch(/otSensorVolumePath\.1 = STRING: \//m);
    expect(TABLES.map((one) => one.name)).toEqual(['Interface', 'DropReason', 'Volume']);
    expect(await walk(access, '1.3.6.1.2.1.1')).toMatch(/control room/);
  });

  it.each([
    ['a wrong community', ['-v2c', '-c', 'public']],
    ['a wrong key', v3('sha256user', 'SHA-256', 'auth-pass-X', 'priv-pass-2')],
    ['an unknown user', v3('nobody', 'SHA-256', 'auth-pass-2', 'priv-pass-2')],
  ])('answers nothing to %s', async (_, access) => {
    await expect(walk(access, 'otSensorObjects')).rejects.toThrow();
  });

  it('lets nobody set anything', async () => {
    const set = run('snmpset', [
      '-v2c',
      '-c',
      'waterworks',
      '-t',
      '1',
      '-r',
      '0',
      `127.0.0.1:${port}`,
      '1.3.6.1.2.1.1.4.0',
      's',
      'me',
    ]);
    await expect(set).rejects.toThrow();
    expect(await walk(['-v2c', '-c', 'waterworks'], '1.3.6.1.2.1.1.4')).toMatch(/control room/);
  });

  it('answers hosts that are allowed, by any version, and counts the requests of others', async () => {
    const { settings, health } = api.context;
    const { value } = settings.read(SNMP);
    const access = [
      ['-v1', '-c', 'waterworks'],
      ['-v2c', '-c', 'waterworks'],
      v3('sha256user', 'SHA-256', 'auth-pass-2', 'priv-pass-2'),
    ];
    expect(() => settings.write(SNMP, { ...value, allowed_hosts: ['station'] }, 'test', 0)).toThrow(/neither an address/);
    const restarted = async (allowed_hosts: string[]) => {
      settings.write(SNMP, { ...value, allowed_hosts }, 'test', 0);
      agent.stop();
      agent = new SnmpAgent(health, settings, api.context.notifications);
    };
    await restarted(['192.0.2.0/24', '2001:db8::/32']);
    for (const one of access) await expect(walk(one, '1.3.6.1.2.1.1.4'), one.join(' ')).rejects.toThrow();
    const { snmp_requests_refused } = health.report();
    expect(snmp_requests_refused).toBeGreaterThanOrEqual(access.length);
    await restarted(['192.0.2.0/24', '127.0.0.1']);
    for (const one of access) expect(await walk(one, '1.3.6.1.2.1.1.4'), one.join(' ')).toMatch(/control room/);
    expect(await walk(access[1], 'otSensorSnmpRequestsRefused')).toMatch(
      new RegExp(`Counter64: ${snmp_requests_refused} requests`),
    );
  }, 30_000);

  it('tells receivers of notifications, by trap and inform', async () => {
    const config = path.join(api.directory, 'snmptrapd.conf');
    const file = path.join(api.directory, 'traps.log');
    // A v3 trap is known by the sender's engine, an inform by the receiver's own.
    fs.writeFileSync(
      config,
      `authCommunity log traps\nauthCommunity log informs\ncreateUser -e 0x${engineId(32_473)} sha256user SHA-256 auth-pass-2 AES priv-pass-2\n` +
        'createUser sha256user SHA-256 auth-pass-2 AES priv-pass-2\nauthUser log sha256user\n',
    );
    const args = ['-f', '-C', '-c', config, '-M', mibs, '-m', 'OT-SENSOR-MIB', '-Lf', file, `udp:127.0.0.1:${traps}`];
    const receiver = spawn('snmptrapd', args, {
      env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin`, SNMP_PERSISTENT_DIR: api.directory },
    });
    const read = () => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '');
    try {
      await expect.poll(read, { timeout: 10_000 }).toMatch(/NET-SNMP version/);
      api.context.notifications.raise('disk_low', '/data', '/data is 97 % full.');
      const heard = () => read().match(/otSensorNotificationKind\.0 = STRING: disk_low/g)?.length ?? 0;
      await expect.poll(heard, { timeout: 25_000 }).toBe(3);
      expect(read()).toMatch(/otSensorNotificationSeverity\.0 = STRING: major/);
      expect(read()).not.toMatch(/waterworks|pass-/);
    } finally {
      receiver.kill();
    }
  }, 60_000);
});
