import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PROGRAM } from '../cli/testing.ts';
import { ot_sensor } from '../proto/facts.js';
import { beginDestinations } from './forwarder.ts';
import { Appliance, findServer, freePort, linesOf, QUICK, rsyslog, Server, syslogNg, until } from './testing.ts';

// A receiver that is killed (SIGKILL) and started again ten times while alerts come in: each arrives, in order, none twice where the
// protocol can tell. OT_SENSOR_FORWARDED says how many; at 10,000 it is the rate and the length of a minute.
const ALERTS = Number(process.env.OT_SENSOR_FORWARDED ?? 1500);
const A_SECOND = 10_000 / 60;
const KILLS = 10;

const SYSLOG_NG = findServer('syslog-ng', 'syslog-ng-core');
const RSYSLOG = findServer('rsyslogd', 'rsyslog');
const NATS_SERVER = findServer('nats-server', 'nats-server');

let appliance: Appliance;
let folder: string;
let server: Server | null = null;
beforeEach(() => {
  appliance = new Appliance();
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-receiver-'));
});
afterEach(async () => {
  await appliance.close();
  await server?.end('SIGKILL');
  server = null;
  fs.rmSync(folder, { recursive: true, force: true });
});

/** Raises all alerts at the rate, and kills and starts the server meanwhile. */
async function killWhileRaising(killed: Server): Promise<void> {
  let raised = 0;
  const raising = (async () => {
    while (raised < ALERTS) {
      const count = Math.min(Math.round(A_SECOND / 10), ALERTS - raised);
      appliance.raise(count);
      raised += count;
      await sleep(100);
    }
  })();
  for (let kill = 1; kill <= KILLS; kill++) {
    await until(() => raised >= (ALERTS * kill) / (KILLS + 1), 'alerts are raised');
    await sleep(Math.random() * 200);
    await killed.kill();
    await sleep(Math.random() * 300);
    await killed.start();
  }
  await raising;
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

/** Each came, in order, what came again left aside. Says how many came twice. */
function expectEachInOrder(file: string, what: string): void {
  const came = linesOf(file).map((line) => Number(/finding (\d+)/.exec(line)?.[1]));
  expect([...new Set(came)].filter((number) => number > 0)).toEqual(upTo(ALERTS));
  console.info(`${what}: ${ALERTS} alerts, ${KILLS} kills, ${came.length - ALERTS} came again`);
}

describe('a receiver that is killed and started again ten times', () => {
  it.skipIf(SYSLOG_NG === null)('syslog-ng over TCP: each arrives, in order', async () => {
    const receiver = await syslogNg(SYSLOG_NG!, { transport: 'tcp', folder });
    server = receiver.server;
    appliance.set([{ name: 'siem', type: 'syslog', host: '127.0.0.1', port: receiver.port, transport: 'tcp' }]);
    const forwarder = await appliance.forward(QUICK);
    await killWhileRaising(server);
    await until(
      () => forwarder.status()[0].sent >= ALERTS,
      () => JSON.stringify(forwarder.status()),
    );
    expectEachInOrder(receiver.file, 'syslog-ng');
  });

  it.skipIf(RSYSLOG === null)('rsyslog over TCP: each arrives, in order', async () => {
    const receiver = await rsyslog(RSYSLOG!, { transport: 'tcp', folder });
    server = receiver.server;
    appliance.set([{ name: 'siem', type: 'syslog', host: '127.0.0.1', port: receiver.port, transport: 'tcp', format: 'cef' }]);
    const forwarder = await appliance.forward(QUICK);
    await killWhileRaising(server);
    await until(
      () => forwarder.status()[0].sent >= ALERTS,
      () => JSON.stringify(forwarder.status()),
    );
    expectEachInOrder(receiver.file, 'rsyslog');
  });

  it.skipIf(NATS_SERVER === null)('NATS JetStream: each arrives, in order, none twice', async () => {
    const port = await freePort();
    server = new Server(NATS_SERVER!, ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', path.join(folder, 'js')], port);
    await server.start();
    const make = await connect({ servers: `127.0.0.1:${port}` });
    // A window as short as it may be: what is not doubled is not doubled by looking, not by the window alone.
    const duplicate_window = 100 * 1_000_000;
    await (await jetstreamManager(make)).streams.add({ name: 'OT', subjects: ['ot.>'], duplicate_window });
    await make.close();
    appliance.set([{ name: 'centre', type: 'nats', servers: [`127.0.0.1:${port}`] }]);
    const forwarder = await appliance.forward(QUICK);
    await killWhileRaising(server);
    await until(
      () => forwarder.status()[0].sent >= ALERTS,
      () => JSON.stringify(forwarder.status()),
    );

    const read = await connect({ servers: `127.0.0.1:${port}` });
    const manager = await jetstreamManager(read);
    const filter_subject = 'ot.north.sensor-1.alerts';
    await manager.consumers.add('OT', {
      durable_name: 'test',
      ack_policy: AckPolicy.None,
      deliver_policy: DeliverPolicy.All,
      filter_subject,
    });
    const consumer = await jetstream(read).consumers.get('OT', 'test');
    const came: number[] = [];
    const { num_pending } = await consumer.info();
    while (came.length < num_pending)
      for await (const message of await consumer.fetch({ max_messages: 500, expires: 2000 })) {
        const item = ot_sensor.Forwarded.decode(message.data);
        came.push(Number(/finding (\d+)/.exec(item.message)?.[1]));
      }
    await read.close();
    expect(came).toEqual(upTo(ALERTS));
    console.info(`JetStream: ${ALERTS} alerts, ${KILLS} kills, none came again`);
  });
});

describe('the service that forwards', () => {
  it('killed again and again writes each alert to a file once, in order', async () => {
    appliance.set([{ name: 'lines', type: 'file', max_bytes: 200_000 }]);
    beginDestinations(appliance);
    const port = await freePort();
    const args = [PROGRAM, 'serve', '--no-tls', '--port', String(port), '--data', appliance.folder];
    server = new Server(process.execPath, args, port);
    const COUNT = 3000;
    for (let raised = 0; raised < COUNT; ) {
      await server.start();
      for (const end = raised + COUNT / 5; raised < end; raised += 20) {
        appliance.raise(20);
        await sleep(Math.random() * 30);
      }
      await server.kill();
    }
    await server.start();
    const files = ['.9', '.8', '.7', '.6', '.5', '.4', '.3', '.2', '.1', ''].map((end) =>
      path.join(appliance.folder, 'forward', `forwarded.jsonl${end}`),
    );
    const came = () => files.flatMap(linesOf).map((line) => Number(/finding (\d+)/.exec(line)?.[1]));
    await until(
      () => came().length >= COUNT,
      () => `${came().length} came`,
    );
    await server.end();
    expect(came()).toEqual(upTo(COUNT));
  });
});
