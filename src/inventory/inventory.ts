import { Operation, type OperationName } from '../dissect/operation.ts';
import type { ot_sensor } from '../proto/facts.js';
import { type AddressRow, type ChangeSet, type EventRow, emptyChangeSet } from '../store/change-set.ts';
import type { Snapshot } from '../store/queries.ts';
import {
  anyIp,
  anyMac,
  isHost,
  isPrivate,
  isStation,
  macBytes,
  macDistance,
  network,
  redundancyGroup,
  segmentText,
} from './address.ts';
import { keepRecord, labelOf, mainAddresses, recordAt, recordOf, strength } from './address-records.ts';
import { attributesOf, clean, partKind, partsOf, prefer, shown } from './attributes.ts';
import { programming, propose } from './classify.ts';
import { conductOf, deedOf } from './conduct.ts';
import { Conversations } from './conversations.ts';
import { attributeOf, blankDevice, deviceFrom, drainDevice, recordFrom, type ZoneOf } from './device-rows.ts';
import {
  type AddressRecord,
  type AttributeValue,
  type Claim,
  COUNTERS,
  DEFAULT_LIMITS,
  type Device,
  deviceOf,
  type End,
  type Face,
  type Flow,
  type InventoryCounters,
  type Limits,
  type Moment,
  newEnd,
  type Place,
} from './entities.ts';
import { Refused } from './refused.ts';
import type { VendorOf } from './vendor.ts';

/** Devices are detected, change their address, …: what happened, by which packet. */
export type InventoryEventKind =
  | 'device_detected'
  | 'address_changed'
  | 'attribute_changed'
  | 'router_recognised'
  | 'devices_merged'
  | 'type_changed';
export type InventoryEvent = EventRow & { kind: InventoryEventKind };

export interface InventoryOptions {
  vendorOf?: VendorOf;
  zoneOf?: ZoneOf;
  /** Called for each event at once, in the order of the packets; they are in the change set too. */
  onEvent?: (event: InventoryEvent) => void;
  limits?: Partial<Limits>;
}

/** Addresses that are not a MAC's own from which on it forwards for others. */
const ROUTER_ADDRESSES = 4;
/** IPv6 hosts have several prefixes by design (link-local, unique local, global). */
const ROUTER_PREFIXES = 3;
/** Addresses that were in use long ago do not tell of forwarding: one host may have had them one after the other. */
const ROUTER_WINDOW_MS = 24 * 3_600_000;
/** An address only seen in traffic passes to another MAC when its holder has been silent for so long. */
const IDLE_MS = 300_000;
/** Ports of a switch are numbered from its chassis; interfaces of a controller follow one another. */
const CHASSIS_DISTANCE = 256;
const SERIAL_DISTANCE = 16;
const HOUR_MS = 3_600_000;

/** What a device says of itself that tells its type, or helps to. */
const TELLING: ReadonlySet<string> = new Set(['device_type', 'name', 'model', 'order_code', 'mac']);
/**
 * Devices, connections and activities, as a function of the facts in packet order: the same sequence gives the same devices with the
 * same ids. It does no I/O and reads no clock. `drain()` gives what is new since the last call; with `load()` it goes on where a former
 * run ended, so that a capture replayed again adds no device.
 *
 * Only what sends is a device. A MAC in its segment is one; the addresses it speaks for are its own, until it turns out to forward for
 * others: then those become devices of their own, without an interface. An address may move from MAC to MAC, and leaves a record behind.
 */
export class Inventory {
  readonly counters = Object.fromEntries(COUNTERS.map((name) => [name, 0])) as InventoryCounters;
  readonly limits: Limits;
  readonly #vendorOf: VendorOf;
  #zoneOf: ZoneOf;
  readonly #onEvent: ((event: InventoryEvent) => void) | undefined;

  #capture_id = 0;
  #next_device_id = 1;
  readonly #refused = new Refused();
  #without_mac = 0;

  readonly #devices = new Map<number, Device>();
  readonly #faces = new Map<string, Face>();
  readonly #places = new Map<string, Place>();
  /** The same address in all segments. */
  readonly #places_by_ip = new Map<string, Place[]>();
  /** Networks of a segment whose hosts are met with MACs of their own: two of these devices, which is enough to know another one. */
  readonly #local = new Map<string, number[]>();
  readonly #by_chassis = new Map<string, Device>();
  readonly #by_serial = new Map<string, Device>();
  readonly #conversations: Conversations;

  readonly #dirty_devices = new Set<Device>();
  #reassignments: ChangeSet['reassignments'] = [];
  #gone: number[] = [];
  #events: InventoryEvent[] = [];

  constructor(options: InventoryOptions = {}) {
    this.limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#conversations = new Conversations(this.limits, this.counters);
    this.#vendorOf = options.vendorOf ?? (() => '');
    this.#zoneOf = options.zoneOf ?? (() => '');
    this.#onEvent = options.onEvent;
  }

  /** A new capture begins: frames count from 1 again, and flow ids with them. */
  begin(capture_id: number): void {
    this.#capture_id = capture_id;
    this.#conversations.begin();
  }

