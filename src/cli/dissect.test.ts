import fs from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dissectors } from '../../dissectors/index.ts';
import { OPERATION_NAMES } from '../dissect/operation.ts';
import { fixture, lines, ot, PLANT, remove, temporaryFolder } from './testing.ts';

interface Line {
  frame: number;
  timestamp: string;
  pdu_index: number;
  app_proto: string;
  record: string;
  anomalies?: string[];
  operation: string;
  fields: Record<string, unknown>;
  [key: string]: unknown;
}

/** The keys of a line in their order; those with `?` are left out where there is no value. */
const ENVELOPE = [
  ...['frame', 'timestamp', 'src_mac?', 'dest_mac?', 'vlan?', 'src_ip?', 'src_port?', 'dest_ip?', 'dest_port?', 'proto'],
  ...['app_proto', 'record', 'pdu_index', 'status', 'anomalies?', 'operation', 'role', 'recognised_by', 'fields'],
];

let folder: string;
let plant: string;
let records: Line[];

beforeAll(async () => {
  folder = temporaryFolder();
  const { code, stdout, stderr } = await ot(['dissect', PLANT]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  plant = stdout;
  records = lines<Line>(stdout);
});
afterAll(() => remove(folder));

describe('dissect', () => {
  it('writes each record in the envelope, absent values left out', () => {
    expect(records.length).toBeGreaterThan(500);
    for (const record of records) {
      const keys = Object.keys(record);
      expect(keys).toEqual(
        ENVELOPE.filter((key) => !key.endsWith('?') || keys.includes(key.slice(0, -1))).map((key) => key.replace('?', '')),
      );
      expect(Object.values(record)).not.toContain(null);
      expect(Object.values(record.fields)).not.toContain(null);
      expect(record.timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
      expect(['ok', 'truncated', 'malformed']).toContain(record.status);
      expect(['client', 'server', 'unknown']).toContain(record.role);
      expect(['port', 'probe', 'parent']).toContain(record.recognised_by);
      expect(OPERATION_NAMES).toContain(record.operation);
      expect(record.anomalies).not.toEqual([]);
      if (record.proto === 'tcp') expect([record.src_port, record.dest_port].every(Number.isInteger)).toBe(true);
      if (record.proto === 'eth') expect([record.src_ip, record.src_port]).toEqual([undefined, undefined]);
    }
    expect(records.some((record) => record.anomalies)).toBe(true);
    expect(records.some((record) => record.vlan)).toBe(true);
    expect(records.some((record) => !record.vlan)).toBe(true);
  });

  it('goes by frame, and counts the PDUs of a frame', () => {
    for (let i = 1; i < records.length; i++) expect(records[i].frame).toBeGreaterThanOrEqual(records[i - 1].frame);
  });

  it('writes only what is declared, for the records of the dissector', () => {
    for (const { app_proto, record, fields } of records) {
      const type = dissectors.find((dissector) => dissector.name === app_proto)!.records.find((known) => known.name === record)!;
      // A named value stands beside its number.
      const declared = type.fieldNames.flatMap((name) => (type.fields[name].names ? [name, `${name}_name`] : [name]));
      for (const field of Object.keys(fields)) expect(declared).toContain(field);
    }
  });

  it('selects protocols', async () => {
    const { stdout } = await ot(['dissect', '--protocol', 'modbus,arp', PLANT]);
    const wanted = records.filter(({ app_proto }) => app_proto === 'modbus' || app_proto === 'arp');
    expect(lines(stdout)).toEqual(wanted);
    expect(new Set(wanted.map((record) => record.app_proto)).size).toBe(2);
    expect(wanted.length).toBeLessThan(records.length);
  });

  it.each([2, 4])('writes the same bytes with %i shards', async (shards) => {
    expect((await ot(['dissect', '--shards', String(shards), PLANT])).stdout).toBe(plant);
  });

  it('reads standard input, gzip, and gzip from standard input', async () => {
    const bytes = fs.readFileSync(PLANT);
    const packed = path.join(folder, 'plant.pcap.gz');
    fs.writeFileSync(packed, zlib.gzipSync(bytes));
    expect(await ot(['dissect', '-'], { input: bytes })).toEqual({ code: 0, stdout: plant, stderr: '' });
    expect(await ot(['dissect', packed])).toEqual({ code: 0, stdout: plant, stderr: '' });
    expect(await ot(['dissect', '-'], { input: fs.readFileSync(packed) })).toEqual({ code: 0, stdout: plant, stderr: '' });
  });

  it('reads a capture cut into files as one', async () => {
    const bytes = fs.readFileSync(PLANT);
    // Behind whole packets: a record is 16 bytes and what was captured (draft-ietf-opsawg-pcap, 5).
    let at = 24;
    for (let packet = 0; packet < 400; packet++) at += 16 + bytes.readUInt32LE(at + 8);
    const [first, second] = ['first.pcap', 'second.pcap'].map((name) => path.join(folder, name));
    fs.writeFileSync(first, bytes.subarray(0, at));
    fs.writeFileSync(second, Buffer.concat([bytes.subarray(0, 24), bytes.subarray(at)]));
    expect(await ot(['dissect', first, second])).toEqual({ code: 0, stdout: plant, stderr: '' });
  });

  it('keeps what was read before a cut, and says where that is', async () => {
    const bytes = fs.readFileSync(PLANT);
    const cut = path.join(folder, 'cut.pcap');
    fs.writeFileSync(cut, bytes.subarray(0, bytes.length - 10));
    const { code, stdout, stderr } = await ot(['dissect', cut]);
    expect(code).toBe(0);
    expect(stderr).toMatch(
      /^ot-sensor: .*cut\.pcap: cut short in a packet of \d+ bytes: 10 are missing; what was read before is kept\n$/,
    );
    expect(plant.startsWith(stdout.slice(0, stdout.lastIndexOf('\n', stdout.length - 2)))).toBe(true);
    expect(lines(stdout).length).toBeGreaterThan(records.length - 5);
  });

  it('warns of a capture file that is cut and goes on with the next', async () => {
    const cut = fixture('capture-files/broken-cut-in-packet.pcap');
    const { code, stdout, stderr } = await ot(['dissect', cut, PLANT]);
    expect(code).toBe(0);
    expect(stderr).toMatch(/broken-cut-in-packet\.pcap: cut short/);
    expect(lines(stdout).length).toBeGreaterThanOrEqual(records.length);
  });
});

describe('fields', () => {
  interface Field {
    protocol: string;
    record: string;
    field: string;
    type: string;
    unit: string;
    wireshark: string;
    meaning: string;
  }

  it('lists every field of every record, with its meaning', async () => {
    const { code, stdout, stderr } = await ot(['fields', '--format', 'jsonl']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const rows = lines<Field>(stdout);
    const declared = dissectors.flatMap(({ name, records }) =>
      records.flatMap((record) => record.fieldNames.map((field) => `${name}.${record.name}.${field}`)),
    );
    expect(rows.map(({ protocol, record, field }) => `${protocol}.${record}.${field}`)).toEqual(declared);
    for (const row of rows) {
      expect(Object.keys(row)).toEqual(['protocol', 'record', 'field', 'type', 'unit', 'wireshark', 'meaning']);
      expect(row.type).not.toBe('');
      expect(`${row.field}: ${row.meaning}`).not.toMatch(/: $/);
    }
    expect(rows.find((row) => row.record === 'modbus' && row.field === 'transaction_id')!.wireshark).toBe('mbtcp.trans_id');
  });

  it('lists one protocol, as table, JSON and JSON Lines', async () => {
    const [table, json, jsonl] = await Promise.all(
      ['table', 'json', 'jsonl'].map((format) => ot(['fields', 'modbus', '--format', format])),
    );
    const rows = JSON.parse(json.stdout) as Field[];
    expect(new Set(rows.map((row) => row.protocol))).toEqual(new Set(['modbus']));
    expect(lines(jsonl.stdout)).toEqual(rows);
    const [head, ...body] = table.stdout.trimEnd().split('\n');
    expect(head.split(/ {2,}/)).toEqual(['protocol', 'record', 'field', 'type', 'unit', 'wireshark', 'meaning']);
    expect(body).toHaveLength(rows.length);
  });
});
