import { OPERATION_NAMES } from '../dissect/operation.ts';
import type { Expression } from './rule.ts';
import type { ScheduleModel } from './schedule.ts';
import type { Zone } from './zones.ts';

/** Conduits: what may pass between zones. Plain data, so that a policy can be sent to workers, which compile it each for itself. */

export const MAX_CONDUITS = 2000;

export type Action = 'allow' | 'alert';

export interface PortRange {
  first: number;
  last: number;
}

export interface Condition {
  text: string;
  expression: Expression;
  line: number;
  column: number;
}

export interface Conduit {
  name: string;
  description: string;
  /** Zone numbers, `EXTERNAL` among them where it was named; null: any, external included. */
  from: number[] | null;
  to: number[] | null;
  /** Names of dissectors and of IP protocols, `unknown`; null: any. */
  protocols: string[] | null;
  /** Codes of `Operation`; null: any. */
  operations: number[] | null;
  /** Of the end that did not open the conversation; null: any. */
  ports: PortRange[] | null;
  condition: Condition | null;
  schedule: ScheduleModel | null;
  action: Action;
  line: number;
  column: number;
}

export interface PolicyModel {
  /** For pairs of zones without a conduit that allows something. */
  default_action: Action;
  zones: Zone[];
  conduits: Conduit[];
}

/** A conversation whose protocol no dissector recognised. */
export const UNKNOWN_PROTOCOL = 'unknown';

/** IANA protocol numbers, by the names that rules use; any other one is written `ip_<number>`. */
const IP_PROTOCOLS: Readonly<Record<string, number>> = {
  icmp: 1,
  igmp: 2,
  ipip: 4,
  tcp: 6,
  egp: 8,
  udp: 17,
  ipv6: 41,
  rsvp: 46,
  gre: 47,
  esp: 50,
  ah: 51,
  icmpv6: 58,
  eigrp: 88,
  ospf: 89,
  pim: 103,
  vrrp: 112,
  l2tp: 115,
  sctp: 132,
};

export const IP_PROTOCOL_NAMES: readonly string[] = Object.keys(IP_PROTOCOLS);

/** -1 where it is not the name of an IP protocol. */
export function ipProtocolNumber(name: string): number {
  const known = Object.hasOwn(IP_PROTOCOLS, name) ? IP_PROTOCOLS[name] : -1;
  if (known >= 0) return known;
  const match = /^ip_(0|[1-9]\d{0,2})$/.exec(name);
  return match && Number(match[1]) < 256 ? Number(match[1]) : -1;
}

export function ipProtocolName(number: number): string {
  return IP_PROTOCOL_NAMES.find((name) => IP_PROTOCOLS[name] === number) ?? `ip_${number}`;
}

export const operationsText = (operations: readonly number[]): string =>
  operations.map((operation) => OPERATION_NAMES[operation]).join(', ');

export const portsText = (ports: readonly PortRange[]): string =>
  ports.map(({ first, last }) => (first === last ? String(first) : `${first}-${last}`)).join(', ');
