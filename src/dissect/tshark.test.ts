import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { dissectors } from '../../dissectors/index.ts';
import { runFile } from '../engine/testing.ts';
import { KNOWN_DISAGREEMENTS, type KnownDisagreement } from './known-disagreements.ts';
import { Registry } from './registry.ts';
import { compare, type Disagreement, mappedFields, normal, recordValues, tsharkValues, tsharkVersion } from './tshark.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const FIXTURES = path.join(ROOT, 'fixtures');
const SHARED = path.resolve(process.env.OT_SENSOR_PCAPS ?? path.join(ROOT, '../shared/pcaps'));
const shared = fs.existsSync(path.join(SHARED, 'MANIFEST.tsv'));
const tshark = tsharkVersion();
const required = process.env.OT_SENSOR_REQUIRE_TSHARK === '1';

const loudly = (what: string) => console.warn(`\n${'#'.repeat(100)}\n##  SKIPPED: ${what}\n${'#'.repeat(100)}\n`);
if (tshark === null)
  loudly('the oracle. tshark is not installed: NO VALUE WAS COMPARED with Wireshark (apt-get install tshark).');
if (!shared) loudly(`the oracle on the shared captures, which are not in ${SHARED} (OT_SENSOR_PCAPS).`);

/** A family of protocols that is compared as one: what the manifest calls its captures, and whose fields are asked for. */
interface Family {
  name: string;
  in_manifest: readonly string[];
  protocols: readonly string[];
  fixtures: RegExp;
  /** Values that the shared captures give at the least: fewer mean that the comparison compares nothing. */
  least: number;
}

