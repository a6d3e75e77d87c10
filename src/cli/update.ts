import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { DATABASES } from '../backup/manifest.ts';
import { asOwnerOf, ownerOf } from '../backup/owner.ts';
import { migrateDatabase } from '../backup/verify.ts';
import { OperatingError } from '../errors.ts';
import {
  generateKey,
  type PublicKey,
  parsePublicKey,
  parseSecretKey,
  publicKeyText,
  secretKeyText,
} from '../signing/minisign.ts';
import { applyUpdate, recoverUpdate, rollbackUpdate, type UpdateHooks, type UpdateStep, updateStatus } from '../update/apply.ts';
import { buildBundle, signBundle } from '../update/bundle.ts';
import { checkApplies, openBundle, type UpdateKind } from '../update/manifest.ts';
import { newId, ProgressFile, readProgress, settleProgress, type UpdateProgress } from '../update/progress.ts';
import { runRequested } from '../update/requested.ts';
import { rootKeysIn, Updates } from '../update/requests.ts';
import { certifyKey } from '../update/signing-key.ts';
import { Units } from '../update/units.ts';
import { isVersion } from '../update/versions.ts';
import { oneOf } from './arguments.ts';
import { backUp, configOption } from './backup.ts';
import { dataOption, time, timeText } from './data.ts';
import { EXIT_FINDINGS, fileReason } from './failure.ts';
import { managed, note } from './managed.ts';
import { DEFAULT_CONFIG, dataOf } from './run.ts';
import { printable } from './table.ts';

/** Where an appliance has the program and the root keys. */
export const DEFAULT_ROOT = '/opt/ot-sensor';
export const DEFAULT_ROOT_KEY = '/etc/ot-sensor/update-root.pub';
const PROGRAM = 'dist/program/main.js';
const CHECK_MS = 60_000;
const MIGRATE_MS = 6 * 3_600_000;
const KINDS = ['software', 'content'] as const;
const run = promisify(execFile);

interface RootArguments {
  root: string;
}
interface KeyArguments {
  rootKey: string[];
}
interface ServiceArguments {
  service: string[];
}

