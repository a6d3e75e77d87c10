import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/**
 * The load the whole runs are measured on: Modbus/TCP between `flows` clients and one server, as a masters' network polls a gateway.
 * Every connection opens with its handshake; then the clients take turns, nine reads of ten holding registers to one write of a
 * single register. Checksums, sequence numbers and transaction identifiers are right. The same arguments give the same bytes.
 */
export interface Load {
  packets: number;
  flows: number;
  /** Hosts that the connections are of, in turn; left out: one a connection. */
  clients?: number;
}

const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const FILE_HEADER = 24;
const RECORD_HEADER = 16;
const IP = RECORD_HEADER + 14;
const TCP = IP + 20;
const PAYLOAD = TCP + 20;
/** An Ethernet, IPv4 and TCP header without options. */
const HEADERS = PAYLOAD - RECORD_HEADER;
const REQUEST = 12;
const READ_RESPONSE = 29;
const BUFFER = 4 << 20;

const SYN = 0x02;
const FIN = 0x01;
const PSH = 0x08;
const ACK = 0x10;
const CLIENT = 0;
const SERVER = 1;
const FIRST_CLIENT = 0x0a000001;
const SERVER_ADDRESS = 0x0a010001;
const INITIAL_SEQUENCE = [1000, 5000] as const;
const START_SECONDS = 1_700_000_000;
const PACKETS_A_SECOND = 100_000;
const READ_HOLDING_REGISTERS = 3;
const WRITE_SINGLE_REGISTER = 6;

const isWrite = (transaction: number): boolean => transaction % 10 === 0;

/** The load as a pcap file in the system's temporary folder; one that is there in full is used again. */
export function ensureLoad(load: Load): string {
  const clients = load.clients === undefined ? '' : `-${load.clients}`;
  const file = path.join(os.tmpdir(), `ot-sensor-bench-modbus-${load.packets}-${load.flows}${clients}.pcap`);
  if (fs.statSync(file, { throwIfNoEntry: false })?.size === loadSize(load)) return file;
  // Under its own name only when it is whole: another run may be looking for it.
  const unfinished = `${file}.${process.pid}`;
  const descriptor = fs.openSync(unfinished, 'w');
  try {
    new LoadWriter(descriptor, load).write();
  } finally {
    fs.closeSync(descriptor);
  }
  fs.renameSync(unfinished, file);
  return file;
}

/** Exchanges of one request and one response behind the handshakes. */
const exchangesOf = ({ packets, flows }: Load): number => Math.max(0, Math.ceil((packets - 3 * flows) / 2));

/** Size of the file in bytes. */
export function loadSize(load: Load): number {
  const { flows } = load;
  const exchanges = exchangesOf(load);
  const first = (3 * flows) >> 1;
  let writes = 0;
  for (let flow = 0; flow < flows; flow++) {
    const turn = (flow - (first % flows) + flows) % flows;
    const own = Math.floor(exchanges / flows) + (turn < exchanges % flows ? 1 : 0);
    // Identifiers count 1 … 65535, 0, 1 …: 6554 of each 65536 end in 0.
    writes += Math.floor(own / 0x10000) * 6554 + Math.floor((own % 0x10000) / 10);
  }
  const packets = 3 * flows + exchanges * 2;
  return FILE_HEADER + packets * PAYLOAD + exchanges * REQUEST + writes * REQUEST + (exchanges - writes) * READ_RESPONSE;
}

class LoadWriter {
  private readonly descriptor: number;
  private readonly load: Load;
  private readonly buffer = Buffer.alloc(BUFFER);
  private used = 0;
  private packets = 0;
  /** What each end sends next, by flow × 2 + direction. */
  private readonly sequence: Uint32Array;
  private readonly transaction: Uint16Array;

  constructor(descriptor: number, load: Load) {
    this.descriptor = descriptor;
    this.load = load;
    this.sequence = new Uint32Array(load.flows * 2);
    for (let i = 0; i < this.sequence.length; i++) this.sequence[i] = INITIAL_SEQUENCE[i & 1];
    this.transaction = new Uint16Array(load.flows);
  }

  write(): void {
    const { flows } = this.load;
    this.fileHeader();
    for (let flow = 0; flow < flows; flow++) {
      this.packet(flow, CLIENT, SYN, 0);
      this.packet(flow, SERVER, SYN | ACK, 0);
      this.packet(flow, CLIENT, ACK, 0);
    }
    for (let left = exchangesOf(this.load); left > 0; left--) this.exchange((this.packets >> 1) % flows);
    this.flush();
  }

  private fileHeader(): void {
    const { buffer } = this;
    buffer.writeUInt32LE(MAGIC_MICROSECONDS, 0);
    buffer.writeUInt16LE(2, 4);
    buffer.writeUInt16LE(4, 6);
    buffer.writeUInt32LE(65_535, 16);
    buffer.writeUInt32LE(1, 20);
    this.used = FILE_HEADER;
  }

