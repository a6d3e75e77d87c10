import type { FastifyInstance } from 'fastify';
import { Gauge, Registry } from 'prom-client';
import type { HealthReport } from '../health/health.ts';
import type { ApiContext } from './context.ts';

/** Counts of a capture begin anew with each start, so all are gauges of the present capture. */
const METRICS: readonly [name: string, help: string, labels: string[], read: (report: HealthReport) => [object, number][]][] = [
  ['up', 'Whether the sensor is running.', [], ({ sensor }) => [[{}, Number(sensor.running)]]],
  ['packets_received', 'Packets that arrived since the capture began.', [], ({ sensor }) => [[{}, sensor.received]]],
  ['packets_inspected', 'Packets that were inspected.', [], ({ sensor }) => [[{}, sensor.inspected]]],
  ['packets_headers_only', 'Packets whose payload was left out to keep up.', [], ({ sensor }) => [[{}, sensor.headers_only]]],
  ['bytes', 'Bytes that were inspected.', [], ({ sensor }) => [[{}, sensor.bytes]]],
  [
    'packets_dropped',
    'Packets that were lost, by where.',
    ['reason'],
    ({ sensor }) => [
      [{ reason: 'kernel' }, sensor.dropped_by_kernel],
      ...Object.entries(sensor.dropped_by_us).map(([reason, count]): [object, number] => [{ reason }, count]),
    ],
  ],
  [
    'interface_packets_received',
    'Packets that arrived on a mirror port.',
    ['interface'],
    ({ sensor }) => sensor.interfaces.map(({ name, received }) => [{ interface: name }, received]),
  ],
  [
    'interface_packets_dropped',
    'Packets of a mirror port that were lost.',
    ['interface'],
    ({ sensor }) =>
      sensor.interfaces.map(({ name, ...lost }) => [
        { interface: name },
        lost.dropped_by_kernel + lost.dropped_by_interface + lost.dropped_by_us,
      ]),
  ],
  [
    'last_packet_timestamp_seconds',
    'Time of the last packet.',
    [],
    ({ sensor }) => (sensor.last_packet_ms === null ? [] : [[{}, sensor.last_packet_ms / 1000]]),
  ],
  ['stored_rows', 'Rows of the database.', ['table'], ({ stored }) => Object.entries(stored).map(([table, n]) => [{ table }, n])],
  [
    'alerts_open',
    'Open alerts.',
    ['severity'],
    ({ open_alerts }) => Object.entries(open_alerts).map(([severity, n]) => [{ severity }, n]),
  ],
  ['notifications_open', 'Open system notifications.', [], (report) => [[{}, report.open_notifications]]],
  ['snmp_requests_refused', 'SNMP requests of hosts that are not allowed.', [], (report) => [[{}, report.snmp_requests_refused]]],
  ['volume_free_bytes', 'Free space.', ['path'], ({ volumes }) => volumes.map(({ path, free_bytes }) => [{ path }, free_bytes])],
  [
    'volume_total_bytes',
    'Size of a volume.',
    ['path'],
    ({ volumes }) => volumes.map(({ path, total_bytes }) => [{ path }, total_bytes]),
  ],
  ['memory_available_bytes', 'Available memory.', [], ({ memory }) => [[{}, memory.available_bytes]]],
  [
    'certificate_expiry_timestamp_seconds',
    'When the certificate of the API expires.',
    [],
    (report) => (report.certificate_expires_ms === null ? [] : [[{}, report.certificate_expires_ms / 1000]]),
  ],
];

/** `/metrics` in Prometheus's text format, from the health report. */
export function metrics(app: FastifyInstance, { health }: ApiContext): void {
  const registry = new Registry();
  const gauges = METRICS.map(
    ([name, help, labelNames]) => new Gauge({ name: `ot_sensor_${name}`, help, labelNames, registers: [registry] }),
  );
  app.get(
    '/metrics',
    {
      config: { permission: 'health.read' },
      schema: { tags: ['health'], summary: "Metrics in Prometheus's text format", produces: ['text/plain'] },
    },
    async (_, reply) => {
      const report = health.report();
      METRICS.forEach(([, , , read], i) => {
        gauges[i].reset();
        for (const [labels, value] of read(report)) gauges[i].set(labels as Record<string, string>, value);
      });
      return reply.type(registry.contentType).send(await registry.metrics());
    },
  );
}
