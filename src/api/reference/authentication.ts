import type { FastifyInstance, FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { OperatingError } from '../../errors.ts';
import { mayDo } from '../../users/permissions.ts';
import type { ApiContext } from '../context.ts';

const Text = Type.String({ maxLength: 256 });
const FEW = { max: 30, timeWindow: 60_000 };

/** `/api/external/authentication/…`: passwords are checked and set without a token, as the reference product does. */
export function authentication(app: FastifyInstance, { users }: ApiContext): void {
  const config = { open: 'name and password are in the request', rateLimit: FEW };
  const tags = ['reference'];

  app.post(
    '/validation',
    { config, schema: { tags, summary: 'Whether name and password fit', body: Type.Object({ username: Text, password: Text }) } },
    async (request, reply) => {
      const { username, password } = request.body as { username: string; password: string };
      return answer(reply, 'Authentication succeeded.', async () => void (await users.signIn(username, password, request.ip)));
    },
  );

  app.post(
    '/set_password',
    {
      config,
      schema: {
        tags,
        summary: "Set one's own password",
        body: Type.Object({ username: Text, password: Text, new_password: Text }),
      },
    },
    async (request, reply) => {
      const { username, password, new_password } = request.body as Record<string, string>;
      return answer(reply, 'Password has been replaced', () =>
        users.changePassword(username, password, new_password, request.ip),
      );
    },
  );

  app.post(
    '/set_password_by_admin',
    {
      config,
      schema: {
        tags,
        summary: "Set somebody's password as an administrator",
        body: Type.Object({ admin_username: Text, admin_password: Text, username: Text, new_password: Text }),
      },
    },
    async (request, reply) => {
      const { admin_username, admin_password, username, new_password } = request.body as Record<string, string>;
      return answer(reply, 'Password has been replaced', async () => {
        const admin = await users.signIn(admin_username, admin_password, request.ip);
        if (!mayDo(admin.role, 'users.manage'))
          throw new OperatingError('not_allowed', `User '${admin_username}' doesn't have the permissions to change password`);
        await users.resetPassword(username, new_password, { name: admin.name, address: request.ip }, false);
      });
    },
  );
}

const STATUS: Readonly<Record<string, number>> = { not_signed_in: 401, not_allowed: 403, not_found: 404, locked: 429 };

async function answer(reply: FastifyReply, msg: string, act: () => Promise<void>): Promise<FastifyReply> {
  try {
    await act();
    return reply.send({ msg });
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    const body = { error: { userDisplayErrorMessage: error.message, internalSystemErrorMessage: error.code } };
    return reply.code(STATUS[error.code] ?? 400).send(body);
  }
}
