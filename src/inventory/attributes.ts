import type { AttributeValue, Device, Part } from './entities.ts';

// What is said of a device, and of the parts behind it.

/** Whose word counts more on the same thing: what a device's own protocol says, then its network's, then its manufacturer's number. */
const PRECEDENCE: readonly string[] = [
  's7comm',
  's7comm_plus',
  'cip',
  'enip',
  'modbus',
  'umas',
  'dnp3',
  'bacnet',
  'opcua',
  'mms',
];
const LAST: readonly string[] = ['lldp', 'dhcp', 'mac'];

/** PROFINET's own protocols, and its TLVs in LLDP frames (IEC 61158-6-10). */
const PROFINET: ReadonlySet<string> = new Set(['pn_dcp', 'pn_io', 'pn_rt', 'profinet']);
const PROFINET_TLVS = 'lldp_profinet.';

function precedence(app_proto: string): number {
  const first = PRECEDENCE.indexOf(app_proto);
  if (first >= 0) return first;
  const last = LAST.indexOf(app_proto);
  return last < 0 ? PRECEDENCE.length : PRECEDENCE.length + 1 + last;
}

/** What most devices have none of: shared until there is one. */
export const NO_ATTRIBUTES: Device['attributes'] = new Map();
export const NO_PARTS: Device['parts'] = new Map();

export function attributesOf(device: Device): Device['attributes'] {
  if (device.attributes === NO_ATTRIBUTES) device.attributes = new Map();
  return device.attributes;
}

export function partsOf(device: Device): Device['parts'] {
  if (device.parts === NO_PARTS) device.parts = new Map();
  return device.parts;
}

/**
 * The preferred value of the device itself. Where it answers for a single unit or outstation there is nothing behind it: what is said of
 * that one is said of the device.
 */
export function shown(device: Device, attribute: string): string {
  // Most devices say nothing of themselves.
  if (device.attributes.size === 0) return '';
  const units = unitsOf(device);
  const sole = units.length === 1 ? units[0].part : '';
  let best: AttributeValue | null = null;
  for (const values of device.attributes.values()) {
    const last = values[values.length - 1];
    if (!last.preferred || last.attribute !== attribute || (last.part !== '' && last.part !== sole)) continue;
    if (!best || precedence(last.app_proto) < precedence(best.app_proto)) best = last;
  }
  return best?.value ?? '';
}

/** Of several sources on the same attribute, marks the one that takes precedence; of equals the field first in order. */
export function prefer(device: Device): void {
  const best = new Map<string, AttributeValue>();
  for (const values of device.attributes.values()) {
    for (const value of values) value.preferred = false;
    const last = values[values.length - 1];
    const key = `${last.part}|${last.attribute}`;
    const other = best.get(key);
    const before = other ? precedence(last.app_proto) - precedence(other.app_proto) : -1;
    if (before < 0 || (before === 0 && other && `${last.app_proto}|${last.field}` < `${other.app_proto}|${other.field}`))
      best.set(key, last);
  }
  for (const value of best.values()) value.preferred = true;
}

export function partKind(name: string): Pick<Part, 'kind' | 'number'> {
  const nested = /^(unit|outstation) (\d{1,9})$/.exec(name);
  if (nested) return { kind: nested[1], number: Number(nested[2]) };
  const module = /^(?:rack (\d{1,4}) )?slot (\d{1,6})$/.exec(name);
  if (module) return { kind: 'module', number: Number(module[1] ?? 0) * 1_000_000 + Number(module[2]) };
  return { kind: 'other', number: 0 };
}

const NO_UNITS: readonly Part[] = [];

export function unitsOf({ parts }: Device): readonly Part[] {
  return parts.size === 0 ? NO_UNITS : [...parts.values()].filter(({ kind }) => kind === 'unit' || kind === 'outstation');
}

export function isProfinet(device: Device): boolean {
  for (const [{ app_proto, field }] of device.attributes.values())
    if (PROFINET.has(app_proto) || field.startsWith(PROFINET_TLVS)) return true;
  return false;
}

/** Control characters and length of text from the wire. */
export function clean(text: string, length: number): string {
  const flat = /[\u0000-\u001f\u007f]/.test(text) ? text.replace(/[\u0000-\u001f\u007f]+/g, ' ') : text;
  const trimmed = flat.trim();
  return trimmed.length > length ? trimmed.slice(0, length) : trimmed;
}
