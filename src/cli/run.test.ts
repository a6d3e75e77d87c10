import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MirrorPorts, numberedFrame, whyNoLiveCapture } from '../../native-bindings/pcap/testing.ts';
import { readPackets } from '../engine/testing.ts';
import { StoreReader } from '../store/queries.ts';
import { ot, PLANT, PROGRAM, ZONES } from './testing.ts';

const skipped = whyNoLiveCapture() !== '';

/** `ot-sensor run` in the namespace of a mirror port, seen as the service manager sees it. */
class Sensor {
  readonly data: string;
  readonly file: string;
  readonly child: ChildProcess;
  stdout = '';
  private stderr = '';
  private readonly exited: Promise<number | null>;

  constructor(ports: MirrorPorts, settings: string, before: string[] = []) {
    this.data = path.join(ports.directory, 'data');
    this.file = path.join(ports.directory, 'sensor.yaml');
    fs.writeFileSync(this.file, settings);
    const command = [...before, process.execPath, PROGRAM, 'run', '--config', this.file];
    this.child = spawn('ip', ['netns', 'exec', ports.namespace, ...command], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.exited = new Promise((resolve) => this.child.once('close', resolve));
    this.child.stdout!.on('data', (bytes: Buffer) => {
      this.stdout += bytes;
    });
    this.child.stderr!.on('data', (bytes: Buffer) => {
      this.stderr += bytes;
    });
  }

  get log(): Record<string, unknown>[] {
    return this.stderr.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : []));
  }

  async said(text: string): Promise<void> {
    await until(
      () => this.log.some(({ msg }) => String(msg).includes(text)),
      () => `${this.stderr}`,
    );
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  async ended(): Promise<{ code: number | null; stdout: string; stderr: string }> {
    return { code: await this.exited, stdout: this.stdout, stderr: this.stderr };
  }

  async stop(): Promise<Record<string, unknown>> {
    this.signal('SIGTERM');
    const { code, stderr } = await this.ended();
    expect(code, stderr).toBe(0);
    return this.log.at(-1)!;
  }

  read<T>(question: (reader: StoreReader) => T): T {
    const reader = new StoreReader(this.data);
    try {
      return question(reader);
    } finally {
      reader.close();
    }
  }
}

async function until(holds: () => boolean, why: () => string = () => ''): Promise<void> {
  for (let waited = 0; waited < 15_000; waited += 50) {
    if (holds()) return;
    await sleep(50);
  }
  throw new Error(`it did not come: ${why()}`);
}

const settings = (more = '', interfaces = ['m0']): string =>
  `data: data\nshards: 2\n${more}capture:\n  interfaces:\n${interfaces.map((name) => `    - name: ${name}\n`).join('')}`;

