import fs from 'node:fs';
import path from 'node:path';
import { PerformanceObserver } from 'node:perf_hooks';
import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { dissectors } from '../../dissectors/index.ts';
import { BatchWriter, MAX_BATCH_BYTES, MAX_BATCH_PACKETS, PacketRing } from '../capture/batch.ts';
import { Registry } from '../dissect/registry.ts';
import { fromHex } from '../dissect/testing.ts';
import { FlowState, IDLE_STREAM } from '../flow/flow-state.ts';
import { type PolicyModel, readPolicy } from '../policy/index.ts';
import { Shard } from './shard.ts';
import { ETHERNET, pseudoRandom, type RunOptions, type RunResult, runBytes, runFile, tcpPackets } from './testing.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const SHARED = path.resolve(process.env.OT_SENSOR_PCAPS ?? path.join(ROOT, '../shared/pcaps'));
const shared = fs.existsSync(path.join(SHARED, 'MANIFEST.tsv'));
if (!shared)
  console.warn(`SKIPPED: robustness is not tried on the shared captures, which are not in ${SHARED} (OT_SENSOR_PCAPS)`);

const registry = new Registry(dissectors);

/** Everything is a crossing of something, so that the way to an alert is walked, too. */
const POLICY = `
zones:
  - { name: low, level: 1, subnets: [0.0.0.0/1, '::/1'] }
  - { name: high, level: 3, subnets: [128.0.0.0/1, '8000::/1'] }
conduits:
  - { from: high, to: low, protocols: [modbus, s7comm, dnp3], operations: [read] }
default: alert
`;

/** Captures in which bytes are cut and changed: of larger ones the first part. */
const MAX_BYTES = 96 * 1024;
/** A run that takes longer than this and so much a packet hangs, on any machine. */
const MAX_MS = 20_000;
const MAX_MS_A_PACKET = 5;

let policy: PolicyModel | null = null;
afterAll(() => {
  // What all idle streams share is never written to.
  expect(IDLE_STREAM).toEqual(new FlowState().ownStream(0));
});
beforeAll(() => {
  const { model, faults } = readPolicy(POLICY, registry);
  expect(faults).toEqual([]);
  policy = model;
});

const outputs = (): RunOptions[] => [
  { output: 'records', max_lines: 0 },
  { output: 'facts', policy },
];

/** Runs one input in both ways; what is wrong with it in words. */
async function tryOut(
  what: string,
  run: (options: RunOptions) => Promise<RunResult>,
): Promise<{ wrong: string[]; packets: number }> {
  const wrong: string[] = [];
  let packets = 0;
  for (const options of outputs()) {
    const started = performance.now();
    try {
      const result = await run(options);
      packets += result.packets;
      wrong.push(...result.failures.map((failure) => `${what}, ${options.output}: ${failure}`));
      if (result.counters['dissect.failures'] !== undefined && result.failures.length === 0)
        wrong.push(`${what}: a dissector failed`);
      const took = performance.now() - started;
      if (took > MAX_MS + result.packets * MAX_MS_A_PACKET) wrong.push(`${what}, ${options.output}: took ${Math.round(took)} ms`);
    } catch (error) {
      wrong.push(`${what}, ${options.output}: threw ${error instanceof Error ? error.stack : error}`);
    }
  }
  return { wrong, packets };
}

describe.skipIf(!shared)('the shared captures', () => {
  const files = shared
    ? fs
        .readdirSync(SHARED, { recursive: true, encoding: 'utf8' })
        .filter((file) => /\.(pcap|pcapng|cap|gz)$/.test(file))
        .sort()
    : [];

  test('whole: nothing is thrown, and none takes for ever', async () => {
    expect(files.length).toBeGreaterThan(300);
    const wrong: string[] = [];
    let packets = 0;
    for (const file of files) {
      const tried = await tryOut(file, (options) => runFile(path.join(SHARED, file), registry, options));
      wrong.push(...tried.wrong);
      packets += tried.packets;
    }
    expect(wrong.slice(0, 20)).toEqual([]);
    expect(packets).toBeGreaterThan(500_000);
  }, 240_000);

  test('cut anywhere, and with bytes changed: the same, and memory stays what it was', async () => {
    const wrong: string[] = [];
    let runs = 0;
    let before = 0;
    for (const [number, file] of files.entries()) {
      // The first files warm up what is made once.
      if (number === 40) before = heapUsed();
      const bytes = Buffer.alloc(Math.min(MAX_BYTES, fs.statSync(path.join(SHARED, file)).size));
      const fd = fs.openSync(path.join(SHARED, file), 'r');
      fs.readSync(fd, bytes, 0, bytes.length, 0);
      fs.closeSync(fd);
      const random = pseudoRandom(number);
      const variants: [string, Buffer][] = [];
      for (let i = 0; i < 4; i++) {
        const cut = random() % bytes.length;
        variants.push([`cut at byte ${cut}`, bytes.subarray(0, cut)]);
      }
      for (const every of [bytes.length, 400, 60]) {
        const changed = Buffer.from(bytes);
        const places: number[] = [];
        for (let i = 0; i < Math.max(1, bytes.length / every); i++) {
          // The file's own header is left alone but for the single byte: what is behind it is to be read.
          const at = every === bytes.length ? random() % bytes.length : 64 + (random() % Math.max(1, bytes.length - 64));
          if (at >= bytes.length) continue;
          changed[at] ^= 1 + (random() % 255);
          places.push(at);
        }
        variants.push([
          `bytes ${places.slice(0, 4).join(', ')}${places.length > 4 ? ' …' : ''} changed (seed ${number}, ${every})`,
          changed,
        ]);
      }
      for (const [how, variant] of variants) {
        runs++;
        const tried = await tryOut(`${file}, ${how}`, (options) => runBytes(variant, registry, options));
        wrong.push(...tried.wrong);
      }
    }
    expect(wrong.slice(0, 20)).toEqual([]);
    expect(runs).toBeGreaterThan(1500);
    expect(heapUsed() - before).toBeLessThan(256 << 20);
  }, 300_000);
});

