import type { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import { MAX_CAPTURE_BYTES } from '../../appliance/captures.ts';
import type { Answers } from '../answers.ts';
import { note } from '../authenticate.ts';
import type { ApiContext } from '../context.ts';
import { ErrorBody } from '../errors.ts';
import { Ms, Nullable, Text } from '../schemas.ts';
import { listAlerts } from './alerts.ts';
import { listConnections } from './connections.ts';
import { listDevices } from './devices.ts';
import { listEvents } from './events.ts';

const Capture = Type.Object({
  name: Text(),
  bytes: Type.Integer(),
  uploaded_ms: Ms,
  state: Text('uploaded, playing, played or failed.'),
  message: Text('Why it failed.'),
  summary: Nullable(Type.Record(Type.String(), Type.Unknown())),
});
const UPLOADS = ['application/octet-stream', 'application/vnd.tcpdump.pcap'] as const;
const NameParams = Type.Object({ name: Type.String({ minLength: 1, maxLength: 128 }) });
type NameParams = Static<typeof NameParams>;

/** Capture files of people's own: uploaded, played through the whole pipeline, and what was found in each. */
export function captures(app: FastifyInstance, context: ApiContext, answers: Answers): void {
  const { captures, audit } = context;
  const tags = ['captures'];
  const config = { permission: 'captures.play' } as const;

  app.get(
    '/captures',
    {
      config,
      schema: {
        tags,
        summary: 'The captures there are',
        response: { 200: Type.Object({ items: Type.Array(Capture) }), '4xx': ErrorBody },
      },
    },
    async () => ({ items: captures.list() }),
  );
  app.get(
    '/captures/:name',
    {
      config,
      schema: { tags, summary: 'A capture, and how far it is', params: NameParams, response: { 200: Capture, '4xx': ErrorBody } },
    },
    async (request) => captures.get((request.params as NameParams).name),
  );
  app.register(async (uploads) => {
    // What comes is written as it comes, and never held.
    uploads.removeAllContentTypeParsers();
    uploads.addContentTypeParser([...UPLOADS], { bodyLimit: MAX_CAPTURE_BYTES }, (_, payload, done) => done(null, payload));
    uploads.put(
      '/captures/:name',
      {
        config: { ...config, upload: true },
        bodyLimit: MAX_CAPTURE_BYTES,
        schema: {
          tags,
          summary: 'Upload a capture file of up to 2 GiB: its bytes are the body (application/octet-stream)',
          params: NameParams,
          consumes: [...UPLOADS],
          response: { 201: Capture, '4xx': ErrorBody },
        },
      },
      async (request, reply) => {
        const uploaded = await captures.upload((request.params as NameParams).name, request.body as Readable | undefined);
        note(audit, request, 'capture.upload', (request.params as NameParams).name);
        return reply.code(201).send(uploaded);
      },
    );
  });
  app.post(
    '/captures/:name/play',
    {
      config,
      schema: {
        tags,
        summary: 'Put it through the whole pipeline, under the zone policy in force, into a database of its own',
        params: NameParams,
        response: { 202: Capture, '4xx': ErrorBody },
      },
    },
    async (request, reply) => {
      const { name } = request.params as NameParams;
      const started = captures.play(name);
      note(audit, request, 'capture.play', (request.params as NameParams).name);
      return reply.code(202).send(started);
    },
  );
  app.delete(
    '/captures/:name',
    {
      config,
      schema: {
        tags,
        summary: 'Delete it, with what was found in it',
        params: NameParams,
        response: { 204: Type.Null(), '4xx': ErrorBody },
      },
    },
    async (request, reply) => {
      captures.delete((request.params as NameParams).name);
      note(audit, request, 'capture.delete', (request.params as NameParams).name);
      return reply.code(204).send();
    },
  );
  // What was found in a capture is listed as what the sensor found.
  for (const listOf of [listDevices, listConnections, listAlerts, listEvents])
    listOf(app, context, answers, '/captures/:name', ({ params }) => captures.store((params as NameParams).name));
}
