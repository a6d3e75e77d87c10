import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_BATCH_BYTES, MAX_PACKET_BYTES } from './batch.ts';
import { CaptureFileError } from './errors.ts';
import {
  block,
  enhancedPacket,
  interfaceDescription,
  obsoletePacket,
  option,
  packed,
  payload,
  pcapFile,
  readBytes,
  sectionHeader,
  simplePacket,
} from './testing.ts';

const ETHERNET = 1;
const RTAC_SERIAL = 250;
const CUSTOM = 0x0bad;

function resolution(little: boolean, value: number): Buffer {
  return Buffer.concat([option(little, 9, Buffer.from([value])), option(little, 0, Buffer.alloc(0))]);
}

/** All block types, in one byte order: five packets. */
function section(little: boolean): Buffer[] {
  return [
    sectionHeader(little),
    interfaceDescription(little, ETHERNET, 40, option(little, 2, Buffer.from('eth0'))),
    interfaceDescription(little, 113, 0, resolution(little, 9)),
    block(little, CUSTOM, payload(9)),
    enhancedPacket(little, { data: payload(60, 1) }),
    enhancedPacket(little, { interface_: 1, stamp: 1_700_000_000_123_456_789n, data: payload(33, 2), wire: 1500 }),
    simplePacket(little, payload(40, 3), 90),
    obsoletePacket(little, { interface_: 1, stamp: 1_700_000_001_000_000_001n, data: payload(0, 4), wire: 64 }),
    block(little, 5, payload(20)),
    enhancedPacket(little, { data: payload(21, 5), options: option(little, 1, Buffer.from('a comment')) }),
  ];
}

const SECTION_PACKETS = [
  {
    seconds: 1_700_000_000,
    nanoseconds: 123_456_000,
    wire: 60,
    interface_: 0,
    link_type: 1,
    data: payload(60, 1).toString('hex'),
  },
  {
    seconds: 1_700_000_000,
    nanoseconds: 123_456_789,
    wire: 1500,
    interface_: 1,
    link_type: 113,
    data: payload(33, 2).toString('hex'),
  },
  // A simple packet block has no time of its own and belongs to the first interface, whose snap length it is cut to.
  {
    seconds: 1_700_000_000,
    nanoseconds: 123_456_789,
    wire: 90,
    interface_: 0,
    link_type: 1,
    data: payload(40, 3).toString('hex'),
  },
  { seconds: 1_700_000_001, nanoseconds: 1, wire: 64, interface_: 1, link_type: 113, data: '' },
  {
    seconds: 1_700_000_000,
    nanoseconds: 123_456_000,
    wire: 21,
    interface_: 0,
    link_type: 1,
    data: payload(21, 5).toString('hex'),
  },
];

function content(packets: readonly { frame: number; position: number }[]) {
  return packets.map(({ frame: _, position: __, ...packet }) => packet);
}

const FILES: [name: string, blocks: Buffer[], packets: typeof SECTION_PACKETS][] = [
  ['little-endian', section(true), SECTION_PACKETS],
  ['big-endian', section(false), SECTION_PACKETS],
  ['sections of both byte orders', [...section(false), ...section(true)], [...SECTION_PACKETS, ...SECTION_PACKETS]],
];

