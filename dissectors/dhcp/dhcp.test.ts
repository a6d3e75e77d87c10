import { describe, expect, test } from 'vitest';
import { Match, Reader } from '../../src/dissect/index.ts';
import { Bench, fromHex, type TestResult } from '../../src/dissect/testing.ts';
import dhcp from './dhcp.ts';
import { vendorClass } from './identity.ts';
import { OPTION_NAMES } from './options.ts';

const bench = () => new Bench([dhcp]);
const ascii = (text: string) => Buffer.from(text, 'latin1').toString('hex');
const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0');
const option = (code: number, value: string) => {
  const bytes = value.replace(/\s+/g, '');
  return hex(code, 2) + hex(bytes.length / 2, 2) + bytes;
};
const type = (value: number) => option(53, hex(value, 2));
const END = 'ff';

interface Header {
  op: number;
  hops: number;
  secs: number;
  flags: number;
  ciaddr: string;
  yiaddr: string;
  siaddr: string;
  giaddr: string;
  /** Hardware type, size and address. */
  hardware: [number, number, string];
  sname: string;
  file: string;
}

/** RFC 2131, figure 1. */
function message(options: string, header: Partial<Header> = {}): string {
  const h = { op: 1, hops: 0, secs: 0, flags: 0, ciaddr: '', yiaddr: '', siaddr: '', giaddr: '', sname: '', file: '', ...header };
  const [htype, hlen, chaddr] = header.hardware ?? [1, 6, '001b1b010203'];
  return [
    hex(h.op, 2) + hex(htype, 2) + hex(hlen, 2) + hex(h.hops, 2),
    '3903f326',
    hex(h.secs, 4) + hex(h.flags, 4),
    ...[h.ciaddr, h.yiaddr, h.siaddr, h.giaddr].map((address) => address.padEnd(8, '0')),
    chaddr.padEnd(32, '0'),
    h.sname.padEnd(128, '0'),
    h.file.padEnd(256, '0'),
    '63825363',
    options,
  ].join('');
}
const said = ({ identities }: TestResult) => Object.fromEntries(identities.map((i) => [`${i.side} ${i.attribute}`, i.value]));
const optionRow = (result: TestResult, code: number) =>
  result.rows.find((r) => r.record === 'dhcp_option' && r.fields.code === code);

