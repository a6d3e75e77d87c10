/** Organisations whose TLVs are read. The three octets stand at the start of every TLV of type 127: IEEE 802.1AB, 8.6.1. */
export const IEEE_802_1 = 0x0080c2;
export const IEEE_802_3 = 0x00120f;
export const TIA = 0x0012bb;
export const PROFIBUS = 0x000ecf;
export const DCBX = 0x001b21;
export const IANA = 0x00005e;

export const ORGANISATIONS = {
  [IEEE_802_1]: 'IEEE 802.1',
  [IEEE_802_3]: 'IEEE 802.3',
  [TIA]: 'TIA TR-41 (LLDP-MED)',
  [PROFIBUS]: 'PROFIBUS & PROFINET International',
  [DCBX]: 'Intel (DCBX before IEEE 802.1Qaz)',
  [IANA]: 'IANA',
  322: 'Cisco',
  1037: 'Avaya',
  480: 'Hirschmann',
  9953: 'OpenFlow',
  524294: 'Siemens',
  10756869: 'ONOS',
};

/** IEEE 802.1AB-2016, table 8-1. */
export const TLV_TYPES = {
  0: 'End Of LLDPDU',
  1: 'Chassis ID',
  2: 'Port ID',
  3: 'Time To Live',
  4: 'Port Description',
  5: 'System Name',
  6: 'System Description',
  7: 'System Capabilities',
  8: 'Management Address',
  127: 'Organizationally Specific',
};

/** IEEE 802.1AB-2016, table 8-2. */
export const CHASSIS_SUBTYPES = {
  1: 'chassis component',
  2: 'interface alias',
  3: 'port component',
  4: 'MAC address',
  5: 'network address',
  6: 'interface name',
  7: 'locally assigned',
};

/** IEEE 802.1AB-2016, table 8-3. */
export const PORT_SUBTYPES = {
  1: 'interface alias',
  2: 'port component',
  3: 'MAC address',
  4: 'network address',
  5: 'interface name',
  6: 'agent circuit ID',
  7: 'locally assigned',
};

/** IEEE 802.1AB-2016, table 8-4, bit by bit. */
export const CAPABILITY_NAMES = [
  'Other', 'Repeater', 'Bridge', 'WLAN access point', 'Router', 'Telephone', 'DOCSIS cable device', 'Station only',
  'C-VLAN component', 'S-VLAN component', 'Two-port MAC relay',
]; // biome-ignore format: a list

/** IANA, Address Family Numbers: those that IEEE 802.1AB or its users name. */
export const ADDRESS_FAMILIES = { 1: 'IPv4', 2: 'IPv6', 3: 'NSAP', 6: '802 (MAC)', 15: 'E.164 with NSAP', 16: 'DNS', 65: 'all' };

/** IEEE 802.1AB-2016, 8.5.9.5. */
export const INTERFACE_SUBTYPES = { 1: 'unknown', 2: 'ifIndex', 3: 'system port number' };

/** IEEE 802.1Q-2018, table D-1. */
export const SUBTYPES_802_1 = {
  1: 'Port VLAN ID',
  2: 'Port and Protocol VLAN ID',
  3: 'VLAN Name',
  4: 'Protocol Identity',
  5: 'VID Usage Digest',
  6: 'Management VID',
  7: 'Link Aggregation',
  8: 'Congestion Notification',
  9: 'ETS Configuration',
  10: 'ETS Recommendation',
  11: 'Priority-based Flow Control Configuration',
  12: 'Application Priority',
  13: 'EVB',
  14: 'CDCP',
  16: 'Application VLAN',
};

/** IEEE 802.3-2018, table 79-1; 8 and 9 from IEEE 802.3bt and later amendments. */
export const SUBTYPES_802_3 = {
  1: 'MAC/PHY Configuration/Status',
  2: 'Power Via Medium Dependent Interface',
  3: 'Link Aggregation (deprecated)',
  4: 'Maximum Frame Size',
  5: 'Energy-Efficient Ethernet',
  6: 'Energy-Efficient Ethernet Fast Wake',
  7: 'Additional Ethernet Capabilities',
  8: 'Power Via MDI Measurements',
};

/** dot3MauType: IANA-MAU-MIB. */
export const MAU_TYPES = Object.fromEntries(
  [
    'other or unknown', 'AUI', '10BASE5', 'FOIRL', '10BASE2', '10BASE-T', '10BASE-FP', '10BASE-FB', '10BASE-FL', '10BROAD36',
    '10BASE-T half duplex', '10BASE-T full duplex', '10BASE-FL half duplex', '10BASE-FL full duplex', '100BASE-T4',
    '100BASE-TX half duplex', '100BASE-TX full duplex', '100BASE-FX half duplex', '100BASE-FX full duplex',
    '100BASE-T2 half duplex', '100BASE-T2 full duplex', '1000BASE-X half duplex', '1000BASE-X full duplex',
    '1000BASE-LX half duplex', '1000BASE-LX full duplex', '1000BASE-SX half duplex', '1000BASE-SX full duplex',
    '1000BASE-CX half duplex', '1000BASE-CX full duplex', '1000BASE-T half duplex', '1000BASE-T full duplex', '10GBASE-X',
    '10GBASE-LX4', '10GBASE-R', '10GBASE-ER', '10GBASE-LR', '10GBASE-SR', '10GBASE-W', '10GBASE-EW', '10GBASE-LW', '10GBASE-SW',
    '10GBASE-CX4', '2BASE-TL', '10PASS-TS', '100BASE-BX10D', '100BASE-BX10U', '100BASE-LX10', '1000BASE-BX10D', '1000BASE-BX10U',
    '1000BASE-LX10', '1000BASE-PX10D', '1000BASE-PX10U', '1000BASE-PX20D', '1000BASE-PX20U', '10GBASE-T', '10GBASE-LRM',
    '1000BASE-KX', '10GBASE-KX4', '10GBASE-KR',
  ].map((name, value) => [value, name]),
); // biome-ignore format: a list

