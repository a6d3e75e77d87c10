import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import { OperatingError } from '../../errors.ts';
import { MAX_PASSWORD_LENGTH } from '../../users/passwords.ts';
import { mayDo, PERMISSIONS, type Permission, ROLES, type Role } from '../../users/permissions.ts';
import { actorOf } from '../authenticate.ts';
import type { ApiContext } from '../context.ts';
import { ErrorBody } from '../errors.ts';
import { IdParams, Ms, Nullable, Text } from '../schemas.ts';

const Name = Type.String({ minLength: 1, maxLength: 64 });
const Password = Type.String({ minLength: 1, maxLength: MAX_PASSWORD_LENGTH });
const AnyRole = Type.String({ enum: [...ROLES] });
const User = Type.Object({
  id: Type.Integer(),
  name: Text(),
  role: AnyRole,
  enabled: Type.Boolean(),
  must_change_password: Type.Boolean(),
  created_ms: Ms,
  password_changed_ms: Ms,
  last_sign_in_ms: Nullable(Ms),
});
const Token = Type.Object({
  id: Type.Integer(),
  name: Text(),
  user: Text(),
  role: AnyRole,
  created_ms: Ms,
  expires_ms: Nullable(Ms),
  last_used_ms: Nullable(Ms),
});
const NameParams = Type.Object({ name: Name });
/** Guessing passwords is slowed down here before it costs the time of a hash. */
const FEW = { max: 30, timeWindow: 60_000 };

