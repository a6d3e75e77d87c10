import type { ServerHttp2Stream } from 'node:http2';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** A file is uploaded here, which may take as long as it comes. */
    upload?: boolean;
  }
}

/**
 * A request whose body is not whole in time is answered with 408 and given up; an upload, where nothing came for so long. Node's own limit
 * knows no difference between them, and would end a large upload over a slow line.
 */
export function limitRequestTime(app: FastifyInstance, limit_ms: number): void {
  app.server.headersTimeout = limit_ms;
  app.addHook('onRequest', async (request, reply) => {
    if (!hasBody(request)) return;
    const { raw } = request;
    const { upload = false } = request.routeOptions.config;
    let received = raw.socket.bytesRead;
    const timer = setInterval(() => {
      const { bytesRead } = raw.socket;
      if (upload && bytesRead > received) {
        received = bytesRead;
        return;
      }
      clearInterval(timer);
      if (!raw.complete && !raw.destroyed) giveUp(request, reply);
    }, limit_ms);
    timer.unref();
    for (const event of ['end', 'close', 'error']) raw.once(event, () => clearInterval(timer));
    reply.raw.once('close', () => clearInterval(timer));
  });
}

function hasBody({ raw }: FastifyRequest): boolean {
  const { stream } = raw as { stream?: ServerHttp2Stream };
  if (stream !== undefined) return !stream.endAfterHeaders;
  const { 'content-length': length = '0', 'transfer-encoding': encoding } = raw.headers;
  return length !== '0' || encoding !== undefined;
}

function giveUp({ raw }: FastifyRequest, reply: FastifyReply): void {
  if (reply.sent) {
    raw.destroy();
    return;
  }
  reply.raw.once('finish', () => raw.destroy());
  if (raw.httpVersionMajor === 1) void reply.header('connection', 'close');
  void reply.code(408).send({
    error: { code: 'too_slow', message: 'the request was not whole in time', what_to_do: 'Send it again, over a better line.' },
  });
}
