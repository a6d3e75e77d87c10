import { defineDissector, Match, type MatchCode, type Reader, tcp, udp } from '../../src/dissect/index.ts';
import { fits, ModbusState, PORT } from './exchange.ts';
import { EXCEPTION_NAMES, IS_PUBLIC, spaceName } from './function-codes.ts';
import { dissectPdu } from './pdu.ts';
import { ANOMALIES, Modbus, ModbusFileRecord, ModbusObject } from './records.ts';

/** Messaging on TCP/IP, 3.1.3: transaction id, protocol id, length, unit id; with the function code that probing needs. */
const HEADER_SIZE = 8;
/** Unit identifier and a PDU of 253 bytes (Application Protocol, 4.1). */
const MAX_LENGTH = 254;
/** UMAS negotiates larger frames, of up to 1024 bytes behind the header. */
const UMAS = 90;
const MAX_UMAS_LENGTH = 1024;

export default defineDissector({
  name: 'modbus',
  title: 'MODBUS/TCP',
  specification: 'MODBUS Application Protocol V1.1b3; MODBUS Messaging on TCP/IP Implementation Guide V1.0b',
  carriers: [...tcp(PORT), ...udp(PORT)],
  records: [Modbus, ModbusObject, ModbusFileRecord],
  anomalies: ANOMALIES,
  unitName: 'unit',
  targetName: spaceName,

  framing: {
    headerSize: HEADER_SIZE,
    maxSize: 6 + MAX_UMAS_LENGTH,
    sizeOf: (r) => (isHeader(r, 0) ? 6 + r.peekU16(4) : -1),
  },
  probe,
  newState: () => new ModbusState(false),

  dissect(r, emit, conversation) {
    const pdu = emit(Modbus);
    const transactionId = r.u16();
    pdu.transaction_id = transactionId;
    pdu.protocol_id = r.u16();
    const length = r.u16();
    pdu.length = length;
    const unit = r.u8();
    pdu.unit_id = unit;
    dissectPdu(r, emit, pdu, conversation, transactionId, unit, length);
  },
});

/** Protocol identifier 0 and a length that a MODBUS PDU can have. */
function isHeader(r: Reader, at: number): boolean {
  if (r.peekU16(at + 2) !== 0) return false;
  const length = r.peekU16(at + 4);
  return length >= 2 && (length <= MAX_LENGTH || (length <= MAX_UMAS_LENGTH && (r.peekU8(at + 7) & 0x7f) === UMAS));
}

function probe(r: Reader): MatchCode {
  if (r.remaining < HEADER_SIZE || !isHeader(r, 0)) return Match.no;
  const length = r.peekU16(4);
  const code = r.peekU8(7);
  if (isExact(r, code, length) && isFollowed(r, 6 + length)) return Match.certain;
  return code >= 0x20 && isText(r, length) ? Match.no : Match.possible;
}

/** Every byte that decides is there, and is as clause 6 wants it: what makes the protocol certain on any port. */
function isExact(r: Reader, code: number, length: number): boolean {
  if (IS_PUBLIC[code & 0x7f] === 0) return false;
  const there = r.remaining - 6;
  if (code >= 0x80) return length === 3 && there >= 3 && EXCEPTION_NAMES[r.peekU8(8)] !== undefined;
  if (fits(r, HEADER_SIZE, code, length, true) && isExactResponse(r, code, length, there)) return true;
  return fits(r, HEADER_SIZE, code, length, false) && there >= length && isExactRequest(r, code);
}

/** The byte count is the proof; function codes without one need the whole PDU. */
function isExactResponse(r: Reader, code: number, length: number, there: number): boolean {
  switch (code) {
    case 1:
    case 2:
    case 3:
    case 4:
    case 23:
      return there >= 3;
    case 43:
      return there >= 8 && r.peekU8(8) === 14 && isDeviceIdentification(r);
    case 15:
    case 16:
      return there >= length && isQuantity(r.peekU16(10), code === 15 ? 1968 : 123);
    case 5:
    case 7:
    case 8:
      return false;
    default:
      return there >= length;
  }
}

function isExactRequest(r: Reader, code: number): boolean {
  const quantity = r.peekU16(10);
  switch (code) {
    case 1:
    case 2:
      return isQuantity(quantity, 2000);
    case 3:
    case 4:
      return isQuantity(quantity, 125);
    case 5:
      return quantity === 0 || quantity === 0xff00;
    case 8:
      return r.peekU16(8) <= 20;
    case 15:
      return isQuantity(quantity, 1968) && r.peekU8(12) === (quantity + 7) >> 3;
    case 16:
      return isQuantity(quantity, 123) && r.peekU8(12) === quantity * 2;
    case 23:
      return isQuantity(quantity, 125) && isQuantity(r.peekU16(14), 121) && r.peekU8(16) === r.peekU16(14) * 2;
    case 43:
      return r.peekU8(8) === 14 && isQuantity(r.peekU8(9), 4);
    default:
      return true;
  }
}

const isQuantity = (quantity: number, most: number): boolean => quantity >= 1 && quantity <= most;

/** 6.21: code, conformity level, more follows. */
function isDeviceIdentification(r: Reader): boolean {
  const more = r.peekU8(11);
  return isQuantity(r.peekU8(9), 4) && isQuantity(r.peekU8(10) & 0x7f, 3) && (more === 0 || more === 0xff);
}

/** Behind the PDU is nothing, or another header. */
function isFollowed(r: Reader, size: number): boolean {
  const behind = r.remaining - size;
  return behind <= 0 || (behind >= HEADER_SIZE && isHeader(r, size));
}

/** Unit, function code and data read as text: some other protocol that happens to have zeros in the right place. */
function isText(r: Reader, length: number): boolean {
  const end = Math.min(r.remaining, 6 + length);
  for (let i = 6; i < end; i++) {
    const c = r.peekU8(i);
    if ((c < 0x20 || c > 0x7e) && c !== 0x09 && c !== 0x0a && c !== 0x0d) return false;
  }
  return true;
}
