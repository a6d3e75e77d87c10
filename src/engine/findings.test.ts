import { describe, expect, test } from 'vitest';
import { ethernet } from '../decode/testing.ts';
import type { AlertRow } from '../store/change-set.ts';
import { EVIDENCE_LIMITS } from './evidence.ts';
import { NOTES_LIMITS } from './flow-notes.ts';
import { datagram, host, Job, PUMP_ETHERTYPE, PUMP_PORT, pumpPdu, ShardBench, Talk } from './shard-bench.ts';

const HMI = host(2, 1);
const PLC = host(1, 1);
const OTHER = host(1, 2);

const count = ({ count }: AlertRow): number => count;

describe('repeated identical traffic', () => {
  test('is one alert with its count, first and last time', async () => {
    const bench = new ShardBench();
    const talk = new Talk(bench, HMI, PLC);
    await talk.open();
    const first = await talk.client(pumpPdu(Job.stop));
    const first_ms = bench.time_ms;
    for (let i = 0; i < 98; i++) await talk.client(pumpPdu(Job.stop));
    bench.time_ms += 60_000;
    const last = await talk.client(pumpPdu(Job.stop));
    const last_ms = bench.time_ms;
    await bench.end();
    const stops = bench.alertsOf('device_stop');
    expect(stops).toHaveLength(1);
    expect(stops[0]).toMatchObject({ count: 100, first_frame: first, last_frame: last, severity: 'critical', app_proto: 'pump' });
    expect(stops[0]).toMatchObject({
      source_ip: '10.0.2.1',
      destination_ip: '10.0.1.1',
      destination_port: PUMP_PORT,
      proto: 'tcp',
    });
    expect([stops[0].first_ms, stops[0].last_ms]).toEqual([first_ms, last_ms]);
    expect(bench.counters).toMatchObject({ 'findings.findings': 1, 'findings.repeated': 99 });
  });

  test.each([1, 2, 3, 7, 50])('the same in batches of %i packets', async (batch_packets) => {
    const run = async (size: number) => {
      const bench = new ShardBench();
      bench.batch_packets = size;
      const talk = new Talk(bench, HMI, PLC);
      await talk.open();
      for (let i = 0; i < 40; i++) {
        await talk.client(pumpPdu(i % 3 === 0 ? Job.stop : Job.odd, { unit: i % 4 }));
        await talk.server(pumpPdu(Job.response));
      }
      await bench.end();
      const { alerts, evidence } = bench;
      return { alerts, evidence };
    };
    expect(await run(batch_packets)).toEqual(await run(Number.POSITIVE_INFINITY));
  });

  test('across connections: another port of the client is the same traffic', async () => {
    const bench = new ShardBench();
    for (let i = 0; i < 5; i++) {
      const talk = new Talk(bench, HMI, PLC, 40_000 + i);
      await talk.open();
      await talk.client(pumpPdu(Job.stop));
      await talk.client(pumpPdu(Job.stop));
      await talk.segment(0, 4);
    }
    await bench.end();
    expect(bench.alertsOf('device_stop').map(count)).toEqual([10]);
  });

  test('of other units, other hosts, other kinds is other traffic', async () => {
    const bench = new ShardBench();
    for (const [client, server] of [
      [HMI, PLC],
      [HMI, OTHER],
      [OTHER, PLC],
    ]) {
      const talk = new Talk(bench, client, server);
      await talk.open();
      for (const unit of [1, 2, 1]) await talk.client(pumpPdu(Job.stop, { unit }));
      await talk.client(pumpPdu(Job.odd));
    }
    await bench.end();
    expect(bench.alertsOf('device_stop').map(count)).toEqual([2, 1, 2, 1, 2, 1]);
    expect(bench.alertsOf('protocol_anomaly').map(count)).toEqual([1, 1, 1]);
  });

  test('a server that answers does not raise what its client raised', async () => {
    const bench = new ShardBench();
    const talk = new Talk(bench, HMI, PLC);
    await talk.open();
    await talk.client(pumpPdu(Job.stop));
    await talk.server(pumpPdu(Job.stop));
    await bench.end();
    expect(bench.alertsOf('device_stop').map(count)).toEqual([1]);
  });

  test('kinds of findings of one flow are bounded, and what is left out is counted', async () => {
    const bench = new ShardBench();
    const talk = new Talk(bench, HMI, PLC);
    await talk.open();
    for (let round = 0; round < 2; round++) for (let unit = 0; unit < 255; unit++) await talk.client(pumpPdu(Job.stop, { unit }));
    for (const job of [Job.odd, Job.short, Job.odd, Job.short]) await talk.client(pumpPdu(job));
    await bench.end();
    expect(bench.alerts.filter(({ kind }) => kind !== 'new_device')).toHaveLength(NOTES_LIMITS.findings);
    expect(bench.counters['findings.findings']).toBe(256);
    expect(bench.counters['findings.suppressed']).toBe(2);
    expect(bench.counters['findings.repeated']).toBe(256);
  });
});

