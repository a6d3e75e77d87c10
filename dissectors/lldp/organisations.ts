import { type Emit, type Reader, type Row, type RowOf, spanLength, spanStart, spanText } from '../../src/dissect/index.ts';
import { type Statements, stationMac } from './identity.ts';
import { DCBX, IANA, IEEE_802_1, IEEE_802_3, PROFIBUS, TIA } from './names.ts';
import { Lldp8021, Lldp8023, LldpCivicElement, LldpDcbx, LldpMed, LldpProfinet, LldpTlv } from './records.ts';

const ORGANISATIONALLY_SPECIFIC = 127;
const MUD_URL = 1;

/**
 * A TLV of type 127, from behind its header to the reader's end (IEEE 802.1AB-2016, 8.6); gives back its last row. What it
 * tells of the device goes to `statements`: null where the TLV is not all there.
 */
export function readOrganisational(r: Reader, emit: Emit, statements: Statements | null): Row {
  const oui = r.u24();
  switch (oui) {
    case IEEE_802_1:
      return read8021(r, emit);
    case IEEE_802_3:
      return read8023(r, emit);
    case TIA:
      return readMed(r, emit, statements);
    case PROFIBUS:
      return readProfinet(r, emit, statements);
    case DCBX:
      return readDcbx(r, emit);
  }
  const row = emit(LldpTlv);
  row.tlv_type = ORGANISATIONALLY_SPECIFIC;
  row.oui = oui;
  row.subtype = r.u8();
  if (oui === IANA && row.subtype === MUD_URL) row.mud_url = r.rest();
  else row.value = r.rest();
  return row;
}

/** IEEE 802.1Q-2018, D.2. */
function read8021(r: Reader, emit: Emit): Row {
  const row = emit(Lldp8021);
  row.oui = IEEE_802_1;
  const subtype = r.u8();
  row.subtype = subtype;
  switch (subtype) {
    case 1: // D.2.1
      row.port_vlan_id = r.u16();
      break;
    case 2: {
      // D.2.2
      const flags = r.u8();
      row.port_and_protocol_flags = flags;
      row.port_and_protocol_supported = (flags & 2) !== 0;
      row.port_and_protocol_enabled = (flags & 4) !== 0;
      row.port_and_protocol_vlan_id = r.u16();
      break;
    }
    case 3: // D.2.3
      row.vlan_id = r.u16();
      row.vlan_name_length = r.u8();
      row.vlan_name = r.text(row.vlan_name_length);
      break;
    case 4: // D.2.4
      row.protocol_identity_length = r.u8();
      row.protocol_identity = r.span(row.protocol_identity_length);
      break;
    case 5: // D.2.5
      row.vid_usage_digest = r.u32();
      break;
    case 6: // D.2.6
      row.management_vid = r.u16();
      break;
    case 7: {
      // D.2.7
      const status = r.u8();
      row.aggregation_status = status;
      row.aggregation_capable = (status & 1) !== 0;
      row.aggregation_enabled = (status & 2) !== 0;
      row.aggregated_port_id = r.u32();
      break;
    }
    case 8: // D.2.8
      row.cnpv_indicators = r.u8();
      row.ready_indicators = r.u8();
      break;
    case 9: // D.2.9 ETS configuration
    case 10: {
      // D.2.10 ETS recommendation
      const flags = r.u8();
      if (subtype === 9) {
        row.willing = (flags & 0x80) !== 0;
        row.credit_based_shaper = (flags & 0x40) !== 0;
        row.maximum_traffic_classes = flags & 7;
      }
      for (let i = 0; i < 4; i++) {
        const pair = r.u8();
        row.priority_assignment.push(pair >> 4);
        row.priority_assignment.push(pair & 15);
      }
      for (let i = 0; i < 8; i++) row.bandwidths.push(r.u8());
      for (let i = 0; i < 8; i++) row.selection_algorithms.push(r.u8());
      break;
    }
    case 11: {
      // D.2.11
      const flags = r.u8();
      row.willing = (flags & 0x80) !== 0;
      row.macsec_bypass = (flags & 0x40) !== 0;
      row.flow_control_classes = flags & 15;
      row.flow_control_priorities = r.u8();
      break;
    }
    case 12: // D.2.12
      r.skip(1);
      while (r.remaining >= 3) {
        const application = r.u8();
        row.application_priorities.push(application >> 5);
        row.application_selectors.push(application & 7);
        row.application_protocols.push(r.u16());
      }
      break;
    case 16: // D.2.15
      r.skip(1);
      while (r.remaining >= 4) {
        const application = r.u16();
        row.application_vlans.push(application >> 4);
        row.application_selectors.push(application & 7);
        row.application_protocols.push(r.u16());
      }
      break;
    default: // D.2.13 EVB, D.2.14 CDCP and what is not assigned
      row.value = r.rest();
  }
  return row;
}

