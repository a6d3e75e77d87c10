import type { ot_sensor } from '../proto/facts.js';
import { anyIp, anyMac, isHost, isStation } from './address.ts';
import type { Deed } from './classify.ts';
import type { Pair, Share } from './conversations.ts';

/** Limits of the inventory; what goes beyond is not taken up and counted. */
export interface Limits {
  devices: number;
  /**
   * Of these, how many may be known by an address alone: hosts behind routers. Anybody can invent those with one MAC, so they must not
   * take the room of devices that are in the segment.
   */
  devices_without_mac: number;
  interfaces_per_device: number;
  addresses_per_device: number;
  /** Segments in which one address is told apart. */
  segments_per_address: number;
  /** MACs that are remembered to have used one address in a segment. */
  claims_per_address: number;
  attributes_per_device: number;
  /** Former values kept of what one source says. */
  values_per_attribute: number;
  parts_per_device: number;
  deeds_per_device: number;
  peers_per_deed: number;
  /** Conversations being followed; the oldest is forgotten. */
  flows: number;
  connections: number;
  /** Unrecognised server ports of a pair of hosts that get a row each; the rest share one. */
  ports_per_pair: number;
  activities: number;
  activities_per_connection: number;
  /** Events of one kind that one device may cause in an hour of packet time. */
  events_per_hour: number;
  /** Events kept until they are drained. */
  events: number;
  text_length: number;
}

export const DEFAULT_LIMITS: Limits = {
  devices: 60_000,
  devices_without_mac: 50_000,
  interfaces_per_device: 64,
  addresses_per_device: 256,
  segments_per_address: 64,
  claims_per_address: 16,
  attributes_per_device: 512,
  values_per_attribute: 16,
  parts_per_device: 1024,
  deeds_per_device: 64,
  peers_per_deed: 32,
  flows: 262_144,
  connections: 100_000,
  ports_per_pair: 64,
  activities: 200_000,
  activities_per_connection: 512,
  events_per_hour: 32,
  events: 100_000,
  text_length: 256,
};

export const COUNTERS = [
  'devices_refused', 'devices_without_mac_refused', 'interfaces_refused', 'addresses_refused', 'attributes_refused',
  'attribute_values_forgotten', 'parts_refused', 'deeds_refused', 'flows_forgotten', 'facts_without_flow', 'connections_refused', 'ports_folded', 'activities_refused',
  'events_suppressed',
] as const; // biome-ignore format: a list
export type InventoryCounters = Record<(typeof COUNTERS)[number], number>;

/** Where and when: the packet that caused something. */
export interface Moment {
  frame: number;
  time_ms: number;
}

/** One MAC in one segment. */
export interface Face {
  segment: string;
  mac: string;
  vendor: string;
  /** null: the virtual address of a redundancy group, which is nobody's own. */
  device: Device | null;
  /** The redundancy group; ''. */
  redundancy: string;
  /** Sends packets of addresses that are not its own. */
  router: boolean;
  first_ms: number;
  last_ms: number;
  /** Addresses it claims, by address; of a router only those it spoke for itself. */
  claims: Map<string, Claim>;
}

/** A MAC used an address as its own, or seemed to. */
export interface Claim {
  face: Face;
  place: Place;
  /** Said by the owner itself (ARP, DHCP); otherwise only the source of packets. */
  strong: boolean;
  /** The address had another owner then: the packets are forwarded, or the address is disputed. */
  transit: boolean;
  last_ms: number;
}

/** One IP address in one segment. */
export interface Place {
  segment: string;
  ip: string;
  device: Device | null;
  claims: Claim[];
  /** The router its packets come from, where it has no MAC of its own here. */
  via: Face | null;
}

/** An address a device has or had. */
export interface AddressRecord {
  place: Place;
  mac: string;
  via_mac: string;
  how: string;
  current: boolean;
  first_ms: number;
  last_ms: number;
  first_frame: number;
  capture_id: number;
}

export interface AttributeValue {
  part: string;
  attribute: string;
  value: string;
  app_proto: string;
  field: string;
  ip: string;
  current: boolean;
  preferred: boolean;
  first_ms: number;
  last_ms: number;
  first_frame: number;
  capture_id: number;
}

export interface Part {
  part: string;
  kind: string;
  number: number;
  ip: string;
  app_proto: string;
  first_ms: number;
  last_ms: number;
  first_frame: number;
  capture_id: number;
}

