import {
  bool,
  bytes,
  type Conversation,
  defineDissector,
  Match,
  Operation,
  Reader,
  Role,
  type RowOf,
  record,
  u8,
  u16,
  u32,
  within,
} from '../../src/dissect/index.ts';

/** ISO 8073, 13.1, table 8; the code is the upper half of the octet. */
const TPDU = {
  expedited_data: 0x1,
  expedited_acknowledgement: 0x2,
  unit_data: 0x4,
  reject: 0x5,
  data_acknowledgement: 0x6,
  error: 0x7,
  disconnect_request: 0x8,
  disconnect_confirm: 0xc,
  connection_confirm: 0xd,
  connection_request: 0xe,
  data: 0xf,
} as const;
const TPDU_NAMES: Record<number, string> = Object.fromEntries(Object.entries(TPDU).map(([name, code]) => [code, name]));

/** 13.5.3 d), with the codes that only class 1 to 4 may use. */
const REASONS = {
  0: 'not_specified',
  1: 'congestion_at_tsap',
  2: 'session_entity_not_attached',
  3: 'address_unknown',
  128: 'normal_disconnect',
  129: 'remote_congestion',
  130: 'negotiation_failed',
  131: 'duplicate_source_reference',
  132: 'mismatched_references',
  133: 'protocol_error',
  135: 'reference_overflow',
  136: 'connection_refused_on_network_connection',
  138: 'invalid_length',
};
/** 13.12.3 c) */
const REJECT_CAUSES = {
  0: 'not_specified',
  1: 'invalid_parameter_code',
  2: 'invalid_tpdu_type',
  3: 'invalid_parameter_value',
};
/** What SIMATIC S7 puts into the first octet of a two-octet TSAP. */
const S7_CONNECTION_TYPES = { 1: 'programming_device', 2: 'operator_panel', 3: 's7_basic' };

const Cotp = record('cotp', 'One transport protocol data unit', {
  li: u8('cotp.li', 'length indicator: octets of the header behind it', { unit: 'bytes' }),
  tpdu: u8('cotp.type', 'TPDU code, upper four bits', { names: TPDU_NAMES }),
  destination_reference: u16(
    null,
    'reference the receiver gave the connection; Wireshark shows it in data, too, where it is not on the wire',
  ),
  source_reference: u16('cotp.srcref', 'reference the sender gives the connection'),
  class: u8('cotp.class', 'preferred or chosen protocol class, 0 to 4'),
  extended_formats: bool('cotp.opts.extended_formats', 'long sequence numbers in classes 2 to 4'),
  no_explicit_flow_control: bool('cotp.opts.no_explicit_flow_control', 'class 2 without credits'),
  tpdu_number: u8('cotp.tpdu-number', 'TPDU-NR, seven bits; 0 in class 0'),
  next_tpdu_number: u8('cotp.next-tpdu-number', 'YR-TU-NR: number expected next'),
  credit: u8('cotp.credit', 'CDT: TPDUs the sender is ready to take'),
  end_of_tsdu: bool('cotp.eot', 'the last TPDU of its service data unit'),
  tpdu_size: u16('cotp.tpdu_size', 'proposed or chosen largest TPDU', { unit: 'bytes' }),
  preferred_tpdu_size: u32('cotp.preferred_maximum_tpdu_size', 'preferred largest TPDU, a multiple of 128', { unit: 'bytes' }),
  calling_tsap: bytes('cotp.src-tsap-bytes', 'transport selector of the caller'),
  called_tsap: bytes('cotp.dst-tsap-bytes', 'transport selector of the called'),
  s7_connection_type: u8(null, 'SIMATIC reading of the called TSAP: kind of connection', { names: S7_CONNECTION_TYPES }),
  s7_rack: u8(null, 'SIMATIC reading of the called TSAP: rack of the module'),
  s7_slot: u8(null, 'SIMATIC reading of the called TSAP: slot of the module'),
  version: u8('cotp.vp_version_nr', 'protocol version'),
  checksum: u16('cotp.checksum', 'checksum parameter'),
  additional_options: u8(null, 'additional option selection'),
  inactivity_timer_ms: u32('cotp.inactivity_timer', 'inactivity timer', { unit: 'ms' }),
  reason: u8('cotp.cause', 'why the connection ends or was refused', { names: REASONS }),
  reject_cause: u8('cotp.reject_cause', 'why a TPDU was rejected', { names: REJECT_CAUSES }),
  rejected_tpdu: bytes(null, 'header of the rejected TPDU up to the octet that was wrong'),
  unread_parameters: bytes(
    null,
    'variable part that is not in the form of clause 13.2.3, e.g. the negotiation of remote desktop',
  ),
  data_size: u16(null, 'user data in this TPDU', { unit: 'bytes' }),
  tsdu_size: u32(null, 'the whole service data unit that this TPDU completes, where it came in several', { unit: 'bytes' }),
});
type CotpRow = RowOf<typeof Cotp.fields>;

