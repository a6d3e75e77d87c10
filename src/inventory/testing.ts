import type { ot_sensor } from '../proto/facts.js';
import { emptyChangeSet } from '../store/change-set.ts';
import type { Snapshot } from '../store/queries.ts';
import type { Inventory } from './inventory.ts';

/** Facts for tests, in words: endpoints as `mac/ip:port`, each part may be missing. */
export function endpoint(text: string): ot_sensor.Endpoint.$Properties {
  const match = /^([0-9a-f:]{17})?\/?([0-9.]+|\[[0-9a-f:]+\])?(?::(\d+))?$/.exec(text);
  if (!match) throw new Error(`no endpoint: ${text}`);
  const [, mac, ip, port] = match;
  return {
    mac: mac ? Uint8Array.from(mac.split(':'), (digits) => Number.parseInt(digits, 16)) : new Uint8Array(0),
    ip: ip ? ipBytes(ip) : new Uint8Array(0),
    port: Number(port ?? 0),
  };
}

function ipBytes(ip: string): Uint8Array {
  if (!ip.startsWith('[')) return Uint8Array.from(ip.split('.'), Number);
  const [head, tail] = ip.slice(1, -1).split('::');
  const groups = head ? head.split(':') : [];
  const behind = tail ? tail.split(':') : [];
  if (tail !== undefined) while (groups.length + behind.length < 8) groups.push('0');
  return Uint8Array.from([...groups, ...behind].flatMap((g) => [Number.parseInt(g, 16) >> 8, Number.parseInt(g, 16) & 255]));
}

type Fact = ot_sensor.Fact.$Properties;

/** Feeds an inventory; each call is a packet one second after the last. */
export class Script {
  frame = 0;
  readonly facts: Fact[] = [];
  readonly #inventory: Inventory | null;

  constructor(inventory: Inventory | null = null) {
    this.#inventory = inventory;
  }

  #give(fact: Fact): this {
    const whole = { ...fact, frame: ++this.frame, time_ms: 1_700_000_000_000 + this.frame * 1000 };
    this.facts.push(whole);
    this.#inventory?.take(whole);
    return this;
  }

  sees(at: string, how = 'traffic', ...vlan: number[]): this {
    return this.#give({ binding: { endpoint: endpoint(at), vlan, how } });
  }

  says(at: string, attribute: string, value: string, app_proto: string, part = '', ...vlan: number[]): this {
    return this.#give({
      attribute: { endpoint: endpoint(at), vlan, part, attribute, value, app_proto, field: `${app_proto}.${attribute}` },
    });
  }

  opens(flow_id: number, opener: string, responder: string, proto = 'tcp', opener_certain = true, vlan: number[] = []): this {
    return this.#give({
      flow_opened: {
        flow_id,
        opener: endpoint(opener),
        responder: endpoint(responder),
        vlan,
        proto,
        opener_certain,
        ethertype: 0,
      },
    });
  }

  carries(flow_id: number, app_proto: string, there = 1, back = 1, more: Partial<ot_sensor.FlowUpdate.$Properties> = {}): this {
    const time = 1_700_000_000_000 + (this.frame + 1) * 1000;
    return this.#give({
      flow_update: {
        flow_id,
        app_proto,
        recognised_by: app_proto ? 'probe' : '',
        packets_from_opener: there,
        packets_from_responder: back,
        bytes_from_opener: there * 100,
        bytes_from_responder: back * 100,
        first_ms: time,
        last_ms: time,
        client: app_proto ? 0 : -1,
        ...more,
      },
    });
  }

  does(
    flow_id: number,
    role: 'client' | 'server',
    app_proto: string,
    operation: string,
    more: Partial<ot_sensor.Activity.$Properties> = {},
  ): this {
    const time = 1_700_000_000_000 + (this.frame + 1) * 1000;
    const from_opener = role === 'client';
    return this.#give({
      activity: { flow_id, app_proto, operation, from_opener, role, unit: -1, count: 1, first_ms: time, last_ms: time, ...more },
    });
  }
}

/** The whole state, as the writer would hold it after all change sets: rows by their keys. */
export class Stored {
  devices = new Map<number, ReturnType<typeof emptyChangeSet>['devices'][number]>();
  addresses = new Map<string, ReturnType<typeof emptyChangeSet>['addresses'][number]>();
  attributes = new Map<string, ReturnType<typeof emptyChangeSet>['attributes'][number]>();
  parts = new Map<string, ReturnType<typeof emptyChangeSet>['parts'][number]>();
  interfaces = new Map<string, ReturnType<typeof emptyChangeSet>['interfaces'][number]>();
  connections = new Map<number, ReturnType<typeof emptyChangeSet>['connections'][number]>();
  activities = new Map<number, ReturnType<typeof emptyChangeSet>['activities'][number]>();
  events = emptyChangeSet().events;

