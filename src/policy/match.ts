import { OPERATION_NAMES, Operation, Role, type RoleCode } from '../dissect/operation.ts';
import type { Registry } from '../dissect/registry.ts';
import type { Row } from '../dissect/row.ts';
import type { Fault } from '../yaml/fault.ts';
import { type CompiledCondition, compileCondition, FieldCatalogue, type Subject } from './compile.ts';
import {
  type Conduit,
  ipProtocolName,
  ipProtocolNumber,
  type PolicyModel,
  type PortRange,
  UNKNOWN_PROTOCOL,
} from './conduits.ts';
import { COMMON_EXPLANATION, type Explanation, observedText, REASON_NAMES, Reason, type ReasonCode, whyText } from './explain.ts';
import { PolicyError } from './policy-error.ts';
import { carriersOf } from './policy-file.ts';
import { Schedule, TimeZone } from './schedule.ts';
import { EXTERNAL, UNPLACED, ZoneTable } from './zones.ts';

/**
 * The evaluator, one a worker: `compilePolicy`, then `zoneOfAddress` and `pair` once a conversation, `evaluate` once a PDU.
 *
 * What a conversation is judged by
 * - From is the zone of the end that opened the conversation, to the zone of the other end; `ports` are the other end's.
 * - Conduits of the pair are tried in the order of the file, and the first that matches decides: `allow` or `alert`.
 * - What matches none is a finding where the pair has a conduit with `allow` (it is then the only way through) or where the policy's
 *   default is `alert`.
 * - Inside a zone, and between addresses outside of all zones, everything is allowed unless a conduit names that zone at both ends
 *   (`*` does not count as a name here); then that pair is judged as any other, by the conduits with `*` too.
 * - What has no place (see zones.ts) crosses nothing.
 *
 * How a PDU is judged: row by row; the first row that is not allowed makes the finding.
 * - A row's operation is its own; a row with `other` has that of the last row before it, of the same protocol in the same PDU, that
 *   states one, else of the first behind it. A row without `unit` has that of the first row of its protocol there which has one.
 * - PDUs sent by the server answer a request that has been judged and are not judged again, but by conduits whose condition names
 *   `role`. (Where only the server's direction can be seen, the caller passes `Role.unknown`, and responses are judged.)
 * - A condition is judged on each row of the records that it names, so each of several items must be allowed by some conduit. Other
 *   records it names are bound to the last row of theirs before that row, else the first behind it. Rows of other records in the
 *   same PDU are left to the rows that it is judged on, unless both have a target and not in the same space (`Row.target_space`):
 *   then the condition is not met for them, so that no second object rides along with an allowed one. In a PDU without any of the
 *   condition's records all its comparisons are false.
 * - Naming a protocol in a conduit with `allow` allows what carries it (TPKT and COTP for S7), and the PDUs of either that build,
 *   keep or end the conversation (`session`), whatever its `operations` and, where that names no record of such a PDU, its `when`.
 *   Alerts are taken by the letter.
 * - A payload that a carrier hands on and nobody recognises is judged as `unknown`, or by a conduit that names that carrier itself.
 * - `tcp` and `udp` as protocols mean everything over them, recognised or not; `unknown` what no dissector recognised.
 *
 * The nearest conduit is the one with `allow` that passes most of: protocol, operation, port, hours and days, condition, in this order;
 * the first of equals.
 */

/** Kinds of findings; what comes behind them shares one explanation. */
export const MAX_VERDICTS = 65_536;
const COMMON_VERDICT = 1;
/** Caches: what does not fit is worked out again. All pairs together. */
const MAX_DECISIONS = 262_144;
const MAX_PAIRS = 65_536;
/** Room for operations in a key, a power of two. */
const OPERATION_SPACE = 32;
const TCP = 6;
const UDP = 17;

