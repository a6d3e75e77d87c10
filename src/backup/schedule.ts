import fs from 'node:fs';
import path from 'node:path';
import type { ApplianceDatabase } from '../appliance/database.ts';
import type { Notifications } from '../appliance/notifications.ts';
import type { Settings } from '../appliance/settings.ts';
import { OperatingError } from '../errors.ts';
import { BACKUP_LOCK, BACKUP_WORK, type BackupProgress, type BackupRequest, type BackupResult } from './create.ts';
import { removeTree } from './files.ts';
import { trustedKeys } from './keys.ts';
import { tryLock } from './lock.ts';
import { parseFileName } from './names.ts';
import { type Appliance, directoryOf, encryptionOf, requestOf, sensorNameOf } from './request.ts';
import { expired } from './retention.ts';
import { runCreate, runVerify } from './runner.ts';
import { BACKUP, type BackupSettings } from './settings.ts';
import { openStore } from './stores/open.ts';
import { DIRECT, type StoredFile, type StoreNetwork } from './stores/store.ts';
import { VERIFY_LOCK, VERIFY_WORK, type VerifyRequest, type VerifyResult } from './verify.ts';

const TICK_MS = 30_000;
/** Later than this after its hour a backup was missed. */
const GRACE_MS = 15 * 60_000;
/** After a failure: so long, twice as long after the next, up to the last. */
const RETRY_MS = 15 * 60_000;
const MAX_RETRY_MS = 4 * 3_600_000;
const DRILL_MS = 30 * 86_400_000;
const MAX_RUNS = 1000;
const DRILL_WORK = 'drill-work';
const WORK_FOLDERS = [BACKUP_WORK, VERIFY_WORK];

export type RunKind = 'backup' | 'store' | 'drill' | 'since';

/** Something that was tried. `outcome`: `done` or `failed`, with why in `message`. */
export interface BackupRun {
  id: number;
  kind: RunKind;
  reason: string;
  started_ms: number;
  ended_ms: number;
  outcome: 'done' | 'failed';
  file: string;
  bytes: number;
  message: string;
}

export interface BackupFile extends StoredFile {
  file: string;
  created_ms: number;
  product_version: string;
  encrypted: boolean;
}

export interface BackupsOptions {
  appliance: Appliance;
  database: ApplianceDatabase;
  settings: Settings;
  notifications: Notifications;
  network?: StoreNetwork;
  now_ms?: () => number;
  /** What makes and checks them: processes of their own. */
  create?: (
    request: BackupRequest,
    options: { signal?: AbortSignal; onProgress?: (progress: BackupProgress) => void },
  ) => Promise<BackupResult>;
  verify?: (request: VerifyRequest, options: { signal?: AbortSignal }) => Promise<VerifyResult>;
  /** Each thing done or failed, for the log and the audit. */
  onStep?: (run: Omit<BackupRun, 'id'>) => void;
}

/**
 * The backups of an appliance: made each day and by hand, copied to the stores, the old ones removed, one restored a month to see that it
 * can be. What fails or is missed is a system notification, and is made up for.
 */
export class Backups {
  private readonly options: Required<Omit<BackupsOptions, 'onStep'>> & Pick<BackupsOptions, 'onStep'>;
  private readonly aborter = new AbortController();
  private timer: NodeJS.Timeout | null = null;
  /** What is under way; one at a time. */
  private running: Promise<unknown> | null = null;
  private progress_: BackupProgress | null = null;

  constructor(options: BackupsOptions) {
    this.options = { network: DIRECT, now_ms: Date.now, create: runCreate, verify: runVerify, ...options };
  }

  /** Looks now and then whether one is due. */
  start(): void {
    for (const name of [DRILL_WORK, ...WORK_FOLDERS]) sweepWork(this.options.appliance.data, name);
    const tick = () => void this.tick().catch(() => {});
    this.timer = setInterval(tick, TICK_MS);
    tick();
  }

  /** What is under way is ended; the next start makes up for it. */
  async stop(): Promise<void> {
    if (this.timer !== null) clearInterval(this.timer);
    this.aborter.abort();
    await this.running?.catch(() => {});
  }

