import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect, nkeys } from '@nats-io/transport-node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OUTBOUND } from '../appliance/outbound.ts';
import { ot_sensor } from '../proto/facts.js';
import { FORWARDING } from './settings.ts';
import { subjectOf } from './subject.ts';
import { Appliance, certificates, findServer, freePort, Server, T, until } from './testing.ts';

const NATS_SERVER = findServer('nats-server', 'nats-server');

let appliance: Appliance;
let folder: string;
let server: Server | null = null;
let port: number;
beforeEach(async () => {
  appliance = new Appliance();
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-nats-'));
  port = await freePort();
});
afterEach(async () => {
  await appliance.close();
  await server?.end('SIGKILL');
  server = null;
  fs.rmSync(folder, { recursive: true, force: true });
});

async function serve(config = ''): Promise<void> {
  const file = path.join(folder, 'nats.conf');
  fs.writeFileSync(file, `listen: "127.0.0.1:${port}"\njetstream { store_dir: "${folder}/js" }\n${config}`);
  server = new Server(NATS_SERVER!, ['-c', file], port);
  await server.start();
}

interface Stored {
  subject: string;
  id: string;
  item: ot_sensor.Forwarded;
}

/** What is in the stream, in order. */
async function stored(): Promise<Stored[]> {
  const connection = await connect({ servers: `127.0.0.1:${port}`, user: 'reader', pass: 'reads' });
  const { streams } = await jetstreamManager(connection);
  const { state } = await streams.info('OT');
  const all: Stored[] = [];
  for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
    const message = await streams.getMessage('OT', { seq });
    const { subject, data, header } = message!;
    all.push({ subject, id: header.get('Nats-Msg-Id'), item: ot_sensor.Forwarded.decode(data) });
  }
  await connection.close();
  return all;
}

async function makeStream(): Promise<void> {
  const connection = await connect({ servers: `127.0.0.1:${port}`, user: 'reader', pass: 'reads' });
  // As short a window as there may be: it drops nothing here.
  await (await jetstreamManager(connection)).streams.add({ name: 'OT', subjects: ['ot.>'], duplicate_window: 100_000_000 });
  await connection.close();
}

const centre = (more: object = {}) => ({ name: 'centre', type: 'nats', servers: [`127.0.0.1:${port}`], ...more });
const findings = (all: Stored[]) => all.map(({ item }) => Number(/finding (\d+)/.exec(item.message)?.[1]));

const { createAccount, createOperator, createUser } = nkeys;
type KeyPair = nkeys.KeyPair;

