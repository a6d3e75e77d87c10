import type { AlertRow } from '../store/change-set.ts';
import { alertKind, describe } from './catalogue.ts';
import type { Excludes } from './exclusions.ts';

/** One end of what an alert is about. */
export interface AlertEnd {
  mac: string;
  ip: string;
  port: number;
  device: number | null;
}

/** A finding as the book takes it: the packet that caused it, and what it says. */
export interface AlertCause {
  key: string;
  kind: string;
  frame: number;
  time_ms: number;
  source: AlertEnd;
  destination: AlertEnd;
  segment: string;
  proto: string;
  app_proto: string;
  operation: string;
  details: Record<string, string>;
}

const NO_END: AlertEnd = { mac: '', ip: '', port: 0, device: null };

/** Alerts in memory; more kinds of findings than that are counted, and not told apart any more. */
export const MAX_ALERTS = 100_000;

interface Entry {
  row: AlertRow;
  dirty: boolean;
  /** It is about one device, and will hardly come again. */
  of_device: boolean;
}

/**
 * Findings become alerts: the same finding again, from whichever flow or shard, is one alert with a count, a first and a last time.
 * Pure: a function of the findings in packet order.
 */
export class AlertBook {
  readonly counters = { alerts: 0, repeated: 0, refused: 0, excluded: 0 };
  /** What is not to be alerted of. It may be changed at any time, and holds from the next finding on. */
  excludes: Excludes | null = null;
  /** Of findings that were excluded when they came: a shard says what it found once, and counts on. */
  private readonly excluded = new Map<string, AlertCause>();
  /** null: of a device, and handed over. A device that is made known again says all it said before. */
  private readonly entries = new Map<string, Entry | null>();
  private dirty: Entry[] = [];
  private readonly capture_id: number;

  constructor(capture_id: number) {
    this.capture_id = capture_id;
  }

  /** True if this is a new alert of this run, whose evidence is to be kept. */
  raise(cause: AlertCause): boolean {
    return this.take(cause, false);
  }

  private take(cause: AlertCause, of_device: boolean): boolean {
    if (this.excludes?.(cause)) {
      this.counters.excluded++;
      if (this.excluded.size < MAX_ALERTS || this.excluded.has(cause.key)) this.excluded.set(cause.key, cause);
      return false;
    }
    const known = this.entries.get(cause.key);
    if (known) {
      this.repeat(known, 1, cause.frame, cause.time_ms);
      return false;
    }
    if (known === undefined && this.entries.size >= MAX_ALERTS) {
      this.counters.refused++;
      return false;
    }
    const { key, kind, frame, time_ms, source, destination, segment, proto, app_proto, operation, details } = cause;
    const { severity, title, techniques } = alertKind(kind);
    const row: AlertRow = {
      key,
      kind,
      severity,
      title,
      description: describe(kind, details),
      source_mac: source.mac,
      source_ip: source.ip,
      source_port: source.port,
      source_device: source.device,
      source_zone: details.from_zone ?? '',
      destination_mac: destination.mac,
      destination_ip: destination.ip,
      destination_port: destination.port,
      destination_device: destination.device,
      destination_zone: details.to_zone ?? '',
      segment,
      proto,
      app_proto,
      operation,
      technique: techniques.join(', '),
      details,
      count: 1,
      first_ms: time_ms,
      last_ms: time_ms,
      first_frame: frame,
      last_frame: frame,
      capture_id: this.capture_id,
    };
    const entry: Entry = { row, dirty: true, of_device };
    this.entries.set(key, entry);
    this.dirty.push(entry);
    if (known === null) this.counters.repeated++;
    else this.counters.alerts++;
    return known === undefined;
  }

  /** An alert that the inventory causes: about one device. */
  raiseForDevice(
    kind: string,
    key: string,
    frame: number,
    time_ms: number,
    device: number | null,
    details: Record<string, string>,
  ): boolean {
    const source = { ...NO_END, mac: details.mac ?? '', ip: details.ip ?? '', device };
    const segment = details.segment ?? '';
    const cause = {
      key,
      kind,
      frame,
      time_ms,
      source,
      destination: NO_END,
      segment,
      proto: '',
      app_proto: '',
      operation: '',
      details,
    };
    return this.take(cause, true);
  }

  /** Repetitions that a shard has counted. */
  again(key: string, count: number, last_frame: number, last_ms: number): void {
    const known = this.entries.get(key);
    const cause = this.excluded.get(key);
    if (cause !== undefined) {
      const now = { ...cause, frame: last_frame, time_ms: last_ms };
      if (this.excludes?.(now)) {
        this.counters.excluded += count;
        return;
      }
      // It is not excluded any more. Its packets are gone, the finding is not.
      this.excluded.delete(key);
      if (!known) {
        this.take(now, false);
        count--;
      }
    }
    const entry = known ?? this.entries.get(key);
    if (!entry) this.counters.refused += count;
    else if (count > 0) this.repeat(entry, count, last_frame, last_ms);
  }

  private repeat(entry: Entry, count: number, frame: number, time_ms: number): void {
    const { row } = entry;
    this.counters.repeated += count;
    // What is stored keeps its own first time; where it was closed meanwhile, another alert begins here.
    if (row.count === 0) {
      if (time_ms > row.first_ms) row.first_ms = time_ms;
      row.first_frame = frame;
    }
    row.count += count;
    if (frame > row.last_frame) row.last_frame = frame;
    // Stamps may jump back; when it was seen last does not.
    if (time_ms > row.last_ms) row.last_ms = time_ms;
    if (!entry.dirty) {
      entry.dirty = true;
      this.dirty.push(entry);
    }
  }

  /** What is new since the last call; counts are increments. */
  drain(): AlertRow[] {
    const rows = this.dirty.map((entry) => {
      entry.dirty = false;
      if (entry.of_device) {
        this.entries.set(entry.row.key, null);
        return entry.row;
      }
      const row = { ...entry.row };
      entry.row.count = 0;
      return row;
    });
    this.dirty = [];
    return rows;
  }

  get pending(): number {
    return this.dirty.length;
  }
}
