import { describe, expect, it } from 'vitest';
import { BatchWriter, PacketRing } from '../capture/batch.ts';
import { Registry } from '../dissect/registry.ts';
import { addressHash, newTags, pairTag } from '../recording/tag.ts';
import { Shard, type ShardOptions } from './shard.ts';
import { datagram, host, Job, PUMP_PORT, pump, pumpPdu, ShardBench, Talk } from './shard-bench.ts';
import { SHEDDING_DEFAULTS, Shed, ShedControl } from './shedding.ts';

describe('ShedControl', () => {
  it('goes up at once, as far as it must', () => {
    const control = new ShedControl();
    expect([0, 0.2, 0.3, 0.6, 0.8, 1].map((fill, i) => control.update(fill, i * 200))).toEqual([0, 0, 1, 2, 3, 3]);
    expect(new ShedControl().update(0.9, 0)).toBe(3);
  });

  it('holds to the numbers it is given', () => {
    const control = new ShedControl({ ...SHEDDING_DEFAULTS, bulk_begins_percent: 10, bulk_ends_percent: 9, calm_ms: 1000 });
    expect([0.09, 0.1, 0.09, 0.08, 0.08, 0.08].map((fill, i) => control.update(fill, i * 500))).toEqual([0, 1, 1, 1, 1, 0]);
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

  it('hears the end of a conversation in a packet whose payload it leaves out', async () => {
    const bench = new ShardBench();
    const [shard] = bench.shards;
    const first = new Talk(bench, host(1, 1), host(1, 2));
    await first.open();
    await first.client(pumpPdu(Job.write));
    await bench.cut();
    shard.shedder.level = Shed.all;
    await first.segment(0, 0x19, pumpPdu(Job.write));
    await bench.cut();
    shard.shedder.level = Shed.nothing;
    // The same ports again: another conversation, of which nothing is missing.
    const second = new Talk(bench, host(1, 1), host(1, 2));
    await second.open();
    await second.client(pumpPdu(Job.stop));
    await bench.end();
    const opened = bench.facts.filter(({ flow_opened }) => flow_opened !== null && flow_opened !== undefined);
    expect(opened).toHaveLength(2);
    expect(bench.counters).toMatchObject({ 'shed.all': 1, 'dissect.pdus': 2 });
  });

  /** A single packet of something unknown, at a level. */
  function unknownPacket(level: (typeof Shed)[keyof typeof Shed], options: Partial<ShardOptions>): Shard {
    const ring = new PacketRing();
    const writer = new BatchWriter(ring);
    const frame = datagram(host(2, 1), host(2, 2), Uint8Array.of(1, 2, 3), 8888);
    writer.buffer.set(frame, writer.start);
    writer.add(writer.start, frame.length, frame.length, 1_700_000_000, 0, 0, 1);
    const range = writer.next(frame.length);
    const standing = { shard: 0, shards: 1, output: 'facts', protocols: null, policy: null } as const;
    const shard = new Shard(ring.buffers, new Registry([pump]), { ...standing, ...options });
    shard.shedder.level = level;
    shard.process(range);
    return shard;
  }

  it.each([
    [undefined, 0],
    [0, 1],
  ])('is told how much is bulk: %s', (bulk_bytes, bulk) => {
    expect(unknownPacket(Shed.bulk, { bulk_bytes }).shedder.counters.bulk).toBe(bulk);
  });

  it('says to the recorder whose a packet is all the same', () => {
    const tags = newTags();
    const word = new Uint32Array(tags);
    // What is said of the packet that was in this place before must not stay.
    word[0] = 0xdead_beef;
    const shard = unknownPacket(Shed.all, { tags });
    expect(shard.shedder.counters.unrecognised).toBe(1);
    const one = addressHash(0, 0, 0xffff, 0x0a000201);
    const other = addressHash(0, 0, 0xffff, 0x0a000202);
    expect(word[0]).toBe(pairTag(one, other));
  });
});
