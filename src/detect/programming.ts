import { Operation, type OperationCode, Role, type RoleCode } from '../dissect/operation.ts';
import type { AlertKindName } from './catalogue.ts';

/** Operations that change what a controller does, and the alert each raises. */
const ALERTS: Partial<Record<OperationCode, AlertKindName>> = {
  [Operation.program_download]: 'program_download',
  [Operation.program_upload]: 'program_upload',
  [Operation.firmware]: 'firmware_change',
  [Operation.mode_change]: 'mode_change',
  [Operation.stop]: 'device_stop',
  [Operation.start]: 'device_start',
  [Operation.restart]: 'device_restart',
};

const BY_OPERATION: readonly (AlertKindName | null)[] = Object.values(Operation).map((code) => ALERTS[code] ?? null);

/** The alert that an operation is worth, or null. A server's answer repeats what its client asked and raises nothing by itself. */
export function programmingAlert(operation: OperationCode, sender: RoleCode): AlertKindName | null {
  return sender === Role.server ? null : BY_OPERATION[operation];
}
