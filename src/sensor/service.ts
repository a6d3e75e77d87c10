import { exclusionsOf } from '../appliance/exclusions.ts';
import { filterOf } from '../capture/filter.ts';
import { type LiveCapture, openLive } from '../capture/open-live.ts';
import { type Config, recordingOf } from '../config.ts';
import { type BatchSink, Pipeline, type PipelineTotals } from '../engine/pipeline.ts';
import type { PoolOptions } from '../engine/pool.ts';
import { SHED_MEANINGS, ShedControl } from '../engine/shedding.ts';
import type { log as theLog } from '../log.ts';
import type { PolicyModel } from '../policy/conduits.ts';
import { newTags } from '../recording/tag.ts';
import { StoreWriter } from '../store/store-writer.ts';
import { type Account, accountOf, accountText, type FinalAccount, finalAccount } from './account.ts';
import type { Collection } from './collection.ts';
import type { PortWatch } from './port-watch.ts';
import { becomeUser } from './privileges.ts';

/** How long what was found may wait before it is stored, and how often the capture's own counts are kept, and logged. */
const FLUSH_MS = 1000;
const KEEP_MS = 10_000;
const EXCLUSIONS_MS = 2000;
const LOG_MS = 60_000;
/** How often it is looked how much waits. */
const LOOK_MS = 200;
/** What the kernel's ring needs a packet besides its bytes. */
const RING_OVERHEAD = 80;

type Log = typeof theLog;

export interface ServiceResult extends PipelineTotals {
  capture_id: number;
  account: FinalAccount;
  counters: Record<string, number>;
}

/** Reads a zone policy; null where the path is ''. Throws OperatingError, with the faults. */
export type PolicyLoader = (path: string) => Promise<PolicyModel | null>;

/**
 * The sensor as a service: interfaces → batches → shards → collection → store, until it is stopped. What goes on with an interface, and
 * what is lost, is in the log.
 */
export class Service {
  /** Resolves when everything that came before `stop` is stored. */
  readonly finished: Promise<ServiceResult>;
  private config: Config;
  private readonly source: LiveCapture;
  private readonly pipeline: Pipeline;
  private readonly collection: Collection;
  private readonly policyOf: PolicyLoader;
  private frames = 0;
  private flushed_frames = 0;
  private flows_said = true;
  private stopping = false;
  private failure: { error: unknown } | null = null;
  private readonly shedding: ShedControl;
  private ports: PortWatch | null = null;
  /** Packets lost until it was looked last. */
  private dropped = 0;
  private exclusions_version = 0;

  /**
   * Capture begins as soon as the interfaces are open, before all else is loaded: what comes meanwhile waits in the kernel's rings.
   * Throws LiveCaptureError, PcapUnavailableError, StoreError, OperatingError.
   */
  static async start(config: Config, policyOf: PolicyLoader, engine: Pick<PoolOptions, 'dissectors'> = {}): Promise<Service> {
    const { data, shards, user, capture, watchdog, overload } = config;
    const recording = recordingOf(config);
    const tags = recording === null ? undefined : newTags();
    const pipeline = new Pipeline({
      ...{ shards, output: 'facts', protocols: null, tags },
      ...{ hang_seconds: watchdog.hang_seconds, bulk_bytes: overload.bulk_bytes },
      ...engine,
    });
    const store = new StoreWriter();
    let source: LiveCapture | undefined;
    let in_use: { close(): void } | undefined;
    try {
      const { log } = await import('../log.ts');
      source = await openLive({
        backend: capture.backend,
        user,
        interfaces: capture.interfaces.map((settings) => ({ ...settings, filter: filterOf(settings) })),
        timeout_ms: capture.timeout_ms,
        onEvent: (interface_, state, message) =>
          message === ''
            ? log.info({ interface: interface_, state }, 'interface')
            : log.warn({ interface: interface_, state }, message),
      });
      const no_longer_root = user !== '' && becomeUser(user);
      log.info({ interfaces: source.name, backend: source.backend }, 'capturing');
      if (no_longer_root)
        log.warn({ user }, 'no longer root: an interface that goes away can only be opened again by a new start');
      for (const limitation of source.limitations) log.warn({ backend: source.backend }, limitation);
      const opened = import('../backup/restore.ts').then(({ useData }) => {
        // A restore that waits is done before the database is opened, and none begins while we use it.
        in_use = useData(data);
        return store.open(data);
      });
      const [policy, { Collection }] = await Promise.all([policyOf(config.zones), import('./collection.ts'), opened]);
      const collection = new Collection(data, store, await zonesOf(policy));
      if (recording !== null && tags !== undefined) {
        const { Recorder } = await import('../recording/recorder.ts');
        const interface_names = capture.interfaces.map(({ name }) => name);
        const { capture_id } = collection;
        collection.recorder = new Recorder(pipeline.ring, tags, { ...recording, capture_id, interface_names });
      }
      const service = new Service(config, source, pipeline, store, collection, policyOf, policy);
      const done = () => in_use?.close();
      service.finished.then(done, done);
      return service;
    } catch (error) {
      source?.close();
      await Promise.all([pipeline.close(), store.close(), source?.finished()]);
      in_use?.close();
      throw error;
    }
  }

