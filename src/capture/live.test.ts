import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { MirrorPorts, numberedFrame, type Program, whyNoLiveCapture } from '../../native-bindings/pcap/testing.ts';
import type { InterfaceReport } from './live.ts';
import { LiveCaptureError, LiveSource } from './live.ts';

const skipped = whyNoLiveCapture() !== '';

/** Opens what it is told and reads it to the end, and says what came; what it hears meanwhile it does. */
const READER = `
  const { LiveSource } = await import(root + 'src/capture/live.js');
  const { BatchWriter, PacketRing, CAPTURED, INTERFACE, MAX_BATCH_BYTES, MAX_BATCH_PACKETS, OFFSET, POSITION, WIRE } = await import(root + 'src/capture/batch.js');
  const { createHash } = await import('node:crypto');
  const ring = new PacketRing();
  const batch = new BatchWriter(ring);
  const told = await hear();
  let source;
  try {
    source = await LiveSource.open({ ...told.options, onEvent: (name, state, message) => say({ event: name, state, message }) });
  } catch (error) {
    say({ refused: error.name, message: error.message });
    process.exit();
  }
  say({ ready: source.statistics().map(({ state }) => state) });
  let slow_ms = told.slow_ms ?? 0;
  (async () => {
    for (;;) {
      const command = await hear();
      if (command.stop) source.stop();
      if (command.close) source.close();
      if (command.hurry) slow_ms = 0;
      // As a fault in native code of its thread would, or the end of its memory.
      if (command.kill_thread) await source.worker.terminate();
      if (command.statistics) say({ statistics: source.statistics() });
      if (command.filter !== undefined) say(await source.setFilter(command.name, command.filter).then(() => ({ filter: null }), (error) => ({ filter: error.message })));
    }
  })();
  // By interface: packets, captured bytes, a hash of all bytes in their order, numbers that came out of turn, the first packets.
  const seen = told.options.interfaces.map(() => ({ packets: 0, bytes: 0, hash: createHash('sha256'), out_of_turn: 0, last: -1, first: [] }));
  let position = 0, batches = 0, wrong = '';
  for (;;) {
    let used;
    try {
      used = await source.fill(batch);
    } catch (error) {
      say({ failed: error.name, message: error.message });
      break;
    }
    if (used === null) break;
    if (batch.count < 1 || batch.count > MAX_BATCH_PACKETS || used > MAX_BATCH_BYTES) wrong ||= 'a batch of ' + batch.count + ' packets, ' + used + ' bytes';
    const { start } = batch;
    const { first_frame, count } = batch.next(used);
    for (let frame = first_frame, at = start; frame < first_frame + count; frame++) {
      const entry = ring.index.subarray(ring.entry(frame));
      at += 16;
      position = (position + 16) >>> 0;
      if (entry[OFFSET] !== at || entry[POSITION] !== position) wrong ||= 'frame ' + frame + ' lies at ' + entry[OFFSET] + ', position ' + entry[POSITION];
      const one = seen[entry[INTERFACE] >>> 16];
      const data = Buffer.from(ring.bytes.subarray(at, at + entry[CAPTURED]));
      one.packets++;
      one.bytes += data.length;
      one.hash.update(data);
      if (one.first.length < 10) one.first.push(data.toString('hex'));
      const number = data.length >= 18 ? data.readUInt32BE(14) : -1;
      if (number !== one.last + 1) one.out_of_turn++;
      one.last = number;
      at += entry[CAPTURED];
      position = (position + entry[CAPTURED]) >>> 0;
    }
    batches++;
    if (slow_ms > 0) await new Promise((resolve) => setTimeout(resolve, slow_ms));
  }
  source.close();
  await source.finished();
  say({ batches, wrong, seen: seen.map(({ hash, ...rest }) => ({ ...rest, hash: hash.digest('hex') })), warnings: source.warnings, statistics: source.statistics(), bytes_read: source.bytes_read });
  process.exit();
`;

interface Seen {
  packets: number;
  bytes: number;
  hash: string;
  out_of_turn: number;
  first: string[];
}
interface Result {
  batches: number;
  wrong: string;
  seen: Seen[];
  warnings: { source: string; message: string }[];
  statistics: InterfaceReport[];
  bytes_read: number;
}

const dropped = ({ dropped_by_kernel, dropped_by_us }: InterfaceReport): number =>
  dropped_by_kernel + dropped_by_us.overload + dropped_by_us.closed;
