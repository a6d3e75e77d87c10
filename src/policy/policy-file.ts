import { isMap, isScalar, type Node } from 'yaml';
import { OPERATION_NAMES, Operation, type OperationName } from '../dissect/operation.ts';
import type { Registry } from '../dissect/registry.ts';
import { didYouMean, type Fault } from '../yaml/fault.ts';
import { type Entry, scalarText, YamlReader } from '../yaml/reader.ts';
import { checkCondition, FieldCatalogue } from './compile.ts';
import {
  type Action,
  type Condition,
  type Conduit,
  IP_PROTOCOL_NAMES,
  ipProtocolNumber,
  MAX_CONDUITS,
  type PolicyModel,
  type PortRange,
  UNKNOWN_PROTOCOL,
} from './conduits.ts';
import { fieldsOf, parseRule } from './rule.ts';
import { isTimeZone, parseDays, parseHours, type ScheduleModel } from './schedule.ts';
import { EXTERNAL, isGroupMac, MAX_DEVICES, MAX_SUBNETS, MAX_ZONES, parseMac, parseSubnet, type Zone } from './zones.ts';

/** A zone file: YAML text to a checked model, with the place of every fault and not only of the first. */

export interface PolicyFile {
  /** null where there is any fault. */
  model: PolicyModel | null;
  /** In the order of the file. */
  faults: Fault[];
}

export const MAX_FILE_LENGTH = 8 * 1024 * 1024;
const MAX_NAME_LENGTH = 100;
const MAX_LIST_ITEMS = 12_000;

const TOP_KEYS = ['default', 'time_zone', 'zones', 'conduits'];
const ZONE_KEYS = ['name', 'description', 'level', 'subnets', 'vlans', 'devices'];
const CONDUIT_KEYS = [
  'name', 'description', 'from', 'to', 'protocols', 'operations', 'ports', 'when', 'hours', 'days', 'time_zone', 'action',
]; // biome-ignore format: a list
const LEVELS = [0, 1, 2, 3, 3.5, 4, 5];

/** Names that conduits use beside those of zones. */
const ANY = '*';
const EXTERNAL_NAME = 'external';

/** Never throws on any text. Names of protocols, records and fields are checked against the registry. */
export function readPolicy(text: string, registry: Registry): PolicyFile {
  return new PolicyReader(text, registry).read();
}

class PolicyReader extends YamlReader {
  private readonly registry: Registry;
  private readonly catalogue: FieldCatalogue;
  private readonly zoneNumbers = new Map<string, number>();
  private subnets = 0;
  private devices = 0;

  constructor(text: string, registry: Registry) {
    super(text, MAX_FILE_LENGTH);
    this.registry = registry;
    this.catalogue = new FieldCatalogue(registry);
  }

  read(): PolicyFile {
    return this.readWhole(() => this.policy());
  }

  protected override mayBeEmpty(key: string): boolean {
    return TOP_KEYS.includes(key) || ZONE_KEYS.includes(key);
  }

  private policy(): PolicyModel | null {
    const top = this.entries(this.document.contents, 'a zone file', TOP_KEYS);
    if (!top) return null;
    const default_action = this.action(top.get('default'), 'alert');
    const time_zone = this.timeZone(top.get('time_zone')) ?? 'UTC';
    if (!top.has('zones')) this.at(0, 'missing_key', 'there are no "zones"');
    const zoneNodes = this.items(top.get('zones'), 'zones', MAX_ZONES);
    const named = zoneNodes.map((node) => this.zoneName(node));
    const zones = zoneNodes.map((node, index) => this.zone(node, named[index]));
    const conduits = this.items(top.get('conduits'), 'conduits', MAX_CONDUITS).map((node, index) =>
      this.conduit(node, index, zones, time_zone),
    );
    this.duplicateMembers(zones);
    return { default_action, zones, conduits };
  }

  // Zones

  /** Read before the conduits and the other keys, so that conduits can name zones which have faults. */
  private zoneName(node: Node): string {
    const map = this.resolve(node);
    if (!isMap(map)) return '';
    const pair = map.items.find(({ key }) => isScalar(key) && key.value === 'name');
    const value = this.resolve((pair?.value ?? null) as Node | null);
    if (!isScalar(value)) return '';
    const name = scalarText(value).trim();
    const place = (pair?.value ?? node) as Node;
    if (name === ANY || name.toLowerCase() === EXTERNAL_NAME) {
      this.fault(place, 'value', `no zone can be called "${name}": conduits give it another meaning`);
      return '';
    }
    if (name === '') return '';
    if (this.zoneNumbers.has(name)) this.fault(place, 'duplicate', `there are two zones called "${name}"`);
    else this.zoneNumbers.set(name, this.zoneNumbers.size + 1);
    return name;
  }

