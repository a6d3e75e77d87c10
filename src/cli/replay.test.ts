import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import zlib from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PcapWriter } from '../capture/pcap-writer.ts';
import { StoreReader } from '../store/queries.ts';
import { execute, lines, ot, PLANT, PROGRAM, remove, shell, temporaryFolder, ZONES } from './testing.ts';

interface Summary {
  packets: number;
  duration_ms: number;
  packets_per_second: number;
  totals: Record<string, number>;
  protocols: Record<string, { conversations: number; packets: number }>;
  alerts: { alert: string; alerts: number; times: number }[];
  counters: Record<string, number>;
}

let folder: string;
/** Broadcast ARP requests of one host, a second apart. */
let slow: string;

/** A folder for a database, which is not there yet. */
let databases = 0;
const newData = (): string => path.join(folder, `data-${++databases}`);

async function replay(args: string[], data = newData(), input?: Buffer): Promise<Summary> {
  const { code, stdout, stderr } = await ot(['replay', ...args, '--data', data, '--format', 'json'], { input });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as Summary;
}

/** What the database holds, without what a run's own speed decides. */
async function contents(data: string): Promise<Record<string, unknown[]>> {
  const all: Record<string, unknown[]> = {};
  for (const command of ['devices', 'connections', 'alerts', 'events'])
    all[command] = lines((await ot([command, '--data', data, '--format', 'jsonl'])).stdout);
  return all;
}

beforeAll(() => {
  folder = temporaryFolder();
  slow = path.join(folder, 'slow.pcap');
  const writer = new PcapWriter(slow, [1]);
  const frame = Buffer.from(
    `ffffffffffff001b1b0a021408060001080006040001001b1b0a02140a0a02140000000000000a0a020a${'00'.repeat(18)}`,
    'hex',
  );
  for (let i = 0; i < 4; i++) writer.write(frame, 0, frame.length, frame.length, 1_700_000_000 + i, 0, 1);
  writer.close();
});
afterAll(() => remove(folder));

