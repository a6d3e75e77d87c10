import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCaptureFile } from '../capture/file-source.ts';
import { PcapWriter } from '../capture/pcap-writer.ts';
import { readThrough } from '../capture/testing.ts';
import { lines, ot, PLANT, remove, temporaryFolder, ZONES } from './testing.ts';

type Row = Record<string, never>;

let folder: string;
let data: string;

/** Rows of a list, as JSON Lines give them. */
async function list(...args: string[]): Promise<Row[]> {
  const { code, stdout, stderr } = await ot([...args, '--data', data, '--format', 'jsonl']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return lines<Row>(stdout);
}
const unique = (rows: Row[], key: string): unknown[] => [...new Set(rows.map((row) => row[key]))].sort();

beforeAll(async () => {
  folder = temporaryFolder();
  data = path.join(folder, 'data');
  const { code } = await ot(['replay', PLANT, '--zones', ZONES, '--data', data]);
  expect(code).toBe(0);
});
afterAll(() => remove(folder));

describe.each([['devices'], ['connections'], ['connections', '--activities'], ['alerts'], ['events']])('%s %s', (...args) => {
  const command = args.filter(Boolean);

  it('is written as table, JSON and JSON Lines, with the same rows', async () => {
    const [table, json, jsonl] = await Promise.all(
      ['table', 'json', 'jsonl'].map((format) => ot([...command, '--data', data, '--format', format])),
    );
    for (const { code, stderr } of [table, json, jsonl]) expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const rows = JSON.parse(json.stdout) as Row[];
    expect(rows.length).toBeGreaterThan(3);
    expect(lines(jsonl.stdout)).toEqual(rows);
    const [head, ...body] = table.stdout.trimEnd().split('\n');
    expect(head).toMatch(/^[a-z_]+( +[a-z_]+)+$/);
    expect(body).toHaveLength(rows.length);
  });

  it('ends at its limit, and holds to times', async () => {
    const all = await list(...command);
    expect(await list(...command, '--limit', '2')).toEqual(all.slice(0, 2));
    expect(await list(...command, '--since', '2100-01-01')).toEqual([]);
    expect(await list(...command, '--until', '2000-01-01T00:00:00Z')).toEqual([]);
    expect(await list(...command, '--since', '2000-01-01', '--until', '2100-01-01')).toEqual(all);
  });

  it('says that there is nothing', async () => {
    const none = [...command, '--since', '2100-01-01', '--data', data];
    expect((await ot(none)).stdout).toBe('nothing found\n');
    expect((await ot([...none, '--format', 'json'])).stdout).toBe('[]\n');
    expect((await ot([...none, '--format', 'jsonl'])).stdout).toBe('');
  });
});

describe('filters', () => {
  it('of devices', async () => {
    const all = await list('devices');
    const plcs = all.filter((row) => row.type === 'plc');
    expect(plcs.length).toBeGreaterThan(0);
    expect(await list('devices', '--type', 'plc')).toEqual(plcs);
    expect(await list('devices', '--id', String(plcs[0].id))).toEqual([plcs[0]]);
    expect(await list('devices', '--zone', 'cell A')).toEqual(all.filter((row) => row.zone === 'cell A'));
    expect(unique(await list('devices', '--ip', '10.10.1.10'), 'ip')).toEqual(['10.10.1.10']);
    expect(unique(await list('devices', '--programming-stations'), 'ip')).toEqual(['10.10.10.20']);
    expect(unique(await list('devices', '--text', 'mixing LINE'), 'model')).toEqual(['Mixing line']);
    const [plc] = await list('devices', '--ip', '10.10.1.10');
    for (const form of [plc.mac, String(plc.mac).toUpperCase(), String(plc.mac).replaceAll(':', '-')])
      expect(await list('devices', '--mac', form)).toEqual([plc]);
    const modbus = await list('devices', '--protocol', 'modbus');
    expect(modbus.map((row) => row.ip)).toContain('10.10.1.10');
    expect(modbus.length).toBeLessThan(all.length);
  });

  it('of connections', async () => {
    const all = await list('connections');
    const s7 = await list('connections', '--protocol', 's7comm');
    expect(s7).toEqual(all.filter((row) => row.app_proto === 's7comm'));
    expect(s7.length).toBeGreaterThan(0);
    expect(unique(await list('connections', '--port', '502'), 'app_proto')).toEqual(['modbus']);
    const host = await list('connections', '--ip', '10.20.0.50');
    expect(host).toEqual(all.filter((row) => row.opener_ip === '10.20.0.50' || row.responder_ip === '10.20.0.50'));
    expect(host.length).toBeGreaterThan(0);
    const zone = await list('connections', '--zone', 'cell B');
    expect(zone.length).toBeGreaterThan(0);
    expect(zone.length).toBeLessThan(all.length);
    const [device] = await list('devices', '--ip', '10.20.0.50');
    expect(await list('connections', '--device', String(device.id))).toEqual(host);
  });

  it('of activities', async () => {
    const writes = await list('connections', '--activities', '--operation', 'write');
    expect(unique(writes, 'operation')).toEqual(['write']);
    const s7 = await list('connections', '--activities', '--protocol', 's7comm', '--operation', 'stop');
    expect(s7.length).toBeGreaterThan(0);
    expect(unique(s7, 'app_proto')).toEqual(['s7comm']);
  });

  it('of alerts', async () => {
    const all = await list('alerts');
    const critical = await list('alerts', '--severity', 'critical');
    expect(critical).toEqual(all.filter((row) => row.severity === 'critical'));
    expect(critical.length).toBeGreaterThan(0);
    const two = await list('alerts', '--kind', 'zone_crossing,new_device');
    expect(two).toEqual(all.filter((row) => row.kind === 'zone_crossing' || row.kind === 'new_device'));
    expect(unique(two, 'kind')).toEqual(['new_device', 'zone_crossing']);
    expect(await list('alerts', '--id', String(all[1].id))).toEqual([all[1]]);
    expect(unique(await list('alerts', '--protocol', 'modbus'), 'app_proto')).toEqual(['modbus']);
    const enterprise = await list('alerts', '--zone', 'enterprise', '--kind', 'zone_crossing');
    expect(enterprise.map((row) => row.operation).sort()).toEqual(['read', 'write']);
    expect(await list('alerts', '--ip', '10.20.0.50', '--kind', 'zone_crossing')).toEqual(enterprise);
    expect(unique(await list('alerts', '--text', 'told to stop'), 'kind')).not.toEqual([]);
  });

  it('of events', async () => {
    const all = await list('events');
    const detected = await list('events', '--kind', 'device_detected');
    expect(detected).toEqual(all.filter((row) => row.kind === 'device_detected'));
    expect(detected).toHaveLength((await list('devices')).length);
    expect(await list('events', '--device', '1')).toEqual(all.filter((row) => row.device_id === 1));
  });
});

describe('a device as JSON', () => {
  it('has its addresses, and its attributes with their evidence', async () => {
    const [device] = (await list('devices', '--ip', '10.10.1.10')) as unknown as {
      addresses: string[];
      attributes: { attribute: string; value: string; app_proto: string; field: string; first_frame: number; first_ms: number }[];
      address_history: { ip: string; current: boolean }[];
    }[];
    expect(device.addresses).toContain('10.10.1.10');
    expect(device.address_history.map((address) => address.ip)).toContain('10.10.1.10');
    const model = device.attributes.find((attribute) => attribute.value === 'Mixing line')!;
    expect(model.app_proto).toBe('modbus');
    expect(model.field).not.toBe('');
    expect(model.first_ms).toBeGreaterThan(0);
  });
});

describe('evidence', () => {
  it('is a capture of the whole transaction, from the handshake on', async () => {
    const [alert] = (await list('alerts', '--kind', 'zone_crossing', '--zone', 'enterprise')) as unknown as {
      id: number;
      evidence: number;
      first_ms: number;
    }[];
    const out = path.join(folder, 'evidence.pcap');
    const { code, stdout, stderr } = await ot(['evidence', String(alert.id), '--out', out, '--data', data]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(new RegExp(`evidence\\.pcap: ${alert.evidence} packets of alert ${alert.id}: `));
    const { packets, warnings, error } = await readThrough(await openCaptureFile(out));
    expect({ warnings, error }).toEqual({ warnings: [], error: null });
    expect(packets).toHaveLength(alert.evidence);
    // IPv4 without options in Ethernet: TCP's flags stand at 14 + 20 + 13 (RFC 9293, 3.1).
    const flags = packets.map(({ data }) => Buffer.from(data, 'hex')[47] & 0x3f);
    expect(flags.slice(0, 3)).toEqual([0x02, 0x12, 0x10]);
    const times = packets.map(({ seconds, nanoseconds }) => seconds * 1000 + nanoseconds / 1e6);
    expect([...times].sort((a, b) => a - b)).toEqual(times);
    expect(times.at(-1)).toBeGreaterThanOrEqual(alert.first_ms - 0.01);
    // The request and, behind it, the answer: its PDU is in our own dissection of the file.
    const operations = lines<{ operation: string; role: string }>((await ot(['dissect', out])).stdout);
    expect(operations.map(({ role }) => role)).toContain('client');
  });

  it('replaces the file, and says what cannot be written', async () => {
    const out = path.join(folder, 'again.pcap');
    fs.writeFileSync(out, 'x'.repeat(100_000));
    expect((await ot(['evidence', '1', '--out', out, '--data', data])).code).toBe(0);
    expect(fs.statSync(out).size).toBeLessThan(100_000);
    const { code, stdout, stderr } = await ot(['evidence', '1', '--out', path.join(folder, 'no/such.pcap'), '--data', data]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/such\.pcap cannot be written: no such file or folder; choose another file with --out\n$/);
    expect((await ot(['evidence', '1', '--out', folder, '--data', data])).stderr).toMatch(/is a folder; choose another/);
    expect((await ot(['evidence', '1', '--out', '/dev/full', '--data', data])).code).toBe(2);
  });

  it('says that there is no such alert, and makes no file', async () => {
    const out = path.join(folder, 'none.pcap');
    const { code, stdout, stderr } = await ot(['evidence', '4711', '--out', out, '--data', data]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/there is no alert 4711 in .*; see: ot-sensor alerts/);
    expect(fs.existsSync(out)).toBe(false);
  });
});

describe('text from packets', () => {
  it('does not steer the terminal', async () => {
    // An LLDP frame (IEEE 802.1AB, 8): chassis id (MAC), port id, time to live, system name with ESC, CR, DEL, C1's CSI and a
    // right-to-left override.
    const name = 'evil\u001b[31m\r\u007f\u009b1m\u202ename';
    const tlv = (type: number, value: Buffer): Buffer => {
      const head = Buffer.alloc(2);
      head.writeUInt16BE((type << 9) | value.length);
      return Buffer.concat([head, value]);
    };
    const frame = Buffer.concat([
      Buffer.from('0180c200000e001b1b0a021488cc', 'hex'),
      tlv(1, Buffer.from('04001b1b0a0214', 'hex')),
      tlv(2, Buffer.from('\x07port-1', 'latin1')),
      tlv(3, Buffer.from([0, 120])),
      tlv(5, Buffer.from(name)),
      tlv(0, Buffer.alloc(0)),
    ]);
    const capture = path.join(folder, 'name.pcap');
    const writer = new PcapWriter(capture, [1]);
    for (const seconds of [1_700_000_000, 1_700_000_030]) writer.write(frame, 0, frame.length, frame.length, seconds, 0, 1);
    writer.close();
    const names = path.join(folder, 'names');
    const replay = await ot(['replay', capture, '--data', names]);
    expect(replay.code).toBe(0);
    const tables = [replay.stdout];
    for (const command of ['devices', 'alerts', 'events', 'connections'])
      tables.push((await ot([command, '--data', names])).stdout);
    expect(tables.join('')).toMatch(/evil .*31m.*name/);
    for (const table of tables) expect(table).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/);
    const json = (await ot(['devices', '--data', names, '--format', 'json'])).stdout;
    expect(json).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
    expect(json).toMatch(/evil/);
    expect(() => JSON.parse(json)).not.toThrow();
  });
});
