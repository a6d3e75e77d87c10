import fs from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fixture, ot, PLANT, PROGRAM, remove, temporaryFolder, ZONES } from '../cli/testing.ts';

// The same capture once more into the same database tells nothing new: the same rows, and everything counted twice.

const CAPTURES: Record<string, string> = {
  plant: PLANT,
  // Conversations that are first tpkt, then cotp, then s7comm: what was counted before goes along.
  's7comm behind its carriers': fixture('s7comm/snap7-client.pcap'),
  modbus: fixture('modbus/pymodbus-functions.pcap'),
  'units behind a gateway': fixture('modbus/modbus-serial-gateway.pcap'),
  dnp3: fixture('dnp3/opendnp3.pcap'),
  lldp: fixture('lldp/lldpd.pcap'),
  dhcp: fixture('dhcp/dnsmasq.pcap'),
};

let folder: string;

beforeAll(() => {
  if (!fs.existsSync(PROGRAM))
    throw new Error(`${PROGRAM} is missing: the program is not built; run npm run build (npm test does)`);
  folder = temporaryFolder();
});

afterAll(() => folder && remove(folder));

/** Rows by what they are about, without their ids; counters times `times`. */
function rows(data: string, times: number): Record<string, unknown[]> {
  const file = fs.readdirSync(data).find((name) => name.endsWith('.db'));
  const db = new Database(path.join(data, file!), { readonly: true });
  try {
    const all = (sql: string) => db.prepare(sql).all();
    return {
      devices: all(
        `SELECT id, name, type, type_reason, purdue_level, programming_station, router, gateway, vendor, model, firmware, serial, mac, ip,
         segment, zone, first_ms, last_ms, first_frame, capture_id FROM devices WHERE merged_into IS NULL ORDER BY id`,
      ),
      addresses: all('SELECT * FROM addresses ORDER BY device_id, ip, segment, mac'),
      attributes: all('SELECT * FROM attributes ORDER BY device_id, part, attribute, app_proto, field, value'),
      parts: all('SELECT * FROM parts ORDER BY device_id, part'),
      connections: all(
        `SELECT segment, proto, app_proto, opener_device, opener_mac, opener_ip, responder_device, responder_mac, responder_ip,
         server_port, client, ethertype, flows * ${times} AS flows, packets_from_opener * ${times} AS packets_from_opener,
         packets_from_responder * ${times} AS packets_from_responder, bytes_from_opener * ${times} AS bytes_from_opener,
         bytes_from_responder * ${times} AS bytes_from_responder, first_ms, last_ms, first_frame FROM connections
         ORDER BY segment, proto, opener_ip, opener_mac, responder_ip, responder_mac, server_port, app_proto`,
      ),
      activities: all(
        `SELECT opener_ip, opener_mac, responder_ip, responder_mac, server_port, a.app_proto, operation, from_opener, role, target,
         target_first, target_last, unit, unit_name, count * ${times} AS count, a.first_ms, a.last_ms, a.first_frame
         FROM activities a JOIN connections c ON c.id = connection_id
         ORDER BY segment, proto, opener_ip, opener_mac, responder_ip, responder_mac, server_port, c.app_proto, a.app_proto, operation,
         from_opener, role, target, unit`,
      ),
      // A device is new once.
      alerts: all(
        `SELECT key, kind, severity, source_device, destination_device, details, count * iif(kind = 'new_device', 1, ${times}) AS count,
         first_ms, last_ms, first_frame, (SELECT count(*) FROM evidence WHERE alert_id = alerts.id) AS evidence
         FROM alerts ORDER BY key`,
      ),
      events: all(`SELECT kind, device_id, title FROM events WHERE kind = 'device_detected' ORDER BY id`),
    };
  } finally {
    db.close();
  }
}

describe('a second replay into the same database', () => {
  test.each(Object.entries(CAPTURES))(
    '%s: the same rows, counts doubled',
    async (name, capture) => {
      const data = path.join(folder, name.replaceAll(' ', '-'));
      const replay = async () => {
        const { code, stderr } = await ot(['replay', capture, '--zones', ZONES, '--data', data]);
        expect(code, stderr).toBe(0);
      };
      await replay();
      const expected = rows(data, 2);
      expect(expected.devices.length).toBeGreaterThan(0);
      expect(expected.connections.length).toBeGreaterThan(0);
      await replay();
      const found = rows(data, 1);
      for (const [table, list] of Object.entries(expected)) expect(found[table], table).toEqual(list);
    },
    60_000,
  );
});
