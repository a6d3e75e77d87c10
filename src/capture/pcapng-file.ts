import type { BatchWriter } from './batch.ts';
import { MAX_PACKET_BYTES } from './batch.ts';
import type { ByteInput } from './byte-input.ts';
import { CaptureFileError } from './errors.ts';
import { isUnderstood, linkTypeName, UNDERSTOOD } from './link-types.ts';
import type { SourceWarning } from './source.ts';
import { WindowedSource } from './windowed-source.ts';

/**
 * pcapng as draft-ietf-opsawg-pcapng describes it. A file is a list of blocks:
 *
 *   ┌──────┬──────────────┬──────────────────────────────┬──────────────┐
 *   │ type │ total length │ body, to a multiple of four  │ total length │
 *   └──────┴──────────────┴──────────────────────────────┴──────────────┘
 */
const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const OBSOLETE_PACKET = 2;
const SIMPLE_PACKET = 3;
const ENHANCED_PACKET = 6;

const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const BLOCK_HEADER_BYTES = 8;
const TRAILER_BYTES = 4;
/** What is looked at of the file to know that it is pcapng: the shortest section header block. */
export const SECTION_HEADER_BYTES = 28;
/** Larger blocks are not waited for as a whole: their packet is taken and the rest is read over. Must hold the largest packet. */
const WHOLE_BLOCK_BYTES = 512 << 10;
/** As many as INTERFACE in the ring can number. */
const MAX_INTERFACES = 1 << 16;
/** A packet takes as much of the ring as a record of classic pcap does, so that POSITION does not depend on the format. */
const RECORD_HEADER_BYTES = 16;

const LONG_MOVE_BYTES = 1 << 10;

const OPTION_END = 0;
const OPTION_TSRESOL = 9;
const OPTION_TSOFFSET = 14;

/** The last second that the ring can hold. */
const LAST_SECOND = 2 ** 34 - 1;

/** Bytes of a block in front of its packet or its options. */
function fixedBytes(type: number): number {
  switch (type) {
    case ENHANCED_PACKET:
    case OBSOLETE_PACKET:
      return 28;
    case SIMPLE_PACKET:
      return 12;
    case INTERFACE_DESCRIPTION:
      return 16;
    case SECTION_HEADER:
      return 24;
    default:
      return BLOCK_HEADER_BYTES;
  }
}

/** What an interface description says. */
interface Interface {
  link_type: number;
  understood: boolean;
  /** 0 for no limit. */
  snap_length: number;
  /** Units of a time stamp in a second, and the nanoseconds of one, which is exact up to 10^9 and 2^23 units. */
  units: number;
  nanoseconds_a_unit: number;
  /** Units where there are more of them than that. */
  exact_units: bigint | null;
  offset_seconds: number;
}

/** Is this the start of a pcapng file? */
export function isPcapng(head: Buffer): boolean {
  return head.length >= 4 && head.readUInt32BE(0) === SECTION_HEADER;
}

/** Checks the first section header, of which the file must have SECTION_HEADER_BYTES. Throws CaptureFileError. */
export function checkPcapngHeader(name: string, head: Buffer): void {
  if (head.length < SECTION_HEADER_BYTES) {
    throw new CaptureFileError(
      name,
      `is cut short in the pcapng section header: ${head.length} of ${SECTION_HEADER_BYTES} bytes are there; copy the file again`,
      head.length,
    );
  }
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  const little = byteOrder(view, 0);
  if (little === null) {
    throw new CaptureFileError(name, 'is not a capture file: it begins like pcapng, and has no byte-order magic behind that', 8);
  }
  const version = versionOf(view, 0, little);
  if (!VERSIONS.includes(version)) {
    throw new CaptureFileError(name, `is pcapng of version ${version}; understood are ${VERSIONS.join(' and ')}`, 12);
  }
}

/** 1.2 was written for a while by mistake and is to be read as 1.0 (clause 4.1). */
const VERSIONS: readonly string[] = ['1.0', '1.2'];

function versionOf(view: DataView, block: number, little: boolean): string {
  return `${view.getUint16(block + 12, little)}.${view.getUint16(block + 14, little)}`;
}

/** Is the section that starts at `block` little-endian? null: neither. */
function byteOrder(view: DataView, block: number): boolean | null {
  if (view.getUint32(block + 8, true) === BYTE_ORDER_MAGIC) return true;
  return view.getUint32(block + 8, false) === BYTE_ORDER_MAGIC ? false : null;
}

