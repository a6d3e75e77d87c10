import { bytes, defineDissector, ethertype, ipv4, Match, mac, Operation, record, u8, u16 } from '../../src/dissect/index.ts';

const ETHERNET = 1;
const IPV4 = 0x0800;

/** Operation codes: IANA, Address Resolution Protocol (ARP) Parameters. */
const OPCODES = {
  1: 'request',
  2: 'reply',
  3: 'request reverse',
  4: 'reply reverse',
  5: 'DRARP request',
  6: 'DRARP reply',
  7: 'DRARP error',
  8: 'InARP request',
  9: 'InARP reply',
  10: 'ARP NAK',
};

export const Arp = record('arp', 'One ARP packet (RFC 826)', {
  hardware_type: u16('arp.hw.type', 'Address space of the hardware addresses; 1 is Ethernet'),
  protocol_type: u16('arp.proto.type', 'EtherType of the protocol whose addresses are resolved'),
  hardware_size: u8('arp.hw.size', 'Size of a hardware address', { unit: 'bytes' }),
  protocol_size: u8('arp.proto.size', 'Size of a protocol address', { unit: 'bytes' }),
  opcode: u16('arp.opcode', 'What the packet is', { names: OPCODES }),
  sender_hardware_address: mac('arp.src.hw_mac', 'The MAC address the sender names as its own'),
  sender_protocol_address: ipv4('arp.src.proto_ipv4', 'The address the sender names as its own; 0.0.0.0 in a probe (RFC 5227)'),
  target_hardware_address: mac('arp.dst.hw_mac', 'The MAC address that is asked for (0 in a request) or answered to'),
  target_protocol_address: ipv4('arp.dst.proto_ipv4', 'The address that is asked for'),
  sender_address_bytes: bytes(null, 'Sender addresses that are not Ethernet and IPv4: hardware, then protocol'),
  target_address_bytes: bytes(null, 'Target addresses that are not Ethernet and IPv4: hardware, then protocol'),
});

export default defineDissector({
  name: 'arp',
  title: 'Address Resolution Protocol',
  specification: 'RFC 826; RFC 5227 (probes and announcements); IANA ARP parameters',
  carriers: ethertype(0x0806),
  records: [Arp],
  anomalies: {},
  probe: (r) => (r.remaining >= 8 ? Match.certain : Match.no),
  newState: () => null,
  dissect(r, emit) {
    const pdu = emit(Arp);
    pdu.operation = Operation.discover;
    pdu.hardware_type = r.u16();
    pdu.protocol_type = r.u16();
    const hardware_size = r.u8();
    const protocol_size = r.u8();
    pdu.hardware_size = hardware_size;
    pdu.protocol_size = protocol_size;
    pdu.opcode = r.u16();
    if (pdu.hardware_type !== ETHERNET || pdu.protocol_type !== IPV4 || hardware_size !== 6 || protocol_size !== 4) {
      pdu.sender_address_bytes = r.span(hardware_size + protocol_size);
      pdu.target_address_bytes = r.span(hardware_size + protocol_size);
      return;
    }
    pdu.sender_hardware_address = r.span(6);
    pdu.sender_protocol_address = r.u32();
    pdu.target_hardware_address = r.span(6);
    pdu.target_protocol_address = r.u32();
  },
});