  private constructor(
    config: Config,
    source: LiveCapture,
    pipeline: Pipeline,
    store: StoreWriter,
    collection: Collection,
    policyOf: PolicyLoader,
    policy: PolicyModel | null,
  ) {
    this.config = config;
    this.source = source;
    this.pipeline = pipeline;
    this.collection = collection;
    this.policyOf = policyOf;
    this.shedding = new ShedControl(config.overload);
    this.finished = this.run(store, policy);
  }

  /** Receives nothing more; what was received is worked through and stored. */
  stop(): void {
    this.stopping = true;
    this.source.stop();
  }

  /**
   * Zones and filters of another configuration hold from here on; no packet is lost for it. Throws OperatingError where it cannot be taken
   * over, and leaves everything as it was. What needs a new start is named in the answer.
   */
  async reload(config: Config): Promise<{ needs_restart: string[] }> {
    const policy = await this.policyOf(config.zones);
    const zoneOf = await zonesOf(policy);
    const known = new Map(this.config.capture.interfaces.map((settings) => [settings.name, filterOf(settings)]));
    const changed: string[] = [];
    try {
      for (const settings of config.capture.interfaces) {
        const filter = filterOf(settings);
        if (!known.has(settings.name) || known.get(settings.name) === filter) continue;
        await this.source.setFilter(settings.name, filter);
        changed.push(settings.name);
      }
    } catch (error) {
      for (const name of changed) await this.source.setFilter(name, known.get(name)!);
      throw error;
    }
    await this.pipeline.setPolicy(policy);
    this.collection.setZones(zoneOf);
    const needs_restart = restartNeeded(this.config, config);
    this.config = config;
    return { needs_restart };
  }

  private async run(store: StoreWriter, policy: PolicyModel | null): Promise<ServiceResult> {
    const { collection, pipeline } = this;
    const { log } = await import('../log.ts');
    this.readExclusions(log);
    this.ports = await this.watchPorts();
    const timers = [
      setInterval(() => this.ports?.look(Date.now(), this.shedding.level > 0), FLUSH_MS),
      setInterval(() => this.flush().catch((error) => this.fail(error)), FLUSH_MS),
      setInterval(() => this.keep(null, false).catch((error) => this.fail(error)), KEEP_MS),
      setInterval(() => this.readExclusions(log), EXCLUSIONS_MS),
      setInterval(() => log.info(this.account(), 'packets'), LOG_MS),
      setInterval(() => this.look(log), LOOK_MS),
    ];
    try {
      const totals = await this.capture(policy, timers);
      const account = finalAccount(this.account());
      if (account.unaccounted !== 0) log.error(account, 'packets do not add up; please report it');
      log.info(account, accountText(account));
      return { ...totals, capture_id: collection.capture_id, account, counters: collection.counters() };
    } finally {
      await Promise.all([pipeline.close(), store.close()]);
    }
  }

  /** To the end, whichever way it comes; then the interfaces are closed and the account is final and kept. */
  private async capture(policy: PolicyModel | null, timers: NodeJS.Timeout[]): Promise<PipelineTotals> {
    const { collection, source } = this;
    const sink: BatchSink = (answers, task, ring) => {
      this.frames = task.range.first_frame + task.range.count - 1;
      this.ports?.take(task.range);
      return collection.sink(answers, task, ring);
    };
    let totals: PipelineTotals | null = null;
    try {
      totals = await this.pipeline.run(source, sink, { policy, shed: () => this.shedding.level });
      if (this.failure !== null) throw this.failure.error;
      return totals;
    } finally {
      for (const timer of timers) clearInterval(timer);
      source.close();
      await source.finished();
      await collection.recorder?.close();
      await this.keep(totals, totals !== null && this.stopping).finally(() => collection.close());
    }
  }

