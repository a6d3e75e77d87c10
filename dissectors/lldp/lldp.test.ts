import { describe, expect, test } from 'vitest';
import { Match, Reader } from '../../src/dissect/index.ts';
import { Bench, fromHex, type TestResult } from '../../src/dissect/testing.ts';
import { siemensDescription, stationOfPort, systemIdentification } from './identity.ts';
import lldp from './lldp.ts';

const bench = () => new Bench([lldp]);
const ascii = (text: string) => Buffer.from(text, 'latin1').toString('hex');
const tlv = (type: number, value: string) => {
  const hex = value.replace(/\s+/g, '');
  return ((type << 9) | (hex.length / 2)).toString(16).padStart(4, '0') + hex;
};
const MANDATORY = tlv(1, '04 001b1b010203') + tlv(2, `05 ${ascii('eth0')}`) + tlv(3, '0078');
const END = '0000';
/** An LLDPDU with the mandatory TLVs around these. */
const pdu = (...tlvs: string[]) => MANDATORY + tlvs.join('') + END;
const said = ({ identities }: TestResult) => Object.fromEntries(identities.map((i) => [i.attribute, i.value]));

/** An S7-1200 as it announces itself. */
const S7_1200 = `
  0251 07 53372d31323030202020202020202020202020202020202020 20 36455337203231342d31414734302d30584230 20 20
  5320562d4b3243313337303720202020 20 2020202037 20 56 2020342020322020 31
  0414 07 706f72742d3030312e706c6378623164306564
  0602 0014
  0829 5369656d656e732c2053494d415449432053372c2045746865726e657420506f72742c205831205031
  0c54 5369656d656e732c2053494d415449432053372c204350552d313230302c2036455337203231342d31414734302d305842302c2048573a20372c20
  46573a20562e342e322e312c205320562d4b32433133373037
  0e04 0084 0084
  1014 05 01 c0a80001 02 00000001 08 2b0601040181c06e
  fe08 000ecf 02 0000 0000
  fe0a 000ecf 05 e0dca03421d4
  fe09 00120f 01 03 6c00 0010
  fe06 00120f 04 05f2
  0000`;

