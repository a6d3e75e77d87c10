/** Every kind of alert, once. Titles, severities and techniques are what operators and SIEM rules see; `kind` never changes. */
export interface AlertKind {
  kind: string;
  title: string;
  severity: 'critical' | 'major' | 'minor' | 'warning';
  category: string;
  /** Which part of detection it comes from, in the words the field uses. */
  engine: 'policy violation' | 'protocol violation' | 'operational' | 'anomaly';
  /** MITRE ATT&CK for ICS techniques. */
  techniques: readonly string[];
  /** What it means, with the finding's details in braces. */
  description: string;
}

export const CATALOGUE = [
  {
    kind: 'zone_crossing',
    title: 'Zone crossing without a conduit',
    severity: 'major',
    category: 'Unauthorized communication behavior',
    engine: 'policy violation',
    techniques: ['T0886'],
    description: '{what} from {from_zone} to {to_zone}: {why}',
  },
  {
    kind: 'new_device',
    title: 'New device',
    severity: 'warning',
    category: 'Discovery',
    engine: 'policy violation',
    techniques: ['T0842'],
    description: 'A device that was not known before spoke: {device}.',
  },
  {
    kind: 'malformed_pdu',
    title: 'Malformed PDU',
    severity: 'minor',
    category: 'Illegal commands',
    engine: 'protocol violation',
    techniques: ['T0814'],
    description: 'A {app_proto} PDU ({record}) breaks its specification.',
  },
  {
    kind: 'protocol_anomaly',
    title: 'Protocol anomaly',
    severity: 'minor',
    category: 'Illegal commands',
    engine: 'protocol violation',
    techniques: ['T0855'],
    description: '{app_proto}: {anomaly}: {meaning}',
  },
  {
    kind: 'unexpected_protocol',
    title: 'Unexpected protocol on a service port',
    severity: 'minor',
    category: 'Abnormal communication behavior',
    engine: 'protocol violation',
    techniques: ['T0885'],
    description: 'Traffic on port {port} is not {expected}, which is spoken there.',
  },
  {
    kind: 'program_download',
    title: 'Program download to a controller',
    severity: 'critical',
    category: 'Programming',
    engine: 'operational',
    techniques: ['T0843', 'T0889'],
    description: 'Program parts were written to or changed in a controller. {what}',
  },
  {
    kind: 'program_upload',
    title: 'Program upload from a controller',
    severity: 'major',
    category: 'Programming',
    engine: 'operational',
    techniques: ['T0845'],
    description: 'Program parts were read out of a controller. {what}',
  },
  {
    kind: 'firmware_change',
    title: 'Firmware transfer',
    severity: 'critical',
    category: 'Firmware change',
    engine: 'operational',
    techniques: ['T0857', 'T0839'],
    description: 'Firmware was written to a device. {what}',
  },
  {
    kind: 'mode_change',
    title: 'Controller mode change',
    severity: 'major',
    category: 'Operational issues',
    engine: 'operational',
    techniques: ['T0858'],
    description: 'A controller was told to change its operating mode. {what}',
  },
  {
    kind: 'device_stop',
    title: 'Stop command to a controller',
    severity: 'critical',
    category: 'Restart/stop commands',
    engine: 'operational',
    techniques: ['T0858', 'T0881'],
    description: 'A controller was told to stop. {what}',
  },
  {
    kind: 'device_start',
    title: 'Start command to a controller',
    severity: 'major',
    category: 'Restart/stop commands',
    engine: 'operational',
    techniques: ['T0858'],
    description: 'A controller was told to start. {what}',
  },
  {
    kind: 'device_restart',
    title: 'Restart command to a device',
    severity: 'critical',
    category: 'Restart/stop commands',
    engine: 'operational',
    techniques: ['T0816'],
    description: 'A device was told to restart. {what}',
  },
  {
    kind: 'dissector_failed',
    title: 'The sensor could not read a packet',
    severity: 'warning',
    category: 'Sensor',
    engine: 'operational',
    techniques: [],
    description:
      'A defect of ours: {what} failed on a packet ({error}). Its conversation is put aside; please report it with the packet.',
  },
  {
    kind: 'thread_replaced',
    title: 'A thread of the sensor was replaced',
    severity: 'major',
    category: 'Sensor',
    engine: 'operational',
    techniques: [],
    description:
      'A defect of ours: {what} ended or hung its thread ({error}); {lost} packets were lost. Please report it with the packets.',
  },
  {
    kind: 'dissector_left_out',
    title: 'A protocol is not read any more',
    severity: 'critical',
    category: 'Sensor',
    engine: 'operational',
    techniques: [],
    description:
      'A defect of ours: the {dissector} dissector has ended or hung too many threads ({error}) and is left out until the sensor is started again. Its protocol is not watched until then.',
  },
  {
    kind: 'overload',
    title: 'The sensor cannot keep up',
    severity: 'major',
    category: 'Sensor',
    engine: 'operational',
    techniques: [],
    description:
      'More traffic arrived than could be worked through. Every packet was still counted to its conversation; left out was: {left_out}.',
  },
] as const satisfies readonly AlertKind[];

export type AlertKindName = (typeof CATALOGUE)[number]['kind'];

const BY_KIND = new Map<string, AlertKind>(CATALOGUE.map((row) => [row.kind, row]));

/** The catalogue's row; a kind that is not in it is a defect. */
export function alertKind(kind: string): AlertKind {
  const row = BY_KIND.get(kind);
  if (row === undefined) throw new Error(`no alert kind "${kind}" in the catalogue`);
  return row;
}

/** Fills a description's braces; details that are missing leave nothing behind. */
export function describe(kind: string, details: Readonly<Record<string, string>>): string {
  return alertKind(kind)
    .description.replace(/\{(\w+)\}/g, (_, name: string) => details[name] ?? '')
    .trim();
}
