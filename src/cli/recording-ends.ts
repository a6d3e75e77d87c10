import ipaddr from 'ipaddr.js';
import { OperatingError } from '../errors.ts';
import { type End, RecordingReader } from '../recording/reader.ts';
import { fileReason } from './failure.ts';

/** Of an address as the database has it. */
export function ipEnd(ip: string): End {
  const parsed = ipaddr.parse(ip);
  const bytes = (parsed.kind() === 'ipv4' ? (parsed as ipaddr.IPv4).toIPv4MappedAddress() : parsed).toByteArray();
  const word = (i: number) => ((bytes[i] << 24) | (bytes[i + 1] << 16) | (bytes[i + 2] << 8) | bytes[i + 3]) >>> 0;
  return { kind: 'ip', words: [word(0), word(4), word(8), word(12)] };
}

/** `without_ip`: see `End`. */
export function macEnd(text: string, without_ip = false): End {
  const octets = text.split(':').map((octet) => Number.parseInt(octet, 16));
  return {
    kind: 'mac',
    high: (octets[0] << 8) | octets[1],
    low: ((octets[2] << 24) | (octets[3] << 16) | (octets[4] << 8) | octets[5]) >>> 0,
    without_ip,
  };
}

/** Reads a recording; what the file system refuses is said as an operator understands it. */
export function readable<T>(directory: string, read: (reader: RecordingReader) => T): T {
  try {
    return read(new RecordingReader(directory));
  } catch (error) {
    if (typeof (error as NodeJS.ErrnoException).syscall !== 'string') throw error;
    throw new OperatingError('not_found', `the recording in ${directory} cannot be read: ${fileReason(error)}`);
  }
}
