import {
  type Conversation, defineDissector, type Emit, ethertype, ipv4Text, ipv6Text, Match, Operation, type Reader, type Row, Status,
  spanStart, spanText,
} from '../../src/dissect/index.ts'; // biome-ignore format: a list
import { isStationName, Statements, siemensDescription, stationMac, stationOfPort, systemIdentification } from './identity.ts';
import { CAPABILITY_NAMES } from './names.ts';
import { readOrganisational } from './organisations.ts';
import {
  ANOMALIES, type Anomaly, Lldp, Lldp8021, Lldp8023, LldpCivicElement, LldpDcbx, LldpManagementAddress, LldpMed, LldpProfinet,
  type LldpRow, LldpTlv,
} from './records.ts'; // biome-ignore format: a list

const END = 0;
const CHASSIS_ID = 1;
const PORT_ID = 2;
const TIME_TO_LIVE = 3;
const PORT_DESCRIPTION = 4;
const SYSTEM_NAME = 5;
const SYSTEM_DESCRIPTION = 6;
const SYSTEM_CAPABILITIES = 7;
const MANAGEMENT_ADDRESS = 8;
const ORGANISATIONALLY_SPECIFIC = 127;

/** Chassis ID, port ID and time to live, as bits by type. */
const MANDATORY = 0b1110;
const ADDRESS_IPV4 = 1;
const ADDRESS_IPV6 = 2;
const MAC_ADDRESS = { chassis: 4, port: 3 };
const NETWORK_ADDRESS = { chassis: 5, port: 4 };
const AGENT_CIRCUIT_ID = 6;
const LOCALLY_ASSIGNED = 7;

type State = null;
type Talk = Conversation<State, Anomaly>;

/** One PDU at a time is read, so this is shared. */
const said = new Statements();

export default defineDissector<State, Anomaly>({
  name: 'lldp',
  title: 'Link Layer Discovery Protocol',
  specification:
    'IEEE 802.1AB-2016, 8; IEEE 802.1Q-2018, annex D; IEEE 802.3-2018, 79; ANSI/TIA-1057, 10; IEC 61158-6-10 (LLDP-PNIO-PDU); ' +
    'DCBX 1.01; RFC 8520, 11',
  carriers: ethertype(0x88cc),
  records: [Lldp, LldpManagementAddress, LldpTlv, Lldp8021, Lldp8023, LldpMed, LldpCivicElement, LldpProfinet, LldpDcbx],
  anomalies: ANOMALIES,
  // The EtherType is LLDP's alone (8.3): what stands behind it and is not sound is shown as such.
  probe: (r) => {
    if (r.remaining < 2) return Match.no;
    const length = r.peekU16() & 0x1ff;
    return r.peekU8() >> 1 === CHASSIS_ID && length >= 2 ? Match.certain : Match.possible;
  },
  newState: () => null,
  dissect(r, emit, conversation) {
    const pdu = emit(Lldp);
    pdu.operation = Operation.discover;
    said.clear();
    let seen = 0;
    let isProfinet = false;
    let cut = END;
    // Every TLV takes two bytes at least, so this ends with the bytes.
    for (let index = 1; ; index++) {
      const header = r.u16();
      if (r.truncated) break;
      const type = header >> 9;
      const length = header & 0x1ff;
      pdu.tlv_types.push(type);
      pdu.tlv_lengths.push(length);
      if (index <= 3 && type !== index) conversation.anomaly(pdu, 'missing_mandatory_tlv');
      if (type === END) {
        if (length !== 0) conversation.anomaly(pdu, 'wrong_length');
        break;
      }
      const isWhole = length <= r.remaining;
      const outer = r.enter(length);
      const bit = type < MANAGEMENT_ADDRESS ? 1 << type : 0;
      let row: Row = pdu;
      if ((seen & bit) !== 0) {
        conversation.anomaly(pdu, 'repeated_tlv');
        r.skip(r.remaining);
      } else if (type === ORGANISATIONALLY_SPECIFIC) {
        isProfinet ||= r.peekU8() === 0 && r.peekU16(1) === 0x0ecf;
        row = readOrganisational(r, emit, isWhole ? said : null);
      } else row = readTlv(type, r, emit, pdu, conversation);
      seen |= bit;
      if (isWhole) {
        // The TLV is shorter than what it should hold; the next one is not concerned.
        if (r.truncated) {
          r.truncated = false;
          row.status = Status.malformed;
          pdu.status = Status.malformed;
        }
        if (r.remaining > 0) conversation.anomaly(row, 'wrong_length');
      }
      r.leave(outer);
      if (!isWhole) {
        r.truncated = true;
        cut = type;
        break;
      }
    }
    if (!r.truncated && (seen & MANDATORY) !== MANDATORY) conversation.anomaly(pdu, 'missing_mandatory_tlv');
    identify(pdu, isProfinet, cut);
    said.pass(conversation);
  },
});

