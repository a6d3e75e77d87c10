import type { ForwardItem, Identity } from '../item.ts';
import { rfc5424Header } from './rfc5424.ts';
import { isoTime } from './time.ts';

/** The item under the names of the API; what webhooks post and files hold a line of. */
export function jsonObject(item: ForwardItem, identity: Identity): Record<string, unknown> {
  const { from, to } = item;
  return {
    uuid: item.uuid,
    sensor: identity.sensor,
    site: identity.site,
    sensor_version: identity.version,
    what: item.what,
    id: item.id,
    timestamp: isoTime(item.time_ms),
    kind: item.kind,
    title: item.title,
    message: item.message,
    severity: item.severity,
    engine: item.engine,
    category: item.category,
    protocol: item.protocol,
    operation: item.operation,
    technique: item.technique,
    source_ip: from.ip,
    source_mac: from.mac,
    source_port: from.port,
    source_zone: from.zone,
    source_name: from.name,
    source_vendor: from.vendor,
    destination_ip: to.ip,
    destination_mac: to.mac,
    destination_port: to.port,
    destination_zone: to.zone,
    destination_name: to.name,
    destination_vendor: to.vendor,
    details: item.details,
  };
}

/** One line of JSON. What JSON.stringify leaves as it is, and some reader takes for the end of a line or a command, is escaped. */
export const jsonLine = (item: ForwardItem, identity: Identity): string =>
  JSON.stringify(jsonObject(item, identity)).replace(
    /[\x7f-\x9f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

/** For syslog: the JSON as MSG of RFC 5424, without structured data. */
export const json = (item: ForwardItem, identity: Identity): string =>
  `${rfc5424Header(item, identity)} - ${jsonLine(item, identity)}`;
