import { CaptureFileError } from '../capture/errors.ts';
import { OperatingError } from '../errors.ts';
import { PacketWriter, type WrittenPacket } from '../recording/packet-writer.ts';
import { fileReason } from './failure.ts';

/** Writes packets to a file; gives how many. Throws OperatingError where it cannot be written. */
export function writePackets(out: string, packets: Iterable<WrittenPacket>): number {
  try {
    const writer = new PacketWriter(out);
    for (const packet of packets) writer.write(packet);
    writer.close();
    return writer.packets;
  } catch (error) {
    if (!(error instanceof CaptureFileError)) throw error;
    throw new OperatingError('output', `${out} cannot be written: ${fileReason(error.cause)}; choose another file with --out`);
  }
}
