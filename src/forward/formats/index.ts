import { cef } from './cef.ts';
import type { Format } from './format.ts';
import { json } from './json.ts';
import { leef } from './leef.ts';
import { object } from './object.ts';
import { rfc5424 } from './rfc5424.ts';
import { text } from './text.ts';

/** The formats of syslog messages, by the names they have in the settings. */
export const FORMATS = { text, object, cef, leef, rfc5424, json } as const satisfies Record<string, Format>;
export type FormatName = keyof typeof FORMATS;
