import { type Command, InvalidArgumentError, Option } from 'commander';
import { RECORDING_DEFAULTS, type RecordingOptions } from '../recording/options.ts';
import { replay } from '../sensor/replay.ts';
import { integer } from './arguments.ts';
import { dataOption } from './data.ts';
import { EXIT_INTERRUPTED } from './failure.ts';
import { Progress } from './progress.ts';
import { recordingDirectory, recordingOption } from './recording-option.ts';
import { type Format, format } from './table.ts';

interface ReplayArguments {
  data: string;
  zones?: string;
  shards: number;
  speed: number;
  record?: RecordingOptions['mode'];
  recording?: string;
  serve?: boolean;
  format: Format;
}

export function register(program: Command): void {
  program
    .command('replay')
    .description('put captures through the whole pipeline: inventory, zone crossings, alerts, stored in the database')
    .argument('<file...>', 'capture files (pcap, pcapng, gzip of either); - is standard input')
    .addOption(dataOption())
    .option('--zones <file>', 'zone policy (YAML); without one nothing is a zone crossing')
    .option('--shards <n>', 'worker threads', integer(1, 64), 1)
    .option(
      '--speed <max|real|×N>',
      "max, real (the capture's own clock) or a factor such as ×10 or x10",
      speed,
      Number.POSITIVE_INFINITY,
    )
    .addOption(new Option('--record <all|ot>', 'record the packets, or those of OT conversations').choices(['all', 'ot']))
    .addOption(recordingOption())
    .option('--serve', 'then serve the API on loopback, until Ctrl-C; npm start does')
    .addOption(new Option('--exit', 'end after the summary').conflicts('serve'))
    .addOption(format())
    .addHelpText(
      'after',
      `
Examples:
  $ ot-sensor replay plant.pcap --zones plant.zones.yaml
  $ ot-sensor replay --data /var/lib/ot-sensor monday.pcapng.gz tuesday.pcapng.gz
  $ ot-sensor replay --speed ×10 incident.pcap`,
    )
    .action(run);
}

function speed(text: string): number {
  if (text === 'max') return Number.POSITIVE_INFINITY;
  if (text === 'real') return 1;
  const factor = Number(/^[×x](\d+(?:\.\d+)?)$/.exec(text)?.[1] ?? Number.NaN);
  if (!(factor > 0)) throw new InvalidArgumentError('It takes max, real or a factor such as ×10.');
  return factor;
}

async function run(files: string[], args: ReplayArguments): Promise<void> {
  const { data, zones, shards, speed, record, recording, format, serve } = args;
  const interruption = interruptible();
  let progress: Progress | undefined;
  const running = replay(files, {
    data,
    policy: async () => (zones === undefined ? null : (await import('./zone-file.ts')).loadPolicy(zones)),
    shards,
    speed,
    recording: record && { ...RECORDING_DEFAULTS, mode: record, directory: recordingDirectory(data, recording) },
    signal: interruption.signal,
    onProgress: (source) => {
      progress ??= new Progress(source);
      progress.update();
    },
  }).finally(() => progress?.stop());
  // Loaded while the threads work.
  const [result, { printSummary }] = await Promise.all([running, import('./summary.ts')]);
  for (const { source, message } of result.warnings) process.stderr.write(`ot-sensor: ${source}: ${message}\n`);
  if (interruption.signal.aborted) process.stderr.write('ot-sensor: interrupted; what was read until then is stored\n');
  await printSummary(result, { data, zones, format });
  // A silent pipe that is still open must not keep us.
  if (interruption.signal.aborted) process.exit(EXIT_INTERRUPTED);
  if (serve) await (await import('./serve.ts')).serveHere(data);
}

/** Ctrl-C ends a replay at a good place; the second one at once, which the database survives too. */
function interruptible(): AbortController {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => controller.abort());
  return controller;
}
