import { type JsonConstant, JsonWriter } from './json.ts';
import { type Field, NumberList, type RecordType } from './record.ts';
import { Row } from './row.ts';

const MAX_FIELDS = 96;
const TAKEN = new Set([
  'type',
  'bytes',
  'dissector',
  'status',
  'anomalies',
  'operation',
  'unit',
  'v',
  'u64',
  'p0',
  'p1',
  'p2',
  'target',
  'target_space',
  'target_first',
  'target_last',
  'has',
  'clear',
]);

/** Is the declaration one that a class can be made of? Throws where not. */
export function checkNames({ name: record, fieldNames }: RecordType): void {
  if (fieldNames.length > MAX_FIELDS)
    throw new Error(`record ${record} has ${fieldNames.length} fields; the limit is ${MAX_FIELDS}`);
  for (const name of [record, ...fieldNames]) {
    if (!/^[a-z][a-z0-9_]*$/.test(name)) throw new Error(`record ${record}: "${name}" is not snake_case`);
    if (TAKEN.has(name)) throw new Error(`record ${record}: "${name}" is a name of Row itself`);
  }
}

/**
 * Makes the row class of a record type. Accessors and the JSON writer are generated as source: closures over offsets become
 * megamorphic once several record types are mixed, a class a type stays a typed store. Only names and numbers of our own declarations
 * go into the source, and `checkNames` has seen them. Made when the first row is wanted, the JSON writer when the first is written:
 * most runs see few of the protocols there are, and a start waits for none of them.
 */
export function makeRowClass(type: RecordType): new (type: RecordType) => Row {
  const lists: string[] = [];
  const accessors: string[] = [];
  type.fieldNames.forEach((name, index) => {
    const field = type.fields[name];
    const mark = `this.p${index >> 5} |= ${1 << (index & 31)};`;
    const value = field.kind === 'u64' ? `this.u64[${index}]` : `this.v[${index}]`;
    if (field.list) {
      lists.push(`this.list_${index}.count = 0; this.list_${index}.dropped = 0;`);
      accessors.push(`get ${name}() { ${mark} return this.list_${index}; }`);
    } else if (field.kind === 'bool') {
      accessors.push(`get ${name}() { return ${value} !== 0; } set ${name}(x) { ${mark} ${value} = x ? 1 : 0; }`);
    } else accessors.push(`get ${name}() { return ${value}; } set ${name}(x) { ${mark} ${value} = x; }`);
  });
  const listMembers = type.fieldNames.flatMap((name, index) =>
    type.fields[name].list ? [`this.list_${index} = new NumberList();`] : [],
  );
  const hasU64 = type.fieldNames.some((name) => type.fields[name].kind === 'u64');
  const source = `
    'use strict';
    return class extends Row {
      constructor(type) {
        super(type);
        ${listMembers.join('\n')}
        ${hasU64 ? 'this.u64 = new BigUint64Array(this.v.buffer);' : ''}
      }
      ${accessors.join('\n')}
      clearLists() { ${lists.join('\n')} }
    };`;
  const RowClass = new Function('Row', 'NumberList', source)(Row, NumberList) as new (type: RecordType) => Row;
  RowClass.prototype.writeFields = function (this: Row, out: JsonWriter): void {
    RowClass.prototype.writeFields = makeJsonWriter(type);
    this.writeFields(out);
  };
  return RowClass;
}

/** The most bytes that a number takes, and `true`, an IPv4 address or a time. */
const MAX_PLAIN_BYTES = 32;
/** Names of values up to here are found by their place, others by a Map. */
const MAX_PLACE = 1023;

/**
 * The method that writes a row's present fields as a JSON object. Keys are stored by words that stand in the code, behind one look at
 * the room there is for all of them up to the next value of unknown length.
 */
function makeJsonWriter(type: RecordType): (this: Row, out: JsonWriter) => void {
  const constants: Record<string, unknown> = { key_true: JsonWriter.constant('true'), key_false: JsonWriter.constant('false') };
  const writes: string[] = [];
  let room = 1;
  for (let index = type.fieldNames.length - 1; index >= 0; index--) {
    const name = type.fieldNames[index];
    const field = type.fields[name];
    const key = JsonWriter.constant(`,"${name}":`);
    const after: string[] = [];
    if (field.names && !field.list) after.push(nameWriter(name, field.names, index, constants));
    const is_plain = !field.list && !['u64', 'bytes', 'text', 'mac', 'ipv6', 'time_ms'].includes(field.kind);
    // What follows needs its room anew where this one's length is not known before.
    if (after.length > 0 || !is_plain) {
      after.push(`out.reserve(${room});`);
      room = 1;
    }
    room += key.length + 3 + (is_plain ? MAX_PLAIN_BYTES : 0);
    writes.unshift(
      `if (this.p${index >> 5} & ${1 << (index & 31)}) { ${wordWriter(key)} ${valueWriter(field, index)} ${after.join(' ')} }`,
    );
  }
  const source = `
    'use strict';
    return function writeFields(out) {
      const start = out.position;
      out.reserve(${room});
      ${writes.join('\n')}
      // Every member begins with a comma: the first one becomes the brace.
      if (out.position === start) out.byte(123);
      else out.bytes[start] = 123;
      out.byte(125);
    };`;
  return new Function(...Object.keys(constants), source)(...Object.values(constants));
}

/** Stores a constant for which there is room, and up to three bytes behind it. */
function wordWriter({ words, length }: JsonConstant): string {
  const stores = Array.from(words, (word, i) => `view.setInt32(at + ${i * 4}, ${word}, true);`);
  return `{ const { view, position: at } = out; ${stores.join(' ')} out.position = at + ${length}; }`;
}

/** Writes `<field>_name` where the value has a name. */
function nameWriter(
  field: string,
  names: Readonly<Record<number, string>>,
  index: number,
  constants: Record<string, unknown>,
): string {
  const texts = new Map<number, JsonConstant>();
  for (const [value, text] of Object.entries(names))
    texts.set(Number(value), JsonWriter.constant(`,"${field}_name":${JSON.stringify(text)}`));
  const largest = Math.max(...texts.keys());
  if (largest <= MAX_PLACE) {
    constants[`names_${index}`] = Array.from({ length: largest + 1 }, (_, value) => texts.get(value));
    return `{ const x = this.v[${index}]; if (x >= 0 && x <= ${largest}) { const n = names_${index}[x]; if (n !== undefined) out.constant(n); } }`;
  }
  constants[`names_${index}`] = texts;
  return `{ const n = names_${index}.get(this.v[${index}]); if (n !== undefined) out.constant(n); }`;
}

function valueWriter(field: Field, index: number): string {
  if (field.list) return `out.numbers(this.list_${index}.values, this.list_${index}.count);`;
  const value = `this.v[${index}]`;
  switch (field.kind) {
    case 'u64':
      return `out.ascii(this.u64[${index}].toString());`;
    case 'bool':
      return `out.constant(${value} !== 0 ? key_true : key_false);`;
    case 'bytes':
      return `out.bytesSpan(this.bytes, ${value});`;
    case 'text':
    case 'mac':
    case 'ipv6':
      return `out.${field.kind}(this.bytes, ${value});`;
    case 'time_ms':
    case 'ipv4':
      return `out.${field.kind}(${value});`;
    default:
      return `out.number(${value});`;
  }
}
