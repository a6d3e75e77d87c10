import fs from 'node:fs';
import os from 'node:os';
import type { ApplianceDatabase } from '../appliance/database.ts';
import type { Notifications } from '../appliance/notifications.ts';
import type { Outbound } from '../appliance/outbound.ts';
import type { Settings } from '../appliance/settings.ts';
import { OperatingError } from '../errors.ts';
import type { StoreReader } from '../store/queries.ts';
import { openDestination } from './destinations/index.ts';
import { type Identity, type ItemSource, testItem } from './item.ts';
import { Lane, type LaneState, type Log, TIMING, type Timing } from './lane.ts';
import { ForwardProgress } from './progress.ts';
import { Selection } from './rules.ts';
import { type DestinationSettings, FORWARDING, type ForwardingSettings } from './settings.ts';
import { plain } from './text.ts';

export interface ForwarderOptions {
  /** Opens the sensor's database; called again after it could not be read. Throws StoreError. */
  openReader: () => StoreReader;
  database: ApplianceDatabase;
  settings: Settings;
  notifications: Notifications;
  outbound: Outbound;
  log: Log;
  /** Folder of the files that are written; made where it is wanted and not there. */
  directory: string;
  /** Of this program. */
  version: string;
  timing?: Timing;
}

/** How a destination fares. Times are 0, and texts empty, where it never happened. */
export interface DestinationStatus {
  name: string;
  type: DestinationSettings['type'];
  enabled: boolean;
  /** off: not enabled; idle: nothing waits; waiting: something does, and is being sent or gathered; failing: it is not taken. */
  state: LaneState | 'off';
  /** Ids of the last alert and the last notification that are done with. */
  cursor: Record<ItemSource, number>;
  waiting: number;
  sent: number;
  dropped: number;
  last_success_ms: number;
  last_error: string;
  last_error_ms: number;
  failing_since_ms: number;
  /** When it is tried again; 0 where it is not failing. */
  next_try_ms: number;
}

/** What came of a test. */
export interface TestResult {
  ok: boolean;
  /** What the other side said, or why it failed. */
  said: string;
}

/** Forwards alerts and system notifications to all destinations, each at its own pace. */
export class Forwarder {
  private readonly options: ForwarderOptions;
  private readonly timing: Timing;
  private readonly progress: ForwardProgress;
  private readonly appliance: string;
  private reader: StoreReader | null = null;
  private reader_file = 0;
  private readonly lanes = new Map<string, { made_of: string; lane: Lane }>();
  private seen_version = -1;
  private timer: NodeJS.Timeout | null = null;
  /** One change of the lanes at a time. */
  private changing: Promise<void> = Promise.resolve();
  private stopped = false;

  constructor(options: ForwarderOptions) {
    this.options = options;
    this.timing = options.timing ?? TIMING;
    this.progress = new ForwardProgress(options.database);
    this.appliance = this.progress.appliance();
  }

  /** Resolves when all destinations are at work; whether they can be reached is theirs to find out. */
  async start(): Promise<void> {
    await this.reload();
    this.timer = setInterval(() => {
      if (this.versionNow() !== this.seen_version) void this.reload();
      if (this.reader !== null && fileOf(this.reader.file) !== this.reader_file) this.closeReader();
    }, this.timing.poll_ms);
  }

  /** Takes over what was changed in the settings. It is also seen without being called, within a poll. */
  reload(): Promise<void> {
    this.changing = this.changing.then(() =>
      this.apply().catch((error: Error) => {
        this.options.log.error({ error: error.message }, 'the settings of forwarding could not be taken over');
      }),
    );
    return this.changing;
  }

  /** Ends all connections. What was not taken yet goes out after the next start. */
  async stop(): Promise<void> {
    this.stopped = true;
    if (this.timer !== null) clearInterval(this.timer);
    await this.changing;
    await Promise.all([...this.lanes.values()].map(({ lane }) => lane.stop()));
    this.lanes.clear();
    this.closeReader();
  }

