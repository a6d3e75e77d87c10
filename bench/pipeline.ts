import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { CLI, type Cost, type Costs, cost, costs, median } from './child.ts';
import { mergeCorpus } from './corpus.ts';
import { ensureLoad } from './load.ts';
import type { ScaleResult } from './scale.ts';
import { STAGES, type Stage, type StageResult } from './stage.ts';
import { loadZones, manyZones } from './zone-files.ts';

/** A command from its start to its end, over a load. */
export interface RunResult extends Costs {
  what: string;
  packets: number;
  /** As the summary of `replay` says it, without start-up; the best and the middle run. Undefined where there is no summary. */
  packets_per_second?: { best: number; median: number };
  /** Lines that `dissect` wrote, where they were counted. */
  records?: number;
}

export interface PipelineOptions {
  packets: number;
  times: number;
  /** Says what is being measured. */
  onProgress: (what: string) => void;
}

const FLOWS = 200;
const SCALE = fileURLToPath(new URL('./scale.js', import.meta.url));
const STAGE = fileURLToPath(new URL('./stage.js', import.meta.url));

const node = (...args: string[]): [string, string[]] => [process.execPath, args];

export async function measurePipeline({ packets, times, onProgress }: PipelineOptions): Promise<RunResult[]> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-bench-'));
  try {
    const file = ensureLoad({ packets, flows: FLOWS });
    const policy = zoneFile(folder, 'policy.yaml', loadZones(true));
    const strict = zoneFile(folder, 'strict.yaml', loadZones(false));
    const results: RunResult[] = [];
    const add = async (what: string, run: () => Promise<Cost>) => {
      onProgress(what);
      results.push({ what, packets, ...(await costs(times, run)) });
      return results[results.length - 1];
    };
    if (hasTcpdump())
      await add('tcpdump -r FILE -w /dev/null', () => cost('tcpdump', ['-r', file, '-w', '/dev/null', ...AS_ROOT], 'ignore'));
    for (const shards of ['1', '2']) {
      const replays: [string, string[]][] = [
        ['', []],
        [', zone policy', ['--zones', policy]],
      ];
      if (shards === '1') replays.push([', zone policy that each write breaks', ['--zones', strict]]);
      for (const [what, zones] of replays)
        withSpeed(await add(`replay, ${shardsText(shards)}${what}`, () => replay(folder, file, ['--shards', shards, ...zones])));
    }
    const corpus = await mergeCorpus(folder);
    if (corpus === null) onProgress('the captures of MANIFEST.tsv are not there (OT_SENSOR_PCAPS): no mixed corpus is measured');
    else {
      const what = `replay, 1 shard, ${corpus.captures} captures of many protocols merged`;
      const mixed = await add(what, () => replay(folder, corpus.file, []));
      mixed.packets = corpus.packets;
      withSpeed(mixed);
    }
    for (const shards of ['1', '2'])
      await add(`dissect, ${shardsText(shards)}, to /dev/null`, () =>
        cost(...node(CLI, 'dissect', '--shards', shards, file), 'ignore'),
      );
    const piped = await add('dissect, 1 shard, through a pipe', () => throughPipe(file));
    piped.records = Number(piped.stdout[0]);
    // Every packet but the handshakes' is a PDU. The exit code is that of the pipe's reader, which knows of no failure.
    if (piped.records !== packets - 3 * FLOWS) throw new Error(`dissect wrote ${piped.records} records`);
    return results;
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

const shardsText = (shards: string): string => (shards === '1' ? '1 shard' : `${shards} shards`);

function zoneFile(folder: string, name: string, text: string): string {
  const file = path.join(folder, name);
  fs.writeFileSync(file, text);
  return file;
}

/** Started as root it becomes another user, and gives that user what it writes: the machine's /dev/null. */
const AS_ROOT = process.getuid?.() === 0 ? ['-Z', 'root'] : [];
const hasTcpdump = (): boolean => spawnSync('tcpdump', ['--version'], { stdio: 'ignore' }).error === undefined;

/** With a database of its own, so that no run finds what another has stored. */
async function replay(folder: string, file: string, options: readonly string[]): Promise<Cost> {
  const data = fs.mkdtempSync(path.join(folder, 'data-'));
  const result = await cost(...node(CLI, 'replay', '--data', data, '--format', 'json', ...options, file), 'pipe');
  fs.rmSync(data, { recursive: true, force: true });
  return result;
}

function withSpeed(result: RunResult): void {
  const speeds = summarySpeeds(result.stdout, result.packets);
  result.packets_per_second = { best: Math.max(...speeds), median: median(speeds) };
}

/** Packets a second as each run's summary says it. */
function summarySpeeds(stdout: readonly string[], packets: number): number[] {
  return stdout.map((text) => {
    const summary = JSON.parse(text) as { packets: number; packets_per_second: number };
    if (summary.packets !== packets) throw new Error(`${summary.packets} packets were replayed instead of ${packets}`);
    return summary.packets_per_second;
  });
}

/** Memory and processor time are those of the shell that joins the two: not those asked for. */
async function throughPipe(file: string): Promise<Cost> {
  const script = '"$0" "$1" dissect "$2" | wc -l';
  const result = await cost('sh', ['-c', script, process.execPath, CLI, file], 'pipe');
  return { ...result, cpu_s: Number.NaN, rss_mb: Number.NaN };
}

// ── growth ──

export interface GrowthResult {
  packets: number;
  flows: number;
  /** Of the run that took least, by wall time and by processor time of the whole process. */
  best_s: number;
  cpu_s: number;
  rss_mb: number;
  /** Wall time a packet without start-up and summary, from what the summary says. */
  ns_a_packet: number;
}

/** `replay` with one shard over more packets (linear), and over the same packets in more flows, each of a client of its own (flat). */
export async function measureGrowth({ packets, times, onProgress }: PipelineOptions): Promise<GrowthResult[]> {
  const loads = [
    ...[packets / 4, packets / 2, packets].map((count) => ({ packets: count, flows: FLOWS })),
    ...[2000, 50_000].map((flows) => ({ packets, flows })),
  ];
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-bench-'));
  try {
    const results: GrowthResult[] = [];
    for (const load of loads) {
      onProgress(`replay of ${load.packets} packets in ${load.flows} flows`);
      const file = ensureLoad(load);
      const { best_s, cpu_s, rss_mb, stdout } = await costs(times, () => replay(folder, file, []));
      const ns_a_packet = 1e9 / Math.max(...summarySpeeds(stdout, load.packets));
      results.push({ ...load, best_s, cpu_s, rss_mb, ns_a_packet });
    }
    return results;
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

// ── scale ──

export interface ScaleRun extends ScaleResult {
  flows: number;
  clients: number;
  rss_mb: number;
}

const CONDUITS = 2000;

/**
 * The same exchanges in few and in very many connections, under 2,000 conduits. Each connection has opened and exchanged once before
 * the clock is looked at, and what that brought to light has been stored; then the connections take turns, so that each packet is of the
 * one that was silent longest.
 */
export async function measureScale({ packets, times, onProgress }: PipelineOptions): Promise<ScaleRun[]> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-bench-'));
  try {
    const zones = zoneFile(folder, 'many.yaml', manyZones(100, CONDUITS));
    const runs: ScaleRun[] = [];
    for (const { flows, clients } of [
      { flows: FLOWS, clients: FLOWS },
      { flows: packets / 2, clients: packets / 40 },
    ]) {
      const before = 5 * flows;
      onProgress(`scale: ${flows} flows of ${clients} clients`);
      const file = ensureLoad({ packets: before + packets, flows, clients });
      let best: ScaleRun | undefined;
      for (let i = 0; i < times; i++) {
        const data = fs.mkdtempSync(path.join(folder, 'data-'));
        const { stdout, rss_mb } = await cost(
          ...node(SCALE, file, data, zones, String(before + packets / 10), String(before + packets)),
          'pipe',
        );
        fs.rmSync(data, { recursive: true, force: true });
        const result = JSON.parse(stdout) as ScaleResult;
        if (best === undefined || result.ns_a_packet < best.ns_a_packet) best = { ...result, flows, clients, rss_mb };
      }
      runs.push(best!);
      // Hundreds of megabytes.
      if (flows !== FLOWS) fs.rmSync(file);
    }
    return runs;
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

// ── stages ──

export type StageResults = Record<Stage, StageResult>;

/** Each stage in a process of its own, so that what it has compiled and kept is no other stage's. The cheapest of several runs. */
export async function measureStages({ packets, times, onProgress }: PipelineOptions): Promise<StageResults> {
  const file = ensureLoad({ packets, flows: FLOWS });
  const results: Partial<StageResults> = {};
  for (const stage of STAGES) {
    onProgress(`stage ${stage}`);
    for (let i = 0; i < times; i++) {
      const result = JSON.parse((await cost(...node(STAGE, stage, file), 'pipe')).stdout) as StageResult;
      const best = results[stage];
      if (best === undefined || result.ns_a_packet < best.ns_a_packet) results[stage] = result;
    }
  }
  return results as StageResults;
}
