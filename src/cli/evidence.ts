import type { Command } from 'commander';
import { CaptureFileError } from '../capture/errors.ts';
import { PcapWriter } from '../capture/pcap-writer.ts';
import { OperatingError } from '../errors.ts';
import { type StoredEvidence, StoreReader } from '../store/queries.ts';
import { integer } from './arguments.ts';
import { dataOption } from './data.ts';
import { fileReason } from './failure.ts';

export function register(program: Command): void {
  program
    .command('evidence')
    .description('write the packets behind an alert: the whole transaction and the handshake')
    .argument('<alert>', 'number of the alert, as `alerts` shows it', integer(1, 1e9))
    .requiredOption('-o, --out <file.pcap>', 'file to write')
    .addOption(dataOption())
    .addHelpText('after', '\nExample:\n  $ ot-sensor evidence 3 --out alert-3.pcap && wireshark alert-3.pcap')
    .action(evidence);
}

function evidence(alert: number, { out, data }: { out: string; data: string }): void {
  const reader = new StoreReader(data);
  try {
    const [found] = reader.alerts({ id: alert }).rows;
    if (found === undefined)
      throw new OperatingError('not_found', `there is no alert ${alert} in ${data}; see: ot-sensor alerts --data ${data}`);
    const packets = reader.evidence(alert).sort((a, b) => a.capture_id - b.capture_id || a.frame - b.frame);
    if (packets.length === 0)
      throw new OperatingError('not_found', `no packets were kept for alert ${alert}: the limit for evidence had been reached`);
    write(out, packets);
    const count = packets.length === 1 ? '1 packet' : `${packets.length} packets`;
    process.stdout.write(`${out}: ${count} of alert ${alert}: ${found.title}\n`);
  } finally {
    reader.close();
  }
}

function write(out: string, packets: readonly StoredEvidence[]): void {
  try {
    const writer = new PcapWriter(
      out,
      packets.map((packet) => packet.link_type),
    );
    for (const { bytes, captured, wire, seconds, nanoseconds, link_type } of packets)
      writer.write(bytes, 0, captured, wire, seconds, nanoseconds, link_type);
    writer.close();
  } catch (error) {
    const cause = error instanceof CaptureFileError ? error.cause : error;
    throw new OperatingError('output', `${out} cannot be written: ${fileReason(cause)}; choose another file with --out`);
  }
}
