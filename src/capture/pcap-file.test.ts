import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_BATCH_PACKETS, MAX_PACKET_BYTES } from './batch.ts';
import { CaptureFileError } from './errors.ts';
import { type PcapVariant, packed, payload, pcapFile, readBytes, type TestRecord } from './testing.ts';

const MODIFIED_EXTRA = (little: boolean) => packed(little, [32, 2], [16, 0x0800], [8, 0], [8, 0xee]);

/** Every variant, and what its fraction of a second counts in nanoseconds. */
const VARIANTS: [name: string, variant: PcapVariant, unit: number][] = [true, false].flatMap(
  (little): [string, PcapVariant, number][] => {
    const order = little ? 'little-endian' : 'big-endian';
    return [
      [`microseconds, ${order}`, { little, magic: 0xa1b2c3d4 }, 1000],
      [`nanoseconds, ${order}`, { little, magic: 0xa1b23c4d }, 1],
      [
        `modified magic, 24-byte record header, ${order}`,
        { little, magic: 0xa1b2cd34, record_extra: MODIFIED_EXTRA(little) },
        1000,
      ],
      [
        `modified magic, 28-byte record header, ${order}`,
        { little, magic: 0xa1b2cd34, record_extra: Buffer.concat([MODIFIED_EXTRA(little), Buffer.from('07081122', 'hex')]) },
        1000,
      ],
      [
        `standard magic, 24-byte record header, ${order}`,
        { little, magic: 0xa1b2c3d4, record_extra: MODIFIED_EXTRA(little) },
        1000,
      ],
      [`Nokia, ${order}`, { little, magic: 0xa1b2c3d4, record_extra: packed(little, [32, 0x9fbfb601]) }, 1000],
      [`AIX, ${order}`, { little, magic: 0xa1b2c3d4, version: [2, 2], link_type: 6 }, 1],
      [`Ixia hardware, ${order}`, { little, magic: 0x1c0001ac, extra: Buffer.alloc(4, 0x55) }, 1],
      [`Ixia software, ${order}`, { little, magic: 0x1c0001ab, extra: Buffer.alloc(4, 0x55) }, 1000],
      [`version 2.1, wire length first, ${order}`, { little, magic: 0xa1b2c3d4, version: [2, 1], wire_first: true }, 1000],
      [`version 2.3, wire length first, ${order}`, { little, magic: 0xa1b2c3d4, version: [2, 3], wire_first: true }, 1000],
      [`version 2.3, captured length first, ${order}`, { little, magic: 0xa1b2c3d4, version: [2, 3] }, 1000],
    ];
  },
);

const RECORDS: TestRecord[] = [
  { seconds: 1_700_000_000, fraction: 123_456, data: payload(60, 1) },
  { seconds: 4_294_967_295, fraction: 999_999, data: payload(33, 2), wire: 1500 },
  { seconds: 1_700_000_001, fraction: 0, data: payload(0, 3), wire: 64 },
  { seconds: 1_700_000_002, fraction: 1, data: payload(20, 4) },
];

function expected(records: readonly TestRecord[], unit: number) {
  return records.map(({ seconds, fraction, data, wire = data.length }, i) => ({
    frame: i + 1,
    seconds,
    nanoseconds: fraction * unit,
    wire,
    interface_: 0,
    link_type: 1,
    data: data.toString('hex'),
  }));
}

function withoutPosition(packets: readonly { position: number }[]) {
  return packets.map(({ position: _, ...packet }) => packet);
}