  /** Other zones hold: devices that are in another one now are written again. */
  setZones(zoneOf: InventoryOptions['zoneOf']): void {
    const before = this.#zoneOf;
    this.#zoneOf = zoneOf ?? (() => '');
    for (const device of this.#devices.values()) {
      const { ip, mac, segment } = mainAddresses(device);
      if (before(ip, mac, segment) !== this.#zoneOf(ip, mac, segment)) this.#touch(device);
    }
  }

  get device_count(): number {
    return this.#devices.size;
  }

  /** Rows that take memory until they are drained. */
  get pending(): number {
    return this.#events.length;
  }

  /** Connections and activities that changed. They are in memory anyway, so that waiting costs nothing and saves writing them again. */
  get pending_conversations(): number {
    return this.#conversations.pending;
  }

  /** One fact of a batch; those that concern no device (findings) are passed over. */
  take(fact: ot_sensor.Fact.$Properties): void {
    const at: Moment = { frame: fact.frame ?? 0, time_ms: fact.time_ms ?? 0 };
    if (fact.flow_update) this.connection(at, fact.flow_update);
    else if (fact.activity) this.activity(at, fact.activity);
    else if (fact.binding) this.sighting(at, fact.binding);
    else if (fact.flow_opened) this.opened(at, fact.flow_opened);
    else if (fact.attribute) this.attribute(at, fact.attribute);
  }

  /** An address was seen at a MAC. Answers the device's id, 0 where the endpoint is none. */
  sighting(at: Moment, binding: ot_sensor.Binding.$Properties): number {
    const { endpoint } = binding;
    if (!endpoint) return 0;
    const end = newEnd(endpoint);
    this.#see(at, segmentText(binding.vlan), end, binding.how ?? '');
    return deviceOf(end)?.id ?? 0;
  }

  opened(at: Moment, opened: ot_sensor.FlowOpened.$Properties): void {
    this.#conversations.open(at, opened);
  }

  /** What a conversation carried since the last update. */
  connection(at: Moment, update: ot_sensor.FlowUpdate.$Properties): void {
    const flow = this.#conversations.flow(update.flow_id ?? 0);
    if (!flow) return;
    const first_ms = update.first_ms || at.time_ms;
    const last_ms = update.last_ms || at.time_ms;
    const first: Moment = { frame: at.frame, time_ms: first_ms };
    if ((update.packets_from_opener ?? 0) > 0) {
      this.#sent({ frame: flow.first_frame, time_ms: Math.min(flow.first_ms, first_ms) }, last_ms, flow, flow.opener);
    }
    if ((update.packets_from_responder ?? 0) > 0) this.#sent(first, last_ms, flow, flow.responder);
    this.#conversations.update(flow, update, first_ms, last_ms);
    // Both have spoken a protocol that was recognised by its content: that alone says who serves and who uses.
    if (flow.app_proto && flow.client >= 0 && flow.packets_from_opener > 0 && flow.packets_from_responder > 0) {
      const [client, server] = flow.client === 0 ? [flow.opener, flow.responder] : [flow.responder, flow.opener];
      this.#deed(first, flow.segment, client, server, flow.app_proto, 'client', 0);
      this.#deed(first, flow.segment, server, client, flow.app_proto, 'server', 0);
    }
  }

  activity(at: Moment, activity: ot_sensor.Activity.$Properties): void {
    const flow = this.#conversations.flow(activity.flow_id ?? 0);
    if (!flow) return;
    const from_opener = activity.from_opener ?? false;
    const [sender, receiver] = from_opener ? [flow.opener, flow.responder] : [flow.responder, flow.opener];
    const operation = (activity.operation || 'other') as OperationName;
    const app_proto = activity.app_proto || flow.app_proto;
    const unit = activity.unit ?? -1;
    this.#conversations.recognise(flow, app_proto);
    const first: Moment = { frame: at.frame, time_ms: activity.first_ms || at.time_ms };
    const last_ms = activity.last_ms || at.time_ms;
    let role = activity.role || 'unknown';
    if (role === 'unknown' && flow.client >= 0) role = (flow.client === 0) === from_opener ? 'client' : 'server';

    this.#sent(first, last_ms, flow, sender);
    if (role === 'client' || role === 'server') {
      // An error is no sign that the operation is served, nor that the unit exists.
      const done = operation === 'error' ? 0 : 1 << (Operation[operation] ?? Operation.other);
      this.#deed(first, flow.segment, sender, receiver, app_proto, role, done);
      if (role === 'server' && done && unit >= 0) {
        const device = deviceOf(sender);
        const kind = activity.unit_name || 'unit';
        // MODBUS Messaging on TCP/IP V1.0b, 4.4.2.1: 0xFF (and 0) address the server itself, not something behind it.
        const itself = kind === 'unit' && (unit === 255 || unit === 0);
        if (device && !itself) this.#part(first, device, `${kind} ${unit}`, sender.ip, app_proto);
      }
    }
    this.#conversations.record(flow, activity, app_proto, operation, role, first, last_ms);
  }

  /** Something a PDU told about the device at an endpoint. */
  attribute(at: Moment, fact: ot_sensor.DeviceAttribute.$Properties): void {
    if (!fact.endpoint || !fact.attribute) return;
    const end = newEnd(fact.endpoint);
    const segment = segmentText(fact.vlan);
    if (!this.#findHere(segment, end)) this.#see(at, segment, end, 'traffic');
    const device = deviceOf(end);
    const value = clean(fact.value ?? '', this.limits.text_length);
    if (!device || value === '') return;
    const part = clean(fact.part ?? '', this.limits.text_length);
    const app_proto = fact.app_proto ?? '';
    if (part !== '' && !this.#part(at, device, part, end.ip, app_proto)) return;
    this.#say(at, device, { part, attribute: fact.attribute, value, app_proto, field: fact.field ?? '', ip: end.ip });
    // A lease names the address its holder is about to use: RFC 2131, 3.1.
    if (fact.attribute === 'ip' && app_proto === 'dhcp' && end.mac !== '') {
      this.#see(at, segment, { ...end, ip: ipOf(value), place: null, seen: false }, 'dhcp');
    }
    if (part !== '') return;
    if (fact.attribute === 'mac' && app_proto === 'lldp') this.#chassis(at, segment, device, value.toLowerCase());
    if (fact.attribute === 'serial' || fact.attribute === 'order_code' || fact.attribute === 'model') this.#serial(at, device);
  }

  /** The device at an endpoint as far as it is known, for alerts: its id, or 0. */
  deviceAt(endpoint: ot_sensor.Endpoint.$Properties | null | undefined, vlan: readonly number[] | null | undefined): number {
    if (!endpoint) return 0;
    const end = newEnd(endpoint);
    return this.#find(segmentText(vlan), end)?.id ?? 0;
  }

  /**
   * What is new since the last call, for the writer. Counters in it are increments. Of connections and activities at most so many:
   * where more changed, `pending_conversations` says so. With 0 it is what events and alerts speak of: devices that are stored already
   * wait, too, with what changed of them.
   */
  drain(most_conversations = Number.POSITIVE_INFINITY): ChangeSet {
    const changes = emptyChangeSet();
    changes.reassignments = this.#reassignments;
    changes.device_resets = this.#gone;
    changes.events = this.#events;
    for (const device of this.#dirty_devices) {
      if (most_conversations === 0 && device.stored && !device.reset) continue;
      this.#dirty_devices.delete(device);
      drainDevice(device, changes, this.#zoneOf);
    }
    if (most_conversations > 0)
      this.#conversations.drain(this.#capture_id, (segment, end) => this.#find(segment, end), changes, most_conversations);
    this.#reassignments = [];
    this.#gone = [];
    this.#events = [];
    return changes;
  }

  // -- Who is who ----------------------------------------------------------------------------------------------------------

  #sent(at: Moment, last_ms: number, flow: Flow, end: End): void {
    if (!end.seen) {
      // Its bindings told who it is. The MAC of the flow may only be where packets to it were sent: a router's other leg.
      if (!this.#find(flow.segment, end) && !this.#places_by_ip.has(end.ip)) this.#see(at, flow.segment, end, 'traffic');
      end.seen = true;
    }
    const device = deviceOf(end);
    if (!device) return;
    if (end.face) {
      if (last_ms > end.face.last_ms) {
        end.face.last_ms = last_ms;
        // Behind a router the interface is another device's than the address: what is stored must not depend on who else changes.
        if (end.face.device) this.#heardFace(end.face.device);
      }
      const claim = end.face.claims.get(end.ip);
      if (claim && last_ms > claim.last_ms) claim.last_ms = last_ms;
    }
    if (last_ms > device.last_ms) device.last_ms = last_ms;
    if (end.place?.device === device) {
      const record = recordOf(device, end.place, device === end.face?.device ? end.face : null);
      if (record) {
        if (last_ms > record.last_ms) record.last_ms = last_ms;
        if (!record.current) {
          record.current = true;
          this.#touch(device);
        }
        device.dirty_addresses = true;
      }
    }
    this.#heard(device);
  }

  /** The end sent something: it is somebody. */
  #see(at: Moment, segment: string, end: End, how: string): void {
    const { mac, ip } = end;
    const strong = how === 'arp' || how === 'dhcp';
    if (mac !== '') end.face = this.#face(at, segment, mac, ip);
    const { face } = end;
    if (mac !== '' && !face) return;
    if (ip === '') return;
    const place = this.#place(segment, ip);
    end.place = place;
    if (!place) return;
    if (face?.redundancy !== '') {
      if (face && place.claims.length === 0) place.via = face;
      this.#settle(at, place, null, how);
      if (face && strong && place.device) this.#redundancy(at, place.device, face.redundancy);
      return;
    }
    let claim = face.claims.get(ip);
    if (claim) {
      claim.strong ||= strong;
      claim.last_ms = Math.max(claim.last_ms, at.time_ms);
    } else if (face.router && !strong) {
      if (place.claims.length === 0) place.via = face;
      this.#settle(at, place, null, how);
      return;
    } else {
      if (face.claims.size >= this.limits.addresses_per_device) {
        this.counters.addresses_refused++;
        end.place = null;
        return;
      }
      claim = { face, place, strong, transit: false, last_ms: at.time_ms };
      if (place.claims.length >= this.limits.claims_per_address) dropClaim(place);
      face.claims.set(ip, claim);
      place.claims.push(claim);
      if (!strong && this.#forwards(face, at)) {
        this.#recognise(at, face);
        if (place.claims.length === 0) place.via = face;
        this.#settle(at, place, null, how);
        return;
      }
    }
    this.#settle(at, place, claim, how);
  }

  #face(at: Moment, segment: string, mac: string, ip: string): Face | null {
    const key = `${segment}|${mac}`;
    let face = this.#faces.get(key);
    if (face) {
      if (at.time_ms > face.last_ms) {
        face.last_ms = at.time_ms;
        if (face.device) this.#heardFace(face.device);
      }
      return face;
    }
    const redundancy = redundancyGroup(mac);
    // Virtual addresses have no device that would bound them.
    if (redundancy !== '' && this.#faces.size >= 2 * this.limits.devices) return null;
    const vendor = redundancy === '' ? this.#vendorOf(macBytes(mac)) : '';
    const { time_ms } = at;
    const router = redundancy !== '';
    face = { segment, mac, vendor, device: null, redundancy, router, first_ms: time_ms, last_ms: time_ms, claims: new Map() };
    if (redundancy === '') {
      const device = this.#sameStation(segment, mac, ip) ?? this.#newDevice(at, segment, ip || mac, mac, vendor);
      if (!device) return null;
      if (device.faces.length >= this.limits.interfaces_per_device) {
        this.counters.interfaces_refused++;
        return null;
      }
      face.device = device;
      device.faces.push(face);
      device.dirty_faces = true;
      if (vendor !== '')
        this.#say(at, device, { part: '', attribute: 'vendor', value: vendor, app_proto: 'mac', field: 'oui', ip: '' });
      this.#touch(device);
    }
    this.#faces.set(key, face);
    const chassis = redundancy === '' ? this.#by_chassis.get(key) : undefined;
    if (chassis && face.device && chassis !== face.device && near(chassis, face.device, CHASSIS_DISTANCE)) {
      this.#merge(at, face.device, chassis, 'the chassis of LLDP frames');
    }
    return face;
  }

  /** A mirror of several ports shows a station tagged and untagged: same MAC and same address are the same thing. */
  #sameStation(segment: string, mac: string, ip: string): Device | null {
    if (ip === '') return null;
    for (const place of this.#places_by_ip.get(ip) ?? []) {
      if (place.segment === segment) continue;
      const other = this.#faces.get(`${place.segment}|${mac}`);
      if (other?.device && !other.router && place.device === other.device) return other.device;
    }
    return null;
  }

  #place(segment: string, ip: string): Place | null {
    const key = `${segment}|${ip}`;
    let place = this.#places.get(key);
    if (!place) {
      const others = this.#places_by_ip.get(ip);
      // Places may be many more than devices: one address in every segment there can be.
      if (this.#places.size >= 2 * this.limits.devices || (others && others.length >= this.limits.segments_per_address)) {
        this.counters.addresses_refused++;
        return null;
      }
      place = { segment, ip, device: null, claims: [], via: null };
      this.#places.set(key, place);
      if (others) others.push(place);
      else this.#places_by_ip.set(ip, [place]);
    }
    return place;
  }

  #forget(place: Place): void {
    this.#places.delete(`${place.segment}|${place.ip}`);
    const others = this.#places_by_ip.get(place.ip)?.filter((other) => other !== place) ?? [];
    if (others.length) this.#places_by_ip.set(place.ip, others);
    else this.#places_by_ip.delete(place.ip);
  }

