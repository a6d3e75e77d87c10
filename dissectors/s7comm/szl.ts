import {
  type Attribute,
  type Emit,
  Operation,
  type OperationCode,
  type Reader,
  type RowOf,
  spanText,
} from '../../src/dissect/index.ts';
import { SZL_SPACE } from './items.ts';
import { PARTIAL_LIST } from './names.ts';
import { Szl, SzlRecord } from './records.ts';
import type { S7Conversation } from './state.ts';
import { readDateAndTime } from './time.ts';

type SzlRow = RowOf<typeof Szl.fields>;
type RecordRow = RowOf<typeof SzlRecord.fields>;

/** Lists that say what the module is are asked for to identify it, all others to diagnose. */
export function szlOperation(id: number): OperationCode {
  const list = id & 0xff;
  return list === PARTIAL_LIST.module_identification || list === PARTIAL_LIST.component_identification
    ? Operation.identify
    : Operation.diagnostics;
}

export function readSzlId(r: Reader, row: SzlRow): number {
  const id = r.u16();
  row.szl_id = id;
  row.partial_list = id & 0xff;
  row.szl_index = r.u16();
  row.target(SZL_SPACE, id, id);
  return id;
}

const HEADER_ONLY = 15;

/** An answered list: identifier, index, size and number of its records, records. */
export function readSzl(r: Reader, emit: Emit, conversation: S7Conversation): void {
  const row = emit(Szl);
  row.bytes = r.bytes;
  const id = readSzlId(r, row);
  const operation = szlOperation(id);
  row.operation = operation;
  if (r.remaining === 0) return;
  const size = r.u16();
  const count = r.u16();
  row.record_length = size;
  row.record_count = count;
  // Extract 15 asks for this header alone.
  if (size === 0 || ((id >> 8) & 0x0f) === HEADER_ONLY) return;
  let index = 0;
  for (; index < count && r.remaining >= size; index++) {
    const entry = emit(SzlRecord);
    entry.bytes = r.bytes;
    entry.operation = operation;
    entry.list_id = id;
    entry.record_index = index;
    const outer = r.enter(size);
    const list = RECORDS[id & 0xff];
    if (list !== undefined && size >= list.size) list.read(r, entry, id, conversation);
    else entry.data = r.rest();
    r.leave(outer);
  }
  if (index < count) conversation.anomaly(row, 'item_count_mismatch');
}

// Indexes of 0x11.
const MODULE = 1;
const BASIC_HARDWARE = 6;
const BASIC_FIRMWARE = 7;

/** 0x11: index, order number, type, version, release. */
function readModuleIdentification(r: Reader, row: RecordRow, _id: number, conversation: S7Conversation): void {
  const index = r.u16();
  row.index = index;
  row.order_number = r.text(20);
  row.module_type = r.u16();
  const version = r.u16();
  const release = r.u16();
  row.version = version;
  row.release = release;
  switch (index) {
    case MODULE:
      conversation.identify('sender', 'order_code', spanText(row.bytes, row.order_number), 's7comm_szl_record.order_number');
      return;
    case BASIC_HARDWARE:
      if (version !== 0) conversation.identify('sender', 'hardware', versionText(version, release), 's7comm_szl_record.version');
      return;
    case BASIC_FIRMWARE:
      if (version !== 0) conversation.identify('sender', 'firmware', versionText(version, release), 's7comm_szl_record.version');
  }
}

/** "V3.2.6": a letter and a figure, two figures; hardware states one number. */
function versionText(version: number, release: number): string {
  const letter = version >> 8;
  if (letter >= 0x41 && letter <= 0x5a)
    return `${String.fromCharCode(letter)}${version & 0xff}.${release >> 8}.${release & 0xff}`;
  return String(version);
}

// Indexes of 0x1c, and how long their text is.
const COMPONENT = {
  system_name: 1,
  module_name: 2,
  plant_designation: 3,
  copyright: 4,
  serial_number: 5,
  module_type_name: 7,
  memory_card_serial: 8,
  manufacturer: 9,
  location: 11,
} as const;
/** Texts that are followed by reserved bytes; the others fill their 32. */
const TEXT_SIZES: Readonly<Record<number, number>> = {
  [COMPONENT.system_name]: 24,
  [COMPONENT.module_name]: 24,
  [COMPONENT.copyright]: 26,
  [COMPONENT.serial_number]: 24,
};
/** Manufacturer number of PROFIBUS & PROFINET International. */
const SIEMENS = 42;