  /** MODBUS Application Protocol 6.3 and 6.6 behind the header of MODBUS Messaging on TCP/IP 3.1.3. */
  private exchange(flow: number): void {
    const transaction = ++this.transaction[flow] & 0xffff;
    const write = isWrite(transaction);
    const address = (transaction * 10) % 1000;
    const request = this.room();
    this.modbus(request, transaction, 6, write ? WRITE_SINGLE_REGISTER : READ_HOLDING_REGISTERS);
    this.registers(request, address, write ? transaction : 10);
    this.packet(flow, CLIENT, PSH | ACK, REQUEST);
    const response = this.room();
    if (write) {
      this.modbus(response, transaction, 6, WRITE_SINGLE_REGISTER);
      this.registers(response, address, transaction);
      this.packet(flow, SERVER, PSH | ACK, REQUEST);
      return;
    }
    this.modbus(response, transaction, 23, READ_HOLDING_REGISTERS);
    this.buffer[response + 8] = 20;
    for (let i = 9; i < READ_RESPONSE; i++) this.buffer[response + i] = i * transaction;
    this.packet(flow, SERVER, PSH | ACK, READ_RESPONSE);
  }

  private modbus(at: number, transaction: number, length: number, function_code: number): void {
    const { buffer } = this;
    buffer.writeUInt16BE(transaction, at);
    buffer.writeUInt16BE(0, at + 2);
    buffer.writeUInt16BE(length, at + 4);
    buffer[at + 6] = 1;
    buffer[at + 7] = function_code;
  }

  private registers(at: number, address: number, value: number): void {
    this.buffer.writeUInt16BE(address, at + 8);
    this.buffer.writeUInt16BE(value, at + 10);
  }

  /** Where the payload of the next packet goes. */
  private room(): number {
    if (this.used + PAYLOAD + READ_RESPONSE > BUFFER) this.flush();
    return this.used + PAYLOAD;
  }

  /** Puts the headers before a payload of `size` bytes that lies in its place. */
  private packet(flow: number, direction: 0 | 1, flags: number, size: number): void {
    const at = this.room() - PAYLOAD;
    const { buffer, sequence } = this;
    const length = HEADERS + size;
    buffer.writeUInt32LE(START_SECONDS + Math.floor(this.packets / PACKETS_A_SECOND), at);
    buffer.writeUInt32LE((this.packets % PACKETS_A_SECOND) * 10, at + 4);
    buffer.writeUInt32LE(length, at + 8);
    buffer.writeUInt32LE(length, at + 12);
    this.packets++;
    buffer.fill(0, at + RECORD_HEADER, at + PAYLOAD);

    const to = at + RECORD_HEADER;
    buffer[to] = buffer[to + 6] = 0x02;
    buffer[to + 5] = direction === CLIENT ? 2 : 1;
    buffer[to + 11] = direction === CLIENT ? 1 : 2;
    buffer.writeUInt16BE(0x0800, to + 12);

    const ip = at + IP;
    const { flows, clients = flows } = this.load;
    const client = FIRST_CLIENT + (flow % clients);
    buffer[ip] = 0x45;
    buffer.writeUInt16BE(40 + size, ip + 2);
    buffer.writeUInt16BE(this.packets & 0xffff, ip + 4);
    buffer[ip + 8] = 64;
    buffer[ip + 9] = 6;
    buffer.writeUInt32BE(direction === CLIENT ? client : SERVER_ADDRESS, ip + 12);
    buffer.writeUInt32BE(direction === CLIENT ? SERVER_ADDRESS : client, ip + 16);
    buffer.writeUInt16BE(checksum(buffer, ip, 20, 0), ip + 10);

    const tcp = at + TCP;
    const client_port = 40_000 + (clients === flows ? flow % 20_000 : Math.floor(flow / clients));
    const own = flow * 2 + direction;
    buffer.writeUInt16BE(direction === CLIENT ? client_port : 502, tcp);
    buffer.writeUInt16BE(direction === CLIENT ? 502 : client_port, tcp + 2);
    buffer.writeUInt32BE(sequence[own], tcp + 4);
    buffer.writeUInt32BE((flags & ACK) !== 0 ? sequence[own ^ 1] : 0, tcp + 8);
    buffer[tcp + 12] = 0x50;
    buffer[tcp + 13] = flags;
    buffer.writeUInt16BE(64_240, tcp + 14);
    // RFC 9293, 3.1: over the addresses, the protocol number and the length, too.
    const pseudo = sum(buffer, ip + 12, 8) + 6 + 20 + size;
    buffer.writeUInt16BE(checksum(buffer, tcp, 20 + size, pseudo), tcp + 16);
    sequence[own] += size + ((flags & (SYN | FIN)) !== 0 ? 1 : 0);
    this.used = at + PAYLOAD + size;
  }

  private flush(): void {
    for (let from = 0; from < this.used; ) from += fs.writeSync(this.descriptor, this.buffer, from, this.used - from);
    this.used = 0;
  }
}

/** Sum of 16-bit words; an odd byte at the end counts as the upper half of one. */
function sum(buffer: Buffer, at: number, size: number): number {
  let total = 0;
  for (let i = 0; i + 1 < size; i += 2) total += (buffer[at + i] << 8) | buffer[at + i + 1];
  return (size & 1) === 1 ? total + (buffer[at + size - 1] << 8) : total;
}

/** RFC 1071. */
function checksum(buffer: Buffer, at: number, size: number, start: number): number {
  let total = start + sum(buffer, at, size);
  while (total > 0xffff) total = (total & 0xffff) + Math.floor(total / 0x10000);
  return ~total & 0xffff;
}
