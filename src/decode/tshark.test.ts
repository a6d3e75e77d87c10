import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BatchWriter, PacketRing } from '../capture/batch.ts';
import { openCaptureFile } from '../capture/file-source.ts';
import { Decoder } from './decode.ts';
import { Decoded, Packet } from './packet.ts';
import { address, hex } from './testing.ts';

// What the decoder says of each frame of real captures against what tshark says of it: of several layers of a kind the innermost.

const CAPTURES = process.env.OT_SENSOR_PCAPS ?? resolve(import.meta.dirname, '../../../shared/pcaps');
/** Folders of captures to compare, comma-separated. */
const FOLDERS = (process.env.OT_SENSOR_DECODE_FOLDERS ?? 'general,goose,sinec-h1').split(',');
/** Frames that neither tshark nor we can make sense of: cut in a header, or contradicting themselves. */
const MALFORMED: Readonly<Record<string, number[]>> = {
  'general/suricata-verify__frag-26.pcap': [6],
  'general/tcpdump__LINKTYPE_IPV6_invalid.pcap': [1],
  'general/zeek__ipv4-internally-truncated-header.pcap': [1],
  'general/zeek__trunc-hdr.pcap': [1],
  'modbus/ICS-Security-Tools__fuzz-1011.pcap': [2],
};
const NOT_COMPARED: Readonly<Record<string, string>> = {
  'general/PF_RING__pcapng-invalid-vers-1.pcapng': 'pcapng of an unknown version',
  'general/PcapPlusPlus__microsecs_big_endian.pcap': 'link type NETLINK',
  'general/ct-samples__MirroredBits.pcap': 'link type RTAC_SERIAL',
  'general/gopacket__test102.pcapng': 'tshark numbers a custom block as a frame',
  'general/gopacket__test202.pcapng': 'tshark numbers a custom block as a frame',
};
const FIELDS = [
  'frame.number',
  'eth.src',
  'ieee8021ad.id',
  'vlan.id',
  'erspan.vlan',
  'ip.src',
  'ip.dst',
  'ipv6.src',
  'ipv6.dst',
  'tcp.srcport',
  'tcp.dstport',
  'tcp.len',
  'udp.srcport',
  'udp.dstport',
  'udp.length',
  'arp.src.proto_ipv4',
] as const;
type Field = (typeof FIELDS)[number];

const tshark = spawnSync('tshark', ['--version'], { encoding: 'utf8' }).status === 0;
const files = existsSync(CAPTURES)
  ? FOLDERS.filter((folder) => existsSync(join(CAPTURES, folder))).flatMap((folder) =>
      readdirSync(join(CAPTURES, folder))
        .filter((name) => /\.pcap(ng)?$/.test(name))
        .map((name) => `${folder}/${name}`)
        .filter((name) => NOT_COMPARED[name] === undefined),
    )
  : [];
if (!tshark || files.length === 0) {
  console.warn(
    `SKIPPED: decoding is not compared with tshark: ${tshark ? `no captures in ${CAPTURES}` : 'tshark is not installed'}`,
  );
}

