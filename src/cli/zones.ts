import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type Command, Option } from 'commander';
import { programOf } from '../appliance/program.ts';
import { ZonePolicies } from '../appliance/zone-policies.ts';
import { SequenceSource } from '../capture/replay.ts';
import { describe } from '../detect/catalogue.ts';
import { ipText, macText } from '../engine/envelope.ts';
import { factOrder } from '../engine/fact-log.ts';
import { Pipeline } from '../engine/pipeline.ts';
import { OperatingError } from '../errors.ts';
import { FailureLog } from '../log.ts';
import { checkPolicy } from '../policy/index.ts';
import { ot_sensor } from '../proto/facts.js';
import { integer } from './arguments.ts';
import { dataOption, timeText } from './data.ts';
import { EXIT_FAILURE, EXIT_FINDINGS } from './failure.ts';
import { managed, note } from './managed.ts';
import { Progress } from './progress.ts';
import { type Format, format, printable, printRows } from './table.ts';
import { loadPolicy, readZoneFile, registry } from './zone-file.ts';

export function register(program: Command): void {
  const zones = program.command('zones').description('check a zone file, or test it against captures');
  zones
    .command('check')
    .description(
      'validate a zone file: every fault with line and column; unreachable and contradicting conduits, overlapping subnets',
    )
    .argument('<file>', 'zone file (YAML)')
    .addOption(format())
    .addHelpText(
      'after',
      '\nExit codes: 0 nothing to say, 1 warnings only, 2 faults.\n\nExample:\n  $ ot-sensor zones check plant.zones.yaml',
    )
    .action(check);
  zones
    .command('test')
    .description('say which packets of the captures would raise what under this zone file, and why')
    .argument('<file>', 'zone file (YAML)')
    .argument('[capture...]', 'capture files')
    .addOption(new Option('--hours <n>', 'what was recorded in the last hours instead').argParser(integer(1, 720)))
    .addOption(dataOption())
    .option('--shards <n>', 'worker threads', integer(1, 64), 1)
    .addOption(format())
    .addHelpText(
      'after',
      '\nExit codes: 0 nothing would be raised, 1 something would, 2 the zone file has faults or a capture cannot be read.\n\nExample:\n  $ ot-sensor zones test plant.zones.yaml monday.pcap tuesday.pcap',
    )
    .action(test);
  zones
    .command('apply')
    .description(
      'take a zone file into the data directory as a new version; a running sensor takes it over, where its settings name none',
    )
    .argument('<file>', 'zone file (YAML)')
    .option('--comment <text>', 'why', '')
    .addOption(dataOption())
    .action(apply);
  zones
    .command('show')
    .description('print the zone policy that was applied last, or a former version')
    .option('--version <n>', 'this version', integer(1, 1e9))
    .addOption(dataOption())
    .action(show);
  zones
    .command('versions')
    .description('the versions that are kept')
    .addOption(dataOption())
    .addOption(format())
    .action(versions);
  zones
    .command('roll-back')
    .description('apply a former version again, as a new one')
    .argument('<version>', 'its number', integer(1, 1e9))
    .addOption(dataOption())
    .action(rollBack);
}

function applied({ version, told_sensor }: { version: number; told_sensor: boolean }): void {
  const sensor = told_sensor ? 'the sensor takes it over' : 'no sensor runs here; it takes it with its next start';
  process.stdout.write(`The zone policy is at version ${version}; ${sensor}.\n`);
}

async function apply(file: string, { data, comment }: { data: string; comment: string }): Promise<void> {
  const text = fs.readFileSync(file, 'utf8');
  await managed(data, ({ database, audit }) => {
    const result = new ZonePolicies(database, data).apply(text, comment, 'root', Date.now());
    const details = { version: result.version, comment };
    note(audit, 'zones.apply', 'zones', details);
    applied(result);
  });
}

async function show({ data, version }: { data: string; version?: number }): Promise<void> {
  const text = await managed(data, ({ database }) => new ZonePolicies(database, data).text(version));
  if (text === '') throw new OperatingError('not_found', `no zone policy was applied in ${data}; see: ot-sensor zones apply`);
  process.stdout.write(text);
}

async function versions({ data, format }: { data: string; format: Format }): Promise<void> {
  const rows = await managed(data, ({ database }) => new ZonePolicies(database, data).versions());
  await printRows(
    rows.map(({ applied_ms, ...row }) => ({ ...row, applied: timeText(applied_ms) })),
    format,
  );
}

