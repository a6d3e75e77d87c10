/** For tests of forwarding: a data directory with alerts, certificates, and real receivers on this host's loopback. */
import 'reflect-metadata';
import { type ChildProcess, spawn } from 'node:child_process';
import { webcrypto } from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as x509 from '@peculiar/x509';
import { ApplianceDatabase } from '../appliance/database.ts';
import { Notifications } from '../appliance/notifications.ts';
import { OUTBOUND, SettingsOutbound } from '../appliance/outbound.ts';
import { Settings } from '../appliance/settings.ts';
import { StoreAccess } from '../appliance/store-access.ts';
import { type AlertRow, emptyChangeSet } from '../store/change-set.ts';
import { Writer } from '../store/writer.ts';
import { Forwarder } from './forwarder.ts';
import type { ForwardItem, Identity } from './item.ts';
import type { Timing } from './lane.ts';
import { FORWARDING } from './settings.ts';

/** 2026-01-03T04:05:06.789Z */
export const T = Date.UTC(2026, 0, 3, 4, 5, 6, 789);

export const IDENTITY: Identity = {
  sensor: 'sensor-1',
  site: 'north',
  address: '192.0.2.9',
  version: '1.2.3',
  enterprise_number: 32473,
};

export const ITEM: ForwardItem = {
  what: 'alert',
  id: 7,
  uuid: '00000000-0000-5000-8000-000000000007',
  time_ms: T,
  kind: 'zone_crossing',
  title: 'Zone crossing without a conduit',
  message: 'write from office to cell 1: no conduit',
  severity: 'major',
  engine: 'policy violation',
  category: 'Unauthorized communication behavior',
  protocol: 'modbus',
  operation: 'write',
  technique: 'T0886',
  from: { ip: '10.0.0.2', mac: '00:50:56:00:00:02', port: 4000, zone: 'office', name: 'ews-1', vendor: 'VMware' },
  to: { ip: '10.0.0.5', mac: '00:1b:1b:00:00:01', port: 502, zone: 'cell 1', name: 'plc-1', vendor: 'Siemens' },
  details: { why: 'no conduit' },
};

export function alertRow(key: string, more: Partial<AlertRow> = {}): AlertRow {
  return {
    key,
    kind: 'zone_crossing',
    severity: 'major',
    title: 'Zone crossing without a conduit',
    description: `finding ${key}`,
    source_mac: '00:50:56:00:00:02',
    source_ip: '10.0.0.2',
    source_port: 4000,
    source_device: null,
    source_zone: 'office',
    destination_mac: '00:1b:1b:00:00:01',
    destination_ip: '10.0.0.5',
    destination_port: 502,
    destination_device: null,
    destination_zone: 'cell 1',
    segment: '',
    proto: 'tcp',
    app_proto: 'modbus',
    operation: 'write',
    technique: 'T0886',
    details: { why: 'no conduit' },
    count: 1,
    first_ms: T,
    last_ms: T,
    first_frame: 5,
    last_frame: 5,
    capture_id: 1,
    ...more,
  };
}

/** Small numbers, so that tests need not wait. */
export const QUICK: Timing = { poll_ms: 20, first_retry_ms: 50, most_retry_ms: 200, failed_after_ms: 300 };

/** An appliance's data directory, with the sensor that writes alerts to it. */
export class Appliance {
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-forward-'));
  readonly writer = new Writer(this.folder);
  readonly database = new ApplianceDatabase(this.folder);
  readonly settings = new Settings(this.database);
  readonly notifications = new Notifications(this.database);
  readonly outbound = new SettingsOutbound(() => this.settings.read(OUTBOUND).value);
  readonly store = new StoreAccess(this.folder);
  readonly logged: { fields: object; text: string }[] = [];
  private raised = 0;
  private forwarder: Forwarder | null = null;

  /** Settings with these destinations, and one rule that sends them all alerts and notifications. */
  set(destinations: object[], more: object = {}): void {
    const names = destinations.map((one) => (one as { name: string }).name);
    const rules = [{ name: 'all', system_notifications: true, destinations: names }];
    this.settings.write(FORWARDING, { sensor_name: 'sensor-1', site: 'north', destinations, rules, ...more }, 'test', Date.now());
  }

  /** `count` more alerts; their descriptions are numbered: `finding 1`, … */
  raise(count: number, more: Partial<AlertRow> = {}): void {
    const changes = emptyChangeSet();
    for (let i = 0; i < count; i++) changes.alerts.push(alertRow(String(++this.raised), more));
    this.writer.apply(changes);
  }

  async forward(timing: Timing = QUICK): Promise<Forwarder> {
    const log = (fields: object, text: string) => this.logged.push({ fields, text });
    this.forwarder = new Forwarder({
      store: this.store,
      database: this.database,
      settings: this.settings,
      notifications: this.notifications,
      outbound: this.outbound,
      log: { info: log, warn: log, error: log },
      directory: path.join(this.folder, 'forward'),
      version: '1.2.3',
      timing,
    });
    await this.forwarder.start();
    return this.forwarder;
  }

