import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { MirrorPorts, numberedFrame, type Program, SANITIZED, whyNoLiveCapture } from './testing.ts';

const skipped = whyNoLiveCapture() !== '';
/** AddressSanitizer sees each byte that is lost, at a tenth of the speed: it needs no thousand times. */
const TIMES = SANITIZED ? 100 : 1000;
const SOON_MS = SANITIZED ? 8000 : 1000;

/** Opens m0 with these options over the usual ones, and has memory for a batch. */
const OPENING = `
  const { loadPcap, FILL, ENDED, EVENT, STATISTICS } = await import(root + 'native-bindings/pcap/index.js');
  const pcap = loadPcap();
  const usual = { snap_length: 65535, buffer_bytes: 1 << 20, promiscuous: true, timeout_ms: 10, immediate: false, own_frames: true, filter: '' };
  const open = (options, name = 'm0') => {
    const opened = pcap.open(name, { ...usual, ...options });
    pcap.start(opened.id, 5 << 16 | 1);
    return opened.id;
  };
  const bytes = new Uint8Array(new SharedArrayBuffer(1 << 20));
  const index = new Uint32Array(new SharedArrayBuffer(64 * 32));
  const out = new Uint32Array(8);
  const counts = new Float64Array(5);
  const codeOf = (f) => { try { f(); return null; } catch (error) { return error.code; } };
`;

