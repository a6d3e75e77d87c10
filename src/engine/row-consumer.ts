import type { Packet } from '../decode/packet.ts';
import type { Dissection } from '../dissect/dissection.ts';
import type { FlowState } from '../flow/flow-state.ts';
import type { FlowNotes } from './flow-notes.ts';

/** What is done with the rows of a PDU while they are valid. `slot` is the flow's place in the flow table. */
export interface RowConsumer {
  rows(slot: number, state: FlowState, notes: FlowNotes, p: Packet, dissection: Dissection): void;
}