  private zone(node: Node, name: string): Zone {
    const place = this.place(node);
    const zone: Zone = { name, description: '', level: null, subnets: [], macs: [], vlans: [], ...place };
    const entries = this.entries(node, 'a zone', ZONE_KEYS);
    if (!entries) return zone;
    this.name(entries.get('name'), node, 'zone');
    zone.description = this.description(entries.get('description'));
    const level = entries.get('level');
    if (level) {
      zone.level = Number(this.scalar(level) || Number.NaN);
      if (!LEVELS.includes(zone.level)) this.fault(level.value ?? level.key, 'value', `level is one of ${LEVELS.join(', ')}`);
    }
    for (const item of this.items(entries.get('subnets'), 'subnets', MAX_LIST_ITEMS)) {
      const text = this.text_(item, 'a subnet, as in 10.1.0.0/16 (IPv6 in quotes)');
      if (text === null) continue;
      const parsed = parseSubnet(text);
      if (!parsed.ok) this.fault(item, 'value', parsed.message);
      else if (++this.subnets === MAX_SUBNETS + 1) this.fault(item, 'limit', `more than ${MAX_SUBNETS} subnets`);
      else if (this.subnets <= MAX_SUBNETS) zone.subnets.push({ ...parsed.value, device: false, text, ...this.place(item) });
    }
    for (const item of this.items(entries.get('devices'), 'devices', MAX_LIST_ITEMS)) this.device(item, zone);
    for (const item of this.items(entries.get('vlans'), 'vlans', 4094)) {
      const range = this.numberRange(item, 1, 4094, 'a VLAN');
      if (range) zone.vlans.push({ ...range, ...this.place(item) });
    }
    return zone;
  }

  private device(item: Node, zone: Zone): void {
    const text = this.text_(item, 'an IP or MAC address (IPv6 and MAC in quotes)');
    if (text === null) return;
    if (++this.devices > MAX_DEVICES) {
      if (this.devices === MAX_DEVICES + 1) this.fault(item, 'limit', `more than ${MAX_DEVICES} devices`);
      return;
    }
    const mac = parseMac(text);
    if (mac.ok) {
      if (isGroupMac(mac.value.high)) this.fault(item, 'value', `"${text}" is a group address, not a device`);
      else zone.macs.push({ ...mac.value, text, ...this.place(item) });
      return;
    }
    const address = parseSubnet(text);
    if (!address.ok) this.fault(item, 'value', `"${text}" is neither an IP address nor a MAC address`);
    else if (text.includes('/')) this.fault(item, 'value', `"${text}" is a subnet; it belongs under "subnets"`);
    else zone.subnets.push({ ...address.value, device: true, text, ...this.place(item) });
  }

  /** The same subnet, device or VLAN in two zones: no zone would be the more specific. */
  private duplicateMembers(zones: readonly Zone[]): void {
    const owners = new Map<string, { zone: string; line: number }>();
    const claim = (key: string, what: string, zone: Zone, place: { line: number; column: number }) => {
      const owner = owners.get(key);
      if (!owner) owners.set(key, { zone: zone.name, line: place.line });
      else
        this.push({
          severity: 'fault',
          code: 'overlap',
          message:
            owner.zone === zone.name
              ? `${what} is listed twice in zone "${zone.name}" (line ${owner.line})`
              : `${what} is also in zone "${owner.zone}" (line ${owner.line})`,
          line: place.line,
          column: place.column,
        });
    };
    for (const zone of zones) {
      for (const subnet of zone.subnets)
        claim(`${subnet.family}/${subnet.words}/${subnet.prefix_length}`, subnet.text, zone, subnet);
      for (const mac of zone.macs) claim(`mac ${mac.high} ${mac.low}`, mac.text, zone, mac);
      for (const vlan of zone.vlans)
        for (let id = vlan.first; id <= vlan.last; id++) claim(`vlan ${id}`, `VLAN ${id}`, zone, vlan);
    }
  }

  // Conduits

