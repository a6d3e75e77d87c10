import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { StoredAlert } from '../../store/queries.ts';
import { type ForwardItem, itemOfAlert, itemOfNotification, itemUuid, testItem } from '../item.ts';
import { alertRow, IDENTITY, ITEM, T } from '../testing.ts';
import { byteLength, cutText } from '../text.ts';
import { SMALLEST_LIMIT, shortened } from './format.ts';
import { FORMATS, type FormatName } from './index.ts';
import { jsonLine } from './json.ts';
import { bsdTime, eventTime, isTimeZone } from './time.ts';

const UTC = { time_zone: 'UTC' };
const render = (format: FormatName, more: Partial<ForwardItem> = {}) => FORMATS[format]({ ...ITEM, ...more }, IDENTITY, UTC);

describe('a whole message', () => {
  it.each<[FormatName, string]>([
    [
      'text',
      '<9>Jan  3 04:05:06 sensor-1 ot-sensor: sensor-1; Zone crossing without a conduit; Type: Policy Violation; Severity: Major; ' +
        'Source: ews-1; Source IP: 10.0.0.2; Protocol: modbus; Address: 10.0.0.2:4000; ' +
        'Destination: plc-1; Destination IP: 10.0.0.5; Protocol: modbus; Address: 10.0.0.5:502; ' +
        'Message: write from office to cell 1: no conduit; Alert group: Unauthorized communication behavior; ' +
        'UUID: 00000000-0000-5000-8000-000000000007',
    ],
    [
      'object',
      '<9>Jan  3 04:05:06 192.0.2.9 ot-sensor: sensor_name="sensor-1" alert_time="Jan 03 2026 04:05:06.789 UTC" ' +
        'title="Zone crossing without a conduit" message="write from office to cell 1: no conduit" severity="Major" ' +
        'type="Policy Violation" protocol="modbus" Source_MAC="00:50:56:00:00:02, 10.0.0.2, ews-1, VMware" ' +
        'Destination_MAC="00:1b:1b:00:00:01, 10.0.0.5, plc-1, Siemens" alert_group="Unauthorized communication behavior"',
    ],
    [
      'cef',
      '<9>Jan  3 04:05:06 sensor-1 CEF:0|ot-sensor|sensor-1|1.2.3|ot-sensor Alert|Zone crossing without a conduit|8|' +
        'msg=write from office to cell 1: no conduit protocol=modbus severity=Major type=Policy Violation ' +
        'UUID=00000000-0000-5000-8000-000000000007 start=Jan 03 2026 04:05:06.789 UTC src_ip=10.0.0.2 src_mac=00:50:56:00:00:02 ' +
        'dst_ip=10.0.0.5 dst_mac=00:1b:1b:00:00:01 cat=Unauthorized communication behavior',
    ],
    [
      'leef',
      '<9>Jan  3 04:05:06 192.0.2.9 sensor-1 LEEF:1.0|ot-sensor|Sensor|1.2.3|ot-sensor Alert|' +
        'title=Zone crossing without a conduit\tmsg=write from office to cell 1: no conduit\tprotocol=modbus\tseverity=Major\t' +
        'type=Policy Violation\tstart=Jan 03 2026 04:05:06.789 UTC\tsrc_ip=10.0.0.2\tdst_ip=10.0.0.5\t' +
        'cat=Unauthorized communication behavior',
    ],
    [
      'rfc5424',
      '<9>1 2026-01-03T04:05:06.789Z sensor-1 ot-sensor - zone_crossing [alert@32473 uuid="00000000-0000-5000-8000-000000000007" ' +
        'sensor="sensor-1" site="north" title="Zone crossing without a conduit" severity="major" engine="policy violation" ' +
        'category="Unauthorized communication behavior" protocol="modbus" operation="write" technique="T0886" ' +
        'source_ip="10.0.0.2" source_mac="00:50:56:00:00:02" source_port="4000" source_zone="office" source_name="ews-1" ' +
        'destination_ip="10.0.0.5" destination_mac="00:1b:1b:00:00:01" destination_port="502" destination_zone="cell 1" ' +
        'destination_name="plc-1"] \ufeffZone crossing without a conduit: write from office to cell 1: no conduit',
    ],
  ])('%s', (format, expected) => {
    expect(render(format)).toBe(expected);
  });

  it('json', () => {
    const [, head, body] = /^(.*? - zone_crossing - )(.*)$/.exec(render('json')) ?? [];
    expect(head).toBe('<9>1 2026-01-03T04:05:06.789Z sensor-1 ot-sensor - zone_crossing - ');
    expect(JSON.parse(body)).toMatchObject({
      uuid: ITEM.uuid,
      sensor: 'sensor-1',
      what: 'alert',
      timestamp: '2026-01-03T04:05:06.789Z',
      source_ip: '10.0.0.2',
      destination_port: 502,
      details: { why: 'no conduit' },
    });
  });

  it('without ends: a notification of the appliance', () => {
    const notification = {
      id: 3,
      kind: 'disk_low' as const,
      severity: 'major',
      title: 'A volume is nearly full',
      description: '/data is 95 % full.',
      details: { percent: 95 },
      count: 1,
      first_ms: T,
      last_ms: T,
      resolved_ms: null,
    };
    const item = itemOfNotification(notification, '00000000-0000-4000-8000-000000000000');
    expect(FORMATS.object(item, IDENTITY, UTC)).toMatch(
      /protocol="N\/A" Source_MAC="N\/A, N\/A, N\/A, N\/A" Destination_MAC="N\/A,/,
    );
    expect(FORMATS.text(item, IDENTITY, UTC)).toMatch(
      /; Source: N\/A; Source IP: N\/A; Destination: N\/A; Destination IP: N\/A; Message: /,
    );
    expect(FORMATS.cef(item, IDENTITY, UTC)).toMatch(
      /\|8\|msg=\/data is 95 % full\. protocol= severity=Major .* start=\S+ \S+ \S+ \S+ UTC cat=System$/,
    );
    expect(FORMATS.rfc5424(item, IDENTITY)).toMatch(/ disk_low \[notification@32473 uuid="[\da-f-]{36}" .* category="System"\] /);
    expect(FORMATS.leef(item, IDENTITY, UTC)).toMatch(/\tsrc_ip=\tdst_ip=\tcat=System$/);
  });

  it('a test is marked in every format', () => {
    const item = testItem('siem', '00000000-0000-4000-8000-000000000000', T);
    for (const format of Object.values(FORMATS)) expect(format(item, IDENTITY, UTC)).toMatch(/Test message/);
  });
});

