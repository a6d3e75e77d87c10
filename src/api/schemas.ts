import { type TSchema, Type } from 'typebox';

/** Pieces of many schemas. Times are milliseconds since the epoch with fractions. */
export const Ms = Type.Number({ description: 'Milliseconds since 1970-01-01 UTC.' });
export const Nullable = <Schema extends TSchema>(schema: Schema) => Type.Union([schema, Type.Null()]);
export const Text = (description?: string) => Type.String(description === undefined ? {} : { description });
export const Ip = Type.String({ maxLength: 45, description: 'An address, IPv4 or IPv6.' });
export const Mac = Type.String({ maxLength: 23, description: 'A MAC address.' });
export const Word = Type.String({ maxLength: 200 });
export const Id = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
export const Port = Type.Integer({ minimum: 0, maximum: 65_535 });
/** `a,b,c` in a query. */
export const Words = (known: readonly string[]) =>
  Type.String({
    pattern: `^(${known.join('|')})(,(${known.join('|')}))*$`,
    description: `Any of ${known.join(', ')}; a list with commas.`,
  });
export const wordsOf = (text: string | undefined): string[] | undefined => text?.split(',');
export const IdParams = Type.Object({ id: Id });