/** The TLVs of 8.5; gives back the row that it is in. */
function readTlv(type: number, r: Reader, emit: Emit, pdu: LldpRow, conversation: Talk): Row {
  switch (type) {
    case CHASSIS_ID: // 8.5.2
      readChassisId(r, pdu);
      return pdu;
    case PORT_ID: // 8.5.3
      readPortId(r, pdu);
      return pdu;
    case TIME_TO_LIVE: // 8.5.4
      pdu.time_to_live = r.u16();
      return pdu;
    case PORT_DESCRIPTION: // 8.5.5
      pdu.port_description = r.text(r.remaining);
      return pdu;
    case SYSTEM_NAME: // 8.5.6
      pdu.system_name = r.text(r.remaining);
      return pdu;
    case SYSTEM_DESCRIPTION: // 8.5.7
      pdu.system_description = r.text(r.remaining);
      return pdu;
    case SYSTEM_CAPABILITIES: // 8.5.8
      readCapabilities(r, pdu);
      return pdu;
    case MANAGEMENT_ADDRESS:
      return readManagementAddress(r, emit, pdu, conversation);
  }
  const row = emit(LldpTlv);
  row.tlv_type = type;
  row.value = r.rest();
  conversation.anomaly(row, 'reserved_tlv_type');
  return row;
}

function readChassisId(r: Reader, pdu: LldpRow): void {
  const subtype = r.u8();
  pdu.chassis_id_subtype = subtype;
  if (subtype === MAC_ADDRESS.chassis && r.remaining === 6) pdu.chassis_id_mac = r.span(6);
  else if (subtype === NETWORK_ADDRESS.chassis && r.peekU8() === ADDRESS_IPV4 && r.remaining === 5) {
    r.skip(1);
    pdu.chassis_id_ipv4 = r.u32();
  } else if (subtype === NETWORK_ADDRESS.chassis && r.peekU8() === ADDRESS_IPV6 && r.remaining === 17) {
    r.skip(1);
    pdu.chassis_id_ipv6 = r.span(16);
  } else if (
    subtype === 0 ||
    subtype === MAC_ADDRESS.chassis ||
    subtype === NETWORK_ADDRESS.chassis ||
    subtype > LOCALLY_ASSIGNED
  )
    pdu.chassis_id_bytes = r.rest();
  else pdu.chassis_id = r.text(r.remaining);
}

function readPortId(r: Reader, pdu: LldpRow): void {
  const subtype = r.u8();
  pdu.port_id_subtype = subtype;
  if (subtype === MAC_ADDRESS.port && r.remaining === 6) pdu.port_id_mac = r.span(6);
  else if (subtype === NETWORK_ADDRESS.port && r.peekU8() === ADDRESS_IPV4 && r.remaining === 5) {
    r.skip(1);
    pdu.port_id_ipv4 = r.u32();
  } else if (subtype === NETWORK_ADDRESS.port && r.peekU8() === ADDRESS_IPV6 && r.remaining === 17) {
    r.skip(1);
    pdu.port_id_ipv6 = r.span(16);
  } else if (subtype === 0 || subtype === MAC_ADDRESS.port || subtype === NETWORK_ADDRESS.port || subtype === AGENT_CIRCUIT_ID)
    pdu.port_id_bytes = r.rest();
  else if (subtype > LOCALLY_ASSIGNED) pdu.port_id_bytes = r.rest();
  else pdu.port_id = r.text(r.remaining);
}

