import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import { deleteDevice, deleteUnseen } from '../../appliance/device-deletion.ts';
import { OperatingError } from '../../errors.ts';
import { ot_sensor } from '../../proto/api.js';
import { type DeviceFilter, type Page, SORTS, type StoreReader } from '../../store/queries.ts';
import type { Answers } from '../answers.ts';
import { actorOf, note } from '../authenticate.ts';
import type { ApiContext } from '../context.ts';
import { ErrorBody } from '../errors.ts';
import { list, type StoreOf } from '../list.ts';
import { Id, IdParams, Ip, Mac, Ms, Nullable, Text, Word } from '../schemas.ts';

export const Device = Type.Object({
  id: Id,
  name: Text("What people called it, else what it calls itself; '' where nobody said."),
  type: Text('plc, rtu, hmi, …; unknown.'),
  type_reason: Text('Why it is taken for that.'),
  purdue_level: Nullable(Type.Integer({ minimum: 0, maximum: 5 })),
  vendor: Text(),
  model: Text(),
  firmware: Text(),
  serial: Text(),
  ip: Text('The main address; all are in addresses.'),
  mac: Text(),
  addresses: Type.Array(Type.String()),
  macs: Type.Array(Type.String()),
  segment: Text("VLANs from the outside in, 10 or 100.20; '' untagged."),
  zone: Text(),
  authorized: Type.Boolean({ description: 'False where somebody said so.' }),
  scanner: Type.Boolean(),
  programming_station: Type.Boolean(),
  programming_reason: Text(),
  router: Type.Boolean(),
  gateway: Type.Boolean(),
  parts: Type.Integer({ description: 'Units, outstations and modules behind or in it.' }),
  note: Text(),
  first_ms: Ms,
  last_ms: Ms,
});
export type Device = Static<typeof Device>;

const Filter = Type.Object({
  ip: Type.Optional(Ip),
  mac: Type.Optional(Mac),
  type: Type.Optional(Word),
  zone: Type.Optional(Word),
  purdue_level: Type.Optional(Type.Integer({ minimum: 0, maximum: 5 })),
  protocol: Type.Optional(Type.String({ maxLength: 200, description: 'Takes part in a conversation of this protocol.' })),
  programming_station: Type.Optional(Type.Boolean()),
  deleted: Type.Optional(Type.Boolean({ description: 'Those that were deleted, and not seen since.' })),
  text: Type.Optional(Type.String({ maxLength: 200, description: 'In name, vendor, model, type, an address or any attribute.' })),
});

const Interface = Type.Object({
  mac: Text(),
  segment: Text(),
  vendor: Text(),
  router: Type.Boolean(),
  first_ms: Ms,
  last_ms: Ms,
});
const Address = Type.Object({
  ip: Text(),
  mac: Text(),
  segment: Text(),
  how: Text('arp, dhcp or traffic.'),
  via_mac: Text('The router behind which it is.'),
  current: Type.Boolean(),
  first_ms: Ms,
  last_ms: Ms,
});
const Attribute = Type.Object({
  part: Text("'' the device itself."),
  attribute: Text(),
  value: Text(),
  app_proto: Text(),
  field: Text('The field of the protocol that said it.'),
  current: Type.Boolean(),
  preferred: Type.Boolean({ description: 'The one that is shown.' }),
  first_ms: Ms,
  last_ms: Ms,
  first_frame: Type.Integer(),
  capture_id: Type.Integer(),
});
const Part = Type.Object({
  part: Text(),
  kind: Text(),
  number: Type.Integer(),
  ip: Text(),
  app_proto: Text(),
  first_ms: Ms,
  last_ms: Ms,
});

const Marks = Type.Object(
  {
    authorized: Type.Optional(Nullable(Type.Boolean())),
    scanner: Type.Optional(Nullable(Type.Boolean())),
    programming_station: Type.Optional(Nullable(Type.Boolean())),
    name: Type.Optional(Nullable(Type.String({ maxLength: 200 }))),
    type: Type.Optional(Nullable(Type.String({ maxLength: 50 }))),
    note: Type.Optional(Nullable(Type.String({ maxLength: 4000 }))),
  },
  {
    additionalProperties: false,
    description: 'What people say of it goes before what the sensor found out; null takes it back.',
  },
);

const DEVICE_FIELDS = Object.keys(Device.properties);

/** Pages of devices as they are shown: what people said of one goes before what was found out. */
export function shownDevices(reader: StoreReader, filter: DeviceFilter): Page<Device> {
  const { rows, next_cursor } = reader.texts('devices', filter, DEVICE_FIELDS);
  return { rows: rows.map((row) => JSON.parse(row.text) as Device), next_cursor };
}

