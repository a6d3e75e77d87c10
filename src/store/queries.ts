import { AlertTexts } from './alert-texts.ts';
import type { AddressRow, AttributeRow, CaptureRow, InterfaceRow, PartRow } from './change-set.ts';
import * as facts from './device-facts.ts';
import * as lists from './lists.ts';
import { ReadConnection } from './read-connection.ts';
import { type Snapshot, snapshot } from './snapshot.ts';
import * as totals from './totals.ts';

export type { DeviceFacts, DeviceMarks, DevicePair, DevicePairFilter } from './device-facts.ts';
export type {
  ActivityFilter,
  AlertFilter,
  ConnectionFilter,
  Cursor,
  DeviceFilter,
  EventFilter,
  FilterOf,
  ListName,
  Page,
  Range,
  RowText,
  StoredActivity,
  StoredAlert,
  StoredConnection,
  StoredDevice,
  StoredEvent,
} from './lists.ts';
export { FILTERS_WITHOUT_INDEX, SORTS, SORTS_WITHOUT_INDEX } from './lists.ts';
export type { Snapshot } from './snapshot.ts';
export { type AlertTotal, type ProtocolTotal, sumOf, sumProtocols } from './totals.ts';

/** Knows of the rows from `low` to `high` which of them may be wanted, and gives their ids some at a time. */
export interface Candidates {
  low: number;
  high: number;
  between: (from: number, to: number, descending: boolean) => Iterable<number[]>;
}

export interface AlertComment {
  id: number;
  alert_id: number;
  time_ms: number;
  author: string;
  text: string;
}

export interface StoredEvidence {
  alert_id: number;
  ordinal: number;
  capture_id: number;
  frame: number;
  seconds: number;
  nanoseconds: number;
  captured: number;
  wire: number;
  link_type: number;
  bytes: Buffer;
}

export type StoredCapture = CaptureRow;

/**
 * Reads the database over a connection that cannot write; beside a running writer it sees whole change sets. All lists are in the order
 * of their ids. One of an earlier version is brought up to date first. Throws `StoreError` as `ReadConnection` does.
 */
export class StoreReader {
  /** For whoever searches alerts for a text again and again; empty until it is filled. */
  readonly alert_texts: AlertTexts;
  readonly #db: ReadConnection;

  constructor(directory: string) {
    this.#db = new ReadConnection(directory);
    this.alert_texts = new AlertTexts(this.#db);
  }

  get file(): string {
    return this.#db.file;
  }

  close(): void {
    this.#db.close();
  }

  devices(filter: lists.DeviceFilter = {}): lists.Page<lists.StoredDevice> {
    return lists.readRows(this.#db, 'devices', filter);
  }

  /** The device, or the one it was merged into; null where there is none of that id. */
  device(id: number): lists.StoredDevice | null {
    const present = this.presentId(id);
    return present === null ? null : (this.devices({ id: present }).rows[0] ?? null);
  }

  /** The id of the device, or of the one it was merged into; null where there is none. */
  presentId(id: number): number | null {
    const found = this.#db.one<{ merged_into: number | null }>('SELECT merged_into FROM devices WHERE id = ?', id);
    if (!found) return null;
    return found.merged_into === null ? id : this.presentId(found.merged_into);
  }

  interfaces(device: number): InterfaceRow[] {
    return this.#db.all<InterfaceRow>(
      'SELECT * FROM interfaces WHERE device_id = ? ORDER BY first_ms, segment, mac',
      [device],
      ['router'],
    );
  }

  /** All it ever had; `current` tells those it has now. */
  addresses(device: number): AddressRow[] {
    return this.#db.all<AddressRow>(
      'SELECT * FROM addresses WHERE device_id = ? ORDER BY first_ms, ip, segment',
      [device],
      ['current'],
    );
  }