describe('an S7-1200 with PROFINET', () => {
  const result = bench().request(S7_1200);

  test('its own row holds what is there once', () => {
    const [row] = result.rows;
    expect(row).toMatchObject({ record: 'lldp', operation: 'discover' });
    expect(row).not.toHaveProperty('status');
    expect(row).not.toHaveProperty('anomalies');
    expect(row.fields).toMatchObject({
      tlv_types: [1, 2, 3, 4, 6, 7, 8, 127, 127, 127, 127, 0],
      tlv_lengths: [81, 20, 2, 41, 84, 4, 20, 8, 10, 9, 6, 0],
      chassis_id_subtype_name: 'locally assigned',
      port_id: 'port-001.plcxb1d0ed',
      time_to_live: 20,
      port_description: 'Siemens, SIMATIC S7, Ethernet Port, X1 P1',
      system_description: 'Siemens, SIMATIC S7, CPU-1200, 6ES7 214-1AG40-0XB0, HW: 7, FW: V.4.2.1, S V-K2C13707',
      enabled_capabilities: 0x84,
      bridge_enabled: true,
      router_enabled: false,
      station_only_enabled: true,
      management_ipv4: '192.168.0.1',
    });
  });

  test('addresses and the TLVs of organisations are rows of their own', () => {
    expect(result.rows.slice(1).map(({ record, fields }) => [record, fields])).toEqual([
      [
        'lldp_management_address',
        {
          address_length: 5,
          address_subtype: 1,
          address_subtype_name: 'IPv4',
          address_ipv4: '192.168.0.1',
          interface_subtype: 2,
          interface_subtype_name: 'ifIndex',
          interface_number: 1,
          object_id_length: 8,
          object_id: '2b0601040181c06e',
        },
      ],
      [
        'lldp_profinet',
        {
          oui: 0x000ecf,
          oui_name: 'PROFIBUS & PROFINET International',
          subtype: 2,
          subtype_name: 'Port Status',
          rtc2_port_status: 0,
          rtc2_port_status_name: 'OFF',
          rtc3_port_status: 0,
          rtc3_port_status_name: 'OFF',
          rtc3_fragmentation: false,
          rtc3_short_preamble: false,
        },
      ],
      [
        'lldp_profinet',
        {
          oui: 0x000ecf,
          oui_name: 'PROFIBUS & PROFINET International',
          subtype: 5,
          subtype_name: 'Chassis MAC',
          chassis_mac: 'e0:dc:a0:34:21:d4',
        },
      ],
      [
        'lldp_802_3',
        {
          oui: 0x00120f,
          oui_name: 'IEEE 802.3',
          subtype: 1,
          subtype_name: 'MAC/PHY Configuration/Status',
          auto_negotiation: 3,
          auto_negotiation_supported: true,
          auto_negotiation_enabled: true,
          advertised_capabilities: 0x6c00,
          operational_mau_type: 16,
          operational_mau_type_name: '100BASE-TX full duplex',
        },
      ],
      [
        'lldp_802_3',
        { oui: 0x00120f, oui_name: 'IEEE 802.3', subtype: 4, subtype_name: 'Maximum Frame Size', maximum_frame_size: 1522 },
      ],
    ]);
  });

  test('each attribute is stated once, from the surest field', () => {
    expect(said(result)).toEqual({
      name: 'plcxb1d0ed',
      description: 'Siemens, SIMATIC S7, CPU-1200, 6ES7 214-1AG40-0XB0, HW: 7, FW: V.4.2.1, S V-K2C13707',
      vendor: 'Siemens',
      model: 'CPU-1200',
      order_code: '6ES7 214-1AG40-0XB0',
      hardware: '7',
      firmware: 'V4.2.1',
      serial: 'S V-K2C13707',
      mac: 'e0:dc:a0:34:21:d4',
      ip: '192.168.0.1',
      device_type: 'Bridge, Station only',
    });
    expect(result.identities).toHaveLength(11);
    expect(result.identities.every(({ side, part }) => side === 'sender' && part === '')).toBe(true);
  });

  test('cut at any length it says so, and states no half value', () => {
    const bytes = fromHex(S7_1200);
    const whole = said(result);
    for (let size = 2; size < bytes.length; size++) {
      const captured = bench().send(0, bytes.slice(0, size), { complete: false });
      expect(captured.rows[0].status, `${size} bytes`).toBe('truncated');
      const { model, ...certain } = said(captured);
      // Before the description has come, the chassis ID alone gives a coarser model.
      if (model !== undefined) expect(['CPU-1200', 'S7-1200']).toContain(model);
      expect(whole, `${size} bytes`).toMatchObject(certain);
      expect(bench().send(0, bytes.slice(0, size)).rows[0].status, `${size} bytes`).toBe('malformed');
    }
  });
});