function framesOfTshark(path: string): Map<number, Record<Field, string[]>> {
  const run = spawnSync('tshark', ['-n', '-r', path, '-T', 'fields', ...FIELDS.flatMap((field) => ['-e', field])], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  const frames = new Map<number, Record<Field, string[]>>();
  for (const line of run.stdout.split('\n')) {
    if (line === '') continue;
    const columns = line.split('\t').map((column) => (column === '' ? [] : column.split(',')));
    frames.set(
      Number(columns[0][0]),
      Object.fromEntries(FIELDS.map((field, i) => [field, columns[i] ?? []])) as Record<Field, string[]>,
    );
  }
  return frames;
}

/** The text of an address as the hex digits that `address` gives. */
function digits(text: string): string {
  if (text.includes('.') && !text.includes(':')) return hex(Uint8Array.from(text.split('.').map(Number)));
  const [head, tail] = text.split('::').map((half) => half.split(':').filter((group) => group !== ''));
  const groups = tail === undefined ? head : [...head, ...new Array(8 - head.length - tail.length).fill('0'), ...tail];
  return groups.map((group) => group.padStart(4, '0')).join('');
}

/** Everything that is said differently, as lines to read. */
function differences(packet: Packet, decoded: number, theirs: Record<Field, string[]>): string[] {
  const found: string[] = [];
  const compare = (field: Field, ours: string | number, occurrence: string | undefined) => {
    if (String(ours) !== (occurrence ?? '')) found.push(`${field}: ${ours}, tshark ${occurrence ?? 'nothing'}`);
  };
  // An ICMP error quotes another packet, which tshark dissects as well.
  const quotes = packet.ip_protocol === 1 || packet.ip_protocol === 58;
  const pick = (field: Field) =>
    quotes ? theirs[field][Math.min(packet.tunnels, theirs[field].length - 1)] : theirs[field].at(-1);

  if (packet.mac_source >= 0 && packet.mac_destination >= 0) {
    const mac = hex(packet.link_bytes.subarray(packet.mac_source, packet.mac_source + 6));
    compare('eth.src', mac, theirs['eth.src'].at(-1)?.replaceAll(':', ''));
  }
  const vlans = [...packet.vlans.subarray(0, packet.vlan_count)].join();
  // From the outside in as far as the two kinds of tag tell it; a tag that a mirroring switch took off stands in its own header.
  const tags = [...theirs['ieee8021ad.id'], ...theirs['vlan.id'], ...(theirs['erspan.vlan'].at(-1) === vlans ? [vlans] : [])];
  compare('vlan.id', vlans, tags.slice(tags.length - packet.vlan_count).join());
  if (decoded === Decoded.malformed || decoded === Decoded.duplicate) return found;

  const family = packet.ip_version === 6 ? 'ipv6' : 'ip';
  if (packet.ip_version !== 0) {
    const none = '0'.repeat(32);
    compare(`${family}.src`, address(packet.source) || none, digits(pick(`${family}.src`) ?? ''));
    compare(`${family}.dst`, address(packet.destination) || none, digits(pick(`${family}.dst`) ?? ''));
  } else {
    compare('ip.src', '', theirs['ip.src'][0]);
    compare('ipv6.src', '', theirs['ipv6.src'][0]);
    if (theirs['arp.src.proto_ipv4'].length > 0)
      compare('arp.src.proto_ipv4', address(packet.source), digits(theirs['arp.src.proto_ipv4'][0]));
  }
  if (decoded === Decoded.fragment || quotes) return found;
  const is = (protocol: number) => packet.ip_protocol === protocol;
  for (const [protocol, name] of [
    [6, 'tcp'],
    [17, 'udp'],
  ] as const) {
    compare(`${name}.srcport`, is(protocol) ? packet.source_port : '', pick(`${name}.srcport`));
    compare(`${name}.dstport`, is(protocol) ? packet.destination_port : '', pick(`${name}.dstport`));
  }
  const payload = packet.payload_end - packet.payload + packet.payload_missing;
  if (is(6)) compare('tcp.len', payload, pick('tcp.len'));
  if (is(17)) compare('udp.length', payload + 8, pick('udp.length'));
  return found;
}

async function compareFile(path: string): Promise<{ missed: number; found: string[]; malformed: number[] }> {
  const theirs = framesOfTshark(path);
  const ring = new PacketRing();
  const writer = new BatchWriter(ring);
  const decoder = new Decoder(ring);
  const packet = new Packet();
  const source = await openCaptureFile(path);
  const found: string[] = [];
  const malformed: number[] = [];
  let frames = 0;
  try {
    for (;;) {
      const used = await source.fill(writer);
      if (used === null) break;
      const { first_frame, count } = writer.next(used);
      for (let frame = first_frame; frame < first_frame + count; frame++) {
        const decoded = decoder.decode(frame, packet);
        const expected = theirs.get(frame);
        if (expected === undefined) continue;
        frames++;
        for (const difference of differences(packet, decoded, expected)) {
          found.push(`frame ${frame}: ${difference}`);
        }
        if (decoded === Decoded.malformed) malformed.push(frame);
      }
    }
  } finally {
    source.close();
  }
  return { missed: theirs.size - frames, found, malformed };
}

describe.skipIf(!tshark || files.length === 0)('tshark says the same', () => {
  it.each(files)('%s', { timeout: 60_000 }, async (file) => {
    const { missed, found, malformed } = await compareFile(join(CAPTURES, file));
    expect(found.slice(0, 8)).toEqual([]);
    expect(missed).toBe(0);
    expect(malformed).toEqual(MALFORMED[file] ?? []);
  });
});
