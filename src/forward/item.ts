import { createHash } from 'node:crypto';
import type { SystemNotification } from '../appliance/notifications.ts';
import { alertKind, type Engine, type Severity } from '../detect/catalogue.ts';
import type { StoredAlert, StoredDevice } from '../store/queries.ts';
import { cutText, plain } from './text.ts';

/** Where items lie; each is in the order of its ids. */
export const SOURCES = ['notifications', 'alerts'] as const;
export type ItemSource = (typeof SOURCES)[number];

/** One end of what an alert is about; '' and 0 where it is not known. */
export interface ItemEnd {
  ip: string;
  mac: string;
  port: number;
  zone: string;
  /** Of the device, as the inventory has it. */
  name: string;
  vendor: string;
}

/**
 * What is forwarded: an alert, a notification of the appliance, or a test. All text is one line of plain text, bounded in length,
 * whatever was in the packets.
 */
export interface ForwardItem {
  what: 'alert' | 'notification' | 'test';
  /** In its source. */
  id: number;
  /** The same whenever this item is sent again (RFC 9562, version 5). */
  uuid: string;
  time_ms: number;
  kind: string;
  title: string;
  message: string;
  severity: Severity;
  engine: Engine;
  category: string;
  protocol: string;
  operation: string;
  technique: string;
  from: ItemEnd;
  to: ItemEnd;
  details: Readonly<Record<string, unknown>>;
}

/** Who forwards: it stands in the envelopes. */
export interface Identity {
  sensor: string;
  site: string;
  /** An address of the appliance. */
  address: string;
  version: string;
  /** Private enterprise number (IANA) in names of structured data. */
  enterprise_number: number;
}

const NO_END: ItemEnd = { ip: '', mac: '', port: 0, zone: '', name: '', vendor: '' };
const MAX_TITLE_BYTES = 256;
const MAX_NAME_BYTES = 128;
const MAX_MESSAGE_BYTES = 4096;

const name = (text: string): string => cutText(plain(text), MAX_NAME_BYTES);

/** `appliance`: the UUID of this appliance, so that no two appliances make the same. `key`: what tells apart rows of the same id after a database was emptied. */
export function itemUuid(appliance: string, what: ForwardItem['what'], id: number, key: string): string {
  const hash = createHash('sha1')
    .update(Buffer.from(appliance.replaceAll('-', ''), 'hex'))
    .update(`${what} ${id} ${key}`);
  const bytes = hash.digest().subarray(0, 16);
  bytes[6] = (bytes[6] & 0x0f) | 0x50;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** `device` finds a device of the inventory; null where it is not there any more. */
export function itemOfAlert(alert: StoredAlert, appliance: string, device: (id: number) => StoredDevice | null): ForwardItem {
  const { engine, category } = alertKind(alert.kind);
  const end = (which: 'source' | 'destination'): ItemEnd => {
    const id = alert[`${which}_device`];
    const known = id === null ? null : device(id);
    return {
      ip: name(alert[`${which}_ip`]),
      mac: name(alert[`${which}_mac`]),
      port: alert[`${which}_port`],
      zone: name(alert[`${which}_zone`]),
      name: name(known?.name ?? ''),
      vendor: name(known?.vendor ?? ''),
    };
  };
  return {
    what: 'alert',
    id: alert.id,
    uuid: itemUuid(appliance, 'alert', alert.id, `${alert.first_ms} ${alert.key}`),
    time_ms: alert.first_ms,
    kind: alert.kind,
    title: cutText(plain(alert.title), MAX_TITLE_BYTES),
    message: cutText(plain(alert.description), MAX_MESSAGE_BYTES),
    severity: alert.severity as Severity,
    engine,
    category,
    protocol: name(alert.app_proto || alert.proto),
    operation: name(alert.operation),
    technique: name(alert.technique),
    from: end('source'),
    to: end('destination'),
    details: alert.details,
  };
}

export function itemOfNotification(notification: SystemNotification, appliance: string): ForwardItem {
  const { id, kind, title, description, severity, details, first_ms } = notification;
  return {
    what: 'notification',
    id,
    uuid: itemUuid(appliance, 'notification', id, `${first_ms} ${kind}`),
    time_ms: first_ms,
    kind,
    title: cutText(plain(title), MAX_TITLE_BYTES),
    message: cutText(plain(description), MAX_MESSAGE_BYTES),
    severity: severity as Severity,
    engine: 'operational',
    category: 'System',
    protocol: '',
    operation: '',
    technique: '',
    from: NO_END,
    to: NO_END,
    details,
  };
}

/** Marked as a test in every format: its title begins with "Test", its kind is `test`. */
export function testItem(destination: string, appliance: string, time_ms: number): ForwardItem {
  return {
    what: 'test',
    id: 0,
    uuid: itemUuid(appliance, 'test', 0, `${time_ms} ${destination}`),
    time_ms,
    kind: 'test',
    title: 'Test message',
    message: `Test of the destination ${name(destination)}. Nothing has happened; nothing is to be done.`,
    severity: 'warning',
    engine: 'operational',
    category: 'Test',
    protocol: '',
    operation: '',
    technique: '',
    from: NO_END,
    to: NO_END,
    details: {},
  };
}