  attributes(device: number): AttributeRow[] {
    const order = 'ORDER BY part, attribute, preferred DESC, current DESC, last_ms DESC, app_proto, field, value';
    return this.#db.all<AttributeRow>(
      `SELECT * FROM attributes WHERE device_id = ? ${order}`,
      [device],
      ['current', 'preferred'],
    );
  }

  parts(device: number): PartRow[] {
    return this.#db.all<PartRow>('SELECT * FROM parts WHERE device_id = ? ORDER BY kind, number, part', [device]);
  }

  connections(filter: lists.ConnectionFilter = {}): lists.Page<lists.StoredConnection> {
    return lists.readRows(this.#db, 'connections', filter);
  }

  activities(filter: lists.ActivityFilter = {}): lists.Page<lists.StoredActivity> {
    return lists.readRows(this.#db, 'activities', filter);
  }

  alerts(filter: lists.AlertFilter = {}): lists.Page<lists.StoredAlert> {
    return lists.readRows(this.#db, 'alerts', filter);
  }

  events(filter: lists.EventFilter = {}): lists.Page<lists.StoredEvent> {
    return lists.readRows(this.#db, 'events', filter);
  }

  /**
   * The same lists as they are shown to people: each row as JSON of these fields, in this order. Devices have what people said of them,
   * `authorized`, `scanner` and `note`, alerts `engine` and `category`.
   */
  texts<Name extends lists.ListName>(
    name: Name,
    filter: lists.FilterOf<Name>,
    fields: readonly string[],
  ): lists.Page<lists.RowText> {
    return lists.readTexts(this.#db, name, filter, fields);
  }

  /** Which rows of a list may hold a text, from `low` to `high`: as far as that is known. */
  candidates(name: lists.ListName, text: string): Candidates | undefined {
    // To LIKE a text ends at a NUL.
    if (name !== 'alerts' || text === '' || text.includes('\0')) return undefined;
    const { low, high } = this.alert_texts;
    return { low, high, between: (from, to, descending) => this.alert_texts.candidates(text, from, to, descending) };
  }

  comments(alert: number): AlertComment[] {
    return this.#db.all<AlertComment>('SELECT * FROM alert_comments WHERE alert_id = ? ORDER BY id', [alert]);
  }

  /** Pairs of devices that talk, each once with all their conversations. */
  devicePairs(filter: facts.DevicePairFilter): facts.DevicePair[] {
    return facts.devicePairs(this.#db, filter);
  }

  /** Of these devices: what they speak, what they say of themselves, whether DHCP gave an address. */
  deviceFacts(devices: readonly number[]): facts.DeviceFacts {
    return facts.deviceFacts(this.#db, devices);
  }

  /** The highest id of a list; 0 where it is empty. */
  lastId(table: lists.ListName): number {
    return this.#db.one<{ n: number }>(`SELECT coalesce(max(id), 0) AS n FROM ${table}`)!.n;
  }

  /** Changes with every change set and every change by people: what was read is old when it is another. */
  version(): number {
    return this.#db.version();
  }

  /** The packets behind an alert, in the order of capture. */
  evidence(alert: number): StoredEvidence[] {
    const order = 'ORDER BY seconds, nanoseconds, frame, ordinal';
    return this.#db.all<StoredEvidence>(`SELECT * FROM evidence WHERE alert_id = ? ${order}`, [alert]);
  }

  captures(): StoredCapture[] {
    return this.#db.all<StoredCapture>('SELECT * FROM captures ORDER BY id', [], ['finished'], ['counters', 'warnings']);
  }

  /** What was spoken, the most packets first. */
  protocolTotals(): totals.ProtocolTotal[] {
    return totals.protocolTotals(this.#db);
  }

  /** In pieces of so many connections, to be put together by `sumProtocols`: for whoever must not be held up by half a million. */
  protocolSlices(connections: number): Generator<totals.ProtocolTotal[]> {
    return totals.protocolSlices(this.#db, connections);
  }

  /** Alerts of each kind there is, and how often they were raised. */
  alertTotals(): totals.AlertTotal[] {
    return totals.alertTotals(this.#db);
  }

  /** Open alerts by severity. */
  openAlerts(): Record<string, number> {
    return totals.openAlerts(this.#db);
  }

  /** The same in pieces of so many ids, to be put together by `sumOf`. */
  openAlertSlices(ids: number): Generator<Record<string, number>> {
    return totals.openAlertSlices(this.#db, ids);
  }

  /** Rows of each table. */
  totals(): Record<string, number> {
    return totals.totals(this.#db);
  }

  /** Rows of the tables that people ask for, at little cost whatever their size. */
  quickTotals(): Record<string, number> {
    return totals.quickTotals(this.#db);
  }

  /** The state after the last change set, as long as nothing is written: for whoever is about to write. */
  snapshot(): Snapshot {
    return snapshot(this.#db);
  }
}
