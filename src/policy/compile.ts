import { OPERATION_NAMES, ROLE_NAMES, STATUS_NAMES } from '../dissect/operation.ts';
import { type Span, spanLength, spanStart } from '../dissect/reader.ts';
import type { Field, FieldKind, RecordType } from '../dissect/record.ts';
import type { Registry } from '../dissect/registry.ts';
import type { Row } from '../dissect/row.ts';
import { didYouMean } from '../yaml/fault.ts';
import {
  type Comparator,
  type Expression,
  type FieldName,
  fieldsOf,
  type Literal,
  type RuleFault,
  type SetItem,
} from './rule.ts';
import { parseMac, parseSubnet } from './zones.ts';

/**
 * Conditions: names resolved against what the dissectors declare, then compiled to one generated function each.
 *
 * - `record.field` is a field of that record; a field that is not in the PDU makes its comparison false, also `!=`.
 * - A field that is a list satisfies a comparison if any of its values does.
 * - Names of enumerated values are compared without regard to case, and everything but letters and digits counts as `_`.
 * - Text is compared as UTF-8 bytes without the NULs and blanks at its end; bytes are written in hex.
 * - A value that the field can never have is refused: the rule would silently match nothing.
 *
 * Common names: `protocol`, `operation`, `unit`, `status`, `role` (the sender's), `port` (of the end that did not open the
 * conversation), `anomaly`.
 */

/** What a condition looks at, set by the evaluator; nothing in it is kept. */
export interface Subject {
  /** The row being judged; null where no protocol was recognised. */
  row: Row | null;
  /** By slot: the row of that record which goes with the row being judged, null where the PDU has none. */
  bound: (Row | null)[];
  /** Index of the dissector, -1 none. */
  dissector: number;
  operation: number;
  /** -1: none. */
  unit: number;
  role: number;
  /** -1: none. */
  port: number;
}

export interface CompiledCondition {
  test(subject: Subject): boolean;
  /** Slots of the records it names. */
  slots: readonly number[];
  names_role: boolean;
}

export const COMMON_FIELDS = ['protocol', 'operation', 'unit', 'status', 'role', 'port', 'anomaly'] as const;
type CommonField = (typeof COMMON_FIELDS)[number];

interface RecordEntry {
  type: RecordType;
  /** Dissectors that declare it. */
  dissectors: number[];
  slot: number;
}

/** Letters and digits in lower case, everything else one `_`. */
export const normalisedName = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .replace(/^_+|_+$/g, '');

/** What rules can name: the records and fields of a registry. Records get slots in the order in which conditions use them. */
export class FieldCatalogue {
  readonly registry: Registry;
  readonly slots = new Map<RecordType, number>();
  private readonly byName = new Map<string, RecordEntry[]>();

  constructor(registry: Registry) {
    this.registry = registry;
    registry.dissectors.forEach((dissector, index) => {
      for (const type of dissector.records as RecordType[]) {
        const entries = this.byName.get(type.name) ?? [];
        if (entries.length === 0) this.byName.set(type.name, entries);
        const known = entries.find((entry) => entry.type === type);
        if (known) known.dissectors.push(index);
        else entries.push({ type, dissectors: [index], slot: -1 });
      }
    });
  }

  /** Records of that name that have the field; several only where dissectors share a record's name. */
  find(field: FieldName): RecordEntry[] {
    return (this.byName.get(field.record ?? '') ?? []).filter(({ type }) => Object.hasOwn(type.fields, field.name));
  }

  /** Dissectors that emit the record. */
  dissectorsOf(record: string): number[] {
    return (this.byName.get(record) ?? []).flatMap((entry) => entry.dissectors);
  }

  slotOf(entry: RecordEntry): number {
    if (entry.slot < 0) {
      entry.slot = this.slots.size;
      this.slots.set(entry.type, entry.slot);
    }
    return entry.slot;
  }

