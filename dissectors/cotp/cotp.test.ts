import { describe, expect, it } from 'vitest';
import { Bench } from '../../src/dissect/testing.ts';
import s7comm from '../s7comm/s7comm.ts';
import tpkt from '../tpkt/tpkt.ts';
import cotp from './cotp.ts';

const bench = () => new Bench([tpkt, cotp, s7comm]);
const packet = (tpdu: string): string => {
  const hex = tpdu.replace(/\s+/g, '');
  return `0300${(hex.length / 2 + 4).toString(16).padStart(4, '0')}${hex}`;
};
const REQUEST = packet('11 e0 0000 0001 00 c0010a c1020100 c2020122');
const CONFIRM = packet('11 d0 0001 0004 00 c0010a c1020100 c2020122');
const STOP = '32010000 0b00 0010 0000 29 0000000000 09 505f50524f4752414d';

describe('connection, ISO 8073 clauses 13.3 and 13.4', () => {
  it('request: TSAPs, size, and where the CPU is', () => {
    const { rows } = bench().request(REQUEST);
    expect(rows).toEqual([
      {
        record: 'cotp',
        operation: 'session',
        role: 'client',
        fields: {
          li: 17,
          tpdu: 14,
          tpdu_name: 'connection_request',
          destination_reference: 0,
          source_reference: 1,
          class: 0,
          extended_formats: false,
          no_explicit_flow_control: false,
          credit: 0,
          tpdu_size: 1024,
          calling_tsap: '0100',
          called_tsap: '0122',
          s7_connection_type: 1,
          s7_connection_type_name: 'programming_device',
          s7_rack: 1,
          s7_slot: 2,
        },
      },
    ]);
  });

  it('the request tells the roles, whoever was seen first', () => {
    const b = bench();
    expect(b.send(1, REQUEST, { client: -1 }).rows[0].role).toBe('client');
    expect(b.send(0, CONFIRM).rows[0].role).toBe('server');
  });

  it('a TSAP in text is not taken for rack and slot', () => {
    const { fields } = bench().request(packet('1c e0 0000 0001 00 c0010a c1020600 c20d 53494d415449432d524f4f542d')).rows[0];
    expect(fields.called_tsap).toBe('53494d415449432d524f4f542d');
    expect(fields).not.toHaveProperty('s7_slot');
  });

  it('a size of more than 8,192 octets is none of the standard', () => {
    const [row] = bench().request(packet('09 e0 0000 0001 00 c0010e')).rows;
    expect(row.anomalies).toEqual(['invalid_parameter']);
    expect(row.fields).not.toHaveProperty('tpdu_size');
  });

  it('a refusal: disconnect request with its reason (13.5)', () => {
    const [row] = bench().response(packet('06 80 0001 0000 03')).rows;
    expect(row).toMatchObject({
      operation: 'session',
      fields: { tpdu_name: 'disconnect_request', reason_name: 'address_unknown' },
    });
  });

  it('a TPDU error names its cause and the TPDU (13.12)', () => {
    const [row] = bench().response(packet('08 70 0001 02 c102 f280')).rows;
    expect(row).toMatchObject({ operation: 'error', anomalies: ['tpdu_rejected'] });
    expect(row.fields).toMatchObject({ reject_cause_name: 'invalid_tpdu_type', rejected_tpdu: 'f280' });
  });

  it('an unknown TPDU is named, not dropped', () => {
    expect(bench().request(packet('02 a0 80 1234')).rows[0]).toMatchObject({
      anomalies: ['unknown_tpdu'],
      fields: { data_size: 2 },
    });
  });
});

