import { describe, expect, test } from 'vitest';
import { bytes, ethernet } from '../decode/testing.ts';
import { datagram, host, Job, PUMP_ETHERTYPE, PUMP_PORT, pumpPdu, ShardBench, Talk } from './shard-bench.ts';

const HMI = host(2, 1);
const PLC = host(1, 1);

const ZONES = `
zones:
  - { name: cell, level: 1, subnets: [10.0.1.0/24] }
  - { name: hall, level: 2, subnets: [10.0.2.0/24] }
`;
const READS = `${ZONES}
conduits:
  - { name: reads, from: hall, to: cell, protocols: pump, operations: read }
`;
const HTTP = Uint8Array.from(Buffer.from('GET /index.html HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n'));

const crossings = (bench: ShardBench) =>
  bench.alertsOf('zone_crossing').map(({ source_zone, destination_zone, app_proto, operation, count }) => {
    return [source_zone, destination_zone, app_proto, operation, count];
  });

describe('a PDU', () => {
  test('that a conduit allows is none; one that it does not is a crossing, with what was nearest', async () => {
    const bench = new ShardBench({ policy: READS });
    const talk = new Talk(bench, HMI, PLC);
    await talk.open();
    for (let i = 0; i < 10; i++) {
      await talk.client(pumpPdu(Job.read));
      await talk.server(pumpPdu(Job.response));
    }
    const written = await talk.client(pumpPdu(Job.write));
    await talk.client(pumpPdu(Job.write));
    await bench.end();
    expect(crossings(bench)).toEqual([['hall', 'cell', 'pump', 'write', 2]]);
    expect(bench.alertsOf('zone_crossing')[0]).toMatchObject({ first_frame: written, details: { nearest_conduit: 'reads' } });
  });

  test('is judged from the end that opened, also where the other one speaks', async () => {
    const bench = new ShardBench({ policy: READS });
    const talk = new Talk(bench, PLC, HMI);
    await talk.open();
    await talk.server(pumpPdu(Job.read));
    await talk.client(pumpPdu(Job.read));
    await bench.end();
    expect(crossings(bench)).toEqual([['cell', 'hall', 'pump', 'read', 1]]);
  });

  test('begun in the middle: the port tells who serves', async () => {
    const bench = new ShardBench({ policy: READS });
    const talk = new Talk(bench, HMI, PLC);
    await talk.server(pumpPdu(Job.response));
    await talk.client(pumpPdu(Job.read));
    await bench.end();
    expect(crossings(bench)).toEqual([]);
  });

  test("of which only the server's answers are seen is judged by these", async () => {
    const bench = new ShardBench({ policy: `${ZONES}` });
    const talk = new Talk(bench, HMI, PLC);
    for (let i = 0; i < 3; i++) await talk.server(pumpPdu(Job.response));
    await bench.end();
    expect(crossings(bench)).toEqual([['hall', 'cell', 'pump', 'read', 3]]);
  });

  test("inside a zone is nobody's business", async () => {
    const bench = new ShardBench({ policy: READS });
    await bench.packet(datagram(host(1, 5), PLC, pumpPdu(Job.write)));
    await bench.end();
    expect(crossings(bench)).toEqual([]);
  });
});

