import { fromHex } from '../../src/dissect/testing.ts';
import { crc } from './crc.ts';

/** Frames for the tests, made as IEEE 1815-2012 clauses 8 and 9 say. */
export interface FrameOptions {
  control: number;
  destination?: number;
  source?: number;
  /** User data: transport header and segment. */
  data?: Uint8Array;
}

/** A data link frame with all its CRCs. */
export function frame({ control, destination = 10, source = 1, data = new Uint8Array(0) }: FrameOptions): Uint8Array {
  const bytes = [0x05, 0x64, data.length + 5, control, destination & 255, destination >> 8, source & 255, source >> 8];
  const append = (block: number[]) => {
    const value = crc(Uint8Array.from(block), 0, block.length);
    return [...block, value & 255, value >> 8];
  };
  const out = append(bytes);
  for (let at = 0; at < data.length; at += 16) out.push(...append([...data.subarray(at, at + 16)]));
  return Uint8Array.from(out);
}

/** The frames of a fragment, cut into segments of 249 octets. */
export function fragment(bytes: Uint8Array, options: FrameOptions & { sequence?: number }): Uint8Array[] {
  const frames: Uint8Array[] = [];
  const { sequence = 0 } = options;
  for (let at = 0, i = 0; at < bytes.length || i === 0; at += 249, i++) {
    const fir = at === 0 ? 0x40 : 0;
    const fin = at + 249 >= bytes.length ? 0x80 : 0;
    frames.push(
      frame({ ...options, data: Uint8Array.from([fir | fin | ((sequence + i) & 0x3f), ...bytes.subarray(at, at + 249)]) }),
    );
  }
  return frames;
}

const single = (text: string | Uint8Array, options: FrameOptions): Uint8Array => {
  const frames = fragment(typeof text === 'string' ? fromHex(text) : text, options);
  if (frames.length !== 1) throw new Error('the fragment needs several frames');
  return frames[0];
};

/** A fragment of master 1, in one frame. */
export const master = (text: string | Uint8Array, { outstation = 10 } = {}): Uint8Array =>
  single(text, { control: 0xc4, destination: outstation, source: 1 });

/** A fragment of outstation 10, in one frame. */
export const outstation = (text: string | Uint8Array, { outstation = 10 } = {}): Uint8Array =>
  single(text, { control: 0x44, destination: 1, source: outstation });

/** READ, the freezes, enabling and disabling unsolicited responses, assigning classes (4.2.2.7) */
export const FUNCTION_CODES_WITHOUT_DATA = ['01', '07', '08', '09', '0A', '0B', '0C', '14', '15', '16'] as const;
