import { type ByteSource, damaged } from './bytes.ts';

// POSIX.1-1988 tar (ustar) with regular files and nothing else. Its own reader, since general ones follow long-name and pax headers of
// any length into memory, and links and devices to wherever they lead.

const BLOCK = 512;
/** Where the fields are: [offset, length]. */
const NAME = [0, 100] as const;
const MODE = [100, 8] as const;
const SIZE = [124, 12] as const;
const TIME = [136, 12] as const;
const SUM = [148, 8] as const;
const TYPE = 156;
const MAGIC = [257, 8] as const;
const PREFIX = [345, 155] as const;
const MAX_OCTAL_SIZE = 0o77777777777;
/** tar fills its last record up with zeros. */
const MAX_PADDING = 1 << 20;

export interface TarEntry {
  name: string;
  size: number;
}

/** Throws RangeError for a name that does not fit: at most 100 characters after some `/`, 155 before it. */
export function tarHeader({ name, size }: TarEntry, mode: number, time_ms: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  const split = name.length <= NAME[1] ? 0 : name.indexOf('/', name.length - NAME[1] - 1) + 1;
  if (split > PREFIX[1] + 1 || name.length - split > NAME[1])
    throw new RangeError(`the name ${name} does not fit into a tar file`);
  block.write(name.slice(split), NAME[0]);
  if (split > 0) block.write(name.slice(0, split - 1), PREFIX[0]);
  block.write(`${mode.toString(8).padStart(7, '0')}\0`, MODE[0]);
  block.write('0000000\x000000000\0', 108);
  if (size > MAX_OCTAL_SIZE) {
    // GNU tar's way for 8 GiB and more.
    block[SIZE[0]] = 0x80;
    block.writeBigUInt64BE(BigInt(size), SIZE[0] + 4);
  } else block.write(`${size.toString(8).padStart(11, '0')}\0`, SIZE[0]);
  block.write(
    `${Math.floor(time_ms / 1000)
      .toString(8)
      .padStart(11, '0')}\0`,
    TIME[0],
  );
  block[TYPE] = 0x30;
  block.write('ustar\x0000', MAGIC[0]);
  block.write(`${sumOf(block).toString(8).padStart(6, '0')}\0 `, SUM[0]);
  return block;
}

export const tarPadding = (size: number): Buffer => Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
export const tarEnd = (): Buffer => Buffer.alloc(2 * BLOCK);

/** The next entry's header; its bytes follow in `source`, then `skipPadding`. null: the end, up to which all was read. */
export async function readTarHeader(source: ByteSource): Promise<TarEntry | null> {
  const block = await source.exactly(BLOCK);
  if (block.every((byte) => byte === 0)) {
    let padding = 0;
    for await (const part of source.all()) {
      padding += part.length;
      if (padding > MAX_PADDING || part.some((byte) => byte !== 0))
        throw damaged('something stands behind the end of the archive');
    }
    if (padding < BLOCK) throw damaged('the file is cut off');
    return null;
  }
  const magic = block.toString('latin1', MAGIC[0], MAGIC[0] + MAGIC[1]);
  if (magic !== 'ustar\x0000' && magic !== 'ustar  \0') throw damaged('it is not an archive of ot-sensor (no tar header)');
  if (octal(block, SUM) !== sumOf(block)) throw damaged('a header in the archive is damaged');
  const name = text(block, NAME);
  const prefix = magic === 'ustar\x0000' ? text(block, PREFIX) : '';
  const type = String.fromCharCode(block[TYPE]);
  const whole = prefix === '' ? name : `${prefix}/${name}`;
  if (type !== '0' && type !== '\0')
    throw damaged(`the archive holds ${TYPES[type] ?? 'something else than a file'}; it may hold files only`);
  return { name: whole, size: sizeOf(block) };
}

export async function skipPadding(source: ByteSource, size: number): Promise<void> {
  const padding = await source.exactly(tarPadding(size).length);
  if (padding.some((byte) => byte !== 0)) throw damaged('the archive is damaged');
}

const TYPES: Readonly<Record<string, string>> = {
  '1': 'a link',
  '2': 'a symbolic link',
  '3': 'a device',
  '4': 'a device',
  '5': 'a folder',
  '6': 'a pipe',
  L: 'a long name',
  K: 'a long link',
  x: 'an extended header',
  g: 'an extended header',
};

function sizeOf(block: Buffer): number {
  if ((block[SIZE[0]] & 0x80) === 0) return octal(block, SIZE);
  const large = block.readBigUInt64BE(SIZE[0] + 4);
  if (block.readUInt32BE(SIZE[0]) !== 0x80000000 || large > Number.MAX_SAFE_INTEGER)
    throw damaged('a size in the archive is impossible');
  return Number(large);
}

function octal(block: Buffer, [offset, length]: readonly [number, number]): number {
  const digits = /^ *([0-7]+)[ \0]*$/.exec(block.toString('latin1', offset, offset + length));
  if (digits === null) throw damaged('a header in the archive is damaged');
  return Number.parseInt(digits[1], 8);
}

function text(block: Buffer, [offset, length]: readonly [number, number]): string {
  const end = block.subarray(offset, offset + length).indexOf(0);
  return block.toString('latin1', offset, end < 0 ? offset + length : offset + end);
}

/** The sum of the header's bytes, its own field taken as spaces. */
function sumOf(block: Buffer): number {
  let sum = SUM[1] * 0x20;
  for (let i = 0; i < BLOCK; i++) if (i < SUM[0] || i >= SUM[0] + SUM[1]) sum += block[i];
  return sum;
}
