import type { AddressRecord, Device, Face, Place } from './entities.ts';

// The addresses a device has and had.

/** The record of an address at a MAC of the device's own; '' behind a router. */
export function recordAt({ addresses }: Device, { segment, ip }: Place, mac: string): AddressRecord | undefined {
  for (const record of addresses)
    if (record.mac === mac && record.place.ip === ip && record.place.segment === segment) return record;
  return undefined;
}

export const recordOf = (device: Device, place: Place, face: Face | null) => recordAt(device, place, face?.mac ?? '');

/** In the place of one that is there. */
export function keepRecord(device: Device, record: AddressRecord): void {
  const known = recordAt(device, record.place, record.mac);
  if (known) device.addresses[device.addresses.indexOf(known)] = record;
  else if (device.addresses.length === 0) device.addresses = [record];
  else device.addresses.push(record);
}

export function strength(how: string): number {
  if (how === 'dhcp') return 2;
  return how === 'arp' ? 1 : 0;
}

/** A device's main addresses, for its row and its zone; '' where there is none. */
export function mainAddresses(device: Device): { ip: string; mac: string; segment: string } {
  const main = mainAddress(device);
  const segment = main?.place.segment ?? device.faces[0]?.segment ?? '';
  return { ip: main?.place.ip ?? '', mac: device.faces[0]?.mac ?? '', segment };
}

/** The current address shown in lists: the newest, IPv4 before IPv6. */
function mainAddress(device: Device): AddressRecord | null {
  let main: AddressRecord | null = null;
  for (const record of device.addresses) {
    if (main === null || rank(record) > rank(main) || (rank(record) === rank(main) && record.first_ms > main.first_ms))
      main = record;
  }
  return main;
}

const rank = (record: AddressRecord) =>
  (record.current ? 4 : 0) + (record.place.ip.includes(':') ? 0 : 2) + (strength(record.how) ? 1 : 0);

export function labelOf(device: Device): string {
  return mainAddress(device)?.place.ip || device.faces[0]?.mac || `device ${device.id}`;
}
