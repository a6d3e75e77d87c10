import type { Packet } from '../decode/packet.ts';
import type { Dissection } from '../dissect/dissection.ts';
import { Role } from '../dissect/operation.ts';
import type { Registry } from '../dissect/registry.ts';
import type { FlowState } from '../flow/flow-state.ts';
import { type FlowTable, JUDGED, OPENER_CERTAIN, PROTOCOL_ETHERNET, SPOKEN } from '../flow/flow-table.ts';
import type { PolicyModel } from '../policy/conduits.ts';
import { compilePolicy, type Explanation, type PairPolicy, type Policy } from '../policy/index.ts';
import type { Findings } from './findings.ts';
import type { FlowNotes } from './flow-notes.ts';

const ARP = 0x0806;

/** Holds conversations and their PDUs against the zone policy, in the shard, and raises what crosses without a conduit. */
export class PolicyWatch {
  readonly policy: Policy;
  private readonly registry: Registry;
  private readonly table: FlowTable;
  private readonly findings: Findings;
  /** Gives a flow its state, so that its finding can be remembered. */
  private readonly stateOf: (slot: number) => FlowState;

  constructor(
    model: PolicyModel,
    registry: Registry,
    table: FlowTable,
    findings: Findings,
    stateOf: (slot: number) => FlowState,
  ) {
    this.policy = compilePolicy(model, registry);
    this.registry = registry;
    this.table = table;
    this.findings = findings;
    this.stateOf = stateOf;
  }

  /** The rows of one recognised PDU. */
  rows(slot: number, state: FlowState, notes: FlowNotes, p: Packet, dissection: Dissection): void {
    const { table } = this;
    const server_end = this.serverEnd(slot, state.client_direction);
    if (notes.pair === null || notes.pair_server_end !== server_end) {
      notes.pair = this.pairOf(slot, server_end);
      notes.pair_server_end = server_end;
    }
    const { pair } = notes;
    if (pair.always_allow) return;
    const protocol = table.protocol(slot);
    const ip_protocol = protocol === PROTOCOL_ETHERNET ? -1 : protocol;
    const port = state.port(server_end) === 0 ? -1 : state.port(server_end);
    // Where a mirror port shows the server's direction only, its answers are all there is to judge by.
    const asks = (table.flags[slot] & SPOKEN[1 - server_end]) !== 0;
    const role = asks ? state.sender : Role.unknown;
    const { rows, count, unrecognised } = dissection;
    const verdict = pair.evaluate(rows, count, ip_protocol, port, role, p.time_ms, unrecognised);
    if (verdict === 0 || this.findings.repeats(notes, 'zone_crossing', verdict, p)) return;
    const { verdict_row } = this.policy;
    const dissector = verdict_row < count ? rows[verdict_row].dissector : unrecognised;
    const observed = this.policy.observed(verdict, rows, count);
    this.raise(slot, notes, state.direction, this.registry.dissectors[dissector].name, verdict, p, observed);
  }

  /** Who serves: the responder of a handshake; without one, whoever the protocol shows to be the server. */
  private serverEnd(slot: number, client_direction: number): 0 | 1 {
    return (this.table.flags[slot] & OPENER_CERTAIN) === 0 && client_direction === 1 ? 0 : 1;
  }

  /** A conversation in which nothing was recognised (yet): judged once, when it is clear that nothing will be. */
  conversation(slot: number, p: Packet): void {
    const { table } = this;
    if ((table.flags[slot] & JUDGED) !== 0) return;
    table.flags[slot] |= JUDGED;
    const protocol = table.protocol(slot);
    const isIp = protocol !== PROTOCOL_ETHERNET;
    // In the place of its ports a conversation without IP has its EtherType.
    const port = isIp ? table.port(slot, 1) : 0;
    if (!isIp && table.port(slot, 1) === ARP) return;
    const pair = this.pairOf(slot, 1);
    if (pair.always_allow) return;
    const state = table.states[slot];
    const ip_protocol = isIp ? protocol : -1;
    const verdict = pair.evaluateUnrecognised(ip_protocol, port === 0 ? -1 : port, state !== undefined, p.time_ms);
    if (verdict === 0) return;
    const notes = this.stateOf(slot).notes as FlowNotes;
    this.raise(slot, notes, 0, '', verdict, p);
  }

  private raise(
    slot: number,
    notes: FlowNotes,
    direction: 0 | 1,
    app_proto: string,
    verdict: number,
    p: Packet,
    observed = '',
  ): void {
    const explanation = this.policy.explain(verdict);
    this.findings.raise(slot, notes, 'zone_crossing', verdict, p, {
      direction,
      app_proto,
      operation: explanation.operation ?? '',
      details: details(explanation, observed),
    });
  }

  private pairOf(slot: number, server_end: 0 | 1): PairPolicy {
    return this.policy.pair(this.zoneOf(slot, (1 - server_end) as 0 | 1), this.zoneOf(slot, server_end));
  }

  private zoneOf(slot: number, end: 0 | 1): number {
    const { table, policy } = this;
    const at = slot * 2 + end;
    const high = table.mac_high[at];
    const low = table.mac_low[at];
    const vlan = table.vlan[at];
    if (table.protocol(slot) === PROTOCOL_ETHERNET) return policy.zoneOfMac(vlan, high, low);
    const words = table.keyWords;
    const w = table.addressAt(slot, end);
    return policy.zoneOfAddress(words[w], words[w + 1], words[w + 2], words[w + 3], vlan, high, low);
  }
}

function details(explanation: Explanation, observed: string): Record<string, string> {
  const { from, to, protocol, operation, reason, conduit, why } = explanation;
  const found: Record<string, string> = {
    from_zone: from,
    to_zone: to,
    what: operation === null ? protocol : `${protocol} ${operation}`,
    why: observed === '' ? why : `${why} (${observed})`,
    reason,
    key: `${reason} ${conduit ?? ''}`,
  };
  if (conduit !== null) found.nearest_conduit = conduit;
  return found;
}
