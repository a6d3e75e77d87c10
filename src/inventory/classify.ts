import { Operation, type OperationName } from '../dissect/operation.ts';

/** What a device was seen doing in one protocol, as one of the two parties. */
export interface Deed {
  /** The address it did it under; '' its MAC. */
  ip: string;
  app_proto: string;
  role: 'client' | 'server';
  /** Bit n: operation n of the vocabulary. */
  operations: number;
  /** With whom; bounded. */
  peers: string[];
}

/** What a proposal is made from. */
export interface Conduct {
  deeds: readonly Deed[];
  /** It forwards packets of other addresses. */
  router: boolean;
  /** The redundancy group it is the address of; ''. */
  redundancy: string;
  /** Unit ids and outstation addresses it answered for, in words. */
  units: readonly string[];
  /** Modules at rack and slot were named. */
  modules: number;
  /** What it says it is (LLDP capabilities, DHCP class, identity objects); ''. */
  device_type: string;
  /** It speaks PROFINET of itself: its LLDP frames carry PROFINET's TLVs, or it answered in one of PROFINET's protocols. */
  profinet: boolean;
  model: string;
  order_code: string;
  has_name: boolean;
}

export interface Proposal {
  type: string;
  /** The level of the Purdue model; null where behaviour does not tell. */
  purdue_level: number | null;
  reason: string;
}

const bits = (...names: OperationName[]): number => names.reduce((mask, name) => mask | (1 << Operation[name]), 0);

/** Done by somebody who changes what a controller does, not by somebody who operates it. */
const PROGRAMMING = bits('program_download', 'program_upload', 'firmware', 'mode_change', 'stop', 'start');
const WRITING = bits('write', 'control');

/** Protocols between controllers and those who supervise them; the others say nothing of a place in the plant. */
const CONTROLLER = new Set([
  's7comm', 's7comm_plus', 'modbus', 'umas', 'enip', 'cip', 'cipio', 'fins', 'omron', 'melsec', 'slmp', 'ge_srtp', 'ads', 'codesys', 'pn_io',
  'pn_rt', 'profinet', 'hart_ip', 'bacnet',
]); // biome-ignore format: a list
const TELECONTROL = new Set(['dnp3', 'iec60870_104', 'iec60870_101', 'synphasor']);
const SUBSTATION = new Set(['goose', 'sv', 'mms']);
const SUPERVISORY = new Set(['opcua']);
/** Between networks and hosts: taking part in them makes nobody a server or a workstation. */
const HOUSEKEEPING = new Set(['', 'arp', 'lldp', 'icmp', 'igmp', 'tpkt', 'cotp', 'mdns', 'ssdp', 'llmnr', 'dhcp']);

const isIndustrial = (name: string) =>
  CONTROLLER.has(name) || TELECONTROL.has(name) || SUBSTATION.has(name) || SUPERVISORY.has(name);

/** A station with a port more to pass the line on says that it is a bridge, too (IEEE 802.1AB-2016, 8.5.8.1): that makes it no switch. */
const STATION = /station only/i;
/** Article numbers of Siemens' operator panels. */
const OPERATOR_PANEL = /^6AV/;

interface Rule {
  type: string;
  purdue_level: number | null;
  /** The reason in words where the rule holds, else ''. */
  when(conduct: Conduct): string;
}

