import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'undici';
import { API } from '../src/api/settings.ts';
import { openManagement } from '../src/appliance/management.ts';
import { DATABASE_FILE } from '../src/store/writer.ts';
import { ROOT } from '../src/users/users.ts';
import { CLI } from './child.ts';
import { ipOf, makeDatabase } from './database.ts';
import { ensureLoad } from './load.ts';
import { type MirrorPort, pinned, senderOf, withMirrorPort } from './mirror-port.ts';
import { droppedByUs, Sensor } from './sensor.ts';
import { loadZones } from './zone-files.ts';

const USAGE = `The API over a large database: 50,000 devices, 500,000 connections, 1,000,000 alerts. Prints requests a second, and by the second of
processor time of the service, and how long answers take.

node dist/bench/api.js
  --data DIR          a data directory to use and keep; it is filled where it is empty
  --evidence BYTES    of the packet kept with each alert when it is filled; 4500 makes a database of 5 GB
  --seconds N         how long is asked (10)
  --connections N     how many ask at once (8)
  --packets N         with a sensor beside it that captures N packets a second into the same database (root; touches no interface)
  --backup            with a backup of the database meanwhile; it is asked until that is made, however long it takes
`;

const DEVICES = 50_000;
const CONNECTIONS = 500_000;
const ALERTS = 1_000_000;
const PASSWORD = 'Corvus-17-brake';
const LOAD = { packets: 2_000_000, flows: 2000 };

/** A linear congruence: every run asks the same. */
function numbers(): (below: number) => number {
  let state = 12_345;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return state % below;
  };
}

const random = numbers();
const cursor = (below: number) => Buffer.from(JSON.stringify(random(below) + 1000)).toString('base64url');

/** Pages of fifty as consoles and programs ask for them. */
const QUESTIONS: Readonly<Record<string, () => string>> = {
  'alerts, a page': () => `alerts?cursor=${cursor(ALERTS)}`,
  'alerts, critical': () => `alerts?severity=critical&cursor=${cursor(ALERTS)}`,
  'alerts, open crossings': () => `alerts?status=open&kind=zone_crossing&cursor=${cursor(ALERTS)}`,
  'alerts, last seen': () => 'alerts?sort=-last_ms',
  'alerts of an address': () => `alerts?ip=${ipOf(1 + random(DEVICES))}`,
  'an alert': () => `alerts/${1 + random(ALERTS)}`,
  'devices, a page': () => `devices?cursor=${cursor(DEVICES)}`,
  'devices of a zone': () => `devices?zone=cell%20${random(40)}&type=plc`,
  'devices of a protocol': () => `devices?protocol=dnp3&cursor=${cursor(DEVICES)}`,
  'a device': () => `devices/${1 + random(DEVICES)}`,
  'connections, a page': () => `connections?cursor=${cursor(CONNECTIONS)}`,
  'connections of a device': () => `connections?device=${1 + random(DEVICES)}`,
  'connections of an address': () => `connections?ip=${ipOf(1 + random(DEVICES))}`,
};

