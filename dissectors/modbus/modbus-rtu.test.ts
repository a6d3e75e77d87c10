import { describe, expect, it } from 'vitest';
import { Conversation, Match, Reader } from '../../src/dissect/index.ts';
import { Bench, fromHex, type TestResult, type TestRow } from '../../src/dissect/testing.ts';
import mbrtu from './modbus-rtu.ts';

/** A frame with the CRC that the bytes before it have, reckoned bit by bit (Serial Line V1.02, 6.2.2). */
function frame(text: string): string {
  const bytes = fromHex(text);
  let crc = 0xffff;
  for (const octet of bytes) {
    crc ^= octet;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ 0xa001 : crc >> 1;
  }
  return Buffer.from([...bytes, crc & 0xff, crc >> 8]).toString('hex');
}

const bench = () => new Bench([mbrtu]);
const only = ({ rows }: TestResult): TestRow => {
  expect(rows).toHaveLength(1);
  return rows[0];
};
const sizeOf = (text: string, client: -1 | 0 | 1 = -1): number => {
  const conversation = new Conversation();
  conversation.client_direction = client;
  return mbrtu.framing?.sizeOf(new Reader(fromHex(text)), conversation) ?? Number.NaN;
};

describe('frames', () => {
  it('6.2.2: the CRC of 02 07 is 41 12', () => {
    expect(frame('0207')).toBe('02074112');
    expect(sizeOf('02074112')).toBe(4);
  });

  it('a read: request and response are joined', () => {
    const b = bench();
    // 01 03 00 00 00 0A C5 CD stands in many a device's manual
    const request = only(b.request('01 03 0000 000A C5CD'));
    expect(request).toMatchObject({ operation: 'read', unit: 1, role: 'client', target: ['holding registers', 0, 9] });
    expect(request.fields).toEqual({
      unit_id: 1,
      function_code: 3,
      function_code_name: 'Read Holding Registers',
      address: 0,
      register_quantity: 10,
      crc: 0xc5cd,
    });
    const response = only(b.response(frame(`01 03 14 ${'0007'.repeat(10)}`)));
    expect(response.fields).toMatchObject({ byte_count: 20, register_values: Array(10).fill(7), request_address: 0 });
    expect(response.anomalies).toBeUndefined();
    expect(response.status).toBeUndefined();
  });

  it.each([
    ['01 01 0013 0013'],
    ['01 01 03 CD6B05'],
    ['01 03 06 022B 0000 0064'],
    ['01 05 00AC FF00'],
    ['01 06 0001 0003'],
    ['01 07'],
    ['01 07 6D'],
    ['01 08 0000 A537'],
    ['01 0B'],
    ['01 0B FFFF 0108'],
    ['01 0C 08 0000 0108 0121 2000'],
    ['01 0F 0013 000A 02 CD01'],
    ['01 0F 0013 000A'],
    ['01 10 0001 0002 04 000A 0102'],
    ['01 10 0001 0002'],
    ['01 11 05 01 FF 414243'],
    ['01 14 0E 06 0004 0001 0002 06 0003 0009 0002'],
    ['01 14 0C 05 06 0DFE 0020 05 06 33CD 0040'],
    ['01 15 0D 06 0004 0007 0003 06AF 04BE 100D'],
    ['01 16 0004 00F2 0025'],
    ['01 17 0003 0006 000E 0003 06 00FF00FF00FF'],
    ['01 17 0C 00FE 0ACD 0001 0003 000D 00FF'],
    ['01 18 04DE'],
    ['01 18 0006 0002 01B8 1284'],
    ['01 2B 0E 01 00'],
    ['01 2B 0E 01 01 00 00 02 00 02 4142 01 01 43'],
    ['01 83 02'],
    ['01 41 0102 0304 05'],
    ['01 2B 0D 0102 0304'],
  ])('%s is cut at its end, whatever follows, and asked for until it is there', (text) => {
    const whole = frame(text);
    const size = whole.length / 2;
    expect(sizeOf(whole)).toBe(size);
    expect(sizeOf(whole + frame('01 03 0000 0001'))).toBe(size);
    for (let there = 4; there < size; there++) expect(sizeOf(whole.slice(0, there * 2))).toBe(0);
  });

  it('frames that follow each other in one segment are cut apart', () => {
    const b = bench();
    const { rows } = b.request(frame('01 03 0000 0001') + frame('02 06 0001 0003') + frame('03 0B'));
    expect(rows.map((row) => [row.unit, row.fields.function_code])).toEqual([
      [1, 3],
      [2, 6],
      [3, 11],
    ]);
  });

  it('a broadcast is not answered, and not waited for', () => {
    const b = bench();
    b.request(frame('00 06 0001 0003'));
    b.request(frame('05 06 0001 0003'));
    expect(only(b.response(frame('05 06 0001 0003'))).anomalies).toBeUndefined();
    expect(only(b.response(frame('00 06 0001 0003'))).anomalies).toEqual(['unsolicited_response']);
  });

  it('a server that does not answer is given up with the next request', () => {
    const b = bench();
    b.request(frame('01 03 0000 0001'));
    b.request(frame('01 03 0005 0001'));
    const row = only(b.response(frame('01 03 02 0000')));
    expect([row.fields.request_address, row.anomalies]).toEqual([5, undefined]);
  });
});