  /** Fills in who an end is, without making anybody. */
  #find(segment: string, end: End): Device | null {
    this.#findHere(segment, end);
    // The two directions of a routed conversation may be mirrored in different segments, and the flow is that of the first packet.
    if (end.ip !== '') end.place ??= this.#elsewhere(end.ip);
    return deviceOf(end);
  }

  #findHere(segment: string, end: End): Device | null {
    end.face ??= end.mac === '' ? null : (this.#faces.get(`${segment}|${end.mac}`) ?? null);
    end.place ??= end.ip === '' ? null : (this.#places.get(`${segment}|${end.ip}`) ?? null);
    return deviceOf(end);
  }

  /** The address in another segment, where all that have it are one device. */
  #elsewhere(ip: string): Place | null {
    let found: Place | null = null;
    for (const place of this.#places_by_ip.get(ip) ?? []) {
      if (!place.device || place.device === found?.device) continue;
      if (found) return null;
      found = place;
    }
    return found;
  }

  /** Decides whose an address is now. `claim` is the one that was just made or repeated; null: by a router, or without a MAC. */
  #settle(at: Moment, place: Place, claim: Claim | null, how: string): void {
    const holder = place.claims.find((c) => !c.transit && c.face.device === place.device);
    let owner: Claim | null = holder ?? null;
    if (claim && claim !== holder) {
      if (claim.strong && (how === 'arp' || how === 'dhcp')) owner = claim;
      else if (!holder) owner = claim;
      else if (!holder.strong && at.time_ms - holder.last_ms > IDLE_MS) owner = claim;
      if (owner === claim) claim.transit = false;
      else claim.transit = true;
    }
    if (owner?.face.device) this.#hand(at, place, owner.face.device, owner.face, how);
    else {
      const device = place.device ?? this.#remote(at, place);
      if (!device) this.#forget(place);
      else this.#hand(at, place, device, null, how);
    }
  }

  /** The device of an address that has no MAC here: the one that has it directly in another segment, else one of its own. */
  #remote(at: Moment, place: Place): Device | null {
    const others = this.#places_by_ip.get(place.ip) ?? [];
    const direct = new Set(others.filter((o) => o.claims.some((c) => !c.transit)).map((o) => o.device));
    direct.delete(null);
    if (direct.size === 1) return [...direct][0];
    const known = others.find((o) => o.device && o.device.faces.length === 0);
    return known?.device ?? this.#newDevice(at, place.segment, place.ip, '', '');
  }

  #hand(at: Moment, place: Place, device: Device, face: Face | null, how: string): void {
    const former = place.device;
    const known = recordOf(device, place, face);
    if (former === device && known) {
      if (!known.current || strength(how) > strength(known.how)) {
        known.current = true;
        if (strength(how) > strength(known.how)) known.how = how;
        this.#touch(device);
      }
      if (at.time_ms > known.last_ms) known.last_ms = at.time_ms;
      device.dirty_addresses = true;
      this.#heard(device);
      return;
    }
    place.device = device;
    if (face) place.via = null;
    if (former && former !== device) {
      if (former.faces.length === 0) {
        // What was known by its address alone is now seen itself.
        place.device = former;
        const kept = this.#merge(at, former, device, 'the address was seen with a MAC of its own');
        this.#hand(at, place, kept, face, how);
        return;
      }
      for (const record of former.addresses) if (record.place === place) record.current = false;
      former.dirty_addresses = true;
      this.#touch(former);
    }
    if (!this.#makeRoom(device)) {
      place.device = null;
      if (place.claims.length === 0) this.#forget(place);
      return;
    }
    const renewed = face !== null && strength(how) > 0 && !place.ip.includes(':');
    const before: string[] = [];
    for (const record of device.addresses) {
      if (!record.current || record.mac !== (face?.mac ?? '') || record.place.segment !== place.segment) continue;
      before.push(record.place.ip);
      // What it still uses comes back with its next packet.
      if (renewed && !record.place.ip.includes(':')) record.current = false;
    }
    const { time_ms, frame } = at;
    keepRecord(device, {
      place,
      mac: face?.mac ?? '',
      via_mac: face ? '' : (place.via?.mac ?? ''),
      how: how || 'traffic',
      current: true,
      first_ms: known ? Math.min(known.first_ms, time_ms) : time_ms,
      last_ms: known ? Math.max(known.last_ms, time_ms) : time_ms,
      first_frame: known ? known.first_frame : frame,
      capture_id: known ? known.capture_id : this.#capture_id,
    });
    device.dirty_addresses = true;
    this.#touch(device);
    if (former && former !== device) {
      const title = `${place.ip} moved from device ${former.id} to device ${device.id}`;
      this.#event(at, 'address_changed', device, title, { ip: place.ip, mac: face?.mac ?? '', former_device: former.id, how });
    } else if (face && !known && before.length && !place.ip.includes(':')) {
      const title = `${labelOf(device)} uses ${place.ip}, before ${before.join(', ')}`;
      this.#event(at, 'address_changed', device, title, { ip: place.ip, mac: face.mac, before, how });
    }
    if (!face) return;
    this.#isLocal(face, place.ip, device);
    this.#gather(at, place, device);
  }

  /** Where the same address was met behind routers in other segments, it was this device. */
  #gather(at: Moment, place: Place, device: Device): void {
    const others = this.#places_by_ip.get(place.ip) ?? [];
    if (others.some((o) => o !== place && o.device !== device && o.claims.some((c) => !c.transit))) return;
    for (const other of [...others]) {
      if (other !== place && other.device && other.device !== device && other.device.faces.length === 0) {
        this.#merge(at, other.device, place.device ?? device, 'the same address behind a router');
      }
    }
  }

  /** Room for one more address: the oldest former one goes. */
  #makeRoom(device: Device): boolean {
    if (device.addresses.length < this.limits.addresses_per_device) return true;
    let oldest: AddressRecord | null = null;
    for (const record of device.addresses) if (!record.current && (!oldest || record.last_ms < oldest.last_ms)) oldest = record;
    this.counters.addresses_refused++;
    if (!oldest) return false;
    device.addresses.splice(device.addresses.indexOf(oldest), 1);
    device.reset = true;
    return true;
  }

  /** Sends for others: too many addresses it never spoke for, or addresses of several networks. */
  #forwards(face: Face, at: Moment): boolean {
    const networks = new Set<string>();
    const prefixes = new Set<string>();
    let foreign = 0;
    let own_private = false;
    let foreign_public = false;
    for (const claim of face.claims.values()) {
      const { ip } = claim.place;
      const net = network(ip);
      if (net === '' || at.time_ms - claim.last_ms > ROUTER_WINDOW_MS) continue;
      if (ip.includes(':')) {
        if (!claim.strong) prefixes.add(net);
        continue;
      }
      networks.add(net);
      if (claim.strong) own_private ||= isPrivate(ip);
      else {
        foreign++;
        foreign_public ||= !isPrivate(ip);
      }
    }
    return (
      foreign >= ROUTER_ADDRESSES ||
      (foreign >= 2 && networks.size >= 2) ||
      (own_private && foreign_public) ||
      prefixes.size >= ROUTER_PREFIXES
    );
  }

  /** Takes back what was wrongly ascribed to a MAC that only forwarded it. */
  #recognise(at: Moment, face: Face): void {
    const router = face.device as Device;
    face.router = true;
    const released: string[] = [];
    const own = this.#ownAddress(face, router);
    for (const claim of [...face.claims.values()]) {
      if (claim.strong || claim === own) continue;
      const { place } = claim;
      face.claims.delete(place.ip);
      place.claims.splice(place.claims.indexOf(claim), 1);
      if (place.claims.length === 0) place.via = face;
      if (place.device !== router) continue;
      released.push(place.ip);
      this.#release(at, router, place);
    }
    router.reset = true;
    this.#touch(router);
    const title = `${face.mac} forwards packets of other addresses: ${released.slice(0, 8).join(', ')}`;
    this.#event(at, 'router_recognised', router, title, { mac: face.mac, addresses: released });
    this.#classify(at, router);
  }

  /** Hosts of a network speak to each other without a router: its single address among theirs is the router's own. */
  #ownAddress(face: Face, router: Device): Claim | null {
    let own: Claim | null = null;
    for (const claim of face.claims.values()) {
      if (claim.strong) return null;
      const ids = this.#local.get(`${face.segment}|${network(claim.place.ip)}`);
      if (claim.place.device !== router || claim.place.ip.includes(':') || !ids?.some((id) => id !== router.id)) continue;
      if (own) return null;
      own = claim;
    }
    return own;
  }

  #isLocal(face: Face, ip: string, device: Device): void {
    const key = `${face.segment}|${network(ip)}`;
    const ids = this.#local.get(key);
    if (!ids) this.#local.set(key, [device.id]);
    else if (ids.length < 2 && ids[0] !== device.id) ids.push(device.id);
  }

  #release(at: Moment, router: Device, place: Place): void {
    const records = router.addresses.filter((record) => record.place === place);
    router.addresses = router.addresses.filter((record) => record.place !== place);
    place.device = null;
    const first = records[0];
    // The device was there when its first packet was.
    const since: Moment = first ? { frame: at.frame, time_ms: first.first_ms } : at;
    // Somebody else may hold the address directly: what looked like the router's was the router's copy.
    const holder = place.claims.find((c) => c.face.device && c.face.device !== router);
    const device = holder?.face.device ?? this.#remote(since, place);
    if (!device) {
      this.#forget(place);
      return;
    }
    if (holder) {
      holder.transit = false;
      place.via = null;
    }
    for (const record of records) {
      record.mac = holder?.face.mac ?? '';
      record.via_mac = holder ? '' : (place.via?.mac ?? '');
      keepRecord(device, record);
      device.first_ms = Math.min(device.first_ms, record.first_ms);
      device.last_ms = Math.max(device.last_ms, record.last_ms);
    }
    place.device = device;
    // In another segment it is the router's own.
    if (device === router) return;
    for (const [key, values] of router.attributes) {
      if (values.every((value) => value.ip !== place.ip)) continue;
      router.attributes.delete(key);
      attributesOf(device).set(key, values);
    }
    for (const [name, part] of router.parts) {
      if (part.ip !== place.ip) continue;
      router.parts.delete(name);
      partsOf(device).set(name, part);
    }
    for (const deed of router.deeds) {
      if (deed.ip !== place.ip) continue;
      const known = deedOf(device, deed.ip, deed.app_proto, deed.role);
      if (known) device.deeds[device.deeds.indexOf(known)] = deed;
      else device.deeds.push(deed);
    }
    router.deeds = router.deeds.filter((deed) => deed.ip !== place.ip);
    prefer(router);
    prefer(device);
    device.reset = true;
    this.#touch(device);
    if (router.stored) this.#reassignments.push({ from: router.id, to: device.id, ip: place.ip });
    this.#moveEvents(router.id, device.id, place.ip);
    this.#classify(at, device);
  }

  /** The one with the lower id stays. */
  #merge(at: Moment, one: Device, other: Device, reason: string): Device {
    if (one === other) return one;
    const [kept, gone] = one.id < other.id ? [one, other] : [other, one];
    if (gone.faces.length === 0 || kept.faces.length === 0) this.#without_mac--;
    for (const face of gone.faces) {
      face.device = kept;
      kept.faces.push(face);
    }
    // A device that is met itself was not only behind a router.
    const direct = kept.faces.length > 0;
    for (const record of gone.addresses) {
      if (record.place.device === gone) record.place.device = kept;
      const known = recordAt(kept, record.place, record.mac);
      if (known) {
        known.first_ms = Math.min(known.first_ms, record.first_ms);
        known.last_ms = Math.max(known.last_ms, record.last_ms);
        known.current ||= record.current;
      } else if (this.#makeRoom(kept)) kept.addresses.push(record);
    }
    if (direct) {
      // In the very segment where it has a MAC, the record without one was of the time before.
      kept.addresses = kept.addresses.filter(
        (record) => record.mac !== '' || !record.place.claims.some((c) => !c.transit && c.face.device === kept),
      );
    }
    for (const [key, values] of gone.attributes) {
      const known = kept.attributes.get(key);
      if (!known) attributesOf(kept).set(key, values);
      else for (const value of values) this.#value(kept, key, value);
    }
    for (const [name, part] of gone.parts) if (!kept.parts.has(name)) partsOf(kept).set(name, part);
    for (const deed of gone.deeds) {
      const known = deedOf(kept, deed.ip, deed.app_proto, deed.role);
      if (!known) kept.deeds.push(deed);
      else {
        known.operations |= deed.operations;
        for (const peer of deed.peers) {
          if (known.peers.length < this.limits.peers_per_deed && !known.peers.includes(peer)) known.peers.push(peer);
        }
      }
    }
    kept.redundancy ||= gone.redundancy;
    if (gone.chassis) this.#by_chassis.set(gone.chassis, kept);
    kept.chassis ||= gone.chassis;
    if (gone.serial_key) this.#by_serial.set(gone.serial_key, kept);
    kept.serial_key ||= gone.serial_key;
    if (gone.first_ms < kept.first_ms) {
      kept.first_ms = gone.first_ms;
      kept.first_frame = gone.first_frame;
      kept.capture_id = gone.capture_id;
    }
    kept.last_ms = Math.max(kept.last_ms, gone.last_ms);
    prefer(kept);
    kept.reset = true;
    this.#touch(kept);
    this.#devices.delete(gone.id);
    this.#dirty_devices.delete(gone);
    this.#gone.push(gone.id);
    if (gone.stored) this.#reassignments.push({ from: gone.id, to: kept.id, ip: null });
    this.#moveEvents(gone.id, kept.id, null);
    this.#event(at, 'devices_merged', kept, `device ${gone.id} is device ${kept.id}: ${reason}`, { merged: gone.id, reason });
    this.#classify(at, kept);
    return kept;
  }

  #newDevice(at: Moment, segment: string, label: string, mac: string, vendor: string): Device | null {
    const is_full = this.#devices.size >= this.limits.devices;
    if (is_full || (mac === '' && this.#without_mac >= this.limits.devices_without_mac)) {
      // Its next packets are no further refusals.
      if (this.#refused.add(`${segment}|${mac || label}`)) {
        if (is_full) this.counters.devices_refused++;
        else this.counters.devices_without_mac_refused++;
      }
      return null;
    }
    if (mac === '') this.#without_mac++;
    const device = blankDevice(this.#next_device_id++, at.time_ms, at.frame, this.#capture_id);
    this.#devices.set(device.id, device);
    this.#touch(device);
    const what = [label, mac === label ? '' : mac, vendor].filter((text) => text !== '');
    this.#event(at, 'device_detected', device, `new device ${what.join(', ')}`, {
      ip: label === mac ? '' : label,
      mac,
      vendor,
      segment,
    });
    return device;
  }

  #redundancy(at: Moment, device: Device, group: string): void {
    if (device.redundancy === group) return;
    device.redundancy = group;
    this.#touch(device);
    this.#classify(at, device);
  }

  // -- What it says of itself ----------------------------------------------------------------------------------------------

  #say(
    at: Moment,
    device: Device,
    said: Pick<AttributeValue, 'part' | 'attribute' | 'value' | 'app_proto' | 'field' | 'ip'>,
  ): void {
    const key = `${said.part}|${said.attribute}|${said.app_proto}|${said.field}`;
    const values = device.attributes.get(key);
    const last = values?.[values.length - 1];
    if (last?.value === said.value) {
      if (at.time_ms > last.last_ms) last.last_ms = at.time_ms;
      device.dirty_attributes = true;
      this.#heard(device);
      return;
    }
    if (!values && device.attributes.size >= this.limits.attributes_per_device) {
      this.counters.attributes_refused++;
      return;
    }
    const { time_ms, frame } = at;
    this.#value(device, key, {
      ...said,
      current: true,
      preferred: false,
      first_ms: time_ms,
      last_ms: time_ms,
      first_frame: frame,
      capture_id: this.#capture_id,
    });
    prefer(device);
    device.dirty_attributes = true;
    this.#touch(device);
    if (last) {
      const of = said.part === '' ? '' : ` of ${said.part}`;
      this.#event(
        at,
        'attribute_changed',
        device,
        `${said.attribute}${of} of ${labelOf(device)}: ${said.value}, before ${last.value}`,
        {
          part: said.part,
          attribute: said.attribute,
          value: said.value,
          before: last.value,
          app_proto: said.app_proto,
          field: said.field,
        },
      );
    }
    if (said.part === '' && TELLING.has(said.attribute)) this.#classify(at, device);
  }

  /** The source's newest value; one it gave before comes up again. */
  #value(device: Device, key: string, value: AttributeValue): void {
    let values = device.attributes.get(key);
    if (!values) {
      values = [];
      attributesOf(device).set(key, values);
    }
    const before = values.findIndex((v) => v.value === value.value);
    if (before >= 0) {
      const [old] = values.splice(before, 1);
      value.first_ms = Math.min(value.first_ms, old.first_ms);
      value.last_ms = Math.max(value.last_ms, old.last_ms);
      value.first_frame = old.first_frame;
      value.capture_id = old.capture_id;
    }
    for (const other of values) other.current = false;
    value.current = true;
    values.push(value);
    if (values.length > this.limits.values_per_attribute) {
      values.shift();
      this.counters.attribute_values_forgotten++;
      device.reset = true;
    }
  }

  /** Ports of one switch say the same chassis; and the chassis' own address is the switch too. */
  #chassis(at: Moment, segment: string, device: Device, mac: string): void {
    const bytes = macBytes(mac);
    if (!isStation(bytes) || anyMac(bytes) !== mac) return;
    const key = `${segment}|${mac}`;
    if (device.chassis === key) return;
    if (device.chassis === '') device.chassis = key;
    const known = this.#by_chassis.get(key) ?? this.#faces.get(key)?.device ?? null;
    if (!known) this.#by_chassis.set(key, device);
    else if (known !== device && near(known, device, CHASSIS_DISTANCE))
      this.#merge(at, known, device, `the same LLDP chassis ${mac}`);
  }

  /** Simulators and clones share serial numbers: only neighbouring addresses make it the same device. */
  #serial(at: Moment, device: Device): void {
    const serial = shown(device, 'serial');
    const article = shown(device, 'order_code') || shown(device, 'model');
    if (article === '' || serial.length < 6 || /^(.)\1*$/.test(serial)) return;
    const key = `${article}|${serial}`;
    if (device.serial_key === key) return;
    if (this.#by_serial.get(device.serial_key) === device) this.#by_serial.delete(device.serial_key);
    device.serial_key = key;
    const known = this.#by_serial.get(key);
    if (!known) this.#by_serial.set(key, device);
    else if (known !== device && near(known, device, SERIAL_DISTANCE))
      this.#merge(at, known, device, `the same serial number ${serial}`);
  }

  #part(at: Moment, device: Device, name: string, ip: string, app_proto: string): boolean {
    const known = device.parts.get(name);
    if (known) {
      if (at.time_ms > known.last_ms) {
        known.last_ms = at.time_ms;
        device.dirty_parts = true;
        this.#heard(device);
      }
      return true;
    }
    if (device.parts.size >= this.limits.parts_per_device) {
      this.counters.parts_refused++;
      return false;
    }
    const { time_ms, frame } = at;
    const capture_id = this.#capture_id;
    partsOf(device).set(name, {
      part: name,
      ...partKind(name),
      ip,
      app_proto,
      first_ms: time_ms,
      last_ms: time_ms,
      first_frame: frame,
      capture_id,
    });
    device.dirty_parts = true;
    this.#touch(device);
    this.#classify(at, device);
    return true;
  }

  // -- What it does --------------------------------------------------------------------------------------------------------

  #deed(
    at: Moment,
    segment: string,
    who: End,
    peer: End,
    app_proto: string,
    role: 'client' | 'server',
    operations: number,
  ): void {
    const device = this.#find(segment, who);
    if (!device || app_proto === '') return;
    const name = peer.shown_ip || peer.shown_mac;
    let deed = deedOf(device, who.ip, app_proto, role);
    if (!deed) {
      if (device.deeds.length >= this.limits.deeds_per_device) {
        this.counters.deeds_refused++;
        return;
      }
      deed = { ip: who.ip, app_proto, role, operations: 0, peers: [name] };
      if (device.deeds.length === 0) device.deeds = [deed];
      else device.deeds.push(deed);
    } else if (
      (deed.operations | operations) === deed.operations &&
      (deed.peers.length >= this.limits.peers_per_deed || deed.peers.includes(name))
    ) {
      return;
    }
    deed.operations |= operations;
    if (deed.peers.length < this.limits.peers_per_deed && !deed.peers.includes(name)) deed.peers.push(name);
    this.#touch(device);
    this.#classify(at, device);
  }

  #classify(at: Moment, device: Device): void {
    const conduct = conductOf(device);
    const proposal = propose(conduct);
    device.programming_reason = programming(conduct);
    device.purdue_level = proposal.purdue_level;
    device.type_reason = proposal.reason;
    if (device.type === proposal.type) return;
    const before = device.type;
    device.type = proposal.type;
    this.#touch(device);
    this.#event(
      at,
      'type_changed',
      device,
      `${labelOf(device)} is proposed as ${proposal.type}: ${proposal.reason || 'nothing tells'}`,
      {
        type: proposal.type,
        before,
        reason: proposal.reason,
      },
    );
  }

  // -- Out and in ----------------------------------------------------------------------------------------------------------

  /** Something of the device's row changed. */
  #touch(device: Device): void {
    device.changed = true;
    this.#heard(device);
  }

  /** It was heard once more: a later time, of itself or of what is marked beside it. */
  #heard(device: Device): void {
    if (device.dirty) return;
    device.dirty = true;
    this.#dirty_devices.add(device);
  }

  #heardFace(device: Device): void {
    device.dirty_faces = true;
    this.#heard(device);
  }

  #event(at: Moment, kind: InventoryEventKind, device: Device, title: string, details: Record<string, unknown>): void {
    if (this.#suppresses(at, kind, device) || this.#events.length >= this.limits.events) {
      this.counters.events_suppressed++;
      return;
    }
    const { frame, time_ms } = at;
    const event: InventoryEvent = { capture_id: this.#capture_id, frame, time_ms, kind, device_id: device.id, title, details };
    this.#events.push(event);
    this.#onEvent?.(event);
  }

  /** A device that makes the same happen again and again (a disputed address, a name that changes) is heard so many times an hour. */
  #suppresses(at: Moment, kind: InventoryEventKind, device: Device): boolean {
    if (kind === 'device_detected') return false;
    const hour = Math.floor(at.time_ms / HOUR_MS);
    device.event_counts ??= new Map();
    const counted = device.event_counts.get(kind);
    if (counted?.hour !== hour) {
      device.event_counts.set(kind, { hour, count: 1 });
      return false;
    }
    counted.count++;
    return counted.count > this.limits.events_per_hour;
  }

  /** Events not yet drained follow their device; those of a single address stay with what they were about then. */
  #moveEvents(from: number, to: number, ip: string | null): void {
    if (ip !== null) return;
    for (const event of this.#events) if (event.device_id === from) event.device_id = to;
  }

  /** Goes on from what the database holds. Only into an inventory that has taken nothing yet. */
  load(snapshot: Snapshot): void {
    this.#next_device_id = snapshot.next_device_id;
    this.#conversations.load(snapshot);
    for (const row of snapshot.devices) {
      const device = deviceFrom(row);
      if (device.chassis) this.#by_chassis.set(device.chassis, device);
      this.#devices.set(device.id, device);
    }
    for (const { device_id, segment, mac, vendor, router, first_ms, last_ms } of snapshot.interfaces) {
      const device = this.#devices.get(device_id);
      if (!device) continue;
      const face: Face = { segment, mac, vendor, device, redundancy: '', router, first_ms, last_ms, claims: new Map() };
      device.faces.push(face);
      this.#faces.set(`${segment}|${mac}`, face);
    }
    for (const device of this.#devices.values()) if (device.faces.length === 0) this.#without_mac++;
    for (const row of snapshot.addresses) this.#loadAddress(row);
    for (const row of snapshot.attributes) {
      const device = this.#devices.get(row.device_id);
      if (!device) continue;
      const key = `${row.part}|${row.attribute}|${row.app_proto}|${row.field}`;
      const values = device.attributes.get(key);
      if (values) values.push(attributeOf(row));
      else attributesOf(device).set(key, [attributeOf(row)]);
    }
    for (const device of this.#devices.values()) {
      // The current value stands last.
      for (const values of device.attributes.values())
        values.sort((a, b) => Number(a.current) - Number(b.current) || a.last_ms - b.last_ms);
      const serial = shown(device, 'serial');
      const article = shown(device, 'order_code') || shown(device, 'model');
      if (serial && article) {
        device.serial_key = `${article}|${serial}`;
        this.#by_serial.set(device.serial_key, device);
      }
    }
    for (const { device_id, ...part } of snapshot.parts) {
      const device = this.#devices.get(device_id);
      if (device) partsOf(device).set(part.part, part);
    }
  }

  #loadAddress(row: AddressRow): void {
    const { segment, ip } = row;
    const device = this.#devices.get(row.device_id);
    if (!device) return;
    const place = this.#place(segment, ip);
    if (!place) return;
    const record = recordFrom(row, place);
    const face = record.mac === '' ? null : (this.#faces.get(`${segment}|${record.mac}`) ?? null);
    keepRecord(device, record);
    if (face) {
      const claim: Claim = { face, place, strong: strength(record.how) > 0, transit: false, last_ms: record.last_ms };
      face.claims.set(ip, claim);
      place.claims.push(claim);
      this.#isLocal(face, ip, device);
    } else if (record.via_mac !== '') {
      place.via = this.#faces.get(`${segment}|${record.via_mac}`) ?? null;
    }
    // Former holders of an address keep their record; it belongs to the one who has it now, or had it last.
    const holder =
      place.device && recordOf(place.device, place, place.claims.find((c) => c.face.device === place.device)?.face ?? null);
    if (
      !place.device ||
      !holder ||
      (record.current && !holder.current) ||
      (record.current === holder.current && record.last_ms > holder.last_ms)
    ) {
      place.device = device;
    }
  }
}

/** An IPv4 address as text, in the one form an inventory has for it; '' where it is none. */
function ipOf(text: string): string {
  if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) return '';
  const bytes = Uint8Array.from(text.split('.'), Number);
  return isHost(bytes) ? anyIp(bytes) : '';
}

/** The oldest one of somebody who does not hold the address. */
function dropClaim(place: Place): void {
  const index = place.claims.findIndex((claim) => claim.face.device !== place.device);
  const [claim] = place.claims.splice(Math.max(0, index), 1);
  claim.face.claims.delete(place.ip);
}

function near(one: Device, other: Device, distance: number): boolean {
  return one.faces.some((a) => other.faces.some((b) => a.mac !== b.mac && macDistance(a.mac, b.mac) <= distance));
}
