import type { JsonWriter } from './json.ts';
import type { OperationCode, StatusCode } from './operation.ts';
import type { Fields, RecordType } from './record.ts';

const NO_BYTES = new Uint8Array(0);

/**
 * One record of one PDU: a reused flyweight. Its class is generated for each record type (see row-class.ts), so that a field
 * is a typed store at a constant place. Valid from `emit` until the PDU's consumers have run; nothing keeps one.
 */
export abstract class Row {
  readonly type: RecordType<Fields>;
  /** What the spans in this row point into. */
  bytes: Uint8Array = NO_BYTES;
  /** Index of the dissector in the registry. */
  dissector = 0;
  status: StatusCode = 0;
  /** Bit i is the i-th anomaly of the dissector's declaration. */
  anomalies = 0;
  operation: OperationCode = 0;
  /** What the operation is about: a numbered space (coils, DB 5, group 30 …; see `Dissector.targetName`) and the range in it. -1: nothing. */
  target_space = -1;
  target_first = 0;
  target_last = 0;
  /** The device behind the address: unit id, outstation address; -1 where the protocol has none. */
  unit = -1;
  /** Numbers, by field index; u64 as the bits of its BigInt. */
  readonly v: Float64Array;
  /** Presence bits of the fields 0–31, 32–63, 64–95. */
  p0 = 0;
  p1 = 0;
  p2 = 0;

  constructor(type: RecordType<Fields>) {
    this.type = type;
    this.v = new Float64Array(type.fieldNames.length);
  }

  target(space: number, first: number, last: number): void {
    this.target_space = space;
    this.target_first = first;
    this.target_last = last;
  }

  /** Is the field in this PDU? By its place in the declaration. */
  hasAt(index: number): boolean {
    return ((index < 32 ? this.p0 : index < 64 ? this.p1 : this.p2) & (1 << (index & 31))) !== 0;
  }

  has(field: string): boolean {
    const index = this.type.fieldNames.indexOf(field);
    return index >= 0 && this.hasAt(index);
  }

  /** Forgets the last PDU: without this its values would leak into the next row. */
  clear(bytes: Uint8Array): void {
    this.bytes = bytes;
    this.status = 0;
    this.anomalies = 0;
    this.operation = 0;
    this.target_space = -1;
    this.unit = -1;
    this.p0 = 0;
    this.p1 = 0;
    this.p2 = 0;
    this.clearLists();
  }

  protected abstract clearLists(): void;
  /** Writes the present fields as one JSON object. */
  abstract writeFields(out: JsonWriter): void;
}
