import type { ForwardItem, Identity, ItemEnd } from '../item.ts';
import { hostText, titleCase } from '../text.ts';
import { endText } from './end.ts';
import { type FormatOptions, PRI } from './format.ts';
import { bsdTime } from './time.ts';

/**
 * One line for people, in the field order that rules for this kind of product are written for, behind a header of RFC 3164. Fields are
 * separated by `; `, so a semicolon within one becomes a comma.
 */
export function text(item: ForwardItem, identity: Identity, { time_zone }: FormatOptions): string {
  const end = (role: string, { name, ip, mac, port }: ItemEnd): [string, string][] => [
    [role, name || ip || mac || 'N/A'],
    [`${role} IP`, ip || 'N/A'],
    ['Protocol', item.protocol],
    ['Address', ip === '' || port !== 0 ? endText(ip, mac, port) : ''],
  ];
  const fields: [string, string][] = [
    ['Type', titleCase(item.engine)],
    ['Severity', titleCase(item.severity)],
    ...end('Source', item.from),
    ...end('Destination', item.to),
    ['Message', item.message],
    ['Alert group', item.category],
    ['UUID', item.uuid],
  ];
  const separable = (value: string): string => value.replaceAll(';', ',');
  const labelled = fields.filter(([, value]) => value !== '').map(([label, value]) => `${label}: ${separable(value)}`);
  const words = [separable(identity.sensor), separable(item.title), ...labelled];
  const host = hostText(identity.sensor);
  return `<${PRI}>${bsdTime(item.time_ms, time_zone)} ${host} ot-sensor: ${words.join('; ')}`;
}