interface CompiledConduit {
  index: number;
  model: Conduit;
  allow: boolean;
  from: Uint8Array | null;
  to: Uint8Array | null;
  /** By dissector: `NAMED`, `CARRIER` or 0; null: any protocol. */
  dissectors: Uint8Array | null;
  /** By IP protocol number. */
  ip_protocols: Uint8Array;
  unknown: boolean;
  /** Bits of operations, 0 any. */
  operations: number;
  schedule: Schedule | null;
  condition: CompiledCondition | null;
}

const NAMED = 1;
const CARRIER = 2;

/** A conduit that matches by protocol, operation and port: what is left are time and condition. */
interface Candidate {
  conduit: CompiledConduit;
  /** Passes a condition that has nothing to look at in this PDU. */
  exempt: boolean;
}

/** What is left to judge for one protocol, operation and class of ports between two zones. */
interface Decision {
  /** The first candidate allows without further conditions. */
  allowed: boolean;
  candidates: Candidate[];
  /** Those that are judged on the server's PDUs too. */
  server_candidates: Candidate[];
  /** Where no candidate comes nearer. */
  reason: ReasonCode;
  nearest: number;
}

interface Verdict {
  pair: PairPolicy;
  reason: ReasonCode;
  conduit: number;
  protocol: string;
  operation: string | null;
}

/** Throws `PolicyError` where the model names a protocol or field that the registry does not have. */
export function compilePolicy(model: PolicyModel, registry: Registry): Policy {
  return new Policy(model, registry);
}

export class Policy {
  readonly model: PolicyModel;
  readonly registry: Registry;
  readonly zones: ZoneTable;
  readonly conduits: readonly CompiledConduit[];
  /** Verdicts beyond `MAX_VERDICTS`, which got the common explanation, and entries of full caches that were forgotten. */
  readonly counters = { verdicts_dropped: 0, decisions_dropped: 0, pairs_dropped: 0 };
  /** Index of the row that the last verdict of `evaluate` is about. */
  verdict_row = 0;
  readonly matcher: Matcher;
  private readonly pairs = new Map<number, PairPolicy>();
  private readonly unplaced: PairPolicy;
  /** Place 0 means allowed, place 1 is the common one. */
  private readonly verdicts: (Verdict | null)[] = [null, null];
  private decisions = 0;

  constructor(model: PolicyModel, registry: Registry) {
    this.model = model;
    this.registry = registry;
    this.zones = new ZoneTable(model.zones);
    const catalogue = new FieldCatalogue(registry);
    this.conduits = compileConduits(model, registry, catalogue);
    this.matcher = new Matcher(registry, catalogue, this.conduits);
    this.unplaced = new PairPolicy(this, UNPLACED, UNPLACED);
  }

  /** See `ZoneTable.ofAddress`. */
  zoneOfAddress(w0: number, w1: number, w2: number, w3: number, vlan = -1, mac_high = -1, mac_low = -1): number {
    return this.zones.ofAddress(w0, w1, w2, w3, vlan, mac_high, mac_low);
  }

  /** See `ZoneTable.ofMac`. */
  zoneOfMac(vlan: number, mac_high: number, mac_low: number): number {
    return this.zones.ofMac(vlan, mac_high, mac_low);
  }

  /** `external` for addresses in no zone, '' for what has no place. */
  zoneName(zone: number): string {
    return zone === EXTERNAL ? 'external' : zone < 0 ? '' : this.model.zones[zone - 1].name;
  }

  /** The same object for the same zones; at most one a pair of zones. */
  pair(from: number, to: number): PairPolicy {
    if (from < 0 || to < 0) return this.unplaced;
    const key = from * (this.model.zones.length + 1) + to;
    let pair = this.pairs.get(key);
    if (pair === undefined) {
      if (this.pairs.size >= MAX_PAIRS) {
        this.counters.pairs_dropped += this.pairs.size;
        this.pairs.clear();
      }
      pair = new PairPolicy(this, from, to);
      this.pairs.set(key, pair);
    }
    return pair;
  }

