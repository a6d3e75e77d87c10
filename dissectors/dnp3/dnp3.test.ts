import { describe, expect, it } from 'vitest';
import { Conversation, Match, Reader } from '../../src/dissect/index.ts';
import { Bench, fromHex, type TestResult, type TestRow } from '../../src/dissect/testing.ts';
import type { Anomaly, State } from './application.ts';
import { crc } from './crc.ts';
import dnp3 from './dnp3.ts';
import { GROUPS, Size, variationOf } from './objects.ts';
import { RECORDS } from './records.ts';
import { FUNCTION_CODES_WITHOUT_DATA, fragment, frame, master, outstation } from './testing.ts';
import { transportCounters } from './transport.ts';

const bench = () => new Bench([dnp3]);
const pdu = (result: TestResult): TestRow => {
  const rows = result.rows.filter((row) => row.record === 'dnp3');
  expect(rows).toHaveLength(1);
  return rows[0];
};
const headers = (result: TestResult) => result.rows.filter((row) => row.record === 'dnp3_object');
const points = (result: TestResult) => result.rows.filter((row) => row.record !== 'dnp3' && row.record !== 'dnp3_object');
const only = (rows: TestRow[]): TestRow => {
  expect(rows).toHaveLength(1);
  return rows[0];
};
/** Fields of a point without those that every point has. */
function said(row: TestRow): Record<string, unknown> {
  const { function: _, function_name, group, group_name, variation, ...rest } = row.fields;
  return rest;
}
/** A response with these objects, alone in its conversation. */
const answered = (objects: string) => bench().send(1, outstation(`C0 81 0000 ${objects}`));
const asked = (fragment: string) => bench().send(0, master(fragment));

describe('data link layer (clause 9)', () => {
  it.each([
    // The header of a RESET_LINK_STATES and that of an application frame, from recordings of real stations.
    ['05 64 05 C0 01 00 00 04', 0x21e9],
    ['05 64 0A 44 01 00 0A 00', 0x256e],
    ['05 64 08 C4 0A 00 01 00', 0x42fc],
  ])('the CRC of %s is 0x%s', (header, value) => {
    expect(crc(fromHex(header), 0, 8)).toBe(value);
  });

  const link = (control: string, more: Partial<Record<string, unknown>>) => ({
    length: 5,
    dir: (Number.parseInt(control, 16) & 0x80) !== 0,
    prm: (Number.parseInt(control, 16) & 0x40) !== 0,
    destination: 1,
    source: 1024,
    ...more,
  });
  it.each([
    ['C0', { fcb: false, fcv: false, primary_function: 0, primary_function_name: 'reset_link_states' }],
    ['D2', { fcb: false, fcv: true, primary_function: 2, primary_function_name: 'test_link_states' }],
    ['F2', { fcb: true, fcv: true, primary_function: 2, primary_function_name: 'test_link_states' }],
    ['C9', { fcb: false, fcv: false, primary_function: 9, primary_function_name: 'request_link_status' }],
    ['00', { dfc: false, secondary_function: 0, secondary_function_name: 'ack' }],
    ['10', { dfc: true, secondary_function: 0, secondary_function_name: 'ack' }],
    ['01', { dfc: false, secondary_function: 1, secondary_function_name: 'nack' }],
    ['0B', { dfc: false, secondary_function: 11, secondary_function_name: 'link_status' }],
    ['0F', { dfc: false, secondary_function: 15, secondary_function_name: 'not_supported' }],
  ])('reads CONTROL %s', (control, fields) => {
    const row = pdu(bench().send(0, frame({ control: Number.parseInt(control, 16), destination: 1, source: 1024 })));
    expect(row.fields).toEqual(link(control, fields));
    expect(row.operation).toBe('session');
    expect(row.anomalies).toBeUndefined();
  });

  it('names a link function that the standard does not define, and user data where none belongs', () => {
    expect(pdu(bench().send(0, frame({ control: 0xc5 }))).anomalies).toEqual(['unknown_link_function']);
    expect(pdu(bench().send(0, frame({ control: 0xc4 }))).anomalies).toEqual(['unexpected_user_data']);
    expect(pdu(bench().send(0, frame({ control: 0xc0, data: fromHex('C0 C0 01') }))).anomalies).toEqual(['unexpected_user_data']);
    expect(pdu(bench().send(0, frame({ control: 0xc9, source: 0xffff }))).anomalies).toEqual(['reserved_address']);
  });

  it('takes the roles from DIR, whoever opened the conversation (case 37)', () => {
    const b = bench();
    b.conversation.client_direction = 0;
    expect(pdu(b.send(0, outstation('C0 81 0000'))).role).toBe('server');
    expect(pdu(b.send(1, master('C0 01 3C 02 06'))).role).toBe('client');
    expect(pdu(b.send(1, master('C0 01 3C 02 06'))).unit).toBe(10);
  });

  it('cuts frames of every length out of one stream', () => {
    const frames: number[] = [];
    for (let size = 1; size <= 250; size++) frames.push(...frame({ control: 0xc4, data: new Uint8Array(size).fill(0xc0) }));
    const rows = bench()
      .send(0, Uint8Array.from(frames))
      .rows.filter((row) => row.record === 'dnp3');
    expect(rows.map((row) => row.fields.length)).toEqual(Array.from({ length: 250 }, (_, i) => i + 6));
    expect(frame({ control: 0xc4, data: new Uint8Array(250) })).toHaveLength(292);
  });

  it('believes nothing of a header whose CRC is wrong', () => {
    const bytes = master('C0 01 3C 02 06');
    bytes[4] ^= 1;
    const { framing } = dnp3;
    expect(framing?.sizeOf(new Reader(bytes), bench().conversation)).toBe(10);
    const row = pdu(bench().send(0, bytes.slice(0, 10)));
    expect(row).toMatchObject({ status: 'malformed', anomalies: ['crc_error'], role: 'client', operation: 'other' });
    expect(row.unit).toBeUndefined();
    expect(dnp3.probe(new Reader(bytes))).toBe(Match.no);
  });

  it('names octets behind the frame of a datagram', () => {
    const bytes = Uint8Array.from([...frame({ control: 0xc9 }), 1, 2, 3]);
    const conversation = new Conversation<State, Anomaly>();
    conversation.state = dnp3.newState();
    const named: string[] = [];
    conversation.host = { payload: () => false, identify: () => {}, bind: () => {}, anomaly: (_, name) => named.push(name) };
    dnp3.dissect(new Reader(bytes, 10), (type) => type.newRow() as never, conversation);
    expect(named).toEqual(['not_a_frame']);
  });

  it('drops the user data of a frame when the CRC of any block is wrong', () => {
    const good = frame({ control: 0xc4, data: fromHex(`C0 C0 02 ${'0101 00 00 27 0000000000'.repeat(5)}`) });
    for (let at = 10; at < good.length; at++) {
      const bytes = good.slice();
      bytes[at] ^= 0x10;
      const result = bench().send(0, bytes);
      expect(result.rows).toHaveLength(1);
      expect(result.rows[0]).toMatchObject({ status: 'malformed', anomalies: ['crc_error'] });
    }
  });

  it('is certain of a header and of nothing else', () => {
    const bytes = master('C0 01 3C 02 06');
    expect(dnp3.probe(new Reader(bytes))).toBe(Match.certain);
    expect(dnp3.probe(new Reader(bytes, 0, 9))).toBe(Match.no);
    expect(dnp3.probe(new Reader(fromHex('16 03 01 02 00 01 00 01 FC 03')))).toBe(Match.no);
    expect(dnp3.probe(new Reader(fromHex('05 64 04 C4 0A 00 01 00 00 00')))).toBe(Match.no);
    for (let bit = 0; bit < 80; bit++) {
      const changed = bytes.slice();
      changed[bit >> 3] ^= 1 << (bit & 7);
      expect(dnp3.probe(new Reader(changed))).toBe(Match.no);
    }
  });
});

