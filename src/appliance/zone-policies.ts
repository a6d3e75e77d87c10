import fs from 'node:fs';
import path from 'node:path';
import { dissectors } from '../../dissectors/index.ts';
import { Registry } from '../dissect/registry.ts';
import { OperatingError } from '../errors.ts';
import { checkPolicy, type Fault, faultText, type PolicyModel, readPolicy } from '../policy/index.ts';
import { MANAGED_ZONES, signalSensor } from '../sensor/control.ts';
import type { ApplianceDatabase } from './database.ts';

const MAX_VERSIONS = 100;
export const MAX_POLICY_BYTES = 4 << 20;

export interface ZonePolicyVersion {
  version: number;
  comment: string;
  applied_ms: number;
  applied_by: string;
}

/** What is to be said of a policy: faults that refuse it, and warnings. */
export interface Verdict {
  usable: boolean;
  faults: Fault[];
  model: PolicyModel | null;
}

/**
 * The zone policy that is managed over the API: checked, kept in versions, handed to the sensor, and taken back. Throws OperatingError.
 */
export class ZonePolicies {
  private readonly database: ApplianceDatabase;
  private readonly directory: string;
  private registry: Registry | null = null;

  constructor(database: ApplianceDatabase, directory: string) {
    this.database = database;
    this.directory = directory;
  }

  /** Faults with line and column, and warnings such as conduits that nothing reaches. */
  check(text: string): Verdict {
    this.registry ??= new Registry(dissectors);
    const { model, faults } = readPolicy(text, this.registry);
    const all = model === null ? faults : [...faults, ...checkPolicy(model, this.registry)];
    return { usable: model !== null, faults: all, model };
  }

  /** The policy in force, or a former one; '' where none was ever applied. */
  text(version?: number): string {
    const row = this.database.db
      .prepare('SELECT text FROM zone_policies WHERE ? IS NULL OR version = ? ORDER BY version DESC LIMIT 1')
      .get(version ?? null, version ?? null) as { text: string } | undefined;
    if (row !== undefined) return row.text;
    if (version !== undefined) throw new OperatingError('not_found', `there is no version ${version} of the zone policy`);
    const file = path.join(this.directory, MANAGED_ZONES);
    return fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '';
  }

  /** The newest first. */
  versions(): ZonePolicyVersion[] {
    return this.database.db
      .prepare('SELECT version, comment, applied_ms, applied_by FROM zone_policies ORDER BY version DESC')
      .all() as ZonePolicyVersion[];
  }

  /** Holds from here on: kept as a version, written for the sensor, which is told of it. `expected`: the version it was made from. */
  apply(
    text: string,
    comment: string,
    by: string,
    now_ms: number,
    expected?: number,
  ): ZonePolicyVersion & { told_sensor: boolean } {
    const { usable, faults } = this.check(text);
    if (!usable)
      throw new OperatingError(
        'zone_file',
        `the zone policy has faults; nothing was changed\n${faults.map(faultText).join('\n')}`,
      );
    const stored = this.database.transaction(() => {
      const { db } = this.database;
      const last = (db.prepare('SELECT max(version) FROM zone_policies').pluck().get() as number | null) ?? 0;
      if (expected !== undefined && expected !== last)
        throw new OperatingError('conflict', `the zone policy is at version ${last} by now; read it again`);
      const row: ZonePolicyVersion = { version: last + 1, comment, applied_ms: now_ms, applied_by: by };
      db.prepare('INSERT INTO zone_policies (version, text, comment, applied_ms, applied_by) VALUES (?, ?, ?, ?, ?)').run(
        row.version,
        text,
        comment,
        now_ms,
        by,
      );
      db.prepare('DELETE FROM zone_policies WHERE version <= ?').run(row.version - MAX_VERSIONS);
      // In the transaction: where the file cannot be written there is no such version.
      this.write(text);
      return row;
    });
    return { ...stored, told_sensor: signalSensor(this.directory, 'SIGHUP') };
  }

  private write(text: string): void {
    const file = path.join(this.directory, MANAGED_ZONES);
    try {
      fs.writeFileSync(`${file}.new`, text, { mode: 0o600, flush: true });
      fs.renameSync(`${file}.new`, file);
    } catch (error) {
      throw new OperatingError('output', `${file} cannot be written: ${(error as Error).message}`);
    }
  }
}
