import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MAX_PACKET_BYTES, REMEMBERED_BYTES, REMEMBERED_PACKETS } from '../capture/batch.ts';
import { openCaptureFile } from '../capture/file-source.ts';
import { payload, readThrough } from '../capture/testing.ts';
import { ethernet, ipv4, udp } from '../decode/testing.ts';
import { type Disk, realDisk, takeDirectory } from './disk.ts';
import { type End, type RecordingFilter, RecordingReader } from './reader.ts';
import { BACK, OT } from './tag.ts';
import { Bench, byTime, recorded, type TestPacket, temporaryFolder } from './testing.ts';

const PCAPS = path.resolve(process.env.OT_SENSOR_PCAPS ?? path.join(import.meta.dirname, '../../../shared/pcaps'));
const present = fs.existsSync(path.join(PCAPS, 'MANIFEST.tsv'));
if (!present) console.warn(`SKIPPED: the captures of MANIFEST.tsv are not in ${PCAPS} (OT_SENSOR_PCAPS)`);
const hasTshark = (() => {
  try {
    execFileSync('tshark', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    console.warn('SKIPPED: recordings are not read with tshark, which is not installed');
    return false;
  }
})();

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

const FIRST_SECOND = 1_700_000_000;

const UDP_PAYLOAD = 14 + 20 + 8;
const templates = new Map<string, Buffer>();

/** Packet number `i`, which its payload says: UDP from 10.0.0.`host` to 10.0.1.1, a millisecond after the one before it. */
function packet(i: number, size = 100, host = 1, more: Partial<TestPacket> = {}): TestPacket {
  const source = `0a0000${host.toString(16).padStart(2, '0')}`;
  const key = `${size} ${source}`;
  const template =
    templates.get(key) ??
    Buffer.from(ethernet(0x800, ipv4(udp(payload(size)), { protocol: 17, source, destination: '0a000101' })));
  templates.set(key, template);
  const data = Buffer.from(template);
  if (size >= 4) data.writeUInt32BE(i, UDP_PAYLOAD);
  const seconds = FIRST_SECOND + Math.floor(i / 1000);
  return { seconds, nanoseconds: (i % 1000) * 1e6 + 7, wire: data.length, interface_: 0, link_type: 1, bytes: data, ...more };
}

const filesOf = (directory: string): string[] =>
  fs
    .readdirSync(directory)
    .filter((name) => name.endsWith('.pcapng'))
    .sort();
const sizes = (directory: string): number[] => filesOf(directory).map((name) => fs.statSync(path.join(directory, name)).size);

describe('a recording gives back what was put in, byte for byte', () => {
  test.skipIf(!present)('every capture of the corpus', async () => {
    const rows = fs.readFileSync(path.join(PCAPS, 'MANIFEST.tsv'), 'utf8').trim().split('\n').slice(1);
    let packets = 0;
    for (const [i, row] of rows.entries()) {
      const file = row.split('\t')[0];
      const directory = path.join(folder, String(i));
      const bench = new Bench(directory);
      let put: TestPacket[] = [];
      try {
        put = await bench.replay(await openCaptureFile(path.join(PCAPS, file)));
      } catch (error) {
        if (!(error instanceof Error) || error.name !== 'CaptureFileError') throw error;
      }
      bench.recording.close();
      const found = recorded(directory);
      expect(found.length, file).toBe(put.length);
      expect(
        byTime(put).every((one, k) => same(one, found[k])),
        file,
      ).toBe(true);
      packets += found.length;
      fs.rmSync(directory, { recursive: true, force: true });
    }
    expect(packets).toBeGreaterThan(100_000);
  });

  test('interfaces, link types, cut packets, the largest, empty ones, and stamps to the end of what the ring can hold', () => {
    const odd: Partial<TestPacket>[] = [
      { link_type: 113, interface_: 3, wire: 9000 },
      { link_type: 1, interface_: 3 },
      { link_type: 101, interface_: 65_535, bytes: Buffer.alloc(0), wire: 0 },
      { link_type: 276, interface_: 0, bytes: payload(1), wire: 1 },
      { bytes: payload(MAX_PACKET_BYTES), wire: MAX_PACKET_BYTES },
      { bytes: payload(MAX_PACKET_BYTES - 1), wire: 0xffff_ffff },
      { seconds: 0, nanoseconds: 0 },
      { seconds: 2 ** 34 - 1, nanoseconds: 999_999_999 },
      { seconds: 2 ** 32, nanoseconds: 294_967_296 },
      ...[1, 2, 3, 511, 512, 513, 514, 515].map((size) => ({ bytes: payload(size, size), wire: size })),
    ];
    const bench = new Bench(folder, {
      interface_names: ['eth0', '', '', 'an interface – with a name that is too long to be taken as it is, so cut'],
    });
    const put = odd.map((more, i) => packet(i, 60, 1, more));
    for (const one of put) bench.put(one);
    bench.answer();
    bench.recording.take();
    bench.recording.close();
    expectSame(recorded(folder), byTime(put));
    expect(bench.counters).toMatchObject({ packets: put.length, skipped: 0, not_recorded: 0, files: 1 });
  });

  test.skipIf(!hasTshark)('in files that Wireshark and our own reader read, with the names of the interfaces', async () => {
    const bench = new Bench(folder, { interface_names: ['eth0', 'eth1'] });
    for (let i = 0; i < 5000; i++) bench.put(packet(i, 60 + (i % 7), 1, { interface_: i % 2 }));
    bench.answer();
    bench.recording.take();
    bench.recording.close();
    const [name] = filesOf(folder);
    const file = path.join(folder, name);
    const out = execFileSync('tshark', [
      '-n',
      '-r',
      file,
      '-T',
      'fields',
      '-e',
      'frame.time_epoch',
      '-e',
      'frame.len',
      '-e',
      'frame.interface_name',
    ]);
    const lines = out.toString().trim().split('\n');
    expect(lines.length).toBe(5000);
    expect(lines[1001].split('\t')).toEqual([`${FIRST_SECOND + 1}.001000007`, String(42 + 60), 'eth1']);
    const read = await readThrough(await openCaptureFile(file));
    expect(read.warnings).toEqual([]);
    expect(read.packets.length).toBe(5000);
    expect(read.packets[1001]).toMatchObject({ seconds: FIRST_SECOND + 1, nanoseconds: 1_000_007, interface_: 1 });
  });
});

/** The same packets in the same order. Buffers are not for `toEqual`, which looks at every byte for itself. */
function expectSame(found: readonly TestPacket[], expected: readonly TestPacket[]): void {
  expect(found.length).toBe(expected.length);
  const differs = expected.findIndex((one, i) => !same(one, found[i]));
  if (differs >= 0) expect(found[differs], `packet ${differs}`).toEqual(expected[differs]);
}

/** Puts packets in batches of `batch`, each taken at once. */
function record(bench: Bench, packets: Iterable<TestPacket>, batch = 1000): void {
  let n = 0;
  for (const one of packets) {
    bench.put(one);
    if (++n % batch !== 0) continue;
    bench.answer();
    bench.recording.take();
  }
  bench.answer();
  bench.recording.take();
}

function* many(count: number, size = 1000, from = 0): Generator<TestPacket> {
  for (let i = from; i < from + count; i++) yield packet(i, size);
}

describe('files', () => {
  const bounds = { file_bytes: 1 << 20, total_bytes: 4 << 20 };

  test('are bounded each and in all; the oldest go first, with their index', () => {
    const bench = new Bench(folder, bounds);
    const seen: string[][] = [];
    for (let i = 0; i < 20; i++) {
      record(bench, many(1000, 1000, i * 1000), 200);
      const now = sizes(folder);
      expect(Math.max(...now)).toBeLessThanOrEqual(bounds.file_bytes);
      expect(now.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(bounds.total_bytes);
      seen.push(filesOf(folder));
    }
    bench.recording.close();
    expect(fs.readdirSync(folder)).toEqual(filesOf(folder));
    // Once a name is gone those before it are gone, too.
    const all = [...new Set(seen.flat())].sort();
    for (const names of seen) expect(names).toEqual(all.slice(all.indexOf(names[0]), all.indexOf(names[0]) + names.length));
    const { packets, deleted_files, files, skipped, not_recorded } = bench.counters;
    expect({ packets, skipped, not_recorded }).toEqual({ packets: 20_000, skipped: 0, not_recorded: 0 });
    expect(deleted_files).toBe(files - filesOf(folder).length);
    // What is left is the newest, without a hole.
    const left = recorded(folder);
    expect(left.length).toBeGreaterThan(2500);
    expectSame(left, [...many(left.length, 1000, 20_000 - left.length)]);
    expect(new RecordingReader(folder).list().every(({ complete }) => complete)).toBe(true);
  });

  test('are of their owner alone', () => {
    const directory = path.join(folder, 'deep', 'down');
    const bench = new Bench(directory);
    record(bench, many(10));
    bench.recording.close();
    expect(fs.statSync(directory).mode & 0o777).toBe(0o700);
    for (const name of filesOf(directory)) expect(fs.statSync(path.join(directory, name)).mode & 0o777).toBe(0o600);
  });

  test('go on in number and bounds after a restart', () => {
    for (let run = 0; run < 6; run++) {
      const bench = new Bench(folder, { ...bounds, capture_id: run + 1 });
      record(bench, many(1500, 1000, run * 1500));
      bench.recording.close();
      expect(sizes(folder).reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(bounds.total_bytes);
    }
    const files = new RecordingReader(folder).list();
    expect(files.at(-1)!.capture_id).toBe(6);
    const left = recorded(folder);
    expectSame(left, [...many(left.length, 1000, 9000 - left.length)]);
  });

  test('go by age, which is when they were written', () => {
    let now = 1_000_000_000_000;
    const disk: Disk = { ...realDisk, now_ms: () => now };
    const bench = new Bench(folder, { ...bounds, max_age_hours: 2 }, disk);
    record(bench, many(1000));
    const before = filesOf(folder);
    expect(before.length).toBeGreaterThan(1);
    now += 3_600_001;
    bench.recording.tick();
    expect(filesOf(folder)).toEqual(before);
    now += 3_600_001;
    bench.recording.tick();
    expect(filesOf(folder)).toEqual(before.slice(-1));
    now += 2 * 3_600_001;
    bench.recording.tick();
    expect(filesOf(folder)).toEqual([]);
    record(bench, many(10, 100, 5000));
    bench.recording.close();
    expectSame(recorded(folder), [...many(10, 100, 5000)]);
  });

  test('that are not ours are left alone, and links are not followed', () => {
    const outside = path.join(folder, 'outside.pcapng');
    fs.writeFileSync(outside, 'precious');
    const directory = path.join(folder, 'recording');
    fs.mkdirSync(directory, { mode: 0o700 });
    fs.writeFileSync(path.join(directory, 'notes.txt'), 'mine');
    fs.symlinkSync(outside, path.join(directory, 'ot-0000000001-20200101T000000Z.pcapng'));
    fs.symlinkSync(outside, path.join(directory, 'ot-0000000002-20231114T221320Z.pcapng'));
    const bench = new Bench(directory, bounds);
    record(bench, many(20_000));
    bench.recording.close();
    expect(fs.readFileSync(outside, 'utf8')).toBe('precious');
    expect(fs.readFileSync(path.join(directory, 'notes.txt'), 'utf8')).toBe('mine');
    expect(fs.lstatSync(path.join(directory, 'ot-0000000001-20200101T000000Z.pcapng')).isSymbolicLink()).toBe(true);
    expect(bench.counters).toMatchObject({ packets: 20_000, stops: 0 });
    expect(recorded(directory).length).toBeGreaterThan(1000);
  });

  test('a place that takes no directory is said to be one', () => {
    expect(() => takeDirectory('/proc/ot-sensor/recording')).toThrow(/ENOENT/);
  });

  test('a directory that others may write to, or another process records to, is refused', () => {
    fs.chmodSync(folder, 0o770);
    expect(() => takeDirectory(folder)).toThrow(/can be written by others/);
    fs.chmodSync(folder, 0o700);
    const start = fs.readFileSync('/proc/1/stat', 'utf8').split(') ')[1].split(' ')[19];
    fs.writeFileSync(path.join(folder, 'recorder.lock'), `1 ${start}\n`);
    expect(() => takeDirectory(folder)).toThrow(/recorded to by another sensor, process 1/);
    // Its number was given to another process since: it is over.
    fs.writeFileSync(path.join(folder, 'recorder.lock'), `1 ${Number(start) + 1}\n`);
    takeDirectory(folder);
    expect(fs.readFileSync(path.join(folder, 'recorder.lock'), 'utf8')).toMatch(new RegExp(`^${process.pid} \\d+\n$`));
  });
});

describe('a file that was cut off', () => {
  function unfinished(): { name: string; put: TestPacket[] } {
    const bench = new Bench(folder);
    const put = [...many(3000, 200)];
    record(bench, put);
    bench.recording.tick();
    // Not closed: as after kill -9.
    const [name] = filesOf(folder);
    return { name, put: put.slice(0, bench.counters.packets) };
  }

  test('is read as far as it is whole, at any place', () => {
    const { name, put } = unfinished();
    const file = path.join(folder, name);
    const whole = fs.readFileSync(file);
    expect(put.length).toBeGreaterThan(1500);
    expectSame(recorded(folder), put);
    let before = 0;
    for (let size = 0; size < whole.length; size += 60_000 + (size % 7)) {
      fs.writeFileSync(file, whole.subarray(0, size));
      const found = recorded(folder);
      expectSame(found, put.slice(0, found.length));
      expect(found.length).toBeGreaterThanOrEqual(before);
      before = found.length;
    }
    expect(before).toBeGreaterThan(1000);
  });

  test('is cut to its last whole packet at the next start, and gets its index', () => {
    const { name, put } = unfinished();
    const file = path.join(folder, name);
    fs.truncateSync(file, fs.statSync(file).size - 100);
    fs.writeFileSync(path.join(folder, 'ot-0000000007-20200101T000000Z.pcapng'), '');
    const bench = new Bench(folder, { capture_id: 2 });
    const listed = new RecordingReader(folder).list();
    expect(listed).toMatchObject([{ name, complete: true, packets: put.length - 1, capture_id: 1, mode: 'all' }]);
    expect(filesOf(folder)).toEqual([name]);
    const more = [...many(100, 100, 5000)];
    record(bench, more);
    bench.recording.close();
    expectSame(recorded(folder), [...put.slice(0, -1), ...more]);
    // The index it got tells hosts apart.
    const reader = new RecordingReader(folder);
    expect([...reader.packets({ ends: [{ a: ip('10.9.9.9'), b: null }] })]).toEqual([]);
    expect(reader.counters.blocks_read).toBe(0);
    expect(reader.counters.blocks_passed_over).toBeGreaterThan(0);
  });

  test('bytes of any kind in it do no harm', () => {
    const { name, put } = unfinished();
    const file = path.join(folder, name);
    const whole = fs.readFileSync(file);
    fc.assert(
      fc.property(fc.nat(whole.length - 64), fc.uint8Array({ minLength: 1, maxLength: 64 }), (at, damage) => {
        const damaged = Buffer.from(whole);
        damaged.set(damage, at);
        fs.writeFileSync(file, damaged);
        const before = recorded(folder);
        expect(before.length).toBeLessThanOrEqual(put.length);
        const bench = new Bench(folder);
        bench.recording.close();
        expect(bench.states).toEqual([]);
        for (const one of new RecordingReader(folder).list()) expect(one.packets).toBeLessThanOrEqual(put.length);
      }),
      { numRuns: 30 },
    );
  });

  test('an index that is damaged is none', () => {
    const bench = new Bench(folder);
    const put = [...many(2000, 200)];
    record(bench, put);
    bench.recording.close();
    const file = path.join(folder, filesOf(folder)[0]);
    const whole = fs.readFileSync(file);
    const index = whole.length - whole.readUInt32LE(whole.length - 4);
    fc.assert(
      fc.property(fc.integer({ min: index, max: whole.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const damaged = Buffer.from(whole);
        damaged[at] ^= change;
        fs.writeFileSync(file, damaged);
        const found = recorded(folder);
        expect(found.length).toBeLessThanOrEqual(put.length);
      }),
      { numRuns: 200 },
    );
  });
});

describe('a disk', () => {
  /** A real one that fails while `fault` is set. */
  function faulty(): { disk: Disk; set(code: string | null): void; now: { ms: number } } {
    let fault: string | null = null;
    const now = { ms: 1_000_000_000_000 };
    const disk: Disk = {
      ...realDisk,
      now_ms: () => now.ms,
      create(file) {
        if (fault !== null && fault !== 'ENOSPC') throw Object.assign(new Error(fault), { code: fault });
        return realDisk.create(file);
      },
      write(fd, bytes, length, position) {
        if (fault === null) return realDisk.write(fd, bytes, length, position);
        // Half of it is there when it fails.
        realDisk.write(fd, bytes, Math.floor(length / 2), position);
        throw Object.assign(new Error(fault), { code: fault });
      },
    };
    return {
      disk,
      set: (code) => {
        fault = code;
      },
      now,
    };
  }

  test.each(['ENOSPC', 'EDQUOT', 'EIO', 'EROFS'])(
    '%s stops the recording; it goes on when it can, and counts exactly',
    (code) => {
      const { disk, set, now } = faulty();
      const bench = new Bench(folder, {}, disk);
      record(bench, many(1000));
      set(code);
      record(bench, many(1000, 1000, 1000));
      expect(bench.states.length).toBe(1);
      expect(bench.states[0]).toMatchObject({ state: 'stopped' });
      now.ms += 1001;
      record(bench, many(1000, 1000, 2000));
      expect(bench.states.length).toBe(1);
      set(null);
      record(bench, many(1000, 1000, 3000));
      expect(bench.states.length).toBe(1);
      now.ms += 1001;
      record(bench, many(1000, 1000, 4000));
      bench.recording.close();
      expect(bench.states.map(({ state }) => state)).toEqual(['stopped', 'recording']);
      const { packets, not_recorded, skipped, stops } = bench.counters;
      expect({ sum: packets + not_recorded, skipped, stops }).toEqual({ sum: 5000, skipped: 0, stops: 1 });
      const found = recorded(folder);
      expect(found.length).toBe(packets);
      expectSame(found.slice(-1000), [...many(1000, 1000, 4000)]);
      // Who asks for the time of the stop is told what is missing.
      expect(new RecordingReader(folder).coverage({ ends: null }).missed).toBe(not_recorded);
      expect(new RecordingReader(folder).coverage({ ends: null, to_ms: FIRST_SECOND * 1000 }).missed).toBe(0);
    },
  );

  test('of which another takes the last bytes: stops before, within min_free_bytes', () => {
    let free = 100 << 20;
    const now = { ms: 1_000_000_000_000 };
    const disk: Disk = { ...realDisk, freeBytes: () => free, now_ms: () => now.ms };
    const bench = new Bench(folder, { min_free_bytes: 50 << 20, file_bytes: 1 << 20, total_bytes: 10 << 20 }, disk);
    record(bench, many(1000));
    free = 50 << 20;
    record(bench, many(1000, 1000, 1000));
    expect(bench.states).toMatchObject([{ state: 'stopped', reason: expect.stringMatching(/less than 52428800 bytes free/) }]);
    const before = filesOf(folder);
    now.ms += 5000;
    record(bench, many(1000, 1000, 2000));
    // What is there is not given away for it.
    expect(filesOf(folder)).toEqual(before);
    free = 60 << 20;
    now.ms += 5000;
    record(bench, many(1000, 1000, 3000));
    bench.recording.close();
    expect(bench.states.map(({ state }) => state)).toEqual(['stopped', 'recording']);
    expect(bench.counters.packets + bench.counters.not_recorded).toBe(4000);
  });

  test('smaller than total_bytes: says so, and keeps to what there is', () => {
    const disk: Disk = { ...realDisk, freeBytes: () => 8 << 20 };
    const bench = new Bench(folder, { min_free_bytes: 2 << 20, file_bytes: 1 << 20, total_bytes: 1 << 30 }, disk);
    expect(bench.states).toMatchObject([{ state: 'limited' }]);
    record(bench, many(20_000));
    bench.recording.close();
    expect(sizes(folder).reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(6 << 20);
    expect(bench.counters).toMatchObject({ packets: 20_000, stops: 0 });
  });

  const asRoot = process.getuid?.() === 0;
  if (!asRoot) console.warn('SKIPPED: recording onto a disk that is really full or read-only, for which one must be root');

  test.skipIf(!asRoot)('that is really full, or read-only: goes on when there is room and it can be written', () => {
    const volume = path.join(folder, 'volume');
    fs.mkdirSync(volume);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m,mode=0700', 'tmpfs', volume]);
    const remount = (options: string) => execFileSync('mount', ['-o', `remount,${options}`, volume]);
    try {
      const now = { ms: 1_000_000_000_000 };
      const disk: Disk = { ...realDisk, now_ms: () => now.ms };
      const bounds = { file_bytes: 1 << 20, total_bytes: 12 << 20 };
      const states = (bench: Bench) => bench.states.map(({ state }) => state);
      const full = new Bench(volume, bounds, disk);
      record(full, many(2000));
      // Another program takes the rest of it.
      fs.writeFileSync(path.join(volume, 'other'), Buffer.alloc((10 << 20) + 4096));
      record(full, many(8000, 1000, 2000));
      expect(full.states).toMatchObject([{ state: 'stopped', reason: 'the disk is full' }]);
      fs.rmSync(path.join(volume, 'other'));
      now.ms += 1001;
      record(full, many(1000, 1000, 10_000));
      full.recording.close();
      expect(states(full)).toEqual(['stopped', 'recording']);
      expect(full.counters.packets + full.counters.not_recorded).toBe(11_000);
      expectSame(recorded(volume).slice(-1000), [...many(1000, 1000, 10_000)]);
      for (const { complete } of new RecordingReader(volume).list().slice(0, -1)) expect(complete).toBe(true);

      remount('ro');
      const protected_ = new Bench(volume, bounds, disk);
      record(protected_, many(1000, 1000, 20_000));
      expect(protected_.states).toMatchObject([{ state: 'stopped', reason: expect.stringMatching(/read-only/) }]);
      expect(protected_.counters).toMatchObject({ packets: 0, not_recorded: 1000 });
      remount('rw');
      now.ms += 1001;
      record(protected_, many(1000, 1000, 21_000));
      protected_.recording.close();
      expect(states(protected_)).toEqual(['stopped', 'recording']);
      expectSame(recorded(volume).slice(-1000), [...many(1000, 1000, 21_000)]);
    } finally {
      execFileSync('umount', ['-l', volume]);
    }
  });

  test('whose directory cannot be: stops, and begins when it can', () => {
    const directory = path.join(folder, 'file', 'recording');
    fs.writeFileSync(path.join(folder, 'file'), '');
    const { disk, now } = faulty();
    const bench = new Bench(directory, {}, disk);
    expect(bench.states).toMatchObject([{ state: 'stopped', reason: expect.stringMatching(/is no folder/) }]);
    record(bench, many(1000));
    expect(bench.counters.not_recorded).toBe(1000);
    fs.rmSync(path.join(folder, 'file'));
    now.ms += 1001;
    record(bench, many(1000, 1000, 1000));
    bench.recording.close();
    expectSame(recorded(directory), [...many(1000, 1000, 1000)]);
    expect(bench.states.map(({ state }) => state)).toEqual(['stopped', 'recording']);
  });

  test('from which somebody deletes everything: goes on with another file', () => {
    const { disk, now } = faulty();
    const bench = new Bench(folder, {}, disk);
    record(bench, many(1000));
    for (const name of filesOf(folder)) fs.rmSync(path.join(folder, name));
    now.ms += 10_000;
    bench.recording.tick();
    record(bench, many(1000, 1000, 1000));
    fs.rmSync(folder, { recursive: true });
    now.ms += 10_000;
    bench.recording.tick();
    record(bench, many(1000, 1000, 2000));
    now.ms += 10_000;
    record(bench, many(1000, 1000, 3000));
    bench.recording.close();
    expectSame(recorded(folder).slice(-1000), [...many(1000, 1000, 3000)]);
  });

  test('that is slow: nobody waits, what the ring did not remember is counted, and none is recorded wrongly', () => {
    let bench: Bench;
    let put = 0;
    let slow = true;
    const disk: Disk = {
      ...realDisk,
      write(fd, bytes, length, position) {
        realDisk.write(fd, bytes, length, position);
        // While this block is written 3 MB come in: the ring goes round every few blocks.
        if (slow && put < 150_000) feed(2000);
      },
    };
    const feed = (count: number): void => {
      for (let i = 0; i < count; i++) bench.put(packet(put++, 1400));
      bench.answer();
    };
    bench = new Bench(folder, {}, disk);
    feed(1000);
    for (let i = 0; i < 30; i++) {
      bench.recording.take();
      feed(1000);
    }
    slow = false;
    bench.recording.take();
    bench.recording.close();
    const { packets, skipped, not_recorded } = bench.counters;
    expect(skipped).toBeGreaterThan(1000);
    expect({ sum: packets + skipped, not_recorded }).toEqual({ sum: put, not_recorded: 0 });
    const found = recorded(folder);
    expect(found.length).toBe(packets);
    // Each is one that was put in, as it was.
    for (const one of found) {
      const i = (one.seconds - FIRST_SECOND) * 1000 + Math.floor(one.nanoseconds / 1e6);
      expect(same(one, packet(i, 1400))).toBe(true);
    }
    expect(new RecordingReader(folder).coverage({ ends: null }).missed).toBe(skipped);
  });

  test('behind which the ring came round altogether', () => {
    const bench = new Bench(folder);
    const size = 1400;
    const count = Math.ceil((3 * REMEMBERED_BYTES) / size);
    expect(count).toBeLessThan(REMEMBERED_PACKETS);
    for (let i = 0; i < count; i++) bench.put(packet(i, size));
    bench.answer();
    bench.recording.take();
    bench.recording.close();
    const found = recorded(folder);
    expect(bench.counters.packets + bench.counters.skipped).toBe(count);
    expectSame(
      found,
      Array.from({ length: found.length }, (_, i) => packet(count - found.length + i, size)),
    );
    expect(found.length).toBeGreaterThan(5000);
  });
});

describe('of OT alone', () => {
  test('what a dissector recognised, with what came before it in its flow, once', () => {
    const bench = new Bench(folder, { mode: 'ot' });
    // Flow A is recognised with its fourth packet, flow B never.
    const a = [1, 3, 5, 7, 9, 11].map((i) => packet(i, 100, 1));
    const b = [2, 4, 6, 8, 10, 12].map((i) => packet(i, 100, 2));
    for (let i = 0; i < 6; i++) {
      bench.put(a[i]);
      bench.put(b[i]);
      bench.ring.link(2 * i + 1, i === 0 ? 0 : 2 * i - 1);
      bench.ring.link(2 * i + 2, i === 0 ? 0 : 2 * i);
      // A batch a pair: the recorder is long past what it must go back to.
      bench.answer((frame) => (frame % 2 === 1 && frame >= 7 ? OT | (frame === 7 || frame === 11 ? BACK : 0) : 0));
      bench.recording.take();
    }
    bench.recording.close();
    expectSame(recorded(folder), a);
    expect(bench.counters.packets).toBe(6);
    expect(new RecordingReader(folder).list()).toMatchObject([{ mode: 'ot', packets: 6 }]);
  });
});

const ip = (text: string): End => {
  const [a, b, c, d] = text.split('.').map(Number);
  return { kind: 'ip', words: [0, 0, 0xffff, ((a << 24) | (b << 16) | (c << 8) | d) >>> 0] };
};

describe('what the index finds', () => {
  test('is what reading everything finds: any hosts, ports and times, packets out of order, with and without index', () => {
    const hosts = fc.integer({ min: 1, max: 12 });
    const made = fc.record({
      from: hosts,
      to: hosts,
      port: fc.integer({ min: 1, max: 5 }),
      ms: fc.nat(60_000),
      size: fc.nat(900),
    });
    const host = (n: number): string => `0a0000${n.toString(16).padStart(2, '0')}`;
    const toPacket = ({
      from,
      to,
      port,
      ms,
      size,
    }: {
      from: number;
      to: number;
      port: number;
      ms: number;
      size: number;
    }): TestPacket => {
      const datagram = Buffer.from(udp(payload(size, ms)));
      datagram.writeUInt16BE(port, 2);
      const data = Buffer.from(ethernet(0x800, ipv4(datagram, { protocol: 17, source: host(from), destination: host(to) })));
      const seconds = FIRST_SECOND + Math.floor(ms / 1000);
      return { seconds, nanoseconds: (ms % 1000) * 1e6, wire: data.length, interface_: 0, link_type: 1, bytes: data };
    };
    const query = fc.record({
      a: fc.option(hosts, { nil: null }),
      b: fc.option(hosts, { nil: null }),
      port: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
      from: fc.option(fc.nat(60_000), { nil: undefined }),
      length: fc.nat(30_000),
    });
    let passed_over = 0;
    fc.assert(
      fc.property(
        fc.array(made, { minLength: 1, maxLength: 400 }),
        fc.array(query, { minLength: 8, maxLength: 8 }),
        fc.boolean(),
        (all, queries, close) => {
          const directory = fs.mkdtempSync(path.join(folder, 'p-'));
          // Small blocks, so that there are many of them.
          let now = 1_000_000_000_000;
          const bench = new Bench(directory, {}, { ...realDisk, now_ms: () => now });
          const packets = all.map(toPacket);
          for (const [i, one] of packets.entries()) {
            bench.put(one);
            if (i % 7 !== 0 && i !== packets.length - 1) continue;
            bench.answer();
            bench.recording.take();
            now += 1001;
            bench.recording.tick();
          }
          if (close) bench.recording.close();
          for (const { a, b, port, from, length } of queries) {
            const from_ms = from === undefined ? undefined : FIRST_SECOND * 1000 + from;
            const to_ms = from_ms === undefined ? undefined : from_ms + length;
            const filter: RecordingFilter = {
              ends: a === null ? null : [{ a: ip(`10.0.0.${a}`), b: b === null ? null : ip(`10.0.0.${b}`) }],
              port,
              from_ms,
              to_ms,
            };
            const expected = byTime(
              packets.filter((one, i) => {
                const { from: s, to: d, port: p, ms } = all[i];
                if (port !== undefined && p !== port && one.bytes.readUInt16BE(34) !== port) return false;
                if (from !== undefined && (ms < from || ms > from + length)) return false;
                if (a === null) return true;
                return b === null ? s === a || d === a : (s === a && d === b) || (s === b && d === a);
              }),
            );
            const reader = new RecordingReader(directory);
            const found = [...reader.packets(filter)];
            passed_over += reader.counters.blocks_passed_over;
            expect(found.map(({ bytes }) => bytes.toString('hex'))).toEqual(expected.map(({ bytes }) => bytes.toString('hex')));
            expect(reader.counters.blocks_damaged).toBe(0);
          }
          fs.rmSync(directory, { recursive: true });
        },
      ),
      { numRuns: 60 },
    );
    expect(passed_over).toBeGreaterThan(100);
  });

  test('reads few blocks for one pair among many, and all fragments of a datagram', () => {
    const bench = new Bench(folder);
    const packets = Array.from({ length: 20_000 }, (_, i) => packet(i, 500, 1 + Math.floor(i / 500)));
    const whole = udp(payload(3000));
    const fragments = [0, 1480, 2960].map((offset) => {
      const part = whole.subarray(offset, offset + 1480);
      const header = { protocol: 17, source: '0a0000c8', destination: '0a000101', offset, more: offset < 2960 };
      const data = Buffer.from(ethernet(0x800, ipv4(Uint8Array.from(part), header)));
      return { ...packet(10_000, 0), nanoseconds: 100 + offset, bytes: data, wire: data.length };
    });
    packets.splice(10_000, 0, ...fragments);
    record(bench, packets);
    bench.recording.close();
    const reader = new RecordingReader(folder);
    const found = [...reader.packets({ ends: [{ a: ip('10.0.1.1'), b: ip('10.0.0.5') }] })];
    expect(found.length).toBe(500);
    expect(reader.counters.blocks_read).toBeLessThan(5);
    expect(reader.counters.blocks_passed_over).toBeGreaterThan(30);
    // The port stands in the first fragment; the others belong to it.
    const datagram = recorded(folder, { ends: [{ a: ip('10.0.0.200'), b: null }], port: portOf(whole) });
    expectSame(datagram, fragments);
  });
});

const portOf = (datagram: Uint8Array): number => (datagram[2] << 8) | datagram[3];

function same(a: TestPacket, b: TestPacket | undefined): boolean {
  return (
    b !== undefined &&
    a.seconds === b.seconds &&
    a.nanoseconds === b.nanoseconds &&
    a.wire === b.wire &&
    a.interface_ === b.interface_ &&
    a.link_type === b.link_type &&
    a.bytes.equals(b.bytes)
  );
}
