import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import { kindOf } from '../../detect/catalogue.ts';
import type { StoredAlert } from '../../store/queries.ts';
import type { ApiContext } from '../context.ts';
import { IdParams, Nullable } from '../schemas.ts';
import { evidenceFile } from '../v3/alerts.ts';
import { ENGINE_NAMES, EVENT_TYPES, OTHER_EVENT, SEVERITY_NAMES } from './names.ts';

const N = Nullable;
const ReferenceAlert = Type.Object({
  id: Type.Integer(),
  time: Type.Integer(),
  title: Type.String(),
  message: Type.String(),
  severity: Type.String({ enum: Object.values(SEVERITY_NAMES) }),
  engine: Type.String({ enum: Object.values(ENGINE_NAMES) }),
  sourceDevice: N(Type.Integer()),
  destinationDevice: N(Type.Integer()),
  additionalInformation: N(Type.Object({ description: Type.String(), information: Type.Array(Type.String()) })),
});
const ReferenceAlertV2 = Type.Object({
  ...ReferenceAlert.properties,
  sourceDeviceAddress: N(Type.String()),
  destinationDeviceAddress: N(Type.String()),
  remediationSteps: Type.Array(Type.String()),
});
const ReferenceEvent = Type.Object({
  timestamp: Type.Integer(),
  type: Type.String(),
  title: Type.String(),
  severity: Type.String({ enum: ['INFO', 'NOTICE', 'ALERT'] }),
  owner: N(Type.String()),
  content: Type.String(),
});

const Query = Type.Object({
  state: Type.Optional(Type.String()),
  fromTime: Type.Optional(Type.Integer({ minimum: 0 })),
  toTime: Type.Optional(Type.Integer({ minimum: 0 })),
  type: Type.Optional(Type.String()),
});
const EventsQuery = Type.Object({
  minutesTimeFrame: Type.Optional(Type.Integer({ minimum: 1 })),
  type: Type.Optional(Type.String()),
});

/** The reference has no pages: the newest so many. */
const MAX_ALERTS = 10_000;
const MAX_EVENTS = 100;
const MAX_MINUTES = 4320;

/** The reference's two types, by our kinds; it ignores all others. */
const TYPES: Readonly<Record<string, string[]>> = { 'unexpected new devices': ['new_device'], disconnections: [] };

/** `/api/v1/alerts`, `/api/v2/alerts` and `/api/v1/events`, field for field as the reference product's. */
export function alerts(version: 1 | 2) {
  return (app: FastifyInstance, { store }: ApiContext): void => {
    const tags = ['reference'];
    const schema = version === 1 ? ReferenceAlert : ReferenceAlertV2;
    app.get(
      '/alerts',
      {
        config: { permission: 'alerts.read' },
        schema: { tags, summary: 'The newest 10,000 alerts', querystring: Query, response: { 200: Type.Array(schema) } },
      },
      async (request) => {
        const { state, fromTime, toTime, type } = request.query as Static<typeof Query>;
        const status = state === 'handled' ? ['acknowledged', 'closed', 'muted'] : state === 'unhandled' ? ['open'] : undefined;
        const { rows } = store.reader.alerts({
          status,
          kind: type !== undefined && Object.hasOwn(TYPES, type) ? TYPES[type] : undefined,
          since_ms: fromTime,
          until_ms: toTime,
          limit: MAX_ALERTS,
          descending: true,
        });
        return rows.map(version === 1 ? alertV1 : alertV2);
      },
    );
    if (version === 2) {
      app.get(
        '/alerts/pcap/:id',
        {
          config: { permission: 'alerts.read' },
          schema: { tags, summary: 'The packets of an alert', params: IdParams },
        },
        async (request, reply) => {
          const { id } = request.params as Static<typeof IdParams>;
          const { bytes } = evidenceFile(store.reader, id);
          return reply.type('application/vnd.tcpdump.pcap').send(bytes);
        },
      );
      return;
    }
    app.get(
      '/events',
      {
        config: { permission: 'events.read' },
        schema: {
          tags,
          summary: 'The newest 100 events, the newest first',
          querystring: EventsQuery,
          response: { 200: Type.Array(ReferenceEvent) },
        },
      },
      async (request) => {
        const { minutesTimeFrame, type } = request.query as Static<typeof EventsQuery>;
        const kinds = Object.entries(EVENT_TYPES).filter(([, [name]]) => name === type);
        const { rows } = store.reader.events({
          kind: kinds.length > 0 ? kinds.map(([kind]) => kind) : undefined,
          since_ms: minutesTimeFrame === undefined ? undefined : Date.now() - Math.min(minutesTimeFrame, MAX_MINUTES) * 60_000,
          limit: MAX_EVENTS,
          descending: true,
        });
        return rows.map(({ time_ms, kind, title }) => {
          const [type, name, severity] = EVENT_TYPES[kind] ?? OTHER_EVENT;
          return { timestamp: Math.floor(time_ms), type, title: name, severity, owner: null, content: title };
        });
      },
    );
  };
}

function alertV1(alert: StoredAlert): Static<typeof ReferenceAlert> {
  const { id, first_ms, title, description, severity, kind, source_device, destination_device, details } = alert;
  const information = Object.entries(details).map(([name, value]) => `${name}: ${value}`);
  return {
    id,
    time: Math.floor(first_ms),
    title,
    message: description,
    severity: SEVERITY_NAMES[severity] ?? 'Warning',
    engine: ENGINE_NAMES[kindOf(kind).engine] ?? 'Operational',
    sourceDevice: source_device,
    destinationDevice: destination_device,
    additionalInformation: information.length === 0 ? null : { description, information },
  };
}

function alertV2(alert: StoredAlert): Static<typeof ReferenceAlertV2> {
  return {
    ...alertV1(alert),
    sourceDeviceAddress: alert.source_ip || alert.source_mac || null,
    destinationDeviceAddress: alert.destination_ip || alert.destination_mac || null,
    remediationSteps: [...kindOf(alert.kind).remediation],
  };
}
