import path from 'node:path';
import { isMap, type Node } from 'yaml';
import { combinationFault, entryFault, MAX_FILTER_ENTRIES } from './capture/filter.ts';
import { HANG_SECONDS } from './engine/failure.ts';
import { SHEDDING_DEFAULTS, type SheddingOptions, sheddingFault } from './engine/shedding.ts';
import { MAX_FILE_BYTES, MIN_FILE_BYTES, RECORDING_DEFAULTS, type RecordingOptions } from './recording/options.ts';
import { didYouMean, type Fault } from './yaml/fault.ts';
import { type Entry, YamlReader } from './yaml/reader.ts';

/**
 * Every setting of a running sensor, once: its default, its limits, its unit (last in its name) and what it means. The settings' file,
 * its checks, the documentation (`ot-sensor config reference`) and the types follow from this.
 */
export const SETTINGS = section({
  data: text('/var/lib/ot-sensor', 'directory of the database; made where it is not there'),
  zones: text('', 'zone policy (YAML); without one nothing is a zone crossing'),
  shards: integer(1, 1, 64, 'worker threads; one a core, less one for capture and one for all else'),
  user: text(
    '',
    'started as root: the user to become once the interfaces are open. Not needed with capabilities (see the systemd unit)',
  ),
  log: section({
    level: choice(
      ['trace', 'debug', 'info', 'warn', 'error', 'silent'],
      'info',
      'what is written to standard error, from this on',
    ),
  }),
  capture: section({
    backend: choice(
      ['auto', 'libpcap', 'cap'],
      'auto',
      'what captures: libpcap through our own addon, or the npm package cap, which cannot do all (`ot-sensor interfaces` says what); auto takes the first that is there',
    ),
    timeout_ms: integer(20, 1, 10_000, 'how long the kernel may hold packets back to hand them over in blocks'),
    interfaces: list(
      16,
      section({
        name: text('', 'interface of the mirror port, as `ip link` shows it'),
        filter: text('', 'what is captured, in the language of pcap-filter(7); everything where left out'),
        include: texts(
          MAX_FILTER_ENTRIES,
          entryFault,
          'capture only these, instead of a filter: "host A", "pair A B", "subnet A/N", "port [tcp/|udp/]N[-M]", "vlan N", or several of them that must all hold',
        ),
        exclude: texts(MAX_FILTER_ENTRIES, entryFault, 'and not these'),
        snap_length: integer(262_144, 64, 262_144, 'bytes of a packet that are kept'),
        buffer_bytes: integer(64 << 20, 1 << 20, 2 ** 31 - 1, "the kernel's ring: what comes while nobody reads"),
        promiscuous: toggle(true, 'frames for other addresses too: what a mirror port is for'),
      }),
    ),
  }),
  watchdog: section({
    hang_seconds: integer(
      HANG_SECONDS,
      2,
      600,
      'a worker thread that gets no further for so long is replaced; what it had found and not said is lost, and counted',
    ),
  }),
  overload: section({
    bulk_begins_percent: percent(
      'bulk_begins_percent',
      "how full the fullest of the kernel's rings is when payload of bulk that is not OT is left out",
    ),
    bulk_ends_percent: percent('bulk_ends_percent', 'how full it is when that is looked at again'),
    unrecognised_begins_percent: percent(
      'unrecognised_begins_percent',
      'how full it is when all payload but that of OT protocols is left out',
    ),
    unrecognised_ends_percent: percent('unrecognised_ends_percent', 'how full it is when that is looked at again'),
    all_begins_percent: percent('all_begins_percent', 'how full it is when all payload is left out'),
    all_ends_percent: percent('all_ends_percent', 'how full it is when that of OT protocols is looked at again'),
    calm_ms: integer(SHEDDING_DEFAULTS.calm_ms, 200, 600_000, 'there must have been room for so long before less is left out'),
    bulk_bytes: integer(
      SHEDDING_DEFAULTS.bulk_bytes,
      0,
      2 ** 31 - 1,
      'a conversation in which nothing was recognised is bulk when it has carried so much since its counts were said',
    ),
  }),
  api: section({
    host: text('127.0.0.1', 'address of the management interface, never one of a mirror port; this machine alone where left out'),
    port: integer(8443, 0, 65_535, 'TCP port of the API (HTTPS); below 1024 with the capability of the systemd unit'),
  }),
  recording: section({
    mode: choice(['off', 'all', 'ot'], 'off', 'packets kept on disk: none, all, or those of conversations in an OT protocol'),
    directory: text('', 'where they are kept; left out: recording in the directory of the database'),
    file_bytes: integer(RECORDING_DEFAULTS.file_bytes, MIN_FILE_BYTES, MAX_FILE_BYTES, 'no file is larger'),
    total_bytes: integer(
      RECORDING_DEFAULTS.total_bytes,
      2 * MIN_FILE_BYTES,
      2 ** 49,
      'all files together are no larger: the oldest go',
    ),
    max_age_hours: integer(RECORDING_DEFAULTS.max_age_hours, 0, 1_000_000, 'files written longer ago go; 0: no limit'),
    min_free_bytes: integer(
      RECORDING_DEFAULTS.min_free_bytes,
      0,
      2 ** 49,
      'recording stops where the volume has less room, until there is more',
    ),
  }),
});