  drain(inventory: Inventory, most_conversations?: number): this {
    const changes = inventory.drain(most_conversations);
    for (const row of changes.devices) this.devices.set(row.id, row);
    for (let i = 0; i < changes.device_times.length; i += 2)
      this.devices.get(changes.device_times[i + 1])!.last_ms = changes.device_times[i];
    for (const id of changes.device_resets) {
      for (const table of [this.addresses, this.attributes, this.parts, this.interfaces]) {
        for (const [key, row] of table) if (row.device_id === id) table.delete(key);
      }
    }
    for (const { from, ip } of changes.reassignments) if (ip === null) this.devices.delete(from);
    for (const row of changes.addresses) this.addresses.set(`${row.device_id}|${row.segment}|${row.ip}|${row.mac}`, row);
    for (const row of changes.attributes) {
      this.attributes.set(`${row.device_id}|${row.part}|${row.attribute}|${row.app_proto}|${row.field}|${row.value}`, row);
    }
    for (const row of changes.parts) this.parts.set(`${row.device_id}|${row.part}`, row);
    for (const row of changes.interfaces) this.interfaces.set(`${row.segment}|${row.mac}`, row);
    for (const row of changes.connections) {
      const before = this.connections.get(row.id);
      if (before) {
        row.flows += before.flows;
        row.packets_from_opener += before.packets_from_opener;
        row.packets_from_responder += before.packets_from_responder;
        row.bytes_from_opener += before.bytes_from_opener;
        row.bytes_from_responder += before.bytes_from_responder;
      }
      if (row.flows > 0) this.connections.set(row.id, row);
      else this.connections.delete(row.id);
    }
    const { connection_counts: counts, activity_counts } = changes;
    for (let i = 0; i < counts.length; i += 7) {
      const row = this.connections.get(counts[i + 6])!;
      row.flows += counts[i];
      row.packets_from_opener += counts[i + 1];
      row.packets_from_responder += counts[i + 2];
      row.bytes_from_opener += counts[i + 3];
      row.bytes_from_responder += counts[i + 4];
      row.last_ms = counts[i + 5];
    }
    for (const id of changes.activities_gone) this.activities.delete(id);
    for (const row of changes.activities) {
      row.count += this.activities.get(row.id)?.count ?? 0;
      this.activities.set(row.id, row);
    }
    for (let i = 0; i < activity_counts.length; i += 5) {
      const [count, target_first, target_last, last_ms, id] = activity_counts.slice(i, i + 5);
      const row = this.activities.get(id!)!;
      row.count += count!;
      Object.assign(row, { target_first, target_last, last_ms });
    }
    this.events.push(...changes.events);
    return this;
  }

  /** As the store would give it back at the next start. */
  snapshot(): Snapshot {
    const next = (ids: Iterable<number>) => Math.max(0, ...ids) + 1;
    const copied = structuredClone({
      next_device_id: next(this.devices.keys()),
      next_connection_id: next(this.connections.keys()),
      next_activity_id: next(this.activities.keys()),
      devices: [...this.devices.values()],
      interfaces: [...this.interfaces.values()],
      addresses: [...this.addresses.values()],
      attributes: [...this.attributes.values()],
      parts: [...this.parts.values()],
      pairs: [...this.connections.values()].map(({ id, segment, proto, ethertype, ...row }) => {
        const opener = row.opener_ip || row.opener_mac;
        return { id, segment, proto, ethertype, opener, responder: row.responder_ip || row.responder_mac };
      }),
      activity_count: this.activities.size,
    });
    return {
      ...copied,
      connection: (id) => structuredClone(this.connections.get(id)),
      activities: (id) => structuredClone([...this.activities.values()].filter(({ connection_id }) => connection_id === id)),
    };
  }

  /** Each device as `mac/mac ip ip type`, current addresses in order: what it is, without its id. */
  summary(): string[] {
    return [...this.devices.values()]
      .map((device) => {
        const macs = [...this.interfaces.values()]
          .filter((i) => i.device_id === device.id)
          .map((i) => (i.segment ? `${i.segment}:${i.mac}` : i.mac));
        const ips = [...this.addresses.values()].filter((a) => a.device_id === device.id && a.current).map((a) => a.ip);
        return `${macs.sort().join('/') || '-'} ${[...new Set(ips)].sort().join(' ')} ${device.type}`;
      })
      .sort();
  }
}
