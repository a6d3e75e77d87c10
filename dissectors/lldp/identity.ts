import type { Attribute, Conversation } from '../../src/dissect/index.ts';

export type Statement = [attribute: Attribute, value: string];

/** What one LLDPDU says of its sender, each attribute once: the first to state it counts, so the surest source comes first. */
export class Statements {
  private readonly said = new Map<Attribute, { value: string; field: string }>();

  clear(): void {
    this.said.clear();
  }
  add(attribute: Attribute, value: string, field: string): void {
    if (value !== '' && !this.said.has(attribute)) this.said.set(attribute, { value, field });
  }
  addAll(statements: readonly Statement[], field: string): void {
    for (const [attribute, value] of statements) this.add(attribute, value, field);
  }
  pass(conversation: Conversation): void {
    for (const [attribute, { value, field }] of this.said) conversation.identify('sender', attribute, value, field);
  }
}

/** A station's MAC address as text; '' where the six bytes are a group's, or nobody's. */
export function stationMac(bytes: Uint8Array, start: number): string {
  const octets = bytes.subarray(start, start + 6);
  if (octets.length < 6 || (octets[0] & 1) !== 0 || octets.every((octet) => octet === 0)) return '';
  return Array.from(octets, (octet) => octet.toString(16).padStart(2, '0')).join(':');
}

/** A Siemens order number (MLFB): 6ES7 212-1BE40-0XB0, 6AV2 123-2GB03-0AX0. */
const ORDER_CODE = /^[36][A-Z0-9]{3} ?\d[A-Z0-9]{2}-\d[A-Z0-9]{4}-\d[A-Z0-9]{3}$/;

/**
 * What a PROFINET device's system description says where it has the form that Siemens documents (SIMATIC manuals, sysDescr):
 * `Siemens, SIMATIC S7, CPU-1200, 6ES7 212-1BE40-0XB0, HW: 1, FW: V.4.2.1, S C-C2UR28922012`. Anything else says nothing.
 */
export function siemensDescription(description: string): Statement[] {
  const parts = description.split(',').map((part) => part.trim());
  const at = parts.findIndex((part) => ORDER_CODE.test(part));
  if (!/^Siemens(?: AG)?$/.test(parts[0]) || at < 2) return [];
  const said: Statement[] = [
    ['vendor', 'Siemens'],
    ['model', parts[at - 1]],
    ['order_code', parts[at]],
  ];
  for (const part of parts.slice(at + 1)) {
    const hardware = /^HW: ?(?:Version )?([\w.]+)$/.exec(part);
    const firmware = /^(?:FW:|SW[:.]) ?(?:Version )?V[. ]*(\d[\w.]*)$/.exec(part);
    if (hardware) said.push(['hardware', hardware[1]]);
    else if (firmware) said.push(['firmware', `V${firmware[1]}`]);
    else if (/^S ?[A-Z][A-Z0-9-]{6,}$/.test(part)) said.push(['serial', part]);
  }
  return said;
}

/** Where the parts of a SystemIdentification stand: start and size. */
const SYSTEM_IDENTIFICATION_SIZE = 80;
const BLANKS = [25, 46, 63, 69];

/**
 * The chassis ID of a PROFINET device since V2.3 (IEC 61158-6-10, SystemIdentification): device type (25), order number (20),
 * serial number (16), hardware revision (5), prefix and software revision (1 + 9), with a blank between them;
 * null where it is not one.
 */
export function systemIdentification(chassis: string): Statement[] | null {
  if (chassis.length < 70 || chassis.length > SYSTEM_IDENTIFICATION_SIZE) return null;
  if (BLANKS.some((at) => chassis[at] !== ' ')) return null;
  const software = /^([VRPUT]) *(\d+) *(\d+) *(\d+) *$/.exec(chassis.slice(70));
  if (software === null) return null;
  return [
    ['model', chassis.slice(0, 25).trim()],
    ['order_code', chassis.slice(26, 46).trim()],
    ['serial', chassis.slice(47, 63).trim()],
    ['hardware', chassis.slice(64, 69).trim()],
    ['firmware', `${software[1]}${software[2]}.${software[3]}.${software[4]}`],
  ];
}

/** The name of station behind a PROFINET port ID: `port-001.plc-1`, `port-001-00002.plc-1` (IEC 61158-6-10, LLDP_PortID). */
export function stationOfPort(port: string): string {
  return /^port-\d{3}(?:-\d{5})?\.(.+)$/.exec(port)?.[1] ?? '';
}

/** A name of station (IEC 61158-6-10, NameOfStation): labels of letters, digits and hyphens, as in the DNS. */
export function isStationName(name: string): boolean {
  return name.length <= 240 && /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/.test(name);
}