export function register(program: Command): void {
  const update = program
    .command('update')
    .description('install signed updates, go back from one; make and sign them')
    .addHelpText(
      'after',
      `
Examples:
  $ ot-sensor update verify ot-sensor-1.2.0.bundle
  $ ot-sensor update apply ot-sensor-1.2.0.bundle --data /var/lib/ot-sensor --service ot-sensor`,
    );
  const running = () => program.version() ?? '0.0.0';
  update
    .command('verify')
    .description('say whose a bundle is, that it is whole, and whether it may be installed here; unpacks nothing')
    .argument('<file>', 'bundle')
    .addOption(rootOption())
    .addOption(rootKeyOption())
    .option('--allow-downgrade', 'an older version too')
    .addHelpText('after', '\nExample:\n  $ ot-sensor update verify ot-sensor-1.2.0.bundle')
    .action((file: string, args: RootArguments & KeyArguments & { allowDowngrade?: true }) => verify(file, args, running()));
  update
    .command('apply')
    .description('install a bundle: verify, stage, try the migration, stop, switch, check, start; whatever fails is taken back')
    .argument('<file>', 'bundle')
    .addOption(rootOption())
    .addOption(rootKeyOption())
    .addOption(serviceOption())
    .addOption(dataOption())
    .option('--allow-downgrade', 'an older version too')
    .addOption(configOption())
    .option('--no-backup', 'without the backup that is made before')
    .option('--probe <command>', 'once it is started, a shell command that ends with 0 where all works')
    .addHelpText(
      'after',
      '\nExample:\n  $ ot-sensor update apply ot-sensor-1.2.0.bundle --data /var/lib/ot-sensor --service ot-sensor',
    )
    .action((file: string, args: ApplyArguments) => apply(file, args, running()));
  update
    .command('status')
    .description('say what is installed, what can be gone back to, and how far an update is')
    .addOption(rootOption())
    .addHelpText('after', '\nExample:\n  $ ot-sensor update status')
    .action(({ root }: RootArguments) => status(root));
  update
    .command('confirm')
    .description('keep an update that was installed over the API: it cannot be undone over the API any more')
    .addOption(rootOption())
    .addHelpText('after', '\nExample:\n  $ ot-sensor update confirm')
    .action(({ root }: RootArguments) => {
      const progress = new ProgressFile(root, { id: '', action: 'confirm', by: 'command' });
      const { unconfirmed } = progress;
      progress.done(null);
      if (unconfirmed === null) throw new OperatingError('conflict', 'no update waits to be confirmed');
      process.stdout.write(`${unconfirmed.kind} ${unconfirmed.to} stays; ot-sensor update rollback goes back all the same\n`);
    });
  update
    .command('discard')
    .description('discard a bundle that was uploaded over the API, and a request for it that was not taken up yet')
    .addOption(dataOption())
    .addHelpText('after', '\nExample:\n  $ ot-sensor update discard --data /var/lib/ot-sensor')
    .action(discard);
  update
    .command('requested')
    .description('for the unit ot-sensor-update.service: as root, do what was asked for over the API')
    .addOption(new Option('--config <file>', 'settings file, which names the data directory').default(DEFAULT_CONFIG))
    .addOption(rootOption())
    .addOption(rootKeyOption())
    .addOption(serviceOption())
    .addHelpText('after', '\nExample:\n  $ ot-sensor update requested --service ot-sensor --service ot-sensor-api')
    .action((args: RequestedArguments) => requested(args, running()));
  update
    .command('rollback')
    .description('go back to the version before the last update')
    .option('--kind <kind>', 'software or content', oneOf(KINDS), 'software')
    .option('--with-data', 'the databases of before too, even where their schema is the same; what was seen since is lost')
    .addOption(rootOption())
    .addOption(serviceOption())
    .addHelpText('after', '\nExample:\n  $ ot-sensor update rollback --service ot-sensor')
    .action(
      async ({ root, kind, withData, service }: RootArguments & ServiceArguments & { kind: UpdateKind; withData?: true }) => {
        const units = new Units(service);
        const progress = new ProgressFile(root, { id: '', action: 'undo', by: 'command' });
        await followed(progress, () =>
          rollbackUpdate(
            root,
            { stop: () => units.stop(), start: () => units.start(), onStep: (step) => progress.step(step) },
            { kind, with_data: withData },
          ),
        );
        status(root);
      },
    );
  update
    .command('recover')
    .description(
      'take back an update that was broken off; for the service units, before they start. Exit code 1: another version is current now',
    )
    .addOption(rootOption())
    .addHelpText('after', '\nExample:\n  $ ot-sensor update recover')
    .action(({ root }: RootArguments) => {
      const recovered = recoverUpdate(root);
      if (KINDS.every((kind) => ['none', 'installed'].includes(recovered[kind].state)))
        settleProgress(root, (kind) => recovered[kind].version);
      if (recovered.restart) process.exitCode = EXIT_FINDINGS;
    });
  update
    .command('migrate')
    .description('bring the databases in a folder to the schema of this version')
    .addOption(dataOption())
    .addHelpText('after', '\nExample:\n  $ ot-sensor update migrate --data copy-of-the-data')
    .action(({ data }: { data: string }) => {
      for (const name of DATABASES) if (fs.existsSync(path.join(data, name))) migrateDatabase(data, name);
    });
  registerMaking(update);
}

interface ApplyArguments extends RootArguments, KeyArguments, ServiceArguments {
  data: string;
  config: string;
  backup: boolean;
  allowDowngrade?: true;
  probe?: string;
}

const collect = (one: string, all: string[]): string[] => [...all, one];
const rootOption = () => new Option('--root <dir>', 'where the program lies').default(DEFAULT_ROOT);
const rootKeyOption = () =>
  new Option('--root-key <file>', `public root key (minisign); repeat it for several. Left out: ${DEFAULT_ROOT_KEY}`)
    .argParser(collect)
    .default([], 'none');
const serviceOption = () =>
  new Option('--service <unit>', 'systemd unit to stop and start; repeat it for several').argParser(collect).default([], 'none');

