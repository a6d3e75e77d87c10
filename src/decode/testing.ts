import { BatchWriter, MAX_BATCH_BYTES, PacketRing } from '../capture/batch.ts';
import { sumWords } from './checksum.ts';
import { Decoder, type DecoderOptions } from './decode.ts';
import { type DecodedCode, Packet } from './packet.ts';

// Frames for tests, built from the outside in: every function puts its header before what it is given.

/** Bytes from numbers (one each), hex text (spaces allowed) and other bytes. */
export function bytes(...parts: (number | string | Uint8Array)[]): Uint8Array {
  return Uint8Array.from(
    parts.flatMap((part) => {
      if (typeof part === 'number') return [part];
      return [...(typeof part === 'string' ? Buffer.from(part.replaceAll(' ', ''), 'hex') : part)];
    }),
  );
}

export function u16(value: number): Uint8Array {
  return bytes((value >> 8) & 0xff, value & 0xff);
}

export function u32(value: number): Uint8Array {
  return bytes(u16(value >>> 16), u16(value & 0xffff));
}

export const MAC_A = '020000000001';
export const MAC_B = '020000000002';

/** Ethernet II, or with a `type` below 0x600 IEEE 802.3. From MAC_A to MAC_B. */
export function ethernet(type: number, payload: Uint8Array, source = MAC_A, destination = MAC_B): Uint8Array {
  return bytes(destination, source, u16(type), payload);
}

/** What follows a TPID: tag, next type, payload. */
export function tagged(tci: number, type: number, payload: Uint8Array): Uint8Array {
  return bytes(u16(tci), u16(type), payload);
}

export interface Ipv4Fields {
  protocol?: number;
  source?: string;
  destination?: string;
  identification?: number;
  /** Offset in bytes. */
  offset?: number;
  more?: boolean;
  options?: Uint8Array;
  total_length?: number;
}

/** 10.0.0.1 to 10.0.0.2 unless said otherwise; addresses in hex. */
export function ipv4(payload: Uint8Array, fields: Ipv4Fields = {}): Uint8Array {
  const options = fields.options ?? new Uint8Array(0);
  const length = 20 + options.length;
  const header = bytes(
    0x40 | (length >> 2),
    0,
    u16(fields.total_length ?? length + payload.length),
    u16(fields.identification ?? 1),
    u16((fields.more ? 0x2000 : 0) | ((fields.offset ?? 0) >> 3)),
    64,
    fields.protocol ?? 6,
    u16(0),
    fields.source ?? '0a000001',
    fields.destination ?? '0a000002',
    options,
  );
  const checksum = ~sumWords(header, 0, header.length, 0);
  header[10] = (checksum >> 8) & 0xff;
  header[11] = checksum & 0xff;
  return bytes(header, payload);
}

export const IPV6_A = '20010db8000000000000000000000001';
export const IPV6_B = '20010db8000000000000000000000002';

export function ipv6(next_header: number, payload: Uint8Array, length = payload.length): Uint8Array {
  return bytes('60000000', u16(length), next_header, 64, IPV6_A, IPV6_B, payload);
}

/** The fragment header of IPv6 (RFC 8200 4.5) and what follows it; `offset` in bytes. */
export function ipv6Fragment(
  next_header: number,
  identification: number,
  offset: number,
  more: boolean,
  payload: Uint8Array,
): Uint8Array {
  return ipv6(44, bytes(next_header, 0, u16(offset | (more ? 1 : 0)), u32(identification), payload));
}

export interface TcpFields {
  source_port?: number;
  destination_port?: number;
  sequence?: number;
  acknowledgment?: number;
  flags?: number;
  window?: number;
  options?: Uint8Array;
}

export function tcp(payload: Uint8Array, fields: TcpFields = {}): Uint8Array {
  const options = fields.options ?? new Uint8Array(0);
  return bytes(
    u16(fields.source_port ?? 40000),
    u16(fields.destination_port ?? 502),
    u32(fields.sequence ?? 1),
    u32(fields.acknowledgment ?? 0),
    ((20 + options.length) >> 2) << 4,
    fields.flags ?? 0x18,
    u16(fields.window ?? 1024),
    u16(0),
    u16(0),
    options,
    payload,
  );
}

export function udp(payload: Uint8Array, destination_port = 47808, source_port = 40000, length = 8 + payload.length): Uint8Array {
  return bytes(u16(source_port), u16(destination_port), u16(length), u16(0), payload);
}

/** Modbus/TCP, a read of one register: something to carry. */
export const MODBUS = bytes('000100000006 01 03 0000 0001');

export interface Captured {
  link_type?: number;
  /** Bytes on the wire; as many as captured if absent. */
  wire?: number;
  time_ms?: number;
  /** What stands around the packet in the ring. */
  around?: number;
}

/** A ring, a decoder and a packet; one frame after the other. */
export class DecodeBench {
  readonly ring = new PacketRing();
  readonly writer = new BatchWriter(this.ring);
  readonly decoder: Decoder;
  readonly packet = new Packet();
  private used = 0;
  private next_frame = 1;

  constructor(options: DecoderOptions = {}) {
    this.decoder = new Decoder(this.ring, options);
  }

  decode(frame: Uint8Array, captured: Captured = {}): DecodedCode {
    const { writer } = this;
    // With room to either side, which `around` fills.
    const room = frame.length + 64;
    if (writer.full || this.used + room > MAX_BATCH_BYTES) {
      writer.next(this.used);
      this.used = 0;
    }
    const at = writer.start + this.used + 32;
    writer.buffer.fill(captured.around ?? 0, at - 32, at + frame.length + 32);
    writer.buffer.set(frame, at);
    const time_ms = captured.time_ms ?? 1_700_000_000_000 + this.next_frame;
    const seconds = Math.floor(time_ms / 1000);
    const nanoseconds = Math.round((time_ms - seconds * 1000) * 1e6);
    writer.add(at, frame.length, captured.wire ?? frame.length, seconds, nanoseconds, 0, captured.link_type ?? 1);
    this.used += room;
    return this.decoder.decode(this.next_frame++, this.packet);
  }

  /** Decodes and counts, as the shard does that owns the packet. */
  count(frame: Uint8Array, captured: Captured = {}): DecodedCode {
    const decoded = this.decode(frame, captured);
    this.decoder.count(this.packet, decoded);
    return decoded;
  }

  get payload(): string {
    const { packet } = this;
    return packet.payload < 0 ? '' : hex(packet.bytes.subarray(packet.payload, packet.payload_end));
  }
  get link_payload(): string {
    const { packet } = this;
    return packet.link_payload < 0 ? '' : hex(packet.link_bytes.subarray(packet.link_payload, packet.link_payload_end));
  }
  get vlans(): number[] {
    return [...this.packet.vlans.subarray(0, this.packet.vlan_count)];
  }
  /** Source MAC, or '' without. */
  get mac_source(): string {
    const { packet } = this;
    return packet.mac_source < 0 ? '' : hex(packet.link_bytes.subarray(packet.mac_source, packet.mac_source + 6));
  }
  get source(): string {
    return address(this.packet.source);
  }
  get destination(): string {
    return address(this.packet.destination);
  }
}

export function hex(part: Uint8Array): string {
  return Buffer.from(part).toString('hex');
}

/** The four words of an address as hex; IPv4 as its eight digits, none as ''. */
export function address(words: Uint32Array): string {
  if (words.every((word) => word === 0)) return '';
  const text = [...words].map((word) => word.toString(16).padStart(8, '0')).join('');
  return text.startsWith('00000000000000000000ffff') ? text.slice(24) : text;
}
