import type { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { UpdateProgress } from '../../update/progress.ts';
import { MAX_BUNDLE_BYTES, type UpdateAction } from '../../update/requests.ts';
import { note } from '../authenticate.ts';
import type { ApiContext } from '../context.ts';
import { ErrorBody } from '../errors.ts';
import { Ms, Nullable, Text } from '../schemas.ts';

const KindStatus = Type.Object({
  state: Text('none, installed, switching or starting (under way), or rolling_back.'),
  version: Text("What is installed; '' where nothing is."),
  previous: Text("What can be gone back to; '' where nothing can."),
});
const Staged = Type.Object({
  id: Text(),
  kind: Text('software or content.'),
  version: Text(),
  created_ms: Ms,
  notes: Text('What is new in it.'),
  signer: Text('The id of the key that signed it.'),
  bytes: Type.Integer(),
  staged_ms: Ms,
});
const Requested = Type.Object({
  action: Text('apply, undo or confirm.'),
  id: Text(),
  requested_ms: Ms,
  message: Text('Said where nothing takes it up.'),
});
const State = Type.Object({
  software: KindStatus,
  content: KindStatus,
  staged: Nullable(Staged),
  requested: Nullable(Requested),
  progress: Nullable(UpdateProgress),
});
const UPLOADS = ['application/octet-stream'] as const;

/**
 * Updates: a signed bundle is uploaded, checked and staged here; installing it is done by root's own unit, which checks it again. The
 * service is away while it is installed, and `progress` tells of it afterwards.
 */
export function updates(app: FastifyInstance, { updates, audit }: ApiContext): void {
  const tags = ['updates'];
  const config = { permission: 'updates.manage' } as const;

  app.get(
    '/updates',
    {
      config: { permission: 'updates.read' },
      schema: {
        tags,
        summary: 'What is installed and can be gone back to, what is staged, and how far an update is',
        response: { 200: State, '4xx': ErrorBody },
      },
    },
    async () => updates.state(),
  );
  app.register(async (uploads) => {
    // What comes is written as it comes, and never held.
    uploads.removeAllContentTypeParsers();
    uploads.addContentTypeParser([...UPLOADS], { bodyLimit: MAX_BUNDLE_BYTES }, (_, payload, done) => done(null, payload));
    uploads.put(
      '/updates/staged',
      {
        config: { ...config, upload: true },
        bodyLimit: MAX_BUNDLE_BYTES,
        schema: {
          tags,
          summary:
            'Upload a signed bundle of up to 2 GiB: its bytes are the body. It is kept where it is whole, signed by a trusted key and may be installed here, instead of the one before',
          consumes: [...UPLOADS],
          response: { 201: Staged, '4xx': ErrorBody },
        },
      },
      async (request, reply) => {
        const staged = await updates.stage(request.body as Readable | undefined);
        note(audit, request, 'update.upload', `${staged.kind} ${staged.version}`, { id: staged.id, signer: staged.signer });
        return reply.code(201).send(staged);
      },
    );
  });
  app.delete(
    '/updates/staged',
    {
      config,
      schema: {
        tags,
        summary: 'Discard the staged bundle, and what was asked for and not taken up yet',
        response: { 204: Type.Null(), '4xx': ErrorBody },
      },
    },
    async (request, reply) => {
      const staged = updates.staged();
      updates.discard();
      note(audit, request, 'update.discard', staged === null ? '' : `${staged.kind} ${staged.version}`);
      return reply.code(204).send();
    },
  );
  app.post(
    '/updates/staged/verify',
    {
      config,
      schema: {
        tags,
        summary: 'Check the staged bundle again: signature, versions, every file in it',
        response: { 200: Staged, '4xx': ErrorBody },
      },
    },
    async () => updates.verify(),
  );
  const asks: readonly [path: string, action: UpdateAction, summary: string][] = [
    ['/updates/apply', 'apply', 'Install the staged bundle; sensor and service are started anew. Whatever fails is taken back'],
    [
      '/updates/undo',
      'undo',
      'Go back to the version before an update that was installed over the API and not confirmed yet; databases whose schema it changed come back as they were before it',
    ],
    ['/updates/confirm', 'confirm', 'Keep what was installed: it cannot be undone over the API any more'],
  ];
  for (const [path, action, summary] of asks)
    app.post(path, { config, schema: { tags, summary, response: { 202: State, '4xx': ErrorBody } } }, async (request, reply) => {
      const state = await updates.ask(action);
      note(audit, request, `update.ask_${action}`, state.requested?.id ?? '');
      return reply.code(202).send(state);
    });
}
