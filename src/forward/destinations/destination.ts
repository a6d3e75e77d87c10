import type { Outbound } from '../../appliance/outbound.ts';
import type { ForwardItem, Identity } from '../item.ts';

/** What came of handing items over. */
export interface Delivery {
  /** So many of the first are taken, as far as the protocol can tell; they are not sent again. */
  taken: number;
  /** Where not all were taken: why, in words for the operator. */
  fault?: string;
  /** What the other side said, for whoever tries it out. */
  said: string;
}

/** One place that items are forwarded to. Never used by two at once. */
export interface Destination {
  /** The most items that one `send` takes. */
  readonly batch: number;
  /** Where items are gathered: for how long still, when so many wait since `since_ms`. 0: send now. */
  holdMs?(waiting: number, since_ms: number, now_ms: number): number;
  /** Hands over in this order. Rejects only where it was closed meanwhile, or by a defect of ours. */
  send(items: readonly ForwardItem[]): Promise<Delivery>;
  /** Breaks off what is going on; it may not be used any more. */
  close(): Promise<void>;
}

/** What a destination needs of its surroundings. */
export interface Surroundings {
  identity: Identity;
  outbound: Outbound;
  /** Folder of files that are written. */
  directory: string;
}