describe('transport function (clause 8)', () => {
  const response = fromHex(`C0 81 0000 01 02 00 00 F9 ${'81'.repeat(250)}`);
  const segments = (bytes: Uint8Array, first = 0) => fragment(bytes, { control: 0x44, sequence: first });

  it('joins the segments of a fragment, across the turn of the sequence number', () => {
    for (const first of [0, 62, 63]) {
      const b = bench();
      const [one, two] = segments(response, first);
      expect(pdu(b.send(1, one)).fields).not.toHaveProperty('function');
      const result = b.send(1, two);
      expect(pdu(result).fields).toMatchObject({ segment_count: 2, fragment_size: 259, function: 129, point_count: 250 });
      expect(points(result)).toHaveLength(250);
      expect(points(result).at(-1)?.fields).toMatchObject({ index: 249, state: true, online: true });
    }
  });

  it('joins each pair of stations and each direction by itself (several masters, several outstations)', () => {
    const b = bench();
    const stations = [1, 2, 3, 4].map((source) => fragment(response, { control: 0x44, source, destination: 100 + source }));
    for (const [one] of stations) b.send(1, one);
    for (const [index, [, two]] of stations.entries()) {
      expect(pdu(b.send(1, two)).fields).toMatchObject({ source: index + 1, function: 129 });
    }
  });

  it('names breaks of the sequence and forgets what was joined (8.2)', () => {
    const long = segments(fromHex(`C0 81 0000 01 02 00 00 FF ${'81'.repeat(600)}`));
    const b = bench();
    b.send(1, long[0]);
    expect(pdu(b.send(1, long[2])).anomalies).toEqual(['transport_sequence_break']);
    expect(pdu(b.send(1, long[2])).anomalies).toEqual(['transport_without_first']);
    b.send(1, long[0]);
    expect(pdu(b.send(1, segments(response, 9)[0])).anomalies).toEqual(['fragment_abandoned']);
    expect(pdu(b.send(1, segments(response, 9)[1])).fields).toMatchObject({ function: 129 });
  });

  it('joins a segment that comes twice once', () => {
    const b = bench();
    const [one, two] = segments(response);
    b.send(1, one);
    expect(pdu(b.send(1, one)).anomalies).toEqual(['transport_duplicate']);
    expect(pdu(b.send(1, two)).fields).toMatchObject({ fragment_size: 259 });
  });

  it('forgets what was half joined when bytes of the stream were lost', () => {
    const b = bench();
    const [one, two] = segments(response);
    b.send(1, one);
    b.conversation.gap_before = true;
    expect(pdu(b.send(1, two)).anomalies).toEqual(['transport_without_first']);
  });

  it('joins 64 segments of 249 octets and no more (case 35)', () => {
    const objects = `${'81'.repeat(64 * 249 - 4 - 7)}`;
    const largest = fromHex(`C0 81 0000 01 02 01 0000 ${'323E'}${objects}`);
    expect(largest).toHaveLength(64 * 249);
    const b = bench();
    const all = segments(largest);
    expect(all).toHaveLength(64);
    for (const segment of all.slice(0, -1)) b.send(1, segment);
    expect(pdu(b.send(1, all[63])).fields).toMatchObject({ segment_count: 64, fragment_size: 64 * 249, function: 129 });

    const endless = Array.from({ length: 65 }, (_, i) =>
      frame({ control: 0x44, data: Uint8Array.from([(i === 0 ? 0x40 : 0) | (i & 0x3f), ...new Uint8Array(249).fill(i)]) }),
    );
    const other = bench();
    for (const segment of endless.slice(0, 64)) expect(pdu(other.send(1, segment)).anomalies).toBeUndefined();
    expect(pdu(other.send(1, endless[64])).anomalies).toEqual(['fragment_too_long']);
  });

  it('keeps a bounded number of fragments open and serves the others (case 31)', () => {
    const b = bench();
    const many = Array.from({ length: 40 }, (_, source) => fragment(response, { control: 0x44, source, destination: 1 }));
    const anomalies = many.map(([one]) => pdu(b.send(1, one)).anomalies);
    expect(anomalies.slice(0, 8)).toEqual(Array(8).fill(undefined));
    expect(anomalies.slice(8)).toEqual(Array(32).fill(['fragment_abandoned']));
    expect(pdu(b.send(1, many[39][1])).fields.function).toBe(129);
    expect(pdu(b.send(1, many[0][1])).anomalies).toEqual(['transport_without_first']);
  });
});

it('takes the buffer of the conversation that was silent longest when all are in use', () => {
  const segments = fragment(fromHex(`C0 81 0000 01 02 00 00 F9 ${'81'.repeat(250)}`), { control: 0x44 });
  const { fragments_evicted } = transportCounters;
  const benches = Array.from({ length: 300 }, bench);
  for (const b of benches) b.send(1, segments[0]);
  expect(transportCounters.fragments_evicted - fragments_evicted).toBeGreaterThanOrEqual(300 - 128);
  expect(pdu(benches[0].send(1, segments[1])).anomalies).toEqual(['transport_without_first']);
  for (const b of benches.slice(-128))
    expect(pdu(b.send(1, segments[1])).fields).toMatchObject({ fragment_size: 259, function: 129 });
});

