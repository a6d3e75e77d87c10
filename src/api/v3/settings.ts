import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import { SECRET_SET } from '../../appliance/settings.ts';
import { actorOf, note } from '../authenticate.ts';
import type { ApiContext } from '../context.ts';
import { ErrorBody } from '../errors.ts';
import { expectedVersion } from '../if-match.ts';
import { Ms, Text } from '../schemas.ts';

const Version = Type.Object({ version: Type.Integer(), changed_ms: Ms, changed_by: Text() });

/** Every section of managed settings: read, change, look at former versions and go back to one. */
export function settings(app: FastifyInstance, { settings, sections, audit }: ApiContext): void {
  const tags = ['settings'];
  app.get(
    '/settings',
    {
      config: { permission: 'settings.read' },
      schema: {
        tags,
        summary: 'The sections there are',
        response: {
          200: Type.Object({ items: Type.Array(Type.Object({ name: Text(), description: Text(), ...Version.properties })) }),
          '4xx': ErrorBody,
        },
      },
    },
    async () => ({
      items: sections.map((section) => {
        const { version, changed_ms, changed_by } = settings.read(section);
        return { name: section.name, description: section.description, version, changed_ms, changed_by };
      }),
    }),
  );

  for (const section of sections) {
    const { name, description, schema } = section;
    const Shown = Type.Object({
      ...Version.properties,
      value: Type.Unknown({ description: `As it is set; ${SECRET_SET} stands for a secret.` }),
    });
    const Query = Type.Object({ version: Type.Optional(Type.Integer({ minimum: 0 })) }, { additionalProperties: false });
    app.get(
      `/settings/${name}`,
      {
        config: { permission: 'settings.read' },
        schema: { tags, summary: description, querystring: Query, response: { 200: Shown, '4xx': ErrorBody } },
      },
      async (request, reply) => {
        const stored = settings.show(section, (request.query as Static<typeof Query>).version);
        return reply.header('etag', `"${stored.version}"`).send(stored);
      },
    );
    app.put(
      `/settings/${name}`,
      {
        config: { permission: 'settings.manage' },
        // Checked where it is stored, so that every fault is named and the command line has the same checks.
        validatorCompiler: () => () => true,
        schema: {
          tags,
          summary: `${description} Replaces all of the section; what is left out gets its default. With If-Match: only if it is this version.`,
          body: schema,
          response: { 200: Shown, '4xx': ErrorBody },
        },
      },
      async (request) => {
        settings.write(section, request.body, actorOf(request).name, Date.now(), expectedVersion(request));
        const shown = settings.show(section);
        note(audit, request, 'settings.change', name, { version: shown.version });
        return shown;
      },
    );
    app.get(
      `/settings/${name}/versions`,
      {
        config: { permission: 'settings.read' },
        schema: {
          tags,
          summary: 'The versions that are kept',
          response: { 200: Type.Object({ items: Type.Array(Version) }), '4xx': ErrorBody },
        },
      },
      async () => ({ items: settings.versions(section) }),
    );
  }
}