/** For whoever makes releases. */
function registerMaking(update: Command): void {
  update
    .command('build')
    .description('make a bundle of a folder; it is to be signed then')
    .argument('<dir>', 'all that is installed')
    .requiredOption('--set-version <version>', 'its version', version)
    .requiredOption('-o, --out <file>', 'bundle to write')
    .option('--kind <kind>', 'software or content', oneOf(KINDS), 'software')
    .option('--minimum-version <version>', 'the oldest version it may be applied to', version, '')
    .option('--maximum-version <version>', 'the newest version it may be applied to', version, '')
    .option('--architecture <name>', 'where it runs, such as x64; left out: anywhere', '')
    .option('--notes <file>', 'what is new in it')
    .addHelpText(
      'after',
      '\nExample:\n  $ ot-sensor update build release --set-version 1.2.0 --architecture x64 --out ot-sensor-1.2.0.bundle',
    )
    .action(build);
  update
    .command('sign')
    .description('sign a bundle with a signing key')
    .argument('<file>', 'bundle')
    .requiredOption('--secret-key <file>', "the signing key's secret key (minisign)")
    .requiredOption('--public-key <file>', "its public key; the root key's statement is beside it, .minisig behind its name")
    .option('--password-file <file>', 'its first line opens the secret key')
    .addHelpText(
      'after',
      '\nExample:\n  $ ot-sensor update sign ot-sensor-1.2.0.bundle --secret-key signing.key --public-key signing.pub',
    )
    .action(async (file: string, args: { secretKey: string; publicKey: string; passwordFile?: string }) => {
      const key = parseSecretKey(read(args.secretKey), passwordOf(args.passwordFile));
      await signBundle(file, key, read(args.publicKey), read(`${args.publicKey}.minisig`));
      process.stdout.write(`${file}: signed with ${key.id}\n`);
    });
  update
    .command('make-key')
    .description('make a key pair: a root key, to be kept offline, or a signing key')
    .argument('<name>', 'NAME.key and NAME.pub are written')
    .option('--password-file <file>', 'its first line encrypts the secret key')
    .addHelpText('after', '\nExample:\n  $ ot-sensor update make-key root --password-file password')
    .action((name: string, { passwordFile }: { passwordFile?: string }) => {
      const key = generateKey();
      fs.writeFileSync(`${name}.key`, secretKeyText(key, passwordOf(passwordFile)), { mode: 0o600, flag: 'wx' });
      fs.writeFileSync(`${name}.pub`, publicKeyText(key), { flag: 'wx' });
      process.stdout.write(`${name}.key, ${name}.pub: key ${key.id}\n`);
    });
  update
    .command('certify-key')
    .description('with the root key, say that a signing key may sign updates, and from when to when')
    .argument('<public-key>', "the signing key's public key; the statement is written beside it, .minisig behind its name")
    .requiredOption('--root-secret-key <file>', "the root key's secret key (minisign)")
    .requiredOption('--from <time>', 'valid from (ISO 8601)', time)
    .requiredOption('--to <time>', 'valid to (ISO 8601)', time)
    .option('--kind <kind>', 'for software or content only', oneOf(KINDS))
    .option('--password-file <file>', 'its first line opens the secret key')
    .addHelpText(
      'after',
      '\nExample:\n  $ ot-sensor update certify-key signing.pub --root-secret-key root.key --from 2026-01-01 --to 2027-01-01',
    )
    .action(
      (file: string, args: { rootSecretKey: string; from: number; to: number; kind?: UpdateKind; passwordFile?: string }) => {
        const root = parseSecretKey(read(args.rootSecretKey), passwordOf(args.passwordFile));
        const kinds = args.kind === undefined ? (['software', 'content'] as const) : [args.kind];
        const { public_key, statement } = certifyKey(
          parsePublicKey(read(file)),
          { kinds, from_ms: args.from, to_ms: args.to },
          root,
        );
        fs.writeFileSync(file, public_key);
        fs.writeFileSync(`${file}.minisig`, statement);
        process.stdout.write(`${file}.minisig: ${statement.split('\n')[2].replace('trusted comment: ', '')}\n`);
      },
    );
}

interface BuildArguments {
  setVersion: string;
  out: string;
  kind: UpdateKind;
  minimumVersion: string;
  maximumVersion: string;
  architecture: string;
  notes?: string;
}

async function build(directory: string, args: BuildArguments): Promise<void> {
  const { setVersion, out, kind, minimumVersion, maximumVersion, architecture, notes } = args;
  const { members } = await buildBundle({
    directory,
    out,
    kind,
    version: setVersion,
    minimum_version: minimumVersion,
    maximum_version: maximumVersion,
    architecture,
    notes: notes === undefined ? '' : read(notes),
    now_ms: Date.now(),
  });
  process.stdout.write(`${out}: ${members.length} files; not signed yet\n`);
}

