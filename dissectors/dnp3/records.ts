import {
  bool,
  bytes,
  f32,
  f64,
  i32,
  list,
  type RecordType,
  type RowOf,
  record,
  text,
  time,
  u8,
  u16,
  u32,
} from '../../src/dissect/index.ts';
import { PRIMARY_FUNCTIONS, SECONDARY_FUNCTIONS } from './link.ts';
import { DEVICE_ATTRIBUTES, GROUP_NAMES } from './objects.ts';

/** The row of a record, as a function takes it. */
export type RowIn<R> = R extends RecordType<infer F> ? RowOf<F> : never;

/** IEEE 1815-2012, 4.2.2.5 */
export const FUNCTIONS: Readonly<Record<number, string>> = {
  0: 'confirm',
  1: 'read',
  2: 'write',
  3: 'select',
  4: 'operate',
  5: 'direct_operate',
  6: 'direct_operate_nr',
  7: 'immed_freeze',
  8: 'immed_freeze_nr',
  9: 'freeze_clear',
  10: 'freeze_clear_nr',
  11: 'freeze_at_time',
  12: 'freeze_at_time_nr',
  13: 'cold_restart',
  14: 'warm_restart',
  15: 'initialize_data',
  16: 'initialize_appl',
  17: 'start_appl',
  18: 'stop_appl',
  19: 'save_config',
  20: 'enable_unsolicited',
  21: 'disable_unsolicited',
  22: 'assign_class',
  23: 'delay_measure',
  24: 'record_current_time',
  25: 'open_file',
  26: 'close_file',
  27: 'delete_file',
  28: 'get_file_info',
  29: 'authenticate_file',
  30: 'abort_file',
  31: 'activate_config',
  32: 'authenticate_req',
  33: 'authenticate_req_nr',
  129: 'response',
  130: 'unsolicited_response',
  131: 'authenticate_resp',
};

/** A.8: control status codes */
const CONTROL_STATUS: Readonly<Record<number, string>> = {
  0: 'success',
  1: 'timeout',
  2: 'no_select',
  3: 'format_error',
  4: 'not_supported',
  5: 'already_active',
  6: 'hardware_error',
  7: 'local',
  8: 'too_many_objs',
  9: 'not_authorized',
  10: 'automation_inhibit',
  11: 'processing_limited',
  12: 'out_of_range',
  13: 'downstream_local',
  14: 'already_complete',
  15: 'blocked',
  16: 'canceled',
  17: 'blocked_other_master',
  18: 'downstream_fail',
  126: 'non_participating',
  127: 'undefined',
};

const DOUBLE_BIT_STATES = { 0: 'intermediate', 1: 'determined_off', 2: 'determined_on', 3: 'indeterminate' };