  /** Numbers a verdict of one of the pairs; numbers are this worker's own and mean nothing outside of it. */
  addVerdict(verdict: Verdict): number {
    if (this.verdicts.length >= MAX_VERDICTS) {
      this.counters.verdicts_dropped++;
      return COMMON_VERDICT;
    }
    this.verdicts.push(verdict);
    return this.verdicts.length - 1;
  }

  /** Counts a decision that a pair is about to remember; where there are too many, all pairs forget theirs. */
  addDecision(): void {
    if (this.decisions >= MAX_DECISIONS) {
      for (const pair of this.pairs.values()) pair.forget();
      this.counters.decisions_dropped += this.decisions;
      this.decisions = 0;
    }
    this.decisions++;
  }

  /**
   * What the fields that the conduit's condition names were in the PDU that got the verdict, as `record.field is value`, for the
   * text of a finding; '' where the verdict is not about a condition. To be asked before the next PDU.
   */
  observed(verdict: number, rows: readonly Row[], count: number): string {
    const found = this.verdicts[verdict];
    if (!found || found.conduit < 0) return '';
    const { condition } = this.conduits[found.conduit].model;
    if (condition === null || (found.reason !== Reason.condition && found.reason !== Reason.alert)) return '';
    return observedText(condition.expression, rows, count, this.verdict_row);
  }

  /** What the verdict means, in words. The same for the same model, registry and traffic, whatever came before. */
  explain(verdict: number): Explanation {
    if (verdict === COMMON_VERDICT) return COMMON_EXPLANATION;
    const found = this.verdicts[verdict];
    if (!found) throw new RangeError(`there is no verdict ${verdict}`);
    const { pair, reason, protocol, operation } = found;
    const from = this.zoneName(pair.from);
    const to = this.zoneName(pair.to);
    const conduit = found.conduit < 0 ? null : this.conduits[found.conduit].model;
    const what = `${protocol}${operation === null ? '' : ` ${operation}`} from ${from} to ${to}`;
    const why = whyText(reason, conduit);
    return {
      from,
      to,
      protocol,
      operation,
      reason: REASON_NAMES[reason],
      conduit: conduit?.name ?? null,
      conduit_line: conduit?.line ?? 0,
      why,
      text: `${what}: ${why}`,
    };
  }
}

function compileConduits(model: PolicyModel, registry: Registry, catalogue: FieldCatalogue): CompiledConduit[] {
  const faults: Fault[] = [];
  const time_zones = new Map<string, TimeZone>();
  const schedules = new Map<string, Schedule>();
  const schedule = (conduit: Conduit): Schedule | null => {
    if (!conduit.schedule) return null;
    const key = JSON.stringify(conduit.schedule);
    let known = schedules.get(key);
    if (!known) {
      const { time_zone } = conduit.schedule;
      if (!time_zones.has(time_zone)) time_zones.set(time_zone, new TimeZone(time_zone));
      known = new Schedule(conduit.schedule, time_zones.get(time_zone)!);
      schedules.set(key, known);
    }
    return known;
  };
  const ends = (numbers: number[] | null): Uint8Array | null => {
    if (numbers === null) return null;
    const set = new Uint8Array(model.zones.length + 1);
    for (const number of numbers) set[number] = 1;
    return set;
  };
  const conduits = model.conduits.map((conduit, index): CompiledConduit => {
    const refuse = (code: Fault['code'], message: string, place: { line: number; column: number } = conduit) =>
      faults.push({ severity: 'fault', code, message, line: place.line, column: place.column });
    const allow = conduit.action === 'allow';
    const dissectors = conduit.protocols ? new Uint8Array(registry.dissectors.length) : null;
    const ip_protocols = new Uint8Array(256);
    for (const name of conduit.protocols ?? []) {
      const dissector = registry.indexOf(name);
      const number = ipProtocolNumber(name);
      if (dissector >= 0) {
        dissectors![dissector] = NAMED;
        if (allow) for (const carrier of carriersOf(registry, dissector)) dissectors![carrier] ||= CARRIER;
      }
      if (number >= 0) ip_protocols[number] = 1;
      if (dissector < 0 && number < 0 && name !== UNKNOWN_PROTOCOL)
        refuse('unknown_protocol', `conduit "${conduit.name}": unknown protocol "${name}": no active dissector has that name`);
    }
    let condition: CompiledCondition | null = null;
    if (conduit.condition) {
      try {
        condition = compileCondition(conduit.condition.expression, catalogue);
      } catch (error) {
        refuse('rule', `conduit "${conduit.name}": condition: ${(error as Error).message}`, conduit.condition);
      }
    }
    return {
      index,
      model: conduit,
      allow,
      from: ends(conduit.from),
      to: ends(conduit.to),
      dissectors,
      ip_protocols,
      unknown: conduit.protocols?.includes(UNKNOWN_PROTOCOL) ?? false,
      operations: (conduit.operations ?? []).reduce((bits, operation) => bits | (1 << operation), 0),
      schedule: schedule(conduit),
      condition,
    };
  });
  if (faults.length > 0) throw new PolicyError(faults);
  return conduits;
}

