import { setFlagsFromString } from 'node:v8';
import { workerData } from 'node:worker_threads';
import { move, transferableSymbol, valueSymbol } from 'piscina';
import { dissectors } from '../../dissectors/index.ts';
import type { BatchRange, RingBuffers } from '../capture/batch.ts';
import { type AnyDissector, Match } from '../dissect/dissector.ts';
import { Registry } from '../dissect/registry.ts';
import type { PolicyModel } from '../policy/conduits.ts';
import { nameThread } from '../thread-name.ts';
import { FactReader } from './fact-reader.ts';
import type { Failure } from './failure.ts';
import { Shard, type ShardOptions } from './shard.ts';
import { ShardProgress } from './shard-progress.ts';
import { Shed, type ShedLevel } from './shedding.ts';

/** What a shard's thread is started with. */
export interface ShardStart {
  buffers: RingBuffers;
  options: ShardOptions;
  /** Of ShardProgress. */
  progress: SharedArrayBuffer;
  /** 1; behind the packet that ended the thread before this one. */
  next_frame: number;
  /** The last facts that counters came with, of the thread before this one. */
  counters_said: Uint8Array | null;
  /** Names of dissectors that are not to be used. */
  left_out: string[];
  /** A module that has `dissectors`, by its URL; the product's own where left out. */
  dissectors?: string;
}

/** A batch to work through; `flush` asks for the counters, `finish` for the last words of the capture too. */
export interface BatchTask {
  range: BatchRange;
  flush: boolean;
  finish: boolean;
  /** With `finish`: only of the flows that began before this frame; left out: of all. */
  flows_before?: number;
  /** Says the counts of all flows now, whatever the packets' clock: for a mirror port that fell silent. */
  say_flows?: boolean;
  /** What is not looked at in this batch; left out: nothing is left out. */
  shed?: ShedLevel;
  /** Memory that an answer's lines came in and that nobody needs any more: for those to come. New memory costs more than writing it. */
  spare?: ArrayBuffer;
  /** From this batch on another policy holds; null: none. Left out: the one that holds. */
  policy?: PolicyModel | null;
}

/** Lines of JSON in frame order: `order[i]` is the frame of line i, `ends[i]` where it ends in `bytes`. */
export interface RecordLines {
  bytes: Uint8Array<ArrayBuffer>;
  order: Float64Array;
  ends: Uint32Array;
}

export interface BatchAnswer {
  /** An encoded ot_sensor.BatchFacts; null where there were none, or records were asked for. */
  facts: Uint8Array | null;
  records: RecordLines | null;
  failures: Failure[];
  /** Packets of this shard in the batch; without those of `lost`. */
  packets: number;
  /** The thread was replaced while the batch waited for its answer: packets may be missing, of whichever shard they were. */
  incomplete: boolean;
  /** Packets that are missing, of all shards: their results went with a thread, or they were not looked at since they cost too many. */
  lost: number;
  /** Of `packets`, those whose payload was left out to keep up. */
  headers_only: number;
  /** With `finish`: the first frame of the next flow whose last words are still to be said; Infinity: none. */
  next_flow: number;
  /** Names of the dissectors there are, in their order; with the first answer of a thread. */
  dissectors?: string[];
}

nameThread('shard');

// The packet path is many small functions, one file a protocol: V8's default budget does not inline them all (a fifth of the time).
// A larger one than this gives nothing more, and each new protocol makes V8 compile all again that the last one was inlined in.
setFlagsFromString('--max-inlined-bytecode-size=800');
setFlagsFromString('--max-inlined-bytecode-size-cumulative=1500');
// Twice V8's default: code is compiled when more of what it meets has been seen, and given up less often.
setFlagsFromString('--interrupt-budget=264000');

const start = workerData as ShardStart;
const all: readonly AnyDissector[] = start.dissectors === undefined ? dissectors : (await import(start.dissectors)).dissectors;
const used = withoutThose(all, new Set(start.left_out));
const progress = new ShardProgress(start.progress);
const shard = new Shard(start.buffers, new Registry(used), start.options, progress);
const counters_before = start.counters_said === null ? {} : countersIn(start.counters_said);

let { next_frame } = start;
let first_answer = true;

export default function task({ range, flush, finish, flows_before, shed, say_flows, spare, policy }: BatchTask): BatchAnswer {
  // Streams are put together here: a batch out of its turn would be a loss that nobody sees.
  if (range.first_frame !== next_frame) throw new Error(`batch of frame ${range.first_frame} came when ${next_frame} was next`);
  next_frame += range.count;
  const packets_before = progress.packets;
  const shed_before = shard.shedder.packets;
  if (policy !== undefined) shard.setPolicy(policy);
  shard.shedder.level = shed ?? Shed.nothing;
  shard.process(range);
  if (say_flows) shard.sayFlows(next_frame - 1);
  const next_flow = finish ? shard.finish(next_frame - 1, flows_before) : Number.POSITIVE_INFINITY;
  const answer: BatchAnswer = {
    facts: null,
    records: null,
    failures: shard.failures.splice(0),
    packets: progress.packets - packets_before,
    lost: 0,
    incomplete: false,
    headers_only: shard.shedder.packets - shed_before,
    next_flow,
  };
  if (first_answer) answer.dissectors = used.map(({ name }) => name);
  first_answer = false;
  if (shard.records !== null) {
    const { writer, order, ends, count } = shard.records;
    const bytes = writer.out.take(spare);
    answer.records = { bytes, order: order.slice(0, count), ends: ends.slice(0, count) };
    shard.records.reset();
    return moved(bytes, answer);
  }
  // Most batches of steady traffic say nothing new.
  if (!flush && !finish && shard.facts.count === 0) return answer;
  const facts = shard.facts.encode(flush || finish ? plus(shard.allCounters(), counters_before) : null);
  // An encoder's bytes may be part of a pool that others use: those are copied out first.
  answer.facts = facts.byteLength === facts.buffer.byteLength ? facts : facts.slice();
  return moved(answer.facts, answer);
}

/** Hands the bytes over by transfer. */
function moved(bytes: Uint8Array, answer: BatchAnswer): BatchAnswer {
  return move({ [transferableSymbol]: bytes.buffer, [valueSymbol]: answer } as never) as unknown as BatchAnswer;
}

/** What is left out recognises nothing; it stays in the list, since zone files may name it. */
function withoutThose(all: readonly AnyDissector[], left_out: Set<string>): AnyDissector[] {
  return all.map((dissector) => (left_out.has(dissector.name) ? { ...dissector, probe: () => Match.no } : dissector));
}

function countersIn(facts: Uint8Array): Record<string, number> {
  const reader = new FactReader(facts);
  while (reader.next());
  return reader.counters;
}

function plus(counters: Record<string, number>, more: Record<string, number>): Record<string, number> {
  for (const [name, value] of Object.entries(more)) counters[name] = (counters[name] ?? 0) + value;
  return counters;
}
