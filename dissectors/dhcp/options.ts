/** How an option's value is laid out. */
export const Format = {
  bytes: 0,
  text: 1,
  address: 2,
  addresses: 3,
  u8: 4,
  u16: 5,
  u32: 6,
  i32: 7,
  bool: 8,
  u8s: 9,
  u16s: 10,
  /** Destination and router, four bytes each. */
  routes: 11,
  /** Prefix length, as much of the destination as that needs, router: RFC 3442. */
  classless_routes: 12,
  relay_agent: 13,
  fqdn: 14,
  client_id: 15,
  vendor_classes: 16,
  vendor_options: 17,
} as const;
export type FormatName = keyof typeof Format;

/**
 * IANA, BOOTP Vendor Extensions and DHCP Options: code, name, layout; the RFC where it is not 2132.
 * 249 and 252 are from the private range, as Microsoft uses them.
 */
const OPTIONS: readonly [code: number, name: string, format: FormatName][] = [
  [0, 'Pad', 'bytes'],
  [1, 'Subnet Mask', 'address'],
  [2, 'Time Offset', 'i32'],
  [3, 'Router', 'addresses'],
  [4, 'Time Server', 'addresses'],
  [5, 'Name Server', 'addresses'],
  [6, 'Domain Name Server', 'addresses'],
  [7, 'Log Server', 'addresses'],
  [8, 'Cookie Server', 'addresses'],
  [9, 'LPR Server', 'addresses'],
  [10, 'Impress Server', 'addresses'],
  [11, 'Resource Location Server', 'addresses'],
  [12, 'Host Name', 'text'],
  [13, 'Boot File Size', 'u16'],
  [14, 'Merit Dump File', 'text'],
  [15, 'Domain Name', 'text'],
  [16, 'Swap Server', 'address'],
  [17, 'Root Path', 'text'],
  [18, 'Extensions Path', 'text'],
  [19, 'IP Forwarding', 'bool'],
  [20, 'Non-Local Source Routing', 'bool'],
  [21, 'Policy Filter', 'addresses'],
  [22, 'Maximum Datagram Reassembly Size', 'u16'],
  [23, 'Default IP Time-to-live', 'u8'],
  [24, 'Path MTU Aging Timeout', 'u32'],
  [25, 'Path MTU Plateau Table', 'u16s'],
  [26, 'Interface MTU', 'u16'],
  [27, 'All Subnets are Local', 'bool'],
  [28, 'Broadcast Address', 'address'],
  [29, 'Perform Mask Discovery', 'bool'],
  [30, 'Mask Supplier', 'bool'],
  [31, 'Perform Router Discovery', 'bool'],
  [32, 'Router Solicitation Address', 'address'],
  [33, 'Static Route', 'routes'],
  [34, 'Trailer Encapsulation', 'bool'],
  [35, 'ARP Cache Timeout', 'u32'],
  [36, 'Ethernet Encapsulation', 'bool'],
  [37, 'TCP Default TTL', 'u8'],
  [38, 'TCP Keepalive Interval', 'u32'],
  [39, 'TCP Keepalive Garbage', 'bool'],
  [40, 'NIS Domain', 'text'],
  [41, 'NIS Servers', 'addresses'],
  [42, 'NTP Servers', 'addresses'],
  [43, 'Vendor Specific Information', 'bytes'],
  [44, 'NetBIOS over TCP/IP Name Server', 'addresses'],
  [45, 'NetBIOS over TCP/IP Datagram Distribution Server', 'addresses'],
  [46, 'NetBIOS over TCP/IP Node Type', 'u8'],
  [47, 'NetBIOS over TCP/IP Scope', 'text'],
  [48, 'X Window System Font Server', 'addresses'],
  [49, 'X Window System Display Manager', 'addresses'],
  [50, 'Requested IP Address', 'address'],
  [51, 'IP Address Lease Time', 'u32'],
  [52, 'Option Overload', 'u8'],
  [53, 'DHCP Message Type', 'u8'],
  [54, 'Server Identifier', 'address'],
  [55, 'Parameter Request List', 'u8s'],
  [56, 'Message', 'text'],
  [57, 'Maximum DHCP Message Size', 'u16'],
  [58, 'Renewal (T1) Time Value', 'u32'],
  [59, 'Rebinding (T2) Time Value', 'u32'],
  [60, 'Vendor Class Identifier', 'text'],
  [61, 'Client Identifier', 'client_id'],
  [62, 'NetWare/IP Domain Name', 'text'], // RFC 2242
  [63, 'NetWare/IP Information', 'bytes'], // RFC 2242
  [64, 'NIS+ Domain', 'text'],
  [65, 'NIS+ Servers', 'addresses'],
  [66, 'TFTP Server Name', 'text'],
  [67, 'Bootfile Name', 'text'],
  [68, 'Mobile IP Home Agent', 'addresses'],
  [69, 'SMTP Server', 'addresses'],
  [70, 'POP3 Server', 'addresses'],
  [71, 'NNTP Server', 'addresses'],
  [72, 'Default WWW Server', 'addresses'],
  [73, 'Default Finger Server', 'addresses'],
  [74, 'Default IRC Server', 'addresses'],
  [75, 'StreetTalk Server', 'addresses'],
  [76, 'StreetTalk Directory Assistance Server', 'addresses'],
  [77, 'User Class', 'bytes'], // RFC 3004
  [78, 'SLP Directory Agent', 'bytes'], // RFC 2610
  [79, 'SLP Service Scope', 'bytes'], // RFC 2610
  [80, 'Rapid Commit', 'bytes'], // RFC 4039
  [81, 'Client FQDN', 'fqdn'], // RFC 4702
  [82, 'Relay Agent Information', 'relay_agent'], // RFC 3046
  [83, 'iSNS', 'bytes'], // RFC 4174
  [85, 'NDS Servers', 'addresses'], // RFC 2241
  [86, 'NDS Tree Name', 'text'], // RFC 2241
  [87, 'NDS Context', 'text'], // RFC 2241
  [88, 'BCMCS Controller Domain Names', 'bytes'], // RFC 4280
  [89, 'BCMCS Controller Addresses', 'addresses'], // RFC 4280
  [90, 'Authentication', 'bytes'], // RFC 3118
  [91, 'Client Last Transaction Time', 'u32'], // RFC 4388
  [92, 'Associated IP', 'addresses'], // RFC 4388
  [93, 'Client System Architecture', 'u16s'], // RFC 4578
  [94, 'Client Network Interface Identifier', 'bytes'], // RFC 4578
  [95, 'LDAP', 'text'], // RFC 3679
  [97, 'Client Machine Identifier', 'bytes'], // RFC 4578
  [98, 'User Authentication Protocol', 'text'], // RFC 2485
  [99, 'Civic Location', 'bytes'], // RFC 4776
  [100, 'IEEE 1003.1 Time Zone', 'text'], // RFC 4833
  [101, 'TZ Database Time Zone', 'text'], // RFC 4833
  [108, 'IPv6-Only Preferred', 'u32'], // RFC 8925
  [109, 'DHCPv4-over-DHCPv6 Source Address', 'bytes'], // RFC 8539
  [112, 'NetInfo Parent Server Address', 'addresses'], // RFC 3679
  [113, 'NetInfo Parent Server Tag', 'text'], // RFC 3679
  [114, 'Captive Portal', 'text'], // RFC 8910
  [116, 'Auto-Configure', 'u8'], // RFC 2563
  [117, 'Name Service Search', 'u16s'], // RFC 2937
  [118, 'Subnet Selection', 'address'], // RFC 3011
  [119, 'Domain Search', 'bytes'], // RFC 3397
  [120, 'SIP Servers', 'bytes'], // RFC 3361
  [121, 'Classless Static Route', 'classless_routes'], // RFC 3442
  [122, 'CableLabs Client Configuration', 'bytes'], // RFC 3495
  [123, 'Geographic Location', 'bytes'], // RFC 6225
  [124, 'Vendor-Identifying Vendor Class', 'vendor_classes'], // RFC 3925
  [125, 'Vendor-Identifying Vendor-Specific Information', 'vendor_options'], // RFC 3925
  [128, 'PXE 128 (vendor specific)', 'bytes'], // RFC 4578
  [129, 'PXE 129 (vendor specific)', 'bytes'],
  [130, 'PXE 130 (vendor specific)', 'bytes'],
  [131, 'PXE 131 (vendor specific)', 'bytes'],
  [132, 'PXE 132 (vendor specific)', 'bytes'],
  [133, 'PXE 133 (vendor specific)', 'bytes'],
  [134, 'PXE 134 (vendor specific)', 'bytes'],
  [135, 'PXE 135 (vendor specific)', 'bytes'],
  [136, 'PANA Agent', 'addresses'], // RFC 5192
  [137, 'LoST Server', 'bytes'], // RFC 5223
  [138, 'CAPWAP Access Controller', 'addresses'], // RFC 5417
  [139, 'MoS IPv4 Addresses', 'bytes'], // RFC 5678
  [140, 'MoS FQDNs', 'bytes'], // RFC 5678
  [141, 'SIP UA Configuration Service Domains', 'bytes'], // RFC 6011
  [142, 'ANDSF Servers', 'addresses'], // RFC 6153
  [143, 'SZTP Redirect', 'bytes'], // RFC 8572
  [144, 'Geospatial Location', 'bytes'], // RFC 6225
  [145, 'Forcerenew Nonce Capable', 'u8s'], // RFC 6704
  [146, 'RDNSS Selection', 'bytes'], // RFC 6731
  [147, 'DOTS Reference Identifier', 'bytes'], // RFC 8973
  [148, 'DOTS Addresses', 'addresses'], // RFC 8973
  [150, 'TFTP Server Address', 'addresses'], // RFC 5859
  [151, 'Status Code', 'bytes'], // RFC 6926
  [152, 'Base Time', 'u32'], // RFC 6926
  [153, 'Start Time of State', 'u32'], // RFC 6926
  [154, 'Query Start Time', 'u32'], // RFC 6926
  [155, 'Query End Time', 'u32'], // RFC 6926
  [156, 'DHCP State', 'u8'], // RFC 6926
  [157, 'Data Source', 'u8'], // RFC 6926
  [158, 'PCP Server', 'bytes'], // RFC 7291
  [159, 'Port Parameters', 'bytes'], // RFC 7618
  [161, 'MUD URL', 'text'], // RFC 8520
  [162, 'Encrypted DNS Server', 'bytes'], // RFC 9463
  [175, 'Etherboot', 'bytes'],
  [176, 'IP Telephone', 'text'],
  [208, 'PXELINUX Magic', 'bytes'], // RFC 5071
  [209, 'Configuration File', 'text'], // RFC 5071
  [210, 'Path Prefix', 'text'], // RFC 5071
  [211, 'Reboot Time', 'u32'], // RFC 5071
  [212, '6RD', 'bytes'], // RFC 5969
  [213, 'Access Network Domain Name', 'bytes'], // RFC 5986
  [220, 'Subnet Allocation', 'bytes'], // RFC 6656
  [221, 'Virtual Subnet Selection', 'bytes'], // RFC 6607
  [249, 'Classless Static Route (Microsoft)', 'classless_routes'],
  [252, 'Web Proxy Auto-Discovery', 'text'],
  [255, 'End', 'bytes'],
];

