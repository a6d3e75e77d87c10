import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { MirrorPorts, numberedFrame, type Program, whyNoLiveCapture } from '../../native-bindings/pcap/testing.ts';
import { bytes, ethernet, ipv4, MAC_A, MAC_B, u16, u32 } from '../decode/testing.ts';
import { openCaptureFile } from './file-source.ts';
import { filterExpression } from './filter.ts';
import { readThrough } from './testing.ts';

const skipped = whyNoLiveCapture() !== '';
const PLANT = fileURLToPath(new URL('../../fixtures/plant.pcap', import.meta.url));

/** Takes in what its interfaces give until it is told to stop: the records there were, and what was counted by interface. */
const RECORDER = `
  const { LiveSource } = await import(root + 'src/capture/live.js');
  const { openCaptureFile } = await import(root + 'src/capture/file-source.js');
  const { Pipeline } = await import(root + 'src/engine/pipeline.js');
  const { options, beside } = await hear();
  const records = async (source) => {
    const pipeline = new Pipeline({ shards: 1, output: 'records', protocols: null });
    const lines = [];
    await pipeline.run(source, (answers) => {
      for (const { records } of answers) {
        let start = 0;
        for (const end of records.ends) {
          const { timestamp, frame, ...line } = JSON.parse(Buffer.from(records.bytes.subarray(start, end)).toString());
          lines.push(JSON.stringify(line));
          start = end;
        }
      }
    });
    await pipeline.close();
    return lines;
  };
  const source = await LiveSource.open(options);
  const live = records(source);
  say('ready');
  await hear();
  source.stop();
  const lines = await live;
  const beside_lines = beside === undefined ? [] : await records(await openCaptureFile(beside));
  say({ count: lines.length, different: beside === undefined ? null : lines.findIndex((line, i) => line !== beside_lines[i]), beside: beside_lines.length,
    records: lines.slice(0, 3).map((line) => JSON.parse(line)), statistics: source.statistics() });
  process.exit();
`;
interface Recorded {
  count: number;
  beside: number;
  different: number;
  records: Record<string, unknown>[];
  statistics: { name: string; received: number; handed_over: number; dropped_by_kernel: number; state: string }[];
}