  status(): DestinationStatus[] {
    const { destinations } = this.options.settings.read(FORWARDING).value;
    return destinations.map((settings) => {
      const lane = this.lanes.get(settings.name)?.lane;
      const stored = storedStatus(settings, this.progress);
      if (lane === undefined) return stored;
      const { state, waiting, next_try_ms, places, fortune } = lane.status();
      return { ...stored, ...fortune, ...totals(places), state, waiting, next_try_ms };
    });
  }

  /** Tries one destination again at once, or all. Throws OperatingError `not_found`. */
  retry(name?: string): void {
    if (name !== undefined) findDestination(this.options.settings, name);
    for (const [known, { lane }] of this.lanes) if (name === undefined || known === name) lane.retry();
  }

  /** Sends one item that is marked as a test. Throws OperatingError `not_found`. */
  test(name: string): Promise<TestResult> {
    return testDestination(name, this.options);
  }

  private versionNow(): number {
    try {
      return this.options.settings.versions(FORWARDING)[0]?.version ?? 0;
    } catch {
      // The database is busy: looked at again at the next poll.
      return this.seen_version;
    }
  }

  private async apply(): Promise<void> {
    if (this.stopped) return;
    const { version, value } = this.options.settings.read(FORWARDING);
    this.seen_version = version;
    const identity = identityOf(value, this.options.version);
    const enabled = value.destinations.filter((settings) => settings.enabled);
    for (const [name, { lane }] of this.lanes) {
      if (enabled.some((settings) => settings.name === name)) continue;
      this.lanes.delete(name);
      await lane.stop();
    }
    for (const name of this.progress.keepOnly(enabled.map((settings) => settings.name)))
      for (const kind of ['forwarding_failed', 'forwarding_dropped'] as const) this.options.notifications.resolve(kind, name);
    for (const settings of enabled) await this.applyOne(settings, value, identity);
  }

  private async applyOne(settings: DestinationSettings, value: ForwardingSettings, identity: Identity): Promise<void> {
    const { name } = settings;
    const selection = new Selection(value.rules, name);
    const made_of = JSON.stringify([settings, identity]);
    const known = this.lanes.get(name);
    if (known?.made_of === made_of) return known.lane.change(selection, value.queue_limit);
    if (known !== undefined) await known.lane.stop();
    if (this.progress.places(name) === null) this.progress.begin(name, this.lastIds());
    const { notifications, log, outbound, directory } = this.options;
    const lane = new Lane({
      name,
      destination: await openDestination(settings, { identity, outbound, directory }),
      selection,
      queue_limit: value.queue_limit,
      reader: () => this.readerNow(),
      readerFailed: () => this.closeReader(),
      notifications,
      progress: this.progress,
      appliance: this.appliance,
      timing: this.timing,
      log,
    });
    this.lanes.set(name, { made_of, lane });
    lane.start();
  }

  private lastIds(): Record<ItemSource, number> {
    return lastIds(this.options.notifications, () => this.readerNow());
  }

  /** Opened when it is wanted; a new one after an error, and where the file is another one by now. */
  private readerNow(): StoreReader {
    if (this.reader === null) {
      this.reader = this.options.openReader();
      this.reader_file = fileOf(this.reader.file);
    }
    return this.reader;
  }

  private closeReader(): void {
    this.reader?.close();
    this.reader = null;
  }
}

/** Which file has this name now: a restored backup is another one. */
const fileOf = (name: string): number => fs.statSync(name, { throwIfNoEntry: false })?.ino ?? 0;

/** What there is by now; a sensor that has no database yet has raised nothing. */
function lastIds(notifications: Notifications, reader: () => StoreReader): Record<ItemSource, number> {
  let alerts = 0;
  try {
    alerts = reader().lastAlertId();
  } catch (error) {
    if ((error as { code?: string }).code !== 'store_missing') throw error;
  }
  return { alerts, notifications: notifications.newestId() };
}

