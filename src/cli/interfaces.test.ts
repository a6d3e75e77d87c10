import { spawn } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MirrorPorts, numberedFrame, whyNoLiveCapture } from '../../native-bindings/pcap/testing.ts';
import { findCap } from '../capture/cap-source.ts';
import { bytes, ethernet, ipv4, MAC_A, MAC_B, MODBUS, tcp } from '../decode/testing.ts';
import { type Ended, lines, ot, PLANT, PROGRAM } from './testing.ts';

const skipped = whyNoLiveCapture() !== '';

interface Row {
  name: string;
  up: boolean;
  link: boolean | null;
  mtu: number;
  backend?: string;
  limitations?: string[];
  packets_per_second?: number;
  dropped_by_kernel?: number | null;
  traffic?: { packets: number; seconds: number; vlans: { name: string }[]; protocols: { name: string }[] };
  verdicts?: { code: string; text: string }[];
}

describe('interfaces', () => {
  it('judges a capture file', async () => {
    const { code, stdout, stderr } = await ot(['interfaces', '--file', PLANT, '--format', 'json']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const [row] = JSON.parse(stdout) as Row[];
    expect(row.verdicts).toEqual([{ code: 'healthy', text: 'healthy mirror port' }]);
    expect(row.traffic!.protocols[0].name).toBe('modbus');
    const table = await ot(['interfaces', '--file', PLANT]);
    expect(table.stdout).toMatch(/^interface +link +.*verdict\n.*plant\.pcap .*modbus tpkt.* healthy mirror port\n$/);
  });

  it('lists without listening', async () => {
    const { code, stdout } = await ot(['interfaces', '--seconds', '0', '--format', 'jsonl']);
    expect(code).toBe(0);
    const [lo] = lines<Row>(stdout).filter(({ name }) => name === 'lo');
    expect(lo).toMatchObject({ name: 'lo', mac: null, loopback: true });
    expect(lo.traffic).toBeUndefined();
  });

  it.each([
    ['an interface that is not there', ['--interface', 'nosuch0'], /nosuch0: no such interface; there are .*lo/],
    ['a file that is not there', ['--file', 'missing.pcap'], /missing\.pcap: no such file/],
    ['a time that is none', ['--seconds', 'long'], /whole number from 0 to 3600/],
    ['a backend that is none', ['--backend', 'dpdk'], /Allowed choices are auto, libpcap, cap/],
  ])('refuses %s', async (_, args, why) => {
    const { code, stdout, stderr } = await ot(['interfaces', ...args]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(why);
  });
});

describe.skipIf(skipped)('interfaces, on mirror ports', () => {
  let ports: MirrorPorts;
  beforeAll(() => {
    ports = new MirrorPorts(4);
    ports.ip('link', 'set', 's2', 'down');
    ports.ip('link', 'set', 'm3', 'down');
  });
  afterAll(() => ports?.close());

  /** Runs the command in the namespace of the ports, `before` in front of it. */
  function listen(args: string[], before: string[] = []): Promise<Ended> {
    const command = [...before, process.execPath, PROGRAM, 'interfaces', ...args];
    const child = spawn('ip', ['netns', 'exec', ports.namespace, ...command], { stdio: ['ignore', 'pipe', 'pipe'] });
    const ended: Ended = { code: 0, stdout: '', stderr: '' };
    child.stdout.on('data', (bytes: Buffer) => {
      ended.stdout += bytes;
    });
    child.stderr.on('data', (bytes: Buffer) => {
      ended.stderr += bytes;
    });
    return new Promise((resolve) => child.once('close', (code) => resolve({ ...ended, code: code ?? -1 })));
  }
  const frame = (back: boolean, client: number, identification = 0) => {
    const [source_port, destination_port] = back ? [502, client] : [client, 502];
    const [source, destination] = back ? ['0a000002', '0a000001'] : ['0a000001', '0a000002'];
    const inside = ipv4(tcp(MODBUS, { source_port, destination_port }), { protocol: 6, source, destination, identification });
    return ethernet(0x0800, inside, back ? MAC_B : MAC_A, back ? MAC_A : MAC_B);
  };
  const arp = ethernet(
    0x0806,
    bytes('0001 0800 0604 0001', MAC_A, '0a000001', '000000000000', '0a000002'),
    MAC_A,
    'ffffffffffff',
  );
  const times = (count: number, make: (i: number) => Uint8Array) => Array.from({ length: count }, (_, i) => make(i));

  it('tells a mirror port from others, what comes in, and what is wrong', async () => {
    const one_way = ports.frames(
      'one-way.pcap',
      times(200, (i) => frame(i % 4 === 0, i % 2 === 0 ? 40_000 : 40_001, 1 + i)),
    );
    const broadcast = ports.frames(
      'broadcast.pcap',
      times(50, () => arp),
    );
    const answer = listen(['--seconds', '3', '--format', 'json']);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await Promise.all([
      ports.send(one_way, { packets_per_second: 1000 }),
      ports.send(broadcast, { pair: 1, packets_per_second: 1000 }),
    ]);
    const { code, stdout, stderr } = await answer;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const rows = new Map((JSON.parse(stdout) as Row[]).map((row) => [row.name, row]));
    const verdict = (name: string) => rows.get(name)!.verdicts?.map(({ code }) => code);
    expect(rows.get('m0')).toMatchObject({ backend: 'libpcap', dropped_by_kernel: 0, packets_per_second: 67, mtu: 9000 });
    expect(rows.get('m0')!.traffic).toMatchObject({ packets: 200, seconds: 3, connections: 2, one_way_connections: 1 });
    expect(rows.get('m0')!.verdicts).toEqual([
      {
        code: 'one_way',
        text: 'half of the connections are one-way: mirror both directions (ingress and egress, all members of a link bundle)',
      },
    ]);
    expect(verdict('m1')).toEqual(['only_broadcast']);
    expect(rows.get('m2')).toMatchObject({ up: true, link: false });
    expect(verdict('m2')).toEqual(['no_link']);
    expect(rows.get('m3')).toMatchObject({ up: false });
    expect(verdict('m3')).toBeUndefined();
    expect(verdict('lo')).toBeUndefined();
  });

  it('shows it as a table, through a filter', async () => {
    const answer = listen(['--interface', 'm0', '--seconds', '3', '--filter', 'ether proto 0x88b5']);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const frames = times(100, (i) => (i % 2 === 0 ? frame(false, 40_000) : numberedFrame(i, 64, [[0x8100, 20]])));
    await ports.send(ports.frames('mixed.pcap', frames), { packets_per_second: 1000 });
    const { code, stdout } = await answer;
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^interface +link +backend +packets\/s .*verdict\nm0 +on +libpcap +17 .*100 % +0 % +0 % +20 +0x88b5 .*0\/0 .*\n$/,
    );
  });

  it('refuses a filter that is not understood', async () => {
    const { code, stdout, stderr } = await listen(['--interface', 'm0', '--seconds', '1', '--filter', 'tcp porto 1']);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^ot-sensor: m0: the filter "tcp porto 1" is not understood: /);
  });

  it('without permission lists only, and says why', async () => {
    const unprivileged = [
      'setpriv',
      '--reuid=65534',
      '--regid=65534',
      '--clear-groups',
      '--inh-caps=-all',
      '--bounding-set=-all',
    ];
    const { code, stdout, stderr } = await listen(['--format', 'jsonl'], unprivileged);
    expect(code).toBe(0);
    expect(lines<Row>(stdout).map(({ name }) => name)).toContain('m0');
    expect(lines<Row>(stdout).every(({ traffic }) => traffic === undefined)).toBe(true);
    expect(stderr).toMatch(/^ot-sensor: m0: capturing is not permitted.*CAP_NET_RAW.*; the interfaces are only listed\n$/);
  });

  it.skipIf(findCap() === null)('says what the other backend cannot do', async () => {
    const { stdout, stderr } = await listen(['--interface', 'm0', '--seconds', '1', '--backend', 'cap']);
    expect(stdout).toMatch(/\nm0 +on +cap +0 .* \?\/0 .* nothing arrives/);
    expect(stderr).toMatch(
      /^ot-sensor: cap: packets bear the time at which they were read.*\not-sensor: cap: packets that the kernel drops are not counted/,
    );
    const { stdout: json } = await listen(['--interface', 'm0', '--seconds', '1', '--backend', 'cap', '--format', 'jsonl']);
    const [row] = lines<Row>(json);
    expect(row).toMatchObject({ backend: 'cap', dropped_by_kernel: null });
    expect(row.limitations!.length).toBeGreaterThan(3);
  });

  it('sends nothing', () => {
    for (const name of ['m0', 'm1', 'm2', 'm3']) expect(ports.counters(name).sent).toBe(0);
  });
});
