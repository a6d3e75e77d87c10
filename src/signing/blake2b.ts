/** RFC 7693, 2.6: the initial values, those of SHA-512. */
const IV = [
  0x6a09e667f3bcc908n,
  0xbb67ae8584caa73bn,
  0x3c6ef372fe94f82bn,
  0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n,
  0x9b05688c2b3e6c1fn,
  0x1f83d9abfb41bd6bn,
  0x5be0cd19137e2179n,
];
/** RFC 7693, 2.7. */
const SIGMA = [
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
  [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
  [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
  [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
  [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
  [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
  [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
  [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
  [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
  [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];
/** Which four words each of a round's eight mixings takes. */
const MIXINGS = [
  [0, 4, 8, 12],
  [1, 5, 9, 13],
  [2, 6, 10, 14],
  [3, 7, 11, 15],
  [0, 5, 10, 15],
  [1, 6, 11, 12],
  [2, 7, 8, 13],
  [3, 4, 9, 14],
];
const BLOCK = 128;
const ROUNDS = 12;

const rotated = (word: bigint, bits: bigint): bigint => BigInt.asUintN(64, (word >> bits) | (word << (64n - bits)));

/**
 * BLAKE2b without a key (RFC 7693), `size` bytes long, 1 to 64. Node's own knows 64 alone. It is slow: meant for the hundred bytes of a
 * key's check sum.
 */
export function blake2b(bytes: Uint8Array, size: number): Buffer {
  const state = BigUint64Array.from(IV);
  state[0] ^= 0x01010000n ^ BigInt(size);
  const blocks = Math.max(1, Math.ceil(bytes.length / BLOCK));
  const padded = Buffer.alloc(blocks * BLOCK);
  padded.set(bytes);
  for (let block = 0; block < blocks; block++) {
    const last = block === blocks - 1;
    compress(state, padded.subarray(block * BLOCK, (block + 1) * BLOCK), last ? bytes.length : (block + 1) * BLOCK, last);
  }
  const result = Buffer.alloc(64);
  state.forEach((word, i) => void result.writeBigUInt64LE(word, i * 8));
  return result.subarray(0, size);
}

/** RFC 7693, 3.2: the function F. */
function compress(state: BigUint64Array, block: Buffer, count: number, last: boolean): void {
  const message = Array.from({ length: 16 }, (_, i) => block.readBigUInt64LE(i * 8));
  const v = BigUint64Array.from([...state, ...IV]);
  v[12] ^= BigInt(count);
  if (last) v[14] = BigInt.asUintN(64, ~v[14]);
  for (let round = 0; round < ROUNDS; round++) {
    const order = SIGMA[round % 10];
    MIXINGS.forEach(([a, b, c, d], i) => {
      v[a] += v[b] + message[order[2 * i]];
      v[d] = rotated(v[d] ^ v[a], 32n);
      v[c] += v[d];
      v[b] = rotated(v[b] ^ v[c], 24n);
      v[a] += v[b] + message[order[2 * i + 1]];
      v[d] = rotated(v[d] ^ v[a], 16n);
      v[c] += v[d];
      v[b] = rotated(v[b] ^ v[c], 63n);
    });
  }
  for (let i = 0; i < 8; i++) state[i] ^= v[i] ^ v[i + 8];
}
