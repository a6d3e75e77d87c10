/** For tests of the API: one over the database of a replayed plant, with a user of each role, asked without a network. */
import path from 'node:path';
import type { FastifyInstance, InjectOptions, RouteOptions } from 'fastify';
import { closeServices, openServices } from '../appliance/services.ts';
import { createBackup } from '../backup/create.ts';
import { verifyBackup } from '../backup/verify.ts';
import { ot, PLANT, PROGRAM, remove, temporaryFolder, ZONES } from '../cli/testing.ts';
import { ROLES, type Role } from '../users/permissions.ts';
import { ROOT } from '../users/users.ts';
import type { ApiContext } from './context.ts';
import { buildServer } from './server.ts';

export const PASSWORD = 'Corvus-17-brake';

export interface TestApi {
  app: FastifyInstance;
  context: ApiContext;
  directory: string;
  routes: RouteOptions[];
  /** A token of each role; its user's name is the role with a dot for the underscore. */
  tokens: Record<Role, string>;
  /** As somebody, an administrator where left out; null: nobody. */
  ask: (options: InjectOptions & { as?: Role | null }) => Promise<Answer>;
  close: () => Promise<void>;
}

export interface Answer {
  status: number;
  headers: Record<string, unknown>;
  text: string;
  bytes: Buffer;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  json: any;
}

export interface TestApiOptions {
  /** false: nothing was captured yet. */
  database?: boolean;
  /** Done before the server is built. */
  prepare?: (context: ApiContext) => void;
}

export async function testApi({ database = true, prepare }: TestApiOptions = {}): Promise<TestApi> {
  const directory = temporaryFolder();
  if (database) {
    const replayed = await ot(['replay', PLANT, '--zones', ZONES, '--data', directory]);
    if (replayed.code !== 0) throw new Error(replayed.stderr);
  }
  const context = openServices({
    version: '1.2.3',
    directory,
    program: PROGRAM,
    program_root: path.join(directory, 'opt'),
    update_root_keys: [path.join(directory, 'root.pub')],
    config_file: '',
    // Their processes are files of the build.
    backup_work: { create: (request) => createBackup(request), verify: (request) => verifyBackup(request) },
  });
  await context.forwarder.start();
  const tokens = {} as Record<Role, string>;
  for (const role of ROLES) {
    const user = await context.users.create({ name: role.replace('_', '.'), role, password: PASSWORD }, ROOT);
    tokens[role] = context.tokens.create({ name: 'test', user_id: user.id, role }, ROOT).secret;
  }
  prepare?.(context);
  const routes: RouteOptions[] = [];
  const app = await buildServer(context, null, (route) => routes.push(route));
  return {
    app,
    context,
    directory,
    routes,
    tokens,
    ask: async ({ as = 'admin', headers, ...options }) => {
      const given = as === null ? {} : { authorization: tokens[as] };
      const {
        statusCode,
        headers: answered,
        body,
        rawPayload,
      } = await app.inject({ ...options, headers: { ...given, ...headers } });
      const json = body !== '' && /json/.test(String(answered['content-type'])) ? JSON.parse(body) : undefined;
      return { status: statusCode, headers: answered, text: body, bytes: rawPayload, json };
    },
    close: async () => {
      await app.close();
      await closeServices(context);
      remove(directory);
    },
  };
}