  /** Why a field is not known, or null. */
  fault(field: FieldName): RuleFault | null {
    const { record, name, column } = field;
    if (record === null) {
      if ((COMMON_FIELDS as readonly string[]).includes(name)) return null;
      const places = this.placesOf(name);
      const hint = places.length > 0 ? ` (did you mean ${places.join(' or ')}?)` : didYouMean(name, COMMON_FIELDS);
      return { column, message: `unknown field "${name}"${hint}; fields are written record.field` };
    }
    if (this.find(field).length > 0) return null;
    const entries = this.byName.get(record);
    if (!entries) {
      if (this.registry.indexOf(record) >= 0) {
        const own = (this.registry.dissectors[this.registry.indexOf(record)].records as RecordType[]).map((type) => type.name);
        return { column, message: `${record} has no record of that name; its records are ${own.join(', ')}` };
      }
      const hint = didYouMean(record, this.byName.keys());
      return { column, message: `unknown record "${record}": no active dissector declares it${hint}` };
    }
    const places = this.placesOf(name).filter(
      (place) => place.startsWith(`${record}_`) || record.startsWith(place.split('.')[0]),
    );
    const hint =
      places.length > 0
        ? ` (did you mean ${places.join(' or ')}?)`
        : didYouMean(
            name,
            entries.flatMap(({ type }) => type.fieldNames),
          );
    return { column, message: `record ${record} has no field "${name}"${hint}` };
  }

  private placesOf(name: string): string[] {
    const places: string[] = [];
    for (const [record, entries] of this.byName)
      if (entries.some(({ type }) => Object.hasOwn(type.fields, name))) places.push(`${record}.${name}`);
    return places.slice(0, 3);
  }
}

/** Everything that is wrong with the names, types and values of a condition. */
export function checkCondition(expression: Expression, catalogue: FieldCatalogue): RuleFault[] {
  const emitter = new Emitter(catalogue);
  emitter.emit(expression);
  return emitter.faults;
}

/** Throws where `checkCondition` finds a fault. */
export function compileCondition(expression: Expression, catalogue: FieldCatalogue): CompiledCondition {
  const emitter = new Emitter(catalogue);
  const source = emitter.emit(expression);
  if (emitter.faults.length > 0) throw new Error(emitter.faults.map(({ column, message }) => `${column}: ${message}`).join('; '));
  const slots = new Set<number>();
  let names_role = false;
  for (const field of fieldsOf(expression)) {
    if (field.record === null) names_role ||= field.name === 'role';
    else for (const entry of catalogue.find(field)) slots.add(catalogue.slotOf(entry));
  }
  // Only numbers and names of our own go into the source: text from the zone file is passed as constants.
  const names = [...emitter.constants.keys()].map((index) => `k${index}`);
  const make = new Function(
    'sameBytes',
    'sameText',
    'anyOf',
    ...names,
    `'use strict'; ${emitter.predicates.join(' ')} return (s) => { let r = null; return ${source}; };`,
  );
  return { test: make(sameBytes, sameText, anyOf, ...emitter.constants), slots: [...slots], names_role };
}

const INTEGER_LIMITS: Partial<Record<FieldKind, readonly [bigint, bigint]>> = {
  u8: [0n, 0xffn],
  u16: [0n, 0xffffn],
  u24: [0n, 0xffffffn],
  u32: [0n, 0xffffffffn],
  u48: [0n, 0xffffffffffffn],
  u64: [0n, 0xffffffffffffffffn],
  i8: [-0x80n, 0x7fn],
  i16: [-0x8000n, 0x7fffn],
  i32: [-0x80000000n, 0x7fffffffn],
  bool: [0n, 1n],
};

/** One value or range, both ends included, as source of a number (a BigInt for u64). */
interface NumberRange {
  low: string;
  high: string;
}

/** How a number is written and checked, whatever it is stored in. */
interface NumberShape {
  what: string;
  kind: FieldKind;
  names: Readonly<Record<number, string>> | undefined;
}

class Emitter {
  readonly faults: RuleFault[] = [];
  readonly constants: unknown[] = [];
  readonly predicates: string[] = [];
  private readonly catalogue: FieldCatalogue;

  constructor(catalogue: FieldCatalogue) {
    this.catalogue = catalogue;
  }

  /** Source of a boolean expression over the subject `s`. */
  emit(expression: Expression): string {
    switch (expression.kind) {
      case 'and':
        return `(${expression.parts.map((part) => this.emit(part)).join(' && ')})`;
      case 'or':
        return `(${expression.parts.map((part) => this.emit(part)).join(' || ')})`;
      case 'not':
        return `!${this.emit(expression.part)}`;
      case 'present':
        return this.present(expression.field);
      case 'compare':
        return this.test(expression.field, expression.comparator, [{ from: expression.value, to: null }]);
      case 'in':
        return this.test(expression.field, 'in', expression.items);
    }
  }

  private present(field: FieldName): string {
    if (!this.known(field)) return 'false';
    if (field.record === null) return COMMON[field.name as CommonField].present;
    return this.overRecords(field, () => 'true');
  }