const percentile = (sorted: readonly number[], share: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;

/** `ot-sensor serve` over a data directory, and a token for it. */
class Service {
  readonly pool: Pool;
  private readonly secret: string;
  private readonly child: ReturnType<typeof spawn>;

  static async start(directory: string, connections: number): Promise<Service> {
    const { users, tokens, settings, database } = openManagement(directory);
    settings.write(API, { requests_per_minute: 10_000_000 }, 'bench', Date.now());
    const user = users.list()[0] ?? (await users.create({ name: 'bench', role: 'admin', password: PASSWORD }, ROOT));
    const { secret } = tokens.create({ name: `bench ${Date.now()}`, user_id: user.id, role: 'admin' }, ROOT);
    database.close();
    const child = spawn(process.execPath, [CLI, 'serve', '--data', directory, '--no-tls', '--port', '0'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const url = await new Promise<string>((resolve) => {
      let said = '';
      child.stdout.on('data', (bytes) => {
        said += bytes;
        const found = /The API is at (\S+),/.exec(said)?.[1];
        if (found !== undefined) resolve(found);
      });
    });
    return new Service(child, secret, new Pool(url, { connections, pipelining: 1 }));
  }

  private constructor(child: ReturnType<typeof spawn>, secret: string, pool: Pool) {
    this.child = child;
    this.secret = secret;
    this.pool = pool;
  }

  /** The status, once the whole answer is here. */
  async ask(question: string, method: 'GET' | 'POST' = 'GET'): Promise<number> {
    const { statusCode, body } = await this.pool.request({
      path: `/api/v3/${question}`,
      method,
      headers: { authorization: this.secret },
      headersTimeout: 0,
    });
    await body.dump({ limit: 1 << 26 });
    return statusCode;
  }

  /** Processor time so far. proc(5): utime and stime, in hundredths. */
  cpu_s(): number {
    const fields = fs.readFileSync(`/proc/${this.child.pid}/stat`, 'utf8').split(') ')[1].split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  async stop(): Promise<void> {
    await this.pool.destroy();
    this.child.kill();
    await once(this.child, 'close');
  }
}

/** Asks one question after the other on each connection, as long as `goOn` says; how long each took. */
class Asking {
  readonly times = new Map<string, number[]>(Object.keys(QUESTIONS).map((name) => [name, []]));
  failed = 0;
  private readonly service: Service;

  constructor(service: Service) {
    this.service = service;
  }

  async together(connections: number, goOn: () => boolean): Promise<void> {
    const names = [...this.times.keys()];
    const one = async () => {
      while (goOn()) {
        const name = names[random(names.length)];
        const begun = performance.now();
        if ((await this.service.ask(QUESTIONS[name]())) !== 200) this.failed++;
        this.times.get(name)!.push(performance.now() - begun);
      }
    };
    await Promise.all(Array.from({ length: connections }, one));
  }
}

interface Options {
  seconds: number;
  connections: number;
  backup: boolean;
}

async function measure(directory: string, { seconds, connections, backup }: Options): Promise<string> {
  const service = await Service.start(directory, connections + 1);
  try {
    const warm_until = performance.now() + 3000;
    await new Asking(service).together(connections, () => performance.now() < warm_until);
    const asking = new Asking(service);
    const [cpu_before, begun] = [service.cpu_s(), performance.now()];
    let made = '';
    const making = backup
      ? service.ask('backups', 'POST').then((status) => {
          made = status < 300 ? `made in ${((performance.now() - begun) / 1000).toFixed(1)} s` : `failed with ${status}`;
        })
      : null;
    const log = path.join(directory, `${DATABASE_FILE}-wal`);
    let most_log = 0;
    const watch = setInterval(() => {
      most_log = Math.max(most_log, fs.statSync(log, { throwIfNoEntry: false })?.size ?? 0);
    }, 500);
    const goOn = () => (backup && made === '') || performance.now() - begun < seconds * 1000;
    await asking.together(connections, goOn);
    await making;
    clearInterval(watch);
    const [cpu_s, elapsed_s] = [service.cpu_s() - cpu_before, (performance.now() - begun) / 1000];
    const all = [...asking.times.values()].flat().sort((a, b) => a - b);
    const rows = [...asking.times].map(([name, list]) => {
      list.sort((a, b) => a - b);
      return `${name.padEnd(28)}${[0.5, 0.99, 1].map((share) => percentile(list, share).toFixed(2).padStart(10)).join('')}\n`;
    });
    const whole = [0.5, 0.99, 1].map((share) => percentile(all, share).toFixed(2));
    return `${''.padEnd(28)}    p50 ms    p99 ms   most ms
${rows.join('')}${Math.round(all.length / elapsed_s)} requests/s, ${Math.round(all.length / cpu_s)} a second of the service's processor time; p50 ${whole[0]}, p99 ${whole[1]}, at most ${whole[2]} ms; ${asking.failed} failed
${backup ? `backup ${made}; the write-ahead log had ${Math.round(most_log / 2 ** 20)} MiB at most\n` : ''}`;
  } finally {
    await service.stop();
  }
}

/** The same with a sensor beside it that writes the same database. */
async function measureBeside(port: MirrorPort, directory: string, packets_per_second: number, options: Options): Promise<string> {
  fs.symlinkSync(path.resolve(directory), path.join(port.folder, 'data'));
  const sender = senderOf(port.folder);
  const sensor = await Sensor.start(port, { shards: 1, zones: loadZones(false) });
  const sending = port.spawn(...pinned(sender.command(ensureLoad(LOAD), packets_per_second)));
  await sleep(1000);
  const text = await measure(directory, options);
  const sent = await sender.stop(sending);
  await sleep(500);
  const account = await sensor.stop();
  return `${text}capture: ${sent} packets sent, ${account.received} received, ${account.inspected} inspected, ${account.dropped_by_kernel} dropped by the kernel, ${droppedByUs(account)} by us\n`;
}

async function main(): Promise<void> {
  const option = (name: string, standing: string) => {
    const at = process.argv.indexOf(`--${name}`);
    return at < 0 ? standing : process.argv[at + 1];
  };
  if (process.argv.includes('--help')) return void process.stdout.write(USAGE);
  const kept = option('data', '');
  const directory = kept === '' ? fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-bench-')) : kept;
  const options = {
    seconds: Number(option('seconds', '10')),
    connections: Number(option('connections', '8')),
    backup: process.argv.includes('--backup'),
  };
  const packets = Number(option('packets', '0'));
  try {
    if (!fs.existsSync(path.join(directory, DATABASE_FILE))) {
      process.stderr.write('bench: filling the database …\n');
      const evidence_bytes = Number(option('evidence', '0'));
      makeDatabase(directory, { devices: DEVICES, connections: CONNECTIONS, activities: 0, alerts: ALERTS, evidence_bytes });
    }
    const text = await (packets === 0
      ? measure(directory, options)
      : withMirrorPort((port) => measureBeside(port, directory, packets, options)));
    process.stdout.write(text);
  } finally {
    if (kept === '') fs.rmSync(directory, { recursive: true });
  }
}

await main();
