import type { Packet } from '../decode/packet.ts';
import type { FlowTable } from '../flow/flow-table.ts';
import { PROTOCOL_ETHERNET } from '../flow/flow-table.ts';
import type { ot_sensor } from '../proto/facts.js';

const NOTHING = new Uint8Array(0);

/** 4 bytes of a v4-mapped address, 16 of any other. */
export function ipBytes(words: Uint32Array, at: number): Uint8Array {
  const isV4 = words[at] === 0 && words[at + 1] === 0 && words[at + 2] === 0xffff;
  const bytes = new Uint8Array(isV4 ? 4 : 16);
  for (let i = isV4 ? 3 : 0, o = 0; i < 4; i++, o += 4) {
    const word = words[at + i];
    bytes[o] = word >>> 24;
    bytes[o + 1] = word >>> 16;
    bytes[o + 2] = word >>> 8;
    bytes[o + 3] = word;
  }
  return bytes;
}

export function macBytes(high: number, low: number): Uint8Array {
  return high === 0 && low === 0
    ? NOTHING
    : Uint8Array.of(high >> 8, high & 255, low >>> 24, (low >>> 16) & 255, (low >>> 8) & 255, low & 255);
}

/** One end of a flow: 0 the opener, 1 the responder. */
export function flowEndpoint(table: FlowTable, slot: number, end: 0 | 1): ot_sensor.IEndpoint {
  const at = slot * 2 + end;
  const isIp = table.protocol(slot) !== PROTOCOL_ETHERNET;
  return {
    mac: macBytes(table.mac_high[at], table.mac_low[at]),
    ip: isIp ? ipBytes(table.keyWords, table.addressAt(slot, end)) : NOTHING,
    port: isIp ? table.port(slot, end) : 0,
  };
}

export const vlanList = (p: Packet): number[] => Array.from(p.vlans.subarray(0, p.vlan_count));

const PROTOCOL_NAMES: Readonly<Record<number, string>> = {
  0: 'hopopt', 1: 'icmp', 2: 'igmp', 4: 'ipip', 6: 'tcp', 17: 'udp', 41: 'ipv6', 47: 'gre', 50: 'esp', 51: 'ah', 58: 'icmpv6',
  89: 'ospf', 103: 'pim', 112: 'vrrp', 132: 'sctp', [PROTOCOL_ETHERNET]: 'eth',
}; // biome-ignore format: a table

/** The `proto` of the envelope: IANA's keyword in lower case, `ip_<number>` for the rare ones, `eth` without IP. */
export const protocolName = (protocol: number): string => PROTOCOL_NAMES[protocol] ?? `ip_${protocol}`;