/**
 * Packets of a pcapng file. They are moved together in the ring where they were read: what lies between them is left out.
 * The interface number is that of the packet's section. A simple packet block has no time: it gets that of the packet before.
 */
export class PcapngFileSource extends WindowedSource {
  private little = true;
  private interfaces: Interface[] = [];
  /** Where the next packet's record begins in the ring. */
  private write = 0;
  /** Of a large block: bytes still to be read over, and then the total length that must follow. */
  private to_skip = 0;
  private trailer = 0;
  private block_offset = 0;
  /** Seconds and nanoseconds of the packet that was read last. */
  private readonly time = new Float64Array(2);
  private packets = 0;
  private interfaces_described = 0;
  private interfaces_understood = 0;
  private undescribed = 0;
  private dropped_interfaces = 0;
  private options_damaged = false;
  private readonly skipped = new Map<number, { packets: number; warning: SourceWarning }>();

  constructor(name: string, input: ByteInput, read_bytes?: number) {
    super(name, input, 0, read_bytes);
  }

  protected override used(batch: BatchWriter): number {
    return this.write - batch.start;
  }

  protected override index(batch: BatchWriter): void {
    if (batch.count === 0) this.write = batch.start;
    while (!batch.full && !this.ended && this.block(batch));
  }

  /** One step: a whole block, or a piece of a large one. False: more bytes are needed. */
  private block(batch: BatchWriter): boolean {
    const { window } = this;
    const { view } = window;
    const p = window.at;
    const have = window.end - p;
    if (this.trailer !== 0) return this.readOver(have);
    if (have < BLOCK_HEADER_BYTES + TRAILER_BYTES) return false;
    const type = view.getUint32(p, this.little);
    if (type === SECTION_HEADER) {
      const little = byteOrder(view, p);
      if (little === null) {
        this.distrust('a section has no byte-order magic');
        return false;
      }
      this.little = little;
    }
    const claimed = view.getUint32(p + 4, this.little);
    // Some writers leave the padding out of the length.
    const total = Math.ceil(claimed / 4) * 4;
    const fixed = fixedBytes(type);
    if (total < fixed + TRAILER_BYTES) {
      this.distrust(`a block of type 0x${type.toString(16)} claims ${claimed} bytes, too few for its header`);
      return false;
    }
    if (total <= WHOLE_BLOCK_BYTES) {
      if (have < total) return false;
      const again = view.getUint32(p + total - TRAILER_BYTES, this.little);
      if (again !== claimed) {
        this.distrust(`a block of type 0x${type.toString(16)} claims ${claimed} bytes at its start and ${again} at its end`);
        return false;
      }
      if (!this.take(batch, type, total, fixed)) return false;
      window.at = p + total;
      return true;
    }
    return this.takeLarge(batch, type, claimed, total, fixed, have);
  }

  /** The content of a block at `window.at`; false if it cannot be trusted. */
  private take(batch: BatchWriter, type: number, total: number, fixed: number): boolean {
    switch (type) {
      case ENHANCED_PACKET:
      case OBSOLETE_PACKET:
      case SIMPLE_PACKET:
        return this.packet(batch, type, total, fixed);
      case INTERFACE_DESCRIPTION:
        this.describe(Math.min(total, WHOLE_BLOCK_BYTES), total);
        return true;
      case SECTION_HEADER:
        return this.section();
      default:
        return true;
    }
  }

  /** A block that is too large to wait for: its packet, interface or section if it has one, and the rest is read over. */
  private takeLarge(batch: BatchWriter, type: number, claimed: number, total: number, fixed: number, have: number): boolean {
    const { window } = this;
    const p = window.at;
    let needed = fixed;
    if (have < needed) return false;
    if (type === ENHANCED_PACKET || type === OBSOLETE_PACKET || type === SIMPLE_PACKET) {
      const captured = this.capturedOf(type);
      if (captured <= MAX_PACKET_BYTES) needed += captured;
    } else if (type === INTERFACE_DESCRIPTION) needed = WHOLE_BLOCK_BYTES;
    if (have < needed) return false;
    // Options beyond what is looked at are read over like the rest.
    if (!this.take(batch, type, total, fixed)) return false;
    this.block_offset = window.offset;
    this.to_skip = total - needed - TRAILER_BYTES;
    this.trailer = claimed;
    window.at = p + needed;
    return true;
  }

