import { ot_sensor } from '../proto/facts.js';

const EMPTY = new Uint8Array(0);

/** An endpoint whose addresses are overwritten by the next fact. */
class EndpointCell implements ot_sensor.IEndpoint {
  mac: Uint8Array = EMPTY;
  ip: Uint8Array = EMPTY;
  port = 0;
  private readonly mac6 = new Uint8Array(6);
  private readonly ip4 = new Uint8Array(4);
  private readonly ip16 = new Uint8Array(16);

  clear(): void {
    this.mac = this.ip = EMPTY;
    this.port = 0;
  }

  setMac(bytes: Uint8Array, start: number, end: number): void {
    this.mac = end - start === 6 ? copy(this.mac6, bytes, start) : bytes.slice(start, end);
  }

  setIp(bytes: Uint8Array, start: number, end: number): void {
    const size = end - start;
    this.ip = size === 4 ? copy(this.ip4, bytes, start) : size === 16 ? copy(this.ip16, bytes, start) : bytes.slice(start, end);
  }
}

function copy(to: Uint8Array, bytes: Uint8Array, start: number): Uint8Array {
  for (let i = 0; i < to.length; i++) to[i] = bytes[start + i];
  return to;
}

type Fact = ot_sensor.IFact & { frame: number; time_ms: number };

/**
 * Reads an encoded `BatchFacts` fact by fact. The kinds of which a capture has many are read into objects that are used again: a fact
 * and all it holds but its texts is true until `next()`. A message of a hundred thousand flows is never a million objects at once.
 * Throws what protobufjs throws, or RangeError, for bytes that are no such message.
 */
export class FactReader {
  readonly fact: Fact = {
    frame: 0, time_ms: 0, flow_opened: null, flow_update: null, activity: null, binding: null, attribute: null, finding: null,
    finding_update: null, finding_evidence: null,
  }; // biome-ignore format: one value
  /** Those of the message, once all of it was read. */
  counters: Record<string, number> = {};
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private at = 0;
  private readonly opened = {
    flow_id: 0,
    opener: new EndpointCell(),
    responder: new EndpointCell(),
    vlan: [] as number[],
    proto: '',
    opener_certain: false,
    ethertype: 0,
  };
  private readonly update = {
    flow_id: 0, app_proto: '', recognised_by: '', packets_from_opener: 0, packets_from_responder: 0, bytes_from_opener: 0,
    bytes_from_responder: 0, first_ms: 0, last_ms: 0, client: 0, ended: false, opener_certain: false,
  }; // biome-ignore format: one value
  private readonly activity = {
    flow_id: 0, app_proto: '', operation: '', from_opener: false, role: '', target: '', target_first: 0, target_last: 0, unit: 0,
    unit_name: '', count: 0, first_ms: 0, last_ms: 0,
  }; // biome-ignore format: one value
  private readonly binding = { endpoint: new EndpointCell(), vlan: [] as number[], how: '' };

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** False at the end of the message. */
  next(): boolean {
    while (this.at < this.bytes.length) {
      const tag = this.varint();
      if (tag === 0x0a) {
        this.readFact(this.end());
        return true;
      }
      if (tag === 0x12) {
        const end = this.end();
        this.counters = ot_sensor.Counters.decode(this.bytes.subarray(this.at, end)).values ?? {};
        this.at = end;
      } else this.skip(tag);
    }
    return false;
  }

  private readFact(end: number): void {
    const { fact } = this;
    fact.frame = fact.time_ms = 0;
    fact.flow_opened = fact.flow_update = fact.activity = fact.binding = null;
    fact.attribute = fact.finding = fact.finding_update = fact.finding_evidence = null;
    while (this.at < end) {
      const tag = this.varint();
      if (tag === 0x09) fact.frame = this.double();
      else if (tag === 0x11) fact.time_ms = this.double();
      else if ((tag & 7) !== 2) this.skip(tag);
      else this.readWhat(tag >>> 3, this.end());
    }
  }