export type Config = Value<typeof SETTINGS>;

export interface ConfigFile {
  /** null where there is any fault. */
  config: Config | null;
  faults: Fault[];
}

const MAX_FILE_LENGTH = 1 << 20;
const MAX_TEXT_LENGTH = 4096;

/**
 * A settings file (YAML) as values, everything left out at its default. Relative paths are meant from the folder of the file. Never
 * throws on any text. `without_mirror_port`: for those who capture nothing, no fault that there is none yet.
 */
export function readConfig(content: string, folder: string, { without_mirror_port = false } = {}): ConfigFile {
  const { model, faults } = new ConfigReader(content).read(without_mirror_port);
  if (model === null) return { config: null, faults };
  const from = (name: string) => (name === '' ? '' : path.resolve(folder, name));
  const recording = { ...model.recording, directory: from(model.recording.directory) };
  return { config: { ...model, data: from(model.data), zones: from(model.zones), recording }, faults };
}

/** What is to be recorded, and where; null: nothing. */
export function recordingOf({ data, recording }: Config): RecordingOptions | null {
  const { mode, directory, ...bounds } = recording;
  return mode === 'off' ? null : { ...bounds, mode, directory: directory || path.join(data, 'recording') };
}

/** The reference of all settings: a file that holds each with its default, and what it means above it. */
export function configReference(): string {
  return referenceOf(SETTINGS, '').join('\n');
}

// The declarations

type SingleSetting = IntegerSetting | TextSetting | ChoiceSetting | ToggleSetting;
type Setting = SingleSetting | TextsSetting | ListSetting | Section;
interface IntegerSetting {
  kind: 'integer';
  value: number;
  lowest: number;
  highest: number;
  meaning: string;
}
interface TextSetting {
  kind: 'text';
  value: string;
  meaning: string;
}
interface TextsSetting {
  kind: 'texts';
  most: number;
  faultOf: (text: string) => string;
  meaning: string;
}
interface ChoiceSetting<T extends string = string> {
  kind: 'choice';
  value: T;
  known: readonly T[];
  meaning: string;
}
interface ToggleSetting {
  kind: 'toggle';
  value: boolean;
  meaning: string;
}
interface ListSetting<S extends Section = Section> {
  kind: 'list';
  most: number;
  of: S;
}
interface Section<F extends Record<string, Setting> = Record<string, Setting>> {
  kind: 'section';
  settings: F;
}

/** The type of a setting's value. */
type Value<S> = S extends IntegerSetting
  ? number
  : S extends ToggleSetting
    ? boolean
    : S extends ChoiceSetting<infer T>
      ? T
      : S extends TextSetting
        ? string
        : S extends TextsSetting
          ? string[]
          : S extends ListSetting<infer I>
            ? Value<I>[]
            : S extends Section<infer F>
              ? { [K in keyof F]: Value<F[K]> }
              : never;

function section<F extends Record<string, Setting>>(settings: F): Section<F> {
  return { kind: 'section', settings };
}
function percent(name: keyof SheddingOptions, meaning: string): IntegerSetting {
  return integer(SHEDDING_DEFAULTS[name], 1, 100, meaning);
}
function list<S extends Section>(most: number, of: S): ListSetting<S> {
  return { kind: 'list', most, of };
}
function integer(value: number, lowest: number, highest: number, meaning: string): IntegerSetting {
  return { kind: 'integer', value, lowest, highest, meaning };
}
function text(value: string, meaning: string): TextSetting {
  return { kind: 'text', value, meaning };
}
/** Texts of which `faultOf` says what is wrong, '' where nothing is. */
function texts(most: number, faultOf: (text: string) => string, meaning: string): TextsSetting {
  return { kind: 'texts', most, faultOf, meaning };
}
function choice<const T extends string>(known: readonly T[], value: NoInfer<T>, meaning: string): ChoiceSetting<T> {
  return { kind: 'choice', value, known, meaning };
}
function toggle(value: boolean, meaning: string): ToggleSetting {
  return { kind: 'toggle', value, meaning };
}

// The file

class ConfigReader extends YamlReader {
  constructor(content: string) {
    super(content, MAX_FILE_LENGTH);
  }