describe.each(FILES)('%s', (_, blocks, packets) => {
  const file = Buffer.concat(blocks);

  test('is read', async () => {
    const read = await readBytes(file);
    expect(read.error).toBeNull();
    expect(read.warnings).toEqual([]);
    expect(content(read.packets)).toEqual(packets);
  });

  test('is read the same in pieces of every size', async () => {
    const whole = await readBytes(file);
    for (const read_bytes of [1, 2, 3, 7, 16, 31, 61, 100]) {
      expect((await readBytes(file, { read_bytes })).packets, `${read_bytes} bytes at once`).toEqual(whole.packets);
    }
  });

  test('cut at every length: what is whole is delivered, and a warning says where', async () => {
    const starts = [0];
    const packets_before = [0];
    for (const one of blocks) {
      starts.push(starts[starts.length - 1] + one.length);
      const type = Math.min(one.readUInt32LE(0), one.readUInt32BE(0));
      packets_before.push(packets_before[packets_before.length - 1] + ([2, 3, 6].includes(type) ? 1 : 0));
    }
    for (let length = 0; length < file.length; length++) {
      const read = await readBytes(file.subarray(0, length));
      if (length < 28) {
        expect(read.error, `${length} bytes`).toBeInstanceOf(CaptureFileError);
        continue;
      }
      expect(read.error, `${length} bytes`).toBeNull();
      const whole = starts.filter((start) => start <= length).length - 1;
      expect(content(read.packets), `${length} bytes`).toEqual(packets.slice(0, packets_before[whole]));
      if (length === starts[whole]) expect(read.warnings).toEqual([]);
      else
        expect(read.warnings).toEqual([
          { source: 'test', message: expect.stringMatching(/^cut short .* missing/), offset: starts[whole] },
        ]);
    }
  });

  test('with any byte changed: what stands in front of it stays, and nothing is thrown but CaptureFileError', async () => {
    const whole = await readBytes(file);
    const ends: number[] = [];
    let at = 0;
    for (const one of blocks) {
      at += one.length;
      if ([2, 3, 6].includes(Math.min(one.readUInt32LE(0), one.readUInt32BE(0)))) ends.push(at);
    }
    await fc.assert(
      fc.asyncProperty(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), async (position, flip) => {
        const changed = Buffer.from(file);
        changed[position] ^= flip;
        const read = await readBytes(changed);
        expect(read.error === null || read.error instanceof CaptureFileError).toBe(true);
        const before = ends.filter((end) => end <= position).length;
        expect(read.packets.slice(0, before)).toEqual(whole.packets.slice(0, before));
      }),
      { numRuns: 1000 },
    );
  });
});

test('POSITION is that of a classic pcap file of the same packets', async () => {
  const packets = [payload(60, 1), payload(61, 2), payload(5, 3)];
  const records = packets.map((data, i) => ({ seconds: i, fraction: 0, data }));
  const classic = await readBytes(pcapFile({ little: true, magic: 0xa1b23c4d }, records));
  const blocks = packets.map((data, i) => enhancedPacket(true, { data, stamp: BigInt(i) * 1_000_000n }));
  const both = await readBytes(Buffer.concat([sectionHeader(true), interfaceDescription(true), ...blocks]));
  expect(both.packets).toEqual(classic.packets);
  const cut = Buffer.concat([
    sectionHeader(true),
    interfaceDescription(true),
    ...blocks.slice(0, 2),
    ...section(true).slice(0, 4),
    blocks[2],
  ]);
  expect((await readBytes(cut)).packets.map(({ position }) => position)).toEqual(classic.packets.map(({ position }) => position));
});

describe('if_tsresol and if_tsoffset (clause 4.2)', () => {
  const stamp = 1_700_000_000_123_456_789n;
  test.each<[resolution: number, units: bigint]>([
    ...[0, 1, 3, 6, 7, 9, 10, 12, 15, 18, 19, 20, 39, 127].map((exponent): [number, bigint] => [
      exponent,
      10n ** BigInt(exponent),
    ]),
    ...[0, 1, 10, 20, 23, 24, 32, 44, 63, 64, 127].map((exponent): [number, bigint] => [0x80 | exponent, 2n ** BigInt(exponent)]),
  ])('resolution 0x%s', async (value, units) => {
    const stamps = [0n, 1n, stamp, stamp / 1000n, units - 1n, units, 7n * units + units / 3n, (1n << 64n) - 1n]
      .map((one) => one & ((1n << 64n) - 1n))
      // The ring's dates end with 34 bits of seconds.
      .filter((one) => one / units < 1n << 34n);
    const blocks = stamps.map((one) => enhancedPacket(true, { stamp: one, data: payload(4) }));
    const file = Buffer.concat([
      sectionHeader(true),
      interfaceDescription(true, ETHERNET, 0, resolution(true, value)),
      ...blocks,
    ]);
    const { packets } = await readBytes(file);
    expect(packets.map(({ seconds, nanoseconds }) => [BigInt(seconds), BigInt(nanoseconds)])).toEqual(
      stamps.map((one) => [one / units, ((one % units) * 1_000_000_000n) / units]),
    );
  });

  test.each([true, false])('offset in seconds, little-endian %s', async (little) => {
    const offset = (seconds: bigint) => {
      const value = Buffer.alloc(8);
      if (little) value.writeBigInt64LE(seconds);
      else value.writeBigInt64BE(seconds);
      return option(little, 14, value);
    };
    const read = await readBytes(
      Buffer.concat([
        sectionHeader(little),
        interfaceDescription(little, ETHERNET, 0, offset(3600n)),
        interfaceDescription(little, ETHERNET, 0, offset(-3600n)),
        interfaceDescription(little, ETHERNET, 0, offset(-(10n ** 18n))),
        interfaceDescription(little, ETHERNET, 0, offset(10n ** 18n)),
        ...[0, 1, 2, 3].map((interface_) => enhancedPacket(little, { interface_, data: payload(4) })),
      ]),
    );
    expect(read.packets.map(({ seconds }) => seconds)).toEqual([1_700_003_600, 1_699_996_400, 0, 2 ** 34 - 1]);
  });
});

