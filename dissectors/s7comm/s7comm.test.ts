import { describe, expect, it } from 'vitest';
import { Bench, type TestResult, type TestRow } from '../../src/dissect/testing.ts';
import cotp from '../cotp/cotp.ts';
import tpkt from '../tpkt/tpkt.ts';
import s7comm from './s7comm.ts';

// There is no public specification: PDUs marked "snap7" are from fixtures/ (snap7 client and server), the others are put together by hand.

const hexOf = (text: string): string => text.replace(/\s+/g, '');
const bytesIn = (text: string): number => hexOf(text).length / 2;
const u16 = (value: number): string => value.toString(16).padStart(4, '0');
const text = (value: string): string => Buffer.from(value, 'latin1').toString('hex');

const packet = (pdu: string): string => `0300${u16(bytesIn(pdu) + 7)}02f080${hexOf(pdu)}`;
const job = (reference: number, parameter: string, data = ''): string =>
  packet(`32010000 ${u16(reference)} ${u16(bytesIn(parameter))} ${u16(bytesIn(data))} ${parameter} ${data}`);
const answer = (reference: number, parameter: string, data = '', error = '0000'): string =>
  packet(`32030000 ${u16(reference)} ${u16(bytesIn(parameter))} ${u16(bytesIn(data))} ${error} ${parameter} ${data}`);

interface Userdata {
  reference?: number;
  sequence?: number;
  unit?: number;
  more?: number;
  error?: string;
  returnCode?: string;
}
const KIND = { push: 0, request: 4, response: 8 };
function userdata(kind: keyof typeof KIND, group: number, subfunction: number, payload: string, more: Userdata = {}): string {
  const code = (value: number): string => value.toString(16).padStart(2, '0');
  const isAnswer = kind !== 'request';
  const head = `000112 ${isAnswer ? '08 12' : '04 11'} ${code(KIND[kind] * 16 + group)} ${code(subfunction)} ${code(more.sequence ?? 0)}`;
  const parameter = isAnswer ? `${head} ${code(more.unit ?? 0)} ${code(more.more ?? 0)} ${more.error ?? '0000'}` : head;
  const data = `${more.returnCode ?? 'ff'} ${bytesIn(payload) > 0 ? '09' : '00'} ${u16(bytesIn(payload))} ${payload}`;
  return packet(`32070000 ${u16(more.reference ?? 0)} ${u16(bytesIn(parameter))} ${u16(bytesIn(data))} ${parameter} ${data}`);
}

const bench = (): Bench => new Bench([tpkt, cotp, s7comm]);
const s7 = ({ rows }: TestResult): TestRow[] => rows.filter((row) => row.record !== 'cotp');
const fields = (result: TestResult, index = 0): Record<string, unknown> => s7(result)[index].fields;
const of = (result: TestResult, record: string): Record<string, unknown>[] =>
  result.rows.filter((row) => row.record === record).map((row) => row.fields);

describe('header and setup', () => {
  it('setup communication (snap7)', () => {
    const b = bench();
    const request = b.request('0300001902f08032010000000000080000f0000001000101e0');
    expect(s7(request)).toEqual([
      {
        record: 's7comm',
        operation: 'session',
        role: 'client',
        fields: {
          protocol_id: 0x32,
          rosctr: 1,
          rosctr_name: 'job',
          redundancy_identification: 0,
          pdu_reference: 0,
          parameter_length: 8,
          data_length: 0,
          function: 0xf0,
          function_name: 'setup_communication',
          max_amq_calling: 1,
          max_amq_called: 1,
          pdu_length: 480,
        },
      },
    ]);
    const response = b.response('0300001b02f080320300000000000800000000f0000001000101e0');
    expect(fields(response)).toMatchObject({ error_class: 0, error_code: 0, pdu_length: 480 });
    expect(s7(response)[0]).toMatchObject({ operation: 'session', role: 'server' });
  });

  it('a PDU larger than was agreed is named', () => {
    const b = bench();
    b.request(job(1, 'f0 00 0001 0001 00f0'));
    b.response(answer(1, 'f0 00 0001 0001 00f0'));
    const write = (size: number): string =>
      job(2, `0501 120a1002 ${u16(size)} 0001 84 000000`, `0004 ${u16(size * 8)} ${'00'.repeat(size)}`);
    expect(s7(b.request(write(212)))[0].anomalies).toBeUndefined();
    expect(s7(b.request(write(213)))[0].anomalies).toContain('larger_than_negotiated');
  });

  it('an acknowledgement with an error names it and the job it answers (snap7)', () => {
    const b = bench();
    b.request('0300002302f080320100000f00001200001d00000000000000095f3041303030303141');
    const [row] = s7(b.response('0300001302f080320200000f0000000000d241'));
    expect(row).toMatchObject({ operation: 'error', anomalies: ['error_response'] });
    expect(row.fields).toMatchObject({
      error_class: 0xd2,
      error_code: 0x41,
      error: 0xd241,
      error_name: 'function not permitted at this protection level',
      request_function_name: 'start_upload',
      block_kind_name: 'DB',
      block_number: 1,
    });
    expect(row.status).toBeUndefined();
  });

  it('lengths that do not add up', () => {
    expect(s7(bench().request(packet('32010000 0001 0008 0004 f0 00 0001 0001 00f0')))[0].anomalies).toEqual(['length_mismatch']);
  });

  it('an unknown kind of PDU', () => {
    expect(s7(bench().request(packet('32050000 0001 0000 0000')))[0].anomalies).toEqual(['unknown_rosctr']);
  });

  it('an unknown function', () => {
    expect(s7(bench().request(job(1, '77 01')))[0]).toMatchObject({ operation: 'other', anomalies: ['unknown_function'] });
  });
});

