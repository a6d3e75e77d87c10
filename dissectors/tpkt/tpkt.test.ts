import { describe, expect, it } from 'vitest';
import { Conversation, Match, Reader } from '../../src/dissect/index.ts';
import { Bench, fromHex } from '../../src/dissect/testing.ts';
import cotp from '../cotp/cotp.ts';
import s7comm from '../s7comm/s7comm.ts';
import tpkt from './tpkt.ts';

const sizeOf = (hex: string): number => tpkt.framing?.sizeOf(new Reader(fromHex(hex)), new Conversation()) ?? Number.NaN;

describe('framing, RFC 1006 clause 6', () => {
  it.each([
    ['version 3, reserved 0, the length counts the header', '03 00 0019 02f080', 25],
    ['the smallest packet has seven octets', '03 00 0007 02f000', 7],
    ['the largest has 65,535', '03 00 ffff 02f080', 65535],
    ['shorter is none', '03 00 0006 02f080', -1],
    ['another version is none', '02 00 0019 02f080', -1],
    ['reserved octets are 0', '03 01 0019 02f080', -1],
  ])('%s', (_, hex, size) => expect(sizeOf(hex)).toBe(size));
});

describe('recognition', () => {
  it.each([
    ['data of class 0', '03 00 0019 02 f0 80', Match.certain],
    ['data without end mark, empty', '03 00 0007 02 f0 00', Match.certain],
    ['connection request to an S7 CPU', '03 00 0016 11 e0 0000 0001 00 c0010a', Match.certain],
    ['connection confirm', '03 00 0016 11 d0 0001 0001 00 c0010a', Match.certain],
    ['connection request of remote desktop with its cookie', '03 00 0013 0e e0 0000 0000 00 0100', Match.certain],
    ['disconnect request', '03 00 000b 06 80 0001 0001 00', Match.certain],
    ['H.225 call signalling: TPKT, but no transport protocol in it', '03 00 0100 08 02 00', Match.possible],
    ['a number in data, which class 0 has not', '03 00 0019 02 f0 81', Match.possible],
    ['a connection request that does not fill its packet', '03 00 0040 11 e0 0000 0001', Match.possible],
    ['TLS', '16 03 01 02 00 01 00', Match.no],
    ['HTTP', '474554202f2048', Match.no],
    ['Modbus', '0001 0000 0006 01 03', Match.no],
  ])('%s', (_, hex, match) => expect(tpkt.probe(new Reader(fromHex(hex)))).toBe(match));
});

describe('PDUs of a stream', () => {
  const read = '0300001f02f080 32010000000100 0e0000 0401 120a10020001000084000000';
  const write = '0300002402f080 32010000000200 0e0005 0501 120a10020001000084000000 00040008aa';

  it('hands the TPDU on and says nothing itself', () => {
    expect(new Bench([tpkt, cotp, s7comm]).request(read).rows.map((row) => row.record)).toEqual([
      'cotp',
      's7comm',
      's7comm_item',
    ]);
  });

  it('several packets in one segment are all read', () => {
    const { rows } = new Bench([tpkt, cotp, s7comm]).request(read + write);
    expect(rows.filter((row) => row.record === 's7comm').map((row) => row.operation)).toEqual(['read', 'write']);
  });

  it('remote desktop is TPKT and COTP, but not S7', () => {
    const cookie = Buffer.from('Cookie: mstshash=operator\r\n').toString('hex');
    const negotiation = '0100080003000000';
    const li = 6 + (cookie.length + negotiation.length) / 2;
    const hex = `0300 ${(li + 5).toString(16).padStart(4, '0')} ${li.toString(16).padStart(2, '0')} e0 0000 0000 00 ${cookie} ${negotiation}`;
    const { rows } = new Bench([tpkt, cotp, s7comm]).request(hex);
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({ record: 'cotp', operation: 'session' });
    expect(rows[0].anomalies).toBeUndefined();
    expect(rows[0].status).toBeUndefined();
    expect(rows[0].fields.unread_parameters).toBe(cookie + negotiation);
  });
});