describe('damage', () => {
  it('a frame with a wrong CRC is named where it must be one', () => {
    const b = bench();
    expect(only(b.request('01 03 0000 000A C5CE'))).toMatchObject({
      anomalies: ['crc_error'],
      fields: { address: 0, register_quantity: 10, crc: 0xc5ce },
    });
  });

  it('a damaged frame before a sound one does not hide it', () => {
    expect(sizeOf(`0103 0000 000A C5CE ${frame('01 03 0000 0001')}`, 0)).toBe(8);
  });

  it('bytes that are no frame ask for resynchronisation', () => {
    expect(sizeOf(`01 03 0000 000A C5CE ${'55'.repeat(20)}`, 0)).toBe(-1);
    expect(sizeOf('55'.repeat(300), 0)).toBe(-1);
  });

  it('what the capture cut is truncated and has no CRC to be wrong', () => {
    const b = bench();
    b.request(frame('01 03 0000 0002'));
    const row = only(b.send(1, '01 03 04 0001', { complete: false }));
    expect(row).toMatchObject({ status: 'truncated', fields: { register_values: [1] } });
    expect(row.anomalies).toBeUndefined();
    expect(row.fields).not.toHaveProperty('crc');
  });
});

describe('recognition', () => {
  const probe = (text: string) => mbrtu.probe(new Reader(fromHex(text)));

  it.each([['01 03 0000 000A'], ['01 03 06 022B 0000 0064'], ['11 05 00AC FF00'], ['01 83 02'], ['F7 10 0001 0001 02 0005']])(
    '%s with its CRC is certain',
    (text) => {
      expect(probe(frame(text))).toBe(Match.certain);
    },
  );

  it.each([
    ['a wrong CRC', '01 03 0000 000A C5CE'],
    ['a reserved address', frame('F8 03 0000 000A')],
    ['no function', frame('01 20 0000 000A')],
    ['a quantity out of range', frame('01 03 0000 0000')],
    ['a frame that is not whole', '01 03 0000 000A'],
    ['ROC, which has the same CRC', frame('0102 0304 06 00')],
    ['ROC, whose unit reads as a byte count', frame('0302 0301 1100')],
    ['MODBUS/TCP', '0001 0000 0006 01 03 0000 000A'],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n').toString('hex')],
    ['zeros', '00'.repeat(64)],
  ])('%s is not recognised', (_, text) => {
    expect(probe(text)).toBe(Match.no);
  });
});