describe('variables', () => {
  it('read: the request says what, the response how much of it (snap7)', () => {
    const b = bench();
    const request = b.request('0300001f02f080320100000100000e00000401120a10020010000184000000');
    expect(s7(request)[1]).toEqual({
      record: 's7comm_item',
      operation: 'read',
      role: 'client',
      target: ['DB 1', 0, 15],
      fields: {
        item_index: 0,
        variable_specification: 0x12,
        specification_length: 10,
        syntax: 0x10,
        syntax_name: 's7any',
        element: 2,
        element_name: 'byte',
        area: 0x84,
        area_name: 'data_block',
        length: 16,
        db: 1,
        address: 0,
        byte_address: 0,
        bit_address: 0,
      },
    });
    const response = b.response('0300002902f0803203000001000002001400000401ff04008000000000010203040000000000000000');
    expect(s7(response)[1]).toMatchObject({ operation: 'read', role: 'server', target: ['DB 1', 0, 15] });
    expect(fields(response, 1)).toMatchObject({
      request_db: 1,
      request_area: 0x84,
      request_address: 0,
      request_length: 16,
      return_code_name: 'success',
      data_length: 16,
      data: '00000000010203040000000000000000',
      values: [0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0],
    });
    expect(fields(response, 1)).not.toHaveProperty('db');
  });

  it.each([
    ['bit', '01 0001 0000 81 00000b', 'ff 03 0001 01', [1], ['I', 1, 1]],
    ['int, negative', '05 0002 0001 84 000050', 'ff 05 0020 ffff 0001', [-1, 1], ['DB 1', 10, 13]],
    ['word', '04 0001 0000 83 000640', 'ff 04 0010 abcd', [0xabcd], ['M', 200, 201]],
    ['dword', '06 0001 0000 82 000000', 'ff 04 0020 ffffffff', [0xffffffff], ['Q', 0, 3]],
    ['dint', '07 0001 0002 84 000000', 'ff 04 0020 ffffffff', [-1], ['DB 2', 0, 3]],
    ['real', '08 0002 0001 84 000080', 'ff 07 0008 3f800000 c0490fdb', [1, -3.1415927410125732], ['DB 1', 16, 23]],
    ['timer', '1d 0002 0000 1d 000005', 'ff 09 0004 0123 0456', [0x123, 0x456], ['T', 5, 6]],
    ['counter', '1c 0001 0000 1c 000003', 'ff 09 0002 0012', [0x12], ['C', 3, 3]],
    ['instance data block', '02 0002 0007 85 000008', 'ff 04 0010 0102', [1, 2], ['DI 7', 1, 2]],
    ['peripheral', '02 0001 0000 80 000800', 'ff 04 0008 ff', [255], ['P', 256, 256]],
  ] as [string, string, string, number[], [string, number, number]][])('values of %s', (_, address, data, values, target) => {
    const b = bench();
    expect(s7(b.request(job(1, `0401 120a10 ${address}`)))[1].target).toEqual(target);
    const response = b.response(answer(1, '0401', data));
    expect(s7(response)[1]).toMatchObject({ target, fields: { values } });
  });

  it('a timer has a number, no byte', () => {
    const item = fields(bench().request(job(1, '0401 120a10 1d 0001 0000 1d 000005')), 1);
    expect(item).toMatchObject({ address: 5, number: 5 });
    expect(item).not.toHaveProperty('byte_address');
  });

  it('several items, odd ones filled up, one that failed', () => {
    const b = bench();
    b.request(job(7, '0403 120a1002 0003 0001 84 000000 120a1002 0001 0009 84 000000 120a1002 0002 0000 83 000008'));
    const items = s7(b.response(answer(7, '0403', 'ff 04 0018 010203 00 0a 00 0000 ff 04 0010 0405'))).slice(1);
    expect(items.map((item) => [item.operation, item.fields.return_code_name, item.fields.data])).toEqual([
      ['read', 'success', '010203'],
      ['error', 'object_does_not_exist', undefined],
      ['read', 'success', '0405'],
    ]);
    expect(items[1].target).toEqual(['DB 9', 0, 0]);
  });

  it('write: values stand in the request, results in the response', () => {
    const b = bench();
    const request = b.request(
      job(6, '0502 120a1002 0003 0001 84 000000 120a1008 0001 0001 84 000080', '00 04 0018 010203 00 00 07 0004 3f800000'),
    );
    expect(s7(request).map((row) => row.operation)).toEqual(['write', 'write', 'write']);
    expect(of(request, 's7comm_item')).toMatchObject([
      { db: 1, byte_address: 0, return_code: 0, data: '010203', values: [1, 2, 3] },
      { db: 1, byte_address: 16, return_code: 0, data: '3f800000', values: [1] },
    ]);
    const response = b.response(answer(6, '0502', 'ff 05'));
    expect(s7(response).map((row) => row.operation)).toEqual(['write', 'write', 'error']);
    expect(of(response, 's7comm_item')[1]).toMatchObject({ return_code_name: 'invalid_address', request_address: 0x80 });
  });

  it('parallel jobs are told apart by their reference, whatever the order of the answers', () => {
    const b = bench();
    for (let reference = 1; reference <= 8; reference++)
      b.request(job(reference, `0401 120a1002 0001 ${u16(reference)} 84 000000`));
    for (const reference of [3, 1, 8, 2, 7, 4, 6, 5]) {
      const response = b.response(answer(reference, '0401', 'ff 04 0008 aa'));
      expect(fields(response, 1).request_db).toBe(reference);
      expect(s7(response)[0].anomalies).toBeUndefined();
    }
  });

  it('many large jobs in parallel do not lose their items', () => {
    const b = bench();
    const address = (n: number): string => `120a1002 0001 ${u16(n)} 84 000000`;
    for (let reference = 0; reference < 16; reference++) {
      b.request(job(reference, `0414 ${Array.from({ length: 20 }, (_, i) => address(reference * 20 + i)).join('')}`));
    }
    const response = b.response(answer(0, '0414', 'ff 04 0008 aa 00'.repeat(20)));
    expect(of(response, 's7comm_item').map((item) => item.request_db)).toEqual(Array.from({ length: 20 }, (_, i) => i));
  });

  it('a flood of jobs without answers is bounded: the oldest are forgotten', () => {
    const b = bench();
    for (let reference = 0; reference < 5000; reference++) b.request(job(reference, '0401 120a1002 0001 0001 84 000000'));
    expect(s7(b.response(answer(4999, '0401', 'ff 04 0008 aa')))[0].anomalies).toBeUndefined();
    expect(s7(b.response(answer(0, '0401', 'ff 04 0008 aa')))[0].anomalies).toEqual(['unsolicited_response']);
  });

  it('answers: unsolicited, twice, to another function, with another number of items', () => {
    const b = bench();
    const read = (reference: number): string => job(reference, '0401 120a1002 0001 0001 84 000000');
    const good = (reference: number): string => answer(reference, '0401', 'ff 04 0008 aa');
    b.request(read(1));
    expect(s7(b.response(good(1)))[0].anomalies).toBeUndefined();
    expect(s7(b.response(good(1)))[0].anomalies).toEqual(['duplicate_response']);
    expect(s7(b.response(good(99)))[0].anomalies).toEqual(['unsolicited_response']);
    b.request(read(2));
    expect(s7(b.response(answer(2, '0501', 'ff')))[0].anomalies).toEqual(['function_mismatch']);
    b.request(read(3));
    expect(s7(b.response(answer(3, '0402', 'ff 04 0008 aa 00 ff 04 0008 bb')))[0].anomalies).toEqual(['item_count_mismatch']);
    b.request(read(4));
    expect(s7(b.request(read(4)))[0].anomalies).toEqual(['duplicate_request']);
  });

  it('where only one direction is seen, or bytes were lost, nothing is unsolicited or twice', () => {
    const b = bench();
    expect(s7(b.response(answer(5, '0401', 'ff 04 0008 aa')))[0].anomalies).toBeUndefined();
    const oneWay = bench();
    oneWay.request(job(1, '0401 120a1002 0001 0001 84 000000'));
    expect(s7(oneWay.request(job(1, '0401 120a1002 0001 0001 84 000000')))[0].anomalies).toBeUndefined();
    oneWay.conversation.gap_before = true;
    expect(s7(oneWay.response(answer(9, '0401', 'ff 04 0008 aa')))[0].anomalies).toBeUndefined();
  });

  it('more items announced than there are', () => {
    expect(s7(bench().request(job(1, '04ff 120a1002 0001 0001 84 000000')))[0].anomalies).toEqual(['item_count_mismatch']);
  });

  it('data that claim to be longer than the PDU', () => {
    const b = bench();
    b.request(job(1, '0401 120a1002 0001 0001 84 000000'));
    const [row, item] = s7(b.response(answer(1, '0401', 'ff 04 ffff aabb')));
    expect(row.status).toBe('malformed');
    expect(item).toMatchObject({ status: 'malformed', anomalies: ['length_mismatch'], fields: { data: 'aabb' } });
  });
});

