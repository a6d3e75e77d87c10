/** For tests of live capture: a mirror port in a network namespace of its own, frames sent to it, programs run beside it. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { PcapWriter } from '../../src/capture/pcap-writer.ts';
import { loadPcap } from './index.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const NEEDED = 'OT_SENSOR_REQUIRE_LIVE';
/** AddressSanitizer's library and the addon built with it, for the programs alone; it has to see them end of themselves. */
const { OT_SENSOR_PCAP_PRELOAD: PRELOAD, OT_SENSOR_PCAP_TESTED: TESTED } = process.env;
export const SANITIZED = PRELOAD !== undefined;
const END_MS = 20_000;

/** Why live capture cannot be tested here, '' where it can. With OT_SENSOR_REQUIRE_LIVE=1 that it cannot is an error. */
export function whyNoLiveCapture(): string {
  const why = reason();
  if (why !== '' && process.env[NEEDED] === '1') throw new Error(`${NEEDED}=1, but ${why}`);
  if (why !== '') console.warn(`SKIPPED: live capture is not tested: ${why}`);
  return why;
}

function reason(): string {
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  for (const tool of ['ip', 'tcpreplay', 'tcpdump']) {
    if (spawnSync(tool, ['-V']).error !== undefined) return `${tool} is not installed (Debian: iproute2, tcpreplay, tcpdump)`;
  }
  try {
    loadPcap();
  } catch (error) {
    return (error as Error).message;
  }
  if (!fs.existsSync(path.join(ROOT, 'dist/src/capture/capture-thread.js'))) return 'it is not built: npm run build';
  const name = `ot-probe-${process.pid}`;
  if (spawnSync('ip', ['netns', 'add', name]).status !== 0) return 'network namespaces cannot be made here';
  execFileSync('ip', ['netns', 'del', name]);
  return '';
}

/** An Ethernet frame of `length` bytes that carries its number, with `tags` (EtherType and TCI, 4 bytes each) as they lie on the wire. */
export function numberedFrame(number: number, length = 60, tags: [ethertype: number, tci: number][] = []): Buffer {
  const frame = Buffer.alloc(length);
  frame.write('020000000001020000000002', 'hex');
  let at = 12;
  for (const [ethertype, tci] of tags) {
    at = frame.writeUInt16BE(ethertype, at);
    at = frame.writeUInt16BE(tci, at);
  }
  // Local Experimental EtherType 1 (IEEE 802, 9.2.4).
  at = frame.writeUInt16BE(0x88b5, at);
  at = frame.writeUInt32BE(number, at);
  for (; at < length; at++) frame[at] = (number + at) & 0xff;
  return frame;
}

/** Writes frames into a capture file for `send`. */
export function writeFrames(file: string, frames: Iterable<Uint8Array>): string {
  const writer = new PcapWriter(file, [1]);
  for (const frame of frames) writer.write(frame, 0, frame.length, frame.length, 1, 0, 1);
  writer.close();
  return file;
}

let namespaces = 0;

/** A namespace with pairs of interfaces: what is sent by `s0` arrives at the mirror port `m0`, and so on. */
export class MirrorPorts {
  readonly namespace = `ot-live-${process.pid}-${namespaces++}`;
  private programs = 0;
  readonly directory = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-live-'));

  constructor(pairs = 1) {
    execFileSync('ip', ['netns', 'add', this.namespace]);
    this.ip('link', 'set', 'lo', 'up');
    for (let i = 0; i < pairs; i++) this.addPair(i);
  }

  addPair(i: number): void {
    this.ip('link', 'add', `s${i}`, 'mtu', '9000', 'type', 'veth', 'peer', 'name', `m${i}`, 'mtu', '9000');
    for (const name of [`s${i}`, `m${i}`]) {
      // Else the kernel itself would speak on them: router solicitations, listener reports.
      this.execute('sysctl', '-qw', `net.ipv6.conf.${name}.disable_ipv6=1`);
      this.ip('link', 'set', name, 'up');
    }
  }