/** One TLV, the row that it gives (without organisation and subtype). */
const TLVS: { what: string; tlv: string; record: string; fields: Record<string, unknown> }[] = [
  {
    what: 'IEEE 802.1Q, D.2.1 port VLAN ID',
    tlv: tlv(127, '0080c2 01 0064'),
    record: 'lldp_802_1',
    fields: { port_vlan_id: 100 },
  },
  {
    what: 'IEEE 802.1Q, D.2.2 port and protocol VLAN ID',
    tlv: tlv(127, '0080c2 02 06 0007'),
    record: 'lldp_802_1',
    fields: {
      port_and_protocol_flags: 6,
      port_and_protocol_supported: true,
      port_and_protocol_enabled: true,
      port_and_protocol_vlan_id: 7,
    },
  },
  {
    what: 'IEEE 802.1Q, D.2.3 VLAN name',
    tlv: tlv(127, `0080c2 03 01e8 0e ${ascii('v2-0488-03-050')}`),
    record: 'lldp_802_1',
    fields: { vlan_id: 488, vlan_name_length: 14, vlan_name: 'v2-0488-03-050' },
  },
  {
    what: 'IEEE 802.1Q, D.2.4 protocol identity (LLDP)',
    tlv: tlv(127, '0080c2 04 02 88cc'),
    record: 'lldp_802_1',
    fields: { protocol_identity_length: 2, protocol_identity: '88cc' },
  },
  {
    what: 'IEEE 802.1Q, D.2.5 VID usage digest',
    tlv: tlv(127, '0080c2 05 deadbeef'),
    record: 'lldp_802_1',
    fields: { vid_usage_digest: 0xdeadbeef },
  },
  {
    what: 'IEEE 802.1Q, D.2.6 management VID',
    tlv: tlv(127, '0080c2 06 0fa0'),
    record: 'lldp_802_1',
    fields: { management_vid: 4000 },
  },
  {
    what: 'IEEE 802.1Q, D.2.7 link aggregation',
    tlv: tlv(127, '0080c2 07 03 00000009'),
    record: 'lldp_802_1',
    fields: { aggregation_status: 3, aggregation_capable: true, aggregation_enabled: true, aggregated_port_id: 9 },
  },
  {
    what: 'IEEE 802.1Q, D.2.9 ETS configuration',
    tlv: tlv(127, '0080c2 09 83 01234567 0a0a0a0a0f0f0f0f 0202020200000000'),
    record: 'lldp_802_1',
    fields: {
      willing: true,
      credit_based_shaper: false,
      maximum_traffic_classes: 3,
      priority_assignment: [0, 1, 2, 3, 4, 5, 6, 7],
      bandwidths: [10, 10, 10, 10, 15, 15, 15, 15],
      selection_algorithms: [2, 2, 2, 2, 0, 0, 0, 0],
    },
  },
  {
    what: 'IEEE 802.1Q, D.2.11 priority-based flow control',
    tlv: tlv(127, '0080c2 0b 48 0c'),
    record: 'lldp_802_1',
    fields: { willing: false, macsec_bypass: true, flow_control_classes: 8, flow_control_priorities: 12 },
  },
  {
    what: 'IEEE 802.1Q, D.2.12 application priority (FCoE, iSCSI)',
    tlv: tlv(127, '0080c2 0c 00 618906 820cbc'),
    record: 'lldp_802_1',
    fields: { application_priorities: [3, 4], application_selectors: [1, 2], application_protocols: [0x8906, 3260] },
  },
  {
    what: 'IEEE 802.3, 79.3.2 power via MDI with what IEEE 802.3at added',
    tlv: tlv(127, '00120f 02 07 01 05 52 0082 00ff'),
    record: 'lldp_802_3',
    fields: {
      mdi_power_support: 7,
      is_power_source: true,
      mdi_power_supported: true,
      mdi_power_enabled: true,
      pairs_controllable: false,
      power_pair: 1,
      power_pair_name: 'signal',
      power_class: 5,
      power_class_name: 'class 4 and above',
      power_type: 1,
      power_type_name: 'type 2 PD',
      power_source: 1,
      power_priority: 2,
      power_priority_name: 'high',
      requested_power: 130,
      allocated_power: 255,
    },
  },
  {
    what: 'IEEE 802.3, 79.3.3 link aggregation',
    tlv: tlv(127, '00120f 03 01 00000000'),
    record: 'lldp_802_3',
    fields: { aggregation_status: 1, aggregation_capable: true, aggregation_enabled: false, aggregated_port_id: 0 },
  },
  {
    what: 'IEEE 802.3, 79.3.5 energy-efficient Ethernet',
    tlv: tlv(127, '00120f 05 0011 0012 0013 0014 0015'),
    record: 'lldp_802_3',
    fields: {
      transmit_wake_time: 17,
      receive_wake_time: 18,
      fallback_receive_wake_time: 19,
      echo_transmit_wake_time: 20,
      echo_receive_wake_time: 21,
    },
  },
  {
    what: 'TIA-1057, 10.2.2 capabilities',
    tlv: tlv(127, '0012bb 01 0033 03'),
    record: 'lldp_med',
    fields: { capabilities: 0x33, device_class: 3, device_class_name: 'Endpoint Class III' },
  },
  {
    what: 'TIA-1057, 10.2.3 network policy, as a ProCurve switch sends it',
    tlv: tlv(127, '0012bb 02 01 4065ae'),
    record: 'lldp_med',
    fields: {
      application: 1,
      application_name: 'Voice',
      policy_unknown: false,
      tagged: true,
      vlan_id: 50,
      priority: 6,
      dscp: 46,
    },
  },
  {
    // 38.89868° and 77.03723° west in 34 bits with 25 binary places, 15 m in 30 bits with 8 of them.
    what: 'RFC 6225, appendix B.1: the White House',
    tlv: tlv(127, '0012bb 03 01 484dcc1fc8 4b65ecf030 1440000f00 01'),
    record: 'lldp_med',
    fields: {
      location_format: 1,
      location_format_name: 'coordinate-based LCI',
      latitude: expect.closeTo(38.89868, 4),
      latitude_resolution: 18,
      longitude: expect.closeTo(-77.03723, 4),
      longitude_resolution: 18,
      altitude_type: 1,
      altitude_type_name: 'meters',
      altitude: 15,
      altitude_resolution: 17,
      datum: 1,
      datum_name: 'WGS 84',
    },
  },
  {
    what: 'TIA-1057, 10.2.4 emergency call number',
    tlv: tlv(127, `0012bb 03 03 ${ascii('12025550100')}`),
    record: 'lldp_med',
    fields: { location_format: 3, location_format_name: 'ECS ELIN', elin: '12025550100' },
  },
  {
    what: 'TIA-1057, 10.2.5 extended power via MDI',
    tlv: tlv(127, '0012bb 04 03 0041'),
    record: 'lldp_med',
    fields: { power_type: 0, power_type_name: 'PSE', power_source: 0, power_priority: 3, power_priority_name: 'low', power: 65 },
  },
  {
    what: 'IEC 61158-6-10 measured delay values, as an S7-1500 sends them',
    tlv: tlv(127, '000ecf 01 00000139 00000000 00000029 00000000 00000000'),
    record: 'lldp_profinet',
    fields: {
      port_rx_delay_local: 313,
      port_rx_delay_remote: 0,
      port_tx_delay_local: 41,
      port_tx_delay_remote: 0,
      cable_delay_local: 0,
    },
  },
  {
    what: 'IEC 61158-6-10 alias',
    tlv: tlv(127, `000ecf 03 ${ascii('port-001.plc-1')}`),
    record: 'lldp_profinet',
    fields: { alias_name: 'port-001.plc-1' },
  },
  {
    what: 'IEC 61158-6-10 MRP port status',
    tlv: tlv(127, '000ecf 04 ffffffffffffffffffffffffffffffff 0001'),
    record: 'lldp_profinet',
    fields: { mrp_domain_uuid: 'ff'.repeat(16), mrrt_port_status: 1, mrrt_port_status_name: 'CONFIGURED' },
  },
  {
    what: 'IEC 61158-6-10 PTCP status',
    tlv: tlv(127, `000ecf 06 001b1b010203 ${'11'.repeat(16)} ${'22'.repeat(16)} 800f4240 00000000 8003d090 80000001`),
    record: 'lldp_profinet',
    fields: {
      master_source_mac: '00:1b:1b:01:02:03',
      subdomain_uuid: '11'.repeat(16),
      ir_data_uuid: '22'.repeat(16),
      period_length_valid: true,
      period_length: 1_000_000,
      red_period_begin_valid: false,
      red_period_begin: 0,
      orange_period_begin_valid: true,
      orange_period_begin: 250_000,
      green_period_begin_valid: true,
      green_period_begin: 1,
    },
  },
  {
    what: 'RFC 8520, 11: a MUD URL',
    tlv: tlv(127, `00005e 01 ${ascii('https://example.com/mud.json')}`),
    record: 'lldp_tlv',
    fields: { tlv_type: 127, tlv_type_name: 'Organizationally Specific', mud_url: 'https://example.com/mud.json' },
  },
  {
    what: 'an organisation that is not read',
    tlv: tlv(127, '123456 09 abcdef'),
    record: 'lldp_tlv',
    fields: { tlv_type: 127, tlv_type_name: 'Organizationally Specific', value: 'abcdef' },
  },
];

