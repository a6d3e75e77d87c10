import fs from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fixture, ot, PLANT, ROOT, remove, shell, temporaryFolder, ZONES } from './testing.ts';

const COMMANDS = [
  'interfaces',
  'capture-filter',
  'replay',
  'dissect',
  'fields',
  'devices',
  'connections',
  'alerts',
  'events',
  'zones',
  'evidence',
  'recording',
  'run',
  'config',
];

let folder: string;
const inFolder = (name: string, content: string | Buffer): string => {
  const file = path.join(folder, name);
  fs.writeFileSync(file, content);
  return file;
};

beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => remove(folder));

describe('help', () => {
  it('lists every command, with examples and exit codes', async () => {
    const { code, stdout, stderr } = await ot(['--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${command}\\b`, 'm'));
    expect(stdout).toMatch(/Examples:.*Exit codes: 0 .* 1 .* 2 /s);
  });

  const SUBCOMMANDS = COMMANDS.filter((name) => name !== 'zones' && name !== 'config').map((name) => [name]);
  const INNER = [
    ['zones', 'check'],
    ['zones', 'test'],
    ['config', 'reference'],
    ['config', 'check'],
    ['recording', 'list'],
    ['recording', 'export'],
  ];
  it.each([...SUBCOMMANDS, ...INNER])('%s %s has examples', async (...command) => {
    const { code, stdout, stderr } = await ot([...command.filter(Boolean), '--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^Usage: ot-sensor/);
    expect(stdout).toMatch(/Examples?:\n {2}\$ .*ot-sensor/);
  });

  it('tells the version of package.json', async () => {
    const { version } = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { version: string };
    expect(await ot(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });
});

describe('what is wrong is said on standard error, with what to do, and the exit code is 2', () => {
  const CASES: [string, string[], RegExp][] = [
    ['no command', [], /Usage: ot-sensor/],
    ['unknown command', ['bogus'], /unknown command 'bogus'\nsee: ot-sensor --help/],
    ['a name every object has', ['toString'], /unknown command 'toString'/],
    ['nearly a command', ['devcies'], /Did you mean devices\?/],
    ['unknown command of zones', ['zones', 'chekc', 'x'], /unknown command 'chekc'\n.*check.*\nsee: ot-sensor zones --help/],
    ['unknown option', ['devices', '--bogus'], /unknown option '--bogus'\nsee: ot-sensor devices --help/],
    ['no file', ['replay'], /missing required argument 'file'\nsee: ot-sensor replay --help/],
    ['no zone file', ['zones', 'check'], /missing required argument 'file'\nsee: ot-sensor zones check --help/],
    ['no capture', ['zones', 'test', ZONES], /give either captures or --hours/],
    ['too many arguments', ['devices', 'x'], /too many arguments/],
    ['no output file', ['evidence', '1'], /required option '-o, --out <file.pcap>' not specified/],
    ['unknown format', ['devices', '--format', 'xml'], /Allowed choices are table, json, jsonl/],
    ['number that is none', ['devices', '--limit', 'many'], /whole number from 1 to 1000000/],
    ['number too small', ['dissect', '--shards', '0', PLANT], /whole number from 1 to 64/],
    ['number too large', ['dissect', '--shards', '65', PLANT], /whole number from 1 to 64/],
    ['alert that is no number', ['evidence', 'x', '--out', 'y'], /whole number/],
    ['speed that is none', ['replay', '--speed', 'fast', PLANT], /max, real or a factor such as ×10/],
    ['speed 0', ['replay', '--speed', '×0', PLANT], /max, real or a factor/],
    ['time that is none', ['alerts', '--since', 'yesterday'], /a time such as 2026-01-31/],
    ['address that is none', ['connections', '--ip', '10.0.0'], /IPv4 or IPv6 address/],
    ['MAC address that is none', ['devices', '--mac', '00:11'], /MAC address such as/],
    ['unknown severity', ['alerts', '--severity', 'major,terrible'], /Known are warning, minor, major, critical/],
    ['unknown kind of alert', ['alerts', '--kind', 'bogus'], /Known are .*zone_crossing/],
    ['unknown kind of event', ['events', '--kind', 'bogus'], /Known are .*address_changed/],
    ['unknown operation', ['connections', '--activities', '--operation', 'x'], /Known are .*program_download/],
    ['operation of connections', ['connections', '--operation', 'read'], /give --activities too/],
    ['unknown protocol of fields', ['fields', 'bogus'], /no protocol "bogus"; known are .*modbus/],
    ['unknown protocol of dissect', ['dissect', '-p', 'modbus,bogus', PLANT], /no protocol "bogus"; known are/],
    ['unknown protocol of devices', ['devices', '--protocol', 'bogus'], /no protocol "bogus"/],
    ['unknown protocol of connections', ['connections', '--protocol', 'bogus'], /no protocol "bogus"/],
    ['unknown protocol of alerts', ['alerts', '--protocol', 'bogus'], /no protocol "bogus"/],
    ['file that is missing', ['dissect', 'missing.pcap'], /missing\.pcap: no such file; check the path/],
    ['folder', ['dissect', fixture('')], /is a directory; name the capture files in it/],
    ['no capture file', ['dissect', ZONES], /plant\.zones\.yaml: is not a capture file/],
    ['no capture among captures', ['dissect', PLANT, ZONES], /plant\.zones\.yaml: is not a capture file/],
    ['link type', ['dissect', fixture('capture-files/link-unknown-unassigned.pcap')], /link type .*60000.*understood are/],
    ['standard input that is empty', ['dissect', '-'], /standard input: is empty/],
    ['zone file that is missing', ['zones', 'check', 'missing.yaml'], /missing\.yaml: no such file or folder; give the path/],
    ['zone file for replay', ['replay', PLANT, '--zones', 'missing.yaml'], /missing\.yaml: no such file or folder/],
    ['zone file that is a folder', ['zones', 'test', fixture(''), PLANT], /is a folder; give the path of a zone file/],
    ['no database', ['devices', '--data', 'nowhere'], /there is no nowhere\/ot-sensor\.db\n.*ot-sensor replay FILE --data/],
    ['what is to be recorded', ['replay', '--record', 'some', PLANT], /Allowed choices are all, ot/],
    ['host that is none', ['recording', 'export', '--host', 'plc', '--out', 'x'], /IPv4 or IPv6 address/],
    ['three hosts', ['recording', 'export', '--out', 'x', ...['1', '2', '3'].flatMap((n) => ['--host', `10.0.0.${n}`])], /twice/],
    ['no recording', ['recording', 'export', '--out', 'x'], /there is no recording of this time in ot-sensor-data\/recording/],
    ['port of recording', ['recording', 'export', '--out', 'x', '--port', '0'], /whole number from 1 to 65535/],
    ['no database for evidence', ['evidence', '1', '--out', 'x.pcap', '--data', 'nowhere'], /there is no nowhere/],
  ];
  it.each(CASES)('%s', async (_what, args, message) => {
    const { code, stdout, stderr } = await ot(args, { cwd: folder });
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/\n\s+at |internal error/);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  it('leaves nothing behind where the command line is wrong', async () => {
    await ot(['replay', '--data', 'untouched', '--zones', 'missing.yaml', PLANT], { cwd: folder });
    await ot(['replay', '--data', 'untouched', 'missing.pcap'], { cwd: folder });
    expect(fs.existsSync(path.join(folder, 'untouched'))).toBe(false);
  });

  it('a data directory that cannot be', async () => {
    const file = inFolder('a-file', '');
    const { code, stdout, stderr } = await ot(['replay', PLANT, '--data', path.join(file, 'data')]);
    expect(stderr).toMatch(/The data directory cannot be written. Check that it exists, its owner and its permissions/);
    expect(stderr).not.toMatch(/\n\s+at /);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  it.skipIf(process.getuid?.() === 0)('a data directory that is not writable', async () => {
    const data = path.join(folder, 'read-only');
    fs.mkdirSync(data, { mode: 0o555 });
    const { code, stdout, stderr } = await ot(['replay', PLANT, '--data', data]);
    expect(stderr).toMatch(/The data directory cannot be written/);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  it('a database that is none', async () => {
    const data = path.join(folder, 'damaged');
    fs.mkdirSync(data);
    fs.writeFileSync(path.join(data, 'ot-sensor.db'), 'this is no database'.repeat(100));
    for (const args of [['devices'], ['replay', PLANT]]) {
      const { code, stdout, stderr } = await ot([...args, '--data', data]);
      expect(stderr).toMatch(/not an ot-sensor database, or it is damaged/);
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    }
  });

  it('a database of a newer version, which is left as it is', async () => {
    const data = path.join(folder, 'newer');
    expect((await ot(['replay', PLANT, '--data', data])).code).toBe(0);
    const database = new Database(path.join(data, 'ot-sensor.db'));
    database.pragma('user_version = 9999');
    database.close();
    for (const args of [['devices'], ['replay', PLANT]]) {
      const { code, stdout, stderr } = await ot([...args, '--data', data]);
      expect(stderr).toMatch(/written by a newer version of ot-sensor/);
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    }
  });

  it('a log level that is none', async () => {
    const { code, stdout, stderr } = await ot(['dissect', PLANT], { env: { OT_SENSOR_LOG_LEVEL: 'loud' } });
    expect(stderr).toBe('ot-sensor: OT_SENSOR_LOG_LEVEL is "loud"; it takes trace, debug, info, warn, error, fatal, silent\n');
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  it('standard output that is full', async () => {
    for (const command of [`dissect '${PLANT}'`, 'fields', '--help', `zones check '${ZONES}'`]) {
      const { code, stderr } = await shell(`ot-sensor ${command} > /dev/full`);
      expect(stderr).toMatch(/^ot-sensor: standard output cannot be written: ENOSPC/m);
      expect(stderr).not.toMatch(/\n\s+at /);
      expect(code).toBe(2);
    }
  });
});

describe('a reader that has enough ends the program quietly', () => {
  it.each([`dissect '${PLANT}'`, 'fields', 'fields --format json', '--help'])('%s', async (command) => {
    const { code, stderr } = await shell(`ot-sensor ${command} | head -c 1 > /dev/null; echo "\${PIPESTATUS[0]}" >&2`);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '0\n' });
  });

  it('is told by a pipe that is closed before anything is written', async () => {
    const { stderr } = await shell(`(sleep 1; ot-sensor fields) | true; echo "\${PIPESTATUS[0]}" >&2`);
    expect(stderr).toBe('0\n');
  });
});