describe('application header (4.2.2)', () => {
  it('reads control, function and internal indications', () => {
    const row = pdu(bench().send(1, outstation('F3 82 90 2A')));
    expect(row.fields).toMatchObject({
      ...{ fir: true, fin: true, con: true, uns: true, sequence: 3, function: 130, function_name: 'unsolicited_response' },
      ...{ iin: 0x902a, iin_device_restart: true, iin_need_time: true, iin_broadcast: false, iin_local_control: false },
      ...{ iin_object_unknown: true, iin_event_buffer_overflow: true, iin_config_corrupt: true, iin_no_func_code_support: false },
    });
    expect(row.operation).toBe('report');
  });

  it.each([
    ['C0 00', 'session', 'confirm'],
    ['C0 01 3C 02 06', 'read', 'read'],
    ['C0 01 00 FE 00 00 00', 'identify', 'read'],
    ['C0 01 46 05 5B 01 08 00 01000000 00000000', 'file', 'read'],
    ['C0 02 50 01 00 07 07 00', 'write', 'write'],
    ['C0 02 32 01 07 01 B8C0D1647101', 'time_sync', 'write'],
    ['C0 02 22 01 00 00 00 0500', 'configure', 'write'],
    ['C0 03 0C 01 17 01 07 41 01 FA000000 00000000 00', 'control', 'select'],
    ['C0 05 0C 01 17 01 07 41 01 FA000000 00000000 00', 'control', 'direct_operate'],
    ['C0 06 29 02 17 01 07 1000 00', 'control', 'direct_operate_nr'],
    ['C0 07 14 00 06', 'control', 'immed_freeze'],
    ['C0 0D', 'restart', 'cold_restart'],
    ['C0 0E', 'restart', 'warm_restart'],
    ['C0 10 5A 01 06', 'mode_change', 'initialize_appl'],
    ['C0 11 5A 01 06', 'start', 'start_appl'],
    ['C0 12 5A 01 06', 'stop', 'stop_appl'],
    ['C0 13', 'configure', 'save_config'],
    ['C0 14 3C 02 06', 'subscribe', 'enable_unsolicited'],
    ['C0 16 3C 02 06 1E 00 06', 'subscribe', 'assign_class'],
    ['C0 17', 'time_sync', 'delay_measure'],
    ['C0 18', 'time_sync', 'record_current_time'],
    ['C0 19 46 03 5B 01 00 00', 'file', 'open_file'],
    ['C0 1F', 'configure', 'activate_config'],
    ['C0 20 78 02 5B 01 06 00 010000000100', 'authenticate', 'authenticate_req'],
  ])('%s is the operation %s', (text, operation, name) => {
    const row = pdu(asked(text));
    expect(row.operation).toBe(operation);
    expect(row.fields.function_name).toBe(name);
  });

  it('names an unknown function and one that goes the wrong way', () => {
    expect(pdu(asked('C0 60')).anomalies).toEqual(['unknown_function']);
    expect(pdu(bench().send(1, outstation('C0 01 3C 02 06'))).anomalies).toEqual(['direction_mismatch']);
    expect(pdu(asked('C0 81 0000')).anomalies).toEqual(['direction_mismatch']);
  });

  it('marks a fragment that ends within its header', () => {
    expect(pdu(asked('C0'))).toMatchObject({ status: 'malformed', anomalies: ['fragment_too_short'] });
    expect(pdu(bench().send(1, outstation('C0 81 00'))).status).toBe('malformed');
  });
});

describe('requests and responses', () => {
  it('joins a response with its request by sequence number', () => {
    const b = bench();
    b.send(0, master('C5 0D'));
    const row = pdu(b.send(1, outstation('C5 81 0000 34 01 07 01 0A00')));
    expect(row.operation).toBe('restart');
    expect(row.fields).toMatchObject({ request_function: 13, request_function_name: 'cold_restart', response_time_ms: 10 });
  });

  it('names a response that answers nothing, once a request was seen', () => {
    const b = bench();
    expect(pdu(b.send(1, outstation('C7 81 0000'))).anomalies).toBeUndefined();
    b.send(0, master('C5 01 3C 02 06'));
    expect(pdu(b.send(1, outstation('C6 81 0000'))).anomalies).toEqual(['response_mismatch']);
    expect(pdu(b.send(1, outstation('C5 81 0000'))).anomalies).toBeUndefined();
  });

  it('follows the fragments of a long response and its repetition', () => {
    const b = bench();
    b.send(0, master('C5 01 3C 01 06'));
    expect(pdu(b.send(1, outstation('A5 81 0000'))).operation).toBe('read');
    expect(pdu(b.send(0, master('C5 00'))).anomalies).toBeUndefined();
    expect(pdu(b.send(1, outstation('66 81 0000'))).fields.request_function).toBe(1);
    expect(pdu(b.send(1, outstation('66 81 0000'))).anomalies).toBeUndefined();
    expect(pdu(b.send(0, master('C5 00'))).anomalies).toEqual(['confirm_mismatch']);
  });

  it('lets several requests wait, as masters on TCP send them', () => {
    const b = bench();
    for (const request of ['C7 01 3C 02 06', 'C8 0D', 'C7 01 3C 03 06']) b.send(0, master(request));
    for (const [response, operation] of [
      ['C7 81 0000', 'read'],
      ['C8 81 0000', 'restart'],
      ['C7 81 0000', 'read'],
    ])
      expect(pdu(b.send(1, outstation(response)))).toMatchObject({ operation, fields: { response_time_ms: expect.any(Number) } });
  });

  it.each([
    ['01', 'error'],
    ['02', 'error'],
    ['04', 'error'],
    ['10', 'error'],
    ['08', 'read'],
    ['20', 'read'],
  ])('IIN2 of %s makes the response to a read: %s', (iin2, operation) => {
    const b = bench();
    b.send(0, master('C5 01 3C 02 06'));
    expect(pdu(b.send(1, outstation(`C5 81 00 ${iin2}`))).operation).toBe(operation);
  });

  it('is no error when a READ found some of its objects', () => {
    const b = bench();
    b.send(0, master('C5 01 3C 02 06 C8 00 06'));
    expect(pdu(b.send(1, outstation('C5 81 0002 01 02 00 07 07 81'))).operation).toBe('read');
    b.send(0, master('C6 05 0C 01 17 01 07 41 01 FA000000 00000000 00'));
    expect(pdu(b.send(1, outstation('C6 81 0004 0C 01 17 01 07 41 01 FA000000 00000000 04'))).operation).toBe('error');
    expect(pdu(bench().send(1, outstation('C6 81 0001'))).operation).toBe('error');
  });

  it('keeps the request that was challenged (clause 7)', () => {
    const b = bench();
    b.send(0, master('C5 0D'));
    const challenge = b.send(1, outstation('C5 83 0000 78 01 5B 01 0C 00 01000000 0100 04 01 AABBCCDD'));
    expect(pdu(challenge).operation).toBe('authenticate');
    b.send(0, master('C5 20 78 02 5B 01 0A 00 01000000 0100 11223344'));
    expect(pdu(b.send(1, outstation('C5 81 0000'))).operation).toBe('restart');
  });

  it('names a flood of requests without an answer once (case 34)', () => {
    const b = bench();
    const flooded = Array.from(
      { length: 100 },
      (_, i) => pdu(b.send(0, master(`C${(i & 15).toString(16)} 01 3C 02 06`))).anomalies,
    );
    expect(flooded.map((anomalies, i) => (anomalies ? i : -1)).filter((i) => i >= 0)).toEqual([32]);
    expect(flooded[32]).toEqual(['request_flood']);
  });

  it('keeps the associations of a gateway apart, and forgets the oldest of too many', () => {
    const b = bench();
    for (let station = 0; station < 200; station++) b.send(0, master('C5 0D', { outstation: station }));
    expect(pdu(b.send(1, outstation('C5 81 0000', { outstation: 199 }))).operation).toBe('restart');
    expect(pdu(b.send(1, outstation('C5 81 0000', { outstation: 0 }))).operation).toBe('other');
  });
});

