import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import { OperatingError } from '../../errors.ts';
import type { AttributeRow } from '../../store/change-set.ts';
import type { StoreReader } from '../../store/queries.ts';
import type { ApiContext } from '../context.ts';
import { Id, Nullable } from '../schemas.ts';
import { type Device, shownDevices } from '../v3/devices.ts';
import { CARRIERS, commandName, deviceTypeName, protocolName } from './names.ts';

const Strings = Type.Array(Type.String());
const N = Nullable;
const Protocol = Type.Object({ id: Type.Integer(), name: Type.String(), ipAddresses: Strings });
const Firmware = Type.Object({
  address: Type.String(),
  moduleAddress: Type.String(),
  serial: N(Type.String()),
  model: N(Type.String()),
  firmwareVersion: N(Type.String()),
  additionalData: N(Type.String()),
  rack: N(Type.String()),
  slot: N(Type.String()),
});
const ReferenceDevice = Type.Object({
  id: Type.Integer(),
  ipAddresses: N(Strings),
  name: Type.String(),
  vendor: N(Type.String()),
  operatingSystem: N(Type.String()),
  macAddresses: N(Strings),
  type: Type.String(),
  engineeringStation: Type.Boolean(),
  authorized: Type.Boolean(),
  scanner: Type.Boolean(),
  protocols: N(Type.Array(Protocol)),
  firmware: Type.Array(Firmware),
  hasDynamicAddress: Type.Boolean(),
});
const ReferenceConnection = Type.Object({
  firstDeviceId: Type.Integer(),
  secondDeviceId: Type.Integer(),
  lastSeen: Type.Integer(),
  discovered: Type.Integer(),
  ports: N(Type.Array(Type.Integer())),
  protocols: N(Type.Array(Type.Object({ name: Type.String(), commands: N(Strings) }))),
});

/** 'true' and 'false'; other values are ignored, as the reference does. */
const DevicesQuery = Type.Object({ authorized: Type.Optional(Type.String()) });
const Milliseconds = Type.Optional(Type.Integer({ minimum: 0 }));
const ConnectionsQuery = Type.Object({
  discoveredBefore: Milliseconds,
  discoveredAfter: Milliseconds,
  lastActiveInMinutes: Milliseconds,
});

const orNull = (text: string | undefined): string | null => (text === undefined || text === '' ? null : text);
const listOrNull = <Item>(items: Item[]): Item[] | null => (items.length === 0 ? null : items);

/** `/api/v1/devices` and its connections, field for field as the reference product's. */
export function devices(app: FastifyInstance, { store }: ApiContext): void {
  const tags = ['reference'];
  app.get(
    '/devices',
    {
      config: { permission: 'inventory.read' },
      schema: { tags, summary: 'All devices', querystring: DevicesQuery, response: { 200: Type.Array(ReferenceDevice) } },
    },
    async (request) => {
      const { authorized } = request.query as Static<typeof DevicesQuery>;
      const all = allDevices(store.reader);
      if (authorized !== 'true' && authorized !== 'false') return all;
      return all.filter((device) => device.authorized === (authorized === 'true'));
    },
  );

  const connections = (query: Static<typeof ConnectionsQuery>, device: number | null) =>
    store.reader
      .devicePairs({
        device,
        discovered_before_ms: query.discoveredBefore ?? null,
        discovered_after_ms: query.discoveredAfter ?? null,
        active_since_ms: query.lastActiveInMinutes === undefined ? null : Date.now() - query.lastActiveInMinutes * 60_000,
      })
      .map(({ first_device, second_device, first_ms, last_ms, ports, protocols }) => ({
        firstDeviceId: first_device,
        secondDeviceId: second_device,
        lastSeen: Math.floor(last_ms),
        discovered: Math.floor(first_ms),
        ports: listOrNull(ports),
        protocols: listOrNull(
          protocols
            .filter(({ app_proto }) => !CARRIERS.includes(app_proto))
            .map(({ app_proto, proto, operations }) => ({
              name: protocolName(app_proto, proto),
              commands: listOrNull(operations.map(commandName)),
            })),
        ),
      }));

  app.get(
    '/devices/connections',
    {
      config: { permission: 'inventory.read' },
      schema: {
        tags,
        summary: 'Which devices talk to each other',
        querystring: ConnectionsQuery,
        response: { 200: Type.Array(ReferenceConnection) },
      },
    },
    async (request) => connections(request.query as Static<typeof ConnectionsQuery>, null),
  );
  app.get(
    '/devices/:deviceId/connections',
    {
      config: { permission: 'inventory.read' },
      schema: {
        tags,
        summary: 'Which devices talk to this one',
        params: Type.Object({ deviceId: Id }),
        querystring: ConnectionsQuery,
        response: { 200: Type.Array(ReferenceConnection) },
      },
    },
    async (request) => {
      const { deviceId } = request.params as { deviceId: number };
      const device = store.reader.device(deviceId);
      if (device === null) throw new OperatingError('not_found', `there is no device ${deviceId}`);
      return connections(request.query as Static<typeof ConnectionsQuery>, device.id);
    },
  );
}

/** In pages, so that nothing is held that is not answered. */
function allDevices(reader: StoreReader): Static<typeof ReferenceDevice>[] {
  const found: Static<typeof ReferenceDevice>[] = [];
  for (let cursor: number | undefined; ; ) {
    const { rows, next_cursor } = shownDevices(reader, { limit: 1000, cursor });
    found.push(...referenceDevices(reader, rows));
    if (next_cursor === null) return found;
    cursor = next_cursor as number;
  }
}

function referenceDevices(reader: StoreReader, rows: readonly Device[]): Static<typeof ReferenceDevice>[] {
  const ids = rows.map((row) => row.id);
  const { spoken, firmware, dynamic } = reader.deviceFacts(ids);
  return rows.map((device) => {
    const addresses = device.addresses.filter((ip) => ip !== '');
    const protocols = spoken.get(device.id)?.filter(({ app_proto }) => app_proto !== '' && !CARRIERS.includes(app_proto)) ?? [];
    return {
      id: device.id,
      ipAddresses: listOrNull(addresses),
      name: device.name || device.ip || device.mac,
      vendor: orNull(device.vendor),
      operatingSystem: null,
      macAddresses: listOrNull(device.macs.filter((mac) => mac !== '')),
      type: deviceTypeName(device.type),
      engineeringStation: device.programming_station,
      authorized: device.authorized,
      scanner: device.scanner,
      protocols: listOrNull(
        protocols.map(({ app_proto, number, ips }) => ({ id: number, name: protocolName(app_proto, ''), ipAddresses: ips })),
      ),
      firmware: firmwareOf(device.ip, firmware.get(device.id) ?? []),
      hasDynamicAddress: dynamic.has(device.id),
    };
  });
}

/** One entry for the device itself and one for each module that said anything of itself. */
function firmwareOf(address: string, attributes: readonly AttributeRow[]): Static<typeof Firmware>[] {
  const parts = new Map<string, Map<string, string>>();
  for (const { part, attribute, value } of attributes) {
    if (!parts.has(part)) parts.set(part, new Map());
    parts.get(part)!.set(attribute, value);
  }
  return [...parts].map(([part, said]) => ({
    address,
    moduleAddress: part,
    serial: orNull(said.get('serial')),
    model: orNull(said.get('model') ?? said.get('order_code')),
    firmwareVersion: orNull(said.get('firmware')),
    additionalData: orNull(said.get('description') ?? said.get('name')),
    rack: orNull(/\brack (\d+)/.exec(part)?.[1]),
    slot: orNull(/\bslot (\d+)/.exec(part)?.[1]),
  }));
}