type Anomaly =
  | 'unknown_tpdu'
  | 'invalid_parameter'
  | 'larger_than_negotiated'
  | 'tsdu_too_long'
  | 'tsdu_unfinished'
  | 'unexpected_user_data'
  | 'tpdu_rejected';

/** Longest service data unit that is joined; S7 and MMS negotiate less. */
const MAX_TSDU = 65536;
const FIRST_BUFFER = 2048;
/** Class 0 has one TPDU a packet, class 1 and up may concatenate (6.4); more than this is forged. */
const MAX_CONCATENATED = 16;

/** Joins the data TPDUs of one direction. The buffer is made when a service data unit first comes in several. */
class Joiner {
  bytes: Uint8Array | null = null;
  length = 0;
  /** Too long: what still comes of it is dropped. */
  overflow = false;

  forget(): void {
    this.length = 0;
    this.overflow = false;
  }

  append(r: Reader): void {
    const size = r.remaining;
    if (size === 0 || this.overflow) return;
    const needed = this.length + size;
    if (needed > MAX_TSDU) {
      this.overflow = true;
      return;
    }
    if (this.bytes === null || this.bytes.length < needed) {
      // Backed by shared memory like the batches, so that readers meet one kind of array.
      const larger = new Uint8Array(new SharedArrayBuffer(Math.max(FIRST_BUFFER, 2 ** Math.ceil(Math.log2(needed)))));
      if (this.bytes !== null) for (let i = 0; i < this.length; i++) larger[i] = this.bytes[i];
      this.bytes = larger;
    }
    const { bytes } = this;
    for (let i = 0; i < size; i++) bytes[this.length + i] = r.bytes[r.position + i];
    this.length = needed;
  }
}

class CotpState {
  readonly directions: readonly [Joiner, Joiner] = [new Joiner(), new Joiner()];
  readonly joined = new Reader();
  /** Largest TPDU as confirmed; 0 unknown. */
  tpdu_size = 0;
}

type CotpConversation = Conversation<CotpState, Anomaly>;

/** ISO 8073, 13.2.3: parameters of code, length, value, up to the end of the header. */
function readParameters(r: Reader, row: CotpRow, conversation: CotpConversation): void {
  while (r.remaining > 0) {
    const code = r.peekU8(0);
    const size = r.peekU8(1);
    // Remote desktop puts a line of text and its own negotiation here: that is its way, not a defect.
    if (r.remaining < 2 || size > r.remaining - 2 || code < 0x08) {
      row.unread_parameters = r.rest();
      if (code >= 0x80) conversation.anomaly(row, 'invalid_parameter');
      return;
    }
    r.skip(2);
    const outer = r.enter(size);
    readParameter(code, size, r, row, conversation);
    r.leave(outer);
  }
}