describe('select and operate (4.4)', () => {
  // Frames 37 to 41 of a recording: opendnp3 master and outstation.
  const select = '05641ac40a0001008a1cc9c8030c012801000000030164000000a8776400000000005b';
  const selected = '05641c4401000a007636ccc88110000c01280100000003016400569a00006400000000005b';
  const operate = '05641ac40a0001008a1ccac9040c012801000000030164000000f4776400000000005b';
  const operated = '05641c4401000a007636cdc98110000c01280100000003016400c2b900006400000000005b';

  it('joins the four frames of a control', () => {
    const b = bench();
    for (const [direction, hex, name] of [
      [0, select, 'select'],
      [1, selected, 'response'],
      [0, operate, 'operate'],
      [1, operated, 'response'],
    ] as const) {
      const result = b.send(direction, hex);
      expect(pdu(result).anomalies).toBeUndefined();
      expect(pdu(result)).toMatchObject({ operation: 'control', unit: 10, target: ['binary output command', 0, 0] });
      expect(only(points(result))).toMatchObject({
        record: 'dnp3_control',
        operation: 'control',
        target: ['binary output command', 0, 0],
        fields: { function_name: name, group: 12, variation: 1, ...latch(0, 100, 100) },
      });
    }
  });

  const latch = (index: number, on: number, off: number) => ({
    ...{ index, index_prefix: index, control_code: 3, operation_type: 3, operation_type_name: 'latch_on', queue_clear: 0 },
    ...{ queue_clear_name: 'none', trip_close_code: 0, trip_close_code_name: 'nul', repeat_count: 1 },
    ...{ on_time_ms: on, off_time_ms: off, control_status: 0, control_status_name: 'success' },
  });

  it('gives a row an object, each with its function and status (case 42)', () => {
    const blocks = [1, 2, 9].map((i) => `0${i}00 81 03 64000000 C8000000 0${i}`).join('');
    const result = answered(`0C 01 28 0300 ${blocks}`);
    expect(only(headers(result)).fields).toMatchObject({ group: 12, variation: 1, quantity: 3 });
    expect(only(headers(result)).target).toEqual(['binary output command', 1, 9]);
    expect(points(result).map((row) => [row.fields.index, row.fields.function, row.fields.control_status_name])).toEqual([
      [1, 129, 'timeout'],
      [2, 129, 'no_select'],
      [9, 129, 'not_authorized'],
    ]);
    expect(points(result)[0].fields).toMatchObject({
      trip_close_code_name: 'trip',
      operation_type_name: 'pulse_on',
      repeat_count: 3,
    });
  });

  const block = (index: string) => `0C 01 17 01 ${index} 41 01 FA000000 00000000 00`;
  it('names an OPERATE without its SELECT', () => {
    expect(pdu(asked(`C1 04 ${block('07')}`)).anomalies).toEqual(['operate_without_select']);
    const b = bench();
    b.conversation.gap_before = true;
    expect(pdu(b.send(0, master(`C1 04 ${block('07')}`))).anomalies).toBeUndefined();
    b.send(0, master('C2 01 3C 02 06'));
    b.conversation.gap_before = false;
    expect(pdu(b.send(0, master(`C3 04 ${block('07')}`))).anomalies).toEqual(['operate_without_select']);
  });

  it.each([
    ['the same', `C3 04 ${block('07')}`, undefined],
    ['another point', `C3 04 ${block('08')}`, ['operate_mismatch']],
    ['another sequence number', `C4 04 ${block('07')}`, ['operate_mismatch']],
    ['one object more', `C3 04 ${block('07')} ${block('08')}`, ['operate_mismatch']],
  ])('compares OPERATE with SELECT: %s', (_, text, anomalies) => {
    const b = bench();
    b.send(0, master(`C2 03 ${block('07')}`));
    expect(pdu(b.send(0, master(text))).anomalies).toEqual(anomalies);
    expect(pdu(b.send(0, master(text))).anomalies).toEqual(anomalies);
  });
});