describe('replay', () => {
  it('prints what it found', async () => {
    const { code, stdout, stderr } = await ot(['replay', PLANT, '--zones', ZONES, '--data', newData()]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^1,006 packets in \d+\.\d\d s: [\d,]+ packets a second\n/);
    for (const part of ['Devices: 1', 'Protocols: ', 'Zone crossings: 4', 'Alerts: ']) expect(stdout).toContain(`\n${part}`);
    expect(stdout).toMatch(/^ +\d+ +10\.20\.0\.50 \(enterprise\) +10\.10\.1\.10:502 \(cell A\) +modbus write +2$/m);
    expect(stdout).toMatch(/More: ot-sensor devices .* --data /);
    // The zone file's warning is for people, on standard error.
    expect(stderr).toMatch(/plant\.zones\.yaml is used, with a warning: ot-sensor zones check \S+plant\.zones\.yaml\n$/);
  });

  it('says how the program is called in a checkout', async () => {
    const { stdout } = await ot(['replay', PLANT, '--data', newData()], { env: { npm_execpath: '/usr/bin/npm' } });
    expect(stdout).toMatch(/More: npx ot-sensor devices/);
  });

  it('writes the summary as JSON', async () => {
    const { packets, duration_ms, packets_per_second, totals, protocols, counters } = await replay([PLANT]);
    expect(packets).toBe(1006);
    expect(packets_per_second).toBe(Math.round((packets / duration_ms) * 1000));
    expect(totals.devices).toBeGreaterThan(5);
    expect(protocols.modbus.packets).toBeGreaterThan(500);
    expect(counters['decode.packets']).toBe(1006);
  });

  it('finds the same with any number of shards, from gzip and from standard input', async () => {
    const [one, four, packed, piped] = [newData(), newData(), newData(), newData()];
    const gzip = path.join(folder, 'plant.pcap.gz');
    fs.writeFileSync(gzip, zlib.gzipSync(fs.readFileSync(PLANT)));
    await replay([PLANT], one);
    await replay([PLANT, '--shards', '4'], four);
    await replay([gzip], packed);
    await replay(['-'], piped, fs.readFileSync(PLANT));
    const expected = await contents(one);
    expect(expected.alerts.length).toBeGreaterThan(5);
    for (const data of [four, packed, piped]) expect(await contents(data)).toEqual(expected);
  });

  it('takes several files as one after the other', async () => {
    const data = newData();
    const { packets, totals } = await replay([PLANT, slow], data);
    expect(packets).toBe(1010);
    expect(totals.captures).toBe(1);
    const [capture] = captures(data);
    expect(capture).toMatchObject({ source: `${PLANT}, ${slow}`, packets: 1010, finished: true, last_ms: 1_700_000_003_000 });
  });

  it('adds no device the second time, and doubles the counts', async () => {
    const data = newData();
    const first = await replay([PLANT], data);
    const second = await replay([PLANT], data);
    for (const table of ['devices', 'connections']) expect(second.totals[table]).toBe(first.totals[table]);
    expect(second.totals.captures).toBe(2);
    for (const [protocol, { conversations, packets }] of Object.entries(first.protocols))
      expect(second.protocols[protocol]).toEqual({ conversations, packets: packets * 2 });
    const times = (summary: Summary, alert: string) => summary.alerts.find((row) => row.alert === alert)!;
    expect(times(second, 'New device')).toEqual(times(first, 'New device'));
    const stop = 'Stop command to a controller';
    expect(times(second, stop)).toMatchObject({ alerts: times(first, stop).alerts, times: times(first, stop).times * 2 });
  });

  it('keeps what was read before something that cannot be read', async () => {
    const data = newData();
    const { code, stdout, stderr } = await ot(['replay', PLANT, '-', '--data', data], { input: 'no capture, this' });
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/standard input: is not a capture file/);
    const [capture] = captures(data);
    expect(capture).toMatchObject({ packets: 1006, finished: false });
    const complete = newData();
    await replay([PLANT], complete);
    expect(await contents(data)).toEqual(await contents(complete));
  });

  it('refuses a directory that another sensor writes to', async () => {
    const data = newData();
    const first = ot(['replay', PLANT, '--speed', 'real', '--data', data], {
      started: (child) => void waitFor(path.join(data, 'ot-sensor.db')).then(() => second.then(() => child.kill('SIGINT'))),
    });
    const second = waitFor(path.join(data, 'ot-sensor.db')).then(() => ot(['replay', slow, '--data', data]));
    const { code, stdout, stderr } = await second;
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/Another sensor is writing to this data directory\. Stop it, or give this one a directory of its own/);
    await first;
  });

  it('ends quietly where nobody reads its summary', async () => {
    const line = `ot-sensor replay '${PLANT}' --data '${newData()}' | true; echo "\${PIPESTATUS[0]}" >&2`;
    expect((await shell(line)).stderr).toBe('0\n');
  });
});

describe('speed', () => {
  // Four packets in three seconds. Only what pacing must guarantee is bounded tightly: that no packet comes early.
  it.each([
    ['real', 2980, 20_000],
    ['×10', 298, 2500],
    ['x10', 298, 2500],
    ['x2.5', 1190, 10_000],
  ])('%s goes by the clock of the capture', async (speed, least_ms, most_ms) => {
    const { duration_ms, packets } = await replay(['--speed', speed, slow]);
    expect(packets).toBe(4);
    expect(duration_ms).toBeGreaterThanOrEqual(least_ms);
    expect(duration_ms).toBeLessThan(most_ms);
  });

  it('max waits for nothing', async () => {
    expect((await replay(['--speed', 'max', slow])).duration_ms).toBeLessThan(2500);
    expect((await replay([slow])).duration_ms).toBeLessThan(2500);
  });

  it('finds what it finds at full speed', async () => {
    const [paced, full] = [newData(), newData()];
    await replay(['--speed', '×40', PLANT], paced);
    await replay([PLANT], full);
    expect(await contents(paced)).toEqual(await contents(full));
  });
});

