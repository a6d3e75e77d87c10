import {
  type Conversation, defineDissector, type Emit, type Fields, ipv4Text, Match, Operation, type OperationCode, Reader,
  type RecordType, Role, type RowOf, type Span, span, spanLength, spanStart, spanText, udp,
} from '../../src/dissect/index.ts'; // biome-ignore format: a list
import { OptionIndex } from './areas.ts';
import { vendorClass } from './identity.ts';
import { BROADBAND_FORUM, FORMAT_OF, Format, JOINABLE } from './options.ts';
import {
  ANOMALIES, type Anomaly, Dhcp, DhcpAddress, DhcpOption, DhcpRelayAgent, DhcpRoute, type DhcpRow, DhcpVendorOption,
  type OptionRow,
} from './records.ts'; // biome-ignore format: a list

const BOOTREQUEST = 1;
const BOOTREPLY = 2;
const ETHERNET = 1;
const MAGIC_COOKIE = 0x63825363;
const COOKIE_AT = 236;
const MAX_HARDWARE_ADDRESS = 16;

const DISCOVER = 1;
const OFFER = 2;
const DECLINE = 4;
const ACK = 5;
const NAK = 6;
const RELEASE = 7;
const INFORM = 8;
const LEASEQUERY = 10;
/** Messages of clients and of servers, as bits by type; the others may come from either. */
const OF_CLIENTS = (1 << 1) | (1 << 3) | (1 << 4) | (1 << 7) | (1 << 8) | (1 << 10);
const OF_SERVERS = (1 << 2) | (1 << 5) | (1 << 6) | (1 << 9) | (1 << 11) | (1 << 12) | (1 << 13);

type Talk = Conversation<null, Anomaly>;

/** One message at a time is read, so its working memory is shared. */
const found = new OptionIndex();
const message = new Reader();
const option = new Reader();

export default defineDissector<null, Anomaly>({
  name: 'dhcp',
  title: 'Dynamic Host Configuration Protocol (BOOTP)',
  specification:
    'RFC 2131; RFC 2132; RFC 951, RFC 1542 (BOOTP); RFC 3046 (relay agents); RFC 3396 (long options); RFC 3442, ' +
    '3925, 4361, 4702; IANA BOOTP and DHCP parameters',
  carriers: udp(67, 68),
  records: [Dhcp, DhcpOption, DhcpAddress, DhcpRoute, DhcpRelayAgent, DhcpVendorOption],
  anomalies: ANOMALIES,
  probe: (r) => {
    const op = r.peekU8();
    const hlen = r.peekU8(2);
    if (r.remaining < 12 || (op !== BOOTREQUEST && op !== BOOTREPLY) || r.peekU8(1) === 0 || r.peekU8(1) > 38) return Match.no;
    // RFC 1542, 4.1.1: 16 hops at most; RFC 2131, figure 2: fifteen flags are zero.
    if (hlen > MAX_HARDWARE_ADDRESS || r.peekU8(3) > 16 || (r.peekU16(10) & 0x7fff) !== 0) return Match.no;
    if (r.remaining < COOKIE_AT + 4) return r.remaining < COOKIE_AT ? Match.possible : Match.no;
    if (r.peekU32(COOKIE_AT) === MAGIC_COOKIE) return Match.certain;
    // BOOTP without RFC 1497: the area of the vendor is 64 bytes of anything.
    return r.peekU8(1) === ETHERNET && hlen === 6 && r.remaining >= COOKIE_AT + 64 ? Match.possible : Match.no;
  },
  newState: () => null,
  dissect(r, emit, conversation) {
    const pdu = emit(Dhcp);
    const hasOptions = r.remaining < COOKIE_AT + 4 || r.peekU32(COOKIE_AT) === MAGIC_COOKIE;
    const { end } = r;
    if (hasOptions) {
      found.index(r);
      message.reset(found.bytes, found.base, found.base + r.remaining);
    } else message.reset(r.bytes, r.position, end);
    pdu.bytes = message.bytes;
    readHeader(message, pdu, hasOptions ? found.overload : 0);
    if (pdu.op === BOOTREQUEST) conversation.senderIs(Role.client);
    else if (pdu.op === BOOTREPLY) conversation.senderIs(Role.server);
    pdu.operation = Operation.configure;
    if (hasOptions) {
      pdu.magic_cookie = message.u32();
      for (let i = 0; i < found.count; i++) {
        const code = found.codes[i];
        pdu.option_codes.push(code);
        if (found.parts[i] > 0) readOption(i, emit, pdu, conversation);
      }
      judge(pdu, conversation);
      pdu.operation = operationOf(pdu);
    }
    // Without End nobody can say that this was all.
    const isCut = message.truncated || (hasOptions && found.is_cut);
    if (isCut && !pdu.has('message_type')) pdu.operation = Operation.other;
    r.truncated = isCut;
    r.position = end;
    if (!message.truncated) identify(pdu, isCut, conversation);
  },
});

