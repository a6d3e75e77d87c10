import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { bytes, ethernet, ipv4, MAC_A, MAC_B, MODBUS, tagged, tcp, udp } from '../decode/testing.ts';
import { openCaptureFile, openCaptureInput } from './file-source.ts';
import { measurePorts, noTraffic } from './port-measure.ts';
import { MAX_CONVERSATIONS, MAX_LISTED, type PortFacts, type PortTraffic, type ProtocolNames } from './port-traffic.ts';
import { verdictsOf } from './port-verdict.ts';
import { MemoryInput, pcapFile } from './testing.ts';

const FOLDER = path.resolve(process.env.OT_SENSOR_PCAPS ?? path.join(import.meta.dirname, '../../../shared/pcaps'));
const present = fs.existsSync(path.join(FOLDER, 'MANIFEST.tsv'));
if (!present) console.warn(`SKIPPED: the captures of MANIFEST.tsv are not in ${FOLDER} (OT_SENSOR_PCAPS)`);

const NAMES: ProtocolNames = {
  onPort: (is_tcp, port) => (is_tcp && port === 502 ? 'modbus' : null),
  onEthertype: (ethertype) => (ethertype === 0x88cc ? 'lldp' : null),
  onIp: (protocol) => (protocol === 1 ? 'icmp' : `ip_${protocol}`),
};
const NO_FACTS: PortFacts = { mac: null, mtu: null };

/** What is counted of frames that come a tenth of a second apart, on one interface. */
async function traffic(frames: readonly Uint8Array[], facts = NO_FACTS, wire?: number, link_type = 1): Promise<PortTraffic> {
  const records = frames.map((data, i) => ({
    seconds: 1000 + Math.floor(i / 10),
    fraction: (i % 10) * 100_000,
    data: Buffer.from(data),
    wire,
  }));
  const file = pcapFile({ little: true, magic: 0xa1b2c3d4, link_type }, records);
  const measured = await measurePorts(await openCaptureInput(new MemoryInput(file), 'test'), () => facts, NAMES);
  return measured.traffic[0];
}

const BROADCAST = 'ffffffffffff';
const IPV4 = 0x0800;
const ip = (payload: Uint8Array, protocol: number, source: string, destination: string) =>
  ipv4(payload, { protocol, source, destination });
/** A TCP segment from client to server, or back. */
const segment = (client_port: number, back = false, flags = 0x18, payload: Uint8Array = MODBUS) => {
  const [source_port, destination_port] = back ? [502, client_port] : [client_port, 502];
  const [from, to] = back ? ['0a000002', '0a000001'] : ['0a000001', '0a000002'];
  return ethernet(
    IPV4,
    ip(tcp(payload, { source_port, destination_port, flags }), 6, from, to),
    back ? MAC_B : MAC_A,
    back ? MAC_A : MAC_B,
  );
};
const datagram = (port: number, destination: string, mac = MAC_B) =>
  ethernet(IPV4, ip(udp(MODBUS, port), 17, '0a000001', destination), MAC_A, mac);
const arp = ethernet(0x0806, bytes('0001 0800 0604 0001', MAC_A, '0a000001', '000000000000', '0a000002'), MAC_A, BROADCAST);
const lldp = ethernet(0x88cc, bytes('0207 04 020000000001 0403 05 6131 0602 0078 0000'), MAC_A, '0180c200000e');

