import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import {
  addressText,
  EXTERNAL,
  parseMac,
  parseSubnet,
  type Subnet,
  subnetInterval,
  UNPLACED,
  type Zone,
  ZoneTable,
} from './zones.ts';

// The property tests take their time on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const place = { line: 1, column: 1 };

function zone(name: string, members: { subnets?: string[]; devices?: string[]; vlans?: [number, number][] }): Zone {
  const made: Zone = { name, description: '', level: null, subnets: [], macs: [], vlans: [], ...place };
  const add = (text: string, device: boolean) => {
    const mac = parseMac(text);
    const parsed = parseSubnet(text);
    if (mac.ok) made.macs.push({ ...mac.value, text, ...place });
    else if (parsed.ok) made.subnets.push({ ...parsed.value, device, text, ...place });
    else throw new Error(parsed.message);
  };
  for (const text of members.subnets ?? []) add(text, false);
  for (const text of members.devices ?? []) add(text, true);
  for (const [first, last] of members.vlans ?? []) made.vlans.push({ first, last, ...place });
  return made;
}

/** Words of an address and, after a blank, a MAC address. */
function find(table: ZoneTable, text: string, vlan = -1): number {
  const [address, macText] = text.split(' ');
  const parsed = parseSubnet(address);
  if (!parsed.ok) throw new Error(parsed.message);
  const mac = macText ? parseMac(macText) : null;
  const [high, low] = mac?.ok ? [mac.value.high, mac.value.low] : [-1, -1];
  return table.ofAddress(...parsed.value.words, vlan, high, low);
}

describe('subnets', () => {
  it.each([
    ['10.1.0.0/16', 4, [0, 0, 0xffff, 0x0a010000], 16],
    ['0.0.0.0/0', 4, [0, 0, 0xffff, 0], 0],
    ['192.168.1.7', 4, [0, 0, 0xffff, 0xc0a80107], 32],
    ['fd00::/8', 6, [0xfd000000, 0, 0, 0], 8],
    ['2001:db8::1', 6, [0x20010db8, 0, 0, 1], 128],
    ['::/0', 6, [0, 0, 0, 0], 0],
    ['::ffff:10.0.0.0/104', 4, [0, 0, 0xffff, 0x0a000000], 8],
  ])('%s', (text, family, words, prefix_length) => {
    expect(parseSubnet(text)).toEqual({ ok: true, value: { family, words, prefix_length } });
  });

  it.each([
    ['10.1.2.3/16', '"10.1.2.3/16" has bits set behind its prefix; the subnet is 10.1.0.0/16'],
    ['fd00::1/64', '"fd00::1/64" has bits set behind its prefix; the subnet is fd00::/64'],
    ['10.1.0.0/33', '"/33" is not a prefix length from 0 to 32'],
    ['10.1.0.0/', '"/" is not a prefix length from 0 to 32'],
    ['10.1', '"10.1" is not an IPv4 or IPv6 address'],
    ['0x0a.1.1.1', '"0x0a.1.1.1" is not an IPv4 or IPv6 address'],
    ['010.1.1.1', '"010.1.1.1" is not an IPv4 or IPv6 address'],
    ['10.1.1.256/24', '"10.1.1.256/24" is not an IPv4 or IPv6 subnet'],
    ['fe80::1%eth0', '"fe80::1%eth0" is not an IPv4 or IPv6 address'],
    ['plc', '"plc" is not an IPv4 or IPv6 address'],
    ['1/2/3', '"1/2/3" is not a subnet'],
  ])('refuses %s', (text, message) => {
    expect(parseSubnet(text)).toEqual({ ok: false, message });
  });

  it('reads MAC addresses in the usual spellings', () => {
    for (const text of ['00:1b:1B:12:34:56', '00-1b-1b-12-34-56', '001b.1b12.3456'])
      expect(parseMac(text)).toEqual({ ok: true, value: { high: 0x001b, low: 0x1b123456 } });
    for (const text of ['00:1b:1b:12:34', '00:1b-1b:12:34:56', '001b1b123456', '']) expect(parseMac(text).ok).toBe(false);
  });
});