async function rollBack(version: number, { data }: { data: string }): Promise<void> {
  await managed(data, ({ database, audit }) => {
    const policies = new ZonePolicies(database, data);
    const result = policies.apply(policies.text(version), `version ${version} again`, 'root', Date.now());
    const details = { version: result.version, comment: `version ${version} again` };
    note(audit, 'zones.apply', 'zones', details);
    applied(result);
  });
}

async function check(file: string, { format }: { format: Format }): Promise<void> {
  const { model, faults } = readZoneFile(file);
  const all = model === null ? faults : [...faults, ...checkPolicy(model, registry)];
  if (all.some((fault) => fault.severity === 'fault')) process.exitCode = EXIT_FAILURE;
  else if (all.length > 0) process.exitCode = EXIT_FINDINGS;
  if (format !== 'table')
    return printRows(
      all.map(({ line, column, ...fault }) => ({ file, line, column, ...fault })),
      format,
    );
  for (const { line, column, severity, message } of all)
    process.stdout.write(`${printable(`${file}:${line}:${column}: ${severity}: ${message}`)}\n`);
  if (all.length === 0)
    process.stdout.write(`${file}: ${model!.zones.length} zones, ${model!.conduits.length} conduits, no faults\n`);
}

interface TestArguments {
  shards: number;
  format: Format;
  data: string;
  hours?: number;
}

async function test(file: string, captures: string[], args: TestArguments): Promise<void> {
  const { hours } = args;
  if ((captures.length === 0) === (hours === undefined)) throw new OperatingError('usage', 'give either captures or --hours');
  if (hours === undefined) return testAgainst(file, captures, args);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-'));
  try {
    const recorded = path.join(folder, 'recorded.pcapng');
    const from = new Date(Date.now() - hours * 3_600_000).toISOString();
    const { code, stderr } = await programOf(process.argv[1])([
      ...['recording', 'export', '--out', recorded, '--from', from, '--data', args.data],
    ]);
    if (code !== 0)
      throw new OperatingError('not_found', `nothing can be tested against: ${stderr.trim().replace(/^ot-sensor: /, '')}`);
    await testAgainst(file, [recorded], args);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function testAgainst(file: string, captures: string[], { shards, format }: TestArguments): Promise<void> {
  const policy = loadPolicy(file);
  const pipeline = new Pipeline({ shards, output: 'facts', protocols: null });
  let progress: Progress | undefined;
  const failures = new FailureLog();
  const found = new Map<string, Record<string, string | number>>();
  try {
    const source = await SequenceSource.open(captures);
    progress = new Progress(source);
    await pipeline.run(
      source,
      (answers) => {
        for (const answer of answers) failures.add(answer.failures);
        const facts = answers.flatMap(({ facts }) => (facts === null ? [] : ot_sensor.BatchFacts.decode(facts).facts));
        for (const fact of facts.sort(factOrder)) take(fact, found);
      },
      { policy, onProgress: () => progress?.update() },
    );
    progress.stop();
    for (const { source: name, message } of source.warnings) process.stderr.write(`ot-sensor: ${name}: ${message}\n`);
  } finally {
    progress?.stop();
    await pipeline.close();
  }
  if (found.size > 0) process.exitCode = EXIT_FINDINGS;
  else if (format === 'table') return void process.stdout.write('nothing would be raised\n');
  await printRows([...found.values()], format);
}

function take({ frame, finding, finding_update }: ot_sensor.IFact, found: Map<string, Record<string, string | number>>): void {
  if (finding_update) {
    const known = found.get(finding_update.key!);
    if (known) known.count = (known.count as number) + finding_update.count!;
  }
  if (finding?.kind !== 'zone_crossing') return;
  const known = found.get(finding.key!);
  if (known) known.count = (known.count as number) + 1;
  else
    found.set(finding.key!, {
      frame: frame!,
      count: 1,
      from: `${end(finding.source!)} (${finding.details!.from_zone})`,
      to: `${end(finding.destination!)} (${finding.details!.to_zone})`,
      protocol: finding.app_proto || finding.proto!,
      operation: finding.operation!,
      why: describe('zone_crossing', finding.details!),
    });
}

function end({ ip, mac, port }: ot_sensor.IEndpoint): string {
  if (!ip?.length) return mac ? macText(mac) : '';
  return port ? `${ip.length === 16 ? `[${ipText(ip)}]` : ipText(ip)}:${port}` : ipText(ip);
}
