import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { SyslogStream } from './destinations/syslog-stream.ts';
import { FORWARDING, type SyslogSettings } from './settings.ts';
import {
  Appliance,
  type Certificates,
  certificates,
  findServer,
  IDENTITY,
  ITEM,
  linesOf,
  rsyslog,
  type Server,
  type SyslogReceiver,
  syslogNg,
  until,
} from './testing.ts';

const SYSLOG_NG = findServer('syslog-ng', 'syslog-ng-core');
const RSYSLOG = findServer('rsyslogd', 'rsyslog rsyslog-gnutls rsyslog-openssl');

let appliance: Appliance;
let folder: string;
let certs: Certificates;
const servers: Server[] = [];
beforeAll(async () => {
  certs = await certificates();
});
beforeEach(() => {
  appliance = new Appliance();
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-receiver-'));
});
afterEach(async () => {
  await appliance.close();
  for (const server of servers.splice(0)) await server.end('SIGKILL');
  fs.rmSync(folder, { recursive: true, force: true });
});

const use = (receiver: SyslogReceiver): SyslogReceiver => {
  servers.push(receiver.server);
  return receiver;
};
/** Numbers of the findings, in the order they were written down. */
const numbers = (file: string): number[] => linesOf(file).map((line) => Number(/finding (\d+)/.exec(line)?.[1]));
const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);
const destination = (port: number, more: object) => ({
  name: 'siem',
  type: 'syslog',
  host: '127.0.0.1',
  port,
  settle_ms: 50,
  ...more,
});

describe.skipIf(SYSLOG_NG === null)('syslog-ng', () => {
  const TEMPLATE = '$PRI $ISODATE $HOST $PROGRAM $PID $MSGID $(format-json --scope sdata) $MSG';

  it.each(['udp', 'tcp', 'tls'] as const)('reads RFC 5424 over %s as it was meant', async (transport) => {
    const { port, file } = use(await syslogNg(SYSLOG_NG!, { transport, folder, certificates: certs, template: TEMPLATE }));
    appliance.set([
      destination(port, { transport, host: transport === 'tls' ? 'localhost' : '127.0.0.1', tls: { ca: certs.ca } }),
    ]);
    const forwarder = await appliance.forward();
    appliance.raise(3, {
      description: 'quotes " backslash \\ bracket ] and\nline\u2028feeds; ümlaut 日本',
      title: 'Crossing ] "x" \\',
    });
    await until(() => linesOf(file).length >= 3, 'three messages');
    expect(linesOf(file)).toHaveLength(3);
    const [, data, message] =
      /^9 2026-01-03T04:05:06\.?\d*\S* sensor-1 ot-sensor {1,2}zone_crossing (\{.*\}) (?:\ufeff)?(.*)$/.exec(linesOf(file)[0]) ??
      [];
    expect(JSON.parse(data)).toMatchObject({
      _SDATA: {
        'alert@32473': {
          severity: 'major',
          title: 'Crossing ] "x" \\',
          site: 'north',
          source_ip: '10.0.0.2',
          destination_zone: 'cell 1',
          destination_port: '502',
        },
      },
    });
    expect(message).toBe('Crossing ] "x" \\: quotes " backslash \\ bracket ] and line feeds; ümlaut 日本');
    await until(() => forwarder.status()[0].sent === 3, 'all taken');
    expect(forwarder.status()[0]).toMatchObject({ state: 'idle', sent: 3, waiting: 0, dropped: 0, last_error: '' });
  });

  it.each(['octet_counting', 'newline'] as const)('takes messages told apart by %s', async (framing) => {
    const { port, file } = use(await syslogNg(SYSLOG_NG!, { transport: 'tcp', folder, newline: framing === 'newline' }));
    appliance.set([destination(port, { transport: 'tcp', framing, format: 'cef' })]);
    await appliance.forward();
    appliance.raise(1200);
    await until(() => numbers(file).length >= 1200, 'all messages');
    expect(numbers(file)).toEqual(upTo(1200));
    expect(linesOf(file)[0]).toMatch(/^<9>Jan {2}3 04:05:06 sensor-1 CEF:0\|ot-sensor\|sensor-1\|/);
  });

  it('keeps a connection open where that is asked for', async () => {
    const { port, file } = use(await syslogNg(SYSLOG_NG!, { transport: 'tcp', folder }));
    appliance.set([destination(port, { transport: 'tcp', confirmation: 'connected' })]);
    const forwarder = await appliance.forward();
    for (let round = 1; round <= 3; round++) {
      appliance.raise(10);
      await until(() => forwarder.status()[0].sent === 10 * round, 'a round');
    }
    expect(numbers(file)).toEqual(upTo(30));
  });

  it('is not trusted without the right CA or under another name, and a client certificate opens it', async () => {
    const { port } = use(await syslogNg(SYSLOG_NG!, { transport: 'tls', folder, certificates: certs, client_certificate: true }));
    const client = { certificate: certs.client.certificate, key: certs.client.key };
    appliance.set([
      destination(port, { name: 'no CA', transport: 'tls', host: 'localhost' }),
      destination(port, { name: 'other name', transport: 'tls', tls: { ca: certs.ca, server_name: 'siem.example', ...client } }),
      destination(port, { name: 'no certificate', transport: 'tls', tls: { ca: certs.ca } }),
      destination(port, { name: 'right', transport: 'tls', tls: { ca: certs.ca, ...client } }),
    ]);
    const forwarder = await appliance.forward();
    const said = async (name: string) => forwarder.test(name);
    expect(await said('no CA')).toMatchObject({ ok: false, said: expect.stringMatching(/CA that is not known here/) });
    expect(await said('other name')).toMatchObject({ ok: false, said: expect.stringMatching(/siem\.example/) });
    expect(await said('no certificate')).toMatchObject({
      ok: false,
      said: expect.stringMatching(/client certificate|closed|broke/),
    });
    expect(await said('right')).toMatchObject({ ok: true, said: expect.stringMatching(/closed the connection/) });
    expect(JSON.stringify(appliance.settings.show(FORWARDING))).not.toContain('PRIVATE KEY');
  });
});

