import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { checkCondition, compileCondition, FieldCatalogue, type Subject } from './compile.ts';
import { Drive, DriveItem, Pump, registry, rowOf } from './fake-plant.ts';
import { parseRule } from './rule.ts';

// The property tests take their time on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const row = () =>
  rowOf(
    Pump,
    {
      function_code: 9,
      address: 120,
      values: [3, 7, 65535],
      level: Math.fround(0.1),
      serial: 2n ** 60n + 1n,
      label: 'Kessel é  ',
      payload: Uint8Array.of(0x0a, 0xff),
      forced: true,
      peer: 0x0a010203,
      peer6: Uint8Array.of(0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1),
      station: Uint8Array.of(0, 0x1b, 0x1b, 1, 2, 3),
      at: Date.UTC(2026, 0, 31, 12),
    },
    { operation: 'write', unit: 5, status: 2, anomalies: 2 },
  );

function judge(text: string, subject: Partial<Subject> = {}): boolean {
  const { expression, fault } = parseRule(text);
  if (fault) throw new Error(`${fault.column}: ${fault.message}`);
  const catalogue = new FieldCatalogue(registry);
  const condition = compileCondition(expression, catalogue);
  const first = row();
  const bound = [...catalogue.slots.keys()].map((type) => (type === first.type ? first : null));
  return condition.test({ row: first, bound, dissector: 0, operation: 2, unit: 5, role: 1, port: 7000, ...subject });
}

const faultsOf = (text: string): string[] => {
  const { expression, fault } = parseRule(text);
  const faults = fault ? [fault] : checkCondition(expression, new FieldCatalogue(registry));
  return faults.map(({ column, message }) => `${column}: ${message}`);
};

