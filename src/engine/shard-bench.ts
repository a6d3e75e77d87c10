/** For tests: packets of the test's making through shards and collector, without threads, in batches that the test cuts. */
import { BatchWriter, MAX_BATCH_BYTES, PacketRing } from '../capture/batch.ts';
import { bytes, ethernet, ipv4, tagged, tcp as tcpHeader, udp as udpHeader } from '../decode/testing.ts';
import { type AnyDissector, defineDissector, ethertype, Match, tcp, udp } from '../dissect/dissector.ts';
import { Operation } from '../dissect/operation.ts';
import type { Reader } from '../dissect/reader.ts';
import { record, u8 } from '../dissect/record.ts';
import { Registry } from '../dissect/registry.ts';
import type { FlowLimits } from '../flow/flow-table.ts';
import { Inventory } from '../inventory/inventory.ts';
import { readPolicy } from '../policy/index.ts';
import { ot_sensor } from '../proto/facts.js';
import type { AlertRow, ChangeSet, EvidenceRow } from '../store/change-set.ts';
import { Collector } from './collector.ts';
import { Shard } from './shard.ts';

// ── a protocol that does everything ──

export const PUMP_PORT = 7000;
export const PUMP_ETHERTYPE = 0x9abc;
export const Job = {
  read: 1,
  response: 2,
  write: 3,
  stop: 4,
  /** Well formed, but wrong. */
  odd: 5,
  identify: 6,
  /** Ends before its last field. */
  short: 7,
  /** Its dissector throws. */
  poison: 0xee,
} as const;

const Pump = record('pump', 'Pump message', {
  job: u8(null, 'what is done'),
  unit_id: u8(null, 'to which unit'),
  address: u8(null, 'at which address'),
  last: u8(null, 'last field'),
});

/** Magic "PU", size of the whole (u8), job, unit, address, last. */
export const pump = defineDissector({
  name: 'pump',
  title: 'Pump protocol of the tests',
  specification: 'this file',
  carriers: [...tcp(PUMP_PORT), ...udp(PUMP_PORT), ...ethertype(PUMP_ETHERTYPE)],
  records: [Pump],
  anomalies: { odd_job: 'the job is odd' },
  framing: { headerSize: 3, maxSize: 200, sizeOf: (r: Reader) => (r.peekU16(0) === 0x5055 ? r.peekU8(2) || -1 : -1) },
  probe: (r: Reader) => (r.peekU16(0) === 0x5055 ? Match.certain : Match.no),
  newState: () => null,
  unitName: 'unit',
  targetName: (space) => `bank ${space}`,
  dissect(r, emit, conversation) {
    const row = emit(Pump);
    r.skip(3);
    row.job = r.u8();
    if (row.job === Job.poison) throw new Error('poison');
    row.unit = row.unit_id = r.u8();
    row.address = r.u8();
    row.last = r.u8();
    const operations: Record<number, (typeof Operation)[keyof typeof Operation]> = {
      [Job.read]: Operation.read,
      [Job.response]: Operation.read,
      [Job.write]: Operation.write,
      [Job.stop]: Operation.stop,
      [Job.identify]: Operation.identify,
    };
    row.operation = operations[row.job] ?? Operation.other;
    if (row.operation === Operation.read || row.operation === Operation.write) row.target(1, row.address, row.address);
    if (row.job === Job.odd) conversation.anomaly(row, 'odd_job');
    if (row.job === Job.identify) conversation.identify('sender', 'model', `P-${row.address}`, 'pump.address');
    r.skip(r.remaining);
  },
});

export function pumpPdu(job: number, { unit = 1, address = 0, size = job === Job.short ? 6 : 7 } = {}): Uint8Array {
  const pdu = new Uint8Array(size);
  pdu.set([0x50, 0x55, size, job, unit, address]);
  return pdu;
}

// ── hosts that talk ──

export interface Host {
  ip: string;
  mac: string;
}

/** 10.0.a.b and a MAC address of its own. */
export function host(a: number, b: number): Host {
  const two = (value: number) => value.toString(16).padStart(2, '0');
  return { ip: `0a00${two(a)}${two(b)}`, mac: `02000000${two(a)}${two(b)}` };
}

export interface BenchOptions {
  shards?: number;
  policy?: string;
  flow_limits?: Partial<FlowLimits>;
  dissectors?: readonly AnyDissector[];
}

const START_MS = Date.UTC(2026, 0, 2, 3, 4, 5);

export class ShardBench {
  readonly registry: Registry;
  readonly ring = new PacketRing();
  readonly shards: Shard[];
  readonly collector: Collector;
  readonly changes: ChangeSet[] = [];
  /** All facts, in the order in which the collector takes them. */
  readonly facts: ot_sensor.IFact[] = [];
  /** Bytes of every packet sent, by frame - 1. */
  readonly sent: Uint8Array[] = [];
  time_ms = START_MS;
  /** Closes a batch behind every so many packets. */
  batch_packets = Number.POSITIVE_INFINITY;
  private readonly writer = new BatchWriter(this.ring);
  private used = 0;