describe('escaping', () => {
  // The specification's own examples: a pipe and a backslash in the header, an equals sign and a backslash in the extension.
  it.each([
    ['detected a | in message', 'detected a \\| in message'],
    ['detected a \\ in packet', 'detected a \\\\ in packet'],
    ['detected a = in message', 'detected a = in message'],
  ])('CEF header: %s', (title, expected) => {
    expect(render('cef', { title })).toContain(`|ot-sensor Alert|${expected}|8|`);
  });
  it.each([
    ['blocked a |', 'blocked a |'],
    ['blocked a \\', 'blocked a \\\\'],
    ['blocked a = dst_ip=1.1.1.1', 'blocked a \\= dst_ip\\=1.1.1.1'],
  ])('CEF extension: %s', (message, expected) => {
    expect(render('cef', { message })).toContain(`|msg=${expected} protocol=modbus`);
  });
  // RFC 5424 §6.3.3.
  it.each([
    ['a " quote', 'a \\" quote'],
    ['a \\ backslash', 'a \\\\ backslash'],
    ['a ] bracket [', 'a \\] bracket ['],
  ])('RFC 5424 parameter: %s', (title, expected) => {
    expect(render('rfc5424', { title })).toContain(` title="${expected}" `);
  });
  it('LEEF: the header has no escape, attributes are told apart by tabs alone', () => {
    const item = { ...ITEM, message: 'a=b|c' };
    const leef = FORMATS.leef(item, { ...IDENTITY, version: '1|2' }, UTC);
    expect(leef).toContain('LEEF:1.0|ot-sensor|Sensor|1/2|ot-sensor Alert|title=');
    expect(leef).toContain('\tmsg=a=b|c\t');
  });
  it('JSON: what is a line end or a command to some reader', () => {
    expect(jsonLine({ ...ITEM, details: { a: '\u2028\u0085\u007f\n"' } }, IDENTITY)).toContain(
      '{"a":"\\u2028\\u0085\\u007f\\n\\""}',
    );
  });
  it.each([
    ['warning', 1],
    ['minor', 4],
    ['major', 8],
    ['critical', 10],
  ] as const)('severity %s is %i in CEF', (severity, level) => {
    expect(render('cef', { severity })).toContain(`|${level}|msg=`);
  });
});

