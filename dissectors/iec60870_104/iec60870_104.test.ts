import { describe, expect, it } from 'vitest';
import { Match, Reader } from '../../src/dissect/index.ts';
import { Bench, fromHex, type TestRow } from '../../src/dissect/testing.ts';
import iec60870_104 from './iec60870_104.ts';
import { ELEMENT_SIZES, TYPES } from './types.ts';

/** A connection of which nothing is known yet; rows say that they are well, too. */
function bench() {
  const inner = new Bench([iec60870_104]);
  return {
    /** So much time passes before the next PDU. */
    wait(seconds: number) {
      inner.conversation.frame += seconds * 100;
    },
    lost() {
      inner.conversation.gap_before = true;
    },
    pdu(direction: 0 | 1, bytes: string) {
      const { rows } = inner.send(direction, bytes, { client: -1 });
      return { rows: rows.map((row) => ({ ...row, status: row.status ?? 'ok', anomalies: row.anomalies ?? [] })) };
    },
  };
}
type Result = ReturnType<ReturnType<typeof bench>['pdu']>;
const hex = (value: number, octets: number) =>
  Array.from({ length: octets }, (_, i) => ((value >>> (8 * i)) & 255).toString(16).padStart(2, '0')).join('');

/** An I-format APDU: N(S) and N(R), then the ASDU. */
function apdu(asdu: string, { send = 0, receive = 0 } = {}): string {
  const size = asdu.replace(/\s+/g, '').length / 2;
  return `68 ${hex(size + 4, 1)} ${hex(send * 2, 2)} ${hex(receive * 2, 2)} ${asdu}`;
}

const objects = ({ rows }: Result) => rows.filter(({ record }) => record === 'iec60870_object');
/** The fields of an object without those that its ASDU gives. */
function said({ fields }: TestRow): Record<string, unknown> {
  const {
    type_identification,
    type_identification_name,
    cause_of_transmission,
    cause_of_transmission_name,
    common_address,
    ...rest
  } = fields;
  return rest;
}
const good = { blocked: false, substituted: false, not_topical: false, invalid: false };

describe('control field (IEC 60870-5-104, 5.1)', () => {
  it.each([
    ['STARTDT act', '68 04 07 00 00 00', 'client'],
    ['STARTDT con', '68 04 0b 00 00 00', 'server'],
    ['STOPDT act', '68 04 13 00 00 00', 'client'],
    ['STOPDT con', '68 04 23 00 00 00', 'server'],
    ['TESTFR act', '68 04 43 00 00 00', 'unknown'],
    ['TESTFR con', '68 04 83 00 00 00', 'unknown'],
  ])('U format, %s', (name, bytes, role) => {
    const { rows } = bench().pdu(0, bytes);
    expect(rows).toMatchObject([
      { status: 'ok', operation: 'session', role, fields: { format: 3, control_function_name: name } },
    ]);
  });

  it('S format', () => {
    const { rows } = bench().pdu(0, '68 04 01 00 0a 00');
    expect(rows).toMatchObject([{ operation: 'session', fields: { format: 1, receive_sequence_number: 5 } }]);
  });

  it('I format, with numbers of 15 bits', () => {
    const { rows } = bench().pdu(0, apdu('01 01 03 00 0100 010000 01', { send: 32767, receive: 300 }));
    expect(rows[0].fields).toMatchObject({ format: 0, send_sequence_number: 32767, receive_sequence_number: 300 });
  });

  it('numbers go on from 32767 to 0, and a hole is told', () => {
    const talk = bench();
    const sp = '01 01 03 00 0100 010000 01';
    const anomalies = [32766, 32767, 0, 2, 3].map((send) => talk.pdu(1, apdu(sp, { send })).rows[0].anomalies);
    expect(anomalies).toEqual([[], [], [], ['sequence_break'], []]);
  });

  it('what was not sent cannot be acknowledged', () => {
    const talk = bench();
    talk.pdu(1, apdu('01 01 03 00 0100 010000 01', { send: 4 }));
    expect(talk.pdu(0, '68 04 01 00 0a 00').rows[0].anomalies).toEqual([]);
    expect(talk.pdu(0, '68 04 01 00 0c 00').rows[0].anomalies).toEqual(['acknowledges_unsent']);
  });

  it('no information between STOPDT and STARTDT (5.3)', () => {
    const talk = bench();
    talk.pdu(1, '68 04 23 00 00 00');
    expect(talk.pdu(1, apdu('01 01 03 00 0100 010000 01')).rows[0].anomalies).toEqual(['transfer_not_started']);
    talk.pdu(1, '68 04 0b 00 00 00');
    expect(talk.pdu(1, apdu('01 01 03 00 0100 010000 01', { send: 1 })).rows[0].anomalies).toEqual([]);
  });
});

