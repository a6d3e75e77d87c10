import type { Command } from 'commander';
import { OperatingError } from '../errors.ts';
import type { End } from '../recording/reader.ts';
import { address, integer, mac } from './arguments.ts';
import { dataOption, time, timeText } from './data.ts';
import { writePackets } from './packets.ts';
import { ipEnd, macEnd, readable } from './recording-ends.ts';
import { recordingDirectory, recordingOption } from './recording-option.ts';
import { type Format, format, printRows } from './table.ts';

interface ListArguments {
  data: string;
  recording?: string;
  format: Format;
}

interface ExportArguments {
  data: string;
  recording?: string;
  out: string;
  from?: number;
  to?: number;
  host?: End[];
  port?: number;
}

export function register(program: Command): void {
  const command = program
    .command('recording')
    .description('what the rolling recording holds')
    .addHelpText(
      'after',
      `
Examples:
  $ ot-sensor recording list
  $ ot-sensor recording export --host 10.10.1.10 --from 2026-01-31T12:00:00Z --to 2026-01-31T12:05:00Z --out incident.pcapng`,
    );
  command
    .command('list')
    .description('list its files, each with the time of its first and last packet')
    .addOption(dataOption())
    .addOption(recordingOption())
    .addOption(format())
    .addHelpText('after', '\nExample:\n  $ ot-sensor recording list --recording /var/lib/ot-sensor/recording')
    .action(list);
  command
    .command('export')
    .description('write recorded packets, in the order of their time: those of a period, a host, a pair of hosts, a port')
    .requiredOption('-o, --out <file.pcapng>', 'file to write')
    .option('--from <time>', 'at or after this time (ISO 8601)', time)
    .option('--to <time>', 'at or before this time (ISO 8601)', time)
    .option('--host <address>', 'from or to this IP or MAC address; given twice: between the two', host)
    .option('--port <n>', 'TCP or UDP port of either end', integer(1, 65_535))
    .addOption(dataOption())
    .addOption(recordingOption())
    .addHelpText(
      'after',
      '\nExample:\n  $ ot-sensor recording export --host 10.10.1.10 --host 10.10.1.20 --port 502 --out pair.pcapng && wireshark pair.pcapng',
    )
    .action(export_);
}

const MAX_HOSTS = 2;

function host(text: string, before: End[] = []): End[] {
  if (before.length === MAX_HOSTS) throw new OperatingError('usage', '--host can be given twice: packets have two ends');
  return [...before, endOf(text)];
}

/** An IP or MAC address as the recording knows it. Throws InvalidArgumentError for what is neither. */
function endOf(text: string): End {
  // Six groups of two digits, or none but digits, are no IP address.
  if (/^[\da-f]{2}([:.-]?[\da-f]{2}){5}$/i.test(text) && !text.includes('::')) return macEnd(mac(text));
  return ipEnd(address(text));
}

async function list({ data, recording, format }: ListArguments): Promise<void> {
  const files = readable(recordingDirectory(data, recording), (reader) => reader.list());
  await printRows(
    files.map((file) => ({
      name: file.name,
      first: isoTime(file.first_seconds, file.first_nanoseconds),
      last: isoTime(file.last_seconds, file.last_nanoseconds),
      packets: file.packets,
      missed: file.missed,
      bytes: file.bytes,
      mode: file.mode,
      capture: file.capture_id,
      complete: file.complete,
    })),
    format,
  );
}

const isoTime = (seconds: number, nanoseconds: number): string =>
  new Date(seconds * 1000 + Math.floor(nanoseconds / 1e6)).toISOString();

function export_({ data, recording, out, from, to, host, port }: ExportArguments): void {
  const directory = recordingDirectory(data, recording);
  const ends = host && [{ a: host[0], b: host[1] ?? null }];
  const filter = { from_ms: from, to_ms: to, ends: ends ?? null, port };
  const { written, coverage } = readable(directory, (reader) => {
    const coverage = reader.coverage(filter);
    if (coverage.first_ms === null) throw new OperatingError('not_found', `there is no recording of this time in ${directory}`);
    return { coverage, written: writePackets(out, reader.packets(filter)) };
  });
  const { first_ms, last_ms, missed, ot_only } = coverage;
  process.stdout.write(`${out}: ${written === 1 ? '1 packet' : `${written} packets`}\n`);
  process.stdout.write(
    `The recording holds ${timeText(first_ms!)} to ${timeText(last_ms!)}${ot_only ? ', OT conversations alone' : ''}.\n`,
  );
  if (missed > 0) process.stdout.write(`${missed} packets of this time were not recorded.\n`);
}
