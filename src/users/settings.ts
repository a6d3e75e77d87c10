import { Type } from 'typebox';
import { defineSettings } from '../appliance/settings.ts';

export const ACCESS = defineSettings({
  name: 'access',
  description: 'Passwords, sign-ins and sessions. They stay as they are over an update.',
  schema: Type.Object(
    {
      password_length: Type.Integer({
        minimum: 8,
        maximum: 128,
        default: 12,
        description: 'Characters a password has at least.',
      }),
      password_classes: Type.Integer({
        minimum: 1,
        maximum: 4,
        default: 3,
        description: 'Of lower case, upper case, digits and others, so many must be in a password of fewer than 20 characters.',
      }),
      session_timeout_minutes: Type.Integer({
        minimum: 1,
        maximum: 1440,
        default: 30,
        description: 'A session without a request for so long has ended.',
      }),
      session_limit_hours: Type.Integer({ minimum: 1, maximum: 720, default: 12, description: 'And in any case after so long.' }),
      failures_allowed: Type.Integer({
        minimum: 3,
        maximum: 100,
        default: 5,
        description: 'Failed sign-ins of a user, or from an address, before they have to wait.',
      }),
      lock_seconds: Type.Integer({
        minimum: 1,
        maximum: 3600,
        default: 30,
        description: 'How long they wait at first; it doubles with each further failure, up to an hour.',
      }),
    },
    { additionalProperties: false },
  ),
});