describe('other forms of address', () => {
  const item = (address: string): TestRow => s7(bench().request(job(1, `0401 ${address}`)))[1];

  it('NCK', () => {
    expect(item('1208 82 41 0001 0002 7f 03')).toMatchObject({
      target: ['NCK channel 1', 2, 4],
      fields: {
        syntax_name: 'nck',
        nck_area_name: 'channel',
        nck_unit: 1,
        nck_column: 1,
        nck_line: 2,
        nck_module: 0x7f,
        nck_line_count: 3,
      },
    });
  });

  it('drive parameter', () => {
    expect(item('120a a2 00 1234 5678 0002 0003')).toMatchObject({
      target: ['drive parameters', 2, 2],
      fields: { drive_unknown_2: 0x1234, drive_unknown_3: 0x5678, drive_parameter: 2, drive_parameter_index: 3 },
    });
  });

  it('by symbol, in a data block and in the flags', () => {
    expect(item('1212 b2 ff 8a0e 0005 11223344 20000001 40000002')).toMatchObject({
      target: ['DB 5', 0, 65535],
      fields: { symbolic_db: 5, symbolic_crc: 0x11223344, lid_flags: [2, 4], lids: [1, 2] },
    });
    expect(item('120e b2 ff 0000 0052 aabbccdd 40000009')).toMatchObject({
      target: ['M', 0, 65535],
      fields: { symbolic_area_name: 'flags', lids: [9] },
    });
  });

  it('DBREAD: a row an area', () => {
    const rows = s7(bench().request(job(1, '0401 120c b0 02 04 0001 0000 08 0002 0010'))).slice(1);
    expect(rows).toMatchObject([
      { target: ['DB 1', 0, 3], fields: { area_count: 2, db_read_length: 4, db_read_db: 1, db_read_start: 0 } },
      { target: ['DB 2', 16, 23], fields: { item_index: 0, db_read_length: 8, db_read_db: 2, db_read_start: 16 } },
    ]);
  });

  it('data record of a module', () => {
    expect(item('120a 10 02 00f0 0080 01 000010')).toMatchObject({
      target: ['data record', 128, 128],
      fields: { record_length: 240, record_number: 128, record_address: 16 },
    });
  });

  it('one that is not known is kept and named', () => {
    expect(item('1204 99 010203')).toMatchObject({ anomalies: ['unknown_syntax'], fields: { unread_address: '010203' } });
  });
});