describe('information elements (IEC 60870-5-101, 7.2.6)', () => {
  const cases: [clause: string, type: number, cause: number, elements: string, expected: Record<string, unknown>][] = [
    ['7.2.6.1 SIQ', 1, 3, 'd1', { siq: 0xd1, single_point: true, ...good, blocked: true, not_topical: true, invalid: true }],
    ['7.2.6.2 DIQ', 3, 3, '22', { diq: 0x22, double_point: 2, double_point_name: 'ON', ...good, substituted: true }],
    [
      '7.2.6.5 VTI, 7.2.6.3 QDS',
      5,
      3,
      'c0 01',
      { vti: 0xc0, step_position: -64, transient: true, qds: 1, overflow: true, ...good },
    ],
    ['7.2.6.6 NVA', 9, 3, '00 80 00', { normalized_value: -1, qds: 0, overflow: false, ...good }],
    ['7.2.6.6 NVA without quality', 21, 3, 'ff 7f', { normalized_value: 32767 / 32768 }],
    ['7.2.6.7 SVA', 11, 3, 'fe ff 00', { scaled_value: -2, qds: 0, overflow: false, ...good }],
    ['7.2.6.8 R32', 13, 3, '00 00 c0 3f 00', { short_float: 1.5, qds: 0, overflow: false, ...good }],
    [
      '7.2.6.9 BCR',
      15,
      37,
      '01 00 00 80 e3',
      { counter_reading: -2147483647, counter_sequence: 3, counter_carry: true, counter_adjusted: true, counter_invalid: true },
    ],
    ['7.2.6.13 BSI', 7, 3, '01 00 00 80 00', { bitstring: 0x80000001, qds: 0, overflow: false, ...good }],
    ['7.2.6.40 SCD', 20, 3, '01 00 01 00 00', { status_and_change: 0x10001, qds: 0, overflow: false, ...good }],
    [
      '7.2.6.10 SEP, CP16',
      38,
      3,
      '82 10 27 00 00 00 00 01 01 1a',
      {
        protection_event: 0x82,
        ...good,
        invalid: true,
        elapsed_time: 10000,
        time: '2026-01-01T00:00:00.000Z',
        cp56_milliseconds: 0,
        cp56_minute: 0,
        cp56_hour: 0,
        cp56_day: 1,
        cp56_day_of_week: 0,
        cp56_month: 1,
        cp56_year: 26,
        cp56_substituted: false,
        cp56_summer_time: false,
        cp56_invalid: false,
      },
    ],
    ['7.2.6.15 SCO', 45, 6, '85', { sco: 0x85, single_command: true, command_qualifier: 1, select: true }],
    [
      '7.2.6.16 DCO',
      46,
      6,
      '0e',
      { dco: 0x0e, double_command: 2, double_command_name: 'ON', command_qualifier: 3, select: false },
    ],
    [
      '7.2.6.17 RCO',
      47,
      6,
      '01',
      { rco: 1, step_command: 1, step_command_name: 'next step lower', command_qualifier: 0, select: false },
    ],
    ['7.2.6.39 QOS', 50, 6, '00 00 20 41 81', { short_float: 10, qos: 0x81, command_qualifier: 1, select: true }],
    [
      '7.2.6.21 COI',
      70,
      4,
      '82',
      { cause_of_initialization: 2, cause_of_initialization_name: 'remote reset', after_parameter_change: true },
    ],
    ['7.2.6.22 QOI', 100, 6, '14', { qoi: 20, qoi_name: 'station interrogation' }],
    ['7.2.6.23 QCC', 101, 6, '45', { qcc: 0x45 }],
    ['7.2.6.27 QRP', 105, 6, '01', { qrp: 1, qrp_name: 'general reset of process' }],
    ['7.2.6.14 FBP', 104, 6, 'aa 55', { test_word: 0x55aa }],
    ['7.2.6.24 QPM', 110, 6, '00 40 01', { normalized_value: 0.5, qpm: 1 }],
    ['7.2.6.36 segment', 125, 13, '01 00 02 03 aabbcc', { file_name: 1, section_name: 2, segment: 'aabbcc' }],
    [
      '7.2.6.19 CP24',
      2,
      3,
      '01 60 ea 05',
      { siq: 1, single_point: true, ...good, cp24_milliseconds: 60000, cp24_minute: 5, cp24_invalid: false },
    ],
  ];
  it.each(cases)('%s', (_, type, cause, elements, expected) => {
    const { rows } = bench().pdu(0, apdu(`${hex(type, 1)} 01 ${hex(cause, 1)} 00 0100 070000 ${elements}`));
    expect(rows.map(({ status }) => status)).toEqual(['ok', 'ok']);
    expect(said(rows[1])).toEqual({ information_object_address: 7, ...expected });
  });

  it('CP56Time2a (7.2.6.18): all parts, and the time they make', () => {
    const time = 'e7 03 1e 8c 42 0c 19';
    const row = objects(bench().pdu(1, apdu(`1e 01 03 00 0100 010000 00 ${time}`)))[0];
    expect(row.fields).toMatchObject({
      time: '2025-12-02T12:30:00.999Z',
      cp56_milliseconds: 999,
      cp56_minute: 30,
      cp56_hour: 12,
      cp56_summer_time: true,
      cp56_day: 2,
      cp56_day_of_week: 2,
      cp56_month: 12,
      cp56_year: 25,
    });
    expect(row.anomalies).toEqual([]);
  });

  it('a time that is none is told, unless it says so itself', () => {
    const at = (time: string) => objects(bench().pdu(1, apdu(`1e 01 03 00 0100 010000 00 ${time}`)))[0].anomalies;
    expect(at('60 ea 1e 0c 02 0c 19')).toEqual(['invalid_time']);
    expect(at('e7 03 1e 1f 02 0c 19')).toEqual(['invalid_time']);
    expect(at('e7 03 9e 1f 02 0c 19')).toEqual([]);
  });

  it('every type reads as many octets as its elements have, and no more', () => {
    TYPES.forEach((type, id) => {
      if (type === undefined) return;
      const content = '01'.repeat(type.size) + (type.elements.includes('segment') ? '00' : '');
      const { rows } = bench().pdu(0, apdu(`${hex(id, 1)} 01 06 00 0100 010000 ${content}`));
      expect([id, rows.length, rows[0].status]).toEqual([id, 2, 'ok']);
      expect(rows[0].anomalies, type.label).not.toContain('length_mismatch');
    });
    expect(TYPES.filter((type) => type !== undefined)).toHaveLength(67);
    expect(Object.values(ELEMENT_SIZES).every((size) => size > 0)).toBe(true);
  });
});

