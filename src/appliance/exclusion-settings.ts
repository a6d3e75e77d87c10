import { Type } from 'typebox';
import { CATALOGUE } from '../detect/catalogue.ts';
import { addressFault, timesFault } from '../detect/exclusions.ts';
import { defineSettings, type SettingsFault } from './settings.ts';

const Name = Type.String({ minLength: 1, maxLength: 64 });
const Rule = Type.Object(
  {
    name: Name,
    enabled: Type.Boolean({ default: true }),
    kinds: Type.Array(Type.String({ enum: CATALOGUE.map((row) => row.kind) }), {
      default: [],
      maxItems: 100,
      description: 'Kinds of alerts; none: all.',
    }),
    protocols: Type.Array(Type.String({ maxLength: 50 }), { default: [], maxItems: 100 }),
    addresses: Type.Array(Type.String({ maxLength: 64 }), {
      default: [],
      maxItems: 1000,
      description: 'IP addresses, subnets or MAC addresses.',
    }),
    direction: Type.Union([Type.Literal('either'), Type.Literal('source'), Type.Literal('destination')], {
      default: 'either',
      description: 'Which end must be one of the addresses.',
    }),
    times: Type.Array(Type.String({ maxLength: 11 }), {
      default: [],
      maxItems: 50,
      description: 'Times of day, UTC: 22:00-05:30.',
    }),
    from_ms: Type.Number({ default: 0, minimum: 0, description: 'Not before; 0: since ever.' }),
    until_ms: Type.Number({ default: 0, minimum: 0, description: 'Not after; 0: for ever.' }),
    comment: Type.String({ default: '', maxLength: 1000 }),
  },
  { additionalProperties: false },
);

/** Read by the sensor too (`sensor/exclusions.ts`), which takes a new version over within seconds. */
export const EXCLUSIONS = defineSettings({
  name: 'exclusions',
  description: 'What is found and not alerted of: planned work, known scanners. It is still in the inventory, and counted.',
  schema: Type.Object({ rules: Type.Array(Rule, { default: [], maxItems: 500 }) }, { additionalProperties: false }),
  check({ rules }): SettingsFault[] {
    return rules
      .flatMap(({ name, addresses, times, from_ms, until_ms }, i) => [
        ...(rules.findIndex((one) => one.name === name) === i
          ? []
          : [{ at: `/rules/${i}/name`, message: `"${name}" is used twice` }]),
        ...addresses.map((text, n) => ({ at: `/rules/${i}/addresses/${n}`, message: addressFault(text) })),
        ...times.map((text, n) => ({ at: `/rules/${i}/times/${n}`, message: timesFault(text) })),
        ...(until_ms > 0 && until_ms < from_ms ? [{ at: `/rules/${i}/until_ms`, message: 'it ends before it begins' }] : []),
      ])
      .filter((fault) => fault.message !== '');
  },
});
