import fs from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { OperatingError } from '../errors.ts';
import { asOwnerOfMade, makeFirstSettings, makeFirstUserAndCertificate } from '../setup/first-start.ts';
import { adoptVersion } from '../update/apply.ts';
import { isVersion } from '../update/versions.ts';
import { FIRST_PASSWORD_FILE } from '../users/first-user.ts';
import { integer, names } from './arguments.ts';
import { EXIT_FINDINGS } from './failure.ts';
import { DEFAULT_CONFIG, dataOf, loadConfig } from './run.ts';
import { DEFAULT_ROOT } from './update.ts';

export function register(program: Command): void {
  const setup = program
    .command('setup')
    .description('set up an appliance: mirror ports, management address, data directory, a proposal for zones')
    .option('--answers <file>', 'answers (YAML): mirror_ports, host, port, data, propose_zones, overwrite; nothing is asked then')
    .option('--mirror-port <a,b>', 'interfaces to capture from', names)
    .option('--host <address>', 'address of the management interface, on which the API is served')
    .option('--port <n>', 'TCP port of the API', integer(1, 65_535))
    .option('--data <dir>', 'directory of the database')
    .option('--propose-zones', 'write a zone file of the subnets that were seen, beside the settings')
    .option('--seconds <n>', 'how long to listen at the interfaces', integer(0, 3600), 5)
    .option('--yes', 'replace settings that are there, and ask nothing')
    .option('--config <file>', 'settings (YAML)', DEFAULT_CONFIG)
    .addHelpText(
      'after',
      `
What is asked is asked on a terminal alone; else the options or the file of answers have to say it. Options go before the file.

Examples:
  $ sudo ot-sensor setup
  $ sudo ot-sensor setup --answers answers.yaml
  $ sudo ot-sensor setup --mirror-port eth1,eth2 --host 192.0.2.10 --propose-zones --yes`,
    )
    .action(async (args: SetupArguments) => (await import('./setup-run.ts')).runSetup(args));
  setup
    .command('prepare')
    .description('make what is not there yet: settings file, certificate, first administrator; the package calls it')
    .option('--config <file>', 'settings (YAML)', DEFAULT_CONFIG)
    .action(prepare);
  setup
    .command('switch')
    .description('make a version that lies in a folder the current one, and keep the one before; the package calls it')
    .argument('<folder>', 'goes to versions/ of the program')
    .option('--root <dir>', 'where the program lies', DEFAULT_ROOT)
    .option('--config <file>', 'settings (YAML)', DEFAULT_CONFIG)
    .option('--allow-downgrade', 'an older version too')
    .action(switchVersion);
  setup
    .command('done')
    .description('exit code 0 where a mirror port has been named, 1 where none has been; the service asks it before it starts')
    .option('--config <file>', 'settings (YAML)', DEFAULT_CONFIG)
    .action(done);
}

export interface SetupArguments {
  answers?: string;
  mirrorPort?: string[];
  host?: string;
  port?: number;
  data?: string;
  proposeZones?: true;
  seconds: number;
  yes?: true;
  config: string;
}

async function prepare({ config: file }: { config: string }): Promise<void> {
  if (makeFirstSettings(file)) process.stdout.write(`${file} was made\n`);
  const { data } = loadConfig(file, { without_mirror_port: true });
  const first = await asOwnerOfMade(data, () => makeFirstUserAndCertificate(data));
  if (first === null) return;
  // The first password is shown to people only: what else reads this keeps a log.
  const password = process.stdout.isTTY
    ? `whose password is shown this once and is to be changed: ${first.password}`
    : `whose password is in ${path.join(data, FIRST_PASSWORD_FILE)} until it is changed`;
  process.stdout.write(`The first administrator is "${first.name}", ${password}\n`);
}

function switchVersion(folder: string, args: { root: string; config: string; allowDowngrade?: true }): void {
  const { version: to } = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8')) as { version: string };
  if (!isVersion(to)) throw new OperatingError('update', `${folder}: its package.json tells no version`);
  const { current, from, copied } = adoptVersion(args.root, {
    folder,
    to,
    data: dataOf(args.config),
    allow_downgrade: args.allowDowngrade === true,
    now_ms: Date.now(),
  });
  if (current !== to) process.stdout.write(`version ${current}, which an update brought, is newer than ${to} and stays in use\n`);
  else if (from !== '' && from !== to) {
    const data = copied ? '' : '; a sensor is running on the databases: they were not copied';
    process.stdout.write(`version ${to} is in use now; ot-sensor update rollback goes back to ${from}${data}\n`);
  }
}

function done({ config: file }: { config: string }): void {
  if (loadConfig(file, { without_mirror_port: true }).capture.interfaces.length > 0) return;
  process.stdout.write(`${file}: no mirror port is named yet; name one with ot-sensor setup\n`);
  process.exitCode = EXIT_FINDINGS;
}