/** What the pairs share: classes of ports, and the PDU being judged. */
class Matcher {
  readonly registry: Registry;
  /** Ports that no conduit and no dissector tells apart have the same class; 0 is for no port. */
  private readonly port_classes = new Uint16Array(65_536);
  private readonly slots: FieldCatalogue['slots'];
  readonly subject: Subject = { row: null, bound: [], dissector: -1, operation: 0, unit: -1, role: 0, port: -1 };
  /** By dissector: the operation and unit that rows without their own have. */
  readonly operations: Int32Array;
  readonly units: Float64Array;
  private readonly stamps: Float64Array;
  private stamp = 0;
  private rows: readonly Row[] = [];
  private count = 0;
  private bound_up_to = -1;
  private last_type: Row['type'] | null = null;
  private last_slot = -1;

  constructor(registry: Registry, catalogue: FieldCatalogue, conduits: readonly CompiledConduit[]) {
    this.registry = registry;
    this.slots = catalogue.slots;
    for (let slot = 0; slot < this.slots.size; slot++) this.subject.bound.push(null);
    const dissectors = registry.dissectors.length;
    this.operations = new Int32Array(dissectors);
    this.units = new Float64Array(dissectors);
    this.stamps = new Float64Array(dissectors);
    const starts = new Set<number>([1]);
    const separate = ({ first, last }: PortRange) => starts.add(first).add(last + 1);
    for (const { model } of conduits) for (const range of model.ports ?? []) separate(range);
    for (const { carriers } of registry.dissectors)
      for (const carrier of carriers) if ('port' in carrier) separate({ first: carrier.port, last: carrier.port });
    const sorted = [...starts].filter((port) => port > 0 && port < 65_536).sort((a, b) => a - b);
    for (let i = 0; i < sorted.length; i++) this.port_classes.fill(i + 1, sorted[i], sorted[i + 1] ?? 65_536);
  }

  portClass(port: number): number {
    return port > 0 && port < 65_536 ? this.port_classes[port] : 0;
  }

  /** The PDU has one row: nothing to take from others. */
  get isAlone(): boolean {
    return this.count === 1;
  }

  /** Starts a PDU. */
  begin(rows: readonly Row[], count: number, role: RoleCode, port: number): void {
    this.rows = rows;
    this.count = count;
    this.bound_up_to = -1;
    this.subject.role = role;
    this.subject.port = port > 0 ? port : -1;
    if (count === 1) return;
    const { operations, units, stamps } = this;
    const stamp = ++this.stamp;
    for (let i = 0; i < count; i++) {
      const row = rows[i];
      const { dissector } = row;
      if (stamps[dissector] !== stamp) {
        stamps[dissector] = stamp;
        operations[dissector] = row.operation;
        units[dissector] = row.unit;
      } else {
        if (operations[dissector] === Operation.other) operations[dissector] = row.operation;
        if (units[dissector] < 0) units[dissector] = row.unit;
      }
    }
  }

