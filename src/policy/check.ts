import type { Registry } from '../dissect/registry.ts';
import type { Fault, FaultCode } from '../yaml/fault.ts';
import type { Conduit, PolicyModel, PortRange } from './conduits.ts';
import { readPolicy } from './policy-file.ts';
import { weekBits } from './schedule.ts';
import { subnetInterval, type Zone } from './zones.ts';

/** What a zone file that can be used should still be looked at for. */

/** All that `zones check` reports, in the order of the file: the faults, or where there are none the warnings. */
export function checkPolicyFile(text: string, registry: Registry): Fault[] {
  const { model, faults } = readPolicy(text, registry);
  return model ? checkPolicy(model, registry) : faults;
}

/** Warnings only: a model has no faults left. */
export function checkPolicy(model: PolicyModel, registry: Registry): Fault[] {
  const warnings: Fault[] = [];
  const warn = (code: FaultCode, place: { line: number; column: number }, message: string) =>
    warnings.push({ severity: 'warning', code, message, line: place.line, column: place.column });
  checkOverlaps(model.zones, warn);
  checkZones(model, warn);
  checkConduits(model, registry, warn);
  return warnings.sort((a, b) => a.line - b.line || a.column - b.column);
}

type Warn = (code: FaultCode, place: { line: number; column: number }, message: string) => void;

/** Subnets inside subnets of another zone: allowed, the more specific wins. */
function checkOverlaps(zones: readonly Zone[], warn: Warn): void {
  for (const family of [4, 6] as const) {
    const all = zones
      .flatMap((zone) => zone.subnets.map((subnet) => ({ zone, subnet, ...subnetInterval(subnet) })))
      .filter(({ subnet }) => subnet.family === family)
      .sort((a, b) => (a.start !== b.start ? (a.start < b.start ? -1 : 1) : a.end > b.end ? -1 : 1));
    const open: typeof all = [];
    for (const entry of all) {
      while (open.length > 0 && open[open.length - 1].end <= entry.start) open.pop();
      const outer = open[open.length - 1];
      if (outer && outer.zone !== entry.zone)
        warn(
          'overlap',
          entry.subnet,
          `${entry.subnet.text} of zone "${entry.zone.name}" lies in ${outer.subnet.text} of zone "${outer.zone.name}" ` +
            `(line ${outer.subnet.line}): the more specific one wins`,
        );
      open.push(entry);
    }
  }
}

function checkZones({ zones, conduits, default_action }: PolicyModel, warn: Warn): void {
  const named = new Set(conduits.flatMap(({ from, to }) => [...(from ?? []), ...(to ?? [])]));
  zones.forEach((zone, index) => {
    if (zone.subnets.length + zone.macs.length + zone.vlans.length === 0)
      warn('empty_zone', zone, `zone "${zone.name}" has no subnets, VLANs or devices: nothing can be in it`);
    else if (!named.has(index + 1))
      warn(
        'unused_zone',
        zone,
        `no conduit names zone "${zone.name}": what crosses its border is judged by "*" and the default (${default_action})`,
      );
  });
}

function checkConduits(model: PolicyModel, registry: Registry, warn: Warn): void {
  const { conduits, zones } = model;
  const scopes = conduits.map(scopeOf);
  const names = new Map<string, Conduit>();
  conduits.forEach((conduit, index) => {
    const quoted = `conduit "${conduit.name}"`;
    const same = names.get(conduit.name);
    if (same) warn('duplicate', conduit, `${quoted} has the name of the one in line ${same.line}`);
    else names.set(conduit.name, conduit);
    const empty = [conduit.from, conduit.to].find((ends) => ends?.every((zone) => zone > 0 && isEmpty(zones[zone - 1])));
    if (empty) warn('unreachable_conduit', conduit, `${quoted} can never match: there is nothing in its zones`);
    if (conduit.ports && conduit.protocols) {
      const without = conduit.protocols.filter((name) => hasNoPorts(name, registry));
      const all = without.length === conduit.protocols.length;
      const what = all ? 'can never match' : `never matches ${without.join(', ')}`;
      if (without.length > 0) warn('unreachable_conduit', conduit, `${quoted} ${what}: ${without.join(', ')} has no ports`);
    }
    if (conduit.from && conduit.to && conduit.from.length + conduit.to.length > 2) {
      const both = conduit.from
        .filter((zone) => zone > 0 && conduit.to!.includes(zone))
        .map((zone) => `"${zones[zone - 1].name}"`);
      if (both.length > 0)
        warn('within_zone', conduit, `${quoted} names ${both.join(', ')} at both ends and so restricts traffic within, too`);
    }
    if (model.default_action === 'allow' && conduit.action === 'allow' && (conduit.from === null || conduit.to === null))
      warn(
        'closes_pairs',
        conduit,
        `${quoted} allows with "*": every pair of zones it covers now allows only what its conduits allow`,
      );
    for (let before = 0; before < index; before++) {
      const earlier = conduits[before];
      const opposite = earlier.action !== conduit.action;
      const place = `conduit "${earlier.name}" (line ${earlier.line})`;
      if (covers(scopes[before], scopes[index])) {
        warn(
          opposite ? 'contradicting_conduits' : 'unreachable_conduit',
          conduit,
          opposite
            ? `${quoted} (${conduit.action}) contradicts ${place} (${earlier.action}), which comes first and decides all it could`
            : `${quoted} is never reached: ${place} matches all of it`,
        );
        break;
      }
      if (opposite && earlier.action === 'allow' && crosses(scopes[before], scopes[index]))
        warn(
          'contradicting_conduits',
          conduit,
          `${quoted} (alert) is silent on what it has in common with ${place} (allow), which comes first and is no exception to it: ` +
            'neither contains the other',
        );
    }
  });
}

