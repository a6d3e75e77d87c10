import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import rateLimit from '@fastify/rate-limit';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import { Ajv } from 'ajv';
import Fastify, { type FastifyInstance, type FastifyServerOptions, type RouteOptions } from 'fastify';
import { OperatingError } from '../errors.ts';
import { Answers } from './answers.ts';
import { authenticate } from './authenticate.ts';
import type { ApiContext } from './context.ts';
import { answerErrors } from './errors.ts';
import { metrics } from './metrics.ts';
import { alerts as referenceAlerts } from './reference/alerts.ts';
import { authentication } from './reference/authentication.ts';
import { devices as referenceDevices } from './reference/devices.ts';
import { limitRequestTime } from './request-time.ts';
import { API } from './settings.ts';
import { accounts } from './v3/accounts.ts';
import { alerts } from './v3/alerts.ts';
import { backups } from './v3/backups.ts';
import { captures } from './v3/captures.ts';
import { certificate } from './v3/certificate.ts';
import { connections } from './v3/connections.ts';
import { devices } from './v3/devices.ts';
import { events } from './v3/events.ts';
import { forwarding } from './v3/forwarding.ts';
import { health } from './v3/health.ts';
import { settings } from './v3/settings.ts';
import { stream } from './v3/stream.ts';
import { updates } from './v3/updates.ts';
import { zones } from './v3/zones.ts';

/** A certificate with its chain and the key, PEM; null: plain HTTP, for loopback alone. */
export type Tls = { cert: string; key: string } | null;

/** A query is text, in which 5 is a number; JSON says itself what is what. What is not known is a fault of whoever asks, and said. */
const PARAMETERS = new Ajv({ coerceTypes: true, useDefaults: true });
const BODIES = new Ajv({ useDefaults: true });

/** How long requests under way have when the service ends. */
const GRACE_MS = 1000;

/** One plugin a resource. */
const OURS = [
  devices,
  connections,
  alerts,
  events,
  stream,
  health,
  accounts,
  settings,
  forwarding,
  certificate,
  zones,
  captures,
  backups,
  updates,
] as const;
const REFERENCE: readonly [prefix: string, plugin: (app: FastifyInstance, context: ApiContext) => void][] = [
  ['/api/v1', referenceDevices],
  ['/api/v1', referenceAlerts(1)],
  ['/api/v2', referenceAlerts(2)],
  ['/api/external/authentication', authentication],
  // The reference's documents write these paths both ways.
  ['/external/authentication', authentication],
];

/** The API over the sensor's database and the appliance's own, ready to listen or to be injected into. `onRoute` is told of every route. */
export async function buildServer(
  context: ApiContext,
  tls: Tls,
  onRoute?: (route: RouteOptions) => void,
): Promise<FastifyInstance> {
  const limits = context.settings.read(API).value;
  const options: FastifyServerOptions = {
    bodyLimit: limits.request_bytes,
    connectionTimeout: 0,
    keepAliveTimeout: 60_000,
    routerOptions: { maxParamLength: 200 },
    genReqId: requestIds(),
  };
  const secure = tls === null ? {} : { http2: true, https: { ...tls, allowHTTP1: true, minVersion: 'TLSv1.2' } };
  const app = Fastify({ ...options, ...secure } as FastifyServerOptions) as unknown as FastifyInstance<Server>;
  app.setValidatorCompiler(({ schema, httpPart }) => (httpPart === 'body' ? BODIES : PARAMETERS).compile(schema as object));
  answerErrors(app);
  limitRequestTime(app, limits.request_timeout_s * 1000);
  acceptForms(app);
  endConnections(app);
  app.addHook('onSend', async (_, reply) => {
    void reply.headers({ 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer' });
    if (tls !== null) void reply.header('strict-transport-security', 'max-age=31536000');
  });
  await app.register(rateLimit, {
    max: limits.requests_per_minute,
    timeWindow: 60_000,
    cache: 10_000,
    errorResponseBuilder: (_, { after }) =>
      Object.assign(new Error(`too many requests; wait ${after}`), { statusCode: 429 }) as Error,
  });
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'ot-sensor',
        version: context.version,
        description:
          'The local API of a passive OT traffic sensor. Times are milliseconds since 1970-01-01 UTC. Errors are `{ error: { code, message, what_to_do } }`.',
      },
      components: { securitySchemes: { token: { type: 'apiKey', in: 'header', name: 'Authorization' } } },
      security: [{ token: [] }],
    },
  });
  authenticate(app, context, { '/api/docs': 'it tells nothing of the plant' });
  if (onRoute !== undefined) app.addHook('onRoute', onRoute);
  await app.register(swaggerUi, { routePrefix: '/api/docs' });
  const answers = new Answers();
  await app.register(
    async (v3) => {
      for (const plugin of OURS) plugin(v3, context, answers);
    },
    { prefix: '/api/v3' },
  );
  for (const [prefix, plugin] of REFERENCE) await app.register(async (part) => plugin(part, context), { prefix });
  metrics(app, context);
  await app.ready();
  return app;
}

/** A stream that somebody listens to, and a session that stays open, must not keep the service from ending. */
function endConnections(app: FastifyInstance): void {
  const open = new Set<Socket>();
  app.server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  app.addHook('preClose', async () => {
    const end = () => {
      for (const socket of open) socket.destroy();
    };
    setTimeout(end, GRACE_MS);
  });
}

function requestIds(): () => string {
  const start = Date.now().toString(36);
  let count = 0;
  return () => `${start}-${(++count).toString(36)}`;
}

/** `curl -d` says that JSON is a form: it is read as what it is. */
function acceptForms(app: FastifyInstance): void {
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_, body, done) => {
    const text = body as string;
    try {
      done(null, text.trimStart().startsWith('{') ? JSON.parse(text) : Object.fromEntries(new URLSearchParams(text)));
    } catch {
      done(new OperatingError('usage', 'the body is not JSON'));
    }
  });
}
