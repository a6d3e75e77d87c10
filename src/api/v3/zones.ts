import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import { MAX_POLICY_BYTES } from '../../appliance/zone-policies.ts';
import { OperatingError } from '../../errors.ts';
import { actorOf, note } from '../authenticate.ts';
import type { ApiContext } from '../context.ts';
import { ErrorBody } from '../errors.ts';
import { expectedVersion } from '../if-match.ts';
import { Ms, Nullable, Text } from '../schemas.ts';

const Policy = Type.String({
  maxLength: MAX_POLICY_BYTES,
  description: 'A zone policy in YAML, as src/policy/README.md describes it.',
});
const Fault = Type.Object({
  severity: Text('fault or warning.'),
  code: Text(),
  message: Text(),
  line: Type.Integer(),
  column: Type.Integer(),
});
/** None: any. */
const Names = Type.Array(Type.String());
const Version = Type.Object({ version: Type.Integer(), comment: Text(), applied_ms: Ms, applied_by: Text() });
const Crossing = Type.Object({
  frame: Type.Number(),
  count: Type.Integer(),
  from: Text(),
  to: Text(),
  protocol: Text(),
  operation: Text(),
  why: Text(),
});
const TestBody = Type.Object(
  {
    policy: Policy,
    capture: Type.Optional(Type.String({ maxLength: 128, description: 'Against this uploaded capture.' })),
    hours: Type.Optional(
      Type.Number({ exclusiveMinimum: 0, maximum: 720, description: 'Or against what was recorded in the last hours.' }),
    ),
  },
  { additionalProperties: false },
);

