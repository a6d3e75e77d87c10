import { CATALOGUE } from '../detect/catalogue.ts';
import { DEFAULT_LIMITS } from '../inventory/entities.ts';
import { numberText } from '../number-text.ts';
import type { ReplayResult } from '../sensor/replay.ts';
import { StoreReader } from '../store/queries.ts';
import { DEFAULT_DATA, endText } from './data.ts';
import { Output } from './output.ts';
import { type Format, jsonText, tableText } from './table.ts';

const ROWS = 12;

/** What a replay found: devices, protocols, zone crossings, alerts, packets a second, and what was lost on the way. */
export async function printSummary(
  result: ReplayResult,
  { data, zones, format }: { data: string; zones?: string; format: Format },
): Promise<void> {
  const output = new Output(process.stdout);
  const reader = new StoreReader(data);
  try {
    const { packets, duration_ms, counters } = result;
    const packets_per_second = Math.round((packets / Math.max(duration_ms, 1)) * 1000);
    const totals = reader.totals();
    const devices = reader.devices({ limit: ROWS }).rows;
    const protocols = reader
      .protocolTotals()
      .map(({ app_proto, proto, conversations, packets }): [string, object] => [
        app_proto || `${proto} (unrecognised)`,
        { conversations, packets },
      ]);
    const crossings = reader.alerts({ kind: 'zone_crossing', limit: ROWS }).rows;
    const found = new Map(reader.alertTotals().map((total) => [total.kind, total]));
    const kinds = CATALOGUE.flatMap(({ kind, title, severity }) => {
      const total = found.get(kind);
      return total === undefined ? [] : [{ severity, alert: title, alerts: total.alerts, times: total.times }];
    });
    const crossing_count = found.get('zone_crossing')?.alerts ?? 0;
    if (format !== 'table') {
      const summary = {
        packets,
        duration_ms,
        packets_per_second,
        totals,
        protocols: Object.fromEntries(protocols),
        alerts: kinds,
        counters,
      };
      return output.write(`${jsonText(summary, format === 'json' ? 2 : undefined)}\n`);
    }
    const some = <T>(rows: readonly T[], show: (row: T) => object, total = rows.length) =>
      rows.length === 0
        ? ''
        : indent(tableText(rows.slice(0, ROWS).map(show))) + (total > ROWS ? `    … and ${numberText(total - ROWS)} more\n` : '');
    const where = data === DEFAULT_DATA ? '' : ` --data ${/^[\w./-]+$/.test(data) ? data : `'${data}'`}`;
    // In a checkout, npm runs us, and what it ran is not in the PATH.
    const command = process.env.npm_execpath === undefined ? 'ot-sensor' : 'npx ot-sensor';
    const parts = [
      `${numberText(packets)} packets in ${(duration_ms / 1000).toFixed(2)} s: ${numberText(packets_per_second)} packets a second\n`,
      `\nDevices: ${numberText(totals.devices)}\n`,
      some(
        devices,
        ({ id, name, type, programming_station, ip, mac, vendor, model, zone }) => ({
          id,
          name,
          type: programming_station ? `${type} (programs)` : type,
          address: ip || mac,
          vendor,
          model,
          zone,
        }),
        totals.devices,
      ),
      `\nProtocols: ${protocols.length}\n`,
      some(protocols, ([protocol, row]) => ({ protocol, ...row })),
      zones === undefined
        ? '\nZone crossings: no zone policy was given (--zones FILE)\n'
        : `\nZone crossings: ${numberText(crossing_count)}\n`,
      some(
        crossings,
        (row) => ({
          alert: row.id,
          from: `${endText(row.source_ip, row.source_mac)} (${row.source_zone})`,
          to: `${endText(row.destination_ip, row.destination_mac, row.destination_port)} (${row.destination_zone})`,
          what: [row.app_proto || row.proto, row.operation].filter(Boolean).join(' '),
          times: row.count,
        }),
        crossing_count,
      ),
      `\nAlerts: ${numberText(totals.alerts)}\n`,
      some(kinds, (row) => row),
      lost(counters),
      `\nMore: ${command} devices | connections | alerts | events${where}; the packets behind an alert: ${command} evidence ALERT --out FILE.pcap${where}\n`,
    ];
    await output.write(parts.join(''));
  } finally {
    reader.close();
  }
}

/** Counters that say that something was not looked at, in words. */
const LOSSES: Readonly<Record<string, string>> = {
  'decode.malformed': 'packets with a malformed header',
  'decode.truncated': 'packets cut short by the capture (snap length)',
  'tcp.gaps': 'gaps in TCP streams',
  'framing.resynchronisations': 'places where a stream had to be resynchronised',
  'flow.evicted': 'flows evicted from a full table',
  'dissect.failures': 'PDUs whose dissector failed (please report)',
  'dissect.rows_dropped': 'records beyond the limit a PDU',
  'facts.dropped': 'facts dropped',
  'alerts.refused': 'findings beyond the limit of alerts',
  'evidence.refused': 'packets beyond the limits of evidence',
  'inventory.devices_refused': `devices beyond the limit of ${numberText(DEFAULT_LIMITS.devices)}`,
  'inventory.devices_without_mac_refused': `hosts behind routers beyond the limit of ${numberText(DEFAULT_LIMITS.devices_without_mac)}`,
  'inventory.addresses_refused': 'addresses beyond the limits',
  'inventory.flows_forgotten': `flows that were no longer followed beyond ${numberText(DEFAULT_LIMITS.flows)} at a time`,
  'inventory.connections_refused': `flows without a connection beyond the limit of ${numberText(DEFAULT_LIMITS.connections)}`,
  'inventory.activities_refused': 'activities beyond the limits',
};

function lost(counters: Readonly<Record<string, number>>): string {
  const rows = Object.entries(LOSSES).filter(([name]) => (counters[name] ?? 0) > 0);
  if (rows.length === 0) return '';
  return `\nNot seen, or not in full:\n${rows.map(([name, words]) => `    ${numberText(counters[name])} ${words}\n`).join('')}`;
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, '    ');
}
