import { Decoded, type DecodedCode, type Packet } from '../decode/packet.ts';
import { ACK, FlowTable, PROTOCOL_ETHERNET } from '../flow/flow-table.ts';
import { OFFSET, type PacketRing } from './batch.ts';

/** What was seen on one interface over a stretch of time: what `verdictsOf` (port-verdict.ts) judges. Plain numbers that add up. */
export interface PortTraffic {
  seconds: number;
  packets: number;
  bytes: number;
  /** By destination MAC address, of the outermost frame. Without MAC addresses by the IP address. */
  unicast: number;
  broadcast: number;
  multicast: number;
  /** Unicast frames from or to the interface's own MAC address, that are not tunnels' which end here. */
  own_unicast: number;
  /** Packets in tunnels (GRE, ERSPAN, VXLAN, …). */
  tunneled: number;
  /** Packets of which not all was captured. */
  cut: number;
  /** Packets longer than the interface's largest frame: put together by the network card. */
  merged: number;
  malformed: number;
  /** IPv4 packets that came right behind one just like it (identification, sequence number, length). */
  doubled: number;
  untagged: number;
  /** Most first; the tags from the outside in, joined by dots. At most MAX_LISTED. */
  vlans: Share[];
  /** Most first, by dissector where the port or EtherType is one's. At most MAX_LISTED. */
  protocols: Share[];
  /** TCP connections that were acknowledging when they were seen, and of these the ones of which only one side was heard. */
  connections: number;
  one_way_connections: number;
  /** The same of all unicast conversations over IP, where silence of one side may be as it should. */
  conversations: number;
  one_way_conversations: number;
  /** Conversations that were not counted, because there were too many. */
  conversations_left_out: number;
}

export interface Share {
  name: string;
  packets: number;
}

/** What of an interface does not come from its packets. */
export interface PortFacts {
  /** null where it has none. */
  mac: string | null;
  /** Bytes; null where it is not known. */
  mtu: number | null;
}

/** Names a protocol by where it is carried; null where nobody knows it. */
export interface ProtocolNames {
  onPort(is_tcp: boolean, port: number): string | null;
  onEthertype(ethertype: number): string | null;
  onIp(protocol: number): string;
}

/** Conversations that are followed, an interface. */
export const MAX_CONVERSATIONS = 16_384;
/** VLANs and protocols that are told, and that are counted apart. */
export const MAX_LISTED = 100;
const MAX_COUNTED = 4096;
/** Ethernet header, and two tags. */
const FRAME_OVERHEAD = 14 + 8;
/** A copy comes with its original; a repetition takes longer. */
const DOUBLE_MS = 10;
const ACKNOWLEDGING = 1;
const TO_MANY = 2;
const TCP = 6;
const UDP = 17;

const ETHERTYPES: Readonly<Record<number, string>> = {
  0: 'llc',
  2054: 'arp',
  32821: 'rarp',
  34915: 'pppoe',
  34962: 'profinet',
  34980: 'ethercat',
  34987: 'powerlink',
  35000: 'goose',
  35001: 'gse',
  35002: 'sv',
  35020: 'lldp',
  35021: 'sercos',
  35041: 'homeplug',
  35043: 'mrp',
  35063: 'ptp',
  35067: 'prp',
  35119: 'hsr',
  35074: 'cfm',
  36864: 'loopback-test',
};

/** Counts the packets of one interface. `take` allocates nothing in the steady state. */
export class PortCounter {
  private readonly ring: PacketRing;
  private readonly names: ProtocolNames;
  private readonly own_high: number;
  private readonly own_low: number;
  private readonly longest: number;
  private readonly table: FlowTable;
  /** By conversation: ACKNOWLEDGING, TO_MANY. */
  private readonly traits = new Uint8Array(MAX_CONVERSATIONS);
  private readonly sums = {
    packets: 0,
    bytes: 0,
    unicast: 0,
    broadcast: 0,
    multicast: 0,
    own_unicast: 0,
    tunneled: 0,
    cut: 0,
    merged: 0,
    malformed: 0,
    doubled: 0,
    untagged: 0,
  };
  /** By conversation and direction: what tells the last packet from others, and when it came. */
  private readonly signatures = new Uint32Array(2 * MAX_CONVERSATIONS);
  private readonly signed_ms = new Float64Array(2 * MAX_CONVERSATIONS);
  private readonly vlans = new Map<number, number>();
  private readonly protocols = new Map<number, number>();