/**
 * Gives destinations that are new a place behind what is there by now, so that what is raised from now on is theirs, even if the
 * service that forwards is not running. To be called after the settings were changed by another process than that.
 */
export function beginDestinations(
  options: Pick<ForwarderOptions, 'openReader' | 'database' | 'settings' | 'notifications'>,
): void {
  const progress = new ForwardProgress(options.database);
  const fresh = options.settings
    .read(FORWARDING)
    .value.destinations.filter(({ name, enabled }) => enabled && progress.places(name) === null);
  if (fresh.length === 0) return;
  let reader: StoreReader | null = null;
  try {
    const last = lastIds(options.notifications, () => {
      reader = options.openReader();
      return reader;
    });
    for (const { name } of fresh) progress.begin(name, last);
  } finally {
    (reader as StoreReader | null)?.close();
  }
}

/** The status of all destinations as it was stored, for a process that does not forward itself. */
export function storedStatuses(settings: Settings, database: ApplianceDatabase): DestinationStatus[] {
  const progress = new ForwardProgress(database);
  return settings.read(FORWARDING).value.destinations.map((one) => storedStatus(one, progress));
}

function storedStatus({ name, type, enabled }: DestinationSettings, progress: ForwardProgress): DestinationStatus {
  const places = progress.places(name);
  const fortune = progress.fortune(name);
  return {
    name,
    type,
    enabled,
    state: !enabled ? 'off' : fortune.failing_since_ms > 0 ? 'failing' : 'idle',
    ...totals(places),
    waiting: 0,
    ...fortune,
    next_try_ms: 0,
  };
}

function totals(places: ReturnType<ForwardProgress['places']>): Pick<DestinationStatus, 'cursor' | 'sent' | 'dropped'> {
  return {
    cursor: { notifications: places?.notifications.position ?? 0, alerts: places?.alerts.position ?? 0 },
    sent: (places?.notifications.sent ?? 0) + (places?.alerts.sent ?? 0),
    dropped: (places?.notifications.dropped ?? 0) + (places?.alerts.dropped ?? 0),
  };
}

/** Sends one item that is marked as a test over a connection of its own. Throws OperatingError `not_found`. */
export async function testDestination(
  name: string,
  {
    database,
    settings,
    outbound,
    directory,
    version,
  }: Pick<ForwarderOptions, 'database' | 'settings' | 'outbound' | 'directory' | 'version'>,
): Promise<TestResult> {
  const { value } = settings.read(FORWARDING);
  const found = findDestination(settings, name);
  const destination = await openDestination(found, { identity: identityOf(value, version), outbound, directory });
  try {
    const item = testItem(name, new ForwardProgress(database).appliance(), Date.now());
    const { taken, fault, said } = await destination.send([item]);
    return taken === 1 ? { ok: true, said } : { ok: false, said: fault ?? said };
  } finally {
    await destination.close();
  }
}

function findDestination(settings: Settings, name: string): DestinationSettings {
  const { destinations } = settings.read(FORWARDING).value;
  const found = destinations.find((one) => one.name === name);
  if (found !== undefined) return found;
  const known = destinations.map((one) => one.name).join(', ') || 'none';
  throw new OperatingError('not_found', `there is no destination "${name}"; there are: ${known}`);
}

/** Who forwards, in the words of the settings or, where they say nothing, of the host. */
export function identityOf(settings: ForwardingSettings, version: string): Identity {
  const { sensor_name, site, sensor_address, enterprise_number } = settings;
  return {
    sensor: plain(sensor_name || os.hostname()),
    site: plain(site),
    address: sensor_address || firstAddress(),
    version,
    enterprise_number,
  };
}

function firstAddress(): string {
  const all = Object.values(os.networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const found = all.find(({ internal, family }) => !internal && family === 'IPv4') ?? all.find(({ internal }) => !internal);
  return found?.address ?? '127.0.0.1';
}
