import { Type } from 'typebox';
import { defineSettings } from '../appliance/settings.ts';

export const HEALTH = defineSettings({
  name: 'health',
  description: 'When the appliance tells of its own state, before it hurts.',
  schema: Type.Object(
    {
      disk_used_percent: Type.Integer({
        minimum: 1,
        maximum: 100,
        default: 85,
        description: 'A volume that is so full is told of.',
      }),
      memory_available_percent: Type.Integer({
        minimum: 0,
        maximum: 100,
        default: 5,
        description: 'Less available memory is told of.',
      }),
      silent_minutes: Type.Integer({
        minimum: 1,
        maximum: 10_080,
        default: 15,
        description: 'A running sensor that received nothing for so long is told of.',
      }),
      certificate_days: Type.Integer({
        minimum: 1,
        maximum: 365,
        default: 30,
        description: 'So long before it expires a certificate is told of.',
      }),
      queue_used_percent: Type.Integer({
        minimum: 1,
        maximum: 100,
        default: 50,
        description: 'A queue of a destination that is so full is told of.',
      }),
      clock_step_seconds: Type.Integer({
        minimum: 1,
        maximum: 86_400,
        default: 5,
        description: 'A clock that was set by more is told of.',
      }),
    },
    { additionalProperties: false },
  ),
});