  private test(field: FieldName, comparator: Comparator | 'in', items: SetItem[]): string {
    if (!this.known(field)) return 'false';
    if (field.record === null) return this.common(field, comparator, items);
    return this.overRecords(field, (declared, index) => {
      switch (declared.kind) {
        case 'text':
        case 'bytes':
        case 'mac':
        case 'ipv6':
          return this.span(field, declared, index, comparator, items);
        default: {
          const shape = { what: `${field.record}.${field.name}`, kind: declared.kind, names: declared.names };
          const value = declared.list ? 'x' : `r.${declared.kind === 'u64' ? 'u64' : 'v'}[${index}]`;
          const test = this.numbers(shape, value, comparator, items);
          // The list itself, not its property: reading that marks the field as present.
          return declared.list ? `anyOf(r.list_${index}, ${this.predicate(test)})` : test;
        }
      }
    });
  }

  private known(field: FieldName): boolean {
    const fault = this.catalogue.fault(field);
    if (fault) this.faults.push(fault);
    return !fault;
  }

  /** The test on the row `r` of each record that has the field, guarded by its presence. */
  private overRecords(field: FieldName, test: (declared: Field, index: number) => string): string {
    const parts = this.catalogue.find(field).map((entry) => {
      const index = entry.type.fieldNames.indexOf(field.name);
      const slot = this.catalogue.slotOf(entry);
      const bit = 1 << (index & 31);
      return `((r = s.bound[${slot}]) !== null && (r.p${index >> 5} & ${bit}) !== 0 && ${test(entry.type.fields[field.name], index)})`;
    });
    return parts.length === 1 ? parts[0] : `(${parts.join(' || ')})`;
  }

  private common(field: FieldName, comparator: Comparator | 'in', items: SetItem[]): string {
    const name = field.name as CommonField;
    const { registry } = this.catalogue;
    if (name === 'anomaly') return this.anomaly(field, comparator, items);
    const { present, value } = COMMON[name];
    const names =
      name === 'protocol'
        ? registry.dissectors.map((dissector) => dissector.name)
        : name === 'operation'
          ? OPERATION_NAMES
          : name === 'status'
            ? STATUS_NAMES
            : name === 'role'
              ? ROLE_NAMES
              : undefined;
    if (names && !['==', '!=', 'in'].includes(comparator)) {
      this.faults.push({ column: field.column, message: `${name} can be compared with ==, != and in only` });
      return 'false';
    }
    if (names) {
      const number = [...items.flatMap(({ from, to }) => [from, to])].find((literal) => literal?.kind === 'number');
      if (number) {
        this.faults.push({ column: number.column, message: `${name} is compared with names, as in ${name} == ${names[0]}` });
        return 'false';
      }
    }
    const shape: NumberShape = { what: name, kind: 'u16', names: names ? { ...names } : undefined };
    return `(${present} && ${this.numbers(shape, value, comparator, items)})`;
  }

  private anomaly(field: FieldName, comparator: Comparator | 'in', items: SetItem[]): string {
    if (comparator !== '==' && comparator !== 'in') {
      this.faults.push({ column: field.column, message: 'anomaly can be compared with == and in only (use "not" before it)' });
      return 'false';
    }
    const { anomalyNames } = this.catalogue.registry;
    const masks = new Int32Array(anomalyNames.length);
    for (const { from, to } of items) {
      if (to !== null || from.kind === 'number') {
        this.faults.push({ column: from.column, message: 'anomaly is compared with names' });
        continue;
      }
      let found = false;
      anomalyNames.forEach((names, dissector) => {
        const bit = names.indexOf(normalisedName(from.text));
        if (bit < 0) return;
        masks[dissector] |= 1 << bit;
        found = true;
      });
      const hint = didYouMean(from.text, anomalyNames.flat());
      if (!found) this.faults.push({ column: from.column, message: `no dissector names an anomaly "${from.text}"${hint}` });
    }
    return `(s.row !== null && (s.row.anomalies & ${this.constant(masks)}[s.row.dissector]) !== 0)`;
  }

  /** A test of one value `x`, made once and not each time the condition is judged. */
  private predicate(test: string): string {
    this.predicates.push(`const p${this.predicates.length} = (x) => ${test};`);
    return `p${this.predicates.length - 1}`;
  }

  private constant(value: unknown): string {
    this.constants.push(value);
    return `k${this.constants.length - 1}`;
  }