describe('the place of an address', () => {
  const table = new ZoneTable([
    zone('plant', { subnets: ['10.0.0.0/8', 'fd00::/16'] }),
    zone('cell', { subnets: ['10.1.0.0/16', '10.2.3.0/25', 'fd00:1::/32'], vlans: [[20, 22]] }),
    zone('engineering', { devices: ['10.1.0.7', '00:1b:1b:12:34:56', '10.2.3.127', 'fd00:1::7'] }),
  ]);

  it.each([
    ['10.9.9.9', -1, 1],
    ['10.1.255.254', -1, 2],
    ['10.2.0.0', -1, 1],
    ['10.1.0.7', -1, 3],
    ['10.1.0.8', -1, 2],
    ['10.2.3.126', -1, 2],
    ['10.2.3.128', -1, 1],
    ['9.255.255.255', -1, EXTERNAL],
    ['11.0.0.0', -1, EXTERNAL],
    ['fd00::1', -1, 1],
    ['fd00:1:ffff::', -1, 2],
    ['fd00:1::7', -1, 3],
    ['fd01::', -1, EXTERNAL],
    // a device's MAC address before the subnet, its IP address before the MAC address
    ['10.9.9.9 00:1b:1b:12:34:56', -1, 3],
    ['10.1.0.7 00:1b:1b:12:34:57', -1, 3],
    // the subnet before the VLAN
    ['10.9.9.9', 20, 1],
    ['172.16.0.1', 20, 2],
    ['172.16.0.1', 22, 2],
    ['172.16.0.1', 23, EXTERNAL],
    ['172.16.0.1', 0, EXTERNAL],
    // no place
    ['224.0.0.251', -1, UNPLACED],
    ['239.255.255.255', 20, UNPLACED],
    ['240.0.0.1', -1, EXTERNAL],
    ['255.255.255.255', -1, UNPLACED],
    ['ff02::1', -1, UNPLACED],
    ['0.0.0.0', -1, UNPLACED],
    ['::', -1, UNPLACED],
    ['169.254.1.1', -1, UNPLACED],
    ['169.253.1.1', -1, EXTERNAL],
    ['fe80::1', -1, UNPLACED],
    ['febf:ffff::1', -1, UNPLACED],
    ['fec0::1', -1, EXTERNAL],
    ['fe80::1', 20, 2],
    ['fe80::1 00:1b:1b:12:34:56', -1, 3],
    // broadcast addresses of the subnets, only in a frame that is a broadcast
    ['10.1.255.255 ff:ff:ff:ff:ff:ff', -1, UNPLACED],
    ['10.1.255.255 00:1b:1b:12:34:57', -1, 2],
    ['10.2.3.127', -1, 3],
    ['10.1.0.8 ff:ff:ff:ff:ff:ff', -1, 2],
    ['10.1.4.255 ff:ff:ff:ff:ff:ff', -1, UNPLACED],
  ])('%s in VLAN %i', (text, vlan, expected) => {
    expect(find(table, text, vlan)).toBe(expected);
  });

  it('of a frame without IP', () => {
    expect(table.ofMac(-1, 0x001b, 0x1b123456)).toBe(3);
    expect(table.ofMac(20, 0x001b, 0x1b123457)).toBe(2);
    expect(table.ofMac(-1, 0x001b, 0x1b123457)).toBe(UNPLACED);
    expect(table.ofMac(20, 0x0180, 0xc200000e)).toBe(UNPLACED);
    expect(table.ofMac(0, 0xffff, -1)).toBe(UNPLACED);
  });

  it('takes words with or without sign', () => {
    const signed = new ZoneTable([zone('a', { subnets: ['200.0.0.0/8', 'ffff:ffff::/32', 'fd00::/8'] })]);
    expect(signed.ofAddress(0, 0, 0xffff, 0xc8000001 | 0, -1, -1, -1)).toBe(1);
    expect(signed.ofAddress(0xfd000000 | 0, 0, 0, 0xffffffff | 0, -1, -1, -1)).toBe(1);
  });

  it('agrees with a plain search for the longest prefix', () => {
    // Few bits vary, so that prefixes nest and touch.
    const bits = fc.integer({ min: 0, max: 15 });
    const subnet4 = fc.tuple(bits, fc.integer({ min: 0, max: 32 })).map(([value, length]) => {
      const address = (0x0a000000 + value * 0x11111) >>> 0;
      const mask = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
      return `${addressText([0, 0, 0xffff, (address & mask) >>> 0])}/${length}`;
    });
    const subnet6 = fc.tuple(bits, bits, fc.integer({ min: 0, max: 128 })).map(([high, low, length]) => {
      const address = (BigInt(0xfd000000 + high) << 96n) | BigInt(low * 0x1111);
      const kept = length === 0 ? 0n : (address >> BigInt(128 - length)) << BigInt(128 - length);
      const words = [96n, 64n, 32n, 0n].map((shift) => Number((kept >> shift) & 0xffffffffn));
      return words[0] === 0 ? 'fd00::/128' : `${addressText(words)}/${length}`;
    });
    const unique = (texts: string[][]) => {
      const seen = new Set<string>();
      return texts.map((list) => list.filter((text) => !seen.has(text) && seen.add(text)));
    };
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.oneof(subnet4, subnet6), { maxLength: 6 }), { minLength: 1, maxLength: 5 }),
        fc.array(fc.tuple(bits, bits, fc.boolean(), fc.integer({ min: -1, max: 1 })), { minLength: 1, maxLength: 30 }),
        (texts, probes) => {
          const zones = unique(texts).map((subnets, index) => zone(String(index), { subnets }));
          const compiled = new ZoneTable(zones);
          const all = zones.flatMap(({ subnets }, index) => subnets.map((subnet) => ({ subnet, number: index + 1 })));
          for (const [high, low, is4, off] of probes) {
            const words: Subnet['words'] = is4
              ? [0, 0, 0xffff, (0x0a000000 + high * 0x11111 + off) >>> 0]
              : [0xfd000000 + high, 0, 0, Math.max(0, low * 0x1111 + off)];
            const { start } = subnetInterval({ family: is4 ? 4 : 6, words, prefix_length: is4 ? 32 : 128 });
            let best = { length: -1, number: EXTERNAL };
            for (const { subnet, number } of all) {
              if (subnet.family !== (is4 ? 4 : 6)) continue;
              const interval = subnetInterval(subnet);
              if (start >= interval.start && start < interval.end && subnet.prefix_length > best.length)
                best = { length: subnet.prefix_length, number };
            }
            expect(compiled.ofAddress(...words, -1, -1, -1)).toBe(best.number);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
