import type { Command } from 'commander';
import { SequenceSource } from '../capture/replay.ts';
import { Pipeline } from '../engine/pipeline.ts';
import { RecordMerger } from '../engine/record-merger.ts';
import { FailureLog } from '../log.ts';
import { checkProtocols, integer, names } from './arguments.ts';
import { Output } from './output.ts';
import { Progress } from './progress.ts';

interface DissectOptions {
  protocol?: string[];
  shards: number;
}

export function register(program: Command): void {
  program
    .command('dissect')
    .description('write every record of the captures as JSON Lines')
    .argument('<file...>', 'capture files (pcap, pcapng, gzip of either); - is standard input')
    .option('-p, --protocol <a,b>', 'only records of these protocols', names)
    .option('--shards <n>', 'worker threads', integer(1, 64), 1)
    .addHelpText(
      'after',
      `
Examples:
  $ ot-sensor dissect plant.pcap | jq 'select(.operation == "write")'
  $ ot-sensor dissect --protocol modbus,s7comm a.pcap b.pcapng.gz
  $ tcpdump -w - -i eth0 | ot-sensor dissect -`,
    )
    .action(dissect);
}

async function dissect(files: string[], { protocol, shards }: DissectOptions): Promise<void> {
  await checkProtocols(protocol ?? []);
  const pipeline = new Pipeline({ shards, output: 'records', protocols: protocol ?? null });
  const output = new Output(process.stdout);
  const merger = new RecordMerger();
  const failures = new FailureLog();
  let progress: Progress | undefined;
  try {
    const source = await SequenceSource.open(files);
    progress = new Progress(source);
    await pipeline.run(
      source,
      async (answers) => {
        for (const answer of answers) failures.add(answer.failures);
        for (const piece of merger.merge(answers.map((answer) => answer.records!))) await output.write(piece);
      },
      { onProgress: () => progress?.update() },
    );
    progress.stop();
    for (const { source: name, message } of source.warnings) process.stderr.write(`ot-sensor: ${name}: ${message}\n`);
  } finally {
    progress?.stop();
    await pipeline.close();
  }
}
