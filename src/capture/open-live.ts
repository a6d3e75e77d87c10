import { PcapUnavailableError } from '../../native-bindings/pcap/index.ts';
import { CapSource, findCap } from './cap-source.ts';
import { type InterfaceReport, type LiveOptions, LiveSource } from './live.ts';
import type { PacketSource } from './source.ts';

/** A live capture, whatever captures. */
export interface LiveCapture extends PacketSource {
  readonly backend: 'libpcap' | 'cap';
  /** What this backend cannot do, in words for an operator; empty where it can do all. */
  readonly limitations: readonly string[];
  /** Replaces an interface's filter. Rejects where it is not understood; the old one then stays. */
  setFilter(name: string, filter: string): Promise<void>;
  /** Counts by interface; final when `finished` has resolved. */
  statistics(): InterfaceReport[];
  /** Ends the capture: `fill` gives what has been received, then null. */
  stop(): void;
  /** Resolves when the interfaces are closed, after `stop` or `close`. */
  finished(): Promise<void>;
}

export type Backend = 'auto' | 'libpcap' | 'cap';

export interface OpenLiveOptions extends LiveOptions {
  backend: Backend;
  /** Who a process that captures becomes once its interface is open; '' where left out: nobody else. This process stays who it is. */
  user?: string;
}

/**
 * Opens interfaces with the backend that is asked for; `auto` is libpcap where our addon loads, else `cap` where it was built.
 * Throws LiveCaptureError where nothing can be captured, PcapUnavailableError where there is no backend.
 */
export async function openLive({ backend, ...options }: OpenLiveOptions): Promise<LiveCapture> {
  if (backend === 'cap') {
    if (findCap() === null) throw new PcapUnavailableError(`capture.backend is cap, and ${NO_CAP}`);
    return CapSource.open(options);
  }
  try {
    return await LiveSource.open(options);
  } catch (error) {
    if (!(error instanceof PcapUnavailableError) || backend === 'libpcap') throw error;
    if (findCap() === null) throw new PcapUnavailableError(`${error.message}; ${NO_CAP}`, { cause: error });
    return CapSource.open(options);
  }
}

const NO_CAP = 'the npm package cap was not built: it needs the headers of libpcap and a C++ compiler when it is installed';
