/** IEEE 1815-2012, clause 8: the transport function cuts a fragment into segments of at most 249 octets, numbered modulo 64. */
const MAX_SEGMENT_SIZE = 249;
const SEQUENCE_SPACE = 64;
/** No fragment may be longer than the sequence numbers can tell apart: a sender that never sets FIN costs no more than this. */
export const MAX_FRAGMENT_SIZE = SEQUENCE_SPACE * MAX_SEGMENT_SIZE;
/** Fragments that one conversation may have half joined: as many (source, destination) pairs as a gateway serves at a time. */
const MAX_OPEN_PER_CONVERSATION = 8;
/** Buffers of all conversations of a worker together: 2 MB. */
const MAX_OPEN = 128;

export const Segment = {
  /** The fragment is whole: `transport.bytes[0..size)`. */
  complete: 0,
  /** More segments must come. */
  joined: 1,
  /** A segment that was joined already: not looked at twice. */
  duplicate: 2,
  /** No FIR before it. */
  without_first: 3,
  /** Not the sequence number awaited: what was joined is forgotten (8.2). */
  sequence_break: 4,
  too_long: 5,
} as const;
export type SegmentCode = (typeof Segment)[keyof typeof Segment];

/** Bytes in a SharedArrayBuffer, as all packet bytes are: one kind of Uint8Array keeps the readers fast. */
export const sharedBytes = (size: number): Uint8Array => new Uint8Array(new SharedArrayBuffer(size));

class Fragment {
  owner: Reassembly | null = null;
  direction = 0;
  addresses = 0;
  size = 0;
  segments = 0;
  first_sequence = 0;
  used_at = 0;
  /** Where each segment ends in `bytes`. */
  readonly ends = new Uint16Array(SEQUENCE_SPACE);
  readonly bytes = sharedBytes(MAX_FRAGMENT_SIZE);
}

/**
 * The buffers belong to the worker, not to the conversation: with a buffer of 16 kB a conversation, a flood of conversations that
 * each begin a fragment would fill the memory. The least recently used is taken from its conversation when all are in use.
 */
const pool: Fragment[] = [];
let clock = 0;
export const transportCounters = { fragments_evicted: 0 };

function takeFragment(owner: Reassembly): Fragment {
  let oldest: Fragment | undefined;
  for (const fragment of pool) {
    if (fragment.owner === null) {
      oldest = fragment;
      break;
    }
    if (oldest === undefined || fragment.used_at < oldest.used_at) oldest = fragment;
  }
  let fragment = oldest;
  if (fragment === undefined || (fragment.owner !== null && pool.length < MAX_OPEN)) {
    fragment = new Fragment();
    pool.push(fragment);
  } else if (fragment.owner !== null) {
    transportCounters.fragments_evicted++;
    fragment.owner.drop(fragment);
  }
  fragment.owner = owner;
  return fragment;
}

/** Joins the segments of one conversation, each (source, destination, direction) by itself. */
export class Reassembly {
  /** The fragment that `add` completed is `bytes[start..end)`; valid until the next `add`. */
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  end = 0;
  segments = 0;
  /** A new FIR came while a fragment was open, or the table was full: that fragment was given up. */
  abandoned = false;
  private readonly open: Fragment[] = [];

  /** Takes a segment with the transport header `control` and the data `source[from..to)`; `addresses` is the pair of stations. */
  add(direction: number, addresses: number, control: number, source: Uint8Array, from: number, to: number): SegmentCode {
    const fin = (control & 0x80) !== 0;
    const fir = (control & 0x40) !== 0;
    const sequence = control & 0x3f;
    this.abandoned = false;
    let fragment = this.find(direction, addresses);
    if (fir && fin) {
      if (fragment) this.abandon(fragment);
      this.bytes = source;
      this.start = from;
      this.end = to;
      this.segments = 1;
      return Segment.complete;
    }
    if (fragment && this.repeats(fragment, sequence, source, from, to)) return Segment.duplicate;
    if (fir) {
      if (fragment) this.abandoned = true;
      else {
        if (this.open.length >= MAX_OPEN_PER_CONVERSATION) this.abandon(this.open[0]);
        fragment = takeFragment(this);
        fragment.direction = direction;
        fragment.addresses = addresses;
        this.open.push(fragment);
      }
      fragment.size = 0;
      fragment.segments = 0;
      fragment.first_sequence = sequence;
    } else if (!fragment) return Segment.without_first;
    else if (fragment.segments < SEQUENCE_SPACE && sequence !== (fragment.first_sequence + fragment.segments) % SEQUENCE_SPACE) {
      this.drop(fragment);
      return Segment.sequence_break;
    }
    if (fragment.segments === SEQUENCE_SPACE) {
      this.drop(fragment);
      return Segment.too_long;
    }
    for (let i = from; i < to; i++) fragment.bytes[fragment.size++] = source[i];
    fragment.ends[fragment.segments++] = fragment.size;
    fragment.used_at = ++clock;
    if (!fin) return Segment.joined;
    this.bytes = fragment.bytes;
    this.start = 0;
    this.end = fragment.size;
    this.segments = fragment.segments;
    this.drop(fragment);
    return Segment.complete;
  }

  /** Forgets what is half joined in this direction: bytes of the stream were lost. */
  forget(direction: number): void {
    for (let i = this.open.length - 1; i >= 0; i--) if (this.open[i].direction === direction) this.drop(this.open[i]);
  }

  drop(fragment: Fragment): void {
    fragment.owner = null;
    const at = this.open.indexOf(fragment);
    if (at < 0) return;
    for (let i = at + 1; i < this.open.length; i++) this.open[i - 1] = this.open[i];
    this.open.length--;
  }

  private abandon(fragment: Fragment): void {
    this.abandoned = true;
    this.drop(fragment);
  }

  private find(direction: number, addresses: number): Fragment | undefined {
    for (const fragment of this.open) if (fragment.addresses === addresses && fragment.direction === direction) return fragment;
    return undefined;
  }

  /** The very octets that were joined under this number: a retry of the link layer, or a datagram that came twice. */
  private repeats(fragment: Fragment, sequence: number, source: Uint8Array, from: number, to: number): boolean {
    const segment = (sequence - fragment.first_sequence + SEQUENCE_SPACE) % SEQUENCE_SPACE;
    if (segment >= fragment.segments) return false;
    const start = segment === 0 ? 0 : fragment.ends[segment - 1];
    if (to - from !== fragment.ends[segment] - start) return false;
    for (let i = from; i < to; i++) if (source[i] !== fragment.bytes[start + i - from]) return false;
    return true;
  }
}