function readParameter(code: number, size: number, r: Reader, row: CotpRow, conversation: CotpConversation): void {
  switch (code) {
    case 0xc0: {
      // 13.3.4 b): 2 to the power of the code, 128 to 8192.
      const exponent = r.u8();
      if (exponent < 7 || exponent > 13) conversation.anomaly(row, 'invalid_parameter');
      else row.tpdu_size = 2 ** exponent;
      return;
    }
    case 0xc1:
      row.calling_tsap = r.span(size);
      return;
    case 0xc2:
      readCalledTsap(size, r, row);
      return;
    case 0xc3:
      row.checksum = r.u16();
      return;
    case 0xc4:
      row.version = r.u8();
      return;
    case 0xc6:
      row.additional_options = r.u8();
      return;
    case 0xf0: {
      let units = 0;
      for (let i = 0; i < size && i < 4; i++) units = units * 256 + r.u8();
      row.preferred_tpdu_size = units * 128;
      return;
    }
    case 0xf2:
      row.inactivity_timer_ms = r.u32();
      return;
  }
}

/** SIMATIC: connection type, then rack in the upper three bits and slot in the lower five. */
function readCalledTsap(size: number, r: Reader, row: CotpRow): void {
  const type = r.peekU8(0);
  const place = r.peekU8(1);
  row.called_tsap = r.span(size);
  if (size !== 2 || type < 1 || type > 3) return;
  row.s7_connection_type = type;
  row.s7_rack = place >> 5;
  row.s7_slot = place & 0x1f;
}

function readConnection(r: Reader, row: CotpRow, conversation: CotpConversation, isRequest: boolean): void {
  row.destination_reference = r.u16();
  row.source_reference = r.u16();
  const classAndOptions = r.u8();
  row.class = classAndOptions >> 4;
  row.extended_formats = (classAndOptions & 2) !== 0;
  row.no_explicit_flow_control = (classAndOptions & 1) !== 0;
  row.operation = Operation.session;
  readParameters(r, row, conversation);
  const { state } = conversation;
  if (isRequest) {
    conversation.senderIs(Role.client);
    state.directions[0].forget();
    state.directions[1].forget();
    state.tpdu_size = 0;
  } else {
    conversation.senderIs(Role.server);
    if (row.has('tpdu_size')) state.tpdu_size = row.tpdu_size;
    if (row.has('preferred_tpdu_size')) state.tpdu_size = row.preferred_tpdu_size;
  }
}

function readDisconnectRequest(r: Reader, row: CotpRow, conversation: CotpConversation): void {
  row.destination_reference = r.u16();
  row.source_reference = r.u16();
  row.reason = r.u8();
  row.operation = Operation.session;
  readParameters(r, row, conversation);
}

/** 13.7: the header of class 0 and 1 has two octets behind the indicator, of class 2 to 4 also a reference. */
function readData(li: number, r: Reader, row: CotpRow): boolean {
  if (li >= 4) row.destination_reference = r.u16();
  const number = r.u8();
  row.tpdu_number = number & 0x7f;
  row.end_of_tsdu = number >= 0x80;
  return number >= 0x80;
}

function handOn(r: Reader, row: CotpRow, conversation: CotpConversation, last: boolean): void {
  const { state } = conversation;
  const joiner = state.directions[conversation.direction];
  row.data_size = r.remaining;
  if (last && joiner.length === 0 && !joiner.overflow) {
    // The whole service data unit, read in place. An empty one only acknowledges (SIMATIC's "fast ack").
    conversation.payload(r);
    r.position = r.end;
    return;
  }
  joiner.append(r);
  r.position = r.end;
  if (joiner.overflow) conversation.anomaly(row, 'tsdu_too_long');
  if (!last) return;
  if (!joiner.overflow && joiner.bytes !== null) {
    row.tsdu_size = joiner.length;
    conversation.payload(state.joined.reset(joiner.bytes, 0, joiner.length));
  }
  joiner.forget();
}