/** RFC 2131, figure 1 and table 1. */
function readHeader(r: Reader, pdu: DhcpRow, overload: number): void {
  pdu.op = r.u8();
  pdu.htype = r.u8();
  const hlen = r.u8();
  pdu.hlen = hlen;
  pdu.hops = r.u8();
  pdu.xid = r.u32();
  pdu.secs = r.u16();
  const flags = r.u16();
  pdu.flags = flags;
  pdu.broadcast = (flags & 0x8000) !== 0;
  pdu.ciaddr = r.u32();
  pdu.yiaddr = r.u32();
  pdu.siaddr = r.u32();
  pdu.giaddr = r.u32();
  const chaddr = r.span(MAX_HARDWARE_ADDRESS);
  const size = Math.min(hlen, spanLength(chaddr));
  if (pdu.htype === ETHERNET && size === 6) pdu.chaddr = span(spanStart(chaddr), 6);
  else if (size > 0) pdu.chaddr_bytes = span(spanStart(chaddr), size);
  const sname = cString(r, 64);
  if (!(overload & 2) && spanLength(sname) > 0) pdu.sname = sname;
  const file = cString(r, 128);
  if (!(overload & 1) && spanLength(file) > 0) pdu.file = file;
}

/** Text of a field of fixed size, up to its first NUL. */
function cString(r: Reader, size: number): Span {
  const field = r.span(size);
  const start = spanStart(field);
  let length = 0;
  while (length < spanLength(field) && r.bytes[start + length] !== 0) length++;
  return span(start, length);
}

/** A row over the bytes that the options are in. */
function start<F extends Fields>(emit: Emit, type: RecordType<F>): RowOf<F> {
  const row = emit(type);
  row.bytes = found.bytes;
  return row;
}

function readOption(index: number, emit: Emit, pdu: DhcpRow, conversation: Talk): void {
  const code = found.codes[index];
  const r = option.reset(found.bytes, found.starts[index], found.starts[index] + found.lengths[index]);
  const row = start(emit, DhcpOption);
  row.code = code;
  row.option_length = found.lengths[index];
  row.area = found.areas[index];
  if (found.parts[index] > 1) row.part_count = found.parts[index];
  if (index === found.cut) {
    row.value = r.rest();
    return;
  }
  if (!JOINABLE[code] && isRepeated(index)) {
    conversation.anomaly(row, 'repeated_option');
    row.value = r.rest();
    return;
  }
  if (!readValue(r, code, row, emit, pdu, conversation)) {
    conversation.anomaly(row, 'wrong_length');
    r.reset(found.bytes, found.starts[index], found.starts[index] + found.lengths[index]);
    row.value = r.rest();
    return;
  }
  promote(code, row, pdu);
}

function isRepeated(index: number): boolean {
  for (let i = 0; i < index; i++) if (found.codes[i] === found.codes[index]) return true;
  return false;
}