  private readOver(have: number): boolean {
    const { window } = this;
    const n = Math.min(this.to_skip, have);
    window.at += n;
    this.to_skip -= n;
    if (this.to_skip > 0 || have - n < TRAILER_BYTES) return false;
    const again = window.view.getUint32(window.at, this.little);
    if (again !== this.trailer) {
      this.distrust(`a block claims ${this.trailer} bytes at its start and ${again} at its end`);
      return false;
    }
    window.at += TRAILER_BYTES;
    this.trailer = 0;
    return true;
  }

  private section(): boolean {
    const version = versionOf(this.window.view, this.window.at, this.little);
    if (!VERSIONS.includes(version)) {
      this.distrust(`a section is pcapng of version ${version}; understood are ${VERSIONS.join(' and ')}`);
      return false;
    }
    this.interfaces = [];
    return true;
  }

  /** An interface description block (clause 4.2) of `total` bytes, of which `length` are looked at. */
  private describe(length: number, total: number): void {
    const { view, at } = this.window;
    const { little } = this;
    if (this.interfaces.length === MAX_INTERFACES) {
      this.dropped_interfaces++;
      return;
    }
    const link_type = view.getUint16(at + 8, little);
    const described: Interface = {
      link_type,
      understood: isUnderstood(link_type),
      snap_length: view.getUint32(at + 12, little),
      units: 1e6,
      nanoseconds_a_unit: 1000,
      exact_units: null,
      offset_seconds: 0,
    };
    const end = at + length - TRAILER_BYTES;
    let p = at + 16;
    while (p + 4 <= end) {
      const code = view.getUint16(p, little);
      const size = view.getUint16(p + 2, little);
      p += 4;
      if (code === OPTION_END) break;
      if (p + size > end) {
        if (length < total) break;
        if (!this.options_damaged) {
          this.warn(
            'an interface description has an option that is longer than its block; the options behind it are not read',
            this.window.offset,
          );
        }
        this.options_damaged = true;
        break;
      }
      if (code === OPTION_TSRESOL && size === 1) setResolution(described, view.getUint8(p));
      else if (code === OPTION_TSOFFSET && size === 8) {
        const high = view.getInt32(little ? p + 4 : p, little);
        described.offset_seconds = high * 0x1_0000_0000 + view.getUint32(little ? p : p + 4, little);
      }
      p += (size + 3) & ~3;
    }
    this.interfaces.push(described);
    this.interfaces_described++;
    if (described.understood) this.interfaces_understood++;
  }

  /** Captured bytes of the packet block at `window.at`. */
  private capturedOf(type: number): number {
    const { view, at } = this.window;
    if (type !== SIMPLE_PACKET) return view.getUint32(at + 20, this.little);
    // Clause 4.4: what the snap length of the first interface left of it.
    const wire = view.getUint32(at + 8, this.little);
    const snap_length = this.interfaces.length > 0 ? this.interfaces[0].snap_length : 0;
    return snap_length > 0 && snap_length < wire ? snap_length : wire;
  }

  /** A packet block (clauses 4.3, 4.4, appendix A) at `window.at`. */
  private packet(batch: BatchWriter, type: number, total: number, fixed: number): boolean {
    const { window, little } = this;
    const { view } = window;
    const p = window.at;
    const captured = this.capturedOf(type);
    if (captured > MAX_PACKET_BYTES) {
      this.distrust(`a packet claims ${captured} captured bytes, more than the ${MAX_PACKET_BYTES} that a packet can have`);
      return false;
    }
    if (captured > total - fixed - TRAILER_BYTES) {
      this.distrust(`a packet claims ${captured} captured bytes, more than its block of ${total} bytes can hold`);
      return false;
    }
    const number =
      type === ENHANCED_PACKET ? view.getUint32(p + 8, little) : type === OBSOLETE_PACKET ? view.getUint16(p + 8, little) : 0;
    if (number >= this.interfaces.length) {
      this.undescribed++;
      return true;
    }
    const from = this.interfaces[number];
    if (type !== SIMPLE_PACKET) setTime(this.time, view.getUint32(p + 12, little), view.getUint32(p + 16, little), from);
    if (!from.understood) {
      this.skipPacket(from.link_type);
      return true;
    }
    let wire = view.getUint32(type === SIMPLE_PACKET ? p + 8 : p + 24, little);
    if (captured > wire) {
      wire = captured;
      this.longer_than_wire++;
    }
    // Never reaches the next block: no packet block has less than RECORD_HEADER_BYTES around its packet.
    const to = this.write + RECORD_HEADER_BYTES;
    move(batch.buffer, view, to, p + fixed, captured);
    batch.add(to, captured, wire, this.time[0], this.time[1], number, from.link_type);
    this.write = to + captured;
    this.packets++;
    return true;
  }