  private numbers(shape: NumberShape, value: string, comparator: Comparator | 'in', items: SetItem[]): string {
    const ranges = items.flatMap(({ from, to }) => (to === null ? this.oneValue(shape, from) : this.range(shape, from, to)));
    if (ranges.length === 0) return 'false';
    if (comparator !== 'in' && comparator !== '==' && comparator !== '!=') {
      if (ranges.length > 1 || ranges[0].low !== ranges[0].high) {
        this.faults.push({ column: items[0].from.column, message: `"${comparator}" needs one value` });
        return 'false';
      }
      return `${value} ${comparator} ${ranges[0].low}`;
    }
    const test = ranges
      .map(({ low, high }) => (low === high ? `${value} === ${low}` : `(${value} >= ${low} && ${value} <= ${high})`))
      .join(' || ');
    return comparator === '!=' ? `!(${test})` : `(${test})`;
  }

  private range(shape: NumberShape, from: Literal, to: Literal): NumberRange[] {
    const low = this.oneValue(shape, from);
    const high = this.oneValue(shape, to);
    if (low.length === 0 || high.length === 0) return [];
    if (low.length > 1 || high.length > 1) {
      this.faults.push({ column: from.column, message: 'a range needs one value at each end' });
      return [];
    }
    const [first, last] = [low[0].low, high[0].high].map((text) => Number(text.replace(/n$/, '').replace(/[()]/g, '')));
    if (first > last) {
      this.faults.push({ column: from.column, message: `the range ${from.text}..${to.text} is empty` });
      return [];
    }
    return [{ low: low[0].low, high: high[0].high }];
  }

  /** The numbers a literal stands for: several where a name has several values. Empty after a fault. */
  private oneValue(shape: NumberShape, literal: Literal): NumberRange[] {
    const refuse = (message: string): NumberRange[] => {
      this.faults.push({ column: literal.column, message });
      return [];
    };
    const { what, kind, names } = shape;
    const { text } = literal;
    if (kind === 'bool') {
      if (literal.kind === 'text' || !['true', 'false', '0', '1'].includes(text)) return refuse(`${what} is true or false`);
      return [exactly(text === 'true' || text === '1' ? '1' : '0')];
    }
    if (kind === 'ipv4') {
      const parsed = literal.kind === 'text' ? parseSubnet(text) : null;
      if (!parsed) return refuse(`${what} is an IPv4 address; write it in quotes`);
      if (!parsed.ok) return refuse(parsed.message);
      if (parsed.value.family !== 4) return refuse(`${what} is an IPv4 address`);
      const first = parsed.value.words[3];
      return [{ low: String(first), high: String(first + 2 ** (32 - parsed.value.prefix_length) - 1) }];
    }
    if (kind === 'time_ms') {
      const time = literal.kind === 'text' ? parseTime(text) : Number.NaN;
      if (Number.isNaN(time)) return refuse(`${what} is a time; write it as "2026-01-31T12:00:00Z"`);
      return [exactly(sourceOf(time))];
    }
    if (literal.kind !== 'number') {
      if (!names) return refuse(`${what} is a number and its values have no names`);
      const wanted = normalisedName(text);
      const values = Object.keys(names).filter((value) => normalisedName(names[Number(value)]) === wanted);
      if (values.length === 0) {
        const known = Object.values(names).map(normalisedName);
        return refuse(`${what} has no value named "${text}"${didYouMean(wanted, known)}`);
      }
      return values.map((value) => exactly(kind === 'u64' ? `${value}n` : sourceOf(Number(value))));
    }
    const limits = INTEGER_LIMITS[kind];
    if (!limits) {
      const number = Number(text);
      if (!Number.isFinite(number)) return refuse(`${text} is not a number that ${what} can have`);
      return [exactly(sourceOf(kind === 'f32' ? Math.fround(number) : number))];
    }
    const number = integerOf(text);
    if (number === null) return refuse(`${what} has whole numbers only, never ${text}`);
    if (number < limits[0] || number > limits[1]) return refuse(`${what} is from ${limits[0]} to ${limits[1]}, never ${text}`);
    return [exactly(kind === 'u64' ? `${number}n` : sourceOf(Number(number)))];
  }