  constructor(ring: PacketRing, { mac, mtu }: PortFacts, names: ProtocolNames) {
    this.ring = ring;
    this.names = names;
    this.own_high = mac === null ? -1 : Number.parseInt(mac.slice(0, 5).replace(':', ''), 16);
    this.own_low = mac === null ? -1 : Number.parseInt(mac.slice(6).replaceAll(':', ''), 16);
    this.longest = mtu === null ? Number.POSITIVE_INFINITY : mtu + FRAME_OVERHEAD;
    this.table = new FlowTable((is_tcp, port) => names.onPort(is_tcp, port) !== null, { max_flows: MAX_CONVERSATIONS });
    this.table.onEnd = (slot) => this.ended(slot);
  }

  take(p: Packet, decoded: DecodedCode): void {
    const { sums } = this;
    sums.packets++;
    sums.bytes += p.wire;
    if (p.captured < p.wire) sums.cut++;
    if (p.wire > this.longest) sums.merged++;
    if (p.tunnels > 0) sums.tunneled++;
    this.address(p);
    this.tags(p);
    if (decoded === Decoded.malformed) sums.malformed++;
    if (decoded === Decoded.ok) this.conversation(p);
  }

  /** What was counted, over `seconds`. */
  traffic(seconds: number): PortTraffic {
    const conversations = { ...this.over };
    this.table.forEach((slot) => {
      this.judge(slot, conversations);
    });
    return {
      seconds,
      ...this.sums,
      vlans: shares(this.vlans, vlanName),
      protocols: shares(this.protocols, (key) => this.protocolName(key)),
      ...conversations,
      conversations_left_out: this.table.counters.evicted,
    };
  }

  private address(p: Packet): void {
    const { sums } = this;
    if (p.mac_destination < 0) {
      if (isToMany(p)) sums.multicast++;
      else sums.unicast++;
      return;
    }
    // Of the outermost frame, where a tunnel carries another one.
    const b = p.tunnels > 0 ? this.ring.bytes : p.link_bytes;
    const d = p.tunnels > 0 ? this.ring.index[this.ring.entry(p.frame) + OFFSET] : p.mac_destination;
    const high = (b[d] << 8) | b[d + 1];
    const low = ((b[d + 2] << 24) | (b[d + 3] << 16) | (b[d + 4] << 8) | b[d + 5]) >>> 0;
    if (high === 0xffff && low === 0xffffffff) sums.broadcast++;
    else if ((b[d] & 1) === 1) sums.multicast++;
    else {
      sums.unicast++;
      if (p.tunnels > 0) return;
      const s = p.mac_source;
      const from_high = (b[s] << 8) | b[s + 1];
      const from_low = ((b[s + 2] << 24) | (b[s + 3] << 16) | (b[s + 4] << 8) | b[s + 5]) >>> 0;
      if ((high === this.own_high && low === this.own_low) || (from_high === this.own_high && from_low === this.own_low))
        sums.own_unicast++;
    }
  }

  private tags(p: Packet): void {
    if (p.vlan_count === 0) {
      this.sums.untagged++;
      return;
    }
    const outer = p.vlans[0] + 1;
    count(this.vlans, p.vlan_count > 1 ? outer * 8192 + p.vlans[1] + 1 : outer);
  }

  private conversation(p: Packet): void {
    const { table } = this;
    table.find(p);
    const { slot, direction } = table;
    if (table.is_new) this.traits[slot] = isToMany(p) ? TO_MANY : 0;
    table.packets[slot * 2 + direction]++;
    if (p.ip_version === 4 && !p.reassembled) this.doubles(slot * 2 + direction, p);
    table.last_ms[slot] = p.time_ms;
    const protocol = table.protocol(slot);
    if (protocol === PROTOCOL_ETHERNET) {
      count(this.protocols, -1 - p.ethertype);
      return;
    }
    if (protocol === TCP && (p.tcp_flags & ACK) !== 0) this.traits[slot] |= ACKNOWLEDGING;
    count(this.protocols, protocol === TCP || protocol === UDP ? (protocol << 16) | table.port(slot, 1) : protocol);
  }

