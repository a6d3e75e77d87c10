import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { faultText } from '../yaml/fault.ts';
import { checkPolicyFile } from './check.ts';
import { modelOf, registry, ZONES } from './fake-plant.ts';
import { MAX_FILE_LENGTH, readPolicy } from './policy-file.ts';

// The property tests take their time on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const faultsOf = (yaml: string): string[] => readPolicy(yaml, registry).faults.map(faultText);
/** Of a file with zones a, b and c and one conduit from a to b, whose entries begin in line 7, column 5. */
const conduitFaults = (rest: string): string[] =>
  faultsOf(`${ZONES}conduits:\n  - from: a\n    to: b\n${rest.replace(/^/gm, '    ')}\n`);

describe('a zone file', () => {
  it('becomes plain data', () => {
    const model = modelOf(`
default: allow
time_zone: Europe/Berlin
zones:
  - name: cell 1
    description: filling
    level: 1
    subnets: [10.1.0.0/16, "fd00:1::/32"]
    vlans: [20, 30-32]
    devices: [10.9.0.1, 00:1b:1b:12:34:56]
  - { name: 10, level: 3.5, subnets: 10.2.0.0/16 }
conduits:
  - name: reads
    from: 10
    to: [cell 1, external]
    protocols: [pump, tcp, unknown, ip_89]
    operations: [read, identify]
    ports: [7000, 8000-8010]
    when: pump.address in 0..99
    hours: 06:00-18:00
    days: [mon-wed, fri]
  - { from: '*', to: '*', action: alert, days: sat, time_zone: UTC }
`);
    expect(structuredClone(model)).toEqual(model);
    expect(model.default_action).toBe('allow');
    expect(model.zones.map(({ name, level }) => [name, level])).toEqual([
      ['cell 1', 1],
      ['10', 3.5],
    ]);
    expect(model.zones[0].subnets.map(({ text, device, line, column }) => [text, device, line, column])).toEqual([
      ['10.1.0.0/16', false, 8, 15],
      ['fd00:1::/32', false, 8, 28],
      ['10.9.0.1', true, 10, 15],
    ]);
    expect(model.zones[0].macs[0]).toMatchObject({ high: 0x1b, low: 0x1b123456 });
    expect(model.zones[0].vlans.map(({ first, last }) => [first, last])).toEqual([
      [20, 20],
      [30, 32],
    ]);
    const [reads, second] = model.conduits;
    expect(reads).toMatchObject({
      name: 'reads',
      from: [2],
      to: [0, 1],
      protocols: ['pump', 'tcp', 'unknown', 'ip_89'],
      operations: [1, 15],
      ports: [{ first: 7000, last: 7000 }, { first: 8000, last: 8010 }],
      schedule: { time_zone: 'Europe/Berlin', hours: [{ from: 360, to: 1080 }], days: [0, 1, 2, 4] },
      action: 'allow',
      line: 13,
    }); // biome-ignore format: one line each
    expect(reads.condition).toMatchObject({ text: 'pump.address in 0..99', line: 19, column: 11 });
    expect(second).toMatchObject({
      name: 'conduit 2',
      from: null,
      to: null,
      action: 'alert',
      schedule: { time_zone: 'UTC', days: [5] },
    });
  });

  it('may have no conduits, and takes aliases', () => {
    expect(modelOf(`${ZONES}conduits: []\n`).conduits).toEqual([]);
    expect(modelOf(`${ZONES}conduits:\n`).conduits).toEqual([]);
    const model = modelOf(`${ZONES}conduits:\n  - { from: &all [a, b], to: c }\n  - { from: c, to: *all }\n`);
    expect(model.conduits[1].to).toEqual([1, 2]);
  });

  it.each([
    ['', ['1:1: fault: the file is empty; a zone file has the keys default, time_zone, zones, conduits']],
    ['- a', ['1:1: fault: a zone file is a mapping with the keys default, time_zone, zones, conduits']],
    ['default: alert', ['1:1: fault: there are no "zones"']],
    ['zones: []\ndefault: deny', ['2:10: fault: "default" is allow or alert']],
    ['zones: []\nconduit: []', ['2:1: fault: a zone file has no key "conduit" (did you mean "conduits"?)']],
    ['zones: []\ntime_zone: Europe/Berln', [expect.stringMatching(/^2:12: fault: "Europe\/Berln" is not a time zone .*"Europe\/Berlin"/)]],
    ['zones: [\n', [expect.stringMatching(/^2:1: fault: /)]],
    ['zones: []\nzones: []', ['2:1: fault: Map keys must be unique']],
    ['zones: 5', ['1:8: fault: a zone is a mapping with the keys name, description, level, subnets, vlans, devices']],
    ['zones:\n  - level: 2', ['2:5: fault: the zone has no "name"']],
    ['zones:\n  - name: ""', ['2:11: fault: the name of a zone is a text that is not empty']],
    ['zones:\n  - name: External', ['2:11: fault: no zone can be called "External": conduits give it another meaning']],
    ['zones:\n  - name: a\n  - name: a', ['3:11: fault: there are two zones called "a"']],
    ['zones:\n  - { name: a, level: 7 }', ['2:23: fault: level is one of 0, 1, 2, 3, 3.5, 4, 5']],
    ['zones:\n  - { name: a, subnet: 10.0.0.0/8 }', ['2:16: fault: a zone has no key "subnet" (did you mean "subnets"?)']],
    ['zones:\n  - name: a\n    subnets:\n      - 10.0.0.1/8\n      - fd00::1/64\n      - 10.0.0.0/40', [
      '4:9: fault: "10.0.0.1/8" has bits set behind its prefix; the subnet is 10.0.0.0/8',
      '5:9: fault: "fd00::1/64" has bits set behind its prefix; the subnet is fd00::/64',
      '6:9: fault: "/40" is not a prefix length from 0 to 32',
    ]],
    ['zones:\n  - { name: a, devices: [10.0.0.0/24, plc7, 01:00:5e:00:00:01] }', [
      '2:26: fault: "10.0.0.0/24" is a subnet; it belongs under "subnets"',
      '2:39: fault: "plc7" is neither an IP address nor a MAC address',
      '2:45: fault: "01:00:5e:00:00:01" is a group address, not a device',
    ]],
    ['zones:\n  - { name: a, vlans: [0, 4095, 9-3, x] }', [
      '2:24: fault: "0" is not a VLAN from 1 to 4094, or a range',
      '2:27: fault: "4095" is not a VLAN from 1 to 4094, or a range',
      '2:33: fault: the range 9-3 is empty',
      '2:38: fault: "x" is not a VLAN from 1 to 4094, or a range',
    ]],
    ['zones:\n  - { name: a, subnets: [10.0.0.0/8], vlans: [5] }\n  - { name: b, subnets: [10.0.0.0/8], vlans: [4-6] }', [
      '3:26: fault: 10.0.0.0/8 is also in zone "a" (line 2)',
      '3:47: fault: VLAN 5 is also in zone "a" (line 2)',
    ]],
    ['zones:\n  - { name: a, subnets: [10.0.0.7/32] }\n  - { name: b, devices: [10.0.0.7, 10.0.0.7] }', [
      '3:26: fault: 10.0.0.7 is also in zone "a" (line 2)',
      '3:36: fault: 10.0.0.7 is also in zone "a" (line 2)',
    ]],
  ])('%j has faults', (yaml, expected) => {
    expect(faultsOf(yaml)).toEqual(expected);
    expect(readPolicy(yaml, registry).model).toBeNull();
  }); // biome-ignore format: a table

  it.each([
    ['protocols: [pump, pmup]', '9:23: fault: unknown protocol "pmup": no active dissector has that name (did you mean "pump"?)'],
    ['protocols: []', '9:16: fault: "protocols" is empty'],
    ['protocols:', '9:15: fault: "protocols" has an empty entry'],
    ['operations: [read, wirte]', '9:24: fault: unknown operation "wirte" (did you mean "write"?)'],
    ['operations: constructor', '9:17: fault: unknown operation "constructor"'],
    ['ports: [0, 502]', '9:13: fault: "0" is not a port from 1 to 65535, or a range'],
    ['ports: 80-70000', '9:12: fault: "80-70000" is not a port from 1 to 65535, or a range'],
    ['hours: 6-18', '9:12: fault: "6-18" is not a range of hours, as in 06:00-18:00 or 22:00-06:00'],
    ['days: [mon, mo]', '9:17: fault: "mo" is not a day, as in mon or mon-fri'],
    ['time_zone: UTC', '9:5: fault: "time_zone" has no meaning without "hours" or "days"'],
    ['action: deny', '9:13: fault: "action" is allow or alert'],
    ['acton: alert', '9:5: fault: a conduit has no key "acton" (did you mean "action"?)'],
    ['when: 5', '9:11: fault: "when" is a condition, as in modbus.address in 0..99'],
    ['when: pump.adress == 5', '9:11: fault: record pump has no field "adress" (did you mean "address"?)'],
    [
      'when: pump.address == 5 or pmp.address == 5',
      '9:32: fault: unknown record "pmp": no active dissector declares it (did you mean "pump"?)',
    ],
    ['when: "pump.label == \\"x\\" and pump.address = 5"', '9:49: fault: "=" has no meaning here (did you mean "=="?)'],
    ["when: 'pump.label == ''x'' and pump.address == 70000'", '9:52: fault: pump.address is from 0 to 65535, never 70000'],
    ['when: >\n  pump.address == 5\n    and\n  pump.x == 7', '12:7: fault: record pump has no field "x"'],
    ['when: |\n  # no comment\n  pump.x == 7', '10:7: fault: "#" has no meaning here'],
    [
      'protocols: pump\nwhen: drive_item.db == 5',
      '10:11: fault: pump has no drive_item records: the condition would match nothing',
    ],
    [
      'protocols: unknown\nwhen: drive_item.db == 5',
      '10:11: fault: unknown has no drive_item records: the condition would match nothing',
    ],
  ])('a conduit with %j has a fault', (rest, expected) => {
    expect(conduitFaults(rest)).toEqual([expected]);
  });

  it.each([
    'protocols: drive\nwhen: rail.slot == 1',
    'protocols: tcp\nwhen: drive.job == read',
    'protocols: [pump, drive]\nwhen: drive.job == 4',
  ])('a conduit with %j has none', (rest) => {
    expect(conduitFaults(rest)).toEqual([]);
  });

  it('collects the faults of the whole file', () => {
    expect(
      faultsOf(
        'default: maybe\nzones:\n  - { name: a, subnets: [x] }\n  - { nme: b }\nconduits:\n  - { from: a, to: c }\n  - { from: [a, "*"], protocols: y }\n',
      ).map((fault) => fault.replace(/ fault:.*/, '')),
    ).toEqual(['1:10:', '3:26:', '4:5:', '4:7:', '6:20:', '7:5:', '7:13:', '7:34:']);
  });

  it('has limits', () => {
    const zones = Array.from({ length: 1001 }, (_, i) => `  - { name: z${i} }`).join('\n');
    expect(faultsOf(`zones:\n${zones}`)).toEqual(['1:1: fault: "zones" has 1001 entries; the limit is 1000']);
    const conduits = Array.from({ length: 2001 }, () => '  - { from: a, to: b }').join('\n');
    expect(faultsOf(`${ZONES}conduits:\n${conduits}`)).toEqual(['6:1: fault: "conduits" has 2001 entries; the limit is 2000']);
    const subnets = Array.from({ length: 10_001 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`);
    expect(faultsOf(`zones:\n  - { name: a, subnets: [${subnets}] }`)).toEqual([
      expect.stringMatching(/fault: more than 10000 subnets$/),
    ]);
    expect(faultsOf('#'.repeat(MAX_FILE_LENGTH + 1))).toEqual([
      `1:1: fault: the file is longer than ${MAX_FILE_LENGTH} characters`,
    ]);
    const faults = faultsOf(`zones:\n${Array.from({ length: 500 }, () => '  - {}').join('\n')}`);
    expect(faults).toHaveLength(201);
  });

  it('never throws on any text', () => {
    const key = fc.constantFrom(
      'zones',
      'conduits',
      'name',
      'from',
      'to',
      'when',
      'hours',
      'subnets',
      'devices',
      'default',
      '*x',
      '&x',
    );
    const value = fc.constantFrom(
      'a',
      '[a, b]',
      '{ name: a }',
      '- a',
      '*x',
      '&x 5',
      '!!binary x',
      '"',
      '[[',
      '10.0.0.0/8',
      '|',
      'null',
      '06:00-07:00',
    );
    const yaml = fc.oneof(
      fc.string(),
      fc
        .array(fc.tuple(fc.nat(3), key, value).map(([depth, k, v]) => `${'  '.repeat(depth)}${depth > 1 ? '- ' : ''}${k}: ${v}`))
        .map((l) => l.join('\n')),
    );
    fc.assert(
      fc.property(yaml, (text) => {
        const { model, faults } = readPolicy(text, registry);
        expect(model === null).toBe(faults.length > 0);
        for (const { line, column } of faults) expect(line >= 1 && column >= 1).toBe(true);
        checkPolicyFile(text, registry);
      }),
      { numRuns: 300 },
    );
    expect(faultsOf('['.repeat(100_000))[0]).toMatch(/^1:\d+: fault: /);
  });
});

describe('checking', () => {
  const check = (conduits: string[], zones = ZONES): string[] =>
    checkPolicyFile(`${zones}conduits:\n${conduits.map((conduit) => `  - { ${conduit} }\n`).join('')}`, registry)
      .filter(({ code }) => code !== 'unused_zone')
      .map((fault) => `${faultText(fault)} [${fault.code}]`);

  it('gives the faults of a file that cannot be used', () => {
    expect(check(['from: a'])).toEqual(['7:5: fault: the conduit has no "to" [missing_key]']);
  });

  it('finds subnets in subnets', () => {
    const zones =
      'zones:\n  - { name: a, subnets: [10.0.0.0/8] }\n  - { name: b, subnets: [10.1.0.0/16, "fd00::/64"], devices: [10.1.0.1] }\n  - { name: c, devices: ["fd00::5"] }\n';
    expect(check(['from: a, to: [b, c]'], zones)).toEqual([
      '3:26: warning: 10.1.0.0/16 of zone "b" lies in 10.0.0.0/8 of zone "a" (line 2): the more specific one wins [overlap]',
      '4:26: warning: fd00::5 of zone "c" lies in fd00::/64 of zone "b" (line 3): the more specific one wins [overlap]',
    ]);
  });

  it('finds zones that nothing names or fills', () => {
    expect(checkPolicyFile(`${ZONES}  - { name: d }\nconduits:\n  - { from: a, to: b }\n`, registry).map(faultText)).toEqual([
      '5:5: warning: no conduit names zone "c": what crosses its border is judged by "*" and the default (alert)',
      '6:5: warning: zone "d" has no subnets, VLANs or devices: nothing can be in it',
    ]);
  });

  it.each([
    [['name: x, from: a, to: b', 'name: y, from: a, to: b, protocols: pump'], ['8: conduit "y" is never reached: conduit "x" (line 7) matches all of it']],
    [['name: x, from: a, to: b, protocols: pump', 'name: y, from: a, to: b'], []],
    [["name: x, from: '*', to: [b, c], operations: [read, write]", 'name: y, from: a, to: c, operations: read, ports: 5'], ['8: conduit "y" is never reached']],
    [['name: x, from: a, to: b, ports: [1-10, 11-20]', 'name: y, from: a, to: b, ports: [5-15]'], ['8: conduit "y" is never reached']],
    [['name: x, from: a, to: b, ports: [1-10, 12-20]', 'name: y, from: a, to: b, ports: [5-15]'], []],
    [['name: x, from: a, to: b, when: unit == 5', 'name: y, from: a, to: b, when: unit  == 5, protocols: pump'], ['8: conduit "y" is never reached']],
    [['name: x, from: a, to: b, when: unit == 5', 'name: y, from: a, to: b, when: unit == 6'], []],
    [['name: x, from: a, to: b, days: mon-fri', 'name: y, from: a, to: b, days: tue, hours: "06:00-07:00"'], ['8: conduit "y" is never reached']],
    [['name: x, from: a, to: b, days: tue', 'name: y, from: a, to: b, days: mon-fri'], []],
    [['name: x, from: a, to: b, days: mon-sun', 'name: y, from: a, to: b'], ['8: conduit "y" is never reached']],
    [['name: x, from: a, to: b, days: mon, time_zone: UTC', 'name: y, from: a, to: b, days: mon, time_zone: Europe/Berlin'], []],
    [['name: x, from: a, to: b', 'name: y, from: a, to: b, action: alert'], ['8: conduit "y" (alert) contradicts conduit "x" (line 7) (allow)']],
    [['name: x, from: a, to: b, operations: write, action: alert', 'name: y, from: a, to: b'], []],
    [['name: x, from: a, to: b, operations: [write, stop], action: alert', 'name: y, from: a, to: b, operations: [read, write]'], []],
    [['name: x, from: a, to: b, operations: [read, write]', 'name: y, from: a, to: b, operations: [write, stop], action: alert'], ['8: conduit "y" (alert) is silent on what it has in common with conduit "x" (line 7) (allow)']],
    [['name: x, from: a, to: b, operations: write', 'name: y, from: a, to: b, operations: [write, stop], action: alert'], []],
    [['name: x, from: a, to: b, action: alert', 'name: y, from: a, to: b, operations: read'], ['8: conduit "y" (allow) contradicts conduit "x" (line 7) (alert)']],
    [['name: x, from: [c], to: [b]', 'name: y, from: a, to: b, protocols: [icmp, tcp], ports: 5'], ['8: conduit "y" never matches icmp: icmp has no ports']],
    [['name: x, from: a, to: b, operations: stop, action: alert', 'name: y, from: a, to: b, operations: [read, write]'], []],
    [['name: x, from: [a, b], to: [b, c], operations: read'], ['7: conduit "x" names "b" at both ends']],
    [['name: x, from: b, to: b, operations: read'], []],
    [['name: x, from: a, to: b', 'name: x, from: b, to: a'], ['8: conduit "x" has the name of the one in line 7']],
    [['name: x, from: a, to: b, protocols: field, ports: 5'], ['7: conduit "x" can never match: field has no ports']],
    [['name: x, from: a, to: b, protocols: [drive, unknown, udp], ports: 5'], []],
  ])('%j', (conduits, expected) => {
    const found = check(conduits).map((text) => text.replace(/:\d+: warning/, ''));
    expect(found).toHaveLength(expected.length);
    for (let i = 0; i < expected.length; i++) expect(found[i].startsWith(expected[i])).toBe(true);
  }); // biome-ignore format: a table

  it('warns of what "*" closes', () => {
    expect(check(["name: x, from: '*', to: a, protocols: pump"], `default: allow${ZONES}`)[0]).toMatch(
      /^7:5: warning: conduit "x" allows with "\*"/,
    );
  });
});
