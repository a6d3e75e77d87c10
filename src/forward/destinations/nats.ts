import net from 'node:net';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import { type JetStreamClient, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, credsAuthenticator, type NatsConnection, type NodeConnectionOptions } from '@nats-io/transport-node';
import { type Outbound, reasonOf, type Target } from '../../appliance/outbound.ts';
import { protobuf } from '../formats/protobuf.ts';
import type { ForwardItem, Identity } from '../item.ts';
import type { NatsSettings } from '../settings.ts';
import { subjectOf } from '../subject.ts';
import { cutText, plain } from '../text.ts';
import type { Delivery, Destination, Surroundings } from './destination.ts';

const USUAL_PORT = 4222;
const MAX_SAID_BYTES = 300;

/**
 * NATS JetStream: an item a message, published one after the other, each acknowledged by the stream that stored it. Nothing is stored
 * twice: the item's UUID is the message id, by which the stream drops repeats for as long as its duplicate window reaches (two minutes
 * by default), and after each new connection the last message stored under our subject is looked up, which tells whether the one whose
 * acknowledgement was lost is there, however long ago that was.
 */
export class Nats implements Destination {
  readonly batch = 200;
  private readonly settings: NatsSettings;
  private readonly identity: Identity;
  private readonly outbound: Outbound;
  private open: { connection: NatsConnection; client: JetStreamClient; relays: Relay[]; looked_up: Set<string> } | null = null;

  constructor(settings: NatsSettings, { identity, outbound }: Surroundings) {
    this.settings = settings;
    this.identity = identity;
    this.outbound = outbound;
  }

  async send(items: readonly ForwardItem[]): Promise<Delivery> {
    const { site, sensor } = this.identity;
    const { alerts_subject, notifications_subject, timeout_ms, servers } = this.settings;
    let taken = 0;
    let said = '';
    try {
      const { client, looked_up } = this.open ?? (await this.connect());
      for (const item of items) {
        const subject = subjectOf(item.what === 'notification' ? notifications_subject : alerts_subject, site, sensor);
        if (!looked_up.has(subject)) {
          looked_up.add(subject);
          const last = await this.lastStored(subject);
          const stored = items.findLastIndex(({ uuid }) => uuid === last);
          if (stored >= 0) taken = stored + 1;
        }
        if (items.indexOf(item) < taken) continue;
        const { stream, seq, duplicate } = await client.publish(subject, protobuf(item, this.identity), {
          msgID: item.uuid,
          timeout: timeout_ms,
        });
        taken++;
        said = `stream ${stream}, sequence ${seq}${duplicate ? ' (was there already)' : ''}, subject ${subject}`;
      }
      return { taken, said };
    } catch (error) {
      await this.close();
      return { taken, fault: `${servers.join(', ')}: ${faultOf(error)}`, said };
    }
  }

  async close(): Promise<void> {
    const { open } = this;
    this.open = null;
    if (open === null) return;
    await open.connection.close().catch(() => {});
    for (const relay of open.relays) relay.close();
  }

  private async connect(): Promise<NonNullable<typeof this.open>> {
    const { servers, use_tls, tls, username, password, token, credentials, timeout_ms } = this.settings;
    const relays: Relay[] = [];
    const addresses: string[] = [];
    const targets = servers.map(targetOf);
    for (const target of targets) {
      if (!this.outbound.proxied(target)) addresses.push(`${bracketed(target.host)}:${target.port}`);
      else {
        const relay = await Relay.open(this.outbound, target);
        relays.push(relay);
        addresses.push(`127.0.0.1:${relay.port}`);
      }
    }
    // Without these, TLS is used where the server offers it.
    const secured = use_tls || tls.ca !== '' || tls.certificate !== '' || tls.server_name !== '' || !tls.verify;
    const names = tls.server_name === '' ? targets.map(({ host }) => host) : [tls.server_name];
    const options: NodeConnectionOptions = {
      servers: addresses,
      name: `ot-sensor ${this.identity.sensor}`,
      timeout: timeout_ms,
      // We come back ourselves, with our own back-off. Servers that the cluster tells of are not ours to dial.
      reconnect: false,
      ignoreClusterUpdates: true,
      ...(username === '' ? {} : { user: username, pass: password }),
      ...(token === '' ? {} : { token }),
      ...(credentials === '' ? {} : { authenticator: credsAuthenticator(new TextEncoder().encode(credentials)) }),
      ...(secured ? { tls: this.tlsOptions(names) } : {}),
    };
    try {
      const connection = await connect(options);
      this.open = { connection, client: jetstream(connection, { timeout: timeout_ms }), relays, looked_up: new Set() };
      return this.open;
    } catch (error) {
      for (const relay of relays) relay.close();
      throw error;
    }
  }