  read(without_mirror_port: boolean): { model: Config | null; faults: Fault[] } {
    return this.readWhole(() => {
      const config = this.section(this.document.contents as Node | null, SETTINGS, 'the settings file') as Config;
      const { interfaces } = config.capture;
      const names = interfaces.map(({ name }) => name);
      if (names.length === 0 && !without_mirror_port)
        this.at(0, 'missing_key', 'no interface to capture from: name one under capture, interfaces');
      for (const settings of interfaces) {
        const wrong = combinationFault(settings);
        if (wrong !== '') this.at(0, 'value', `the interface ${settings.name}: ${wrong}`);
      }
      if (config.recording.total_bytes < 2 * config.recording.file_bytes)
        this.at(0, 'value', 'recording: "total_bytes" has no room for two files of "file_bytes"');
      const wrong = sheddingFault(config.overload);
      if (wrong !== '') this.at(0, 'value', `overload: ${wrong}`);
      names.forEach((name, i) => {
        if (name !== '' && names.indexOf(name) !== i) this.at(0, 'duplicate', `the interface ${name} is named twice`);
      });
      return config;
    });
  }

  private section(node: Node | null, { settings }: Section, what: string): unknown {
    const entries = isMap(this.resolve(node)) || node !== null ? this.entries(node, what, Object.keys(settings)) : null;
    return Object.fromEntries(
      Object.entries(settings).map(([key, setting]) => [key, this.value(entries?.get(key), key, setting)]),
    );
  }

  private value(entry: Entry | undefined, key: string, setting: Setting): unknown {
    switch (setting.kind) {
      case 'section':
        return this.section(entry?.value ?? null, setting, `"${key}"`);
      case 'list':
        return this.items(entry, key, setting.most).map((item) => {
          const value = this.section(item, setting.of, `an entry of "${key}"`) as { name?: string };
          if (value.name === '') this.fault(item, 'missing_key', `an entry of "${key}" has no "name"`);
          return value;
        });
      case 'texts':
        return this.items(entry, key, setting.most).map((item) => {
          const given = this.text_(item, `a text in "${key}"`) ?? '';
          const wrong = given === '' ? '' : setting.faultOf(given);
          if (wrong !== '') this.fault(item, 'value', wrong);
          return given;
        });
      default:
        if (entry === undefined) return setting.value;
        return this.single(this.scalar(entry), entry, key, setting);
    }
  }

  private single(given: string, entry: Entry, key: string, setting: SingleSetting): unknown {
    const wrong = (message: string) => this.fault(entry.value ?? entry.key, 'value', message);
    switch (setting.kind) {
      case 'integer': {
        const value = /^\d{1,15}$/.test(given) ? Number(given) : Number.NaN;
        if (value >= setting.lowest && value <= setting.highest) return value;
        wrong(`"${key}" is a whole number from ${setting.lowest} to ${setting.highest}`);
        break;
      }
      case 'toggle':
        if (given === 'true' || given === 'false') return given === 'true';
        wrong(`"${key}" is true or false`);
        break;
      case 'choice':
        if (setting.known.includes(given)) return given;
        wrong(`"${key}" is one of ${setting.known.join(', ')}${didYouMean(given, setting.known)}`);
        break;
      case 'text':
        if (given.length <= MAX_TEXT_LENGTH && !/[\x00-\x1f\x7f]/.test(given)) return given;
        wrong(`"${key}" is a text of at most ${MAX_TEXT_LENGTH} characters, without control characters`);
    }
    return setting.value;
  }
}

function referenceOf({ settings }: Section, indent: string): string[] {
  return Object.entries(settings).flatMap(([key, setting]) => {
    switch (setting.kind) {
      case 'section':
        return [`${indent}${key}:`, ...referenceOf(setting, `${indent}  `)];
      case 'list':
        return [
          `${indent}# up to ${setting.most} of them`,
          `${indent}${key}:`,
          ...referenceOf(setting.of, `${indent}    `).map((line, i, lines) =>
            i === lines.findIndex((other) => !other.trim().startsWith('#')) ? `${indent}  - ${line.trim()}` : line,
          ),
        ];
      case 'texts':
        return [`${indent}# ${setting.meaning}; up to ${setting.most}`, `${indent}${key}: []`];
      default:
        return [
          `${indent}# ${setting.meaning}${limitsOf(setting)}`,
          `${indent}${key}: ${setting.value === '' ? "''" : setting.value}`,
        ];
    }
  });
}

function limitsOf(setting: SingleSetting): string {
  if (setting.kind === 'integer') return `; ${setting.lowest} to ${setting.highest}`;
  return setting.kind === 'choice' ? `; ${setting.known.join(', ')}` : '';
}
