import { ot_sensor } from '../../proto/facts.js';
import type { ForwardItem, Identity } from '../item.ts';

/** The message `Forwarded` of the one schema (proto/facts.proto). */
export function protobuf(item: ForwardItem, { sensor, site, version }: Identity): Uint8Array {
  const { from, to, details, ...rest } = item;
  return ot_sensor.Forwarded.encode({
    ...rest,
    site,
    sensor,
    sensor_version: version,
    source: from,
    destination: to,
    details: JSON.stringify(details),
  }).finish();
}
