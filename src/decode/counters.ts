import { Decoded, type DecodedCode, LAYER_NAMES, type Packet } from './packet.ts';

const LAYERS = LAYER_NAMES.length;
const MALFORMED = LAYERS;
const PACKETS = 2 * LAYERS;
const BYTES = PACKETS + 1;
const TRUNCATED = PACKETS + 2;
const FRAGMENTS = PACKETS + 3;
const REASSEMBLED = PACKETS + 4;
const DUPLICATES = PACKETS + 5;
const MALFORMED_PACKETS = PACKETS + 6;
const TUNNELED = PACKETS + 7;

/**
 * Names of the values of `DecodeCounters`: packets by layer they contain (outer ones too), packets malformed in that layer, and
 * in all: packets, their bytes on the wire, those of which not all was captured, fragments of datagrams not yet complete, packets
 * that completed one, redundant copies, malformed ones, and packets in tunnels.
 */
export const DECODE_COUNTER_NAMES: readonly string[] = [
  ...LAYER_NAMES,
  ...LAYER_NAMES.map((name) => `malformed_${name}`),
  'packets',
  'bytes',
  'truncated',
  'incomplete_fragments',
  'reassembled',
  'duplicates',
  'malformed',
  'tunneled',
];

/** Counts packets by what they contained. Values add up over shards and time. */
export class DecodeCounters {
  /** What `toRecord` gives is complete; here the layers of the last packets, which mostly are the same, may be missing. */
  readonly values = new Float64Array(DECODE_COUNTER_NAMES.length);
  private layers = 0;
  private repeated = 0;

  count(packet: Packet, decoded: DecodedCode): void {
    const { values } = this;
    values[PACKETS]++;
    values[BYTES] += packet.wire;
    if (packet.captured < packet.wire) values[TRUNCATED]++;
    if (packet.layers !== this.layers) this.take(packet.layers);
    this.repeated++;
    if (packet.tunnels !== 0) values[TUNNELED]++;
    if (packet.reassembled) values[REASSEMBLED]++;
    if (decoded === Decoded.ok) return;
    if (decoded === Decoded.fragment) values[FRAGMENTS]++;
    else if (decoded === Decoded.duplicate) values[DUPLICATES]++;
    else {
      values[MALFORMED_PACKETS]++;
      if (packet.malformed_layer >= 0) values[MALFORMED + packet.malformed_layer]++;
    }
  }

  /** Counts the layers of the packets so far that had the same, and begins anew with those of the next. */
  private take(next: number): void {
    const { values, repeated } = this;
    for (let { layers } = this; layers !== 0; layers &= layers - 1) values[31 - Math.clz32(layers & -layers)] += repeated;
    this.layers = next;
    this.repeated = 0;
  }

  /** By name, those that are not 0. */
  toRecord(): Record<string, number> {
    this.take(this.layers);
    const record: Record<string, number> = {};
    for (let i = 0; i < DECODE_COUNTER_NAMES.length; i++)
      if (this.values[i] !== 0) record[DECODE_COUNTER_NAMES[i]] = this.values[i];
    return record;
  }
}
