import {
  type Conversation,
  defineDissector,
  Match,
  type MatchCode,
  type Reader,
  Role,
  tcp,
  udp,
} from '../../src/dissect/index.ts';
import { ModbusState, PORT } from './exchange.ts';
import { EXCEPTION_NAMES, IS_PUBLIC, spaceName } from './function-codes.ts';
import { dissectPdu } from './pdu.ts';
import { ANOMALIES, Modbus, ModbusFileRecord, ModbusObject } from './records.ts';

/** MODBUS over Serial Line V1.02, 2.5.1: address, function code, data, CRC; at most 256 bytes. */
const MIN_SIZE = 4;
const MAX_SIZE = 256;
/** 2.2: addresses 248–255 are reserved. */
const MAX_ADDRESS = 247;

/** Sizes that the first bytes do not tell. */
const NEEDS_MORE = 0;
const UNKNOWN = -1;

/**
 * Serial line frames that a gateway carries over TCP or UDP as they are. A frame has no length: its size follows from the
 * function code and from who sends it, and the CRC says which it was.
 */
export default defineDissector({
  name: 'mbrtu',
  title: 'MODBUS RTU over TCP or UDP',
  specification: 'MODBUS over Serial Line Specification and Implementation Guide V1.02; MODBUS Application Protocol V1.1b3',
  carriers: [...tcp(PORT), ...udp(PORT)],
  records: [Modbus, ModbusObject, ModbusFileRecord],
  anomalies: { ...ANOMALIES, crc_error: 'The CRC does not fit the frame' },
  unitName: 'unit',
  targetName: spaceName,

  framing: { headerSize: MIN_SIZE, maxSize: MAX_SIZE, sizeOf },
  probe,
  newState: () => new ModbusState(true),

  dissect(r, emit, conversation) {
    const pdu = emit(Modbus);
    const there = r.remaining;
    const hasCrc = isCrcRight(r, there);
    // Without its CRC the frame is damaged, or the capture has its beginning only.
    const size = hasCrc ? there : sizeBySender(r, conversation);
    const isCut = size > there;
    const unit = r.u8();
    pdu.unit_id = unit;
    const outer = r.enter((isCut ? size : there) - 3);
    dissectPdu(r, emit, pdu, conversation, 0, unit, (isCut ? size : there) - 2);
    r.leave(outer);
    if (isCut) {
      r.skip(2);
      return;
    }
    pdu.crc = r.u16();
    if (!hasCrc) conversation.anomaly(pdu, 'crc_error');
  },
});

function sizeOf(r: Reader, conversation: Conversation): number {
  const size = sizeByCrc(r);
  if (size > 0) return size;
  const there = r.remaining;
  const asRead = sizeBySender(r, conversation);
  if (size === NEEDS_MORE && there < MAX_SIZE)
    return conversation.sender !== Role.unknown && asRead > there && asRead <= MAX_SIZE ? asRead : NEEDS_MORE;
  // A damaged frame is one if it ends with the bytes at hand, or if a sound one follows.
  if (asRead < MIN_SIZE || asRead > there) return -1;
  if (asRead === there) return asRead;
  const start = r.position;
  r.position = start + asRead;
  const following = sizeByCrc(r);
  r.position = start;
  return following > 0 ? asRead : -1;
}

/** The size, of those that the function code allows, at which the CRC is right; NEEDS_MORE bytes to tell; UNKNOWN if none. */
function sizeByCrc(r: Reader): number {
  const asRequest = requestSize(r);
  if (asRequest > 0 && isCrcRight(r, asRequest)) return asRequest;
  const asResponse = responseSize(r);
  if (asResponse > 0 && asResponse !== asRequest && isCrcRight(r, asResponse)) return asResponse;
  if (asRequest === UNKNOWN && asResponse === UNKNOWN) {
    const found = searchCrc(r);
    return found === UNKNOWN && r.remaining < MAX_SIZE ? NEEDS_MORE : found;
  }
  const there = r.remaining;
  if (asRequest === NEEDS_MORE || asResponse === NEEDS_MORE) return NEEDS_MORE;
  if ((asRequest > there && asRequest <= MAX_SIZE) || (asResponse > there && asResponse <= MAX_SIZE)) return NEEDS_MORE;
  return UNKNOWN;
}

/** The size by function code and role; where the role is not known, the larger that ends with the bytes at hand. */
function sizeBySender(r: Reader, conversation: Conversation): number {
  const { sender } = conversation;
  if (sender === Role.client) return requestSize(r);
  if (sender === Role.server) return responseSize(r);
  const asRequest = requestSize(r);
  return asRequest === r.remaining ? asRequest : responseSize(r);
}

function requestSize(r: Reader): number {
  const there = r.remaining;
  switch (r.peekU8(1)) {
    case 1:
    case 2:
    case 3:
    case 4:
    case 5:
    case 6:
    case 8:
      return 8;
    case 7:
    case 11:
    case 12:
    case 17:
      return 4;
    case 15:
    case 16:
      return there > 6 ? 9 + r.peekU8(6) : NEEDS_MORE;
    case 20:
    case 21:
      return 5 + r.peekU8(2);
    case 22:
      return 10;
    case 23:
      return there > 10 ? 13 + r.peekU8(10) : NEEDS_MORE;
    case 24:
      return 6;
    case 43:
      return r.peekU8(2) === 14 ? 7 : UNKNOWN;
    default:
      return UNKNOWN;
  }
}

