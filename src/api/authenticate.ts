import type { FastifyInstance, FastifyRequest } from 'fastify';
import { OperatingError } from '../errors.ts';
import type { AuditLog } from '../users/audit.ts';
import { mayDo, type Permission } from '../users/permissions.ts';
import type { Identity } from '../users/tokens.ts';
import type { Actor } from '../users/users.ts';
import type { ApiContext } from './context.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks; null only on open routes. */
    identity: Identity | null;
  }
  interface FastifyContextConfig {
    /** What one must be permitted to do to use this route. */
    permission?: Permission;
    /** Why the route needs none. */
    open?: string;
    /** For whoever must set a new password first. */
    before_new_password?: boolean;
  }
}

/**
 * Every route names its permission, or why it needs none: without either the server does not start. Tokens are checked before a body
 * is read. `open`: the reason for whole folders of routes that are not ours.
 */
export function authenticate(app: FastifyInstance, { tokens, audit }: ApiContext, open: Readonly<Record<string, string>>): void {
  app.decorateRequest('identity', null);
  app.addHook('onRoute', (route) => {
    const { method, url } = route;
    const prefix = Object.keys(open).find((one) => url === one || url.startsWith(`${one}/`));
    if (prefix !== undefined) route.config = { ...route.config, open: open[prefix] };
    const { config } = route;
    if ((config?.permission === undefined) === (config?.open === undefined))
      throw new Error(`${method} ${url} names no permission`);
  });
  app.addHook('onRequest', async (request) => {
    const { permission, before_new_password } = request.routeOptions.config;
    if (permission === undefined) return;
    const identity = tokens.identify(secretOf(request));
    if (identity === null) throw new OperatingError('not_signed_in', 'the token or session is missing, wrong or has ended');
    if (identity.must_change_password && before_new_password !== true)
      throw new OperatingError('not_allowed', 'set a new password first: PUT /api/v3/account/password');
    if (!mayDo(identity.role, permission)) {
      const { method, url } = request.routeOptions;
      audit.add({
        actor: identity.actor,
        address: request.ip,
        action: `${method} ${url}`,
        subject: permission,
        outcome: 'refused',
        details: {},
      });
      throw new OperatingError('not_allowed', `${identity.actor} is ${identity.role}, and may not do this (${permission})`);
    }
    request.identity = identity;
  });
}

/** Of `Authorization: TOKEN` or `Authorization: Bearer TOKEN`. */
function secretOf({ headers }: FastifyRequest): string {
  const value = headers.authorization ?? '';
  return /^bearer /i.test(value) ? value.slice(7).trim() : value.trim();
}

/** Who asks, as the audit log names it. */
export function actorOf(request: FastifyRequest): Actor {
  return { name: request.identity?.actor ?? '(nobody)', address: request.ip };
}

/** What was done, into the audit log. `details` never hold a secret. */
export function note(
  audit: AuditLog,
  request: FastifyRequest,
  action: string,
  subject: string,
  details: Record<string, unknown> = {},
): void {
  const { name: actor, address } = actorOf(request);
  audit.add({ actor, address, action, subject, outcome: 'done', details });
}