describe.skipIf(skipped)('ot-sensor run', () => {
  let ports: MirrorPorts;
  let sensor: Sensor | undefined;
  const start = async (text: string, before: string[] = []): Promise<Sensor> => {
    sensor = new Sensor(ports, text, before);
    await sensor.said('capturing');
    return sensor;
  };

  /** Packets in all conversations that are stored. */
  const conversed = (): number =>
    sensor!.read((reader) => reader.protocolTotals().reduce((sum, { packets }) => sum + packets, 0));

  beforeEach(() => {
    ports = new MirrorPorts();
  });
  afterEach(async () => {
    sensor?.child.kill('SIGKILL');
    if (sensor !== undefined) await sensor.ended();
    sensor = undefined;
    ports.close();
  });

  test('finds on a mirror port what a replay finds in the file, accounts for every packet, and sends none', async () => {
    const { data } = await start(settings(`zones: ${ZONES}\n`));
    await ports.send(PLANT, { packets_per_second: 3000 });
    const last = await sensor!.stop();
    expect(last).toMatchObject({ received: 1006, inspected: 1006, dropped_by_kernel: 0, unaccounted: 0 });
    expect(sensor!.stdout).toBe('1,006 packets received: 1,006 inspected, 0 dropped by the kernel, 0 dropped by us\n');
    const replayed = path.join(ports.directory, 'replayed');
    expect((await ot(['replay', PLANT, '--zones', ZONES, '--data', replayed])).code).toBe(0);
    const found = (folder: string) => {
      const reader = new StoreReader(folder);
      const devices = reader
        .devices({ limit: 1000 })
        .rows.map(({ mac, ip, vendor, type, zone }) => [mac, ip, vendor, type, zone]);
      const alerts = reader.alerts({ limit: 1000 }).rows.map(({ kind, count, details }) => [kind, count, details]);
      reader.close();
      return { devices, alerts };
    };
    expect(found(data)).toEqual(found(replayed));
    expect(found(data).devices.length).toBeGreaterThan(5);
    // Passive: nothing left the port, by its own count and by the far end's; and nobody gave it an address.
    expect(ports.counters('m0').sent).toBe(0);
    expect(ports.counters('s0').received).toBe(0);
    expect(JSON.parse(ports.ip('-j', 'addr', 'show', 'm0'))[0].addr_info).toEqual([]);
  });

  test('sends nothing: the far end of the port hears no frame in a whole run, and would hear one', async () => {
    const heard = path.join(ports.directory, 'far-end.pcap');
    const args = ['netns', 'exec', ports.namespace, 'tcpdump', '--immediate-mode', '-i', 's0', '-Q', 'in', '-U', '-w', heard];
    const far = spawn('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    const listening = new Promise((resolve) => far.stderr.once('data', resolve));
    const ended = new Promise((resolve) => far.once('close', resolve));
    await listening;
    await start(settings());
    await ports.send(PLANT, { packets_per_second: 3000 });
    sensor!.signal('SIGHUP');
    await sensor!.said('were read again');
    await sensor!.stop();
    // What the listener is worth: one frame out of the mirror port.
    const frame = ports.frames('one.pcap', [numberedFrame(1)]);
    ports.execute('tcpreplay', '-q', '-i', 'm0', frame);
    await until(() => ports.counters('s0').received === 1);
    await sleep(300);
    far.kill('SIGINT');
    await ended;
    expect(await readPackets(heard)).toHaveLength(1);
    expect(ports.counters('m0').sent).toBe(1);
  });

  test('stores what it finds while it runs, though the port falls silent', async () => {
    // The database is there.
    await (await start(settings())).said('running');
    await ports.send(PLANT, { packets_per_second: 3000 });
    const sent = Date.now();
    await until(() => sensor!.read((reader) => reader.alertTotals().length > 0));
    expect(Date.now() - sent).toBeLessThan(5000);
    // The counts of flows are said when nothing comes any more.
    await until(() => conversed() === 1006);
    await sensor!.stop();
  });

  test('takes other zones over on SIGHUP without losing a packet, and keeps those it has where the file has faults', async () => {
    const zones = path.join(ports.directory, 'zones.yaml');
    fs.writeFileSync(zones, 'default: allow\nzones:\n  - {name: all, subnets: [0.0.0.0/0]}\n');
    await start(settings('zones: zones.yaml\n'));
    const crossings = () => sensor!.read((reader) => reader.alertTotals().filter(({ kind }) => kind === 'zone_crossing').length);
    await ports.send(PLANT, { packets_per_second: 3000 });
    fs.writeFileSync(zones, 'zones:\n  - name: broken\n    subnet: 10.0.0.0/8\n');
    sensor!.signal('SIGHUP');
    await sensor!.said('nothing was changed');
    await ports.send(PLANT, { packets_per_second: 3000 });
    await until(() => conversed() === 2012);
    expect(crossings()).toBe(0);
    fs.copyFileSync(ZONES, zones);
    const sending = ports.send(PLANT, { packets_per_second: 1000 });
    sensor!.signal('SIGHUP');
    await sensor!.said('were read again');
    await sending;
    await ports.send(PLANT, { packets_per_second: 3000 });
    expect(await sensor!.stop()).toMatchObject({ received: 4024, inspected: 4024, unaccounted: 0 });
    expect(crossings()).toBe(1);
    expect(sensor!.read((reader) => reader.devices({ limit: 1000 }).rows.some(({ zone }) => zone !== '' && zone !== 'all'))).toBe(
      true,
    );
  });

  test('takes another filter over on SIGHUP', async () => {
    await start(settings());
    fs.writeFileSync(sensor!.file, settings().replace('name: m0\n', 'name: m0\n      filter: ether proto 0x88b5\n'));
    sensor!.signal('SIGHUP');
    await sensor!.said('were read again');
    await ports.send(PLANT, { packets_per_second: 3000 });
    await ports.send(
      ports.frames(
        'numbered.pcap',
        Array.from({ length: 50 }, (_, i) => numberedFrame(i)),
      ),
    );
    expect(await sensor!.stop()).toMatchObject({ received: 50, inspected: 50, unaccounted: 0 });
  });

  test('accounts for every packet when it cannot keep up', async () => {
    const small = settings().replace('name: m0\n', 'name: m0\n      buffer_bytes: 1048576\n');
    await start(small);
    // A process that gets no time at all is the worst that can happen to it.
    sensor!.signal('SIGSTOP');
    await ports.send(PLANT, { loops: 60 });
    sensor!.signal('SIGCONT');
    await ports.send(PLANT, { loops: 60 });
    const last = await sensor!.stop();
    expect(last).toMatchObject({ received: 120_720, unaccounted: 0 });
    const { dropped_by_kernel, dropped_by_us } = last as { dropped_by_kernel: number; dropped_by_us: Record<string, number> };
    expect(dropped_by_kernel + dropped_by_us.overload).toBeGreaterThan(1000);
    expect(sensor!.stdout).toMatch(/^120,720 packets received: /);
  });

  test('goes on with the interfaces that there are, and waits for the others', async () => {
    await start(settings('', ['m0', 'm1']));
    expect(sensor!.log.find(({ interface: name }) => name === 'm1')).toMatchObject({ level: 'warn', state: 'absent' });
    ports.addPair(1);
    await until(() => sensor!.log.some(({ interface: name, state }) => name === 'm1' && state === 'capturing'));
    await ports.send(PLANT, { pair: 1, packets_per_second: 3000 });
    expect(await sensor!.stop()).toMatchObject({ received: 1006, inspected: 1006, unaccounted: 0 });
  });

  test('says that there is no such interface, and what there is, where it can capture from none', async () => {
    sensor = new Sensor(ports, settings('', ['mirror9']));
    const { code, stderr } = await sensor.ended();
    expect(code).toBe(2);
    expect(stderr).toMatch(/mirror9.*there are .*m0/);
    expect(fs.existsSync(sensor.data)).toBe(false);
  });

  const identities = (pid: number): Set<string> =>
    new Set(
      fs
        .readdirSync(`/proc/${pid}/task`)
        .map((task) => /^Uid:\s+(.*)$/m.exec(fs.readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8'))![1]),
    );

  test('becomes another user, in all its threads, once the interfaces are open', async () => {
    fs.mkdirSync(path.join(ports.directory, 'data'));
    fs.chmodSync(ports.directory, 0o755);
    fs.chownSync(path.join(ports.directory, 'data'), 65534, 65534);
    await start(settings('user: nobody\n'));
    await ports.send(PLANT, { packets_per_second: 3000 });
    expect(identities(sensor!.child.pid!)).toEqual(new Set(['65534\t65534\t65534\t65534']));
    expect(sensor!.log.find(({ user }) => user === 'nobody')).toMatchObject({ level: 'warn' });
    expect(await sensor!.stop()).toMatchObject({ received: 1006, inspected: 1006 });
    expect(fs.statSync(path.join(sensor!.data, fs.readdirSync(sensor!.data)[0])).uid).toBe(65534);
  });

  test('needs no root, but two capabilities', async () => {
    fs.chmodSync(ports.directory, 0o777);
    const unprivileged = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
    sensor = new Sensor(ports, settings(), unprivileged);
    const { code, stderr } = await sensor.ended();
    expect(code).toBe(2);
    expect(stderr).toMatch(/capabilities CAP_NET_RAW and CAP_NET_ADMIN/);
    await start(settings(), [...unprivileged, '--inh-caps=+net_raw,+net_admin', '--ambient-caps=+net_raw,+net_admin']);
    await ports.send(PLANT, { packets_per_second: 3000 });
    expect(identities(sensor!.child.pid!)).toEqual(new Set(['65534\t65534\t65534\t65534']));
    expect(await sensor!.stop()).toMatchObject({ received: 1006, inspected: 1006, unaccounted: 0 });
  });
});
