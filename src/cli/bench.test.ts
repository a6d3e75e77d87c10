import { expect, test } from 'vitest';
import { growth, type LiveResult, type Sample } from '../../bench/live.ts';
import type { StartResult } from '../../bench/start.ts';
import { whyNoLiveCapture } from '../../native-bindings/pcap/testing.ts';
import { ot } from './testing.ts';

const skipped = whyNoLiveCapture() !== '';

test.skipIf(skipped)('bench start: a sensor with a full database captures and inspects, and loses nothing', async () => {
  const size = ['--devices', '300', '--connections', '500', '--activities', '2000'];
  const { code, stdout, stderr } = await ot([
    ...['bench', 'start', ...size, '--times', '2', '--packets-per-second', '2000', '--format', 'json'],
  ]);
  expect({ code, stderr }).toMatchObject({ code: 0 });
  const { starts } = JSON.parse(stdout) as StartResult;
  expect(starts).toHaveLength(2);
  for (const { first_packet_ms, capturing_ms, inspecting_ms, received, inspected, dropped_by_kernel } of starts) {
    expect(received).toBeGreaterThan(0);
    expect({ inspected, dropped_by_kernel }).toEqual({ inspected: received, dropped_by_kernel: 0 });
    for (const time of [first_packet_ms, capturing_ms]) expect(time).toBeLessThanOrEqual(inspecting_ms);
  }
});

test.skipIf(skipped)('bench live tells loss and memory while it goes on', async () => {
  const { code, stdout, stderr } = await ot([
    ...['bench', 'live', '--seconds', '3', '--sample-seconds', '1', '--packets-per-second', '2000', '--format', 'json'],
  ]);
  expect({ code, stderr }).toMatchObject({ code: 0 });
  const { samples, unaccounted, lost_before_capture } = JSON.parse(stdout) as LiveResult;
  expect(samples.map(({ second }) => second)).toEqual([1, 2, 3]);
  for (const { resident_mb } of samples) expect(resident_mb).toBeGreaterThan(0);
  expect({ unaccounted, lost_before_capture }).toEqual({ unaccounted: 0, lost_before_capture: 0 });
  expect(stderr).toContain('bench: 2 s: ');
});

const samples = (memory: readonly number[]): Sample[] =>
  memory.map((resident_mb, i) => ({ second: (i + 1) * 30, resident_mb, received: 0, lost: 0 }));

test('growth of memory is that of the second half, and nothing is said of less than a minute', () => {
  expect(growth(samples([50, 150, 180, 200, 200, 200, 200, 200]))).toBeCloseTo(0);
  expect(growth(samples([50, 60, 70, 80, 90, 100]))).toBeCloseTo(20);
  expect(growth(samples([50, 150, 160, 170]))).toBeNull();
});
