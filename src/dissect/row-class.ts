import { JsonWriter } from './json.ts';
import { NumberList, type RecordType } from './record.ts';
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

/**
 * Makes the row class of a record type. The accessors and the JSON writer are generated as source at start: closures over
 * offsets become megamorphic once several record types are mixed, a class a type stays a typed store.
 * Only names and numbers of our own declarations go into the source, and names are checked here.
 */
export function makeRowClass(type: RecordType): new (type: RecordType) => Row {
  const names = type.fieldNames;
  if (names.length > MAX_FIELDS) throw new Error(`record ${type.name} has ${names.length} fields; the limit is ${MAX_FIELDS}`);
  for (const name of [type.name, ...names]) {
    if (!/^[a-z][a-z0-9_]*$/.test(name)) throw new Error(`record ${type.name}: "${name}" is not snake_case`);
    if (TAKEN.has(name)) throw new Error(`record ${type.name}: "${name}" is a name of Row itself`);
  }
  const lists: string[] = [];
  const accessors: string[] = [];
  const writes: string[] = [];
  const constants: Record<string, unknown> = {};
  names.forEach((name, index) => {
    const field = type.fields[name];
    const mask = `p${index >> 5}`;
    const bit = `${1 << (index & 31)}`;
    const key = `key_${index}`;
    constants[key] = JsonWriter.constant(`,"${name}":`);
    writes.push(`if (this.${mask} & ${bit}) { out.constant(${key});`);
    if (field.list) {
      lists.push(`this.list_${index}.count = 0; this.list_${index}.dropped = 0;`);
      accessors.push(`get ${name}() { this.${mask} |= ${bit}; return this.list_${index}; }`);
      writes.push(`out.numbers(this.list_${index}.values, this.list_${index}.count); }`);
      return;
    }
    switch (field.kind) {
      case 'u64':
        accessors.push(
          `get ${name}() { return this.u64[${index}]; } set ${name}(x) { this.${mask} |= ${bit}; this.u64[${index}] = x; }`,
        );
        writes.push(`out.ascii(this.u64[${index}].toString());`);
        break;
      case 'bool':
        accessors.push(
          `get ${name}() { return this.v[${index}] !== 0; } set ${name}(x) { this.${mask} |= ${bit}; this.v[${index}] = x ? 1 : 0; }`,
        );
        writes.push(`out.constant(this.v[${index}] !== 0 ? key_true : key_false);`);
        break;
      default:
        accessors.push(
          `get ${name}() { return this.v[${index}]; } set ${name}(x) { this.${mask} |= ${bit}; this.v[${index}] = x; }`,
        );
        switch (field.kind) {
          case 'text':
          case 'bytes':
          case 'mac':
          case 'ipv6':
            writes.push(`out.${field.kind === 'bytes' ? 'bytesSpan' : field.kind}(this.bytes, this.v[${index}]);`);
            break;
          case 'time_ms':
          case 'ipv4':
            writes.push(`out.${field.kind}(this.v[${index}]);`);
            break;
          default:
            writes.push(`out.number(this.v[${index}]);`);
        }
    }
    if (field.names) {
      constants[`names_${index}`] = new Map(
        Object.entries(field.names).map(([value, text]) => [
          Number(value),
          JsonWriter.constant(`,"${name}_name":${JSON.stringify(text)}`),
        ]),
      );
      writes.push(`const n = names_${index}.get(this.v[${index}]); if (n !== undefined) out.constant(n);`);
    }
    writes.push('}');
  });
  const listMembers = names
    .map((_, index) => (type.fields[names[index]].list ? `this.list_${index} = new NumberList();` : ''))
    .filter(Boolean);
  const hasU64 = names.some((name) => type.fields[name].kind === 'u64');
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
      writeFields(out) {
        const start = out.position;
        ${writes.join('\n')}
        // Every member begins with a comma: the first one becomes the brace.
        if (out.position === start) out.byte(123);
        else out.bytes[start] = 123;
        out.byte(125);
      }
    };`;
  const scope = {
    Row,
    NumberList,
    key_true: JsonWriter.constant('true'),
    key_false: JsonWriter.constant('false'),
    ...constants,
  };
  return new Function(...Object.keys(scope), source)(...Object.values(scope));
}