describe.skipIf(skipped)('the addon', () => {
  let ports: MirrorPorts;
  const programs: Program[] = [];
  const start = (program: string): Program => {
    const started = ports.start(OPENING + program);
    programs.push(started);
    return started;
  };
  beforeAll(() => {
    ports = new MirrorPorts(2);
  });
  afterEach(async () => {
    for (const program of programs.splice(0)) await program.kill();
  });
  afterAll(() => ports?.close());

  test('has no function that sends linked in', () => {
    const addon = fs.readFileSync(path.join(fileURLToPath(new URL('.', import.meta.url)), 'build/Release/pcap.node'), 'latin1');
    expect(addon).toContain('pcap_dispatch');
    for (const name of ['pcap_inject', 'pcap_sendpacket', 'sendmsg', 'sendto', 'sendmmsg']) expect(addon).not.toContain(name);
  });

  test('lists the interfaces', async () => {
    ports.ip('link', 'set', 'm1', 'down');
    ports.ip('address', 'add', '192.0.2.7/24', 'dev', 's1');
    const list = await start('say(pcap.listInterfaces());').next<Record<string, unknown>[]>();
    ports.ip('link', 'set', 'm1', 'up');
    const by = (name: string) => list.find((one) => one.name === name);
    expect(by('m0')).toEqual({ name: 'm0', description: '', addresses: [], up: true, running: true, loopback: false });
    expect(by('m1')).toMatchObject({ up: false });
    expect(by('s1')).toMatchObject({ addresses: ['192.0.2.7'] });
    expect(by('lo')).toMatchObject({ loopback: true, addresses: ['127.0.0.1', '::1'] });
    expect(list.every(({ name }) => /^(lo|[sm]\d)$/.test(name as string))).toBe(true);
  });

  test('writes packets and their index entries where and how batch.ts draws them', async () => {
    const program = start(`
      const id = open();
      say('open');
      await hear();
      // Slot 62 of 64: the index comes round. POSITION comes round too.
      pcap.fill([id], bytes, index, 62, 1000, 200000, 0xffffffff - 50, 4, 1000, -1, out);
      say({ out: [...out], entries: [62, 63, 0, 1].map((slot) => [...index.subarray(slot * 8, slot * 8 + 8)]), now: Date.now(),
        data: Buffer.from(bytes.subarray(1000, 1000 + out[1])).toString('hex') });
      pcap.fill([id], bytes, index, 2, 0, 200000, 0, 10, 1000, -1, out);
      pcap.statistics(id, counts);
      say({ out: [...out], counts: [...counts] });
    `);
    await program.next();
    const frames = [60, 61, 1514, 9014, 64].map((length, i) => numberedFrame(i, length));
    await ports.send(ports.frames('layout.pcap', frames));
    await new Promise((resolve) => setTimeout(resolve, 100));
    program.tell('sent');
    interface Filled {
      out: number[];
      entries: number[][];
      data: string;
      now: number;
    }
    const { out, entries, data, now } = await program.next<Filled>();
    expect(out.slice(0, 3)).toEqual([4, 4 * 16 + 60 + 61 + 1514 + 9014, 2]);
    let offset = 1000;
    for (const [i, entry] of entries.entries()) {
      const { length } = frames[i];
      offset += 16;
      const [at, captured, wire, seconds, nanoseconds, interface_, previous, position] = entry;
      expect([at, captured, wire, interface_, previous]).toEqual([offset, length, length, (5 << 16) | 1, 0]);
      expect(position).toBe((0xffffffff - 50 + (offset - 1000)) >>> 0);
      expect(Math.abs(seconds * 1000 + nanoseconds / 1e6 - now)).toBeLessThan(10_000);
      expect(data.slice((offset - 1000) * 2, (offset - 1000 + length) * 2)).toBe(frames[i].toString('hex'));
      offset += length;
    }
    expect(entries.some(([, , , , nanoseconds]) => nanoseconds % 1000 !== 0)).toBe(true);
    const rest = await program.next<{ out: number[]; counts: number[] }>();
    expect(rest.out.slice(0, 3)).toEqual([1, 16 + 64, 0]);
    expect(rest.counts).toEqual([5, 0, 0, 5, 60 + 61 + 1514 + 9014 + 64]);
  });

  test('cuts packets to the snap length and keeps their length on the wire', async () => {
    const program = start(`
      const id = open({ snap_length: 100 });
      say('open');
      await hear();
      pcap.fill([id], bytes, index, 0, 0, 4000, 0, 64, 1000, -1, out);
      say([0, 1].map((slot) => [...index.subarray(slot * 8 + 1, slot * 8 + 3)]));
    `);
    await program.next();
    const tagged = numberedFrame(2, 1000, [[0x8100, 7]]);
    await ports.send(ports.frames('snap.pcap', [numberedFrame(1, 1500), tagged]));
    await new Promise((resolve) => setTimeout(resolve, 100));
    program.tell('sent');
    expect(await program.next()).toEqual([
      [100, 1500],
      [100, 1000],
    ]);
  });

  test('is not held by a silent interface, and is woken by another thread', async () => {
    const program = start(`
      const { Worker } = await import('node:worker_threads');
      const id = open();
      const waker = pcap.createWaker();
      let before = performance.now();
      pcap.fill([id], bytes, index, 0, 0, 1 << 20, 0, 64, 150, waker, out);
      say({ took_ms: performance.now() - before, ended: out[2] });
      const worker = new Worker(
        'const { workerData, parentPort } = await import("node:worker_threads");' +
        'import(workerData.root + "native-bindings/pcap/index.js").then(({ loadPcap }) => {' +
        '  const out = new Uint32Array(4);' +
        '  const memory = [new Uint8Array(1 << 20), new Uint32Array(64 * 8), 0, 0, 1 << 20, 0, 64];' +
        '  parentPort.postMessage("waits");' +
        '  loadPcap().fill([], ...memory, 10000, workerData.waker, out);' +
        '  const first = out[2];' +
        '  loadPcap().fill([], ...memory, 1, workerData.waker, out);' +
        '  parentPort.postMessage([first, out[2]]);' +
        '});', { eval: true, workerData: { root, waker } });
      const message = () => new Promise((resolve) => worker.once('message', resolve));
      await message();
      await new Promise((resolve) => setTimeout(resolve, 100));
      before = performance.now();
      pcap.wake(waker);
      say({ ended: await message(), took_ms: performance.now() - before });
      await worker.terminate();
      pcap.closeWaker(waker);
      process.exit();
    `);
    const waited = await program.next<{ took_ms: number; ended: number }>();
    expect(waited.ended).toBe(0);
    expect(waited.took_ms).toBeGreaterThanOrEqual(145);
    expect(waited.took_ms).toBeLessThan(SOON_MS);
    const woken = await program.next<{ took_ms: number; ended: number[] }>();
    expect(woken.ended).toEqual([1, 0]);
    expect(woken.took_ms).toBeLessThan(SOON_MS);
  });

  test('says by a code what is wrong, and writes nowhere it should not', async () => {
    const program = start(`
      const id = open();
      const fill = (...changed) => codeOf(() => pcap.fill(...Object.assign([[id], bytes, index, 0, 0, 1 << 20, 0, 64, 1, -1, out], ...changed)));
      say({
        name: codeOf(() => open({}, 'nosuch0')),
        long: codeOf(() => open({}, 'm0'.padEnd(40, 'x'))),
        zero: codeOf(() => open({}, 'm0\\0x')),
        filter: codeOf(() => open({ filter: 'tcp porto 502' })),
        set_filter: codeOf(() => pcap.setFilter(id, 'vlan (')),
        snap: codeOf(() => open({ snap_length: 262145 })),
        option: codeOf(() => open({ timeout_ms: 'soon' })),
        few: codeOf(() => pcap.open('m0')),
        closed: codeOf(() => pcap.fill([id + 100], bytes, index, 0, 0, 1 << 20, 0, 64, 1, -1, out)),
        limit: fill({ 5: (1 << 20) + 1 }),
        slot: fill({ 3: 64 }),
        packets: fill({ 7: 65 }),
        small: fill({ 5: 1000 }),
        out: fill({ 10: new Uint32Array(3) }),
        kind: fill({ 2: new Int32Array(64) }),
        not_memory: fill({ 1: 'bytes' }),
        good: fill(),
      });
      pcap.close(id);
      say([codeOf(() => pcap.close(id)), codeOf(() => pcap.statistics(id, counts)), fill()]);
    `);
    expect(await program.next()).toEqual({
      ...{ name: 'NO_SUCH_INTERFACE', long: 'NO_SUCH_INTERFACE', zero: 'ARGUMENT', filter: 'FILTER', set_filter: 'FILTER' },
      ...{ snap: 'ARGUMENT', option: 'ARGUMENT', few: 'ARGUMENT', closed: 'CLOSED', limit: 'ARGUMENT', slot: 'ARGUMENT' },
      ...{ packets: 'ARGUMENT', small: 'ARGUMENT', out: 'ARGUMENT', kind: 'ARGUMENT', not_memory: 'ARGUMENT', good: null },
    });
    expect(await program.next()).toEqual([null, 'CLOSED', 'CLOSED']);
  });

  test('changes a filter without losing a packet that passes both', async () => {
    const program = start(`
      const id = open({ filter: 'ether proto 0x88b5' });
      say('open');
      let stop = false;
      hear().then(() => { stop = true; });
      let packets = 0;
      for (let i = 0, idle = 0; !stop || idle < 10; i++) {
        pcap.setFilter(id, i % 2 ? 'ether proto 0x88b5' : 'ether src 02:00:00:00:00:02');
        pcap.fill([id], bytes, index, 0, 0, 1 << 20, 0, 64, 20, -1, out);
        packets += out[0];
        idle = out[0] === 0 ? idle + 1 : 0;
        if (i % 16 === 0 || out[0] === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      pcap.statistics(id, counts);
      say({ packets, counts: [...counts] });
    `);
    await program.next();
    const file = ports.frames(
      'filter.pcap',
      Array.from({ length: 1000 }, (_, i) => numberedFrame(i)),
    );
    await ports.send(file, { loops: 20, packets_per_second: 20_000 });
    program.tell('sent');
    const { packets, counts } = await program.next<{ packets: number; counts: number[] }>();
    expect(packets).toBe(20_000);
    expect(counts.slice(0, 4)).toEqual([20_000, 0, 0, 20_000]);
  });

  test('receives nothing before start, nor after stop', async () => {
    const program = start(`
      const { id } = pcap.open('m0', usual);
      say('open');
      await hear();
      pcap.start(id, 1);
      say('started');
      await hear();
      pcap.stop(id);
      say('stopped');
      await hear();
      pcap.fill([id], bytes, index, 0, 0, 1 << 20, 0, 64, 100, -1, out);
      pcap.statistics(id, counts);
      say([out[0], counts[0], Buffer.from(bytes.subarray(16, 76)).toString('hex')]);
    `);
    const sent = [1, 2, 3].map((number) => numberedFrame(number));
    for (const [i, frame] of sent.entries()) {
      await program.next();
      await ports.send(ports.frames(`start-${i}.pcap`, [frame]));
      program.tell('sent');
    }
    expect(await program.next()).toEqual([1, 1, sent[1].toString('hex')]);
  });

  test('is opened and closed a thousand times, with and without packets, in two threads, and leaves nothing behind', async () => {
    const program = start(`
      const { Worker } = await import('node:worker_threads');
      const { readdirSync, readFileSync } = await import('node:fs');
      const files = () => readdirSync('/proc/self/fd').length;
      // Columns: sk, RefCnt, Type, Proto, Iface, … The sender's sockets are on other interfaces.
      const ours = ['m0', 'm1'].map((name) => String(pcap.interfaceIndex(name)));
      const sockets = () => readFileSync('/proc/self/net/packet', 'utf8').split('\\n').filter((line) => ours.includes(line.split(/ +/)[4])).length;
      const once = () => {
        const id = open({ filter: 'ether proto 0x88b5 or vlan' });
        pcap.fill([id], bytes, index, 0, 0, 1 << 20, 0, 64, 1, -1, out);
        pcap.close(id);
        codeOf(() => open({}, 'nosuch0'));
      };
      const failing = () => codeOf(() => open({ filter: '(' }));
      const measure = () => { gc(); return { files: files(), kilobytes: process.memoryUsage().rss / 1024 }; };
      for (let i = 0; i < 50; i++) once();
      const before = measure();
      for (let i = 0; i < ${TIMES}; i++) once();
      for (let i = 0; i < 50; i++) failing();
      const after = measure();
      // A thread that ends with open handles: its own are closed, the main thread's are not.
      const id = open();
      for (let i = 0; i < 3; i++) {
        await new Promise((resolve, reject) => new Worker('import(' + JSON.stringify(root + 'native-bindings/pcap/index.js') + ').then(({ loadPcap }) => {' +
          'const pcap = loadPcap(); for (let i = 0; i < 5; i++) pcap.start(pcap.open("m1", ' + JSON.stringify(usual) + ').id, 1); })', { eval: true })
          .on('exit', resolve).on('error', reject));
      }
      const open_after_threads = sockets();
      pcap.fill([id], bytes, index, 0, 0, 1 << 20, 0, 64, 1, -1, out);
      pcap.close(id);
      say({ before, after, open_after_threads, open_at_last: sockets() });
      process.exit();
    `);
    const file = ports.frames(
      'thousand.pcap',
      Array.from({ length: 1000 }, (_, i) => numberedFrame(i)),
    );
    let done = false;
    const sending = (async () => {
      while (!done) await ports.send(file, { loops: 5, packets_per_second: 20_000 });
    })();
    type Measure = { files: number; kilobytes: number };
    const result = await program.next<{ before: Measure; after: Measure; open_after_threads: number; open_at_last: number }>();
    done = true;
    await sending;
    expect(result.after.files).toBe(result.before.files);
    // AddressSanitizer keeps what was freed for a while, and counts leaks itself, each byte.
    const allowed_mb = SANITIZED ? 64 : 8;
    expect(result.after.kilobytes - result.before.kilobytes).toBeLessThan(allowed_mb * 1024);
    expect([result.open_after_threads, result.open_at_last]).toEqual([1, 0]);
  });

  test('is closed and ended in the middle of packets', async () => {
    const program = start(`
      const { Worker } = await import('node:worker_threads');
      const { readdirSync } = await import('node:fs');
      const capture = 'import(' + JSON.stringify(root + 'native-bindings/pcap/index.js') + ').then(({ loadPcap }) => {' +
        'const pcap = loadPcap(); const { id } = pcap.open("m0", ' + JSON.stringify(usual) + '); pcap.start(id, 1);' +
        'const bytes = new Uint8Array(new SharedArrayBuffer(1 << 20)), index = new Uint32Array(new SharedArrayBuffer(64 * 32)), out = new Uint32Array(8);' +
        'const { parentPort } = require("node:worker_threads");' +
        'for (let said = false;;) { pcap.fill([id], bytes, index, 0, 0, 1 << 20, 0, 64, 1000, -1, out); if (out[0] > 0 && !said) { said = true; parentPort.postMessage(out[0]); } } })';
      const ended = [];
      const before = readdirSync('/proc/self/fd').length;
      for (let i = 0; i < 5; i++) {
        const worker = new Worker(capture, { eval: true });
        await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
        ended.push(await worker.terminate());
      }
      let packets = 0;
      for (let i = 0; i < 50; i++) {
        const id = open();
        for (let k = 0; k < 3; k++) { pcap.fill([id], bytes, index, 0, 0, 1 << 20, 0, 64, 20, -1, out); packets += out[0]; }
        pcap.close(id);
      }
      say({ ended, packets, left: readdirSync('/proc/self/fd').length - before });
    `);
    const file = ports.frames(
      'closing.pcap',
      Array.from({ length: 1000 }, (_, i) => numberedFrame(i)),
    );
    let done = false;
    const sending = (async () => {
      while (!done) await ports.send(file, { loops: 5, packets_per_second: 20_000 });
    })();
    const result = await program.next<{ ended: number[]; packets: number; left: number }>();
    done = true;
    await sending;
    expect(result.ended).toEqual([1, 1, 1, 1, 1]);
    expect(result.packets).toBeGreaterThan(0);
    expect(result.left).toBe(0);
  });

  test('takes no number for memory that is not there', async () => {
    const program = start(`
      const id = open();
      const fill = (changed) => codeOf(() => pcap.fill(...Object.assign([[id], bytes, index, 0, 0, 1 << 20, 0, 64, 1, -1, out], changed)));
      const gone = new Uint8Array(new ArrayBuffer(1 << 20));
      structuredClone(gone.buffer, { transfer: [gone.buffer] });
      const numbers = [-1, 2 ** 32, 2 ** 32 + 1, 1e300, NaN, Infinity, -0.5];
      const odd = [];
      for (const place of [3, 4, 5, 6, 7, 8, 9]) for (const number of numbers) odd.push(fill({ [place]: number }));
      say({
        codes: [...new Set(odd)].sort(),
        detached: fill({ 1: gone }),
        text: fill({ 3: 'zero' }),
        object: fill({ 0: { length: 1, 0: id } }),
        none: fill({ 0: [undefined] }),
        many: fill({ 0: new Array(65).fill(id) }),
        bounds: ['offset', 'end'].map((at) => fill(at === 'offset' ? { 4: (1 << 20) - 10 } : { 1: bytes.subarray(0, 1000) })),
        waker: codeOf(() => pcap.wake(-1)),
        word: codeOf(() => pcap.start(id, 'one')),
        after: fill({}),
        closed_meanwhile: (() => {
          const ids = [id, 0];
          Object.defineProperty(ids, 1, { get: () => { pcap.close(id); return id; } });
          return fill({ 0: ids });
        })(),
      });
    `);
    expect(await program.next()).toEqual({
      codes: ['ARGUMENT', null],
      ...{ detached: 'ARGUMENT', text: 'ARGUMENT', object: 'ARGUMENT', none: 'CLOSED', many: 'ARGUMENT' },
      ...{ bounds: ['ARGUMENT', 'ARGUMENT'], waker: 'FAILED', word: 'ARGUMENT', after: null, closed_meanwhile: 'CLOSED' },
    });
  });

  test('no frame left a mirror port in all of this', () => {
    expect(ports.counters('m0').received).toBeGreaterThan(20_000);
    for (const name of ['m0', 'm1']) expect(ports.counters(name).sent).toBe(0);
  });
});