  async close(): Promise<void> {
    await this.forwarder?.stop();
    this.store.close();
    this.writer.close();
    this.database.close();
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Resolves when it holds; fails where it does not in a minute. */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what: string | (() => string),
  patience_ms = 60_000,
): Promise<void> {
  for (const end = Date.now() + patience_ms; !(await holds()); await sleep(20))
    if (Date.now() > end) throw new Error(`waited in vain: ${typeof what === 'string' ? what : what()}`);
}

/** A port of the loopback that nobody has, for both TCP and UDP as far as that can be said. */
export async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export const answersAt = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });

/** A CA with a server's certificate (localhost, 127.0.0.1) and a client's, as PEM. */
export interface Certificates {
  ca: string;
  server: { certificate: string; key: string };
  client: { certificate: string; key: string };
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

export async function certificates(): Promise<Certificates> {
  x509.cryptoProvider.set(webcrypto as never);
  const dates = { notBefore: new Date(Date.now() - 86_400_000), notAfter: new Date(Date.now() + 86_400_000) };
  const keys = () => webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']) as Promise<webcrypto.CryptoKeyPair>;
  const pem = async (key: webcrypto.CryptoKey) =>
    `-----BEGIN PRIVATE KEY-----\n${Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64')}\n-----END PRIVATE KEY-----\n`;
  const authority = await keys();
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    ...dates,
    serialNumber: '01',
    name: 'CN=test CA',
    signingAlgorithm: ALGORITHM,
    keys: authority as never,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ],
  });
  const issue = async (serialNumber: string, name: string, usage: string) => {
    const pair = await keys();
    const certificate = await x509.X509CertificateGenerator.create({
      ...dates,
      serialNumber,
      subject: `CN=${name}`,
      issuer: ca.subject,
      publicKey: pair.publicKey as never,
      signingKey: authority.privateKey as never,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.SubjectAlternativeNameExtension([
          { type: 'dns', value: name },
          { type: 'ip', value: '127.0.0.1' },
        ]),
        new x509.ExtendedKeyUsageExtension([usage]),
      ],
    });
    return { certificate: `${certificate.toString('pem')}\n`, key: await pem(pair.privateKey) };
  };
  return {
    ca: `${ca.toString('pem')}\n`,
    server: await issue('02', 'localhost', x509.ExtendedKeyUsage.serverAuth),
    client: await issue('03', 'sensor-1', x509.ExtendedKeyUsage.clientAuth),
  };
}

/**
 * Where a program is, or null. Where all servers are demanded (OT_SENSOR_REQUIRE_SERVERS=1) a missing one is a failure; otherwise the
 * tests that need it are skipped, and it is said.
 */
export function findServer(name: string, packages: string): string | null {
  const folders = (process.env.PATH ?? '').split(':').concat('/usr/sbin', '/usr/local/sbin');
  if (name === 'rsyslogd' && process.env.OT_SENSOR_RSYSLOG) folders.unshift(path.join(process.env.OT_SENSOR_RSYSLOG, 'usr/sbin'));
  const found = folders.map((folder) => path.join(folder, name)).find((file) => fs.existsSync(file));
  if (found !== undefined) return found;
  const missing = `${name} is not installed (Debian: ${packages})`;
  if (process.env.OT_SENSOR_REQUIRE_SERVERS === '1') throw new Error(`${missing}, and OT_SENSOR_REQUIRE_SERVERS=1 demands it`);
  console.warn(`\n${'#'.repeat(100)}\n##  SKIPPED: ${missing}\n${'#'.repeat(100)}\n`);
  return null;
}

/** A program that is killed and started again. */
export class Server {
  private readonly program: string;
  private readonly args: readonly string[];
  private readonly port: number;
  private child: ChildProcess | null = null;
  private output = '';

  /** `port`: where it answers (TCP) once it is ready; 0: it does not. */
  constructor(program: string, args: readonly string[], port: number) {
    this.program = program;
    this.args = args;
    this.port = port;
  }