describe('object headers (4.2.2.7)', () => {
  it.each([
    ['1E 01 00 05 09', { prefix_code: 0, range_code: 0, range_start: 5, range_stop: 9 }, [5, 9]],
    ['1E 01 01 0500 0903', { prefix_code: 0, range_code: 1, range_start: 5, range_stop: 777 }, [5, 777]],
    ['1E 01 02 05000000 09030000', { prefix_code: 0, range_code: 2, range_start: 5, range_stop: 777 }, [5, 777]],
    ['1E 01 03 05 09', { prefix_code: 0, range_code: 3, range_start: 5, range_stop: 9 }, [5, 9]],
    ['1E 01 04 0500 0903', { prefix_code: 0, range_code: 4, range_start: 5, range_stop: 777 }, [5, 777]],
    ['1E 01 05 05000000 09030000', { prefix_code: 0, range_code: 5, range_start: 5, range_stop: 777 }, [5, 777]],
    ['1E 01 06', { prefix_code: 0, range_code: 6 }, [0, 0xffffffff]],
    ['1E 01 07 03', { prefix_code: 0, range_code: 7, quantity: 3 }, [0, 2]],
    ['1E 01 08 0300', { prefix_code: 0, range_code: 8, quantity: 3 }, [0, 2]],
    ['1E 01 09 03000000', { prefix_code: 0, range_code: 9, quantity: 3 }, [0, 2]],
    ['1E 01 17 02 07 03', { prefix_code: 1, range_code: 7, quantity: 2 }, [3, 7]],
    ['1E 01 28 0200 0700 0003', { prefix_code: 2, range_code: 8, quantity: 2 }, [7, 768]],
    ['1E 01 39 02000000 07000000 00000100', { prefix_code: 3, range_code: 9, quantity: 2 }, [7, 65536]],
  ])('READ %s', (text, fields, [first, last]) => {
    const result = asked(`C0 01 ${text} 3C 02 06`);
    expect(pdu(result)).toMatchObject({ operation: 'read', target: ['analog input', first, last] });
    expect(pdu(result).status).toBeUndefined();
    expect(headers(result)).toHaveLength(2);
    expect(headers(result)[0].fields).toMatchObject({
      object: 0x1e01,
      group: 30,
      group_name: 'analog input',
      variation: 1,
      ...fields,
    });
    expect(headers(result)[0].target).toEqual(['analog input', first, last]);
    expect(points(result).map((row) => row.fields.index_prefix)).toEqual(fields.prefix_code ? [7, last === 7 ? 3 : last] : []);
  });

  it('reads objects with a size before each, of 1, 2 and 4 octets', () => {
    for (const [qualifier, size] of [
      ['47', '05'],
      ['58', '0500'],
      ['69', '05000000'],
    ]) {
      const count = { 47: '02', 58: '0200', 69: '02000000' }[qualifier];
      const result = answered(`1E 01 ${qualifier} ${count} ${size} 01 05000000 ${size} 01 FBFFFFFF 01 02 00 07 07 81`);
      expect(points(result).map((row) => row.fields.value ?? row.fields.state)).toEqual([5, -5, true]);
    }
  });

  it.each([...FUNCTION_CODES_WITHOUT_DATA])('function %s has headers without data (case 32)', (code) => {
    const result = asked(`C0 ${code} 3C 02 06 3C 03 06 3C 04 06 1E 01 01 0000 FFFF 14 00 00 03 09 3C 01 06`);
    expect(pdu(result).status).toBeUndefined();
    expect(pdu(result).anomalies).toBeUndefined();
    expect(headers(result).map((row) => row.fields.object)).toEqual([0x3c02, 0x3c03, 0x3c04, 0x1e01, 0x1400, 0x3c01]);
    expect(headers(result)[0].target).toEqual(['class objects', 1, 1]);
    expect(points(result)).toEqual([]);
  });

  it('finds the data that go with a request without data', () => {
    // 4.4: FREEZE_AT_TIME has a time before the counters; clause 7: aggressive mode has its objects before and behind.
    expect(asked('C0 0B 32 02 07 01 B8C0D1647101 E8030000 14 00 06').rows.map((row) => row.record)).toEqual([
      ...['dnp3', 'dnp3_object', 'dnp3_time', 'dnp3_object'],
    ]);
    const aggressive = asked('C0 01 78 03 07 01 07000000 0100 3C 02 06 78 09 5B 01 0400 AABBCCDD');
    expect(aggressive.rows.map((row) => row.record)).toEqual([
      ...['dnp3', 'dnp3_object', 'dnp3_authentication', 'dnp3_object', 'dnp3_object', 'dnp3_authentication'],
    ]);
    expect(aggressive.rows.at(-1)?.fields).toMatchObject({ mac_value: 'aabbccdd' });
    expect(pdu(aggressive).operation).toBe('read');
  });

  it.each([
    ['1E 01 0A', 'invalid_qualifier'],
    ['1E 01 0C', 'invalid_qualifier'],
    ['1E 01 70 00 01', 'invalid_qualifier'],
    ['1E 01 86', 'invalid_qualifier'],
    ['1E 01 00 09 05', 'invalid_range'],
    ['1E 01 02 FFFFFFFF 00000000', 'invalid_range'],
    ['01 01 17 01 00 01', 'invalid_qualifier'],
  ])('%s is malformed: %s', (text, anomaly) => {
    const result = answered(`${text} 01 02 00 07 07 81`);
    expect(only(headers(result))).toMatchObject({ status: 'malformed', anomalies: [anomaly] });
    expect(points(result)).toEqual([]);
  });

  it('keeps what it does not know: as octets, or by its stated size', () => {
    const unknown = answered('C8 07 07 01 AABB');
    expect(only(headers(unknown))).toMatchObject({ anomalies: ['unknown_object'], fields: { data: 'aabb' } });
    const sized = answered('C8 07 5B 01 0200 AABB 01 02 00 07 07 81');
    expect(headers(sized)).toHaveLength(2);
    expect(points(sized).map((row) => row.record)).toEqual(['dnp3_data', 'dnp3_binary_input']);
    expect(points(sized)[0].fields).toMatchObject({ group: 200, variation: 7, data: 'aabb' });
  });

  it('makes progress whatever counts and prefixes say (case 46)', () => {
    for (const text of [
      '3C 01 09 FFFFFFFF',
      '3C 01 02 00000000 FFFFFFFF',
      '6E 00 09 FFFFFFFF',
      '1E 01 69 FFFFFFFF 00000000',
      '6E 00 17 FF 01 02 03',
      '1E 01 09 FFFFFFFF 01',
      '01 01 02 00000000 FEFFFFFF FF',
      '46 05 5B FF 0000 0000 0000',
    ]) {
      const { rows } = answered(text);
      expect(rows.length).toBeLessThan(30);
    }
  });

  it('bounds objects and points and says so (case 34)', () => {
    const many = (text: string) => {
      const b = bench();
      const all = fragment(fromHex(text), { control: 0x44 });
      for (const segment of all.slice(0, -1)) b.send(1, segment);
      return b.send(1, all[all.length - 1]);
    };
    const objects = many(`C0 81 0000 ${'3C0106'.repeat(300)}`);
    expect(pdu(objects).anomalies).toEqual(['too_many_objects']);
    expect(headers(objects)).toHaveLength(255);

    const numbered = many(`C0 81 0000 01 02 01 0000 8713 ${'81'.repeat(5000)} 01 02 00 07 07 81`);
    expect(pdu(numbered).anomalies).toEqual(['too_many_points']);
    expect(headers(numbered)).toHaveLength(2);
    expect(points(numbered)).toHaveLength(3584);

    const packed = many(`C0 81 0000 01 01 01 0000 FF7F ${'A5'.repeat(4096)}`);
    expect(pdu(packed).anomalies).toEqual(['too_many_points']);
    const rows = points(packed).filter((row) => row.record === 'dnp3_packed_points');
    expect(rows.map((row) => row.fields.index)).toEqual([3584, 3584 + 8192, 3584 + 2 * 8192, 3584 + 3 * 8192]);
    const states = rows.flatMap((row) => row.fields.states as number[]);
    expect(states).toHaveLength(32768 - 3584);
    expect(states.slice(0, 8)).toEqual([1, 0, 1, 0, 0, 1, 0, 1]);
    expect(packed.rows.length).toBeLessThanOrEqual(4096);
  });
});

