import fs from 'node:fs';
import path from 'node:path';
import { type Command, Option } from 'commander';
import { filesOf, zonesOf } from '../backup/request.ts';
import {
  applyRestore,
  confirmRestore,
  planRestore,
  type RestoreReport,
  type RestoreRequest,
  recoverRestore,
  undoRestore,
} from '../backup/restore.ts';
import { type OpeningArguments, opening, openingOf, trustOf } from './backup.ts';
import { dataOption, timeText } from './data.ts';
import { DEFAULT_CONFIG } from './run.ts';

interface RestoreArguments extends OpeningArguments {
  config: string;
}

export function register(program: Command): void {
  const restore = program
    .command('restore')
    .description('restore a backup: say what it would do, do it, confirm or undo it')
    .addHelpText(
      'after',
      `
Examples:
  $ ot-sensor restore plan backups/plant1-backup-0.1.0-20260131T030000Z.tar.gz --data /var/lib/ot-sensor
  $ ot-sensor restore apply backups/plant1-backup-0.1.0-20260131T030000Z.tar.gz --data /var/lib/ot-sensor`,
    );
  const version = () => program.version() ?? '0.0.0';
  from(restore.command('plan'))
    .description('check a backup whole and say what restoring it would change; changes nothing')
    .addHelpText('after', '\nExample:\n  $ ot-sensor restore plan plant1.tar.gz --data /var/lib/ot-sensor')
    .action(async (file: string, args: RestoreArguments) => say(await planRestore(requestOf(file, args, version())), 'would be'));
  from(restore.command('apply'))
    .description('restore a backup; the sensor and the service must be stopped. The former state is kept until it is confirmed')
    .option('--at-next-start', 'only prepare it: the next start of sensor or service does it')
    .addHelpText('after', '\nExample:\n  $ ot-sensor restore apply plant1.tar.gz --data /var/lib/ot-sensor')
    .action(async (file: string, args: RestoreArguments & { atNextStart?: true }) => {
      const request = requestOf(file, args, version());
      recoverRestore(request.data);
      say(await applyRestore(request, { at_next_start: args.atNextStart }), args.atNextStart ? 'will be' : 'is');
      process.stdout.write('ot-sensor restore confirm removes the former state, ot-sensor restore undo brings it back\n');
    });
  restore
    .command('status')
    .description('say whether a restore waits to be done, or to be confirmed')
    .addOption(dataOption())
    .addHelpText('after', '\nExample:\n  $ ot-sensor restore status --data /var/lib/ot-sensor')
    .action(({ data }: { data: string }) => status(path.resolve(data)));
  restore
    .command('confirm')
    .description('keep what was restored; the former state is removed')
    .addOption(dataOption())
    .addHelpText('after', '\nExample:\n  $ ot-sensor restore confirm --data /var/lib/ot-sensor')
    .action(({ data }: { data: string }) =>
      settled(path.resolve(data), confirmRestore, 'the restored state stays; the former one was removed'),
    );
  restore
    .command('undo')
    .description('bring the state before the restore back, or call off one that waits for the next start')
    .addOption(dataOption())
    .addHelpText('after', '\nExample:\n  $ ot-sensor restore undo --data /var/lib/ot-sensor')
    .action(({ data }: { data: string }) => settled(path.resolve(data), undoRestore, 'all is as it was before the restore'));
}

const from = (command: Command): Command =>
  opening(command.argument('<file>', 'backup')).addOption(
    new Option('--config <file>', 'where the settings file of run belongs; "" leaves it and the zone file as they are').default(
      DEFAULT_CONFIG,
    ),
  );

function requestOf(file: string, args: RestoreArguments, product_version: string): RestoreRequest {
  const config = args.config === '' ? '' : path.resolve(args.config);
  // Where there is no folder for them they have no place.
  const config_file = config !== '' && fs.existsSync(path.dirname(config)) ? config : '';
  const zones_file = config_file === '' ? '' : zonesOf(config_file) || path.join(path.dirname(config_file), 'zones.yaml');
  return {
    file: path.resolve(file),
    data: path.resolve(args.data),
    config_file,
    zones_file,
    files: filesOf(path.resolve(args.data)),
    trusted: trustOf(args),
    opening: openingOf(args),
    product_version,
    now_ms: Date.now(),
  };
}

function say({ manifest, signer, trusted, changes, not_restored, secrets_kept }: RestoreReport, verb: string): void {
  const signed = signer === '' ? 'not signed' : `signed with ${signer}${trusted ? '' : ', which was not checked'}`;
  const lines = [`backup of ${manifest.sensor_name}, ${manifest.created}, ot-sensor ${manifest.product_version}, ${signed}`];
  for (const { target, change, rows } of changes) {
    lines.push(`${target} ${verb} ${change === 'same' ? 'the same' : change}`);
    for (const [table, { before, after }] of Object.entries(rows ?? {}))
      if (before !== after) lines.push(`  ${table}: ${before} rows → ${after}`);
  }
  for (const member of not_restored) lines.push(`not restored, since it has no place here: ${member}`);
  for (const section of secrets_kept)
    lines.push(`secrets of the settings "${section}" are not in the backup: those of this appliance ${verb} kept`);
  process.stdout.write(`${lines.join('\n')}\n`);
}

function status(data: string): void {
  const { state, backup, restored_ms, waiting_for } = recoverRestore(data);
  const texts = {
    none: 'no restore waits for anything',
    armed: `${backup} is restored at the next start${waiting_for === '' ? '' : `; now it cannot be: ${waiting_for}`}`,
    switched: `${backup} was restored ${timeText(restored_ms)}; it is to be confirmed or undone`,
    switching: `${backup} is being restored`,
    undoing: `the restore of ${backup} is being undone`,
  };
  process.stdout.write(`${texts[state]}\n`);
}

function settled(data: string, act: (data: string) => unknown, said: string): void {
  recoverRestore(data);
  act(data);
  process.stdout.write(`${said}\n`);
}