  /** Of the backup that is being made; null where none is. */
  get progress(): BackupProgress | null {
    return this.progress_;
  }

  get settings(): BackupSettings {
    return this.options.settings.read(BACKUP).value;
  }

  /** Where they are kept here. */
  get directory(): string {
    return directoryOf(this.options.appliance, this.settings);
  }

  /** The backups that are here, the newest first. */
  list(): BackupFile[] {
    const directory = directoryOf(this.options.appliance, this.settings);
    if (!fs.existsSync(directory)) return [];
    return fs
      .readdirSync(directory)
      .flatMap((name) => {
        const parsed = parseFileName(name);
        if (parsed === null || parsed.sensor_name !== sensorNameOf(this.settings)) return [];
        const file = path.join(directory, name);
        const { product_version, encrypted, time_ms } = parsed;
        return [
          { name, file, size: fs.statSync(file).size, created_ms: time_ms, product_version, encrypted, number: parsed.number },
        ];
      })
      .sort((a, b) => b.created_ms - a.created_ms || b.number - a.number)
      .map(({ number: _, ...file }) => file);
  }

  /** One of those that are here, by its name: nothing else has one. Throws OperatingError `not_found`. */
  find(name: string): BackupFile {
    const found = this.list().find((one) => one.name === name);
    if (found === undefined) throw new OperatingError('not_found', `there is no backup ${name} here`);
    return found;
  }

  remove(name: string): void {
    fs.rmSync(this.find(name).file);
  }

  /** What was tried, the latest first. */
  runs(limit = 100): BackupRun[] {
    return this.options.database.db
      .prepare("SELECT * FROM backup_runs WHERE kind <> 'since' ORDER BY id DESC LIMIT ?")
      .all(limit) as BackupRun[];
  }

  /** Makes one, copies it to the stores, removes what is too old. Throws OperatingError, also `conflict` where one is being made. */
  create(reason: string): Promise<BackupResult> {
    return this.alone(() => this.make(reason));
  }

  /** Proves that one restores. */
  verify(name: string): Promise<VerifyResult> {
    return this.alone(() => this.check(this.find(name).file));
  }

  /** What is due now. For the timer, and for tests. */
  async tick(): Promise<void> {
    if (this.running !== null || this.aborter.signal.aborted) return;
    const settings = this.options.settings.read(BACKUP);
    if (!settings.value.enabled) return;
    const now = this.options.now_ms();
    const due = lastDue(settings.value.time, now);
    const last = Math.max(this.lastDone('backup'), this.since(), settings.changed_ms);
    if (last < due) {
      const failures = this.failuresSince(due);
      const wait = Math.min(RETRY_MS * 2 ** Math.max(0, failures.length - 1), MAX_RETRY_MS);
      if (failures.length > 0 && now - failures[0].ended_ms < wait) return;
      if (failures.length === 0 && now - due > GRACE_MS)
        this.options.notifications.raise(
          'backup_missed',
          'schedule',
          `The backup of ${new Date(due).toISOString()} was not made in its hour; it is made up for now.`,
        );
      await this.alone(() => this.make('schedule')).catch(() => {});
      return;
    }
    if (settings.value.drill && now - Math.max(this.lastDone('drill'), this.since()) > DRILL_MS && this.list().length > 0) {
      const tried = this.lastTried('drill');
      if (now - tried > MAX_RETRY_MS) await this.alone(() => this.drill()).catch(() => {});
    }
  }

  /** The monthly drill: the newest is restored into a scratch folder. Throws what is wrong with it. */
  drillNow(): Promise<VerifyResult> {
    return this.alone(() => this.drill());
  }

  private async alone<Result>(act: () => Promise<Result>): Promise<Result> {
    if (this.running !== null) throw new OperatingError('conflict', 'a backup is being made or checked: wait until it is done');
    const running = act();
    this.running = running;
    try {
      return await running;
    } finally {
      this.running = null;
      this.progress_ = null;
    }
  }

