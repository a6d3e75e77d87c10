import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { configReference, readConfig, recordingOf } from './config.ts';
import { SHEDDING_DEFAULTS } from './engine/shedding.ts';

const MIRROR = 'capture:\n  interfaces:\n    - name: eth1\n';
const faults = (text: string): string[] =>
  readConfig(text, '/etc/ot-sensor').faults.map(({ line, column, message }) => `${line}:${column} ${message}`);

describe('readConfig', () => {
  it('takes the default for all that is left out', () => {
    const { config } = readConfig(MIRROR, '/etc/ot-sensor');
    expect(config).toMatchObject({ data: '/var/lib/ot-sensor', zones: '', shards: 1, user: '', log: { level: 'info' } });
    expect(config).toMatchObject({ watchdog: { hang_seconds: 5 }, overload: SHEDDING_DEFAULTS });
    expect(config!.capture).toEqual({
      backend: 'auto',
      timeout_ms: 20,
      interfaces: [
        { name: 'eth1', filter: '', include: [], exclude: [], snap_length: 262_144, buffer_bytes: 67_108_864, promiscuous: true },
      ],
    });
  });

  it('takes paths from the folder of the file', () => {
    const { config } = readConfig(`data: ../data\nzones: plant.yaml\n${MIRROR}`, '/etc/ot-sensor');
    expect(config).toMatchObject({ data: '/etc/data', zones: '/etc/ot-sensor/plant.yaml' });
  });

  it('records nothing unless told to, and beside the database unless told otherwise', () => {
    const recording = (text: string) => recordingOf(readConfig(`${text}${MIRROR}`, '/etc/ot-sensor').config!);
    expect(recording('')).toBeNull();
    const bounds = { file_bytes: 64 << 20, total_bytes: 10 * 2 ** 30, max_age_hours: 0, min_free_bytes: 2 ** 30 };
    expect(recording('data: /d\nrecording:\n  mode: ot\n')).toEqual({ mode: 'ot', directory: '/d/recording', ...bounds });
    const elsewhere = 'recording:\n  mode: all\n  directory: ../packets\n  total_bytes: 200000000\n';
    expect(recording(elsewhere)).toEqual({ mode: 'all', directory: '/etc/packets', ...bounds, total_bytes: 200_000_000 });
  });

  it.each([
    [
      'a recording without room for its files',
      `recording:\n  total_bytes: 100000000\n${MIRROR}`,
      '1:1 recording: "total_bytes" has no room for two files of "file_bytes"',
    ],
    [
      'a level of overload that ends above where it begins',
      `overload:\n  bulk_begins_percent: 5\n${MIRROR}`,
      '1:1 overload: "bulk_ends_percent" is not below "bulk_begins_percent"',
    ],
    [
      'levels of overload in another order',
      `overload:\n  all_begins_percent: 40\n${MIRROR}`,
      '1:1 overload: "all_begins_percent" is below "unrecognised_begins_percent": levels begin one after the other',
    ],
    [
      'a watchdog that does not wait',
      `watchdog:\n  hang_seconds: 1\n${MIRROR}`,
      '2:17 "hang_seconds" is a whole number from 2 to 600',
    ],
    ['an unknown key', `shard: 2\n${MIRROR}`, '1:1 the settings file has no key "shard" (did you mean "shards"?)'],
    ['a number that is none', `shards: two\n${MIRROR}`, '1:9 "shards" is a whole number from 1 to 64'],
    ['a number beyond its limit', `shards: 65\n${MIRROR}`, '1:9 "shards" is a whole number from 1 to 64'],
    [
      'a word that is not known',
      `log:\n  level: inof\n${MIRROR}`,
      '2:10 "level" is one of trace, debug, info, warn, error, silent (did you mean "info"?)',
    ],
    ['neither true nor false', `${MIRROR}      promiscuous: maybe\n`, '4:20 "promiscuous" is true or false'],
    ['an interface without a name', 'capture:\n  interfaces:\n    - filter: tcp\n', '3:7 an entry of "interfaces" has no "name"'],
    ['an interface that is named twice', `${MIRROR}    - name: eth1\n`, '1:1 the interface eth1 is named twice'],
    [
      'an entry of a filter',
      `${MIRROR}      include: [vlan 20, vlan 5000]\n`,
      '4:26 "vlan 5000": after "vlan" comes a VLAN identifier, 1 to 4094',
    ],
    [
      'a filter said in two ways',
      `${MIRROR}      filter: tcp\n      exclude: host 10.0.0.5\n`,
      '1:1 the interface eth1: "filter" cannot be given together with "include" or "exclude": say it all in one way',
    ],
    ['no interface', 'shards: 1\n', '1:1 no interface to capture from: name one under capture, interfaces'],
    ['a list where one value belongs', `data: [a, b]\n${MIRROR}`, '1:7 "data" is a single value'],
    [
      'a value where a section belongs',
      'capture: eth1\n',
      '1:10 "capture" is a mapping with the keys backend, timeout_ms, interfaces',
    ],
    [
      'control characters',
      `data: "a\\0b"\n${MIRROR}`,
      '1:7 "data" is a text of at most 4096 characters, without control characters',
    ],
    [
      'too many interfaces',
      `capture:\n  interfaces: [${Array.from({ length: 17 }, (_, i) => `{name: e${i}}`).join(', ')}]\n`,
      '2:3 "interfaces" has 17 entries; the limit is 16',
    ],
  ])('tells of %s, with its place', (_, text, fault) => {
    expect(faults(text)).toContain(fault);
    expect(readConfig(text, '/').config).toBeNull();
  });

  it('never throws, and has no settings where there is a fault', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.json(), fc.string({ unit: fc.constantFrom(...'\n :-[]{}#&*!|>"\'acdfilnoprstu0') })),
        (text) => {
          const { config, faults: found } = readConfig(text, '/');
          expect(config === null).toBe(found.length > 0);
        },
      ),
    );
  });
});

describe('configReference', () => {
  it('is a settings file with all defaults, once the interface is named', () => {
    const text = configReference().replace("- name: ''", '- name: eth1');
    expect(faults(text)).toEqual([]);
    expect(readConfig(text, '/etc/ot-sensor').config).toEqual(readConfig(MIRROR, '/etc/ot-sensor').config);
  });
});
