import { ot_sensor } from '../proto/facts.js';

type Fact = ot_sensor.IFact;

/** The facts and findings of one batch, in one shard, until they are encoded. Limits what a flood can make of them. */
export class FactLog {
  /** Facts left out because a batch had more than MAX_FACTS. */
  dropped = 0;
  private facts: Fact[] = [];

  add(fact: Fact): void {
    if (this.facts.length >= MAX_FACTS) this.dropped++;
    else this.facts.push(fact);
  }

  get count(): number {
    return this.facts.length;
  }

  /** The batch's message, facts in the order of their packets; empties the log. */
  encode(counters: Record<string, number> | null): Uint8Array {
    const facts = this.facts.sort(factOrder);
    this.facts = [];
    return ot_sensor.BatchFacts.encode({ facts, counters: counters && { values: counters } }).finish();
  }
}

/** In the order of their packets; counts of flows that were said together, by flow. Stable for all others: a packet is in one shard. */
export function factOrder(a: Fact, b: Fact): number {
  if (a.frame !== b.frame) return a.frame! - b.frame!;
  return flowOf(a) - flowOf(b);
}

function flowOf({ frame, flow_update, activity }: Fact): number {
  return Number.isInteger(frame) ? 0 : (flow_update?.flow_id ?? activity?.flow_id ?? 0);
}

/** Far above what a batch of MAX_BATCH_PACKETS can honestly cause, flushes of a full flow table included. */
const MAX_FACTS = 1 << 21;