export const OPTION_NAMES: Readonly<Record<number, string>> = Object.fromEntries(OPTIONS.map(([code, name]) => [code, name]));

/** The layout of each code's value: a `Format`. */
export const FORMAT_OF = new Uint8Array(256);
for (const [code, , format] of OPTIONS) FORMAT_OF[code] = Format[format];

const FIXED = new Set<number>([Format.address, Format.u8, Format.u16, Format.u32, Format.i32, Format.bool]);

/** May a value be longer than one option holds, so that repeated ones are parts of it (RFC 3396, 5)? By code. */
export const JOINABLE = Uint8Array.from({ length: 256 }, (_, code) => (FIXED.has(FORMAT_OF[code]) ? 0 : 1));

/** RFC 2132, 9.6; RFC 3203; RFC 4388; RFC 6926; RFC 7724. */
export const MESSAGE_TYPES = {
  1: 'DHCPDISCOVER',
  2: 'DHCPOFFER',
  3: 'DHCPREQUEST',
  4: 'DHCPDECLINE',
  5: 'DHCPACK',
  6: 'DHCPNAK',
  7: 'DHCPRELEASE',
  8: 'DHCPINFORM',
  9: 'DHCPFORCERENEW',
  10: 'DHCPLEASEQUERY',
  11: 'DHCPLEASEUNASSIGNED',
  12: 'DHCPLEASEUNKNOWN',
  13: 'DHCPLEASEACTIVE',
  14: 'DHCPBULKLEASEQUERY',
  15: 'DHCPLEASEQUERYDONE',
  16: 'DHCPACTIVELEASEQUERY',
  17: 'DHCPLEASEQUERYSTATUS',
  18: 'DHCPTLS',
};

