import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCaptureFile } from '../capture/file-source.ts';
import { PcapWriter } from '../capture/pcap-writer.ts';
import { type ReadPacket, readThrough } from '../capture/testing.ts';
import { fixture, lines, ot, PLANT, PROGRAM, remove, temporaryFolder, ZONES } from './testing.ts';

// The recorder in its own thread, through the program as it is run.

let folder: string;
let runs = 0;
const newData = (): string => path.join(folder, `data-${++runs}`);

beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => remove(folder));

async function read(file: string): Promise<ReadPacket[]> {
  const { packets, warnings } = await readThrough(await openCaptureFile(file));
  expect(warnings).toEqual([]);
  return packets;
}

/** Stamp, lengths, link type and bytes: what is the same wherever a packet lies. */
const content = (packets: readonly ReadPacket[]): string[] =>
  packets.map(({ seconds, nanoseconds, wire, link_type, data }) => `${seconds}.${nanoseconds} ${wire} ${link_type} ${data}`);

async function json(args: string[]): Promise<{ counters: Record<string, number>; packets: number }> {
  const { code, stdout, stderr } = await ot([...args, '--format', 'json']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as { counters: Record<string, number>; packets: number };
}

async function run(args: string[]): Promise<string> {
  const { code, stdout, stderr } = await ot(args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout;
}

/** A capture larger than the ring: `count` packets of 1,000 bytes between two hosts, a millisecond apart. */
function longCapture(name: string, count: number): string {
  const file = path.join(folder, name);
  const writer = new PcapWriter(file, [1]);
  const frame = Buffer.alloc(1014);
  // Ethernet, and IPv4 of 1,000 bytes with UDP from 10.0.0.1 to 10.0.0.2.
  Buffer.from('0200000000020200000000010800450003e80000000040110000' + '0a000001' + '0a000002', 'hex').copy(frame);
  frame.writeUInt16BE(4000, 34);
  frame.writeUInt16BE(5000, 36);
  frame.writeUInt16BE(980, 38);
  for (let i = 0; i < count; i++) {
    frame.writeUInt32BE(i, 42);
    writer.write(frame, 0, frame.length, frame.length, 1_700_000_000 + Math.floor(i / 1000), (i % 1000) * 1_000_000, 1);
  }
  writer.close();
  return file;
}

describe('replay --record', () => {
  it('all: what is exported is the capture', async () => {
    for (const capture of [PLANT, fixture('modbus/modbus-serial-gateway.pcap')]) {
      const data = newData();
      const { counters } = await json(['replay', capture, '--data', data, '--record', 'all']);
      const out = path.join(folder, 'all.pcapng');
      await run(['recording', 'export', '--data', data, '--out', out]);
      const expected = content(await read(capture));
      expect(content(await read(out))).toEqual(expected);
      expect(counters['recording.packets']).toBe(expected.length);
      expect(counters['recording.skipped']).toBeUndefined();
    }
  });

  it('finds the same hosts and ports whatever the number of shards, and as tshark does', async () => {
    const out = path.join(folder, 'pair.pcapng');
    const expected = (await read(PLANT)).filter(
      ({ data }) => data.includes('0a0a010a0a14003') || data.includes('0a1400320a0a010a'),
    );
    expect(expected.length).toBeGreaterThan(5);
    for (const shards of ['1', '3']) {
      const data = newData();
      await json(['replay', PLANT, '--data', data, '--record', 'all', '--shards', shards]);
      const hosts = ['--host', '10.10.1.10', '--host', '10.20.0.50'];
      await run(['recording', 'export', '--data', data, '--out', out, ...hosts, '--port', '502']);
      expect(content(await read(out))).toEqual(content(expected));
      const mac = lines<{ mac: string }>(await run(['devices', '--data', data, '--format', 'jsonl']))[0].mac;
      await run(['recording', 'export', '--data', data, '--out', out, '--host', mac]);
      const digits = mac.replaceAll(':', '');
      const byMac = (await read(PLANT)).filter(({ data }) => [0, 12].includes(data.indexOf(digits)));
      expect(content(await read(out))).toEqual(content(byMac));
    }
  });

  it('ot: conversations in OT protocols from their handshake on, and no others', async () => {
    const data = newData();
    await json(['replay', PLANT, '--data', data, '--record', 'ot']);
    const out = path.join(folder, 'ot.pcapng');
    expect(await run(['recording', 'export', '--data', data, '--out', out])).toMatch(/OT conversations alone/);
    const found = new Set(content(await read(out)));
    const all = await read(PLANT);
    const modbus = all.filter(({ data }) => tcpPorts(data).includes(502));
    const syns = modbus.filter(({ data }) => data.slice(94, 96) === '02');
    expect(syns.length).toBeGreaterThan(3);
    for (const one of content(modbus)) expect(found.has(one)).toBe(true);
    expect(found.size).toBeLessThan(all.length);
  });

  it('more than the ring remembers, in files of bounded size: nothing is skipped, since a file can wait', async () => {
    const data = newData();
    const { counters, packets } = await json(['replay', longCapture('long.pcap', 80_000), '--data', data, '--record', 'all']);
    expect(counters).toMatchObject({ 'recording.packets': packets });
    const files = lines<{ bytes: number; packets: number }>(
      await run(['recording', 'list', '--data', data, '--format', 'jsonl']),
    );
    expect(files.length).toBe(2);
    expect(files.reduce((sum, file) => sum + file.packets, 0)).toBe(packets);
    for (const { bytes } of files) expect(bytes).toBeLessThanOrEqual(64 << 20);
    const out = path.join(folder, 'period.pcapng');
    const period = ['--from', '2023-11-14T22:13:30Z', '--to', '2023-11-14T22:13:31.5Z'];
    await run(['recording', 'export', '--data', data, '--out', out, ...period]);
    expect((await read(out)).length).toBe(1501);
  });

  it('says nothing of recording where none was asked for', async () => {
    const data = newData();
    const { counters } = await json(['replay', PLANT, '--data', data]);
    expect(Object.keys(counters).filter((name) => name.startsWith('recording'))).toEqual([]);
    expect(fs.existsSync(path.join(data, 'recording'))).toBe(false);
  });
});

const tcpPorts = (data: string): number[] =>
  data.slice(24, 28) === '0800' && data.slice(46, 48) === '06'
    ? [Number.parseInt(data.slice(68, 72), 16), Number.parseInt(data.slice(72, 76), 16)]
    : [];

describe('evidence --around', () => {
  const alertOf = async (data: string, kind: string) =>
    lines<{ id: number; source_ip: string; destination_ip: string; first_ms: number; last_ms: number; evidence: number }>(
      await run(['alerts', '--data', data, '--kind', kind, '--format', 'jsonl']),
    )[0];

  it('gives all packets between the two, each once, in order of time, and what was kept, too', async () => {
    const data = newData();
    await ot(['replay', PLANT, '--zones', ZONES, '--data', data, '--record', 'all']);
    const alert = await alertOf(data, 'device_stop');
    const out = path.join(folder, 'evidence.pcapng');
    const kept = path.join(folder, 'kept.pcap');
    await run(['evidence', String(alert.id), '--data', data, '--out', kept]);
    expect(await run(['evidence', String(alert.id), '--data', data, '--out', out, '--around', '5'])).toMatch(
      / 0 kept with the alert alone/,
    );
    const found = await read(out);
    const times = found.map(({ seconds, nanoseconds }) => seconds * 1e3 + nanoseconds / 1e6);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(new Set(content(found)).size).toBe(found.length);
    for (const one of content(await read(kept))) expect(content(found)).toContain(one);
    expect(found.length).toBeGreaterThan(alert.evidence);
    expect(times[0]).toBeGreaterThanOrEqual(alert.first_ms - 10_000);
    // Every packet of the two in the period, and none of others.
    const hex = (ip: string) => Buffer.from(ip.split('.').map(Number)).toString('hex');
    const [a, b] = [hex(alert.source_ip), hex(alert.destination_ip)];
    const between = (await read(PLANT)).filter(({ data, seconds, nanoseconds }) => {
      const time = seconds * 1e3 + nanoseconds / 1e6;
      return (data.includes(a + b) || data.includes(b + a)) && time >= times[0] && time <= times.at(-1)!;
    });
    for (const one of content(between)) expect(content(found)).toContain(one);
  });

  it('a capture recorded twice gives each packet once', async () => {
    const data = newData();
    const out = path.join(folder, 'evidence.pcapng');
    for (let i = 0; i < 2; i++) await ot(['replay', PLANT, '--zones', ZONES, '--data', data, '--record', 'all']);
    const alert = await alertOf(data, 'device_stop');
    await run(['evidence', String(alert.id), '--data', data, '--out', out, '--around', '5']);
    const found = content(await read(out));
    expect(new Set(found).size).toBe(found.length);
  });

  it('says what could not be had', async () => {
    const data = newData();
    await ot(['replay', PLANT, '--zones', ZONES, '--data', data, '--record', 'ot']);
    const { id, evidence } = await alertOf(data, 'device_stop');
    const out = path.join(folder, 'evidence.pcapng');
    const far = await run(['evidence', String(id), '--data', data, '--out', out, '--around', '3600']);
    expect(far).toMatch(/Could not be had: the recording of .* begins at /);
    expect(far).toMatch(/Could not be had: the recording of .* ends at /);
    expect(far).toMatch(/Only OT conversations were recorded/);
    fs.rmSync(path.join(data, 'recording'), { recursive: true });
    const none = await run(['evidence', String(id), '--data', data, '--out', out, '--around', '5']);
    expect(none).toMatch(/Could not be had: there is no recording of /);
    expect((await read(out)).length).toBe(evidence);
  });
});

describe('a sensor that records', () => {
  it.skipIf(process.getuid?.() !== 0)('onto a disk without room stops recording, says so, and is not disturbed', async () => {
    const disk = path.join(folder, 'disk');
    fs.mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m,mode=0700', 'tmpfs', disk]);
    try {
      const data = newData();
      const capture = longCapture('disk.pcap', 60_000);
      // Smaller than the room that is to be left free.
      const { stdout, stderr, code } = await ot(
        ['replay', capture, '--data', data, '--record', 'all', '--recording', disk, '--format', 'json'],
        { env: { OT_SENSOR_LOG_FORMAT: 'json' } },
      );
      expect(code).toBe(0);
      const { counters, packets } = JSON.parse(stdout) as { counters: Record<string, number>; packets: number };
      expect(packets).toBe(60_000);
      expect(counters['recording.stops']).toBeGreaterThanOrEqual(1);
      expect((counters['recording.packets'] ?? 0) + counters['recording.not_recorded']).toBe(60_000);
      expect(stderr).toMatch(/recording has stopped/);
      expect(await run(['events', '--data', data, '--kind', 'recording_stopped'])).toMatch(/Recording has stopped: /);
    } finally {
      execFileSync('umount', ['-l', disk]);
    }
  });

  it('into a place that cannot be written goes on without', async () => {
    const data = newData();
    const file = path.join(folder, 'no-folder');
    fs.writeFileSync(file, '');
    const place = path.join(file, 'recording');
    const { code, stdout } = await ot([
      'replay',
      PLANT,
      '--data',
      data,
      '--record',
      'all',
      '--recording',
      place,
      '--format',
      'json',
    ]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      packets: 1006,
      counters: { 'recording.stops': 1, 'recording.not_recorded': 1006 },
    });
    expect(await run(['events', '--data', data, '--kind', 'recording_stopped'])).toMatch(/a part of its path is no folder/);
  });

  it('killed in the middle leaves what it had written; the next one mends the file and goes on', async () => {
    const data = newData();
    const capture = longCapture('killed.pcap', 20_000);
    const directory = path.join(data, 'recording');
    const args = ['replay', capture, '--data', data, '--record', 'all', '--speed', '×4'];
    const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: 'ignore' });
    const ended = new Promise((resolve) => child.on('exit', resolve));
    for (let i = 0; i < 200 && recordedBytes(directory) < 2 << 20; i++) await sleep(50);
    child.kill('SIGKILL');
    await ended;
    expect(recordedBytes(directory)).toBeGreaterThan(2 << 20);
    const out = path.join(folder, 'killed.pcapng');
    await run(['recording', 'export', '--data', data, '--out', out]);
    const before = content(await read(out));
    expect(before).toEqual(content(await read(capture)).slice(0, before.length));
    expect(lines(await run(['recording', 'list', '--data', data, '--format', 'jsonl']))).toMatchObject([{ complete: false }]);
    await json(['replay', PLANT, '--data', data, '--record', 'all']);
    expect(lines(await run(['recording', 'list', '--data', data, '--format', 'jsonl']))).toMatchObject([
      { complete: true, packets: before.length },
      { complete: true, packets: 1006 },
    ]);
  });
});

const recordedBytes = (directory: string): number =>
  fs.existsSync(directory)
    ? fs.readdirSync(directory).reduce((sum, name) => sum + fs.statSync(path.join(directory, name)).size, 0)
    : 0;
