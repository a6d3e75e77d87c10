import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lines, ot, PLANT, remove, temporaryFolder, ZONES } from './testing.ts';

let folder: string;
const zoneFile = (name: string, text: string): string => {
  const file = path.join(folder, name);
  fs.writeFileSync(file, text);
  return file;
};

const GOOD = `default: alert
zones:
  - name: plant
    subnets: [10.0.0.0/8]
  - name: office
    subnets: [192.168.0.0/16]
conduits:
  - name: reading
    from: office
    to: plant
    protocols: modbus
    operations: [read]
`;
const FAULTY = GOOD.replace('modbus', 'modbas').replace('to: plant', 'to: plnt');

beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => remove(folder));

describe('zones check', () => {
  it('has nothing to say of a good file: 0', async () => {
    const file = zoneFile('good.yaml', GOOD);
    const { code, stdout, stderr } = await ot(['zones', 'check', file]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toBe(`${file}: 2 zones, 1 conduits, no faults\n`);
    expect((await ot(['zones', 'check', file, '--format', 'json'])).stdout).toBe('[]\n');
  });

  it('has warnings: 1', async () => {
    const { code, stdout } = await ot(['zones', 'check', ZONES]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^\S+plant\.zones\.yaml:16:15: warning: 10\.10\.10\.20 of zone "engineering" lies in /);
  });

  it('has faults, all of them with line and column: 2', async () => {
    const file = zoneFile('faulty.yaml', FAULTY);
    const { code, stdout } = await ot(['zones', 'check', file]);
    expect(code).toBe(2);
    expect(stdout).toMatch(new RegExp(`^${file}:10:9: fault: .*plnt.*plant`, 'm'));
    expect(stdout).toMatch(new RegExp(`^${file}:11:16: fault: .*modbas.*modbus`, 'm'));
    const rows = lines<{ line: number; severity: string }>((await ot(['zones', 'check', file, '--format', 'jsonl'])).stdout);
    expect(rows.map(({ line, severity }) => [line, severity])).toEqual([
      [10, 'fault'],
      [11, 'fault'],
    ]);
  });

  it('is no YAML: 2', async () => {
    const { code, stdout } = await ot(['zones', 'check', zoneFile('broken.yaml', 'zones: [\n  - {')]);
    expect(code).toBe(2);
    expect(stdout).toMatch(/^\S+broken\.yaml:\d+:\d+: fault: /);
  });

  it('does not hand control characters of names to the terminal', async () => {
    const file = zoneFile('escape.yaml', GOOD.replace('to: plant', 'to: "\\e[31mred"'));
    const { code, stdout } = await ot(['zones', 'check', file]);
    expect(code).toBe(2);
    expect(stdout).toMatch(/\[31mred/);
    expect(stdout).not.toContain('\u001b');
  });
});

describe('zones test', () => {
  it('says what would be raised, and why: 1', async () => {
    const { code, stdout } = await ot(['zones', 'test', ZONES, PLANT, '--format', 'jsonl']);
    expect(code).toBe(1);
    const rows = lines<Record<string, string | number>>(stdout);
    expect(rows.map(({ protocol, operation, count }) => [protocol, operation, count])).toEqual([
      ['s7comm', 'stop', 1],
      ['s7comm', 'start', 1],
      ['modbus', 'read', 1],
      ['modbus', 'write', 2],
    ]);
    expect(rows[0].why).toMatch(/conduit "engineering looks" \(line 40\) comes nearest, but allows only the operations/);
    for (const { frame } of rows) expect(frame).toBeGreaterThan(0);
    const table = await ot(['zones', 'test', ZONES, PLANT]);
    expect(table.code).toBe(1);
    expect(table.stdout.trimEnd().split('\n')).toHaveLength(1 + rows.length);
    for (const shards of ['2', '4']) {
      const sharded = await ot(['zones', 'test', ZONES, PLANT, '--format', 'jsonl', '--shards', shards]);
      expect({ code: sharded.code, stdout: sharded.stdout }).toEqual({ code, stdout });
    }
  });

  it('says that nothing would be raised: 0', async () => {
    const all = zoneFile('allow.yaml', GOOD.replace('default: alert', 'default: allow'));
    expect(await ot(['zones', 'test', all, PLANT])).toEqual({ code: 0, stdout: 'nothing would be raised\n', stderr: '' });
    expect(await ot(['zones', 'test', all, PLANT, '--format', 'json'])).toEqual({ code: 0, stdout: '[]\n', stderr: '' });
  });

  it('refuses a faulty file with its places, and a capture that cannot be read: 2', async () => {
    const file = zoneFile('faulty.yaml', FAULTY);
    for (const args of [
      ['zones', 'test', file, PLANT],
      ['replay', PLANT, '--zones', file, '--data', path.join(folder, 'untouched')],
    ]) {
      const { code, stdout, stderr } = await ot(args);
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
      expect(stderr).toMatch(/^ot-sensor: the zone file has faults; nothing was done\n/);
      expect(stderr).toMatch(/faulty\.yaml:10:9: fault: /);
      expect(stderr).not.toMatch(/\n\s+at /);
    }
    expect(fs.existsSync(path.join(folder, 'untouched'))).toBe(false);
    const { code, stderr } = await ot(['zones', 'test', ZONES, 'missing.pcap']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/missing\.pcap: no such file/);
  });
});