describe('the object library (Annex A)', () => {
  const every = [...GROUPS].flatMap(([group, { variations, any }]) =>
    [...variations.keys(), ...(any ? [1, 8] : [])].map((variation) => ({ group, variation })),
  );
  const hex = (value: number, size = 1) =>
    Buffer.from(Uint8Array.from({ length: size }, (_, i) => (value >> (8 * i)) & 255)).toString('hex');

  it.each(every)('group $group variation $variation takes exactly its octets', ({ group, variation }) => {
    const known = variationOf(group, variation);
    if (!known || known.kind === 'none') return;
    const head = hex(group) + hex(variation);
    const sentinel = '01 02 00 07 07 81';
    const texts: [string, number][] = [];
    if (known.bits > 0) texts.push([`${head} 00 03 0C ${'5A'.repeat(Math.ceil((10 * known.bits) / 8))}`, 10]);
    else if (group === 0) texts.push([`${head} 00 00 00 01 03 414243`, 1]);
    else if (known.size === Size.by_itself) texts.push([`${head} 07 01 58595A20 0100 0300 AABBCC`, 1]);
    else if (known.size === Size.by_prefix) texts.push([`${head} 5B 01 4000 ${'00'.repeat(64)}`, 1]);
    else {
      const size = known.size === Size.by_variation ? variation : known.size;
      const data = '11'.repeat(size);
      texts.push(
        [`${head} 00 03 04 ${data} ${data}`, 2],
        [`${head} 28 0200 0900 ${data} FFFF ${data}`, 2],
        [`${head} 07 01 ${data}`, 1],
      );
    }
    for (const [text, count] of texts) {
      const whole = answered(`${text} ${sentinel}`);
      expect(pdu(whole)).toMatchObject({ fields: { object_header_count: 2, point_count: count + 1 } });
      expect(pdu(whole).status).toBeUndefined();
      expect(pdu(whole).anomalies).toBeUndefined();
      expect(points(whole)).toHaveLength(count + 1);
      expect(points(whole).at(-1)?.fields).toMatchObject({ group: 1, index: 7, state: true });
      const octets = fromHex(text).length;
      const cut = bench().send(1, outstation(fromHex(`C0 81 0000 ${text}`).slice(0, 4 + octets - 1)));
      expect(pdu(cut).status).toBe('malformed');
    }
  });

  it('has every group of IEEE 1815-2012', () => {
    expect([...GROUPS.keys()]).toEqual([
      ...[0, 1, 2, 3, 4, 10, 11, 12, 13, 20, 21, 22, 23, 30, 31, 32, 33, 34, 40, 41, 42, 43, 50, 51, 52, 60, 70],
      ...[80, 81, 82, 83, 85, 86, 87, 88, 90, 91, 100, 101, 102, 110, 111, 112, 113, 114, 115, 120, 121, 122],
    ]);
  });

  const flags = { online: true, restart: false, comm_lost: false, remote_forced: false, local_forced: true };
  const clear = { online: false, restart: false, comm_lost: false, remote_forced: false, local_forced: false };
  it.each<[string, string, string, Record<string, unknown>]>([
    ['A.2 g1v1', '01 01 00 05 05 01', 'dnp3_binary_input', { index: 5, state: true, state_bit: true }],
    [
      'A.2 g1v2',
      '01 02 00 05 05 B1',
      'dnp3_binary_input',
      { index: 5, flags: 0xb1, ...flags, chatter_filter: true, reserved: false, state: true, state_flag: true },
    ],
    [
      'A.3 g2v2',
      '02 02 17 01 05 11 B8C0D1647101',
      'dnp3_binary_input',
      {
        ...{
          index: 5,
          index_prefix: 5,
          flags: 0x11,
          ...flags,
          chatter_filter: false,
          reserved: false,
          state: false,
          state_flag: false,
        },
        time: '2020-04-10T16:00:00.184Z',
      },
    ],
    [
      'A.4 g3v1',
      '03 01 00 00 00 02',
      'dnp3_double_bit_input',
      { index: 0, state: 2, state_name: 'determined_on', state_bits: 2 },
    ],
    [
      'A.4 g3v2',
      '03 02 00 00 00 51',
      'dnp3_double_bit_input',
      {
        ...{ index: 0, flags: 0x51, ...flags, chatter_filter: false, state: 1, state_name: 'determined_off' },
        ...{ state_low: true, state_high: false },
      },
    ],
    ['A.6 g10v2', '0A 02 00 00 00 80', 'dnp3_binary_output', { index: 0, flags: 0x80, ...clear, state: true, state_flag: true }],
    [
      'A.9 g13v2',
      '0D 02 17 01 02 85 B8C0D1647101',
      'dnp3_binary_command_event',
      {
        ...{ index: 2, index_prefix: 2, control_status: 5, control_status_name: 'already_active', commanded_state: true },
        time: '2020-04-10T16:00:00.184Z',
      },
    ],
    [
      'A.10 g20v1',
      '14 01 00 00 00 51 FFFFFFFF',
      'dnp3_counter',
      { index: 0, flags: 0x51, ...flags, rollover: false, discontinuity: true, value: 4294967295 },
    ],
    ['A.10 g20v6', '14 06 00 00 00 FFFF', 'dnp3_counter', { index: 0, value: 65535 }],
    [
      'A.14 g30v1',
      '1E 01 00 00 00 71 FEFFFFFF',
      'dnp3_analog_input',
      { index: 0, flags: 0x71, ...flags, over_range: true, reference_err: true, value: -2, value_integer: -2 },
    ],
    ['A.14 g30v4', '1E 04 00 00 00 FEFF', 'dnp3_analog_input', { index: 0, value: -2, value_integer: -2 }],
    [
      'A.14 g30v5',
      '1E 05 00 00 00 00 00004841',
      'dnp3_analog_input',
      { index: 0, flags: 0, ...clear, over_range: false, reference_err: false, value: 12.5, value_float: 12.5 },
    ],
    [
      'A.14 g30v6',
      '1E 06 00 00 00 00 0000000000002940',
      'dnp3_analog_input',
      { index: 0, flags: 0, ...clear, over_range: false, reference_err: false, value: 12.5, value_double: 12.5 },
    ],
    ['A.18 g34v1', '22 01 00 00 00 FFFF', 'dnp3_deadband', { index: 0, value: 65535, value_integer: 65535 }],
    ['A.18 g34v3', '22 03 00 00 00 0000803F', 'dnp3_deadband', { index: 0, value: 1, value_float: 1 }],
    [
      'A.20 g41v2',
      '29 02 17 01 07 F6FF 04',
      'dnp3_analog_command',
      { index: 7, index_prefix: 7, value: -10, value_integer: -10, control_status: 4, control_status_name: 'not_supported' },
    ],
    [
      'A.22 g43v4',
      '2B 04 17 01 07 00 F6FF B8C0D1647101',
      'dnp3_analog_command',
      {
        ...{ index: 7, index_prefix: 7, value: -10, value_integer: -10, control_status: 0, control_status_name: 'success' },
        time: '2020-04-10T16:00:00.184Z',
      },
    ],
    [
      'A.23 g50v4',
      '32 04 07 01 B8C0D1647101 05000000 03',
      'dnp3_time',
      { time: '2020-04-10T16:00:00.184Z', interval: 5, interval_units: 3, interval_units_name: 'minutes' },
    ],
    ['A.25 g52v1', '34 01 07 01 0A00', 'dnp3_time_delay', { delay: 10, delay_ms: 10000 }],
    ['A.25 g52v2', '34 02 07 01 0A00', 'dnp3_time_delay', { delay: 10, delay_ms: 10 }],
    ['A.28 g80v1', '50 01 00 07 07 00', 'dnp3_internal_indication', { index: 7, state: false }],
    [
      'A.29 g81v1',
      '51 01 07 01 E3 1E 02',
      'dnp3_data',
      { fill_percentage: 99, overflow: true, buffer_group: 30, buffer_group_name: 'analog input', buffer_variation: 2 },
    ],
    ['A.39 g101v2', '65 02 07 01 78563412', 'dnp3_data', { value: 12345678 }],
    ['A.40 g102v1', '66 01 00 03 03 FE', 'dnp3_data', { index: 3, value: 254 }],
    ['A.41 g110v5', '6E 05 00 03 03 68656C6C6F', 'dnp3_octet_string', { index: 3, data: '68656c6c6f' }],
    [
      'A.46 g121v1',
      '79 01 00 05 05 01 0000 09000000',
      'dnp3_security_statistic',
      { index: 5, flags: 1, statistic: 5, statistic_name: 'total_messages_sent', association_id: 0, value: 9 },
    ],
  ])('%s', (_, text, record, fields) => {
    const row = only(points(answered(text)));
    expect(row.record).toBe(record);
    expect(said(row)).toEqual(fields);
  });

  it('adds relative times to the common time of occurrence (A.24)', () => {
    const result = answered('33 01 07 01 B8C0D1647101 02 03 17 02 01 81 0100 02 01 E803');
    expect(points(result).map((row) => row.fields.common_time)).toEqual([
      ...[undefined, '2020-04-10T16:00:00.185Z', '2020-04-10T16:00:01.184Z'],
    ]);
    expect(only(points(answered('02 03 17 01 01 81 0100'))).fields).not.toHaveProperty('common_time');
  });
});