describe('a lease (RFC 2131, 3.1)', () => {
  const DISCOVER = message(
    type(1) +
      option(57, '0240') +
      option(55, '01 03 06 0c 0f 1c 2a') +
      option(12, ascii('io-station-7')) +
      option(60, ascii('Example IO 7')) +
      option(61, '01 001b1b010203') +
      END +
      '000000000000',
  );

  test('a discover says who asks', () => {
    const result = bench().request(DISCOVER);
    expect(result.rows[0]).toEqual({
      record: 'dhcp',
      operation: 'discover',
      role: 'client',
      fields: {
        op: 1,
        op_name: 'BOOTREQUEST',
        htype: 1,
        htype_name: 'Ethernet',
        hlen: 6,
        hops: 0,
        xid: 0x3903f326,
        secs: 0,
        flags: 0,
        broadcast: false,
        ciaddr: '0.0.0.0',
        yiaddr: '0.0.0.0',
        siaddr: '0.0.0.0',
        giaddr: '0.0.0.0',
        chaddr: '00:1b:1b:01:02:03',
        magic_cookie: 0x63825363,
        option_codes: [53, 57, 55, 12, 60, 61],
        message_type: 1,
        message_type_name: 'DHCPDISCOVER',
        host_name: 'io-station-7',
        vendor_class: 'Example IO 7',
        client_id_type: 1,
        client_id_mac: '00:1b:1b:01:02:03',
        parameter_request_list: [1, 3, 6, 12, 15, 28, 42],
        maximum_message_size: 576,
      },
    });
    expect(said(result)).toEqual({
      'sender mac': '00:1b:1b:01:02:03',
      'sender name': 'io-station-7',
      'sender description': 'Example IO 7',
    });
    expect(result.rows).toHaveLength(7);
  });

  const leased =
    type(5) +
    option(54, 'c000020a') +
    option(51, '00000078') +
    option(58, '0000003c') +
    option(59, '00000069') +
    option(1, 'ffffff00') +
    option(3, 'c000020a c000020b') +
    option(6, 'c0000235') +
    option(15, ascii('plant.example')) +
    option(12, ascii('io-station-7')) +
    END;

  test('an acknowledgement says what its receiver gets', () => {
    const result = bench().send(1, message(leased, { op: 2, yiaddr: 'c0000271', siaddr: 'c000020a' }), { client: -1 });
    expect(result.rows[0]).toMatchObject({
      operation: 'configure',
      role: 'server',
      fields: {
        message_type_name: 'DHCPACK',
        yiaddr: '192.0.2.113',
        siaddr: '192.0.2.10',
        server_id: '192.0.2.10',
        lease_time: 120,
        renewal_time: 60,
        rebinding_time: 105,
        subnet_mask: '255.255.255.0',
        domain_name: 'plant.example',
      },
    });
    const addresses = result.rows.filter(({ record }) => record === 'dhcp_address');
    expect(addresses.map(({ fields }) => fields)).toEqual([
      { code: 3, code_name: 'Router', router: '192.0.2.10' },
      { code: 3, code_name: 'Router', router: '192.0.2.11' },
      { code: 6, code_name: 'Domain Name Server', domain_name_server: '192.0.2.53' },
    ]);
    expect(said(result)).toEqual({ 'receiver ip': '192.0.2.113', 'receiver name': 'io-station-7' });
  });

  test.each([
    ['broadcast', { flags: 0x8000 }],
    ['to a relay agent', { giaddr: 'c0000201' }],
    ['without an address (to DHCPINFORM)', { yiaddr: '00000000' }],
  ])('an acknowledgement %s says nothing of its receiver', (_, header) => {
    expect(bench().response(message(leased, { op: 2, yiaddr: 'c0000271', ...header })).identities).toEqual([]);
  });

  test('a renewal is unicast, whatever the broadcast flag says (4.1)', () => {
    const header = { op: 2, yiaddr: 'c0000271', ciaddr: 'c0000271', flags: 0x8000 };
    expect(said(bench().response(message(leased, header)))).toMatchObject({ 'receiver ip': '192.0.2.113' });
  });

  test('an offer is not yet a lease', () => {
    expect(bench().response(message(type(2) + END, { op: 2, yiaddr: 'c0000271' })).identities).toEqual([]);
  });

  test('cut at any length it says so, and states nothing that is not there', () => {
    const bytes = fromHex(DISCOVER);
    const whole = said(bench().request(DISCOVER));
    // The six bytes of padding behind End are not missed.
    for (let size = 0; size < bytes.length - 6; size++) {
      const cut = bench().send(0, bytes.slice(0, size), { complete: false });
      if (size === 0) continue;
      expect(cut.rows[0].status, `${size} bytes`).toBe('truncated');
      expect(whole, `${size} bytes`).toMatchObject(said(cut));
      expect(bench().send(0, bytes.slice(0, size)).rows[0].status, `${size} bytes`).toBe('malformed');
    }
  });
});

describe('operations and who may send what', () => {
  test.each([
    [1, 1, 'discover'],
    [2, 2, 'discover'],
    [1, 3, 'configure'],
    [1, 4, 'error'],
    [2, 5, 'configure'],
    [2, 6, 'error'],
    [1, 7, 'configure'],
    [1, 8, 'read'],
    [2, 9, 'configure'],
    [1, 10, 'read'],
  ])('op %i, message type %i: %s', (op, value, operation) => {
    const [row] = bench().request(message(type(value) + END, { op })).rows;
    expect(row.operation).toBe(operation);
    expect(row).not.toHaveProperty('anomalies');
    expect(bench().request(message(type(value) + END, { op: 3 - op })).rows[0].anomalies).toEqual(['op_mismatch']);
  });

  test('who has an address says so, but not where it gives it back', () => {
    const header = { ciaddr: '0a000005' };
    expect(said(bench().request(message(type(3) + END, header)))['sender ip']).toBe('10.0.0.5');
    expect(said(bench().request(message(type(7) + END, header)))['sender ip']).toBeUndefined();
  });

  test.each([{ giaddr: '0a000001' }, { hops: 1 }])('what a relay agent passes on says nothing of itself: %o', (header) => {
    expect(bench().request(message(type(1) + option(12, ascii('plc')) + END, header)).identities).toEqual([]);
  });
});