export const Dnp3 = record('dnp3', 'One data link frame: with its transport segment, and with the fragment that it completes', {
  // clause 9: data link layer
  length: u8('dnp3.len', 'Octets of control, addresses and user data, without CRCs', { unit: 'bytes' }),
  dir: bool('dnp3.ctl.dir', 'The frame goes from a master to an outstation'),
  prm: bool('dnp3.ctl.prm', 'The frame initiates a link-layer transaction'),
  fcb: bool('dnp3.ctl.fcb', 'Frame count bit'),
  fcv: bool('dnp3.ctl.fcv', 'The frame count bit is valid'),
  dfc: bool('dnp3.ctl.dfc', 'Data flow control: the receiver has no room'),
  primary_function: u8('dnp3.ctl.prifunc', 'Link function of a frame with PRM', { names: PRIMARY_FUNCTIONS }),
  secondary_function: u8('dnp3.ctl.secfunc', 'Link function of a frame without PRM', { names: SECONDARY_FUNCTIONS }),
  destination: u16('dnp3.dst', 'Link address of the receiver'),
  source: u16('dnp3.src', 'Link address of the sender'),
  // clause 8: transport function
  transport_fin: bool('dnp3.tr.fin', 'Last segment of the fragment'),
  transport_fir: bool('dnp3.tr.fir', 'First segment of the fragment'),
  transport_sequence: u8('dnp3.tr.seq', 'Number of the segment, modulo 64'),
  segment_count: u16('dnp3.al.fragment.count', 'Segments of the fragment that this frame completes'),
  fragment_size: u16('dnp3.al.fragment.reassembled.length', 'Size of that fragment', { unit: 'bytes' }),
  // clause 4: application layer
  fir: bool('dnp3.al.fir', 'First fragment of the message'),
  fin: bool('dnp3.al.fin', 'Last fragment of the message'),
  con: bool('dnp3.al.con', 'The sender asks for a confirmation'),
  uns: bool('dnp3.al.uns', 'Part of an unsolicited exchange'),
  sequence: u8('dnp3.al.seq', 'Number of the fragment, modulo 16'),
  function: u8('dnp3.al.func', 'Application function code', { names: FUNCTIONS }),
  iin: u16('dnp3.al.iin', 'Internal indications: IIN1 × 256 + IIN2'),
  iin_broadcast: bool('dnp3.al.iin.bmsg', 'IIN1.0: a broadcast message was received'),
  iin_class_1_events: bool('dnp3.al.iin.cls1d', 'IIN1.1: class 1 events wait'),
  iin_class_2_events: bool('dnp3.al.iin.cls2d', 'IIN1.2: class 2 events wait'),
  iin_class_3_events: bool('dnp3.al.iin.cls3d', 'IIN1.3: class 3 events wait'),
  iin_need_time: bool('dnp3.al.iin.tsr', 'IIN1.4: time synchronisation is needed'),
  iin_local_control: bool('dnp3.al.iin.dol', 'IIN1.5: outputs are in local mode'),
  iin_device_trouble: bool('dnp3.al.iin.dt', 'IIN1.6: abnormal condition in the outstation'),
  iin_device_restart: bool('dnp3.al.iin.rst', 'IIN1.7: the outstation has restarted'),
  iin_no_func_code_support: bool('dnp3.al.iin.fcni', 'IIN2.0: function code not supported'),
  iin_object_unknown: bool('dnp3.al.iin.obju', 'IIN2.1: objects unknown'),
  iin_parameter_error: bool('dnp3.al.iin.pioor', 'IIN2.2: qualifier, range or data not valid'),
  iin_event_buffer_overflow: bool('dnp3.al.iin.ebo', 'IIN2.3: events were lost'),
  iin_already_executing: bool('dnp3.al.iin.oae', 'IIN2.4: the operation is already executing'),
  iin_config_corrupt: bool('dnp3.al.iin.cc', 'IIN2.5: the configuration is corrupt'),
  iin_reserved_2: bool(null, 'IIN2.6'),
  iin_reserved_1: bool(null, 'IIN2.7'),
  object_header_count: u16(null, 'Object headers in the fragment'),
  point_count: u32(null, 'Objects with data in the fragment'),
  request_function: u8(null, 'Function code of the request that this response answers', { names: FUNCTIONS }),
  response_time_ms: f64(null, 'Time since that request', { unit: 'ms' }),
});

export const ObjectHeader = record('dnp3_object', 'An object header: which objects the function is about', {
  function: u8(null, 'Function code of the fragment', { names: FUNCTIONS }),
  object: u16('dnp3.al.obj', 'Group × 256 + variation'),
  group: u8(null, 'Object group: the type of data', { names: GROUP_NAMES }),
  variation: u8(null, 'Object variation: the format of the data'),
  prefix_code: u8('dnp3.al.objq.prefix', 'What stands before each object', {
    names: { 0: 'none', 1: 'index_1', 2: 'index_2', 3: 'index_4', 4: 'size_1', 5: 'size_2', 6: 'size_4' },
  }),
  range_code: u8('dnp3.al.objq.range', 'How the objects are chosen', {
    names: {
      ...{ 0: 'start_stop_1', 1: 'start_stop_2', 2: 'start_stop_4', 3: 'address_1', 4: 'address_2', 5: 'address_4' },
      ...{ 6: 'all', 7: 'count_1', 8: 'count_2', 9: 'count_4', 11: 'variable_format' },
    },
  }),
  range_start: u32('dnp3.al.range.start', 'First index (or virtual address)'),
  range_stop: u32('dnp3.al.range.stop', 'Last index (or virtual address)'),
  quantity: u32('dnp3.al.range.quantity', 'Number of objects, as stated'),
  data: bytes(null, 'Data that the object library does not describe'),
});

