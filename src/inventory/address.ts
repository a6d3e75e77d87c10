import { ipv6Text } from '../dissect/json.ts';

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** A station's own address; zero, group and broadcast addresses are nobody's. */
export function isStation(mac: Uint8Array | null | undefined): boolean {
  if (mac?.length !== 6 || mac[0] & 0x01) return false;
  return (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]) !== 0;
}

/** A host's address; unspecified (0.0.0.0/8, ::), multicast and limited broadcast addresses are nobody's. */
export function isHost(ip: Uint8Array | null | undefined): boolean {
  if (ip?.length === 4) return ip[0] !== 0 && ip[0] < 224;
  return ip?.length === 16 && ip[0] !== 0xff && ip.some((byte) => byte !== 0);
}

/** Texts of the addresses seen last, by some of their bits: the same address is the same string wherever it is kept. */
const KEPT = 4096;
const mac_high = new Uint16Array(KEPT);
const mac_low = new Uint32Array(KEPT);
const mac_texts = new Array<string>(KEPT).fill('');
const ip_words = new Uint32Array(KEPT);
const ip_texts = new Array<string>(KEPT).fill('');

/** Any address as text, '' for none. */
export function anyMac(mac: Uint8Array | null | undefined): string {
  if (mac?.length !== 6) return '';
  const high = (mac[0] << 8) | mac[1];
  const low = ((mac[2] << 24) | (mac[3] << 16) | (mac[4] << 8) | mac[5]) >>> 0;
  const at = (low ^ (low >>> 12) ^ high) & (KEPT - 1);
  if (mac_low[at] === low && mac_high[at] === high && mac_texts[at] !== '') return mac_texts[at];
  mac_low[at] = low;
  mac_high[at] = high;
  mac_texts[at] = macText(mac);
  return mac_texts[at];
}

function macText(mac: Uint8Array): string {
  return `${HEX[mac[0]]}:${HEX[mac[1]]}:${HEX[mac[2]]}:${HEX[mac[3]]}:${HEX[mac[4]]}:${HEX[mac[5]]}`;
}

export function anyIp(ip: Uint8Array | null | undefined): string {
  if (ip?.length === 4) {
    const word = ((ip[0] << 24) | (ip[1] << 16) | (ip[2] << 8) | ip[3]) >>> 0;
    const at = (word ^ (word >>> 12)) & (KEPT - 1);
    if (ip_words[at] !== word || ip_texts[at] === '') {
      ip_words[at] = word;
      ip_texts[at] = `${ip[0]}.${ip[1]}.${ip[2]}.${ip[3]}`;
    }
    return ip_texts[at];
  }
  return ip?.length === 16 ? ipv6Text(ip, 0) : '';
}

/** The VLAN stack as text. Identifier 0 is a priority tag and no VLAN: IEEE 802.1Q-2018, table 9-2. */
export function segmentText(vlan: readonly number[] | null | undefined): string {
  return !vlan || vlan.length === 0 ? '' : vlan.filter((id) => id !== 0).join('.');
}

export function macBytes(mac: string): Uint8Array {
  return Uint8Array.from(mac.split(':'), (digits) => Number.parseInt(digits, 16));
}

const REDUNDANCY: readonly [prefix: string, name: string][] = [
  ['00:00:5e:00:01:', 'VRRP group'], // RFC 5798, 7.3
  ['00:00:5e:00:02:', 'VRRP group'],
  ['00:00:0c:07:ac:', 'HSRP group'], // RFC 2281, 5.3
  ['00:00:0c:9f:f', 'HSRP group'],
  ['00:05:73:a0:0', 'HSRP group'],
  ['00:07:b4:00:', 'GLBP group'],
];

/** The redundancy group whose virtual address this is, in words; '' for an ordinary one. Such an address moves between devices. */
export function redundancyGroup(mac: string): string {
  for (const [prefix, name] of REDUNDANCY) {
    if (mac.startsWith(prefix)) return `${name} ${Number.parseInt(mac.slice(prefix.length).replaceAll(':', ''), 16)}`;
  }
  return '';
}

/** How far apart two addresses of one manufacturer are; Infinity where the first three bytes differ. */
export function macDistance(one: string, other: string): number {
  if (one.slice(0, 8) !== other.slice(0, 8)) return Number.POSITIVE_INFINITY;
  const low = (mac: string) => Number.parseInt(mac.slice(9).replaceAll(':', ''), 16);
  return Math.abs(low(one) - low(other));
}

/** The network an address most likely lies in: /24 of IPv4, /64 of IPv6; '' where it is link-local and says nothing. */
export function network(ip: string): string {
  if (!ip.includes(':')) return ip.startsWith('169.254.') ? '' : ip.slice(0, ip.lastIndexOf('.'));
  if (/^fe[89ab]/.test(ip)) return '';
  const [head, tail] = ip.split('::');
  const groups = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const behind = tail === '' ? [] : tail.split(':');
    while (groups.length + behind.length < 8) groups.push('0');
    groups.push(...behind);
  }
  return groups.slice(0, 4).join(':');
}

/** Not routed on the Internet: RFC 1918, RFC 6598, link-local, loopback. IPv4 only. */
export function isPrivate(ip: string): boolean {
  return /^(10|127)\.|^192\.168\.|^169\.254\.|^172\.(1[6-9]|2\d|3[01])\.|^100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\./.test(ip);
}
