import { createHash, randomBytes } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { StoreAccess } from '../appliance/store-access.ts';

const MAX_BYTES = 32 << 20;
const MAX_ANSWER = 1 << 20;

/**
 * Answers that were made for a state of the database are kept until it is another, and given again; with an ETag, so that whoever has
 * one already is told so (RFC 9110, 13.1.2). Bounded by bytes; the oldest go.
 */
export class Answers {
  private readonly kept = new Map<string, { body: Buffer; type: string; etag: string; version: string }>();
  private bytes = 0;
  /** Tags of another run of the server mean nothing. */
  private readonly run = randomBytes(6).toString('hex');

  /** The answer to this request, made by `make` where there is none of the present state. */
  async answer(
    store: StoreAccess,
    request: FastifyRequest,
    reply: FastifyReply,
    type: string,
    make: () => Promise<Buffer>,
  ): Promise<FastifyReply> {
    const version = store.version();
    const key = `${type} ${request.url}`;
    let kept = this.kept.get(key);
    if (kept === undefined || kept.version !== version) {
      const body = await make();
      const etag = `"${createHash('sha256').update(`${this.run} `).update(body).digest('base64url').slice(0, 22)}"`;
      this.drop(key);
      kept = { body, type, etag, version };
      if (body.length <= MAX_ANSWER) {
        this.kept.set(key, kept);
        this.bytes += body.length + key.length;
        for (const oldest of this.kept.keys()) {
          if (this.bytes <= MAX_BYTES) break;
          this.drop(oldest);
        }
      }
    }
    void reply.header('etag', kept.etag).header('cache-control', 'private, no-cache').header('vary', 'accept');
    const wanted = request.headers['if-none-match'];
    if (wanted?.split(',').some((one) => one.trim().replace(/^W\//, '') === kept.etag)) return reply.code(304).send();
    return reply.type(type).send(kept.body);
  }

  private drop(key: string): void {
    const kept = this.kept.get(key);
    if (kept === undefined) return;
    this.kept.delete(key);
    this.bytes -= kept.body.length + key.length;
  }
}