describe('conditions', () => {
  it.each([
    ['pump.address == 120', true],
    ['pump.address == 0x78', true],
    ['pump.address != 120', false],
    ['pump.address < 120', false],
    ['pump.address <= 120 and pump.address >= 120', true],
    ['pump.address > 119', true],
    ['pump.address in 100..120', true],
    ['pump.address in 121..130', false],
    ['pump.address in [1, 5..6, 120]', true],
    ['not pump.address in [1, 5..6, 120]', false],
    ['pump.function_code == plc_stop', true],
    ['pump.function_code == "PLC Stop"', true],
    ['pump.function_code == read_level', false],
    ['pump.function_code != read_level', true],
    ['pump.function_code in read_level..plc_stop', null],
    ['pump.function_code in set_level..plc_stop', true],
    ['pump.values == 7', true],
    ['pump.values == 8', false],
    ['pump.values > 65534', true],
    ['pump.values != 7', true],
    ['not (pump.values == 7)', false],
    ['pump.level == 0.1', true],
    ['pump.level < 1e-3', false],
    ['pump.level > -1', true],
    ['pump.serial == 1152921504606846977', true],
    ['pump.serial == 1152921504606846976', false],
    ['pump.serial > 1152921504606846976', true],
    ['pump.serial == seven', false],
    ['pump.label == "Kessel é"', true],
    ["pump.label == 'Kessel'", false],
    ['pump.label in ["x", "Kessel é"]', true],
    ['pump.payload == "0aff"', true],
    ['pump.payload == "0A:FF"', true],
    ['pump.payload != "0aff"', false],
    ['pump.payload == "0aff00"', false],
    ['pump.forced == true', true],
    ['pump.forced == false', false],
    ['pump.peer == "10.1.2.3"', true],
    ['pump.peer in "10.1.0.0/16"', true],
    ['pump.peer in "10.2.0.0/16"', false],
    ['pump.peer6 == "FD00:0::1"', true],
    ['pump.station == "00:1b:1b:01:02:03"', true],
    ['pump.at < "2026-02-01"', true],
    ['pump.at == "2026-01-31T13:00:00+01:00"', true],
    ['operation == write', true],
    ['operation in [read, write]', true],
    ['operation != write', false],
    ['unit == 5', true],
    ['unit in 6..7', false],
    ['protocol == pump', true],
    ['status == malformed', true],
    ['role == client', true],
    ['port == 7000', true],
    ['anomaly == wrong_order', true],
    ['anomaly == overflow', false],
    ['present(anomaly) and present(pump.address)', true],
    ['drive_item.db == 5', false],
    ['drive_item.db != 5', false],
    ['not drive_item.db == 5', true],
    ['present(drive_item.db)', false],
    ['pump.address == 1 or pump.address == 120 and pump.forced == true', true],
    ['(pump.address == 120 or pump.address == 1) and pump.forced == false', false],
    ['not not pump.forced == true', true],
  ])('%s', (text, expected) => {
    if (expected === null) expect(faultsOf(text)).toHaveLength(1);
    else expect(judge(text)).toBe(expected);
  });

  it('takes an absent field for false', () => {
    const empty = rowOf(Pump, { address: 0 });
    for (const text of ['pump.level == 0', 'pump.level != 0', 'pump.values == 0', 'pump.label == ""', 'pump.serial != 1'])
      expect(judge(text, { row: empty, bound: [empty] })).toBe(false);
    expect(judge('unit == 0 or unit != 0', { unit: -1 })).toBe(false);
    expect(judge('port != 1', { port: -1 })).toBe(false);
    expect(judge('status == ok or operation == other or protocol == pump', { row: null, dissector: -1 })).toBe(false);
  });

  it('looks at several records', () => {
    const { expression } = parseRule('drive.job == write and drive_item.db in 5..6');
    const catalogue = new FieldCatalogue(registry);
    const condition = compileCondition(expression!, catalogue);
    const subject: Subject = { row: null, bound: [], dissector: 2, operation: 2, unit: -1, role: 1, port: 1 };
    const bind = (db: number) => {
      subject.bound[catalogue.slots.get(Drive as never)!] = rowOf(Drive, { job: 5 });
      subject.bound[catalogue.slots.get(DriveItem as never)!] = rowOf(DriveItem, { db });
      return condition.test(subject);
    };
    expect([bind(5), bind(6), bind(7)]).toEqual([true, true, false]);
    expect(condition.slots).toHaveLength(2);
  });

  it.each([
    ['pump.adress == 1', '1: record pump has no field "adress" (did you mean "address"?)'],
    [
      'pump.address == 1 and pmp.address == 1',
      '23: unknown record "pmp": no active dissector declares it (did you mean "pump"?)',
    ],
    ['address == 1', '1: unknown field "address" (did you mean pump.address?); fields are written record.field'],
    ['drive.db == 5', '1: record drive has no field "db" (did you mean drive_item.db?)'],
    ['pump.function_code == plc_stp', '23: pump.function_code has no value named "plc_stp" (did you mean "plc_stop"?)'],
    ['pump.address == 65536', '17: pump.address is from 0 to 65535, never 65536'],
    ['pump.address == -1', '17: pump.address is from 0 to 65535, never -1'],
    ['pump.address == 1.5', '17: pump.address has whole numbers only, never 1.5'],
    ['pump.address == "x"', '17: pump.address is a number and its values have no names'],
    ['pump.address in 9..3', '17: the range 9..3 is empty'],
    ['pump.label < "x"', '1: pump.label is text: only ==, != and in compare it'],
    ['pump.label == 5', '15: pump.label is text; write it in quotes'],
    ['pump.payload == "0af"', '17: "0af" is not hex, two digits a byte'],
    ['pump.peer == 5', '14: pump.peer is an IPv4 address; write it in quotes'],
    ['pump.at == "yesterday"', '12: pump.at is a time; write it as "2026-01-31T12:00:00Z"'],
    ['pump.forced == 2', '16: pump.forced is true or false'],
    ['operation == wirte', '14: operation has no value named "wirte" (did you mean "write"?)'],
    ['operation < write', '1: operation can be compared with ==, != and in only'],
    ['anomaly == overflw', '12: no dissector names an anomaly "overflw" (did you mean "overflow"?)'],
    ['pump.address = 1', '14: "=" has no meaning here (did you mean "=="?)'],
    ['pump.address == 1 && 1', '19: "&" has no meaning here (did you mean "and"?)'],
    ['pump.address == ', '17: expected a value: a number, a name or a text in quotes, found the end'],
    ['pump.address', '13: expected a comparison (== != < <= > >= in), found the end'],
    ['(pump.address == 1', '19: expected ")", found the end'],
    ['pump.address == 1 pump', '19: expected "and", "or" or the end, found pump'],
    ['pump.label == "x', '15: this " is not closed'],
    ['pump.address == 12abc', '17: this is not a number (text goes in quotes)'],
    ['', '1: expected a field, as in modbus.address, found the end'],
    [`${'('.repeat(60)}`, '41: more than 40 levels deep'],
    [`${'not '.repeat(5000)}`, '1: the condition is longer than 4000 characters'],
  ])('refuses %s', (text, expected) => {
    expect(faultsOf(text)).toEqual([expected]);
  });

  it('collects every fault of the names', () => {
    expect(faultsOf('pump.x == 1 or (pump.address == 70000 and not drive.job == wrte)').map((fault) => fault.split(':')[0])).toEqual([
      '1', '33', '60',
    ]); // biome-ignore format: a list
  });

  it('never throws on any text', () => {
    const word = fc.constantFrom(
      'pump.address', 'drive_item.db', 'operation', 'and', 'or', 'not', 'in', 'present', '(', ')', '[', ']', ',', '..', '==', '<=',
      '1', '0xff', '-2', '1.5', '"x"', "'", '"', '\\', 'plc_stop', '`', '${', '\n', '__proto__', 'constructor.name', 'pump.__proto__',
    ); // biome-ignore format: a list
    const source = fc.oneof(
      fc.string(),
      fc.string({ unit: 'binary' }),
      fc.array(word, { maxLength: 30 }).map((words) => words.join(' ')),
    );
    fc.assert(
      fc.property(source, (text) => {
        const { expression, fault } = parseRule(text);
        if (fault) {
          expect(fault.column).toBeGreaterThanOrEqual(1);
          expect(fault.column).toBeLessThanOrEqual(text.length + 1);
        } else {
          const catalogue = new FieldCatalogue(registry);
          // What has no fault compiles, whatever text is in it.
          if (checkCondition(expression, catalogue).length === 0) compileCondition(expression, catalogue);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('evaluates comparisons as a plain reading does', () => {
    const comparators = ['==', '!=', '<', '<=', '>', '>='] as const;
    const plain: Record<(typeof comparators)[number], (a: number, b: number) => boolean> = {
      '==': (a, b) => a === b,
      '!=': (a, b) => a !== b,
      '<': (a, b) => a < b,
      '<=': (a, b) => a <= b,
      '>': (a, b) => a > b,
      '>=': (a, b) => a >= b,
    };
    const u16s = fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 65535 }));
    fc.assert(
      fc.property(u16s, u16s, fc.constantFrom(...comparators), fc.boolean(), (value, wanted, comparator, negated) => {
        const subject = rowOf(Pump, { address: value });
        const text = `${negated ? 'not ' : ''}pump.address ${comparator} ${wanted}`;
        expect(judge(text, { row: subject, bound: [subject] })).toBe(plain[comparator](value, wanted) !== negated);
      }),
    );
  });
});
