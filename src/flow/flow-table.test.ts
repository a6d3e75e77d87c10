import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Packet } from '../decode/packet.ts';
import {
  ACK,
  FIN,
  FLOW_LIMITS,
  FlowTable,
  OPENER_CERTAIN,
  PROTOCOL_ETHERNET,
  RESET,
  SYN,
  SYNCED,
  shardOf,
} from './flow-table.ts';
import { linkPacket, type PacketFields, packet, START_MS, StreamRecorder, TcpBench, text } from './testing.ts';

const HOUR = 3600_000;
const services = (_: boolean, port: number): boolean => port === 502;

function newTable(max_flows = 64): FlowTable {
  return new FlowTable(services, { max_flows });
}

/** Finds as the shard does. */
function find(table: FlowTable, p: Packet): { slot: number; direction: 0 | 1; is_new: boolean } {
  table.find(p);
  const { slot, direction, is_new } = table;
  table.last_ms[slot] = p.time_ms;
  return { slot, direction, is_new };
}

const back = (fields: PacketFields): PacketFields => ({
  ...fields,
  source: fields.destination ?? 2,
  destination: fields.source ?? 1,
  source_port: fields.destination_port ?? 502,
  destination_port: fields.source_port ?? 40_000,
});

describe('one conversation', () => {
  test.each<[string, PacketFields]>([
    ['tcp over IPv4', {}],
    ['tcp over IPv6', { version: 6 }],
    ['udp', { protocol: 17 }],
    ['equal ports', { protocol: 17, source_port: 47808, destination_port: 47808 }],
    ['equal addresses', { source: 9, destination: 9 }],
    ['equal addresses, other order of ports', { source: 9, destination: 9, source_port: 2000, destination_port: 65535 }],
    ['no ports', { protocol: 1, source_port: 0, destination_port: 0 }],
    ['addresses with the highest bit', { source: 0xfffffffe, destination: 0x7fffffff }],
  ])('is both directions: %s', (_, fields) => {
    const table = newTable();
    expect(find(table, packet(fields))).toEqual({ slot: 0, direction: 0, is_new: true });
    expect(find(table, packet(back(fields)))).toEqual({ slot: 0, direction: 1, is_new: false });
    expect(find(table, packet(fields))).toEqual({ slot: 0, direction: 0, is_new: false });
    expect(table.count).toBe(1);
  });

  test('its ends can be read back, the opener first', () => {
    for (const [source, destination] of [
      [5, 9],
      [9, 5],
    ]) {
      const table = newTable();
      find(table, packet({ source, destination }));
      const words = [...table.keyWords];
      expect(words.slice(table.addressAt(0, 0), table.addressAt(0, 0) + 4)).toEqual([0, 0, 0xffff, source]);
      expect(words.slice(table.addressAt(0, 1), table.addressAt(0, 1) + 4)).toEqual([0, 0, 0xffff, destination]);
      expect([table.port(0, 0), table.port(0, 1)]).toEqual([40_000, 502]);
      expect(table.protocol(0)).toBe(6);
    }
  });

  test('is not told apart by VLAN, and keeps the stack of its first packet', () => {
    const table = newTable();
    find(table, packet({ vlans: [4094, 0, 7, 4095] }));
    expect(find(table, packet(back({ vlans: [] }))).is_new).toBe(false);
    expect(table.vlansOf(0)).toEqual([4094, 0, 7, 4095]);
    find(table, packet({ source: 3 }));
    expect(table.vlansOf(1)).toEqual([]);
    find(table, packet({ source: 4, vlans: [0] }));
    expect(table.vlansOf(2)).toEqual([0]);
    find(table, packet({ source: 5, vlans: [1, 2, 3, 4, 5, 6] }));
    expect(table.vlansOf(3)).toEqual([3, 4, 5, 6]);
  });

  test('without IP is a pair of MAC addresses and an EtherType', () => {
    const table = newTable();
    const goose = find(table, linkPacket(1, 2, 0x88b8));
    expect(find(table, linkPacket(2, 1, 0x88b8))).toEqual({ slot: goose.slot, direction: 1, is_new: false });
    expect(find(table, linkPacket(1, 2, 0x88ba)).is_new).toBe(true);
    expect(find(table, linkPacket(1, 3, 0x88b8)).is_new).toBe(true);
    expect(table.protocol(goose.slot)).toBe(PROTOCOL_ETHERNET);
    expect(table.port(goose.slot, 1)).toBe(0x88b8);
  });

  test('without MAC addresses (raw IP, cooked captures) is found all the same', () => {
    const table = newTable();
    // Linux SLL has the sender only; NULL and RAW have none.
    const arp = find(table, linkPacket(7, -1, 0x0806));
    expect(find(table, linkPacket(7, -1, 0x0806))).toEqual({ slot: arp.slot, direction: 0, is_new: false });
    expect(find(table, linkPacket(8, -1, 0x0806)).is_new).toBe(true);
    const none = find(table, linkPacket(-1, -1, 0x0806));
    expect(none.is_new).toBe(true);
    expect(find(table, linkPacket(-1, -1, 0x0806))).toEqual({ slot: none.slot, direction: 0, is_new: false });
    // Addresses that could be mistaken for a MAC pair's place in the key.
    const p = packet({ version: 6, protocol: 1, source_port: 0, destination_port: 0 });
    p.source.set([0, 1, 0x200, 7]);
    p.destination.set([0, 1, 0, 0]);
    expect(find(table, p).is_new).toBe(true);
  });
});

