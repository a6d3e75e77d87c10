import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { newestPosition, newsSince, type Position, positionOf, positionText } from '../../appliance/news.ts';
import { kindOf } from '../../detect/catalogue.ts';
import { OperatingError } from '../../errors.ts';
import { StoreError } from '../../store/errors.ts';
import type { StoredAlert } from '../../store/queries.ts';
import type { ApiContext } from '../context.ts';
import { ErrorBody } from '../errors.ts';

const LOOK_MS = 500;
/** A comment so often keeps proxies from taking a silent stream for a dead one. */
const ALIVE_MS = 15_000;
const MAX_STREAMS = 32;

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
      const { from } = request.query as { from?: string };
      const position =
        positionOf(request.headers['last-event-id']) ??
        (from === '0' ? { alert: 0, event: 0, notification: 0 } : newestPosition(context));
      const { token_id } = request.identity!;
      const secret = request.headers.authorization!;
      open++;
      reply.hijack();
      const { raw } = reply;
      raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
      raw.write(`retry: 2000\n: position ${positionText(position)}\n\n`);
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

/** What came after the position, which moves along. */
function news(context: ApiContext, position: Position): string {
  let text = '';
  for (const one of newsSince(context, position)) {
    const data = one.event === 'alert' ? alertShown(one.data) : one.data;
    text += `id: ${positionText(one.position)}\nevent: ${one.event}\ndata: ${JSON.stringify(data)}\n\n`;
  }
  return text;
}

function alertShown({ key: _, ...alert }: StoredAlert): object {
  const { engine, category } = kindOf(alert.kind);
  return { ...alert, engine, category };
}
