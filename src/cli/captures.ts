import fs from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { Captures, type UploadedCapture } from '../appliance/captures.ts';
import { programOf } from '../appliance/program.ts';
import { asOwnerOf } from '../backup/owner.ts';
import { OperatingError } from '../errors.ts';
import { MANAGED_ZONES } from '../sensor/control.ts';
import { dataOption, timeText } from './data.ts';
import { EXIT_FAILURE, fileReason } from './failure.ts';
import { managed, note } from './managed.ts';
import { type Format, format, jsonText, printRows } from './table.ts';

interface Arguments {
  data: string;
}

export function register(program: Command): void {
  const captures = program
    .command('captures')
    .description('capture files that are kept on the appliance and played into a database each, as over the API')
    .addHelpText(
      'after',
      `
What was found in one is listed by the other commands, with the --data that \`show\` names.

Examples:
  $ ot-sensor captures upload monday.pcap && ot-sensor captures play monday.pcap
  $ ot-sensor captures list`,
    );
  captures.command('list').description('the captures there are').addOption(dataOption()).addOption(format()).action(list);
  captures
    .command('show')
    .description('a capture, how far it is, and where what was found in it lies')
    .argument('<name>', 'of the capture')
    .addOption(dataOption())
    .action((name: string, { data }: Arguments) => within(data, (all) => shown(all.get(name), all)));
  captures
    .command('upload')
    .description('keep a capture file of up to 2 GiB')
    .argument('<file>', 'capture file')
    .option('--name <name>', 'another name than the file has')
    .addOption(dataOption())
    .action(upload);
  captures
    .command('play')
    .description('put it through the whole pipeline, under the zone policy in force, into a database of its own')
    .argument('<name>', 'of the capture')
    .addOption(dataOption())
    .action(play);
  captures
    .command('delete')
    .description('delete it, with what was found in it')
    .argument('<name>', 'of the capture')
    .addOption(dataOption())
    .action((name: string, { data }: Arguments) =>
      within(data, async (all) => {
        all.delete(name);
        await noteIn(data, 'capture.delete', name);
      }),
    );
}

/** As the service would do it: what is made belongs to it. */
async function within(data: string, act: (captures: Captures) => unknown): Promise<void> {
  const directory = path.resolve(data);
  if (!fs.existsSync(directory)) throw new OperatingError('not_found', `there is no data directory ${data}; name it with --data`);
  const zones = path.join(directory, MANAGED_ZONES);
  const captures = new Captures(directory, programOf(process.argv[1]), () => (fs.existsSync(zones) ? zones : ''));
  await asOwnerOf(directory, async () => {
    try {
      await act(captures);
    } finally {
      await captures.close();
    }
  });
}

const noteIn = (data: string, action: string, subject: string) => managed(data, ({ audit }) => note(audit, action, subject));

function shown(capture: UploadedCapture, captures: Captures): void {
  const { state } = capture;
  const found = state === 'played' ? { data: captures.found(capture.name) } : {};
  process.stdout.write(`${jsonText({ ...capture, ...found }, 2)}\n`);
}

async function list({ data, format }: Arguments & { format: Format }): Promise<void> {
  await within(data, (captures) => {
    const rows = captures.list();
    if (format !== 'table') return printRows(rows, format);
    const table = rows.map(({ name, bytes, uploaded_ms, state, message }) => ({
      name,
      bytes,
      uploaded: timeText(uploaded_ms),
      state,
      message,
    }));
    return printRows(table, 'table');
  });
}

async function upload(file: string, { data, name = path.basename(file) }: Arguments & { name?: string }): Promise<void> {
  let fd: number;
  try {
    fd = fs.openSync(file, 'r');
  } catch (error) {
    throw new OperatingError('usage', `${file}: ${fileReason(error)}`);
  }
  await within(data, async (captures) => {
    await captures.upload(name, fs.createReadStream('', { fd }));
    await noteIn(data, 'capture.upload', name);
    process.stdout.write(`${name} is kept; ot-sensor captures play ${name} says what is in it\n`);
  });
}

async function play(name: string, { data }: Arguments): Promise<void> {
  await within(data, async (captures) => {
    captures.play(name);
    await noteIn(data, 'capture.play', name);
    await captures.idle();
    const played = captures.get(name);
    if (played.state === 'failed') process.exitCode = EXIT_FAILURE;
    shown(played, captures);
  });
}
