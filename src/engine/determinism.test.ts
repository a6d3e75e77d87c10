import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type PcapVariant, pcapFile } from '../capture/testing.ts';
import { fixture, ot, PLANT, PROGRAM, ROOT, remove, temporaryFolder, ZONES } from '../cli/testing.ts';
import { ETHERNET, type MemoryPacket, readPackets } from './testing.ts';

// The same capture gives the same findings, whatever the number of shards and however it was cut into files.

const SHARED = path.resolve(process.env.OT_SENSOR_PCAPS ?? path.join(ROOT, '../shared/pcaps'));
const shared = fs.existsSync(path.join(SHARED, 'MANIFEST.tsv'));
if (!shared)
  console.warn(`SKIPPED: determinism is tried on fixtures alone; the shared captures are not in ${SHARED} (OT_SENSOR_PCAPS)`);

/** Of the shared captures those up to this size, all protocols: VLANs, tunnels, fragments, retransmissions, beginnings in the middle. */
const MAX_BYTES = 150_000;
/** And larger ones in which much is going on. */
const LARGE = [
  'modbus/ICS-Security-Tools__modbus_test_2.pcap',
  'modbus/S7comm-Plus-Anomaly-De__Wireshark_Paketler-1.pcapng',
  'mms/otsec__mms.pcapng',
];
const FIXTURES = [
  'modbus/modbus-serial-gateway.pcap',
  'modbus/pymodbus-functions.pcap',
  's7comm/snap7-client.pcap',
  'dnp3/opendnp3.pcap',
  'dhcp/dnsmasq.pcap',
  'arp/resolve.pcap',
  'lldp/lldpd.pcap',
  'goose/libiec61850.pcap',
];

const START_NS = 1_767_592_800_000_000_000n;
const NANOSECONDS: PcapVariant = { little: true, magic: 0xa1b23c4d, snap_length: 262_144 };

/** Captures laid over each other, all from one moment on, so that their packets alternate. */
async function merged(files: readonly string[]): Promise<MemoryPacket[]> {
  const all: { packet: MemoryPacket; order: number }[] = [];
  for (const file of files) {
    const packets = (await readPackets(file)).filter(({ link_type }) => link_type === ETHERNET);
    const [first] = packets.map(({ time_ns }) => time_ns).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
    for (const packet of packets)
      all.push({ packet: { ...packet, time_ns: START_NS + packet.time_ns - first }, order: all.length });
  }
  all.sort((a, b) => (a.packet.time_ns === b.packet.time_ns ? a.order - b.order : a.packet.time_ns < b.packet.time_ns ? -1 : 1));
  return all.map(({ packet }) => packet);
}

function write(file: string, packets: readonly MemoryPacket[]): string {
  const records = packets.map(({ bytes, time_ns, wire }) => ({
    seconds: Number(time_ns / 1_000_000_000n),
    fraction: Number(time_ns % 1_000_000_000n),
    data: Buffer.from(bytes),
    wire,
  }));
  fs.writeFileSync(file, pcapFile(NANOSECONDS, records));
  return file;
}

interface Input {
  whole: string[];
  pieces: string[];
  zones: string | null;
}

let folder: string;
const inputs: Record<string, Input> = {};

beforeAll(async () => {
  if (!fs.existsSync(PROGRAM))
    throw new Error(`${PROGRAM} is missing: the program is not built; run npm run build (npm test does)`);
  folder = temporaryFolder();
  const small = (file: string) => /\.pcap(ng)?$/.test(file) && fs.statSync(path.join(SHARED, file)).size <= MAX_BYTES;
  const files = shared
    ? fs.readdirSync(SHARED, { recursive: true, encoding: 'utf8' }).filter((file) => LARGE.includes(file) || small(file))
    : [];
  const mixed = await merged([...files.sort().map((file) => path.join(SHARED, file)), ...FIXTURES.map(fixture)]);
  inputs.mixed = pieces('mixed', mixed, ZONES);
  if (fs.existsSync(PLANT)) inputs.plant = pieces('plant', await readPackets(PLANT), ZONES);
});

afterAll(() => folder && remove(folder));

/** The packets in one file, and in five of uneven length, one of which is empty. */
function pieces(name: string, packets: readonly MemoryPacket[], zones: string): Input {
  const at = [0, 1, 0.13, 0.13, 0.61, 1].map((part, i) => (i === 1 ? 7 : Math.floor(part * packets.length)));
  return {
    whole: [write(path.join(folder, `${name}.pcap`), packets)],
    pieces: at.slice(1).map((end, i) => write(path.join(folder, `${name}-${i}.pcap`), packets.slice(at[i], end))),
    zones,
  };
}