function heapUsed(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

// ── a million packets ──

const PACKETS = 1_000_000;
const CONNECTIONS = 500;
/** Collections in the measured part: one by chance, and a few for the facts that batches say. */
const MAX_COLLECTIONS = { records: 1, facts: 4 };
/** Before it is measured: until the code is compiled, memory is for the compiler. */
const WARM_UP = 200_000;

/**
 * Modbus polls on many connections, written straight into the ring: request, response, a packet each, with what TCP and MBAP count up. The
 * generator itself makes no garbage.
 */
class Polls {
  readonly writer: BatchWriter;
  private readonly templates: readonly [Buffer, Buffer];
  private made = 0;

  constructor(ring: PacketRing) {
    this.writer = new BatchWriter(ring);
    const of = (direction: 0 | 1, hex: string) =>
      Buffer.from(
        tcpPackets({ ports: [0, 502] }, [{ direction, bytes: fromHex(hex), time_ns: 0n, sequence: 0, acknowledges: 0 }]).at(-1)!
          .bytes,
      );
    this.templates = [of(0, '0000 0000 0006 01 03 0010 0004'), of(1, '0000 0000 000B 01 03 08 0001 0002 0003 0004')];
  }

  /** Fills one batch; false when `limit` packets have been made. */
  fill(limit: number): number {
    const { writer } = this;
    let used = 0;
    while (this.made < limit && writer.count < MAX_BATCH_PACKETS && used + 128 <= MAX_BATCH_BYTES) {
      const round = Math.floor(this.made / (CONNECTIONS * 2));
      const within = this.made % (CONNECTIONS * 2);
      const direction = (within & 1) as 0 | 1;
      const connection = within >> 1;
      const template = this.templates[direction];
      const at = writer.start + used;
      const { buffer } = writer;
      template.copy(buffer, at);
      // Ports, sequence and acknowledgment numbers, transaction identifier.
      buffer.writeUInt16BE(20_000 + connection, at + 34 + direction * 2);
      buffer.writeUInt32BE((1000 + round * (direction === 0 ? 12 : 17)) >>> 0, at + 38);
      buffer.writeUInt32BE((1000 + (round + direction) * (direction === 0 ? 17 : 12)) >>> 0, at + 42);
      buffer.writeUInt16BE(round & 0xffff, at + 54);
      writer.add(
        at,
        template.length,
        template.length,
        1_767_592_800 + Math.floor(this.made / 10_000),
        (this.made % 10_000) * 100_000,
        0,
        ETHERNET,
      );
      used += template.length;
      this.made++;
    }
    return used;
  }
}

interface Measured {
  collections: number;
  growth: number;
  packets: number;
  pdus: number;
}

async function million(output: 'records' | 'facts', beside: (packets: number) => void = () => {}): Promise<Measured> {
  const ring = new PacketRing();
  const polls = new Polls(ring);
  const shard = new Shard(ring.buffers, registry, {
    shard: 0,
    shards: 1,
    output,
    protocols: null,
    policy,
    flow_limits: { max_flows: 1 << 12 },
  });
  let collections = 0;
  const observer = new PerformanceObserver((list) => {
    collections += list.getEntries().length;
  });
  let packets = 0;
  let before = 0;
  const work = async (limit: number) => {
    for (;;) {
      const used = polls.fill(limit);
      if (used === 0) return;
      const range = polls.writer.next(used);
      packets += range.count;
      shard.process(range);
      beside(range.count);
      if (shard.records !== null) shard.records.reset();
      else shard.facts.encode(null);
    }
  };
  await work(WARM_UP);
  await turn();
  before = heapUsed();
  await turn();
  observer.observe({ entryTypes: ['gc'] });
  await work(WARM_UP + PACKETS);
  // The observer hears of collections between turns of the event loop.
  await turn();
  await turn();
  const growth = process.memoryUsage().heapUsed - before;
  const counted = collections;
  observer.disconnect();
  return { collections: counted, growth, packets: packets - WARM_UP, pdus: shard.allCounters()['dissect.pdus'] ?? 0 };
}

describe('a million packets from capture to rows', () => {
  test.each(['records', 'facts'] as const)('%s: no garbage a packet, and memory does not grow', async (output) => {
    const { collections, growth, packets, pdus } = await million(output);
    expect(packets).toBe(PACKETS);
    expect(pdus).toBe(PACKETS + WARM_UP);
    expect(collections).toBeLessThanOrEqual(MAX_COLLECTIONS[output]);
    expect(growth).toBeLessThan(24 << 20);
  });

  test('one small object a packet would be seen', async () => {
    let last: unknown = null;
    const { collections } = await million('records', (count) => {
      for (let i = 0; i < count; i++) last = { frame: i, time_ms: i + 0.5, last: null };
    });
    expect(last).not.toBeNull();
    expect(collections).toBeGreaterThan(MAX_COLLECTIONS.records);
  });
});
