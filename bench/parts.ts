import { fileURLToPath } from 'node:url';
import Benchmark from 'benchmark';
import { dissectors } from '../dissectors/index.ts';
import { BatchWriter, PacketRing } from '../src/capture/batch.ts';
import { SequenceSource } from '../src/capture/replay.ts';
import { Decoder } from '../src/decode/decode.ts';
import { Decoded, Packet } from '../src/decode/packet.ts';
import { Conversation } from '../src/dissect/conversation.ts';
import { Dissection } from '../src/dissect/dissection.ts';
import { OPERATION_NAMES, type OperationName } from '../src/dissect/operation.ts';
import { Reader } from '../src/dissect/reader.ts';
import { Registry } from '../src/dissect/registry.ts';
import { FactLog } from '../src/engine/fact-log.ts';
import { FactReader } from '../src/engine/fact-reader.ts';
import { FlowNotes } from '../src/engine/flow-notes.ts';
import { RecordsConsumer } from '../src/engine/records-consumer.ts';
import { Shard } from '../src/engine/shard.ts';
import { type CutPdu, pdusOf, readPackets } from '../src/engine/testing.ts';
import { FlowState } from '../src/flow/flow-state.ts';
import { FlowTable } from '../src/flow/flow-table.ts';
import { Framer } from '../src/flow/framer.ts';
import { compilePolicy, readPolicy } from '../src/policy/index.ts';
import { ot_sensor } from '../src/proto/facts.js';
import { ensureLoad } from './load.ts';
import { loadZones, manyZones } from './zone-files.ts';

/** One part of the packet's way by itself, on packets of the fixtures. */
export interface PartResult {
  part: string;
  /** Of the best sample and of the middle one, for one of `of`. */
  best_ns: number;
  median_ns: number;
  of: string;
}

interface Part {
  part: string;
  of: string;
  /** How many of those a call of `run` does. */
  count: number;
  run: () => void;
}

const TCP = 6;
const MODBUS_PORT = 502;

const fixture = (name: string): string => fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url));
const registry = new Registry(dissectors);

export async function measureParts(seconds_a_part: number): Promise<PartResult[]> {
  return (await allParts()).map((part) => measure(part, seconds_a_part));
}

function measure({ part, of, count, run }: Part, maxTime: number): PartResult {
  const benchmark = new Benchmark(run, { maxTime, minSamples: 5 });
  benchmark.run();
  // benchmark.js keeps what a measured function throws.
  const { error } = benchmark as unknown as { error?: Error };
  if (error) throw error;
  const ns = benchmark.stats.sample.map((seconds) => (seconds * 1e9) / count).sort((a, b) => a - b);
  return { part, of, best_ns: ns[0], median_ns: ns[ns.length >> 1] };
}

async function allParts(): Promise<Part[]> {
  const modbus = await exchange('modbus/modbus-serial.pcap', 'modbus', 'read');
  const s7 = await exchange('s7comm/snap7-client.pcap', 'tpkt', 'read');
  const dnp3 = await exchange('dnp3/opendnp3.pcap', 'dnp3', 'read');
  const parts = [await decodePart(), await flowPart(200), await flowPart(50_000)];
  parts.push(framingPart('Modbus read, request and response: framing, dissection, pairing', modbus));
  parts.push(framingPart('S7 read (TPKT, COTP), request and response: framing, dissection, pairing', s7));
  parts.push(framingPart(`DNP3 read, request and response: framing, CRCs, dissection, pairing`, dnp3));
  parts.push(linePart(modbus[1]));
  parts.push(policyPart('zone policy, 2 zones and 10 conduits', loadZones(true), modbus[0]));
  parts.push(policyPart('zone policy, 100 zones and 2,000 conduits', manyZones(100, 2000), modbus[0]));
  parts.push(...(await factsParts()));
  return parts;
}

