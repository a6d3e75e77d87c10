import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Inventory } from '../inventory/inventory.ts';
import { Script } from '../inventory/testing.ts';
import { type AlertRow, type ChangeSet, type ConnectionRow, emptyChangeSet } from './change-set.ts';
import { StoreError } from './errors.ts';
import { APPLICATION_ID, migrate, SCHEMA_VERSION } from './migrations.ts';
import { COLUMNS, PACKERS, type PackedTable, pack } from './packed.ts';
import { StoreReader } from './queries.ts';
import { packagedVendors } from './vendor-registry.ts';
import { DATABASE_FILE, Writer } from './writer.ts';
import writerTask from './writer-worker.ts';

let directory: string;
const open: { close(): void }[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ot-sensor-store-'));
});

afterEach(() => {
  for (const one of open.splice(0)) one.close();
  rmSync(directory, { recursive: true, force: true });
});

function closing<T extends { close(): void }>(one: T): T {
  open.push(one);
  return one;
}

function failure(act: () => unknown): StoreError {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(StoreError);
    return error as StoreError;
  }
  throw new Error('it did not fail');
}

const T = 1_700_000_000_000;

function connection(id: number, more: Partial<ConnectionRow> = {}): ConnectionRow {
  return {
    id,
    segment: '',
    proto: 'tcp',
    app_proto: 'modbus',
    recognised_by: 'probe',
    opener_device: 1,
    opener_mac: '00:50:56:00:00:02',
    opener_ip: '10.0.0.2',
    responder_device: 2,
    responder_mac: '00:1b:1b:00:00:01',
    responder_ip: '10.0.0.5',
    server_port: 502,
    client: 'opener',
    opener_certain: true,
    ethertype: 0,
    flows: 1,
    packets_from_opener: 10,
    packets_from_responder: 9,
    bytes_from_opener: 1000,
    bytes_from_responder: 900,
    first_ms: T,
    last_ms: T + 1,
    first_frame: 1,
    capture_id: 1,
    ...more,
  };
}

function alert(key: string, more: Partial<AlertRow> = {}): AlertRow {
  return {
    key,
    kind: 'zone_crossing',
    severity: 'high',
    title: 'write from the office',
    description: '100% of it_',
    source_mac: '00:50:56:00:00:02',
    source_ip: '10.0.0.2',
    source_port: 4000,
    source_device: 1,
    source_zone: 'office',
    destination_mac: '00:1b:1b:00:00:01',
    destination_ip: '10.0.0.5',
    destination_port: 502,
    destination_device: 2,
    destination_zone: 'cell 1',
    segment: '',
    proto: 'tcp',
    app_proto: 'modbus',
    operation: 'write',
    technique: 'T0855',
    details: { conduit: 'none' },
    count: 1,
    first_ms: T,
    last_ms: T,
    first_frame: 5,
    last_frame: 5,
    capture_id: 1,
    ...more,
  };
}

const evidence = (alert_key: string, ordinal: number, bytes: number[]) => ({
  alert_key, ordinal, capture_id: 1, frame: ordinal + 1, seconds: 1_700_000_000, nanoseconds: 5, captured: bytes.length, wire: 60,
  link_type: 1, bytes: Uint8Array.from(bytes),
}); // biome-ignore format: one value

const changes = (some: Partial<ChangeSet>): ChangeSet => ({ ...emptyChangeSet(), ...some });

