import { Type } from 'typebox';
import { defineSettings } from '../appliance/settings.ts';

export const API = defineSettings({
  name: 'api',
  description: 'Bounds of the API. They hold from the next start of the service on.',
  schema: Type.Object(
    {
      requests_per_minute: Type.Integer({
        minimum: 60,
        maximum: 10_000_000,
        default: 60_000,
        description: 'Of one address; more are answered with 429.',
      }),
      request_bytes: Type.Integer({
        minimum: 1024,
        maximum: 64 << 20,
        default: 1 << 20,
        description: 'No body is larger, but that of an upload.',
      }),
      request_timeout_s: Type.Integer({
        minimum: 1,
        maximum: 3600,
        default: 30,
        description: 'A request that is not whole by then is given up; an upload, of which nothing came for so long.',
      }),
    },
    { additionalProperties: false },
  ),
});
