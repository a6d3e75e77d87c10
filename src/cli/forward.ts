import fs from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { OUTBOUND, SettingsOutbound } from '../appliance/outbound.ts';
import { FORWARD_FOLDER } from '../appliance/services.ts';
import type { Settings } from '../appliance/settings.ts';
import { StoreAccess } from '../appliance/store-access.ts';
import { OperatingError } from '../errors.ts';
import { askRetry, beginDestinations, storedStatuses, testDestination } from '../forward/forwarder.ts';
import { FORWARDING } from '../forward/settings.ts';
import { ROOT } from '../users/users.ts';
import { version } from '../version.ts';
import { dataOption, timeText } from './data.ts';
import { EXIT_FINDINGS, fileReason } from './failure.ts';
import { managed, note } from './managed.ts';
import { type Format, format, printable, printRows } from './table.ts';

interface DataArguments {
  data: string;
}

export function register(program: Command): void {
  const forward = program
    .command('forward')
    .description('where alerts and system notifications are forwarded to, and how that goes');
  forward
    .command('list')
    .description('list the destinations, and the rules that say what goes there')
    .addOption(dataOption())
    .addOption(format())
    .action(list);
  forward
    .command('status')
    .description('how each destination fares: what was sent and left out, and what it says where it fails')
    .addOption(dataOption())
    .addOption(format())
    .addHelpText('after', '\nExit codes: 0 all is well, 1 a destination fails, 2 usage or unreadable input.')
    .action(status);
  forward
    .command('test')
    .description('send one message that is marked as a test, and say what the other side answers')
    .argument('<name>', 'of the destination')
    .addOption(dataOption())
    .addHelpText('after', '\nExit codes: 0 it was taken, 1 it was not, 2 usage or unreadable input.')
    .action(test);
  forward
    .command('retry')
    .description('have the running service try a destination that fails again at once')
    .argument('<name>', 'of the destination')
    .addOption(dataOption())
    .action((name: string, { data }: DataArguments) =>
      managed(data, ({ database, settings }) => askRetry(name, { database, settings })),
    );
  forward
    .command('show')
    .description('print the settings as JSON, "(set)" where there is a secret')
    .addOption(dataOption())
    .action(show);
  forward
    .command('set')
    .description('replace the settings; a secret that is "(set)" stays as it was. A running service takes them over by itself')
    .argument('<file>', 'settings as JSON, as `show` prints them; - is standard input')
    .addOption(dataOption())
    .addHelpText(
      'after',
      '\nExample:\n  $ ot-sensor forward show > forwarding.json\n  $ ot-sensor forward set forwarding.json\n  $ ot-sensor forward test siem',
    )
    .action(set);
}

function list(args: DataArguments & { format: Format }): Promise<void> {
  return managed(args.data, ({ settings }) => {
    const { destinations, rules } = settings.show(FORWARDING).value;
    const rows = destinations.map((destination) => ({
      name: destination.name,
      type: destination.type,
      enabled: destination.enabled ? 'yes' : 'no',
      where: whereOf(destination),
      rules: rules
        .filter((rule) => rule.enabled && rule.destinations.includes(destination.name))
        .map((rule) => rule.name)
        .join(', '),
    }));
    return printRows(rows, args.format);
  });
}

type Destination = ReturnType<typeof settingsOf>['destinations'][number];
const settingsOf = (settings: Settings) => settings.show(FORWARDING).value;

function whereOf(destination: Destination): string {
  switch (destination.type) {
    case 'syslog':
      return `${destination.host} port ${destination.port} (${destination.transport}, ${destination.format})`;
    case 'webhook':
      return new URL(destination.url).origin;
    case 'email':
      return `${destination.to.join(', ')} by ${destination.host}`;
    case 'file':
      return `${FORWARD_FOLDER}/${destination.file_name}`;
    case 'nats':
      return destination.servers.join(', ');
  }
}

function status(args: DataArguments & { format: Format }): Promise<void> {
  return managed(args.data, ({ database, settings, notifications }) => {
    const store = new StoreAccess(args.data);
    const all = storedStatuses({ database, settings, notifications, store });
    store.close();
    if (all.some(({ state }) => state === 'failing')) process.exitCode = EXIT_FINDINGS;
    if (args.format !== 'table') return printRows(all, args.format);
    const time = (ms: number) => (ms === 0 ? '' : timeText(ms));
    const rows = all.map(({ name, type, state, waiting, sent, dropped, last_success_ms, last_error_ms, last_error }) => ({
      name,
      type,
      state,
      waiting,
      sent,
      dropped,
      last_success: time(last_success_ms),
      last_error: last_error === '' ? '' : `${time(last_error_ms)} ${last_error}`,
    }));
    return printRows(rows, 'table');
  });
}

function test(name: string, args: DataArguments): Promise<void> {
  return managed(args.data, async ({ database, settings, audit }) => {
    const outbound = new SettingsOutbound(() => settings.read(OUTBOUND).value);
    const directory = path.join(args.data, FORWARD_FOLDER);
    const { ok, said } = await testDestination(name, { database, settings, outbound, directory, version: version() });
    note(audit, 'forwarding.test', name, { ok });
    if (!ok) process.exitCode = EXIT_FINDINGS;
    process.stdout.write(`${printable(`${name}: ${ok ? 'taken' : 'not taken'}: ${said}`)}\n`);
  });
}

function show(args: DataArguments): Promise<void> {
  return managed(args.data, ({ settings }) => void process.stdout.write(`${JSON.stringify(settingsOf(settings), null, 2)}\n`));
}

function set(file: string, { data }: DataArguments): Promise<void> {
  const given = readJson(file);
  // The first thing that is ever done on an appliance may be this.
  fs.mkdirSync(data, { recursive: true });
  return managed(data, ({ database, settings, notifications, audit }) => {
    const { version: stored } = settings.write(FORWARDING, given, ROOT.name, Date.now());
    note(audit, 'settings.change', FORWARDING.name, { version: stored });
    const store = new StoreAccess(data);
    try {
      beginDestinations({ database, settings, notifications, store });
    } finally {
      store.close();
    }
    process.stdout.write(`the settings "${FORWARDING.name}" are now at version ${stored}\n`);
  });
}

function readJson(file: string): unknown {
  let text: string;
  try {
    text = fs.readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw new OperatingError('usage', `${file} cannot be read: ${fileReason(error)}`);
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new OperatingError('usage', `${file} is not JSON: ${(error as Error).message}`);
  }
}
