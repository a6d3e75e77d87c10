import { Layer, type Packet } from './packet.ts';

/** The ones' complement sum of 16-bit words (RFC 1071), added to `sum` and folded; an odd last byte is the high one of a word. */
export function sumWords(bytes: Uint8Array, at: number, end: number, sum: number): number {
  // High and low bytes apart: two independent chains of additions, shifted once.
  let high = 0;
  let low = sum;
  let i = at;
  for (; i + 1 < end; i += 2) {
    high += bytes[i];
    low += bytes[i + 1];
  }
  if (i < end) high += bytes[i];
  let folded = high * 256 + low;
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return folded;
}

/** Notes a wrong checksum of the IPv4 header (RFC 791 3.1) in `packet.layers`. */
export function verifyHeader(packet: Packet): void {
  if (packet.ip_version !== 4) return;
  const { bytes: b, network_offset: at } = packet;
  // The common header without options, written out: it is checked for every packet.
  const sum =
    b[at] === 0x45
      ? (0x45 + b[at + 2] + b[at + 4] + b[at + 6] + b[at + 8] + b[at + 10] + b[at + 12] + b[at + 14] + b[at + 16] + b[at + 18]) *
          256 +
        (b[at + 1] +
          b[at + 3] +
          b[at + 5] +
          b[at + 7] +
          b[at + 9] +
          b[at + 11] +
          b[at + 13] +
          b[at + 15] +
          b[at + 17] +
          b[at + 19])
      : sumWords(b, at, at + ((b[at] & 0x0f) << 2), 0);
  // Twice folded is enough for so few words.
  const once = (sum & 0xffff) + (sum >>> 16);
  if ((once & 0xffff) + (once >>> 16) !== 0xffff) packet.layers |= 1 << Layer.ipv4_checksum_error;
}

/**
 * Notes a wrong checksum of TCP or UDP in `packet.layers`: over the pseudo header (RFC 9293 3.1, RFC 8200 8.1) and the segment. A
 * segment that is not wholly captured cannot be checked; a UDP checksum of 0 over IPv4 is none (RFC 768).
 */
export function verifyTransport(packet: Packet): void {
  const { ip_protocol, ip_version, bytes, transport_offset, payload, payload_end } = packet;
  if (ip_protocol !== 6 && ip_protocol !== 17) return;
  if (payload < 0 || packet.payload_missing !== 0 || packet.captured !== packet.wire) return;
  if (ip_protocol === 17 && ip_version === 4 && bytes[transport_offset + 6] === 0 && bytes[transport_offset + 7] === 0) return;
  const { source, destination } = packet;
  const length = payload_end - transport_offset;
  let sum = ip_protocol + (length & 0xffff) + (length >>> 16);
  for (let word = ip_version === 4 ? 3 : 0; word < 4; word++) {
    sum += (source[word] >>> 16) + (source[word] & 0xffff) + (destination[word] >>> 16) + (destination[word] & 0xffff);
  }
  if (sumWords(bytes, transport_offset, payload_end, sum) !== 0xffff) packet.layers |= 1 << Layer.transport_checksum_error;
}
