import type { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestApi, testApi } from '../api/testing.ts';
import { programFor } from './program.ts';

// Everything the API can do the command line can do, in the same words: a route without a command fails here.

/** Route → the command that does the same; options that are needed for it behind it. */
const COMMANDS: Readonly<Record<string, string>> = {
  'GET /devices': 'devices',
  'GET /devices/:id': 'devices --id',
  'PATCH /devices/:id': 'device',
  'DELETE /devices/:id': 'delete-devices',
  'DELETE /devices': 'delete-devices --unseen-since',
  'POST /devices/:id/restore': 'delete-devices --restore',
  'GET /connections': 'connections',
  'GET /activities': 'connections --activities',
  'GET /alerts': 'alerts',
  'GET /alerts/:id': 'alert',
  'GET /alerts/:id/packets': 'evidence',
  'PATCH /alerts/:id': 'alert --status',
  'POST /alerts/:id/comments': 'alert --comment',
  'GET /alert-kinds': 'alert-kinds',
  'GET /events': 'events',
  'GET /stream': 'stream',
  'GET /health': 'sanity',
  'GET /notifications': 'notifications',
  'GET /interfaces': 'interfaces',
  'GET /protocols': 'protocols',
  'PUT /account/password': 'users reset-password',
  'GET /tokens': 'users tokens list',
  'POST /tokens': 'users tokens create',
  'DELETE /tokens/:id': 'users tokens delete',
  'GET /users': 'users list',
  'POST /users': 'users create',
  'PATCH /users/:name': 'users change',
  'PUT /users/:name/password': 'users reset-password',
  'DELETE /users/:name': 'users delete',
  'GET /audit': 'audit list',
  'GET /audit/verify': 'audit verify',
  'GET /settings': 'settings list',
  'GET /settings/:section': 'settings show',
  'PUT /settings/:section': 'settings set',
  'GET /settings/:section/versions': 'settings versions',
  'GET /forwarding': 'forward status',
  'POST /forwarding/:name/test': 'forward test',
  'POST /forwarding/:name/retry': 'forward retry',
  'GET /certificate': 'certificate show',
  'POST /certificate/request': 'certificate request',
  'PUT /certificate': 'certificate import',
  'GET /zones': 'zones show',
  'GET /zones/versions': 'zones versions',
  'POST /zones/validate': 'zones check',
  'POST /zones/test': 'zones test --hours',
  'PUT /zones': 'zones apply',
  'POST /zones/versions/:version/apply': 'zones roll-back',
  'GET /captures': 'captures list',
  'GET /captures/:name': 'captures show',
  'PUT /captures/:name': 'captures upload',
  'POST /captures/:name/play': 'captures play',
  'DELETE /captures/:name': 'captures delete',
  'GET /captures/:name/devices': 'devices --data',
  'GET /captures/:name/connections': 'connections --data',
  'GET /captures/:name/activities': 'connections --activities --data',
  'GET /captures/:name/alerts': 'alerts --data',
  'GET /captures/:name/events': 'events --data',
  'GET /backups': 'backup runs',
  'POST /backups': 'backup create',
  'GET /backups/:name': 'backup list',
  'DELETE /backups/:name': 'backup delete',
  'POST /backups/:name/verify': 'backup verify',
  'POST /backups/:name/restore/plan': 'restore plan',
  'POST /backups/:name/restore': 'restore apply --at-next-start',
  'GET /restore': 'restore status',
  'POST /restore/confirm': 'restore confirm',
  'POST /restore/cancel': 'restore undo',
  'GET /updates': 'update status',
  'PUT /updates/staged': 'update verify',
  'DELETE /updates/staged': 'update discard',
  'POST /updates/staged/verify': 'update verify',
  'POST /updates/apply': 'update apply',
  'POST /updates/undo': 'update rollback',
  'POST /updates/confirm': 'update confirm',
  'GET /api/v1/devices': 'devices',
  'GET /api/v1/devices/connections': 'connections',
  'GET /api/v1/devices/:deviceId/connections': 'connections --device',
  'GET /api/v1/alerts': 'alerts',
  'GET /api/v2/alerts': 'alerts',
  'GET /api/v2/alerts/pcap/:id': 'evidence',
  'GET /api/v1/events': 'events',
  'POST /api/external/authentication/set_password': 'users reset-password',
  'POST /api/external/authentication/set_password_by_admin': 'users reset-password',
  'POST /external/authentication/set_password': 'users reset-password',
  'POST /external/authentication/set_password_by_admin': 'users reset-password',
  'GET /metrics': 'sanity --json',
};

