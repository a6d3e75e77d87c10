import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ot_sensor } from '../proto/facts.js';
import { Inventory } from './inventory.ts';
import { endpoint, Script, Stored } from './testing.ts';

const PLC = '00:1b:1b:00:00:01';
const HMI = '00:50:56:00:00:02';
const ROUTER = '00:00:0c:12:34:56';

function run(write: (script: Script) => void, options: ConstructorParameters<typeof Inventory>[0] = {}) {
  const inventory = new Inventory(options);
  inventory.begin(1);
  write(new Script(inventory));
  const stored = new Stored().drain(inventory);
  return { inventory, stored, summary: stored.summary(), kinds: stored.events.map((e) => e.kind) };
}

describe('what a device is', () => {
  test('a new device, with the packet that showed it', () => {
    const { stored } = run((s) => s.sees(`${PLC}/10.0.0.5`, 'arp'));
    expect(stored.summary()).toEqual([`${PLC} 10.0.0.5 unknown`]);
    expect(stored.events).toMatchObject([
      { kind: 'device_detected', frame: 1, device_id: 1, details: { ip: '10.0.0.5', mac: PLC } },
    ]);
  });

  test('group, broadcast, zero and unspecified addresses are none', () => {
    const { summary } = run((s) =>
      s
        .sees('ff:ff:ff:ff:ff:ff/255.255.255.255')
        .sees('01:00:5e:00:00:fb/224.0.0.251')
        .sees('33:33:00:00:00:01/[ff02::1]')
        .sees('ff:ff:ff:ff:ff:ff/10.0.0.255')
        .sees('00:00:00:00:00:00/0.0.0.0'),
    );
    expect(summary).toEqual([]);
  });

  test('an ARP probe shows the MAC, and the announcement its address', () => {
    const { summary, kinds } = run((s) => s.sees(`${PLC}/0.0.0.0`, 'arp').sees(`${PLC}/10.0.0.5`, 'arp'));
    expect(summary).toEqual([`${PLC} 10.0.0.5 unknown`]);
    expect(kinds).toEqual(['device_detected']);
  });

  test('who is only talked to is no device: a scan leaves none behind', () => {
    const { summary, stored } = run((s) => {
      s.sees(`${HMI}/10.0.0.2`);
      for (let i = 1; i <= 50; i++) s.opens(i, `${HMI}/10.0.0.2:5000`, `${ROUTER}/10.9.0.${i}:502`).carries(i, '', 1, 0);
    });
    expect(summary).toEqual([`${HMI} 10.0.0.2 unknown`]);
    expect(stored.connections.size).toBe(50);
    expect([...stored.connections.values()].every((c) => c.responder_device === null && c.opener_device === 1)).toBe(true);
  });

  test('the same MAC in two segments is two, unless it has the same address', () => {
    const two = run((s) => s.sees(`${PLC}/10.0.0.5`, 'arp', 10).sees(`${PLC}/10.1.0.5`, 'arp', 20));
    expect(two.summary).toEqual([`10:${PLC} 10.0.0.5 unknown`, `20:${PLC} 10.1.0.5 unknown`]);
    const one = run((s) => s.sees(`${PLC}/10.0.0.5`, 'arp', 10).sees(`${PLC}/10.0.0.5`, 'arp'));
    expect(one.summary).toEqual([`${PLC}/10:${PLC} 10.0.0.5 unknown`]);
    const priority = run((s) => s.sees(`${PLC}/10.0.0.5`, 'arp', 0).sees(`${PLC}/10.0.0.5`, 'arp'));
    expect(priority.summary).toEqual([`${PLC} 10.0.0.5 unknown`]);
  });

  test('without MAC the address is the device', () => {
    const { summary } = run((s) => s.sees('10.0.0.5').sees('10.0.0.6').sees('10.0.0.5').sees('[fe80::1]'));
    expect(summary).toEqual(['- 10.0.0.5 unknown', '- 10.0.0.6 unknown', '- fe80::1 unknown']);
  });
});