describe('times', () => {
  it.each([
    ['UTC', 'Jan  3 04:05:06', 'Jan 03 2026 04:05:06.789 UTC'],
    ['Europe/Berlin', 'Jan  3 05:05:06', 'Jan 03 2026 05:05:06.789 GMT+01:00'],
    ['America/St_Johns', 'Jan  3 00:35:06', 'Jan 03 2026 00:35:06.789 GMT-03:30'],
    ['Asia/Kathmandu', 'Jan  3 09:50:06', 'Jan 03 2026 09:50:06.789 GMT+05:45'],
  ])('in %s', (zone, header, event) => {
    expect(bsdTime(T, zone)).toBe(header);
    expect(eventTime(T, zone)).toBe(event);
  });
  it('midnight is hour 00, and two digits of a day stay', () => {
    expect(bsdTime(Date.UTC(2026, 10, 25), 'UTC')).toBe('Nov 25 00:00:00');
  });
  it('the zone of the destination moves start, and not the header of CEF and LEEF', () => {
    const cef = FORMATS.cef(ITEM, IDENTITY, { time_zone: 'Asia/Tokyo' });
    expect(cef).toMatch(/^<9>Jan {2}3 04:05:06 /);
    expect(cef).toContain('start=Jan 03 2026 13:05:06.789 GMT+09:00');
    expect(FORMATS.text(ITEM, IDENTITY, { time_zone: 'Asia/Tokyo' })).toMatch(/^<9>Jan {2}3 13:05:06 /);
  });
  it('zones that there are not are known as such', () => {
    expect(isTimeZone('Europe/Berlin')).toBe(true);
    expect(isTimeZone('Europe/Atlantis')).toBe(false);
  });
});

