import fs from 'node:fs';
import { isIP } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import type { FastifyInstance } from 'fastify';
import type { ApiContext } from '../api/context.ts';
import { buildServer } from '../api/server.ts';
import { OperatingError } from '../errors.ts';
import { Forwarder } from '../forward/forwarder.ts';
import { Health } from '../health/health.ts';
import { SnmpAgent } from '../health/snmp.ts';
import { HealthWatch } from '../health/watch.ts';
import { log } from '../log.ts';
import { MANAGED_ZONES } from '../sensor/control.ts';
import { AuditLog } from '../users/audit.ts';
import { makeFirstUser } from '../users/first-user.ts';
import { Tokens } from '../users/tokens.ts';
import { Users } from '../users/users.ts';
import { Captures } from './captures.ts';
import { Certificate } from './certificate.ts';
import { ApplianceDatabase } from './database.ts';
import { Notifications } from './notifications.ts';
import { OUTBOUND, SettingsOutbound } from './outbound.ts';
import { programOf } from './program.ts';
import { SECTIONS } from './sections.ts';
import { Settings } from './settings.ts';
import { StoreAccess } from './store-access.ts';
import { ZonePolicies } from './zone-policies.ts';

export { SECTIONS };

/** Of the files that are forwarded to, in the data directory. */
export const FORWARD_FOLDER = 'forward';

const WATCH_MS = 30_000;

export interface ApplianceOptions {
  version: string;
  /** The data directory of the sensor. */
  directory: string;
  host: string;
  /** 0: any that is free. */
  port: number;
  /** The file of our own program, for what is done in a process of its own. */
  program: string;
  /** Without it plain HTTP, which is only taken for a loopback address. */
  tls: boolean;
}

/** What manages the appliance, for the API and for commands alike. */
export interface Management {
  database: ApplianceDatabase;
  settings: Settings;
  notifications: Notifications;
  audit: AuditLog;
  users: Users;
  tokens: Tokens;
}

/** Throws StoreError. */
export function openManagement(directory: string): Management {
  const database = new ApplianceDatabase(directory);
  const audit = new AuditLog(database);
  const notifications = new Notifications(database);
  return {
    database,
    settings: new Settings(database),
    notifications,
    audit,
    users: new Users(database, audit, notifications),
    tokens: new Tokens(database, audit),
  };
}

/**
 * All that looks after a sensor, in a process of its own beside it: the API, forwarding, the watch over its health. It needs no
 * capabilities, and goes on where the sensor has stopped.
 */
export class Appliance {
  readonly management: Management;
  /** The first administrator, where this start made one. */
  readonly first: { name: string; password: string } | null;
  private readonly context: ApiContext;
  private readonly snmp: SnmpAgent;
  private readonly watch: HealthWatch;
  private readonly server: FastifyInstance;
  private timer: NodeJS.Timeout | null = null;
  private url_ = '';

  /** Throws OperatingError, StoreError. */
  static async start(options: ApplianceOptions): Promise<Appliance> {
    const { directory, host, port, tls } = options;
    if (!tls && !isLoopback(host))
      throw new OperatingError('usage', `without TLS the API is only served on a loopback address, not on ${host}`);
    const management = openManagement(directory);
    try {
      const certificate = new Certificate(directory);
      const keys = tls ? await certificate.load([os.hostname(), ...(isIP(host) === 0 ? [] : addressesOf(host))]) : null;
      const first = await makeFirstUser(management.users, management.database);
      const store = new StoreAccess(directory);
      const forwarder = forwarderOf(options, management, store);
      const health = new Health({
        ...options,
        store,
        notifications: management.notifications,
        certificateExpires: () => (certificate.exists ? certificate.facts().expires_ms : null),
        forwardingWaiting: () => forwarder.status().reduce((sum, one) => sum + one.waiting, 0),
      });
      const context = contextOf(options, management, { store, health, certificate, forwarder });
      const server = await buildServer(context, keys);
      const appliance = new Appliance(context, server, first);
      await appliance.begin(host, port);
      return appliance;
    } catch (error) {
      management.database.close();
      throw error;
    }
  }

  private constructor(context: ApiContext, server: FastifyInstance, first: Appliance['first']) {
    const { health, settings, notifications } = context;
    this.management = context;
    this.context = context;
    this.server = server;
    this.first = first;
    this.watch = new HealthWatch(health, notifications, settings);
    this.snmp = new SnmpAgent(health, settings, notifications);
  }

  /** `https://10.0.0.5:8443` */
  get url(): string {
    return this.url_;
  }

  /** Requests under way are answered first. */
  async stop(): Promise<void> {
    if (this.timer !== null) clearInterval(this.timer);
    this.snmp.stop();
    const { forwarder, captures, store, database } = this.context;
    await Promise.all([this.server.close(), forwarder.stop(), captures.close()]);
    store.close();
    database.close();
  }

  private async begin(host: string, port: number): Promise<void> {
    try {
      this.url_ = await this.server.listen({ host, port });
    } catch (error) {
      await this.stop();
      throw new OperatingError('usage', `the API cannot be served on ${host} port ${port}: ${(error as Error).message}`);
    }
    await this.context.forwarder.start();
    this.look();
    this.timer = setInterval(() => this.look(), WATCH_MS);
  }

  private look(): void {
    try {
      this.watch.look();
    } catch (error) {
      log.error({ error: (error as Error).message }, 'the health of the appliance could not be looked at');
    }
  }
}

/** All that the routes work with. */
export function contextOf(
  { version, directory, program }: Pick<ApplianceOptions, 'version' | 'directory' | 'program'>,
  management: Management,
  parts: Pick<ApiContext, 'store' | 'health' | 'certificate' | 'forwarder'>,
): ApiContext {
  const run = programOf(program);
  const zones = () => {
    const file = path.join(directory, MANAGED_ZONES);
    return fs.existsSync(file) ? file : '';
  };
  return {
    version,
    directory,
    sections: SECTIONS,
    zone_policies: new ZonePolicies(management.database, directory),
    captures: new Captures(directory, run, zones),
    run,
    ...management,
    ...parts,
  };
}

export function forwarderOf(
  { version, directory }: Pick<ApplianceOptions, 'version' | 'directory'>,
  management: Management,
  store: StoreAccess,
): Forwarder {
  const { settings } = management;
  return new Forwarder({
    ...management,
    version,
    log,
    store,
    outbound: new SettingsOutbound(() => settings.read(OUTBOUND).value),
    directory: path.join(directory, FORWARD_FOLDER),
  });
}

const isLoopback = (host: string) => host === 'localhost' || host === '::1' || /^127\./.test(host);

/** For a wildcard, all addresses of the machine. */
function addressesOf(host: string): string[] {
  if (host !== '0.0.0.0' && host !== '::') return [host];
  return Object.values(os.networkInterfaces()).flatMap((list) =>
    (list ?? []).filter(({ scopeid }) => !scopeid).map(({ address }) => address),
  );
}