describe('a conversation in which nothing is recognised', () => {
  test('is judged once: when it is given up, when it ends, or with the capture', async () => {
    const bench = new ShardBench({ policy: READS });
    const given_up = new Talk(bench, HMI, PLC, 40_001, 8080);
    const closed = new Talk(bench, HMI, PLC, 40_002, 8081);
    const open = new Talk(bench, HMI, PLC, 40_003, 8082);
    const frames: number[] = [];
    for (const talk of [given_up, closed, open]) frames.push(...(await talk.open()));
    for (let i = 0; i < 20; i++) await given_up.client(HTTP);
    await closed.client(HTTP);
    await closed.segment(0, 0x11);
    await closed.segment(1, 0x11);
    await closed.segment(0, 0x10);
    await bench.end();
    const found = bench.alertsOf('zone_crossing').map(({ destination_port, count, proto }) => [destination_port, count, proto]);
    expect(found.sort()).toEqual([
      [8080, 1, 'tcp'],
      [8081, 1, 'tcp'],
      [8082, 1, 'tcp'],
    ]);
  });

  test('a refused connection is one, too', async () => {
    const bench = new ShardBench({ policy: READS });
    const talk = new Talk(bench, HMI, PLC, 40_000, 8080);
    await talk.segment(0, 2);
    const refused = await talk.segment(1, 0x14);
    await bench.end();
    expect(bench.alertsOf('zone_crossing')).toMatchObject([
      { first_frame: refused, source_zone: 'hall', destination_zone: 'cell' },
    ]);
  });

  describe('that nobody answers', () => {
    const later = (bench: ShardBench, wait_ms: number) => bench.packet(datagram(host(9, 1), host(9, 2), HTTP, 9), { wait_ms });
    /** What the shards have said so far: behind which packet, and to which port. */
    const found = async (bench: ShardBench) => {
      await bench.cut();
      return bench.facts.flatMap(({ frame, finding }) =>
        finding?.kind === 'zone_crossing' ? [[frame, finding.destination!.port]] : [],
      );
    };

    test.each([1, 3])('is judged while the capture goes on, once, with %i shards', async (shards) => {
      const bench = new ShardBench({ policy: READS, shards });
      const syns: number[] = [];
      for (const port of [8080, 8081, 8082]) syns.push(await new Talk(bench, HMI, PLC, 40_000, port).segment(0, 2));
      await later(bench, 100);
      expect(await found(bench)).toEqual([]);
      const second = await later(bench, 1400);
      expect(await found(bench)).toEqual([8080, 8081, 8082].map((port) => [second - 0.5, port]));
      await later(bench, 5000);
      await bench.end();
      expect(bench.alertsOf('zone_crossing').map(({ count }) => count)).toEqual([1, 1, 1]);
      expect(bench.evidence.map(({ frame }) => frame)).toEqual(expect.arrayContaining(syns));
    });

    test('is judged when the port falls silent', async () => {
      const bench = new ShardBench({ policy: READS });
      const frame = await new Talk(bench, HMI, PLC, 40_000, 8080).segment(0, 2);
      await bench.cut();
      for (const shard of bench.shards) shard.sayFlows(frame);
      expect(await found(bench)).toEqual([[frame + 0.5, 8080]]);
    });

    test('is none where a conduit may allow what would be said', async () => {
      const bench = new ShardBench({ policy: READS });
      await new Talk(bench, HMI, PLC).segment(0, 2);
      await later(bench, 3000);
      await bench.end();
      expect(crossings(bench)).toEqual([]);
    });

    test('waits where it was answered, until it is clear what it is', async () => {
      const bench = new ShardBench({ policy: READS });
      const talk = new Talk(bench, HMI, PLC, 40_000, 8080);
      await talk.open();
      await later(bench, 3000);
      expect(await found(bench)).toEqual([]);
      await talk.client(pumpPdu(Job.read));
      await bench.end();
      expect(crossings(bench)).toEqual([]);
    });
  });

  test('other IP protocols are judged with their first packet, once', async () => {
    const bench = new ShardBench({ policy: READS });
    const echo = ethernet(
      0x0800,
      bytes('4500 001c 0001 0000 40 01 0000', HMI.ip, PLC.ip, '0800 0000 0001 0001'),
      HMI.mac,
      PLC.mac,
    );
    for (let i = 0; i < 5; i++) await bench.packet(echo);
    await bench.end();
    expect(bench.alertsOf('zone_crossing')).toMatchObject([{ proto: 'icmp', count: 1, first_frame: 1 }]);
  });

  test('is judged at the time of its own last packet', async () => {
    // Allowed by day: the conversation was at noon, what ends it comes in the night.
    const policy = `${ZONES}
conduits:
  - { name: by day, from: hall, to: cell, hours: 08:00-18:00 }
`;
    const bench = new ShardBench({ policy, flow_limits: { max_flows: 1 } });
    bench.time_ms = Date.UTC(2026, 0, 2, 12);
    const talk = new Talk(bench, HMI, PLC, 40_000, 8080);
    await talk.open();
    await talk.client(HTTP);
    await bench.packet(datagram(host(9, 1), host(9, 2), HTTP, 9), { wait_ms: 10 * 3600_000 });
    await bench.end();
    expect(crossings(bench)).toEqual([]);
    expect(bench.counters['flow.evicted']).toBe(1);
  });
});

describe('without IP', () => {
  const policy = `
zones:
  - { name: cell, devices: ["${PLC.mac.match(/../g)!.join(':')}"] }
  - { name: hall, devices: ["${HMI.mac.match(/../g)!.join(':')}"] }
conduits:
  - { name: low ports, from: hall, to: cell, ports: [1-65535], protocols: tcp }
`;

  test('zones are those of the MAC addresses', async () => {
    const bench = new ShardBench({ policy });
    await bench.packet(ethernet(PUMP_ETHERTYPE, pumpPdu(Job.write), HMI.mac, PLC.mac));
    await bench.packet(ethernet(PUMP_ETHERTYPE, pumpPdu(Job.write), HMI.mac, PLC.mac));
    await bench.end();
    expect(crossings(bench)).toEqual([['hall', 'cell', 'pump', 'write', 2]]);
  });

  test('ARP between zones is no crossing; what nothing recognises is', async () => {
    const bench = new ShardBench({ policy, flow_limits: { max_flows: 1 } });
    await bench.packet(ethernet(0x0806, bytes('0001 0800 06 04 0001', HMI.mac, HMI.ip, PLC.mac, PLC.ip), HMI.mac, PLC.mac));
    // Evicts the ARP conversation, is none itself.
    await bench.packet(ethernet(0x9000, new Uint8Array(46), HMI.mac, PLC.mac));
    await bench.packet(datagram(host(9, 1), host(9, 2), HTTP, PUMP_PORT));
    await bench.end();
    expect(bench.alertsOf('zone_crossing')).toMatchObject([{ first_frame: 2, proto: 'eth', source_zone: 'hall' }]);
  });
});
