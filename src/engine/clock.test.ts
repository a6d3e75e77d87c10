import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { datagram, host, Job, pumpPdu, ShardBench, Talk } from './shard-bench.ts';

const HOUR_MS = 3_600_000;

/** Rows that have a first and a last time, as they are stored in the end. */
async function rowsOf(jumps_ms: readonly number[], shards = 2) {
  const bench = new ShardBench({ shards });
  const begin = bench.time_ms;
  const times: number[] = [];
  const talks = [1, 2, 3].map((i) => new Talk(bench, host(1, i), host(2, i), 40_000 + i));
  const at = async (sending: Promise<number>) => {
    await sending;
    times.push(bench.time_ms);
  };
  for (const talk of talks) await talk.open();
  times.push(begin, bench.time_ms);
  for (const jump_ms of jumps_ms) {
    bench.time_ms += jump_ms;
    for (const talk of talks) {
      await at(talk.client(pumpPdu(Job.write)));
      await at(talk.server(pumpPdu(Job.response)));
    }
    await at(bench.packet(datagram(host(3, 1), host(3, 2), pumpPdu(Job.read))));
    if (jump_ms % 2 === 0) await bench.cut();
  }
  await talks[0].client(pumpPdu(Job.stop));
  times.push(bench.time_ms);
  await bench.cut(true);
  const { changes } = bench;
  const last = <Row extends { id: number }>(rows: Row[]) => [...new Map(rows.map((row) => [row.id, row])).values()];
  return {
    begin: Math.min(...times),
    end: Math.max(...times),
    devices: last(changes.flatMap(({ devices }) => devices)),
    connections: last(changes.flatMap(({ connections }) => connections)),
    alerts: bench.alerts,
    counters: bench.counters,
    sent: bench.sent.length,
  };
}

describe('a clock that jumps', () => {
  it.each([
    ['back by hours', [-2 * HOUR_MS, 1000]],
    ['forward by years', [10 * 365 * 24 * HOUR_MS, 1000]],
    [
      'to and fro, as of two interfaces of which one is behind',
      Array.from({ length: 200 }, (_, i) => (i % 2 === 0 ? -61_000 : 61_000)),
    ],
    ['by a step of the clock and back again', [24 * HOUR_MS, -24 * HOUR_MS, 1000]],
  ])('%s: everything is counted, and nothing ends before it begins', async (_, jumps) => {
    const { devices, connections, alerts, counters, sent, begin, end } = await rowsOf(jumps);
    expect(counters['decode.packets']).toBe(sent);
    expect(counters['dissect.pdus']).toBeGreaterThan(jumps.length * 6);
    expect(devices).toHaveLength(7);
    for (const { first_ms, last_ms } of [...devices, ...connections, ...alerts]) {
      expect(first_ms).toBeLessThanOrEqual(last_ms);
      expect(first_ms).toBeGreaterThanOrEqual(begin);
      expect(last_ms).toBeLessThanOrEqual(end);
    }
    expect(alerts.map(({ kind }) => kind)).toContain('device_stop');
  });

  it('whichever way it jumps', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: -1e11, max: 1e11 }), { minLength: 1, maxLength: 12 }), async (jumps) => {
        const { devices, connections, counters, sent } = await rowsOf(jumps);
        expect(counters['decode.packets']).toBe(sent);
        for (const { first_ms, last_ms } of [...devices, ...connections]) expect(first_ms).toBeLessThanOrEqual(last_ms);
      }),
      { numRuns: 40 },
    );
  });
});