/** A ring with all packets of a capture in it. */
async function ringOf(file: string): Promise<{ ring: PacketRing; frames: number }> {
  const ring = new PacketRing();
  const writer = new BatchWriter(ring);
  const source = await SequenceSource.open([file]);
  for (;;) {
    const used = await source.fill(writer);
    if (used === null) return { ring, frames: writer.first_frame - 1 };
    writer.next(used);
  }
}

async function decodePart(): Promise<Part> {
  const { ring, frames } = await ringOf(fixture('modbus/modbus-serial.pcap'));
  const decoder = new Decoder(ring);
  const packet = new Packet();
  return {
    part: 'decode Ethernet, IPv4, TCP',
    of: 'packet',
    count: frames,
    run: () => {
      for (let frame = 1; frame <= frames; frame++) decoder.decode(frame, packet);
    },
  };
}

/** Looks up flows of the load in turn, so that as many lie in the table. */
async function flowPart(flows: number): Promise<Part> {
  // The handshakes and one packet more of each flow's first exchange.
  const { ring, frames } = await ringOf(ensureLoad({ packets: flows * 5, flows }));
  const decoder = new Decoder(ring);
  const table = new FlowTable((is_tcp, port) => registry.onPort(is_tcp, port).length > 0);
  const packets: Packet[] = [];
  const step = Math.max(1, Math.floor((frames - 3 * flows) / 4096));
  for (let frame = 1; frame <= frames; frame++) {
    const packet = new Packet();
    if (decoder.decode(frame, packet) !== Decoded.ok) throw new Error(`frame ${frame} of the load cannot be decoded`);
    table.find(packet);
    if (frame > 3 * flows && frame % step === 0) packets.push(packet);
  }
  return {
    part: `flow lookup among ${flows.toLocaleString('en-US')}`,
    of: 'packet',
    count: packets.length,
    run: () => {
      for (const packet of packets) table.find(packet);
    },
  };
}

/** The first request of a capture, by what it does, whose answer is the next PDU of its conversation. */
async function exchange(name: string, dissector: string, operation: OperationName): Promise<[CutPdu, CutPdu]> {
  const pdus = pdusOf(await readPackets(fixture(name)), registry).filter(
    (pdu) => registry.dissectors[pdu.dissector].name === dissector,
  );
  const dissection = new Dissection(registry);
  const conversations = new Map<FlowState, Conversation>();
  const operations = pdus.map((pdu) => {
    const conversation = conversations.get(pdu.state) ?? conversationOf(pdu);
    conversations.set(pdu.state, conversation);
    dissect(dissection, conversation, pdu);
    return dissection.rows.slice(0, dissection.count).map((row) => OPERATION_NAMES[row.operation]);
  });
  for (let i = 0; i + 1 < pdus.length; i++) {
    const [first, second] = [pdus[i], pdus[i + 1]];
    if (first.state !== second.state || first.direction !== 0 || second.direction !== 1) continue;
    if (operations[i].includes(operation) && operations[i + 1].includes(operation)) return [first, second];
  }
  throw new Error(`${name}: no ${dissector} ${operation} and its answer`);
}

function conversationOf(pdu: CutPdu): Conversation {
  const conversation = new Conversation();
  conversation.is_stream = true;
  conversation.client_direction = 0;
  conversation.source_port = pdu.state.port(pdu.direction);
  conversation.destination_port = pdu.state.port((1 - pdu.direction) as 0 | 1);
  return conversation;
}

const reader = new Reader();

function dissect(dissection: Dissection, conversation: Conversation, { dissector, direction, bytes, complete }: CutPdu): void {
  conversation.direction = direction;
  conversation.frame++;
  conversation.time_ms++;
  dissection.run(dissector, reader.reset(bytes, 0, bytes.length), conversation, complete);
  if (dissection.failed) throw dissection.failed.error;
}