async function dissect(files: readonly string[], shards: number): Promise<string> {
  const { code, stdout, stderr } = await ot(['dissect', '--shards', String(shards), ...files]);
  expect([code, stderr]).toEqual([0, '']);
  return stdout;
}

/** Every table of the database, row by row. What depends on the clock or on the files' names is left out. */
function dump(data: string): Record<string, string[]> {
  const file = fs.readdirSync(data).find((name) => /\.(db|sqlite3?)$/.test(name));
  const db = new Database(path.join(data, file!), { readonly: true });
  try {
    const names = db
      .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
      .pluck()
      .all();
    return Object.fromEntries(
      (names as string[])
        .filter((name) => name !== 'meta')
        .map((name) => {
          // A device that was found to be another is no finding any more; its row says what was last stored of it.
          const living = name === 'devices' ? 'WHERE merged_into IS NULL' : '';
          const rows = db.prepare(`SELECT * FROM "${name}" ${living}`).all() as Record<string, unknown>[];
          return [name, rows.map((row) => text(name, row)).sort()];
        }),
    );
  } finally {
    db.close();
  }
}

function text(table: string, row: Record<string, unknown>): string {
  if (table === 'captures') {
    delete row.source;
    // Each file is said to hold nothing, or to end: warnings name files. Counters of batches are not findings.
    delete row.warnings;
    delete row.counters;
    delete row.bytes;
  }
  return JSON.stringify(row, (_, value) =>
    value?.type === 'Buffer' ? createHash('sha256').update(Buffer.from(value.data)).digest('hex') : value,
  );
}

async function replay(name: string, files: readonly string[], shards: number, zones: string | null): Promise<string> {
  const data = path.join(folder, `${name}-${shards}-${files.length}`);
  const { code, stderr } = await ot([
    'replay',
    '--data',
    data,
    '--shards',
    String(shards),
    ...(zones ? ['--zones', zones] : []),
    ...files,
  ]);
  expect(code, stderr).toBe(0);
  expect(stderr).not.toMatch(/failed/);
  return data;
}

/** The first rows in which two lists differ. */
function differences(expected: readonly string[], found: readonly string[]): string[] {
  const there = new Set(found);
  const wanted = new Set(expected);
  return [
    ...expected
      .filter((row) => !there.has(row))
      .slice(0, 3)
      .map((row) => `missing: ${row}`),
    ...found
      .filter((row) => !wanted.has(row))
      .slice(0, 3)
      .map((row) => `instead: ${row}`),
  ];
}

const RUNS: [shards: number, cut: 'whole' | 'pieces'][] = [
  [2, 'whole'],
  [4, 'whole'],
  [1, 'pieces'],
  [4, 'pieces'],
];

describe.each(['mixed', 'plant'])('%s', (name) => {
  test('dissect: byte by byte the same lines', async () => {
    const input = inputs[name];
    const expected = await dissect(input.whole, 1);
    expect(expected.split('\n').length).toBeGreaterThan(500);
    for (const [shards, cut] of RUNS) {
      const found = await dissect(input[cut], shards);
      if (found === expected) continue;
      const [a, b] = [expected.split('\n'), found.split('\n')];
      const at = a.findIndex((line, i) => line !== b[i]);
      expect(b[at], `${shards} shards, ${cut}, line ${at + 1} of ${a.length}`).toBe(a[at]);
      expect(b.length).toBe(a.length);
    }
  }, 240_000);

  test('replay: the same devices, connections, activities, alerts, evidence and events', async () => {
    const input = inputs[name];
    const first = await replay(name, input.whole, 1, input.zones);
    const expected = dump(first);
    for (const table of ['devices', 'addresses', 'attributes', 'connections', 'activities', 'alerts', 'evidence', 'events'])
      expect(expected[table]?.length, table).toBeGreaterThan(0);
    const lists = async (data: string) => {
      const shown: Record<string, string> = {};
      for (const list of ['devices', 'connections', 'alerts', 'events'])
        shown[list] = (await ot([list, '--data', data, '--format', 'jsonl'])).stdout;
      return shown;
    };
    const shown = await lists(first);
    for (const [shards, cut] of RUNS) {
      const data = await replay(name, input[cut], shards, input.zones);
      const found = dump(data);
      expect(Object.keys(found)).toEqual(Object.keys(expected));
      for (const [table, rows] of Object.entries(expected))
        expect(differences(rows, found[table]), `${table} with ${shards} shards, ${cut}`).toEqual([]);
      expect(Object.values(found).map((rows) => rows.length)).toEqual(Object.values(expected).map((rows) => rows.length));
      if (shards === 4) expect(await lists(data)).toEqual(shown);
    }
  }, 240_000);
});
