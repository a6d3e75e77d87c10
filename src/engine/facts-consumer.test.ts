import { describe, expect, test } from 'vitest';
import { bytes, ethernet } from '../decode/testing.ts';
import type { ot_sensor } from '../proto/facts.js';
import { NOTES_LIMITS } from './flow-notes.ts';
import { datagram, type Host, host, Job, PUMP_ETHERTYPE, PUMP_PORT, pumpPdu, ShardBench, Talk } from './shard-bench.ts';

const HMI = host(2, 1);
const PLC = host(1, 1);

type What = 'flow_opened' | 'flow_update' | 'activity' | 'attribute' | 'binding';
/** As they were decoded: values that are protobuf's defaults are those of the prototype. */
function of<W extends What>(bench: ShardBench, what: W): NonNullable<ot_sensor.IFact[W]>[] {
  return bench.facts.flatMap((fact) => fact[what] ?? []);
}

async function polled(times: number): Promise<ShardBench> {
  const bench = new ShardBench();
  const talk = new Talk(bench, HMI, PLC);
  await talk.open();
  for (let i = 0; i < times; i++) {
    await talk.client(pumpPdu(Job.read, { address: 10 + (i % 5) }));
    await talk.server(pumpPdu(Job.response, { address: 10 + (i % 5) }));
  }
  await bench.end();
  return bench;
}

describe('activities', () => {
  test('are conversation × protocol × operation × target, counted: the first at once, the rest at the end', async () => {
    const bench = await polled(50);
    const mine = of(bench, 'activity');
    expect(mine.map(({ operation, from_opener, role, count }) => [operation, from_opener, role, count])).toEqual([
      ['read', true, 'client', 1],
      ['read', false, 'server', 1],
      ['read', true, 'client', 49],
      ['read', false, 'server', 49],
    ]);
    // The last counts are said behind the last packet.
    expect(bench.facts.filter(({ activity }) => activity).map(({ frame }) => frame)).toEqual([4, 5, 103.5, 103.5]);
    // The range grows with what was asked.
    expect(mine.map(({ target, target_first, target_last }) => [target, target_first, target_last])).toEqual([
      ['bank 1', 10, 10],
      ['bank 1', 10, 10],
      ['bank 1', 10, 14],
      ['bank 1', 10, 14],
    ]);
    expect(mine.every(({ unit, unit_name, app_proto }) => unit === 1 && unit_name === 'unit' && app_proto === 'pump')).toBe(true);
  });

  test('do not grow with packets', async () => {
    const [few, many] = [await polled(20), await polled(2000)];
    expect(many.facts.length).toBe(few.facts.length);
  });

  test('each packet is counted once, however often counts are said', async () => {
    const bench = new ShardBench();
    const talk = new Talk(bench, HMI, PLC);
    await talk.open();
    for (let i = 0; i < 30; i++) {
      bench.time_ms += 45_000;
      await talk.client(pumpPdu(i % 2 === 0 ? Job.read : Job.write));
      await bench.cut();
    }
    await bench.end();
    const total = (operation: string) =>
      of(bench, 'activity').reduce((sum, one) => sum + (one.operation === operation ? one.count! : 0), 0);
    expect([total('read'), total('write')]).toEqual([15, 15]);
    const updates = of(bench, 'flow_update');
    expect(updates.length).toBeGreaterThan(5);
    const sum = (name: 'packets_from_opener' | 'packets_from_responder' | 'bytes_from_opener') =>
      updates.reduce((all, one) => all + one[name]!, 0);
    expect([sum('packets_from_opener'), sum('packets_from_responder')]).toEqual([32, 1]);
    expect(sum('bytes_from_opener')).toBe(2 * 54 + 30 * 61);
    expect(updates.filter(({ ended }) => ended)).toHaveLength(1);
  });

  test('are told apart by unit and operation, and bounded', async () => {
    const bench = new ShardBench();
    const talk = new Talk(bench, HMI, PLC);
    await talk.open();
    for (let round = 0; round < 2; round++) for (let unit = 0; unit < 200; unit++) await talk.client(pumpPdu(Job.read, { unit }));
    await bench.end();
    const units = new Set(of(bench, 'activity').map(({ unit }) => unit));
    expect(units.size).toBe(NOTES_LIMITS.activities);
    expect(bench.counters['facts.activities_dropped']).toBe(2 * (200 - NOTES_LIMITS.activities));
  });
});

