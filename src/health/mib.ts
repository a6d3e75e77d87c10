import type { HealthReport } from './health.ts';

/** RFC 5612: an enterprise number for documentation; whoever has one of their own sets it. */
export const DOCUMENTATION_NUMBER = 32_473;
const LAST_UPDATED = '202611250000Z';
const NAME = 'OT-SENSOR-MIB';

export type Syntax = 'text' | 'gauge' | 'counter64' | 'integer' | 'truth' | readonly string[];

interface ObjectDeclaration<Of> {
  name: string;
  syntax: Syntax;
  units?: string;
  description: string;
  read: (of: Of) => string | number | boolean;
}

export interface TableDeclaration {
  name: string;
  description: string;
  columns: readonly ObjectDeclaration<never>[];
  rows: (report: HealthReport) => readonly object[];
}

/** Gauge32 is what SNMP calls it: more is shown as its highest value (RFC 2578, 7.1.7). */
export const GAUGE_HIGHEST = 2 ** 32 - 1;
const INTEGER_HIGHEST = 2 ** 31 - 1;

const dropped = ({ sensor }: HealthReport) => Object.values(sensor.dropped_by_us).reduce((sum, count) => sum + count, 0);
const open = (severity: string) => (report: HealthReport) => report.open_alerts[severity] ?? 0;
const mebibytes = (bytes: number) => Math.floor(bytes / 2 ** 20);
const since = (ms: number | null, now_ms: number) =>
  ms === null ? -1 : Math.min(INTEGER_HIGHEST, Math.max(0, Math.round((now_ms - ms) / 1000)));

/** Each object of our MIB, once: its text, what the agent answers, and the documentation follow. The place in the list is its number. */
// biome-ignore format: tables
export const SCALARS: readonly ObjectDeclaration<HealthReport>[] = [
  { name: 'Version', syntax: 'text', description: 'Version of the software.', read: (r) => r.version },
  { name: 'Status', syntax: ['healthy', 'degraded', 'critical'], description: 'By the notifications that are open.', read: (r) => r.status },
  { name: 'Uptime', syntax: 'gauge', units: 'seconds', description: 'Since the start of the service that answers.', read: (r) => r.uptime_s },
  { name: 'Load', syntax: 'gauge', units: 'percent', description: 'Load of the last minute; 100 is every processor busy.', read: (r) => Math.round(r.load * 100) },
  {
    name: 'MemoryUsed',
    syntax: 'gauge',
    units: 'percent',
    description: 'Memory that is not available.',
    read: ({ memory }) => Math.round(100 - (100 * memory.available_bytes) / memory.total_bytes),
  },
  {
    name: 'DiskUsed',
    syntax: 'gauge',
    units: 'percent',
    description: 'Of the fullest volume.',
    read: ({ volumes }) => Math.max(0, ...volumes.map((one) => one.used_percent)),
  },
  { name: 'Running', syntax: 'truth', description: 'Whether the sensor captures.', read: ({ sensor }) => sensor.running },
  { name: 'PacketsReceived', syntax: 'counter64', units: 'packets', description: 'That arrived on all mirror ports since the capture began.', read: ({ sensor }) => sensor.received },
  { name: 'PacketsInspected', syntax: 'counter64', units: 'packets', description: 'That were inspected.', read: ({ sensor }) => sensor.inspected },
  { name: 'PacketsHeadersOnly', syntax: 'counter64', units: 'packets', description: 'Of those inspected, the ones whose payload was left out to keep up.', read: ({ sensor }) => sensor.headers_only },
  { name: 'PacketsDroppedByKernel', syntax: 'counter64', units: 'packets', description: "For which the kernel's ring had no room.", read: ({ sensor }) => sensor.dropped_by_kernel },
  { name: 'PacketsDroppedBySensor', syntax: 'counter64', units: 'packets', description: 'Lost in the sensor, for whatever reason.', read: dropped },
  { name: 'PacketRate', syntax: 'gauge', units: 'packets per second', description: 'Over the last seconds.', read: ({ sensor }) => Math.round(sensor.packets_per_second ?? 0) },
  { name: 'ByteRate', syntax: 'gauge', units: 'bytes per second', description: 'Over the last seconds.', read: ({ sensor }) => Math.round(sensor.bytes_per_second ?? 0) },
  { name: 'LastPacketAge', syntax: 'integer', units: 'seconds', description: 'Time since the last packet; -1 where there was none.', read: (r) => since(r.sensor.last_packet_ms, r.time_ms) },
  { name: 'Devices', syntax: 'gauge', description: 'Devices that are known.', read: (r) => r.stored.devices ?? 0 },
  { name: 'Connections', syntax: 'gauge', description: 'Conversations that are known.', read: (r) => r.stored.connections ?? 0 },
  { name: 'OpenAlertsCritical', syntax: 'gauge', description: 'Open critical alerts.', read: open('critical') },
  { name: 'OpenAlertsMajor', syntax: 'gauge', description: 'Open major alerts.', read: open('major') },
  { name: 'OpenAlertsMinor', syntax: 'gauge', description: 'Open minor alerts.', read: open('minor') },
  { name: 'OpenAlertsWarning', syntax: 'gauge', description: 'Open warnings.', read: open('warning') },
  { name: 'OpenNotifications', syntax: 'gauge', description: 'Open notifications of the appliance about itself.', read: (r) => r.open_notifications },
  {
    name: 'CertificateLifetime',
    syntax: 'integer',
    units: 'days',
    description: 'Until the certificate of the API expires; negative once it has, -100000 where there is none.',
    read: (r) => (r.certificate_expires_ms === null ? -100_000 : Math.floor((r.certificate_expires_ms - r.time_ms) / 86_400_000)),
  },
  { name: 'BackupAge', syntax: 'integer', units: 'seconds', description: 'Age of the newest backup; -1 where there is none.', read: (r) => since(r.last_backup_ms, r.time_ms) },
  { name: 'ForwardingWaiting', syntax: 'gauge', description: 'Messages that wait for their destinations.', read: (r) => r.forwarding_waiting },
  { name: 'SnmpRequestsRefused', syntax: 'counter64', units: 'requests', description: 'Of hosts that are not allowed, since the service began.', read: (r) => r.snmp_requests_refused },
];

