import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type Static, type TObject, type TProperties, Type } from 'typebox';
import type { StoreAccess } from '../appliance/store-access.ts';
import { OperatingError } from '../errors.ts';
import {
  type Cursor,
  FILTERS_WITHOUT_INDEX,
  type FilterOf,
  type ListName,
  type Range,
  type RowText,
  SORTS_WITHOUT_INDEX,
  type StoreReader,
} from '../store/queries.ts';
import type { Permission } from '../users/permissions.ts';
import type { Answers } from './answers.ts';
import type { ApiContext } from './context.ts';
import { csvOf } from './csv.ts';
import { ErrorBody } from './errors.ts';
import { fillAlertTexts, readInSlices, readSortedInSlices } from './slices.ts';

const MAX_PAGE = 1000;
const DEFAULT_PAGE = 50;

/** Whose database a request is about. */
export type StoreOf = (request: FastifyRequest) => StoreAccess;

/** A list over the API: its rows, and what it can be filtered and sorted by. */
export interface List<Name extends ListName, Row extends TProperties, Filter extends TProperties> {
  path: string;
  /** The list of the database. */
  name: Name;
  /** The resource, for the documentation. */
  tag: string;
  summary: string;
  permission: Permission;
  row: TObject<Row>;
  filter: TObject<Filter>;
  sorts: readonly string[];
  /** The highest ids first, where no order is asked for. */
  newest_first?: boolean;
  /** Its pages in the schema of `proto/api.proto`. */
  message: { encode(page: never): { finish(): Uint8Array } };
  /** Whose database; the sensor's where left out. */
  store?: StoreOf;
  /** The database's filter, where it is not the same. */
  filterOf?: (given: Static<TObject<Filter>>) => FilterOf<Name>;
}

const Paging = {
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_PAGE, default: DEFAULT_PAGE, description: 'Rows of a page.' })),
  cursor: Type.Optional(
    Type.String({ maxLength: 500, description: '`next_cursor` of the page before; with the same filter and order.' }),
  ),
  fields: Type.Optional(Type.String({ maxLength: 1000, description: 'Only these fields, as a list with commas.' })),
  since: Type.Optional(Type.String({ maxLength: 40, description: 'Seen at or after this time: milliseconds, or ISO 8601.' })),
  until: Type.Optional(Type.String({ maxLength: 40, description: 'Seen at or before this time.' })),
};

/**
 * Pages of rows as JSON, CSV or protobuf, by `Accept`. JSON: `{ items, next_cursor }`, put together of the rows' own JSON. CSV has the next
 * cursor in the header `x-next-cursor`. Answers carry an ETag.
 */
export function list<Name extends ListName, Row extends TProperties, Filter extends TProperties>(
  app: FastifyInstance,
  context: ApiContext,
  answers: Answers,
  {
    path,
    name,
    tag,
    summary,
    permission,
    row,
    filter,
    sorts,
    newest_first = false,
    message,
    store = () => context.store,
    filterOf = (given) => given as FilterOf<Name>,
  }: List<Name, Row, Filter>,
): void {
  const columns = Object.keys(row.properties);
  const orders = ['id', ...sorts].flatMap((one) => [one, `-${one}`]);
  const standing = newest_first ? '-id' : 'id';
  const Sort = Type.Optional(
    Type.String({ enum: orders, default: standing, description: 'A column; with "-" before it the highest first.' }),
  );
  const items = Type.Array(Type.Partial(row));
  const body = Type.Object({
    items,
    next_cursor: Type.Union([Type.String(), Type.Null()], { description: 'null: the last page.' }),
  });
  /** Where a whole list may have to be looked through others are answered in between. */
  const readPage = async (reader: StoreReader, filter: FilterOf<Name>, fields: readonly string[]) => {
    const { cursor, limit = DEFAULT_PAGE, sort } = filter;
    const text = (filter as { text?: string }).text;
    const read = (part: Range) => reader.texts(name, { ...filter, ...part }, fields);
    if (sort !== undefined && SORTS_WITHOUT_INDEX[name]?.includes(sort))
      return readSortedInSlices(reader.lastId(name), { ...filter, limit }, read);
    const through = FILTERS_WITHOUT_INDEX[name].some((one) => filter[one] !== undefined);
    if (!through || sort !== undefined || Array.isArray(cursor)) return read({});
    if (name === 'alerts' && text !== undefined) fillAlertTexts(reader);
    const known = text === undefined ? undefined : reader.candidates(name, text);
    return readInSlices(reader.lastId(name), { ...filter, limit, cursor: cursor as number | undefined }, read, known);
  };
  app.get(
    path,
    {
      config: { permission },
      schema: {
        tags: [tag],
        summary,
        querystring: Type.Object({ ...filter.properties, ...Paging, sort: Sort }, { additionalProperties: false }),
        response: {
          200: {
            content: {
              'application/json': { schema: body },
              'text/csv': { schema: Type.String() },
              'application/x-protobuf': { schema: Type.String({ format: 'binary' }) },
            },
          },
          '4xx': ErrorBody,
        },
      },
    },
    async (request, reply) => {
      const query = request.query as Query;
      const type = wanted(request.headers.accept);
      // The cursor is told in a header, which is not part of what is kept: CSV is made anew.
      const make = async () => {
        const { limit = DEFAULT_PAGE, cursor, fields, since, until, sort = standing, ...given } = query;
        const shown = fieldsOf(fields, columns) ?? columns;
        const range: Range = {
          limit,
          cursor: cursorOf(cursor),
          since_ms: timeOf('since', since),
          until_ms: timeOf('until', until),
        };
        range.descending = sort.startsWith('-');
        const column = sort.replace('-', '');
        if (column !== 'id') range.sort = column;
        if (range.cursor !== undefined && (typeof range.cursor === 'number') !== (column === 'id'))
          throw new OperatingError('usage', 'cursor: it belongs to another order');
        const { reader } = store(request);
        const page = await readPage(reader, { ...filterOf(given as Static<TObject<Filter>>), ...range }, shown);
        return { rows: page.rows, next: page.next_cursor === null ? null : cursorText(page.next_cursor), shown };
      };
      if (type === 'text/csv') {
        const { rows, next, shown } = await make();
        if (next !== null) void reply.header('x-next-cursor', next);
        return reply
          .type('text/csv; charset=utf-8')
          .header('vary', 'accept')
          .send(csvOf(shown, objectsOf(rows)));
      }
      if (type === 'application/x-protobuf')
        return answers.answer(store(request), request, reply, type, async () => {
          const { rows, next } = await make();
          return Buffer.from(message.encode({ items: objectsOf(rows).map(plain), next_cursor: next } as never).finish());
        });
      return answers.answer(store(request), request, reply, `${type}; charset=utf-8`, async () => {
        const { rows, next } = await make();
        return Buffer.from(`{"items":${arrayOf(rows)},"next_cursor":${JSON.stringify(next)}}`);
      });
    },
  );
}

