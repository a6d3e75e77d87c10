import { describe, expect, it } from 'vitest';
import { Match, Reader } from '../../src/dissect/index.ts';
import { Bench, fromHex, type TestResult, type TestRow } from '../../src/dissect/testing.ts';
import modbus from './modbus.ts';

const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0');

/** A PDU behind its MBAP header: transaction 1, unit 1, the length that it has. */
function adu(pdu: string, { transaction = 1, unit = 1, length = 0 } = {}): string {
  const size = pdu.replace(/\s+/g, '').length / 2;
  return `${hex(transaction, 4)}0000${hex(size + 1 + length, 4)}${hex(unit, 2)}${pdu}`;
}

const bench = () => new Bench([modbus]);
const only = ({ rows }: TestResult): TestRow => {
  expect(rows).toHaveLength(1);
  return rows[0];
};
/** Fields without those of the header and the function, which every row has. */
function said(row: TestRow): Record<string, unknown> {
  const { transaction_id, protocol_id, length, unit_id, function_code, function_code_name, ...rest } = row.fields;
  expect([transaction_id, protocol_id, unit_id]).toEqual([1, 0, 1]);
  return rest;
}
const bitsOf = (text: string) => [...text].map(Number);

describe('the worked examples of clause 6', () => {
  const examples: {
    clause: string;
    request: string;
    response: string;
    code: number;
    name: string;
    operations: [string, string];
    asked: Record<string, unknown>;
    answered: Record<string, unknown>;
    targets?: [TestRow['target'], TestRow['target']];
  }[] = [
    {
      clause: '6.1 Read Coils',
      request: '01 0013 0013',
      response: '01 03 CD6B05',
      code: 1,
      name: 'Read Coils',
      operations: ['read', 'read'],
      asked: { address: 19, bit_quantity: 19 },
      answered: { byte_count: 3, bit_values: bitsOf('1011001111010110101'), request_address: 19, request_quantity: 19 },
      targets: [
        ['coils', 19, 37],
        ['coils', 19, 37],
      ],
    },
    {
      clause: '6.2 Read Discrete Inputs',
      request: '02 00C4 0016',
      response: '02 03 ACDB35',
      code: 2,
      name: 'Read Discrete Inputs',
      operations: ['read', 'read'],
      asked: { address: 196, bit_quantity: 22 },
      answered: { byte_count: 3, bit_values: bitsOf('0011010111011011101011'), request_address: 196, request_quantity: 22 },
      targets: [
        ['discrete inputs', 196, 217],
        ['discrete inputs', 196, 217],
      ],
    },
    {
      clause: '6.3 Read Holding Registers',
      request: '03 006B 0003',
      response: '03 06 022B 0000 0064',
      code: 3,
      name: 'Read Holding Registers',
      operations: ['read', 'read'],
      asked: { address: 107, register_quantity: 3 },
      answered: { byte_count: 6, register_values: [555, 0, 100], request_address: 107, request_quantity: 3 },
      targets: [
        ['holding registers', 107, 109],
        ['holding registers', 107, 109],
      ],
    },
    {
      clause: '6.4 Read Input Registers',
      request: '04 0008 0001',
      response: '04 02 000A',
      code: 4,
      name: 'Read Input Registers',
      operations: ['read', 'read'],
      asked: { address: 8, register_quantity: 1 },
      answered: { byte_count: 2, register_values: [10], request_address: 8, request_quantity: 1 },
      targets: [
        ['input registers', 8, 8],
        ['input registers', 8, 8],
      ],
    },
    {
      clause: '6.5 Write Single Coil',
      request: '05 00AC FF00',
      response: '05 00AC FF00',
      code: 5,
      name: 'Write Single Coil',
      operations: ['write', 'write'],
      asked: { address: 172, output_value: 0xff00, output_value_name: 'ON', bit_values: [1] },
      answered: { address: 172, output_value: 0xff00, output_value_name: 'ON', bit_values: [1] },
      targets: [
        ['coils', 172, 172],
        ['coils', 172, 172],
      ],
    },
    {
      clause: '6.6 Write Single Register',
      request: '06 0001 0003',
      response: '06 0001 0003',
      code: 6,
      name: 'Write Single Register',
      operations: ['write', 'write'],
      asked: { address: 1, register_values: [3] },
      answered: { address: 1, register_values: [3] },
      targets: [
        ['holding registers', 1, 1],
        ['holding registers', 1, 1],
      ],
    },
    {
      clause: '6.7 Read Exception Status',
      request: '07',
      response: '07 6D',
      code: 7,
      name: 'Read Exception Status',
      operations: ['diagnostics', 'diagnostics'],
      asked: {},
      answered: { exception_status: 0x6d },
    },
    {
      clause: '6.8 Diagnostics: Return Query Data',
      request: '08 0000 A537',
      response: '08 0000 A537',
      code: 8,
      name: 'Diagnostics',
      operations: ['diagnostics', 'diagnostics'],
      asked: { sub_function: 0, sub_function_name: 'Return Query Data', data: 'a537' },
      answered: { sub_function: 0, sub_function_name: 'Return Query Data', data: 'a537' },
    },
    {
      clause: '6.8.1 Restart Communications Option',
      request: '08 0001 FF00',
      response: '08 0001 FF00',
      code: 8,
      name: 'Diagnostics',
      operations: ['restart', 'restart'],
      asked: { sub_function: 1, sub_function_name: 'Restart Communications Option', diagnostic_data: 0xff00 },
      answered: { sub_function: 1, sub_function_name: 'Restart Communications Option', diagnostic_data: 0xff00 },
    },
    {
      clause: '6.8.1 Return Bus Message Count',
      request: '08 000B 0000',
      response: '08 000B 1234',
      code: 8,
      name: 'Diagnostics',
      operations: ['diagnostics', 'diagnostics'],
      asked: { sub_function: 11, sub_function_name: 'Return Bus Message Count', diagnostic_data: 0 },
      answered: { sub_function: 11, sub_function_name: 'Return Bus Message Count', diagnostic_data: 0x1234 },
    },
    {
      clause: '6.9 Get Comm Event Counter',
      request: '0B',
      response: '0B FFFF 0108',
      code: 11,
      name: 'Get Comm Event Counter',
      operations: ['diagnostics', 'diagnostics'],
      asked: {},
      answered: { comm_status: 0xffff, event_count: 264 },
    },
    {
      clause: '6.10 Get Comm Event Log',
      request: '0C',
      response: '0C 08 0000 0108 0121 2000',
      code: 12,
      name: 'Get Comm Event Log',
      operations: ['diagnostics', 'diagnostics'],
      asked: {},
      answered: { byte_count: 8, comm_status: 0, event_count: 264, message_count: 289, events: [0x20, 0] },
    },
    {
      clause: '6.11 Write Multiple Coils',
      request: '0F 0013 000A 02 CD01',
      response: '0F 0013 000A',
      code: 15,
      name: 'Write Multiple Coils',
      operations: ['write', 'write'],
      asked: { address: 19, bit_quantity: 10, byte_count: 2, bit_values: bitsOf('1011001110') },
      answered: { address: 19, bit_quantity: 10 },
      targets: [
        ['coils', 19, 28],
        ['coils', 19, 28],
      ],
    },
    {
      clause: '6.12 Write Multiple Registers',
      request: '10 0001 0002 04 000A 0102',
      response: '10 0001 0002',
      code: 16,
      name: 'Write Multiple Registers',
      operations: ['write', 'write'],
      asked: { address: 1, register_quantity: 2, byte_count: 4, register_values: [10, 258] },
      answered: { address: 1, register_quantity: 2 },
      targets: [
        ['holding registers', 1, 2],
        ['holding registers', 1, 2],
      ],
    },
    {
      clause: '6.16 Mask Write Register',
      request: '16 0004 00F2 0025',
      response: '16 0004 00F2 0025',
      code: 22,
      name: 'Mask Write Register',
      operations: ['write', 'write'],
      asked: { address: 4, and_mask: 0xf2, or_mask: 0x25 },
      answered: { address: 4, and_mask: 0xf2, or_mask: 0x25 },
      targets: [
        ['holding registers', 4, 4],
        ['holding registers', 4, 4],
      ],
    },
    {
      clause: '6.17 Read/Write Multiple Registers',
      request: '17 0003 0006 000E 0003 06 00FF00FF00FF',
      response: '17 0C 00FE 0ACD 0001 0003 000D 00FF',
      code: 23,
      name: 'Read/Write Multiple Registers',
      operations: ['write', 'read'],
      asked: {
        read_address: 3,
        read_quantity: 6,
        write_address: 14,
        write_quantity: 3,
        byte_count: 6,
        register_values: [255, 255, 255],
      },
      answered: {
        byte_count: 12,
        register_values: [254, 2765, 1, 3, 13, 255],
        request_address: 3,
        request_quantity: 6,
      },
      targets: [
        ['holding registers', 14, 16],
        ['holding registers', 3, 8],
      ],
    },
    {
      clause: '6.18 Read FIFO Queue',
      request: '18 04DE',
      response: '18 0006 0002 01B8 1284',
      code: 24,
      name: 'Read FIFO Queue',
      operations: ['read', 'read'],
      asked: { address: 1246 },
      answered: { fifo_byte_count: 6, register_quantity: 2, register_values: [440, 4740], request_address: 1246 },
      targets: [
        ['FIFO queue', 1246, 1246],
        ['FIFO queue', 1246, 1246],
      ],
    },
  ];

  it.each(examples)('$clause', (example) => {
    const b = bench();
    const request = only(b.request(adu(example.request)));
    const response = only(b.response(adu(example.response)));
    expect(said(request)).toEqual(example.asked);
    expect(said(response)).toEqual(example.answered);
    expect([request.target, response.target]).toEqual(example.targets ?? [undefined, undefined]);
    expect([request.operation, response.operation]).toEqual(example.operations);
    expect([request.role, response.role]).toEqual(['client', 'server']);
    for (const row of [request, response]) {
      expect(row).toMatchObject({
        record: 'modbus',
        unit: 1,
        fields: { function_code: example.code, function_code_name: example.name },
      });
      expect(row.status).toBeUndefined();
      expect(row.anomalies).toBeUndefined();
    }
  });

  it('6.14 Read File Record: a record a sub-request, its sub-response has the data', () => {
    const b = bench();
    const [head, first, second] = b.request(adu('14 0E 06 0004 0001 0002 06 0003 0009 0002')).rows;
    expect(head).toMatchObject({ operation: 'file', fields: { byte_count: 14 } });
    expect(first).toEqual({
      record: 'modbus_file_record',
      operation: 'file',
      role: 'client',
      unit: 1,
      target: ['file 4', 1, 2],
      fields: { reference_type: 6, file_number: 4, record_number: 1, record_length: 2 },
    });
    expect(second.fields).toEqual({ reference_type: 6, file_number: 3, record_number: 9, record_length: 2 });
    const { rows } = b.response(adu('14 0C 05 06 0DFE 0020 05 06 33CD 0040'));
    expect(rows.map((row) => row.fields).slice(1)).toEqual([
      { byte_count: 5, reference_type: 6, file_number: 4, record_number: 1, record_data: [0x0dfe, 0x20] },
      { byte_count: 5, reference_type: 6, file_number: 3, record_number: 9, record_data: [0x33cd, 0x40] },
    ]);
    expect(rows[2].target).toEqual(['file 3', 9, 10]);
    expect(rows.some((row) => row.anomalies || row.status)).toBe(false);
  });

  it('6.15 Write File Record: the response repeats the request', () => {
    const b = bench();
    const pdu = '15 0D 06 0004 0007 0003 06AF 04BE 100D';
    for (const { rows } of [b.request(adu(pdu)), b.response(adu(pdu))]) {
      expect(rows.map((row) => row.anomalies ?? row.status)).toEqual([undefined, undefined]);
      expect(rows[1]).toMatchObject({
        target: ['file 4', 7, 9],
        fields: { file_number: 4, record_number: 7, record_length: 3, record_data: [0x06af, 0x04be, 0x100d] },
      });
    }
  });

  it('6.21 Read Device Identification: objects are records and say what the device is', () => {
    const b = bench();
    const request = only(b.request(adu('2B 0E 01 00', { unit: 255 })));
    expect(request).toMatchObject({
      operation: 'identify',
      fields: { mei_type: 14, mei_type_name: 'Read Device Identification', read_device_id_code: 1, object_id: 0 },
    });
    const text = (value: string) => hex(value.length, 2) + Buffer.from(value).toString('hex');
    const objects = ['Company identification', 'Product code XX', 'V2.11'].map((value, id) => hex(id, 2) + text(value));
    const { rows, identities } = b.response(adu(`2B 0E 01 01 00 00 03 ${objects.join('')}`, { unit: 255 }));
    expect(rows[0].fields).toMatchObject({ conformity_level: 1, more_follows: 0, next_object_id: 0, object_count: 3 });
    expect(rows.slice(1).map((row) => [row.record, row.fields.object_id_name, row.fields.object_value])).toEqual([
      ['modbus_object', 'VendorName', 'Company identification'],
      ['modbus_object', 'ProductCode', 'Product code XX'],
      ['modbus_object', 'MajorMinorRevision', 'V2.11'],
    ]);
    expect(identities.map(({ side, part, attribute, value }) => [side, part, attribute, value])).toEqual([
      ['sender', '', 'vendor', 'Company identification'],
      ['sender', '', 'firmware', 'V2.11'],
      ['sender', '', 'order_code', 'Product code XX'],
      ['sender', '', 'model', 'Product code XX'],
    ]);
  });

  it('7 exceptions: what was refused is joined', () => {
    const b = bench();
    b.request(adu('01 04A1 0001'));
    expect(only(b.response(adu('81 02')))).toEqual({
      record: 'modbus',
      operation: 'error',
      role: 'server',
      unit: 1,
      target: ['coils', 1185, 1185],
      fields: {
        transaction_id: 1,
        protocol_id: 0,
        length: 3,
        unit_id: 1,
        function_code: 1,
        function_code_name: 'Read Coils',
        exception_code: 2,
        exception_code_name: 'Illegal Data Address',
        request_address: 1185,
        request_quantity: 1,
      },
    });
  });
});