/** 0x1c: index and a text, or manufacturer and profile. */
function readComponentIdentification(r: Reader, row: RecordRow, id: number, conversation: S7Conversation): void {
  const index = r.u16();
  row.index = index;
  // H systems (0x021c, 0x031c) say for each which CPU it is: rack in bits 8 to 10.
  const extract = (id >> 8) & 0x0f;
  const part = extract === 2 || extract === 3 ? `rack ${(index >> 8) & 7}` : '';
  const component = index & 0xff;
  if (component === COMPONENT.manufacturer) {
    const manufacturer = r.u16();
    row.manufacturer_id = manufacturer;
    row.profile_id = r.u16();
    row.profile_type = r.u16();
    if (manufacturer === SIEMENS) conversation.identify('sender', 'vendor', 'Siemens', 's7comm_szl_record.manufacturer_id', part);
    return;
  }
  row.text = r.text(TEXT_SIZES[component] ?? 32);
  identifyComponent(component, row, conversation, part);
}

/** What a text says about the device. The module's own name is how its project calls it, the plant designation what it is for. */
const COMPONENT_ATTRIBUTES: Readonly<Record<number, Attribute>> = {
  [COMPONENT.system_name]: 'name',
  [COMPONENT.module_name]: 'description',
  [COMPONENT.plant_designation]: 'application',
  [COMPONENT.serial_number]: 'serial',
  [COMPONENT.module_type_name]: 'model',
  [COMPONENT.location]: 'location',
};

function identifyComponent(component: number, row: RecordRow, conversation: S7Conversation, part: string): void {
  const attribute = COMPONENT_ATTRIBUTES[component];
  if (attribute === undefined && component !== COMPONENT.copyright) return;
  const value = spanText(row.bytes, row.text);
  if (attribute !== undefined) conversation.identify('sender', attribute, value, TEXT_FIELD, part);
  else if (value.includes('Siemens')) conversation.identify('sender', 'vendor', 'Siemens', TEXT_FIELD, part);
}
const TEXT_FIELD = 's7comm_szl_record.text';

function setTime(row: RecordRow, value: number, conversation: S7Conversation): void {
  if (Number.isNaN(value)) conversation.anomaly(row, 'invalid_time');
  else if (value !== 0) row.time = value;
}

/** 0x24: event, priority class, mode change, startup, time stamp. */
function readMode(r: Reader, row: RecordRow, _id: number, conversation: S7Conversation): void {
  row.event_id = r.u16();
  r.skip(1);
  const change = r.u8();
  row.requested_mode = change & 0x0f;
  row.previous_mode = change >> 4;
  r.skip(4 + 1);
  row.startup_type = r.u8();
  r.skip(2);
  setTime(row, readDateAndTime(r), conversation);
}

/** 0x31: by index; 1 is what matters for S7 communication. */
function readCapability(r: Reader, row: RecordRow): void {
  const index = r.u16();
  row.index = index;
  if (index !== 1 || r.remaining < 12) {
    row.data = r.rest();
    return;
  }
  row.max_pdu_length = r.u16();
  row.max_connections = r.u16();
  row.mpi_rate = r.u32();
  row.bus_rate = r.u32();
}

/** 0x32: by index; 4 tells the protection level. */
function readProtection(r: Reader, row: RecordRow): void {
  const index = r.u16();
  row.index = index;
  if (index !== 4 || r.remaining < 8) {
    row.data = r.rest();
    return;
  }
  row.protection_selector = r.u16();
  row.protection_assigned = r.u16();
  row.protection_valid = r.u16();
  row.mode_selector = r.u16();
}

const EXISTS = 0x02;

/** 0x91: where a module is, what is configured there and what is plugged. */
function readModuleStatus(r: Reader, row: RecordRow, _id: number, conversation: S7Conversation): void {
  const first = r.u16();
  const second = r.u16();
  row.logical_address = r.u16();
  row.expected_type = r.u16();
  const actual = r.u16();
  row.actual_type = actual;
  r.skip(2);
  const status = r.u16();
  row.io_status = status;
  const exists = (status & EXISTS) !== 0 && actual !== 0;
  if ((first & 0x8000) !== 0) {
    // PROFINET IO: station in bits 0 to 10, last two digits of the system in 11 to 14.
    row.system = 100 + ((first >> 11) & 0x0f);
    row.station = first & 0x07ff;
    row.slot = second;
    return;
  }
  const slot = second >> 8;
  row.slot = slot;
  if (first >= 0x100) {
    row.system = first >> 8;
    row.station = first & 0xff;
    return;
  }
  row.rack = first;
  if (exists && slot > 0)
    conversation.identify(
      'sender',
      'device_type',
      `module type 0x${actual.toString(16).padStart(4, '0')}`,
      's7comm_szl_record.actual_type',
      `rack ${first} slot ${slot}`,
    );
}

