/**
 * What the collector hands to the writer: plain data, structured-cloneable. Times are milliseconds since the epoch with fractions,
 * frames are packet numbers in the capture `capture_id`, from 1. Addresses are text: MAC `00:11:22:aa:bb:cc`, IP as in RFC 5952;
 * '' where there is none. `segment` is the VLAN stack from the outside in, `10` or `100.20`; '' untagged.
 */
export interface ChangeSet {
  captures: CaptureRow[];
  /** Devices whose interfaces, addresses, attributes and parts are given whole in this change set: the stored ones go. */
  device_resets: number[];
  /** Devices that turned out to be another one, or addresses that turned out to be another device's; applied in order. */
  reassignments: Reassignment[];
  devices: DeviceRow[];
  /** Of stored devices whose row did not change otherwise: last_ms, id; one after the other. */
  device_times: number[];
  interfaces: InterfaceRow[];
  addresses: AddressRow[];
  attributes: AttributeRow[];
  parts: PartRow[];
  connections: ConnectionRow[];
  /**
   * Of stored connections whose row did not change otherwise: flows, packets_from_opener, packets_from_responder, bytes_from_opener,
   * bytes_from_responder (increments), last_ms, id; one after the other.
   */
  connection_counts: number[];
  /** Activities that turned out to be part of another, which has their counts: the stored ones go. */
  activities_gone: number[];
  activities: ActivityRow[];
  /** Of stored activities likewise: count (an increment), target_first, target_last, last_ms, id. */
  activity_counts: (number | null)[];
  alerts: AlertRow[];
  evidence: EvidenceRow[];
  events: EventRow[];
}

/** One file replayed, or one run of live capture. */
export interface CaptureRow {
  id: number;
  source: string;
  /** Absolute numbers, not increments: the last one counts. */
  packets: number;
  bytes: number;
  /** Time of the first and the last packet; null while there was none. */
  first_ms: number | null;
  last_ms: number | null;
  finished: boolean;
  counters: Record<string, number>;
  warnings: string[];
}

export interface Reassignment {
  from: number;
  to: number;
  /** Only what was said of this address; null: everything, `from` is merged into `to`. */
  ip: string | null;
}

export interface DeviceRow {
  id: number;
  first_ms: number;
  last_ms: number;
  first_frame: number;
  capture_id: number;
  name: string;
  /** plc, rtu, hmi, …; unknown. Proposed, with the reason in words. */
  type: string;
  type_reason: string;
  /** 0 … 5; null where behaviour does not tell. */
  purdue_level: number | null;
  programming_station: boolean;
  programming_reason: string;
  router: boolean;
  gateway: boolean;
  vendor: string;
  model: string;
  firmware: string;
  serial: string;
  /** The main ones, for lists; all of them stand in interfaces and addresses. */
  mac: string;
  ip: string;
  segment: string;
  zone: string;
  /** What the inventory needs to go on from after a restart; its own format. */
  behaviour: string;
}

export interface InterfaceRow {
  device_id: number;
  segment: string;
  mac: string;
  vendor: string;
  router: boolean;
  first_ms: number;
  last_ms: number;
}

export interface AddressRow {
  device_id: number;
  segment: string;
  ip: string;
  /** Of the device's own interface; '' behind a router. */
  mac: string;
  how: string;
  /** Where the packets came from when that is not the device itself: the router's MAC. */
  via_mac: string;
  current: boolean;
  first_ms: number;
  last_ms: number;
  first_frame: number;
  capture_id: number;
}

/** One value one source gave: the evidence, and (where not current) the history. */
export interface AttributeRow {
  device_id: number;
  /** '' the device itself, else the part's name. */
  part: string;
  attribute: string;
  value: string;
  app_proto: string;
  field: string;
  /** The address it was said of. */
  ip: string;
  /** The last value of its source. */
  current: boolean;
  /** The one that is shown: the current value of the source that takes precedence. */
  preferred: boolean;
  first_ms: number;
  last_ms: number;
  first_frame: number;
  capture_id: number;
}

/** A device or module behind or in a device. */
export interface PartRow {
  device_id: number;
  /** 'unit 5', 'outstation 10', 'rack 0 slot 2' */
  part: string;
  /** unit, outstation, module, other */
  kind: string;
  number: number;
  ip: string;
  app_proto: string;
  first_ms: number;
  last_ms: number;
  first_frame: number;
  capture_id: number;
}

/** Counters are increments since the last change set. */
export interface ConnectionRow {
  id: number;
  segment: string;
  proto: string;
  app_proto: string;
  recognised_by: string;
  opener_device: number | null;
  opener_mac: string;
  opener_ip: string;
  responder_device: number | null;
  responder_mac: string;
  responder_ip: string;
  /** 0 where there are no ports, or where a pair's many ports were folded into one row. */
  server_port: number;
  /** opener, responder, unknown */
  client: string;
  opener_certain: boolean;
  ethertype: number;
  flows: number;
  packets_from_opener: number;
  packets_from_responder: number;
  bytes_from_opener: number;
  bytes_from_responder: number;
  first_ms: number;
  last_ms: number;
  first_frame: number;
  capture_id: number;
}

/** `count` is an increment. */
export interface ActivityRow {
  id: number;
  connection_id: number;
  app_proto: string;
  operation: string;
  from_opener: boolean;
  role: string;
  target: string;
  /** Lowest and highest seen; null without a target. */
  target_first: number | null;
  target_last: number | null;
  /** -1: none */
  unit: number;
  unit_name: string;
  count: number;
  first_ms: number;
  last_ms: number;
  first_frame: number;
  capture_id: number;
}

/** `count` is an increment; everything else of an alert already stored stays, but the last time and frame. */
export interface AlertRow {
  key: string;
  kind: string;
  severity: string;
  title: string;
  description: string;
  source_mac: string;
  source_ip: string;
  source_port: number;
  source_device: number | null;
  source_zone: string;
  destination_mac: string;
  destination_ip: string;
  destination_port: number;
  destination_device: number | null;
  destination_zone: string;
  segment: string;
  proto: string;
  app_proto: string;
  operation: string;
  technique: string;
  details: Record<string, unknown>;
  count: number;
  first_ms: number;
  last_ms: number;
  first_frame: number;
  last_frame: number;
  capture_id: number;
}

export interface EvidenceRow {
  alert_key: string;
  /** Its place among the alert's packets. One that is stored already stays. */
  ordinal: number;
  capture_id: number;
  frame: number;
  seconds: number;
  nanoseconds: number;
  captured: number;
  wire: number;
  link_type: number;
  bytes: Uint8Array;
}

export interface EventRow {
  capture_id: number;
  frame: number;
  time_ms: number;
  kind: string;
  device_id: number | null;
  title: string;
  details: Record<string, unknown>;
}

export function emptyChangeSet(): ChangeSet {
  return {
    captures: [],
    device_resets: [],
    reassignments: [],
    devices: [],
    device_times: [],
    interfaces: [],
    addresses: [],
    attributes: [],
    parts: [],
    connections: [],
    connection_counts: [],
    activities_gone: [],
    activities: [],
    activity_counts: [],
    alerts: [],
    evidence: [],
    events: [],
  };
}
