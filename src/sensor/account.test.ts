import { expect, it } from 'vitest';
import type { InterfaceReport } from '../capture/live.ts';
import { accountOf, accountText, finalAccount } from './account.ts';

const port = (name: string, counts: Partial<InterfaceReport>): InterfaceReport => ({
  ...{ name, state: 'capturing', message: '', link_type: 1, nanoseconds: true, filter: '', opened: 1, code: '' },
  ...{ received: 0, handed_over: 0, handed_over_bytes: 0, dropped_by_kernel: 0, dropped_by_interface: 0 },
  dropped_by_us: { overload: 0, closed: 0 },
  ...counts,
});
const PORTS = [
  port('eth0', { received: 1000, dropped_by_kernel: 7 }),
  port('eth1', { received: 500, dropped_by_us: { overload: 3, closed: 2 } }),
];

it('adds up what all interfaces say, by reason', () => {
  const account = accountOf(PORTS, 1478, 10, 5);
  expect(account).toMatchObject({ received: 1500, inspected: 1478, headers_only: 5, dropped_by_kernel: 7 });
  expect(account.dropped_by_us).toEqual({ fault: 10, overload: 3, closed: 2 });
  expect(account.counters).toMatchObject({ 'capture.eth1.dropped_by_us.overload': 3, 'capture.received': 1500 });
  expect(finalAccount(account).unaccounted).toBe(0);
  expect(accountText(account)).toBe(
    '1,500 packets received: 1,478 inspected (5 by their headers alone), 7 dropped by the kernel, 15 dropped by us (fault 10, overload 3, closed 2)',
  );
});

it('tells at the end what is missing, and nothing while packets are on their way', () => {
  // Inspected already, and not yet said to be received.
  const running = accountOf(PORTS, 1600, 0, 0);
  expect(running).not.toHaveProperty('unaccounted');
  expect(finalAccount(accountOf(PORTS, 1400, 0, 0)).unaccounted).toBe(88);
});
