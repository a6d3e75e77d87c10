import type { ObjectRow } from './records.ts';
import type { TypeIdentification } from './types.ts';

/** Objects of a connection that are remembered; the one selected longest ago is forgotten beyond that. */
const MAX_OBJECTS = 64;
/** How long a station keeps a selection is a parameter of its own, mostly 10 to 30 s: one this old holds nowhere. */
const TIMEOUT_MS = 60_000;

/** What is wrong with an execute, for the anomaly's name; '' for nothing. */
export type WrongExecute = '' | 'execute_without_select' | 'execute_mismatch';

interface Selection {
  /** Holds: neither executed nor cancelled, nor timed out. */
  holds: boolean;
  /** It was executed without one. */
  is_direct: boolean;
  type_identification: number;
  value: number;
  command_qualifier: number;
  time_ms: number;
}

/**
 * Select and execute (IEC 60870-5-5, 6.8; IEC 60870-5-101, 7.2.6.26 and 7.2.6.39): the execute repeats what was selected, with S/E 0. An
 * execute without a select before it is a direct command, which the standard has too: whether an object must be selected is the
 * station's own affair. It is wrong where the object was selected before, and the station has not taken a direct command for it.
 */
export class Selections {
  private readonly objects = new Map<number, Selection>();
  /** The object of the last command, where that was a select. */
  private last = -1;
  private holding = 0;
  /** No selection that holds is older. */
  private earliest_ms = 0;

  select(row: ObjectRow, type: TypeIdentification, time_ms: number): void {
    const { objects } = this;
    const key = keyOf(row);
    const known = objects.get(key);
    if (known?.holds) this.holding--;
    else if (known === undefined && objects.size >= MAX_OBJECTS) this.forgetOldest();
    if (this.holding === 0) this.earliest_ms = time_ms;
    objects.delete(key);
    const { type_identification, command_qualifier } = row;
    objects.set(key, {
      holds: true,
      is_direct: false,
      type_identification,
      value: commandOf(row, type),
      command_qualifier,
      time_ms,
    });
    this.holding++;
    this.last = key;
  }

  execute(row: ObjectRow, type: TypeIdentification): WrongExecute {
    const key = keyOf(row);
    const { last } = this;
    this.last = -1;
    const selection = this.objects.get(key);
    if (selection?.holds) {
      this.release(selection);
      const repeats =
        selection.type_identification === row.type_identification &&
        selection.command_qualifier === row.command_qualifier &&
        Object.is(selection.value, commandOf(row, type));
      return repeats ? '' : 'execute_mismatch';
    }
    // Right behind the select of another object of the same station.
    if (this.objects.get(last)?.holds && stationOf(last) === stationOf(key)) return 'execute_mismatch';
    if (selection === undefined) return '';
    selection.is_direct = true;
    return 'execute_without_select';
  }

  /** The station refused the select, or took an execute without one: of this object nothing is known to need it. */
  answer(row: ObjectRow, refuses: boolean): void {
    const key = keyOf(row);
    const selection = this.objects.get(key);
    if (selection === undefined || (row.select ? !refuses : refuses || !selection.is_direct)) return;
    if (selection.holds) this.release(selection);
    this.objects.delete(key);
  }

  /** A deactivation: the selection holds no longer. */
  cancel(row: ObjectRow): void {
    const selection = this.objects.get(keyOf(row));
    if (selection?.holds) this.release(selection);
  }

  /** Those that are too old hold no longer; true where there were any. */
  expire(time_ms: number): boolean {
    if (this.holding === 0 || time_ms - this.earliest_ms < TIMEOUT_MS) return false;
    let expired = false;
    this.earliest_ms = time_ms;
    for (const selection of this.objects.values()) {
      if (!selection.holds) continue;
      if (time_ms - selection.time_ms >= TIMEOUT_MS) {
        this.release(selection);
        expired = true;
      } else this.earliest_ms = Math.min(this.earliest_ms, selection.time_ms);
    }
    return expired;
  }

  private release(selection: Selection): void {
    selection.holds = false;
    this.holding--;
  }

  private forgetOldest(): void {
    const [key, selection] = this.objects.entries().next().value!;
    if (selection.holds) this.holding--;
    this.objects.delete(key);
  }
}

const ADDRESSES = 0x1000000;
const keyOf = (row: ObjectRow): number => row.common_address * ADDRESSES + row.information_object_address;
const stationOf = (key: number): number => Math.floor(key / ADDRESSES);

/** The state or set point that is commanded; with single, double and step commands the qualifier stands beside it. */
function commandOf(row: ObjectRow, { elements }: TypeIdentification): number {
  switch (elements[0]) {
    case 'sco':
      return row.single_command ? 1 : 0;
    case 'dco':
      return row.double_command;
    case 'rco':
      return row.step_command;
    case 'nva':
      return row.normalized_value;
    case 'sva':
      return row.scaled_value;
    default:
      return row.short_float;
  }
}
