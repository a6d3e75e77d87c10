import type { BatchWriter } from './batch.ts';
import { MAX_PACKET_BYTES } from './batch.ts';
import type { ByteInput } from './byte-input.ts';
import { CaptureFileError } from './errors.ts';
import { isUnderstood, linkTypeName, UNDERSTOOD } from './link-types.ts';
import { WindowedSource } from './windowed-source.ts';

const FILE_HEADER_BYTES = 24;
/** How much of a file is looked at to tell the variants apart that share a magic number. */
export const VARIANT_PEEK_BYTES = 64 << 10;
const RECORDS_TO_TRY = 3;
const LARGEST_CREDIBLE_WIRE_BYTES = 128 << 20;

/** What a magic number says about the file. */
interface Magic {
  nanoseconds: boolean;
  /** Bytes between file header and first record. */
  extra_bytes: number;
  /** Sizes of record headers that are met with this magic number, the likeliest first. */
  record_header_bytes: readonly number[];
}

/**
 * Record headers are seconds, fraction, captured and wire length (16 bytes), and in patched libpcaps of 1999 behind them
 * interface index, EtherType, packet type and padding (24 bytes, or 28 with 5 bytes of debugging more), in Nokia's 4 bytes more.
 */
const MAGICS: ReadonlyMap<number, Magic> = new Map([
  [0xa1b2c3d4, { nanoseconds: false, extra_bytes: 0, record_header_bytes: [16, 24, 20] }],
  [0xa1b23c4d, { nanoseconds: true, extra_bytes: 0, record_header_bytes: [16] }],
  [0xa1b2cd34, { nanoseconds: false, extra_bytes: 0, record_header_bytes: [24, 28] }],
  // Ixia's "lcap": the header is followed by the size of all records.
  [0x1c0001ac, { nanoseconds: true, extra_bytes: 4, record_header_bytes: [16] }],
  [0x1c0001ab, { nanoseconds: false, extra_bytes: 4, record_header_bytes: [16] }],
]);

/** AIX writes version 2.2, nanoseconds, and ifTypes (RFC 1573) where others write link types. */
const AIX_LINK_TYPES: Readonly<Record<number, number>> = { 6: 1, 9: 6, 15: 10, 24: 0 };

/** The order of captured and wire length in a record header was changed with version 2.3, and not by everybody at once. */
type LengthOrder = 'captured_first' | 'wire_first' | 'smaller_is_captured';

export interface PcapFormat {
  little: boolean;
  nanoseconds: boolean;
  link_type: number;
  /** Where the first record starts. */
  first_record: number;
  record_header_bytes: number;
  length_order: LengthOrder;
}

/** Bytes in front of the first record. */
export function pcapHeaderBytes(magic: Buffer): number {
  const value = pcapByteOrder(magic) === 'little' ? magic.readUInt32LE(0) : magic.readUInt32BE(0);
  return FILE_HEADER_BYTES + (MAGICS.get(value)?.extra_bytes ?? 0);
}

/** Do these first bytes (4 or more) begin a classic pcap file, and in which byte order? */
export function pcapByteOrder(head: Buffer): 'little' | 'big' | null {
  if (head.length < 4) return null;
  if (MAGICS.has(head.readUInt32LE(0))) return 'little';
  return MAGICS.has(head.readUInt32BE(0)) ? 'big' : null;
}

/**
 * Reads the file header, and tells variants with the same magic number apart by which record header fits the first records best.
 * `head`: the start of the file, of which `whole` says that there is no more. Throws CaptureFileError.
 */
export function readPcapHeader(name: string, head: Buffer, whole: boolean): PcapFormat {
  const little = pcapByteOrder(head) === 'little';
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  const magic = MAGICS.get(view.getUint32(0, little))!;
  const first_record = FILE_HEADER_BYTES + magic.extra_bytes;
  if (head.length < first_record) {
    throw new CaptureFileError(
      name,
      `is cut short in the pcap file header: ${head.length} of ${first_record} bytes are there; copy the file again`,
      head.length,
    );
  }
  const major = view.getUint16(4, little);
  const minor = view.getUint16(6, little);
  if (major < 2) {
    throw new CaptureFileError(name, `is a pcap file of version ${major}.${minor}; 2.0 and later are understood`, 4);
  }
  const network = view.getUint32(20, little);
  const aix = !magic.nanoseconds && major === 2 && minor === 2 && AIX_LINK_TYPES[network] !== undefined;
  // The upper 16 bits say how long a frame check sequence is and are otherwise reserved.
  const link_type = aix ? AIX_LINK_TYPES[network] : network & 0xffff;
  if (!isUnderstood(link_type)) {
    throw new CaptureFileError(
      name,
      `has the link type ${linkTypeName(link_type)}, which is not understood; understood are ${UNDERSTOOD}`,
      20,
    );
  }
  const length_order =
    (major === 2 && minor < 3) || major === 543
      ? 'wire_first'
      : major === 2 && minor === 3
        ? 'smaller_is_captured'
        : 'captured_first';
  const format: PcapFormat = {
    little,
    nanoseconds: magic.nanoseconds || aix,
    link_type,
    first_record,
    record_header_bytes: magic.record_header_bytes[0],
    // AIX has today's order in spite of its version.
    length_order: aix ? 'captured_first' : length_order,
  };
  if (!aix && magic.record_header_bytes.length > 1 && length_order === 'captured_first') {
    const snap_length = view.getUint32(16, little);
    let fewest = Number.POSITIVE_INFINITY;
    for (const bytes of magic.record_header_bytes) {
      const oddities = countOddities(view, format, bytes, snap_length, whole);
      if (oddities < fewest) {
        fewest = oddities;
        format.record_header_bytes = bytes;
      }
    }
  }
  return format;
}

