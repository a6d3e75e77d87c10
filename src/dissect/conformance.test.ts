import fs from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { dissectors } from '../../dissectors/index.ts';
import { type MemoryPacket, readPackets, runPackets, type Segment, segmentsOf, tcpPackets } from '../engine/testing.ts';
import {
  alone,
  type Capture,
  type Checked,
  checkChangedBytes,
  checkCuts,
  checkLoss,
  checkOrder,
  checkSegmentation,
  streamsOf,
} from './conformance.ts';
import type { AnyDissector } from './dissector.ts';
import { Registry } from './registry.ts';
import { fromHex } from './testing.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const FIXTURES = path.join(ROOT, 'fixtures');
const SHARED = path.resolve(process.env.OT_SENSOR_PCAPS ?? path.join(ROOT, '../shared/pcaps'));
const shared = fs.existsSync(path.join(SHARED, 'MANIFEST.tsv'));
if (!shared) console.warn(`SKIPPED: dissectors are not tried on the captures of other protocols, which are not in ${SHARED}`);

/** Of a long capture the rest shows nothing new. */
const MAX_PACKETS = 400;

const SERIAL = 'serial frames over TCP';

/** MODBUS over TCP without MBAP: frames of MODBUS over Serial Line V1.02 as a gateway passes them on; no program here speaks it. */
function serialOverTcp(): MemoryPacket[] {
  const said: [0 | 1, string][] = [
    [0, '01 03 0000 000A C5CD'],
    [1, '01 03 14 0007 0007 0007 0007 0007 0007 0007 0007 0007 0007 E720'],
    [0, '01 06 0001 0003 980B'],
    [1, '01 06 0001 0003 980B'],
    [0, '01 03 0000 0002 C40B'],
    [1, '01 03 04 0006 0005 DA31'],
    [0, '01 05 00AC FF00 4C1B'],
    [1, '01 05 00AC FF00 4C1B'],
  ];
  const turns = said.map(([direction, hex], i) => ({
    direction,
    bytes: fromHex(hex),
    time_ns: 1_767_592_800_000_000_000n + BigInt(i) * 20_000_000n,
  }));
  return tcpPackets({ ports: [49152, 502] }, segmentsOf(turns));
}

const registry = new Registry(dissectors);
const captures: Capture[] = [];
let streams: ReturnType<typeof streamsOf>;

beforeAll(async () => {
  const files = fs
    .readdirSync(FIXTURES, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.pcap$/.test(file) && !file.startsWith('capture-files'))
    .sort();
  for (const file of files)
    captures.push({ name: `fixtures/${file}`, packets: await readPackets(path.join(FIXTURES, file), MAX_PACKETS) });
  captures.push({ name: SERIAL, packets: serialOverTcp() });
  streams = streamsOf(registry, captures);
});

function expectNone({ faults, tried }: Checked, least: number): void {
  expect(faults).toEqual([]);
  expect(tried).toBeGreaterThan(least);
}

describe('every dissector', () => {
  test('has a capture that it recognises', () => {
    const seen = new Set<string>();
    for (const { packets } of captures) {
      for (const line of runPackets(packets, registry).lines) seen.add(JSON.parse(line).app_proto);
    }
    // TPKT is a frame around others: it has no record.
    const silent = dissectors.filter(({ records, name }) => records.length > 0 && !seen.has(name)).map(({ name }) => name);
    expect(silent, 'without a fixture nothing below tries them').toEqual([]);
  });

  test('comes to an end on a PDU cut at any length, and says that something is missing', () => {
    const checked = checkCuts(registry, captures);
    expectNone(checked, 5000);
    expect([...checked.dissectors].sort()).toEqual(
      dissectors.flatMap(({ records, name }) => (records.length > 0 ? [name] : [])).sort(),
    );
  });

  test('comes to an end on changed bytes, and makes no rows out of a mere count', () => {
    expectNone(checkChangedBytes(registry, captures), 10_000);
  });

  test('says the same however a stream is cut into segments', () => {
    expect(streams.length).toBeGreaterThan(20);
    expectNone(checkSegmentation(registry, streams), 500);
  });

  test('says the same when segments are repeated, reordered or overlap', () => {
    expectNone(checkOrder(registry, streams), 100);
  });

  test('finds the next PDU after a lost segment', () => {
    expectNone(checkLoss(registry, streams), 200);
  });
});

describe('a check finds what is wrong', () => {
  const modbus = dissectors.find(({ name }) => name === 'modbus')!;
  const only = (change: Partial<AnyDissector>) => new Registry([{ ...modbus, ...change }]);
  const some = () => captures.filter(({ name }) => name === 'fixtures/modbus/modbus-serial.pcap');

  test('a dissector that throws', () => {
    const broken = only({
      dissect(r, emit, conversation) {
        if (r.remaining < 8) throw new RangeError('too short');
        modbus.dissect(r, emit, conversation);
      },
    });
    expect(checkCuts(broken, some()).faults[0]).toMatch(/threw modbus: RangeError: too short/);
  });

  test('rows out of a count', () => {
    const broken = only({
      dissect(r, emit) {
        const count = r.peekU8(8) === 0xff ? 2000 : 1;
        for (let i = 0; i < count; i++) emit(modbus.records[0]);
      },
    });
    expect(checkChangedBytes(broken, some()).faults[0]).toMatch(/2000 rows of/);
  });

  test('a framing that looks at what lies behind the header', () => {
    const { framing } = modbus;
    const broken = only({
      framing: { ...framing!, sizeOf: (r, c) => (r.remaining >= 12 ? framing!.sizeOf(r, c) : r.remaining) },
    });
    const found = checkSegmentation(broken, streamsOf(new Registry([modbus]), some()));
    expect(found.faults.length).toBeGreaterThan(0);
  });

  test('a stream that is sent again says something else where bytes differ', () => {
    const [stream] = streamsOf(registry, some());
    const segments: Segment[] = stream.segments.map((s, i) => (i === 4 ? { ...s, bytes: s.bytes.map((b) => b ^ 1) } : s));
    expect(checkOrder(registry, [{ ...stream, segments }]).faults.length).toBeGreaterThan(0);
  });
});

