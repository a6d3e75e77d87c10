import type { ForwardItem, Identity } from '../item.ts';
import { hostText } from '../text.ts';
import { PRI } from './format.ts';
import { isoTime } from './time.ts';

/** UTF-8 in MSG begins with it (§6.4). */
const BOM = '\ufeff';

/** §6.3.3: `"`, `\` and `]` have a `\` before them. */
const parameter = (value: string): string => value.replace(/["\\\]]/g, '\\$&');

/** All but structured data and MSG (§6.2). MSGID is the kind, at most 32 characters. */
export const rfc5424Header = (item: ForwardItem, identity: Identity): string =>
  `<${PRI}>1 ${isoTime(item.time_ms)} ${hostText(identity.sensor)} ot-sensor - ${item.kind.slice(0, 32)}`;

/** RFC 5424 with everything in structured data, under the names of the API; in MSG title and message for people. */
export function rfc5424(item: ForwardItem, identity: Identity): string {
  const { from, to } = item;
  const parameters: Record<string, string> = {
    uuid: item.uuid,
    sensor: identity.sensor,
    site: identity.site,
    title: item.title,
    severity: item.severity,
    engine: item.engine,
    category: item.category,
    protocol: item.protocol,
    operation: item.operation,
    technique: item.technique,
    source_ip: from.ip,
    source_mac: from.mac,
    source_port: from.port === 0 ? '' : String(from.port),
    source_zone: from.zone,
    source_name: from.name,
    destination_ip: to.ip,
    destination_mac: to.mac,
    destination_port: to.port === 0 ? '' : String(to.port),
    destination_zone: to.zone,
    destination_name: to.name,
  };
  const pairs = Object.entries(parameters)
    .filter(([, value]) => value !== '')
    .map(([key, value]) => ` ${key}="${parameter(value)}"`);
  const data = `[${item.what}@${identity.enterprise_number}${pairs.join('')}]`;
  return `${rfc5424Header(item, identity)} ${data} ${BOM}${item.title}: ${item.message}`;
}