/** The list alone, of the database that a request is about; the sensor's where left out. */
export function listDevices(app: FastifyInstance, context: ApiContext, answers: Answers, base = '', store?: StoreOf): void {
  list(app, context, answers, {
    store,
    path: `${base}/devices`,
    name: 'devices',
    message: ot_sensor.DevicePage,
    tag: 'devices',
    summary: 'The devices, with what is known of each',
    permission: 'inventory.read',
    row: Device,
    filter: Filter,
    sorts: SORTS.devices,
  });
}

export function devices(app: FastifyInstance, context: ApiContext, answers: Answers): void {
  listDevices(app, context, answers);

  const one = (id: number): Device => {
    const { reader } = context.store;
    const present = reader.presentId(id);
    if (present === null) throw new OperatingError('not_found', `there is no device ${id}`);
    return shownDevices(reader, { id: present }).rows[0];
  };

  app.get(
    '/devices/:id',
    {
      config: { permission: 'inventory.read' },
      schema: {
        tags: ['devices'],
        summary:
          'A device with its interfaces, addresses, attributes and parts, and the evidence for each; a merged one as what it was merged into',
        params: IdParams,
        response: {
          200: Type.Object({
            device: Device,
            interfaces: Type.Array(Interface),
            addresses: Type.Array(Address),
            attributes: Type.Array(Attribute),
            parts: Type.Array(Part),
          }),
          '4xx': ErrorBody,
        },
      },
    },
    async (request) => {
      const device = one((request.params as Static<typeof IdParams>).id);
      const { reader } = context.store;
      return {
        device,
        interfaces: reader.interfaces(device.id),
        addresses: reader.addresses(device.id),
        attributes: reader.attributes(device.id),
        parts: reader.parts(device.id),
      };
    },
  );

  app.patch(
    '/devices/:id',
    {
      config: { permission: 'devices.manage' },
      schema: {
        tags: ['devices'],
        summary: 'Say what a device is, and whether it is authorised',
        params: IdParams,
        body: Marks,
        response: { 200: Device, '4xx': ErrorBody },
      },
    },
    async (request) => {
      const { id } = request.params as Static<typeof IdParams>;
      const changes = request.body as Static<typeof Marks>;
      if (!context.store.operator.mark(id, changes, actorOf(request).name, Date.now()))
        throw new OperatingError('not_found', `there is no device ${id}`);
      note(context.audit, request, 'device.mark', `${id}`, changes);
      return one(id);
    },
  );

  const del = { config: { permission: 'devices.delete' } } as const;
  app.delete(
    '/devices/:id',
    {
      ...del,
      schema: {
        tags: ['devices'],
        summary:
          'Delete a device that was silent for ten minutes: it is not listed any more until it is seen again, then it is there with all its history. Its connections, alerts and events stay',
        params: IdParams,
        response: { 204: Type.Null(), '4xx': ErrorBody },
      },
    },
    async (request, reply) => {
      const { id } = request.params as Static<typeof IdParams>;
      deleteDevice(context.store, id, actorOf(request).name, Date.now());
      note(context.audit, request, 'device.delete', `${id}`);
      return reply.code(204).send();
    },
  );
  app.delete(
    '/devices',
    {
      ...del,
      schema: {
        tags: ['devices'],
        summary: 'Delete all devices that were not seen since',
        querystring: Type.Object({ unseen_since_ms: Ms }, { additionalProperties: false }),
        response: { 200: Type.Object({ deleted: Type.Integer() }), '4xx': ErrorBody },
      },
    },
    async (request) => {
      const { unseen_since_ms } = request.query as { unseen_since_ms: number };
      let deleted = 0;
      for (;;) {
        const some = deleteUnseen(context.store, unseen_since_ms, actorOf(request).name, Date.now());
        deleted += some;
        if (some === 0) break;
        await new Promise((resolve) => setImmediate(resolve));
      }
      note(context.audit, request, 'device.delete_unseen', new Date(unseen_since_ms).toISOString(), { deleted });
      return { deleted };
    },
  );
  app.post(
    '/devices/:id/restore',
    {
      ...del,
      schema: {
        tags: ['devices'],
        summary: 'Take the deletion of a device back',
        params: IdParams,
        response: { 200: Device, '4xx': ErrorBody },
      },
    },
    async (request) => {
      const { id } = request.params as Static<typeof IdParams>;
      if (!context.store.operator.restoreDevice(id)) throw new OperatingError('not_found', `device ${id} is not deleted`);
      note(context.audit, request, 'device.restore', `${id}`);
      return one(id);
    },
  );
}