describe('the writer', () => {
  test('counts add up, times widen, the first frame stays with the first time', () => {
    const writer = closing(new Writer(directory));
    writer.apply(changes({ connections: [connection(7, { first_frame: 20 })] }));
    writer.apply(
      changes({ connections: [connection(7, { first_ms: T - 5, last_ms: T - 4, first_frame: 2, client: 'unknown' })] }),
    );
    const reader = closing(new StoreReader(directory));
    expect(reader.connections().rows).toMatchObject([
      {
        id: 7,
        flows: 2,
        packets_from_opener: 20,
        bytes_from_responder: 1800,
        first_ms: T - 5,
        last_ms: T + 1,
        first_frame: 2,
        client: 'unknown',
        opener_certain: true,
      },
    ]);
  });

  test('a connection whose flows all moved away is gone', () => {
    const writer = closing(new Writer(directory));
    writer.apply(changes({ connections: [connection(1, { app_proto: '' }), connection(2)] }));
    writer.apply(changes({ connections: [connection(1, { flows: -1, packets_from_opener: -10 })] }));
    expect(
      closing(new StoreReader(directory))
        .connections()
        .rows.map((c) => c.id),
    ).toEqual([2]);
  });

  test('one alert a key: the count grows, what was said first and its status stay; evidence is kept once', () => {
    const writer = closing(new Writer(directory));
    writer.apply(changes({ alerts: [alert('k')], evidence: [evidence('k', 0, [1, 2, 3]), evidence('k', 1, [4])] }));
    writer.apply(
      changes({
        alerts: [alert('k', { count: 4, last_ms: T + 9, last_frame: 50, title: 'x' })],
        evidence: [evidence('k', 0, [9])],
      }),
    );
    const reader = closing(new StoreReader(directory));
    const [stored] = reader.alerts().rows;
    expect(stored).toMatchObject({
      count: 5,
      first_frame: 5,
      last_frame: 50,
      title: 'write from the office',
      status: 'open',
      evidence: 2,
    });
    expect(reader.evidence(stored.id).map((e) => [...e.bytes])).toEqual([[1, 2, 3], [4]]);
  });

  test('a merged device leads to the one it is, with its connections, alerts and events', () => {
    const inventory = new Inventory();
    const script = new Script(inventory).sees('10.0.0.2').sees('10.0.0.5');
    const writer = closing(new Writer(directory));
    writer.apply({ ...inventory.drain(), connections: [connection(1)], alerts: [alert('k')] });
    script.sees('00:1b:1b:00:00:09/10.0.0.9', 'arp').sees('00:1b:1b:00:00:09/10.0.0.5', 'arp');
    const second = inventory.drain();
    writer.apply(second);
    const reader = closing(new StoreReader(directory));
    expect(second.reassignments).toEqual([]);
    expect(reader.devices().rows.map((d) => [d.id, d.addresses, d.macs])).toEqual([
      [1, ['10.0.0.2'], []],
      [2, ['10.0.0.5'], ['00:1b:1b:00:00:09']],
    ]);
    writer.apply(changes({ reassignments: [{ from: 2, to: 1, ip: null }] }));
    expect(reader.device(2)?.id).toBe(1);
    expect(reader.connections().rows[0].responder_device).toBe(1);
    expect(reader.alerts({ device: 1 }).rows).toHaveLength(1);
    expect(reader.events({ device: 2 }).rows).toEqual([]);
  });

  test('a change set is stored whole or not at all', () => {
    const writer = closing(new Writer(directory));
    writer.apply(changes({ connections: [connection(1)] }));
    const broken = changes({ connections: [connection(2), connection(3, { segment: null as unknown as string })] });
    expect(failure(() => writer.apply(broken)).code).toBe('store_failed');
    expect(
      closing(new StoreReader(directory))
        .connections()
        .rows.map((c) => c.id),
    ).toEqual([1]);
  });

  test('100,000 connections a second', () => {
    const writer = closing(new Writer(directory));
    const connections = Array.from({ length: 50_000 }, (_, i) => connection(i + 1));
    writer.apply(changes({ connections: connections.slice(0, 1000) }));
    const begin = performance.now();
    writer.apply(changes({ connections }));
    const per_second = connections.length / ((performance.now() - begin) / 1000);
    // The machine is shared while tests run: a tenth of what it does alone.
    expect(per_second).toBeGreaterThan(15_000);
  });
});