/** One TPDU; gives false where nothing sensible can follow. */
function readTpdu(r: Reader, row: CotpRow, conversation: CotpConversation): boolean {
  const start = r.position;
  const li = r.u8();
  const code = r.u8();
  const type = code >> 4;
  row.li = li;
  row.tpdu = type;
  const { tpdu_size } = conversation.state;
  if (tpdu_size > 0 && r.end - start > tpdu_size) conversation.anomaly(row, 'larger_than_negotiated');
  // A header that claims more than there is breaks the standard, even where its parameters end before.
  if (li - 1 > r.remaining) r.truncated = true;
  const outer = r.enter(li - 1);
  switch (type) {
    case TPDU.connection_request:
    case TPDU.connection_confirm:
      row.credit = code & 0x0f;
      readConnection(r, row, conversation, type === TPDU.connection_request);
      break;
    case TPDU.disconnect_request:
      readDisconnectRequest(r, row, conversation);
      break;
    case TPDU.disconnect_confirm:
      row.destination_reference = r.u16();
      row.source_reference = r.u16();
      row.operation = Operation.session;
      break;
    case TPDU.data:
    case TPDU.expedited_data: {
      const last = readData(li, r, row);
      r.leave(outer);
      handOn(r, row, conversation, last);
      return false;
    }
    case TPDU.unit_data:
      readParameters(r, row, conversation);
      r.leave(outer);
      conversation.payload(r);
      r.position = r.end;
      return false;
    case TPDU.data_acknowledgement:
    case TPDU.reject:
      row.credit = code & 0x0f;
      row.destination_reference = r.u16();
      row.next_tpdu_number = r.u8() & 0x7f;
      break;
    case TPDU.expedited_acknowledgement:
      row.destination_reference = r.u16();
      row.next_tpdu_number = r.u8() & 0x7f;
      break;
    case TPDU.error:
      row.destination_reference = r.u16();
      row.reject_cause = r.u8();
      row.operation = Operation.error;
      conversation.anomaly(row, 'tpdu_rejected');
      // 13.12.4: the rejected header stands where a connection TPDU has the calling TSAP.
      if (r.peekU8(0) === 0xc1) {
        const size = r.peekU8(1);
        r.skip(2);
        row.rejected_tpdu = r.span(size);
      }
      break;
    default:
      conversation.anomaly(row, 'unknown_tpdu');
      r.leave(outer);
      row.data_size = r.remaining;
      r.position = r.end;
      return false;
  }
  r.leave(outer);
  if (type < TPDU.disconnect_request || r.remaining === 0) return true;
  row.data_size = r.remaining;
  conversation.anomaly(row, 'unexpected_user_data');
  r.position = r.end;
  return false;
}

/** Connection-oriented transport, as S7 communication and MMS use it (class 0); the headers of the other classes are read too. */
export default defineDissector<CotpState, Anomaly>({
  name: 'cotp',
  title: 'ISO connection-oriented transport protocol',
  specification: 'ISO/IEC 8073:1997 = ITU-T X.224 (1995), clauses 6 and 13; RFC 1006, clause 5 (class 0, sizes)',
  carriers: within('tpkt'),
  records: [Cotp],
  anomalies: {
    unknown_tpdu: 'The TPDU code is none of ISO 8073.',
    invalid_parameter: 'A parameter of a connection TPDU is longer than its header or has a value that is not allowed.',
    larger_than_negotiated: 'The TPDU is larger than the size that was confirmed for the connection.',
    tsdu_too_long:
      'Data TPDUs without an end mark add up to more than is joined (65,536 bytes); the service data unit was dropped.',
    tsdu_unfinished: 'Bytes of the stream were lost within a service data unit; what had come of it was dropped.',
    unexpected_user_data: 'A connection TPDU is followed by data, which class 0 does not allow.',
    tpdu_rejected: 'The sender rejects a TPDU it was sent as faulty.',
  },
  probe: (r) => (r.remaining >= 2 && r.peekU8(0) >= 1 && r.peekU8(0) < 0xff ? Match.possible : Match.no),
  newState: () => new CotpState(),
  dissect(r, emit, conversation) {
    const joiner = conversation.state.directions[conversation.direction];
    const unfinished = conversation.gap_before && (joiner.length > 0 || joiner.overflow);
    if (unfinished) joiner.forget();
    for (let i = 0; i < MAX_CONCATENATED && r.remaining >= 2; i++) {
      const row = emit(Cotp);
      if (unfinished && i === 0) conversation.anomaly(row, 'tsdu_unfinished');
      if (!readTpdu(r, row, conversation)) return;
    }
  },
});
