import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Pool } from 'undici';
import { API } from '../src/api/settings.ts';
import { openManagement } from '../src/appliance/management.ts';
import { emptyChangeSet } from '../src/store/change-set.ts';
import { Writer } from '../src/store/writer.ts';
import { ROOT } from '../src/users/users.ts';

// The API over a large database: 50,000 devices, 500,000 connections, 1,000,000 alerts. Prints requests a second, and by the second of
// processor time of the service, and how long answers take. `node dist/bench/api.js [--data DIR] [--seconds N] [--connections N]`.

const DEVICES = 50_000;
const CONNECTIONS = 500_000;
const ALERTS = 1_000_000;
/** Lately: what is old would be deleted while it is measured. */
const START_MS = Date.now() - 30 * 86_400_000;
const PASSWORD = 'Corvus-17-brake';

const ipOf = (i: number) => `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`;
const macOf = (i: number) =>
  `02:00:00:${[(i >> 16) & 255, (i >> 8) & 255, i & 255].map((x) => x.toString(16).padStart(2, '0')).join(':')}`;
const peerOf = (i: number) => 1 + ((i * 7919) % DEVICES);

function* batches(count: number, size: number): Generator<number[]> {
  for (let from = 1; from <= count; from += size)
    yield Array.from({ length: Math.min(size, count - from + 1) }, (_, i) => from + i);
}

function fill(directory: string): void {
  const writer = new Writer(directory);
  const seen = (i: number) => ({ first_ms: START_MS + i, last_ms: START_MS + 1e7 + i, first_frame: i, capture_id: 1 });
  for (const ids of batches(DEVICES, 5000)) {
    const changes = emptyChangeSet();
    for (const id of ids) {
      changes.devices.push({
        id,
        ...seen(id),
        name: id % 3 === 0 ? `PLC-${id}` : '',
        type: ['plc', 'hmi', 'unknown'][id % 3],
        type_reason: '',
        purdue_level: id % 3,
        programming_station: id % 100 === 0,
        programming_reason: '',
        router: false,
        gateway: false,
        vendor: 'Siemens AG',
        model: '',
        firmware: '',
        serial: '',
        mac: macOf(id),
        ip: ipOf(id),
        segment: '',
        zone: `cell ${id % 40}`,
        behaviour: '{}',
      });
      const face = { device_id: id, segment: '', mac: macOf(id) };
      changes.interfaces.push({ ...face, vendor: 'Siemens AG', router: false, first_ms: START_MS, last_ms: START_MS });
      changes.addresses.push({ ...face, ...seen(id), ip: ipOf(id), how: 'arp', via_mac: '', current: true });
    }
    writer.apply(changes);
  }
  for (const ids of batches(CONNECTIONS, 10_000)) {
    const changes = emptyChangeSet();
    for (const id of ids) {
      const [opener, responder] = [1 + (id % DEVICES), peerOf(id)];
      changes.connections.push({
        id,
        segment: '',
        proto: 'tcp',
        app_proto: ['modbus', 's7comm', 'dnp3', ''][id % 4],
        recognised_by: 'port',
        opener_device: opener,
        opener_mac: macOf(opener),
        opener_ip: ipOf(opener),
        responder_device: responder,
        responder_mac: macOf(responder),
        responder_ip: ipOf(responder),
        server_port: 502,
        client: 'opener',
        opener_certain: true,
        ethertype: 0x800,
        flows: 1,
        packets_from_opener: 10,
        packets_from_responder: 10,
        bytes_from_opener: 1000,
        bytes_from_responder: 1000,
        ...seen(id),
      });
    }
    writer.apply(changes);
  }
  const kinds = [
    ['zone_crossing', 'major'],
    ['new_device', 'warning'],
    ['device_stop', 'critical'],
  ];
  for (const ids of batches(ALERTS, 10_000)) {
    const changes = emptyChangeSet();
    for (const id of ids) {
      const [source, destination] = [1 + (id % DEVICES), peerOf(id)];
      const [kind, severity] = kinds[id % 1000 === 0 ? 2 : id % 7 === 0 ? 0 : 1];
      changes.alerts.push({
        key: `${id}`,
        kind,
        severity,
        title: kind,
        description: 'Something was found between two devices: read of holding registers',
        source_mac: macOf(source),
        source_ip: ipOf(source),
        source_port: 0,
        source_device: source,
        source_zone: 'cell 1',
        destination_mac: macOf(destination),
        destination_ip: ipOf(destination),
        destination_port: 502,
        destination_device: destination,
        destination_zone: 'cell 2',
        segment: '',
        proto: 'tcp',
        app_proto: 'modbus',
        operation: 'read',
        technique: 'T0886',
        details: { what: 'modbus read', from_zone: 'cell 1', to_zone: 'cell 2' },
        count: 1,
        ...seen(id * 1000),
        first_frame: id,
        last_frame: id,
      });
    }
    writer.apply(changes);
  }
  writer.close();
}

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