describe('large blocks', () => {
  const start = [sectionHeader(true), interfaceDescription(true), enhancedPacket(true, { data: payload(60, 1) })];
  const end = enhancedPacket(true, { data: payload(60, 2) });

  test('an unknown block of 17 MiB is read over', async () => {
    const { packets, warnings } = await readBytes(Buffer.concat([...start, block(true, 0x99, Buffer.alloc(17 << 20)), end]));
    expect(warnings).toEqual([]);
    expect(packets.map(({ data, position }) => [data, position])).toEqual([
      [payload(60, 1).toString('hex'), 16],
      [payload(60, 2).toString('hex'), 92],
    ]);
  });

  test('a packet with more options than a batch holds is taken, and what follows too', async () => {
    const options = Buffer.concat(Array<Buffer>(80).fill(option(true, 1, Buffer.alloc(65_000))));
    expect(options.length).toBeGreaterThan(2 * MAX_BATCH_BYTES);
    const large = enhancedPacket(true, { data: payload(99, 7), options });
    const { packets, warnings } = await readBytes(Buffer.concat([...start, large, end]));
    expect(warnings).toEqual([]);
    expect(packets.map(({ data }) => data)).toEqual(
      [payload(60, 1), payload(99, 7), payload(60, 2)].map((data) => data.toString('hex')),
    );
  });

  test('an interface with more options than a batch holds is taken', async () => {
    const options = Buffer.concat([
      option(true, 9, Buffer.from([3])),
      ...Array<Buffer>(80).fill(option(true, 1, Buffer.alloc(65_000))),
    ]);
    const packet = enhancedPacket(true, { stamp: 5001n, data: payload(4) });
    const { packets, warnings } = await readBytes(
      Buffer.concat([sectionHeader(true), interfaceDescription(true, ETHERNET, 0, options), packet]),
    );
    expect(warnings).toEqual([]);
    expect(packets.map(({ seconds, nanoseconds }) => [seconds, nanoseconds])).toEqual([[5, 1_000_000]]);
  });

  test('one cut short says how much is missing, and one that ends otherwise than it begins is not trusted', async () => {
    const large = block(true, 0x99, Buffer.alloc(2 << 20));
    const before = Buffer.concat(start);
    const cut = await readBytes(Buffer.concat([before, large.subarray(0, 1 << 20)]));
    expect(cut.packets.length).toBe(1);
    expect(cut.warnings).toEqual([
      { source: 'test', message: expect.stringContaining(`${large.length - (1 << 20)} are missing`), offset: before.length },
    ]);
    const lying = await readBytes(Buffer.concat([before, block(true, 0x99, Buffer.alloc(2 << 20), undefined, 100), end]));
    expect(lying.packets.length).toBe(1);
    expect(lying.warnings).toEqual([
      { source: 'test', message: expect.stringMatching(/at its start and 100 at its end/), offset: expect.any(Number) },
    ]);
  });

  test('the largest packets straddle batches, and come round the ring', async () => {
    const data = Array.from({ length: 200 }, (_, i) => Buffer.alloc(MAX_PACKET_BYTES - i, i));
    const blocks = data.map((one) => enhancedPacket(true, { data: one }));
    const { packets, warnings } = await readBytes(Buffer.concat([sectionHeader(true), interfaceDescription(true), ...blocks]));
    expect(warnings).toEqual([]);
    expect(packets.map((packet) => packet.data)).toEqual(data.map((one) => one.toString('hex')));
  });
});