describe.each(VARIANTS)('%s', (_, variant, unit) => {
  const file = pcapFile(variant, RECORDS);

  test('is read', async () => {
    const { packets, warnings, error } = await readBytes(file);
    expect(error).toBeNull();
    expect(warnings).toEqual([]);
    expect(withoutPosition(packets)).toEqual(expected(RECORDS, unit));
  });

  test('is read the same in pieces of every size', async () => {
    const whole = await readBytes(file);
    for (const read_bytes of [1, 2, 3, 7, 16, 17, 61, 100]) {
      expect((await readBytes(file, { read_bytes })).packets, `${read_bytes} bytes at once`).toEqual(whole.packets);
    }
  });

  test('cut at every length: what is whole is delivered, and a warning says where', async () => {
    const header = 24 + (variant.extra?.length ?? 0);
    const record_header = 16 + (variant.record_extra?.length ?? 0);
    const starts = [header];
    for (const { data } of RECORDS) starts.push(starts[starts.length - 1] + record_header + data.length);
    for (let length = 0; length < file.length; length++) {
      const { packets, warnings, error } = await readBytes(file.subarray(0, length));
      if (length < header) {
        expect(error, `${length} bytes`).toBeInstanceOf(CaptureFileError);
        continue;
      }
      expect(error, `${length} bytes`).toBeNull();
      // Less than three records may not be enough to tell variants with the same magic number apart.
      if (variant.record_extra !== undefined && length < starts[3]) continue;
      const whole = starts.filter((start) => start <= length).length - 1;
      expect(withoutPosition(packets), `${length} bytes`).toEqual(expected(RECORDS, unit).slice(0, whole));
      if (length === starts[whole]) expect(warnings).toEqual([]);
      else
        expect(warnings).toEqual([
          { source: 'test', message: expect.stringMatching(/^cut short .* missing/), offset: starts[whole] },
        ]);
    }
  });

  test('with any byte changed: never anything but packets, warnings and CaptureFileError', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const changed = Buffer.from(file);
        changed[at] ^= flip;
        const { error } = await readBytes(changed);
        expect(error === null || error instanceof CaptureFileError).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});

test('packets in front of a changed byte stay as they are', async () => {
  const file = pcapFile({ little: true, magic: 0xa1b23c4d }, RECORDS);
  const whole = await readBytes(file);
  const ends = whole.packets.map(({ position, data }) => 24 + position + data.length / 2);
  for (let at = 24; at < file.length; at++) {
    const changed = Buffer.from(file);
    changed[at] ^= 0xff;
    const before = ends.filter((end) => end <= at).length;
    expect((await readBytes(changed)).packets.slice(0, before), `byte ${at}`).toEqual(whole.packets.slice(0, before));
  }
});

test('POSITION counts record headers and packets, not the file header', async () => {
  const { packets } = await readBytes(pcapFile({ little: true, magic: 0xa1b23c4d }, RECORDS));
  expect(packets.map(({ position }) => position)).toEqual([16, 92, 141, 157]);
});

test('more packets than a batch takes: whole batches, nothing lost, nothing twice', async () => {
  const record = pcapFile({ little: true, magic: 0xa1b23c4d }, [{ seconds: 1, fraction: 0, data: payload(1) }]);
  const count = 2 * MAX_BATCH_PACKETS + 5;
  const file = Buffer.concat([record.subarray(0, 24), ...Array<Buffer>(count).fill(record.subarray(24))]);
  const { packets, batches, warnings } = await readBytes(file);
  expect(warnings).toEqual([]);
  expect(batches).toBe(3);
  expect(packets.length).toBe(count);
  expect(packets.every(({ frame, position }, i) => frame === i + 1 && position === i * 17 + 16)).toBe(true);
});

test('the largest packets straddle batches, and come round the ring', async () => {
  const records = Array.from({ length: 200 }, (_, i) => ({
    seconds: i,
    fraction: i,
    data: Buffer.alloc(MAX_PACKET_BYTES - i, i),
  }));
  const { packets, warnings } = await readBytes(
    pcapFile({ little: true, magic: 0xa1b23c4d, snap_length: MAX_PACKET_BYTES }, records),
  );
  expect(warnings).toEqual([]);
  expect(packets.length).toBe(200);
  expect(packets.every(({ data, seconds }, i) => seconds === i && data === records[i].data.toString('hex'))).toBe(true);
});

test('a captured length above the limit stops there', async () => {
  const file = pcapFile({ little: false, magic: 0xa1b23c4d }, [
    RECORDS[0],
    { ...RECORDS[1], captured: MAX_PACKET_BYTES + 1 },
    RECORDS[3],
  ]);
  const { packets, warnings } = await readBytes(file);
  expect(packets.length).toBe(1);
  expect(warnings).toEqual([
    { source: 'test', message: expect.stringContaining('claims 262145 captured bytes'), offset: 24 + 76 },
  ]);
});

test('more captured than on the wire is taken as captured, with one warning', async () => {
  const { packets, warnings } = await readBytes(
    pcapFile({ little: true, magic: 0xa1b23c4d }, [RECORDS[0], { ...RECORDS[0], wire: 10 }, { ...RECORDS[0], wire: 11 }]),
  );
  expect(packets.map(({ wire }) => wire)).toEqual([60, 60, 60]);
  expect(warnings).toEqual([{ source: 'test', message: expect.stringMatching(/^2 packets claim more captured/) }]);
});

test('a fraction beyond a second is carried over', async () => {
  const { packets } = await readBytes(
    pcapFile({ little: true, magic: 0xa1b23c4d }, [
      { seconds: 10, fraction: 1_000_000_000, data: payload(4) },
      { seconds: 10, fraction: 0xffff_ffff, data: payload(4) },
    ]),
  );
  expect(packets.map(({ seconds, nanoseconds }) => [seconds, nanoseconds])).toEqual([
    [11, 0],
    [14, 294_967_295],
  ]);
});

test.each([
  [250, 'RTAC_SERIAL (250)'],
  [253, 'NETLINK (253)'],
  [105, 'IEEE802_11 (105)'],
  [1234, 'unregistered (1234)'],
])('link type %i is refused by name', async (link_type, name) => {
  const { error } = await readBytes(pcapFile({ little: true, magic: 0xa1b2c3d4, link_type }, RECORDS));
  expect(error).toBeInstanceOf(CaptureFileError);
  expect(String(error)).toContain(name);
});

test('the upper bits of the link type say how long the frame check sequence is', async () => {
  const { packets, error } = await readBytes(pcapFile({ little: true, magic: 0xa1b23c4d, link_type: 0x2400_0001 }, RECORDS));
  expect(error).toBeNull();
  expect(packets.map(({ link_type }) => link_type)).toEqual([1, 1, 1, 1]);
});

test.each([
  ['empty', Buffer.alloc(0), /is empty/],
  ['text', Buffer.from('Not a capture at all'), /is not a capture file: it begins with 4e6f7420/],
  ['one byte', Buffer.from([0xd4]), /is not a capture file/],
  ['version 1', pcapFile({ little: true, magic: 0xa1b2c3d4, version: [1, 4] }, []), /version 1\.4/],
])('no capture: %s', async (_, bytes, message) => {
  const { error } = await readBytes(bytes);
  expect(error).toBeInstanceOf(CaptureFileError);
  expect(String(error)).toMatch(message);
});