describe('the TLVs of organisations', () => {
  test.each(TLVS)('$what', ({ tlv, record, fields }) => {
    const { rows } = bench().request(pdu(tlv));
    expect(rows).toHaveLength(2);
    expect(rows[0]).not.toHaveProperty('status');
    expect(rows[1]).not.toHaveProperty('anomalies');
    const { oui, oui_name, subtype, subtype_name, ...rest } = rows[1].fields;
    expect(rows[1].record).toBe(record);
    expect(rest).toEqual(fields);
  });

  test.each(TLVS)('$what, a byte short: the TLV is malformed or shorter, and the next is read', ({ tlv: whole, record }) => {
    const value = whole.slice(4, -2);
    const { rows } = bench().request(pdu(tlv(127, value), tlv(5, ascii('next'))));
    expect(rows[0].fields.system_name).toBe('next');
    expect(rows[1].record).toBe(record);
  });

  test('a civic address is a row a part, and a location', () => {
    const result = bench().request(
      pdu(tlv(127, '0012bb 03 02 28 02 5553 01024341 0309526f736576696c6c65 0609466f6f7468696c6c73 130438303030 1a0352334c')),
    );
    expect(result.rows.slice(2).map(({ fields }) => [fields.element_name, fields.element_value])).toEqual([
      ['state or province', 'CA'],
      ['city', 'Roseville'],
      ['street', 'Foothills'],
      ['house number', '8000'],
      ['unit', 'R3L'],
    ]);
    expect(result.rows[1].fields).toMatchObject({ civic_length: 40, civic_subject_name: 'client', country: 'US' });
    expect(said(result).location).toBe('CA, Roseville, Foothills, 8000, R3L');
  });

  test('the inventory of TIA-1057 is who the device is (10.2.6)', () => {
    const texts = ['HW 3', 'FW 1.2', 'SW 4.5', 'SN-0815', 'Example', 'Phone 7', 'A-42'];
    const result = bench().request(
      pdu(...texts.map((text, i) => tlv(127, `0012bb ${(i + 5).toString(16).padStart(2, '0')} ${ascii(text)}`))),
    );
    expect(said(result)).toEqual({
      mac: '00:1b:1b:01:02:03',
      hardware: 'HW 3',
      firmware: 'FW 1.2',
      application: 'SW 4.5',
      serial: 'SN-0815',
      vendor: 'Example',
      model: 'Phone 7',
    });
    expect(result.rows.at(-1)?.fields).toMatchObject({ subtype_name: 'Asset ID', asset_id: 'A-42' });
  });

  test('features of DCBX before IEEE 802.1Qaz are rows', () => {
    const { rows } = bench().request(pdu(tlv(127, '001b21 02 020a 00 00 00000005 00000006 0606 00 00 c0 00 0c08')));
    expect(rows.slice(1).map(({ fields }) => fields)).toMatchObject([
      { protocol_name: 'CEE', feature_name: 'Control', sequence_number: 5, acknowledge_number: 6 },
      { feature_name: 'Priority-based Flow Control', enabled: true, willing: true, error: false, value: '0c08' },
    ]);
  });
});

