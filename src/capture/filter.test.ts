import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadPcap } from '../../native-bindings/pcap/index.ts';
import { MirrorPorts, whyNoLiveCapture, writeFrames } from '../../native-bindings/pcap/testing.ts';
import { bytes, ethernet, ipv4, ipv6, ipv6Fragment, MAC_A, MODBUS, tagged, tcp, u16, udp } from '../decode/testing.ts';
import {
  entryFault,
  FilterError,
  type FilterRules,
  filterExpression,
  filterOf,
  MAX_FILTER_ENTRIES,
  plainExpression,
} from './filter.ts';

const noTcpdump = spawnSync('tcpdump', ['--version']).error !== undefined;
if (noTcpdump) console.warn('SKIPPED: tcpdump is not installed (Debian: tcpdump): what filters accept is not compared with it');
const noAddon = (() => {
  try {
    loadPcap();
    return false;
  } catch {
    return true;
  }
})();
const skippedLive = whyNoLiveCapture() !== '';

const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const modbus = tcp(MODBUS, { source_port: 40000, destination_port: 502 });
const fragmented = udp(new Uint8Array(64).fill(7), 5005);
/** What a frame carries: EtherType and payload. 10.0.0.1 → 10.0.0.2 but for `others`. */
const CARRIED: Record<string, [type: number, payload: Uint8Array]> = {
  modbus: [IPV4, ipv4(modbus, { protocol: 6 })],
  answer: [
    IPV4,
    ipv4(tcp(MODBUS, { source_port: 502, destination_port: 40000 }), {
      protocol: 6,
      source: '0a000002',
      destination: '0a000001',
    }),
  ],
  others: [IPV4, ipv4(tcp(MODBUS, { destination_port: 443 }), { protocol: 6, source: '0a010105', destination: '0a010106' })],
  snmp: [IPV4, ipv4(udp(MODBUS, 161), { protocol: 17, source: '0a000001', destination: '0a010106' })],
  modbus6: [IPV6, ipv6(6, modbus)],
  fragment1: [IPV4, ipv4(fragmented.subarray(0, 32), { protocol: 17, more: true })],
  fragment2: [IPV4, ipv4(fragmented.subarray(32), { protocol: 17, offset: 32 })],
  fragment6: [IPV6, ipv6Fragment(17, 1, 32, false, fragmented.subarray(32))],
  arp: [0x0806, bytes('0001 0800 0604 0001', MAC_A, '0a000001', '000000000000', '0a000002')],
  lldp: [0x88cc, bytes('0207 04 020000000001 0403 05 6131 0602 0078 0000')],
};
/** Tags around it, from the outside in: TPID and VLAN. */
const TAGS: Record<string, [tpid: number, vlan: number][]> = {
  '': [],
  '@20': [[0x8100, 20]],
  '@300': [[0x8100, 300]],
  '@0': [[0x8100, 0]],
  '@20.300': [
    [0x88a8, 20],
    [0x8100, 300],
  ],
  '@40.20': [
    [0x8100, 40],
    [0x8100, 20],
  ],
};

interface Frame {
  name: string;
  data: Uint8Array;
}
const FRAMES: Frame[] = Object.entries(CARRIED).flatMap(([name, [type, payload]]) =>
  Object.entries(TAGS).map(([suffix, tags]) => {
    const [outer_type, inside] = tags.reduceRight<[number, Uint8Array]>(
      ([type, payload], [tpid, vlan]) => [tpid, tagged(vlan, type, payload)],
      [type, payload],
    );
    return { name: `${name}${suffix}`, data: padded(ethernet(outer_type, inside)) };
  }),
);

/** The number of a frame lies in its last two bytes, behind what its headers speak of. */
function padded(frame: Uint8Array): Uint8Array {
  return bytes(frame, new Uint8Array(Math.max(0, 60 - frame.length)));
}
const numbered = () => FRAMES.map(({ data }, i) => bytes(data, u16(i)));
const everywhere = (...names: string[]) => names.flatMap((name) => Object.keys(TAGS).map((suffix) => name + suffix));
const under = (...suffixes: string[]) => Object.keys(CARRIED).flatMap((name) => suffixes.map((suffix) => name + suffix));
const ALL = FRAMES.map(({ name }) => name);
const without = (all: readonly string[], ...left_out: readonly string[][]) =>
  all.filter((name) => !left_out.flat().includes(name));
