import { bool, bytes, f64, i32, ipv4, list, mac, type RowOf, record, text, u8, u16, u32 } from '../../src/dissect/index.ts';
import {
  DUID_TYPES, ENTERPRISES, HARDWARE_TYPES, MESSAGE_TYPES, OPTION_NAMES, OVERLOADS, RELAY_SUBOPTIONS,
} from './options.ts'; // biome-ignore format: a list

/** RFC 2131, table 1 and RFC 2132; the options that say who and where somebody is stand here as well as in rows of their own. */
export const Dhcp = record('dhcp', 'One message between DHCP client, relay agent and server (or of BOOTP)', {
  op: u8('dhcp.type', 'Who speaks', { names: { 1: 'BOOTREQUEST', 2: 'BOOTREPLY' } }),
  htype: u8('dhcp.hw.type', 'Kind of hardware address', { names: HARDWARE_TYPES }),
  hlen: u8('dhcp.hw.len', 'Size of the hardware address', { unit: 'bytes' }),
  hops: u8('dhcp.hops', 'Relay agents on the way'),
  xid: u32('dhcp.id', 'Transaction ID, chosen by the client'),
  secs: u16('dhcp.secs', 'Time since the client began', { unit: 's' }),
  flags: u16('dhcp.flags', 'Bit 15 broadcast; the others are zero'),
  broadcast: bool('dhcp.flags.bc', 'The client cannot take unicast answers yet'),
  ciaddr: ipv4('dhcp.ip.client', 'Address that the client has'),
  yiaddr: ipv4('dhcp.ip.your', 'Address that the client gets'),
  siaddr: ipv4('dhcp.ip.server', 'Server to boot from next'),
  giaddr: ipv4('dhcp.ip.relay', 'Relay agent'),
  chaddr: mac('dhcp.hw.mac_addr', 'Hardware address of the client'),
  chaddr_bytes: bytes(null, 'Hardware address of the client that is not an Ethernet one'),
  sname: text('dhcp.server', 'Name of the server'),
  file: text('dhcp.file', 'Boot file'),
  magic_cookie: u32(null, 'What kind of options follow; 99.130.83.99'),
  option_codes: list(u8(null, 'Codes of all options, in order', { names: OPTION_NAMES })),
  message_type: u8('dhcp.option.dhcp', 'DHCP message; absent in BOOTP', { names: MESSAGE_TYPES }),
  overload: u8('dhcp.option.option_overload', 'Where further options are', { names: OVERLOADS }),
  host_name: text('dhcp.option.hostname', 'Name of the client'),
  fqdn_flags: u8('dhcp.fqdn.flags', 'Who updates the DNS, and how the name is written (RFC 4702, 2.1)'),
  fqdn_name: text('dhcp.fqdn.name', 'Fully qualified name of the client; a label alone where it is partial'),
  fqdn_labels: bytes(null, 'That name as labels of the DNS, where they are several'),
  vendor_class: text('dhcp.option.vendor_class_id', 'Vendor and configuration of the client, or of the server'),
  client_id_type: u8('dhcp.hw.type', 'Hardware type of the client identifier; 0 other, 255 RFC 4361'),
  client_id_mac: mac('dhcp.hw.mac_addr', 'Client identifier that is a MAC address'),
  client_id: bytes(null, 'Client identifier of another kind, behind its type'),
  client_iaid: u32(null, 'Identity association of the client (RFC 4361)'),
  client_duid_type: u16('dhcp.client_id.duid_type', 'Kind of its unique identifier', { names: DUID_TYPES }),
  requested_address: ipv4('dhcp.option.requested_ip_address', 'Address that the client wants'),
  server_id: ipv4('dhcp.option.dhcp_server_id', 'Server that is meant, or answers'),
  lease_time: u32('dhcp.option.ip_address_lease_time', 'Lease', { unit: 's' }),
  renewal_time: u32('dhcp.option.renewal_time_value', 'Time to renewal (T1)', { unit: 's' }),
  rebinding_time: u32('dhcp.option.rebinding_time_value', 'Time to rebinding (T2)', { unit: 's' }),
  parameter_request_list: list(u8('dhcp.option.request_list_item', 'Options the client wants', { names: OPTION_NAMES })),
  maximum_message_size: u16('dhcp.option.dhcp_max_message_size', 'Largest message the client takes', { unit: 'bytes' }),
  subnet_mask: ipv4('dhcp.option.subnet_mask', 'Subnet mask'),
  domain_name: text('dhcp.option.domain_name', 'Domain of the client'),
  message: text('dhcp.option.message', 'Why it was refused or declined'),
  tftp_server_name: text('dhcp.option.tftp_server_name', 'TFTP server'),
  bootfile_name: text('dhcp.option.bootfile_name', 'Boot file'),
  broadcast_address: ipv4('dhcp.option.broadcast_address', 'Broadcast address'),
  interface_mtu: u16('dhcp.option.interface_mtu', 'Largest packet of the link', { unit: 'bytes' }),
  time_offset: i32('dhcp.option.time_offset', 'Offset from UTC', { unit: 's' }),
  mud_url: text('dhcp.option.mudurl', 'Manufacturer usage description (RFC 8520)'),
  client_architectures: list(u16('dhcp.option.client_system_architecture', 'What the client’s firmware can boot (RFC 4578)')),
});