describe('lying lengths stop where they are, and nothing before them is lost', () => {
  const start = Buffer.concat([sectionHeader(true), interfaceDescription(true), enhancedPacket(true, { data: payload(60, 1) })]);
  const end = enhancedPacket(true, { data: payload(60, 2) });
  test.each([
    ['more captured than the block holds', enhancedPacket(true, { data: payload(60), captured: 200 }), /more than its block/],
    [
      'more captured than a packet can have',
      enhancedPacket(true, { data: Buffer.alloc(MAX_PACKET_BYTES + 4) }),
      /claims 262148 captured/,
    ],
    ['a length of 0', block(true, 6, payload(60), 0, 0), /too few/],
    ['a length that differs at the end', block(true, 0x99, payload(60), undefined, 76), /at its end/],
    ['a section without byte-order magic', block(true, 0x0a0d0d0a, payload(16)), /no byte-order magic/],
    ['a section of another version', sectionHeader(true, [2, 0]), /version 2\.0/],
    ['a simple packet longer than its block', simplePacket(true, payload(20), 60), /more than its block/],
  ])('%s', async (_, lie, message) => {
    const { packets, warnings, error } = await readBytes(Buffer.concat([start, lie, end]));
    expect(error).toBeNull();
    expect(packets.length).toBe(1);
    expect(warnings).toEqual([{ source: 'test', message: expect.stringMatching(message), offset: start.length }]);
  });
});

test('a length without its padding is taken with it', async () => {
  const odd = block(true, 0x99, payload(5), 17);
  const { packets, warnings } = await readBytes(
    Buffer.concat([sectionHeader(true), interfaceDescription(true), odd, enhancedPacket(true, { data: payload(60) })]),
  );
  expect(warnings).toEqual([]);
  expect(packets.length).toBe(1);
});

test('damaged interface options are said once, and the packets read', async () => {
  const damaged = interfaceDescription(true, ETHERNET, 0, packed(true, [16, 9], [16, 400], [32, 0]));
  const { packets, warnings } = await readBytes(
    Buffer.concat([sectionHeader(true), damaged, damaged, enhancedPacket(true, { interface_: 1, data: payload(60) })]),
  );
  expect(packets.length).toBe(1);
  expect(warnings).toEqual([{ source: 'test', message: expect.stringMatching(/option/), offset: 28 }]);
});

test('packets of interfaces that are not understood or not described are skipped and counted', async () => {
  const { packets, warnings } = await readBytes(
    Buffer.concat([
      sectionHeader(true),
      interfaceDescription(true, RTAC_SERIAL),
      interfaceDescription(true, ETHERNET),
      ...[0, 1, 0, 2, 1].map((interface_) => enhancedPacket(true, { interface_, data: payload(60) })),
    ]),
  );
  expect(packets.map(({ frame, interface_ }) => [frame, interface_])).toEqual([
    [1, 1],
    [2, 1],
  ]);
  expect(warnings.map(({ message }) => message)).toEqual([
    '2 packets of link type RTAC_SERIAL (250) were skipped, which is not understood',
    expect.stringMatching(/^1 packets were skipped that name an interface/),
  ]);
});

test('a file with no interface that is understood is refused by name', async () => {
  const { packets, error } = await readBytes(
    Buffer.concat([sectionHeader(true), interfaceDescription(true, RTAC_SERIAL), enhancedPacket(true, { data: payload(60) })]),
  );
  expect(packets).toEqual([]);
  expect(error).toBeInstanceOf(CaptureFileError);
  expect(String(error)).toContain('RTAC_SERIAL (250)');
});

test('more interfaces than can be numbered cost no memory without end', async () => {
  const description = interfaceDescription(true);
  const many = Buffer.concat(Array<Buffer>(70_000).fill(description));
  const { packets, warnings } = await readBytes(
    Buffer.concat([
      sectionHeader(true),
      many,
      ...[65_535, 65_536].map((interface_) => enhancedPacket(true, { interface_, data: payload(60) })),
    ]),
  );
  expect(packets.map(({ interface_ }) => interface_)).toEqual([65_535]);
  expect(warnings.map(({ message }) => message)).toEqual([
    expect.stringMatching(/^1 packets were skipped/),
    expect.stringMatching(/^4464 interfaces above/),
  ]);
});

test.each([
  ['no byte-order magic', block(true, 0x0a0d0d0a, payload(16)), /not a capture file/],
  ['version 0.1', sectionHeader(false, [0, 1]), /version 0\.1/],
])('no capture: %s', async (_, bytes, message) => {
  const { error } = await readBytes(bytes);
  expect(error).toBeInstanceOf(CaptureFileError);
  expect(String(error)).toMatch(message);
});

test('a file without packets is no error', async () => {
  expect(await readBytes(sectionHeader(true))).toEqual({ packets: [], batches: 0, warnings: [], error: null });
});
