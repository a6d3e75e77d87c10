import fs from 'node:fs';
import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import { trustedKeys } from '../../backup/keys.ts';
import { filesOf } from '../../backup/request.ts';
import { applyRestore, confirmRestore, planRestore, restoreStatus, undoRestore } from '../../backup/restore.ts';
import { OperatingError } from '../../errors.ts';
import { note } from '../authenticate.ts';
import type { ApiContext } from '../context.ts';
import { ErrorBody } from '../errors.ts';
import { Ms, Nullable, Text } from '../schemas.ts';

const Backup = Type.Object({
  name: Text(),
  size: Type.Integer(),
  created_ms: Ms,
  product_version: Text(),
  encrypted: Type.Boolean(),
});
const Run = Type.Object({
  id: Type.Integer(),
  kind: Text('backup, store (copied elsewhere) or drill (restored to see that it can be).'),
  reason: Text(),
  started_ms: Ms,
  ended_ms: Ms,
  outcome: Text('done or failed.'),
  file: Text(),
  bytes: Type.Integer(),
  message: Text(),
});
const Progress = Nullable(Type.Object({ step: Text(), done: Type.Number(), total: Type.Number() }));
const NameParams = Type.Object({ name: Type.String({ minLength: 1, maxLength: 255 }) });
type NameParams = Static<typeof NameParams>;
const Opening = Type.Object(
  { passphrase: Type.Optional(Type.String({ maxLength: 1024, default: '', description: 'Opens an encrypted backup.' })) },
  { additionalProperties: false },
);
const Change = Type.Object({
  target: Text(),
  change: Text('added, replaced or same.'),
  rows: Nullable(Type.Record(Type.String(), Type.Object({ before: Type.Integer(), after: Type.Integer() }))),
});
const Plan = Type.Object({
  sensor_name: Text(),
  created_ms: Ms,
  product_version: Text(),
  changes: Type.Array(Change),
  not_restored: Type.Array(Type.String()),
  secrets_kept: Type.Array(Type.String()),
});
const Restore = Type.Object({
  state: Text('none, armed (done with the next start of sensor and service), switched (to be confirmed or undone), …'),
  backup: Text(),
  created_ms: Ms,
  restored_ms: Ms,
  waiting_for: Text(),
});

