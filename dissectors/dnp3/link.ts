import type { Reader } from '../../src/dissect/index.ts';
import { crcIsRight } from './crc.ts';

/** IEEE 1815-2012, clause 9: the data link layer. Start octets, LENGTH, CONTROL, two addresses, and a CRC over those eight. */
export const START = 0x0564;
export const HEADER_SIZE = 10;
/** LENGTH counts CONTROL, the addresses and the user data, without CRCs (9.2.4.1). */
const MIN_LENGTH = 5;
/** User data goes in blocks of 16 octets with a CRC behind each; the last may be shorter (9.2.4.2). */
const BLOCK_SIZE = 16;
export const MAX_USER_DATA = 250;
export const MAX_FRAME_SIZE = 292;

export const PrimaryFunction = { confirmed_user_data: 3, unconfirmed_user_data: 4 } as const;

/** 9.2.4.1, with PRM = 1 */
export const PRIMARY_FUNCTIONS: Readonly<Record<number, string>> = {
  0: 'reset_link_states',
  1: 'reset_user_process',
  2: 'test_link_states',
  3: 'confirmed_user_data',
  4: 'unconfirmed_user_data',
  9: 'request_link_status',
};

/** 9.2.4.1, with PRM = 0 */
export const SECONDARY_FUNCTIONS: Readonly<Record<number, string>> = {
  0: 'ack',
  1: 'nack',
  11: 'link_status',
  14: 'not_functioning',
  15: 'not_supported',
};

/** Addresses from here up to 0xfffb are reserved; 0xfffc is the self-address, the last three are broadcasts (9.2.5). */
export const FIRST_RESERVED_ADDRESS = 0xfff0;
export const FIRST_BROADCAST_ADDRESS = 0xfffd;

export const frameSize = (length: number): number => {
  const userData = length - MIN_LENGTH;
  return HEADER_SIZE + userData + 2 * Math.ceil(userData / BLOCK_SIZE);
};

export const userDataSize = (length: number): number => (length < MIN_LENGTH ? 0 : length - MIN_LENGTH);

/** Does a whole, uncorrupted header start at the reader? */
export function headerIsRight(r: Reader): boolean {
  return r.remaining >= HEADER_SIZE && r.peekU16(0) === START && r.peekU8(2) >= MIN_LENGTH && crcIsRight(r.bytes, r.position, 8);
}

/**
 * The size of the frame at the reader. Of a corrupted header nothing is believed, not even LENGTH: the frame then is its ten
 * octets, which are reported, and what follows is searched for the next header.
 */
export function sizeOfFrame(r: Reader): number {
  if (r.peekU16(0) !== START) return -1;
  return headerIsRight(r) ? frameSize(r.peekU8(2)) : HEADER_SIZE;
}

export const UserData = { right: 0, crc_error: 1, cut: 2 } as const;
export type UserDataCode = (typeof UserData)[keyof typeof UserData];

/**
 * Takes the user data out of its blocks into `target` and checks every CRC. The size of what was there is left in
 * `userData.size`; a frame that the capture cut off gives its first octets, the last of them without their CRC.
 */
export function readUserData(r: Reader, size: number, target: Uint8Array): UserDataCode {
  let result: UserDataCode = UserData.right;
  userData.size = 0;
  for (let left = size; left > 0; ) {
    const wanted = Math.min(left, BLOCK_SIZE);
    const block = Math.min(wanted, r.remaining);
    if (block + 2 > r.remaining) result = result === UserData.right ? UserData.cut : result;
    else if (!crcIsRight(r.bytes, r.position, block)) result = UserData.crc_error;
    for (let i = 0; i < block; i++) target[userData.size++] = r.bytes[r.position + i];
    r.skip(wanted + 2);
    if (r.truncated) break;
    left -= wanted;
  }
  return result;
}

export const userData = { size: 0 };