/** IEEE 802.3-2018, 79.3. */
function read8023(r: Reader, emit: Emit): Row {
  const row = emit(Lldp8023);
  row.oui = IEEE_802_3;
  row.subtype = r.u8();
  switch (row.subtype) {
    case 1: {
      // 79.3.1
      const status = r.u8();
      row.auto_negotiation = status;
      row.auto_negotiation_supported = (status & 1) !== 0;
      row.auto_negotiation_enabled = (status & 2) !== 0;
      row.advertised_capabilities = r.u16();
      row.operational_mau_type = r.u16();
      break;
    }
    case 2: {
      // 79.3.2: 3 bytes, 8 bytes since IEEE 802.3at, 25 since IEEE 802.3bt
      const support = r.u8();
      row.mdi_power_support = support;
      row.is_power_source = (support & 1) !== 0;
      row.mdi_power_supported = (support & 2) !== 0;
      row.mdi_power_enabled = (support & 4) !== 0;
      row.pairs_controllable = (support & 8) !== 0;
      row.power_pair = r.u8();
      row.power_class = r.u8();
      if (r.remaining === 0) break;
      const kind = r.u8();
      row.power_type = kind >> 6;
      row.power_source = (kind >> 4) & 3;
      row.power_priority = kind & 15;
      row.requested_power = r.u16();
      row.allocated_power = r.u16();
      if (r.remaining === 0) break;
      row.requested_power_mode_a = r.u16();
      row.requested_power_mode_b = r.u16();
      row.allocated_power_alternative_a = r.u16();
      row.allocated_power_alternative_b = r.u16();
      row.power_status = r.u16();
      row.system_setup = r.u8();
      row.maximum_available_power = r.u16();
      row.autoclass = r.u8();
      row.power_down = r.u24();
      break;
    }
    case 3: {
      // 79.3.3
      const status = r.u8();
      row.aggregation_status = status;
      row.aggregation_capable = (status & 1) !== 0;
      row.aggregation_enabled = (status & 2) !== 0;
      row.aggregated_port_id = r.u32();
      break;
    }
    case 4: // 79.3.4
      row.maximum_frame_size = r.u16();
      break;
    case 5: // 79.3.5
      row.transmit_wake_time = r.u16();
      row.receive_wake_time = r.u16();
      row.fallback_receive_wake_time = r.u16();
      row.echo_transmit_wake_time = r.u16();
      row.echo_receive_wake_time = r.u16();
      break;
    case 7: // 79.3.7
      row.additional_capabilities = r.u16();
      break;
    default:
      row.value = r.rest();
  }
  return row;
}

/** ANSI/TIA-1057, 10.2. */
function readMed(r: Reader, emit: Emit, statements: Statements | null): Row {
  const row = emit(LldpMed);
  row.oui = TIA;
  row.subtype = r.u8();
  switch (row.subtype) {
    case 1: // 10.2.2
      row.capabilities = r.u16();
      row.device_class = r.u8();
      break;
    case 2: {
      // 10.2.3
      row.application = r.u8();
      const policy = r.u24();
      row.policy_unknown = (policy & 0x800000) !== 0;
      row.tagged = (policy & 0x400000) !== 0;
      row.vlan_id = (policy >> 9) & 0xfff;
      row.priority = (policy >> 6) & 7;
      row.dscp = policy & 63;
      break;
    }
    case 3:
      readLocation(r, emit, row, statements);
      break;
    case 4: {
      // 10.2.5
      const kind = r.u8();
      row.power_type = kind >> 6;
      row.power_source = (kind >> 4) & 3;
      row.power_priority = kind & 15;
      row.power = r.u16();
      break;
    }
    case 5: // 10.2.6
      row.hardware_revision = r.text(r.remaining);
      statements?.add('hardware', spanText(r.bytes, row.hardware_revision), 'lldp_med.hardware_revision');
      break;
    case 6:
      row.firmware_revision = r.text(r.remaining);
      statements?.add('firmware', spanText(r.bytes, row.firmware_revision), 'lldp_med.firmware_revision');
      break;
    case 7:
      row.software_revision = r.text(r.remaining);
      statements?.add('application', spanText(r.bytes, row.software_revision), 'lldp_med.software_revision');
      break;
    case 8:
      row.serial_number = r.text(r.remaining);
      statements?.add('serial', spanText(r.bytes, row.serial_number), 'lldp_med.serial_number');
      break;
    case 9:
      row.manufacturer_name = r.text(r.remaining);
      statements?.add('vendor', spanText(r.bytes, row.manufacturer_name), 'lldp_med.manufacturer_name');
      break;
    case 10:
      row.model_name = r.text(r.remaining);
      statements?.add('model', spanText(r.bytes, row.model_name), 'lldp_med.model_name');
      break;
    case 11:
      row.asset_id = r.text(r.remaining);
      break;
    default:
      row.value = r.rest();
  }
  return row;
}

/** Of fixed point with 25 binary places in 34 bits, two's complement: RFC 6225, 2.1. */
function degrees(high: number, low: number): number {
  const raw = (high & 3) * 2 ** 32 + low;
  return (raw >= 2 ** 33 ? raw - 2 ** 34 : raw) / 2 ** 25;
}