describe('UUIDs', () => {
  it('are of version 5, the same for the same, and others for another appliance, id or finding', () => {
    const one = itemUuid('00000000-0000-4000-8000-000000000001', 'alert', 1, 'a');
    expect(one).toMatch(/^[\da-f]{8}-[\da-f]{4}-5[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
    expect(itemUuid('00000000-0000-4000-8000-000000000001', 'alert', 1, 'a')).toBe(one);
    const others = [
      itemUuid('00000000-0000-4000-8000-000000000002', 'alert', 1, 'a'),
      itemUuid('00000000-0000-4000-8000-000000000001', 'notification', 1, 'a'),
      itemUuid('00000000-0000-4000-8000-000000000001', 'alert', 2, 'a'),
      itemUuid('00000000-0000-4000-8000-000000000001', 'alert', 1, 'b'),
    ];
    expect(new Set([one, ...others]).size).toBe(5);
  });
});

describe('cutting', () => {
  it.each([
    ['short', 10, 'short'],
    ['ten bytes!', 10, 'ten bytes!'],
    ['eleven byte', 10, 'eleven …'],
    ['日本語日本語', 10, '日本…'],
    ['😀😀😀', 8, '😀…'],
  ])('%s at %i bytes', (text, limit, expected) => {
    expect(cutText(text, limit)).toBe(expected);
    expect(byteLength(cutText(text, limit))).toBeLessThanOrEqual(limit);
  });
});

// What an attacker can put into packets ends up in texts and names: whatever it is, a message is one line that its reader takes apart
// into the fields that were put in.
describe('any text from packets', () => {
  const nasty = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 300 }),
    fc.string({
      unit: fc.constantFrom(
        '\n',
        '\r',
        '\t',
        '|',
        '=',
        '\\',
        '"',
        ']',
        ';',
        ' ',
        '\u0000',
        '\u2028',
        '\u202e',
        '日',
        '\ud800',
        'a',
      ),
      maxLength: 3000,
    }),
  );
  const items = fc
    .record({ title: nasty, description: nasty, zone: nasty, operation: nasty, device: nasty })
    .map(({ title, description, zone, operation, device }) => {
      const row = {
        ...alertRow('1'),
        id: 1,
        status: 'open',
        evidence: 0,
        title,
        description,
        source_zone: zone,
        operation,
        source_device: 1,
      };
      return itemOfAlert(
        row as unknown as StoredAlert,
        '00000000-0000-4000-8000-000000000000',
        () => ({ name: device, vendor: zone }) as never,
      );
    });
  const limits = fc.constantFrom(SMALLEST_LIMIT, 1500, 2048, 65_000);
  const CONTROL = /[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]/u;

  const readers: Record<FormatName, (text: string) => Record<string, string>> = {
    text: (text) => {
      const [, rest] = /^<9>\w{3} [ \d]\d \d\d:\d\d:\d\d sensor-1 ot-sensor: (.*)$/.exec(text)!;
      const [, title, ...fields] = rest.split('; ');
      const labelled = Object.fromEntries(fields.map((field) => /^([\w ]+): (.*)$/.exec(field)!.slice(1, 3)));
      return { title, message: labelled.Message ?? '', end: labelled.UUID };
    },
    object: (text) => {
      const pairs = [...text.matchAll(/(\w+)="((?:[^"\\]|\\["\\])*)"(?= |$)/g)].map(([, key, value]) => [
        key,
        value.replace(/\\(.)/g, '$1'),
      ]);
      expect(pairs).toHaveLength(10);
      const { title, message, alert_group } = Object.fromEntries(pairs);
      return { title, message, end: alert_group };
    },
    cef: (text) => {
      const parts = text.split(/(?<=(?<!\\)(?:\\\\)*)\|/);
      const [head, ...rest] = [...parts.slice(0, 7), parts.slice(7).join('|')];
      expect(head).toMatch(/^<9>.* CEF:0$/);
      const fields = Object.fromEntries(
        [...rest[6].matchAll(/(?:^| )(\w+)=((?:[^=\\]|\\[=\\])*)(?= \w+=|$)/g)].map(([, key, value]) => [
          key,
          value.replace(/\\(.)/g, '$1'),
        ]),
      );
      return { title: rest[4].replace(/\\(.)/g, '$1'), message: fields.msg, end: fields.cat };
    },
    leef: (text) => {
      const fields = Object.fromEntries(
        text
          .slice(text.indexOf('ot-sensor Alert|') + 16)
          .split('\t')
          .map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
      );
      expect(Object.keys(fields)).toHaveLength(9);
      return { title: fields.title, message: fields.msg, end: fields.cat };
    },
    rfc5424: (text) => {
      const found =
        /^<9>1 \S+ sensor-1 ot-sensor - zone_crossing \[alert@32473((?: \w+="(?:[^"\\\]]|\\["\\\]])*")*)\] \ufeff(.*)$/.exec(
          text,
        )!;
      const pairs = [...found[1].matchAll(/ (\w+)="((?:[^"\\\]]|\\["\\\]])*)"/g)].map(([, key, value]) => [
        key,
        value.replace(/\\(.)/g, '$1'),
      ]);
      const { title = '', destination_mac } = Object.fromEntries(pairs);
      return { title, message: found[2].slice(title.length + 2), end: destination_mac };
    },
    json: (text) => {
      const { title, message, uuid } = JSON.parse(text.slice(text.indexOf(' - {') + 3));
      return { title, message, end: uuid };
    },
  };

  it.each(Object.keys(FORMATS) as FormatName[])('%s', (format) => {
    fc.assert(
      fc.property(items, limits, (item, limit) => {
        const text = shortened((one) => FORMATS[format](one, IDENTITY, UTC), item, limit);
        expect(byteLength(text)).toBeLessThanOrEqual(limit);
        expect(text).not.toMatch(CONTROL);
        if (format !== 'leef') expect(text).not.toContain('\t');
        const read = readers[format](text);
        const expected =
          format === 'text' ? { title: item.title.replaceAll(';', ','), message: item.message.replaceAll(';', ',') } : item;
        const whole = byteLength(FORMATS[format](item, IDENTITY, UTC)) <= limit;
        if (whole) expect(read).toMatchObject({ title: expected.title, message: expected.message });
        else expect(expected.message.startsWith(read.message.replace(/…$/, ''))).toBe(true);
        expect(read.end).toBeTruthy();
      }),
      { numRuns: 300 },
    );
  });
});