interface Query {
  limit?: number;
  cursor?: string;
  fields?: string;
  since?: string;
  until?: string;
  sort?: string;
  [name: string]: unknown;
}

const TYPES = ['application/json', 'text/csv', 'application/x-protobuf'] as const;

/** The first of what is accepted that we have decides; JSON where there is none. */
export function wanted(accept: string | undefined): (typeof TYPES)[number] {
  const accepted = accept?.split(',').map((one) => one.split(';', 1)[0].trim().toLowerCase()) ?? [];
  const known = accepted.find((one) => one === '*/*' || (TYPES as readonly string[]).includes(one));
  return known === undefined || known === '*/*' ? 'application/json' : (known as (typeof TYPES)[number]);
}

/** Objects within a row are JSON in a message. */
function plain(row: object): object {
  const entries = Object.entries(row).map(([name, value]) => {
    const nested = typeof value === 'object' && value !== null && !Array.isArray(value);
    return [name, nested ? JSON.stringify(value) : value];
  });
  return Object.fromEntries(entries);
}

function fieldsOf(text: string | undefined, columns: readonly string[]): string[] | null {
  if (text === undefined || text === '') return null;
  const names = text.split(',').map((name) => name.trim());
  const unknown = names.find((name) => !columns.includes(name));
  if (unknown !== undefined)
    throw new OperatingError('usage', `fields: there is no "${unknown.slice(0, 100)}"; there are ${columns.join(', ')}`);
  return [...new Set(names)];
}

const arrayOf = (rows: readonly RowText[]): string => `[${rows.map((row) => row.text).join(',')}]`;

const objectsOf = (rows: readonly RowText[]): object[] => JSON.parse(arrayOf(rows));

/** Milliseconds, or ISO 8601. */
export function timeOf(name: string, text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined;
  const ms = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Date.parse(text);
  if (Number.isNaN(ms))
    throw new OperatingError('usage', `${name}: it takes milliseconds or a time such as 2026-01-31T12:00:00Z`);
  return ms;
}

const cursorText = (cursor: Cursor): string => Buffer.from(JSON.stringify(cursor)).toString('base64url');

function cursorOf(text: string | undefined): Cursor | undefined {
  if (text === undefined || text === '') return undefined;
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString());
    if (Number.isSafeInteger(value)) return value as number;
    const pair = value as [string | number, number];
    if (
      Array.isArray(pair) &&
      pair.length === 2 &&
      ['string', 'number'].includes(typeof pair[0]) &&
      Number.isSafeInteger(pair[1])
    )
      return pair;
  } catch {
    // Said below.
  }
  throw new OperatingError('usage', 'cursor: it is not one that was given out');
}