describe('device attributes (A.1, case 43)', () => {
  it.each([
    ['FC', 'vendor', "device manufacturer's name"],
    ['FA', 'model', "device manufacturer's product name and model"],
    ['F8', 'serial', 'device serial number'],
    ['F2', 'firmware', "device manufacturer's software version"],
    ['F3', 'hardware', "device manufacturer's hardware version"],
    ['F7', 'name', 'user-assigned device name'],
    ['F5', 'location', 'user-assigned location name'],
  ])('variation %s says the %s', (variation, attribute, name) => {
    const result = answered(`00 ${variation} 00 00 00 01 05 41636D6520`);
    expect(said(only(points(result)))).toMatchObject({
      attribute_set: 0,
      attribute_name: name,
      data_type_name: 'visible_string',
      text: 'Acme',
    });
    expect(result.identities).toEqual([
      { side: 'sender', part: 'outstation 10', attribute, value: 'Acme', field: 'dnp3_device_attribute.text' },
    ]);
  });

  it('says nothing of attributes of private sets, nor of those that a master writes', () => {
    expect(answered('00 FC 00 01 01 01 05 41636D6520').identities).toEqual([]);
    expect(asked('C0 02 00 F7 00 00 00 01 05 41636D6520').identities).toEqual([]);
  });

  it.each([
    ['02 01 05', { value: 5 }],
    ['02 02 0101', { value: 257 }],
    ['02 04 FFFFFFFF', { value: 4294967295 }],
    ['03 01 FF', { value: -1 }],
    ['03 02 FEFF', { value: -2 }],
    ['03 04 FEFFFFFF', { value: -2 }],
    ['04 04 00004841', { value: 12.5 }],
    ['04 08 0000000000002940', { value: 12.5 }],
    ['05 02 AABB', { data: 'aabb' }],
    ['07 06 B8C0D1647101', { time: '2020-04-10T16:00:00.184Z' }],
    ['FE 04 FC00FA00', { data: 'fc00fa00' }],
  ])('reads %s', (value, fields) => {
    expect(only(points(answered(`00 E5 00 00 00 ${value}`))).fields).toMatchObject(fields);
  });
});

describe('files (A.27, case 47)', () => {
  const file = (variation: number, data: string) => {
    const size = fromHex(data).length;
    return said(only(points(answered(`46 0${variation} 5B 01 ${size.toString(16).padStart(2, '0')}00 ${data}`))));
  };
  const name = Buffer.from('a.cfg').toString('hex');

  it.each<[number, string, Record<string, unknown>]>([
    [
      1,
      `0500 01 00 0000 0000 10000000 B8C0D1647101 A401 07000000 00000000 00000000 01 00 ${name} 0200 AABB`,
      { file_name_size: 5, file_size: 16, handle: 7, file_status: 0, file_name: 'a.cfg', data: 'aabb' },
    ],
    [2, '0C00 0400 1000 0600 01000000 75736572 736563726574', { user_name: 'user', password_size: 6, authentication_key: 1 }],
    [
      3,
      `1A00 0500 B8C0D1647101 A401 01000000 10000000 0100 0004 0900 ${name}`,
      {
        ...{
          file_name_offset: 26,
          file_name_size: 5,
          file_time: '2020-04-10T16:00:00.184Z',
          permissions: 0o644,
          authentication_key: 1,
        },
        ...{ file_size: 16, mode: 1, mode_name: 'read', max_block_size: 1024, request_id: 9, file_name: 'a.cfg' },
      },
    ],
    [
      4,
      '07000000 10000000 0004 0900 03 6E6F',
      {
        handle: 7,
        file_size: 16,
        max_block_size: 1024,
        request_id: 9,
        file_status: 3,
        file_status_name: 'file_not_found',
        text: 'no',
      },
    ],
    [5, '07000000 02000080 AABB', { handle: 7, block_number: 2, last_block: true, data: 'aabb' }],
    [6, '07000000 02000000 00', { handle: 7, block_number: 2, last_block: false, file_status: 0, file_status_name: 'success' }],
    [
      7,
      `1400 0500 0000 10000000 B8C0D1647101 A401 0900 ${name}`,
      { file_type: 0, file_type_name: 'directory', file_size: 16, permissions: 0o644, request_id: 9, file_name: 'a.cfg' },
    ],
    [8, name, { file_name: 'a.cfg' }],
  ])('variation %i', (variation, data, fields) => {
    expect(file(variation, data)).toMatchObject(fields);
  });

  it('does not keep the password', () => {
    expect(JSON.stringify(file(2, '0C00 0400 1000 0600 01000000 75736572 736563726574'))).not.toMatch(/secret|736563726574/);
  });
});

