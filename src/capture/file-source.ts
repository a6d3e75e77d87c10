import type { Readable } from 'node:stream';
import { type ByteInput, GzipInput, openInput, PeekedInput, StreamInput } from './byte-input.ts';
import { CaptureFileError } from './errors.ts';
import { PcapFileSource, pcapByteOrder, pcapHeaderBytes, readPcapHeader, VARIANT_PEEK_BYTES } from './pcap-file.ts';
import { checkPcapngHeader, isPcapng, PcapngFileSource, SECTION_HEADER_BYTES } from './pcapng-file.ts';
import type { PacketSource } from './source.ts';

export interface OpenOptions {
  /** At most so many bytes are read at once: for tests of what straddles. */
  read_bytes?: number;
}

/**
 * Opens a capture file: classic pcap or pcapng, plain or compressed with gzip, told apart by their first bytes; `-` is standard
 * input. Throws CaptureFileError for what cannot be read, is no capture, or has a link type that is not understood.
 */
export async function openCaptureFile(path: string, options: OpenOptions = {}): Promise<PacketSource> {
  const name = path === '-' ? 'standard input' : path;
  return openCaptureInput(openInput(path, name), name, options);
}

/** The same for a stream of bytes. */
export async function openCaptureStream(stream: Readable, name: string, options: OpenOptions = {}): Promise<PacketSource> {
  return openCaptureInput(new StreamInput(stream), name, options);
}

/** The same for any other input, which is closed where this throws. */
export async function openCaptureInput(raw: ByteInput, name: string, options: OpenOptions = {}): Promise<PacketSource> {
  let input = new PeekedInput(raw);
  try {
    let magic = await input.peek(4);
    if (magic.length >= 2 && magic[0] === 0x1f && magic[1] === 0x8b) {
      input = new PeekedInput(new GzipInput(input));
      magic = await input.peek(4);
    }
    if (pcapByteOrder(magic) !== null) return await openPcap(name, input, raw, options);
    if (isPcapng(magic)) {
      checkPcapngHeader(name, await input.peek(SECTION_HEADER_BYTES));
      return new PcapngFileSource(name, input, options.read_bytes);
    }
    throw notACapture(name, magic, input.fault);
  } catch (error) {
    input.close();
    throw error;
  }
}

async function openPcap(name: string, input: PeekedInput, raw: ByteInput, options: OpenOptions): Promise<PacketSource> {
  // A stream is not waited for: its variant is the likeliest one of its magic number.
  const wanted = raw instanceof StreamInput ? pcapHeaderBytes(input.head) : VARIANT_PEEK_BYTES;
  const head = await input.peek(wanted);
  const format = readPcapHeader(name, head, head.length < wanted && input.fault === null);
  input.skip(format.first_record);
  return new PcapFileSource(name, input, format, options.read_bytes);
}

function notACapture(name: string, magic: Buffer, fault: string | null): CaptureFileError {
  if (fault !== null) return new CaptureFileError(name, `cannot be read: ${fault}; copy the file again`, 0);
  if (magic.length === 0) return new CaptureFileError(name, 'is empty; a capture has at least a file header', 0);
  return new CaptureFileError(
    name,
    `is not a capture file: it begins with ${magic.toString('hex')}; pcap and pcapng are understood, plain or compressed with gzip`,
    0,
  );
}
