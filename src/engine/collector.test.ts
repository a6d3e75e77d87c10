import { describe, expect, test } from 'vitest';
import { PacketRing } from '../capture/batch.ts';
import { Inventory } from '../inventory/inventory.ts';
import { ot_sensor } from '../proto/facts.js';
import type { ChangeSet } from '../store/change-set.ts';
import { Collector } from './collector.ts';
import type { Failure } from './failure.ts';

const end = (last: number, port = 0) => ({ mac: Uint8Array.of(2, 0, 0, 0, 0, last), ip: Uint8Array.of(10, 0, 0, last), port });

const finding = (frame: number, key = 'k', over: ot_sensor.IFinding = {}): ot_sensor.IFact => ({
  frame,
  time_ms: frame * 10,
  finding: {
    key,
    kind: 'device_stop',
    flow_id: 1,
    source: end(1, 40_000),
    destination: end(2, 502),
    vlan: [0, 5, 7],
    proto: 'tcp',
    app_proto: 'pump',
    operation: 'stop',
    details: { what: 'job' },
    handshake: [],
    evidence_frame: frame,
    ...over,
  },
});

const failure = (dissector: string, frame: number, how: Failure['how'] = 'threw'): Failure => ({
  dissector,
  frame,
  how,
  error: 'Error: x\n  at y',
  lost: 0,
});

class Bench {
  readonly changes: ChangeSet[] = [];
  readonly inventory: Inventory = new Inventory({ onEvent: (event) => this.collector.onInventoryEvent(event) });
  readonly collector = new Collector(this.inventory, 1, async (changes) => {
    this.changes.push(changes);
  });
  private readonly ring = new PacketRing();
  private frame = 1;

  constructor() {
    this.inventory.begin(1);
  }

  /** A batch of `count` packets; facts and counters by shard. */
  batch(
    count: number,
    facts: ot_sensor.IFact[][],
    options: { flush?: boolean; finish?: boolean; counters?: Record<string, number>[]; failures?: Failure[][] } = {},
  ) {
    const { flush = false, finish = false, counters, failures } = options;
    const range = { first_frame: this.frame, count };
    this.frame += count;
    const answers = facts.map((one, shard) => ({
      facts: ot_sensor.BatchFacts.encode({ facts: one, counters: counters && { values: counters[shard] } }).finish(),
      records: null,
      failures: failures?.[shard] ?? [],
      packets: 0,
      lost: 0,
      incomplete: false,
      headers_only: 0,
      next_flow: Number.POSITIVE_INFINITY,
    }));
    return this.collector.batch(answers, { range, flush, finish }, this.ring);
  }
}

describe('a defect of ours', () => {
  test('is an alert, once a dissector, with the packet that brought it to light', async () => {
    const bench = new Bench();
    await bench.batch(10, [[], []], {
      flush: true,
      failures: [[failure('modbus', 7), failure('modbus', 9)], [failure('', 3, 'died')]],
    });
    expect(
      bench.changes[0].alerts.map(({ kind, first_frame, count, app_proto }) => [kind, first_frame, count, app_proto]),
    ).toEqual([
      ['thread_replaced', 3, 1, ''],
      ['dissector_failed', 7, 2, 'modbus'],
    ]);
    expect(bench.changes[0].alerts[0].description).toMatch(
      /the engine ended or hung its thread \(Error: x\); 0 packets were lost/,
    );
    expect(bench.changes[0].evidence.map(({ frame }) => frame)).toEqual([3, 7]);
  });
});