/** What every point has. `index_prefix` is `index` where it was sent with the object, as Wireshark tells them apart. */
const point = {
  function: u8(null, 'Function code of the fragment', { names: FUNCTIONS }),
  group: u8(null, 'Object group', { names: GROUP_NAMES }),
  variation: u8(null, 'Object variation'),
  index: u32(null, 'Point index'),
  index_prefix: u32('dnp3.al.index', 'Point index, where it was sent with the object'),
};

export const BinaryInput = record('dnp3_binary_input', 'A binary input or its event (groups 1 and 2)', {
  ...point,
  flags: u8(null, 'Quality octet as sent'),
  online: bool('dnp3.al.biq.b0', 'The point is read actively'),
  restart: bool('dnp3.al.biq.b1', 'Not updated since the restart'),
  comm_lost: bool('dnp3.al.biq.b2', 'No communication with the source of the data'),
  remote_forced: bool('dnp3.al.biq.b3', 'Overridden in a downstream device'),
  local_forced: bool('dnp3.al.biq.b4', 'Overridden in the reporting device'),
  chatter_filter: bool('dnp3.al.biq.b5', 'Filtered, since it changes too fast'),
  reserved: bool('dnp3.al.biq.b6', 'Bit 6 of the quality octet'),
  state: bool(null, 'State of the point'),
  state_flag: bool('dnp3.al.biq.b7', 'State, where sent in the quality octet'),
  state_bit: bool('dnp3.al.bit', 'State, where sent as a packed bit'),
  time: time('dnp3.al.timestamp', 'Time of the event, as sent'),
  relative_time_ms: u16(null, 'Time since the common time of occurrence', { unit: 'ms' }),
  common_time: time(null, 'Time of the event, from the common time of occurrence'),
});

export const PackedPoints = record(
  'dnp3_packed_points',
  'Packed points beyond those that have a row each: from `index` on, in order',
  {
    ...point,
    states: list(u8('dnp3.al.bit', 'States of the points')),
    double_bit_states: list(u8('dnp3.al.2bit', 'States of the points of two bits', { names: DOUBLE_BIT_STATES })),
  },
);

export const DoubleBitInput = record('dnp3_double_bit_input', 'A double-bit binary input or its event (groups 3 and 4)', {
  ...point,
  flags: u8(null, 'Quality octet as sent'),
  online: bool('dnp3.al.biq.b0', 'The point is read actively'),
  restart: bool('dnp3.al.biq.b1', 'Not updated since the restart'),
  comm_lost: bool('dnp3.al.biq.b2', 'No communication with the source of the data'),
  remote_forced: bool('dnp3.al.biq.b3', 'Overridden in a downstream device'),
  local_forced: bool('dnp3.al.biq.b4', 'Overridden in the reporting device'),
  chatter_filter: bool('dnp3.al.biq.b5', 'Filtered, since it changes too fast'),
  state: u8(null, 'State of the point', { names: DOUBLE_BIT_STATES }),
  state_low: bool('dnp3.al.biq.b6', 'Lower bit of the state, where sent in the quality octet'),
  state_high: bool('dnp3.al.biq.b7', 'Upper bit of the state, where sent in the quality octet'),
  state_bits: u8('dnp3.al.2bit', 'State, where sent as two packed bits'),
  time: time('dnp3.al.timestamp', 'Time of the event, as sent'),
  relative_time_ms: u16(null, 'Time since the common time of occurrence', { unit: 'ms' }),
  common_time: time(null, 'Time of the event, from the common time of occurrence'),
});

export const BinaryOutput = record('dnp3_binary_output', 'A binary output or its event (groups 10 and 11)', {
  ...point,
  flags: u8(null, 'Quality octet as sent'),
  online: bool('dnp3.al.boq.b0', 'The point works'),
  restart: bool('dnp3.al.boq.b1', 'Not updated since the restart'),
  comm_lost: bool('dnp3.al.boq.b2', 'No communication with the source of the data'),
  remote_forced: bool('dnp3.al.boq.b3', 'Overridden in a downstream device'),
  local_forced: bool('dnp3.al.boq.b4', 'Overridden in the reporting device'),
  state: bool(null, 'State of the point'),
  state_flag: bool('dnp3.al.boq.b7', 'State, where sent in the quality octet'),
  state_bit: bool('dnp3.al.bit', 'State, where sent as a packed bit'),
  time: time('dnp3.al.timestamp', 'Time of the event'),
});