describe('a second replay of the same capture', () => {
  const capture = (inventory: Inventory, capture_id: number) => {
    inventory.begin(capture_id);
    const s = new Script(inventory);
    s.sees('00:00:0c:12:34:56/10.0.0.1', 'arp').sees('00:50:56:00:00:02/10.0.0.2', 'arp');
    for (const ip of ['10.1.0.5', '10.2.0.5', '10.3.0.5']) s.sees(`00:00:0c:12:34:56/${ip}`);
    s.opens(1, '00:50:56:00:00:02/10.0.0.2:4000', '00:00:0c:12:34:56/10.1.0.5:502').carries(1, 'modbus', 5, 5);
    s.does(1, 'client', 'modbus', 'read', { target: 'coils', target_first: 1, target_last: 9 }).does(
      1,
      'server',
      'modbus',
      'read',
      { unit: 4 },
    );
    s.says('00:00:0c:12:34:56/10.1.0.5', 'model', 'BMX', 'modbus').says(
      '00:00:0c:12:34:56/10.1.0.5',
      'serial',
      'a-1',
      'modbus',
      'unit 4',
    );
    s.sees('00:50:56:00:00:02/10.0.0.3', 'dhcp').sees('00:00:5e:00:01:07/10.0.0.254', 'arp');
    return inventory.drain();
  };

  test('adds no device, part, address, connection or activity: counts grow', () => {
    const writer = closing(new Writer(directory));
    writer.apply(capture(new Inventory({ vendorOf: packagedVendors() }), 1));
    const reader = closing(new StoreReader(directory));
    const rows = (snapshot = reader.snapshot()) => ({
      devices: reader.devices().rows.map((d) => [d.id, d.type, d.ip, d.mac, d.vendor, d.model]),
      interfaces: [...snapshot.interfaces],
      addresses: [...snapshot.addresses].map((a) => [a.device_id, a.ip, a.mac, a.via_mac, a.how]),
      attributes: [...snapshot.attributes],
      parts: [...snapshot.parts],
      connections: [...snapshot.pairs].map((pair) => {
        const { opener_device, responder_device, app_proto } = snapshot.connection(pair.id)!;
        return [pair, opener_device, responder_device, app_proto];
      }),
      activities: [...snapshot.pairs].flatMap(({ id }) =>
        snapshot.activities(id).map((a) => [a.id, a.connection_id, a.target_first, a.target_last]),
      ),
    });
    const before = rows();
    expect(before.devices.map((d) => d[1])).toEqual(['router', 'hmi', 'plc', 'unknown', 'unknown', 'router']);
    const inventory = new Inventory({ vendorOf: packagedVendors() });
    inventory.load(reader.snapshot());
    const again = capture(inventory, 2);
    writer.apply(again);
    expect(rows()).toEqual(before);
    expect(again.events.filter((e) => e.kind === 'device_detected')).toEqual([]);
    expect(reader.connections({ protocol: 'modbus' }).rows).toMatchObject([{ flows: 2, packets_from_opener: 10 }]);
  });
});

