import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Candidates, Page, Range } from '../store/queries.ts';
import { readInSlices, readSortedInSlices } from './slices.ts';

/** A list of rows with these ids, as the store reads it. */
const listOf = (ids: readonly number[]) => {
  const sorted = [...new Set(ids)].sort((a, b) => a - b);
  return ({ cursor, limit = 100, descending = false, ids: within = [0, Number.MAX_SAFE_INTEGER], among }: Range) => {
    const order = descending ? [...sorted].reverse() : sorted;
    const after = order.filter(
      (id) =>
        id >= within[0] &&
        id <= within[1] &&
        (among === undefined || among.includes(id)) &&
        (cursor === undefined || (descending ? id < (cursor as number) : id > (cursor as number))),
    );
    const rows = after.slice(0, limit).map((id) => ({ id }));
    return { rows, next_cursor: after.length > limit ? rows[rows.length - 1].id : null };
  };
};

/** Knows those from `low` to `high`, and gives three at a time; among them one that is not there. */
const candidatesOf = (ids: readonly number[], low: number, high: number): Candidates => ({
  low,
  high,
  *between(from, to, descending) {
    expect(from).toBeGreaterThanOrEqual(low);
    expect(to).toBeLessThanOrEqual(high);
    const sorted = [...new Set([...ids, from])].filter((id) => id >= from && id <= to).sort((a, b) => a - b);
    if (descending) sorted.reverse();
    for (let at = 0; at < sorted.length; at += 3) yield sorted.slice(at, at + 3);
  },
});

it('is the page that reading all at once gives, in both orders, from any cursor', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 60_000 }), { maxLength: 40 }),
      fc.integer({ min: 1, max: 12 }),
      fc.boolean(),
      fc.option(fc.integer({ min: 1, max: 60_000 }), { nil: undefined }),
      fc.option(fc.tuple(fc.integer({ min: 1, max: 60_000 }), fc.integer({ min: 0, max: 60_000 }))),
      async (ids, limit, descending, cursor, known) => {
        const read = listOf(ids);
        const range = { limit, descending, cursor };
        const candidates = known === null ? undefined : candidatesOf(ids, known[0], known[0] + known[1] - 1);
        expect(await readInSlices(Math.max(0, ...ids), range, read, candidates)).toEqual(read(range));
      },
    ),
    { numRuns: 200 },
  );
});

it('is the page in an order of numbers, too', async () => {
  const row = fc.record({ id: fc.integer({ min: 1, max: 60_000 }), sorted: fc.integer({ min: -3, max: 3 }) });
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(row, { maxLength: 40, selector: ({ id }) => id }),
      fc.integer({ min: 1, max: 12 }),
      fc.boolean(),
      async (all, limit, descending) => {
        const read = ({ ids: [from, to] = [0, Number.MAX_SAFE_INTEGER], limit = 100 }: Range): Page<(typeof all)[number]> => {
          const order = all.filter(({ id }) => id >= from && id <= to).sort((a, b) => a.sorted - b.sorted || a.id - b.id);
          if (descending) order.reverse();
          const rows = order.slice(0, limit);
          const last = rows.at(-1);
          return { rows, next_cursor: order.length > limit && last ? [last.sorted, last.id] : null };
        };
        const range = { limit, descending, sort: 'count' };
        expect(await readSortedInSlices(Math.max(0, ...all.map(({ id }) => id)), range, read)).toEqual(read(range));
      },
    ),
    { numRuns: 200 },
  );
});