/** The first that holds is the proposal: the more a device says by what it does, the earlier its rule. */
const RULES: readonly Rule[] = [
  { type: 'router', purdue_level: null, when: (c) => (c.redundancy ? `address of ${c.redundancy}` : '') },
  { type: 'router', purdue_level: null, when: (c) => (c.router ? 'forwards packets of other addresses' : '') },
  {
    type: 'engineering_station',
    purdue_level: 3,
    when: (c) => programming(c),
  },
  {
    type: 'gateway',
    purdue_level: 1,
    when: (c) => (c.units.length > 1 ? `answers for ${list(c.units)}` : ''),
  },
  { type: 'ied', purdue_level: 1, when: (c) => said('serves', served(c, SUBSTATION)) },
  { type: 'rtu', purdue_level: 1, when: (c) => said('serves', served(c, TELECONTROL)) },
  { type: 'plc', purdue_level: 1, when: (c) => said('serves', served(c, CONTROLLER)) },
  { type: 'plc', purdue_level: 1, when: (c) => (c.modules > 0 ? `has ${c.modules} modules in racks` : '') },
  { type: 'plc', purdue_level: 1, when: (c) => (/^CPU\b/i.test(c.model) ? `says of itself: ${c.model}` : '') },
  { type: 'hmi', purdue_level: 2, when: (c) => (OPERATOR_PANEL.test(c.order_code) ? `says of itself: ${c.order_code}` : '') },
  {
    type: 'scada',
    purdue_level: 2,
    when: (c) => {
      const used = uses(c);
      const count = peersOf(used);
      return count >= 3 || (count > 1 && protocols(used).length > 1)
        ? `${verb(used)} ${count} devices over ${list(protocols(used))}`
        : '';
    },
  },
  {
    type: 'hmi',
    purdue_level: 2,
    when: (c) => {
      const used = uses(c);
      const count = peersOf(used);
      return used.length ? `${verb(used)} ${count} ${count === 1 ? 'device' : 'devices'} over ${list(protocols(used))}` : '';
    },
  },
  { type: 'server', purdue_level: 2, when: (c) => said('serves', served(c, SUPERVISORY)) },
  { type: 'router', purdue_level: null, when: (c) => says(c, /router/i) },
  {
    type: 'field_device',
    purdue_level: null,
    when: (c) =>
      c.profinet && STATION.test(c.device_type) && /bridge/i.test(c.device_type)
        ? `PROFINET device that says of itself: ${c.device_type}`
        : '',
  },
  { type: 'switch', purdue_level: null, when: (c) => (STATION.test(c.device_type) ? '' : says(c, /bridge|switch/i)) },
  { type: 'access_point', purdue_level: null, when: (c) => says(c, /wlan|access.?point/i) },
  {
    type: 'server',
    purdue_level: null,
    when: (c) =>
      said(
        'serves',
        c.deeds.filter((d) => d.role === 'server' && isOffice(d)),
      ),
  },
  {
    type: 'server',
    purdue_level: null,
    when: (c) =>
      said(
        'serves',
        c.deeds.filter((d) => d.role === 'server' && d.app_proto === 'dhcp'),
      ),
  },
  {
    type: 'workstation',
    purdue_level: null,
    when: (c) =>
      said(
        'uses',
        c.deeds.filter((d) => d.role === 'client' && isOffice(d)),
      ),
  },
  {
    type: 'workstation',
    purdue_level: null,
    when: (c) =>
      c.has_name && c.deeds.some((d) => d.role === 'client' && d.app_proto === 'dhcp')
        ? 'asks for an address by name over dhcp'
        : '',
  },
];

/** Type and level as the device's behaviour suggests: a proposal for a person, with the reason. */
export function propose(conduct: Conduct): Proposal {
  for (const rule of RULES) {
    const reason = rule.when(conduct);
    if (reason) return { type: rule.type, purdue_level: rule.purdue_level, reason };
  }
  return { type: 'unknown', purdue_level: null, reason: '' };
}

/** Why it is a programming station, in words; '' where it is none. */
export function programming(conduct: Conduct): string {
  const deeds = conduct.deeds.filter((d) => d.role === 'client' && d.operations & PROGRAMMING);
  if (!deeds.length) return '';
  const mask = deeds.reduce((all, d) => all | (d.operations & PROGRAMMING), 0);
  const done = (Object.keys(Operation) as OperationName[]).filter((name) => mask & (1 << Operation[name]));
  return `${list(done)} over ${list(protocols(deeds))} at ${list(peerNames(deeds))}`;
}

function served(c: Conduct, protocolsOf: ReadonlySet<string>): Deed[] {
  return c.deeds.filter((d) => d.role === 'server' && protocolsOf.has(d.app_proto));
}

function uses(c: Conduct): Deed[] {
  return c.deeds.filter((d) => d.role === 'client' && isIndustrial(d.app_proto));
}

function isOffice(d: Deed): boolean {
  return !isIndustrial(d.app_proto) && !HOUSEKEEPING.has(d.app_proto);
}

function says(c: Conduct, pattern: RegExp): string {
  return pattern.test(c.device_type) ? `says of itself: ${c.device_type}` : '';
}

function said(what: string, deeds: Deed[]): string {
  if (!deeds.length) return '';
  const count = peersOf(deeds);
  const to = what === 'serves' ? 'to ' : 'of ';
  return `${what} ${list(protocols(deeds))} ${to}${count} ${count === 1 ? 'peer' : 'peers'}`;
}

const verb = (deeds: Deed[]) => (deeds.some((d) => d.operations & WRITING) ? 'reads and writes' : 'polls');
const protocols = (deeds: Deed[]) => [...new Set(deeds.map((d) => d.app_proto))].sort();
const peerNames = (deeds: Deed[]) => [...new Set(deeds.flatMap((d) => d.peers))].sort();
const peersOf = (deeds: Deed[]) => peerNames(deeds).length;

const LISTED = 6;

function list(names: readonly string[]): string {
  const shown = names.slice(0, LISTED).join(', ');
  return names.length > LISTED ? `${shown} and ${names.length - LISTED} more` : shown;
}