/** Option, value, what its rows say. */
const OPTIONS: {
  what: string;
  code: number;
  value: string;
  fields: Record<string, unknown>;
  rows?: Record<string, unknown>[];
}[] = [
  { what: 'RFC 2132, 3.4 time offset', code: 2, value: 'ffffb9b0', fields: { number: -18000 } },
  { what: 'RFC 2132, 3.15 boot file size', code: 13, value: '0200', fields: { number: 512 } },
  { what: 'RFC 2132, 4.1 IP forwarding', code: 19, value: '01', fields: { number: 1 } },
  { what: 'RFC 2132, 4.7 path MTU plateau table', code: 25, value: '0044 0128 05dc', fields: { numbers: [68, 296, 1500] } },
  {
    what: 'RFC 2132, 5.8 static route',
    code: 33,
    value: '0a000000 c0a80001',
    fields: {},
    rows: [{ code: 33, code_name: 'Static Route', destination: '10.0.0.0', next_hop: '192.168.0.1' }],
  },
  {
    what: 'RFC 2132, 8.3 NTP servers',
    code: 42,
    value: '0a000001',
    fields: {},
    rows: [{ code: 42, code_name: 'NTP Servers', ntp_server: '10.0.0.1' }],
  },
  { what: 'RFC 2132, 8.4 vendor specific information', code: 43, value: '0104deadbeef', fields: { value: '0104deadbeef' } },
  { what: 'RFC 2132, 9.9 message', code: 56, value: ascii('no free leases'), fields: { text: 'no free leases' } },
  {
    what: 'RFC 3442: 10.0.0.0/8, 10.17.0.0/16, 10.27.129.0/24, default',
    code: 121,
    value: '08 0a 0a000001 10 0a11 0a000002 18 0a1b81 0a000003 00 0a000004',
    fields: {},
    rows: [
      { code: 121, code_name: 'Classless Static Route', destination: '10.0.0.0', prefix_length: 8, next_hop: '10.0.0.1' },
      { code: 121, code_name: 'Classless Static Route', destination: '10.17.0.0', prefix_length: 16, next_hop: '10.0.0.2' },
      { code: 121, code_name: 'Classless Static Route', destination: '10.27.129.0', prefix_length: 24, next_hop: '10.0.0.3' },
      { code: 121, code_name: 'Classless Static Route', destination: '0.0.0.0', prefix_length: 0, next_hop: '10.0.0.4' },
    ],
  },
  {
    what: 'RFC 3046, 2: circuit and remote ID; RFC 3527: link selection',
    code: 82,
    value: '01 04 00010203 02 06 001b1b0a0b0c 05 04 0a000000',
    fields: {},
    rows: [
      { suboption: 1, suboption_name: 'Agent Circuit ID', suboption_length: 4, circuit_id: '00010203' },
      { suboption: 2, suboption_name: 'Agent Remote ID', suboption_length: 6, remote_id: '001b1b0a0b0c' },
      { suboption: 5, suboption_name: 'Link Selection', suboption_length: 4, link_selection: '10.0.0.0' },
    ],
  },
  {
    what: 'RFC 3925, 3: class of a vendor',
    code: 124,
    value: `000010e9 05 ${ascii('S7-15')}`,
    fields: {},
    rows: [
      {
        code: 124,
        code_name: 'Vendor-Identifying Vendor Class',
        enterprise: 4329,
        enterprise_name: 'Siemens',
        vendor_class: 'S7-15',
      },
    ],
  },
];