describe('flows', () => {
  test('are opened with what is known of both ends', async () => {
    const bench = await polled(1);
    const [opened] = of(bench, 'flow_opened');
    expect(opened).toMatchObject({ flow_id: 1, proto: 'tcp', opener_certain: true, vlan: [], ethertype: 0 });
    expect([...opened.opener!.ip!, opened.opener!.port]).toEqual([10, 0, 2, 1, 40_000]);
    expect([...opened.responder!.ip!, opened.responder!.port]).toEqual([10, 0, 1, 1, PUMP_PORT]);
    expect(Buffer.from(opened.responder!.mac!).toString('hex')).toBe(PLC.mac);
    expect(of(bench, 'flow_update')[0]).toMatchObject({
      app_proto: 'pump',
      recognised_by: 'port',
      client: 0,
      opener_certain: true,
    });
  });

  test('without IP', async () => {
    const bench = new ShardBench();
    await bench.packet(ethernet(PUMP_ETHERTYPE, pumpPdu(Job.write), HMI.mac, PLC.mac));
    await bench.end();
    expect(of(bench, 'flow_opened')[0]).toMatchObject({ proto: 'eth', ethertype: PUMP_ETHERTYPE });
    expect(of(bench, 'flow_opened')[0].opener).toMatchObject({ port: 0 });
    expect(of(bench, 'activity')[0]).toMatchObject({ operation: 'write', app_proto: 'pump' });
  });

  test('that time out say their last words before the next begins on the same ports', async () => {
    const bench = new ShardBench();
    await bench.packet(datagram(HMI, PLC, pumpPdu(Job.read)));
    const first_ms = bench.time_ms;
    const second = await bench.packet(datagram(HMI, PLC, pumpPdu(Job.write)), { wait_ms: 16 * 60_000 });
    await bench.end();
    const updates = of(bench, 'flow_update');
    expect(updates.filter(({ ended }) => ended).map(({ flow_id, last_ms }) => [flow_id, last_ms])).toEqual([
      [1, first_ms],
      [second, bench.time_ms],
    ]);
    expect(updates.reduce((sum, one) => sum + one.packets_from_opener!, 0)).toBe(2);
    expect(bench.counters).toMatchObject({ 'flow.timed_out': 1, 'flow.flows': 1 });
  });

  test('that are evicted say theirs, too', async () => {
    const bench = new ShardBench({ flow_limits: { max_flows: 3 } });
    for (let i = 1; i <= 10; i++) await bench.packet(datagram(host(3, i), PLC, pumpPdu(Job.read)));
    await bench.end();
    expect(of(bench, 'flow_update').filter(({ ended }) => ended)).toHaveLength(10);
    expect(bench.counters).toMatchObject({ 'flow.evicted': 7, 'flow.flows': 3 });
  });
});

describe('half a PDU', () => {
  test('at FIN and RST, and again at the end of the capture, is seen once', async () => {
    for (const flags of [4, 0x11]) {
      const bench = new ShardBench();
      const talk = new Talk(bench, HMI, PLC);
      await talk.open();
      await talk.client(pumpPdu(Job.write));
      await talk.client(pumpPdu(Job.write).subarray(0, 6));
      await talk.segment(0, flags);
      await talk.segment(1, flags);
      await bench.end();
      expect(bench.counters['dissect.pdus']).toBe(2);
      expect(bench.alertsOf('malformed_pdu')).toEqual([]);
    }
  });

  test('data behind a RST goes on in step', async () => {
    const bench = new ShardBench();
    const talk = new Talk(bench, HMI, PLC);
    await talk.open();
    const pdu = pumpPdu(Job.write, { size: 30 });
    await talk.client(pdu.subarray(0, 10));
    await talk.segment(1, 4);
    await talk.client(pdu.subarray(10));
    await talk.client(pumpPdu(Job.stop));
    await bench.end();
    expect(bench.counters['dissect.pdus']).toBe(2);
    expect(bench.counters['framing.resynchronisations']).toBeUndefined();
    expect(bench.alertsOf('device_stop')).toHaveLength(1);
  });
});

