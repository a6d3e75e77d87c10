import { type Static, type TObject, type TSchema, Type } from 'typebox';
import { Value } from 'typebox/value';
import { OperatingError } from '../errors.ts';
import type { ApplianceDatabase } from './database.ts';

/**
 * Settings that are changed while the appliance runs, over the API or by a command, as against those of `config.ts`, which whoever
 * installs it writes into a file. A section is declared once, as a schema with defaults and descriptions; its checks, its API route
 * and its documentation follow. Former versions are kept.
 */
export interface SettingsSection<Schema extends TObject = TObject> {
  /** A word; the last part of the API's path. */
  name: string;
  description: string;
  schema: Schema;
  /** Faults that a schema cannot say, such as a name that is used twice: the field, and what is wrong with it. */
  check?(value: Static<Schema>): SettingsFault[];
}

/** For the types' sake. */
export const defineSettings = <Schema extends TObject>(section: SettingsSection<Schema>) => section;

export interface SettingsFault {
  /** Where, as a JSON pointer: `/destinations/0/host`. */
  at: string;
  message: string;
}

export interface StoredSettings<Schema extends TObject> {
  /** Counts changes; 0: never changed, all is at its default. */
  version: number;
  value: Static<Schema>;
  changed_ms: number;
  changed_by: string;
}

/** How many former versions of a section are kept. */
const MAX_VERSIONS = 100;
const MAX_BYTES = 1 << 20;

/** Stands for a secret in what is read; written back, it means "as it was". */
export const SECRET_SET = '(set)';

/** A password, key or token: never in an answer, a log or a backup without keys. '' is none. */
export const Secret = (description: string) => Type.String({ default: '', maxLength: 16_384, writeOnly: true, description });

/** A private key, or what opens it: it proves who we are, and is never sent to anybody. */
export const PrivateKey = (description: string) => ({ ...Secret(description), [NEVER_SENT]: true }) as ReturnType<typeof Secret>;

/**
 * Of an object: the fields that say to whom its secrets go, those of what is in it too. Where one of them changes, secrets do not go along
 * by themselves (`SECRET_SET`), but have to be given again: else whoever may change settings could have them sent to himself.
 */
export const secretsGoTo = (...fields: string[]) => ({ [GO_TO]: fields });
const GO_TO = 'x-secrets-go-to';
const NEVER_SENT = 'x-never-sent';

export class Settings {
  private readonly database: ApplianceDatabase;
  constructor(database: ApplianceDatabase) {
    this.database = database;
  }

  /** With its secrets: for whoever uses them. */
  read<Schema extends TObject>(section: SettingsSection<Schema>, version?: number): StoredSettings<Schema> {
    const row = this.database
      .statement('SELECT * FROM settings WHERE section = ? AND (? IS NULL OR version = ?) ORDER BY version DESC LIMIT 1')
      .get(section.name, version ?? null, version ?? null) as SettingsRow | undefined;
    if (row === undefined) {
      if (version !== undefined && version !== 0)
        throw new OperatingError('not_found', `there is no version ${version} of the settings "${section.name}"`);
      return { version: 0, value: defaultsOf(section), changed_ms: 0, changed_by: '' };
    }
    // Settings of an earlier release get what is new at its default.
    const value = Value.Default(section.schema, JSON.parse(row.value)) as Static<Schema>;
    return { version: row.version, value, changed_ms: row.changed_ms, changed_by: row.changed_by };
  }

  /** For answers: `SECRET_SET` where there is a secret. */
  show<Schema extends TObject>(section: SettingsSection<Schema>, version?: number): StoredSettings<Schema> {
    const stored = this.read(section, version);
    return { ...stored, value: withoutSecrets(section.schema, stored.value) as Static<Schema> };
  }

