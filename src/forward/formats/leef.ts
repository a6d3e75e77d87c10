import type { ForwardItem, Identity } from '../item.ts';
import { titleCase } from '../text.ts';
import { type FormatOptions, PRI } from './format.ts';
import { bsdTime, eventTime } from './time.ts';

/**
 * IBM Log Event Extended Format 1.0, behind a header of RFC 3164 in UTC and the sensor's name. Attributes are separated by tabs, of which
 * no value has any: items are plain text. The header knows no escape, so a `|` there becomes a `/`.
 */
export function leef(item: ForwardItem, identity: Identity, { time_zone }: FormatOptions): string {
  const head = ['LEEF:1.0', 'ot-sensor', 'Sensor', identity.version, 'ot-sensor Alert'];
  const attributes: Record<string, string> = {
    title: item.title,
    msg: item.message,
    protocol: item.protocol,
    severity: titleCase(item.severity),
    type: titleCase(item.engine),
    start: eventTime(item.time_ms, time_zone),
    src_ip: item.from.ip,
    dst_ip: item.to.ip,
    cat: item.category,
  };
  const pairs = Object.entries(attributes).map(([key, value]) => `${key}=${value}`);
  const front = `<${PRI}>${bsdTime(item.time_ms, 'UTC')} ${identity.address} ${identity.sensor}`;
  return `${front} ${head.map((word) => word.replaceAll('|', '/')).join('|')}|${pairs.join('\t')}`;
}
