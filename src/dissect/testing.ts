import { Conversation, type Identity } from './conversation.ts';
import { Dissection } from './dissection.ts';
import type { AnyDissector } from './dissector.ts';
import { JsonWriter } from './json.ts';
import { OPERATION_NAMES, ROLE_NAMES, type RoleCode, STATUS_NAMES } from './operation.ts';
import { Reader } from './reader.ts';
import { Registry } from './registry.ts';

/** A row as the table tests write it: what is not there is left out. */
export interface TestRow {
  record: string;
  operation: string;
  status?: string;
  anomalies?: string[];
  role: string;
  unit?: number;
  target?: [string, number, number];
  fields: Record<string, unknown>;
}

export interface TestResult {
  rows: TestRow[];
  identities: Identity[];
}

/** Bytes of a hex text; blanks and line breaks group it as the specification does. */
export const fromHex = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replace(/\s+/g, ''), 'hex'));

/**
 * A conversation on paper: give it PDUs in hex, get their rows. `dissectors` are the one under test and those it needs
 * (children, parents). PDUs go through framing as on TCP; several in one hex text are cut apart.
 */
export class Bench {
  readonly registry: Registry;
  readonly conversation = new Conversation();
  private readonly dissection: Dissection;
  private readonly index: number;

  constructor(dissectors: readonly AnyDissector[], name = dissectors[0].name) {
    this.registry = new Registry(dissectors);
    this.dissection = new Dissection(this.registry);
    this.index = this.registry.indexOf(name);
    this.conversation.is_stream = true;
  }

  request(hex: string | Uint8Array): TestResult {
    return this.send(0, hex);
  }
  response(hex: string | Uint8Array): TestResult {
    return this.send(1, hex);
  }

  send(direction: 0 | 1, hex: string | Uint8Array, options: { complete?: boolean; client?: -1 | 0 | 1 } = {}): TestResult {
    const bytes = typeof hex === 'string' ? fromHex(hex) : hex;
    const { conversation } = this;
    const { framing } = this.registry.dissectors[this.index];
    const result: TestResult = { rows: [], identities: [] };
    if (conversation.frame === 0) conversation.client_direction = options.client ?? 0;
    for (let start = 0; start < bytes.length; ) {
      conversation.direction = direction;
      conversation.frame++;
      conversation.time_ms = Date.UTC(2026, 0, 2, 3, 4, 5) + conversation.frame * 10;
      let size = framing ? framing.sizeOf(new Reader(bytes, start), conversation) : bytes.length - start;
      let complete = options.complete ?? true;
      if (start + size > bytes.length) {
        size = bytes.length - start;
        complete = false;
      }
      if (size <= 0) throw new Error(`no PDU at byte ${start}: sizeOf gives ${size}`);
      this.dissection.run(this.index, new Reader(bytes, start, start + size), conversation, complete);
      if (this.dissection.failed) throw this.dissection.failed.error;
      result.rows.push(...this.rows());
      result.identities.push(...this.dissection.identities.map(({ dissector: _, ...identity }) => identity));
      start += size;
    }
    return result;
  }

  private rows(): TestRow[] {
    const { dissection, conversation, registry } = this;
    return dissection.rows.slice(0, dissection.count).map((row) => {
      const out = new JsonWriter();
      row.writeFields(out);
      const fields = JSON.parse(Buffer.from(out.bytes.subarray(0, out.position)).toString());
      const shown: TestRow = {
        record: row.type.name,
        operation: OPERATION_NAMES[row.operation],
        role: ROLE_NAMES[conversation.sender as RoleCode],
        fields,
      };
      if (row.status) shown.status = STATUS_NAMES[row.status];
      const anomalies = registry.anomalyNames[row.dissector].filter((_, bit) => row.anomalies & (1 << bit));
      if (anomalies.length) shown.anomalies = anomalies;
      if (row.unit >= 0) shown.unit = row.unit;
      if (row.target_space >= 0) {
        const name = registry.dissectors[row.dissector].targetName?.(row.target_space) ?? String(row.target_space);
        shown.target = [name, row.target_first, row.target_last];
      }
      return shown;
    });
  }
}
