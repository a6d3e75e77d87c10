import { bytes, list, type RowOf, record, text, u8, u16 } from '../../src/dissect/index.ts';
import {
  CONFORMITY_NAMES,
  DIAGNOSTIC_NAMES,
  EXCEPTION_NAMES,
  FUNCTION_NAMES,
  MEI_NAMES,
  OBJECT_NAMES,
  READ_DEVICE_ID_NAMES,
  UMAS_NAMES,
  UMAS_RESULT_NAMES,
} from './function-codes.ts';

/** A MODBUS PDU and the addressing around it. Fields named `request_…` come from the request that a response answers. */
export const Modbus = record('modbus', 'One MODBUS request or response', {
  transaction_id: u16('mbtcp.trans_id', 'Transaction identifier of the MBAP header'),
  protocol_id: u16('mbtcp.prot_id', 'Protocol identifier of the MBAP header; 0 is MODBUS'),
  length: u16('mbtcp.len', 'Bytes that follow the length field of the MBAP header', { unit: 'bytes' }),
  unit_id: u8('mbtcp.unit_id', 'Unit identifier; on a serial line the server address'),
  function_code: u8('modbus.func_code', 'Function code, without the bit that marks an exception', { names: FUNCTION_NAMES }),
  exception_code: u8('modbus.exception_code', 'Why the server refuses; present in exception responses only', {
    names: EXCEPTION_NAMES,
  }),
  address: u16('modbus.reference_num', 'Address of the first coil, input or register, as in this PDU'),
  bit_quantity: u16('modbus.bit_cnt', 'Quantity of coils or inputs, as in this PDU'),
  register_quantity: u16('modbus.word_cnt', 'Quantity of registers, as in this PDU; the FIFO count of function 24'),
  byte_count: u8('modbus.byte_cnt', 'Bytes of values that follow', { unit: 'bytes' }),
  register_values: list(u16('modbus.regval_uint16', 'Register values by address, from address or request_address on')),
  bit_values: list(u8('modbus.bitval', 'Coil or input values (0, 1) by address, from address or request_address on')),
  output_value: u16(null, 'Output value of function 5', { names: { 0: 'OFF', 65280: 'ON' } }),
  request_address: u16(null, 'Address in the request that this PDU answers'),
  request_quantity: u16(null, 'Quantity in the request that this PDU answers'),
  and_mask: u16('modbus.and_mask', 'And_Mask of function 22'),
  or_mask: u16('modbus.or_mask', 'Or_Mask of function 22'),
  read_address: u16('modbus.read_reference_num', 'Read starting address of function 23'),
  read_quantity: u16('modbus.read_word_cnt', 'Quantity of registers that function 23 reads'),
  write_address: u16('modbus.write_reference_num', 'Write starting address of function 23'),
  write_quantity: u16('modbus.write_word_cnt', 'Quantity of registers that function 23 writes'),
  fifo_byte_count: u16('modbus.byte_cnt_16', 'Byte count of function 24', { unit: 'bytes' }),
  sub_function: u16('modbus.diagnostic_code', 'Sub-function of function 8', { names: DIAGNOSTIC_NAMES }),
  diagnostic_data: u16(null, 'Data field of function 8: a counter, a register or an option'),
  exception_status: u8(null, 'The eight exception status outputs of function 7'),
  comm_status: u16('modbus.ev_status', 'Status of functions 11 and 12; FFFF is busy'),
  event_count: u16('modbus.ev_count', 'Communication events counted'),
  message_count: u16('modbus.ev_msg_count', 'Messages processed since the last restart'),
  events: list(u8('modbus.event', 'Communication events, the most recent first')),
  run_indicator: u8(null, 'Run indicator status of function 17', { names: { 0: 'OFF', 255: 'ON' } }),
  mei_type: u8('modbus.mei', 'MEI type of function 43', { names: MEI_NAMES }),
  read_device_id_code: u8('modbus.read_device_id', 'Read device ID code', { names: READ_DEVICE_ID_NAMES }),
  object_id: u8('modbus.object_id', 'First identity object that is wanted', { names: OBJECT_NAMES }),
  conformity_level: u8('modbus.conformity_level', 'What identification the device supports', { names: CONFORMITY_NAMES }),
  more_follows: u8('modbus.more_follows', 'Further objects need another request', { names: { 0: 'no', 255: 'yes' } }),
  next_object_id: u8('modbus.next_object_id', 'Object to ask for next'),
  object_count: u8('modbus.num_objects', 'Identity objects that follow'),
  umas_session: u8(null, 'UMAS session (reservation) key'),
  umas_function: u8(null, 'UMAS function; in a response its request’s', { names: UMAS_NAMES }),
  umas_result: u8(null, 'UMAS result', { names: UMAS_RESULT_NAMES }),
  data: bytes(null, 'Bytes that no other field holds'),
  crc: u16('mbrtu.crc16', 'CRC of a serial line frame; its low byte is sent first, and stands first here'),
});

export const ModbusObject = record('modbus_object', 'An identity object of function 43/14', {
  object_id: u8('modbus.object_id', 'Identity object', { names: OBJECT_NAMES }),
  object_length: u8('modbus.objects_len', 'Bytes of the object', { unit: 'bytes' }),
  object_value: text('modbus.object_str_value', 'Value of a standard object'),
  private_value: bytes('modbus.object_value', 'Value of a device dependent object (80–FF)'),
});

export const ModbusFileRecord = record('modbus_file_record', 'A sub-request or sub-response of functions 20 and 21', {
  byte_count: u8('modbus.byte_cnt', 'File response length: reference type and data', { unit: 'bytes' }),
  reference_type: u8('modbus.reference_type', 'Reference type; 6 is the only one specified'),
  file_number: u16(null, 'File; in a response to function 20 its request’s'),
  record_number: u16(null, 'First record in the file; in a response to function 20 its request’s'),
  record_length: u16('modbus.word_cnt', 'Registers to read or write'),
  record_data: list(u16(null, 'Registers read or written')),
});

export const ANOMALIES = {
  unsolicited_response: 'A response to no request that was seen',
  duplicate_response: 'A second response to a request that was sent once',
  function_mismatch: 'The response to a transaction has another function code than its request',
  unit_mismatch: 'The response to a transaction comes from another unit than its request was for',
  quantity_mismatch: 'The response carries another quantity than its request asked for',
  echo_mismatch: 'The response does not repeat what its request said, as it must',
  transaction_id_reused: 'A different request under a transaction identifier that still waits for its response',
  unexpected_direction: 'A response from the client, or a request from the server',
  request_flood: 'Many more requests than a client may have open, none answered',
  illegal_value: 'A value that the specification excludes at this place',
  quantity_out_of_range: 'A quantity of 0, or more than fits a PDU',
  address_out_of_range: 'Address and quantity reach beyond 65535',
  byte_count_mismatch: 'The byte count disagrees with the quantity, or with the bytes that are there',
  length_mismatch: 'The PDU is longer than its function code allows',
  unassigned_function: 'A function code that the specification gives to nobody',
  unknown_exception_code: 'An exception code that the specification does not have',
} as const;

export type PduAnomaly = keyof typeof ANOMALIES;

export type ModbusRow = RowOf<(typeof Modbus)['fields']>;
export type FileRecordRow = RowOf<(typeof ModbusFileRecord)['fields']>;