describe('addresses change', () => {
  // cases.md 97
  test('DHCP renewal: another address and host name at the same MAC are history', () => {
    const { stored, summary } = run((s) =>
      s
        .sees(`${HMI}/10.0.0.20`, 'dhcp')
        .says(`${HMI}/10.0.0.20`, 'name', 'desk-1', 'dhcp')
        .sees(`${HMI}/10.0.0.21`, 'dhcp')
        .says(`${HMI}/10.0.0.21`, 'name', 'desk-2', 'dhcp'),
    );
    expect(summary).toEqual([`${HMI} 10.0.0.21 unknown`]);
    expect([...stored.addresses.values()].map((a) => [a.ip, a.current, a.first_frame])).toEqual([
      ['10.0.0.20', false, 1],
      ['10.0.0.21', true, 3],
    ]);
    expect([...stored.attributes.values()].map((a) => [a.value, a.current, a.preferred])).toEqual([
      ['desk-1', false, false],
      ['desk-2', true, true],
    ]);
    expect(stored.devices.get(1)).toMatchObject({ ip: '10.0.0.21', name: 'desk-2' });
    expect(stored.events.map((e) => [e.kind, e.frame])).toEqual([
      ['device_detected', 1],
      ['address_changed', 3],
      ['attribute_changed', 4],
    ]);
  });

  test('an address announced by another MAC moves; what the first one said of itself stays with it', () => {
    const { stored } = run((s) =>
      s.sees(`${PLC}/10.0.0.5`, 'arp').says(`${PLC}/10.0.0.5`, 'model', 'CPU 315', 's7comm').sees(`${HMI}/10.0.0.5`, 'arp'),
    );
    expect(stored.summary()).toEqual([`${PLC}  plc`, `${HMI} 10.0.0.5 unknown`].sort());
    expect(stored.devices.get(1)).toMatchObject({ model: 'CPU 315' });
    expect(stored.events.at(-1)).toMatchObject({ kind: 'address_changed', device_id: 2, details: { former_device: 1 } });
  });

  test('an engineering laptop with several addresses it announces is no router; those it goes on using are current', () => {
    const { summary } = run((s) =>
      s
        .sees(`${HMI}/10.0.0.20`, 'arp')
        .sees(`${HMI}/192.168.1.20`, 'arp')
        .sees(`${HMI}/172.16.0.9`, 'arp')
        .sees(`${HMI}/10.0.0.20`),
    );
    expect(summary).toEqual([`${HMI} 10.0.0.20 172.16.0.9 unknown`]);
  });

  test('IPv6 beside IPv4, with several addresses of one prefix, is one host', () => {
    const { summary } = run((s) => {
      s.sees(`${HMI}/10.0.0.20`, 'arp').sees(`${HMI}/[fe80::1]`);
      for (let i = 1; i < 9; i++) s.sees(`${HMI}/[2001:db8::${i}]`);
    });
    expect(summary).toHaveLength(1);
  });
});

describe('routers', () => {
  const behind = ['10.1.0.5', '10.2.0.7', '10.3.0.9'];

  test('addresses that were ascribed to a router become devices of their own, with what was said of them', () => {
    const { stored, summary } = run((s) => {
      s.sees(`${ROUTER}/10.0.0.1`, 'arp').sees(`${HMI}/10.0.0.2`, 'arp');
      s.opens(1, `${HMI}/10.0.0.2:4000`, `${ROUTER}/10.1.0.5:102`)
        .sees(`${ROUTER}/10.1.0.5`)
        .carries(1, 's7comm', 3, 3)
        .does(1, 'client', 's7comm', 'read')
        .does(1, 'server', 's7comm', 'read');
      s.says(`${ROUTER}/10.1.0.5`, 'serial', 'S C-1234567', 's7comm');
      for (const ip of behind) s.sees(`${ROUTER}/${ip}`);
    });
    expect(summary).toEqual([
      '- 10.1.0.5 plc',
      '- 10.2.0.7 unknown',
      '- 10.3.0.9 unknown',
      `${ROUTER} 10.0.0.1 router`,
      `${HMI} 10.0.0.2 hmi`,
    ].sort()); // biome-ignore format: a list
    const plc = [...stored.devices.values()].find((d) => d.ip === '10.1.0.5');
    expect(plc).toMatchObject({ serial: 'S C-1234567', type: 'plc', purdue_level: 1 });
    const router = [...stored.devices.values()].find((d) => d.router);
    expect(router).toMatchObject({ serial: '', ip: '10.0.0.1' });
    expect([...stored.connections.values()]).toMatchObject([{ responder_device: plc?.id }]);
    expect(stored.events.find((e) => e.kind === 'router_recognised')).toMatchObject({ device_id: router?.id });
    expect([...stored.addresses.values()].find((a) => a.ip === '10.1.0.5')).toMatchObject({ mac: '', via_mac: ROUTER });
  });

  test('what was already stored of them follows', () => {
    const inventory = new Inventory();
    const s = new Script(inventory).sees(`${ROUTER}/10.1.0.5`);
    inventory.drain();
    s.sees(`${ROUTER}/10.2.0.7`);
    const { reassignments, device_resets } = inventory.drain();
    expect(reassignments).toEqual([{ from: 1, to: 2, ip: '10.1.0.5' }]);
    expect(device_resets).toEqual([1]);
  });

  test('four addresses of one network that never spoke for themselves', () => {
    const { summary } = run((s) => {
      for (let i = 1; i <= 3; i++) s.sees(`${ROUTER}/10.0.0.${i}`);
    });
    expect(summary).toEqual([`${ROUTER} 10.0.0.1 10.0.0.2 10.0.0.3 unknown`]);
    expect(
      run((s) => {
        for (let i = 1; i <= 4; i++) s.sees(`${ROUTER}/10.0.0.${i}`);
      }).summary,
    ).toHaveLength(5);
  });

  test('its own address, announced later, comes back to it', () => {
    const { summary, kinds } = run((s) => {
      for (const ip of behind) s.sees(`${ROUTER}/${ip}`);
      s.sees(`${ROUTER}/10.1.0.5`, 'arp');
    });
    expect(summary).toEqual([`${ROUTER} 10.1.0.5 router`, '- 10.2.0.7 unknown', '- 10.3.0.9 unknown'].sort());
    expect(kinds).toContain('devices_merged');
  });

  test('a mirror on both sides of a router shows each host once, whichever packet comes first', () => {
    const routed = (s: Script) => {
      for (const ip of behind) s.sees(`${ROUTER}/${ip}`, 'traffic', 20);
    };
    const direct = (s: Script) => s.sees(`${PLC}/10.1.0.5`, 'arp', 10);
    const one = run((s) => {
      routed(s);
      direct(s);
    });
    const other = run((s) => {
      direct(s);
      routed(s);
    });
    const expected = [`10:${PLC} 10.1.0.5 unknown`, `20:${ROUTER}  router`, '- 10.2.0.7 unknown', '- 10.3.0.9 unknown'].sort();
    expect(one.summary).toEqual(expected);
    expect(other.summary).toEqual(expected);
  });

  test('a router that never spoke ARP keeps its own address: the one among the hosts it is met with', () => {
    const { summary } = run((s) => {
      s.sees(`${HMI}/192.168.1.20`);
      for (const ip of ['192.168.1.1', '10.1.0.5', '10.2.0.7']) s.sees(`${ROUTER}/${ip}`);
      s.sees(`${ROUTER}/192.168.1.1`);
    });
    expect(summary).toEqual(
      [`${HMI} 192.168.1.20 unknown`, `${ROUTER} 192.168.1.1 router`, '- 10.1.0.5 unknown', '- 10.2.0.7 unknown'].sort(),
    );
  });

  test('an address that is the router’s own in another segment stays with it', () => {
    const { summary } = run((s) => {
      s.sees(`${ROUTER}/10.1.0.1`, 'arp', 10)
        .sees(`${ROUTER}/10.1.0.1`, 'traffic', 20)
        .says(`${ROUTER}/10.1.0.1`, 'name', 'core', 'snmp', '', 20);
      for (const ip of behind) s.sees(`${ROUTER}/${ip}`, 'traffic', 20);
    });
    expect(summary).toEqual(
      [`10:${ROUTER}/20:${ROUTER} 10.1.0.1 router`, '- 10.1.0.5 unknown', '- 10.2.0.7 unknown', '- 10.3.0.9 unknown'].sort(),
    );
  });

  test('a mirror of one leg only: the MAC that requests are sent to is not who answers', () => {
    const { summary, stored } = run((s) => {
      s.sees(`${HMI}/10.0.0.2`)
        .opens(1, `${HMI}/10.0.0.2:4000`, `${ROUTER}/10.1.0.5:502`)
        .sees(`${PLC}/10.1.0.5`)
        .carries(1, 'modbus', 2, 2);
    });
    expect(summary).toEqual([`${HMI} 10.0.0.2 hmi`, `${PLC} 10.1.0.5 plc`].sort());
    expect([...stored.connections.values()]).toMatchObject([{ opener_device: 1, responder_device: 2 }]);
  });

  test('the two directions of a routed conversation in different segments', () => {
    const { summary, stored } = run((s) => {
      s.sees(`${HMI}/10.0.0.2`).opens(1, `${HMI}/10.0.0.2:4000`, `${ROUTER}/10.1.0.5:502`);
      s.sees(`${PLC}/10.1.0.5`, 'traffic', 20).carries(1, 'modbus', 2, 2).does(1, 'server', 'modbus', 'read');
    });
    expect(summary).toEqual([`${HMI} 10.0.0.2 hmi`, `20:${PLC} 10.1.0.5 plc`].sort());
    expect([...stored.connections.values()]).toMatchObject([{ opener_device: 1, responder_device: 2 }]);
  });

  test('the address of a redundancy group is no device’s own MAC', () => {
    const vrrp = '00:00:5e:00:01:05';
    const { summary, stored } = run((s) =>
      s.sees(`${ROUTER}/10.0.0.2`, 'arp').sees(`${vrrp}/10.0.0.1`, 'arp').sees(`${vrrp}/10.7.0.9`),
    );
    expect(summary).toEqual(['- 10.0.0.1 router', '- 10.7.0.9 unknown', `${ROUTER} 10.0.0.2 unknown`].sort());
    expect([...stored.devices.values()].find((d) => d.ip === '10.0.0.1')?.type_reason).toBe('address of VRRP group 5');
  });
});