describe('counts', () => {
  test('packets, bytes and to whom they went', async () => {
    const seen = await traffic([segment(1), arp, lldp, segment(1, true), datagram(5353, 'e00000fb', '01005e0000fb')]);
    expect(seen).toMatchObject({ packets: 5, unicast: 2, broadcast: 1, multicast: 2, seconds: 0.4, untagged: 5 });
    expect(seen.bytes).toBe(2 * segment(1).length + arp.length + lldp.length + datagram(1, 'e00000fb').length);
  });

  test('of raw IP by the IP address', async () => {
    const raw = [
      ip(udp(MODBUS, 1), 17, '0a000001', 'ffffffff'),
      ip(udp(MODBUS, 1), 17, '0a000001', 'e0000001'),
      ip(udp(MODBUS, 1), 17, '0a000001', '0a000002'),
      bytes('60000000 0000 3b 40', '20010db8000000000000000000000001', 'ff020000000000000000000000000001'),
    ];
    expect(await traffic(raw, NO_FACTS, undefined, 101)).toMatchObject({ unicast: 1, broadcast: 0, multicast: 3 });
  });

  test('VLANs by their stack, most first', async () => {
    const vlan = (...ids: number[]) =>
      ids.reduceRight<[number, Uint8Array]>(
        ([type, inside], id) => [0x8100, tagged(id, type, inside)],
        [0x0806, arp.subarray(14)],
      );
    const frames = [[20], [20, 300], [20], [0], [], [4095, 4095]].map((ids) => ethernet(...vlan(...ids)));
    const { vlans, untagged } = await traffic(frames);
    expect(untagged).toBe(1);
    expect(vlans).toEqual([
      { name: '20', packets: 2 },
      { name: '0', packets: 1 },
      { name: '20.300', packets: 1 },
      { name: '4095.4095', packets: 1 },
    ]);
  });

  test('protocols by the server, and those without a name by number', async () => {
    const frames = [
      segment(40000),
      segment(40000, true),
      datagram(161, '0a000002'),
      lldp,
      arp,
      ethernet(0x88b5, MODBUS),
      ethernet(IPV4, ip(MODBUS, 99, '0a000001', '0a000002')),
    ];
    const { protocols } = await traffic(frames);
    expect(protocols[0]).toEqual({ name: 'modbus', packets: 2 });
    expect(protocols.slice(1).map(({ name }) => name)).toEqual(['0x88b5', 'arp', 'ip_99', 'lldp', 'udp/161']);
  });

  test('connections and conversations of which one side was heard', async () => {
    const both = [segment(1), segment(1, true)];
    const one = [segment(2), segment(2), segment(3), segment(3)];
    const unanswered = [segment(4, false, 2, bytes()), segment(4, false, 2, bytes())];
    const once = [segment(5)];
    const to_many = [datagram(137, '0a0000ff', BROADCAST), datagram(5353, 'e00000fb', '01005e0000fb')];
    const seen = await traffic([...both, ...one, ...unanswered, ...once, ...to_many, datagram(514, '0a000002'), arp]);
    expect(seen).toMatchObject({ connections: 3, one_way_connections: 2, conversations: 6, one_way_conversations: 5 });
    expect(verdictsOf(seen, null)[0].text).toMatch(/^most of the connections are one-way/);
  });

  test('what is of this machine, cut short, merged by the card, in tunnels', async () => {
    const facts = { mac: '02:00:00:00:00:01', mtu: 1500 };
    expect(
      await traffic([segment(1), segment(1, true), ethernet(IPV4, new Uint8Array(60), MAC_B, '020000000009')], facts),
    ).toMatchObject({ own_unicast: 2 });
    expect(await traffic([segment(1)], facts, 1522)).toMatchObject({ cut: 1, merged: 0 });
    expect(await traffic([segment(1, false, 0x18, new Uint8Array(1469))], facts)).toMatchObject({ cut: 0, merged: 1 });
    expect(await traffic([segment(1, false, 0x18, new Uint8Array(1468))], facts)).toMatchObject({ merged: 0 });
    // Transparent Ethernet bridging over GRE (RFC 2784): the frame inside is a broadcast, the one outside is not.
    const gre = ethernet(IPV4, ip(bytes('00006558', arp), 47, '0a000009', '0a000001'), MAC_B, MAC_A);
    expect(await traffic([gre], facts)).toMatchObject({ tunneled: 1, unicast: 1, broadcast: 0, own_unicast: 0 });
  });

  test('packets that come twice, whatever MAC addresses they then have', async () => {
    const twice = Array.from({ length: 20 }, (_, i) => {
      const inside = (more: object) =>
        ipv4(tcp(MODBUS, { sequence: 1 + 12 * i }), { protocol: 6, identification: 1 + i, ...more });
      return [
        ethernet(IPV4, inside({})),
        ethernet(IPV4, inside({}), MAC_B, '020000000009'),
        ethernet(IPV4, inside({ identification: 0 })),
      ];
    }).flat();
    // All at the same time, and a tenth of a second apart.
    const records = twice.map((data, i) => ({ seconds: 1000, fraction: Math.floor(i / 3) * 1000, data: Buffer.from(data) }));
    const file = pcapFile({ little: true, magic: 0xa1b2c3d4 }, records);
    const measured = await measurePorts(await openCaptureInput(new MemoryInput(file), 'test'), () => NO_FACTS, NAMES);
    expect(measured.traffic[0].doubled).toBe(20);
    expect(verdictsOf(measured.traffic[0], null).map(({ code }) => code)).toContain('doubled');
    expect((await traffic(twice)).doubled).toBe(0);
  });

  test('of many more conversations, protocols and VLANs than are kept, and says what was left out', async () => {
    const many = Array.from({ length: MAX_CONVERSATIONS + 500 }, (_, i) =>
      datagram(1000 + (i % 5000), (0x0a010000 + i).toString(16).padStart(8, '0')),
    );
    const seen = await traffic(many);
    expect(seen.packets).toBe(many.length);
    expect(seen.conversations).toBe(many.length);
    expect(seen.conversations_left_out).toBe(500);
    expect(seen.protocols.length).toBe(MAX_LISTED);
    expect(seen.protocols[0].name).toBe('other');
  });

  test('nothing, where nothing came', () => {
    expect(noTraffic(NO_FACTS, NAMES, 5)).toMatchObject({ seconds: 5, packets: 0, vlans: [], protocols: [], connections: 0 });
  });
});

