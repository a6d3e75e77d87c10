import { expect, it } from 'vitest';
import { isAllowed, isHostOrNetwork } from './allowed-hosts.ts';

it.each([
  ['10.1.2.3', [], true],
  ['10.1.2.3', ['10.1.2.3'], true],
  ['10.1.2.4', ['10.1.2.3'], false],
  ['10.1.2.4', ['10.1.2.0/24', '192.0.2.1'], true],
  ['10.1.3.4', ['10.1.2.0/24', '192.0.2.1'], false],
  ['::ffff:10.1.2.4', ['10.1.2.0/24'], true],
  ['::ffff:10.1.3.4', ['10.1.2.0/24'], false],
  ['fe80::1%eth0', ['fe80::/10'], true],
  ['2001:db8::1', ['10.0.0.0/8', '2001:db8::1'], true],
  ['2001:db8::2', ['0.0.0.0/0', '2001:db8::1'], false],
])('%s by %j: %s', (address, allowed, is) => {
  expect(isAllowed(address, allowed)).toBe(is);
});

it.each([
  ['10.1.2.3', true],
  ['10.1.2.0/24', true],
  ['2001:db8::/32', true],
  ['station', false],
  ['10.1.2.0/33', false],
  ['', false],
])('%s is a host or a network: %s', (text, is) => {
  expect(isHostOrNetwork(text)).toBe(is);
});
