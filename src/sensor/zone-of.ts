import ipaddr from 'ipaddr.js';
import { dissectors } from '../../dissectors/index.ts';
import { Registry } from '../dissect/registry.ts';
import type { InventoryOptions } from '../inventory/inventory.ts';
import { compilePolicy, type Policy, type PolicyModel } from '../policy/index.ts';

/** The zone policy as the inventory asks it: the zone's name for a device's addresses in text. */
export function zonesOf(model: PolicyModel): NonNullable<InventoryOptions['zoneOf']> {
  const policy = compilePolicy(model, new Registry(dissectors));
  return (ip, mac, segment) => policy.zoneName(zoneOf(policy, ip, mac, segment));
}

function zoneOf(policy: Policy, ip: string, mac: string, segment: string): number {
  const vlan = segment === '' ? -1 : Number(segment.split('.').at(-1));
  const octets = mac.split(':').map((octet) => Number.parseInt(octet, 16));
  const [high, low] =
    octets.length === 6
      ? [(octets[0] << 8) | octets[1], octets.slice(2).reduce((value, octet) => value * 256 + octet, 0)]
      : [-1, -1];
  if (ip === '') return policy.zoneOfMac(vlan, high, low);
  const address = ipaddr.parse(ip);
  const bytes = address.kind() === 'ipv4' ? (address as ipaddr.IPv4).toIPv4MappedAddress().toByteArray() : address.toByteArray();
  const word = (i: number) => ((bytes[i] << 24) | (bytes[i + 1] << 16) | (bytes[i + 2] << 8) | bytes[i + 3]) >>> 0;
  return policy.zoneOfAddress(word(0), word(4), word(8), word(12), vlan, high, low);
}