  constructor(options: BenchOptions = {}) {
    const { shards = 1, policy: policyText, flow_limits = { max_flows: 256 }, dissectors = [pump] } = options;
    this.registry = new Registry(dissectors);
    const read = policyText === undefined ? null : readPolicy(policyText, this.registry);
    if (read !== null && read.model === null) throw new Error(JSON.stringify(read.faults));
    const policy = read?.model ?? null;
    this.shards = Array.from(
      { length: shards },
      (_, shard) =>
        new Shard(this.ring.buffers, this.registry, { shard, shards, output: 'facts', protocols: null, policy, flow_limits }),
    );
    const inventory = new Inventory({ onEvent: (event) => this.collector.onInventoryEvent(event) });
    inventory.begin(1);
    this.collector = new Collector(inventory, 1, async (changes) => {
      this.changes.push(changes);
    });
  }

  /** One packet; gives its frame number. */
  async packet(frame: Uint8Array, { wire = frame.length, wait_ms = 1, link_type = 1 } = {}): Promise<number> {
    const { writer } = this;
    if (writer.full || this.used + frame.length > MAX_BATCH_BYTES || writer.count >= this.batch_packets) await this.cut();
    this.time_ms += wait_ms;
    const at = writer.start + this.used;
    writer.buffer.set(frame, at);
    const seconds = Math.floor(this.time_ms / 1000);
    writer.add(at, frame.length, wire, seconds, Math.round((this.time_ms - seconds * 1000) * 1e6), 0, link_type);
    this.used += frame.length;
    return this.sent.push(frame);
  }

  /** Hands over what there is as a batch. */
  async cut(finish = false): Promise<void> {
    const range = this.writer.next(this.used);
    this.used = 0;
    const answers = this.shards.map((shard) => {
      shard.process(range);
      if (finish) shard.finish(range.first_frame + range.count - 1);
      return {
        facts: shard.facts.encode(finish ? shard.allCounters() : null),
        records: null,
        failures: shard.failures.splice(0),
        packets: range.count,
        lost: 0,
        incomplete: false,
        headers_only: 0,
        next_flow: Number.POSITIVE_INFINITY,
      };
    });
    for (const { facts } of answers) this.facts.push(...(ot_sensor.BatchFacts.decode(facts).facts ?? []));
    await this.collector.batch(answers, { range, flush: finish, finish }, this.ring);
  }

  /** The end of the capture. */
  async end(): Promise<void> {
    await this.cut();
    await this.cut(true);
  }

  get counters(): Record<string, number> {
    return this.collector.counters;
  }
  /** Alerts as the store has them: counts added up, by key. */
  get alerts(): AlertRow[] {
    const stored = new Map<string, AlertRow>();
    for (const row of this.changes.flatMap(({ alerts }) => alerts)) {
      const known = stored.get(row.key);
      if (known === undefined) stored.set(row.key, { ...row });
      else Object.assign(known, { count: known.count + row.count, last_ms: row.last_ms, last_frame: row.last_frame });
    }
    return [...stored.values()];
  }
  alertsOf(kind: string): AlertRow[] {
    return this.alerts.filter((alert) => alert.kind === kind);
  }
  get evidence(): EvidenceRow[] {
    return this.changes.flatMap(({ evidence }) => evidence);
  }
  /** Frames of an alert's evidence, in their order. */
  framesOf(alert: AlertRow): number[] {
    const rows = this.evidence.filter(({ alert_key }) => alert_key === alert.key);
    return rows.sort((a, b) => a.ordinal - b.ordinal).map(({ frame }) => frame);
  }
}

/** A TCP conversation between two hosts. */
export class Talk {
  private readonly bench: ShardBench;
  private readonly ends: readonly [Host, Host];
  private readonly ports: readonly [number, number];
  private readonly vlans: readonly number[];
  private readonly next: [number, number] = [1000, 9000];

  constructor(
    bench: ShardBench,
    client: Host,
    server: Host,
    client_port = 40_000,
    port = PUMP_PORT,
    vlans: readonly number[] = [],
  ) {
    this.bench = bench;
    this.ends = [client, server];
    this.ports = [client_port, port];
    this.vlans = vlans;
  }

  async open(): Promise<number[]> {
    return [await this.segment(0, 2), await this.segment(1, 0x12), await this.segment(0, 0x10)];
  }
  client(payload: Uint8Array): Promise<number> {
    return this.segment(0, 0x18, payload);
  }
  server(payload: Uint8Array): Promise<number> {
    return this.segment(1, 0x18, payload);
  }
  segment(direction: 0 | 1, flags: number, payload = bytes(), options: { wait_ms?: number } = {}): Promise<number> {
    const other = 1 - direction;
    const packet = tcpHeader(payload, {
      source_port: this.ports[direction],
      destination_port: this.ports[other],
      sequence: this.next[direction],
      acknowledgment: this.next[other],
      flags,
    });
    this.next[direction] += payload.length + (flags & 3 ? 1 : 0);
    const [from, to] = [this.ends[direction], this.ends[other]];
    return this.bench.packet(framed(ipv4(packet, { source: from.ip, destination: to.ip }), from, to, this.vlans), options);
  }
}

export function datagram(from: Host, to: Host, payload: Uint8Array, port = PUMP_PORT, vlans: readonly number[] = []): Uint8Array {
  const packet = ipv4(udpHeader(payload, port), { protocol: 17, source: from.ip, destination: to.ip });
  return framed(packet, from, to, vlans);
}

function framed(packet: Uint8Array, from: Host, to: Host, vlans: readonly number[]): Uint8Array {
  let type = 0x0800;
  let inner = packet;
  for (const vlan of [...vlans].reverse()) {
    inner = tagged(vlan, type, inner);
    type = 0x8100;
  }
  return ethernet(type, inner, from.mac, to.mac);
}
