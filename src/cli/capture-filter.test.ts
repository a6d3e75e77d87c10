import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ot, PLANT, remove, temporaryFolder } from './testing.ts';

let folder: string;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => remove(folder));

const settings = (interfaces: string): string => {
  const file = path.join(folder, 'sensor.yaml');
  fs.writeFileSync(file, `capture:\n  interfaces:\n${interfaces}`);
  return file;
};
const noTcpdump = spawnSync('tcpdump', ['--version']).error !== undefined;

describe('capture-filter', () => {
  it('shows the filter, what it is for untagged packets, and what libpcap says about it', async () => {
    const { code, stdout, stderr } = await ot(['capture-filter', '-i', 'host 10.0.0.5', '-x', 'port tcp/445']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const [plain, , filter, said] = stdout.split('\n');
    expect(plain).toMatch(/^# without a tag: not \(ether proto .*\) and \(host 10\.0\.0\.5\) and not \(tcp port 445\)$/);
    const expression = plain.replace('# without a tag: ', '');
    expect(filter).toBe(`(${expression}) or (vlan and ((${expression}) or (vlan and (${expression}))))`);
    expect(said).toMatch(/^# (understood by libpcap .*: about \d+ of the 4096 instructions|not checked: )/);
  });

  it.skipIf(noTcpdump)('can be given to tcpdump as it is', async () => {
    const packets = async (...filter: string[]) => {
      const { stdout } = await ot(['capture-filter', '--for-files', ...filter]);
      const {
        stdout: lines,
        stderr,
        status,
      } = spawnSync('tcpdump', ['-nr', PLANT, stdout.replace(/^#.*\n/gm, '').trim()], { encoding: 'utf8' });
      expect(status, stderr).toBe(0);
      return lines.trim().split('\n').length;
    };
    const all = spawnSync('tcpdump', ['-nr', PLANT], { encoding: 'utf8' }).stdout.trim().split('\n').length;
    const modbus = await packets('-i', 'port tcp/502');
    expect(modbus).toBeGreaterThan(10);
    expect(modbus + (await packets('-x', 'port tcp/502'))).toBe(all);
  });

  it('shows the filters of the settings, by interface', async () => {
    const file = settings(
      "    - {name: eth1, include: ['vlan 20', 'vlan 30']}\n    - {name: eth2, filter: tcp}\n    - name: eth3\n",
    );
    const { code, stdout } = await ot(['capture-filter', '--config', file]);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^# eth1\n# without a tag: .*0xfff = 20 .*0xfff = 30.*\n\n# eth2\ntcp\n.*\n\n# eth3\n# everything is captured\n$/s,
    );
    const one = await ot(['capture-filter', '--config', file, '--interface', 'eth2']);
    expect(one.stdout).toMatch(/^# eth2\ntcp\n/);
  });

  it.each([
    ['nothing', [], /name what to capture with --include/],
    [
      'an entry that makes no sense',
      ['-i', 'host plc'],
      /^ot-sensor: "host plc": after "host" comes an IPv4, IPv6 or MAC address\n$/,
    ],
    ['an interface without settings', ['--interface', 'eth1'], /give --config too/],
    ['both', ['-i', 'vlan 7', '--config', 'x.yaml'], /not both/],
  ])('refuses %s', async (_, args, why) => {
    const { code, stdout, stderr } = await ot(['capture-filter', ...args]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(why);
  });

  it('tells of settings that are wrong, and of an interface that is not in them', async () => {
    const wrong = await ot(['capture-filter', '--config', settings('    - {name: eth1, include: [vlan]}\n')]);
    expect(wrong).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/sensor\.yaml:3:\d+.*after "vlan" comes a VLAN identifier/),
    });
    const none = await ot(['capture-filter', '--config', settings('    - name: eth1\n'), '--interface', 'eth9']);
    expect(none).toMatchObject({ code: 2, stderr: expect.stringMatching(/has no interface "eth9"; there are eth1/) });
  });
});
