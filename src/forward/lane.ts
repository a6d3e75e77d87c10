import { setTimeout as sleep } from 'node:timers/promises';
import type { Notifications, SystemNotification } from '../appliance/notifications.ts';
import type { StoreAccess } from '../appliance/store-access.ts';
import { StoreError } from '../store/errors.ts';
import type { StoredAlert, StoredDevice } from '../store/queries.ts';
import type { Delivery, Destination } from './destinations/destination.ts';
import { type ForwardItem, type ItemSource, itemOfAlert, itemOfNotification, SOURCES } from './item.ts';
import type { Fortune, ForwardProgress, Places } from './progress.ts';
import type { Selection } from './rules.ts';

/** How a destination is tried again; all in ms. */
export interface Timing {
  /** How often it is looked whether there is something new. */
  poll_ms: number;
  /** After the first failure; it doubles, and each is drawn between half of it and all. */
  first_retry_ms: number;
  most_retry_ms: number;
  /** A notification is raised when it has failed for so long. */
  failed_after_ms: number;
}

export const TIMING: Timing = { poll_ms: 500, first_retry_ms: 1000, most_retry_ms: 300_000, failed_after_ms: 60_000 };

export interface Log {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}

export interface LaneOptions {
  name: string;
  destination: Destination;
  selection: Selection;
  queue_limit: number;
  /** The sensor's database, as it is now. */
  store: StoreAccess;
  notifications: Notifications;
  progress: ForwardProgress;
  appliance: string;
  timing: Timing;
  log: Log;
}

export type LaneState = 'idle' | 'waiting' | 'failing';

type Row = { source: 'alerts'; row: StoredAlert } | { source: 'notifications'; row: SystemNotification };

const PAGE = 500;
/** Looked through in one go for what is meant for the destination. */
const PAGES_AT_ONCE = 10;
/** What is no loss when it is forgotten is written down no more often: a place that only moved over what is not meant for the destination, the last success. */
const LAZY_MS = 10_000;
/** That the queue runs over is said no more often than this. */
const SAY_DROPPED_MS = 60_000;

/**
 * One destination at work, by itself. Its queue is the database: it keeps the id of the last item that is done with, and goes on behind
 * it. That moves when the other side has taken items, so they arrive at least once, and in the order of their ids.
 */
export class Lane {
  private readonly options: LaneOptions;
  private selection: Selection;
  private queue_limit: number;
  private readonly places: Places;
  /** Up to where it has been counted what waits, and how many do. */
  private readonly counted: Record<ItemSource, number>;
  private readonly waiting: Record<ItemSource, number> = { alerts: 0, notifications: 0 };
  private fortune: Fortune;
  private attempts = 0;
  private next_try_ms = 0;
  /** Since when something waits; 0: nothing does. */
  private since_ms = 0;
  private readonly written_ms: Record<ItemSource, number> = { alerts: 0, notifications: 0 };
  private fortune_ms = 0;
  private said_dropped_ms = 0;
  /** Open notifications of an earlier run are resolved by the first success, too. */
  private resolve_failed = true;
  private resolve_dropped = true;
  /** Sources whose database fails, which has been said. */
  private readonly told = new Set<ItemSource>();
  private readonly stopping = new AbortController();
  private wake: (() => void) | null = null;
  private running: Promise<void> | null = null;

  /** The destination must have a place (`ForwardProgress.begin`). */
  constructor(options: LaneOptions) {
    this.options = options;
    this.selection = options.selection;
    this.queue_limit = options.queue_limit;
    const places = options.progress.places(options.name);
    if (places === null) throw new Error(`the destination ${options.name} has no place`);
    this.places = places;
    this.counted = { alerts: places.alerts.position, notifications: places.notifications.position };
    this.fortune = { ...options.progress.fortune(options.name) };
  }

  start(): void {
    this.running ??= this.run();
  }

  /** Looks at once whether there is something new. */
  poke(): void {
    this.wake?.();
  }

  /** Tries again at once. */
  retry(): void {
    this.next_try_ms = 0;
    this.poke();
  }

  /** From now on other items go there. What waits is counted anew. */
  change(selection: Selection, queue_limit: number): void {
    this.selection = selection;
    this.queue_limit = queue_limit;
    for (const source of SOURCES) {
      this.counted[source] = this.places[source].position;
      this.waiting[source] = 0;
    }
    this.poke();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    this.poke();
    await this.options.destination.close();
    await this.running;
    for (const source of SOURCES) this.write(source);
    this.storeFortune();
  }

  status(): { state: LaneState; waiting: number; next_try_ms: number; places: Places; fortune: Fortune } {
    const waiting = this.waiting.alerts + this.waiting.notifications;
    const state = this.fortune.failing_since_ms > 0 ? 'failing' : waiting > 0 ? 'waiting' : 'idle';
    return {
      state,
      waiting,
      next_try_ms: state === 'failing' ? this.next_try_ms : 0,
      places: this.places,
      fortune: this.fortune,
    };
  }