describe('blocks', () => {
  it('upload: later steps know the block by the number of the upload', () => {
    const b = bench();
    expect(fields(b.request(job(1, `1d 00 0000 00000000 09 ${text('_0800001A')}`)))).toMatchObject({
      filename: '_0800001A',
      block_kind_name: 'OB',
      block_number: 1,
      file_system_name: 'active',
    });
    expect(fields(b.response(answer(1, `1d 00 0100 00000007 07 ${text('0000132')}`)))).toMatchObject({
      upload_id: 7,
      upload_length: 132,
      block_kind_name: 'OB',
    });
    const step = b.request(job(2, '1e 00 0000 00000007'));
    expect(s7(step)[0]).toMatchObject({ operation: 'program_upload', target: ['blocks OB', 1, 1] });
    expect(fields(step)).toMatchObject({ block_kind_name: 'OB', block_number: 1, transferred_size: 0 });
    expect(fields(b.response(answer(2, '1e 01', '0004 00fb 70700101')))).toMatchObject({
      function_status: 1,
      block_kind_name: 'OB',
      block_data: '70700101',
      transferred_size: 4,
    });
    b.request(job(3, '1e 00 0000 00000007'));
    expect(fields(b.response(answer(3, '1e 00', '0002 00fb abcd')))).toMatchObject({ block_number: 1, transferred_size: 6 });
    expect(fields(b.request(job(4, '1f 00 0000 00000007')))).toMatchObject({
      transfer_error: 0,
      block_number: 1,
      transferred_size: 6,
    });
    expect(s7(b.response(answer(4, '1f')))[0]).toMatchObject({
      operation: 'program_upload',
      role: 'server',
      fields: { block_kind_name: 'OB', transferred_size: 6 },
    });
  });

  it('download: the CPU fetches the block itself, and still is the server', () => {
    const b = bench();
    const name = `09 ${text('_0A00001P')}`;
    const request = b.send(0, job(1, `1a 00 0100 00000000 ${name} 0d ${text('1000500000400')}`), { client: -1 });
    expect(s7(request)[0]).toMatchObject({ operation: 'program_download', role: 'client', target: ['blocks DB', 1, 1] });
    expect(fields(request)).toMatchObject({ file_system_name: 'passive', load_memory_length: 500, mc7_length: 400 });
    b.response(answer(1, '1a'));
    expect(s7(b.response(job(0x100, `1b 00 0000 00000000 ${name}`)))[0]).toMatchObject({
      role: 'server',
      operation: 'program_download',
    });
    const part = b.request(answer(0x100, '1b 01', '0003 00fb 707001'));
    expect(s7(part)[0]).toMatchObject({ role: 'client', target: ['blocks DB', 1, 1] });
    expect(fields(part)).toMatchObject({ block_data: '707001', transferred_size: 3, block_number: 1 });
    b.response(job(0x200, `1c 00 0000 00000000 ${name}`));
    expect(fields(b.request(answer(0x200, '1c')))).toMatchObject({ block_kind_name: 'DB', transferred_size: 3 });
  });

  it('seen from its middle, a job of the CPU tells who is who', () => {
    const b = bench();
    const rows = s7(b.send(0, job(1, `1b 00 0000 00000000 09 ${text('_0A00001P')}`), { client: -1 }));
    expect(rows[0].role).toBe('server');
  });

  it('a name that is none', () => {
    expect(s7(bench().request(job(1, `1d 00 0000 00000000 09 ${text('_0Z0000xA')}`)))[0].anomalies).toEqual([
      'invalid_block_name',
    ]);
  });

  it('lists (snap7)', () => {
    const b = bench();
    const response = b.response(
      '0300003d02f080320700000900000c0020000112081283010000000000ff09001c3038000030450000304300003041000130420000304400003046 0000',
    );
    expect(of(response, 's7comm_block').map((block) => [block.block_kind_name, block.block_count])).toEqual([
      ['OB', 0],
      ['FB', 0],
      ['FC', 0],
      ['DB', 1],
      ['SDB', 0],
      ['SFC', 0],
      ['SFB', 0],
    ]);
  });

  it('list of a type: the type stands in the request only', () => {
    const b = bench();
    expect(fields(b.request(userdata('request', 3, 2, text('0B'), { reference: 5 }))).block_kind_name).toBe('SDB');
    const rows = s7(b.response(userdata('response', 3, 2, '0000 22 07 03e8 22 11', { reference: 5 }))).slice(1);
    expect(rows).toMatchObject([
      { target: ['blocks SDB', 0, 0], fields: { block_number: 0, list_flags: 0x22, language_name: 'sdb' } },
      { target: ['blocks SDB', 1000, 1000], fields: { block_number: 1000, language_name: 'sdb_after_memory_reset' } },
    ]);
  });

  it('information', () => {
    const b = bench();
    expect(fields(b.request(userdata('request', 3, 3, text('0A00001B'), { reference: 6 })))).toMatchObject({
      block_kind_name: 'DB',
      block_number: 1,
      file_system_name: 'active_and_passive',
    });
    const information = `0100 004a 2200 7070 01 01 05 0a 0001 00000074 00000003 01a8f35932b3 01cb6d0c11fc 0016 0000 0000 0016
      ${text('SIMATIC\0')} ${text('IEC_TC\0\0')} ${text('TON\0\0\0\0\0')} 10 00 af20 00000000 00000000`;
    expect(of(b.response(userdata('response', 3, 3, information, { reference: 6 })), 's7comm_block')).toEqual([
      {
        information_length: 74,
        block_flags: 1,
        language: 5,
        language_name: 'db',
        sub_type: 10,
        sub_type_name: 'DB',
        block_number: 1,
        load_memory_length: 116,
        protection: 3,
        protection_name: 'know_how_protection',
        code_time: '2019-07-15T07:44:09.561Z',
        interface_time: '1996-08-09T08:21:48.940Z',
        ssb_length: 22,
        add_length: 0,
        local_data_length: 0,
        mc7_length: 22,
        author: 'SIMATIC',
        family: 'IEC_TC',
        block_name: 'TON',
        version_major: 1,
        version_minor: 0,
        checksum: 0xaf20,
      },
    ]);
  });
});

