import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { OperatingError } from '../src/errors.ts';

// A mirror port to measure on: a pair of virtual interfaces in a namespace of its own, and what sends to it. Nothing leaves the machine,
// and no interface of it is touched.

const SEND_SOURCE = fileURLToPath(new URL('../../bench/send.c', import.meta.url));

/** Runs what is measured on a mirror port, and takes everything away again. Throws OperatingError where something is missing. */
export async function withMirrorPort<Result>(measure: (port: MirrorPort) => Promise<Result>): Promise<Result> {
  const why = whyNoMirrorPort();
  if (why !== '') throw new OperatingError('capture', why);
  const port = new MirrorPort();
  try {
    return await measure(port);
  } finally {
    await port.close();
  }
}

/** What is missing for it here, '' where nothing is. */
export function whyNoMirrorPort(): string {
  if (process.platform !== 'linux') return 'virtual interfaces are made with Linux';
  if (process.getuid?.() !== 0) return 'network namespaces need root: run it with sudo';
  if (!has('ip')) return 'ip is not installed (Debian: iproute2)';
  if (compiler() === undefined && !has('tcpreplay'))
    return 'there is no sender: install a C compiler or tcpreplay (Debian: gcc, tcpreplay)';
  return '';
}

const has = (program: string, flag = '-V'): boolean => spawnSync(program, [flag], { stdio: 'ignore' }).error === undefined;
const compiler = (): string | undefined =>
  fs.existsSync(SEND_SOURCE) ? ['cc', 'gcc', 'clang'].find((cc) => has(cc, '--version')) : undefined;

export class Running {
  readonly child: ChildProcess;
  private out = '';
  private readonly closed: Promise<unknown>;

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout?.on('data', (bytes: Buffer) => {
      this.out += bytes;
    });
    this.closed = once(child, 'close');
    this.closed.catch(() => {});
  }

  /** What it wrote. */
  async end(signal: NodeJS.Signals): Promise<string> {
    this.child.kill(signal);
    await this.closed;
    return this.out;
  }
}

/** What is sent by `s0` arrives at `m0`. Of both only the namespace knows, and with it they go. */
export class MirrorPort {
  readonly namespace = `ot-bench-${process.pid}`;
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-bench-'));
  private readonly started: Running[] = [];

  constructor() {
    execFileSync('ip', ['netns', 'add', this.namespace]);
    this.ip('link', 'add', 's0', 'type', 'veth', 'peer', 'name', 'm0');
    for (const name of ['s0', 'm0']) {
      // Else the kernel itself would speak on them.
      execFileSync('ip', ['netns', 'exec', this.namespace, 'sysctl', '-qw', `net.ipv6.conf.${name}.disable_ipv6=1`]);
      this.ip('link', 'set', name, 'up');
    }
  }

  private ip(...args: string[]): string {
    return execFileSync('ip', ['-n', this.namespace, ...args], { encoding: 'utf8' });
  }

  spawn(program: string, ...args: string[]): Running {
    const child = spawn('ip', ['netns', 'exec', this.namespace, program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    const running = new Running(child);
    this.started.push(running);
    return running;
  }

  async close(): Promise<void> {
    await Promise.all(this.started.map((running) => running.end('SIGKILL')));
    execFileSync('ip', ['netns', 'del', this.namespace]);
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

export interface Sender {
  name: string;
  command(file: string, packets_per_second: number | null): [string, ...string[]];
  /** Ends it; how many packets it has sent. */
  stop(child: Running): Promise<number>;
}

export function senderOf(folder: string): Sender {
  const cc = compiler();
  if (cc !== undefined) {
    const program = path.join(folder, 'send');
    execFileSync(cc, ['-O2', '-o', program, SEND_SOURCE], { stdio: ['ignore', 'ignore', 'inherit'] });
    return {
      name: 'bench/send.c',
      command: (file, rate) => [program, 's0', file, '4000000000', ...(rate === null ? [] : [String(rate)])],
      stop: async (running) => (JSON.parse(await running.end('SIGTERM')) as { sent: number }).sent,
    };
  }
  return {
    name: 'tcpreplay',
    command: (file, rate) => [
      ...(['tcpreplay', '-K', '--loop', '0', '-i', 's0'] as [string, ...string[]]),
      ...(rate === null ? ['--topspeed'] : ['--pps', String(rate)]),
      file,
    ],
    stop: async (running) => Number(/(\d+) packets/.exec(await running.end('SIGINT'))?.[1]),
  };
}

/** The last core, where there is more than one: the sender has it, and what the kernel does to deliver its packets. */
export function pinned([program, ...args]: [string, ...string[]]): [string, ...string[]] {
  const cores = os.availableParallelism();
  return cores > 1 && has('taskset') ? ['taskset', '-c', String(cores - 1), program, ...args] : [program, ...args];
}