/** ANSI/TIA-1057, 10.2.4. */
function readLocation(r: Reader, emit: Emit, row: RowOf<(typeof LldpMed)['fields']>, statements: Statements | null) {
  row.location_format = r.u8();
  switch (row.location_format) {
    case 1: {
      const latitude = r.u8();
      row.latitude_resolution = latitude >> 2;
      row.latitude = degrees(latitude, r.u32());
      const longitude = r.u8();
      row.longitude_resolution = longitude >> 2;
      row.longitude = degrees(longitude, r.u32());
      const altitude = r.u16();
      row.altitude_type = altitude >> 12;
      row.altitude_resolution = (altitude >> 6) & 63;
      // 30 bits, 8 of them binary places, two's complement.
      row.altitude = ((((altitude & 63) << 24) | r.u24()) << 2) / 2 ** 10;
      row.datum = r.u8();
      return;
    }
    case 2: {
      row.civic_length = r.u8();
      const outer = r.enter(row.civic_length);
      row.civic_subject = r.u8();
      row.country = r.text(2);
      let where = '';
      while (r.remaining >= 2) {
        const element = emit(LldpCivicElement);
        element.element = r.u8();
        element.element_length = r.u8();
        element.element_value = r.text(element.element_length);
        // 0 and 128 say in what language and script the others are.
        if (element.element !== 0 && element.element !== 128 && spanLength(element.element_value) > 0)
          where += `${where === '' ? '' : ', '}${spanText(r.bytes, element.element_value)}`;
      }
      r.leave(outer);
      statements?.add('location', where, 'lldp_civic_element.element_value');
      return;
    }
    case 3:
      row.elin = r.text(r.remaining);
      return;
    default:
      row.value = r.rest();
  }
}

/** IEC 61158-6-10, 4.3.1 (LLDP-PNIO-PDU). */
function readProfinet(r: Reader, emit: Emit, statements: Statements | null): Row {
  const row = emit(LldpProfinet);
  row.oui = PROFIBUS;
  row.subtype = r.u8();
  switch (row.subtype) {
    case 1:
      row.port_rx_delay_local = r.u32();
      row.port_rx_delay_remote = r.u32();
      row.port_tx_delay_local = r.u32();
      row.port_tx_delay_remote = r.u32();
      row.cable_delay_local = r.u32();
      break;
    case 2: {
      row.rtc2_port_status = r.u16() & 3;
      const status = r.u16();
      row.rtc3_port_status = status & 7;
      row.rtc3_fragmentation = (status & 0x1000) !== 0;
      row.rtc3_short_preamble = (status & 0x2000) !== 0;
      break;
    }
    case 3:
      row.alias_name = r.text(r.remaining);
      break;
    case 4:
      row.mrp_domain_uuid = r.span(16);
      row.mrrt_port_status = r.u16() & 3;
      break;
    case 5:
      row.chassis_mac = r.span(6);
      // The port that speaks has an address of its own; this one is the device's.
      if (spanLength(row.chassis_mac) === 6)
        statements?.add('mac', stationMac(r.bytes, spanStart(row.chassis_mac)), 'lldp_profinet.chassis_mac');
      break;
    case 6: {
      row.master_source_mac = r.span(6);
      row.subdomain_uuid = r.span(16);
      row.ir_data_uuid = r.span(16);
      const period = r.u32();
      row.period_length_valid = period >= 2 ** 31;
      row.period_length = period % 2 ** 31;
      const red = r.u32();
      row.red_period_begin_valid = red >= 2 ** 31;
      row.red_period_begin = red % 2 ** 31;
      const orange = r.u32();
      row.orange_period_begin_valid = orange >= 2 ** 31;
      row.orange_period_begin = orange % 2 ** 31;
      const green = r.u32();
      row.green_period_begin_valid = green >= 2 ** 31;
      row.green_period_begin = green % 2 ** 31;
      break;
    }
    case 7:
      row.mau_type_extension = r.u16();
      break;
    default:
      row.value = r.rest();
  }
  return row;
}

/** DCB Capability Exchange Protocol Base Specification 1.01, 2: TLVs within the TLV, with the same header. */
function readDcbx(r: Reader, emit: Emit): Row {
  const protocol = r.u8();
  let row = emit(LldpDcbx);
  row.oui = DCBX;
  row.protocol = protocol;
  if (protocol !== 1 && protocol !== 2) {
    row.value = r.rest();
    return row;
  }
  for (let first = true; r.remaining >= 2; first = false) {
    if (!first) row = emit(LldpDcbx);
    const header = r.u16();
    row.feature = header >> 9;
    row.feature_length = header & 0x1ff;
    if (row.feature_length > r.remaining) r.truncated = true;
    const outer = r.enter(row.feature_length);
    row.operating_version = r.u8();
    row.maximum_version = r.u8();
    if (row.feature === 1) {
      row.sequence_number = r.u32();
      row.acknowledge_number = r.u32();
    } else {
      const flags = r.u8();
      row.enabled = (flags & 0x80) !== 0;
      row.willing = (flags & 0x40) !== 0;
      row.error = (flags & 0x20) !== 0;
      row.feature_subtype = r.u8();
      if (r.remaining > 0) row.value = r.rest();
    }
    r.leave(outer);
  }
  return row;
}