describe.skipIf(!present)('captures of the field', () => {
  test.each([
    ['general/PcapPlusPlus__many_interfaces-1.pcapng', ['healthy', 'silent']],
    ['goose/ICS-Security-Tools__Sample_File_GOOSE.pcap', ['healthy']],
    ['profinet/testing_tools__s71500-change.pcap', ['healthy']],
    ['general/nDPI__toca-boca.pcapng', ['healthy']],
    ['general/gopacket__test102.pcapng', ['cut', 'few', 'few']],
    ['modbus/ICS-Security-Tools__modbus_test_2.pcap', ['doubled']],
    ['enip-cip/gopacket__cip.pcap', ['doubled']],
    ['enip-cip/ICS-Security-Tools__EIP-LockPLCAttempt.pcap', ['one_way']],
    ['general/tcpdump__erspan-type-ii-1.pcap', ['few']],
    ['general/tcpdump__LINKTYPE_IPV6_invalid.pcap', ['malformed']],
  ])('%s', async (file, codes) => {
    const { traffic } = await measurePorts(await openCaptureFile(path.join(FOLDER, file)), () => NO_FACTS, NAMES);
    expect(traffic.slice(0, codes.length).map((seen) => verdictsOf(seen, null)[0].code)).toEqual(codes);
  });

  test('with one direction taken away are one-way', async () => {
    const file = path.join(import.meta.dirname, '../../fixtures/plant.pcap');
    const measure = async (keep: (frame: Buffer) => boolean) => {
      const content = fs.readFileSync(file);
      const parts = [content.subarray(0, 24)];
      for (let at = 24; at < content.length; ) {
        const end = at + 16 + content.readUInt32LE(at + 8);
        if (keep(content.subarray(at + 16, end))) parts.push(content.subarray(at, end));
        at = end;
      }
      const source = await openCaptureInput(new MemoryInput(Buffer.concat(parts)), 'test');
      const { traffic } = await measurePorts(source, () => NO_FACTS, NAMES);
      return verdictsOf(traffic[0], null)[0];
    };
    const source = (frame: Buffer) => frame.readUIntBE(6, 6);
    expect(await measure(() => true)).toMatchObject({ code: 'healthy' });
    const servers = new Set<number>();
    // Who sends a SYN with ACK (behind one tag at most) is a server.
    await measure((frame) => {
      const at = frame.readUInt16BE(12) === 0x8100 ? 18 : 14;
      if (frame.readUInt16BE(at - 2) === IPV4 && frame[at + 9] === 6 && (frame[at + 20 + 13] & 0x12) === 0x12)
        servers.add(source(frame));
      return true;
    });
    expect(servers.size).toBeGreaterThan(1);
    expect(await measure((frame) => !servers.has(source(frame)))).toMatchObject({
      code: 'one_way',
      text: expect.stringMatching(/^all /),
    });
    expect(await measure((frame) => (frame[0] & 1) === 1)).toMatchObject({ code: 'few' });
  });
});