/** How many things in the first records would be odd if record headers had this size. */
function countOddities(view: DataView, format: PcapFormat, header_bytes: number, snap_length: number, whole: boolean): number {
  const { little } = format;
  let oddities = 0;
  let p = format.first_record;
  for (let record = 0; record < RECORDS_TO_TRY && p < view.byteLength; record++) {
    if (p + header_bytes > view.byteLength) return oddities + (whole ? 1 : 0);
    const captured = view.getUint32(p + 8, little);
    const wire = view.getUint32(p + 12, little);
    if (view.getUint32(p + 4, little) >= 1e6) oddities++;
    if (captured > snap_length) oddities++;
    if (wire > LARGEST_CREDIBLE_WIRE_BYTES) oddities++;
    if (captured > wire) oddities++;
    if (header_bytes === 20) {
      // Seen are only these values: 0x9fbfb601 and the like.
      const stuff = view.getUint32(p + 16, little);
      const digits = stuff.toString(16);
      if (!/^[9b]fbf[bd][69]0[12]$/.test(digits)) oddities++;
    } else if (header_bytes >= 24) {
      const ethertype = view.getUint16(p + 20, little);
      if (view.getUint32(p + 16, little) > 10_000) oddities++;
      // Linux has numbers of its own below the EtherTypes.
      if (ethertype > 0x17 && ethertype < 0x600 && ![0x60, 0x200, 0x400].includes(ethertype)) oddities++;
      if (view.getUint8(p + 22) > 4) oddities++;
    }
    if (captured > MAX_PACKET_BYTES) return oddities + 1;
    p += header_bytes + captured;
    if (p > view.byteLength && whole) oddities++;
  }
  return oddities;
}

/** Packets of a classic pcap file, indexed where they lie. Read from a regular file it allocates nothing and waits for nothing. */
export class PcapFileSource extends WindowedSource {
  readonly format: PcapFormat;

  /** The input is at the first record. `read_bytes`: see RingWindow. */
  constructor(name: string, input: ByteInput, format: PcapFormat, read_bytes?: number) {
    super(name, input, format.first_record, read_bytes);
    this.format = format;
  }

  protected override used(batch: BatchWriter): number {
    return this.window.at - batch.start;
  }

  protected override index(batch: BatchWriter): void {
    const { window } = this;
    const { view, end } = window;
    const { little, link_type, record_header_bytes, length_order } = this.format;
    const nanoseconds_a_unit = this.format.nanoseconds ? 1 : 1000;
    const last = end - record_header_bytes;
    let p = window.at;
    while (p <= last && !batch.full) {
      let captured = view.getUint32(p + 8, little);
      let wire = view.getUint32(p + 12, little);
      if (length_order !== 'captured_first' && (length_order === 'wire_first' || captured > wire)) {
        const first = captured;
        captured = wire;
        wire = first;
      }
      if (captured > MAX_PACKET_BYTES) {
        window.at = p;
        this.distrust(`a record claims ${captured} captured bytes, more than the ${MAX_PACKET_BYTES} that a packet can have`);
        return;
      }
      const next = p + record_header_bytes + captured;
      if (next > end) break;
      if (captured > wire) {
        wire = captured;
        this.longer_than_wire++;
      }
      const seconds = view.getUint32(p, little);
      const nanoseconds = view.getUint32(p + 4, little) * nanoseconds_a_unit;
      batch.add(p + record_header_bytes, captured, wire, seconds, nanoseconds, 0, link_type);
      p = next;
    }
    window.at = p;
  }

  protected override cutShort(have: number): { message: string; offset: number } | null {
    if (have === 0) return null;
    const { window, format } = this;
    const header_bytes = format.record_header_bytes;
    if (have < header_bytes) {
      return { message: `cut short in a record header: ${header_bytes - have} bytes of it are missing`, offset: window.offset };
    }
    const first = window.view.getUint32(window.at + 8, format.little);
    const second = window.view.getUint32(window.at + 12, format.little);
    const captured =
      format.length_order === 'captured_first' ? first : format.length_order === 'wire_first' ? second : Math.min(first, second);
    const missing = header_bytes + captured - have;
    return { message: `cut short in a packet of ${captured} bytes: ${missing} are missing`, offset: window.offset };
  }
}