describe('who opened', () => {
  test.each<[string, PacketFields, 0 | 1, boolean]>([
    ['the sender of a SYN', { flags: SYN, source_port: 502, destination_port: 40_000 }, 0, true],
    ['the receiver of a SYN with ACK, where the capture missed the SYN', { flags: SYN | ACK }, 1, true],
    ['mid-stream: whoever talks to the port of a service', { source_port: 40_000, destination_port: 502 }, 0, false],
    ['mid-stream: whoever is answered from it', { source_port: 502, destination_port: 40_000 }, 1, false],
    ['mid-stream: whoever talks to a well-known port', { source_port: 40_000, destination_port: 443 }, 0, false],
    ['mid-stream: whoever is answered from one', { source_port: 443, destination_port: 40_000 }, 1, false],
    ['a service of ours before other well-known ports', { source_port: 502, destination_port: 80 }, 1, false],
    ['whoever is seen first, where nothing tells', { source_port: 40_000, destination_port: 50_000 }, 0, false],
    ['whoever is seen first, between two ports of services', { source_port: 502, destination_port: 502 }, 0, false],
    ['udp: by the port of a service', { protocol: 17, source_port: 502, destination_port: 40_000 }, 1, false],
    ['icmp: whoever is seen first', { protocol: 1, source_port: 0, destination_port: 0 }, 0, false],
  ])('%s', (_, fields, direction, certain) => {
    const table = newTable();
    expect(find(table, packet(fields)).direction).toBe(direction);
    expect((table.flags[0] & OPENER_CERTAIN) !== 0).toBe(certain);
    expect(find(table, packet(back(fields))).direction).toBe(1 - direction);
  });
});

