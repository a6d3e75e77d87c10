/** What is wrong with a YAML file of the operator's, and where. A `fault` refuses the file; a `warning` is worth reading. Lines and columns count from 1. */
export interface Fault {
  severity: 'fault' | 'warning';
  code: FaultCode;
  message: string;
  line: number;
  column: number;
}

export type FaultCode =
  | 'yaml'
  | 'structure'
  | 'unknown_key'
  | 'missing_key'
  | 'value'
  | 'limit'
  | 'duplicate'
  | 'unknown_zone'
  | 'unknown_protocol'
  | 'unknown_operation'
  | 'unknown_field'
  | 'unknown_name'
  | 'rule'
  | 'overlap'
  | 'unused_zone'
  | 'empty_zone'
  | 'unreachable_conduit'
  | 'contradicting_conduits'
  | 'within_zone'
  | 'closes_pairs';

/** `LINE:COLUMN: fault: message` */
export const faultText = (fault: Fault): string => `${fault.line}:${fault.column}: ${fault.severity}: ${fault.message}`;

const MAX_COMPARED = 5000;

/** ` (did you mean "…"?)` where one of the known names is close, else ''. */
export function didYouMean(word: string, known: Iterable<string>): string {
  const wanted = word.slice(0, 64).toLowerCase();
  let best = '';
  let bestDistance = Math.max(1, Math.floor(wanted.length / 3)) + 1;
  let compared = 0;
  for (const name of known) {
    if (++compared > MAX_COMPARED) break;
    if (Math.abs(name.length - wanted.length) >= bestDistance) continue;
    const distance = editDistance(wanted, name.toLowerCase());
    if (distance < bestDistance) {
      best = name;
      bestDistance = distance;
    }
  }
  return best === '' ? '' : ` (did you mean "${best}"?)`;
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      row[j] = Math.min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) row[j] = Math.min(row[j], before[j - 2] + 1);
    }
    before = previous;
    previous = row;
  }
  return previous[b.length];
}
