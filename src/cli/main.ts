#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { reportError } from './failure.ts';

/** The commands, one file each; a file is loaded only when its command is called. */
const COMMANDS: Readonly<Record<string, () => Promise<{ register(program: Command): void }>>> = {
  replay: () => import('./replay.ts'),
  dissect: () => import('./dissect.ts'),
  fields: () => import('./fields.ts'),
  devices: () => import('./devices.ts'),
  connections: () => import('./connections.ts'),
  alerts: () => import('./alerts.ts'),
  events: () => import('./events.ts'),
  zones: () => import('./zones.ts'),
  evidence: () => import('./evidence.ts'),
};

async function main(args: string[]): Promise<void> {
  const program = new Command('ot-sensor')
    .description('A passive OT traffic sensor: devices, zone crossings and alerts from captured packets.')
    .version('0.1.0')
    .exitOverride()
    .showSuggestionAfterError()
    .addHelpText('after', EXAMPLES);
  const wanted = args.find((arg) => !arg.startsWith('-')) ?? '';
  const names = wanted in COMMANDS ? [wanted] : Object.keys(COMMANDS);
  for (const name of names) (await COMMANDS[name]()).register(program);
  for (const command of program.commands) command.exitOverride().copyInheritedSettings(program);
  await program.parseAsync(args, { from: 'user' });
}

const EXAMPLES = `
Examples:
  $ ot-sensor replay plant.pcap --zones plant.zones.yaml
  $ ot-sensor alerts --severity critical
  $ ot-sensor evidence 3 --out alert-3.pcap
  $ ot-sensor dissect plant.pcap --protocol modbus | head

Exit codes: 0 done, 1 findings where a command was asked to look for them, 2 usage or unreadable input.`;

main(process.argv.slice(2)).catch((error: unknown) => {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else reportError(error);
});