describe('functions beside the examples', () => {
  it('Report Server ID: printable additional data describe the device behind the unit', () => {
    const b = bench();
    b.request(adu('11', { unit: 10 }));
    const { rows, identities } = b.response(adu('11 0C 00 FF 50756D70203720 2B 00 00', { unit: 10 }));
    expect(rows[0]).toMatchObject({
      operation: 'identify',
      fields: { byte_count: 12, run_indicator: 255, run_indicator_name: 'ON' },
    });
    expect(identities).toEqual([
      { side: 'sender', part: 'unit 10', attribute: 'description', value: 'Pump 7 +', field: 'modbus.data' },
    ]);
  });

  it('model name, application and private objects of the higher conformity levels', () => {
    const b = bench();
    b.request(adu('2B 0E 03 00'));
    const { rows, identities } = b.response(adu('2B 0E 03 83 FF 06 04 01 02 4142 05 02 4344 06 02 4546 80 02 00FF'));
    expect(rows[0].fields).toMatchObject({ more_follows: 255, more_follows_name: 'yes', next_object_id: 6 });
    expect(rows[4].fields).toEqual({ object_id: 0x80, object_length: 2, private_value: '00ff' });
    expect(identities.map(({ part, attribute, value }) => [part, attribute, value])).toEqual([
      ['unit 1', 'model', 'CD'],
      ['unit 1', 'application', 'EF'],
      ['unit 1', 'order_code', 'AB'],
    ]);
  });

  it('43/13 CANopen keeps its data', () => {
    expect(only(bench().request(adu('2B 0D 0102'))).fields).toMatchObject({
      mei_type: 13,
      mei_type_name: 'CANopen General Reference',
      data: '0102',
    });
  });

  it('Force Listen Only Mode takes the device out of operation', () => {
    expect(only(bench().request(adu('08 0004 0000')))).toMatchObject({
      operation: 'mode_change',
      fields: { sub_function_name: 'Force Listen Only Mode' },
    });
  });

  it.each([
    [0x40, 'START_PLC', 'start'],
    [0x41, 'STOP_PLC', 'stop'],
    [0x30, 'INITIALIZE_UPLOAD', 'program_download'],
    [0x33, 'INITIALIZE_DOWNLOAD', 'program_upload'],
    [0x10, 'TAKE_PLC_RESERVATION', 'session'],
    [0x23, 'WRITE_VARIABLES', 'write'],
  ])('UMAS %i is %s', (code, name, operation) => {
    const b = bench();
    const request = only(b.request(adu(`5A 01 ${hex(code, 2)} 0001`)));
    expect(request).toMatchObject({
      operation,
      fields: { umas_session: 1, umas_function: code, umas_function_name: name, data: '0001' },
    });
    expect(request.anomalies).toBeUndefined();
    expect(only(b.response(adu('5A 01 FE')))).toMatchObject({
      operation,
      fields: { umas_function_name: name, umas_result: 0xfe, umas_result_name: 'RESPONSE_OK' },
    });
  });

  it('UMAS READ_ID names the controller; a refusal is an error', () => {
    const b = bench();
    b.request(adu('5A 00 02', { unit: 0 }));
    const { identities } = b.response(
      adu('5A 00 FE 10FF5A0101000000700200002700090008000000 0000 0E 3134302043505520333131203130 01', { unit: 0 }),
    );
    expect(identities.map(({ attribute, value }) => [attribute, value])).toEqual([
      ['vendor', 'Schneider Electric'],
      ['model', '140 CPU 311 10'],
    ]);
    b.request(adu('5A 00 41', { unit: 0, transaction: 2 }));
    expect(only(b.response(adu('5A 00 FD 83', { unit: 0, transaction: 2 })))).toMatchObject({
      operation: 'error',
      fields: { umas_function_name: 'STOP_PLC', umas_result_name: 'RESPONSE_ERROR' },
    });
  });

  it('UMAS names the station that reserves the controller, and the project in it', () => {
    const b = bench();
    const reservation = b.request(adu('5A 00 10 434C0000 0F 555345522D37313445373446323142', { unit: 0 }));
    expect(reservation.identities).toEqual([
      { side: 'sender', part: '', attribute: 'name', value: 'USER-714E74F21B', field: 'modbus.data' },
    ]);
    b.request(adu('5A 00 03 00', { unit: 0, transaction: 2 }));
    const project = b.response(adu('5A 00 FE 0205000098 08000000 08 50726F6A65637400', { unit: 0, transaction: 2 }));
    expect(project.identities.map(({ attribute, value }) => [attribute, value])).toEqual([['application', 'Project']]);
  });

  it('UMAS frames may be longer than MODBUS allows, other frames may not', () => {
    const sizeOf = (text: string) => modbus.framing?.sizeOf(new Reader(fromHex(text)), bench().conversation);
    expect(sizeOf('0001 0000 0300 00 5A')).toBe(6 + 0x300);
    expect(sizeOf('0001 0000 0401 00 5A')).toBe(-1);
    expect(sizeOf('0001 0000 00FE 00 03')).toBe(260);
    expect(sizeOf('0001 0000 00FF 00 03')).toBe(-1);
    expect(sizeOf('0001 0001 0006 00 03')).toBe(-1);
    expect(sizeOf('0001 0000 0001 00 03')).toBe(-1);
  });
});