describe('attributes', () => {
  test('are facts when they change', async () => {
    const bench = new ShardBench();
    const talk = new Talk(bench, HMI, PLC);
    await talk.open();
    for (const address of [1, 1, 1, 2, 2, 1]) await talk.server(pumpPdu(Job.identify, { address }));
    await bench.end();
    const found = of(bench, 'attribute');
    expect(found.map(({ attribute, value }) => [attribute, value])).toEqual([
      ['model', 'P-1'],
      ['model', 'P-2'],
      ['model', 'P-1'],
    ]);
    expect([...found[0].endpoint!.ip!]).toEqual([10, 0, 1, 1]);
    expect(found[0]).toMatchObject({ app_proto: 'pump', field: 'pump.address', part: '' });
  });
});

describe('bindings of addresses', () => {
  const told = (bench: ShardBench) =>
    of(bench, 'binding').map(({ endpoint, how }) => [how, Buffer.from(endpoint!.mac!).toString('hex'), endpoint!.ip!.join('.')]);

  test('each sender once a flow, and again when its MAC address changes', async () => {
    const bench = new ShardBench();
    const moved: Host = { ...HMI, mac: '02000000ffff' };
    await bench.packet(datagram(HMI, PLC, pumpPdu(Job.read)));
    await bench.packet(datagram(HMI, PLC, pumpPdu(Job.read)));
    await bench.packet(datagram(moved, PLC, pumpPdu(Job.read)));
    await bench.packet(datagram(moved, PLC, pumpPdu(Job.read)));
    await bench.end();
    expect(told(bench)).toEqual([
      ['traffic', HMI.mac, '10.0.2.1'],
      ['traffic', moved.mac, '10.0.2.1'],
    ]);
  });

  test('from ARP: what the owner says itself', async () => {
    const bench = new ShardBench();
    const request = bytes('0001 0800 06 04 0001', HMI.mac, HMI.ip, '000000000000', PLC.ip);
    await bench.packet(ethernet(0x0806, request, HMI.mac, 'ffffffffffff'));
    await bench.packet(ethernet(0x0806, request, HMI.mac, 'ffffffffffff'));
    await bench.end();
    expect(told(bench)).toEqual([['arp', HMI.mac, '10.0.2.1']]);
    expect(of(bench, 'flow_opened')[0]).toMatchObject({ proto: 'arp', ethertype: 0x0806 });
  });
});

describe('a mirror port that shows both sides of a router', () => {
  test('gives every packet twice, and is no fact a packet', async () => {
    const bench = new ShardBench();
    const one = host(1, 1);
    const other = { ...one, mac: host(9, 9).mac };
    for (let i = 0; i < 500; i++) await bench.packet(datagram(i % 2 === 0 ? one : other, host(1, 2), pumpPdu(Job.read)));
    await bench.end();
    const said = bench.facts.filter(({ binding }) => binding?.how === 'traffic');
    expect(said.length).toBeLessThanOrEqual(6);
    expect(new Set(said.map(({ binding }) => Buffer.from(binding!.endpoint!.mac!).toString('hex')))).toEqual(
      new Set([one.mac, other.mac]),
    );
    // In the next stretch of time both are said again, so that neither is taken for one that fell silent.
    bench.time_ms += 120_000;
    for (let i = 0; i < 20; i++) await bench.packet(datagram(i % 2 === 0 ? one : other, host(1, 2), pumpPdu(Job.read)));
    await bench.end();
    const again = bench.facts.filter(({ binding }) => binding?.how === 'traffic').slice(said.length);
    expect(again.length).toBeGreaterThanOrEqual(2);
    expect(again.length).toBeLessThanOrEqual(4);
  });
});
