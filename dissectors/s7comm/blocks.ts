import {
  type Emit,
  Operation,
  type OperationCode,
  type Pending,
  type Reader,
  spanLength,
  spanStart,
} from '../../src/dissect/index.ts';
import { BLOCK_SPACE, type S7Row } from './items.ts';
import { FUNCTION, PI } from './names.ts';
import { Argument, Block } from './records.ts';
import { JOB, type S7Conversation, TRANSFER } from './state.ts';
import { readBlockTime } from './time.ts';

// Block type and number in one number: type × 2^20 + number; numbers in text have five digits.
const KIND = 0x10_0000;
const NO_BLOCK = -1;

const hexDigit = (c: number): number => {
  if (c >= 0x30 && c <= 0x39) return c - 0x30;
  if (c >= 0x41 && c <= 0x46) return c - 0x37;
  return -1;
};

/** Two hexadecimal digits that name a block type, or -1. */
export function readKind(r: Reader): number {
  const high = hexDigit(r.u8());
  const low = hexDigit(r.u8());
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/** `count` decimal digits, or -1. */
export function readDecimal(r: Reader, count: number): number {
  let value = 0;
  for (let i = 0; i < count; i++) {
    const c = r.u8();
    if (c < 0x30 || c > 0x39) value = -1;
    else if (value >= 0) value = value * 10 + (c - 0x30);
  }
  return value;
}

/** Type (2), number (5): the block, or -1. */
function readBlockName(r: Reader): number {
  const kind = readKind(r);
  const number = readDecimal(r, 5);
  return kind < 0 || number < 0 ? NO_BLOCK : kind * KIND + number;
}

function setBlock(row: S7Row, block: number, fileSystem: number): void {
  if (block < 0) return;
  const kind = Math.floor(block / KIND);
  const number = block % KIND;
  row.block_kind = kind;
  row.block_number = number;
  if (fileSystem > 0) row.file_system = fileSystem;
  row.target(BLOCK_SPACE + kind, number, number);
}

/** The file name in a job: identifier, type, number, file system, nine characters. NC files have names of their own. */
function readFilename(r: Reader, row: S7Row, slot: number, conversation: S7Conversation): void {
  const { jobs } = conversation.state;
  const size = r.u8();
  const start = r.position;
  row.filename = r.span(size);
  const end = r.position;
  if (size !== 9 || r.truncated) {
    if (!r.truncated) conversation.anomaly(row, 'invalid_block_name');
    return;
  }
  r.position = start + 1;
  const block = readBlockName(r);
  const fileSystem = r.u8();
  r.position = end;
  if (block < 0) conversation.anomaly(row, 'invalid_block_name');
  setBlock(row, block, fileSystem);
  jobs.set(slot, JOB.block, block);
  jobs.set(slot, JOB.file_system, fileSystem);
}

function transferSlot(table: Pending, key: number, block: number, fileSystem: number): number {
  const known = table.find(key);
  if (known >= 0) return known;
  const slot = table.put(key);
  table.set(slot, TRANSFER.block, block);
  table.set(slot, TRANSFER.file_system, fileSystem);
  table.set(slot, TRANSFER.size, 0);
  return slot;
}

/** The block of an upload, which later steps name only by its number. */
function joinUpload(row: S7Row, uploadId: number, slot: number, conversation: S7Conversation): void {
  const { uploads, jobs } = conversation.state;
  const upload = uploads.find(uploadId);
  if (upload < 0) return;
  const block = uploads.get(upload, TRANSFER.block);
  const fileSystem = uploads.get(upload, TRANSFER.file_system);
  setBlock(row, block, fileSystem);
  row.transferred_size = uploads.get(upload, TRANSFER.size);
  jobs.set(slot, JOB.block, block);
  jobs.set(slot, JOB.file_system, fileSystem);
}

/** Jobs 0x1a to 0x1f; the reader stands behind the function. `slot`: the job in the pending table. */
export function readTransferJob(code: number, r: Reader, row: S7Row, slot: number, conversation: S7Conversation): void {
  const { jobs, downloads } = conversation.state;
  row.function_status = r.u8();
  if (code === FUNCTION.download_ended || code === FUNCTION.end_upload) row.transfer_error = r.u16();
  else r.skip(2);
  const uploadId = r.u32();
  if (code === FUNCTION.start_upload) {
    row.upload_id = uploadId;
    readFilename(r, row, slot, conversation);
    return;
  }
  if (code === FUNCTION.upload || code === FUNCTION.end_upload) {
    row.upload_id = uploadId;
    jobs.set(slot, JOB.upload_id, uploadId);
    joinUpload(row, uploadId, slot, conversation);
    return;
  }
  readFilename(r, row, slot, conversation);
  if (code === FUNCTION.request_download) {
    // Part 2: a character, then load memory and code in six digits each.
    if (r.u8() >= 13) {
      r.skip(1);
      const load = readDecimal(r, 6);
      const code = readDecimal(r, 6);
      if (load >= 0) row.load_memory_length = load;
      if (code >= 0) row.mc7_length = code;
    }
    const block = jobs.get(slot, JOB.block);
    if (block >= 0) {
      const download = transferSlot(downloads, block, block, jobs.get(slot, JOB.file_system));
      downloads.set(download, TRANSFER.size, 0);
    }
  } else setTransferred(row, downloads, jobs.get(slot, JOB.block));
}

function setTransferred(row: S7Row, table: Pending, key: number): number {
  const transfer = key >= 0 ? table.find(key) : -1;
  if (transfer >= 0) row.transferred_size = table.get(transfer, TRANSFER.size);
  return transfer;
}

function addTransferred(row: S7Row, table: Pending, key: number, size: number): void {
  const transfer = key >= 0 ? table.find(key) : -1;
  if (transfer < 0) return;
  const total = table.get(transfer, TRANSFER.size) + size;
  table.set(transfer, TRANSFER.size, total);
  row.transferred_size = total;
}

/** The parameters that acknowledge 0x1a to 0x1f, behind the function. `slot` is -1 where the job was not seen. */
export function readTransferAnswer(code: number, r: Reader, row: S7Row, slot: number, conversation: S7Conversation): void {
  const { jobs, uploads, downloads } = conversation.state;
  const block = slot >= 0 ? jobs.get(slot, JOB.block) : NO_BLOCK;
  const fileSystem = slot >= 0 ? jobs.get(slot, JOB.file_system) : 0;
  setBlock(row, block, fileSystem);
  if (row.error_class !== 0) return;
  switch (code) {
    case FUNCTION.start_upload: {
      if (r.remaining === 0) return;
      row.function_status = r.u8();
      r.skip(2);
      const uploadId = r.u32();
      row.upload_id = uploadId;
      const size = r.u8();
      const length = readDecimal(r, size);
      if (length >= 0) row.upload_length = length;
      const upload = transferSlot(uploads, uploadId, block, fileSystem);
      uploads.set(upload, TRANSFER.block, block);
      uploads.set(upload, TRANSFER.file_system, fileSystem);
      uploads.set(upload, TRANSFER.size, 0);
      return;
    }
    case FUNCTION.upload:
    case FUNCTION.download_block:
      if (r.remaining > 0) row.function_status = r.u8();
      return;
    case FUNCTION.end_upload: {
      const uploadId = slot >= 0 ? jobs.get(slot, JOB.upload_id) : -1;
      const upload = setTransferred(row, uploads, uploadId);
      if (upload >= 0) uploads.remove(upload);
      return;
    }
    case FUNCTION.download_ended: {
      const download = setTransferred(row, downloads, block);
      if (download >= 0) downloads.remove(download);
    }
  }
}

/** Data of 0x1b and 0x1e: length, two bytes that are not known, the part of the block. */
export function readTransferData(code: number, r: Reader, row: S7Row, slot: number, conversation: S7Conversation): void {
  if (r.remaining < 4 || (code !== FUNCTION.upload && code !== FUNCTION.download_block)) return;
  const { jobs, uploads, downloads } = conversation.state;
  const size = r.u16();
  row.payload_length = size;
  r.skip(2);
  row.block_data = r.span(size);
  if (slot < 0) return;
  if (code === FUNCTION.upload) addTransferred(row, uploads, jobs.get(slot, JOB.upload_id), size);
  else addTransferred(row, downloads, jobs.get(slot, JOB.block), size);
}

/** Is the text at the reader's span this word? Without making a string. */
function isWord(bytes: Uint8Array, start: number, size: number, word: string): boolean {
  if (size !== word.length) return false;
  for (let i = 0; i < size; i++) if (bytes[start + i] !== word.charCodeAt(i)) return false;
  return true;
}

function startsWith(bytes: Uint8Array, start: number, size: number, word: string): boolean {
  return size >= word.length && isWord(bytes, start, word.length, word);
}

function piKind(bytes: Uint8Array, start: number, size: number): number {
  if (isWord(bytes, start, size, 'P_PROGRAM')) return PI.program;
  if (isWord(bytes, start, size, '_INSE')) return PI.insert;
  if (isWord(bytes, start, size, '_INS2')) return PI.insert_2;
  if (isWord(bytes, start, size, '_DELE')) return PI.delete;
  if (isWord(bytes, start, size, '_GARB')) return PI.compress;
  if (isWord(bytes, start, size, '_MODU')) return PI.copy_ram_to_rom;
  return startsWith(bytes, start, size, '_N_') ? PI.nc : PI.other;
}

/**
 * What a program invocation does. Inserting or deleting blocks changes the program that runs, and copying RAM to ROM which
 * program runs after power-up: all three are `program_download`. Compressing moves blocks in memory: `configure`.
 */
function piOperation(kind: number, bytes: Uint8Array, start: number, size: number, isCold: boolean): OperationCode {
  switch (kind) {
    case PI.program:
      return isCold ? Operation.restart : Operation.start;
    case PI.insert:
    case PI.insert_2:
    case PI.delete:
    case PI.copy_ram_to_rom:
      return Operation.program_download;
    case PI.compress:
      return Operation.configure;
    case PI.nc:
      if (isNcLogin(bytes, start, size)) return Operation.authenticate;
      return startsWith(bytes, start, size, '_N_F_') ? Operation.file : Operation.control;
    default:
      return Operation.control;
  }
}

const isNcLogin = (bytes: Uint8Array, start: number, size: number): boolean =>
  startsWith(bytes, start, size, '_N_LOG') ||
  startsWith(bytes, start, size, '_N_PASSW') ||
  startsWith(bytes, start, size, '_N_CRTOCE');

/** Blocks that a service is to act on: count, a byte that is not known, then type, number and file system, eight characters each. */
function readNamedBlocks(r: Reader, row: S7Row, emit: Emit, operation: OperationCode, conversation: S7Conversation): void {
  const count = r.u8();
  r.skip(1);
  row.named_blocks = count;
  for (let i = 0; i < count && r.remaining >= 8; i++) {
    const named = emit(Block);
    named.operation = operation;
    const start = r.position;
    named.filename = r.span(8);
    r.position = start;
    const block = readBlockName(r);
    const fileSystem = r.u8();
    if (i === 0) setBlock(row, block, fileSystem);
    if (block < 0) {
      conversation.anomaly(named, 'invalid_block_name');
      continue;
    }
    const kind = Math.floor(block / KIND);
    named.block_kind = kind;
    named.named_number = block % KIND;
    named.file_system = fileSystem;
    named.target(BLOCK_SPACE + kind, block % KIND, block % KIND);
  }
}

const MAX_ARGUMENTS = 32;

/** Arguments of an NC service: length and text each, filled up to an even size. */
function readArguments(r: Reader, emit: Emit, operation: OperationCode, isSecret: boolean): void {
  for (let i = 0; i < MAX_ARGUMENTS && r.remaining > 0; i++) {
    const size = r.u8();
    const argument = emit(Argument);
    argument.operation = operation;
    argument.argument_index = i;
    if (isSecret) {
      argument.hidden_length = size;
      r.skip(size);
    } else argument.value = r.text(size);
    if ((size + 1) % 2 === 1 && r.remaining > 0) r.skip(1);
  }
}

/** Job 0x28, behind the function: seven bytes that are not known, argument block, name of the service. */
export function readPiService(r: Reader, row: S7Row, emit: Emit, conversation: S7Conversation): OperationCode {
  r.skip(7);
  const argumentSize = r.u16();
  const argumentStart = r.position;
  r.skip(argumentSize);
  const nameSize = r.u8();
  const name = r.span(nameSize);
  row.pi_service = name;
  const nameStart = spanStart(name);
  const kind = piKind(r.bytes, nameStart, spanLength(name));
  row.pi_kind = kind;
  const end = r.position;
  if (r.truncated) return Operation.control;
  const isCold = kind === PI.program && argumentSize > 0 && r.bytes[argumentStart] === COLD;
  const operation = piOperation(kind, r.bytes, nameStart, nameSize, isCold);
  r.position = argumentStart;
  const outer = r.enter(argumentSize);
  if (kind === PI.insert || kind === PI.insert_2 || kind === PI.delete) readNamedBlocks(r, row, emit, operation, conversation);
  else if (kind === PI.nc) readArguments(r, emit, operation, isNcLogin(r.bytes, nameStart, nameSize));
  else if (argumentSize > 0) row.pi_argument = r.span(argumentSize);
  r.leave(outer);
  r.position = end;
  return operation;
}
/** The argument "C " asks for a cold restart. */
const COLD = 0x43;

/** Job 0x29, behind the function: five bytes that are not known, name of the program. */
export function readPlcStop(r: Reader, row: S7Row): void {
  r.skip(5);
  row.pi_service = r.span(r.u8());
}

/** User data, block functions, list blocks: type in two characters, count; four bytes each. */
export function readBlockCounts(r: Reader, emit: Emit, operation: OperationCode): void {
  while (r.remaining >= 4) {
    const row = emit(Block);
    row.bytes = r.bytes;
    row.operation = operation;
    const kind = readKind(r);
    if (kind >= 0) row.block_kind = kind;
    row.block_count = r.u16();
  }
}

/** List blocks of a type: number, flags, language; four bytes each. */
export function readBlockList(r: Reader, kind: number, emit: Emit, operation: OperationCode): void {
  while (r.remaining >= 4) {
    const row = emit(Block);
    row.bytes = r.bytes;
    row.operation = operation;
    if (kind >= 0) row.block_kind = kind;
    const number = r.u16();
    row.block_number = number;
    row.list_flags = r.u8();
    row.language = r.u8();
    if (kind >= 0) row.target(BLOCK_SPACE + kind, number, number);
  }
}

/** Request of block information: type, number, file system in text; eight characters. */
export function readBlockInfoRequest(r: Reader, row: S7Row, slot: number, conversation: S7Conversation): void {
  const { jobs } = conversation.state;
  const block = readBlockName(r);
  const fileSystem = r.u8();
  if (block < 0) conversation.anomaly(row, 'invalid_block_name');
  setBlock(row, block, fileSystem);
  if (slot < 0) return;
  jobs.set(slot, JOB.block, block);
  jobs.set(slot, JOB.file_system, fileSystem);
}

/** Block information. */
export function readBlockInfo(r: Reader, emit: Emit, operation: OperationCode): void {
  const row = emit(Block);
  row.bytes = r.bytes;
  row.operation = operation;
  r.skip(2);
  row.information_length = r.u16();
  r.skip(5);
  row.block_flags = r.u8();
  row.language = r.u8();
  const kind = r.u8();
  row.sub_type = kind;
  const number = r.u16();
  row.block_number = number;
  row.target(BLOCK_SPACE + kind, number, number);
  row.load_memory_length = r.u32();
  row.protection = r.u32();
  row.code_time = readBlockTime(r);
  row.interface_time = readBlockTime(r);
  row.ssb_length = r.u16();
  row.add_length = r.u16();
  row.local_data_length = r.u16();
  row.mc7_length = r.u16();
  row.author = r.text(8);
  row.family = r.text(8);
  row.block_name = r.text(8);
  const version = r.u8();
  row.version_major = version >> 4;
  row.version_minor = version & 0x0f;
  r.skip(1);
  row.checksum = r.u16();
}
