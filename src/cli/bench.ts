import { type Command, InvalidArgumentError } from 'commander';
import type { LiveOptions } from '../../bench/live.ts';

interface Options extends Omit<LiveOptions, 'onProgress' | 'packets_per_second'> {
  packetsPerSecond?: number;
  format: string;
}

export function register(program: Command): void {
  program
    .command('bench')
    .description('measure this machine')
    .command('live')
    .description(
      'the whole sensor on a virtual mirror port of its own: what it takes in, loses and costs (root; touches no interface)',
    )
    .option('--seconds <n>', 'how long is sent', positive, 10)
    .option('--packets-per-second <n>', 'as fast as the sender can where left out', positive)
    .option('--flows <n>', 'conversations; 1: a single one takes the whole port', positive, 200)
    .option('--shards <n>', 'worker threads', positive, 1)
    .option('--format <format>', 'text or json', 'text')
    .addHelpText('after', '\nExample:\n  $ sudo ot-sensor bench live --seconds 60 --flows 1')
    .action(async ({ packetsPerSecond, format, ...options }: Options) => {
      const { liveText, measureLive } = await import('../../bench/live.ts');
      const onProgress = (what: string) => process.stderr.write(`bench: ${what}\n`);
      const result = await measureLive({ ...options, packets_per_second: packetsPerSecond ?? null, onProgress });
      process.stdout.write(format === 'json' ? `${JSON.stringify(result)}\n` : liveText(result));
    });
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('a whole number from 1 is needed.');
  return value;
}