function readCapabilities(r: Reader, pdu: LldpRow): void {
  pdu.capabilities = r.u16();
  const enabled = r.u16();
  pdu.enabled_capabilities = enabled;
  pdu.other_enabled = (enabled & 0x01) !== 0;
  pdu.repeater_enabled = (enabled & 0x02) !== 0;
  pdu.bridge_enabled = (enabled & 0x04) !== 0;
  pdu.wlan_access_point_enabled = (enabled & 0x08) !== 0;
  pdu.router_enabled = (enabled & 0x10) !== 0;
  pdu.telephone_enabled = (enabled & 0x20) !== 0;
  pdu.docsis_cable_device_enabled = (enabled & 0x40) !== 0;
  pdu.station_only_enabled = (enabled & 0x80) !== 0;
}

/** 8.5.9. */
function readManagementAddress(r: Reader, emit: Emit, pdu: LldpRow, conversation: Talk): Row {
  const row = emit(LldpManagementAddress);
  row.address_length = r.u8();
  // The subtype counts in; 0 leaves no room for it.
  if (row.address_length === 0) {
    conversation.anomaly(row, 'wrong_length');
    return row;
  }
  row.address_subtype = r.u8();
  const size = row.address_length - 1;
  if (row.address_subtype === ADDRESS_IPV4 && size === 4) {
    const address = r.u32();
    row.address_ipv4 = address;
    if (!r.truncated && !pdu.has('management_ipv4')) pdu.management_ipv4 = address;
  } else if (row.address_subtype === ADDRESS_IPV6 && size === 16) {
    const address = r.span(16);
    row.address_ipv6 = address;
    if (!r.truncated && !pdu.has('management_ipv6')) pdu.management_ipv6 = address;
  } else row.address_bytes = r.span(size);
  row.interface_subtype = r.u8();
  row.interface_number = r.u32();
  row.object_id_length = r.u8();
  row.object_id = r.span(row.object_id_length);
  return row;
}

/**
 * What the PDU's own row tells about its sender. PROFINET gives meaning to texts that are anybody's elsewhere.
 * The TLV of type `cut` is not all there: half a name is none.
 */
function identify(pdu: LldpRow, isProfinet: boolean, cut: number): void {
  const { bytes } = pdu;
  if (pdu.has('system_name') && cut !== SYSTEM_NAME) said.add('name', spanText(bytes, pdu.system_name), 'lldp.system_name');
  if (isProfinet && pdu.has('port_id') && cut !== PORT_ID)
    said.add('name', stationOfPort(spanText(bytes, pdu.port_id)), 'lldp.port_id');
  if (pdu.has('system_description') && cut !== SYSTEM_DESCRIPTION) {
    const description = spanText(bytes, pdu.system_description);
    said.add('description', description, 'lldp.system_description');
    said.addAll(siemensDescription(description), 'lldp.system_description');
  }
  if (isProfinet && pdu.has('chassis_id') && cut !== CHASSIS_ID && pdu.chassis_id_subtype === LOCALLY_ASSIGNED) {
    const chassis = spanText(bytes, pdu.chassis_id);
    const system = systemIdentification(chassis);
    if (system !== null) said.addAll(system, 'lldp.chassis_id');
    else if (isStationName(chassis)) said.add('name', chassis, 'lldp.chassis_id');
  }
  if (pdu.has('chassis_id_mac')) said.add('mac', stationMac(bytes, spanStart(pdu.chassis_id_mac)), 'lldp.chassis_id_mac');
  if (pdu.has('management_ipv4') && pdu.management_ipv4 !== 0)
    said.add('ip', ipv4Text(pdu.management_ipv4), 'lldp.management_ipv4');
  if (pdu.has('management_ipv6')) said.add('ip', ipv6Text(bytes, spanStart(pdu.management_ipv6)), 'lldp.management_ipv6');
  if (pdu.has('enabled_capabilities') && cut !== SYSTEM_CAPABILITIES) {
    const names = CAPABILITY_NAMES.filter((_, bit) => pdu.enabled_capabilities & (1 << bit));
    said.add('device_type', names.join(', '), 'lldp.enabled_capabilities');
  }
}