/** Backups, and their restore. What is in a backup, and when one is made, is the section `backup` of the settings. */
export function backups(app: FastifyInstance, { backups, audit, directory, version }: ApiContext): void {
  const tags = ['backups'];
  const config = { permission: 'backups.manage' } as const;
  const nameOf = (request: { params: unknown }) => (request.params as NameParams).name;

  app.get(
    '/backups',
    {
      config,
      schema: {
        tags,
        summary: 'The backups that are here, what was tried, and how far the one is that is being made',
        response: {
          200: Type.Object({ items: Type.Array(Backup), runs: Type.Array(Run), progress: Progress }),
          '4xx': ErrorBody,
        },
      },
    },
    async () => ({
      items: backups.list().map(({ file: _, ...shown }) => shown),
      runs: backups.runs(100),
      progress: backups.progress,
    }),
  );
  app.post(
    '/backups',
    {
      config,
      schema: {
        tags,
        summary: 'Make a backup now; answers when it is done',
        response: {
          201: Type.Object({
            name: Text(),
            size: Type.Integer(),
            sha256: Text(),
            created_ms: Ms,
            left_out: Type.Array(Type.String()),
          }),
          '4xx': ErrorBody,
        },
      },
    },
    async (request, reply) => {
      const { file, ...made } = await backups.create('manual');
      const name = file.split('/').at(-1)!;
      note(audit, request, 'backup.create', name);
      return reply.code(201).send({ name, ...made });
    },
  );
  app.get(
    '/backups/:name',
    {
      config,
      schema: {
        tags,
        summary: 'Fetch a backup',
        params: NameParams,
        produces: ['application/octet-stream'],
        response: { '4xx': ErrorBody },
      },
    },
    async (request, reply) => {
      const { file, name, size } = backups.find(nameOf(request));
      note(audit, request, 'backup.fetch', name);
      void reply.header('content-disposition', `attachment; filename="${name}"`).header('content-length', size);
      return reply.type('application/octet-stream').send(fs.createReadStream(file));
    },
  );
  app.delete(
    '/backups/:name',
    {
      config,
      schema: { tags, summary: 'Delete a backup', params: NameParams, response: { 204: Type.Null(), '4xx': ErrorBody } },
    },
    async (request, reply) => {
      backups.remove(nameOf(request));
      note(audit, request, 'backup.delete', nameOf(request));
      return reply.code(204).send();
    },
  );
  app.post(
    '/backups/:name/verify',
    {
      config,
      schema: {
        tags,
        summary: 'Prove that a backup can be restored: into a scratch folder, checked whole, rows counted',
        params: NameParams,
        response: { 200: Type.Object({ rows: Type.Integer(), signer: Text(), trusted: Type.Boolean() }), '4xx': ErrorBody },
      },
    },
    async (request) => {
      const { rows, signer, trusted } = await backups.verify(nameOf(request));
      return { rows, signer, trusted };
    },
  );
  const restoreRequest = (request: { params: unknown; body: unknown }) => {
    const { passphrase = '' } = (request.body ?? {}) as Static<typeof Opening>;
    return {
      file: backups.find(nameOf(request)).file,
      data: directory,
      // Those of the host are for whoever is root there.
      config_file: '',
      zones_file: '',
      files: filesOf(directory),
      trusted: trustedKeys(directory, []),
      opening: passphrase === '' ? null : { passphrase },
      product_version: version,
      now_ms: Date.now(),
    };
  };
  const planOf = ({ manifest, changes, not_restored, secrets_kept }: Awaited<ReturnType<typeof planRestore>>) => {
    const { sensor_name, created_ms, product_version } = manifest;
    return { sensor_name, created_ms, product_version, changes, not_restored, secrets_kept };
  };
  app.post(
    '/backups/:name/restore/plan',
    {
      config,
      schema: {
        tags,
        summary: 'What restoring it would change; changes nothing',
        params: NameParams,
        body: Type.Optional(Opening),
        response: { 200: Plan, '4xx': ErrorBody },
      },
    },
    async (request) => planOf(await planRestore(restoreRequest(request))),
  );
  app.post(
    '/backups/:name/restore',
    {
      config,
      schema: {
        tags,
        summary: 'Restore it with the next start of sensor and service; the former state is kept until it is confirmed',
        params: NameParams,
        body: Type.Optional(Opening),
        response: { 202: Plan, '4xx': ErrorBody },
      },
    },
    async (request, reply) => {
      const report = await applyRestore(restoreRequest(request), { at_next_start: true });
      note(audit, request, 'backup.restore', nameOf(request));
      return reply.code(202).send(planOf(report));
    },
  );
  app.get(
    '/restore',
    {
      config,
      schema: {
        tags,
        summary: 'Whether a restore waits to be done, or to be confirmed',
        response: { 200: Restore, '4xx': ErrorBody },
      },
    },
    async () => restoreStatus(directory),
  );
  app.post(
    '/restore/confirm',
    {
      config,
      schema: {
        tags,
        summary: 'Keep what was restored; the former state is removed',
        response: { 200: Restore, '4xx': ErrorBody },
      },
    },
    async (request) => {
      const status = confirmRestore(directory);
      note(audit, request, 'restore.confirm', status.backup);
      return status;
    },
  );
  app.post(
    '/restore/cancel',
    {
      config,
      schema: { tags, summary: 'Call off a restore that waits for the next start', response: { 200: Restore, '4xx': ErrorBody } },
    },
    async (request) => {
      const before = restoreStatus(directory);
      if (before.state !== 'armed')
        throw new OperatingError('conflict', 'no restore waits; one that was done is undone by ot-sensor restore undo');
      const status = undoRestore(directory);
      note(audit, request, 'restore.cancel', before.backup);
      return status;
    },
  );
}