describe('values of options', () => {
  test.each(OPTIONS)('$what', ({ code, value, fields, rows = [] }) => {
    const result = bench().request(message(type(5) + option(code, value) + END, { op: 2 }));
    expect(result.rows.every((row) => row.status === undefined && row.anomalies === undefined)).toBe(true);
    const { option_length, area, area_name, code: _, code_name, ...rest } = optionRow(result, code)?.fields ?? {};
    expect(code_name).toBe(OPTION_NAMES[code]);
    expect(rest).toEqual(fields);
    expect(result.rows.slice(3).map((row) => row.fields)).toEqual(rows);
  });

  test.each([
    [1, 'ffffff'],
    [3, 'c0a800'],
    [3, ''],
    [19, '02'],
    [25, '0044ff'],
    [33, '0a000000'],
    [51, '000078'],
    [55, ''],
    [61, '01'],
    [81, '0000'],
    [82, '0104ff'],
    [121, '210a000001'],
    [121, '180a'],
    [125, '00000de905'],
  ])('option %i with %s: of a wrong length, kept as bytes', (code, value) => {
    const row = optionRow(bench().request(message(type(5) + option(code, value) + END, { op: 2 })), code);
    expect(row).toMatchObject({ anomalies: ['wrong_length'], fields: { value } });
  });

  test('an option that nobody has assigned is kept as bytes', () => {
    expect(optionRow(bench().request(message(type(1) + option(200, 'c0ffee') + END)), 200)?.fields).toEqual({
      code: 200,
      option_length: 3,
      area: 0,
      area_name: 'options',
      value: 'c0ffee',
    });
  });

  test('names of clients: host name, then FQDN in either writing (RFC 4702, 2.3)', () => {
    const name = (options: string) => said(bench().request(message(type(1) + options + END)))['sender name'];
    expect(name(option(81, `00 0000 ${ascii('plc.example')}`))).toBe('plc.example');
    expect(name(option(81, `04 0000 03 ${ascii('plc')} 07 ${ascii('example')} 00`))).toBe('plc.example');
    expect(name(option(81, `04 0000 03 ${ascii('plc')}`))).toBe('plc');
    expect(name(option(81, '04 0000 ff 41 00 00'))).toBeUndefined();
    expect(name(option(81, `00 0000 ${ascii('plc.example')}`) + option(12, ascii('plc-1')))).toBe('plc-1');
  });

  test('a client identifier with a DUID (RFC 4361, 6.1)', () => {
    const [row] = bench().request(message(type(1) + option(61, 'ff 00000007 0003 0001 001b1b010203') + END)).rows;
    expect(row.fields).toMatchObject({
      client_id_type: 255,
      client_iaid: 7,
      client_duid_type: 3,
      client_duid_type_name: 'link-layer address',
      client_id: '0001001b1b010203',
    });
  });

  test('serial number and product class of TR-069, annex F', () => {
    const value = `000012e9 04 0102abcd 00000de9 16 01 06 ${ascii('001B1B')} 02 05 ${ascii('SN-42')} 03 05 ${ascii('GW-99')}`;
    const result = bench().request(message(type(1) + option(125, value) + END));
    expect(result.rows.slice(3).map((row) => row.fields)).toMatchObject([
      { enterprise: 0x12e9, suboption: 1, value: 'abcd' },
      { enterprise_name: 'Broadband Forum', manufacturer_oui: '001B1B' },
      { serial_number: 'SN-42' },
      { product_class: 'GW-99' },
    ]);
    expect(said(result)).toMatchObject({ 'sender serial': 'SN-42', 'sender model': 'GW-99' });
  });

  test.each([
    ['MSFT 5.0', { description: 'MSFT 5.0' }],
    ['PXEClient:Arch:00000:UNDI:002001', {}],
    [
      'Cisco Systems, Inc. IP Phone CP-7940G',
      { description: 'Cisco Systems, Inc. IP Phone CP-7940G', vendor: 'Cisco Systems, Inc.', model: 'CP-7940G' },
    ],
    ['Hewlett-Packard JetDirect', { description: 'Hewlett-Packard JetDirect', vendor: 'Hewlett-Packard', model: 'JetDirect' }],
  ])('vendor class %s', (text, expected) => {
    expect(Object.fromEntries(vendorClass(text))).toEqual(expected);
  });
});

