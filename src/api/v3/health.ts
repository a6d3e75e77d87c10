import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import { type ProtocolTotal, sumProtocols } from '../../store/queries.ts';
import type { ApiContext } from '../context.ts';
import { ErrorBody } from '../errors.ts';
import { Ms, Nullable, Text } from '../schemas.ts';

/** Connections that are summed at once, so that no other answer waits long. */
const SLICE = 20_000;

const Counts = Type.Record(Type.String(), Type.Number());
const Interface = Type.Object({
  name: Text(),
  received: Type.Integer(),
  dropped_by_kernel: Type.Integer(),
  dropped_by_interface: Type.Integer(),
  dropped_by_us: Type.Integer(),
  measured_ms: Nullable(Ms),
  link: Nullable(Type.Boolean()),
  packets_per_second: Nullable(Type.Number()),
  bytes_per_second: Nullable(Type.Number()),
  verdicts: Type.Array(Type.Object({ code: Text(), text: Text('What is so, and what to do about it.') }), {
    description:
      'What is wrong with it as a mirror port, worst first, or `healthy` alone: of some seconds every minute while the sensor runs.',
  }),
});
const Health = Type.Object({
  status: Text('healthy, degraded or critical: by the notifications that are open.'),
  version: Text(),
  time_ms: Ms,
  uptime_s: Type.Integer(),
  sensor: Type.Object({
    running: Type.Boolean(),
    source: Text(),
    packets: Type.Integer(),
    bytes: Type.Integer(),
    received: Type.Integer({ description: '= inspected + dropped_by_kernel + dropped_by_us + on their way.' }),
    inspected: Type.Integer(),
    headers_only: Type.Integer({ description: 'Of those inspected, the ones whose payload was left out to keep up.' }),
    dropped_by_kernel: Type.Integer(),
    dropped_by_us: Counts,
    last_packet_ms: Nullable(Ms),
    packets_per_second: Nullable(Type.Number()),
    bytes_per_second: Nullable(Type.Number()),
    interfaces: Type.Array(Interface),
  }),
  volumes: Type.Array(
    Type.Object({ path: Text(), total_bytes: Type.Number(), free_bytes: Type.Number(), used_percent: Type.Integer() }),
  ),
  memory: Type.Object({ total_bytes: Type.Number(), available_bytes: Type.Number(), process_bytes: Type.Number() }),
  load: Type.Number(),
  certificate_expires_ms: Nullable(Ms),
  stored: Counts,
  open_alerts: Counts,
  open_notifications: Type.Integer(),
  last_backup_ms: Nullable(Ms),
  forwarding_waiting: Type.Integer(),
  forwarding_queues: Type.Array(Type.Object({ name: Text(), waiting: Type.Integer(), limit: Type.Integer() })),
  snmp_requests_refused: Type.Integer({ description: 'Of hosts that are not allowed.' }),
});
const Notification = Type.Object({
  id: Type.Integer(),
  kind: Text(),
  severity: Text(),
  title: Text(),
  description: Text(),
  details: Type.Record(Type.String(), Type.Unknown()),
  count: Type.Integer(),
  first_ms: Ms,
  last_ms: Ms,
  resolved_ms: Nullable(Ms),
});
const NotificationsQuery = Type.Object(
  {
    after_id: Type.Optional(Type.Integer({ minimum: 0 })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 100 })),
    open: Type.Optional(Type.Boolean({ description: 'Only those that are not resolved.' })),
  },
  { additionalProperties: false },
);

/** How the appliance is, what it tells of itself, and what is spoken on the network. */
export function health(app: FastifyInstance, { health, notifications, store }: ApiContext): void {
  app.get(
    '/health',
    {
      config: { permission: 'health.read' },
      schema: { tags: ['health'], summary: 'How the sensor and its appliance are', response: { 200: Health, '4xx': ErrorBody } },
    },
    async () => health.report(),
  );
  app.get(
    '/notifications',
    {
      config: { permission: 'health.read' },
      schema: {
        tags: ['health'],
        summary: 'What the appliance tells of itself, the oldest first; `after_id` for the next page',
        querystring: NotificationsQuery,
        response: { 200: Type.Object({ items: Type.Array(Notification) }), '4xx': ErrorBody },
      },
    },
    async (request) => ({ items: notifications.list(request.query as Static<typeof NotificationsQuery>) }),
  );
  app.get(
    '/interfaces',
    {
      config: { permission: 'inventory.read' },
      schema: {
        tags: ['health'],
        summary: 'The mirror ports of the present or the last capture: where their packets went, and what each is like as one',
        response: { 200: Type.Object({ items: Type.Array(Interface) }), '4xx': ErrorBody },
      },
    },
    async () => ({ items: health.report().sensor.interfaces }),
  );
  app.get(
    '/protocols',
    {
      config: { permission: 'inventory.read' },
      schema: {
        tags: ['connections'],
        summary: 'What is spoken, the most packets first',
        response: {
          200: Type.Object({
            items: Type.Array(
              Type.Object({
                app_proto: Text("'' where it was not recognised; then `proto` says what it is in."),
                proto: Text(),
                conversations: Type.Integer(),
                packets: Type.Integer(),
              }),
            ),
          }),
          '4xx': ErrorBody,
        },
      },
    },
    async () => {
      const slices: ProtocolTotal[][] = [];
      for (const slice of store.reader.protocolSlices(SLICE)) {
        slices.push(slice);
        await new Promise((resolve) => setImmediate(resolve));
      }
      return { items: sumProtocols(slices) };
    },
  );
}