  ip(...args: string[]): string {
    return execFileSync('ip', ['-n', this.namespace, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  }

  execute(program: string, ...args: string[]): string {
    return execFileSync('ip', ['netns', 'exec', this.namespace, program, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  frames(name: string, frames: Iterable<Uint8Array>): string {
    return writeFrames(path.join(this.directory, name), frames);
  }

  /** Sends a capture file by `s<pair>`, `loops` times, as fast as it goes where `packets_per_second` is left out. */
  async send(file: string, options: { pair?: number; loops?: number; packets_per_second?: number } = {}): Promise<void> {
    const { pair = 0, loops = 1, packets_per_second } = options;
    const speed = packets_per_second === undefined ? ['--topspeed'] : ['--pps', String(packets_per_second)];
    const args = [
      'netns',
      'exec',
      this.namespace,
      'tcpreplay',
      '-q',
      '-K',
      '-i',
      `s${pair}`,
      '--loop',
      String(loops),
      ...speed,
      file,
    ];
    const child = spawn('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (bytes: Buffer) => {
      stderr += bytes;
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    if (code !== 0) throw new Error(`tcpreplay: ${stderr}`);
  }

  /** Frames that an interface has sent and received, by the kernel's count. */
  counters(name: string): { sent: number; received: number } {
    const [link] = JSON.parse(this.ip('-j', '-s', 'link', 'show', name));
    return { sent: link.stats64.tx.packets, received: link.stats64.rx.packets };
  }

  /**
   * Runs a module in the namespace; it may import what was built: `root` is the folder. It speaks to us by `say(value)` and hears by
   * `await hear()`.
   */
  start(program: string): Program {
    const file = path.join(this.directory, `program-${this.programs++}.mjs`);
    fs.writeFileSync(file, PRELUDE + program);
    return new Program(this.namespace, file);
  }

  close(): void {
    execFileSync('ip', ['netns', 'del', this.namespace]);
    fs.rmSync(this.directory, { recursive: true, force: true });
  }
}

const PRELUDE = `
  const root = ${JSON.stringify(pathToFileURL(path.join(ROOT, 'dist/')).href)};
  const say = (value) => process.stdout.write(JSON.stringify(value) + '\\n');
  const heard = [], waiting = [];
  let rest = '';
  process.stdin.on('data', (bytes) => {
    rest += bytes;
    for (let end; (end = rest.indexOf('\\n')) >= 0; rest = rest.slice(end + 1)) {
      const line = JSON.parse(rest.slice(0, end));
      if (waiting.length > 0) waiting.shift()(line);
      else heard.push(line);
    }
  });
  process.stdin.on('end', () => process.exit());
  const hear = () => (heard.length > 0 ? Promise.resolve(heard.shift()) : new Promise((resolve) => waiting.push(resolve)));
`;

/** A program that runs in the namespace. */
export class Program {
  private readonly child;
  private readonly said: unknown[] = [];
  private readonly listeners: ((value: unknown) => void)[] = [];
  private stderr = '';
  private ended: string | null = null;
  private rest = '';

  constructor(namespace: string, file: string) {
    const preload = PRELOAD === undefined ? [] : ['env', `LD_PRELOAD=${PRELOAD}`, `OT_SENSOR_PCAP_ADDON=${TESTED}`];
    const args = ['netns', 'exec', namespace, ...preload, process.execPath, '--expose-gc', file];
    this.child = spawn('ip', args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.child.stderr.on('data', (bytes: Buffer) => {
      this.stderr += bytes;
    });
    this.child.stdout.on('data', (bytes: Buffer) => {
      this.rest += bytes;
      for (let end = this.rest.indexOf('\n'); end >= 0; end = this.rest.indexOf('\n')) {
        this.said.push(JSON.parse(this.rest.slice(0, end)));
        this.rest = this.rest.slice(end + 1);
      }
      this.deliver();
    });
    this.child.on('close', (code, signal) => {
      this.ended = `the program ended (${signal ?? code}): ${this.stderr}`;
      this.deliver();
    });
  }

  private deliver(): void {
    while (this.listeners.length > 0 && (this.said.length > 0 || this.ended !== null)) this.listeners.shift()!(this.said.shift());
  }

  tell(value: unknown): void {
    this.child.stdin.write(`${JSON.stringify(value)}\n`);
  }

  /** The next thing that the program says. Rejects where it has ended. */
  async next<T>(): Promise<T> {
    const value = await new Promise<unknown>((resolve) => {
      this.listeners.push(resolve);
      this.deliver();
    });
    if (value === undefined) throw new Error(this.ended ?? 'nothing was said');
    return value as T;
  }

  async kill(): Promise<void> {
    const closed = this.ended === null ? new Promise((resolve) => this.child.on('close', resolve)) : null;
    // It ends with its input; only then are leaks looked for.
    const late = PRELOAD === undefined ? undefined : setTimeout(() => this.child.kill('SIGKILL'), END_MS);
    if (late === undefined) this.child.kill('SIGKILL');
    else this.child.stdin.end();
    await closed;
    clearTimeout(late);
  }
}
