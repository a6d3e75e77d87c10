import type { ForwardItem, Identity, ItemEnd } from '../item.ts';
import { titleCase } from '../text.ts';
import { type FormatOptions, PRI } from './format.ts';
import { bsdTime, eventTime } from './time.ts';

/**
 * The alert as an object: `key="value"` pairs behind a header of RFC 3164, in the reference's order and under its names. `"` and `\` in a
 * value have a `\` before them. What is not known of an end is `N/A`.
 */
export function object(item: ForwardItem, identity: Identity, { time_zone }: FormatOptions): string {
  const end = ({ mac, ip, name, vendor }: ItemEnd): string => [mac, ip, name, vendor].map((word) => word || 'N/A').join(', ');
  const fields: Record<string, string> = {
    sensor_name: identity.sensor,
    alert_time: eventTime(item.time_ms, time_zone),
    title: item.title,
    message: item.message,
    severity: titleCase(item.severity),
    type: titleCase(item.engine),
    protocol: item.protocol || 'N/A',
    Source_MAC: end(item.from),
    Destination_MAC: end(item.to),
    alert_group: item.category,
  };
  const pairs = Object.entries(fields).map(([key, value]) => `${key}="${value.replace(/[\\"]/g, '\\$&')}"`);
  return `<${PRI}>${bsdTime(item.time_ms, time_zone)} ${identity.address} ot-sensor: ${pairs.join(' ')}`;
}