describe('identifiers of other kinds (8.5.2, 8.5.3)', () => {
  test.each([
    ['network address', '05 01 0a000001', { chassis_id_ipv4: '10.0.0.1' }],
    ['network address', '05 02 20010db8000000000000000000000001', { chassis_id_ipv6: '2001:db8::1' }],
    ['MAC address', '04 001b1b0102', { chassis_id_bytes: '001b1b0102' }],
    ['interface name', `06 ${ascii('eth0')}`, { chassis_id: 'eth0' }],
  ])('chassis ID %s %s', (kind, value, fields) => {
    const [row] = bench().request(tlv(1, value) + tlv(2, '03 001b1b010204') + tlv(3, '0078') + END).rows;
    expect(row.fields).toMatchObject({ chassis_id_subtype_name: kind, port_id_mac: '00:1b:1b:01:02:04', ...fields });
  });

  test('a shutdown takes all back (8.5.4.2)', () => {
    const [row] = bench().request(tlv(1, '04 001b1b010203') + tlv(2, '03 001b1b010204') + tlv(3, '0000') + END).rows;
    expect(row.fields.time_to_live).toBe(0);
    expect(row).not.toHaveProperty('status');
  });

  test('a group address is nobody’s chassis, and 0.0.0.0 nobody’s address', () => {
    const result = bench().request(
      tlv(1, '04 0180c200000e') + tlv(2, '03 001b1b010204') + tlv(3, '0078') + tlv(8, '05 01 00000000 02 00000001 00') + END,
    );
    expect(result.identities).toEqual([]);
  });
});