  /**
   * Stores a new version. What is left out gets its default. Secrets that are `SECRET_SET` stay as they were. `expected_version`: refuse
   * if it is another by now (`conflict`). Throws OperatingError `settings` with every fault, and stores nothing.
   */
  write<Schema extends TObject>(
    section: SettingsSection<Schema>,
    given: unknown,
    by: string,
    now_ms: number,
    expected_version?: number,
  ): StoredSettings<Schema> {
    return this.database.transaction(() => {
      const before = this.read(section);
      if (expected_version !== undefined && expected_version !== before.version)
        throw new OperatingError(
          'conflict',
          `the settings "${section.name}" were changed by ${before.changed_by || 'nobody'} in between (version ${before.version}); read them again`,
        );
      const value = checked(section, keepSecrets(section.schema, given, before.value));
      const text = JSON.stringify(value);
      if (text.length > MAX_BYTES)
        throw new OperatingError('settings', `the settings "${section.name}" are larger than ${MAX_BYTES} bytes`);
      const version = before.version + 1;
      this.database.db
        .prepare('INSERT INTO settings (section, version, value, changed_ms, changed_by) VALUES (?, ?, ?, ?, ?)')
        .run(section.name, version, text, now_ms, by);
      this.database.db
        .prepare('DELETE FROM settings WHERE section = ? AND version <= ?')
        .run(section.name, version - MAX_VERSIONS);
      return { version, value, changed_ms: now_ms, changed_by: by };
    });
  }

  /** The versions that are kept, the newest first. */
  versions(section: SettingsSection): { version: number; changed_ms: number; changed_by: string }[] {
    return this.database.db
      .prepare('SELECT version, changed_ms, changed_by FROM settings WHERE section = ? ORDER BY version DESC')
      .all(section.name) as { version: number; changed_ms: number; changed_by: string }[];
  }
}

interface SettingsRow {
  version: number;
  value: string;
  changed_ms: number;
  changed_by: string;
}

/** A section with everything at its default. */
export function defaultsOf<Schema extends TObject>(section: SettingsSection<Schema>): Static<Schema> {
  return Value.Default(section.schema, {}) as Static<Schema>;
}

/** The value with its defaults; throws OperatingError `settings` with every fault and its place. */
export function checked<Schema extends TObject>(section: SettingsSection<Schema>, given: unknown): Static<Schema> {
  const value = Value.Default(section.schema, structuredClone(given)) as Static<Schema>;
  const faults: SettingsFault[] = Value.Check(section.schema, value)
    ? (section.check?.(value) ?? [])
    : faultsOf(section.schema as Loose, value, '');
  if (faults.length > 0) {
    const lines = faults.slice(0, 20).map(({ at, message }) => `${at || '/'}: ${message}`);
    throw new OperatingError('settings', `the settings "${section.name}" have faults; nothing was changed: ${lines.join('; ')}`);
  }
  return value;
}

/**
 * What a schema finds wrong. Of several shapes only the one that the value says it is counts, with its defaults: the faults of all the
 * others would hide the one that there is.
 */
function faultsOf(schema: Loose, value: unknown, at: string): SettingsFault[] {
  if (schema.anyOf?.every((one) => one.properties !== undefined) && isObject(value)) {
    const fitting = schema.anyOf.find((one) => sameKind(one, value));
    if (fitting !== undefined) return faultsOf(fitting, Value.Default(fitting, structuredClone(value)), at);
    const kinds = schema.anyOf.map(({ properties }) => (properties?.type ?? properties?.kind) as { const?: unknown } | undefined);
    const known = kinds.map((one) => one?.const).filter((one) => one !== undefined);
    return [
      {
        at: `${at}/${schema.anyOf[0].properties?.kind === undefined ? 'type' : 'kind'}`,
        message: `must be one of ${known.join(', ')}`,
      },
    ];
  }
  if (schema.items !== undefined && Array.isArray(value)) {
    const { items } = schema;
    const own = errorsOf({ ...schema, items: {} } as Loose, value, at);
    return [...own, ...value.flatMap((member, i) => faultsOf(items, member, `${at}/${i}`))];
  }
  if (schema.properties !== undefined && isObject(value)) {
    const { properties } = schema;
    const any = Object.fromEntries(Object.keys(properties).map((key) => [key, {}]));
    const own = errorsOf({ ...schema, properties: any } as Loose, value, at);
    const members = Object.entries(value).filter(([key]) => Object.hasOwn(properties, key));
    return [...own, ...members.flatMap(([key, member]) => faultsOf(properties[key], member, `${at}/${key}`))];
  }
  return errorsOf(schema, value, at);
}

const errorsOf = (schema: Loose, value: unknown, at: string): SettingsFault[] =>
  [...Value.Errors(schema, value)]
    // A field too many is told of twice: once where it is, which is enough.
    .filter(({ keyword }) => keyword !== 'additionalProperties')
    .map(({ instancePath, keyword, message }) => ({
      at: `${at}${instancePath}`,
      message: keyword === 'boolean' ? 'there is no such field' : message,
    }));

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