  async start(): Promise<void> {
    const child = spawn(this.program, this.args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.child = child;
    const keep = (bytes: Buffer) => {
      this.output = (this.output + bytes.toString()).slice(-4000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    if (this.port === 0) await sleep(1000);
    else
      await until(async () => {
        if (child.exitCode !== null) throw new Error(`${this.program} ended: ${this.output}`);
        return answersAt(this.port);
      }, `${this.program} answers`);
  }

  /** As the kernel does it to one that took too much memory: it can do nothing more. */
  kill(): Promise<void> {
    return this.end('SIGKILL');
  }

  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const { child } = this;
    this.child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }
}

/** The lines of a file that is being written; none where it is not there. */
export function linesOf(file: string): string[] {
  if (!fs.existsSync(file)) return [];
  const text = fs.readFileSync(file, 'utf8');
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .slice(0, -1);
}

export interface SyslogReceiver {
  server: Server;
  port: number;
  /** What it wrote down: a line a message. */
  file: string;
}

const TLS_FILES = ['ca.pem', 'server.pem', 'server.key'] as const;

function writeCertificates(folder: string, { ca, server }: Certificates): void {
  const contents = [ca, server.certificate, server.key];
  for (const [i, name] of TLS_FILES.entries()) fs.writeFileSync(path.join(folder, name), contents[i]);
}

export interface ReceiverOptions {
  transport: 'udp' | 'tcp' | 'tls';
  folder: string;
  certificates?: Certificates;
  /** TLS: a client without a certificate of the CA is refused. */
  client_certificate?: boolean;
  /** syslog-ng: a message ends at the line feed. */
  newline?: boolean;
}

/** syslog-ng; of a message it writes what a template makes of it: as it came where there is none. */
export async function syslogNg(program: string, options: ReceiverOptions & { template?: string }): Promise<SyslogReceiver> {
  const { transport, folder, certificates, client_certificate = false, newline = false, template } = options;
  const port = await freePort();
  const file = path.join(folder, 'syslog-ng.log');
  if (certificates) writeCertificates(folder, certificates);
  const tls = `tls(key-file("${folder}/server.key") cert-file("${folder}/server.pem") ca-file("${folder}/ca.pem")
    peer-verify(${client_certificate ? 'required-trusted' : 'optional-untrusted'}))`;
  const raw = template === undefined ? 'flags(no-parse)' : '';
  const driver = newline || transport === 'udp' ? 'network' : 'syslog';
  const parsed = template !== undefined && driver === 'network' ? 'flags(syslog-protocol)' : raw;
  const config = path.join(folder, 'syslog-ng.conf');
  fs.writeFileSync(
    config,
    `@version: 3.38
options { keep-hostname(yes); use-dns(no); stats-freq(0); create-dirs(no); log-msg-size(65536); };
source s { ${driver}(ip("127.0.0.1") port(${port}) transport("${transport}") ${parsed} ${transport === 'tls' ? tls : ''}); };
destination d { file("${file}" template("${template ?? '$MSG'}\\n")); };
log { source(s); destination(d); flags(flow-control); };
`,
  );
  const state = ['persist', 'control', 'pid'].map((name) => path.join(folder, `syslog-ng.${name}`));
  const args = ['-F', '-e', '--no-caps', '-f', config, '-R', state[0], '-c', state[1], '-p', state[2]];
  const server = new Server(program, args, transport === 'udp' ? 0 : port);
  await server.start();
  return { server, port, file };
}

/** The folder below another in which there is a file of this name. */
function folderOf(top: string, name: string): string {
  const found = fs.readdirSync(top, { recursive: true, encoding: 'utf8' }).find((file) => path.basename(file) === name);
  if (found === undefined) throw new Error(`there is no ${name} below ${top}`);
  return path.join(top, path.dirname(found));
}

/** rsyslog, with GnuTLS or OpenSSL; it writes messages as they came. */
export async function rsyslog(program: string, options: ReceiverOptions & { driver?: 'gtls' | 'ossl' }): Promise<SyslogReceiver> {
  const { transport, folder, certificates, client_certificate = false, driver = 'gtls' } = options;
  const port = await freePort();
  const file = path.join(folder, 'rsyslog.log');
  if (certificates) writeCertificates(folder, certificates);
  const [ca, certificate, key] = TLS_FILES.map((name) => path.join(folder, name));
  const authentication = client_certificate ? 'x509/certvalid' : 'anon';
  const module =
    transport === 'udp'
      ? 'module(load="imudp")'
      : transport === 'tcp'
        ? 'module(load="imtcp")'
        : `module(load="imtcp" StreamDriver.Name="${driver}" StreamDriver.Mode="1" StreamDriver.Authmode="${authentication}")`;
  const config = path.join(folder, 'rsyslog.conf');
  fs.writeFileSync(
    config,
    `global(workDirectory="${folder}" maxMessageSize="64k" defaultNetstreamDriverCAFile="${ca}" defaultNetstreamDriverCertFile="${certificate}" defaultNetstreamDriverKeyFile="${key}" parser.escapeControlCharactersOnReceive="off")
${module}
template(name="raw" type="string" string="%rawmsg%\\n")
ruleset(name="all") { action(type="omfile" file="${file}" template="raw" asyncWriting="off" flushOnTXEnd="on") }
input(type="${transport === 'udp' ? 'imudp' : 'imtcp'}" address="127.0.0.1" port="${port}" ruleset="all")
`,
  );
  const modules = process.env.OT_SENSOR_RSYSLOG ? ['-M', folderOf(process.env.OT_SENSOR_RSYSLOG, 'lmnet.so')] : [];
  const server = new Server(
    program,
    ['-n', '-f', config, '-i', path.join(folder, 'rsyslog.pid'), ...modules],
    transport === 'udp' ? 0 : port,
  );
  await server.start();
  return { server, port, file };
}
