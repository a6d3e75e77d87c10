import fs from 'node:fs';
import path from 'node:path';
import type { ApiContext } from '../api/context.ts';
import { Backups, type BackupsOptions } from '../backup/schedule.ts';
import { Forwarder } from '../forward/forwarder.ts';
import { FORWARDING } from '../forward/settings.ts';
import { Health } from '../health/health.ts';
import { log } from '../log.ts';
import { MANAGED_ZONES } from '../sensor/control.ts';
import { rootKeysIn, Updates } from '../update/requests.ts';
import { Captures } from './captures.ts';
import { Certificate } from './certificate.ts';
import { openManagement } from './management.ts';
import { OUTBOUND, SettingsOutbound } from './outbound.ts';
import { programOf } from './program.ts';
import { SECTIONS } from './sections.ts';
import { StoreAccess } from './store-access.ts';
import { ZonePolicies } from './zone-policies.ts';

/** Of the files that are forwarded to, in the data directory. */
export const FORWARD_FOLDER = 'forward';

export interface ServiceOptions {
  version: string;
  /** The data directory of the sensor. */
  directory: string;
  /** The file of our own program, for what is done in a process of its own. */
  program: string;
  /** Where the versions of the program lie. */
  program_root: string;
  /** Files of the public root keys of updates, of which some may not be there. */
  update_root_keys: readonly string[];
  /** The settings file of `run`, which belongs into backups; '' where there is none. */
  config_file: string;
  /** What makes and checks backups, where it is not to be a process of its own. */
  backup_work?: Pick<BackupsOptions, 'create' | 'verify'>;
}

/** All there is, put together and not started yet: what the routes work with, and `Appliance` runs. Throws StoreError. */
export function openServices({
  version,
  directory,
  program,
  program_root,
  update_root_keys,
  config_file,
  backup_work,
}: ServiceOptions): ApiContext {
  const management = openManagement(directory);
  const { database, settings, notifications, audit } = management;
  const store = new StoreAccess(directory);
  const certificate = new Certificate(directory);
  const run = programOf(program);
  const outbound = new SettingsOutbound(() => settings.read(OUTBOUND).value);
  const forwarder = new Forwarder({
    ...management,
    version,
    log,
    store,
    outbound,
    directory: path.join(directory, FORWARD_FOLDER),
  });
  const backups = new Backups({
    appliance: { data: directory, config_file, product_version: version },
    database,
    settings,
    notifications,
    network: outbound,
    ...backup_work,
    onStep: ({ kind, reason, outcome, file, message }) => {
      if (outcome === 'failed') log.error({ kind, reason, error: message }, 'a backup failed');
      else log.info({ kind, reason, file }, 'a backup was made');
      audit.add({
        actor: 'appliance',
        address: '',
        action: `backup.${kind}`,
        subject: file,
        outcome: outcome === 'done' ? 'done' : 'refused',
        details: { reason, message },
      });
    },
  });
  const managedZones = () => {
    const file = path.join(directory, MANAGED_ZONES);
    return fs.existsSync(file) ? file : '';
  };
  const health = new Health({
    version,
    directory,
    store,
    notifications,
    folders: () => [backups.directory],
    certificateExpires: () => (certificate.exists ? certificate.facts().expires_ms : null),
    lastBackup: () => backups.list()[0]?.created_ms ?? null,
    forwardingQueues: () => {
      const { queue_limit } = settings.read(FORWARDING).value;
      return forwarder.status().map(({ name, waiting }) => ({ name, waiting, limit: queue_limit }));
    },
  });
  return {
    version,
    directory,
    updates: new Updates({
      directory,
      root: program_root,
      root_keys: () => rootKeysIn(update_root_keys),
      program_version: version,
    }),
    sections: SECTIONS,
    store,
    health,
    certificate,
    forwarder,
    backups,
    zone_policies: new ZonePolicies(database, directory),
    captures: new Captures(directory, run, managedZones),
    run,
    ...management,
  };
}

/** What was not taken yet goes out, and what was broken off is made, after the next start. */
export async function closeServices({ forwarder, captures, backups, store, database }: ApiContext): Promise<void> {
  await Promise.all([forwarder.stop(), captures.close(), backups.stop()]);
  store.close();
  database.close();
}