/** Whoever uses the command line is signed in to the appliance itself. */
const NO_COMMAND: Readonly<Record<string, string>> = {
  'POST /session': 'signing in',
  'DELETE /session': 'signing out',
  'GET /account': 'who one is',
  'POST /api/external/authentication/validation': 'whether a password is right',
  'POST /external/authentication/validation': 'whether a password is right',
};

/** Parameters of how an answer is cut into pages and written; commands print all, as --format says. */
const PAGING = ['cursor', 'limit', 'fields', 'sort', 'order', 'format', 'after_id', 'before_id', 'from'];
/** Where an option is called otherwise than the parameter. */
const OTHERWISE: Readonly<Record<string, string>> = {
  since_ms: 'since',
  until_ms: 'until',
  programming_station: 'programming-stations',
};

let api: TestApi;
let program: Command;
beforeAll(async () => {
  program = await programFor('');
  api = await testApi();
});
afterAll(() => api.close());

/** Each route once, settings by one name for all sections. */
function routes(): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const { method, url, schema } of api.routes)
    for (const one of [method].flat()) {
      if (one === 'HEAD' || url.startsWith('/api/docs')) continue;
      const name = url.replace(/^\/api\/v3/, '').replace(/^\/settings\/[a-z_]+/, '/settings/:section');
      const { properties = {} } = (schema?.querystring ?? {}) as { properties?: object };
      found.set(`${one} ${name}`, Object.keys(properties));
    }
  return found;
}

function commandOf(line: string): { command: Command | undefined; wanted: string[] } {
  const words = line.split(' ');
  let command: Command | undefined = program;
  for (const word of words.filter((one) => !one.startsWith('-'))) command = command?.commands.find((one) => one.name() === word);
  return { command, wanted: words.filter((one) => one.startsWith('--')) };
}

describe('what the API can do', () => {
  it('has a command each, and no command is told that no route needs', () => {
    const known = [...Object.keys(COMMANDS), ...Object.keys(NO_COMMAND)].sort();
    expect([...routes().keys()].sort()).toEqual(known);
  });

  it('has commands that there are, with the options that are needed', () => {
    for (const [route, line] of Object.entries(COMMANDS)) {
      const { command, wanted } = commandOf(line);
      expect(command, `${route}: there is no command ${line}`).toBeDefined();
      const options = command!.options.map(({ long }) => long);
      for (const option of wanted) expect(options, `${route}: ${line}`).toContain(option);
    }
  });

  it('can be narrowed down by the same words', () => {
    const missing: string[] = [];
    for (const [route, parameters] of routes()) {
      const line = COMMANDS[route];
      if (line === undefined || !route.startsWith('GET /') || route.startsWith('GET /api/')) continue;
      const { command, wanted } = commandOf(line);
      const options = command!.options.map(({ long }) => long?.slice(2));
      for (const parameter of parameters) {
        if (PAGING.includes(parameter) || wanted.includes(`--${parameter}`)) continue;
        const option = OTHERWISE[parameter] ?? parameter.replaceAll('_', '-');
        if (!options.includes(option)) missing.push(`${route}?${parameter} is not ${line} --${option}`);
      }
    }
    expect(missing).toEqual([]);
  });

  it('every command says what it is for', () => {
    const walk = (command: Command, path: string): string[] => [
      ...(command.description() === '' ? [path] : []),
      ...command.commands.flatMap((inner) => walk(inner, `${path} ${inner.name()}`)),
    ];
    expect(walk(program, 'ot-sensor')).toEqual([]);
  });
});