async function verify(
  file: string,
  args: RootArguments & KeyArguments & { allowDowngrade?: true },
  running: string,
): Promise<void> {
  const { reader, manifest, signer } = await openBundle(file, rootKeys(args), Date.now());
  const status = updateStatus(args.root)[manifest.kind];
  try {
    checkApplies(manifest, { program: running, present: status.version, allow_downgrade: args.allowDowngrade === true });
    await reader.extract(null);
  } finally {
    await reader.close();
  }
  process.stdout.write(
    `${file}: ${manifest.kind} ${manifest.version} of ${manifest.created}, signed with ${signer}; it may be installed here\n`,
  );
}

async function apply(file: string, args: ApplyArguments, running: string): Promise<void> {
  const data = path.resolve(args.data);
  const appliance = { root: path.resolve(args.root), data, root_keys: rootKeys(args), program_version: running };
  const steps: UpdateStep[] = [];
  const progress = new ProgressFile(appliance.root, { id: newId(), action: 'apply', by: 'command' });
  const hooks = hooksFor(args, running, steps);
  const request = { ...appliance, file, allow_downgrade: args.allowDowngrade === true, now_ms: Date.now() };
  // Told when it is over: in between the databases are copied and exchanged.
  const manifest = await followed(progress, () =>
    applyUpdate(request, {
      ...hooks,
      onStep(step) {
        progress.step(step);
        hooks.onStep?.(step);
      },
      onProgress: (done, total) => progress.bytes(done, total),
    }),
  ).finally(() => tell(data, steps));
  process.stdout.write(`${manifest.kind} ${manifest.version} is installed; ot-sensor update rollback goes back\n`);
}

/** What somebody who is root asked for himself leaves nothing to be confirmed. */
async function followed<Result>(progress: ProgressFile, act: () => Promise<Result>): Promise<Result> {
  try {
    const result = await act();
    progress.done(null);
    return result;
  } catch (error) {
    progress.failed((error as Error).message);
    throw error;
  }
}

async function discard({ data }: { data: string }): Promise<void> {
  const directory = path.resolve(data);
  await asOwnerOf(directory, () =>
    managed(directory, ({ audit }) => {
      const updates = new Updates({ directory, root: DEFAULT_ROOT, root_keys: () => [], program_version: '0.0.0' });
      const staged = updates.staged();
      updates.discard();
      const subject = staged === null ? '' : `${staged.kind} ${staged.version}`;
      note(audit, 'update.discard', subject);
      process.stdout.write(`${subject === '' ? 'no bundle was staged' : `${subject} was discarded`}\n`);
    }),
  );
}

type RequestedArguments = RootArguments & KeyArguments & ServiceArguments & { config: string };

async function requested(args: RequestedArguments, running: string): Promise<void> {
  const data = dataOf(args.config);
  const steps: UpdateStep[] = [];
  const hooks = hooksFor({ ...args, data, backup: true }, running, steps);
  const appliance = { root: path.resolve(args.root), data, root_keys: rootKeys(args), program_version: running };
  const done = await runRequested({ ...appliance, now_ms: Date.now() }, hooks).finally(() => tell(data, steps));
  process.stdout.write(done === null ? 'nothing was asked for\n' : `${done.action}: done\n`);
}

