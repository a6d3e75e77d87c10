import { spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { AnyDissector } from './dissector.ts';
import type { Field } from './record.ts';

/**
 * tshark as an oracle: for every field that names its Wireshark counterpart, the values of a capture, frame by frame.
 * Both sides are reduced to text in one normal form, so that 0x0003, "3" and 3 are the same value.
 */
export interface MappedField {
  protocol: string;
  record: string;
  field: string;
  wireshark: string;
  kind: Field['kind'];
}

export function mappedFields(dissectors: readonly AnyDissector[]): MappedField[] {
  const mapped: MappedField[] = [];
  for (const dissector of dissectors) {
    for (const record of dissector.records) {
      for (const field of record.fieldNames) {
        const { wireshark, kind } = record.fields[field];
        if (wireshark !== null) mapped.push({ protocol: dissector.name, record: record.name, field, wireshark, kind });
      }
    }
  }
  return mapped;
}

/** The version, as in "4.0.17"; null where tshark is not installed. */
export function tsharkVersion(): string | null {
  const { stdout, status } = spawnSync('tshark', ['--version'], { encoding: 'utf8' });
  return status === 0 ? (/TShark.*?(\d+\.\d+\.\d+)/.exec(stdout)?.[1] ?? 'unknown') : null;
}

/** By frame, by Wireshark field: the values in the order of the packet. */
export type FrameValues = Map<number, Map<string, string[]>>;

const SEPARATOR = '\u0001';

/** What tshark says of these fields. `heuristics`: extra arguments, such as `-d tcp.port==5021,mbtcp`. */
export async function tsharkValues(file: string, fields: readonly string[], extra: readonly string[] = []): Promise<FrameValues> {
  const args = [
    '-n',
    '-r',
    file,
    '-T',
    'fields',
    '-E',
    `aggregator=${SEPARATOR}`,
    '-E',
    'separator=/t',
    '-e',
    'frame.number',
    ...extra,
  ];
  for (const field of fields) args.push('-e', field);
  const child = spawn('tshark', args, { stdio: ['ignore', 'pipe', 'ignore'] });
  const frames: FrameValues = new Map();
  for await (const line of createInterface({ input: child.stdout, crlfDelay: Number.POSITIVE_INFINITY })) {
    const [frame, ...columns] = line.split('\t');
    const values = new Map<string, string[]>();
    columns.forEach((column, i) => {
      if (column !== '') values.set(fields[i], column.split(SEPARATOR).map(normal));
    });
    if (values.size > 0) frames.set(Number(frame), values);
  }
  return frames;
}

/** What our records say, from the lines of `dissect`: the same shape. */
export function recordValues(lines: Iterable<string>, mapped: readonly MappedField[]): FrameValues {
  const wireshark = new Map<string, Map<string, MappedField>>();
  for (const field of mapped) {
    const key = `${field.protocol}/${field.record}`;
    let fields = wireshark.get(key);
    if (fields === undefined) {
      fields = new Map();
      wireshark.set(key, fields);
    }
    fields.set(field.field, field);
  }
  const frames: FrameValues = new Map();
  for (const line of lines) {
    if (line === '') continue;
    const { frame, app_proto, record, fields } = JSON.parse(line);
    const known = wireshark.get(`${app_proto}/${record}`);
    if (known === undefined) continue;
    let values = frames.get(frame);
    if (values === undefined) {
      values = new Map();
      frames.set(frame, values);
    }
    for (const [name, value] of Object.entries(fields)) {
      const field = known.get(name);
      if (field === undefined) continue;
      const list = values.get(field.wireshark) ?? [];
      for (const one of Array.isArray(value) ? value : [value]) list.push(normal(one));
      values.set(field.wireshark, list);
    }
  }
  return frames;
}

/** Numbers in decimal, floats in seven digits, truth as 1 and 0, byte strings without separators, times in ms; text as it is. */
export function normal(value: unknown): string {
  if (typeof value === 'boolean') return value ? '1' : '0';
  if (typeof value === 'number') return Number.isInteger(value) ? String(value) : float(value);
  const text = String(value).trim();
  if (/^0x[0-9a-f]{1,12}$/i.test(text)) return String(Number.parseInt(text, 16));
  if (/^(true|false)$/i.test(text)) return text.toLowerCase() === 'true' ? '1' : '0';
  if (/^-?\d+$/.test(text)) return text.length < 16 ? String(Number(text)) : text;
  if (/^-?\d*\.\d+(e[+-]?\d+)?$|^-?\d+e[+-]?\d+$/i.test(text)) return float(Number(text));
  if (/^[0-9a-f]{2}(:[0-9a-f]{2})+$/i.test(text)) return text.replaceAll(':', '').toLowerCase();
  if (/^[A-Z][a-z]{2} [ \d]\d, \d{4,} [\d:.]+ UTC$|^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(text)) return milliseconds(text);
  return text.replace(/[\n\r\t]/g, (c) => ESCAPES[c]);
}

/** As tshark writes them in a column. */
const ESCAPES: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** Of tshark's "Apr 10, 2020 16:00:30.148000000 UTC" as of ISO 8601; digits below the millisecond are dropped. */
const milliseconds = (text: string): string => String(Date.parse(text.replace(/(\.\d{3})\d+/, '$1')));

const float = (value: number): string => String(Number(value.toPrecision(6)));

export interface Disagreement {
  frame: number;
  wireshark: string;
  tshark: string[];
  ours: string[];
}

export interface Comparison {
  /** Values tshark gave for mapped fields, and how many of them we gave too, in the same place. */
  values: number;
  equal: number;
  byField: Map<string, { values: number; equal: number }>;
  disagreements: Disagreement[];
}

/** Of the values that tshark gives, how many are ours, frame by frame and in order (longest common subsequence where counts differ). */
export function compare(tshark: FrameValues, ours: FrameValues): Comparison {
  const comparison: Comparison = { values: 0, equal: 0, byField: new Map(), disagreements: [] };
  for (const [frame, fields] of tshark) {
    for (const [wireshark, expected] of fields) {
      const found = ours.get(frame)?.get(wireshark) ?? [];
      const equal = same(expected, found) ? expected.length : common(expected, found);
      const field = comparison.byField.get(wireshark) ?? { values: 0, equal: 0 };
      comparison.byField.set(wireshark, field);
      comparison.values += expected.length;
      comparison.equal += equal;
      field.values += expected.length;
      field.equal += equal;
      if (equal < expected.length) comparison.disagreements.push({ frame, wireshark, tshark: expected, ours: found });
    }
  }
  return comparison;
}

/** tshark shows floats in six digits, with an exponent where they are large; a whole number of ours may be the same. */
function equalValues(a: string, b: string): boolean {
  if (a === b) return true;
  if (!/[.e]/.test(a) && !/[.e]/.test(b)) return false;
  const x = Number(a);
  const y = Number(b);
  return Math.abs(x - y) <= 1e-5 * Math.max(Math.abs(x), Math.abs(y));
}

const same = (a: readonly string[], b: readonly string[]) =>
  a.length === b.length && a.every((value, i) => equalValues(value, b[i]));

/** Length of the longest common subsequence, in bounds that any frame keeps to. */
function common(a: readonly string[], b: readonly string[]): number {
  if (a.length * b.length > 4_000_000) return a.filter((value, i) => value === b[i]).length;
  let previous = new Uint16Array(b.length + 1);
  for (const value of a) {
    const current = new Uint16Array(b.length + 1);
    for (let j = 0; j < b.length; j++)
      current[j + 1] = equalValues(value, b[j]) ? previous[j] + 1 : Math.max(previous[j + 1], current[j]);
    previous = current;
  }
  return previous[b.length];
}
