import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { OPERATION_NAMES, Role } from '../dissect/operation.ts';
import { Registry } from '../dissect/registry.ts';
import type { Row } from '../dissect/row.ts';
import { DISSECTORS, Drive, DriveItem, FieldBus, modelOf, Pump, policyOf, policyWith, Rail, rowOf, ZONES } from './fake-plant.ts';
import { compilePolicy, type Policy } from './match.ts';
import { PolicyError } from './policy-error.ts';

// The property tests take their time on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const NOON = Date.UTC(2026, 2, 2, 12);
const A = 1;
const B = 2;

interface Options {
  from?: number;
  to?: number;
  ip_protocol?: number;
  port?: number;
  role?: 0 | 1 | 2;
  time_ms?: number;
}

const evaluate = (policy: Policy, rows: Row[], options: Options = {}): number => {
  const { from = A, to = B, ip_protocol = 6, port = 7000, role = Role.client, time_ms = NOON } = options;
  return policy.pair(from, to).evaluate(rows, rows.length, ip_protocol, port, role, time_ms);
};
const verdict = (policy: Policy, rows: Row[], options: Options = {}): string => {
  const number = evaluate(policy, rows, options);
  if (number === 0) return 'allowed';
  const { reason, conduit } = policy.explain(number);
  return conduit === null ? reason : `${reason}: ${conduit}`;
};
const unrecognised = (policy: Policy, ip_protocol: number, port: number, has_payload: boolean, time_ms = NOON): string => {
  const number = policy.pair(A, B).evaluateUnrecognised(ip_protocol, port, has_payload, time_ms);
  return number === 0 ? 'allowed' : policy.explain(number).reason;
};

const read = (address = 5) => rowOf(Pump, { function_code: 1, address }, { operation: 'read', unit: 1 });
const write = (address = 5) => rowOf(Pump, { function_code: 2, address }, { operation: 'write', unit: 1 });
const drive = (job: number, ...dbs: number[]): Row[] => [
  rowOf(Rail, { slot: 2 }),
  rowOf(Drive, { job }, { operation: job === 4 ? 'read' : 'write' }),
  ...dbs.map((db) => rowOf(DriveItem, { db, offset: 0 })),
];