const table = <Row extends object>(
  name: string,
  description: string,
  rows: (report: HealthReport) => readonly Row[],
  columns: readonly ObjectDeclaration<Row>[],
) => ({ name, description, columns, rows }) as unknown as TableDeclaration;

/** Their first column is the index: a number from 1 in the order of the list. */
// biome-ignore format: tables
export const TABLES: readonly TableDeclaration[] = [
  table('Interface', 'The mirror ports of the present capture.', ({ sensor }) => sensor.interfaces, [
    { name: 'Name', syntax: 'text', description: 'As the operating system calls it.', read: (row) => row.name },
    { name: 'Received', syntax: 'counter64', units: 'packets', description: 'That arrived.', read: (row) => row.received },
    { name: 'DroppedByKernel', syntax: 'counter64', units: 'packets', description: "For which the kernel's ring had no room.", read: (row) => row.dropped_by_kernel },
    { name: 'DroppedByInterface', syntax: 'counter64', units: 'packets', description: 'That the network card lost.', read: (row) => row.dropped_by_interface },
    { name: 'DroppedBySensor', syntax: 'counter64', units: 'packets', description: 'Lost in the sensor.', read: (row) => row.dropped_by_us },
  ]),
  table(
    'DropReason',
    'What was lost in the sensor, by reason.',
    ({ sensor }) => Object.entries(sensor.dropped_by_us).map(([reason, count]) => ({ reason, count })),
    [
      { name: 'Name', syntax: 'text', description: 'The reason.', read: (row) => row.reason },
      { name: 'Packets', syntax: 'counter64', units: 'packets', description: 'That were lost for it.', read: (row) => row.count },
    ],
  ),
  table('Volume', 'The volumes on which the appliance keeps its data.', ({ volumes }) => volumes, [
    { name: 'Path', syntax: 'text', description: 'A folder on it.', read: (row) => row.path },
    { name: 'Size', syntax: 'gauge', units: 'mebibytes', description: 'Its size.', read: (row) => mebibytes(row.total_bytes) },
    { name: 'Free', syntax: 'gauge', units: 'mebibytes', description: 'What is free.', read: (row) => mebibytes(row.free_bytes) },
    { name: 'Used', syntax: 'gauge', units: 'percent', description: 'What is not.', read: (row) => row.used_percent },
  ]),
];

/** What a trap or inform carries, in this order. */
export const NOTIFICATION_OBJECTS = [
  { name: 'NotificationKind', description: 'What is told of, in a word that never changes.' },
  { name: 'NotificationSeverity', description: 'critical, major, minor or warning.' },
  { name: 'NotificationTitle', description: 'What is told of.' },
  { name: 'NotificationDescription', description: 'What happened, and what to do about it.' },
] as const;

/** The branches below the enterprise number. */
export const BRANCHES = { notifications: 0, objects: 1, conformance: 2, scalars: 1, tables: 2, notification_objects: 3 } as const;

const SYNTAX: Readonly<Record<string, string>> = {
  text: 'DisplayString',
  gauge: 'Gauge32',
  counter64: 'Counter64',
  integer: 'Integer32',
  truth: 'TruthValue',
};

function syntaxOf(syntax: Syntax): string {
  return typeof syntax === 'string' ? SYNTAX[syntax] : `INTEGER { ${syntax.map((name, i) => `${name}(${i + 1})`).join(', ')} }`;
}

