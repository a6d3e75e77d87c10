/** Zones and conduits: a zone file becomes a checked model, the model becomes tables, and each conversation and PDU is judged by them. */

export { type Fault, faultText } from '../yaml/fault.ts';
export { checkPolicy, checkPolicyFile } from './check.ts';
export type { Action, Conduit, PolicyModel } from './conduits.ts';
export { type Explanation, Reason, type ReasonName } from './explain.ts';
export { compilePolicy, type PairPolicy, type Policy } from './match.ts';
export { PolicyError } from './policy-error.ts';
export { type PolicyFile, readPolicy } from './policy-file.ts';
export { EXTERNAL, UNPLACED, type Zone } from './zones.ts';