describe('data, clause 13.7', () => {
  it('one TPDU with end mark is read in place', () => {
    const { rows } = bench().request(packet(`02 f0 80 ${STOP}`));
    expect(rows.map((row) => row.operation)).toEqual(['other', 'stop']);
    expect(rows[0].fields).toMatchObject({ end_of_tsdu: true, data_size: 26 });
  });

  it('TPDUs without end mark are joined with the one that has it, cut anywhere', () => {
    const whole = STOP.replace(/\s+/g, '');
    for (let cut = 2; cut < whole.length; cut += 2) {
      const b = bench();
      expect(b.request(packet(`02 f0 00 ${whole.slice(0, cut)}`)).rows.map((row) => row.record)).toEqual(['cotp']);
      const { rows } = b.request(packet(`02 f0 80 ${whole.slice(cut)}`));
      expect(rows[1]).toMatchObject({
        record: 's7comm',
        operation: 'stop',
        fields: { pi_service: 'P_PROGRAM', pdu_reference: 0x0b00 },
      });
      expect(rows[0].fields.tsdu_size).toBe(26);
      expect(rows[1].status).toBeUndefined();
    }
  });

  it('one octet a TPDU', () => {
    const b = bench();
    const octets = STOP.replace(/\s+/g, '').match(/../g) ?? [];
    const all = octets.flatMap((octet, i) => b.request(packet(`02 f0 ${i + 1 < octets.length ? '00' : '80'} ${octet}`)).rows);
    expect(all.filter((row) => row.record === 's7comm').map((row) => row.operation)).toEqual(['stop']);
  });

  it('empty TPDUs without end mark, as a fast acknowledgement, do not disturb', () => {
    const b = bench();
    expect(b.response('03000007 02f000').rows).toMatchObject([{ record: 'cotp', fields: { end_of_tsdu: false, data_size: 0 } }]);
    b.request('03000007 02f000');
    const { rows } = b.request(packet(`02 f0 80 ${STOP}`));
    expect(rows[1]).toMatchObject({ operation: 'stop' });
    expect(rows.every((row) => row.anomalies === undefined)).toBe(true);
  });

  it('the directions are joined apart', () => {
    const b = bench();
    b.request(packet('02 f0 00 3201000001'));
    expect(b.response(packet(`02 f0 80 32030000 0100 0001 0000 0000 29`)).rows[1].fields.function_name).toBe('plc_stop');
  });

  it('what was half joined is forgotten after a gap, and that is said', () => {
    const b = bench();
    b.request(packet('02 f0 00 3201000001'));
    b.conversation.gap_before = true;
    const { rows } = b.request(packet(`02 f0 80 ${STOP}`));
    expect(rows[0].anomalies).toEqual(['tsdu_unfinished']);
    expect(rows[1]).toMatchObject({ operation: 'stop' });
  });

  it('without an end joining stops at 65,536 bytes, once and for this service data unit only', () => {
    const b = bench();
    const part = packet(`02 f0 00 ${'00'.repeat(8185)}`);
    const marked: number[] = [];
    for (let i = 0; i < 12; i++) if (b.request(part).rows[0].anomalies?.includes('tsdu_too_long')) marked.push(i);
    expect(marked).toEqual([8, 9, 10, 11]);
    expect(b.request(packet('02 f0 80 00')).rows).toHaveLength(1);
    expect(b.request(packet(`02 f0 80 ${STOP}`)).rows[1].operation).toBe('stop');
  });

  it('a TPDU that is larger than was confirmed', () => {
    const b = bench();
    b.request(REQUEST);
    b.response(packet('09 d0 0001 0004 00 c00107'));
    expect(b.request(packet(`02 f0 80 ${'00'.repeat(125)}`)).rows[0].anomalies).toBeUndefined();
    expect(b.request(packet(`02 f0 80 ${'00'.repeat(126)}`)).rows[0].anomalies).toEqual(['larger_than_negotiated']);
  });

  it('S7comm-plus is not S7', () => {
    expect(bench().request(packet('02 f0 80 72010000')).rows).toHaveLength(1);
  });
});

describe('forged headers', () => {
  it('a length indicator beyond the packet', () => {
    const [row] = bench().request(packet('40 e0 0000 0001 00 c0010a')).rows;
    expect(row).toMatchObject({ status: 'malformed', fields: { li: 64, tpdu_size: 1024 } });
  });

  it('every cut of a connection request ends', () => {
    for (let size = 7; size < 22; size++) {
      const cut = REQUEST.slice(8, size * 2);
      expect(bench().request(packet(cut)).rows.length).toBeGreaterThan(0);
    }
  });
});
