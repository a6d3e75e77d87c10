import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import zlib from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BatchWriter, PacketRing } from './batch.ts';
import { CaptureFileError } from './errors.ts';
import { openCaptureFile, openCaptureStream } from './file-source.ts';
import { SequenceSource } from './replay.ts';
import {
  enhancedPacket,
  interfaceDescription,
  payload,
  pcapFile,
  type ReadCapture,
  readBytes,
  readThrough,
  sectionHeader,
} from './testing.ts';

const NANOSECONDS = { little: true, magic: 0xa1b23c4d };

function records(count: number, first = 0) {
  return Array.from({ length: count }, (_, i) => ({
    seconds: first + i,
    fraction: i,
    data: payload(60 + ((first + i) % 40), first + i),
  }));
}

let folder = '';
beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-capture-'));
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

function written(name: string, bytes: Buffer): string {
  const file = path.join(folder, name);
  fs.writeFileSync(file, bytes);
  return file;
}

describe('gzip', () => {
  const plain = pcapFile(NANOSECONDS, records(3000));
  let whole: ReadCapture;
  beforeAll(async () => {
    whole = await readBytes(plain);
  });

  test.each([
    ['pcap', plain],
    [
      'pcapng',
      Buffer.concat([sectionHeader(true), interfaceDescription(true), ...records(50).map((one) => enhancedPacket(true, one))]),
    ],
  ])('of %s reads as the file itself', async (_, file) => {
    const read = await readBytes(zlib.gzipSync(file));
    expect(read.warnings).toEqual([]);
    expect(read.packets).toEqual((await readBytes(file)).packets);
  });

  test('members one after the other are one file', async () => {
    const members = [0, 10, 24, 100, 5000].map((from, i, all) => zlib.gzipSync(plain.subarray(from, all[i + 1])));
    const read = await readBytes(Buffer.concat(members));
    expect(read.warnings).toEqual([]);
    expect(read.packets).toEqual(whole.packets);
  });

  test('cut short is read up to the cut, and said', async () => {
    const compressed = zlib.gzipSync(plain);
    for (const kept of [0.1, 0.5, 0.9]) {
      const cut = compressed.subarray(0, Math.floor(compressed.length * kept));
      const there = zlib.gunzipSync(cut, { finishFlush: zlib.constants.Z_SYNC_FLUSH });
      const read = await readBytes(cut);
      expect(read.packets).toEqual((await readBytes(there)).packets);
      expect(read.packets.length).toBeGreaterThan(0);
      expect(read.warnings).toEqual([
        { source: 'test', message: expect.stringMatching(/gzip data is cut short/), offset: expect.any(Number) },
      ]);
    }
  });

  test('cut or changed anywhere: nothing is thrown but CaptureFileError, and packets are those of the file', async () => {
    const compressed = zlib.gzipSync(pcapFile(NANOSECONDS, records(1)));
    const packets = whole.packets.slice(0, 1);
    for (let at = 0; at < compressed.length; at++) {
      const cut = await readBytes(compressed.subarray(0, at));
      expect(cut.error === null || cut.error instanceof CaptureFileError).toBe(true);
      expect(cut.packets).toEqual(packets.slice(0, cut.packets.length));
      const changed = Buffer.from(compressed);
      changed[at] ^= 0x41;
      const read = await readBytes(changed);
      expect(read.error === null || read.error instanceof CaptureFileError).toBe(true);
    }
  }, 20_000);

  test('a wrong check sum at the end loses no packet', async () => {
    const compressed = zlib.gzipSync(plain);
    compressed[compressed.length - 6] ^= 1;
    const read = await readBytes(compressed);
    expect(read.packets).toEqual(whole.packets);
    expect(read.warnings).toEqual([
      { source: 'test', message: expect.stringMatching(/gzip data is damaged/), offset: plain.length },
    ]);
  });

  test('a bomb costs time and no memory', async () => {
    // A header and 256 MB of zeros: 16 million packets without a byte, in 250 kB.
    const header = pcapFile(NANOSECONDS, []);
    const zeros = zlib.gzipSync(Buffer.alloc(16 << 20));
    const bomb = Buffer.concat([zlib.gzipSync(header), ...Array<Buffer>(16).fill(zeros)]);
    const source = await openCaptureStream(Readable.from([bomb]), 'bomb');
    const batch = new BatchWriter(new PacketRing());
    const before = process.memoryUsage().rss;
    let packets = 0;
    let most = 0;
    for (;;) {
      const used = await source.fill(batch);
      if (used === null) break;
      packets += batch.count;
      batch.next(used);
      most = Math.max(most, process.memoryUsage().rss - before);
    }
    expect(packets).toBe((256 << 20) / 16);
    expect(most).toBeLessThan(160 << 20);
  }, 30_000);

  test('of something else is no capture', async () => {
    const { error } = await readBytes(zlib.gzipSync(Buffer.from('Not a capture')));
    expect(String(error)).toMatch(/is not a capture file/);
    expect(String((await readBytes(zlib.gzipSync(plain).subarray(0, 8))).error)).toMatch(/gzip data is cut short/);
  });
});