describe('secure authentication (clause 7, A.45)', () => {
  it.each<[number, string, Record<string, unknown>]>([
    [
      1,
      '01000000 0200 04 01 AABBCCDD',
      {
        challenge_sequence: 1,
        user_number: 2,
        mac_algorithm_name: 'hmac_sha_256_16',
        reason_name: 'critical',
        challenge_data: 'aabbccdd',
      },
    ],
    [2, '01000000 0200 AABB', { challenge_sequence: 1, user_number: 2, mac_value: 'aabb' }],
    [3, '01000000 0200', { challenge_sequence: 1, user_number: 2 }],
    [4, '0200', { user_number: 2 }],
    [
      5,
      '01000000 0200 02 02 04 0200 AABB CCDD',
      {
        key_change_sequence: 1,
        key_wrap_algorithm_name: 'aes_256',
        key_status_name: 'not_init',
        challenge_data: 'aabb',
        mac_value: 'ccdd',
      },
    ],
    [6, '01000000 0200 AABBCC', { key_change_sequence: 1, user_number: 2, key_size: 3 }],
    [
      7,
      '01000000 0200 0300 01 B8C0D1647101 6E6F',
      { association_id: 3, error_code_name: 'authentication_failed', time: '2020-04-10T16:00:00.184Z', text: 'no' },
    ],
    [8, '03 01 AABB', { key_change_method: 3, certificate_type_name: 'id_certificate', certificate: 'aabb' }],
    [9, 'AABB', { mac_value: 'aabb' }],
    [
      10,
      '03 01 05000000 0100 1E00 0200 0100 0200 6D65 FF AABB',
      {
        ...{ user_operation_name: 'add', status_change_sequence: 5, user_role_name: 'operator', role_expiry_interval: 30 },
        ...{ user_name: 'me', key_size: 1, certificate: 'aabb' },
      },
    ],
    [11, '03 0200 0200 6D65 AABB', { user_name: 'me', challenge_data: 'aabb' }],
    [12, '01000000 0200 0200 AABB', { key_change_sequence: 1, user_number: 2, challenge_data: 'aabb' }],
    [13, '01000000 0200 0200 AABB', { key_change_sequence: 1, user_number: 2, key_size: 2 }],
    [14, 'AABB', { certificate: 'aabb' }],
    [15, 'AABB', { mac_value: 'aabb' }],
  ])('variation %i', (variation, data, fields) => {
    const size = fromHex(data).length.toString(16).padStart(2, '0');
    const result = asked(`C0 20 78 ${variation.toString(16).padStart(2, '0')} 5B 01 ${size}00 ${data}`);
    expect(only(points(result)).fields).toMatchObject(fields);
    expect(pdu(result).status).toBeUndefined();
  });
});

describe('bytes that somebody forged or lost (cases 38 and 39)', () => {
  const samples = [...GROUPS].flatMap(([group, { variations, any }]) =>
    [...variations.keys(), ...(any ? [1, 200] : [])].map((variation) =>
      fromHex(`C0 81 0000 ${hexByte(group)}${hexByte(variation)} 28 0200 0100 ${'A5'.repeat(20)}`),
    ),
  );
  function hexByte(value: number): string {
    return value.toString(16).padStart(2, '0');
  }

  it('comes to an end at every cut of every group, and says that it was cut', () => {
    for (const sample of samples)
      for (let size = 0; size <= sample.length; size++) {
        const { rows } = bench().send(1, outstation(sample.slice(0, size)));
        expect(rows.length).toBeGreaterThan(0);
      }
  });

  it('marks a frame that the capture cut off, and reads as far as it goes', () => {
    const bytes = outstation(`C0 81 0000 1E 01 00 00 0A ${'01 05000000'.repeat(11)}`);
    for (let size = 10; size < bytes.length; size++) {
      const result = bench().send(1, bytes.slice(0, size), { complete: false });
      expect(pdu(result).status).toBe('truncated');
      for (const row of points(result).slice(0, -1)) expect(row.fields.value).toBe(5);
    }
    expect(points(bench().send(1, bytes.slice(0, 60), { complete: false })).length).toBeGreaterThan(5);
  });

  it('survives any octets', () => {
    let seed = 1;
    const octet = () => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return seed >>> 24;
    };
    const groups = [...GROUPS.keys()];
    const b = bench();
    for (let round = 0; round < 4000; round++) {
      const bytes = Uint8Array.from({ length: 8 + (octet() % 200) }, octet);
      bytes[1] = [1, 2, 3, 5, 25, 32, 129, 130, 131][octet() % 9];
      const at = bytes[1] >= 129 ? 4 : 2;
      bytes[at] = groups[octet() % groups.length];
      bytes[at + 1] = octet() % 10;
      bytes[at + 2] = [0, 1, 2, 6, 7, 8, 9, 0x17, 0x28, 0x39, 0x5b, 0x48, 0x69][octet() % 13];
      const { rows } = b.send(round & 1 ? 1 : 0, round & 1 ? outstation(bytes) : master(bytes));
      expect(rows.length).toBeLessThan(4096);
    }
  });
});

it('is the same on UDP, where a datagram is cut like a stream (case 40)', () => {
  expect(dnp3.carriers).toEqual([
    { layer: 'tcp', port: 20000 },
    { layer: 'udp', port: 20000 },
  ]);
  const b = bench();
  b.conversation.is_stream = false;
  const two = Uint8Array.from([...master('C0 01 3C 02 06'), ...master('C1 0D')]);
  expect(b.send(0, two).rows.map((row) => [row.record, row.operation])).toEqual([
    ...[
      ['dnp3', 'read'],
      ['dnp3_object', 'read'],
      ['dnp3', 'restart'],
    ],
  ]);
});

it('declares each record once', () => {
  expect(new Set(RECORDS.map((type) => type.name)).size).toBe(RECORDS.length);
  expect(dnp3.records).toHaveLength(RECORDS.length);
});
