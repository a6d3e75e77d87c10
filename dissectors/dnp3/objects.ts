/**
 * The DNP3 object library (IEEE 1815-2012, Annex A) as a table: what an object of a group and variation holds, in wire order.
 * Regular objects are a list of parts; irregular ones name the structure that application.ts reads.
 */

/** The parts of a regular object, with their sizes in octets. */
const PART_SIZES = {
  /** Quality flags of the point type; binary types hold the state in the upper bits. */
  flags: 1,
  /** A control status; binary command events hold the commanded state in bit 7. */
  status: 1,
  i16: 2,
  i32: 4,
  u8: 1,
  u16: 2,
  u32: 4,
  f32: 4,
  f64: 8,
  /** Milliseconds since 1970-01-01T00:00Z */
  time: 6,
  /** Milliseconds since the common time of occurrence (group 51) of the same fragment */
  relative_time: 2,
} as const;
export type Part = keyof typeof PART_SIZES;

/** The record a point becomes. */
export type Kind =
  | 'none'
  | 'device_attribute'
  | 'binary_input'
  | 'double_bit_input'
  | 'binary_output'
  | 'binary_command_event'
  | 'control_block'
  | 'counter'
  | 'analog_input'
  | 'deadband'
  | 'analog_output'
  | 'analog_command'
  | 'time'
  | 'time_delay'
  | 'file'
  | 'internal_indication'
  | 'buffer_status'
  | 'private_object'
  | 'data'
  | 'bcd'
  | 'integer'
  | 'octet_string'
  | 'authentication'
  | 'security_statistic';

export const Size = {
  /** Only a qualifier with an object size says how long it is. */
  by_prefix: -1,
  /** As many octets as the variation's number (octet strings, virtual terminal). */
  by_variation: -2,
  /** It states its own length (device attributes, private registration objects). */
  by_itself: -3,
} as const;

export interface Variation {
  kind: Kind;
  parts: readonly Part[];
  /** In octets; 0 for packed bits and for objects without data; negative: see `Size`. */
  size: number;
  /** Bits a point in packed formats, else 0. */
  bits: number;
}

export interface Group {
  name: string;
  variations: ReadonlyMap<number, Variation>;
  /** For every variation not listed (octet strings, device attributes). */
  any?: Variation;
}

/** 'bits', 'double_bits', 'prefixed', 'sized', 'own', '' (no data), a number of octets, or parts in wire order. */
type Layout = string | number;

function variation(kind: Kind, layout: Layout): Variation {
  if (typeof layout === 'number') return { kind, parts: [], size: layout, bits: 0 };
  switch (layout) {
    case 'bits':
      return { kind, parts: [], size: 0, bits: 1 };
    case 'double_bits':
      return { kind, parts: [], size: 0, bits: 2 };
    case 'prefixed':
      return { kind, parts: [], size: Size.by_prefix, bits: 0 };
    case 'sized':
      return { kind, parts: [], size: Size.by_variation, bits: 0 };
    case 'own':
      return { kind, parts: [], size: Size.by_itself, bits: 0 };
  }
  const parts = layout.split(' ').filter(Boolean) as Part[];
  return { kind, parts, size: parts.reduce((size, part) => size + PART_SIZES[part], 0), bits: 0 };
}

/** Layouts of the variations 1, 2, 3, … */
function group(name: string, kind: Kind, layouts: readonly Layout[], any?: Layout): Group {
  return {
    name,
    variations: new Map(layouts.map((layout, index) => [index + 1, variation(kind, layout)])),
    any: any === undefined ? undefined : variation(kind, any),
  };
}

/** Analog and frozen analog input events, and analog output events, share their variations. */
const ANALOG_EVENT = [
  'flags i32', 'flags i16', 'flags i32 time', 'flags i16 time', 'flags f32', 'flags f64', 'flags f32 time', 'flags f64 time',
]; // biome-ignore format: variations 1–4, 5–8
/** Variations 3, 4, 7 and 8 are deltas, obsolete. */
const COUNTER_EVENT = [
  'flags u32', 'flags u16', 'flags u32', 'flags u16', 'flags u32 time', 'flags u16 time', 'flags u32 time', 'flags u16 time',
]; // biome-ignore format: variations 1–4, 5–8

