import type { Command } from 'commander';
import { CaptureFileError } from '../capture/errors.ts';
import { PcapWriter } from '../capture/pcap-writer.ts';
import { OperatingError } from '../errors.ts';
import { type StoredAlert, type StoredEvidence, StoreReader } from '../store/queries.ts';
import { integer } from './arguments.ts';
import { dataOption } from './data.ts';
import { fileReason } from './failure.ts';
import { evidenceAround } from './recorded-evidence.ts';
import { recordingDirectory, recordingOption } from './recording-option.ts';

interface EvidenceArguments {
  out: string;
  data: string;
  around?: number;
  recording?: string;
}

export function register(program: Command): void {
  program
    .command('evidence')
    .description('write the packets behind an alert: the whole transaction and the handshake')
    .argument('<alert>', 'number of the alert, as `alerts` shows it', integer(1, 1e9))
    .requiredOption('-o, --out <file.pcap>', 'file to write')
    .option(
      '--around <seconds>',
      'from the recording, too: all packets between the two addresses so long before and after',
      integer(0, 10_000_000),
    )
    .addOption(dataOption())
    .addOption(recordingOption())
    .addHelpText(
      'after',
      `
Examples:
  $ ot-sensor evidence 3 --out alert-3.pcap && wireshark alert-3.pcap
  $ ot-sensor evidence 3 --around 60 --out alert-3.pcapng`,
    )
    .action(evidence);
}

function evidence(alert: number, { out, data, around, recording }: EvidenceArguments): void {
  const reader = new StoreReader(data);
  let found: StoredAlert | undefined;
  let packets: StoredEvidence[];
  try {
    [found] = reader.alerts({ id: alert }).rows;
    if (found === undefined)
      throw new OperatingError('not_found', `there is no alert ${alert} in ${data}; see: ot-sensor alerts --data ${data}`);
    packets = reader.evidence(alert).sort((a, b) => a.capture_id - b.capture_id || a.frame - b.frame);
  } finally {
    reader.close();
  }
  const lines: string[] = [];
  let count = packets.length;
  if (around !== undefined) {
    const more = evidenceAround(out, found, packets, recordingDirectory(data, recording), around);
    count = more.packets;
    lines.push(...more.lines);
  } else if (packets.length > 0) write(out, packets);
  else {
    const why = 'the limit for evidence had been reached; where there is a recording: --around SECONDS';
    throw new OperatingError('not_found', `no packets were kept for alert ${alert}: ${why}`);
  }
  process.stdout.write(`${out}: ${count === 1 ? '1 packet' : `${count} packets`} of alert ${alert}: ${found.title}\n`);
  for (const line of lines) process.stdout.write(`${line}\n`);
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