export const DhcpOption = record('dhcp_option', 'An option, its parts joined (RFC 3396)', {
  code: u8(null, 'Option', { names: OPTION_NAMES }),
  option_length: u16('dhcp.option.length', 'Bytes of the value', { unit: 'bytes' }),
  part_count: u8(null, 'Options it was joined of, where they are several'),
  area: u8(null, 'Field of the message it stands in', { names: { 0: 'options', 1: 'file', 2: 'sname' } }),
  address: ipv4(null, 'Value that is one address'),
  number: f64(null, 'Value that is one number'),
  numbers: list(u16(null, 'Value that is a list of numbers')),
  text: text(null, 'Value that is text'),
  value: bytes(null, 'Value of any other kind'),
});

/** One column is set: which depends on the option. */
export const DhcpAddress = record('dhcp_address', 'An address of an option that lists addresses', {
  code: u8(null, 'Option', { names: OPTION_NAMES }),
  router: ipv4('dhcp.option.router', 'Router'),
  domain_name_server: ipv4('dhcp.option.domain_name_server', 'DNS server'),
  time_server: ipv4('dhcp.option.time_server', 'Time server (RFC 868)'),
  ntp_server: ipv4('dhcp.option.ntp_server', 'NTP server'),
  log_server: ipv4('dhcp.option.log_server', 'Log server'),
  netbios_name_server: ipv4('dhcp.option.netbios_over_tcpip_name_server', 'NetBIOS (WINS) name server'),
  tftp_server: ipv4('dhcp.option.tftp_server_address', 'TFTP server'),
  address: ipv4(null, 'Address of any other kind'),
});

export const DhcpRoute = record('dhcp_route', 'A route the client is to use (options 33, 121, 249)', {
  code: u8(null, 'Option', { names: OPTION_NAMES }),
  destination: ipv4(null, 'Destination'),
  prefix_length: u8(null, 'Bits of the destination; absent in option 33, which has no mask', { unit: 'bits' }),
  next_hop: ipv4(null, 'Router; 0.0.0.0 means on the link'),
});

export const DhcpRelayAgent = record('dhcp_relay_agent', 'What a relay agent (a switch) adds of the client: a sub-option of 82', {
  suboption: u8('dhcp.option.agent_information_option.suboption', 'Sub-option', { names: RELAY_SUBOPTIONS }),
  suboption_length: u8('dhcp.option.suboption_length', 'Bytes of the sub-option', { unit: 'bytes' }),
  circuit_id: bytes(
    'dhcp.option.agent_information_option.agent_circuit_id',
    'Port the request came in by, as the agent numbers it',
  ),
  remote_id: bytes('dhcp.option.agent_information_option.agent_remote_id', 'The agent, or the far end of the circuit'),
  link_selection: ipv4('dhcp.option.agent_information_option.link_selection', 'Subnet of the client (RFC 3527)'),
  subscriber_id: text('dhcp.option.agent_information_option.subscriber_id', 'Subscriber (RFC 3993)'),
  server_id_override: ipv4('dhcp.option.agent_information_option.server_id_override', 'Address to renew at (RFC 5107)'),
  value: bytes(null, 'Value of any other sub-option'),
});

export const DhcpVendorOption = record('dhcp_vendor_option', 'An entry of options 124 and 125 (RFC 3925)', {
  code: u8(null, 'Option', { names: OPTION_NAMES }),
  enterprise: u32(null, 'Whose it is, by IANA enterprise number', { names: ENTERPRISES }),
  vendor_class: text('dhcp.option.vi_class.data', 'Class of vendor (option 124)'),
  suboption: u8(null, 'Sub-option, as the enterprise numbers them (option 125)'),
  manufacturer_oui: text(null, 'Manufacturer, by OUI in hex (Broadband Forum TR-069, annex F)'),
  serial_number: text(null, 'Serial number of the device'),
  product_class: text(null, 'Product class of the device'),
  value: bytes(null, 'Value of any other sub-option'),
});

export const ANOMALIES = {
  missing_end: 'An area of options has no End option',
  repeated_option: 'An option that may be there once is there again; the first one counts',
  invalid_overload: 'Option overload has another value than 1 to 3, or stands where it cannot',
  wrong_length: 'A value is shorter or longer than its option allows',
  op_mismatch: 'A message that only servers send in a request, or one that only clients send in a reply',
  too_many_options: 'More options than anybody sends; the rest is not read',
} as const;
export type Anomaly = keyof typeof ANOMALIES;

export type DhcpRow = RowOf<(typeof Dhcp)['fields']>;
export type OptionRow = RowOf<(typeof DhcpOption)['fields']>;