/** IANA, Address Resolution Protocol parameters: hardware types. */
export const HARDWARE_TYPES = {
  1: 'Ethernet',
  6: 'IEEE 802',
  7: 'ARCNET',
  15: 'Frame Relay',
  16: 'ATM',
  18: 'Fibre Channel',
  20: 'serial line',
  24: 'IEEE 1394',
  27: 'EUI-64',
  32: 'InfiniBand',
};

/** RFC 2132, 9.3. */
export const OVERLOADS = { 1: 'file holds options', 2: 'sname holds options', 3: 'file and sname hold options' };

/** RFC 8415, 11.1. */
export const DUID_TYPES = { 1: 'link-layer address plus time', 2: 'enterprise number', 3: 'link-layer address', 4: 'UUID' };

/** IANA, DHCP Relay Agent Sub-Option Codes. */
export const RELAY_SUBOPTIONS = {
  1: 'Agent Circuit ID',
  2: 'Agent Remote ID',
  4: 'DOCSIS Device Class',
  5: 'Link Selection',
  6: 'Subscriber ID',
  7: 'RADIUS Attributes',
  8: 'Authentication',
  9: 'Vendor-Specific Information',
  10: 'Relay Agent Flags',
  11: 'Server Identifier Override',
  12: 'Relay Agent Identifier',
  13: 'Access Technology Type',
  14: 'Access Network Name',
  15: 'Access Point Name',
  16: 'Access Point BSSID',
  17: 'Operator Identifier',
  18: 'Operator Realm',
  19: 'Relay Source Port',
  150: 'Link Selection (Cisco)',
  151: 'Virtual Subnet Selection',
  152: 'Server Identifier Override (Cisco)',
};

/** IANA, Private Enterprise Numbers: those met in options 124 and 125. */
export const BROADBAND_FORUM = 3561;
export const ENTERPRISES = {
  9: 'Cisco',
  311: 'Microsoft',
  343: 'Intel',
  [BROADBAND_FORUM]: 'Broadband Forum',
  4329: 'Siemens',
  4491: 'CableLabs',
};