/** False where the value has not the size that its option asks for. */
function readValue(r: Reader, code: number, row: OptionRow, emit: Emit, pdu: DhcpRow, conversation: Talk): boolean {
  const size = r.remaining;
  switch (FORMAT_OF[code]) {
    case Format.text:
      row.text = r.text(size);
      return true;
    case Format.address:
      if (size !== 4) return false;
      row.address = r.u32();
      return true;
    case Format.addresses:
      if (size === 0 || size % 4 !== 0) return false;
      while (r.remaining > 0) addAddress(code, r.u32(), emit);
      return true;
    case Format.u8:
      if (size !== 1) return false;
      row.number = r.u8();
      return true;
    case Format.bool:
      if (size !== 1 || r.peekU8() > 1) return false;
      row.number = r.u8();
      return true;
    case Format.u16:
      if (size !== 2) return false;
      row.number = r.u16();
      return true;
    case Format.u32:
      if (size !== 4) return false;
      row.number = r.u32();
      return true;
    case Format.i32:
      if (size !== 4) return false;
      row.number = r.i32();
      return true;
    case Format.u8s:
      if (size === 0) return false;
      while (r.remaining > 0) row.numbers.push(r.u8());
      return true;
    case Format.u16s:
      if (size === 0 || size % 2 !== 0) return false;
      while (r.remaining > 0) row.numbers.push(r.u16());
      return true;
    case Format.routes:
      if (size === 0 || size % 8 !== 0) return false;
      while (r.remaining > 0) {
        const route = start(emit, DhcpRoute);
        route.code = code;
        route.destination = r.u32();
        route.next_hop = r.u32();
      }
      return true;
    case Format.classless_routes:
      return readClasslessRoutes(r, code, emit);
    case Format.relay_agent:
      return readRelayAgent(r, emit);
    case Format.fqdn:
      return readFqdn(r, row, pdu);
    case Format.client_id:
      return readClientId(r, row, pdu);
    case Format.vendor_classes:
    case Format.vendor_options:
      return readVendorOptions(r, code, emit, isFromClient(pdu) ? conversation : null);
    default:
      row.value = r.rest();
      return true;
  }
}

function addAddress(code: number, address: number, emit: Emit): void {
  const row = start(emit, DhcpAddress);
  row.code = code;
  switch (code) {
    case 3:
      row.router = address;
      break;
    case 4:
      row.time_server = address;
      break;
    case 6:
      row.domain_name_server = address;
      break;
    case 7:
      row.log_server = address;
      break;
    case 42:
      row.ntp_server = address;
      break;
    case 44:
      row.netbios_name_server = address;
      break;
    case 150:
      row.tftp_server = address;
      break;
    default:
      row.address = address;
  }
}

/** RFC 3442: of the destination only the bytes that the prefix reaches into are there. */
function readClasslessRoutes(r: Reader, code: number, emit: Emit): boolean {
  if (r.remaining === 0) return false;
  while (r.remaining > 0) {
    const prefix_length = r.u8();
    if (prefix_length > 32) return false;
    let destination = 0;
    for (let i = 0; i < 4; i++) destination = destination * 256 + (i * 8 < prefix_length ? r.u8() : 0);
    const next_hop = r.u32();
    if (r.truncated) return false;
    const route = start(emit, DhcpRoute);
    route.code = code;
    route.destination = destination;
    route.prefix_length = prefix_length;
    route.next_hop = next_hop;
  }
  return true;
}

/** RFC 3046, 2. */
function readRelayAgent(r: Reader, emit: Emit): boolean {
  if (r.remaining === 0) return false;
  while (r.remaining > 0) {
    const row = start(emit, DhcpRelayAgent);
    const suboption = r.u8();
    const size = r.u8();
    row.suboption = suboption;
    row.suboption_length = size;
    if (suboption === 1) row.circuit_id = r.span(size);
    else if (suboption === 2) row.remote_id = r.span(size);
    else if (suboption === 5 && size === 4) row.link_selection = r.u32();
    else if (suboption === 6) row.subscriber_id = r.text(size);
    else if (suboption === 11 && size === 4) row.server_id_override = r.u32();
    else row.value = r.span(size);
  }
  return !r.truncated;
}

/** RFC 4702, 2: flags, two bytes that once were response codes, name. */
function readFqdn(r: Reader, row: OptionRow, pdu: DhcpRow): boolean {
  if (r.remaining < 3) return false;
  const isFirst = !pdu.has('fqdn_flags');
  const flags = r.u8();
  r.skip(2);
  row.value = r.rest();
  if (!isFirst) return true;
  pdu.fqdn_flags = flags;
  const at = spanStart(row.value);
  const size = spanLength(row.value);
  // Bit E: labels of the DNS, else the deprecated ASCII.
  if (!(flags & 4)) pdu.fqdn_name = row.value;
  else if (size > 0 && (r.bytes[at] === size - 1 || (r.bytes[at] === size - 2 && r.bytes[at + size - 1] === 0)))
    pdu.fqdn_name = span(at + 1, r.bytes[at]);
  else pdu.fqdn_labels = row.value;
  return true;
}