  /** `names`: what the server's certificate must be for, any of them; through a relay the host is not what is dialled. */
  private tlsOptions(names: readonly string[]): NodeConnectionOptions['tls'] {
    const { ca, certificate, key, passphrase, verify } = this.settings.tls;
    return {
      ...(ca === '' ? {} : { ca }),
      ...(certificate === '' ? {} : { cert: certificate, key, passphrase }),
      // An address is no server name (RFC 6066 §3).
      servername: names.find((name) => net.isIP(name) === 0) ?? '',
      checkServerIdentity: (_: string, presented: PeerCertificate) => {
        const faults = names.map((name) => checkServerIdentity(name, presented));
        return faults.includes(undefined) ? undefined : faults[0];
      },
      rejectUnauthorized: verify,
      minVersion: 'TLSv1.2',
    } as NodeConnectionOptions['tls'];
  }

  /** Message id of the last message under the subject; null where there is none, or we may not look. */
  private async lastStored(subject: string): Promise<string | null> {
    try {
      const manager = await jetstreamManager(this.open!.connection, { timeout: this.settings.timeout_ms, checkAPI: false });
      const stream = await manager.streams.find(subject);
      const message = await manager.streams.getMessage(stream, { last_by_subj: subject });
      return message?.header.get('Nats-Msg-Id') ?? null;
    } catch {
      // A publisher's account often may do nothing but publish: the duplicate window remains.
      return null;
    }
  }
}

const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host);

function targetOf(server: string): Target {
  const found = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(server);
  if (found === null) return { host: server, port: USUAL_PORT };
  return { host: found[1] ?? found[2], port: found[3] === undefined ? USUAL_PORT : Number(found[3]) };
}

function faultOf(error: unknown): string {
  // The client wraps what came of it.
  const inner = (error as Error).cause ?? error;
  const { name, message } = inner as Error;
  if (name === 'NoRespondersError' || /no responders|no stream matches/.test(message))
    return 'no stream there takes the subject; make one (nats stream add) whose subjects match it';
  if (name === 'TimeoutError') return 'no answer in time';
  if (name === 'AuthorizationError' || name === 'UserAuthenticationExpiredError') return 'it does not accept our credentials';
  return cutText(plain(reasonOf(inner)), MAX_SAID_BYTES);
}

/** A port of this host's loopback from which one server is reached through the proxy: the client dials by itself. */
class Relay {
  private readonly server: net.Server;
  private readonly sockets = new Set<net.Socket>();

  private constructor(server: net.Server, outbound: Outbound, target: Target) {
    this.server = server;
    server.on('connection', (near) => {
      this.keep(near);
      outbound.connect(target).then(
        (far) => {
          this.keep(far);
          near.pipe(far);
          far.pipe(near);
          near.once('close', () => far.destroy());
          far.once('close', () => near.destroy());
        },
        (error: Error) => near.destroy(error),
      );
    });
  }

  static async open(outbound: Outbound, target: Target): Promise<Relay> {
    const server = net.createServer({ pauseOnConnect: false });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    return new Relay(server, outbound, target);
  }

  get port(): number {
    return (this.server.address() as net.AddressInfo).port;
  }

  close(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  private keep(socket: net.Socket): void {
    this.sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.sockets.delete(socket));
  }
}