describe('program invocations', () => {
  const pi = (service: string, argument = ''): string =>
    job(
      1,
      `28 000000000000fd ${u16(bytesIn(argument))} ${argument} ${service.length.toString(16).padStart(2, '0')} ${text(service)}`,
    );

  it.each([
    ['P_PROGRAM', '', 'start', 'start'],
    ['P_PROGRAM', text('C '), 'restart', 'start'],
    ['_INSE', `0100${text('0A00001P')}`, 'program_download', 'insert_blocks'],
    ['_DELE', `0100${text('0A00001B')}`, 'program_download', 'delete_blocks'],
    ['_GARB', '', 'configure', 'compress_memory'],
    ['_MODU', text('EP'), 'program_download', 'copy_ram_to_rom'],
    ['_N_SELECT', `03${text('P01')}`, 'control', 'nc_service'],
    ['_N_F_DELE', `03${text('ABC')}`, 'file', 'nc_service'],
    ['SOMETHING', '', 'control', 'other'],
  ])('%s %s', (service, argument, operation, kind) => {
    const b = bench();
    expect(s7(b.request(pi(service, argument)))[0]).toMatchObject({
      operation,
      fields: { pi_service: service, pi_kind_name: kind },
    });
    expect(s7(b.response(answer(1, '28')))[0].operation).toBe(operation);
  });

  it('blocks that are inserted or deleted have a row each', () => {
    const result = bench().request(pi('_DELE', `0200${text('0800001P')}${text('0C00012P')}`));
    expect(s7(result).slice(1)).toMatchObject([
      { record: 's7comm_block', operation: 'program_download', target: ['blocks OB', 1, 1], fields: { filename: '0800001P' } },
      { target: ['blocks FC', 12, 12], fields: { block_kind_name: 'FC', named_number: 12, file_system_name: 'passive' } },
    ]);
  });

  it('arguments of NC services, but never those of a login', () => {
    expect(of(bench().request(pi('_N_SELECT', `03${text('P01')}06${text('DIR/AB')}00`)), 's7comm_argument')).toEqual([
      { argument_index: 0, value: 'P01' },
      { argument_index: 1, value: 'DIR/AB' },
    ]);
    const login = bench().request(pi('_N_LOGIN_', `06${text('SIEMEN')}0005${text('SUNRI')}`));
    expect(s7(login)[0].operation).toBe('authenticate');
    expect(of(login, 's7comm_argument')).toEqual([
      { argument_index: 0, hidden_length: 6 },
      { argument_index: 1, hidden_length: 5 },
    ]);
    expect(JSON.stringify(login)).not.toMatch(/SUNRI|53554e5249/);
  });

  it('stop (snap7)', () => {
    const b = bench();
    expect(s7(b.request('0300002102f080320100000b0000100000290000000000 09505f50524f4752414d'))[0]).toMatchObject({
      operation: 'stop',
      fields: { function_name: 'plc_stop', pi_service: 'P_PROGRAM' },
    });
    expect(s7(b.response(answer(0x0b00, '29')))[0].operation).toBe('stop');
  });
});