describe('what goes wrong in the field', () => {
  it('1: a scan over all function codes gives a row each, without any response', () => {
    const b = bench();
    const rows = Array.from({ length: 126 }, (_, i) => only(b.request(adu(hex(i + 1, 2), { transaction: i }))));
    expect(rows.map((row) => row.fields.function_code)).toEqual(Array.from({ length: 126 }, (_, i) => i + 1));
  });

  it('3: an exception has its function and a name, also for reserved functions', () => {
    const b = bench();
    const codes = [1, 13, 14, 90];
    for (const code of codes) b.request(adu(hex(code, 2), { transaction: code }));
    const rows = codes.map((code) => only(b.response(adu(`${hex(0x80 + code, 2)} 01`, { transaction: code }))));
    expect(rows.map((row) => [row.fields.function_code_name, row.fields.exception_code_name, row.operation])).toEqual([
      ['Read Coils', 'Illegal Function', 'error'],
      ['Reserved: Program Controller (584, 984)', 'Illegal Function', 'error'],
      ['Reserved: Poll Controller (584, 984)', 'Illegal Function', 'error'],
      ['Reserved: UMAS (Schneider Electric)', 'Illegal Function', 'error'],
    ]);
  });

  it('6: an illegal coil value is named and the conversation goes on', () => {
    const b = bench();
    const row = only(b.request(adu('05 0001 0001')));
    expect(row.anomalies).toEqual(['illegal_value']);
    expect(row.fields).toMatchObject({ address: 1, output_value: 1 });
    expect(row.fields).not.toHaveProperty('bit_values');
    expect(only(b.request(adu('05 0001 FF00', { transaction: 2 }))).anomalies).toBeUndefined();
  });

  it('7: a transaction identifier that never changes is ordinary', () => {
    const b = bench();
    for (let address = 0; address < 40; address++) {
      const request = only(b.request(adu(`03 ${hex(address, 4)} 0001`)));
      const response = only(b.response(adu(`03 02 ${hex(address, 4)}`)));
      expect([request.anomalies, response.anomalies]).toEqual([undefined, undefined]);
      expect(response.fields.request_address).toBe(address);
    }
  });

  it('9: several responses in one segment are cut by their lengths', () => {
    const b = bench();
    b.request(adu('03 0000 0003', { transaction: 1 }) + adu('03 0010 0002', { transaction: 2 }));
    const { rows } = b.response(adu('03 06 000100020003', { transaction: 1 }) + adu('03 04 00040005', { transaction: 2 }));
    expect(rows.map((row) => [row.fields.request_address, row.fields.register_values])).toEqual([
      [0, [1, 2, 3]],
      [16, [4, 5]],
    ]);
  });

  it.each([
    ['88', 8, 11, 'Gateway Target Device Failed To Respond'],
    ['8B', 11, 1, 'Illegal Function'],
  ])('10: %s is an exception', (code, functionCode, exceptionCode, name) => {
    const b = bench();
    const { fields, anomalies } = only(b.response(adu(`${code} ${hex(exceptionCode, 2)}`)));
    expect(fields).toMatchObject({ function_code: functionCode, exception_code: exceptionCode, exception_code_name: name });
    expect(fields).not.toHaveProperty('data');
    expect(anomalies).toBeUndefined();
  });

  it('14: the length field decides: a short PDU is malformed, a long one has its rest named', () => {
    const b = bench();
    const short = only(b.request(adu('03 0000 00')));
    expect(short).toMatchObject({ status: 'malformed', fields: { function_code: 3 } });
    const long = only(b.request(adu('03 0000 0002 AB', { transaction: 2 })));
    expect(long).toMatchObject({ anomalies: ['length_mismatch'], fields: { register_quantity: 2, data: 'ab' } });
    expect(long.status).toBeUndefined();
    expect(only(b.request(adu('03 0000 0002', { transaction: 3 }))).anomalies).toBeUndefined();
  });

  it('14: what the capture cut is truncated, not malformed', () => {
    const b = bench();
    b.request(adu('03 0000 0003'));
    const row = only(b.send(1, adu('03 06 0001 00', { length: 3 }), { complete: false }));
    expect(row).toMatchObject({ status: 'truncated', fields: { register_values: [1], request_address: 0 } });
    expect(row.anomalies).toBeUndefined();
  });

  it('15: a late response and the right one in one segment each meet their request', () => {
    const b = bench();
    b.request(adu('03 0000 0001', { transaction: 0x0f }));
    b.request(adu('03 0005 0001', { transaction: 0x10 }));
    const { rows } = b.response(adu('03 02 0001', { transaction: 0x0f }) + adu('03 02 0002', { transaction: 0x10 }));
    expect(rows.map((row) => [row.fields.request_address, row.anomalies])).toEqual([
      [0, undefined],
      [5, undefined],
    ]);
  });

  it('15: a response whose request was answered already, or never sent, is an event', () => {
    const b = bench();
    b.request(adu('03 0005 0001', { transaction: 0x10 }));
    const { rows } = b.response(adu('03 02 0001', { transaction: 0x0f }) + adu('03 02 0002', { transaction: 0x10 }));
    expect(rows.map((row) => [row.fields.request_address, row.anomalies])).toEqual([
      [undefined, ['unsolicited_response']],
      [5, undefined],
    ]);
  });

  it('16: identifiers that are off by one raise one event each and do not shift the pairs', () => {
    const b = bench();
    const events = [];
    for (let transaction = 10; transaction < 13; transaction++) {
      b.request(adu(`03 ${hex(transaction, 4)} 0001`, { transaction }));
      events.push(only(b.response(adu('03 02 0000', { transaction: transaction + 100 }))));
    }
    expect(events.map((row) => row.anomalies)).toEqual(Array(3).fill(['unsolicited_response']));
    b.request(adu('03 0050 0001', { transaction: 50 }));
    expect(only(b.response(adu('03 02 0000', { transaction: 50 }))).fields.request_address).toBe(0x50);
  });

  it('18: identifiers wrap and requests are retried without an alert', () => {
    const b = bench();
    for (const transaction of [65534, 65535, 0, 1]) {
      const request = b.request(adu('03 0000 0001', { transaction }));
      const response = b.response(adu('03 02 0000', { transaction }));
      expect([...request.rows, ...response.rows].map((row) => row.anomalies)).toEqual([undefined, undefined]);
    }
    b.request(adu('03 0000 0001', { transaction: 2 }));
    const retry = only(b.request(adu('03 0000 0001', { transaction: 2 })));
    const answers = [b.response(adu('03 02 0000', { transaction: 2 })), b.response(adu('03 02 0000', { transaction: 2 }))];
    expect([retry, ...answers.map(only)].map((row) => row.anomalies)).toEqual([undefined, undefined, undefined]);
  });

  it('18: a client that gives up and goes on with the same identifier is joined to what it asked last', () => {
    const b = bench();
    b.request(adu('03 0000 0001'));
    b.conversation.frame += 100;
    expect(only(b.request(adu('03 0007 0001'))).anomalies).toBeUndefined();
    const row = only(b.response(adu('03 02 0000')));
    expect([row.fields.request_address, row.anomalies]).toEqual([7, undefined]);
  });

  it('another request under an identifier in use is an event', () => {
    const b = bench();
    b.request(adu('03 0000 0001'));
    expect(only(b.request(adu('03 0007 0001'))).anomalies).toEqual(['transaction_id_reused']);
  });

  it('19: a second response to one request is a duplicate', () => {
    const b = bench();
    b.request(adu('03 0000 0001'));
    expect(only(b.response(adu('03 02 0000'))).anomalies).toBeUndefined();
    expect(only(b.response(adu('03 02 0000')))).toMatchObject({
      anomalies: ['duplicate_response'],
      fields: { request_address: 0 },
    });
  });

  it('21: parallel requests are answered in any order', () => {
    const b = bench();
    for (let i = 0; i < 16; i++) b.request(adu(`04 ${hex(i, 4)} ${hex(i + 1, 4)}`, { transaction: i, unit: i }));
    for (let i = 15; i >= 0; i--) {
      const row = only(b.response(adu(`04 ${hex((i + 1) * 2, 2)} ${'0001'.repeat(i + 1)}`, { transaction: i, unit: i })));
      expect([row.fields.request_address, row.fields.request_quantity, row.anomalies]).toEqual([i, i + 1, undefined]);
    }
  });

  it('25: a mirror port that shows one direction raises nothing, in either direction', () => {
    const responses = bench();
    const requests = bench();
    for (let transaction = 0; transaction < 500; transaction++) {
      expect(only(responses.response(adu('03 02 0000', { transaction }))).anomalies).toBeUndefined();
      requests.conversation.frame += 100;
      expect(only(requests.request(adu('03 0000 0001', { transaction }))).anomalies).toBeUndefined();
    }
  });

  it('25: responses to what was asked before the capture or in a gap are no events', () => {
    const b = bench();
    b.request(adu('03 0000 0001'));
    b.response(adu('03 02 0000'));
    b.conversation.gap_before = true;
    expect(only(b.response(adu('03 02 0000', { transaction: 2 }))).anomalies).toBeUndefined();
    b.conversation.gap_before = false;
    b.request(adu('03 0000 0001', { transaction: 3 }));
    b.response(adu('03 02 0000', { transaction: 3 }));
    expect(only(b.response(adu('03 02 0000', { transaction: 4 }))).anomalies).toEqual(['unsolicited_response']);
  });

  it('25: responses to what was asked before the capture are no events, until a pair is seen', () => {
    const b = bench();
    b.conversation.from_start = false;
    b.request(adu('03 0000 0001', { transaction: 9 }));
    expect(only(b.response(adu('03 02 0000', { transaction: 8 }))).anomalies).toBeUndefined();
    b.response(adu('03 02 0000', { transaction: 9 }));
    expect(only(b.response(adu('03 02 0000', { transaction: 8 }))).anomalies).toEqual(['unsolicited_response']);
  });

  it('24: a response that acknowledges a request which the mirror port lost is no event', () => {
    const b = bench();
    b.request(adu('03 0000 0001'));
    b.response(adu('03 02 0000'));
    b.conversation.acknowledges_unseen = true;
    const row = only(b.response(adu('03 02 0005')));
    expect(row.anomalies).toBeUndefined();
    expect(row.fields).not.toHaveProperty('request_address');
    b.conversation.acknowledges_unseen = false;
    b.request(adu('03 0005 0001', { transaction: 3 }));
    b.response(adu('03 02 0005', { transaction: 3 }));
    expect(only(b.response(adu('03 02 0005', { transaction: 3 }))).anomalies).toEqual(['duplicate_response']);
  });

  it('26: a flood of requests is one event and no memory', () => {
    const b = bench();
    let events = 0;
    for (let transaction = 0; transaction < 5000; transaction++)
      for (const row of b.request(adu('03 0000 0001', { transaction })).rows)
        if (row.anomalies?.includes('request_flood')) events++;
    expect(events).toBe(1);
  });

  it.each([
    ['function_mismatch', '03 0000 0001', '04 02 0000', 1],
    ['unit_mismatch', '03 0000 0001', '03 02 0000', 2],
    ['quantity_mismatch', '03 0000 0002', '03 02 0000', 1],
    ['quantity_mismatch', '01 0000 0009', '01 01 00', 1],
    ['byte_count_mismatch', '03 0000 0001', '03 02 0000 00', 1],
    ['echo_mismatch', '06 0000 0001', '06 0000 0002', 1],
    ['echo_mismatch', '05 0000 FF00', '05 0001 FF00', 1],
    ['echo_mismatch', '10 0000 0001 02 0000', '10 0000 0002', 1],
    ['echo_mismatch', '08 000B 0000', '08 000C 0000', 1],
    ['unknown_exception_code', '03 0000 0001', '83 63', 1],
  ])('%s: %s is answered with %s', (anomaly, request, response, unit) => {
    const b = bench();
    expect(only(b.request(adu(request))).anomalies).toBeUndefined();
    expect(only(b.response(adu(response, { unit }))).anomalies).toContain(anomaly);
  });

  it.each([
    ['quantity_out_of_range', '01 0000 07D1'],
    ['quantity_out_of_range', '03 0000 007E'],
    ['quantity_out_of_range', '04 0000 0000'],
    ['address_out_of_range', '03 FFFF 0002'],
    ['byte_count_mismatch', '10 0000 0002 02 0001'],
    ['byte_count_mismatch', '0F 0000 0009 01 FF'],
    ['quantity_out_of_range', '17 0000 0001 0000 007A 02 0000'],
    ['illegal_value', '08 0001 0001'],
    ['illegal_value', '2B 0E 07 00'],
    ['byte_count_mismatch', '14 06 06 0001 0001 00'],
    ['unassigned_function', '20 00'],
  ])('%s: %s is asked', (anomaly, request) => {
    expect(bench().request(adu(request)).rows[0].anomalies).toContain(anomaly);
  });
});

