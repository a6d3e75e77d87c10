/** For tests of backups: a small appliance. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import { ApplianceDatabase } from '../appliance/database.ts';
import { Settings } from '../appliance/settings.ts';
import { DATABASE_FILE, Writer } from '../store/writer.ts';
import type { BackupRequest } from './create.ts';
import { BACKUP } from './settings.ts';

export const SECRET = 'a secret that must not be seen';
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Where the build is: processes of their own run what was built. */
export const built = (file: string): URL =>
  new URL(`file://${path.join(path.resolve(ROOT, process.env.OT_SENSOR_DIST ?? 'dist'), 'src', file.replace(/\.ts$/, '.js'))}`);

export const temporaryFolder = (): string => fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-backup-'));
export const remove = (folder: string): void => fs.rmSync(folder, { recursive: true, force: true });

/** A data directory with both databases, settings with a secret, a settings file and a zone file. */
export function makeAppliance(folder: string, devices = 20): BackupRequest {
  const data = path.join(folder, 'data');
  new Writer(data).close();
  addDevices(data, 1, devices);
  const database = new ApplianceDatabase(data);
  new Settings(database).write(BACKUP, { passphrase: SECRET, keep_count: 3 }, 'anna', 1000);
  database.close();
  fs.writeFileSync(path.join(folder, 'zones.yaml'), 'zones: []\n');
  fs.writeFileSync(path.join(folder, 'sensor.yaml'), 'zones: zones.yaml\ncapture: { interfaces: [{ name: eth0 }] }\n');
  return {
    data,
    directory: path.join(folder, 'backups'),
    sensor_name: 'plant1',
    product_version: '0.1.0',
    reason: 'manual',
    keys: false,
    encryption: null,
    config_file: path.join(folder, 'sensor.yaml'),
    zones_file: path.join(folder, 'zones.yaml'),
    files: [],
    now_ms: Date.UTC(2026, 0, 31, 3),
  };
}

/** Devices `first` … `first + count - 1`, in one transaction. */
export function addDevices(data: string, first: number, count: number): void {
  const db = new Database(path.join(data, DATABASE_FILE), { timeout: 10_000 });
  const insert = db.prepare(
    `INSERT INTO devices (id, first_ms, last_ms, first_frame, capture_id, name, type, type_reason, programming_station, programming_reason,
     router, gateway, vendor, model, firmware, serial, mac, ip, segment, zone, behaviour)
     VALUES (?, 1, 1, 1, 1, ?, '', '', 0, '', 0, 0, '', '', '', '', '', '', '', '', '')`,
  );
  db.transaction(() => {
    for (let id = first; id < first + count; id++) insert.run(id, `device ${id}`);
  })();
  db.close();
}

export function countDevices(data: string): number {
  const db = new Database(path.join(data, DATABASE_FILE), { readonly: true });
  try {
    return db.prepare('SELECT count(*) FROM devices').pluck().get() as number;
  } finally {
    db.close();
  }
}