/** Those that are compared together, or of which much is to be compared. */
const NAMED: readonly Family[] = [
  { name: 'modbus', in_manifest: ['modbus'], protocols: ['modbus'], fixtures: /^(modbus|vlan)\/|^plant/, least: 400_000 },
  {
    name: 's7comm',
    in_manifest: ['tpkt', 'cotp', 's7comm'],
    protocols: ['tpkt', 'cotp', 's7comm'],
    fixtures: /^(s7comm|mms)\/|^plant/,
    least: 2_500_000,
  },
  { name: 'dnp3', in_manifest: ['dnp3'], protocols: ['dnp3'], fixtures: /^dnp3\//, least: 600_000 },
];

/** Every other protocol with Wireshark's names and captures of its own is compared by itself, as soon as it is in the list. */
const FAMILIES: readonly Family[] = [
  ...NAMED,
  ...dissectors
    .map(({ name }) => ({ name, in_manifest: [name], protocols: [name], fixtures: new RegExp(`^${name}/`), least: 50 }))
    .filter((family) => !NAMED.some(({ protocols }) => protocols.includes(family.name)) && capturesOf(family).length > 0),
];

const LEAST_EQUAL = 0.995;

/** Wireshark's fields that must be compared whatever else is. */
const REQUIRED_FIELDS = [
  ...['mbtcp.trans_id', 'mbtcp.unit_id', 'modbus.func_code', 'modbus.reference_num', 'modbus.word_cnt', 'modbus.bit_cnt'],
  ...['modbus.byte_cnt', 'modbus.exception_code', 'modbus.regval_uint16'],
  ...['cotp.type', 'cotp.src-tsap-bytes', 'cotp.dst-tsap-bytes', 's7comm.header.rosctr', 's7comm.header.pduref'],
  ...['s7comm.header.errcls', 's7comm.header.errcod', 's7comm.param.func', 's7comm.param.itemcount', 's7comm.param.item.area'],
  ...['s7comm.param.item.db', 's7comm.param.item.address', 's7comm.data.returncode', 's7comm.param.userdata.funcgroup'],
  's7comm.data.userdata.szl_id',
  ...['dnp3.src', 'dnp3.dst', 'dnp3.ctl.dir', 'dnp3.ctl.prm', 'dnp3.al.func', 'dnp3.al.seq', 'dnp3.al.iin', 'dnp3.al.obj'],
  ...['dnp3.al.index', 'dnp3.al.bit', 'dnp3.al.cnt', 'dnp3.al.ana.int', 'dnp3.al.ana.float', 'dnp3.al.anaout.int'],
  ...['dnp3.al.anaout.float', 'dnp3.al.timestamp'],
];

test('every Wireshark field that is to be compared is mapped', () => {
  const mapped = new Set(mappedFields(dissectors).map(({ wireshark }) => wireshark));
  expect(REQUIRED_FIELDS.filter((field) => !mapped.has(field))).toEqual([]);
});

test('one normal form', () => {
  expect(['0x000a', '10', 10, '00:0a', true, 'True', 1.5, '1.500000', ' x '].map(normal)).toEqual(
    ['10', '10', '10', '000a', '1', '1', '1.5', '1.5', 'x'], // biome-ignore format: pairs
  );
});

test.runIf(required)('tshark is there, as OT_SENSOR_REQUIRE_TSHARK=1 demands', () => {
  expect(tshark, 'the oracle was skipped').not.toBeNull();
});

const matches = (pattern: string | RegExp, text: string) => (typeof pattern === 'string' ? pattern === text : pattern.test(text));
const explains = (known: KnownDisagreement, file: string, { frame, wireshark }: Disagreement) =>
  matches(known.file, file) && matches(known.field, wireshark) && (known.frames === 'all' || known.frames.includes(frame));

/** Entries, and of those that name frames each frame, that were needed. */
const needed = new Set<string>();

function capturesOf(family: Family): { file: string; path: string }[] {
  const fixtures = fs
    .readdirSync(FIXTURES, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.pcap') && family.fixtures.test(file))
    .map((file) => ({ file: `fixtures/${file}`, path: path.join(FIXTURES, file) }));
  if (!shared) return fixtures;
  const rows = fs.readFileSync(path.join(SHARED, 'MANIFEST.tsv'), 'utf8').trim().split('\n').slice(1);
  const captures = rows.flatMap((row) => {
    const [file, , , , , protocols] = row.split('\t');
    const names = protocols.split(',').map((protocol) => protocol.split('=')[0]);
    return family.in_manifest.some((name) => names.includes(name)) ? [{ file, path: path.join(SHARED, file) }] : [];
  });
  return [...fixtures, ...captures];
}

describe.skipIf(tshark === null)('tshark says the same', () => {
  const registry = new Registry(dissectors);

  test.each(FAMILIES)(
    '$name',
    async (family) => {
      const mapped = mappedFields(dissectors).filter(({ protocol }) => family.protocols.includes(protocol));
      const fields = [...new Set(mapped.map(({ wireshark }) => wireshark))];
      const unexplained: string[] = [];
      let values = 0;
      let equal = 0;
      const queue = capturesOf(family);
      // tshark reads the captures that come next while this one is compared.
      const ahead = queue.splice(0, 2).map((capture) => ({ capture, theirs: tsharkValues(capture.path, fields) }));
      for (let first = ahead.shift(); first !== undefined; first = ahead.shift()) {
        const { capture } = first;
        const theirs = await first.theirs;
        const upcoming = queue.shift();
        if (upcoming !== undefined) ahead.push({ capture: upcoming, theirs: tsharkValues(upcoming.path, fields) });
        const { lines, failures } = await runFile(capture.path, registry, { protocols: [...family.protocols] });
        expect(failures.filter((failure) => family.protocols.includes(failure.split(',')[0]))).toEqual([]);
        const compared = compare(theirs, recordValues(lines, mapped));
        // What was written to mislead is explained like the rest, and is no measure of how much is equal.
        if (!capture.file.includes('/case-')) {
          values += compared.values;
          equal += compared.equal;
        }
        for (const disagreement of compared.disagreements) {
          const entry = KNOWN_DISAGREEMENTS.findIndex((known) => explains(known, capture.file, disagreement));
          const { frame, wireshark, tshark: their, ours } = disagreement;
          if (entry < 0)
            unexplained.push(`${capture.file} frame ${frame} ${wireshark}: tshark ${brief(their)}, we ${brief(ours)}`);
          else needed.add(KNOWN_DISAGREEMENTS[entry].frames === 'all' ? `${entry}` : `${entry}/${frame}`);
        }
      }
      expect(unexplained.slice(0, 40)).toEqual([]);
      expect(values).toBeGreaterThan(shared ? family.least : Math.min(family.least, 100));
      expect(equal / values).toBeGreaterThanOrEqual(LEAST_EQUAL);
    },
    240_000,
  );

  test.skipIf(!shared)('no known disagreement is left that is none any more', () => {
    const wanted = KNOWN_DISAGREEMENTS.flatMap(({ frames }, i) => (frames === 'all' ? [`${i}`] : frames.map((f) => `${i}/${f}`)));
    const idle = wanted.filter((key) => !needed.has(key));
    expect(idle.map((key) => `${KNOWN_DISAGREEMENTS[Number.parseInt(key, 10)].file} (${key})`)).toEqual([]);
  });
});

const brief = (values: readonly string[]): string => `[${values.slice(0, 6).join(' ')}${values.length > 6 ? ' …' : ''}]`;
