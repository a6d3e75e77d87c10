import { StoreError } from '../store/errors.ts';
import type { Notifications } from './notifications.ts';
import type { StoreAccess } from './store-access.ts';

const AT_ONCE = 200;

/** How far a listener has got in each of the three lists. */
export interface Position {
  alert: number;
  event: number;
  notification: number;
}

export interface NewsSources {
  store: StoreAccess;
  notifications: Notifications;
}

/** Something new, and the position behind it. */
export type News = { position: Position } & (
  | { event: 'alert'; data: ReturnType<StoreAccess['reader']['alerts']>['rows'][number] }
  | { event: 'event'; data: object }
  | { event: 'notification'; data: object }
);

export const positionText = ({ alert, event, notification }: Position): string => `${alert}.${event}.${notification}`;

/** null: it is no position. */
export function positionOf(text: string | string[] | undefined): Position | null {
  const match = /^(\d{1,15})\.(\d{1,15})\.(\d{1,15})$/.exec(String(text ?? ''));
  return match === null ? null : { alert: Number(match[1]), event: Number(match[2]), notification: Number(match[3]) };
}

/** Behind all there is by now. Throws StoreError. */
export function newestPosition({ store, notifications }: NewsSources): Position {
  const notification = notifications.newestId();
  try {
    const last = { limit: 1, descending: true };
    return {
      alert: store.reader.alerts(last).rows[0]?.id ?? 0,
      event: store.reader.events(last).rows[0]?.id ?? 0,
      notification,
    };
  } catch (error) {
    if (error instanceof StoreError && error.code === 'store_missing') return { alert: 0, event: 0, notification };
    throw error;
  }
}

/** What came after the position, which moves along; some hundreds at most, the rest with the next call. Throws StoreError. */
export function* newsSince({ store, notifications }: NewsSources, position: Position): Generator<News> {
  for (const row of store.reader.alerts({ limit: AT_ONCE, cursor: position.alert }).rows) {
    position.alert = row.id;
    yield { event: 'alert', position, data: row };
  }
  for (const row of store.reader.events({ limit: AT_ONCE, cursor: position.event }).rows) {
    position.event = row.id;
    yield { event: 'event', position, data: row };
  }
  for (const row of notifications.list({ after_id: position.notification, limit: AT_ONCE })) {
    position.notification = row.id;
    yield { event: 'notification', position, data: row };
  }
}