describe('ports used again', () => {
  function bench(): TcpBench {
    const tcp = new TcpBench(new StreamRecorder());
    tcp.send(0, { flags: SYN, sequence: 100 });
    tcp.send(1, { flags: SYN | ACK, sequence: 900, acknowledgment: 101 });
    return tcp;
  }
  const opened = (tcp: TcpBench): boolean => tcp.table.is_new;

  test('a SYN with another sequence number is a new conversation', () => {
    const tcp = bench();
    tcp.send(0, { sequence: 101, payload: text('abc') });
    tcp.send(0, { flags: SYN, sequence: 5000 });
    expect(opened(tcp)).toBe(true);
    expect(tcp.table.id[tcp.table.slot]).toBe(4);
    expect(tcp.table.states[tcp.table.slot]).toBeUndefined();
    expect(tcp.table.counters).toMatchObject({ flows: 1, reopened: 1 });
    // The old server's numbers are forgotten.
    expect(tcp.table.flags[tcp.table.slot] & SYNCED[1]).toBe(0);
  });

  test('also where nothing was answered or sent', () => {
    const tcp = new TcpBench(new StreamRecorder());
    tcp.send(0, { flags: SYN, sequence: 100 });
    tcp.send(0, { flags: SYN, sequence: 101 });
    expect(opened(tcp)).toBe(true);
  });

  test('a repeated SYN is not', () => {
    const tcp = bench();
    for (const time_ms of [START_MS + 1000, START_MS + 63_000]) {
      tcp.send(0, { flags: SYN, sequence: 100, time_ms });
      expect(opened(tcp)).toBe(false);
    }
  });

  test('a refused SYN that is tried again is not', () => {
    const tcp = new TcpBench(new StreamRecorder());
    tcp.send(0, { flags: SYN, sequence: 100 });
    tcp.send(1, { flags: 4 | ACK, acknowledgment: 101 });
    tcp.send(0, { flags: SYN, sequence: 100, time_ms: START_MS + 500 });
    expect(opened(tcp)).toBe(false);
  });

  test('a late copy of the SYN behind data is not; the stream goes on where it stood', () => {
    const tcp = bench();
    tcp.send(0, { sequence: 101, payload: text('abc') });
    tcp.send(0, { flags: SYN, sequence: 100, time_ms: START_MS + 2 });
    expect(opened(tcp)).toBe(false);
    tcp.send(0, { sequence: 104, payload: text('def') });
    expect(tcp.sink.text()).toBe('abcdef');
  });

  test('the same capture replayed again is a new conversation', () => {
    const tcp = bench();
    tcp.send(0, { sequence: 101, payload: text('abc') });
    tcp.send(0, { flags: SYN, sequence: 100, time_ms: START_MS + 20_000 });
    expect(opened(tcp)).toBe(true);
  });

  test('after FIN or RST, with the same number as well', () => {
    for (const flags of [FIN | ACK, 4]) {
      const tcp = bench();
      tcp.send(0, { sequence: 101, payload: text('abc') });
      tcp.send(0, { flags, sequence: 104 });
      tcp.send(0, { flags: SYN, sequence: 100, time_ms: START_MS + 3 });
      expect(opened(tcp)).toBe(true);
    }
  });

  test('the other end of a simultaneous open does not open again (RFC 9293 figure 7)', () => {
    const tcp = new TcpBench(new StreamRecorder());
    tcp.send(0, { flags: SYN, sequence: 100 });
    tcp.send(1, { flags: SYN, sequence: 300 });
    expect(opened(tcp)).toBe(false);
    tcp.send(0, { flags: SYN | ACK, sequence: 100, acknowledgment: 301 });
    tcp.send(1, { flags: SYN | ACK, sequence: 300, acknowledgment: 101 });
    expect(opened(tcp)).toBe(false);
    tcp.send(0, { sequence: 101, payload: text('ping') });
    tcp.send(1, { sequence: 301, payload: text('pong') });
    expect([tcp.sink.text(0), tcp.sink.text(1)]).toEqual(['ping', 'pong']);
    expect(tcp.table.counters.reopened).toBe(0);
  });
});

describe('timeouts', () => {
  test.each<[string, number, number]>([
    ['tcp: 24 hours', 6, 24 * HOUR],
    ['udp: 15 minutes', 17, HOUR / 4],
    ['icmp: 15 minutes', 1, HOUR / 4],
    ['without IP: 15 minutes', -1, HOUR / 4],
  ])('%s of packet time', (_, protocol, limit_ms) => {
    const at = (frame: number, time_ms: number) =>
      protocol < 0 ? linkPacket(1, 2, 0x88b8, { frame, time_ms }) : packet({ frame, protocol, time_ms });
    const table = newTable();
    const ended: number[] = [];
    table.onEnd = (slot) => ended.push(table.id[slot]);
    find(table, at(1, START_MS));
    expect(find(table, at(2, START_MS + limit_ms)).is_new).toBe(false);
    expect(find(table, at(3, START_MS + 2 * limit_ms + 1)).is_new).toBe(true);
    expect(ended).toEqual([1]);
    expect(table.id[table.slot]).toBe(3);
    expect(table.counters).toEqual({ flows: 1, evicted: 0, timed_out: 1, reopened: 0 });
  });

  test('time that runs backwards ends nothing', () => {
    const table = newTable();
    find(table, packet({ protocol: 17, time_ms: START_MS }));
    expect(find(table, packet({ protocol: 17, time_ms: START_MS - 48 * HOUR })).is_new).toBe(false);
  });

  test('a flow that begins again has nothing of the old one', () => {
    const table = newTable();
    const { slot } = find(table, packet({ frame: 1, protocol: 17, vlans: [5] }));
    table.packets.fill(9);
    table.bytes.fill(9);
    table.early_frames.fill(9);
    table.last_frame.fill(9);
    table.mac_low.fill(9);
    table.flags[slot] |= RESET;
    find(table, packet({ frame: 2, protocol: 17, time_ms: START_MS + HOUR }));
    expect([table.packets[0], table.packets[1], table.bytes[0], table.early_frames[0], table.early_frames[1]]).toEqual([
      0, 0, 0, 0, 0,
    ]);
    expect([table.last_frame[slot], table.mac_low[0], table.flags[slot] & RESET, table.vlan[0]]).toEqual([0, 0, 0, 0]);
    expect([table.first_ms[slot], table.vlansOf(slot)]).toEqual([START_MS + HOUR, []]);
  });
});

