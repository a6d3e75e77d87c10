import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { readConfig } from '../config.ts';
import { MANAGED_ZONES } from '../sensor/control.ts';
import type { Encryption } from './cipher.ts';
import type { BackupRequest, ExtraFile } from './create.ts';
import { PUBLIC_KEY_FILE, SECRET_KEY_FILE } from './keys.ts';
import type { BackupSettings } from './settings.ts';

/** What a backup is made of, apart from its settings. */
export interface Appliance {
  /** The data directory. */
  data: string;
  /** The settings file of `run`; '' where there is none. */
  config_file: string;
  product_version: string;
}

/**
 * Other files of the appliance. A certificate is of no use without its key, and the key with which backups are signed goes with what it
 * signed: these only in backups with keys.
 */
export function filesOf(data: string): ExtraFile[] {
  const file = (name: string, secret: boolean, member = path.posix.basename(name)) => ({
    member: `files/${member}`,
    path: path.join(data, name),
    secret,
  });
  return [
    file(MANAGED_ZONES, false, 'managed-zones.yaml'),
    ...['tls/certificate.pem', 'tls/key.pem', SECRET_KEY_FILE, PUBLIC_KEY_FILE].map((name) => file(name, true)),
  ];
}

export const directoryOf = ({ data }: Pick<Appliance, 'data'>, { directory }: BackupSettings): string =>
  directory || path.join(data, 'backups');

/** The host's name where none is set. */
export function sensorNameOf({ sensor_name }: BackupSettings): string {
  return (
    sensor_name ||
    os
      .hostname()
      .replace(/[^A-Za-z0-9_.-]/g, '-')
      .slice(0, 64) ||
    'sensor'
  );
}

export function encryptionOf({ passphrase, public_key }: BackupSettings): Encryption | null {
  if (passphrase !== '') return { passphrase };
  return public_key === '' ? null : { public_key };
}

export function requestOf(appliance: Appliance, settings: BackupSettings, reason: string, now_ms: number): BackupRequest {
  return {
    data: appliance.data,
    directory: directoryOf(appliance, settings),
    sensor_name: sensorNameOf(settings),
    product_version: appliance.product_version,
    reason,
    keys: settings.keys,
    encryption: encryptionOf(settings),
    config_file: appliance.config_file,
    zones_file: zonesOf(appliance.config_file),
    files: filesOf(appliance.data),
    now_ms,
  };
}

/** The zone file that a settings file names; '' where it names none, or cannot be read. */
export function zonesOf(config_file: string): string {
  if (config_file === '' || !fs.existsSync(config_file)) return '';
  const { config } = readConfig(fs.readFileSync(config_file, 'utf8'), path.dirname(path.resolve(config_file)));
  return config?.zones ?? '';
}