describe('system status lists', () => {
  const LIST_11 =
    '0300009902f080320700000600000c007c000112081284010000000000ff09007800110000001c000400013645533720' +
    '3331352d32454831342d304142302000c000040001000636455337203331352d32454831342d304142302000c0000400010007202020202020' +
    '202020202020202020202020202000c0560302060081426f6f74204c6f61646572202020202020202020000041200909';

  it('module identification (snap7)', () => {
    const b = bench();
    expect(s7(b.request(userdata('request', 4, 1, '0011 0000', { reference: 0x0600 })))).toMatchObject([
      { operation: 'identify', fields: { service_name: 'read_szl' } },
      {
        operation: 'identify',
        target: ['SZL', 0x11, 0x11],
        fields: { szl_id: 0x11, partial_list_name: 'module_identification', szl_index: 0 },
      },
    ]);
    const response = b.response(LIST_11);
    expect(s7(response)[0].operation).toBe('identify');
    expect(of(response, 's7comm_szl')).toMatchObject([{ record_length: 28, record_count: 4 }]);
    expect(of(response, 's7comm_szl_record')).toEqual([
      {
        list_id: 0x11,
        record_index: 0,
        index: 1,
        order_number: '6ES7 315-2EH14-0AB0',
        module_type: 0xc0,
        version: 4,
        release: 1,
      },
      {
        list_id: 0x11,
        record_index: 1,
        index: 6,
        order_number: '6ES7 315-2EH14-0AB0',
        module_type: 0xc0,
        version: 4,
        release: 1,
      },
      { list_id: 0x11, record_index: 2, index: 7, order_number: '', module_type: 0xc0, version: 0x5603, release: 0x0206 },
      {
        list_id: 0x11,
        record_index: 3,
        index: 0x81,
        order_number: 'Boot Loader',
        module_type: 0,
        version: 0x4120,
        release: 0x0909,
      },
    ]);
    expect(response.identities).toEqual([
      {
        side: 'sender',
        part: '',
        attribute: 'order_code',
        value: '6ES7 315-2EH14-0AB0',
        field: 's7comm_szl_record.order_number',
      },
      { side: 'sender', part: '', attribute: 'hardware', value: '4', field: 's7comm_szl_record.version' },
      { side: 'sender', part: '', attribute: 'firmware', value: 'V3.2.6', field: 's7comm_szl_record.version' },
    ]);
  });

  const component = (index: number, value: string): string => u16(index) + text(value.padEnd(32, '\0'));
  const COMPONENTS =
    component(1, 'SNAP7-SERVER') +
    component(4, 'Original Siemens Equipment') +
    component(5, 'S C-C2UR28922012') +
    component(7, 'CPU 315-2 PN/DP') +
    `0009 002a f600 0001 ${'00'.repeat(26)}`;

  it('component identification', () => {
    const response = bench().response(userdata('response', 4, 1, `001c 0000 0022 0005 ${COMPONENTS}`));
    expect(response.identities.map((identity) => [identity.attribute, identity.value, identity.part])).toEqual([
      ['name', 'SNAP7-SERVER', ''],
      ['vendor', 'Siemens', ''],
      ['serial', 'S C-C2UR28922012', ''],
      ['model', 'CPU 315-2 PN/DP', ''],
      ['vendor', 'Siemens', ''],
    ]);
    expect(of(response, 's7comm_szl_record')[4]).toMatchObject({ manufacturer_id: 42, profile_id: 0xf600, profile_type: 1 });
  });

  it('an answer in several PDUs is read when its last part has come', () => {
    const list = hexOf(`001c 0000 0022 0005 ${COMPONENTS}`);
    for (const cut of [2, 8, 16, 80, 200, list.length - 2]) {
      const b = bench();
      b.request(userdata('request', 4, 1, '001c 0000', { reference: 1 }));
      const first = b.response(userdata('response', 4, 1, list.slice(0, cut), { reference: 1, sequence: 2, unit: 6, more: 1 }));
      expect(s7(first).map((row) => row.record)).toEqual(['s7comm']);
      b.request(userdata('request', 4, 1, '', { reference: 2, sequence: 2, returnCode: '0a' }));
      const last = b.response(userdata('response', 4, 1, list.slice(cut), { reference: 2, sequence: 2, unit: 6 }));
      expect(fields(last)).toMatchObject({ joined_length: list.length / 2 });
      expect(last.identities.map((identity) => identity.value)).toContain('S C-C2UR28922012');
      expect(of(last, 's7comm_szl_record')[0]).toMatchObject({ text: 'SNAP7-SERVER' });
    }
  });

  it('a last part without its first is not read', () => {
    const [row, ...others] = s7(bench().response(userdata('response', 4, 1, '0102', { sequence: 2, unit: 6 })));
    expect(row.anomalies).toEqual(['missing_part']);
    expect(others).toEqual([]);
  });

  it('the answer to a first request is whole, whatever reference it carries', () => {
    const b = bench();
    b.request(userdata('request', 3, 2, '3041', { reference: 7 }));
    const rows = s7(b.response(userdata('response', 3, 2, '0001 2200', { reference: 7, unit: 35 })));
    expect(rows[0].anomalies).toBeUndefined();
    expect(rows[1]).toMatchObject({ record: 's7comm_block' });
  });

  it('a gap forgets the parts of its direction', () => {
    const b = bench();
    b.response(userdata('response', 4, 1, '001c 0000 0022', { sequence: 2, unit: 6, more: 1 }));
    b.conversation.gap_before = true;
    expect(s7(b.response(userdata('response', 4, 1, '0001', { sequence: 2, unit: 6 })))[0].anomalies).toEqual(['missing_part']);
  });

  it('parts without an end are bounded', () => {
    const b = bench();
    const part = userdata('response', 4, 1, '00'.repeat(30000), { sequence: 2, unit: 6, more: 1 });
    expect(s7(b.response(part))[0].anomalies).toBeUndefined();
    b.response(part);
    expect(s7(b.response(part))[0].anomalies).toEqual(['message_too_long']);
  });

  it('mode (snap7)', () => {
    const response = bench().response(
      '0300003d02f080320700000700000c0020000112081284010000000000ff09001c04240000001400015144ff0800000000000000002611250155310003',
    );
    expect(of(response, 's7comm_szl_record')).toMatchObject([
      { event_id: 0x5144, requested_mode_name: 'run', previous_mode: 0, time: '2026-11-25T01:55:31.000Z' },
    ]);
  });

  it('LEDs', () => {
    const response = bench().response(userdata('response', 4, 1, '0074 0000 0004 0002 0004 01 00 0105 00 01'));
    expect(of(response, 's7comm_szl_record')).toMatchObject([
      { led_name: 'RUN', led_rack: 0, led_on: 1, led_blink_name: 'steady' },
      { led_name: 'STOP', led_rack: 1, led_on: 0, led_blink_name: '2 Hz' },
    ]);
  });

  it('protection level', () => {
    const record = `0004 0001 0000 0003 0002 ${'00'.repeat(30)}`;
    expect(of(bench().response(userdata('response', 4, 1, `0132 0004 0028 0001 ${record}`)), 's7comm_szl_record')).toMatchObject([
      { protection_selector: 1, protection_assigned: 0, protection_valid: 3, mode_selector_name: 'run_p' },
    ]);
  });

  it('modules at rack and slot', () => {
    const records =
      '0000 0200 7ff7 00c0 00c0 0000 0002 0000   0000 0400 0000 c504 c504 0000 0002 0000   0000 0500 0004 c501 0000 0000 0004 0000';
    const response = bench().response(userdata('response', 4, 1, `0d91 0000 0010 0003 ${records}`));
    expect(of(response, 's7comm_szl_record').map((record) => [record.rack, record.slot, record.actual_type])).toEqual([
      [0, 2, 0xc0],
      [0, 4, 0xc504],
      [0, 5, 0],
    ]);
    expect(response.identities.map((identity) => identity.part)).toEqual(['rack 0 slot 2', 'rack 0 slot 4']);
  });

  it('the header alone, where that is asked for', () => {
    expect(s7(bench().response(userdata('response', 4, 1, '0f11 0000 001c 0004')))[1].anomalies).toBeUndefined();
    expect(s7(bench().response(userdata('response', 4, 1, '0011 0000 001c 0004')))[1].anomalies).toEqual(['item_count_mismatch']);
  });

  it('a refusal is about the list that was asked for', () => {
    const b = bench();
    b.request(userdata('request', 4, 1, '0091 0002', { reference: 3 }));
    const rows = s7(b.response(userdata('response', 4, 1, '', { reference: 3, error: 'd401', returnCode: '0a' })));
    expect(rows[0]).toMatchObject({
      operation: 'error',
      anomalies: ['error_response'],
      fields: { error_name: 'information function not available' },
    });
    expect(rows[1].fields).toEqual({ request_szl_id: 0x91, request_szl_index: 2 });
  });
});