  private conduit(node: Node, index: number, zones: readonly Zone[], time_zone: string): Conduit {
    const place = this.place(node);
    const conduit: Conduit = {
      name: `conduit ${index + 1}`,
      description: '',
      from: null,
      to: null,
      protocols: null,
      operations: null,
      ports: null,
      condition: null,
      schedule: null,
      action: 'allow',
      ...place,
    };
    const entries = this.entries(node, 'a conduit', CONDUIT_KEYS);
    if (!entries) return conduit;
    if (entries.has('name')) conduit.name = this.name(entries.get('name'), node, 'conduit');
    conduit.description = this.description(entries.get('description'));
    conduit.from = this.ends(entries.get('from'), 'from', node, zones);
    conduit.to = this.ends(entries.get('to'), 'to', node, zones);
    conduit.protocols = this.names(entries.get('protocols'), 'protocols', (name, item) => this.protocol(name, item));
    conduit.operations = this.names(entries.get('operations'), 'operations', (name, item) => this.operation(name, item));
    const ports = entries.get('ports');
    if (ports) {
      conduit.ports = this.items(ports, 'ports', 1000)
        .map((item) => this.numberRange(item, 1, 65535, 'a port'))
        .filter((range): range is PortRange => range !== null);
    }
    conduit.condition = this.condition(entries.get('when'), conduit.protocols);
    conduit.schedule = this.schedule(entries, time_zone);
    conduit.action = this.action(entries.get('action'), 'allow');
    return conduit;
  }

  /** null: any. */
  private ends(entry: Entry | undefined, key: string, conduit: Node, zones: readonly Zone[]): number[] | null {
    if (!entry) {
      this.fault(conduit, 'missing_key', `the conduit has no "${key}"`);
      return null;
    }
    const numbers = new Set<number>();
    let any = false;
    const items = this.items(entry, key, MAX_ZONES + 2);
    for (const item of items) {
      const name = this.text_(item, 'the name of a zone')?.trim();
      if (name === undefined) continue;
      if (name === ANY) any = true;
      else if (name === EXTERNAL_NAME) numbers.add(EXTERNAL);
      else {
        const number = this.zoneNumbers.get(name);
        if (number !== undefined) numbers.add(number);
        else {
          const hint = didYouMean(name, [...zones.map((zone) => zone.name), EXTERNAL_NAME]);
          this.fault(item, 'unknown_zone', `unknown zone "${name}"${hint}`);
        }
      }
    }
    if (any && items.length > 1)
      this.fault(entry.value ?? entry.key, 'value', `"*" in "${key}" leaves nothing for other names to add`);
    return any ? null : [...numbers].sort((a, b) => a - b);
  }

  private protocol(name: string, item: Node): string | null {
    if (name === UNKNOWN_PROTOCOL || this.registry.indexOf(name) >= 0 || ipProtocolNumber(name) >= 0) return name;
    const hint = didYouMean(name, [...this.registry.dissectors.map((d) => d.name), ...IP_PROTOCOL_NAMES, UNKNOWN_PROTOCOL]);
    this.fault(item, 'unknown_protocol', `unknown protocol "${name}": no active dissector has that name${hint}`);
    return null;
  }

  private operation(name: string, item: Node): number | null {
    if (Object.hasOwn(Operation, name)) return Operation[name as OperationName];
    this.fault(item, 'unknown_operation', `unknown operation "${name}"${didYouMean(name, OPERATION_NAMES)}`);
    return null;
  }

  private names<T>(entry: Entry | undefined, key: string, read: (name: string, item: Node) => T | null): T[] | null {
    if (!entry) return null;
    const found: T[] = [];
    const items = this.items(entry, key, 500);
    for (const item of items) {
      const name = this.text_(item, `a name, as ${key} are`)?.trim();
      if (name === ANY && items.length === 1) return null;
      const value = name === undefined ? null : read(name, item);
      if (value !== null && !found.includes(value)) found.push(value);
    }
    return found;
  }

  private condition(entry: Entry | undefined, protocols: string[] | null): Condition | null {
    if (!entry) return null;
    const value = this.resolve(entry.value);
    if (!isScalar(value) || typeof value.value !== 'string') {
      this.fault(entry.value ?? entry.key, 'structure', '"when" is a condition, as in modbus.address in 0..99');
      return null;
    }
    const text = value.value;
    const { expression, fault } = parseRule(text);
    if (fault) {
      this.at(this.offsetIn(value, fault.column), 'rule', fault.message);
      return null;
    }
    for (const { column, message } of checkCondition(expression, this.catalogue)) {
      const code = message.startsWith('unknown') || / has no (field|record) /.test(message) ? 'unknown_field' : 'rule';
      this.at(this.offsetIn(value, column), code, message);
    }
    if (protocols && protocols.length > 0) {
      const seen = new Set<string>();
      for (const { record, column } of fieldsOf(expression)) {
        if (record === null || seen.has(record)) continue;
        seen.add(record);
        const emitters = this.catalogue.dissectorsOf(record);
        if (emitters.length === 0 || protocols.some((name) => this.carriesRecord(name, emitters))) continue;
        const message = `${protocols.join(', ')} has no ${record} records: the condition would match nothing`;
        this.at(this.offsetIn(value, column), 'rule', message);
      }
    }
    return { text, expression, ...this.position(this.offsetIn(value, 1)) };
  }