  private span(field: FieldName, declared: Field, index: number, comparator: Comparator | 'in', items: SetItem[]): string {
    const what = `${field.record}.${field.name}`;
    if (comparator !== '==' && comparator !== '!=' && comparator !== 'in') {
      this.faults.push({
        column: field.column,
        message: `${what} is ${SPAN_KINDS[declared.kind]}: only ==, != and in compare it`,
      });
      return 'false';
    }
    const tests: string[] = [];
    for (const { from, to } of items) {
      if (to !== null || from.kind !== 'text') {
        this.faults.push({ column: from.column, message: `${what} is ${SPAN_KINDS[declared.kind]}; write it in quotes` });
        continue;
      }
      const wanted = spanBytes(declared.kind, from.text);
      if (typeof wanted === 'string') this.faults.push({ column: from.column, message: wanted });
      else tests.push(`${declared.kind === 'text' ? 'sameText' : 'sameBytes'}(r.bytes, r.v[${index}], ${this.constant(wanted)})`);
    }
    if (tests.length === 0) return 'false';
    return comparator === '!=' ? `!(${tests.join(' || ')})` : `(${tests.join(' || ')})`;
  }
}

const COMMON: Record<CommonField, { present: string; value: string }> = {
  protocol: { present: 's.dissector >= 0', value: 's.dissector' },
  operation: { present: 's.dissector >= 0', value: 's.operation' },
  unit: { present: 's.unit >= 0', value: 's.unit' },
  status: { present: 's.row !== null', value: 's.row.status' },
  role: { present: 'true', value: 's.role' },
  port: { present: 's.port >= 0', value: 's.port' },
  anomaly: { present: '(s.row !== null && s.row.anomalies !== 0)', value: '' },
};

const SPAN_KINDS: Partial<Record<FieldKind, string>> = {
  text: 'text',
  bytes: 'bytes in hex',
  mac: 'a MAC address',
  ipv6: 'an IPv6 address',
};

const exactly = (source: string): NumberRange => ({ low: source, high: source });
const sourceOf = (number: number): string => (number < 0 ? `(${number})` : String(number));

function integerOf(text: string): bigint | null {
  const match = /^(-?)(0[xX][0-9a-fA-F]+|\d+)$/.exec(text);
  if (!match) {
    const number = Number(text);
    return Number.isSafeInteger(number) ? BigInt(number) : null;
  }
  const magnitude = BigInt(match[2]);
  return match[1] ? -magnitude : magnitude;
}

/** ISO 8601 with a date, and a zone where it has a time of day: else it would depend on the machine's zone. */
function parseTime(text: string): number {
  if (!/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2}))?$/.test(text)) return Number.NaN;
  return Date.parse(text);
}

/** What a span has to equal, or why the text is not such a value. */
function spanBytes(kind: FieldKind, text: string): Uint8Array | string {
  if (kind === 'text') return new TextEncoder().encode(text.replace(/[\0 ]+$/, ''));
  if (kind === 'bytes') {
    const digits = text.replace(/[\s:]/g, '');
    if (!/^([0-9a-fA-F]{2})*$/.test(digits)) return `"${text}" is not hex, two digits a byte`;
    return Uint8Array.from(Buffer.from(digits, 'hex'));
  }
  if (kind === 'mac') {
    const parsed = parseMac(text);
    if (parsed.ok) {
      const { high, low } = parsed.value;
      return Uint8Array.of(high >> 8, high & 255, low >>> 24, (low >>> 16) & 255, (low >>> 8) & 255, low & 255);
    }
    return parsed.message;
  }
  const parsed = parseSubnet(text);
  if (!parsed.ok) return parsed.message;
  if (text.includes('/') || !text.includes(':')) return `"${text}" is not an IPv6 address`;
  return Uint8Array.from(
    parsed.value.words.flatMap((word) => [word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255]),
  );
}

function sameBytes(bytes: Uint8Array, at: Span, wanted: Uint8Array): boolean {
  return spanLength(at) === wanted.length && sameAt(bytes, spanStart(at), wanted);
}

function sameText(bytes: Uint8Array, at: Span, wanted: Uint8Array): boolean {
  const start = spanStart(at);
  let length = spanLength(at);
  while (length > 0 && (bytes[start + length - 1] === 0 || bytes[start + length - 1] === 0x20)) length--;
  return length === wanted.length && sameAt(bytes, start, wanted);
}

function sameAt(bytes: Uint8Array, start: number, wanted: Uint8Array): boolean {
  for (let i = 0; i < wanted.length; i++) if (bytes[start + i] !== wanted[i]) return false;
  return true;
}

function anyOf(values: { count: number; values: Float64Array }, test: (x: number) => boolean): boolean {
  for (let i = 0; i < values.count; i++) if (test(values.values[i])) return true;
  return false;
}