  /** What a timer came upon, such as a store that is full, ends the run as if the pipeline had: nothing is lost in silence. */
  private fail(error: unknown): void {
    this.failure ??= { error };
    this.source.stop();
  }

  /** Leaves work undone, in a stated order, when more waits than can be worked through; and says so. */
  private look(log: Log): void {
    const before = this.shedding.level;
    const fill = this.fill();
    const level = this.shedding.update(fill, performance.now());
    if (level === before) return;
    const fields = { level, before, fill: Number(fill.toFixed(2)), left_out: SHED_MEANINGS[level] };
    this.collection.overload(level, before, SHED_MEANINGS[level]);
    if (level > before) {
      log.warn(fields, 'the sensor cannot keep up, and leaves work undone');
    } else log.info(fields, level === 0 ? 'the sensor keeps up again' : 'the sensor leaves less work undone');
  }

  /** How full the fullest of the kernel's rings is, 0 to 1, by what has been received and not yet read; one that runs over is full. */
  private fill(): number {
    let fullest = 0;
    let dropped_in_all = 0;
    for (const { name, received, handed_over, handed_over_bytes, dropped_by_kernel, dropped_by_us } of this.source.statistics()) {
      const settings = this.config.capture.interfaces.find((one) => one.name === name);
      if (settings === undefined || handed_over === 0) continue;
      const dropped = dropped_by_kernel + Object.values(dropped_by_us).reduce((sum, count) => sum + count, 0);
      dropped_in_all += dropped;
      const waiting = received - handed_over - dropped;
      fullest = Math.max(fullest, (waiting * (handed_over_bytes / handed_over + RING_OVERHEAD)) / settings.buffer_bytes);
    }
    if (dropped_in_all > this.dropped) fullest = 1;
    this.dropped = dropped_in_all;
    return Math.min(fullest, 1);
  }

  /** What people exclude from alerts is kept by the service beside us; without a new version nothing is done. */
  private readExclusions(log: Log): void {
    const found = exclusionsOf(this.config.data, this.exclusions_version);
    if (found === null) return;
    this.exclusions_version = found.version;
    this.collection.setExclusions(found.rules);
    log.info({ version: found.version, exclusions: found.rules.length }, 'exclusions hold');
  }

  private async watchPorts(): Promise<PortWatch> {
    const [{ PortWatch, keepPorts }, { listPorts }] = await Promise.all([
      import('./port-watch.ts'),
      import('../capture/port-list.ts'),
    ]);
    const { source, pipeline } = this;
    return new PortWatch({
      ring: pipeline.ring,
      ports: () => {
        const present = listPorts();
        return source.statistics().map(({ name, filter }) => {
          const { mac = null, mtu = null, link = null } = present.find((port) => port.name === name) ?? {};
          return { name, mac, mtu, link, filtered: filter !== '' };
        });
      },
      statistics: () => source.statistics(),
      counts_drops: source.backend === 'libpcap',
      keep: (ports) => keepPorts(this.config.data, ports),
    });
  }

  private account(): Account {
    return accountOf(this.source.statistics(), this.collection.inspected, this.collection.lost, this.collection.headers_only);
  }

  private keep(totals: PipelineTotals | null, finished: boolean): Promise<void> {
    return this.collection.keep(this.source.name, this.source, totals, finished, this.account().counters);
  }

  /** By the wall clock, since a mirror port may fall silent: findings are stored, and when it has, the counts of all flows too. */
  private async flush(): Promise<void> {
    const silent = this.frames === this.flushed_frames;
    if (silent && this.flows_said) return;
    this.flows_said = silent;
    this.flushed_frames = this.frames;
    await this.pipeline.flush({ say_flows: silent });
  }
}

async function zonesOf(policy: PolicyModel | null) {
  return policy === null ? undefined : (await import('./zone-of.ts')).zonesOf(policy);
}

/** Names of the settings that differ and are only read at start. */
function restartNeeded(before: Config, after: Config): string[] {
  const fixed = ({ data, shards, user, log, capture, watchdog, overload, recording }: Config): Record<string, unknown> => ({
    data,
    shards,
    user,
    'log.level': log.level,
    'capture.backend': capture.backend,
    'capture.timeout_ms': capture.timeout_ms,
    watchdog,
    overload,
    recording,
    'capture.interfaces': capture.interfaces.map(({ filter: _, include: _i, exclude: _e, ...rest }) => rest),
  });
  const [old, new_] = [fixed(before), fixed(after)];
  return Object.keys(old).filter((key) => JSON.stringify(old[key]) !== JSON.stringify(new_[key]));
}
