import type { Page, Range } from '../store/queries.ts';

/** Rows that are looked through at once: some 20 ms, in which nobody else is answered. */
const SLICE = 10_000;

/**
 * A page in the order of ids of a list that has to be looked through row by row, such as for a text: slice by slice, with other answers in
 * between. `last_id`: the highest there is. The same page as `read` of all at once.
 */
export async function readInSlices<Row extends { id: number }>(
  last_id: number,
  range: Range & { limit: number; cursor?: number },
  read: (range: Range) => Page<Row>,
): Promise<Page<Row>> {
  const { limit, cursor, descending = false } = range;
  const rows: Row[] = [];
  const first = descending ? Math.min(last_id, (cursor ?? Number.MAX_SAFE_INTEGER) - 1) : (cursor ?? 0) + 1;
  for (let at = first; descending ? at >= 1 : at <= last_id; at += descending ? -SLICE : SLICE) {
    const ids: [number, number] = descending ? [at - SLICE + 1, at] : [at, at + SLICE - 1];
    // One more than asked for tells whether there is a next page.
    rows.push(...read({ ...range, cursor: undefined, ids, limit: limit + 1 - rows.length }).rows);
    if (rows.length > limit) break;
    await new Promise((resolve) => setImmediate(resolve));
  }
  const more = rows.length > limit;
  if (more) rows.pop();
  return { rows, next_cursor: more ? rows[rows.length - 1].id : null };
}
