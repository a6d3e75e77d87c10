import { Operation, type OperationCode } from '../../src/dissect/index.ts';

/** Function codes: MODBUS Application Protocol V1.1b3, clause 5.1 and annex A; those of annex A by their names in PI-MBUS-300. */
export const FUNCTION_NAMES: Readonly<Record<number, string>> = {
  1: 'Read Coils',
  2: 'Read Discrete Inputs',
  3: 'Read Holding Registers',
  4: 'Read Input Registers',
  5: 'Write Single Coil',
  6: 'Write Single Register',
  7: 'Read Exception Status',
  8: 'Diagnostics',
  9: 'Reserved: Program (484)',
  10: 'Reserved: Poll (484)',
  11: 'Get Comm Event Counter',
  12: 'Get Comm Event Log',
  13: 'Reserved: Program Controller (584, 984)',
  14: 'Reserved: Poll Controller (584, 984)',
  15: 'Write Multiple Coils',
  16: 'Write Multiple Registers',
  17: 'Report Server ID',
  18: 'Legacy: Program (884, Micro 84)',
  19: 'Legacy: Reset Communications Link (884, Micro 84)',
  20: 'Read File Record',
  21: 'Write File Record',
  22: 'Mask Write Register',
  23: 'Read/Write Multiple Registers',
  24: 'Read FIFO Queue',
  40: 'Legacy: Program (Concept)',
  41: 'Reserved: 41',
  42: 'Reserved: 42 (Concept symbol table)',
  43: 'Encapsulated Interface Transport',
  90: 'Reserved: UMAS (Schneider Electric)',
  91: 'Reserved: 91',
  125: 'Reserved: Firmware Replacement (Schneider Electric)',
  126: 'Reserved: Program (584, 984)',
  127: 'Reserved: Report Local Address',
  ...userDefined(65, 72),
  ...userDefined(100, 110),
};

/** Clause 5: 65–72 and 100–110 are free for whatever an implementer chooses. */
function userDefined(first: number, last: number): Record<number, string> {
  const names: Record<number, string> = {};
  for (let code = first; code <= last; code++) names[code] = `User-Defined ${code}`;
  return names;
}

/** 1 where the specification describes the function: its PDU's shape is known. */
export const IS_PUBLIC = flags([1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 15, 16, 17, 20, 21, 22, 23, 24, 43]);

/** 1 where annex A or clause 5 gives the code to somebody: all that have a name. */
export const IS_ASSIGNED = flags(Object.keys(FUNCTION_NAMES).map(Number));

function flags(codes: readonly number[]): Uint8Array {
  const table = new Uint8Array(128);
  for (const code of codes) table[code] = 1;
  return table;
}

/** What a function does, by its code. 8, 43 and 90 say more in their sub-functions. */
export const FUNCTION_OPERATIONS = operations(128, {
  [Operation.read]: [1, 2, 3, 4, 24],
  [Operation.write]: [5, 6, 15, 16, 22, 23],
  [Operation.diagnostics]: [7, 8, 11, 12],
  [Operation.identify]: [17],
  [Operation.file]: [20, 21],
  [Operation.configure]: [9, 10, 13, 14, 18, 40, 126],
  [Operation.restart]: [19],
  [Operation.firmware]: [125],
});

function operations(size: number, codes: Partial<Record<OperationCode, readonly number[]>>): Uint8Array {
  const table = new Uint8Array(size).fill(Operation.other);
  for (const [operation, members] of Object.entries(codes)) for (const code of members) table[code] = Number(operation);
  return table;
}

/** Sub-functions of 8, Diagnostics: clause 6.8.1. */
export const DIAGNOSTIC_NAMES: Readonly<Record<number, string>> = {
  0: 'Return Query Data',
  1: 'Restart Communications Option',
  2: 'Return Diagnostic Register',
  3: 'Change ASCII Input Delimiter',
  4: 'Force Listen Only Mode',
  10: 'Clear Counters and Diagnostic Register',
  11: 'Return Bus Message Count',
  12: 'Return Bus Communication Error Count',
  13: 'Return Bus Exception Error Count',
  14: 'Return Server Message Count',
  15: 'Return Server No Response Count',
  16: 'Return Server NAK Count',
  17: 'Return Server Busy Count',
  18: 'Return Bus Character Overrun Count',
  19: 'Reserved: Return Overrun Error Count (884)',
  20: 'Clear Overrun Counter and Flag',
  21: 'Reserved: Get/Clear Modbus Plus Statistics',
};