describe('kinds', () => {
  test('malformed and anomaly, in words', async () => {
    const bench = new ShardBench();
    const talk = new Talk(bench, HMI, PLC);
    await talk.open();
    await talk.client(pumpPdu(Job.short));
    await talk.client(pumpPdu(Job.odd));
    await bench.end();
    expect(bench.alertsOf('malformed_pdu')[0]).toMatchObject({ description: 'A pump PDU (pump) breaks its specification.' });
    expect(bench.alertsOf('protocol_anomaly')[0]).toMatchObject({ description: 'pump: odd_job: the job is odd' });
    expect(bench.alertsOf('protocol_anomaly')[0].details).not.toHaveProperty('key');
  });

  test('a new device, once, with the packet that showed it', async () => {
    const bench = new ShardBench();
    const first = await bench.packet(datagram(HMI, PLC, pumpPdu(Job.read)));
    for (let i = 0; i < 5; i++) await bench.packet(datagram(HMI, PLC, pumpPdu(Job.read)));
    await bench.end();
    const found = bench.alertsOf('new_device');
    expect(found.map(({ source_ip }) => source_ip)).toEqual(['10.0.2.1']);
    expect(bench.framesOf(found[0])).toEqual([first]);
  });

  test("HTTP on a service's port, seen from its start: once", async () => {
    const bench = new ShardBench();
    const talk = new Talk(bench, HMI, PLC);
    await talk.open();
    const http = Uint8Array.from(Buffer.from('GET /index.html HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n'));
    for (let i = 0; i < 20; i++) await talk.client(http);
    await bench.end();
    expect(bench.alertsOf('unexpected_protocol')).toHaveLength(1);
    expect(bench.alertsOf('unexpected_protocol')[0].details).toEqual({ port: String(PUMP_PORT), expected: 'pump' });
    expect(bench.counters['framing.unrecognised_flows']).toBe(1);
  });

  test('a dissector that throws: its flow is put aside, counted and told; all others go on', async () => {
    const bench = new ShardBench();
    const [bad, good] = [new Talk(bench, HMI, PLC, 40_000), new Talk(bench, HMI, PLC, 40_001)];
    await bad.open();
    await good.open();
    await bad.client(pumpPdu(Job.poison));
    await bad.client(pumpPdu(Job.stop));
    await good.client(pumpPdu(Job.stop, { unit: 9 }));
    await bench.end();
    expect(bench.counters['dissect.failures']).toBe(1);
    expect(bench.alertsOf('device_stop').map(({ details }) => details.unit)).toEqual(['unit 9']);
  });
});

