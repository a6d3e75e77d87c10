import type { NetworkInterfaceInfo } from 'node:os';
import { expect, it } from 'vitest';
import { refuseMirrorPort } from './serve.ts';

const address = (text: string) => ({ address: text }) as NetworkInterfaceInfo;
const interfaces = {
  eth0: [address('192.0.2.10')],
  eth1: [address('fe80::1'), address('198.51.100.1')],
  eth2: [address('fe80::2')],
};
const refused = (host: string, ...ports: string[]) => {
  try {
    refuseMirrorPort(
      host,
      ports.map((name) => ({ name })),
      interfaces,
    );
    return false;
  } catch {
    return true;
  }
};

it.each([
  ['192.0.2.10', ['eth1', 'eth2'], false],
  ['198.51.100.1', ['eth1'], true],
  ['fe80::2', ['eth2'], true],
  ['0.0.0.0', ['eth1'], true],
  ['0.0.0.0', ['eth2'], false],
  ['::', ['eth2'], true],
  ['0.0.0.0', ['gone0'], false],
  ['127.0.0.1', [], false],
] as const)('the API on %s beside the mirror ports %j is refused: %s', (host, ports, expected) => {
  expect(refused(host, ...ports)).toBe(expected);
});