describe('other services', () => {
  it('a password is told by its length, never itself', () => {
    // As on the wire: each byte mixed with the one two before it.
    const password = '213a1b1d6e681b1d';
    const b = bench();
    const request = b.request(userdata('request', 5, 1, password, { reference: 1 }));
    expect(s7(request)).toMatchObject([{ operation: 'authenticate', fields: { service_name: 'password', password_length: 4 } }]);
    expect(JSON.stringify(request)).not.toContain(password);
    const refused = b.response(userdata('response', 5, 1, '', { reference: 1, error: 'd602', returnCode: '0a' }));
    expect(s7(refused)[0]).toMatchObject({ operation: 'error', fields: { error_name: 'wrong password' } });
    expect(s7(b.request(userdata('request', 5, 2, '', { reference: 2 })))[0]).toMatchObject({
      operation: 'authenticate',
      fields: { service_name: 'password_reset' },
    });
  });

  it('clock read and set', () => {
    const b = bench();
    const read = b.response('0300002b02f080320700000800000c000e000112081287010000000000ff09000a00202611250155310003');
    expect(s7(read)[0]).toMatchObject({ operation: 'read', fields: { clock: '2026-11-25T01:55:31.000Z' } });
    const set = b.request(userdata('request', 7, 2, '00 19 94 01 06 00 27 20 3975'));
    expect(s7(set)[0]).toMatchObject({ operation: 'time_sync', fields: { clock: '1994-01-06T00:27:20.397Z' } });
    expect(s7(b.request(userdata('request', 7, 2, '00 20 26 13 06 00 27 20 3975', { reference: 2 })))[0].anomalies).toEqual([
      'invalid_time',
    ]);
  });

  it('cyclic transfer: items and interval, then data', () => {
    const b = bench();
    const request = b.request(
      userdata('request', 2, 1, '0002 01 05 120a1002 0004 0001 84 000000 120a1002 0003 0000 83 000050', { reference: 4 }),
    );
    expect(s7(request)[0]).toMatchObject({
      operation: 'subscribe',
      fields: { item_count: 2, interval_ms: 5000, time_base_name: '1 s' },
    });
    expect(s7(request)[2].target).toEqual(['M', 10, 12]);
    const push = b.response(userdata('push', 2, 1, '0002 ff 04 0020 01020304 ff 04 0018 010203'));
    expect(s7(push)[0].operation).toBe('report');
    expect(of(push, 's7comm_item')).toMatchObject([{ data: '01020304' }, { data: '010203', values: [1, 2, 3] }]);
    expect(fields(b.request(userdata('request', 2, 4, '05 03')))).toMatchObject({ job_function: 5, job_id: 3 });
  });

  it('mode transition', () => {
    const [row] = s7(bench().response(packet('32070000 0000 0008 0000 01001010 00 00 00 00')));
    expect(row).toMatchObject({ operation: 'mode_change', role: 'server', fields: { current_mode_name: 'stop' } });
    expect(row.status).toBeUndefined();
  });

  const PARAMETERS = '0000 0001 0000 0012 0001 0001 0001 0001 0001 0200';
  it.each([
    ['variable status', 2, `0014 0008 ${PARAMETERS} 0001 01 06 0000 0003`, 'diagnostics', ['M', 3, 8]],
    ['modify variable', 8, `0014 000e ${PARAMETERS} 0001 72 01 0007 0009 00 04 0010 0102`, 'write', ['DB 7', 9, 10]],
    ['force', 9, `0014 000e ${PARAMETERS} 0001 21 01 0000 0005 00 04 0008 aa 00`, 'control', ['Q', 5, 5]],
  ] as [string, number, string, string, [string, number, number]][])(
    'programmer: %s',
    (_, subfunction, payload, operation, target) => {
      const rows = s7(bench().request(userdata('request', 1, subfunction, payload)));
      expect(rows[0]).toMatchObject({ operation, fields: { table_item_count: 1, trigger_event_name: 'cycle_start' } });
      expect(rows[1]).toMatchObject({ operation, target });
    },
  );

  it('enabling a job that modifies variables is a write', () => {
    const [row] = s7(bench().request(userdata('request', 1, 14, `0014 0002 ${PARAMETERS} 08 02`)));
    expect(row).toMatchObject({ operation: 'write', fields: { test_job_name: 'modify_variable', test_job_reference: 2 } });
  });

  it('programmer: results are pushed', () => {
    const push = bench().response(userdata('push', 1, 2, '0004 0012 0100 0002 0002 ff 09 0006 4133851fdead ff 09 0001 02 00'));
    expect(of(push, 's7comm_item')).toMatchObject([{ data: '4133851fdead' }, { data: '02' }]);
  });

  it('memory reset is a change of mode', () => {
    expect(s7(bench().request(userdata('request', 1, 12, '0000 0000')))[0].operation).toBe('mode_change');
  });

  it('alarm with its values', () => {
    const alarm = '9401060027203975 40 01 12 0a 16 02 000000af 01 01 fe fe ff 04 0010 0001 ff 04 0010 ffff';
    const rows = s7(bench().response(userdata('push', 4, 5, alarm)));
    expect(rows[1]).toMatchObject({
      record: 's7comm_alarm',
      operation: 'report',
      fields: { coming: '1994-01-06T00:27:20.397Z', event_id: 0xaf, event_state: 1, acknowledged_coming: 0xfe, value_count: 2 },
    });
    expect(rows.slice(2).map((row) => row.fields.data)).toEqual(['0001', 'ffff']);
  });

  it('acknowledging an alarm is an operation of the process', () => {
    const rows = s7(bench().request(userdata('request', 4, 11, '00 01 12 08 19 00 000000af 01 00')));
    expect(rows.map((row) => row.operation)).toEqual(['control', 'control']);
    expect(rows[1].fields).toMatchObject({ event_id: 0xaf, acknowledged_going: 1 });
  });

  it('alarms that are asked for: ALARM_S with the times it came and went', () => {
    const times = '9401060027203975 ff 04 0010 1111 9401060127203975 ff 04 0010 2222';
    const rows = s7(bench().response(userdata('response', 4, 19, `00 01 ff 09 ffff 26 0000 04 60000001 00 01 00 01 ${times}`)));
    expect(rows[1]).toMatchObject({
      record: 's7comm_alarm',
      fields: {
        alarm_type_name: 'alarm_s',
        event_id: 0x60000001,
        coming: '1994-01-06T00:27:20.397Z',
        going: '1994-01-06T01:27:20.397Z',
      },
    });
    expect(rows.slice(2).map((row) => row.fields.data)).toEqual(['1111', '2222']);
  });

  it('subscription of messages', () => {
    expect(s7(bench().request(userdata('request', 4, 2, `03 00 ${text('asmess\0\0')}`)))[0]).toMatchObject({
      operation: 'subscribe',
      fields: { events: 3, username: 'asmess' },
    });
  });

  it('data records', () => {
    const b = bench();
    expect(s7(b.request(userdata('request', 2, 8, '00 01 120a 10 02 00f0 0080 01 000010')))[1].target).toEqual([
      'data record',
      128,
      128,
    ]);
    const response = b.response(userdata('response', 2, 8, '00 01 ff 09 00 00 0003 aabbcc'));
    expect(of(response, 's7comm_item')).toMatchObject([{ status_length: 0, record_size: 3, data: 'aabbcc' }]);
  });

  it('block send', () => {
    const rows = s7(bench().send(0, userdata('request', 6, 1, '12 06 13 00 00000007 0004 01020304'), { client: -1 }));
    expect(rows[0]).toMatchObject({ operation: 'write', role: 'unknown' });
    expect(rows[1].fields).toMatchObject({ r_id: 7, sent_length: 4, data: '01020304' });
  });

  it('an unknown service', () => {
    expect(s7(bench().request(userdata('request', 3, 9, '0102')))[0]).toMatchObject({
      anomalies: ['unknown_function'],
      fields: { unread_data: '0102' },
    });
  });
});