const later = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe.skipIf(skipped)('live capture', () => {
  let ports: MirrorPorts;
  let program: Program;
  const events: { event: string; state: string; message: string }[] = [];

  async function answer<T>(key: keyof T): Promise<T> {
    for (;;) {
      const said = await program.next<Record<string, unknown>>();
      if ('event' in said) events.push(said as never);
      else if (key in said) return said as T;
      else throw new Error(JSON.stringify(said));
    }
  }
  async function event(name: string, state: string): Promise<void> {
    while (!events.some((one) => one.event === name && one.state === state)) events.push(await program.next());
  }
  /** Opens interfaces: names, or names with options. */
  async function open(
    interfaces: (string | { name: string })[],
    more: { slow_ms?: number; options?: object } = {},
  ): Promise<string[]> {
    program = ports.start(READER);
    const named = interfaces.map((one) => (typeof one === 'string' ? { name: one } : one));
    program.tell({ ...more, options: { interfaces: named, ...more.options } });
    return (await answer<{ ready: string[] }>('ready')).ready;
  }
  async function result(): Promise<Result> {
    const read = await answer<Result>('seen');
    expect(read.wrong).toBe('');
    for (const [i, report] of read.statistics.entries()) {
      expect(report.received, report.name).toBe(report.handed_over + dropped(report));
      expect(report.handed_over, report.name).toBe(read.seen[i].packets);
    }
    return read;
  }
  async function stopped(): Promise<Result> {
    program.tell({ stop: true });
    const read = await result();
    for (const report of read.statistics) expect(report.dropped_by_us.closed).toBe(0);
    return read;
  }
  const numbered = (name: string, count: number, length = 60): string =>
    ports.frames(
      name,
      Array.from({ length: count }, (_, i) => numberedFrame(i, length)),
    );

  beforeAll(() => {
    ports = new MirrorPorts(3);
  });
  beforeEach(() => {
    events.length = 0;
  });
  afterEach(() => program?.kill());
  afterAll(() => ports?.close());

  test('hands over every packet, in order, until it is stopped', async () => {
    expect(await open(['m0'])).toEqual(['capturing']);
    const before = ports.counters('m0').received;
    await ports.send(numbered('order.pcap', 50_000), { packets_per_second: 50_000 });
    const { seen, statistics, bytes_read } = await stopped();
    expect(seen[0]).toMatchObject({ packets: 50_000, bytes: 3_000_000, out_of_turn: 0 });
    expect(statistics[0]).toMatchObject({
      received: 50_000,
      dropped_by_kernel: 0,
      state: 'capturing',
      link_type: 1,
      nanoseconds: true,
    });
    expect(bytes_read).toBe(3_000_000);
    expect(ports.counters('m0').received - before).toBe(50_000);
  });

  test('gives what a silent interface received last, without waiting for more', async () => {
    await open(['m0']);
    await ports.send(numbered('last.pcap', 1));
    await later(300);
    program.tell({ statistics: true });
    const { statistics } = await answer<{ statistics: InterfaceReport[] }>('statistics');
    expect(statistics[0]).toMatchObject({ received: 1, handed_over: 1 });
    expect((await stopped()).seen[0].packets).toBe(1);
  });

  test('filters in the kernel, and anew while it runs', async () => {
    await open([{ name: 'm0', filter: 'ether[14:4] & 1 = 0' } as never]);
    await ports.send(numbered('even.pcap', 1000));
    program.tell({ name: 'm0', filter: 'ether[14:4] & 3 = 3' });
    expect(await answer('filter')).toEqual({ filter: null });
    await ports.send(numbered('even.pcap', 1000));
    program.tell({ name: 'm0', filter: 'ether & (' });
    expect(await answer('filter')).toEqual({ filter: expect.stringMatching(/^m0: the filter "ether & \(" is not understood: /) });
    program.tell({ name: 'm7', filter: '' });
    expect(await answer('filter')).toEqual({ filter: 'm7: is not being captured from; there are m0' });
    await ports.send(numbered('even.pcap', 1000));
    const { statistics } = await stopped();
    expect(statistics[0]).toMatchObject({ received: 500 + 250 + 250, filter: 'ether[14:4] & 3 = 3' });
  });

  test('gives tags back that the network card took off: 802.1Q, priority, 802.1ad, stacked', async () => {
    await open(['m0']);
    const frames = [
      numberedFrame(1, 64, [[0x8100, 100]]),
      numberedFrame(2, 64, [[0x8100, 0xa000]]),
      numberedFrame(3, 64, [[0x8100, 0]]),
      numberedFrame(4, 68, [
        [0x88a8, 200],
        [0x8100, 300],
      ]),
      numberedFrame(5, 68, [
        [0x8100, 1],
        [0x8100, 2],
      ]),
      numberedFrame(6, 60),
      numberedFrame(7, 9014, [[0x8100, 0x6fff]]),
    ];
    await ports.send(ports.frames('vlan.pcap', frames));
    const { seen } = await stopped();
    expect(seen[0].first).toEqual(frames.map((frame) => frame.toString('hex')));
  });

  test('keeps a snap length, and frames larger than any network takes whole', async () => {
    await open(['m0', { name: 'm1', snap_length: 128 } as never]);
    const large = numbered('large.pcap', 200, 9014);
    await ports.send(large, { pair: 0 });
    await ports.send(large, { pair: 1 });
    const { seen } = await stopped();
    expect(seen.map(({ packets, bytes }) => [packets, bytes])).toEqual([
      [200, 200 * 9014],
      [200, 200 * 128],
    ]);
  });

  test('puts several interfaces into one order of frames', async () => {
    await open(['m0', 'm1', 'm2']);
    const files = [20_000, 15_000, 10_000].map((count, pair) => ({ pair, file: numbered(`several-${pair}.pcap`, count) }));
    await Promise.all(files.map(({ pair, file }) => ports.send(file, { pair, packets_per_second: 20_000 })));
    const { seen, batches } = await stopped();
    expect(seen.map(({ packets, out_of_turn }) => [packets, out_of_turn])).toEqual([
      [20_000, 0],
      [15_000, 0],
      [10_000, 0],
    ]);
    expect(batches).toBeGreaterThan(10);
  });

  test('goes on when an interface goes down and comes up', async () => {
    await open(['m0', 'm1']);
    const file = numbered('down.pcap', 1000);
    await ports.send(file);
    ports.ip('link', 'set', 'm0', 'down');
    await event('m0', 'down');
    await ports.send(file, { pair: 1 });
    ports.ip('link', 'set', 'm0', 'up');
    await later(100);
    events.length = 0;
    await event('m0', 'capturing');
    await ports.send(file);
    const { seen, statistics, warnings } = await stopped();
    expect(seen.map(({ packets }) => packets)).toEqual([2000, 1000]);
    expect(statistics[0]).toMatchObject({ opened: 1, state: 'capturing', message: '' });
    expect(warnings).toEqual([{ source: 'm0', message: 'the interface went down; its packets are taken again when it is up' }]);
  });

  test('goes on when an interface is taken away and comes back', async () => {
    await open(['m2', 'm1']);
    const file = numbered('away.pcap', 1000);
    await ports.send(file, { pair: 2 });
    ports.ip('link', 'del', 's2');
    await event('m2', 'absent');
    await ports.send(file, { pair: 1 });
    ports.addPair(2);
    events.length = 0;
    await event('m2', 'capturing');
    await ports.send(file, { pair: 2 });
    const { seen, statistics } = await stopped();
    expect(seen.map(({ packets }) => packets)).toEqual([2000, 1000]);
    expect(statistics[0]).toMatchObject({ opened: 2, received: 2000 });
  });

  test('says that a name does not exist and goes on with the others', async () => {
    expect(await open(['nosuch0', 'm0'])).toEqual(['absent', 'capturing']);
    await ports.send(numbered('other.pcap', 100));
    const { seen, warnings } = await stopped();
    expect(seen[1].packets).toBe(100);
    expect(warnings).toEqual([
      { source: 'nosuch0', message: expect.stringMatching(/^nosuch0: no such interface; there are .*m0/) },
    ]);
  });

  test('begins not at all where nothing can be captured from, and says why', async () => {
    const refusal = async (interfaces: object[]): Promise<string> => {
      program = ports.start(READER);
      program.tell({ options: { interfaces } });
      const { refused, message } = await answer<{ refused: string; message: string }>('refused');
      expect(refused).toBe('LiveCaptureError');
      await program.kill();
      return message;
    };
    expect(await refusal([{ name: 'nosuch0' }])).toMatch(/^nosuch0: no such interface; there are .*m0/);
    expect(await refusal([{ name: 'm0', filter: 'tcp porto 1' }])).toMatch(/^m0: the filter "tcp porto 1" is not understood: /);
  });

  test('waits for an interface that is down at the start', async () => {
    ports.ip('link', 'set', 'm1', 'down');
    expect(await open(['m1'])).toEqual(['down']);
    ports.ip('link', 'set', 'm1', 'up');
    await event('m1', 'capturing');
    await ports.send(numbered('later.pcap', 100), { pair: 1 });
    expect((await stopped()).seen[0].packets).toBe(100);
  });

  test('counts exactly what is lost when the pipeline does not keep up, and recovers', async () => {
    await open([{ name: 'm0', buffer_bytes: 1 << 20 } as never], { slow_ms: 50 });
    await ports.send(numbered('flood.pcap', 10_000, 500), { loops: 10 });
    program.tell({ hurry: true });
    await later(500);
    await ports.send(numbered('calm.pcap', 1000), { packets_per_second: 10_000 });
    const { statistics, seen } = await stopped();
    const [{ received, dropped_by_us, dropped_by_kernel, handed_over }] = statistics;
    expect(received).toBe(101_000);
    expect(dropped_by_us.overload).toBeGreaterThan(10_000);
    expect(handed_over + dropped_by_us.overload + dropped_by_kernel).toBe(101_000);
    // What came after it had recovered is all there: numbers 0 to 999, the last a thousand.
    expect(seen[0].packets).toBeGreaterThan(1000);
    expect(dropped_by_kernel).toBeLessThan(dropped_by_us.overload);
  });

  test('is closed under load, again and again', async () => {
    const file = numbered('load.pcap', 10_000);
    let done = false;
    const sending = (async () => {
      while (!done) await ports.send(file, { loops: 10 });
    })();
    for (let i = 0; i < 8; i++) {
      await open(['m0', 'm1'], { slow_ms: i % 2 === 0 ? 0 : 20 });
      await later(20 * i);
      program.tell(i % 4 < 2 ? { close: true } : { stop: true });
      if (i % 4 >= 2) program.tell({ hurry: true });
      await result();
      await program.kill();
    }
    done = true;
    await sending;
  });

  test('goes through the pipeline like a replay of the same packets', async () => {
    const capture = fileURLToPath(new URL('../../fixtures/plant.pcap', import.meta.url));
    program = ports.start(`
      const { LiveSource } = await import(root + 'src/capture/live.js');
      const { openCaptureFile } = await import(root + 'src/capture/file-source.js');
      const { Pipeline } = await import(root + 'src/engine/pipeline.js');
      const records = async (source) => {
        const pipeline = new Pipeline({ shards: 2, output: 'records', protocols: null });
        const lines = [];
        const { packets } = await pipeline.run(source, (answers) => {
          for (const { records } of answers) {
            let start = 0;
            for (const end of records.ends) {
              const { timestamp, ...line } = JSON.parse(Buffer.from(records.bytes.subarray(start, end)).toString());
              lines.push(JSON.stringify(line));
              start = end;
            }
          }
        });
        await pipeline.close();
        return { packets, lines: lines.sort() };
      };
      const source = await LiveSource.open({ interfaces: [{ name: 'm0' }] });
      const live = records(source);
      say('ready');
      await hear();
      source.stop();
      const replayed = await records(await openCaptureFile(${JSON.stringify(capture)}));
      const { packets, lines } = await live;
      say({ packets: [packets, replayed.packets], records: [lines.length, replayed.lines.length],
        different: lines.findIndex((line, i) => line !== replayed.lines[i]), statistics: source.statistics() });
      process.exit();
    `);
    expect(await program.next()).toBe('ready');
    await ports.send(capture, { packets_per_second: 5000 });
    program.tell('sent');
    const { packets, records, different, statistics } = await program.next<{
      packets: number[];
      records: number[];
      different: number;
      statistics: InterfaceReport[];
    }>();
    expect(packets[0]).toBe(packets[1]);
    expect(packets[0]).toBe(statistics[0].received);
    expect(records[0]).toBeGreaterThan(500);
    expect(records[0]).toBe(records[1]);
    expect(different).toBe(-1);
  });

  test('a capture thread that dies is a failure, not the end of a capture, and nothing waits for it', async () => {
    await open(['m0']);
    program.tell({ kill_thread: true });
    const { failed, message } = await answer<{ failed: string; message: string }>('failed');
    expect([failed, message]).toEqual(['LiveCaptureError', 'the capture thread ended, with 1']);
    await answer<Result>('seen');
  });

  test('no frame left a mirror port in all of this', () => {
    expect(ports.counters('m0').received).toBeGreaterThan(200_000);
    for (const name of ['m0', 'm1', 'm2']) expect(ports.counters(name).sent).toBe(0);
  });
});

describe('live capture, without any', () => {
  const refused = (options: Parameters<typeof LiveSource.open>[0]): Promise<string> =>
    LiveSource.open(options).then(
      () => 'opened',
      (error) => `${error instanceof LiveCaptureError} ${error.message}`,
    );

  test('refuses options that make no sense', async () => {
    expect(await refused({ interfaces: [] })).toBe('true 0 interfaces are named; 1 to 16 can be captured from');
    expect(await refused({ interfaces: [{ name: 'a' }, { name: 'a' }] })).toBe('true a: is named twice');
    expect(await refused({ interfaces: [{ name: 'a', snap_length: 63 }] })).toMatch(/^true a: a snap length of 63 bytes; /);
    expect(await refused({ interfaces: [{ name: 'a', buffer_bytes: 2 ** 31 }] })).toMatch(
      /^true a: a buffer of 2147483648 bytes; /,
    );
    expect(await refused({ interfaces: [{ name: 'a' }], timeout_ms: 0 })).toMatch(/^true a timeout of 0 ms; /);
  });
});