describe('information objects (IEC 60870-5-101, 7.2.2)', () => {
  it('each with its own address', () => {
    const result = bench().pdu(1, apdu('01 02 03 00 0100 0a0000 01 140000 00'));
    expect(objects(result).map(({ fields }) => [fields.information_object_address, fields.single_point])).toEqual([
      [10, true],
      [20, false],
    ]);
    expect(result.rows[0].target).toEqual(['information objects', 10, 20]);
    expect(result.rows[0].unit).toBe(1);
  });

  it('in a sequence from one address on', () => {
    const result = bench().pdu(1, apdu('0d 83 14 00 0100 0a0000 0000803f00 0000004000 0000404000'));
    expect(objects(result).map(({ fields }) => [fields.information_object_address, fields.short_float])).toEqual([
      [10, 1],
      [11, 2],
      [12, 3],
    ]);
    // What an interrogation asked for is read.
    expect(result.rows[0].operation).toBe('read');
  });

  it('fewer than the ASDU counts: what is there is kept, and it is malformed', () => {
    const { rows } = bench().pdu(1, apdu('01 03 03 00 0100 0a0000 01 140000 00'));
    expect(rows).toHaveLength(3);
    expect(rows[0]).toMatchObject({ status: 'malformed', anomalies: ['length_mismatch'] });
  });

  it('more octets than its objects have', () => {
    const { rows } = bench().pdu(1, apdu('01 01 03 00 0100 0a0000 01 ffff'));
    expect(rows[0]).toMatchObject({ anomalies: ['length_mismatch'], fields: { data: 'ffff' } });
  });

  it('of a type that the standard does not have are octets', () => {
    const { rows } = bench().pdu(1, apdu('c8 01 03 00 0100 0a0000 01'));
    expect(rows).toMatchObject([{ operation: 'other', anomalies: ['unknown_type'], fields: { data: '0a000001' } }]);
  });
});

