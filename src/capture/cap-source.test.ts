import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { MirrorPorts, numberedFrame, type Program, whyNoLiveCapture } from '../../native-bindings/pcap/testing.ts';
import { findCap } from './cap-source.ts';
import { filterExpression } from './filter.ts';
import type { InterfaceReport } from './live.ts';

const noCap = findCap() === null;
if (noCap) console.warn('SKIPPED: the npm package cap was not built (Debian: libpcap-dev): the second backend is not tested');
const skipped = noCap || whyNoLiveCapture() !== '';

/** Opens what it is told and reads it to the end, and says what came; what it hears meanwhile it does. */
const READER = `
  const { readFileSync } = await import('node:fs');
  const told = await hear();
  Object.assign(process.env, told.env);
  const { openLive } = await import(root + 'src/capture/open-live.js');
  const { BatchWriter, PacketRing, CAPTURED, INTERFACE, OFFSET, POSITION, SECONDS, WIRE } = await import(root + 'src/capture/batch.js');
  const ring = new PacketRing();
  const batch = new BatchWriter(ring);
  let source;
  try {
    source = await openLive({ ...told.options, onEvent: (name, state, message) => say({ event: name, state, message }) });
  } catch (error) {
    say({ refused: error.name, message: error.message });
    process.exit();
  }
  say({ ready: source.statistics().map(({ state }) => state), backend: source.backend });
  (async () => {
    for (;;) {
      const command = await hear();
      if (command.stop) source.stop();
      if (command.close) source.close();
      if (command.statistics) say({ statistics: source.statistics() });
      const child = Number(readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8').trim().split(' ')[0]);
      if (command.kill) process.kill(child, command.kill);
      if (command.user) say({ uid: Number(/^Uid:\\s+(\\d+)/m.exec(readFileSync('/proc/' + child + '/status', 'utf8'))[1]) });
      if (command.filter !== undefined) say(await source.setFilter(command.name, command.filter).then(() => ({ filter: null }), (error) => ({ filter: error.message })));
    }
  })();
  const seen = told.options.interfaces.map(() => ({ packets: 0, bytes: 0, out_of_turn: 0, late_ms: 0, last: -1, first: [], wire: [] }));
  let position = 0, wrong = '';
  for (;;) {
    const used = await source.fill(batch);
    if (used === null) break;
    const { start } = batch;
    const { first_frame, count } = batch.next(used);
    for (let frame = first_frame, at = start; frame < first_frame + count; frame++) {
      const entry = ring.index.subarray(ring.entry(frame));
      at += 16;
      position = (position + 16) >>> 0;
      if (entry[OFFSET] !== at || entry[POSITION] !== position) wrong ||= 'frame ' + frame + ' lies at ' + entry[OFFSET] + ', position ' + entry[POSITION];
      const one = seen[entry[INTERFACE] >>> 16];
      if ((entry[INTERFACE] & 0xffff) !== 1) wrong ||= 'link type';
      one.packets++;
      one.bytes += entry[CAPTURED];
      one.late_ms = Math.max(one.late_ms, Math.abs(Date.now() - entry[SECONDS] * 1000));
      const data = Buffer.from(ring.bytes.subarray(at, at + entry[CAPTURED]));
      if (data.readUInt16BE(12) === 0x88b5) {
        const number = data.readUInt32BE(14);
        if (number <= one.last && number !== 0) one.out_of_turn++;
        one.last = number;
      }
      if (one.first.length < 16) { one.first.push(data.toString('hex')); one.wire.push(entry[WIRE]); }
      at += entry[CAPTURED];
      position = (position + entry[CAPTURED]) >>> 0;
    }
  }
  source.close();
  await source.finished();
  say({ wrong, seen, warnings: source.warnings, statistics: source.statistics(), bytes_read: source.bytes_read, limitations: source.limitations });
  process.exit();
`;

interface Result {
  wrong: string;
  seen: {
    packets: number;
    bytes: number;
    out_of_turn: number;
    late_ms: number;
    first: string[];
    wire: number[];
  }[];
  warnings: { source: string; message: string }[];
  statistics: InterfaceReport[];
  bytes_read: number;
  limitations: string[];
}

