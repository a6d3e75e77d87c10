import type { Candidates, Page, Range, StoreReader } from '../store/queries.ts';

/** Rows that are looked through at once: some 20 ms, in which nobody else is answered. */
const SLICE = 10_000;
/** Alerts whose texts are taken in at once, some 3 ms, and the pause after them. */
const TAKEN_IN = 1000;
const PAUSE_MS = 10;

/**
 * A page in the order of ids of a list that has to be looked through row by row, such as for a text: slice by slice, with other answers in
 * between; of rows that `candidates` knows only those. `last_id`: the highest there is. The same page as `read` of all at once.
 */
export async function readInSlices<Row extends { id: number }>(
  last_id: number,
  range: Range & { limit: number; cursor?: number },
  read: (range: Range) => Page<Row>,
  candidates?: Candidates,
): Promise<Page<Row>> {
  const { limit, cursor, descending = false } = range;
  const rows: Row[] = [];
  const from = descending ? 1 : (cursor ?? 0) + 1;
  const to = descending ? Math.min(last_id, (cursor ?? Number.MAX_SAFE_INTEGER) - 1) : last_id;
  for (const part of slicesOf(from, to, descending, candidates)) {
    // One more than asked for tells whether there is a next page.
    rows.push(...read({ ...range, ...part, cursor: undefined, limit: limit + 1 - rows.length }).rows);
    if (rows.length > limit) break;
    await new Promise((resolve) => setImmediate(resolve));
  }
  const more = rows.length > limit;
  if (more) rows.pop();
  return { rows, next_cursor: more ? rows[rows.length - 1].id : null };
}

/**
 * A page in an order by numbers that has no index, so that the whole list is read: the first of each slice, of which the first of all
 * are among them. The same page as `read` of all at once.
 */
export async function readSortedInSlices<Row extends { id: number; sorted?: string | number }>(
  last_id: number,
  range: Range & { limit: number },
  read: (range: Range) => Page<Row>,
): Promise<Page<Row>> {
  const { limit, descending = false } = range;
  const way = descending ? -1 : 1;
  let rows: Row[] = [];
  for (const part of slicesOf(1, last_id, descending)) {
    rows.push(...read({ ...range, ...part, limit: limit + 1 }).rows);
    rows.sort((a, b) => way * (Number(a.sorted) - Number(b.sorted) || a.id - b.id));
    rows = rows.slice(0, limit + 1);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const last = rows[limit - 1];
  if (rows.length <= limit) return { rows, next_cursor: null };
  return { rows: rows.slice(0, limit), next_cursor: [last.sorted!, last.id] };
}

function* slicesOf(
  from: number,
  to: number,
  descending: boolean,
  candidates?: Candidates,
): Generator<Pick<Range, 'ids' | 'among'>> {
  const { low, high } = candidates ?? { low: to + 1, high: to };
  const parts: [from: number, to: number, known: boolean][] = [
    [from, Math.min(to, low - 1), false],
    [Math.max(from, low), Math.min(to, high), true],
    [Math.max(from, low, high + 1), to, false],
  ];
  for (const [first, last, known] of descending ? parts.reverse() : parts) {
    if (first > last) continue;
    if (known) for (const among of candidates!.between(first, last, descending)) yield { among };
    else if (descending) for (let at = last; at >= first; at -= SLICE) yield { ids: [Math.max(first, at - SLICE + 1), at] };
    else for (let at = first; at <= last; at += SLICE) yield { ids: [at, Math.min(last, at + SLICE - 1)] };
  }
}

const FILLING = new WeakSet<StoreReader>();

/** Somebody searches alerts for texts: what there is of them is taken in little by little, and what has come since the last search. */
export function fillAlertTexts(reader: StoreReader): void {
  if (FILLING.has(reader)) return;
  FILLING.add(reader);
  const step = () => {
    try {
      if (reader.alert_texts.takeIn(TAKEN_IN)) setTimeout(step, PAUSE_MS).unref();
      else FILLING.delete(reader);
    } catch {
      // The database was closed, or cannot be read: whoever asks next is told so.
      FILLING.delete(reader);
    }
  };
  setTimeout(step, PAUSE_MS).unref();
}