describe('what goes wrong', () => {
  test('a second sensor on the same directory is refused, and may come when the first has gone', () => {
    const first = new Writer(directory);
    const error = failure(() => new Writer(directory));
    expect(error.code).toBe('store_locked');
    expect(error.what_to_do).toContain('--data');
    first.close();
    closing(new Writer(directory));
  });

  test('a file that is no database, and a database of another program', () => {
    writeFileSync(
      join(directory, DATABASE_FILE),
      'this is a text file that is long enough to be read as a header of a page, '.repeat(20),
    );
    expect(failure(() => new Writer(directory)).code).toBe('store_not_a_database');
    expect(failure(() => new StoreReader(directory)).code).toBe('store_not_a_database');
    rmSync(join(directory, DATABASE_FILE));
    const other = new Database(join(directory, DATABASE_FILE));
    other.exec('CREATE TABLE songs (id INTEGER)');
    other.close();
    expect(failure(() => new Writer(directory)).code).toBe('store_not_a_database');
  });

  test('a database of a newer version', () => {
    new Writer(directory).close();
    const db = new Database(join(directory, DATABASE_FILE));
    db.pragma(`user_version = ${SCHEMA_VERSION + 1}`);
    db.close();
    for (const act of [() => new Writer(directory), () => new StoreReader(directory)]) {
      const error = failure(act);
      expect(error.code).toBe('store_too_new');
      expect(error.message).toContain(`schema version ${SCHEMA_VERSION + 1}`);
    }
  });

  test('a directory that cannot be made or written', () => {
    writeFileSync(join(directory, 'file'), '');
    expect(failure(() => new Writer(join(directory, 'file', 'data'))).code).toBe('store_unwritable');
    mkdirSync(join(directory, DATABASE_FILE));
    expect(failure(() => new Writer(directory)).code).toBe('store_unwritable');
  });

  test('nothing to read yet', () => {
    expect(failure(() => new StoreReader(directory)).code).toBe('store_missing');
  });

  test('a full disk: a clear error, what was committed stays, and with room again it goes on', () => {
    const writer = new Writer(directory, { max_pages: 200 });
    let stored = 0;
    const error = failure(() => {
      for (let i = 0; i < 1000; i++) {
        writer.apply(changes({ alerts: [alert(`k${i}`)], evidence: [evidence(`k${i}`, 0, new Array(2000).fill(i & 255))] }));
        stored++;
      }
    });
    expect(error.code).toBe('store_full');
    expect(error.what_to_do).toContain('free space');
    const reader = closing(new StoreReader(directory));
    expect(reader.totals()).toMatchObject({ alerts: stored, evidence: stored });
    writer.close();
    const again = closing(new Writer(directory));
    again.apply(changes({ alerts: [alert('more')] }));
    expect(reader.totals().alerts).toBe(stored + 1);
    const check = closing(new Database(join(directory, DATABASE_FILE), { readonly: true }));
    expect(check.pragma('integrity_check', { simple: true })).toBe('ok');
  });

  test('killed while it writes, it opens again with everything committed before', { timeout: 60_000 }, async () => {
    // The child writes change sets of three rows and says each number once it is committed.
    const writer = fileURLToPath(new URL('./writer.ts', import.meta.url));
    const compiled = [new URL('./writer.js', import.meta.url), new URL('../../dist/src/store/writer.js', import.meta.url)].find(
      (url) => existsSync(url),
    );
    if (!compiled) throw new Error(`${writer} is not built: npm run build`);
    const program = `
      import { Writer } from ${JSON.stringify(compiled.href)};
      const writer = new Writer(process.argv[1]);
      const template = JSON.parse(process.argv[2]);
      for (let n = Number(process.argv[3]); ; n++) {
        template.connections = [3 * n + 1, 3 * n + 2, 3 * n + 3].map((id) => ({ ...template.connections[0], id }));
        writer.apply(template);
        process.stdout.write(n + '\\n');
      }`;
    const template = JSON.stringify(changes({ connections: [connection(1)] }));
    let sets = 0;
    for (let round = 0; round < 4; round++) {
      const child = spawn(process.execPath, ['--input-type=module', '-e', program, directory, template, String(sets)]);
      let said = '';
      let errors = '';
      child.stderr.on('data', (data) => {
        errors += data;
      });
      await new Promise<void>((resolve) => {
        child.stdout.on('data', (data) => {
          said += data;
          if (said.split('\n').length > 20 + round * 7) child.kill('SIGKILL');
        });
        child.on('exit', () => resolve());
      });
      expect(errors).toBe('');
      const committed = Number(said.split('\n').at(-2));
      const again = new Writer(directory);
      const reader = new StoreReader(directory);
      const { connections } = reader.totals();
      // Whole change sets, none of those it spoke of missing.
      expect(connections % 3).toBe(0);
      expect(connections / 3).toBeGreaterThanOrEqual(committed + 1);
      sets = connections / 3;
      reader.close();
      again.close();
    }
  });
});

