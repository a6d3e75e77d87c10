import fs from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { type Config, readConfig, SETTINGS } from '../config.ts';
import { OperatingError } from '../errors.ts';
import { accountText } from '../sensor/account.ts';
import { announceSensor, MANAGED_ZONES } from '../sensor/control.ts';
import { type PolicyLoader, Service } from '../sensor/service.ts';
import { faultText } from '../yaml/fault.ts';
import { fileReason } from './failure.ts';
import { printable } from './table.ts';

/** Where the settings are on an appliance. */
export const DEFAULT_CONFIG = '/etc/ot-sensor/sensor.yaml';

export function register(program: Command): void {
  program
    .command('run')
    .description('capture from the mirror ports until SIGTERM; SIGHUP reads settings, zones and filters again')
    .option('--config <file>', 'settings (YAML)', DEFAULT_CONFIG)
    .addHelpText(
      'after',
      `
Examples:
  $ ot-sensor config reference > sensor.yaml
  $ sudo ot-sensor run --config sensor.yaml`,
    )
    .action(run);
}

/** The settings in a file. Throws OperatingError with every fault and its place. Options as of `readConfig`. */
export function loadConfig(file: string, options: { without_mirror_port?: boolean } = {}): Config {
  let text: string;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch (error) {
    const help = 'name the settings with --config; ot-sensor config reference prints all there are';
    throw new OperatingError('config', `${file}: ${fileReason(error)}; ${help}`);
  }
  const { config, faults } = readConfig(text, path.dirname(path.resolve(file)), options);
  if (config !== null) return withManagedZones(config);
  const lines = faults.map((fault) => printable(`${file}:${faultText(fault)}`)).join('\n');
  throw new OperatingError('config', `the settings have faults; nothing was done\n${lines}`);
}

/** The data directory that a settings file names; also where it has faults, since a version may have to be installed to mend them with. */
export function dataOf(file: string): string {
  try {
    return loadConfig(file, { without_mirror_port: true }).data;
  } catch (error) {
    if (error instanceof OperatingError) return SETTINGS.settings.data.value;
    throw error;
  }
}

/** Where the settings name no zone policy, the one that is managed over the API holds. */
function withManagedZones(config: Config): Config {
  const managed = path.join(config.data, MANAGED_ZONES);
  return config.zones === '' && fs.existsSync(managed) ? { ...config, zones: managed } : config;
}

async function run({ config: file }: { config: string }): Promise<void> {
  const config = loadConfig(file);
  // The log reads its level when it is loaded; what the environment says goes before the settings.
  process.env.OT_SENSOR_LOG_LEVEL ??= config.log.level;
  const policyOf: PolicyLoader = async (zones) => (zones === '' ? null : (await import('./zone-file.ts')).loadPolicy(zones));
  // Signals that come before all is loaded are not lost, and do not end us in the middle of it.
  const starting = Service.start(config, policyOf);
  const { log } = await import('../log.ts');
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => starting.then((service) => service.stop()));
  let reloading: Promise<void> = starting.then(() => {});
  process.on('SIGHUP', () => {
    reloading = reloading.then(async () => {
      try {
        const { needs_restart } = await (await starting).reload(loadConfig(file));
        log.info({ config: file }, 'settings, zones and filters were read again');
        if (needs_restart.length > 0) log.warn({ settings: needs_restart }, 'these settings changed and need a new start');
      } catch (error) {
        log.error({ config: file }, `nothing was changed: ${(error as Error).message}`);
      }
    });
  });
  // What keeps it from starting is told once, below.
  for (const waiting of [reloading, starting]) waiting.catch(() => {});
  const service = await starting;
  const retract = announceSensor(config.data);
  log.info({ ready_ms: Math.round(performance.now()) }, 'running');
  const { account } = await service.finished.finally(retract);
  process.stdout.write(`${accountText(account)}\n`);
}