  private async make(reason: string): Promise<BackupResult> {
    const { appliance, create, notifications, now_ms } = this.options;
    const started_ms = now_ms();
    const { settings } = this;
    let result: BackupResult;
    try {
      const request = requestOf(appliance, settings, reason, started_ms);
      const onProgress = (progress: BackupProgress) => {
        this.progress_ = progress;
      };
      result = await create(request, { signal: this.aborter.signal, onProgress });
    } catch (error) {
      // Ended with the service: the next start makes up for it.
      if (!this.aborter.signal.aborted) {
        this.record({
          kind: 'backup',
          reason,
          started_ms,
          outcome: 'failed',
          file: '',
          bytes: 0,
          message: (error as Error).message,
        });
        notifications.raise('backup_failed', 'backup', `The backup could not be made: ${(error as Error).message}.`, { reason });
      }
      throw error;
    }
    const message = result.left_out.length === 0 ? '' : `left out, since it may hold secrets: ${result.left_out.join(', ')}`;
    this.record({
      kind: 'backup',
      reason,
      started_ms,
      outcome: 'done',
      file: path.basename(result.file),
      bytes: result.size,
      message,
    });
    notifications.resolve('backup_failed', 'backup');
    notifications.resolve('backup_missed', 'schedule');
    for (const name of expired(this.list(), sensorNameOf(settings), settings, now_ms()))
      fs.rmSync(path.join(directoryOf(appliance, settings), name), { force: true });
    for (const store of settings.stores) if (!this.aborter.signal.aborted) await this.copyTo(store, settings);
    return result;
  }

  /** All that is here and not there: one that could not be reached for a while catches up. Never throws. */
  private async copyTo(settings: BackupSettings['stores'][number], all: BackupSettings): Promise<void> {
    const { network, notifications, now_ms } = this.options;
    const started_ms = now_ms();
    const sensor_name = sensorNameOf(all);
    let bytes = 0;
    let copied = '';
    try {
      const store = openStore(settings, network);
      try {
        const there = new Map((await store.list()).map(({ name, size }) => [name, size]));
        const here = this.list();
        const gone = expired([...here], sensor_name, all, now_ms());
        for (const { name, file, size } of here.reverse()) {
          if (gone.includes(name) || there.get(name) === size) continue;
          await store.put(file, name);
          bytes += size;
          copied = name;
        }
        for (const name of expired(await store.list(), sensor_name, all, now_ms())) await store.remove(name);
      } finally {
        await store.close();
      }
      this.record({ kind: 'store', reason: settings.name, started_ms, outcome: 'done', file: copied, bytes, message: '' });
      notifications.resolve('backup_failed', `store ${settings.name}`);
    } catch (error) {
      const { message } = error as Error;
      this.record({ kind: 'store', reason: settings.name, started_ms, outcome: 'failed', file: copied, bytes, message });
      notifications.raise(
        'backup_failed',
        `store ${settings.name}`,
        `The backup was made, and could not be copied: ${message}.`,
        { store: settings.name },
      );
    }
  }

  private async drill(): Promise<VerifyResult> {
    const { appliance, create, notifications, now_ms } = this.options;
    const started_ms = now_ms();
    const [newest] = this.list();
    if (newest === undefined) throw new OperatingError('not_found', 'there is no backup yet');
    const work = path.join(appliance.data, DRILL_WORK);
    try {
      let { file } = newest;
      const encryption = encryptionOf(this.settings);
      if (newest.encrypted && (encryption === null || !('passphrase' in encryption))) {
        // Nobody here can open those: one that is made the same way, and not encrypted, stands for them.
        removeTree(work);
        const request = {
          ...requestOf(appliance, this.settings, 'drill', started_ms),
          directory: work,
          encryption: null,
          keys: false,
        };
        ({ file } = await create(request, { signal: this.aborter.signal }));
      }
      const result = await this.check(file);
      this.record({
        kind: 'drill',
        reason: 'drill',
        started_ms,
        outcome: 'done',
        file: newest.name,
        bytes: newest.size,
        message: `${result.rows} rows`,
      });
      notifications.resolve('restore_drill_failed', 'drill');
      return result;
    } catch (error) {
      if (!this.aborter.signal.aborted) {
        const { message } = error as Error;
        this.record({
          kind: 'drill',
          reason: 'drill',
          started_ms,
          outcome: 'failed',
          file: newest.name,
          bytes: newest.size,
          message,
        });
        notifications.raise('restore_drill_failed', 'drill', `${newest.name} could not be restored: ${message}.`, {
          file: newest.name,
        });
      }
      throw error;
    } finally {
      removeTree(work);
    }
  }