describe('bytes that somebody forged', () => {
  const SAMPLES = [
    job(1, '0402 120a1002 0003 0001 84 000000 120c b0 02 04 0001 0000 08 0002 0010'),
    job(6, '0501 120a1002 0003 0001 84 000000', '00 04 0018 010203'),
    job(1, `1a 00 0100 00000000 09 ${text('_0A00001P')} 0d ${text('1000500000400')}`),
    job(1, `28 000000000000fd 000a 0100${text('0A00001P')} 05 ${text('_INSE')}`),
    userdata('response', 4, 1, `001c 0000 0022 0001 0001 ${'41'.repeat(32)}`),
    userdata('request', 1, 8, '0014 000e 0000 0001 0000 0012 0001 0001 0001 0001 0001 0200 0001 72 01 0007 0009 00 04 0010 0102'),
    userdata('push', 4, 5, '9401060027203975 40 01 12 0a 16 02 000000af 01 01 fe fe ff 04 0010 0001 ff 04 0010 ffff'),
  ];

  it('cut at every length: read up to there, and said', () => {
    for (const sample of SAMPLES) {
      const pdu = sample.slice(14);
      for (let size = 4; size < pdu.length; size += 2) {
        const [row] = s7(bench().request(packet(pdu.slice(0, size))));
        expect(row.anomalies ?? row.status, `${sample} cut at ${size / 2}`).toBeDefined();
      }
    }
  });

  it('each byte changed to each of a few values: comes to an end, with at most a row an item', () => {
    for (const sample of SAMPLES) {
      const b = bench();
      for (let at = 16; at < sample.length; at += 2) {
        for (const byte of ['00', '01', '7f', '80', 'ff']) {
          const pdu = sample.slice(0, at) + byte + sample.slice(at + 2);
          expect(b.request(pdu).rows.length).toBeLessThan(300);
          b.response(pdu);
        }
      }
    }
  });
});
