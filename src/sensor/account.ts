import type { InterfaceReport } from '../capture/live.ts';
import { numberText } from '../number-text.ts';

/**
 * Where every packet went: received = inspected + dropped by the kernel + dropped by us + still on its way. While it captures, what the
 * interfaces have said is up to a quarter of a second older than what we have inspected: the sum holds for no instant, and none is told.
 */
export interface Account {
  received: number;
  inspected: number;
  /** Of those inspected, the ones of which the headers alone were, to keep up; of all others the payload too. */
  headers_only: number;
  dropped_by_kernel: number;
  /** By reason. */
  dropped_by_us: Record<string, number>;
  /** The same, by interface, under names for the database: `capture.received`, `capture.eth0.dropped_by_kernel`, … */
  counters: Record<string, number>;
}

/** Of a capture that has ended: nothing is on its way any more, and `unaccounted` is 0 or something is wrong with our own counting. */
export interface FinalAccount extends Account {
  unaccounted: number;
}

/** `lost`: packets whose results went with a thread that failed. */
export function accountOf(
  interfaces: readonly InterfaceReport[],
  inspected: number,
  lost: number,
  headers_only: number,
): Account {
  const dropped_by_us: Record<string, number> = { fault: lost };
  const counters: Record<string, number> = {};
  let received = 0;
  let dropped_by_kernel = 0;
  for (const { name, ...report } of interfaces) {
    received += report.received;
    dropped_by_kernel += report.dropped_by_kernel;
    counters[`capture.${name}.received`] = report.received;
    counters[`capture.${name}.dropped_by_kernel`] = report.dropped_by_kernel;
    counters[`capture.${name}.dropped_by_interface`] = report.dropped_by_interface;
    for (const [reason, count] of Object.entries(report.dropped_by_us)) {
      dropped_by_us[reason] = (dropped_by_us[reason] ?? 0) + count;
      counters[`capture.${name}.dropped_by_us.${reason}`] = count;
    }
  }
  Object.assign(counters, { 'capture.received': received, 'capture.inspected': inspected, 'capture.headers_only': headers_only });
  counters['capture.dropped_by_kernel'] = dropped_by_kernel;
  for (const [reason, count] of Object.entries(dropped_by_us)) counters[`capture.dropped_by_us.${reason}`] = count;
  return { received, inspected, headers_only, dropped_by_kernel, dropped_by_us, counters };
}

/** The interfaces are closed, and every batch has been answered. */
export function finalAccount(account: Account): FinalAccount {
  const { received, inspected, dropped_by_kernel, dropped_by_us } = account;
  const dropped = dropped_by_kernel + Object.values(dropped_by_us).reduce((sum, count) => sum + count, 0);
  return { ...account, unaccounted: received - inspected - dropped };
}

/** "1,000 packets received: 990 inspected, 7 dropped by the kernel, 3 dropped by us (overload 3)". */
export function accountText({ received, inspected, headers_only, dropped_by_kernel, dropped_by_us }: Account): string {
  const reasons = Object.entries(dropped_by_us).filter(([, count]) => count > 0);
  const own = reasons.reduce((sum, [, count]) => sum + count, 0);
  const why = reasons.length === 0 ? '' : ` (${reasons.map(([reason, count]) => `${reason} ${numberText(count)}`).join(', ')})`;
  const headers = headers_only === 0 ? '' : ` (${numberText(headers_only)} by their headers alone)`;
  return `${numberText(received)} packets received: ${numberText(inspected)} inspected${headers}, ${numberText(dropped_by_kernel)} dropped by the kernel, ${numberText(own)} dropped by us${why}`;
}