describe('what is wrong', () => {
  test.each([
    ['port ID before chassis ID', tlv(2, '0541') + tlv(1, '04 001b1b010203') + tlv(3, '0078') + END, 'missing_mandatory_tlv'],
    ['no time to live', tlv(1, '04 001b1b010203') + tlv(2, '0541') + END, 'missing_mandatory_tlv'],
    ['a second system name', pdu(tlv(5, ascii('one')), tlv(5, ascii('two'))), 'repeated_tlv'],
    ['bytes behind the time to live', tlv(1, '04 001b1b010203') + tlv(2, '0541') + tlv(3, '007800') + END, 'wrong_length'],
    ['an End with a value', `${MANDATORY}0001ff`, 'wrong_length'],
  ])('%s', (_, hex, anomaly) => {
    const [row] = bench().request(hex).rows;
    expect(row.anomalies).toEqual([anomaly]);
  });

  test('of two system names the first counts', () => {
    const result = bench().request(pdu(tlv(5, ascii('one')), tlv(5, ascii('two'))));
    expect(result.rows[0].fields.system_name).toBe('one');
    expect(said(result).name).toBe('one');
  });

  test('a reserved type is kept and named', () => {
    const { rows } = bench().request(pdu(tlv(42, 'cafe')));
    expect(rows[1]).toMatchObject({
      record: 'lldp_tlv',
      anomalies: ['reserved_tlv_type'],
      fields: { tlv_type: 42, value: 'cafe' },
    });
  });

  test('a management address whose lengths lie stays within its TLV', () => {
    const { rows } = bench().request(pdu(tlv(8, 'ff 01 0a000001'), tlv(8, '00 01'), tlv(5, ascii('next'))));
    expect(rows[1]).toMatchObject({ status: 'malformed', fields: { address_bytes: '0a000001' } });
    expect(rows[2].anomalies).toEqual(['wrong_length']);
    expect(rows[0].fields.system_name).toBe('next');
  });

  test('without End nobody can say that it is whole', () => {
    expect(bench().request(MANDATORY).rows[0].status).toBe('malformed');
  });

  test('TLVs without value end with the bytes', () => {
    const { rows } = bench().request(`${MANDATORY}${'5400'.repeat(700)}${END}`);
    expect(rows).toHaveLength(701);
  });
});