  /** Binds the records that conditions name to the rows that go with row `index`. Only where a condition is reached. */
  bind(index: number): void {
    const { rows, count } = this;
    const { bound } = this.subject;
    if (this.bound_up_to < 0) {
      for (let slot = 0; slot < bound.length; slot++) bound[slot] = null;
      for (let i = count - 1; i >= 0; i--) {
        const slot = this.slotOf(rows[i].type);
        if (slot >= 0) bound[slot] = rows[i];
      }
    }
    // The rows up to the last bound one are behind us already.
    for (let i = Math.max(this.bound_up_to, 0); i <= index && i < count; i++) {
      const slot = this.slotOf(rows[i].type);
      if (slot >= 0) bound[slot] = rows[i];
    }
    this.bound_up_to = index;
  }

  /** The slot of a record that conditions name, else -1. Rows of one record mostly come together. */
  private slotOf(type: Row['type']): number {
    if (type !== this.last_type) {
      this.last_type = type;
      this.last_slot = this.slots.get(type) ?? -1;
    }
    return this.last_slot;
  }

  /** What the condition's records in the PDU have to do with this row. Only after `bind`. */
  concern(condition: CompiledCondition, row: Row | null): number {
    const { slots } = condition;
    const { bound } = this.subject;
    let concern: number = Concern.nothing;
    for (let i = 0; i < slots.length; i++) {
      const found = bound[slots[i]];
      if (found === null || row === null) continue;
      if (found === row) return Concern.this_row;
      const related = row.target_space < 0 || found.target_space < 0 || row.target_space === found.target_space;
      if (related) concern = Concern.other_rows;
      else if (concern === Concern.nothing) concern = Concern.unrelated_rows;
    }
    return concern;
  }
}

const Concern = {
  /** There are none. */
  nothing: 0,
  /** They are about something else: a row of a second object of the PDU, beside those that the condition looks at. */
  unrelated_rows: 1,
  /** They are about the same; this row only leads to them, or adds to them. */
  other_rows: 2,
  this_row: 3,
} as const;

/** What a conversation between two zones may do. Interned: get it from `Policy.pair`. */
export class PairPolicy {
  readonly from: number;
  readonly to: number;
  /** Nothing in such a conversation can be a finding: no need to call `evaluate`. */
  readonly always_allow: boolean;
  private readonly policy: Policy;
  private readonly conduits: readonly CompiledConduit[];
  private readonly default_allows: boolean;
  /** By protocol, operation, transport and class of ports. */
  private readonly decisions = new Map<number, Decision>();
  private readonly unrecognised = new Map<number, Decision>();
  private readonly payloads = new Map<number, Decision>();
  private readonly verdicts = new Map<number, number>();
  private last_key = -1;
  private last_decision: Decision | null = null;

  constructor(policy: Policy, from: number, to: number) {
    this.policy = policy;
    this.from = from;
    this.to = to;
    const applies = (ends: Uint8Array | null, zone: number) => ends === null || ends[zone] === 1;
    const named = from < 0 ? [] : policy.conduits.filter((conduit) => applies(conduit.from, from) && applies(conduit.to, to));
    const inside = from === to && !named.some((conduit) => conduit.from !== null && conduit.to !== null);
    this.conduits = inside ? [] : named;
    this.default_allows = inside || (policy.model.default_action === 'allow' && !this.conduits.some((conduit) => conduit.allow));
    const [first] = this.conduits;
    this.always_allow = first === undefined ? this.default_allows : first.allow && isUnconditional(first);
  }

