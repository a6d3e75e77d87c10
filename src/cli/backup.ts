import fs from 'node:fs';
import path from 'node:path';
import { type Command, Option } from 'commander';
import { OUTBOUND, SettingsOutbound } from '../appliance/outbound.ts';
import type { Opening } from '../backup/cipher.ts';
import { type BackupResult, createBackup } from '../backup/create.ts';
import { trustedKeys } from '../backup/keys.ts';
import { openBackup, type TrustedKeys } from '../backup/manifest.ts';
import { parseFileName } from '../backup/names.ts';
import { type Appliance, directoryOf, requestOf } from '../backup/request.ts';
import { Backups } from '../backup/schedule.ts';
import { BACKUP } from '../backup/settings.ts';
import { verifyBackup } from '../backup/verify.ts';
import { OperatingError } from '../errors.ts';
import type { AuditLog } from '../users/audit.ts';
import { integer } from './arguments.ts';
import { dataOption, timeText } from './data.ts';
import { fileReason } from './failure.ts';
import { managed, note } from './managed.ts';
import { DEFAULT_CONFIG } from './run.ts';
import { type Format, format, jsonText, printRows } from './table.ts';

interface DataArguments {
  data: string;
}
export interface OpeningArguments extends DataArguments {
  passphraseFile?: string;
  privateKey?: string;
  key: string[];
  unverified?: true;
}

export const configOption = () =>
  new Option('--config <file>', 'settings file of run; it and its zone file belong to a backup').default(DEFAULT_CONFIG);

export function register(program: Command): void {
  const backup = program
    .command('backup')
    .description('make, list, check and open backups')
    .addHelpText(
      'after',
      `
Examples:
  $ ot-sensor backup create --data /var/lib/ot-sensor
  $ ot-sensor backup verify sensor-backup-0.1.0-20260131T030000Z.tar.gz`,
    );
  backup
    .command('create')
    .description('make a backup now, while the sensor runs')
    .option('-o, --out <dir>', 'where to put it, instead of where the settings say')
    .addOption(dataOption())
    .addOption(configOption())
    .addHelpText('after', '\nExample:\n  $ ot-sensor backup create --data /var/lib/ot-sensor --out /mnt/usb')
    .action((args) => create(program.version() ?? '0.0.0', args));
  backup
    .command('list')
    .description('list the backups that are here')
    .option('--directory <dir>', 'where they are, instead of where the settings say')
    .addOption(dataOption())
    .addOption(format())
    .addHelpText('after', '\nExample:\n  $ ot-sensor backup list --data /var/lib/ot-sensor')
    .action(list);
  backup
    .command('runs')
    .description('what was tried, the newest first: backups, copies to the stores, drills')
    .option('--limit <n>', 'at most so many', integer(1, 10_000), 100)
    .addOption(dataOption())
    .addOption(format())
    .addHelpText('after', '\nExample:\n  $ ot-sensor backup runs --data /var/lib/ot-sensor')
    .action(runs);
  backup
    .command('delete')
    .description('delete a backup that is where the settings say')
    .argument('<name>', 'its file name, as `list` shows it')
    .addOption(dataOption())
    .addHelpText(
      'after',
      '\nExample:\n  $ ot-sensor backup delete plant1-backup-0.1.0-20260131T030000Z.tar.gz --data /var/lib/ot-sensor',
    )
    .action(remove);
  opening(backup.command('verify'))
    .description('prove that a backup can be restored: unpack it into a scratch folder, check it whole, count its rows')
    .argument('<file>', 'backup')
    .option('--scratch <dir>', 'a folder with room for its content; left out: the data directory')
    .addHelpText('after', '\nExample:\n  $ ot-sensor backup verify backups/plant1-backup-0.1.0-20260131T030000Z.tar.gz')
    .action(verify);
  opening(backup.command('open'))
    .description('unpack a backup into a new folder, to look into it or take something out')
    .argument('<file>', 'backup')
    .requiredOption('-o, --out <dir>', 'folder to make')
    .addHelpText('after', '\nExample:\n  $ ot-sensor backup open plant1.tar.gz.enc --private-key private.pem --out opened')
    .action(open);
}

/** With what a backup is opened, and whose signature it must have. */
export const opening = (command: Command): Command =>
  command
    .option('--passphrase-file <file>', 'its first line opens an encrypted backup; or set OT_SENSOR_BACKUP_PASSPHRASE')
    .option('--private-key <file>', 'opens a backup that was encrypted for its public key (X25519, PEM)')
    .option(
      '--key <file>',
      'public key of another appliance whose backups are taken (minisign); repeat it for several',
      collect,
      [],
    )
    .option('--unverified', 'take it whoever signed it, or nobody')
    .addOption(dataOption());

const collect = (file: string, files: string[]): string[] => [...files, file];

export function openingOf({ passphraseFile, privateKey }: OpeningArguments): Opening | null {
  if (privateKey !== undefined) return { private_key: readText(privateKey) };
  const passphrase =
    passphraseFile === undefined ? process.env.OT_SENSOR_BACKUP_PASSPHRASE : readText(passphraseFile).split(/\r?\n/)[0];
  return passphrase === undefined || passphrase === '' ? null : { passphrase };
}

export const trustOf = ({ data, key, unverified }: OpeningArguments): TrustedKeys => (unverified ? null : trustedKeys(data, key));

