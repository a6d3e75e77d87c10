import { type Fault, faultText } from '../yaml/fault.ts';

/** Thrown where a policy is to be compiled that has faults; `message` lists them all. */
export class PolicyError extends Error {
  readonly faults: readonly Fault[];
  constructor(faults: readonly Fault[]) {
    super(faults.map(faultText).join('\n'));
    this.name = 'PolicyError';
    this.faults = faults;
  }
}
