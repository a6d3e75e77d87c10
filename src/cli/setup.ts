import path from 'node:path';
import type { Command } from 'commander';
import { asOwnerOf, makeFirstSettings, makeFirstUserAndCertificate } from '../setup/first-start.ts';
import { FIRST_PASSWORD_FILE } from '../users/first-user.ts';
import { EXIT_FINDINGS } from './failure.ts';
import { DEFAULT_CONFIG, loadConfig } from './run.ts';

export function register(program: Command): void {
  const setup = program.command('setup').description('set up an appliance');
  setup
    .command('prepare')
    .description('make what is not there yet: settings file, certificate, first administrator; the package calls it')
    .option('--config <file>', 'settings (YAML)', DEFAULT_CONFIG)
    .action(prepare);
  setup
    .command('done')
    .description('exit code 0 where a mirror port has been named, 1 where none has been; the service asks it before it starts')
    .option('--config <file>', 'settings (YAML)', DEFAULT_CONFIG)
    .action(done);
}

async function prepare({ config: file }: { config: string }): Promise<void> {
  if (makeFirstSettings(file)) process.stdout.write(`${file} was made\n`);
  const { data } = loadConfig(file, { without_mirror_port: true });
  const first = await asOwnerOf(data, () => makeFirstUserAndCertificate(data));
  if (first === null) return;
  // The first password is shown to people only: what else reads this keeps a log.
  const password = process.stdout.isTTY
    ? `whose password is shown this once and is to be changed: ${first.password}`
    : `whose password is in ${path.join(data, FIRST_PASSWORD_FILE)} until it is changed`;
  process.stdout.write(`The first administrator is "${first.name}", ${password}\n`);
}

function done({ config: file }: { config: string }): void {
  if (loadConfig(file, { without_mirror_port: true }).capture.interfaces.length > 0) return;
  process.stdout.write(`${file}: no mirror port is named yet; name one with ot-sensor setup\n`);
  process.exitCode = EXIT_FINDINGS;
}
