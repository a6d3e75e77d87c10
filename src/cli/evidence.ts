import type { Command } from 'commander';
import { PcapWriter } from '../capture/pcap-writer.ts';
import { OperatingError } from '../errors.ts';
import { StoreReader } from '../store/queries.ts';
import { integer } from './arguments.ts';
import { dataOption } from './data.ts';

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
    const packets = reader.evidence(alert).sort((a, b) => a.frame - b.frame);
    if (packets.length === 0)
      throw new OperatingError('not_found', `no packets were kept for alert ${alert}: the limit for evidence had been reached`);
    const writer = new PcapWriter(
      out,
      packets.map((packet) => packet.link_type),
    );
    for (const { bytes, captured, wire, seconds, nanoseconds, link_type } of packets)
      writer.write(bytes, 0, captured, wire, seconds, nanoseconds, link_type);
    writer.close();
    process.stdout.write(`${out}: ${packets.length} packets of alert ${alert}: ${found.title}\n`);
  } finally {
    reader.close();
  }
}