const FRAGMENTS_LATER = everywhere('fragment2', 'fragment6');

const CASES: [what: string, rules: Partial<FilterRules>, captured: string[]][] = [
  ['a host, with its ARP', { include: ['host 10.1.1.6'] }, everywhere('others', 'snmp')],
  ['a host that ARP speaks of', { include: ['host 10.0.0.2'] }, everywhere('modbus', 'answer', 'fragment1', 'fragment2', 'arp')],
  ['an IPv6 host', { include: ['host 2001:DB8::1'] }, everywhere('modbus6', 'fragment6')],
  ['a MAC address', { include: [`host ${MAC_A.match(/../g)!.join('-')}`] }, ALL],
  ['a pair, both ways', { include: ['pair 10.0.0.2 10.0.0.1'] }, everywhere('modbus', 'answer', 'fragment1', 'fragment2', 'arp')],
  ['an IPv6 pair', { include: ['pair 2001:db8::1 2001:db8::2'] }, everywhere('modbus6', 'fragment6')],
  ['a pair of MAC addresses that do not speak', { include: ['pair 02:00:00:00:00:01 02:00:00:00:00:03'] }, []],
  ['a subnet, host bits or not', { include: ['subnet 10.1.1.77/16'] }, everywhere('others', 'snmp')],
  ['an IPv6 subnet', { include: ['subnet 2001:db8::1/33'] }, everywhere('modbus6', 'fragment6')],
  [
    'all of IPv4',
    { include: ['subnet 0.0.0.0/0'] },
    everywhere('modbus', 'answer', 'others', 'snmp', 'fragment1', 'fragment2', 'arp'),
  ],
  [
    'a port, and all later fragments',
    { include: ['port 502'] },
    [...everywhere('modbus', 'answer', 'modbus6'), ...FRAGMENTS_LATER],
  ],
  ['a port of the other transport', { include: ['port udp/502'] }, FRAGMENTS_LATER],
  ['a range of ports', { include: ['port udp/100-200'] }, [...everywhere('snmp'), ...FRAGMENTS_LATER]],
  ['a fragmented datagram by its port', { include: ['port udp/5005'] }, [...everywhere('fragment1'), ...FRAGMENTS_LATER]],
  ['port and host together', { include: ['host 10.0.0.1 port udp/161'] }, everywhere('snmp', 'fragment2')],
  ['several entries', { include: ['host 10.1.1.5', 'port udp/161'] }, [...everywhere('others', 'snmp'), ...FRAGMENTS_LATER]],
  ['a VLAN, on either tag', { include: ['vlan 20'] }, under('@20', '@20.300', '@40.20')],
  ['several VLANs', { include: ['vlan 40', 'vlan 300'] }, under('@300', '@20.300', '@40.20')],
  ['a host in a VLAN', { include: ['vlan 300 host 10.1.1.5'] }, ['others@300', 'others@20.300']],
  [
    'a host in a VLAN, and another one',
    { include: ['vlan 40 host 10.1.1.5', 'host 2001:db8::2'] },
    [...everywhere('modbus6', 'fragment6'), 'others@40.20'],
  ],
  [
    'all but a host',
    { exclude: ['host 10.0.0.1'] },
    without(ALL, everywhere('modbus', 'answer', 'snmp', 'fragment1', 'fragment2', 'arp')),
  ],
  [
    'all but a port: later fragments stay',
    { exclude: ['port 502', 'port udp/5005'] },
    without(ALL, everywhere('modbus', 'answer', 'modbus6', 'fragment1')),
  ],
  ['all but VLANs', { exclude: ['vlan 300', 'vlan 40'] }, under('', '@20', '@0')],
  [
    'all but a host in a VLAN',
    { exclude: ['vlan 20 host 10.1.1.6'] },
    without(ALL, ['others@20', 'others@20.300', 'others@40.20', 'snmp@20', 'snmp@20.300', 'snmp@40.20']),
  ],
  ['a subnet but for a port', { include: ['subnet 10.1.0.0/16'], exclude: ['port tcp/443'] }, everywhere('snmp')],
  [
    'a VLAN but for a host',
    { include: ['vlan 20'], exclude: ['host 10.0.0.1'] },
    without(under('@20', '@20.300', '@40.20'), everywhere('modbus', 'answer', 'snmp', 'fragment1', 'fragment2', 'arp')),
  ],
  [
    'a host but for a VLAN',
    { include: ['host 10.1.1.5'], exclude: ['vlan 300'] },
    ['others', 'others@20', 'others@0', 'others@40.20'],
  ],
];
const rulesOf = ({ include = [], exclude = [] }: Partial<FilterRules>): FilterRules => ({ include, exclude });

