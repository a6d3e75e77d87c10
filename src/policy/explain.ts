import { JsonWriter } from '../dissect/json.ts';
import type { Row } from '../dissect/row.ts';
import { type Conduit, operationsText, portsText } from './conduits.ts';
import { type Expression, fieldsOf } from './rule.ts';
import { scheduleText } from './schedule.ts';

/** Verdicts in words. Nothing here runs on the packet path but for a packet that makes a finding. */

export const Reason = {
  /** A conduit with `alert` matches. */
  alert: 0,
  /** The pair has no conduit with `allow`. */
  none: 1,
  protocol: 2,
  operation: 3,
  port: 4,
  schedule: 5,
  condition: 6,
} as const;
export type ReasonName = keyof typeof Reason;
export type ReasonCode = (typeof Reason)[ReasonName];
export const REASON_NAMES = Object.keys(Reason) as ReasonName[];

/** What a verdict means; made only when somebody asks. */
export interface Explanation {
  from: string;
  to: string;
  /** A dissector's or an IP protocol's name, `unknown`. */
  protocol: string;
  /** null where no PDU was recognised. */
  operation: string | null;
  reason: ReasonName;
  /** The conduit that alerts or came nearest; null: none. */
  conduit: string | null;
  /** Its line in the zone file, 0 none. */
  conduit_line: number;
  /** The second half of the text: which conduit came nearest, and why it did not match. */
  why: string;
  /** All of it in one sentence. */
  text: string;
}

const COMMON_TEXT = 'no conduit allows this (there are too many kinds of findings to explain this one)';
/** For findings beyond the last kind that is numbered. */
export const COMMON_EXPLANATION: Explanation = {
  from: '',
  to: '',
  protocol: '',
  operation: null,
  reason: 'none',
  conduit: null,
  conduit_line: 0,
  why: COMMON_TEXT,
  text: COMMON_TEXT,
};

/** Why the conduit alerts, or did not match. */
export function whyText(reason: ReasonCode, conduit: Conduit | null): string {
  if (conduit === null) return 'no conduit allows anything between these zones';
  const name = `conduit "${conduit.name}" (line ${conduit.line})`;
  if (reason === Reason.alert) return `${name} says alert${conduit.condition ? ` when ${conduit.condition.text}` : ''}`;
  const nearest = `${name} comes nearest, but `;
  switch (reason) {
    case Reason.protocol:
      return `${nearest}allows only the protocols ${conduit.protocols?.join(', ')}`;
    case Reason.operation:
      return `${nearest}allows only the operations ${operationsText(conduit.operations ?? [])}`;
    case Reason.port:
      return `${nearest}allows only the ports ${portsText(conduit.ports ?? [])}`;
    case Reason.schedule:
      return `${nearest}is open only ${conduit.schedule ? scheduleText(conduit.schedule) : ''}`;
    default:
      return `${nearest}its condition is not met: ${conduit.condition?.text}`;
  }
}

/**
 * The values of the fields that the condition names, as seen from row `index`: its own, else those of the last row of the record
 * before it, else of the first behind it.
 */
export function observedText(expression: Expression, rows: readonly Row[], count: number, index: number): string {
  const texts = new Set<string>();
  for (const { record, name } of fieldsOf(expression)) {
    if (record === null) continue;
    const row = nearestRow(record, rows, count, index);
    const values = row === null ? {} : valuesOf(row);
    const label = values[`${name}_name`];
    const value = name in values ? `${shown(values[name])}${label === undefined ? '' : ` (${label})`}` : 'not there';
    texts.add(`${record}.${name} is ${value}`);
  }
  return [...texts].join(', ');
}

function nearestRow(record: string, rows: readonly Row[], count: number, index: number): Row | null {
  for (let i = Math.min(index, count - 1); i >= 0; i--) if (rows[i].type.name === record) return rows[i];
  for (let i = index + 1; i < count; i++) if (rows[i].type.name === record) return rows[i];
  return null;
}

function valuesOf(row: Row): Record<string, unknown> {
  const out = new JsonWriter();
  row.writeFields(out);
  return JSON.parse(new TextDecoder().decode(out.bytes.subarray(0, out.position)));
}

const MAX_SHOWN = 80;

function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}