export const ControlBlock = record(
  'dnp3_control',
  'A control relay output block or pattern control (group 12): a command to a binary output',
  {
    ...point,
    control_code: u8(null, 'Control code as sent'),
    operation_type: u8('dnp3.ctl.op', 'What the output does', {
      names: { 0: 'nul', 1: 'pulse_on', 2: 'pulse_off', 3: 'latch_on', 4: 'latch_off' },
    }),
    queue_clear: u8('dnp3.ctl.clr', 'Queue and clear bits', {
      names: { 0: 'none', 1: 'queue', 2: 'clear', 3: 'queue_and_clear' },
    }),
    trip_close_code: u8('dnp3.ctl.trip', 'Which relay of a pair', { names: { 0: 'nul', 1: 'close', 2: 'trip', 3: 'reserved' } }),
    repeat_count: u8('dnp3.al.count', 'How often the operation is carried out'),
    on_time_ms: u32('dnp3.al.on_time', 'How long the output is on', { unit: 'ms' }),
    off_time_ms: u32('dnp3.al.off_time', 'How long the output is off', { unit: 'ms' }),
    control_status: u8('dnp3.al.ctrlstatus', 'Result, in a response', { names: CONTROL_STATUS }),
    pattern_bit: bool('dnp3.al.bit', 'The pattern mask operates this output'),
  },
);

export const BinaryCommandEvent = record('dnp3_binary_command_event', 'A command to a binary output was received (group 13)', {
  ...point,
  control_status: u8('dnp3.al.ctrlstatus', 'Its result', { names: CONTROL_STATUS }),
  commanded_state: bool('dnp3.al.bocs', 'The state that was commanded'),
  time: time('dnp3.al.timestamp', 'Time of the command'),
});

export const Counter = record('dnp3_counter', 'A counter, frozen counter or an event of theirs (groups 20 to 23)', {
  ...point,
  flags: u8(null, 'Quality octet as sent'),
  online: bool('dnp3.al.ctrq.b0', 'The point is read actively'),
  restart: bool('dnp3.al.ctrq.b1', 'Not updated since the restart'),
  comm_lost: bool('dnp3.al.ctrq.b2', 'No communication with the source of the data'),
  remote_forced: bool('dnp3.al.ctrq.b3', 'Overridden in a downstream device'),
  local_forced: bool('dnp3.al.ctrq.b4', 'Overridden in the reporting device'),
  rollover: bool('dnp3.al.ctrq.b5', 'The counter rolled over (obsolete)'),
  discontinuity: bool('dnp3.al.ctrq.b6', 'The value cannot be compared with the one before'),
  value: u32('dnp3.al.cnt', 'The count'),
  time: time('dnp3.al.timestamp', 'Time of the event or of the freeze'),
});

export const AnalogInput = record(
  'dnp3_analog_input',
  'An analog input, frozen analog input or an event of theirs (groups 30 to 33)',
  {
    ...point,
    flags: u8(null, 'Quality octet as sent'),
    online: bool('dnp3.al.aiq.b0', 'The point is read actively'),
    restart: bool('dnp3.al.aiq.b1', 'Not updated since the restart'),
    comm_lost: bool('dnp3.al.aiq.b2', 'No communication with the source of the data'),
    remote_forced: bool('dnp3.al.aiq.b3', 'Overridden in a downstream device'),
    local_forced: bool('dnp3.al.aiq.b4', 'Overridden in the reporting device'),
    over_range: bool('dnp3.al.aiq.b5', 'The value exceeds its range'),
    reference_err: bool('dnp3.al.aiq.b6', 'The reference of the converter is not stable'),
    value: f64(null, 'The value, whatever its encoding'),
    value_integer: i32('dnp3.al.ana.int', 'The value, where sent as an integer'),
    value_float: f32('dnp3.al.ana.float', 'The value, where sent in single precision'),
    value_double: f64('dnp3.al.ana.double', 'The value, where sent in double precision'),
    time: time('dnp3.al.timestamp', 'Time of the event or of the freeze'),
  },
);

