import { describe, expect, test } from 'vitest';
import { host, Job, pumpPdu, ShardBench, Talk } from './shard-bench.ts';

const HOUR_MS = 3600_000;
const YEARS_MS = 5 * 365 * 24 * HOUR_MS;

/** Polls of one conversation; `stepOf` gives what a packet's clock is off by, and each is `every_ms` after the one before. */
async function polled(times: number, every_ms: number, stepOf: (i: number) => number, batch_packets = 50): Promise<ShardBench> {
  const bench = new ShardBench();
  bench.batch_packets = batch_packets;
  const talk = new Talk(bench, host(2, 1), host(1, 1));
  const start_ms = bench.time_ms;
  await talk.open();
  for (let i = 0; i < times; i++) {
    bench.time_ms = start_ms + i * every_ms + stepOf(i);
    await talk.client(pumpPdu(Job.stop));
  }
  await bench.end();
  return bench;
}

const updates = (bench: ShardBench) => bench.facts.flatMap(({ flow_update }) => flow_update ?? []);
const packetsOf = (bench: ShardBench) =>
  updates(bench).reduce((sum, { packets_from_opener = 0 }) => sum + packets_from_opener!, 0);

describe('time that is not in order', () => {
  test('two clocks out of step do not bring the counts out at every packet', async () => {
    const bench = await polled(2000, 100, (i) => (i % 2) * 2 * HOUR_MS);
    // 200 s, by the clock that is ahead, and the end.
    expect(updates(bench).length).toBeLessThan(10);
    expect(packetsOf(bench)).toBe(2002);
  });

  test('counts come out again within two minutes after the clock was set back by years', async () => {
    const bench = await polled(4000, 100, (i) => (i < 1000 ? 0 : -YEARS_MS));
    const frames = bench.facts.filter(({ flow_update }) => flow_update).map(({ frame }) => frame!);
    const behind = frames.filter((frame) => frame > 1000);
    expect(behind[0]).toBeLessThan(1000 + 1200);
    // 300 s behind the step.
    expect(behind.length).toBeGreaterThanOrEqual(4);
    expect(behind.length).toBeLessThan(8);
    expect(packetsOf(bench)).toBe(4002);
  });

  test('a step forward by hours says the counts once', async () => {
    const bench = await polled(1000, 10, (i) => (i < 500 ? 0 : 5 * HOUR_MS));
    expect(updates(bench).length).toBeLessThanOrEqual(3);
    expect(packetsOf(bench)).toBe(1002);
  });

  test.each([
    ['back', -YEARS_MS],
    ['forward', 5 * HOUR_MS],
  ])('a clock set %s: an alert was never last seen before it was first seen, however the capture is cut', async (_, step) => {
    const found = await Promise.all(
      [1, 7, 1000].map(async (batch_packets) => {
        const bench = await polled(300, 10, (i) => (i >= 100 && i < 200 ? step : 0), batch_packets);
        return bench.alertsOf('device_stop').map(({ count, first_ms, last_ms, last_frame }) => ({
          count,
          first_ms,
          last_ms,
          last_frame,
        }));
      }),
    );
    expect(found[1]).toEqual(found[0]);
    expect(found[2]).toEqual(found[0]);
    expect(found[0]).toHaveLength(1);
    expect(found[0][0].count).toBe(300);
    expect(found[0][0].last_ms).toBe(found[0][0].first_ms - 1 + (step < 0 ? 2991 : 1991 + step));
  });

  test('no device was last seen before it was first seen', async () => {
    const bench = await polled(300, 10, (i) => (i < 100 ? 0 : -YEARS_MS));
    const devices = bench.changes.flatMap(({ devices }) => devices);
    expect(devices.length).toBeGreaterThan(0);
    for (const { first_ms, last_ms } of devices) expect(last_ms).toBeGreaterThanOrEqual(first_ms);
  });
});