export const GROUPS: ReadonlyMap<number, Group> = new Map<number, Group>([
  [0, group('device attribute', 'device_attribute', [], 'own')],
  [1, group('binary input', 'binary_input', ['bits', 'flags'])],
  [2, group('binary input event', 'binary_input', ['flags', 'flags time', 'flags relative_time'])],
  [3, group('double-bit binary input', 'double_bit_input', ['double_bits', 'flags'])],
  [4, group('double-bit binary input event', 'double_bit_input', ['flags', 'flags time', 'flags relative_time'])],
  [10, group('binary output', 'binary_output', ['bits', 'flags'])],
  [11, group('binary output event', 'binary_output', ['flags', 'flags time'])],
  [12, group('binary output command', 'control_block', [11, 11, 'bits'])],
  [13, group('binary output command event', 'binary_command_event', ['status', 'status time'])],
  [20, group('counter', 'counter', ['flags u32', 'flags u16', 'flags u32', 'flags u16', 'u32', 'u16', 'u32', 'u16'])],
  [
    21,
    group('frozen counter', 'counter', [
      ...['flags u32', 'flags u16', 'flags u32', 'flags u16'],
      ...['flags u32 time', 'flags u16 time', 'flags u32 time', 'flags u16 time'],
      ...['u32', 'u16', 'u32', 'u16'],
    ]),
  ],
  [22, group('counter event', 'counter', COUNTER_EVENT)],
  [23, group('frozen counter event', 'counter', COUNTER_EVENT)],
  [30, group('analog input', 'analog_input', ['flags i32', 'flags i16', 'i32', 'i16', 'flags f32', 'flags f64'])],
  [
    31,
    group('frozen analog input', 'analog_input', [
      ...['flags i32', 'flags i16', 'flags i32 time', 'flags i16 time', 'i32', 'i16', 'flags f32', 'flags f64'],
    ]),
  ],
  [32, group('analog input event', 'analog_input', ANALOG_EVENT)],
  [33, group('frozen analog input event', 'analog_input', ANALOG_EVENT)],
  [34, group('analog input reporting deadband', 'deadband', ['u16', 'u32', 'f32'])],
  [40, group('analog output status', 'analog_output', ['flags i32', 'flags i16', 'flags f32', 'flags f64'])],
  [41, group('analog output', 'analog_command', ['i32 status', 'i16 status', 'f32 status', 'f64 status'])],
  [42, group('analog output event', 'analog_output', ANALOG_EVENT)],
  [
    43,
    group('analog output command event', 'analog_command', [
      ...['status i32', 'status i16', 'status i32 time', 'status i16 time'],
      ...['status f32', 'status f64', 'status f32 time', 'status f64 time'],
    ]),
  ],
  [50, group('time and date', 'time', ['time', 'time u32', 'time', 'time u32 u8'])],
  [51, group('time and date common time of occurrence', 'time', ['time', 'time'])],
  [52, group('time delay', 'time_delay', ['u16', 'u16'])],
  [60, group('class objects', 'none', ['', '', '', ''])],
  [70, group('file control', 'file', Array(8).fill('prefixed'))],
  [80, group('internal indications', 'internal_indication', ['bits'])],
  [81, group('device storage', 'buffer_status', [3])],
  [82, group('device profile', 'data', ['prefixed'])],
  [83, group('data set', 'private_object', ['own', 'own'])],
  [85, group('data set prototype', 'data', ['prefixed'])],
  [86, group('data set descriptor', 'data', ['prefixed', 1, 'prefixed'])],
  [87, group('data set', 'data', ['prefixed'])],
  [88, group('data set event', 'data', ['prefixed'])],
  [90, group('application', 'data', ['prefixed'])],
  [91, group('status of requested operation', 'data', ['prefixed'])],
  [100, group('floating point', 'data', [])],
  [101, group('binary-coded decimal integer', 'bcd', [2, 4, 8])],
  [102, group('unsigned integer', 'integer', ['u8'])],
  [110, group('octet string', 'octet_string', [], 'sized')],
  [111, group('octet string event', 'octet_string', [], 'sized')],
  [112, group('virtual terminal output block', 'octet_string', [], 'sized')],
  [113, group('virtual terminal event data', 'octet_string', [], 'sized')],
  [114, group('extended octet string', 'octet_string', [], 'prefixed')],
  [115, group('extended octet string event', 'octet_string', [], 'prefixed')],
  [
    120,
    group('authentication', 'authentication', [
      ...['prefixed', 'prefixed', 6, 2, 'prefixed', 'prefixed', 'prefixed', 'prefixed'],
      ...['prefixed', 'prefixed', 'prefixed', 'prefixed', 'prefixed', 'prefixed', 'prefixed'],
    ]),
  ],
  [121, group('security statistic', 'security_statistic', ['flags u16 u32'])],
  [122, group('security statistic event', 'security_statistic', ['flags u16 u32', 'flags u16 u32 time'])],
]);