describe('pairs of zones', () => {
  it('judges who opened the conversation', () => {
    const policy = policyWith('name: reads, from: a, to: b');
    expect(policy.pair(A, B).always_allow).toBe(true);
    expect(policy.pair(B, A).always_allow).toBe(false);
    expect(verdict(policy, [read()])).toBe('allowed');
    expect(verdict(policy, [read()], { from: B, to: A })).toBe('none');
  });

  it('interns them', () => {
    const policy = policyWith('from: a, to: b');
    expect(policy.pair(A, B)).toBe(policy.pair(A, B));
    expect(policy.pair(-1, B)).toBe(policy.pair(A, -1));
  });

  it('leaves alone what crosses nothing', () => {
    const policy = policyOf(ZONES);
    for (const [from, to] of [[-1, A], [A, -1], [A, A], [0, 0]] as const) expect(policy.pair(from, to).always_allow).toBe(true); // biome-ignore format: a list
    for (const [from, to] of [[0, A], [A, 0], [A, B]] as const) expect(policy.pair(from, to).always_allow).toBe(false); // biome-ignore format: a list
  });

  it('has a default for pairs without a conduit that allows', () => {
    const policy = policyOf(`default: allow\n${ZONES}conduits:\n  - { name: reads, from: a, to: b, operations: read }
  - { name: stops, from: b, to: a, operations: stop, action: alert }`);
    expect(policy.pair(A, 3).always_allow).toBe(true);
    expect(verdict(policy, [write()])).toBe('operation: reads');
    expect(verdict(policy, [write()], { from: B, to: A })).toBe('allowed');
    expect(verdict(policy, [rowOf(Pump, {}, { operation: 'stop' })], { from: B, to: A })).toBe('alert: stops');
  });

  it('knows lists, any zone and external', () => {
    const policy = policyWith("from: [a, external], to: '*', protocols: pump");
    for (const from of [A, 0]) for (const to of [B, 3]) expect(verdict(policy, [read()], { from, to })).toBe('allowed');
    expect(verdict(policy, [read()], { from: A, to: 0 })).toBe('allowed');
    expect(verdict(policy, [read()], { from: B, to: 0 })).toBe('none');
  });

  it('judges inside a zone only where a conduit names it at both ends', () => {
    expect(policyWith("from: '*', to: '*', operations: read").pair(A, A).always_allow).toBe(true);
    expect(policyWith("from: a, to: '*', operations: read").pair(A, A).always_allow).toBe(true);
    const policy = policyWith(
      "name: any, from: '*', to: '*', operations: identify",
      'name: own, from: a, to: a, operations: read',
    );
    expect(verdict(policy, [read()], { from: A, to: A })).toBe('allowed');
    expect(verdict(policy, [rowOf(Pump, {}, { operation: 'identify' })], { from: A, to: A })).toBe('allowed');
    expect(verdict(policy, [write()], { from: A, to: A })).toBe('operation: any');
    expect(policy.pair(B, B).always_allow).toBe(true);
  });

  it('places addresses', () => {
    const policy = policyOf(ZONES);
    expect(policy.zoneOfAddress(0, 0, 0xffff, 0x0a000205)).toBe(B);
    expect(policy.zoneOfAddress(0, 0, 0xffff, 0x0a000905)).toBe(0);
    expect(policy.zoneOfMac(-1, 1, 2)).toBe(-1);
    expect([policy.zoneName(B), policy.zoneName(0), policy.zoneName(-1)]).toEqual(['b', 'external', '']);
  });
});