/** 0x96: the same for PROFINET and PROFIBUS. */
function readModuleStatusExtended(r: Reader, row: RecordRow): void {
  row.logical_address = r.u16();
  const system = r.u16();
  row.system = system;
  r.skip(4);
  const station = r.u16();
  if (system === 0) row.rack = station;
  else row.station = station;
  row.slot = r.u16();
  r.skip(2 + 2);
  row.data = r.rest();
}

/** 0xa0: one event of the diagnostic buffer. */
function readDiagnosticEvent(r: Reader, row: RecordRow, _id: number, conversation: S7Conversation): void {
  row.event_id = r.u16();
  row.priority_class = r.u8();
  row.ob_number = r.u8();
  row.data_id = r.u16();
  row.information_1 = r.u16();
  row.information_2 = r.u32();
  setTime(row, readDateAndTime(r), conversation);
}

/** 0x00: a list that the module knows. */
function readListId(r: Reader, row: RecordRow): void {
  row.available_list = r.u16();
}

/** 0x12: what the CPU can do. */
function readCharacteristic(r: Reader, row: RecordRow): void {
  row.characteristic = r.u16();
}

/** 0x13: index, kind of memory, size, then how it is used. */
function readMemoryArea(r: Reader, row: RecordRow): void {
  row.index = r.u16();
  row.memory_code = r.u16();
  row.memory_size = r.u32();
  row.data = r.rest();
}

/** 0x14: index, kind of memory, elements, of them retentive. */
function readSystemArea(r: Reader, row: RecordRow): void {
  row.index = r.u16();
  row.memory_code = r.u16();
  row.quantity = r.u16();
  row.retentive = r.u16();
}

/** 0x15: type, number and size of blocks. */
function readBlockType(r: Reader, row: RecordRow): void {
  row.index = r.u16();
  row.max_blocks = r.u16();
  row.max_block_length = r.u16();
  row.memory_size = r.u32();
}

/** 0x19 and 0x74: rack and LED, on, flashing. */
function readLed(r: Reader, row: RecordRow): void {
  const led = r.u16();
  row.led = led & 0xff;
  row.led_rack = (led >> 8) & 7;
  row.led_on = r.u8();
  row.led_blink = r.u8();
}

/** The lists that are read, and the size their records have at least by the manual; anything else is kept as bytes. */
const RECORDS: Readonly<
  Record<number, { size: number; read: (r: Reader, row: RecordRow, id: number, conversation: S7Conversation) => void }>
> = {
  [PARTIAL_LIST.lists]: { size: 2, read: readListId },
  [PARTIAL_LIST.module_identification]: { size: 28, read: readModuleIdentification },
  [PARTIAL_LIST.characteristics]: { size: 2, read: readCharacteristic },
  [PARTIAL_LIST.memory_areas]: { size: 36, read: readMemoryArea },
  [PARTIAL_LIST.system_areas]: { size: 8, read: readSystemArea },
  [PARTIAL_LIST.block_types]: { size: 10, read: readBlockType },
  [PARTIAL_LIST.leds_300]: { size: 4, read: readLed },
  [PARTIAL_LIST.component_identification]: { size: 34, read: readComponentIdentification },
  [PARTIAL_LIST.modes]: { size: 20, read: readMode },
  [PARTIAL_LIST.communication_capability]: { size: 2, read: readCapability },
  [PARTIAL_LIST.communication_status]: { size: 2, read: readProtection },
  [PARTIAL_LIST.leds]: { size: 4, read: readLed },
  [PARTIAL_LIST.module_status]: { size: 16, read: readModuleStatus },
  [PARTIAL_LIST.module_status_extended]: { size: 20, read: readModuleStatusExtended },
  [PARTIAL_LIST.diagnostic_buffer]: { size: 20, read: readDiagnosticEvent },
};