  private readWhat(field: number, end: number): void {
    const { fact } = this;
    switch (field) {
      case 3:
        fact.flow_opened = this.readOpened(end);
        break;
      case 4:
        fact.flow_update = this.readUpdate(end);
        break;
      case 5:
        fact.activity = this.readActivity(end);
        break;
      case 6:
        fact.binding = this.readBinding(end);
        break;
      case 7:
        fact.attribute = ot_sensor.DeviceAttribute.decode(this.bytes.subarray(this.at, end));
        break;
      case 8:
        fact.finding = ot_sensor.Finding.decode(this.bytes.subarray(this.at, end));
        break;
      case 9:
        fact.finding_update = ot_sensor.FindingUpdate.decode(this.bytes.subarray(this.at, end));
        break;
      case 10:
        fact.finding_evidence = ot_sensor.FindingEvidence.decode(this.bytes.subarray(this.at, end));
        break;
    }
    this.at = end;
  }

  private readOpened(end: number): ot_sensor.IFlowOpened {
    const { opened } = this;
    opened.flow_id = opened.ethertype = 0;
    opened.proto = '';
    opened.opener_certain = false;
    opened.vlan.length = 0;
    opened.opener.clear();
    opened.responder.clear();
    while (this.at < end) {
      const tag = this.varint();
      if (tag === 0x09) opened.flow_id = this.double();
      else if (tag === 0x12) this.readEndpoint(opened.opener, this.end());
      else if (tag === 0x1a) this.readEndpoint(opened.responder, this.end());
      else if (tag === 0x22) this.readVlans(opened.vlan, this.end());
      else if (tag === 0x20) opened.vlan.push(this.varint());
      else if (tag === 0x2a) opened.proto = this.text();
      else if (tag === 0x30) opened.opener_certain = this.varint() !== 0;
      else if (tag === 0x38) opened.ethertype = this.varint();
      else this.skip(tag);
    }
    return opened;
  }

  private readUpdate(end: number): ot_sensor.IFlowUpdate {
    const { update } = this;
    update.app_proto = update.recognised_by = '';
    update.flow_id = update.packets_from_opener = update.packets_from_responder = 0;
    update.bytes_from_opener = update.bytes_from_responder = update.first_ms = update.last_ms = update.client = 0;
    update.ended = update.opener_certain = false;
    while (this.at < end) {
      const tag = this.varint();
      if (tag === 0x09) update.flow_id = this.double();
      else if (tag === 0x12) update.app_proto = this.text();
      else if (tag === 0x1a) update.recognised_by = this.text();
      else if (tag === 0x21) update.packets_from_opener = this.double();
      else if (tag === 0x29) update.packets_from_responder = this.double();
      else if (tag === 0x31) update.bytes_from_opener = this.double();
      else if (tag === 0x39) update.bytes_from_responder = this.double();
      else if (tag === 0x41) update.first_ms = this.double();
      else if (tag === 0x49) update.last_ms = this.double();
      else if (tag === 0x50) update.client = this.signed();
      else if (tag === 0x58) update.ended = this.varint() !== 0;
      else if (tag === 0x60) update.opener_certain = this.varint() !== 0;
      else this.skip(tag);
    }
    return update;
  }

  private readActivity(end: number): ot_sensor.IActivity {
    const { activity } = this;
    activity.app_proto = activity.operation = activity.role = activity.target = activity.unit_name = '';
    activity.flow_id = activity.target_first = activity.target_last = activity.unit = activity.count = 0;
    activity.first_ms = activity.last_ms = 0;
    activity.from_opener = false;
    while (this.at < end) {
      const tag = this.varint();
      if (tag === 0x09) activity.flow_id = this.double();
      else if (tag === 0x12) activity.app_proto = this.text();
      else if (tag === 0x1a) activity.operation = this.text();
      else if (tag === 0x20) activity.from_opener = this.varint() !== 0;
      else if (tag === 0x2a) activity.role = this.text();
      else if (tag === 0x32) activity.target = this.text();
      else if (tag === 0x39) activity.target_first = this.double();
      else if (tag === 0x41) activity.target_last = this.double();
      else if (tag === 0x48) activity.unit = this.signed();
      else if (tag === 0x52) activity.unit_name = this.text();
      else if (tag === 0x59) activity.count = this.double();
      else if (tag === 0x61) activity.first_ms = this.double();
      else if (tag === 0x69) activity.last_ms = this.double();
      else this.skip(tag);
    }
    return activity;
  }

