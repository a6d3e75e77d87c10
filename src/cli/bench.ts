import { type Command, InvalidArgumentError } from 'commander';
import type { LiveOptions } from '../../bench/live.ts';
import type { StartOptions } from '../../bench/start.ts';

interface LiveCommand {
  seconds: number;
  minutes?: number;
  sampleSeconds: number;
  packetsPerSecond?: number;
  flows: number;
  shards: number;
  format: string;
}

interface StartCommand extends Omit<StartOptions, 'onProgress' | 'packets_per_second'> {
  packetsPerSecond: number;
  format: string;
}

export function register(program: Command): void {
  const bench = program.command('bench').description('measure this machine');
  bench
    .command('live')
    .description(
      'the whole sensor on a virtual mirror port of its own: what it takes in, loses and costs (root; touches no interface)',
    )
    .option('--seconds <n>', 'how long is sent', positive, 10)
    .option('--minutes <n>', 'the same, for endurance: loss and memory are told meanwhile', positive)
    .option('--sample-seconds <n>', 'how often they are told', positive, 30)
    .option('--packets-per-second <n>', 'as fast as the sender can where left out', positive)
    .option('--flows <n>', 'conversations; 1: a single one takes the whole port', positive, 200)
    .option('--shards <n>', 'worker threads', positive, 1)
    .option('--format <format>', 'text or json', 'text')
    .addHelpText(
      'after',
      `
Examples:
  $ sudo ot-sensor bench live --seconds 60 --flows 1
  $ sudo ot-sensor bench live --minutes 10 --packets-per-second 250000`,
    )
    .action(async ({ seconds, minutes, sampleSeconds, packetsPerSecond, flows, shards, format }: LiveCommand) => {
      const { liveText, measureLive } = await import('../../bench/live.ts');
      const options: LiveOptions = {
        seconds: minutes === undefined ? seconds : minutes * 60,
        packets_per_second: packetsPerSecond ?? null,
        sample_seconds: sampleSeconds,
        flows,
        shards,
        onProgress,
      };
      show(format, await measureLive(options), liveText);
    });
  bench
    .command('start')
    .description('how soon the sensor captures and inspects where its database holds much already, and what it loses (root)')
    .option('--devices <n>', 'devices in the database', positive, 50_000)
    .option('--connections <n>', 'connections in the database', positive, 50_000)
    .option('--activities <n>', 'activities in the database', positive, 200_000)
    .option('--packets-per-second <n>', 'traffic while it starts', positive, 50_000)
    .option('--shards <n>', 'worker threads', positive, 1)
    .option('--times <n>', 'starts, each with a fresh copy of the database', positive, 5)
    .option('--format <format>', 'text or json', 'text')
    .action(async ({ packetsPerSecond, format, ...options }: StartCommand) => {
      const { measureStart, startText } = await import('../../bench/start.ts');
      show(format, await measureStart({ ...options, packets_per_second: packetsPerSecond, onProgress }), startText);
    });
}

const onProgress = (what: string) => void process.stderr.write(`bench: ${what}\n`);

function show<Result>(format: string, result: Result, textOf: (result: Result) => string): void {
  process.stdout.write(format === 'json' ? `${JSON.stringify(result)}\n` : textOf(result));
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('a whole number from 1 is needed.');
  return value;
}
