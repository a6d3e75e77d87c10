import type { FastifyRequest } from 'fastify';
import { OperatingError } from '../errors.ts';

/** The version that a change was made from, of `If-Match: "3"` (RFC 9110, 13.1.1); undefined where it is not said. Throws OperatingError. */
export function expectedVersion({ headers }: FastifyRequest): number | undefined {
  const given = headers['if-match'];
  if (given === undefined) return undefined;
  const match = /^"?(\d+)"?$/.exec(given);
  if (match === null) throw new OperatingError('usage', 'If-Match: it takes the version that was read, such as "3"');
  return Number(match[1]);
}