/** The zone policy: read, checked, tested against traffic, applied, and taken back. */
export function zones(app: FastifyInstance, context: ApiContext): void {
  const { zone_policies, captures, run, audit, directory } = context;
  const tags = ['zones'];

  app.get(
    '/zones',
    {
      config: { permission: 'zones.read' },
      schema: {
        tags,
        summary: 'The zones and conduits in force',
        querystring: Type.Object({ version: Type.Optional(Type.Integer({ minimum: 1 })) }, { additionalProperties: false }),
        response: {
          200: Type.Object({
            version: Type.Integer({ description: '0: none was applied over the API.' }),
            policy: Type.String(),
            zones: Type.Array(Type.Object({ name: Text(), level: Nullable(Type.Number()), subnets: Type.Array(Type.String()) })),
            conduits: Type.Array(Type.Object({ name: Text(), from: Names, to: Names, protocols: Names })),
          }),
          '4xx': ErrorBody,
        },
      },
    },
    async (request) => {
      const { version } = request.query as { version?: number };
      const policy = zone_policies.text(version);
      const { model } = zone_policies.check(policy);
      const names = (of: readonly number[] | null) => (of ?? []).map((zone) => model?.zones[zone]?.name ?? '');
      return {
        version: version ?? zone_policies.versions()[0]?.version ?? 0,
        policy,
        zones: (model?.zones ?? []).map(({ name, level, subnets }) => ({ name, level, subnets: subnets.map((one) => one.text) })),
        conduits: (model?.conduits ?? []).map(({ name, from, to, protocols }) => ({
          name,
          from: names(from),
          to: names(to),
          protocols: protocols ?? [],
        })),
      };
    },
  );

  app.get(
    '/zones/versions',
    {
      config: { permission: 'zones.read' },
      schema: {
        tags,
        summary: 'The versions that are kept, the newest first',
        response: { 200: Type.Object({ items: Type.Array(Version) }), '4xx': ErrorBody },
      },
    },
    async () => ({ items: zone_policies.versions() }),
  );

  app.post(
    '/zones/validate',
    {
      config: { permission: 'zones.test' },
      bodyLimit: MAX_POLICY_BYTES * 2,
      schema: {
        tags,
        summary: 'Every fault of a policy with line and column, and warnings',
        body: Type.Object({ policy: Policy }, { additionalProperties: false }),
        response: { 200: Type.Object({ usable: Type.Boolean(), faults: Type.Array(Fault) }), '4xx': ErrorBody },
      },
    },
    async (request) => {
      const { usable, faults } = zone_policies.check((request.body as { policy: string }).policy);
      return { usable, faults };
    },
  );

  app.post(
    '/zones/test',
    {
      config: { permission: 'zones.test', rateLimit: { max: 10, timeWindow: 60_000 } },
      bodyLimit: MAX_POLICY_BYTES * 2,
      schema: {
        tags,
        summary: 'What a policy would raise, and why: against a capture, or what was recorded in the last hours',
        body: TestBody,
        response: { 200: Type.Object({ items: Type.Array(Crossing) }), '4xx': ErrorBody },
      },
    },
    async (request) => {
      const { policy, capture, hours } = request.body as Static<typeof TestBody>;
      if ((capture === undefined) === (hours === undefined)) throw new OperatingError('usage', 'give either a capture or hours');
      const { usable, faults } = zone_policies.check(policy);
      if (!usable)
        throw new OperatingError(
          'zone_file',
          faults.map(({ line, column, message }) => `${line}:${column}: ${message}`).join('\n'),
        );
      const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-'));
      const abort = new AbortController();
      request.raw.on('close', () => request.raw.destroyed && abort.abort());
      try {
        const zone_file = path.join(folder, 'zones.yaml');
        fs.writeFileSync(zone_file, policy);
        let traffic: string;
        if (capture !== undefined) traffic = captures.path(capture);
        else {
          traffic = path.join(folder, 'recorded.pcapng');
          const from = new Date(Date.now() - hours! * 3_600_000).toISOString();
          const args = ['recording', 'export', '--out', traffic, '--from', from, '--data', directory];
          const { code, stderr } = await run(args, abort.signal);
          if (code !== 0) throw new OperatingError('not_found', `nothing can be tested against: ${stderr.trim()}`);
        }
        const { code, stdout, stderr } = await run(['zones', 'test', zone_file, traffic, '--format', 'jsonl'], abort.signal);
        if (code !== 0 && code !== 1) throw new OperatingError('capture_file', stderr.trim());
        return {
          items: stdout
            .split('\n')
            .filter(Boolean)
            .map((line) => JSON.parse(line) as object),
        };
      } finally {
        fs.rmSync(folder, { recursive: true, force: true });
      }
    },
  );

  const Applied = Type.Object({
    ...Version.properties,
    told_sensor: Type.Boolean({ description: 'False: no sensor runs here; it takes it with its next start.' }),
  });
  app.put(
    '/zones',
    {
      config: { permission: 'zones.manage' },
      bodyLimit: MAX_POLICY_BYTES * 2,
      schema: {
        tags,
        summary:
          'Apply a policy: kept as a new version, and taken over by the sensor without losing a packet. With If-Match: only if the present version is this one',
        body: Type.Object(
          { policy: Policy, comment: Type.Optional(Type.String({ maxLength: 1000, default: '' })) },
          { additionalProperties: false },
        ),
        response: { 200: Applied, '4xx': ErrorBody },
      },
    },
    async (request) => {
      const { policy, comment = '' } = request.body as { policy: string; comment?: string };
      return applied(request, policy, comment, expectedVersion(request));
    },
  );
  app.post(
    '/zones/versions/:version/apply',
    {
      config: { permission: 'zones.manage' },
      schema: {
        tags,
        summary: 'Go back to a former version: it is applied again, as a new one',
        params: Type.Object({ version: Type.Integer({ minimum: 1 }) }),
        response: { 200: Applied, '4xx': ErrorBody },
      },
    },
    async (request) => {
      const { version } = request.params as { version: number };
      return applied(request, zone_policies.text(version), `version ${version} again`);
    },
  );

  function applied(request: Parameters<typeof actorOf>[0], policy: string, comment: string, expected?: number) {
    const result = zone_policies.apply(policy, comment, actorOf(request).name, Date.now(), expected);
    note(audit, request, 'zones.apply', 'zones', { version: result.version, comment });
    return result;
  }
}
