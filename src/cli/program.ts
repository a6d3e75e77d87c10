import { Command } from 'commander';
import { version } from '../version.ts';

/** The commands, one file each; a file is loaded only when its command is called. */
const COMMANDS: Readonly<Record<string, () => Promise<{ register(program: Command): void }>>> = {
  setup: () => import('./setup.ts'),
  run: () => import('./run.ts'),
  serve: () => import('./serve.ts'),
  users: () => import('./users.ts'),
  audit: () => import('./audit.ts'),
  settings: () => import('./settings.ts'),
  certificate: () => import('./certificate.ts'),
  snmp: () => import('./snmp.ts'),
  sanity: () => import('./sanity.ts'),
  notifications: () => import('./notifications.ts'),
  interfaces: () => import('./interfaces.ts'),
  'capture-filter': () => import('./capture-filter.ts'),
  replay: () => import('./replay.ts'),
  dissect: () => import('./dissect.ts'),
  fields: () => import('./fields.ts'),
  devices: () => import('./devices.ts'),
  connections: () => import('./connections.ts'),
  device: () => import('./device.ts'),
  'delete-devices': () => import('./delete-devices.ts'),
  alerts: () => import('./alerts.ts'),
  alert: () => import('./alert.ts'),
  'alert-kinds': () => import('./alert-kinds.ts'),
  events: () => import('./events.ts'),
  stream: () => import('./stream.ts'),
  protocols: () => import('./protocols.ts'),
  zones: () => import('./zones.ts'),
  evidence: () => import('./evidence.ts'),
  recording: () => import('./recording.ts'),
  captures: () => import('./captures.ts'),
  forward: () => import('./forward.ts'),
  config: () => import('./config.ts'),
  backup: () => import('./backup.ts'),
  restore: () => import('./restore.ts'),
  update: () => import('./update.ts'),
  bench: () => import('./bench.ts'),
};

/** The whole program; only the command that is wanted where it is known, since the others need not be loaded. */
export async function programFor(wanted: string): Promise<Command> {
  const program = new Command('ot-sensor')
    .description('A passive OT traffic sensor: devices, zone crossings and alerts from captured packets.')
    .version(version())
    // Before a command: --version is a word of some commands, too.
    .enablePositionalOptions()
    .addHelpText('after', EXAMPLES);
  const names = Object.hasOwn(COMMANDS, wanted) ? [wanted] : Object.keys(COMMANDS);
  for (const name of names) (await COMMANDS[name]()).register(program);
  settle(program, 'ot-sensor');
  return program;
}

/** Errors of every command, at any depth, are thrown to us, in our words, with the way to its help. */
function settle(command: Command, path: string): void {
  command
    .exitOverride()
    .showSuggestionAfterError()
    .showHelpAfterError(`see: ${path} --help`)
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'ot-sensor: ')) });
  for (const inner of command.commands) settle(inner, `${path} ${inner.name()}`);
}

const EXAMPLES = `
Examples:
  $ ot-sensor replay plant.pcap --zones plant.zones.yaml
  $ ot-sensor alerts --severity critical
  $ ot-sensor evidence 3 --out alert-3.pcap
  $ ot-sensor dissect plant.pcap --protocol modbus | head

Exit codes: 0 done, 1 findings where a command was asked to look for them, 2 usage or unreadable input.`;