/** PDUs as segments of a stream, the dissector known, as for all but a flow's first. */
function framingPart(part: string, pdus: readonly CutPdu[]): Part {
  const dissection = new Dissection(registry);
  const framer = new Framer(registry, {
    pdu: (state, direction, r, complete) => {
      state.direction = direction;
      state.frame++;
      state.time_ms++;
      dissection.run(state.dissector, r, state, complete);
    },
    unrecognised: () => {},
  });
  const state = new FlowState();
  state.is_stream = true;
  state.client_direction = 0;
  state.dissector = pdus[0].dissector;
  state.framing = registry.dissectors[state.dissector].framing ?? null;
  const run = () => {
    for (const { direction, bytes } of pdus) framer.data(state, direction, bytes, 0, bytes.length);
  };
  run();
  if (dissection.counters.pdus !== pdus.length) throw new Error(`${part}: ${dissection.counters.pdus} PDUs were cut`);
  const sizes = pdus.map(({ bytes }) => bytes.length).join(' and ');
  return { part: `${part} (${sizes} bytes)`, of: 'PDU', count: pdus.length, run };
}

function linePart(pdu: CutPdu): Part {
  const table = new FlowTable(() => true, { max_flows: 1 });
  const packet = new Packet();
  packet.ip_version = 4;
  packet.ip_protocol = TCP;
  packet.source.set([0, 0, 0xffff, 0x0a000001]);
  packet.destination.set([0, 0, 0xffff, 0x0a010001]);
  packet.source_port = 40_000;
  packet.destination_port = MODBUS_PORT;
  packet.frame = 1_234_567;
  packet.seconds = 1_700_000_000;
  packet.nanoseconds = 123_456_000;
  table.find(packet);
  const dissection = new Dissection(registry);
  const state = new FlowState();
  state.dissector = pdu.dissector;
  state.framing = registry.dissectors[state.dissector].framing ?? null;
  Object.assign(state, { is_stream: true, client_direction: 0 });
  dissect(dissection, state, pdu);
  const notes = new FlowNotes();
  const consumer = new RecordsConsumer(registry, table, null);
  const run = () => {
    consumer.reset();
    consumer.rows(0, state, notes, packet, packet, dissection);
  };
  run();
  const bytes = consumer.writer.out.position;
  return { part: `JSON line of a Modbus read response (${bytes} bytes)`, of: 'record', count: dissection.count, run };
}

/** A read in a conversation between the first two zones, which the last of the conduits allows. */
function policyPart(part: string, yaml: string, pdu: CutPdu): Part {
  const { model, faults } = readPolicy(yaml, registry);
  if (model === null) throw new Error(`${part}: ${faults[0]?.message}`);
  const pair = compilePolicy(model, registry).pair(1, 2);
  const dissection = new Dissection(registry);
  const conversation = conversationOf(pdu);
  dissect(dissection, conversation, pdu);
  const { rows, count } = dissection;
  const run = () => {
    if (pair.evaluate(rows, count, TCP, MODBUS_PORT, conversation.sender, 0) !== 0) throw new Error(`${part}: not allowed`);
  };
  return { part, of: 'PDU', count: 1, run };
}

/** The facts of the plant's capture, as a worker hands them over. */
async function factsParts(): Promise<Part[]> {
  const { ring, frames } = await ringOf(fixture('plant.pcap'));
  const shard = new Shard(ring.buffers, registry, { shard: 0, shards: 1, output: 'facts', protocols: null, policy: null });
  shard.process({ first_frame: 1, count: frames });
  shard.finish(frames);
  const bytes = shard.facts.encode(shard.allCounters());
  const batch = ot_sensor.BatchFacts.decode(bytes);
  const count = batch.facts.length;
  const size = `a batch of ${count} facts, ${bytes.length.toLocaleString('en-US')} bytes`;
  const log = new FactLog();
  const write = () => {
    for (const fact of batch.facts) log.add(fact);
    return log.encode(null);
  };
  const read = () => {
    const reader = new FactReader(bytes);
    while (reader.next());
  };
  return [
    { part: `facts: write ${size}`, of: 'fact', count, run: () => void write() },
    { part: `facts: read ${size}`, of: 'fact', count, run: () => void read() },
  ];
}