/** Names of the frames whose numbers are given. */
const named = (numbers: Iterable<number>) => [...numbers].map((number) => ALL[number]).sort();

describe.skipIf(noTcpdump)('what a filter accepts, by tcpdump over a capture file', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-filter-'));
  const file = path.join(folder, 'frames.pcap');
  beforeAll(() => {
    writeFrames(file, numbered());
  });
  afterAll(() => fs.rmSync(folder, { recursive: true }));

  test.each(CASES)('%s', (_, rules, captured) => {
    const out = path.join(folder, 'out.pcap');
    // As another user tcpdump could not write there.
    execFileSync('tcpdump', ['-Z', 'root', '-r', file, '-w', out, filterExpression(rulesOf(rules), 'file')], { stdio: 'pipe' });
    const content = fs.readFileSync(out);
    const numbers: number[] = [];
    const big = content.readUInt32BE(0) === 0xa1b2c3d4 || content.readUInt32BE(0) === 0xa1b23c4d;
    for (let at = 24; at < content.length; ) {
      const length = big ? content.readUInt32BE(at + 8) : content.readUInt32LE(at + 8);
      at += 16 + length;
      numbers.push(content.readUInt16BE(at - 2));
    }
    expect(named(numbers)).toEqual([...captured].sort());
  });
});

describe.skipIf(skippedLive)('what a filter accepts, in the kernel', () => {
  let ports: MirrorPorts;
  beforeAll(() => {
    ports = new MirrorPorts(1);
  });
  afterAll(() => ports?.close());

  test('each of the cases, one after the other on a running capture', async () => {
    const file = ports.frames('frames.pcap', numbered());
    const program = ports.start(`
      const { LiveSource } = await import(root + 'src/capture/live.js');
      const { BatchWriter, PacketRing, CAPTURED, OFFSET } = await import(root + 'src/capture/batch.js');
      const ring = new PacketRing();
      const batch = new BatchWriter(ring);
      let numbers = [];
      const source = await LiveSource.open({ interfaces: [{ name: 'm0' }] });
      (async () => {
        for (;;) {
          const { filter } = await hear();
          if (filter !== undefined) {
            const refused = await source.setFilter('m0', filter).then(() => '', (error) => error.message);
            numbers = [];
            say({ refused });
          } else {
            await new Promise((resolve) => setTimeout(resolve, 80));
            say({ numbers });
          }
        }
      })();
      for (;;) {
        const used = await source.fill(batch);
        if (used === null) break;
        const { first_frame, count } = batch.next(used);
        for (let frame = first_frame; frame < first_frame + count; frame++) {
          const end = ring.index[ring.entry(frame) + OFFSET] + ring.index[ring.entry(frame) + CAPTURED];
          numbers.push(ring.bytes[end - 2] << 8 | ring.bytes[end - 1]);
        }
      }
    `);
    try {
      for (const [what, rules, captured] of CASES) {
        program.tell({ filter: filterExpression(rulesOf(rules)) });
        expect(await program.next(), what).toEqual({ refused: '' });
        await ports.send(file);
        program.tell({});
        const { numbers } = await program.next<{ numbers: number[] }>();
        expect(named(numbers), what).toEqual([...captured].sort());
      }
    } finally {
      await program.kill();
    }
  }, 60_000);
});

