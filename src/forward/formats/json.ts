import { NOTIFICATION_KINDS, type NotificationKind } from '../../appliance/notification-kinds.ts';
import { kindOf } from '../../detect/catalogue.ts';
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
export const lineOf = (value: unknown): string =>
  JSON.stringify(value).replace(
    /[\x7f-\x9f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

export const jsonLine = (item: ForwardItem, identity: Identity): string => lineOf(jsonObject(item, identity));

/**
 * The same with what the reference product's extended webhook has besides, under its names. It numbers sensors, sites and zones; here they
 * are told apart by name, and the name is the id. What was just raised is not handled yet.
 */
export function extendedObject(item: ForwardItem, identity: Identity): Record<string, unknown> {
  const { from, to } = item;
  const zone = from.zone || to.zone;
  const remediation =
    item.what === 'notification'
      ? [NOTIFICATION_KINDS[item.kind as NotificationKind]?.what_to_do ?? ''].filter((step) => step !== '')
      : kindOf(item.kind).remediation;
  return {
    ...jsonObject(item, identity),
    sensorID: identity.sensor,
    sensorName: identity.sensor,
    zoneID: zone,
    zoneName: zone,
    siteID: identity.site,
    siteName: identity.site,
    sourceDeviceAddress: from.ip || from.mac,
    destinationDeviceAddress: to.ip || to.mac,
    remediationSteps: remediation,
    handled: false,
    additionalInformation: item.details,
  };
}

/** For syslog: the JSON as MSG of RFC 5424, without structured data. */
export const json = (item: ForwardItem, identity: Identity): string =>
  `${rfc5424Header(item, identity)} - ${jsonLine(item, identity)}`;
