import os from 'node:os';
import type { ApplianceDatabase } from '../appliance/database.ts';
import type { Notifications } from '../appliance/notifications.ts';
import type { Outbound } from '../appliance/outbound.ts';
import type { Settings } from '../appliance/settings.ts';
import type { StoreAccess } from '../appliance/store-access.ts';
import { OperatingError } from '../errors.ts';
import { StoreError } from '../store/errors.ts';
import { openDestination } from './destinations/index.ts';
import { type Identity, type ItemSource, testItem } from './item.ts';
import { Lane, type LaneState, type Log, TIMING, type Timing } from './lane.ts';
import { ForwardProgress } from './progress.ts';
import { Selection } from './rules.ts';
import { type DestinationSettings, FORWARDING, type ForwardingSettings } from './settings.ts';
import { plain } from './text.ts';

export interface ForwarderOptions {
  /** The sensor's database, as it is now. */
  store: StoreAccess;
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

const COUNTED_AT_ONCE = 1000;
/** After settings could not be taken over. */
const RELOAD_AGAIN_MS = 10_000;

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
  private readonly lanes = new Map<string, { made_of: string; lane: Lane }>();
  private seen_version = -1;
  private readonly retried_ms = new Map<string, number>();
  /** Not before this are settings taken over again that could not be. */
  private again_ms = 0;
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
    this.heedRetries(true);
    this.timer = setInterval(() => {
      this.heedRetries(false);
      if (Date.now() >= this.again_ms && this.versionNow() !== this.seen_version) void this.reload();
    }, this.timing.poll_ms);
  }

  /** Takes over what was changed in the settings. It is also seen without being called, within a poll. */
  reload(): Promise<void> {
    this.changing = this.changing.then(() => this.apply());
    return this.changing;
  }

  /** Ends all connections. What was not taken yet goes out after the next start. */
  async stop(): Promise<void> {
    this.stopped = true;
    if (this.timer !== null) clearInterval(this.timer);
    await this.changing;
    await Promise.all([...this.lanes.values()].map(({ lane }) => lane.stop()));
    this.lanes.clear();
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

  /** What a command asked for. `before`: it was before we began, and all are tried then anyway. */
  private heedRetries(before: boolean): void {
    try {
      for (const { destination, retry_asked_ms } of this.progress.retriesAsked()) {
        if (retry_asked_ms <= (this.retried_ms.get(destination) ?? 0)) continue;
        this.retried_ms.set(destination, retry_asked_ms);
        if (!before) this.lanes.get(destination)?.lane.retry();
      }
    } catch {
      // The database is busy: heard at the next poll.
    }
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
    let version = -1;
    let failed = false;
    const attempt = async (what: string, act: () => Promise<void>): Promise<void> => {
      try {
        await act();
      } catch (error) {
        failed = true;
        this.options.log.error({ error: (error as Error).message }, `${what} could not be taken over; it is tried again`);
      }
    };
    await attempt('the settings of forwarding', async () => {
      const read = this.options.settings.read(FORWARDING);
      version = read.version;
      const identity = identityOf(read.value, this.options.version);
      const enabled = read.value.destinations.filter((settings) => settings.enabled);
      await this.keepOnly(enabled.map((settings) => settings.name));
      // One that cannot be opened keeps no other from it.
      for (const settings of enabled)
        await attempt(`the destination ${settings.name}`, () => this.applyOne(settings, read.value, identity));
    });
    this.seen_version = failed ? -1 : version;
    this.again_ms = failed ? Date.now() + RELOAD_AGAIN_MS : 0;
  }

  /** Ends the others, and gives up their places. */
  private async keepOnly(names: readonly string[]): Promise<void> {
    for (const [name, { lane }] of this.lanes) {
      if (names.includes(name)) continue;
      this.lanes.delete(name);
      await lane.stop();
    }
    for (const name of this.progress.keepOnly(names))
      for (const kind of ['forwarding_failed', 'forwarding_dropped'] as const) this.options.notifications.resolve(kind, name);
  }

  private async applyOne(settings: DestinationSettings, value: ForwardingSettings, identity: Identity): Promise<void> {
    const { name } = settings;
    const selection = new Selection(value.rules, name);
    const made_of = JSON.stringify([settings, identity]);
    const known = this.lanes.get(name);
    if (known?.made_of === made_of) return known.lane.change(selection, value.queue_limit);
    this.lanes.delete(name);
    await known?.lane.stop();
    if (this.progress.places(name) === null) this.progress.begin(name, lastIds(this.options));
    const { store, notifications, log, outbound, directory } = this.options;
    const lane = new Lane({
      name,
      destination: await openDestination(settings, { identity, outbound, directory }),
      selection,
      queue_limit: value.queue_limit,
      store,
      notifications,
      progress: this.progress,
      appliance: this.appliance,
      timing: this.timing,
      log,
    });
    this.lanes.set(name, { made_of, lane });
    lane.start();
  }
}