describe.skipIf(RSYSLOG === null)('rsyslog', () => {
  it.each([
    ['udp', 'gtls'],
    ['tcp', 'gtls'],
    ['tls', 'gtls'],
    ['tls', 'ossl'],
  ] as const)('takes messages over %s (%s)', async (transport, driver) => {
    const options = { transport, folder, certificates: certs, client_certificate: true, driver };
    const { port, file } = use(await rsyslog(RSYSLOG!, options));
    const tls = { ca: certs.ca, certificate: certs.client.certificate, key: certs.client.key };
    appliance.set(
      [destination(port, { transport, format: 'leef', host: transport === 'tls' ? 'localhost' : '127.0.0.1', tls })],
      {
        sensor_address: '192.0.2.9',
      },
    );
    const forwarder = await appliance.forward();
    appliance.raise(30);
    await until(
      () => forwarder.status()[0].sent === 30,
      () => `taken: ${JSON.stringify(forwarder.status())}`,
    );
    await until(() => linesOf(file).length >= 30, 'all messages');
    expect(numbers(file)).toEqual(upTo(30));
    expect(linesOf(file)[0]).toMatch(
      /^<9>Jan {2}3 04:05:06 192\.0\.2\.9 sensor-1 LEEF:1\.0\|ot-sensor\|Sensor\|1\.2\.3\|ot-sensor Alert\|title=/,
    );
  });
});

describe('a receiver over UDP that is not there', () => {
  it('is noticed, and everything goes out when it comes back', async () => {
    if (SYSLOG_NG === null) return;
    const receiver = use(await syslogNg(SYSLOG_NG, { transport: 'udp', folder }));
    appliance.set([destination(receiver.port, { transport: 'udp' })]);
    const forwarder = await appliance.forward();
    await receiver.server.kill();
    appliance.raise(5);
    await until(() => forwarder.status()[0].state === 'failing', 'it fails');
    expect(forwarder.status()[0].last_error).toMatch(/nothing listens there/);
    await receiver.server.start();
    await until(() => numbers(receiver.file).length >= 5, 'all messages');
    expect(numbers(receiver.file)).toEqual(upTo(5));
  });
});

describe('a receiver over TCP', () => {
  const listening: net.Server[] = [];
  afterEach(async () => {
    for (const server of listening.splice(0)) await new Promise((resolve) => server.close(resolve));
  });

  /** What came of a batch that a receiver deals with in this way. */
  async function sendTo(receive: (socket: net.Socket, number: number) => void, more: object = {}) {
    const sockets = new Set<net.Socket>();
    let number = 0;
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      sockets.add(socket);
      socket.on('error', () => {}).once('close', () => sockets.delete(socket));
      receive(socket, ++number);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    listening.push(server);
    const { port } = server.address() as net.AddressInfo;
    appliance.set([destination(port, { transport: 'tcp', ...more })]);
    const [settings] = appliance.settings.read(FORWARDING).value.destinations as SyslogSettings[];
    const stream = new SyslogStream(settings, { identity: IDENTITY, outbound: appliance.outbound, directory: '' }, 300);
    const delivery = await stream.send([ITEM]);
    await stream.close();
    for (const socket of sockets) socket.destroy();
    return delivery;
  }

  it.each<[string, (socket: net.Socket, number: number) => void, object, object]>([
    [
      'that reads everything and closes has taken it',
      (socket) => socket.resume().on('end', () => socket.end()),
      {},
      { taken: 1 },
    ],
    [
      'that is gone with messages unread has not',
      (socket) => setTimeout(() => socket.resetAndDestroy(), 50),
      {},
      { taken: 0, fault: expect.stringMatching(/broke the connection off/) },
    ],
    [
      'that closes before it has everything has not',
      (socket) => socket.end(),
      { confirmation: 'connected', settle_ms: 100 },
      { taken: 0, fault: expect.stringMatching(/closed the connection/) },
    ],
    [
      'that reads, closes, and then breaks the next connection off has not',
      (socket, number) => (number === 1 ? socket.resume().on('end', () => socket.end()) : socket.resetAndDestroy()),
      {},
      { taken: 0 },
    ],
    [
      'that never closes has not, and the way out is named',
      (socket) => socket.resume(),
      {},
      { taken: 0, fault: expect.stringMatching(/set confirmation to "connected"/) },
    ],
    ['that never closes has, where that is how it is', (socket) => socket.resume(), { confirmation: 'connected' }, { taken: 1 }],
  ])('%s', async (_, receive, more, expected) => {
    expect(await sendTo(receive, more)).toMatchObject(expected);
  });
});