/** RFC 3621, pethPsePortPowerPairs; IEEE 802.3, 79.3.2.2. */
export const POWER_PAIRS = { 1: 'signal', 2: 'spare' };
/** RFC 3621, pethPsePortPowerClassifications: one more than the class. */
export const POWER_CLASSES = { 1: 'class 0', 2: 'class 1', 3: 'class 2', 4: 'class 3', 5: 'class 4 and above' };
/** IEEE 802.3, table 79-4: power type. */
export const POWER_TYPES = { 0: 'type 2 PSE', 1: 'type 2 PD', 2: 'type 1 PSE', 3: 'type 1 PD' };
export const POWER_PRIORITIES = { 0: 'unknown', 1: 'critical', 2: 'high', 3: 'low' };

/** ANSI/TIA-1057, table 6 and 10.2. */
export const SUBTYPES_MED = {
  1: 'LLDP-MED Capabilities',
  2: 'Network Policy',
  3: 'Location Identification',
  4: 'Extended Power-via-MDI',
  5: 'Hardware Revision',
  6: 'Firmware Revision',
  7: 'Software Revision',
  8: 'Serial Number',
  9: 'Manufacturer Name',
  10: 'Model Name',
  11: 'Asset ID',
};
/** ANSI/TIA-1057, table 11. */
export const MED_CLASSES = { 1: 'Endpoint Class I', 2: 'Endpoint Class II', 3: 'Endpoint Class III', 4: 'Network Connectivity' };
/** ANSI/TIA-1057, table 12. */
export const MED_APPLICATIONS = {
  1: 'Voice',
  2: 'Voice Signaling',
  3: 'Guest Voice',
  4: 'Guest Voice Signaling',
  5: 'Softphone Voice',
  6: 'Video Conferencing',
  7: 'Streaming Video',
  8: 'Video Signaling',
};
export const LOCATION_FORMATS = { 1: 'coordinate-based LCI', 2: 'civic address LCI', 3: 'ECS ELIN' };
export const ALTITUDE_TYPES = { 1: 'meters', 2: 'floors' };
export const DATUMS = { 1: 'WGS 84', 2: 'NAD 83 with NAVD88', 3: 'NAD 83 with MLLW' };
/** RFC 4776, 3.1: whom the address describes. */
export const CIVIC_SUBJECTS = { 0: 'DHCP server', 1: 'network element', 2: 'client' };
/** RFC 4776, 3.4 (IANA, Civic Address Types). */
export const CIVIC_TYPES = {
  0: 'language',
  1: 'state or province',
  2: 'county',
  3: 'city',
  4: 'city division',
  5: 'neighborhood',
  6: 'street',
  16: 'leading street direction',
  17: 'trailing street suffix',
  18: 'street suffix',
  19: 'house number',
  20: 'house number suffix',
  21: 'landmark',
  22: 'additional location information',
  23: 'name',
  24: 'postal code',
  25: 'building',
  26: 'unit',
  27: 'floor',
  28: 'room',
  29: 'place type',
  30: 'postal community name',
  31: 'post office box',
  32: 'additional code',
  33: 'seat',
  34: 'primary road',
  35: 'road section',
  36: 'road branch',
  37: 'road sub-branch',
  38: 'street name pre-modifier',
  39: 'street name post-modifier',
  128: 'script',
};
/** ANSI/TIA-1057, table 16. */
export const MED_POWER_TYPES = { 0: 'PSE', 1: 'PD' };

/** IEC 61158-6-10, LLDP_PNIO_SubType. */
export const SUBTYPES_PROFINET = {
  1: 'Measured Delay Values',
  2: 'Port Status',
  3: 'Alias',
  4: 'MRP Port Status',
  5: 'Chassis MAC',
  6: 'PTCP Status',
  7: 'MAUType Extension',
  8: 'MRP Interconnection Port Status',
};
export const RTC2_PORT_STATES = { 0: 'OFF', 1: 'SYNCDATA_LOADED', 2: 'RTCLASS2_RUN' };
export const RTC3_PORT_STATES = { 0: 'OFF', 2: 'UP', 4: 'RUN' };
export const MRRT_PORT_STATES = { 0: 'OFF', 1: 'CONFIGURED', 2: 'UP' };

/** DCB Capability Exchange Protocol Base Specification 1.01: the feature's type within the CEE TLV. */
export const DCBX_TYPES = { 1: 'Control', 2: 'Priority Groups', 3: 'Priority-based Flow Control', 4: 'Application Protocol' };
