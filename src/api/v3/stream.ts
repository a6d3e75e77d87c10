import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { OperatingError } from '../../errors.ts';
import { StoreError } from '../../store/errors.ts';
import type { ApiContext } from '../context.ts';
import { ErrorBody } from '../errors.ts';
import { alertOf } from './alerts.ts';

const LOOK_MS = 500;
/** A comment so often keeps proxies from taking a silent stream for a dead one. */
const ALIVE_MS = 15_000;
const MAX_STREAMS = 32;
const AT_ONCE = 200;

/** How far a listener has got in each of the three lists. */
interface Position {
  alert: number;
  event: number;
  notification: number;
}

/**
 * New alerts, events and system notifications as they are stored, as server-sent events (HTML, 9.2). Each has an id by which a
 * listener that comes back (`Last-Event-ID`) gets what it missed; without one it begins now, with `?from=0` at the beginning.
 */
export function stream(app: FastifyInstance, context: ApiContext): void {
  let open = 0;
  app.get(
    '/stream',
    {
      config: { permission: 'alerts.read' },
      schema: {
        tags: ['stream'],
        summary: 'New alerts, events and system notifications as server-sent events; resumes at Last-Event-ID',
        querystring: Type.Object({ from: Type.Optional(Type.Literal('0')) }, { additionalProperties: false }),
        produces: ['text/event-stream'],
        response: { '4xx': ErrorBody },
      },
    },
    async (request, reply) => {
      if (open >= MAX_STREAMS) throw new OperatingError('locked', `there are ${MAX_STREAMS} listeners already`);
      const position = positionOf(request.headers['last-event-id'], request.query as { from?: string }) ?? newest(context);
      const { token_id } = request.identity!;
      const secret = request.headers.authorization!;
      open++;
      reply.hijack();
      const { raw } = reply;
      raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
      raw.write(`retry: 2000\n: position ${textOf(position)}\n\n`);
      let version = '';
      let said = performance.now();
      const timer = setInterval(() => {
        try {
          // Nothing more is read for a listener that does not take what it was given.
          if (raw.writableNeedDrain) return;
          // A token that was taken back, or has expired, is worth nothing here either.
          if (context.tokens.identify(secret.replace(/^bearer /i, '').trim())?.token_id !== token_id) return void raw.end();
          const now = performance.now();
          const next = context.store.version();
          const text = version === next && !context.database.changed() && now - said < ALIVE_MS ? '' : news(context, position);
          version = next;
          if (text !== '') raw.write(text);
          else if (now - said >= ALIVE_MS) raw.write(': \n\n');
          else return;
          said = now;
        } catch (error) {
          // The database may be missing for a moment, while one is restored.
          if (!(error instanceof StoreError)) raw.end();
        }
      }, LOOK_MS);
      raw.on('close', () => {
        open--;
        clearInterval(timer);
      });
      return reply;
    },
  );
}

const textOf = ({ alert, event, notification }: Position): string => `${alert}.${event}.${notification}`;

function positionOf(last: string | string[] | undefined, { from }: { from?: string }): Position | null {
  const match = /^(\d{1,15})\.(\d{1,15})\.(\d{1,15})$/.exec(String(last ?? ''));
  if (match !== null) return { alert: Number(match[1]), event: Number(match[2]), notification: Number(match[3]) };
  return from === '0' ? { alert: 0, event: 0, notification: 0 } : null;
}

function newest({ store, notifications }: ApiContext): Position {
  const notification = notifications.newestId();
  try {
    const last = { limit: 1, descending: true };
    return {
      alert: store.reader.alerts(last).rows[0]?.id ?? 0,
      event: store.reader.events(last).rows[0]?.id ?? 0,
      notification,
    };
  } catch (error) {
    if (error instanceof StoreError && error.code === 'store_missing') return { alert: 0, event: 0, notification };
    throw error;
  }
}

/** What came after the position, which moves along. */
function news({ store, notifications }: ApiContext, position: Position): string {
  let text = '';
  const say = (event: string, data: object) => {
    text += `id: ${textOf(position)}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
  };
  for (const row of store.reader.alerts({ limit: AT_ONCE, cursor: position.alert }).rows) {
    position.alert = row.id;
    const { key: _, ...alert } = alertOf(row) as ReturnType<typeof alertOf> & { key?: string };
    say('alert', alert);
  }
  for (const row of store.reader.events({ limit: AT_ONCE, cursor: position.event }).rows) {
    position.event = row.id;
    say('event', row);
  }
  for (const row of notifications.list({ after_id: position.notification, limit: AT_ONCE })) {
    position.notification = row.id;
    say('notification', row);
  }
  return text;
}