export interface Device {
  id: number;
  first_ms: number;
  last_ms: number;
  first_frame: number;
  capture_id: number;
  faces: Face[];
  addresses: AddressRecord[];
  /** By `part|attribute|app_proto|field`: the values of one source, the last one current. */
  attributes: Map<string, AttributeValue[]>;
  parts: Map<string, Part>;
  /** One an address, protocol and role. */
  deeds: Deed[];
  /** The redundancy group it is the address of; ''. */
  redundancy: string;
  type: string;
  type_reason: string;
  purdue_level: number | null;
  programming_reason: string;
  /** Chassis of its LLDP frames; ''. */
  chassis: string;
  serial_key: string;
  /** Events of a kind in the present hour. */
  event_counts: Map<string, { hour: number; count: number }> | null;
  /** What of it is to be stored. */
  stored: boolean;
  dirty: boolean;
  /** More than times. */
  changed: boolean;
  reset: boolean;
  dirty_faces: boolean;
  dirty_addresses: boolean;
  dirty_attributes: boolean;
  dirty_parts: boolean;
}

/** One end of a flow: looked up until it is known who it is. */
export interface End {
  mac: string;
  ip: string;
  port: number;
  /** As shown in the connection, also where no device has that address. */
  shown_mac: string;
  shown_ip: string;
  face: Face | null;
  place: Place | null;
  /** It has sent. */
  seen: boolean;
}

export interface Flow {
  segment: string;
  proto: string;
  ethertype: number;
  opener: End;
  responder: End;
  app_proto: string;
  recognised_by: string;
  opener_certain: boolean;
  client: number;
  first_ms: number;
  last_ms: number;
  first_frame: number;
  pair: Pair;
  connection: Connection | null;
  /** There was no room for its connection, and that was counted. */
  refused: boolean;
  /** Where others count, too. */
  shares: Share[];
  packets_from_opener: number;
  packets_from_responder: number;
  bytes_from_opener: number;
  bytes_from_responder: number;
}

/** All flows between two ends to one server port in one protocol. Counters are what is not yet drained. */
export interface Connection {
  id: number;
  pair: Pair;
  segment: string;
  proto: string;
  ethertype: number;
  opener: End;
  responder: End;
  server_port: number;
  app_proto: string;
  recognised_by: string;
  opener_certain: boolean;
  client: number;
  /** Of this run; with none left and nothing stored it is forgotten. */
  total_flows: number;
  stored: boolean;
  /** More than counts and the last time. */
  changed: boolean;
  /** The devices that were stored with it. */
  opener_device: number | null;
  responder_device: number | null;
  activities: ActivityEntry[];
  flows: number;
  packets_from_opener: number;
  packets_from_responder: number;
  bytes_from_opener: number;
  bytes_from_responder: number;
  first_ms: number;
  last_ms: number;
  first_frame: number;
}

export interface ActivityEntry {
  id: number;
  connection: Connection;
  /** The flow that alone counts there, as long as it is followed; null where there were others, and each has its share. */
  sole: Flow | null;
  app_proto: string;
  operation: string;
  from_opener: boolean;
  role: string;
  target: string;
  target_first: number;
  target_last: number;
  unit: number;
  unit_name: string;
  /** Not yet drained: an increment, negative where a flow took its part to another connection. */
  count: number;
  total_count: number;
  stored: boolean;
  /** More than counts, the range of targets and the last time. */
  changed: boolean;
  first_ms: number;
  last_ms: number;
  first_frame: number;
}

export function newEnd(endpoint: ot_sensor.Endpoint.$Properties | null | undefined): End {
  const shown_mac = anyMac(endpoint?.mac);
  const shown_ip = anyIp(endpoint?.ip);
  const mac = isStation(endpoint?.mac) ? shown_mac : '';
  // What is sent to a group or broadcast MAC has no single host at its address.
  const grouped = shown_mac !== '' && mac === '' && !isZero(endpoint?.mac);
  const ip = !grouped && isHost(endpoint?.ip) ? shown_ip : '';
  return { mac, ip, port: endpoint?.port ?? 0, shown_mac, shown_ip, face: null, place: null, seen: false };
}

const isZero = (mac: Uint8Array | null | undefined) => !mac || mac.every((byte) => byte === 0);

/** Whose packets these are: the holder of the address, or the MAC's own device where it speaks for itself. */
export function deviceOf(end: End): Device | null {
  const { face, place } = end;
  if (!place) return end.ip === '' ? (face?.device ?? null) : null;
  if (!face?.device || place.device === face.device) return place.device;
  const claim = face.claims.get(place.ip);
  return claim && !claim.transit ? face.device : place.device;
}