const later = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe.skipIf(skipped)('capture through the package cap', () => {
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
  const begin = (interfaces: (string | object)[], backend = 'cap', env: Record<string, string> = {}, user = ''): void => {
    program = ports.start(READER);
    const named = interfaces.map((one) => (typeof one === 'string' ? { name: one } : one));
    program.tell({ env, options: { backend, user, interfaces: named } });
  };
  async function open(interfaces: (string | object)[]): Promise<string[]> {
    begin(interfaces);
    return (await answer<{ ready: string[] }>('ready')).ready;
  }
  async function stopped(): Promise<Result> {
    program.tell({ stop: true });
    const read = await answer<Result>('seen');
    expect(read.wrong).toBe('');
    for (const [i, { received, handed_over, dropped_by_us }] of read.statistics.entries()) {
      expect(handed_over).toBe(read.seen[i].packets);
      expect(received).toBe(handed_over + dropped_by_us.overload + dropped_by_us.closed);
    }
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

  test('hands over every packet, in order, and says what it cannot do', async () => {
    // Room for 4096 packets while others have the processor.
    expect(await open([{ name: 'm0', buffer_bytes: 256 << 20 }])).toEqual(['capturing']);
    await ports.send(numbered('order.pcap', 20_000), { packets_per_second: 10_000 });
    const { seen, statistics, bytes_read, limitations, warnings } = await stopped();
    expect(seen[0]).toMatchObject({ packets: 20_000, bytes: 1_200_000, out_of_turn: 0 });
    expect(seen[0].late_ms).toBeLessThan(10_000);
    expect(statistics[0]).toMatchObject({ received: 20_000, nanoseconds: false, link_type: 1, opened: 1 });
    expect(bytes_read).toBe(1_200_000);
    expect(limitations.join(' ')).toMatch(/time at which they were read.*kernel drops are not counted.*promiscuous/);
    expect(warnings.map(({ message }) => message)).toEqual(limitations);
  });

  test('gives tags back, whole jumbo frames, and keeps to a snap length with the length on the wire', async () => {
    await open(['m0', { name: 'm1', snap_length: 64 }]);
    const frames = [
      numberedFrame(1, 64, [[0x8100, 100]]),
      numberedFrame(2, 64, [[0x8100, 0xa000]]),
      numberedFrame(3, 68, [
        [0x88a8, 200],
        [0x8100, 300],
      ]),
      numberedFrame(4, 60),
      numberedFrame(5, 9014),
    ];
    await ports.send(ports.frames('forms.pcap', frames));
    await ports.send(ports.frames('forms.pcap', frames), { pair: 1 });
    const { seen } = await stopped();
    expect(seen[0].first).toEqual(frames.map((frame) => frame.toString('hex')));
    expect(seen[1].first).toEqual(frames.map((frame) => frame.subarray(0, 64).toString('hex')));
    expect(seen[1].wire).toEqual(frames.map(({ length }) => length));
  });

  test('filters, and anew while it runs', async () => {
    await open([{ name: 'm0', filter: filterExpression({ include: ['vlan 20', 'vlan 30'], exclude: [] }) }]);
    const frames = [10, 20, 30].flatMap((vlan) => Array.from({ length: 100 }, (_, i) => numberedFrame(i, 64, [[0x8100, vlan]])));
    await ports.send(ports.frames('filter.pcap', frames));
    // What has not been read when a filter is replaced is lost: that is one of the limitations.
    await later(500);
    program.tell({ name: 'm0', filter: filterExpression({ include: ['vlan 10'], exclude: [] }) });
    expect(await answer('filter')).toEqual({ filter: null });
    await ports.send(ports.frames('filter.pcap', frames));
    program.tell({ name: 'm0', filter: 'ether & (' });
    expect(await answer('filter')).toEqual({ filter: expect.stringMatching(/^m0: the filter "ether & \(" is not understood: /) });
    await ports.send(ports.frames('filter.pcap', frames));
    expect((await stopped()).seen[0].packets).toBe(200 + 100 + 100);
  });

  test('goes on when an interface goes down, is taken away, and comes back', async () => {
    await open(['m0', 'm2', 'm1']);
    const file = numbered('down.pcap', 1000);
    await ports.send(file, { packets_per_second: 10_000 });
    await ports.send(file, { pair: 2, packets_per_second: 10_000 });
    await later(200);
    ports.ip('link', 'set', 'm0', 'down');
    ports.ip('link', 'del', 's2');
    await event('m0', 'down');
    await event('m2', 'absent');
    await ports.send(file, { pair: 1, packets_per_second: 10_000 });
    events.length = 0;
    ports.ip('link', 'set', 'm0', 'up');
    ports.addPair(2);
    await event('m0', 'capturing');
    await event('m2', 'capturing');
    await ports.send(file, { packets_per_second: 10_000 });
    await ports.send(file, { pair: 2, packets_per_second: 10_000 });
    const { seen, statistics } = await stopped();
    expect(seen.map(({ packets }) => packets)).toEqual([2000, 2000, 1000]);
    expect(statistics.map(({ opened }) => opened)).toEqual([2, 2, 1]);
  });

  test('starts a process again that died, and says so', async () => {
    await open(['m0']);
    await ports.send(numbered('died.pcap', 100));
    await later(200);
    program.tell({ kill: 'SIGKILL' });
    await event('m0', 'absent');
    expect(events.at(-1)!.message).toMatch(/^m0: the capture process ended \(SIGKILL\); it is started again in 500 ms$/);
    events.length = 0;
    await event('m0', 'capturing');
    await ports.send(numbered('died.pcap', 100));
    const { statistics, seen, warnings } = await stopped();
    expect(seen[0].packets).toBe(200);
    expect(statistics[0].opened).toBe(2);
    expect(warnings.some(({ message }) => message.includes('the capture process ended (SIGKILL)'))).toBe(true);
  });

  test('ends a process that hangs, and starts another', async () => {
    await open(['m0']);
    program.tell({ kill: 'SIGSTOP' });
    await event('m0', 'absent');
    events.length = 0;
    await event('m0', 'capturing');
    await ports.send(numbered('hung.pcap', 100));
    expect((await stopped()).seen[0].packets).toBe(100);
  }, 30_000);

  test('stays with the old filter when a wrong one is asked for again and again', async () => {
    await open(['m0']);
    for (let i = 0; i < 10; i++) {
      program.tell({ name: 'm0', filter: 'tcp porto 1' });
      expect(await answer('filter')).toEqual({ filter: expect.stringMatching(/is not understood/) });
    }
    await ports.send(numbered('again.pcap', 100));
    const { seen, statistics } = await stopped();
    expect(seen[0].packets).toBe(100);
    expect(statistics[0].opened).toBe(1);
  }, 30_000);

  test('captures as another user, who cannot replace a filter', async () => {
    begin(['m0'], 'cap', {}, 'nobody');
    await answer('ready');
    program.tell({ user: true });
    expect(await answer('uid')).toEqual({ uid: 65534 });
    program.tell({ name: 'm0', filter: 'tcp' });
    expect(await answer('filter')).toEqual({
      filter: expect.stringMatching(/^m0: the filter cannot be replaced without a new start: .*permi/i),
    });
    await ports.send(numbered('nobody.pcap', 100));
    expect((await stopped()).seen[0].packets).toBe(100);
  });

  test('says that a name does not exist and goes on with the others', async () => {
    expect(await open(['nosuch0', 'm0'])).toEqual(['absent', 'capturing']);
    await ports.send(numbered('other.pcap', 100));
    expect((await stopped()).seen[1].packets).toBe(100);
    expect(events.some(({ message }) => /^nosuch0: no such interface; there are .*m0/.test(message))).toBe(true);
  });

  test('begins not at all where nothing can be captured from, and says why', async () => {
    const refusal = async (...args: Parameters<typeof begin>): Promise<string> => {
      begin(...args);
      const { message } = await answer<{ refused: string; message: string }>('refused');
      await program.kill();
      return message;
    };
    expect(await refusal(['nosuch0'])).toMatch(/^nosuch0: no such interface; there are .*m0/);
    expect(await refusal(['../m0'])).toMatch(/^\.\.\/m0: no such interface/);
    expect(await refusal([{ name: 'm0', filter: 'tcp porto 1' }])).toMatch(/^m0: the filter "tcp porto 1" is not understood: /);
    const none = { OT_SENSOR_PCAP_ADDON: '/nonexistent/pcap.node', OT_SENSOR_NO_CAP: '1' };
    expect(await refusal(['m0'], 'auto', none)).toMatch(/^live capture was not built: .*; the npm package cap was not built/);
    expect(await refusal(['m0'], 'cap', none)).toMatch(/^capture\.backend is cap, and the npm package cap was not built/);
    expect(await refusal(['m0'], 'libpcap', none)).toMatch(/^live capture was not built: /);
  });

  test('is taken where our addon is not there', async () => {
    const backend = async (env: Record<string, string>) => {
      begin(['m0'], 'auto', env);
      const answered = await answer<{ backend: string }>('backend');
      await program.kill();
      return answered.backend;
    };
    expect(await backend({})).toBe('libpcap');
    expect(await backend({ OT_SENSOR_PCAP_ADDON: '/nonexistent/pcap.node' })).toBe('cap');
  });

  test('goes through the pipeline like a replay of the same packets', async () => {
    const capture = fileURLToPath(new URL('../../fixtures/plant.pcap', import.meta.url));
    program = ports.start(`
      const { openLive } = await import(root + 'src/capture/open-live.js');
      const { openCaptureFile } = await import(root + 'src/capture/file-source.js');
      const { Pipeline } = await import(root + 'src/engine/pipeline.js');
      const records = async (source) => {
        const pipeline = new Pipeline({ shards: 1, output: 'records', protocols: null });
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
        return { packets, lines };
      };
      const source = await openLive({ backend: 'cap', interfaces: [{ name: 'm0', buffer_bytes: 64 << 20 }] });
      const live = records(source);
      say('ready');
      await hear();
      source.stop();
      const replayed = await records(await openCaptureFile(${JSON.stringify(capture)}));
      const { packets, lines } = await live;
      say({ packets: [packets, replayed.packets], records: [lines.length, replayed.lines.length],
        different: lines.findIndex((line, i) => line !== replayed.lines[i]) });
      process.exit();
    `);
    expect(await program.next()).toBe('ready');
    await ports.send(capture, { packets_per_second: 2000 });
    program.tell('sent');
    const { packets, records, different } = await program.next<{ packets: number[]; records: number[]; different: number }>();
    expect(packets[0]).toBe(packets[1]);
    expect(records[0]).toBeGreaterThan(500);
    expect(records[0]).toBe(records[1]);
    expect(different).toBe(-1);
  });

  test('no frame left a mirror port in all of this', () => {
    expect(ports.counters('m0').received).toBeGreaterThan(20_000);
    for (const name of ['m0', 'm1', 'm2']) expect(ports.counters(name).sent).toBe(0);
  });
});
