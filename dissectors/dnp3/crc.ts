/** The reversed polynomial of x^16 + x^13 + x^12 + x^11 + x^10 + x^8 + x^6 + x^5 + x^2 + 1 (IEEE 1815-2012, 9.2.4.3). */
const POLYNOMIAL = 0xa6bc;

const TABLE = Uint16Array.from({ length: 256 }, (_, octet) => {
  let remainder = octet;
  for (let bit = 0; bit < 8; bit++) remainder = remainder & 1 ? (remainder >> 1) ^ POLYNOMIAL : remainder >> 1;
  return remainder;
});

/** The CRC of the `size` octets at `start`, as the two octets behind them hold it (low octet first). */
export function crc(bytes: Uint8Array, start: number, size: number): number {
  let remainder = 0;
  for (let i = start; i < start + size; i++) remainder = (remainder >> 8) ^ TABLE[(remainder ^ bytes[i]) & 0xff];
  return ~remainder & 0xffff;
}

/** Do the two octets behind the block hold its CRC? The caller has made sure that they are there. */
export function crcIsRight(bytes: Uint8Array, start: number, size: number): boolean {
  return (bytes[start + size] | (bytes[start + size + 1] << 8)) === crc(bytes, start, size);
}