  /**
   * Judges a PDU by its rows (`Dissection.rows`, `count`): 0 allowed, else a verdict for `Policy.explain`; `Policy.verdict_row` then
   * says which row. `ip_protocol` is 6 or 17, else -1; `port` that of the end that did not open the conversation, -1 none;
   * `role` the sender's; `time_ms` the packet's time; `unrecognised` the dissector in whose payload no other recognised anything
   * (`Dissection.unrecognised`), -1 none. Allocates nothing once a kind of traffic has been seen.
   */
  evaluate(
    rows: readonly Row[],
    count: number,
    ip_protocol: number,
    port: number,
    role: RoleCode,
    time_ms: number,
    unrecognised = -1,
  ): number {
    if (this.always_allow) return 0;
    const { matcher } = this.policy;
    matcher.begin(rows, count, role, port);
    const base = (matcher.portClass(port) * 3 + transportOf(ip_protocol)) * matcher.registry.dissectors.length;
    for (let i = 0; i < count; i++) {
      const row = rows[i];
      const { dissector } = row;
      let operation: number = row.operation;
      if (operation !== Operation.other) matcher.operations[dissector] = operation;
      else if (count > 1) operation = matcher.operations[dissector];
      const key = (base + dissector) * OPERATION_SPACE + operation;
      let decision = this.last_decision;
      if (key !== this.last_key || decision === null) {
        decision = this.decisions.get(key) ?? this.decide(key, dissector, operation, ip_protocol, port);
        this.last_key = key;
        this.last_decision = decision;
      }
      if (decision.allowed) continue;
      if (role === Role.server && decision.server_candidates.length === 0) continue;
      const verdict = this.judge(decision, row, i, dissector, operation, role, time_ms);
      if (verdict !== 0) {
        this.policy.verdict_row = i;
        return verdict;
      }
    }
    if (unrecognised < 0 || role === Role.server) return 0;
    return this.evaluatePayload(unrecognised, rows, count, ip_protocol, port, time_ms);
  }

  /** What a carrier holds is `unknown`, unless a conduit names that very carrier, and so whatever is in it. */
  private evaluatePayload(
    carrier: number,
    rows: readonly Row[],
    count: number,
    ip_protocol: number,
    port: number,
    time_ms: number,
  ): number {
    const { matcher } = this.policy;
    const key = (matcher.portClass(port) * 3 + transportOf(ip_protocol)) * matcher.registry.dissectors.length + carrier;
    let decision = this.payloads.get(key);
    if (decision === undefined) {
      const match = (conduit: CompiledConduit) =>
        conduit.unknown || matchDissector(conduit, carrier, ip_protocol) === NAMED ? NAMED : 0;
      decision = this.collect(match, Operation.other, port);
      this.remember(this.payloads, key, decision);
    }
    if (decision.allowed) return 0;
    const index = count > 0 ? count - 1 : 0;
    this.policy.verdict_row = index;
    const slot = matcher.registry.dissectors.length + 257 + carrier;
    return this.judge(decision, count > 0 ? rows[index] : null, index, slot, Operation.other, Role.unknown, time_ms);
  }

  /**
   * Judges a conversation in which no dissector recognised anything. `ip_protocol` is -1 for a frame without IP. `has_payload`: false
   * while TCP has only been opened, or tried to be; then a conduit for a protocol matches on that protocol's own ports.
   */
  evaluateUnrecognised(ip_protocol: number, port: number, has_payload: boolean, time_ms: number): number {
    if (this.always_allow) return 0;
    const { matcher } = this.policy;
    const payload = has_payload || ip_protocol !== TCP ? 1 : 0;
    const key = (matcher.portClass(port) * 257 + ip_protocol + 1) * 2 + payload;
    let decision = this.unrecognised.get(key);
    if (decision === undefined) {
      decision = this.collect(
        (conduit) => this.matchUnrecognised(conduit, ip_protocol, port, payload === 1),
        payload === 1 ? Operation.other : -1,
        port,
      );
      this.remember(this.unrecognised, key, decision);
    }
    if (decision.allowed) return 0;
    matcher.begin(NO_ROWS, 0, Role.unknown, port);
    const dissector = matcher.registry.dissectors.length + 1 + ip_protocol;
    this.policy.verdict_row = 0;
    return this.judge(decision, null, 0, dissector, payload, Role.unknown, time_ms);
  }

