import type { FastifyError, FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { OperatingError } from '../errors.ts';
import { log } from '../log.ts';
import { StoreError } from '../store/errors.ts';

/** The answer to every request that failed. */
export const ErrorBody = Type.Object({
  error: Type.Object({
    code: Type.String({ description: 'What kind of error, in a word that never changes.' }),
    message: Type.String({ description: 'What is wrong.' }),
    what_to_do: Type.String({ description: 'What can be done about it.' }),
  }),
});

/** Status and advice by the code of an operating error; the message has what is particular. */
const OPERATING: Readonly<Record<string, readonly [status: number, what_to_do: string]>> = {
  usage: [400, 'Correct the request; /api/docs describes it.'],
  settings: [400, 'Correct the fields that are named.'],
  zone_file: [400, 'Correct the zone policy at the places that are named.'],
  capture_file: [400, 'Give a capture file: pcap, pcapng, or gzip of either.'],
  password_policy: [400, 'Choose another password.'],
  not_signed_in: [401, 'Sign in at POST /api/v3/session, or give a token in the Authorization header.'],
  not_allowed: [403, 'Ask an administrator for another role.'],
  not_found: [404, 'Look at the list for what there is.'],
  conflict: [409, 'Read the present state again and decide anew.'],
  locked: [429, 'Wait, or let another administrator set a new password.'],
  archive: [400, 'The file is damaged or was tampered with: take another one.'],
  signature: [400, 'Give the public key of whoever signed it, or take another file.'],
  backup: [500, 'See the message, and the runs of GET /api/v3/backups.'],
  update: [400, 'See the message; nothing was changed.'],
  output: [507, 'Make room, or correct the permissions of the data directory.'],
  store: [503, 'See the log of the service.'],
};

const STORE_STATUS: Readonly<Record<string, number>> = { store_full: 507, store_missing: 404 };

export interface ErrorAnswer {
  status: number;
  code: string;
  message: string;
  what_to_do: string;
}

/** What is told of an error; a defect of ours is told by a number only, and is in the log. */
function errorAnswer(error: unknown, request_id: string): ErrorAnswer {
  if (error instanceof OperatingError) {
    const [status, what_to_do] = OPERATING[error.code] ?? [400, 'Correct the request.'];
    return { status, code: error.code, message: error.message, what_to_do };
  }
  if (error instanceof StoreError)
    return { status: STORE_STATUS[error.code] ?? 503, code: error.code, message: error.message, what_to_do: error.what_to_do };
  const { statusCode = 500, validation, message, code = '' } = error as FastifyError;
  if (validation !== undefined) {
    const { keyword, params } = validation[0] ?? {};
    const unknown = keyword === 'additionalProperties' ? `: ${String(params?.additionalProperty).slice(0, 100)}` : '';
    return {
      status: 400,
      code: 'invalid_request',
      message: `${message}${unknown}`,
      what_to_do: 'Correct the request; /api/docs describes it.',
    };
  }
  if (statusCode === 429)
    return { status: 429, code: 'too_many_requests', message, what_to_do: 'Wait a moment; ask for larger pages less often.' };
  if (statusCode === 413)
    return { status: 413, code: 'too_large', message: 'the request is too large', what_to_do: 'Send less at a time.' };
  if (statusCode >= 400 && statusCode < 500)
    return { status: statusCode, code: 'invalid_request', message, what_to_do: 'Correct the request; /api/docs describes it.' };
  log.error({ request: request_id, code, stack: (error as Error).stack }, 'a request failed; please report it');
  return {
    status: 500,
    code: 'internal',
    message: `internal error in request ${request_id}`,
    what_to_do: 'Please report it with the lines of this request in the log.',
  };
}

export function answerErrors(app: FastifyInstance): void {
  app.setErrorHandler((error, request, reply) => {
    const { status, ...body } = errorAnswer(error, request.id);
    return reply.code(status).type('application/json').send({ error: body });
  });
  app.setNotFoundHandler((request, reply) =>
    reply.code(404).send({
      error: {
        code: 'no_such_route',
        message: `there is no ${request.method} ${request.url.split('?', 1)[0].slice(0, 200)}`,
        what_to_do: '/api/docs lists what there is.',
      },
    }),
  );
}
