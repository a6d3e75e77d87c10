import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Range } from '../store/queries.ts';
import { readInSlices } from './slices.ts';

/** A list of rows with these ids, as the store reads it. */
const listOf = (ids: readonly number[]) => {
  const sorted = [...new Set(ids)].sort((a, b) => a - b);
  return ({ cursor, limit = 100, descending = false, ids: within = [0, Number.MAX_SAFE_INTEGER] }: Range) => {
    const order = descending ? [...sorted].reverse() : sorted;
    const after = order.filter(
      (id) =>
        id >= within[0] &&
        id <= within[1] &&
        (cursor === undefined || (descending ? id < (cursor as number) : id > (cursor as number))),
    );
    const rows = after.slice(0, limit).map((id) => ({ id }));
    return { rows, next_cursor: after.length > limit ? rows[rows.length - 1].id : null };
  };
};

it('is the page that reading all at once gives, in both orders, from any cursor', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 60_000 }), { maxLength: 40 }),
      fc.integer({ min: 1, max: 12 }),
      fc.boolean(),
      fc.option(fc.integer({ min: 1, max: 60_000 }), { nil: undefined }),
      async (ids, limit, descending, cursor) => {
        const read = listOf(ids);
        const range = { limit, descending, cursor };
        expect(await readInSlices(Math.max(0, ...ids), range, read)).toEqual(read(range));
      },
    ),
    { numRuns: 200 },
  );
});