type Loose = TSchema & {
  writeOnly?: boolean;
  default?: unknown;
  [GO_TO]?: string[];
  [NEVER_SENT]?: boolean;
  properties?: Record<string, Loose>;
  items?: Loose;
  anyOf?: Loose[];
};
/** `moved`: it would go to somebody else than before; the field that says so. */
type Replace = (value: unknown, other: unknown, moved: string) => unknown;

/** A copy in which each secret of the schema is replaced by what `replace` makes of it; `other` is walked along with it. */
function mapSecrets(schema: Loose, value: unknown, other: unknown, replace: Replace, moved = ''): unknown {
  if (schema.writeOnly === true) return replace(value, other, schema[NEVER_SENT] ? '' : moved);
  if (schema.anyOf !== undefined) {
    const fitting = schema.anyOf.find((one) => Value.Check(one, value)) ?? schema.anyOf.find((one) => sameKind(one, value));
    return fitting === undefined ? value : mapSecrets(fitting, value, other, replace, moved);
  }
  if (schema.properties !== undefined && isObject(value)) {
    const { properties } = schema;
    const others = isObject(other) ? other : {};
    const to = isObject(other) ? moved || movedTo(schema, value, other) : moved;
    return Object.fromEntries(
      Object.entries(value).map(([key, member]) => [
        key,
        Object.hasOwn(properties, key) ? mapSecrets(properties[key], member, others[key], replace, to) : member,
      ]),
    );
  }
  if (schema.items !== undefined && Array.isArray(value)) {
    const { items } = schema;
    // Members are known again by their name, so that one that was moved keeps its secret.
    const named = (name: unknown) => (Array.isArray(other) ? other.find((one) => isObject(one) && one.name === name) : undefined);
    return value.map((member) => mapSecrets(items, member, isObject(member) ? named(member.name) : undefined, replace, moved));
  }
  return value;
}

/** The field by which the secrets of an object would go to somebody else than before; '' where they would not. */
function movedTo(schema: Loose, value: Record<string, unknown>, before: Record<string, unknown>): string {
  const fields = schema[GO_TO];
  if (fields === undefined) return '';
  if (schema.properties?.type !== undefined && value.type !== before.type) return 'type';
  const of = (object: Record<string, unknown>, field: string) => ends(object[field] ?? schema.properties?.[field]?.default);
  // Of several servers one that is left out takes nothing along.
  return fields.find((field) => !of(value, field).every((end) => of(before, field).includes(end))) ?? '';
}

/** Of a URL only protocol, host and port count. */
const ends = (value: unknown): string[] =>
  [value]
    .flat()
    .map((one) => (typeof one === 'string' && URL.canParse(one) && one.includes('://') ? new URL(one).origin : String(one)));

/** Of several shapes that are told apart by a constant `type` or `kind`, the one that the value says it is. */
function sameKind(schema: Loose, value: unknown): boolean {
  if (!isObject(value) || schema.properties === undefined) return false;
  return ['type', 'kind'].some((key) => {
    const constant = (schema.properties?.[key] as { const?: unknown } | undefined)?.const;
    return constant !== undefined && constant === value[key];
  });
}

/** For answers, and for backups without keys. */
export function withoutSecrets(schema: TSchema, value: unknown): unknown {
  return mapSecrets(schema as Loose, value, undefined, (secret) => (secret === '' || secret === undefined ? '' : SECRET_SET));
}

/**
 * After a restore of a backup without keys: secrets that are left out are those of `present`; where it has none, or they would go to somebody
 * else than now, none.
 */
export function withSecretsOf(schema: TSchema, restored: unknown, present: unknown): unknown {
  return mapSecrets(schema as Loose, restored, present, (secret, own, moved) =>
    secret === SECRET_SET ? (moved === '' ? (own ?? '') : '') : secret,
  );
}

/** What is written back as it was shown has its secrets as they were `before`. */
function keepSecrets(schema: TSchema, given: unknown, before: unknown): unknown {
  return mapSecrets(schema as Loose, given, before, (secret, former, moved) => {
    if (secret === SECRET_SET && moved !== '' && former !== '' && former !== undefined)
      throw new OperatingError(
        'settings',
        `a secret is "${SECRET_SET}" where "${moved}" is another than before: give the secret again, since it would go somewhere else`,
      );
    if (secret === SECRET_SET && former === undefined)
      throw new OperatingError(
        'settings',
        `a secret is "${SECRET_SET}" where there was none: what was renamed needs its secrets again`,
      );
    return secret === SECRET_SET ? former : secret;
  });
}