/** The MIB module (SMIv2, RFC 2578 to 2580) under an enterprise number. */
export function mibText(enterprise = DOCUMENTATION_NUMBER): string {
  const object = (name: string, { syntax, units, description }: Omit<ObjectDeclaration<never>, 'name' | 'read'>, at: string) =>
    `${name} OBJECT-TYPE
    SYNTAX      ${syntaxOf(syntax)}
${units === undefined ? '' : `    UNITS       "${units}"\n`}    MAX-ACCESS  read-only
    STATUS      current
    DESCRIPTION "${description}"
    ::= { ${at} }`;
  const scalars = SCALARS.map((one, i) => object(`otSensor${one.name}`, one, `otSensorScalars ${i + 1}`));
  const tables = TABLES.map(({ name, description, columns }, i) => {
    const entry = `otSensor${name}Entry`;
    const members = [
      `otSensor${name}Index Integer32`,
      ...columns.map((one) => `otSensor${name}${one.name} ${syntaxOf(one.syntax)}`),
    ];
    return [
      `otSensor${name}Table OBJECT-TYPE
    SYNTAX      SEQUENCE OF OtSensor${name}Entry
    MAX-ACCESS  not-accessible
    STATUS      current
    DESCRIPTION "${description}"
    ::= { otSensorTables ${i + 1} }`,
      `${entry} OBJECT-TYPE
    SYNTAX      OtSensor${name}Entry
    MAX-ACCESS  not-accessible
    STATUS      current
    DESCRIPTION "A row."
    INDEX       { otSensor${name}Index }
    ::= { otSensor${name}Table 1 }`,
      `OtSensor${name}Entry ::= SEQUENCE {\n${members.map((member) => `    ${member}`).join(',\n')}\n}`,
      `otSensor${name}Index OBJECT-TYPE
    SYNTAX      Integer32 (1..2147483647)
    MAX-ACCESS  not-accessible
    STATUS      current
    DESCRIPTION "Its place in the list."
    ::= { ${entry} 1 }`,
      ...columns.map((one, column) => object(`otSensor${name}${one.name}`, one, `${entry} ${column + 2}`)),
    ].join('\n\n');
  });
  const carried = NOTIFICATION_OBJECTS.map(
    ({ name, description }, i) => `otSensor${name} OBJECT-TYPE
    SYNTAX      DisplayString
    MAX-ACCESS  accessible-for-notify
    STATUS      current
    DESCRIPTION "${description}"
    ::= { otSensorNotificationObjects ${i + 1} }`,
  );
  const list = (names: readonly string[]) => names.map((name) => `        otSensor${name}`).join(',\n');
  const grouped = [
    ...SCALARS.map((one) => one.name),
    ...TABLES.flatMap(({ name, columns }) => columns.map((one) => name + one.name)),
  ];
  return `${NAME} DEFINITIONS ::= BEGIN

IMPORTS
    MODULE-IDENTITY, OBJECT-TYPE, NOTIFICATION-TYPE, enterprises, Integer32, Gauge32, Counter64
        FROM SNMPv2-SMI
    DisplayString, TruthValue
        FROM SNMPv2-TC
    MODULE-COMPLIANCE, OBJECT-GROUP, NOTIFICATION-GROUP
        FROM SNMPv2-CONF;

otSensorMIB MODULE-IDENTITY
    LAST-UPDATED "${LAST_UPDATED}"
    ORGANIZATION "ot-sensor"
    CONTACT-INFO "The operator of the appliance."
    DESCRIPTION  "The health of a passive OT traffic sensor and its appliance."
    REVISION     "${LAST_UPDATED}"
    DESCRIPTION  "First version."
    ::= { enterprises ${enterprise} }

otSensorNotifications OBJECT IDENTIFIER ::= { otSensorMIB ${BRANCHES.notifications} }
otSensorObjects OBJECT IDENTIFIER ::= { otSensorMIB ${BRANCHES.objects} }
otSensorConformance OBJECT IDENTIFIER ::= { otSensorMIB ${BRANCHES.conformance} }
otSensorScalars OBJECT IDENTIFIER ::= { otSensorObjects ${BRANCHES.scalars} }
otSensorTables OBJECT IDENTIFIER ::= { otSensorObjects ${BRANCHES.tables} }
otSensorNotificationObjects OBJECT IDENTIFIER ::= { otSensorObjects ${BRANCHES.notification_objects} }

${[...scalars, ...tables, ...carried].join('\n\n')}

otSensorNotification NOTIFICATION-TYPE
    OBJECTS {
${list(NOTIFICATION_OBJECTS.map((one) => one.name))}
    }
    STATUS      current
    DESCRIPTION "The appliance tells something of itself."
    ::= { otSensorNotifications 1 }

otSensorObjectGroup OBJECT-GROUP
    OBJECTS {
${list([...grouped, ...NOTIFICATION_OBJECTS.map((one) => one.name)])}
    }
    STATUS      current
    DESCRIPTION "All objects."
    ::= { otSensorConformance 1 }

otSensorNotificationGroup NOTIFICATION-GROUP
    NOTIFICATIONS { otSensorNotification }
    STATUS      current
    DESCRIPTION "All notifications."
    ::= { otSensorConformance 2 }

otSensorCompliance MODULE-COMPLIANCE
    STATUS      current
    DESCRIPTION "What every agent has."
    MODULE
        MANDATORY-GROUPS { otSensorObjectGroup, otSensorNotificationGroup }
    ::= { otSensorConformance 3 }

END
`;
}
