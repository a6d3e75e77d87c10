import type { Span } from './reader.ts';
import type { Row } from './row.ts';
import { checkNames, makeRowClass } from './row-class.ts';

/** How a field is stored and shown. `bits` in u8…u64 is for the documentation; all numbers but u64 are kept as doubles, exactly. */
export type FieldKind =
  | 'u8' | 'u16' | 'u24' | 'u32' | 'u48' | 'u64' | 'i8' | 'i16' | 'i32' | 'f32' | 'f64'
  | 'bool'
  /** UTF-8 (bytes that are not are shown as U+FFFD) */
  | 'text'
  /** shown as lower-case hex */
  | 'bytes'
  /** milliseconds since 1970-01-01T00:00Z, shown as ISO 8601 */
  | 'time_ms'
  /** a u32, shown dotted */
  | 'ipv4'
  /** a span of 16 bytes */
  | 'ipv6'
  /** a span of 6 bytes, shown with colons */
  | 'mac'; // biome-ignore format: one group a line

export interface FieldOptions {
  /** What the number counts, in the symbol of its unit: ms, bytes, %, … */
  unit?: string;
  /** Names of the values; a named value is shown beside its number as `<field>_name`, and rules may use the name. */
  names?: Readonly<Record<number, string>>;
}

export interface Field<T = unknown> extends FieldOptions {
  kind: FieldKind;
  /** Wireshark's name for the same value, or null where it has none. The oracle test compares by it. */
  wireshark: string | null;
  meaning: string;
  list: boolean;
  /** Only for the types: what the row's property takes. */
  readonly __type?: T;
}

type Make<T> = (wireshark: string | null, meaning: string, options?: FieldOptions) => Field<T>;
const kind =
  <T>(kind: FieldKind): Make<T> =>
  (wireshark, meaning, options) => ({ kind, wireshark, meaning, list: false, ...options });

export const u8 = kind<number>('u8');
export const u16 = kind<number>('u16');
export const u24 = kind<number>('u24');
export const u32 = kind<number>('u32');
export const u48 = kind<number>('u48');
export const u64 = kind<bigint>('u64');
export const i8 = kind<number>('i8');
export const i16 = kind<number>('i16');
export const i32 = kind<number>('i32');
export const f32 = kind<number>('f32');
export const f64 = kind<number>('f64');
export const bool = kind<boolean>('bool');
export const text = kind<Span>('text');
export const bytes = kind<Span>('bytes');
export const time = kind<number>('time_ms');
export const ipv4 = kind<number>('ipv4');
export const ipv6 = kind<Span>('ipv6');
export const mac = kind<Span>('mac');

/** Numbers of one kind, in order: registers, coils, … `pdu.values.push(r.u16())`. At most `MAX_LIST_VALUES` are kept. */
export const list = (of: Field<number>): Field<NumberList> => ({ ...of, list: true }) as Field<NumberList>;

export const MAX_LIST_VALUES = 8192;

export class NumberList {
  count = 0;
  /** Values that did not fit. */
  dropped = 0;
  values = new Float64Array(16);

  push(value: number): void {
    if (this.count === this.values.length) {
      if (this.count >= MAX_LIST_VALUES) {
        this.dropped++;
        return;
      }
      const larger = new Float64Array(this.count * 4);
      larger.set(this.values);
      this.values = larger;
    }
    this.values[this.count++] = value;
  }
}

export type Fields = Record<string, Field>;
type Value<F> = F extends Field<infer T> ? T : never;

/** A row as a dissector sees it: a property a declared field. Assigning marks the field as present in this PDU. */
export type RowOf<F extends Fields> = Row & { -readonly [K in keyof F]: Value<F[K]> };

export interface RecordType<F extends Fields = Fields> {
  readonly name: string;
  readonly meaning: string;
  readonly fields: F;
  readonly fieldNames: readonly string[];
  /** Small, and its own: where a dissection keeps the rows of this type that it reuses. */
  readonly id: number;
  newRow(): Row;
}

let records = 0;

/** Declares a record once; the row's layout and type, its JSON, the rules' fields, the documentation and the oracle follow from it. */
export function record<F extends Fields>(name: string, meaning: string, fields: F): RecordType<F> {
  const type = { name, meaning, fields, fieldNames: Object.keys(fields), id: records++ } as unknown as RecordType<F>;
  const plain = type as unknown as RecordType;
  checkNames(plain);
  let RowClass: ReturnType<typeof makeRowClass> | undefined;
  (type as { newRow: () => Row }).newRow = () => {
    RowClass ??= makeRowClass(plain);
    return new RowClass(plain);
  };
  return type;
}
