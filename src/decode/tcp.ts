import type { Decoder } from './decode.ts';
import { malformed } from './layer.ts';
import { Decoded, type DecodedCode, Layer, type Packet } from './packet.ts';

const MIN_HEADER = 20;

/**
 * TCP (RFC 9293 3.1): ports 2 + 2, sequence 4, acknowledgment 4, data offset 4 bits, flags, window 2, checksum 2, urgent 2,
 * options. Of a header that is cut short the ports are still told.
 */
export function tcp(decoder: Decoder, packet: Packet, at: number, end: number, wire: number): DecodedCode {
  const { bytes } = packet;
  packet.layers |= 1 << Layer.tcp;
  if (end - at < MIN_HEADER) {
    if (end - at >= 4) {
      packet.source_port = (bytes[at] << 8) | bytes[at + 1];
      packet.destination_port = (bytes[at + 2] << 8) | bytes[at + 3];
    }
    return malformed(packet, Layer.tcp);
  }
  packet.source_port = (bytes[at] << 8) | bytes[at + 1];
  packet.destination_port = (bytes[at + 2] << 8) | bytes[at + 3];
  packet.tcp_sequence = ((bytes[at + 4] << 24) | (bytes[at + 5] << 16) | (bytes[at + 6] << 8) | bytes[at + 7]) >>> 0;
  packet.tcp_acknowledgment = ((bytes[at + 8] << 24) | (bytes[at + 9] << 16) | (bytes[at + 10] << 8) | bytes[at + 11]) >>> 0;
  packet.tcp_flags = bytes[at + 13] & 0x3f;
  packet.tcp_window = (bytes[at + 14] << 8) | bytes[at + 15];
  const header = (bytes[at + 12] >> 4) << 2;
  const data = at + header;
  if (header < MIN_HEADER || data > wire) return malformed(packet, Layer.tcp);
  // A total length beyond the frame is a lie that receivers drop. It must not count as bytes of the stream, which would hide the
  // true ones.
  if (wire > decoder.wire_end && !packet.reassembled) wire = Math.max(decoder.wire_end, data);
  // Options that the capture has cut off are missing, the payload behind them as well.
  packet.payload = Math.min(data, end);
  packet.payload_end = end;
  packet.payload_missing = wire - Math.max(data, end);
  return Decoded.ok;
}