describe('conduits', () => {
  it('tries them in order: the first that matches decides', () => {
    const policy = policyWith(
      'name: first, from: a, to: b, when: pump.address < 10',
      'name: stop, from: a, to: b, operations: write, action: alert',
      'name: rest, from: a, to: b, protocols: pump',
    );
    expect(verdict(policy, [write(5)])).toBe('allowed');
    expect(verdict(policy, [write(50)])).toBe('alert: stop');
    expect(verdict(policy, [read(50)])).toBe('allowed');
  });

  it('names the nearest one and why it does not match', () => {
    const policy = policyWith(
      'name: one, from: a, to: b, protocols: drive',
      'name: two, from: a, to: b, protocols: pump, operations: read',
      'name: three, from: a, to: b, protocols: pump, operations: write, ports: 7001',
      'name: four, from: a, to: b, protocols: pump, operations: stop, hours: "00:00-01:00"',
      'name: five, from: a, to: b, protocols: pump, operations: [stop, start], when: pump.address == 1',
    );
    expect(verdict(policy, [rowOf(FieldBus)], { ip_protocol: -1, port: -1 })).toBe('protocol: one');
    expect(verdict(policy, [rowOf(Pump, {}, { operation: 'firmware' })])).toBe('operation: two');
    expect(verdict(policy, [write()])).toBe('port: three');
    expect(verdict(policy, [rowOf(Pump, { address: 2 }, { operation: 'stop' })])).toBe('condition: five');
    expect(verdict(policy, [rowOf(Pump, { address: 2 }, { operation: 'start' })])).toBe('condition: five');
    expect(verdict(policy, [rowOf(Pump, { address: 2 }, { operation: 'stop' })], { time_ms: Date.UTC(2026, 2, 2, 0, 30) })).toBe(
      'allowed',
    );
    const text = (rows: Row[]) => policy.explain(evaluate(policy, rows)).text;
    expect(text([write()])).toBe(
      'pump write from a to b: conduit "three" (line 9) comes nearest, but allows only the ports 7001',
    );
    expect(text([rowOf(Pump, { address: 2 }, { operation: 'stop' })])).toBe(
      'pump stop from a to b: conduit "five" (line 11) comes nearest, but its condition is not met: pump.address == 1',
    );
    expect(policy.explain(evaluate(policy, [write()], { from: B, to: A }))).toEqual({
      from: 'b',
      to: 'a',
      protocol: 'pump',
      operation: 'write',
      reason: 'none',
      conduit: null,
      conduit_line: 0,
      why: 'no conduit allows anything between these zones',
      text: 'pump write from b to a: no conduit allows anything between these zones',
    });
  });

  it('is open at its hours', () => {
    const policy = policyWith("name: day, from: a, to: b, hours: '06:00-18:00', days: mon-fri, time_zone: Europe/Berlin");
    expect(verdict(policy, [read()], { time_ms: Date.parse('2026-03-02T05:00:00Z') })).toBe('allowed');
    expect(verdict(policy, [read()], { time_ms: Date.parse('2026-03-02T17:00:00Z') })).toBe('schedule: day');
    expect(verdict(policy, [read()], { time_ms: Date.parse('2026-03-01T12:00:00Z') })).toBe('schedule: day');
  });

  it('tells ports apart', () => {
    const policy = policyWith('name: some, from: a, to: b, ports: [7000, 8000-8010, 65535, 1]');
    for (const port of [1, 7000, 8000, 8005, 8010, 65535]) expect(verdict(policy, [read()], { port })).toBe('allowed');
    for (const port of [2, 6999, 7001, 7999, 8011, 65534, -1, 0]) expect(verdict(policy, [read()], { port })).toBe('port: some');
  });

  it('takes tcp and udp for all that goes over them', () => {
    const policy = policyWith('name: t, from: a, to: b, protocols: [tcp]');
    expect(verdict(policy, [read()])).toBe('allowed');
    expect(verdict(policy, [read()], { ip_protocol: 17 })).toBe('protocol: t');
    expect(unrecognised(policy, 6, 9, true)).toBe('allowed');
    expect(unrecognised(policy, 17, 9, true)).toBe('protocol');
  });

  it('judges conversations in which nothing was recognised', () => {
    const policy = policyWith(
      'name: p, from: a, to: b, protocols: pump, operations: read, when: pump.address < 10',
      'name: d, from: a, to: b, protocols: drive, ports: [9102]',
      'name: n, from: a, to: b, protocols: [icmp, ip_89, unknown], ports: [9999]',
      'name: i, from: a, to: b, protocols: [icmp, ip_89]',
    );
    expect(unrecognised(policy, 6, 7000, false)).toBe('allowed');
    expect(unrecognised(policy, 6, 7000, true)).toBe('port');
    expect(unrecognised(policy, 6, 9102, false)).toBe('allowed');
    expect(unrecognised(policy, 6, 9102, true)).toBe('port');
    expect(unrecognised(policy, 6, 22, false)).toBe('port');
    expect(unrecognised(policy, 6, 9999, true)).toBe('allowed');
    expect(unrecognised(policy, 17, 9999, true)).toBe('allowed');
    expect(unrecognised(policy, 1, -1, true)).toBe('allowed');
    expect(unrecognised(policy, 89, -1, true)).toBe('allowed');
    expect(unrecognised(policy, 47, -1, true)).toBe('protocol');
    expect(unrecognised(policy, -1, -1, true)).toBe('port');
    const text = (ip_protocol: number, payload: boolean) =>
      policy.explain(policy.pair(B, A).evaluateUnrecognised(ip_protocol, 5, payload, NOON)).text.split(' from')[0];
    expect([text(6, false), text(6, true), text(17, true), text(1, true), text(200, true), text(-1, true)]).toEqual([
      'tcp (no payload)', 'tcp (unrecognised)', 'udp (unrecognised)', 'icmp', 'ip_200', 'ethernet (unrecognised)',
    ]); // biome-ignore format: a list
  });

  it('judges a payload that nobody recognises in a carrier', () => {
    const rows = [rowOf(Rail, { slot: 2 })];
    const rail = 1;
    const payload = (conduit: string, options: Options = {}) => {
      const policy = policyWith(`name: x, from: a, to: b, ${conduit}`);
      const number = policy.pair(A, B).evaluate(rows, rows.length, 6, 7102, options.role ?? Role.client, NOON, rail);
      return number === 0 ? 'allowed' : policy.explain(number).text.split(':')[0];
    };
    const finding = 'rail (unrecognised payload) from a to b';
    expect(payload('protocols: drive')).toBe(finding);
    expect(payload('protocols: drive', { role: Role.server })).toBe('allowed');
    expect(payload('protocols: drive', { role: Role.unknown })).toBe(finding);
    expect(payload('protocols: rail')).toBe('allowed');
    expect(payload('protocols: [drive, unknown]')).toBe('allowed');
    expect(payload('protocols: tcp')).toBe('allowed');
    expect(payload('protocols: udp')).not.toBe('allowed');
    expect(payload('protocols: [rail], operations: [read, other]')).toBe('allowed');
    expect(payload('protocols: [drive, unknown], when: rail.slot == 2')).toBe('allowed');
    expect(payload('protocols: [drive, unknown], when: rail.slot == 3')).not.toBe('allowed');
    const bare = policyWith('from: a, to: b, protocols: drive');
    expect(bare.explain(bare.pair(A, B).evaluate([], 0, 6, 7102, Role.client, NOON, rail)).text).toMatch(/^rail \(unrecognised/);
  });

  it('opens a connection on the ports of what carries a protocol', () => {
    const policy = policyWith('name: d, from: a, to: b, protocols: drive');
    expect(unrecognised(policy, 6, 7102, false)).toBe('allowed');
    expect(unrecognised(policy, 6, 7000, false)).toBe('protocol');
  });

  it('refuses a model that names what the registry does not have', () => {
    const model = modelOf(`${ZONES}conduits:\n  - { from: a, to: b, protocols: drive, when: drive_item.db == 5 }`);
    const without = new Registry(DISSECTORS.filter((dissector) => dissector.name !== 'drive'));
    expect(() => compilePolicy(model, without)).toThrow(PolicyError);
    expect(() => compilePolicy(model, without)).toThrow(/7:5: fault: conduit "conduit 1": unknown protocol "drive"/);
    expect(() => compilePolicy(model, without)).toThrow(/7:47: fault: .*unknown record "drive_item"/);
  });
});

describe('PDUs of several records', () => {
  const policy = policyWith(
    'name: five, from: a, to: b, protocols: drive, operations: [read, write], when: drive_item.db == 5',
    'name: six, from: a, to: b, protocols: drive, operations: read, when: drive_item.db == 6',
  );
  const at = { port: 7102 };

  it('needs a conduit for every item', () => {
    expect(verdict(policy, drive(4, 5), at)).toBe('allowed');
    expect(verdict(policy, drive(4, 5, 6), at)).toBe('allowed');
    expect(verdict(policy, drive(5, 5, 6), at)).toBe('condition: five');
    expect(policy.verdict_row).toBe(3);
    expect(verdict(policy, drive(4, 5, 7, 6), at)).toBe('condition: five');
    expect(policy.verdict_row).toBe(3);
  });

  it('does not let a header stand for items that are missing', () => {
    expect(verdict(policy, drive(4), at)).toBe('condition: five');
    expect(policy.verdict_row).toBe(1);
  });

  it('allows what carries the protocol, and its sessions', () => {
    expect(verdict(policy, [rowOf(Rail, { slot: 1 }, { operation: 'session' })], at)).toBe('allowed');
    expect(verdict(policy, [rowOf(Rail, { slot: 1 }), rowOf(Drive, { job: 1 }, { operation: 'session' })], at)).toBe('allowed');
    expect(verdict(policy, [rowOf(Pump, {}, { operation: 'session' })], at)).toBe('protocol: five');
  });

  it('judges a session where the condition has something to look at', () => {
    const slots = policyWith('name: slot, from: a, to: b, protocols: drive, when: rail.slot == 2');
    expect(verdict(slots, [rowOf(Rail, { slot: 1 }, { operation: 'session' })], at)).toBe('condition: slot');
    expect(verdict(slots, [rowOf(Rail, { slot: 2 }, { operation: 'session' })], at)).toBe('allowed');
    expect(verdict(slots, drive(4, 9), at)).toBe('allowed');
  });

  it('takes alerts by the letter', () => {
    const alerts = policyWith(
      'name: no, from: a, to: b, protocols: drive, action: alert, when: drive_item.db == 9',
      'name: yes, from: a, to: b',
    );
    expect(verdict(alerts, [rowOf(Rail, {}, { operation: 'session' })], at)).toBe('allowed');
    expect(verdict(alerts, drive(4, 1, 9), at)).toBe('alert: no');
    expect(alerts.verdict_row).toBe(3);
    expect(verdict(alerts, drive(4, 1), at)).toBe('allowed');
  });

  it('binds other records to the rows before, else behind', () => {
    const both = policyWith('name: both, from: a, to: b, protocols: drive, when: drive.job == write and drive_item.db in 5..6');
    expect(verdict(both, drive(5, 5, 6), at)).toBe('allowed');
    expect(verdict(both, drive(5, 5, 7), at)).toBe('condition: both');
    expect(verdict(both, drive(4, 5), at)).toBe('condition: both');
    const two = [...drive(5, 5), ...drive(4, 5).slice(1)];
    expect(verdict(both, two, at)).toBe('condition: both');
    expect(both.verdict_row).toBe(3);
  });

  it('lets no second object ride along with an allowed one', () => {
    const item = (db: number, target_space: number) => rowOf(DriveItem, { db }, { target_space });
    const header = (target_space: number) => rowOf(Drive, { job: 4 }, { operation: 'read', target_space });
    const other = (target_space: number) => rowOf(Rail, {}, { dissector: 'drive', target_space });
    expect(verdict(policy, [header(5), item(5, 5)], at)).toBe('allowed');
    expect(verdict(policy, [header(-1), other(-1), item(5, 5), other(5)], at)).toBe('allowed');
    expect(verdict(policy, [header(5), item(5, 5), other(9)], at)).toBe('condition: five');
    expect(policy.verdict_row).toBe(2);
    expect(verdict(policy, [header(-1), other(9), item(5, 5)], at)).toBe('condition: five');
    expect(policy.verdict_row).toBe(1);
  });

  it('gives rows without operation and unit those of their protocol', () => {
    const units = policyWith('name: u, from: a, to: b, protocols: drive, operations: read, when: unit == 3');
    const rows = (unit: number, operation: 'read' | 'write') => [
      rowOf(Drive, {}),
      rowOf(DriveItem, {}, { unit, operation }),
      rowOf(DriveItem, {}),
    ];
    expect(verdict(units, rows(3, 'read'), at)).toBe('allowed');
    expect(verdict(units, rows(4, 'read'), at)).toBe('condition: u');
    expect(verdict(units, rows(3, 'write'), at)).toBe('operation: u');
    expect(verdict(units, [rowOf(Drive, {}, { unit: 3 })], at)).toBe('operation: u');
  });
});

describe('responses', () => {
  it('are judged only by conditions on the role', () => {
    const policy = policyWith(
      'name: errors, from: a, to: b, action: alert, when: role == server and pump.function_code == plc_stop',
      'name: reads, from: a, to: b, protocols: pump, operations: read',
    );
    const server = { role: Role.server };
    expect(verdict(policy, [write()], server)).toBe('allowed');
    expect(verdict(policy, [write()], { role: Role.unknown })).toBe('operation: reads');
    const stopped = rowOf(Pump, { function_code: 9 }, { operation: 'read' });
    expect(verdict(policy, [stopped], server)).toBe('alert: errors');
    expect(verdict(policy, [stopped])).toBe('allowed');
  });
});

describe('verdicts', () => {
  it('are small integers, one a kind', () => {
    const policy = policyWith('name: r, from: a, to: b, protocols: pump, operations: read');
    const first = evaluate(policy, [write()]);
    expect(evaluate(policy, [write(9)])).toBe(first);
    expect(evaluate(policy, [rowOf(Pump, {}, { operation: 'stop' })])).not.toBe(first);
    expect(Number.isInteger(first) && first > 0 && first < 100).toBe(true);
    expect(() => policy.explain(0)).toThrow(RangeError);
    expect(() => policy.explain(99)).toThrow(RangeError);
  });

  it('are bounded, and what has no own explanation is still a finding', () => {
    const zones = Array.from({ length: 300 }, (_, i) => `  - { name: z${i}, subnets: [10.${i >> 8}.${i & 255}.0/24] }`).join(
      '\n',
    );
    const policy = policyOf(`zones:\n${zones}\n`);
    let last = 0;
    for (let from = 1; from <= 300; from++)
      for (let to = 1; to <= 300; to++) if (from !== to) last = policy.pair(from, to).evaluateUnrecognised(1, -1, true, NOON);
    expect(last).toBeGreaterThan(0);
    expect(policy.counters.verdicts_dropped).toBe(300 * 299 - 65_534);
    expect(policy.counters.pairs_dropped).toBe(65_536);
    expect(policy.explain(last).text).toMatch(/^no conduit allows this/);
  });

  it('tell what the condition saw', () => {
    const policy = policyWith(
      'from: a, to: b, when: pump.address < 3 and drive_item.db == 5 or pump.function_code == 1 and unit == 1',
    );
    const one = evaluate(policy, [write(9)]);
    expect(policy.observed(one, [write(9)], 1)).toBe(
      'pump.address is 9, drive_item.db is not there, pump.function_code is 2 (Set Level)',
    );
    const rows = drive(4, 7, 8);
    expect(policy.observed(evaluate(policy, rows), rows, rows.length)).toMatch(/drive_item.db is 7/);
    expect(policy.observed(evaluate(policy, [read()], { from: B, to: A }), [read()], 1)).toBe('');
  });

  it('cost no memory once a kind of traffic has been seen, with 2,000 conduits', () => {
    const policy = policyWith(
      ...Array.from(
        { length: 1998 },
        (_, i) => `from: '*', to: b, protocols: pump, operations: write, ports: ${10_000 + i}, when: pump.address < 9`,
      ),
      'from: a, to: b, protocols: pump, operations: read, when: pump.address < 9, hours: "00:00-23:00"',
      'from: a, to: b, protocols: drive, when: drive_item.db < 9',
    );
    const pair = policy.pair(A, B);
    const pdus = [[read()], [write()], drive(4, 1, 2, 3), drive(5, 10)];
    const run = (times: number): number => {
      let findings = 0;
      for (let i = 0; i < times; i++) {
        const rows = pdus[i & 3];
        if (pair.evaluate(rows, rows.length, 6, 7000, Role.client, NOON) !== 0) findings++;
      }
      return findings;
    };
    run(50_000);
    const before = process.memoryUsage().heapUsed;
    expect(run(400_000)).toBe(200_000);
    // An object a PDU would be 20 MB or more, unless a collection came in between, which it then would.
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(4e6);
  });

  it('explain the same whatever came before', () => {
    const make = () =>
      policyWith(
        'name: one, from: a, to: b, protocols: pump, operations: [read, write], when: pump.address < 10',
        'name: two, from: [a, external], to: b, protocols: [drive, udp], ports: [7000-7200]',
        "name: three, from: '*', to: b, operations: [stop], action: alert",
      );
    const traffic = fc.record({
      address: fc.integer({ min: 0, max: 20 }),
      operation: fc.constantFrom(...OPERATION_NAMES),
      from: fc.integer({ min: -1, max: 3 }),
      ip_protocol: fc.constantFrom(6, 17, -1),
      port: fc.constantFrom(-1, 7000, 7300),
      role: fc.constantFrom(0, 1, 2) as fc.Arbitrary<0 | 1 | 2>,
      pump: fc.boolean(),
    });
    type Traffic = typeof traffic extends fc.Arbitrary<infer T> ? T : never;
    const text = (policy: Policy, { address, operation, pump, ...options }: Traffic): string => {
      const rows = pump ? [rowOf(Pump, { address }, { operation })] : [rowOf(Rail), rowOf(Drive, {}, { operation })];
      const number = evaluate(policy, rows, options);
      return number === 0 ? '' : policy.explain(number).text;
    };
    fc.assert(
      fc.property(fc.array(traffic, { minLength: 1, maxLength: 30 }), (all) => {
        const used = make();
        for (const one of all) expect(text(used, one)).toBe(text(make(), one));
        for (const one of [...all].reverse()) expect(text(used, one)).toBe(text(make(), one));
      }),
      { numRuns: 60 },
    );
  });

  it('agree with a plain reading of the conduits', () => {
    // Protocol, operations, ports and condition of one-row PDUs, without sessions: the first conduit that matches, else closed.
    const conduit = fc.record({
      allow: fc.boolean(),
      protocols: fc.option(fc.subarray(['pump', 'field', 'udp'], { minLength: 1 })),
      operations: fc.option(fc.subarray(['read', 'write', 'stop'], { minLength: 1 })),
      port: fc.option(fc.constantFrom(7000, 7001)),
      below: fc.option(fc.integer({ min: 1, max: 9 })),
    });
    const pdu = fc.record({
      pump: fc.boolean(),
      operation: fc.constantFrom('read', 'write', 'stop') as fc.Arbitrary<'read' | 'write' | 'stop'>,
      udp: fc.boolean(),
      port: fc.constantFrom(7000, 7001, 7002),
      address: fc.integer({ min: 0, max: 9 }),
    });
    fc.assert(
      fc.property(fc.array(conduit, { maxLength: 6 }), fc.array(pdu, { minLength: 1, maxLength: 20 }), (conduits, pdus) => {
        const kept = conduits.filter(
          ({ protocols, below }) => below === null || protocols === null || protocols.includes('pump'),
        );
        const policy = policyWith(
          ...kept.map(({ allow, protocols, operations, port, below }) =>
            [
              'from: a, to: b',
              allow ? '' : 'action: alert',
              protocols && `protocols: [${protocols}]`,
              operations && `operations: [${operations}]`,
              port && `ports: ${port}`,
              below && `when: pump.address < ${below}`,
            ]
              .filter(Boolean)
              .join(', '),
          ),
        );
        for (const { pump, operation, udp, port, address } of pdus) {
          const rows = [pump ? rowOf(Pump, { address }, { operation }) : rowOf(FieldBus, {}, { operation })];
          const first = kept.find(
            (one) =>
              (one.protocols === null ||
                one.protocols.includes(pump ? 'pump' : 'field') ||
                (udp && one.protocols.includes('udp'))) &&
              (one.operations === null || one.operations.includes(operation)) &&
              (one.port === null || one.port === port) &&
              (one.below === null || (pump && address < one.below)),
          );
          expect(evaluate(policy, rows, { ip_protocol: udp ? 17 : 6, port }) === 0).toBe(first?.allow ?? false);
        }
      }),
      { numRuns: 200 },
    );
  });
});
