/**
 * libpcap, as far as a capture thread needs it: list interfaces, open one, fill a batch of the shared memory (`src/capture/batch.ts`)
 * from the kernel's ring, count, wake, close. No policy, no JavaScript per packet, and nothing that could send.
 *
 * The addon is built by `npm start` and `npm test` where libpcap's headers are (Debian: libpcap-dev); without it only live capture
 * is missing. It may be loaded in any number of threads; a handle belongs to the thread that opened it.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { OperatingError } from '../../src/errors.ts';

export interface CaptureInterface {
  name: string;
  /** What the driver says about it, often ''. */
  description: string;
  /** IPv4 and IPv6 addresses in text; a mirror port should have none. */
  addresses: string[];
  /** Switched on, and with a link. */
  up: boolean;
  running: boolean;
  loopback: boolean;
}

export interface OpenOptions {
  /** Bytes of a packet that are kept, 1 to 262144. */
  snap_length: number;
  /** The kernel's ring, bytes; 0 for libpcap's default of 2 MiB. */
  buffer_bytes: number;
  promiscuous: boolean;
  /** How long the kernel may hold packets back to give them in one block, 1 to 10000 ms. */
  timeout_ms: number;
  /** Each packet at once, for the price of a wake-up a packet and of a ring that holds fewer packets. */
  immediate: boolean;
  /** Frames that this machine sends are captured too. Never so on the loopback, where they come in again. */
  own_frames: boolean;
  /** In the language of pcap-filter(7); '' for everything. */
  filter: string;
}

/** What `open` says about a handle, which receives nothing before `start`. */
export interface Opened {
  id: number;
  /** libpcap's link-layer type (DLT), which below 104 is not always the LINKTYPE of files, and its name. */
  dlt: number;
  dlt_name: string;
  /** Stamps have nanoseconds; microseconds × 1000 where not. */
  nanoseconds: boolean;
  /** What could not be had, '' where all was: promiscuous mode, say. */
  warning: string;
}

/** Words of `fill`'s answer: packets, bytes used from `start`, how it ended (bits), then events (bits) a handle in their order. */
export const FILL = { packets: 0, used: 1, ended: 2, events: 3 } as const;
/** Bits of `ended`: woken by a waker; the batch is full and there is more. */
export const ENDED = { woken: 1, full: 2 } as const;
/** Bits of an event. `down`: the interface went down or away, what it gave before is still delivered. `failed`: see `lastError`. */
export const EVENT = { down: 1, failed: 2 } as const;
/** Words of `statistics`. `received` counts what passed the filter, dropped packets included. */
export const STATISTICS = { received: 0, dropped: 1, interface_dropped: 2, delivered: 3, delivered_bytes: 4 } as const;

/** Codes of the errors that are thrown, as `error.code`. */
export type PcapErrorCode = 'ARGUMENT' | 'CLOSED' | 'DOWN' | 'FAILED' | 'FILTER' | 'NO_SUCH_INTERFACE' | 'PERMISSION';

export interface PcapAddon {
  /** The version of libpcap, in its own words. */
  version(): string;
  /** The network interfaces of this machine. */
  listInterfaces(): CaptureInterface[];
  /** The number of an interface, 0 where there is none of that name; negative while it is down. */
  interfaceIndex(name: string): number;
  /** Throws NO_SUCH_INTERFACE, DOWN, PERMISSION, FILTER or FAILED. */
  open(name: string, options: OpenOptions): Opened;
  /** From here on packets are received. `interface_word`: interface number << 16 | link type, as the index has it. */
  start(id: number, interface_word: number): void;
  /** Takes effect at once and loses nothing: each packet is judged by the filter that was there when it came. Throws FILTER. */
  setFilter(id: number, filter: string): void;
  /** Is this a filter for Ethernet? How many of the kernel's 4096 instructions it takes, about. Throws FILTER. */
  compileFilter(filter: string): number;
  /** Nothing more is received; what was can still be read. */
  stop(id: number): void;
  /** Does nothing where it is closed. */
  close(id: number): void;
  /** The words for the last `failed` event. */
  lastError(id: number): string;
  statistics(id: number, out: Float64Array): void;
  /**
   * Waits up to `timeout_ms` for packets of any of the handles and appends what is there: packet k to `index` entry
   * (slot + k) mod its length, its bytes behind a gap of 16 from `start` on, never beyond `limit`. Returns at once when woken.
   * The batch has room for a packet of the largest snap length. `waker`: -1 for none. Blocks its thread.
   */
  fill(
    ids: number[],
    bytes: Uint8Array,
    index: Uint32Array,
    slot: number,
    start: number,
    limit: number,
    position: number,
    max_packets: number,
    timeout_ms: number,
    waker: number,
    out: Uint32Array,
  ): void;
  /** A file descriptor that `wake` of any thread makes readable. It is to be closed when no thread waits for it any more. */
  createWaker(): number;
  wake(waker: number): void;
  closeWaker(waker: number): void;
}

/** The addon is not there or does not load: live capture is impossible, everything else is not. */
export class PcapUnavailableError extends OperatingError {
  override readonly name = 'PcapUnavailableError';
  constructor(message: string, options?: ErrorOptions) {
    super('capture', message, options);
  }
}

/** Where the addon lies, seen from the source, the program and what was compiled of the source. */
const BUILT = [
  './build/Release/pcap.node',
  '../../native-bindings/pcap/build/Release/pcap.node',
  '../../../native-bindings/pcap/build/Release/pcap.node',
];

let loaded: PcapAddon | null = null;

/** Loads the addon. Throws PcapUnavailableError, which says what to install. OT_SENSOR_PCAP_ADDON names another build of it. */
export function loadPcap(): PcapAddon {
  if (loaded !== null) return loaded;
  const named = process.env.OT_SENSOR_PCAP_ADDON;
  const file = named ?? BUILT.map(addonFile).find((path) => existsSync(path));
  if (file === undefined || !existsSync(file)) {
    throw new PcapUnavailableError(
      'live capture was not built: install the headers of libpcap and a C++ compiler (Debian: libpcap-dev, build-essential) and run npm run build',
    );
  }
  try {
    loaded = createRequire(import.meta.url)(file) as PcapAddon;
  } catch (error) {
    throw new PcapUnavailableError(
      `live capture was built but cannot be loaded (${(error as Error).message.split('\n')[0]}); install libpcap (Debian: libpcap0.8)`,
      { cause: error },
    );
  }
  return loaded;
}

function addonFile(relative: string): string {
  return fileURLToPath(new URL(relative, import.meta.url));
}