describe('evidence', () => {
  test('is the handshake, the way back along the flow, and the packets that follow', async () => {
    const bench = new ShardBench();
    const talk = new Talk(bench, HMI, PLC);
    const noise = new Talk(bench, OTHER, PLC);
    const handshake = await talk.open();
    const back: number[] = [];
    for (let i = 0; i < 60; i++) {
      back.push(await talk.client(pumpPdu(Job.read)), await talk.server(pumpPdu(Job.response)));
      await noise.client(pumpPdu(Job.read));
    }
    const cause = await talk.client(pumpPdu(Job.stop));
    await noise.client(pumpPdu(Job.read));
    const follow: number[] = [];
    for (let i = 0; i < 20; i++) follow.push(await talk.server(pumpPdu(Job.response)));
    await bench.end();
    const [alert] = bench.alertsOf('device_stop');
    expect(bench.framesOf(alert)).toEqual([
      ...handshake,
      ...back.slice(-EVIDENCE_LIMITS.packets_back),
      cause,
      ...follow.slice(0, 6),
    ]);
    for (const row of bench.evidence) {
      expect([...row.bytes]).toEqual([...bench.sent[row.frame - 1]]);
      expect(row).toMatchObject({ captured: row.bytes.length, wire: row.bytes.length, link_type: 1, capture_id: 1 });
    }
    const ordinals = bench.evidence.filter(({ alert_key }) => alert_key === alert.key).map(({ ordinal }) => ordinal);
    expect(ordinals).toEqual(ordinals.map((_, i) => i));
  });

  test('of a conversation that ends with the capture is that of its own last packet', async () => {
    const policy = 'zones:\n  - { name: a, subnets: [10.0.1.0/24] }\n  - { name: b, subnets: [10.0.2.0/24] }\n';
    const bench = new ShardBench({ policy });
    const quiet = new Talk(bench, HMI, PLC, 50_000, 4444, [5, 7]);
    const frames = await quiet.open();
    for (let i = 0; i < 10; i++) await bench.packet(datagram(OTHER, PLC, pumpPdu(Job.read), PUMP_PORT, [99]));
    await bench.end();
    const [crossing] = bench.alertsOf('zone_crossing');
    expect(crossing).toMatchObject({ segment: '5.7', first_frame: frames[2], source_ip: '10.0.2.1' });
    expect(bench.framesOf(crossing)).toEqual(frames);
  });

  test('of a conversation that is evicted is its own as well, with its own time', async () => {
    const policy = 'zones:\n  - { name: a, subnets: [10.0.1.0/24] }\n  - { name: b, subnets: [10.0.2.0/24] }\n';
    const bench = new ShardBench({ policy, flow_limits: { max_flows: 1 } });
    const quiet = new Talk(bench, HMI, PLC, 50_000, 4444, [5]);
    const frames = await quiet.open();
    const { time_ms } = bench;
    await bench.packet(ethernet(PUMP_ETHERTYPE, pumpPdu(Job.read)), { wait_ms: 5000 });
    await bench.end();
    const [crossing] = bench.alertsOf('zone_crossing');
    expect(crossing).toMatchObject({ segment: '5', first_frame: frames[2], first_ms: time_ms, destination_ip: '10.0.1.1' });
    expect(bench.framesOf(crossing)).toEqual(frames);
    expect(bench.counters['flow.evicted']).toBe(1);
  });

  test('is not taken from memory that has been overwritten', async () => {
    const policy = 'zones:\n  - { name: a, subnets: [10.0.1.0/24] }\n  - { name: b, subnets: [10.0.2.0/24] }\n';
    const bench = new ShardBench({ policy });
    await new Talk(bench, HMI, PLC, 50_000, 4444).open();
    const large = datagram(OTHER, PLC, new Uint8Array(60_000), 9999);
    for (let i = 0; i < 800; i++) await bench.packet(large);
    await bench.end();
    const [crossing] = bench.alertsOf('zone_crossing');
    expect(crossing.first_frame).toBe(3);
    expect(bench.framesOf(crossing)).toEqual([]);
    expect(bench.collector.evidence.counters.forgotten).toBeGreaterThan(0);
  });

  test('reaches back as far as the ring remembers, no farther', async () => {
    const bench = new ShardBench();
    const talk = new Talk(bench, HMI, PLC);
    await talk.open();
    const large = datagram(OTHER, PLC, new Uint8Array(60_000), 9999);
    for (let i = 0; i < 600; i++) await bench.packet(large);
    const late = [await talk.client(pumpPdu(Job.read)), await talk.server(pumpPdu(Job.response))];
    const cause = await talk.client(pumpPdu(Job.stop));
    await bench.end();
    expect(bench.framesOf(bench.alertsOf('device_stop')[0])).toEqual([...late, cause]);
  });

  test('keeps the packet that caused it where the bytes are bounded', async () => {
    const bench = new ShardBench();
    const port = 40_000;
    const talk = new Talk(bench, HMI, PLC, port);
    const handshake = await talk.open();
    const big: number[] = [];
    const padding = (unit: number) => {
      const many = new Uint8Array(20_000);
      for (let at = 0; at + 200 <= many.length; at += 200) many.set(pumpPdu(Job.read, { unit, size: 200 }), at);
      return many;
    };
    for (let i = 0; i < 20; i++) big.push(await talk.client(padding(1)));
    const cause = await talk.client(pumpPdu(Job.stop));
    await bench.end();
    const frames = bench.framesOf(bench.alertsOf('device_stop')[0]);
    const size = frames.reduce((sum, frame) => sum + bench.sent[frame - 1].length, 0);
    expect(size).toBeLessThanOrEqual(EVIDENCE_LIMITS.bytes_an_alert);
    expect(frames).toEqual([...handshake, ...big.slice(-13), cause]);
    expect(bench.collector.evidence.counters.refused).toBe(7);
  });

  test('of several segments in which a PDU came is all of them', async () => {
    const bench = new ShardBench();
    const talk = new Talk(bench, HMI, PLC);
    const frames = await talk.open();
    const pdu = pumpPdu(Job.stop);
    for (const byte of pdu) frames.push(await talk.client(Uint8Array.of(byte)));
    await bench.end();
    expect(bench.framesOf(bench.alertsOf('device_stop')[0])).toEqual(frames);
  });
});
