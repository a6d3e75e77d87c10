import fs from 'node:fs';
import path from 'node:path';
import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import { writeAtomically } from '../backup/files.ts';
import { INTERFACE, type PacketRing } from '../capture/batch.ts';
import type { InterfaceReport } from '../capture/capture-thread.ts';
import type { Port } from '../capture/port-list.ts';
import { FRAGMENT_DATAGRAMS } from '../capture/port-measure.ts';
import { PortCounter, type ProtocolNames } from '../capture/port-traffic.ts';
import { verdictsOf } from '../capture/port-verdict.ts';
import { Decoder } from '../decode/decode.ts';
import { Packet } from '../decode/packet.ts';

// What each mirror port is like, while the sensor runs: every minute some seconds of what comes in are counted and judged as the command
// `interfaces` does it, and kept in a file for whoever asks the API.

const FILE = 'interfaces.json';
const MAX_BYTES = 1 << 18;
const EVERY_MS = 60_000;
const FOR_MS = 5000;
/** A measurement ends early with so many packets: it is done beside everything else. */
const MAX_PACKETS = 200_000;

const Judged = Type.Object({
  name: Type.String(),
  measured_ms: Type.Number(),
  seconds: Type.Number(),
  link: Type.Union([Type.Boolean(), Type.Null()]),
  packets_per_second: Type.Number(),
  bytes_per_second: Type.Number(),
  verdicts: Type.Array(Type.Object({ code: Type.String(), text: Type.String() })),
});
const File = Type.Array(Judged, { maxItems: 256 });
/** An interface as it was found last. */
export type JudgedPort = Static<typeof Judged>;

/** The verdict needs no names of ours: what is published to many is known by its EtherType. */
const NAMES: ProtocolNames = { onPort: () => null, onEthertype: () => null, onIp: String };

export interface PortWatchSources {
  ring: PacketRing;
  /** By interface number, and whether a filter leaves some of it out. */
  ports: () => readonly (Pick<Port, 'name' | 'mac' | 'mtu' | 'link'> & { filtered: boolean })[];
  /** In the same order. */
  statistics: () => readonly InterfaceReport[];
  /** Whether the backend counts what the kernel dropped. */
  counts_drops: boolean;
  keep: (ports: JudgedPort[]) => void;
}

export class PortWatch {
  private readonly sources: PortWatchSources;
  private readonly packet = new Packet();
  private measuring: Measurement | null = null;
  private next_ms = 0;

  constructor(sources: PortWatchSources) {
    this.sources = sources;
  }

  /** Each batch, while it is in the ring. */
  take({ first_frame, count }: { first_frame: number; count: number }): void {
    const { measuring, packet } = this;
    if (measuring === null) return;
    const { ring } = this.sources;
    const most = Math.min(count, MAX_PACKETS - measuring.packets);
    for (let frame = first_frame; frame < first_frame + most; frame++) {
      const meter = measuring.meters[ring.index[ring.entry(frame) + INTERFACE] >>> 16];
      if (meter !== undefined) meter.counter.take(packet, meter.decoder.decode(frame, packet));
    }
    measuring.packets += most;
  }

  /** Called now and then. `busy`: the sensor does not keep up, and has nothing to spare. */
  look(now_ms: number, busy: boolean): void {
    const { measuring } = this;
    if (measuring === null) {
      if (busy || now_ms < this.next_ms) return;
      this.next_ms = now_ms + EVERY_MS;
      this.measuring = this.begin(now_ms);
    } else if (busy) this.measuring = null;
    else if (now_ms - measuring.begun_ms >= FOR_MS || measuring.packets >= MAX_PACKETS) {
      this.measuring = null;
      this.sources.keep(this.judge(measuring, now_ms));
    }
  }

  private begin(begun_ms: number): Measurement {
    const { ring, ports, statistics } = this.sources;
    const meters = ports().map((port) => ({
      port,
      decoder: new Decoder(ring, { fragment_datagrams: FRAGMENT_DATAGRAMS, verify_checksums: 'off' }),
      counter: new PortCounter(ring, port, NAMES),
    }));
    return { begun_ms, packets: 0, meters, before: statistics() };
  }

  private judge({ begun_ms, meters, before }: Measurement, now_ms: number): JudgedPort[] {
    const seconds = (now_ms - begun_ms) / 1000;
    const after = this.sources.statistics();
    return meters.flatMap(({ port, counter }, number) => {
      const [then, now] = [before[number], after[number]];
      if (now === undefined) return [];
      const traffic = counter.traffic(seconds);
      // Only what was lost meanwhile: a port that was mended is a healthy one.
      const since = (of: (report: InterfaceReport) => number) => of(now) - (then === undefined ? 0 : of(then));
      const ours = since((report) => Object.values(report.dropped_by_us).reduce((sum, count) => sum + count, 0));
      const capture = {
        state: now.state,
        message: now.message,
        dropped_by_us: { overload: ours, closed: 0 },
        dropped_by_interface: since((report) => report.dropped_by_interface),
        dropped_by_kernel: this.sources.counts_drops ? since((report) => report.dropped_by_kernel) : null,
        filtered: port.filtered,
        link: port.link,
      };
      const rate = (sum: number) => Math.round(sum / seconds);
      return {
        name: port.name,
        measured_ms: now_ms,
        seconds,
        link: port.link,
        packets_per_second: rate(traffic.packets),
        bytes_per_second: rate(traffic.bytes),
        verdicts: verdictsOf(traffic, capture),
      };
    });
  }
}

interface Measurement {
  begun_ms: number;
  packets: number;
  meters: { port: ReturnType<PortWatchSources['ports']>[number]; decoder: Decoder; counter: PortCounter }[];
  before: readonly InterfaceReport[];
}

/** For the service beside the sensor. What cannot be written is left out: it is not worth ending for. */
export function keepPorts(directory: string, ports: readonly JudgedPort[]): void {
  try {
    writeAtomically(path.join(directory, FILE), JSON.stringify(ports));
  } catch {}
}

/** As they were found last; none where nothing was found yet. */
export function readPorts(directory: string): JudgedPort[] {
  try {
    const file = path.join(directory, FILE);
    if (fs.statSync(file).size > MAX_BYTES) return [];
    const value: unknown = JSON.parse(fs.readFileSync(file, 'utf8'));
    return Value.Check(File, value) ? value : [];
  } catch {
    return [];
  }
}
