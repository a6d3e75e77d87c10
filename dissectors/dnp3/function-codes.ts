import { Operation, type OperationCode } from '../../src/dissect/index.ts';

/** IEEE 1815-2012, 4.4: application function codes, as far as the code here tells them apart. */
export const FunctionCode = {
  confirm: 0,
  read: 1,
  write: 2,
  select: 3,
  operate: 4,
  direct_operate: 5,
  direct_operate_nr: 6,
  immed_freeze: 7,
  freeze_at_time: 11,
  freeze_at_time_nr: 12,
  enable_unsolicited: 20,
  disable_unsolicited: 21,
  assign_class: 22,
  authenticate_req: 32,
  authenticate_req_nr: 33,
  response: 129,
  unsolicited_response: 130,
  authenticate_resp: 131,
} as const;

const OPERATIONS: Readonly<Record<number, OperationCode>> = {
  0: Operation.session,
  1: Operation.read,
  2: Operation.write,
  3: Operation.control,
  4: Operation.control,
  5: Operation.control,
  6: Operation.control,
  7: Operation.control,
  8: Operation.control,
  9: Operation.control,
  10: Operation.control,
  11: Operation.control,
  12: Operation.control,
  13: Operation.restart,
  14: Operation.restart,
  15: Operation.configure,
  16: Operation.mode_change,
  17: Operation.start,
  18: Operation.stop,
  19: Operation.configure,
  20: Operation.subscribe,
  21: Operation.subscribe,
  22: Operation.subscribe,
  23: Operation.time_sync,
  24: Operation.time_sync,
  25: Operation.file,
  26: Operation.file,
  27: Operation.file,
  28: Operation.file,
  29: Operation.authenticate,
  30: Operation.file,
  31: Operation.configure,
  32: Operation.authenticate,
  33: Operation.authenticate,
  130: Operation.report,
  131: Operation.authenticate,
};

/** READ and WRITE do what their objects are about. */
const WRITTEN: Readonly<Record<number, OperationCode>> = {
  0: Operation.configure,
  34: Operation.configure,
  50: Operation.time_sync,
  51: Operation.time_sync,
  70: Operation.file,
  85: Operation.configure,
  86: Operation.configure,
};
const READ: Readonly<Record<number, OperationCode>> = { 0: Operation.identify, 70: Operation.file };
/** A response whose request was not seen does what its first object says; anything else is the answer to a READ. */
const ANSWERED: Readonly<Record<number, OperationCode>> = {
  0: Operation.identify,
  12: Operation.control,
  41: Operation.control,
  52: Operation.time_sync,
  70: Operation.file,
  120: Operation.authenticate,
};

export const isResponse = (code: number): boolean => code >= 129;

/** `group`: that of the first object, -1 where there is none. */
export function operationOf(code: number, group: number): OperationCode {
  if (code === FunctionCode.read) return READ[group] ?? Operation.read;
  if (code === FunctionCode.write) return WRITTEN[group] ?? Operation.write;
  if (code === FunctionCode.response) return group < 0 ? Operation.other : (ANSWERED[group] ?? Operation.read);
  return OPERATIONS[code] ?? Operation.other;
}

/** Those that the outstation does not answer (4.4, "no response" forms). */
export function isUnanswered(code: number): boolean {
  return (
    code === FunctionCode.confirm ||
    code === 6 ||
    code === 8 ||
    code === 10 ||
    code === 12 ||
    code === FunctionCode.authenticate_req_nr
  );
}

/**
 * Do the object headers of this function stand without data? Then a range only names the points (4.2.2.7). An object size
 * before each object, authentication objects and the time of a freeze carry data even there.
 */
export function namesPointsOnly(code: number): boolean {
  return (
    code === FunctionCode.read ||
    (code >= FunctionCode.immed_freeze && code <= FunctionCode.freeze_at_time_nr) ||
    (code >= FunctionCode.enable_unsolicited && code <= FunctionCode.assign_class)
  );
}