describe.skipIf(skipped)('on a mirror port', () => {
  let ports: MirrorPorts;
  let program: Program;
  const record = async (options: object, beside?: string): Promise<void> => {
    program = ports.start(RECORDER);
    program.tell({ options, beside });
    expect(await program.next()).toBe('ready');
  };
  const recorded = async (): Promise<Recorded> => {
    program.tell('stop');
    const answer = await program.next<Recorded>();
    for (const { received, handed_over, dropped_by_kernel } of answer.statistics) {
      expect(dropped_by_kernel).toBe(0);
      expect(handed_over).toBe(received);
    }
    return answer;
  };
  afterEach(async () => {
    await program?.kill();
    ports?.close();
  });

  test('sixteen interfaces at once, each with a filter of its own', async () => {
    ports = new MirrorPorts(16);
    // On interface i VLANs 1 to 16 come in, and it wants all but the first i.
    const frames = Array.from({ length: 16 * 100 }, (_, i) => numberedFrame(i, 64, [[0x8100, 1 + (i % 16)]]));
    const file = ports.frames('vlans.pcap', frames);
    const exclude = (count: number) => Array.from({ length: count }, (_, i) => `vlan ${1 + i}`);
    await record({
      interfaces: Array.from({ length: 16 }, (_, i) => ({
        name: `m${i}`,
        filter: filterExpression({ include: [], exclude: exclude(i) }),
      })),
    });
    await Promise.all(Array.from({ length: 16 }, (_, pair) => ports.send(file, { pair, packets_per_second: 5000 })));
    const { statistics } = await recorded();
    expect(statistics.map(({ name, received }) => [name, received])).toEqual(
      Array.from({ length: 16 }, (_, i) => [`m${i}`, 1600 - 100 * i]),
    );
    for (let i = 0; i < 16; i++) expect(ports.counters(`m${i}`).sent).toBe(0);
  }, 30_000);

  test('ERSPAN that a switch sends to our address is the traffic that it mirrors', async () => {
    ports = new MirrorPorts(1);
    ports.ip('link', 'set', 'm0', 'address', MAC_B.match(/../g)!.join(':'));
    ports.ip('address', 'add', '10.0.0.2/24', 'dev', 'm0');
    const { packets } = await readThrough(await openCaptureFile(PLANT));
    expect(packets.length).toBeGreaterThan(900);
    // GRE with a sequence number (RFC 2890), ERSPAN type II (draft-foschiano-erspan, 4.2): version 1, no VLAN, session 7.
    const mirrored = packets.map(({ data }, i) => {
      const erspan = bytes(u16(0x1000), u16(7), u32(0), data);
      return ethernet(0x0800, ipv4(bytes(u16(0x1000), u16(0x88be), u32(i), erspan), { protocol: 47 }), MAC_A, MAC_B);
    });
    await record({ interfaces: [{ name: 'm0', filter: 'ip proto 47' }] }, PLANT);
    await ports.send(ports.frames('erspan.pcap', mirrored), { packets_per_second: 5000 });
    const { count, beside, different, statistics } = await recorded();
    expect(statistics[0].received).toBe(packets.length);
    expect(count).toBeGreaterThan(500);
    expect([count, different]).toEqual([beside, -1]);
  });

  test('what the network card put together (GRO, TSO) is read whole, beyond the MTU', async () => {
    ports = new MirrorPorts(1);
    const client = `${ports.namespace}-c`;
    execFileSync('ip', ['netns', 'add', client]);
    try {
      for (const name of ['s0', 'm0']) ports.ip('link', 'set', name, 'mtu', '1500');
      ports.ip('link', 'set', 's0', 'netns', client);
      const inClient = (...args: string[]) => execFileSync('ip', ['-n', client, ...args]);
      inClient('address', 'add', '10.9.0.1/24', 'dev', 's0');
      inClient('link', 'set', 's0', 'up');
      ports.ip('address', 'add', '10.9.0.2/24', 'dev', 'm0');
      await record({ interfaces: [{ name: 'm0', filter: 'tcp dst port 502' }] });
      const server = ports.start(`
        const net = await import('node:net');
        let got = 0;
        net.createServer((socket) => socket.on('data', (data) => { got += data.length; if (got === 12 * 20_000) { say(got); socket.end(); } })).listen(502, () => say('listening'));
      `);
      expect(await server.next()).toBe('listening');
      // Reads of one register, back to back.
      const sender = `
        const requests = Buffer.alloc(12 * 20000);
        for (let i = 0; i < 20000; i++) requests.writeUInt16BE(i, 12 * i), requests.write('000000060103000a0001', 12 * i + 2, 'hex');
        require('net').connect(502, '10.9.0.2').end(requests).resume();
      `;
      execFileSync('ip', ['netns', 'exec', client, process.execPath, '-e', sender], { timeout: 20_000 });
      expect(await server.next()).toBe(12 * 20_000);
      await server.kill();
      const { count, statistics, records } = await recorded();
      expect(count).toBe(20_000);
      expect(records[0]).toMatchObject({ app_proto: 'modbus', status: 'ok', dest_ip: '10.9.0.2' });
      // 240,000 bytes in frames of 1514 would be 165 of them.
      expect(statistics[0].received).toBeLessThan(120);
    } finally {
      execFileSync('ip', ['netns', 'del', client]);
    }
  }, 30_000);

  test('a cable that is pulled and put back', async () => {
    ports = new MirrorPorts(1);
    const file = ports.frames(
      'cable.pcap',
      Array.from({ length: 500 }, (_, i) => numberedFrame(i)),
    );
    await record({ interfaces: [{ name: 'm0' }] });
    await ports.send(file);
    ports.ip('link', 'set', 's0', 'down');
    expect(ports.ip('link', 'show', 'm0')).toContain('NO-CARRIER');
    await new Promise((resolve) => setTimeout(resolve, 700));
    ports.ip('link', 'set', 's0', 'up');
    await ports.send(file);
    const { statistics } = await recorded();
    expect(statistics[0]).toMatchObject({ received: 1000, state: 'capturing' });
    expect(ports.counters('m0').sent).toBe(0);
  });
});