export const Deadband = record('dnp3_deadband', 'The deadband that an analog input must move by to be reported (group 34)', {
  ...point,
  value: f64(null, 'The deadband, whatever its encoding'),
  value_integer: u32('dnp3.al.ana.int', 'The deadband, where sent as an integer'),
  value_float: f32('dnp3.al.ana.float', 'The deadband, where sent in single precision'),
});

export const AnalogOutput = record('dnp3_analog_output', 'The status of an analog output or its event (groups 40 and 42)', {
  ...point,
  flags: u8(null, 'Quality octet as sent'),
  online: bool('dnp3.al.aoq.b0', 'The point works'),
  restart: bool('dnp3.al.aoq.b1', 'Not updated since the restart'),
  comm_lost: bool('dnp3.al.aoq.b2', 'No communication with the source of the data'),
  remote_forced: bool('dnp3.al.aoq.b3', 'Overridden in a downstream device'),
  local_forced: bool('dnp3.al.aoq.b4', 'Overridden in the reporting device'),
  over_range: bool('dnp3.al.aoq.b5', 'The value exceeds its range'),
  reference_err: bool('dnp3.al.aoq.b6', 'The reference of the converter is not stable'),
  value: f64(null, 'The value, whatever its encoding'),
  value_integer: i32('dnp3.al.anaout.int', 'The value, where sent as an integer'),
  value_float: f32('dnp3.al.anaout.float', 'The value, where sent in single precision'),
  value_double: f64('dnp3.al.anaout.double', 'The value, where sent in double precision'),
  time: time('dnp3.al.timestamp', 'Time of the event'),
});

export const AnalogCommand = record(
  'dnp3_analog_command',
  'A command to an analog output (group 41), or the event that one was received (group 43)',
  {
    ...point,
    value: f64(null, 'The commanded value, whatever its encoding'),
    value_integer: i32('dnp3.al.anaout.int', 'The commanded value, where sent as an integer'),
    value_float: f32('dnp3.al.anaout.float', 'The commanded value, where sent in single precision'),
    value_double: f64('dnp3.al.anaout.double', 'The commanded value, where sent in double precision'),
    control_status: u8('dnp3.al.ctrlstatus', 'Result, in a response or event', { names: CONTROL_STATUS }),
    time: time('dnp3.al.timestamp', 'Time of the command'),
  },
);

export const Time = record('dnp3_time', 'A time: written, read, or common to the events behind it (groups 50 and 51)', {
  ...point,
  time: time('dnp3.al.timestamp', 'The time'),
  interval: u32(null, 'Interval between repetitions, in `interval_units`; in ms where there are none'),
  interval_units: u8(null, 'Unit of the interval', {
    names: { 0: 'none', 1: 'milliseconds', 2: 'seconds', 3: 'minutes', 4: 'hours', 5: 'days', 6: 'weeks', 7: 'months' },
  }),
});

export const TimeDelay = record('dnp3_time_delay', 'How long the outstation took, or how long it is away (group 52)', {
  ...point,
  delay: u16('dnp3.al.time_delay', 'The delay as sent: seconds in variation 1, milliseconds in variation 2'),
  delay_ms: u32(null, 'The delay', { unit: 'ms' }),
});

