import type { AnyDissector } from '../src/dissect/index.ts';
import modbus from './modbus/modbus.ts';
import mbrtu from './modbus/modbus-rtu.ts';

/** What the sensor understands, one line a protocol. The order is the order of recognition: the surest signatures first. */
export const dissectors: readonly AnyDissector[] = [modbus, mbrtu];