describe.skipIf(NATS_SERVER === null)('NATS JetStream', () => {
  it('gets alerts and notifications under their subjects, as messages of the schema', async () => {
    await serve();
    await makeStream();
    appliance.set([centre()]);
    const forwarder = await appliance.forward();
    appliance.raise(2);
    appliance.notifications.raise('disk_low', '/data', '/data is 95 % full.', { percent: 95 });
    await until(
      () => forwarder.status()[0].sent === 3,
      () => JSON.stringify(forwarder.status()),
    );
    const all = await stored();
    const alerts = all.filter(({ subject }) => subject === 'ot.north.sensor-1.alerts');
    const notifications = all.filter(({ subject }) => subject === 'ot.north.sensor-1.notifications');
    expect([alerts.length, notifications.length]).toEqual([2, 1]);
    expect(alerts.map(({ id, item }) => id === item.uuid)).toEqual([true, true]);
    expect(ot_sensor.Forwarded.toObject(alerts[0].item)).toMatchObject({
      site: 'north',
      sensor: 'sensor-1',
      sensor_version: '1.2.3',
      what: 'alert',
      id: 1,
      time_ms: T,
      kind: 'zone_crossing',
      severity: 'major',
      engine: 'policy violation',
      message: 'finding 1',
      source: { ip: '10.0.0.2', mac: '00:50:56:00:00:02', port: 4000, zone: 'office' },
      destination: { ip: '10.0.0.5', port: 502, zone: 'cell 1' },
      details: '{"why":"no conduit"}',
    });
    expect(notifications[0].item).toMatchObject({ what: 'notification', kind: 'disk_low', details: '{"percent":95}' });
  });

  it('does not get twice what it had stored before the acknowledgement was lost, long after its window', async () => {
    await serve();
    await makeStream();
    appliance.set([centre()]);
    let forwarder = await appliance.forward();
    appliance.raise(5);
    await until(() => forwarder.status()[0].sent === 5, 'five are stored');
    await forwarder.stop();
    // As if the appliance had died before it wrote down that the last three were taken.
    appliance.database.db.prepare("UPDATE forward_cursors SET position = 2, sent = 2 WHERE source = 'alerts'").run();
    appliance.raise(2);
    forwarder = await appliance.forward();
    await until(() => forwarder.status()[0].sent === 7, 'the rest is stored');
    expect(findings(await stored())).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });

  it('gets more before it has acknowledged the first: over a wide area each would take a round trip', async () => {
    await serve();
    await makeStream();
    // Keeps back what the server says, as a long line does, until so many were published.
    const relay = await Relay.open(port, ({ published }) => published >= 40);
    appliance.set([centre({ servers: [`127.0.0.1:${relay.port}`], timeout_ms: 20_000 })]);
    const forwarder = await appliance.forward();
    appliance.raise(100);
    await until(
      () => forwarder.status()[0].sent === 100,
      () => `${relay.published} were published, then it waited`,
    );
    expect(findings(await stored())).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
    await relay.close();
  });

  it('gets each once and in order where the line is cut again and again, with many on their way', async () => {
    await serve();
    await makeStream();
    // What is published arrives; that it did is never heard, eight times, or fewer where more were on their way at each cut.
    let cuts = 0;
    const relay = await Relay.open(port, ({ published }) => {
      if (cuts === 8) return true;
      if (published < 10 + 3 * cuts) return false;
      cuts++;
      return 'cut';
    });
    appliance.set([centre({ servers: [`127.0.0.1:${relay.port}`] })]);
    const forwarder = await appliance.forward();
    appliance.raise(300);
    await until(
      () => forwarder.status()[0].cursor.alerts === 300,
      () => JSON.stringify(forwarder.status()[0]),
    );
    expect(cuts).toBeGreaterThanOrEqual(4);
    const alerts = (await stored()).filter(({ item }) => item.what === 'alert');
    expect(findings(alerts)).toEqual(Array.from({ length: 300 }, (_, i) => i + 1));
    await relay.close();
  });

  it('does not lose one that the stream refuses while it takes those behind it, nor store those twice', async () => {
    await serve();
    await makeStream();
    const limit = async (max_msg_size: number) => {
      const connection = await connect({ servers: `127.0.0.1:${port}`, user: 'reader', pass: 'reads' });
      await (await jetstreamManager(connection)).streams.update('OT', { max_msg_size });
      await connection.close();
    };
    await limit(2000);
    appliance.set([centre()]);
    const forwarder = await appliance.forward();
    appliance.raise(2);
    appliance.raise(1, { description: `finding 3 ${'x'.repeat(2000)}` });
    appliance.raise(7);
    await until(() => forwarder.status()[0].last_error !== '', 'one is refused');
    expect(findings(await stored())).not.toContain(3);
    // Another process takes over, which knows nothing of what the stream said.
    await forwarder.stop();
    await limit(-1);
    const next = await appliance.forward();
    await until(
      () => next.status()[0].sent === 10,
      () => JSON.stringify(next.status()[0]),
    );
    expect(findings(await stored()).sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  it('lets in by a .creds file, and by no other', async () => {
    const [operator, account, system, user, stranger] = [
      createOperator(),
      createAccount(),
      createAccount(),
      createUser(),
      createUser(),
    ];
    const no_limits = { subs: -1, data: -1, payload: -1, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 };
    const jetstream_limits = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
    const accountOf = (key: typeof account, more: object) =>
      jwt(operator, key, 'account', { limits: { ...no_limits, ...more }, default_permissions: { pub: {}, sub: {} } });
    const credentials = (key: typeof user, signer: typeof account) => {
      const claims = { pub: {}, sub: {}, subs: -1, data: -1, payload: -1 };
      const seed = new TextDecoder().decode(key.getSeed());
      return `-----BEGIN NATS USER JWT-----\n${jwt(signer, key, 'user', claims)}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n${seed}\n------END USER NKEY SEED------\n`;
    };
    await serve(
      `operator: ${jwt(operator, operator, 'operator', {})}\nsystem_account: ${system.getPublicKey()}\nresolver: MEMORY\nresolver_preload: {
        ${account.getPublicKey()}: ${accountOf(account, jetstream_limits)}
        ${system.getPublicKey()}: ${accountOf(system, {})}\n}`,
    );
    appliance.set([
      centre({ credentials: credentials(user, account) }),
      centre({ name: 'stranger', credentials: credentials(stranger, createAccount()) }),
      centre({ name: 'nobody' }),
    ]);
    const forwarder = await appliance.forward();
    expect((await forwarder.test('centre')).said).toMatch(/no stream there takes the subject/);
    for (const name of ['stranger', 'nobody'])
      expect((await forwarder.test(name)).said, name).toMatch(/does not accept our credentials/);
    expect(JSON.stringify(appliance.settings.show(FORWARDING))).not.toMatch(/SEED|BEGIN NATS/);
  });

  it('says what is missing: a stream, the right password, a server', async () => {
    await serve(
      'authorization { users: [ { user: "reader", password: "reads" }, { user: "sensor", password: "nats secret" } ] }',
    );
    const right = { username: 'sensor', password: 'nats secret' };
    appliance.set([
      centre(right),
      centre({ name: 'wrong', username: 'sensor', password: 'other secret' }),
      centre({ name: 'gone', servers: [`127.0.0.1:${await freePort()}`] }),
      centre({ name: 'no TLS', use_tls: true, ...right }),
    ]);
    const forwarder = await appliance.forward();
    const said = async (name: string) => (await forwarder.test(name)).said;
    expect(await said('centre')).toMatch(/no stream there takes the subject/);
    expect(await said('wrong')).toMatch(/does not accept our credentials/);
    expect(await said('wrong')).not.toMatch(/secret/);
    expect(await said('gone')).toMatch(/nothing listens there/);
    expect(await said('no TLS')).toMatch(/tls/i);
    await makeStream();
    expect(await forwarder.test('centre')).toEqual({ ok: true, said: 'stream OT, sequence 1, subject ot.north.sensor-1.alerts' });
  });

  it('is reached in TLS with a client certificate, and through a proxy', async () => {
    const { ca, server: own, client } = await certificates();
    for (const [name, text] of Object.entries({ ca, cert: own.certificate, key: own.key }))
      fs.writeFileSync(path.join(folder, `${name}.pem`), text);
    await serve(
      `tls { cert_file: "${folder}/cert.pem", key_file: "${folder}/key.pem", ca_file: "${folder}/ca.pem", verify: true }`,
    );
    const tunnels: string[] = [];
    const proxy = http.createServer().on('connect', (message: http.IncomingMessage, near: net.Socket) => {
      tunnels.push(message.url!);
      const far = net.connect(port, '127.0.0.1', () => {
        near.write('HTTP/1.1 200 OK\r\n\r\n');
        near.pipe(far);
        far.pipe(near);
      });
      near.on('error', () => {}).once('close', () => far.destroy());
      far.on('error', () => near.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const trusted = { use_tls: true, tls: { ca, certificate: client.certificate, key: client.key } };
    appliance.set([
      centre({ servers: [`localhost:${port}`], ...trusted }),
      centre({ name: 'unknown', servers: [`localhost:${port}`], use_tls: true }),
      centre({ name: 'address', ...trusted }),
      centre({ name: 'other', ...trusted, tls: { ...trusted.tls, server_name: 'nats.example' } }),
    ]);
    const forwarder = await appliance.forward();
    // There is no stream: but what says so has been reached.
    expect((await forwarder.test('centre')).said).toMatch(/no stream there takes the subject/);
    expect((await forwarder.test('unknown')).said).toMatch(/CA that is not known here/);
    expect((await forwarder.test('address')).said).toMatch(/no stream there takes the subject/);
    expect((await forwarder.test('other')).said).toMatch(/nats\.example/);
    expect(tunnels).toEqual([]);
    const { port: proxy_port } = proxy.address() as net.AddressInfo;
    appliance.settings.write(OUTBOUND, { proxy: { host: '127.0.0.1', port: proxy_port }, no_proxy: [] }, 'test', 1);
    expect((await forwarder.test('centre')).said).toMatch(/no stream there takes the subject/);
    expect(tunnels).toEqual([`localhost:${port}`]);
    proxy.closeAllConnections();
    await new Promise((resolve) => proxy.close(resolve));
  });
});

/** A claim as nats-server reads it: a JWT signed with Ed25519 by an nkey. */
function jwt(by: KeyPair, of: KeyPair, type: string, nats: object): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = {
    jti: of.getPublicKey(),
    iat: 1,
    iss: by.getPublicKey(),
    sub: of.getPublicKey(),
    nats: { ...nats, type, version: 2 },
  };
  const signed = `${part({ typ: 'JWT', alg: 'ed25519-nkey' })}.${part(claims)}`;
  return `${signed}.${Buffer.from(by.sign(new TextEncoder().encode(signed))).toString('base64url')}`;
}

/** A line to the server, which keeps back what that says from the first publish of a connection on, until `release`; or is cut then. */
class Relay {
  published = 0;
  private readonly server: net.Server;
  private readonly sockets: net.Socket[] = [];
  private constructor(server: net.Server) {
    this.server = server;
  }

  get port(): number {
    return (this.server.address() as net.AddressInfo).port;
  }

  static async open(to: number, release: (seen: { published: number }) => boolean | 'cut'): Promise<Relay> {
    const server = net.createServer();
    const relay = new Relay(server);
    server.on('connection', (near) => {
      const far = net.connect(to, '127.0.0.1');
      const held: Buffer[] = [];
      let sent = '';
      const look = () => {
        const published = sent.split('HPUB ot.').length - 1;
        relay.published = Math.max(relay.published, published);
        const now = published === 0 || release({ published });
        if (now === 'cut') near.destroy();
        else if (now) for (const bytes of held.splice(0)) near.write(bytes);
      };
      near.on('data', (bytes) => {
        far.write(bytes);
        sent += bytes.toString('latin1');
        look();
      });
      far.on('data', (bytes) => {
        held.push(bytes);
        look();
      });
      for (const socket of [near, far]) socket.on('error', () => {});
      relay.sockets.push(near, far);
      // What was published before the cut is let through.
      near.once('close', () => far.end());
      far.once('close', () => near.destroy());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return relay;
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

describe('a subject', () => {
  it.each([
    ['ot.{site}.{sensor}.alerts', 'North plant', 's.1*>', 'ot.North-plant.s-1-.alerts'],
    ['ot.{site}.{sensor}.alerts', '', 'sensor-1', 'ot.default.sensor-1.alerts'],
    ['plain', 'x', 'y', 'plain'],
  ])('%s of %s and %s is %s', (pattern, site, sensor, expected) => {
    expect(subjectOf(pattern, site, sensor)).toBe(expected);
  });
});