describe('facts', () => {
  test('of several shards are taken in packet order', async () => {
    const bench = new Bench();
    await bench.batch(10, [[finding(3, 'c'), finding(9, 'a')], [finding(1, 'a'), finding(4, 'b')], []], { flush: true });
    expect(bench.changes[0].alerts.map(({ key, first_frame, count }) => [key, first_frame, count])).toEqual([
      ['a', 1, 2],
      ['c', 3, 1],
      ['b', 4, 1],
    ]);
  });

  test('become alerts with both ends in text, and the segment without priority tags', async () => {
    const bench = new Bench();
    await bench.batch(1, [[finding(1)]], { flush: true });
    expect(bench.changes[0].alerts[0]).toMatchObject({
      source_mac: '02:00:00:00:00:01',
      source_ip: '10.0.0.1',
      source_port: 40_000,
      destination_ip: '10.0.0.2',
      destination_port: 502,
      segment: '5.7',
      first_ms: 10,
      description: 'A controller was told to stop. job',
    });
  });

  test('that the shard only counts are added to their alert', async () => {
    const bench = new Bench();
    await bench.batch(5, [[finding(1), { frame: 5, time_ms: 55, finding_update: { key: 'k', count: 40 } }]]);
    await bench.batch(5, [[{ frame: 7, time_ms: 70, finding_update: { key: 'k', count: 2 } }]], { flush: true });
    expect(bench.changes.flatMap(({ alerts }) => alerts)).toMatchObject([
      { count: 43, first_ms: 10, last_frame: 7, last_ms: 70 },
    ]);
  });

  test('that a flow gave way to another belong to its own last packet', async () => {
    const bench = new Bench();
    await bench.batch(5, [[finding(5, 'k', { evidence_frame: 2 })]], { flush: true });
    expect(bench.changes[0].alerts[0]).toMatchObject({ first_frame: 2 });
    expect(bench.changes[0].evidence.map(({ frame }) => frame)).toEqual([2]);
  });
});

describe('a device that was not known', () => {
  const spoke = (frame: number, last: number): ot_sensor.IFact => ({
    frame,
    time_ms: frame * 10,
    binding: { endpoint: end(last), vlan: [], how: 'traffic' },
  });

  test('is an alert, once, of that device', async () => {
    const bench = new Bench();
    await bench.batch(4, [[spoke(1, 1), spoke(2, 2), spoke(3, 1)]], { flush: true });
    const [{ alerts, devices }] = bench.changes;
    expect(alerts.map(({ kind, source_ip, first_frame }) => [kind, source_ip, first_frame])).toEqual([
      ['new_device', '10.0.0.1', 1],
      ['new_device', '10.0.0.2', 2],
    ]);
    expect(alerts.map(({ source_device }) => source_device)).toEqual(devices.map(({ id }) => id));
  });
});

describe('what is stored', () => {
  test('waits for the flush, and comes once', async () => {
    const bench = new Bench();
    await bench.batch(1, [[finding(1)]]);
    expect(bench.changes).toEqual([]);
    await bench.batch(1, [[]], { flush: true });
    await bench.batch(0, [[]], { finish: true });
    expect(bench.changes.map(({ alerts, evidence }) => [alerts.length, evidence.length])).toEqual([
      [1, 1],
      [0, 0],
    ]);
  });

  test('does not wait when there is much', async () => {
    const bench = new Bench();
    const many = Array.from({ length: 10_001 }, (_, i) => finding(1, `k${i}`));
    // Each with a packet of evidence.
    await bench.batch(1, [many]);
    expect(bench.changes).toHaveLength(1);
    expect(bench.changes[0].alerts).toHaveLength(10_001);
  });
});

describe('counters', () => {
  test("are the shards' added up, in the order of their names; the last that were said count", async () => {
    const bench = new Bench();
    await bench.batch(1, [[], []], { flush: true, counters: [{ 'tcp.gaps': 1, 'decode.packets': 5 }, { 'decode.packets': 7 }] });
    expect(bench.collector.counters).toEqual({ 'decode.packets': 12, 'tcp.gaps': 1 });
    expect(Object.keys(bench.collector.counters)).toEqual(['decode.packets', 'tcp.gaps']);
    await bench.batch(1, [[], []]);
    expect(bench.collector.counters['decode.packets']).toBe(12);
    await bench.batch(0, [[], []], { finish: true, counters: [{ 'decode.packets': 9 }, { 'decode.packets': 9 }] });
    expect(bench.collector.counters).toEqual({ 'decode.packets': 18 });
  });
});