  private check(file: string): Promise<VerifyResult> {
    const { appliance, verify } = this.options;
    const { passphrase } = this.settings;
    const opening = passphrase === '' ? null : { passphrase };
    return verify(
      { file, scratch: appliance.data, trusted: trustedKeys(appliance.data), opening },
      { signal: this.aborter.signal },
    );
  }

  private record(run: Omit<BackupRun, 'id' | 'ended_ms'>): void {
    const { database, now_ms, onStep } = this.options;
    const whole = { ...run, started_ms: Math.round(run.started_ms), ended_ms: Math.round(now_ms()) };
    database.transaction(() => {
      database.db
        .prepare(
          `INSERT INTO backup_runs (kind, reason, started_ms, ended_ms, outcome, file, bytes, message)
           VALUES (@kind, @reason, @started_ms, @ended_ms, @outcome, @file, @bytes, @message)`,
        )
        .run(whole);
      database.db
        .prepare("DELETE FROM backup_runs WHERE kind <> 'since' AND id <= (SELECT max(id) FROM backup_runs) - ?")
        .run(MAX_RUNS);
    });
    onStep?.(whole);
  }

  /** When this appliance began to have backups: what was due before was not missed. */
  private since(): number {
    const { database, now_ms } = this.options;
    const found = database.db.prepare("SELECT ended_ms FROM backup_runs WHERE kind = 'since'").pluck().get() as
      | number
      | undefined;
    if (found !== undefined) return found;
    const now = Math.round(now_ms());
    database.db
      .prepare(
        "INSERT INTO backup_runs (kind, reason, started_ms, ended_ms, outcome, file, bytes, message) VALUES ('since', '', ?, ?, 'done', '', 0, '')",
      )
      .run(now, now);
    return now;
  }

  private lastDone(kind: RunKind): number {
    const select = "SELECT coalesce(max(started_ms), 0) FROM backup_runs WHERE kind = ? AND outcome = 'done'";
    return this.options.database.db.prepare(select).pluck().get(kind) as number;
  }

  private lastTried(kind: RunKind): number {
    return this.options.database.db
      .prepare('SELECT coalesce(max(ended_ms), 0) FROM backup_runs WHERE kind = ?')
      .pluck()
      .get(kind) as number;
  }

  private failuresSince(ms: number): { ended_ms: number }[] {
    return this.options.database.db
      .prepare("SELECT ended_ms FROM backup_runs WHERE kind = 'backup' AND outcome = 'failed' AND ended_ms >= ? ORDER BY id DESC")
      .all(ms) as { ended_ms: number }[];
  }
}

/** The copy of a database that a process which was killed has left; not where another is at it. */
function sweepWork(data: string, name: string): void {
  if (!fs.existsSync(path.join(data, name))) return;
  const held = [BACKUP_LOCK, VERIFY_LOCK].map((file) => tryLock(path.join(data, file)));
  if (held.every((one) => one !== null)) removeTree(path.join(data, name));
  for (const one of held) one?.close();
}

/** The latest moment at or before `now_ms` at which the local clock showed `time` (HH:MM). */
export function lastDue(time: string, now_ms: number): number {
  const [hours, minutes] = time.split(':').map(Number);
  const due = new Date(now_ms);
  due.setHours(hours, minutes, 0, 0);
  if (due.getTime() > now_ms) {
    due.setDate(due.getDate() - 1);
    due.setHours(hours, minutes, 0, 0);
  }
  return due.getTime();
}