  private skipPacket(link_type: number): void {
    let entry = this.skipped.get(link_type);
    if (entry === undefined) {
      const message = `packets of link type ${linkTypeName(link_type)} are skipped, which is not understood`;
      entry = { packets: 0, warning: this.warn(message, this.window.offset) };
      this.skipped.set(link_type, entry);
    }
    entry.packets++;
  }

  protected override cutShort(have: number): { message: string; offset: number } | null {
    const { window } = this;
    if (this.trailer !== 0) {
      const missing = this.to_skip + TRAILER_BYTES - have;
      return { message: `cut short in a block of ${this.trailer} bytes: ${missing} are missing`, offset: this.block_offset };
    }
    if (have === 0) return null;
    if (have < BLOCK_HEADER_BYTES + TRAILER_BYTES) {
      return {
        message: `cut short in a block header: ${BLOCK_HEADER_BYTES + TRAILER_BYTES - have} bytes are missing`,
        offset: window.offset,
      };
    }
    const total = Math.ceil(window.view.getUint32(window.at + 4, this.little) / 4) * 4;
    return { message: `cut short in a block of ${total} bytes: ${total - have} are missing`, offset: window.offset };
  }

  protected override finish(): void {
    for (const [link_type, { packets, warning }] of this.skipped) {
      warning.message = `${packets} packets of link type ${linkTypeName(link_type)} were skipped, which is not understood`;
    }
    if (this.undescribed > 0) this.warn(`${this.undescribed} packets were skipped that name an interface which is not described`);
    if (this.dropped_interfaces > 0) {
      this.warn(
        `${this.dropped_interfaces} interfaces above the ${MAX_INTERFACES} of a section were ignored, with their packets`,
      );
    }
    super.finish();
    if (this.packets === 0 && this.interfaces_described > 0 && this.interfaces_understood === 0) {
      const names = [...this.skipped.keys(), ...this.interfaces.slice(0, 4).map((one) => one.link_type)].map(linkTypeName);
      throw new CaptureFileError(
        this.name,
        `has only interfaces of link types that are not understood: ${[...new Set(names)].slice(0, 4).join(', ')}; understood are ${UNDERSTOOD}`,
      );
    }
  }
}

/**
 * Moves bytes within the ring. In shared memory copyWithin takes twice as long as words do for packets of some hundred bytes;
 * going up through the words is safe where bytes move downwards.
 */
function move(buffer: Buffer, view: DataView, to: number, from: number, length: number): void {
  if (to > from || length > LONG_MOVE_BYTES) {
    buffer.copyWithin(to, from, from + length);
    return;
  }
  const words = length & ~3;
  for (let i = 0; i < words; i += 4) view.setUint32(to + i, view.getUint32(from + i, true), true);
  for (let i = words; i < length; i++) buffer[to + i] = buffer[from + i];
}

/** if_tsresol: a negative power of 10, or of 2 where the upper bit is set (clause 4.2). */
function setResolution(described: Interface, resolution: number): void {
  const exponent = resolution & 0x7f;
  const binary = resolution >= 0x80;
  described.units = (binary ? 2 : 10) ** exponent;
  described.nanoseconds_a_unit = 1e9 / described.units;
  const exact = binary ? exponent <= 23 : exponent <= 9;
  described.exact_units = exact ? null : (binary ? 2n : 10n) ** BigInt(exponent);
}

/** Seconds and nanoseconds of a time stamp of 64 bits. */
function setTime(time: Float64Array, high: number, low: number, from: Interface): void {
  const { units, exact_units } = from;
  let seconds: number;
  if (exact_units === null) {
    // Long division in steps of 32, 16 and 16 bits, so that every intermediate value is below 2^53.
    const first = Math.floor(high / units);
    const second_dividend = (high - first * units) * 0x1_0000 + (low >>> 16);
    const second = Math.floor(second_dividend / units);
    const third_dividend = (second_dividend - second * units) * 0x1_0000 + (low & 0xffff);
    const third = Math.floor(third_dividend / units);
    seconds = first * 0x1_0000_0000 + second * 0x1_0000 + third;
    time[1] = Math.floor((third_dividend - third * units) * from.nanoseconds_a_unit);
  } else {
    const stamp = (BigInt(high) << 32n) | BigInt(low);
    seconds = Number(stamp / exact_units);
    time[1] = Number(((stamp % exact_units) * 1_000_000_000n) / exact_units);
  }
  seconds += from.offset_seconds;
  time[0] = Math.max(0, Math.min(seconds, LAST_SECOND));
}