  /** Can a conversation of that protocol show a record of one of the dissectors, itself or what carries it? */
  private carriesRecord(protocol: string, emitters: readonly number[]): boolean {
    const index = this.registry.indexOf(protocol);
    if (index < 0) return protocol !== UNKNOWN_PROTOCOL;
    return emitters.some((emitter) => emitter === index || carriersOf(this.registry, index).has(emitter));
  }

  private schedule(entries: Map<string, Entry>, default_zone: string): ScheduleModel | null {
    const hours = entries.get('hours');
    const days = entries.get('days');
    const zone = entries.get('time_zone');
    const time_zone = this.timeZone(zone) ?? default_zone;
    if (!hours && !days) {
      if (zone) this.fault(zone.key, 'structure', '"time_zone" has no meaning without "hours" or "days"');
      return null;
    }
    const model: ScheduleModel = { time_zone, hours: [], days: [] };
    for (const item of this.items(hours, 'hours', 50)) {
      const text = this.text_(item, 'hours, as in 06:00-18:00');
      const range = text === null ? null : parseHours(text);
      if (range) model.hours.push(range);
      else if (text !== null) this.fault(item, 'value', `"${text}" is not a range of hours, as in 06:00-18:00 or 22:00-06:00`);
    }
    for (const item of this.items(days, 'days', 50)) {
      const text = this.text_(item, 'days, as in mon-fri');
      const range = text === null ? null : parseDays(text);
      if (range) model.days = [...new Set([...model.days, ...range])].sort((a, b) => a - b);
      else if (text !== null) this.fault(item, 'value', `"${text}" is not a day, as in mon or mon-fri`);
    }
    return model;
  }

  // Values

  private action(entry: Entry | undefined, otherwise: Action): Action {
    if (!entry) return otherwise;
    const text = this.scalar(entry);
    if (text === 'allow' || text === 'alert') return text;
    const key = String(entry.key.value);
    this.fault(entry.value ?? entry.key, 'value', `"${key}" is allow or alert${didYouMean(text, ['allow', 'alert'])}`);
    return otherwise;
  }

  private timeZone(entry: Entry | undefined): string | null {
    if (!entry) return null;
    const text = this.scalar(entry);
    if (isTimeZone(text)) return text;
    const hint = didYouMean(text, Intl.supportedValuesOf('timeZone'));
    this.fault(
      entry.value ?? entry.key,
      'value',
      `"${text}" is not a time zone of the IANA database, as in Europe/Berlin${hint}`,
    );
    return null;
  }

  private name(entry: Entry | undefined, owner: Node, what: string): string {
    if (!entry) {
      this.fault(owner, 'missing_key', `the ${what} has no "name"`);
      return '';
    }
    const name = this.scalar(entry).trim();
    const place = entry.value ?? entry.key;
    if (name === '') this.fault(place, 'value', `the name of a ${what} is a text that is not empty`);
    else if (name.length > MAX_NAME_LENGTH) this.fault(place, 'limit', `a name has at most ${MAX_NAME_LENGTH} characters`);
    else if (/[\x00-\x1f\x7f]/.test(name)) this.fault(place, 'value', 'a name has no control characters');
    return name;
  }

  private description(entry: Entry | undefined): string {
    return entry ? this.scalar(entry).slice(0, 2000) : '';
  }

  private numberRange(item: Node, lowest: number, highest: number, what: string): PortRange | null {
    const text = this.text_(item, `${what}, as in ${highest === 4094 ? '20' : '502'} or 100-110`);
    if (text === null) return null;
    const match = /^\s*(\d{1,5})\s*(?:-\s*(\d{1,5})\s*)?$/.exec(text);
    const first = match ? Number(match[1]) : -1;
    const last = match ? Number(match[2] ?? match[1]) : -1;
    if (first < lowest || last > highest)
      this.fault(item, 'value', `"${text}" is not ${what} from ${lowest} to ${highest}, or a range`);
    else if (last < first) this.fault(item, 'value', `the range ${text} is empty`);
    else return { first, last };
    return null;
  }
}

/** The dissectors that carry a dissector's payload, to the bottom. */
export function carriersOf(registry: Registry, index: number): Set<number> {
  const found = new Set<number>();
  const add = (child: number) => {
    for (const carrier of registry.dissectors[child].carriers) {
      if (carrier.layer !== 'within') continue;
      const parent = registry.indexOf(carrier.parent);
      if (parent < 0 || found.has(parent)) continue;
      found.add(parent);
      add(parent);
    }
  };
  add(index);
  return found;
}