async function main(): Promise<void> {
  const option = (name: string, standing: string) => {
    const at = process.argv.indexOf(`--${name}`);
    return at < 0 ? standing : process.argv[at + 1];
  };
  const kept = option('data', '');
  const directory = kept === '' ? fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-bench-')) : kept;
  if (!fs.existsSync(path.join(directory, 'ot-sensor.db'))) {
    process.stderr.write('bench: filling the database …\n');
    fill(directory);
  }
  const { users, tokens, settings, database } = openManagement(directory);
  settings.write(API, { requests_per_minute: 10_000_000 }, 'bench', Date.now());
  const user = users.list()[0] ?? (await users.create({ name: 'bench', role: 'admin', password: PASSWORD }, ROOT));
  const { secret } = tokens.create({ name: `bench ${Date.now()}`, user_id: user.id, role: 'admin' }, ROOT);
  database.close();
  const program = fileURLToPath(new URL('../program/main.js', import.meta.url));
  const service = spawn(process.execPath, [program, 'serve', '--data', directory, '--no-tls', '--port', '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const url = await new Promise<string>((resolve) => {
    let said = '';
    service.stdout.on('data', (bytes) => {
      said += bytes;
      const found = /The API is at (\S+),/.exec(said)?.[1];
      if (found !== undefined) resolve(found);
    });
  });
  const connections = Number(option('connections', '8'));
  const pool = new Pool(url, { connections, pipelining: 1 });
  const times = new Map<string, number[]>(Object.keys(QUESTIONS).map((name) => [name, []]));
  const names = [...times.keys()];
  let failed = 0;
  const ask = async (until: number) => {
    while (performance.now() < until) {
      const name = names[random(names.length)];
      const begun = performance.now();
      const { statusCode, body } = await pool.request({
        path: `/api/v3/${QUESTIONS[name]()}`,
        method: 'GET',
        headers: { authorization: secret },
      });
      await body.dump({ limit: 1 << 26 });
      if (statusCode !== 200) failed++;
      times.get(name)!.push(performance.now() - begun);
    }
  };
  const together = (ms: number) => Promise.all(Array.from({ length: connections }, () => ask(performance.now() + ms)));
  await together(3000);
  for (const list of times.values()) list.length = 0;
  const cpu = () => {
    const fields = fs.readFileSync(`/proc/${service.pid}/stat`, 'utf8').split(') ')[1].split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  };
  const [cpu_before, begun] = [cpu(), performance.now()];
  await together(Number(option('seconds', '10')) * 1000);
  const [cpu_s, elapsed_s] = [cpu() - cpu_before, (performance.now() - begun) / 1000];
  await pool.close();
  service.kill();
  const all = [...times.values()].flat().sort((a, b) => a - b);
  const rows = [...times].map(([name, list]) => {
    list.sort((a, b) => a - b);
    return `${name.padEnd(28)}${[0.5, 0.99].map((share) => percentile(list, share).toFixed(2).padStart(9)).join('')}\n`;
  });
  process.stdout.write(`${''.padEnd(28)}   p50 ms   p99 ms\n${rows.join('')}`);
  process.stdout.write(
    `${Math.round(all.length / elapsed_s)} requests/s, ${Math.round(all.length / cpu_s)} a second of the service's processor time; p50 ${percentile(all, 0.5).toFixed(2)}, p99 ${percentile(all, 0.99).toFixed(2)} ms; ${failed} failed\n`,
  );
  if (kept === '') fs.rmSync(directory, { recursive: true });
}

await main();