describe('who is who', () => {
  const unknown = () => {
    const b = bench();
    b.conversation.client_direction = -1;
    b.conversation.frame = 1;
    return b;
  };

  it('a PDU that only a server can send shows it', () => {
    const b = unknown();
    expect(only(b.send(0, adu('03 04 00010002')))).toMatchObject({ role: 'server', fields: { register_values: [1, 2] } });
    expect(only(b.send(1, adu('03 0000 0002')))).toMatchObject({ role: 'client', fields: { register_quantity: 2 } });
  });

  it('the second of two equal PDUs is the response, and that settles the roles', () => {
    const b = unknown();
    expect(only(b.send(1, adu('06 0001 0002'))).role).toBe('unknown');
    const response = only(b.send(0, adu('06 0001 0002')));
    expect([response.role, response.anomalies]).toEqual(['server', undefined]);
  });

  it('port 502 tells where the PDU does not', () => {
    const b = unknown();
    b.conversation.source_port = 502;
    b.conversation.destination_port = 40000;
    b.send(0, adu('10 0001 0002'));
    const row = only(b.send(0, adu('06 0001 0002', { transaction: 2 })));
    expect(row.anomalies).toBeUndefined();
    expect(only(b.send(0, adu('06 0001 0002', { transaction: 2 }))).anomalies).toBeUndefined();
  });

  it('a server that opened the connection is recognised by what it sends', () => {
    const b = bench();
    expect(only(b.response(adu('03 0000 0002')))).toMatchObject({ role: 'client', fields: { register_quantity: 2 } });
    expect(only(b.request(adu('03 04 00010002')))).toMatchObject({ role: 'server', fields: { request_quantity: 2 } });
  });

  it('roles that a pair has settled are not turned by a forged PDU', () => {
    const b = bench();
    b.request(adu('03 0000 0001'));
    b.response(adu('03 02 0000'));
    expect(only(b.request(adu('03 02 0000', { transaction: 9 })))).toMatchObject({ role: 'client' });
    expect(only(b.request(adu('83 02', { transaction: 10 }))).anomalies).toContain('unexpected_direction');
  });
});