  /** Empties the cache of decisions. */
  forget(): void {
    this.decisions.clear();
    this.unrecognised.clear();
    this.payloads.clear();
    this.last_key = -1;
    this.last_decision = null;
  }

  private judge(
    decision: Decision,
    row: Row | null,
    index: number,
    dissector: number,
    operation: number,
    role: RoleCode,
    time_ms: number,
  ): number {
    const { matcher } = this.policy;
    const { subject } = matcher;
    const candidates = role === Role.server ? decision.server_candidates : decision.candidates;
    let { reason, nearest } = decision;
    let bound = false;
    for (let i = 0; i < candidates.length; i++) {
      const { conduit, exempt } = candidates[i];
      const { condition } = conduit;
      if (conduit.schedule !== null && !conduit.schedule.isOpen(time_ms)) {
        if (conduit.allow && reason < Reason.schedule) {
          reason = Reason.schedule;
          nearest = conduit.index;
        }
        continue;
      }
      if (condition !== null) {
        if (!bound) {
          bound = true;
          matcher.bind(index);
          subject.row = row;
          subject.dissector = row === null ? -1 : row.dissector;
          subject.operation = operation;
          subject.unit = row === null ? -1 : row.unit >= 0 || matcher.isAlone ? row.unit : matcher.units[row.dissector];
        }
        const concern = matcher.concern(condition, row);
        if (concern === Concern.other_rows) {
          // Those rows are what the condition looks at.
          if (conduit.allow) return 0;
          continue;
        }
        const passes =
          concern === Concern.unrelated_rows ? exempt : condition.test(subject) || (exempt && concern === Concern.nothing);
        if (!passes) {
          if (conduit.allow && reason < Reason.condition) {
            reason = Reason.condition;
            nearest = conduit.index;
          }
          continue;
        }
      }
      return conduit.allow ? 0 : this.verdict(Reason.alert, conduit.index, dissector, operation);
    }
    if (role === Role.server || this.default_allows) return 0;
    return this.verdict(reason, nearest, dissector, operation);
  }

  /** `what`: a dissector, or behind them an IP protocol from -1 on, or behind those the carrier of an unrecognised payload. */
  private verdict(reason: ReasonCode, conduit: number, what: number, operation: number): number {
    const { dissectors } = this.policy.registry;
    const key = (((conduit + 1) * 8 + reason) * (dissectors.length * 2 + 257) + what) * OPERATION_SPACE + operation;
    const known = this.verdicts.get(key);
    if (known !== undefined) return known;
    const recognised = what < dissectors.length;
    const number = this.policy.addVerdict({
      pair: this,
      reason,
      conduit,
      protocol: recognised ? dissectors[what].name : this.unrecognisedName(what - dissectors.length - 1, operation),
      operation: recognised ? OPERATION_NAMES[operation] : null,
    });
    if (number !== COMMON_VERDICT) this.verdicts.set(key, number);
    return number;
  }

  private unrecognisedName(ip_protocol: number, operation: number): string {
    if (ip_protocol > 255) return `${this.policy.registry.dissectors[ip_protocol - 256].name} (unrecognised payload)`;
    if (!isOpaque(ip_protocol)) return ipProtocolName(ip_protocol);
    return `${ip_protocol < 0 ? 'ethernet' : ipProtocolName(ip_protocol)} (${operation === 0 ? 'no payload' : 'unrecognised'})`;
  }

