import { isIP } from 'node:net';
import os from 'node:os';
import type { FastifyInstance } from 'fastify';
import type { ApiContext } from '../api/context.ts';
import { buildServer } from '../api/server.ts';
import { API } from '../api/settings.ts';
import { OperatingError } from '../errors.ts';
import { Health } from '../health/health.ts';
import { HEALTH } from '../health/settings.ts';
import { SNMP, SnmpAgent } from '../health/snmp.ts';
import { HealthWatch } from '../health/watch.ts';
import { log } from '../log.ts';
import { AuditLog } from '../users/audit.ts';
import { makeFirstUser } from '../users/first-user.ts';
import { ACCESS } from '../users/settings.ts';
import { Tokens } from '../users/tokens.ts';
import { Users } from '../users/users.ts';
import { Certificate } from './certificate.ts';
import { ApplianceDatabase } from './database.ts';
import { Notifications } from './notifications.ts';
import { Settings, type SettingsSection } from './settings.ts';
import { StoreAccess } from './store-access.ts';

/** Every section of managed settings there is. */
export const SECTIONS: readonly SettingsSection[] = [ACCESS, API, HEALTH, SNMP];

const WATCH_MS = 30_000;

export interface ApplianceOptions {
  version: string;
  /** The data directory of the sensor. */
  directory: string;
  host: string;
  /** 0: any that is free. */
  port: number;
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
 * All that looks after a sensor, in a process of its own beside it: the API, and the watch over its health. It needs no capabilities, and
 * goes on where the sensor has stopped.
 */
export class Appliance {
  readonly management: Management;
  /** `https://10.0.0.5:8443` */
  readonly url: string;
  /** The first administrator, where this start made one. */
  readonly first: { name: string; password: string } | null;
  private readonly server: FastifyInstance;
  private readonly store: StoreAccess;
  private readonly snmp: SnmpAgent;
  private readonly timer: NodeJS.Timeout;

  static async start({ version, directory, host, port, tls }: ApplianceOptions): Promise<Appliance> {
    if (!tls && !isLoopback(host))
      throw new OperatingError('usage', `without TLS the API is only served on a loopback address, not on ${host}`);
    const management = openManagement(directory);
    const store = new StoreAccess(directory);
    try {
      const certificate = new Certificate(directory);
      const keys = tls ? await certificate.load([os.hostname(), ...(isIP(host) === 0 ? [] : addressesOf(host))]) : null;
      const health = new Health({
        version,
        directory,
        store,
        notifications: management.notifications,
        certificateExpires: () => (certificate.exists ? certificate.facts().expires_ms : null),
      });
      const context: ApiContext = { version, directory, sections: SECTIONS, store, health, certificate, ...management };
      const server = await buildServer(context, keys);
      const first = await makeFirstUser(management.users, management.database);
      const url = await server.listen({ host, port }).catch((error: NodeJS.ErrnoException) => {
        throw new OperatingError('usage', `the API cannot be served on ${host} port ${port}: ${error.message}`);
      });
      return new Appliance(management, store, server, url, first, health);
    } catch (error) {
      store.close();
      management.database.close();
      throw error;
    }
  }

  private constructor(
    management: Management,
    store: StoreAccess,
    server: FastifyInstance,
    url: string,
    first: Appliance['first'],
    health: Health,
  ) {
    this.management = management;
    this.store = store;
    this.server = server;
    this.url = url;
    this.first = first;
    const { notifications, settings } = management;
    const watch = new HealthWatch(health, notifications, settings);
    this.snmp = new SnmpAgent(health, settings, notifications);
    const look = () => {
      try {
        watch.look();
      } catch (error) {
        log.error({ error: (error as Error).message }, 'the health of the appliance could not be looked at');
      }
    };
    look();
    this.timer = setInterval(look, WATCH_MS);
  }

  /** Requests under way are answered first. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    this.snmp.stop();
    await this.server.close();
    this.store.close();
    this.management.database.close();
  }
}

const isLoopback = (host: string) => host === 'localhost' || host === '::1' || /^127\./.test(host);

/** For a wildcard, all addresses of the machine. */
function addressesOf(host: string): string[] {
  if (host !== '0.0.0.0' && host !== '::') return [host];
  return Object.values(os.networkInterfaces()).flatMap((list) =>
    (list ?? []).filter(({ scopeid }) => !scopeid).map(({ address }) => address),
  );
}
