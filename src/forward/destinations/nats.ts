import net from 'node:net';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import { type JetStreamClient, jetstream, jetstreamManager, type StoredMsg } from '@nats-io/jetstream';
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

/** Publishes that wait for their acknowledgements: over a wide area each takes a round trip. */
const WINDOW = 64;
/** Messages that are looked up at most to find out what of a batch is stored. */
const MAX_LOOKED_UP = 1000;

/**
 * NATS JetStream: an item a message, published in order without waiting for each, and acknowledged by the stream that stored it. Nothing is
 * stored twice: the item's UUID is the message id, by which the stream drops repeats for as long as its duplicate window reaches (two minutes
 * by default), and after each new connection the messages last stored under our subject are looked up, which tells those whose
 * acknowledgement was lost, however long ago that was. Where a stream refuses one and takes what comes behind it, that one is stored later,
 * and not left out.
 */
export class Nats implements Destination {
  readonly batch = 200;
  private readonly settings: NatsSettings;
  private readonly identity: Identity;
  private readonly outbound: Outbound;
  private open: { connection: NatsConnection; client: JetStreamClient; relays: Relay[]; looked_up: Set<string> } | null = null;
  /** UUIDs of items that are stored behind one that is not. */
  private stored = new Set<string>();

  constructor(settings: NatsSettings, { identity, outbound }: Surroundings) {
    this.settings = settings;
    this.identity = identity;
    this.outbound = outbound;
  }

  async send(items: readonly ForwardItem[]): Promise<Delivery> {
    const waiting = new Set(items.map(({ uuid }) => uuid));
    const stored = new Set([...this.stored].filter((uuid) => waiting.has(uuid)));
    this.stored = stored;
    const told = new Map<string, string>();
    let fault: unknown = null;
    try {
      await this.publish(items, stored, told);
    } catch (error) {
      fault = error;
      await this.close();
    }
    const next = items.findIndex(({ uuid }) => !stored.has(uuid));
    const taken = next < 0 ? items.length : next;
    const said = taken === 0 ? '' : (told.get(items[taken - 1].uuid) ?? '');
    return fault === null ? { taken, said } : { taken, fault: `${this.settings.servers.join(', ')}: ${faultOf(fault)}`, said };
  }

  /** Adds to `stored` what is stored, and to `told` what was said of it. Throws the first fault, when nothing is under way any more. */
  private async publish(items: readonly ForwardItem[], stored: Set<string>, told: Map<string, string>): Promise<void> {
    const { site, sensor } = this.identity;
    const { alerts_subject, notifications_subject, timeout_ms } = this.settings;
    const { client, looked_up } = this.open ?? (await this.connect());
    const fault: unknown[] = [];
    const flying = new Set<Promise<void>>();
    for (const item of items) {
      const subject = subjectOf(item.what === 'notification' ? notifications_subject : alerts_subject, site, sensor);
      if (!looked_up.has(subject)) {
        looked_up.add(subject);
        for (const uuid of await this.storedUnder(subject, items)) stored.add(uuid);
      }
      if (stored.has(item.uuid)) continue;
      const options = { msgID: item.uuid, timeout: timeout_ms };
      const publish = client.publish(subject, protobuf(item, this.identity), options).then(
        ({ stream, seq, duplicate }) => {
          stored.add(item.uuid);
          told.set(item.uuid, `stream ${stream}, sequence ${seq}${duplicate ? ' (was there already)' : ''}, subject ${subject}`);
        },
        (error) => void fault.push(error),
      );
      flying.add(publish);
      void publish.finally(() => flying.delete(publish));
      if (flying.size >= WINDOW) await Promise.race(flying);
      if (fault.length > 0) break;
    }
    await Promise.all(flying);
    if (fault.length > 0) throw fault[0];
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

  /** UUIDs of these items that are stored under the subject; none where we may not look. */
  private async storedUnder(subject: string, items: readonly ForwardItem[]): Promise<string[]> {
    const places = new Map(items.map(({ uuid }, place) => [uuid, place]));
    try {
      const manager = await jetstreamManager(this.open!.connection, { timeout: this.settings.timeout_ms, checkAPI: false });
      const stream = await manager.streams.find(subject);
      const idOf = (message: StoredMsg) => message.header.get('Nats-Msg-Id');
      const last = await manager.streams.getMessage(stream, { last_by_subj: subject });
      const place = last === null ? undefined : places.get(idOf(last));
      if (last === null || place === undefined) return [];
      // Others may write between ours: further and further back, until one is met that came before these.
      let left = MAX_LOOKED_UP;
      for (let back = place + 1; ; back *= 4) {
        const first = Math.max(1, last.seq - back);
        const found: string[] = [];
        for (let seq = first; seq <= last.seq && left > 0; left--) {
          // The first at or behind `seq`: the client's type leaves this form out.
          const from = { seq, next_by_subj: subject } as { seq: number };
          const message = await manager.streams.getMessage(stream, from);
          if (message === null) break;
          found.push(idOf(message));
          seq = message.seq + 1;
        }
        if (first === 1 || left <= 0 || found.some((id) => !places.has(id))) return found.filter((id) => places.has(id));
      }
    } catch {
      // A publisher's account often may do nothing but publish: the duplicate window remains.
      return [];
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
