import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { note } from '../authenticate.ts';
import type { ApiContext } from '../context.ts';
import { ErrorBody } from '../errors.ts';
import { Ms, Text } from '../schemas.ts';

const Facts = Type.Object({
  subject: Text(),
  issuer: Text(),
  names: Type.Array(Type.String()),
  key: Text(),
  self_signed: Type.Boolean(),
  valid_from_ms: Ms,
  expires_ms: Ms,
  sha256_fingerprint: Text(),
  chain: Type.Integer({ description: 'Certificates, with the chain.' }),
});
const Name = Type.String({ minLength: 1, maxLength: 253, pattern: '^[A-Za-z0-9.:_-]+$' });
const Pem = Type.String({ minLength: 1, maxLength: 1 << 18 });

/** The certificate of the API itself. A new one holds from the next start of the service on. */
export function certificate(app: FastifyInstance, { certificate, audit }: ApiContext): void {
  const config = { permission: 'certificates.manage' } as const;
  const tags = ['certificate'];

  app.get(
    '/certificate',
    { config, schema: { tags, summary: 'The certificate that is used', response: { 200: Facts, '4xx': ErrorBody } } },
    async () => certificate.facts(),
  );
  app.post(
    '/certificate/request',
    {
      config,
      schema: {
        tags,
        summary: 'A certificate request (PKCS #10, PEM) for a new key, which stays here',
        body: Type.Object(
          {
            names: Type.Array(Name, { minItems: 1, maxItems: 50 }),
            organisation: Type.Optional(Type.String({ maxLength: 100 })),
          },
          { additionalProperties: false },
        ),
        response: { 200: Type.Object({ request: Text() }), '4xx': ErrorBody },
      },
    },
    async (request) => {
      const { names, organisation } = request.body as { names: string[]; organisation?: string };
      note(audit, request, 'certificate.request', names[0]);
      return { request: await certificate.request(names, organisation) };
    },
  );
  app.put(
    '/certificate',
    {
      config,
      schema: {
        tags,
        summary: 'Import a certificate with its chain (PEM); without a key it is that of the request',
        body: Type.Object(
          { certificate: Pem, key: Type.Optional(Pem), passphrase: Type.Optional(Type.String({ maxLength: 1000 })) },
          { additionalProperties: false },
        ),
        response: { 200: Facts, '4xx': ErrorBody },
      },
    },
    async (request) => {
      const { certificate: pem, key, passphrase } = request.body as { certificate: string; key?: string; passphrase?: string };
      const facts = certificate.import(pem, key, passphrase);
      note(audit, request, 'certificate.import', facts.sha256_fingerprint);
      return facts;
    },
  );
}