describe('recognition', () => {
  const probe = (text: string) => modbus.probe(new Reader(fromHex(text)));

  it.each([
    ['a read request', adu('03 006B 0003')],
    ['a read response', adu('03 06 022B 0000 0064')],
    ['the start of a long read response', `0001 0000 00C9 01 03 C6 ${'00'.repeat(20)}`],
    ['a write', adu('06 0001 0003')],
    ['a write of many', adu('10 0001 0002 04 000A 0102')],
    ['an exception', adu('83 02')],
    ['two requests', adu('03 006B 0003') + adu('03 006B 0003', { transaction: 2 })],
    ['device identification', adu('2B 0E 01 00')],
  ])('%s is certain', (_, text) => {
    expect(probe(text)).toBe(Match.certain);
  });

  it.each([
    ['an unknown function', adu('20 00')],
    ['UMAS', adu('5A 00 02')],
    ['a length that does not fit', adu('03 006B 0003 00')],
    ['a quantity of zero', adu('03 006B 0000')],
    ['function code 0', adu('00 00')],
    ['a padded exception', adu('83 0200')],
    ['a header alone', '0001 0000 0006 01 03'],
    ['a request with something else behind it', `${adu('03 006B 0003')}0000000000000000`],
  ])('%s is possible, so believed on port 502 only', (_, text) => {
    expect(probe(text)).toBe(Match.possible);
  });

  it.each([
    ['2: HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n').toString('hex')],
    ['2: TLS', '1603010200010001fc0303'],
    ['23: text behind zeros', `04000000 0013 ${'20'.repeat(19)}`],
    ['23: text with a wrong length', `04000000 0013 ${'20'.repeat(300)}`],
    ['another protocol id', '0001 0001 0006 01 03 0000 0001'],
    ['zeros', '00'.repeat(40)],
    ['TPKT', '0300001611e00000000100c0010ac1020100c2020102'],
    ['less than a header', '0001 0000 0006 01'],
  ])('%s is not MODBUS', (_, text) => {
    expect(probe(text)).toBe(Match.no);
  });
});