describe('filters', () => {
  test('are shown with the twin behind one tag and behind two', () => {
    const rules = { include: ['host 10.0.0.5'], exclude: [] };
    const plain = 'not (ether proto 0x8100 or ether proto 0x88a8 or ether proto 0x9100) and (host 10.0.0.5)';
    expect(plainExpression(rules)).toBe(plain);
    expect(filterExpression(rules)).toBe(`(${plain}) or (vlan and ((${plain}) or (vlan and (${plain}))))`);
  });

  test('of an interface are its expression or its rules, not both', () => {
    expect(filterOf({ filter: '', include: [], exclude: [] })).toBe('');
    expect(filterOf({ filter: 'tcp', include: [], exclude: [] })).toBe('tcp');
    expect(filterOf({ filter: '', include: ['vlan 7'], exclude: [] })).toBe(
      filterExpression({ include: ['vlan 7'], exclude: [] }),
    );
    expect(() => filterOf({ filter: 'tcp', include: ['vlan 7'], exclude: [] })).toThrow(FilterError);
  });

  test.each([
    ['', /an entry begins with host, pair, subnet, port, vlan, such as/],
    ['10.0.0.5', /an entry begins with/],
    ['constructor x', /an entry begins with/],
    ['host', /after "host" comes an IPv4, IPv6 or MAC address/],
    ['host 10.0.0', /after "host" comes/],
    ['host 010.0.0.1', /after "host" comes/],
    ['host fe80::1%eth0', /after "host" comes/],
    ['host 10.0.0.5) or (ip', /after "host" comes/],
    ['host 10.0.0.5 or', /an entry begins with/],
    ['pair 10.0.0.5', /after "pair" comes two addresses of the same kind/],
    ['pair 10.0.0.5 2001:db8::1', /of the same kind/],
    ['subnet 10.0.0.0', /prefix length/],
    ['subnet 10.0.0.0/33', /prefix length/],
    ['subnet 10.0.0.0/8/8', /prefix length/],
    ['subnet 02:00:00:00:00:01/8', /prefix length/],
    ['port 65536', /a port or a range/],
    ['port 9-8', /a port or a range/],
    ['port icmp/8', /a port or a range/],
    ['vlan 0', /1 to 4094/],
    ['vlan 4095', /1 to 4094/],
    [`host ${'1'.repeat(300)}`, /longer than 200 characters/],
  ])('refuses %j', (entry, why) => {
    expect(entryFault(entry)).toMatch(why);
    expect(() => filterExpression({ include: [], exclude: [entry] })).toThrow(FilterError);
  });

  test('have a limited number of entries', () => {
    const hosts = (count: number) => Array.from({ length: count }, (_, i) => `host 10.0.${i >> 8}.${i & 255}`);
    expect(() => filterExpression({ include: hosts(MAX_FILTER_ENTRIES + 1), exclude: [] })).toThrow(
      /65 entries in "include" and "exclude"; 64 are/,
    );
    expect(filterExpression({ include: hosts(MAX_FILTER_ENTRIES), exclude: [] })).not.toBe('');
  });

  test.skipIf(noAddon)('that are long are understood, and what does not fit is told by libpcap', () => {
    const hosts = Array.from({ length: MAX_FILTER_ENTRIES }, (_, i) => `host 10.0.0.${i}`);
    const instructions = loadPcap().compileFilter(filterExpression({ include: hosts, exclude: [] }));
    expect(instructions).toBeGreaterThan(500);
    expect(instructions).toBeLessThanOrEqual(4096);
    expect(() => loadPcap().compileFilter('host 10.0.0.')).toThrow(/is not understood/);
    // Of IPv6 pairs the kernel's limit comes first.
    const ranges = Array.from(
      { length: MAX_FILTER_ENTRIES / 2 },
      (_, i) => `pair 2001:db8::${i} 2001:db8:1::${i} port ${i}-${i * 3}`,
    );
    expect(() => loadPcap().compileFilter(filterExpression({ include: ranges, exclude: ranges }))).toThrow(
      /the kernel takes 4096/,
    );
  });
});