/** RFC 2132, 9.14; RFC 4361, 6.1. */
function readClientId(r: Reader, row: OptionRow, pdu: DhcpRow): boolean {
  if (r.remaining < 2) return false;
  row.value = span(r.position, r.remaining);
  const type = r.u8();
  pdu.client_id_type = type;
  if (type === ETHERNET && r.remaining === 6) {
    pdu.client_id_mac = r.span(6);
    return true;
  }
  if (type === 255 && r.remaining >= 6) {
    pdu.client_iaid = r.u32();
    pdu.client_duid_type = r.u16();
  }
  pdu.client_id = r.rest();
  return true;
}

/** RFC 3925, 3 and 4: entries by enterprise; those of option 125 hold sub-options. */
function readVendorOptions(r: Reader, code: number, emit: Emit, conversation: Talk | null): boolean {
  if (r.remaining < 5) return false;
  while (r.remaining > 0) {
    const enterprise = r.u32();
    const size = r.u8();
    if (r.truncated || size > r.remaining) return false;
    const outer = r.enter(size);
    if (code === 124) {
      const row = start(emit, DhcpVendorOption);
      row.code = code;
      row.enterprise = enterprise;
      row.vendor_class = r.text(r.remaining);
    }
    while (r.remaining > 0) {
      const row = start(emit, DhcpVendorOption);
      row.code = code;
      row.enterprise = enterprise;
      readVendorOption(r, row, conversation);
    }
    r.leave(outer);
  }
  return !r.truncated;
}

function readVendorOption(r: Reader, row: RowOf<(typeof DhcpVendorOption)['fields']>, conversation: Talk | null): void {
  row.suboption = r.u8();
  const size = r.u8();
  const isWhole = size <= r.remaining;
  const isBroadband = row.enterprise === BROADBAND_FORUM;
  // TR-069, annex F: 1 to 3 are the device's, 4 to 6 the gateway's.
  if (isBroadband && row.suboption === 1) row.manufacturer_oui = r.text(size);
  else if (isBroadband && row.suboption === 2) {
    row.serial_number = r.text(size);
    if (isWhole)
      conversation?.identify('sender', 'serial', spanText(r.bytes, row.serial_number), 'dhcp_vendor_option.serial_number');
  } else if (isBroadband && row.suboption === 3) {
    row.product_class = r.text(size);
    if (isWhole)
      conversation?.identify('sender', 'model', spanText(r.bytes, row.product_class), 'dhcp_vendor_option.product_class');
  } else row.value = r.span(size);
}

/** Options that the message's own row shows; the value stands in `row`. */
function promote(code: number, row: OptionRow, pdu: DhcpRow): void {
  switch (code) {
    case 1:
      pdu.subnet_mask = row.address;
      break;
    case 2:
      pdu.time_offset = row.number;
      break;
    case 12:
      pdu.host_name = row.text;
      break;
    case 15:
      pdu.domain_name = row.text;
      break;
    case 26:
      pdu.interface_mtu = row.number;
      break;
    case 28:
      pdu.broadcast_address = row.address;
      break;
    case 50:
      pdu.requested_address = row.address;
      break;
    case 51:
      pdu.lease_time = row.number;
      break;
    case 52:
      pdu.overload = row.number;
      break;
    case 53:
      pdu.message_type = row.number;
      break;
    case 54:
      pdu.server_id = row.address;
      break;
    case 55:
      for (let i = 0; i < row.numbers.count; i++) pdu.parameter_request_list.push(row.numbers.values[i]);
      break;
    case 56:
      pdu.message = row.text;
      break;
    case 57:
      pdu.maximum_message_size = row.number;
      break;
    case 58:
      pdu.renewal_time = row.number;
      break;
    case 59:
      pdu.rebinding_time = row.number;
      break;
    case 60:
      pdu.vendor_class = row.text;
      break;
    case 66:
      pdu.tftp_server_name = row.text;
      break;
    case 67:
      pdu.bootfile_name = row.text;
      break;
    case 93:
      for (let i = 0; i < row.numbers.count; i++) pdu.client_architectures.push(row.numbers.values[i]);
      break;
    case 161:
      pdu.mud_url = row.text;
  }
}