describe('what is done, and by whom', () => {
  const SELECT = '2d 01 06 00 0100 010000 81';
  it.each([
    ['a command', SELECT, 'control', 'client', []],
    [
      'its confirmation, of a command that nobody sent',
      '2d 01 07 00 0100 010000 81',
      'control',
      'server',
      ['unsolicited_confirmation'],
    ],
    ['an interrogation', '64 01 06 00 ffff 000000 14', 'read', 'client', []],
    ['clock synchronization', '67 01 06 00 0100 000000 00000000010119', 'time_sync', 'client', []],
    ['reset process', '69 01 06 00 0100 000000 01', 'restart', 'client', []],
    ['a parameter', '70 01 06 00 0100 010000 0000803f 01', 'configure', 'client', []],
    ['a file', '78 01 0d 00 0100 010000 0100 000100 00', 'file', 'unknown', []],
    ['a spontaneous report', '01 01 03 00 0100 010000 01', 'report', 'server', []],
    ['a command with the cause of a report', '2d 01 03 00 0100 010000 81', 'control', 'server', ['invalid_cause']],
    ['a report with the cause of a command', '01 01 06 00 0100 010000 01', 'report', 'server', ['invalid_cause']],
    ['a refusal', '2d 01 6f 00 0100 010000 81', 'error', 'server', []],
    ['a cause that there is not', '01 01 3f 00 0100 010000 01', 'report', 'server', ['unknown_cause']],
    ['a double command of a state that is not permitted', '2e 01 06 00 0100 010000 03', 'control', 'client', []],
  ])('%s', (_, asdu, operation, role, anomalies) => {
    const { rows } = bench().pdu(0, apdu(asdu));
    expect(rows[0]).toMatchObject({ operation, role, anomalies });
  });

  it('a command, its confirmation and its termination', () => {
    const talk = bench();
    const anomalies = [
      talk.pdu(0, apdu(SELECT)),
      talk.pdu(1, apdu('2d 01 07 00 0100 010000 81', { receive: 1 })),
      talk.pdu(0, apdu('2d 01 06 00 0100 010000 01', { send: 1, receive: 1 })),
      talk.pdu(1, apdu('2d 01 47 00 0100 010000 01', { send: 1, receive: 2 })),
      talk.pdu(1, apdu('2d 01 0a 00 0100 010000 01', { send: 2, receive: 2 })),
    ].map(({ rows }) => rows[0].anomalies);
    expect(anomalies).toEqual([[], [], [], [], []]);
  });

  it('a command from the controlled station', () => {
    const talk = bench();
    talk.pdu(0, '68 04 07 00 00 00');
    expect(talk.pdu(1, apdu(SELECT)).rows[0].anomalies).toEqual(['wrong_direction']);
  });

  it('a state of a double command that is not permitted', () => {
    expect(objects(bench().pdu(0, apdu('2e 01 06 00 0100 010000 00')))[0].anomalies).toEqual(['invalid_command_state']);
  });
});

