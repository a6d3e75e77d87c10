import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PcapWriter } from '../capture/pcap-writer.ts';
import { DIST } from '../cli/testing.ts';
import { ot_sensor } from '../proto/facts.js';
import type { Failure } from './failure.ts';
import type { Pipeline } from './pipeline.ts';
import { datagram, host } from './shard-bench.ts';

/** Speaks on UDP port 7001, and does to its thread what the first byte says. */
const DISSECTORS = `
const root = ${JSON.stringify(pathToFileURL(`${DIST}/`).href)};
const { dissectors: own } = await import(root + 'dissectors/index.js');
const { defineDissector, Match, Operation, record, u8, udp } = await import(root + 'src/dissect/index.js');
const Word = record('word', 'A word', { byte: u8(null, 'The byte') });
const poison = defineDissector({
  name: 'poison',
  specification: 'none',
  carriers: udp(7001),
  records: [Word],
  anomalies: {},
  probe: () => Match.possible,
  newState: () => null,
  dissect(r, emit) {
    const row = emit(Word);
    row.byte = r.u8();
    row.operation = Operation.read;
    switch (String.fromCharCode(row.byte)) {
      case 'T': throw new Error('a byte that nobody expected');
      case 'H': for (;;);
      case 'D': process.exit(3);
      case 'R': Object.defineProperty(row, 'operation', { get() { process.exit(4); }, configurable: true }); break;
      case 'S': { const again = () => again() + again(); again(); }
    }
  },
});
export const dissectors = [...own, poison];
`;

let folder: string;
let module_: string;
let pipelineModule: { Pipeline: typeof Pipeline };
let poolModule: typeof import('./pool.ts');
let batchModule: typeof import('../capture/batch.ts');
let openCaptureFile: typeof import('../capture/file-source.ts').openCaptureFile;

beforeAll(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-fault-'));
  module_ = path.join(folder, 'dissectors.mjs');
  fs.writeFileSync(module_, DISSECTORS);
  pipelineModule = await import(path.join(DIST, 'src/engine/pipeline.js'));
  poolModule = await import(path.join(DIST, 'src/engine/pool.js'));
  batchModule = await import(path.join(DIST, 'src/capture/batch.js'));
  ({ openCaptureFile } = await import(path.join(DIST, 'src/capture/file-source.js')));
});
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

/** A datagram a letter, from hosts of their own so that shards share them; '.' harms nobody. */
function capture(letters: string): string {
  const file = path.join(folder, `${letters.length}-${letters.replaceAll('.', '').slice(0, 40)}.pcap`);
  const writer = new PcapWriter(file, [1]);
  [...letters].forEach((letter, i) => {
    const frame = datagram(host(1, i % 200), host(2, i % 200), Uint8Array.of(letter.charCodeAt(0), 1, 2), 7001);
    writer.write(frame, 0, frame.length, frame.length, 1_700_000_000 + Math.floor(i / 100), i, 1);
  });
  writer.close();
  return file;
}

async function run(letters: string, shards = 1, hang_seconds?: number) {
  const pipeline = new pipelineModule.Pipeline({
    shards,
    output: 'facts',
    protocols: null,
    dissectors: pathToFileURL(module_).href,
    hang_seconds,
  });
  const failures: Failure[] = [];
  let [packets, lost, words] = [0, 0, 0];
  const counters: Record<string, number> = {};
  try {
    const totals = await pipeline.run(await openCaptureFile(capture(letters)), (answers) => {
      for (const answer of answers) {
        packets += answer.packets;
        lost += answer.lost;
        failures.push(...answer.failures);
        if (answer.facts === null) continue;
        const { facts, counters: said } = ot_sensor.BatchFacts.decode(answer.facts);
        for (const { activity } of facts) if (activity?.app_proto === 'poison') words += activity.count!;
        for (const [name, value] of Object.entries(said?.values ?? {})) counters[name] = value;
      }
    });
    return { total: totals.packets, packets, lost, failures, words, counters };
  } finally {
    await pipeline.close();
  }
}

const GOOD = '.'.repeat(300);

