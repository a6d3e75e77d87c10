/** The reference product's words for ours, for programs that were written for it. */
export const SEVERITY_NAMES: Readonly<Record<string, string>> = {
  warning: 'Warning',
  minor: 'Minor',
  major: 'Major',
  critical: 'Critical',
};

export const ENGINE_NAMES: Readonly<Record<string, string>> = {
  'policy violation': 'Policy Violation',
  'protocol violation': 'Protocol Violation',
  malware: 'Malware',
  anomaly: 'Anomaly',
  operational: 'Operational',
};

const DEVICE_TYPES: Readonly<Record<string, string>> = {
  plc: 'PLC',
  rtu: 'RTU',
  ied: 'IED',
  hmi: 'HMI',
  scada: 'HMI',
  engineering_station: 'Engineering Station',
  historian: 'Historian',
  server: 'Server',
  workstation: 'Workstation',
  router: 'Router',
  switch: 'Switch',
  access_point: 'Wireless Access Point',
  gateway: 'Protocol Converter',
  field_device: 'I/O Adapter',
  unknown: 'Unknown',
};

/** A type that people set stands as they wrote it. */
export const deviceTypeName = (type: string): string => DEVICE_TYPES[type] ?? type;

const PROTOCOLS: Readonly<Record<string, string>> = {
  modbus: 'MODBUS',
  mbrtu: 'MODBUS',
  s7comm: 'Siemens S7',
  dnp3: 'DNP3',
  iec60870_104: 'IEC-60870',
  arp: 'ARP',
  lldp: 'LLDP',
  icmp: 'ICMP',
  '': 'Unknown',
};

export const protocolName = (app_proto: string, proto: string): string =>
  PROTOCOLS[app_proto || (proto === 'icmp' ? proto : '')] ?? app_proto.toUpperCase();

/** Carry others and are no protocol in the reference's sense. */
export const CARRIERS: readonly string[] = ['tpkt', 'cotp'];

const OPERATIONS: Readonly<Record<string, string>> = {
  read: 'Read',
  write: 'Write',
  program_download: 'Program Download',
  program_upload: 'Program Upload',
};

/** `time_sync` as `Time Sync`. */
export const commandName = (operation: string): string =>
  OPERATIONS[operation] ??
  operation.replace(/(^|_)(\w)/g, (_, gap: string, letter: string) => (gap && ' ') + letter.toUpperCase());

/** Type, title and severity of an event by its kind. */
export const EVENT_TYPES: Readonly<
  Record<string, readonly [type: string, title: string, severity: 'INFO' | 'NOTICE' | 'ALERT']>
> = {
  device_detected: ['DEVICE_CREATE', 'Device Detected', 'NOTICE'],
  device_deleted: ['DELETE_DEVICE', 'Device Deleted', 'INFO'],
  address_changed: ['DHCP_UPDATE', 'Address Update', 'INFO'],
  attribute_changed: ['DEVICE_UPDATE', 'Device Updated', 'INFO'],
  router_recognised: ['DEVICE_UPDATE', 'Device Updated', 'INFO'],
  devices_merged: ['DEVICE_UNIFICATION', 'Device Updated', 'INFO'],
  type_changed: ['DEVICE_UPDATE', 'Device Updated', 'INFO'],
};
/** For kinds that the reference does not have, those of the sensor itself among them. */
export const OTHER_EVENT = ['CUSTOM_EVENT', 'User Defined Event', 'NOTICE'] as const;
