import { defineDissector, type Emit, Match, Operation, type Reader, Role, Status, tcp, udp } from '../../src/dissect/index.ts';
import { ANOMALIES, type Anomaly, readFragment, State } from './application.ts';
import {
  FIRST_RESERVED_ADDRESS,
  HEADER_SIZE,
  headerIsRight,
  MAX_FRAME_SIZE,
  MAX_USER_DATA,
  PRIMARY_FUNCTIONS,
  PrimaryFunction,
  readUserData,
  SECONDARY_FUNCTIONS,
  START,
  sizeOfFrame,
  UserData,
  userData,
  userDataSize,
} from './link.ts';
import { GROUP_NAMES } from './objects.ts';
import { Dnp3, RECORDS, type RowIn } from './records.ts';
import { Segment, type SegmentCode, sharedBytes } from './transport.ts';

type Talk = Parameters<typeof readFragment>[2];
type Pdu = RowIn<typeof Dnp3>;

/** The user data of the frame at hand, without CRCs: transport header and segment. */
const segment = sharedBytes(MAX_USER_DATA);

/** DNP3: the frame of the data link layer is the PDU; a frame that completes a fragment also gives the fragment's rows. */
export default defineDissector<State, Anomaly>({
  name: 'dnp3',
  title: 'Distributed Network Protocol',
  specification:
    'IEEE Std 1815-2012: clauses 4 (application layer), 7 (secure authentication), 8 (transport function), ' +
    '9 (data link layer), Annex A (object library)',
  carriers: [...tcp(20000), ...udp(20000)],
  records: [...RECORDS],
  anomalies: ANOMALIES,
  unitName: 'outstation',
  targetName: (space) => GROUP_NAMES[space] ?? `group ${space}`,
  framing: { headerSize: HEADER_SIZE, maxSize: MAX_FRAME_SIZE, sizeOf: sizeOfFrame },
  probe: (r) => (headerIsRight(r) ? Match.certain : Match.no),
  newState: () => new State(),

  dissect(r, emit, conversation) {
    const { reassembly, associations } = conversation.state;
    associations.is_after_gap = conversation.gap_before;
    if (conversation.gap_before) {
      reassembly.forget(conversation.direction);
      associations.forget();
    }
    const pdu = emit(Dnp3);
    if (r.remaining >= 2 && r.peekU16() !== START) {
      conversation.anomaly(pdu, 'not_a_frame');
      pdu.status = Status.malformed;
      return;
    }
    const isHeaderRight = headerIsRight(r);
    const size = readLinkHeader(r, pdu);
    if (r.truncated) return;
    if (!isHeaderRight) {
      conversation.anomaly(pdu, size < 0 ? 'invalid_length' : 'crc_error');
      pdu.status = Status.malformed;
      return;
    }
    conversation.senderIs(pdu.dir ? Role.client : Role.server);
    pdu.unit = pdu.dir ? pdu.destination : pdu.source;
    pdu.operation = Operation.session;
    checkLink(conversation, pdu, size);
    if (size > 0) readSegment(r, emit, conversation, pdu, size);
  },
});

/** 9.2.4.1. Gives the size of the user data, -1 where LENGTH is below what it must count. */
function readLinkHeader(r: Reader, pdu: Pdu): number {
  r.skip(2);
  pdu.length = r.u8();
  const control = r.u8();
  pdu.dir = (control & 0x80) !== 0;
  pdu.prm = (control & 0x40) !== 0;
  if (pdu.prm) {
    pdu.fcb = (control & 0x20) !== 0;
    pdu.fcv = (control & 0x10) !== 0;
    pdu.primary_function = control & 0x0f;
  } else {
    pdu.dfc = (control & 0x10) !== 0;
    pdu.secondary_function = control & 0x0f;
  }
  pdu.destination = r.u16le();
  pdu.source = r.u16le();
  r.skip(2);
  return pdu.length < 5 ? -1 : userDataSize(pdu.length);
}

function checkLink(conversation: Talk, pdu: Pdu, size: number): void {
  const known = pdu.prm ? pdu.primary_function in PRIMARY_FUNCTIONS : pdu.secondary_function in SECONDARY_FUNCTIONS;
  if (!known) conversation.anomaly(pdu, 'unknown_link_function');
  if (carriesUserData(pdu) !== size > 0) conversation.anomaly(pdu, 'unexpected_user_data');
  if (pdu.source >= FIRST_RESERVED_ADDRESS) conversation.anomaly(pdu, 'reserved_address');
}

const carriesUserData = (pdu: Pdu): boolean =>
  pdu.prm &&
  (pdu.primary_function === PrimaryFunction.confirmed_user_data ||
    pdu.primary_function === PrimaryFunction.unconfirmed_user_data);

const SEGMENT_ANOMALIES: Readonly<Partial<Record<SegmentCode, Anomaly>>> = {
  [Segment.duplicate]: 'transport_duplicate',
  [Segment.without_first]: 'transport_without_first',
  [Segment.sequence_break]: 'transport_sequence_break',
  [Segment.too_long]: 'fragment_too_long',
};

function readSegment(r: Reader, emit: Emit, conversation: Talk, pdu: Pdu, size: number): void {
  const result = readUserData(r, size, segment);
  if (result === UserData.crc_error) {
    // 9.2.4.3: the receiver drops the whole frame.
    conversation.anomaly(pdu, 'crc_error');
    pdu.status = Status.malformed;
    return;
  }
  if (!carriesUserData(pdu) || userData.size === 0) return;
  const control = segment[0];
  pdu.transport_fin = (control & 0x80) !== 0;
  pdu.transport_fir = (control & 0x40) !== 0;
  pdu.transport_sequence = control & 0x3f;
  pdu.operation = Operation.other;
  // What the capture cut off cannot be joined, but a fragment in this one frame can be read as far as it goes.
  const isAlone = pdu.transport_fin && pdu.transport_fir;
  if (result === UserData.cut && !isAlone) return;
  const { reassembly } = conversation.state;
  const joined = reassembly.add(
    conversation.direction,
    pdu.source * 0x10000 + pdu.destination,
    control,
    segment,
    1,
    userData.size,
  );
  const anomaly = SEGMENT_ANOMALIES[joined];
  if (anomaly) conversation.anomaly(pdu, anomaly);
  if (reassembly.abandoned) conversation.anomaly(pdu, 'fragment_abandoned');
  if (joined !== Segment.complete) return;
  pdu.segment_count = reassembly.segments;
  pdu.fragment_size = reassembly.end - reassembly.start;

  // The fragment has no CRCs in it and so stands in a buffer of its own. Rows take their bytes from the reader that `dissect` was
  // given, and the application layer is the same protocol with the same rows, so that reader is turned to the buffer and back;
  // a dissector within this one would give the rows another name.
  const { bytes, position, end, truncated } = r;
  r.reset(reassembly.bytes, reassembly.start, reassembly.end);
  readFragment(r, emit, conversation, pdu);
  const isShort = r.truncated;
  r.reset(bytes, position, end);
  r.truncated = truncated || isShort;
}
