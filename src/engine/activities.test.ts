import { expect, test } from 'vitest';
import type { RoleCode } from '../dissect/operation.ts';
import type { Row } from '../dissect/row.ts';
import { Activities, NONE } from './activities.ts';

const rowOf = (dissector: number, operation: number, space: number, unit: number, first = 0, last = 0): Row =>
  ({ dissector, operation, target_space: space, unit, target_first: first, target_last: last }) as Row;

/** All of a flow, as it was met. */
function ring(activities: Activities, last: number, count: number): number[] {
  let entry = last;
  return Array.from({ length: count }, () => {
    entry = activities.next(entry);
    return entry;
  });
}

test('an activity is what it was made of, and counts on', () => {
  const activities = new Activities();
  const entry = activities.add(NONE, rowOf(300, 21, 4_000_000_000, 4_194_303, 5, 7), 2, 1, 10.5);
  activities.repeat(entry, rowOf(300, 21, 4_000_000_000, 4_194_303, 3, 9), 12.5);
  activities.repeat(entry, rowOf(300, 21, 4_000_000_000, 4_194_303, 4, 4), 11.5);
  const said = {
    dissector: activities.dissector(entry),
    operation: activities.operation(entry),
    role: activities.role(entry),
    from_opener: activities.from_opener(entry),
    space: activities.space(entry),
    unit: activities.unit(entry),
    range: [activities.first(entry), activities.last(entry)],
    count: activities.count(entry),
    times: [activities.first_ms(entry), activities.last_ms(entry)],
  };
  expect(said).toEqual({
    dissector: 300,
    operation: 21,
    role: 2,
    from_opener: false,
    space: 4_000_000_000,
    unit: 4_194_303,
    range: [3, 9],
    count: 3,
    times: [10.5, 12.5],
  });
  activities.said(entry);
  expect([activities.count(entry), activities.first_ms(entry)]).toEqual([0, 12.5]);
});

test('each of what makes it another does so', () => {
  const activities = new Activities();
  const entry = activities.add(NONE, rowOf(1, 2, 3, 4), 1, 0, 0);
  const others: [Row, RoleCode, 0 | 1][] = [
    [rowOf(2, 2, 3, 4), 1, 0],
    [rowOf(1, 3, 3, 4), 1, 0],
    [rowOf(1, 2, -1, 4), 1, 0],
    [rowOf(1, 2, 3, -1), 1, 0],
    [rowOf(1, 2, 3, 4), 2, 0],
    [rowOf(1, 2, 3, 4), 1, 1],
  ];
  expect(activities.is(entry, rowOf(1, 2, 3, 4), 1, 0)).toBe(true);
  for (const other of others) expect(activities.is(entry, ...other)).toBe(false);
});

test('flows keep theirs apart and in order, and what is released is used again', () => {
  const activities = new Activities();
  const flows = [3, 128, 1, 700].map((count, flow) => {
    let last = NONE;
    for (let i = 0; i < count; i++) last = activities.add(last, rowOf(flow, 1, i, flow), 0, 0, i);
    return { flow, count, last };
  });
  const check = () => {
    for (const { flow, count, last } of flows) {
      const entries = ring(activities, last, count);
      expect(entries.map((entry) => activities.space(entry))).toEqual(Array.from({ length: count }, (_, i) => i));
      expect(entries.every((entry) => activities.unit(entry) === flow)).toBe(true);
      expect(activities.next(last)).toBe(entries[0]);
    }
  };
  check();
  const highest = Math.max(...flows.flatMap(({ last, count }) => ring(activities, last, count)));
  for (let round = 0; round < 50; round++) {
    const one = flows[round % flows.length];
    activities.release(one.last);
    one.last = NONE;
    for (let i = 0; i < one.count; i++) one.last = activities.add(one.last, rowOf(one.flow, 1, i, one.flow), 0, 0, i);
    check();
    expect(ring(activities, one.last, one.count).every((entry) => entry <= highest)).toBe(true);
  }
  activities.release(NONE);
});