function judge(pdu: DhcpRow, conversation: Talk): void {
  if (found.is_open) conversation.anomaly(pdu, 'missing_end');
  if (found.overflowed) conversation.anomaly(pdu, 'too_many_options');
  if (pdu.has('overload') && (found.overload !== pdu.overload || pdu.overload < 1 || pdu.overload > 3))
    conversation.anomaly(pdu, 'invalid_overload');
  if (!pdu.has('message_type') || pdu.message_type > 30) return;
  const wrong = pdu.op === BOOTREQUEST ? OF_SERVERS : OF_CLIENTS;
  if (wrong & (1 << pdu.message_type)) conversation.anomaly(pdu, 'op_mismatch');
}

function operationOf(pdu: DhcpRow): OperationCode {
  if (!pdu.has('message_type')) return Operation.configure;
  switch (pdu.message_type) {
    case DISCOVER:
    case OFFER:
      return Operation.discover;
    case NAK:
    case DECLINE:
      return Operation.error;
    default:
      return pdu.message_type >= LEASEQUERY || pdu.message_type === INFORM ? Operation.read : Operation.configure;
  }
}

/** A relay agent speaks for another: what it passes on says nothing of itself. */
function isFromClient(pdu: DhcpRow): boolean {
  return pdu.op === BOOTREQUEST && pdu.giaddr === 0 && pdu.hops === 0;
}

/** What the message tells about the client. */
function identify(pdu: DhcpRow, isCut: boolean, conversation: Talk): void {
  if (pdu.giaddr !== 0) return;
  const type = pdu.has('message_type') ? pdu.message_type : 0;
  if (pdu.op === BOOTREPLY) {
    const isLease = type === ACK || (type === 0 && !isCut);
    if (!isLease || pdu.yiaddr === 0) return;
    if (pdu.has('chaddr')) conversation.bind(pdu.bytes, pdu.chaddr, pdu.yiaddr);
    // Unicast where the client can take it (RFC 2131, 4.1); what is broadcast has no one receiver.
    if (pdu.broadcast && pdu.ciaddr === 0) return;
    conversation.identify('receiver', 'ip', ipv4Text(pdu.yiaddr), 'dhcp.yiaddr');
    identifyName(pdu, 'receiver', conversation);
    return;
  }
  if (!isFromClient(pdu)) return;
  if (pdu.has('chaddr')) {
    const at = spanStart(pdu.chaddr);
    const mac = Array.from(pdu.bytes.subarray(at, at + 6), (octet) => octet.toString(16).padStart(2, '0')).join(':');
    if ((pdu.bytes[at] & 1) === 0 && mac !== '00:00:00:00:00:00') conversation.identify('sender', 'mac', mac, 'dhcp.chaddr');
  }
  // It has the address it names, unless it gives it back.
  if (pdu.ciaddr !== 0 && type !== RELEASE && type !== DECLINE)
    conversation.identify('sender', 'ip', ipv4Text(pdu.ciaddr), 'dhcp.ciaddr');
  identifyName(pdu, 'sender', conversation);
  if (pdu.has('vendor_class'))
    for (const [attribute, value] of vendorClass(spanText(pdu.bytes, pdu.vendor_class)))
      conversation.identify('sender', attribute, value, 'dhcp.vendor_class');
}

function identifyName(pdu: DhcpRow, side: 'sender' | 'receiver', conversation: Talk): void {
  if (pdu.has('host_name')) conversation.identify(side, 'name', spanText(pdu.bytes, pdu.host_name), 'dhcp.host_name');
  else if (pdu.has('fqdn_name')) conversation.identify(side, 'name', spanText(pdu.bytes, pdu.fqdn_name), 'dhcp.fqdn_name');
  else if (pdu.has('fqdn_labels'))
    conversation.identify(side, 'name', labelsText(pdu.bytes, pdu.fqdn_labels), 'dhcp.fqdn_labels');
}

/** Labels of the DNS (RFC 1035, 3.1) with dots between them; '' where they are not sound. */
function labelsText(bytes: Uint8Array, labels: Span): string {
  const end = spanStart(labels) + spanLength(labels);
  const names: string[] = [];
  for (let at = spanStart(labels); at < end && bytes[at] !== 0; at += 1 + bytes[at]) {
    if (bytes[at] > 63 || at + 1 + bytes[at] > end) return '';
    names.push(spanText(bytes, span(at + 1, bytes[at])));
  }
  return names.join('.');
}