function responseSize(r: Reader): number {
  const code = r.peekU8(1);
  if (code >= 0x80) return 5;
  switch (code) {
    case 1:
    case 2:
    case 3:
    case 4:
    case 12:
    case 17:
    case 20:
    case 21:
    case 23:
      return 5 + r.peekU8(2);
    case 5:
    case 6:
    case 8:
    case 11:
    case 15:
    case 16:
      return 8;
    case 7:
      return 5;
    case 22:
      return 10;
    case 24:
      return 6 + r.peekU16(2);
    case 43:
      return r.peekU8(2) === 14 ? deviceIdentificationSize(r) : UNKNOWN;
    default:
      return UNKNOWN;
  }
}

/** Application Protocol, 6.21: six bytes, then objects with a length each. */
function deviceIdentificationSize(r: Reader): number {
  const there = r.remaining;
  if (there < 8) return NEEDS_MORE;
  let size = 8;
  for (let objects = r.peekU8(7); objects > 0; objects--) {
    if (size + 2 > MAX_SIZE) return UNKNOWN;
    if (size + 2 > there) return NEEDS_MORE;
    size += 2 + r.peekU8(size + 1);
  }
  return size + 2;
}

/** For functions without a known shape: the first place where the bytes before are a CRC. */
function searchCrc(r: Reader): number {
  const { bytes, position } = r;
  const end = Math.min(r.end, position + MAX_SIZE);
  let crc = 0xffff;
  for (let at = position; at + 2 <= end; at++) {
    if (at - position >= MIN_SIZE - 2 && (bytes[at] | (bytes[at + 1] << 8)) === crc) return at - position + 2;
    crc = (crc >> 8) ^ CRC_TABLE[(crc ^ bytes[at]) & 0xff];
  }
  return UNKNOWN;
}

/** Are the last two of the next `size` bytes the CRC of those before? */
function isCrcRight(r: Reader, size: number): boolean {
  const { bytes, position } = r;
  const end = position + size - 2;
  if (size < MIN_SIZE || end + 2 > r.end) return false;
  let crc = 0xffff;
  for (let at = position; at < end; at++) crc = (crc >> 8) ^ CRC_TABLE[(crc ^ bytes[at]) & 0xff];
  return (bytes[end] | (bytes[end + 1] << 8)) === crc;
}

/** Serial Line, 6.2.2: CRC-16 with the polynomial A001, begun with FFFF, the low byte sent first. */
const CRC_TABLE = Uint16Array.from({ length: 256 }, (_, octet) => {
  let crc = octet;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ 0xa001 : crc >> 1;
  return crc;
});

/** A right CRC, at a size and with values that the specification gives the function: on any port, or not at all. */
function probe(r: Reader): MatchCode {
  const code = r.peekU8(1);
  if (r.remaining < MIN_SIZE || r.peekU8(0) > MAX_ADDRESS || IS_PUBLIC[code & 0x7f] === 0) return Match.no;
  const asRequest = requestSize(r);
  if (asRequest > 0 && !isRoc(r, code, asRequest) && isPlausibleRequest(r, code) && isCrcRight(r, asRequest))
    return Match.certain;
  const asResponse = responseSize(r);
  if (asResponse > 0 && !isRoc(r, code, asResponse) && isPlausibleResponse(r, code) && isCrcRight(r, asResponse))
    return Match.certain;
  return Match.no;
}

/**
 * Emerson's ROC protocol has the same CRC behind unit, group, unit, group, opcode, length and data; its usual groups 1 and 2
 * stand where the function code does. A frame that its length fits may be either.
 */
const isRoc = (r: Reader, code: number, size: number): boolean => code <= 2 && size === 8 + r.peekU8(5);

function isPlausibleRequest(r: Reader, code: number): boolean {
  const quantity = r.peekU16(4);
  switch (code) {
    case 1:
    case 2:
      return quantity >= 1 && quantity <= 2000;
    case 3:
    case 4:
      return quantity >= 1 && quantity <= 125;
    case 5:
      return quantity === 0 || quantity === 0xff00;
    case 8:
      return r.peekU16(2) <= 20;
    case 15:
      return r.peekU8(6) === (quantity + 7) >> 3;
    case 16:
      return r.peekU8(6) === quantity * 2;
    case 23:
      return r.peekU8(10) === r.peekU16(8) * 2;
    default:
      return true;
  }
}

function isPlausibleResponse(r: Reader, code: number): boolean {
  if (code >= 0x80) return EXCEPTION_NAMES[r.peekU8(2)] !== undefined;
  const byteCount = r.peekU8(2);
  switch (code) {
    case 1:
    case 2:
      return byteCount > 0;
    case 3:
    case 4:
    case 23:
      return byteCount > 0 && (byteCount & 1) === 0;
    default:
      return true;
  }
}