describe('what a device says of itself', () => {
  test('a protocol’s identity goes before the network’s and the MAC’s; all are kept with their evidence', () => {
    const { stored } = run(
      (s) =>
        s
          .sees(`${PLC}/10.0.0.5`, 'arp')
          .says(`${PLC}`, 'name', 'port-1', 'lldp')
          .says(`${PLC}/10.0.0.5`, 'vendor', 'Schneider Electric', 'modbus')
          .says(`${PLC}/10.0.0.5`, 'name', 'from-dhcp', 'dhcp'),
      { vendorOf: () => 'Siemens AG' },
    );
    expect(stored.devices.get(1)).toMatchObject({ vendor: 'Schneider Electric', name: 'port-1' });
    const vendors = [...stored.attributes.values()].filter((a) => a.attribute === 'vendor');
    expect(vendors).toMatchObject([
      { value: 'Siemens AG', app_proto: 'mac', field: 'oui', preferred: false, current: true, first_frame: 1 },
      {
        value: 'Schneider Electric',
        app_proto: 'modbus',
        field: 'modbus.vendor',
        preferred: true,
        current: true,
        first_frame: 3,
      },
    ]);
  });

  test('what a single unit says of itself is said of the device', () => {
    const { stored } = run(
      (s) =>
        s
          .sees(`${PLC}/10.0.0.5`)
          .says(`${PLC}/10.0.0.5`, 'vendor', 'WAGO', 'modbus', 'unit 1')
          .says(`${PLC}/10.0.0.5`, 'model', '750-8212', 'modbus', 'unit 1'),
      { vendorOf: () => 'Some Network Card Maker' },
    );
    expect(stored.devices.get(1)).toMatchObject({ vendor: 'WAGO', model: '750-8212', gateway: false });
  });

  test('an address leased by DHCP is bound before it is used', () => {
    const { summary } = run((s) =>
      s.sees(`${HMI}/10.0.0.20`, 'arp').says(`${HMI}`, 'ip', '10.0.0.21', 'dhcp').says(`${HMI}`, 'ip', 'x.y', 'dhcp'),
    );
    expect(summary).toEqual([`${HMI} 10.0.0.21 unknown`]);
  });

  test('simulators with one serial number stay apart; neighbouring interfaces of one controller come together', () => {
    const identity = (s: Script, mac: string, ip: string) =>
      s
        .sees(`${mac}/${ip}`, 'arp')
        .says(`${mac}/${ip}`, 'order_code', '6ES7 315-2EH14-0AB0', 's7comm')
        .says(`${mac}/${ip}`, 'serial', 'S C-C2UR28922012', 's7comm');
    const apart = run((s) => {
      identity(s, '00:1b:1b:00:00:01', '10.0.0.5');
      identity(s, '00:50:56:00:00:01', '10.0.0.6');
    });
    expect(apart.summary).toHaveLength(2);
    const together = run((s) => {
      identity(s, '00:1b:1b:00:00:01', '10.0.0.5');
      identity(s, '00:1b:1b:00:00:03', '10.0.1.5');
    });
    expect(together.summary).toEqual(['00:1b:1b:00:00:01/00:1b:1b:00:00:03 10.0.0.5 10.0.1.5 unknown']);
  });

  test('the ports of a switch are one device by their LLDP chassis; a stranger who claims a chassis is not', () => {
    const { summary } = run((s) =>
      s
        .says('00:80:63:00:00:11', 'mac', '00:80:63:00:00:10', 'lldp')
        .says('00:80:63:00:00:12', 'mac', '00:80:63:00:00:10', 'lldp')
        .sees('00:80:63:00:00:10/10.0.0.9', 'arp')
        .says('00:80:63:00:00:12', 'device_type', 'bridge', 'lldp')
        .says(HMI, 'mac', '00:80:63:00:00:10', 'lldp'),
    );
    expect(summary).toEqual(['00:80:63:00:00:10/00:80:63:00:00:11/00:80:63:00:00:12 10.0.0.9 switch', `${HMI}  unknown`].sort());
  });

  test('units behind a gateway and modules in a rack are parts', () => {
    const { stored } = run((s) => {
      s.sees(`${HMI}/10.0.0.2`)
        .sees(`${PLC}/10.0.0.5`)
        .opens(1, `${HMI}/10.0.0.2:4000`, `${PLC}/10.0.0.5:502`)
        .carries(1, 'modbus');
      for (const unit of [1, 2, 255]) s.does(1, 'server', 'modbus', 'read', { unit, unit_name: 'unit' });
      s.does(1, 'client', 'modbus', 'read', { unit: 9, unit_name: 'unit' }).does(1, 'server', 'modbus', 'error', {
        unit: 9,
        unit_name: 'unit',
      });
      s.says(`${PLC}/10.0.0.5`, 'order_code', '140CPU', 'modbus', 'rack 0 slot 2').says(
        `${PLC}/10.0.0.5`,
        'serial',
        'X1',
        'modbus',
        'unit 2',
      );
    });
    expect([...stored.parts.values()].map((p) => [p.part, p.kind, p.number])).toEqual([
      ['unit 1', 'unit', 1],
      ['unit 2', 'unit', 2],
      ['rack 0 slot 2', 'module', 2],
    ]);
    const gateway = [...stored.devices.values()].find((d) => d.ip === '10.0.0.5');
    expect(gateway).toMatchObject({ type: 'gateway', gateway: true, type_reason: 'answers for unit 1, unit 2', serial: '' });
  });
});

