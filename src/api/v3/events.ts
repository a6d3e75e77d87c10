import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { ot_sensor } from '../../proto/api.js';
import { SORTS } from '../../store/queries.ts';
import type { Answers } from '../answers.ts';
import type { ApiContext } from '../context.ts';
import { list, type StoreOf } from '../list.ts';
import { Id, Ms, Nullable, Text, Word, wordsOf } from '../schemas.ts';

export const Event = Type.Object({
  id: Id,
  time_ms: Ms,
  kind: Text(),
  device_id: Nullable(Id),
  title: Text(),
  details: Type.Record(Type.String(), Type.Unknown()),
  capture_id: Type.Integer(),
  frame: Type.Integer(),
});

/** The list alone, of the database that a request is about; the sensor's where left out. */
export function listEvents(app: FastifyInstance, context: ApiContext, answers: Answers, base = '', store?: StoreOf): void {
  list(app, context, answers, {
    store,
    path: `${base}/events`,
    name: 'events',
    message: ot_sensor.EventPage,
    tag: 'events',
    summary: 'The timeline: what changed in the network, the newest first',
    permission: 'events.read',
    row: Event,
    filter: Type.Object({ device: Type.Optional(Id), kind: Type.Optional(Word), text: Type.Optional(Word) }),
    sorts: SORTS.events,
    newest_first: true,
    filterOf: ({ kind, ...filter }) => ({ ...filter, kind: wordsOf(kind) }),
  });
}

export function events(app: FastifyInstance, context: ApiContext, answers: Answers): void {
  listEvents(app, context, answers);
}