describe('a shard whose thread fails', () => {
  test('that throws costs its flow and nothing else', async () => {
    const { total, packets, lost, failures } = await run(`${GOOD}T${GOOD}`);
    expect({ total, packets, lost }).toEqual({ total: 601, packets: 601, lost: 0 });
    expect(failures).toMatchObject([{ dissector: 'poison', frame: 301, how: 'threw', lost: 0 }]);
    expect(failures[0].error).toMatch(/^Error: a byte that nobody expected\n/);
  });

  test.each([1, 3])('that dies is replaced, and every packet is accounted for, with %i shards', async (shards) => {
    const { total, packets, lost, failures, words } = await run(`${GOOD}D${GOOD}D${GOOD}`, shards);
    expect(packets + lost).toBe(total);
    expect(failures.map(({ dissector, frame, how }) => [dissector, frame, how])).toEqual([
      ['poison', 301, 'died'],
      ['poison', 602, 'died'],
    ]);
    expect(failures.reduce((sum, failure) => sum + failure.lost, 0)).toBe(lost);
    expect(lost).toBeGreaterThan(1);
    // What came behind the last one was looked at by the new thread.
    expect(words).toBeGreaterThanOrEqual(300);
  });

  test.each([undefined, 2])('that hangs is replaced, after as many seconds as are allowed: %s', async (hang_seconds) => {
    const { total, packets, lost, failures } = await run(`${GOOD}H${GOOD}`, 2, hang_seconds);
    expect(packets + lost).toBe(total);
    const error = expect.stringContaining(`no progress for ${hang_seconds ?? 5} s`);
    expect(failures).toMatchObject([{ dissector: 'poison', frame: 301, how: 'hung', error }]);
  });

  test('that runs out of stack only throws', async () => {
    const { failures, lost } = await run(`${GOOD}S${GOOD}`);
    expect(failures).toMatchObject([{ dissector: 'poison', how: 'threw', error: expect.stringContaining('RangeError') }]);
    expect(lost).toBe(0);
  });

  test('by the same dissector again and again goes on without it', async () => {
    const { total, packets, lost, failures } = await run(`${'.D'.repeat(5)}${GOOD}${'D'.repeat(200)}${GOOD}`);
    expect(failures.map(({ how }) => how)).toEqual(['died', 'died', 'died']);
    expect(failures.map(({ left_out }) => left_out === true)).toEqual([false, false, true]);
    expect(packets + lost).toBe(total);
  });

  test.each([1, 2])('packet after packet gives the rest of the batch up, and counts it, with %i shards', async (shards) => {
    // Behind its dissector, with what is done with rows: there is nothing that could be left out.
    const { total, packets, lost, failures } = await run(`${GOOD}${'R'.repeat(40)}${GOOD}`, shards);
    expect(packets + lost).toBe(total);
    const by = new Set(failures.map(({ dissector }) => dissector));
    expect(by).toEqual(new Set(['']));
    expect(failures.some(({ gave_up }) => gave_up)).toBe(true);
    expect(failures.length).toBeLessThanOrEqual(5 * shards);
    expect(lost).toBeGreaterThan(300);
  });

  test('and hangs does not keep the pipeline from being closed', async () => {
    const pipeline = new pipelineModule.Pipeline({
      shards: 1,
      output: 'facts',
      protocols: null,
      dissectors: pathToFileURL(module_).href,
    });
    const source = await openCaptureFile(capture(`H${GOOD}`));
    // Its end is not waited for.
    pipeline.run(source, () => {}).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await pipeline.close();
  }, 4000);

  test('keeps the counters of the thread before', async () => {
    const { counters, lost, total } = await run(`${'.'.repeat(90_000)}D${'.'.repeat(10_000)}`);
    // They are said with the last packet of a period; what came behind that is not in them, nor what was said in the last moment.
    expect(counters['decode.packets']).toBeGreaterThan(40_000);
    expect(counters['decode.packets']).toBeLessThanOrEqual(total);
    expect(lost).toBeGreaterThan(0);
  });

  test('whose last answers went with it does not do the same twice', async () => {
    // It dies with the first packet of a batch, when its answer to the batch before has hardly left.
    for (let i = 0; i < 8; i++) {
      const { total, packets, lost, failures } = await run(
        `${'.'.repeat(32_700 + 20 * i)}${'D.'.repeat(1)}${'.'.repeat(40_000)}`,
      );
      expect(failures.map(({ frame }) => frame)).toEqual([32_701 + 20 * i]);
      expect(packets + lost).toBe(total);
    }
  });

  test.each([1, 2])(
    'gives a batch up, and the answer to the one before went with its first thread, with %i shards',
    async (shards) => {
      const letters = `${GOOD}${'R'.repeat(40)}${GOOD}`;
      const ring = new batchModule.PacketRing();
      const source = await openCaptureFile(capture(letters));
      const writer = new batchModule.BatchWriter(ring);
      writer.next((await source.fill(writer))!);
      source.close();
      const dissectors = pathToFileURL(module_).href;
      const pool = new poolModule.ShardPool(ring.buffers, { shards, output: 'facts', protocols: null, dissectors });
      try {
        await pool.ready(null);
        const batch = (first_frame: number, count: number) =>
          pool.run({ range: { first_frame, count }, flush: false, finish: false });
        const answers = [batch(1, 300), batch(301, letters.length - 300)];
        // Nobody listens while the thread works the first one through, and dies of the second.
        for (const end = performance.now() + 500; performance.now() < end; );
        for (const [i, answer] of answers.entries()) {
          const counts = (await answer).map(({ packets, lost }) => packets + lost);
          expect(counts.reduce((sum, count) => sum + count, 0)).toBe([300, letters.length - 300][i]);
        }
        expect((await answers[1]).flatMap(({ failures }) => failures).some(({ gave_up }) => gave_up)).toBe(true);
      } finally {
        await pool.close();
      }
    },
  );

  test('that does not even start is told, and nothing waits for ever', async () => {
    const broken = path.join(folder, 'broken.mjs');
    fs.writeFileSync(broken, 'throw new Error("no such luck");');
    const pipeline = new pipelineModule.Pipeline({
      shards: 1,
      output: 'facts',
      protocols: null,
      dissectors: pathToFileURL(broken).href,
    });
    const source = await openCaptureFile(capture('...'));
    await expect(pipeline.run(source, () => {})).rejects.toThrow(/the thread of shard 0 does not run: .*no such luck/s);
    await pipeline.close();
  });
});
