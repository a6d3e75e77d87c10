import type { AddressRow, AttributeRow, ChangeSet, DeviceRow } from '../store/change-set.ts';
import type { KnownDevice } from '../store/snapshot.ts';
import { mainAddresses } from './address-records.ts';
import { NO_ATTRIBUTES, NO_PARTS, shown, unitsOf } from './attributes.ts';
import { isRouter } from './conduct.ts';
import type { AddressRecord, AttributeValue, Device, Place } from './entities.ts';

// A device as the store has it, out and in.

/** Name of the zone of a device by its main address; '' none. */
export type ZoneOf = (ip: string, mac: string, segment: string) => string;

/** A device's behaviour as its row keeps it, in JSON. */
type StoredBehaviour = Pick<Device, 'deeds' | 'redundancy' | 'chassis'>;

/** What of the device is to be stored, into `changes`; from then on it is. */
export function drainDevice(device: Device, changes: ChangeSet, zoneOf: ZoneOf): void {
  const whole = device.reset || !device.stored;
  if (device.reset && device.stored) changes.device_resets.push(device.id);
  if (whole || device.changed) changes.devices.push(rowOf(device, zoneOf));
  else changes.device_times.push(device.last_ms, device.id);
  const device_id = device.id;
  if (whole || device.dirty_faces) {
    for (const { segment, mac, vendor, router, first_ms, last_ms } of device.faces) {
      changes.interfaces.push({ device_id, segment, mac, vendor, router, first_ms, last_ms });
    }
  }
  if (whole || device.dirty_addresses) {
    for (const { place, ...record } of device.addresses) {
      changes.addresses.push({ device_id, segment: place.segment, ip: place.ip, ...record });
    }
  }
  if (whole || device.dirty_attributes) {
    for (const values of device.attributes.values()) for (const value of values) changes.attributes.push({ device_id, ...value });
  }
  if (whole || device.dirty_parts) for (const part of device.parts.values()) changes.parts.push({ device_id, ...part });
  device.stored = true;
  device.dirty = false;
  device.changed = false;
  device.reset = false;
  device.dirty_faces = false;
  device.dirty_addresses = false;
  device.dirty_attributes = false;
  device.dirty_parts = false;
}

function rowOf(device: Device, zoneOf: ZoneOf): DeviceRow {
  const { ip, mac, segment } = mainAddresses(device);
  return {
    id: device.id,
    first_ms: device.first_ms,
    last_ms: device.last_ms,
    first_frame: device.first_frame,
    capture_id: device.capture_id,
    name: shown(device, 'name'),
    type: device.type,
    type_reason: device.type_reason,
    purdue_level: device.purdue_level,
    programming_station: device.programming_reason !== '',
    programming_reason: device.programming_reason,
    router: isRouter(device),
    gateway: device.type === 'gateway' || unitsOf(device).length > 1,
    vendor: shown(device, 'vendor'),
    model: shown(device, 'model') || shown(device, 'order_code'),
    firmware: shown(device, 'firmware'),
    serial: shown(device, 'serial'),
    mac,
    ip,
    segment,
    zone: zoneOf(ip, mac, segment),
    behaviour: JSON.stringify({ deeds: device.deeds, redundancy: device.redundancy, chassis: device.chassis }),
  };
}

export function deviceFrom(row: KnownDevice): Device {
  const device = blankDevice(row.id, row.first_ms, row.first_frame, row.capture_id);
  device.last_ms = row.last_ms;
  device.type = row.type;
  device.type_reason = row.type_reason;
  device.purdue_level = row.purdue_level;
  device.programming_reason = row.programming_reason;
  // What an earlier release did not keep is learned again.
  const { deeds = [], redundancy = '', chassis = '' } = JSON.parse(row.behaviour) as Partial<StoredBehaviour>;
  device.deeds = deeds;
  device.redundancy = redundancy;
  device.chassis = chassis;
  device.stored = true;
  return device;
}

// Field by field: to copy an object of the database's costs more than to make one.

export function attributeOf(row: AttributeRow): AttributeValue {
  return {
    part: row.part,
    attribute: row.attribute,
    value: row.value,
    app_proto: row.app_proto,
    field: row.field,
    ip: row.ip,
    current: row.current,
    preferred: row.preferred,
    first_ms: row.first_ms,
    last_ms: row.last_ms,
    first_frame: row.first_frame,
    capture_id: row.capture_id,
  };
}

export function recordFrom(row: AddressRow, place: Place): AddressRecord {
  return {
    place,
    mac: row.mac,
    via_mac: row.via_mac,
    how: row.how,
    current: row.current,
    first_ms: row.first_ms,
    last_ms: row.last_ms,
    first_frame: row.first_frame,
    capture_id: row.capture_id,
  };
}

export function blankDevice(id: number, time_ms: number, frame: number, capture_id: number): Device {
  return {
    id,
    first_ms: time_ms,
    last_ms: time_ms,
    first_frame: frame,
    capture_id,
    faces: [],
    addresses: [],
    attributes: NO_ATTRIBUTES,
    parts: NO_PARTS,
    deeds: [],
    redundancy: '',
    type: 'unknown',
    type_reason: '',
    purdue_level: null,
    programming_reason: '',
    chassis: '',
    serial_key: '',
    event_counts: null,
    stored: false,
    dirty: false,
    changed: false,
    reset: false,
    dirty_faces: false,
    dirty_addresses: false,
    dirty_attributes: false,
    dirty_parts: false,
  };
}