describe('interrupted', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('by %s, it stores what it has read and says so', async (signal) => {
    const data = newData();
    const { code, stdout, stderr } = await ot(['replay', PLANT, '--speed', 'real', '--data', data], {
      started: (child) =>
        void waitFor(path.join(data, 'ot-sensor.db'))
          .then(() => sleep(3000))
          .then(() => child.kill(signal)),
    });
    expect(code).toBe(130);
    expect(stderr).toBe('ot-sensor: interrupted; what was read until then is stored\n');
    expect(stdout).toMatch(/^\d+ packets in /);
    const [capture] = captures(data);
    expect(capture.finished).toBe(false);
    expect(capture.packets).toBeGreaterThan(0);
    expect(capture.packets).toBeLessThan(1006);
    expect((await replay([PLANT], data)).totals.devices).toBeGreaterThan(5);
  });

  it('while standard input is silent', async () => {
    const data = newData();
    const line = `sleep 60 | { exec '${process.execPath}' '${PROGRAM}' replay '${slow}' - --data '${data}'; }`;
    const started = Date.now();
    // The signal goes to the whole group, as from a terminal.
    const { stderr } = await execute('setsid', ['bash', '-c', line], {
      started: (child) =>
        void waitFor(path.join(data, 'ot-sensor.db'))
          .then(() => sleep(2000))
          .then(() => process.kill(-child.pid!, 'SIGINT')),
    });
    expect(Date.now() - started).toBeLessThan(50_000);
    expect(stderr).toMatch(/interrupted; what was read until then is stored/);
    expect(captures(data)[0]).toMatchObject({ packets: 4, finished: false });
  });
});

const scriptThere = (() => {
  try {
    execFileSync('script', ['-qec', 'true', '/dev/null'], { stdio: 'ignore' });
    return true;
  } catch {
    console.warn('SKIPPED: `script` (bsdutils) is not there, so nothing was tested on a terminal');
    return false;
  }
})();

describe('progress', () => {
  it('does not show in a pipe', async () => {
    const { stderr } = await ot(['replay', '--speed', '×20', PLANT, '--data', newData()]);
    expect(stderr).toBe('');
  });

  it.skipIf(!scriptThere)('shows on a terminal, for work that takes a while, and is gone at its end', async () => {
    const onTerminal = (speed: string) =>
      execute('script', [
        '-qec',
        `'${process.execPath}' '${PROGRAM}' replay --speed ${speed} '${PLANT}' --data '${newData()}' > /dev/null`,
        '/dev/null',
      ]);
    const long = await onTerminal('x20');
    expect(long.code).toBe(0);
    expect(long.stdout).toMatch(/[█░]+.*\d+%/);
    // Cleared: the last that is written is not the bar.
    expect(long.stdout.slice(long.stdout.lastIndexOf('%'))).toContain('\u001b[');
  });

  it.skipIf(!scriptThere)('a line of a table is cut to the width of the terminal', async () => {
    const data = newData();
    await replay([PLANT], data);
    const { stdout } = await execute('script', [
      '-qec',
      `stty cols 60; '${process.execPath}' '${PROGRAM}' alerts --data '${data}'`,
      '/dev/null',
    ]);
    const rows = stdout.trimEnd().split('\r\n');
    expect(rows.length).toBeGreaterThan(5);
    expect(Math.max(...rows.map((row) => row.length))).toBe(60);
  });
});

function captures(data: string) {
  const reader = new StoreReader(data);
  try {
    return reader.captures();
  } finally {
    reader.close();
  }
}

async function waitFor(file: string): Promise<void> {
  while (!fs.existsSync(file)) await sleep(50);
  // The lock is taken before the tables are made; what comes first is not ours to know.
  await sleep(500);
}