describe('what a device does', () => {
  test('type, level and programming station are proposed with the reason', () => {
    const { stored } = run((s) => {
      s.sees(`${HMI}/10.0.0.2`).sees('00:50:56:00:00:03/10.0.0.3').sees(`${PLC}/10.0.0.5`);
      s.opens(1, `${HMI}/10.0.0.2:4000`, `${PLC}/10.0.0.5:102`).carries(1, 's7comm');
      s.does(1, 'client', 's7comm', 'write').does(1, 'server', 's7comm', 'write');
      s.opens(2, '00:50:56:00:00:03/10.0.0.3:4000', `${PLC}/10.0.0.5:102`)
        .carries(2, 's7comm')
        .does(2, 'client', 's7comm', 'stop');
    });
    const by = Object.fromEntries([...stored.devices.values()].map((d) => [d.ip, d]));
    expect(by['10.0.0.2']).toMatchObject({
      type: 'hmi',
      purdue_level: 2,
      type_reason: 'reads and writes 1 device over s7comm',
      programming_station: false,
    });
    expect(by['10.0.0.5']).toMatchObject({ type: 'plc', purdue_level: 1, type_reason: 'serves s7comm to 2 peers' });
    expect(by['10.0.0.3']).toMatchObject({
      type: 'engineering_station',
      programming_station: true,
      programming_reason: 'stop over s7comm at 10.0.0.5',
    });
  });

  test.each<[type: string, says: [attribute: string, value: string, app_proto: string][]]>([
    ['switch', [['device_type', 'Bridge', 'lldp']]],
    ['router', [['device_type', 'Bridge, Router', 'lldp']]],
    ['unknown', [['device_type', 'Bridge, Station only', 'lldp']]],
    // A second port to pass the line on makes no switch of a PROFINET device.
    ['field_device', [['device_type', 'Bridge, Station only', 'lldp'], ['mac', PLC, 'lldp_profinet']]],
    ['field_device', [['mac', PLC, 'lldp_profinet'], ['device_type', 'Bridge, Station only', 'lldp']]],
    ['plc', [['device_type', 'Bridge, Station only', 'lldp'], ['mac', PLC, 'lldp_profinet'], ['model', 'CPU-1200', 'lldp']]],
    ['hmi', [['device_type', 'Bridge, Station only', 'lldp'], ['order_code', '6AV2 123-2GB03-0AX0', 'lldp']]],
    // A SCALANCE is a PROFINET device and a switch.
    ['switch', [['device_type', 'Bridge', 'lldp'], ['mac', PLC, 'lldp_profinet']]],
  ])('LLDP capabilities and PROFINET identity: %s', (type, says) => {
    const { stored } = run((s) => {
      for (const [attribute, value, app_proto] of says) s.says(PLC, attribute, value, app_proto);
    });
    expect([...stored.devices.values()].map((device) => device.type)).toEqual([type]);
  }); // biome-ignore format: a table

  test('who serves a controller protocol is no switch, whatever its LLDP frames say', () => {
    const { stored } = run((s) => {
      s.says(`${PLC}/10.0.0.5`, 'device_type', 'Bridge', 'lldp').sees(`${HMI}/10.0.0.2`);
      s.opens(1, `${HMI}/10.0.0.2:4000`, `${PLC}/10.0.0.5:502`).carries(1, 'modbus').does(1, 'server', 'modbus', 'read');
    });
    expect([...stored.devices.values()].find((d) => d.ip === '10.0.0.5')?.type).toBe('plc');
  });
});