describe('a full table', () => {
  test('refuses to be of no size', () => {
    expect(() => new FlowTable(services, { max_flows: 0 })).toThrow(RangeError);
  });

  test.each([1, 2, 3, 5, 16, 17, 24, 40, 100])('of %i flows counts what it evicts, and says it before it goes', (max_flows) => {
    const table = newTable(max_flows);
    const live = new Set<number>();
    let evicted = 0;
    table.onEnd = (slot) => {
      evicted++;
      // The flow is still whole when its end is told.
      expect(live.delete(table.id[slot])).toBe(true);
      expect(table.protocol(slot)).toBe(17);
    };
    for (let frame = 1; frame <= 500; frame++) {
      const p = packet({ frame, protocol: 17, source: frame, time_ms: START_MS + frame });
      expect(find(table, p).is_new).toBe(true);
      live.add(frame);
      expect(live.size).toBe(table.count);
    }
    expect(table.counters).toEqual({
      flows: Math.min(max_flows, 500),
      evicted: Math.max(0, 500 - max_flows),
      timed_out: 0,
      reopened: 0,
    });
    expect(evicted).toBe(table.counters.evicted);
    for (const frame of live) {
      expect(find(table, packet({ frame: 1000, protocol: 17, source: frame, time_ms: START_MS + 600 })).is_new).toBe(false);
      expect(table.id[table.slot]).toBe(frame);
    }
    let visited = 0;
    table.forEach(() => {
      visited++;
    });
    expect(visited).toBe(table.count);
  });

  test('evicts the one of the next sixteen that was silent longest', () => {
    const table = newTable(16);
    for (let i = 0; i < 16; i++) find(table, packet({ frame: i + 1, protocol: 17, source: i + 1, time_ms: START_MS + i }));
    // All but the eighth speak again.
    for (let i = 0; i < 16; i++)
      if (i !== 7) find(table, packet({ frame: 20 + i, protocol: 17, source: i + 1, time_ms: START_MS + 100 + i }));
    const ended: number[] = [];
    table.onEnd = (slot) => ended.push(table.id[slot]);
    find(table, packet({ frame: 99, protocol: 17, source: 99, time_ms: START_MS + 200 }));
    expect(ended).toEqual([8]);
  });
});

// ── against a model ──

interface Step {
  kind: 'v4' | 'v6' | 'link';
  protocol: number;
  a: number;
  b: number;
  port_a: number;
  port_b: number;
  wait_ms: number;
}

const WORDS = [1, 2, 0x7fff_ffff, 0x8000_0001, 0xffff_ffff];
const PORTS = [0, 1, 502, 40_000, 0xffff];

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('v4', 'v6', 'link'),
  protocol: fc.constantFrom(6, 17, 1),
  a: fc.nat(WORDS.length - 1),
  b: fc.nat(WORDS.length - 1),
  port_a: fc.nat(PORTS.length - 1),
  port_b: fc.nat(PORTS.length - 1),
  wait_ms: fc.constantFrom(0, 1, 1000, HOUR / 4, HOUR / 4 + 1, 24 * HOUR + 1),
});

