import { setFlagsFromString } from 'node:v8';
import { workerData } from 'node:worker_threads';
import { move, transferableSymbol, valueSymbol } from 'piscina';
import { dissectors } from '../../dissectors/index.ts';
import type { BatchRange, RingBuffers } from '../capture/batch.ts';
import { Registry } from '../dissect/registry.ts';
import type { PolicyModel } from '../policy/conduits.ts';
import { Shard, type ShardOptions } from './shard.ts';

/** What a shard's thread is started with. */
export interface ShardStart {
  buffers: RingBuffers;
  options: ShardOptions;
}

/** A batch to work through; `flush` asks for the counters, `finish` for the last words of the capture too. */
export interface BatchTask {
  range: BatchRange;
  flush: boolean;
  finish: boolean;
  /** Says the counts of all flows now, whatever the packets' clock: for a mirror port that fell silent. */
  say_flows?: boolean;
  /** From this batch on another policy holds; null: none. Left out: the one that holds. */
  policy?: PolicyModel | null;
}

/** Lines of JSON in frame order: `order[i]` is the frame of line i, `ends[i]` where it ends in `bytes`. */
export interface RecordLines {
  bytes: Uint8Array;
  order: Float64Array;
  ends: Uint32Array;
}

export interface BatchAnswer {
  /** An encoded ot_sensor.BatchFacts; null where there were none, or records were asked for. */
  facts: Uint8Array | null;
  records: RecordLines | null;
  /** Errors that dissectors threw, in words. */
  failures: string[];
}

// The packet path is many small functions, one file a protocol: V8's default budget does not inline them all (a fifth of the time).
setFlagsFromString('--max-inlined-bytecode-size=800');
setFlagsFromString('--max-inlined-bytecode-size-cumulative=4000');

const start = workerData as ShardStart;
const shard = new Shard(start.buffers, new Registry(dissectors), start.options);

let next_frame = 1;

export default function task({ range, flush, finish, say_flows, policy }: BatchTask): BatchAnswer {
  // Streams are put together here: a batch out of its turn would be a loss that nobody sees.
  if (range.first_frame !== next_frame) throw new Error(`batch of frame ${range.first_frame} came when ${next_frame} was next`);
  next_frame += range.count;
  if (policy !== undefined) shard.setPolicy(policy);
  shard.process(range);
  if (say_flows) shard.sayFlows(next_frame - 1);
  if (finish) shard.finish(range.first_frame + range.count - 1);
  const failures = shard.failures.splice(0);
  if (shard.records !== null) {
    const { writer, order, ends, count } = shard.records;
    const records = {
      bytes: writer.out.bytes.slice(0, writer.out.position),
      order: order.slice(0, count),
      ends: ends.slice(0, count),
    };
    shard.records.reset();
    return moved(records.bytes, { facts: null, records, failures });
  }
  // Most batches of steady traffic say nothing new.
  if (!flush && !finish && shard.facts.count === 0) return { facts: null, records: null, failures };
  const facts = shard.facts.encode(flush || finish ? shard.allCounters() : null);
  return moved(facts, { facts, records: null, failures });
}

/** Hands the bytes over by transfer. An encoder's bytes may be part of a pool that others use: those are copied out first. */
function moved(bytes: Uint8Array, answer: BatchAnswer): BatchAnswer {
  const own = bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();
  const value = answer.facts === bytes ? { ...answer, facts: own } : answer;
  return move({ [transferableSymbol]: own.buffer, [valueSymbol]: value } as never) as unknown as BatchAnswer;
}