  private get stopped(): boolean {
    return this.stopping.signal.aborted;
  }

  private async run(): Promise<void> {
    while (!this.stopped) {
      let pause_ms = this.options.timing.poll_ms;
      for (const source of SOURCES) pause_ms = Math.min(pause_ms, await this.serve(source));
      await this.pause(pause_ms);
    }
  }

  /** What can be sent of one source is. Returns after how long to look again. */
  private async serve(source: ItemSource): Promise<number> {
    try {
      await this.count(source);
      const again_ms = Date.now() < this.next_try_ms ? Number.POSITIVE_INFINITY : await this.sendAll(source);
      this.told.delete(source);
      return again_ms;
    } catch (error) {
      // A database cannot be read or written: whoever it belongs to sees to it, and we come back. The other source goes on.
      const { name, log } = this.options;
      if (!this.told.has(source))
        log.warn({ destination: name, source, error: (error as Error).message }, 'forwarding waits for a database');
      this.told.add(source);
      return Number.POSITIVE_INFINITY;
    }
  }

  private async pause(pause_ms: number): Promise<void> {
    if (this.stopped) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, pause_ms);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.wake = null;
  }

  /** Sends what waits. Returns after how long to look again, where it is sooner than usual. */
  private async sendAll(source: ItemSource): Promise<number> {
    while (!this.stopped) {
      const { items, last, end } = this.batch(source);
      if (items.length === 0) {
        this.move(source, last, 0);
        if (end) break;
        continue;
      }
      const hold_ms = this.options.destination.holdMs?.(this.waiting[source], this.since_ms, Date.now()) ?? 0;
      if (hold_ms > 0) return hold_ms;
      const { taken, fault } = await this.deliver(items);
      if (taken > 0) this.move(source, taken === items.length ? last : items[taken - 1].id, taken);
      if (this.stopped) break;
      if (taken < items.length) {
        this.failed(fault ?? 'it did not take everything, and did not say why');
        break;
      }
      this.succeeded();
      await this.count(source);
    }
    return Number.POSITIVE_INFINITY;
  }

  private async deliver(items: readonly ForwardItem[]): Promise<Delivery> {
    try {
      return await this.options.destination.send(items);
    } catch (error) {
      if (!this.stopped)
        this.options.log.error(
          { destination: this.options.name, stack: (error as Error).stack },
          'a destination failed; please report it',
        );
      return { taken: 0, fault: (error as Error).message, said: '' };
    }
  }

  /** What is next of what has been counted. `last`: the id up to which everything was looked at; `end`: there is no more behind it. */
  private batch(source: ItemSource): { items: ForwardItem[]; last: number; end: boolean } {
    const items: ForwardItem[] = [];
    const devices = new Map<number, StoredDevice | null>();
    let last = this.places[source].position;
    if (last === this.counted[source]) return { items, last, end: true };
    for (let pages = 0; pages < PAGES_AT_ONCE; pages++) {
      const rows = this.page(source, last).filter(({ row }) => row.id <= this.counted[source]);
      for (const row of rows) {
        if (items.length === this.options.destination.batch) return { items, last, end: false };
        last = row.row.id;
        if (this.takes(row)) items.push(this.itemOf(row, devices));
      }
      if (rows.length < PAGE) return { items, last, end: true };
    }
    return { items, last, end: false };
  }

  private page(source: ItemSource, after_id: number): Row[] {
    if (source === 'notifications')
      return this.options.notifications.list({ after_id, limit: PAGE }).map((row) => ({ source, row }));
    return this.options.store.reader.alerts({ cursor: after_id, limit: PAGE }).rows.map((row) => ({ source, row }));
  }

  private takes(row: Row): boolean {
    return row.source === 'alerts' ? this.selection.takesAlert(row.row) : this.selection.takesNotification(row.row);
  }

  private itemOf(row: Row, devices: Map<number, StoredDevice | null>): ForwardItem {
    const { appliance } = this.options;
    if (row.source === 'notifications') return itemOfNotification(row.row, appliance);
    return itemOfAlert(row.row, appliance, (id) => {
      const known = devices.get(id) ?? this.options.store.reader.device(id);
      devices.set(id, known);
      return known;
    });
  }

  /** Looks at what is new, and leaves the oldest out where more waits than may. */
  private async count(source: ItemSource): Promise<void> {
    const last = this.newestId(source);
    if (last === null) return;
    if (last < this.places[source].position) this.startOver(source);
    while (this.counted[source] < last && !this.stopped) {
      const rows = this.page(source, this.counted[source]);
      if (rows.length === 0) break;
      this.counted[source] = rows[rows.length - 1].row.id;
      this.waiting[source] += rows.filter((row) => this.takes(row)).length;
      if (this.waiting[source] > 0 && this.since_ms === 0) this.since_ms = Date.now();
      if (this.waiting[source] > this.queue_limit) this.drop(source);
      if (rows.length === PAGE) await sleep(0);
    }
  }

  /** null: the sensor has no database yet. */
  private newestId(source: ItemSource): number | null {
    if (source === 'notifications') return this.options.notifications.newestId();
    try {
      return this.options.store.reader.lastId('alerts');
    } catch (error) {
      if (error instanceof StoreError && error.code === 'store_missing') return null;
      throw error;
    }
  }

  /** Ids only grow: the database was replaced by another one, of which nothing has been forwarded. */
  private startOver(source: ItemSource): void {
    this.options.log.warn(
      { destination: this.options.name, source },
      'the database was replaced: forwarding begins at its first row',
    );
    const place = this.places[source];
    place.position = 0;
    this.counted[source] = 0;
    this.waiting[source] = 0;
    this.options.progress.move(this.options.name, source, place);
  }

  private drop(source: ItemSource): void {
    const place = this.places[source];
    let surplus = this.waiting[source] - this.queue_limit;
    place.dropped += surplus;
    while (surplus > 0) {
      const rows = this.page(source, place.position);
      for (const row of rows) {
        if (surplus === 0) break;
        place.position = row.row.id;
        if (this.takes(row)) surplus--;
      }
      // Rows that were counted are gone from the database.
      if (rows.length === 0) break;
    }
    this.waiting[source] = this.queue_limit;
    this.options.progress.move(this.options.name, source, place);
    if (Date.now() - this.said_dropped_ms < SAY_DROPPED_MS) return;
    this.said_dropped_ms = Date.now();
    this.resolve_dropped = true;
    const { name, notifications } = this.options;
    notifications.raise(
      'forwarding_dropped',
      name,
      `More than ${this.queue_limit} ${source} waited for the destination ${name}.`,
      {
        destination: name,
        dropped: this.places.alerts.dropped + this.places.notifications.dropped,
      },
    );
  }

  private move(source: ItemSource, position: number, sent: number): void {
    const place = this.places[source];
    if (position === place.position && sent === 0) return;
    place.position = Math.max(place.position, position);
    place.sent += sent;
    this.waiting[source] -= sent;
    if (sent > 0) this.since_ms = this.waiting.alerts + this.waiting.notifications > 0 ? Date.now() : 0;
    if (sent > 0 || Date.now() - this.written_ms[source] > LAZY_MS) this.write(source);
  }

  private write(source: ItemSource): void {
    this.written_ms[source] = Date.now();
    try {
      this.options.progress.move(this.options.name, source, this.places[source]);
    } catch (error) {
      // It goes on from memory; after a restart some would be sent again.
      this.options.log.warn(
        { destination: this.options.name, error: (error as Error).message },
        'the place of a destination was not stored',
      );
    }
  }

  private failed(fault: string): void {
    const { name, timing, notifications, log } = this.options;
    const now = Date.now();
    const ceiling = Math.min(timing.most_retry_ms, timing.first_retry_ms * 2 ** Math.min(20, this.attempts++));
    this.next_try_ms = now + ceiling * (0.5 + Math.random() / 2);
    if (this.fortune.failing_since_ms === 0) {
      this.fortune.failing_since_ms = now;
      log.warn({ destination: name, fault }, 'a destination does not take what is forwarded to it; it is tried again');
    }
    this.fortune.last_error = fault;
    this.fortune.last_error_ms = now;
    this.storeFortune();
    if (now - this.fortune.failing_since_ms < timing.failed_after_ms) return;
    this.resolve_failed = true;
    const waiting = this.waiting.alerts + this.waiting.notifications;
    notifications.raise('forwarding_failed', name, `The destination ${name} fails: ${fault}.`, {
      destination: name,
      fault,
      waiting,
    });
  }

  private succeeded(): void {
    const { name, notifications, log } = this.options;
    this.attempts = 0;
    this.next_try_ms = 0;
    const failing = this.fortune.failing_since_ms > 0;
    if (failing) log.info({ destination: name }, 'a destination takes again what is forwarded to it');
    this.fortune.failing_since_ms = 0;
    this.fortune.last_success_ms = Date.now();
    // Each write waits for the disk: that it goes on going well need not be written down each time.
    if (failing || this.fortune.last_success_ms - this.fortune_ms > LAZY_MS) this.storeFortune();
    if (this.resolve_failed) notifications.resolve('forwarding_failed', name);
    this.resolve_failed = false;
    if (!this.resolve_dropped || this.waiting.alerts + this.waiting.notifications > 0) return;
    notifications.resolve('forwarding_dropped', name);
    this.resolve_dropped = false;
  }

  private storeFortune(): void {
    this.fortune_ms = Date.now();
    try {
      this.options.progress.setFortune(this.options.name, this.fortune);
    } catch (error) {
      // Only what other processes are told of it is old then.
      const { name, log } = this.options;
      log.warn({ destination: name, error: (error as Error).message }, 'how a destination fares was not stored');
    }
  }
}