export const File = record('dnp3_file', 'A step of a file transfer (group 70)', {
  ...point,
  file_name_offset: u16('dnp3.al.file_string_offset', 'Where the name is in the object', { unit: 'bytes' }),
  file_name_size: u16('dnp3.al.file_string_length', 'Size of the name', { unit: 'bytes' }),
  file_type: u16(null, 'What it is', { names: { 0: 'directory', 1: 'file' } }),
  file_time: time('dnp3.al.timestamp', 'When the file was made'),
  permissions: u16('dnp3.al.file.perms', 'Read, write and execute for owner, group and world'),
  authentication_key: u32('dnp3.al.file.auth', 'Key given by the outstation for this file'),
  handle: u32('dnp3.al.file.handle', 'Handle of the open file'),
  file_size: u32('dnp3.al.file.size', 'Size of the file', { unit: 'bytes' }),
  mode: u16('dnp3.al.file.mode', 'What it is opened for', { names: { 0: 'none', 1: 'read', 2: 'write', 3: 'append' } }),
  max_block_size: u16('dnp3.al.file.maxblock', 'Largest block of the transfer', { unit: 'bytes' }),
  request_id: u16('dnp3.al.file.reqID', 'Number that joins command and status'),
  block_number: u32('dnp3.al.file.blocknum', 'Number of the block'),
  last_block: bool('dnp3.al.file.lastblock', 'The last block of the file'),
  file_status: u8('dnp3.al.file.status', 'Result', {
    names: {
      ...{ 0: 'success', 1: 'permission_denied', 2: 'invalid_mode', 3: 'file_not_found', 4: 'file_locked', 5: 'too_many_open' },
      ...{ 6: 'invalid_handle', 7: 'write_block_size', 8: 'comm_lost', 9: 'cannot_abort', 16: 'not_opened' },
      ...{ 17: 'handle_expired', 18: 'buffer_overrun', 19: 'fatal', 20: 'block_sequence', 255: 'undefined' },
    },
  }),
  file_name: text('dnp3.al.file_name', 'Name of the file'),
  user_name: text(null, 'Name of the user who asks for an authentication key'),
  password_size: u16(null, 'Size of the password, which is not kept', { unit: 'bytes' }),
  text: text(null, 'What the outstation adds to its status'),
  data: bytes('dnp3.al.file.data', 'Contents of the block'),
});

export const InternalIndication = record(
  'dnp3_internal_indication',
  'An internal indication bit that is written or read (group 80)',
  {
    ...point,
    state: bool('dnp3.al.bit', 'The bit'),
  },
);

export const DeviceAttribute = record('dnp3_device_attribute', 'What the outstation says about itself (group 0)', {
  ...point,
  attribute_set: u32(null, "Set of attributes; 0 is the standard's own"),
  attribute: u8(null, "The attribute: the object's variation", { names: DEVICE_ATTRIBUTES }),
  data_type: u8('dnp3.al.datatype', 'Encoding of the value', {
    names: {
      ...{ 1: 'visible_string', 2: 'unsigned_integer', 3: 'signed_integer', 4: 'floating_point', 5: 'octet_string' },
      ...{ 6: 'bit_string', 7: 'time', 254: 'attribute_list', 255: 'extended_attribute_list' },
    },
  }),
  value_size: u16('dnp3.al.da.length', 'Size of the value', { unit: 'bytes' }),
  text: text('dnp3.al.da.value', 'Value of a string'),
  value: f64(null, 'Value of a number'),
  time: time(null, 'Value of a time'),
  data: bytes(null, 'Value of octet strings, bit strings and lists'),
});

export const OctetString = record(
  'dnp3_octet_string',
  'An octet string, virtual terminal data or an event of theirs (groups 110 to 115)',
  {
    ...point,
    data: bytes('dnp3.al.octet_string', 'The octets'),
  },
);

export const ObjectData = record(
  'dnp3_data',
  'An object of another group: data sets, device profile, applications, integers (groups 80 to 102)',
  {
    ...point,
    value: f64(null, 'Value of an integer or binary-coded decimal'),
    fill_percentage: u8(null, 'How full the buffer is', { unit: '%' }),
    overflow: bool(null, 'The buffer overflowed'),
    buffer_group: u8(null, 'Group of the objects in the buffer', { names: GROUP_NAMES }),
    buffer_variation: u8(null, 'Their variation'),
    vendor_code: text(null, 'Who registered the private object'),
    object_id: u16(null, 'Number of the private object'),
    data: bytes(null, 'The octets'),
  },
);

const MAC_ALGORITHMS = {
  ...{
    0: 'none',
    1: 'hmac_sha_1_4',
    2: 'hmac_sha_1_10',
    3: 'hmac_sha_256_8',
    4: 'hmac_sha_256_16',
    5: 'hmac_sha_1_8',
    6: 'aes_gmac_12',
  },
};