describe('connections and activities', () => {
  test('flows between two ends to one port are one row; packets before recognition count with the protocol', () => {
    const inventory = new Inventory();
    const stored = new Stored();
    const s = new Script(inventory);
    s.opens(1, `${HMI}/10.0.0.2:4000`, `${PLC}/10.0.0.5:502`).carries(1, '', 2, 1);
    stored.drain(inventory);
    expect([...stored.connections.values()]).toMatchObject([{ app_proto: '', flows: 1, packets_from_opener: 2 }]);
    s.carries(1, 'modbus', 3, 3)
      .opens(9, `${HMI}/10.0.0.2:4001`, `${PLC}/10.0.0.5:502`)
      .carries(9, 'modbus', 1, 1, { ended: true });
    stored.drain(inventory);
    expect([...stored.connections.values()]).toMatchObject([
      {
        app_proto: 'modbus',
        flows: 2,
        packets_from_opener: 6,
        packets_from_responder: 5,
        bytes_from_opener: 600,
        server_port: 502,
        client: 'opener',
      },
    ]);
  });

  test('what a carrier carries names the conversation; activities said before go along', () => {
    const inventory = new Inventory();
    const stored = new Stored();
    const s = new Script(inventory);
    s.opens(1, `${HMI}/10.0.0.2:4000`, `${PLC}/10.0.0.5:102`).does(1, 'client', 'cotp', 'session');
    stored.drain(inventory);
    s.does(1, 'client', 's7comm', 'read').carries(1, 'tpkt', 9, 9);
    stored.drain(inventory);
    const [row, ...others] = stored.connections.values();
    expect(row).toMatchObject({ app_proto: 's7comm', flows: 1, packets_from_opener: 9 });
    expect(others).toEqual([]);
    expect([...stored.activities.values()].map((a) => [a.app_proto, a.operation, a.connection_id, a.count])).toEqual([
      ['cotp', 'session', row.id, 1],
      ['s7comm', 'read', row.id, 1],
    ]);
  });

  test('activities of one kind are one row with the range of their targets', () => {
    const { stored } = run((s) => {
      s.opens(1, `${HMI}/10.0.0.2:4000`, `${PLC}/10.0.0.5:502`).carries(1, 'modbus');
      s.does(1, 'client', 'modbus', 'read', { target: 'coils', target_first: 10, target_last: 19, unit: 1, count: 5 });
      s.does(1, 'client', 'modbus', 'read', { target: 'coils', target_first: 3, target_last: 4, unit: 1, count: 2 });
      s.does(1, 'client', 'modbus', 'read', { target: 'coils', target_first: 3, target_last: 4, unit: 2 });
    });
    expect([...stored.activities.values()]).toMatchObject([
      { connection_id: 2, operation: 'read', target: 'coils', target_first: 3, target_last: 19, unit: 1, count: 7 },
      { unit: 2, count: 1 },
    ]);
  });

  test('many ports of a pair share a row', () => {
    const { stored, inventory } = run(
      (s) => {
        for (let port = 1; port <= 100; port++) s.opens(port, `${HMI}/10.0.0.2:4000`, `${PLC}/10.0.0.5:${port}`);
      },
      { limits: { ports_per_pair: 8 } },
    );
    expect(stored.connections.size).toBe(9);
    expect([...stored.connections.values()].reduce((sum, c) => sum + c.flows, 0)).toBe(100);
    expect(inventory.counters.ports_folded).toBe(92);
  });
});

// -- Properties ------------------------------------------------------------------------------------------------------------

const hex = (n: number) => n.toString(16).padStart(2, '0');