/** What there is by now; a sensor that has no database yet has raised nothing. */
function lastIds({ store, notifications }: Pick<ForwarderOptions, 'store' | 'notifications'>): Record<ItemSource, number> {
  let alerts = 0;
  try {
    alerts = store.reader.lastId('alerts');
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'store_missing') throw error;
  }
  return { alerts, notifications: notifications.newestId() };
}

/**
 * Gives destinations that are new a place behind what is there by now, so that what is raised from now on is theirs, even if the
 * service that forwards is not running. To be called after the settings were changed by another process than that.
 */
export function beginDestinations(options: Pick<ForwarderOptions, 'store' | 'database' | 'settings' | 'notifications'>): void {
  const progress = new ForwardProgress(options.database);
  for (const { name, enabled } of options.settings.read(FORWARDING).value.destinations)
    if (enabled && progress.places(name) === null) progress.begin(name, lastIds(options));
}

/** For a process that does not forward itself: the one that does tries it again within a poll. Throws OperatingError `not_found`. */
export function askRetry(name: string, { database, settings }: Pick<ForwarderOptions, 'database' | 'settings'>): void {
  findDestination(settings, name);
  new ForwardProgress(database).askRetry(name, Date.now());
}

/** The status of all destinations as it is stored, for a process that does not forward itself. */
export function storedStatuses(
  options: Pick<ForwarderOptions, 'store' | 'database' | 'settings' | 'notifications'>,
): DestinationStatus[] {
  const progress = new ForwardProgress(options.database);
  const { destinations, rules, queue_limit } = options.settings.read(FORWARDING).value;
  return destinations.map((one) => {
    const status = storedStatus(one, progress);
    if (progress.places(one.name) === null) return status;
    const waiting = countWaiting(status.cursor, new Selection(rules, one.name), queue_limit, options);
    return { ...status, waiting, state: status.state === 'idle' && waiting > 0 ? 'waiting' : status.state };
  });
}

/** How many items wait behind a place. More than may wait are not counted. */
function countWaiting(
  cursor: DestinationStatus['cursor'],
  selection: Selection,
  queue_limit: number,
  { store, notifications }: Pick<ForwarderOptions, 'store' | 'notifications'>,
): number {
  let waiting = 0;
  const each = <Row extends { id: number }>(
    source: ItemSource,
    read: (after_id: number) => Row[],
    takes: (row: Row) => boolean,
  ) => {
    for (let after_id = cursor[source]; waiting < queue_limit; ) {
      const rows = read(after_id);
      waiting += rows.filter(takes).length;
      if (rows.length < COUNTED_AT_ONCE) return;
      after_id = rows[rows.length - 1].id;
    }
  };
  const limit = COUNTED_AT_ONCE;
  each(
    'notifications',
    (after_id) => notifications.list({ after_id, limit }),
    (row) => selection.takesNotification(row),
  );
  try {
    each(
      'alerts',
      (after_id) => store.reader.alerts({ cursor: after_id, limit }).rows,
      (row) => selection.takesAlert(row),
    );
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'store_missing') throw error;
  }
  return Math.min(waiting, queue_limit);
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