describe('migrations', () => {
  test('are made in order, once, and from where a former version ended', () => {
    const db = closing(new Database(':memory:'));
    migrate(db, 'x', ['CREATE TABLE a (n INTEGER)']);
    db.exec('INSERT INTO a VALUES (1)');
    migrate(db, 'x', ['CREATE TABLE a (n INTEGER)', 'ALTER TABLE a ADD COLUMN m INTEGER NOT NULL DEFAULT 5']);
    migrate(db, 'x', ['CREATE TABLE a (n INTEGER)', 'ALTER TABLE a ADD COLUMN m INTEGER NOT NULL DEFAULT 5']);
    expect(db.prepare('SELECT * FROM a').all()).toEqual([{ n: 1, m: 5 }]);
    expect(db.pragma('user_version', { simple: true })).toBe(2);
    expect(db.pragma('application_id', { simple: true })).toBe(APPLICATION_ID);
  });

  test('one that fails leaves the version before it', () => {
    const db = closing(new Database(':memory:'));
    expect(() => migrate(db, 'x', ['CREATE TABLE a (n INTEGER)', 'CREATE TABLE b (n INTEGER); nonsense'])).toThrow();
    expect(db.pragma('user_version', { simple: true })).toBe(1);
    expect(db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").pluck().all()).toEqual(['a']);
  });
});

describe('queries', () => {
  test('filters, pages and text with wildcards in it', () => {
    const writer = closing(new Writer(directory));
    const alerts = Array.from({ length: 25 }, (_, i) =>
      alert(`k${i}`, { severity: i % 2 ? 'high' : 'low', first_ms: T + i, last_ms: T + i }),
    );
    alerts[3].kind = 'mode_change';
    alerts[3].title = `quote ' and 50% more`;
    const event = {
      capture_id: 1,
      frame: 3,
      time_ms: T,
      kind: 'device_detected',
      device_id: 1,
      title: 'new device',
      details: { ip: '10.0.0.2' },
    };
    const capture = {
      id: 1,
      source: 'a.pcap',
      packets: 9,
      bytes: 900,
      first_ms: T,
      last_ms: T + 5,
      finished: true,
      counters: { dropped: 1 },
      warnings: ['cut short'],
    };
    writer.apply(
      changes({
        alerts,
        events: [event],
        captures: [capture],
        connections: [connection(1), connection(2, { server_port: 102, app_proto: 's7comm', responder_ip: '10.0.0.6' })],
      }),
    );
    const reader = closing(new StoreReader(directory));

    const first = reader.alerts({ limit: 10 });
    expect(first.rows).toHaveLength(10);
    const second = reader.alerts({ limit: 10, cursor: first.next_cursor as number });
    const third = reader.alerts({ limit: 10, cursor: second.next_cursor as number });
    expect([...first.rows, ...second.rows, ...third.rows].map((a) => a.key)).toEqual(alerts.map((a) => a.key));
    expect(third.next_cursor).toBeNull();

    expect(reader.alerts({ severity: ['high', 'critical'] }).rows).toHaveLength(12);
    expect(reader.alerts({ severity: [] }).rows).toHaveLength(0);
    expect(reader.alerts({ kind: 'mode_change' }).rows[0]).toMatchObject({ key: 'k3', details: { conduit: 'none' } });
    expect(reader.alerts({ text: `' and 50% m` }).rows.map((a) => a.key)).toEqual(['k3']);
    expect(reader.alerts({ text: '50%_' }).rows).toEqual([]);
    expect(reader.alerts({ text: `'; DROP TABLE alerts; --` }).rows).toEqual([]);
    expect(reader.alerts({ since_ms: T + 20, until_ms: T + 22 }).rows.map((a) => a.key)).toEqual(['k20', 'k21', 'k22']);
    expect(
      reader.alerts({ zone: 'cell 1', ip: '10.0.0.5', mac: '00-50-56-00-00-02', protocol: 'modbus', device: 2 }).rows,
    ).toHaveLength(25);
    expect(reader.alerts({ ip: '10.0.0.77' }).rows).toEqual([]);

    expect(reader.connections({ protocol: 's7comm' }).rows.map((c) => c.id)).toEqual([2]);
    expect(reader.connections({ port: 502 }).rows.map((c) => c.id)).toEqual([1]);
    expect(reader.connections({ ip: '10.0.0.6' }).rows.map((c) => c.id)).toEqual([2]);
    expect(reader.connections({ zone: 'none' }).rows).toEqual([]);
    expect(reader.events({ kind: ['device_detected'], device: 1 }).rows).toMatchObject([event]);
    expect(reader.captures()).toEqual([capture]);
    expect(reader.totals()).toMatchObject({ alerts: 25, events: 1, captures: 1, connections: 2, devices: 0 });
  });

  test('devices by address, MAC, protocol, text; activities by end and operation', () => {
    const inventory = new Inventory({ vendorOf: packagedVendors(), zoneOf: (ip) => (ip.startsWith('10.0.') ? 'cell 1' : '') });
    const s = new Script(inventory);
    s.sees('00:50:56:00:00:02/10.0.0.2', 'arp')
      .sees('00:1b:1b:00:00:01/10.0.0.5', 'arp')
      .sees('02:00:00:00:00:01/10.9.0.1', 'arp');
    s.opens(1, '00:50:56:00:00:02/10.0.0.2:4000', '00:1b:1b:00:00:01/10.0.0.5:102')
      .carries(1, 's7comm')
      .does(1, 'client', 's7comm', 'stop');
    s.says('00:1b:1b:00:00:01/10.0.0.5', 'order_code', '6ES7 315', 's7comm', 'rack 0 slot 2');
    const writer = closing(new Writer(directory));
    writer.apply(inventory.drain());
    const reader = closing(new StoreReader(directory));
    const ids = (filter: Parameters<StoreReader['devices']>[0]) => reader.devices(filter).rows.map((d) => d.id);
    expect(ids({})).toEqual([1, 2, 3]);
    expect(ids({ ip: '10.0.0.5' })).toEqual([2]);
    expect(ids({ mac: '00:1B:1B:00:00:01' })).toEqual([2]);
    expect(ids({ protocol: 's7comm' })).toEqual([1, 2]);
    expect(ids({ zone: 'cell 1' })).toEqual([1, 2]);
    expect(ids({ programming_station: true, type: 'engineering_station' })).toEqual([1]);
    expect(ids({ text: 'siemens' })).toEqual([2]);
    expect(ids({ text: '6es7' })).toEqual([2]);
    expect(reader.device(2)).toMatchObject({
      vendor: 'Siemens AG',
      addresses: ['10.0.0.5'],
      macs: ['00:1b:1b:00:00:01'],
      parts: 1,
      router: false,
    });
    expect(reader.device(99)).toBeNull();
    expect(reader.parts(2)).toMatchObject([{ part: 'rack 0 slot 2', kind: 'module', number: 2 }]);
    expect(reader.attributes(2).map((a) => [a.part, a.value, a.preferred])).toEqual([
      ['', 'Siemens AG', true],
      ['rack 0 slot 2', '6ES7 315', true],
    ]);
    expect(reader.interfaces(2)).toMatchObject([{ mac: '00:1b:1b:00:00:01', router: false }]);
    expect(reader.addresses(2)).toMatchObject([{ ip: '10.0.0.5', how: 'arp', current: true }]);
    expect(reader.activities({ operation: 'stop', device: 1, ip: '10.0.0.5' }).rows).toMatchObject([
      { app_proto: 's7comm', server_port: 102, from_opener: true },
    ]);
  });

  test('a reader beside the writer sees whole change sets and cannot write', () => {
    const writer = closing(new Writer(directory));
    const reader = closing(new StoreReader(directory));
    expect(reader.totals().connections).toBe(0);
    writer.apply(changes({ connections: [connection(1), connection(2)] }));
    expect(reader.totals().connections).toBe(2);
  });
});

describe('a packed change set', () => {
  test.each(Object.keys(COLUMNS) as PackedTable[])('%s: the values stand in the order of their columns', (table) => {
    const row = new Proxy({} as never, { get: (_, name) => name });
    const values: unknown[] = [];
    PACKERS[table](row, values as never);
    // A flag is a number, details are JSON.
    expect(values.map((value, i) => (value === 1 || value === '"details"' ? COLUMNS[table][i] : value))).toEqual(COLUMNS[table]);
  });
});

describe('the task file', () => {
  test('answers with data, errors too', () => {
    expect(writerTask({ do: 'write', changes: pack(emptyChangeSet()) })).toMatchObject({
      ok: false,
      error: { code: 'store_closed' },
    });
    expect(writerTask({ do: 'open', directory })).toMatchObject({
      ok: true,
      opened: { next_capture_id: 1, schema_version: SCHEMA_VERSION },
    });
    const set = structuredClone(pack(changes({ alerts: [alert('k')], evidence: [evidence('k', 0, [1])] })));
    expect(writerTask({ do: 'write', changes: set })).toEqual({ ok: true });
    const refused = writerTask({ do: 'open', directory });
    expect(structuredClone(refused)).toMatchObject({ ok: false });
    expect(writerTask({ do: 'close' })).toEqual({ ok: true });
    expect(writerTask({ do: 'close' })).toEqual({ ok: true });
    expect(new StoreReader(directory).totals().alerts).toBe(1);
  });
});