describe('properties', () => {
  test('the order of facts about different devices does not change what they are', () => {
    const scripts = Array.from({ length: 5 }, (_, i) => {
      const s = new Script();
      const at = `00:1b:1b:00:${hex(i)}:01/10.0.${i}.5`;
      s.sees(at, 'arp').says(at, 'model', `M${i}`, 'modbus').says(at, 'serial', `serial-${i}`, 'modbus');
      s.sees(`00:1b:1b:00:${hex(i)}:01/10.0.${i}.6`, 'dhcp');
      return s.facts;
    });
    const deal = fc.shuffledSubarray(
      scripts.flatMap((facts, i) => facts.map(() => i)),
      { minLength: 20, maxLength: 20 },
    );
    const outcome = (order: number[]) => {
      const inventory = new Inventory();
      const next = scripts.map(() => 0);
      for (const i of order) inventory.take(scripts[i][next[i]++]);
      const stored = new Stored().drain(inventory);
      return [stored.summary(), [...stored.devices.values()].map((d) => `${d.mac} ${d.model} ${d.serial}`).sort()];
    };
    const expected = outcome(scripts.flatMap((facts, i) => facts.map(() => i)));
    fc.assert(
      fc.property(deal, (order) => {
        expect(outcome(order)).toEqual(expected);
      }),
    );
  });

  const macs = fc.constantFrom(
    '',
    '00:1b:1b:00:00:01',
    '00:1b:1b:00:00:02',
    '00:50:56:00:00:03',
    'ff:ff:ff:ff:ff:ff',
    '00:00:5e:00:01:01',
  );
  const ips = fc.oneof(
    fc.constantFrom('', '0.0.0.0', '10.0.0.1', '10.0.0.2', '10.0.1.1', '8.8.8.8', '224.0.0.1', '[fe80::1]', '[2001:db8::1]'),
    fc.tuple(fc.nat(255), fc.nat(3)).map(([a, b]) => `10.${b}.0.${a}`),
  );
  const ends = fc.tuple(macs, ips).map(([mac, ip]) => endpoint(mac && ip ? `${mac}/${ip}` : mac || ip));
  const vlans = fc.constantFrom([], [10], [20]);
  const anyFact: fc.Arbitrary<ot_sensor.Fact.$Properties> = fc
    .oneof(
      fc.record({ binding: fc.record({ endpoint: ends, vlan: vlans, how: fc.constantFrom('arp', 'dhcp', 'traffic', '') }) }),
      fc.record({
        attribute: fc.record({
          endpoint: ends,
          vlan: vlans,
          part: fc.constantFrom('', '', 'unit 1', 'rack 0 slot 1', 'x'),
          attribute: fc.constantFrom('serial', 'model', 'name', 'mac'),
          value: fc.oneof(fc.constantFrom('00:1b:1b:00:00:01', '00:1b:1b:00:00:02', 'serial-1', 'serial-2'), fc.string()),
          app_proto: fc.constantFrom('lldp', 'modbus', 's7comm', 'dhcp'),
          field: fc.constant('a.b'),
        }),
      }),
      fc.record({
        flow_opened: fc.record({
          flow_id: fc.nat(5),
          opener: ends,
          responder: ends,
          vlan: vlans,
          proto: fc.constantFrom('tcp', 'udp'),
          opener_certain: fc.boolean(),
          ethertype: fc.constant(0),
        }),
      }),
      fc.record({
        flow_update: fc.record({
          flow_id: fc.nat(5),
          app_proto: fc.constantFrom('', 'tpkt', 'modbus', 'http'),
          packets_from_opener: fc.nat(3),
          packets_from_responder: fc.nat(3),
          client: fc.constantFrom(-1, 0, 1),
          ended: fc.boolean(),
        }),
      }),
      fc.record({
        activity: fc.record({
          flow_id: fc.nat(5),
          app_proto: fc.constantFrom('tpkt', 'cotp', 'modbus', 'dnp3'),
          operation: fc.constantFrom('read', 'stop', 'error', 'no such'),
          from_opener: fc.boolean(),
          role: fc.constantFrom('client', 'server', 'unknown'),
          unit: fc.integer({ min: -1, max: 300 }),
          count: fc.nat(3),
        }),
      }),
    )
    .map((fact) => fact as ot_sensor.Fact.$Properties);
  const anyFacts = fc
    .array(anyFact, { maxLength: 80 })
    .map((facts) => facts.map((fact, i) => ({ ...fact, frame: i + 1, time_ms: 1_700_000_000_000 + i * 500 })));

  test('whatever comes: each current address has one device, each interface too, and ids of merged ones are gone', () => {
    fc.assert(
      fc.property(anyFacts, (facts) => {
        const inventory = new Inventory();
        for (const fact of facts) inventory.take(fact);
        const stored = new Stored().drain(inventory);
        const holders = new Map<string, number>();
        for (const address of stored.addresses.values()) {
          expect(stored.devices.has(address.device_id)).toBe(true);
          if (!address.current) continue;
          const key = `${address.segment}|${address.ip}`;
          expect(holders.get(key) ?? address.device_id).toBe(address.device_id);
          holders.set(key, address.device_id);
        }
        for (const face of stored.interfaces.values()) expect(stored.devices.has(face.device_id)).toBe(true);
        for (const c of stored.connections.values()) {
          for (const id of [c.opener_device, c.responder_device]) if (id !== null) expect(stored.devices.has(id)).toBe(true);
          expect(c.packets_from_opener).toBeGreaterThanOrEqual(0);
        }
        expect(stored.devices.size).toBe(inventory.device_count);
      }),
      { numRuns: 300 },
    );
  });

  test('it does not matter how often it is drained', () => {
    fc.assert(
      fc.property(anyFacts, fc.nat(10), fc.constantFrom(0, 1, 3, undefined), (facts, every, most) => {
        const once = new Inventory();
        const often = new Inventory();
        const stored = new Stored();
        facts.forEach((fact, i) => {
          once.take(fact);
          often.take(fact);
          if (i % (every + 1) === 0) stored.drain(often, most);
        });
        stored.drain(often);
        const whole = new Stored().drain(once);
        expect(stored.summary()).toEqual(whole.summary());
        const counts = (s: Stored) =>
          [...s.connections.values()].map((c) => [c.app_proto, c.server_port, c.flows, c.packets_from_opener]).sort();
        expect(counts(stored)).toEqual(counts(whole));
        expect(stored.events.map((e) => [e.kind, e.frame, e.title])).toEqual(whole.events.map((e) => [e.kind, e.frame, e.title]));
        expect(stored.attributes.size).toBe(whole.attributes.size);
        const activities = (s: Stored) =>
          [...s.activities.values()]
            .map((a) => [a.connection_id, a.app_proto, a.operation, a.unit, a.count, a.first_frame, a.last_ms])
            .sort();
        expect(activities(stored)).toEqual(activities(whole));
        expect([...stored.devices.values()].sort((a, b) => a.id - b.id)).toEqual(
          [...whole.devices.values()].sort((a, b) => a.id - b.id),
        );
      }),
      { numRuns: 300 },
    );
  });

  test('replayed again after a restart, the same capture adds no device, part, connection or activity', () => {
    fc.assert(
      fc.property(anyFacts, (facts) => {
        const first = new Inventory();
        for (const fact of facts) first.take(fact);
        const before = new Stored().drain(first);
        const second = new Inventory();
        second.load(before.snapshot());
        for (const fact of facts) second.take(fact);
        const { events } = second.drain();
        expect(events.filter((event) => event.kind === 'device_detected')).toEqual([]);
        expect(second.device_count).toBeLessThanOrEqual(first.device_count);
      }),
      { numRuns: 500 },
    );
  });

  test('replayed twice into one store, the same capture gives the same rows, counts doubled', () => {
    const rows = (stored: Stored, times: number) => {
      const connections = new Map(
        [...stored.connections.values()].map((c) => [
          c.id,
          `${c.opener_mac} ${c.opener_ip} ${c.responder_mac} ${c.responder_ip} ${c.segment} ${c.proto} ${c.server_port} ${c.app_proto}`,
        ]),
      );
      return {
        connections: [...stored.connections.values()]
          .map((c) => [connections.get(c.id), c.flows * times, c.packets_from_opener * times, c.packets_from_responder * times])
          .sort(),
        activities: [...stored.activities.values()]
          .map((a) => [
            connections.get(a.connection_id),
            a.app_proto,
            a.operation,
            a.role,
            a.from_opener,
            a.unit,
            a.count * times,
          ])
          .sort(),
      };
    };
    fc.assert(
      fc.property(anyFacts, fc.nat(10), fc.constantFrom(0, 2, undefined), (facts, every, most) => {
        const stored = new Stored();
        const replay = () => {
          const inventory = new Inventory();
          inventory.load(stored.snapshot());
          inventory.begin(1);
          facts.forEach((fact, i) => {
            inventory.take(fact);
            if (i % (every + 1) === 0) stored.drain(inventory, most);
          });
          stored.drain(inventory);
        };
        replay();
        const once = rows(stored, 2);
        replay();
        expect(rows(stored, 1)).toEqual(once);
      }),
      { numRuns: 500 },
    );
  });

  test('a flood stays within the limits and is counted', () => {
    const limits = { devices: 100, devices_without_mac: 50, connections: 50, activities: 50, flows: 20, events: 200 };
    const inventory = new Inventory({ limits });
    const s = new Script(inventory);
    for (let i = 0; i < 5000; i++) {
      const mac = `00:1b:${hex(i & 255)}:${hex(i >> 8)}:00:01`;
      const ip = `10.${i & 255}.${i >> 8}.1`;
      s.sees(`${mac}/${ip}`).sees(`${ROUTER}/${ip}`).sees(`00:00:5e:00:01:01/${ip}`).sees(ip);
      s.opens(i, `${mac}/${ip}:1`, `${PLC}/10.0.0.5:${i}`)
        .carries(i, 'modbus')
        .does(i, 'client', 'modbus', 'read', { unit: i & 255 });
      s.says(`${PLC}/10.0.0.5`, 'name', `name ${i}`, 'dhcp', `part ${i}`).says(`${PLC}`, 'name', `name ${i}`, 'dhcp');
      s.sees(`${i & 1 ? HMI : PLC}/10.0.0.77`, 'arp');
    }
    expect(inventory.device_count).toBeLessThanOrEqual(100);
    const changes = inventory.drain();
    expect(changes.connections.length).toBeLessThanOrEqual(50);
    expect(changes.activities.length).toBeLessThanOrEqual(50);
    expect(changes.events.length).toBeLessThanOrEqual(200);
    expect(changes.addresses.length).toBeLessThanOrEqual(100 * 256);
    expect(changes.attributes.length).toBeLessThanOrEqual(100 * 512 * 16);
    for (const name of ['devices_refused', 'flows_forgotten', 'connections_refused', 'events_suppressed'] as const) {
      expect(inventory.counters[name], name).toBeGreaterThan(0);
    }
  });

  test('flows beyond the limit: those that are counted in a row stay, and none is counted twice as refused', () => {
    const inventory = new Inventory({ limits: { flows: 20, connections: 10 } });
    const s = new Script(inventory);
    const end = (i: number) => [`${HMI}/10.0.0.2:${4000 + i}`, `${PLC}/10.0.0.${i}:502`] as const;
    s.sees(`${HMI}/10.0.0.2`);
    for (let i = 1; i <= 100; i++) s.opens(i, ...end(i));
    for (let i = 1; i <= 100; i++) s.carries(i, 'modbus', 2, 2).carries(i, 'modbus', 1, 1, { ended: true });
    const { connections } = inventory.drain();
    expect(connections.map((c) => [c.responder_ip, c.app_proto, c.flows, c.packets_from_opener])).toEqual(
      Array.from({ length: 10 }, (_, i) => [`10.0.0.${i + 1}`, 'modbus', 1, 3]),
    );
    expect(inventory.counters).toMatchObject({ flows_forgotten: 80, connections_refused: 90, facts_without_flow: 160 });
  });

  test('conversations of an earlier run count before they are met again, and are known when they are', () => {
    const limits = { connections: 10 };
    const end = (i: number) => [`${HMI}/10.0.0.2:${4000 + i}`, `${PLC}/10.0.0.${i}:502`] as const;
    const talk = (inventory: Inventory, from: number, to: number) => {
      const s = new Script(inventory).sees(`${HMI}/10.0.0.2`);
      for (let i = from; i <= to; i++)
        s.opens(i, ...end(i))
          .carries(i, 'modbus')
          .does(i, 'client', 'modbus', 'read')
          .carries(i, 'modbus', 1, 1, { ended: true });
      return inventory;
    };
    const stored = new Stored().drain(talk(new Inventory({ limits }), 1, 10));
    // One that was deleted meanwhile, as too old, makes room when it is looked for.
    const again = new Inventory({ limits });
    again.load(stored.snapshot());
    const idOf = (ip: string) => [...stored.connections.values()].find(({ responder_ip }) => responder_ip === ip)?.id;
    const known = idOf('10.0.0.9')!;
    stored.connections.delete(idOf('10.0.0.10')!);
    again.begin(2);
    stored.drain(talk(again, 9, 12));
    const rows = [...stored.connections.values()].map(({ responder_ip, flows }) => [responder_ip, flows]);
    expect(rows.slice(-2)).toEqual([
      ['10.0.0.9', 2],
      ['10.0.0.10', 1],
    ]);
    expect(idOf('10.0.0.9')).toBe(known);
    expect(idOf('10.0.0.11')).toBeUndefined();
    expect([...stored.activities.values()].filter(({ connection_id }) => connection_id === known)).toMatchObject([{ count: 2 }]);
  });

  test('hosts that one router MAC invents leave room for devices in the segment, and each refusal is counted once', () => {
    const inventory = new Inventory({ limits: { devices: 40, devices_without_mac: 30 } });
    const s = new Script(inventory);
    // In turn and again: packets of a conversation refuse the same host as often as they come.
    for (let times = 0; times < 3; times++) {
      for (let i = 1; i <= 100; i++) {
        const flow = times * 100 + i;
        s.sees(`${ROUTER}/10.9.${i}.1`).opens(flow, `${ROUTER}/10.9.${i}.1:4000`, `${PLC}/10.0.0.5:502`).carries(flow, '', 3, 0);
      }
    }
    expect(inventory.device_count).toBe(31);
    expect(inventory.counters).toMatchObject({ devices_without_mac_refused: 70, devices_refused: 0 });
    for (let i = 1; i <= 20; i++) s.sees(`00:1b:1b:00:00:${hex(i)}/10.0.0.${i}`).sees(`00:1b:1b:00:00:${hex(i)}/10.0.0.${i}`);
    expect(inventory.device_count).toBe(40);
    expect(inventory.counters).toMatchObject({ devices_without_mac_refused: 70, devices_refused: 11 });
  });

  test('one address in thousands of segments, or claimed by thousands of MACs, costs each packet no more than the first', () => {
    const inventory = new Inventory();
    const s = new Script(inventory);
    for (let i = 0; i < 4000; i++)
      s.sees('00:00:5e:00:01:01/10.0.0.1', 'arp', i & 63, i >> 6).sees(`${ROUTER}/10.0.0.2`, 'traffic', i & 63, i >> 6);
    expect(inventory.counters.addresses_refused).toBeGreaterThan(0);
    for (let i = 0; i < 4000; i++) s.sees(`00:1b:1b:00:${hex(i >> 8)}:${hex(i & 255)}/10.0.0.3`, 'arp');
    const begin = performance.now();
    for (let i = 0; i < 4000; i++) s.sees(`00:1b:1b:00:${hex(i >> 8)}:${hex(i & 255)}/10.0.0.3`, 'arp');
    expect(performance.now() - begin).toBeLessThan(2000);
    const stored = new Stored().drain(inventory);
    expect([...stored.addresses.values()].filter((a) => a.ip === '10.0.0.3' && a.current)).toHaveLength(1);
  });
});