async function create(version: string, args: DataArguments & { config: string; out?: string }): Promise<void> {
  const { file, size, left_out } = await (args.out === undefined
    ? backUp(version, 'manual', args)
    : createIn(version, args.out, args));
  process.stdout.write(`${file}: ${size} bytes\n`);
  for (const what of left_out) process.stderr.write(`ot-sensor: left out, since it may hold secrets: ${what}\n`);
}

/** Beside those that the settings speak of. */
function createIn(version: string, out: string, { data, config }: DataArguments & { config: string }): Promise<BackupResult> {
  return managed(data, async ({ settings, audit }) => {
    const request = requestOf(applianceOf(data, config, version), settings.read(BACKUP).value, 'manual', Date.now());
    const made = await createBackup({ ...request, directory: path.resolve(out) });
    note(audit, 'backup.create', path.basename(made.file));
    return made;
  });
}

/** As the service makes one: to the stores too, with its limits, and remembered. */
export async function backUp(
  version: string,
  reason: string,
  { data, config }: DataArguments & { config: string },
): Promise<BackupResult> {
  return withBackups(version, { data, config }, async (backups, audit) => {
    const made = await backups.create(reason);
    note(audit, 'backup.create', path.basename(made.file), { reason });
    return made;
  });
}

const applianceOf = (data: string, config: string, product_version: string): Appliance => ({
  data: path.resolve(data),
  config_file: fs.existsSync(config) ? path.resolve(config) : '',
  product_version,
});

/** The service's, over its database, for as long as `act` takes. */
async function withBackups<Result>(
  version: string,
  { data, config }: DataArguments & { config: string },
  act: (backups: Backups, audit: AuditLog) => Result | Promise<Result>,
): Promise<Result> {
  return managed(data, ({ database, settings, notifications, audit }) => {
    const backups = new Backups({
      appliance: applianceOf(data, config, version),
      database,
      settings,
      notifications,
      network: new SettingsOutbound(() => settings.read(OUTBOUND).value),
      create: (request) => createBackup(request),
      onStep({ kind, outcome, reason, file, message }) {
        note(audit, `backup.${kind}`, file, { reason, message }, outcome === 'done' ? 'done' : 'refused');
        if (kind === 'store' && outcome === 'failed')
          process.stderr.write(`ot-sensor: it could not be copied to ${reason}: ${message}\n`);
      },
    });
    return act(backups, audit);
  });
}

async function runs({ data, limit, format }: DataArguments & { limit: number; format: Format }): Promise<void> {
  const rows = await withBackups('0.0.0', { data, config: '' }, (backups) => backups.runs(limit));
  if (format !== 'table') return printRows(rows, format);
  await printRows(
    rows.map(({ started_ms, ended_ms, file, ...row }) => ({
      ...row,
      started: timeText(started_ms),
      seconds: Math.round((ended_ms - started_ms) / 1000),
      file: path.basename(file),
    })),
    'table',
  );
}

async function remove(name: string, { data }: DataArguments): Promise<void> {
  await withBackups('0.0.0', { data, config: '' }, (backups, audit) => {
    backups.remove(path.basename(name));
    const subject = path.basename(name);
    note(audit, 'backup.delete', subject);
  });
}

async function list({ data, directory, format }: DataArguments & { directory?: string; format: Format }): Promise<void> {
  const where = directory ?? (await managed(data, ({ settings }) => directoryOf({ data }, settings.read(BACKUP).value)));
  const names = fs.existsSync(where) ? fs.readdirSync(where) : [];
  const rows = names.flatMap((name) => {
    const parsed = parseFileName(name);
    if (parsed === null) return [];
    const { size } = fs.statSync(path.join(where, name));
    return [
      {
        time: timeText(parsed.time_ms),
        version: parsed.product_version,
        size,
        encrypted: parsed.encrypted,
        file: path.join(where, name),
      },
    ];
  });
  await printRows(
    rows.sort((a, b) => (a.time < b.time ? -1 : 1)),
    format,
  );
}

async function verify(file: string, args: OpeningArguments & { scratch?: string }): Promise<void> {
  const request = { file, scratch: path.resolve(args.scratch ?? args.data), trusted: trustOf(args), opening: openingOf(args) };
  const { manifest, rows, signer, trusted } = await verifyBackup(request);
  const signed = signer === '' ? 'not signed' : `signed with ${signer}${trusted ? '' : ', which was not checked'}`;
  process.stdout.write(
    `${file}: restores; ${manifest.sensor_name}, ${manifest.created}, ot-sensor ${manifest.product_version}, ${rows} rows, ${signed}\n`,
  );
}

async function open(file: string, args: OpeningArguments & { out: string }): Promise<void> {
  const { reader, manifest } = await openBackup(file, trustOf(args), openingOf(args));
  await reader.extract(path.resolve(args.out));
  fs.writeFileSync(path.join(args.out, 'manifest.json'), `${jsonText(manifest, 1)}\n`);
  process.stdout.write(
    `${[...manifest.members.map(({ name }) => name), 'manifest.json'].map((name) => path.join(args.out, name)).join('\n')}\n`,
  );
}

function readText(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    throw new OperatingError('usage', `${file}: ${fileReason(error)}`);
  }
}