describe('select and execute (IEC 60870-5-5, 6.8)', () => {
  const [ACT, CON, DEACT, DEACT_CON, TERM] = ['06', '07', '08', '09', '0a'];
  const REFUSED = '47';
  const SELECT = 0x80;

  /** Commands and their confirmations in turn, the numbers right; gives the anomalies of each APDU and its object. */
  function run(...steps: (readonly [direction: 0 | 1, asdu: string] | { wait: number } | 'lost')[]) {
    const talk = bench();
    const sent: [number, number] = [0, 0];
    return steps.flatMap((step) => {
      if (step === 'lost') talk.lost();
      else if ('wait' in step) talk.wait(step.wait);
      else {
        const [direction, asdu] = step;
        const { rows } = talk.pdu(direction, apdu(asdu, { send: sent[direction]++, receive: sent[1 - direction] }));
        return [rows.flatMap(({ anomalies }) => anomalies)];
      }
      return [];
    });
  }
  const command = (cause: string, sco: number, { type = '2d', station = '0100', address = '010000' } = {}) =>
    `${type} 01 ${cause} 00 ${station} ${address} ${hex(sco, 1)}`;
  const asks = (...args: Parameters<typeof command>) => [0, command(...args)] as const;
  const answers = (...args: Parameters<typeof command>) => [1, command(...args)] as const;
  const other = { address: '020000' };
  const procedure = (sco: number, options = {}) => [
    asks(ACT, sco | SELECT, options),
    answers(CON, sco | SELECT, options),
    asks(ACT, sco, options),
    answers(CON, sco, options),
    answers(TERM, sco, options),
  ];

  it.each<[string, ...Parameters<typeof run>]>([
    ['the whole procedure, again and again', ...procedure(1), ...procedure(0), ...procedure(5)],
    ['of several objects, one after the other', ...procedure(1), ...procedure(1, other), ...procedure(0)],
    [
      'of two objects that are selected at the same time',
      asks(ACT, 0x81),
      asks(ACT, 0x80, other),
      asks(ACT, 1),
      asks(ACT, 0, other),
    ],
    ['of the same address in two stations', asks(ACT, 0x81), asks(ACT, 0, { station: '0200' }), asks(ACT, 1)],
    ['direct commands', asks(ACT, 1), answers(CON, 1), answers(TERM, 1), asks(ACT, 0), answers(CON, 0), answers(TERM, 0)],
    [
      'a selection that is cancelled',
      asks(ACT, 0x81),
      answers(CON, 0x81),
      asks(DEACT, 0x81),
      answers(DEACT_CON, 0x81),
      { wait: 90 },
      asks(ACT, 0x80),
    ],
    ['a selection that is refused, and tried again', asks(ACT, 0x81), answers(REFUSED, 0x81), ...procedure(1)],
    ['a select that is repeated with another value', asks(ACT, 0x81), asks(ACT, 0x80), answers(CON, 0x80), asks(ACT, 0)],
    ['an execute within the time that a station may wait', asks(ACT, 0x81), answers(CON, 0x81), { wait: 30 }, asks(ACT, 1)],
    ['an execute whose select may have been lost', ...procedure(1), 'lost', asks(ACT, 0)],
    ['direct commands where the station refuses to select', asks(ACT, 0x81), answers(REFUSED, 0x81), asks(ACT, 1), asks(ACT, 0)],
    ['direct commands of an object that it cannot select', asks(ACT, 0x81), answers('6f', 0x81), asks(ACT, 1)],
    ['a double command', ...procedure(2, { type: '2e' })],
    ['a step command', ...procedure(1, { type: '2f' })],
  ])('nothing is wrong with %s', (_, ...steps) => {
    expect(run(...steps).flat()).toEqual([]);
  });

  it('nothing is wrong with a set point that is selected and executed', () => {
    const setPoint = (qos: string) => `32 01 06 00 0100 010000 0000c03f ${qos}`;
    expect(run([0, setPoint('80')], [0, setPoint('00')]).flat()).toEqual([]);
  });

  it.each<[string, string, ...Parameters<typeof run>]>([
    ['an execute of a value that was not selected', 'execute_mismatch', asks(ACT, 0x81), answers(CON, 0x81), asks(ACT, 0)],
    ['an execute with another qualifier', 'execute_mismatch', asks(ACT, 0x85), answers(CON, 0x85), asks(ACT, 9)],
    ['an execute of another object', 'execute_mismatch', asks(ACT, 0x81), answers(CON, 0x81), asks(ACT, 1, other)],
    ['an execute by another type', 'execute_mismatch', ...[asks(ACT, 0x81), answers(CON, 0x81), asks(ACT, 1, { type: '2e' })]],
    [
      'an execute of another set point',
      'execute_mismatch',
      ...([
        [0, '32 01 06 00 0100 010000 0000c03f 80'],
        [0, '32 01 06 00 0100 010000 0000c0bf 00'],
      ] as const),
    ],
    ['a second execute', 'execute_without_select', ...procedure(1), asks(ACT, 1)],
    ['an execute behind a deactivation', 'execute_without_select', asks(ACT, 0x81), asks(DEACT, 0x81), asks(ACT, 1)],
    ['a select that nothing follows', 'select_not_executed', asks(ACT, 0x81), { wait: 61 }, asks(ACT, 1, { station: '0200' })],
  ])('%s', (_, anomaly, ...steps) => {
    const found = run(...steps);
    expect(found.at(-1)).toEqual([anomaly]);
    expect(found.slice(0, -1).flat()).toEqual([]);
  });

  it('an execute without a select is one until the station takes it', () => {
    const again = (cause: string) => run(...procedure(1), asks(ACT, 1), answers(cause, 1), asks(ACT, 1));
    expect([again(REFUSED).at(-1), again(CON).at(-1)]).toEqual([['execute_without_select'], []]);
  });

  it('an execute that comes too late is one without a select', () => {
    expect(run(asks(ACT, 0x81), { wait: 61 }, asks(ACT, 1)).at(-1)).toEqual(['select_not_executed', 'execute_without_select']);
  });

  it('is told by any APDU of the controlling station, once', () => {
    const talk = bench();
    talk.pdu(0, apdu(command(ACT, 0x81)));
    talk.wait(61);
    const test = () => talk.pdu(0, '68 04 43 00 00 00').rows[0].anomalies;
    expect([talk.pdu(1, '68 04 83 00 00 00').rows[0].anomalies, test(), test()]).toEqual([[], ['select_not_executed'], []]);
  });

  it('remembers so many objects, and no more', () => {
    const many = Array.from({ length: 65 }, (_, i) => asks(ACT, 0x81, { address: hex(i + 1, 3) }));
    const [first, second] = [1, 2].map((i) => asks(ACT, 0, { address: hex(i, 3) }));
    // The second is remembered, and executed with another value; the first is not: a direct command.
    expect(run(...many, second, first).slice(-2)).toEqual([['execute_mismatch'], []]);
  });

  it('commands that are a test are not looked at', () => {
    expect(run(asks(ACT, 0x81), asks('86', 0)).at(-1)).toEqual([]);
  });
});

describe('probe', () => {
  const match = (bytes: string) => iec60870_104.probe(new Reader(fromHex(bytes)));
  it.each([
    ['U format', '68 04 07 00 00 00', Match.certain],
    ['two functions at once', '68 04 0f 00 00 00', Match.no],
    ['S format', '68 04 01 00 0a 00', Match.certain],
    ['I format whose size agrees', apdu('01 01 03 00 0100 010000 01'), Match.certain],
    ['I format whose size does not', apdu('01 02 03 00 0100 010000 01'), Match.possible],
    ['I format of an unknown type', apdu('c8 01 03 00 0100 010000 01'), Match.possible],
    ['no cause of transmission', apdu('01 01 00 00 0100 010000 01'), Match.no],
    ['text', Buffer.from('hello, world').toString('hex'), Match.no],
    ['a length below the control field', '68 03 07 00 00 00', Match.no],
  ])('%s', (_, bytes, expected) => {
    expect(match(bytes)).toBe(expected);
  });
});