function toPacket({ kind, protocol, a, b, port_a, port_b }: Step, frame: number, time_ms: number): Packet {
  if (kind === 'link') return linkPacket(a, b, port_a === 0 ? 0x0806 : 0x88b8, { frame, time_ms });
  const ports =
    protocol === 1 ? { source_port: 0, destination_port: 0 } : { source_port: PORTS[port_a], destination_port: PORTS[port_b] };
  return packet({ version: kind === 'v4' ? 4 : 6, protocol, source: WORDS[a], destination: WORDS[b], ...ports, frame, time_ms });
}

/** The conversation in words, and the sender's end. */
function inWords(p: Packet): { key: string; from: string } {
  if (p.ip_version === 0) {
    const mac = (at: number) => Buffer.from(p.link_bytes.subarray(at, at + 6)).toString('hex');
    const [from, to] = [mac(p.mac_source), mac(p.mac_destination)];
    return { key: `eth ${p.ethertype} ${[from, to].sort().join(' ')}`, from };
  }
  const from = `${[...p.source].join('.')}:${p.source_port}`;
  const to = `${[...p.destination].join('.')}:${p.destination_port}`;
  return { key: `${p.ip_version} ${p.ip_protocol} ${[from, to].sort().join(' ')}`, from };
}

test.each([1, 2, 3, 7, 20, 4096])('says what a Map says: %i flows', (max_flows) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const table = newTable(max_flows);
      const model = new Map<string, { id: number; last_ms: number; directions: Map<string, 0 | 1> }>();
      let timed_out = 0;
      let evicted = 0;
      let current = '';
      table.onEnd = (slot) => {
        const gone = [...model].filter(([, flow]) => flow.id === table.id[slot]);
        expect(gone).toHaveLength(1);
        if (gone[0][0] === current) timed_out++;
        else evicted++;
        model.delete(gone[0][0]);
      };
      let time_ms = START_MS;
      steps.forEach((one, i) => {
        time_ms += one.wait_ms;
        const p = toPacket(one, i + 1, time_ms);
        const { key, from } = inWords(p);
        const before = model.get(key);
        const limit = p.ip_protocol === 6 ? 24 * HOUR : HOUR / 4;
        const over = before === undefined || time_ms - before.last_ms > limit;
        const full = before === undefined && model.size === max_flows;
        current = key;
        const found = find(table, p);
        expect(found.is_new).toBe(over);
        if (over) model.set(key, { id: i + 1, last_ms: time_ms, directions: new Map() });
        const flow = model.get(key)!;
        flow.last_ms = time_ms;
        expect(table.id[found.slot]).toBe(flow.id);
        expect(model.size).toBe(full ? max_flows : table.count);
        // An end has the same direction in all its packets, and the other end the other.
        expect(flow.directions.get(from) ?? found.direction).toBe(found.direction);
        flow.directions.set(from, found.direction);
        expect(new Set(flow.directions.values()).size).toBe(flow.directions.size);
      });
      expect(table.counters).toEqual({ flows: model.size, evicted, timed_out, reopened: 0 });
    }),
    { numRuns: 150 },
  );
});

test('the limits are those that are documented', () => {
  expect(FLOW_LIMITS).toEqual({ max_flows: 1 << 20, tcp_timeout_ms: 24 * HOUR, other_timeout_ms: 15 * 60_000 });
});

test('both directions of an address pair, whatever the ports, meet in one shard', () => {
  fc.assert(
    fc.property(step, fc.integer({ min: 1, max: 16 }), (one, shards) => {
      const there = shardOf(toPacket(one, 1, START_MS), shards);
      const other = { ...one, a: one.b, b: one.a, port_a: one.kind === 'link' ? one.port_a : 0, port_b: 3 };
      expect(shardOf(toPacket(other, 1, START_MS), shards)).toBe(there);
      expect(there).toBeGreaterThanOrEqual(0);
      expect(there).toBeLessThan(shards);
    }),
  );
});

test('the shards get similar shares of the addresses of a plant', () => {
  const counts = [0, 0, 0, 0];
  for (let host = 1; host < 255; host++)
    for (let plc = 1; plc <= 8; plc++) counts[shardOf(packet({ source: 0x0a000000 + host, destination: 0x0a000100 + plc }), 4)]++;
  for (const count of counts) expect(count).toBeGreaterThan((254 * 8) / 4 / 2);
});