const isEmpty = (zone: Zone): boolean => zone.subnets.length + zone.macs.length + zone.vlans.length === 0;

function hasNoPorts(name: string, registry: Registry): boolean {
  const index = registry.indexOf(name);
  if (index < 0) return !['tcp', 'udp', 'sctp', 'unknown'].includes(name);
  return registry.dissectors[index].carriers.every((carrier) => carrier.layer === 'ethertype');
}

/** What a conduit matches, each dimension as a set; null: everything. */
interface Scope {
  from: Set<number> | null;
  to: Set<number> | null;
  protocols: Set<string> | null;
  operations: Set<number> | null;
  ports: PortRange[] | null;
  condition: string | null;
  week: Uint8Array | null;
  time_zone: string;
}

function scopeOf(conduit: Conduit): Scope {
  return {
    from: conduit.from && new Set(conduit.from),
    to: conduit.to && new Set(conduit.to),
    protocols: conduit.protocols && new Set(conduit.protocols),
    operations: conduit.operations && new Set(conduit.operations),
    ports: conduit.ports && merged(conduit.ports),
    condition: conduit.condition?.text.replace(/\s+/g, ' ').trim() ?? null,
    week: conduit.schedule && weekBits(conduit.schedule),
    time_zone: conduit.schedule?.time_zone ?? '',
  };
}

function merged(ports: readonly PortRange[]): PortRange[] {
  const result: PortRange[] = [];
  for (const range of [...ports].sort((a, b) => a.first - b.first)) {
    const last = result[result.length - 1];
    if (last && range.first <= last.last + 1) last.last = Math.max(last.last, range.last);
    else result.push({ ...range });
  }
  return result;
}

const superset = <T>(outer: Set<T> | null, inner: Set<T> | null): boolean =>
  outer === null || (inner !== null && inner.size <= outer.size && [...inner].every((value) => outer.has(value)));
const meet = <T>(a: Set<T> | null, b: Set<T> | null): boolean => a === null || b === null || [...a].some((value) => b.has(value));

const portsCover = (outer: PortRange[] | null, inner: PortRange[] | null): boolean =>
  outer === null || inner?.every(({ first, last }) => outer.some((range) => range.first <= first && last <= range.last)) === true;
const portsMeet = (a: PortRange[] | null, b: PortRange[] | null): boolean =>
  a === null || b === null || a.some((x) => b.some((y) => x.first <= y.last && y.first <= x.last));

function weekCovers(outer: Scope, inner: Scope): boolean {
  if (outer.week === null) return true;
  if (inner.week === null) return outer.week.every((bits) => bits === 0xff);
  return outer.time_zone === inner.time_zone && inner.week.every((bits, i) => (bits & ~outer.week![i]) === 0);
}

/** Everything that `inner` matches `outer` matches too. Conditions are compared as texts: equal or not known. */
function covers(outer: Scope, inner: Scope): boolean {
  return (
    superset(outer.from, inner.from) &&
    superset(outer.to, inner.to) &&
    (superset(outer.protocols, inner.protocols) || transportCovers(outer, inner)) &&
    superset(outer.operations, inner.operations) &&
    portsCover(outer.ports, inner.ports) &&
    (outer.condition === null || outer.condition === inner.condition) &&
    weekCovers(outer, inner)
  );
}

/** `tcp` and `udp` together hold every protocol that has ports. */
const transportCovers = (outer: Scope, inner: Scope): boolean =>
  inner.ports !== null && outer.protocols?.has('tcp') === true && outer.protocols.has('udp');

/** They have traffic in common, and `a` is not just an exception to `b`. Not judged where a condition decides. */
function crosses(a: Scope, b: Scope): boolean {
  return (
    a.condition === null &&
    b.condition === null &&
    meet(a.from, b.from) &&
    meet(a.to, b.to) &&
    meet(a.protocols, b.protocols) &&
    meet(a.operations, b.operations) &&
    portsMeet(a.ports, b.ports) &&
    !covers(b, a)
  );
}
