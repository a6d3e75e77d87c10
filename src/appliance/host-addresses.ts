import os from 'node:os';

/** For a wildcard, all addresses of the machine. */
export function addressesOf(host: string): string[] {
  if (host !== '0.0.0.0' && host !== '::') return [host];
  return Object.values(os.networkInterfaces()).flatMap((list) =>
    (list ?? []).filter(({ scopeid }) => !scopeid).map(({ address }) => address),
  );
}
