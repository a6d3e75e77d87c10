import { type FlowTable, JUDGED, SPOKEN } from '../flow/flow-table.ts';

/** How long a SYN waits for its answer: beyond any round trip there is in a plant, and before it is sent again (RFC 6298, 2). */
const WAIT_MS = 500;
/** SYNs that wait at a time: two numbers each. */
const MOST_SYNS = 65_536;
/** A second so far behind the latest is another time, not another interface that lags. */
const BEHIND_SECONDS = 60;
const NONE: readonly number[] = [];

/**
 * TCP conversations that were opened and not answered: nothing more may ever come of them that would have them judged. A new flow costs two
 * numbers here, a packet nothing; who waited in vain is found when packet time comes to another second, at the same packet in every shard.
 */
export class Unanswered {
  readonly counters = { syns_not_watched: 0 };
  private readonly table: FlowTable;
  /** Slot and flow id, one after the other. */
  private waiting: number[] = [];
  private latest = Number.NEGATIVE_INFINITY;

  constructor(table: FlowTable) {
    this.table = table;
  }

  /** A SYN opened this flow. */
  opened(slot: number): void {
    if (this.waiting.length >= 2 * MOST_SYNS) this.counters.syns_not_watched++;
    else this.waiting.push(slot, this.table.id[slot]);
  }

  /** The slots of those that have waited long enough, where packet time comes to `second`; each once. */
  due(second: number): readonly number[] {
    if (second <= this.latest && second > this.latest - BEHIND_SECONDS) return NONE;
    this.latest = second;
    return this.waiting.length === 0 ? NONE : this.take(second * 1000 - WAIT_MS);
  }

  /** All that wait: for more than a second nothing came at all. */
  all(): readonly number[] {
    return this.take(Number.POSITIVE_INFINITY);
  }

  private take(until_ms: number): number[] {
    const { table, waiting } = this;
    const due: number[] = [];
    const left: number[] = [];
    for (let i = 0; i < waiting.length; i += 2) {
      const slot = waiting[i];
      const is_open = table.id[slot] === waiting[i + 1] && table.states[slot] === undefined;
      if (!is_open || (table.flags[slot] & (SPOKEN[1] | JUDGED)) !== 0) continue;
      if (table.first_ms[slot] <= until_ms) due.push(slot);
      else left.push(slot, waiting[i + 1]);
    }
    this.waiting = left;
    return due;
  }
}