/** Sessions, one's own account, tokens, users, the audit log. */
export function accounts(app: FastifyInstance, context: ApiContext): void {
  const { users, tokens, audit } = context;

  app.post(
    '/session',
    {
      config: { open: 'it is how one signs in', rateLimit: FEW },
      schema: {
        tags: ['accounts'],
        summary: 'Sign in with name and password; the token is for the Authorization header',
        body: Type.Object({ name: Name, password: Password }, { additionalProperties: false }),
        response: {
          201: Type.Object({ token: Text(), expires_ms: Ms, role: AnyRole, must_change_password: Type.Boolean() }),
          '4xx': ErrorBody,
        },
      },
    },
    async (request, reply) => {
      const { name, password } = request.body as { name: string; password: string };
      const user = await users.signIn(name, password, request.ip);
      const { secret, expires_ms } = tokens.startSession(user.id);
      const { role, must_change_password } = user;
      return reply.code(201).send({ token: secret, expires_ms, role, must_change_password });
    },
  );

  app.delete(
    '/session',
    {
      config: { permission: 'own_account', before_new_password: true },
      schema: { tags: ['accounts'], summary: 'Sign out', response: { 204: Type.Null(), '4xx': ErrorBody } },
    },
    async (request, reply) => {
      tokens.endSession(request.identity!.token_id);
      return reply.code(204).send();
    },
  );

  app.get(
    '/account',
    {
      config: { permission: 'own_account', before_new_password: true },
      schema: {
        tags: ['accounts'],
        summary: 'Who one is, and what one may do',
        response: {
          200: Type.Object({
            name: Text(),
            role: AnyRole,
            must_change_password: Type.Boolean(),
            permissions: Type.Array(Type.String()),
          }),
          '4xx': ErrorBody,
        },
      },
    },
    async (request) => {
      const { name, role, must_change_password } = request.identity!;
      const permissions = (Object.keys(PERMISSIONS) as Permission[]).filter((permission) => mayDo(role, permission));
      return { name, role, must_change_password, permissions };
    },
  );

  app.put(
    '/account/password',
    {
      config: { permission: 'own_account', before_new_password: true, rateLimit: FEW },
      schema: {
        tags: ['accounts'],
        summary: "Set a new password of one's own; all sessions end",
        body: Type.Object({ password: Password, new_password: Password }, { additionalProperties: false }),
        response: { 204: Type.Null(), '4xx': ErrorBody },
      },
    },
    async (request, reply) => {
      const { password, new_password } = request.body as { password: string; new_password: string };
      await users.changePassword(request.identity!.name, password, new_password, request.ip);
      return reply.code(204).send();
    },
  );

  app.get(
    '/tokens',
    {
      config: { permission: 'own_account' },
      schema: {
        tags: ['accounts'],
        summary: "Tokens of programs: one's own, or all for whoever manages users",
        response: { 200: Type.Object({ items: Type.Array(Token) }), '4xx': ErrorBody },
      },
    },
    async (request) => {
      const { role, user_id } = request.identity!;
      return { items: tokens.list(mayDo(role, 'users.manage') ? undefined : user_id) };
    },
  );

  app.post(
    '/tokens',
    {
      config: { permission: 'own_account', rateLimit: FEW },
      schema: {
        tags: ['accounts'],
        summary: 'Make a token for a program; it is shown this once',
        body: Type.Object(
          { name: Name, role: Type.Optional(AnyRole), expires_ms: Type.Optional(Nullable(Ms)) },
          { additionalProperties: false },
        ),
        response: { 201: Type.Object({ token: Text(), ...Token.properties }), '4xx': ErrorBody },
      },
    },
    async (request, reply) => {
      const { user_id, role: own } = request.identity!;
      const { name, role = own, expires_ms } = request.body as { name: string; role?: Role; expires_ms?: number | null };
      if (ROLES.indexOf(role) > ROLES.indexOf(own))
        throw new OperatingError('not_allowed', `a token of yours can be ${own} at most`);
      const { token, secret } = tokens.create({ name, user_id, role, expires_ms }, actorOf(request));
      return reply.code(201).send({ token: secret, ...token });
    },
  );

  app.delete(
    '/tokens/:id',
    {
      config: { permission: 'own_account' },
      schema: {
        tags: ['accounts'],
        summary: 'Take a token back',
        params: IdParams,
        response: { 204: Type.Null(), '4xx': ErrorBody },
      },
    },
    async (request, reply) => {
      const { id } = request.params as Static<typeof IdParams>;
      const { name, role } = request.identity!;
      // Somebody else's is as if it were not there.
      if (!mayDo(role, 'users.manage') && tokens.get(id).user !== name)
        throw new OperatingError('not_found', `there is no token ${id}`);
      tokens.delete(id, actorOf(request));
      return reply.code(204).send();
    },
  );

  const managed = { permission: 'users.manage' } as const;
  const tags = ['users'];
  app.get(
    '/users',
    {
      config: managed,
      schema: { tags, summary: 'The users', response: { 200: Type.Object({ items: Type.Array(User) }), '4xx': ErrorBody } },
    },
    async () => ({ items: users.list() }),
  );

  app.post(
    '/users',
    {
      config: managed,
      schema: {
        tags,
        summary: 'Make a user, who sets a new password at the first sign-in',
        body: Type.Object({ name: Name, role: AnyRole, password: Password }, { additionalProperties: false }),
        response: { 201: User, '4xx': ErrorBody },
      },
    },
    async (request, reply) => {
      const { name, role, password } = request.body as { name: string; role: Role; password: string };
      const user = await users.create({ name, role, password, must_change_password: true }, actorOf(request));
      return reply.code(201).send(user);
    },
  );

  app.patch(
    '/users/:name',
    {
      config: managed,
      schema: {
        tags,
        summary: 'Change the role of a user, or disable or enable one',
        params: NameParams,
        body: Type.Object(
          { role: Type.Optional(AnyRole), enabled: Type.Optional(Type.Boolean()) },
          { additionalProperties: false },
        ),
        response: { 200: User, '4xx': ErrorBody },
      },
    },
    async (request) => {
      const { name } = request.params as Static<typeof NameParams>;
      return users.change(name, request.body as { role?: Role; enabled?: boolean }, actorOf(request));
    },
  );

  app.put(
    '/users/:name/password',
    {
      config: managed,
      schema: {
        tags,
        summary: "Set a user's password, to be changed at the next sign-in; sessions end, a lock is taken off",
        params: NameParams,
        body: Type.Object({ password: Password }, { additionalProperties: false }),
        response: { 204: Type.Null(), '4xx': ErrorBody },
      },
    },
    async (request, reply) => {
      const { name } = request.params as Static<typeof NameParams>;
      await users.resetPassword(name, (request.body as { password: string }).password, actorOf(request));
      return reply.code(204).send();
    },
  );

  app.delete(
    '/users/:name',
    {
      config: managed,
      schema: {
        tags,
        summary: 'Delete a user, with tokens and sessions',
        params: NameParams,
        response: { 204: Type.Null(), '4xx': ErrorBody },
      },
    },
    async (request, reply) => {
      users.delete((request.params as Static<typeof NameParams>).name, actorOf(request));
      return reply.code(204).send();
    },
  );

  const Entry = Type.Object({
    id: Type.Integer(),
    time_ms: Ms,
    actor: Text(),
    address: Text(),
    action: Text(),
    subject: Text(),
    outcome: Text(),
    details: Type.Record(Type.String(), Type.Unknown()),
  });
  const AuditQuery = Type.Object(
    {
      before_id: Type.Optional(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER })),
      limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 100 })),
      actor: Type.Optional(Type.String({ maxLength: 200 })),
      action: Type.Optional(Type.String({ maxLength: 200 })),
    },
    { additionalProperties: false },
  );
  app.get(
    '/audit',
    {
      config: { permission: 'audit.read' },
      schema: {
        tags: ['audit'],
        summary: 'Who did what, the newest first; `before_id` for the next page',
        querystring: AuditQuery,
        response: { 200: Type.Object({ items: Type.Array(Entry) }), '4xx': ErrorBody },
      },
    },
    async (request) => ({ items: audit.list(request.query as Static<typeof AuditQuery>) }),
  );
  app.get(
    '/audit/verify',
    {
      config: { permission: 'audit.read', rateLimit: FEW },
      schema: {
        tags: ['audit'],
        summary: 'Whether the chain of the audit log is whole',
        response: {
          200: Type.Object({
            intact: Type.Boolean(),
            entries: Type.Integer(),
            first_id: Type.Optional(Type.Integer()),
            last_id: Type.Optional(Type.Integer()),
            at_id: Type.Optional(Type.Integer()),
            reason: Type.Optional(Type.String()),
          }),
          '4xx': ErrorBody,
        },
      },
    },
    async () => audit.verify(),
  );
}