// ── the false-positive matrix ──

/** Where the manifest's names are not ours. */
const MANIFEST_NAMES: Readonly<Record<string, string>> = { modbus: 'mbtcp' };

/** Captures that hold a protocol the manifest does not count in them: tshark takes the port's word for it. */
const ALSO: Readonly<Record<string, readonly string[]>> = {
  // RDP connection requests (TPKT, COTP with a cookie) sent to port 502 by a scanner.
  cotp: ['modbus/zeek__modbus-and-non-modbus-p502.pcap'],
};

/** What the folders of the fixtures hold besides what is on its own port or EtherType. */
const FIXTURE_FOLDERS: Readonly<Record<string, readonly string[]>> = {
  modbus: ['modbus'],
  vlan: ['modbus'],
  s7comm: ['cotp', 's7comm'],
  mms: ['cotp'],
  dnp3: ['dnp3'],
  dhcp: ['modbus'],
  'plant.pcap': ['modbus', 'cotp', 's7comm'],
  'capture-files': ['modbus'],
};

/** Is the record of a protocol that nothing else says the capture holds where that protocol belongs? */
function onItsOwnPort(dissector: AnyDissector, line: string): boolean {
  const { src_port, dest_port, recognised_by, proto } = JSON.parse(line);
  if (recognised_by !== 'port') return false;
  return dissector.carriers.some(
    (carrier) =>
      (carrier.layer === 'ethertype' && proto === 'eth') ||
      (carrier.layer === proto && 'port' in carrier && (carrier.port === src_port || carrier.port === dest_port)),
  );
}

interface Foreign extends Capture {
  holds: ReadonlySet<string>;
}

/** Every dissector with nobody beside it who could take its flows; what it finds where it is not. */
function falsePositives(
  files: readonly Foreign[],
  counted: ReadonlySet<string>,
): { faults: string[]; tried: number; found: number } {
  const faults: string[] = [];
  let tried = 0;
  let found = 0;
  for (const dissector of dissectors) {
    const { name } = dissector;
    const itself = new Registry(alone(dissectors, dissector));
    for (const file of files) {
      const { lines, failures } = runPackets(file.packets, itself, { protocols: [name] });
      faults.push(...failures.map((failure) => `${file.name}: ${failure}`));
      if (file.holds.has(name)) {
        found += lines.length;
        continue;
      }
      tried++;
      const wrong = lines.find((line) => counted.has(name) || !onItsOwnPort(dissector, line));
      if (wrong !== undefined) faults.push(`${file.name} holds no ${name}: ${wrong}`);
    }
  }
  return { faults, tried, found };
}

describe('no dissector finds its protocol where it is not', () => {
  test('in the fixtures', () => {
    // Alone on its port, MBAP takes what serial frames look like for its own: the CRC that tells them apart is the other's.
    const files = captures.map(({ name, packets }) => {
      const folder = name.split('/')[1] ?? '';
      return { name, packets, holds: new Set(name === SERIAL ? ['mbrtu', 'modbus'] : FIXTURE_FOLDERS[folder]) };
    });
    const counted = new Set(['modbus', 'mbrtu', 'cotp', 's7comm', 'dnp3']);
    const { faults, tried, found } = falsePositives(files, counted);
    expect(faults).toEqual([]);
    expect(tried).toBeGreaterThan(100);
    expect(found).toBeGreaterThan(500);
  });

  test.skipIf(!shared)(
    'in the shared captures',
    async () => {
      const rows = fs.readFileSync(path.join(SHARED, 'MANIFEST.tsv'), 'utf8').trim().split('\n').slice(1);
      const counted = new Set<string>();
      const files: Foreign[] = [];
      for (const row of rows) {
        const [file, , , , , protocols] = row.split('\t');
        const names = new Set(protocols.split(',').map((protocol) => protocol.replace(/\*?=.*/, '')));
        const holds = new Set<string>();
        for (const { name } of dissectors) {
          if (!names.has(MANIFEST_NAMES[name] ?? name)) continue;
          holds.add(name);
          counted.add(name);
        }
        for (const [name, those] of Object.entries(ALSO)) if (those.includes(file)) holds.add(name);
        files.push({ name: file, packets: await readPackets(path.join(SHARED, file), MAX_PACKETS), holds });
      }
      // No capture holds serial frames over TCP.
      counted.add('mbrtu');
      const { faults, tried, found } = falsePositives(files, counted);
      expect(faults).toEqual([]);
      expect(tried).toBeGreaterThan(1500);
      expect(found).toBeGreaterThan(10_000);
    },
    240_000,
  );
});
