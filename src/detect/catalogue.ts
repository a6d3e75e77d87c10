/** From the least to the worst. */
export const SEVERITIES = ['warning', 'minor', 'major', 'critical'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** Which part of detection an alert comes from, in the words the field uses. */
export const ENGINES = ['policy violation', 'protocol violation', 'operational', 'anomaly', 'malware'] as const;
export type Engine = (typeof ENGINES)[number];

/** Every kind of alert, once. Titles, severities and techniques are what operators and SIEM rules see; `kind` never changes. */
export interface AlertKind {
  kind: string;
  title: string;
  severity: Severity;
  category: string;
  engine: Engine;
  /** MITRE ATT&CK for ICS techniques. */
  techniques: readonly string[];
  /** What it means, with the finding's details in braces. */
  description: string;
  /** What to do about it, step by step. */
  remediation: readonly string[];
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
    remediation: [
      'Find out who owns the device that opened the conversation, and whether it has business in the other zone.',
      'If it has: add a conduit to the zone policy. If not: block it at the firewall between the zones.',
    ],
  },
  {
    kind: 'new_device',
    title: 'New device',
    severity: 'warning',
    category: 'Discovery',
    engine: 'policy violation',
    techniques: ['T0842'],
    description: 'A device that was not known before spoke: {device}.',
    remediation: ['Find out what was connected, by whom and for what.', 'Authorise the device, or take it off the network.'],
  },
  {
    kind: 'malformed_pdu',
    title: 'Malformed PDU',
    severity: 'minor',
    category: 'Illegal commands',
    engine: 'protocol violation',
    techniques: ['T0814'],
    description: 'A {app_proto} PDU ({record}) breaks its specification.',
    remediation: [
      'Look at the packets: a faulty device or a converter sends such PDUs, and so does an attack on a parser.',
      "Compare the sender's firmware with the manufacturer's advisories.",
    ],
  },
  {
    kind: 'protocol_anomaly',
    title: 'Protocol anomaly',
    severity: 'minor',
    category: 'Illegal commands',
    engine: 'protocol violation',
    techniques: ['T0855'],
    description: '{app_proto}: {anomaly}: {meaning}',
    remediation: [
      'Look at the packets, and at who sent them: a wrong configuration looks the same as an attempt to find out what the controller does with it.',
    ],
  },
  {
    kind: 'unexpected_protocol',
    title: 'Unexpected protocol on a service port',
    severity: 'minor',
    category: 'Abnormal communication behavior',
    engine: 'protocol violation',
    techniques: ['T0885'],
    description: 'Traffic on port {port} is not {expected}, which is spoken there.',
    remediation: [
      'Find out what uses this port: a tunnel, remote access or a service that was moved.',
      'Close it, or give it a port of its own.',
    ],
  },
  {
    kind: 'program_download',
    title: 'Program download to a controller',
    severity: 'critical',
    category: 'Programming',
    engine: 'operational',
    techniques: ['T0843', 'T0889'],
    description: 'Program parts were written to or changed in a controller. {what}',
    remediation: [
      'Ask the engineer in charge whether the program was to be changed, at this time and from this station.',
      'If not: keep the controller from starting again, compare its program with the last known good one, and restore that.',
    ],
  },
  {
    kind: 'program_upload',
    title: 'Program upload from a controller',
    severity: 'major',
    category: 'Programming',
    engine: 'operational',
    techniques: ['T0845'],
    description: 'Program parts were read out of a controller. {what}',
    remediation: [
      'Ask the engineer in charge whether the program was read out, at this time and from this station.',
      'If not: treat the program as known to an attacker, and look for what that station did before and after.',
    ],
  },
  {
    kind: 'firmware_change',
    title: 'Firmware transfer',
    severity: 'critical',
    category: 'Firmware change',
    engine: 'operational',
    techniques: ['T0857', 'T0839'],
    description: 'Firmware was written to a device. {what}',
    remediation: [
      'Ask the engineer in charge whether firmware was to be changed.',
      "If not: take the device out of control, and restore the manufacturer's firmware after verifying it.",
    ],
  },
  {
    kind: 'mode_change',
    title: 'Controller mode change',
    severity: 'major',
    category: 'Operational issues',
    engine: 'operational',
    techniques: ['T0858'],
    description: 'A controller was told to change its operating mode. {what}',
    remediation: [
      'Ask the operators whether the mode was changed for maintenance.',
      'Where the controller has a key switch, turn it to RUN and take the key out.',
    ],
  },
  {
    kind: 'device_stop',
    title: 'Stop command to a controller',
    severity: 'critical',
    category: 'Restart/stop commands',
    engine: 'operational',
    techniques: ['T0858', 'T0881'],
    description: 'A controller was told to stop. {what}',
    remediation: [
      'Ask the operators whether the controller was to be stopped, and bring the process into a safe state.',
      'If not: cut the sender off, and start the controller again when its program has been compared.',
    ],
  },
  {
    kind: 'device_start',
    title: 'Start command to a controller',
    severity: 'major',
    category: 'Restart/stop commands',
    engine: 'operational',
    techniques: ['T0858'],
    description: 'A controller was told to start. {what}',
    remediation: ['Ask the operators whether the controller was to be started.'],
  },
  {
    kind: 'device_restart',
    title: 'Restart command to a device',
    severity: 'critical',
    category: 'Restart/stop commands',
    engine: 'operational',
    techniques: ['T0816'],
    description: 'A device was told to restart. {what}',
    remediation: [
      'Ask the operators whether the device was to be restarted.',
      'If not: cut the sender off, and see what was changed before the restart.',
    ],
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
    remediation: [
      'Nothing is to be done in the plant. Report it with the packets, which are in quarantine/ in the data directory.',
    ],
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
    remediation: [
      'Nothing is to be done in the plant. Report it with the packets, which are in quarantine/ in the data directory.',
    ],
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
    remediation: [
      'Restart the sensor, and report it with the packets in quarantine/.',
      "If it comes again, leave the protocol's traffic out with a capture filter until there is an update.",
    ],
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
    remediation: [
      'See ot-sensor interfaces for what arrives: traffic mirrored twice or bulk traffic that need not be watched can be left out with a capture filter.',
      'Give the sensor more shards, or faster hardware.',
    ],
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

/** What is said of a stored alert, which may be of a kind that an earlier release had. */
export function kindOf(kind: string): Pick<AlertKind, 'engine' | 'category' | 'remediation'> {
  return BY_KIND.get(kind) ?? { engine: 'operational', category: 'Operational issues', remediation: [] };
}

/** Fills a description's braces; details that are missing leave nothing behind. */
export function describe(kind: string, details: Readonly<Record<string, string>>): string {
  return alertKind(kind)
    .description.replace(/\{(\w+)\}/g, (_, name: string) => details[name] ?? '')
    .trim();
}
