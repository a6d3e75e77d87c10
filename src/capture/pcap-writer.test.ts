import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { MAX_PACKET_BYTES } from './batch.ts';
import { openCaptureFile } from './file-source.ts';
import { PcapWriter } from './pcap-writer.ts';
import { payload, readThrough } from './testing.ts';

let folder = '';
beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-writer-'));
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

const PACKETS = [
  { seconds: 1_700_000_000, nanoseconds: 123_456_789, data: payload(61, 1), wire: 61 },
  { seconds: 4_294_967_295, nanoseconds: 999_999_999, data: payload(0, 2), wire: 1500 },
  { seconds: 0, nanoseconds: 0, data: Buffer.alloc(MAX_PACKET_BYTES, 3), wire: MAX_PACKET_BYTES },
  { seconds: 1, nanoseconds: 2, data: payload(3, 4), wire: 3 },
];

test.each([
  ['one link type: classic pcap', [1, 1, 1, 1], 'a1b23c4d'],
  ['several link types: pcapng', [1, 113, 1, 276], '0a0d0d0a'],
])('%s, read back', async (_, link_types, magic) => {
  const file = path.join(folder, `${magic}.pcap`);
  const writer = new PcapWriter(file, link_types);
  PACKETS.forEach(({ data, wire, seconds, nanoseconds }, i) => {
    const around = Buffer.concat([Buffer.alloc(5, 0xff), data, Buffer.alloc(5, 0xff)]);
    writer.write(around, 5, data.length, wire, seconds, nanoseconds, link_types[i]);
  });
  writer.close();
  writer.close();
  expect(writer.packets).toBe(4);
  expect(fs.readFileSync(file).readUInt32LE(0).toString(16).padStart(8, '0')).toBe(magic);
  const read = await readThrough(await openCaptureFile(file));
  expect(read.warnings).toEqual([]);
  expect(
    read.packets.map(({ seconds, nanoseconds, wire, data, link_type }) => ({ seconds, nanoseconds, wire, data, link_type })),
  ).toEqual(PACKETS.map((packet, i) => ({ ...packet, data: packet.data.toString('hex'), link_type: link_types[i] })));
  const tshark = spawnSync('tshark', ['-r', file, '-T', 'fields', '-e', 'frame.time_epoch', '-e', 'frame.cap_len'], {
    encoding: 'utf8',
  });
  if (tshark.error !== undefined) return;
  expect(tshark.status).toBe(0);
  expect(tshark.stdout.trim().split('\n')).toEqual(
    PACKETS.map(({ seconds, nanoseconds, data }) => `${seconds}.${String(nanoseconds).padStart(9, '0')}\t${data.length}`),
  );
});

test('a file without packets is a capture too', async () => {
  const file = path.join(folder, 'empty.pcap');
  new PcapWriter(file, []).close();
  expect((await readThrough(await openCaptureFile(file))).packets).toEqual([]);
});

test('a link type that was not announced is a mistake of the caller, a path that cannot be written one of the operator', () => {
  const writer = new PcapWriter(path.join(folder, 'x.pcap'), [1]);
  expect(() => writer.write(payload(1), 0, 1, 1, 0, 0, 113)).toThrow(RangeError);
  writer.close();
  expect(() => new PcapWriter(path.join(folder, 'absent', 'x.pcap'), [1])).toThrow(/cannot be written/);
});
