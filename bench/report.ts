import fs from 'node:fs';
import os from 'node:os';
import { fileURLToPath } from 'node:url';
import { measureParts, type PartResult } from './parts.ts';
import {
  type GrowthResult,
  measureGrowth,
  measurePipeline,
  measureScale,
  measureStages,
  type RunResult,
  type ScaleRun,
  type StageResults,
} from './pipeline.ts';
import type { Stage } from './stage.ts';

// Measures everything and puts the tables between README's markers. `--quick`: small loads, once, and README is left alone.

const README = fileURLToPath(new URL('../../README.md', import.meta.url));
const SECTION = /(<!-- bench -->\n)[\s\S]*?(<!-- \/bench -->)/;

const STAGE_WORDS: Readonly<Record<Stage, string>> = {
  read: 'reading the file',
  decode: 'decode',
  flow: 'flow, stream, framing, recognition',
  dissect: 'dissection, pairing',
  facts: 'activities, findings, facts',
  policy: 'zone policy (replay with --zones)',
  records: 'JSON lines (dissect)',
};
/** What each stage comes on top of. */
const BEFORE: Readonly<Partial<Record<Stage, Stage>>> = {
  decode: 'read',
  flow: 'decode',
  dissect: 'flow',
  facts: 'dissect',
  policy: 'facts',
  records: 'dissect',
};

async function main(args: readonly string[]): Promise<void> {
  const unknown = args.find((arg) => arg !== '--quick');
  if (unknown !== undefined) {
    process.stderr.write(`bench: ${unknown} is not known; there is --quick\n`);
    process.exitCode = 2;
    return;
  }
  const quick = args.includes('--quick');
  const options = { packets: quick ? 200_000 : 2_000_000, times: quick ? 1 : 5, onProgress };
  const runs = await measurePipeline(options);
  const growth = await measureGrowth({ ...options, times: quick ? 1 : 3 });
  const scale = await measureScale({ ...options, times: quick ? 1 : 3 });
  const stages = await measureStages({ ...options, times: quick ? 1 : 3 });
  onProgress('parts');
  const parts = await measureParts(quick ? 0.1 : 1);
  const text = [
    machine(options),
    runTable(runs),
    growthTable(growth),
    scaleTable(scale),
    stageTable(stages),
    partTable(parts),
  ].join('\n');
  process.stdout.write(text);
  if (quick || !fs.existsSync(README)) return;
  const readme = fs.readFileSync(README, 'utf8');
  if (!SECTION.test(readme)) throw new Error('README.md has no section <!-- bench -->');
  fs.writeFileSync(
    README,
    readme.replace(SECTION, (_, open: string, close: string) => `${open}${text}${close}`),
  );
}

function onProgress(what: string): void {
  process.stderr.write(`bench: ${what}\n`);
}

function machine({ packets, times }: { packets: number; times: number }): string {
  const cores = os.cpus();
  const load = os.loadavg()[0];
  return [
    `Measured on ${new Date().toISOString().slice(0, 10)} with Node.js ${process.version} on ${cores.length} cores`,
    `(${cores[0]?.model.trim() || os.arch()}), ${Math.round(os.totalmem() / 2 ** 30)} GB, load average ${load.toFixed(1)}.`,
    `Load: ${count(packets)} Modbus/TCP packets over 200 connections, nine reads of ten registers to one write; each run`,
    times === 1 ? 'once.\n' : `${times} times.\n`,
  ].join('\n');
}

function runTable(runs: readonly RunResult[]): string {
  const reference = runs.find(({ what }) => what.startsWith('tcpdump'));
  const rows = runs.map((run) => {
    const per_second = run.packets_per_second?.best ?? run.packets / run.best_s;
    return [
      code(run.what),
      seconds(run.best_s),
      seconds(run.median_s),
      seconds(run.cpu_s),
      reference === undefined ? '' : `× ${(run.best_s / reference.best_s).toFixed(1)}`,
      count(run.packets / run.best_s),
      run.packets_per_second === undefined ? '' : count(per_second),
      Number.isNaN(run.rss_mb) ? '' : count(run.rss_mb),
    ];
  });
  const piped = runs.find(({ records }) => records !== undefined);
  const note = piped
    ? `\nThrough a pipe \`dissect\` wrote ${count(piped.records!)} records, ${count(piped.records! / piped.best_s)} a second.\n`
    : '';
  const head = [
    'whole process, start to end',
    'best s',
    'median s',
    'CPU s',
    'to tcpdump',
    'packets/s',
    'packets/s in the summary',
    'peak MB',
  ];
  return table(head, rows) + note;
}

function growthTable(growth: readonly GrowthResult[]): string {
  const rows = growth.map(({ packets, flows, best_s, cpu_s, rss_mb, ns_a_packet }) => [
    count(packets),
    count(flows),
    seconds(best_s),
    seconds(cpu_s),
    count(ns_a_packet),
    count(rss_mb),
  ]);
  const head = [
    '`replay`, 1 shard: packets',
    'flows (a client each)',
    'best s',
    'CPU s',
    'ns/packet without start-up',
    'peak MB',
  ];
  return table(head, rows);
}

function scaleTable(scale: readonly ScaleRun[]): string {
  const rows = scale.map(({ flows, clients, packets, ns_a_packet, cpu_ns_a_packet, duration_s, rss_mb }) => [
    `${count(flows)} flows of ${count(clients)} clients`,
    count(packets),
    count(ns_a_packet),
    count(cpu_ns_a_packet),
    count(1e9 / ns_a_packet),
    seconds(duration_s),
    count(rss_mb),
  ]);
  const head = [
    '`replay`, 1 shard, 2,000 conduits: all flows alive',
    'packets',
    'ns/packet',
    'CPU ns/packet',
    'packets/s',
    's with all flows opened and ended',
    'peak MB',
  ];
  return table(head, rows);
}

function stageTable(stages: StageResults): string {
  const rows = (Object.keys(STAGE_WORDS) as Stage[]).map((stage) => {
    const { packets, ns_a_packet, minor_collections, major_collections, heap_growth_mb } = stages[stage];
    const before = BEFORE[stage];
    const own = before === undefined ? ns_a_packet : ns_a_packet - stages[before].ns_a_packet;
    const collections = ((minor_collections + major_collections) * 1e6) / packets;
    return [STAGE_WORDS[stage], count(own), count(ns_a_packet), collections.toFixed(1), heap_growth_mb.toFixed(1)];
  });
  const head = [
    'stage, one shard in one thread',
    'CPU ns/packet',
    'with what is before',
    'collections a million',
    'heap growth MB',
  ];
  return table(head, rows);
}

function partTable(parts: readonly PartResult[]): string {
  const rows = parts.map(({ part, of, best_ns, median_ns }) => [part, of, count(best_ns), count(median_ns)]);
  return table(['part by itself', 'for one', 'best ns', 'median ns'], rows);
}

/** The first column is text, the others are numbers. */
function table(head: readonly string[], rows: readonly string[][]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |\n`;
  return line(head) + line(head.map((_, i) => (i === 0 ? '---' : '---:'))) + rows.map(line).join('');
}

const code = (text: string): string => text.replace(/^[^,]+/, (command) => `\`${command}\``);
const count = (value: number): string => Math.round(value).toLocaleString('en-US');
const seconds = (value: number): string => (Number.isNaN(value) ? '' : value.toFixed(2));

await main(process.argv.slice(2));
