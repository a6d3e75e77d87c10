import { expect, test } from 'vitest';
import { Bench } from '../../src/dissect/testing.ts';
import arp from './arp.ts';

const bench = () => new Bench([arp]);

test('a request asks for an address, a reply answers (RFC 826)', () => {
  const request = bench().request('0001 0800 06 04 0001 001b1b010203 0a0a0105 000000000000 0a0a0101').rows;
  expect(request).toEqual([
    {
      record: 'arp',
      operation: 'discover',
      role: 'client',
      fields: {
        hardware_type: 1,
        protocol_type: 2048,
        hardware_size: 6,
        protocol_size: 4,
        opcode: 1,
        opcode_name: 'request',
        sender_hardware_address: '00:1b:1b:01:02:03',
        sender_protocol_address: '10.10.1.5',
        target_hardware_address: '00:00:00:00:00:00',
        target_protocol_address: '10.10.1.1',
      },
    },
  ]);
  const [reply] = bench().response('0001 0800 06 04 0002 0080f4010203 0a0a0101 001b1b010203 0a0a0105').rows;
  expect(reply.fields).toMatchObject({ opcode_name: 'reply', sender_protocol_address: '10.10.1.1' });
});

test('addresses of other kinds are kept as bytes of the sizes the packet states', () => {
  const [row] = bench().request('0006 0800 02 04 0001 aabb 0a000001 0000 0a000002').rows;
  expect(row.fields).toMatchObject({
    hardware_size: 2,
    sender_address_bytes: 'aabb0a000001',
    target_address_bytes: '00000a000002',
  });
  expect(row.fields).not.toHaveProperty('sender_protocol_address');
});

test('a packet that ends too early is malformed, and sizes that lie read nothing beyond it', () => {
  const [short] = bench().request('0001 0800 06 04 0001 001b1b010203 0a0a').rows;
  expect(short.status).toBe('malformed');
  const [lying] = bench().request('0001 0800 ff ff 0001 001b1b010203').rows;
  expect(lying.status).toBe('malformed');
});
