import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { ot_sensor } from '../../proto/api.js';
import { SORTS } from '../../store/queries.ts';
import type { Answers } from '../answers.ts';
import type { ApiContext } from '../context.ts';
import { list, type StoreOf } from '../list.ts';
import { Id, Ip, Mac, Ms, Nullable, Port, Text, Word } from '../schemas.ts';

const Ends = {
  opener_device: Nullable(Id),
  opener_ip: Text(),
  opener_mac: Text(),
  responder_device: Nullable(Id),
  responder_ip: Text(),
  responder_mac: Text(),
};

export const Connection = Type.Object({
  id: Id,
  proto: Text('tcp, udp, icmp, eth, …'),
  app_proto: Text("The application's protocol; '' where it was not recognised."),
  recognised_by: Text(),
  segment: Text(),
  ...Ends,
  server_port: Port,
  client: Text('opener, responder or unknown.'),
  opener_certain: Type.Boolean(),
  ethertype: Type.Integer(),
  flows: Type.Integer(),
  packets_from_opener: Type.Integer(),
  packets_from_responder: Type.Integer(),
  bytes_from_opener: Type.Integer(),
  bytes_from_responder: Type.Integer(),
  first_ms: Ms,
  last_ms: Ms,
});

export const Activity = Type.Object({
  id: Id,
  connection_id: Id,
  app_proto: Text(),
  operation: Text('read, write, stop, …: one vocabulary for all protocols.'),
  from_opener: Type.Boolean(),
  role: Text(),
  target: Text(),
  target_first: Nullable(Type.Number()),
  target_last: Nullable(Type.Number()),
  unit: Type.Integer({ description: '-1: none.' }),
  unit_name: Text(),
  count: Type.Integer(),
  ...Ends,
  server_port: Port,
  first_ms: Ms,
  last_ms: Ms,
});

const EndFilter = {
  device: Type.Optional(Id),
  ip: Type.Optional(Ip),
  mac: Type.Optional(Mac),
  protocol: Type.Optional(Word),
  text: Type.Optional(Word),
};

/** The list alone, of the database that a request is about; the sensor's where left out. */
export function listConnections(app: FastifyInstance, context: ApiContext, answers: Answers, base = '', store?: StoreOf): void {
  list(app, context, answers, {
    store,
    path: `${base}/connections`,
    name: 'connections',
    message: ot_sensor.ConnectionPage,
    tag: 'connections',
    summary: 'Who talks to whom',
    permission: 'inventory.read',
    row: Connection,
    filter: Type.Object({ ...EndFilter, port: Type.Optional(Port), zone: Type.Optional(Word) }),
    sorts: SORTS.connections,
  });
  list(app, context, answers, {
    store,
    path: `${base}/activities`,
    name: 'activities',
    message: ot_sensor.ActivityPage,
    tag: 'connections',
    summary: 'What was done in the conversations: operations on targets, counted',
    permission: 'inventory.read',
    row: Activity,
    filter: Type.Object({
      ...EndFilter,
      connection: Type.Optional(Id),
      operation: Type.Optional(Word),
      unit: Type.Optional(Type.Integer()),
    }),
    sorts: SORTS.activities,
  });
}

/** Who talks to whom, and what they do. */
export function connections(app: FastifyInstance, context: ApiContext, answers: Answers): void {
  listConnections(app, context, answers);
}