describe('streams', () => {
  const plain = pcapFile({ little: false, magic: 0xa1b2c3d4 }, records(20));

  test.each([1, 3, 17, 100, 100_000])('in chunks of %i bytes', async (size) => {
    const chunks = Array.from({ length: Math.ceil(plain.length / size) }, (_, i) => plain.subarray(i * size, (i + 1) * size));
    const read = await readThrough(await openCaptureStream(Readable.from(chunks), 'stream'));
    expect(read.warnings).toEqual([]);
    expect(read.packets).toEqual((await readBytes(plain)).packets);
  });

  test('packets are delivered when they come, not when the stream ends', async () => {
    const stream = new PassThrough();
    stream.write(plain.subarray(0, 24));
    const source = await openCaptureStream(stream, 'stream');
    const batch = new BatchWriter(new PacketRing());
    stream.write(plain.subarray(24, 24 + 16 + 60));
    const used = await source.fill(batch);
    expect(used).toBe(76);
    expect(batch.count).toBe(1);
    batch.next(76);
    const waiting = source.fill(batch);
    source.close();
    expect(await waiting).toBeNull();
  });

  test('one that fails keeps what came before', async () => {
    const failing = Readable.from(
      (async function* () {
        yield plain.subarray(0, 200);
        throw new Error('the link is down');
      })(),
    );
    const read = await readThrough(await openCaptureStream(failing, 'stream'));
    expect(read.packets.length).toBe(2);
    expect(read.warnings).toEqual([
      { source: 'stream', message: expect.stringMatching(/cut short .*the link is down/), offset: 177 },
    ]);
  });

  test('a pipe is read like a file', async () => {
    const file = written('piped.pcap', plain);
    const child = spawn('cat', [file]);
    const read = await readThrough(await openCaptureStream(child.stdout, 'pipe'));
    expect(read.packets).toEqual((await readBytes(plain)).packets);
    const fifo = path.join(folder, 'fifo');
    if (spawnSync('mkfifo', [fifo]).status === 0) {
      spawn('cp', [file, fifo]);
      const source = await SequenceSource.open([fifo]);
      expect((await readThrough(source)).packets).toEqual(read.packets);
    }
  });
});

describe('files', () => {
  test('several are one: frame numbers and positions run on', async () => {
    const all = records(30);
    const one = written('one.pcap', pcapFile(NANOSECONDS, all.slice(0, 10)));
    const two = written('two.pcap', pcapFile({ ...NANOSECONDS, little: false }, all.slice(10, 11)));
    const three = written('three.pcap.gz', zlib.gzipSync(pcapFile(NANOSECONDS, all.slice(11))));
    const empty = written('empty.pcap', pcapFile(NANOSECONDS, []));
    const whole = await readBytes(pcapFile(NANOSECONDS, all));
    const source = await SequenceSource.open([one, empty, two, three, empty]);
    expect(source.bytes_total).toBe([one, empty, two, three, empty].reduce((sum, file) => sum + fs.statSync(file).size, 0));
    const read = await readThrough(source);
    expect(read.packets).toEqual(whole.packets);
    expect(read.warnings).toEqual([]);
    expect(source.bytes_read).toBe(source.bytes_total);
  });

  test('warnings name their file, and the next file is read', async () => {
    const file = pcapFile(NANOSECONDS, records(2));
    const cut = written('cut.pcap', file.subarray(0, file.length - 1));
    const read = await readThrough(await SequenceSource.open([cut, cut]));
    expect(read.packets.map(({ frame, seconds }) => [frame, seconds])).toEqual([
      [1, 0],
      [2, 0],
    ]);
    expect(read.warnings.map(({ source }) => source)).toEqual([cut, cut]);
  });

  test('what cannot be read is said before anything is read', async () => {
    const good = written('good.pcap', pcapFile(NANOSECONDS, records(2)));
    const bad = written('bad.pcap', pcapFile({ ...NANOSECONDS, link_type: 250 }, records(2)));
    await expect(SequenceSource.open([good, bad])).rejects.toThrow(/bad\.pcap: has the link type RTAC_SERIAL \(250\)/);
    await expect(SequenceSource.open([good, path.join(folder, 'absent.pcap')])).rejects.toThrow(/absent\.pcap: no such file/);
    await expect(SequenceSource.open([folder])).rejects.toThrow(/is a directory/);
    await expect(openCaptureFile(written('text.pcap', Buffer.from('text')))).rejects.toThrow(CaptureFileError);
  });

  test('a closed source delivers no more, and files are closed', async () => {
    const file = written('closed.pcap', pcapFile(NANOSECONDS, records(2)));
    const descriptors = () => fs.readdirSync('/proc/self/fd').length;
    if (!fs.existsSync('/proc/self/fd')) return;
    const before = descriptors();
    for (let i = 0; i < 50; i++) {
      const source = await openCaptureFile(file);
      source.close();
      expect(
        source.fill(
          new BatchWriter(
            new PacketRing({
              bytes: new SharedArrayBuffer(8),
              index: new SharedArrayBuffer(32),
              links: new SharedArrayBuffer(4),
            }),
          ),
        ),
      ).toBeNull();
      await readThrough(await openCaptureFile(file));
    }
    expect(descriptors()).toBeLessThan(before + 10);
  });
});
