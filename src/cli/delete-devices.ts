import { type Command, Option } from 'commander';
import { deleteDevice, deleteUnseen } from '../appliance/device-deletion.ts';
import { StoreAccess } from '../appliance/store-access.ts';
import { OperatingError } from '../errors.ts';
import type { AuditLog } from '../users/audit.ts';
import { integer } from './arguments.ts';
import { dataOption, time } from './data.ts';
import { managed, note } from './managed.ts';

const id = integer(1, Number.MAX_SAFE_INTEGER);

export function register(program: Command): void {
  program
    .command('delete-devices')
    .description(
      'delete devices that were silent for ten minutes: they are not listed until they are seen again. What is known of them stays',
    )
    .argument('[device...]', 'their numbers, as `devices` shows them', (text: string, all: number[] = []) => [...all, id(text)])
    .addOption(new Option('--unseen-since <time>', 'all that were not seen since this time (ISO 8601)').argParser(time))
    .option('--restore', 'take their deletion back')
    .addOption(dataOption())
    .addHelpText(
      'after',
      '\nExamples:\n  $ ot-sensor delete-devices 12 13\n  $ ot-sensor delete-devices --unseen-since 2026-01-31\n  $ ot-sensor devices --deleted\n  $ ot-sensor delete-devices 12 --restore',
    )
    .action(run);
}

interface Arguments {
  data: string;
  unseenSince?: number;
  restore?: true;
}

async function run(devices: number[] | undefined, { data, unseenSince, restore }: Arguments): Promise<void> {
  const ids = devices ?? [];
  if ((ids.length === 0) === (unseenSince === undefined) || (restore && ids.length === 0))
    throw new OperatingError('usage', 'give either numbers of devices or --unseen-since; numbers with --restore');
  await managed(data, ({ audit }) => {
    const store = new StoreAccess(data);
    try {
      if (unseenSince !== undefined) deleteAll(store, unseenSince, audit);
      for (const one of ids) {
        if (!restore) deleteDevice(store, one, 'root', Date.now());
        else if (!store.operator.restoreDevice(one)) throw new OperatingError('not_found', `device ${one} is not deleted`);
        note(audit, restore ? 'device.restore' : 'device.delete', String(one));
      }
    } finally {
      store.close();
    }
  });
}

function deleteAll(store: StoreAccess, since_ms: number, audit: AuditLog): void {
  let deleted = 0;
  for (;;) {
    const some = deleteUnseen(store, since_ms, 'root', Date.now());
    if (some === 0) break;
    deleted += some;
  }
  note(audit, 'device.delete_unseen', new Date(since_ms).toISOString(), { deleted });
  process.stdout.write(`${deleted} devices were deleted\n`);
}