/** How this appliance is stopped, started, backed up and looked at. Each step is said, and added to `steps`. */
function hooksFor(
  { data, config, service, probe, backup }: Pick<ApplyArguments, 'data' | 'config' | 'service' | 'probe' | 'backup'>,
  running: string,
  steps: UpdateStep[],
): UpdateHooks {
  const has_data = DATABASES.some((name) => fs.existsSync(path.join(data, name)));
  const units = new Units(service);
  // What is done with the data is done as the service would do it.
  const child = () => (has_data ? (ownerOf(data) ?? {}) : {});
  return {
    stop: () => units.stop(),
    start: () => units.start(),
    ...(backup && has_data ? { backup: () => asOwnerOf(data, () => backUp(running, 'before_update', { data, config })) } : {}),
    // The program that is to be installed knows its own schema.
    migrate: async (program, where) =>
      void (await run(process.execPath, [path.join(program, PROGRAM), 'update', 'migrate', '--data', where], {
        timeout: MIGRATE_MS,
        ...child(),
      })),
    async check(program, { kind, version: wanted }) {
      if (kind === 'content') return;
      const options = { timeout: CHECK_MS, ...child() };
      const { stdout } = await run(process.execPath, [path.join(program, PROGRAM), '--version'], options);
      if (stdout.trim() !== wanted)
        throw new OperatingError('update', `it says it is version ${stdout.trim().slice(0, 100)}, and not ${wanted}`);
    },
    async probe({ kind }) {
      if (kind === 'software') await units.probe();
      if (probe !== undefined) await run('sh', ['-c', probe], { timeout: CHECK_MS });
    },
    onStep: (step) => {
      steps.push(step);
      const { message } = step;
      process.stderr.write(`ot-sensor: ${step.step}: ${step.outcome}${message === '' ? '' : `: ${message}`}\n`);
    },
  };
}

/** Each step into the audit log, and what came of it as a notification, which is forwarded if wanted. */
async function tell(data: string, steps: readonly UpdateStep[]): Promise<void> {
  if (!DATABASES.some((name) => fs.existsSync(path.join(data, name)))) return;
  await asOwnerOf(data, () =>
    managed(data, ({ audit, notifications }) => {
      for (const { step, outcome, kind, from, to, message } of steps)
        note(audit, `update.${step}`, `${kind} ${to}`, { from, message }, outcome === 'done' ? 'done' : 'refused');
      const failed = steps.find((one) => one.outcome === 'failed');
      const last = steps.at(-1);
      if (failed !== undefined)
        notifications.raise('update_failed', `${failed.kind} ${failed.to}`, `The step ${failed.step} failed: ${failed.message}.`);
      else if (last?.step === 'done') {
        notifications.raise(
          'update_installed',
          `${last.kind} ${last.to}`,
          `${last.kind} ${last.to} was installed, before it ${last.from || 'none'}.`,
        );
        notifications.resolve('update_installed', `${last.kind} ${last.to}`);
        notifications.resolve('update_failed', `${last.kind} ${last.to}`);
      }
    }),
  );
}

function status(root: string): void {
  for (const [kind, { state, version: current, previous }] of Object.entries(updateStatus(root))) {
    const back = previous === '' ? '' : `; before it ${previous}, which can be gone back to`;
    const broken =
      state !== 'none' && state !== 'installed' ? '; an update is under way, or was broken off (update recover)' : '';
    process.stdout.write(`${kind}: ${current || 'none installed by an update'}${back}${broken}\n`);
  }
  const progress = readProgress(root);
  if (progress !== null) process.stdout.write(`${progressText(progress)}\n`);
}

function progressText(progress: UpdateProgress): string {
  const { action, by, state, kind, to, doing, done_bytes, total_bytes, message, started_ms, changed_ms, unconfirmed } = progress;
  const what = `${action}${kind === '' ? '' : ` of ${kind} ${to}`}, asked for ${by === 'api' ? 'over the API' : 'by a command'}`;
  const part = total_bytes === 0 ? '' : ` (${Math.floor((100 * done_bytes) / total_bytes)} %)`;
  const texts = {
    running: `begun ${timeText(started_ms)}, now at ${doing}${part}`,
    done: `done ${timeText(changed_ms)}`,
    failed: `failed ${timeText(changed_ms)}: ${message}`,
  };
  const open = unconfirmed === null ? '' : `; ${unconfirmed.kind} ${unconfirmed.to} is to be confirmed or undone`;
  return printable(`${what}: ${texts[state]}${open}`);
}

function rootKeys({ rootKey }: KeyArguments): PublicKey[] {
  return rootKey.length > 0 ? rootKey.map((file) => parsePublicKey(read(file))) : rootKeysIn([DEFAULT_ROOT_KEY]);
}

const passwordOf = (file: string | undefined): string => (file === undefined ? '' : read(file).split(/\r?\n/)[0]);

function version(text: string): string {
  if (!isVersion(text)) throw new InvalidArgumentError('It takes a version such as 1.2.0.');
  return text;
}

function read(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    throw new OperatingError('usage', `${file}: ${fileReason(error)}`);
  }
}
