import type { Packet } from '../decode/packet.ts';
import type { Dissection } from '../dissect/dissection.ts';
import type { FlowState, Stamp } from '../flow/flow-state.ts';
import type { FlowNotes } from './flow-notes.ts';

/**
 * What is done with the rows of a PDU while they are valid. `slot` is the flow's place in the flow table, `p` the packet at hand, `stamp`
 * the packet the PDU came in: an earlier one where a segment had been held back.
 */
export interface RowConsumer {
  rows(slot: number, state: FlowState, notes: FlowNotes, p: Packet, stamp: Stamp, dissection: Dissection): void;
}
