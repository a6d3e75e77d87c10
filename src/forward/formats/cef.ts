import type { ForwardItem, Identity } from '../item.ts';
import { hostText, titleCase } from '../text.ts';
import { type FormatOptions, PRI } from './format.ts';
import { bsdTime, eventTime } from './time.ts';

/** Severity in the header: 0 … 10. */
const LEVEL = { warning: 1, minor: 4, major: 8, critical: 10 } as const;

/** In the header `|` and `\` have a `\` before them; in the extension `=` and `\`. */
const header = (value: string): string => value.replace(/[\\|]/g, '\\$&');
const extension = (value: string): string => value.replace(/[\\=]/g, '\\$&');

/** ArcSight Common Event Format, version 0, behind a header of RFC 3164 in UTC. */
export function cef(item: ForwardItem, identity: Identity, { time_zone }: FormatOptions): string {
  const { from, to } = item;
  const head = [
    'CEF:0',
    'ot-sensor',
    identity.sensor,
    identity.version,
    'ot-sensor Alert',
    item.title,
    String(LEVEL[item.severity]),
  ];
  const fields: Record<string, string> = {
    msg: item.message,
    protocol: item.protocol,
    severity: titleCase(item.severity),
    type: titleCase(item.engine),
    UUID: item.uuid,
    start: eventTime(item.time_ms, time_zone),
    src_ip: from.ip,
    src_mac: from.mac,
    dst_ip: to.ip,
    dst_mac: to.mac,
    cat: item.category,
  };
  const optional = ['src_ip', 'src_mac', 'dst_ip', 'dst_mac'];
  const pairs = Object.entries(fields)
    .filter(([key, value]) => value !== '' || !optional.includes(key))
    .map(([key, value]) => `${key}=${extension(value)}`);
  const time = bsdTime(item.time_ms, 'UTC');
  return `<${PRI}>${time} ${hostText(identity.sensor)} ${head.map(header).join('|')}|${pairs.join(' ')}`;
}