test('the probe is sure of a chassis ID alone', () => {
  const probe = (hex: string) => lldp.probe(new Reader(fromHex(hex)));
  expect(probe(S7_1200)).toBe(Match.certain);
  expect(probe('00')).toBe(Match.no);
  expect(probe(`${'ff'.repeat(20)}`)).toBe(Match.possible);
});

describe('texts of known form', () => {
  test.each([
    [
      'Siemens, SIMATIC S7, CPU 1515-2 PN, 6ES7 515-2AM01-0AB0, HW: Version 3, FW: Version V2.6.0, S C-L5CM77762019',
      {
        model: 'CPU 1515-2 PN',
        order_code: '6ES7 515-2AM01-0AB0',
        hardware: '3',
        firmware: 'V2.6.0',
        serial: 'S C-L5CM77762019',
      },
    ],
    [
      'Siemens, SIMATIC HMI, KTP700 Basic, 6AV2 123-2GB03-0AX0, HW:0, SW.V 13.0.1',
      { model: 'KTP700 Basic', order_code: '6AV2 123-2GB03-0AX0', hardware: '0', firmware: 'V13.0.1' },
    ],
    [
      'Siemens, SIMATIC S7, CPU315-2 PN/DP, 6ES7 315-2EH14-0AB0, HW: 1, FW: V3.2.6',
      { model: 'CPU315-2 PN/DP', order_code: '6ES7 315-2EH14-0AB0', hardware: '1', firmware: 'V3.2.6' },
    ],
  ])('%s', (description, expected) => {
    expect(Object.fromEntries(siemensDescription(description))).toEqual({ vendor: 'Siemens', ...expected });
  });

  test.each([
    'Siemens AG SIMATIC S7 MULTIPORT SCALANCE X 200 FAM',
    'Siemens, something, else',
    'Example, SIMATIC S7, CPU-1200, 6ES7 214-1AG40-0XB0, HW: 7',
    'Cisco IOS Software, C3560 Software (C3560-ADVIPSERVICESK9-M), Version 12.2(44)SE',
    '',
  ])('not taken apart: %s', (description) => {
    expect(siemensDescription(description)).toEqual([]);
  });

  test('system identification (IEC 61158-6-10)', () => {
    const text = `${'S7-1500'.padEnd(25)} ${'6ES7 515-2AM01-0AB0'.padEnd(20)} ${'S C-L5CM77762019'.padEnd(16)} ${'3'.padStart(5)} V  2  6  0`;
    expect(Object.fromEntries(systemIdentification(text) ?? [])).toEqual({
      model: 'S7-1500',
      order_code: '6ES7 515-2AM01-0AB0',
      serial: 'S C-L5CM77762019',
      hardware: '3',
      firmware: 'V2.6.0',
    });
    expect(systemIdentification('siemens-x208-switch')).toBeNull();
    expect(systemIdentification('x'.repeat(80))).toBeNull();
  });

  test('name of station behind a port ID', () => {
    expect(stationOfPort('port-001.plc-1')).toBe('plc-1');
    expect(stationOfPort('port-001-00002.io.cell-4')).toBe('io.cell-4');
    expect(stationOfPort('port-001')).toBe('');
  });

  test('a name of station is the chassis ID only in PROFINET', () => {
    const frame = (...tlvs: string[]) =>
      tlv(1, `07 ${ascii('pn-device')}`) + tlv(2, `07 ${ascii('port-001')}`) + tlv(3, '0014') + tlvs.join('') + END;
    expect(said(bench().request(frame(tlv(127, '000ecf 02 00000000')))).name).toBe('pn-device');
    expect(said(bench().request(frame())).name).toBeUndefined();
  });
});
