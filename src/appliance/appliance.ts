import { isIP } from 'node:net';
import os from 'node:os';
import type { FastifyInstance } from 'fastify';
import type { ApiContext } from '../api/context.ts';
import { buildServer } from '../api/server.ts';
import { useData } from '../backup/restore.ts';
import { OperatingError } from '../errors.ts';
import { SnmpAgent } from '../health/snmp.ts';
import { HealthWatch } from '../health/watch.ts';
import { log } from '../log.ts';
import { StoreError } from '../store/errors.ts';
import { makeFirstUser } from '../users/first-user.ts';
import { addressesOf } from './host-addresses.ts';
import { Retention } from './retention.ts';
import { closeServices, openServices, type ServiceOptions } from './services.ts';

const WATCH_MS = 30_000;
const RETENTION_MS = 10 * 60_000;

export interface ApplianceOptions extends ServiceOptions {
  host: string;
  /** 0: any that is free. */
  port: number;
  /** Without it plain HTTP, which is only taken for a loopback address. */
  tls: boolean;
}

/**
 * All that looks after a sensor, in a process of its own beside it: the API, forwarding, SNMP, backups, retention, the watch over its
 * health. It needs no capabilities, and goes on where the sensor has stopped.
 */
export class Appliance {
  /** The first administrator, where this start made one. */
  readonly first: { name: string; password: string } | null;
  private readonly services: ApiContext;
  private readonly server: FastifyInstance;
  private readonly snmp: SnmpAgent;
  private readonly watch: HealthWatch;
  private readonly retention: Retention;
  private readonly in_use: { close(): void };
  private timers: NodeJS.Timeout[] = [];
  private pruning: Promise<unknown> = Promise.resolve();
  private url_ = '';

  /** A restore that waits is done first. Throws OperatingError, StoreError. */
  static async start(options: ApplianceOptions): Promise<Appliance> {
    const { directory, host, port, tls } = options;
    if (!tls && !isLoopback(host))
      throw new OperatingError('usage', `without TLS the API is only served on a loopback address, not on ${host}`);
    const in_use = useData(directory);
    let services: ApiContext | undefined;
    try {
      services = openServices(options);
      const { certificate, users, database } = services;
      const keys = tls ? await certificate.load([os.hostname(), ...(isIP(host) === 0 ? [] : addressesOf(host))]) : null;
      const first = await makeFirstUser(users, database);
      const appliance = new Appliance(services, await buildServer(services, keys), in_use, first);
      await appliance.begin(host, port);
      return appliance;
    } catch (error) {
      if (services?.database.db.open) await closeServices(services);
      in_use.close();
      throw error;
    }
  }

  private constructor(services: ApiContext, server: FastifyInstance, in_use: { close(): void }, first: Appliance['first']) {
    const { health, settings, notifications, store, directory } = services;
    this.services = services;
    this.server = server;
    this.in_use = in_use;
    this.first = first;
    this.watch = new HealthWatch(health, notifications, settings);
    this.snmp = new SnmpAgent(health, settings, notifications);
    this.retention = new Retention(settings, store, directory);
  }

  /** `https://10.0.0.5:8443` */
  get url(): string {
    return this.url_;
  }

  /** Requests under way are answered first. */
  async stop(): Promise<void> {
    for (const timer of this.timers) clearInterval(timer);
    this.snmp.stop();
    this.retention.stop();
    await Promise.all([this.server.close(), this.pruning]);
    await closeServices(this.services);
    this.in_use.close();
  }

  private async begin(host: string, port: number): Promise<void> {
    try {
      this.url_ = await this.server.listen({ host, port });
    } catch (error) {
      await this.stop();
      throw new OperatingError('usage', `the API cannot be served on ${host} port ${port}: ${(error as Error).message}`);
    }
    await this.services.forwarder.start();
    this.services.backups.start();
    await this.services.health.recount();
    this.look();
    this.timers = [setInterval(() => this.look(), WATCH_MS), setInterval(() => this.prune(), RETENTION_MS)];
    this.prune();
  }

  private look(): void {
    try {
      this.watch.look();
    } catch (error) {
      log.error({ error: (error as Error).message }, 'the health of the appliance could not be looked at');
    }
  }

  private prune(): void {
    this.pruning = this.pruning
      .then(() => this.retention.prune())
      .catch((error: Error) => {
        const nothing_yet = error instanceof StoreError && error.code === 'store_missing';
        if (!nothing_yet) log.error({ error: error.message }, 'what is too old could not be deleted');
      });
  }
}

const isLoopback = (host: string) => host === 'localhost' || host === '::1' || /^127\./.test(host);
