import { describe, expect, it } from 'vitest';
import { datagram, host, Job, PUMP_PORT, pumpPdu, ShardBench, Talk } from './shard-bench.ts';
import { Shed, ShedControl } from './shedding.ts';

describe('ShedControl', () => {
  it('goes up at once, as far as it must', () => {
    const control = new ShedControl();
    expect([0, 0.2, 0.3, 0.6, 0.8, 1].map((fill, i) => control.update(fill, i * 200))).toEqual([0, 0, 1, 2, 3, 3]);
    expect(new ShedControl().update(0.9, 0)).toBe(3);
  });

  it('comes down step by step, when there has been room for a while', () => {
    const control = new ShedControl();
    control.update(0.8, 0);
    const levels = Array.from({ length: 60 }, (_, i) => control.update(0, 200 + i * 200));
    expect(levels.indexOf(2)).toBe(15);
    expect(levels.indexOf(1)).toBe(30);
    expect(levels.indexOf(0)).toBe(45);
  });

  it('does not swing: what ebbs for a moment does not count', () => {
    const control = new ShedControl();
    control.update(0.3, 0);
    const levels = Array.from({ length: 100 }, (_, i) => control.update(i % 10 === 0 ? 0.1 : 0.01, 200 + i * 200));
    expect(new Set(levels)).toEqual(new Set([1]));
  });
});

describe('a shard that leaves work undone', () => {
  /** A pump is written to, and something unknown carries much, while `level` holds. */
  async function run(level: (typeof Shed)[keyof typeof Shed]) {
    const bench = new ShardBench();
    const talk = new Talk(bench, host(1, 1), host(1, 2));
    await talk.open();
    await talk.client(pumpPdu(Job.write));
    for (let i = 0; i < 60; i++) await bench.packet(datagram(host(2, 1), host(2, 2), new Uint8Array(1400).fill(0xee), 9999));
    const [shard] = bench.shards;
    await bench.cut();
    shard.shedder.level = level;
    await talk.client(pumpPdu(Job.write));
    for (let i = 0; i < 10; i++) await bench.packet(datagram(host(2, 1), host(2, 2), new Uint8Array(1400).fill(0xee), 9999));
    for (let i = 0; i < 10; i++) await bench.packet(datagram(host(3, 1), host(3, 2), Uint8Array.of(1, 2, 3), 8888));
    await bench.packet(datagram(host(4, 1), host(4, 2), pumpPdu(Job.write), PUMP_PORT));
    await bench.cut();
    shard.shedder.level = Shed.nothing;
    await talk.client(pumpPdu(Job.stop));
    await bench.cut(true);
    const packets = bench.changes
      .flatMap(({ connections }) => connections)
      .reduce((sum, row) => sum + row.packets_from_opener + row.packets_from_responder, 0);
    return {
      pdus: bench.counters['dissect.pdus'],
      shed: { ...shard.shedder.counters },
      alerts: bench.alerts.map(({ kind }) => kind),
      packets,
      sent: bench.sent.length,
    };
  }

  it.each([
    [Shed.nothing, { bulk: 0, unrecognised: 0, all: 0 }, 4],
    [Shed.bulk, { bulk: 10, unrecognised: 0, all: 0 }, 4],
    [Shed.unrecognised, { bulk: 0, unrecognised: 20, all: 0 }, 4],
    [Shed.all, { bulk: 0, unrecognised: 20, all: 1 }, 3],
  ])('at level %i', async (level, shed, pdus) => {
    const result = await run(level);
    expect(result).toMatchObject({ shed, pdus });
    // Counted all the same; and when it keeps up again, what is said is heard.
    expect(result.packets).toBe(result.sent);
    expect(result.alerts).toContain('device_stop');
  });
});