describe('where options are', () => {
  test('overloaded fields follow the options: file, then sname (RFC 2131, 4.1)', () => {
    const result = bench().request(
      message(type(1) + option(52, '03') + END, {
        file: option(12, ascii('plc-1')) + END,
        sname: option(60, ascii('Example')) + END,
      }),
    );
    expect(result.rows[0]).not.toHaveProperty('anomalies');
    expect(result.rows[0].fields).toMatchObject({
      option_codes: [53, 52, 12, 60],
      overload_name: 'file and sname hold options',
      host_name: 'plc-1',
      vendor_class: 'Example',
    });
    expect(result.rows[0].fields).not.toHaveProperty('file');
    expect(result.rows[0].fields).not.toHaveProperty('sname');
    expect(optionRow(result, 12)?.fields.area_name).toBe('file');
    expect(optionRow(result, 60)?.fields.area_name).toBe('sname');
  });

  test('fields that are not overloaded are text up to NUL', () => {
    const [row] = bench().request(
      message(type(5) + END, { op: 2, sname: `${ascii('boot')}00${ascii('x')}`, file: ascii('a.bin') }),
    ).rows;
    expect(row.fields).toMatchObject({ sname: 'boot', file: 'a.bin' });
  });

  test('a text in parts is joined, over fields as well (RFC 3396, 5)', () => {
    const result = bench().request(
      message(type(1) + option(12, ascii('io-')) + option(52, '01') + option(12, ascii('station')) + END, {
        file: option(12, ascii('-7')) + END,
      }),
    );
    expect(result.rows[0].fields).toMatchObject({
      host_name: 'io-station-7',
      chaddr: '00:1b:1b:01:02:03',
      option_codes: [53, 12, 52, 12, 12],
    });
    const rows = result.rows.filter((row) => row.fields.code === 12);
    expect(rows.map(({ fields }) => fields)).toMatchObject([{ option_length: 12, part_count: 3, text: 'io-station-7' }]);
    expect(said(result)['sender name']).toBe('io-station-7');
  });

  test('routes in parts: cut within a route', () => {
    const result = bench().request(message(type(5) + option(121, '18 0a1b81 0a00') + option(121, '0003') + END, { op: 2 }));
    expect(result.rows.at(-1)?.fields).toMatchObject({ destination: '10.27.129.0', prefix_length: 24, next_hop: '10.0.0.3' });
  });

  test('of a number that is there twice the first counts', () => {
    const result = bench().request(message(type(1) + option(51, '00000001') + option(51, '00000002') + END));
    expect(result.rows[0].fields.lease_time).toBe(1);
    expect(result.rows.at(-1)).toMatchObject({ anomalies: ['repeated_option'], fields: { code: 51, value: '00000002' } });
  });

  test.each([
    ['an overload of 4', option(52, '04'), '', ['invalid_overload']],
    ['an overload in an overloaded field, which is a second one', option(52, '01'), option(52, '02') + END, []],
    ['an overloaded field without End', option(52, '01'), option(12, ascii('x')), ['missing_end']],
  ])('%s', (_, options, file, anomalies) => {
    const { rows } = bench().request(message(type(1) + options + END, { file }));
    expect(rows[0].anomalies ?? []).toEqual(anomalies);
  });

  test('an option longer than the rest is kept as far as it goes, and the message is malformed', () => {
    const result = bench().request(message(`${type(1)}0cff${ascii('plc')}`));
    expect(result.rows[0].status).toBe('malformed');
    expect(optionRow(result, 12)?.fields).toMatchObject({ option_length: 3, value: ascii('plc') });
    expect(said(result)).not.toHaveProperty('sender name');
  });

  test('pads alone end with the bytes; without End it is malformed', () => {
    expect(bench().request(message('00'.repeat(1000))).rows[0].status).toBe('malformed');
    expect(bench().request(message('00'.repeat(1000) + type(1) + END)).rows[0].fields.message_type).toBe(1);
  });

  test('a flood of options is read up to a limit', () => {
    const { rows } = bench().request(message(type(1) + option(200, '').repeat(20_000) + END));
    expect(rows[0].anomalies).toEqual(['too_many_options']);
    expect(rows[0].fields.option_codes).toHaveLength(512);
    expect(rows).toHaveLength(3);
  });
});

describe('BOOTP (RFC 951)', () => {
  const bare = (op: number, yiaddr = '') => message('', { op, yiaddr }).replace('63825363', '00'.repeat(64));

  test('a request without cookie has a header alone', () => {
    const result = bench().request(bare(1));
    expect(result.rows).toHaveLength(1);
    expect(result.rows[0]).toMatchObject({ operation: 'configure', role: 'client' });
    expect(result.rows[0]).not.toHaveProperty('status');
    expect(result.rows[0].fields).not.toHaveProperty('magic_cookie');
  });

  test('its reply gives the receiver an address', () => {
    expect(said(bench().response(bare(2, '0a000007')))).toEqual({ 'receiver ip': '10.0.0.7' });
  });

  test('hardware addresses of other kinds are bytes', () => {
    const [row] = bench().request(message(type(1) + END, { hardware: [7, 1, '2a'] })).rows;
    expect(row.fields).toMatchObject({ htype_name: 'ARCNET', chaddr_bytes: '2a' });
    expect(row.fields).not.toHaveProperty('chaddr');
  });
});

describe('the probe', () => {
  const probe = (text: string) => dhcp.probe(new Reader(fromHex(text)));
  const good = message(type(1) + END);

  test('is sure with the cookie, and takes BOOTP and what was cut on the ports alone', () => {
    expect(probe(good)).toBe(Match.certain);
    expect(probe(good.replace('63825363', '00'.repeat(64)))).toBe(Match.possible);
    expect(probe(good.slice(0, 120))).toBe(Match.possible);
  });

  test.each([
    ['another op', `03${good.slice(2)}`],
    ['hardware type 0', `0100${good.slice(4)}`],
    ['an address of 17 bytes', `010111${good.slice(6)}`],
    ['17 hops', `01010611${good.slice(8)}`],
    ['flags that are zero', `${good.slice(0, 20)}0001${good.slice(24)}`],
    ['another cookie in a short message', good.replace('63825363', '63825364')],
    ['too little', good.slice(0, 20)],
    ['a DNS query', '1234 0100 0001 0000 0000 0000 03777777 076578616d706c65 03636f6d 00 0001 0001'],
  ])('refuses %s', (_, text) => {
    expect(probe(text)).toBe(Match.no);
  });
});