export const GROUP_NAMES: Readonly<Record<number, string>> = Object.fromEntries(
  [...GROUPS].map(([number, { name }]) => [number, name]),
);

/** By group × 256 + variation, so that a look-up on the packet path is one array access. */
const VARIATIONS: (Variation | undefined)[] = Array.from({ length: 0x10000 }, (_, key) => {
  const known = GROUPS.get(key >> 8);
  return known?.variations.get(key & 0xff) ?? known?.any;
});

/** What an object of this group and variation holds; undefined where the object library has none. */
export const variationOf = (group: number, variation: number): Variation | undefined => VARIATIONS[(group << 8) | variation];

/** Variations of the device attributes (group 0) of the standard's own set, index 0 (Annex A.1). */
export const DEVICE_ATTRIBUTES: Readonly<Record<number, string>> = {
  196: 'configuration ID',
  197: 'configuration version',
  198: 'configuration build date',
  199: 'configuration last change date',
  200: 'configuration signature',
  201: 'configuration signature algorithm',
  202: 'master resource ID',
  203: 'device location altitude',
  204: 'device location longitude',
  205: 'device location latitude',
  206: 'user-assigned secondary operator name',
  207: 'user-assigned primary operator name',
  208: 'user-assigned system name',
  209: 'secure authentication version',
  210: 'number of security statistics per association',
  211: 'identification of support for user-specific attributes',
  212: 'number of master-defined data set prototypes',
  213: 'number of outstation-defined data set prototypes',
  214: 'number of master-defined data sets',
  215: 'number of outstation-defined data sets',
  216: 'maximum number of binary outputs per request',
  217: 'local timing accuracy',
  218: 'duration of timing accuracy',
  219: 'support for analog output events',
  220: 'maximum analog output index',
  221: 'number of analog outputs',
  222: 'support for binary output events',
  223: 'maximum binary output index',
  224: 'number of binary outputs',
  225: 'support for frozen counter events',
  226: 'support for frozen counters',
  227: 'support for counter events',
  228: 'maximum counter index',
  229: 'number of counters',
  230: 'support for frozen analog inputs',
  231: 'support for analog input events',
  232: 'maximum analog input index',
  233: 'number of analog inputs',
  234: 'support for double-bit binary input events',
  235: 'maximum double-bit binary input index',
  236: 'number of double-bit binary inputs',
  237: 'support for binary input events',
  238: 'maximum binary input index',
  239: 'number of binary inputs',
  240: 'maximum transmit fragment size',
  241: 'maximum receive fragment size',
  242: "device manufacturer's software version",
  243: "device manufacturer's hardware version",
  244: 'user-assigned owner name',
  245: 'user-assigned location name',
  246: 'user-assigned ID code/number',
  247: 'user-assigned device name',
  248: 'device serial number',
  249: 'DNP3 subset and conformance',
  250: "device manufacturer's product name and model",
  252: "device manufacturer's name",
  254: 'non-specific all attributes request',
  255: 'list of attribute variations',
};
