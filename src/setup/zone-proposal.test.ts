import { describe, expect, it } from 'vitest';
import { dissectors } from '../../dissectors/index.ts';
import { Registry } from '../dissect/registry.ts';
import { checkPolicyFile } from '../policy/check.ts';
import { type Conversation, proposeZones } from './zone-proposal.ts';

const registry = new Registry(dissectors);
const isProtocol = (name: string) => ['tcp', 'udp', 'icmp'].includes(name) || dissectors.some((one) => one.name === name);
const talk = (opener_ip: string, responder_ip: string, more: Partial<Conversation> = {}): Conversation => ({
  proto: 'tcp',
  app_proto: '',
  server_port: 8080,
  opener_ip,
  responder_ip,
  ...more,
});
const propose = (...conversations: Conversation[]) => proposeZones(conversations, isProtocol, 'a test');
const faults = (text: string) => checkPolicyFile(text, registry).map(({ message }) => message);

describe('proposeZones', () => {
  it('makes a zone of each subnet, and conduits of what was seen between them alone', () => {
    const { text, zones, conduits } = propose(
      talk('10.2.0.5', '10.1.0.9', { app_proto: 'modbus', server_port: 502 }),
      talk('10.2.0.5', '10.1.0.9', { app_proto: 's7comm', server_port: 102 }),
      talk('10.2.0.6', '10.1.0.9'),
      talk('10.2.0.6', '10.1.0.8', { server_port: 443 }),
      talk('10.2.0.6', '10.2.0.5', { server_port: 22 }),
      talk('10.1.0.9', '10.2.0.5', { proto: 'icmp', server_port: 0 }),
    );
    expect({ zones, conduits }).toEqual({ zones: 2, conduits: 3 });
    expect(text).toMatch(/^# A PROPOSAL, made from a test\./);
    expect(text).toContain('description: proposed; 2 addresses were seen\n    subnets: ["10.1.0.0/24"]');
    expect(text).toContain('from: "subnet 10.2.0.0/24"\n    to: "subnet 10.1.0.0/24"\n    protocols: [modbus, s7comm]');
    expect(text).toContain('protocols: tcp\n    ports: [443, 8080]');
    expect(text).toContain('to: "subnet 10.2.0.0/24"\n    protocols: [icmp]');
    expect(text).not.toContain('22');
    expect(faults(text)).toEqual([]);
  });

  it('takes what is not private as external, and gives groups and the unspecified no place', () => {
    const { text, zones, conduits } = propose(
      talk('192.168.7.1', '203.0.113.5', { server_port: 443 }),
      talk('198.51.100.1', '203.0.113.5'),
      talk('192.168.7.1', '239.1.1.1', { proto: 'udp' }),
      talk('192.168.7.1', '192.168.9.255', { proto: 'udp' }),
      talk('0.0.0.0', '255.255.255.255', { proto: 'udp' }),
      talk('', ''),
      talk('fd00:1:2:3::5', 'fd00:1:2:4::6'),
      talk('fe80::1', 'ff02::1', { proto: 'udp' }),
    );
    expect({ zones, conduits }).toEqual({ zones: 3, conduits: 2 });
    expect(text).toContain('to: external\n');
    expect(text).toContain('subnets: ["fd00:1:2:3::/64"]');
    expect(faults(text)).toEqual([]);
  });

  it('writes many ports, or ports that nobody kept, as all', () => {
    const many = Array.from({ length: 60 }, (_, i) => talk('10.1.0.1', '10.2.0.1', { server_port: 1000 + i }));
    expect(propose(...many).text).not.toContain('ports:');
    expect(propose(talk('10.1.0.1', '10.2.0.1', { server_port: 0 })).text).not.toContain('ports:');
  });

  it('depends on what was seen, not on the order', () => {
    const all = Array.from({ length: 300 }, (_, i) =>
      talk(`10.${i % 7}.${i % 3}.${1 + (i % 200)}`, `10.${i % 5}.${i % 4}.9`, { server_port: 1 + (i % 9) }),
    );
    expect(propose(...[...all].reverse())).toEqual(propose(...all));
    expect(faults(propose(...all).text)).toEqual([]);
  });

  it('keeps to the limits of a zone file, and says what it left out', () => {
    const all = Array.from({ length: 1100 }, (_, i) => talk(`10.${i >> 8}.${i & 255}.1`, '172.16.0.1'));
    const { text, zones, left_out } = propose(...all, talk('172.16.0.2', '172.16.0.1'));
    expect({ zones, left_out }).toEqual({ zones: 1000, left_out: 101 });
    expect(text).toContain('172.16.0.0/24');
    expect(faults(text)).toEqual([]);
  });

  it('proposes nothing where nothing was seen', () => {
    expect(propose(talk('198.51.100.1', '203.0.113.5')).text).toBe('');
  });
});