/** Clause 7. */
export const EXCEPTION_NAMES: Readonly<Record<number, string>> = {
  1: 'Illegal Function',
  2: 'Illegal Data Address',
  3: 'Illegal Data Value',
  4: 'Server Device Failure',
  5: 'Acknowledge',
  6: 'Server Device Busy',
  7: 'Negative Acknowledge', // PI-MBUS-300 only
  8: 'Memory Parity Error',
  10: 'Gateway Path Unavailable',
  11: 'Gateway Target Device Failed To Respond',
};

/** Clause 6.19. */
export const MEI_NAMES: Readonly<Record<number, string>> = {
  13: 'CANopen General Reference',
  14: 'Read Device Identification',
};

/** Clause 6.21. */
export const READ_DEVICE_ID_NAMES: Readonly<Record<number, string>> = {
  1: 'basic (stream)',
  2: 'regular (stream)',
  3: 'extended (stream)',
  4: 'one object (individual)',
};

export const CONFORMITY_NAMES: Readonly<Record<number, string>> = {
  1: 'basic (stream only)',
  2: 'regular (stream only)',
  3: 'extended (stream only)',
  129: 'basic (stream and individual)',
  130: 'regular (stream and individual)',
  131: 'extended (stream and individual)',
};

export const OBJECT_NAMES: Readonly<Record<number, string>> = {
  0: 'VendorName',
  1: 'ProductCode',
  2: 'MajorMinorRevision',
  3: 'VendorUrl',
  4: 'ProductName',
  5: 'ModelName',
  6: 'UserApplicationName',
};

/**
 * Schneider Electric's UMAS, inside function 90, by the names that published research gives it (the vendor publishes none).
 * UMAS says upload for programmer → controller, which the field, and so `UMAS_OPERATIONS`, calls a download.
 */
export const UMAS_NAMES: Readonly<Record<number, string>> = {
  1: 'INIT_COMM',
  2: 'READ_ID',
  3: 'READ_PROJECT_INFO',
  4: 'READ_PLC_INFO',
  6: 'READ_CARD_INFO',
  10: 'REPEAT',
  16: 'TAKE_PLC_RESERVATION',
  17: 'RELEASE_PLC_RESERVATION',
  18: 'KEEP_ALIVE',
  32: 'READ_MEMORY_BLOCK',
  33: 'WRITE_MEMORY_BLOCK',
  34: 'READ_VARIABLES',
  35: 'WRITE_VARIABLES',
  36: 'READ_COILS_REGISTERS',
  37: 'WRITE_COILS_REGISTERS',
  38: 'READ_DATA_DICTIONARY',
  48: 'INITIALIZE_UPLOAD',
  49: 'UPLOAD_BLOCK',
  50: 'END_STRATEGY_UPLOAD',
  51: 'INITIALIZE_DOWNLOAD',
  52: 'DOWNLOAD_BLOCK',
  53: 'END_STRATEGY_DOWNLOAD',
  54: 'BACKUP',
  57: 'READ_ETH_MASTER_DATA',
  64: 'START_PLC',
  65: 'STOP_PLC',
  80: 'MONITOR_PLC',
  88: 'CHECK_PLC',
  112: 'READ_IO_OBJECT',
  113: 'WRITE_IO_OBJECT',
  115: 'GET_STATUS_MODULE',
};

export const UMAS_RESULT_NAMES: Readonly<Record<number, string>> = { 253: 'RESPONSE_ERROR', 254: 'RESPONSE_OK' };

export const UMAS_OPERATIONS = operations(256, {
  [Operation.read]: [0x20, 0x22, 0x24, 0x26, 0x39, 0x50, 0x70],
  [Operation.write]: [0x21, 0x23, 0x25, 0x71],
  [Operation.identify]: [0x02, 0x03, 0x04, 0x06],
  [Operation.session]: [0x01, 0x10, 0x11, 0x12],
  [Operation.diagnostics]: [0x0a, 0x58, 0x73],
  [Operation.program_download]: [0x30, 0x31, 0x32],
  [Operation.program_upload]: [0x33, 0x34, 0x35],
  [Operation.start]: [0x40],
  [Operation.stop]: [0x41],
});

/** `row.target` spaces: the data type's digit in Modicon's notation (0x, 1x, 3x, 4x), then FIFO queues and files. */
export const Space = { coils: 0, discrete_inputs: 1, input_registers: 3, holding_registers: 4, fifo: 5, file: 0x10000 } as const;

const SPACE_NAMES = ['coils', 'discrete inputs', '', 'input registers', 'holding registers', 'FIFO queue'];

/** Files are `Space.file` + file number. */
export const spaceName = (space: number): string =>
  space >= Space.file ? `file ${space - Space.file}` : (SPACE_NAMES[space] ?? String(space));