  /** A mirror of both sides of a switch, or of two VLANs that a router joins, gives each packet twice. */
  private doubles(at: number, p: Packet): void {
    const { bytes: b, network_offset: ip } = p;
    const identification = (b[ip + 4] << 8) | b[ip + 5];
    // RFC 6864: what cannot be fragmented may have none.
    if (identification === 0) return;
    const length = (b[ip + 2] << 8) | b[ip + 3];
    const signature = (Math.imul(p.tcp_sequence, 0x9e3779b1) ^ (identification << 16) ^ length) >>> 0;
    if (signature === this.signatures[at] && Math.abs(p.time_ms - this.signed_ms[at]) < DOUBLE_MS) this.sums.doubled++;
    this.signatures[at] = signature;
    this.signed_ms[at] = p.time_ms;
  }

  /** Of conversations that are over. */
  private readonly over = { connections: 0, one_way_connections: 0, conversations: 0, one_way_conversations: 0 };

  private ended(slot: number): void {
    this.judge(slot, this.over);
    this.table.packets[slot * 2] = this.table.packets[slot * 2 + 1] = 0;
  }

  private judge(slot: number, into: typeof this.over): void {
    const { table } = this;
    const protocol = table.protocol(slot);
    const there = table.packets[slot * 2];
    const back = table.packets[slot * 2 + 1];
    if (protocol === PROTOCOL_ETHERNET || there + back === 0 || (this.traits[slot] & TO_MANY) !== 0) return;
    const one_way = there === 0 || back === 0;
    into.conversations++;
    if (one_way) into.one_way_conversations++;
    // An acknowledgment answers somebody. Of one packet alone the other side may just not have had its turn.
    if (protocol !== TCP || (this.traits[slot] & ACKNOWLEDGING) === 0 || there + back < 2) return;
    into.connections++;
    if (one_way) into.one_way_connections++;
  }

  private protocolName(key: number): string {
    if (key < 0) {
      const ethertype = -1 - key;
      return this.names.onEthertype(ethertype) ?? ETHERTYPES[ethertype] ?? `0x${ethertype.toString(16).padStart(4, '0')}`;
    }
    const [protocol, port] = [key >>> 16, key & 0xffff];
    if (protocol === 0) return this.names.onIp(port);
    return this.names.onPort(protocol === TCP, port) ?? `${protocol === TCP ? 'tcp' : 'udp'}/${port}`;
  }
}

/** To an address of many: a group's MAC address; without one IPv4 224.0.0.0/4 and 255.255.255.255, IPv6 ff00::/8. */
function isToMany(p: Packet): boolean {
  if (p.mac_destination >= 0 && p.link_tunnels === p.tunnels) return (p.link_bytes[p.mac_destination] & 1) === 1;
  const { destination: d } = p;
  return p.ip_version === 4 ? d[3] >>> 28 === 14 || d[3] === 0xffffffff : p.ip_version === 6 && d[0] >>> 24 === 0xff;
}

const OTHER = Number.MAX_SAFE_INTEGER;

function count(map: Map<number, number>, key: number): void {
  const before = map.get(key);
  if (before !== undefined) map.set(key, before + 1);
  else if (map.size < MAX_COUNTED) map.set(key, 1);
  else map.set(OTHER, (map.get(OTHER) ?? 0) + 1);
}

const vlanName = (key: number) => (key < 8192 ? String(key - 1) : `${Math.floor(key / 8192) - 1}.${(key % 8192) - 1}`);

function shares(map: ReadonlyMap<number, number>, nameOf: (key: number) => string): Share[] {
  const byName = new Map<string, number>();
  for (const [key, packets] of map) {
    const name = key === OTHER ? 'other' : nameOf(key);
    byName.set(name, (byName.get(name) ?? 0) + packets);
  }
  const all = [...byName].map(([name, packets]) => ({ name, packets }));
  all.sort((a, b) => b.packets - a.packets || (a.name < b.name ? -1 : 1));
  return all.slice(0, MAX_LISTED);
}
