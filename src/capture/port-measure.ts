import { Decoder } from '../decode/decode.ts';
import { Packet } from '../decode/packet.ts';
import { BatchWriter, INTERFACE, PacketRing } from './batch.ts';
import { PortCounter, type PortFacts, type PortTraffic, type ProtocolNames } from './port-traffic.ts';
import type { PacketSource } from './source.ts';

/** Datagrams in reassembly, an interface: enough for a look. */
export const FRAGMENT_DATAGRAMS = 8;
/** A capture file may speak of more interfaces than a sensor has; the packets of the rest are counted as the last one's. */
export const MAX_PORTS = 64;

export interface Measured {
  /** By interface number. */
  traffic: PortTraffic[];
  /** From the first packet to the last, by their stamps. */
  packet_seconds: number;
}

/**
 * Counts what comes from a source until it ends, by interface. `seconds` is how long that was by the clock, asked for at the end;
 * left out, the time of the packets counts.
 */
export async function measurePorts(
  source: PacketSource,
  factsOf: (interface_: number) => PortFacts,
  names: ProtocolNames,
  seconds?: () => number,
): Promise<Measured> {
  const ring = new PacketRing();
  const batch = new BatchWriter(ring);
  const ports: { decoder: Decoder; counter: PortCounter }[] = [];
  const packet = new Packet();
  let first_ms = Number.POSITIVE_INFINITY;
  let last_ms = Number.NEGATIVE_INFINITY;
  for (;;) {
    const filled = source.fill(batch);
    const used = typeof filled === 'object' && filled !== null ? await filled : filled;
    if (used === null) break;
    const { first_frame, count } = batch.next(used);
    for (let frame = first_frame; frame < first_frame + count; frame++) {
      const number = Math.min(ring.index[ring.entry(frame) + INTERFACE] >>> 16, MAX_PORTS - 1);
      while (ports.length <= number) {
        const decoder = new Decoder(ring, { fragment_datagrams: FRAGMENT_DATAGRAMS, verify_checksums: 'off' });
        ports.push({ decoder, counter: new PortCounter(ring, factsOf(ports.length), names) });
      }
      const { decoder, counter } = ports[number];
      counter.take(packet, decoder.decode(frame, packet));
      if (packet.time_ms < first_ms) first_ms = packet.time_ms;
      if (packet.time_ms > last_ms) last_ms = packet.time_ms;
    }
  }
  const packet_seconds = last_ms > first_ms ? (last_ms - first_ms) / 1000 : 0;
  const measured_seconds = seconds?.() ?? packet_seconds;
  return { traffic: ports.map(({ counter }) => counter.traffic(measured_seconds)), packet_seconds };
}

/** What there is to say of an interface of which nothing came. */
export const noTraffic = (facts: PortFacts, names: ProtocolNames, seconds: number): PortTraffic =>
  new PortCounter(new PacketRing(NO_PACKETS), facts, names).traffic(seconds);

const NO_PACKETS = {
  bytes: new SharedArrayBuffer(0),
  index: new SharedArrayBuffer(0),
  links: new SharedArrayBuffer(0),
};
