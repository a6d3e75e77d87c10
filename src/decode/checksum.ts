import { Layer, type Packet } from './packet.ts';

/** The ones' complement sum of 16-bit words (RFC 1071), added to `sum` and folded; an odd last byte is the high one of a word. */
export function sumWords(bytes: Uint8Array, at: number, end: number, sum: number): number {
  let i = at;
  for (; i + 1 < end; i += 2) sum += (bytes[i] << 8) | bytes[i + 1];
  if (i < end) sum += bytes[i] << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/**
 * Notes a wrong TCP or UDP checksum in `packet.layers`: over the pseudo header (RFC 9293 3.1, RFC 8200 8.1) and the segment. A segment that is
 * not wholly captured cannot be checked; a UDP checksum of 0 over IPv4 is none (RFC 768).
 */
export function verifyTransport(packet: Packet, at: number, end: number, wire: number, field: number, protocol: number): void {
  if (end !== wire) return;
  const { bytes, source, destination, ip_version } = packet;
  if (protocol === 17 && ip_version === 4 && bytes[at + field] === 0 && bytes[at + field + 1] === 0) return;
  const length = end - at;
  let sum = protocol + (length & 0xffff) + (length >>> 16);
  for (let word = ip_version === 4 ? 3 : 0; word < 4; word++) {
    sum += (source[word] >>> 16) + (source[word] & 0xffff) + (destination[word] >>> 16) + (destination[word] & 0xffff);
  }
  if (sumWords(bytes, at, end, sum) !== 0xffff) packet.layers |= 1 << Layer.transport_checksum_error;
}
