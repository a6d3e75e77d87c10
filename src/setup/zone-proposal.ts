import ipaddr from 'ipaddr.js';

/** A conversation, as the database has it. */
export interface Conversation {
  proto: string;
  /** A dissector's name; '' where none recognised it. */
  app_proto: string;
  opener_ip: string;
  responder_ip: string;
  /** 0: none, or many. */
  server_port: number;
}

export interface ZoneProposal {
  /** A zone file; '' where no subnet was seen. */
  text: string;
  zones: number;
  conduits: number;
  /** Subnets that are beyond the limit of a zone file. */
  left_out: number;
}

const MAX_ZONES = 1000;
const MAX_CONDUITS = 2000;
/** More ports than these on one way are written as all. */
const MAX_PORTS = 40;
const EXTERNAL = 'external';

/**
 * Proposes a zone for each subnet that conversations were seen in (IPv4 /24 of private addresses, IPv6 /64 of unique local ones; all else
 * is external) and, for each pair of zones, conduits that allow what was seen and no more. What was seen is not what is right: the file
 * says that it is a proposal. It depends on the conversations alone, not on their order. `isProtocol`: whether a conduit can name it.
 */
export function proposeZones(
  conversations: Iterable<Conversation>,
  isProtocol: (name: string) => boolean,
  from_what: string,
): ZoneProposal {
  const hosts = new Map<string, Set<string>>();
  const ways = new Map<string, Way>();
  for (const { opener_ip, responder_ip, proto, app_proto, server_port } of conversations) {
    const [from, to] = [opener_ip, responder_ip].map((ip) => subnetOf(ip));
    for (const [subnet, ip] of [[from, opener_ip] as const, [to, responder_ip] as const]) {
      if (subnet === null || subnet === EXTERNAL) continue;
      hosts.set(subnet, (hosts.get(subnet) ?? new Set()).add(ip));
    }
    if (from === null || to === null || from === to) continue;
    const key = `${from} ${to}`;
    const way = ways.get(key) ?? { from, to, protocols: new Set(), ports: new Map() };
    ways.set(key, way);
    if (app_proto !== '' && isProtocol(app_proto)) way.protocols.add(app_proto);
    else if (proto !== 'tcp' && proto !== 'udp') way.protocols.add(proto);
    else way.ports.set(proto, (way.ports.get(proto) ?? new Set()).add(server_port));
  }
  const known = [...hosts.keys()].sort(bySubnet);
  const zones = [...known]
    .sort((a, b) => hosts.get(b)!.size - hosts.get(a)!.size)
    .slice(0, MAX_ZONES)
    .sort(bySubnet);
  if (zones.length === 0) return { text: '', zones: 0, conduits: 0, left_out: 0 };
  const isZone = new Set([...zones, EXTERNAL]);
  const conduits = [...ways.values()]
    .filter(({ from, to }) => isZone.has(from) && isZone.has(to))
    .sort((a, b) => bySubnet(a.from, b.from) || bySubnet(a.to, b.to))
    .flatMap((way) => conduitsOf(way, isProtocol))
    .slice(0, MAX_CONDUITS);
  const text = `# A PROPOSAL, made from ${from_what}. It is no policy yet: it allows all that was seen, right or wrong.
# Go through it: name the zones, set their level, join or split subnets, and take out the conduits that should not be there.
# Then: ot-sensor zones check FILE, and name the file under "zones" in the settings.
default: alert

zones:
${zones.map((subnet) => zoneText(subnet, hosts.get(subnet)!.size)).join('')}
conduits:${conduits.length === 0 ? ' []\n' : `\n${conduits.join('\n')}`}`;
  return { text, zones: zones.length, conduits: conduits.length, left_out: known.length - zones.length };
}

interface Way {
  from: string;
  to: string;
  protocols: Set<string>;
  /** By tcp and udp. */
  ports: Map<string, Set<number>>;
}

const nameOf = (subnet: string): string => (subnet === EXTERNAL ? EXTERNAL : `"subnet ${subnet}"`);

const zoneText = (subnet: string, hosts: number): string => `  - name: ${nameOf(subnet)}
    description: proposed; ${hosts} ${hosts === 1 ? 'address was' : 'addresses were'} seen
    subnets: ["${subnet}"]
`;

function conduitsOf({ from, to, protocols, ports }: Way, isProtocol: (name: string) => boolean): string[] {
  const conduit = (what: string, lines: string) => `  - name: "proposed: ${plain(from)} to ${plain(to)}, ${what}"
    from: ${nameOf(from)}
    to: ${nameOf(to)}
${lines}`;
  // What no conduit can name is left to be looked at: it will be reported.
  const named = [...protocols].filter(isProtocol).sort();
  const recognised = named.length === 0 ? [] : [conduit('recognised', `    protocols: [${named.join(', ')}]\n`)];
  const others = [...ports].sort().map(([proto, numbers]) => {
    const list = [...numbers].sort((a, b) => a - b);
    const some = numbers.has(0) || list.length > MAX_PORTS ? '' : `    ports: [${list.join(', ')}]\n`;
    return conduit(proto, `    protocols: ${proto}\n${some}`);
  });
  return [...recognised, ...others];
}

const plain = (subnet: string): string => (subnet === EXTERNAL ? 'outside' : subnet);

/** null: an address that has no place, as of a group. */
function subnetOf(ip: string): string | null {
  if (!ipaddr.isValid(ip)) return null;
  const address = ipaddr.process(ip);
  const range = address.range();
  if (['unspecified', 'broadcast', 'multicast', 'linkLocal', 'loopback'].includes(range)) return null;
  if (address.kind() === 'ipv4') {
    if (range !== 'private') return EXTERNAL;
    const [a, b, c, d] = address.toByteArray();
    return d === 255 || d === 0 ? null : `${a}.${b}.${c}.0/24`;
  }
  if (range !== 'uniqueLocal') return EXTERNAL;
  const bytes = address.toByteArray().map((byte, i) => (i < 8 ? byte : 0));
  return `${ipaddr.fromByteArray(bytes).toString()}/64`;
}

function bySubnet(a: string, b: string): number {
  const key = (subnet: string) =>
    subnet === EXTERNAL
      ? ''
      : ipaddr
          .parse(subnet.split('/')[0])
          .toByteArray()
          .map((byte) => byte.toString(16).padStart(2, '0'))
          .join('');
  const [left, right] = [key(a), key(b)];
  return left.length - right.length || (left < right ? -1 : left > right ? 1 : 0);
}
