import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import { note } from '../authenticate.ts';
import type { ApiContext } from '../context.ts';
import { ErrorBody } from '../errors.ts';
import { Ms, Text } from '../schemas.ts';

const Status = Type.Object({
  name: Text(),
  type: Text(),
  enabled: Type.Boolean(),
  state: Text('off, idle, waiting or failing.'),
  waiting: Type.Integer(),
  sent: Type.Integer(),
  dropped: Type.Integer({ description: 'Left out, because more waited than the queue holds.' }),
  last_success_ms: Ms,
  last_error: Text(),
  last_error_ms: Ms,
  failing_since_ms: Ms,
  next_try_ms: Ms,
});
const NameParams = Type.Object({ name: Type.String({ minLength: 1, maxLength: 200 }) });

/** How forwarding fares. What is forwarded where is the section `forwarding` of the settings. */
export function forwarding(app: FastifyInstance, { forwarder, audit }: ApiContext): void {
  const tags = ['forwarding'];
  app.get(
    '/forwarding',
    {
      config: { permission: 'settings.read' },
      schema: {
        tags,
        summary: 'The destinations, and how each fares',
        response: { 200: Type.Object({ items: Type.Array(Status) }), '4xx': ErrorBody },
      },
    },
    async () => ({ items: forwarder.status() }),
  );
  app.post(
    '/forwarding/:name/test',
    {
      config: { permission: 'settings.manage', rateLimit: { max: 30, timeWindow: 60_000 } },
      schema: {
        tags,
        summary: 'Send one message that is marked as a test, and say what the other side answered',
        params: NameParams,
        response: { 200: Type.Object({ ok: Type.Boolean(), said: Text() }), '4xx': ErrorBody },
      },
    },
    async (request) => {
      const { name } = request.params as Static<typeof NameParams>;
      const result = await forwarder.test(name);
      note(audit, request, 'forwarding.test', name, { ok: result.ok });
      return result;
    },
  );
  app.post(
    '/forwarding/:name/retry',
    {
      config: { permission: 'settings.manage' },
      schema: {
        tags,
        summary: 'Try a destination that fails again at once',
        params: NameParams,
        response: { 204: Type.Null(), '4xx': ErrorBody },
      },
    },
    async (request, reply) => {
      forwarder.retry((request.params as Static<typeof NameParams>).name);
      return reply.code(204).send();
    },
  );
}
