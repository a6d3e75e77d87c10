import fs from 'node:fs';
import { Type } from 'typebox';
import { log } from '../log.ts';
import { defineSettings, type Settings } from './settings.ts';
import type { StoreAccess } from './store-access.ts';

const Days = (standing: number, description: string) =>
  Type.Integer({ minimum: 0, maximum: 36_500, default: standing, description });

export const RETENTION = defineSettings({
  name: 'retention',
  description:
    'How long what was found is kept, so that a disk that fills up never stops the sensor. Recordings have limits of their own, in the file of `run`.',
  schema: Type.Object(
    {
      alert_days: Days(730, 'Alerts that were not found again for so long go, with their packets; 0: never.'),
      event_days: Days(365, 'Events older than that go; 0: never.'),
      database_percent: Type.Integer({
        minimum: 1,
        maximum: 95,
        default: 50,
        description:
          'Of the volume: what the database may take. Beyond that the oldest events and alerts go, however old they are.',
      }),
    },
    { additionalProperties: false },
  ),
});

const DAY_MS = 86_400_000;
/** At once, and the pause after it: neither the sensor's own writing nor an answer of the API waits long. */
const BATCH = 100;
const PAUSE_MS = 20;
/** In one round; the rest in the next. */
const MAX_BATCHES = 2000;

/** What one round deleted. */
export interface Pruned {
  alerts: number;
  events: number;
}

/** Deletes what is too old, and the oldest where there is too much. */
export class Retention {
  private readonly settings: Settings;
  private readonly store: StoreAccess;
  private readonly directory: string;
  private readonly now_ms: () => number;
  private stopped = false;

  constructor(settings: Settings, store: StoreAccess, directory: string, now_ms: () => number = Date.now) {
    this.settings = settings;
    this.store = store;
    this.directory = directory;
    this.now_ms = now_ms;
  }

  /** Ends the round that is under way after its present batch. */
  stop(): void {
    this.stopped = true;
  }

  /** One round; gives way to other work between batches. Throws StoreError. */
  async prune(volume_bytes = this.volumeBytes()): Promise<Pruned> {
    const { alert_days, event_days, database_percent } = this.settings.read(RETENTION).value;
    const { operator } = this.store;
    const pruned: Pruned = { alerts: 0, events: 0 };
    const now = this.now_ms();
    let left = MAX_BATCHES;
    const all = async (name: keyof Pruned, act: () => number) => {
      for (let count = BATCH; count === BATCH && left > 0 && !this.stopped; left--) {
        count = act();
        pruned[name] += count;
        await pause();
      }
    };
    if (alert_days > 0) await all('alerts', () => operator.pruneAlerts(now - alert_days * DAY_MS, BATCH));
    if (event_days > 0) await all('events', () => operator.pruneEvents(now - event_days * DAY_MS, BATCH));
    const limit = (volume_bytes * database_percent) / 100;
    for (; left > 0 && !this.stopped && operator.usedBytes() > limit; left--) {
      const events = operator.pruneEvents(Number.POSITIVE_INFINITY, BATCH);
      const alerts = operator.pruneAlerts(Number.POSITIVE_INFINITY, BATCH);
      pruned.events += events;
      pruned.alerts += alerts;
      if (events + alerts === 0) break;
      await pause();
    }
    if (pruned.alerts + pruned.events > 0) log.info({ ...pruned }, 'what is too old, or too much, was deleted');
    return pruned;
  }

  private volumeBytes(): number {
    const { blocks, bsize } = fs.statfsSync(this.directory);
    return blocks * bsize;
  }
}

const pause = () => new Promise<void>((resolve) => setTimeout(resolve, PAUSE_MS));