  private readBinding(end: number): ot_sensor.IBinding {
    const { binding } = this;
    binding.endpoint.clear();
    binding.vlan.length = 0;
    binding.how = '';
    while (this.at < end) {
      const tag = this.varint();
      if (tag === 0x0a) this.readEndpoint(binding.endpoint, this.end());
      else if (tag === 0x12) this.readVlans(binding.vlan, this.end());
      else if (tag === 0x10) binding.vlan.push(this.varint());
      else if (tag === 0x1a) binding.how = this.text();
      else this.skip(tag);
    }
    return binding;
  }

  private readEndpoint(cell: EndpointCell, end: number): void {
    while (this.at < end) {
      const tag = this.varint();
      if (tag === 0x0a || tag === 0x12) {
        const inner = this.end();
        if (tag === 0x0a) cell.setMac(this.bytes, this.at, inner);
        else cell.setIp(this.bytes, this.at, inner);
        this.at = inner;
      } else if (tag === 0x18) cell.port = this.varint();
      else this.skip(tag);
    }
  }

  private readVlans(vlan: number[], end: number): void {
    while (this.at < end) vlan.push(this.varint());
  }

  private varint(): number {
    const { bytes } = this;
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 10; i++) {
      const byte = bytes[this.at++];
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
    throw new RangeError(`no varint ends before byte ${this.at}`);
  }

  /** sint32: zigzag. */
  private signed(): number {
    const value = this.varint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  private double(): number {
    const value = this.view.getFloat64(this.at, true);
    this.at += 8;
    return value;
  }

  /** Where the length-delimited field ends whose length comes here. */
  private end(): number {
    // The length first: it moves `at`.
    const size = this.varint();
    const end = this.at + size;
    if (!(end <= this.bytes.length)) throw new RangeError(`a field ends at byte ${end} of ${this.bytes.length}`);
    return end;
  }

  private text(): string {
    const end = this.end();
    const text = textOf(this.bytes, this.at, end);
    this.at = end;
    return text;
  }

  private skip(tag: number): void {
    const type = tag & 7;
    if (type === 0) this.varint();
    else if (type === 1) this.at += 8;
    else if (type === 2) this.at = this.end();
    else if (type === 5) this.at += 4;
    else throw new RangeError(`no field begins before byte ${this.at}`);
  }
}

/** Names of protocols, operations and targets come again and again: short ASCII texts that were read last, by their hash. */
const texts: string[] = new Array<string>(1024).fill('');
const MAX_KEPT = 48;

function textOf(bytes: Uint8Array, start: number, end: number): string {
  const size = end - start;
  if (size === 0) return '';
  if (size > MAX_KEPT) return utf8(bytes, start, end);
  let hash = size;
  for (let i = start; i < end; i++) hash = (Math.imul(hash, 31) + bytes[i]) | 0;
  const place = (hash ^ (hash >>> 15)) & (texts.length - 1);
  if (isText(texts[place], bytes, start, size)) return texts[place];
  const text = utf8(bytes, start, end);
  // ASCII alone has a character a byte.
  if (text.length === size) texts[place] = text;
  return text;
}

function isText(text: string, bytes: Uint8Array, start: number, size: number): boolean {
  if (text.length !== size) return false;
  for (let i = 0; i < size; i++) if (text.charCodeAt(i) !== bytes[start + i]) return false;
  return true;
}

const utf8 = (bytes: Uint8Array, start: number, end: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('utf8');