export const Authentication = record('dnp3_authentication', 'A step of secure authentication (group 120)', {
  ...point,
  challenge_sequence: u32(null, 'Challenge sequence number (CSQ)'),
  key_change_sequence: u32(null, 'Key change sequence number (KSQ)'),
  status_change_sequence: u32(null, 'Status change sequence number (SCS)'),
  user_number: u16(null, 'User number (USR)'),
  mac_algorithm: u8(null, 'MAC algorithm (MAL)', { names: MAC_ALGORITHMS }),
  reason: u8(null, 'Reason for the challenge (RSC)', { names: { 1: 'critical' } }),
  key_wrap_algorithm: u8(null, 'Key wrap algorithm (KWA)', { names: { 1: 'aes_128', 2: 'aes_256' } }),
  key_status: u8(null, 'Status of the session keys (KST)', { names: { 1: 'ok', 2: 'not_init', 3: 'comm_fail', 4: 'auth_fail' } }),
  association_id: u16(null, 'Association (AID)'),
  error_code: u8(null, 'What failed (ERR)', {
    names: {
      ...{ 1: 'authentication_failed', 2: 'unexpected_reply', 3: 'no_reply', 4: 'aggressive_mode_not_permitted' },
      ...{ 5: 'mac_algorithm_not_permitted', 6: 'key_wrap_algorithm_not_permitted', 7: 'authorization_failed' },
      ...{ 8: 'key_change_method_not_permitted', 9: 'invalid_signature', 10: 'invalid_certification_data' },
      ...{ 11: 'unknown_user', 12: 'max_session_key_status_requests' },
    },
  }),
  time: time(null, 'Time of the error'),
  text: text(null, 'What the error was, in words'),
  key_change_method: u8(null, 'Key change method (KCM)', {
    names: { 3: 'aes_128_sha_1_hmac', 4: 'aes_256_sha_256_hmac', 5: 'aes_256_aes_gmac' },
  }),
  certificate_type: u8(null, 'Certificate type', { names: { 1: 'id_certificate', 2: 'attribute_certificate' } }),
  user_operation: u8(null, 'What is done with the user (OPR)', { names: { 1: 'add', 2: 'delete', 3: 'change' } }),
  user_role: u16(null, 'Role of the user (UR)', {
    names: {
      0: 'viewer',
      1: 'operator',
      2: 'engineer',
      3: 'installer',
      4: 'secadm',
      5: 'secaud',
      6: 'rbacmnt',
      32768: 'single_user',
    },
  }),
  role_expiry_interval: u16(null, 'Days until the role expires (UREI)'),
  user_name: text(null, 'Name of the user'),
  challenge_data: bytes(null, 'Challenge data'),
  mac_value: bytes(null, 'MAC value'),
  certificate: bytes(null, 'Certificate, certification data or signature'),
  key_size: u16(null, 'Size of the wrapped key data, which are not kept', { unit: 'bytes' }),
});

export const SecurityStatistic = record('dnp3_security_statistic', 'A count of secure authentication (groups 121 and 122)', {
  ...point,
  flags: u8(null, 'Quality octet as sent'),
  statistic: u8(null, 'What is counted: the point index', {
    names: {
      ...{ 0: 'unexpected_messages', 1: 'authorization_failures', 2: 'authentication_failures', 3: 'reply_timeouts' },
      ...{ 4: 'rekeys_due_to_authentication_failure', 5: 'total_messages_sent', 6: 'total_messages_received' },
      ...{ 7: 'critical_messages_sent', 8: 'critical_messages_received', 9: 'discarded_messages', 10: 'error_messages_sent' },
      ...{ 11: 'error_messages_received', 12: 'successful_authentications', 13: 'session_key_changes' },
      ...{
        14: 'failed_session_key_changes',
        15: 'update_key_changes',
        16: 'failed_update_key_changes',
        17: 'rekeys_due_to_restarts',
      },
    },
  }),
  association_id: u16(null, 'Association'),
  value: u32('dnp3.al.cnt', 'The count'),
  time: time('dnp3.al.timestamp', 'Time of the event'),
});

export const RECORDS = [
  ...[
    Dnp3,
    ObjectHeader,
    BinaryInput,
    PackedPoints,
    DoubleBitInput,
    BinaryOutput,
    ControlBlock,
    BinaryCommandEvent,
    Counter,
    AnalogInput,
  ],
  ...[Deadband, AnalogOutput, AnalogCommand, Time, TimeDelay, File, InternalIndication, DeviceAttribute, OctetString],
  ...[ObjectData, Authentication, SecurityStatistic],
] as const;
