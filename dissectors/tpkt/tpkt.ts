import { defineDissector, Match, type MatchCode, type Reader, tcp } from '../../src/dissect/index.ts';

const VERSION = 3;
const HEADER = 4;
/** RFC 1006, 6: the smallest packet holds a TPDU of three octets. */
const SMALLEST = 7;

// TPDU codes of ISO 8073, 13.1, upper four bits of the second octet.
const CONNECTION_REQUEST = 0xe;
const CONNECTION_CONFIRM = 0xd;
const DISCONNECT_REQUEST = 0x8;
const ERROR = 0x7;

/** The TPDU that RFC 1006 puts behind the header: class 0, one a packet. Tells TPKT from whatever else begins with 03 00. */
function holdsClass0(r: Reader, size: number): boolean {
  const headerEnd = HEADER + 1 + r.peekU8(4);
  if (headerEnd > size) return false;
  const code = r.peekU8(5);
  // Data: length indicator 2, no number, only the end mark.
  if (code === 0xf0) return r.peekU8(4) === 2 && (r.peekU8(6) & 0x7f) === 0;
  // A connection TPDU fills the packet: class 0 carries no data in it (6.5.5).
  if ((code & 0x0f) !== 0 || headerEnd !== size) return false;
  switch (code >> 4) {
    case CONNECTION_REQUEST:
      return size >= 11 && r.peekU8(6) === 0;
    case CONNECTION_CONFIRM:
    case DISCONNECT_REQUEST:
      return size >= 11;
    case ERROR:
      return size >= 9;
    default:
      return false;
  }
}

/** ISO transport on TCP: says only where a TPDU ends. It has no record of its own: every value in it is the frame's length. */
export default defineDissector({
  name: 'tpkt',
  title: 'ISO transport service on top of TCP',
  specification: 'RFC 1006, clause 6; RFC 2126, clause 4.3',
  carriers: tcp(102),
  records: [],
  anomalies: {},
  framing: {
    headerSize: SMALLEST,
    maxSize: 65535,
    sizeOf: (r) => {
      const size = r.peekU16(2);
      return r.peekU8(0) === VERSION && r.peekU8(1) === 0 && size >= SMALLEST ? size : -1;
    },
  },
  probe(r): MatchCode {
    const size = r.peekU16(2);
    if (r.peekU8(0) !== VERSION || r.peekU8(1) !== 0 || size < SMALLEST) return Match.no;
    return holdsClass0(r, size) ? Match.certain : Match.possible;
  },
  newState: () => null,
  dissect(r, _emit, conversation) {
    r.skip(HEADER);
    conversation.payload(r);
  },
});