  private decide(key: number, dissector: number, operation: number, ip_protocol: number, port: number): Decision {
    const decision = this.collect((conduit) => matchDissector(conduit, dissector, ip_protocol), operation, port);
    this.remember(this.decisions, key, decision);
    return decision;
  }

  private remember(table: Map<number, Decision>, key: number, decision: Decision): void {
    this.policy.addDecision();
    table.set(key, decision);
  }

  /** The conduits that match by protocol, operation (-1: none is known yet) and port, up to one that needs no further look. */
  private collect(match: (conduit: CompiledConduit) => number, operation: number, port: number): Decision {
    const candidates: Candidate[] = [];
    let reason: ReasonCode = Reason.none;
    let nearest = -1;
    const note = (conduit: CompiledConduit, failed: ReasonCode) => {
      if (!conduit.allow || failed <= reason) return;
      reason = failed;
      nearest = conduit.index;
    };
    for (const conduit of this.conduits) {
      const matched = match(conduit);
      if (matched === 0) {
        note(conduit, Reason.protocol);
        continue;
      }
      const exempt = conduit.allow && (matched === CARRIER || operation === Operation.session || operation < 0);
      if (!exempt && conduit.operations !== 0 && (operation < 0 || (conduit.operations & (1 << operation)) === 0)) {
        note(conduit, Reason.operation);
        continue;
      }
      if (conduit.model.ports !== null && !conduit.model.ports.some(({ first, last }) => port >= first && port <= last)) {
        note(conduit, Reason.port);
        continue;
      }
      candidates.push({ conduit, exempt });
      if (isSettled(conduit)) break;
    }
    const [first] = candidates;
    return {
      allowed: candidates.length > 0 && first.conduit.allow && isSettled(first.conduit),
      candidates,
      server_candidates: candidates.filter(({ conduit }) => conduit.condition?.names_role),
      reason,
      nearest,
    };
  }

  private matchUnrecognised(conduit: CompiledConduit, ip_protocol: number, port: number, has_payload: boolean): number {
    if (conduit.dissectors === null) return NAMED;
    if (ip_protocol >= 0 && conduit.ip_protocols[ip_protocol] === 1) return NAMED;
    if (has_payload || ip_protocol !== TCP) return conduit.unknown && isOpaque(ip_protocol) ? NAMED : 0;
    if (conduit.unknown) return NAMED;
    // A connection that has said nothing yet: on a port of the protocol, or one that the conduit itself gives.
    if (!conduit.allow) return 0;
    if (conduit.model.ports !== null) return NAMED;
    return this.policy.registry.onPort(true, port).some((dissector) => conduit.dissectors![dissector] !== 0) ? NAMED : 0;
  }
}

const NO_ROWS: readonly Row[] = [];

/** `unknown` is for what a dissector could have recognised: TCP, UDP, frames without IP; other IP protocols have names of their own. */
const isOpaque = (ip_protocol: number): boolean => ip_protocol < 0 || ip_protocol === TCP || ip_protocol === UDP;

const transportOf = (ip_protocol: number): number => (ip_protocol === TCP ? 1 : ip_protocol === UDP ? 2 : 0);

function matchDissector(conduit: CompiledConduit, dissector: number, ip_protocol: number): number {
  if (conduit.dissectors === null) return NAMED;
  const matched = conduit.dissectors[dissector];
  if (matched === NAMED) return NAMED;
  if (ip_protocol >= 0 && ip_protocol < 256 && conduit.ip_protocols[ip_protocol] === 1) return NAMED;
  return matched;
}

/** Neither time nor anything else in the PDU matters. */
const isSettled = (conduit: CompiledConduit): boolean => conduit.schedule === null && conduit.condition === null;

const isUnconditional = (conduit: CompiledConduit): boolean =>
  conduit.dissectors === null && conduit.operations === 0 && conduit.model.ports === null && isSettled(conduit);
